r"""The lines at which the records of a FASTA file start, noted while another library parses the file.

:attr:`Records.lines` has the line of every record, and messages about malformed records name it. dnaio, which
parses the file, does not report lines. A second pass over the file cannot find them, because the input may be
a pipe. So dnaio reads through the wrapper below, which notes the header lines, one chunk at a time. It passes
only the start of a very long record on, because dnaio would hold all of it in memory.
"""

from __future__ import annotations

import io
import re
from collections import deque
from pathlib import Path
from typing import BinaryIO

import numpy as np

from shapsketch.files.bounded import too_long

# Bytes read from the file at a time.
CHUNK = 1 << 18
# Bytes of a record, with its header, that are passed on; a longer header is an error.
RECORD = 1 << 20
# A header line that starts with white space, which dnaio removes.
INDENTED_HEADER = re.compile(rb"[^\S\n]*>")


class HeaderLines(io.BufferedIOBase):
    r"""A binary file that notes its FASTA header lines while it is read, and cuts very long records.

    Lines end with ``\n``, ``\r\n`` or ``\r``, as with Python's universal newlines; all become ``\n``.

    Attributes
    ----------
    lines : deque of int
        Numbers, from 1, of the header lines in the bytes read so far. The reader of the records removes them
        from the left.
    cut : deque of int
        For each of these lines, number of symbols that were cut off the end of the record.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        # Bytes of the last chunk that were not returned yet.
        self._unread = b""
        # Number of the line at which the next chunk starts or continues.
        self._line = 1
        # Whether the next chunk, after `_white_space`, starts a line.
        self._starts_line = True
        # White space at the start of a line, if the rest of the line is in the next chunk.
        self._white_space = b""
        # Whether the last chunk ended with "\r", so that a "\n" next belongs to the same line end.
        self._after_return = False
        # Bytes of the record so far, and whether its header line is not complete.
        self._record, self._in_header = 0, False
        self.lines: deque[int] = deque()
        self.cut: deque[int] = deque()

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes; all that remain without `size`."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read1(CHUNK), b""))
        return self.read1(size)

    def read1(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        while not self._unread:
            chunk = self._file.read(CHUNK)
            if not chunk:
                self._unread, self._white_space = self._white_space, b""
                break
            self._unread = self._noted(self._white_space + self._with_newlines(chunk))
        if size < 0 or size >= len(self._unread):
            returned, self._unread = self._unread, b""
        else:
            returned, self._unread = self._unread[:size], self._unread[size:]
        return returned

    def _with_newlines(self, chunk: bytes) -> bytes:
        r"""Return the chunk with ``\n`` for every line end."""
        if b"\r" not in chunk and not self._after_return:
            return chunk
        continued = self._after_return and chunk.startswith(b"\n")
        self._after_return = chunk.endswith(b"\r")
        return chunk[continued:].replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _noted(self, text: bytes) -> bytes:
        r"""Note the header lines of a text, whose lines end with ``\n``; return what to pass on of it."""
        data = np.frombuffer(text, dtype=np.uint8)
        starts = np.flatnonzero(data == ord("\n")) + 1
        line_ends = len(starts)
        if self._starts_line:
            starts = np.concatenate([[0], starts])
        lines = np.arange(len(starts)) + self._line + (not self._starts_line)
        self._line += line_ends
        # A last line of white space only is examined again with the next chunk.
        self._starts_line = len(starts) > 0 and not text[starts[-1] :].strip()
        self._white_space = b""
        if self._starts_line:
            self._white_space = text[starts[-1] :]
            if len(self._white_space) > RECORD:
                raise too_long(self._path, self._line, "the line", RECORD)
            text, starts, lines = text[: starts[-1]], starts[:-1], lines[:-1]
        first = data[starts]
        is_header = first == ord(">")
        for i in np.flatnonzero(first <= ord(" ")):
            is_header[i] = INDENTED_HEADER.match(text, starts[i]) is not None
        passed = self._cut(text, starts[is_header])
        self.lines.extend(lines[is_header].tolist())
        self.cut.extend([0] * int(is_header.sum()))
        return passed

    def _cut(self, text: bytes, headers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bytes:
        """Return a text without what is too much of the record that it begins with."""
        end, passed = int(headers[0]) if len(headers) else len(text), text
        if self._record + end > RECORD:
            kept = max(0, RECORD - self._record)
            if self._in_header and b"\n" not in text[:kept]:
                raise too_long(self._path, self.lines[-1], "the name of the record", RECORD)
            if self.cut:
                self.cut[-1] += end - kept - text.count(b"\n", kept, end)
            passed = text[:kept] + b"\n" + text[end:]
        if len(headers):
            self._record, self._in_header = len(text) - int(headers[-1]), b"\n" not in text[headers[-1] :]
        else:
            self._record += end
            self._in_header = self._in_header and b"\n" not in text
        return passed
