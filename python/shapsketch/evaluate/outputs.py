"""One call of the model: a batch of codes in, an array of checked numbers out.

This is the only module that calls a model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch.errors import ModelError, ShapsketchError
from shapsketch.models._protocol import Model, by_name, check_alphabet, columns_of, outputs_of
from shapsketch.space import Codes, SequenceSpace, Values

# Exceptions that a wrong kind of input may cause.
INPUT_ERRORS = (TypeError, ValueError, AttributeError, LookupError)


class MalformedError(ModelError):
    """The output has the wrong form; another call would not change that."""


@dataclass(frozen=True)
class ModelCall:
    """The model and what it takes and returns; can be sent to other processes.

    Attributes
    ----------
    model : callable
    space : SequenceSpace
    inputs : {"strings", "codes", "onehot"}
    outputs : tuple of str, or None for a single output
    what : str
        What error messages call the model.
    """

    model: Model
    space: SequenceSpace
    inputs: str
    outputs: tuple[str, ...] | None = None
    what: str = "model"

    def __call__(self, codes: Codes, first: int) -> tuple[Values, float]:
        """Return the values of a batch and the seconds of the call; `first` is the index of its first row."""
        where = (
            f"on queries {first} to {first + len(codes) - 1} "
            f"(the first is {self.space.decode(codes[:1])[0]!r})"
        )
        # Checked here and not earlier: in some setups only the worker process can load the model.
        check_alphabet(self.model, self.inputs, self.space.alphabet)
        columns = columns_of(self.model, self.outputs)
        started = time.perf_counter()
        output = self._call(codes, where)
        seconds = time.perf_counter() - started
        return self._checked(output, codes, columns, where), seconds

    def _call(self, codes: Codes, where: str) -> Any:
        # A copy, because a model may write into its input, and the codes are still needed.
        argument: Any = codes.copy()
        if self.inputs == "strings":
            argument = self.space.decode(codes)
        elif self.inputs == "onehot":
            argument = self.space.onehot(codes)
        try:
            return self.model(argument)
        except ShapsketchError:
            # Raised by an adapter. Its message is more precise than one from here.
            raise
        except Exception as error:
            message = f"the {self.what} raised {type(error).__name__}: {error} {where}"
            if not isinstance(error, INPUT_ERRORS):
                raise ModelError(message) from error
            raise ModelError(
                f"{message}; it received {self.inputs}",
                advice="choose another kind with inputs=",
                option="inputs",
            ) from error

    def _checked(self, output: Any, codes: Codes, columns: tuple[int, ...] | None, where: str) -> Values:
        """Return an output as an array of the right shape, (B,) or (B, k)."""
        names, count = self.outputs, len(codes)
        named = by_name(output)
        array = self._array(output, named, where)
        if array.dtype.kind not in "fiub":
            raise MalformedError(
                f"the {self.what} must return real numbers, got {_kind(output, array)} {where}"
            )
        if names is None:
            self._check_shape(array, (count,), where)
            return array.astype(np.float64)
        # If the output names its columns, they are selected already. Otherwise their order is that of the
        # model's `outputs`, or, if it has none, the order of the names here.
        columns = columns if named is None else None
        width = len(names) if columns is None else len(outputs_of(self.model) or ())
        if width == 1 and array.ndim == 1:
            array = array[:, None]
        self._check_shape(array, (count, width), where)
        if count == width > 1 and named is None and isinstance(output, (list, tuple)):
            self._check_rows(codes, width, where)
        return array.astype(np.float64)[:, list(columns or range(width))]

    def _array(self, output: Any, named: Any, where: str) -> npt.NDArray[Any]:
        """Return an output as an array, with the columns in the order of `outputs` if they have names."""
        names = self.outputs
        listed = "" if named is None else ", ".join(map(repr, named))
        if names is None and named is not None:
            raise MalformedError(
                f"the {self.what} returned several outputs, {listed}, {where}",
                advice="name the outputs to sketch with outputs=[...], or select one with ss.models.select",
                option="outputs",
            )
        if names is not None and named is not None:
            missing = [name for name in names if name not in named]
            if missing:
                raise MalformedError(
                    f"the {self.what} returned outputs {listed}, without {missing[0]!r} {where}"
                )
        try:
            if names is not None and named is not None:
                return np.column_stack([_as_array(named[name]) for name in names])
            return _as_array(output)
        except Exception as error:
            raise MalformedError(f"the {self.what}'s output is not an array: {error} {where}") from error

    def _check_rows(self, codes: Codes, width: int, where: str) -> None:
        """Refuse a list of one array for each output, which for B = k looks like a row for each sequence."""
        single = self._call(codes[:1], where)
        if not (isinstance(single, (list, tuple)) and len(single) == 1 and np.size(single[0]) == width):
            raise MalformedError(
                f"the {self.what}'s output must have one row per sequence, shape (B, {width}); a list of one "
                f"array per output was returned {where}. Stack them with np.column_stack, or return a dict"
            )

    def _check_shape(self, array: npt.NDArray[Any], shape: tuple[int, ...], where: str) -> None:
        if array.shape == shape:
            return
        each = "one number" if len(shape) == 1 or shape[1] == 1 else f"{shape[1]} numbers"
        advice, option = "", None
        if len(shape) == 1 and array.shape == (*shape, 1):
            advice = "return the one column as `output[:, 0]`"
        elif len(shape) == 1 and array.ndim > 1 and len(array) == shape[0]:
            names = outputs_of(self.model)
            listed = list(names) if names else "[...]"
            advice, option = f"return one output for each sequence, or name all: outputs={listed}", "outputs"
        raise MalformedError(
            f"the {self.what} must return {each} for each sequence, shape {shape}, "
            f"got shape {array.shape} {where}",
            advice=advice,
            option=option,
        )


def _as_array(output: Any) -> npt.NDArray[Any]:
    """Return an output as an array, with NaN for masked entries."""
    if isinstance(output, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(output.astype(np.float64), np.nan))
    return np.asarray(output)


def _kind(output: object, array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "c":
        return "complex numbers"
    return f"{type(output).__name__} of dtype {array.dtype}"
