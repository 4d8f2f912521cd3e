"""From a model to explanations: budget, recovery, R², plans, files, the same bits, interrupts."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st
from toys import by_evaluator, evaluate, motif_model, random_spectrum

RNA9 = ss.SequenceSpace(ss.RNA, length=9)


class Counting:
    """A model that records the sequences it evaluates."""

    def __init__(self, model):
        self.model, self.evaluated = model, []

    def __call__(self, sequences):
        self.evaluated.extend(sequences)
        return self.model(sequences)


def test_all_sequences_of_many_positions_are_sketched():
    space = ss.SequenceSpace("AC", 18)
    values = np.random.default_rng(0).normal(size=space.size)
    place = 2 ** np.arange(18)[::-1]
    sketch = ss.sketch(lambda codes: values[codes @ place], space, budget=space.size, inputs="codes")
    assert (sketch.method, sketch.n_terms) == ("exact", space.size)
    np.testing.assert_allclose(sketch.r2, 1.0, atol=1e-12)


@pytest.mark.parametrize(
    ("q", "n", "budget"),
    [
        (4, 9, 1000),
        (4, 17, 1500),
        (2, 11, 1500),
        (2, 13, 8192),
        (20, 3, 2500),
        (4, 7, 6000),
        (20, 56, 5000),
    ],
)
def test_the_budget_is_a_hard_cap_on_distinct_evaluations(q, n, budget):
    spectrum = random_spectrum(q, n, seed=3)
    model = Counting(spectrum.predict)
    sketch = ss.sketch(model, spectrum.space, budget=budget, progress=False)
    assert len(model.evaluated) == len(set(model.evaluated)) == sketch.n_queries <= budget


def test_a_sparse_model_is_recovered_and_explained_exactly():
    spectrum = random_spectrum(4, 14, seed=5, terms=30, max_order=3)
    sketch = ss.sketch(spectrum.predict, spectrum.space, budget=20_000, method="peel", progress=False)
    assert (sketch.method, sketch.status) == ("peel", "converged")
    assert sketch.r2 == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(sketch.spectrum.frequencies, spectrum.frequencies)
    np.testing.assert_allclose(sketch.spectrum.coefficients, spectrum.coefficients, atol=1e-9)
    codes = np.random.default_rng(0).integers(0, 4, (50, 14))
    explanation, expected = ss.Explainer(sketch)(codes), ss.Explainer(spectrum)(codes)
    np.testing.assert_allclose(explanation.values, expected.values, atol=1e-8)


def test_all_kinds_of_inputs_give_the_same_sketch():
    weights = np.random.default_rng(1).normal(size=(9, 4))
    models = {
        "strings": lambda s: weights[np.arange(9), RNA9.encode(s)].sum(axis=1),
        "codes": lambda c: weights[np.arange(9), c].sum(axis=1),
        "onehot": lambda x: (x.astype(float) * weights).sum(axis=(1, 2)),
    }
    first, *others = [
        by_evaluator(
            ss.sketch, model, RNA9, budget=3000, method="peel", inputs=inputs, batch_size=size, progress=False
        )
        for (inputs, model), size in zip(models.items(), (4096, 7, 100), strict=True)
    ]
    for other in others:
        np.testing.assert_array_equal(first.spectrum.frequencies, other.spectrum.frequencies)
        np.testing.assert_allclose(first.spectrum.coefficients, other.spectrum.coefficients, atol=1e-12)


def test_r2_is_near_zero_for_a_model_without_structure():
    noise = np.random.default_rng(2)
    sketch = ss.sketch(
        lambda s: noise.normal(size=len(s)), ss.SequenceSpace(ss.DNA, 20), budget=10_000, progress=False
    )
    assert sketch.r2 < 0.05
    assert sketch.n_terms < 20
    assert "LOW" in sketch.summary()
    low, high = sketch.r2_interval
    assert low <= sketch.r2 <= high


@pytest.mark.parametrize("budget", [3000, 4**9])
def test_the_shapley_values_of_a_constant_model_are_zero(budget):
    sketch = ss.sketch(lambda s: np.full(len(s), 0.1), RNA9, budget=budget, progress=False)
    # Without all sequences, R² is undefined.
    exact = budget == 4**9
    np.testing.assert_equal((sketch.r2, sketch.n_terms), (1.0 if exact else np.nan, 1))
    explanation = ss.Explainer(sketch)(["ACGUACGUA"])
    np.testing.assert_allclose(explanation.values, 0.0, atol=1e-12)
    assert explanation.base_values[0] == pytest.approx(0.1)
    assert ("R²         1.0000" if exact else "R²         undefined: all") in sketch.summary()


def test_a_plan_describes_what_the_sketch_evaluates():
    plan = ss.plan(RNA9, budget=5000, method="peel")
    sketch = ss.sketch(motif_model, RNA9, budget=5000, method="peel", progress=False)
    assert plan.method == sketch.method == "peel"
    assert sketch.n_queries <= plan.total_queries <= plan.budget
    b = plan.design[0]
    assert ss.plan(RNA9, budget=plan.next_budget, method="peel").design[0] == b + 1
    assert ss.plan(RNA9, budget=plan.next_budget - 1, method="peel").design[0] == b
    assert ss.plan(RNA9, budget=4**9).method == "exact"
    regress = ss.plan(RNA9, budget=5000)
    assert (regress.method, regress.design, regress.total_queries) == ("auto", None, 5000)
    assert regress.memory < 2**30


@given(
    q=st.integers(2, 64),
    n=st.integers(1, 300),
    budget=st.integers(1, 200_000),
    method=st.sampled_from(["auto", "peel"]),
)
def test_a_plan_fits_its_budget_or_names_a_sufficient_one(q, n, budget, method):
    alphabet = "".join(chr(0x100 + i) for i in range(q))
    space = ss.SequenceSpace(alphabet, n)
    try:
        plan = ss.plan(space, budget, method=method)
    except ss.BudgetError as error:
        needed = int(str(error).rsplit("at least ", 1)[1].split()[0])
        assert budget < needed
        auto = needed == space.size
        assert ss.plan(space, needed, method="auto" if auto else method).total_queries <= needed
    except ss.InputError as error:
        assert "use the exact method" in str(error)  # noqa: PT017
    else:
        assert plan.total_queries <= budget
        assert (plan.method == "exact") == (method == "auto" and space.size <= budget)


def test_sketches_are_loaded_as_saved(tmp_path):
    sketch = ss.sketch(motif_model, RNA9, budget=5000, random_state=4, progress=False)
    sketch.save(tmp_path / "a.safetensors")
    back = ss.load(tmp_path / "a.safetensors")
    assert back.summary() == sketch.summary()
    assert back.spectrum == sketch.spectrum
    assert back.space == RNA9
    assert back.r2_interval == sketch.r2_interval
    back.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


SCRIPT = """
import sys, numpy as np, shapsketch as ss
rng = np.random.default_rng(0)
weights = rng.normal(size=(16, 4))
model = lambda c: weights[np.arange(16), c].sum(axis=1) + (c[:, 3] == c[:, 9]) + np.sin(c @ np.arange(16))
space = ss.SequenceSpace(ss.DNA, 16)
sketch = ss.sketch(
    model, space, budget=30_000, method="peel", inputs="codes", random_state=11, progress=False
)
sketch.save(sys.argv[1])
np.save(sys.argv[2], ss.Explainer(sketch)(rng.integers(0, 4, (1000, 16))).values)
"""


def test_other_processes_and_thread_counts_give_the_same_bits(tmp_path):
    results = set()
    for run, threads in enumerate(("1", "2", "4", "2")):
        file, values = tmp_path / f"{run}.safetensors", tmp_path / f"{run}.npy"
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", SCRIPT, file, values], check=True, env=environment)
        results.add((file.read_bytes(), values.read_bytes()))
    assert len(results) == 1


def test_peeling_in_the_memory_of_the_values_leaves_those_of_the_user():
    spectra = [random_spectrum(4, 12, seed=seed, terms=20, max_order=3) for seed in (1, 2)]
    space, options = spectra[0].space, {"budget": 8_000, "method": "peel", "progress": False}
    alone = [ss.sketch(spectrum.predict, space, **options) for spectrum in spectra]
    # The values of an evaluator are used again, and so are the columns of several outputs.
    evaluator = ss.Evaluator(spectra[0].predict)
    again = [ss.sketch(evaluator, space, **options) for _ in range(2)]
    both = ss.sketch_outputs(
        lambda s: np.stack([spectrum.predict(s) for spectrum in spectra], axis=1),
        space,
        outputs=["a", "b"],
        **options,
    )
    for sketch, expected in zip([*again, both["a"], both["b"]], [alone[0], alone[0], *alone], strict=True):
        np.testing.assert_array_equal(sketch.spectrum.frequencies, expected.spectrum.frequencies)
        np.testing.assert_array_equal(sketch.spectrum.coefficients, expected.spectrum.coefficients)
        assert sketch.r2 == expected.r2
    # The decoder copies the values of observations.
    design = ss.QueryDesign(space, b=3)
    observations = ss.Observations(design, spectra[0].predict(design.queries()))
    values = observations.values.copy()
    first, second = (ss.PeelingDecoder().fit(observations).spectrum_ for _ in range(2))
    np.testing.assert_array_equal(observations.values, values)
    np.testing.assert_array_equal(first.coefficients, second.coefficients)


def test_design_observations_and_decoder_recover_a_spectrum():
    spectrum = random_spectrum(4, 10, seed=8, terms=15, max_order=3)
    design = ss.QueryDesign(spectrum.space, b=3, groups=3, delays="identity", random_state=1)
    batches = list(design.batches(1000))
    np.testing.assert_array_equal(np.concatenate(batches), design.queries())
    values = np.concatenate([evaluate(spectrum, batch) for batch in batches])
    for refit in (True, False):
        decoder = ss.PeelingDecoder(refit=refit).fit(ss.Observations(design, values))
        assert decoder.status_ == "converged"
        np.testing.assert_array_equal(decoder.spectrum_.frequencies, spectrum.frequencies)
        np.testing.assert_allclose(decoder.spectrum_.coefficients, spectrum.coefficients, atol=1e-9)


@given(
    q=st.integers(2, 7),
    n=st.integers(2, 7),
    b=st.integers(1, 2),
    simple=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_queries_of_a_design_are_its_distinct_block_sequences_in_order(q, n, b, simple, seed):
    groups = n // b if simple else 3
    space = ss.SequenceSpace("ACGTBDE"[:q], n)
    design = ss.QueryDesign(
        space, b=b, groups=groups, subsampling="simple" if simple else "random", repeats=2, random_state=seed
    )
    digits = np.array(np.unravel_index(np.arange(q**b), (q,) * b)).T
    expected = {}
    for matrix, delays in zip(design.matrices, design.delays, strict=True):
        for delay in delays:
            for row in (digits @ matrix.astype(int).T + delay) % q:
                expected.setdefault(tuple(row), len(expected))
    np.testing.assert_array_equal(design.queries(), list(expected))


def test_interactions_are_sorted_sparse_and_selected_by_order():
    sketch = ss.sketch(motif_model, RNA9, budget=4**9, progress=False)
    pairs = ss.Explainer(sketch).interactions(["AUGGGCAAA", "CCCCCCCCC"])
    assert pairs.supports == sorted(pairs.supports, key=lambda s: (len(s), s))
    assert pairs.values.shape == (2, len(pairs.supports))
    assert {s for s, _ in pairs.order(2).top(2)} == {(0, 1), (4, 5)}
    assert pairs.order(3).supports == []
    first = ss.Explainer(sketch).interactions(["AUGGGCAAA"], max_order=1)
    assert first.supports == [(i,) for i in range(9)]


LONG_WORK = """
import signal
import numpy as np, shapsketch as ss
# A shell starts background jobs with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
rng = np.random.default_rng(0)
frequencies = np.zeros((20_000, 40), dtype=np.uint8)
for row in frequencies:
    row[rng.choice(40, 4, replace=False)] = rng.integers(1, 20, 4)
