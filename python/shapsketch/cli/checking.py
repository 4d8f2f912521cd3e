"""The commands `faithfulness` and `refine`, which evaluate the model again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

import shapsketch as ss
from shapsketch.cli.evaluating import MODEL, SINGLE, Evaluation, Source, stop
from shapsketch.cli.explaining import EXPLAINING, Explaining
from shapsketch.cli.info import finite
from shapsketch.cli.options import (
    READING_ALL,
    SEQS,
    SKETCH,
    VERBOSE,
    Reading,
    TableOutput,
    combine,
    echo,
    loaded,
    print_json,
    refuse,
    stdout_to_stderr,
    table_output,
)
from shapsketch.cli.streaming import described, read_all
from shapsketch.cli.workers import workers
from shapsketch.explain import columns as tables
from shapsketch.files.write import TABLES, TableWriter

Result = TypeVar("Result")
SHARED = (MODEL, SINGLE, EXPLAINING, READING_ALL, VERBOSE)


def _check(target: TableOutput, source: Source, evaluation: Evaluation, *inputs: Path | None) -> None:
    """Refuse options that do not fit together, and outputs that cannot be written."""
    if (source.source is None) == (source.command is None):
        raise click.UsageError("pass one of --model and --command")
    source.check()
    evaluation.check_options()
    sources = (*inputs, evaluation.store)
    refuse(target.force, target.output, formats=TABLES, chosen=target.output_format, sources=sources)


def _evaluated(source: Source, evaluation: Evaluation, use: Callable[[ss.Evaluator], Result]) -> Result:
    """Return what a function returns for the evaluator of the model."""
    with stdout_to_stderr(), workers(evaluation.workers, evaluation.threads) as running:
        model = source.adapter(evaluation.inputs)
        try:
            return use(evaluation.evaluator(model, None, running))
        except KeyboardInterrupt as interrupt:
            stop(running, interrupt, evaluation.store)


@click.command()
@SKETCH
@SEQS
@table_output("The table: one row per attribution.")
@click.option("--budget", required=True, type=int, help="Largest number of sequences to evaluate.")
@combine(*SHARED)
def faithfulness(
    sketch: Path,
    seqs: Path,
    target: TableOutput,
    budget: int,
    source: Source,
    evaluation: Evaluation,
    explaining: Explaining,
    reading: Reading,
) -> None:
    """Check explanations of the sequences of a file against the model.

    The table has the columns of ss.Faithfulness.records: correlations with sampled Shapley values of the
    model and with its mutation effects, and areas under deletion and insertion curves.
    """
    _check(target, source, evaluation, sketch, seqs, explaining.file)
    explainer = explaining.explainer(loaded(sketch))
    codes = read_all(reading.reader(seqs, explainer._space))[1]
    result = _evaluated(
        source,
        evaluation,
        lambda model: ss.faithfulness(
            model,
            explainer,
            codes,
            budget=budget,
            random_state=explaining.seed,
            progress=not target.quiet,
        ),
    )
    rows = result.records()
    columns: dict[str, Any] = dict.fromkeys(rows[0], "float64") | {"attribution": "string"}
    with TableWriter(target.output, columns, format=target.output_format) as table:
        table.write({name: [row[name] for row in rows] for name in columns})
    if target.as_json:
        numbers = {name: finite(getattr(result, name)) for name in ("r2", "rmse", "shapley_noise")}
        facts = {"output": str(target.output), "sequences": len(codes), "evaluations": result.n_calls}
        print_json({**facts, "background": result.background, **numbers}, target.output)
        return
    echo(f"{result}\nwrote {target.output}", target.output)


@click.command()
@SKETCH
@SEQS
@table_output("The table: one row per sequence, with standard errors.")
@click.option(
    "--calls-per-sequence",
    type=click.IntRange(min=32),
    default=1000,
    help="Largest number of evaluations for each sequence.",
)
@combine(*SHARED)
def refine(
    sketch: Path,
    seqs: Path,
    target: TableOutput,
    calls_per_sequence: int,
    source: Source,
    evaluation: Evaluation,
    explaining: Explaining,
    reading: Reading,
) -> None:
    """Sample Shapley values of the model itself, with the sketch as control variate.

    The columns are those of explain --stderr: name, base_value, p0, p1, ... and their standard errors.
    """
    _check(target, source, evaluation, sketch, seqs, explaining.file)
    explainer = explaining.explainer(loaded(sketch))
    names, codes = read_all(reading.reader(seqs, explainer._space))
    refined = _evaluated(
        source,
        evaluation,
        lambda model: explainer.refine(
            model,
            codes,
            calls_per_sequence=calls_per_sequence,
            random_state=explaining.seed,
            progress=not target.quiet,
        ),
    )
    assert isinstance(refined, ss.Explanation)
    columns = tables.value_columns(explainer._space, sequence=False, stderr=True, float32=False)
    metadata = {"shapsketch": ss.__version__, "sketch": str(sketch), **described(refined.explained)}
    with TableWriter(target.output, columns, format=target.output_format, metadata=metadata) as table:
        values, stderr = refined.values, refined.stderr
        start = explainer._space.start
        table.write(tables.value_rows(names, values, refined.base_values, start=start, stderr=stderr))
    if target.as_json:
        facts = {"output": str(target.output), "sequences": len(names)}
        print_json({**facts, "background": refined.background, "link": refined.link}, target.output)
        return
    echo(f"wrote {len(names):,} rows to {target.output}, by the model", target.output)
