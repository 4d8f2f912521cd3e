"""Scores that were computed elsewhere, from a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shapsketch._errors import FileError, InputError, ModelError
from shapsketch._formats import NAMES, format_of, opener, pyarrow, reading
from shapsketch.models._base import Numbers

# Rows that are Python objects at a time.
CHUNK = 65_536


def table(path: str | os.PathLike[str], column: str | Sequence[str] | None = None) -> _Table:
    r"""Look scores up that were computed elsewhere.

    Parameters
    ----------
    path : str or path
        CSV, TSV or Parquet, told by the extension (before that of a compression), with a column
        ``sequence`` and columns of scores. It is read once, now.
    column : str or list of str, optional
        The scores; by default all other columns but ``name`` and ``id``. Several are several outputs.

    Raises
    ------
    FileError
        If the file cannot be read, or a score is no number.
    InputError
        If a column is missing, or a sequence is there twice with different scores. Asking for a sequence that
        is not there is a :class:`ModelError`.
    MissingExtraError
        If pyarrow or dnaio is not installed.

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
    kind = format_of(file, ("csv", "tsv", "parquet"), option=False)
    pa = pyarrow()
    keys: list[Numbers] = []
    values: list[Numbers] = []
    with reading(file):
        names = _score_columns(file, _header(pa, file, kind), column)
        for batch in _batches(pa, file, kind, names):
            for start in range(0, batch.num_rows, CHUNK):
                part = batch.slice(start, CHUNK)
                texts = part.column("sequence").cast(pa.binary()).to_pylist()
                if None in texts:
                    row = sum(map(len, keys)) + texts.index(None)
                    raise InputError(f"{file}: row {row} (from 0) has no sequence")
                keys.append(np.array(texts, dtype=bytes))
                scores = (part.column(name).cast(pa.float64()) for name in names)
                values.append(np.column_stack([score.to_numpy(zero_copy_only=False) for score in scores]))
    if not keys:
        raise FileError(f"{file}: the file has no rows")
    found = _sorted(file, np.concatenate(keys), np.concatenate(values), names)
    return _Table(str(file), *found, outputs=names if len(names) > 1 else None)


def _header(pa: Any, file: Path, kind: str) -> list[str]:
    if kind == "parquet":
        return list(pa.parquet.read_schema(file).names)
    _, xopen = opener()
    with (
        xopen(file, "rb", threads=0) as text,
        pa.csv.open_csv(text, parse_options=_parsing(pa, kind)) as reader,
    ):
        return list(reader.schema.names)


def _batches(pa: Any, file: Path, kind: str, names: tuple[str, ...]) -> Iterator[Any]:
    columns = ["sequence", *names]
    if kind == "parquet":
        with pa.parquet.ParquetFile(file) as opened:
            yield from opened.iter_batches(CHUNK, columns=columns)
        return
    types = {"sequence": pa.string(), **dict.fromkeys(names, pa.float64())}
    options = pa.csv.ConvertOptions(column_types=types, include_columns=columns)
    _, xopen = opener()
    parsing = _parsing(pa, kind)
    with (
        xopen(file, "rb", threads=0) as text,
        pa.csv.open_csv(text, parse_options=parsing, convert_options=options) as reader,
    ):
        try:
            yield from reader
        except pa.ArrowInvalid as error:
            raise FileError(
                f"{file}: {error}; scores were looked for in {', '.join(names)}: choose with column="
            ) from error


def _parsing(pa: Any, kind: str) -> Any:
    return pa.csv.ParseOptions(delimiter="\t" if kind == "tsv" else ",")


def _score_columns(file: Path, columns: list[str], column: str | Sequence[str] | None) -> tuple[str, ...]:
    if column is None:
        names = tuple(name for name in columns if name not in ("sequence", *NAMES))
    else:
        names = (column,) if isinstance(column, str) else tuple(column)
    if not names:
        raise InputError(f"{file}: there is no column of scores, only {columns}")
    for name in ("sequence", *names):
        if columns.count(name) != 1:
            how = "twice" if name in columns else "not"
            raise InputError(f"{file}: the column {name!r} is {how} there, the columns are {columns}")
    return names


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
