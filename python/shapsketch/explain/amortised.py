"""Amortised explanations: a network that gives the Shapley values of the predictor in one pass.

Sampling needs up to thousands of predictions for each sequence. A network shares them between sequences
(stochastic amortization: Covert et al., NeurIPS 2024): it learns the difference between the Shapley values of
the predictor and those of the closed form. It is trained on the marginals of random sequences, the prediction
minus its mean over the symbols of a position. Their mean over sequences that keep a fraction of the symbols,
integrated over that fraction, is the Shapley value; temporal differences (Sutton 1988) replace most of that
mean by the network itself, which has less noise. Its error is measured on other sequences.
"""

from __future__ import annotations

import logging

import numpy as np

from shapsketch import _core
from shapsketch._validate import integer
from shapsketch.errors import InputError
from shapsketch.explain.closed_form import ClosedForm
from shapsketch.explain.distance import default_background
from shapsketch.explain.sampled import SampledPredictor, Sampling
from shapsketch.query.background import Background, BackgroundLike
from shapsketch.space import Codes, Values
from shapsketch.surrogate.sketch import Sketch

logger = logging.getLogger(__name__)

# Held-out sequences that measure the error, and predictions of each.
HELD_OUT, EVALUATIONS = 32, 2_048
# Number that gives the held-out sequences their own random numbers.
SEQUENCES = 6
# Sampled values aim at this error, relative to their root mean square: the default of `precision`.
PRECISION = 0.03
# Amortised values are good if their error, as values of the model, is at most this multiple of that of
# sampled values.
WORSE = 1.15


def amortise(sketch: Sketch, background: BackgroundLike | None = None, *, random_state: int = 0) -> Sketch:
    """Return a sketch with a network that explains its predictor.

    ``ss.Explainer(sketch, background, of="amortised")`` then explains thousands of sequences in a second,
    where sampling takes up to seconds for each. The model is not evaluated. Training takes one to three
    minutes for 50 nucleotides, and more for longer sequences and larger alphabets; Ctrl-C ends it. The sketch
    keeps one network, for one background; files contain it.

    Parameters
    ----------
    sketch : Sketch
        With a predictor that has networks (``sketch.predictor.parts``), from which training starts.
    background : "uniform", array, str or list, optional
        As for :class:`Explainer`, but positions must be independent: "uniform", probabilities, or one
        reference sequence.
    random_state : int
        Seed of the sequences and of the network.

    Returns
    -------
    Sketch
        ``sketch.amortised`` has the error of the values.

    Raises
    ------
    InputError
        If the sketch has no such predictor, its queries were not uniform, or the background is of another
        kind.

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace("01", length=3)
    >>> both = ss.Spectrum(space, [[0, 0, 0], [1, 1, 0]], [0.5, 0.5])
    >>> ss.amortise(ss.Sketch(both))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    shapsketch.errors.InputError: this sketch has no predictor with networks; sketch the model ...
    """
    if not isinstance(sketch, Sketch):
        raise InputError(f"expected a Sketch, got {type(sketch).__name__}")
    seed = integer("random_state", random_state, least=0)
    parsed = Background.parse(default_background(sketch) if background is None else background, sketch.space)
    distribution = sketch._core.distribution
    if distribution is not None and distribution.background != "uniform":
        raise InputError(
            "amortised values are trained on uniform sequences, but the queries of this sketch were "
            f"{distribution.text}",
            advice="use of='predictor', which samples it",
            option="sketch",
        )
    predictor = sketch.predictor
    kinds = set() if predictor is None else {part.kind for part in predictor.parts}
    if predictor is None or "networks" not in kinds:
        raise InputError(
            "this sketch has no predictor with networks",
            advice="sketch the model with method='auto' and effort='standard' or 'thorough'",
            option="sketch",
        )
    if "custom" in kinds:
        raise InputError(
            "a predictor with a teacher of yours cannot be amortised",
            advice="use of='predictor', which samples it",
            option="sketch",
        )
    if parsed.shuffles is not None or parsed.core.probabilities is None:
        raise InputError(
            f"amortised values need independent positions, not {parsed}",
            advice="use 'uniform', probabilities or one reference, or sample with of='predictor'",
            option="background",
        )
    network = _core.ValueNetwork.train(predictor._core, sketch._core, parsed.core, seed=seed)
    closed_form = ClosedForm(sketch, parsed)
    sampling = Sampling(precision=PRECISION, evaluations=EVALUATIONS, seed=seed, progress=False)
    sampled = SampledPredictor(predictor, closed_form, parsed, sampling)
    options = {"base_value": sampled.base_value}
    untested = _core.Amortised(network, parsed.core, **options, error=0.0, size=0.0, sampling=0.0)
    error, size, of_sampling = _accuracy(untested, closed_form, sampled, seed)
    core = _core.Amortised(network, parsed.core, **options, error=error, size=size, sampling=of_sampling)
    amortised = Sketch._wrap(sketch._core.with_amortised(core), sketch._link, start=sketch._start)
    logger.info("amortised values: error %.3g, %.3g of their size", error, error / size if size else 0.0)
    return amortised


