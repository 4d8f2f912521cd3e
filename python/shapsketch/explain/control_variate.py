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

Each hybrid of a sequence is asked for once. Against one reference, positions where the sequence has the
reference's letter play no part: the game is that of the others, and all its hybrids are asked for if they are
few enough; then values are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch.explain.background import Background
from shapsketch.space import Codes, Values

# Coded sequences in, in parts that are the same each time that they are asked for, and their number; the
# difference between model and surrogate out.
Score = Callable[[Callable[[], Iterator[Codes]], int], Values]

# Part of the calls of each sequence that estimate the mean over the background: at least this, more where
# there are few positions to share its noise, and never fewer calls than FEWEST.
BASE, FEWEST = 0.05, 8
# Fewest calls of a sequence.
LEAST = 32


@dataclass(frozen=True)
class Sampled:
    """Shapley values (B, n) of a difference, their standard errors, and its means over the background."""

    values: Values
    errors: Values
    base: Values
    # Shapley interactions (B, n, n) of pairs, above the diagonal, and their standard errors.
    pairs: Values | None
    pair_errors: Values | None


@dataclass(frozen=True)
class _Estimate:
    """Values (m,) of the positions that play, their variances, and those of pairs (m, m)."""

    values: Values
    variances: Values
    pairs: Values | None = None
    pair_variances: Values | None = None


@dataclass(frozen=True)
class _All:
    """Every coalition of the positions where a sequence differs from the one reference."""

    players: npt.NDArray[np.int64]
    # By mask: the first is the reference.
    hybrids: Codes

    @classmethod
    def of(cls, row: Codes, reference: Codes, players: npt.NDArray[np.int64]) -> _All:
        hybrids = np.repeat(reference[None], 2 ** len(players), axis=0)
        inside = (np.arange(len(hybrids))[:, None] >> np.arange(len(players)) & 1).astype(bool)
        hybrids[:, players] = np.where(inside, row[players], reference[players])
        return cls(players, hybrids)

    def mean(self, answers: Values) -> tuple[float, float]:
        """Return the mean over the background and its variance."""
        return float(answers[0]), 0.0

    def estimate(self, answers: Values, _mean: float, _spread: float, pairs: bool) -> _Estimate:
        m = len(self.players)
        moebius = answers.copy()
        masks = np.arange(len(moebius))
        for player in range(m):
            inside = masks[masks >> player & 1 == 1]
            moebius[inside] -= moebius[inside ^ 1 << player]
        inside = masks[:, None] >> np.arange(m) & 1
        size = inside.sum(axis=1)
        values = (moebius / np.maximum(size, 1)) @ inside
        if not pairs:
            return _Estimate(values, np.zeros(m))
        weighted = moebius / np.maximum(size - 1, 1)
        return _Estimate(values, np.zeros(m), (inside.T * weighted) @ inside, np.zeros((m, m)))


@dataclass(frozen=True)
class _Pairs:
    """Pairs of coalitions: who is inside (K, m), with one background sequence for each pair."""

    players: npt.NDArray[np.int64]
    inside: npt.NDArray[np.bool_]
    # Background sequences for the mean.
    base: int
    # The sequences to ask, and where among them are: the sequence itself, those for the mean, coalitions, and
    # complements.
    hybrids: Codes
    at: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        row: Codes,
        players: npt.NDArray[np.int64],
        backgrounds: Codes,
        base: int,
        rng: np.random.Generator,
    ) -> _Pairs:
        """Draw coalitions; hybrids that are the same are asked for once."""
        m, others = len(players), backgrounds[base:]
        inside = np.empty((len(others), m), dtype=bool)
        within = np.zeros(others.shape, dtype=bool)
        if len(others):
            sizes, chances, _ = _sizes(m)
            drawn = rng.choice(sizes, len(others), p=chances)
            inside = np.argsort(rng.random(inside.shape), axis=1) < drawn[:, None]
        within[:, players] = inside
        hybrids = np.concatenate(
            [row[None], backgrounds[:base], np.where(within, row, others), np.where(within, others, row)]
        )
        hybrids, at = np.unique(hybrids, axis=0, return_inverse=True)
        return cls(players, inside, base, hybrids, at.reshape(-1))

    def mean(self, answers: Values) -> tuple[float, float]:
        """Return the mean over the background and its variance."""
        found = answers[self.at][1 : 1 + self.base]
        return float(found.mean()), float(found.var(ddof=1) / self.base) if self.base > 1 else 0.0

    def estimate(self, answers: Values, mean: float, spread: float, pairs: bool) -> _Estimate:
        m = len(self.players)
        answers = answers[self.at]
        gain = answers[0] - mean
        if m == 1:
            return _Estimate(
                np.array([gain]), np.array([spread]), *((np.zeros((1, 1)),) * 2 if pairs else ())
            )
        inside, outside = np.split(answers[1 + self.base :], 2)
        values, variances = _values(self.inside, inside - outside)
        values, variances = values + gain / m, variances + spread / m**2
        if not pairs:
            return _Estimate(values, variances)
        found = _pairs(self.inside, inside + outside, answers[0] + mean, spread)
        return _Estimate(values, variances, *found)


