"""Batches on an executor: threads, processes or a cluster, with retries."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from shapsketch._validate import integer
from shapsketch.errors import InputError, ModelError, ShapsketchError
from shapsketch.evaluate.outputs import MalformedError, ModelCall
from shapsketch.evaluate.pace import Pace, batches_of
from shapsketch.space import Codes, Values

logger = logging.getLogger(__name__)

# Receives the index of the first sequence of a batch, the batch, and its values.
Sink: TypeAlias = Callable[[int, Codes, Values], None]
# Default number of batches submitted at a time for each worker of an executor.
AHEAD = 2
# Errors that a retry cannot remove.
FINAL = (BrokenExecutor, CancelledError, SystemExit, InputError, MalformedError)


@dataclass(frozen=True)
class Resources:
    """Where and how batches run; the parameters are those of :class:`shapsketch.Evaluator`."""

    executor: Any = None
    in_flight: int | None = None
    retries: int = 0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.executor, type):
            name = self.executor.__name__
            raise InputError(f"executor is the class {name}; pass an instance, such as {name}(4)")
        if self.executor is not None and not callable(getattr(self.executor, "submit", None)):
            raise InputError(
                "executor must be a concurrent.futures.Executor or a distributed.Client, got "
                f"{type(self.executor).__name__}"
            )
        if self.in_flight is not None:
            integer("in_flight", self.in_flight, least=1)
            if self.executor is None:
                raise InputError("in_flight has no effect without executor=; pass an executor or remove it")
        integer("retries", self.retries, least=0)
        if self.batch_size is not None:
            integer("batch_size", self.batch_size, least=1)


def run_here(call: ModelCall, parts: Iterable[Codes], count: int, sink: Sink, resources: Resources) -> None:
    """Evaluate batches in this process, one after another."""
    pace = Pace(resources.batch_size, count)
    for first, codes in batches_of(parts, pace):
        values, seconds = _with_retries(call, codes, first, resources.retries)
        sink(first, codes, values)
        pace.took(len(codes), seconds)


def _with_retries(call: ModelCall, codes: Codes, first: int, retries: int) -> tuple[Values, float]:
    for attempt in range(retries):
        try:
            return call(codes, first)
        except FINAL:
            raise
        except ModelError as error:
            _log_retry(error, attempt, retries)
    return call(codes, first)


def _log_retry(error: BaseException, attempt: int, retries: int) -> None:
    logger.warning("a batch failed; retry %d of %d: %s", attempt + 1, retries, error)


@dataclass(frozen=True)
class _Batch:
    """A batch that was submitted."""

    first: int
    codes: Codes
    attempt: int


class ExecutorLoop:
    """Evaluates batches on an executor, a bounded number at a time.

    If a batch fails for good, no further batch starts. The values of batches that already run are
    kept.
    """

    def __init__(self, call: ModelCall, sink: Sink, resources: Resources) -> None:
        self._call, self._sink, self._retries = call, sink, resources.retries
        self._pool, self._workers = _pool(resources.executor)
        self._most = resources.in_flight or AHEAD * self._workers
        self._batch_size = resources.batch_size
        self._waiting: dict[Future[tuple[Values, float]], _Batch] = {}
        self._failure: BaseException | None = None

    def run(self, parts: Iterable[Codes], count: int) -> None:
        """Evaluate all parts.

        Raises
        ------
        ModelError
            If a batch fails, or the executor loses one.
        """
        pace = Pace(self._batch_size, count, self._workers)
        batches = batches_of(parts, pace)
        try:
            while True:
                while self._failure is None and len(self._waiting) < self._most:
                    following = next(batches, None)
                    if following is None:
                        break
                    self._submit(_Batch(*following, 0))
                if not self._waiting:
                    break
                for future in wait(self._waiting, return_when=FIRST_COMPLETED).done:
                    self._collect(future, pace)
        except BaseException:
            self._drain()
            raise
        if isinstance(self._failure, ShapsketchError):
            raise self._failure
        if self._failure is not None:
            raise _lost(self._failure) from self._failure

    def _submit(self, batch: _Batch) -> None:
        try:
            future = self._pool.submit(self._call, batch.codes, batch.first)
            if not isinstance(future, Future):
                raise TypeError(f"submit() returned {type(future).__name__}, not a concurrent.futures.Future")
            self._waiting[future] = batch
        except Exception as error:
            raise ModelError(
                f"the executor accepts no more batches: {error}; pass an open executor, and do not shut it "
                "down while it is in use"
            ) from error

    def _collect(self, future: Future[tuple[Values, float]], pace: Pace) -> None:
        """Pass on the values of a finished batch, or submit it again."""
        batch = self._waiting.pop(future)
        error = _error(future)
        if error is None:
            values, seconds = future.result()
            pace.took(len(batch.codes), seconds)
            try:
                self._sink(batch.first, batch.codes, values)
            except ShapsketchError as refused:
                self._fail(refused)
        elif self._failure is None and batch.attempt < self._retries and not isinstance(error, FINAL):
            _log_retry(error, batch.attempt, self._retries)
            self._submit(_Batch(batch.first, batch.codes, batch.attempt + 1))
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Let running batches finish and keep their values; cancel batches that have not started."""
        self._failure = self._failure or error
        for other in self._waiting:
            other.cancel()

    def _drain(self) -> None:
        """After an interrupt: wait for running batches and keep their values."""
        running = {future for future in self._waiting if not future.cancel()}
        if any(not future.done() for future in running):
            logger.warning(
                "stopping: waiting for the batches that already run (at most %d) so that their values are "
                "kept; interrupt again to stop at once",
                len(running),
            )
        # A second interrupt ends the wait.
        with suppress(KeyboardInterrupt):
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.remove(future)
                    batch = self._waiting[future]
                    if _error(future) is None:
                        with suppress(Exception):
                            self._sink(batch.first, batch.codes, future.result()[0])


def _lost(failure: BaseException) -> ModelError:
    """Return the error for a batch that the executor lost, with advice."""
    hint = ""
    if isinstance(failure, BrokenExecutor):
        hint = (
            "; a worker process died. If memory ran out, use fewer workers or smaller batches. In a script, "
            "put the main part under `if __name__ == '__main__':`"
        )
    if "pickle" in str(failure).lower():
        hint = (
            "; other processes receive the model by pickle: pass a function of a module, or "
            "ss.models.imported('package.module:name')"
        )
    return ModelError(f"the executor lost a batch: {type(failure).__name__}: {failure}{hint}")


def _error(future: Future[tuple[Values, float]]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def _pool(executor: Any) -> tuple[Any, int]:
    """Return the object that takes batches, and its number of workers."""
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    # A Dask client makes such an executor. `pure=False` runs every task, even if its arguments repeat.
    if callable(getattr(executor, "get_executor", None)):
        try:
            workers = sum(executor.nthreads().values())
            executor = executor.get_executor(pure=False)
        except Exception as error:
            raise ModelError(
                f"the cluster does not respond: {type(error).__name__}: {error}; pass a client that is open"
            ) from error
    return executor, max(workers, 1)
