"""The command `mutate`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch.cli.options import (
    FLOAT32,
    OF,
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
from shapsketch.cli.streaming import LONG, RowSource, stream
from shapsketch.explain import columns as tables
from shapsketch.explain.explainer import Explainer
from shapsketch.files.write import TABLES
from shapsketch.space import Codes
from shapsketch.surrogate.sketch import warn_if_low

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mutations:
    """What the table holds, and by what it is predicted."""

    best: int | None
    mutations: int | None
    minimize: bool
    of: Any
    float32: bool


MUTATIONS = grouped(
    "wanted",
    Mutations,
    click.option(
        "--best", type=click.IntRange(min=1), metavar="K", help="The best mutants of each sequence."
    ),
    click.option(
        "--mutations",
        type=click.IntRange(min=1),
        metavar="M",
        help="Number of mutations of each mutant.  [default: 1]",
    ),
    click.option(
        "--minimize", is_flag=True, help="Find the mutants with the lowest scores instead of the highest."
    ),
    OF,
    FLOAT32,
)


@click.command()
@SKETCH
@SEQS
@table_output("The table of substitutions, or of mutants.")
@MUTATIONS
@READING
@VERBOSE
def mutate(sketch: Path, seqs: Path, target: TableOutput, wanted: Mutations, reading: Reading) -> None:
    """Predict the effect of every substitution, or find the best mutants.

    Substitutions have the columns name, position, from, to and change; mutants have name, rank (from 1),
    mutations (such as A3G C7T), score, change and sequence. Positions count from --start.
    """
    refuse(target.force, target.output, formats=TABLES, chosen=target.output_format, sources=(sketch, seqs))
    if wanted.best is None and (wanted.mutations is not None or wanted.minimize):
        raise click.UsageError("--mutations and --minimize are for --best")
    opened = loaded(sketch)
    explainer = Explainer(opened, of=wanted.of)
    if explainer.of == "closed form":
        warn_if_low(opened)
    metadata = {"shapsketch": ss.__version__, "sketch": str(sketch)}
    metadata |= {"of": explainer.of, "link": explainer.explained.link}
    if wanted.best is None:
        source = _effects(explainer, opened.space, metadata, wanted.float32)
    else:
        source = _mutants(explainer, metadata, wanted, wanted.best)
    stream(reading.reader(seqs, opened.space), source, target)


def _effects(
    explainer: Explainer, space: ss.SequenceSpace, metadata: dict[str, str], float32: bool
) -> RowSource:
    def rows(names: list[str], codes: Codes) -> dict[str, Any]:
        return tables.effect_rows(names, codes, explainer.mutation_effects(codes), space)

    columns = tables.effect_columns(float32=float32)
    return RowSource(columns, rows, max(1, LONG // (space.n * space.q)), metadata)


def _mutants(
    explainer: Explainer,
    metadata: dict[str, str],
    wanted: Mutations,
    best: int,
) -> RowSource:
    number = "float32" if wanted.float32 else "float64"
    warned = False

    def rows(names: list[str], codes: Codes) -> dict[str, Any]:
        nonlocal warned
        mutants = explainer.best_mutants(
            codes[0], wanted.mutations or 1, count=best, minimize=wanted.minimize
        )
        if not mutants.exact and not warned:
            warned = True
            logger.warning(
                "too many mutants to compare all: a beam search finds good ones, perhaps not the best"
            )
        count = len(mutants.scores)
        return {
            "name": (names, np.zeros(count, dtype=np.int64)),
            "rank": np.arange(1, count + 1),
            "mutations": mutants.mutations,
            "score": mutants.scores,
            "change": mutants.changes,
            "sequence": mutants.sequences,
        }

    columns = {"name": "category", "rank": "int64", "mutations": "string", "score": number}
    columns |= {"change": number, "sequence": "string"}
    return RowSource(columns, rows, 1, metadata)
