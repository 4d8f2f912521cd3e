"""Choose the method: fit one, or compare several on held-out values and keep the best or an average.

`fit_values` is the entry point. `_peel` tries the queries of a design, `_why_only_regression` ends the
comparison early, `Missing` says what cannot be tried, `_learners` lists who takes part, and `_final` picks
the best closed form or an average of them, and the best predictor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from shapsketch import _core
from shapsketch.errors import InputError, MissingExtraError
from shapsketch.fitting import networks
from shapsketch.fitting.boosting import (
    LEAVES,
    MOST_ROUNDS,
    THOROUGH_ROUNDS,
    Schedule,
    positional_candidates,
    require_trees,
)
from shapsketch.fitting.comparison import CLOSED_FORMS, Comparison, fits
from shapsketch.fitting.distillation import CustomTeacher, Limits, Students, small
from shapsketch.fitting.effort import Clock
from shapsketch.fitting.epistasis import EpistasisLearner, require_epistasis
from shapsketch.fitting.final import Data, Final
from shapsketch.fitting.hierarchy import REFIT_SECONDS, HierarchyLearner, selects
from shapsketch.fitting.holdout import Labelled, Split, check_enough
from shapsketch.fitting.learners import (
    BoostingLearner,
    CountingLearner,
    CustomLearner,
    Learner,
    NetworkLearner,
    RegressionLearner,
)
from shapsketch.fitting.long import late_regression, pool_of
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.regressed import Regressed, shortened
from shapsketch.fitting.stacking import WORTHWHILE, WORTHWHILE_NEAR, choose, cross_fitted
from shapsketch.fitting.steps import ALL_QUERIES, PEELING, REGRESSION, STUDENTS, Log, Stages
from shapsketch.query.budget import FEWEST
from shapsketch.surrogate.predictor import CustomPart
from shapsketch.surrogate.relations import NAMED

logger = logging.getLogger(__name__)

# Leaves of the trees that are tried, unless the effort is thorough; the first decides between features.
STANDARD_LEAVES = (31, 8)
# The same for trees with counts; only the first is tried unless the effort is thorough.
COUNTING_LEAVES = (15, 8, 31)
# Learners of the best predictor that profit most from all queries. The best of them has time reserved for it.
REFITTED = (NetworkLearner.name, EpistasisLearner.name)
# If R² of the regression is at least this, no other method is tried.
GOOD = 0.9995


@dataclass(frozen=True)
class Fitted:
    """A sketch of the core.

    Attributes
    ----------
    core : _core.Sketch
    custom : CustomPart or None
        The user's predictor, if it is a part of the best predictor; the core has the other parts.
    regression_r2 : float
        R² of the regression among the candidates, which rests on all values; NaN if there is none.
    missing : str
        What was not tried, because a library is not installed, as a note for the sketch; "" if nothing.
    """

    core: _core.Sketch
    custom: CustomPart | None = None
    regression_r2: float = float("nan")
    missing: str = ""


@dataclass(frozen=True)
class Missing:
    """What cannot be tried, because a library is not installed.

    Attributes
    ----------
    methods : tuple of str
        Names of learners; "trees" are all that need boosted trees.
    note : str
        What was not tried, and why; "" if everything can be.
    """

    methods: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def of(cls, data: Data, options: FitOptions) -> Missing:
        """Return what cannot be tried of the methods that suit data and options."""
        if options.method == "auto" and options.effort == "quick":
            return cls()
        needs = {BoostingLearner.name: require_trees}
        if _suits_epistasis(data, options):
            needs[EpistasisLearner.name] = require_epistasis
        reasons: dict[str, str] = {}
        for name, require in needs.items():
            try:
                require()
            except MissingExtraError as error:
                reasons[name] = str(error)
        if not reasons:
            return cls()
        return cls(tuple(reasons), f"{' and '.join(reasons)} were not tried: {next(iter(reasons.values()))}")

    @property
    def trees(self) -> bool:
        """Whether boosted trees cannot be tried."""
        return BoostingLearner.name in self.methods


def fit_values(
    data: Data,
    options: FitOptions,
    regress: Callable[[float | None], _core.Sketch],
    stages: Stages,
    peel: Callable[[], _core.Sketch | None] | None = None,
) -> Fitted:
    """Fit the methods that `options` name, choose on held-out values, and fit the choice to all values.

    `regress` takes the seconds of the regression, or None for no limit. `peel` returns the peeled sketch of
    queries with a design.
    """
    peeled = None
    if options.method == "auto" and peel is not None:
        stages.begin(PEELING)
        peeled = _peel(data, options, peel)
        if peeled is not None and peeled.regression_r2 >= GOOD:
            return peeled
    fitted = _better(_fit_learners(data, options, regress, stages), peeled)
    if not fitted.missing:
        return fitted
    logger.warning("%s", fitted.missing)
    return replace(fitted, core=fitted.core.with_note(fitted.missing))


def _peel(data: Data, options: FitOptions, peel: Callable[[], _core.Sketch | None]) -> Fitted | None:
    """Return the peeled sketch, with its R² as that of the regression; None if it cannot be a candidate."""
    if np.ptp(data.rows.values) == 0.0:
        return None
    started = time.perf_counter()
    core = peel()
    if core is None or (options.max_terms is not None and len(core) > options.max_terms):
        return None
    assert core.info is not None
    r2 = core.info.r2.value
    candidate = _core.Candidate("peel", r2, time.perf_counter() - started, 1.0)
    return Fitted(core.with_candidates([candidate]), None, r2)


def _better(fitted: Fitted, peeled: Fitted | None) -> Fitted:
    """Return the sketch of the other methods, or the peeled one if it predicts held-out values better."""
    if peeled is None or np.isnan(peeled.regression_r2):
        return fitted
    info, predictor = fitted.core.info, fitted.core.predictor
    assert info is not None
    assert peeled.core.info is not None
    loser = [_core.Candidate(c.name, c.r2, c.seconds, 0.0) for c in peeled.core.info.candidates]
    if not peeled.regression_r2 > info.r2.value:
        return replace(fitted, core=fitted.core.with_candidates([*info.candidates, *loser]))
    others = [_core.Candidate(c.name, c.r2, c.seconds, 0.0) for c in info.candidates]
    core = peeled.core.with_candidates([*peeled.core.info.candidates, *others])
    if predictor is None or peeled.regression_r2 >= predictor.r2.value:
        return replace(fitted, core=core, custom=None)
    return replace(fitted, core=core.with_predictor(predictor))


def _fit_learners(
    data: Data, options: FitOptions, regress: Callable[[float | None], _core.Sketch], stages: Stages
) -> Fitted:
    """Fit the regression and the other learners."""
    clock, regressed = Clock(options.effort, data.model_seconds, data.near), None
    # If the regression selects supports by all values, cross-validation cannot tell its error.
    selected = not data.ordered and selects(data.space, len(data.rows.values))
    late = None if selected else late_regression(data, options, clock)
    if options.method == "auto" and not selected and late is None:
        stages.begin(REGRESSION)
        started = time.perf_counter()
        core = regress(clock.regression_seconds)
        regressed = Regressed(core, time.perf_counter() - started)
        clock.regressed(core)
        reason = _why_only_regression(data.rows, regressed.r2, options)
        if reason is not None:
            return _only_regression(data, options, regressed, reason)
    missing = Missing.of(data, options)
    try:
        fitted = _compare(data, options, regressed, clock, missing, stages, late)
    except InputError as error:
        # Return the regression, so that the evaluations are not lost.
        if regressed is None or options.teacher is not None:
            raise
        logger.warning("the other methods failed; the sketch is the regression: %s", error)
        fitted = _only_regression(data, options, regressed, f"the other methods failed: {error}")
    return replace(fitted, missing=missing.note)


def _why_only_regression(data: Labelled, r2: float, options: FitOptions) -> str | None:
    """Return why only regression is tried: a note, or "" if no method can do better; None to try others."""
    if r2 >= GOOD or np.isnan(r2):
        return ""
    if options.effort == "quick":
        return ""
    if data.n_sequences < FEWEST:
        return f"trees need at least {FEWEST} sequences"
    return None


def _only_regression(data: Data, options: FitOptions, regressed: Regressed, note: str) -> Fitted:
    """Return the regression, with at most `max_terms` terms, and a note why nothing else was tried."""
    core = regressed.core
    if options.max_terms is not None and len(core) > options.max_terms:
        core = shortened(regressed, data.rows, options)
    if note:
        core = core.with_note(note)
    candidate = _core.Candidate("regress", regressed.r2, regressed.seconds, 1.0)
    core = core.with_budget(data.budget).with_candidates([candidate])
    return Fitted(core, None, regressed.r2)


def _suits_epistasis(data: Data, options: FitOptions) -> bool:
    return data.ordered and data.near and options.method != "trees" and options.teacher is None


def _learners(
    data: Data,
    options: FitOptions,
    regressed: Regressed | None,
    clock: Clock,
    missing: Missing,
    log: Log,
    late: Learner | None = None,
) -> Iterator[Learner]:
    """Yield the learners of a method, one after the other: the time that the first took limits the next."""
    thorough, seed = options.effort == "thorough", options.seed
    leaves = LEAVES if thorough else STANDARD_LEAVES
    schedule = Schedule(
        most_rounds=THOROUGH_ROUNDS if thorough else MOST_ROUNDS,
        until=clock.learners_end if options.method == "auto" else float("inf"),
    )
    boosting = BoostingLearner(
        data.space,
        leaves=leaves,
        schedule=schedule,
        seed=seed,
        log=log,
        features="auto" if data.ordered else "onehot",
        exact=data.exact,
    )
    if regressed is not None:
        yield RegressionLearner(data.rows.codes, regressed.core)
    if not data.ordered:
        yield from _unordered_learners(data, options, regressed, boosting, missing, log)
        return
    if _suits_epistasis(data, options) and EpistasisLearner.name not in missing.methods:
        yield EpistasisLearner(data.space, seed=seed, log=log)
    counting = CountingLearner(
        boosting,
        leaves=COUNTING_LEAVES if thorough else COUNTING_LEAVES[:1],
        seed=seed,
        log=log,
        runs=regressed is not None and bool(regressed.core.run_counts()),
        # Networks and other trees do not see the runs that the regression has chosen.
        first=options.effort == "standard" and options.teacher is None and not missing.trees,
    )
    if counting.first:
        yield counting
    if options.method != "trees" and options.teacher is None:
        # Without trees, networks are the only teacher.
        required = missing.trees and options.method == "distill"
        count = data.rows.n_sequences
        size = clock.networks(data.space, count, required=required, pool=pool_of(data))
        if size is not None:
            yield NetworkLearner(data.space, size, seed=seed, log=log)
    if late is not None:
        yield late
    if options.method != "distill" and not missing.trees:
        yield boosting
    if options.method == "trees":
        return
    if options.teacher is not None:
        teacher = CustomTeacher(options.teacher, data.space, options.teacher_inputs)
        yield CustomLearner(teacher, log)
        return
    if not (missing.trees or counting.first):
        yield counting


def _unordered_learners(
    data: Data,
    options: FitOptions,
    regressed: Regressed | None,
    boosting: BoostingLearner,
    missing: Missing,
    log: Log,
) -> list[Learner]:
    """Return further learners for positions without an order: networks and counts need an order."""
    pairs = HierarchyLearner(data.space, None, seed=options.seed, log=log)
    learners: list[Learner] = [] if regressed is not None else [pairs]
    if options.effort == "quick" or missing.trees:
        return learners

    def seconds() -> float:
        return REFIT_SECONDS * (pairs.took if regressed is None else regressed.seconds)

    refit = HierarchyLearner(data.space, boosting, seconds=seconds, seed=options.seed, log=log)
    return [*learners, boosting, refit]


def _compare(
    data: Data,
    options: FitOptions,
    regressed: Regressed | None,
    clock: Clock,
    missing: Missing,
    stages: Stages,
    late: Learner | None,
) -> Fitted:
    if regressed is None:
        check_enough(data.rows)
    elif missing.trees and not data.ordered:
        return _only_regression(data, options, regressed, "")
    split = Split.of(data.rows, options.seed)
    if np.ptp(split.held.values) == 0.0 and regressed is not None:
        return _only_regression(data, options, regressed, "the held-out values do not differ")
    baseline = float(np.average(split.train.values, weights=split.train.weights))
    limit = clock if options.method == "auto" else None
    final = Final(data, options, Comparison(split, baseline), stages, clock=limit)
    try:
        _fill(final, regressed, clock, missing, late)
        return _final(final, regressed, clock)
    except KeyboardInterrupt:
        # A regression learns nothing from the split, so it is there in any case.
        if regressed is None or "regress" not in final.comparison.predictions:
            raise
        logger.warning("interrupted: the sketch is the best so far; interrupt again to stop")
        final.refit = False
        fitted = _final(final, regressed, clock)
        return replace(fitted, core=fitted.core.with_note("interrupted: the best so far"))


def _fill(
    final: Final, regressed: Regressed | None, clock: Clock, missing: Missing, late: Learner | None
) -> None:
    """Fit the candidates that fit into the time."""
    data, options, comparison = final.data, final.options, final.comparison
    chosen = options.method != "auto"
    if not chosen:
        networks.measure(clock, data.space, len(data.rows.codes), pool=pool_of(data))
    for learner in _learners(data, options, regressed, clock, missing, final.stages.step, late):
        if chosen or fits(learner, clock, data.rows.codes):
            if regressed is None or learner.name != "regress":
                final.stages.begin_learner(learner.name)
            comparison.add(learner)
            if learner.name == "regress" and regressed is not None:
                comparison.seconds["regress"] = regressed.seconds
            if learner.name in REFITTED:
                best = comparison.best_of(REFITTED)
                clock.reserve(comparison.seconds[best], best)
            clock.taught = bool(comparison.teachers(better=True).weights)
    if data.ordered and options.method != "trees":
        _teach(final, regressed, clock, missing)


def _teach(final: Final, regressed: Regressed | None, clock: Clock, missing: Missing) -> None:
    """Let students learn, if there is a teacher that is worth it, and they fit into the time."""
    data, options, comparison = final.data, final.options, final.comparison
    auto = options.method == "auto"
    # Students of small spaces are fast.
    better = auto and options.effort == "standard" and not small(data.space)
    teaching = comparison.teachers(better=better)
    if not teaching.weights:
        return
    seconds = clock.student_seconds(small=small(data.space)) if auto else clock.student_share
    # Students of long sequences take much longer than their share, and find no motifs without a place.
    if seconds == 0.0 or (better and pool_of(data) > 1):
        clock.left_out.append("students")
        return
    final.stages.begin(STUDENTS)
    final.students = Students(
        positional_candidates(data.space, exact=data.exact)[-1 if data.exact else 0],
        draw=data.draw if data.near or data.distribution is not None else None,
        exact=data.exact,
        trees=not missing.trees,
        limits=Limits(seconds, data.rows.n_sequences, clock.slowness, ends=clock.effort == "standard"),
        relations=_relations(comparison, regressed),
        seed=options.seed,
        log=final.stages.step,
    )
    comparison.teach(final.students, teaching)


def _relations(comparison: Comparison, regressed: Regressed | None) -> list[str]:
    """Return the relations of runs that the regression has chosen, or else those that trees count."""
    names = set() if regressed is None else {name for name, _ in regressed.core.run_counts()}
    counting = comparison.learners.get(CountingLearner.name)
    if not names and isinstance(counting, CountingLearner):
        names = counting.relations
    return [relation for relation, (name, _) in NAMED.items() if name in names]


def _final(final: Final, regressed: Regressed | None, clock: Clock) -> Fitted:
    """Choose the closed form and the predictor, and fit both to all values."""
    comparison, options = final.comparison, final.options
    final.stages.begin(ALL_QUERIES)
    held, baseline = comparison.split.held, comparison.baseline
    closed = comparison.closed_forms()
    # Closed forms of trees that are exact have too many terms to be averaged with others.
    worthwhile = 1.0 if final.data.exact else WORTHWHILE
    weights = choose(closed, held, baseline, worthwhile=worthwhile)
    candidates = comparison.candidates(weights)
    for each in candidates:
        logger.info("%s: R² %.4f in %.1f s, weight %.2f", each.name, each.r2, each.seconds, each.weight)
    if set(weights.weights) == {"regress"} and regressed is not None and options.max_terms is None:
        core = regressed.core.with_budget(final.data.budget).with_candidates(candidates)
    else:
        predictions = cross_fitted(closed, held, baseline, options.seed, worthwhile=worthwhile)
        core = final.sketch(weights, predictions, candidates)
    custom = None
    worthwhile = WORTHWHILE_NEAR if final.data.near else WORTHWHILE
    stacked = choose(comparison.predictions, held, baseline, worthwhile=worthwhile)
    if any(name not in CLOSED_FORMS for name in stacked.weights):
        predictions = cross_fitted(
            comparison.predictions, held, baseline, options.seed, worthwhile=worthwhile
        )
        predictor, custom = final.predictor(stacked, predictions)
        core = core.with_predictor(predictor)
    if clock.left_out:
        core = core.with_note(f"left out to save time: {', '.join(clock.left_out)}")
    return Fitted(core, custom, float("nan") if regressed is None else regressed.r2)
