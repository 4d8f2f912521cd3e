"""Backgrounds: the distributions from which missing positions of a coalition are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import (
    array_of,
    instance,
    integer,
    is_frame,
    items,
    lazy_property,
    real_array,
    refuse_set,
)
from shapsketch.errors import InputError
from shapsketch.space import (
    Codes,
    Sequences,
    SequenceSpace,
    Values,
    onehot_advice,
    renumbered,
    space_of,
)

# Bytes of background sequences that are in memory at a time.
PART_BYTES = 1 << 26
# Largest number of shuffles of each sequence in a background. The standard error of an explanation falls with
# the square root of their number.
MAX_SHUFFLES = 1_000_000


@dataclass(frozen=True)
class DinucleotideShuffles:
    """A background that differs by sequence: shuffles of each explained sequence that keep its dinucleotides.

    Shuffles are drawn uniformly from all sequences with the same first and last symbol and the same number of
    each pair of neighbours (Altschul & Erickson, Mol. Biol. Evol. 1985; the tree of last pairs by Wilson,
    STOC 1996). Explanations then show what matters beyond composition.

    Parameters
    ----------
    count : int
        Number of shuffles of each sequence; a background has at most 1,000,000.
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
        """Return the shuffles of sequences, codes (B, count, n).

        Raises
        ------
        InputError
            If `count` or `random_state` is out of range, a sequence does not belong to the space, or the
            shuffles exceed the memory.
        """
        codes = space_of(space).encode(sequences)
        count, seed = self._checked(space)
        shuffles = _core.dinucleotide_shuffles(space._core, codes, count, seed)
        return shuffles.reshape(len(codes), count, space.n)

    def _checked(self, space: SequenceSpace) -> tuple[int, int]:
        """Return `count` and `random_state`, or raise an error if they or the space are not suitable."""
        # The first and the last letter of a sequence stay.
        inner = space.letters[1:-1]
        other = next((i for i, own in enumerate(inner) if own != inner[0]), None)
        if other is not None:
            raise InputError(
                "shuffles move letters to other positions, which may not have them in this space: positions "
                f"{1 + space.start} and {1 + other + space.start} have the letters {inner[0]!r} and "
                f"{inner[other]!r}; choose another background"
            )
        return integer("count", self.count, least=1), integer("random_state", self.random_state, least=0)

    def __str__(self) -> str:
        return f"{self.count} dinucleotide shuffles of each sequence (random_state {self.random_state})"


BackgroundLike: TypeAlias = Literal["uniform"] | str | Sequences | npt.ArrayLike | DinucleotideShuffles


def _encode_references(space: SequenceSpace, sequences: Sequences) -> Codes:
    """Return the codes of background sequences; error messages start with "background"."""
    try:
        return space.encode(sequences)
    except InputError as error:
        raise InputError(f"background: {error}") from error


def _accepted_forms(space: SequenceSpace) -> str:
    return (
        f"'uniform', a reference of {space.n} symbols, a list of sequences, an (n, q) array of probabilities "
        "or DinucleotideShuffles"
    )


def _by_symbol(background: object, space: SequenceSpace) -> object:
    """Return probabilities with labels as an array in the order of the alphabet, and a column as a list.

    Raises
    ------
    InputError
        If a data frame has other columns than the symbols, or a series other labels.
    """
    if is_frame(background):
        frame: Any = background
        columns = list(frame.column_names if hasattr(type(frame), "column_names") else frame.columns)
        if not _are_symbols(columns, space):
            raise InputError(
                f"background: the columns of this {type(frame).__name__}, {_listed(columns)}, are not the "
                f"symbols of {space.alphabet!r}; name them so, or pass probabilities as df.to_numpy(), and "
                "sequences as one column, df['sequence']"
            )
        positions = list(getattr(frame, "index", ()))
        if all(isinstance(i, Integral) for i in positions) and positions != sorted(positions):
            raise InputError(
                f"background: the rows of this {type(frame).__name__}, {_listed(positions)}, are not in the "
                "order of the positions; sort them, df.sort_index()"
            )
        parts = [real_array(f"background: column {symbol!r}", frame[symbol]) for symbol in space.alphabet]
        return np.column_stack(parts).astype(np.float64)
    if not hasattr(type(background), "to_numpy"):
        return background
    series: Any = background
    array: npt.NDArray[Any] = series.to_numpy()
    if array.dtype.kind not in "fiu":
        return array.tolist()
    labels = list(getattr(series, "index", ()))
    if _are_symbols(labels, space):
        return np.array([series[symbol] for symbol in space.alphabet], dtype=np.float64)
    if array.dtype.kind == "f" and labels:
        raise InputError(
            f"background: the labels of this {type(series).__name__}, {_listed(labels)}, are not the symbols "
            f"of {space.alphabet!r}; name them so, or pass an array"
        )
    return array


