"""Sampling where sequences and background are alike: errors at equal calls, coverage, efficiency."""

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st
from shapsketch.query.background import Background
from toys import random_spectrum

N, Q = 24, 4
SPACE = ss.SequenceSpace(ss.DNA, N)
WILD = np.random.default_rng(0).integers(0, Q, N).astype(np.uint8)


def planted(seed):
    """Return letter patterns near the wild type: positions, letters, coefficient."""
    rng = np.random.default_rng(seed)
    patterns = []
    for _ in range(50):
        support = np.sort(rng.choice(N, rng.integers(1, 4), replace=False))
        letters = np.where(rng.random(len(support)) < 0.7, WILD[support], rng.integers(0, Q, len(support)))
        patterns.append((support, letters, rng.normal()))
    return patterns


def scores(patterns, codes):
    return sum(c * (codes[:, support] == letters).all(axis=1) for support, letters, c in patterns)


def sketched(patterns):
    """Return the sketch that is the function itself."""
    frequencies, coefficients = [np.zeros(N, int)], [0.0]
    for support, letters, c in patterns:
        for number in range(Q ** len(support)):
            k = np.zeros(N, int)
            k[support] = np.unravel_index(number, (Q,) * len(support))
            frequencies.append(k)
            phase = (k[support] * letters).sum() / Q
            coefficients.append(c * Q ** -len(support) * np.exp(-2j * np.pi * phase))
    return ss.Sketch(ss.Spectrum(SPACE, np.array(frequencies), coefficients, real_part=True))


def mutants(count, rate, seed):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((count, N)) < rate, rng.integers(0, Q, (count, N)), WILD).astype(np.uint8)


def near(rate):
    probabilities = np.full((N, Q), rate / Q)
    probabilities[np.arange(N), WILD] += 1.0 - rate
    return probabilities


BACKGROUNDS = {
    "uniform": ("uniform", lambda rng: rng.integers(0, Q, N).astype(np.uint8)),
    "product 0.7": (near(0.7), lambda rng: mutants(1, 0.7, rng)[0]),
    "product 0.1": (near(0.1), lambda rng: mutants(1, 0.1, rng)[0]),
    "product 0.5": (near(0.5), lambda rng: mutants(1, 0.5, rng)[0]),
    "mutants": (SPACE.decode(mutants(80, 0.15, 7)), lambda rng: mutants(80, 0.15, 7)[rng.integers(80)]),
}
MODEL = planted(1)


def by_permutations(x, draw, calls, rng):
    """Return Shapley values by random permutations of the differing positions, each with its reverse."""
    total, used, drawn = np.zeros(N), 1, 0
    while True:
        background = draw(rng)
        order = rng.permutation(np.flatnonzero(background != x))
        # The two permutations have both ends in common; the sequence is evaluated once for all.
        used += 1 + max(0, 2 * (len(order) - 1))
        if used > calls:
            return total / drawn
        for each in (order, order[::-1]):
            rows = np.repeat(background[None], len(each) + 1, axis=0)
            for step, i in enumerate(each, 1):
                rows[step:, i] = x[i]
            total[each] += np.diff(scores(MODEL, rows)) / 2.0
        drawn += 1


@pytest.mark.parametrize("calls", [150, 300])
@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize("other", [False, True], ids=["its own sketch", "a sketch of another function"])
def test_refine_is_better_than_permutations_of_differing_positions(name, other, calls):
    background, draw = BACKGROUNDS[name]
    codes = mutants(12, 0.2, 3)
    truth = ss.Explainer(sketched(MODEL), background)(codes).values
    half = [(s, a, c * (i < 30)) for i, (s, a, c) in enumerate(MODEL)]
    explainer = ss.Explainer(sketched(planted(5) if other else half), background)
    errors, covered = [], []
    for seed in range(4):
        counted = []

        def model(rows, counted=counted):
            counted.append(len(rows))
            return scores(MODEL, np.asarray(rows))

        refined = explainer.refine(
            ss.Evaluator(model, inputs="codes"),
            codes,
            calls_per_sequence=calls,
            random_state=seed,
            progress=False,
        )
        assert sum(counted) <= calls * len(codes)
        np.testing.assert_allclose(
            refined.values.sum(axis=1) + refined.base_values, scores(MODEL, codes), atol=1e-9
        )
        errors.append(((refined.values - truth) ** 2).mean())
        covered.append(abs(refined.values - truth) <= 1.96 * refined.stderr + 1e-12)
    rng = np.random.default_rng(8)
    permuted = [
        ((by_permutations(x, draw, calls, rng) - t) ** 2).mean() for x, t in zip(codes, truth, strict=True)
    ]
    assert np.mean(errors) < np.mean(permuted)
    assert np.mean(covered) > 0.92


