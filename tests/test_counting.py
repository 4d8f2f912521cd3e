"""Trees that count k-mers and runs: the core predicts what LightGBM predicts."""

from dataclasses import replace

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting import selection
from shapsketch.fitting.boosting import Schedule, boost_all
from shapsketch.fitting.effort import Clock
from shapsketch.fitting.features import LEVELS, CountFeatures, PositionalFeatures
from shapsketch.fitting.final import Data
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.learners import BoostingLearner, CountingLearner, counting_trees
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.run_features import RunCount, RunCounts, correlations, pay, promising_runs

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


def repeats(codes):
    """How often a pair of symbols is repeated six positions later."""
    equal = codes[:, :-6] == codes[:, 6:]
    return (equal[:, :-1] & equal[:, 1:]).sum(axis=1)


def fitted(kind, level, size=1.0, offset=0.0, runs=False):
    space = SPACES[kind]
    features = CountFeatures(PositionalFeatures(space, kind), level)
    codes = some(space, 600)
    values = labels(codes)
    if runs:
        values = values + 3.0 * repeats(codes)
        features = replace(features, runs=promising_runs(space, Labelled(codes, values)))
    data = Labelled(codes, size * values + offset)
    return boost_all(features, data, leaves=12, rounds=60, seed=0)


@pytest.mark.parametrize(
    ("kind", "level", "runs"),
    [(kind, level, False) for kind in SPACES for level in LEVELS]
    + [("kmers", "frames", True), ("onehot", "counts", True)],
)
def test_the_core_predicts_what_lightgbm_predicts(kind, level, runs):
    codes = some(SPACES[kind], 1000, seed=2)
    for size, offset in [(1.0, 0.0), (1e30, 0.0), (1e-3, 1e6)]:
        trees = fitted(kind, level, size, offset, runs)
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
        if runs:
            first = len(arrays["starts"]) - 1 + len(arrays["lengths"])
            assert (arrays["conditions"] >= first).sum() > 20
        else:
            assert not arrays["relations"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("kind", "n"), [("kmers", 7), ("kmers", 1), ("onehot", 2), ("onehot", 3), ("letters", 4)]
)
def test_descriptions_of_features_give_their_values(kind, n, level):
    space = ss.SequenceSpace("ABC", n)
    positional = PositionalFeatures(space, kind)
    runs = promising_runs(space, Labelled(some(space, 300), np.arange(300.0)))
    features, codes = CountFeatures(positional, level, runs), some(space, 30)
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
        if isinstance(count, RunCount):
            equal = np.eye(3, dtype=bool)
            np.testing.assert_array_equal(column, [number_of_runs(count, equal, row) for row in codes])
            continue
        starts = range(count.first, count.last + 1, count.step)
        found = [sum(tuple(row[i : i + len(count.kmer)]) == count.kmer for i in starts) for row in codes]
        np.testing.assert_array_equal(column, found)


def number_of_runs(count, related, row):
    """Count runs by the definition."""
    number, last = 0, count.length - 1
    for i in range(count.first, count.last + 1):
        for j in range(i + count.nearest, i + count.farthest + 1):
            end = (i + last, j - last if count.reversed else j + last)
            if max(j, *end) < len(row) and end[0] < end[1]:
                second = range(j, end[1] - 1, -1) if count.reversed else range(j, end[1] + 1)
                number += all(related[row[i + k], row[p]] for k, p in enumerate(second))
    return number


def test_runs_that_matter_are_among_those_tried():
    space = ss.SequenceSpace(ss.RNA, 14)
    codes = some(space, 2_000)
    partner = np.array([3, 2, 1, 0])
    stem = np.all(codes[:, 1:4] == partner[codes[:, 12:9:-1]], axis=1)
    close = (codes[:, :-2] == codes[:, 2:]).sum(axis=1)
    values = 6.0 * stem + close + 3.0 * codes[:, 5] + np.random.default_rng(1).normal(size=2_000)
    runs = promising_runs(space, Labelled(codes, values))
    names = [relation.name for relation in runs.relations]
    assert names == ["complement", "wobble", "strong", "equal"]
    assert RunCount(0, 3, True, 1, 1, 11, 11) in runs.counts
    assert RunCount(3, 1, False, 0, 13, 2, 2) in runs.counts
    # For each relation and length, runs anywhere.
    assert runs.counts[:24] == tuple(
        RunCount(relation, length, relation < 3, 0, 13, 1, 13)
        for relation in range(4)
        for length in range(1, 7)
    )


