"""Long sequences: which they are, and what their fits leave out."""

from __future__ import annotations

from collections.abc import Callable

from shapsketch import _core
from shapsketch.fitting.effort import CORES, Clock
from shapsketch.fitting.final import Data
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.regression import Dictionary, SparseRegressor

# Sequences with more positions are long.
LONG = 100
# Largest number of windows of a long sequence. Networks keep the largest sums of each window.
WINDOWS = 50
# Seconds of one core of a regression with all defaults, for each position of each sequence.
REGRESSION_SECONDS = 5e-5
# Fraction of the time that such a regression of long sequences may take.
REGRESSION_SHARE = 0.4
# Longest window of positions in the regression instead.
SMALL_WINDOW = 3


def pool_of(data: Data) -> int:
    """Return how many positions the windows of networks have; 1 if sequences are not long.

    Sequences near one sequence have their mutations at known positions, so they need no windows.
    """
    n = data.space.n
    return 1 if n <= LONG or data.near else -(-n // WINDOWS)


def small_regression(
    data: Data, options: FitOptions, clock: Clock, regress: Callable[[], _core.Sketch]
) -> Callable[[], _core.Sketch]:
    """Return a regression of long sequences that fits into the time: `regress`, or one without pairs."""
    seconds = REGRESSION_SECONDS * data.rows.codes.size / CORES
    long = data.ordered and data.uniform and pool_of(data) > 1
    if not long or clock.effort != "standard" or seconds <= REGRESSION_SHARE * clock.allowed:
        return regress
    clock.left_out.append("pairs of positions in the regression")

    def fit() -> _core.Sketch:
        dictionary = Dictionary(orders=1, windows=SMALL_WINDOW)
        regressor = SparseRegressor(
            data.space, dictionary=dictionary, relations=(), basis="letters", random_state=options.seed
        )
        regressor._fit(data.space, data.rows, uniform=data.uniform)
        return regressor.sketch_._core.with_budget(data.budget)

    return fit
