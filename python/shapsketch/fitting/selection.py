"""Choose between several learners on the same values: the best one, or an average of several."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import optional
from shapsketch.fitting.boosting import (
    DROPPED,
    LEAVES,
    FittedTrees,
    choose_trees,
    closed_form,
    positional_candidates,
)
from shapsketch.fitting.distillation import CustomTeacher, Predictor, Teacher, choose_teacher, students
from shapsketch.fitting.features import PositionalFeatures
from shapsketch.fitting.holdout import Split, predict
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)

# An average must lower the error of the best candidate by this fraction to be worth its terms.
WORTHWHILE = 0.01
# Candidates with a smaller fraction of the sum of weights are removed from an average.
NEGLIGIBLE = 0.05
# Leaves that are tried when fitting fast.
FAST_LEAVES = (31, 8)

# Reports the next step of a fit.
Log = Callable[[str], None]


@contextmanager
def steps(progress: bool) -> Iterator[Log]:
    """Show the current step and the time since the start; yield the function that reports a step."""
    from tqdm.auto import tqdm

    with tqdm(disable=not progress, bar_format="{desc} [{elapsed}]") as bar:

        def log(step: str) -> None:
            logger.info("%s", step)
            bar.set_description_str(step)

        yield log


class Learner(Protocol):
    """A way to fit values, with one or more candidates as results."""

    def fit(self, split: Split) -> dict[str, Values]:
        """Fit without the held-out values; return each candidate's predictions of them by name."""

    def fit_all(self, codes: Codes, values: Values, name: str) -> _core.Sketch:
        """Return a candidate's sketch of all values."""


class RegressionLearner:
    """A regression, which is cross-validated already."""

    def __init__(self, codes: Codes, sketch: _core.Sketch) -> None:
        self._codes, self._sketch = codes, sketch

    def fit(self, split: Split) -> dict[str, Values]:
        """Return the cross-validated predictions of the held-out sequences."""
        held_out = self._sketch.held_out
        assert held_out is not None
        rows = {row.tobytes(): index for index, row in enumerate(self._codes)}
        return {"regress": held_out.predictions[[rows[row.tobytes()] for row in split.held_codes]]}

    def fit_all(self, codes: Codes, values: Values, name: str) -> _core.Sketch:  # noqa: ARG002
        """Return the regression, which was fitted to all values."""
        return self._sketch


class BoostingLearner:
    """Boosted trees on positional features."""

    def __init__(self, space: SequenceSpace, *, fast: bool, seed: int, log: Log) -> None:
        self._space, self._seed, self._log = space, seed, log
        self._leaves = FAST_LEAVES if fast else LEAVES
        self._chosen: FittedTrees[PositionalFeatures] | None = None

    def choose(self, split: Split) -> FittedTrees[PositionalFeatures]:
        """Return the trees chosen on a split; they are chosen only once."""
        if self._chosen is None:
            self._chosen = choose_trees(
                split,
                positional_candidates(self._space),
                leaves=self._leaves,
                seed=self._seed,
                what="trees",
                log=self._log,
            )
        return self._chosen

    def fit(self, split: Split) -> dict[str, Values]:
        """Return the predictions of the chosen trees in closed form."""
        trees = self.choose(split)
        self._log("trees in closed form")
        sketch, _ = closed_form(trees, DROPPED, None)
        return {"trees": predict(sketch, split.held_codes)}

    def fit_all(self, codes: Codes, values: Values, name: str) -> _core.Sketch:  # noqa: ARG002
        """Return the chosen trees, fitted to all values, in closed form."""
        assert self._chosen is not None
        return closed_form(self._chosen.refit(codes, values, self._seed), DROPPED, None)[0]


