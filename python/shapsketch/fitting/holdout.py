"""Labelled data, and values held out from a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import real_array
from shapsketch.errors import InputError
from shapsketch.space import Codes, Sequences, SequenceSpace, Values

# Fraction of the distinct sequences that is held out, and bounds of their number.
HELD_OUT = 0.2
HELD_OUT_BOUNDS = (50, 4000)
# Fewest distinct sequences that trees can be fitted to and validated on.
FEWEST = 300


@dataclass(frozen=True)
class Split:
    """Values to fit to, and values that are held out.

    Attributes
    ----------
    codes, values : arrays (N, n) and (N,)
        To fit to.
    held_codes, held_values : arrays (M, n) and (M,)
        Held out.
    """

    codes: Codes
    values: Values
    held_codes: Codes
    held_values: Values

    @classmethod
    def of(cls, codes: Codes, values: Values, seed: int, stream: int = 1) -> Split:
        """Hold out a random fifth; copies of one sequence stay together."""
        _, unit = np.unique(codes, axis=0, return_inverse=True)
        unit = unit.reshape(-1)
        count = int(unit.max()) + 1
        held = min(int(np.clip(round(HELD_OUT * count), *HELD_OUT_BOUNDS)), count // 2)
        chosen = np.zeros(count, dtype=bool)
        chosen[np.random.default_rng([seed, stream]).permutation(count)[:held]] = True
        out = chosen[unit]
        return cls(codes[~out], values[~out], codes[out], values[out])

    def inner(self, seed: int) -> Split:
        """Split the values to fit to once more, for choices: R² on the outer split stays honest."""
        return Split.of(self.codes, self.values, seed, stream=4)


def labelled(X: Sequences, y: npt.ArrayLike | None, space: SequenceSpace) -> tuple[Codes, Values]:
    """Return codes (N, n) and values (N,).

    Raises
    ------
    InputError
        If the shapes do not match, or a value is not a finite real number; the message names the first.
    """
    codes = space.encode(X)
    array = real_array("y", y)
    if array.shape != (len(codes),):
        raise InputError(f"y must have shape ({len(codes)},), one for each sequence, got {array.shape}")
    values = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise InputError(
            f"y: value {values[wrong[0]]} at index {wrong[0]}, sequence "
            f"{space.decode(codes[wrong[:1]])[0]!r}, is not finite ({len(wrong)} such values)",
            advice="remove such rows",
            index=int(wrong[0]),
        )
    return codes, values


def r_squared(values: Values, predictions: Values) -> float:
    """Return R² of predictions; for constant values 1 if they are predicted exactly, otherwise 0."""
    return _core.RSquared(values, predictions).value


def predict(sketch: _core.Sketch, codes: Codes) -> Values:
    """Return the predictions of a sketch for codes."""
    return _core.Components(sketch).predict(codes)


def predictions_after_truncation(
    predictions: Values, full: _core.Sketch, short: _core.Sketch, codes: Codes
) -> Values:
    """Return held-out predictions, minus what the sketch of all values loses by truncation."""
    return predictions + predict(short, codes) - predict(full, codes)


def check_enough(codes: Codes) -> None:
    """Refuse data with too few distinct sequences to validate trees.

    Raises
    ------
    InputError
    """
    distinct = len(np.unique(codes, axis=0))
    if distinct < FEWEST:
        raise InputError(
            f"trees need {FEWEST} distinct sequences to be fitted and validated, got {distinct}; pass "
            "more, or use regression"
        )
