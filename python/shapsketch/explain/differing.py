"""Coalitions of the positions at which a sequence differs from each background sequence.

Positions at which a sequence equals the background sequence ``b`` do not play in the game of ``b``. If many
positions are equal, as for mutants of one wild type, coalitions of the others have a smaller error. For each
``b``, with the set ``D`` of the ``m`` positions that differ, the estimate has three evaluations: ``r(b)``,
and a coalition ``T`` of ``D`` with its complement in ``D``. With ``d`` and ``w`` as in
:mod:`shapsketch.explain.control_variate`, for ``m`` in place of ``n``, the Shapley values are
``E[w_i d / 2 + (r(x) - r(b)) / m]`` over ``b`` and ``T``, where both terms are 0 outside ``D``.

The regression adjustment has a linear part with one coefficient for each position: its Shapley value is the
coefficient times the probability that the position differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch.explain.coalitions import Estimate, Known, Mean, fits_without_each, size_distribution
from shapsketch.query.background import Background
from shapsketch.space import Codes, Values

# Smallest mean fraction of positions that equal the background for which these coalitions are used. Each
# background sequence needs three evaluations instead of two.
MOSTLY_EQUAL = 0.3
# Weight of the difference between the sequence and a background sequence in the regression.
WHOLE = 1.0
# Largest number of pairs for each call, and the fraction of the expected calls that is planned.
MOST_PAIRS = 2
FILLED = 0.95
# Smallest number of degrees of freedom of the variance of a position, and the number of terms that the
# variance of all positions is worth in it.
LEAST_FREEDOM = 4.0
PRIOR = 4.0


def differing_rates(row: Codes, background: Background) -> Values:
    """Return the probability that each position of a sequence (n,) differs from the background."""
    listed = background.listed(row)
    if listed is not None:
        return np.asarray((listed != row).mean(axis=0))
    positions = np.arange(len(row))
    if background.probabilities is not None:
        return np.asarray(1.0 - background.probabilities[positions, row])
    return np.asarray(1.0 - 1.0 / background.space.allowed.sum(axis=1), dtype=np.float64)


def spread(
    terms: Values, sampled: Values, differs: npt.NDArray[np.bool_], rates: Values, *, n_means: int = 1
) -> Values:
    """Return the variance (n,) of terms (K, n), with the part that is sampled.

    `differs` (K, n) says which positions differ from each background sequence, and `rates` (n,) how often.
    `n_means` means were subtracted from the terms. A position that rarely differs has few terms that say how
    large its part is: that of all positions is averaged with it, like `PRIOR` more terms.
    """
    seen = differs.sum(axis=0)
    pooled = (sampled[differs] ** 2).sum() / max(seen.sum(), 1)
    own = seen if n_means == 1 else seen * (1.0 - n_means / len(terms))
    weight = PRIOR / (PRIOR + own)
    freedom = np.maximum(own - (n_means == 1), LEAST_FREEDOM)
    variances = terms.var(axis=0, ddof=1) * freedom / (freedom - 2.0)
    return np.asarray((1.0 - weight) * variances + weight * rates * pooled)


@dataclass(frozen=True)
class DifferingPairs:
    """K background sequences, and a coalition of the differing positions and its complement for each.

    Attributes
    ----------
    positions : numpy.ndarray of int64, shape (n,)
        All positions.
    rates : numpy.ndarray of float64, shape (n,)
        Probability that each position differs.
    differs, inside : numpy.ndarray of bool, shape (K, n)
        Which positions differ from each background sequence, and which of them are in the coalition.
    hybrids : numpy.ndarray of uint8, shape (H, n)
        Distinct sequences to evaluate.
    indices : numpy.ndarray of int64, shape (1 + 3 K,)
        Indices into `hybrids` of the sequence itself, the background sequences, the coalitions, and their
        complements.
    """

    positions: npt.NDArray[np.int64]
    rates: Values
    differs: npt.NDArray[np.bool_]
    inside: npt.NDArray[np.bool_]
    hybrids: Codes
    indices: npt.NDArray[np.int64]

    @classmethod
    def within(
        cls, row: Codes, rates: Values, background: Background, calls: int, rng: np.random.Generator
    ) -> DifferingPairs:
        """Draw as many pairs of coalitions of the sequence `row` (n,) as `calls` allow.

        Hybrids repeat if few positions differ. How many pairs fit is found with other draws, because draws
        that end when a limit is reached favour background sequences with few hybrids.
        """
        pilot = cls.draw(row, rates, background.draw(row, MOST_PAIRS * calls, rng), rng)
        count = max((calls - 1) // 3, int(FILLED * pilot.fitting(calls)))
        drawn = cls.draw(row, rates, background.draw(row, count, rng), rng)
        fitting = drawn.fitting(calls)
        return drawn if fitting >= count else drawn._first(fitting)

    def _first(self, count: int) -> DifferingPairs:
        """Return the first pairs."""
        units = self.indices[1:].reshape(3, -1)[:, :count].reshape(-1)
        kept, indices = np.unique(np.concatenate([self.indices[:1], units]), return_inverse=True)
        return DifferingPairs(
            self.positions,
            self.rates,
            self.differs[:count],
            self.inside[:count],
            self.hybrids[kept],
            indices.reshape(-1),
        )

    def fitting(self, calls: int) -> int:
        """Return how many of the first pairs have at most this number of distinct hybrids."""
        count = len(self.inside)
        units = np.concatenate([[-1], np.tile(np.arange(count), 3)])
        first = np.full(len(self.hybrids), count)
        np.minimum.at(first, self.indices, units)
        needed = np.searchsorted(np.sort(first), np.arange(count + 1))
        return int(np.searchsorted(needed, calls, side="right")) - 1

    @classmethod
    def draw(cls, row: Codes, rates: Values, backgrounds: Codes, rng: np.random.Generator) -> DifferingPairs:
        """Draw one pair of coalitions of the sequence `row` (n,) for each of `backgrounds` (K, n)."""
        differs = backgrounds != row
        counts = differs.sum(axis=1)
        sizes = np.zeros(len(counts), dtype=np.int64)
        for m in np.unique(counts[counts > 1]):
            of_count = np.flatnonzero(counts == m)
            choices, probabilities, _ = size_distribution(int(m))
            sizes[of_count] = rng.choice(choices, len(of_count), p=probabilities)
        keys = np.where(differs, rng.random(differs.shape), np.inf)
        inside = np.argsort(np.argsort(keys, axis=1), axis=1) < sizes[:, None]
        coalitions, complements = np.where(inside, row, backgrounds), np.where(inside, backgrounds, row)
        # One differing position has no coalition besides the empty and the full one.
        alone = counts < 2
        coalitions[alone], complements[alone] = row, row
        sequences = np.concatenate([row[None], backgrounds, coalitions, complements])
        hybrids, indices = np.unique(sequences, axis=0, return_inverse=True)
        return cls(np.arange(len(row)), rates, differs, inside, hybrids, indices.reshape(-1))

    def estimate(self, values: Values, controls: Values, known: Known, _pairs: bool) -> Estimate:
        """Return the estimate from the values (H,) and the control variates (H, J) at the hybrids."""
        values, controls = values[self.indices], controls[self.indices]
        residuals = values - controls[:, 0]
        count = len(self.inside)
        empty, first, second = (slice(1 + i * count, 1 + (i + 1) * count) for i in range(3))
        counts, sizes = self.differs.sum(axis=1), self.inside.sum(axis=1)
        signs = np.where(self.inside, 1.0, -1.0) * self.differs
        differences = residuals[first] - residuals[second]
        of_controls = controls[first] - controls[second]
        # The weight of a pair is that of its error in the estimate; 0 without a coalition.
        weights = sizes * (counts - sizes) / (np.maximum(counts, 1) ** 2 / 4.0)
        # The number of positions that play times the weight, as for coalitions of all positions.
        penalty = max(float(counts.mean() * weights.mean()), 1e-3)
        # The difference between the sequence and the background is one more row of each unit.
        fits = fits_without_each(
            np.stack([signs, self.differs.astype(np.float64)], axis=1),
            np.stack([of_controls, controls[0] - controls[empty]], axis=1),
            np.stack([weights, np.full(count, WHOLE) * (counts > 0)], axis=1),
            np.stack([differences, residuals[0] - residuals[empty]], axis=1),
            penalty,
            (known.values**2).sum(axis=0),
        )
        coefficients = fits.coefficients
        # The linear part of a background sequence minus its mean over the background, which is exact.
        of_linear = (fits.linear * (self.differs - self.rates)).sum(axis=1)
        remainders = residuals[empty] - (controls[empty] * coefficients).sum(axis=1) + of_linear
        combined, mean = coefficients.mean(axis=0), float(remainders.mean())
        of_background = float(combined @ known.base_values + known.base_values[0])
        rests = (
            residuals[0] - (controls[0] * coefficients).sum(axis=1) - fits.linear @ self.rates - remainders
        )
        shares = self.differs / np.maximum(counts, 1)[:, None]
        scale = np.ones((count, 1))
        for m in np.unique(counts[counts > 1]):
            scale[counts == m] = size_distribution(int(m))[2]
        played = np.where(self.inside, (counts - sizes)[:, None], -sizes[:, None]) * self.differs / scale
        predicted = fits.linear * self.rates + coefficients @ known.values.T
        sampled = played * (fits.errors / 2.0)[:, None] + shares * rests[:, None]
        shapley = (predicted + sampled).mean(axis=0) + known.values[:, 0]
        of_mean = Mean(mean + of_background, float(remainders.var(ddof=1)) / count)
        # The mean times its share is subtracted later, and the error of the mean is added later. If all
        # positions equal every background sequence, all values are 0.
        share = shares.mean(axis=0) / max(float(shares.mean(axis=0).sum()), 1.0 / count)
        sampled += share * (remainders - mean)[:, None]
        shapley += share * of_mean.value
        variances = fits.inflation * spread(predicted + sampled, sampled, self.differs, self.rates) / count
        weight = 1.0 + float(combined[0])
        return Estimate(float(values[0]), of_mean, (share, 0.0), shapley, variances, None, weight)