def test_a_weight_counts_as_copies_of_a_row():
    rng = np.random.default_rng(3)
    matrix = rng.integers(0, 3, (200, 5)).astype(np.float32)
    matrix[:, 1] = 2.0
    values, copies = rng.normal(size=200), rng.integers(1, 4, 200)
    expected = [
        0.0 if np.ptp(column) == 0.0 else np.corrcoef(column, np.repeat(values, copies))[0, 1]
        for column in np.repeat(matrix, copies, axis=0).T
    ]
    np.testing.assert_allclose(correlations(matrix, values, copies / 7.0), expected, atol=1e-8)
    repeated = correlations(np.repeat(matrix, copies, axis=0), np.repeat(values, copies), None)
    np.testing.assert_allclose(repeated, expected, atol=1e-8)
    np.testing.assert_array_equal(correlations(matrix, np.ones(200), None), np.zeros(5))


def test_runs_pay_only_if_residuals_depend_on_them():
    space = ss.SequenceSpace(ss.DNA, 16)
    codes = some(space, 800)
    runs = promising_runs(space, Labelled(codes, repeats(codes) + labels(codes)))
    held = Labelled(some(space, 400, seed=5), np.zeros(400))
    noise = np.random.default_rng(7).normal(size=400)
    assert not pay(runs, space, held, noise)
    assert not pay(runs, space, held, np.zeros(400))
    assert pay(runs, space, held, noise + repeats(held.codes))
    # Residuals of few rows with large weights are not enough.
    heavy = Labelled(held.codes, held.values, np.where(np.arange(400) < 10, 1e6, 1.0))
    assert not pay(runs, space, heavy, noise + repeats(held.codes))


def test_no_runs_are_tried_if_that_is_too_much_work():
    space = ss.SequenceSpace(ss.DNA, 1_000)
    assert promising_runs(space, Labelled(some(space, 70), np.arange(70.0))) == RunCounts()
    space = ss.SequenceSpace(ss.DNA, 1)
    assert promising_runs(space, Labelled(some(space, 70), np.arange(70.0))) == RunCounts()


def microhomology(codes):
    """The part of deletions between close repeats around the middle: a ratio of sums over repeats."""
    close, far = np.zeros(len(codes)), np.zeros(len(codes))
    for distance in range(3, 9):
        equal = codes[:, :-distance] == codes[:, distance:]
        triples = equal[:, :-2] & equal[:, 1:-1] & equal[:, 2:]
        strength = triples[:, 9 - distance : 10].sum(axis=1) * np.exp(-0.2 * distance)
        close, far = (close + strength, far) if distance < 6 else (close, far + strength)
    return close / (close + far + 0.1)


def counted(codes, values, space, *, runs=False):
    """Return the held-out R² of the trees with counts that are chosen, and their arrays."""
    split = Split.of(Labelled(codes, values), 0)
    boosting = BoostingLearner(space, leaves=(15,), schedule=Schedule(), seed=0, log=lambda _: None)
    learner = CountingLearner(boosting, leaves=(15,), seed=0, log=lambda _: None, runs=runs)
    return split.held.r_squared(learner.fit(split)), learner.fitted.arrays()


