"""The one place that calls the model: batches in, checked values out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._errors import ModelError
from shapsketch.space import Codes, SequenceSpace

logger = logging.getLogger(__name__)

Inputs: TypeAlias = Literal["strings", "codes", "onehot"]
INPUTS = ("strings", "codes", "onehot")
Model: TypeAlias = Callable[[Any], Any]


def evaluate(
    model: Model,
    space: SequenceSpace,
    batches: Iterable[Codes],
    count: int,
    *,
    inputs: str,
    progress: bool,
    what: str = "model",
) -> npt.NDArray[np.float64]:
    """Return the values of `count` coded sequences that come in batches; `what` names whose they are.

    Raises
    ------
    ModelError
        If the model raises (its exception is the cause), or does not return one finite real number
        for each sequence of a batch.
    """
    from tqdm.auto import tqdm

    values = np.empty(count)
    done = 0
    with tqdm(total=count, desc=what, unit="seq", disable=not progress) as bar:
        for codes in batches:
            values[done : done + len(codes)] = _call(model, space, codes, inputs, done, what)
            done += len(codes)
            bar.update(len(codes))
    logger.debug("evaluated the %s on %d sequences", what, done)
    return values


def _call(
    model: Model, space: SequenceSpace, codes: Codes, inputs: str, first: int, what: str
) -> npt.NDArray[np.float64]:
    where = f"on queries {first} to {first + len(codes) - 1} (the first is {space.decode(codes[:1])[0]!r})"
    argument: Any = codes
    if inputs == "strings":
        argument = space.decode(codes)
    elif inputs == "onehot":
        argument = np.eye(space.q, dtype=np.float32)[codes]
    try:
        output = model(argument)
    except Exception as error:
        raise ModelError(
            f"the {what} raised {type(error).__name__}: {error} {where}; it was given {inputs} "
            f"(choose with inputs=)"
        ) from error
    try:
        array: npt.NDArray[Any] = np.asarray(output)
    except Exception as error:
        raise ModelError(f"the {what}'s output is no array: {error} {where}") from error
    if array.dtype.kind not in "fiub":
        raise ModelError(f"the {what} must return real numbers, got {_kind(output, array)} {where}")
    if array.shape != (len(codes),):
        hint = ""
        if array.shape == (len(codes), 1):
            hint = "; return the one column as `output[:, 0]`"
        elif array.ndim > 1 and len(array) == len(codes):
            hint = "; choose one output for each sequence"
        raise ModelError(
            f"the {what} must return one number for each sequence, shape ({len(codes)},), "
            f"got shape {array.shape} {where}{hint}"
        )
    values = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        sequence = space.decode(codes[wrong[:1]])[0]
        raise ModelError(
            f"the {what} returned {values[wrong[0]]} for query {first + wrong[0]}, {sequence!r} "
            f"({len(wrong)} of {len(codes)} values of this batch are not finite); every sequence of the "
            "space needs a finite score"
        )
    return values


def _kind(output: object, array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "c":
        return "complex numbers"
    return f"{type(output).__name__} of dtype {array.dtype}"
