"""The command `fit`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import shapsketch as ss
from shapsketch._validate import listed
from shapsketch.cli.info import report_of
from shapsketch.cli.options import (
    SEED,
    SPACE,
    VERBOSE,
    Output,
    grouped,
    output,
    print_json,
    refuse,
    space_named,
)
from shapsketch.files.columns import read_columns
from shapsketch.fitting.effort import EFFORTS
from shapsketch.link import CHOICES as LINKS


@dataclass(frozen=True)
class Measured:
    """Which columns and rows of a table have the measured values, and of which sequences."""

    alphabet: str | None
    length: int | None
    letters: str | None
    start: int | None
    wild_type: str | None
    column: str | None
    score: tuple[str, ...]
    sd: tuple[str, ...]
    weight: str | None

    def data(self, path: Path) -> dict[str, Any]:
        """Return what :func:`shapsketch.fit` takes."""
        if self.wild_type is not None:
            if self.length is not None or self.letters is not None:
                raise click.UsageError("--length and --letters are not for --wild-type, which has them")
            return {"X": self._variants(path, self.wild_type)}
        if self.sd:
            raise click.UsageError("--sd is for --wild-type")
        if len(self.score) > 1:
            raise click.UsageError("several columns of --score are for --wild-type")
        return self._labelled(path, space_named(self.alphabet, self.length, self.letters, self.start))

    def _variants(self, path: Path, wild_type: str) -> ss.Variants:
        return ss.read_variants(
            path,
            wild_type=wild_type,
            alphabet=self.alphabet,
            start=1 if self.start is None else self.start,
            column=self.column,
            score=list(self.score) or None,
            sd=list(self.sd) or None,
            weight=self.weight,
        )

    def _labelled(self, path: Path, space: ss.SequenceSpace) -> dict[str, Any]:
        column, score = self.column or "sequence", self.score[0] if self.score else "score"
        names = [column, score] if self.weight is None else [column, score, self.weight]

        def choose(header: list[str]) -> list[str]:
            for option, name in zip(("--column", "--score", "--weight"), names, strict=False):
                if name not in header:
                    raise ss.InputError(
                        f"{path}: the column {name!r} is missing; the columns are {listed(header)}; choose "
                        f"one with {option}"
                    )
            return names

        table = read_columns(path, choose)
        numbers = [np.array(table.numbers(name)) for name in names[1:]]
        for name, values in zip(names[1:], numbers, strict=True):
            for row in np.flatnonzero(np.isnan(values)):
                raise ss.InputError(
                    f"{path}, {table.where(int(row))}: the column {name!r} has no number; remove this row"
                )
        try:
            codes = space.encode(table.texts(column))
        except ss.InputError as error:
            where = "" if error.index is None else f", {table.where(error.index)}"
            raise ss.InputError(f"{path}{where}: {error.detail}") from error
        return {
            "X": codes,
            "y": numbers[0],
            "space": space,
            "sample_weight": None if self.weight is None else numbers[1],
        }


@dataclass(frozen=True)
class Fit:
    """How to fit the sketch."""

    method: Any
    loss: Any
    link: Any
    effort: Any
    max_terms: int | None
    seed: int

    def options(self) -> dict[str, Any]:
        """Return the options of :func:`shapsketch.fit`."""
        given = dict(vars(self))
        return {"random_state": given.pop("seed"), **given}


MEASURED = grouped(
    "measured",
    Measured,
    *SPACE,
    click.option(
        "--wild-type",
        metavar="SEQUENCE",
        help="The table is a deep mutational scan of this sequence: variants such as A23G:T45S.",
    ),
    click.option("--column", help="Column of the sequences (by default, sequence) or of the variants."),
    click.option(
        "--score",
        multiple=True,
        help="Column of the values (by default, score). For a scan, several are replicates.",
    ),
    click.option("--sd", multiple=True, help="Column of standard deviations of the values of a scan."),
    click.option("--weight", help="Column of weights."),
)
FIT = grouped(
    "how",
    Fit,
    click.option(
        "--method",
        type=click.Choice(["auto", "regress", "trees", "distill"]),
        default="regress",
        help="How to fit.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["squared", "huber"]),
        default="squared",
        help="What a regression minimises.",
    ),
    click.option("--link", type=click.Choice(LINKS), default="identity", help="Scale of the sketch."),
    click.option("--effort", type=click.Choice(EFFORTS), default="standard", help="How long a fit may take."),
    click.option("--max-terms", type=click.IntRange(min=1), help="Largest number of terms of the sketch."),
    SEED,
)


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@output("The sketch, a safetensors file.")
@MEASURED
@FIT
@VERBOSE
def fit(table: Path, target: Output, measured: Measured, how: Fit) -> None:
    """Fit a sketch to measured data: sequences with values, or a deep mutational scan.

    TABLE is CSV, TSV or Parquet. Without --wild-type it has a column of sequences and one of values.
    """
    refuse(target.force, target.output, sources=(table,))
    sketch = ss.fit(**measured.data(table), **how.options(), progress=not target.quiet)
    sketch.save(target.output)
    if target.as_json:
        print_json(report_of(sketch, target.output))
        return
    click.echo(f"{sketch.summary()}\nwrote {target.output}")
