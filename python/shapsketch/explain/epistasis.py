"""Epistasis of two substitutions in individual sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import integer, lazy_property
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.interop import rows_of
from shapsketch.explain.table import PRINTED_ROWS, Record, Table, above_rounding, frame_of
from shapsketch.space import Codes, SequenceSpace, Values, index_of, numbered, substitution

# Indices of values: sequence, pair, and the symbols at both positions.
Cells = tuple[npt.NDArray[np.intp], ...]


@dataclass(frozen=True, eq=False, repr=False)
class Epistasis(Explains, Table):
    """Epistasis of two substitutions, for the pairs of positions that interact.

    ``print`` it, strongest first, or make a data frame of it, :meth:`to_frame`: one row for each two
    substitutions with epistasis in each sequence. ``epistasis[3]`` and ``epistasis[:10]`` are those of these
    sequences.

    Attributes
    ----------
    pairs : list of (int, int)
        Pairs of positions, from 0; the epistasis of all other pairs is 0. A closed form lists the pairs that
        share a term, a predictor all pairs.
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
    _space: SequenceSpace
    # The largest absolute effect of a single substitution in each sequence, (B,).
    _effects: Values

    @lazy_property
    def _listed(self) -> npt.NDArray[np.bool_]:
        """Return which values tables list: of two substitutions within the space, without rounding errors."""
        count, q = len(self.data), self._space.q
        other = self._space.allowed & (np.arange(q) != self.data[:, :, None])
        first, second = np.array(self.pairs, dtype=np.int64).reshape(-1, 2).T
        both = other[:, first, :, None] & other[:, second, None, :]
        largest = np.abs(np.where(both, self.values, 0.0)).reshape(count, -1).max(axis=1, initial=0.0)
        largest = np.maximum(largest, self._effects)
        listed: npt.NDArray[np.bool_] = both & above_rounding(self.values, largest)
        return listed

    def _cells(self, position: int | None) -> Cells:
        """Return the listed values; of pairs with a position, by its number, if it is not None."""
        listed = self._listed
        if position is not None:
            index = index_of("position", position, self._space)
            listed = listed & np.array([index in pair for pair in self.pairs], dtype=bool)[:, None, None]
        return np.nonzero(listed)

    def top(self, count: int, *, position: int | None = None) -> list[Record]:
        """Return the `count` rows of :meth:`records` with the largest absolute epistasis, largest first.

        Parameters
        ----------
        count : int
            At least 0.
        position : int, optional
            Only pairs with this position, by its number.

        Raises
        ------
        InputError
            If `count` is not such an integer, or there is no such position.
        """
        most, cells = integer("count", count, least=0), self._cells(position)
        order = np.argsort(-np.abs(self.values[cells]), kind="stable")[:most]
        return self._records(tuple(index[order] for index in cells))

    def records(self, *, position: int | None = None) -> list[Record]:
        """Return one row for each two substitutions that have epistasis in a sequence.

        The columns are ``sequence``, from 0; ``support``, the numbers of the positions; ``mutations``, such
        as ``"A3G:C7T"``; and ``value``. Epistasis below 1e-12 of the largest effect of substitutions in a
        sequence is a rounding error, and has no row.

        Parameters
        ----------
        position : int, optional
            Only pairs with this position, by its number.

        Raises
        ------
        InputError
            If there is no such position.
        """
        return self._records(self._cells(position))

    def to_frame(self, *, position: int | None = None) -> Any:
        """Return the rows of :meth:`records` as a ``pandas.DataFrame``, with the same parameter.

        Raises
        ------
        InputError
            If there is no such position.
        MissingExtraError
            If pandas is not installed.
        """
        cells = self._cells(position)
        supports = np.empty(len(self.pairs), dtype=object)
        supports[:] = [numbered(pair, self.start) for pair in self.pairs]
        columns = {"sequence": cells[0], "support": supports[cells[1]]}
        return frame_of(columns | {"mutations": self._names(cells), "value": self.values[cells]})

    def _records(self, cells: Cells) -> list[Record]:
        rows, pairs, values = cells[0], cells[1], self.values[cells]
        return [
            {
                "sequence": int(row),
                "support": numbered(self.pairs[pair], self.start),
                "mutations": name,
                "value": float(value),
            }
            for row, pair, name, value in zip(rows, pairs, self._names(cells), values, strict=True)
        ]

    def _names(self, cells: Cells) -> list[str]:
        """Return the names of double mutants."""
        alphabet, names = self._space.alphabet, []
        for row, pair, *symbols in zip(*(index.tolist() for index in cells), strict=True):
            parts = [
                substitution(alphabet[self.data[row, i]], i, alphabet[symbol], self.start)
                for i, symbol in zip(self.pairs[pair], symbols, strict=True)
            ]
            names.append(":".join(parts))
        return names

    def _first_rows(self) -> tuple[list[Record], int]:
        return self.top(PRINTED_ROWS), int(self._listed.sum())

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int | slice) -> Epistasis:
        rows = rows_of(index, len(self))
        return replace(self, values=self.values[rows], data=self.data[rows], _effects=self._effects[rows])

    def __iter__(self) -> Iterator[Epistasis]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        return f"Epistasis({len(self)} sequences x {len(self.pairs)} pairs, of {self.explained})"

    def _title(self) -> str:
        return f"epistasis of {self.explained}"
