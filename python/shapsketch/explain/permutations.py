"""Walks from background sequences to a sequence, which change one differing position after another.

The change of a function at a position of a walk in random order is an unbiased estimate of its Shapley value
(permutation sampling: Castro et al. 2009). Positions at which the sequence equals the background sequence do
not change. Two reductions of the variance keep the estimate unbiased. Of two walks that follow each other,
the second one has the reversed order (Mitchell et al., JMLR 2022). The background sequences of a group of
walks are a Latin hypercube sample (McKay et al. 1979): each position has its symbols about as often as they
are expected, so that the part of a change that is additive in the symbols of the background cancels.

The changes of each control variate minus its Shapley values, which are known, are subtracted with a
coefficient that is fitted to the other groups. Groups are independent, and tell the standard errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch.explain.coalitions import Estimate, Known, Mean
from shapsketch.query.background import Background
from shapsketch.space import Codes, Values

# Fewest walks that are better than coalitions.
FEWEST_WALKS = 3
# Number of groups, and the fewest walks for so many. Larger groups have smaller errors, and more groups tell
# them better.
GROUPS = ((8, 64), (4, 16), (2, FEWEST_WALKS))
# Number of groups that the variance of all positions is worth in that of one position.
PRIOR = 4.0
# Standard deviations of the number of evaluations that are left free. If walks need more, the last are left
# out. This favours no sequence much: 200 draws show no bias (tests/test_refine.py).
DEVIATIONS = 1.0
# Ridge penalty of regressions whose sums of squares are 1, against rounding errors.
TINY = 1e-9


@dataclass(frozen=True)
class Permutations:
    """K walks from background sequences to one sequence.

    Attributes
    ----------
    positions : numpy.ndarray of int64, shape (n,)
        All positions.
    rates : numpy.ndarray of float64, shape (n,)
        Probability that each position differs from the background.
    n_listed : int
        Number of background sequences, if each of them is among the first starts; otherwise 0.
    groups : numpy.ndarray of int64, shape (K,)
        The group of each walk, ascending.
    target, starts : int, and numpy.ndarray of int64, shape (K,)
        Indices of the sequence and of the background sequences in `hybrids`.
    walk, position, before, after : numpy.ndarray of int64, shape (T,)
        The walk and the position of each change, and the indices of both sequences.
    hybrids : numpy.ndarray of uint8, shape (H, n)
        Distinct sequences to evaluate.
    """

    positions: npt.NDArray[np.int64]
    rates: Values
    n_listed: int
    groups: npt.NDArray[np.int64]
    target: int
    starts: npt.NDArray[np.int64]
    walk: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    hybrids: Codes

    @classmethod
    def within(
        cls, row: Codes, rates: Values, background: Background, calls: int, rng: np.random.Generator
    ) -> Permutations | None:
        """Draw as many walks to the sequence `row` (n,) as `calls` allow; None if they are too few.

        One position has no order.
        """
        listed = background.listed(row)
        count = _number_of_walks(row, rates, listed, calls)
        sizes = _sizes_of_groups(count, 0 if listed is None else len(listed))
        if len(sizes) < 2 or len(row) == 1:
            return None
        backgrounds = background.draw_evenly(row, sizes, rng)
        orders = np.concatenate([_orders(size, len(row), rng) for size in sizes])
        # The sequence itself is evaluated once, and each walk adds its other sequences.
        evaluations = 1 + np.cumsum(np.maximum((backgrounds != row).sum(axis=1), 1))
        kept = int(np.searchsorted(evaluations, calls, side="right"))
        if kept <= sizes[0]:
            return None
        n_listed = 0 if listed is None or len(listed) > kept else len(listed)
        groups = np.repeat(np.arange(len(sizes)), sizes)[:kept]
        return cls._of(row, rates, n_listed, groups, backgrounds[:kept], orders[:kept])

    @classmethod
    def _of(
        cls,
        row: Codes,
        rates: Values,
        n_listed: int,
        groups: npt.NDArray[np.int64],
        backgrounds: Codes,
        orders: Values,
    ) -> Permutations:
        """Return the walks from `backgrounds` (K, n), each in the order of its row of `orders` (K, n)."""
        count, n = backgrounds.shape
        sequences, done = [row[None], backgrounds], 1 + count
        walks, positions, paths = [], [], []
        for number, (background, order) in enumerate(zip(backgrounds, orders, strict=True)):
            moved = np.flatnonzero(background != row)
            moved = moved[np.argsort(order[moved])]
            between = np.repeat(background[None], max(len(moved) - 1, 0), axis=0)
            changed = np.tri(len(between), len(moved), dtype=bool)
            between[:, moved] = np.where(changed, row[moved], background[moved])
            sequences.append(between)
            walks.append(np.full(len(moved), number))
            positions.append(moved)
            if len(moved):
                inner = np.arange(done, done + len(between))
                paths.append(np.stack([np.append(1 + number, inner), np.append(inner, 0)]))
            done += len(between)
        hybrids, indices = np.unique(np.concatenate(sequences), axis=0, return_inverse=True)
        indices = indices.reshape(-1)
        before, after = indices[np.concatenate([np.empty((2, 0), dtype=np.int64), *paths], axis=1)]
        return cls(
            np.arange(n),
            rates,
            n_listed,
            groups,
            int(indices[0]),
            indices[1 : 1 + count],
            np.concatenate(walks),
            np.concatenate(positions),
            before,
            after,
            hybrids,
        )

    def estimate(self, values: Values, controls: Values, known: Known, _pairs: bool) -> Estimate:
        """Return the estimate from the values (H,) and the control variates (H, J) at the hybrids."""
        residuals = values - controls[:, 0]
        changes, of_controls = self._changes(residuals[:, None])[..., 0], self._changes(controls)
        total = float(self.rates.sum())
        share = self.rates / total if total > 0.0 else np.zeros(len(self.rates))
        # The sum of all values is known, up to the mean over the background.
        terms = changes - share * changes.sum(axis=1, keepdims=True)
        deviations = of_controls - known.values
        deviations = deviations - share[:, None] * deviations.sum(axis=1, keepdims=True)
        coefficients = self._coefficients(terms, deviations)
        terms = terms - (deviations * coefficients[self.groups][:, None]).sum(axis=2)
        combined = np.asarray(coefficients[self.groups].mean(axis=0))
        remainders = residuals[self.starts] - controls[self.starts] @ combined
        of_background = float(combined @ known.base_values + known.base_values[0])
        variance = self._variance_of_mean(remainders)
        mean = Mean(of_background + float(remainders.mean()), variance)
        if self.n_listed:
            mean = Mean(of_background + float(remainders[: self.n_listed].mean()), 0.0)
        shapley = known.values[:, 0] + terms.mean(axis=0)
        shapley += share * (float(residuals[self.target]) + known.base_values[0])
        variances = self._variances(terms)
        # One position has few terms of its own. The intervals are those of a t distribution.
        freedom = PRIOR + self.groups[-1]
        weight = PRIOR / freedom
        variances = (1.0 - weight) * variances + weight * share * variances.sum()
        variances *= freedom / (freedom - 2.0)
        score, of_first = float(values[self.target]), 1.0 + float(combined[0])
        return Estimate(score, mean, (share, 0.0), shapley, variances, None, of_first)

    def _changes(self, values: Values) -> Values:
        """Return the changes (K, n, J) of J functions with the values (H, J)."""
        changes = np.zeros((len(self.starts), len(self.positions), values.shape[1]))
        changes[self.walk, self.position] = values[self.after] - values[self.before]
        return changes

    def _coefficients(self, terms: Values, deviations: Values) -> Values:
        """Return the coefficients (R, J) of the control variates, for each of R groups fitted to all others.

        The ridge penalty of a coefficient is the sum of squares that is left of one walk, so that a
        coefficient as large as 1 is as unlikely as such a walk.
        """
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1))
        counts = np.diff(np.append(starts, len(terms)))

        def centred(array: Values) -> Values:
            means = np.add.reduceat(array, starts) / counts.reshape(-1, *[1] * (array.ndim - 1))
            return np.asarray(array - means[self.groups])

        def of_others(array: Values) -> Values:
            sums = np.add.reduceat(array, starts)
            return np.asarray(sums.sum(axis=0) - sums)

        terms, deviations = centred(terms), centred(deviations)
        scales = np.sqrt((deviations**2).sum(axis=(0, 1)))
        scales[scales == 0.0] = 1.0
        deviations = deviations / scales
        squares = of_others(np.einsum("knj,knl->kjl", deviations, deviations))
        products = of_others(np.einsum("knj,kn->kj", deviations, terms))[..., None]
        identity = np.eye(len(scales))
        fitted = np.linalg.solve(squares + TINY * identity, products)
        left = of_others((terms**2).sum(axis=1)) - (fitted * products).sum(axis=(1, 2))
        penalties = np.maximum(left, 0.0) / (len(terms) - counts)
        fitted = np.linalg.solve(squares + (penalties[:, None, None] / scales**2 + TINY) * identity, products)
        return np.asarray(fitted[..., 0] / scales)

    def _variance_of_mean(self, values: Values) -> float:
        """Return the variance of the mean of values (K,), with which intervals are those of a t distribution.

        Two groups tell too little, and walks that are taken as independent tell too much.
        """
        between = int(self.groups[-1])
        if between < 3:
            return float(values.var(ddof=1)) / len(values)
        return float(self._variances(values[:, None])[0]) * between / (between - 2.0)

    def _variances(self, terms: Values) -> Values:
        """Return the variances (m,) of the means of `terms` (K, m), from the differences between groups."""
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1))
        sums = np.add.reduceat(terms - terms.mean(axis=0), starts)
        n_groups, count = len(starts), len(terms)
        return np.asarray(n_groups / (n_groups - 1) * (sums**2).sum(axis=0) / count**2)


def _number_of_walks(row: Codes, rates: Values, listed: Codes | None, calls: int) -> int:
    """Return how many walks have at most this number of evaluations, which depends on the background."""
    if listed is None:
        mean, variance = float(rates.sum()), float((rates * (1.0 - rates)).sum())
    else:
        counts = (listed != row).sum(axis=1)
        mean, variance = float(counts.mean()), float(counts.var())
    mean, margin = max(mean, 1.0), DEVIATIONS * math.sqrt(variance)
    # The root of `mean` times the number plus `margin` times its square root equals the allowed evaluations.
    root = (math.sqrt(margin**2 + 4.0 * mean * (calls - 1)) - margin) / (2.0 * mean)
    return int(root**2)


def _sizes_of_groups(count: int, n_listed: int) -> list[int]:
    """Return the sizes of groups of walks; groups of a short list contain each sequence equally often."""
    block = n_listed if 2 * n_listed <= count else 1
    block = max(block, 1)
    n_groups = next((number for number, fewest in GROUPS if count >= fewest), 0)
    n_groups = min(n_groups, count // block)
    if n_groups < 2:
        return []
    return [block * len(part) for part in np.array_split(np.arange(count // block), n_groups)]


def _orders(count: int, n: int, rng: np.random.Generator) -> Values:
    """Return random numbers (count, n) whose order is that of the positions, every second one reversed."""
    keys = rng.random(((count + 1) // 2, n))
    return np.stack([keys, -keys], axis=1).reshape(-1, n)[:count]
