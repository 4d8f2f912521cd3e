"""Sampled explanations of the best predictor of a sketch, which has no closed form."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from shapsketch._validate import check_memory, lazy_property
from shapsketch.evaluate.evaluator import Parts
from shapsketch.evaluate.progress import Progress, reporting
from shapsketch.explain.closed_form import ClosedForm
from shapsketch.explain.coalitions import AllCoalitions, Mean
from shapsketch.explain.control_variate import Controls, Sampled, sample
from shapsketch.explain.differing import differing_rates
from shapsketch.explain.drawing import rng_of
from shapsketch.explain.walks import FEWEST_PAIRS, Players, Walks, estimate
from shapsketch.query.background import Background
from shapsketch.space import Codes, Values
from shapsketch.surrogate.predictor import Predictor

logger = logging.getLogger(__name__)

# Sequences that are explained at a time, and mutants that are predicted at a time.
GROUP, MUTANTS = 32, 1 << 16
# Evaluations of each sequence that show how many it needs, and the largest number that it gets. Along walks,
# the first ones are `FEWEST_PAIRS`, and there may be more, because they are faster.
FIRST_EVALUATIONS, MOST_EVALUATIONS = 128, 4_096
MOST_ALONG_WALKS = 16_384
# Variance of the values relative to those of as many coalitions (measured: 1.0 to 1.6).
WALKS_VARIANCE = 1.5
# Longest sequences for which walks are used. In longer ones, networks are not faster along walks.
LONGEST_WALK = 100
# Factor of the evaluations that it needs, because their number is estimated.
MARGIN = 1.2
# Random sequences that estimate the mean over the background.
MEAN_SEQUENCES = 8_192
# Random sequences that show how large Shapley values are.
TYPICAL_SEQUENCES = 256
# Numbers that give each use its own random numbers. Each of `PURPOSES` estimates from the one before how many
# evaluations are needed; those of `CONTROL` are for a predictor that is a control variate.
PURPOSES = (1, 2, 6)
MEAN, TYPICAL, CONTROL = 3, 4, 5


@dataclass(frozen=True)
class Sampling:
    """How a predictor is sampled.

    Attributes
    ----------
    precision : float
        Standard error of the values that is aimed at, relative to their root mean square.
    evaluations : int or None
        Predictions for each sequence; None chooses their number by `precision`.
    seed : int
    progress : bool or callable
    """

    precision: float
    evaluations: int | None
    seed: int
    progress: Progress


class SampledPredictor:
    """Shapley values and interactions of pairs of a predictor under a background.

    The closed form of the sketch is the control variate.
    """

    def __init__(
        self, predictor: Predictor, closed_form: ClosedForm, background: Background, sampling: Sampling
    ) -> None:
        self._predictor, self._closed_form = predictor, closed_form
        self._background, self._sampling = background, sampling

    @property
    def r2(self) -> float:
        """R² on held-out queries."""
        return self._predictor.r2

    def as_control(self, codes: Codes, evaluations: int, *, pairs: bool) -> Sampled:
        """Return sampled Shapley values by this number of evaluations of each sequence."""
        parts = []
        for start in range(0, len(codes), GROUP):
            part = codes[start : start + GROUP]
            controls = self._closed_form.controls(part, pairs=pairs)
            parts.append(self._by_coalitions(part, controls, evaluations, CONTROL, pairs))
        return Sampled.joined(parts)

    def predict(self, codes: Codes) -> Values:
        """Return predicted scores (B,)."""
        return self._predictor.predict(codes)

    def mutation_effects(self, codes: Codes) -> Values:
        """Return the change of the score by every substitution, (B, n q)."""
        q, n = self._background.space.q, self._background.space.n
        effects, cells = np.empty((len(codes), n * q)), np.arange(n * q)
        for b, (row, score) in enumerate(zip(codes, self.predict(codes), strict=True)):
            for start in range(0, n * q, MUTANTS):
                part = cells[start : start + MUTANTS]
                mutants = np.repeat(row[None], len(part), axis=0)
                mutants[np.arange(len(part)), part // q] = part % q
                effects[b, part] = self.predict(mutants) - score
            effects[b, np.arange(n) * q + row] = 0.0
        return effects

    def epistasis(self, codes: Codes) -> tuple[list[tuple[int, int]], Values]:
        """Return all pairs of positions, and the epistasis of their substitutions, (B, n_pairs, q, q)."""
        q, n = self._background.space.q, self._background.space.n
        pairs = list(combinations(range(n), 2))
        singles = self.mutation_effects(codes).reshape(len(codes), n, q)
        check_memory("the epistasis", 8 * len(codes) * len(pairs) * q**2, "pass fewer sequences at a time")
        values = np.empty((len(codes), len(pairs), q, q))
        symbols = np.arange(q * q)
        scores = self.predict(codes)
        for b, row in enumerate(codes):
            for start in range(0, len(pairs), max(1, MUTANTS // q**2)):
                part = np.array(pairs[start : start + max(1, MUTANTS // q**2)])
                mutants = np.repeat(np.tile(row, (len(part), 1)), q * q, axis=0)
                rows = np.arange(len(mutants))
                first, second = np.repeat(part, q * q, axis=0).T
                mutants[rows, first] = np.tile(symbols // q, len(part))
                mutants[rows, second] = np.tile(symbols % q, len(part))
                both = (self.predict(mutants) - scores[b]).reshape(len(part), q, q)
                alone = singles[b, part[:, 0], :, None] + singles[b, part[:, 1], None, :]
                values[b, start : start + len(part)] = both - alone
        return pairs, values

    @lazy_property
    def mean(self) -> Mean | None:
        """Mean over the background; None if it differs by sequence."""
        background = self._background
        if background.shuffles is not None:
            return None
        if background.references is not None and len(background.references) <= MEAN_SEQUENCES:
            return self._mean_of(background.references)
        rng = np.random.default_rng([self._sampling.seed, MEAN])
        codes = background.draw(np.zeros(background.space.n, dtype=np.uint8), MEAN_SEQUENCES, rng)
        residuals = self.predict(codes) - self._closed_form.predict(codes)
        base = self._closed_form.components.base_value
        return Mean(base + float(residuals.mean()), float(residuals.var(ddof=1)) / len(codes))

    def _mean_of(self, listed: Codes | None) -> Mean:
        """Return the exact mean over all sequences of a background."""
        assert listed is not None
        return Mean(float(self.predict(listed).mean()), 0.0)

    @property
    def base_value(self) -> float:
        """Mean over the background, which is the same for all sequences."""
        assert self.mean is not None
        return self.mean.value

    @lazy_property
    def _typical(self) -> float:
        """Root mean square of the Shapley values of random sequences, by the closed form."""
        rng = np.random.default_rng([self._sampling.seed, TYPICAL])
        codes = self._closed_form.typical_sequences(TYPICAL_SEQUENCES, rng)
        values, _ = self._closed_form.shapley_values(codes)
        return float(np.sqrt((values**2).mean()))

    def explain(self, codes: Codes, *, pairs: bool = False) -> Sampled:
        """Return sampled Shapley values of codes (B, n)."""
        parts = []
        with reporting(self._sampling.progress and len(codes) > GROUP, len(codes), "explain") as advance:
            for start in range(0, len(codes), GROUP):
                parts.append(self._group(codes[start : start + GROUP], pairs))
                advance(len(codes[start : start + GROUP]))
        sampled = Sampled.joined(parts)
        if self._sampling.evaluations is None:
            imprecise = int((self._ratios(sampled) > MARGIN).sum())
            if imprecise:
                logger.warning(
                    "%d of %d sequences have not reached precision=%g with %d evaluations; see "
                    "sampling_stderr, and pass evaluations= for more",
                    imprecise,
                    len(codes),
                    self._sampling.precision,
                    self._bounds(pairs)[1],
                )
        return sampled

    def _group(self, codes: Codes, pairs: bool) -> Sampled:
        evaluations, controls = self._sampling.evaluations, self._closed_form.controls(codes, pairs=pairs)
        if evaluations is not None:
            sampled = self._by_coalitions(codes, controls, evaluations, PURPOSES[0], pairs)
            return sampled.shrunk(controls)
        least, most = self._bounds(pairs)
        done = np.full(len(codes), least)
        sampled = self._sample(codes, controls, least, PURPOSES[0], pairs)
        for purpose, largest in zip(PURPOSES[1:], (1.0, MARGIN), strict=True):
            needed = self._needed(sampled, done, largest, most)
            for evaluations in np.unique(needed[needed > done]):
                rows = np.flatnonzero((needed == evaluations) & (needed > done))
                # Earlier evaluations are not used again: values whose number of evaluations depends on them
                # would be biased.
                more = self._sample(codes[rows], controls.at(rows), int(evaluations), purpose, pairs)
                sampled = sampled.replaced(rows, more)
            done = np.maximum(done, needed)
        return sampled.shrunk(controls)

    def _bounds(self, pairs: bool) -> tuple[int, int]:
        """Return the smallest and the largest number of evaluations of a sequence."""
        if pairs or not self._has_walks:
            return FIRST_EVALUATIONS, MOST_EVALUATIONS
        return FEWEST_PAIRS * self._pair_of_walks, MOST_ALONG_WALKS

    @property
    def most_coalitions(self) -> float:
        """Number of coalitions with the same error as the most evaluations of a sequence."""
        return MOST_ALONG_WALKS / WALKS_VARIANCE if self._has_walks else MOST_EVALUATIONS

    @property
    def _pair_of_walks(self) -> int:
        """Evaluations of a pair of walks."""
        return 2 * (self._background.space.n + 1)

    @property
    def _has_walks(self) -> bool:
        """Whether the core evaluates the predictor along walks, and they are short."""
        return self._predictor._custom is None and 1 < self._background.space.n <= LONGEST_WALK

    def _sample(
        self, codes: Codes, controls: Controls, evaluations: int, purpose: int, pairs: bool
    ) -> Sampled:
        if pairs or not self._has_walks:
            return self._by_coalitions(codes, controls, evaluations, purpose, pairs)
        games = [self._games(row, evaluations) for row in codes]
        few = np.flatnonzero([game is not None for game in games])
        most = evaluations // self._pair_of_walks
        if not len(few):
            return self._along_walks(codes, controls, most, purpose)
        exact = Sampled.joined(
            [self._exact(row, game) for row, game in zip(codes, games, strict=True) if game]
        )
        if len(few) == len(codes):
            return exact
        return self._along_walks(codes, controls, most, purpose).replaced(few, exact)

    def _games(self, row: Codes, evaluations: int) -> list[AllCoalitions] | None:
        """Return the game of each background sequence, if they are few and have few coalitions in all."""
        listed = self._background.listed(row)
        if listed is None:
            return None
        differs = listed != row
        if (2.0 ** differs.sum(axis=1)).sum() > evaluations:
            return None
        return [
            AllCoalitions.enumerate(row, reference, np.flatnonzero(own))
            for reference, own in zip(listed, differs, strict=True)
        ]

    def _exact(self, row: Codes, games: list[AllCoalitions]) -> Sampled:
        """Return the mean of the exact values of all games of one sequence."""
        scores = self.predict(np.concatenate([game.hybrids for game in games]))
        parts = np.split(scores, np.cumsum([len(game.hybrids) for game in games])[:-1])
        values = np.zeros(len(row))
        for game, part in zip(games, parts, strict=True):
            values[game.positions] += game.shapley_values(part) / len(games)
        base_value = np.mean([part[0] for part in parts], keepdims=True)
        return Sampled(values[None], np.zeros((1, len(row))), base_value, scores[-1:], None, None)

    def _along_walks(self, codes: Codes, controls: Controls, most: int, purpose: int) -> Sampled:
        """Return values from up to `most` pairs of walks for each sequence."""
        background = self._background
        rngs = [rng_of((self._sampling.seed, purpose), row) for row in codes]
        walks = Walks.draw(codes, background, most, rngs)
        ends_and_orders = walks.starts, walks.targets, walks.orders.ravel()
        changes = walks.changes(self._predictor._core.walks(*ends_and_orders, walks.draws))
        of_control = walks.changes(self._closed_form.walks(*ends_and_orders))
        means, backgrounds = [self.mean] * len(codes), walks.backgrounds
        if background.shuffles is not None:
            means = [self._mean_of(background.listed(row)) for row in codes]
        scores, values, errors = self.predict(codes), np.empty(codes.shape), np.empty(codes.shape)
        for b, (row, mean) in enumerate(zip(codes, means, strict=True)):
            assert mean is not None
            players = Players(backgrounds[b] != row, differing_rates(row, background))
            known, score = controls.values[b, :, 0], float(scores[b])
            values[b], errors[b] = estimate(
                changes[b], of_control[b], known, players, walks.strata, score, mean
            )
        base_values = np.array([mean.value for mean in means if mean is not None])
        return Sampled(values, errors, base_values, scores, None, None)

    def _by_coalitions(
        self, codes: Codes, controls: Controls, evaluations: int, purpose: int, pairs: bool
    ) -> Sampled:
        return sample(
            self._values_of,
            codes,
            self._background,
            controls,
            calls=evaluations,
            seed=(self._sampling.seed, purpose),
            pairs=pairs,
            mean=self.mean,
        )

    def _values_of(self, parts: Parts, count: int) -> Values:
        values = np.empty(count)
        done = 0
        for batch in _gathered(parts()):
            values[done : done + len(batch)] = self.predict(batch)
            done += len(batch)
        assert done == count
        return values

    def _needed(
        self, sampled: Sampled, done: npt.NDArray[np.int64], largest: float, most: int
    ) -> npt.NDArray[np.int64]:
        """Return the evaluations that each sequence needs: more than are done if its ratio exceeds `largest`.

        They are the first ones times powers of the square root of 2, so that many sequences share a number.
        """
        ratios = np.minimum(self._ratios(sampled), most / done)
        steps = np.ceil(2.0 * np.log2(MARGIN * np.maximum(ratios, 1.0))) / 2.0
        needed = np.minimum(np.ceil(done * 2.0**steps), most)
        return np.where(ratios > largest, needed, done).astype(np.int64)

    def _ratios(self, sampled: Sampled) -> Values:
        """Return the variance of the values of each sequence, divided by that of the precision."""
        variances = (sampled.stderr**2).mean(axis=1)
        squares = np.maximum((sampled.values**2).mean(axis=1) - variances, self._typical**2)
        if sampled.pair_stderr is not None:
            n = sampled.stderr.shape[1]
            of_pairs = (sampled.pair_stderr**2).sum(axis=(1, 2)) / max(1, n * (n - 1) // 2)
            variances = np.maximum(variances, of_pairs)
        aim = self._sampling.precision**2 * squares
        ratios: Values = np.divide(variances, aim, out=np.full(len(aim), np.inf), where=aim > 0)
        return np.where(variances == 0.0, 0.0, ratios)


def _gathered(batches: Iterator[Codes]) -> Iterator[Codes]:
    """Yield batches of at least `MUTANTS` sequences, because large batches are faster."""
    waiting: list[Codes] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= MUTANTS:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
