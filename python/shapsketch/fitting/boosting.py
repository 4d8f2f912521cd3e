"""Boosted trees on positional features, as a sketch (after ProxySPEX, arXiv 2505.17495)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Any, Generic, TypeVar

import numpy as np

from shapsketch import _core
from shapsketch._validate import optional
from shapsketch.fitting.features import Features, PositionalFeatures, positional_kinds
from shapsketch.fitting.holdout import (
    Labelled,
    Split,
)
from shapsketch.fitting.parallel import StoppedError, at_once
from shapsketch.space import SequenceSpace

FEATURES = ("auto", "onehot", "kmers", "letters")
# Leaves of each tree that are tried; the first decides between kinds of features.
LEAVES = (31, 8, 127)
# Shrinkage of each tree (LightGBM's learning_rate).
RATE = 0.05
# Boosting stops after this many rounds (with effort "thorough"), or this many rounds without improvement on
# held-out values by this fraction of their variance.
MOST_ROUNDS, THOROUGH_ROUNDS = 1_500, 6_000
PATIENCE, LEAST_GAIN = 50, 1e-6
# If the number of rounds is fixed, boosting continues to this multiple of it, to find how many rounds a fit
# to more values needs.
FURTHER = 1.5
# Position of a callback of LightGBM after that of `record_evaluation`, which is 20.
AFTER_RECORD = 25
# The search for features and sizes ends after this fraction of the time until boosting must end; the rest is
# for the fit of the choice.
SEARCH_SHARE = 0.5
# Smallest number of values in a leaf.
LEAF_VALUES = 10
# A fit to all values has a smaller error than the validated fit to four fifths of them. This is the largest
# fraction of the error that it may remove; the upper end of the interval of R² allows for it.
REFIT_GAIN = 0.1
# Largest number of terms of trees in exact form.
EXACT_TERMS = 500_000
# Fraction of the variance of the trees that a sketch may drop, by default.
DROPPED = 1e-3


@dataclass(frozen=True)
class Schedule:
    """Shrinkage of each tree, and when boosting ends.

    Attributes
    ----------
    rate : float
    most_rounds : int
    until : float
        Boosting ends after the first round that ends after this time (``time.perf_counter``).
    """

    rate: float = RATE
    most_rounds: int = MOST_ROUNDS
    until: float = float("inf")


@dataclass(frozen=True)
class Boosted:
    """A LightGBM booster, and the number of its rounds that are used.

    Attributes
    ----------
    booster : lightgbm.Booster
    rounds : int
        Rounds of this booster that are used.
    refit_rounds : int
        Rounds for a fit to all values.
    leaves : int
    error : float
        Mean squared error on held-out values; NaN if there are none.
    centre, scale : float
        LightGBM fits in single precision: a large mean of the values would hide their differences, and it
        cannot hold values of 1e40 or 1e-50. So it fits ``(value - centre) / scale``. The scale is a power of
        two, which changes no digit.
    """

    booster: Any
    rounds: int
    refit_rounds: int
    leaves: int
    error: float
    centre: float
    scale: float


def boost(
    features: Features,
    data: Labelled,
    *,
    leaves: int,
    seed: int,
    held: Labelled | None = None,
    rounds: int | None = None,
    schedule: Schedule = Schedule(),
    stop: Event | None = None,
) -> Boosted:
    """Boost trees.

    Parameters
    ----------
    features : Features
        What the trees can test.
    data : Labelled
    leaves : int
        Leaves of each tree.
    seed : int
    held : Labelled, optional
        Held-out data. Without `rounds` they choose the number of rounds. With `rounds` they choose only
        ``refit_rounds``.
    rounds : int, optional
    schedule : Schedule
    stop : Event, optional
        Ends the fit when it is set.

    Raises
    ------
    StoppedError
        If `stop` is set.
    """
    lightgbm = optional("lightgbm", "trees", "fitting trees")
    parameters = {
        "objective": "regression",
        "num_leaves": leaves,
        "learning_rate": schedule.rate,
        "min_data_in_leaf": max(2, min(LEAF_VALUES, len(data.values) // 50)),
        "max_bin": 63,
        "cat_smooth": 10.0,
        "cat_l2": 10.0,
        "max_cat_to_onehot": 2,
        "max_cat_threshold": 32,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_col_wise": True,
        "seed": seed % 2**31,
        # Threads of LightGBM wait for each other at every step, which takes many times longer if other
        # programs use the cores. So each fit has one thread, and independent fits run at once.
        "num_threads": 1,
        "verbosity": -1,
    }
    names: Any = list(range(features.n_categories)) or "auto"
    centre = float(np.average(data.values, weights=data.weights))
    scale = power_of_two(float(np.abs(data.values - centre).max()))

    def dataset(data: Labelled, reference: Any = None) -> Any:
        return lightgbm.Dataset(
            features.matrix(data.codes),
            (data.values - centre) / scale,
            weight=None if data.weights is None else data.weights / data.weights.mean(),
            reference=reference,
            params=parameters,
            categorical_feature=names,
            free_raw_data=True,
        )

    def check(state: Any) -> None:
        if stop is not None and stop.is_set():
            raise StoppedError
        if time.perf_counter() > schedule.until:
            raise lightgbm.callback.EarlyStopException(state.iteration, state.evaluation_result_list)

    # After the evaluation of a round is recorded.
    check.order = AFTER_RECORD  # type: ignore[attr-defined]

    train = dataset(data)
    if held is None:
        assert rounds is not None
        booster = lightgbm.train(parameters, train, num_boost_round=rounds, callbacks=[check])
        rounds = min(rounds, booster.current_iteration())
        return Boosted(booster, rounds, rounds, leaves, float("nan"), centre, scale)
    errors: dict[str, Any] = {}
    callbacks = [lightgbm.record_evaluation(errors), check]
    if rounds is None:
        gain = LEAST_GAIN * float(np.var((held.values - centre) / scale))
        callbacks.append(lightgbm.early_stopping(PATIENCE, verbose=False, min_delta=gain))
    booster = lightgbm.train(
        parameters,
        train,
        num_boost_round=schedule.most_rounds if rounds is None else int(FURTHER * rounds) + PATIENCE,
        valid_sets=[dataset(held, reference=train)],
        callbacks=callbacks,
    )
    curve = errors["valid_0"]["l2"]
    best = int(np.argmin(curve)) + 1
    error = scale**2 * float(curve[best - 1])
    used = best if rounds is None else min(rounds, len(curve))
    return Boosted(booster, used, best, leaves, error, centre, scale)


def require_trees() -> None:
    """Import what boosted trees need.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    for module in ("scipy.sparse", "lightgbm"):
        optional(module, "trees", "fitting trees")


