"""The one place that calls the model: batches in, checked values out, here or on an executor."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._check import choice, integer
from shapsketch._errors import InputError, ModelError, ShapsketchError
from shapsketch.space import Codes, SequenceSpace

logger = logging.getLogger(__name__)

Inputs: TypeAlias = Literal["strings", "codes", "onehot"]
INPUTS = ("strings", "codes", "onehot")
Model: TypeAlias = Callable[[Any], Any]
# A bar, nothing, or a function of your own of what is done and of all there is to do.
Progress: TypeAlias = bool | Callable[[int, int], None]
Array: TypeAlias = npt.NDArray[np.float64]
# Takes a batch and its answers, as they come.
Keep: TypeAlias = Callable[[Codes, Array], None]
# Sizes of batches where none is given: from the first to the most, so many times as large each, as long as
# one takes less than so many seconds, or a sequence in it less than so much of the time before.
FIRST, MOST, GROWTH, SECONDS, CHEAPER = 16, 4096, 4, 1.0, 0.6
# Least batches for each worker.
SHARE = 4
# Exceptions that may come from what the model was given.
OF_INPUTS = (TypeError, ValueError, AttributeError, LookupError)
# Batches of an executor that wait for each worker.
AHEAD = 2
# Failures of a batch after which the executor is of no use.
FINAL = (BrokenExecutor, CancelledError)


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


def inputs_of(model: Model, inputs: Inputs | None) -> str:
    """Return what a model takes: as told, else as it says itself, else strings.

    Raises
    ------
    InputError
        If the model is no callable, or inputs are not known.
    """
    if not callable(model):
        raise InputError(f"model must be a callable, got {type(model).__name__}")
    if inputs is None:
        said = getattr(model, "inputs", None)
        # Those of other libraries are something else, such as tensors.
        return said if isinstance(said, str) and said in INPUTS else "strings"
    return choice("inputs", inputs, INPUTS)


def named_outputs(outputs: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of outputs, checked.

    Raises
    ------
    InputError
        If there is none, one is no string, or one is there twice.
    """
    if outputs is None:
        return None
    if isinstance(outputs, str):
        raise InputError(f"outputs must be a list of names, got the string {outputs!r}; put it into a list")
    names = tuple(outputs)
    if not names:
        raise InputError("outputs: the list of names is empty; leave it out for a model with one output")
    for at, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(f"outputs: name {at} is {name!r}, expected a string")
        if name in names[:at]:
            raise InputError(f"outputs: {name!r} is there twice")
    return names


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
    what: str = "model",
) -> Array:
    """Return the values of `count` coded sequences that come in parts; `what` names whose they are.

    The shape is (count,), or (count, k) if there are `outputs`. The result does not depend on the executor,
    nor on the order in which batches end. Values go to `keep` as they come.

    Raises
    ------
    ModelError
        If the model raises (its exception is the cause), or does not return one finite real number
        for each sequence of a batch; or the executor does not run it.
    """
    values = np.empty(count if outputs is None else (count, len(outputs)))
    job = _Job(model, space, inputs, outputs, what)
    done = 0

    with reporting(runner.progress, count, what) as advance:

        def take(first: int, codes: Codes, answers: Array) -> None:
            nonlocal done
            values[first : first + len(codes)] = answers
            if keep is not None:
                keep(codes, answers)
            done += len(codes)
            advance(len(codes))

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


def _patiently(job: _Job, codes: Codes, first: int, retries: int) -> tuple[Array, float]:
    for attempt in range(retries):
        try:
            return job(codes, first)
        except ModelError as error:
            _retried(error, attempt, retries)
    return job(codes, first)


def _retried(error: BaseException, attempt: int, retries: int) -> None:
    logger.warning("a batch failed and is tried again (%d of %d): %s", attempt + 1, retries, error)


def _on_executor(
    job: _Job,
    parts: Iterable[Codes],
    count: int,
    take: Callable[[int, Codes, Array], None],
    runner: Runner,
) -> None:
    """Run batches on an executor, a bounded number at a time; what ended is taken even if others fail."""
    pool, workers = _pool(runner)
    most = runner.in_flight or AHEAD * workers
    pace = _Pace(runner.batch_size, count, workers)
    batches = _sized(parts, pace)
    waiting: dict[Future[tuple[Array, float]], tuple[int, Codes, int]] = {}
    failed: BaseException | None = None

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
                    take(first, codes, answers)
                    pace.took(len(codes), seconds)
                elif failed is None and attempt < runner.retries and not isinstance(error, FINAL):
                    _retried(error, attempt, runner.retries)
                    submit(first, codes, attempt + 1)
                else:
                    failed = failed or error
                    # Those that run will end, and count; the others need not begin.
                    for other in waiting:
                        other.cancel()
    except BaseException:
        for future in waiting:
            future.cancel()
        # What had ended was paid for. What still runs is not waited for.
        for future, (first, codes, _) in waiting.items():
            if future.done() and _error(future) is None:
                with suppress(Exception):
                    take(first, codes, future.result()[0])
        raise
    if isinstance(failed, ShapsketchError):
        raise failed
    if failed is not None:
        hint = ""
        if isinstance(failed, BrokenExecutor):
            hint = "; a worker died, perhaps for want of memory: take fewer workers, or smaller batches"
        if "pickle" in str(failed).lower():
            hint = (
                "; other processes get the model by pickle: give a function of a module, or "
                "ss.models.imported('package.module:name')"
            )
        raise ModelError(f"the executor lost a batch: {type(failed).__name__}: {failed}{hint}") from failed


