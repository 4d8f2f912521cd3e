"""Teacher and student: a predictor without a closed form, and sketches of its predictions."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
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
# Seconds of such a fast student for each position of each predicted sequence.
SYMBOL_SECONDS = 1.5e-5
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
    seconds : float
        How long the students may take, approximately. If that is infinite, trees are one of the students if
        they can be fitted, and regression chooses its penalty factors and relations; otherwise one regression
        with fixed factors is the only student, unless the space is small.
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
        seconds: float,
        relations: Sequence[str],
        seed: int,
        log: Log,
    ) -> None:
        self._positional, self._seconds, self._relations = positional, seconds, relations
        self._seed, self._log, self._draw, self._exact, self._trees = seed, log, draw, exact, trees

    def fit(self, teacher: Callable[[Codes], Values]) -> dict[str, _core.Sketch]:
        """Sketch a teacher in every way that suits the space; return sketches by name."""
        space, seed, log = self._positional.space, self._seed, self._log
        if space.size <= EXACT_SIZE and space.n <= EXACT_LENGTH:
            log("student: every sequence")
            queries = _core.Plan(space._core, space.size, method="exact", seed=seed).queries()
            return {"distill": queries.sketch(teacher(queries.batch(0, len(queries))))}
        rng = np.random.default_rng([seed, 2])
        thorough = math.isinf(self._seconds)
        if thorough:
            count = int(np.clip(SYMBOLS // space.n, *TREE_PREDICTIONS))
        else:
            count = int(np.clip(self._seconds / (SYMBOL_SECONDS * space.n), *FEW_PREDICTIONS))
        codes = space._random(rng, count) if self._draw is None else self._draw(rng, count)
        log(f"teacher: {count:,} predictions")
        predictions = teacher(codes)
        fitted: dict[str, _core.Sketch] = {}
        if thorough and self._trees:
            log("student: trees")
            data = Labelled(codes, predictions)
            boosted = boost_all(
                self._positional,
                data,
                leaves=EXACT_LEAVES if self._exact else STUDENT_LEAVES,
                rounds=STUDENT_ROUNDS,
                schedule=Schedule(STUDENT_RATE),
                seed=seed,
            )
            if not self._exact:
                fitted["distill (trees)"], _ = closed_form(boosted, DROPPED, None)
            else:
                try:
                    fitted["distill (trees)"] = exact_closed_form(boosted)
                except InputError as error:
                    logger.info("no student of trees: %s", error)
        log("student: regression")
        some, options = slice(0, REGRESSION_PREDICTIONS), dict[str, Any]()
        if not thorough:
            some = slice(0, count)
            fixed = {"strengths": STRENGTHS, "refit": False, "tol": 1e-5}
            options = {"relations": self._relations, **fixed}
        regressor = SparseRegressor(space, basis="letters", random_state=seed, **options)
        fitted["distill (regress)"] = regressor.fit(codes[some], predictions[some]).sketch_._core
        return fitted
