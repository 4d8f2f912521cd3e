"""Tables of variants, by columns."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import array_of, integer, listed, shown
from shapsketch.errors import InputError
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.table import PRINTED_ROWS, Record, Table
from shapsketch.files.write import Kind, TableWriter


@dataclass(frozen=True, eq=False, repr=False)
class VariantTable(Explains, Table):
    """A table of variants: ``print`` it, :meth:`save` it, or make a data frame of it, :meth:`to_frame`.

    Attributes
    ----------
    columns : dict of str to array or list
        The columns, all of one length; ``table["effect"]`` is one of them.
    explained : Explained
        What is predicted, its R² and the scale.
    ranked_by : str
        The column that :meth:`top` compares.
    """

    columns: dict[str, Any]
    explained: Explained
    ranked_by: str

    def __len__(self) -> int:
        return len(self.columns[self.ranked_by])

    def __getitem__(self, name: str) -> Any:
        if name not in self.columns:
            raise InputError(f"there is no column {shown(name)}; the columns are {listed(self.columns)}")
        return self.columns[name]

    def rows(self, indices: npt.ArrayLike) -> VariantTable:
        """Return some rows, by a list of indices or a boolean array (N,).

        Raises
        ------
        InputError
            If it is something else, or an index does not exist.
        """
        array, count = array_of("indices", indices), len(self)
        if array.dtype.kind == "b" and array.shape == (count,):
            array = np.flatnonzero(array)
        elif array.shape == (0,):
            array = np.empty(0, dtype=np.int64)
        elif array.ndim != 1 or array.dtype.kind not in "iu":
            raise InputError(
                f"indices must be a list of integers, or a boolean array ({count},), got {shown(indices)}"
            )
        elif array.min() < 0 or array.max() >= count:
            raise InputError(f"indices must be from 0 to {count - 1}, got {array.min()} to {array.max()}")
        columns = {
            name: [column[i] for i in array] if isinstance(column, list) else column[array]
            for name, column in self.columns.items()
        }
        return replace(self, columns=columns)

    def top(self, count: int) -> VariantTable:
        """Return the `count` rows with the largest absolute predicted effects, largest first.

        Raises
        ------
        InputError
            If `count` is not an integer of at least 0.
        """
        order = np.argsort(-np.abs(self.columns[self.ranked_by]), kind="stable")
        return self.rows(order[: integer("count", count, least=0)])

    def records(self) -> list[Record]:
        """Return one row for each variant."""
        columns = [
            column if isinstance(column, list) else column.tolist() for column in self.columns.values()
        ]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def _columns(self) -> dict[str, Any]:
        return self.columns

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, TSV or Parquet, by the extension.

        Raises
        ------
        InputError
            If the extension is of another format.
        FileError
            If the file cannot be written.
        MissingExtraError
            If pyarrow is not installed.
        """
        kinds: dict[str, Kind] = {
            name: "string"
            if isinstance(column, list)
            else ("int64" if column.dtype.kind == "i" else "float64")
            for name, column in self.columns.items()
        }
        with TableWriter(path, kinds) as writer:
            writer.write(self.columns)

    def _first_rows(self) -> tuple[list[Record], int]:
        return self.rows(np.arange(min(PRINTED_ROWS, len(self)))).records(), len(self)

    def _title(self) -> str:
        return f"{self.ranked_by} by {self.explained.of} (link {self.link})"

    def __repr__(self) -> str:
        return f"VariantTable({len(self):,} rows of {listed(self.columns)})"
