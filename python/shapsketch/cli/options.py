"""What the commands share: options, and how they speak."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TypeVar

import click

import shapsketch as ss
from shapsketch.files.formats import FORMATS, format_of
from shapsketch.query.budget import METHODS

ALPHABETS = {"DNA": ss.DNA, "RNA": ss.RNA, "PROTEIN": ss.PROTEIN}
# Sequences read at a time: more is no faster.
HELD = 16_384
# How Python's words for options are spoken here.
SPOKEN = {
    "say which one with column=": "say which one with --column",
    "on_error='skip' leaves": "--on-error skip leaves",
    "say format= one of": "say --format, one of",
    "see sketch.summary()": "see `shapsketch info`",
    "outputs=[...]": "--outputs A,B",
    "choose with inputs=": "choose with --inputs",
    "random_state": "seed",
    "say how much by ss.Store": "sketch it from Python, with ss.Store",
}

Command = TypeVar("Command", bound=Callable[..., Any])


class _Ended(KeyboardInterrupt):
    """A signal to end, which is an interrupt as Ctrl-C is."""


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Take signals to end, which batch systems send, for interrupts."""

    def end(number: int, _frame: object) -> None:
        raise _Ended(number)

    # Those that someone else minds, or that do not exist here, are left.
    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        signals = []
    minded = [number for number in signals if signal.getsignal(number) == signal.SIG_DFL]
    for number in minded:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in minded:
            signal.signal(number, signal.SIG_DFL)


def exit_code(interrupt: BaseException | None) -> int:
    """Return the exit code after an interrupt: 128 and the number of the signal, as shells have it."""
    number = interrupt.args[0] if isinstance(interrupt, _Ended) else signal.SIGINT
    return 128 + int(number)


def spoken(text: str) -> str:
    """Say in words of the command line what was said in Python's."""
    for word, option in SPOKEN.items():
        text = text.replace(word, option)
    return text


class Spoken(logging.Formatter):
    """Formats log records with the option names of the command line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return spoken(super().format(record))


def options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Combine several click options into one decorator."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _alphabet(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    return ALPHABETS.get(value.upper(), value)


SPACE = options(
    click.option(
        "--alphabet", required=True, callback=_alphabet, help="DNA, RNA, PROTEIN, or the symbols themselves."
    ),
    click.option("--length", required=True, type=int, help="Symbols of a sequence."),
)
BUDGET = options(
    click.option("--budget", required=True, type=int, help="Most sequences that the model is asked for."),
    click.option("--method", type=click.Choice(METHODS), default="auto", help="How to sketch."),
    click.option("--seed", type=int, default=0, help="Seed of every random choice."),
)
READ = options(
    click.option("--column", default="sequence", help="Column of a table that holds the sequences."),
    click.option("--format", "format_", type=click.Choice(FORMATS), help="Of SEQS, if no extension tells."),
    click.option(
        "--on-error",
        type=click.Choice(["raise", "skip"]),
        default="raise",
        help="What to do with a malformed record: stop, or leave it out and count it.",
    ),
    click.option(
        "--batch-size", type=click.IntRange(min=1), default=HELD, help="Most sequences held at a time."
    ),
)
FORCE = click.option("--force", is_flag=True, help="Replace the output if it exists.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress bars.")
FLOAT32 = click.option("--float32", is_flag=True, help="Write numbers of single precision.")


def _verbose(context: click.Context, _parameter: click.Parameter, value: int) -> None:
    """Log to stderr while the command runs."""
    log = logging.getLogger("shapsketch")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Spoken("shapsketch: %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(value, 2)])

    def undo() -> None:
        log.removeHandler(handler)
        log.setLevel(level)

    context.call_on_close(undo)


VERBOSE = click.option(
    "-v", "--verbose", count=True, callback=_verbose, expose_value=False, help="Say more; -vv says all."
)
SKETCH = click.argument("sketch", type=click.Path(path_type=Path))
SEQS = click.argument("seqs", type=click.Path(path_type=Path))


def out(what: str) -> Callable[[Command], Command]:
    """Return the option for the output file."""
    return click.option(
        "-o", "--output", "output", required=True, type=click.Path(path_type=Path), metavar="OUT", help=what
    )


def refuse(
    force: bool, *paths: Path, formats: Iterable[str] = (), sources: Iterable[Path | None] = ()
) -> None:
    """Say now what would otherwise be said when all is paid for; sources are never replaced."""
    for path in paths:
        if formats:
            format_of(path, formats, option=False)
        for source in sources:
            if source is not None and (path == source or (path.exists() and _same(path, source))):
                raise ss.FileError(f"{path} is read, and cannot be the output, too; give another -o")
        if path.is_dir():
            raise ss.FileError(f"cannot write {path}: it is a folder")
        if path.is_file() and not force:
            raise ss.FileError(f"{path} exists; --force replaces it")
        folder = path.resolve().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ss.FileError(f"cannot write {path}: {folder} is no folder that can be written to")


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def shown(quiet: bool) -> bool:
    """Return whether to show a progress bar."""
    return not quiet and sys.stderr.isatty()


@contextmanager
def progress_bar(quiet: bool, what: str) -> Iterator[Any]:
    """Yield a progress bar of sequences on stderr."""
    from tqdm.auto import tqdm

    with tqdm(desc=what, unit="seq", unit_scale=True, disable=not shown(quiet), file=sys.stderr) as bar:
        yield bar


@contextmanager
def apart() -> Iterator[None]:
    """Send what models and their programs print to stderr, so that stdout has only what is told here."""
    sys.stdout.flush()
    with ExitStack() as stack:
        with suppress(OSError, ValueError):
            kept = os.dup(1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            os.dup2(2, 1)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def dump(found: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(found, allow_nan=False, default=str))
