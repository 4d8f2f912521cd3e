"""The best predictor of a sketch, and how much time a fit may take."""

import csv
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting import effort, networks, selection
from shapsketch.fitting.holdout import Labelled
from shapsketch.fitting.learners import BoostingLearner, CountingLearner
from sklearn.linear_model import Ridge

# Read before a fixture replaces it by a smaller size.
STANDARD, NetworkSize = effort.STANDARD, effort.NetworkSize

pytest.importorskip("lightgbm", reason="pip install 'shapsketch[trees]'")

SPACE = ss.SequenceSpace(ss.DNA, 12)
QUIET = {"inputs": "codes", "progress": False}


def logarithm(codes):
    """The logarithm of the model: whether the number of a motif, at any place, is odd; and a linear part."""
    codes = np.asarray(codes)
    found = ((codes[:, :-1] == 2) & (codes[:, 1:] == 0)).sum(axis=1)
    return 2.0 * (found % 2) + 0.5 * (codes[:, 3] == 1)


def model(codes):
    return np.exp(logarithm(codes))


@pytest.fixture(scope="module")
def sketch():
    return ss.sketch(model, SPACE, budget=1_000, link="log", **QUIET)


def test_networks_of_the_default_size_learn_motifs_at_any_place():
    size = NetworkSize(2, 32, 20)
    assert size in STANDARD
    codes = np.random.default_rng(1).integers(0, 4, (3_000, 12)).astype(np.uint8)
    found = ((codes[:, :-1] == 2) & (codes[:, 1:] == 0)).sum(axis=1)
    data = Labelled(codes[:1_500], 1.0 * (found[:1_500] > 0))
    predictions = networks.train(SPACE, data, size, 0).predict(codes[1_500:])
    assert r2(1.0 * (found[1_500:] > 0), predictions) > 0.9


@pytest.fixture(scope="module")
def test_codes():
    return np.random.default_rng(9).integers(0, 4, (4_000, 12)).astype(np.uint8)


def r2(values, predictions):
    return 1.0 - ((values - predictions) ** 2).sum() / ((values - values.mean()) ** 2).sum()


def test_a_predictor_is_closer_to_the_model_than_the_closed_form_and_says_how_close(sketch, test_codes):
    predictor, truth = sketch.predictor, logarithm(test_codes)
    true = r2(truth, predictor.predict(test_codes))
    assert 1.0 - true < 0.6 * (1.0 - r2(truth, sketch.predict(test_codes)))
    low, high = predictor.r2_interval
    assert low <= true <= high
    assert low <= predictor.r2 <= high
    parts = predictor.parts
    assert {part.kind for part in parts} <= {"closed form", "trees", "networks"}
    assert any(part.kind != "closed form" for part in parts)
    assert all(part.weight > 0.0 for part in parts)
    assert sum(part.weight for part in parts) <= 1.0 + 1e-9
    assert predictor.r2 > max(part.r2 for part in parts) - 0.01
    assert f"predictor  R² {predictor.r2:.4f}" in sketch.summary()
    assert all(part.name in sketch.summary() and part.name in repr(predictor) for part in parts)


def test_a_file_and_a_pickle_contain_the_predictor(sketch, test_codes, tmp_path):
    sketch.save(tmp_path / "a.safetensors")
    loaded = ss.load(tmp_path / "a.safetensors")
    for other in (loaded, pickle.loads(pickle.dumps(sketch))):
        assert other.predictor.parts == sketch.predictor.parts
        assert other.predictor.r2_interval == sketch.predictor.r2_interval
        np.testing.assert_array_equal(
            other.predictor.predict(test_codes), sketch.predictor.predict(test_codes)
        )
    loaded.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_command_line_predicts_and_reports(sketch, tmp_path):
    pytest.importorskip("click", reason="pip install 'shapsketch[cli]'")
    path, fasta, table = (str(tmp_path / name) for name in ("a.safetensors", "a.fasta", "a.csv"))
    sketch.save(path)
    Path(fasta).write_text(">one\nACGTGAGAACGT\n>two\nGAGAGATTACAG\n")

    def run(*arguments):
        command = [sys.executable, "-m", "shapsketch.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    run("predict", path, fasta, "-o", table)
    rows = list(csv.reader(Path(table).read_text().split()))
    assert rows[0] == ["name", "score", "predictor"]
    words = ["ACGTGAGAACGT", "GAGAGATTACAG"]
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], sketch.predict(words))
    np.testing.assert_allclose([float(row[2]) for row in rows[1:]], sketch.predictor.predict(words))
    report = json.loads(run("info", path, "--json"))["predictor"]
    assert report["r2"] == pytest.approx(sketch.predictor.r2)
    assert [part["kind"] for part in report["parts"]] == [part.kind for part in sketch.predictor.parts]


