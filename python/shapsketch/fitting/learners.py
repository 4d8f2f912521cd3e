"""Learners with one interface: regression, boosted trees, trees with counts, networks, a custom one."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from shapsketch import _core
from shapsketch.errors import InputError
from shapsketch.fitting import networks
from shapsketch.fitting.boosting import (
    DROPPED,
    FittedTrees,
    Schedule,
    choose_trees,
    closed_form,
    exact_closed_form,
    positional_candidates,
)
from shapsketch.fitting.distillation import CustomTeacher
from shapsketch.fitting.effort import NETWORKS, NetworkSize
from shapsketch.fitting.features import CountFeatures, PositionalFeatures, count_levels
from shapsketch.fitting.holdout import Labelled, Split, predict
from shapsketch.fitting.run_features import RunCounts, pay, promising_runs
from shapsketch.fitting.steps import Log
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)


class Model(Protocol):
    """A fitted model, which costs no evaluation of the user's model."""

    def predict(self, codes: Codes) -> Values:
        """Return predictions (B,) for codes."""


@dataclass(frozen=True)
class ClosedForm:
    """A sketch as a model."""

    sketch: _core.Sketch

    def predict(self, codes: Codes) -> Values:
        """Return predictions (B,) for codes."""
        return predict(self.sketch, codes)


class Learner(Protocol):
    """A way to fit values.

    Attributes
    ----------
    name : str
    fitted : Model or None
        The model that was fitted without the held-out values, after `fit`; None for a regression, whose
        held-out predictions come from cross-validation.
    """

    name: str
    fitted: Model | None

    def fit(self, split: Split) -> Values:
        """Fit without the held-out values; return predictions of them."""

    def fit_all(self, data: Labelled) -> Model:
        """Return the model of all data."""


class RegressionLearner:
    """A regression, which is cross-validated already."""

    name = "regress"
    fitted: Model | None = None

    def __init__(self, codes: Codes, sketch: _core.Sketch) -> None:
        self._codes, self._sketch = codes, sketch

    def fit(self, split: Split) -> Values:
        """Return the cross-validated predictions of the held-out sequences."""
        held_out = self._sketch.held_out
        assert held_out is not None
        rows = {row.tobytes(): index for index, row in enumerate(self._codes)}
        return held_out.predictions[[rows[row.tobytes()] for row in split.held.codes]]

    def fit_all(self, data: Labelled) -> ClosedForm:  # noqa: ARG002
        """Return the regression, which was fitted to all values."""
        return ClosedForm(self._sketch)


class BoostingLearner:
    """Boosted trees on positional features, in closed form."""

    name = "trees"

    def __init__(
        self,
        space: SequenceSpace,
        *,
        leaves: tuple[int, ...],
        schedule: Schedule,
        seed: int,
        log: Log,
        features: str = "auto",
        exact: bool = False,
    ) -> None:
        self._space, self._leaves, self._seed, self._log = space, leaves, seed, log
        self._features, self._exact = features, exact
        self.schedule = schedule
        self._chosen: FittedTrees[PositionalFeatures] | None = None
        self.fitted: Model | None = None
        self.refit_seconds = 0.0

    @property
    def candidates(self) -> list[PositionalFeatures]:
        """The features to try."""
        return positional_candidates(self._space, self._features, exact=self._exact)

    def choose(self, split: Split) -> FittedTrees[PositionalFeatures]:
        """Return the trees chosen on a split; they are chosen only once."""
        if self._chosen is None:
            self._chosen = choose_trees(
                split,
                self.candidates,
                leaves=self._leaves,
                seed=self._seed,
                what="trees",
                log=self._log,
                schedule=self.schedule,
            )
        return self._chosen

    def fit(self, split: Split) -> Values:
        """Return the predictions of the chosen trees in closed form."""
        trees = self.choose(split)
        self._log("trees in closed form")
        started = time.perf_counter()
        self.fitted = self._closed_form(trees)
        self.refit_seconds = trees.seconds + time.perf_counter() - started
        return self.fitted.predict(split.held.codes)

    def fit_all(self, data: Labelled) -> ClosedForm:
        """Return the chosen trees, fitted to all values, in closed form."""
        assert self._chosen is not None
        return self._closed_form(self._chosen.refit(data, self._seed))

    def _closed_form(self, trees: FittedTrees[PositionalFeatures]) -> ClosedForm:
        if self._exact:
            # What carries little variance of uniform sequences may carry most of it elsewhere.
            try:
                return ClosedForm(exact_closed_form(trees))
            except InputError as error:
                logger.info("trees in truncated form: %s", error)
        return ClosedForm(closed_form(trees, DROPPED, None)[0])


