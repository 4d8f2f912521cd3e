"""Fragments of motifs: parts of a longer word, and of two words at a distance, belong to those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from shapsketch import _core
from shapsketch.explain.spacing import Curve
from shapsketch.space import Codes, SequenceSpace, Values

# A word, or a part of it, whose strength is below this fraction of another one's belongs to that one.
LEAST = 0.1
# Largest number of words that may have fragments.
CARRIERS = 20
# Largest number of words that are paired, their smallest length, and their smallest variance, as a fraction
# of that of the strongest word.
PAIRED, SHORTEST, WORTH = 4, 3, 0.01
# Two words are a motif if their largest joint effect is at least this fraction of that of the weaker word. It
# has the distances with at least half of the largest joint effect, and parts of two words with less than half
# of the variance of the weaker one.
JOINT, HALF = 0.2, 0.5

# A word of the core: support, symbols, runs, sets of symbols, interaction, effect, frequency.
Word: TypeAlias = "tuple[list[int], list[int], list[_core.Run], list[tuple[int, int]], float, float, float]"
# Spacing curves, of the codes of two words.
Curves: TypeAlias = Callable[[Codes, Codes], Curve]


@dataclass(frozen=True)
class Place:
    """A word at one place, with the coefficient of its indicator."""

    word: Word
    coefficient: float

    @property
    def variance(self) -> float:
        """Variance of the indicator times its coefficient."""
        frequency = self.word[6]
        return self.coefficient**2 * frequency * (1.0 - frequency)

    @property
    def sign(self) -> bool:
        """Whether the coefficient is positive."""
        return self.coefficient > 0.0


@dataclass
class Group:
    """The places of a motif, and the variance of the fragments that belong to it.

    `text` is that of two words at a distance, whose interactions are their joint effects.
    """

    places: list[Place]
    carried: float = 0.0
    text: str | None = None
    own: float = field(init=False)

    def __post_init__(self) -> None:
        self.own = sum(place.variance for place in self.places)

    def without(self, places: list[Place]) -> float:
        """Remove some places, and return their variance."""
        moved = {id(place) for place in places}
        self.places = [place for place in self.places if id(place) not in moved]
        variance = sum(place.variance for place in places)
        self.own -= variance
        return variance


class Carrier:
    """A group that is a word of consecutive symbols."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.letters = list(group.places[0].word[1])
        starts = [place.word[0][0] for place in group.places]
        # A fragment overlaps one of the places, or lies between them.
        reach = len(self.letters) - 1
        self._starts = range(min(starts) - reach, max(starts) + reach + 1)

    def __len__(self) -> int:
        return len(self.letters)

    def fits(self, support: list[int], letters: list[int]) -> list[int]:
        """Return the places, by their first positions, at which this word has these symbols.

        It may reach over the ends of the sequence.
        """
        starts = range(support[-1] - len(self) + 1, support[0] + 1)
        return [
            start
            for start in starts
            if start in self._starts
            and all(self.letters[i - start] == a for i, a in zip(support, letters, strict=True))
        ]


def merged(
    groups: list[list[Place]], space: SequenceSpace, chances: Values, curves: Curves, highest: int
) -> list[Group]:
    """Return groups of places without fragments, and the pairs of words that explain others.

    A part of a longer word belongs to it if it has two symbols or more and at least half of those of the
    word, is at its places, has an effect of the same sign, less than a tenth of its variance, and
    coefficients of less than half of its own. Parts of two words at a distance, such as the end of one and
    the begin of the other, belong to a motif of both, with the distances at which they have a joint effect.
    """
    all_groups = sorted((Group(places) for places in groups), key=lambda group: -group.own)
    words = [Carrier(group) for group in all_groups if _is_word(group.places[0].word)][:CARRIERS]
    # Fragments belong to the longest word that has them.
    for carrier in sorted(words, key=len, reverse=True):
        for group in all_groups:
            _move(group, carrier)
    least = WORTH * max((word.group.own for word in words), default=0.0)
    words = [word for word in words if len(word) >= SHORTEST and word.group.own > least][:PAIRED]
    pairs = [
        pair
        for first in words
        for second in words
        if len(first) + len(second) <= min(highest, space.n)
        and (pair := _pair(first, second, all_groups, space, chances, curves)) is not None
    ]
    return [group for group in all_groups + pairs if group.places]


def _is_word(word: Word) -> bool:
    """Return whether a word has two consecutive symbols or more, and nothing else."""
    support, _, runs, *_ = word
    return not runs and len(support) > 1 and support[-1] - support[0] == len(support) - 1


