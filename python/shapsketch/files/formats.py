"""How files of sequences are parsed: each format as a stream of names, sequences and lines."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from shapsketch._validate import choice, optional
from shapsketch.errors import FileError, InputError, MissingExtraError
from shapsketch.space import SequenceSpace

FORMATS = ("fasta", "fastq", "csv", "tsv", "parquet")
EXTENSIONS = {
    **dict.fromkeys(("fasta", "fa", "fna", "faa", "ffn", "frn", "fas"), "fasta"),
    **dict.fromkeys(("fastq", "fq"), "fastq"),
    **dict.fromkeys(("tsv", "tab"), "tsv"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    "csv": "csv",
}
COMPRESSED = ("gz", "bz2", "xz", "zst")
# Columns that hold the name of a record, in this order.
NAMES = ("name", "id")
# Records parsed at a time, at most.
PARSED = 65_536
# Bytes read of a text file at a time.
CHUNK = 1 << 18
# A header after white space, which str.strip removes.
INDENTED = re.compile(rb"[^\S\n]*>")
# Modules whose errors are about the file.
LIBRARIES = (
    "dnaio",
    "pyarrow",
    "zlib",
    "zlib_ng",
    "isal",
    "igzip_lib",
    "_lzma",
    "backports",
    "compression",
)

# Line, name, and what is wrong.
Wrong: TypeAlias = tuple[int, str, str]


@dataclass
class Raw:
    """Records as they are in the file, and those that could not even be parsed."""

    names: list[str] = field(default_factory=list)
    sequences: list[str | None] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    wrong: deque[Wrong] = field(default_factory=deque)

    def add(self, other: Raw) -> None:
        """Append further records."""
        for name in ("names", "sequences", "lines", "wrong"):
            getattr(self, name).extend(getattr(other, name))

    def part(self, start: int, stop: int) -> Raw:
        """Return some of the records, with what is wrong up to the last of them."""
        made = Raw(self.names[start:stop], self.sequences[start:stop], self.lines[start:stop])
        while self.wrong and (stop >= len(self.lines) or self.wrong[0][0] < self.lines[stop]):
            made.wrong.append(self.wrong.popleft())
        return made


def format_of(
    path: Path, known: Iterable[str], given: str | None = None, *, can_be_given: bool = True
) -> str:
    """Return the format of a file: the one given, or the one that its extension tells.

    `can_be_given` says whether the caller has a parameter for the format.
    """
    known = list(known)
    if given is not None:
        return choice("format", given, known)
    if path.name == "-":
        raise InputError("'-' is not supported; standard input and output are /dev/stdin and /dev/stdout")
    parts = path.name.lower().split(".")[1:]
    compressed = bool(parts) and parts[-1] in COMPRESSED
    if compressed:
        parts.pop()
    kind = EXTENSIONS.get(parts[-1]) if parts else None
    if kind == "parquet" and compressed:
        raise InputError(f"{path}: Parquet files are compressed already; remove {path.suffix}")
    if kind not in known:
        extensions = [f".{extension}" for extension, kind in EXTENSIONS.items() if kind in known]
        raise InputError(
            f"{path}: cannot infer a supported format from the extension; use one of {', '.join(extensions)}",
            advice=f"or pass format=, one of {', '.join(map(repr, known))}" if can_be_given else "",
            option="format" if can_be_given else None,
        )
    return kind


def pyarrow() -> Any:
    """Return pyarrow, with the modules that write CSV and that read and write Parquet.

    pyarrow reads CSV in threads of its own. They go on, and call Python, after the reader was closed. So
    :func:`rows` reads CSV instead.
    """
    for module in ("pyarrow.csv", "pyarrow.parquet"):
        optional(module, "files", "a table")
    return optional("pyarrow", "files", "a table")


def opener() -> Any:
    """Return dnaio, and the function that opens files of any compression."""
    return optional("dnaio", "files", "a sequence file"), optional("xopen", "files", "a sequence file").xopen


def check_symbols(kind: str, space: SequenceSpace) -> None:
    """Refuse alphabets that a text format of sequences cannot hold."""
    for symbol in space.alphabet:
        if not symbol.isascii() or not symbol.isprintable() or symbol.isspace() or symbol in "#>":
            raise InputError(
                f"{kind.upper()} files cannot hold the symbol {symbol!r}; use CSV or Parquet instead"
            )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what libraries say of a file into errors of ours."""
    try:
        yield
    except (FileError, InputError, MissingExtraError):
        raise
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: it is no text file: {error}") from error
    except EOFError as error:
        raise FileError(f"{path}: the file is cut off: {error}") from error
    except OSError as error:
        what = error.strerror or str(error)
        raise FileError(f"cannot read {path}: {what}") from error
    except Exception as error:
        line = getattr(error, "line", None)
        if type(error).__module__.split(".")[0] in LIBRARIES:
            at = "" if line is None else f", line {line + 1:,}"
            raise FileError(f"{path}{at}: {getattr(error, 'message', None) or error}") from error
        raise


