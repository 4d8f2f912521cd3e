"""Runs: consecutive pairs of positions whose symbols are related, such as the stems of an RNA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.space import Codes, numbered

# How runs of the relations of the core read: of one pair and of several, ascending and descending.
VERBS = {
    ("complement", True): ("pairs with", "pair with"),
    ("complement", False): ("pairs in parallel with", "pair in parallel with"),
    ("wobble", True): ("pairs or wobbles with", "pair or wobble with"),
    ("wobble", False): ("pairs or wobbles in parallel with", "pair or wobble in parallel with"),
    ("strong", True): ("pairs strongly with", "pair strongly with"),
    ("strong", False): ("pairs strongly in parallel with", "pair strongly in parallel with"),
    ("equal", True): ("equals", "equal"),
    ("equal", False): ("equals", "equal"),
}


@dataclass(frozen=True)
class Run:
    """Consecutive pairs of positions whose symbols are related.

    ``str`` gives it in words, such as ``"positions 3-6 pair with 14-17"`` for the stem of 3 with 17 to 6
    with 14.

    Attributes
    ----------
    relation : str
        Name of the relation: "complement", "wobble" (also G with U or T), "strong" (C with G), "equal", or
        that of a relation of the user.
    pairs : tuple of (int, int)
        The pairs of positions, from 0. The first positions ascend; the second ones ascend in a repeat and
        descend in a stem.
    start : int
        Number of the first position, from which ``str`` counts.
    """

    relation: str
    pairs: tuple[tuple[int, int], ...]
    start: int = 0

    def __str__(self) -> str:
        first, second = (numbered(positions, self.start) for positions in zip(*self.pairs, strict=True))
        single = len(self.pairs) == 1
        reversed_ = single or second[1] < second[0]
        subject = f"position {first[0]}" if single else f"positions {first[0]}-{first[-1]}"
        verbs = VERBS.get((self.relation, reversed_))
        if verbs is None:
            verb, end = ("relates to" if single else "relate to"), f" ({self.relation})"
        else:
            verb, end = verbs[not single], ""
        if single:
            return f"{subject} {verb} {second[0]}{end}"
        # The strands of a stem are both named from their first position.
        stem = reversed_ and self.relation in ("complement", "wobble", "strong")
        start, stop = (second[-1], second[0]) if stem else (second[0], second[-1])
        return f"{subject} {verb} {start}-{stop}{end}"

    @classmethod
    def of(cls, run: _core.Run, relations: list[_core.Relation], start: int = 0) -> Run:
        """Return a run of the core, whose relation is one of `relations`."""
        number, first, second, length, descends = run
        step = -1 if descends else 1
        pairs = tuple((first + k, second + step * k) for k in range(length))
        return cls(relations[number].name, pairs, start)


def occurrences(
    codes: Codes, runs: list[_core.Run], sets: list[tuple[int, int]], relations: list[_core.Relation]
) -> npt.NDArray[np.bool_]:
    """Return which sequences have all runs, and a symbol of each set at its position; (B,)."""
    has = np.ones(len(codes), dtype=np.bool_)
    symbols = np.arange(64, dtype=np.uint64)
    for run in runs:
        rows = np.array(relations[run[0]].rows, dtype=np.uint64)
        related = (rows[:, None] >> symbols) & np.uint64(1) == 1
        for i, j in Run.of(run, relations).pairs:
            has &= related[codes[:, i], codes[:, j]]
    for position, bits in sets:
        allowed = (np.uint64(bits) >> symbols) & np.uint64(1) == 1
        has &= allowed[codes[:, position]]
    return has


def symbols_in_words(sets: list[tuple[int, int]], alphabet: str, start: int) -> str:
    """Return sets of symbols at positions in words, such as ``"A or G at 5"``, counted from `start`."""
    listed = [
        " or ".join(symbol for code, symbol in enumerate(alphabet) if bits >> code & 1) for _, bits in sets
    ]
    numbers = numbered([position for position, _ in sets], start)
    return ", ".join(f"{symbols} at {number}" for symbols, number in zip(listed, numbers, strict=True))


def support_of(
    runs: list[_core.Run], sets: list[tuple[int, int]], relations: list[_core.Relation]
) -> tuple[int, ...]:
    """Return the positions of runs and sets, ascending."""
    of_runs = {i for run in runs for pair in Run.of(run, relations).pairs for i in pair}
    return tuple(sorted(of_runs | {position for position, _ in sets}))
