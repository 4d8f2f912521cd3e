"""Results for individual sequences: Shapley values, interactions and epistasis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shapsketch._lazy import lazy_property
from shapsketch._validate import check_memory, integer
from shapsketch.errors import InputError
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.table import PRINTED_ROWS, Record, Support, Table
from shapsketch.space import Codes, Values
from shapsketch.surrogate.predictor import Predictor
from shapsketch.surrogate.sketch import Sketch


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Explains, Table):
    """Shapley values of a batch of sequences, with the fields of shap's ``Explanation``.

    ``print`` it, or pass its ``records()`` to pandas: one row for each position of each sequence.

    Attributes
    ----------
    values : numpy.ndarray of float64, shape (B, n)
        Shapley value of each position, on the scale of the sketch.
    base_values : numpy.ndarray of float64, shape (B,)
        Mean over the background of what is explained. The base value of a sequence plus its Shapley values is
        its score.
    data : numpy.ndarray of uint8, shape (B, n)
        Codes of the explained sequences.
    explained : Explained
        What is explained, its R², the background and the scale.
    sampling_stderr : numpy.ndarray of float64, shape (B, n), or None
        Standard errors of sampling, or the error of an amortised predictor; None if the values are exact.
    """

    values: Values
    base_values: Values
    data: Codes
    explained: Explained
    sampling_stderr: Values | None
    _alphabet: str
    _source: Sketch | Predictor | None = None

    @lazy_property
    def stderr(self) -> Values:
        """Standard errors of the values (B, n), as values of the model.

        They are estimated from the residuals at held-out queries and include the errors of the terms, the
        effect of what was left out, and the errors of sampling: ``values ± 1.96 stderr`` is a 95 % interval
        for the Shapley values of the model itself. For measured data (:func:`fit`), interactions above order
        3 cannot be separated from noise, and the standard errors of a regression do not include them. For an
        exact sketch they are 0. For refined values they are the errors of sampling.

        Raises
        ------
        InputError
            If there are none: for peeled sketches, for sketches fitted to data far from uniform, for trees,
            distillation, averages and predictors if few held-out sequences decide R², and for backgrounds
            other than the uniform one.
        """
        source = self._source
        if source is None and self.sampling_stderr is not None:
            return self.sampling_stderr
        if isinstance(source, Sketch) and source.method == "exact":
            return np.zeros_like(self.values)
        if source is not None and self.background == "uniform":
            stderr = source._standard_errors(self.data)
            if stderr is not None:
                return stderr if self.sampling_stderr is None else np.hypot(stderr, self.sampling_stderr)
            reason = (
                "the sketch has none (only sketches by regression, trees, distillation, averages of these, "
                "and predictors have standard errors, and only if their sequences were uniform and enough of "
                "their values differ; see sketch.summary())"
            )
        else:
            reason = f"they exist for the uniform background only, and this background is {self.background}"
        raise InputError(
            f"no standard errors: {reason}",
            advice="Explainer.refine estimates them with further evaluations of the model",
            option="stderr",
        )

    def records(self) -> list[Record]:
        """Return one row for each position of each sequence; sequences and positions count from 0."""
        return [
            {"sequence": b, "position": i, "letter": self._alphabet[code], "value": float(value)}
            for b, (row, codes) in enumerate(zip(self.values, self.data, strict=True))
            for i, (value, code) in enumerate(zip(row, codes, strict=True))
        ]

    def _first_rows(self) -> tuple[list[Record], int]:
        start = replace(self, values=self.values[:PRINTED_ROWS], data=self.data[:PRINTED_ROWS])
        return start.records()[:PRINTED_ROWS], self.values.size

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        count, n = self.values.shape
        return f"Explanation({count} x {n} values of {self.explained})"

    def _title(self) -> str:
        return f"Shapley values of {self.explained}"


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(Explains, Table):
    """Interactions of a batch of sequences, for the supports that have interactions.

    ``print`` it, or pass its ``records()`` to pandas: one row for each support of each sequence.

    Attributes
    ----------
    supports : list of tuple of int
        Positions that interact, ascending; sorted by order, then by position. Single positions are supports
        of order 1.
    values : numpy.ndarray of float64, shape (B, n_supports)
        Interaction of each support, on the scale of the sketch.
    index : str
        Name of the interaction index.
    explained : Explained
        What is explained, its R², the background and the scale.
    base_values : numpy.ndarray of float64, shape (B,)
        Mean over the background of what is explained.
    length : int
        Number of positions of a sequence.
    orders : range
        The orders that were computed. A support of one of them that is not listed has the interaction 0.
    stderr : numpy.ndarray of float64, shape (B, n_supports), or None
        Standard errors of sampling; None if the interactions are exact.
    """

    supports: list[Support]
    values: Values
    index: str
    explained: Explained
    base_values: Values
    length: int
    orders: range
    stderr: Values | None = None

    @lazy_property
    def _sizes(self) -> npt.NDArray[np.int64]:
        return np.array([len(support) for support in self.supports], dtype=np.int64)

    def order(self, order: int) -> Interactions:
        """Return the interactions of one order, which is at least 1.

        Raises
        ------
        InputError
            If the order is not such an integer.
        """
        order = integer("order", order, least=1)
        columns = np.flatnonzero(self._sizes == order)
        stderr = None if self.stderr is None else self.stderr[:, columns]
        return replace(
            self,
            supports=[self.supports[i] for i in columns],
            values=self.values[:, columns],
            orders=range(order, order + 1) if order in self.orders else range(0),
            stderr=stderr,
        )

    def top(self, count: int) -> list[tuple[Support, float]]:
        """Return the `count` supports with the largest absolute interactions, and a value for each.

        For one sequence this value is its interaction, with its sign. For several sequences it is the mean
        absolute interaction, because interactions of different signs would cancel in a mean.

        Raises
        ------
        InputError
            If `count` is not an integer of at least 0.
        """
        count = integer("count", count, least=0)
        size = np.abs(self.values).mean(axis=0)
        values = self.values[0] if len(self.values) == 1 else size
        return [(self.supports[i], float(values[i])) for i in np.argsort(-size, kind="stable")[:count]]

    def records(self) -> list[Record]:
        """Return one row for each support of each sequence; sequences count from 0."""
        return [
            {"sequence": b, "support": support, "value": float(value)}
            for b, row in enumerate(self.values)
            for support, value in zip(self.supports, row, strict=True)
        ]

    def _first_rows(self) -> tuple[list[Record], int]:
        start = replace(self, values=self.values[:PRINTED_ROWS])
        return start.records()[:PRINTED_ROWS], self.values.size

    def __repr__(self) -> str:
        count, width = self.values.shape
        return f"Interactions({self.index}, {count} sequences x {width} supports, of {self.explained})"

    def _title(self) -> str:
        return f"{self.index} of {self.explained}"

    def dense(self) -> Values:
        """Return pairs as symmetric matrices (B, n, n), with single positions on the diagonal.

        Interactions above order 2 are left out.

        Raises
        ------
        InputError
            If the matrices exceed the memory.
        """
        n = self.length
        check_memory("the matrices", 8 * len(self.values) * n * n, "convert fewer sequences at a time")
        matrices = np.zeros((len(self.values), n, n))
        for support, column in zip(self.supports, self.values.T, strict=True):
            if len(support) <= 2:
                i, j = support[0], support[-1]
                matrices[:, i, j] = matrices[:, j, i] = column
        return matrices


@dataclass(frozen=True, eq=False)
class Epistasis(Explains):
    """Epistasis of two substitutions, for the pairs of positions that interact.

    Attributes
    ----------
    pairs : list of (int, int)
        Pairs of positions; the epistasis of all other pairs is 0. A closed form lists the pairs that share a
        term, a predictor all pairs.
    values : numpy.ndarray of float64, shape (B, n_pairs, q, q)
        Score with both substitutions, minus the two scores with one substitution each, plus the score of the
        sequence itself. Entry ``[b, p, a, c]`` is for symbol ``a`` at the first position of pair ``p`` and
        symbol ``c`` at the second.
    data : numpy.ndarray of uint8, shape (B, n)
        Codes of the sequences.
    explained : Explained
        What is explained, its R² and the scale.
    """

    pairs: list[tuple[int, int]]
    values: Values
    data: Codes
    explained: Explained
