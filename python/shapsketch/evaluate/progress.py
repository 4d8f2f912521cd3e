"""Progress: a bar in terminals and notebooks, and lines in the log elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from shapsketch._validate import shown
from shapsketch.errors import InputError

# The log of progress: lines of level INFO, which the command line shows.
progress_log = logging.getLogger("shapsketch.progress")
# Least time between two lines, in seconds, and least fraction of the total.
SECONDS, FRACTION = 5.0, 0.01
# Progress that is shown (True), nothing (False), or a function of (done, total).
Progress: TypeAlias = bool | Callable[[int, int], None]


def check_progress(progress: Progress) -> Progress:
    """Return `progress`; refuse one that is neither a bool nor a function."""
    if isinstance(progress, (bool, np.bool_)):
        return bool(progress)
    if not callable(progress):
        raise InputError(
            f"progress must be True, False or a function of (done, total), got {shown(progress)}"
        )
    return progress


def shows_bars() -> bool:
    """Return whether bars can be shown: in a terminal or a notebook. Files would have all of their states."""
    stream = sys.stderr
    return "ipykernel" in sys.modules or (stream is not None and not stream.closed and stream.isatty())


def duration(seconds: float) -> str:
    """Return a time in words: ``8 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


class Lines:
    """Progress as lines of the log.

    Parameters
    ----------
    what : str
        Starts each line.
    total : int or None
        Sequences in all; None if it is not known.
    available : int
        Those of them that do not need to be evaluated.
    """

    def __init__(self, what: str, total: int | None, available: int = 0) -> None:
        self._what, self._total, self._available = what, total, available
        self._done = self._said = 0
        self._started = self._last = time.monotonic()

    def advance(self, more: int) -> None:
        """Count further sequences; write a line if the last one is old enough."""
        self._done += more
        now = time.monotonic()
        step = 0.0 if self._total is None else FRACTION * self._total
        if now - self._last < SECONDS or self._done - self._said < step:
            return
        self._last, self._said = now, self._done
        progress_log.info("%s: %s", self._what, self._text(now - self._started))

    def end(self) -> None:
        """Write the last line, unless there was none before."""
        if self._said:
            took = duration(time.monotonic() - self._started)
            progress_log.info("%s: %s sequences in %s", self._what, f"{self._done:,}", took)

    def _text(self, seconds: float) -> str:
        if self._total is None:
            return f"{self._done:,} sequences, {self._done / max(seconds, 1e-9):,.0f} a second"
        present = self._available + self._done
        left = duration(seconds / self._done * (self._total - present))
        return f"{present:,} of {self._total:,} sequences ({present / self._total:.0%}), {left} left"


@contextmanager
def reporting(
    progress: Progress, total: int | None, what: str, available: int = 0
) -> Iterator[Callable[[int], object]]:
    """Show progress; yield a function that takes the number of newly evaluated sequences.

    `total` includes the `available` ones, which a function of (done, total) does not count.
    """
    if callable(progress):
        report, done, new = progress, 0, (total or 0) - available

        def advance(more: int) -> None:
            nonlocal done
            done += more
            report(done, new)

        yield advance
    elif not progress:
        yield lambda _: None
    elif shows_bars():
        from tqdm.auto import tqdm

        with tqdm(total=total, initial=available, desc=what, unit="seq", unit_scale=total is None) as bar:
            yield bar.update
    else:
        lines = Lines(what, total, available)
        yield lines.advance
        lines.end()