def rebatched(parts: Iterator[Raw], size: int) -> Generator[Raw, None, None]:
    """Yield the same records in batches of one size; those before an error of the file come first."""
    held = Raw()
    failure: Exception | None = None
    while True:
        try:
            part = next(parts, None)
        except Exception as error:
            part, failure = None, error
        if part is None:
            break
        held.add(part)
        full = len(held.names) - len(held.names) % size
        if full:
            for start in range(0, full, size):
                yield held.part(start, start + size)
            held = held.part(full, len(held.names))
        if len(held.wrong) > size:
            yield held
            held = Raw()
    if held.names or held.wrong:
        yield held
    if failure is not None:
        raise failure


class _HeaderLines(io.BufferedIOBase):
    """A file that notes which of its lines start a FASTA record while it is read by someone else.

    Lines end as Python's universal newlines do.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._line = 1
        self._fresh = True
        self._carry = b""
        self._return = False
        self._rest = b""
        self.marks: deque[int] = deque()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read1(CHUNK), b""))
        return self.read1(size)

    def read1(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = self._file.read(CHUNK)
            self._mark(self._rest)
        if size < 0 or size >= len(self._rest):
            chunk, self._rest = self._rest, b""
        else:
            chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk

    def _mark(self, text: bytes) -> None:
        if not text:
            return
        if b"\r" in text or self._return:
            after = self._return and text.startswith(b"\n")
            self._return = text.endswith(b"\r")
            text = text[after:].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # White space at the start of a line that the chunk cut is looked at again.
        text, self._carry = self._carry + text, b""
        data = np.frombuffer(text, dtype=np.uint8)
        starts = np.flatnonzero(data == ord("\n")) + 1
        ends = len(starts)
        if self._fresh:
            starts = np.concatenate([[0], starts])
        lines = np.arange(len(starts)) + self._line + (not self._fresh)
        self._line += ends
        if len(starts) and starts[-1] == len(data):
            starts, lines = starts[:-1], lines[:-1]
            self._fresh = True
        elif len(starts) and not text[starts[-1] :].strip():
            self._carry = text[starts[-1] :]
            starts, lines = starts[:-1], lines[:-1]
            self._fresh = True
        else:
            self._fresh = False
        first = data[starts]
        marked = first == ord(">")
        for i in np.flatnonzero(first <= ord(" ")):
            marked[i] = INDENTED.match(text, starts[i]) is not None
        self.marks.extend(lines[marked].tolist())


def fasta(path: Path, size: int) -> Iterator[Raw]:
    """Yield the records of a FASTA file, at most `size` in each batch."""
    dnaio, xopen = opener()
    with xopen(path, "rb", threads=0) as file:
        marked = _HeaderLines(_without_mark(file))
        # Tuples instead of dnaio's records, which refuse what is not ASCII.
        reader = iter(dnaio.FastaReader(marked, sequence_class=lambda name, sequence, _: (name, sequence)))
        size = min(size, PARSED)
        while True:
            pairs, failure = _some(reader, size)
            names = [name.split(None, 1)[0] if name and not name.isspace() else "" for name, _ in pairs]
            lines = [marked.marks.popleft() if marked.marks else 0 for _ in pairs]
            if pairs:
                yield Raw(names, [sequence for _, sequence in pairs], lines)
            if failure is not None:
                raise failure
            if len(pairs) < size:
                return


def fastq(path: Path, size: int) -> Iterator[Raw]:
    """Yield the records of a FASTQ file, at most `size` in each batch."""
    dnaio, xopen = opener()
    with xopen(path, "rb", threads=0) as file:
        reader = iter(dnaio.FastqReader(_without_mark(file)))
        size = min(size, PARSED)
        first = 1
        while True:
            found, failure = _some(reader, size)
            if found:
                stop = first + 4 * len(found)
                yield Raw(
                    [record.id for record in found],
                    [record.sequence for record in found],
                    list(range(first, stop, 4)),
                )
                first = stop
            if failure is not None:
                raise failure
            if len(found) < size:
                return


def _some(reader: Iterator[Any], size: int) -> tuple[list[Any], Exception | None]:
    """Return the next records, and the error at which they end."""
    found: list[Any] = []
    try:
        found.extend(islice(reader, size))
    except Exception as error:
        return found, error
    return found, None


def _without_mark(file: Any) -> Any:
    """Skip the byte order mark that some editors write."""
    buffered: Any = file
    if not hasattr(buffered, "peek"):
        buffered = io.BufferedReader(buffered)
    if buffered.peek(3)[:3] == b"\xef\xbb\xbf":
        buffered.read(3)
    return buffered


def _columns(where: str, found: list[str], column: str) -> list[str]:
    """Return the columns to read: the sequences, and the names if there are any."""
    if found.count(column) != 1:
        how = "is there twice" if column in found else "is not there"
        listed = ", ".join(map(repr, found[:20])) + (", ..." if len(found) > 20 else "")
        raise InputError(
            f"{where}: the column {column!r} {how}; the columns are {listed}; say which one with column="
        )
    return [column, *[name for name in NAMES if name != column and found.count(name) == 1][:1]]


def rows(path: Path, delimiter: str) -> Generator[tuple[int, list[str]], None, None]:
    """Yield the rows of a table of text that are not empty, the header first, and the lines they start at."""
    _, xopen = opener()
    with (
        xopen(path, "rb", threads=0) as opened,
        io.TextIOWrapper(opened, "utf-8-sig", newline="") as text,
    ):
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        line = 1
        try:
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise FileError(f"{path}, line {line:,}: {error}") from error


def delimiter_of(kind: str) -> str:
    """Return what parts the values of a table of text."""
    return "\t" if kind == "tsv" else ","


def count_of(row: list[str], header: list[str]) -> str | None:
    """Say what is wrong with a row that has not as many values as the header."""
    if len(row) == len(header):
        return None
    return f"it has {len(row)} values where the header has {len(header)}"


def table(path: Path, column: str, delimiter: str, size: int) -> Iterator[Raw]:
    """Yield the records of a CSV or TSV file, at most `size` in each batch."""
    with closing(rows(path, delimiter)) as reader:
        top, header = next(reader, (0, []))
        if not header:
            return
        at = [header.index(name) for name in _columns(f"{path}, line {top}", header, column)]
        numbers = count()
        while True:
            found, failure = _some(reader, min(size, PARSED))
            raw = Raw()
            for line, row in found:
                what, number = count_of(row, header), next(numbers)
                if what is not None:
                    raw.wrong.append((line, "", what))
                    continue
                raw.sequences.append(row[at[0]])
                raw.names.append(row[at[1]] if len(at) > 1 else str(number))
                raw.lines.append(line)
            if found:
                yield raw
            if failure is not None:
                raise failure
            if not found:
                return


def parquet(path: Path, column: str, size: int) -> Iterator[Raw]:
    """Yield the records of a Parquet file, at most `size` in each batch."""
    pa = pyarrow()
    with pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        columns = _columns(str(path), file.schema_arrow.names, column)
        row = 0
        for batch in file.iter_batches(min(size, PARSED), columns=columns, use_threads=False):
            try:
                texts = [batch.column(name).cast(pa.string()).to_pylist() for name in columns]
            except pa.lib.ArrowException as error:
                raise FileError(f"{path}: its columns {columns} are no text: {error}") from error
            numbers = list(range(row, row + batch.num_rows))
            names = texts[1] if len(texts) > 1 else [str(i) for i in numbers]
            yield Raw([name or "" for name in names], texts[0], numbers)
            row += batch.num_rows
