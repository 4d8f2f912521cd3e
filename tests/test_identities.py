"""Explanations equal brute-force evaluations of their definitions."""

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st
from toys import all_sequences, evaluate, game, moebius, random_spectrum, shapley_values

SHAPES = [(2, 8), (3, 5), (4, 5), (5, 4), (6, 4), (20, 3)]


@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31))
def test_values_and_interactions_equal_brute_force(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    x = np.random.default_rng(seed).integers(0, q, n)
    values = game(lambda rows: evaluate(spectrum, rows), q, x)
    explainer = ss.Explainer(spectrum)
    explanation = explainer(x[None])
    np.testing.assert_allclose(explanation.values[0], shapley_values(values, n), atol=1e-10)
    np.testing.assert_allclose(explanation.base_values[0], values[0], atol=1e-10)
    result = explainer.interactions(x[None])
    exact = moebius(values, n)
    for support, value in zip(result.supports, result.values[0], strict=True):
        assert value == pytest.approx(exact.pop(support), abs=1e-10)
    assert all(abs(value) < 1e-10 for value in exact.values()), "an interaction is missing"


@given(shape=st.sampled_from([*SHAPES, (4, 60), (20, 56)]), seed=st.integers(0, 2**31))
def test_efficiency_and_prediction(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed, terms=40)
    codes = np.random.default_rng(seed).integers(0, q, (20, n))
    explanation = ss.Explainer(spectrum)(codes)
    direct = evaluate(spectrum, codes)
    np.testing.assert_allclose(spectrum.predict(codes), direct, atol=1e-10)
    np.testing.assert_allclose(explanation.values.sum(axis=1) + explanation.base_values, direct, atol=1e-10)


@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31))
def test_order_energy_is_the_variance(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    values = evaluate(spectrum, all_sequences(q, n))
    energy = spectrum.order_energy()
    assert energy[1:].sum() == pytest.approx(values.var(), rel=1e-10, abs=1e-10)
    assert energy[0] == pytest.approx(values.mean() ** 2, rel=1e-10, abs=1e-10)


@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31))
def test_the_exact_sketch_is_the_function(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    sketch = ss.sketch(
        lambda codes: evaluate(spectrum, codes),
        spectrum.space,
        budget=q**n,
        inputs="codes",
        progress=False,
    )
    assert sketch.method == "exact"
    assert sketch.n_queries == q**n
    table = {bytes(k): value for k, value in zip(spectrum.frequencies, spectrum.coefficients, strict=True)}
    for k, value in zip(sketch.spectrum.frequencies, sketch.spectrum.coefficients, strict=True):
        assert value == pytest.approx(table.pop(bytes(k), 0.0), abs=1e-10)
    assert all(abs(value) < 1e-10 for value in table.values())


@given(seed=st.integers(0, 2**31), order=st.integers(0, 4), count=st.integers(0, 30))
def test_truncation_by_order_terms_and_energy(seed, order, count):
    spectrum = random_spectrum(4, 6, seed, terms=20)
    orders = np.count_nonzero(spectrum.truncate(max_order=order).frequencies, axis=1)
    assert (orders <= order).all()
    assert len(orders) == (np.count_nonzero(spectrum.frequencies, axis=1) <= order).sum()
    assert len(spectrum.truncate(max_terms=count)) in (count, count - 1)
    assert spectrum.truncate(energy=1.0).order_energy()[1:].sum() == pytest.approx(
        spectrum.order_energy()[1:].sum()
    )
    half = spectrum.truncate(energy=0.5)
    assert half.order_energy()[1:].sum() >= 0.5 * spectrum.order_energy()[1:].sum()
    assert len(half) < len(spectrum)
