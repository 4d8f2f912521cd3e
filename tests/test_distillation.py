"""Students: closed forms that are fitted to predictions of a teacher."""

from types import SimpleNamespace

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting import distillation, selection
from shapsketch.fitting.boosting import Schedule, boost_all
from shapsketch.fitting.distillation import Limits, Students
from shapsketch.fitting.features import CountFeatures, PositionalFeatures
from shapsketch.fitting.holdout import Labelled, predict, r_squared
from shapsketch.fitting.learners import CountingLearner
from shapsketch.fitting.run_features import RunCounts

pytest.importorskip("lightgbm", reason="pip install 'shapsketch[trees]'")

SPACE = ss.SequenceSpace(ss.RNA, 20)
POSITIONAL = PositionalFeatures(SPACE, "onehot")


def stems(codes):
    """The number of stems of three pairs with a loop of six positions."""
    paired = np.array([3, 2, 1, 0])[codes]
    return sum(
        1.0 * np.all([codes[:, i + k] == paired[:, i + 11 - k] for k in range(3)], axis=0) for i in range(9)
    )


def students(seconds, relations=(), seed=0):
    limits = Limits(seconds, sequences=1_000, ends=False)
    return Students(POSITIONAL, limits=limits, relations=relations, seed=seed, log=lambda _: None)


def test_a_fast_student_has_the_relations_that_it_is_told():
    codes = np.random.default_rng(5).integers(0, 4, (2_000, 20), dtype=np.uint8)

    def r2(relations):
        fitted = students(0.0, relations).fit(stems)
        assert set(fitted) == {"distill (regress)"}
        return r_squared(stems(codes), predict(fitted["distill (regress)"], codes))

    assert r2(["stems"]) > 0.99


def test_the_number_of_predictions_follows_from_the_time(monkeypatch):
    monkeypatch.setattr(distillation, "FEW_PREDICTIONS", (400, 1_000))
    monkeypatch.setattr(distillation, "TREE_PREDICTIONS", (400, 1_500))
    monkeypatch.setattr(distillation, "STUDENT_ROUNDS", 5)
    monkeypatch.setattr(distillation, "FAST_ROUNDS", 5)
    each, for_trees = distillation.SYMBOL_SECONDS * SPACE.n, distillation.TREE_SYMBOL_SECONDS * SPACE.n
    counts = []

    def teacher(codes):
        counts.append(len(codes))
        return 1.0 * (codes[:, 0] == 1)

    trees, both = {"distill (trees)"}, {"distill (trees)", "distill (regress)"}
    # The third is the least time in which a third suffices for a regression on 400 predictions.
    for seconds, names in ((1e-9, trees), (700.5 * for_trees, trees), (1200.5 * each, both), (np.inf, both)):
        assert set(students(seconds).fit(teacher)) == names
    assert counts == [400, 700, 1_000, 1_500]
    assert students(700.5 * for_trees)._counts() == (700, 0)
    assert set(students(700.5 * each, ["stems"]).fit(teacher)) == {"distill (regress)"}
    assert counts[-1] == 700


def test_slow_machines_and_few_sequences_have_fewer_predictions(monkeypatch):
    monkeypatch.setattr(distillation, "FEW_PREDICTIONS", (10_000, 100_000))

    def counts(*limits):
        limited = Limits(*limits)
        return Students(POSITIONAL, limits=limited, relations=[], seed=0, log=lambda _: None)._counts()

    each = distillation.TREE_SYMBOL_SECONDS * SPACE.n
    assert counts(60_000.5 * each, 10_000) == (60_000, 0)
    assert counts(60_000.5 * each, 10_000, 2.0) == (30_000, 0)
    assert counts(60_000.5 * each, 1_000) == (20_000, 0)
    assert counts(60_000.5 * each, 100) == (10_000, 0)


def test_a_student_of_trees_ends_in_time(monkeypatch):
    seconds = iter(range(1_000))
    monkeypatch.setattr(distillation.time, "perf_counter", lambda: float(next(seconds)))
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (500, 20), dtype=np.uint8)
    late = Schedule(until=10.0)
    boosted = boost_all(POSITIONAL, Labelled(codes, stems(codes)), leaves=8, rounds=50, seed=0, schedule=late)
    # Each round reads the clock once, and the first read is 0.
    assert boosted.boosted.rounds == boosted.boosted.booster.current_iteration() == 12


def test_thorough_students_are_deterministic(monkeypatch):
    monkeypatch.setattr(distillation, "TREE_PREDICTIONS", (400, 600))
    monkeypatch.setattr(distillation, "STUDENT_ROUNDS", 20)
    codes = np.random.default_rng(5).integers(0, 4, (50, 20), dtype=np.uint8)
    one, same = (students(float("inf"), seed=1).fit(stems) for _ in range(2))
    assert set(one) == {"distill (trees)", "distill (regress)"}
    for name, sketch in one.items():
        alone = students(float("inf"), seed=1).fit(stems, [name])
        assert set(alone) == {name}
        np.testing.assert_array_equal(predict(sketch, codes), predict(alone[name], codes))
        np.testing.assert_array_equal(predict(sketch, codes), predict(same[name], codes))


def test_students_have_the_relations_of_the_regression_or_of_the_trees():
    def counting(names):
        learner = CountingLearner(None, leaves=(15,), seed=0, log=lambda _: None)
        relations = tuple(_core.Relation.named(SPACE._core, name) for name in names)
        features = CountFeatures(POSITIONAL, "counts", RunCounts(relations, ()))
        learner._chosen = SimpleNamespace(features=features)
        return SimpleNamespace(learners={learner.name: learner})

    codes = np.random.default_rng(5).integers(0, 4, (1_000, 20), dtype=np.uint8)
    regressed = {
        relations: selection.Regressed(
            ss.SparseRegressor(SPACE, relations=relations).fit(codes, stems(codes)).sketch_._core, 1.0
        )
        for relations in ((), ("stems", "stems-strong"))
    }
    assert selection._relations(counting([]), None) == []
    assert selection._relations(SimpleNamespace(learners={}), regressed[()]) == []
    trees = counting(["equal", "wobble"])
    assert selection._relations(trees, None) == ["stems-wobble", "repeats"]
    assert selection._relations(trees, regressed[()]) == ["stems-wobble", "repeats"]
    assert "stems" in selection._relations(trees, regressed["stems", "stems-strong"])
    assert "repeats" not in selection._relations(trees, regressed["stems", "stems-strong"])
