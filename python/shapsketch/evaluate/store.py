"""Values of a model, kept in a file batch by batch. The format is described in `store_file`."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from shapsketch._validate import file_path, number, path_text, string
from shapsketch.errors import FileError, InputError
from shapsketch.evaluate import store_file
from shapsketch.evaluate.cache import Cache
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)

# Sequences that are evaluated again when a store is opened, to check that the model is the same.
PROBES = 8
# Differences that are tolerated, relative to the largest value: a few rounding errors of float32.
ROUNDINGS = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Store:
    """A file that keeps every value of a model, so that no sequence is evaluated twice.

    Pass it, or only its path, as ``store=`` of :class:`Evaluator`. If a run was interrupted or killed, the
    same call continues it. A larger budget or another method evaluates only what is new, because values are
    kept by sequence. A store belongs to one model, one space and one list of outputs, and refuses others. To
    recognise the model, eight of the stored sequences are evaluated again each time the store is opened. A
    model that differs for few sequences may pass that test: give each version its own `model_name`. The file
    format is documented in ``docs/files.md``.

    Parameters
    ----------
    path : str or path
    model_name : str
        A name for the model, such as its version. A store with another name is refused.
    tolerance : float
        How far values of the same model may differ from stored ones, as a fraction of the standard deviation
        of the values. A stochastic model is refused unless the tolerance allows for its noise.

    Examples
    --------
    >>> import tempfile, shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=6)
    >>> model = lambda sequences: [float(s.count("A")) for s in sequences]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ss.Store(folder + "/values.db", model_name="counts 1.0")
    ...     evaluator = ss.Evaluator(model, store=store)
    ...     sketch = ss.sketch(evaluator, space, budget=1_000, progress=False)
    ...     codes, values = store.read()
    >>> codes.shape, values.shape
    ((1000, 6), (1000,))
    """

    path: str | os.PathLike[str]
    model_name: str = ""
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        path_text("the path of a store", self.path)
        string("model_name", self.model_name)
        if not number("tolerance", self.tolerance) >= 0.0:
            raise InputError(f"tolerance must be at least 0, got {self.tolerance}")

    def read(self) -> tuple[Codes, Values]:
        """Return all codes (N, n) and values (N,), or (N, k) for k outputs, in the order of evaluation.

        Raises
        ------
        FileError
            If the store does not exist, is damaged, or another process uses it.
        """
        path = Path(self.path)
        if not store_file.exists(path):
            raise FileError(f"{path}: this store does not exist; check the path")
        with store_file.connected(path, to_write=False) as connection:
            meta = store_file.read_meta(path, connection)
            space, outputs = store_file.shape_of(path, meta)
            width = 1 if outputs is None else len(outputs)
            batches = list(store_file.read_batches(path, connection, meta, space.n, width))
        codes = np.concatenate([np.empty((0, space.n), dtype=np.uint8), *(c for c, _ in batches)])
        values = np.concatenate([np.empty((0, width)), *(v for _, v in batches)])
        return codes, values[:, 0] if outputs is None else values

    def rescue(self, path: str | os.PathLike[str]) -> int:
        """Copy the batches of a damaged store, up to the first damaged one, into a new store.

        Returns the number of sequences copied.

        Raises
        ------
        FileError
            If nothing can be read, or the new store exists already or cannot be created.
        InputError
            If `path` is neither a string nor a path.
        """
        old, new = Path(self.path), file_path(path)
        if not store_file.exists(old):
            raise FileError(f"{old}: this store does not exist; check the path")
        if store_file.exists(new):
            raise FileError(f"{new} exists; choose a new file for the rescued store")
        store_file.check_folder(new)
        with store_file.connected(old, to_write=False, rescue=True) as connection:
            meta = store_file.read_meta(old, connection, check=False)
            space, outputs = store_file.shape_of(old, meta)
            width = 1 if outputs is None else len(outputs)
            batches = store_file.read_batches(old, connection, meta, space.n, width)
            # If the first batch is damaged, or does not belong to the description, there is nothing to copy.
            first = next(batches, None)
            store_file.create(new, meta)
            cache = Cache(space.n, width)
            with store_file.connected(new) as target:
                opened = OpenStore(self, new, target, meta, cache, space, list(range(width)))
                batch = first
                while batch is not None:
                    opened.keep(*batch)
                    try:
                        batch = next(batches, None)
                    except FileError as error:
                        logger.warning("rescued %d values before the damage: %s", len(cache), error)
                        break
        return len(cache)

    @contextmanager
    def open(self, space: SequenceSpace, outputs: tuple[str, ...] | None) -> Iterator[OpenStore]:
        """Open the store for a model; create it if it does not exist.

        Raises
        ------
        FileError
            If it cannot be opened or created, is damaged, or another process uses it.
        InputError
            If it belongs to another model, space or list of outputs.
        """
        path = Path(self.path)
        wanted = {
            "alphabet": space.alphabet,
            "length": str(space.n),
            "model": self.model_name,
            "outputs": json.dumps(None if outputs is None else list(outputs)),
        }
        if not store_file.exists(path):
            store_file.check_folder(path)
            store_file.create(path, wanted)
        with store_file.connected(path) as connection:
            meta = store_file.read_meta(path, connection)
            stored_space, stored_outputs = store_file.shape_of(path, meta)
            width = 1 if stored_outputs is None else len(stored_outputs)
            batches = store_file.read_batches(path, connection, meta, stored_space.n, width)
            first = next(batches, None)
            for key, value in wanted.items():
                if meta[key] != value and not (key == "outputs" and _same_names(stored_outputs, outputs)):
                    raise InputError(
                        f"{path} has values of another {store_file.KEYS[key]}: {meta[key]!r}, not {value!r}; "
                        "use a separate store for each model, space and list of outputs"
                        + (", or request all outputs of this one" if meta[key].startswith("[") else "")
                    )
            # Where each requested output is among the stored columns.
            columns = [0] if outputs is None else list(map((stored_outputs or []).index, outputs))
            cache = Cache(space.n, len(columns))
            for codes, values in chain([] if first is None else [first], batches):
                cache.add(codes, values[:, columns])
            cache.settle()
            yield OpenStore(self, path, connection, meta, cache, space, columns)


def _same_names(stored: list[str] | None, outputs: tuple[str, ...] | None) -> bool:
    """Return whether a store has these outputs, in any order."""
    return stored is not None and outputs is not None and sorted(stored) == sorted(outputs)


class OpenStore:
    """A store in use: its connection, and its values in a cache."""

    def __init__(
        self,
        store: Store,
        path: Path,
        connection: sqlite3.Connection,
        meta: dict[str, str],
        cache: Cache,
        space: SequenceSpace,
        columns: list[int],
    ) -> None:
        self.cache, self.path = cache, path
        self._store, self._connection, self._space = store, connection, space
        self._meta, self._columns = meta, np.argsort(columns)

    def keep(self, codes: Codes, values: Values) -> None:
        """Write a batch.

        Raises
        ------
        FileError
            If it cannot be written; earlier batches are safe.
        """
        values = values.reshape(len(codes), -1)
        scores = values[:, self._columns].astype("<f8")
        try:
            store_file.append_batch(self._connection, self._meta, codes, scores)
        except sqlite3.Error as error:
            raise FileError(
                f"{self.path}: cannot write a batch: {error}; the {len(self.cache):,} values before it are "
                "safe. Free some disk space; the same call then evaluates only the rest"
            ) from error
        self.cache.add(codes, values)

    def log_how_to_continue(self) -> None:
        """After a run that ended early, log that the same call continues it."""
        if len(self.cache):
            logger.warning(
                "stopped; %s has %d values, and the same call evaluates only the rest",
                self.path,
                len(self.cache),
            )

    def check_model(self, evaluate: Callable[[Codes], Values]) -> None:
        """Check that a model returns the stored values.

        Raises
        ------
        InputError
            If it does not; the message names a sequence and both values.
        """
        if not len(self.cache):
            return
        codes, values = self.cache.probes(PROBES, self._space.n)
        again = evaluate(codes).reshape(len(codes), -1)
        spread = self.cache.spread()
        size = np.abs(values).max(axis=0)
        allowed = self._store.tolerance * np.where(spread > 0, spread, size) + ROUNDINGS * size
        wrong = np.argwhere(np.abs(again - values) > allowed)
        if len(wrong):
            row, output = wrong[0]
            raise InputError(
                f"{self.path} has values of another model: {values[row, output]:.9g} for "
                f"{self._space.decode(codes[row : row + 1])[0]!r}, this model returns "
                f"{again[row, output]:.9g} ({len(np.unique(wrong[:, 0]))} of {len(codes)} probes differ); "
                "use a separate store for each model",
                advice="if the model is the same but stochastic, allow for it with "
                "ss.Store(path, tolerance=...)",
                option="tolerance",
            )
