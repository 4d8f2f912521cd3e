"""Scores that were computed elsewhere, read from a file."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from shapsketch._validate import file_path, items, listed, string
from shapsketch.errors import FileError, InputError, ModelError
from shapsketch.files.formats import (
    NAMES,
    count_of,
    format_of,
    number_in,
    pyarrow,
    reading,
    rows,
)
from shapsketch.files.text import check_header
from shapsketch.models._base import Numbers

# Rows that are converted to Python objects at a time.
CHUNK = 65_536
# Largest length of a sequence space.
LONGEST = 4096
# Texts of a missing score, which is read as NaN.
MISSING = ("", "NA", "N/A", "null")


def table(path: str | os.PathLike[str], column: str | Sequence[str] | None = None) -> _Table:
    r"""Adapt a file of scores that were computed elsewhere.

    Parameters
    ----------
    path : str or path
        CSV, TSV or Parquet, with a column ``sequence`` and one or more columns of scores. The extension tells
        the format; an extension of a compression may follow. The file is read once, in this call.
    column : str or list of str, optional
        The columns of scores, one for each output. By default all columns except ``sequence``, ``name``,
        ``id`` and the index of a data frame.

    Raises
    ------
    FileError
        If the file cannot be read, or a score is not a number.
    InputError
        If a column is missing, or a sequence occurs twice with different scores. The evaluation of a sequence
        that is not in the file raises :class:`shapsketch.ModelError`.
    MissingExtraError
        If pyarrow (Parquet) or xopen (CSV) is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from shapsketch import models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scores.csv")
    ...     _ = path.write_text("sequence,score\nACG,0.5\nGGG,2\n")
    ...     model = models.table(path)
    >>> model(["GGG", "ACG"])
    array([2. , 0.5])
    """
    file = file_path(path)
    columns = None
    if column is not None:
        columns = [column] if isinstance(column, str) else items("column", column, "names")
        for index, name in enumerate(columns):
            if string(f"column: name {index}", name) in columns[:index]:
                raise InputError(f"column: the name {name!r} occurs twice; pass each column once")
            if name == "sequence":
                raise InputError("column: 'sequence' has the sequences; pass the columns of scores")
        if not columns:
            raise InputError("column: the list is empty; name the columns of scores, or omit it for all")
    kind = format_of(file, ("csv", "tsv", "parquet"), option=None)
    keys: list[Numbers] = []
    values: list[Numbers] = []
    missing: dict[str, str] = {}
    with reading(file):
        parts = _parquet(file, columns) if kind == "parquet" else _text(file, columns, kind)
        with closing(parts):
            names = next(parts)
            for sequences, scores, numbers in parts:
                keys.append(np.array([sequence.encode() for sequence in sequences], dtype=bytes))
                values.append(scores)
                unit = "row" if kind == "parquet" else "line"
                for i in np.flatnonzero(np.isnan(scores).any(axis=1)):
                    missing.setdefault(sequences[i], f"{unit} {numbers[i]:,}")
    if not keys:
        raise FileError(f"{file}: the file has no rows")
    unique = _sorted(file, np.concatenate(keys), np.concatenate(values), names)
    return _Table(str(file), *unique, missing, outputs=names if len(names) > 1 else None)


def _parquet(file: Path, chosen: list[str] | None) -> Generator[Any, None, None]:
    """Yield the names of the columns of scores, then sequences, scores (rows, columns) and row numbers."""
    pa = pyarrow()
    with pa.parquet.ParquetFile(file) as opened:
        names = _score_columns(file, opened.schema_arrow.names, chosen)
        yield names
        row = 0
        for batch in opened.iter_batches(CHUNK, columns=["sequence", *names]):
            texts = batch.column("sequence").cast(pa.string()).to_pylist()
            if None in texts:
                raise InputError(f"{file}: row {row + texts.index(None)} (from 0) has no sequence")
            for index, text in enumerate(texts, row):
                _check_length(file, f"row {index:,}", text)
            yield (
                texts,
                np.column_stack([_numbers(file, row, name, batch.column(name), pa) for name in names]),
                range(row, row + len(texts)),
            )
            row += len(texts)


def _numbers(file: Path, row: int, name: str, column: Any, pa: Any) -> Numbers:
    """Return a column of scores of a Parquet file; `row` is its first row."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    texts = column.cast(pa.string()).to_pylist()
    return np.array([_score(f"{file}, row {row + i}", name, text or "") for i, text in enumerate(texts)])


