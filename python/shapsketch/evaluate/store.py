"""Values that were paid for, kept in a file as they come.

A store is an SQLite database (application id 0x73686170, user version 1) with two tables. ``meta`` has
rows ``key, value``: ``alphabet``, ``length``, ``model`` (the name that the user gave it) and ``outputs`` (a
JSON list, ``null`` for a model with one output). ``batches`` has a row for each batch of answers, in the
order they came: ``id`` from 1 on, ``codes`` (uint8, B x n), ``scores`` (little-endian float64, B x outputs),
and ``digest``, the 16 byte BLAKE2b of the digest before it, ``id`` (8 bytes, little-endian), ``codes`` and
``scores``; the first follows the digest of ``meta`` (its rows by key, as JSON). Nothing in it is executed.

Each batch is one transaction, so that a process that is killed leaves a store that is whole. SQLite locks it:
a second process is refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shapsketch.errors import FileError, InputError
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)

APPLICATION = 0x73686170
VERSION = 1
# Sequences asked again when a store is taken up, to see that it is the same model.
PROBES = 8
# How often a store is tried that another process has, and a tenth of the longest pause between, in seconds.
TRIES, PAUSE = 6, 0.02
# Differences that mean nothing: roundings of float32 in the largest value.
ROUNDINGS = 4 * float(np.finfo(np.float32).eps)


class Known:
    """Sequences whose values are known: an index in memory of some (n + 8 k) bytes for each."""

    def __init__(self, n: int, width: int) -> None:
        self._row = np.dtype((np.void, n))
        self._keys = np.empty(0, dtype=self._row)
        self._values = np.empty((0, width))
        self._new: list[tuple[npt.NDArray[np.void], Values]] = []

    def __len__(self) -> int:
        return len(self._keys) + sum(len(keys) for keys, _ in self._new)

    def add(self, codes: Codes, values: Values) -> None:
        """Note the values (B, k), or (B,) of one output, of codes (B, n)."""
        self._new.append((self.keys(codes), values if values.ndim == 2 else values[:, None]))

    def keys(self, codes: Codes) -> npt.NDArray[np.void]:
        """Return codes (B, n) as keys (B,) that can be compared and sorted."""
        return np.frombuffer(np.ascontiguousarray(codes).tobytes(), dtype=self._row)

    def settle(self) -> None:
        """Sort in what was added."""
        if not self._new:
            return
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._new)])
        values = np.concatenate([self._values, *(values for _, values in self._new)])
        self._new = []
        order = np.argsort(keys, kind="stable")
        self._keys, self._values = keys[order], values[order]

    def find(self, codes: Codes) -> tuple[npt.NDArray[np.bool_], Values]:
        """Return which of codes (B, n) are known of what is settled, and their values, (known, k)."""
        if not len(self._keys):
            return np.zeros(len(codes), dtype=bool), self._values[:0]
        keys = self.keys(codes)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known = self._keys[at] == keys
        return known, self._values[at[known]]

    def probes(self, count: int, n: int) -> tuple[Codes, Values]:
        """Return some sequences and their values, from the lowest to the highest of the first output."""
        self.settle()
        order = np.argsort(self._values[:, 0], kind="stable")
        at = np.unique(order[np.linspace(0, len(order) - 1, count).astype(int)])
        codes = np.frombuffer(self._keys[at].tobytes(), dtype=np.uint8).reshape(-1, n)
        return codes, self._values[at]

    def spread(self) -> Values:
        """Return the standard deviation of each output."""
        return np.asarray(self._values.std(axis=0))


@dataclass(frozen=True)
class Store:
    """A file that keeps every value of a model as it comes, so that none is asked for twice.

    Pass it, or its path alone, as ``store=`` of :func:`sketch`. A run that was interrupted or killed goes on
    where it was, and a larger budget or another method asks only what is new: values are kept by sequence. A
    store belongs to one model, one space and one list of outputs, and refuses others. To tell the model,
    eight of its sequences are asked again whenever a store is taken up. A model that differs for few
    sequences may pass that test: give each version a `model_name` of its own. The format is described in
    :mod:`shapsketch.evaluate.store`.

    Parameters
    ----------
    path : str or path
    model_name : str
        A name for the model, such as its version; another name is refused.
    tolerance : float
        How far answers of the same model may differ from those in the store, as a part of the standard
        deviation of its values. A model that is random by more is refused unless this says how much.

    Examples
    --------
    >>> import tempfile, shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=6)
    >>> model = lambda sequences: [float(s.count("A")) for s in sequences]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ss.Store(folder + "/values.db", model_name="counts 1.0")
    ...     sketch = ss.sketch(model, space, budget=1_000, store=store, progress=False)
    ...     codes, values = store.read()
    >>> codes.shape, values.shape
    ((1000, 6), (1000,))
    """

    path: str | os.PathLike[str]
    model_name: str = ""
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)):
            raise InputError(f"a store needs a path, got {type(self.path).__name__}")
        if not isinstance(self.model_name, str):
            raise InputError(f"model_name must be a string, got {self.model_name!r}")
        if isinstance(self.tolerance, bool) or not isinstance(self.tolerance, (int, float)):
            raise InputError(f"tolerance must be a number, got {self.tolerance!r}")
        if not self.tolerance >= 0.0:
            raise InputError(f"tolerance must be at least 0, got {self.tolerance}")

    def read(self) -> tuple[Codes, Values]:
        """Return all codes (N, n) and values (N,), or (N, k) of several outputs, in the order they came.

        Raises
        ------
        FileError
            If there is no store, it is damaged, or another process has it.
        """
        path = Path(self.path)
        if not _there(path):
            raise FileError(f"{path}: there is no such store")
        with _connected(path, to_write=False) as connection:
            meta = _meta(path, connection)
            n, outputs = _shape(path, meta)
            width = 1 if outputs is None else len(outputs)
            rows = list(_batches(path, connection, meta, n, width))
        codes = np.concatenate([np.empty((0, n), dtype=np.uint8), *(c for c, _ in rows)])
        values = np.concatenate([np.empty((0, width)), *(v for _, v in rows)])
        return codes, values[:, 0] if outputs is None else values

    def rescue(self, path: str | os.PathLike[str]) -> int:
        """Copy what is whole of a damaged store, from its first batch on, into a new one.

        Returns the number of values there.

        Raises
        ------
        FileError
            If nothing can be read of it, or the new store is there already or cannot be made.
        """
        damaged, new = Path(self.path), Path(path)
        if not _there(damaged):
            raise FileError(f"{damaged}: there is no such store")
        if _there(new):
            raise FileError(f"{new} exists; a rescued store needs a new file")
        with _connected(damaged, to_write=False) as connection:
            meta = _meta(damaged, connection, whole=False)
            n, outputs = _shape(damaged, meta)
            width = 1 if outputs is None else len(outputs)
            try:
                space = SequenceSpace(meta["alphabet"], n)
            except InputError as error:
                raise _damaged(damaged, "its description is not that of a store") from error
            _create(new, meta)
            known = Known(n, width)
            with _connected(new) as target:
                made = OpenStore(self, new, target, meta, known, space, list(range(width)))
                batches = _batches(damaged, connection, meta, n, width)
                while True:
                    try:
                        codes, values = next(batches)
                    except StopIteration:
                        break
                    except FileError as error:
                        logger.warning("rescued %d values before the damage: %s", len(known), error)
                        break
                    made.keep(codes, values)
        return len(known)

    @contextmanager
    def open(self, space: SequenceSpace, outputs: tuple[str, ...] | None) -> Iterator[OpenStore]:
        """Open it for a model, made if it is not there.

        Raises
        ------
        FileError
            If it cannot be opened or made, is damaged, or another process has it.
        InputError
            If it is of another model, space or list of outputs.
        """
        path = Path(self.path)
        wanted = {
            "alphabet": space.alphabet,
            "length": str(space.n),
            "model": self.model_name,
            "outputs": json.dumps(None if outputs is None else list(outputs)),
        }
        if not _there(path):
            if not path.absolute().parent.is_dir():
                raise FileError(f"{path}: the store cannot be made: there is no folder {path.parent}")
            _create(path, wanted)
        with _connected(path) as connection:
            meta = _meta(path, connection)
            for key, what in wanted.items():
                if meta[key] != what and not (key == "outputs" and _same_names(meta[key], outputs)):
                    raise InputError(
                        f"{path} has values of another {_KINDS[key]}: {meta[key]!r}, not {what!r}; give each "
                        "model, space and list of outputs a store of its own"
                        + (", or ask for all of its outputs" if meta[key].startswith("[") else "")
                    )
            # The columns of the outputs in their order here.
            columns = [0] if outputs is None else list(map(json.loads(meta["outputs"]).index, outputs))
            known = Known(space.n, len(columns))
            for codes, values in _batches(path, connection, meta, space.n, len(columns)):
                known.add(codes, values[:, columns])
            known.settle()
            yield OpenStore(self, path, connection, meta, known, space, columns)


def _same_names(stored: str, outputs: tuple[str, ...] | None) -> bool:
    """Return whether a store has these outputs, in whatever order."""
    try:
        found = json.loads(stored)
    except ValueError:
        return False
    return isinstance(found, list) and outputs is not None and sorted(found) == sorted(outputs)


_KINDS = {"alphabet": "alphabet", "length": "sequence length", "model": "model", "outputs": "list of outputs"}


class OpenStore:
    """A store in use."""

    def __init__(
        self,
        store: Store,
        path: Path,
        connection: sqlite3.Connection,
        meta: dict[str, str],
        known: Known,
        space: SequenceSpace,
        columns: list[int],
    ) -> None:
        self.known, self.path = known, path
        self._store, self._connection, self._space = store, connection, space
        self._meta, self._columns = meta, np.argsort(columns)

    def keep(self, codes: Codes, values: Values) -> None:
        """Write a batch of answers.

        Raises
        ------
        FileError
            If it cannot be written: what was written before stays.
        """
        values = values.reshape(len(codes), -1)
        scores = values[:, self._columns].astype("<f8")
        try:
            # Read each time, as an interrupt may come before or after a batch is written.
            last = self._connection.execute("SELECT id, digest FROM batches ORDER BY id DESC LIMIT 1")
            number, digest = last.fetchone() or (0, _of_meta(self._meta))
            row = (number + 1, codes.tobytes(), scores.tobytes())
            self._connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", (*row, _digest(digest, *row)))
        except sqlite3.Error as error:
            raise FileError(
                f"{self.path}: a batch could not be kept: {error}; the {len(self.known):,} values before it "
                "are; make room, and the same call asks only for the rest"
            ) from error
        self.known.add(codes, values)

    def say_how_to_go_on(self) -> None:
        """Log it where a run ends before its time."""
        if len(self.known):
            logger.warning(
                "stopped; %s has %d values, and the same call asks only for the rest",
                self.path,
                len(self.known),
            )

    def check_model(self, ask: Callable[[Codes], Values]) -> None:
        """See that a model gives the answers that are here.

        Raises
        ------
        InputError
            If it does not: says where.
        """
        if not len(self.known):
            return
        codes, values = self.known.probes(PROBES, self._space.n)
        again = ask(codes).reshape(len(codes), -1)
        spread = self.known.spread()
        size = np.abs(values).max(axis=0)
        allowed = self._store.tolerance * np.where(spread > 0, spread, size) + ROUNDINGS * size
        wrong = np.argwhere(np.abs(again - values) > allowed)
        if len(wrong):
            row, output = wrong[0]
            raise InputError(
                f"{self.path} has values of another model: {values[row, output]:.9g} for "
                f"{self._space.decode(codes[row : row + 1])[0]!r}, where this one says "
                f"{again[row, output]:.9g} ({len(np.unique(wrong[:, 0]))} of {len(codes)} probes differ); "
                "give each model a store of its own. If it is the same one and random, say how much by "
                "ss.Store(path, tolerance=...)"
            )


def _of_meta(meta: dict[str, str]) -> bytes:
    text = json.dumps(sorted(meta.items()), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _digest(before: bytes, number: int, codes: bytes, scores: bytes) -> bytes:
    made = hashlib.blake2b(before, digest_size=16)
    for part in (number.to_bytes(8, "little"), codes, scores):
        made.update(part)
    return made.digest()


def _create(path: Path, meta: dict[str, str]) -> None:
    """Make an empty store; it is there whole, or not at all."""
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
            # Fails if another process was faster: then that store is taken, or found to be in use.
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:
            # A file system without links; that the store is still missing was seen a moment ago.
            os.rename(draft, path)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise FileError(f"{path}: the store cannot be made: {error}") from error
    finally:
        with suppress(OSError, ValueError):
            draft.unlink(missing_ok=True)


def _there(path: Path) -> bool:
    """Return whether a store is there."""
    try:
        folder, there = not path.name or path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: the store cannot be looked for: {error}") from error
    if folder:
        raise FileError(f"{path}: this is a folder, and a store is a file")
    return there


@contextmanager
def _connected(path: Path, *, to_write: bool = True) -> Iterator[sqlite3.Connection]:
    """Open a store for this process alone."""
    # In a place that cannot be written to, nobody else writes, either.
    writable = os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)
    settled = not path.with_name(f"{path.name}-wal").exists()
    mode = "mode=rw" if to_write or writable or not settled else "mode=ro&immutable=1"
    for left in reversed(range(TRIES)):
        try:
            connection = _locked(path, mode)
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                if writable:
                    raise _damaged(path, str(error)) from error
                raise FileError(
                    f"{path}: the store cannot be written to ({error}); see that the file and its folder can "
                    "be, or copy it elsewhere"
                ) from error
            if not left:
                raise FileError(
                    f"{path}: another process has this store; wait for it, or give a store of its own"
                ) from error
            # Two that open it at once may each keep the other out.
            time.sleep((1 + secrets.randbelow(10)) * PAUSE)
        except sqlite3.DatabaseError as error:
            raise _damaged(path, str(error)) from error
    try:
        yield connection
    finally:
        connection.close()


def _locked(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection that no other can be opened beside."""
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=0, isolation_level=None
        )
    except sqlite3.Error as error:
        raise FileError(f"{path}: the store cannot be opened: {error}") from error
    try:
        if path.stat().st_size == 0:
            raise _damaged(path, "it is empty")
        # With the lock of one process, a log of changes needs no shared memory; a killed process loses no
        # batch that was written.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A database of something else is left as it is.
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION:
            raise _damaged(path, "it is a database of something else")
        if mode == "mode=rw":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _damaged(path: Path, why: str) -> FileError:
    return FileError(
        f"{path} is no store, or damaged: {why}; take it from a backup, or move it away and start anew; "
        "ss.Store(path).rescue(new) copies what is whole"
    )


