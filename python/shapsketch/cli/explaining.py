"""Options of the commands that explain: the background, and what is explained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch.cli.distribution import background_of, file_of
from shapsketch.cli.options import OF, SEED, grouped
from shapsketch.explain.explainer import Explainer
from shapsketch.surrogate.sketch import warn_if_low


@dataclass(frozen=True)
class Explaining:
    """The background, what is explained, and how precisely."""

    background: str | None
    of: Any
    precision: float
    seed: int

    @property
    def file(self) -> Path | None:
        """The file of the background, which is an input."""
        return file_of(self.background)

    def explainer(self, sketch: ss.Sketch) -> Explainer:
        """Return the explainer of a sketch; log a warning if it explains a closed form of low R²."""
        chosen = background_of(self.background, sketch.space, self.seed)
        explainer = Explainer(
            sketch, chosen, of=self.of, precision=self.precision, random_state=self.seed, progress=False
        )
        if explainer.of == "closed form":
            warn_if_low(sketch)
        return explainer


BACKGROUND = click.option(
    "--background",
    default=None,
    metavar="uniform|SEQUENCE|@FILE|PROBABILITIES.csv|shuffles[:COUNT]",
    help="The distribution of a missing position; by default that of the sketch, which is uniform, or its "
    "wild type. A table of probabilities has one column per symbol and "
    "one row per position, or one row for all positions.",
)
EXPLAINING = grouped(
    "explaining",
    Explaining,
    BACKGROUND,
    OF,
    click.option(
        "--precision",
        type=click.FloatRange(min=0.0, min_open=True),
        default=0.03,
        show_default=True,
        help="Standard error of sampled values, relative to their root mean square.",
    ),
    SEED,
)
