"""Shapley values of the difference between a model and its sketch, estimated by sampling.

The Shapley values of a model are those of its surrogate, which are exact, plus those of the difference
``r = model - surrogate``, which are sampled. The surrogate is a control variate: the sum is unbiased for any
surrogate, and its variance falls with that of ``r``.

A coalition ``T`` of ``t`` positions is drawn with probability ``c / (t (n - t))`` for its size, together with
its complement and one background sequence ``b``. With ``d = r(x_T, b) - r(x_rest, b)``, ``w_i = (n - t) / c``
for ``i`` inside ``T`` and ``-t / c`` outside, the Shapley values are ``E[w d / 2] + (r(x) - E r(b)) / n``
(SHAP-IQ: Fumagalli et al., NeurIPS 2023; with paired coalitions this is the unbiased KernelSHAP of Covert &
Lee, AISTATS 2021). For each pair of coalitions, a ridge regression on all other pairs predicts the linear
part of ``d``, which is subtracted: the estimate stays unbiased and its variance falls (regression-adjusted
sampling: Witter et al., NeurIPS 2025).

Each hybrid of a sequence is evaluated once. With one reference as background, positions at which the sequence
equals the reference have the value 0; the game has only the other positions. If all hybrids fit into the
number of calls, all are evaluated, and the values are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import check_memory
from shapsketch.evaluate.evaluator import Parts
from shapsketch.explain.background import Background
from shapsketch.space import Codes, Values

# Takes `Parts` of sequences and the number of sequences; returns values (count,) on the scale of the sketch.
ValuesOf: TypeAlias = Callable[[Parts, int], Values]

# Fraction of the calls of each sequence that estimate the mean over the background. Short sequences use more,
# 0.5 / n, because the error of that mean is divided among few positions.
BACKGROUND_FRACTION = 0.05
# Smallest number of these calls.
MIN_BACKGROUND_CALLS = 8
# Smallest number of calls for one sequence.
MIN_CALLS = 32
# Predicted memory for each symbol of each hybrid of one sequence, in bytes.
SYMBOL_BYTES = 48


@dataclass(frozen=True)
class Sampled:
    """Sampled explanations of a difference.

    Attributes
    ----------
    values, stderr : numpy.ndarray of float64, shape (B, n)
        Shapley values and their standard errors.
    base_values : numpy.ndarray of float64, shape (B,)
        Means of the difference over the background.
    pairs, pair_stderr : numpy.ndarray of float64, shape (B, n, n), or None
        Shapley interactions of pairs, above the diagonal, and their standard errors.
    """

    values: Values
    stderr: Values
    base_values: Values
    pairs: Values | None
    pair_stderr: Values | None


@dataclass(frozen=True)
class _Estimate:
    """Shapley values (m,) of the m positions of a game and of their pairs (m, m), with variances."""

    values: Values
    variances: Values
    pairs: Values | None = None
    pair_variances: Values | None = None


@dataclass(frozen=True)
class _AllCoalitions:
    """Every coalition of the m positions at which a sequence differs from the only reference.

    Attributes
    ----------
    positions : numpy.ndarray of int64, shape (m,)
    hybrids : numpy.ndarray of uint8, shape (2**m, n)
        Sequences to evaluate. Bit i of the index is 1 if ``positions[i]`` is in the coalition, so the first
        hybrid is the reference.
    """

    positions: npt.NDArray[np.int64]
    hybrids: Codes

    @classmethod
    def enumerate(cls, row: Codes, reference: Codes, positions: npt.NDArray[np.int64]) -> _AllCoalitions:
        """Return all coalitions of `positions` of the sequence `row` (n,)."""
        hybrids = np.repeat(reference[None], 2 ** len(positions), axis=0)
        inside = (np.arange(len(hybrids))[:, None] >> np.arange(len(positions)) & 1).astype(bool)
        hybrids[:, positions] = np.where(inside, row[positions], reference[positions])
        return cls(positions, hybrids)

    def mean(self, residuals: Values) -> tuple[float, float]:
        """Return the mean over the background and the variance of this mean."""
        return float(residuals[0]), 0.0

    def estimate(self, residuals: Values, _mean: float, _mean_variance: float, pairs: bool) -> _Estimate:
        """Return exact values from the Möbius transform of the game."""
        m = len(self.positions)
        moebius = residuals.copy()
        masks = np.arange(len(moebius))
        for position in range(m):
            inside = masks[masks >> position & 1 == 1]
            moebius[inside] -= moebius[inside ^ 1 << position]
        inside = masks[:, None] >> np.arange(m) & 1
        size = inside.sum(axis=1)
        values = (moebius / np.maximum(size, 1)) @ inside
        if not pairs:
            return _Estimate(values, np.zeros(m))
        weighted = moebius / np.maximum(size - 1, 1)
        return _Estimate(values, np.zeros(m), (inside.T * weighted) @ inside, np.zeros((m, m)))


@dataclass(frozen=True)
class _CoalitionPairs:
    """K random coalitions of m positions and their complements, with one background sequence for each pair.

    Attributes
    ----------
    positions : numpy.ndarray of int64, shape (m,)
    inside : numpy.ndarray of bool, shape (K, m)
        Which positions are in each coalition.
    n_background : int
        Number of background sequences that estimate the mean over the background.
    hybrids : numpy.ndarray of uint8, shape (H, n)
        Distinct sequences to evaluate.
    indices : numpy.ndarray of int64, shape (1 + n_background + 2 K,)
        Indices into `hybrids` of the sequence itself, the background sequences, the coalitions, and their
        complements.
    """

    positions: npt.NDArray[np.int64]
    inside: npt.NDArray[np.bool_]
    n_background: int
    hybrids: Codes
    indices: npt.NDArray[np.int64]

    @classmethod
    def draw(
        cls,
        row: Codes,
        positions: npt.NDArray[np.int64],
        backgrounds: Codes,
        n_background: int,
        rng: np.random.Generator,
    ) -> _CoalitionPairs:
        """Draw one pair of coalitions for each of `backgrounds` after the first `n_background`."""
        m, paired = len(positions), backgrounds[n_background:]
        inside = np.empty((len(paired), m), dtype=bool)
        from_row = np.zeros(paired.shape, dtype=bool)
        if len(paired):
            sizes, probabilities, _ = _size_distribution(m)
            drawn_sizes = rng.choice(sizes, len(paired), p=probabilities)
            inside = np.argsort(rng.random(inside.shape), axis=1) < drawn_sizes[:, None]
        from_row[:, positions] = inside
        coalitions, complements = np.where(from_row, row, paired), np.where(from_row, paired, row)
        sequences = np.concatenate([row[None], backgrounds[:n_background], coalitions, complements])
        hybrids, indices = np.unique(sequences, axis=0, return_inverse=True)
        return cls(positions, inside, n_background, hybrids, indices.reshape(-1))

    def mean(self, residuals: Values) -> tuple[float, float]:
        """Return the mean over the background and the variance of this mean."""
        sample = residuals[self.indices][1 : 1 + self.n_background]
        variance = float(sample.var(ddof=1) / self.n_background) if self.n_background > 1 else 0.0
        return float(sample.mean()), variance

    def estimate(self, residuals: Values, mean: float, mean_variance: float, pairs: bool) -> _Estimate:
        """Return the estimate from residuals at the hybrids and the mean over the background."""
        m = len(self.positions)
        residuals = residuals[self.indices]
        gain = residuals[0] - mean
        if m == 1:
            no_pairs = (np.zeros((1, 1)), np.zeros((1, 1))) if pairs else ()
            return _Estimate(np.array([gain]), np.array([mean_variance]), *no_pairs)
        coalitions, complements = np.split(residuals[1 + self.n_background :], 2)
        values, variances = _zero_sum_values(self.inside, coalitions - complements)
        values, variances = values + gain / m, variances + mean_variance / m**2
        if not pairs:
            return _Estimate(values, variances)
        extremes = residuals[0] + mean
        interactions = _pair_interactions(self.inside, coalitions + complements, extremes, mean_variance)
        return _Estimate(values, variances, *interactions)


def _size_distribution(n: int) -> tuple[npt.NDArray[np.int64], Values, float]:
    """Return the sizes of coalitions, 1 to n - 1, their probabilities, and the constant ``c``."""
    sizes = np.arange(1, n)
    weights = 1.0 / (sizes * (n - sizes))
    c = 1.0 / weights.sum()
    return sizes, weights * c, float(c)


def _coalitions_of(
    row: Codes, calls: int, background: Background, rng: np.random.Generator
) -> _AllCoalitions | _CoalitionPairs:
    """Return coalitions of one sequence with at most `calls` hybrids: all coalitions, or random pairs."""
    positions, exhaustive = np.arange(len(row)), False
    if background.fixed:
        assert background.references is not None
        positions = np.flatnonzero(row != background.references[0])
        exhaustive = 2 ** len(positions) <= calls
    n_hybrids = 2 ** len(positions) if exhaustive else calls
    check_memory(
        f"sampling with {n_hybrids:,} evaluations of one sequence",
        n_hybrids * (SYMBOL_BYTES * len(row) + background.space.q),
        "use fewer evaluations: lower calls_per_sequence or the budget",
    )
    if background.fixed:
        assert background.references is not None
        if exhaustive:
            return _AllCoalitions.enumerate(row, background.references[0], positions)
        backgrounds = np.repeat(background.references, 1 + (calls - 2) // 2, axis=0)
        return _CoalitionPairs.draw(row, positions, backgrounds, 1, rng)
    n = len(row)
    # One position has only the empty and the full coalition; all calls then estimate the mean.
    n_background = calls - 1
    if n > 1:
        n_background = max(MIN_BACKGROUND_CALLS, round(max(BACKGROUND_FRACTION, 0.5 / n) * calls))
    backgrounds = background.draw(row, n_background + (calls - 1 - n_background) // 2, rng)
    return _CoalitionPairs.draw(row, positions, backgrounds, n_background, rng)


def sample(
    residuals_of: ValuesOf,
    codes: Codes,
    background: Background,
    *,
    calls: int,
    seed: int,
    pairs: bool = False,
) -> Sampled:
    """Return sampled Shapley values of a difference at codes (B, n), with at most `calls` for each sequence.

    The function `residuals_of` returns values of the difference.
    """

    # Coalitions are drawn again for each use, so that the hybrids of all sequences are never in memory
    # together.
    def draw(index: int) -> _AllCoalitions | _CoalitionPairs:
        return _coalitions_of(codes[index], calls, background, np.random.default_rng([seed, index]))

    count, n = codes.shape

    def hybrids() -> Iterator[Codes]:
        return (draw(index).hybrids for index in range(count))

    ends = np.cumsum([len(part) for part in hybrids()])
    residuals = np.split(residuals_of(hybrids, int(ends[-1])), ends[:-1])
    estimates = [draw(index).mean(part) for index, part in enumerate(residuals)]
    means, mean_variances = np.array(estimates).T
    if not background.fixed and background.shuffles is None:
        # All sequences share one background, and each has the same number of draws from it: pool them.
        means = np.broadcast_to(means.mean(), count)
        mean_variances = np.broadcast_to(mean_variances.mean() / count, count)
    values, stderr = np.zeros((count, n)), np.zeros((count, n))
    matrices = (np.zeros((count, n, n)), np.zeros((count, n, n))) if pairs else None
    for index, part in enumerate(residuals):
        coalitions = draw(index)
        estimate = coalitions.estimate(part, means[index], mean_variances[index], pairs)
        values[index, coalitions.positions] = estimate.values
        stderr[index, coalitions.positions] = np.sqrt(estimate.variances)
        if matrices is not None:
            assert estimate.pairs is not None
            assert estimate.pair_variances is not None
            block = np.ix_(coalitions.positions, coalitions.positions)
            matrices[0][index][block] = estimate.pairs
            matrices[1][index][block] = np.sqrt(estimate.pair_variances)
    return Sampled(values, stderr, np.array(means), *(matrices or (None, None)))


def _zero_sum_values(inside: npt.NDArray[np.bool_], differences: Values) -> tuple[Values, Values]:
    """Return ``E[w d / 2]``, the term of the Shapley values that sums to 0, and its variance.

    Parameters
    ----------
    inside : numpy.ndarray of bool, shape (K, n)
        Which positions are in each coalition.
    differences : numpy.ndarray of float64, shape (K,)
        ``d`` of each pair: the value of the coalition minus that of its complement.
    """
    count, n = inside.shape
    sizes = inside.sum(axis=1)
    c = _size_distribution(n)[2]
    signs = np.where(inside, 1.0, -1.0)
    # Ridge regression of differences on signs. The weight of a pair is that of its error in the estimate.
    weights = sizes * (n - sizes) / (n * n / 4.0)
    weighted = signs * weights[:, None]
    # n times the expected weight, 4 c (n - 1) / n², so that the penalty does not depend on the drawn sizes.
    penalty = 4.0 * c * (n - 1) / n
    inverse = np.linalg.inv(signs.T @ weighted + penalty * np.eye(n))
    coefficients = inverse @ (weighted.T @ differences)
    leverage = ((signs @ inverse) * weighted).sum(axis=1)
    # Leave-one-out residuals, and the coefficients (K, n) of the fits to all other pairs.
    loo_residuals = (differences - signs @ coefficients) / (1.0 - leverage)
    without = coefficients - (weighted * loo_residuals[:, None]) @ inverse
    shapley_weights = np.where(inside, (n - sizes)[:, None], -sizes[:, None]) / c
    terms = without - without.mean(axis=1, keepdims=True) + shapley_weights * (loo_residuals / 2.0)[:, None]
    return terms.mean(axis=0), terms.var(axis=0, ddof=1) / count


def _pair_interactions(
    inside: npt.NDArray[np.bool_], sums: Values, extremes: float, mean_variance: float
) -> tuple[Values, Values]:
    """Return Shapley interactions of pairs (n, n) above the diagonal, and their variances.

    Parameters
    ----------
    inside : numpy.ndarray of bool, shape (K, n)
        Which positions are in each coalition.
    sums : numpy.ndarray of float64, shape (K,)
        Value of each coalition plus that of its complement.
    extremes : float
        Value of the full coalition plus that of the empty one.
    mean_variance : float
        Variance of the value of the empty coalition, the mean over the background.
    """
    count, n = inside.shape
    sizes = inside.sum(axis=1)
    all_sizes, probabilities, _ = _size_distribution(n)
    # Weight of the value of a coalition in the index, divided by the probability of the coalition. It depends
    # on the size t, with probability P(t), and on the number of the two positions inside, k = 0, 1 or 2:
    # C(n, t) / (C(n - 2, t - k) (n - 1) P(t)), with the signs of a second difference.
    weights = np.zeros((n + 1, 3))
    ordered_pairs = n * (n - 1.0)
    if n > 2:
        inner = all_sizes[all_sizes < n - 1]
        weights[inner, 0] = ordered_pairs / ((n - inner) * (n - inner - 1.0))
        inner = all_sizes[all_sizes > 1]
        weights[inner, 2] = ordered_pairs / (inner * (inner - 1.0))
    weights[all_sizes, 1] = -ordered_pairs / (all_sizes * (n - all_sizes))
    weights[all_sizes] /= (probabilities * (n - 1))[:, None]
    # Each sum minus the mean of all others. No linear part is subtracted: it cancels in the sum of a
    # coalition and its complement.
    centred = (sums - sums.mean()) * count / (count - 1)
    total, square = np.zeros((n, n)), np.zeros((n, n))
    for coalition, size, value in zip(inside, sizes, centred, strict=True):
        n_inside = coalition[:, None].astype(np.int64) + coalition[None, :]
        term = weights[size][n_inside] * (value / 2.0)
        total += term
        square += term**2
    mean = total / count
    variance = np.maximum(square / count - mean**2, 0.0) / (count - 1) + mean_variance / (n - 1) ** 2
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    constant = (extremes - sums.mean()) / (n - 1)
    return np.where(upper, mean + constant, 0.0), np.where(upper, variance, 0.0)
