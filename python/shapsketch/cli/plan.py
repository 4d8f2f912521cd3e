"""The command `plan`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from shapsketch.cli.options import (
    FORCE,
    JSON,
    REQUEST,
    VERBOSE,
    Request,
    echo,
    output_format,
    print_json,
    refuse,
)
from shapsketch.files.read import BATCH
from shapsketch.files.write import TABLES, write_sequences

# Formats of a file of queries.
QUERIES = ("fasta", *TABLES)


@click.command()
@REQUEST
@click.option(
    "--queries",
    type=click.Path(path_type=Path, readable=False),
    help="Write all sequences that the sketch will evaluate to a FASTA file or table.",
)
@output_format(QUERIES)
@FORCE
@JSON
@VERBOSE
def plan(request: Request, queries: Path | None, output_format: Any, force: bool, as_json: bool) -> None:
    """Report how a budget will be spent, without a model.

    With --queries the model can run elsewhere: score the sequences of that file, add a column `score`, and
    pass the table to `shapsketch sketch --values` with the same budget, method and seed.
    """
    space, planned = request.space(), request.plan()
    if queries is not None:
        refuse(force, queries, formats=QUERIES, chosen=output_format, option="--queries")
    elif output_format is not None:
        raise click.UsageError("--output-format is for --queries")
    report: dict[str, Any] = {
        field.name: getattr(planned, field.name) for field in fields(planned) if field.repr
    }
    report |= {
        "total_queries": planned.total_queries,
        "distribution": planned.distribution,
        "alphabet": space.alphabet,
        "length": space.n,
        "letters": space.letters if space.varies else None,
        "start": space.start,
        "seed": request.seed,
    }
    if queries is not None:
        report |= {
            "queries": str(queries),
            "queries_written": write_sequences(queries, space, planned.batches(BATCH), format=output_format),
        }
    if as_json:
        print_json(report, queries)
        return
    echo(planned, queries)
    if queries is not None:
        echo(f"wrote {report['queries_written']:,} sequences to {queries}", queries)
