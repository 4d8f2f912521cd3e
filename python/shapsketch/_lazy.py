"""Properties that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")


class lazy_property(cached_property[T]):  # noqa: N801 - used as a decorator
    """A `cached_property` without the lock that it has before Python 3.12.

    All instances share that lock. If a process forks while a thread computes the property of one, the child
    waits for ever when it computes the property of another.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        super().__init__(function)
        self.lock = nullcontext()
