"""Weights of candidates, chosen on held-out values (stacking: Breiman 1996)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from shapsketch.fitting.boosting import power_of_two
from shapsketch.fitting.holdout import Labelled
from shapsketch.space import Values

# An average must lower the error of the best candidate by this fraction to be worth its terms.
WORTHWHILE = 0.01
# The same for data near one sequence: an average with a candidate that fits the many mutations of these data
# can be wrong about few mutations.
WORTHWHILE_NEAR = 0.05
# Another set of candidates must lower the error by this fraction of the squares of the values: less is
# rounding.
ROUNDING = 1e-13
# Candidates with a smaller fraction of the sum of weights are removed from an average.
NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Weights:
    """Weights of candidates, and a constant; without candidates the constant is the prediction."""

    weights: dict[str, float]
    constant: float

    def of(self, predictions: Mapping[str, Values]) -> Values:
        """Return the weighted sum of predictions plus the constant."""
        total = np.full(len(next(iter(predictions.values()))), self.constant)
        for name, weight in self.weights.items():
            total += weight * predictions[name]
        return total


def choose(
    predictions: dict[str, Values], held: Labelled, baseline: float, *, worthwhile: float = WORTHWHILE
) -> Weights:
    """Choose the best candidate on held-out data, or the best average if it is clearly better.

    The average has non-negative weights with a sum of at most 1 (stacking: Breiman 1996). If no candidate
    predicts better than the constant `baseline`, there are no weights. An average must lower the error by the
    fraction `worthwhile`; 1 means that none is made.
    """
    if not predictions:
        return Weights({}, baseline)
    errors = {name: held.error(p) for name, p in predictions.items()}
    best = min(errors, key=lambda name: errors[name])
    if errors[best] >= held.error(np.full(len(held.values), baseline)):
        return Weights({}, baseline)
    single = Weights({best: 1.0}, 0.0)
    if len(predictions) == 1 or worthwhile >= 1.0:
        return single
    mean = partial(np.average, axis=0, weights=held.weights)
    truth = held.values[:, None]
    names = list(predictions)
    while True:
        table = np.stack([predictions[name] for name in names], axis=1)
        means = mean(table)
        weights = _stacked(table - means, (truth - mean(truth)).ravel(), held.weights)
        kept = [name for name, w in zip(names, weights, strict=True) if w > NEGLIGIBLE * weights.sum()]
        if len(kept) == len(names) or not kept:
            break
        names = kept
    if not kept:
        return single
    stacked = Weights(
        dict(zip(names, map(float, weights), strict=True)), float(mean(truth)[0] - means @ weights)
    )
    return stacked if held.error(stacked.of(predictions)) < (1.0 - worthwhile) * errors[best] else single


def _stacked(table: Values, values: Values, row_weights: Values | None) -> Values:
    """Return non-negative least-squares weights of the columns of `table`, with a sum of at most 1.

    Without the limit, few held-out values that differ would give a poor candidate a weight far above 1.
    """
    if row_weights is not None:
        scale = np.sqrt(row_weights)
        table, values = scale[:, None] * table, scale * values
    # Squares of small values must not underflow.
    size = power_of_two(float(np.abs(values).max()))
    # Rotated rows have the same errors, and there are only as many as columns.
    rotated = np.asarray(np.linalg.qr(np.column_stack([table / size, values / size]), mode="r"))
    columns, target = rotated[:, :-1], rotated[:, -1]
    total = float(target @ target)
    best, least = np.zeros(columns.shape[1]), total
    # The best weights are the least-squares weights of the candidates whose weight is above 0, with any sum
    # or with a sum of 1. There are few candidates, so every set of them is tried.
    for count in range(1, columns.shape[1] + 1):
        for chosen in combinations(range(columns.shape[1]), count):
            some = columns[:, list(chosen)]
            others, last = some[:, :-1] - some[:, -1:], some[:, -1]
            free = np.linalg.lstsq(some, target, rcond=None)[0]
            first = np.linalg.lstsq(others, target - last, rcond=None)[0]
            limited = np.append(first, 1.0 - first.sum())
            for weights in (limited,) if free.sum() > 1.0 else (free, limited):
                residual = target - some @ weights
                error = float(residual @ residual)
                if weights.min() >= 0.0 and error < least - ROUNDING * total:
                    best, least = np.zeros(columns.shape[1]), error
                    best[list(chosen)] = weights
    return best


def cross_fitted(
    predictions: dict[str, Values],
    held: Labelled,
    baseline: float,
    seed: int,
    *,
    worthwhile: float = WORTHWHILE,
) -> Values:
    """Return averaged predictions of each half of the rows, with weights chosen on the other half."""
    order = np.random.default_rng([seed, 3]).permutation(len(held.values))
    averaged = np.empty(len(held.values))
    for rows, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        some = {name: p[others] for name, p in predictions.items()}
        weights = choose(some, held.at(others), baseline, worthwhile=worthwhile)
        averaged[rows] = weights.of({name: p[rows] for name, p in predictions.items()})
    return averaged
