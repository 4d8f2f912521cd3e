"""The mutants of a sequence with the highest or lowest predicted scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import integer
from shapsketch.errors import InputError
from shapsketch.explain.table import Record, Table
from shapsketch.space import Codes, SequenceSpace, Values

# Default of `limit`: the largest number of mutants that are all compared.
MAX_COMPARED = 5_000_000
# Largest number of mutants that are predicted at a time.
CHUNK = 65_536
# Smallest number of mutants that the beam search keeps after each step.
BEAM_WIDTH = 200


@dataclass(frozen=True, eq=False)
class Mutants(Table):
    """The mutants of one sequence with the highest (or lowest) predicted scores, best first.

    Attributes
    ----------
    codes : numpy.ndarray of uint8, shape (count, n)
    sequences : list of str
    scores : numpy.ndarray of float64, shape (count,)
        Scores that the sketch predicts, on its scale.
    changes : numpy.ndarray of float64, shape (count,)
        Each score minus the predicted score of the original sequence.
    mutations : list of str
        Names such as ``"A3G C7T"``: symbol, position (from 1, as is usual in this notation), new symbol.
    exact : bool
        Whether all mutants were compared. If not, a beam search was used, and better mutants may exist.
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
    """Return the `count` mutants of a sequence, `row` (n,), with the highest (lowest) predicted scores.

    They have exactly `mutations` substitutions. All mutants are compared if there are at most `limit`.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    mutations = integer("mutations", mutations, least=1)
    if mutations > space.n:
        raise InputError(f"mutations must be at most {space.n}, the length, got {mutations}")
    count, limit = integer("count", count, least=1), integer("limit", limit, least=0)
    sign = -1.0 if minimize else 1.0
    exact = comb(space.n, mutations) * (space.q - 1) ** mutations <= limit
    if exact:
        batches = _all_mutants(space, row, mutations)
    else:
        batches = _beam_search(components, space, row, mutations, count, sign)
    best = np.empty((0, space.n), dtype=np.uint8)
    scores = np.empty(0)
    for codes in batches:
        best = np.concatenate([best, codes])
        scores = np.concatenate([scores, components.predict(codes)])
        order = np.argsort(-sign * scores, kind="stable")[:count]
        best, scores = best[order], scores[order]
    original_score = float(components.predict(row[None])[0])
    alphabet = space.alphabet
    names = [
        " ".join(f"{alphabet[row[i]]}{i + 1}{alphabet[mutant[i]]}" for i in np.flatnonzero(mutant != row))
        for mutant in best
    ]
    return Mutants(best, space.decode(best), scores, scores - original_score, names, exact)


def _all_mutants(space: SequenceSpace, row: Codes, mutations: int) -> Iterator[Codes]:
    """Yield all mutants with exactly `mutations` substitutions, in chunks."""
    others = space.q - 1
    count = others**mutations
    supports = combinations(range(space.n), mutations)
    while True:
        chunk = np.array(list(islice(supports, max(1, CHUNK // count))), dtype=np.int64)
        if not len(chunk):
            return
        for start in range(0, count, CHUNK):
            numbers = np.arange(start, min(start + CHUNK, count))
            # The digits of a number, plus 1, are the amounts (modulo q) that are added to the codes.
            steps = 1 + numbers[:, None] // others ** np.arange(mutations)[::-1] % others
            codes = np.repeat(np.tile(row, (len(chunk), 1)), len(steps), axis=0)
            positions = np.repeat(chunk, len(steps), axis=0)
            symbols = np.take_along_axis(codes, positions, axis=1).astype(np.int64)
            symbols = (symbols + np.tile(steps, (len(chunk), 1))) % space.q
            np.put_along_axis(codes, positions, symbols.astype(np.uint8), axis=1)
            yield codes


def _beam_search(
    components: _core.Components, space: SequenceSpace, row: Codes, mutations: int, count: int, sign: float
) -> Iterator[Codes]:
    """Add one substitution at a time and keep the best mutants of each step; yield those of the last step."""
    beam: npt.NDArray[np.uint8] = row[None].copy()
    width = max(BEAM_WIDTH, count)
    for _ in range(mutations):
        effects = components.mutation_effects(beam).reshape(len(beam), space.n, space.q)
        scores = sign * (components.predict(beam)[:, None, None] + effects)
        # Each position is substituted at most once, and never by its original symbol.
        scores[beam != row] = -np.inf
        original = np.arange(space.q) == row[:, None]
        scores[:, original] = -np.inf
        # Take more than `width`: different orders of the same substitutions give the same mutant.
        order = np.argsort(-scores.ravel(), kind="stable")[: width * mutations * 2]
        order = order[np.isfinite(scores.ravel()[order])]
        parents, positions, symbols = np.unravel_index(order, scores.shape)
        mutants = beam[parents]
        mutants[np.arange(len(mutants)), positions] = symbols
        _, first = np.unique(mutants, axis=0, return_index=True)
        beam = mutants[np.sort(first)][:width]
    yield beam