def test_runs_are_used_if_the_model_depends_on_them_and_change_nothing_otherwise(monkeypatch):
    space = ss.SequenceSpace(ss.DNA, 20)
    onehot = PositionalFeatures(space, "onehot")
    monkeypatch.setattr("shapsketch.fitting.learners.positional_candidates", lambda *_, **__: [onehot])
    monkeypatch.setattr("shapsketch.fitting.learners.count_levels", lambda _: ["counts"])
    codes = some(space, 1_000)
    with_runs, arrays = counted(codes, microhomology(codes), space)
    again = counted(codes, microhomology(codes), space)
    np.testing.assert_equal({**again[1], "relations": 0}, {**arrays, "relations": 0})
    plain, plain_arrays = counted(codes, labels(codes), space)
    # Few values cannot show that runs pay, but the regression may have chosen some.
    few = codes[:400], microhomology(codes[:400])
    assert len(counted(*few, space)[1]["runs"]) == 0
    assert len(counted(*few, space, runs=True)[1]["runs"]) > 0
    monkeypatch.setattr("shapsketch.fitting.learners.promising_runs", lambda *_: RunCounts())
    assert len(arrays["runs"]) > 0
    assert with_runs > counted(codes, microhomology(codes), space)[0] + 0.3
    assert counted(codes, labels(codes), space)[0] == plain
    assert len(plain_arrays["runs"]) == 0


def test_trees_with_counts_come_first_if_the_regression_has_runs():
    space = ss.SequenceSpace(ss.DNA, 20)
    codes = some(space, 400)

    def learners(values, effort):
        options = FitOptions("auto", None, None, "codes", effort, 0)
        core = ss.SparseRegressor(space).fit(codes, values).sketch_._core
        data = Data(space, Labelled(codes, values), 400, 0.0)
        regressed, clock = selection.Regressed(core, 1.0), Clock(effort, 0.0)
        return list(selection._learners(data, options, regressed, clock, selection.Missing(), lambda _: None))

    with_runs, without = learners(microhomology(codes), "standard"), learners(labels(codes), "standard")
    thorough = learners(microhomology(codes), "thorough")
    assert [each.name for each in with_runs] == ["regress", "trees (counts)", "networks", "trees"]
    for each in (without, thorough):
        assert [learner.name for learner in each] == ["regress", "networks", "trees", "trees (counts)"]
    counting = [next(each for each in all_ if each.name == "trees (counts)") for all_ in (with_runs, without)]
    counting.append(thorough[-1])
    # Counts of runs are tried in any case if the regression has them.
    assert [(each.first, each._runs) for each in counting] == [(True, True), (False, False), (False, True)]
    split = Split.of(Labelled(codes, microhomology(codes)), 0)
    assert counting[0].fit(split).shape == split.held.values.shape
    # They need no trees that were chosen before.
    assert counting[0]._boosting._chosen is None
    assert counting[0].relations
    # With half of the sequences, a fit to all would take twice as long.
    few = learners(microhomology(codes), "standard")[1]
    few.share = 0.5
    assert not np.array_equal(few.fit(split), counting[0].fit(split))
    assert few.fitted.predict(codes).shape == (400,)
    assert few.refit_seconds >= 2.0 * few._chosen.seconds


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
        ({**arrays, "runs": np.zeros(6, dtype=np.uint16)}, "runs"),
        ({**arrays, "runs": np.array([0, 1, 0, 0, 0, 1, 1], dtype=np.uint16)}, "runs"),
    ]:
        with pytest.raises(ss.InputError) as raised:
            _core.CountingTrees(space, **wrong)
        assert raised.value.option == option
    equal = [_core.Relation.named(space, "equal")]
    for row in [(0, 0, 0, 0, 0, 1, 1), (1, 1, 0, 0, 0, 1, 1), (0, 1, 2, 0, 0, 1, 1), (0, 1, 0, 0, 0, 10, 10)]:
        with pytest.raises(ss.InputError, match=r"^runs must be ") as raised:
            _core.count_runs(space, np.zeros((1, 10), dtype=np.uint8), equal, np.array(row, dtype=np.uint16))
        assert raised.value.option == "runs"
    with pytest.raises(ss.InputError, match="code 2 at position 0 is out of range") as raised:
        trees.predict(np.full((1, 10), 2, dtype=np.uint8))
    assert raised.value.index == 0
