"""Results as rows of a table: the columns, and the rows of each batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from shapsketch.explain.table import Support, above_rounding
from shapsketch.files.write import Kind
from shapsketch.space import Codes, SequenceSpace, Values, numbered


def value_columns(
    space: SequenceSpace, *, sequence: bool = False, stderr: bool = False, float32: bool = False
) -> dict[str, Kind]:
    """Return the columns of a table of Shapley values; :func:`value_rows` returns its rows.

    The columns are ``name``, ``sequence`` (if requested), ``base_value``, ``p0``, ``p1`` and so on, by the
    numbers of the positions, and ``p0_stderr`` and so on (if requested).
    """
    names = _position_names(space.n, space.start)
    number: Kind = "float32" if float32 else "float64"
    columns: dict[str, Kind] = {"name": "string"}
    if sequence:
        columns["sequence"] = "string"
    columns["base_value"] = number
    columns.update(dict.fromkeys(names, number))
    if stderr:
        columns.update(dict.fromkeys((f"{name}_stderr" for name in names), number))
    return columns


def _position_names(length: int, start: int) -> list[str]:
    return [f"p{number}" for number in numbered(range(length), start)]


def value_rows(
    names: list[str],
    values: Values,
    base_values: Values,
    *,
    start: int,
    sequences: list[str] | None = None,
    stderr: Values | None = None,
) -> dict[str, Any]:
    """Return one row for each named sequence, from its Shapley values (B, n)."""
    rows: dict[str, Any] = {"name": names}
    if sequences is not None:
        rows["sequence"] = sequences
    rows["base_value"] = base_values
    positions = _position_names(values.shape[1], start)
    rows.update(zip(positions, np.ascontiguousarray(values.T), strict=True))
    if stderr is not None:
        errors = [f"{name}_stderr" for name in positions]
        rows.update(zip(errors, np.ascontiguousarray(stderr.T), strict=True))
    return rows


def interaction_columns(*, float32: bool = False) -> dict[str, Kind]:
    """Return the columns of a table of interactions; :func:`interaction_rows` returns its rows.

    The columns are ``name``, ``support`` (numbers of positions, such as ``"3,7"``), ``order`` and ``value``.
    """
    number: Kind = "float32" if float32 else "float64"
    return {"name": "category", "support": "category", "order": "int64", "value": number}


def interaction_rows(
    names: list[str], supports: list[Support], values: Values, *, start: int, top: int | None = None
) -> dict[str, Any]:
    """Return one row for each named sequence and each interaction, from interactions (B, n_supports).

    With `top`, each sequence has only its `top` interactions of largest absolute value, largest first.
    Rounding errors have no row.
    """
    if top is None:
        columns = np.broadcast_to(np.arange(len(supports)), values.shape)
    else:
        columns = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :top]
    orders = np.array([len(support) for support in supports], dtype=np.int64)
    chosen = np.take_along_axis(values, columns, axis=1)
    listed = above_rounding(chosen, np.abs(values).max(axis=1, initial=0.0))
    support_numbers = columns[listed]
    return {
        "name": (names, np.nonzero(listed)[0]),
        "support": ([",".join(map(str, numbered(support, start))) for support in supports], support_numbers),
        "order": orders[support_numbers],
        "value": chosen[listed],
    }


def effect_columns(*, float32: bool = False) -> dict[str, Kind]:
    """Return the columns of a table of substitutions; :func:`effect_rows` returns its rows.

    The columns are ``name``, ``position`` (its number), ``from`` and ``to`` (symbols), and ``change`` (of the
    score).
    """
    number: Kind = "float32" if float32 else "float64"
    return {"name": "category", "position": "int64", "from": "category", "to": "category", "change": number}


def effect_rows(names: list[str], codes: Codes, effects: Values, space: SequenceSpace) -> dict[str, Any]:
    """Return one row for each single substitution of named sequences, from effects (B, n, q)."""
    symbols = list(space.alphabet)
    substitutions = (codes[:, :, None] != np.arange(space.q)) & space.allowed
    row, position, to = np.nonzero(substitutions)
    return {
        "name": (names, row),
        "position": np.array(numbered(position, space.start), dtype=np.int64),
        "from": (symbols, codes[row, position]),
        "to": (symbols, to),
        "change": effects[substitutions],
    }
