"""Summaries of a whole sketch or of many sequences: Sobol indices, attribution maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import integer
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.interop import logo_matrix
from shapsketch.explain.table import Record, Support, Table
from shapsketch.space import Codes, SequenceSpace, Values, numbered


@dataclass(frozen=True, eq=False)
class Sobol(Explains, Table):
    """The variance of a sketch, divided among sets of positions (Sobol 1993).

    Attributes
    ----------
    variance : float
        Variance of the surrogate over the background, in squared units of the sketch.
    supports : list of tuple of int
        Sets of positions, ascending, from 0.
    shares : numpy.ndarray of float64, shape (n_supports,)
        Fraction of the variance that each set carries beyond its subsets; the fractions add up to 1.
    first, total : numpy.ndarray of float64, shape (n,)
        Sobol indices of each position: the fraction that it carries alone, and the fraction that it carries
        alone or together with others.
    by_order : numpy.ndarray of float64, shape (highest order + 1,)
        Fraction of the variance of each order, the number of positions; order 0 has 0.
    explained : Explained
        What is explained, its R², the background over which the variance is taken, and the scale.
    """

    variance: float
    supports: list[Support]
    shares: Values
    first: Values
    total: Values
    by_order: Values
    explained: Explained

    @classmethod
    def from_components(cls, components: _core.Components, n: int, explained: Explained) -> Sobol:
        """Return the Sobol indices of compiled components, for sequences of length n."""
        supports = [tuple(support) for support in components.supports]
        variances = components.variances()
        variance = float(variances.sum())
        fractions = variances / variance if variance > 0 else np.zeros_like(variances)
        first, total = np.zeros(n), np.zeros(n)
        by_order = np.zeros(1 + max(map(len, supports), default=0))
        for support, fraction in zip(supports, fractions, strict=True):
            by_order[len(support)] += fraction
            total[list(support)] += fraction
            if len(support) == 1:
                first[support[0]] += fraction
        return cls(variance, supports, fractions, first, total, by_order, explained)

    def records(self) -> list[Record]:
        """Return one row for each position, with its first-order and total index."""
        return [
            {"position": number, "first": float(first), "total": float(total)}
            for number, first, total in zip(
                numbered(range(len(self.first)), self.start), self.first, self.total, strict=True
            )
        ]

    def top(self, count: int) -> list[tuple[Support, float]]:
        """Return the `count` sets of positions that carry most variance, with their fractions of it.

        Positions are those of `supports`, from 0.

        Raises
        ------
        InputError
            If `count` is not an integer of at least 0.
        """
        count = integer("count", count, least=0)
        order = np.argsort(-self.shares, kind="stable")[:count]
        return [(self.supports[i], float(self.shares[i])) for i in order]


@dataclass(frozen=True, eq=False)
class AttributionMap(Explains, Table):
    """Shapley values by position and symbol, over many sequences.

    Attributes
    ----------
    mean, mean_absolute : numpy.ndarray of float64, shape (n, q)
        Mean Shapley value and mean absolute Shapley value of each symbol at each position, over the sequences
        that have it there; NaN if no sequence has it.
    counts : numpy.ndarray of int64, shape (n, q)
        Number of sequences that have each symbol at each position.
    alphabet : str
    explained : Explained
        What is explained, its R², the background and the scale.
    """

    mean: Values
    mean_absolute: Values
    counts: npt.NDArray[np.int64]
    alphabet: str
    explained: Explained

    @classmethod
    def from_batches(
        cls, batches: Iterator[tuple[Codes, Values]], space: SequenceSpace, explained: Explained
    ) -> AttributionMap:
        """Return the map of batches, each of codes (B, n) and their Shapley values (B, n)."""
        n, q = space.n, space.q
        counts, sums, sizes = np.zeros((n, q), dtype=np.int64), np.zeros((n, q)), np.zeros((n, q))
        for codes, values in batches:
            cells = (codes.astype(np.int64) + np.arange(n) * q).ravel()
            counts += np.bincount(cells, minlength=n * q).reshape(n, q)
            sums += np.bincount(cells, values.ravel(), minlength=n * q).reshape(n, q)
            sizes += np.bincount(cells, np.abs(values).ravel(), minlength=n * q).reshape(n, q)
        missing = np.full((n, q), np.nan)
        mean = np.divide(sums, counts, out=missing.copy(), where=counts > 0)
        mean_absolute = np.divide(sizes, counts, out=missing, where=counts > 0)
        return cls(mean, mean_absolute, counts, space.alphabet, explained)

    def records(self) -> list[Record]:
        """Return one row for each symbol that occurs at a position, largest mean absolute value first."""
        numbers = numbered(range(len(self.counts)), self.start)
        rows = [
            {
                "position": numbers[i],
                "letter": self.alphabet[a],
                "mean": float(self.mean[i, a]),
                "mean_absolute": float(self.mean_absolute[i, a]),
                "count": int(self.counts[i, a]),
            }
            for i, a in np.argwhere(self.counts > 0)
        ]
        return sorted(rows, key=lambda row: -row["mean_absolute"])

    def to_logo(self) -> Any:
        """Return the mean values in the form of a logomaker matrix; 0 for symbols that no sequence has.

        Returns
        -------
        pandas.DataFrame
            With a row for each position, by its number, and a column for each symbol of the alphabet.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return logo_matrix(np.where(self.counts > 0, self.mean, 0.0), self.alphabet, self.start)
