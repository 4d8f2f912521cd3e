"""The command `sketch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch.cli.evaluating import EVALUATION, SOURCE, Evaluation, Source, stop
from shapsketch.cli.info import report_of
from shapsketch.cli.options import (
    REQUEST,
    VERBOSE,
    Output,
    Request,
    grouped,
    output,
    print_json,
    refuse,
    stdout_to_stderr,
)
from shapsketch.cli.workers import workers
from shapsketch.fitting.effort import EFFORTS
from shapsketch.link import CHOICES as LINKS
from shapsketch.models._protocol import outputs_of


@dataclass(frozen=True)
class Fit:
    """How to fit the sketch."""

    link: Any
    effort: Any
    max_terms: int | None
    target_r2: float | None


FIT = grouped(
    "fit",
    Fit,
    click.option(
        "--link",
        type=click.Choice(LINKS),
        default="identity",
        help="Scale of the sketch.",
    ),
    click.option(
        "--effort",
        type=click.Choice(EFFORTS),
        default="standard",
        help="quick: regression alone; standard: 30 seconds, or as long as the model; thorough: all methods.",
    ),
    click.option("--max-terms", type=click.IntRange(min=1), help="Largest number of terms of the sketch."),
    click.option("--target-r2", type=float, help="Evaluate in rounds, and stop when R² reaches this."),
)


@click.command()
@REQUEST
@SOURCE
@EVALUATION
@FIT
@output("The sketch, a safetensors file.")
@VERBOSE
def sketch(request: Request, source: Source, evaluation: Evaluation, fit: Fit, target: Output) -> None:
    """Evaluate a model on some sequences, and fit a closed form of its scores.

    Scores come from one of --model, --values and --command.
    """
    source.check()
    evaluation.check_options()
    space = request.space()
    # Report an impossible plan before anything is read or evaluated.
    request.plan()
    model = source.adapter(evaluation.inputs)
    with stdout_to_stderr():
        names = outputs_of(model)
    if evaluation.outputs is not None:
        names = tuple(name.strip() for name in evaluation.outputs.split(","))
        if "" in names:
            raise click.UsageError(
                f"--outputs: name {names.index('')} of {evaluation.outputs!r} is empty; pass names as A,B"
            )
    paths = _paths(target.output, names, "--column" if source.values is not None else "--outputs")
    refuse(target.force, *paths.values(), sources=(evaluation.store, source.values))
    with stdout_to_stderr(), workers(evaluation.workers, evaluation.threads) as running:
        try:
            evaluator = evaluation.evaluator(model, names, running)
            options: dict[str, Any] = {
                "budget": request.budget,
                "method": request.method,
                "distribution": request.queries(),
                "random_state": request.seed,
                "progress": not target.quiet,
                **vars(fit),
            }
            if names is None:
                sketches = {"": ss.sketch(evaluator, space, **options)}
            else:
                sketches = ss.sketch_outputs(evaluator, space, **options)
        except KeyboardInterrupt as interrupt:
            stop(running, interrupt, evaluation.store)
    for name, path in paths.items():
        sketches[name].save(path)
    _report(sketches, paths, target.as_json)


def _paths(out: Path, names: tuple[str, ...] | None, option: str) -> dict[str, Path]:
    """Return the file of each sketch; the name is empty for a single output."""
    if names is None:
        return {"": out}
    for name in names:
        if not name or Path(name).name != name:
            raise ss.InputError(
                f"the output {name!r} cannot be part of a file name; choose other outputs with {option}"
            )
    suffix = out.suffix or ".safetensors"
    return {name: out.with_name(f"{out.stem}.{name}{suffix}") for name in names}


def _report(sketches: dict[str, ss.Sketch], paths: dict[str, Path], as_json: bool) -> None:
    if as_json:
        reports = {name: report_of(sketches[name], path) for name, path in paths.items()}
        print_json(reports.get("", {"outputs": reports}))
        return
    for name, path in paths.items():
        if name:
            click.echo(f"output {name}")
        click.echo(f"{sketches[name].summary()}\nwrote {path}")
