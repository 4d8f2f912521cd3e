"""Sketches: a closed form that approximates a model, with its provenance and R²."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import boolean, file_path, lazy_property, not_squarable
from shapsketch.errors import InputError
from shapsketch.link import IDENTITY, MONOTONE, SOFTMAX, Link, LinkLike, MonotoneCurve, loaded, parse
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, checked_start
from shapsketch.surrogate.patterns import Candidate, Pattern
from shapsketch.surrogate.predictor import CustomPart, Predictor
from shapsketch.surrogate.runs import Run, support_of, symbols_in_words
from shapsketch.surrogate.spectrum import Spectrum
from shapsketch.surrogate.summary import described, info_lines, predictor_lines

logger = logging.getLogger(__name__)

# R² below which a sketch gets a warning.
LOW_FIDELITY = 0.5


def warn_if_low(sketch: Sketch) -> None:
    """Log a warning if R² is undefined or below `LOW_FIDELITY`, or if few sequences decide it."""
    r2 = None if sketch._info is None else sketch._info.r2
    if r2 is None:
        return
    if r2.is_undefined:
        logger.warning("R² is undefined, because all %d values are equal", r2.count)
    elif r2.is_carried_by_few:
        logger.warning(
            "about %.0f of %d sequences decide R² and its interval (%.2f to %.2f)",
            max(1.0, r2.n_effective),
            r2.count,
            r2.low,
            r2.high,
        )
    if r2.value < LOW_FIDELITY:
        logger.warning(
            "R² is only %.3f on held-out queries: explanations describe the sketch, not the model",
            sketch.r2,
        )


def on_link(core: _core.Sketch, scale: Link) -> _core.Sketch:
    """Record the link in a sketch, with R² on the model's own scale; a fitted curve is recorded already."""
    held_out = core.held_out
    if scale.name in ("identity", MONOTONE) or held_out is None:
        return core
    if scale.name == SOFTMAX:
        return core.with_link(scale.name)
    values = scale.to_response(held_out.values)
    predictions = scale.to_response(held_out.predictions, allow_nan=True)
    # R² squares the values. Those of a model on a log scale may be too large or too small for that.
    if not np.isfinite(predictions).all() or any(
        not_squarable(part) is not None for part in (values, predictions)
    ):
        return core.with_link(scale.name)
    return core.with_link(scale.name, values, predictions)


