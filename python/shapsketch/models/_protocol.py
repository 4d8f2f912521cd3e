"""What a model declares: its inputs, the names of its outputs, the alphabet of its codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from shapsketch._validate import choice, items, listed, string, suggestion
from shapsketch.errors import InputError

Inputs: TypeAlias = Literal["strings", "codes", "onehot"]
INPUTS = ("strings", "codes", "onehot")
Model: TypeAlias = Callable[[Any], Any]
# Networks of other libraries: the library, its class, and the adapter.
_NETWORKS = [("torch", "nn.Module", "torch"), ("keras", "Model", "keras")]


def inputs_of(model: Model, inputs: Inputs | None) -> str:
    """Return the inputs of a model: `inputs` if it is not None, else what the model declares, else strings.

    Raises
    ------
    InputError
        If the model is not callable, needs an adapter, or `inputs` is not one of the three kinds.
    """
    _refuse_bare(model)
    if not callable(model):
        raise InputError(f"model must be a callable, got {type(model).__name__}")
    if inputs is None:
        declared = getattr(model, "inputs", None)
        # Models of other libraries use this attribute for something else, such as tensors.
        return declared if isinstance(declared, str) and declared in INPUTS else "strings"
    return choice("inputs", inputs, INPUTS)


def _refuse_bare(model: object) -> None:
    """Refuse models of other libraries, which take tensors or features and not a batch of sequences.

    A network that takes a batch of sequences itself declares it by its attribute ``inputs``.

    Raises
    ------
    InputError
        If it is such a model; the message names its adapter.
    """
    declared = getattr(model, "inputs", None)
    if isinstance(model, type) or (isinstance(declared, str) and declared in INPUTS):
        return
    name = type(model).__name__
    for library, base, adapter in _NETWORKS:
        kind: Any = sys.modules.get(library)
        for part in base.split("."):
            kind = getattr(kind, part, None)
        if isinstance(kind, type) and isinstance(model, kind):
            raise InputError(
                f"model is a {library} model, {name}, which takes tensors and not sequences",
                advice=f"pass ss.models.{adapter}(model); if it takes a list of str itself, pass "
                "lambda batch: model(batch)",
                option="model",
            )
    if not callable(model) and callable(getattr(model, "predict", None)):
        adapter = "sklearn" if callable(getattr(model, "get_params", None)) else "booster"
        raise InputError(
            f"model is a {name}, which predicts from features and not from sequences",
            advice=f"pass ss.models.{adapter}(model), or convert an ensemble of trees exactly by "
            "ss.from_trees",
            option="model",
        )


def named_outputs(outputs: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of outputs, checked; None for a single output without a name.

    Raises
    ------
    InputError
        If the list is empty, a name is not a string or is empty, or a name occurs twice.
    """
    if outputs is None:
        return None
    names = tuple(items("outputs", outputs, "names"))
    if not names:
        raise InputError("outputs: the list of names is empty; omit it for a model with one output")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(f"outputs: name {index} is {name!r}, expected a string with at least one symbol")
        string(f"outputs: name {index}", name)
        if name in names[:index]:
            raise InputError(f"outputs: the name {name!r} occurs twice; give each output its own name")
    return names


def outputs_of(model: object) -> tuple[str, ...] | None:
    """Return the names of the outputs that a model declares; None if it declares none."""
    names = getattr(model, "outputs", None)
    if isinstance(names, (tuple, list)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def check_alphabet(model: object, inputs: str, alphabet: str) -> None:
    """Refuse an adapter that declares another alphabet of its codes than `alphabet`.

    An adapter declares it as ``alphabet_of_codes``.

    Raises
    ------
    InputError
        If the same codes would mean other symbols.
    """
    if inputs == "strings":
        return
    declared = getattr(model, "alphabet_of_codes", None)
    if isinstance(declared, str) and _as_dna(declared) != _as_dna(alphabet):
        raise InputError(
            f"{type(model).__name__.strip('_')} uses the codes of the alphabet {declared!r}, which mean "
            f"other symbols in the alphabet {alphabet!r}; create the adapter with alphabet={alphabet!r}"
        )


def _as_dna(alphabet: str) -> str:
    """Return an alphabet in upper case, and an RNA alphabet with T for U: neither changes codes."""
    upper = alphabet.upper()
    return upper.replace("U", "T") if set(upper) <= set("ACGU") else upper


def columns_of(model: object, outputs: tuple[str, ...] | None) -> tuple[int, ...] | None:
    """Return the indices of `outputs` among the outputs that a model declares.

    The result is None if `outputs` is None or the model declares no names.

    Raises
    ------
    InputError
        If the model declares names, and one of `outputs` is not among them.
    """
    declared = None if outputs is None else outputs_of(model)
    if outputs is None or declared is None:
        return None
    for name in outputs:
        if name not in declared:
            raise InputError(
                f"outputs: the model has no output {name!r}, its outputs are "
                f"{listed(declared)}{suggestion(name, declared)}"
            )
    return tuple(declared.index(name) for name in outputs)


def by_name(output: Any) -> Mapping[Any, Any] | None:
    """Return an output with named columns as a mapping of names to columns; None if it has no names.

    Names may come from a mapping, a named tuple of arrays, a list of named tuples, a structured array, or a
    table of pandas, polars or pyarrow.
    """
    if isinstance(output, Mapping):
        return output
    fields = getattr(output, "_fields", None)
    if fields is not None:
        # A named tuple of arrays.
        return dict(zip(fields, output, strict=True))
    if isinstance(output, (list, tuple)):
        # A list of named tuples, one for each sequence.
        fields = getattr(output[0], "_fields", None) if output else None
        return None if fields is None else dict(zip(fields, zip(*output, strict=True), strict=True))
    names = getattr(getattr(output, "dtype", None), "names", None)
    # pyarrow has `column_names`; pandas and polars have `columns`.
    names = names or getattr(output, "column_names", None) or getattr(output, "columns", None)
    if names is None or not hasattr(output, "__getitem__"):
        return None
    return {name: output[name] for name in names}
