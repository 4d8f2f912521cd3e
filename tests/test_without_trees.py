"""What works if LightGBM, or LightGBM and SciPy, are not installed; and averages, which need neither."""

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from shapsketch.fitting import distillation, effort
from shapsketch.fitting.selection import Fitted, _better
from shapsketch.fitting.stacking import _stacked
from toys import hide

SPACE = ss.SequenceSpace(ss.DNA, 7)
BITS = ss.SequenceSpace("01", 16)
NOTE = (
    r"trees were not tried: fitting trees needs {}, which is not installed: pip install 'shapsketch[trees]'"
)


def convolution(codes):
    """The best match of each of four filters at any place, above a threshold."""
    filters = np.random.default_rng(0).normal(size=(3, 4, 4))
    last = codes.shape[1] - 2
    matches = sum(filters[k][:, codes[:, k : k + last].astype(int)] for k in range(3))
    return np.maximum(matches - 1.5, 0.0).max(axis=2).sum(axis=0)


def sketched(space=SPACE, budget=600, **options):
    return ss.sketch(
        ss.Evaluator(convolution, inputs="codes"), space, budget=budget, progress=False, **options
    )


def names(sketch):
    return [candidate.name for candidate in sketch.candidates]


@pytest.mark.parametrize(("hidden", "first"), [(["lightgbm"], "lightgbm"), (["lightgbm", "scipy"], "scipy")])
def test_auto_compares_regression_networks_and_their_student(monkeypatch, caplog, hidden, first):
    hide(monkeypatch, *hidden)
    monkeypatch.setattr(effort, "STANDARD", (effort.NetworkSize(1, 32, 20),))
    sketch = sketched(budget=800)
    assert names(sketch) == ["regress", "networks", "distill"]
    assert sketch.status.endswith(NOTE.format(first))
    assert NOTE.format(first) in caplog.text
    regression = sketch.candidates[0]
    codes = np.random.default_rng(1).integers(0, 4, (4_000, 7)).astype(np.uint8)
    truth, predictions = convolution(codes), sketch.predictor.predict(codes)
    r2 = 1.0 - ((truth - predictions) ** 2).mean() / truth.var()
    assert "networks" in [part.name for part in sketch.predictor.parts]
    assert r2 > regression.r2 + 0.05
    assert abs(r2 - sketch.predictor.r2) < 0.1


def test_a_thorough_fit_has_the_student_that_needs_no_trees(monkeypatch):
    hide(monkeypatch, "lightgbm", "scipy")
    monkeypatch.setattr(effort, "THOROUGH", effort.NetworkSize(1, 32, 40))
    monkeypatch.setattr(distillation, "TREE_PREDICTIONS", (200, 200))
    sketch = sketched(BITS, 400, effort="thorough")
    assert names(sketch) == ["regress", "networks", "distill (regress)"]


def test_patterns_of_a_student_have_no_standard_errors(monkeypatch):
    monkeypatch.setattr(distillation, "FEW_PREDICTIONS", (300, 300))
    hide(monkeypatch, "lightgbm", "scipy")
    space = ss.SequenceSpace("AB", 20)
    sketch = sketched(space, 300, method="distill")
    assert names(sketch) == ["networks", "distill (regress)"]
    assert len(sketch.patterns) + 1 == sketch.n_terms
    assert all(np.isnan(pattern.stderr) for pattern in sketch.patterns)
    assert "letter patterns" in sketch.summary()


def test_quick_fits_have_no_note(monkeypatch):
    hide(monkeypatch, "lightgbm", "scipy")
    sketch = sketched(budget=400, effort="quick")
    assert sketch.method == "regress"
    assert sketch.status == "cross-validated"


def test_only_the_method_trees_needs_the_extra(monkeypatch):
    hide(monkeypatch, "lightgbm")
    asked = []

    def model(codes):
        asked.append(len(codes))
        return convolution(codes)

    codes = np.random.default_rng(1).integers(0, 4, (400, 7))
    for call in (
        lambda: ss.sketch(ss.Evaluator(model, inputs="codes"), SPACE, budget=400, method="trees"),
        lambda: ss.fit(codes, convolution(codes), SPACE, method="trees"),
        lambda: ss.TreeSketch(SPACE).fit(codes, convolution(codes)),
    ):
        with pytest.raises(ss.MissingExtraError, match=r"lightgbm.*pip install 'shapsketch\[trees\]'"):
            call()
    assert asked == []
    sketch = ss.fit(codes, convolution(codes), SPACE, method="distill", progress=False)
    assert names(sketch) == ["networks", "distill"]
    assert NOTE.format("lightgbm") in sketch.status


