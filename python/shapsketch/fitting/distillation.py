"""Teacher and student: a predictor without a closed form, and sketches of its predictions."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shapsketch import _core
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import evaluate
from shapsketch.evaluate.executor import Resources
from shapsketch.evaluate.outputs import ModelCall
from shapsketch.fitting.boosting import DROPPED, Schedule, boost_all, closed_form, exact_closed_form
from shapsketch.fitting.features import PositionalFeatures
from shapsketch.fitting.holdout import Labelled
from shapsketch.fitting.regression import SparseRegressor
from shapsketch.fitting.steps import Log
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)

# Names of students.
TREES, REGRESSION = "distill (trees)", "distill (regress)"
# Sequences that a custom teacher predicts at a time.
CHUNK = 16_384
# Predictions of the teacher for a student of trees: symbols in all predicted sequences, and bounds of the
# number of predictions.
SYMBOLS = 10_000_000
TREE_PREDICTIONS = (20_000, 200_000)
# Predictions of the teacher for a student of regression, and bounds of their number for one that must be
# fast.
REGRESSION_PREDICTIONS = 50_000
FEW_PREDICTIONS = (10_000, 100_000)
# Seconds of such a fast student for each position of each predicted sequence: of regression, and of trees.
SYMBOL_SECONDS, TREE_SYMBOL_SECONDS = 1.5e-5, 2.8e-6
# Boosting ends after this fraction of the time; the rest is for the closed form of the trees.
BOOSTING_SHARE = 0.75
# A fast student of regression besides one of trees has this fraction of the time.
REGRESSION_SHARE = 1.0 / 3.0
# Largest number of predictions for a fast student of trees, for each sequence that the teacher was fitted to.
PREDICTIONS_EACH = 20
# Penalty factors of a regression that must be fast: pairs, higher orders, scattered supports, growth.
STRENGTHS = (3.0, 1.3, 2.0, 2.0)
# A space of at most this size and length is predicted completely and transformed exactly.
EXACT_SIZE = 2**18
EXACT_LENGTH = 15
# Leaves, rounds and shrinkage of a student's trees.
STUDENT_LEAVES = 127
# The same for trees in exact form.
EXACT_LEAVES = 31
STUDENT_ROUNDS = 400
STUDENT_RATE = 0.1
# The same for trees that must be fast.
FAST_ROUNDS = 60
FAST_RATE = 0.15


class Predictor(Protocol):
    """What a custom teacher needs: the methods ``fit`` and ``predict`` of scikit-learn."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit to inputs and values. If the data have weights, it also receives ``sample_weight``."""

    def predict(self, X: Any) -> Any:
        """Return a value for each input."""


@dataclass(frozen=True)
class CustomTeacher:
    """A predictor of the user; it receives the same inputs as the model."""

    predictor: Predictor
    space: SequenceSpace
    inputs: str

    def predict(self, codes: Codes) -> Values:
        """Return predictions (B,) for codes."""
        call = ModelCall(self.predictor.predict, self.space, self.inputs, what="teacher")
        return evaluate(call, _chunks(codes), len(codes), Resources())

    def refit(self, data: Labelled) -> CustomTeacher:
        """Fit the predictor to other data; return self."""
        inputs: Any = data.codes
        if self.inputs == "strings":
            inputs = self.space.decode(data.codes)
        elif self.inputs == "onehot":
            inputs = self.space.onehot(data.codes)
        weights = {} if data.weights is None else {"sample_weight": data.weights}
        try:
            self.predictor.fit(inputs, data.values, **weights)
        except Exception as error:
            weighted = " with sample_weight" if weights else ""
            raise InputError(
                f"the teacher's fit raised {type(error).__name__}: {error}; "
                f"it received {len(data.codes)} {self.inputs}{weighted}"
            ) from error
        return self


def _chunks(codes: Codes) -> Iterator[Codes]:
    for start in range(0, len(codes), CHUNK):
        yield codes[start : start + CHUNK]


@dataclass(frozen=True)
class Limits:
    """What limits the size of students.

    Attributes
    ----------
    seconds : float
        How long the students may take, approximately.
    sequences : int
        Number of sequences that the teacher was fitted to.
    slowness : float
        Time of this machine relative to the estimates.
    ends : bool
        Whether boosting ends when that time is over; if not, the result depends on the seed alone.
    """

    seconds: float
    sequences: int
    slowness: float = 1.0
    ends: bool = True


