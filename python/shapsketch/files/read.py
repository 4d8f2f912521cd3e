"""Sequences from files: FASTA, FASTQ, CSV and Parquet, streamed in batches of codes.

Memory is bounded by the batch, whatever the size of the file. Files may be compressed (``.gz``, ``.bz2``,
``.xz``, ``.zst``; Parquet compresses by itself). What is wrong with a record is said with file, line and
name; what is wrong with a file as such is always an error.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import choice, integer
from shapsketch.errors import FileError, InputError
from shapsketch.files import formats
from shapsketch.files.formats import FORMATS, Raw, Wrong, check_symbols, format_of, reading, rebatched
from shapsketch.space import Codes, SequenceSpace, space_of

logger = logging.getLogger(__name__)

Format: TypeAlias = Literal["fasta", "fastq", "csv", "tsv", "parquet"]
BATCH = 65_536
# Malformed records that are logged one by one.
LOGGED = 10


@dataclass(frozen=True, eq=False)
class Records:
    """A batch of records.

    Attributes
    ----------
    names : list of str
    codes : numpy.ndarray of uint8, shape (B, n)
    lines : numpy.ndarray of int64, shape (B,)
        Line of the file at which each record starts, from 1; of Parquet the row, from 0.
    """

    names: list[str]
    codes: Codes
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def read_sequences(
    path: str | os.PathLike[str],
    space: SequenceSpace,
    *,
    format: Format | None = None,  # noqa: A002
    column: str = "sequence",
    batch_size: int = BATCH,
    on_error: Literal["raise", "skip"] = "raise",
) -> SequenceReader:
    r"""Read the sequences of a file, batch by batch.

    Parameters
    ----------
    path : str or path
        FASTA, FASTQ (four lines a record), CSV, TSV or Parquet.
    space : SequenceSpace
        Every sequence must be of this space.
    format : {"fasta", "fastq", "csv", "tsv", "parquet"}, optional
        By the extension if not given, after that of a compression.
    column : str
        Of CSV, TSV and Parquet: the column with the sequences. Names are taken from a column ``name`` or
        ``id``; if there is neither, they are the row numbers, from 0.
    batch_size : int
        Most records in a batch.
    on_error : {"raise", "skip"}
        What to do with a record that is not of the space: stop, or leave it out, with the first ten logged
        as warnings and the number of all in ``skipped``.

    Returns
    -------
    SequenceReader
        An iterator of :class:`Records`; also a context manager that closes the file.

    Raises
    ------
    InputError
        At a malformed record (says file, line, name and what is wrong), if the column is missing, or if the
        format is not known.
    FileError
        If the file cannot be read, is damaged, is not of its format or has no records; says where.
    MissingExtraError
        If dnaio, xopen or, for Parquet, pyarrow is not installed.

    Examples
    --------
    >>> import tempfile, pathlib, shapsketch as ss
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "reads.fasta")
    ...     _ = path.write_text(">one some comment\nACG\nT\n>two\nGGGG\n")
    ...     for records in ss.read_sequences(path, ss.SequenceSpace(ss.DNA, length=4)):
    ...         print(records.names, records.codes.tolist(), records.lines)
    ['one', 'two'] [[0, 1, 2, 3], [2, 2, 2, 2]] [1 4]
    """
    return SequenceReader(path, space, format, column, batch_size, on_error)


class SequenceReader:
    """Iterates over the records of a file; made by :func:`read_sequences`.

    Attributes
    ----------
    count : int
        Records read so far.
    skipped : int
        Malformed records left out so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        space: SequenceSpace,
        given: Format | None,
        column: str,
        batch_size: int,
        on_error: str,
    ) -> None:
        self.path = Path(path)
        self.format = format_of(self.path, FORMATS, given)
        space_of(space)
        if self.format in ("fasta", "fastq"):
            check_symbols(self.format, space)
        self._space = space
        self._size = integer("batch_size", batch_size, least=1)
        self._skip = choice("on_error", on_error, ("raise", "skip")) == "skip"
        self.count = self.skipped = 0
        self._first: str | None = None
        read: dict[str, Callable[[], Iterator[Raw]]] = {
            "fasta": lambda: formats.fasta(self.path, self._size),
            "fastq": lambda: formats.fastq(self.path, self._size),
            **dict.fromkeys(
                ("csv", "tsv"),
                lambda: formats.table(self.path, column, formats.delimiter_of(self.format), self._size),
            ),
            "parquet": lambda: formats.parquet(self.path, column, self._size),
        }
        self._unit = "row" if self.format == "parquet" else "line"
        self._records = self._read(read[self.format])
        # What is not there, or not installed, is said now.
        if self.format == "parquet":
            formats.pyarrow()
        else:
            formats.opener()
        with reading(self.path):
            if self.path.is_dir() or not self.path.exists():
                code = errno.EISDIR if self.path.is_dir() else errno.ENOENT
                raise FileError(f"cannot read {self.path}: {os.strerror(code)}")

    def __iter__(self) -> SequenceReader:
        return self

    def __next__(self) -> Records:
        return next(self._records)

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def __enter__(self) -> SequenceReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, read: Callable[[], Iterator[Raw]]) -> Generator[Records, None, None]:
        with reading(self.path), closing(rebatched(read(), self._size)) as batches:
            for raw in batches:
                found = self._encoded(raw)
                if len(found):
                    self.count += len(found)
                    yield found
        if self.skipped:
            logger.warning(
                "%s: %d malformed of %d records were left out",
                self.path,
                self.skipped,
                self.count + self.skipped,
            )
        if not self.count:
            if self.skipped:
                raise InputError(
                    f"{self.path}: none of its {self.skipped:,} records is a sequence of {self._space!r}; "
                    f"the first: {self._first}"
                )
            raise FileError(f"{self.path}: the file has no records")

    def _encoded(self, raw: Raw) -> Records:
        """Encode a batch at once, and only if that fails one by one."""
        wrong = list(raw.wrong)
        if None not in raw.sequences:
            try:
                codes = self._space.encode(raw.sequences) if raw.names else None  # type: ignore[arg-type]
            except InputError:
                codes = None
        else:
            codes = None
        if codes is None:
            codes, good, culprits = self._one_by_one(raw)
            wrong = sorted([*wrong, *culprits])
            raw = Raw([raw.names[i] for i in good], [], [raw.lines[i] for i in good])
        for line, name, what in wrong:
            self._report(line, name, what)
        return Records(raw.names, codes, np.array(raw.lines, dtype=np.int64))

    def _one_by_one(self, raw: Raw) -> tuple[Codes, list[int], list[Wrong]]:
        rows, good, wrong = [], [], []
        for index, sequence in enumerate(raw.sequences):
            what = "it has no sequence"
            if sequence:
                try:
                    rows.append(self._space._core.encode([sequence]))
                    good.append(index)
                    continue
                except InputError as error:
                    what = re.sub(r"^sequence 0:? ", "", str(error))
                    what = f"it {what}" if what.startswith("has") else what
            wrong.append((raw.lines[index], raw.names[index], what))
            if not self._skip:
                break
        codes = np.concatenate(rows) if rows else np.empty((0, self._space.n), dtype=np.uint8)
        return codes, good, wrong

    def _report(self, line: int, name: str, what: str) -> None:
        called = f", record {name!r}" if name else ""
        message = f"{self.path}, {self._unit} {line:,}{called}: {what}"
        if not self._skip:
            raise InputError(f"{message}; on_error='skip' leaves out such records")
        self._first = self._first or f"{self._unit} {line:,}{called}: {what}"
        self.skipped += 1
        if self.skipped <= LOGGED:
            logger.warning("%s; left out", message)
        if self.skipped == LOGGED:
            logger.warning("%s: further malformed records are only counted", self.path)
