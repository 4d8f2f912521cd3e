"""Sketching: plan what a budget is spent on, ask the model, fit, choose, and test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._check import choice, integer
from shapsketch._errors import InputError
from shapsketch.candidates import compare
from shapsketch.distill import Predictor
from shapsketch.link import LinkLike, parse
from shapsketch.model import INPUTS, Inputs, Model, evaluate
from shapsketch.regress import Dictionary, SparseRegressor, labelled
from shapsketch.sketch import Sketch, _on_link, _warn_if_low
from shapsketch.space import Codes, Sequences, SequenceSpace

logger = logging.getLogger(__name__)

METHODS = ("auto", "regress", "peel", "trees", "distill", "exact")
Method: TypeAlias = Literal["auto", "regress", "peel", "trees", "distill", "exact"]
# Methods that learn from uniform queries.
UNIFORM = ("auto", "regress", "trees", "distill")
# Rounds of an adaptive sketch: the first, and how much each next one asks in all.
FIRST_ROUND = 500
GROWTH = 2
# A doubling of the queries that lowers the error by less than this part does not pay.
WORTHWHILE = 0.04


@dataclass(frozen=True)
class Plan:
    """What a budget will be spent on; made by :func:`plan`.

    Attributes
    ----------
    method : {"auto", "exact", "regress", "trees", "distill", "peel"}
        ``auto`` where several will be compared.
    budget : int
        The hard cap on distinct model evaluations.
    design : (int, int, int) or None
        Subsampling dimension, number of groups, delays in each; None where queries are uniform.
    design_queries : int
        Evaluations to learn from; of a design an upper bound.
    validation_queries, test_queries : int
        Evaluations to choose and to test by; regression uses cross-validation instead.
    next_budget : int or None
        The least budget that would allow blocks ``q`` times as large.
    candidates : int or None
        Atoms that a regression chooses from, before it grows further ones.
    memory : int or None
        Bytes that a regression will take, as predicted.
    """

    method: str
    budget: int
    design: tuple[int, int, int] | None
    design_queries: int
    validation_queries: int
    test_queries: int
    next_budget: int | None
    candidates: int | None
    memory: int | None

    @property
    def total_queries(self) -> int:
        """The most model evaluations this plan takes."""
        return self.design_queries + self.validation_queries + self.test_queries

    def __str__(self) -> str:
        if self.design is None:
            what = {
                "auto": "sparse regression, trees and distillation, or an average of them",
                "regress": "sparse regression",
                "trees": "boosted trees",
                "distill": "a teacher and its students",
            }[self.method]
            queries = f"{what}: {self.design_queries:,} uniform queries of a budget of {self.budget:,}"
            if self.method in ("trees", "distill"):
                return (
                    f"{queries},\n"
                    "a fifth of them held out to report R², a fifth of the others to choose, then all fitted"
                )
            return (
                f"{queries},\n"
                f"{self.candidates:,} candidate terms and those grown from them, cross-validated "
                f"({(self.memory or 0) / 2**20:,.0f} MiB);\n"
                "more queries lower the error further; a truly sparse spectrum of high order is peeled"
            )
        b, groups, delays = self.design
        if self.method == "exact":
            return f"exact transform of all {self.design_queries:,} sequences (budget {self.budget:,})"
        more = f"\nlarger blocks from a budget of {self.next_budget:,} on" if self.next_budget else ""
        return (
            f"peeling: {groups} groups x {delays} delays x q^{b} = "
            f"{self.design_queries:,} designed queries at most,\n"
            f"{self.validation_queries:,} to choose the noise level, {self.test_queries:,} to report R²: "
            f"{self.total_queries:,} of a budget of {self.budget:,}{more}"
        )


def plan(
    space: SequenceSpace,
    budget: int,
    *,
    method: Method = "auto",
    random_state: int = 0,
) -> Plan:
    """Say what :func:`sketch` would do with a budget, without a model.

    Raises
    ------
    BudgetError
        If the budget is too small for the method; says what would be needed.

    Examples
    --------
    >>> import shapsketch as ss
    >>> print(ss.plan(ss.SequenceSpace(ss.RNA, length=17), budget=20_000, method="peel"))
    peeling: 3 groups x 18 delays x q^4 = 13,824 designed queries at most,
    1,000 to choose the noise level, 2,000 to report R²: 16,824 of a budget of 20,000
    larger blocks from a budget of 58,296 on
    """
    core = _plan(space, budget, method, random_state)
    candidates, memory = core.candidates or (None, None)
    return Plan(
        method if core.method == "regress" else core.method,
        core.budget,
        core.design,
        core.design_queries,
        core.validation_queries,
        core.test_queries,
        core.next_budget,
        candidates,
        memory,
    )


def _plan(space: SequenceSpace, budget: int, method: str, random_state: int) -> _core.Plan:
    if not isinstance(space, SequenceSpace):
        raise InputError(f"space must be a SequenceSpace, got {type(space).__name__}")
    name = choice("method", method, METHODS)
    return _core.Plan(
        space._core,
        integer("budget", budget, least=1),
        method="regress" if name in ("trees", "distill") else name,
        seed=integer("random_state", random_state, least=0),
    )


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


def sketch(
    model: Model,
    space: SequenceSpace,
    *,
    budget: int,
    method: Method = "auto",
    target_r2: float | None = None,
    link: LinkLike = "identity",
    inputs: Inputs = "strings",
    batch_size: int = 4096,
    random_state: int = 0,
    progress: bool = True,
    teacher: Predictor | None = None,
    max_terms: int | None = None,
    fast: bool = False,
) -> Sketch:
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
    inputs : {"strings", "codes", "onehot"}
        What the model takes: list of str, uint8 array (B, n), or float32 array (B, n, q).
    batch_size : int
        Most sequences in one call of the model.
    random_state : int
        Seed of every random choice, at least 0.
    progress : bool
        Show a progress bar.
    teacher : object with ``fit`` and ``predict``, optional
        A predictor of your own for ``distill`` and ``auto``; it is given what the model is, and fitted
        twice.
    max_terms : int, optional
        Terms that the sketch may have (``auto``, ``trees``, ``distill``): fewer explain faster and worse;
        ``sketch.status`` has R² with all.
    fast : bool
        Let ``auto`` leave out distillation and large trees.

    Returns
    -------
    Sketch

    Raises
    ------
    BudgetError
        If the budget is too small to mean anything.
    ModelError
        If the model fails, returns something else than asked, or leaves the link's domain.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [s.count("G") + 2.0 * (s[2:4] == "AU") for s in sequences]
    >>> sketch = ss.sketch(model, ss.SequenceSpace(ss.RNA, length=9), budget=2_000, progress=False)
    >>> sketch.method, round(sketch.r2, 3)
    ('regress', 1.0)
    """
    if not callable(model):
        raise InputError(f"model must be a callable, got {type(model).__name__}")
    inputs_checked = choice("inputs", inputs, INPUTS)
    size = integer("batch_size", batch_size, least=1)
    scale = parse(link)
    planned = _plan(space, budget, method, random_state)
    terms = None if max_terms is None else integer("max_terms", max_terms, least=1)
    _check_options(method, teacher, terms, fast)
    if planned.method == "exact" and terms is not None:
        raise InputError(
            "every sequence fits the budget, and the exact transform has all terms; leave out max_terms, and "
            "shorten sketch.spectrum by its truncate()"
        )
    values: dict[bytes, float] = {}

    # R² of the regression in it, which rests on all queries, of the last sketch.
    steady = [float("nan")]

    def ask(plan: _core.Plan) -> Sketch:
        queries = plan.queries()
        logger.info("%s, %d queries", plan.method, len(queries))

        def fresh() -> Iterator[Codes]:
            for start in range(0, len(queries), size):
                batch = queries.batch(start, min(start + size, len(queries)))
                new = [i for i, row in enumerate(batch) if row.tobytes() not in values] if values else None
                if new is None:
                    yield batch
                elif new:
                    yield batch[new]

        if target_r2 is None:
            answers = evaluate(model, space, fresh(), len(queries), inputs=inputs_checked, progress=progress)
        else:
            new = list(fresh())
            count = sum(map(len, new))
            told = evaluate(model, space, iter(new), count, inputs=inputs_checked, progress=progress)
            rows = (row.tobytes() for batch in new for row in batch)
            values.update(zip(rows, told.tolist(), strict=True))
            answers = np.array([values[row.tobytes()] for row in queries.batch(0, len(queries))])
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
                inputs=inputs_checked,
                fast=fast,
                seed=random_state,
                progress=progress,
            )
        made._core = _on_link(made._core, scale)
        return made

    if target_r2 is None:
        made = ask(planned)
    else:
        made = _adaptive(ask, steady, space, planned, method, float(target_r2), random_state)
    made.__dict__["_link"] = scale
    _warn_if_low(made)
    return made


def _adaptive(
    ask: Callable[[_core.Plan], Sketch],
    steady: list[float],
    space: SequenceSpace,
    planned: _core.Plan,
    method: str,
    target: float,
    seed: int,
) -> Sketch:
    """Ask in rounds until the target is met, the budget is spent, or more does not pay."""
    if method not in UNIFORM:
        raise InputError(f"target_r2 asks in rounds, which method={method!r} cannot")
    if not target <= 1.0:
        raise InputError(f"target_r2 must be a number up to 1, got {target}")
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
    if not isinstance(space, SequenceSpace):
        raise InputError(f"space must be a SequenceSpace, got {type(space).__name__}")
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
