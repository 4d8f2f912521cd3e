"""What the commands share: groups of options, log messages, and the streams they write to."""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click

import shapsketch as ss
from shapsketch.cli.distribution import FORMS, distribution_of
from shapsketch.evaluate.progress import progress_log
from shapsketch.files.atomic import is_stdout, is_stream
from shapsketch.files.formats import FORMATS, format_of
from shapsketch.files.write import TABLES
from shapsketch.query.budget import METHODS

ALPHABETS = {"DNA": ss.DNA, "RNA": ss.RNA, "PROTEIN": ss.PROTEIN}
# Sequences in one batch; larger batches are not faster.
BATCH = 16_384
# The advice of an error that is about a parameter, in terms of the command line.
ADVICE = {
    "column": "choose one with --column",
    "executor": "use --workers instead of --threads",
    "format": "or choose one with --format",
    "output_format": "or choose one with --output-format",
    "inputs": "choose another kind with --inputs",
    "max_terms": "remove --max-terms, or choose another --method",
    "on_error": "--on-error skip skips such records",
    "outputs": "name all outputs with --outputs A,B",
    "stderr": "remove --stderr; in Python, Explainer.refine estimates them with further evaluations",
    "tolerance": "if the model is the same but stochastic, sketch it from Python with "
    "ss.Store(path, tolerance=...)",
}

Command = TypeVar("Command", bound=Callable[..., Any])


