"""The number of sequences in one call of the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from shapsketch.space import Codes

# Automatic batch size: first and largest number of sequences, and growth factor.
FIRST, MOST, GROWTH = 16, 4096, 4
# Batches grow while a call takes less than this time, in seconds, ...
SECONDS = 1.0
# ... or while the time per sequence falls below this fraction of the time in the batch before.
CHEAPER = 0.6
# Least number of batches for each worker of an executor.
BATCHES_PER_WORKER = 4


class Pace:
    """The size of the next batch.

    Parameters
    ----------
    batch_size : int or None
        A fixed size; None for an automatic one.
    count : int
        Sequences to evaluate in all.
    workers : int
        Workers of the executor; 0 if there is none.
    """

    def __init__(self, batch_size: int | None, count: int, workers: int = 0) -> None:
        most = min(MOST, max(1, count // (workers * BATCHES_PER_WORKER)) if workers else MOST)
        self._most = batch_size or most
        self.size = batch_size or min(FIRST, self._most)
        # The size before this one, and its seconds per sequence.
        self._before: tuple[int, float] | None = None

    def took(self, rows: int, seconds: float) -> None:
        """Record the time of a batch, and choose the next size."""
        if rows < self.size or self.size == self._most:
            return
        before, each = self._before, seconds / rows
        if seconds < SECONDS or before is None or each < CHEAPER * before[1]:
            self._before = (rows, each)
            self.size = min(GROWTH * self.size, self._most)
        else:
            # The larger batch is not faster per sequence. Return to the size before and keep it.
            self.size = self._most = before[0]


def batches_of(parts: Iterable[Codes], pace: Pace) -> Iterator[tuple[int, Codes]]:
    """Yield the rows of `parts` in batches of the current size, with the index of the first row of each."""
    held: list[Codes] = []
    first = count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count < pace.size:
            continue
        rows = held[0] if len(held) == 1 else np.concatenate(held)
        done = 0
        while len(rows) - done >= pace.size:
            batch = rows[done : done + pace.size]
            done += len(batch)
            yield first, batch
            first += len(batch)
        held, count = [rows[done:]], len(rows) - done
    if count:
        yield first, np.concatenate(held)
