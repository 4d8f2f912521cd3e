"""Independent fits at the same time, in threads of this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class StoppedError(Exception):
    """Raised in a fit that another thread has stopped."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def at_once(tasks: Sequence[Callable[[threading.Event], T]]) -> list[T]:
    """Run tasks in threads and return their results, in order.

    A task receives an event. After it is set, because this thread was interrupted or another task failed, the
    task must end soon.
    """
    if len(tasks) == 1:
        return [tasks[0](threading.Event())]
    stop = threading.Event()
    with ThreadPoolExecutor(min(len(tasks), cores())) as pool:
        futures = [pool.submit(task, stop) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