class DistillationLearner:
    """Students of a teacher: trees with count features, or the user's own predictor.

    Attributes
    ----------
    held_out : array (M,) or None
        The teacher's predictions of held-out values, after `fit`.
    teacher : Teacher or None
        The teacher of all values, after `fit_all`.
    """

    def __init__(
        self, boosting: BoostingLearner, custom: CustomTeacher | None, *, seed: int, log: Log
    ) -> None:
        self._boosting, self._custom, self._seed, self._log = boosting, custom, seed, log
        self._fitted: Teacher | None = None
        self._students: dict[str, _core.Sketch] = {}
        self.held_out: Values | None = None
        self.teacher: Teacher | None = None

    def fit(self, split: Split) -> dict[str, Values]:
        """Return each student's predictions of the held-out values."""
        positional = self._boosting.choose(split).features
        if self._custom is None:
            self._fitted = choose_teacher(split, positional, seed=self._seed, log=self._log)
        else:
            self._log("the teacher")
            self._fitted = self._custom.refit(split.codes, split.values, self._seed)
        self.held_out = self._fitted.predict(split.held_codes)
        sketches = students(self._fitted, positional, seed=self._seed, log=self._log)
        self._positional = positional
        return {name: predict(sketch, split.held_codes) for name, sketch in sketches.items()}

    def fit_all(self, codes: Codes, values: Values, name: str) -> _core.Sketch:
        """Return one student of the teacher of all values."""
        # All students share one teacher.
        if self.teacher is None:
            assert self._fitted is not None
            self._log("the teacher again, with all values")
            self.teacher = self._fitted.refit(codes, values, self._seed)
            self._students = students(self.teacher, self._positional, seed=self._seed, log=self._log)
        return self._students[name]


def custom_teacher(predictor: Predictor | None, space: SequenceSpace, inputs: str) -> CustomTeacher | None:
    """Return the user's predictor as a teacher, if there is one."""
    return None if predictor is None else CustomTeacher(predictor, space, inputs)


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
    """Weights of candidates, and a constant."""

    weights: dict[str, float]
    constant: float

    def average(self, predictions: dict[str, Values]) -> Values:
        """Return the weighted sum of predictions plus the constant."""
        rows = [weight * predictions[name] for name, weight in self.weights.items()]
        total: Values = np.sum(rows, axis=0) + self.constant
        return total


def choose(predictions: dict[str, Values], values: Values, rows: npt.NDArray[np.intp]) -> Weights:
    """Choose the best candidate on these rows, or the best average if it is clearly better.

    The average has non-negative weights (stacking: Breiman 1996, with non-negative least squares).
    """
    truth = values[rows]
    errors = {name: float(((truth - p[rows]) ** 2).mean()) for name, p in predictions.items()}
    best = min(errors, key=lambda name: errors[name])
    single = Weights({best: 1.0}, 0.0)
    if len(predictions) == 1:
        return single
    nnls = optional("scipy.optimize", "trees", "averaging sketches").nnls
    names = list(predictions)
    while True:
        table = np.stack([predictions[name][rows] for name in names], axis=1)
        means = table.mean(axis=0)
        weights, _ = nnls(table - means, truth - truth.mean())
        kept = [name for name, w in zip(names, weights, strict=True) if w > NEGLIGIBLE * weights.sum()]
        if len(kept) == len(names) or not kept:
            break
        names = kept
    if not kept:
        return single
    average = Weights(
        dict(zip(names, map(float, weights), strict=True)), float(truth.mean() - means @ weights)
    )
    error = float(((truth - average.average({n: p[rows] for n, p in predictions.items()})) ** 2).mean())
    return average if error < (1.0 - WORTHWHILE) * errors[best] else single


def cross_fitted(predictions: dict[str, Values], values: Values, seed: int) -> Values:
    """Return averaged predictions of each half of the rows, with weights chosen on the other half."""
    order = np.random.default_rng([seed, 3]).permutation(len(values))
    averaged = np.empty(len(values))
    for rows, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        weights = choose(predictions, values, others)
        averaged[rows] = weights.average({name: p[rows] for name, p in predictions.items()})
    return averaged
