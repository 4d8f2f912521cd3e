r"""The lines at which the records of a FASTA file start, noted while another library parses the file.

:attr:`Records.lines` has the line of every record, and messages about malformed records name it. dnaio, which
parses the file, does not report lines. A second pass over the file cannot find them, because the input may be
a pipe. So dnaio reads through the wrapper below, which passes all bytes on and notes the header lines, one
chunk at a time.
"""

from __future__ import annotations

import io
import re
from collections import deque
from typing import BinaryIO

import numpy as np

# Bytes read from the file at a time.
CHUNK = 1 << 18
# A header line that starts with white space, which dnaio removes.
INDENTED_HEADER = re.compile(rb"[^\S\n]*>")


class HeaderLines(io.BufferedIOBase):
    r"""A binary file that notes its FASTA header lines while it is read.

    Lines end with ``\n``, ``\r\n`` or ``\r``, as with Python's universal newlines.

    Attributes
    ----------
    lines : deque of int
        Numbers, from 1, of the header lines in the bytes read so far. The reader of the records removes them
        from the left.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
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
        self.lines: deque[int] = deque()

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes; all that remain without `size`."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read1(CHUNK), b""))
        return self.read1(size)

    def read1(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, with at most one read of the file."""
        if not self._unread:
            self._unread = self._file.read(CHUNK)
            if self._unread:
                self._note_headers(self._with_newlines(self._unread))
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

    def _note_headers(self, chunk: bytes) -> None:
        r"""Append the header lines of a chunk, whose lines end with ``\n``, to `lines`."""
        text = self._white_space + chunk
        self._white_space = b""
        data = np.frombuffer(text, dtype=np.uint8)
        starts = np.flatnonzero(data == ord("\n")) + 1
        line_ends = len(starts)
        if self._starts_line:
            starts = np.concatenate([[0], starts])
        lines = np.arange(len(starts)) + self._line + (not self._starts_line)
        self._line += line_ends
        # A last line of white space only is examined again with the next chunk.
        self._starts_line = len(starts) > 0 and not text[starts[-1] :].strip()
        if self._starts_line:
            self._white_space = text[starts[-1] :]
            starts, lines = starts[:-1], lines[:-1]
        first = data[starts]
        is_header = first == ord(">")
        for i in np.flatnonzero(first <= ord(" ")):
            is_header[i] = INDENTED_HEADER.match(text, starts[i]) is not None
        self.lines.extend(lines[is_header].tolist())
