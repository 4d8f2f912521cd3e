"""Smooth monotone curves, fitted by non-negative least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapsketch.space import Values

# Steps of the basis of a monotone curve, points at which it is stored, and the weight of its roughness.
STEPS, POINTS, ROUGHNESS = 12, 64, 0.05
# Weights of the roughness that cross-validation compares, and its folds.
ROUGHNESSES, FOLDS = (0.005, 0.05, 0.5, 5.0), 5
# Smallest slope of a curve that must ascend, relative to the standard deviations of values and arguments.
LEAST_SLOPE = 1e-3
# Negative gradient below which a factor of non-negative least squares stays 0, relative to the largest.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Curve:
    """A smooth monotone curve: a sum of steps with non-negative heights, and a line that does not descend."""

    knots: Values
    heights: Values
    start: float
    slope: float
    constant: float

    @classmethod
    def fit(
        cls,
        at: Values,
        values: Values,
        weights: Values | None,
        *,
        roughness: float = ROUGHNESS,
        least_slope: float = 0.0,
    ) -> Curve:
        """Return the curve that is closest to values (N,), of at least a slope relative to the spreads."""
        spread = float(at.std()) or 1.0
        inner = np.quantile(at, np.linspace(0.0, 1.0, STEPS))
        ends = spread * np.array([1.0, 2.0])
        knots = np.unique(np.concatenate([inner[0] - ends, inner, inner[-1] + ends]))
        start, steps = float(at.min()), _steps(at, knots)
        centre, size = float(values.mean()), float(values.std()) or 1.0
        line = (at - start) / spread
        ones = np.ones((len(at), 1))
        table = np.concatenate([ones, -ones, line[:, None], steps], axis=1)
        target = (values - centre) / size - least_slope * line
        if weights is not None:
            root = np.sqrt(weights / weights.mean())
            table, target = root[:, None] * table, root * target
        rough = np.zeros((steps.shape[1] - 2, table.shape[1]))
        rough[:, 3:] = roughness * np.sqrt(len(at)) * np.diff(np.eye(steps.shape[1]), 2, axis=0)
        table = np.concatenate([table, rough])
        factors = nnls(table, np.concatenate([target, np.zeros(len(rough))]))
        constant = centre + size * (factors[0] - factors[1])
        return cls(knots, size * factors[3:], start, size * (factors[2] + least_slope) / spread, constant)

    def __call__(self, at: Values) -> Values:
        """Return values of the curve (N,)."""
        return np.asarray(
            self.constant + self.slope * (at - self.start) + _steps(at, self.knots) @ self.heights
        )

    def slopes(self, at: Values) -> Values:
        """Return slopes of the curve (N,)."""
        widths = self.knots[2:] - self.knots[:-2]
        inside = np.clip((at[:, None] - self.knots[:-2]) / widths, 0.0, 1.0)
        return np.asarray(self.slope + (6.0 * inside * (1.0 - inside) / widths) @ self.heights)

    def points(self, at: Values, count: int = POINTS) -> tuple[Values, Values]:
        """Return knots and values of a curve that is linear between them, for arguments like `at`."""
        spread = float(at.std()) or 1.0
        knots = np.quantile(at, np.linspace(0.0, 1.0, count))
        ends = spread * np.linspace(0.25, 2.0, 8)
        knots = np.unique(np.concatenate([knots[0] - ends, knots, knots[-1] + ends]))
        return knots, np.maximum.accumulate(self(knots))


def _steps(at: Values, knots: Values) -> Values:
    """Return smooth steps (N, K - 2) from 0 to 1 between each knot and the one after the next."""
    widths = knots[2:] - knots[:-2]
    inside = np.clip((at[:, None] - knots[:-2]) / widths, 0.0, 1.0)
    return np.asarray(inside**2 * (3.0 - 2.0 * inside))


def cross_validated(at: Values, values: Values, weights: Values | None, fold: Values) -> tuple[float, Values]:
    """Return the roughness that predicts values (N,) of other folds best, and its predictions of them.

    The slope of the curves is above 0. `fold` has the number of the fold of each value.
    """
    best, least, chosen = ROUGHNESSES[0], np.inf, values
    for roughness in ROUGHNESSES:
        predictions = np.empty(len(values))
        for number in np.unique(fold):
            held = fold == number
            some = None if weights is None else weights[~held]
            curve = Curve.fit(at[~held], values[~held], some, roughness=roughness, least_slope=LEAST_SLOPE)
            predictions[held] = curve(at[held])
        error = float(np.average((values - predictions) ** 2, weights=weights))
        if error < least:
            best, least, chosen = roughness, error, predictions
    return best, chosen


def nnls(table: Values, target: Values) -> Values:
    """Return x >= 0 (K,) with the smallest norm of ``table @ x - target`` (Lawson & Hanson 1974)."""
    # Rotated rows have the same errors, and there are only as many as columns.
    rotated = np.asarray(np.linalg.qr(np.column_stack([table, target]), mode="r"))
    table, target = rotated[:, :-1], rotated[:, -1]
    width = table.shape[1]
    x, active = np.zeros(width), np.zeros(width, dtype=bool)
    limit = TOLERANCE * float(np.abs(table.T @ target).max(initial=0.0))
    for _ in range(10 * width):
        gradient = np.where(active, -np.inf, table.T @ (target - table @ x))
        if active.all() or gradient.max() <= limit:
            break
        active[gradient.argmax()] = True
        while True:
            free = np.zeros(width)
            free[active] = np.linalg.lstsq(table[:, active], target, rcond=None)[0]
            negative = active & (free <= 0.0)
            if not negative.any():
                break
            step = (x[negative] / (x[negative] - free[negative])).min()
            x = np.where(active, x + step * (free - x), 0.0)
            active &= x > TOLERANCE * x.max(initial=0.0)
            x[~active] = 0.0
        x = free
    return x
