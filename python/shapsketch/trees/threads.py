"""Threads of the libraries of trees in a forked process.

A forked child does not have the threads of its parent. OpenMP does not notice this: a library that used
several threads in the parent waits for them for ever in the child, except with one thread.
"""

from __future__ import annotations

import os

# The process that imported this module.
_IMPORTED_IN = os.getpid()


def forked() -> bool:
    """Return whether this process was forked from the one that imported shapsketch."""
    return os.getpid() != _IMPORTED_IN
