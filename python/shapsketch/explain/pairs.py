"""Interactions of order 1 and 2 from sampled Shapley values and Shapley interactions."""

from __future__ import annotations

import numpy as np

from shapsketch.explain.control_variate import Sampled
from shapsketch.explain.explained import Explained
from shapsketch.explain.results import Interactions
from shapsketch.explain.table import Support


def sampled_index(index: str, max_order: int) -> bool:
    """Return whether an index up to an order follows from sampled values."""
    return index == "SV" or (index == "SII" and max_order <= 2)


def sampled_interactions(sampled: Sampled, index: str, max_order: int, explained: Explained) -> Interactions:
    """Return SV, or SII up to order 1 or 2."""
    n = sampled.values.shape[1]
    singles, errors = sampled.values, sampled.stderr
    supports: list[Support] = [(i,) for i in range(n)]
    orders = range(1, max_order + 1)
    if max_order == 1 or sampled.pairs is None or sampled.pair_stderr is None:
        return Interactions(
            supports, singles, index, explained, sampled.base_values, n, orders, stderr=errors
        )
    first, second = np.triu_indices(n, 1)
    pairs, pair_errors = sampled.pairs[:, first, second], sampled.pair_stderr[:, first, second]
    return Interactions(
        supports + [(int(i), int(j)) for i, j in zip(first, second, strict=True)],
        np.concatenate([singles, pairs], axis=1),
        index,
        explained,
        sampled.base_values,
        n,
        orders,
        stderr=np.concatenate([errors, pair_errors], axis=1),
    )
