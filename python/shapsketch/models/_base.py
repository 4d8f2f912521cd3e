"""Functions that all adapters use: the layout of a batch, and the shape of an output."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import integer
from shapsketch.errors import InputError, ModelError

Numbers: TypeAlias = npt.NDArray[Any]
Layout: TypeAlias = Literal["channels_last", "channels_first", "flat", "flat_channels_first", "codes"]
# Layouts of one-hot features: (B, n * q), with the symbols of a position next to each other, and (B, q * n),
# with the positions of a symbol next to each other.
Flat: TypeAlias = Literal["flat", "flat_channels_first"]
FLAT = ("flat", "flat_channels_first")
# Layouts of one-hot arrays: (B, n, q), (B, q, n), and those of features.
ARRAYS = ("channels_last", "channels_first", *FLAT)
# All layouts; "codes" are integers (B, n).
LAYOUTS = (*ARRAYS, "codes")


def arrange(batch: Any, layout: str, dtype: str) -> Numbers:
    """Return one-hot arrays (B, n, q) in a layout, or codes (B, n), as a contiguous array of type `dtype`.

    Raises
    ------
    InputError
        If the batch is not what the layout needs, because `inputs` overrides what the adapter declares.
    """
    array = np.asarray(batch)
    ndim, expected = (2, "codes (B, n)") if layout == "codes" else (3, "one-hot arrays (B, n, q)")
    received = ""
    if array.dtype.kind in "OUS":
        received = "strings"
    elif array.ndim != ndim:
        received = f"an array of shape {array.shape}"
    if received:
        raise InputError(
            f"this adapter takes {expected}, but received {received}",
            advice="remove inputs=, because the adapter declares its inputs",
            option="inputs",
        )
    if layout in ("channels_first", "flat_channels_first"):
        array = array.transpose(0, 2, 1)
    if layout in FLAT:
        array = array.reshape(len(array), -1)
    return np.ascontiguousarray(array, dtype=dtype)


def as_values(output: Any, count: int, what: str, target: int | None = None) -> Numbers:
    """Return a model's output for `count` sequences, or its column `target`, as an array (B,) or (B, k).

    `what` is the name of the model in error messages.

    Raises
    ------
    ModelError
        If the output has another form, or no column `target`.
    """
    try:
        array = np.asarray(output)
    except Exception as error:
        raise ModelError(
            f"the {what} returned {type(output).__name__}, which is not an array: {error}"
        ) from error
    if array.ndim == 0 and count == 1:
        # Modules that squeeze their output return a scalar for a single sequence.
        array = array.reshape(1)
    if array.ndim not in (1, 2) or len(array) != count:
        received = f"an array of shape {array.shape}" if array.ndim else type(output).__name__
        raise ModelError(
            f"the {what} returned {received} for {count} sequences, expected the shape ({count},) or "
            f"({count}, k)"
        )
    if target is None:
        return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim == 1:
        array = array[:, None]
    if target >= array.shape[1]:
        raise ModelError(f"the {what} has no output {target}; it has {array.shape[1]}, numbered from 0")
    return array[:, target]


def output_index(target: object) -> int | None:
    """Return the index of an output, checked; None if there is none.

    Raises
    ------
    InputError
        If it is not an integer of at least 0.
    """
    return None if target is None else integer("target", target, least=0)


def numeric_dtype(dtype: object) -> str:
    """Return the name of a NumPy type of numbers.

    Raises
    ------
    InputError
        If it is not a NumPy type, or not a type of numbers.
    """
    try:
        numpy_dtype = np.dtype(dtype)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise InputError(f"dtype must be a NumPy type such as 'float32', got {dtype!r}") from error
    if numpy_dtype.kind not in "fiub":
        raise InputError(f"dtype must be a type of numbers such as 'float32', got {numpy_dtype.name!r}")
    return str(numpy_dtype.name)
