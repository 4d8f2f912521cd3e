"""Supports for positions without an order: pairs, and what boosted trees use; windows mean nothing there."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from shapsketch import _core
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.learners import BoostingLearner, ClosedForm, Model
from shapsketch.fitting.regression import Dictionary, SparseRegressor
from shapsketch.fitting.steps import Log
from shapsketch.space import SequenceSpace, Values

# Largest number of supports that are listed, and of supports times sequences if orders above 2 are listed.
MOST_LISTED, MOST_WORK = 4_096, 30_000_000
# Pairs that are listed if there are more of them.
SCREENED = 2_000
# Penalty factors: pairs, each higher order, scattered supports, growth. Neighbours are not preferred.
STRENGTHS = (2.0, 1.3, 1.0, 2.0)
# Supports of trees that a regression may use, and their highest order.
TREE_SUPPORTS, TREE_ORDER = 1_000, 6
# Seconds of this regression, relative to those of the one on pairs alone, which also had the held-out values.
REFIT_SECONDS = 0.6
# Ridge penalty of the additive fit before pairs are screened, for each value.
RIDGE = 1e-3

Supports = list[tuple[int, ...]]


def unordered(
    space: SequenceSpace, data: Labelled, seed: int, further: Sequence[tuple[int, ...]] = ()
) -> SparseRegressor:
    """Return a regression on single positions, pairs, higher orders if n is small, and `further` supports."""
    orders = _listed_order(space.n, len(data.values))
    pairs = [] if orders > 1 else screened_pairs(data, SCREENED)
    return SparseRegressor(
        space,
        dictionary=Dictionary(orders=orders, supports=sorted({*pairs, *further})),
        relations=(),
        strengths=STRENGTHS,
        random_state=seed,
    )


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


class RefitLearner:
    """A regression on pairs and on the supports of boosted trees (after ProxySPEX, arXiv 2505.17495).

    Trees find interactions of high order step by step, because their splits are nested, but predict them with
    more error than a regression that knows the supports.
    """

    name = "trees (refit)"

    def __init__(
        self, boosting: BoostingLearner, space: SequenceSpace, *, seconds: float, seed: int, log: Log
    ) -> None:
        self._boosting, self._space, self._seconds = boosting, space, seconds
        self._seed, self._log = seed, log
        self.fitted: Model | None = None

    def seconds(self, _: object) -> float:
        """Return the estimated seconds: those of a regression on pairs."""
        return REFIT_SECONDS * self._seconds

    def fit(self, split: Split) -> Values:
        """Return the predictions of the held-out values."""
        if self._boosting.fitted is None:
            self._boosting.fit(split)
        trees = self._boosting.fitted
        assert isinstance(trees, ClosedForm)
        self.fitted = self._regression(trees, split.train)
        return self.fitted.predict(split.held.codes)

    def fit_all(self, data: Labelled) -> ClosedForm:
        """Return the regression of all values."""
        return self._regression(self._boosting.fit_all(data), data)

    def _regression(self, trees: ClosedForm, data: Labelled) -> ClosedForm:
        self._log("regression on the supports of trees")
        supports = supports_of(trees.sketch, TREE_SUPPORTS, TREE_ORDER)
        regressor = unordered(self._space, data, self._seed, supports)
        return ClosedForm(regressor._fit(self._space, data).sketch_._core)
