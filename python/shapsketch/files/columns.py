"""Whole columns of a table: those of variants, and those of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapsketch._validate import listed
from shapsketch.errors import FileError, InputError
from shapsketch.files.formats import count_of, format_of, number_in, pyarrow, reading, rows
from shapsketch.files.text import check_header

# Texts of a missing number.
MISSING = ("", "na", "n/a", "null", "nan", "none")


@dataclass(frozen=True)
class Columns:
    """Columns of a file.

    Attributes
    ----------
    path : Path
    unit : {"line", "row"}
        What `lines` are numbers of: lines of a text file, from 1; rows of a Parquet file, from 0.
    lines : list of int
    cells : dict of str to list
        For each column, one text, number or None for each row.
    others : list of str
        Names of the other columns.
    """

    path: Path
    unit: str
    lines: list[int]
    cells: dict[str, list[Any]]
    others: list[str]

    def where(self, row: int) -> str:
        """Return the place of a row, for a message."""
        return f"{self.unit} {self.lines[row]:,}"

    def texts(self, name: str) -> list[str]:
        """Return a column as texts; a missing one is empty."""
        return ["" if cell is None else str(cell) for cell in self.cells[name]]

    def numbers(self, name: str) -> list[float]:
        """Return a column as numbers; a missing one is NaN.

        Raises
        ------
        FileError
            If a cell is something else, or not finite.
        """
        return [self._number(row, name, cell) for row, cell in enumerate(self.cells[name])]

    def _number(self, row: int, name: str, cell: Any) -> float:
        if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
            return math.nan
        try:
            number = number_in(cell.strip()) if isinstance(cell, str) else float(cell)
        except (ValueError, TypeError):
            number = math.inf
        if math.isinf(number):
            raise FileError(
                f"{self.path}, {self.where(row)}: {cell!r} in the column {name!r} is not a finite number "
                "such as -1.5 or 3e-7; correct it, or leave the cell empty if there is no value"
            )
        return number


def read_columns(path: Path, choose: Callable[[list[str]], Sequence[str]]) -> Columns:
    """Read some columns of a CSV, TSV or Parquet file.

    Parameters
    ----------
    path : Path
    choose : callable
        Returns the names of the columns to read, for a list of those that there are.

    Raises
    ------
    FileError
        If the file cannot be read, is damaged, or has no rows.
    InputError
        If a column occurs twice.
    """
    kind = format_of(path, ("csv", "tsv", "parquet"), option=None)
    lines: list[int] = []
    with reading(path):
        source = _parquet(path, choose) if kind == "parquet" else _text(path, kind, choose)
        with closing(source):
            _, header = next(source)
            _, names = next(source)
            cells: list[list[Any]] = [[] for _ in names]
            for line, row in source:
                lines.append(line)
                for column, cell in zip(cells, row, strict=True):
                    column.append(cell)
    if not lines:
        raise FileError(f"{path}: the file has no rows")
    others = [name for name in header if name not in names]
    unit = "row" if kind == "parquet" else "line"
    return Columns(path, unit, lines, dict(zip(names, cells, strict=True)), others)


def _checked(path: Path, header: list[str], chosen: Sequence[str]) -> list[str]:
    for name in chosen:
        if header.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} occurs twice, the columns are {listed(header)}")
    return list(chosen)


def _text(path: Path, kind: str, choose: Callable[[list[str]], Sequence[str]]) -> Generator[Any, None, None]:
    """Yield the header, the names of the chosen columns, then the line and the cells of each row."""
    with closing(rows(path, kind)) as reader:
        top, header = next(reader, (0, []))
        if not header:
            raise FileError(f"{path}: the file has no rows")
        check_header(f"{path}, line {top:,}", kind, header, option=None)
        names = _checked(path, header, choose(header))
        yield 0, header
        yield 0, names
        indices = [header.index(name) for name in names]
        for line, row in reader:
            wrong = count_of(row, header)
            if wrong is not None:
                raise FileError(f"{path}, line {line:,}: {wrong}")
            yield line, [row[index] for index in indices]


def _parquet(path: Path, choose: Callable[[list[str]], Sequence[str]]) -> Generator[Any, None, None]:
    """Yield as `_text`, from a Parquet file."""
    pa = pyarrow()
    with pa.parquet.ParquetFile(path, pre_buffer=False) as file:
        header = file.schema_arrow.names
        names = _checked(path, header, choose(header))
        yield 0, header
        yield 0, names
        row = 0
        for batch in file.iter_batches(columns=names, use_threads=False):
            columns = [batch.column(name).to_pylist() for name in names]
            for cells in zip(*columns, strict=True):
                yield row, list(cells)
                row += 1
