"""The best or worst mutants of a sequence, as a sketch predicts them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.explain.table import Record, Table
from shapsketch.space import Codes, SequenceSpace, Values

# Mutants predicted at a time.
CHUNK = 65_536
# Mutants that a search keeps from step to step.
BEAM = 200


@dataclass(frozen=True, eq=False)
class Mutants(Table):
    """Mutants of one sequence with the highest, or lowest, predicted scores.

    Attributes
    ----------
    codes : numpy.ndarray of uint8, shape (count, n)
    sequences : list of str
    scores : numpy.ndarray of float64, shape (count,)
        Scores of the sketch, on its scale.
    changes : numpy.ndarray of float64, shape (count,)
        Scores less that of the sequence itself.
    mutations : list of str
        Such as ``"A3G C7T"``: letter, position from 1 as is usual in this notation, new letter.
    exact : bool
        Whether all mutants were compared; if not, they come from a beam search, and better ones may exist.
    """

    codes: Codes
    sequences: list[str]
    scores: Values
    changes: Values
    mutations: list[str]
    exact: bool

    def records(self) -> list[Record]:
        """Return one row for each mutant."""
        return [
            {"mutations": m, "score": float(s), "change": float(c), "sequence": sequence}
            for m, s, c, sequence in zip(
                self.mutations, self.scores, self.changes, self.sequences, strict=True
            )
        ]


def best_mutants(
    components: _core.Components,
    space: SequenceSpace,
    row: Codes,
    *,
    mutations: int,
    count: int,
    minimize: bool,
    limit: int,
) -> Mutants:
    """Return the mutants with exactly so many mutations whose scores are highest (lowest)."""
    sign = -1.0 if minimize else 1.0
    exact = comb(space.n, mutations) * (space.q - 1) ** mutations <= limit
    found = _all(space, row, mutations) if exact else _beam(components, space, row, mutations, count, sign)
    best = np.empty((0, space.n), dtype=np.uint8)
    scores = np.empty(0)
    for codes in found:
        best = np.concatenate([best, codes])
        scores = np.concatenate([scores, components.predict(codes)])
        order = np.argsort(-sign * scores, kind="stable")[:count]
        best, scores = best[order], scores[order]
    own = float(components.predict(row[None])[0])
    alphabet = space.alphabet
    names = [
        " ".join(f"{alphabet[row[i]]}{i + 1}{alphabet[mutant[i]]}" for i in np.flatnonzero(mutant != row))
        for mutant in best
    ]
    return Mutants(best, space.decode(best), scores, scores - own, names, exact)


def _all(space: SequenceSpace, row: Codes, mutations: int) -> Iterator[Codes]:
    """Yield all mutants, in chunks."""
    others = space.q - 1
    count = others**mutations
    places = combinations(range(space.n), mutations)
    while True:
        chosen = np.array(list(islice(places, max(1, CHUNK // count))), dtype=np.int64)
        if not len(chosen):
            return
        for start in range(0, count, CHUNK):
            numbers = np.arange(start, min(start + CHUNK, count))
            # How many letters each position goes on, as the digits of a number.
            steps = 1 + numbers[:, None] // others ** np.arange(mutations)[::-1] % others
            codes = np.repeat(np.tile(row, (len(chosen), 1)), len(steps), axis=0)
            positions = np.repeat(chosen, len(steps), axis=0)
            changed = np.take_along_axis(codes, positions, axis=1).astype(np.int64)
            changed = (changed + np.tile(steps, (len(chosen), 1))) % space.q
            np.put_along_axis(codes, positions, changed.astype(np.uint8), axis=1)
            yield codes


def _beam(
    components: _core.Components, space: SequenceSpace, row: Codes, mutations: int, count: int, sign: float
) -> Iterator[Codes]:
    """Mutate step by step, keeping the best of each step."""
    beam: npt.NDArray[np.uint8] = row[None].copy()
    width = max(BEAM, count)
    for _ in range(mutations):
        effects = components.mutation_effects(beam).reshape(len(beam), space.n, space.q)
        scores = sign * (components.predict(beam)[:, None, None] + effects)
        # A position is mutated once.
        scores[beam != row] = -np.inf
        own = np.arange(space.q) == row[:, None]
        scores[:, own] = -np.inf
        # As many may be the same mutant, reached in another order.
        order = np.argsort(-scores.ravel(), kind="stable")[: width * mutations * 2]
        order = order[np.isfinite(scores.ravel()[order])]
        parents, positions, letters = np.unravel_index(order, scores.shape)
        mutants = beam[parents]
        mutants[np.arange(len(mutants)), positions] = letters
        _, first = np.unique(mutants, axis=0, return_index=True)
        beam = mutants[np.sort(first)][:width]
    yield beam
