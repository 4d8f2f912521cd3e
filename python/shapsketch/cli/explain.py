"""The command `explain`."""

from __future__ import annotations

from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch.cli.options import (
    FLOAT32,
    FORCE,
    JSON,
    QUIET,
    READ,
    SEQS,
    SKETCH,
    VERBOSE,
    out,
    refuse,
)
from shapsketch.cli.streaming import LONG, WIDE, streamed
from shapsketch.explain import columns as tables
from shapsketch.explain.explainer import INDICES, Explainer
from shapsketch.files.formats import COMPRESSED, delimiter_of, reading, rows
from shapsketch.files.read import read_sequences
from shapsketch.files.write import TABLES
from shapsketch.space import Codes
from shapsketch.surrogate.sketch import _warn_if_low


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
    refuse(force, output, formats=TABLES, sources=(sketch, seqs, _file_of(background)))
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
    streamed(reader, output, columns, metadata, rows, max(1, room // each), as_json, quiet)
