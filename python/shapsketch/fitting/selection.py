"""Choose the method: fit one, or compare several on held-out values and keep the best or an average.

`fit_values` is the entry point. `_why_only_regression` ends the comparison early, `_learners` lists who takes
part, and `choose` picks the best candidate or an average.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from shapsketch import _core
from shapsketch._validate import optional
from shapsketch.errors import InputError, MissingExtraError
from shapsketch.fitting.boosting import REFIT_GAIN, power_of_two
from shapsketch.fitting.distillation import Teacher
from shapsketch.fitting.holdout import (
    Labelled,
    Split,
    check_enough,
    predictions_after_truncation,
)
from shapsketch.fitting.learners import (
    BoostingLearner,
    DistillationLearner,
    Learner,
    RegressionLearner,
    custom_teacher,
)
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.steps import Log
from shapsketch.query.budget import FEWEST
from shapsketch.space import SequenceSpace, Values

logger = logging.getLogger(__name__)

# If R² of the regression is at least this, no other method is tried.
GOOD = 0.9995
# An average must lower the error of the best candidate by this fraction to be worth its terms.
WORTHWHILE = 0.01
# Factor of the row that fixes the sum of the weights of an average, relative to the other rows.
SUM_FACTOR = 1e3
# The note of a sketch that is a constant.
CONSTANT = "no method predicts held-out values better than their mean, so the sketch is a constant"
# Candidates with a smaller fraction of the sum of weights are removed from an average.
NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Data:
    """Sequences and values to learn from.

    Attributes
    ----------
    space : SequenceSpace
    rows : Labelled
        Values on the scale of the sketch.
    budget : int
        Evaluations that were allowed.
    sampled_fraction : float
        Fraction of the space that was evaluated; 0 for measured data.
    """

    space: SequenceSpace
    rows: Labelled
    budget: int
    sampled_fraction: float

    def dependent(self) -> list[tuple[int, int]]:
        """Return the pairs of positions that depend on each other; queries have none."""
        measured = self.sampled_fraction == 0.0
        return _core.dependent_positions(self.space._core, self.rows.codes) if measured else []


@dataclass(frozen=True)
class Fitted:
    """A sketch of the core.

    Attributes
    ----------
    core : _core.Sketch
    teacher : Teacher or None
        The teacher, if the sketch was distilled from one.
    regression_r2 : float
        R² of the regression among the candidates, which rests on all values; NaN if there is none.
    """

    core: _core.Sketch
    teacher: Teacher | None = None
    regression_r2: float = float("nan")


@dataclass(frozen=True)
class Regressed:
    """A regression of all values, and the seconds it took."""

    core: _core.Sketch
    seconds: float

    @property
    def r2(self) -> float:
        """Cross-validated R²."""
        assert self.core.info is not None
        return self.core.info.r2.value


def fit_values(data: Data, options: FitOptions, regress: Callable[[], _core.Sketch], log: Log) -> Fitted:
    """Fit the methods that `options` name, choose on held-out values, and fit the choice to all values."""
    regressed = None
    if options.method == "auto":
        log("regression")
        started = time.perf_counter()
        core = regress()
        regressed = Regressed(core, time.perf_counter() - started)
        reason = _why_only_regression(data.rows, regressed.r2, options)
        if reason is not None:
            return _only_regression(data, options, regressed, reason)
    try:
        return _compare(data, options, regressed, log)
    except InputError as error:
        # Return the regression, so that the evaluations are not lost.
        if regressed is None or options.teacher is not None:
            raise
        logger.warning("trees and distillation failed; the sketch is the regression: %s", error)
        return _only_regression(data, options, regressed, f"trees and distillation failed: {error}")


def _why_only_regression(data: Labelled, r2: float, options: FitOptions) -> str | None:
    """Return why only regression is tried: a note, or "" if no method can do better; None to try others."""
    if r2 >= GOOD or np.isnan(r2):
        return ""
    if data.n_sequences < FEWEST:
        return f"trees need at least {FEWEST} sequences"
    try:
        optional("lightgbm", "trees", "trying trees")
    except MissingExtraError as error:
        if options.teacher is None:
            return f"trees and distillation were not tried: {error}"
        raise
    return None


def _only_regression(data: Data, options: FitOptions, regressed: Regressed, note: str) -> Fitted:
    """Return the regression, with at most `max_terms` terms, and a note why nothing else was tried."""
    core = regressed.core
    if options.max_terms is not None and len(core) > options.max_terms:
        core = _shortened(regressed, data.rows, options)
    if note:
        core = core.with_note(note)
    candidate = _core.Candidate("regress", regressed.r2, regressed.seconds, 1.0)
    core = core.with_budget(data.budget).with_candidates([candidate])
    return Fitted(core, None, regressed.r2)


def _learners(
    data: Data, options: FitOptions, regressed: Regressed | None, boosting: BoostingLearner, log: Log
) -> list[Learner]:
    """Return the learners of a method."""
    learners: list[Learner] = []
    if regressed is not None:
        learners.append(RegressionLearner(data.rows.codes, regressed.core))
    if options.method != "distill":
        learners.append(boosting)
    if options.method == "distill" or (options.method == "auto" and not options.fast):
        custom = custom_teacher(options.teacher, data.space, options.teacher_inputs)
        learners.append(DistillationLearner(boosting, custom, seed=options.seed, log=log))
    return learners


def _compare(data: Data, options: FitOptions, regressed: Regressed | None, log: Log) -> Fitted:
    if regressed is None:
        check_enough(data.rows)
    split = Split.of(data.rows, options.seed)
    boosting = BoostingLearner(data.space, fast=options.fast, seed=options.seed, log=log)
    learners = _learners(data, options, regressed, boosting, log)
    comparison = Comparison.of(learners, split, float("nan") if regressed is None else regressed.seconds)
    if np.ptp(split.held.values) == 0.0 and regressed is not None:
        return _only_regression(data, options, regressed, "the held-out values do not differ")
    baseline = float(np.average(split.train.values, weights=split.train.weights))
    weights = choose(comparison.predictions, split.held, baseline)
    candidates = [
        _core.Candidate(
            name, split.held.r_squared(p), comparison.seconds[name], weights.weights.get(name, 0.0)
        )
        for name, p in comparison.predictions.items()
    ]
    for each in candidates:
        logger.info("%s: R² %.4f in %.1f s, weight %.2f", each.name, each.r2, each.seconds, each.weight)
    if set(weights.weights) == {"regress"} and regressed is not None and options.max_terms is None:
        core = regressed.core.with_budget(data.budget).with_candidates(candidates)
        return Fitted(core, None, regressed.r2)
    predictions = cross_fitted(comparison.predictions, split.held, baseline, options.seed)
    log("all queries")
    surrogate, full_terms, predictions = _combined(data, options, comparison, weights, split, predictions)
    distillation = next((each for each in learners if isinstance(each, DistillationLearner)), None)
    fit = _core.Fit(
        codes=split.held.codes,
        values=split.held.values,
        predictions=predictions,
        method=_method_of(weights, options),
        outcome="validated",
        budget=data.budget,
        n_queries=data.rows.n_sequences,
        seed=options.seed,
        sampled_fraction=data.sampled_fraction,
        weights=split.held.weights,
        dependent=data.dependent(),
        refit_gain=REFIT_GAIN if weights.weights else 0.0,
        all_terms=full_terms,
        notes=[] if weights.weights else [CONSTANT],
        candidates=candidates,
        teacher_predictions=None if distillation is None else distillation.held_out,
    )
    return Fitted(
        _core.Sketch.from_fit(surrogate, fit),
        None if distillation is None else distillation.teacher,
        float("nan") if regressed is None else regressed.r2,
    )


def _method_of(weights: Weights, options: FitOptions) -> str:
    """Return the method that made a sketch of candidates."""
    methods = {name.split(" ")[0] for name in weights.weights}
    if not methods:
        return "regress" if options.method == "auto" else options.method
    return methods.pop() if len(methods) == 1 else "average"


def _combined(
    data: Data,
    options: FitOptions,
    comparison: Comparison,
    weights: Weights,
    split: Split,
    predictions: Values,
) -> tuple[_core.Sketch, tuple[int, float] | None, Values]:
    """Return the weighted sum of sketches of all values, and its held-out predictions.

    If `max_terms` removed terms, the second item has their number and R² before.
    """
    if not weights.weights:
        constant = float(np.average(data.rows.values, weights=data.rows.weights))
        return _core.Sketch.constant_of(data.space._core, constant), None, predictions
    parts = {name: comparison.learners[name].fit_all(data.rows, name) for name in weights.weights}
    full = _core.combine(
        list(parts.values()),
        list(weights.weights.values()),
        constant=weights.constant,
        dropped=0.0,
        max_terms=None,
    )
    if options.max_terms is None:
        return full, None, predictions
    short = _core.combine([full], [1.0], constant=0.0, dropped=0.0, max_terms=options.max_terms)
    all_terms = (len(full), split.held.r_squared(predictions))
    return short, all_terms, predictions_after_truncation(predictions, full, short, split.held.codes)


def _shortened(regressed: Regressed, data: Labelled, options: FitOptions) -> _core.Sketch:
    """Return a regression with fewer terms; its R² is measured after truncation."""
    held_out = regressed.core.held_out
    assert held_out is not None
    short = _core.combine([regressed.core], [1.0], constant=0.0, dropped=0.0, max_terms=options.max_terms)
    fit = _core.Fit(
        codes=data.codes,
        values=held_out.values,
        predictions=predictions_after_truncation(held_out.predictions, regressed.core, short, data.codes),
        method="regress",
        outcome="cross-validated",
        budget=data.n_sequences,
        n_queries=data.n_sequences,
        seed=options.seed,
        weights=data.weights,
        refit_gain=REFIT_GAIN,
        all_terms=(len(regressed.core), regressed.r2),
    )
    return _core.Sketch.from_fit(short, fit)


@dataclass(frozen=True)
class Comparison:
    """Candidates on the same held-out values.

    Attributes
    ----------
    predictions : dict of str to array (M,)
        Each candidate's predictions of the held-out values.
    seconds : dict of str to float
        The time each candidate took.
    learners : dict of str to Learner
        Which learner each candidate belongs to.
    """

    predictions: dict[str, Values]
    seconds: dict[str, float]
    learners: dict[str, Learner]

    @classmethod
    def of(cls, learners: list[Learner], split: Split, regression_seconds: float) -> Comparison:
        """Fit each learner without the held-out values."""
        comparison = cls({}, {}, {})
        for learner in learners:
            started = time.perf_counter()
            predictions = learner.fit(split)
            seconds = time.perf_counter() - started
            if isinstance(learner, RegressionLearner):
                seconds = regression_seconds
            for name, held_out in predictions.items():
                comparison.predictions[name] = held_out
                comparison.seconds[name] = seconds / len(predictions)
                comparison.learners[name] = learner
        return comparison


@dataclass(frozen=True)
class Weights:
    """Weights of candidates, and a constant; without candidates the constant is the prediction."""

    weights: dict[str, float]
    constant: float

    def of(self, predictions: dict[str, Values]) -> Values:
        """Return the weighted sum of predictions plus the constant."""
        total = np.full(len(next(iter(predictions.values()))), self.constant)
        for name, weight in self.weights.items():
            total += weight * predictions[name]
        return total


def choose(predictions: dict[str, Values], held: Labelled, baseline: float) -> Weights:
    """Choose the best candidate on held-out data, or the best average if it is clearly better.

    The average has non-negative weights with a sum of at most 1 (stacking: Breiman 1996). If no candidate
    predicts better than the constant `baseline`, there are no weights.
    """
    errors = {name: held.error(p) for name, p in predictions.items()}
    best = min(errors, key=lambda name: errors[name])
    if errors[best] >= held.error(np.full(len(held.values), baseline)):
        return Weights({}, baseline)
    single = Weights({best: 1.0}, 0.0)
    if len(predictions) == 1:
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
    average = Weights(
        dict(zip(names, map(float, weights), strict=True)), float(mean(truth)[0] - means @ weights)
    )
    return average if held.error(average.of(predictions)) < (1.0 - WORTHWHILE) * errors[best] else single


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


def cross_fitted(predictions: dict[str, Values], held: Labelled, baseline: float, seed: int) -> Values:
    """Return averaged predictions of each half of the rows, with weights chosen on the other half."""
    order = np.random.default_rng([seed, 3]).permutation(len(held.values))
    averaged = np.empty(len(held.values))
    for rows, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        weights = choose({name: p[others] for name, p in predictions.items()}, held.at(others), baseline)
        averaged[rows] = weights.of({name: p[rows] for name, p in predictions.items()})
    return averaged
