"""Shapley values of a function that has no closed form, estimated by sampling with control variates.

The function is a model, or the best predictor of a sketch. A control variate ``u`` is a function whose
Shapley values are known, such as the closed form of the sketch. The Shapley values of the function are those
of the first control variate plus those of the difference ``r``, which are sampled. The variance of the
estimate falls with that of ``r``.

Shapley values of single positions come from walks (:mod:`shapsketch.explain.permutations`) if the calls allow
at least three and the background has more than one sequence. Otherwise, and for pairs, coalitions are drawn.

A coalition ``T`` of ``t`` positions is drawn with probability ``c / (t (n - t))`` for its size, together with
its complement and one background sequence ``b``. With ``d = r(x_T, b) - r(x_rest, b)``, ``w_i = (n - t) / c``
for ``i`` inside ``T`` and ``-t / c`` outside, the Shapley values are ``E[w d / 2] + (r(x) - E r(b)) / n``
(SHAP-IQ: Fumagalli et al., NeurIPS 2023; with paired coalitions this is the unbiased KernelSHAP of Covert &
Lee, AISTATS 2021). For each pair of coalitions, a ridge regression on all other pairs predicts ``d`` from the
coalition (its linear part) and from the same difference of each control variate. The prediction, whose
Shapley values are known, is subtracted: the estimate stays unbiased and its variance falls
(regression-adjusted sampling: Witter et al., NeurIPS 2025). A control variate that predicts nothing gets a
coefficient that cancels it, so it is not worse than none.

Each hybrid of a sequence is evaluated once. With one reference as background, positions at which the sequence
equals the reference have the value 0; the game has only the other positions. If all hybrids fit into the
number of calls, all are evaluated, and the values are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch.evaluate.evaluator import Parts
from shapsketch.explain.coalitions import Estimate, Known, Mean
from shapsketch.explain.drawing import Coalitions, coalitions_of
from shapsketch.explain.shrinkage import shrunk
from shapsketch.query.background import Background
from shapsketch.space import Codes, Values

# Takes `Parts` of sequences and the number of sequences; returns values (count,) on the scale of the sketch.
ValuesOf: TypeAlias = Callable[[Parts, int], Values]

# Smallest number of calls for one sequence.
MIN_CALLS = 32


@dataclass(frozen=True)
class Controls:
    """J control variates, with their exact Shapley values at B sequences.

    Attributes
    ----------
    predict : callable
        Returns the values of all of them, (H, J), at codes (H, n).
    values : numpy.ndarray of float64, shape (B, n, J)
        Shapley values.
    base_values : numpy.ndarray of float64, shape (B, J)
        Means over the background.
    pairs : numpy.ndarray of float64, shape (B, n, n, J), or None
        Shapley interactions of pairs, symmetric.
    stderr : numpy.ndarray of float64, shape (B, n), or None
        Standard errors of the Shapley values of the first one, if they are estimates.
    pair_stderr : numpy.ndarray of float64, shape (B, n, n), or None
        The same for pairs, above the diagonal.
    """

    predict: Callable[[Codes], Values]
    values: Values
    base_values: Values
    pairs: Values | None = None
    stderr: Values | None = None
    pair_stderr: Values | None = None

    def at(self, rows: npt.NDArray[np.int64]) -> Controls:
        """Return those of some of the sequences."""
        parts = (self.pairs, self.stderr, self.pair_stderr)
        return Controls(
            self.predict,
            self.values[rows],
            self.base_values[rows],
            *(None if part is None else part[rows] for part in parts),
        )


@dataclass(frozen=True)
class Sampled:
    """Sampled explanations of a function.

    Attributes
    ----------
    values, stderr : numpy.ndarray of float64, shape (B, n)
        Shapley values and their standard errors.
    base_values : numpy.ndarray of float64, shape (B,)
        Means over the background.
    scores : numpy.ndarray of float64, shape (B,)
        Values of the function at the sequences.
    pairs, pair_stderr : numpy.ndarray of float64, shape (B, n, n), or None
        Shapley interactions of pairs, above the diagonal, and their standard errors.
    """

    values: Values
    stderr: Values
    base_values: Values
    scores: Values
    pairs: Values | None
    pair_stderr: Values | None

    def replaced(self, rows: npt.NDArray[np.int64], other: Sampled) -> Sampled:
        """Return a copy with the results of `other` for some of the sequences."""

        def new(own: Values, others: Values) -> Values:
            copy = own.copy()
            copy[rows] = others
            return copy

        return _merged([self, other], new)

    def shrunk(self, controls: Controls) -> Sampled:
        """Return a copy whose differences from the first control variate are shrunk.

        The sum of the values of each sequence stays as it is, because it has almost no error.
        """
        values, stderr = self.values.copy(), self.stderr.copy()
        pairs, pair_stderr = self.pairs, self.pair_stderr
        for index, known in enumerate(controls.values[..., 0]):
            uncertain = self.stderr[index] > 0.0
            if not uncertain.any():
                continue
            difference = (self.values[index] - known)[uncertain]
            mean = difference.mean()
            smaller, errors = shrunk(
                difference - mean, self.stderr[index][uncertain], free=len(difference) - 1
            )
            values[index, uncertain] = known[uncertain] + mean + smaller
            stderr[index, uncertain] = errors
        if pairs is not None and pair_stderr is not None and controls.pairs is not None:
            pairs, pair_stderr = pairs.copy(), pair_stderr.copy()
            for index, matrix in enumerate(controls.pairs[..., 0]):
                uncertain = pair_stderr[index] > 0.0
                difference, errors = shrunk((pairs[index] - matrix)[uncertain], pair_stderr[index][uncertain])
                pairs[index][uncertain] = matrix[uncertain] + difference
                pair_stderr[index][uncertain] = errors
        return Sampled(values, stderr, self.base_values, self.scores, pairs, pair_stderr)

    @staticmethod
    def joined(parts: list[Sampled]) -> Sampled:
        """Return the results of several batches as those of one."""
        return _merged(parts, lambda *arrays: np.concatenate(arrays))

    def fill(self, index: int, positions: npt.NDArray[np.int64], estimate: Estimate, mean: Mean) -> None:
        """Enter the estimate of one sequence, whose game has these positions."""
        share, pair_share = estimate.shares
        self.values[index, positions] = estimate.values - share * mean.value
        self.stderr[index, positions] = np.sqrt(estimate.variances + share**2 * mean.variance)
        if self.pairs is not None and self.pair_stderr is not None:
            assert estimate.pairs is not None
            pairs, variances = estimate.pairs
            upper = np.triu(np.ones(pairs.shape), 1)
            block = np.ix_(positions, positions)
            self.pairs[index][block] = pairs + pair_share * mean.value * upper
            self.pair_stderr[index][block] = np.sqrt(variances + pair_share**2 * mean.variance * upper)


def _merged(parts: list[Sampled], merge: Callable[..., Values]) -> Sampled:
    """Return the results that `merge` makes from the same array of each part."""

    def some(arrays: list[Values | None]) -> Values | None:
        present = [array for array in arrays if array is not None]
        return merge(*present) if present else None

    return Sampled(
        values=merge(*(part.values for part in parts)),
        stderr=merge(*(part.stderr for part in parts)),
        base_values=merge(*(part.base_values for part in parts)),
        scores=merge(*(part.scores for part in parts)),
        pairs=some([part.pairs for part in parts]),
        pair_stderr=some([part.pair_stderr for part in parts]),
    )


def sample(
    values_of: ValuesOf,
    codes: Codes,
    background: Background,
    controls: Controls,
    *,
    calls: int,
    seed: tuple[int, ...],
    pairs: bool = False,
    mean: Mean | None = None,
) -> Sampled:
    """Return sampled Shapley values of a function at codes (B, n), with at most `calls` for each sequence.

    With `mean`, an estimate of the function's mean over the background, no calls estimate it.
    """

    # Coalitions are drawn again for each use, so that the hybrids of all sequences are never in memory
    # together.
    def draw(index: int) -> Coalitions:
        return coalitions_of(codes[index], calls, background, seed, mean is not None, pairs)

    count, n = codes.shape

    def hybrids() -> Iterator[Codes]:
        return (draw(index).hybrids for index in range(count))

    ends = np.cumsum([len(part) for part in hybrids()])
    values, estimates, chosen = np.split(values_of(hybrids, int(ends[-1])), ends[:-1]), [], []
    for index, part in enumerate(values):
        coalitions = draw(index)
        positions = coalitions.positions
        of_pairs = None if controls.pairs is None else controls.pairs[index][np.ix_(positions, positions)]
        known = Known(controls.values[index][positions], controls.base_values[index], of_pairs)
        estimates.append(coalitions.estimate(part, controls.predict(coalitions.hybrids), known, pairs))
        chosen.append(positions)
    means = _means(estimates, background, mean)
    sampled = Sampled(
        values=np.zeros((count, n)),
        stderr=np.zeros((count, n)),
        base_values=np.array([each.value for each in means]),
        scores=np.array([each.score for each in estimates]),
        pairs=np.zeros((count, n, n)) if pairs else None,
        pair_stderr=np.zeros((count, n, n)) if pairs else None,
    )
    for index, (estimate, positions, each) in enumerate(zip(estimates, chosen, means, strict=True)):
        sampled.fill(index, positions, estimate, each)
    if controls.stderr is not None:
        weights = np.array([each.weight for each in estimates])[:, None]
        np.hypot(sampled.stderr, weights * controls.stderr, out=sampled.stderr)
        if sampled.pair_stderr is not None and controls.pair_stderr is not None:
            of_control = weights[:, None] * controls.pair_stderr
            np.hypot(sampled.pair_stderr, of_control, out=sampled.pair_stderr)
    return sampled


def _means(estimates: list[Estimate], background: Background, known: Mean | None) -> list[Mean]:
    """Return the mean over the background for each sequence."""
    own = [known or estimate.mean for estimate in estimates]
    means = [mean for mean in own if mean is not None]
    if known is not None or background.fixed or background.shuffles is not None:
        return means
    # All sequences share one background, and each has the same number of draws from it: pool them.
    value = float(np.mean([mean.value for mean in means]))
    variance = float(np.mean([mean.variance for mean in means]))
    return [Mean(value, variance / len(means))] * len(means)
