"""Trees that count k-mers: the core predicts what LightGBM predicts."""

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting.boosting import boost_all
from shapsketch.fitting.features import LEVELS, CountFeatures, PositionalFeatures
from shapsketch.fitting.holdout import Labelled
from shapsketch.fitting.learners import counting_trees

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
    data = Labelled(codes, size * labels(codes) + offset)
    return boost_all(features, data, leaves=12, rounds=60, seed=0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", SPACES)
def test_the_core_predicts_what_lightgbm_predicts(kind, level):
    codes = some(SPACES[kind], 1000, seed=2)
    for size, offset in [(1.0, 0.0), (1e30, 0.0), (1e-3, 1e6)]:
        trees = fitted(kind, level, size, offset)
        boosted, in_core = trees.boosted, counting_trees(trees)
        matrix = trees.features.matrix(codes)
        expected = boosted.scale * boosted.booster.predict(matrix, num_iteration=60) + boosted.centre
        assert np.ptp(expected) > size
        np.testing.assert_allclose(in_core.predict(codes), expected, rtol=1e-9, atol=1e-9 * size)
        arrays = in_core.arrays()
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


def test_an_exact_student_equals_its_teacher():
    space = SPACES["onehot"]
    codes = some(space, 700)
    sketch = ss.fit(codes, labels(codes), space, method="distill", progress=False)
    # The space is small, so the student predicts every sequence as its teacher does.
    assert {part.kind for part in sketch.predictor.parts} <= {"trees", "networks"}
    np.testing.assert_allclose(sketch.predictor.predict(codes), sketch.predict(codes), rtol=0, atol=1e-9)


def test_arrays_that_are_not_trees_are_refused():
    trees = counting_trees(fitted("onehot", "counts"))
    space, arrays = SPACES["onehot"]._core, trees.arrays()

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
        trees.predict(np.full((1, 10), 2, dtype=np.uint8))
    assert raised.value.index == 0
