"""Sequence spaces: all sequences of one alphabet and one length, and their integer codes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import partial
from itertools import count, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import (
    SHOWN,
    array_of,
    check_memory,
    integer,
    iterator_of,
    lazy_property,
    refuse_frame,
    refuse_set,
    shown,
    string,
)
from shapsketch.errors import InputError

DNA = "ACGT"
"""The four bases of DNA."""
RNA = "ACGU"
"""The four bases of RNA."""
PROTEIN = "ACDEFGHIKLMNPQRSTVWY"
"""The twenty amino acids, by their one-letter codes in alphabetical order."""

# The alphabets above, which a caller may want instead of the symbols of their names.
NAMED = ("DNA", "RNA", "PROTEIN")
# Positions whose letters a representation shows.
SHOWN_POSITIONS = 8
# Sequences that are encoded or decoded at a time.
PART = 65_536

# How the core names a position, from 0.
NAMED_POSITION = re.compile(r"position (\d+)")
# Largest absolute value of the number of the first position.
LARGEST_START = 10**9

Codes: TypeAlias = npt.NDArray[np.uint8]
Values: TypeAlias = npt.NDArray[np.float64]
Sequences: TypeAlias = "Iterable[str] | npt.NDArray[Any]"


def numbered(positions: Iterable[int], start: int) -> tuple[int, ...]:
    """Return the numbers of positions, as texts, tables, plots and files have them.

    `positions` count from 0, as in arrays, and `start` is the number of the first one.
    """
    return tuple(int(position) + start for position in positions)


def substitution(old: str, position: int, new: str, start: int) -> str:
    """Return the name of a substitution, such as ``"A23G"``; `position` counts from 0."""
    return f"{old}{numbered([position], start)[0]}{new}"


def checked_start(start: Any) -> int:
    """Return the number of the first position.

    Raises
    ------
    InputError
        If it is not an integer from -10**9 to 10**9.
    """
    if isinstance(start, bool) or not isinstance(start, (int, np.integer)) or abs(int(start)) > LARGEST_START:
        raise InputError(
            f"start must be an integer from {-LARGEST_START} to {LARGEST_START}, the number of the first "
            f"position, got {shown(start)}"
        )
    return int(start)


class SequenceSpace:
    """All sequences of `length` symbols from `alphabet`, or those with given letters at each position.

    Parameters
    ----------
    alphabet : str, or list of str
        2 to 64 distinct symbols that can be printed; the code of a symbol is its position in this string. A
        list has the letters of each position, for libraries and constant regions: ``["ACDE", "WT", "G"]``.
        The alphabet then has the letters of all positions, sorted, so that a letter has the same code at all
        positions.
    length : int, optional
        Number of symbols of a sequence, 1 to 4096. A list of letters has a length of its own.
    start : int
        Number of the first position, from -10**9 to 10**9. All texts, tables, plots and files of results, and
        names of mutants such as ``"A23G"``, count positions from it. Arrays, and lists of positions that are
        indices of arrays (``supports``, ``pairs``, ``places``), always count from 0. Sketch files contain it.
        Spaces of the same sequences are equal, whatever their start.

    Raises
    ------
    InputError
        If the alphabet repeats a symbol, has one that cannot be printed (such as a newline), or is the name
        of an alphabet ("DNA", "RNA", "PROTEIN"); if a position has no letters; or if the number of symbols,
        the length or the start is out of range.

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace(ss.RNA, length=3)
    >>> space.q, space.n, space.size
    (4, 3, 64)
    >>> space.encode(["GAU", "cag"])
    array([[2, 0, 3],
           [1, 0, 2]], dtype=uint8)
    >>> library = ss.SequenceSpace(["M", "ILV", "DE"])
    >>> library.alphabet, library.size, library.letters[1]
    ('DEILMV', 6, 'ILV')
    >>> ss.SequenceSpace(ss.DNA, 50, start=1)
    SequenceSpace('ACGT', length=50, start=1)
    """

    def __init__(self, alphabet: str | Iterable[str], length: int | None = None, *, start: int = 0) -> None:
        self._start = checked_start(start)
        if isinstance(alphabet, (list, tuple)):
            letters = _checked_letters(alphabet, length, self._start)
            try:
                self._core = _core.Space.with_letters(letters)
            except InputError as error:
                raise renumbered(error, self._start) from None
            return
        symbols = _checked_alphabet(alphabet)
        if length is None:
            raise InputError("length is missing; pass it, or a list with the letters of each position")
        self._core = _core.Space(symbols, integer("length", length, least=1))

    @classmethod
    def _wrap(cls, core: _core.Space, start: int = 0) -> SequenceSpace:
        space = cls.__new__(cls)
        space._core, space._start = core, start
        return space

    @property
    def start(self) -> int:
        """Number of the first position in texts, tables, plots and files."""
        return self._start

    def _from(self, start: int) -> SequenceSpace:
        """Return the same sequences, with another number of the first position."""
        return SequenceSpace._wrap(self._core, start)

    @property
    def alphabet(self) -> str:
        """The symbols, in the order of their codes."""
        return self._core.alphabet

    @property
    def q(self) -> int:
        """Number of symbols of the alphabet."""
        return self._core.q

    @property
    def n(self) -> int:
        """Number of symbols of a sequence."""
        return self._core.n

    @lazy_property
    def letters(self) -> list[str]:
        """The letters that each position may have, in the order of their codes."""
        return self._core.letters or [self.alphabet] * self.n

    @property
    def varies(self) -> bool:
        """Whether positions differ in the letters that they may have."""
        return self._core.letters is not None

    @lazy_property
    def allowed(self) -> npt.NDArray[np.bool_]:
        """Which symbols each position may have, (n, q)."""
        allowed = np.array([[symbol in own for symbol in self.alphabet] for own in self.letters])
        allowed.flags.writeable = False
        return allowed

    @property
    def size(self) -> int:
        """Number of sequences, ``q ** n`` if every position may have all symbols."""
        return math.prod(map(len, self.letters)) if self.varies else int(self.q**self.n)

    def _random(self, rng: np.random.Generator, count: int) -> Codes:
        """Return uniform random sequences, codes (count, n)."""
        if not self.varies:
            return rng.integers(0, self.q, (count, self.n), dtype=np.uint8)
        return self._of_digits(rng.integers(0, self.allowed.sum(axis=1), (count, self.n)))

    def _digits(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Return the numbers (B, n) of the letters of sequences among those of their positions."""
        ranks = np.cumsum(self.allowed, axis=1) - 1
        return np.asarray(ranks[np.arange(self.n), codes])

    def _of_digits(self, digits: npt.NDArray[np.int64]) -> Codes:
        """Return the sequences with these letters, numbers (B, n) among those of their positions."""
        order = np.argsort(~self.allowed, axis=1, kind="stable").astype(np.uint8)
        return np.asarray(order[np.arange(self.n), digits])

    def onehot(self, codes: Codes) -> npt.NDArray[np.float32]:
        """Return codes (B, n) as one-hot arrays (B, n, q) of float32.

        Raises
        ------
        InputError
            If the array has another shape, is empty, or has a code that is out of range; or if the result
            exceeds the memory.
        """
        checked = self._check_codes(codes)
        what = f"{len(checked):,} sequences as one-hot arrays"
        check_memory(what, 4 * self.q * checked.size, "convert fewer at a time")
        return np.eye(self.q, dtype=np.float32)[checked]

    def encode(self, sequences: Sequences) -> Codes:
        """Return the codes of sequences.

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
            A symbol may be in the other case, unless the alphabet has both cases. An integer array has
            codes, which are checked. A set is refused, because it has no order, and so is a data frame.

        Returns
        -------
        numpy.ndarray of uint8, shape (B, n)

        Raises
        ------
        InputError
            If there are no sequences, one has another length, or a symbol or code is not in this space; the
            message names the sequence and the position.
        """
        if isinstance(sequences, (str, bytes)):
            raise InputError("expected a list of sequences, got a single string; put it into a list")
        refuse_frame("sequences", sequences)
        refuse_set("sequences", sequences)
        if isinstance(sequences, np.ndarray) and sequences.dtype.kind not in "UO":
            return self._check_codes(sequences)
        what = f"strings, or an integer array (B, {self.n})"
        iterator, parts = iterator_of("sequences", sequences, what), []
        # In parts, between which the work can be interrupted; of an iterator only the codes are kept.
        for start in count(0, PART):
            rows = list(islice(iterator, PART))
            if rows:
                check_memory(f"{start:,} sequences and more", 2 * start * self.n, "encode them in batches")
                parts.append(self._encode_part(rows, start))
            if len(rows) < PART:
                break
        if not parts:
            raise InputError("there are no sequences; pass at least one")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _encode_part(self, rows: list[Any], start: int) -> Codes:
        """Return the codes of sequences `start`, `start + 1` and so on."""
        for index, row in enumerate(rows, start):
            if not isinstance(row, str):
                raise InputError(
                    f"sequence {index} is of type {type(row).__name__}, expected a string; pass codes "
                    f"as an integer array of shape (B, {self.n})"
                )
        try:
            return self._core.encode(rows)
        except UnicodeEncodeError:
            for index, row in enumerate(rows, start):
                string(f"sequence {index}", row)
            raise
        except InputError as error:
            if error.index is None:
                raise
            index, named = start + error.index, renumbered(error, self._start)
            message = named.message.replace(f"sequence {error.index}", f"sequence {index}", 1)
            # An error without a position is about the length.
            seen = self._seen(rows[error.index]) if error.position is None else ""
            raise InputError(
                message + seen, index=index, position=error.position, detail=named.detail + seen
            ) from None

    def _seen(self, sequence: str) -> str:
        """Return a sequence of another length, and its first symbol outside the alphabet, for a message."""
        cut = "..." if len(sequence) > SHOWN else ""
        symbols = {*self.alphabet, *self.alphabet.swapcase()}
        position = next((i for i, symbol in enumerate(sequence) if symbol not in symbols), None)
        outside = (
            ""
            if position is None
            else f", with {sequence[position]!r} at position {position + self._start}, which is not in the "
            "alphabet"
        )
        return f": {sequence[:SHOWN]!r}{cut}{outside}"

    def _check_codes(self, array: object) -> Codes:
        refuse_frame("codes", array)
        codes = array_of("codes", array)
        if codes.dtype.kind not in "iu":
            advice = onehot_advice(codes, self)
            raise InputError(f"codes must be an integer array, got dtype {codes.dtype}", advice=advice)
        if codes.ndim != 2 or codes.shape[1] != self.n:
            advice = onehot_advice(codes, self)
            raise InputError(f"codes must have shape (B, {self.n}), got {codes.shape}", advice=advice)
        if not len(codes):
            raise InputError("there are no sequences; pass at least one")
        if codes.max() >= self.q or codes.min() < 0:
            index, position = (int(i) for i in np.argwhere((codes < 0) | (codes >= self.q))[0])
            raise InputError(
                f"sequence {index}: code {codes[index, position]} at position {position + self._start} is "
                f"out of range, codes must be 0 to {self.q - 1}"
            )
        checked = np.ascontiguousarray(codes, dtype=np.uint8)
        if self.varies:
            other = np.argwhere(~self.allowed[np.arange(self.n), checked])
            if len(other):
                index, position = (int(i) for i in other[0])
                raise InputError(
                    f"sequence {index}: letter {self.alphabet[checked[index, position]]!r} at position "
                    f"{position + self._start}, which has one of {self.letters[position]!r} in this space",
                    index=index,
                    position=position,
                )
        return checked

    def decode(self, codes: npt.NDArray[Any]) -> list[str]:
        """Return the sequences of codes (B, n).

        Raises
        ------
        InputError
            If the array has another shape, is empty, or has a code that is out of range.
        """
        checked = self._check_codes(codes)
        starts = range(0, len(checked), PART)
        return [row for start in starts for row in self._core.decode(checked[start : start + PART])]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceSpace) and self._core == other._core

    def __hash__(self) -> int:
        return hash((self.alphabet, self.n))

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.letters,) if self.varies else (self.alphabet, self.n)
        return partial(SequenceSpace, start=self._start), arguments

    def __repr__(self) -> str:
        start = f", start={self._start}" if self._start else ""
        if not self.varies:
            return f"SequenceSpace({self.alphabet!r}, length={self.n}{start})"
        more = f" and {self.n - SHOWN_POSITIONS} more" if self.n > SHOWN_POSITIONS else ""
        return f"SequenceSpace({self.letters[:SHOWN_POSITIONS]!r}{more}{start})"


