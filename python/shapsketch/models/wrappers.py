"""Adapters around a model: of templates, of both strands, of one output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._validate import choice, integer
from shapsketch.errors import InputError, ModelError
from shapsketch.models._base import Numbers, answers
from shapsketch.models._protocol import Inputs, Model, by_name, check_alphabet, inputs_of, outputs_of
from shapsketch.space import DNA, SequenceSpace

Combine: TypeAlias = Literal["mean", "max", "min"] | Callable[[Any, Any], Any]
# Amino acids whose letters mean no nucleotides, nor several of them.
ONLY_AMINO = "EFILPQ"
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
    """Ask a model about the free positions of a template; everything else stays as it is.

    The space to sketch is that of the free positions only, ``SequenceSpace(alphabet, model.length)``; its
    position ``i`` is ``model.positions[i]`` of the template.

    Parameters
    ----------
    model : callable
        Of whole sequences.
    template : str
        Of any length.
    free : str
        The symbol that marks free positions.
    positions : list of int or of bool, optional
        The free positions instead: increasing numbers from 0, or a mask. What the template has there does not
        matter, so it may be a wild type.
    alphabet : str, optional
        Of models on codes and one-hot arrays, which need the codes of the constant positions.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it says itself, or strings.

    Raises
    ------
    InputError
        If no position is free, the alphabet is missing or has the symbol that marks free positions, or a
        constant symbol is not of it.

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
    takes = inputs_of(model, inputs)
    if not isinstance(template, str) or not template:
        raise InputError(f"template must be a string with free positions, got {template!r}")
    if alphabet is not None:
        SequenceSpace(alphabet, 1)
    elif takes != "strings":
        raise InputError(
            f"a template of a model on {takes} needs its alphabet; give alphabet=, as of the space"
        )
    if positions is not None:
        where = _positions(positions, len(template))
    elif not isinstance(free, str) or len(free) != 1:
        raise InputError(f"free must be one symbol, got {free!r}")
    elif alphabet is not None and free in alphabet:
        raise InputError(
            f"free positions cannot be marked with {free!r}, a symbol of the alphabet {alphabet!r}; choose "
            "another, or give positions="
        )
    else:
        where = np.flatnonzero([symbol == free for symbol in template])
        if not len(where):
            raise InputError(f"the template has no free position: none of its symbols is {free!r}")
        _unmistaken(template, free, alphabet)
    codes = None
    if takes != "strings" and alphabet is not None:
        codes = _constants(template, set(where.tolist()), alphabet)
    ends = [-1, *where.tolist(), len(template)]
    constants = tuple(template[start + 1 : stop] for start, stop in pairwise(ends))
    if codes is not None and alphabet is not None:
        check_alphabet(model, takes, alphabet)
    return _Template(model, constants, where, codes, alphabet or "", takes, outputs_of(model))


def _unmistaken(template: str, free: str, alphabet: str | None) -> None:
    """Refuse marks of free positions that may be meant otherwise."""
    other = free.swapcase()
    if other != free and other in template:
        raise InputError(
            f"template: {other!r} at position {template.index(other)} is constant beside the free {free!r}; "
            "write all free ones alike, or give positions="
        )
    amino = [symbol for symbol in template if symbol in ONLY_AMINO]
    if free == "N" and alphabet is None and amino:
        raise InputError(
            f"template: {amino[0]!r} is an amino acid, and so is 'N'; mark free positions with another "
            "symbol (free=), or give positions="
        )


def _positions(positions: Iterable[Any], length: int) -> Numbers:
    given = np.asarray(list(positions))
    if given.dtype.kind == "b":
        if given.shape != (length,):
            raise InputError(
                f"positions: the mask has {given.size} entries, and the template {length} symbols"
            )
        given = np.flatnonzero(given)
    if not given.size:
        raise InputError("positions: none is free")
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise InputError("positions must be a list of integers, or a mask")
    if given.min() < 0 or given.max() >= length:
        wrong = given[(given < 0) | (given >= length)][0]
        raise InputError(f"positions: {wrong} is not of the template, whose positions are 0 to {length - 1}")
    if (np.diff(given.astype(np.int64)) <= 0).any():
        raise InputError(f"positions must be increasing, got {given.tolist()}")
    return given.astype(np.int64)


