"""What a model and an adapter tell of themselves: inputs, outputs, alphabet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

from shapsketch._validate import choice
from shapsketch.errors import InputError

Inputs: TypeAlias = Literal["strings", "codes", "onehot"]
INPUTS = ("strings", "codes", "onehot")
Model: TypeAlias = Callable[[Any], Any]


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


def columns_of(model: object, outputs: tuple[str, ...] | None) -> tuple[int, ...] | None:
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
