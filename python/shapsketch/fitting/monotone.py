"""Sketches with ``link="monotone"``: on a latent scale, with a curve to the values."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from shapsketch import _core
from shapsketch.errors import InputError, MissingExtraError
from shapsketch.fitting.boosting import REFIT_GAIN
from shapsketch.fitting.epistasis import require_epistasis
from shapsketch.fitting.final import Data
from shapsketch.fitting.holdout import Split
from shapsketch.fitting.latent import LatentLearner, LatentModel
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.regression import MANY_WORDS, SparseRegressor
from shapsketch.fitting.selection import Fitted
from shapsketch.fitting.stacking import WORTHWHILE
from shapsketch.fitting.steps import LATENT, Stages
from shapsketch.link import MONOTONE, Link

logger = logging.getLogger(__name__)

# Fewest distinct sequences that can tell a curve from a line.
FEWEST = 100
METHODS = ("auto", "regress")


def check_monotone(link: Link, options: FitOptions, target_r2: object = None) -> None:
    """Refuse options that ``link="monotone"`` does not have.

    Raises
    ------
    InputError
    """
    if link.name != MONOTONE:
        return
    start = f"link={MONOTONE!r} fits its latent scale by regression"
    if options.method not in METHODS:
        raise InputError(
            f"{start}; use method='auto' or 'regress' instead of {options.method!r}", option="method"
        )
    if options.teacher is not None:
        raise InputError(f"{start}, and has no use for a predictor as method; pass method='auto'")
    if options.max_terms is not None:
        raise InputError(f"{start}, whose terms max_terms cannot limit; remove it", option="max_terms")
    if target_r2 is not None:
        raise InputError(f"{start} after all evaluations; remove target_r2", option="target_r2")


def check_sequences(count: int, what: str) -> None:
    """Refuse too few distinct sequences for a curve.

    Raises
    ------
    InputError
    """
    if count < FEWEST:
        raise InputError(
            f"link={MONOTONE!r} needs {FEWEST} distinct sequences to fit and test its curve, got {what}; "
            "pass more, or use link='identity'",
            option="link",
        )


def fit_monotone(
    data: Data,
    options: FitOptions,
    regressor: SparseRegressor | None,
    stages: Stages,
    ordinary: Callable[[], Fitted],
) -> Fitted:
    """Fit a latent scale and its curve; return the ordinary sketch if a line predicts as well as a curve.

    Parameters
    ----------
    data : Data
        With the values of the model.
    options : FitOptions
    regressor : SparseRegressor or None
        The user's regressor. By default, sequences near one sequence are also fitted by ridge regressions on
        mutations.
    stages : Stages
    ordinary : callable
        Returns the sketch without a curve.
    """
    rows = data.rows
    check_sequences(rows.n_sequences, f"{rows.n_sequences}")
    if np.ptp(rows.values) == 0.0:
        return _without(ordinary(), "all values are equal")
    stages.begin(LATENT)
    started, mutations, note = time.perf_counter(), False, ""
    if regressor is None:
        regressor, mutations, note = _regressor(data, options)
    learner = LatentLearner(
        data.space,
        regressor,
        mutations=mutations,
        uniform=data.uniform,
        seed=options.seed,
        log=stages.step,
    )
    model = learner.fit(rows)
    if model.curve is None:
        fitted = _without(
            ordinary(), f"held-out R² is {model.r2:.4f} with it and {model.line_r2:.4f} with a line"
        )
        return replace(fitted, core=fitted.core.with_note(note)) if note else fitted
    # Latent scale and curve are tested on values that took no part in their fit.
    split = Split.of(rows, options.seed)
    stages.step("the test of latent scale and curve")
    tested = learner.fit_curve(split.train)
    core, predictor = _tested(data, options, model, tested, split)
    candidate = _core.Candidate(MONOTONE, predictor.r2.value, time.perf_counter() - started, 1.0)
    core = core.with_predictor(predictor).with_candidates([candidate])
    if options.method == "auto" and options.effort != "quick":
        core = _with_better_predictor(core, ordinary().core, candidate)
    return Fitted(core.with_note(note) if note else core)


def _without(fitted: Fitted, reason: str) -> Fitted:
    """Return a sketch with a note that it has no curve."""
    note = f"no monotone curve, so the link is the identity: {reason}"
    logger.warning("%s", note)
    return replace(fitted, core=fitted.core.with_note(note))


def _regressor(data: Data, options: FitOptions) -> tuple[SparseRegressor | None, bool, str]:
    """Return the regressor, whether to fit ridge regressions on mutations, and a note on what is missing."""
    sparse = SparseRegressor(data.space, random_state=options.seed)
    if not data.near:
        return sparse, False, ""
    try:
        require_epistasis()
    except MissingExtraError as error:
        return sparse, False, f"ridge regressions on mutations were not tried: {error}"
    n, q = data.space.n, data.space.q
    # Many sparse regressions on that many pairs take minutes.
    few = n * (n - 1) // 2 * q**2 <= MANY_WORDS
    return sparse if few else None, True, ""


def _tested(
    data: Data, options: FitOptions, model: LatentModel, tested: LatentModel, split: Split
) -> tuple[_core.Sketch, _core.Predictor]:
    """Return the sketch of a latent scale, and the predictor of the values, with R² on held-out values."""
    rows, held = data.rows, split.held
    assert model.curve is not None
    predictions = tested.predict(held.codes)
    r2 = held.held_out_r2(predictions, rows, gain=REFIT_GAIN)
    dependent = data.dependent()
    core = model.sketch
    if core.info is None:
        fit = _core.Fit(
            codes=held.codes,
            values=held.values,
            predictions=predictions,
            method="regress",
            outcome="validated",
            budget=data.budget,
            n_queries=rows.n_sequences,
            seed=options.seed,
            weights=held.weights,
            dependent=dependent,
        )
        core = _core.Sketch.from_fit(core, fit)
    curve = (model.curve.knots, model.curve.values)
    core = core.with_outcome("validated").with_budget(data.budget)
    core = core.with_curve(*curve, values=held.values, predictions=predictions, r2=r2, weights=held.weights)
    variances = None
    if not (dependent or r2.is_undefined or r2.is_carried_by_few):
        variances = _core.position_variances(
            data.space._core, held.codes, held.values - predictions, held.weights
        )
    part = (MONOTONE, 1.0, r2.value, _core.Monotone(model.sketch, *curve))
    predictor = _core.Predictor(data.space._core, constant=0.0, parts=[part], r2=r2, variances=variances)
    return core, predictor


def _with_better_predictor(
    core: _core.Sketch, ordinary: _core.Sketch, candidate: _core.Candidate
) -> _core.Sketch:
    """Return a sketch with the predictor of the ordinary one, if that predicts clearly better."""
    info, predictor = ordinary.info, ordinary.predictor
    assert info is not None
    others = [_core.Candidate(c.name, c.r2, c.seconds, 0.0) for c in info.candidates]
    core = core.with_candidates([candidate, *others])
    if predictor is not None and 1.0 - predictor.r2.value < (1.0 - WORTHWHILE) * (1.0 - candidate.r2):
        core = core.with_predictor(predictor)
    return core
