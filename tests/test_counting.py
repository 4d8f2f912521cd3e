"""Trees that count k-mers: the core predicts what LightGBM predicts."""

import pickle

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting.boosting import FittedTrees, boost
from shapsketch.fitting.distillation import TreeTeacher
from shapsketch.fitting.features import LEVELS, CountFeatures, PositionalFeatures
from shapsketch.fitting.holdout import Labelled

SPACES = {
    "kmers": ss.SequenceSpace(ss.DNA, 20),
    "letters": ss.SequenceSpace(ss.PROTEIN, 8),
    "onehot": ss.SequenceSpace("01", 10),
}


def some(space, rows, seed=0):
    return np.random.default_rng(seed).integers(0, space.q, (rows, space.n), dtype=np.uint8)


def labels(codes, seed=1):
    """Effects of the number of a symbol, anywhere and in a half, of a k-mer in a frame, and of positions."""
    halves = codes[:, : codes.shape[1] // 2] == 1
    framed = (codes[:, :-2:3] == 0) & (codes[:, 1:-1:3] == codes[:, 2::3])
    noise = np.random.default_rng(seed).normal(size=len(codes))
    return (codes == 0).sum(axis=1) + halves.sum(axis=1) ** 2 + 3.0 * framed.sum(axis=1) + codes[:, 2] + noise


def dense(matrix):
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def fitted(kind, level, size=1.0, offset=0.0):
    space = SPACES[kind]
    features = CountFeatures(PositionalFeatures(space, kind), level)
    codes = some(space, 600)
    boosted = boost(
        features.matrix(codes),
        Labelled(codes, size * labels(codes) + offset),
        leaves=12,
        seed=0,
        categories=features.n_categories,
        rounds=60,
    )
    return FittedTrees(features, boosted)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", SPACES)
def test_the_core_predicts_what_lightgbm_predicts(kind, level):
    codes = some(SPACES[kind], 1000, seed=2)
    for size, offset in [(1.0, 0.0), (1e30, 0.0), (1e-3, 1e6)]:
        trees = fitted(kind, level, size, offset)
        boosted, teacher = trees.boosted, TreeTeacher.of(trees)
        matrix = trees.features.matrix(codes)
        expected = boosted.scale * boosted.booster.predict(matrix, num_iteration=60) + boosted.centre
        assert np.ptp(expected) > size
        np.testing.assert_allclose(teacher.predict(codes), expected, rtol=1e-9, atol=1e-9 * size)
        arrays = teacher.trees.arrays()
        # Some splits test positions and others counts.
        assert len(arrays["starts"]) > 1
        assert len(arrays["lengths"]) > 0
        assert arrays["conditions"].max() >= len(arrays["starts"]) - 1


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("kind", "n"), [("kmers", 7), ("kmers", 1), ("onehot", 2), ("onehot", 3), ("letters", 4)]
)
def test_descriptions_of_features_give_their_values(kind, n, level):
    space = ss.SequenceSpace("ABC", n)
    positional = PositionalFeatures(space, kind)
    features, codes = CountFeatures(positional, level), some(space, 30)
    columns = list(dense(features.matrix(codes)).T)
    for number, column in enumerate(columns[: positional.width]):
        if kind == "letters":
            expected = codes[:, number]
        else:
            parts = positional.condition(number)
            expected = np.all([1 << codes[:, position] == symbols for position, symbols in parts], axis=0)
        np.testing.assert_array_equal(column, expected)
    counts = features.counts()
    assert len(counts) == len(columns) - positional.width
    for count, column in zip(counts, columns[positional.width :], strict=True):
        starts = range(count.first, count.last + 1, count.step)
        found = [sum(tuple(row[i : i + len(count.kmer)]) == count.kmer for i in starts) for row in codes]
        np.testing.assert_array_equal(column, found)


def test_one_window_for_each_frame_and_segment():
    level = CountFeatures(PositionalFeatures(SPACES["onehot"], "onehot"), "parts")
    windows = [(k, list(range(first, last + 1, step))) for k, first, last, step in level.blocks()]
    assert windows == [
        (1, list(range(10))),
        (2, list(range(9))),
        (3, list(range(8))),
        (3, [0, 3, 6]),
        (3, [1, 4, 7]),
        (3, [2, 5]),
        (1, [0, 1, 2]),
        (1, [3, 4, 5]),
        (1, [6, 7]),
        (1, [8, 9]),
    ]


@pytest.mark.parametrize("kind", SPACES)
def test_a_teacher_of_trees_is_pickled_without_lightgbm(kind):
    teacher = TreeTeacher.of(fitted(kind, "parts"))
    stream = pickle.dumps(teacher)
    assert b"lightgbm" not in stream
    again = pickle.loads(stream)
    codes = some(SPACES[kind], 500, seed=3)
    np.testing.assert_array_equal(again.predict(codes), teacher.predict(codes))
    data = Labelled(codes, labels(codes))
    np.testing.assert_array_equal(
        again.refit(data, seed=0).predict(codes), teacher.refit(data, seed=0).predict(codes)
    )


def test_a_distilled_sketch_has_a_teacher_that_the_core_evaluates():
    space = SPACES["onehot"]
    codes = some(space, 700)
    sketch = ss.fit(codes, labels(codes), space, method="distill", progress=False)
    teacher = sketch._teacher
    assert isinstance(teacher, TreeTeacher)
    # The space is small, so the student is the teacher.
    np.testing.assert_allclose(teacher.predict(codes), sketch.predict(codes), rtol=0, atol=1e-9)


def test_arrays_that_are_not_trees_are_refused():
    teacher = TreeTeacher.of(fitted("onehot", "counts"))
    space, arrays = SPACES["onehot"]._core, teacher.trees.arrays()

    def changed(name, index, value):
        array = arrays[name].copy()
        array[index] = value
        return {**arrays, name: array}

    for wrong, option in [
        ({**arrays, "constant": np.inf}, "constant"),
        ({**arrays, "yes": arrays["yes"][:-1]}, "thresholds, yes, no and values"),
        (changed("yes", 0, 0), "trees"),
        (changed("conditions", 0, 10**6), "trees"),
        (changed("roots", 1, 2**63), "roots"),
        (changed("kmers", 0, 2), "counts"),
        (changed("steps", 0, 0), "counts"),
        (changed("sets", 0, 4), "conditions"),
    ]:
        with pytest.raises(ss.InputError) as raised:
            _core.CountingTrees(space, **wrong)
        assert raised.value.option == option
    with pytest.raises(ss.InputError, match="code 2 at position 0 is out of range") as raised:
        teacher.predict(np.full((1, 10), 2, dtype=np.uint8))
    assert raised.value.index == 0
