"""The stages of a sketch, named and counted, and the steps of each: shown in a bar, or logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shapsketch.evaluate.progress import Progress, duration, progress_log, shows_bars

if TYPE_CHECKING:
    from shapsketch.fitting.options import FitOptions

logger = logging.getLogger(__name__)

# Reports the next step of a stage.
Log = Callable[[str], None]
EVALUATION, PEELING, REGRESSION, STUDENTS = "evaluation", "peeling", "regression", "students"
ALL_QUERIES = "fit to all queries"
LATENT = "latent scale"
# Stages of learners, by their names; others have the name of their learner.
LEARNERS = {
    "regress": REGRESSION,
    "trees": "boosted trees",
    "trees (refit)": "regression on the supports of trees",
    "trees (counts)": "trees with counts",
}


class Stages:
    """The stages of a sketch: which one is running, and how many there are.

    Stages may be left out, so numbers may be skipped.

    Parameters
    ----------
    progress : bool or callable
        If it is True, stages are shown in a bar, or in the log of progress if there is no terminal.
    names : sequence of str
        All stages, in order.
    of : str
        Precedes the stage, such as ``"output a"``; may be empty.
    """

    def __init__(self, progress: Progress, names: Sequence[str], of: str = "") -> None:
        self._shown, self._names, self._of = progress is True, list(names), of
        self._bar: Any = None
        self._started = time.monotonic()
        self.label = ""

    def of(self, part: str) -> Stages:
        """Return the same stages of a part, such as an output; the time goes on."""
        stages = Stages(self._shown, self._names, part) if part else self
        stages._started = self._started
        return stages

    def begin(self, name: str) -> None:
        """Begin a stage."""
        if name not in self._names:
            self._names.append(name)
        number = f"stage {self._names.index(name) + 1} of {len(self._names)}"
        self.label = f"{self._of}, {number}" if self._of else number
        # A single stage needs no number, and says nothing that was not asked for.
        log = progress_log if self._shown and len(self._names) > 1 and not shows_bars() else logger
        log.info("%s, after %s: %s", self.label, duration(time.monotonic() - self._started), name)
        self._show(name)

    def begin_learner(self, name: str) -> None:
        """Begin the stage of a learner."""
        self.begin(LEARNERS.get(name, name))

    def step(self, step: str) -> None:
        """Report a step of the stage."""
        logger.info("%s", step)
        self._show(step)

    def _show(self, text: str) -> None:
        if self._bar is not None:
            self._bar.set_description_str(f"{self.label}: {text}")

    @contextmanager
    def bar(self) -> Iterator[None]:
        """Show stages, and the time since the start, in a bar."""
        if not (self._shown and shows_bars()):
            yield
            return
        from tqdm.auto import tqdm

        with tqdm(desc=self.label, bar_format="{desc} [{elapsed}]") as self._bar:
            yield
        self._bar = None


def stages_of(options: FitOptions, *, peels: bool, ordered: bool, near: bool) -> list[str]:
    """Return the stages that a fit may have, in order.

    Parameters
    ----------
    options : FitOptions
    peels : bool
        Whether the queries have a design.
    ordered : bool
        Whether the order of positions means something.
    near : bool
        Whether the sequences may be near one sequence.
    """
    method, quick = options.method, options.effort == "quick"
    stages = [PEELING] if peels and method == "auto" else []
    if method == "auto" or not ordered:
        stages.append(REGRESSION)
    if method == "auto" and quick and ordered:
        return stages
    if not ordered:
        trees = [] if quick else [LEARNERS["trees"], LEARNERS["trees (refit)"]]
        return [*stages, *trees, ALL_QUERIES]
    if near and method != "trees" and options.teacher is None:
        stages.append("global epistasis")
    if method != "trees" and options.teacher is None:
        stages.append("networks")
    if method != "distill":
        stages.append(LEARNERS["trees"])
    if method != "trees":
        stages += [LEARNERS["trees (counts)"] if options.teacher is None else "teacher", STUDENTS]
    return [*stages, ALL_QUERIES]
