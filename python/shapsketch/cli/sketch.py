"""The command `sketch`."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

import shapsketch as ss
from shapsketch import models
from shapsketch.cli.info import report_of
from shapsketch.cli.options import (
    REQUEST,
    VERBOSE,
    Output,
    Request,
    exit_code,
    grouped,
    output,
    print_json,
    refuse,
    shows_progress,
    stdout_to_stderr,
)
from shapsketch.cli.workers import Workers, workers
from shapsketch.fitting.effort import EFFORTS
from shapsketch.link import NAMES as LINKS
from shapsketch.models._protocol import INPUTS, outputs_of


@dataclass(frozen=True)
class Source:
    """Where scores come from."""

    source: str | None
    values: Path | None
    column: str | None
    command: str | None
    timeout: float | None

    def check(self) -> None:
        """Refuse options that do not fit together."""
        if sum(value is not None for value in (self.source, self.values, self.command)) != 1:
            raise click.UsageError("pass exactly one source of scores: --model, --values or --command")
        if self.column is not None and self.values is None:
            raise click.UsageError("--column is for --values")
        if self.timeout is not None and self.command is None:
            raise click.UsageError("--timeout is for --command")

    def adapter(self, inputs: Any) -> Any:
        """Return the model."""
        if self.source is not None:
            try:
                return models.imported(self.source, inputs=inputs)
            except ss.InputError as error:
                raise ss.InputError(f"--model: {error}") from error
        if self.values is not None:
            columns = None if self.column is None else self.column.split(",")
            return models.table(self.values, column=columns[0] if columns and len(columns) == 1 else columns)
        return models.command(_arguments(self.command or ""), timeout=self.timeout)


@dataclass(frozen=True)
class Evaluation:
    """How to evaluate the model."""

    inputs: Any
    outputs: str | None
    batch_size: int | None
    store: Path | None
    model_name: str
    workers: int | None
    threads: int | None
    retries: int
    check: bool

    def check_options(self) -> None:
        """Refuse options that do not fit together."""
        if self.workers is not None and self.threads is not None:
            raise click.UsageError("--workers and --threads exclude each other")
        if self.model_name and self.store is None:
            raise click.UsageError("--model-name is for --store")

    def evaluator(self, model: Any, names: tuple[str, ...] | None, running: Workers) -> ss.Evaluator:
        """Return the evaluator of a model."""
        return ss.Evaluator(
            model,
            inputs=self.inputs,
            outputs=names,
            batch_size=self.batch_size,
            executor=running.executor,
            retries=self.retries,
            store=None if self.store is None else ss.Store(self.store, model_name=self.model_name),
            check=self.check,
        )


@dataclass(frozen=True)
class Fit:
    """How to fit the sketch."""

    link: Any
    effort: Any
    max_terms: int | None
    target_r2: float | None


SOURCE = grouped(
    "source",
    Source,
    click.option(
        "--model", "source", metavar="MODULE:NAME", help="A callable in a module, such as mine:predict."
    ),
    click.option(
        "--values",
        type=click.Path(path_type=Path),
        help="A table of scores computed elsewhere: a column `sequence` and one or more columns of scores.",
    ),
    click.option(
        "--column",
        help="Column of --values with the scores; A,B for several outputs.  "
        "[default: all except sequence, name, id and the index of a data frame]",
    ),
    click.option(
        "--command",
        help="A program, started without a shell, that reads one sequence per line on stdin and prints one "
        "score per line; ss.models.command supports other formats.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        help="Largest number of seconds that --command may take for a batch.",
    ),
)
EVALUATION = grouped(
    "evaluation",
    Evaluation,
    click.option("--inputs", type=click.Choice(INPUTS), help="What the model takes."),
    click.option(
        "--outputs",
        metavar="A,B",
        help="Names of the model's outputs: one sketch for each, OUT.A.safetensors.  "
        "[default: the names that the model declares]",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        help="Number of sequences in one call of the model.  [default: about one second per call]",
    ),
    click.option("--store", type=click.Path(path_type=Path), help="Keep all values in this file, to resume."),
    click.option(
        "--model-name", default="", help="Name of the model, such as its version, kept in the store."
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Number of processes that call the model."),
    click.option("--threads", type=click.IntRange(min=1), help="Number of threads that call the model."),
    click.option(
        "--retries", type=click.IntRange(min=0), default=0, help="How often to repeat a call that fails."
    ),
    click.option(
        "--check/--no-check", default=True, help="Examine the model first: is it repeatable, is it constant?"
    ),
)
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
                "progress": shows_progress(target.quiet),
                **vars(fit),
            }
            if names is None:
                sketches = {"": ss.sketch(evaluator, space, **options)}
            else:
                sketches = ss.sketch_outputs(evaluator, space, **options)
        except KeyboardInterrupt as interrupt:
            _stop(running, interrupt, evaluation.store)
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


def _stop(running: Workers, interrupt: KeyboardInterrupt, store: Path | None) -> NoReturn:
    """End the command after an interrupt."""
    kept = (
        "no values were kept; use --store PATH to keep them"
        if store is None
        else f"the values so far are in {store}; run the same command again to resume"
    )
    click.echo(f"\nshapsketch: stopped; {kept}", err=True)
    if not running.stop():
        # A thread cannot be stopped, so the process ends without it.
        sys.stderr.flush()
        os._exit(exit_code(interrupt))
    raise click.exceptions.Exit(exit_code(interrupt)) from None


def _report(sketches: dict[str, ss.Sketch], paths: dict[str, Path], as_json: bool) -> None:
    if as_json:
        reports = {name: report_of(sketches[name], path) for name, path in paths.items()}
        print_json(reports.get("", {"outputs": reports}))
        return
    for name, path in paths.items():
        if name:
            click.echo(f"output {name}")
        click.echo(f"{sketches[name].summary()}\nwrote {path}")


def _arguments(command: str) -> list[str]:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--command: {error} in {command!r}") from error
    if not arguments:
        raise click.UsageError("--command is empty; pass a program and its arguments")
    return arguments
