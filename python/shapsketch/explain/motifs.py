"""The motifs of a closed form: its strongest words, merged over the positions where they matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.explain.closed_form import ClosedForm
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.fragments import LEAST, Group, Place, Word, merged
from shapsketch.explain.spacing import curve_of
from shapsketch.explain.table import Record, Support, Table
from shapsketch.space import Codes, SequenceSpace, Values, numbered
from shapsketch.surrogate.runs import Run, occurrences, symbols_in_words

# Largest number of words of single positions that are listed and merged.
LISTED = 1 << 16
# A correlation below this fraction of the largest one is a rounding error.
ROUNDING = 1e-12
# Longest gap that is written as dots, one for each symbol.
DOTS = 4

# Order of the motifs.
Sort = Literal["variance", "effect"]
SORTS: tuple[str, ...] = ("variance", "effect")


class Motif(NamedTuple):
    """Symbols, or runs of related positions, at one or several places, and their effect.

    ``str(motif)`` gives it in words, such as ``"TATAAA from 23 to 45, 12 places, effect +1.4"``.

    Attributes
    ----------
    word : str
        The symbols, such as ``"TATAAA"``; a dot is any symbol, and longer gaps are in words: ``"CA, then TG
        after 8 symbols"``. Runs are in words, such as ``"positions 3-6 pair with 14-17"``, those of the
        strongest place.
    first, last : int
        First and last position of all places, from 0.
    places : tuple of tuple of int
        The positions of each place, ascending, from 0.
    effect : float
        Mean score of sequences that have the motif at a place, minus the base value; mean over the places.
    variance : float
        Variance of a closed form that has this motif and its fragments alone, if its places are independent,
        in squared units of the sketch.
    interaction : float
        Joint effect of the symbols, beyond the effects of all subsets of them; mean over the places. For a
        motif with runs, the mean over sequences with it, of its term alone.
    frequency : float
        Probability of the motif at one place under the background, mean over the places.
    found : float or None
        Fraction of the sequences that have the motif at one of its places or more; None if no sequences were
        passed.
    support : tuple of int
        Positions of the strongest place, ascending.
    letters : str
        The symbol at each of these positions. For a motif with runs, the symbols that it has besides, in
        words, such as "A or G at 5"; empty if there are none.
    runs : tuple of Run
        Stems, repeats and other runs of the strongest place, empty for symbols alone.
    start : int
        Number of the first position, from which texts and tables count.
    joint : float or None
        For two motifs at a distance, their mean joint effect: beyond the effects of each. None for others.
    """

    word: str
    first: int
    last: int
    places: tuple[Support, ...]
    effect: float
    variance: float
    interaction: float
    frequency: float
    found: float | None
    support: Support
    letters: str
    runs: tuple[Run, ...] = ()
    start: int = 0
    joint: float | None = None

    def __str__(self) -> str:
        count = len(self.places)
        first, last = numbered([self.first, self.last], self.start)
        where = f"from {first} to {last}" if first < last else f"at {first}"
        places = f", {count:,} places" if count > 1 else ""
        found = "" if self.found is None else f", in {self.found:.2%} of the sequences"
        joint = "" if self.joint is None else f", {self.joint:+.3g} beyond both words"
        return f"{self.word} {where}{places}, effect {self.effect:+.3g}{joint}{found}"


@dataclass(frozen=True, eq=False)
class Motifs(Explains, Table):
    """The motifs of a closed form, merged over positions: ``print`` them, or iterate over them.

    A word belongs to a longer one if that explains it: the symbols T, A, ... of TATAAA are not motifs of
    their own, unless they have effects besides. Weak parts of a word at its places, such as ATAA, belong to
    it, too, and weak parts of two words belong to a motif of both, with the distances between them at which
    they have a joint effect (see :meth:`Explainer.spacing`).

    Attributes
    ----------
    motifs : list of Motif
        In the order that was asked for: descending variance, or descending absolute effect.
    explained : Explained
        What is explained, its R², the background over which the variance is taken, and the scale.
    """

    motifs: list[Motif]
    explained: Explained

    def records(self) -> list[Record]:
        """Return one row for each motif."""
        rows = [
            {
                "motif": motif.word,
                "from": numbered([motif.first], motif.start)[0],
                "to": numbered([motif.last], motif.start)[0],
                "places": len(motif.places),
                "effect": motif.effect,
                "variance": motif.variance,
                "frequency": motif.frequency,
                "found": motif.found,
            }
            for motif in self.motifs
        ]
        if all(motif.found is None for motif in self.motifs):
            for row in rows:
                del row["found"]
        return rows

    def __len__(self) -> int:
        return len(self.motifs)

    def __iter__(self) -> Iterator[Motif]:
        return iter(self.motifs)


def motifs_of(
    closed_form: ClosedForm,
    space: SequenceSpace,
    chances: Values,
    *,
    orders: tuple[int, int],
    sort: str,
    count: int,
    codes: Codes | None,
) -> list[Motif]:
    """Return at most `count` motifs of a closed form; `codes` (B, n) are searched for them.

    `chances` (n, q) are the probabilities of the background, and `orders` the smallest and the largest
    number of positions.
    """
    components = closed_form.components
    words, relations = components.motifs(LISTED, orders[1]), components.relations
    places = [Place(word, word[4]) for word in words if word[2]]
    places += _indicators([word for word in words if not word[2]], chances)
    curves = partial(curve_of, closed_form, space)
    groups = merged(list(_groups(places).values()), space, chances, curves, orders[1])
    named = [(_motif(group, space, relations), group.places) for group in groups]
    chosen = [motif for motif in named if len(motif[0].support) >= orders[0]]
    chosen.sort(key=lambda m: (-(abs(m[0].effect) if sort == "effect" else m[0].variance), m[0].support))
    if codes is None:
        return [motif for motif, _ in chosen[:count]]
    return [motif._replace(found=_found(codes, group, relations)) for motif, group in chosen[:count]]


def _indicators(words: list[Word], chances: Values) -> list[Place]:
    """Return the words whose indicators add up to the interactions of all words, with their coefficients.

    The indicator of a word ``w`` at the positions ``S`` has the interaction ``prod_{i in S - U} p_i(w_i)
    prod_{i in U} (1[u_i = w_i] - p_i(w_i))`` at each word ``u`` of each subset ``U``. From the longest words
    to the shortest, the word of the same positions with the largest correlation gets the coefficient that its
    interaction needs, and the interactions of the indicator are subtracted from those of all others (matching
    pursuit, Mallat and Zhang 1993). With two symbols, all words of the same positions correlate equally, up
    to the sign.
    """
    tables: dict[Support, list[Word]] = defaultdict(list)
    for word in words:
        tables[tuple(word[0])].append(word)
    residuals = {support: np.array([word[4] for word in table]) for support, table in tables.items()}
    symbols = {support: np.array([list(word[1]) for word in table]) for support, table in tables.items()}
    places, strongest = [], 0.0
    for support in sorted(tables, key=lambda s: (-len(s), s)):
        table, residual = tables[support], residuals[support]
        own_chances = chances[list(support), symbols[support]]
        # The interaction times this weight is the correlation with the indicator, up to a factor.
        odds = np.divide(
            own_chances, 1.0 - own_chances, out=np.zeros_like(own_chances), where=own_chances < 1.0
        )
        weights = np.sqrt(odds.prod(axis=1))
        # The strength that counts is relative to what was there before the longer words were subtracted.
        before = float(np.abs(weights * [word[4] for word in table]).max())
        strongest = max(strongest, before)
        least = max(LEAST * before, ROUNDING * strongest)
        for _ in range(len(table)):
            best = int(np.argmax(np.abs(weights * residual)))
            if abs(weights[best] * residual[best]) <= least:
                break
            letters, own = symbols[support][best], own_chances[best]
            coefficient = float(residual[best] / np.prod(1.0 - own))
            places.append(Place(table[best], coefficient))
            for subset in _subsets(support, tables):
                members = set(subset)
                inside = np.array([i in members for i in support])
                match = symbols[subset] == letters[inside]
                factors = np.where(match, 1.0 - own[inside], -own[inside])
                residuals[subset] -= coefficient * np.prod(own[~inside]) * np.prod(factors, axis=1)
    return places


def _subsets(support: Support, tables: dict[Support, list[Word]]) -> Iterator[Support]:
    """Yield the subsets of a support, itself included, that have words."""
    if 1 << len(support) > len(tables):
        members = set(support)
        yield from [other for other in tables if members.issuperset(other)]
        return
    for size in range(1, len(support) + 1):
        yield from (subset for subset in combinations(support, size) if subset in tables)


def _groups(places: list[Place]) -> dict[Any, list[Place]]:
    """Return the places of each motif: equal words at equal distances, with effects of the same sign.

    Two words of two symbols or more have one motif for all distances between them.
    """
    groups: dict[Any, list[Place]] = defaultdict(list)
    for place in places:
        support, letters, runs, sets = place.word[:4]
        start = support[0]
        if runs:
            shape: Any = (
                tuple((run[0], run[1] - start, run[2] - start, *run[3:]) for run in runs),
                tuple((position - start, bits) for position, bits in sets),
            )
        else:
            blocks = [tuple(letters[i] for i in block) for block in _blocks(support)]
            if len(blocks) == 2 and min(map(len, blocks)) > 1:
                shape = (None, tuple(blocks))
            else:
                shape = (tuple(letters), tuple(i - start for i in support))
        groups[bool(runs), shape, place.sign].append(place)
    return groups


def _blocks(support: list[int]) -> list[list[int]]:
    """Return the indices of the positions of each stretch of consecutive positions."""
    blocks: list[list[int]] = []
    for index, position in enumerate(support):
        if index and position == support[index - 1] + 1:
            blocks[-1].append(index)
        else:
            blocks.append([index])
    return blocks


def _motif(merged_group: Group, space: SequenceSpace, relations: list[_core.Relation]) -> Motif:
    """Return a motif without `found`."""
    group = sorted(merged_group.places, key=lambda place: place.word[0])
    support, letters, runs, sets, *_ = max(group, key=lambda place: place.variance).word
    named = tuple(Run.of(run, relations, space.start) for run in runs)
    if runs:
        text = symbols_in_words(sets, space.alphabet, space.start)
        word = "; ".join(filter(None, [*map(str, named), text]))
    else:
        text = "".join(space.alphabet[a] for a in letters)
        word = merged_group.text or _word([place.word[0] for place in group], text)
    every = [position for place in group for position in place.word[0]]
    means = [float(np.mean([place.word[field] for place in group])) for field in (5, 4, 6)]
    return Motif(
        word,
        min(every),
        max(every),
        tuple(tuple(place.word[0]) for place in group),
        means[0],
        merged_group.own + merged_group.carried,
        means[1],
        means[2],
        None,
        tuple(support),
        text,
        named,
        space.start,
        None if merged_group.text is None else means[1],
    )


def _word(supports: list[list[int]], letters: str) -> str:
    """Return symbols in words, with the gaps between them; those of all supports if they differ."""
    blocks = _blocks(supports[0])
    text = end = ""
    for number, block in enumerate(blocks):
        if number:
            gaps = sorted({s[block[0]] - s[block[0] - 1] - 1 for s in supports})
            if gaps[-1] <= DOTS and len(gaps) == 1:
                text += "." * gaps[0]
            else:
                span = str(gaps[0]) if len(gaps) == 1 else f"{gaps[0]} to {gaps[-1]}"
                text += f"{end}, then "
                end = f" after {span} symbols"
        text += "".join(letters[i] for i in block)
    return text + end


def _found(codes: Codes, group: list[Place], relations: list[_core.Relation]) -> float:
    """Return the fraction of sequences, codes (B, n), that have a motif at one of its places or more."""
    has: npt.NDArray[np.bool_] = np.zeros(len(codes), dtype=bool)
    for place in group:
        support, letters, runs, sets = place.word[:4]
        symbols = [] if runs else [(i, 1 << a) for i, a in zip(support, letters, strict=True)]
        has |= occurrences(codes, runs, sets + symbols, relations)
    return float(has.mean())
