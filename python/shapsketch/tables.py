"""Tables and queries as files: CSV and Parquet, FASTA for sequences, written batch by batch.

A file appears under its name only when it is complete: it is written beside it and renamed at the end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._check import choice
from shapsketch._errors import FileError, InputError
from shapsketch._formats import COMPRESSED, check_symbols, delimiter_of, format_of, opener, pyarrow
from shapsketch.space import Codes, SequenceSpace
from shapsketch.views import Array, Support

Kind: TypeAlias = Literal["string", "category", "int64", "float64", "float32"]
KINDS = ("string", "category", "int64", "float64", "float32")
TABLES = ("csv", "tsv", "parquet")
# Bytes of a table that are held before they are written.
HELD = 1 << 23
# Of gzip: files a tenth larger than at the highest level, in a hundredth of the time.
LEVEL = 1
# Numbers that are turned into text at a time.
TEXT = 1 << 18


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into an error of ours."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error


class TableWriter:
    r"""Writes a table as CSV, TSV or Parquet, batch by batch.

    A context manager: the file appears when it ends, and not at all if there was an error. Memory is bounded
    by the batches and some 16 MiB; they are written by a thread, while the next ones are made.

    Parameters
    ----------
    path : str or path
        CSV and TSV are compressed if it ends with ``.gz``, ``.bz2``, ``.xz`` or ``.zst``.
    columns : mapping of str to {"string", "category", "int64", "float64", "float32"}
        Names and kinds of the columns, in order; a category is a string that is often the same.
    format : {"csv", "tsv", "parquet"}, optional
        By the extension if not given.
    metadata : mapping of str to str, optional
        Kept in the schema of a Parquet file; CSV has no place for it.

    Attributes
    ----------
    rows : int
        Rows written so far.

    Raises
    ------
    InputError
        If the format is not known, or a batch has other columns than the table.
    FileError
        If the file cannot be written.
    MissingExtraError
        If pyarrow is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from shapsketch.tables import TableWriter
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "values.csv")
    ...     with TableWriter(path, {"name": "string", "p0": "float64"}) as table:
    ...         table.write({"name": ["one", "two"], "p0": [0.5, -1.0]})
    ...     path.read_text()
    '"name","p0"\n"one",0.5\n"two",-1\n'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Mapping[str, Kind],
        *,
        format: Literal["csv", "tsv", "parquet"] | None = None,  # noqa: A002
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.format = format_of(self.path, TABLES, format)
        self.rows = 0
        if not columns:
            raise InputError("a table needs at least one column")
        self._pyarrow = pa = pyarrow()
        self._columns = {
            name: choice(f"the kind of column {name!r}", kind, KINDS) for name, kind in columns.items()
        }
        kinds = {
            "string": pa.string(),
            "category": pa.string(),
            "int64": pa.int64(),
            "float64": pa.float64(),
            "float32": pa.float32(),
        }
        self._schema = pa.schema(
            [(name, kinds[kind]) for name, kind in self._columns.items()],
            metadata=None if metadata is None else dict(metadata),
        )
        self._held: list[Any] = []
        self._bytes = 0
        self._stack = ExitStack()
        self._writer: Any = None
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> TableWriter:
        pa = self._pyarrow
        with ExitStack() as stack:
            file = stack.enter_context(replacing(self.path, compressed=self.format != "parquet"))
            with writing(self.path):
                if self.format == "parquet":
                    repeated = [name for name, kind in self._columns.items() if kind == "category"]
                    self._writer = pa.parquet.ParquetWriter(
                        file, self._schema, compression="zstd", use_dictionary=repeated
                    )
                else:
                    options = pa.csv.WriteOptions(
                        delimiter=delimiter_of(self.format), batch_size=max(1, TEXT // len(self._columns))
                    )
                    self._writer = pa.csv.CSVWriter(file, self._schema, write_options=options)
            self._stack = stack.pop_all()
        return self

    def write(self, batch: Mapping[str, Any]) -> None:
        """Write rows: for each column a list, an array (B,), or an array of pyarrow.

        Strings may also be a pair of a list and the indices (B,) into it.
        """
        if self._writer is None:
            raise InputError("a TableWriter is open within a `with` block only")
        if list(batch) != list(self._columns):
            raise InputError(f"{self.path}: a batch has the columns {list(batch)}, not {list(self._columns)}")
        pa = self._pyarrow
        try:
            arrays = [
                self._array(column, field.type)
                for column, field in zip(batch.values(), self._schema, strict=True)
            ]
            rows = pa.record_batch(arrays, schema=self._schema)
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            raise InputError(f"{self.path}: these are no rows of the table: {error}") from error
        self.rows += rows.num_rows
        self._held.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= HELD:
            self._flush()

    def _array(self, column: Any, kind: Any) -> Any:
        pa = self._pyarrow
        if isinstance(column, tuple):
            words, indices = column
            return pa.array(words, type=kind).take(pa.array(indices))
        array = column if isinstance(column, pa.Array) else pa.array(column)
        return array if array.type == kind else array.cast(kind)

    def _flush(self) -> None:
        """Let the thread write what is held, once it is done with what came before."""
        if self._held:
            rows = self._pyarrow.Table.from_batches(self._held, self._schema)
            self._held, self._bytes = [], 0
            self._wait()
            self._pending = self._pool.submit(self._writer.write_table, rows)

    def _wait(self) -> None:
        if self._pending is not None:
            with writing(self.path):
                self._pending.result()
            self._pending = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
                self._wait()
                with writing(self.path):
                    self._writer.close()
        except BaseException as failure:
            kind, error, trace = type(failure), failure, failure.__traceback__
            raise
        finally:
            self._pool.shutdown()
            self._pending = None
            if kind is not None:
                # What is not kept need not be whole.
                with contextlib.suppress(Exception):
                    self._writer.close()
            self._writer, self._held = None, []
            self._stack.__exit__(kind, error, trace)


@contextmanager
def replacing(path: Path, *, compressed: bool) -> Iterator[Any]:
    """Yield a file to write that takes the place of another, if all goes well.

    What is there and no plain file, such as a pipe or a device, is written as it is.
    """
    extension = path.suffix.lower()[1:]
    with writing(path):
        if path.is_dir():
            raise FileError(f"cannot write {path}: it is a folder")
        whole = path.is_file() or not path.exists()
    target = Path(os.path.realpath(path)) if whole else path
    at = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part") if whole else target
    stack = ExitStack()
    try:
        with writing(path):
            file = stack.enter_context(open(at, "xb" if whole else "wb"))  # noqa: SIM115
            if compressed and extension in COMPRESSED:
                level = LEVEL if extension == "gz" else None
                _, xopen = opener()
                file = stack.enter_context(
                    xopen(file, "wb", compresslevel=level, threads=0, format=extension)
                )
        yield file
        with writing(path):
            stack.close()
            if whole:
                os.replace(at, target)
    except BaseException:
        with contextlib.suppress(Exception):
            stack.close()
        if whole:
            with contextlib.suppress(OSError):
                at.unlink(missing_ok=True)
        raise


def write_sequences(
    path: str | os.PathLike[str],
    space: SequenceSpace,
    batches: Iterable[Codes],
    *,
    prefix: str = "query",
    format: Literal["fasta", "csv", "tsv", "parquet"] | None = None,  # noqa: A002
) -> int:
    """Write sequences, for a model that runs elsewhere; returns their number.

    Parameters
    ----------
    path : str or path
        FASTA, CSV or TSV, each compressed if it ends with ``.gz``, ``.bz2``, ``.xz`` or ``.zst``, or Parquet.
    space : SequenceSpace
    batches : iterable of codes (B, n)
    prefix : str
        The names are this and a number from 0 on.
    format : {"fasta", "csv", "tsv", "parquet"}, optional
        By the extension if not given. Tables have the columns ``name`` and ``sequence``.

    Raises
    ------
    InputError
        If codes are not of the space, or the format cannot hold the alphabet.
    FileError
        If the file cannot be written.
    MissingExtraError
        If pyarrow or dnaio are not installed.

    Examples
    --------
    >>> import tempfile, pathlib, shapsketch as ss
    >>> from shapsketch.tables import write_sequences
    >>> space = ss.SequenceSpace(ss.DNA, length=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "queries.fasta")
    ...     count = write_sequences(path, space, [space.encode(["ACGT", "GGGG"])])
    ...     count, path.read_text().split()
    (2, ['>query0', 'ACGT', '>query1', 'GGGG'])
    """
    path = Path(path)
    kind = format_of(path, ("fasta", *TABLES), format)
    done = 0
    if kind == "fasta":
        check_symbols(kind, space)
        with replacing(path, compressed=True) as file:
            for codes in batches:
                rows = space.decode(codes)
                text = "".join([f">{prefix}{i}\n{row}\n" for i, row in enumerate(rows, done)])
                with writing(path):
                    file.write(text.encode())
                done += len(rows)
        return done
    columns: dict[str, Kind] = {"name": "string", "sequence": "string"}
    with TableWriter(path, columns, format=kind) as table:  # type: ignore[arg-type]
        for codes in batches:
            rows = space.decode(codes)
            table.write({"name": [f"{prefix}{i}" for i in range(done, done + len(rows))], "sequence": rows})
            done += len(rows)
    return done


def value_columns(
    length: int, *, sequence: bool = False, stderr: bool = False, float32: bool = False
) -> dict[str, Kind]:
    """Return the columns of a table of Shapley values, of which :func:`value_rows` are the rows.

    They are ``name``, ``sequence`` if wanted, ``base_value``, ``p0`` to ``p<n-1>`` for the positions, and, if
    wanted, ``p0_stderr`` and so on.
    """
    number: Kind = "float32" if float32 else "float64"
    columns: dict[str, Kind] = {"name": "string"}
    if sequence:
        columns["sequence"] = "string"
    columns["base_value"] = number
    columns.update(dict.fromkeys((f"p{i}" for i in range(length)), number))
    if stderr:
        columns.update(dict.fromkeys((f"p{i}_stderr" for i in range(length)), number))
    return columns


def value_rows(
    names: list[str],
    values: Array,
    base_values: Array,
    *,
    sequences: list[str] | None = None,
    stderr: Array | None = None,
) -> dict[str, Any]:
    """Return rows for Shapley values (B, n) of named sequences."""
    rows: dict[str, Any] = {"name": names}
    if sequences is not None:
        rows["sequence"] = sequences
    rows["base_value"] = base_values
    rows.update((f"p{i}", column) for i, column in enumerate(np.ascontiguousarray(values.T)))
    if stderr is not None:
        rows.update((f"p{i}_stderr", column) for i, column in enumerate(np.ascontiguousarray(stderr.T)))
    return rows


def interaction_columns(*, float32: bool = False) -> dict[str, Kind]:
    """Return the columns of a table of interactions, of which :func:`interaction_rows` are the rows.

    They are ``name``, ``support`` (positions from 0, such as ``"3,7"``), ``order`` and ``value``.
    """
    number: Kind = "float32" if float32 else "float64"
    return {"name": "category", "support": "category", "order": "int64", "value": number}


def interaction_rows(
    names: list[str], supports: list[Support], values: Array, *, top: int | None = None
) -> dict[str, Any]:
    """Return a row for each of some named sequences and each of its interactions (B, n_supports).

    With `top` only so many of each sequence, the largest absolute values first.
    """
    if top is None:
        chosen = np.broadcast_to(np.arange(len(supports)), values.shape)
    else:
        chosen = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :top]
    orders = np.array([len(support) for support in supports], dtype=np.int64)
    which = chosen.reshape(-1)
    return {
        "name": (names, np.repeat(np.arange(len(names)), chosen.shape[1])),
        "support": ([",".join(map(str, support)) for support in supports], which),
        "order": orders[which],
        "value": np.take_along_axis(values, chosen, axis=1).reshape(-1),
    }


def effect_columns(*, float32: bool = False) -> dict[str, Kind]:
    """Return the columns of a table of substitutions, of which :func:`effect_rows` are the rows.

    They are ``name``, ``position`` (from 0), ``from`` and ``to`` (letters), and ``change`` of the score.
    """
    number: Kind = "float32" if float32 else "float64"
    return {"name": "category", "position": "int64", "from": "category", "to": "category", "change": number}


def effect_rows(names: list[str], codes: Codes, effects: Array, space: SequenceSpace) -> dict[str, Any]:
    """Return a row for each single substitution of named sequences, from effects (B, n, q)."""
    letters = list(space.alphabet)
    other = codes[:, :, None] != np.arange(space.q)
    row, position, to = np.nonzero(other)
    return {
        "name": (names, row),
        "position": position,
        "from": (letters, codes[row, position]),
        "to": (letters, to),
        "change": effects[other],
    }
