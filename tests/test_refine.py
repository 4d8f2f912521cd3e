"""Sampling where sequences and background are alike: errors at equal calls, coverage, efficiency."""

import numpy as np
import pytest
import shapsketch as ss
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
    "product 0.1": (near(0.1), lambda rng: mutants(1, 0.1, rng)[0]),
    "product 0.5": (near(0.5), lambda rng: mutants(1, 0.5, rng)[0]),
    "mutants": (SPACE.decode(mutants(80, 0.15, 7)), lambda rng: mutants(80, 0.15, 7)[rng.integers(80)]),
}
MODEL = planted(1)


def by_permutations(x, draw, calls, rng):
    """Return Shapley values by random permutations of the differing positions, each with its reverse."""
    total, used, drawn = np.zeros(N), 1, 0
    while used < calls:
        background = draw(rng)
        order = rng.permutation(np.flatnonzero(background != x))
        for each in (order, order[::-1]):
            rows = np.repeat(background[None], len(each) + 1, axis=0)
            for step, i in enumerate(each, 1):
                rows[step:, i] = x[i]
            total[each] += np.diff(scores(MODEL, rows)) / 2.0
        # The two permutations have both ends in common; the sequence is evaluated once for all.
        used += 1 + max(0, 2 * (len(order) - 1))
        drawn += 1
    return total / drawn


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize("other", [False, True], ids=["its own sketch", "a sketch of another function"])
def test_refine_is_better_than_permutations_of_differing_positions(name, other):
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
            calls_per_sequence=300,
            random_state=seed,
            progress=False,
        )
        assert sum(counted) <= 300 * len(codes)
        np.testing.assert_allclose(
            refined.values.sum(axis=1) + refined.base_values, scores(MODEL, codes), atol=1e-9
        )
        errors.append(((refined.values - truth) ** 2).mean())
        covered.append(abs(refined.values - truth) <= 1.96 * refined.stderr + 1e-12)
    rng = np.random.default_rng(8)
    permuted = [
        ((by_permutations(x, draw, 300, rng) - t) ** 2).mean() for x, t in zip(codes, truth, strict=True)
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
