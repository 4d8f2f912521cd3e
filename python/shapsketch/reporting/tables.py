"""Tables of a page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shapsketch.explain.motifs import Motifs
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.explain.summaries import Sobol
from shapsketch.plot.figure import symbol_at
from shapsketch.space import SequenceSpace, numbered
from shapsketch.surrogate.sketch import Sketch

# Largest number of rows of motifs and of sets of positions, and of the strongest positions of a sequence.
ROWS, STRONGEST = 20, 5
# Sizes below this fraction of the largest one are left out, and variances below its square.
NEGLIGIBLE = 1e-3


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and the number by which the table is sorted; None if it is sorted by the text."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class HtmlTable:
    """A table: names of the columns, and rows of cells."""

    columns: tuple[str, ...]
    rows: list[list[Cell]]


def number(value: float | None, style: str = ".4g") -> Cell:
    """Return the cell of a number; empty if it is None or NaN."""
    if value is None or math.isnan(value):
        return Cell("", -math.inf)
    return Cell(f"{value:{style}}", value)


def candidates(sketch: Sketch) -> HtmlTable:
    """Return the methods that were compared on the queries."""
    # A sketch from a file does not have the times.
    timed = any(c.seconds is not None for c in sketch.candidates)
    rows = [
        [Cell(c.name), number(c.r2, ".4f"), *[number(c.seconds, ".2f")] * timed, number(c.weight, ".2f")]
        for c in sketch.candidates
    ]
    return HtmlTable(("method", "R²", *["seconds"] * timed, "weight"), rows)


def motifs(found: Motifs) -> HtmlTable:
    """Return the motifs of a closed form, merged over positions."""
    searched = any(motif.found is not None for motif in found)
    rows = []
    least = NEGLIGIBLE**2 * max((motif.variance for motif in found), default=0.0)
    for motif in found:
        if motif.variance < least:
            continue
        ends = numbered([motif.first, motif.last], motif.start)
        cells = [Cell(motif.word), Cell(_range(*ends), ends[0])]
        cells += [Cell(f"{len(motif.places):,}", len(motif.places)), number(motif.effect)]
        cells += [number(motif.variance), number(motif.frequency)]
        rows.append([*cells, number(motif.found)] if searched else cells)
    columns = ("motif", "positions", "places", "effect", "variance", "frequency")
    return HtmlTable((*columns, "found in") if searched else columns, rows)


def stretches(support: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last position of each stretch of consecutive positions."""
    ends: list[tuple[int, int]] = []
    for position in support:
        if ends and position == ends[-1][1] + 1:
            ends[-1] = (ends[-1][0], position)
        else:
            ends.append((position, position))
    return ends


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"


def positions(support: Iterable[int], start: int) -> str:
    """Return positions in words, with ranges: ``3, 7–9``."""
    return ", ".join(_range(*ends) for ends in stretches(numbered(support, start)))


def pairs(interactions: Interactions) -> HtmlTable:
    """Return the strongest pairs: with signs for one sequence, and in size for several."""
    top = interactions.order(2).top(ROWS)
    least = NEGLIGIBLE * max((abs(value) for _, value in top), default=0.0)
    strongest = [
        (*numbered(support, interactions.start), value)
        for support, value in top
        if value and abs(value) >= least
    ]
    rows = [[Cell(f"{i} and {j}", i), number(value)] for i, j, value in strongest]
    index = interactions.index
    return HtmlTable(("positions", index if len(interactions) == 1 else f"mean |{index}|"), rows)


def variances(sobol: Sobol) -> HtmlTable:
    """Return the sets of positions that carry most of the variance."""
    rows = [
        [
            Cell(positions(support, sobol.start), support[0]),
            Cell(str(len(support)), len(support)),
            number(fraction),
        ]
        for support, fraction in sobol.top(ROWS)
        if support and fraction >= NEGLIGIBLE**2
    ]
    return HtmlTable(("positions", "order", "fraction of the variance"), rows)


def sequences(explanation: Explanation, space: SequenceSpace, names: list[str]) -> HtmlTable:
    """Return one row for each sequence: its score, and the positions with the largest Shapley values."""
    scores = explanation.base_values + explanation.values.sum(axis=1)
    order = np.argsort(-np.abs(explanation.values), axis=1, kind="stable")[:, :STRONGEST]
    rows = []
    numbers = numbered(range(space.n), explanation.start)
    for name, text, score, values, strongest in zip(
        names, space.decode(explanation.data), scores, explanation.values, order, strict=True
    ):
        words = ", ".join(
            f"{symbol_at(text[i], numbers[i])}\N{NO-BREAK SPACE}{values[i]:+.3g}"
            for i in strongest
            if values[i]
        )
        largest = float(np.abs(values).max(initial=0.0))
        rows.append([Cell(name), Cell(text), number(float(score)), Cell(words, largest)])
    return HtmlTable(("name", "sequence", "score", "strongest positions"), rows)
