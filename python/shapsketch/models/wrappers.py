"""Adapters around another model: template, reverse complement, selection of an output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._validate import array_of, choice, integer, items, listed, shown, string
from shapsketch.errors import InputError, ModelError
from shapsketch.models._base import Numbers, as_values
from shapsketch.models._protocol import Inputs, Model, by_name, check_alphabet, inputs_of, outputs_of
from shapsketch.space import DNA, SequenceSpace

Combine: TypeAlias = Literal["mean", "max", "min"] | Callable[[Any, Any], Any]
# Amino acids whose symbol is neither a nucleotide nor an ambiguity code of nucleotides.
ONLY_AMINO = "EFILPQ"
# The complement of each nucleotide; for A it is T, or U in an alphabet with U.
COMPLEMENTS = dict(zip("ACGTUacgtu", "TGCAAtgcaa", strict=True))


def template(
    model: Model,
    template: str,
    free: str = "N",
    *,
    positions: Iterable[int] | None = None,
    alphabet: str | None = None,
    inputs: Inputs | None = None,
) -> _Template:
    """Vary only the free positions of a template; all other positions keep their symbols.

    The space to sketch has only the free positions: ``SequenceSpace(alphabet, model.length)``. Its position
    ``i`` is the position ``model.positions[i]`` of the template.

    Parameters
    ----------
    model : callable
        Takes whole sequences.
    template : str
        A sequence of any length.
    free : str
        The symbol that marks free positions.
    positions : list of int or of bool, optional
        The free positions, instead of marks: increasing integers from 0, or a mask. The symbols of the
        template at these positions do not matter, so it may be a wild type.
    alphabet : str, optional
        Required if the model takes codes or one-hot arrays, to encode the constant positions. If it is given,
        all constant symbols must belong to it.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it declares, or strings.

    Raises
    ------
    InputError
        If no position is free, the alphabet is missing or contains the symbol that marks free positions, or a
        constant symbol is not in the alphabet.

    Examples
    --------
    >>> import shapsketch as ss
    >>> from shapsketch import models
    >>> def tata(sequences):
    ...     return [float("TATA" in s) for s in sequences]
    >>> model = models.template(tata, "GGCTANNGGC")
    >>> model.length, model.positions.tolist()
    (2, [5, 6])
    >>> model(["TA", "AT"])
    [1.0, 0.0]
    >>> sketch = ss.sketch(model, ss.SequenceSpace(ss.DNA, model.length), budget=16, progress=False)
    >>> sketch.predict(["TA"]).round(6)
    array([1.])
    """
    kind = inputs_of(model, inputs)
    if not string("template", template):
        raise InputError("template must be a string with free positions, got ''")
    if alphabet is not None:
        SequenceSpace(alphabet, 1)
    elif kind != "strings":
        raise InputError(
            f"the model takes {kind}, so its template needs an alphabet; pass that of the space as alphabet="
        )
    if positions is not None:
        indices = _indices(positions, len(template))
    elif len(string("free", free)) != 1:
        raise InputError(f"free must be one symbol, got {free!r}")
    elif alphabet is not None and free in alphabet:
        raise InputError(
            f"free positions cannot be marked with {free!r}, a symbol of the alphabet {alphabet!r}; choose "
            "another symbol, or pass positions="
        )
    else:
        indices = np.flatnonzero([symbol == free for symbol in template])
        if not len(indices):
            raise InputError(
                f"the template has no free position: none of its symbols is {free!r}; mark free positions "
                "with it, or pass free= or positions="
            )
        _check_marks(template, free, alphabet)
    # Also without codes, because a symbol that is not in the alphabet may be a mark that was overlooked.
    codes = None if alphabet is None else _codes(template, set(indices.tolist()), alphabet)
    ends = [-1, *indices.tolist(), len(template)]
    constants = tuple(template[start + 1 : stop] for start, stop in pairwise(ends))
    if codes is not None and alphabet is not None:
        check_alphabet(model, kind, alphabet)
    if kind == "strings":
        codes = None
    return _Template(model, constants, indices, codes, alphabet or "", kind, outputs_of(model))


def _check_marks(template: str, free: str, alphabet: str | None) -> None:
    """Refuse a template in which the mark of free positions is ambiguous."""
    other = free.swapcase()
    if other != free and other in template:
        raise InputError(
            f"template: {other!r} at position {template.index(other)} is constant, but {free!r} marks free "
            "positions; use the same case for all of them, or pass positions="
        )
    amino = [symbol for symbol in template if symbol in ONLY_AMINO]
    if free == "N" and alphabet is None and amino:
        raise InputError(
            f"template: {amino[0]!r} is an amino acid, so 'N' may be asparagine; mark free positions with "
            "another symbol (free=), or pass positions="
        )


def _indices(positions: Iterable[Any], length: int) -> Numbers:
    """Return the free positions, checked, from integers or a mask."""
    indices = array_of("positions", items("positions", positions, "integers"))
    if indices.dtype.kind == "b":
        if indices.shape != (length,):
            raise InputError(
                f"positions: the mask has {indices.size} entries, but the template has {length} symbols"
            )
        indices = np.flatnonzero(indices)
    if not indices.size:
        raise InputError("positions: there is no free position; mark or list at least one")
    if indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise InputError("positions must be a list of integers, or a mask")
    if indices.min() < 0 or indices.max() >= length:
        wrong = indices[(indices < 0) | (indices >= length)][0]
        raise InputError(
            f"positions: {wrong} is out of range, the template has the positions 0 to {length - 1}"
        )
    if (np.diff(indices.astype(np.int64)) <= 0).any():
        raise InputError(f"positions must be increasing, got {indices.tolist()}")
    return indices.astype(np.int64)


def _codes(template: str, free: set[int], alphabet: str) -> Numbers:
    """Return the codes of a template, with 0 at free positions."""
    table = {symbol: code for code, symbol in enumerate(alphabet)}
    codes = np.zeros(len(template), dtype=np.uint8)
    for position, symbol in enumerate(template):
        if position not in free:
            code = table.get(symbol, table.get(symbol.upper()))
            if code is None:
                raise InputError(
                    f"template: symbol {symbol!r} at position {position} is neither free nor in the alphabet "
                    f"{alphabet!r}"
                )
            codes[position] = code
    return codes


@dataclass(frozen=True, eq=False)
class _Template:
    model: Model
    constants: tuple[str, ...]
    positions: Numbers
    codes: Numbers | None
    alphabet: str
    inputs: str
    outputs: tuple[str, ...] | None

    @property
    def alphabet_of_codes(self) -> str:
        """The alphabet of its codes; empty if it has none."""
        return self.alphabet

    @property
    def length(self) -> int:
        """Number of free positions."""
        return len(self.positions)

    def __call__(self, batch: Any) -> Any:
        if self.inputs == "strings":
            return self.model([self._whole(sequence) for sequence in batch])
        self._check_length(np.shape(batch)[1], "every sequence of the batch")
        assert self.codes is not None
        q = len(self.alphabet)
        if self.inputs == "onehot" and np.shape(batch)[2] != q:
            raise InputError(
                f"the template's alphabet has {q} symbols, but the one-hot array has {np.shape(batch)[2]}; "
                "the space must have the same alphabet"
            )
        free = np.asarray(batch)
        constant = self.codes.astype(free.dtype)
        if self.inputs == "onehot":
            constant = np.eye(q, dtype=free.dtype)[self.codes]
        whole = np.repeat(constant[None], len(free), axis=0)
        whole[:, self.positions] = free
        return self.model(whole)

    def _whole(self, sequence: str) -> str:
        """Return the template with these symbols at the free positions."""
        self._check_length(len(sequence), repr(sequence))
        pieces = [self.constants[0]]
        for symbol, constant in zip(sequence, self.constants[1:], strict=True):
            pieces += (symbol, constant)
        return "".join(pieces)

    def _check_length(self, length: int, subject: str) -> None:
        if length != self.length:
            raise InputError(
                f"the template has {self.length} free positions, and {subject} has {length} symbols; the "
                f"space must be SequenceSpace(alphabet, {self.length})"
            )


def reverse_complement(
    model: Model, alphabet: str = DNA, combine: Combine = "mean", *, inputs: Inputs | None = None
) -> _ReverseComplement:
    """Evaluate a model on both strands: on each sequence and on its reverse complement.

    Put it inside a template, so that whole sequences are reversed:
    ``template(reverse_complement(model), ...)``.

    Parameters
    ----------
    model : callable
    alphabet : str
        The alphabet of the space: symbols of ACGT, or of ACGU, each with its complement.
    combine : {"mean", "max", "min"} or callable
        How to combine the two values. A function receives the values of all sequences, and the values of all
        reverse complements.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it declares, or strings.

    Raises
    ------
    InputError
        If a symbol of the alphabet has no complement in it, or the model is a template.

    Examples
    --------
    >>> from shapsketch import models
    >>> def starts_with_a(sequences):
    ...     return [float(s.startswith("A")) for s in sequences]
    >>> models.reverse_complement(starts_with_a)(["AC", "GT", "CC", "AT"])
    array([0.5, 0.5, 0. , 1. ])
    """
    kind = inputs_of(model, inputs)
    if isinstance(model, _Template):
        raise InputError(
            "the reverse complement of a template would reverse only its free positions; put it inside: "
            "template(reverse_complement(model), ...)"
        )
    if not callable(combine):
        choice("combine", combine, ("mean", "max", "min"))
    SequenceSpace(alphabet, 1)
    complements = dict(COMPLEMENTS)
    if "U" in alphabet.upper():
        complements |= {"A": "U", "a": "u"}
    if not set(alphabet) <= set(COMPLEMENTS) or {"T", "U"} <= set(alphabet.upper()):
        raise InputError(f"only alphabets of the symbols ACGT or ACGU have complements, got {alphabet!r}")
    for symbol in alphabet:
        if complements[symbol] not in alphabet:
            raise InputError(
                f"the alphabet {alphabet!r} has {symbol!r} without its complement {complements[symbol]!r}"
            )
    order = tuple(alphabet.index(complements[symbol]) for symbol in alphabet)
    check_alphabet(model, kind, alphabet)
    return _ReverseComplement(model, alphabet, combine, order, kind, outputs_of(model))


@dataclass(frozen=True, eq=False)
class _ReverseComplement:
    model: Model
    alphabet: str
    combine: Combine
    order: tuple[int, ...]
    inputs: str
    outputs: tuple[str, ...] | None

    @property
    def alphabet_of_codes(self) -> str:
        """The alphabet of its codes, if it takes codes or one-hot arrays."""
        return self.alphabet

    def __call__(self, batch: Any) -> Any:
        # Reverse first: an error about the alphabet must come before the model is evaluated.
        reverse = self._reversed(batch)
        forward_output, reverse_output = self.model(batch), self.model(reverse)
        forward_columns, reverse_columns = by_name(forward_output), by_name(reverse_output)
        if forward_columns is not None and reverse_columns is not None:
            return {
                name: self._combined(forward_columns[name], reverse_columns[name]) for name in forward_columns
            }
        return self._combined(forward_output, reverse_output)

    def _combined(self, forward: Any, reverse: Any) -> Any:
        forward, reverse = np.asarray(forward, dtype=np.float64), np.asarray(reverse, dtype=np.float64)
        if callable(self.combine):
            return self.combine(forward, reverse)
        if self.combine == "mean":
            return (forward + reverse) / 2
        return np.maximum(forward, reverse) if self.combine == "max" else np.minimum(forward, reverse)

    def _reversed(self, batch: Any) -> Any:
        """Return the reverse complements of a batch."""
        if self.inputs == "strings":
            return self._reversed_strings(batch)
        array = np.asarray(batch)
        order, q = np.array(self.order), len(self.order)
        onehot = array.ndim == 3
        symbols = array.shape[2] if onehot else int(array.max(initial=0)) + 1
        if symbols > q or (onehot and symbols != q):
            raise InputError(
                f"the space has at least {symbols} symbols, but the alphabet of the reverse complement has "
                f"{q}, {self.alphabet!r}; pass the alphabet of the space as alphabet="
            )
        backward = array[:, ::-1]
        return np.ascontiguousarray(backward[..., order] if onehot else order[backward].astype(array.dtype))

    def _reversed_strings(self, batch: Any) -> list[str]:
        table = {
            symbol: self.alphabet[index] for symbol, index in zip(self.alphabet, self.order, strict=True)
        }
        # Constant positions may have N for an unknown base, which is its own complement.
        table |= {symbol: symbol for symbol in "Nn" if symbol not in table}
        wrong = set().union(*batch) - set(table)
        if wrong:
            raise InputError(
                f"{min(wrong)!r} has no complement in the alphabet {self.alphabet!r}; pass the alphabet of "
                "the sequences as alphabet="
            )
        translation = str.maketrans(table)
        return [sequence[::-1].translate(translation) for sequence in batch]


def select(model: Model, output: int | str, *, inputs: Inputs | None = None) -> _Select:
    """Select one output of a model with several.

    Parameters
    ----------
    model : callable
        Returns (B, k), or a mapping of names to arrays (B,).
    output : int or str
        Index of the output, from 0, or its name.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it declares, or strings.

    Raises
    ------
    InputError
        If the model declares its outputs, and this is not one of them.

    Examples
    --------
    >>> from shapsketch import models
    >>> def model(sequences):
    ...     return {"length": [len(s) for s in sequences], "g": [s.count("G") for s in sequences]}
    >>> models.select(model, "g")(["ACGT", "GGGG"])
    array([1, 4])
    """
    kind = inputs_of(model, inputs)
    names = outputs_of(model)
    if isinstance(output, str):
        output = string("output", output)
        if names is not None:
            choice("output", output, names)
    else:
        if not isinstance(output, Integral):
            raise InputError(f"output must be the index or the name of an output, got {shown(output)}")
        output = integer("output", output, least=0)
        if names is not None and output >= len(names):
            raise InputError(
                f"output {output} is out of range, the model has {len(names)} outputs: {listed(names)}"
            )
    return _Select(model, output, names, kind)


@dataclass(frozen=True, eq=False)
class _Select:
    model: Model
    output: int | str
    names: tuple[str, ...] | None
    inputs: str
    outputs: tuple[str, ...] | None = None

    @property
    def alphabet_of_codes(self) -> str | None:
        """The alphabet of the codes that the model takes, if it declares one."""
        return getattr(self.model, "alphabet_of_codes", None)

    def __call__(self, batch: Any) -> Numbers:
        output = self.model(batch)
        columns = by_name(output)
        if columns is not None:
            name, names = self.output, self.names or tuple(columns)
            if isinstance(name, int) and name < len(names):
                name = names[name]
            if name not in columns:
                raise ModelError(f"the model returned the outputs {listed(columns)}, without {name!r}")
            return as_values(columns[name], len(batch), "model")
        index = self.output
        if isinstance(index, str):
            if self.names is None:
                raise ModelError(
                    f"the output {index!r} is unknown, because the model does not name its outputs; pass its "
                    "index, from 0"
                )
            index = self.names.index(index)
        return as_values(output, len(batch), "model", index)
