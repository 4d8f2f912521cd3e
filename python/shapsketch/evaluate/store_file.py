"""The file behind a store: an SQLite database of batches, whose digests form a chain.

The application id is 0x73686170 and the user version 1. There are two tables. ``meta`` has the columns
``key`` and ``value`` and the keys ``alphabet``, ``length``, ``model`` (the name that the user gave the model)
and ``outputs`` (a JSON list of names; ``null`` for a model with one output). ``batches`` has one row for each
batch, in the order of evaluation: ``id`` (1, 2, ...), ``codes`` (uint8, B x n), ``scores`` (little-endian
float64, B x outputs) and ``digest``: the 16-byte BLAKE2b hash of the digest before it, ``id`` (8 bytes,
little-endian), ``codes`` and ``scores``. The first batch follows the digest of ``meta`` (its rows sorted by
key, as JSON). Nothing in the file is executed.

Each batch is one transaction, so a killed process leaves a complete store. SQLite locks the file: a second
process is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from shapsketch.errors import FileError
from shapsketch.space import Codes, SequenceSpace, Values

# Identify the file as a store, and its version.
APPLICATION = 0x73686170
VERSION = 1
# The first bytes of every SQLite database.
START = b"SQLite format 3\0"
# Attempts to open a locked store; unit of the random pause between them, in seconds (1 to 10 units).
TRIES, PAUSE = 6, 0.02
# The keys of `meta`, and what each of them describes.
KEYS = {"alphabet": "alphabet", "length": "sequence length", "model": "model", "outputs": "list of outputs"}
# What SQLite, and conversions of what it returns, raise for damaged files. SQLite's own messages quote the
# file, and may not be UTF-8.
DAMAGE = (sqlite3.Error, ValueError, TypeError, OverflowError, RecursionError)


def exists(path: Path) -> bool:
    """Return whether the file exists.

    Raises
    ------
    FileError
        If the path is a folder or cannot be examined.
    """
    try:
        folder, exists = not path.name or path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise FileError(f"cannot access the store {path}: {error}") from error
    if folder:
        raise FileError(f"{path} is a folder; a store is a file")
    return exists


def check_folder(path: Path) -> None:
    """Refuse a new store in a folder that does not exist.

    Raises
    ------
    FileError
    """
    if not path.absolute().parent.is_dir():
        raise FileError(
            f"cannot create the store {path}: the folder {path.parent} does not exist; create it first"
        )


def create(path: Path, meta: dict[str, str]) -> None:
    """Create an empty store. It appears complete, or not at all."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.executescript(
                f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
                "BEGIN;"
                "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
                "CREATE TABLE batches (id INTEGER PRIMARY KEY, codes BLOB NOT NULL, scores BLOB NOT NULL, "
                "digest BLOB NOT NULL);"
                "COMMIT;"
            )
            connection.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
        finally:
            connection.close()
        try:
            # Fails if another process was faster. Then that store is used, or turns out to be locked.
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:
            # The file system has no hard links. The store did not exist a moment ago.
            os.rename(draft, path)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise FileError(f"cannot create the store {path}: {error}") from error
    finally:
        with suppress(OSError, ValueError):
            draft.unlink(missing_ok=True)


