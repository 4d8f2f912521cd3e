"""Exact values of a sketch plus sampled values of the difference between a predictor and the sketch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shapsketch.evaluate.evaluator import Parts
from shapsketch.explain.control_variate import Sampled, ValuesOf
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.space import Values
from shapsketch.surrogate.sketch import Sketch


def difference(values_of: ValuesOf, sketch: Sketch) -> ValuesOf:
    """Return the function that `sample` needs: the values of a predictor minus those of a sketch.

    `values_of` returns the values of the predictor on the scale of the sketch.
    """
    predict = sketch._components.predict

    def residuals_of(parts: Parts, count: int) -> Values:
        # A copy, because a custom link may return an array that must not be changed.
        residuals = np.array(values_of(parts, count))
        done = 0
        for batch in parts():
            residuals[done : done + len(batch)] -= predict(batch)
            done += len(batch)
        return residuals

    return residuals_of


def refined_values(exact: Explanation, sampled: Sampled) -> Explanation:
    """Add sampled Shapley values to those of a sketch."""
    return replace(
        exact,
        values=exact.values + sampled.values,
        base_values=exact.base_values + sampled.base_values,
        _sketch=None,
        _stderr=sampled.stderr,
    )


def refined_pairs(exact: Interactions, sampled: Sampled) -> Interactions:
    """Add sampled Shapley interactions of orders 1 and 2 to those of a sketch; list all pairs."""
    assert sampled.pairs is not None
    assert sampled.pair_stderr is not None
    n = exact.length
    i, j = np.triu_indices(n, 1)
    dense = exact.dense()
    singles = np.diagonal(dense, axis1=1, axis2=2) + sampled.values
    return replace(
        exact,
        supports=[(k,) for k in range(n)] + [(int(a), int(b)) for a, b in zip(i, j, strict=True)],
        values=np.concatenate([singles, dense[:, i, j] + sampled.pairs[:, i, j]], axis=1),
        base_values=exact.base_values + sampled.base_values,
        stderr=np.concatenate([sampled.stderr, sampled.pair_stderr[:, i, j]], axis=1),
    )
