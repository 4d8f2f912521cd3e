"""Shapley values of deep trees, whose terms are evaluated without a list of components."""

from itertools import product

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor
from toys import shapley_values

PROPERTY = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
# Several positions of a large alphabet: the tables of the components would have more than 2^20 entries.
Q, N = 20, 6
SPACE = ss.SequenceSpace(ss.PROTEIN, N)


def features(codes, layout):
    return np.eye(Q)[codes].reshape(len(codes), -1) if layout == "onehot" else codes.astype(float)


def deep(seed, layout):
    """Return a deep tree, its sketch, and random codes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, Q, (400, N))
    model = DecisionTreeRegressor(max_depth=12, random_state=seed % 1000)
    model.fit(features(codes, layout), rng.normal(size=len(codes)))
    return model, ss.from_trees(model, SPACE), rng


def by_coalitions(model, layout, rows, chances, x):
    """Return the Shapley values and the base value of a sequence by all coalitions of its positions."""
    scores = []
    for mask in range(2**N):
        mixed = np.where((mask >> np.arange(N)) & 1, x, rows)
        scores.append(chances @ model.predict(features(mixed, layout)))
    return shapley_values(np.array(scores), N), scores[0]


@pytest.mark.parametrize("layout", ["onehot", "codes"])
@pytest.mark.parametrize("kind", ["reference", "references", "product"])
@PROPERTY
@given(seed=st.integers(0, 2**32 - 1))
def test_deep_trees_equal_brute_force(layout, kind, seed):
    model, sketch, rng = deep(seed, layout)
    x = rng.integers(0, Q, (3, N))
    if kind == "product":
        # Two symbols of each position, so that all sequences can be listed.
        pairs = np.array([rng.choice(Q, 2, replace=False) for _ in range(N)])
        high = rng.uniform(0.1, 0.9, N)
        background = np.zeros((N, Q))
        background[np.arange(N), pairs[:, 0]] = 1.0 - high
        background[np.arange(N), pairs[:, 1]] = high
        words = np.array(list(product((0, 1), repeat=N)))
        rows, chances = pairs[np.arange(N), words], np.where(words, high, 1.0 - high).prod(axis=1)
    else:
        background = rows = rng.integers(0, Q, (1 if kind == "reference" else 5, N))
        chances = np.full(len(rows), 1.0 / len(rows))
    explanations = ss.Explainer(sketch, background=background)(x)
    for row, values, base in zip(x, explanations.values, explanations.base_values, strict=True):
        expected, mean = by_coalitions(model, layout, rows, chances, row)
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(base, mean, rtol=0, atol=1e-9)


@PROPERTY
@given(seed=st.integers(0, 2**32 - 1))
def test_uniform_values_are_those_of_equal_probabilities(seed):
    _, sketch, rng = deep(seed, "onehot")
    x = rng.integers(0, Q, (40, N))
    uniform = ss.Explainer(sketch)(x)
    equal = ss.Explainer(sketch, background=np.full((N, Q), 1.0 / Q))(x)
    np.testing.assert_allclose(uniform.values, equal.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        uniform.values.sum(axis=1) + uniform.base_values, sketch.predict(x), rtol=0, atol=1e-9
    )
    # One sequence alone has the values that it has among others.
    np.testing.assert_allclose(ss.Explainer(sketch)(x[:1]).values, uniform.values[:1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("background", ["uniform", "reference"])
def test_all_views_agree_on_deep_trees(background, tmp_path):
    model, sketch, rng = deep(5, "onehot")
    x = rng.integers(0, Q, (4, N))
    given_background = "uniform" if background == "uniform" else rng.integers(0, Q, (1, N))
    explainer = ss.Explainer(sketch, background=given_background)
    values = explainer(x).values
    first = explainer.interactions(x, index="SV", max_order=1)
    for column, support in enumerate(first.supports):
        np.testing.assert_allclose(first.values[:, column], values[:, support[0]], rtol=0, atol=1e-9)
    effects = explainer.mutation_effects(x)
    mutants = np.repeat(x[:1], Q, axis=0)
    mutants[:, 2] = np.arange(Q)
    changes = model.predict(features(mutants, "onehot")) - model.predict(features(x[:1], "onehot"))
    np.testing.assert_allclose(np.asarray(effects).reshape(len(x), N, Q)[0, 2], changes, rtol=0, atol=1e-9)
    sketch.save(tmp_path / "trees.safetensors")
    loaded = ss.load(tmp_path / "trees.safetensors")
    np.testing.assert_array_equal(loaded.predict(x), sketch.predict(x))
    np.testing.assert_array_equal(ss.Explainer(loaded, background=given_background)(x).values, values)
