"""The command `plan`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch.cli.options import BUDGET, FORCE, JSON, SPACE, VERBOSE, dump, refuse
from shapsketch.files.read import BATCH
from shapsketch.files.write import TABLES, write_sequences


@click.command()
@SPACE
@BUDGET
@click.option(
    "--queries",
    type=click.Path(path_type=Path),
    help="Write all sequences that the sketch will ask for to a FASTA file or table.",
)
@FORCE
@JSON
@VERBOSE
def plan(
    alphabet: str,
    length: int,
    budget: int,
    method: Any,
    seed: int,
    queries: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say what a budget will be spent on, without a model.

    With --queries the model can run elsewhere: score the sequences in OUT, add a column `score`, and pass the
    table to `shapsketch sketch --values` with the same budget, method and seed.
    """
    space = ss.SequenceSpace(alphabet, length)
    made = ss.plan(space, budget, method=method, random_state=seed)
    if queries is not None:
        refuse(force, queries, formats=("fasta", *TABLES))
    found: dict[str, Any] = {field.name: getattr(made, field.name) for field in fields(made) if field.repr}
    found |= {
        "total_queries": made.total_queries,
        "alphabet": space.alphabet,
        "length": space.n,
        "seed": seed,
    }
    if queries is not None:
        found |= {
            "queries": str(queries),
            "queries_written": write_sequences(queries, space, made.batches(BATCH)),
        }
    if as_json:
        dump(found)
    else:
        click.echo(made)
        if queries is not None:
            click.echo(f"wrote {found['queries_written']:,} sequences to {queries}")
