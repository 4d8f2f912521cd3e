"""How much of our own time a fit may take, and what is left out if it does not suffice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from shapsketch import _core
from shapsketch.space import SequenceSpace

Effort = Literal["quick", "standard", "thorough"]
EFFORTS: tuple[Effort, ...] = ("quick", "standard", "thorough")
# The learner that trains networks.
NETWORKS = "networks"
# By default the time of the model, but at least this many seconds, may be spent on a fit.
LEAST_SECONDS = 30.0
# Fraction of that time after which the regression ends. On an idle machine it hardly ever takes so long.
# Near one sequence it is shorter, because networks and curves of mutations predict better there.
REGRESSION_SHARE, REGRESSION_SHARE_NEAR = 0.5, 0.2
# The outcome of a regression that ended early.
TIME_LIMIT = "time limit"
# Fractions of that time after which no long learner ends, no networks that are trained once, and no boosting.
# The rest is for students, and for the chosen candidates with all queries.
COMPARISON_SHARE, NETWORKS_END, LEARNERS_END = 0.65, 0.7, 0.9
# Fraction of that time that students take, at most. If less than the second fraction is left, there are none;
# in small spaces, where students are fast, the third one.
STUDENT_SHARE, LEAST_STUDENT_SHARE, SMALL_STUDENT_SHARE = 0.2, 0.08, 0.03
# The least fraction of the queries for a learner that does not fit with all of them.
LEAST_SHARE = 0.25
# Students may take longer than their share, so other learners leave free this multiple of it.
STUDENT_MARGIN = 1.4
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
# The same for each channel of the first convolution of networks with windows.
WINDOW_SECONDS = 1.5e-9
# Bounds of the number of sequences on which the speed is measured.
MEASURED_ROWS = (200, 20_000)


@dataclass(frozen=True)
class NetworkSize:
    """How many networks are trained, and how large they are.

    Attributes
    ----------
    members, channels, epochs : int
    pool : int
        Positions of a window; 1 without windows.
    """

    members: int
    channels: int
    epochs: int
    pool: int = 1

    def seconds(self, space: SequenceSpace, count: int) -> float:
        """Return the estimated seconds of one core for the training on `count` sequences."""
        square, each = POSITION_SECONDS
        position = square * self.channels**2 + each * self.channels
        rows = -(-space.n // self.pool)
        first = WINDOW_SECONDS * self.channels * space.n if self.pool > 1 else 0.0
        return self.members * self.epochs * count * (rows * position + first)


# The networks that measure the speed of the machine, and the smallest ones, for one epoch.
MEASURED, SMALLEST = NetworkSize(1, 64, 1), NetworkSize(1, 32, 1)
# The networks of a thorough fit.
THOROUGH = NetworkSize(4, 64, 30)
# Smaller ones: the first that fit into the time are trained, without the held-out queries and on all.
STANDARD: tuple[NetworkSize, ...] = (NetworkSize(3, 64, 30), NetworkSize(2, 64, 20), NetworkSize(2, 32, 20))
# The same for networks with windows. More channels are slower, and no better.
LONG_THOROUGH = NetworkSize(4, 32, 24)
LONG_STANDARD: tuple[NetworkSize, ...] = (
    NetworkSize(3, 32, 20),
    NetworkSize(2, 32, 16),
    NetworkSize(1, 32, 12),
)
# If none of them fit, networks may be trained only once, with as many epochs as fit, within these bounds. If
# so many fit in each of two networks, there are two.
ONCE_EPOCHS = (10, 30)
TWO_EPOCHS = 20
# Fewest epochs of networks with windows, whose first filters are near a solution.
LONG_LEAST_EPOCHS = 6
# Networks that are trained once have four fifths of the queries.
ONCE_FRACTION = 0.8


@dataclass
class Clock:
    """The time that a fit may take.

    Attributes
    ----------
    effort : {"quick", "standard", "thorough"}
    model_seconds : float
        How long the evaluation of the model took.
    near : bool
        Whether the queries are near one sequence.
    left_out : list of str
        Steps that were left out, because they did not fit.
    slowness : float
        Measured time relative to the estimates for idle cores.
    reserved : float
        Seconds for the fit of one learner to all queries, from which the best predictor profits most.
    taught : bool
        Whether there is a teacher that is worth students, so that they have a share of the time.
    """

    effort: Effort
    model_seconds: float
    near: bool = False
    left_out: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    slowness: float = 1.0
    reserved: float = 0.0
    taught: bool = False
    _once: bool = False
    _reserved_for: str = NETWORKS

    @property
    def allowed(self) -> float:
        """The seconds that the fit may take in all; the other efforts depend on the seed alone."""
        return max(LEAST_SECONDS, self.model_seconds) if self.effort == "standard" else float("inf")

    @property
    def elapsed(self) -> float:
        """The seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def regression_seconds(self) -> float | None:
        """The seconds of the regression; None for no limit."""
        share = REGRESSION_SHARE_NEAR if self.near else REGRESSION_SHARE
        return share * self.allowed if self.effort == "standard" else None

    def regressed(self, core: _core.Sketch) -> None:
        """Remember that a regression ended early, if that is its outcome."""
        assert core.info is not None
        if core.info.status.outcome == TIME_LIMIT:
            self.left_out.append("steps of the regression")

    @property
    def learners_end(self) -> float:
        """When learners that can be stopped must end, on the scale of ``time.perf_counter``."""
        return self.started + LEARNERS_END * self.allowed

    def fits(self, step: str, seconds: float) -> bool:
        """Return whether a step of the comparison fits; if not, remember that it was left out.

        `seconds` is an estimate for idle cores. Such a step uses one core most of the time, so other programs
        slow it down less than networks, which use all cores.
        """
        if self.effort != "standard":
            return True
        cost = max(1.0, self.slowness) ** 0.5 * seconds
        later = self.reserved + (STUDENT_MARGIN * STUDENT_SHARE * self.allowed if self.taught else 0.0)
        left = self._last - later - self.elapsed
        # A short step may also begin late.
        fits = bool(
            cost <= left and (self.elapsed + cost <= COMPARISON_SHARE * self.allowed or 2.0 * cost <= left)
        )
        if not fits:
            self.left_out.append(step)
        return fits

    def share(self, step: str, seconds: float) -> float:
        """Return the fraction of the queries with which the first and most promising step fits; 0 if too few.

        `seconds` is an estimate for idle cores and all queries. Such a step may take all that is left.
        """
        if self.effort != "standard":
            return 1.0
        cost = max(1.0, self.slowness) ** 0.5 * seconds
        share = float(np.clip((self._last - self.elapsed) / cost, 0.0, 1.0)) if cost > 0.0 else 1.0
        if share < LEAST_SHARE:
            self.left_out.append(step)
            return 0.0
        if share < 1.0:
            self.left_out.append(f"some queries for {step}")
        return share

    def reserve(self, seconds: float, step: str = NETWORKS) -> None:
        """Reserve time for a fit to all queries; without the held-out ones it took `seconds`.

        Networks that are trained only once need none.
        """
        self._reserved_for = step
        self.reserved = 0.0 if self._once and step == NETWORKS else REFIT_SLOWER * seconds

    @property
    def _last(self) -> float:
        """When the last fit must have ended, in seconds after the start."""
        return (1.0 - SPARE_SHARE) * self.allowed

    def refits(self, step: str, seconds: float) -> bool:
        """Return whether a fit to all queries fits; if not, remember that it was left out.

        `seconds` is the measured time of the same fit without the held-out queries. Time that is reserved
        for a step is kept until it is fitted; students may use it, because they need such a step.
        """
        if self.effort != "standard":
            return True
        own = step in (self._reserved_for, "students")
        later = 0.0 if own else self.reserved
        fits = self.elapsed + REFIT_SLOWER * seconds <= self._last - later
        if fits and own:
            self.reserved = 0.0
        if not fits:
            self.left_out.append(f"{step} with all queries")
        return fits

    @property
    def student_share(self) -> float:
        """The seconds of the students of ``method="distill"``."""
        return STUDENT_SHARE * (LEAST_SECONDS if self.effort == "quick" else self.allowed)

    def student_seconds(self, *, small: bool = False) -> float:
        """Return the seconds for students; 0 if too little is left. In `small` spaces they need little."""
        if self.effort != "standard":
            return float("inf")
        least = (SMALL_STUDENT_SHARE if small else LEAST_STUDENT_SHARE) * self.allowed
        left = self._last - self.elapsed
        if left - self.reserved < least:
            # A better closed form is worth more than a better predictor.
            self.reserved = 0.0
        seconds = min(STUDENT_SHARE * self.allowed, left - self.reserved)
        return seconds if seconds >= least else 0.0

    def measure(
        self, space: SequenceSpace, count: int, train: Callable[[int], object], *, pool: int = 1
    ) -> None:
        """Measure how fast networks of the size `MEASURED` train, for data of `count` sequences.

        ``train(rows)`` trains them for one epoch on that many sequences.
        """
        if self.effort != "standard" or count * space.n <= MEASURED_SYMBOLS:
            return
        size = replace(MEASURED, pool=pool)
        rows = int(np.clip(MEASUREMENT / size.seconds(space, 1), *MEASURED_ROWS))
        started = time.perf_counter()
        train(rows)
        seconds = time.perf_counter() - started
        self.slowness = float(np.clip(seconds * CORES / size.seconds(space, rows), *SLOWNESS))

    def networks(
        self, space: SequenceSpace, count: int, *, required: bool = False, pool: int = 1
    ) -> NetworkSize | None:
        """Return the size of the networks that fit; if none do, None, or the smallest if one is required."""
        thorough, sizes = (THOROUGH, STANDARD) if pool == 1 else (LONG_THOROUGH, LONG_STANDARD)
        if self.effort != "standard":
            return replace(thorough if self.effort == "thorough" else sizes[-1], pool=pool)
        if self.near and pool == 1:
            # Near one sequence, networks with few channels miss motifs.
            sizes = tuple(size for size in sizes if size.channels == thorough.channels)
        elapsed, allowed = self.elapsed, self.allowed
        for size in [replace(size, pool=pool) for size in sizes]:
            total = 2.0 * self.slowness * size.seconds(space, count) / CORES
            left = self._last - self.reserved - elapsed
            # Short trainings may also begin late.
            if total <= NETWORK_SHARE * allowed and total <= max(left - STUDENT_SHARE * allowed, left / 2.0):
                return size
        self._once = True
        smallest = replace(SMALLEST, pool=pool)
        epochs = self._epochs(smallest, space, count)
        if self.near and pool == 1:
            wide = replace(smallest, channels=thorough.channels)
            fewer = self._epochs(wide, space, count)
            if fewer >= TWO_EPOCHS:
                smallest, epochs = wide, fewer
        members = 2 if epochs >= 2 * TWO_EPOCHS else 1
        size = replace(smallest, members=members, epochs=min(epochs // members, ONCE_EPOCHS[1]))
        least = ONCE_EPOCHS[0] if pool == 1 else LONG_LEAST_EPOCHS
        if size.epochs >= least:
            return size
        if required:
            return replace(smallest, epochs=least)
        self.left_out.append(NETWORKS)
        return None

    def _epochs(self, size: NetworkSize, space: SequenceSpace, count: int) -> int:
        """Return how many epochs fit, if networks are trained once."""
        epoch = ONCE_FRACTION * self.slowness * size.seconds(space, count) / CORES
        return int(max(0.0, NETWORKS_END * self.allowed - self.reserved - self.elapsed) / epoch)
