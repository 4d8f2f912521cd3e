"""The best predictor of a sketch: models without a closed form, which say more than the sketch itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import boolean
from shapsketch.link import Link
from shapsketch.space import Codes, Sequences, SequenceSpace


class CustomPredictor(Protocol):
    """A predictor of the user, fitted to the queries."""

    def predict(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return predictions (B,) for codes."""


@dataclass(frozen=True)
class CustomPart:
    """A predictor of the user as a part of a :class:`Predictor`; files cannot contain it.

    Attributes
    ----------
    predictor : CustomPredictor
    weight, r2 : float
    """

    predictor: CustomPredictor
    weight: float
    r2: float


@dataclass(frozen=True)
class PredictorPart:
    """A model that a predictor consists of.

    Attributes
    ----------
    name : str
        Name of the method, as in ``sketch.candidates``.
    kind : {"closed form", "monotone", "trees", "networks", "custom"}
    weight : float
        Its weight in the sum, at least 0.
    r2 : float
        R² of this model alone on held-out queries.
    """

    name: str
    kind: str
    weight: float
    r2: float


class Predictor:
    """A weighted sum of models of the same queries: closed forms, boosted trees with counts, networks.

    It predicts the model better than the closed form of the sketch, but it has no closed form itself. The
    weights are chosen on held-out queries (stacking: Breiman 1996). ``sketch.predictor`` returns it.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [float(s.count("GA") % 2) for s in sequences]
    >>> space = ss.SequenceSpace(ss.DNA, length=8)
    >>> sketch = ss.sketch(model, space, budget=400, progress=False)
    >>> predictor = sketch.predictor
    >>> predictor.r2 > 0.9, predictor.predict(["GATTGACA", "GATTACAT"]) > 0.5
    (True, array([False,  True]))
    """

    def __init__(
        self, core: _core.Predictor, space: SequenceSpace, link: Link, custom: CustomPart | None = None
    ) -> None:
        self._core, self._space, self._link, self._custom = core, space, link, custom

    @property
    def r2(self) -> float:
        """R² on held-out queries, on the scale of the sketch."""
        return self._core.r2.value

    @property
    def r2_interval(self) -> tuple[float, float]:
        """95 % confidence interval of :attr:`r2`."""
        return (self._core.r2.low, self._core.r2.high)

    @property
    def parts(self) -> list[PredictorPart]:
        """The models of the sum, with the weight and the R² of each."""
        parts = [PredictorPart(name, kind, weight, r2) for name, kind, weight, r2 in self._core.parts]
        if self._custom is not None:
            parts.append(PredictorPart("teacher", "custom", self._custom.weight, self._custom.r2))
        return parts

    def predict(self, sequences: Sequences, *, response: bool = False) -> npt.NDArray[np.float64]:
        """Return predicted scores (B,) of sequences (strings, or codes (B, n)).

        They are on the scale of the sketch, or on the model's own scale if `response` is True.

        Raises
        ------
        InputError
            If a sequence does not belong to the space, or `response` is True and the sketch was loaded
            without its custom link.
        """
        on_response = boolean("response", response)
        codes = self._space.encode(sequences)
        values = self._core.predict(codes)
        if self._custom is not None:
            values = values + self._custom.weight * self._custom.predictor.predict(codes)
        return self._link.to_response(values) if on_response else values

    def _standard_errors(self, codes: Codes) -> npt.NDArray[np.float64] | None:
        """Return standard errors (B, n) of exact Shapley values, under the uniform background, if known."""
        variances = self._core.variances
        return None if variances is None else np.tile(np.sqrt(variances), (len(codes), 1))

    def __repr__(self) -> str:
        names = ", ".join(part.name for part in self.parts)
        return f"Predictor({names}, R² {self.r2:.3f})"
