"""Counts of runs as features of boosted trees: which ones are worth trying, and whether they can pay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.fitting.holdout import Labelled
from shapsketch.space import Codes, SequenceSpace, Values

# Pairs of the longest runs that are counted.
LONGEST_RUN = 6
# Runs at fixed positions, and counts for one distance, that trees may test: those that are most correlated
# with the values.
MOST_AT_POSITIONS = 300
MOST_BY_DISTANCE = 200
# Passes over the positions that remove the effects of single symbols. Two remove nearly all of them if
# positions depend on each other little.
PASSES = 3
# Counts of runs are tried if chance gives a correlation as large as theirs with at most this probability.
CHANCE = 0.01


class RunCount(NamedTuple):
    """How many runs of a length a sequence has.

    Attributes
    ----------
    relation : int
        Index of the relation.
    length : int
        Number of pairs of each run.
    reversed : bool
        Whether second positions descend, as in a stem.
    first, last : int
        Bounds of the first position of the first pair.
    nearest, farthest : int
        Bounds of the distance between the positions of the first pair.
    """

    relation: int
    length: int
    reversed: bool
    first: int
    last: int
    nearest: int
    farthest: int


@dataclass(frozen=True)
class RunCounts:
    """Counts of runs, and the relations of their pairs.

    Attributes
    ----------
    relations : tuple of _core.Relation
    counts : tuple of RunCount
    """

    relations: tuple[_core.Relation, ...] = ()
    counts: tuple[RunCount, ...] = ()

    def matrix(self, space: SequenceSpace, codes: Codes) -> npt.NDArray[np.float32]:
        """Return the counts (B, F) of codes."""
        rows = numbers(self.counts)
        return _core.count_runs(space._core, codes, list(self.relations), rows).astype(np.float32)


def numbers(counts: tuple[RunCount, ...] | list[RunCount]) -> npt.NDArray[np.uint16]:
    """Return counts as rows of numbers, one after the other, the form of the core."""
    return np.array(counts, dtype=np.uint16).ravel()


def promising_runs(space: SequenceSpace, data: Labelled) -> RunCounts:
    """Return the counts of runs that are worth trying as features.

    They are the counts for each length, and those for one distance and those for fixed positions that are
    most correlated with what single symbols do not explain. There are none if sequences are so long or so
    many that the work is large.
    """
    kinds = _core.run_kinds(space._core, len(data.codes))
    residuals = _without_symbols(space, data)
    runs = _core.strong_runs(
        space._core, data.codes, residuals, data.weights, kinds=kinds, most=MOST_AT_POSITIONS
    )
    if not runs:
        return RunCounts()
    relations = tuple(relation for relation, _ in kinds)
    directions = [descends for _, descends in kinds]
    lengths = range(1, min(LONGEST_RUN, space.n // 2) + 1)
    last = space.n - 1
    everywhere = [
        RunCount(r, length, d, 0, last, 1, last) for r, d in enumerate(directions) for length in lengths
    ]
    by_distance = [
        RunCount(r, length, d, 0, last, distance, distance)
        for r, d in enumerate(directions)
        for length in lengths
        for distance in range(2 * length - 1 if d else 1, space.n if d else space.n - length + 1)
    ]
    listed = RunCounts(relations, tuple(by_distance))
    strengths = np.abs(correlations(listed.matrix(space, data.codes), residuals, data.weights))
    strongest = np.argsort(-strengths, kind="stable")[:MOST_BY_DISTANCE]
    at_positions = [
        RunCount(relation, length, descends, first, first, second - first, second - first)
        for relation, first, second, length, descends in runs
    ]
    chosen = (*everywhere, *(by_distance[index] for index in strongest), *at_positions)
    return RunCounts(relations, chosen)


def pay(runs: RunCounts, space: SequenceSpace, held: Labelled, residuals: Values) -> bool:
    """Return whether a count is more correlated with residuals of held-out values than chance makes it."""
    strengths = correlations(runs.matrix(space, held.codes), residuals, held.weights) ** 2
    weights = np.ones(len(residuals)) if held.weights is None else held.weights
    effective = weights.sum() ** 2 / (weights**2).sum()
    # The squared correlation times the number of values has the χ² distribution with one degree of freedom,
    # which is above t with a probability of at most exp(-t / 2).
    return bool(effective * strengths.max() > 2.0 * math.log(len(runs.counts) / CHANCE))


def correlations(matrix: npt.NDArray[np.float32], values: Values, weights: Values | None) -> Values:
    """Return the correlation of each column with values; 0 if one of both does not vary."""
    weights = np.full(len(values), 1.0 / len(values)) if weights is None else weights / weights.sum()
    centred = values - weights @ values
    # The columns are converted in parts, because all of them in double precision need much memory.
    means = np.array([weights @ column for column in matrix.T])
    squares = np.array([weights @ np.square(column, dtype=np.float64) for column in matrix.T])
    products = np.array([(weights * centred) @ column for column in matrix.T])
    spread = np.sqrt(np.maximum(squares - means**2, 0.0) * (weights @ centred**2))
    result: Values = np.divide(products, spread, out=np.zeros(len(means)), where=spread > 0.0)
    return result


def _without_symbols(space: SequenceSpace, data: Labelled) -> Values:
    """Return values minus their mean and the effects of single symbols at each position."""
    weights = np.ones(len(data.values)) if data.weights is None else data.weights
    residuals: Values = data.values - np.average(data.values, weights=weights)
    for column in (*data.codes.T,) * PASSES:
        sums = np.bincount(column, weights * residuals, minlength=space.q)
        totals = np.bincount(column, weights, minlength=space.q)
        residuals = residuals - np.divide(sums, totals, out=np.zeros(space.q), where=totals > 0.0)[column]
    return residuals
