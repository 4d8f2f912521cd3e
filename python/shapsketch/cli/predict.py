"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch.cli.options import (
    FLOAT32,
    READING,
    SEQS,
    SKETCH,
    VERBOSE,
    Reading,
    TableOutput,
    loaded,
    refuse,
    table_output,
)
from shapsketch.cli.streaming import LONG, RowSource, stream
from shapsketch.files.write import TABLES
from shapsketch.space import Codes
from shapsketch.surrogate.sketch import warn_if_low


@click.command()
@SKETCH
@SEQS
@table_output("The table: one row per sequence.")
@FLOAT32
@READING
@VERBOSE
def predict(sketch: Path, seqs: Path, target: TableOutput, float32: bool, reading: Reading) -> None:
    """Predict the scores of the sequences of a file, on the scale of the sketch.

    The columns are name and score; the score is that of the closed form, which the other commands explain. If
    the sketch has a predictor, the column predictor has its scores, which are closer to the model; with
    --link monotone they are on the scale of the model, and score is latent.
    """
    refuse(target.force, target.output, formats=TABLES, chosen=target.output_format, sources=(sketch, seqs))
    opened = loaded(sketch)
    warn_if_low(opened)
    predictor, number = opened.predictor, "float32" if float32 else "float64"
    columns = {"name": "string", "score": number}
    if predictor is not None:
        columns["predictor"] = number

    def rows(names: list[str], codes: Codes) -> dict[str, Any]:
        scores: dict[str, Any] = {"name": names, "score": opened.predict(codes)}
        if predictor is not None:
            scores["predictor"] = predictor.predict(codes)
        return scores

    metadata = {"shapsketch": ss.__version__, "sketch": str(sketch), "link": opened.link}
    stream(
        reading.reader(seqs, opened.space), RowSource(columns, rows, LONG // opened.space.n, metadata), target
    )
