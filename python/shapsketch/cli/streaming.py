"""From a sequence file to a table, batch by batch; shared by the commands that read sequences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from shapsketch.cli.options import TableOutput, echo, print_json
from shapsketch.evaluate.progress import reporting
from shapsketch.explain.explained import Explained
from shapsketch.files.read import SequenceReader
from shapsketch.files.write import TableWriter
from shapsketch.space import Codes

# Numbers that are computed at a time: for tables with one row per sequence, and with one row per number.
WIDE = 1 << 22
LONG = 1 << 19
# Sequences at a time if their values are sampled, which takes long enough for a progress bar to move.
FEW = 64


def described(explained: Explained) -> dict[str, str]:
    """Return what a table explains, for its metadata."""
    return {
        "of": explained.of,
        "r2": f"{explained.r2:.6g}",
        "background": explained.background,
        "distribution": explained.distribution,
        "link": explained.link,
    }


@dataclass(frozen=True)
class RowSource:
    """How batches become rows of a table.

    Attributes
    ----------
    columns : dict
        Names and kinds of the columns.
    rows : callable
        Takes names and codes (B, n), returns the columns of their rows.
    batch : int
        Largest number of sequences in one call of `rows`.
    metadata : dict of str to str
        Kept in a Parquet file, and printed with --json.
    """

    columns: dict[str, Any]
    rows: Callable[[list[str], Codes], dict[str, Any]]
    batch: int
    metadata: dict[str, str]


def _batches(
    reader: SequenceReader, advance: Callable[[int], object], size: int
) -> Iterator[tuple[list[str], Codes]]:
    """Yield names and codes of at most `size` sequences."""
    for records in reader:
        for start in range(0, len(records), size):
            yield records.names[start : start + size], records.codes[start : start + size]
            advance(min(size, len(records) - start))


def read_all(reader: SequenceReader) -> tuple[list[str], Codes]:
    """Return the names and the codes of all sequences of a file."""
    with reader:
        batches = list(reader)
    return [name for batch in batches for name in batch.names], np.concatenate([b.codes for b in batches])


def stream(reader: SequenceReader, source: RowSource, target: TableOutput) -> None:
    """Read, compute and write batch by batch, then report."""
    started = time.perf_counter()
    with (
        reader,
        reporting(not target.quiet, None, reader.path.name) as advance,
        TableWriter(
            target.output, source.columns, format=target.output_format, metadata=source.metadata
        ) as table,
    ):
        for names, codes in _batches(reader, advance, source.batch):
            table.write(source.rows(names, codes))
    seconds = time.perf_counter() - started
    if target.as_json:
        report = {"output": str(target.output), "sequences": reader.count, "skipped": reader.skipped}
        report |= {"rows": table.rows, **source.metadata, "seconds": round(seconds, 3)}
        print_json(report, target.output)
        return
    skipped = f", {reader.skipped:,} malformed ones skipped" if reader.skipped else ""
    r2 = f" (R² {float(source.metadata['r2']):.3f})" if "r2" in source.metadata else ""
    by = f", by the {source.metadata['of']}{r2}" if "of" in source.metadata else ""
    echo(
        f"{reader.count:,} sequences in {seconds:.1f} s{skipped}: wrote {table.rows:,} rows to "
        f"{target.output}{by}",
        target.output,
    )
