"""One call of the model: a batch of codes in, an array of checked numbers out.

This is the only module that calls a model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import listed, not_real, shown_number
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
    earlier : int
        Queries of the same sketch that were evaluated before, which error messages count.
    """

    model: Model
    space: SequenceSpace
    inputs: str
    outputs: tuple[str, ...] | None = None
    what: str = "model"
    earlier: int = 0

    def __call__(self, codes: Codes, first: int) -> tuple[Values, float]:
        """Return the values of a batch and the seconds of the call; `first` is the index of its first row."""
        first += self.earlier
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
        return self._checked(output, codes, columns, first, where), seconds

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

    def _checked(
        self, output: Any, codes: Codes, columns: tuple[int, ...] | None, first: int, where: str
    ) -> Values:
        """Return an output as an array of the right shape, (B,) or (B, k)."""
        names, count = self.outputs, len(codes)
        named = by_name(output)
        if named is not None:
            # The columns are selected by their names.
            return self._by_name(named, codes, first, where)
        array = self._real(output, codes, first, where)
        if names is None:
            self._check_shape(array, (count,), where)
            return array.astype(np.float64)
        # The order of the columns is that of the model's `outputs`, or, if it has none, of the names here.
        width = len(names) if columns is None else len(outputs_of(self.model) or ())
        if width == 1 and array.ndim == 1:
            array = array[:, None]
        self._check_shape(array, (count, width), where)
        if count == width > 1 and isinstance(output, (list, tuple)):
            self._check_rows(codes, width, where)
        return array.astype(np.float64)[:, list(columns or range(width))]

    def _by_name(self, named: Mapping[Any, Any], codes: Codes, first: int, where: str) -> Values:
        """Return the requested columns (B, k) of an output whose columns have names."""
        if self.outputs is None:
            raise self._named_outputs(named, codes, where)
        columns = []
        for name in self.outputs:
            if name not in named:
                self._check_keys(named, codes, where)
                raise MalformedError(
                    f"the {self.what} returned the outputs {listed(named)}, without {name!r} {where}"
                )
            column = self._real(named[name], codes, first, where, f"the output {name!r}")
            if column.shape not in ((len(codes),), (len(codes), 1)):
                raise MalformedError(
                    f"the {self.what} must return one number for each sequence, shape ({len(codes)},), got "
                    f"shape {column.shape} for the output {name!r} {where}"
                )
            columns.append(column.astype(np.float64).reshape(-1))
        return np.stack(columns, axis=1)

    def _named_outputs(self, named: Mapping[Any, Any], codes: Codes, where: str) -> MalformedError:
        """Return the error for named columns, of which none was requested."""
        self._check_keys(named, codes, where)
        columns = _numeric(named) or list(named)
        what = "several outputs" if len(named) > 1 else "an output with a name"
        advice = f"select one with ss.models.select(model, {columns[-1]!r})"
        if len(columns) > 1:
            advice += f", or sketch each of them with {_sketch_outputs(columns)}"
        return MalformedError(
            f"the {self.what} returned {what}, {listed(named)}, {where}",
            advice=advice if self.what == "model" else "return one array of numbers",
            option="outputs",
        )

    def _check_keys(self, named: Mapping[Any, Any], codes: Codes, where: str) -> None:
        """Refuse a mapping of sequences to values."""
        if any(sequence in named for sequence in self.space.decode(codes)):
            raise MalformedError(
                f"the {self.what} returned a mapping whose keys are the sequences {where}; return the values "
                "alone, in the order of the sequences, such as [scores[s] for s in sequences]"
            )

    def _real(self, output: Any, codes: Codes, first: int, where: str, subject: str = "") -> npt.NDArray[Any]:
        """Return an output, or the column of it that `subject` names, as an array of real numbers."""
        try:
            array = _as_array(output)
        except Exception as error:
            raise MalformedError(f"the {self.what}'s output is not an array: {error} {where}") from error
        if array.dtype.kind in "fiub":
            return array
        wrong = not_real(output, array) if array.ndim and len(array) == len(codes) else None
        example = ""
        if wrong is not None and array.dtype.kind != "c":
            (row, *_), entry = wrong
            sequence = self.space.decode(codes[row : row + 1])[0]
            example = f": {shown_number(entry)} for query {first + row}, {sequence!r}"
            if isinstance(entry, Mapping):
                example += "; return a dict with one array for each output"
        of = f" for {subject}" if subject else ""
        raise MalformedError(
            f"the {self.what} must return real numbers, got {_kind(output, array)}{of} {where}{example}"
        )

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
        elif len(shape) == 1 and array.ndim == 2 and len(array) == shape[0]:
            advice = "return one output for each sequence, such as output[:, 0]"
            if self.what == "model":
                names = outputs_of(self.model) or [f"output {i}" for i in range(array.shape[1])]
                advice += f", or sketch each of them with {_sketch_outputs(names)}"
            option = "outputs"
        raise MalformedError(
            f"the {self.what} must return {each} for each sequence, shape {shape}, "
            f"got shape {array.shape} {where}",
            advice=advice,
            option=option,
        )


def _sketch_outputs(names: Sequence[object]) -> str:
    """Return a call, for a message, that sketches every output."""
    return f"ss.sketch_outputs(model, space, outputs=[{listed(names)}], ...)"


def _numeric(named: Any) -> list[Any]:
    """Return the names of the columns that have real numbers."""
    try:
        return [name for name in named if _as_array(named[name]).dtype.kind in "fiub"]
    except Exception:
        return []


def _as_array(output: Any) -> npt.NDArray[Any]:
    """Return an output as an array, with NaN for masked entries."""
    if isinstance(output, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(output.astype(np.float64), np.nan))
    return np.asarray(output)


def _kind(output: object, array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "c":
        return "complex numbers"
    return f"{type(output).__name__} of dtype {array.dtype}"
