"""Explaining sequences: Shapley values and interactions, read off a sketch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._check import choice, integer
from shapsketch._errors import InputError
from shapsketch.distill import Teacher
from shapsketch.sketch import Sketch
from shapsketch.space import Codes, Sequences
from shapsketch.spectrum import Spectrum

Support = tuple[int, ...]


@dataclass(frozen=True)
class Explanation:
    """Shapley values of a batch of sequences, with the fields of shap's ``Explanation``.

    Attributes
    ----------
    values : numpy.ndarray of float64, shape (B, n)
        Shapley value of each position, on the scale of the sketch.
    base_values : numpy.ndarray of float64, shape (B,)
        The surrogate's mean over the background; with the values of a sequence it sums to the
        surrogate's score.
    data : numpy.ndarray of uint8, shape (B, n)
        The codes that were explained.
    background : str
        What a missing position stands for.
    link : str
        The scale of the values: "identity" is the model's own.
    """

    values: npt.NDArray[np.float64]
    base_values: npt.NDArray[np.float64]
    data: Codes
    background: str
    link: str = "identity"
    _sketch: Sketch | None = field(default=None, repr=False)
    _stderr: npt.NDArray[np.float64] | None = field(default=None, repr=False)

    @cached_property
    def stderr(self) -> npt.NDArray[np.float64] | None:
        """Standard errors of the values (B, n); None where the sketch has none.

        They follow from the residuals at queries that were held out: errors of the terms, and what the
        terms miss. ``values ± 1.96 stderr`` is a 95 % interval for the Shapley values of the model itself.
        Of a teacher's values they are the errors of sampling.
        """
        if self._stderr is not None:
            return self._stderr
        return None if self._sketch is None else self._sketch._core.standard_errors(self.data)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Interactions:
    """Interactions of a batch of sequences, for the supports that have any.

    Attributes
    ----------
    supports : list of tuple of int
        Positions that interact, ascending; sorted by order, then position. Single positions are
        supports of order 1.
    values : numpy.ndarray of float64, shape (B, n_supports)
        Interaction of each support, on the scale of the sketch.
    index : str
        The interaction index.
    background : str
        What a missing position stands for.
    link : str
        The scale of the values: "identity" is the model's own.
    """

    supports: list[Support]
    values: npt.NDArray[np.float64]
    index: str
    background: str
    link: str = "identity"

    @cached_property
    def _orders(self) -> npt.NDArray[np.int64]:
        return np.array([len(support) for support in self.supports], dtype=np.int64)

    def order(self, order: int) -> Interactions:
        """Return the interactions of one order."""
        keep = np.flatnonzero(self._orders == order)
        supports = [self.supports[i] for i in keep]
        return Interactions(supports, self.values[:, keep], self.index, self.background, self.link)

    def top(self, count: int) -> list[tuple[Support, float]]:
        """Return the `count` supports of largest mean absolute value, with that value."""
        size = np.abs(self.values).mean(axis=0)
        return [(self.supports[i], float(size[i])) for i in np.argsort(-size, kind="stable")[:count]]


class Explainer:
    """Explains any sequence from a sketch, without further model calls.

    A position that is missing from a coalition is drawn uniformly from the alphabet: the game is
    ``v_x(T) = E f(x_T, X_rest)`` over uniform ``X`` (Tsui et al., arXiv 2410.19236). Its Möbius
    transform is the functional ANOVA component ``a(S)`` of each support, and Shapley values are
    ``SV_i = sum_{S with i} a(S) / |S|``.

    Parameters
    ----------
    sketch : Sketch or Spectrum
    background : {"uniform"}
        What a missing position stands for.

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace("01", length=3)
    >>> both = ss.Spectrum(space, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], [0.25, -0.25, -0.25, 0.25])
    >>> explainer = ss.Explainer(both)  # 1 if the first two symbols are both 1
    >>> explainer(["110"]).values
    array([[0.375, 0.375, 0.   ]])
    >>> explainer.interactions(["110"]).supports
    [(0,), (1,), (0, 1)]
    """

    def __init__(self, sketch: Sketch | Spectrum, background: Literal["uniform"] = "uniform") -> None:
        if not isinstance(sketch, (Sketch, Spectrum)):
            raise InputError(f"expected a Sketch or a Spectrum, got {type(sketch).__name__}")
        self.background = choice("background", background, ("uniform",))
        self._sketch = sketch if isinstance(sketch, Sketch) else Sketch(sketch)
        self._space = self._sketch.space
        self._components = self._sketch._components
        self._link = self._sketch.link

    @cached_property
    def _supports(self) -> list[Support]:
        return [tuple(support) for support in self._components.supports]

    @property
    def base_value(self) -> float:
        """The surrogate's mean over the background."""
        return self._components.base_value

    def __call__(self, sequences: Sequences) -> Explanation:
        """Return Shapley values of sequences (strings, or codes (B, n)).

        Raises
        ------
        InputError
            If a sequence is not one of the sketch's space: says which and where.
        """
        codes = self._space.encode(sequences)
        values = self._components.shapley_values(codes)
        base_values = np.full(len(codes), self.base_value)
        return Explanation(values, base_values, codes, self.background, self._link, self._sketch)

    def values_of_teacher(
        self, sequences: Sequences, *, permutations: int = 64, random_state: int = 0
    ) -> Explanation:
        """Return Shapley values of the teacher that the sketch was distilled from.

        The teacher may know what no sum of few terms can say, such as a motif wherever it is, but has no
        closed form. What the sketch explains is taken from it exactly; only the difference is sampled, over
        pairs of opposite permutations, each with a random background: unbiased, with standard errors.
        Takes ``permutations * (n + 1)`` predictions of the teacher for each sequence, none of the model.

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
        permutations : int
            Of each sequence, at least 4; rounded up to an even number.
        random_state : int

        Raises
        ------
        InputError
            If the sketch has no teacher (it was not distilled, or loaded from a file, which holds none).
        """
        teacher = self._sketch.__dict__.get("_teacher")
        if teacher is None:
            raise InputError(
                "this sketch has no teacher: only one made by method='distill' (or by 'auto', where it took "
                "a distilled one) has it, until it is saved"
            )
        pairs = (integer("permutations", permutations, least=4) + 1) // 2
        rng = np.random.default_rng(integer("random_state", random_state, least=0))
        codes = self._space.encode(sequences)
        student = self(codes)
        values, base_values = student.values.copy(), student.base_values.copy()
        errors = np.empty_like(values)
        for index, row in enumerate(codes):
            found, base = _sampled(teacher, self._components, row, pairs, self._space.q, rng)
            values[index] += found.mean(axis=0)
            base_values[index] += base
            errors[index] = found.std(axis=0, ddof=1) / np.sqrt(pairs)
        return Explanation(values, base_values, codes, self.background, self._link, None, errors)

    def interactions(
        self, sequences: Sequences, *, index: Literal["Moebius"] = "Moebius", max_order: int | None = None
    ) -> Interactions:
        """Return interactions of sequences (strings, or codes (B, n)).

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
        index : {"Moebius"}
            The Möbius transform of the game, ``a(S)``: the full-order interactions that the SHAP zero
            paper calls Faith-Shap.
        max_order : int, optional
            Leave out supports of higher order.

        Returns
        -------
        Interactions
        """
        choice("index", index, ("Moebius",))
        codes = self._space.encode(sequences)
        values = self._components.moebius(codes)
        supports = self._supports
        if max_order is not None:
            most = integer("max_order", max_order, least=1)
            keep = [i for i, support in enumerate(supports) if len(support) <= most]
            supports, values = [supports[i] for i in keep], values[:, keep]
        return Interactions(supports, values, index, self.background, self._link)


def _sampled(
    teacher: Teacher,
    student: _core.Components,
    row: Codes,
    pairs: int,
    q: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], float]:
    """Return Shapley values of teacher less student (pairs, n), and its mean over the backgrounds."""
    n = len(row)
    order = rng.permuted(np.tile(np.arange(n), (pairs, 1)), axis=1)
    both = np.concatenate([order, order[:, ::-1]])
    backgrounds = np.tile(rng.integers(0, q, (pairs, n), dtype=np.uint8), (2, 1))
    # Step k of a walk has the first k positions of its permutation from the sequence.
    rank = np.argsort(both, axis=1)
    known = rank[:, None, :] < np.arange(n + 1)[None, :, None]
    hybrids = np.where(known, row, backgrounds[:, None, :]).reshape(-1, n)
    difference = (teacher.predict(hybrids) - student.predict(hybrids)).reshape(2 * pairs, n + 1)
    gains = np.empty((2 * pairs, n))
    np.put_along_axis(gains, both, np.diff(difference, axis=1), axis=1)
    return (gains[:pairs] + gains[pairs:]) / 2.0, float(difference[:, 0].mean())