class _Ended(KeyboardInterrupt):
    """A signal to end, treated like Ctrl-C."""


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP, which batch systems send, like Ctrl-C."""

    def end(number: int, _frame: object) -> None:
        raise _Ended(number)

    # Signals with a handler, and those that this system does not have, are left alone.
    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        signals = []
    handled = [number for number in signals if signal.getsignal(number) == signal.SIG_DFL]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def exit_code(interrupt: BaseException | None) -> int:
    """Return the exit code after an interrupt: 128 plus the number of the signal, as in shells."""
    number = interrupt.args[0] if isinstance(interrupt, _Ended) else signal.SIGINT
    return 128 + int(number)


def message_of(error: BaseException) -> str:
    """Return the message of an error, with its advice in terms of the command line."""
    if isinstance(error, ss.ShapsketchError) and error.option in ADVICE:
        return f"{error.message}; {ADVICE[error.option]}"
    return str(error)


def combine(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Combine several click options into one decorator."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def grouped(
    name: str, group: type, *options: Callable[[Any], Any], without: tuple[str, ...] = ()
) -> Callable[[Any], Any]:
    """Pass the values of several options as one object: `group(...)` as the argument `name`.

    The fields `without` have no option, and keep their defaults.
    """
    keys = [field.name for field in fields(group) if field.name not in without]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_group(**values: Any) -> Any:
            values[name] = group(**{key: values.pop(key) for key in keys})
            return command(**values)

        add: Callable[[Callable[..., Any]], Callable[..., Any]] = combine(*options)
        return add(with_group)

    return decorate


def _alphabet(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else ALPHABETS.get(value.upper(), value)


def space_named(
    alphabet: str | None, length: int | None, letters: str | None, start: int | None
) -> ss.SequenceSpace:
    """Return the space that the options of :data:`SPACE` name."""
    if letters is not None:
        if alphabet is not None or length is not None:
            raise click.UsageError("pass either --letters, or --alphabet and --length")
        return ss.SequenceSpace(letters.split(","), start=start or 0)
    if alphabet is None or length is None:
        raise click.UsageError("pass --alphabet and --length, or --letters")
    return ss.SequenceSpace(alphabet, length, start=start or 0)


@dataclass(frozen=True)
class Request:
    """The space, and how to spend a budget in it."""

    alphabet: str | None
    length: int | None
    letters: str | None
    start: int | None
    budget: int
    method: Any
    distribution: str
    seed: int

    def space(self) -> ss.SequenceSpace:
        """Return the sequence space."""
        return space_named(self.alphabet, self.length, self.letters, self.start)

    def plan(self) -> ss.Plan:
        """Return the plan; raises an error if the budget or the method does not fit the space."""
        return ss.plan(
            self.space(),
            self.budget,
            method=self.method,
            distribution=self.queries(),
            random_state=self.seed,
        )

    def queries(self) -> Any:
        """Return the distribution of the queries."""
        return distribution_of(self.distribution, self.space())


@dataclass(frozen=True)
class Reading:
    """How to read a file of sequences."""

    column: str
    format_: Any
    on_error: Any
    batch_size: int = BATCH

    def reader(self, path: Path, space: ss.SequenceSpace) -> ss.SequenceReader:
        """Return a reader of the file."""
        return ss.read_sequences(
            path,
            space,
            format=self.format_,
            column=self.column,
            batch_size=self.batch_size,
            on_error=self.on_error,
        )


@dataclass(frozen=True)
class Output:
    """Where results go, and how a command reports."""

    output: Path
    force: bool
    as_json: bool
    quiet: bool


@dataclass(frozen=True)
class TableOutput(Output):
    """Where a table or an image goes, and its format."""

    output_format: Any


FORCE = click.option("--force", is_flag=True, help="Replace the output if it exists.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
FLOAT32 = click.option("--float32", is_flag=True, help="Write numbers in single precision.")
OF = click.option(
    "--of",
    type=click.Choice(["best", "closed-form", "predictor", "amortised"]),
    default="best",
    callback=lambda _context, _option, value: value.replace("-", " "),
    help="What to explain: the closed form (microseconds for each sequence), the predictor of the sketch "
    "(sampled, up to seconds), its amortised values (if the file has them), or the one that is clearly "
    "better.",
)
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of every random choice.")
SPACE = (
    click.option("--alphabet", callback=_alphabet, help="DNA, RNA, PROTEIN, or the symbols themselves."),
    click.option("--length", type=int, help="Number of symbols in a sequence."),
    click.option(
        "--letters",
        help="Instead of alphabet and length: the letters of each position, such as ACDE,WT,G for a library.",
    ),
    click.option(
        "--start",
        type=int,
        help="Number of the first position in messages and summaries; by default 0, and 1 for a wild type.",
    ),
)
REQUEST = grouped(
    "request",
    Request,
    *SPACE,
    click.option("--budget", required=True, type=int, help="Largest number of sequences to evaluate."),
    click.option("--method", type=click.Choice(METHODS), default="auto", help="How to sketch."),
    click.option(
        "--distribution",
        default="uniform",
        metavar=FORMS,
        help="Where the model is evaluated: uniform sequences; mutants of a sequence, each position with "
        "probability RATE (0.1); mixtures of the sequences of a file with uniform ones; the sequences of a "
        "file; or symbols with probabilities.",
    ),
    SEED,
)
FORMAT = (
    click.option("--column", default="sequence", help="Column of a table that holds the sequences."),
    click.option(
        "--format", "format_", type=click.Choice(FORMATS), help="Format of SEQS, if its extension is unusual."
    ),
    click.option(
        "--on-error",
        type=click.Choice(["raise", "skip"]),
        default="raise",
        help="What to do with a malformed record: stop, or skip and count it.",
    ),
)
READING = grouped(
    "reading",
    Reading,
    *FORMAT,
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=BATCH,
        help="Largest number of sequences in memory at a time.",
    ),
)
# For commands whose option --batch-size is that of the model.
READING_ALL = grouped("reading", Reading, *FORMAT, without=("batch_size",))


def output(help_text: str, *more: Callable[[Any], Any], group: type[Output] = Output) -> Callable[[Any], Any]:
    """Return the options for the output file and the report, as the argument `target` of type `group`."""
    return grouped(
        "target",
        group,
        click.option(
            "-o",
            "--output",
            "output",
            required=True,
            type=click.Path(path_type=Path, readable=False),
            metavar="OUT",
            help=help_text,
        ),
        *more,
        FORCE,
        JSON,
        QUIET,
    )


def output_format(formats: Iterable[str]) -> Callable[[Any], Any]:
    """Return the option for the format of the output."""
    return click.option(
        "--output-format",
        type=click.Choice(list(formats)),
        help="Format of the output, if its extension does not tell it, as for /dev/stdout.",
    )


def table_output(help_text: str) -> Callable[[Any], Any]:
    """Return the options of :func:`output` for a table."""
    return output(help_text, output_format(TABLES), group=TableOutput)


class _Formatter(logging.Formatter):
    """Formats log records; the advice of errors is in terms of the command line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                message_of(arg) if isinstance(arg, BaseException) else arg for arg in record.args
            )
        return super().format(record)