def _text(file: Path, chosen: list[str] | None, kind: str) -> Generator[Any, None, None]:
    """Yield the names of the columns of scores, then sequences, scores (rows, columns) and lines."""
    with closing(rows(file, kind)) as reader:
        top, header = next(reader, (0, []))
        if not header:
            raise FileError(f"{file}: the file has no rows")
        check_header(f"{file}, line {top:,}", kind, header, option=None)
        names = _score_columns(file, header, chosen)
        yield names
        key, *indices = (header.index(name) for name in ("sequence", *names))
        while chunk := list(islice(reader, CHUNK)):
            for line, row in chunk:
                wrong = count_of(row, header)
                if wrong is not None:
                    raise FileError(f"{file}, line {line:,}: {wrong}")
                _check_length(file, f"line {line:,}", row[key])
            scores = [
                [_score(f"{file}, line {line:,}", header[i], row[i]) for i in indices] for line, row in chunk
            ]
            yield [row[key] for _, row in chunk], np.array(scores), [line for line, _ in chunk]


def _check_length(file: Path, where: str, sequence: str) -> None:
    """Refuse a sequence that belongs to no space."""
    if len(sequence) > LONGEST:
        raise InputError(
            f"{file}, {where}: the sequence has {len(sequence):,} symbols, but those of a space have at most "
            f"{LONGEST:,}"
        )


def _score(where: str, name: str, text: str) -> float:
    if text.strip() in MISSING:
        return np.nan
    try:
        return number_in(text)
    except ValueError:
        raise FileError(
            f"{where}: {text!r} in the column {name!r} is not a number such as -1200.5 or 3e-7",
            advice="choose the columns of scores with column=",
            option="column",
        ) from None


def _score_columns(file: Path, columns: list[str], chosen: list[str] | None) -> tuple[str, ...]:
    """Return the names of the columns of scores."""
    names = tuple(name for name in columns if not _is_label(name)) if chosen is None else tuple(chosen)
    if not names:
        raise InputError(f"{file}: there is no column of scores, the columns are {listed(columns)}; add one")
    for name in ("sequence", *names):
        if columns.count(name) != 1:
            problem = "there are several columns" if name in columns else "there is no column"
            raise InputError(f"{file}: {problem} {name!r}, the columns are {listed(columns)}")
    return names


def _is_label(name: str) -> bool:
    """Return whether a column has sequences, names or the index of a data frame, and so no scores."""
    index = re.fullmatch(r"|Unnamed: \d+|__index_level_\d+__", name)
    return name.lower() in ("sequence", *NAMES) or index is not None


def _sorted(file: Path, keys: Numbers, values: Numbers, names: tuple[str, ...]) -> tuple[Numbers, Numbers]:
    """Return sequences and their values in the order of the sequences, each sequence once."""
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    repeats = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    both_missing = np.isnan(values[repeats]) & np.isnan(values[repeats - 1])
    differs = (values[repeats] != values[repeats - 1]) & ~both_missing
    if differs.any():
        row, column = (int(index) for index in np.argwhere(differs)[0])
        first, second = values[repeats[row] - 1, column], values[repeats[row], column]
        raise InputError(
            f"{file}: the sequence {keys[repeats[row]].decode()!r} occurs more than once, with the values "
            f"{first:g} and {second:g} of {names[column]!r}"
        )
    if not len(repeats):
        return keys, values
    return np.delete(keys, repeats), np.delete(values, repeats, axis=0)


@dataclass(frozen=True, eq=False, repr=False)
class _Table:
    path: str
    sequences: Numbers
    values: Numbers
    # Where the file has a sequence of which a score is missing.
    missing: dict[str, str]
    inputs: str = "strings"
    outputs: tuple[str, ...] | None = None
    # A sketch asks exactly the queries of its plan, because others have no score.
    only_planned = True

    def __repr__(self) -> str:
        return f"table({self.path!r}, {len(self.sequences):,} sequences)"

    def __call__(self, batch: Any) -> Numbers:
        keys = np.array([sequence.encode() for sequence in batch], dtype=bytes)
        # Keys are cut to the width of the table, because searchsorted would copy the table to a larger width.
        # The comparison below uses whole keys, so a key that was cut matches nothing.
        rows = np.searchsorted(self.sequences, keys.astype(self.sequences.dtype))
        rows = np.minimum(rows, len(self.sequences) - 1)
        missing = np.flatnonzero(self.sequences[rows] != keys)
        if len(missing):
            raise ModelError(
                f"{self.path} has no score for {batch[missing[0]]!r}; {len(missing)} of the {len(batch)} "
                f"requested sequences are missing; {self._advice(batch[missing[0]])}"
            )
        if self.outputs is not None:
            # Another output may be the one that is used.
            return self.values[rows]
        values: Numbers = self.values[rows, 0]
        lost = np.flatnonzero(np.isnan(values))
        if len(lost):
            sequence = batch[lost[0]]
            raise ModelError(
                f"{self.path}, {self.missing[sequence]}: the score of {sequence!r} is missing ({len(lost)} "
                f"of the {len(batch)} requested scores are); every sequence needs a score"
            )
        return values

    def _advice(self, sequence: str) -> str:
        for other in (sequence.lower(), sequence.upper()):
            if (self.sequences == other.encode()).any():
                return (
                    f"it has one for {other!r}: write the sequences of the file in the case of the alphabet"
                )
        return "use the space, budget, method and seed with which the sequences were planned"
