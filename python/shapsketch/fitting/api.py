"""The entry points: a sketch of a model, and a sketch of labelled data."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import boolean, check_memory, choice
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import Progress, check_progress
from shapsketch.evaluate.evaluator import Evaluator, Session
from shapsketch.files.variants import Variants
from shapsketch.fitting.adaptive import check_target, fit_in_rounds
from shapsketch.fitting.distillation import Predictor
from shapsketch.fitting.effort import Effort
from shapsketch.fitting.final import Data
from shapsketch.fitting.hierarchy import unordered
from shapsketch.fitting.holdout import Labelled, labelled
from shapsketch.fitting.options import FitOptions, parse_method
from shapsketch.fitting.regression import LOSSES, Dictionary, SparseRegressor, parse_dictionary
from shapsketch.fitting.selection import Fitted, fit_values
from shapsketch.fitting.steps import steps
from shapsketch.link import Link, LinkLike, parse
from shapsketch.models._protocol import INPUTS, Inputs, Model, named_outputs, outputs_of
from shapsketch.query.budget import ANY_QUERIES, Drawn, Method, budgeted, queries_of
from shapsketch.query.distribution import Distribution, DistributionLike, measured
from shapsketch.query.distribution import parse as parse_distribution
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, space_of
from shapsketch.surrogate.sketch import Sketch, on_link, warn_if_low

logger = logging.getLogger(__name__)

# Queries that are generated at a time.
PART = 65_536
# Predicted memory of the exact transform and of peeling for each query, in bytes; dense spectra need more.
QUERY_BYTES = 80


@dataclass(frozen=True)
class _Task:
    """A sketch to make, with all arguments checked before the first evaluation."""

    evaluator: Evaluator
    space: SequenceSpace
    plan: _core.Plan
    distribution: Distribution | None
    options: FitOptions
    target: float | None
    link: Link
    progress: Progress

    @classmethod
    def checked(
        cls,
        evaluator: Evaluator,
        space: SequenceSpace,
        budget: int,
        distribution: DistributionLike,
        options: FitOptions,
        target_r2: float | None,
        link: LinkLike,
        progress: Progress,
    ) -> _Task:
        drawn = parse_distribution(distribution, space)
        plan = budgeted(space, budget, options.method, options.seed, drawn)
        if plan.method == "regress" and options.needs_trees:
            options.require_trees()
        if plan.method == "exact" and options.max_terms is not None:
            raise InputError(
                "the budget covers every sequence, so the exact transform keeps all terms; remove max_terms, "
                "and use sketch.spectrum.truncate(max_terms)"
            )
        if plan.method in ("exact", "peel"):
            total = plan.design_queries + plan.validation_queries + plan.test_queries
            check_memory(
                f"the method {plan.method!r} with {total:,} queries",
                total * QUERY_BYTES,
                "use a smaller budget, or method='regress'",
            )
        target = check_target(target_r2, options.method)
        if target is not None and plan.method == "regress":
            # Rounds reuse queries, which designs of different sizes do not share.
            plan = _core.Plan(space._core, plan.budget, method="regress", seed=options.seed)
        return cls(evaluator, space, plan, drawn, options, target, parse(link), check_progress(progress))

    def run(self) -> list[Sketch]:
        """Return one sketch for each output."""
        width = 1 if self.evaluator.outputs is None else len(self.evaluator.outputs)
        with self.evaluator.open(self.space, link=self.link, progress=self.progress) as session:
            if self.target is None:
                queries = queries_of(self.plan, self.distribution)
                started = time.perf_counter()
                values = _values(session, self.plan, queries)
                seconds = time.perf_counter() - started
                fitted = [
                    self._fit(self.plan, queries, np.ascontiguousarray(values[:, output]), seconds)
                    for output in range(width)
                ]
            else:
                target = self.target
                fitted = [
                    fit_in_rounds(
                        partial(self._round, session, output),
                        self.space,
                        self.plan,
                        target,
                        self.options.seed,
                    )
                    for output in range(width)
                ]
        sketches = [Sketch._wrap(f.core, self.link, f.custom) for f in fitted]
        for sketch in sketches:
            warn_if_low(sketch)
        return sketches

    def _round(self, session: Session, output: int, plan: _core.Plan) -> Fitted:
        queries = queries_of(plan, self.distribution)
        started = time.perf_counter()
        values = _values(session, plan, queries)
        seconds = time.perf_counter() - started
        return self._fit(plan, queries, np.ascontiguousarray(values[:, output]), seconds)

    def _fit(
        self, plan: _core.Plan, queries: _core.Queries | Drawn, values: Values, seconds: float
    ) -> Fitted:
        if np.ptp(values) == 0.0:
            logger.warning(
                "the model gave the same score, %g, to all %d queries, so R² is undefined; a feature in "
                "fewer than 1 of %d sequences can be missing: raise the budget, or ask elsewhere",
                values[0],
                len(values),
                max(1, len(values) // 3),
            )
        linked = self.link.to_link(values, "model")

        def closed_form() -> _core.Sketch:
            regressor, uniform = self.options.regressor, not isinstance(queries, Drawn)
            if regressor is None and not isinstance(queries, Drawn):
                return queries.sketch(linked)
            rows = Labelled(queries.batch(0, len(queries)), linked)
            if regressor is None:
                regressor = SparseRegressor(self.space, random_state=self.options.seed)
                if self.distribution is not None and not self.distribution.ordered:
                    regressor = unordered(self.space, rows, self.options.seed)
            regressor._fit(self.space, rows, uniform=uniform)
            return regressor.sketch_._core.with_budget(plan.budget)

        if plan.method != "regress" or self.options.method == "regress":
            core = closed_form()
            assert core.info is not None
            fitted = Fitted(core, None, core.info.r2.value)
        else:
            codes = queries.batch(0, len(queries))
            fraction = 0.0 if isinstance(queries, Drawn) else len(queries) / self.space.size
            rows = Labelled(codes, linked)
            data = Data(self.space, rows, plan.budget, fraction, seconds, self.distribution)
            peel = None
            if plan.design is not None and not isinstance(queries, Drawn):
                peel = partial(queries.peel, linked)
            with steps(self.progress is True) as log:
                fitted = fit_values(data, self.options, closed_form, log, peel)
        core = on_link(fitted.core, self.link)
        if isinstance(queries, Drawn):
            assert self.distribution is not None
            core = core.with_distribution(self.distribution.record(queries.codes))
        return Fitted(core, fitted.custom, fitted.regression_r2)


def _values(session: Session, plan: _core.Plan, queries: _core.Queries | Drawn) -> Values:
    """Return the values (N, k) of queries."""
    logger.info("%s, %d queries", plan.method, len(queries))

    def parts() -> Iterator[Codes]:
        for start in range(0, len(queries), PART):
            yield queries.batch(start, min(start + PART, len(queries)))

    return session.values(parts, len(queries), to_square=True)


def sketch(  # noqa: PLR0913 - public
    model: Model | Evaluator,
    space: SequenceSpace,
    *,
    budget: int,
    distribution: DistributionLike = "uniform",
    method: Method | SparseRegressor = "auto",
    target_r2: float | None = None,
    link: LinkLike = "identity",
    inputs: Inputs | None = None,
    random_state: int = 0,
    progress: Progress = True,
    teacher: Predictor | None = None,
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
    method : {"auto", "regress", "peel", "trees", "distill", "exact"} or SparseRegressor
        ``regress``: sparse regression on patterns, from uniform queries; pass a :class:`SparseRegressor` to
        set its options. ``trees``: boosted trees on symbols and patterns, converted into the components that
        carry their variance. ``distill``: networks, and trees that also count k-mers and runs, and a sketch
        of their predictions. ``peel``: peeling of designed queries, for spectra that are truly sparse.
        ``exact``: evaluate every sequence. ``auto``: ``exact`` if the budget allows it; otherwise the best of
        ``regress``, ``trees`` and ``distill`` on held-out queries, or an average of them. If a design with
        coded delays fits the budget, all share its queries and ``peel`` takes part, alone if it suffices.
        ``sketch.candidates`` lists the R² of each.
    target_r2 : float, optional
        Evaluate in rounds, each of which reuses all earlier queries, and stop when the cross-validated R²
        reaches this or more queries no longer raise it; ``sketch.status`` reports which. Not for ``peel`` and
        ``exact``.
    link : {"identity", "log", "logit", "softplus"} or (forward, inverse)
        Sketch ``link(score)`` instead of the score: many models are sparse only on that scale. The sketch and
        its explanations use that scale.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes: a list of str, a uint8 array (B, n), or a float32 array (B, n, q). By default
        what an adapter of :mod:`shapsketch.models` declares; strings for other callables. Pass it to the
        :class:`Evaluator` if there is one.
    random_state : int
        Seed of every random choice, at least 0.
    progress : bool or callable
        Show a progress bar, or call a function with (done, total) after each batch.
    teacher : object with ``fit`` and ``predict``, optional
        Custom predictor with scikit-learn's ``fit``/``predict`` for ``distill`` and ``auto``. It receives the
        same inputs as the model and is fitted twice.
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
        If an argument is wrong, the store belongs to another model or space, or the evaluator has several
        outputs.

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
    name, regressor = parse_method(method, space)
    options = FitOptions(name, max_terms, teacher, evaluator.inputs, effort, random_state, regressor)
    task = _Task.checked(evaluator, space, budget, distribution, options, target_r2, link, progress)
    return task.run()[0]


def sketch_outputs(  # noqa: PLR0913 - public
    model: Model | Evaluator,
    space: SequenceSpace,
    *,
    budget: int,
    outputs: Sequence[str] | None = None,
    distribution: DistributionLike = "uniform",
    method: Method | SparseRegressor = "auto",
    target_r2: float | None = None,
    link: LinkLike = "identity",
    random_state: int = 0,
    progress: Progress = True,
    teacher: Predictor | None = None,
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
    distribution, method, target_r2, link, random_state, progress, teacher, max_terms, effort
        As for :func:`sketch`. With `target_r2`, each output has its own rounds; queries are shared.

    Returns
    -------
    dict of str to Sketch

    Raises
    ------
    InputError
        If no names are given or declared, or an evaluator has other names.
    BudgetError, ModelError, FileError
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
        evaluator = Evaluator(model, outputs=names)
    if names is None:
        raise InputError(
            "the names of the outputs are unknown; pass outputs=[...], or use ss.sketch for a single output",
            option="outputs",
        )
    name, regressor = parse_method(method, space)
    options = FitOptions(name, max_terms, teacher, evaluator.inputs, effort, random_state, regressor)
    task = _Task.checked(evaluator, space, budget, distribution, options, target_r2, link, progress)
    return dict(zip(names, task.run(), strict=True))


def fit(  # noqa: PLR0913 - public
    X: Sequences | Variants,
    y: npt.ArrayLike | None = None,
    space: SequenceSpace | None = None,
    *,
    method: Literal["auto", "regress", "trees", "distill"] = "regress",
    sample_weight: npt.ArrayLike | None = None,
    loss: Literal["squared", "huber"] = "squared",
    dictionary: Dictionary | Literal["auto"] = "auto",
    link: LinkLike = "identity",
    random_state: int = 0,
    teacher: Predictor | None = None,
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
    method : {"auto", "regress", "trees", "distill"}
        As for :func:`sketch`.
    sample_weight : array of float, shape (N,), optional
        Weights of the squared errors, above 0, such as the inverse variances of the values.
    loss : {"squared", "huber"}
        What a regression minimises; see :class:`SparseRegressor`. "huber" is for method="regress".
    dictionary : Dictionary or "auto"
        For regression.
    link : {"identity", "log", "logit", "softplus"} or (forward, inverse)
    random_state : int
    teacher : object with ``fit`` and ``predict``, optional
    inputs : {"strings", "codes", "onehot"}
        What that teacher takes.
    max_terms, effort, progress
        As for :func:`sketch`.

    Raises
    ------
    InputError
        If shapes do not match, a value is not finite (the message says which), or there are too few distinct
        sequences.

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
    shows_steps = boolean("progress", progress)
    scale = parse(link)
    choice("method", method, ANY_QUERIES)
    options = FitOptions(method, max_terms, teacher, choice("inputs", inputs, INPUTS), effort, random_state)
    if parse_dictionary(dictionary) is not None and method in ("trees", "distill"):
        raise InputError(f"a dictionary is for method='regress' and 'auto', not {method!r}; remove it")
    if choice("loss", loss, LOSSES) != "squared" and method != "regress":
        raise InputError(f"loss={loss!r} is for method='regress', not {method!r}; remove it")
    if inputs != "codes" and teacher is None:
        raise InputError(f"inputs={inputs!r} describes what a teacher takes; pass teacher= too, or remove it")
    regressor = SparseRegressor(space, dictionary=dictionary, loss=loss, random_state=random_state)
    rows = labelled(sequences, y, space, sample_weight, scale)

    def regress() -> _core.Sketch:
        return regressor._fit(space, rows).sketch_._core

    if method == "regress":
        fitted = Fitted(regress())
    else:
        with steps(shows_steps) as log:
            fitted = fit_values(Data(space, rows, len(rows.values), 0.0), options, regress, log)
    core = on_link(fitted.core, scale).with_distribution(measured(space, rows.codes, wild_type))
    sketch = Sketch._wrap(core, scale, fitted.custom)
    warn_if_low(sketch)
    return sketch
