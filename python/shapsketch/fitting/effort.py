"""How much of our own time a fit may take, and what is left out if it does not suffice."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from shapsketch.space import SequenceSpace

Effort = Literal["quick", "standard", "thorough"]
EFFORTS: tuple[Effort, ...] = ("quick", "standard", "thorough")
# By default the time of the model, but at least this many seconds, may be spent on a fit.
LEAST_SECONDS = 30.0
# Fraction of that time for the comparison of candidates; the rest is for the chosen ones, with all queries.
COMPARISON_SHARE = 0.65
# Cores that estimates assume, so that they do not depend on the machine.
CORES = 2
# Fraction of that time for networks: those without the held-out queries, and those of all queries.
NETWORK_SHARE = 0.5
# Seconds of one core for one position of one sequence in one epoch of training: for the square of the number
# of channels (the products of matrices), and for each channel.
POSITION_SECONDS = (0.72e-9, 5e-9)


@dataclass(frozen=True)
class NetworkSize:
    """How many networks are trained, and how large they are.

    Attributes
    ----------
    members, channels, epochs : int
    """

    members: int
    channels: int
    epochs: int

    def seconds(self, space: SequenceSpace, count: int) -> float:
        """Return the estimated seconds of one core for the training on `count` sequences."""
        square, each = POSITION_SECONDS
        position = square * self.channels**2 + each * self.channels
        return self.members * self.epochs * count * space.n * position


# The networks of a thorough fit, and smaller ones, of which the largest that fits into the time is trained.
THOROUGH = NetworkSize(4, 64, 30)
STANDARD = (NetworkSize(3, 64, 30), NetworkSize(2, 64, 20), NetworkSize(2, 32, 20), NetworkSize(1, 32, 15))


@dataclass
class Clock:
    """The time that a fit may take.

    Attributes
    ----------
    effort : {"quick", "standard", "thorough"}
    model_seconds : float
        How long the evaluation of the model took.
    left_out : list of str
        Steps that were left out, because they did not fit.
    """

    effort: Effort
    model_seconds: float
    left_out: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @property
    def allowed(self) -> float:
        """The seconds that the fit may take in all."""
        return float("inf") if self.effort == "thorough" else max(LEAST_SECONDS, self.model_seconds)

    def fits(self, step: str, seconds: float) -> bool:
        """Return whether a step of the comparison fits; if not, remember that it was left out."""
        fits = time.perf_counter() - self.started + seconds <= COMPARISON_SHARE * self.allowed
        if not fits:
            self.left_out.append(step)
        return fits

    def networks(self, space: SequenceSpace, count: int, *, required: bool = False) -> NetworkSize | None:
        """Return the size of the networks that fit; if none do, None, or the smallest if one is required."""
        if self.effort == "thorough":
            return THOROUGH
        for size in STANDARD:
            # They are trained twice: without the held-out queries, and on all.
            if 2 * size.seconds(space, count) / CORES <= NETWORK_SHARE * self.allowed:
                return size
        if required:
            return STANDARD[-1]
        self.left_out.append("networks")
        return None