def _sizes(n: int) -> tuple[npt.NDArray[np.int64], Values, float]:
    """Return the sizes of coalitions, their probabilities, and ``c``."""
    sizes = np.arange(1, n)
    chances = 1.0 / (sizes * (n - sizes))
    c = 1.0 / chances.sum()
    return sizes, chances * c, float(c)


def _draw(row: Codes, calls: int, background: Background, rng: np.random.Generator) -> _All | _Pairs:
    if background.fixed:
        assert background.references is not None
        players = np.flatnonzero(row != background.references[0])
        if 2 ** len(players) <= calls:
            return _All.of(row, background.references[0], players)
        backgrounds = np.repeat(background.references, 1 + (calls - 2) // 2, axis=0)
        return _Pairs.of(row, players, backgrounds, 1, rng)
    n = len(row)
    # Of a single position there is nothing between nobody and all.
    base = max(FEWEST, round(max(BASE, 0.5 / n) * calls)) if n > 1 else calls - 1
    backgrounds = background.draw(row, base + (calls - 1 - base) // 2, rng)
    return _Pairs.of(row, np.arange(n), backgrounds, base, rng)


def sample(
    score: Score, codes: Codes, background: Background, *, calls: int, seed: int, pairs: bool = False
) -> Sampled:
    """Sample the Shapley values of a difference at codes (B, n), with at most `calls` of each."""

    # Drawn again where it is needed: what is asked for is not held for all sequences.
    def draw(index: int) -> _All | _Pairs:
        return _draw(codes[index], calls, background, np.random.default_rng([seed, index]))

    count, n = codes.shape

    def hybrids() -> Iterator[Codes]:
        return (draw(index).hybrids for index in range(count))

    ends = np.cumsum([len(part) for part in hybrids()])
    answers = np.split(score(hybrids, int(ends[-1])), ends[:-1])
    found = [draw(index).mean(answer) for index, answer in enumerate(answers)]
    means, spreads = np.array(found).T
    if not background.fixed and background.shuffles is None:
        # All share one background, of which each drew as many.
        means, spreads = np.broadcast_to(means.mean(), count), np.broadcast_to(spreads.mean() / count, count)
    values, errors = np.zeros((count, n)), np.zeros((count, n))
    tables = (np.zeros((count, n, n)), np.zeros((count, n, n))) if pairs else None
    for index, answer in enumerate(answers):
        drawn = draw(index)
        made = drawn.estimate(answer, means[index], spreads[index], pairs)
        values[index, drawn.players] = made.values
        errors[index, drawn.players] = np.sqrt(made.variances)
        if tables is not None:
            assert made.pairs is not None
            assert made.pair_variances is not None
            at = np.ix_(drawn.players, drawn.players)
            tables[0][index][at], tables[1][index][at] = made.pairs, np.sqrt(made.pair_variances)
    return Sampled(values, errors, np.array(means), *(tables or (None, None)))


def _values(inside: npt.NDArray[np.bool_], differences: Values) -> tuple[Values, Values]:
    """Return the part of Shapley values that adds up to 0, and its variance."""
    pairs, n = inside.shape
    sizes = inside.sum(axis=1)
    c = _sizes(n)[2]
    signs = np.where(inside, 1.0, -1.0)
    # Ridge regression of differences on who is inside, weighted as the estimate weighs their errors.
    weights = sizes * (n - sizes) / (n * n / 4.0)
    weighted = signs * weights[:, None]
    # Of a strength that no draw has a part in: the mean of the weights is 4 c (n - 1) / n².
    strength = 4.0 * c * (n - 1) / n
    inverse = np.linalg.inv(signs.T @ weighted + strength * np.eye(n))
    fitted = inverse @ (weighted.T @ differences)
    leverage = ((signs @ inverse) * weighted).sum(axis=1)
    left = (differences - signs @ fitted) / (1.0 - leverage)
    # The fit to all pairs but one.
    without = fitted - (weighted * left[:, None]) @ inverse
    share = np.where(inside, (n - sizes)[:, None], -sizes[:, None]) / c
    each = without - without.mean(axis=1, keepdims=True) + share * (left / 2.0)[:, None]
    return each.mean(axis=0), each.var(axis=0, ddof=1) / pairs


def _pairs(inside: npt.NDArray[np.bool_], sums: Values, ends: float, spread: float) -> tuple[Values, Values]:
    """Return Shapley interactions of pairs (n, n) above the diagonal, and their variances."""
    count, n = inside.shape
    sizes = inside.sum(axis=1)
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
    return np.where(upper, mean + corner, 0.0), np.where(upper, variance, 0.0)
