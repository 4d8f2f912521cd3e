"""Atomic writes: a file is written beside its target and renamed at the end."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from shapsketch.errors import FileError
from shapsketch.files.formats import COMPRESSED, opener

# Compression level of gzip files. They are a tenth larger than at the highest level, and take a hundredth of
# the time to write.
GZIP_LEVEL = 1
# Names of open file descriptors.
STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def descriptor_of(path: Path) -> int | None:
    """Return the open file descriptor that a path names, such as 1 for /dev/stdout; None for other paths."""
    numbered = re.fullmatch(r"/(?:dev|proc/self)/fd/([0-9]+)", str(path))
    return STREAMS.get(str(path)) if numbered is None else int(numbered[1])


def is_stream(path: Path) -> bool:
    """Return whether a path is a pipe, a device or an open file descriptor, which is written directly."""
    return descriptor_of(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def is_stdout(path: Path) -> bool:
    """Return whether a path is the standard output of this process."""
    with contextlib.suppress(OSError):
        return is_stream(path) and os.path.samestat(path.stat(), os.fstat(1))
    return False


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise errors of the operating system as `FileError`."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path, *, compressed: bool) -> Iterator[Any]:
    """Yield a file to write; it replaces the file at `path` if the block ends without an error.

    A pipe, a device or an open file descriptor is written directly. If `compressed` is true, an extension
    such as ``.gz`` turns on compression.
    """
    extension = path.suffix.lower()[1:]
    with writing(path):
        if path.is_dir():
            raise FileError(f"cannot write {path}: it is a folder; add a file name")
        renamed = not is_stream(path)
    target = Path(os.path.realpath(path)) if renamed else path
    written = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part") if renamed else target
    stack = ExitStack()
    try:
        with writing(path):
            descriptor = descriptor_of(path)
            # A duplicate, so that a file to which stdout is redirected keeps what it has.
            opened = written if descriptor is None else os.dup(descriptor)
            file = stack.enter_context(open(opened, "xb" if renamed else "wb"))  # noqa: SIM115
            if compressed and extension in COMPRESSED:
                level = GZIP_LEVEL if extension == "gz" else None
                _, xopen = opener()
                file = stack.enter_context(
                    xopen(file, "wb", compresslevel=level, threads=0, format=extension)
                )
        yield file
        with writing(path):
            stack.close()
            if renamed:
                os.replace(written, target)
    except BaseException:
        with contextlib.suppress(Exception):
            stack.close()
        if renamed:
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
        raise
