"""Results as rows of a table: the columns, and the values of each batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from shapsketch.explain.table import Support
from shapsketch.files.write import Kind
from shapsketch.space import Codes, SequenceSpace, Values


def value_columns(
    length: int, *, sequence: bool = False, stderr: bool = False, float32: bool = False
) -> dict[str, Kind]:
    """Return the columns of a table of Shapley values, of which :func:`value_rows` are the rows.

    They are ``name``, ``sequence`` if wanted, ``base_value``, ``p0`` to ``p<n-1>`` for the positions, and, if
    wanted, ``p0_stderr`` and so on.
    """
    number: Kind = "float32" if float32 else "float64"
    columns: dict[str, Kind] = {"name": "string"}
    if sequence:
        columns["sequence"] = "string"
    columns["base_value"] = number
    columns.update(dict.fromkeys((f"p{i}" for i in range(length)), number))
    if stderr:
        columns.update(dict.fromkeys((f"p{i}_stderr" for i in range(length)), number))
    return columns


def value_rows(
    names: list[str],
    values: Values,
    base_values: Values,
    *,
    sequences: list[str] | None = None,
    stderr: Values | None = None,
) -> dict[str, Any]:
    """Return rows for Shapley values (B, n) of named sequences."""
    rows: dict[str, Any] = {"name": names}
    if sequences is not None:
        rows["sequence"] = sequences
    rows["base_value"] = base_values
    rows.update((f"p{i}", column) for i, column in enumerate(np.ascontiguousarray(values.T)))
    if stderr is not None:
        rows.update((f"p{i}_stderr", column) for i, column in enumerate(np.ascontiguousarray(stderr.T)))
    return rows


def interaction_columns(*, float32: bool = False) -> dict[str, Kind]:
    """Return the columns of a table of interactions, of which :func:`interaction_rows` are the rows.

    They are ``name``, ``support`` (positions from 0, such as ``"3,7"``), ``order`` and ``value``.
    """
    number: Kind = "float32" if float32 else "float64"
    return {"name": "category", "support": "category", "order": "int64", "value": number}


def interaction_rows(
    names: list[str], supports: list[Support], values: Values, *, top: int | None = None
) -> dict[str, Any]:
    """Return a row for each of some named sequences and each of its interactions (B, n_supports).

    With `top` only so many of each sequence, the largest absolute values first.
    """
    if top is None:
        chosen = np.broadcast_to(np.arange(len(supports)), values.shape)
    else:
        chosen = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :top]
    orders = np.array([len(support) for support in supports], dtype=np.int64)
    which = chosen.reshape(-1)
    return {
        "name": (names, np.repeat(np.arange(len(names)), chosen.shape[1])),
        "support": ([",".join(map(str, support)) for support in supports], which),
        "order": orders[which],
        "value": np.take_along_axis(values, chosen, axis=1).reshape(-1),
    }


def effect_columns(*, float32: bool = False) -> dict[str, Kind]:
    """Return the columns of a table of substitutions, of which :func:`effect_rows` are the rows.

    They are ``name``, ``position`` (from 0), ``from`` and ``to`` (letters), and ``change`` of the score.
    """
    number: Kind = "float32" if float32 else "float64"
    return {"name": "category", "position": "int64", "from": "category", "to": "category", "change": number}


def effect_rows(names: list[str], codes: Codes, effects: Values, space: SequenceSpace) -> dict[str, Any]:
    """Return a row for each single substitution of named sequences, from effects (B, n, q)."""
    letters = list(space.alphabet)
    other = codes[:, :, None] != np.arange(space.q)
    row, position, to = np.nonzero(other)
    return {
        "name": (names, row),
        "position": position,
        "from": (letters, codes[row, position]),
        "to": (letters, to),
        "change": effects[other],
    }
