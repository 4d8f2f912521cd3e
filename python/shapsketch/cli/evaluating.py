"""Options of the commands that evaluate a model: where scores come from, and how."""

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
from shapsketch.cli.options import exit_code, grouped
from shapsketch.cli.workers import Workers
from shapsketch.models._protocol import INPUTS


@dataclass(frozen=True)
class Source:
    """Where scores come from."""

    source: str | None
    command: str | None
    timeout: float | None
    values: Path | None = None
    column: str | None = None

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
    batch_size: int | None
    store: Path | None
    model_name: str
    workers: int | None
    threads: int | None
    retries: int
    check: bool
    outputs: str | None = None

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


MODEL_OPTIONS = (
    click.option(
        "--model", "source", metavar="MODULE:NAME", help="A callable in a module, such as mine:predict."
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
MODEL = grouped("source", Source, *MODEL_OPTIONS, without=("values", "column"))
SOURCE = grouped(
    "source",
    Source,
    *MODEL_OPTIONS,
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
)
EVALUATION_OPTIONS = (
    click.option("--inputs", type=click.Choice(INPUTS), help="What the model takes."),
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
# For commands that use one output.
SINGLE = grouped("evaluation", Evaluation, *EVALUATION_OPTIONS, without=("outputs",))
EVALUATION = grouped(
    "evaluation",
    Evaluation,
    *EVALUATION_OPTIONS,
    click.option(
        "--outputs",
        metavar="A,B",
        help="Names of the model's outputs: one sketch for each, OUT.A.safetensors.  "
        "[default: the names that the model declares]",
    ),
)


def stop(running: Workers, interrupt: KeyboardInterrupt, store: Path | None) -> NoReturn:
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


def _arguments(command: str) -> list[str]:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--command: {error} in {command!r}") from error
    if not arguments:
        raise click.UsageError("--command is empty; pass a program and its arguments")
    return arguments
