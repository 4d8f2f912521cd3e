"""Parsers of sequence files: each format as a stream of names, sequences and lines."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from shapsketch._validate import choice, listed, optional
from shapsketch.errors import FileError, InputError, MissingExtraError
from shapsketch.files.bounded import BoundedLines, BoundedRows
from shapsketch.files.header_lines import HeaderLines
from shapsketch.files.text import check_header, delimiter_of, not_utf8
from shapsketch.space import SequenceSpace

# Formats of sequence files, and the extensions of each.
FORMATS = ("fasta", "fastq", "csv", "tsv", "parquet")
EXTENSIONS = {
    **dict.fromkeys(("fasta", "fa", "fna", "faa", "ffn", "frn", "fas"), "fasta"),
    **dict.fromkeys(("fastq", "fq"), "fastq"),
    **dict.fromkeys(("tsv", "tab"), "tsv"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    "csv": "csv",
}
# Extensions of compressed files.
COMPRESSED = ("gz", "bz2", "xz", "zst")
# Columns that may hold the name of a record; the first one that exists is used.
NAMES = ("name", "id")
# Largest number of records parsed at a time.
MAX_PARSED = 65_536
# Modules whose errors mean that the file is malformed or damaged.
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

# A malformed record: its line, its name, and what is wrong with it.
Malformed: TypeAlias = tuple[int, str, str]
# A parsed record: its name, its sequence (None if it is too long for the space), and its number of symbols.
Parsed: TypeAlias = tuple[str, "str | None", int]


@dataclass
class Raw:
    """Records as text, not checked against a space, and records that could not be parsed."""

    names: list[str] = field(default_factory=list)
    sequences: list[str | None] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    malformed: deque[Malformed] = field(default_factory=deque)

    def add_one(self, line: int, name: str, sequence: str | None, length: int, n: int) -> None:
        """Append a record; it is malformed if its sequence has more symbols than the space, `n`."""
        if length > n:
            problem = f"it has {length} symbols, the space has length {n}"
            self.malformed.append((line, name, problem))
            return
        self.names.append(name)
        self.sequences.append(sequence)
        self.lines.append(line)

    def add(self, other: Raw) -> None:
        """Append further records."""
        for name in ("names", "sequences", "lines", "malformed"):
            getattr(self, name).extend(getattr(other, name))

    def take(self, start: int, stop: int) -> Raw:
        """Return some of the records, and remove the malformed records up to the last of them."""
        records = Raw(self.names[start:stop], self.sequences[start:stop], self.lines[start:stop])
        while self.malformed and (stop >= len(self.lines) or self.malformed[0][0] < self.lines[stop]):
            records.malformed.append(self.malformed.popleft())
        return records


def format_of(
    path: Path, supported: Iterable[str], requested: str | None = None, *, option: str | None = "format"
) -> str:
    """Return the format of a file: the requested one, or the one of its extension.

    `option` is the parameter of the caller that error messages can recommend; None if it has none.
    """
    supported = list(supported)
    if requested is not None:
        return choice("format", requested, supported)
    if path.name == "-":
        raise InputError("'-' is not supported; standard input and output are /dev/stdin and /dev/stdout")
    parts = path.name.lower().split(".")[1:]
    compressed = bool(parts) and parts[-1] in COMPRESSED
    if compressed:
        parts.pop()
    kind = EXTENSIONS.get(parts[-1]) if parts else None
    if kind == "parquet" and compressed:
        raise InputError(f"{path}: Parquet files are compressed already; remove {path.suffix}")
    if kind not in supported:
        extensions = [f".{extension}" for extension, kind in EXTENSIONS.items() if kind in supported]
        raise InputError(
            f"{path}: cannot infer a supported format from the extension; use one of {', '.join(extensions)}",
            advice=f"or pass {option}=, one of {', '.join(map(repr, supported))}" if option else "",
            option=option,
        )
    return kind


def pyarrow() -> Any:
    """Return pyarrow, with the modules that write CSV and that read and write Parquet.

    pyarrow is not used to read CSV, because it reads in threads that still run, and call Python, after the
    reader is closed. :func:`rows` reads CSV.
    """
    for module in ("pyarrow.csv", "pyarrow.parquet"):
        optional(module, "files", "a table")
    return optional("pyarrow", "files", "a table")


def opener() -> Any:
    """Return dnaio, and the function of xopen that opens compressed and plain files."""
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
    """Raise errors of the operating system and of libraries as `FileError`."""
    try:
        yield
    except (FileError, InputError, MissingExtraError):
        raise
    except UnicodeDecodeError as error:
        raise not_utf8(path, error, opener()[1]) from error
    except EOFError as error:
        raise FileError(f"{path}: the file is cut off ({error}); copy it again") from error
    except OSError as error:
        what = error.strerror or str(error)
        raise FileError(f"cannot read {path}: {what}") from error
    except Exception as error:
        line = getattr(error, "line", None)
        if type(error).__module__.split(".")[0] in LIBRARIES:
            where = f"{path}" if line is None else f"{path}, line {line + 1:,}"
            message = str(getattr(error, "message", None) or error)
            readable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
            raise FileError(f"{where}: {readable}") from error
        raise


def rebatched(parts: Iterator[Raw], size: int) -> Generator[Raw, None, None]:
    """Yield the same records in batches of `size`; an error of the file is raised after the last of them."""
    pending = Raw()
    failure: Exception | None = None
    while True:
        try:
            part = next(parts, None)
        except Exception as error:
            part, failure = None, error
        if part is None:
            break
        pending.add(part)
        full = len(pending.names) - len(pending.names) % size
        if full:
            for start in range(0, full, size):
                yield pending.take(start, start + size)
            pending = pending.take(full, len(pending.names))
        if len(pending.malformed) > size:
            yield pending
            pending = Raw()
    if pending.names or pending.malformed:
        yield pending
    if failure is not None:
        raise failure


def fasta(path: Path, size: int, n: int) -> Iterator[Raw]:
    """Yield the records of a FASTA file, up to `size` in a batch; `n` is the length of the space."""
    dnaio, xopen = opener()

    # Instead of dnaio's records, which refuse sequences that are not ASCII.
    def record_of(name: str, sequence: str, _: object) -> Parsed:
        return _parsed(name.split(None, 1)[0] if name and not name.isspace() else "", sequence, n)

    with xopen(path, "rb", threads=0) as file:
        headers = HeaderLines(_without_byte_order_mark(file), path)
        reader = iter(dnaio.FastaReader(headers, sequence_class=record_of))
        size = min(size, MAX_PARSED)
        while True:
            records, failure = _next_records(reader, size)
            raw = Raw()
            for name, sequence, length in records:
                line = headers.lines.popleft() if headers.lines else 0
                cut = headers.cut.popleft() if headers.cut else 0
                raw.add_one(line, name, sequence, length + cut, n)
            if records:
                yield raw
            if failure is not None:
                raise failure
            if len(records) < size:
                return


def fastq(path: Path, size: int, n: int) -> Iterator[Raw]:
    """Yield the records of a FASTQ file, up to `size` in a batch; `n` is the length of the space."""
    dnaio, xopen = opener()
    with xopen(path, "rb", threads=0) as file:
        text = _without_byte_order_mark(file)
        if text.peek(1)[:1] == b">":
            raise FileError(
                f"{path}, line 1: the file is FASTA, not FASTQ; change its extension",
                advice="or pass format='fasta'",
                option="format",
            )
        lines = BoundedLines(text, path)
        reader = (_parsed(record.id, record.sequence, n) for record in dnaio.FastqReader(lines))
        size = min(size, MAX_PARSED)
        line = 1
        while True:
            records, failure = _next_records(reader, size)
            raw = Raw()
            for name, sequence, length in records:
                raw.add_one(line, name, sequence, length, n)
                line += 4
            if records:
                yield raw
            if failure is not None:
                raise failure
            if len(records) < size:
                return


def _parsed(name: str, sequence: str, n: int) -> Parsed:
    """Return a record; a sequence that is longer than the space is not kept."""
    return name, sequence if len(sequence) <= n else None, len(sequence)


def _next_records(reader: Iterator[Any], size: int) -> tuple[list[Any], Exception | None]:
    """Return the next records, at most `size`, and the error after the last of them, if any."""
    records: list[Any] = []
    try:
        records.extend(islice(reader, size))
    except Exception as error:
        return records, error
    return records, None


def _without_byte_order_mark(file: Any) -> Any:
    """Skip the byte order mark that some editors write."""
    buffered: Any = file
    if not hasattr(buffered, "peek"):
        buffered = io.BufferedReader(buffered)
    if buffered.peek(3)[:3] == b"\xef\xbb\xbf":
        buffered.read(3)
    return buffered


def _columns(where: str, header: list[str], column: str) -> list[str]:
    """Return the columns to read: the sequences, and the names if there are any."""
    if header.count(column) > 1:
        raise InputError(
            f"{where}: the column {column!r} appears twice; the columns are {listed(header)}; rename one"
        )
    if column not in header:
        raise InputError(
            f"{where}: the column {column!r} is missing; the columns are {listed(header)}",
            advice="choose one with column=",
            option="column",
        )
    return [column, *[name for name in NAMES if name != column and header.count(name) == 1][:1]]


def rows(path: Path, kind: str) -> Generator[tuple[int, list[str]], None, None]:
    """Yield the rows of a CSV or TSV file, header included, and the lines at which they start.

    Comments (lines that start with ``#``) before the header and empty rows are skipped. The header tells the
    delimiter of a CSV file, a comma or a semicolon, and whether spaces follow the delimiters.
    """
    _, xopen = opener()
    with (
        xopen(path, "rb", threads=0) as opened,
        io.TextIOWrapper(opened, "utf-8-sig", newline="") as text,
    ):
        lines = BoundedRows(text, path)
        skipped, source = 0, iter(lines)
        header = next(source, "")
        while header and (header.startswith("#") or not header.strip()):
            lines.length = 0
            skipped, header = skipped + 1, next(source, "")
        delimiter = delimiter_of(kind)
        titles = _titles(header, delimiter)
        if kind == "csv" and len(titles) == 1 and len(_titles(header, ";")) > 1:
            delimiter = ";"
            titles = _titles(header, delimiter)
        spaces = any(title.startswith(" ") for title in titles[1:])
        reader = csv.reader(
            chain([header], source) if header else [],
            delimiter=delimiter,
            skipinitialspace=spaces,
            strict=True,
        )
        line = skipped + 1
        try:
            for row in reader:
                lines.length = 0
                if row:
                    yield line, row
                line = skipped + reader.line_num + 1
        except csv.Error as error:
            raise FileError(f"{path}, line {line:,}: {error}") from error


def _titles(line: str, delimiter: str) -> list[str]:
    """Return the values of the first line of a header."""
    return next(csv.reader([line], delimiter=delimiter), [])


def number_in(text: str) -> float:
    """Return the number in a field of a table.

    Raises
    ------
    ValueError
        If it is not a number. Python's float also takes underscores and digits of other scripts.
    """
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)


def count_of(row: list[str], header: list[str]) -> str | None:
    """Return what is wrong with a row that has more or fewer values than the header."""
    if len(row) == len(header):
        return None
    hint = "; comment lines are allowed only before the header" if row[0].startswith("#") else ""
    return f"it has {len(row)} values, but the header has {len(header)}{hint}"


def table(path: Path, column: str, kind: str, size: int, space: SequenceSpace) -> Iterator[Raw]:
    """Yield the records of a CSV or TSV file, up to `size` in a batch."""
    with closing(rows(path, kind)) as reader:
        top, header = next(reader, (0, []))
        if not header:
            return
        where = f"{path}, line {top}" + (", the first line that is not a comment" if top > 1 else "")
        if column not in header:
            check_header(where, kind, header, space)
        sequence_at, *name_at = map(header.index, _columns(where, header, column))

        # Other columns are not kept.
        def parse(number: int, line: int, row: list[str]) -> tuple[int, str | None, Parsed]:
            problem = count_of(row, header)
            if problem is not None:
                return line, problem, ("", None, 0)
            name = row[name_at[0]] if name_at else str(number)
            return line, None, _parsed(name, row[sequence_at], space.n)

        parsed = (parse(number, line, row) for number, (line, row) in enumerate(reader))
        while True:
            records, failure = _next_records(parsed, min(size, MAX_PARSED))
            raw = Raw()
            for line, problem, (name, sequence, length) in records:
                if problem is not None:
                    raw.malformed.append((line, "", problem))
                else:
                    raw.add_one(line, name, sequence, length, space.n)
            if records:
                yield raw
            if failure is not None:
                raise failure
            if not records:
                return


def parquet(path: Path, column: str, size: int, n: int) -> Iterator[Raw]:
    """Yield the records of a Parquet file, up to `size` in a batch; `n` is the length of the space."""
    pa = pyarrow()
    with pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        columns = _columns(str(path), file.schema_arrow.names, column)
        row = 0
        for batch in file.iter_batches(min(size, MAX_PARSED), columns=columns, use_threads=False):
            try:
                texts = [batch.column(name).cast(pa.string()).to_pylist() for name in columns]
            except pa.lib.ArrowException as error:
                raise FileError(f"{path}: the columns {listed(columns)} are not text: {error}") from error
            numbers = list(range(row, row + batch.num_rows))
            names = texts[1] if len(texts) > 1 else [str(i) for i in numbers]
            raw = Raw()
            for number, name, text in zip(numbers, names, texts[0], strict=True):
                raw.add_one(number, name or "", text, len(text or ""), n)
            yield raw
            row += batch.num_rows
