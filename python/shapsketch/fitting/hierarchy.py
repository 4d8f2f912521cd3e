"""Supports for positions without an order: pairs, and what boosted trees use.

Windows mean nothing there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import numpy as np

from shapsketch import _core
from shapsketch._validate import check_memory
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.learners import BoostingLearner, ClosedForm, Model
from shapsketch.fitting.regression import Dictionary, SparseRegressor
from shapsketch.fitting.steps import Log
from shapsketch.space import SequenceSpace, Values
from shapsketch.surrogate.sketch import Sketch

# Largest number of supports that are listed, and of supports times sequences if orders above 2 are listed.
MOST_LISTED, MOST_WORK = 4_096, 30_000_000
# Pairs that are listed if there are more of them.
SCREENED = 2_000
# Positions that higher orders grow from, if pairs are screened.
POSITIONS = 150
# Options of regressions that only select supports.
FAST: dict[str, Any] = {"basis": "letters", "refit": False, "tol": 1e-4}
# Penalty factors: pairs, each higher order, scattered supports, growth. Neighbours are not preferred.
STRENGTHS = (2.0, 1.3, 1.0, 2.0)
# Supports of trees that a regression may use, and their highest order.
TREE_SUPPORTS, TREE_ORDER = 1_000, 6
# Names of the learners.
REGRESSION, REFIT = "regress", "trees (refit)"
# Seconds of the regression with the supports of trees, relative to those of the one without.
REFIT_SECONDS = 0.6
# Ridge penalty of the additive fit before pairs are screened, for each value.
RIDGE = 1e-3

Supports = list[tuple[int, ...]]


def unordered(
    space: SequenceSpace, data: Labelled, seed: int, further: Sequence[tuple[int, ...]] = ()
) -> SparseRegressor:
    """Return a regression on single positions, pairs, higher orders, and `further` supports.

    If pairs can be listed, the regression grows higher orders; otherwise both are selected here, with the
    values, so that only values that it does not receive can tell its error.
    """
    orders = _listed_order(space.n, len(data.values))
    if orders > 1:
        return _regressor(space, seed, orders, further)
    supports = grown_supports(space, data, seed)
    return _regressor(space, seed, 1, sorted({*supports, *further}), growth=False)


def selects(space: SequenceSpace, sequences: int) -> bool:
    """Return whether the supports of :func:`unordered` depend on the values."""
    return _listed_order(space.n, sequences) == 1 < space.n


def _regressor(
    space: SequenceSpace,
    seed: int,
    orders: int,
    supports: Sequence[tuple[int, ...]],
    *,
    growth: bool = True,
    **options: Any,
) -> SparseRegressor:
    return SparseRegressor(
        space,
        dictionary=Dictionary(orders=orders, supports=supports),
        relations=(),
        strengths=STRENGTHS if growth else (*STRENGTHS[:3], None),
        growth=growth,
        random_state=seed,
        **options,
    )


def grown_supports(space: SequenceSpace, data: Labelled, seed: int) -> Supports:
    """Return supports of order 2 and more that a regression on the positions in use selects and grows.

    A first regression, on pairs without growth, tells these positions: growth tries every position for every
    pattern in use, which takes long if there are many.
    """
    pairs = screened_pairs(data, SCREENED)
    first = _regressor(space, seed, 1, pairs, growth=False, **FAST)._fit(space, data).sketch_
    # Others fill up: sequences that differ at no position in use would be one sequence.
    used = sorted(list(dict.fromkeys([*_in_use(first), *range(space.n)]))[:POSITIONS])
    number = {position: index for index, position in enumerate(used)}
    inside = [tuple(number[i] for i in pair) for pair in pairs if all(i in number for i in pair)]
    smaller = SequenceSpace(space.alphabet, len(used))
    part = Labelled(np.ascontiguousarray(data.codes[:, used]), data.values)
    second = _regressor(smaller, seed, 1, inside, **FAST)._fit(smaller, part).sketch_
    grown = {tuple(used[i] for i in pattern.support) for pattern in second.patterns or []}
    kept = {pattern.support for pattern in first.patterns or []}
    return sorted(support for support in grown | kept if len(support) > 1)


def _in_use(sketch: Sketch) -> list[int]:
    """Return the positions of the patterns of a sketch, those of the strongest first; some repeat."""
    return [i for pattern in sketch.patterns or [] for i in pattern.support]


def _listed_order(n: int, sequences: int) -> int:
    """Return the highest order of which all supports are listed."""
    order, count = 1, n
    while order < n:
        count += comb(n, order + 1)
        if count > MOST_LISTED or (order > 1 and count * sequences > MOST_WORK):
            break
        order += 1
    return order


def screened_pairs(data: Labelled, count: int) -> Supports:
    """Return the `count` pairs of binary positions that an additive fit misses most.

    These are the pairs whose product, centred, has the largest absolute correlation with the residual of the
    additive fit.
    """
    rows, n = data.codes.shape
    # Three arrays of rows and six of pairs at a time.
    need = 8 * (3 * rows * n + 6 * n * n)
    check_memory(f"the search for pairs of {n:,} features", need, "use a smaller budget")
    signs = data.codes.astype(np.float64)
    signs -= signs.mean(axis=0)
    residual = data.values - data.values.mean()
    scatter = signs.T @ signs + RIDGE * len(signs) * np.eye(signs.shape[1])
    residual = residual - signs @ np.linalg.solve(scatter, signs.T @ residual)
    sums = np.abs(signs.T @ (residual[:, None] * signs))
    sizes = np.sqrt((signs**2).T @ signs**2)
    first, second = np.triu_indices(signs.shape[1], 1)
    scores = np.divide(
        sums[first, second], sizes[first, second], out=np.zeros(len(first)), where=sizes[first, second] > 0.0
    )
    best = np.argsort(-scores, kind="stable")[:count]
    return sorted(zip(first[best].tolist(), second[best].tolist(), strict=True))


def supports_of(sketch: _core.Sketch, count: int, highest: int) -> Supports:
    """Return the `count` supports of orders 2 to `highest` with the largest variance."""
    components = _core.Components(sketch)
    supports = [tuple(support) for support in components.supports]
    ranked = np.argsort(-components.variances(), kind="stable")
    return [supports[i] for i in ranked if 1 < len(supports[i]) <= highest][:count]


class HierarchyLearner:
    """A regression on pairs and higher orders, and on the supports of boosted trees if there are any.

    Trees find interactions of high order step by step, because their splits are nested, but predict them with
    more error than a regression that knows the supports (after ProxySPEX, arXiv 2505.17495).
    """

    def __init__(
        self,
        space: SequenceSpace,
        boosting: BoostingLearner | None,
        *,
        seconds: Callable[[], float] = lambda: 0.0,
        seed: int,
        log: Log,
    ) -> None:
        self.name = REGRESSION if boosting is None else REFIT
        self._boosting, self._space, self._seconds = boosting, space, seconds
        self._seed, self._log = seed, log
        self.fitted: Model | None = None
        self.took = 0.0

    def seconds(self, _: object) -> float:
        """Return the estimated seconds; infinity if trees were left out, because it needs them."""
        left_out = self._boosting is not None and self._boosting.fitted is None
        return float("inf") if left_out else self._seconds()

    def fit(self, split: Split) -> Values:
        """Return the predictions of the held-out values."""
        trees = None
        if self._boosting is not None:
            if self._boosting.fitted is None:
                self._boosting.fit(split)
            trees = self._boosting.fitted
        started = time.perf_counter()
        self.fitted = self._regression(trees, split.train)
        self.took = time.perf_counter() - started
        return self.fitted.predict(split.held.codes)

    def fit_all(self, data: Labelled) -> ClosedForm:
        """Return the regression of all values."""
        return self._regression(None if self._boosting is None else self._boosting.fit_all(data), data)

    def _regression(self, trees: Model | None, data: Labelled) -> ClosedForm:
        self._log(f"hierarchy: {self.name}")
        supports: Supports = []
        if isinstance(trees, ClosedForm):
            supports = supports_of(trees.sketch, TREE_SUPPORTS, TREE_ORDER)
        regressor = unordered(self._space, data, self._seed, supports)
        return ClosedForm(regressor._fit(self._space, data).sketch_._core)
