"""Explanations of random functions equal those of other packages."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import shapiq
import shapsketch as ss
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapzero.shap.shap_explainer import shap_explainer
from toys import evaluate, game, random_spectrum

with warnings.catch_warnings():
    # Packages that shap imports emit warnings.
    warnings.simplefilter("ignore")
    import shap


def published(spectrum):
    """The explainer of the SHAP zero paper on the same coefficients."""
    keys = [tuple(int(v) for v in k) for k in spectrum.frequencies]
    with contextlib.redirect_stdout(io.StringIO()):
        return shap_explainer(
            dict(zip(keys, spectrum.coefficients, strict=True)), q=spectrum.space.q, n=spectrum.space.n
        )


@settings(max_examples=20)
@given(shape=st.sampled_from([(2, 8), (3, 6), (4, 6), (5, 5), (20, 4)]), seed=st.integers(0, 2**31))
def test_shapzero_agrees(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed, terms=8, max_order=2 if q == 20 else 4)
    x = np.random.default_rng(seed).integers(0, q, n)
    other = published(spectrum)
    values = np.zeros(n)
    for (position,), value in other.explain(x, explanation="shap_value").items():
        values[position] = value
    explainer = ss.Explainer(spectrum)
    np.testing.assert_allclose(explainer(x[None]).values[0], values, atol=1e-9)
    theirs = {tuple(int(i) for i in k): v for k, v in other.explain(x, explanation="interaction").items()}
    ours = explainer.interactions(x[None])
    for support, value in zip(ours.supports, ours.values[0], strict=True):
        assert value == pytest.approx(theirs.pop(support, 0.0), abs=1e-9)
    assert all(abs(value) < 1e-9 for value in theirs.values())


@settings(max_examples=20)
@given(shape=st.sampled_from([(2, 8), (3, 5), (4, 5), (5, 4), (6, 4), (20, 3)]), seed=st.integers(0, 2**31))
def test_shapiq_agrees(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    x = np.random.default_rng(seed).integers(0, q, n)
    values = game(lambda rows: evaluate(spectrum, rows), q, x)

    def coalitions(masks):
        return values[np.asarray(masks).astype(int) @ (1 << np.arange(n))]

    computer = shapiq.ExactComputer(coalitions, n_players=n)
    shapley = computer("SV")
    explainer = ss.Explainer(spectrum)
    explanation = explainer(x[None])
    np.testing.assert_allclose(explanation.values[0], [shapley[(i,)] for i in range(n)], atol=1e-10)
    exact = computer("Moebius", n)
    ours = explainer.interactions(x[None])
    table = dict(zip(ours.supports, ours.values[0], strict=True))
    for support in exact.interaction_lookup:
        if support:
            assert table.get(support, 0.0) == pytest.approx(exact[support], abs=1e-10)


@settings(max_examples=15)
@given(shape=st.sampled_from([(2, 8), (4, 6), (20, 4)]), seed=st.integers(0, 2**31))
def test_the_exact_explainer_of_shap_agrees_for_a_reference(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    rng = np.random.default_rng(seed)
    reference, codes = rng.integers(0, q, (1, n)), rng.integers(0, q, (3, n))
    # shap fails with an IndexError for a sequence that is the reference.
    assume((codes != reference).any(axis=1).all())
    masker = shap.maskers.Independent(reference.astype(float), max_samples=1)
    theirs = shap.explainers.Exact(lambda rows: evaluate(spectrum, rows.astype(int)), masker)(
        codes.astype(float)
    )
    ours = ss.Explainer(spectrum, background=reference[0])(codes)
    np.testing.assert_allclose(ours.values, theirs.values, atol=1e-9)
    np.testing.assert_allclose(ours.base_values, theirs.base_values, atol=1e-9)
