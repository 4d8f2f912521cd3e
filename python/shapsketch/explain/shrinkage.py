"""Estimates that are shrunk towards 0, because most of what they show may be their own error."""

from __future__ import annotations

import numpy as np

from shapsketch.space import Values

# Smallest number of estimates that are shrunk.
FEWEST = 5


def shrunk(estimates: Values, errors: Values, *, free: int | None = None) -> tuple[Values, Values]:
    """Return estimates (m,) with a smaller mean squared error, and their standard errors.

    They are multiplied by one number (James & Stein 1961, positive part), which is near 0 if they are no
    larger than their errors, and near 1 if they are much larger. The standard errors are those of Morris
    (J. Am. Stat. Assoc. 1983, eq. 1.17), which include that the number is estimated.

    Parameters
    ----------
    estimates, errors : numpy.ndarray of float64, shape (m,)
        Unbiased estimates, and their standard errors.
    free : int, optional
        Number of estimates that are independent; all by default.
    """
    free = len(estimates) if free is None else free
    variance, square = float((errors**2).mean()) if len(errors) else 0.0, float((estimates**2).sum())
    if free < FEWEST or variance == 0.0 or square == 0.0:
        return estimates, errors
    lost = min(1.0, (free - 2) * variance / square)
    variances = errors**2 * (1.0 - lost * (free - 1) / free) + 2.0 / (free - 3) * (lost * estimates) ** 2
    return (1.0 - lost) * estimates, np.sqrt(variances)
