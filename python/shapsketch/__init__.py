"""Explain sequence models: sketch once, then Shapley values of any sequence in microseconds.

Data flows one way: space → design → model → observations → sketch → surrogate → explain.
"""

from shapsketch import models
from shapsketch._core import __version__
from shapsketch._errors import (
    BudgetError,
    FileError,
    InputError,
    MissingExtraError,
    ModelError,
    ShapsketchError,
)
from shapsketch.background import DinucleotideShuffles
from shapsketch.decode import PeelingDecoder
from shapsketch.design import Observations, QueryDesign
from shapsketch.ensembles import from_trees
from shapsketch.explain import Explainer
from shapsketch.explanations import Epistasis, Explanation, Interactions
from shapsketch.faithfulness import Agreement, Faithfulness, faithfulness
from shapsketch.mutants import Mutants
from shapsketch.plans import Plan, plan
from shapsketch.records import Records, SequenceReader, read_sequences
from shapsketch.regress import Dictionary, SparseRegressor
from shapsketch.sketch import Candidate, Pattern, Sketch, load
from shapsketch.sketching import fit, sketch
from shapsketch.space import DNA, PROTEIN, RNA, SequenceSpace
from shapsketch.spectrum import Spectrum
from shapsketch.store import Store
from shapsketch.tables import TableWriter, write_sequences
from shapsketch.trees import TreeSketch
from shapsketch.views import AttributionMap, Motif, Motifs, Sobol

__all__ = [
    "DNA",
    "PROTEIN",
    "RNA",
    "Agreement",
    "AttributionMap",
    "BudgetError",
    "Candidate",
    "Dictionary",
    "DinucleotideShuffles",
    "Epistasis",
    "Explainer",
    "Explanation",
    "Faithfulness",
    "FileError",
    "InputError",
    "Interactions",
    "MissingExtraError",
    "ModelError",
    "Motif",
    "Motifs",
    "Mutants",
    "Observations",
    "Pattern",
    "PeelingDecoder",
    "Plan",
    "QueryDesign",
    "Records",
    "SequenceReader",
    "SequenceSpace",
    "ShapsketchError",
    "Sketch",
    "Sobol",
    "SparseRegressor",
    "Spectrum",
    "Store",
    "TableWriter",
    "TreeSketch",
    "__version__",
    "faithfulness",
    "fit",
    "from_trees",
    "load",
    "models",
    "plan",
    "read_sequences",
    "sketch",
    "write_sequences",
]
