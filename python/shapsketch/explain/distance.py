"""How far explained sequences and backgrounds are from the sequences to which R² refers."""

from __future__ import annotations

import logging
import math

import numpy as np

from shapsketch.errors import InputError
from shapsketch.query.background import Background
from shapsketch.query.distribution import log_likelihoods
from shapsketch.space import Codes, Values
from shapsketch.surrogate.sketch import Sketch

logger = logging.getLogger(__name__)

# A measure is unusual if it exceeds its mean by this many standard deviations.
DEVIATIONS = 5.0
# Sequences resemble each other if they agree at least at this fraction of the positions at which independent
# sequences would differ.
RESEMBLANCE = 0.25
# Background sequences that are compared with the queries, and the largest number of explained sequences.
DRAWN, COMPARED = 256, 10_000


def default_background(sketch: Sketch) -> Background:
    """Return the background of explanations of a sketch unless the user chooses one.

    It is the wild type or the distribution of its queries; uniform for uniform queries and measured data.

    Raises
    ------
    InputError
        If the queries had a background that files do not store.
    """
    distribution, space = sketch._core.distribution, sketch.space
    if distribution is None or distribution.background == "uniform":
        return Background(space)
    if distribution.background == "product":
        return Background(space, probabilities=distribution.probabilities.reshape(space.n, space.q))
    if distribution.references is not None:
        return Background(space, references=distribution.references.reshape(-1, space.n))
    raise InputError(
        f"the queries of this sketch were {distribution.text}; pass background=, which a sketch does not "
        "store in this case"
    )


class Guard:
    """Warns once if R² does not refer to what is explained.

    Parameters
    ----------
    sketch : Sketch
    background : Background
    """

    def __init__(self, sketch: Sketch, background: Background) -> None:
        self._space, self._background = sketch.space, background
        distribution = sketch._core.distribution
        allowed = self._space.allowed
        uniform = allowed / allowed.sum(axis=1, keepdims=True)
        self._text = "uniform" if distribution is None else distribution.text
        self._probabilities: Values = uniform
        self._least = -math.inf
        if distribution is not None:
            self._probabilities = distribution.probabilities.reshape(uniform.shape)
            self._least = distribution.least_log_likelihood
        self._n_queries = sketch.n_queries or 0
        self._warned = False
        # A closed form that is the model itself is right everywhere.
        self._exact = sketch.method in (None, "exact", "converted") or self._n_queries == 0

    def check(self, codes: Codes) -> None:
        """Warn if sequences (B, n) or the background are far from the queries."""
        if self._warned:
            return
        distance = self.distance(codes)
        if distance is not None:
            self._warned = True
            logger.warning(
                "%s; explanations can be wrong. Sketch the model where your sequences are: ss.sketch(..., "
                "distribution=ss.Mutagenesis(wild_type)) or distribution=ss.Hybrids(sequences, background)",
                distance,
            )

    def distance(self, codes: Codes) -> str | None:
        """Return in words that sequences (B, n) or the background are far from the queries; None if not."""
        if self._exact or len(codes) == 0:
            return None
        distinct = np.unique(codes[:COMPARED], axis=0)
        measure = self._unlikely(distinct, "sequences") or self._close(distinct)
        if measure is None and self._background.shuffles is None:
            drawn = self._background.listed(distinct[0])
            if drawn is None:
                drawn = self._background.draw(distinct[0], DRAWN, np.random.default_rng(0))
            measure = self._unlikely(np.unique(drawn, axis=0), "background sequences")
            if measure is None and not self._background.fixed:
                measure = self._resembling(np.unique(drawn, axis=0), "background sequences")
        if measure is None:
            return None
        return f"the R² of this sketch refers to other sequences ({self._text}): {measure}"

    def _unlikely(self, codes: Codes, what: str) -> str | None:
        """Return the log-likelihoods in words if too many sequences are less likely than every query."""
        likelihoods = log_likelihoods(self._probabilities, codes)
        far = int((likelihoods < self._least).sum())
        expected = len(codes) / self._n_queries
        if far <= expected + DEVIATIONS * math.sqrt(expected):
            return None
        return (
            f"{far:,} of {len(codes):,} {what} are less likely than every query (log-likelihood per symbol "
            f"down to {likelihoods.min():.2f}, queries down to {self._least:.2f})"
        )

    def _close(self, codes: Codes) -> str | None:
        """Return in words how similar sequences are to a reference, or to each other, if that is unusual."""
        if self._background.fixed:
            assert self._background.references is not None
            reference = self._background.references[0]
            same = (codes == reference).mean(axis=0)
            expected = self._probabilities[np.arange(self._space.n), reference]
            if _unusual(same, expected, len(codes)):
                mutations = self._space.n - same.sum()
                usual = self._space.n - expected.sum()
                return f"they have {mutations:.1f} mutations from the background, queries have {usual:.1f}"
        return self._resembling(codes, "sequences")

    def _resembling(self, codes: Codes, what: str) -> str | None:
        """Return in words how similar sequences are to each other, if that is unusual."""
        count = len(codes)
        if count < 2:
            return None
        numbers = (codes[:, :, None] == np.arange(self._space.q)).sum(axis=0)
        same = (numbers * (numbers - 1)).sum(axis=1) / (count * (count - 1))
        expected = (self._probabilities**2).sum(axis=1)
        if not _unusual(same, expected, count // 2):
            return None
        return f"two {what} agree at {same.mean():.0%} of the positions, two queries at {expected.mean():.0%}"


def _unusual(same: Values, expected: Values, count: int) -> bool:
    """Return whether `count` comparisons agree at more positions than independent draws would."""
    excess = float((same - expected).sum())
    deviation = math.sqrt(float((expected * (1.0 - expected)).sum()) / count)
    return excess > DEVIATIONS * deviation and excess > RESEMBLANCE * float((1.0 - expected).sum())
