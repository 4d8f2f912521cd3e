"""The commands, in click; started by :mod:`shapsketch.cli`."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

import shapsketch as ss
from shapsketch import models, tables
from shapsketch._formats import COMPRESSED, FORMATS, delimiter_of, reading, rows
from shapsketch.explain import INDICES, Explainer
from shapsketch.model import INPUTS
from shapsketch.records import BATCH, SequenceReader, read_sequences
from shapsketch.sketch import _warn_if_low
from shapsketch.sketching import METHODS
from shapsketch.space import Codes
from shapsketch.tables import TableWriter

ALPHABETS = {"DNA": ss.DNA, "RNA": ss.RNA, "PROTEIN": ss.PROTEIN}
# Sequences read at a time: more is no faster.
HELD = 16_384
# Numbers computed at a time: of a row for each sequence, and of a row for each number.
WIDE = 1 << 22
LONG = 1 << 19
INTERRUPTED = 130
# Sequences that a model is checked with.
CHECKED = 8
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


def run(arguments: list[str] | None) -> int:
    """Run a command; returns the exit code."""
    try:
        code = shapsketch.main(args=arguments, prog_name="shapsketch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("shapsketch: stopped; nothing was written", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; nothing is left to be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ss.ShapsketchError, OSError) as error:
        click.echo(f"shapsketch: {_spoken(str(error))}", err=True)
        return 1
    return code if isinstance(code, int) else 0


def _spoken(text: str) -> str:
    for word, option in SPOKEN.items():
        text = text.replace(word, option)
    return text


class _Spoken(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _spoken(super().format(record))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(ss.__version__, message="shapsketch %(version)s")
def shapsketch() -> None:
    """Explain sequence models: sketch once, then explain any sequence from the sketch.

    Sequence files are FASTA, FASTQ, CSV, TSV or Parquet, tables CSV, TSV or Parquet, by their extension; all
    but Parquet may be compressed (.gz, .bz2, .xz, .zst).
    """


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _alphabet(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    return ALPHABETS.get(value.upper(), value)


SPACE = _options(
    click.option(
        "--alphabet", required=True, callback=_alphabet, help="DNA, RNA, PROTEIN, or the symbols themselves."
    ),
    click.option("--length", required=True, type=int, help="Symbols of a sequence."),
)
BUDGET = _options(
    click.option("--budget", required=True, type=int, help="Most sequences that the model is asked for."),
    click.option("--method", type=click.Choice(METHODS), default="auto", help="How to sketch."),
    click.option("--seed", type=int, default=0, help="Seed of every random choice."),
)
READ = _options(
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
    handler.setFormatter(_Spoken("shapsketch: %(message)s"))
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


def _out(what: str) -> Callable[[Command], Command]:
    return click.option(
        "-o", "--output", "output", required=True, type=click.Path(path_type=Path), metavar="OUT", help=what
    )


def _refuse(force: bool, *paths: Path) -> None:
    """Say now what would otherwise be said when all is paid for."""
    for path in paths:
        if path.is_dir():
            raise ss.FileError(f"cannot write {path}: it is a folder")
        if path.is_file() and not force:
            raise ss.FileError(f"{path} exists; --force replaces it")
        folder = path.resolve().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ss.FileError(f"cannot write {path}: {folder} is no folder that can be written to")


def _shown(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()


@contextmanager
def _bar(quiet: bool, what: str) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(desc=what, unit="seq", unit_scale=True, disable=not _shown(quiet), file=sys.stderr) as bar:
        yield bar


def _dump(found: dict[str, Any]) -> None:
    click.echo(json.dumps(found, allow_nan=False, default=str))


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


@shapsketch.command()
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
        _refuse(force, queries)
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
            "queries_written": tables.write_sequences(queries, space, made.batches(BATCH)),
        }
    if as_json:
        _dump(found)
    else:
        click.echo(made)
        if queries is not None:
            click.echo(f"wrote {found['queries_written']:,} sequences to {queries}")


@shapsketch.command()
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
    "[default: all but sequence, name and id]",
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
@click.option("--fast", is_flag=True, help="Leave out distillation and large trees.")
@click.option("--max-terms", type=click.IntRange(min=1), help="Most terms of the sketch.")
@click.option("--target-r2", type=float, help="Ask in rounds, and stop when R² reaches this.")
@click.option("--check/--no-check", default=True, help="Look at the model first: is it what a sketch needs?")
@_out("The sketch, a safetensors file.")
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
        model = models.command(shlex.split(command or ""))
    names = getattr(model, "outputs", None) if outputs is None else outputs.split(",")
    paths = {"": output}
    if names is not None:
        for name in names:
            if not name or Path(name).name != name:
                raise ss.InputError(f"--outputs: {name!r} cannot be part of a file name")
        paths = {
            name: output.with_name(f"{output.stem}.{name}{output.suffix or '.safetensors'}") for name in names
        }
    _refuse(force, *paths.values())
    if check and values is None:
        # What is odd is logged.
        # Of sequences that the sketch asks for anyway.
        first = next(ss.plan(space, budget, method=method, random_state=seed).batches(CHECKED))
        if len(first) > 1:
            models.check(model, space, inputs=inputs, sequences=first, outputs=names)
    ask: Callable[..., Any] = ss.sketch
    with ExitStack() as stack:
        executor: Executor | None = None
        if workers is not None:
            context = multiprocessing.get_context("spawn")
            executor = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
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
                progress=_shown(quiet),
                max_terms=max_terms,
                fast=fast,
                outputs=names,
                store=None if store is None else ss.Store(store, model_name=model_name),
                executor=executor,
                retries=retries,
            )
        except KeyboardInterrupt:
            if executor is not None:
                executor.shutdown(wait=False, cancel_futures=True)
            kept = (
                "no value was kept (--store PATH would)"
                if store is None
                else f"the values paid for are in {store}, and the same command resumes"
            )
            click.echo(f"\nshapsketch: stopped; {kept}", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
    every = {"": made} if names is None else made
    for name, path in paths.items():
        every[name].save(path)
    if as_json:
        described = {name: _described(every[name], path) for name, path in paths.items()}
        _dump(described[""] if names is None else {"outputs": described})
        return
    for name, path in paths.items():
        if name:
            click.echo(f"output {name}")
        click.echo(f"{every[name].summary()}\nwrote {path}")


def _described(made: ss.Sketch, path: Path) -> dict[str, Any]:
    """Return what is known of a sketch, for JSON."""
    interval = made.r2_interval
    return {
        "sketch": str(path),
        "alphabet": made.space.alphabet,
        "length": made.space.n,
        "method": made.method,
        "status": made.status,
        "queries": made.n_queries,
        "r2": _number(made.r2),
        "r2_interval": None if interval is None else [_number(bound) for bound in interval],
        "response_r2": _number(made.response_r2),
        "link": made.link,
        "terms": made.n_terms,
        "candidates": [
            {"name": c.name, "r2": _number(c.r2), "seconds": c.seconds, "weight": c.weight}
            for c in made.candidates
        ],
        "shapsketch": ss.__version__,
    }


@shapsketch.command()
@SKETCH
@JSON
@VERBOSE
def info(sketch: Path, as_json: bool) -> None:
    """Say what a sketch is, and how well it predicts."""
    made = ss.load(sketch)
    if as_json:
        _dump(_described(made, sketch))
    else:
        click.echo(made.summary())


def _background(text: str, space: ss.SequenceSpace, seed: int) -> Any:
    """Return the background that a text stands for."""
    kind, _, count = text.partition(":")
    if kind == "shuffles":
        if not count:
            return ss.DinucleotideShuffles(random_state=seed)
        if not count.isdecimal():
            raise ss.InputError(f"--background: shuffles:COUNT has a number of shuffles, got {text!r}")
        return ss.DinucleotideShuffles(int(count), random_state=seed)
    if text.startswith("@"):
        with read_sequences(text[1:], space) as reader:
            return np.concatenate([records.codes for records in reader])
    path = Path(text)
    suffixes = [s.lower() for s in path.suffixes if s[1:].lower() not in COMPRESSED]
    if suffixes and suffixes[-1] in (".csv", ".tsv"):
        return _probabilities(path, space, delimiter_of(suffixes[-1][1:]))
    if text != "uniform" and len(text) != space.n:
        near = get_close_matches(text, ("uniform", "shuffles"), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if path.is_file():
            hint = f"; for the sequences of this file, say @{text}"
        raise ss.InputError(
            f"--background: {text!r} is none of uniform, a sequence of {space.n} symbols, @FILE with "
            f"sequences, a table of probabilities (.csv, .tsv), shuffles and shuffles:COUNT{hint}"
        )
    return text


def _probabilities(path: Path, space: ss.SequenceSpace, delimiter: str) -> Any:
    """Return the probabilities (n, q) of a table with a column for each symbol, a row for each position."""
    with reading(path), closing(rows(path, delimiter)) as reader:
        top, header = next(reader, (1, []))
        missing = [symbol for symbol in space.alphabet if symbol not in header]
        if missing:
            raise ss.InputError(f"{path}, line {top}: a column for the symbol {missing[0]!r} is missing")
        at = [header.index(symbol) for symbol in space.alphabet]
        found = []
        for line, row in reader:
            try:
                found.append([float(row[i]) for i in at])
            except (IndexError, ValueError):
                raise ss.InputError(
                    f"{path}, line {line}: expected a probability for each symbol, got {row}"
                ) from None
    if len(found) == 1:
        # A composition is that of every position.
        return np.array(found[0])
    if len(found) != space.n:
        raise ss.InputError(f"{path}: {len(found)} rows of probabilities, the sketch has {space.n} positions")
    return np.array(found)


def _parts(reader: SequenceReader, bar: Any, most: int) -> Iterator[tuple[list[str], Codes]]:
    """Yield names and codes, at most so many at a time."""
    for records in reader:
        for start in range(0, len(records), most):
            yield records.names[start : start + most], records.codes[start : start + most]
            bar.update(min(most, len(records) - start))


@shapsketch.command()
@SKETCH
@SEQS
@_out("The table: for SV a row for each sequence, for interactions a row for each of them.")
@click.option("--index", type=click.Choice(INDICES), default="SV", help="What to compute.")
@click.option("--max-order", type=click.IntRange(min=1), help="Highest order of interactions.")
@click.option(
    "--background",
    default="uniform",
    metavar="uniform|SEQUENCE|@FILE|PROBABILITIES.csv|shuffles[:COUNT]",
    help="What a missing position is drawn from. A table of probabilities has a column for each symbol and "
    "a row for each position, or one row for all.",
)
@click.option("--seed", type=int, default=0, help="Seed of the shuffles.")
@READ
@click.option("--with-sequence", is_flag=True, help="Write the sequences, too (SV).")
@click.option("--stderr", is_flag=True, help="Write standard errors, too (SV).")
@FLOAT32
@FORCE
@JSON
@QUIET
@VERBOSE
def explain(
    sketch: Path,
    seqs: Path,
    output: Path,
    index: Any,
    max_order: int | None,
    background: str,
    seed: int,
    column: str,
    format_: Any,
    on_error: Any,
    batch_size: int,
    with_sequence: bool,
    stderr: bool,
    float32: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Explain the sequences of a file: Shapley values or interactions.

    Shapley values have the columns name, base_value, and p0, p1, ... for the positions; interactions have the
    columns name, support (such as 3,7), order and value. Positions count from 0. A Parquet file also keeps
    background, index and link in its schema.
    """
    _refuse(force, output)
    made = ss.load(sketch)
    if index == "SV" and max_order not in (None, 1):
        raise click.UsageError(
            "Shapley values have order 1: leave out --max-order, or choose another --index"
        )
    if index != "SV" and (stderr or with_sequence):
        raise click.UsageError("--stderr and --with-sequence are for --index SV")
    space = made.space
    chosen = _background(background, space, seed)
    explainer = Explainer(made, chosen)
    _warn_if_low(made)
    own = chosen.count if isinstance(chosen, ss.DinucleotideShuffles) else 1
    probe = np.zeros((1, space.n), dtype=np.uint8)
    if index == "SV":
        columns = tables.value_columns(space.n, sequence=with_sequence, stderr=stderr, float32=float32)
        each, room = len(columns) * own, WIDE
    else:
        columns = tables.interaction_columns(float32=float32)
        supports = explainer.interactions(probe, index=index, max_order=max_order).supports
        each, room = len(supports) + space.n * own, LONG
    metadata = {
        "shapsketch": ss.__version__,
        "sketch": str(sketch),
        "index": index,
        "background": explainer.background,
        "link": made.link,
    }
    if stderr:
        # Refused before anything is read.
        explainer(probe).stderr  # noqa: B018

    def rows(names: list[str], codes: Codes) -> dict[str, Any]:
        if index != "SV":
            found = explainer.interactions(codes, index=index, max_order=max_order)
            return tables.interaction_rows(names, found.supports, found.values)
        explained = explainer(codes)
        return tables.value_rows(
            names,
            explained.values,
            explained.base_values,
            sequences=space.decode(codes) if with_sequence else None,
            stderr=explained.stderr if stderr else None,
        )

    reader = read_sequences(
        seqs, space, format=format_, column=column, batch_size=batch_size, on_error=on_error
    )
    _streamed(reader, output, columns, metadata, rows, max(1, room // each), as_json, quiet)


def _streamed(
    reader: SequenceReader,
    output: Path,
    columns: dict[str, Any],
    metadata: dict[str, str],
    rows: Callable[[list[str], Codes], dict[str, Any]],
    most: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Read, compute and write batch by batch, and say what was done."""
    started = time.perf_counter()
    with (
        reader,
        _bar(quiet, reader.path.name) as bar,
        TableWriter(output, columns, metadata=metadata) as table,
    ):
        for names, codes in _parts(reader, bar, most):
            table.write(rows(names, codes))
    seconds = time.perf_counter() - started
    if as_json:
        found = {"output": str(output), "sequences": reader.count, "skipped": reader.skipped}
        _dump({**found, "rows": table.rows, **metadata, "seconds": round(seconds, 3)})
        return
    skipped = f", {reader.skipped:,} malformed ones left out" if reader.skipped else ""
    click.echo(
        f"{reader.count:,} sequences in {seconds:.1f} s{skipped}: wrote {table.rows:,} rows to {output}"
    )


@shapsketch.command()
@SKETCH
@SEQS
@_out("The table of substitutions, or of mutants.")
@click.option("--best", type=click.IntRange(min=1), metavar="K", help="The best mutants of each sequence.")
@click.option(
    "--mutations", type=click.IntRange(min=1), metavar="M", help="Mutations of these.  [default: 1]"
)
@click.option("--minimize", is_flag=True, help="The best have the lowest scores.")
@READ
@FLOAT32
@FORCE
@JSON
@QUIET
@VERBOSE
def mutate(
    sketch: Path,
    seqs: Path,
    output: Path,
    best: int | None,
    mutations: int | None,
    minimize: bool,
    column: str,
    format_: Any,
    on_error: Any,
    batch_size: int,
    float32: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict the effect of every substitution, or find the best mutants.

    Substitutions have the columns name, position (from 0), from, to and change; mutants have name, rank (from
    1), mutations (such as A3G C7T; positions from 1, as is usual in this notation), score, change and
    sequence.
    """
    _refuse(force, output)
    if best is None and (mutations is not None or minimize):
        raise click.UsageError("--mutations and --minimize are for --best")
    made = ss.load(sketch)
    space = made.space
    explainer = Explainer(made)
    _warn_if_low(made)
    number = "float32" if float32 else "float64"
    columns: dict[str, Any]
    if best is None:
        columns, most = tables.effect_columns(float32=float32), max(1, LONG // (space.n * space.q))
    else:
        columns = {"name": "category", "rank": "int64", "mutations": "string", "score": number}
        columns |= {"change": number, "sequence": "string"}
        most = max(1, LONG // best)
    searched: list[str] = []

    def mutants(name: str, row: Codes) -> dict[str, Any]:
        assert best is not None
        found = explainer.best_mutants(row, mutations or 1, count=best, minimize=minimize)
        if not found.exact and not searched:
            searched.append(name)
            logging.getLogger(__name__).warning(
                "too many mutants to compare all: a beam search finds good ones, perhaps not the best"
            )
        count = len(found.scores)
        return {
            "name": ([name], np.zeros(count, dtype=np.int64)),
            "rank": np.arange(1, count + 1),
            "mutations": found.mutations,
            "score": found.scores,
            "change": found.changes,
            "sequence": found.sequences,
        }

    metadata = {"shapsketch": ss.__version__, "sketch": str(sketch), "link": made.link}
    reader = read_sequences(
        seqs, space, format=format_, column=column, batch_size=batch_size, on_error=on_error
    )

    def effects(names: list[str], codes: Codes) -> dict[str, Any]:
        return tables.effect_rows(names, codes, explainer.mutation_effects(codes), space)

    if best is None:
        _streamed(reader, output, columns, metadata, effects, most, as_json, quiet)
    else:
        _streamed(
            reader,
            output,
            columns,
            metadata,
            lambda names, codes: mutants(names[0], codes[0]),
            1,
            as_json,
            quiet,
        )


@shapsketch.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    help="Folder for plot and sketch file.",
)
@click.option("--budget", type=int, help="Model evaluations to spend.")
@click.option("--seed", type=int, default=0, help="Seed of every random choice.")
@QUIET
@VERBOSE
def demo(output: Path, budget: int | None, seed: int, quiet: bool) -> None:
    """Explain ViennaRNA's energy of a hairpin, within a minute."""
    from shapsketch import demo as demonstration

    demonstration.run(
        output,
        budget=demonstration.BUDGET if budget is None else budget,
        random_state=seed,
        progress=_shown(quiet),
    )
