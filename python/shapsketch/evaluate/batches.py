"""The one place that calls the model: batches in, checked values out, here or on an executor."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from shapsketch._validate import integer
from shapsketch.errors import InputError, ModelError, ShapsketchError
from shapsketch.evaluate.outputs import Job, MalformedError
from shapsketch.link import IDENTITY, Link
from shapsketch.models._protocol import Model
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)

# A bar, nothing, or a function of your own of what is done and of all there is to do.
Progress: TypeAlias = bool | Callable[[int, int], None]
# Takes a batch and its answers, as they come.
Keep: TypeAlias = Callable[[Codes, Values], None]
# Sizes of batches where none is given: from the first to the most, so many times as large each, as long as
# one takes less than so many seconds, or a sequence in it less than so much of the time before.
FIRST, MOST, GROWTH, SECONDS, CHEAPER = 16, 4096, 4, 1.0, 0.6
# Least batches for each worker.
SHARE = 4
# Batches of an executor that wait for each worker.
AHEAD = 2
# Failures of a batch after which trying again is of no use.
FINAL = (BrokenExecutor, CancelledError, SystemExit, InputError, MalformedError)


@dataclass(frozen=True)
class Runner:
    """How a model is asked, beyond what it is.

    Attributes
    ----------
    executor : concurrent.futures.Executor or distributed.Client, optional
        Where batches run; here, one after another, if there is none.
    in_flight : int, optional
        Most batches handed to the executor at a time; two for each of its workers by default.
    retries : int
        How often a batch that failed is tried again.
    progress : bool or callable
        A bar, or a function of (done, total).
    batch_size : int, optional
        Most sequences in one call. By default batches grow, from 16 to 4,096, as long as they take less than
        a second, or sequences are cheaper together, as where a program has to start first.
    """

    executor: Any = None
    in_flight: int | None = None
    retries: int = 0
    progress: Progress = True
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.executor is not None and not callable(getattr(self.executor, "submit", None)):
            raise InputError(
                "executor must be a concurrent.futures.Executor or a distributed.Client, got "
                f"{type(self.executor).__name__}"
            )
        if self.in_flight is not None:
            integer("in_flight", self.in_flight, least=1)
            if self.executor is None:
                raise InputError("in_flight is for an executor, and there is none")
        integer("retries", self.retries, least=0)
        if self.batch_size is not None:
            integer("batch_size", self.batch_size, least=1)
        if not (isinstance(self.progress, bool) or callable(self.progress)):
            raise InputError(
                f"progress must be True, False or a function of (done, total), got {self.progress!r}"
            )

    @property
    def bar(self) -> bool:
        """Whether a progress bar is shown."""
        return self.progress is True


SILENT = Runner(progress=False)


def evaluate(
    model: Model,
    space: SequenceSpace,
    parts: Iterable[Codes],
    count: int,
    *,
    inputs: str,
    outputs: tuple[str, ...] | None = None,
    runner: Runner = SILENT,
    keep: Keep | None = None,
    link: Link = IDENTITY,
    what: str = "model",
) -> Values:
    """Return the values of `count` coded sequences that come in parts; `what` names whose they are.

    The shape is (count,), or (count, k) if there are `outputs`. The result does not depend on the executor,
    nor on the order in which batches end. Values go to `keep` as they come, on the model's scale; those that
    are finite even if others of their batch are not.

    Raises
    ------
    ModelError
        If the model raises (its exception is the cause), or does not return one finite real number of the
        domain of the link for each sequence of a batch; or the executor does not run it.
    InputError
        If the model has no such outputs, or takes codes of another alphabet.
    """
    values = np.empty(count if outputs is None else (count, len(outputs)))
    job = Job(model, space, inputs, outputs, what)
    done = 0

    with reporting(runner.progress, count, what) as advance:

        def take(first: int, codes: Codes, answers: Values) -> None:
            nonlocal done
            values[first : first + len(codes)] = answers
            usable = np.isfinite(answers.reshape(len(codes), -1)).all(axis=1)
            if keep is not None and usable.any():
                keep(*((codes, answers) if usable.all() else (codes[usable], answers[usable])))
            done += len(codes)
            advance(len(codes))
            wrong, why = ~np.isfinite(answers), "every sequence of the space needs a finite score"
            if usable.all():
                wrong = link.outside(answers)
                why = f"it is outside the domain of the link {link.name!r}, which takes numbers {link.domain}"
            if wrong.any():
                at = tuple(np.argwhere(wrong)[0])
                raise ModelError(
                    f"the {what} returned {answers[at]} for query {first + at[0]}, "
                    f"{space.decode(codes[at[0]][None])[0]!r} ({wrong.sum()} of {answers.size} values of "
                    f"this batch are like that): {why}"
                )

        if runner.executor is None:
            pace = _Pace(runner.batch_size, count)
            for first, codes in _sized(parts, pace):
                answers, seconds = _patiently(job, codes, first, runner.retries)
                take(first, codes, answers)
                pace.took(len(codes), seconds)
        else:
            _on_executor(job, parts, count, take, runner)
    logger.debug("evaluated the %s on %d sequences", what, done)
    return values


@contextmanager
def reporting(progress: Progress, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show progress; yields a function to call with how many more are done."""
    if callable(progress):
        told, done = progress, 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            told(done, total)

        yield advance
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=what, unit="seq", disable=not progress) as bar:
        yield bar.update


