"""The command `explain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch.cli.explaining import EXPLAINING, Explaining
from shapsketch.cli.options import (
    FLOAT32,
    READING,
    SEQS,
    SKETCH,
    VERBOSE,
    Reading,
    TableOutput,
    grouped,
    loaded,
    refuse,
    table_output,
)
from shapsketch.cli.streaming import FEW, LONG, WIDE, RowSource, described, stream
from shapsketch.explain import columns as tables
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.indices import INDICES
from shapsketch.files.write import TABLES
from shapsketch.space import Codes


@dataclass(frozen=True)
class Contents:
    """What the table holds."""

    index: Any
    max_order: int | None
    top: int | None
    with_sequence: bool
    stderr: bool
    float32: bool

    def check(self) -> None:
        """Refuse options that do not fit together."""
        if self.index == "SV" and self.max_order not in (None, 1):
            raise click.UsageError(
                "Shapley values have order 1: remove --max-order, or choose another --index"
            )
        if self.index == "SV" and self.top is not None:
            raise click.UsageError("--top is for interactions: choose another --index")
        if self.index != "SV" and (self.stderr or self.with_sequence):
            raise click.UsageError("--stderr and --with-sequence are for --index SV")


CONTENTS = grouped(
    "contents",
    Contents,
    click.option("--index", type=click.Choice(INDICES), default="SV", help="What to compute."),
    click.option("--max-order", type=click.IntRange(min=1), help="Highest order of interactions."),
    click.option(
        "--top",
        type=click.IntRange(min=1),
        metavar="K",
        help="Only the strongest interactions of each sequence.",
    ),
    click.option("--with-sequence", is_flag=True, help="Also write the sequences (SV)."),
    click.option("--stderr", is_flag=True, help="Also write standard errors (SV)."),
    FLOAT32,
)


@click.command()
@SKETCH
@SEQS
@table_output("The table: for SV one row per sequence, for interactions one row per interaction.")
@CONTENTS
@EXPLAINING
@READING
@VERBOSE
def explain(
    sketch: Path,
    seqs: Path,
    target: TableOutput,
    contents: Contents,
    explaining: Explaining,
    reading: Reading,
) -> None:
    """Explain the sequences of a file: Shapley values or interactions.

    Shapley values have the columns name, base_value, and p0, p1, ... for the positions; interactions have the
    columns name, support (such as 3,7), order and value; with --top the largest absolute values come first.
    Positions count from --start. A Parquet file also keeps in its schema what was explained, its R²,
    background, index and link.
    """
    refuse(
        target.force,
        target.output,
        formats=TABLES,
        chosen=target.output_format,
        sources=(sketch, seqs, explaining.file),
    )
    opened = loaded(sketch)
    contents.check()
    explainer = explaining.explainer(opened)
    metadata = {
        "shapsketch": ss.__version__,
        "sketch": str(sketch),
        "index": contents.index,
    }
    # The background of dinucleotide shuffles multiplies the work for each sequence.
    shuffles = explainer._background.shuffles
    references = 1 if shuffles is None else shuffles.count
    make = _values if contents.index == "SV" else _interactions
    source = make(explainer, opened.space, contents, references, metadata)
    stream(reading.reader(seqs, opened.space), source, target)


def _values(
    explainer: Explainer,
    space: ss.SequenceSpace,
    contents: Contents,
    references: int,
    metadata: dict[str, str],
) -> RowSource:
    """Return Shapley values as rows."""
    columns = tables.value_columns(
        space, sequence=contents.with_sequence, stderr=contents.stderr, float32=contents.float32
    )
    if contents.stderr:
        # Raises an error now if the sketch has no standard errors, before any sequence is read.
        explainer(_probe(space)).stderr  # noqa: B018

    metadata.update(described(explainer.explained))

    def rows(names: list[str], codes: Codes) -> dict[str, Any]:
        explanation = explainer(codes)
        return tables.value_rows(
            names,
            explanation.values,
            explanation.base_values,
            start=space.start,
            sequences=space.decode(codes) if contents.with_sequence else None,
            stderr=explanation.stderr if contents.stderr else None,
        )

    batch = max(1, WIDE // (len(columns) * references))
    # Sampling takes long for each sequence.
    few = explainer.of == "predictor"
    return RowSource(columns, rows, min(batch, FEW) if few else batch, metadata)


def _interactions(
    explainer: Explainer,
    space: ss.SequenceSpace,
    contents: Contents,
    references: int,
    metadata: dict[str, str],
) -> RowSource:
    """Return interactions as rows."""
    index, max_order = contents.index, contents.max_order

    def rows(names: list[str], codes: Codes) -> dict[str, Any]:
        interactions = explainer.interactions(codes, index=index, max_order=max_order)
        return tables.interaction_rows(
            names, interactions.supports, interactions.values, start=space.start, top=contents.top
        )

    probe = explainer.interactions(_probe(space), index=index, max_order=max_order)
    supports = probe.supports
    metadata.update(described(probe.explained))
    columns = tables.interaction_columns(float32=contents.float32)
    batch = max(1, LONG // (len(supports) + space.n * references))
    return RowSource(columns, rows, batch if probe.of == "closed form" else min(batch, FEW), metadata)


def _probe(space: ss.SequenceSpace) -> Codes:
    return np.zeros((1, space.n), dtype=np.uint8)
