"""Shapley values of a predictor from its changes along walks, with the closed form as control variate.

A walk goes from a background sequence to the explained one, in a random order of the positions. The mean
change at a position is its Shapley value (permutation sampling: Castro et al. 2009). A second walk from the
same background sequence in the reversed order makes a pair (Mitchell et al., JMLR 2022). As many coalitions
have a smaller error, but neighbours on a walk differ at one position, and the core evaluates them several
times faster.

The sum of the changes of a pair is ``f(x) - f(b)``. Its deviation from ``f(x) - E f(b)`` is divided among the
positions in proportion to the probability that they differ from the background, and subtracted. The same
changes of the control variate minus its Shapley values are subtracted too, times a coefficient that is fitted
to all other pairs. So the estimate stays unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch.explain.coalitions import Mean
from shapsketch.explain.differing import spread
from shapsketch.query.background import Background
from shapsketch.space import Codes, Values

# Fewest pairs of walks that tell how exact they are, in all and from each of a few background sequences.
FEWEST_PAIRS, FEWEST_OF_EACH = 12, 8
# Standard errors that are smaller, relative to the largest change, are rounding errors.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Walks:
    """K pairs of walks for each of B sequences.

    Attributes
    ----------
    starts, targets : numpy.ndarray of uint8, shape (2 B K, n)
        Background sequences, and the explained ones. Rows of a pair follow each other.
    orders : numpy.ndarray of uint32, shape (2 B K, n)
        In which order the positions change.
    draws : numpy.ndarray of uint32, shape (B K,)
        Random numbers that choose one of several networks for each pair: each one about equally often.
    strata : numpy.ndarray of int64, shape (K,)
        Which background sequence each pair starts from, if they are few; otherwise 0. Each one has equally
        many pairs.
    """

    starts: Codes
    targets: Codes
    orders: npt.NDArray[np.uint32]
    draws: npt.NDArray[np.uint32]
    strata: npt.NDArray[np.int64]

    @classmethod
    def draw(cls, codes: Codes, background: Background, most: int, rngs: list[np.random.Generator]) -> Walks:
        """Draw up to `most` pairs of walks for each sequence, from its own random numbers."""
        n, listed = codes.shape[1], background.listed(codes[0])
        few = listed is not None and FEWEST_OF_EACH * len(listed) <= most
        n_strata = len(listed) if listed is not None and few else 1
        count = most - most % n_strata
        starts, orders, draws = [], [], []
        for row, rng in zip(codes, rngs, strict=True):
            listed = background.listed(row)
            if listed is None:
                starts.append(background.draw(row, count, rng))
            else:
                # Each sequence of the list about equally often.
                first = np.arange(len(listed)) if few else rng.permutation(len(listed))
                starts.append(listed[np.resize(first, count)])
            forward = rng.permuted(np.tile(np.arange(n, dtype=np.uint32), (count, 1)), axis=1)
            orders.append(np.stack([forward, forward[:, ::-1]], axis=1).reshape(-1, n))
            draws.append(rng.permutation(rng.integers(0, 1 << 24) + np.arange(count)))
        return cls(
            np.repeat(np.concatenate(starts), 2, axis=0),
            np.repeat(codes, 2 * count, axis=0),
            np.concatenate(orders),
            np.concatenate(draws).astype(np.uint32),
            np.arange(count) % n_strata,
        )

    @property
    def backgrounds(self) -> Codes:
        """The background sequences of each explained sequence, (B, K, n)."""
        return self._by_sequence(self.starts[::2])

    def changes(self, values: Values) -> Values:
        """Return the change at each position, mean of both walks of a pair, (B, K, n).

        `values` (2 B K, n + 1) are those of a function along the walks.
        """
        steps = np.diff(values, axis=1)
        changes = np.empty_like(steps)
        np.put_along_axis(changes, self.orders.astype(np.int64), steps, axis=1)
        return self._by_sequence((changes[::2] + changes[1::2]) / 2.0)

    def _by_sequence(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return rows.reshape(-1, len(self.strata), rows.shape[1])


@dataclass(frozen=True)
class Players:
    """The positions of one sequence in the games of its K background sequences.

    Attributes
    ----------
    differs : numpy.ndarray of bool, shape (K, n)
        Which positions differ from each background sequence.
    rates : numpy.ndarray of float64, shape (n,)
        Probability that each position differs.
    """

    differs: npt.NDArray[np.bool_]
    rates: Values


def estimate(
    changes: Values,
    controls: Values,
    known: Values,
    players: Players,
    strata: npt.NDArray[np.int64],
    total: float,
    mean: Mean,
) -> tuple[Values, Values]:
    """Return Shapley values (n,) of one sequence, and their standard errors.

    Parameters
    ----------
    changes, controls : numpy.ndarray of float64, shape (K, n)
        Changes of the predictor and of the control variate for each pair of walks.
    known : numpy.ndarray of float64, shape (n,)
        Shapley values of the control variate.
    players : Players
    strata : numpy.ndarray of int64, shape (K,)
        See `Walks`.
    total : float
        Value of the predictor at the sequence.
    mean : Mean
        Its mean over the background.
    """
    count = len(changes)
    shares = players.rates / max(float(players.rates.sum()), 1.0 / count)
    terms = changes - shares * changes.sum(axis=1, keepdims=True)
    deviations = controls - known
    deviations = deviations - shares * deviations.sum(axis=1, keepdims=True)
    # Of all other pairs: products with the deviations, after their mean is subtracted, and squares.
    products = (terms * deviations).sum(axis=1)
    squares = (deviations**2).sum(axis=1)
    others = terms.sum(axis=0) - terms
    sums = deviations.sum(axis=0) - deviations
    numerators = products.sum() - products - (others * sums).sum(axis=1) / (count - 1)
    denominators = squares.sum() - squares
    coefficients = np.divide(numerators, denominators, out=np.zeros(count), where=denominators > 0.0)
    terms = terms - coefficients[:, None] * deviations
    values = terms.mean(axis=0) + shares * (total - mean.value)
    # The difference between the background sequences of strata is no error.
    n_strata = int(strata[-1]) + 1
    within = terms.reshape(-1, n_strata, terms.shape[1])
    within = (within - within.mean(axis=0)).reshape(terms.shape)
    within *= np.sqrt((count - 1) / (count - n_strata))
    # The coefficients have most pairs in common, which adds the variance of one fitted coefficient.
    inflation = 1.0 + 1.0 / count
    variances = spread(within, within, players.differs, players.rates, n_means=n_strata)
    variances = inflation * variances / count + shares**2 * mean.variance
    exact = variances <= (ROUNDING * np.abs(changes).max()) ** 2
    return values, np.where(exact, 0.0, np.sqrt(variances))
