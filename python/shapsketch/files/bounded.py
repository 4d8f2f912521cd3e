"""Binary and text files of which only a bounded part is in memory, whatever the lengths of their lines.

The sequences of a space have at most 4,096 symbols. A file with much longer lines does not belong to one: it
is a genome, another kind of file, or a device without end.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from shapsketch.errors import FileError

# Longest line of a FASTQ file, and longest row of a table, in bytes or characters.
LONGEST = 1 << 24


def too_long(path: Path, line: int, what: str, limit: int = LONGEST) -> FileError:
    """Return the error for a line or row that is longer than `limit`."""
    return FileError(
        f"{path}, line {line:,}: {what} is longer than {limit:,} characters; check that this is the right "
        "file, and its format"
    )


class BoundedLines(io.BufferedIOBase):
    """A binary file whose lines must not be longer than `LONGEST`."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        # Line ends so far, and bytes since the last of them.
        self._lines = self._open = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes; all that remain without `size`.

        Raises
        ------
        FileError
            If a line is too long.
        """
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read1(io.DEFAULT_BUFFER_SIZE), b""))
        return self.read1(size)

    def read1(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, with at most one read of the file; errors as of `read`."""
        data = self._file.read(size if 0 <= size < LONGEST else io.DEFAULT_BUFFER_SIZE)
        last = data.rfind(b"\n")
        self._open = self._open + len(data) if last < 0 else len(data) - last - 1
        if self._open > LONGEST:
            raise too_long(self._path, self._lines + 1 + data.count(b"\n"), "the line")
        self._lines += data.count(b"\n")
        return data

    def readinto(self, buffer: Any) -> int:
        """Read up to ``len(buffer)`` bytes into a buffer; errors as of `read`."""
        data = self.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class BoundedRows:
    """The lines of a text table; the lines of one row must not be longer than `LONGEST` together.

    Attributes
    ----------
    length : int
        Characters since the start of the row; the reader of the rows sets it to 0 after each of them.
    """

    def __init__(self, text: TextIO, path: Path) -> None:
        self._text, self._path = text, path
        self._line = 0
        self.length = 0

    def __iter__(self) -> Iterator[str]:
        readline, limit = self._text.readline, LONGEST
        while line := readline(limit):
            self._line += 1
            self.length += len(line)
            if self.length >= limit:
                raise too_long(self._path, self._line, "the row")
            yield line
