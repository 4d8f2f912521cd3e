"""Latent scales: a closed form and a monotone curve to the values, fitted in turns.

A latent scale ``f`` and a curve ``g`` minimise the squared errors of ``g(f(x))``. Near one sequence, ridge
regressions on mutations give ``f`` (:mod:`shapsketch.fitting.epistasis`). Otherwise a sparse regression does,
by damped Gauss-Newton steps: it is fitted to working responses ``f + (y - g(f)) / g'(f)`` with weights
``g'(f)**2`` (iteratively reweighted least squares, as for generalised linear models: McCullagh & Nelder
1989; damping: Levenberg 1944), first with single positions alone, so that interactions do not imitate the
curve, then with pairs, and last with its whole dictionary. After each regression the curve is fitted anew.
Errors are those of held-out folds; of two fits, the one with the smaller error is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapsketch import _core
from shapsketch.fitting.curves import FOLDS, LEAST_SLOPE, Curve, cross_validated
from shapsketch.fitting.epistasis import EpistasisLearner, Latent
from shapsketch.fitting.holdout import Labelled, predict
from shapsketch.fitting.regression import MANY_WORDS, Dictionary, SparseRegressor
from shapsketch.fitting.steps import Log
from shapsketch.link import MonotoneCurve
from shapsketch.space import Codes, SequenceSpace, Values

# Largest number of regressions of each kind, and the smallest relative decrease of the error that counts.
ROUNDS, DECREASE = 5, 0.02
# Slopes of the curve are damped by this fraction of its mean slope: where it is flat, values say nothing
# about the latent scale. After a regression that raises the error by more than a fraction, the next damping
# is used.
DAMPINGS, WORSE = (0.1, 0.4, 1.6), 0.05
# Largest slope in the weights of working responses, relative to the mean slope: few values must not decide.
STEEPEST = 4.0
# A curve must lower the squared errors of a line by this many standard errors of the difference, and by this
# fraction; errors below this fraction of the variance are rounding.
CLEAR, WORTHWHILE, ROUNDING = 2.0, 0.01, 1e-10
# Name of the patterns of pairs.
PAIRS = "pairs"
# Distance of values that differ by more than rounding, in units in the last place.
ROUNDINGS = 8.0
# Points at which a curve is stored.
POINTS = 256


@dataclass(frozen=True)
class LatentModel:
    """A closed form on a latent scale, and the curve to the values, or none if a line predicts as well.

    Attributes
    ----------
    sketch : _core.Sketch
        Its values of the data's sequences have the mean and the variance of the predicted values, so the mean
        slope of the curve is about 1.
    curve : MonotoneCurve or None
    r2, line_r2 : float
        R² of the values, predicted by other folds: with the curve, and with a line instead (NaN if that was
        not fitted).
    """

    sketch: _core.Sketch
    curve: MonotoneCurve | None
    r2: float
    line_r2: float

    def predict(self, codes: Codes) -> Values:
        """Return predicted values (B,) for codes."""
        latent = predict(self.sketch, codes)
        return latent if self.curve is None else self.curve.to_values(latent)


@dataclass(frozen=True)
class Step:
    """A latent scale with its curve.

    Attributes
    ----------
    predictions : array (N,)
        Predictions of the values by other folds.
    error : float
        Mean squared error of these predictions.
    """

    latent: Latent
    curve: Curve
    predictions: Values
    error: float

    @classmethod
    def of(cls, latent: Latent, data: Labelled, fold: Values) -> Step:
        """Return a latent scale with its curve, whose smoothness is cross-validated."""
        roughness, predictions = cross_validated(latent.held_out, data.values, data.weights, fold)
        curve = Curve.fit(
            latent.between, data.values, data.weights, roughness=roughness, least_slope=LEAST_SLOPE
        )
        return cls(latent, curve, predictions, data.error(predictions))

    def working(self, data: Labelled, damping: float) -> Labelled:
        """Return working responses, with their weights, of the values."""
        latent = self.latent.fitted
        slopes, mean = self.curve.slopes(latent), _spread(data.values) / _spread(latent)
        least = (damping * mean) ** 2
        responses = latent + (data.values - self.curve(latent)) * slopes / (slopes**2 + least)
        weights = np.minimum(slopes, STEEPEST * mean) ** 2 + least
        return Labelled(data.codes, responses, weights if data.weights is None else weights * data.weights)


class LatentLearner:
    """Fits latent scales.

    Parameters
    ----------
    space : SequenceSpace
    regressor : SparseRegressor or None
        None for ridge regressions on mutations alone.
    mutations : bool
        Whether to fit ridge regressions on mutations; if there is a regressor, too, the better one is kept.
    uniform : bool
        Whether the sequences are uniform queries.
    seed : int
    log : callable
    """

    def __init__(
        self,
        space: SequenceSpace,
        regressor: SparseRegressor | None,
        *,
        mutations: bool,
        uniform: bool,
        seed: int,
        log: Log,
    ) -> None:
        self._space, self._regressor, self._by_mutations = space, regressor, mutations
        self._uniform, self._seed, self._log = uniform, seed, log

    def fit(self, data: Labelled) -> LatentModel:
        """Return the latent scale of data, with its curve if that predicts clearly better than a line."""
        fold = self._folds(data)
        lines = [(line, _line(line.held_out, data, fold)) for line in self._lines(data)]
        line, straight = min(lines, key=lambda pair: data.error(pair[1]))
        step = self._best(data, fold)
        line_r2 = data.r_squared(straight)
        if not _clearly_better(step.predictions, straight, data):
            return LatentModel(line.sketch, None, data.r_squared(step.predictions), line_r2)
        return _normalised(step, data, line_r2)

    def fit_curve(self, data: Labelled) -> LatentModel:
        """Return the latent scale of data with its curve, if a curve is chosen already."""
        return _normalised(self._best(data, self._folds(data)), data, np.nan)

    def _lines(self, data: Labelled) -> list[Latent]:
        """Return closed forms of the values."""
        self._log("regression of the values")
        lines = [] if self._regressor is None else [self._regressed(self._regressor, data)]
        if self._by_mutations:
            plain = EpistasisLearner(self._space, seed=self._seed, log=self._log).latent(
                data, transform=False
            )
            centre, size = float(data.values.mean()), _spread(data.values)
            values = [size * latent + centre for latent in (plain.fitted, plain.held_out)]
            lines.append(Latent(plain.sketch.rescaled(size, centre), *values))
        return lines

    def _best(self, data: Labelled, fold: Values) -> Step:
        """Return the latent scale with the smallest error."""
        steps = [] if self._regressor is None else [self._sparse(data, fold, self._regressor)]
        if self._by_mutations:
            self._log("the latent scale of mutations")
            latent = EpistasisLearner(self._space, seed=self._seed, log=self._log).latent(data)
            steps.append(Step.of(latent, data, fold))
        return min(steps, key=lambda step: step.error)

    def _folds(self, data: Labelled) -> Values:
        """Return the fold of each row; copies of a sequence stay together."""
        _, unit = np.unique(data.codes, axis=0, return_inverse=True)
        unit = unit.reshape(-1)
        order = np.random.default_rng([self._seed, 19]).permutation(int(unit.max()) + 1)
        return np.asarray((order % FOLDS)[unit])

    def _sparse(self, data: Labelled, fold: Values, regressor: SparseRegressor) -> Step:
        """Return a latent scale by sparse regressions."""
        best: Step | None = None
        for name, each in self._growing(regressor):
            self._log(f"the latent scale of {name}")
            before = best or Step.of(self._regressed(each, data), data, fold)
            best = self._improved(before, each, data, fold)
            if name == PAIRS and best.error > (1.0 - DECREASE) * before.error:
                # Without pairs that matter, higher orders are not worth their time.
                break
        assert best is not None
        return best

    def _growing(self, regressor: SparseRegressor) -> Iterator[tuple[str, SparseRegressor]]:
        """Yield regressors of more and more patterns, each with a name; the last one is that of the user."""
        options = {**regressor.get_params(), "relations": (), "growth": False, "basis": "letters"}
        options["strengths"] = None
        yield "single positions", SparseRegressor(**{**options, "dictionary": Dictionary(orders=1)})
        n, q = self._space.n, self._space.q
        if regressor.dictionary == "auto" and n * (n - 1) // 2 * q**2 <= MANY_WORDS:
            yield PAIRS, SparseRegressor(**{**options, "dictionary": Dictionary(orders=2)})
        yield "all patterns", regressor

    def _improved(self, best: Step, regressor: SparseRegressor, data: Labelled, fold: Values) -> Step:
        """Return the best step of further regressions."""
        dampings = iter(DAMPINGS)
        damping = next(dampings)
        for _ in range(ROUNDS):
            step = Step.of(self._regressed(regressor, best.working(data, damping)), data, fold)
            ratio = step.error / (best.error or 1.0)
            if ratio < 1.0:
                best = step
            if ratio > 1.0 + WORSE:
                damping = next(dampings, np.inf)
            if damping == np.inf or 1.0 - DECREASE < ratio <= 1.0 + WORSE:
                break
        return best

    def _regressed(self, regressor: SparseRegressor, data: Labelled) -> Latent:
        sketch = regressor._fit(self._space, data, uniform=self._uniform).sketch_._core
        held_out = sketch.held_out
        assert held_out is not None
        return Latent(sketch, predict(sketch, data.codes), held_out.predictions)


def _normalised(step: Step, data: Labelled, line_r2: float) -> LatentModel:
    """Return the model of a step, on the scale with the mean and the variance of the predicted values."""
    fitted = step.latent.fitted
    predicted = step.curve(fitted)
    factor = _spread(predicted) / _spread(fitted)
    constant = float(predicted.mean() - factor * fitted.mean())
    knots, values = step.curve.points(step.latent.between, POINTS)
    curve = _ascending(factor * knots + constant, values)
    sketch = step.latent.sketch.rescaled(factor, constant)
    return LatentModel(sketch, curve, data.r_squared(step.predictions), line_r2)


def _spread(values: Values) -> float:
    return float(values.std()) or 1.0


def _line(at: Values, data: Labelled, fold: Values) -> Values:
    """Return predictions of values (N,) by lines that are fitted to other folds."""
    predictions = np.empty(len(at))
    for number in np.unique(fold):
        held = fold == number
        some = data.at(~held)
        roots = np.ones(len(some.values)) if some.weights is None else np.sqrt(some.weights)
        table = np.column_stack([np.ones(len(some.values)), at[~held]])
        factors = np.linalg.lstsq(roots[:, None] * table, roots * some.values, rcond=None)[0]
        predictions[held] = factors[0] + factors[1] * at[held]
    return predictions


def _clearly_better(predictions: Values, straight: Values, data: Labelled) -> bool:
    """Return whether predictions have clearly smaller squared errors than those of a line."""
    errors, others = (data.values - predictions) ** 2, (data.values - straight) ** 2
    weights = np.ones(len(errors)) if data.weights is None else data.weights / data.weights.mean()
    gain = weights * (others - errors)
    line = float(np.mean(weights * others))
    deviation = float(gain.std()) / len(gain) ** 0.5
    least = max(CLEAR * deviation, WORTHWHILE * line, ROUNDING * float(data.values.var()))
    return bool(gain.mean() > least)


def _ascending(knots: Values, values: Values) -> MonotoneCurve:
    """Return a curve through points whose values differ by more than rounding."""
    rounding = ROUNDINGS * np.spacing(np.abs(values).max())
    kept = [0]
    for index in range(1, len(knots)):
        if values[index] - values[kept[-1]] > rounding and knots[index] > knots[kept[-1]]:
            kept.append(index)
    return MonotoneCurve(knots[kept], values[kept])
