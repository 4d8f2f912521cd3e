"""What a model is given, and what it answers, checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._check import choice
from shapsketch._errors import InputError, ModelError, ShapsketchError
from shapsketch.space import Codes, SequenceSpace

Inputs: TypeAlias = Literal["strings", "codes", "onehot"]
INPUTS = ("strings", "codes", "onehot")
Model: TypeAlias = Callable[[Any], Any]
Array: TypeAlias = npt.NDArray[np.float64]
# Exceptions that may come from what the model was given.
OF_INPUTS = (TypeError, ValueError, AttributeError, LookupError)


class MalformedError(ModelError):
    """An answer of the wrong form, which would be so again."""


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


def outputs_of(model: object) -> tuple[str, ...] | None:
    """Return the names of a model's outputs, if it tells them."""
    names = getattr(model, "outputs", None)
    if isinstance(names, (tuple, list)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def check_alphabet(model: object, inputs: str, alphabet: str) -> None:
    """Refuse an adapter whose codes are of another alphabet (``alphabet_of_codes``) than those it will get.

    Raises
    ------
    InputError
    """
    if inputs == "strings":
        return
    own = getattr(model, "alphabet_of_codes", None)
    if isinstance(own, str) and _coded(own) != _coded(alphabet):
        raise InputError(
            f"the codes of {type(model).__name__.strip('_')} are of the alphabet {own!r} and would be taken "
            f"for other symbols of {alphabet!r}; give it alphabet={alphabet!r}"
        )


def _coded(alphabet: str) -> str:
    """Return what tells the codes of an alphabet: neither case, nor whether it is that of DNA or RNA."""
    upper = alphabet.upper()
    return upper.replace("U", "T") if set(upper) <= set("ACGU") else upper


def _columns(model: object, outputs: tuple[str, ...] | None) -> tuple[int, ...] | None:
    """Return where the wanted outputs are among those that a model names, if it does."""
    said = None if outputs is None else outputs_of(model)
    if outputs is None or said is None:
        return None
    for name in outputs:
        if name not in said:
            near = get_close_matches(name, said, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"outputs: {name!r} is none of the model's, which calls them "
                f"{', '.join(map(repr, said))}{hint}"
            )
    return tuple(said.index(name) for name in outputs)


@dataclass(frozen=True)
class Job:
    """The model, ready to be asked, in this process or another."""

    model: Model
    space: SequenceSpace
    inputs: str
    outputs: tuple[str, ...] | None
    what: str

    def __call__(self, codes: Codes, first: int) -> tuple[Array, float]:
        """Return the values of a batch, whose first sequence has this number, and their time."""
        where = (
            f"on queries {first} to {first + len(codes) - 1} "
            f"(the first is {self.space.decode(codes[:1])[0]!r})"
        )
        # Here, as it may be in this process only that the model is.
        check_alphabet(self.model, self.inputs, self.space.alphabet)
        columns = _columns(self.model, self.outputs)
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
            argument = np.eye(self.space.q, dtype=np.float32)[codes]
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

    def _checked(self, output: Any, codes: Codes, columns: tuple[int, ...] | None, where: str) -> Array:
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


def by_name(output: Any) -> Mapping[Any, Any] | None:
    """Return outputs that have names by these: of mappings, data frames, tables and records."""
    if isinstance(output, Mapping):
        return output
    fields = getattr(output, "_fields", None)
    if fields is not None:
        # A record of arrays; then a list of records.
        return dict(zip(fields, output, strict=True))
    if isinstance(output, (list, tuple)):
        fields = getattr(output[0], "_fields", None) if output else None
        return None if fields is None else dict(zip(fields, zip(*output, strict=True), strict=True))
    names = getattr(getattr(output, "dtype", None), "names", None)
    # Those of pyarrow; then those of pandas and polars.
    names = names or getattr(output, "column_names", None) or getattr(output, "columns", None)
    if names is None or not hasattr(output, "__getitem__"):
        return None
    return {name: output[name] for name in names}


def _array(output: Any) -> npt.NDArray[Any]:
    """Return an output as an array; what is masked is no number."""
    if isinstance(output, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(output.astype(np.float64), np.nan))
    return np.asarray(output)


def _kind(output: object, array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "c":
        return "complex numbers"
    return f"{type(output).__name__} of dtype {array.dtype}"
