"""Spacing curves: the joint effect of two words of a closed form, by the distance between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shapsketch._validate import string
from shapsketch.errors import InputError
from shapsketch.explain.closed_form import ClosedForm
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.table import Record, Table
from shapsketch.space import Codes, SequenceSpace, Values

# Largest number of places of two words at one distance over which a search for motifs takes the mean.
PLACES = 8
# Largest number of places of two words at all distances together, in a spacing curve.
ALL_PLACES = 50_000
# Largest number of interactions that are in memory at a time.
CHUNK = 1 << 22

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Spacing(Explains, Table):
    """The joint effect of two words by the distance between them; :func:`plot.spacing` draws it.

    Attributes
    ----------
    first, second : str
        The words; `second` is behind `first`.
    distances : numpy.ndarray of int64, shape (m,)
        Number of symbols between the words, ascending from 0.
    effects : numpy.ndarray of float64, shape (m,)
        Mean score of sequences that have both words, minus the scores of those that have one of them, plus
        the base value: the effect of both words beyond the effects of each. Mean over the places; NaN if
        there are none.
    places : numpy.ndarray of int64, shape (m,)
        Number of places over which the effect is a mean: all of them for up to
        200 positions. At most ``max(8, 50000 // n)`` places of one distance are used, spread evenly.
    explained : Explained
        What is explained, its R², the background and the scale.
    """

    first: str
    second: str
    distances: Indices
    effects: Values
    places: Indices
    explained: Explained

    def records(self) -> list[Record]:
        """Return one row for each distance."""
        return [
            {"distance": distance, "effect": effect, "places": places}
            for distance, effect, places in zip(
                self.distances.tolist(), self.effects.tolist(), self.places.tolist(), strict=True
            )
        ]

    def _title(self) -> str:
        return f"joint effect of {self.first} and {self.second} of {self.explained}"

    def __len__(self) -> int:
        return len(self.distances)


class Curve(NamedTuple):
    """Means over places at each distance 0, 1 and so on, and the number of places; NaN without a place.

    `joint` is the effect of both words beyond the effects of each, and `total` that of both.
    """

    joint: Values
    total: Values
    places: Indices


def word_of(name: str, word: object, space: SequenceSpace) -> Codes:
    """Return the codes of a word, the argument `name`.

    Raises
    ------
    InputError
        If it is not a string of symbols of the alphabet, or is empty.
    """
    text = string(name, word)
    if not text:
        raise InputError(f"{name} is empty; pass a word of one symbol or more")
    for index, symbol in enumerate(text):
        if symbol not in space.alphabet:
            raise InputError(f"{name}: symbol {symbol!r} at index {index} is not in {space.alphabet!r}")
    return np.array([space.alphabet.index(symbol) for symbol in text], dtype=np.uint8)


def curve_of(
    closed_form: ClosedForm, space: SequenceSpace, first: Codes, second: Codes, most: int = PLACES
) -> Curve:
    """Return the effects of two words, codes (k,) and (m,), at each distance, over at most `most` places.

    The effect of the positions ``S`` of both words is the sum of the Möbius transform ``a(T)`` over all
    ``T`` in ``S``, and the joint effect is the sum over those ``T`` that have positions of both words.
    """
    starts, distances = _places(space, first, second, most)
    width = space.n - len(first) - len(second) + 1
    joint, total = np.zeros(len(starts)), np.zeros(len(starts))
    supports = [tuple(support) for support in closed_form.components.supports]
    members = np.zeros((len(supports), space.n), dtype=np.float32)
    for row, support in enumerate(supports):
        members[row, list(support)] = 1.0
    sizes = members.sum(axis=1)[:, None]
    for begin in range(0, len(starts), max(1, CHUNK // max(1, len(supports)))):
        part = slice(begin, begin + max(1, CHUNK // max(1, len(supports))))
        rows = np.arange(len(starts[part]))[:, None]
        own = starts[part][:, None] + np.arange(len(first))
        other = (starts + len(first) + distances)[part][:, None] + np.arange(len(second))
        codes = np.tile(space.allowed.argmax(axis=1).astype(np.uint8), (len(rows), 1))
        codes[rows, own], codes[rows, other] = first, second
        listed, values, _ = closed_form.interactions(codes, "Moebius", space.n)
        assert listed == supports
        within = np.zeros((2, len(rows), space.n), dtype=np.float32)
        within[0, rows, own] = within[1, rows, other] = 1.0
        counts = [members @ mask.T for mask in within]
        inside = counts[0] + counts[1] == sizes
        both = inside & (counts[0] > 0.0) & (counts[1] > 0.0)
        total[part] = (values.T * inside).sum(axis=0)
        joint[part] = (values.T * both).sum(axis=0)
    places = np.bincount(distances, minlength=width)
    return Curve(_means(joint, distances, places), _means(total, distances, places), places)


def _means(values: Values, distances: Indices, places: Indices) -> Values:
    sums = np.bincount(distances, values, minlength=len(places))
    means: Values = np.divide(sums, places, out=np.full(len(places), np.nan), where=places > 0)
    return means


def _places(space: SequenceSpace, first: Codes, second: Codes, most: int) -> tuple[Indices, Indices]:
    """Return the start of the first word and the distance, for at most `most` places of each distance."""
    fits = [
        np.array(
            [
                space.allowed[np.arange(start, start + len(word)), word].all()
                for start in range(space.n - len(word) + 1)
            ]
        )
        for word in (first, second)
    ]
    starts, distances = [], []
    for distance in range(space.n - len(first) - len(second) + 1):
        offset = len(first) + distance
        possible = np.flatnonzero(fits[0][: len(fits[1]) - offset] & fits[1][offset:])
        if len(possible) > most:
            possible = possible[np.linspace(0, len(possible) - 1, most).round().astype(np.int64)]
        starts.append(possible)
        distances.append(np.full(len(possible), distance))
    return np.concatenate(starts).astype(np.int64), np.concatenate(distances).astype(np.int64)


def spacing_of(
    closed_form: ClosedForm, space: SequenceSpace, words: tuple[object, object], explained: Explained
) -> Spacing:
    """Return the spacing curve of two words.

    Raises
    ------
    InputError
        If one is not a word of the alphabet, or a sequence has no place for both.
    """
    first, second = word_of("first", words[0], space), word_of("second", words[1], space)
    if len(first) + len(second) > space.n:
        raise InputError(
            f"words of {len(first)} and {len(second)} symbols do not fit into sequences of {space.n}"
        )
    curve = curve_of(closed_form, space, first, second, max(PLACES, ALL_PLACES // space.n))
    return Spacing(
        str(words[0]), str(words[1]), np.arange(len(curve.places)), curve.joint, curve.places, explained
    )
