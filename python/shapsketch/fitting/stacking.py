"""Weights of candidates, chosen on held-out values (stacking: Breiman 1996)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from shapsketch._validate import optional
from shapsketch.fitting.boosting import power_of_two
from shapsketch.fitting.holdout import Labelled
from shapsketch.space import Values

# An average must lower the error of the best candidate by this fraction to be worth its terms.
WORTHWHILE = 0.01
# The same for data near one sequence: an average with a candidate that fits the many mutations of these data
# can be wrong about few mutations.
WORTHWHILE_NEAR = 0.05
# Factor of the row that fixes the sum of the weights of an average, relative to the other rows.
SUM_FACTOR = 1e3
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
    nnls = optional("scipy.optimize", "trees", "averaging sketches").nnls
    if row_weights is not None:
        scale = np.sqrt(row_weights)
        table, values = scale[:, None] * table, scale * values
    # The tolerance of `nnls` of SciPy 1.12 to 1.14 is too large for small values.
    size = power_of_two(float(np.abs(values).max()))
    table, values = table / size, values / size
    weights: Values = nnls(table, values)[0]
    if weights.sum() <= 1.0:
        return weights
    # One more row with a large factor makes the sum 1.
    factor = SUM_FACTOR * max(float(np.linalg.norm(table)), float(np.linalg.norm(values)))
    ones = np.ones((1, table.shape[1]))
    weights = nnls(np.concatenate([table, factor * ones]), np.append(values, factor))[0]
    return np.asarray(weights / weights.sum())


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
