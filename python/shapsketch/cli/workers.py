"""Worker processes and threads of `sketch --workers` and `--threads`, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from shapsketch.models.programs import stop_programs

# How often a worker checks whether its parent still needs it, in seconds.
WATCH = 0.5
# How long a worker goes on after SIGTERM, in seconds, so that its batch is not lost.
GRACE = 30.0
# How long running batches may take to stop after a second interrupt, in seconds.
PATIENCE = 5.0


class Workers:
    """The executor of a command, if there is one.

    Attributes
    ----------
    executor : concurrent.futures.Executor or None
    """

    def __init__(self, executor: Executor | None, ended: Any) -> None:
        self.executor, self._ended = executor, ended

    def stop(self) -> bool:
        """After an interrupt: stop all work; return whether that ended in time."""
        stop_programs()
        if self._ended is not None:
            self._ended.set()
        if self.executor is None:
            return True
        shutdown = partial(self.executor.shutdown, cancel_futures=True)
        ending = threading.Thread(target=shutdown, daemon=True)
        ending.start()
        ending.join(PATIENCE)
        return not ending.is_alive()


@contextmanager
def workers(processes: int | None, threads: int | None) -> Iterator[Workers]:
    """Yield the executor for so many processes or threads; none if neither is given."""
    with ExitStack() as stack:
        executor: Executor | None = None
        ended = None
        if processes is not None:
            context = multiprocessing.get_context("spawn")
            ended = context.Event()
            executor = stack.enter_context(
                ProcessPoolExecutor(processes, mp_context=context, initializer=_work, initargs=(ended,))
            )
        elif threads is not None:
            executor = stack.enter_context(ThreadPoolExecutor(threads))
        yield Workers(executor, ended)


def _work(ended: Any) -> None:
    """Set up a worker process: the parent handles signals, and the worker ends with it.

    Batch systems send SIGTERM to all processes of a job. A worker then goes on for a while, so that the
    values of its batch are kept. The event `ended` stops it at once.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())

    def watch() -> None:
        parent, left = multiprocessing.parent_process(), GRACE
        while parent is not None and parent.is_alive() and left > 0.0 and not ended.wait(WATCH):
            left -= WATCH if terminated.is_set() else 0.0
        stop_programs()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
