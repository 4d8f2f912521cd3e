"""The commands that use a sketch: `explain`, `mutate`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch import tables
from shapsketch._commands.options import (
    FLOAT32,
    FORCE,
    JSON,
    QUIET,
    READ,
    SEQS,
    SKETCH,
    VERBOSE,
    dump,
    out,
    progress_bar,
    refuse,
)
from shapsketch._formats import COMPRESSED, delimiter_of, reading, rows
from shapsketch.explain import INDICES, Explainer
from shapsketch.records import SequenceReader, read_sequences
from shapsketch.sketch import _warn_if_low
from shapsketch.space import Codes
from shapsketch.tables import TableWriter

# Numbers computed at a time: of a row for each sequence, and of a row for each number.
WIDE = 1 << 22
LONG = 1 << 19


def _file_of(background: str) -> Path | None:
    """Return the file that a background is read from, if it is."""
    path = Path(background.removeprefix("@"))
    return path if background.startswith("@") or path.suffix else None


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
        for symbol in space.alphabet:
            if header.count(symbol) != 1:
                how = "twice" if symbol in header else "missing"
                hint = f"; for sequences, say @{path}" if "sequence" in header else ""
                raise ss.InputError(f"{path}, line {top}: a column for the symbol {symbol!r} is {how}{hint}")
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


@click.command()
@SKETCH
@SEQS
@out("The table: for SV a row for each sequence, for interactions a row for each of them.")
@click.option("--index", type=click.Choice(INDICES), default="SV", help="What to compute.")
@click.option("--max-order", type=click.IntRange(min=1), help="Highest order of interactions.")
@click.option(
    "--top", type=click.IntRange(min=1), metavar="K", help="Only the strongest interactions of each sequence."
)
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
    top: int | None,
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
    columns name, support (such as 3,7), order and value; with --top the largest absolute values come first.
    Positions count from 0. A Parquet file also keeps background, index and link in its schema.
    """
    refuse(force, output, formats=tables.TABLES, sources=(sketch, seqs, _file_of(background)))
    made = ss.load(sketch)
    if index == "SV" and max_order not in (None, 1):
        raise click.UsageError(
            "Shapley values have order 1: leave out --max-order, or choose another --index"
        )
    if index == "SV" and top is not None:
        raise click.UsageError("--top is for interactions: choose another --index")
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
            return tables.interaction_rows(names, found.supports, found.values, top=top)
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
        progress_bar(quiet, reader.path.name) as bar,
        TableWriter(output, columns, metadata=metadata) as table,
    ):
        for names, codes in _parts(reader, bar, most):
            table.write(rows(names, codes))
    seconds = time.perf_counter() - started
    if as_json:
        found = {"output": str(output), "sequences": reader.count, "skipped": reader.skipped}
        dump({**found, "rows": table.rows, **metadata, "seconds": round(seconds, 3)})
        return
    skipped = f", {reader.skipped:,} malformed ones left out" if reader.skipped else ""
    click.echo(
        f"{reader.count:,} sequences in {seconds:.1f} s{skipped}: wrote {table.rows:,} rows to {output}"
    )


@click.command()
@SKETCH
@SEQS
@out("The table of substitutions, or of mutants.")
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
    refuse(force, output, formats=tables.TABLES, sources=(sketch, seqs))
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