def _accuracy(
    amortised: _core.Amortised, closed_form: ClosedForm, sampled: SampledPredictor, seed: int
) -> tuple[float, float, float]:
    """Return the error on held-out sequences, the size of the values, and the error of sampling."""
    space = closed_form.space
    rng = np.random.default_rng([seed, SEQUENCES])
    codes = space._random(rng, HELD_OUT)
    precise = sampled.as_control(codes, EVALUATIONS, pairs=False)
    noise = float((precise.stderr**2).mean())
    values = closed_form.shapley_values(codes)[0] + amortised.values(codes)
    # Errors of sampling add to the squares.
    square = max(float((precise.values**2).mean()) - noise, 0.0)
    error = max(float(((values - precise.values) ** 2).mean()) - noise, 0.0)
    best = noise * EVALUATIONS / sampled.most_coalitions
    return error**0.5, square**0.5, max(best, PRECISION**2 * square) ** 0.5


def trained_for(sketch: Sketch, background: Background) -> bool:
    """Return whether a sketch has an amortised predictor for this background."""
    core = sketch._core.amortised
    if core is None or background.shuffles is not None:
        return False
    probabilities = background.core.probabilities
    # Rows of probabilities are divided by their sum, which rounds.
    return probabilities is not None and np.allclose(probabilities, core.background, rtol=0.0, atol=1e-9)


class AmortisedPredictor:
    """Shapley values of the predictor under the background for which a network was trained."""

    def __init__(self, sketch: Sketch, closed_form: ClosedForm, background: Background) -> None:
        self._closed_form = closed_form
        core, predictor = sketch._core.amortised, sketch.predictor
        if core is None or predictor is None:
            raise InputError(
                "this sketch has no amortised predictor",
                advice="add one with ss.amortise(sketch, background), or use of='predictor', which samples",
                option="of",
            )
        if not trained_for(sketch, background):
            raise InputError(
                f"the amortised predictor of this sketch is for another background than {background}",
                advice="train one with ss.amortise(sketch, background), or use of='predictor', which samples",
                option="background",
            )
        self._core, self._background = core, background
        self.r2, self._variances = predictor.r2, predictor._core.variances

    @property
    def error(self) -> float:
        """Root mean squared error, relative to the root mean square of the values of the predictor."""
        error, size, _ = self._core.accuracy
        return error / size if size else 0.0

    @property
    def base_value(self) -> float:
        """Mean of the predictor over the background."""
        return self._core.base_value

    @property
    def replaces_sampling(self) -> bool:
        """Whether the error as values of the model is hardly larger than that of sampled values."""
        error, _, sampling = self._core.accuracy
        unknown = 0.0
        if self._background.uniform and self._variances is not None:
            unknown = float(self._variances.mean())
        return unknown + error**2 <= WORSE**2 * (unknown + sampling**2)

    def shapley_values(self, codes: Codes) -> tuple[Values, Values, Values]:
        """Return Shapley values (B, n), base values (B,) and errors (B, n)."""
        values, _ = self._closed_form.shapley_values(codes)
        error = self._core.accuracy[0]
        return (
            values + self._core.values(codes),
            np.full(len(codes), self.base_value),
            np.full(codes.shape, error),
        )
