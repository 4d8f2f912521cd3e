"""Explain sequence models: sketch once, then Shapley values of any sequence in microseconds.

Data flows one way: space → design → model → observations → sketch → surrogate → explain.
"""

from shapsketch._core import __version__
from shapsketch._errors import (
    BudgetError,
    FileError,
    InputError,
    MissingExtraError,
    ModelError,
    ShapsketchError,
)
from shapsketch.decode import PeelingDecoder
from shapsketch.design import Observations, QueryDesign
from shapsketch.explain import Explainer, Explanation, Interactions
from shapsketch.regress import Dictionary, SparseRegressor, fit
from shapsketch.sketch import Pattern, Plan, Sketch, load, plan, sketch
from shapsketch.space import DNA, PROTEIN, RNA, SequenceSpace
from shapsketch.spectrum import Spectrum

__all__ = [
    "DNA",
    "PROTEIN",
    "RNA",
    "BudgetError",
    "Dictionary",
    "Explainer",
    "Explanation",
    "FileError",
    "InputError",
    "Interactions",
    "MissingExtraError",
    "ModelError",
    "Observations",
    "Pattern",
    "PeelingDecoder",
    "Plan",
    "QueryDesign",
    "SequenceSpace",
    "ShapsketchError",
    "Sketch",
    "SparseRegressor",
    "Spectrum",
    "__version__",
    "fit",
    "load",
    "plan",
    "sketch",
]
