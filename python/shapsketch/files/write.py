"""Tables and queries as files: CSV and Parquet, FASTA for sequences, written batch by batch.

A file appears under its name only when it is complete: it is written beside it and renamed at the end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

from shapsketch._validate import choice
from shapsketch.errors import InputError
from shapsketch.files.atomic import replacing, writing
from shapsketch.files.formats import check_symbols, delimiter_of, format_of, pyarrow
from shapsketch.space import Codes, SequenceSpace

Kind: TypeAlias = Literal["string", "category", "int64", "float64", "float32"]
KINDS = ("string", "category", "int64", "float64", "float32")
TABLES = ("csv", "tsv", "parquet")
# Bytes of a table that are held before they are written.
HELD = 1 << 23
# Numbers that are turned into text at a time.
TEXT = 1 << 18


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
    >>> import tempfile, pathlib, shapsketch as ss
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "values.csv")
    ...     with ss.TableWriter(path, {"name": "string", "p0": "float64"}) as table:
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
    >>> space = ss.SequenceSpace(ss.DNA, length=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "queries.fasta")
    ...     count = ss.write_sequences(path, space, [space.encode(["ACGT", "GGGG"])])
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
