"""The common form of the trees of all libraries, and the flat arrays of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.errors import InputError
from shapsketch.models._base import arrange
from shapsketch.space import Codes, SequenceSpace, Values


@dataclass
class Forest:
    """Trees as flat arrays, the form that the core needs.

    A condition is a conjunction: each of its positions has a symbol of a set. Sets of symbols are bit masks.

    Attributes
    ----------
    space : SequenceSpace
    starts : list of int
        Offsets into `positions` and `sets`: condition c has the entries from ``starts[c]`` to
        ``starts[c + 1]``.
    positions, sets : list of int
        Positions of all conditions, and the set of symbols for each.
    roots : list of int
        Offsets into the lists below: tree t has the nodes from ``roots[t]`` to ``roots[t + 1]``, the root
        first.
    conditions : list of int
        Condition of each node; -1 for a leaf.
    yes, no : list of int
        Child if the condition holds, and child if it does not, as numbers within the tree.
    values : list of float
        Value of each leaf; 0 for a split.
    """

    space: SequenceSpace
    starts: list[int] = field(default_factory=lambda: [0])
    positions: list[int] = field(default_factory=list)
    sets: list[int] = field(default_factory=list)
    roots: list[int] = field(default_factory=lambda: [0])
    conditions: list[int] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    _numbers: dict[tuple[tuple[int, int], ...], int] = field(default_factory=dict)

    def condition(self, *parts: tuple[int, int]) -> int:
        """Return the number of a condition, as pairs of a position and a set of symbols."""
        if parts not in self._numbers:
            self._numbers[parts] = len(self._numbers)
            self.positions += [position for position, _ in parts]
            self.sets += [symbols for _, symbols in parts]
            self.starts.append(len(self.positions))
        return self._numbers[parts]

    def leaf(self, value: float) -> int:
        """Add a leaf to the last tree and return its number within the tree."""
        return self._add(-1, value)

    def split(self, condition: int) -> int:
        """Add a split to the last tree and return its number; :meth:`join` sets its children."""
        return self._add(condition, 0.0)

    def _add(self, condition: int, value: float) -> int:
        self.conditions.append(condition)
        self.yes.append(0)
        self.no.append(0)
        self.values.append(float(value))
        return len(self.conditions) - 1 - self.roots[-1]

    def join(self, node: int, yes: int, no: int) -> None:
        """Set the children of a split of the last tree."""
        self.yes[self.roots[-1] + node] = yes
        self.no[self.roots[-1] + node] = no

    def end(self) -> None:
        """End the last tree."""
        self.roots.append(len(self.conditions))

    def ensemble(self, constant: float) -> _core.Ensemble:
        """Return the sum of the trees and a constant, as an ensemble of the core."""
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
        """Add a tree of another library, whose features have a layout."""
        # Depth first, without recursion, because a tree may be a long chain. Each entry is a node of `tree`,
        # its parent in this forest, and whether it is the child for which the parent's condition holds.
        pending: list[tuple[int, int | None, bool]] = [(0, None, False)]
        children: dict[int, list[int]] = {}
        while pending:
            node, parent, holds = pending.pop()
            while True:
                if tree.left[node] < 0:
                    added = self.leaf(tree.value[node])
                    break
                position, symbols = layout.goes_left(tree, node)
                if symbols in (0, layout.all_symbols):
                    # All symbols go to the same side, so this is not a split.
                    node = tree.left[node] if symbols else tree.right[node]
                    continue
                added = self.split(self.condition((position, symbols)))
                children[added] = [0, 0]
                pending += [(tree.right[node], added, False), (tree.left[node], added, True)]
                break
            if parent is not None:
                children[parent][0 if holds else 1] = added
        for split, (yes, no) in children.items():
            self.join(split, yes, no)
        self.end()


@dataclass
class Tree:
    """One tree in the common form of the libraries: a list for each property of its nodes.

    Attributes
    ----------
    feature, threshold, left, right, value : list
        Feature and threshold of each split, children of each node (below 0 for a leaf), value of each leaf.
    categories : dict of int to set of int
        Categories that go left, for each split of a categorical feature.
    strict : bool
        Whether values go left if they are < the threshold (XGBoost), not <= (LightGBM, scikit-learn).
    zeros_left : list of bool, optional
        Whether zeros, as missing values, go left at each node; None if zeros are not missing values.
    single_precision : bool
        Whether values are compared with thresholds in single precision.
    """

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]
    categories: dict[int, set[int]] = field(default_factory=dict)
    strict: bool = False
    zeros_left: list[bool] | None = None
    single_precision: bool = False


class Layout:
    """How features represent sequences: as codes (B, n) or one-hot.

    One-hot features are arrays (B, n, q), or for ``"flat_channels_first"`` (B, q, n), in two dimensions.
    """

    def __init__(self, space: SequenceSpace, n_features: int, library: str, onehot: str = "flat") -> None:
        self.space = space
        self.onehot = n_features == space.n * space.q
        self.name = onehot if self.onehot else "codes"
        self.all_symbols = (1 << space.q) - 1
        if not self.onehot and n_features != space.n:
            raise InputError(
                f"the {library} model has {n_features} features; sequences of {space} have {space.n} as "
                f"integer codes, {space.n * space.q} as one-hot features; no other layout is supported"
            )
        if not self.onehot and onehot != "flat":
            raise InputError(
                f"layout={onehot!r} is for one-hot features, but the {library} model has {n_features} "
                "features, which are integer codes; remove layout="
            )

    def goes_left(self, tree: Tree, node: int) -> tuple[int, int]:
        """Return the position of a split, and the set of symbols that go left, as a bit mask."""
        q, position, symbol = self.space.q, tree.feature[node], 0
        if self.name == "flat":
            position, symbol = divmod(position, q)
        elif self.onehot:
            symbol, position = divmod(position, self.space.n)
        values = (np.arange(q) == symbol).astype(np.int64) if self.onehot else np.arange(q)
        if node in tree.categories:
            left: npt.NDArray[np.bool_] = np.isin(values, list(tree.categories[node]))
        else:
            precision = np.float32 if tree.single_precision else np.float64
            threshold = precision(tree.threshold[node])
            numbers = values.astype(precision)
            left = np.asarray(numbers < threshold if tree.strict else numbers <= threshold)
        if tree.zeros_left is not None:
            left = np.where(values == 0, tree.zeros_left[node], left)
        return position, sum(1 << int(a) for a in np.flatnonzero(left))

    def features(self, codes: Codes) -> Values:
        """Return the features of codes, float64 (B, n) or (B, n q)."""
        inputs = np.eye(self.space.q)[codes] if self.onehot else codes
        return arrange(inputs, self.name, "float64")


@dataclass
class Converted:
    """A fitted model of another library in the common form.

    Attributes
    ----------
    layout : Layout
    trees : list of Tree
    scale : float
        Factor of the values of all trees.
    link : str
        Name of the scale on which the trees are summed.
    scores : callable
        Returns the library's predictions (B,) on that scale, for features.
    responses : callable
        Returns the library's own predictions (B,), for features: `scores` on the scale of the response.
    rounding : float
        Rounding error of the library's predictions, relative to the largest one.
    """

    layout: Layout
    trees: list[Tree]
    scale: float
    link: str
    scores: Callable[[Values], Values]
    responses: Callable[[Values], Values]
    rounding: float = 1e-12


def choose_output(output: int | None, count: int, what: str) -> int:
    """Return the index of the output to convert; `what` is the plural noun for error messages."""
    if output is None:
        if count > 1:
            raise InputError(f"the model has {count} {what}; choose one: output=0 to {count - 1}")
        return 0
    if output >= max(count, 1):
        raise InputError(f"output must be below {count}, the number of {what}, got {output}")
    return output


def choose_class(output: int | None) -> int:
    """Return the class to convert, of two; by default the second, as in scikit-learn's decision functions."""
    return 1 if output is None else choose_output(output, 2, "classes")


def of_class(predictions: Values, chosen: int, link: str) -> Values:
    """Return the predictions of a class, of two, from those of the second class."""
    if chosen == 1:
        return predictions
    return 1.0 - predictions if link == "logit" else -predictions


def column(predictions: Values, chosen: int) -> Values:
    """Return the predictions (B,) of one output, from predictions (B,) or (B, outputs)."""
    return predictions if predictions.ndim == 1 else predictions[:, chosen]
