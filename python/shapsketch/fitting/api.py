"""The entry points: a sketch of a model, and a sketch of labelled data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import boolean, choice
from shapsketch.errors import InputError
from shapsketch.evaluate.evaluator import Evaluator
from shapsketch.evaluate.progress import Progress
from shapsketch.files.variants import Variants
from shapsketch.fitting.boosting import require_trees
from shapsketch.fitting.distillation import Predictor
from shapsketch.fitting.effort import Effort
from shapsketch.fitting.final import Data
from shapsketch.fitting.holdout import labelled
from shapsketch.fitting.monotone import check_monotone, fit_monotone
from shapsketch.fitting.options import FitOptions, parse_method
from shapsketch.fitting.regression import LOSSES, Dictionary, SparseRegressor, parse_dictionary
from shapsketch.fitting.selection import Fitted, fit_values
from shapsketch.fitting.steps import LATENT, REGRESSION, Stages, stages_of
from shapsketch.fitting.task import Task
from shapsketch.link import MONOTONE, LinkLike, parse
from shapsketch.models._protocol import INPUTS, Inputs, Model, named_outputs, outputs_of
from shapsketch.query.budget import ANY_QUERIES, Method
from shapsketch.query.distribution import DistributionLike, measured
from shapsketch.space import Sequences, SequenceSpace, space_of
from shapsketch.surrogate.sketch import Sketch, on_link, warn_if_low

logger = logging.getLogger(__name__)


def sketch(  # noqa: PLR0913 - public
    model: Model | Evaluator,
    space: SequenceSpace,
    *,
    budget: int,
    distribution: DistributionLike = "uniform",
    method: Method | SparseRegressor | Predictor = "auto",
    target_r2: float | None = None,
    link: LinkLike = "identity",
    inputs: Inputs | None = None,
    random_state: int = 0,
    progress: Progress = True,
    max_terms: int | None = None,
    effort: Effort = "standard",
) -> Sketch:
    """Sketch a model: evaluate at most `budget` sequences, and fit a closed form of its scores.

    Parameters
    ----------
    model : callable or Evaluator
        Takes a batch of sequences and returns one finite real number for each, shape (B,). An
        :class:`Evaluator` also defines how to evaluate it: batches, executor, retries, store.
    space : SequenceSpace
    budget : int
        Largest number of distinct sequences to evaluate, including those for validation and test.
    distribution : "uniform", probabilities, Mutagenesis, Hybrids, sequences or callable
        Where the model is evaluated, and what R² refers to. A sketch of uniform sequences says little about
        the neighbourhood of a wild type. Pass :class:`Mutagenesis` for mutants of a wild type;
        :class:`Hybrids` for mixtures of your sequences with their background; probabilities of the symbols,
        shape (q,) or (n, q); a list of sequences or codes (R, n); or a function of a generator and a count
        that returns codes (count, n). Explanations then have the wild type, or this distribution, as default
        background. Not for ``peel`` and ``exact``.
    method : {"auto", "regress", "peel", "trees", "distill", "exact"}, SparseRegressor or predictor
        ``regress``: sparse regression on patterns, from uniform queries; pass a :class:`SparseRegressor` to
        set its options. ``trees``: boosted trees on symbols and patterns, converted into the components that
        carry their variance. ``distill``: networks, and trees that also count k-mers and runs, and a sketch
        of their predictions. ``peel``: peeling of designed queries, for spectra that are truly sparse.
        ``exact``: evaluate every sequence. ``auto``: ``exact`` if the budget allows it; otherwise the best of
        ``regress``, ``trees`` and ``distill`` on held-out queries, or an average of them. If a design with
        coded delays fits the budget, and its first group shows a sparse spectrum, all share its queries and
        ``peel`` takes part, alone if it suffices; otherwise the other queries are uniform.
        A predictor of your own, an object with scikit-learn's ``fit`` and ``predict``: ``auto``, where
        ``distill`` uses it as the teacher. It receives the same inputs as the model and is fitted twice.
        ``sketch.candidates`` lists the R² of each. Boosted trees need the extra ``trees``; without it,
        ``auto`` and ``distill`` leave them out, and ``sketch.status`` says so.
    target_r2 : float, optional
        Evaluate in rounds, each of which reuses all earlier queries, and stop when the cross-validated R²
        reaches this or more queries no longer raise it; ``sketch.status`` reports which. Not for ``peel`` and
        ``exact``.
    link : {"identity", "log", "logit", "softplus", "monotone"} or (forward, inverse)
        Sketch ``link(score)`` instead of the score: many models are sparse only on that scale. The sketch and
        its explanations use that scale. ``monotone``: a latent scale, which is fitted together with a
        monotone curve to the scores, or the identity if a curve predicts no better; for ``auto`` and
        ``regress``, without `target_r2` and `max_terms`.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes: a list of str, a uint8 array (B, n), or a float32 array (B, n, q). By default
        what an adapter of :mod:`shapsketch.models` declares; strings for other callables. Pass it to the
        :class:`Evaluator` if there is one.
    random_state : int
        Seed of every random choice, at least 0.
    progress : bool or callable
        Show a bar in a terminal or notebook, and lines of the log ``shapsketch.progress`` elsewhere; or call
        a function with (done, total) after each batch.
    max_terms : int, optional
        Largest number of terms (``auto``, ``trees``, ``distill``). Fewer terms are faster but less accurate;
        ``sketch.status`` reports R² with all terms.
    effort : {"quick", "standard", "thorough"}
        Time that the fit may take. ``quick``: regression alone. ``standard``: at most 30 seconds, or as long
        as the evaluation of the model took if that is longer; ``sketch.status`` names what was left out.
        ``thorough``: all methods, several minutes. Only the first and the last depend on the seed alone.

    Returns
    -------
    Sketch

    Raises
    ------
    BudgetError
        If the budget is too small for the method; the message says how much is needed.
    ModelError
        If the model fails, or does not return the requested values, in the domain of the link.
    FileError
        If the store cannot be written, is damaged, or another process uses it.
    InputError
        If an argument is wrong, the store belongs to another model or space, the evaluator has several
        outputs, or the dictionary of a regressor does not fit into memory.
    MissingExtraError
        If `method` is ``trees`` and LightGBM is not installed.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [s.count("G") + 2.0 * (s[2:4] == "AU") for s in sequences]
    >>> sketch = ss.sketch(model, ss.SequenceSpace(ss.RNA, length=9), budget=2_000, progress=False)
    >>> sketch.method, round(sketch.r2, 3)
    ('regress', 1.0)
    """
    space_of(space)
    evaluator = Evaluator.of(model, inputs, remember=target_r2 is not None).single_output()
    name, regressor, teacher = parse_method(method, space)
    options = FitOptions(name, max_terms, teacher, evaluator.inputs, effort, random_state, regressor)
    task = Task.checked(evaluator, space, budget, distribution, options, target_r2, link, progress)
    return task.run()[0]


def sketch_outputs(  # noqa: PLR0913 - public
    model: Model | Evaluator,
    space: SequenceSpace,
    *,
    budget: int,
    outputs: Sequence[str] | None = None,
    distribution: DistributionLike = "uniform",
    method: Method | SparseRegressor | Predictor = "auto",
    target_r2: float | None = None,
    link: LinkLike = "identity",
    random_state: int = 0,
    progress: Progress = True,
    max_terms: int | None = None,
    effort: Effort = "standard",
) -> dict[str, Sketch]:
    """Sketch every output of a model with several; each sequence is evaluated once for all of them.

    Parameters
    ----------
    model : callable or Evaluator
        Takes a batch of sequences and returns k numbers for each, shape (B, k), or a mapping of names to
        arrays (B,).
    space : SequenceSpace
    budget : int
    outputs : list of str, optional
        Names of the outputs. By default those of the :class:`Evaluator`, or those that an adapter of
        :mod:`shapsketch.models` declares.
    distribution, method, target_r2, link, random_state, progress, max_terms, effort
        As for :func:`sketch`. With `target_r2`, each output has its own rounds; queries are shared.

    Returns
    -------
    dict of str to Sketch

    Raises
    ------
    InputError
        If no names are given or declared, or an evaluator has other names.
    BudgetError, ModelError, FileError, MissingExtraError
        As for :func:`sketch`.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [(s.count("G"), 2.0 * (s[2:4] == "AU")) for s in sequences]
    >>> space = ss.SequenceSpace(ss.RNA, length=9)
    >>> sketches = ss.sketch_outputs(
    ...     model, space, outputs=["guanines", "motif"], budget=2_000, method="regress", progress=False
    ... )
    >>> {name: round(sketch.r2, 3) for name, sketch in sketches.items()}
    {'guanines': 1.0, 'motif': 1.0}
    """
    space_of(space)
    if isinstance(model, Evaluator):
        evaluator = model
        names = evaluator.outputs
        if outputs is not None and named_outputs(outputs) != names:
            raise InputError("pass outputs= to the Evaluator: ss.Evaluator(model, outputs=[...])")
    else:
        names = named_outputs(outputs_of(model) if outputs is None else outputs)
        evaluator = Evaluator(model, outputs=names, remember=target_r2 is not None)
    if names is None:
        raise InputError(
            "the names of the outputs are unknown; pass outputs=[...], or use ss.sketch for a single output",
            option="outputs",
        )
    name, regressor, teacher = parse_method(method, space)
    options = FitOptions(name, max_terms, teacher, evaluator.inputs, effort, random_state, regressor)
    task = Task.checked(evaluator, space, budget, distribution, options, target_r2, link, progress)
    return dict(zip(names, task.run(), strict=True))


def fit(  # noqa: PLR0913 - public
    X: Sequences | Variants,
    y: npt.ArrayLike | None = None,
    space: SequenceSpace | None = None,
    *,
    method: Literal["auto", "regress", "trees", "distill"] | Predictor = "regress",
    sample_weight: npt.ArrayLike | None = None,
    loss: Literal["squared", "huber"] = "squared",
    dictionary: Dictionary | Literal["auto"] = "auto",
    link: LinkLike = "identity",
    random_state: int = 0,
    inputs: Inputs = "codes",
    max_terms: int | None = None,
    effort: Effort = "standard",
    progress: bool = True,
) -> Sketch:
    """Sketch labelled data: a measured library or a deep mutational scan, instead of a model.

    Repeated sequences and noise are allowed. R² is cross-validated, with all copies of a sequence in one
    fold. The summary lists symbols that never occur at a position; terms with them are not identifiable and
    are not in the sketch. The background of explanations is the wild type of :class:`Variants`, and uniform
    otherwise, unless you pass ``background=X``. An explainer warns if it is far from the data.

    Parameters
    ----------
    X : sequences (strings, or codes (N, n)), or Variants
        :class:`Variants` of :func:`read_variants` have their own values, space and weights; pass `y`, `space`
        and `sample_weight` for sequences only.
    y : array of float, shape (N,)
    space : SequenceSpace
    method : {"auto", "regress", "trees", "distill"} or predictor
        As for :func:`sketch`.
    sample_weight : array of float, shape (N,), optional
        Weights of the squared errors, above 0, such as the inverse variances of the values.
    loss : {"squared", "huber"}
        What a regression minimises; see :class:`SparseRegressor`. "huber" is for method="regress".
    dictionary : Dictionary or "auto"
        For regression.
    link : {"identity", "log", "logit", "softplus", "monotone"} or (forward, inverse)
        As for :func:`sketch`. ``monotone`` needs 100 distinct sequences. It also fits sequences near a wild
        type by ridge regressions on mutations and pairs of mutations (extra ``trees``), unless you pass a
        dictionary or a loss, and keeps the better fit.
    random_state : int
    inputs : {"strings", "codes", "onehot"}
        What a predictor passed as `method` takes.
    max_terms, effort, progress
        As for :func:`sketch`.

    Raises
    ------
    InputError
        If shapes do not match, a value is not finite (the message says which), there are too few distinct
        sequences, or the dictionary does not fit into memory.
    MissingExtraError
        If `method` is ``trees`` and LightGBM is not installed.

    Examples
    --------
    >>> import numpy as np, shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=6)
    >>> X = np.random.default_rng(1).integers(0, 4, (400, 6))
    >>> sketch = ss.fit(X, np.exp(1.0 * (X[:, 2] == 0)), space, link="log")
    >>> sketch.link, round(sketch.r2, 2)
    ('log', 1.0)
    """
    if isinstance(X, Variants):
        if not (y is None and space is None and sample_weight is None):
            raise InputError(
                "variants have their own values, space and weights; pass no y, space, sample_weight"
            )
        sequences: Sequences = X.codes
        y, space, sample_weight, wild_type = X.values, X.space, X.weights, X.wild_type_codes
    else:
        sequences, wild_type = X, None
    space = space_of(space)
    shows_stages = boolean("progress", progress)
    scale = parse(link)
    if isinstance(method, SparseRegressor):
        raise InputError("a SparseRegressor fits labelled data itself; call its fit(X, y)")
    name, _, teacher = parse_method(method, space, ANY_QUERIES)
    options = FitOptions(name, max_terms, teacher, choice("inputs", inputs, INPUTS), effort, random_state)
    check_monotone(scale, options)
    _check_regression(options, dictionary, loss)
    regressor = SparseRegressor(space, dictionary=dictionary, loss=loss, random_state=random_state)
    rows = labelled(sequences, y, space, sample_weight, scale)

    def regress(seconds: float | None = None) -> _core.Sketch:
        return regressor._fit(space, rows, seconds=seconds).sketch_._core

    if name == "trees":
        require_trees()
    data = Data(space, rows, len(rows.values), 0.0)
    names = [REGRESSION]
    if name != "regress":
        names = stages_of(options, peels=False, ordered=True, near=data.near)
    stages = Stages(shows_stages, [LATENT, *names] if scale.name == MONOTONE else names)

    def fit_linked() -> Fitted:
        if name != "regress":
            return fit_values(data, options, regress, stages)
        stages.begin(REGRESSION)
        return Fitted(regress())

    with stages.bar():
        if scale.name == MONOTONE:
            fixed = dictionary != "auto" or loss != "squared"
            fitted = fit_monotone(data, options, regressor if fixed else None, stages, fit_linked)
        else:
            fitted = fit_linked()
    core = on_link(fitted.core, scale).with_distribution(measured(space, rows.codes, wild_type))
    sketch = Sketch._wrap(core, scale, fitted.custom, start=space.start)
    warn_if_low(sketch)
    return sketch


def _check_regression(options: FitOptions, dictionary: object, loss: object) -> None:
    """Refuse options of a regression, or of a teacher, for other methods.

    Raises
    ------
    InputError
    """
    name, inputs = options.method, options.teacher_inputs
    if parse_dictionary(dictionary) is not None and name in ("trees", "distill"):
        raise InputError(f"a dictionary is for method='regress' and 'auto', not {name!r}; remove it")
    if choice("loss", loss, LOSSES) != "squared" and name != "regress":
        raise InputError(f"loss={loss!r} is for method='regress', not {name!r}; remove it")
    if inputs != "codes" and options.teacher is None:
        raise InputError(
            f"inputs={inputs!r} is what a predictor passed as method takes; pass one, or remove inputs="
        )
