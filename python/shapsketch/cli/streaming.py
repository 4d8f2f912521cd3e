"""From a sequence file to a table, batch by batch; shared by `explain` and `mutate`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from shapsketch.cli.options import dump, progress_bar
from shapsketch.files.read import SequenceReader
from shapsketch.files.write import TableWriter
from shapsketch.space import Codes

# Numbers computed at a time: of a row for each sequence, and of a row for each number.
WIDE = 1 << 22
LONG = 1 << 19


def _parts(reader: SequenceReader, bar: Any, most: int) -> Iterator[tuple[list[str], Codes]]:
    """Yield names and codes, at most so many at a time."""
    for records in reader:
        for start in range(0, len(records), most):
            yield records.names[start : start + most], records.codes[start : start + most]
            bar.update(min(most, len(records) - start))


def streamed(
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
