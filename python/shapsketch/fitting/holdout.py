"""Labelled data, and values held out from a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import LARGEST, SMALLEST, not_squarable, real_array
from shapsketch.errors import InputError, ModelError
from shapsketch.link import IDENTITY, Link
from shapsketch.query.budget import FEWEST
from shapsketch.space import Codes, Sequences, SequenceSpace, Values

# Fraction of the distinct sequences that is held out, and bounds of their number.
HELD_OUT = 0.2
HELD_OUT_BOUNDS = (50, 4000)
# Sequences are near one sequence if they differ from it at less than this fraction of the positions at which
# uniform sequences do, on average.
NEAR = 0.5


@dataclass(frozen=True)
class Labelled:
    """Sequences with values to learn from.

    Attributes
    ----------
    codes, values : arrays (N, n) and (N,)
    weights : array (N,), optional
        Above 0; None for equal weights.
    """

    codes: Codes
    values: Values
    weights: Values | None = None

    def at(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Labelled:
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Labelled(self.codes[rows], self.values[rows], weights)

    @property
    def n_sequences(self) -> int:
        """Number of distinct sequences."""
        return len(np.unique(self.codes, axis=0))

    def sequences(self) -> list[int]:
        """Return the number of the sequence of each row, from 0 without gaps."""
        _, sequences = np.unique(self.codes, axis=0, return_inverse=True)
        numbers: list[int] = sequences.reshape(-1).tolist()
        return numbers

    def farthest_share(self) -> float:
        """Return the share of the squared deviations from the mean that the farthest sequence has."""
        return _core.farthest_share(self.values, self.weights, sequences=self.sequences())

    def r_squared(self, predictions: Values) -> float:
        """Return R² of predictions; NaN if the values do not differ."""
        return r_squared(self.values, predictions, self.weights)

    def held_out_r2(self, predictions: Values, rows: Labelled, *, gain: float) -> _core.RSquared:
        """Return R² of predictions of these held-out values, with its interval.

        `rows` are all values, of which these were held out; `gain` is the largest fraction by which a fit to
        all of them has a smaller error.
        """
        return _core.RSquared(
            self.values,
            predictions,
            self.weights,
            sequences=self.sequences(),
            gain=gain,
            farthest=rows.farthest_share(),
        )

    def error(self, predictions: Values) -> float:
        """Return the mean squared error of predictions."""
        return float(np.average((self.values - predictions) ** 2, weights=self.weights))


def mutated_fraction(codes: Codes, q: int) -> float:
    """Return the mean fraction of positions at which sequences differ from their most frequent symbols."""
    counts = [np.bincount(column, minlength=q).max() for column in codes.T]
    return 1.0 - float(np.mean(counts)) / len(codes)


def are_near(codes: Codes, space: SequenceSpace) -> bool:
    """Return whether sequences, codes (N, n), are near one sequence."""
    uniform = 1.0 - float(np.mean(1.0 / space.allowed.sum(axis=1)))
    return mutated_fraction(codes, space.q) < NEAR * uniform


@dataclass(frozen=True)
class Split:
    """Data to fit to, and data that are held out."""

    train: Labelled
    held: Labelled

    @classmethod
    def of(cls, data: Labelled, seed: int, stream: int = 1) -> Split:
        """Hold out a random fifth; copies of one sequence stay together."""
        _, unit = np.unique(data.codes, axis=0, return_inverse=True)
        unit = unit.reshape(-1)
        count = int(unit.max()) + 1
        held = min(int(np.clip(round(HELD_OUT * count), *HELD_OUT_BOUNDS)), count // 2)
        chosen = np.zeros(count, dtype=bool)
        chosen[np.random.default_rng([seed, stream]).permutation(count)[:held]] = True
        out = chosen[unit]
        return cls(data.at(~out), data.at(out))

    def inner(self, seed: int) -> Split:
        """Split the data to fit to once more, for choices: R² on the outer split stays honest."""
        return Split.of(self.train, seed, stream=4)


def labelled(
    X: Sequences,
    y: npt.ArrayLike | None,
    space: SequenceSpace,
    sample_weight: npt.ArrayLike | None = None,
    link: Link = IDENTITY,
) -> Labelled:
    """Return sequences with their values, on the scale of the link, and weights.

    Raises
    ------
    InputError
        If the shapes do not match, a value is not a finite real number in the domain of the link, a weight is
        not above 0, or magnitudes are too large or too small to be squared; the message names the first such
        number.
    """
    codes = space.encode(X)

    def checked(
        name: str, numbers: npt.ArrayLike | None, least: float, requirement: str, advice: str
    ) -> Values:
        array = real_array(name, numbers)
        if array.shape != (len(codes),):
            raise InputError(
                f"{name} must have shape ({len(codes)},), one for each sequence, got {array.shape}"
            )
        values = array.astype(np.float64)
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > least)))
        if len(wrong):
            raise InputError(
                f"{name}: value {values[wrong[0]]} at index {wrong[0]}, sequence "
                f"{space.decode(codes[wrong[:1]])[0]!r}, is not {requirement} ({len(wrong)} such values)",
                advice=advice,
                index=int(wrong[0]),
            )
        return values

    values = checked("y", y, -np.inf, "finite", "remove such rows")
    try:
        values = link.to_link(values, "y")
    except ModelError as error:
        # There is no model: the values are an argument.
        raise InputError(error.message, index=error.index) from None
    _check_size("y", values)
    if sample_weight is None:
        return Labelled(codes, values)
    advice = "remove rows that should not count"
    weights = checked("sample_weight", sample_weight, 0.0, "a finite number above 0", advice)
    _check_size("sample_weight", weights)
    return Labelled(codes, values, weights)


def _check_size(name: str, values: Values) -> None:
    """Refuse numbers that the core cannot square.

    Raises
    ------
    InputError
    """
    index = not_squarable(values)
    if index is not None:
        raise InputError(
            f"{name}: the largest magnitude, {values[index]:g} at index {index}, cannot be squared without "
            f"loss; rescale {name} to magnitudes from {SMALLEST:g} to {LARGEST:g}",
            index=index,
        )


def r_squared(values: Values, predictions: Values, weights: Values | None = None) -> float:
    """Return R² of predictions; NaN if the values do not differ."""
    return _core.RSquared(values, predictions, weights).value


def predict(sketch: _core.Sketch, codes: Codes) -> Values:
    """Return the predictions of a sketch for codes."""
    return _core.Components(sketch).predict(codes)


def predictions_after_truncation(
    predictions: Values, full: _core.Sketch, short: _core.Sketch, codes: Codes
) -> Values:
    """Return held-out predictions, minus what the sketch of all values loses by truncation."""
    return predictions + predict(short, codes) - predict(full, codes)


def check_enough(data: Labelled) -> None:
    """Refuse data with too few distinct sequences to validate trees.

    Raises
    ------
    InputError
    """
    if data.n_sequences < FEWEST:
        raise InputError(
            f"trees need {FEWEST} distinct sequences to be fitted and validated, got {data.n_sequences}; "
            "pass more, or use regression"
        )