class Students:
    """Sketches of a teacher's predictions.

    Parameters
    ----------
    positional : PositionalFeatures
        The features of a student of trees.
    draw : callable or None
        Returns random sequences for a generator and a count; None for uniform sequences.
    exact : bool
        Whether a student of trees is kept exactly, instead of truncated by the variance of uniform sequences.
    trees : bool
        Whether boosted trees can be fitted.
    limits : Limits
        If their time is infinite, there is one student of trees, if they can be fitted, and one of
        regression, which chooses its penalty factors and relations. Otherwise, unless the space is small,
        there is one student of trees, with few rounds; and one of regression with fixed factors, if there are
        no trees, or there are relations, or the time suffices for both.
    relations : sequence of str
        The relations of that regression.
    seed : int
    log : callable
    """

    def __init__(
        self,
        positional: PositionalFeatures,
        *,
        draw: Callable[[np.random.Generator, int], Codes] | None = None,
        exact: bool = False,
        trees: bool = True,
        limits: Limits,
        relations: Sequence[str],
        seed: int,
        log: Log,
    ) -> None:
        self._positional, self._limits, self._relations = positional, limits, relations
        self._seed, self._log, self._draw, self._exact, self._trees = seed, log, draw, exact, trees

    def fit(
        self, teacher: Callable[[Codes], Values], names: Collection[str] | None = None
    ) -> dict[str, _core.Sketch]:
        """Sketch a teacher in every way that suits the space, or only by `names`; return sketches by name."""
        space, seed, log = self._positional.space, self._seed, self._log
        if small(space):
            log("student: every sequence")
            queries = _core.Plan(space._core, space.size, method="exact", seed=seed).queries()
            return {"distill": queries.sketch(teacher(queries.batch(0, len(queries))))}
        started = time.perf_counter()
        until = started + BOOSTING_SHARE * self._limits.seconds if self._limits.ends else math.inf
        rng = np.random.default_rng([seed, 2])
        for_trees, for_regression = self._counts()
        count = max(for_trees, for_regression)
        codes = space._random(rng, count) if self._draw is None else self._draw(rng, count)
        log(f"teacher: {count:,} predictions")
        predictions = teacher(codes)
        fitted: dict[str, _core.Sketch] = {}
        if for_trees and (names is None or TREES in names):
            log("student: trees")
            trees = self._tree_student(Labelled(codes[:for_trees], predictions[:for_trees]), until)
            fitted.update({} if trees is None else {TREES: trees})
        if for_regression and (names is None or REGRESSION in names):
            log("student: regression")
            options = dict[str, Any]()
            if math.isfinite(self._limits.seconds):
                fixed = {"strengths": STRENGTHS, "refit": False, "tol": 1e-5}
                options = {"relations": self._relations, **fixed}
            regressor = SparseRegressor(space, basis="letters", random_state=seed, **options)
            rows = Labelled(codes[:for_regression], predictions[:for_regression])
            regressor._fit(space, rows, seconds=self._regression_seconds(time.perf_counter() - started))
            fitted[REGRESSION] = regressor.sketch_._core
        return fitted

    def _regression_seconds(self, elapsed: float) -> float | None:
        """Return the seconds of a student of regression, after the others; None for no limit."""
        if not self._limits.ends:
            return None
        return max(self._limits.seconds - elapsed, REGRESSION_SHARE * self._limits.seconds)

    def _counts(self) -> tuple[int, int]:
        """Return the numbers of predictions for trees and for regression; 0 for no such student."""
        n, seconds = self._positional.space.n, self._limits.seconds / self._limits.slowness
        if math.isinf(seconds):
            count = int(np.clip(SYMBOLS // n, *TREE_PREDICTIONS))
            return count if self._trees else 0, min(count, REGRESSION_PREDICTIONS)
        if not self._trees or self._exact or self._relations:
            return 0, int(np.clip(seconds / (SYMBOL_SECONDS * n), *FEW_PREDICTIONS))
        few = REGRESSION_SHARE * seconds / (SYMBOL_SECONDS * n)
        both = few >= FEW_PREDICTIONS[0]
        most = (1.0 - REGRESSION_SHARE if both else 1.0) * seconds / (TREE_SYMBOL_SECONDS * n)
        most = np.clip(most, *FEW_PREDICTIONS)
        trees = int(np.clip(PREDICTIONS_EACH * self._limits.sequences, FEW_PREDICTIONS[0], most))
        return trees, int(min(few, FEW_PREDICTIONS[1])) if both else 0

    def _tree_student(self, data: Labelled, until: float) -> _core.Sketch | None:
        """Return the closed form of trees that are fitted to predictions; None if it is too long."""
        fast = math.isfinite(self._limits.seconds)
        boosted = boost_all(
            self._positional,
            data,
            leaves=EXACT_LEAVES if self._exact else STUDENT_LEAVES,
            rounds=FAST_ROUNDS if fast else STUDENT_ROUNDS,
            schedule=Schedule(FAST_RATE if fast else STUDENT_RATE, until=until),
            seed=self._seed,
        )
        if not self._exact:
            return closed_form(boosted, DROPPED, None)[0]
        try:
            return exact_closed_form(boosted)
        except InputError as error:
            logger.info("no student of trees: %s", error)
            return None


def small(space: SequenceSpace) -> bool:
    """Return whether a student learns from every sequence of a space."""
    return space.size <= EXACT_SIZE and space.n <= EXACT_LENGTH
