"""The mutants of a sequence with the highest or lowest predicted scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shapsketch._validate import array_of, boolean, check_memory, integer, shown
from shapsketch.errors import InputError
from shapsketch.explain.closed_form import ClosedForm
from shapsketch.explain.doubles import best_doubles
from shapsketch.explain.table import Record, Table
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, substitution

logger = logging.getLogger(__name__)

# Default of `limit`: the largest number of mutants that are all compared.
MAX_COMPARED = 5_000_000
# Bytes of codes and scores that are computed at a time.
CHUNK = 1 << 26
# Predicted memory of one mutant besides its codes, sequence and name, in bytes.
MUTANT_BYTES = 400
# Smallest number of mutants that the beam search keeps after each step.
BEAM_WIDTH = 200
# Number of scored mutants from which a beam search takes long enough, several seconds, for a warning.
MANY_SCORED = 50_000_000
# Largest number of entries of the epistasis of all pairs, relative to the number of double mutants.
EPISTASIS_SIZE = 4
# Predicted seconds of a comparison of all mutants, from which there is a warning.
LONG = 10.0


@dataclass(frozen=True, eq=False)
class Mutants(Table):
    """The mutants of one sequence with the highest (or lowest) predicted scores, best first.

    Attributes
    ----------
    codes : numpy.ndarray of uint8, shape (count, n)
    sequences : list of str
    scores : numpy.ndarray of float64, shape (count,)
        Predicted scores, on the scale of the sketch.
    changes : numpy.ndarray of float64, shape (count,)
        Each score minus the predicted score of the original sequence.
    mutations : list of str
        Names such as ``"A3G C7T"``: symbol, number of the position, new symbol. Numbers count from the start
        of the space (``ss.SequenceSpace(..., start=1)``), as in all results.
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


def one_sequence(sequence: object, space: SequenceSpace) -> Codes:
    """Return the codes (n,) of one sequence, a string or codes (n,).

    Raises
    ------
    InputError
        If it is something else, or does not belong to the space.
    """
    batch: Sequences
    if isinstance(sequence, str):
        batch = [sequence]
    else:
        codes = array_of("sequence", sequence)
        if codes.ndim != 1 or codes.dtype.kind not in "iu":
            raise InputError(f"pass one sequence, a string or codes ({space.n},), got {shown(sequence)}")
        batch = codes[None]
    row: Codes = space.encode(batch)[0]
    return row


def by_letter(effects: Values, space: SequenceSpace) -> Values:
    """Return effects of substitutions (B, n q) as (B, n, q), NaN for letters that a position cannot have."""
    cells = effects.reshape(len(effects), space.n, space.q)
    return np.where(space.allowed, cells, np.nan) if space.varies else cells


class Scores(Protocol):
    """Predicted scores, and their changes by every substitution."""

    def predict(self, codes: Codes) -> Values:
        """Return scores (B,)."""

    def mutation_effects(self, codes: Codes) -> Values:
        """Return changes (B, n q)."""


@dataclass(frozen=True)
class Wanted:
    """Which mutants to find.

    They have exactly `mutations` substitutions, or up to `mutations` if `fewer`. All mutants with a number of
    substitutions are compared if there are at most `limit`.

    Raises
    ------
    InputError
        If an option is out of range.
    """

    mutations: int
    count: int
    minimize: bool
    limit: int
    fewer: bool

    def __post_init__(self) -> None:
        for name, least in (("mutations", 1), ("count", 1), ("limit", 0)):
            object.__setattr__(self, name, integer(name, getattr(self, name), least=least))
        for name in ("minimize", "fewer"):
            object.__setattr__(self, name, boolean(name, getattr(self, name)))


