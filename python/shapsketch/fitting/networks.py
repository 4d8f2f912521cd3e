"""Convolutional networks, trained in the core."""

from __future__ import annotations

from shapsketch import _core
from shapsketch.fitting.effort import NetworkSize
from shapsketch.fitting.holdout import Labelled
from shapsketch.space import SequenceSpace

# Width of the dense layers.
HIDDEN = 64
# Highest rate of the one-cycle schedule, and decay of the parameters relative to the rate.
RATE = 5e-3
DECAY = 0.1


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
    )
