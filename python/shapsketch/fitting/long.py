"""Long sequences: which they are, and what their fits leave out."""

from __future__ import annotations

from shapsketch.fitting.effort import CORES, Clock
from shapsketch.fitting.final import Data
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.learners import ClosedForm, Model, RegressionLearner
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.regression import Dictionary, SparseRegressor
from shapsketch.query.budget import FEWEST
from shapsketch.space import Values

# Sequences with more positions are long.
LONG = 100
# Largest number of windows of a long sequence. Networks keep the largest sums of each window.
WINDOWS = 50
# Seconds of one core of a regression with all defaults, for each position of each sequence.
REGRESSION_SECONDS = 5e-5
# Fraction of the time that it may take. If not, a regression of single positions comes after networks.
REGRESSION_SHARE = 0.4


def pool_of(data: Data) -> int:
    """Return how many positions the windows of networks have; 1 if sequences are not long.

    Sequences near one sequence have their mutations at known positions, so they need no windows.
    """
    n = data.space.n
    return 1 if n <= LONG or data.near else -(-n // WINDOWS)


def late_regression(data: Data, options: FitOptions, clock: Clock) -> LateRegression | None:
    """Return a regression that comes after networks; None if all sequences are short or it comes first.

    It comes first if it fits into the time.
    """
    seconds = REGRESSION_SECONDS * data.rows.codes.size / CORES
    long = data.ordered and data.uniform and options.teacher is None and pool_of(data) > 1
    slow = clock.effort == "standard" and seconds > REGRESSION_SHARE * clock.allowed
    if options.method != "auto" or not long or not slow or data.rows.n_sequences < FEWEST:
        return None
    clock.left_out.append("interactions in the regression")
    return LateRegression(data, options.seed, clock.regression_seconds)


class LateRegression:
    """A regression of single positions, which is run when it is compared."""

    name = RegressionLearner.name
    fitted: Model | None = None

    def __init__(self, data: Data, seed: int, seconds: float | None) -> None:
        self._data, self._seed, self._seconds = data, seed, seconds
        self._learner: RegressionLearner | None = None

    def fit(self, split: Split) -> Values:
        """Run the regression; return its cross-validated predictions of the held-out sequences."""
        data = self._data
        regressor = SparseRegressor(
            data.space,
            dictionary=Dictionary(orders=1),
            relations=(),
            basis="letters",
            growth=False,
            random_state=self._seed,
        )
        regressor._fit(data.space, data.rows, uniform=data.uniform, seconds=self._seconds)
        core = regressor.sketch_._core.with_budget(data.budget)
        self._learner = RegressionLearner(data.rows.codes, core)
        return self._learner.fit(split)

    def fit_all(self, data: Labelled) -> ClosedForm:
        """Return the regression, which was fitted to all values."""
        assert self._learner is not None
        return self._learner.fit_all(data)
