"""Backgrounds: what a position that is missing from a coalition is drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import integer
from shapsketch.errors import InputError
from shapsketch.space import Codes, Sequences, SequenceSpace


@dataclass(frozen=True)
class DinucleotideShuffles:
    """Shuffles of each explained sequence that keep its dinucleotides, as its own background.

    Drawn uniformly from all sequences with the same first and last letter and the same number of each
    pair of neighbours (Altschul & Erickson, Mol. Biol. Evol. 1985; the tree of last pairs by Wilson, STOC
    1996). Values say what matters beyond composition.

    Parameters
    ----------
    count : int
        Shuffles of each sequence.
    random_state : int

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=12)
    >>> shuffles = ss.DinucleotideShuffles(count=2).of(space, ["ACGTACGGACGT"])
    >>> shuffles.shape
    (1, 2, 12)
    """

    count: int = 20
    random_state: int = 0

    def of(self, space: SequenceSpace, sequences: Sequences) -> Codes:
        """Return the shuffles of sequences, codes (B, count, n)."""
        codes = space.encode(sequences)
        count = integer("count", self.count, least=1)
        seed = integer("random_state", self.random_state, least=0)
        found = _core.dinucleotide_shuffles(space._core, codes, count, seed)
        return found.reshape(len(codes), count, space.n)

    def __str__(self) -> str:
        return f"{self.count} dinucleotide shuffles of each sequence (random_state {self.random_state})"


BackgroundLike: TypeAlias = Literal["uniform"] | str | Sequences | npt.ArrayLike | DinucleotideShuffles


def _encoded(space: SequenceSpace, sequences: Sequences) -> Codes:
    try:
        return space.encode(sequences)
    except InputError as error:
        raise InputError(f"background: {error}") from error


def _forms(space: SequenceSpace) -> str:
    return (
        f"'uniform', a reference of {space.n} symbols, a list of sequences, an (n, q) array of probabilities "
        "or DinucleotideShuffles"
    )


@dataclass(frozen=True, eq=False)
class Background:
    """A background of a space, of one of four kinds."""

    space: SequenceSpace
    probabilities: npt.NDArray[np.float64] | None = None
    references: Codes | None = None
    shuffles: DinucleotideShuffles | None = None

    @classmethod
    def parse(cls, background: object, space: SequenceSpace) -> Background:
        """Return the background that a user passed in one of its forms.

        Raises
        ------
        InputError
            If it has none of these forms; the message says what is wrong and where.
        """
        if isinstance(background, Background):
            return background
        if isinstance(background, DinucleotideShuffles):
            integer("count", background.count, least=1)
            integer("random_state", background.random_state, least=0)
            return cls(space, shuffles=background)
        if isinstance(background, str):
            return cls._of_string(background, space)
        if isinstance(background, Iterator):
            background = list(background)
        if isinstance(background, np.ndarray) and background.dtype.kind in "UO":
            background = background.tolist()
        if isinstance(background, (list, tuple)) and all(isinstance(row, str) for row in background):
            if not background:
                raise InputError("background: the list of sequences is empty")
            return cls(space, references=_encoded(space, list(background)))
        try:
            array: npt.NDArray[Any] = np.asarray(background)
        except ValueError as error:
            raise InputError(f"background is not an array: {error}") from error
        if array.dtype.kind in "iu":
            return cls._of_codes(array, space)
        if array.dtype.kind == "f":
            return cls._of_probabilities(array, space)
        raise InputError(f"background must be {_forms(space)}, got {type(background).__name__}")

    @classmethod
    def _of_string(cls, background: str, space: SequenceSpace) -> Background:
        if background == "uniform":
            return cls(space)
        if len(background) != space.n:
            raise InputError(f"background must be {_forms(space)}, got {background!r}")
        return cls(space, references=_encoded(space, [background]))

    @classmethod
    def _of_codes(cls, array: npt.NDArray[Any], space: SequenceSpace) -> Background:
        if array.ndim == 1:
            array = array[None]
        if array.ndim == 2 and len(array) == 0:
            raise InputError("background: the list of sequences is empty")
        if array.ndim != 2 or array.shape[1] != space.n:
            raise InputError(
                f"background codes must have shape ({space.n},) or (R, {space.n}), got {array.shape}; "
                "pass probabilities as an array of floats"
            )
        onehot = [0] * (space.q - 1) + [1]
        if array.shape == (space.n, space.q) and (np.sort(array, axis=1) == onehot).all():
            raise InputError(
                "background: this integer array could be one-hot or codes; pass probabilities as floats, and "
                "sequences as strings"
            )
        return cls(space, references=_encoded(space, array))

    @classmethod
    def _of_probabilities(cls, array: npt.NDArray[Any], space: SequenceSpace) -> Background:
        if array.shape == (space.q,):
            # A composition, the same at every position.
            array = np.tile(array, (space.n, 1))
        if array.shape != (space.n, space.q):
            raise InputError(
                f"background probabilities must have shape (n, q) = ({space.n}, {space.q}), got {array.shape}"
            )
        background = cls(space, probabilities=array.astype(np.float64))
        # The core checks the probabilities: now, and not at the first explanation.
        background.core  # noqa: B018
        return background

    @cached_property
    def core(self) -> _core.Background:
        """The background of the core; under shuffles, which differ by sequence, the uniform one."""
        if self.probabilities is not None:
            return _core.Background.product(self.space._core, self.probabilities.reshape(-1))
        if self.references is not None:
            return _core.Background.references(self.space._core, self.references)
        return _core.Background.uniform(self.space._core)

    @property
    def fixed(self) -> bool:
        """Whether it is a single sequence."""
        return self.references is not None and len(self.references) == 1

    @property
    def uniform(self) -> bool:
        """Whether every sequence is equally likely."""
        return self.probabilities is None and self.references is None and self.shuffles is None

    def draw(self, row: Codes, count: int, rng: np.random.Generator) -> Codes:
        """Return random background sequences (count, n) for one sequence."""
        space = self.space
        if self.shuffles is not None:
            own = self.shuffles.of(space, row[None])[0]
            return np.asarray(own[rng.integers(0, len(own), count)])
        if self.references is not None:
            return np.asarray(self.references[rng.integers(0, len(self.references), count)])
        if self.probabilities is not None:
            below = np.cumsum(self.probabilities, axis=1)[:, :-1]
            draws = rng.random((count, space.n, 1)) * self.probabilities.sum(axis=1)[:, None]
            return np.asarray((draws >= below).sum(axis=2), dtype=np.uint8)
        return rng.integers(0, space.q, (count, space.n), dtype=np.uint8)

    def __str__(self) -> str:
        return str(self.core) if self.shuffles is None else str(self.shuffles)