class _Pace:
    """The size of the next batch."""

    def __init__(self, given: int | None, count: int, workers: int = 0) -> None:
        self._most = given or min(MOST, max(1, count // (workers * SHARE)) if workers else MOST)
        self.size = given or min(FIRST, self._most)
        # Size before, and its seconds for each sequence.
        self._smaller: tuple[int, float] | None = None

    def took(self, rows: int, seconds: float) -> None:
        """Note how long a batch took."""
        if rows < self.size or self.size == self._most:
            return
        before, each = self._smaller, seconds / rows
        if seconds < SECONDS or before is None or each < CHEAPER * before[1]:
            self._smaller = (rows, each)
            self.size = min(GROWTH * self.size, self._most)
        else:
            # It does not pay; nothing is tried again.
            self.size = self._most = before[0]


def _sized(parts: Iterable[Codes], pace: _Pace) -> Iterator[tuple[int, Codes]]:
    """Yield the rows of parts in batches of the pace, with the number of the first of each."""
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


def _patiently(job: Job, codes: Codes, first: int, retries: int) -> tuple[Values, float]:
    for attempt in range(retries):
        try:
            return job(codes, first)
        except FINAL:
            raise
        except ModelError as error:
            _retried(error, attempt, retries)
    return job(codes, first)


def _retried(error: BaseException, attempt: int, retries: int) -> None:
    logger.warning("a batch failed and is tried again (%d of %d): %s", attempt + 1, retries, error)


def _on_executor(
    job: Job,
    parts: Iterable[Codes],
    count: int,
    take: Callable[[int, Codes, Values], None],
    runner: Runner,
) -> None:
    """Run batches on an executor, a bounded number at a time; what ended is taken even if others fail."""
    pool, workers = _pool(runner)
    most = runner.in_flight or AHEAD * workers
    pace = _Pace(runner.batch_size, count, workers)
    batches = _sized(parts, pace)
    waiting: dict[Future[tuple[Values, float]], tuple[int, Codes, int]] = {}
    failed: BaseException | None = None

    def fail(error: BaseException) -> None:
        """Let those that run end, as they count; the others need not begin."""
        nonlocal failed
        failed = failed or error
        for other in waiting:
            other.cancel()

    def submit(first: int, codes: Codes, attempt: int) -> None:
        try:
            future = pool.submit(job, codes, first)
            if not isinstance(future, Future):
                raise TypeError(f"it returned {type(future).__name__}, no concurrent.futures.Future")
            waiting[future] = (first, codes, attempt)
        except Exception as error:
            raise ModelError(
                f"the executor takes no more batches: {error}; give one that is open, and not shut down "
                "while it is in use"
            ) from error

    try:
        while True:
            while failed is None and len(waiting) < most:
                following = next(batches, None)
                if following is None:
                    break
                submit(*following, 0)
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                first, codes, attempt = waiting.pop(future)
                error = _error(future)
                if error is None:
                    answers, seconds = future.result()
                    pace.took(len(codes), seconds)
                    try:
                        take(first, codes, answers)
                    except ShapsketchError as refused:
                        fail(refused)
                elif failed is None and attempt < runner.retries and not isinstance(error, FINAL):
                    _retried(error, attempt, runner.retries)
                    submit(first, codes, attempt + 1)
                else:
                    fail(error)
    except BaseException:
        running = {future for future in waiting if not future.cancel()}
        if any(not future.done() for future in running):
            logger.warning(
                "stopping: waiting for the batches that run (%d at most), as they are paid for; interrupt "
                "again to leave them",
                len(running),
            )
        # A second interrupt is as good as their end.
        with suppress(KeyboardInterrupt):
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.remove(future)
                    first, codes, _ = waiting[future]
                    if _error(future) is None:
                        with suppress(Exception):
                            take(first, codes, future.result()[0])
        raise
    if isinstance(failed, ShapsketchError):
        raise failed
    if failed is not None:
        hint = ""
        if isinstance(failed, BrokenExecutor):
            hint = (
                "; a worker died: for want of memory (take fewer workers, or smaller batches), or in a "
                "script whose main part is not under `if __name__ == '__main__':`"
            )
        if "pickle" in str(failed).lower():
            hint = (
                "; other processes get the model by pickle: give a function of a module, or "
                "ss.models.imported('package.module:name')"
            )
        raise ModelError(f"the executor lost a batch: {type(failed).__name__}: {failed}{hint}") from failed


def _error(future: Future[tuple[Values, float]]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def _pool(runner: Runner) -> tuple[Any, int]:
    """Return what takes batches, and how many work on them."""
    executor = runner.executor
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    # A client of Dask has such an executor, whose tasks are all run.
    if callable(getattr(executor, "get_executor", None)):
        try:
            workers = sum(executor.nthreads().values())
            executor = executor.get_executor(pure=False)
        except Exception as error:
            raise ModelError(
                f"the cluster does not answer: {type(error).__name__}: {error}; give a client that is open"
            ) from error
    return executor, max(workers, 1)
