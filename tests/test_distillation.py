"""Students: closed forms that are fitted to predictions of a teacher."""

from types import SimpleNamespace

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting import distillation, selection
from shapsketch.fitting.distillation import Students
from shapsketch.fitting.features import CountFeatures, PositionalFeatures
from shapsketch.fitting.holdout import predict, r_squared
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
    return Students(POSITIONAL, seconds=seconds, relations=relations, seed=seed, log=lambda _: None)


def test_a_fast_student_has_the_relations_that_it_is_told():
    codes = np.random.default_rng(5).integers(0, 4, (2_000, 20), dtype=np.uint8)

    def r2(relations):
        fitted = students(0.0, relations).fit(stems)
        assert set(fitted) == {"distill (regress)"}
        return r_squared(stems(codes), predict(fitted["distill (regress)"], codes))

    assert r2(["stems"]) > 0.99
    assert r2([]) < 0.5


def test_the_number_of_predictions_follows_from_the_time(monkeypatch):
    monkeypatch.setattr(distillation, "FEW_PREDICTIONS", (400, 1_000))
    monkeypatch.setattr(distillation, "TREE_PREDICTIONS", (400, 1_500))
    monkeypatch.setattr(distillation, "STUDENT_ROUNDS", 5)
    each, counts = distillation.SYMBOL_SECONDS * SPACE.n, []

    def teacher(codes):
        counts.append(len(codes))
        return 1.0 * (codes[:, 0] == 1)

    for seconds in (0.0, 700.5 * each, 1e6, float("inf")):
        names = set(students(seconds).fit(teacher))
        assert names == {"distill (regress)"} | ({"distill (trees)"} if np.isinf(seconds) else set())
    assert counts == [400, 700, 1_000, 1_500]


def test_thorough_students_are_deterministic(monkeypatch):
    monkeypatch.setattr(distillation, "TREE_PREDICTIONS", (400, 600))
    monkeypatch.setattr(distillation, "STUDENT_ROUNDS", 20)
    codes = np.random.default_rng(5).integers(0, 4, (50, 20), dtype=np.uint8)
    one, same = (students(float("inf"), seed=1).fit(stems) for _ in range(2))
    assert set(one) == {"distill (trees)", "distill (regress)"}
    for name, sketch in one.items():
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
