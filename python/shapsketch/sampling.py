"""Sampled Shapley values of what a sketch leaves unexplained.

The values of a model are those of its surrogate, which are exact, and those of the difference, which are
sampled: unbiased whatever the surrogate, with a variance that falls with what it leaves over (a control
variate).

A coalition ``T`` is drawn with a size of probability ``c / (t (n - t))``, together with its complement and
one background sequence ``b``: with ``d = r(x_T, b) - r(x_rest, b)``, ``w_i = (n - t) / c`` inside of ``T``
and ``-t / c`` outside, ``E[w d / 2] + (r(x) - E r(b)) / n`` are the Shapley values (SHAP-IQ: Fumagalli et
al., NeurIPS 2023; with paired coalitions the unbiased KernelSHAP of Covert & Lee, AISTATS 2021). A linear
part of ``d`` is predicted for each pair by a ridge regression on all other pairs, and taken off: still
unbiased, with less variance (regression-adjusted sampling: Witter et al., NeurIPS 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch.background import Background
from shapsketch.space import Codes

Array = npt.NDArray[np.float64]
# Coded sequences in; the difference between model and surrogate out, for batches in their order.
Score = Callable[[Iterator[Codes], int], Array]

# Part of the calls of each sequence that estimate the mean over the background.
BASE = 0.05
# Fewest calls of a sequence.
LEAST = 32


@dataclass(frozen=True)
class Sampled:
    """Shapley values (B, n) of a difference, their standard errors, and its means over the background."""

    # Calls spent on each sequence.
    calls: int
    values: Array
    errors: Array
    base: Array
    # Shapley interactions (B, n, n) of pairs, above the diagonal, and their standard errors.
    pairs: Array | None
    pair_errors: Array | None


@dataclass(frozen=True)
class _Draw:
    """Pairs of coalitions of one sequence: who is inside (K, n), their sizes, background sequences."""

    inside: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.int64]
    backgrounds: Codes
    base: Codes

    def hybrids(self, row: Codes) -> Codes:
        """Return the sequences to ask: itself, those for the mean, coalitions, complements."""
        return np.concatenate(
            [
                row[None],
                self.base,
                np.where(self.inside, row, self.backgrounds),
                np.where(self.inside, self.backgrounds, row),
            ]
        )


def _sizes(n: int) -> tuple[npt.NDArray[np.int64], Array, float]:
    """Return the sizes of coalitions, their probabilities, and ``c``."""
    sizes = np.arange(1, n)
    chances = 1.0 / (sizes * (n - sizes))
    c = 1.0 / chances.sum()
    return sizes, chances * c, float(c)


def _draw(row: Codes, calls: int, background: Background, rng: np.random.Generator) -> _Draw:
    n = len(row)
    base = 1 if background.fixed else max(1, round(BASE * calls))
    pairs = (calls - 1 - base) // 2
    if n == 1:
        # There is nothing between nobody and all.
        return _Draw(
            np.empty((0, 1), dtype=bool),
            np.empty(0, dtype=np.int64),
            row[None][:0],
            background.draw(row, base, rng),
        )
    sizes, chances, _ = _sizes(n)
    drawn = rng.choice(sizes, pairs, p=chances)
    rank = np.argsort(rng.random((len(drawn), n)), axis=1)
    both = background.draw(row, len(drawn) + base, rng)
    return _Draw(rank < drawn[:, None], drawn, both[base:], both[:base])


def sample(
    score: Score, codes: Codes, background: Background, *, calls: int, seed: int, pairs: bool = False
) -> Sampled:
    """Sample the Shapley values of a difference at codes (B, n), with at most `calls` of each."""

    def draw(index: int) -> _Draw:
        return _draw(codes[index], calls, background, np.random.default_rng([seed, index]))

    def batches() -> Iterator[Codes]:
        for index, row in enumerate(codes):
            yield draw(index).hybrids(row)

    count, n = codes.shape
    first = draw(0)
    each = 1 + len(first.base) + 2 * len(first.inside)
    answers = score(batches(), count * each).reshape(count, each)
    split = 1 + len(first.base)
    means, spreads = answers[:, 1:split].mean(axis=1), np.zeros(count)
    if not background.fixed:
        # A background that all share has one mean.
        own = background.shuffles is not None
        rows = (
            answers[:, 1:split]
            if own
            else np.broadcast_to(answers[:, 1:split].reshape(1, -1), (1, count * (split - 1)))
        )
        means = np.broadcast_to(rows.mean(axis=1), count)
        if rows.shape[1] > 1:
            spreads = np.broadcast_to(rows.var(axis=1, ddof=1) / rows.shape[1], count)
    values, errors = np.empty((count, n)), np.empty((count, n))
    tables = (np.zeros((count, n, n)), np.zeros((count, n, n))) if pairs else None
    for index, row in enumerate(answers):
        drawn = draw(index)
        inside, outside = np.split(row[split:], 2)
        gain = row[0] - means[index]
        if n == 1:
            values[index], errors[index] = gain, np.sqrt(spreads[index])
            continue
        found, variance = _values(drawn, inside - outside)
        values[index] = found + gain / n
        errors[index] = np.sqrt(variance + spreads[index] / n**2)
        if tables is not None:
            ends = row[0] + means[index]
            tables[0][index], tables[1][index] = _pairs(drawn, inside + outside, ends, spreads[index])
    return Sampled(each, values, errors, np.array(means), *(tables or (None, None)))


def _values(drawn: _Draw, differences: Array) -> tuple[Array, Array]:
    """Return the part of Shapley values that adds up to 0, and its variance."""
    inside, sizes = drawn.inside, drawn.sizes
    pairs, n = inside.shape
    c = _sizes(n)[2]
    signs = np.where(inside, 1.0, -1.0)
    # Ridge regression of differences on who is inside, weighted as the estimate weighs their errors.
    weights = sizes * (n - sizes) / (n * n / 4.0)
    weighted = signs * weights[:, None]
    inverse = np.linalg.inv(signs.T @ weighted + weights.mean() * n * np.eye(n))
    fitted = inverse @ (weighted.T @ differences)
    leverage = ((signs @ inverse) * weighted).sum(axis=1)
    left = (differences - signs @ fitted) / (1.0 - leverage)
    # The fit to all pairs but one.
    without = fitted - (weighted * left[:, None]) @ inverse
    share = np.where(inside, (n - sizes)[:, None], -sizes[:, None]) / c
    each = without - without.mean(axis=1, keepdims=True) + share * (left / 2.0)[:, None]
    return each.mean(axis=0), each.var(axis=0, ddof=1) / pairs


def _pairs(drawn: _Draw, sums: Array, ends: float, spread: float) -> tuple[Array, Array]:
    """Return Shapley interactions of pairs (n, n) above the diagonal, and their standard errors."""
    inside, sizes = drawn.inside, drawn.sizes
    count, n = inside.shape
    lists, chance, _ = _sizes(n)
    # The weight of a coalition's value over the coalition's probability, by how many of the two it has:
    # C(n, t) / C(n - 2, t - both) with the signs of a second difference.
    by_size = np.zeros((n + 1, 3))
    total_pairs = n * (n - 1.0)
    if n > 2:
        inner = lists[lists < n - 1]
        by_size[inner, 0] = total_pairs / ((n - inner) * (n - inner - 1.0))
        inner = lists[lists > 1]
        by_size[inner, 2] = total_pairs / (inner * (inner - 1.0))
    by_size[lists, 1] = -total_pairs / (lists * (n - lists))
    by_size[lists] /= (chance * (n - 1))[:, None]
    # What is left of the others' mean has no linear part: that of a coalition and its complement cancel.
    left = (sums - sums.mean()) * count / (count - 1)
    total, square = np.zeros((n, n)), np.zeros((n, n))
    for chosen, size, value in zip(inside, sizes, left, strict=True):
        both = chosen[:, None].astype(np.int64) + chosen[None, :]
        found = by_size[size][both] * (value / 2.0)
        total += found
        square += found**2
    mean = total / count
    variance = np.maximum(square / count - mean**2, 0.0) / (count - 1) + spread / (n - 1) ** 2
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    corner = (ends - sums.mean()) / (n - 1)
    return np.where(upper, mean + corner, 0.0), np.where(upper, np.sqrt(variance), 0.0)
