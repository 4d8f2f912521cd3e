"""All sequences of a request, in batches, with progress; each value is checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from shapsketch._validate import shown
from shapsketch.errors import InputError, ModelError
from shapsketch.evaluate.executor import ExecutorLoop, Resources, run_here
from shapsketch.evaluate.outputs import ModelCall
from shapsketch.link import IDENTITY, Link
from shapsketch.space import Codes, Values

logger = logging.getLogger(__name__)

# A progress bar (True), nothing (False), or a function of (done, total).
Progress: TypeAlias = bool | Callable[[int, int], None]
# Receives a batch and its finite values as soon as the batch ends.
Keep: TypeAlias = Callable[[Codes, Values], None]


def evaluate(
    call: ModelCall,
    parts: Iterable[Codes],
    count: int,
    resources: Resources,
    *,
    progress: Progress = False,
    keep: Keep | None = None,
    link: Link = IDENTITY,
) -> Values:
    """Return the values of `count` coded sequences, which `parts` yields.

    The shape is (count,), or (count, k) if the call has `outputs`. The result depends neither on the
    executor nor on the order in which batches end. `keep` receives the values of each batch, on the
    model's scale; values that are finite are kept even if others of their batch are not.

    Raises
    ------
    ModelError
        If the model raises (its exception is the cause), or does not return one finite real number in
        the domain of the link for each sequence, or if the executor fails.
    InputError
        If the model has no such outputs, or its codes have another alphabet.
    """
    values = np.empty(count if call.outputs is None else (count, len(call.outputs)))
    done = 0
    with reporting(progress, count, call.what) as advance:

        def sink(first: int, codes: Codes, batch: Values) -> None:
            nonlocal done
            values[first : first + len(codes)] = batch
            usable = np.isfinite(batch.reshape(len(codes), -1)).all(axis=1)
            if keep is not None and usable.any():
                keep(*((codes, batch) if usable.all() else (codes[usable], batch[usable])))
            done += len(codes)
            advance(len(codes))
            _check_values(call, link, codes, batch, first)

        if resources.executor is None:
            run_here(call, parts, count, sink, resources)
        else:
            ExecutorLoop(call, sink, resources).run(parts, count)
    logger.debug("evaluated the %s on %d sequences", call.what, done)
    return values


def _check_values(call: ModelCall, link: Link, codes: Codes, values: Values, first: int) -> None:
    """Refuse values that are not finite or outside the domain of the link."""
    wrong, why = ~np.isfinite(values), "every sequence of the space needs a finite score"
    if not wrong.any():
        wrong = link.outside(values)
        why = f"it is outside the domain of the link {link.name!r}, which takes numbers {link.domain}"
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        row = index[0]
        raise ModelError(
            f"the {call.what} returned {values[index]} for query {first + row}, "
            f"{call.space.decode(codes[row][None])[0]!r} ({wrong.sum()} of {values.size} values of "
            f"this batch are invalid): {why}",
            index=first + row,
        )


def check_progress(progress: Progress) -> Progress:
    """Return `progress`; refuse one that is neither a bool nor a function."""
    if isinstance(progress, (bool, np.bool_)):
        return bool(progress)
    if not callable(progress):
        raise InputError(
            f"progress must be True, False or a function of (done, total), got {shown(progress)}"
        )
    return progress


@contextmanager
def reporting(progress: Progress, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show progress; yield a function that takes the number of newly evaluated sequences."""
    if callable(progress):
        report, done = progress, 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            report(done, total)

        yield advance
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=what, unit="seq", disable=not progress) as bar:
        yield bar.update
