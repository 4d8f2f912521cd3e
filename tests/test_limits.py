"""Long work reacts to Ctrl-C, and memory is bounded: work that does not fit is refused before it starts."""

import gzip
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core

DNA4 = ss.SequenceSpace(ss.DNA, 4)
SPECTRUM = ss.Spectrum(DNA4, [[0, 0, 0, 0], [1, 0, 0, 0], [3, 0, 0, 0]], [1.0, 0.5, 0.5])
# How long a process may take to react to an interrupt before it counts as hanging, in seconds.
HANGING = 60.0


@contextmanager
def memory_below(megabytes):
    """Check the largest amount of memory that Python and NumPy hold in a block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 2**20, f"{peak / 2**20:.0f} MiB"


@pytest.mark.parametrize(
    "work",
    [
        # Each of these would take minutes or longer.
        "ss.DinucleotideShuffles(2 * 10**8).of(ss.SequenceSpace(ss.DNA, 10), ['ACGTACGGTA'])",
        "ss.SequenceSpace(ss.DNA, 4).encode(itertools.repeat('ACGT'))",
        "ss.QueryDesign(ss.SequenceSpace('01', 24), b=1, groups=10**6, delays='zero')",
    ],
)
def test_interrupts_end_long_work(processes, work):
    code = f"""
        import itertools, shapsketch as ss
        print("started", flush=True)
        {work}
    """
    child = processes.start(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "started\n"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in child.communicate(timeout=HANGING)[1]


def test_arrays_do_not_depend_on_an_import_that_an_interrupt_can_break(processes):
    """The numpy crate panics if its import of NumPy fails, so it must import NumPy with shapsketch."""
    code = """
        import sys, shapsketch as ss
        for name in ("numpy._core", "numpy.core"):
            sys.modules[f"{name}.multiarray"] = sys.modules[f"{name}._multiarray_umath"] = None
        print(ss.Spectrum(ss.SequenceSpace("01", 2), [[0, 0]], [2.0]).order_energy())
    """
    status, out, err = processes.run([sys.executable, "-c", textwrap.dedent(code)])
    assert (status, out) == (0, "[4.]\n"), err


@pytest.mark.skipif(sys.platform != "linux", reason="run it on Linux, which can limit the address space")
def test_work_beyond_the_limit_of_the_process_is_an_error_and_no_crash(processes):
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
        import numpy as np, shapsketch as ss
        space = ss.SequenceSpace(ss.DNA, 60)
        rows = np.zeros((2, 60), dtype=int)
        rows[0, :20] = 1
        explainer = ss.Explainer(ss.Spectrum(space, rows, [1.0, 2.0], real_part=True))
        codes = np.zeros((400_000, 60), dtype=np.uint8)
        all_sequences = ss.SequenceSpace(ss.DNA, 14)
        design = ss.QueryDesign(all_sequences, b=14, groups=1, subsampling="simple", delays="zero")
        batches = lambda: list(design.batches(10**12))
        for work in [lambda: explainer.epistasis(codes), design.queries, batches]:
            try:
                work()
            except ss.InputError as error:
                print(error)
    """
    environment = {"OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "2"}
    status, out, err = processes.run([sys.executable, "-c", textwrap.dedent(code)], env=environment)
    assert status == 0, err
    allowed = "more than the 3.0 GiB that are allowed on this machine"
    assert out.splitlines() == [
        f"the result would need 9.1 GiB of memory, {allowed}; explain fewer sequences at a time",
        *[
            f"268,435,456 queries would need 3.5 GiB of memory, {allowed}; use batches() with a smaller size",
        ]
        * 2,
    ]


@pytest.mark.parametrize(
    "work",
    [
        lambda: ss.DinucleotideShuffles(10**14).of(DNA4, ["ACGT"]),
        lambda: ss.QueryDesign(ss.SequenceSpace("01", 4096), b=1, groups=1, delays="random", repeats=2**27),
    ],
)
def test_counts_that_fit_into_no_machine_are_refused_by_the_core(work):
    with pytest.raises(ss.InputError, match=r"would need .* GiB of memory, more than the .* GiB that are"):
        work()


def additive(n):
    """Return an explainer of a sum over n positions."""
    space = ss.SequenceSpace(ss.DNA, n)
    return ss.Explainer(ss.Spectrum(space, np.eye(n, dtype=int) * 2, np.linspace(-1, 1, n)))


def model(sequences):
    return [float(s.count("G")) for s in sequences]


def far_reference():
    """Return an explainer with a reference, to which a sequence of A differs at three positions."""
    explainer = additive(40)
    return ss.Explainer(explainer._sketch, background="C" * 3 + "A" * 37)


@pytest.mark.parametrize(
    ("work", "need"),
    [
        (lambda: additive(40).best_mutants("A" * 40, 20, count=10**9), "1,000,000,000 mutants"),
        (lambda: additive(40).refine(model, ["A" * 40], calls_per_sequence=10**9), "1,000,000,000 evaluat"),
        (lambda: ss.faithfulness(model, additive(40), ["A" * 40], budget=10**9), "budget of 1,000,000,000"),
        (lambda: ss.models.check(model, DNA4, count=10**9), "1,000,000,000 sequences"),
        (lambda: additive(40).interactions(["A" * 40] * 10).dense(), "the matrices"),
        (lambda: ss.QueryDesign(DNA4, b=4, groups=1, delays="zero").queries(), "256 queries"),
        (lambda: list(ss.plan(DNA4, 256).batches()), "256 queries"),
        (lambda: ss.sketch(model, DNA4, budget=10**12), "the method 'exact' with 256 queries"),
        (lambda: DNA4.encode("ACGT" for _ in range(100_000)), "65,536 sequences"),
        (lambda: DNA4.onehot(np.zeros((16, 4), dtype=int)), "16 sequences as one-hot arrays"),
    ],
)
def test_work_that_does_not_fit_into_memory_is_refused_before_it_starts(monkeypatch, work, need):
    monkeypatch.setattr(_core, "memory_limit", lambda: 1000)
    pattern = f"{need}.* would need .* GiB of memory, more than the .* GiB that are allowed on this machine; "
    with pytest.raises(ss.InputError, match=pattern):
        work()


def test_a_large_number_of_calls_is_fine_if_few_are_needed():
    refined = far_reference().refine(model, ["A" * 40], calls_per_sequence=10**12, progress=False)
    np.testing.assert_allclose(refined.values.sum() + refined.base_values, 0.0, atol=1e-12)


def test_the_beam_search_holds_scores_and_not_all_candidates():
    explainer = additive(2048)
    with memory_below(300):
        mutants = explainer.best_mutants("A" * 2048, 3, count=2000)
    assert len(mutants.scores) == 2000
    assert not mutants.exact
    assert (np.diff(mutants.scores) <= 0).all()
    assert len(np.unique(mutants.codes, axis=0)) == 2000
    assert ((mutants.codes != 0).sum(axis=1) == 3).all()


def test_a_background_has_at_most_a_million_shuffles():
    with pytest.raises(ss.InputError, match=r"count must be at most 1,000,000 shuffles .* got 1,000,000,000"):
        ss.Explainer(SPECTRUM, ss.DinucleotideShuffles(10**9))


def test_a_background_of_shuffles_draws_none_before_it_is_used(monkeypatch):
    def drawn(*_):
        raise AssertionError("drawn too early")

    monkeypatch.setattr("shapsketch._core.dinucleotide_shuffles", drawn)
    explainer = ss.Explainer(SPECTRUM, ss.DinucleotideShuffles(5))
    with pytest.raises(AssertionError, match="drawn too early"):
        explainer(["ACGT"])


def test_a_long_beam_search_is_announced(monkeypatch, caplog):
    work = {"sequence": "A" * 12, "mutations": 4, "limit": 0}
    additive(12).best_mutants(**work)
    assert not caplog.records
    monkeypatch.setattr("shapsketch.explain.mutants.MANY_SCORED", 601 * 36)
    additive(12).best_mutants(**work)
    assert "scores about 2.2e+04 mutants, in 4 steps from 200 mutants each" in caplog.text


def test_the_beam_search_finds_the_best_mutants_of_a_sum():
    """For a sum over positions, the beam search is exact."""
    exact = additive(12).best_mutants("A" * 12, 4, count=300)
    beam = additive(12).best_mutants("A" * 12, 4, count=300, limit=0)
    assert exact.exact
    assert not beam.exact
    np.testing.assert_allclose(exact.scores, beam.scores, atol=1e-12)


def compressed(path, *parts):
    with gzip.open(path, "wb", 1) as file:
        for part in parts:
            file.write(part)
    return path


MEGABYTE = b"ACGT" * 2**18


def test_a_record_of_many_symbols_is_refused_or_skipped_in_bounded_memory(tmp_path):
    """Only its start is in memory, on one line or on many."""
    one = compressed(tmp_path / "one.fasta.gz", b">a b\n", *[MEGABYTE] * 40, b"\n>c\nACGT\n")
    wrapped = [(b"ACGT" * 15 + b"\r\n") * 10_000] * 60
    many = compressed(tmp_path / "many.fasta.gz", b">a b\r\n", *wrapped, b">c\r\nACGT\r\n")
    for path, length, line in [(one, 40 * 2**20, 3), (many, 36_000_000, 600_002)]:
        with memory_below(12):
            with pytest.raises(
                ss.InputError, match=f"line 1, record 'a': it has {length} symbols, the space"
            ):
                list(ss.read_sequences(path, DNA4))
            reader = ss.read_sequences(path, DNA4, on_error="skip")
            (records,) = reader
        assert (records.names, records.lines.tolist(), reader.skipped) == (["c"], [line], 1)


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        ("line.csv.gz", [b"sequence\n", *[MEGABYTE] * 40], "line 2: the row is longer than 16,777,216"),
        ("quote.tsv.gz", [b'sequence\n"', *[b"A\tC\n" * 2**18] * 40], "line 2: field larger than"),
        (
            "fields.csv.gz",
            [b"sequence\n", *[b'"' + b"A" * 4000 + b'\n",'] * 5000],
            "the row is longer than 16,777,216",
        ),
        ("line.fastq.gz", [b"@a\n", *[MEGABYTE] * 40], "line 2: the line is longer than 16,777,216"),
        (
            "header.fasta.gz",
            [b">", *[MEGABYTE] * 40],
            "line 1: the name of the record is longer than 1,048,576",
        ),
        ("space.fasta.gz", [b">a\n", *[b" " * 2**20] * 40], "line 2: the line is longer than 1,048,576"),
        ("zero.fasta.gz", [bytes(2**20)] * 40, r"line 1: Expected '>' .* got '\\x00"),
        ("zero.csv.gz", [bytes(2**20)] * 40, "line 1: the row is longer than 16,777,216"),
    ],
)
def test_lines_without_end_are_refused_in_bounded_memory(tmp_path, name, parts, message):
    path = compressed(tmp_path / name, *parts)
    with memory_below(90), pytest.raises(ss.FileError, match=message):
        list(ss.read_sequences(path, DNA4))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="run it on Unix, which has /dev/zero")
def test_devices_without_end_are_refused():
    for kind, message in [("fasta", "Expected '>'"), ("csv", "the row is longer"), ("fastq", "the line is")]:
        with memory_below(90), pytest.raises(ss.FileError, match=message):
            list(ss.read_sequences("/dev/zero", DNA4, format=kind))
    with pytest.raises(ss.FileError, match="not a complete safetensors file"):
        ss.load("/dev/zero")


def test_a_table_of_scores_with_a_very_long_sequence_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text(f"sequence,score\nACG,1\n{'A' * 4097},2\n")
    with pytest.raises(ss.InputError, match=r"line 3: the sequence has 4,097 symbols.* at most 4,096"):
        ss.models.table(tmp_path / "t.csv")


def test_a_program_that_prints_without_end_is_stopped():
    code = "while True: print('0.123456789')"
    with (
        memory_below(20),
        pytest.raises(
            ss.ModelError, match="printed more than 1,052,672 bytes for 1 sequences, and was stopped"
        ),
    ):
        ss.models.command([sys.executable, "-c", code])(["ACGT"])
