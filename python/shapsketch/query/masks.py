"""Masks of features as sequences: symbol 1 if a feature is kept, 0 if it is removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shapsketch.query.distribution import Distribution, Hybrids
from shapsketch.space import SequenceSpace

SYMBOLS = "01"


def mask_space(n: int) -> SequenceSpace:
    """Return the space of the masks of n features."""
    return SequenceSpace(SYMBOLS, n)


def coalitions(space: SequenceSpace) -> Distribution:
    """Return coalitions with a uniform fraction of features, the empty and the grand one always included.

    Shapley values weight all sizes of coalitions equally, as this distribution does. Features have no order.
    """
    empty, grand = np.zeros((1, space.n), dtype=np.uint8), np.ones((1, space.n), dtype=np.uint8)
    hybrids = Hybrids(grand, empty).of(space)
    return replace(
        hybrids, text="coalitions of every size", first=np.concatenate([empty, grand]), ordered=False
    )
