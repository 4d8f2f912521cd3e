"""All sequences of a request, in batches, with progress; each value is checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeAlias

import numpy as np

from shapsketch._validate import LARGEST, SMALLEST
from shapsketch.errors import InputError, ModelError
from shapsketch.evaluate.executor import ExecutorLoop, Resources, run_here
from shapsketch.evaluate.outputs import ModelCall
from shapsketch.evaluate.progress import reporting
from shapsketch.link import IDENTITY, Link
from shapsketch.space import Codes, Values

logger = logging.getLogger(__name__)

# Sequences after which values are refused if all of them are too small to be squared. Of fewer sequences, all
# may have a tiny probability by chance.
ENOUGH = 16
# Shows progress: a context with a function that takes the number of newly evaluated sequences.
Report: TypeAlias = Callable[[], AbstractContextManager[Callable[[int], object]]]
NOTHING: Report = partial(reporting, False, None, "")
# Receives a batch and its finite values as soon as the batch ends.
Keep: TypeAlias = Callable[[Codes, Values], None]


def evaluate(
    call: ModelCall,
    parts: Iterable[Codes],
    count: int,
    resources: Resources,
    *,
    report: Report = NOTHING,
    keep: Keep | None = None,
    link: Link = IDENTITY,
    sizes: Sizes | None = None,
) -> Values:
    """Return the values of `count` coded sequences, which `parts` yields.

    The shape is (count,), or (count, k) if the call has `outputs`. The result depends neither on the
    executor nor on the order in which batches end. `keep` receives the values of each batch, on the
    model's scale; values that are finite are kept even if others of their batch are not. `sizes` receives
    them too, if the values are for a fit.

    Raises
    ------
    ModelError
        If the model raises (its exception is the cause), or does not return one finite real number in
        the domain of the link for each sequence, or if the executor fails.
    InputError
        If the model has no such outputs, its codes have another alphabet, or a fit cannot square the values.
    """
    values = np.empty(count if call.outputs is None else (count, len(call.outputs)))
    done = 0
    with report() as advance:

        def sink(first: int, codes: Codes, batch: Values) -> None:
            nonlocal done
            values[first : first + len(codes)] = batch
            usable = np.isfinite(batch.reshape(len(codes), -1)).all(axis=1)
            if keep is not None and usable.any():
                keep(*((codes, batch) if usable.all() else (codes[usable], batch[usable])))
            done += len(codes)
            advance(len(codes))
            _check_values(call, link, codes, batch, first)
            if sizes is not None:
                sizes.add(batch.reshape(len(codes), -1))
                sizes.check()

        if resources.executor is None:
            run_here(call, parts, count, sink, resources)
        else:
            ExecutorLoop(call, sink, resources).run(parts, count)
    logger.debug("evaluated the %s on %d sequences", call.what, done)
    return values


class Sizes:
    """The largest magnitude of each output so far, so that work is refused before the whole budget is spent.

    Parameters
    ----------
    link : Link
        Its scale is that of the values that are squared.
    outputs : tuple of str, or None for a single output
    """

    def __init__(self, link: Link, outputs: tuple[str, ...] | None) -> None:
        self._link, self._outputs = link, outputs
        self._largest = np.zeros(1 if outputs is None else len(outputs))
        self._count = 0

    def add(self, values: Values) -> None:
        """Add values (B, k); those outside the domain of the link are ignored."""
        self._count += len(values)
        for output, column in enumerate(values.T):
            inside = column[~self._link.outside(column)]
            if len(inside):
                largest = np.abs(self._link.to_link(inside, "model")).max()
                self._largest[output] = max(self._largest[output], largest)

    def check(self) -> None:
        """Refuse values whose squares overflow or vanish.

        Raises
        ------
        InputError
        """
        small = (self._largest > 0.0) & (self._largest < SMALLEST) & (self._count >= ENOUGH)
        wrong = np.flatnonzero(small | (self._largest > LARGEST))
        if len(wrong):
            output = "" if self._outputs is None else f" of the output {self._outputs[wrong[0]]!r}"
            raise InputError(
                f"the first {self._count:,} values{output} have magnitudes up to "
                f"{self._largest[wrong[0]]:g}, which cannot be squared without loss; rescale the model to "
                f"magnitudes from {SMALLEST:g} to {LARGEST:g}, or sketch its logarithm with link='log'"
            )


def _check_values(call: ModelCall, link: Link, codes: Codes, values: Values, first: int) -> None:
    """Refuse values that are not finite or outside the domain of the link."""
    wrong, why = ~np.isfinite(values), "every sequence of the space needs a finite score"
    if not wrong.any():
        wrong = link.outside(values)
        why = f"it is outside the domain of the link {link.name!r}, which takes numbers {link.domain}"
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        row, query = index[0], call.earlier + first + index[0]
        output = "" if call.outputs is None else f" as the output {call.outputs[index[1]]!r}"
        raise ModelError(
            f"the {call.what} returned {values[index]}{output} for query {query}, "
            f"{call.space.decode(codes[row][None])[0]!r} ({wrong.sum()} of {values.size} values of "
            f"this batch are invalid): {why}",
            index=query,
        )
