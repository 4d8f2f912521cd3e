"""Global epistasis: features of mutations, ridge regressions, monotone curves, and sketches with them."""

import itertools

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st
from shapsketch import _core
from shapsketch.fitting import epistasis
from shapsketch.fitting.curves import Curve
from shapsketch.fitting.epistasis import CrossValidated, Mutations, Ridge
from shapsketch.fitting.holdout import Labelled

Q, N = 4, 7
SPACE = ss.SequenceSpace(ss.DNA, length=N)
VARIANCES = np.array([100.0, 0.3, 0.2, 0.7, 0.1])


def near(rng, count):
    codes = np.zeros((count, N), dtype=np.uint8)
    hit = rng.random(codes.shape) < 0.3
    codes[hit] = rng.integers(1, Q, int(hit.sum()))
    return codes


def dense(features, codes):
    """The features of each sequence, one after the other."""
    rows = []
    for row in codes:
        mutated = [(i, int(a)) for i, a in enumerate(row) if a != features.reference[i]]
        numbers = [i * Q + a for i, a in mutated]
        positions, symbols = np.zeros(N), np.zeros(N * Q)
        positions[[i for i, _ in mutated]] = 1.0
        symbols[numbers] = 1.0
        both = {first * N * Q + second for first, second in itertools.combinations(numbers, 2)}
        pairs = [float(pair in both) for pair in features.pairs]
        rows.append(np.concatenate([[1.0, len(mutated)], positions, symbols, pairs]))
    return np.array(rows)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_features_are_those_of_a_loop(seed, count):
    rng = np.random.default_rng(seed)
    codes, others = near(rng, count), near(rng, 9)
    features = Mutations.of(codes, Q)
    for each in (codes, others):
        blocks = [block.toarray() for block in features.blocks(each)]
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), dense(features, each))
    assert len(features.groups()) == sum(block.shape[1] for block in features.blocks(codes))


@given(st.integers(0, 2**32 - 1))
def test_the_closed_form_is_the_sum_of_the_features(seed):
    rng = np.random.default_rng(seed)
    codes, others = near(rng, 50), near(rng, 20)
    features = Mutations.of(codes, Q)
    coefficients = rng.normal(size=len(features.groups()))
    sketch = features.closed_form(SPACE, coefficients)
    expected = dense(features, others) @ coefficients
    np.testing.assert_allclose(_core.Components(sketch).predict(others), expected, rtol=1e-9, atol=1e-9)


def ridge_by_definition(table, values, prior, weights):
    """Minimise ``sum w (y - A c)^2 + sum c^2 / v``."""
    weighted = table * weights[:, None]
    return np.linalg.solve(table.T @ weighted + np.diag(1.0 / prior), weighted.T @ values)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_ridge_regression_is_the_minimum(weighted, monkeypatch):
    monkeypatch.setattr(epistasis, "TOLERANCE", 1e-13)
    rng = np.random.default_rng(4)
    codes = near(rng, 60)
    features = Mutations.of(codes, Q)
    blocks, groups = features.blocks(codes), features.groups()
    values = rng.normal(size=60)
    weights = rng.uniform(0.5, 1.5, 60) if weighted else np.ones(60)
    weights /= weights.mean()
    ridge = Ridge(blocks, groups, weights if weighted else None)
    prior = np.repeat(VARIANCES, [block.shape[1] for block in blocks])
    table = dense(features, codes)
    expected = ridge_by_definition(table, values, prior, weights)
    np.testing.assert_allclose(ridge.fit(values, VARIANCES, 0), expected, rtol=1e-7, atol=1e-9)
    # Reweighted once: prior variances follow the squared effects of each group.
    factors = np.ones(len(prior))
    start = 2
    for block in blocks[2:]:
        part = slice(start, start + block.shape[1])
        effect = {
            group: np.mean(expected[groups == group] ** 2 / prior[groups == group])
            for group in set(groups[part])
        }
        sizes = np.array([effect[group] for group in groups[part]])
        factors[part] = np.clip(sizes / sizes.mean(), 0.02, 50.0)
        start = part.stop
    again = ridge_by_definition(table, values, prior * factors, weights)
    np.testing.assert_allclose(ridge.fit(values, VARIANCES, 1), again, rtol=1e-6, atol=1e-8)


