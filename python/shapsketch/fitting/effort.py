"""How much of our own time a fit may take, and what is left out if it does not suffice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from shapsketch.space import SequenceSpace

Effort = Literal["quick", "standard", "thorough"]
EFFORTS: tuple[Effort, ...] = ("quick", "standard", "thorough")
# By default the time of the model, but at least this many seconds, may be spent on a fit.
LEAST_SECONDS = 30.0
# Fractions of that time after which no learner begins, and no networks end. The rest is for students, and for
# the chosen candidates with all queries.
COMPARISON_SHARE, NETWORKS_END = 0.65, 0.8
# Fraction of that time that students take, at most. If less than the second fraction is left, there are none.
STUDENT_SHARE, LEAST_STUDENT_SHARE = 0.2, 0.08
# Fraction of that time that is kept free when candidates are fitted to all queries.
SPARE_SHARE = 0.05
# Fraction of that time for networks: those without the held-out queries, and those of all queries.
NETWORK_SHARE = 0.5
# A fit to all queries takes longer than one without the held-out ones, by at most this factor.
REFIT_SLOWER = 1.25
# Cores that estimates assume; the measured speed corrects it.
CORES = 2
# The speed of the machine is measured if the data have more symbols than this: less data are fast anyway.
MEASURED_SYMBOLS = 50_000
# Estimated seconds of one core of that measurement, and bounds of the measured factor.
MEASUREMENT = 0.1
SLOWNESS = (0.5, 8.0)
# Seconds of one core for one position of one sequence in one epoch of training: for the square of the number
# of channels (the products of matrices), and for each channel.
POSITION_SECONDS = (0.72e-9, 5e-9)
# Bounds of the number of sequences on which the speed is measured.
MEASURED_ROWS = (200, 20_000)


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


# The networks that measure the speed of the machine.
SMALLEST = NetworkSize(1, 32, 1)
# The networks of a thorough fit.
THOROUGH = NetworkSize(4, 64, 30)
# Smaller ones: the first that fit into the time are trained. Those of the first list are trained twice:
# without the held-out queries, and on all. If none of them fit, those of the second list may be trained only
# once; some have more epochs, because these data are large.
STANDARD = (NetworkSize(3, 64, 30), NetworkSize(2, 64, 20), NetworkSize(2, 32, 20))
ONCE = (NetworkSize(2, 32, 20), NetworkSize(1, 32, 30), NetworkSize(1, 32, 15))


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
    slowness : float
        Measured time relative to the estimates for idle cores.
    """

    effort: Effort
    model_seconds: float
    left_out: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    slowness: float = 1.0

    @property
    def allowed(self) -> float:
        """The seconds that the fit may take in all."""
        return float("inf") if self.effort == "thorough" else max(LEAST_SECONDS, self.model_seconds)

    @property
    def elapsed(self) -> float:
        """The seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def learners_end(self) -> float:
        """When learners that can be stopped must end, on the scale of ``time.perf_counter``."""
        return self.started + COMPARISON_SHARE * self.allowed

    def fits(self, step: str, seconds: float) -> bool:
        """Return whether a step of the comparison fits; if not, remember that it was left out.

        `seconds` is an estimate for idle cores. Such a step uses one core most of the time, so other programs
        slow it down less than networks, which use all cores.
        """
        fits = self.elapsed + max(1.0, self.slowness) ** 0.5 * seconds <= COMPARISON_SHARE * self.allowed
        if not fits:
            self.left_out.append(step)
        return fits

    def refits(self, step: str, seconds: float) -> bool:
        """Return whether a fit to all queries fits; if not, remember that it was left out.

        `seconds` is the measured time of the same fit without the held-out queries.
        """
        fits = self.elapsed + REFIT_SLOWER * seconds <= (1.0 - SPARE_SHARE) * self.allowed
        if not fits:
            self.left_out.append(f"{step} with all queries")
        return fits

    def student_seconds(self) -> float:
        """Return the seconds for students; 0 if too little time is left."""
        if self.effort == "thorough":
            return float("inf")
        seconds = min(STUDENT_SHARE * self.allowed, (1.0 - SPARE_SHARE) * self.allowed - self.elapsed)
        return seconds if seconds >= LEAST_STUDENT_SHARE * self.allowed else 0.0

    def measure(self, space: SequenceSpace, count: int, train: Callable[[int], object]) -> None:
        """Measure how fast networks of the smallest size train, for `count` sequences.

        ``train(rows)`` trains them for one epoch on that many sequences.
        """
        if self.effort != "standard" or count * space.n <= MEASURED_SYMBOLS:
            return
        rows = int(np.clip(MEASUREMENT / SMALLEST.seconds(space, 1), *MEASURED_ROWS))
        started = time.perf_counter()
        train(rows)
        seconds = time.perf_counter() - started
        self.slowness = float(np.clip(seconds * CORES / SMALLEST.seconds(space, rows), *SLOWNESS))

    def networks(self, space: SequenceSpace, count: int, *, required: bool = False) -> NetworkSize | None:
        """Return the size of the networks that fit; if none do, None, or the smallest if one is required."""
        if self.effort == "thorough":
            return THOROUGH
        elapsed, allowed = self.elapsed, self.allowed
        for twice, sizes in ((True, STANDARD), (False, ONCE)):
            for size in sizes:
                seconds = self.slowness * size.seconds(space, count) / CORES
                total = 2.0 * seconds if twice else seconds
                end = allowed * (1.0 - STUDENT_SHARE if twice else NETWORKS_END)
                if total <= NETWORK_SHARE * allowed and elapsed + total <= end:
                    return size
        if required:
            return ONCE[-1]
        self.left_out.append("networks")
        return None
