"""The command `info`, and a sketch as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch.cli.options import JSON, SKETCH, VERBOSE, dump


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def described(made: ss.Sketch, path: Path) -> dict[str, Any]:
    """Return what is known of a sketch, for JSON."""
    interval = made.r2_interval
    return {
        "sketch": str(path),
        "alphabet": made.space.alphabet,
        "length": made.space.n,
        "method": made.method,
        "status": made.status,
        "queries": made.n_queries,
        "r2": _number(made.r2),
        "r2_interval": None if interval is None else [_number(bound) for bound in interval],
        "response_r2": _number(made.response_r2),
        "link": made.link,
        "terms": made.n_terms,
        "candidates": [
            {"name": c.name, "r2": _number(c.r2), "seconds": c.seconds, "weight": c.weight}
            for c in made.candidates
        ],
        "shapsketch": ss.__version__,
    }


@click.command()
@SKETCH
@JSON
@VERBOSE
def info(sketch: Path, as_json: bool) -> None:
    """Say what a sketch is, and how well it predicts."""
    made = ss.load(sketch)
    if as_json:
        dump(described(made, sketch))
    else:
        click.echo(made.summary())