def best_mutants(
    scores_of: Scores,
    space: SequenceSpace,
    row: Codes,
    wanted: Wanted,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> Mutants:
    """Return the mutants of a sequence, `row` (n,), with the highest (lowest) predicted scores.

    Their substitutions are by symbols that are `allowed` (n, q), by default all.

    Raises
    ------
    InputError
        If there are too few positions, or the mutants need more memory than the machine can give.
    """
    mutations, count, limit, fewer = wanted.mutations, wanted.count, wanted.limit, wanted.fewer
    others = (np.arange(space.q) != row[:, None]) & space.allowed
    if allowed is not None:
        others &= allowed
    n_positions = int(others.any(axis=1).sum())
    if mutations > n_positions:
        what = "the length" if allowed is None else "the positions with substitutions in the library"
        raise InputError(f"mutations must be at most {n_positions}, {what}, got {mutations}")
    totals = _numbers_of_mutants(others.sum(axis=1), mutations)
    kept = min(totals[-1], max(BEAM_WIDTH, count))
    check_memory(
        f"{kept:,} mutants", kept * (MUTANT_BYTES + 5 * space.n + 16 * mutations), "use a smaller count"
    )
    search = _Search(scores_of, row, others, -1.0 if wanted.minimize else 1.0)
    best, scores = np.empty((0, space.n), dtype=np.uint8), np.empty(0)
    compared = [number for number, total in enumerate(totals, 1) if total <= limit]
    for number in compared:
        if fewer or number == mutations:
            best, scores = search.merged(best, scores, search.compare_all(number, count, totals), count)
    if len(compared) < mutations and (fewer or mutations not in compared):
        for number, beam in search.beams(mutations, kept, totals, limit):
            if number not in compared and (fewer or number == mutations):
                best, scores = search.merged(best, scores, beam, count)
    original_score = float(scores_of.predict(row[None])[0])
    alphabet = space.alphabet
    names = [
        " ".join(
            substitution(alphabet[row[i]], int(i), alphabet[mutant[i]], space.start)
            for i in np.flatnonzero(mutant != row)
        )
        for mutant in best
    ]
    exact = len(compared) == mutations if fewer else mutations in compared
    return Mutants(best, space.decode(best), scores, scores - original_score, names, exact)


def _numbers_of_mutants(choices: npt.NDArray[np.int64], mutations: int) -> list[int]:
    """Return the numbers of mutants with 1 to `mutations` substitutions; each at most 2**62.

    `choices` is the number of substitutions of each position. The numbers are the coefficients of
    ``prod(1 + choices x)``, exact below 2**53.
    """
    coefficients = np.zeros(mutations + 1)
    coefficients[0] = 1.0
    with np.errstate(over="ignore"):
        for choice in choices:
            coefficients[1:] += choice * coefficients[:-1]
    return [int(min(coefficient, 2.0**62)) for coefficient in coefficients[1:]]


@dataclass(frozen=True)
class _Search:
    """The search for mutants of a sequence, `row` (n,), by substitutions `others` (n, q).

    Scores are compared after multiplication by `sign`, 1 or -1.
    """

    scores_of: Scores
    row: Codes
    others: npt.NDArray[np.bool_]
    sign: float

    def merged(self, best: Codes, scores: Values, new: Codes, count: int) -> tuple[Codes, Values]:
        """Return the best `count` of scored and new mutants, best first, and their scores."""
        new_scores = self.scores_of.predict(new)
        if len(scores) == count:
            # Mutants that are not better than the last one cannot be among the best.
            better = self.sign * new_scores > self.sign * scores[-1]
            new, new_scores = new[better], new_scores[better]
        best, scores = np.concatenate([best, new]), np.concatenate([scores, new_scores])
        order = np.argsort(-self.sign * scores, kind="stable")[:count]
        return best[order], scores[order]

    def compare_all(self, mutations: int, count: int, totals: list[int]) -> Codes:
        """Return the best `count` of all mutants with `mutations` substitutions."""
        total, scores_of = totals[mutations - 1], self.scores_of
        if mutations == 2 and isinstance(scores_of, ClosedForm):
            q = self.others.shape[1]
            if scores_of.n_pairs * q**2 <= EPISTASIS_SIZE * total:
                return best_doubles(scores_of, self.row, self.others, min(count, total), self.sign)
        best, scores = np.empty((0, len(self.row)), dtype=np.uint8), np.empty(0)
        compared, start = 0, time.monotonic()
        for codes in _all_mutants(self.row, self.others, mutations):
            best, scores = self.merged(best, scores, codes, count)
            if compared == 0:
                seconds = (time.monotonic() - start) * total / len(codes)
                if seconds >= LONG:
                    logger.warning(
                        "comparing all %d mutants with %d mutations takes about %.0f s; a smaller limit= "
                        "uses a beam search, a library= has fewer mutants",
                        total,
                        mutations,
                        seconds,
                    )
            compared += len(codes)
        return best

    def beams(self, mutations: int, width: int, totals: list[int], limit: int) -> Iterator[tuple[int, Codes]]:
        """Yield the best mutants of each step of a beam search, with their number of substitutions.

        It starts from the best double mutants of all if there are at most `limit`, because two substitutions
        can be good together though neither is good alone.
        """
        start, beam = 0, self.row[None]
        if mutations > 2 and max(totals[:2]) <= limit:
            start, beam = 2, self.compare_all(2, width, totals)
        # The first step from the sequence itself has one parent, the others have up to `width`.
        steps = mutations - start
        scored = (steps * width if start else 1 + (steps - 1) * width) * int(self.others.sum())
        if scored >= MANY_SCORED:
            logger.warning(
                "the beam search scores about %.1e mutants, in %d steps from %d mutants each; a smaller "
                "count or fewer mutations take less time",
                scored,
                steps,
                width,
            )
        yield from _beam_search(self, beam, start, mutations, width)


def _all_mutants(row: Codes, others: npt.NDArray[np.bool_], mutations: int) -> Iterator[Codes]:
    """Yield all mutants with exactly `mutations` substitutions by `others` (n, q), in chunks."""
    n, q = others.shape
    choices, size = others.sum(axis=1), max(1, CHUNK // (n + 16 * mutations))
    # The other symbols of each position, in the order that follows its own symbol.
    cyclic = (row[:, None].astype(np.int64) + np.arange(q)) % q
    first = np.argsort(~np.take_along_axis(others, cyclic, axis=1), axis=1, kind="stable")
    symbols = np.take_along_axis(cyclic, first, axis=1).astype(np.uint8)
    supports = combinations(np.flatnonzero(choices).tolist(), mutations)
    largest = int(choices.max()) ** mutations
    while True:
        chunk = np.array(list(islice(supports, max(1, size // largest))), dtype=np.int64)
        if not len(chunk):
            return
        counts = choices[chunk].prod(axis=1)
        ends = np.cumsum(counts)
        for start in range(0, int(ends[-1]), size):
            numbers = np.arange(start, min(start + size, int(ends[-1])))
            support = np.searchsorted(ends, numbers, side="right")
            # The digits of a number, with the choices of each position as radices, are the symbols.
            numbers -= (ends - counts)[support]
            codes = np.tile(row, (len(numbers), 1))
            for positions in chunk[support].T[::-1]:
                numbers, digits = np.divmod(numbers, choices[positions])
                codes[np.arange(len(codes)), positions] = symbols[positions, digits]
            yield codes


def _beam_search(
    search: _Search, beam: Codes, start: int, mutations: int, width: int
) -> Iterator[tuple[int, Codes]]:
    """Add one substitution at a time to mutants that have `start`; yield the best `width` of each step."""
    # A mutant is recognised by a sum of random numbers, one for each symbol at each position, because
    # different orders of the same substitutions give the same mutant. In the largest search two mutants have
    # the same sum with a probability of about 1e-6; one of them is then lost.
    row, others = search.row, search.others
    n, q = others.shape
    table = np.random.default_rng(0).integers(0, 2**64, n * q, dtype=np.uint64)
    substituted = beam != row
    keys = np.where(substituted, table[np.arange(n) * q + beam], np.uint64(0)).sum(axis=1, dtype=np.uint64)
    size = max(1, CHUNK // (8 * n * q))
    for step in range(start + 1, mutations + 1):
        best = _Candidates(width)
        for first in range(0, len(beam), size):
            part = beam[first : first + size]
            scores_of = search.scores_of
            scores = search.sign * (scores_of.predict(part)[:, None] + scores_of.mutation_effects(part))
            # Each position is substituted at most once, and never by its original symbol.
            scores[np.repeat(part != row, q, axis=1)] = -np.inf
            scores[:, ~others.ravel()] = -np.inf
            # At most `step` parents have the same child.
            parents, cells = _highest(scores, width * min(step, len(part)))
            new = keys[first + parents] + table[cells]
            best.add(scores[parents, cells], first + parents, cells, new)
        parents, cells, keys = best.parents, best.cells, best.keys
        beam = beam[parents]
        beam[np.arange(len(beam)), cells // q] = cells % q
        yield step, beam


def _highest(scores: Values, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows and columns of the `count` highest finite scores; of equal scores the first ones."""
    flat = scores.ravel()
    least = -np.inf if count >= len(flat) else np.partition(flat, len(flat) - count)[len(flat) - count]
    chosen = np.flatnonzero((flat > least) & np.isfinite(flat))
    if np.isfinite(least):
        chosen = np.concatenate([chosen, np.flatnonzero(flat == least)[: count - len(chosen)]])
    rows, columns = np.divmod(chosen, scores.shape[1])
    return rows, columns


class _Candidates:
    """The best distinct mutants of one step, in descending order of their scores.

    Attributes
    ----------
    scores : numpy.ndarray of float64, shape (k,), k at most `width`
    parents, cells : numpy.ndarray of int64, shape (k,)
        Index of the mutant that is substituted, and ``position * q + symbol`` of the substitution.
    keys : numpy.ndarray of uint64, shape (k,)
        Equal for equal mutants.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self.scores = np.empty(0)
        self.parents, self.cells = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self.keys = np.empty(0, dtype=np.uint64)

    def add(
        self,
        scores: Values,
        parents: npt.NDArray[np.int64],
        cells: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint64],
    ) -> None:
        """Add mutants; drop repeated ones, and those that are not among the best."""
        scores = np.concatenate([self.scores, scores])
        keys = np.concatenate([self.keys, keys])
        order = np.argsort(-scores, kind="stable")
        _, first = np.unique(keys[order], return_index=True)
        order = order[np.sort(first)[: self._width]]
        self.scores, self.keys = scores[order], keys[order]
        self.parents = np.concatenate([self.parents, parents])[order]
        self.cells = np.concatenate([self.cells, cells])[order]
