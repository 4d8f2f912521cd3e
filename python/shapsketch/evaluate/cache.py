"""Values of sequences that were evaluated before, in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shapsketch.space import Codes, Values


class Cache:
    """Values by sequence, in memory: about (n + 8 k) bytes for each sequence of length n and k outputs."""

    def __init__(self, n: int, width: int) -> None:
        self._row = np.dtype((np.void, n))
        self._keys = np.empty(0, dtype=self._row)
        self._values = np.empty((0, width))
        self._new: list[tuple[npt.NDArray[np.void], Values]] = []

    def __len__(self) -> int:
        return len(self._keys) + sum(len(keys) for keys, _ in self._new)

    def add(self, codes: Codes, values: Values) -> None:
        """Add the values (B, k), or (B,) for one output, of codes (B, n)."""
        self._new.append((self.keys(codes), values if values.ndim == 2 else values[:, None]))

    def keys(self, codes: Codes) -> npt.NDArray[np.void]:
        """Return codes (B, n) as keys (B,), which can be compared and sorted."""
        return np.frombuffer(np.ascontiguousarray(codes).tobytes(), dtype=self._row)

    def settle(self) -> None:
        """Sort the added values in, so that `find` sees them."""
        if not self._new:
            return
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._new)])
        values = np.concatenate([self._values, *(values for _, values in self._new)])
        self._new = []
        order = np.argsort(keys, kind="stable")
        self._keys, self._values = keys[order], values[order]

    def find(self, codes: Codes) -> tuple[npt.NDArray[np.bool_], Values]:
        """Return which of codes (B, n) are in the cache, and their values (hits, k), in order."""
        if not len(self._keys):
            return np.zeros(len(codes), dtype=bool), self._values[:0]
        keys = self.keys(codes)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        hits = self._keys[at] == keys
        return hits, self._values[at[hits]]

    def probes(self, count: int, n: int) -> tuple[Codes, Values]:
        """Return `count` sequences and their values, spread over the range of the first output."""
        self.settle()
        order = np.argsort(self._values[:, 0], kind="stable")
        at = np.unique(order[np.linspace(0, len(order) - 1, count).astype(int)])
        codes = np.frombuffer(self._keys[at].tobytes(), dtype=np.uint8).reshape(-1, n)
        return codes, self._values[at]

    def spread(self) -> Values:
        """Return the standard deviation of each output."""
        return np.asarray(self._values.std(axis=0))
