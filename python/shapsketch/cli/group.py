"""The commands, in click; started by :mod:`shapsketch.cli`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import shapsketch as ss
from shapsketch.cli.checking import faithfulness, refine
from shapsketch.cli.convert import convert
from shapsketch.cli.explain import explain
from shapsketch.cli.fit import fit
from shapsketch.cli.info import info
from shapsketch.cli.motifs import motifs
from shapsketch.cli.mutate import mutate
from shapsketch.cli.options import (
    QUIET,
    SEED,
    VERBOSE,
    exit_code,
    message_of,
    signals_as_interrupts,
)
from shapsketch.cli.plan import plan
from shapsketch.cli.plot import plot
from shapsketch.cli.predict import predict
from shapsketch.cli.report import report
from shapsketch.cli.sketch import sketch


def run(arguments: list[str] | None) -> int:
    """Run a command; return the exit code."""
    with signals_as_interrupts():
        return _run(arguments)


def _run(arguments: list[str] | None) -> int:
    try:
        code = shapsketch.main(args=arguments, prog_name="shapsketch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as abort:
        click.echo("shapsketch: stopped; nothing was written", err=True)
        return exit_code(abort.__cause__)
    except SystemExit as error:
        # Raised by a model, as commands do not call sys.exit.
        click.echo(f"shapsketch: the model called sys.exit({error.code!r}) instead of returning", err=True)
        return 1
    except BrokenPipeError:
        # The reader of the output has closed the pipe, so nothing must be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ss.ShapsketchError, OSError) as error:
        click.echo(f"shapsketch: {message_of(error)}", err=True)
        return 1
    return code if isinstance(code, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(ss.__version__, message="shapsketch %(version)s")
def shapsketch() -> None:
    """Explain sequence models: sketch once, then explain any sequence from the sketch.

    Sequence files are FASTA, FASTQ, CSV, TSV or Parquet. Tables are CSV, TSV or Parquet. The extension tells
    the format. All but Parquet may be compressed (.gz, .bz2, .xz, .zst).
    """


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    help="Folder for the plot and the sketch file.",
)
@click.option("--budget", type=int, help="Largest number of sequences to evaluate.")
@SEED
@QUIET
@VERBOSE
def demo(output: Path, budget: int | None, seed: int, quiet: bool) -> None:
    """Explain ViennaRNA's energy of a hairpin, within a minute."""
    from shapsketch.cli import demo as demonstration

    demonstration.run(
        output,
        budget=demonstration.BUDGET if budget is None else budget,
        random_state=seed,
        progress=not quiet,
    )


COMMANDS = (plan, sketch, fit, convert, info, predict, explain, mutate, motifs, faithfulness, refine)
for command in (*COMMANDS, plot, report, demo):
    shapsketch.add_command(command)
