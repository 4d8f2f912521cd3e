"""What a result explains: the closed form of a sketch, its best predictor, or the model itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

# What can be explained; "model" is explained by `Explainer.refine`.
Of: TypeAlias = Literal["closed form", "predictor", "amortised predictor", "model"]


@dataclass(frozen=True)
class Explained:
    """What a result explains.

    Attributes
    ----------
    of : {"closed form", "predictor", "amortised predictor", "model"}
    r2 : float
        Its R², as a prediction of the model, on the scale of the result; NaN if it is not known.
    background : str
        The distribution from which missing positions are drawn, in words.
    link : str
        The scale of the result; "identity" is the model's own scale.
    distribution : str
        The sequences to which R² refers, in words; empty if it is not known.
    error : float
        Root mean squared error of the values of an amortised predictor, relative to their size; 0 for others.
    start : int
        Number of the first position, from which tables, plots and files count.
    """

    of: Of
    r2: float
    background: str
    link: str
    distribution: str = "uniform"
    error: float = 0.0
    start: int = 0

    def __str__(self) -> str:
        where = "" if self.distribution in ("", "uniform") else f" of {self.distribution}"
        known = "" if self.of == "model" or math.isnan(self.r2) else f" (R² {self.r2:.3f}{where})"
        error = f", error {self.error:.1%}" if self.error else ""
        return f"the {self.of}{known}{error}, background {self.background}, link {self.link}"


class Explains:
    """Something with the attributes of its :class:`Explained`."""

    explained: Explained

    @property
    def of(self) -> Of:
        """What is explained: "closed form", "predictor", "amortised predictor" or "model"."""
        return self.explained.of

    @property
    def r2(self) -> float:
        """R² of what is explained, as a prediction of the model; NaN if it is not known."""
        return self.explained.r2

    @property
    def background(self) -> str:
        """The distribution from which missing positions are drawn, in words."""
        return self.explained.background

    @property
    def start(self) -> int:
        """Number of the first position, from which tables, plots and files count."""
        return self.explained.start

    @property
    def link(self) -> str:
        """The scale of the values; "identity" is the model's own scale."""
        return self.explained.link