def power_of_two(size: float) -> float:
    """Return the largest power of two up to `size`; 1 for 0."""
    return float(np.ldexp(0.5, np.frexp(size)[1])) if size > 0.0 else 1.0


F = TypeVar("F", bound=Features)


@dataclass(frozen=True)
class FittedTrees(Generic[F]):
    """Chosen features, the booster fitted to them, and the seconds that this fit took."""

    features: F
    boosted: Boosted
    seconds: float = 0.0

    def refit(self, data: Labelled, seed: int) -> FittedTrees[F]:
        """Return the same trees, fitted to other data."""
        boosted = self.boosted
        return boost_all(self.features, data, leaves=boosted.leaves, rounds=boosted.refit_rounds, seed=seed)


def boost_all(
    features: F, data: Labelled, *, leaves: int, rounds: int, seed: int, schedule: Schedule = Schedule()
) -> FittedTrees[F]:
    """Boost trees with features, leaves and rounds that were chosen before."""
    boosted = boost(features, data, leaves=leaves, seed=seed, rounds=rounds, schedule=schedule)
    return FittedTrees(features, boosted)


def closed_form(
    trees: FittedTrees[PositionalFeatures], dropped: float, max_terms: int | None
) -> tuple[_core.Sketch, float]:
    """Return trees as a sketch, and the fraction of their variance that the sketch keeps."""
    return _ensemble(trees).truncated(dropped, max_terms)


def exact_closed_form(trees: FittedTrees[PositionalFeatures]) -> _core.Sketch:
    """Return trees as a sketch with the same predictions.

    Raises
    ------
    InputError
        If it has more than `EXACT_TERMS` terms.
    """
    return _ensemble(trees).exact(EXACT_TERMS)


def _ensemble(trees: FittedTrees[PositionalFeatures]) -> _core.Ensemble:
    boosted = trees.boosted
    return trees.features.ensemble(boosted.booster, boosted.rounds, boosted.centre, boosted.scale)


def choose_trees(
    split: Split,
    candidates: Sequence[F],
    *,
    leaves: tuple[int, ...],
    seed: int,
    what: str,
    log: Callable[[str], None],
    schedule: Schedule = Schedule(),
    further: Callable[[FittedTrees[F], Split], Sequence[F]] = lambda *_: (),
) -> FittedTrees[F]:
    """Choose features, then the size of the trees, on an inner split; fit the choice to the outer split.

    `what` names the trees in messages. `further` returns more features to try, given the best trees so far
    and the inner split.
    """
    inner, started = split.inner(seed), time.perf_counter()
    search = replace(schedule, until=started + SEARCH_SHARE * (schedule.until - started))

    def fit(features: F, size: int, stop: Event) -> FittedTrees[F]:
        return FittedTrees(
            features,
            boost(
                features,
                inner.train,
                leaves=size,
                seed=seed,
                held=inner.held,
                schedule=search,
                stop=stop,
            ),
        )

    def best_of(attempts: list[tuple[F, int]]) -> FittedTrees[F]:
        log(f"{what}: " + ", ".join(f"{size} leaves on {features.name}" for features, size in attempts))
        tasks = [partial(fit, features, size) for features, size in attempts]
        return min(at_once(tasks), key=lambda trees: trees.boosted.error)

    def better(best: FittedTrees[F], attempts: list[tuple[F, int]]) -> FittedTrees[F]:
        return min(best, best_of(attempts), key=lambda trees: trees.boosted.error) if attempts else best

    best = best_of([(each, leaves[0]) for each in candidates])
    best = better(best, [(each, leaves[0]) for each in further(best, inner)])
    best = better(best, [(best.features, size) for size in leaves[1:]])
    log(f"the chosen {what}")
    started = time.perf_counter()
    # The number of rounds limits its time.
    boosted = boost(
        best.features,
        split.train,
        leaves=best.boosted.leaves,
        seed=seed,
        held=split.held,
        rounds=best.boosted.rounds,
        schedule=replace(schedule, until=float("inf")),
    )
    return FittedTrees(best.features, boosted, time.perf_counter() - started)


def positional_candidates(
    space: SequenceSpace, features: str = "auto", *, exact: bool = False
) -> list[PositionalFeatures]:
    """Return the positional features to try; for "auto" those worth trying in a space.

    With `exact` those whose trees have a short exact form, which k-mers do not.
    """
    kinds = positional_kinds(space) if features == "auto" else [features]
    if exact:
        kinds = ["letters", "onehot"]
    return [PositionalFeatures(space, kind) for kind in kinds]
