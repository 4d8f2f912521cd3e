"""Progress: bars in terminals, lines in the log elsewhere; stages are named and counted."""

import logging
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import shapsketch as ss
from shapsketch.evaluate import progress as lines
from shapsketch.evaluate.progress import duration, reporting
from shapsketch.fitting import steps
from toys import without_progress

SPACE = ss.SequenceSpace(ss.DNA, 6)
STAGE = re.compile(r"(.*?)(?:, )?stage (\d+) of (\d+), after .*: (.*)")


def model(sequences):
    return [s.count("G") + 2.0 * (s[2:4] == "AC") * (s[5] == "T") for s in sequences]


@pytest.fixture
def log(caplog):
    """Return the lines of progress."""
    caplog.set_level(logging.INFO, "shapsketch.progress")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "shapsketch.progress"]


@pytest.fixture
def clock(monkeypatch):
    """Let time stand still, and return a function that lets it pass."""
    now = [0.0]
    monkeypatch.setattr(lines.time, "monotonic", lambda: now[0])

    def passes(seconds):
        now[0] += seconds

    return passes


@pytest.fixture
def terminal(monkeypatch):
    for module in (lines, steps):
        monkeypatch.setattr(module, "shows_bars", lambda: True)


def test_bars_are_for_terminals(monkeypatch):
    for terminal in (False, True):
        monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda t=terminal: t, closed=False))
        assert lines.shows_bars() == terminal
    monkeypatch.setattr(sys, "stderr", None)
    assert not lines.shows_bars()


def test_lines_come_every_few_seconds_and_percent(log, clock):
    with reporting(True, 1_000, "model", available=200) as advance:
        for _ in range(100):
            clock(0.5)
            advance(8)
    # Ten batches take five seconds: 80 sequences, at 16 a second.
    expected = [
        f"model: {done:,} of 1,000 sequences ({done / 10:.0f}%), {duration((1_000 - done) / 16)} left"
        for done in range(280, 1_001, 80)
    ]
    assert log() == [*expected, "model: 800 sequences in 50 s"]


def test_lines_of_slow_models_wait_for_a_percent(log, clock):
    with reporting(True, 10_000, "model") as advance:
        for _ in range(100):
            clock(60.0)
            advance(10)
    assert len(log()) == 10 + 1
    assert log()[0] == "model: 100 of 10,000 sequences (1%), 16 h 30 min left"


def test_lines_without_a_total_have_a_rate(log, clock):
    with reporting(True, None, "seqs.fasta") as advance:
        clock(10.0)
        advance(25_000)
    assert log() == ["seqs.fasta: 25,000 sequences, 2,500 a second", "seqs.fasta: 25,000 sequences in 10 s"]


@pytest.mark.parametrize("progress", [False, True])
def test_short_work_and_no_progress_have_no_lines(log, clock, capsys, progress):
    with reporting(progress, 10, "model") as advance:
        clock(1.0 if progress else 100.0)
        advance(10)
    assert log() == []
    assert capsys.readouterr() == ("", "")


def test_a_function_gets_the_new_sequences():
    calls = []
    with reporting(lambda *call: calls.append(call), 10, "model", available=4) as advance:
        advance(2)
        advance(4)
    assert calls == [(2, 6), (6, 6)]


def test_a_terminal_has_a_bar_that_starts_with_the_available_ones(log, terminal, capsys):
    with reporting(True, 10, "model", available=4) as advance:
        advance(6)
    assert re.search(r"model:\s+40%.*4/10", capsys.readouterr().err)
    assert log() == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7_500, "2 h 5 min"),
        (7_200, "2 h"),
    ],
)
def test_durations_are_in_words(seconds, words):
    assert duration(seconds) == words


CASES = {
    "exact": {"budget": 4**6},
    "regression": {"method": "regress"},
    "quick": {"effort": "quick"},
    "auto": {},
    "trees": {"method": "trees"},
    "distill": {"method": "distill"},
    "mutants": {"distribution": ss.Mutagenesis("ACGTAC")},
    "rounds": {"target_r2": 0.999999, "effort": "quick"},
    "rounds to all sequences": {"target_r2": 1.0, "effort": "quick", "budget": 4**6},
}


