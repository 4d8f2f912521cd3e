"""The coalitions of a sampled game, and estimates from values at their hybrids.

:mod:`shapsketch.explain.control_variate` describes the estimator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch.space import Codes, Values


@dataclass(frozen=True)
class Mean:
    """An estimate of the mean of a function over a background, and its variance."""

    value: float
    variance: float


@dataclass(frozen=True)
class Known:
    """Shapley values (m, J), means (J,) and pairs (m, m, J) or None of the control variates at a sequence."""

    values: Values
    base_values: Values
    pairs: Values | None


@dataclass(frozen=True)
class Estimate:
    """Shapley values of the m positions of a game, for a mean over the background of 0.

    Attributes
    ----------
    score : float
        Value of the function at the sequence.
    mean : Mean or None
        Mean of the function over the background; None if it was not estimated.
    shares : tuple of (float or array (m,), float)
        The mean times the first number is subtracted from each value, and times the second one is added to
        each pair.
    values, variances : numpy.ndarray of float64, shape (m,)
    pairs : tuple of two arrays of float64, shape (m, m), or None
        Shapley interactions of pairs above the diagonal, and their variances.
    weight : float
        Weight of the first control variate in the values.
    """

    score: float
    mean: Mean | None
    shares: tuple[float | Values, float]
    values: Values
    variances: Values
    pairs: tuple[Values, Values] | None = None
    weight: float = 0.0


@dataclass(frozen=True)
class AllCoalitions:
    """Every coalition of the m positions at which a sequence differs from the only reference.

    Attributes
    ----------
    positions : numpy.ndarray of int64, shape (m,)
    hybrids : numpy.ndarray of uint8, shape (2**m, n)
        Sequences to evaluate. Bit i of the index is 1 if ``positions[i]`` is in the coalition, so the first
        hybrid is the reference, and the last one the sequence.
    """

    positions: npt.NDArray[np.int64]
    hybrids: Codes

    @classmethod
    def enumerate(cls, row: Codes, reference: Codes, positions: npt.NDArray[np.int64]) -> AllCoalitions:
        """Return all coalitions of `positions` of the sequence `row` (n,)."""
        hybrids = np.repeat(reference[None], 2 ** len(positions), axis=0)
        inside = (np.arange(len(hybrids))[:, None] >> np.arange(len(positions)) & 1).astype(bool)
        hybrids[:, positions] = np.where(inside, row[positions], reference[positions])
        return cls(positions, hybrids)

    def estimate(self, values: Values, _controls: Values, _known: Known, pairs: bool) -> Estimate:
        """Return exact values from the Möbius transform of the game."""
        m = len(self.positions)
        moebius, inside = self._moebius(values)
        matrices = None
        if pairs:
            weighted = moebius / np.maximum(inside.sum(axis=1) - 1, 1)
            matrices = (np.triu((inside.T * weighted) @ inside, 1), np.zeros((m, m)))
        score, mean = float(values[-1]), Mean(float(values[0]), 0.0)
        return Estimate(score, mean, (0.0, 0.0), _shared(moebius, inside), np.zeros(m), matrices)

    def shapley_values(self, values: Values) -> Values:
        """Return the Shapley values (m,) of the game from the values (2**m,) at the hybrids."""
        return _shared(*self._moebius(values))

    def _moebius(self, values: Values) -> tuple[Values, npt.NDArray[np.int64]]:
        """Return the Möbius transform of the game, and which positions are in each coalition (2**m, m)."""
        moebius, masks = values.copy(), np.arange(len(values))
        for position in range(len(self.positions)):
            inside = masks[masks >> position & 1 == 1]
            moebius[inside] -= moebius[inside ^ 1 << position]
        return moebius, masks[:, None] >> np.arange(len(self.positions)) & 1


def _shared(moebius: Values, inside: npt.NDArray[np.int64]) -> Values:
    """Return Shapley values: the Möbius transform of each coalition is shared equally by its positions."""
    return np.asarray((moebius / np.maximum(inside.sum(axis=1), 1)) @ inside)


@dataclass(frozen=True)
class CoalitionPairs:
    """K random coalitions of m positions and their complements, with one background sequence for each pair.

    Attributes
    ----------
    positions : numpy.ndarray of int64, shape (m,)
    inside : numpy.ndarray of bool, shape (K, m)
        Which positions are in each coalition.
    n_background : int
        Number of background sequences that give the mean over the background.
    complete : bool
        Whether these are all background sequences, so that the mean is exact.
    hybrids : numpy.ndarray of uint8, shape (H, n)
        Distinct sequences to evaluate.
    indices : numpy.ndarray of int64, shape (1 + n_background + 2 K,)
        Indices into `hybrids` of the sequence itself, the background sequences, the coalitions, and their
        complements.
    """

    positions: npt.NDArray[np.int64]
    inside: npt.NDArray[np.bool_]
    n_background: int
    complete: bool
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
        *,
        complete: bool = False,
    ) -> CoalitionPairs:
        """Draw one pair of coalitions for each of `backgrounds` after the first `n_background`."""
        m, paired = len(positions), backgrounds[n_background:]
        inside = np.empty((len(paired), m), dtype=bool)
        from_row = np.zeros(paired.shape, dtype=bool)
        if len(paired):
            sizes, probabilities, _ = size_distribution(m)
            drawn_sizes = rng.choice(sizes, len(paired), p=probabilities)
            inside = np.argsort(rng.random(inside.shape), axis=1) < drawn_sizes[:, None]
        from_row[:, positions] = inside
        coalitions, complements = np.where(from_row, row, paired), np.where(from_row, paired, row)
        sequences = np.concatenate([row[None], backgrounds[:n_background], coalitions, complements])
        hybrids, indices = np.unique(sequences, axis=0, return_inverse=True)
        return cls(positions, inside, n_background, complete, hybrids, indices.reshape(-1))

    def estimate(self, values: Values, controls: Values, known: Known, pairs: bool) -> Estimate:
        """Return the estimate from the values (H,) and the control variates (H, J) at the hybrids."""
        m, count = len(self.positions), controls.shape[1]
        values, controls = values[self.indices], controls[self.indices]
        residuals = values - controls[:, 0]
        start = 1 + self.n_background
        first, second = slice(start, start + len(self.inside)), slice(start + len(self.inside), None)
        zero_sum, variances, coefficients = np.zeros(m), np.zeros(m), np.zeros((len(self.inside), count))
        if m > 1:
            zero_sum, variances, coefficients = _zero_sum_values(
                self.inside,
                residuals[first] - residuals[second],
                controls[first] - controls[second],
                known.values - (controls[0] - known.base_values) / m,
                (known.values**2).sum(axis=0),
            )
        combined = coefficients.mean(axis=0) if len(coefficients) else np.zeros(count)
        # The difference without all control variates, and what its mean is less than that of the function.
        remainders = residuals - controls @ combined
        of_controls = float(combined @ known.base_values + known.base_values[0])
        mean, drawn = None, remainders[1:start]
        if self.n_background:
            variance = 0.0 if self.complete else float(drawn.var(ddof=1) / self.n_background)
            mean = Mean(float(drawn.mean()) + of_controls, variance)
        shapley = zero_sum + known.values[:, 0] + (residuals[0] + known.base_values[0]) / m
        matrices = None
        if pairs and m > 1:
            assert known.pairs is not None
            sums = residuals[first] + residuals[second]
            sums = sums - (coefficients * (controls[first] + controls[second])).sum(axis=1)
            of_pairs, pair_variances = _pair_interactions(
                self.inside, sums, float(remainders[0]) - of_controls
            )
            weights = combined + np.eye(count)[0]
            matrices = (np.triu(known.pairs @ weights, 1) + of_pairs, pair_variances)
        elif pairs:
            matrices = (np.zeros((m, m)), np.zeros((m, m)))
        shares = (1.0 / m, 1.0 / max(m - 1, 1))
        weight = 1.0 + float(combined[0])
        return Estimate(float(values[0]), mean, shares, shapley, variances, matrices, weight)


def size_distribution(n: int) -> tuple[npt.NDArray[np.int64], Values, float]:
    """Return the sizes of coalitions, 1 to n - 1, their probabilities, and the constant ``c``."""
    sizes = np.arange(1, n)
    weights = 1.0 / (sizes * (n - sizes))
    c = 1.0 / weights.sum()
    return sizes, weights * c, float(c)


@dataclass(frozen=True)
class _Fits:
    """For each of K pairs of coalitions, the regression of all other pairs on positions and control variates.

    Attributes
    ----------
    linear : numpy.ndarray of float64, shape (K, m)
        Coefficients of the positions.
    coefficients : numpy.ndarray of float64, shape (K, J)
        Coefficients of the control variates.
    errors : numpy.ndarray of float64, shape (K,)
        Difference of each pair minus its prediction by the others.
    inflation : float
        Factor of the variance of a mean of K terms, which are correlated.
    """

    linear: Values
    coefficients: Values
    errors: Values
    inflation: float


def _fits_without_each(
    signs: Values,
    of_controls: Values,
    weights: Values,
    differences: Values,
    penalty: float,
    penalties: Values,
) -> _Fits:
    """Return the ridge regressions of all but one of K pairs of coalitions.

    Parameters
    ----------
    signs : numpy.ndarray of float64, shape (K, m)
        1 for positions inside the coalition of a pair, -1 for those outside.
    of_controls : numpy.ndarray of float64, shape (K, J)
        The difference of each control variate.
    weights : numpy.ndarray of float64, shape (K,)
    differences : numpy.ndarray of float64, shape (K,)
        The difference of the function.
    penalty : float
        Penalty of the coefficient of a position.
    penalties : numpy.ndarray of float64, shape (J,)
        A variance of `differences` for each control variate. A coefficient as large as 1 is penalised as much
        as an error of this size in one pair.
    """
    count, m = signs.shape
    # Scaled, so that units of control variates do not matter.
    scales = np.sqrt(np.where(penalties > 0.0, penalties, 1.0))
    columns = np.concatenate([signs, of_controls / scales], axis=1)
    weighted = columns * weights[:, None]
    diagonal = np.full(columns.shape[1], penalty)
    diagonal[m:] = 1.0
    inverse = np.linalg.inv(columns.T @ weighted + np.diag(diagonal))
    fitted = inverse @ (weighted.T @ differences)
    # Errors of the fits without a pair follow from those of the fit to all by its leverage.
    leverage = ((columns @ inverse) * weighted).sum(axis=1)
    errors = (differences - columns @ fitted) / (1.0 - leverage)
    without = fitted - (weighted * errors[:, None]) @ inverse
    # Fits to all but one pair have most pairs in common, so the terms are correlated. The covariance adds at
    # most as much variance as the errors of the fits, which is the mean leverage times that of other errors.
    mean = float(leverage.mean()) if count else 0.0
    return _Fits(without[:, :m], without[:, m:] / scales, errors, 1.0 + mean / (1.0 + mean))


def _zero_sum_values(
    inside: npt.NDArray[np.bool_],
    differences: Values,
    of_controls: Values,
    known: Values,
    penalties: Values,
) -> tuple[Values, Values, Values]:
    """Return ``E[w d / 2]``, the term of the Shapley values that sums to 0, and its variance.

    Parameters
    ----------
    inside : numpy.ndarray of bool, shape (K, n)
        Which positions are in each coalition.
    differences : numpy.ndarray of float64, shape (K,)
        ``d`` of each pair: the value of the coalition minus that of its complement.
    of_controls : numpy.ndarray of float64, shape (K, J)
        The same for each control variate.
    known : numpy.ndarray of float64, shape (n, J)
        The result for each control variate.
    penalties : numpy.ndarray of float64, shape (J,)
        A variance of ``d`` for each control variate. A coefficient as large as 1 is penalised as much as an
        error of this size in one pair.

    Returns
    -------
    values, variances : numpy.ndarray of float64, shape (n,)
    coefficients : numpy.ndarray of float64, shape (K, J)
        Coefficients of the control variates in the fits to all other pairs.
    """
    count, n = inside.shape
    sizes = inside.sum(axis=1)
    c = size_distribution(n)[2]
    signs = np.where(inside, 1.0, -1.0)
    # n times the expected weight, 4 c (n - 1) / n², so that the penalty does not depend on the drawn sizes.
    weights, penalty = sizes * (n - sizes) / (n * n / 4.0), 4.0 * c * (n - 1) / n
    fits = _fits_without_each(signs, of_controls, weights, differences, penalty, penalties)
    shapley_weights = np.where(inside, (n - sizes)[:, None], -sizes[:, None]) / c
    terms = fits.linear - fits.linear.mean(axis=1, keepdims=True) + fits.coefficients @ known.T
    terms += shapley_weights * (fits.errors / 2.0)[:, None]
    return terms.mean(axis=0), fits.inflation * terms.var(axis=0, ddof=1) / count, fits.coefficients


def _pair_interactions(inside: npt.NDArray[np.bool_], sums: Values, extremes: float) -> tuple[Values, Values]:
    """Return Shapley interactions of pairs (n, n) above the diagonal, and their variances.

    Parameters
    ----------
    inside : numpy.ndarray of bool, shape (K, n)
        Which positions are in each coalition.
    sums : numpy.ndarray of float64, shape (K,)
        Value of each coalition plus that of its complement.
    extremes : float
        Value of the full coalition plus that of the empty one.
    """
    count, n = inside.shape
    sizes = inside.sum(axis=1)
    all_sizes, probabilities, _ = size_distribution(n)
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
    variance = np.maximum(square / count - mean**2, 0.0) / (count - 1)
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    constant = (extremes - sums.mean()) / (n - 1)
    return np.where(upper, mean + constant, 0.0), np.where(upper, variance, 0.0)