class CountingLearner:
    """Boosted trees on positional features and on counts of k-mers and of runs.

    If another method has chosen runs (`runs`), or the residuals of trees on counts of k-mers depend on runs,
    then counts of runs are tried.

    Attributes
    ----------
    first : bool
        Whether it is fitted before the trees of `boosting`, because another method has chosen runs. Then the
        trees have the first positional features that `boosting` would try, not the best ones.
    share : float
        Fraction of the sequences that `fit` learns from.
    """

    name = "trees (counts)"

    def __init__(
        self,
        boosting: BoostingLearner,
        *,
        leaves: tuple[int, ...],
        seed: int,
        log: Log,
        runs: bool = False,
        first: bool = False,
    ) -> None:
        self._boosting, self._leaves, self._seed, self._log = boosting, leaves, seed, log
        self._runs, self.first, self.share = runs, runs and first, 1.0
        self._chosen: FittedTrees[CountFeatures] | None = None
        self.fitted: Model | None = None
        self.refit_seconds = 0.0

    @property
    def relations(self) -> set[str]:
        """Names of the relations of the runs that the trees count."""
        runs = self._chosen.features.runs if self._chosen is not None else RunCounts()
        return {relation.name for relation in runs.relations}

    def fit(self, split: Split) -> Values:
        """Choose count features, then the size of the trees; return predictions of the held-out sequences."""
        boosting = self._boosting
        if self.share < 1.0:
            rows = np.random.default_rng([self._seed, 7]).permutation(len(split.train.values))
            split = replace(split, train=split.train.at(rows[: int(self.share * len(rows))]))
        positional = boosting.candidates[0] if self.first else boosting.choose(split).features
        candidates = [CountFeatures(positional, level) for level in count_levels(positional.space)]
        self._chosen = choose_trees(
            split,
            candidates,
            leaves=self._leaves,
            seed=self._seed,
            what="trees with counts",
            log=self._log,
            schedule=boosting.schedule,
            further=self._with_runs,
        )
        started = time.perf_counter()
        self.fitted = counting_trees(self._chosen)
        self.refit_seconds = (self._chosen.seconds + time.perf_counter() - started) / self.share
        return self.fitted.predict(split.held.codes)

    def _with_runs(self, trees: FittedTrees[CountFeatures], split: Split) -> list[CountFeatures]:
        """Return the features of trees together with counts of runs; nothing if such counts cannot pay."""
        space, held = trees.features.positional.space, split.held
        runs = promising_runs(space, split.train)
        if not runs.counts:
            return []
        residuals = held.values - counting_trees(trees).predict(held.codes)
        return [replace(trees.features, runs=runs)] if self._runs or pay(runs, space, held, residuals) else []

    def fit_all(self, data: Labelled) -> _core.CountingTrees:
        """Return the chosen trees, fitted to all values."""
        assert self._chosen is not None
        return counting_trees(self._chosen.refit(data, self._seed))


def counting_trees(trees: FittedTrees[CountFeatures]) -> _core.CountingTrees:
    """Return trees with counts as trees of the core."""
    boosted = trees.boosted
    return trees.features.counting_trees(boosted.booster, boosted.rounds, boosted.centre, boosted.scale)


class NetworkLearner:
    """Convolutional networks."""

    name = NETWORKS

    def __init__(self, space: SequenceSpace, size: NetworkSize, *, seed: int, log: Log) -> None:
        self._space, self._size, self._seed, self._log = space, size, seed, log
        self.fitted: Model | None = None

    def fit(self, split: Split) -> Values:
        """Train networks; return their predictions of the held-out sequences."""
        self._log(NETWORKS)
        self.fitted = networks.train(self._space, split.train, self._size, self._seed)
        return self.fitted.predict(split.held.codes)

    def fit_all(self, data: Labelled) -> _core.Networks:
        """Return networks trained on all values."""
        self._log("networks, with all queries")
        return networks.train(self._space, data, self._size, self._seed)


class CustomLearner:
    """A predictor of the user."""

    name = "teacher"

    def __init__(self, teacher: CustomTeacher, log: Log) -> None:
        self._teacher, self._log = teacher, log
        self.fitted: Model | None = None

    def fit(self, split: Split) -> Values:
        """Fit the predictor; return its predictions of the held-out sequences."""
        self._log("the teacher")
        self.fitted = self._teacher.refit(split.train)
        return self.fitted.predict(split.held.codes)

    def fit_all(self, data: Labelled) -> CustomTeacher:
        """Return the predictor, fitted to all values."""
        self._log("the teacher, with all queries")
        return self._teacher.refit(data)