def _constants(template: str, free: set[int], alphabet: str) -> Numbers:
    """Return the codes of a template, 0 at free positions."""
    table = {symbol: code for code, symbol in enumerate(alphabet)}
    codes = np.zeros(len(template), dtype=np.uint8)
    for at, symbol in enumerate(template):
        if at not in free:
            code = table.get(symbol, table.get(symbol.upper()))
            if code is None:
                raise InputError(
                    f"template: symbol {symbol!r} at position {at} is neither free nor of the alphabet "
                    f"{alphabet!r}"
                )
            codes[at] = code
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
        """The alphabet whose codes it takes, if it takes codes."""
        return self.alphabet

    @property
    def length(self) -> int:
        """Number of free positions."""
        return len(self.positions)

    def __call__(self, batch: Any) -> Any:
        if self.inputs == "strings":
            return self.model([self._filled(sequence) for sequence in batch])
        self._check(np.shape(batch)[1], "every sequence of the batch")
        assert self.codes is not None
        q = len(self.alphabet)
        if self.inputs == "onehot" and np.shape(batch)[2] != q:
            raise InputError(
                f"the template's alphabet has {q} symbols, and the one-hot array {np.shape(batch)[2]}; "
                "the space must have the same alphabet"
            )
        given = np.asarray(batch)
        one = self.codes.astype(given.dtype)
        if self.inputs == "onehot":
            one = np.eye(q, dtype=given.dtype)[self.codes]
        whole = np.repeat(one[None], len(given), axis=0)
        whole[:, self.positions] = given
        return self.model(whole)

    def _filled(self, sequence: str) -> str:
        self._check(len(sequence), repr(sequence))
        pieces = [self.constants[0]]
        for symbol, constant in zip(sequence, self.constants[1:], strict=True):
            pieces += (symbol, constant)
        return "".join(pieces)

    def _check(self, length: int, what: str) -> None:
        if length != self.length:
            raise InputError(
                f"the template has {self.length} free positions, and {what} {length} symbols; the space must "
                f"be SequenceSpace(alphabet, {self.length})"
            )