@pytest.mark.parametrize("case", CASES)
def test_stages_are_counted_to_the_end(log, case):
    # Noise, so that the regression is not good enough to end the comparison.
    noise = np.random.default_rng(0).normal(size=4**6)
    weights = 4 ** np.arange(6)

    def noisy(codes):
        return noise[codes @ weights] + (codes == 2).sum(axis=1)

    ss.sketch(noisy, SPACE, inputs="codes", **{"budget": 1_200, **CASES[case]})
    stages = [match.groups() for match in map(STAGE.fullmatch, log()) if match]
    assert stages[0][-1] == "evaluation"
    totals = {int(total) for _, _, total, _ in stages}
    # All stages were foreseen: none was added later.
    assert len(totals) == 1
    rounds = {}
    for part, number, _, _ in stages:
        rounds.setdefault(part, []).append(int(number))
    for numbers in rounds.values():
        assert numbers[0] == 1
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == totals.copy().pop()
    if case == "rounds":
        assert list(rounds) == [f"round {k} of at most 3" for k in (1, 2, 3)]


def test_masks_and_labelled_data_have_stages(log):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (400, 6))
    ss.fit(codes, rng.normal(size=400), SPACE, method="auto")
    names = [STAGE.fullmatch(line)[4] for line in log()]
    assert (names[0], names[-1]) == ("regression", "fit to all queries")
    assert "boosted trees" in names


def test_outputs_have_stages_of_their_own(log):
    def two(sequences):
        return [(s.count("A"), s.count("C")) for s in sequences]

    ss.sketch_outputs(two, SPACE, outputs=["a", "c"], budget=300, method="regress")
    parts = [STAGE.fullmatch(line).group(1, 2, 4) for line in log()]
    assert parts[0] == ("", "1", "evaluation")
    assert parts[1:] == [("output a", "2", "regression"), ("output c", "2", "regression")]


def test_a_run_says_what_its_store_had(log, tmp_path):
    evaluator = ss.Evaluator(model, store=ss.Store(tmp_path / "values.db"))
    options = {"method": "regress", "random_state": 3}
    ss.sketch(evaluator, SPACE, budget=300, **options)
    assert not any("already" in line for line in log())
    ss.sketch(evaluator, SPACE, budget=500, **options)
    (said,) = [line for line in log() if "already" in line]
    assert said == f"{tmp_path / 'values.db'} has 300 of 500 values already"


def test_the_command_line_shows_stages_unless_it_is_quiet(shell, tmp_path):
    (tmp_path / "scores.csv").write_text(
        "sequence,score\n" + "".join(f"{s},{v}\n" for s, v in zip(ALL, model(ALL), strict=True))
    )
    command = ["sketch", "--values", "scores.csv", "--alphabet", "DNA", "--length", 6, "--budget", 300]
    command += ["--method", "regress"]
    code, _, err = shell(*command, "-o", "one.safetensors")
    assert code == 0
    stages = [match.group(2, 4) for match in re.finditer(rf"^shapsketch: {STAGE.pattern}$", err, re.M)]
    assert stages == [("1", "evaluation"), ("2", "regression")]
    assert "stage" not in without_progress(err)
    assert "stage" not in shell(*command, "-q", "-o", "two.safetensors")[2]
    assert logging.getLogger("shapsketch.progress").level == logging.NOTSET


def test_a_terminal_shows_stages_in_bars(terminal, log, capsys):
    ss.sketch(model, SPACE, budget=300, effort="quick")
    err = capsys.readouterr().err
    assert re.search(r"stage 1 of 2: 100%.*300/300", err)
    assert "stage 2 of 2: regression [" in err
    assert log() == []


ALL = SPACE.decode(np.array(list(np.ndindex(*[4] * 6)), dtype=np.uint8))
