"""Base class of results that are tables: rows for data frames, text for people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import optional
from shapsketch.space import Values

# Positions that interact, ascending.
Support = tuple[int, ...]
# One row of a table: values by the names of the columns.
Record = dict[str, Any]

# Largest number of rows that `print` shows.
PRINTED_ROWS = 20


# A value below this fraction of the largest one of its sequence is a rounding error: a sum of up to thousands
# of terms has an error of some hundred times 2.2e-16 of their size.
ROUNDING = 1e-12


def above_rounding(values: Values, largest: Values) -> npt.NDArray[np.bool_]:
    """Return which values (B, ...) are not 0 up to rounding; `largest` (B,) is the size of each sequence."""
    limits = ROUNDING * largest.reshape(-1, *[1] * (values.ndim - 1))
    above: npt.NDArray[np.bool_] = np.abs(values) > limits
    return above


def frame_of(columns: dict[str, Any]) -> Any:
    """Return columns as a ``pandas.DataFrame``.

    Raises
    ------
    MissingExtraError
        If pandas is not installed.
    """
    return optional("pandas", "interop", "a data frame").DataFrame(columns)


class Table(ABC):
    """A result that is a table: :meth:`to_frame` for pandas and Polars, ``print`` for people."""

    @abstractmethod
    def records(self) -> list[Record]:
        """Return the rows as dictionaries."""

    def to_frame(self) -> Any:
        """Return the rows of :meth:`records` as a ``pandas.DataFrame``.

        Polars reads it without a copy through Arrow: ``polars.DataFrame(result.to_frame())``.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return frame_of(self._columns())

    def _columns(self) -> dict[str, Any]:
        """Return the columns of the table, all of one length."""
        rows = self.records()
        return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}

    def _first_rows(self) -> tuple[list[Record], int]:
        """Return the rows to print, and the number of rows in the table."""
        rows = self.records()
        return rows[:PRINTED_ROWS], len(rows)

    def _title(self) -> str:
        """Return the line above the table; empty for none."""
        return ""

    def __str__(self) -> str:
        rows, count = self._first_rows()
        if not rows:
            return "(no rows)"
        names = list(rows[0])
        cells = [[_cell(row[name]) for name in names] for row in rows]
        widths = [
            max(map(len, [name, *column]))
            for name, column in zip(names, zip(*cells, strict=True), strict=True)
        ]
        lines = [
            "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
            for line in [names, *cells]
        ]
        more = count - len(rows)
        above = [self._title()] if self._title() else []
        return "\n".join([*above, *lines, *([f"... {more:,} more"] if more > 0 else [])])


def _cell(value: object) -> str:
    """Return the text of a cell: floats with 4 significant digits, supports such as ``3-7``."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
