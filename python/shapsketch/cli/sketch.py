"""The command `sketch`."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch import models
from shapsketch.cli.info import described
from shapsketch.cli.options import (
    BUDGET,
    FORCE,
    JSON,
    QUIET,
    SPACE,
    VERBOSE,
    apart,
    dump,
    exit_code,
    out,
    refuse,
    shown,
)
from shapsketch.cli.workers import ends, work
from shapsketch.models._protocol import INPUTS, outputs_of
from shapsketch.models.programs import stop_commands


@click.command()
@SPACE
@BUDGET
@click.option(
    "--model", "source", metavar="MODULE:NAME", help="A callable in a module, such as mine:predict."
)
@click.option(
    "--values",
    type=click.Path(path_type=Path),
    help="A table of scores computed elsewhere, with a column `sequence` and those of the scores.",
)
@click.option(
    "--column",
    help="Column of --values that holds the scores; several, as A,B, are several outputs.  "
    "[default: all but sequence, name, id and the index of a data frame]",
)
@click.option(
    "--command",
    help="A program, started without a shell, that reads sequences on stdin, one a line, and prints a score "
    "for each, one a line; ss.models.command has other formats.",
)
@click.option(
    "--link", type=click.Choice(["identity", "log", "logit"]), default="identity", help="Scale of the sketch."
)
@click.option("--inputs", type=click.Choice(INPUTS), help="What the model takes.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Most sequences in one call of the model.  [default: as many as take about a second]",
)
@click.option(
    "--outputs",
    metavar="A,B",
    help="The model's outputs: a sketch for each, OUT.A.safetensors; by default as it calls them.",
)
@click.option("--store", type=click.Path(path_type=Path), help="Keep all values in this file, to resume.")
@click.option("--model-name", default="", help="Name of the model, such as its version, kept in the store.")
@click.option("--workers", type=click.IntRange(min=1), help="Call the model in so many processes.")
@click.option("--threads", type=click.IntRange(min=1), help="Call the model in so many threads.")
@click.option(
    "--retries", type=click.IntRange(min=0), default=0, help="Call the model again if it fails, so often."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Most seconds that --command may take for a batch.",
)
@click.option("--fast", is_flag=True, help="Leave out distillation and large trees.")
@click.option("--max-terms", type=click.IntRange(min=1), help="Most terms of the sketch.")
@click.option("--target-r2", type=float, help="Ask in rounds, and stop when R² reaches this.")
@click.option("--check/--no-check", default=True, help="Look at the model first: is it what a sketch needs?")
@out("The sketch, a safetensors file.")
@FORCE
@JSON
@QUIET
@VERBOSE
def sketch(
    alphabet: str,
    length: int,
    budget: int,
    method: Any,
    seed: int,
    source: str | None,
    values: Path | None,
    column: str | None,
    command: str | None,
    link: Any,
    inputs: Any,
    batch_size: int | None,
    outputs: str | None,
    store: Path | None,
    model_name: str,
    workers: int | None,
    threads: int | None,
    retries: int,
    timeout: float | None,
    fast: bool,
    max_terms: int | None,
    target_r2: float | None,
    check: bool,
    output: Path,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask a model for some sequences, and find a closed form of its scores.

    One of --model, --values and --command says where scores come from.
    """
    if sum(given is not None for given in (source, values, command)) != 1:
        raise click.UsageError("say where scores come from: one of --model, --values and --command")
    if column is not None and values is None:
        raise click.UsageError("--column is for --values")
    if workers is not None and threads is not None:
        raise click.UsageError("--workers and --threads exclude each other")
    if timeout is not None and command is None:
        raise click.UsageError("--timeout is for --command")
    if model_name and store is None:
        raise click.UsageError("--model-name is for --store")
    space = ss.SequenceSpace(alphabet, length)
    # Refused, if at all, before anything is asked or read.
    ss.plan(space, budget, method=method, random_state=seed)
    model: Any
    if source is not None:
        model = models.imported(source, inputs=inputs)
    elif values is not None:
        columns = None if column is None else column.split(",")
        model = models.table(values, column=columns[0] if columns and len(columns) == 1 else columns)
    else:
        model = models.command(_arguments(command or ""), timeout=timeout)
    with apart():
        said = outputs_of(model)
    names = said if outputs is None else tuple(name.strip() for name in outputs.split(","))
    paths = {"": output}
    if names is not None:
        for name in names:
            if not name or Path(name).name != name:
                raise ss.InputError(
                    f"the output {name!r} cannot be part of a file name; choose others by "
                    f"{'--column' if values is not None else '--outputs'}"
                )
        paths = {
            name: output.with_name(f"{output.stem}.{name}{output.suffix or '.safetensors'}") for name in names
        }
    refuse(force, *paths.values(), sources=(store, values))
    ask: Callable[..., Any] = ss.sketch
    with ExitStack() as stack:
        stack.enter_context(apart())
        executor: Executor | None = None
        context = multiprocessing.get_context("spawn")
        ended = None if workers is None else context.Event()
        if workers is not None:
            executor = stack.enter_context(
                ProcessPoolExecutor(workers, mp_context=context, initializer=work, initargs=(ended,))
            )
        elif threads is not None:
            executor = stack.enter_context(ThreadPoolExecutor(threads))
        try:
            made = ask(
                model,
                space,
                budget=budget,
                method=method,
                target_r2=target_r2,
                link=link,
                inputs=inputs,
                batch_size=batch_size,
                random_state=seed,
                progress=shown(quiet),
                max_terms=max_terms,
                fast=fast,
                outputs=names,
                store=None if store is None else ss.Store(store, model_name=model_name),
                executor=executor,
                retries=retries,
                check=check and values is None,
            )
        except KeyboardInterrupt as interrupt:
            # What still runs was left by a second interrupt.
            stop_commands()
            if ended is not None:
                ended.set()
            kept = (
                "no value was kept (--store PATH would)"
                if store is None
                else f"the values paid for are in {store}, and the same command resumes"
            )
            click.echo(f"\nshapsketch: stopped; {kept}", err=True)
            if executor is not None and not ends(executor):
                # A thread cannot be stopped, but what it works for has ended.
                sys.stderr.flush()
                os._exit(exit_code(interrupt))
            raise click.exceptions.Exit(exit_code(interrupt)) from None
    every = {"": made} if names is None else made
    for name, path in paths.items():
        every[name].save(path)
    if as_json:
        reports = {name: described(every[name], path) for name, path in paths.items()}
        dump(reports[""] if names is None else {"outputs": reports})
        return
    for name, path in paths.items():
        if name:
            click.echo(f"output {name}")
        click.echo(f"{every[name].summary()}\nwrote {path}")


def _arguments(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--command: {error} in {command!r}") from error
