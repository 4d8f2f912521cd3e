"""Views of a whole sketch: where its variance is, which motifs carry it, what matters over many sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.explain.table import Record, Support, Table
from shapsketch.space import Codes, SequenceSpace, Values


@dataclass(frozen=True, eq=False)
class Sobol(Table):
    """The variance of a sketch, divided among sets of positions (Sobol 1993).

    Attributes
    ----------
    variance : float
        Variance of the surrogate over the background, in squared units of the sketch.
    supports : list of tuple of int
        Sets of positions, ascending.
    shares : numpy.ndarray of float64, shape (n_supports,)
        Part of the variance that each set carries beyond its subsets; they add up to 1.
    first, total : numpy.ndarray of float64, shape (n,)
        Sobol indices of each position: what it carries alone, and with others.
    by_order : numpy.ndarray of float64, shape (highest order + 1,)
        Part of the variance by the number of positions; the first is 0.
    background : str
    """

    variance: float
    supports: list[Support]
    shares: Values
    first: Values
    total: Values
    by_order: Values
    background: str

    @classmethod
    def of(cls, components: _core.Components, n: int, background: str) -> Sobol:
        """Return that of compiled components."""
        supports = [tuple(support) for support in components.supports]
        parts = components.variances()
        variance = float(parts.sum())
        shares = parts / variance if variance > 0 else np.zeros_like(parts)
        first, total = np.zeros(n), np.zeros(n)
        by_order = np.zeros(1 + max(map(len, supports), default=0))
        for support, share in zip(supports, shares, strict=True):
            by_order[len(support)] += share
            total[list(support)] += share
            if len(support) == 1:
                first[support[0]] += share
        return cls(variance, supports, shares, first, total, by_order, background)

    def records(self) -> list[Record]:
        """Return positions with their first-order and total index."""
        return [
            {"position": i, "first": float(first), "total": float(total)}
            for i, (first, total) in enumerate(zip(self.first, self.total, strict=True))
        ]

    def top(self, count: int) -> list[tuple[Support, float]]:
        """Return the `count` sets of positions that carry most, with their share."""
        best = np.argsort(-self.shares, kind="stable")[:count]
        return [(self.supports[i], float(self.shares[i])) for i in best]


class Motif(NamedTuple):
    """Letters at some positions, and what they do.

    Attributes
    ----------
    support : tuple of int
        Positions, ascending.
    letters : str
        The letter at each of them.
    interaction : float
        What the letters do together beyond what each part of them does.
    effect : float
        Mean score of sequences that have the motif, less the base value.
    frequency : float
        How often the background has it.
    found : float or None
        Part of the given sequences that have it.
    """

    support: Support
    letters: str
    interaction: float
    effect: float
    frequency: float
    found: float | None


@dataclass(frozen=True, eq=False)
class Motifs(Table):
    """The motifs that carry most of a sketch's variance, strongest first.

    Attributes
    ----------
    motifs : list of Motif
    background : str
    """

    motifs: list[Motif]
    background: str

    @classmethod
    def of(
        cls,
        components: _core.Components,
        space: SequenceSpace,
        background: str,
        count: int,
        max_order: int,
        codes: Codes | None,
    ) -> Motifs:
        """Return those of compiled components."""
        motifs = []
        for support, letters, interaction, effect, frequency in components.motifs(count, max_order):
            word = np.frombuffer(bytes(letters), dtype=np.uint8)
            found = None if codes is None else float((codes[:, list(support)] == word).all(axis=1).mean())
            text = "".join(space.alphabet[letter] for letter in word)
            motifs.append(Motif(tuple(support), text, interaction, effect, frequency, found))
        return cls(motifs, background)

    def records(self) -> list[Record]:
        """Return one row for each motif."""
        return [motif._asdict() for motif in self.motifs]

    def __len__(self) -> int:
        return len(self.motifs)

    def __iter__(self) -> Iterator[Motif]:
        return iter(self.motifs)


@dataclass(frozen=True, eq=False)
class AttributionMap(Table):
    """Shapley values by position and letter, over many sequences.

    Attributes
    ----------
    mean, mean_absolute : numpy.ndarray of float64, shape (n, q)
        Mean Shapley value and mean absolute Shapley value of each letter at each position, over the
        sequences that have it; NaN where none has.
    counts : numpy.ndarray of int64, shape (n, q)
        Sequences that have it.
    alphabet : str
    background : str
    """

    mean: Values
    mean_absolute: Values
    counts: npt.NDArray[np.int64]
    alphabet: str
    background: str

    @classmethod
    def of(
        cls, batches: Iterator[tuple[Codes, Values]], space: SequenceSpace, background: str
    ) -> AttributionMap:
        """Return that of batches of codes and their Shapley values."""
        n, q = space.n, space.q
        counts, sums, sizes = np.zeros((n, q), dtype=np.int64), np.zeros((n, q)), np.zeros((n, q))
        for codes, values in batches:
            cells = (codes.astype(np.int64) + np.arange(n) * q).ravel()
            counts += np.bincount(cells, minlength=n * q).reshape(n, q)
            sums += np.bincount(cells, values.ravel(), minlength=n * q).reshape(n, q)
            sizes += np.bincount(cells, np.abs(values).ravel(), minlength=n * q).reshape(n, q)
        nothing = np.full((n, q), np.nan)
        mean = np.divide(sums, counts, out=nothing.copy(), where=counts > 0)
        absolute = np.divide(sizes, counts, out=nothing, where=counts > 0)
        return cls(mean, absolute, counts, space.alphabet, background)

    def records(self) -> list[Record]:
        """Return one row for each letter at each position that occurs, strongest first."""
        found = [
            {
                "position": int(i),
                "letter": self.alphabet[a],
                "mean": float(self.mean[i, a]),
                "mean_absolute": float(self.mean_absolute[i, a]),
                "count": int(self.counts[i, a]),
            }
            for i, a in np.argwhere(self.counts > 0)
        ]
        return sorted(found, key=lambda row: -row["mean_absolute"])