def test_a_background_that_is_the_sequence_itself_gives_zeros():
    probabilities = near(0.0)
    spectrum = random_spectrum(Q, N, 0)
    space_model = ss.Sketch(spectrum)
    refined = ss.Explainer(space_model, probabilities).refine(
        ss.Evaluator(lambda rows: scores(MODEL, np.asarray(rows)), inputs="codes"),
        WILD[None],
        calls_per_sequence=40,
        progress=False,
    )
    np.testing.assert_allclose(refined.values, 0.0, atol=1e-12)
    np.testing.assert_allclose(refined.base_values, scores(MODEL, WILD[None]), atol=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_even_draws_have_each_symbol_about_as_often_as_expected(seed, first, second):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(Q, 0.5), N)
    probabilities[0] = [0.0, 1.0, 0.0, 0.0]
    background = Background.parse(probabilities, SPACE)
    drawn = background.draw_evenly(WILD, [first, second], rng)
    assert drawn.shape == (first + second, N)
    for group in (drawn[:first], drawn[first:]):
        counts = (group[..., None] == np.arange(Q)).sum(axis=0)
        assert (abs(counts - len(group) * probabilities) < 2.0).all()
    assert (drawn[:, 0] == 1).all()


def test_even_draws_of_a_list_have_each_sequence_about_equally_often():
    listed = mutants(7, 0.5, 1)
    drawn = Background.parse(SPACE.decode(listed), SPACE).draw_evenly(WILD, [4, 5], np.random.default_rng(0))
    counts = [(drawn == row).all(axis=1).sum() for row in listed]
    assert sorted(counts) == [1] * 5 + [2] * 2


@pytest.mark.parametrize("calls", [60, 400])
def test_refined_values_are_unbiased_and_their_errors_hold(calls):
    """A function of high order with a poor sketch, in a space with letters by position."""
    space = ss.SequenceSpace(["ACGT", "AC", "ACG", "ACGT", "AG", "T", "ACGT", "ACGT"])
    rng = np.random.default_rng(4)
    table = rng.normal(size=4**8)
    rows = np.array([[0, 1, 2, 3, 0, 3, 1, 2]], dtype=np.uint8)

    def model(codes):
        return table[np.asarray(codes) @ 4 ** np.arange(8)]

    everything = ss.sketch(model, space, budget=space.size, method="exact", inputs="codes", progress=False)
    truth = ss.Explainer(everything)(rows).values[0]
    known = np.concatenate(list(ss.plan(space, 100, method="regress").batches()))
    few = ss.Explainer(ss.fit(known, model(known), space, method="regress", progress=False))
    estimates = [
        few.refine(
            ss.Evaluator(model, inputs="codes"),
            rows,
            calls_per_sequence=calls,
            random_state=seed,
            progress=False,
        )
        for seed in range(200)
    ]
    differences = np.array([each.values[0] for each in estimates]) - truth
    errors = np.array([each.stderr[0] for each in estimates])
    bias = differences.mean(axis=0) / (differences.std(axis=0) + 1e-12) * np.sqrt(len(estimates))
    assert abs(bias).max() < 4.0
    assert 0.9 < (abs(differences) <= 1.96 * errors + 1e-9).mean() < 0.985