def renumbered(error: InputError, start: int) -> InputError:
    """Return an error of the core, which names a position from 0, with the number of that position."""

    def shifted(text: str) -> str:
        return NAMED_POSITION.sub(lambda match: f"position {int(match[1]) + start}", text, count=1)

    return InputError(
        shifted(error.message), index=error.index, position=error.position, detail=shifted(error.detail)
    )


def _checked_alphabet(alphabet: object) -> str:
    """Return an alphabet if its symbols can be seen in a sequence and it is not the name of another one.

    Raises
    ------
    InputError
        If it is not such a string.
    """
    symbols = string("alphabet", alphabet)
    for position, symbol in enumerate(symbols):
        # A space is printable, and tables can hold it.
        if not symbol.isprintable():
            raise InputError(
                f"the alphabet has {symbol!r} at position {position}, which cannot be printed; remove it",
                position=position,
            )
    if symbols.upper() in NAMED:
        raise InputError(
            f"the alphabet {symbols!r} has the symbols {', '.join(symbols)}; did you mean "
            f"ss.{symbols.upper()}? For these symbols, list them in another order"
        )
    return symbols


def _checked_letters(letters: list[Any] | tuple[Any, ...], length: object, start: int) -> list[str]:
    """Return the letters of each position, if they can be seen in a sequence.

    Raises
    ------
    InputError
        If one is not such a string, or `length` is another one.
    """
    if length is not None and length != len(letters):
        raise InputError(f"length is {length}, but letters are given for {len(letters)} positions; omit it")
    if not letters:
        raise InputError("the list of letters is empty; pass the letters of each position")
    checked = []
    for position, own in enumerate(letters):
        name = f"the letters of position {position + start}"
        symbols = string(name, own)
        if hidden := [symbol for symbol in symbols if not symbol.isprintable()]:
            raise InputError(
                f"{name} have {hidden[0]!r}, which cannot be printed; remove it", position=position
            )
        checked.append(symbols)
    return checked


def onehot_advice(array: npt.NDArray[Any], space: SequenceSpace) -> str:
    """Return what to do with an array that has the shape of one-hot features; "" for other arrays."""
    n, q = space.n, space.q
    if array.shape[1:] in ((n, q), (n * q,)):
        return f"for one-hot features pass the codes, array.reshape(-1, {n}, {q}).argmax(axis=2)"
    return ""


def space_of(space: object) -> SequenceSpace:
    """Return the argument if it is a sequence space.

    Raises
    ------
    InputError
        If it is something else.
    """
    if not isinstance(space, SequenceSpace):
        raise InputError(f"space must be a SequenceSpace, got {type(space).__name__}")
    return space


def index_of(name: str, number: object, space: SequenceSpace) -> int:
    """Return the index in arrays of the position with a number, for an argument `name`.

    Raises
    ------
    InputError
        If there is no such position.
    """
    index = integer(f"{name}: a position", number, least=space.start) - space.start
    if index >= space.n:
        last = space.start + space.n - 1
        raise InputError(f"{name}: {number} is not a position; they are {space.start} to {last}")
    return index
