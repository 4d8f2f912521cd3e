"""Trees that test counts of k-mers, and the flat arrays of the core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from shapsketch import _core
from shapsketch.trees.forest import Forest


class Count(NamedTuple):
    """How many windows of a sequence are equal to a k-mer.

    Attributes
    ----------
    kmer : tuple of int
        The codes of the k-mer.
    first, last, step : int
        The windows start at ``first``, ``first + step``, ... up to `last`.
    """

    kmer: tuple[int, ...]
    first: int
    last: int
    step: int


@dataclass
class CountingForest(Forest):
    """Trees as flat arrays, with splits on conditions and on counts.

    Attributes
    ----------
    counts : dict of Count to int
        Number of each count.
    thresholds : dict of int to int
        Threshold of each split on a count, by the index of the node. Until all conditions are known, the
        entry of `conditions` for count c is ``-2 - c``.
    """

    counts: dict[Count, int] = field(default_factory=dict)
    thresholds: dict[int, int] = field(default_factory=dict)

    def at_most(self, count: Count, threshold: int) -> int:
        """Add a split on whether a count is at most a threshold to the last tree; return its number."""
        self.thresholds[len(self.conditions)] = threshold
        return self.split(-2 - self.counts.setdefault(count, len(self.counts)))

    def counting_trees(self, constant: float) -> _core.CountingTrees:
        """Return the sum of the trees and a constant, as trees of the core."""
        conditions = np.array(self.conditions, dtype=np.int64)
        # Counts are numbered after all conditions.
        conditions[conditions < -1] = len(self.starts) - 3 - conditions[conditions < -1]
        thresholds = np.zeros(len(conditions), dtype=np.uint32)
        thresholds[list(self.thresholds)] = list(self.thresholds.values())
        counts = list(self.counts)
        return _core.CountingTrees(
            self.space._core,
            constant=constant,
            starts=np.array(self.starts, dtype=np.uint64),
            positions=np.array(self.positions, dtype=np.uint16),
            sets=np.array(self.sets, dtype=np.uint64),
            lengths=np.array([len(count.kmer) for count in counts], dtype=np.uint16),
            firsts=np.array([count.first for count in counts], dtype=np.uint16),
            lasts=np.array([count.last for count in counts], dtype=np.uint16),
            steps=np.array([count.step for count in counts], dtype=np.uint16),
            kmers=np.array([code for count in counts for code in count.kmer], dtype=np.uint8),
            roots=np.array(self.roots, dtype=np.uint64),
            conditions=conditions,
            thresholds=thresholds,
            yes=np.array(self.yes, dtype=np.uint32),
            no=np.array(self.no, dtype=np.uint32),
            values=np.array(self.values, dtype=np.float64),
        )