def reverse_complement(
    model: Model, alphabet: str = DNA, combine: Combine = "mean", *, inputs: Inputs | None = None
) -> _ReverseComplement:
    """Ask a model about both strands: each sequence and its reverse complement.

    The other strand of a template is that of the whole of it, so this goes inside:
    ``template(reverse_complement(model), ...)``.

    Parameters
    ----------
    model : callable
    alphabet : str
        Symbols among ACGT, or among ACGU, in the order of the space, with the complement of each.
    combine : {"mean", "max", "min"} or callable
        What becomes of the two scores; a function of the scores of all sequences and those of all reverse
        complements.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it says itself, or strings.

    Raises
    ------
    InputError
        If the alphabet has no complement.

    Examples
    --------
    >>> from shapsketch import models
    >>> def starts_with_a(sequences):
    ...     return [float(s.startswith("A")) for s in sequences]
    >>> models.reverse_complement(starts_with_a)(["AC", "GT", "CC", "AT"])
    array([0.5, 0.5, 0. , 1. ])
    """
    takes = inputs_of(model, inputs)
    if isinstance(model, _Template):
        raise InputError(
            "the reverse complement of a template would turn its free positions only; put it inside, "
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
    check_alphabet(model, takes, alphabet)
    return _ReverseComplement(model, alphabet, combine, order, takes, outputs_of(model))


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
        """The alphabet whose codes it takes, if it takes codes."""
        return self.alphabet

    def __call__(self, batch: Any) -> Any:
        # Before the model is asked, as it may refuse.
        turned = self._reversed(batch)
        forward, reverse = self.model(batch), self.model(turned)
        named, other = by_name(forward), by_name(reverse)
        if named is not None and other is not None:
            return {name: self._combined(named[name], other[name]) for name in named}
        return self._combined(forward, reverse)

    def _combined(self, forward: Any, reverse: Any) -> Any:
        forward, reverse = np.asarray(forward, dtype=np.float64), np.asarray(reverse, dtype=np.float64)
        if callable(self.combine):
            return self.combine(forward, reverse)
        if self.combine == "mean":
            return (forward + reverse) / 2
        return np.maximum(forward, reverse) if self.combine == "max" else np.minimum(forward, reverse)

    def _reversed(self, batch: Any) -> Any:
        if self.inputs == "strings":
            return self._of_strings(batch)
        given = np.asarray(batch)
        order, q = np.array(self.order), len(self.order)
        symbols = given.shape[2] if given.ndim == 3 else int(given.max(initial=0)) + 1
        if symbols > q or (given.ndim == 3 and symbols != q):
            raise InputError(
                f"the space has at least {symbols} symbols and the alphabet of the reverse complement {q}, "
                f"{self.alphabet!r}; give the one of the space as alphabet="
            )
        turned = given[:, ::-1]
        return np.ascontiguousarray(
            turned[..., order] if given.ndim == 3 else order[turned].astype(given.dtype)
        )

    def _of_strings(self, batch: Any) -> list[str]:
        table = {symbol: self.alphabet[at] for symbol, at in zip(self.alphabet, self.order, strict=True)}
        # N is what flanks may hold where nothing is known.
        table |= {symbol: symbol for symbol in "Nn" if symbol not in table}
        wrong = set().union(*batch) - set(table)
        if wrong:
            raise InputError(
                f"{min(wrong)!r} has no complement in the alphabet {self.alphabet!r}; give the one of the "
                "sequences as alphabet="
            )
        translation = str.maketrans(table)
        return [sequence[::-1].translate(translation) for sequence in batch]


def select(model: Model, output: int | str, *, inputs: Inputs | None = None) -> _Select:
    """Take one output of a model with several.

    Parameters
    ----------
    model : callable
        Returns (B, k), or a mapping of names to (B,).
    output : int or str
        Its number from 0, or its name.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it says itself, or strings.

    Raises
    ------
    InputError
        If the model names its outputs and this is none of them.

    Examples
    --------
    >>> from shapsketch import models
    >>> def model(sequences):
    ...     return {"length": [len(s) for s in sequences], "g": [s.count("G") for s in sequences]}
    >>> models.select(model, "g")(["ACGT", "GGGG"])
    array([1, 4])
    """
    takes = inputs_of(model, inputs)
    names = outputs_of(model)
    if isinstance(output, str):
        if names is not None:
            choice("output", output, names)
    else:
        output = integer("output", output, least=0)
        if names is not None and output >= len(names):
            raise InputError(f"output {output} is none of the model's {len(names)}, {', '.join(names)}")
    return _Select(model, output, names, takes)


@dataclass(frozen=True, eq=False)
class _Select:
    model: Model
    output: int | str
    names: tuple[str, ...] | None
    inputs: str
    outputs: tuple[str, ...] | None = None

    @property
    def alphabet_of_codes(self) -> str | None:
        """The alphabet that it takes codes of, if the model says so."""
        return getattr(self.model, "alphabet_of_codes", None)

    def __call__(self, batch: Any) -> Numbers:
        found = self.model(batch)
        named = by_name(found)
        if named is not None:
            name, names = self.output, self.names or tuple(named)
            if isinstance(name, int) and name < len(names):
                name = names[name]
            if name not in named:
                raise ModelError(
                    f"the model returned the outputs {', '.join(map(repr, named))}, and none is {name!r}"
                )
            return answers(named[name], len(batch), "model")
        number = self.output
        if isinstance(number, str):
            if self.names is None:
                raise ModelError(
                    f"the output {number!r} is not known: the model names none; give its number, from 0"
                )
            number = self.names.index(number)
        return answers(found, len(batch), "model", number)
