"""The command `mutate`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch.cli.options import FLOAT32, FORCE, JSON, QUIET, READ, SEQS, SKETCH, VERBOSE, out, refuse
from shapsketch.cli.streaming import LONG, streamed
from shapsketch.explain import columns as tables
from shapsketch.explain.explainer import Explainer
from shapsketch.files.read import read_sequences
from shapsketch.files.write import TABLES
from shapsketch.space import Codes
from shapsketch.surrogate.sketch import _warn_if_low


@click.command()
@SKETCH
@SEQS
@out("The table of substitutions, or of mutants.")
@click.option("--best", type=click.IntRange(min=1), metavar="K", help="The best mutants of each sequence.")
@click.option(
    "--mutations", type=click.IntRange(min=1), metavar="M", help="Mutations of these.  [default: 1]"
)
@click.option("--minimize", is_flag=True, help="The best have the lowest scores.")
@READ
@FLOAT32
@FORCE
@JSON
@QUIET
@VERBOSE
def mutate(
    sketch: Path,
    seqs: Path,
    output: Path,
    best: int | None,
    mutations: int | None,
    minimize: bool,
    column: str,
    format_: Any,
    on_error: Any,
    batch_size: int,
    float32: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict the effect of every substitution, or find the best mutants.

    Substitutions have the columns name, position (from 0), from, to and change; mutants have name, rank (from
    1), mutations (such as A3G C7T; positions from 1, as is usual in this notation), score, change and
    sequence.
    """
    refuse(force, output, formats=TABLES, sources=(sketch, seqs))
    if best is None and (mutations is not None or minimize):
        raise click.UsageError("--mutations and --minimize are for --best")
    made = ss.load(sketch)
    space = made.space
    explainer = Explainer(made)
    _warn_if_low(made)
    number = "float32" if float32 else "float64"
    columns: dict[str, Any]
    if best is None:
        columns, most = tables.effect_columns(float32=float32), max(1, LONG // (space.n * space.q))
    else:
        columns = {"name": "category", "rank": "int64", "mutations": "string", "score": number}
        columns |= {"change": number, "sequence": "string"}
        most = max(1, LONG // best)
    searched: list[str] = []

    def mutants(name: str, row: Codes) -> dict[str, Any]:
        assert best is not None
        found = explainer.best_mutants(row, mutations or 1, count=best, minimize=minimize)
        if not found.exact and not searched:
            searched.append(name)
            logging.getLogger(__name__).warning(
                "too many mutants to compare all: a beam search finds good ones, perhaps not the best"
            )
        count = len(found.scores)
        return {
            "name": ([name], np.zeros(count, dtype=np.int64)),
            "rank": np.arange(1, count + 1),
            "mutations": found.mutations,
            "score": found.scores,
            "change": found.changes,
            "sequence": found.sequences,
        }

    metadata = {"shapsketch": ss.__version__, "sketch": str(sketch), "link": made.link}
    reader = read_sequences(
        seqs, space, format=format_, column=column, batch_size=batch_size, on_error=on_error
    )

    def effects(names: list[str], codes: Codes) -> dict[str, Any]:
        return tables.effect_rows(names, codes, explainer.mutation_effects(codes), space)

    if best is None:
        streamed(reader, output, columns, metadata, effects, most, as_json, quiet)
    else:
        streamed(
            reader,
            output,
            columns,
            metadata,
            lambda names, codes: mutants(names[0], codes[0]),
            1,
            as_json,
            quiet,
        )