def test_predictions_on_the_scale_of_the_model(sketch, test_codes):
    predictor = sketch.predictor
    response = predictor.predict(test_codes, response=True)
    np.testing.assert_allclose(response, np.exp(predictor.predict(test_codes)))
    assert r2(model(test_codes), response) > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.predict(["ACGT"]), "sequence 0"),
        (lambda p: p.predict(["ACGTACGTACGN"]), "'N' at position 11"),
        (lambda p: p.predict(["ACGTACGTACGT"], response="yes"), "response must be True or False"),
    ],
)
def test_bad_input_of_a_predictor(sketch, call, message):
    with pytest.raises(ss.InputError, match=message):
        call(sketch.predictor)


def test_quick_is_regression_alone_and_other_methods_have_no_predictor():
    quick = ss.sketch(logarithm, SPACE, budget=400, effort="quick", **QUIET)
    assert [each.name for each in quick.candidates] == ["regress"]
    assert quick.method == "regress"
    assert quick.predictor is None
    assert "predictor" not in quick.summary()
    regressed = ss.sketch(logarithm, SPACE, budget=400, method="regress", **QUIET)
    np.testing.assert_array_equal(quick.predict(["ACGTGAGAACGT"]), regressed.predict(["ACGTGAGAACGT"]))
    with pytest.raises(ss.InputError, match="no predictor besides its closed form"):
        ss.Explainer(quick, of="predictor")
    with pytest.raises(ss.InputError, match="effort must be one of 'quick', 'standard', 'thorough'"):
        ss.sketch(logarithm, SPACE, budget=400, effort="fast", **QUIET)
    with pytest.raises(ss.InputError, match="effort='quick' fits only a regression, and not the predictor"):
        ss.sketch(logarithm, SPACE, budget=400, effort="quick", method=Ridge(), **QUIET)


def test_what_does_not_fit_into_the_time_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr(effort, "LEAST_SECONDS", 1e-3)
    sketch = ss.sketch(logarithm, SPACE, budget=600, **QUIET)
    assert [each.name for each in sketch.candidates] == ["regress"]
    assert "left out to save time: " in sketch.status
    for step in ("trees", "networks", "trees (counts)"):
        assert step in sketch.status


def test_the_time_of_the_model_counts(monkeypatch):
    monkeypatch.setattr(effort, "LEAST_SECONDS", 1e-3)

    def slow(codes):
        time.sleep(1.0)
        return logarithm(codes)

    clocks = []
    monkeypatch.setattr(selection, "Clock", lambda *given: clocks.append(effort.Clock(*given)) or clocks[-1])
    ss.sketch(
        ss.Evaluator(slow, inputs="codes", batch_size=600, check=False), SPACE, budget=600, progress=False
    )
    assert 1.0 <= clocks[0].allowed < 60.0


@pytest.mark.parametrize(
    ("learner", "finished", "method"),
    [
        (BoostingLearner, {"regress", "networks"}, "trees"),
        (CountingLearner, {"regress", "trees", "networks"}, "distill"),
    ],
)
def test_an_interrupt_keeps_the_best_so_far(monkeypatch, learner, finished, method):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(learner, "fit", interrupted)
    sketch = ss.sketch(logarithm, SPACE, budget=600, **QUIET)
    assert {each.name for each in sketch.candidates} == finished
    assert "interrupted: the best so far" in sketch.status
    assert sketch.r2 > 0.0
    with pytest.raises(KeyboardInterrupt):
        ss.sketch(logarithm, SPACE, budget=600, method=method, **QUIET)


def test_networks_refuse_what_they_cannot_learn_from():
    codes = np.zeros((200, 12), dtype=np.uint8)
    options = {"members": 1, "channels": 4, "hidden": 4, "epochs": 1, "rate": 1e-3, "decay": 0.1, "seed": 0}
    for values, weights, message in [
        (np.ones(200), None, "of different size, to train networks, got 200 times 1"),
        (np.ones(199), None, "199 values for 200"),
        (np.arange(200.0), np.full(200, np.nan), "weights: value NaN at index 0 is not finite"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            _core.Networks.train(SPACE._core, codes, values, weights, **options)
    with pytest.raises(ss.InputError, match="at least 100 to train networks, got 3"):
        _core.Networks.train(SPACE._core, codes[:3], np.arange(3.0), None, **options)