def test_distillation_without_trees_trains_networks_even_if_they_take_long(monkeypatch):
    monkeypatch.setattr(effort, "LEAST_SECONDS", 1e-9)
    assert effort.Clock("standard", 0.0).networks(SPACE, 400) is None
    hide(monkeypatch, "lightgbm")
    sketch = sketched(budget=400, method="distill")
    assert names(sketch) == ["networks", "distill"]
    assert "left out" not in sketch.status


class Convolution:
    """A teacher that knows the model."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return convolution(X)


def test_a_teacher_needs_no_extra(monkeypatch):
    hide(monkeypatch, "lightgbm", "scipy")
    sketch = sketched(budget=400, method=Convolution())
    assert names(sketch)[-2:] == ["teacher", "distill"]
    assert sketch.r2 > 0.999
    assert NOTE.format("scipy") in sketch.status


@pytest.mark.parametrize("hidden", [["lightgbm"], ["lightgbm", "scipy"]])
def test_global_epistasis_needs_scipy_alone(monkeypatch, hidden):
    hide(monkeypatch, *hidden)
    near = ss.Mutagenesis("ACGTACGT", rate=0.2)
    sketch = sketched(ss.SequenceSpace(ss.DNA, 8), 320, distribution=near)
    scipy = "scipy" in hidden
    assert ("global epistasis" in names(sketch)) != scipy
    assert "networks" in names(sketch)
    assert ("trees and global epistasis were not tried" in sketch.status) == scipy
    assert "not tried" in sketch.status


def test_the_note_stays_if_peeling_is_better():
    additive = ss.sketch(
        lambda x: [s.count("G") for s in x], SPACE, budget=200, effort="quick", progress=False
    )
    peeled = Fitted(additive._core, regression_r2=additive.r2)
    others = Fitted(sketched(budget=200, effort="quick")._core, missing="trees were not tried")
    better = _better(others, peeled)
    assert better.core.info.r2.value == additive.r2
    assert better.missing == "trees were not tried"


def squares(table, values, weights):
    return ((values - table @ weights) ** 2).sum()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 6),
    noise=st.sampled_from([0.01, 0.5, 3.0]),
    weighted=st.booleans(),
    size=st.sampled_from([1e-100, 1.0, 1e100]),
)
def test_weights_of_an_average_are_those_of_scipy(seed, count, noise, weighted, size):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=80)
    table = rng.uniform(0.0, 2.0, count) * truth[:, None] + noise * rng.normal(size=(80, count))
    row_weights = rng.uniform(0.1, 3.0, 80) if weighted else None
    weights = _stacked(size * table, size * truth, row_weights)
    assert weights.min() >= 0.0
    assert weights.sum() <= 1.0 + 1e-12
    roots = np.ones(80) if row_weights is None else np.sqrt(row_weights)
    table, truth = roots[:, None] * table, roots * truth
    expected = nnls(table, truth)[0]
    if expected.sum() > 1.0:
        # Weights with the sum 1 have the same residuals in the table minus the values.
        heavy = np.concatenate([table - truth[:, None], np.full((1, count), 1e5)])
        expected = nnls(heavy, np.append(np.zeros(80), 1e5))[0]
        expected /= expected.sum()
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-8)
    assert squares(table, truth, weights) <= squares(table, truth, expected) * (1.0 + 1e-12)


def test_a_candidate_that_occurs_twice_has_one_weight():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=100)
    good, other = (truth + rng.normal(size=100) for _ in range(2))
    weights = _stacked(np.stack([good, good, other], axis=1), truth, None)
    expected = _stacked(np.stack([good, other], axis=1), truth, None)
    np.testing.assert_allclose(weights[[0, 2]], expected, rtol=0, atol=1e-12)
    assert weights[1] == 0.0
