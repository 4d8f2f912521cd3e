"""Convolutional networks, trained in the core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shapsketch import _core
from shapsketch.fitting.effort import MEASURED, Clock, NetworkSize
from shapsketch.fitting.holdout import Labelled
from shapsketch.space import SequenceSpace

# Width of the dense layers.
HIDDEN = 64
# Highest rate of the one-cycle schedule, and decay of the parameters relative to the rate.
RATE = 5e-3
DECAY = 0.1
# Largest fraction by which networks of all sequences near one sequence have a smaller error than those of
# four fifths. With 2,000 sequences of a deep scan of two motifs, it was 0.54 and 0.56.
REFIT_GAIN_NEAR = 0.6


def train(space: SequenceSpace, data: Labelled, size: NetworkSize, seed: int) -> _core.Networks:
    """Train networks on sequences and values."""
    return _core.Networks.train(
        space._core,
        data.codes,
        data.values,
        data.weights,
        members=size.members,
        channels=size.channels,
        hidden=HIDDEN,
        epochs=size.epochs,
        rate=RATE,
        decay=DECAY,
        seed=seed,
        pool=size.pool,
    )


def measure(clock: Clock, space: SequenceSpace, count: int, *, pool: int = 1) -> None:
    """Measure how fast this machine trains networks on random values, for data of `count` sequences."""

    def train_some(rows: int) -> None:
        rng = np.random.default_rng(0)
        size = replace(MEASURED, pool=pool)
        train(space, Labelled(space._random(rng, rows), rng.normal(size=rows)), size, seed=0)

    clock.measure(space, count, train_some, pool=pool)