def _meta(path: Path, connection: sqlite3.Connection, *, whole: bool = True) -> dict[str, str]:
    """Return the description of a store; `whole` looks at all of the file first."""
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise FileError(
                f"{path}: a store of version {version}, this program reads {VERSION}; take a newer program"
            )
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone() if whole else ("ok",)
        if found != "ok":
            raise _damaged(path, found)
        meta = dict(connection.execute("SELECT key, value FROM meta"))
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    if set(meta) != set(_KINDS) or not all(isinstance(value, str) for value in meta.values()):
        raise _damaged(path, "its description is not that of a store")
    return meta


def _shape(path: Path, meta: dict[str, str]) -> tuple[int, list[str] | None]:
    """Return the length of sequences, and the outputs."""
    try:
        n, outputs = int(meta["length"]), json.loads(meta["outputs"])
    except ValueError as error:
        raise _damaged(path, "its description is not that of a store") from error
    if not (outputs is None or isinstance(outputs, list)):
        raise _damaged(path, "its description is not that of a store")
    return n, outputs


def _batches(
    path: Path, connection: sqlite3.Connection, meta: dict[str, str], n: int, width: int
) -> Iterator[tuple[Codes, Values]]:
    """Yield the answers, checked against their digests."""
    before = _of_meta(meta)
    expected = 1
    try:
        for number, codes, scores, digest in connection.execute("SELECT * FROM batches ORDER BY id"):
            if number != expected or digest != _digest(before, number, codes, scores):
                raise _damaged(path, f"batch {expected} is not what was written")
            rows = np.frombuffer(codes, dtype=np.uint8).reshape(-1, n)
            yield rows, np.frombuffer(scores, dtype="<f8").reshape(len(rows), width).astype(np.float64)
            before, expected = digest, expected + 1
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    except (TypeError, ValueError) as error:
        raise _damaged(path, f"batch {expected} is not what was written") from error