@contextmanager
def connected(path: Path, *, to_write: bool = True, rescue: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a store for this process alone; `rescue` opens damaged ones too, such as truncated ones.

    Raises
    ------
    FileError
        If it cannot be opened, is damaged, or another process uses it.
    """
    # If this process cannot write to the file or its folder, nobody changes it meanwhile.
    writable = os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)
    settled = not path.with_name(f"{path.name}-wal").exists()
    mode = "mode=rw" if to_write or writable or not settled else "mode=ro&immutable=1"
    for left in reversed(range(TRIES)):
        try:
            connection = _locked(path, mode, rescue=rescue)
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                if writable:
                    raise damaged(path, str(error)) from error
                raise FileError(
                    f"cannot write to the store {path} ({error}); make the file and its folder writable, or "
                    "copy the store elsewhere"
                ) from error
            if not left:
                raise FileError(
                    f"another process uses the store {path}; wait for it, or use another store"
                ) from error
            # Two processes that open the store at the same moment may block each other: pause at random.
            time.sleep((1 + secrets.randbelow(10)) * PAUSE)
        except DAMAGE as error:
            raise damaged(path, _text(error)) from error
    try:
        yield connection
    finally:
        connection.close()


def _locked(path: Path, mode: str, *, rescue: bool) -> sqlite3.Connection:
    """Return an exclusive connection."""
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=0, isolation_level=None
        )
    except sqlite3.Error as error:
        raise FileError(f"cannot open the store {path}: {error}") from error
    try:
        _check_start(path)
        if rescue:
            # The only pragma with which SQLite reads a file that is shorter than it should be.
            connection.execute("PRAGMA writable_schema = ON")
        # With an exclusive lock the write-ahead log needs no shared memory. A killed process loses no
        # batch that was written.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Do not touch a database of another program.
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION:
            raise FileError(
                f"{path} is not a store, or is damaged: it is a database of another program; choose another "
                "path for the store"
            )
        if mode == "mode=rw":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_start(path: Path) -> None:
    """Refuse a file that does not start as databases do; nothing of it could be rescued.

    Raises
    ------
    FileError
    """
    try:
        with open(path, "rb") as file:
            start = file.read(len(START))
    except OSError as error:
        raise FileError(f"cannot open the store {path}: {error}") from error
    if start == START:
        return
    what = "it is empty" if not start else "it does not start as a database does"
    if start[8:9] == b"{":
        what = "it is a safetensors file, such as a sketch, which ss.load reads"
    raise FileError(
        f"{path} is not a store, or is damaged: {what}; choose another path, or restore it from a backup"
    )


def damaged(path: Path, why: str) -> FileError:
    """Return the error for a file that is damaged or not a store."""
    return FileError(
        f"{path} is not a store, or is damaged: {why}; restore it from a backup, or move it away and start "
        "again; ss.Store(path).rescue(new) copies the undamaged part"
    )


def _text(error: Exception) -> str:
    """Return the message of an error; that of SQLite if it is not UTF-8."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode(errors="replace")
    return str(error)


def read_meta(path: Path, connection: sqlite3.Connection, *, check: bool = True) -> dict[str, str]:
    """Return the rows of `meta`; `check` examines the whole file first."""
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise FileError(
                f"{path} is a store of version {version}, this shapsketch reads version {VERSION}; update "
                "shapsketch"
            )
        (report,) = connection.execute("PRAGMA quick_check(1)").fetchone() if check else ("ok",)
        if report != "ok":
            raise damaged(path, report)
        meta = dict(connection.execute("SELECT key, value FROM meta"))
    except DAMAGE as error:
        raise damaged(path, _text(error)) from error
    if set(meta) != set(KEYS) or not all(isinstance(value, str) for value in meta.values()):
        raise damaged(path, "its description is incomplete")
    return meta


def shape_of(path: Path, meta: dict[str, str]) -> tuple[SequenceSpace, list[str] | None]:
    """Return the space, and the names of the outputs if there are several."""
    try:
        space, outputs = SequenceSpace(meta["alphabet"], int(meta["length"])), json.loads(meta["outputs"])
    except DAMAGE as error:
        raise damaged(path, "its description is not that of a store") from error
    names = [] if outputs is None else outputs
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise damaged(path, "its description is not that of a store")
    return space, outputs


def read_batches(
    path: Path, connection: sqlite3.Connection, meta: dict[str, str], n: int, width: int
) -> Iterator[tuple[Codes, Values]]:
    """Yield codes (B, n) and values (B, width) of each batch, checked against its digest."""
    before = digest_of_meta(meta)
    expected = 1
    try:
        for number, codes, scores, digest in connection.execute("SELECT * FROM batches ORDER BY id"):
            if number != expected or digest != digest_of_batch(before, number, codes, scores):
                raise damaged(path, f"batch {expected} differs from what was written")
            rows = np.frombuffer(codes, dtype=np.uint8).reshape(-1, n)
            yield rows, np.frombuffer(scores, dtype="<f8").reshape(len(rows), width).astype(np.float64)
            before, expected = digest, expected + 1
    except sqlite3.Error as error:
        raise damaged(path, str(error)) from error
    except DAMAGE as error:
        raise damaged(path, f"batch {expected} differs from what was written") from error


def append_batch(connection: sqlite3.Connection, meta: dict[str, str], codes: Codes, scores: Values) -> None:
    """Append a batch: codes (B, n) and little-endian scores (B, outputs)."""
    # The last row is read each time, because an interrupt may come before or after a batch is written.
    last = connection.execute("SELECT id, digest FROM batches ORDER BY id DESC LIMIT 1")
    number, digest = last.fetchone() or (0, digest_of_meta(meta))
    row = (number + 1, codes.tobytes(), scores.tobytes())
    connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", (*row, digest_of_batch(digest, *row)))


def digest_of_meta(meta: dict[str, str]) -> bytes:
    """Return the digest that the first batch follows."""
    text = json.dumps(sorted(meta.items()), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def digest_of_batch(before: bytes, number: int, codes: bytes, scores: bytes) -> bytes:
    """Return the digest of a batch that follows the digest `before`."""
    digest = hashlib.blake2b(before, digest_size=16)
    for part in (number.to_bytes(8, "little"), codes, scores):
        digest.update(part)
    return digest.digest()