def _are_symbols(labels: list[Any], space: SequenceSpace) -> bool:
    return len(labels) == space.q and set(labels) == set(space.alphabet)


def _listed(labels: list[Any]) -> str:
    return ", ".join(map(repr, labels[:5])) + (", ..." if len(labels) > 5 else "")


@dataclass(frozen=True, eq=False)
class Background:
    """A background of a space, of one of four kinds; without any of the three fields it is uniform.

    Attributes
    ----------
    space : SequenceSpace
    probabilities : numpy.ndarray of float64, shape (n, q), or None
        Probability of each symbol at each position, for a product distribution.
    references : numpy.ndarray of uint8, shape (R, n), or None
        Codes of sequences, which are equally likely.
    shuffles : DinucleotideShuffles or None
    """

    space: SequenceSpace
    probabilities: npt.NDArray[np.float64] | None = None
    references: Codes | None = None
    shuffles: DinucleotideShuffles | None = None

    @classmethod
    def parse(cls, background: object, space: SequenceSpace) -> Background:
        """Return the background that a user passed in one of the accepted forms.

        Raises
        ------
        InputError
            If it does not have an accepted form; the message says what is wrong and where.
        """
        if isinstance(background, Background):
            return background
        if isinstance(background, DinucleotideShuffles):
            count, _ = background._checked(space)
            if count > MAX_SHUFFLES:
                raise InputError(
                    f"count must be at most {MAX_SHUFFLES:,} shuffles of each sequence in a background, got "
                    f"{count:,}"
                )
            return cls(space, shuffles=background)
        instance("background", background)
        refuse_set("background", background)
        background = _by_symbol(background, space)
        if isinstance(background, str):
            return cls._of_string(background, space)
        if isinstance(background, Iterator):
            background = items("background", background, "sequences")
        if isinstance(background, np.ndarray) and background.dtype.kind in "UO":
            background = background.tolist()
        if isinstance(background, (list, tuple)) and all(isinstance(row, str) for row in background):
            if not background:
                raise InputError("background: the list of sequences is empty; pass at least one")
            return cls(space, references=_encode_references(space, list(background)))
        array: npt.NDArray[Any] = array_of("background", background)
        if array.dtype.kind in "iu":
            return cls._of_codes(array, space)
        if array.dtype.kind == "f":
            return cls._of_probabilities(array, space)
        raise InputError(f"background must be {_accepted_forms(space)}, got {type(background).__name__}")

    @classmethod
    def _of_string(cls, background: str, space: SequenceSpace) -> Background:
        if background == "uniform":
            return cls(space)
        if len(background) != space.n:
            raise InputError(f"background must be {_accepted_forms(space)}, got {background!r}")
        return cls(space, references=_encode_references(space, [background]))

    @classmethod
    def _of_codes(cls, array: npt.NDArray[Any], space: SequenceSpace) -> Background:
        if array.ndim == 1:
            array = array[None]
        if array.ndim == 2 and len(array) == 0:
            raise InputError("background: the list of sequences is empty; pass at least one")
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
        return cls(space, references=_encode_references(space, array))

    @classmethod
    def _of_probabilities(cls, array: npt.NDArray[Any], space: SequenceSpace) -> Background:
        if array.shape == (space.q,):
            # A composition: the same probabilities at every position.
            array = np.tile(array, (space.n, 1))
        if array.shape != (space.n, space.q):
            raise InputError(
                f"background probabilities must have shape (n, q) = ({space.n}, {space.q}), "
                f"got {array.shape}",
                advice=onehot_advice(array, space),
            )
        background = cls(space, probabilities=array.astype(np.float64))
        # The core checks the probabilities. Do it now, so that errors do not wait for the first explanation.
        background.core  # noqa: B018
        return background

    @lazy_property
    def core(self) -> _core.Background:
        """The background as an object of the core; for shuffles, which differ by sequence, a uniform one."""
        if self.probabilities is not None:
            try:
                return _core.Background.product(self.space._core, self.probabilities.reshape(-1))
            except InputError as error:
                raise renumbered(error, self.space.start) from None
        if self.references is not None:
            return _core.Background.references(self.space._core, self.references)
        return _core.Background.uniform(self.space._core)

    def __reduce__(self) -> tuple[type[Background], tuple[Any, ...]]:
        return Background, (self.space, self.probabilities, self.references, self.shuffles)

    @property
    def fixed(self) -> bool:
        """Whether the background is a single sequence."""
        return self.references is not None and len(self.references) == 1

    @property
    def chances(self) -> Values:
        """Probabilities of the symbols at each position alone, (n, q)."""
        if self.probabilities is not None:
            return self.probabilities
        space = self.space
        if self.references is not None:
            symbols = np.arange(space.q)
            return np.stack([(column[:, None] == symbols).mean(axis=0) for column in self.references.T])
        allowed = np.ones((space.n, space.q)) if not space.varies else space.allowed.astype(np.float64)
        uniform: Values = allowed / allowed.sum(axis=1, keepdims=True)
        return uniform

    @property
    def uniform(self) -> bool:
        """Whether all sequences of the space are equally likely."""
        return self.probabilities is None and self.references is None and self.shuffles is None

    def require_shared(self, what: str) -> None:
        """Refuse a background that differs by sequence; `what` needs one for all sequences.

        Raises
        ------
        InputError
        """
        if self.shuffles is not None:
            raise InputError(
                f"{what} need a background that is the same for all sequences, not shuffles; choose "
                "another one"
            )

    def parts(self, codes: Codes) -> Iterator[tuple[Codes, Codes | None]]:
        """Yield codes (B, n) in parts, each with R background sequences (B * R, n) for each of its sequences.

        A background that is the same for all sequences has one part, with None. The parts bound the memory.
        """
        if self.shuffles is None:
            yield codes, None
            return
        size = max(1, PART_BYTES // (self.shuffles.count * self.space.n))
        for start in range(0, len(codes), size):
            part = codes[start : start + size]
            yield part, self.shuffles.of(self.space, part).reshape(-1, self.space.n)

    def listed(self, row: Codes) -> Codes | None:
        """Return all background sequences (R, n) for one explained sequence; None for a distribution."""
        return self.references if self.shuffles is None else self.shuffles.of(self.space, row[None])[0]

    def draw(self, row: Codes, count: int, rng: np.random.Generator) -> Codes:
        """Return random background sequences (count, n) for one explained sequence, `row` (n,)."""
        space, listed = self.space, self.listed(row)
        if listed is not None:
            return np.asarray(listed[rng.integers(0, len(listed), count)])
        if self.probabilities is not None:
            # Invert the cumulative distribution of each position. Its last value, which may differ from 1 by
            # rounding, scales the draws.
            cumulative = np.cumsum(self.probabilities, axis=1)[:, :-1]
            draws = rng.random((count, space.n, 1)) * self.probabilities.sum(axis=1)[:, None]
            return np.asarray((draws >= cumulative).sum(axis=2), dtype=np.uint8)
        return space._random(rng, count)

    def draw_evenly(self, row: Codes, sizes: list[int], rng: np.random.Generator) -> Codes:
        """Return random background sequences like `draw`, in groups of these sizes.

        The groups of a distribution are independent Latin hypercube samples: each symbol is at a position
        about as often as expected. All groups together have each sequence of a list about equally often.
        """
        listed, count = self.listed(row), sum(sizes)
        if listed is not None:
            return np.asarray(listed[np.resize(rng.permutation(len(listed)), count)])
        cumulative = np.cumsum(self.chances, axis=1)
        levels = np.concatenate(
            [np.argsort(rng.random((size, self.space.n)), axis=0) / size for size in sizes]
        )
        levels += rng.random(levels.shape) / np.repeat(sizes, sizes)[:, None]
        levels *= cumulative[:, -1]
        return np.asarray((levels[..., None] >= cumulative[:, :-1]).sum(axis=2), dtype=np.uint8)

    def __str__(self) -> str:
        return str(self.core) if self.shuffles is None else str(self.shuffles)
