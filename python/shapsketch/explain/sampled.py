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
from shapsketch.explain.coalitions import Mean
from shapsketch.explain.control_variate import Controls, Sampled, sample
from shapsketch.query.background import Background
from shapsketch.space import Codes, Values
from shapsketch.surrogate.predictor import Predictor

logger = logging.getLogger(__name__)

# Sequences that are explained at a time, and mutants that are predicted at a time.
GROUP, MUTANTS = 32, 1 << 16
# Evaluations of each sequence that show how many it needs, and the largest number that it gets.
FIRST_EVALUATIONS, MOST_EVALUATIONS = 128, 4_096
# Factor of the evaluations that it needs, because their number is estimated.
MARGIN = 1.2
# Random sequences that estimate the mean over the background.
MEAN_SEQUENCES = 8_192
# Random sequences that show how large Shapley values are.
TYPICAL_SEQUENCES = 256
# Numbers that give each use its own random numbers; those of `CONTROL` are for a predictor that is a control
# variate.
FIRST, SECOND, MEAN, TYPICAL, CONTROL = 1, 2, 3, 4, 5


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
            parts.append(self._sample(part, controls, evaluations, CONTROL, pairs))
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
            return Mean(float(self.predict(background.references).mean()), 0.0)
        rng = np.random.default_rng([self._sampling.seed, MEAN])
        codes = background.draw(np.zeros(background.space.n, dtype=np.uint8), MEAN_SEQUENCES, rng)
        residuals = self.predict(codes) - self._closed_form.predict(codes)
        base = self._closed_form.components.base_value
        return Mean(base + float(residuals.mean()), float(residuals.var(ddof=1)) / len(codes))

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
                    MOST_EVALUATIONS,
                )
        return sampled

    def _group(self, codes: Codes, pairs: bool) -> Sampled:
        sampling = self._sampling
        controls = self._closed_form.controls(codes, pairs=pairs)
        if sampling.evaluations is not None:
            return self._sample(codes, controls, sampling.evaluations, FIRST, pairs).shrunk(controls)
        first = self._sample(codes, controls, FIRST_EVALUATIONS, FIRST, pairs)
        needed = self._needed(first)
        for evaluations in np.unique(needed[needed > FIRST_EVALUATIONS]):
            rows = np.flatnonzero(needed == evaluations)
            # The first evaluations are not used again: values whose number of evaluations depends on them
            # would be biased.
            more = self._sample(codes[rows], controls.at(rows), int(evaluations), SECOND, pairs)
            first = first.replaced(rows, more)
        return first.shrunk(controls)

    def _sample(
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

    def _needed(self, first: Sampled) -> npt.NDArray[np.int64]:
        """Return the evaluations that each sequence needs; 0 if the first ones suffice.

        They are the first ones times powers of the square root of 2, so that many sequences share a number.
        """
        most = MOST_EVALUATIONS / FIRST_EVALUATIONS
        ratios = np.minimum(self._ratios(first), most)
        steps = np.ceil(2.0 * np.log2(MARGIN * np.maximum(ratios, 1.0))) / 2.0
        needed = np.minimum(np.ceil(FIRST_EVALUATIONS * 2.0**steps), MOST_EVALUATIONS)
        return np.where(ratios > 1.0, needed, 0).astype(np.int64)

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
