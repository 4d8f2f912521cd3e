"""A sketch of a model: the evaluation of the queries, and the fit."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from shapsketch import _core
from shapsketch._validate import check_memory
from shapsketch.errors import InputError
from shapsketch.evaluate.evaluator import Evaluator, Session
from shapsketch.evaluate.progress import Progress, check_progress
from shapsketch.fitting.adaptive import check_target, fit_in_rounds
from shapsketch.fitting.boosting import require_trees
from shapsketch.fitting.final import Data
from shapsketch.fitting.hierarchy import unordered
from shapsketch.fitting.holdout import Labelled
from shapsketch.fitting.monotone import check_monotone, check_sequences, fit_monotone
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.regression import SparseRegressor
from shapsketch.fitting.selection import Fitted, fit_values
from shapsketch.fitting.steps import EVALUATION, LATENT, PEELING, REGRESSION, Stages, stages_of
from shapsketch.link import MONOTONE, Link, LinkLike, parse
from shapsketch.query.budget import Drawn, budgeted, queries_of
from shapsketch.query.distribution import Distribution, DistributionLike
from shapsketch.query.distribution import parse as parse_distribution
from shapsketch.space import Codes, SequenceSpace, Values
from shapsketch.surrogate.sketch import Sketch, on_link, warn_if_low

logger = logging.getLogger(__name__)

# Queries that are generated at a time.
PART = 65_536
# Smallest fraction of a space that was evaluated.
TINY = 1e-300
# Predicted memory of the exact transform and of peeling for each query, in bytes; dense spectra need more.
# Peeling decodes in the memory of the values (8 bytes); repeated queries and the blocks that are transformed
# need some besides.
QUERY_BYTES = {"exact": 60, "peel": 20}


@dataclass(frozen=True)
class Task:
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
    ) -> Task:
        """Return the task of arguments that are correct.

        Raises
        ------
        InputError, BudgetError
            If one is not.
        MissingExtraError
            If boosted trees are asked for, and a library is not installed.
        """
        drawn, scale = parse_distribution(distribution, space), parse(link)
        check_monotone(scale, options, target_r2)
        # A latent scale is fitted to values, also to those of all sequences.
        method = options.method
        if scale.name == MONOTONE:
            check_sequences(space.size, f"a space of {space.size}")
            method = "regress"
        plan = budgeted(space, budget, method, options.seed, drawn)
        if plan.method == "regress" and options.method == "trees":
            require_trees()
        if plan.method == "exact" and options.max_terms is not None:
            raise InputError(
                "the budget covers every sequence, so the exact transform keeps all terms; remove max_terms, "
                "and use sketch.spectrum.truncate(max_terms)"
            )
        if plan.method in ("exact", "peel"):
            total = plan.design_queries + plan.validation_queries + plan.test_queries
            check_memory(
                f"the method {plan.method!r} with {total:,} queries",
                total * QUERY_BYTES[plan.method],
                "use a smaller budget, or method='regress'",
            )
        target = check_target(target_r2, options.method)
        if target is not None and plan.method == "regress":
            # Rounds reuse queries, which designs of different sizes do not share.
            plan = _core.Plan(space._core, plan.budget, method="regress", seed=options.seed)
        if options.regressor is not None:
            options.regressor._check_size(space, plan.design_queries, uniform=drawn is None)
        return cls(evaluator, space, plan, drawn, options, target, scale, check_progress(progress))

    def run(self) -> list[Sketch]:
        """Return one sketch for each output."""
        outputs = self.evaluator.outputs
        width = 1 if outputs is None else len(outputs)
        names = [""] if outputs is None else [f"output {name}" for name in outputs]
        with self.evaluator.open(self.space, link=self.link, progress=self.progress) as session:
            if self.target is None:
                started = time.perf_counter()
                stages = self._stages(self.plan)
                plan, queries, values = self._evaluated(session, stages)
                seconds = time.perf_counter() - started
                fitted = [
                    self._fit(
                        plan,
                        queries,
                        np.ascontiguousarray(values[:, output]),
                        seconds,
                        stages.of(names[output]),
                    )
                    for output in range(width)
                ]
            else:
                target = self.target
                fitted = [
                    fit_in_rounds(
                        partial(self._round, session, output, names[output]),
                        self.space,
                        self.plan,
                        target,
                        self.options.seed,
                    )
                    for output in range(width)
                ]
        sketches = [Sketch._wrap(f.core, self.link, f.custom, start=self.space.start) for f in fitted]
        for sketch in sketches:
            warn_if_low(sketch)
        return sketches

    def _evaluated(
        self, session: Session, stages: Stages
    ) -> tuple[_core.Plan, _core.Queries | Drawn, Values]:
        """Return plan and queries, and their values (N, k).

        The first group of a design tells whether the model has a sparse spectrum. If not, all further queries
        are uniform, which a regression learns more from.
        """
        stages.begin(EVALUATION)
        plan, queries = self.plan, queries_of(self.plan, self.distribution)
        fixed = isinstance(queries, Drawn) or getattr(self.evaluator.model, "only_planned", False)
        first = 0 if isinstance(queries, Drawn) or fixed else queries.n_first()
        if first == 0:
            return plan, queries, _values(session, plan, queries, stages)
        assert not isinstance(queries, Drawn)
        of_group = _values(session, plan, queries, stages, stop=first)
        if not any(queries.is_sparse(self.link.to_link(column, "model")) for column in of_group.T.copy()):
            logger.info("no sparse spectrum: the further queries are uniform")
            plan = plan.without_peeling()
            queries = plan.queries()
        others = _values(session, plan, queries, stages, start=first)
        return plan, queries, np.concatenate([of_group, others])

    def _stages(self, plan: _core.Plan, of: str = "") -> Stages:
        """Return the stages of a plan, which may be that of a round."""
        names, method = [EVALUATION], self._single(plan)
        names += [LATENT] if self.link.name == MONOTONE else []
        if method is not None:
            return Stages(self.progress, [*names, method], of)
        ordered = self.distribution is None or self.distribution.ordered
        near, peels = self.distribution is not None, plan.design is not None
        return Stages(
            self.progress, names + stages_of(self.options, peels=peels, ordered=ordered, near=near), of
        )

    def _single(self, plan: _core.Plan) -> str | None:
        """Return the stage of the only method that a plan has; None if several are compared."""
        if plan.method != "regress":
            return "exact transform" if plan.method == "exact" else PEELING
        return REGRESSION if self.options.method == "regress" else None

    def _round(self, session: Session, output: int, name: str, plan: _core.Plan, label: str) -> Fitted:
        stages = self._stages(plan, f"{name}, {label}" if name else label)
        queries = queries_of(plan, self.distribution)
        started = time.perf_counter()
        stages.begin(EVALUATION)
        values = _values(session, plan, queries, stages)
        seconds = time.perf_counter() - started
        return self._fit(plan, queries, np.ascontiguousarray(values[:, output]), seconds, stages)

    def _fit(
        self, plan: _core.Plan, queries: _core.Queries | Drawn, values: Values, seconds: float, stages: Stages
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

        def closed_form(seconds: float | None = None) -> _core.Sketch:
            regressor, uniform = self.options.regressor, not isinstance(queries, Drawn)
            if regressor is None and not isinstance(queries, Drawn):
                return queries.sketch(linked, seconds)
            rows = Labelled(queries.batch(0, len(queries)), linked)
            if regressor is None:
                regressor = SparseRegressor(self.space, random_state=self.options.seed)
                if self.distribution is not None and not self.distribution.ordered:
                    regressor = unordered(self.space, rows, self.options.seed)
            regressor._fit(self.space, rows, uniform=uniform, seconds=seconds)
            return regressor.sketch_._core.with_budget(plan.budget)

        def data() -> Data:
            # In large spaces the quotient would be 0.
            fraction = 0.0 if isinstance(queries, Drawn) else max(len(queries) / self.space.size, TINY)
            rows = Labelled(queries.batch(0, len(queries)), linked)
            return Data(self.space, rows, plan.budget, fraction, seconds, self.distribution)

        def fit() -> Fitted:
            single = self._single(plan)
            if single is not None:
                stages.begin(single)
                core = closed_form()
                assert core.info is not None
                return Fitted(core, None, core.info.r2.value)
            peel = None
            if plan.design is not None and not isinstance(queries, Drawn):
                peel = partial(queries.peel, linked)
            with stages.bar():
                return fit_values(data(), self.options, closed_form, stages, peel)

        if self.link.name == MONOTONE:
            fitted = fit_monotone(data(), self.options, self.options.regressor, stages, fit)
        else:
            fitted = fit()
        core = on_link(fitted.core, self.link)
        if isinstance(queries, Drawn):
            assert self.distribution is not None
            core = core.with_distribution(self.distribution.record(queries.codes))
        return Fitted(core, fitted.custom, fitted.regression_r2)


def _values(
    session: Session,
    plan: _core.Plan,
    queries: _core.Queries | Drawn,
    stages: Stages,
    start: int = 0,
    stop: int | None = None,
) -> Values:
    """Return the values (N, k) of some queries, by default all."""
    end = len(queries) if stop is None else stop
    logger.info("%s, %d queries", plan.method, end - start)

    def parts() -> Iterator[Codes]:
        for first in range(start, end, PART):
            yield queries.batch(first, min(first + PART, end))

    return session.values(parts, end - start, to_square=True, label=stages.label, earlier=start)
