"""Results that are tables: rows for data frames, text for people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

Support = tuple[int, ...]
Record = dict[str, Any]

# Rows that a printed table shows.
SHOWN = 20


class Table(ABC):
    """A result that is a table: :meth:`records` for ``pandas.DataFrame``, ``print`` for people."""

    @abstractmethod
    def records(self) -> list[Record]:
        """Return the rows as dictionaries."""

    def _shown(self) -> tuple[list[Record], int]:
        """Return the rows that are printed, and the number of all."""
        rows = self.records()
        return rows[:SHOWN], len(rows)

    def __str__(self) -> str:
        rows, count = self._shown()
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
        return "\n".join([*lines, f"... {more:,} more"] if more > 0 else lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