def test_folds_are_predicted_by_fits_to_the_others(monkeypatch):
    monkeypatch.setattr(epistasis, "TOLERANCE", 1e-13)
    rng = np.random.default_rng(5)
    codes = np.repeat(near(rng, 40), 2, axis=0)
    values = rng.normal(size=80)
    features = Mutations.of(codes, Q)
    blocks = features.blocks(codes)
    folds = CrossValidated(Labelled(codes, values), blocks, features.groups(), seed=0)
    predictions = folds.predictions(values, VARIANCES)
    # A change of the value of one sequence, in both rows, does not change its own prediction.
    changed = values.copy()
    same = (codes == codes[6]).all(axis=1)
    changed[same] += 5.0
    moved = folds.predictions(changed, VARIANCES) != predictions
    assert not moved[same].any()
    assert moved.any()


@given(st.integers(0, 2**32 - 1), st.integers(12, 200))
def test_a_curve_does_not_descend(seed, count):
    rng = np.random.default_rng(seed)
    at, values = rng.normal(size=count), rng.normal(size=count)
    curve = Curve.fit(at, values, None)
    assert (np.diff(curve(np.linspace(-6.0, 6.0, 200))) >= -1e-9).all()
    knots, heights = curve.points(at)
    assert (np.diff(knots) > 0.0).all()
    assert (np.diff(heights) >= 0.0).all()


def test_a_curve_finds_a_sigmoid():
    at = np.random.default_rng(0).normal(size=500) * 2.0
    values = 1.0 / (1.0 + np.exp(-2.0 * at))
    curve = Curve.fit(at, values, None)
    assert np.abs(curve(at) - values).max() < 0.03
    knots, heights = curve.points(at)
    assert np.abs(np.interp(at, knots, heights) - values).max() < 0.03


def test_a_sketch_near_a_wild_type_learns_the_curve(tmp_path):
    n, wild = 15, np.random.default_rng(1).integers(0, Q, 15)
    space = ss.SequenceSpace(ss.DNA, n)
    effects = np.random.default_rng(2).normal(-1.0, 1.0, (n, Q))
    effects[np.arange(n), wild] = 0.0

    def model(codes):
        latent = 2.5 + effects[np.arange(n), codes].sum(axis=1)
        return 100.0 / (1.0 + np.exp(-latent))

    distribution = ss.Mutagenesis(wild, rate=0.2)
    sketch = ss.sketch(
        model, space, budget=500, distribution=distribution, inputs="codes", progress=False, random_state=1
    )
    predictor = sketch.predictor
    assert [part.name for part in predictor.parts] == ["global epistasis"]
    assert [part.kind for part in predictor.parts] == ["monotone"]
    codes = np.concatenate(list(ss.plan(space, 900, distribution=distribution, random_state=9).batches()))
    truth = model(codes)

    def r2(predictions):
        return 1.0 - np.mean((truth - predictions) ** 2) / truth.var()

    assert r2(predictor.predict(codes)) > 0.98
    assert r2(predictor.predict(codes)) > r2(sketch.predict(codes)) + 0.03
    sketch.save(tmp_path / "s.safetensors")
    loaded = ss.load(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(loaded.predictor.predict(codes), predictor.predict(codes))
    # Sampled Shapley values of the predictor add up to its prediction minus that of the wild type.
    explanation = ss.Explainer(loaded, of="predictor")(codes[:3])
    np.testing.assert_allclose(
        explanation.values.sum(axis=1) + explanation.base_values, predictor.predict(codes[:3]), rtol=1e-6
    )
