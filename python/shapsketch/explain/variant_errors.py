"""Standard errors of the predicted effects of substitutions in one wild type.

The value of a variant with m substitutions is modelled as a sum: the wild type, an effect of each
substitution, an effect of each of its m(m-1)/2 pairs, and noise, all independent and normal. The standard
errors are those of the posterior distribution of the effects in this linear model. Its variances come from
the sketch. That of a substitution is the mean square of predicted or measured effects. Those of the noise and
of the part of a pair that is not predicted come from the squared residuals of held-out variants, which are
linear in the number of pairs. A pair that several variants share has the latter variance and the mean square
of predicted epistasis.

The standard errors of a sketch itself hold for uniform sequences only, and mutants of one sequence are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from shapsketch.files.variants import Indices, Variants
from shapsketch.space import Values
from shapsketch.surrogate.sketch import Sketch

# Largest number of substitutions and pairs whose errors are computed jointly.
JOINT = 3_000
# Largest number of products of two terms of a variant, summed over all variants, that are added up for it.
PRODUCTS = 1 << 25
# Such products that are added up at a time.
CHUNK = 1 << 22
# Smallest number of repeated values from which noise is estimated.
REPEATS = 10
# Variance of the value of the wild type before the data, relative to that of the values.
WIDE = 1e6
# Smallest variance, relative to another one; without it there would be divisions by zero.
LEAST = 1e-12
# Smallest expectation of a squared residual, relative to the mean.
SMALL = 1e-6
# Passes of the weighted regression of squared residuals.
PASSES = 5


@dataclass(frozen=True)
class VariantErrors:
    """Variances of errors on the scale of the sketch.

    Attributes
    ----------
    cells : numpy.ndarray of int64, shape (p,)
        The substitutions that variants have, as ``position * q + symbol``, ascending.
    covariance : numpy.ndarray of float64, shape (p, p) or (p,)
        Of the errors of their effects; only the variances if there are too many.
    unobserved : float
        Variance of the error of every other substitution.
    pair : float
        Variance of the error of the epistasis of two substitutions; NaN if no residual tells it.
    noise : float
        Mean variance of the noise of a value.
    """

    cells: Indices
    covariance: Values
    unobserved: float
    pair: float
    noise: float

    def of_cells(self, cells: Indices) -> Values:
        """Return standard errors of sums of effects, for substitutions (B, m)."""
        where = np.searchsorted(self.cells, cells).clip(max=len(self.cells) - 1)
        observed = self.cells[where] == cells
        mutations = cells.shape[1]
        variances = np.where(observed, 0.0, self.unobserved).sum(axis=1)
        for i in range(mutations):
            for j in range(mutations):
                both = observed[:, i] & observed[:, j]
                if self.covariance.ndim == 2:
                    variances += np.where(both, self.covariance[where[:, i], where[:, j]], 0.0)
                elif i == j:
                    variances += np.where(both, self.covariance[where[:, i]], 0.0)
        if mutations > 1:
            variances += mutations * (mutations - 1) / 2 * self.pair
        stderr: Values = np.sqrt(np.maximum(variances, 0.0))
        return stderr


@dataclass(frozen=True)
class Priors:
    """Variances before the data: of an effect, of what is not predicted of a pair, of the wild type."""

    single: float
    pair: float
    wild_type: float


@dataclass(frozen=True)
class Predicted:
    """Predictions of a sketch on its scale.

    Attributes
    ----------
    score : float
        Of the wild type.
    effects : array (n, q)
        Of all substitutions.
    epistasis : callable
        Returns the epistasis (B,) of pairs of substitutions (B, 2).
    """

    score: float
    effects: Values
    epistasis: Callable[[Indices], Values]


def variant_errors(
    sketch: Sketch, variants: Variants, values: Values, predicted: Predicted
) -> VariantErrors | None:
    """Return the errors of a sketch of variants; None if it has no held-out values of them.

    `values` (N,) are those of the variants on the scale of the sketch.
    """
    noise = _noise(sketch, variants, values)
    residuals = _held_out(sketch, variants, values)
    observed = variants.observed
    if residuals is None or not observed.any():
        return None
    rows, squares = residuals
    excess = squares if noise is None else squares - noise[rows]
    relative = np.ones(len(values))
    if noise is None and variants.weights is not None:
        relative = variants.weights.mean() / variants.weights
    constant, pair = _components(excess, relative[rows], variants.n_mutations[rows])
    cells = np.flatnonzero(observed)
    alone = variants.n_mutations == 1
    spread = (values[alone] - predicted.score) ** 2 - (0.0 if noise is None else noise[alone])
    # The effects that a sketch predicts are shrunk, to 0 if it cannot predict held-out single mutants.
    prior = float(np.mean(predicted.effects[observed] ** 2))
    if alone.any():
        prior = max(prior, float(np.mean(spread)))
    variances = constant * relative + (0.0 if noise is None else noise)
    scale = float(np.var(values)) or 1.0
    variances = np.maximum(variances, LEAST * scale)
    priors = Priors(max(prior, LEAST * scale), 0.0 if np.isnan(pair) else pair, WIDE * scale)
    covariance = _posterior(variants, cells, variances, priors, predicted)
    average = float(np.mean(variances if noise is None else noise))
    return VariantErrors(cells, covariance, prior, pair, average)


def _noise(sketch: Sketch, variants: Variants, values: Values) -> Values | None:
    """Return the variance of the noise of each value; None if the data do not tell it."""
    if variants.sd is not None and sketch.link == "identity":
        return variants.sd**2
    _, unit = np.unique(variants.codes, axis=0, return_inverse=True)
    unit = unit.reshape(-1)
    counts = np.bincount(unit)
    freedom = len(values) - len(counts)
    if freedom < REPEATS:
        return None
    weights = np.ones(len(values)) if variants.weights is None else variants.weights
    means = np.bincount(unit, weights * values) / np.bincount(unit, weights)
    variance = float((weights * (values - means[unit]) ** 2).sum() / freedom)
    return variance / weights


def _held_out(sketch: Sketch, variants: Variants, values: Values) -> tuple[Indices, Values] | None:
    """Return rows of the variants, and the squared residuals of their held-out predictions.

    Held-out values are found by their value. Equal values of variants with different numbers of substitutions
    are left out.
    """
    held = sketch._core.held_out
    if held is None:
        return None
    if np.array_equal(held.values, values):
        return np.arange(len(values)), (held.values - held.predictions) ** 2
    orders = variants.n_mutations
    order = np.lexsort((orders, values))
    first = np.searchsorted(values[order], held.values, side="left").clip(max=len(values) - 1)
    last = np.searchsorted(values[order], held.values, side="right") - 1
    present = last >= first
    same = present & (orders[order[first]] == orders[order[last.clip(min=0)]])
    if not (present.all() and same.any()):
        return None
    return order[first[same]], (held.values - held.predictions)[same] ** 2


def _components(squares: Values, relative: Values, mutations: Indices) -> tuple[float, float]:
    """Return the variances of the noise and of a pair: squared residuals are linear in the numbers of pairs.

    The regression weights each square by the inverse square of its expectation, which is proportional to its
    variance for normal errors.
    """
    pairs = mutations * (mutations - 1) / 2.0
    if pairs.min() == pairs.max():
        # All that is not explained counts as the error of the pairs, if there are any.
        mean = max(float(np.average(squares)), 0.0)
        return (0.0, mean / float(pairs[0])) if pairs[0] else (mean, np.nan)
    fit = np.array([np.mean(squares), 0.0])
    design = np.column_stack([relative, pairs])
    for _ in range(PASSES):
        expected = np.maximum(design @ np.maximum(fit, 0.0), SMALL * np.mean(np.abs(squares)) + 1e-300)
        weighted = design / expected[:, None]
        target = squares / expected
        fit[:] = np.linalg.lstsq(weighted, target, rcond=None)[0]
        for other, negative in ((0, 1), (1, 0)):
            if fit[negative] < 0.0:
                column = weighted[:, other]
                fit[negative], fit[other] = 0.0, max(float(column @ target / (column @ column)), 0.0)
    return float(fit[0]), float(fit[1])


def _posterior(
    variants: Variants, cells: Indices, variances: Values, priors: Priors, predicted: Predicted
) -> Values:
    """Return the covariance matrix (p, p) of the errors of observed substitutions, or their variances (p,).

    Pairs that several variants have are terms of the model, as many as fit; what is not predicted of other
    pairs is further noise of their variant.
    """
    q, pair = variants.space.q, priors.pair
    rows, positions = np.nonzero(variants.codes != variants.wild_type_codes)
    terms = np.searchsorted(cells, positions * q + variants.codes[rows, positions])
    orders, p = variants.n_mutations, len(cells)
    n_pairs: Values = (orders * (orders - 1) / 2.0).astype(np.float64)
    if p > JOINT or float(((1.0 + orders) ** 2).sum()) > PRODUCTS:
        # The other substitutions of a variant count as noise.
        noise: Values = variances + n_pairs * pair + np.maximum(orders - 1, 0) * priors.single
        precisions = 1.0 / priors.single + np.bincount(terms, 1.0 / noise[rows], minlength=p)
        return np.asarray(1.0 / precisions, dtype=np.float64)
    starts = np.concatenate([[0], np.cumsum(orders)])
    groups = {int(m): np.flatnonzero(orders == m) for m in np.unique(orders)}
    # For each number of substitutions, the terms of each of its variants, (B, m).
    singles = {m: terms[starts[group][:, None] + np.arange(m)] for m, group in groups.items()}
    keys = {
        m: np.stack([part[:, i] * p + part[:, j] for i, j in combinations(range(m), 2)], axis=1)
        for m, part in singles.items()
        if m > 1
    }
    shared = np.empty(0, dtype=np.int64)
    if keys and float(((1.0 + orders + n_pairs) ** 2).sum()) <= PRODUCTS:
        names, counts = np.unique(
            np.concatenate([part.ravel() for part in keys.values()]), return_counts=True
        )
        often = np.argsort(-counts, kind="stable")[: max(0, JOINT - p)]
        shared = np.sort(names[often[counts[often] > 1]])
    # The terms are the wild type, the substitutions, the shared pairs, and one for pairs that are not shared.
    width = p + len(shared) + 2
    gram = np.zeros(width * width)
    for m, group in groups.items():
        parts = [np.zeros((len(group), 1), dtype=np.int64), singles[m] + 1]
        noise = variances[group] + n_pairs[group] * pair
        if m > 1 and len(shared):
            where = np.searchsorted(shared, keys[m]).clip(max=len(shared) - 1)
            found = shared[where] == keys[m]
            parts.append(np.where(found, p + 1 + where, width - 1))
            noise -= found.sum(axis=1) * pair
        columns = np.concatenate(parts, axis=1)
        size = max(1, CHUNK // columns.shape[1] ** 2)
        for first in range(0, len(group), size):
            part = columns[first : first + size]
            products = (part[:, :, None] * width + part[:, None, :]).reshape(len(part), -1)
            weights = np.repeat(1.0 / noise[first : first + size], products.shape[1])
            gram += np.bincount(products.ravel(), weights, minlength=width * width)
    before = [np.array([priors.wild_type]), np.full(p, priors.single)]
    if len(shared):
        epistasis = predicted.epistasis(np.stack([cells[shared // p], cells[shared % p]], axis=1))
        variance = max(pair + float(np.mean(epistasis**2)), LEAST * priors.single)
        before.append(np.full(len(shared), variance))
    precision = gram.reshape(width, width)[:-1, :-1]
    precision[np.diag_indices(width - 1)] += 1.0 / np.concatenate(before)
    covariance = np.linalg.inv(precision)[1 : p + 1, 1 : p + 1]
    return np.asarray(covariance, dtype=np.float64)
