"""What is said of single sequences: Shapley values, interactions and epistasis, as tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from shapsketch.errors import InputError
from shapsketch.explain.table import SHOWN, Record, Support, Table
from shapsketch.space import Codes, Values
from shapsketch.surrogate.sketch import Sketch


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Table):
    """Shapley values of a batch of sequences, with the fields of shap's ``Explanation``.

    ``print`` it, or hand its ``records()`` to pandas, for a row for each position of each sequence.

    Attributes
    ----------
    values : numpy.ndarray of float64, shape (B, n)
        Shapley value of each position, on the scale of the sketch.
    base_values : numpy.ndarray of float64, shape (B,)
        The surrogate's mean over the background; with the values of a sequence it sums to the
        surrogate's score.
    data : numpy.ndarray of uint8, shape (B, n)
        The codes that were explained.
    background : str
        What a missing position stands for.
    link : str
        The scale of the values: "identity" is the model's own.
    """

    values: Values
    base_values: Values
    data: Codes
    background: str
    link: str
    _alphabet: str
    _sketch: Sketch | None = None
    _stderr: Values | None = None

    @cached_property
    def stderr(self) -> Values:
        """Standard errors of the values (B, n).

        They follow from the residuals at queries that were held out: errors of the terms, and what the
        terms miss. ``values ± 1.96 stderr`` is a 95 % interval for the Shapley values of the model itself.
        Of measured data (:func:`fit`) by regression, what is missed in orders above 3 cannot be told from
        noise, and is not in it. 0 of an exact sketch.
        Of refined values and of a teacher's they are the errors of sampling.

        Raises
        ------
        InputError
            If none are known: of sketches that were peeled, or fitted to data that are far from uniform, and
            under other backgrounds than the uniform one.
        """
        if self._stderr is not None:
            return self._stderr
        if self._sketch is not None and self._sketch.method == "exact":
            return np.zeros_like(self.values)
        if self._sketch is not None and self.background == "uniform":
            known = self._sketch._core.standard_errors(self.data)
            if known is not None:
                return known
            why = (
                "the sketch has none (regression, trees, distillation and their averages have, if their "
                "sequences were uniform)"
            )
        else:
            why = f"they are known under the uniform background, this is {self.background}"
        raise InputError(
            f"no standard errors: {why}; Explainer.refine estimates them from further model calls"
        )

    def records(self) -> list[Record]:
        """Return a row for each position of each sequence: both numbers from 0, letter and value."""
        return [
            {"sequence": b, "position": i, "letter": self._alphabet[letter], "value": float(value)}
            for b, (row, codes) in enumerate(zip(self.values, self.data, strict=True))
            for i, (value, letter) in enumerate(zip(row, codes, strict=True))
        ]

    def _shown(self) -> tuple[list[Record], int]:
        some = replace(self, values=self.values[:SHOWN], data=self.data[:SHOWN])
        return some.records()[:SHOWN], self.values.size

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        count, n = self.values.shape
        return f"Explanation({count} x {n} values, background {self.background}, link {self.link})"


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(Table):
    """Interactions of a batch of sequences, for the supports that have any.

    ``print`` it, or hand its ``records()`` to pandas, for a row for each support and sequence.

    Attributes
    ----------
    supports : list of tuple of int
        Positions that interact, ascending; sorted by order, then position. Single positions are
        supports of order 1.
    values : numpy.ndarray of float64, shape (B, n_supports)
        Interaction of each support, on the scale of the sketch.
    index : str
        The interaction index.
    background : str
        What a missing position stands for.
    link : str
        The scale of the values: "identity" is the model's own.
    base_values : numpy.ndarray of float64, shape (B,)
        The surrogate's mean over the background.
    length : int
        Positions of a sequence.
    stderr : numpy.ndarray of float64, shape (B, n_supports), or None
        Standard errors of sampling, of refined interactions only.
    """

    supports: list[Support]
    values: Values
    index: str
    background: str
    link: str
    base_values: Values
    length: int
    stderr: Values | None = None

    @cached_property
    def _orders(self) -> npt.NDArray[np.int64]:
        return np.array([len(support) for support in self.supports], dtype=np.int64)

    def order(self, order: int) -> Interactions:
        """Return the interactions of one order."""
        keep = np.flatnonzero(self._orders == order)
        errors = None if self.stderr is None else self.stderr[:, keep]
        return replace(
            self, supports=[self.supports[i] for i in keep], values=self.values[:, keep], stderr=errors
        )

    def top(self, count: int) -> list[tuple[Support, float]]:
        """Return the `count` supports of largest absolute value, with it.

        Of a single sequence values have their signs; of several it is the mean absolute value, as effects of
        different sequences cancel.
        """
        size = np.abs(self.values).mean(axis=0)
        shown = self.values[0] if len(self.values) == 1 else size
        return [(self.supports[i], float(shown[i])) for i in np.argsort(-size, kind="stable")[:count]]

    def records(self) -> list[Record]:
        """Return a row for each support of each sequence: number from 0, support and value."""
        return [
            {"sequence": b, "support": support, "value": float(value)}
            for b, row in enumerate(self.values)
            for support, value in zip(self.supports, row, strict=True)
        ]

    def _shown(self) -> tuple[list[Record], int]:
        some = replace(self, values=self.values[:SHOWN])
        return some.records()[:SHOWN], self.values.size

    def __repr__(self) -> str:
        count, width = self.values.shape
        return (
            f"Interactions({self.index}, {count} sequences x {width} supports, background {self.background}, "
            f"link {self.link})"
        )

    def dense(self) -> Values:
        """Return pairs as symmetric matrices (B, n, n), with single positions on the diagonal.

        Orders above 2 are not in it.
        """
        n = self.length
        out = np.zeros((len(self.values), n, n))
        for support, column in zip(self.supports, self.values.T, strict=True):
            if len(support) <= 2:
                i, j = support[0], support[-1]
                out[:, i, j] = out[:, j, i] = column
        return out


@dataclass(frozen=True, eq=False)
class Epistasis:
    """Epistasis of two substitutions, for the pairs of positions that share a term.

    Attributes
    ----------
    pairs : list of (int, int)
        Positions; of all others epistasis is 0.
    values : numpy.ndarray of float64, shape (B, n_pairs, q, q)
        Score of both substitutions less those of each, plus that of the sequence itself: entry ``[b, p, a,
        c]`` for letter ``a`` at the first position of pair ``p`` and ``c`` at the second.
    data : numpy.ndarray of uint8, shape (B, n)
    link : str
    """

    pairs: list[tuple[int, int]]
    values: Values
    data: Codes
    link: str
