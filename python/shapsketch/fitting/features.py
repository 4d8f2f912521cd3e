"""Features of sequences for boosted trees: symbols and k-mers at positions, counts of k-mers and of runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import optional
from shapsketch.fitting.counting import Count, CountingForest
from shapsketch.fitting.run_features import RunCount, RunCounts
from shapsketch.space import Codes, SequenceSpace
from shapsketch.trees.forest import Forest, Tree
from shapsketch.trees.lightgbm import tree_of

# Largest number q**k of k-mers in one window, and the largest k.
KMERS = 64
LONGEST = 6
# Counts without positions: the largest number q**k of k-mers that are counted, the largest k, the number of
# reading frames, and the number of segments.
COUNTED = 400
LONGEST_COUNTED = 3
FRAMES = 3
SEGMENTS = 4
# The levels of count features; each contains those before it.
LEVELS = ("counts", "frames", "parts")


class Features(Protocol):
    """Features of sequences that trees can be fitted to."""

    @property
    def name(self) -> str:
        """Their name in messages."""

    @property
    def n_categories(self) -> int:
        """How many of the features, counted from the first, are categories."""

    def matrix(self, codes: Codes) -> Any:
        """Return the features of codes (B, n), an array or a sparse matrix (B, F)."""


@dataclass(frozen=True)
class PositionalFeatures:
    """Features at positions, and the condition behind each of them.

    Attributes
    ----------
    space : SequenceSpace
    kind : {"onehot", "kmers", "letters"}
        ``onehot``: indicators of symbols; ``kmers``: indicators of k-mers in all windows of up to `longest`
        positions; ``letters``: codes as categories, of which a split sends a set to the left.
    """

    space: SequenceSpace
    kind: str

    @property
    def name(self) -> str:
        """The kind."""
        return self.kind

    @property
    def longest(self) -> int:
        """Positions of the longest window."""
        q, n = self.space.q, self.space.n
        fits = [k for k in range(1, min(LONGEST, n) + 1) if q**k <= KMERS]
        return 1 if self.kind == "onehot" or not fits else fits[-1]

    @property
    def categorical(self) -> bool:
        """Whether a split can test a set of symbols."""
        return self.kind == "letters"

    @property
    def n_categories(self) -> int:
        """How many of the features, counted from the first, are categories."""
        return self.space.n if self.categorical else 0

    def matrix(self, codes: Codes) -> Any:
        """Return the features of codes; a sparse matrix for indicators."""
        if self.categorical:
            return codes.astype(np.float64)
        q, columns, offset = self.space.q, [], 0
        for k in range(1, self.longest + 1):
            kmers = windows(codes, q, k)
            columns.append(kmers + offset + np.arange(kmers.shape[1]) * q**k)
            offset += kmers.shape[1] * q**k
        sparse = optional("scipy.sparse", "trees", "fitting trees")
        indices = np.concatenate(columns, axis=1).astype(np.int32)
        rows, width = indices.shape
        pointers = np.arange(0, rows * width + 1, width)
        data = np.ones(rows * width, dtype=np.float32)
        return sparse.csr_matrix((data, indices.ravel(), pointers), shape=(rows, offset))

    @property
    def width(self) -> int:
        """Number of features."""
        q, n = self.space.q, self.space.n
        return n if self.categorical else sum((n - k + 1) * q**k for k in range(1, self.longest + 1))

    def condition(self, feature: int) -> tuple[tuple[int, int], ...]:
        """Return the positions and sets of symbols (as bits) behind an indicator."""
        q, n, k = self.space.q, self.space.n, 1
        while feature >= (n - k + 1) * q**k:
            feature -= (n - k + 1) * q**k
            k += 1
        start, number = divmod(feature, q**k)
        return tuple((start + i, 1 << code) for i, code in enumerate(kmer(number, q, k)))

    def split(self, forest: Forest, tree: Tree, node: int) -> bool:
        """Add a split of a LightGBM tree to a forest; return whether the left child is for passed tests."""
        feature = tree.feature[node]
        if self.categorical:
            symbols = sum(1 << code for code in tree.categories[node])
            forest.split(forest.condition((feature, symbols)))
            return True
        forest.split(forest.condition(*self.condition(feature)))
        # An indicator of 1 goes to the right.
        return False

    def ensemble(self, booster: Any, rounds: int, constant: float, scale: float) -> _core.Ensemble:
        """Return the first `rounds` trees of a LightGBM booster times `scale`, plus a constant."""
        forest = Forest(self.space)
        _grow(forest, partial(self.split, forest), booster, rounds, scale)
        return forest.ensemble(constant)


def _grow(
    forest: Forest, split: Callable[[Tree, int], bool], booster: Any, rounds: int, scale: float
) -> None:
    """Add the first `rounds` trees of a LightGBM booster times `scale` to a forest.

    `split` adds a split of a tree, and returns whether the left child is for passed tests.
    """
    for info in booster.dump_model(num_iteration=rounds)["tree_info"]:
        tree = tree_of(info["tree_structure"])
        for node, (left, right) in enumerate(zip(tree.left, tree.right, strict=True)):
            if left < 0:
                forest.leaf(scale * tree.value[node])
            elif split(tree, node):
                forest.join(node, left, right)
            else:
                forest.join(node, right, left)
        forest.end()


def positional_kinds(space: SequenceSpace) -> list[str]:
    """Return the kinds of positional features worth trying, the most promising first."""
    if PositionalFeatures(space, "kmers").longest > 1:
        return ["kmers", "onehot"]
    return ["letters", "onehot"]


def windows(codes: Codes, q: int, k: int) -> npt.NDArray[np.int64]:
    """Return the number of the k-mer in each window, (B, n - k + 1)."""
    weights = q ** np.arange(k - 1, -1, -1)
    numbers: npt.NDArray[np.int64] = (
        np.lib.stride_tricks.sliding_window_view(codes.astype(np.int64), k, axis=1) @ weights
    )
    return numbers


def kmer(number: int, q: int, k: int) -> tuple[int, ...]:
    """Return the codes of the k-mer with a number."""
    return tuple(number // q ** (k - 1 - i) % q for i in range(k))


class Block(NamedTuple):
    """Counts of all k-mers of length k, in windows that start at ``first``, ``first + step``, ... `last`."""

    k: int
    first: int
    last: int
    step: int


@dataclass(frozen=True)
class CountFeatures:
    """Positional features together with counts that ignore positions.

    Attributes
    ----------
    positional : PositionalFeatures
    level : {"counts", "frames", "parts"}
        ``counts``: how often each k-mer of up to three symbols occurs; ``frames``: also the same for each
        reading frame; ``parts``: also the symbols of each quarter of the sequence.
    runs : RunCounts
        Counts of runs, after all others.
    """

    positional: PositionalFeatures
    level: str
    runs: RunCounts = field(default_factory=RunCounts)

    @property
    def name(self) -> str:
        """The level, and whether there are counts of runs."""
        return f"{self.level} and runs" if self.runs.counts else self.level

    @property
    def n_categories(self) -> int:
        """How many of the features, counted from the first, are categories."""
        return self.positional.n_categories

    def blocks(self) -> list[Block]:
        """Return the blocks of counts, in the order of the features."""
        q, n = self.positional.space.q, self.positional.space.n
        level, blocks = LEVELS.index(self.level), []
        for k in range(1, min(LONGEST_COUNTED, n) + 1):
            if q**k > COUNTED and k > 1:
                break
            blocks.append(Block(k, 0, n - k, 1))
            if level >= 1 and k == LONGEST_COUNTED:
                blocks += [Block(k, frame, n - k, FRAMES) for frame in range(FRAMES) if frame < n - k + 1]
        if level >= 2:
            segments = np.array_split(np.arange(n), min(SEGMENTS, n))
            blocks += [Block(1, int(segment[0]), int(segment[-1]), 1) for segment in segments]
        return blocks

    def matrix(self, codes: Codes) -> Any:
        """Return the features of codes; a sparse matrix if the positional ones are."""
        q, blocks = self.positional.space.q, self.blocks()
        kmers = {k: windows(codes, q, k) for k in {block.k for block in blocks}}
        counts = np.concatenate(
            [
                *(_counts(kmers[k][:, first : last + 1 : step], q**k) for k, first, last, step in blocks),
                self.runs.matrix(self.positional.space, codes),
            ],
            axis=1,
        )
        positional = self.positional.matrix(codes)
        if self.positional.categorical:
            return np.concatenate([positional, counts], axis=1)
        sparse = optional("scipy.sparse", "trees", "fitting a teacher")
        return sparse.hstack([positional, sparse.csr_matrix(counts)], format="csr")

    def counts(self) -> list[Count | RunCount]:
        """Return the count behind each feature after the positional ones."""
        q = self.positional.space.q
        kmers = [
            Count(kmer(number, q, block.k), block.first, block.last, block.step)
            for block in self.blocks()
            for number in range(q**block.k)
        ]
        return [*kmers, *self.runs.counts]

    def counting_trees(self, booster: Any, rounds: int, constant: float, scale: float) -> _core.CountingTrees:
        """Return the first `rounds` trees of a LightGBM booster times `scale`, plus a constant."""
        forest = CountingForest(self.positional.space, relations=self.runs.relations)
        counts, width = self.counts(), self.positional.width

        def split(tree: Tree, node: int) -> bool:
            number = tree.feature[node] - width
            if number < 0:
                return self.positional.split(forest, tree, node)
            forest.at_most(counts[number], math.floor(tree.threshold[node]))
            return True

        _grow(forest, split, booster, rounds, scale)
        return forest.counting_trees(constant)


def count_levels(space: SequenceSpace) -> list[str]:
    """Return the levels of count features worth trying: reading frames need k-mers of three symbols."""
    framed = space.q**LONGEST_COUNTED <= COUNTED and space.n > LONGEST_COUNTED
    return [level for level in LEVELS if framed or level != "frames"]


def _counts(numbers: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float32]:
    rows = np.arange(len(numbers))[:, None] * size
    counts = np.bincount((numbers + rows).ravel(), minlength=len(numbers) * size)
    return counts.reshape(-1, size).astype(np.float32)
