"""Exact values of a sketch plus sampled values of what it leaves unexplained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from shapsketch.evaluate.evaluator import Parts
from shapsketch.explain.control_variate import Sampled, Score
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.space import Codes, Values

# Returns the values, on the scale of the sketch, of sequences that come in parts, and their number.
ValuesOf: TypeAlias = Callable[[Parts, int], Values]


def difference(values_of: ValuesOf, predict: Callable[[Codes], Values]) -> Score:
    """Return the function that `sample` needs: a predictor's values minus the sketch's predictions."""

    def score(parts: Parts, count: int) -> Values:
        # A copy, because a custom link may return an array that must not be changed.
        values = np.array(values_of(parts, count))
        done = 0
        for batch in parts():
            values[done : done + len(batch)] -= predict(batch)
            done += len(batch)
        return values

    return score


def refined_values(exact: Explanation, sampled: Sampled) -> Explanation:
    """Add sampled Shapley values to those of a sketch."""
    return replace(
        exact,
        values=exact.values + sampled.values,
        base_values=exact.base_values + sampled.base,
        _sketch=None,
        _stderr=sampled.errors,
    )


def refined_pairs(exact: Interactions, sampled: Sampled) -> Interactions:
    """Add sampled Shapley interactions of orders 1 and 2 to those of a sketch; all pairs are listed."""
    assert sampled.pairs is not None
    assert sampled.pair_errors is not None
    n = exact.length
    i, j = np.triu_indices(n, 1)
    dense = exact.dense()
    singles = np.diagonal(dense, axis1=1, axis2=2) + sampled.values
    return replace(
        exact,
        supports=[(k,) for k in range(n)] + [(int(a), int(b)) for a, b in zip(i, j, strict=True)],
        values=np.concatenate([singles, dense[:, i, j] + sampled.pairs[:, i, j]], axis=1),
        base_values=exact.base_values + sampled.base,
        stderr=np.concatenate([sampled.errors, sampled.pair_errors[:, i, j]], axis=1),
    )
