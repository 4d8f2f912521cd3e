"""Letter patterns, runs and candidates: what a sketch lists about itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shapsketch.space import numbered
from shapsketch.surrogate.runs import Run


@dataclass(frozen=True)
class Pattern:
    """A letter pattern, symbols at fixed positions, or runs of related positions: one term of a sketch.

    ``str(pattern)`` gives it in words, such as ``"T at 4, G at 5: +1.5 ± 0.02"``.

    Attributes
    ----------
    support : tuple of int
        Positions, ascending, from 0.
    letters : str
        The symbol at each of these positions. For a pattern with runs, the symbols that it has besides, in
        words, such as "A or G at 5"; empty if there are none.
    coefficient : float
        Amount that the score of a sequence with this pattern gains, on the scale of the sketch.
    stderr : float
        Standard error of the coefficient; NaN if it is unknown.
    runs : tuple of Run
        Stems, repeats and other runs, empty for symbols alone. ``str(run)`` gives each in words, such as
        "positions 3-6 pair with 14-17".
    start : int
        Number of the first position, from which ``str``, and `letters` of a pattern with runs, count.
    """

    support: tuple[int, ...]
    letters: str
    coefficient: float
    stderr: float
    runs: tuple[Run, ...] = ()
    start: int = 0

    def __str__(self) -> str:
        if self.runs:
            words = "; ".join(filter(None, [*map(str, self.runs), self.letters]))
        else:
            positions = numbered(self.support, self.start)
            words = ", ".join(f"{a} at {i}" for a, i in zip(self.letters, positions, strict=True))
        known = "" if math.isnan(self.stderr) else f" ± {self.stderr:.2g}"
        return f"{words}: {self.coefficient:+.4g}{known}"


@dataclass(frozen=True)
class Candidate:
    """A method that was compared with others on the queries.

    Attributes
    ----------
    name : str
        Name of the method, with its options.
    r2 : float
        R² on held-out queries.
    seconds : float or None
        Running time, the choice of its options included. None for a loaded sketch: files do not contain
        times, so that the same run gives the same file.
    weight : float
        Its weight in the sketch; 0 if the sketch does not use it.
    """

    name: str
    r2: float
    seconds: float | None
    weight: float
