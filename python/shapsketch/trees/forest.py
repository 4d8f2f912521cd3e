"""Trees of all libraries in one form, and as the flat arrays of the core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.errors import InputError
from shapsketch.space import Codes, SequenceSpace, Values


@dataclass
class Forest:
    """Trees as flat arrays, as the core takes them."""

    space: SequenceSpace
    starts: list[int] = field(default_factory=lambda: [0])
    positions: list[int] = field(default_factory=list)
    sets: list[int] = field(default_factory=list)
    roots: list[int] = field(default_factory=lambda: [0])
    conditions: list[int] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    _known: dict[tuple[tuple[int, int], ...], int] = field(default_factory=dict)

    def condition(self, *places: tuple[int, int]) -> int:
        """Return the number of a condition: positions and sets of letters as bits."""
        if places not in self._known:
            self._known[places] = len(self._known)
            self.positions += [position for position, _ in places]
            self.sets += [letters for _, letters in places]
            self.starts.append(len(self.positions))
        return self._known[places]

    def leaf(self, value: float) -> int:
        """Add a leaf to the last tree and return its number."""
        return self._add(-1, value)

    def split(self, condition: int) -> int:
        """Add a split, whose children are set by :meth:`join`, and return its number."""
        return self._add(condition, 0.0)

    def _add(self, condition: int, value: float) -> int:
        self.conditions.append(condition)
        self.yes.append(0)
        self.no.append(0)
        self.values.append(float(value))
        return len(self.conditions) - 1 - self.roots[-1]

    def join(self, at: int, yes: int, no: int) -> None:
        """Set the children of a split of the last tree."""
        self.yes[self.roots[-1] + at] = yes
        self.no[self.roots[-1] + at] = no

    def end(self) -> None:
        """End the last tree."""
        self.roots.append(len(self.conditions))

    def ensemble(self, constant: float) -> _core.Ensemble:
        """Return the trees and a constant as an ensemble."""
        return _core.Ensemble(
            self.space._core,
            constant=constant,
            starts=self.starts,
            positions=self.positions,
            sets=self.sets,
            roots=self.roots,
            conditions=self.conditions,
            yes=self.yes,
            no=self.no,
            values=np.array(self.values),
        )

    def grow(self, layout: Layout, tree: Tree) -> None:
        """Add a tree over features of a layout."""
        at = 0
        # Depth first, without recursion: users' trees may be chains. (node, parent, is it the yes side)
        todo: list[tuple[int, int | None, bool]] = [(0, None, False)]
        children: dict[int, list[int]] = {}
        while todo:
            node, parent, holds = todo.pop()
            while True:
                if tree.left[node] < 0:
                    at = self.leaf(tree.value[node])
                    break
                position, letters = layout.goes_left(tree, node)
                if letters in (0, layout.all):
                    node = tree.left[node] if letters else tree.right[node]
                    continue
                at = self.split(self.condition((position, letters)))
                children[at] = [0, 0]
                todo += [(tree.right[node], at, False), (tree.left[node], at, True)]
                break
            if parent is not None:
                children[parent][0 if holds else 1] = at
        for at, (yes, no) in children.items():
            self.join(at, yes, no)
        self.end()


@dataclass
class Tree:
    """One tree as the libraries have it: children below 0 mark a leaf."""

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]
    # Categories that go left, by node.
    categories: dict[int, set[int]] = field(default_factory=dict)
    # "<=" (LightGBM, scikit-learn) or "<" (XGBoost).
    strict: bool = False
    # Which way a missing value goes left, by node, where zeros count as missing.
    zeros: list[bool] | None = None
    # Whether thresholds are compared in single precision.
    single: bool = False


class Layout:
    """How sequences became features: codes (B, n), or one-hot (B, n q), position by position."""

    def __init__(self, space: SequenceSpace, n_features: int, library: str) -> None:
        self.space = space
        self.onehot = n_features == space.n * space.q
        self.all = (1 << space.q) - 1
        if not self.onehot and n_features != space.n:
            raise InputError(
                f"the {library} model has {n_features} features; sequences of {space} have {space.n} as "
                f"integer codes, {space.n * space.q} as one-hot features: no other layout can be converted"
            )

    def goes_left(self, tree: Tree, node: int) -> tuple[int, int]:
        """Return the position a split asks for, and the letters that go left, as bits."""
        q = self.space.q
        position, letter = divmod(tree.feature[node], q) if self.onehot else (tree.feature[node], 0)
        values = (np.arange(q) == letter).astype(np.int64) if self.onehot else np.arange(q)
        if node in tree.categories:
            left: npt.NDArray[np.bool_] = np.isin(values, list(tree.categories[node]))
        else:
            kind = np.float32 if tree.single else np.float64
            threshold = kind(tree.threshold[node])
            numbers = values.astype(kind)
            left = np.asarray(numbers < threshold if tree.strict else numbers <= threshold)
            if tree.zeros is not None:
                left = np.where(values == 0, tree.zeros[node], left)
        return position, sum(1 << int(a) for a in np.flatnonzero(left))

    def features(self, codes: Codes) -> Values:
        """Return the features of codes."""
        numbers = np.eye(self.space.q)[codes].reshape(len(codes), -1) if self.onehot else codes
        return numbers.astype(np.float64)


@dataclass
class Converted:
    """What a library's model is, in our terms."""

    layout: Layout
    trees: list[Tree]
    # What all trees are multiplied by.
    scale: float
    link: str
    # The library's own scores on the scale of the link, of features.
    scores: Any
    # What the library rounds its scores by, relative to the largest.
    rounding: float = 1e-12


def choose_output(output: int | None, count: int, what: str) -> int:
    """Return which of several outputs is meant."""
    if output is None:
        if count > 1:
            raise InputError(f"the model has {count} {what}; choose one: output=0 to {count - 1}")
        return 0
    if output >= max(count, 1):
        raise InputError(f"output must be below {count}, the number of {what}, got {output}")
    return output
