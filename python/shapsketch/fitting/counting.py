"""Trees that test counts of k-mers and of runs, and the flat arrays of the core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from shapsketch import _core
from shapsketch.fitting.run_features import RunCount, numbers
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
    relations : tuple of _core.Relation
        The relations of runs.
    counts : dict of Count or RunCount to int
        Number of each count.
    thresholds : dict of int to int
        Threshold of each split on a count, by the index of the node. Until all conditions are known, the
        entry of `conditions` for count c is ``-2 - c``.
    """

    relations: tuple[_core.Relation, ...] = ()
    counts: dict[Count | RunCount, int] = field(default_factory=dict)
    thresholds: dict[int, int] = field(default_factory=dict)

    def at_most(self, count: Count | RunCount, threshold: int) -> int:
        """Add a split on whether a count is at most a threshold to the last tree; return its number."""
        self.thresholds[len(self.conditions)] = threshold
        return self.split(-2 - self.counts.setdefault(count, len(self.counts)))

    def counting_trees(self, constant: float) -> _core.CountingTrees:
        """Return the sum of the trees and a constant, as trees of the core."""
        kmers = [count for count in self.counts if isinstance(count, Count)]
        runs = [count for count in self.counts if isinstance(count, RunCount)]
        # Counts are numbered after all conditions, those of k-mers before those of runs.
        final = [*(self.counts[count] for count in kmers), *(self.counts[count] for count in runs)]
        conditions = np.array(self.conditions, dtype=np.int64)
        tests = conditions < -1
        conditions[tests] = len(self.starts) - 1 + np.argsort(final)[-2 - conditions[tests]]
        thresholds = np.zeros(len(conditions), dtype=np.uint32)
        thresholds[list(self.thresholds)] = list(self.thresholds.values())
        return _core.CountingTrees(
            self.space._core,
            constant=constant,
            starts=np.array(self.starts, dtype=np.uint64),
            positions=np.array(self.positions, dtype=np.uint16),
            sets=np.array(self.sets, dtype=np.uint64),
            lengths=np.array([len(count.kmer) for count in kmers], dtype=np.uint16),
            firsts=np.array([count.first for count in kmers], dtype=np.uint16),
            lasts=np.array([count.last for count in kmers], dtype=np.uint16),
            steps=np.array([count.step for count in kmers], dtype=np.uint16),
            kmers=np.array([code for count in kmers for code in count.kmer], dtype=np.uint8),
            # Without runs their relations are not needed.
            relations=list(self.relations) if runs else [],
            runs=numbers(runs),
            roots=np.array(self.roots, dtype=np.uint64),
            conditions=conditions,
            thresholds=thresholds,
            yes=np.array(self.yes, dtype=np.uint32),
            no=np.array(self.no, dtype=np.uint32),
            values=np.array(self.values, dtype=np.float64),
        )
