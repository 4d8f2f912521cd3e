"""Learners: regression, boosted trees and distillation, with one interface."""

from __future__ import annotations

import logging
from typing import Protocol

from shapsketch import _core
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
from shapsketch.fitting.holdout import Labelled, Split, predict
from shapsketch.fitting.steps import Log
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)

# Leaves that are tried when fitting fast.
FAST_LEAVES = (31, 8)


class Learner(Protocol):
    """A way to fit values, with one or more candidates as results."""

    def fit(self, split: Split) -> dict[str, Values]:
        """Fit without the held-out values; return each candidate's predictions of them by name."""

    def fit_all(self, data: Labelled, name: str) -> _core.Sketch:
        """Return a candidate's sketch of all data."""


class RegressionLearner:
    """A regression, which is cross-validated already."""

    def __init__(self, codes: Codes, sketch: _core.Sketch) -> None:
        self._codes, self._sketch = codes, sketch

    def fit(self, split: Split) -> dict[str, Values]:
        """Return the cross-validated predictions of the held-out sequences."""
        held_out = self._sketch.held_out
        assert held_out is not None
        rows = {row.tobytes(): index for index, row in enumerate(self._codes)}
        return {"regress": held_out.predictions[[rows[row.tobytes()] for row in split.held.codes]]}

    def fit_all(self, data: Labelled, name: str) -> _core.Sketch:  # noqa: ARG002
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
        return {"trees": predict(sketch, split.held.codes)}

    def fit_all(self, data: Labelled, name: str) -> _core.Sketch:  # noqa: ARG002
        """Return the chosen trees, fitted to all values, in closed form."""
        assert self._chosen is not None
        return closed_form(self._chosen.refit(data, self._seed), DROPPED, None)[0]


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
            self._fitted = self._custom.refit(split.train, self._seed)
        self.held_out = self._fitted.predict(split.held.codes)
        sketches = students(self._fitted, positional, seed=self._seed, log=self._log)
        self._positional = positional
        return {name: predict(sketch, split.held.codes) for name, sketch in sketches.items()}

    def fit_all(self, data: Labelled, name: str) -> _core.Sketch:
        """Return one student of the teacher of all values."""
        # All students share one teacher.
        if self.teacher is None:
            assert self._fitted is not None
            self._log("the teacher again, with all values")
            self.teacher = self._fitted.refit(data, self._seed)
            self._students = students(self.teacher, self._positional, seed=self._seed, log=self._log)
        return self._students[name]


def custom_teacher(predictor: Predictor | None, space: SequenceSpace, inputs: str) -> CustomTeacher | None:
    """Return the user's predictor as a teacher, if there is one."""
    return None if predictor is None else CustomTeacher(predictor, space, inputs)
