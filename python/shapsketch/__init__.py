"""Explain sequence models: sketch once, then compute Shapley values of any sequence in microseconds.

A sketch is a closed form that approximates a model. :func:`sketch` fits it to the values of a few thousand
sequences, and :class:`Explainer` computes explanations from it without further evaluations of the model.
Data flows one way: space → query → evaluate → fitting → surrogate → explain.
"""

from shapsketch import models, plot
from shapsketch._core import __version__
from shapsketch.errors import (
    BudgetError,
    FileError,
    InputError,
    MissingExtraError,
    ModelError,
    NotFittedError,
    ShapsketchError,
)
from shapsketch.evaluate.evaluator import Evaluator
from shapsketch.evaluate.store import Store
from shapsketch.explain.amortised import amortise
from shapsketch.explain.epistasis import Epistasis
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.faithfulness import Agreement, Faithfulness, faithfulness
from shapsketch.explain.motifs import Motif, Motifs
from shapsketch.explain.mutants import Mutants
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.explain.spacing import Spacing
from shapsketch.explain.summaries import AttributionMap, Sobol
from shapsketch.explain.variant_table import VariantTable
from shapsketch.explain.variants import VariantEffects
from shapsketch.files.read import Records, SequenceReader, read_sequences
from shapsketch.files.scan import read_variants
from shapsketch.files.variants import Variants
from shapsketch.files.write import TableWriter, write_sequences
from shapsketch.fitting.api import fit, sketch, sketch_outputs
from shapsketch.fitting.peeling import PeelingDecoder
from shapsketch.fitting.regression import Dictionary, SparseRegressor
from shapsketch.fitting.tree_sketch import TreeSketch
from shapsketch.masks import MaskExplanation, MaskInteractions, explain_masks
from shapsketch.query.background import DinucleotideShuffles
from shapsketch.query.budget import Plan, plan
from shapsketch.query.design import Observations, QueryDesign
from shapsketch.query.distribution import Hybrids, Mutagenesis
from shapsketch.reporting.api import report
from shapsketch.space import DNA, PROTEIN, RNA, SequenceSpace
from shapsketch.surrogate.patterns import Candidate, Pattern
from shapsketch.surrogate.predictor import Predictor, PredictorPart
from shapsketch.surrogate.relations import Relation
from shapsketch.surrogate.runs import Run
from shapsketch.surrogate.sketch import Sketch, load
from shapsketch.surrogate.spectrum import Spectrum
from shapsketch.trees.convert import from_trees

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
    "Evaluator",
    "Explainer",
    "Explanation",
    "Faithfulness",
    "FileError",
    "Hybrids",
    "InputError",
    "Interactions",
    "MaskExplanation",
    "MaskInteractions",
    "MissingExtraError",
    "ModelError",
    "Motif",
    "Motifs",
    "Mutagenesis",
    "Mutants",
    "NotFittedError",
    "Observations",
    "Pattern",
    "PeelingDecoder",
    "Plan",
    "Predictor",
    "PredictorPart",
    "QueryDesign",
    "Records",
    "Relation",
    "Run",
    "SequenceReader",
    "SequenceSpace",
    "ShapsketchError",
    "Sketch",
    "Sobol",
    "Spacing",
    "SparseRegressor",
    "Spectrum",
    "Store",
    "TableWriter",
    "TreeSketch",
    "VariantEffects",
    "VariantTable",
    "Variants",
    "__version__",
    "amortise",
    "explain_masks",
    "faithfulness",
    "fit",
    "from_trees",
    "load",
    "models",
    "plan",
    "plot",
    "read_sequences",
    "read_variants",
    "report",
    "sketch",
    "sketch_outputs",
    "write_sequences",
]
