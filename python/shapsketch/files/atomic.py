"""Files that appear whole: written beside the target and renamed at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from shapsketch.errors import FileError
from shapsketch.files.formats import COMPRESSED, opener

# Of gzip: files a tenth larger than at the highest level, in a hundredth of the time.
LEVEL = 1


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into an error of ours."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path, *, compressed: bool) -> Iterator[Any]:
    """Yield a file to write that takes the place of another, if all goes well.

    What is there and no plain file, such as a pipe or a device, is written as it is.
    """
    extension = path.suffix.lower()[1:]
    with writing(path):
        if path.is_dir():
            raise FileError(f"cannot write {path}: it is a folder")
        whole = path.is_file() or not path.exists()
    target = Path(os.path.realpath(path)) if whole else path
    at = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part") if whole else target
    stack = ExitStack()
    try:
        with writing(path):
            file = stack.enter_context(open(at, "xb" if whole else "wb"))  # noqa: SIM115
            if compressed and extension in COMPRESSED:
                level = LEVEL if extension == "gz" else None
                _, xopen = opener()
                file = stack.enter_context(
                    xopen(file, "wb", compresslevel=level, threads=0, format=extension)
                )
        yield file
        with writing(path):
            stack.close()
            if whole:
                os.replace(at, target)
    except BaseException:
        with contextlib.suppress(Exception):
            stack.close()
        if whole:
            with contextlib.suppress(OSError):
                at.unlink(missing_ok=True)
        raise
