"""The choice of coalitions for one sequence."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np

from shapsketch._validate import check_memory
from shapsketch.explain.coalitions import AllCoalitions, CoalitionPairs
from shapsketch.explain.differing import differing_rates
from shapsketch.explain.permutations import Permutations
from shapsketch.query.background import Background
from shapsketch.space import Codes

Coalitions: TypeAlias = AllCoalitions | CoalitionPairs | Permutations

# Fraction of the calls of each sequence that estimate the mean over the background. Short sequences use more,
# 0.5 / n, because the error of that mean is divided among few positions.
BACKGROUND_FRACTION = 0.05
# Smallest number of these calls.
MIN_BACKGROUND_CALLS = 8
# Predicted memory for each symbol of each hybrid of one sequence, in bytes.
SYMBOL_BYTES = 48


def rng_of(seed: tuple[int, ...], row: Codes) -> np.random.Generator:
    """Return the random numbers of one sequence, which do not depend on the other sequences of a batch."""
    digest = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
    return np.random.default_rng([*seed, int.from_bytes(digest, "little")])


def coalitions_of(
    row: Codes, calls: int, background: Background, seed: tuple[int, ...], mean_known: bool, pairs: bool
) -> Coalitions:
    """Return coalitions of one sequence with at most `calls` hybrids: all, those of walks, or random ones.

    Pairs need random ones. One reference has them too, because no symbols of the background vary.
    """
    positions, exhaustive, rng = np.arange(len(row)), False, rng_of(seed, row)
    if background.fixed:
        assert background.references is not None
        positions = np.flatnonzero(row != background.references[0])
        exhaustive = 2 ** len(positions) <= calls
    n_hybrids = 2 ** len(positions) if exhaustive else calls
    check_memory(
        f"sampling with {n_hybrids:,} evaluations of one sequence",
        n_hybrids * (SYMBOL_BYTES * len(row) + background.space.q),
        "use fewer evaluations: lower calls_per_sequence or the budget",
    )
    if background.fixed:
        assert background.references is not None
        if exhaustive:
            return AllCoalitions.enumerate(row, background.references[0], positions)
        backgrounds = np.repeat(background.references, 1 + (calls - 2) // 2, axis=0)
        return CoalitionPairs.draw(row, positions, backgrounds, 1, rng, complete=True)
    if not pairs:
        walks = Permutations.within(row, differing_rates(row, background), background, calls, rng)
        if walks is not None:
            return walks
    n, n_background = len(row), 0
    if not mean_known:
        # One position has only the empty and the full coalition; all calls then estimate the mean.
        n_background = calls - 1
        if n > 1:
            n_background = max(MIN_BACKGROUND_CALLS, round(max(BACKGROUND_FRACTION, 0.5 / n) * calls))
    listed = background.listed(row)
    complete = listed is not None and len(listed) <= n_background
    if listed is None or not complete:
        listed = background.draw(row, n_background, rng)
    n_pairs = (calls - 1 - len(listed)) // 2 if n > 1 else 0
    backgrounds = np.concatenate([listed, background.draw(row, n_pairs, rng)])
    return CoalitionPairs.draw(row, positions, backgrounds, len(listed), rng, complete=complete)