class Sketch:
    """A closed form that approximates a model, with its provenance and R².

    :func:`sketch`, :func:`fit`, :func:`from_trees` and :func:`load` return sketches. A sketch of a
    :class:`Spectrum` has no provenance and no R².

    Sketches can be pickled and copied: the pickle contains the bytes of the file that :meth:`save` writes,
    and the functions of a custom link and your own predictor, if there are any. Those must be picklable
    themselves (a lambda is not); :meth:`save` does not need that.

    Parameters
    ----------
    spectrum : Spectrum
    """

    def __init__(self, spectrum: Spectrum) -> None:
        if not isinstance(spectrum, Spectrum):
            raise InputError(f"spectrum must be a Spectrum, got {type(spectrum).__name__}")
        self._core, self._start = _core.Sketch(spectrum._core), spectrum.space.start
        self._link = IDENTITY
        self._custom: CustomPart | None = None

    @classmethod
    def _wrap(
        cls, core: _core.Sketch, link: Link | None = None, custom: CustomPart | None = None, *, start: int = 0
    ) -> Sketch:
        sketch = cls.__new__(cls)
        sketch._core, sketch._custom, sketch._start = core, custom, start
        name = "identity" if core.info is None else core.info.link.name
        if core.curve is not None:
            sketch._link = MonotoneCurve(*core.curve).link()
        else:
            sketch._link = loaded(name) if link is None or link.name == MONOTONE else link
        return sketch

    @lazy_property
    def _components(self) -> _core.Components:
        return _core.Components(self._core)

    @lazy_property
    def _info(self) -> _core.SketchInfo | None:
        return self._core.info

    @lazy_property
    def spectrum(self) -> Spectrum:
        """The surrogate as a spectrum, the Fourier coefficients of the same function.

        Raises
        ------
        InputError
            If the letter patterns of a regression expand to more than 2**24 coefficients.
        """
        return Spectrum._wrap(self._core.spectrum(), self._start)

    @lazy_property
    def patterns(self) -> list[Pattern] | None:
        """The letter patterns and runs of a regression, strongest first; None for other surrogates.

        The surrogate is a constant plus the coefficients of all patterns that a sequence has. The strength of
        a pattern is its absolute coefficient times the square root of its frequency in uniform sequences,
        ``q**-order`` for symbols.
        """
        patterns = self._core.patterns()
        if patterns is None:
            return None
        supports, letters, coefficients, variances = patterns
        alphabet = self.space.alphabet
        errors = np.full(len(supports), np.nan) if variances is None else np.sqrt(variances)
        listed = [
            Pattern(tuple(support), "".join(alphabet[a] for a in codes), float(c), float(e), (), self._start)
            for support, codes, c, e in zip(supports, letters, coefficients, errors, strict=True)
        ]
        sizes = [len(own) for own in self.space.letters]
        ranked = [
            (abs(pattern.coefficient) / math.prod(sizes[i] for i in pattern.support) ** 0.5, pattern)
            for pattern in listed
        ]
        relations, terms, run_variances = self._core.runs()
        run_errors = np.full(len(terms), np.nan) if run_variances is None else np.sqrt(run_variances)
        frequencies = self._core.run_frequencies()
        for (runs, sets, coefficient), error, frequency in zip(terms, run_errors, frequencies, strict=True):
            pattern = Pattern(
                support_of(runs, sets, relations),
                symbols_in_words(sets, alphabet, self._start),
                coefficient,
                float(error),
                tuple(Run.of(run, relations, self._start) for run in runs),
                self._start,
            )
            ranked.append((abs(coefficient) * frequency**0.5, pattern))
        return [pattern for _, pattern in sorted(ranked, key=lambda pair: -pair[0])]

    @lazy_property
    def space(self) -> SequenceSpace:
        """The sequence space."""
        return SequenceSpace._wrap(self._core.space, self._start)

    @property
    def link(self) -> str:
        """The scale of the sketch: "identity", "log", "logit", "softplus", "monotone" or "custom".

        Also "softmax", for the raw score of one of several classes of a converted ensemble. "monotone" is a
        latent scale, from which a fitted curve leads to the values.
        """
        return self._link.name

    @property
    def r2(self) -> float | None:
        """R² on the scale of the sketch (``link="monotone"``: of the model): at most 1; a constant has 0.

        The sequences that it is measured on depend on the method:

        - ``peel``: test queries that serve no other purpose.
        - ``regress``: each query, predicted by a fit to the other five sixths of the queries.
        - ``trees``, ``distill`` and averages: a fifth of the queries, held out from fits to the others. The
          weights of the methods for one half of this fifth are chosen on the other half.
        - ``exact``: all sequences.
        - ``link="monotone"``: a fifth of the queries, predicted by latent scale and curve of the others. R²
          is that of the values, because the latent scale cannot be measured.

        In a small space, R² uses the error of the final fit for the fraction of the space that was evaluated.
        NaN if all values are equal: then R² is undefined. None if the sketch has no provenance.
        """
        return None if self._info is None else self._info.r2.value

    @property
    def r2_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of :attr:`r2`; None if the sketch has no provenance.

        It allows for heavy tails (the degrees of freedom are the effective number of sequences that carry
        the variance), for the choice of the fit, for further data in the final fit, and for features in fewer
        than three of the sequences, if their effect is at most as large as the largest deviation of a value
        from the mean. A rarer feature with a larger effect is invisible. The lower end is -inf if the values
        do not tell, and the upper end is at most 1.
        """
        return None if self._info is None else (self._info.r2.low, self._info.r2.high)

    @property
    def response_r2(self) -> float | None:
        """R² on the model's own scale; equal to :attr:`r2` without a link, None if it is unknown."""
        if self._info is None or self._info.link.name == "identity":
            return self.r2
        response = self._info.link.response_r2
        return None if response is None else response.value

    @property
    def n_queries(self) -> int | None:
        """Number of distinct sequences that the model evaluated, validation and test included."""
        return None if self._info is None else self._info.n_queries

    @property
    def distribution(self) -> str | None:
        """The distribution of the queries, in words: "uniform", or what R² refers to.

        None if the sketch has no provenance.
        """
        if self._info is None:
            return None
        distribution = self._core.distribution
        return "uniform" if distribution is None else distribution.text

    @property
    def method(self) -> str | None:
        """The method that made the sketch.

        "exact", "regress", "peel", "trees", "distill", "average" (of several methods) or "converted" (from a
        fitted ensemble); None if the sketch has no provenance.
        """
        return None if self._info is None else self._info.method

    @property
    def status(self) -> str | None:
        """How the method ended.

        "exact"; "converged", "stalled" or "round limit" (peel); "cross-validated" (regress), or "time limit"
        if the regression ended early to save time; "validated" (trees, distill, averages), with the R² of
        all terms if `max_terms` removed some. For an adaptive sketch "target met", "budget spent" or "more
        queries no longer pay". The status also names the methods that `auto` could not try.
        """
        return None if self._info is None else str(self._info.status)

    @property
    def candidates(self) -> list[Candidate]:
        """The methods that were compared, with the R² of each on held-out queries; empty for one method."""
        candidates = [] if self._info is None else self._info.candidates
        return [Candidate(c.name, c.r2, c.seconds, c.weight) for c in candidates]

    @lazy_property
    def predictor(self) -> Predictor | None:
        """The best predictor that the queries allow, which has no closed form.

        It adds boosted trees that count k-mers and runs, and networks, to the closed forms. None if no such
        model predicts held-out queries better, or none was fitted (``effort="quick"``, ``peel``, ``exact``).
        With ``link="monotone"`` it predicts the values: it is at least the closed form and the curve.
        """
        core = self._core.predictor
        if core is None:
            return None
        # The curve is a part of the predictor, so that its scores are values.
        link = IDENTITY if self.link == MONOTONE else self._link
        return Predictor(core, self.space, link, self._custom)

    @property
    def amortised_error(self) -> float | None:
        """Error of the amortised Shapley values of the predictor (:func:`amortise`); None without them.

        It is the root mean squared error on held-out random sequences, relative to the root mean square of
        the Shapley values of the predictor.
        """
        amortised = self._core.amortised
        if amortised is None:
            return None
        error, size, _ = amortised.accuracy
        return error / size if size else 0.0

    def _standard_errors(self, codes: Codes) -> Values | None:
        """Return standard errors (B, n) of its Shapley values under the uniform background, if known."""
        return self._core.standard_errors(codes)

    @property
    def unverified(self) -> bool:
        """Whether it was loaded from a file without a digest, in which damage cannot be detected.

        Older versions wrote such files. Load and save one to add the digest.
        """
        return self._core.unverified

    @property
    def n_terms(self) -> int:
        """Number of terms: Fourier coefficients, or letter patterns and the constant."""
        return len(self._core)

    def predict(self, sequences: Sequences, *, response: bool = False) -> npt.NDArray[np.float64]:
        """Return surrogate scores (B,) of sequences (strings, or codes (B, n)).

        They are on the scale of the sketch, or on the model's own scale if `response` is True. The two scales
        differ if the sketch has a link.

        Raises
        ------
        InputError
            If a sequence does not belong to the space; or if `response` is True and the sketch was loaded
            without its custom link, or is the raw score of one of several classes.
        """
        on_response = boolean("response", response)
        values = self._components.predict(self.space.encode(sequences))
        return self._link.to_response(values) if on_response else values

    def summary(self) -> str:
        """Return how the sketch was made, how well it predicts, and where its variance is."""
        lines = [f"sketch of sequences over {described(self.space)}"]
        if self._info is not None:
            lines += info_lines(self._info, self.space, self.distribution or "")
            if self.predictor is not None:
                lines += predictor_lines(self.predictor)
            if self.amortised_error is not None:
                lines.append(f"amortised  Shapley values of the predictor, error {self.amortised_error:.1%}")
            if self._info.r2.value < LOW_FIDELITY:
                lines.append("           LOW: explanations describe the sketch, not the model")
        lines.append(f"terms      {self.n_terms:,}")
        lines += self._orders()
        if self.unverified:
            lines.append("file       no digest (older version): damage cannot be detected; save it again")
        return "\n".join(lines)

    def _orders(self) -> list[str]:
        counts = self._core.orders()
        if counts is not None:
            kind = "terms" if self.patterns is None else "letter patterns"
            lines = [f"order {order:<4} {count:,} {kind}" for order, count in enumerate(counts) if count]
            return lines + [f"runs       {count:,} terms, {name}" for name, count in self._core.run_counts()]
        energy = self.spectrum.order_energy()
        total = energy[1:].sum()
        numbers = self.spectrum._core.orders()
        return [
            f"order {order:<4} {energy[order] / total:7.2%} of the variance, {number:,} coefficients"
            for order, number in enumerate(numbers)
            if order > 0 and number
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sketch to a safetensors file; equal sketches give equal bytes.

        The file contains the number of the first position, and the predictor. If a predictor that you passed
        as ``method=`` is part of it, the file does not contain the predictor, and a warning is logged.

        Raises
        ------
        FileError
            If the file cannot be written.
        InputError
            If `path` is neither a string nor a path.
        """
        core = self._core
        if self._custom is not None:
            logger.warning("the file does not contain the predictor, because your own is part of it")
            core = core.without_predictor()
        if core.start != self._start:
            core = core.with_start(self._start)
        core.save(str(file_path(path)))

    def __reduce__(self) -> tuple[Callable[..., Sketch], tuple[Any, ...]]:
        # What the bytes of the file do not contain is pickled by its own means.
        seconds = [candidate.seconds for candidate in self.candidates]
        return _unpickled, (self._core.to_bytes(), self._link, self._custom, seconds, self._start)

    def __repr__(self) -> str:
        r2 = "" if self.r2 is None else f", R² {self.r2:.3f}"
        return f"Sketch({self.space!r}, {self.n_terms} terms{r2})"


def _unpickled(
    file: bytes, link: Link, custom: CustomPart | None, seconds: list[float | None], start: int = 0
) -> Sketch:
    core = _core.Sketch.from_bytes(file)
    if core.info is not None:
        pairs = zip(core.info.candidates, seconds, strict=True)
        core = core.with_candidates([_core.Candidate(c.name, c.r2, s, c.weight) for c, s in pairs])
    return Sketch._wrap(core, link, custom, start=start)


def load(path: str | os.PathLike[str], *, link: LinkLike | None = None, start: int | None = None) -> Sketch:
    """Read a sketch that :meth:`Sketch.save` wrote; no code in the file is executed.

    Parameters
    ----------
    path : str or path
    link : (forward, inverse), optional
        The functions of a custom link, which the file does not contain.
    start : int, optional
        Another number of the first position (see :class:`SequenceSpace`) than that of the file.

    Raises
    ------
    FileError
        If the file cannot be read, is damaged, is not a sketch, or was written by a newer version.
    InputError
        If `path` is neither a string nor a path, `start` is not an integer, or `link` is not the link of the
        sketch.
    """
    number = None if start is None else checked_start(start)
    core = _core.Sketch.load(str(file_path(path)))
    number = core.start if number is None else number
    sketch = Sketch._wrap(core, start=number)
    if link is None:
        return sketch
    functions = parse(link)
    if functions.name == sketch.link == MONOTONE:
        return sketch
    if functions.name != sketch.link:
        raise InputError(
            f"the sketch has the link {sketch.link!r}, not {functions.name!r}; pass link=(forward, inverse) "
            "for a custom link only"
        )
    return Sketch._wrap(core, functions, start=number)
