"""The best double mutants of a sequence by a closed form, from its mutation effects and epistasis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shapsketch.explain.closed_form import ClosedForm
from shapsketch.space import Codes, Values

# Sums of two effects that are computed at a time.
CHUNK = 1 << 22


def best_doubles(
    closed_form: ClosedForm, row: Codes, others: npt.NDArray[np.bool_], count: int, sign: float
) -> Codes:
    """Return the `count` double mutants (count, n) of a sequence with the highest scores times `sign`.

    Their substitutions are `others` (n, q). The change by two substitutions is the sum of their effects, plus
    their epistasis if a term has both positions, so no mutant is predicted.
    """
    n, q = others.shape
    effects = np.where(others, sign * closed_form.mutation_effects(row[None]).reshape(n, q), -np.inf)
    best, values = np.empty((0, 2), dtype=np.int64), np.empty(0)
    pairs, epistasis = closed_form.epistasis(row[None])
    together = np.zeros((n, n), dtype=bool)
    if pairs:
        first, second = np.array(pairs, dtype=np.int64).T
        together[first, second] = True
        size = max(1, CHUNK // q**2)
        for start in range(0, len(pairs), size):
            part = slice(start, start + size)
            i, j = first[part], second[part]
            sums = sign * epistasis[0, part] + effects[i][:, :, None] + effects[j][:, None, :]
            top = _largest(sums.ravel(), count)
            pair, a, c = np.unravel_index(top, sums.shape)
            cells = np.stack([i[pair] * q + a, j[pair] * q + c], axis=1)
            best, values = _merged(best, values, cells, sums.ravel()[top], count)
    flat = effects.ravel()
    size = max(1, CHUNK // (n * q * q))
    for start in range(0, n, size):
        positions = np.arange(start, min(start + size, n))
        sums = effects[positions][:, :, None, None] + effects[None, None]
        # Each pair of positions once, and only those without epistasis.
        excluded = together[positions] | (np.arange(n) <= positions[:, None])
        sums[np.broadcast_to(excluded[:, None, :, None], sums.shape)] = -np.inf
        top = _largest(sums.ravel(), count)
        cells = np.stack([top // len(flat) + start * q, top % len(flat)], axis=1)
        best, values = _merged(best, values, cells, sums.ravel()[top], count)
    codes = np.tile(row, (len(best), 1))
    for cells in best.T:
        codes[np.arange(len(codes)), cells // q] = cells % q
    return codes


def _largest(values: Values, count: int) -> npt.NDArray[np.int64]:
    """Return the indices of the `count` largest finite values."""
    chosen = np.argpartition(-values, count - 1)[:count] if count < len(values) else np.arange(len(values))
    return np.sort(chosen[np.isfinite(values[chosen])])


def _merged(
    cells: npt.NDArray[np.int64],
    values: Values,
    new_cells: npt.NDArray[np.int64],
    new_values: Values,
    count: int,
) -> tuple[npt.NDArray[np.int64], Values]:
    """Return the `count` best of two lists of doubles, best first."""
    cells, values = np.concatenate([cells, new_cells]), np.concatenate([values, new_values])
    order = np.argsort(-values, kind="stable")[:count]
    return cells[order], values[order]
