"""Whether a model gives the same values if two threads run it at once."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from shapsketch.errors import ModelError, ShapsketchError
from shapsketch.evaluate.executor import Resources
from shapsketch.evaluate.outputs import ModelCall
from shapsketch.space import Codes, Values

# Longest time, in seconds, that a thread waits for the other one to start ...
START = 1.0
# ... and to run one line. The other thread may wait for a lock, or a line may take long.
PATIENCE = 0.01
# The first long lines get more time, because on a busy machine a thread may wait longer than that for a core.
FIRST_LONG_LINES, FIRST_PATIENCE = 5, 0.3
# Lines, and long lines, after which the threads no longer take turns, so that the check stays short.
MOST_LINES, MOST_LONG_LINES = 5_000, 100


# Modules whose code runs in any thread, when an object that others refer to is freed.
FINALISERS = ("weakref", "_weakrefset")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let no thread collect garbage, because the lines of finalisers would count as lines of the model."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Turns:
    """Lets two threads run one line of Python each in turn.

    Two short calls on a pool rarely overlap by chance: one ends before the other thread wakes up. With turns,
    whatever a line of the model keeps in an object that both calls use is overwritten before the next line.

    Parameters
    ----------
    free : bool
        Both threads start at the same time, but run without turns, as calls that take long overlap anyway.
    alone : bool
        Thread 0 runs as slowly, but there is no other thread.
    """

    def __init__(self, *, free: bool = False, alone: bool = False) -> None:
        self._changed = threading.Condition()
        self._started, self._ended = ({1}, {1}) if alone else (set(), set())
        self._turn = 0
        self._lines = self._long_lines = 0
        self._free = free

    def run(self, call: ModelCall, codes: Codes, thread: int) -> Values:
        """Return the values of a batch, as thread 0 or 1."""

        def trace(frame: FrameType, event: str, _argument: object) -> Any:
            # Adapters are thread-safe. Without turns in them, both threads arrive at the model together.
            module = frame.f_globals.get("__name__", "")
            if self._free or module.startswith("shapsketch.") or module in FINALISERS:
                return None
            if event == "line":
                self._pass_on(thread)
            return trace

        with self._changed:
            self._started.add(thread)
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: len(self._started) == 2, START):
                self._free = True
        previous = sys.gettrace()
        if not self._free:
            sys.settrace(trace)
        try:
            return call(codes, 0)[0]
        finally:
            sys.settrace(previous)
            with self._changed:
                self._ended.add(thread)
                self._changed.notify_all()

    def _pass_on(self, thread: int) -> None:
        """Let the other thread run a line, and wait for it."""
        other = 1 - thread
        with self._changed:
            self._lines += 1
            self._turn = other
            self._changed.notify_all()
            patience = FIRST_PATIENCE if self._long_lines < FIRST_LONG_LINES else PATIENCE
            self._long_lines += not self._changed.wait_for(
                lambda: self._turn == thread or other in self._ended or self._free, patience
            )
            if self._lines > MOST_LINES or self._long_lines > MOST_LONG_LINES:
                self._free = True
                self._changed.notify_all()


def runs_threads(resources: Resources) -> bool:
    """Return whether two batches may run at once in threads of this process."""
    executor = resources.executor
    several = isinstance(executor, ThreadPoolExecutor) and executor._max_workers > 1
    return several and resources.in_flight != 1


def check_threads(
    call: ModelCall, resources: Resources, codes: Codes, values: Values, allowed: Values
) -> int:
    """Evaluate the two halves of a batch at once, twice; return the number of evaluated sequences.

    `values` (B, k) are those of the model for `codes`, one batch after another, and differences up to
    `allowed` (k) are ignored.

    Raises
    ------
    ModelError
        If the model gives other values, or raises, while it runs in two threads.
    """
    executor, count = resources.executor, 0
    parts = np.array_split(codes, 2)
    for free in (True, False):
        for _ in range(resources.retries + 1):
            turns = [_Turns(free=free)] * 2
            with _no_collection():
                problem, failed = _problem(call, executor, parts, turns, values, allowed)
            count += len(codes)
            if not failed:
                break
        if problem is None:
            continue
        # If it is also wrong one after another, the threads are not the reason.
        alone, _ = _problem(call, executor, parts, [_Turns(alone=True) for _ in parts], values, allowed)
        count += len(codes)
        if alone is None:
            raise ModelError(
                f"the {call.what} is not thread-safe: with two batches at once {problem}",
                advice="use an executor of processes, give the model a lock, or remove executor=",
                option="executor",
            )
    return count


def _problem(
    call: ModelCall,
    executor: Executor,
    parts: list[Codes],
    turns: list[_Turns],
    values: Values,
    allowed: Values,
) -> tuple[str | None, bool]:
    """Return what is wrong with the values of two batches (None if they are right), and whether one failed.

    They run at once if they share their turns, otherwise one after another.
    """
    at_once = turns[0] is turns[1]
    futures = []
    try:
        for thread, (part, turn) in enumerate(zip(parts, turns, strict=True)):
            futures.append(executor.submit(turn.run, call, part, thread if at_once else 0))
            if not at_once:
                futures[-1].exception()
        # Wait for both before an error is raised.
        _ = [future.exception() for future in futures]
        results = [future.result() for future in futures]
    except ShapsketchError as error:
        return f"it fails: {error}", True
    apart = np.abs(np.concatenate([part.reshape(len(part), -1) for part in results]) - values)
    if (apart <= allowed).all():
        return None, False
    return (
        f"it gives values that differ by up to {apart.max():.3g} from those of one batch after another "
        f"(their spread is {np.ptp(values, axis=0).max():.3g})"
    ), False