space = ss.SequenceSpace(ss.PROTEIN, 40)
explainer = ss.Explainer(ss.Spectrum(space, frequencies, rng.normal(size=20_000), real_part=True))
explainer(np.zeros((1, 40), dtype=np.uint8))
codes = np.zeros((2_000_000, 40), dtype=np.uint8)
print("ready", flush=True)
try:
    explainer(codes)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(os.name == "nt", reason="run it on Unix, where a process can be sent SIGINT")
def test_ctrl_c_interrupts_long_computations():
    with subprocess.Popen([sys.executable, "-c", LONG_WORK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert rest == "interrupted\n"


@pytest.mark.parametrize(("q", "n"), [(2, 13), (5, 6), (6, 5), (10, 4), (18, 4), (20, 4)])
def test_peeled_sketches_are_loaded_as_saved(tmp_path, q, n):
    """Coefficients that must be real are stored without an imaginary part, despite rounding."""
    space = ss.SequenceSpace("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:q], length=n)
    for seed in range(3):
        weights = np.random.default_rng(seed).normal(size=(n, q))
        sketch = ss.sketch(
            lambda codes, w=weights: w[np.arange(n), codes].sum(axis=1),
            space,
            inputs="codes",
            budget=4_000,
            method="peel",
            progress=False,
            random_state=seed,
        )
        sketch.save(tmp_path / "a")
        back = ss.load(tmp_path / "a")
        np.testing.assert_array_equal(back.spectrum.frequencies, sketch.spectrum.frequencies)
        np.testing.assert_array_equal(back.spectrum.coefficients, sketch.spectrum.coefficients)
        ss.Sketch(sketch.spectrum.truncate(max_terms=5)).save(tmp_path / "b")
        assert len(ss.load(tmp_path / "b").spectrum) <= 5


@pytest.mark.skipif(os.name == "nt", reason="run it on Unix, which has limits of file sizes")
def test_a_file_that_cannot_be_replaced_is_unchanged(tmp_path):
    """A sketch file is complete, or the previous one stays."""
    path = tmp_path / "some.safetensors"
    space = ss.SequenceSpace(ss.DNA, length=5)
    small = ss.Sketch(ss.Spectrum(space, [[0, 0, 0, 0, 0]], [1.0]))
    small.save(path)
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    script = (
        "import resource, signal, sys, numpy as np, shapsketch as ss\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "space = ss.SequenceSpace(ss.DNA, length=5)\n"
        "model = lambda codes: np.random.default_rng(0).normal(size=len(codes))\n"
        "sketch = ss.sketch(model, space, budget=1024, inputs='codes', progress=False)\n"
        "try:\n    sketch.save(sys.argv[1])\nexcept OSError as error:\n    print(error)\n"
    )
    process = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert str(path) in process.stdout
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["link", path.name]
    # The target of a link is replaced, and the link stays.
    other = ss.Sketch(ss.Spectrum(space, [[0, 0, 0, 0, 0]], [2.0]))
    other.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert ss.load(path).spectrum.coefficients == [2.0]
    path.chmod(0o600)
    small.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "ahead").symlink_to(tmp_path / "later")
    small.save(tmp_path / "ahead")
    assert ss.load(tmp_path / "later").spectrum.coefficients == [1.0]
    with pytest.raises(ss.FileError, match="nowhere"):
        other.save(tmp_path / "nowhere" / "a")
    other.save("/dev/null")
