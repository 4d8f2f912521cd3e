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
    the sketch has a predictor, the column predictor has its scores, which are closer to the model.
    """
    refuse(target.force, target.output, formats=TABLES, chosen=target.output_format, sources=(sketch, seqs))
    loaded = ss.load(sketch)
    warn_if_low(loaded)
    predictor, number = loaded.predictor, "float32" if float32 else "float64"
    columns = {"name": "string", "score": number}
    if predictor is not None:
        columns["predictor"] = number

    def rows(names: list[str], codes: Codes) -> dict[str, Any]:
        scores: dict[str, Any] = {"name": names, "score": loaded.predict(codes)}
        if predictor is not None:
            scores["predictor"] = predictor.predict(codes)
        return scores

    metadata = {"shapsketch": ss.__version__, "sketch": str(sketch), "link": loaded.link}
    stream(
        reading.reader(seqs, loaded.space), RowSource(columns, rows, LONG // loaded.space.n, metadata), target
    )
