"""Which function of a sketch is explained, and how: its closed form, or its best predictor."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from shapsketch._validate import choice
from shapsketch.errors import InputError
from shapsketch.explain.amortised import AmortisedPredictor, trained_for
from shapsketch.explain.closed_form import ClosedForm
from shapsketch.explain.control_variate import Controls
from shapsketch.explain.explained import Explained, Of
from shapsketch.explain.sampled import SampledPredictor, Sampling
from shapsketch.link import IDENTITY, MONOTONE, Link
from shapsketch.query.background import Background
from shapsketch.space import Codes, SequenceSpace, Values
from shapsketch.surrogate.sketch import Sketch
from shapsketch.surrogate.spectrum import Spectrum

CHOICES = ("best", "closed form", "predictor", "amortised")
# "best" takes the predictor if its unexplained variance is less than this fraction of that of the closed
# form.
CLEARLY = 0.75
# Predictions for each evaluation of a model whose control variate is the predictor. They make the errors of
# sampling the predictor small beside those of sampling the difference.
CONTROL_EVALUATIONS = 10
# Fewest sequences of a batch for which "best" takes amortised values.
LARGE = 200

Route: TypeAlias = ClosedForm | SampledPredictor | AmortisedPredictor


def sketch_of(sketch: object) -> Sketch:
    """Return a sketch, or that of a spectrum.

    Raises
    ------
    InputError
        If it is something else.
    """
    if isinstance(sketch, Spectrum):
        return Sketch(sketch)
    if not isinstance(sketch, Sketch):
        raise InputError(
            f"expected a Sketch or a Spectrum, got {type(sketch).__name__}",
            advice="make one of a model by ss.sketch(model, space, budget=...), or load a file by ss.load",
        )
    return sketch


class Routes:
    """The closed form of a sketch, its predictor, and the choice between them.

    Attributes
    ----------
    background : Background
    closed_form : ClosedForm
    predictor : SampledPredictor or None
        None if the sketch has none, or only the closed form may be explained.
    amortised : AmortisedPredictor or None
        None if the sketch has none for this background, or sampling or the closed form was chosen.
    """

    def __init__(self, sketch: Sketch, background: Background, of: object, sampling: Sampling) -> None:
        self._sketch, self.background = sketch, background
        self.of = choice("of", of, CHOICES)
        self.closed_form = ClosedForm(sketch, background)
        self.predictor: SampledPredictor | None = None
        if self.of == "predictor" and sketch.predictor is None:
            raise InputError(
                "this sketch has no predictor besides its closed form",
                advice="sketch the model with method='auto' and effort='standard' or 'thorough', or use "
                "of='closed form'",
                option="of",
            )
        if sketch.predictor is not None and self.of != "closed form":
            self.predictor = SampledPredictor(sketch.predictor, self.closed_form, background, sampling)
        self.amortised: AmortisedPredictor | None = None
        if self.of == "amortised" or (self.of == "best" and trained_for(sketch, background)):
            self.amortised = AmortisedPredictor(sketch, self.closed_form, background)

    @property
    def space(self) -> SequenceSpace:
        """The sequence space."""
        return self._sketch.space

    @property
    def link(self) -> Link:
        """The link from the model to what is explained.

        It is that of the sketch, but a predictor that contains the curve of a latent scale predicts values.
        """
        latent = self._sketch.link == MONOTONE and not self.prefers_predictor
        return self._sketch._link if latent or self._sketch.link != MONOTONE else IDENTITY

    @property
    def prefers_predictor(self) -> bool:
        """Whether the predictor is explained where both can be."""
        if self.predictor is None or self.of in ("predictor", "amortised"):
            return self.predictor is not None
        if self._sketch.link == MONOTONE:
            # The scale of what is explained must not depend on R².
            return False
        of_closed_form, of_predictor = self._sketch.r2, self.predictor.r2
        return of_closed_form is None or 1.0 - of_predictor < CLEARLY * (1.0 - of_closed_form)

    @property
    def preferred(self) -> ClosedForm | SampledPredictor:
        """What is explained where both can be."""
        return self.predictor if self.prefers_predictor and self.predictor is not None else self.closed_form

    def of_values(self, count: int) -> Route:
        """Return what Shapley values of `count` sequences explain."""
        amortised = self.amortised
        if amortised is None or not self.prefers_predictor:
            return self.preferred
        large = count >= LARGE and amortised.replaces_sampling
        return amortised if large or self.of == "amortised" else self.preferred

    def shapley_values(self, codes: Codes, route: Route) -> tuple[Values, Values, Values | None]:
        """Return Shapley values (B, n), base values (B,), and errors (B, n) of sampling or of the network."""
        if isinstance(route, ClosedForm):
            return *route.shapley_values(codes), None
        if isinstance(route, AmortisedPredictor):
            return route.shapley_values(codes)
        sampled = route.explain(codes)
        return sampled.values, sampled.base_values, sampled.stderr

    def only_closed_form(self, what: str) -> ClosedForm:
        """Return the closed form for results that the predictor does not have.

        Raises
        ------
        InputError
            If only the predictor may be explained.
        """
        if self.of in ("predictor", "amortised"):
            raise InputError(
                f"{what} of a predictor cannot be computed; only the closed form has them",
                advice="use of='closed form' or of='best'",
                option="of",
            )
        return self.closed_form

    def explained(self, route: Route | None) -> Explained:
        """Return what a result explains; None is the model itself."""
        of: Of = "model"
        r2: float | None = 1.0
        error = 0.0
        if isinstance(route, ClosedForm):
            of, r2 = "closed form", self._sketch.r2
        elif isinstance(route, AmortisedPredictor):
            of, r2, error = "amortised predictor", route.r2, route.error
        elif route is not None:
            of, r2 = "predictor", route.r2
        return Explained(
            of,
            math.nan if r2 is None else r2,
            str(self.background),
            self.link.name,
            self._sketch.distribution or "",
            error,
            self.space.start,
        )

    def controls(self, codes: Codes, *, calls: int, pairs: bool = False) -> Controls:
        """Return control variates for `calls` evaluations of a model at each sequence, the best first."""
        closed = self.closed_form.controls(codes, pairs=pairs)
        if not self.prefers_predictor or self.predictor is None:
            return closed
        predictor = self.predictor
        sampled = predictor.as_control(codes, CONTROL_EVALUATIONS * calls, pairs=pairs)

        def predict(hybrids: Codes) -> Values:
            return np.stack([predictor.predict(hybrids), self.closed_form.predict(hybrids)], axis=1)

        matrices = None
        if pairs:
            assert sampled.pairs is not None
            assert closed.pairs is not None
            both = sampled.pairs + sampled.pairs.transpose(0, 2, 1)
            matrices = np.concatenate([both[..., None], closed.pairs], axis=3)
        return Controls(
            predict,
            np.concatenate([sampled.values[..., None], closed.values], axis=2),
            np.concatenate([sampled.base_values[:, None], closed.base_values], axis=1),
            matrices,
            sampled.stderr,
            sampled.pair_stderr,
        )
