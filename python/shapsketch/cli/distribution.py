"""Distributions and backgrounds that options name."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import shapsketch as ss
from shapsketch._validate import listed, suggestion
from shapsketch.files.formats import COMPRESSED, number_in, reading, rows
from shapsketch.files.read import read_sequences
from shapsketch.space import Codes

# Forms of `--distribution`.
FORMS = "uniform|mutants:SEQUENCE[:RATE]|hybrids:@FILE|@FILE|PROBABILITIES.csv"


def distribution_of(text: str, space: ss.SequenceSpace) -> Any:
    """Return the distribution that `--distribution` names."""
    kind, colon, rest = text.partition(":")
    if kind == "mutants" and colon:
        sequence, _, rate = rest.partition(":")
        if not rate:
            return ss.Mutagenesis(sequence)
        try:
            return ss.Mutagenesis(sequence, rate=float(rate))
        except ValueError:
            raise ss.InputError(f"--distribution: RATE of mutants must be a number, got {rate!r}") from None
    if kind == "hybrids" and rest.startswith("@"):
        return ss.Hybrids(_sequences(rest[1:], space, "--distribution"))
    if text.startswith("@"):
        return _sequences(text[1:], space, "--distribution")
    path = Path(text)
    if table := _table_kind(path):
        return _probabilities(path, space, table)
    if text != "uniform":
        hint = suggestion(text, ("uniform", "mutants", "hybrids"))
        raise ss.InputError(f"--distribution must be {FORMS.replace('|', ', ')}, got {text!r}{hint}")
    return text


def _sequences(path: str, space: ss.SequenceSpace, option: str) -> Codes:
    """Return the sequences of a file."""
    try:
        with read_sequences(path, space) as reader:
            return np.concatenate([records.codes for records in reader])
    except ss.InputError as error:
        # A file without some of its sequences would be another background or distribution.
        raise ss.InputError(f"{option}: {error.message}; correct the file") from error


def _table_kind(path: Path) -> str | None:
    """Return the kind of a table, by its name; None if it is not one."""
    suffixes = [s.lower() for s in path.suffixes if s[1:].lower() not in COMPRESSED]
    return suffixes[-1][1:] if suffixes and suffixes[-1] in (".csv", ".tsv") else None


def file_of(background: str | None) -> Path | None:
    """Return the file from which a background is read; None for other backgrounds."""
    if background is None:
        return None
    path = Path(background.removeprefix("@"))
    return path if background.startswith("@") or path.suffix else None


def background_of(text: str | None, space: ss.SequenceSpace, seed: int) -> Any:
    """Return the background that `--background` names; None is that of the sketch."""
    if text is None:
        return None
    kind, _, count = text.partition(":")
    if kind == "shuffles":
        if not count:
            return ss.DinucleotideShuffles(random_state=seed)
        if not (count.isascii() and count.isdecimal()):
            raise ss.InputError(f"--background: COUNT of shuffles must be a number, got {text!r}")
        return ss.DinucleotideShuffles(int(count), random_state=seed)
    if text.startswith("@"):
        return _sequences(text[1:], space, "--background")
    path = Path(text)
    if table := _table_kind(path):
        return _probabilities(path, space, table)
    if text != "uniform" and len(text) != space.n:
        hint = suggestion(text, ("uniform", "shuffles"))
        if path.is_file():
            hint = f"; for the sequences of this file, pass @{text}"
        raise ss.InputError(
            f"--background must be uniform, a sequence of {space.n} symbols, @FILE with sequences, a table "
            f"of probabilities (.csv, .tsv), shuffles or shuffles:COUNT, got {text!r}{hint}"
        )
    return text


def _probabilities(path: Path, space: ss.SequenceSpace, kind: str) -> Any:
    """Return probabilities (n, q) from a table with a column for each symbol and a row for each position."""
    with reading(path), closing(rows(path, kind)) as reader:
        top, header = next(reader, (1, []))
        for symbol in space.alphabet:
            if header.count(symbol) != 1:
                how = "appears twice" if symbol in header else "is missing"
                hint = f"; for sequences, pass @{path}" if "sequence" in header else ""
                raise ss.InputError(
                    f"{path}, line {top}: the column for the symbol {symbol!r} {how}; the columns are "
                    f"{listed(header)}{hint}"
                )
        columns = [header.index(symbol) for symbol in space.alphabet]
        table = []
        for line, row in reader:
            try:
                table.append([number_in(row[i]) for i in columns])
            except (IndexError, ValueError):
                raise ss.InputError(
                    f"{path}, line {line}: expected a probability for each symbol, got {row}"
                ) from None
    if len(table) == 1:
        # One row is the composition of every position.
        return np.array(table[0])
    if len(table) != space.n:
        raise ss.InputError(
            f"{path}: {len(table)} rows of probabilities, the sketch has {space.n} positions; use one "
            "row for each position, or one row for all"
        )
    return np.array(table)
