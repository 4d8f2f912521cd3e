"""How often positions of a sequence differ from its background.

Positions at which a sequence equals the background sequence do not play in the game of that sequence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shapsketch.query.background import Background
from shapsketch.space import Codes, Values

# Smallest number of degrees of freedom of the variance of a position, and the number of terms that the
# variance of all positions is worth in it.
LEAST_FREEDOM = 4.0
PRIOR = 4.0


def differing_rates(row: Codes, background: Background) -> Values:
    """Return the probability that each position of a sequence (n,) differs from the background."""
    listed = background.listed(row)
    if listed is not None:
        return np.asarray((listed != row).mean(axis=0))
    positions = np.arange(len(row))
    if background.probabilities is not None:
        return np.asarray(1.0 - background.probabilities[positions, row])
    return np.asarray(1.0 - 1.0 / background.space.allowed.sum(axis=1), dtype=np.float64)


def spread(
    terms: Values, sampled: Values, differs: npt.NDArray[np.bool_], rates: Values, *, n_means: int = 1
) -> Values:
    """Return the variance (n,) of terms (K, n), with the part that is sampled.

    `differs` (K, n) says which positions differ from each background sequence, and `rates` (n,) how often.
    `n_means` means were subtracted from the terms. A position that rarely differs has few terms that say how
    large its part is: that of all positions is averaged with it, like `PRIOR` more terms.
    """
    seen = differs.sum(axis=0)
    pooled = (sampled[differs] ** 2).sum() / max(seen.sum(), 1)
    own = seen if n_means == 1 else seen * (1.0 - n_means / len(terms))
    weight = PRIOR / (PRIOR + own)
    freedom = np.maximum(own - (n_means == 1), LEAST_FREEDOM)
    variances = terms.var(axis=0, ddof=1) * freedom / (freedom - 2.0)
    return np.asarray((1.0 - weight) * variances + weight * rates * pooled)
