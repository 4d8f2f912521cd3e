"""Sketches in rounds: double the queries until a target is met, the budget is spent, or R² stops rising."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from numbers import Real

from shapsketch import _core
from shapsketch.errors import InputError
from shapsketch.fitting.selection import Fitted
from shapsketch.query.budget import ANY_QUERIES
from shapsketch.space import SequenceSpace

logger = logging.getLogger(__name__)

# Queries of the first round, and the factor by which their number grows from round to round.
FIRST_ROUND = 500
GROWTH = 2
# Smallest fraction of the error that a doubling of the queries must remove to be worthwhile.
WORTHWHILE = 0.04
# Number of doublings in a row that are not worthwhile, after which the rounds end.
PATIENCE = 2


def check_target(target_r2: object, method: str) -> float | None:
    """Return the R² at which to stop, or None.

    Raises
    ------
    InputError
        If it is not a number up to 1, or the method cannot work in rounds.
    """
    if target_r2 is None:
        return None
    if method not in ANY_QUERIES:
        raise InputError(
            f"target_r2 needs rounds of queries, which method={method!r} does not have; remove it, or use "
            f"one of the methods {', '.join(map(repr, ANY_QUERIES))}"
        )
    if isinstance(target_r2, bool) or not isinstance(target_r2, Real) or not target_r2 <= 1.0:
        raise InputError(f"target_r2 must be a number up to 1, got {target_r2!r}")
    return float(target_r2)


def fit_in_rounds(
    fit: Callable[[_core.Plan, str], Fitted], space: SequenceSpace, full: _core.Plan, target: float, seed: int
) -> Fitted:
    """Evaluate and fit in rounds; `full` is the plan for the whole budget.

    `fit` takes the plan of a round, and which round it is, in words.
    """
    budget, idle = full.budget, 0
    before: tuple[float, float] | None = None
    count = min(FIRST_ROUND, budget)
    most = 1 + max(0, math.ceil(math.log(budget / FIRST_ROUND, GROWTH)))
    for number in itertools.count(1):
        last = count >= budget
        # The last round may be the exact transform.
        plan = full if last else _core.Plan(space._core, count, method="regress", seed=seed)
        fitted = fit(plan, f"round {number} of at most {most}")
        info = fitted.core.info
        assert info is not None
        r2, high = info.r2.value, info.r2.high
        logger.info("%d queries: R² %.4f", info.n_queries, r2)
        error = 1.0 - fitted.regression_r2
        # The regression's R² is computed from all queries, so any gain of it counts. That of the sketch may
        # use few held-out queries, so only a gain beyond its interval counts. If the budget covers all
        # sequences, more queries are always worthwhile.
        slow = before is not None and not error <= (1.0 - WORTHWHILE) * before[0] and r2 <= before[1]
        idle = idle + 1 if slow and full.method != "exact" else 0
        before = None if info.r2.is_undefined else (error, high)
        outcome = None
        if r2 >= target and not info.r2.is_carried_by_few:
            outcome = "target met"
        elif last:
            outcome = "budget spent"
        elif idle == PATIENCE:
            outcome = "more queries no longer pay"
        if outcome is not None:
            core = fitted.core.with_outcome(outcome).with_budget(budget)
            return Fitted(core, fitted.custom, fitted.regression_r2)
        count = min(GROWTH * count, budget)
    raise AssertionError("the last round returns")
