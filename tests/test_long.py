"""Long sequences: networks with windows, and what the default effort leaves out."""

import pickle

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting import comparison, effort, long
from shapsketch.fitting.effort import LONG_THOROUGH, Clock, NetworkSize
from shapsketch.fitting.final import Data
from shapsketch.fitting.holdout import Labelled
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.task import TINY

LENGTH = 120
# Before they are shortened for tests.
LONG_STANDARD = effort.LONG_STANDARD
SPACE = ss.SequenceSpace(ss.DNA, LENGTH)
MOTIF = (2, 0, 3, 1, 0, 2)


def scan(codes):
    """Return the best match of a motif, plus an effect of position 7."""
    matches = sum(codes[:, j : LENGTH - len(MOTIF) + 1 + j] == symbol for j, symbol in enumerate(MOTIF))
    return matches.max(axis=1) + 0.5 * codes[:, 7]


def test_networks_without_windows_are_those_of_earlier_versions():
    codes = np.random.default_rng(1).integers(0, 4, (200, LENGTH), dtype=np.uint8)
    options = {"members": 1, "channels": 4, "hidden": 4, "epochs": 1, "rate": 1e-3, "decay": 0.1, "seed": 0}
    plain = _core.Networks.train(SPACE._core, codes, scan(codes), None, **options)
    again = _core.Networks(
        SPACE._core, plain.parameters, channels=4, hidden=4, centre=plain.standard[0], scale=plain.standard[1]
    )
    assert plain.pool == again.pool == 1
    np.testing.assert_array_equal(plain.predict(codes), again.predict(codes))
    for pool in (0, LENGTH + 1):
        with pytest.raises(ss.InputError, match="pool"):
            _core.Networks.train(SPACE._core, codes, scan(codes), None, **options, pool=pool)


class Rows:
    """Data of some length."""

    def __init__(self, n, *, near=False, uniform=True, count=5_000):
        self.space, self.near, self.uniform, self.ordered = ss.SequenceSpace(ss.DNA, n), near, uniform, True
        self.rows = Labelled(
            np.random.default_rng(0).integers(0, 4, (count, n), dtype=np.uint8), np.zeros(count)
        )


def test_windows_are_for_long_sequences_that_are_not_near_one():
    assert [long.pool_of(Rows(n)) for n in (1, 50, 100, 101, 200, 1_000, 4_096)] == [1, 1, 1, 3, 4, 20, 82]
    assert long.pool_of(Rows(200, near=True)) == 1


def test_the_time_of_networks_with_windows_grows_slowly_with_the_length(monkeypatch):
    def seconds(n):
        space = ss.SequenceSpace(ss.DNA, n)
        return NetworkSize(1, 32, 1, pool=long.pool_of(Rows(n))).seconds(space, 5_000)

    assert seconds(200) < 2 * seconds(50)
    assert seconds(2_000) < 10 * seconds(200)
    monkeypatch.setattr(effort, "LONG_STANDARD", LONG_STANDARD)
    space = ss.SequenceSpace(ss.DNA, 200)
    assert Clock("thorough", 0.0).networks(space, 5_000, pool=4) == NetworkSize(
        LONG_THOROUGH.members, LONG_THOROUGH.channels, LONG_THOROUGH.epochs, 4
    )
    size = Clock("standard", 0.0).networks(space, 2_000, pool=4)
    assert size is not None
    assert (size.members, size.channels, size.epochs, size.pool) == (
        LONG_STANDARD[0].members,
        LONG_STANDARD[0].channels,
        LONG_STANDARD[0].epochs,
        4,
    )


def test_regressions_that_take_too_long_come_after_networks(monkeypatch):
    monkeypatch.setattr(effort, "LEAST_SECONDS", 30.0)
    options = FitOptions("auto", None, None, "codes", "standard", 0)
    for data, name, is_late in [
        (Rows(200), "standard", True),
        (Rows(1_000), "standard", True),
        (Rows(200), "thorough", False),
        (Rows(100), "standard", False),
        (Rows(200, uniform=False), "standard", False),
        (Rows(200, count=500), "standard", False),
    ]:
        clock = Clock(name, 0.0)
        assert (long.late_regression(data, options, clock) is not None) == is_late
        assert clock.left_out == (["interactions in the regression"] if is_late else [])
    assert long.late_regression(Rows(200), options, Clock("standard", 1_000.0)) is None


def test_networks_find_motifs_of_long_sequences_before_the_regression(monkeypatch, tmp_path):
    monkeypatch.setattr(effort, "LONG_STANDARD", (NetworkSize(1, 16, 8),))
    monkeypatch.setattr(long, "REGRESSION_SECONDS", 1e9)
    monkeypatch.setattr(comparison, "TREE_SECONDS", 1e9)
    monkeypatch.setattr(Clock, "student_seconds", lambda self, *, small: 0.0)
    sketch = ss.sketch(scan, SPACE, budget=1_000, inputs="codes", random_state=0, progress=False)
    assert [c.name for c in sketch.candidates][:2] == ["networks", "regress"]
    assert "left out to save time: interactions in the regression, trees" in sketch.status
    codes = np.random.default_rng(1).integers(0, 4, (400, LENGTH), dtype=np.uint8)
    # Position 7 is the only one with an effect of its own.
    effects = ss.Explainer(sketch, of="closed form")(codes[:50]).values
    assert np.abs(effects).sum(axis=0).argmax() == 7
    predictions, values = sketch.predictor.predict(codes), scan(codes)
    assert ((values - predictions) ** 2).sum() < 0.15 * ((values - values.mean()) ** 2).sum()
    path = tmp_path / "a.safetensors"
    sketch.save(path)
    assert b"pool" in path.read_bytes()
    for other in (ss.load(path), pickle.loads(pickle.dumps(sketch))):
        np.testing.assert_array_equal(other.predictor.predict(codes), predictions)


def test_queries_of_huge_spaces_are_uniform():
    space = ss.SequenceSpace(ss.DNA, 1_000)
    rows = Labelled(np.zeros((3, 1_000), dtype=np.uint8), np.arange(3.0))
    assert Data(space, rows, 3, TINY).uniform
    assert 3 / space.size == 0.0
