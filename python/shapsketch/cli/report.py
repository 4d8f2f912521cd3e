"""The command `report`."""

from __future__ import annotations

import time
from pathlib import Path

import click

import shapsketch as ss
from shapsketch.cli.explaining import EXPLAINING, Explaining
from shapsketch.cli.options import (
    READING,
    SKETCH,
    VERBOSE,
    Output,
    Reading,
    echo,
    loaded,
    output,
    print_json,
    refuse,
)
from shapsketch.cli.streaming import described, read_all


@click.command()
@SKETCH
@click.argument("seqs", required=False, type=click.Path(path_type=Path))
@output("The page, an HTML file.")
@click.option(
    "--figures", type=click.IntRange(min=0), default=3, help="Number of sequences with figures of their own."
)
@click.option("--title", default="Report of a sketch", help="Title of the page.")
@EXPLAINING
@READING
@VERBOSE
def report(
    sketch: Path,
    seqs: Path | None,
    target: Output,
    figures: int,
    title: str,
    explaining: Explaining,
    reading: Reading,
) -> None:
    """Write a page of HTML that says what a sketch found, and how faithful it is.

    With SEQS the page also has figures of the first sequences, and a table of all that can be sorted and
    filtered. The page is one file, and needs no network.
    """
    refuse(target.force, target.output, sources=(sketch, seqs, explaining.file))
    started = time.perf_counter()
    explainer = explaining.explainer(loaded(sketch))
    names = codes = None
    skipped = 0
    if seqs is not None:
        reader = reading.reader(seqs, explainer._space)
        names, codes = read_all(reader)
        skipped = reader.skipped
    ss.report(explainer, target.output, sequences=codes, names=names, figures=figures, title=title)
    count, seconds = len(names or ()), time.perf_counter() - started
    if target.as_json:
        facts = {"output": str(target.output), "sequences": count, "skipped": skipped}
        print_json({**facts, **described(explainer.explained), "seconds": round(seconds, 3)}, target.output)
        return
    more = f", {skipped:,} malformed ones skipped" if skipped else ""
    echo(f"{count:,} sequences in {seconds:.1f} s{more}: wrote {target.output}", target.output)
