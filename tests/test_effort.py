"""Which steps fit into the time of a fit. Clocks are set by hand: no test depends on its own time."""

from dataclasses import replace

import numpy as np
import pytest
import shapsketch as ss
from shapsketch.fitting import comparison, effort, networks, selection
from shapsketch.fitting.comparison import Comparison
from shapsketch.fitting.effort import Clock, NetworkSize
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.learners import BoostingLearner, CountingLearner, NetworkLearner

SPACE = ss.SequenceSpace(ss.DNA, 50)
# Before they are shortened for tests.
STANDARD, LEAST_SECONDS = effort.STANDARD, effort.LEAST_SECONDS


class Time:
    """A clock that only moves when it is told to."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    clock = Time()
    monkeypatch.setattr(effort, "STANDARD", STANDARD)
    monkeypatch.setattr(effort, "LEAST_SECONDS", LEAST_SECONDS)
    monkeypatch.setattr(effort.time, "perf_counter", clock.perf_counter)
    return clock


def begun(time, name="standard"):
    return Clock(name, 0.0, started=time.now)


@pytest.mark.parametrize("name", ["quick", "thorough"])
def test_quick_and_thorough_do_not_depend_on_the_time(time, name):
    clock = begun(time, name)
    time.now = 1e9

    def train(_):
        raise AssertionError("the speed is measured")

    clock.measure(SPACE, 10**6, train)
    clock.taught = True
    clock.reserve(1e9)
    assert clock.fits("trees", 1e9)
    assert clock.refits("trees", 1e9)
    assert clock.student_seconds() == clock.learners_end == np.inf
    assert clock.regression_seconds is None
    assert clock.left_out == []
    assert clock.slowness == 1.0
    if name == "thorough":
        assert clock.networks(SPACE, 10**9) == effort.THOROUGH


def test_a_regression_ends_when_its_time_is_over(time, monkeypatch):
    assert begun(time).regression_seconds == 0.5 * LEAST_SECONDS
    assert Clock("standard", 80.0).regression_seconds == 40.0
    monkeypatch.setattr(effort, "LEAST_SECONDS", 0.0)
    space = ss.SequenceSpace(ss.DNA, 8)
    codes = np.random.default_rng(0).integers(0, 4, (400, 8)).astype(np.uint8)
    values = 1.0 * (codes[:, 2] == 1) + 0.5 * (codes[:, 3] == codes[:, 5])
    values += 0.3 * np.random.default_rng(1).normal(size=400)
    sketch = ss.fit(codes, values, space, method="auto", progress=False)
    assert "steps of the regression" in sketch.status

    def regressed(seconds):
        return ss.SparseRegressor(space)._fit(space, Labelled(codes, values), seconds=seconds).sketch_

    hurried, patient, complete = regressed(0.0), regressed(1e9), regressed(None)
    assert hurried.status == "time limit"
    # R² is honest: it is that of the shorter path.
    assert 0.0 < hurried.r2 < complete.r2
    assert patient.status == complete.status == "cross-validated"
    np.testing.assert_array_equal(patient.predict(codes), complete.predict(codes))


def test_the_speed_is_that_of_a_short_training(time):
    clock, rows = begun(time), []

    def train(count, slower):
        rows.append(count)
        time.now += slower * effort.MEASURED.seconds(SPACE, count) / effort.CORES

    for slower, measured in ((1.0, 1.0), (3.0, 3.0), (100.0, effort.SLOWNESS[1]), (0.01, effort.SLOWNESS[0])):
        clock.measure(SPACE, 20_000, lambda count, slower=slower: train(count, slower))
        assert clock.slowness == pytest.approx(measured)
    assert effort.MEASURED.seconds(SPACE, rows[0]) == pytest.approx(effort.MEASUREMENT, rel=0.01)
    # Few data are fast in any case.
    clock = begun(time)
    clock.measure(SPACE, 500, lambda count: train(count, 3.0))
    assert clock.slowness == 1.0
    clock = begun(time)
    networks.measure(clock, SPACE, 20_000)
    assert clock.slowness == effort.SLOWNESS[0], "this clock stands still"


def size_by_enumeration(elapsed, slowness, count, *, near=False):
    """The first size that fits into 30 seconds, and how often it is trained; by a search over all epochs."""

    def seconds(size):
        return slowness * size.seconds(SPACE, count) / 2

    for size in STANDARD:
        total = 2 * seconds(size)
        if near and size.channels == 32:
            continue
        if total <= 15.0 and (elapsed + total <= 22.5 or elapsed + 2 * total <= 28.5):
            return size, 2
    narrow = [(32, 2, range(30, 19, -1)), (32, 1, range(30, 9, -1))]
    wide = [(64, 2, range(30, 19, -1)), (64, 1, range(30, 19, -1))]
    for channels, members, epochs in [*wide, *narrow] if near else narrow:
        for count_of_epochs in epochs:
            size = NetworkSize(members, channels, count_of_epochs)
            if elapsed + 0.8 * seconds(size) <= 21.0:
                return size, 1
    return None, 0


def test_networks_are_the_largest_that_fit(time):
    rng, trained = np.random.default_rng(0), set()
    for _ in range(500):
        clock = begun(time)
        elapsed, count = rng.uniform(0.0, 30.0), int(10 ** rng.uniform(2.0, 5.0))
        clock.slowness = rng.uniform(0.5, 3.0)
        time.now += elapsed
        size = clock.networks(SPACE, count)
        expected, times = size_by_enumeration(elapsed, clock.slowness, count)
        assert size == expected
        assert clock.left_out == ([] if size else ["networks"])
        required = clock.networks(SPACE, count, required=True)
        assert required == (size or NetworkSize(1, 32, 10))
        clock.reserve(1.0)
        assert clock.reserved == (effort.REFIT_SLOWER if times == 2 else 0.0)
        trained.add(size if times == 2 else (size and size.members))
    assert trained == {*STANDARD, 1, 2, None}


def test_near_one_sequence_regression_is_shorter_and_networks_are_wider(time):
    assert Clock("standard", 0.0, near=True, started=time.now).regression_seconds == pytest.approx(6.0)
    rng, trained = np.random.default_rng(0), set()
    for _ in range(500):
        clock = Clock("standard", 0.0, near=True, started=time.now)
        elapsed, count = rng.uniform(0.0, 30.0), int(10 ** rng.uniform(2.0, 5.0))
        clock.slowness = rng.uniform(0.5, 3.0)
        time.now += elapsed
        size = clock.networks(SPACE, count)
        assert size == size_by_enumeration(elapsed, clock.slowness, count, near=True)[0]
        trained.add(size and (size.members, size.channels))
    assert trained == {(3, 64), (2, 64), (1, 64), (2, 32), (1, 32), None}
    windows = Clock("standard", 0.0, near=True, started=time.now).networks(SPACE, 1_000, pool=4)
    assert windows in [replace(size, pool=4) for size in effort.LONG_STANDARD]


def test_time_is_reserved_for_a_step(time):
    clock = begun(time)
    time.now = 20.0
    clock.reserve(4.0, "global epistasis")
    assert not clock.refits("trees", 3.0)
    assert not clock.refits("networks", 3.0)
    assert clock.refits("global epistasis", 4.0)
    assert clock.reserved == 0.0
    assert clock.refits("networks", 3.0)
    # Networks before that step leave its time free.
    clock = begun(time)
    time.now += 10.0
    clock.reserve(8.0, "global epistasis")
    least = clock.networks(SPACE, 3_000)
    clock.reserve(0.0)
    assert least.seconds(SPACE, 3_000) < clock.networks(SPACE, 3_000).seconds(SPACE, 3_000)


def test_students_have_their_time_until_little_is_left(time):
    clock = begun(time)
    expected = [(0.0, 6.0), (22.0, 6.0), (24.5, 4.0), (26.0, 2.5), (26.5, 0.0), (40.0, 0.0)]
    for time.now, seconds in expected:
        assert clock.student_seconds() == pytest.approx(seconds)
    time.now = 24.5
    assert Clock("standard", 100.0, started=0.0).student_seconds() == pytest.approx(20.0)
    time.now = 27.0
    assert clock.student_seconds() == 0.0
    assert clock.student_seconds(small=True) == pytest.approx(1.5)
    time.now = 24.5
    # Networks of all queries have their time.
    clock.reserve(1.0)
    assert clock.student_seconds() == pytest.approx(4.0 - effort.REFIT_SLOWER)
    # If it does not suffice for both, students have it.
    clock.reserve(3.0)
    assert clock.student_seconds() == pytest.approx(4.0)
    assert clock.reserved == 0.0


def test_students_and_fits_to_all_queries_have_a_share_of_the_time(time):
    clock = begun(time)
    time.now = 10.0
    assert clock.fits("trees", 9.4)
    clock.reserve(8.0)
    assert clock.reserved == pytest.approx(10.0)
    assert clock.fits("trees", 8.4)
    assert not clock.fits("trees", 8.6)
    clock.taught = True
    assert clock.fits("trees", 0.0)
    assert not clock.fits("trees (counts)", 0.2)
    assert clock.left_out == ["trees", "trees (counts)"]
    # Networks of large data are fitted once.
    clock = begun(time)
    assert clock.networks(SPACE, 20_000) not in STANDARD
    clock.reserve(10.0)
    assert clock.reserved == 0.0


def test_fits_to_all_queries_end_in_time(time):
    clock = begun(time)
    time.now = 20.0
    assert clock.refits("trees", 6.8)
    assert not clock.refits("networks", 7.0)
    assert clock.left_out == ["networks with all queries"]
    # Networks come first.
    clock.reserve(4.0)
    assert not clock.refits("trees", 3.0)
    assert clock.refits("networks", 4.0)
    assert clock.refits("trees", 3.0)
    # Steps of one core are slowed down by the square root.
    time.now, clock.slowness = 10.0, 4.0
    assert clock.fits("trees", 4.7)
    assert not clock.fits("trees", 4.8)
    assert clock.learners_end == pytest.approx(time.now - 10.0 + 27.0)
    # Short steps may begin late.
    time.now, clock.slowness = 22.0, 1.0
    assert clock.fits("trees", 3.2)
    assert not clock.fits("trees", 3.3)
    # The first step may take the time that is left, or have some of the queries.
    assert clock.share("trees (counts)", 6.4) == 1.0
    assert clock.share("trees (counts)", 13.0) == pytest.approx(0.5)
    assert clock.left_out[-1] == "some queries for trees (counts)"
    assert clock.share("trees (counts)", 27.0) == 0.0
    assert clock.left_out[-1] == "trees (counts)"
    assert begun(time, "thorough").share("trees (counts)", 1e9) == 1.0


def compared(*errors):
    """A comparison of a regression and networks with these mean squared errors."""
    values = np.random.default_rng(0).normal(size=400)
    held = Labelled(np.zeros((400, 50), dtype=np.uint8), values)
    found = Comparison(Split(held, held), 0.0)
    noise = np.random.default_rng(1).normal(size=400)
    for name, error in zip(("regress", "networks"), errors, strict=True):
        found.predictions[name] = values + noise * np.sqrt(error / np.mean(noise**2))
    return found


@pytest.mark.parametrize(("error", "taught"), [(0.1, True), (0.18, True), (0.195, False), (0.3, False)])
def test_a_teacher_must_be_clearly_better_than_the_best_closed_form(error, taught):
    found = compared(0.2, error)
    assert found.teachers(better=False).weights.keys() == {"networks"}
    assert bool(found.teachers(better=True).weights) == taught
    assert 0.18 < 0.2 * (1.0 - comparison.CLEARLY_BETTER) < 0.195


def test_what_is_not_fitted_to_all_queries_is_named(monkeypatch):
    pytest.importorskip("lightgbm", reason="pip install 'shapsketch[trees]'")

    def refused(clock, step, _):
        clock.left_out.append(f"{step} with all queries")
        return False

    def fit_all(*_):
        raise AssertionError("a learner is fitted twice")

    monkeypatch.setattr(Clock, "refits", refused)
    monkeypatch.setattr(selection, "MOST_ROUNDS", 30)
    for learner in (BoostingLearner, CountingLearner, NetworkLearner):
        monkeypatch.setattr(learner, "fit_all", fit_all)

    def model(codes):
        return 1.0 * (np.sum((codes[:, :-1] == 0) & (codes[:, 1:] == 1), axis=1) % 2) + (codes[:, 3] == 1)

    evaluator = ss.Evaluator(model, inputs="codes", check=False)
    sketch = ss.sketch(evaluator, ss.SequenceSpace("AB", 12), budget=300, progress=False)
    fitted = {part.name for part in sketch.predictor.parts} - {"regress"}
    assert fitted
    for name in fitted:
        assert f"{name} with all queries" in sketch.status
    assert "left out to save time: " in sketch.status
