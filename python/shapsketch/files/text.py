"""Text files with another encoding, another delimiter or no header, and where that shows."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from shapsketch.errors import FileError, InputError
from shapsketch.space import SequenceSpace

# Delimiters of text tables, in words.
DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "'|'"}
# Bytes read at a time.
CHUNK = 1 << 18
# The first bytes of files in other encodings.
MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def not_utf8(path: Path, error: UnicodeDecodeError, xopen: Any) -> FileError:
    """Return the error for a file that is not UTF-8, with the line; `xopen` opens compressed files too."""
    byte, where, encoding = error.object[error.start], "", None
    # A pipe cannot be read again.
    if path.is_file():
        with xopen(path, "rb", threads=0) as file:
            line, encoding = _first_line(file)
        where = f", line {line:,}" if line is not None else ""
    problem = f"it is {encoding}" if encoding else f"the byte {byte:#04x} is not UTF-8"
    return FileError(f"{path}{where}: {problem}; save the file as UTF-8, or check that it is a text file")


def _first_line(file: Any) -> tuple[int | None, str | None]:
    """Return the first line that is not UTF-8, and the encoding if the first bytes tell it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, encoding, chunk = 1, None, file.read(CHUNK)
    for mark, name in MARKS.items():
        if chunk.startswith(mark):
            encoding = name
    while True:
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return line + error.object.count(b"\n", 0, error.start), encoding
        if not chunk:
            return None, encoding
        line += chunk.count(b"\n")
        chunk = file.read(CHUNK)


def check_header(
    where: str,
    kind: str,
    header: list[str],
    space: SequenceSpace | None = None,
    option: str | None = "format",
) -> None:
    """Refuse a first line that has another delimiter, or no names of columns but a sequence of the space.

    `option` is the parameter of the caller that error messages can recommend; None if it has none.

    Raises
    ------
    InputError
    """
    if len(header) == 1:
        for delimiter, name in DELIMITERS.items():
            if delimiter in header[0] and delimiter != delimiter_of(kind):
                other = {",": "csv", "\t": "tsv"}.get(delimiter)
                remedy = f"change the extension to .{other}" if other else "replace it"
                raise InputError(
                    f"{where}: the delimiter seems to be {name}, but {kind.upper()} needs "
                    f"{DELIMITERS[delimiter_of(kind)]}; {remedy}",
                    advice=f"or pass {option}={other!r}" if other and option else "",
                    option=option if other else None,
                )
    for title in header:
        if space is None:
            break
        if len(title) == space.n and set(title) <= set(space.alphabet):
            raise InputError(
                f"{where}: this line must have the names of the columns, such as 'sequence', but it seems to "
                f"have the sequence {title!r}; add a line with names above it"
            )


def delimiter_of(kind: str) -> str:
    """Return the delimiter of a text table that is written."""
    return "\t" if kind == "tsv" else ","
