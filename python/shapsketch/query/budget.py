"""Plan how a budget of evaluations is used, before the model is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from shapsketch import _core
from shapsketch._validate import choice, integer
from shapsketch.errors import BudgetError, InputError
from shapsketch.query.design import gathered
from shapsketch.query.distribution import Distribution, DistributionLike, parse
from shapsketch.space import Codes, SequenceSpace, space_of

# Methods of `sketch`.
METHODS = ("auto", "regress", "peel", "trees", "distill", "exact")
Method: TypeAlias = Literal["auto", "regress", "peel", "trees", "distill", "exact"]
# Methods that learn from queries of any distribution, and therefore also from labelled data.
ANY_QUERIES = ("auto", "regress", "trees", "distill")
# Methods that fit boosted trees, and the fewest distinct sequences on which they can be fitted and validated.
TREES = ("trees", "distill")
FEWEST = 300


@dataclass(frozen=True)
class Plan:
    """How a budget of evaluations is used; :func:`plan` returns it.

    Attributes
    ----------
    method : {"auto", "exact", "regress", "trees", "distill", "peel"}
        ``auto`` if several methods are compared.
    budget : int
        Largest number of distinct sequences that are evaluated.
    design : (int, int, int) or None
        Subsampling dimension, number of groups, and delays in each group; None if queries are uniform. If
        ``auto`` has a design, the queries beyond it are uniform. :func:`sketch` leaves the design after its
        first group, for uniform queries, if these values show no sparse spectrum.
    max_order : int or None
        Highest order of the terms that a design with coded delays can find by peeling; None without one.
    design_queries : int
        Evaluations for the fit; for a design an upper bound.
    validation_queries, test_queries : int
        Evaluations to choose the noise level and to report R² when peeling. Other methods need none:
        regression uses cross-validation.
    next_budget : int or None
        The smallest budget that allows blocks ``q`` times as large, or of the next dimension if positions
        have letters of their own.
    candidates : int or None
        Number of atoms in the dictionary of a regression, before growth.
    memory : int or None
        Predicted bytes that a regression needs for dictionary and sequences. Selected atoms need more, up to
        several kilobytes per sequence.
    """

    method: str
    budget: int
    design: tuple[int, int, int] | None
    max_order: int | None
    design_queries: int
    validation_queries: int
    test_queries: int
    next_budget: int | None
    candidates: int | None
    memory: int | None
    _core: _core.Plan = field(repr=False, compare=False)
    _distribution: Distribution | None = field(default=None, repr=False, compare=False)

    def batches(self, size: int = 65_536) -> Iterator[Codes]:
        """Yield the sequences that :func:`sketch` evaluates, as codes (B, n) with B at most `size`.

        Another program can evaluate them: see :func:`write_sequences` and :func:`shapsketch.models.table`.
        If ``auto`` has a design, these are its queries and uniform ones. Only the sketch of such a table
        always keeps to them.
        """
        size = integer("size", size, least=1)
        queries = queries_of(self._core, self._distribution)
        n = queries.batch(0, 1).shape[1]
        for start in range(0, len(queries), size):
            yield gathered(queries.batch, start, min(start + size, len(queries)), n)

    @property
    def total_queries(self) -> int:
        """Largest number of model evaluations of this plan."""
        return self.design_queries + self.validation_queries + self.test_queries

    @property
    def distribution(self) -> str:
        """The distribution of the queries, in words."""
        return "uniform" if self._distribution is None else self._distribution.text

    def __reduce__(self) -> tuple[Callable[..., Plan], tuple[Any, ...]]:
        core, space = self._core, SequenceSpace._wrap(self._core.space)
        # `auto` also asks the queries of a design, unlike the method of its core.
        method = "auto" if self.method == "auto" and self._distribution is None else core.method
        return _unpickled, (self.method, space, core.budget, method, core.seed, self._distribution)

    def __str__(self) -> str:
        if self.method == "exact":
            return f"exact transform of all {self.design_queries:,} sequences (budget {self.budget:,})"
        if self.method != "peel":
            methods = {
                "auto": "sparse regression, trees and distillation, or an average of them",
                "regress": "sparse regression",
                "trees": "boosted trees",
                "distill": "a teacher and its students",
            }[self.method]
            which = "queries" if self.design is not None else "uniform queries"
            if self._distribution is not None:
                which = f"queries ({self.distribution})"
            queries = f"{methods}: {self.design_queries:,} {which} of a budget of {self.budget:,}"
            if self.design is not None:
                b, groups, delays = self.design
                queries += (
                    f",\n{groups} groups x {delays} delays x q^{b} of a design, to peel terms of order up to "
                    f"{self.max_order}, and uniform ones\n"
                    "(of the design only the first group, if that shows no sparse spectrum)"
                )
            if self.method in TREES:
                return (
                    f"{queries},\n"
                    "a fifth held out to report R², a fifth of the others to choose options; "
                    "the last fit uses all"
                )
            return (
                f"{queries},\n"
                f"{self.candidates:,} atoms and those that growth adds, chosen by cross-validation "
                f"(at least {(self.memory or 0) / 2**20:,.0f} MiB);\n"
                "more queries lower the error; for a truly sparse spectrum of high order use method='peel'"
            )
        assert self.design is not None
        b, groups, delays = self.design
        orders = "" if self.max_order is None else f" (terms of order up to {self.max_order})"
        block = f"q^{b}"
        if self._core.space.letters is not None:
            block = f"{self.design_queries / (groups * delays):,.0f} on average"
        larger = f"\nlarger blocks from a budget of {self.next_budget:,} on" if self.next_budget else ""
        return (
            f"peeling{orders}: {groups} groups x {delays} delays x {block} = "
            f"{self.design_queries:,} designed queries at most,\n"
            f"{self.validation_queries:,} to choose the noise level, {self.test_queries:,} to report R²: "
            f"{self.total_queries:,} of a budget of {self.budget:,}{larger}"
        )


def plan(
    space: SequenceSpace,
    budget: int,
    *,
    method: Method = "auto",
    distribution: DistributionLike = "uniform",
    random_state: int = 0,
) -> Plan:
    """Return how :func:`sketch` would use a budget. No model is needed.

    Parameters
    ----------
    space : SequenceSpace
    budget : int
        Largest number of distinct sequences to evaluate, at least 1.
    method : {"auto", "regress", "peel", "trees", "distill", "exact"}
        As for :func:`sketch`.
    distribution : "uniform", probabilities, Mutagenesis, Hybrids, sequences or callable
        As for :func:`sketch`.
    random_state : int
        Seed of the queries, at least 0.

    Raises
    ------
    BudgetError
        If the budget is too small for the method; the message has the smallest sufficient budget.
    InputError
        If a parameter is wrong.

    Examples
    --------
    >>> import shapsketch as ss
    >>> print(ss.plan(ss.SequenceSpace(ss.RNA, length=17), budget=20_000, method="peel"))
    peeling: 3 groups x 18 delays x q^4 = 13,824 designed queries at most,
    1,000 to choose the noise level, 2,000 to report R²: 16,824 of a budget of 20,000
    larger blocks from a budget of 58,296 on
    """
    space_of(space)
    drawn = parse(distribution, space)
    core = budgeted(space, budget, method, random_state, drawn)
    return _plan_of(core, method if core.method == "regress" else core.method, drawn)


def _plan_of(core: _core.Plan, method: str, distribution: Distribution | None) -> Plan:
    return Plan(
        method,
        core.budget,
        core.design,
        core.max_order,
        core.design_queries,
        core.validation_queries,
        core.test_queries,
        core.next_budget,
        core.n_atoms,
        core.memory,
        core,
        distribution,
    )


def _unpickled(
    method: str,
    space: SequenceSpace,
    budget: int,
    core_method: str,
    seed: int,
    distribution: Distribution | None,
) -> Plan:
    return _plan_of(_core.Plan(space._core, budget, method=core_method, seed=seed), method, distribution)


@dataclass(frozen=True)
class Drawn:
    """Queries of a distribution, with the methods of the queries of a plan of the core.

    Attributes
    ----------
    codes : numpy.ndarray of uint8, shape (N, n)
    """

    codes: Codes

    def __len__(self) -> int:
        return len(self.codes)

    def batch(self, start: int, stop: int) -> Codes:
        """Return queries `start` to `stop`, codes."""
        return self.codes[start:stop]


def queries_of(plan: _core.Plan, distribution: Distribution | None) -> _core.Queries | Drawn:
    """Return the queries of a plan of the core, or as many of a distribution.

    Raises
    ------
    BudgetError
        If the distribution does not have so many distinct sequences.
    """
    if distribution is None:
        return plan.queries()
    return Drawn(distribution.distinct(plan.design_queries, plan.seed))


def budgeted(
    space: SequenceSpace,
    budget: int,
    method: str,
    random_state: int,
    distribution: Distribution | None = None,
) -> _core.Plan:
    """Return the core's plan. Trees and distillation use the queries of a regression."""
    space_of(space)
    name = choice("method", method, METHODS)
    count = integer("budget", budget, least=1)
    if distribution is not None and name not in ANY_QUERIES:
        raise InputError(
            f"method={name!r} needs uniform queries; remove distribution=, or use one of the methods "
            f"{', '.join(map(repr, ANY_QUERIES))}"
        )
    if name in TREES and min(count, space.size) < FEWEST:
        reason = f"method={name!r} needs {FEWEST} distinct sequences to fit and validate trees"
        if space.size < FEWEST:
            raise BudgetError(
                f"{reason}, and this space has {space.size}; use method='exact' with budget={space.size}"
            )
        raise BudgetError(
            f"a budget of {count} is too small: {reason}; use budget={FEWEST} or more, or method='regress'"
        )
    return _core.Plan(
        space._core,
        count,
        method="regress" if name in TREES or distribution is not None else name,
        seed=integer("random_state", random_state, least=0),
    )