def _move(group: Group, carrier: Carrier) -> None:
    """Move the places of a group that are fragments of another word to it."""
    first = group.places[0] if group.places else None
    parent = carrier.group
    if first is None or first.word[2] or not parent.places:
        return
    # Single symbols have effects of their own, such as that of GC content.
    size = len(first.word[0])
    if size < 2 or 2 * size < len(carrier) or size >= len(carrier):
        return
    # The coefficient of a fragment may have the other sign, as a correction of the longer word.
    positive = np.mean([place.word[5] for place in parent.places]) > 0.0
    strength = np.mean([abs(place.coefficient) for place in parent.places])
    inside = [
        place
        for place in group.places
        if (place.word[5] > 0.0) == positive
        and abs(place.coefficient) < HALF * strength
        and carrier.fits(place.word[0], list(place.word[1]))
    ]
    if inside and sum(place.variance for place in inside) < LEAST * parent.own:
        parent.carried += group.without(inside)


def distances_of(first: Carrier, second: Carrier, place: Place) -> set[int]:
    """Return the distances of two words of which a place has parts of both."""
    support, letters = place.word[0], list(place.word[1])
    return {
        distance
        for split in range(1, len(support))
        for start in first.fits(support[:split], letters[:split])
        for other in second.fits(support[split:], letters[split:])
        if (distance := other - start - len(first)) >= 0
    }


def _pair(
    first: Carrier,
    second: Carrier,
    groups: list[Group],
    space: SequenceSpace,
    chances: Values,
    curves: Curves,
) -> Group | None:
    """Return the motif of two words if they have a joint effect, and move their fragments to it."""
    parts = [(group, _parts(first, second, group)) for group in groups]
    parts = [(group, found) for group, found in parts if found]
    if not parts:
        return None
    words = [np.array(word.letters, dtype=np.uint8) for word in (first, second)]
    curve = curves(words[0], words[1])
    sizes = np.abs(np.nan_to_num(curve.joint))
    strongest = int(np.argmax(sizes))
    alone = [np.mean([place.coefficient for place in word.group.places]) for word in (first, second)]
    if sizes[strongest] < JOINT * np.abs(alone).min():
        return None
    sign = bool(curve.joint[strongest] > 0.0)
    chosen = (sizes >= HALF * sizes[strongest]) & ((curve.joint > 0.0) == sign)
    distances = np.flatnonzero(chosen).tolist()
    limit, variance = HALF * min(first.group.own, second.group.own), 0.0
    for group, found in parts:
        inside = [place for place, of_place in found if of_place & {*distances} and place.sign == sign]
        whole = len(group.places[0].word[0]) == len(first) + len(second)
        if inside and (whole or sum(place.variance for place in inside) < limit):
            variance += group.without(inside)
    if not variance:
        return None
    letters = ["".join(space.alphabet[a] for a in word) for word in words]
    text = f"{letters[0]}, then {letters[1]} after {spans(distances)} symbol{'' if distances == [1] else 's'}"
    places = _places_of(words, distances, curve, space, chances)
    return Group(places, variance, text)


def _parts(first: Carrier, second: Carrier, group: Group) -> list[tuple[Place, set[int]]]:
    """Return the places of a group that have parts of two words, with the distances of these."""
    word = group.places[0].word if group.places else None
    if word is None or word[2] or len(word[0]) < 2 or _is_word(word):
        return []
    found = [(place, distances_of(first, second, place)) for place in group.places]
    return [(place, distances) for place, distances in found if distances]


def _places_of(
    codes: list[Codes], distances: list[int], curve: Curve, space: SequenceSpace, chances: Values
) -> list[Place]:
    """Return the places of two words at some distances, with the means of their effects."""
    letters, k, m = np.concatenate(codes), len(codes[0]), len(codes[1])
    places = []
    for distance in distances:
        for start in range(space.n - k - m - distance + 1):
            support = np.r_[start : start + k, start + k + distance : start + k + distance + m]
            if space.allowed[support, letters].all():
                effects = float(curve.joint[distance]), float(curve.total[distance])
                frequency = float(np.prod(chances[support, letters]))
                word: Word = (support.tolist(), letters.tolist(), [], [], *effects, frequency)
                places.append(Place(word, 0.0))
    return places


def spans(numbers: list[int]) -> str:
    """Return ascending numbers in words, with ranges: ``2 to 4 or 8``."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in ends]
    return " or ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