def _verbose(context: click.Context, _parameter: click.Parameter, value: int) -> None:
    """Log to stderr while the command runs."""
    log = logging.getLogger("shapsketch")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("shapsketch: %(message)s"))
    before = log.level, progress_log.level
    log.addHandler(handler)
    log.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(value, 2)])
    progress_log.setLevel(logging.INFO)

    def undo() -> None:
        log.removeHandler(handler)
        for each, level in zip((log, progress_log), before, strict=True):
            each.setLevel(level)

    context.call_on_close(undo)


VERBOSE = click.option(
    "-v",
    "--verbose",
    count=True,
    callback=_verbose,
    expose_value=False,
    help="Log more to stderr; -vv logs everything.",
)


def _numbering(context: click.Context, _parameter: click.Parameter, value: int | None) -> None:
    context.meta["shapsketch.start"] = value


START = click.option(
    "--start",
    type=int,
    callback=_numbering,
    expose_value=False,
    help="Another number of the first position than that of the file, for texts, tables, plots and mutants.",
)
# A sketch, which :func:`loaded` reads.
SKETCH = combine(click.argument("sketch", type=click.Path(path_type=Path)), START)


def loaded(path: Path) -> ss.Sketch:
    """Return the sketch of a file, with the first position that `--start` numbers, if it is given."""
    return ss.load(path, start=click.get_current_context().meta.get("shapsketch.start"))


SEQS = click.argument("seqs", type=click.Path(path_type=Path))


def refuse(
    force: bool,
    *paths: Path,
    formats: Iterable[str] = (),
    chosen: str | None = None,
    sources: Iterable[Path | None] = (),
    option: str = "-o",
) -> None:
    """Refuse outputs that cannot be written, before any work is done.

    `chosen` is the requested format, one of `formats`; `sources` are never replaced; `option` names the
    outputs.
    """
    for path in paths:
        if formats:
            format_of(path, formats, chosen, option="output_format")
        for source in sources:
            if source is not None and (path == source or (path.exists() and _same(path, source))):
                raise ss.FileError(
                    f"{path} is an input and cannot also be the output; choose another {option}"
                )
        if path.is_dir():
            raise ss.FileError(f"cannot write {path}: it is a folder; add a file name")
        if is_stream(path):
            continue
        if path.is_file() and not force:
            raise ss.FileError(f"{path} exists; --force replaces it")
        folder = path.resolve().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ss.FileError(
                f"cannot write {path}: {folder} is not a writable folder; choose another {option}"
            )


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what models and their programs print to stderr; stdout is for results only."""
    sys.stdout.flush()
    with ExitStack() as stack:
        with suppress(OSError, ValueError):
            kept = os.dup(1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            os.dup2(2, 1)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def echo(text: object, output: Path | None = None) -> None:
    """Print a report on stdout, or on stderr if stdout is the file `output` itself."""
    click.echo(text, err=output is not None and is_stdout(output))


def print_json(report: dict[str, Any], output: Path | None = None) -> None:
    """Print one JSON object, as :func:`echo` does."""
    echo(json.dumps(report, allow_nan=False, default=str), output)
