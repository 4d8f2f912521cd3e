"""Scores that were computed elsewhere, from a file."""

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

from shapsketch.errors import FileError, InputError, ModelError
from shapsketch.files.formats import NAMES, count_of, delimiter_of, format_of, pyarrow, reading, rows
from shapsketch.models._base import Numbers

# Rows that are Python objects at a time.
CHUNK = 65_536
# What stands for a score that is missing.
MISSING = ("", "NA", "N/A", "null")


def table(path: str | os.PathLike[str], column: str | Sequence[str] | None = None) -> _Table:
    r"""Look scores up that were computed elsewhere.

    Parameters
    ----------
    path : str or path
        CSV, TSV or Parquet, told by the extension (before that of a compression), with a column
        ``sequence`` and columns of scores. It is read once, now.
    column : str or list of str, optional
        The scores; by default all other columns but ``name``, ``id`` and the index of a data frame. Several
        are several outputs.

    Raises
    ------
    FileError
        If the file cannot be read, or a score is no number.
    InputError
        If a column is missing, or a sequence is there twice with different scores. Asking for a sequence that
        is not there is a :class:`ModelError`.
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
    file = Path(path)
    kind = format_of(file, ("csv", "tsv", "parquet"), can_be_given=False)
    keys: list[Numbers] = []
    values: list[Numbers] = []
    with reading(file):
        read = _parquet(file, column) if kind == "parquet" else _text(file, column, delimiter_of(kind))
        with closing(read):
            names = next(read)
            for sequences, scores in read:
                keys.append(np.array([sequence.encode() for sequence in sequences], dtype=bytes))
                values.append(scores)
    if not keys:
        raise FileError(f"{file}: the file has no rows")
    found = _sorted(file, np.concatenate(keys), np.concatenate(values), names)
    return _Table(str(file), *found, outputs=names if len(names) > 1 else None)


def _parquet(file: Path, column: str | Sequence[str] | None) -> Generator[Any, None, None]:
    """Yield the names of the scores, then sequences and scores."""
    pa = pyarrow()
    with pa.parquet.ParquetFile(file) as opened:
        names = _score_columns(file, opened.schema_arrow.names, column)
        yield names
        row = 0
        for batch in opened.iter_batches(CHUNK, columns=["sequence", *names]):
            texts = batch.column("sequence").cast(pa.string()).to_pylist()
            if None in texts:
                raise InputError(f"{file}: row {row + texts.index(None)} (from 0) has no sequence")
            scores = (batch.column(name).cast(pa.float64()) for name in names)
            yield texts, np.column_stack([score.to_numpy(zero_copy_only=False) for score in scores])
            row += len(texts)


def _text(file: Path, column: str | Sequence[str] | None, delimiter: str) -> Generator[Any, None, None]:
    """Yield the names of the scores, then sequences and scores."""
    with closing(rows(file, delimiter)) as reader:
        _, header = next(reader, (0, []))
        if not header:
            raise FileError(f"{file}: the file has no rows")
        names = _score_columns(file, header, column)
        yield names
        key, *at = (header.index(name) for name in ("sequence", *names))
        while found := list(islice(reader, CHUNK)):
            for line, row in found:
                wrong = count_of(row, header)
                if wrong is not None:
                    raise FileError(f"{file}, line {line:,}: {wrong}")
            scores = np.array([[_score(file, line, header[i], row[i]) for i in at] for line, row in found])
            yield [row[key] for _, row in found], scores


def _score(file: Path, line: int, name: str, text: str) -> float:
    if text in MISSING:
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise FileError(
            f"{file}, line {line:,}: {text!r} in the column {name!r} is no number; choose the scores with "
            "column="
        ) from None


def _score_columns(file: Path, columns: list[str], column: str | Sequence[str] | None) -> tuple[str, ...]:
    if column is None:
        names = tuple(name for name in columns if not _no_score(name))
    else:
        names = (column,) if isinstance(column, str) else tuple(column)
    if not names:
        raise InputError(f"{file}: there is no column of scores, only {columns}")
    for name in ("sequence", *names):
        if columns.count(name) != 1:
            how = "twice" if name in columns else "not"
            raise InputError(f"{file}: the column {name!r} is {how} there, the columns are {columns}")
    return names


def _no_score(name: str) -> bool:
    """Return whether a column is that of the sequences, of names, or the index of a data frame."""
    index = re.fullmatch(r"|Unnamed: \d+|__index_level_\d+__", name)
    return name.lower() in ("sequence", *NAMES) or index is not None


def _sorted(file: Path, keys: Numbers, values: Numbers, names: tuple[str, ...]) -> tuple[Numbers, Numbers]:
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    again = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    differs = (values[again] != values[again - 1]) & ~(np.isnan(values[again]) & np.isnan(values[again - 1]))
    if differs.any():
        row, at = (int(index) for index in np.argwhere(differs)[0])
        one, other = values[again[row] - 1, at], values[again[row], at]
        raise InputError(
            f"{file}: {keys[again[row]].decode()!r} is there more than once, with {names[at]} {one:g} and "
            f"{other:g}"
        )
    return (np.delete(keys, again), np.delete(values, again, axis=0)) if len(again) else (keys, values)


@dataclass(frozen=True, eq=False, repr=False)
class _Table:
    path: str
    sequences: Numbers
    values: Numbers
    inputs: str = "strings"
    outputs: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"table({self.path!r}, {len(self.sequences):,} sequences)"

    def __call__(self, batch: Any) -> Numbers:
        wanted = np.array([sequence.encode() for sequence in batch], dtype=bytes)
        # Of the same width, so that the table is not copied; what was cut is found to differ.
        at = np.searchsorted(self.sequences, wanted.astype(self.sequences.dtype))
        at = np.minimum(at, len(self.sequences) - 1)
        missing = np.flatnonzero(self.sequences[at] != wanted)
        if len(missing):
            raise ModelError(
                f"{self.path} has no score of {batch[missing[0]]!r}; {len(missing)} of the {len(batch)} "
                "sequences asked are missing; the queries of a plan are those of its space, budget, method "
                "and random_state"
            )
        return self.values[at, 0] if self.outputs is None else self.values[at]
