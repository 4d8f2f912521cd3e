"""The options of a fit, checked before the first evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from shapsketch._validate import choice, instance, integer
from shapsketch.errors import InputError
from shapsketch.fitting.distillation import Predictor
from shapsketch.fitting.effort import EFFORTS, Effort
from shapsketch.fitting.regression import SparseRegressor
from shapsketch.query.budget import METHODS, Method
from shapsketch.space import SequenceSpace


def parse_method(
    method: object, space: SequenceSpace, names: Sequence[str] = METHODS
) -> tuple[Method, SparseRegressor | None, Predictor | None]:
    """Return the name of a method, and the regressor or the teacher to use if the method is one.

    Raises
    ------
    InputError
        If it is none of them, or a regressor has wrong parameters or another space.
    """
    if not isinstance(method, SparseRegressor):
        if hasattr(method, "fit") or hasattr(method, "predict"):
            return "auto", None, _teacher(method)
        return cast("Method", choice("method", method, names)), None, None
    if method.space is not None and method.space != space:
        raise InputError(f"the regressor is for {method.space}, not for {space}; remove its space")
    regressor = SparseRegressor(**method.get_params())
    regressor._arguments(space)
    return "regress", regressor, None


def _teacher(method: object) -> Predictor:
    instance("method", method)
    for name in ("fit", "predict"):
        if not callable(getattr(method, name, None)):
            raise InputError(
                f"a predictor as method needs 'fit' and 'predict'; {type(method).__name__} does not have "
                f"{name!r}"
            )
    return cast("Predictor", method)


@dataclass(frozen=True)
class FitOptions:
    """How values become a sketch.

    Attributes
    ----------
    method : str
        One of the methods of :func:`shapsketch.sketch`.
    max_terms : int, optional
        Largest number of terms of the sketch.
    teacher : object with ``fit`` and ``predict``, optional
        The user's teacher, for method="auto".
    teacher_inputs : {"strings", "codes", "onehot"}
        What that teacher takes.
    effort : {"quick", "standard", "thorough"}
        How much time the fit may take.
    seed : int
    regressor : SparseRegressor, optional
        The user's regressor for method="regress".

    Raises
    ------
    InputError
        If the options do not fit together.
    """

    method: str
    max_terms: int | None
    teacher: Predictor | None
    teacher_inputs: str
    effort: Effort
    seed: int
    regressor: SparseRegressor | None = None

    def __post_init__(self) -> None:
        method = choice("method", self.method, METHODS)
        if self.max_terms is not None:
            integer("max_terms", self.max_terms, least=1)
        integer("random_state", self.seed, least=0)
        choice("effort", self.effort, EFFORTS)
        if self.teacher is not None and self.effort == "quick":
            raise InputError(
                "effort='quick' fits only a regression, and not the predictor passed as method; "
                "remove one of the two"
            )
        if self.max_terms is not None and method not in ("auto", "trees", "distill"):
            raise InputError(
                f"max_terms is for method='auto', 'trees' and 'distill', not {method!r}",
                advice="use truncate() to shorten a spectrum",
                option="max_terms",
            )