def _error(future: Future[tuple[Array, float]]) -> BaseException | None:
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


@dataclass(frozen=True)
class _Job:
    """The model, ready to be asked, in this process or another."""

    model: Model
    space: SequenceSpace
    inputs: str
    outputs: tuple[str, ...] | None
    what: str

    def __call__(self, codes: Codes, first: int) -> tuple[Array, float]:
        """Return the checked values of a batch, whose first sequence has this number, and their time."""
        where = f"on queries {first} to {first + len(codes) - 1} (the first is {self._decoded(codes[0])!r})"
        # A copy, as a model may write into what it is given, and the codes are still needed.
        argument: Any = codes.copy()
        if self.inputs == "strings":
            argument = self.space.decode(codes)
        elif self.inputs == "onehot":
            argument = np.eye(self.space.q, dtype=np.float32)[codes]
        started = time.perf_counter()
        try:
            output = self.model(argument)
        except ShapsketchError:
            # An adapter's own words.
            raise
        except Exception as error:
            hint = (
                f"; it was given {self.inputs} (choose with inputs=)" if isinstance(error, OF_INPUTS) else ""
            )
            raise ModelError(
                f"the {self.what} raised {type(error).__name__}: {error} {where}{hint}"
            ) from error
        seconds = time.perf_counter() - started
        values = self._checked(output, len(codes), where)
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            number = wrong[0][0]
            raise ModelError(
                f"the {self.what} returned {values[tuple(wrong[0])]} for query {first + number}, "
                f"{self._decoded(codes[number])!r} ({len(wrong)} of {values.size} values of this batch are "
                "not finite); every sequence of the space needs a finite score"
            )
        return values, seconds

    def _decoded(self, row: Codes) -> str:
        return self.space.decode(row[None])[0]

    def _checked(self, output: Any, count: int, where: str) -> Array:
        """Return a model's output as numbers of the right shape."""
        names = self.outputs
        named = is_named(output)
        if names is None and named:
            raise ModelError(
                f"the {self.what} returned outputs with the names {', '.join(map(repr, output))} {where}; "
                "name those to sketch with outputs=[...], or take one by ss.models.select"
            )
        if names is not None and named:
            missing = [name for name in names if name not in output]
            if missing:
                raise ModelError(
                    f"the {self.what} returned outputs {', '.join(map(repr, output))}, without "
                    f"{missing[0]!r} {where}"
                )
        try:
            if names is not None and named:
                array: npt.NDArray[Any] = np.column_stack([_array(output[name]) for name in names])
            else:
                array = _array(output)
        except Exception as error:
            raise ModelError(f"the {self.what}'s output is no array: {error} {where}") from error
        if array.dtype.kind not in "fiub":
            raise ModelError(f"the {self.what} must return real numbers, got {_kind(output, array)} {where}")
        shape = (count,) if names is None else (count, len(names))
        if array.shape != shape:
            each = "one number" if names is None or len(names) == 1 else f"{len(names)} numbers"
            hint = ""
            if names is None and array.shape == (count, 1):
                hint = "; return the one column as `output[:, 0]`"
            elif names is None and array.ndim > 1 and len(array) == count:
                said = getattr(self.model, "outputs", None)
                names_said = list(said) if isinstance(said, tuple) else "[...]"
                hint = f"; choose one output for each sequence, or name all of them: outputs={names_said}"
            raise ModelError(
                f"the {self.what} must return {each} for each sequence, shape {shape}, "
                f"got shape {array.shape} {where}{hint}"
            )
        return array.astype(np.float64)


def is_named(output: object) -> bool:
    """Return whether outputs have names: a mapping, or a data frame."""
    return isinstance(output, Mapping) or (hasattr(output, "keys") and hasattr(output, "__getitem__"))


def _array(output: Any) -> npt.NDArray[Any]:
    """Return an output as an array; what is masked is no number."""
    if isinstance(output, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(output.astype(np.float64), np.nan))
    return np.asarray(output)


def _kind(output: object, array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "c":
        return "complex numbers"
    return f"{type(output).__name__} of dtype {array.dtype}"
