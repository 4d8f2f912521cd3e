"""Candidates on the same held-out values: learners, and students of those without a closed form."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shapsketch import _core
from shapsketch.fitting.distillation import Students
from shapsketch.fitting.effort import CORES, Clock
from shapsketch.fitting.epistasis import EpistasisLearner
from shapsketch.fitting.hierarchy import REFIT, HierarchyLearner
from shapsketch.fitting.holdout import Labelled, Split, predict
from shapsketch.fitting.learners import BoostingLearner, CountingLearner, Learner, Model, RegressionLearner
from shapsketch.fitting.stacking import Weights, choose
from shapsketch.space import Codes, Values

# Seconds of one core for the search of trees, for each position of each sequence.
TREE_SECONDS = 6e-5
# A teacher is clearly better than the best closed form if its error is lower by this fraction.
CLEARLY_BETTER = 0.05
# Learners whose models have a closed form.
CLOSED_FORMS = (RegressionLearner.name, BoostingLearner.name, REFIT)


def teacher_of(weights: Weights, models: Mapping[str, Model]) -> Callable[[Codes], Values]:
    """Return the weighted sum of models, as a function of codes."""
    return lambda codes: weights.of({name: models[name].predict(codes) for name in weights.weights})


@dataclass
class Comparison:
    """Candidates and their predictions of held-out values.

    Attributes
    ----------
    split : Split
    baseline : float
        The constant that a candidate must beat.
    learners : dict of str to Learner
    predictions : dict of str to array (M,)
        Predictions of the held-out values by each learner.
    students : dict of str to array (M,)
        The same by each student.
    sketches : dict of str to _core.Sketch
        The students.
    seconds : dict of str to float
        The time that each candidate took.
    teaching : Weights or None
        The average of learners that taught the students.
    """

    split: Split
    baseline: float
    learners: dict[str, Learner] = field(default_factory=dict)
    predictions: dict[str, Values] = field(default_factory=dict)
    students: dict[str, Values] = field(default_factory=dict)
    sketches: dict[str, _core.Sketch] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    teaching: Weights | None = None

    def add(self, learner: Learner) -> None:
        """Fit a learner without the held-out values."""
        started = time.perf_counter()
        predictions = learner.fit(self.split)
        self.seconds[learner.name] = time.perf_counter() - started
        self.learners[learner.name] = learner
        # An interrupt can come before any line. What has predictions is complete.
        self.predictions[learner.name] = predictions

    def best_of(self, names: Sequence[str]) -> str:
        """Return the learner with the smallest error of those names that have predictions."""
        return min(
            (name for name in names if name in self.predictions),
            key=lambda name: self.split.held.error(self.predictions[name]),
        )

    def teachers(self, *, better: bool) -> Weights:
        """Return the average of the learners without a closed form that can teach students.

        There are no weights if it predicts no better than a constant, or, with `better`, if it is not clearly
        better than the best closed form.
        """
        held = self.split.held
        open_forms = {name: p for name, p in self.predictions.items() if name not in CLOSED_FORMS}
        weights = choose(open_forms, held, self.baseline)
        closed = [held.error(p) for p in self.closed_forms().values()]
        if better and weights.weights and closed:
            error = held.error(weights.of(open_forms))
            if error > (1.0 - CLEARLY_BETTER) * min(closed):
                return Weights({}, self.baseline)
        return weights

    def teach(self, students: Students, weights: Weights) -> None:
        """Let students learn from an average of learners."""
        models = {name: self.learners[name].fitted for name in weights.weights}
        started = time.perf_counter()
        sketches = students.fit(teacher_of(weights, {name: m for name, m in models.items() if m is not None}))
        seconds = (time.perf_counter() - started) / len(sketches)
        predictions = {name: predict(sketch, self.split.held.codes) for name, sketch in sketches.items()}
        self.seconds.update(dict.fromkeys(sketches, seconds))
        self.sketches, self.teaching = sketches, weights
        self.students = predictions

    def closed_forms(self) -> dict[str, Values]:
        """Return the held-out predictions of the candidates that have a closed form."""
        own = {name: p for name, p in self.predictions.items() if name in CLOSED_FORMS}
        return {**own, **self.students}

    def candidates(self, weights: Weights) -> list[_core.Candidate]:
        """Return all candidates, with their weights in the closed form."""
        held: Labelled = self.split.held
        return [
            _core.Candidate(name, held.r_squared(p), self.seconds[name], weights.weights.get(name, 0.0))
            for name, p in {**self.predictions, **self.students}.items()
        ]


def fits(learner: Learner, clock: Clock, codes: Codes) -> bool:
    """Return whether a learner of sequences, codes (N, n), fits into the time that is left.

    The first learner may fit with some of the sequences.
    """
    if isinstance(learner, EpistasisLearner | HierarchyLearner):
        return clock.fits(learner.name, learner.seconds(codes))
    # The size of networks is chosen by the time, and others are fast.
    trees = learner.name in (BoostingLearner.name, CountingLearner.name)
    seconds = TREE_SECONDS * codes.size / CORES
    if isinstance(learner, CountingLearner) and learner.first:
        learner.share = clock.share(learner.name, seconds)
        return learner.share > 0.0
    return not trees or clock.fits(learner.name, seconds)


def refit_seconds(learner: Learner, seconds: float) -> float:
    """Return the time of the last fit of a learner, of which all fits took `seconds`."""
    return learner.refit_seconds if isinstance(learner, BoostingLearner | CountingLearner) else seconds
