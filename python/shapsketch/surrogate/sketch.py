"""Sketches: a surrogate of a model in closed form, and how well it predicts."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.errors import InputError
from shapsketch.link import IDENTITY, Link, LinkLike, loaded, parse
from shapsketch.space import Codes, Sequences, SequenceSpace
from shapsketch.surrogate.spectrum import Spectrum
from shapsketch.surrogate.summary import info_lines

logger = logging.getLogger(__name__)

LOW_FIDELITY = 0.5


def warn_if_low(sketch: Sketch) -> None:
    """Log a warning if R² is low."""
    if sketch.r2 is not None and sketch.r2 < LOW_FIDELITY:
        logger.warning(
            "R² is only %.3f on held-out queries: explanations describe the sketch, not the model",
            sketch.r2,
        )


def on_link(core: _core.Sketch, scale: Link) -> _core.Sketch:
    """Record the link in a sketch, with R² on the model's own scale."""
    held_out = core.held_out
    if scale.name == "identity" or held_out is None:
        return core
    values, predictions = (scale.to_response(part) for part in (held_out.values, held_out.predictions))
    if not np.isfinite(predictions).all():
        return core.with_link(scale.name)
    return core.with_link(scale.name, values, predictions)


@dataclass(frozen=True)
class Pattern:
    """A motif at its place.

    Attributes
    ----------
    support : tuple of int
        Positions, ascending.
    letters : str
        The letters there.
    coefficient : float
        What a sequence with these letters there gains, on the scale of the sketch.
    stderr : float
        Standard error of the coefficient; NaN if not known.
    """

    support: tuple[int, ...]
    letters: str
    coefficient: float
    stderr: float


@dataclass(frozen=True)
class Candidate:
    """A method that was tried on the queries.

    Attributes
    ----------
    name : str
    r2 : float
        R² on held-out queries.
    seconds : float or None
        Time it took, all its choices included; None of a loaded sketch: the same run gives the same file.
    weight : float
        Its weight in the sketch; 0 if it was not taken.
    """

    name: str
    r2: float
    seconds: float | None
    weight: float


