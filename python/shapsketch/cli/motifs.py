"""The command `motifs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch.cli.distribution import background_of, file_of
from shapsketch.cli.explaining import BACKGROUND
from shapsketch.cli.options import (
    READING,
    SKETCH,
    VERBOSE,
    Reading,
    TableOutput,
    echo,
    loaded,
    print_json,
    refuse,
    table_output,
)
from shapsketch.cli.streaming import described, read_all
from shapsketch.explain.explainer import Explainer
from shapsketch.files.write import TABLES, TableWriter
from shapsketch.surrogate.sketch import warn_if_low


@click.command()
@SKETCH
@click.argument("seqs", required=False, type=click.Path(path_type=Path))
@table_output("The table: one row per motif.")
@click.option("--count", type=click.IntRange(min=1), default=20, help="Largest number of motifs.")
@click.option("--max-order", type=click.IntRange(min=1), help="Largest number of symbols of a motif.")
@BACKGROUND
@READING
@VERBOSE
def motifs(
    sketch: Path,
    seqs: Path | None,
    target: TableOutput,
    count: int,
    max_order: int | None,
    background: str | None,
    reading: Reading,
) -> None:
    """List the motifs that carry most of the variance of the closed form.

    The columns are motif (symbols, or stems and repeats in words), from and to (positions), places,
    effect, variance and frequency; with SEQS also found, the fraction of these sequences that have it.
    """
    refuse(
        target.force,
        target.output,
        formats=TABLES,
        chosen=target.output_format,
        sources=(sketch, seqs, file_of(background)),
    )
    opened = loaded(sketch)
    warn_if_low(opened)
    explainer = Explainer(opened, background_of(background, opened.space, 0), of="closed form")
    codes = None if seqs is None else read_all(reading.reader(seqs, opened.space))[1]
    listed = explainer.motifs(count, max_order=max_order, sequences=codes)
    columns: dict[str, Any] = {"motif": "string", "from": "int64", "to": "int64", "places": "int64"}
    columns |= {"effect": "float64", "variance": "float64", "frequency": "float64"}
    if codes is not None:
        columns["found"] = "float64"
    rows = listed.records()
    metadata = {"shapsketch": ss.__version__, "sketch": str(sketch), **described(listed.explained)}
    with TableWriter(target.output, columns, format=target.output_format, metadata=metadata) as table:
        table.write({name: [row[name] for row in rows] for name in columns})
    if target.as_json:
        print_json({"output": str(target.output), "rows": table.rows, **metadata}, target.output)
        return
    echo(f"wrote {table.rows:,} motifs of {listed.explained} to {target.output}", target.output)
