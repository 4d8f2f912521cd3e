"""What adapters share: batches as models want them, and answers as the package wants them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import integer
from shapsketch.errors import InputError, ModelError

Numbers: TypeAlias = npt.NDArray[Any]
Layout: TypeAlias = Literal["channels_last", "channels_first", "flat", "codes"]
ARRAYS = ("channels_last", "channels_first", "flat")
LAYOUTS = (*ARRAYS, "codes")


def arranged(batch: Any, layout: str, dtype: str) -> Numbers:
    """Return one-hot arrays (B, n, q) in a layout, or codes (B, n) as they are, contiguous and of a type."""
    given = np.asarray(batch)
    if given.dtype.kind in "OUS":
        raise InputError(
            "this adapter takes arrays and was given strings; leave out inputs=, the adapter says it itself"
        )
    wanted, shape = (2, "codes (B, n)") if layout == "codes" else (3, "one-hot arrays (B, n, q)")
    if given.ndim != wanted:
        raise InputError(
            f"this adapter takes {shape} and was given an array of shape {given.shape}; leave out inputs=, "
            "the adapter says it itself"
        )
    if layout == "channels_first":
        given = given.transpose(0, 2, 1)
    elif layout == "flat":
        given = given.reshape(len(given), -1)
    return np.ascontiguousarray(given, dtype=dtype)


def answers(output: Any, count: int, who: str, target: int | None = None) -> Numbers:
    """Return what a model said of `count` sequences, or its column `target`: shape (B,) or (B, k)."""
    try:
        array = np.asarray(output)
    except Exception as error:
        raise ModelError(f"the {who} returned {type(output).__name__}, which is no array: {error}") from error
    if array.ndim == 0 and count == 1:
        # As modules answer a single sequence that squeeze their output.
        array = array.reshape(1)
    if array.ndim not in (1, 2) or len(array) != count:
        what = f"an array of shape {array.shape}" if array.ndim else type(output).__name__
        raise ModelError(
            f"the {who} returned {what} for {count} sequences, expected the shape ({count},) or ({count}, k)"
        )
    if target is None:
        return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim == 1:
        array = array[:, None]
    if target >= array.shape[1]:
        raise ModelError(
            f"the {who} has no output {target}: it gives {array.shape[1]} for each sequence, numbered from 0"
        )
    return array[:, target]


def column(target: object) -> int | None:
    """Return the checked number of an output."""
    return None if target is None else integer("target", target, least=0)


def number_type(dtype: object) -> str:
    """Return the name of a NumPy type of numbers."""
    try:
        found = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError as error:
        raise InputError(f"dtype must be a NumPy type such as 'float32', got {dtype!r}") from error
    if found.kind not in "fiub":
        raise InputError(f"dtype must be a type of numbers such as 'float32', got {found.name!r}")
    return str(found.name)
