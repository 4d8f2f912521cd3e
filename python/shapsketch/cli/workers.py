"""Worker processes and threads of `sketch --workers` and `--threads`, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Executor
from functools import partial
from typing import Any

from shapsketch.models.programs import stop_commands

# How often a worker looks whether it is still needed, how long it goes on once it was told to end, and how
# long what runs may take to stop after a second interrupt, in seconds.
WATCH, GRACE, PATIENCE = 0.5, 30.0, 5.0


def work(ended: Any) -> None:
    """Be a worker: leave signals to the process that asks, and end when it has, or says so by an event.

    Told to end itself, as all processes of a job may be, it may take some time, as its batch is paid for.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())

    def watch() -> None:
        parent, left = multiprocessing.parent_process(), GRACE
        while parent is not None and parent.is_alive() and left > 0.0 and not ended.wait(WATCH):
            left -= WATCH if told.is_set() else 0.0
        stop_commands()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ends(executor: Executor) -> bool:
    """Shut an executor down; return whether that came to an end."""
    ending = threading.Thread(target=partial(executor.shutdown, cancel_futures=True), daemon=True)
    ending.start()
    ending.join(PATIENCE)
    return not ending.is_alive()
