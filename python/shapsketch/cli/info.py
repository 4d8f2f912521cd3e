"""The command `info`, and a sketch as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch.cli.options import JSON, SKETCH, VERBOSE, loaded, print_json


def finite(value: float | None) -> float | None:
    """Return a number for JSON; None if it is not finite."""
    return None if value is None or not np.isfinite(value) else float(value)


def report_of(sketch: ss.Sketch, path: Path) -> dict[str, Any]:
    """Return what is known about a sketch, for JSON; numbers that are not finite are null."""
    interval, predictor = sketch.r2_interval, sketch.predictor
    return {
        "sketch": str(path),
        "alphabet": sketch.space.alphabet,
        "length": sketch.space.n,
        "letters": sketch.space.letters if sketch.space.varies else None,
        "start": sketch.space.start,
        "method": sketch.method,
        "status": sketch.status,
        "queries": sketch.n_queries,
        "distribution": sketch.distribution,
        "r2": finite(sketch.r2),
        "r2_interval": None if interval is None else [finite(bound) for bound in interval],
        "response_r2": finite(sketch.response_r2),
        "link": sketch.link,
        "terms": sketch.n_terms,
        "unverified": sketch.unverified,
        "candidates": [
            {"name": c.name, "r2": finite(c.r2), "seconds": c.seconds, "weight": c.weight}
            for c in sketch.candidates
        ],
        "predictor": None
        if predictor is None
        else {
            "r2": finite(predictor.r2),
            "r2_interval": [finite(bound) for bound in predictor.r2_interval],
            "parts": [
                {"name": p.name, "kind": p.kind, "r2": finite(p.r2), "weight": p.weight}
                for p in predictor.parts
            ],
        },
        "shapsketch": ss.__version__,
    }


@click.command()
@SKETCH
@JSON
@VERBOSE
def info(sketch: Path, as_json: bool) -> None:
    """Report what a sketch is and how well it predicts."""
    opened = loaded(sketch)
    if as_json:
        print_json(report_of(opened, sketch))
    else:
        click.echo(opened.summary())
