"""Write tables as CSV, TSV or Parquet, and sequences also as FASTA, batch by batch.

A file is written beside its target and renamed at the end, so it appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Literal, TypeAlias

from shapsketch._validate import choice, file_path, iterator_of, listed, mapping, string
from shapsketch.errors import InputError
from shapsketch.files.atomic import replacing, writing
from shapsketch.files.formats import check_symbols, format_of, pyarrow
from shapsketch.files.text import delimiter_of
from shapsketch.space import Codes, SequenceSpace, space_of

# Kinds of columns: strings, strings that are often repeated, and numbers.
Kind: TypeAlias = Literal["string", "category", "int64", "float64", "float32"]
KINDS = ("string", "category", "int64", "float64", "float32")
# Formats of tables.
TABLES = ("csv", "tsv", "parquet")
# Bytes of rows that are collected before they are written.
BUFFER = 1 << 23
# Values of a text table that are formatted at a time.
FORMATTED = 1 << 18


class TableWriter:
    r"""Writes a table as CSV, TSV or Parquet, batch by batch.

    A context manager: the file appears when the block ends, and not at all after an error. It needs the
    memory of one batch and about 16 MiB. A thread writes rows while the caller prepares the next ones.

    Parameters
    ----------
    path : str or path
        A CSV or TSV file is compressed if the name ends with ``.gz``, ``.bz2``, ``.xz`` or ``.zst``.
    columns : mapping of str to {"string", "category", "int64", "float64", "float32"}
        Names and kinds of the columns, in order. A category is a string that many rows share.
    format : {"csv", "tsv", "parquet"}, optional
        By default, from the extension.
    metadata : mapping of str to str, optional
        Stored in the schema of a Parquet file; ignored for CSV and TSV.

    Attributes
    ----------
    rows : int
        Rows written so far.

    Raises
    ------
    InputError
        If the format is not supported, or a batch does not have the columns of the table.
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
        self.path = file_path(path)
        self.format = format_of(self.path, TABLES, format)
        self.rows = 0
        self._columns = {
            string("the name of a column", name): choice(f"the kind of column {name!r}", kind, KINDS)
            for name, kind in mapping("columns", columns, "names to kinds").items()
        }
        if not self._columns:
            raise InputError("a table needs at least one column")
        notes = {} if metadata is None else mapping("metadata", metadata, "strings to strings")
        for name, note in notes.items():
            string(f"metadata[{name!r}]", string("a name in metadata", name) and note)
        self._pyarrow = pa = pyarrow()
        kinds = {
            "string": pa.string(),
            "category": pa.string(),
            "int64": pa.int64(),
            "float64": pa.float64(),
            "float32": pa.float32(),
        }
        self._schema = pa.schema(
            [(name, kinds[kind]) for name, kind in self._columns.items()],
            metadata=notes or None,
        )
        self._buffer: list[Any] = []
        self._buffer_bytes = 0
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
                        delimiter=delimiter_of(self.format),
                        batch_size=max(1, FORMATTED // len(self._columns)),
                    )
                    self._writer = pa.csv.CSVWriter(file, self._schema, write_options=options)
            self._stack = stack.pop_all()
        return self

    def write(self, batch: Mapping[str, Any]) -> None:
        """Write rows.

        Parameters
        ----------
        batch : mapping of str to column
            One entry for each column of the table, in the same order: a list, an array (B,), or a pyarrow
            array. A column of strings may also be a pair of a list of str and indices (B,) into it.

        Raises
        ------
        InputError
            If the columns are not those of the table, or a value does not fit its column.
        FileError
            If earlier rows could not be written.
        """
        if self._writer is None:
            raise InputError("a TableWriter can write only within a `with` block")
        names = list(mapping("batch", batch, "names to columns"))
        if names != list(self._columns):
            raise InputError(
                f"{self.path}: the batch has the columns {listed(names)}, expected {listed(self._columns)}"
            )
        pa = self._pyarrow
        try:
            arrays = [
                self._array(column, field.type)
                for column, field in zip(batch.values(), self._schema, strict=True)
            ]
            rows = pa.record_batch(arrays, schema=self._schema)
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            raise InputError(
                f"{self.path}: the batch does not fit the columns of the table: {error}"
            ) from error
        self.rows += rows.num_rows
        self._buffer.append(rows)
        self._buffer_bytes += rows.nbytes
        if self._buffer_bytes >= BUFFER:
            self._flush()

    def _array(self, column: Any, kind: Any) -> Any:
        pa = self._pyarrow
        if isinstance(column, tuple):
            strings, indices = column
            return pa.array(strings, type=kind).take(pa.array(indices))
        array = column if isinstance(column, pa.Array) else pa.array(column)
        return array if array.type == kind else array.cast(kind)

    def _flush(self) -> None:
        """Pass the collected rows to the thread, after it has written the rows before them."""
        if self._buffer:
            rows = self._pyarrow.Table.from_batches(self._buffer, self._schema)
            self._buffer, self._buffer_bytes = [], 0
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
                # The file is discarded, so errors at its end do not matter.
                with contextlib.suppress(Exception):
                    self._writer.close()
            self._writer, self._buffer = None, []
            self._stack.__exit__(kind, error, trace)


def write_sequences(
    path: str | os.PathLike[str],
    space: SequenceSpace,
    batches: Iterable[Codes],
    *,
    prefix: str = "query",
    format: Literal["fasta", "csv", "tsv", "parquet"] | None = None,  # noqa: A002
) -> int:
    """Write sequences, for example to evaluate them with another program; return their number.

    Parameters
    ----------
    path : str or path
        FASTA, CSV, TSV or Parquet. The first three are compressed if the name ends with ``.gz``, ``.bz2``,
        ``.xz`` or ``.zst``.
    space : SequenceSpace
    batches : iterable of codes (B, n)
    prefix : str
        Names are this prefix and a number, from 0. It has no control characters, and for FASTA no spaces.
    format : {"fasta", "csv", "tsv", "parquet"}, optional
        By default, from the extension. Tables have the columns ``name`` and ``sequence``.

    Raises
    ------
    InputError
        If codes do not belong to the space, or the format cannot hold the alphabet or the prefix.
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
    path = file_path(path)
    space_of(space)
    string("prefix", prefix)
    kind = format_of(path, ("fasta", *TABLES), format)
    for position, symbol in enumerate(prefix):
        # In FASTA, white space ends the name.
        if not symbol.isprintable() or (kind == "fasta" and symbol.isspace()):
            raise InputError(
                f"prefix: the character {symbol!r} at position {position} cannot be part of a name in a "
                f"{kind.upper()} file; remove it",
                position=position,
            )
    parts = iterator_of("batches", batches, f"arrays of codes (B, {space.n})")
    written = 0
    if kind == "fasta":
        check_symbols(kind, space)
        with replacing(path, compressed=True) as file:
            for codes in parts:
                rows = space.decode(codes)
                text = "".join([f">{prefix}{i}\n{row}\n" for i, row in enumerate(rows, written)])
                with writing(path):
                    file.write(text.encode())
                written += len(rows)
        return written
    columns: dict[str, Kind] = {"name": "string", "sequence": "string"}
    with TableWriter(path, columns, format=kind) as table:  # type: ignore[arg-type]
        for codes in parts:
            rows = space.decode(codes)
            names = [f"{prefix}{i}" for i in range(written, written + len(rows))]
            table.write({"name": names, "sequence": rows})
            written += len(rows)
    return written
