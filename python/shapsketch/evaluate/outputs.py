"""What a model is given, and what it answers, checked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch.errors import ModelError, ShapsketchError
from shapsketch.models._protocol import Model, by_name, check_alphabet, columns_of, outputs_of
from shapsketch.space import Codes, SequenceSpace, Values

# Exceptions that may come from what the model was given.
OF_INPUTS = (TypeError, ValueError, AttributeError, LookupError)


class MalformedError(ModelError):
    """An answer of the wrong form, which would be so again."""


@dataclass(frozen=True)
class Job:
    """The model, ready to be asked, in this process or another."""

    model: Model
    space: SequenceSpace
    inputs: str
    outputs: tuple[str, ...] | None
    what: str

    def __call__(self, codes: Codes, first: int) -> tuple[Values, float]:
        """Return the values of a batch, whose first sequence has this number, and their time."""
        where = (
            f"on queries {first} to {first + len(codes) - 1} "
            f"(the first is {self.space.decode(codes[:1])[0]!r})"
        )
        # Here, as it may be in this process only that the model is.
        check_alphabet(self.model, self.inputs, self.space.alphabet)
        columns = columns_of(self.model, self.outputs)
        started = time.perf_counter()
        output = self._answer(codes, where)
        seconds = time.perf_counter() - started
        return self._checked(output, codes, columns, where), seconds

    def _answer(self, codes: Codes, where: str) -> Any:
        # A copy, as a model may write into what it is given, and the codes are still needed.
        argument: Any = codes.copy()
        if self.inputs == "strings":
            argument = self.space.decode(codes)
        elif self.inputs == "onehot":
            argument = self.space.onehot(codes)
        try:
            return self.model(argument)
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

    def _checked(self, output: Any, codes: Codes, columns: tuple[int, ...] | None, where: str) -> Values:
        """Return a model's output as numbers of the right shape."""
        names, count = self.outputs, len(codes)
        found = by_name(output)
        if names is None and found is not None:
            raise MalformedError(
                f"the {self.what} returned outputs with the names {', '.join(map(repr, found))} {where}; "
                "name those to sketch with outputs=[...], or take one by ss.models.select"
            )
        if names is not None and found is not None:
            missing = [name for name in names if name not in found]
            if missing:
                raise MalformedError(
                    f"the {self.what} returned outputs {', '.join(map(repr, found))}, without "
                    f"{missing[0]!r} {where}"
                )
        try:
            if names is not None and found is not None:
                array: npt.NDArray[Any] = np.column_stack([_array(found[name]) for name in names])
            else:
                array = _array(output)
        except Exception as error:
            raise MalformedError(f"the {self.what}'s output is no array: {error} {where}") from error
        if array.dtype.kind not in "fiub":
            raise MalformedError(
                f"the {self.what} must return real numbers, got {_kind(output, array)} {where}"
            )
        if names is None:
            self._has_shape(array, (count,), where)
            return array.astype(np.float64)
        # Without names of their own, columns are as the model has said, or else as they are called here.
        columns = columns if found is None else None
        width = len(names) if columns is None else len(outputs_of(self.model) or ())
        if width == 1 and array.ndim == 1:
            array = array[:, None]
        self._has_shape(array, (count, width), where)
        if count == width > 1 and found is None and isinstance(output, (list, tuple)):
            # Rows of sequences, or one array for each output? A single sequence tells.
            alone = self._answer(codes[:1], where)
            if not (isinstance(alone, (list, tuple)) and len(alone) == 1 and np.size(alone[0]) == width):
                raise MalformedError(
                    f"the {self.what} must return a row for each sequence, shape (B, {width}), and for a "
                    f"single one it did not {where}: make one of an array for each output by "
                    "np.column_stack, or return a dictionary of them"
                )
        return array.astype(np.float64)[:, list(columns or range(width))]

    def _has_shape(self, array: npt.NDArray[Any], shape: tuple[int, ...], where: str) -> None:
        if array.shape == shape:
            return
        each = "one number" if len(shape) == 1 or shape[1] == 1 else f"{shape[1]} numbers"
        hint = ""
        if len(shape) == 1 and array.shape == (*shape, 1):
            hint = "; return the one column as `output[:, 0]`"
        elif len(shape) == 1 and array.ndim > 1 and len(array) == shape[0]:
            said = outputs_of(self.model)
            hint = (
                "; choose one output for each sequence, or name all of them: "
                f"outputs={list(said) if said else '[...]'}"
            )
        raise MalformedError(
            f"the {self.what} must return {each} for each sequence, shape {shape}, "
            f"got shape {array.shape} {where}{hint}"
        )


def _array(output: Any) -> npt.NDArray[Any]:
    """Return an output as an array; what is masked is no number."""
    if isinstance(output, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(output.astype(np.float64), np.nan))
    return np.asarray(output)


def _kind(output: object, array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "c":
        return "complex numbers"
    return f"{type(output).__name__} of dtype {array.dtype}"