class FreePredictor(Protocol):
    """A predictor that costs no evaluation of the model, such as the teacher of a distilled sketch."""

    def predict(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return predictions (B,) for codes."""


class Sketch:
    """A surrogate of a model in closed form, and how well it predicts.

    Made by :func:`sketch` or :func:`load`; from a :class:`Spectrum` alone there is no fidelity to
    report.

    Parameters
    ----------
    spectrum : Spectrum
    """

    def __init__(self, spectrum: Spectrum) -> None:
        if not isinstance(spectrum, Spectrum):
            raise InputError(f"spectrum must be a Spectrum, got {type(spectrum).__name__}")
        self._core = _core.Sketch(spectrum._core)
        self._link = IDENTITY
        self._teacher: FreePredictor | None = None

    @classmethod
    def _wrap(
        cls, core: _core.Sketch, link: Link | None = None, teacher: FreePredictor | None = None
    ) -> Sketch:
        sketch = cls.__new__(cls)
        sketch._core, sketch._teacher = core, teacher
        name = "identity" if core.info is None else core.info.link.name
        sketch._link = loaded(name) if link is None else link
        return sketch

    @cached_property
    def _components(self) -> _core.Components:
        return _core.Components(self._core)

    @cached_property
    def _info(self) -> _core.SketchInfo | None:
        return self._core.info

    @cached_property
    def spectrum(self) -> Spectrum:
        """The surrogate as a spectrum: the same function.

        Raises
        ------
        InputError
            If the letter patterns of a regression stand for more than 2**24 coefficients.
        """
        return Spectrum._wrap(self._core.spectrum())

    @cached_property
    def patterns(self) -> list[Pattern] | None:
        """The letter patterns of a regression, strongest first; None if the surrogate is none of these.

        The surrogate is the sum of their coefficients where they occur, and a constant.
        """
        found = self._core.patterns()
        if found is None:
            return None
        supports, letters, coefficients, variances = found
        alphabet = self.space.alphabet
        errors = np.full(len(supports), np.nan) if variances is None else np.sqrt(variances)
        listed = [
            Pattern(tuple(support), "".join(alphabet[a] for a in word), float(c), float(e))
            for support, word, c, e in zip(supports, letters, coefficients, errors, strict=True)
        ]
        scale = float(self.space.q)
        return sorted(listed, key=lambda p: -abs(p.coefficient) * scale ** (-len(p.support) / 2))

    @cached_property
    def space(self) -> SequenceSpace:
        """The sequence space."""
        return SequenceSpace._wrap(self._core.space)

    @property
    def link(self) -> str:
        """The scale on which the sketch lives: "identity", "log", "logit" or "custom"."""
        return self._link.name

    @property
    def r2(self) -> float | None:
        """R² on the scale of the sketch (at most 1; 0 is no better than a constant).

        For ``peel`` on test queries that were used for nothing else; for ``regress`` on queries held out
        from fits to five sixths of them; for ``trees``, ``distill`` and averages on a fifth of the
        queries, held out from fits to the others, with the choice between methods made on one half of
        these for the other (in a small space, also on the part of it that was asked); for ``exact`` over
        all sequences. None if the sketch has no known origin.
        """
        return None if self._info is None else self._info.r2.value

    @property
    def r2_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of :attr:`r2`."""
        return None if self._info is None else (self._info.r2.low, self._info.r2.high)

    @property
    def response_r2(self) -> float | None:
        """R² on the model's own scale; that of :attr:`r2` if there is no link."""
        if self._info is None or self._info.link.name == "identity":
            return self.r2
        response = self._info.link.response_r2
        return None if response is None else response.value

    @property
    def n_queries(self) -> int | None:
        """Distinct model evaluations spent, validation and test included."""
        return None if self._info is None else self._info.n_queries

    @property
    def method(self) -> str | None:
        """How the sketch was made.

        "exact", "regress", "peel", "trees", "distill", "average" (of several) or "converted" (from a
        fitted ensemble).
        """
        return None if self._info is None else self._info.method

    @property
    def status(self) -> str | None:
        """How it ended.

        "exact"; "converged", "stalled" or "round limit" (peel); "cross-validated" (regress); "validated"
        (trees, distill, averages), with R² of all terms where `max_terms` cut some off; of an adaptive
        sketch "target met", "budget spent" or "more queries no longer pay". Says what `auto` could not
        try.
        """
        return None if self._info is None else str(self._info.status)

    @property
    def candidates(self) -> list[Candidate]:
        """What was tried where several methods were, with the R² of each on held-out queries."""
        candidates = [] if self._info is None else self._info.candidates
        return [Candidate(c.name, c.r2, c.seconds, c.weight) for c in candidates]

    @property
    def teacher_r2(self) -> float | None:
        """R² of the teacher on held-out queries, where the sketch was distilled from one."""
        teacher = None if self._info is None else self._info.teacher
        return None if teacher is None else teacher.value

    @property
    def n_terms(self) -> int:
        """Number of terms of the surrogate: Fourier coefficients, or letter patterns and a constant."""
        return len(self._core)

    def predict(self, sequences: Sequences, *, response: bool = False) -> npt.NDArray[np.float64]:
        """Return surrogate scores (B,) of sequences (strings, or codes (B, n)).

        They are on the scale of the sketch; with `response` in the model's units, where a link makes
        these differ.
        """
        values = self._components.predict(self.space.encode(sequences))
        return self._link.to_response(values) if response else values

    def summary(self) -> str:
        """Return how the sketch was made, how well it predicts, and where its variance is."""
        lines = [f"sketch of sequences over {self.space.alphabet!r} of length {self.space.n}"]
        if self._info is not None:
            lines += info_lines(self._info, self.space.alphabet)
            if self._info.r2.value < LOW_FIDELITY:
                lines.append("           LOW: explanations describe the sketch, hardly the model")
        lines.append(f"terms      {self.n_terms:,}")
        lines += self._orders()
        return "\n".join(lines)

    def _orders(self) -> list[str]:
        counts = self._core.orders()
        if counts is not None:
            kind = "terms" if self.patterns is None else "letter patterns"
            return [f"order {order:<4} {count:,} {kind}" for order, count in enumerate(counts) if count]
        energy = self.spectrum.order_energy()
        total = energy[1:].sum()
        orders = np.count_nonzero(self.spectrum.frequencies, axis=1)
        return [
            f"order {order:<4} {energy[order] / total:7.2%} of the variance, "
            f"{int((orders == order).sum()):,} coefficients"
            for order in np.unique(orders[orders > 0])
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sketch as a safetensors file; the same sketch gives the same bytes.

        Raises
        ------
        FileError
            If the file cannot be written.
        """
        self._core.save(os.fspath(path))

    def __repr__(self) -> str:
        r2 = "" if self.r2 is None else f", R² {self.r2:.3f}"
        return f"Sketch({self.space!r}, {self.n_terms} terms{r2})"


def load(path: str | os.PathLike[str], *, link: LinkLike | None = None) -> Sketch:
    """Read a sketch that :meth:`Sketch.save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or path
    link : (forward, inverse), optional
        The functions of a link of one's own, which no file holds.

    Raises
    ------
    FileError
        If the file cannot be read, is damaged, is no sketch, or was written by a newer version.
    InputError
        If the sketch has another link than the one given.
    """
    core = _core.Sketch.load(os.fspath(path))
    sketch = Sketch._wrap(core)
    if link is None:
        return sketch
    functions = parse(link)
    if functions.name != sketch.link:
        raise InputError(f"the sketch has the link {sketch.link!r}, not {functions.name!r}")
    return Sketch._wrap(core, functions)
