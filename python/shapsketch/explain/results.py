"""Results for individual sequences: Shapley values and interactions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import check_memory, integer, lazy_property
from shapsketch.errors import InputError
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.interop import letters_of, logo_matrix, row_of, rows_of, to_shap, to_shapiq
from shapsketch.explain.table import PRINTED_ROWS, Record, Support, Table, above_rounding, frame_of
from shapsketch.space import Codes, Values, numbered
from shapsketch.surrogate.predictor import Predictor
from shapsketch.surrogate.sketch import Sketch


def strongest(values: Values) -> list[int]:
    """Return flat indices of the values (B, width) to print, by sequence, the largest of each first."""
    rows: list[int] = []
    first = 0
    for row in values:
        order = np.argsort(-np.abs(row), kind="stable")[: PRINTED_ROWS - len(rows)]
        rows += (order + first).tolist()
        first += len(row)
        if len(rows) >= PRINTED_ROWS:
            break
    return rows


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Explains, Table):
    """Shapley values of a batch of sequences, with the fields of shap's ``Explanation``.

    ``print`` it, strongest values first, or make a data frame of it, :meth:`to_frame`: one row for each
    position of each sequence.
    ``explanation[3]`` and ``explanation[:10]`` are the explanations of these sequences, and :meth:`to_shap`
    is for the plots of shap.

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
        """Return one row for each position of each sequence; sequences count from 0, positions by `start`."""
        count, n = self.values.shape
        return [self._record(b, i) for b in range(count) for i in range(n)]

    def _record(self, row: int, position: int) -> Record:
        letter = self._alphabet[self.data[row, position]]
        value = float(self.values[row, position])
        (number,) = numbered([position], self.start)
        return {"sequence": row, "position": number, "letter": letter, "value": value}

    def _columns(self) -> dict[str, Any]:
        count, n = self.values.shape
        return {
            "sequence": np.repeat(np.arange(count), n),
            "position": np.tile(numbered(range(n), self.start), count),
            "letter": letters_of(self.data, self._alphabet).ravel(),
            "value": self.values.ravel(),
        }

    def to_shap(self) -> Any:
        """Return a ``shap.Explanation``, which the plots of shap draw.

        It has the same ``values`` and ``base_values``; its ``data`` and ``display_data`` are the symbols, and
        its features have the numbers of the positions as names, with the symbol if there is one sequence,
        such as "G3".

        Raises
        ------
        MissingExtraError
            If shap is not installed.
        """
        return to_shap(self, self._alphabet)

    def to_logo(self) -> Any:
        """Return the values of one sequence in the form of a logomaker matrix.

        Returns
        -------
        pandas.DataFrame
            With a row for each position, by its number, and a column for each symbol of the alphabet: the
            Shapley value at the symbol of the sequence, 0 elsewhere.

        Raises
        ------
        InputError
            If there are several sequences; ``explanation[3].to_logo()`` takes one.
        MissingExtraError
            If pandas is not installed.
        """
        count, n = self.values.shape
        if count != 1:
            raise InputError(
                f"a logo is of one sequence, and this explanation has {count}",
                advice="choose one, explanation[0], or take the means, explainer.attribution_map(sequences)",
            )
        matrix = np.zeros((n, len(self._alphabet)))
        matrix[np.arange(n), self.data[0]] = self.values[0]
        return logo_matrix(matrix, self._alphabet, self.start)

    def _first_rows(self) -> tuple[list[Record], int]:
        count = self.values.shape[1]
        cells = strongest(self.values)
        return [self._record(*divmod(cell, count)) for cell in cells], self.values.size

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int | slice) -> Explanation:
        rows = rows_of(index, len(self))
        stderr = None if self.sampling_stderr is None else self.sampling_stderr[rows]
        return replace(
            self,
            values=self.values[rows],
            base_values=self.base_values[rows],
            data=self.data[rows],
            sampling_stderr=stderr,
        )

    def __iter__(self) -> Iterator[Explanation]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        # Otherwise NumPy would make an array of explanations, because they can be indexed.
        return np.array(self.values, dtype=dtype, copy=True if copy is None else copy)

    def __repr__(self) -> str:
        count, n = self.values.shape
        return f"Explanation({count} x {n} values of {self.explained})"

    def _title(self) -> str:
        return f"Shapley values of {self.explained}"


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(Explains, Table):
    """Interactions of a batch of sequences, for the supports that have interactions.

    ``print`` it, strongest first, or make a data frame of it, :meth:`to_frame`: one row for each support of
    each sequence.
    ``interactions[3]`` and ``interactions[:10]`` are those of these sequences, and :meth:`to_shapiq` is for
    the plots of shapiq.

    Attributes
    ----------
    supports : list of tuple of int
        Positions that interact, ascending, from 0; sorted by order, then by position. Single positions are
        supports of order 1.
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
    _largest: Values | None = None

    @lazy_property
    def _sizes(self) -> npt.NDArray[np.int64]:
        return np.array([len(support) for support in self.supports], dtype=np.int64)

    @lazy_property
    def _listed(self) -> npt.NDArray[np.bool_]:
        """Return which values (B, n_supports) tables list."""
        largest = np.abs(self.values).max(axis=1, initial=0.0) if self._largest is None else self._largest
        return above_rounding(self.values, largest)

    def order(self, order: int) -> Interactions:
        """Return the interactions of one order, which is at least 1.

        Raises
        ------
        InputError
            If the order is not such an integer.
        """
        return self._filtered(integer("order", order, least=1), 1)

    def _filtered(self, order: int | None, min_order: int) -> Interactions:
        """Return the interactions of one order, or of an order and all higher ones."""
        least = integer("min_order", min_order, least=1)
        chosen = self._sizes >= least
        orders = range(max(self.orders.start, least), self.orders.stop)
        if order is not None:
            only = integer("order", order, least=1)
            chosen &= self._sizes == only
            orders = range(only, only + 1) if only in orders else range(0)
        if chosen.all() and orders == self.orders:
            return self
        columns = np.flatnonzero(chosen)
        return replace(
            self,
            supports=[self.supports[i] for i in columns],
            values=self.values[:, columns],
            orders=orders,
            stderr=None if self.stderr is None else self.stderr[:, columns],
            _largest=np.abs(self.values).max(axis=1, initial=0.0) if self._largest is None else self._largest,
        )

    def top(self, count: int, *, order: int | None = None, min_order: int = 1) -> list[tuple[Support, float]]:
        """Return the `count` supports with the largest absolute interactions, and a value for each.

        For one sequence this value is its interaction, with its sign. For several sequences it is the mean
        absolute interaction, because interactions of different signs would cancel in a mean. Positions are
        those of `supports`, from 0. Supports without an interaction are left out, as in :meth:`records`.

        Parameters
        ----------
        count : int
            At least 0.
        order : int, optional
            Only supports of so many positions.
        min_order : int
            Smallest number of positions.

        Raises
        ------
        InputError
            If an argument is not such an integer.
        """
        count, shown = integer("count", count, least=0), self._filtered(order, min_order)
        size = np.abs(shown.values).mean(axis=0) if len(shown) else np.zeros(len(shown.supports))
        values = shown.values[0] if len(shown) == 1 else size
        ranked = [i for i in np.argsort(-size, kind="stable") if shown._listed[:, i].any()]
        return [(shown.supports[i], float(values[i])) for i in ranked[:count]]

    def records(self, *, order: int | None = None, min_order: int = 1) -> list[Record]:
        """Return one row for each support that interacts in a sequence; positions count from `start`.

        Interactions below 1e-12 of the largest one of a sequence are rounding errors, and have no row.

        Parameters
        ----------
        order : int, optional
            Only supports of so many positions.
        min_order : int
            Smallest number of positions.

        Raises
        ------
        InputError
            If an order is not an integer of at least 1.
        """
        shown = self._filtered(order, min_order)
        return [shown._record(int(b), int(i)) for b, i in np.argwhere(shown._listed)]

    def to_frame(self, *, order: int | None = None, min_order: int = 1) -> Any:
        """Return the rows of :meth:`records` as a ``pandas.DataFrame``, with the same parameters.

        Raises
        ------
        InputError
            If an order is not an integer of at least 1.
        MissingExtraError
            If pandas is not installed.
        """
        return frame_of(self._filtered(order, min_order)._columns())

    def _record(self, row: int, column: int) -> Record:
        support = numbered(self.supports[column], self.start)
        return {"sequence": row, "support": support, "value": float(self.values[row, column])}

    def _columns(self) -> dict[str, Any]:
        supports = np.empty(len(self.supports), dtype=object)
        supports[:] = [numbered(support, self.start) for support in self.supports]
        rows, columns = np.nonzero(self._listed)
        return {"sequence": rows, "support": supports[columns], "value": self.values[rows, columns]}

    def to_shapiq(self, row: int | None = None) -> Any:
        """Return the interactions of one sequence as ``shapiq.InteractionValues``, which shapiq draws.

        Its players are the positions, from 0.

        Parameters
        ----------
        row : int, optional
            Which of several sequences.

        Raises
        ------
        InputError
            If there is no such sequence, or none of the orders was computed.
        MissingExtraError
            If shapiq is not installed.
        """
        chosen = row_of(row, len(self), "an InteractionValues of shapiq")
        if not self.orders:
            raise InputError(
                "these interactions are of an order that was not computed; choose a larger max_order"
            )
        return to_shapiq(
            self.values[chosen],
            self.supports,
            index=self.index,
            orders=self.orders,
            n=self.length,
            base=float(self.base_values[chosen]),
            sampled=self.stderr is not None,
        )

    def _first_rows(self) -> tuple[list[Record], int]:
        cells = [divmod(cell, len(self.supports)) for cell in strongest(self.values)]
        return [self._record(*cell) for cell in cells if self._listed[cell]], int(self._listed.sum())

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int | slice) -> Interactions:
        rows = rows_of(index, len(self))
        stderr, largest = (None if array is None else array[rows] for array in (self.stderr, self._largest))
        return replace(
            self,
            values=self.values[rows],
            base_values=self.base_values[rows],
            stderr=stderr,
            _largest=largest,
        )

    def __iter__(self) -> Iterator[Interactions]:
        return (self[row] for row in range(len(self)))

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
