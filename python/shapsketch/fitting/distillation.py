"""Teacher and student: a predictor without a closed form, and sketches of its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shapsketch import _core
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import evaluate
from shapsketch.evaluate.executor import Resources
from shapsketch.evaluate.outputs import ModelCall
from shapsketch.fitting.boosting import DROPPED, FittedTrees, boost, boost_all, choose_trees, closed_form
from shapsketch.fitting.features import CountFeatures, PositionalFeatures, count_levels
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.regression import SparseRegressor
from shapsketch.space import Codes, SequenceSpace, Values

# Leaves of the teacher's trees that are tried; the first decides between levels of count features.
LEAVES = (15, 8, 31)
# Sequences that a custom teacher predicts at a time.
CHUNK = 16_384
# Predictions of the teacher for a student of trees: symbols in all predicted sequences, and bounds of the
# number of predictions.
SYMBOLS = 5_000_000
TREE_PREDICTIONS = (20_000, 100_000)
# Predictions of the teacher for a student of regression.
REGRESSION_PREDICTIONS = 20_000
# A space of at most this size and length is predicted completely and transformed exactly.
EXACT_SIZE = 2**18
EXACT_LENGTH = 15
# Leaves, rounds and shrinkage of a student's trees.
STUDENT_LEAVES = 127
STUDENT_ROUNDS = 400
STUDENT_RATE = 0.1


class Predictor(Protocol):
    """What a custom teacher needs: the methods ``fit`` and ``predict`` of scikit-learn."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit to inputs and values. If the data have weights, it also receives ``sample_weight``."""

    def predict(self, X: Any) -> Any:
        """Return a value for each input."""


class Teacher(Protocol):
    """A fitted teacher."""

    def predict(self, codes: Codes) -> Values:
        """Return predictions (B,) for codes."""

    def refit(self, data: Labelled, seed: int) -> Teacher:
        """Return the same teacher, fitted to other data."""


@dataclass(frozen=True)
class TreeTeacher:
    """Boosted trees with count features; the core predicts.

    Attributes
    ----------
    features : CountFeatures
    leaves, rounds : int
        Leaves of each tree, and the number of trees of a fit to other data.
    trees : _core.CountingTrees
    """

    features: CountFeatures
    leaves: int
    rounds: int
    trees: _core.CountingTrees

    @classmethod
    def of(cls, fitted: FittedTrees[CountFeatures]) -> TreeTeacher:
        """Return the teacher of fitted trees."""
        features, boosted = fitted.features, fitted.boosted
        trees = features.counting_trees(boosted.booster, boosted.rounds, boosted.centre, boosted.scale)
        return cls(features, boosted.leaves, boosted.refit_rounds, trees)

    def predict(self, codes: Codes) -> Values:
        """Return predictions (B,) for codes."""
        return self.trees.predict(codes)

    def refit(self, data: Labelled, seed: int) -> TreeTeacher:
        """Return the same teacher, fitted to other data."""
        return self.of(boost_all(self.features, data, leaves=self.leaves, rounds=self.rounds, seed=seed))

    def __reduce__(self) -> tuple[Callable[..., TreeTeacher], tuple[Any, ...]]:
        return _unpickled, (self.features, self.leaves, self.rounds, self.trees.arrays())


def _unpickled(features: CountFeatures, leaves: int, rounds: int, arrays: dict[str, Any]) -> TreeTeacher:
    trees = _core.CountingTrees(features.positional.space._core, **arrays)
    return TreeTeacher(features, leaves, rounds, trees)


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

    def refit(self, data: Labelled, seed: int) -> CustomTeacher:  # noqa: ARG002
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


def choose_teacher(
    split: Split, positional: PositionalFeatures, *, seed: int, log: Callable[[str], None]
) -> TreeTeacher:
    """Choose count features, then the size of the trees, on an inner split; fit to the outer split."""
    candidates = [CountFeatures(positional, level) for level in count_levels(positional.space)]
    return TreeTeacher.of(choose_trees(split, candidates, leaves=LEAVES, seed=seed, what="teacher", log=log))


def students(
    teacher: Teacher, positional: PositionalFeatures, *, seed: int, log: Callable[[str], None]
) -> dict[str, _core.Sketch]:
    """Sketch a teacher's predictions in every way that suits the space; return sketches by name."""
    space = positional.space
    if space.size <= EXACT_SIZE and space.n <= EXACT_LENGTH:
        log("student: every sequence")
        queries = _core.Plan(space._core, space.size, method="exact", seed=seed).queries()
        return {"distill": queries.sketch(teacher.predict(queries.batch(0, len(queries))))}
    rng = np.random.default_rng([seed, 2])
    count = int(np.clip(SYMBOLS // space.n, *TREE_PREDICTIONS))
    codes = rng.integers(0, space.q, (count, space.n), dtype=np.uint8)
    log(f"teacher: {count:,} predictions")
    predictions = teacher.predict(codes)
    log("student: trees")
    boosted = boost(
        positional.matrix(codes),
        Labelled(codes, predictions),
        leaves=STUDENT_LEAVES,
        seed=seed,
        categories=positional.n_categories,
        rounds=STUDENT_ROUNDS,
        rate=STUDENT_RATE,
    )
    trees, _ = closed_form(FittedTrees(positional, boosted), DROPPED, None)
    log("student: regression")
    some = slice(0, REGRESSION_PREDICTIONS)
    regressor = SparseRegressor(space, basis="letters", random_state=seed)
    regression = regressor.fit(codes[some], predictions[some]).sketch_._core
    return {"distill (trees)": trees, "distill (regress)": regression}
