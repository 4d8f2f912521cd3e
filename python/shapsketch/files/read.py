"""Read sequences from FASTA, FASTQ, CSV, TSV and Parquet files, in batches of codes.

The batch size bounds the memory, independent of the size of the file. Files may be compressed (``.gz``,
``.bz2``, ``.xz``, ``.zst``; Parquet has its own compression). Messages about a malformed record name file,
line and record. A malformed file is always an error, even with ``on_error="skip"``.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import choice, file_path, integer, string
from shapsketch.errors import FileError, InputError
from shapsketch.files import formats
from shapsketch.files.formats import FORMATS, Malformed, Raw, check_symbols, format_of, reading, rebatched
from shapsketch.space import Codes, SequenceSpace, space_of

logger = logging.getLogger(__name__)

Format: TypeAlias = Literal["fasta", "fastq", "csv", "tsv", "parquet"]
# Default number of records in a batch.
BATCH = 65_536
# Number of malformed records of a file that are logged individually.
LOGGED = 10


@dataclass(frozen=True, eq=False)
class Records:
    """A batch of records.

    Attributes
    ----------
    names : list of str
    codes : numpy.ndarray of uint8, shape (B, n)
    lines : numpy.ndarray of int64, shape (B,)
        Line of the file at which each record starts, from 1; for Parquet the row, from 0.
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
        FASTA, FASTQ (four lines per record), CSV, TSV or Parquet.
    space : SequenceSpace
        Every sequence must belong to this space.
    format : {"fasta", "fastq", "csv", "tsv", "parquet"}, optional
        By default, from the extension; a final ``.gz`` or similar is ignored.
    column : str
        Column of a CSV, TSV or Parquet file that has the sequences. Names come from a column ``name`` or
        ``id``; without such a column they are row numbers, from 0.
    batch_size : int
        Largest number of records in a batch.
    on_error : {"raise", "skip"}
        What to do with a malformed record: stop with an error, or skip it. The first ten skipped records are
        logged as warnings; ``skipped`` counts all of them.

    Returns
    -------
    SequenceReader
        An iterator of :class:`Records`, for one loop; also a context manager that closes the file.

    Raises
    ------
    InputError
        If a record is malformed (the message names file, line, record and problem), the column is missing,
        or the format is not supported.
    FileError
        If the file cannot be read, is damaged, does not have its format or has no records; the message says
        where.
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
    """Iterates once over the records of a file; :func:`read_sequences` returns it.

    A second loop, or one after `close`, raises :class:`InputError`.

    Attributes
    ----------
    count : int
        Records read so far.
    skipped : int
        Malformed records skipped so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        space: SequenceSpace,
        format: Format | None,  # noqa: A002
        column: str,
        batch_size: int,
        on_error: str,
    ) -> None:
        self.path = file_path(path)
        string("column", column)
        self.format = format_of(self.path, FORMATS, format)
        space_of(space)
        if self.format in ("fasta", "fastq"):
            check_symbols(self.format, space)
        self._space = space
        self._size = integer("batch_size", batch_size, least=1)
        self._skip = choice("on_error", on_error, ("raise", "skip")) == "skip"
        self.count = self.skipped = 0
        # Whether there is nothing more to read.
        self._ended = False
        self._first_problem: str | None = None
        parsers: dict[str, Callable[[], Iterator[Raw]]] = {
            "fasta": lambda: formats.fasta(self.path, self._size, space.n),
            "fastq": lambda: formats.fastq(self.path, self._size, space.n),
            **dict.fromkeys(
                ("csv", "tsv"),
                lambda: formats.table(self.path, column, self.format, self._size, space),
            ),
            "parquet": lambda: formats.parquet(self.path, column, self._size, space.n),
        }
        self._unit = "row" if self.format == "parquet" else "line"
        self._records = self._read(parsers[self.format])
        # A missing library or file is an error here, not only when the first batch is read.
        if self.format == "parquet":
            formats.pyarrow()
        else:
            formats.opener()
        with reading(self.path):
            if self.path.is_dir() or not self.path.exists():
                code = errno.EISDIR if self.path.is_dir() else errno.ENOENT
                raise FileError(f"cannot read {self.path}: {os.strerror(code)}")

    def __iter__(self) -> SequenceReader:
        if self._ended:
            raise InputError(
                f"{self.path}: this reader is at the end of the file, or closed, and a file is read once; "
                "call read_sequences again"
            )
        return self

    def __next__(self) -> Records:
        try:
            return next(self._records)
        except BaseException:
            self._ended = True
            raise

    def close(self) -> None:
        """Close the file."""
        self._ended = True
        self._records.close()

    def __enter__(self) -> SequenceReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, parse: Callable[[], Iterator[Raw]]) -> Generator[Records, None, None]:
        with reading(self.path), closing(rebatched(parse(), self._size)) as batches:
            for raw in batches:
                records = self._encoded(raw)
                if len(records):
                    self.count += len(records)
                    yield records
        if self.skipped:
            logger.warning(
                "%s: skipped %d malformed records of %d",
                self.path,
                self.skipped,
                self.count + self.skipped,
            )
        if not self.count:
            if self.skipped:
                raise InputError(
                    f"{self.path}: none of the {self.skipped:,} records is a sequence of {self._space!r}; "
                    f"the first problem: {self._first_problem}"
                )
            raise FileError(f"{self.path}: the file has no records")

    def _encoded(self, raw: Raw) -> Records:
        """Encode a batch as a whole; if that fails, encode each record separately."""
        malformed = list(raw.malformed)
        if None not in raw.sequences:
            try:
                codes = self._space.encode(raw.sequences) if raw.names else None  # type: ignore[arg-type]
            except InputError:
                codes = None
        else:
            codes = None
        if codes is None:
            codes, encoded, not_encoded = self._encoded_separately(raw)
            malformed = sorted([*malformed, *not_encoded])
            raw = Raw([raw.names[i] for i in encoded], [], [raw.lines[i] for i in encoded])
        for line, name, problem in malformed:
            self._report(line, name, problem)
        return Records(raw.names, codes, np.array(raw.lines, dtype=np.int64))

    def _encoded_separately(self, raw: Raw) -> tuple[Codes, list[int], list[Malformed]]:
        """Return codes, the indices of the records with these codes, and the malformed records."""
        rows, encoded, malformed = [], [], []
        for index, sequence in enumerate(raw.sequences):
            problem = "it has no sequence"
            if sequence:
                try:
                    rows.append(self._space._encode_part([sequence], 0))
                    encoded.append(index)
                    continue
                except InputError as error:
                    problem = error.detail
            malformed.append((raw.lines[index], raw.names[index], problem))
            if not self._skip:
                break
        codes = np.concatenate(rows) if rows else np.empty((0, self._space.n), dtype=np.uint8)
        return codes, encoded, malformed

    def _report(self, line: int, name: str, problem: str) -> None:
        """Raise an error for a malformed record, or count and log it."""
        record = f", record {name!r}" if name else ""
        message = f"{self._unit} {line:,}{record}: {problem}"
        if not self._skip:
            raise InputError(
                f"{self.path}, {message}", advice="on_error='skip' skips such records", option="on_error"
            )
        self._first_problem = self._first_problem or message
        self.skipped += 1
        if self.skipped <= LOGGED:
            logger.warning("%s, %s; skipped", self.path, message)
        if self.skipped == LOGGED:
            logger.warning("%s: further malformed records are counted, but not logged", self.path)
