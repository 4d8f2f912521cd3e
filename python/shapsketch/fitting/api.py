"""Sketching: ask the model, fit, choose, and test."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Real
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import choice, integer, optional
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import Progress, Runner
from shapsketch.evaluate.evaluator import observing
from shapsketch.evaluate.store import Store
from shapsketch.fitting.distillation import Predictor
from shapsketch.fitting.regression import Dictionary, SparseRegressor, labelled
from shapsketch.fitting.selection import compare
from shapsketch.link import LinkLike, parse
from shapsketch.models._protocol import INPUTS, Inputs, Model, inputs_of, named_outputs
from shapsketch.query.budget import Method, budgeted
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, space_of
from shapsketch.surrogate.sketch import Sketch, _on_link, _warn_if_low

logger = logging.getLogger(__name__)


# Queries made at a time.
PART = 65_536
# Queries that a model is checked with.
CHECKED = 8
# Methods that learn from uniform queries.
UNIFORM = ("auto", "regress", "trees", "distill")
# Rounds of an adaptive sketch: the first, and how much each next one asks in all.
FIRST_ROUND = 500
GROWTH = 2
# A doubling of the queries that lowers the error by less than this part does not pay.
WORTHWHILE = 0.04


def _target(target_r2: object, method: str) -> float | None:
    """Return the checked R² at which to stop."""
    if target_r2 is None:
        return None
    if method not in UNIFORM:
        raise InputError(f"target_r2 asks in rounds, which method={method!r} cannot")
    if isinstance(target_r2, bool) or not isinstance(target_r2, Real) or not target_r2 <= 1.0:
        raise InputError(f"target_r2 must be a number up to 1, got {target_r2!r}")
    return float(target_r2)


def _check_options(method: str, teacher: Predictor | None, max_terms: int | None, fast: bool) -> None:
    """Refuse options that a method has no use for."""
    if teacher is not None:
        if method not in ("auto", "distill"):
            raise InputError(f"a teacher is for method='distill' and 'auto', not {method!r}")
        if fast:
            raise InputError(
                "fast=True leaves out distillation, and the teacher with it; leave out one of them"
            )
        for name in ("fit", "predict"):
            if not callable(getattr(teacher, name, None)):
                raise InputError(f"a teacher needs a method {name!r}; {type(teacher).__name__} has none")
    if max_terms is not None and method not in ("auto", "trees", "distill"):
        raise InputError(
            f"max_terms is for method='auto', 'trees' and 'distill', not {method!r}; "
            "a spectrum is shortened by its own truncate()"
        )


@overload
def sketch(
    model: Model,
    space: SequenceSpace,
    *,
    budget: int,
    method: Method = ...,
    target_r2: float | None = ...,
    link: LinkLike = ...,
    inputs: Inputs | None = ...,
    batch_size: int | None = ...,
    random_state: int = ...,
    progress: Progress = ...,
    teacher: Predictor | None = ...,
    max_terms: int | None = ...,
    fast: bool = ...,
    outputs: None = ...,
    store: str | os.PathLike[str] | Store | None = ...,
    executor: Any = ...,
    in_flight: int | None = ...,
    retries: int = ...,
    check: bool = ...,
) -> Sketch: ...
@overload
def sketch(
    model: Model,
    space: SequenceSpace,
    *,
    budget: int,
    method: Method = ...,
    target_r2: float | None = ...,
    link: LinkLike = ...,
    inputs: Inputs | None = ...,
    batch_size: int | None = ...,
    random_state: int = ...,
    progress: Progress = ...,
    teacher: Predictor | None = ...,
    max_terms: int | None = ...,
    fast: bool = ...,
    outputs: Sequence[str],
    store: str | os.PathLike[str] | Store | None = ...,
    executor: Any = ...,
    in_flight: int | None = ...,
    retries: int = ...,
    check: bool = ...,
) -> dict[str, Sketch]: ...
def sketch(
    model: Model,
    space: SequenceSpace,
    *,
    budget: int,
    method: Method = "auto",
    target_r2: float | None = None,
    link: LinkLike = "identity",
    inputs: Inputs | None = None,
    batch_size: int | None = None,
    random_state: int = 0,
    progress: Progress = True,
    teacher: Predictor | None = None,
    max_terms: int | None = None,
    fast: bool = False,
    outputs: Sequence[str] | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    executor: Any = None,
    in_flight: int | None = None,
    retries: int = 0,
    check: bool = False,
) -> Sketch | dict[str, Sketch]:
    """Sketch a model: ask it for at most `budget` sequences and find a closed form of its scores.

    Parameters
    ----------
    model : callable
        Takes a batch of sequences and returns one finite real number for each, shape (B,).
    space : SequenceSpace
    budget : int
        Hard cap on the distinct sequences the model is asked for, those for validation and test
        included.
    method : {"auto", "regress", "peel", "trees", "distill", "exact"}
        ``regress`` explains uniform queries by few motifs at their places; ``trees`` boosts trees on
        letters and motifs at their places, and keeps the components that carry their variance;
        ``distill`` fits a teacher that also counts words wherever they are, and sketches its free
        answers; ``peel`` decodes designed queries, for spectra that are truly sparse; ``exact`` evaluates
        every sequence. ``auto`` takes ``exact`` if it fits the budget, else the best of ``regress``,
        ``trees`` and ``distill`` on held-out queries, or an average of them; ``sketch.candidates`` tells
        how each did.
    target_r2 : float, optional
        Ask in rounds, each reusing all earlier queries, and stop when the cross-validated R² reaches this
        or further queries no longer pay; ``sketch.status`` says which. Not for ``peel`` and ``exact``.
    link : {"identity", "log", "logit"} or (forward, inverse)
        Sketch ``link(score)`` instead of the score: many models are sparse only there. The sketch and
        its explanations live on that scale.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes: list of str, uint8 array (B, n), or float32 array (B, n, q). By default what
        an adapter of :mod:`shapsketch.models` says, and strings of other callables.
    batch_size : int, optional
        Most sequences in one call of the model. By default batches grow, from 16 to 4,096, as long as they
        take less than a second, or sequences are cheaper together. A network whose scores differ by roundings
        between sizes of batches is the same from run to run only with a size given.
    random_state : int
        Seed of every random choice, at least 0.
    progress : bool or callable
        Show a progress bar, or call a function with (done, total) after each batch.
    teacher : object with ``fit`` and ``predict``, optional
        A predictor of your own for ``distill`` and ``auto``; it is given what the model is, and fitted
        twice.
    max_terms : int, optional
        Terms that the sketch may have (``auto``, ``trees``, ``distill``): fewer explain faster and worse;
        ``sketch.status`` has R² with all.
    fast : bool
        Let ``auto`` leave out distillation and large trees.
    outputs : list of str, optional
        Names of the outputs of a model that returns (B, k) numbers, or a mapping of names to (B,): all are
        asked for at once, and each gets a sketch.
    store : path or Store, optional
        Keep every value in this file as it comes, and ask for none that it has: a run that was killed goes
        on, a larger budget asks only what is new. See :class:`Store`; eight of its sequences are asked
        again, whenever it has some, to see that it is the same model.
    executor : concurrent.futures.Executor or distributed.Client, optional
        Where batches run: threads, processes, or a Dask cluster. The sketch is the same. Other processes get
        the model by pickle.
    in_flight : int, optional
        Most batches handed to the executor at a time; two for each worker by default.
    retries : int
        How often a batch that fails is tried again.
    check : bool
        First look at the model by :func:`shapsketch.models.check`, on eight of the queries, which takes ten
        further calls; what is odd is logged. Not where a store has values of it.

    Returns
    -------
    Sketch, or dict of str to Sketch if there are `outputs`

    Raises
    ------
    BudgetError
        If the budget is too small to mean anything.
    ModelError
        If the model fails, returns something else than asked, or leaves the link's domain; or the executor
        does.
    FileError
        If the store cannot be written, is damaged, or another process has it.
    InputError
        If the store is of another model or space.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [s.count("G") + 2.0 * (s[2:4] == "AU") for s in sequences]
    >>> sketch = ss.sketch(model, ss.SequenceSpace(ss.RNA, length=9), budget=2_000, progress=False)
    >>> sketch.method, round(sketch.r2, 3)
    ('regress', 1.0)
    """
    taken = inputs_of(model, inputs)
    names = named_outputs(outputs)
    runner = Runner(executor, in_flight, retries, progress, batch_size)
    scale = parse(link)
    planned = budgeted(space, budget, method, random_state)
    terms = None if max_terms is None else integer("max_terms", max_terms, least=1)
    _check_options(method, teacher, terms, fast)
    if planned.method == "regress" and (method in ("trees", "distill") or teacher is not None):
        # Said now, not when all is paid for.
        for module in ("scipy.sparse", "lightgbm"):
            optional(module, "trees", "fitting trees")
    if planned.method == "exact" and terms is not None:
        raise InputError(
            "every sequence fits the budget, and the exact transform has all terms; leave out max_terms, and "
            "shorten sketch.spectrum by its truncate()"
        )

    target = _target(target_r2, method)

    # R² of the regression in it, which rests on all queries, of the last sketch.
    steady = [float("nan")]

    def make(plan: _core.Plan, queries: _core.Queries, answers: Values) -> Sketch:
        if np.ptp(answers) == 0.0:
            logger.warning("the model gave the same score, %g, to all %d queries", answers[0], len(answers))
        linked = scale.to_link(answers, "model")

        def regress() -> _core.Sketch:
            core = queries.sketch(linked)
            steady[0] = core.info["r2"]
            return core

        if plan.method != "regress" or method == "regress":
            made = Sketch._wrap(regress())
        else:
            made = compare(
                space,
                queries.batch(0, len(queries)),
                linked,
                method=method,
                regress=regress,
                share=len(queries) / space.size,
                budget=plan.budget,
                max_terms=terms,
                teacher=teacher,
                inputs=taken,
                fast=fast,
                seed=random_state,
                progress=runner.bar,
            )
        made._core = _on_link(made._core, scale)
        return made

    with observing(
        model,
        space,
        inputs=taken,
        outputs=names,
        runner=runner,
        link=scale,
        store=store,
        remember=check or target is not None,
    ) as observer:

        def answered(plan: _core.Plan, queries: _core.Queries) -> Values:
            logger.info("%s, %d queries", plan.method, len(queries))
            return observer.ask(lambda: _parts(queries), len(queries))

        if check:
            first = planned.queries()
            observer.examine(first.batch(0, min(CHECKED, len(first))))
        width = 1 if names is None else len(names)
        if target is None:
            queries = planned.queries()
            answers = answered(planned, queries)
            sketches = [make(planned, queries, answers[:, output]) for output in range(width)]
        else:

            def ask(output: int, plan: _core.Plan) -> Sketch:
                queries = plan.queries()
                return make(plan, queries, np.ascontiguousarray(answered(plan, queries)[:, output]))

            sketches = [
                _adaptive(
                    partial(ask, output),
                    steady,
                    space,
                    planned,
                    target,
                    random_state,
                )
                for output in range(width)
            ]
    for made in sketches:
        made.__dict__["_link"] = scale
        _warn_if_low(made)
    return sketches[0] if names is None else dict(zip(names, sketches, strict=True))


def _parts(queries: _core.Queries) -> Iterator[Codes]:
    for start in range(0, len(queries), PART):
        yield queries.batch(start, min(start + PART, len(queries)))


def _adaptive(
    ask: Callable[[_core.Plan], Sketch],
    steady: list[float],
    space: SequenceSpace,
    planned: _core.Plan,
    target: float,
    seed: int,
) -> Sketch:
    """Ask in rounds until the target is met, the budget is spent, or more does not pay."""
    budget, idle = planned.budget, 0
    before: tuple[float, float] | None = None
    asked = min(FIRST_ROUND, budget)
    while True:
        last = asked >= budget
        # The last round may be the exact transform.
        plan = planned if last else _core.Plan(space._core, asked, method="regress", seed=seed)
        made = ask(plan)
        info = made._core.info
        r2, (_, high) = info["r2"], info["r2_interval"]
        logger.info("%d queries: R² %.4f", info["n_queries"], r2)
        error = 1.0 - steady[0]
        # The regression's R² rests on all queries, that of the sketch, perhaps, on the few held out: a gain
        # of the former counts at once, of the latter only beyond chance. Where every sequence is
        # affordable, that always pays.
        slow = before is not None and not error <= (1.0 - WORTHWHILE) * before[0] and r2 <= before[1]
        idle = idle + 1 if slow and planned.method != "exact" else 0
        before = (error, high)
        ended = None
        if r2 >= target:
            ended = "target met"
        elif last:
            ended = "budget spent"
        elif idle == 2:
            ended = "more queries no longer pay"
        if ended is not None:
            # What was not tried, or cut off, is still said.
            _, *notes = (info["status"] or "").split("; ", 1)
            made._core = made._core.described(
                status="; ".join([ended, *notes]), budget=budget, link=None, values=None, predictions=None
            )
            return made
        asked = min(GROWTH * asked, budget)


def fit(
    X: Sequences,
    y: npt.ArrayLike,
    space: SequenceSpace,
    *,
    method: Literal["auto", "regress", "trees", "distill"] = "regress",
    dictionary: Dictionary | Literal["auto"] = "auto",
    link: LinkLike = "identity",
    random_state: int = 0,
    teacher: Predictor | None = None,
    inputs: Inputs = "codes",
    max_terms: int | None = None,
    fast: bool = False,
    progress: bool = True,
) -> Sketch:
    """Sketch labelled data: a measured library or a deep mutational scan, instead of a model.

    Repeats and noise are fine. R² is cross-validated, with repeats of a sequence in one fold. Letters
    that occur nowhere at a position are listed in the summary; terms with them are not identifiable and
    left out. Explanations are uniform over the space unless given ``background=X``: where the data cover
    little of it, they extrapolate.

    Parameters
    ----------
    X : sequences (strings, or codes (N, n))
    y : array of float, shape (N,)
    space : SequenceSpace
    method : {"auto", "regress", "trees", "distill"}
        As for :func:`sketch`.
    dictionary : Dictionary or "auto"
        For regression.
    link : {"identity", "log", "logit"} or (forward, inverse)
    random_state : int
    teacher : object with ``fit`` and ``predict``, optional
    inputs : {"strings", "codes", "onehot"}
        What that teacher takes.
    max_terms, fast, progress
        As for :func:`sketch`.

    Raises
    ------
    InputError
        If shapes do not match, a value is not finite (says which), or there are too few distinct
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
    space_of(space)
    scale = parse(link)
    codes, values = labelled(X, y, space)
    name = choice("method", method, UNIFORM)
    terms = None if max_terms is None else integer("max_terms", max_terms, least=1)
    _check_options(name, teacher, terms, fast)
    if dictionary != "auto" and name in ("trees", "distill"):
        raise InputError(f"a dictionary is for method='regress' and 'auto', not {name!r}")
    if inputs != "codes" and teacher is None:
        raise InputError(f"inputs={inputs!r} says what a teacher takes, and there is none")
    seed = integer("random_state", random_state, least=0)
    regressor = SparseRegressor(space, dictionary=dictionary, random_state=seed)
    linked = scale.to_link(values, "y")

    def regress() -> _core.Sketch:
        regressor._fit(space, codes, linked, None)
        return regressor.sketch_._core

    if name == "regress":
        made = Sketch._wrap(regress())
    else:
        made = compare(
            space,
            codes,
            linked,
            method=name,
            regress=regress,
            share=0.0,
            budget=len(values),
            max_terms=terms,
            teacher=teacher,
            inputs=choice("inputs", inputs, INPUTS),
            fast=fast,
            seed=seed,
            progress=progress,
        )
    made._core = _on_link(made._core, scale)
    made.__dict__["_link"] = scale
    _warn_if_low(made)
    return made
