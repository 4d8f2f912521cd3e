"""Plan how a budget of evaluations is used, before the model is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shapsketch import _core
from shapsketch._validate import choice, integer
from shapsketch.errors import BudgetError
from shapsketch.query.design import gathered
from shapsketch.space import Codes, SequenceSpace, space_of

# Methods of `sketch`.
METHODS = ("auto", "regress", "peel", "trees", "distill", "exact")
Method: TypeAlias = Literal["auto", "regress", "peel", "trees", "distill", "exact"]
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
        Subsampling dimension, number of groups, and delays in each group; None if queries are uniform.
    design_queries : int
        Evaluations for the fit; for a design an upper bound.
    validation_queries, test_queries : int
        Evaluations to choose the noise level and to report R² when peeling. Other methods need none:
        regression uses cross-validation.
    next_budget : int or None
        The smallest budget that allows blocks ``q`` times as large.
    candidates : int or None
        Number of atoms in the dictionary of a regression, before growth.
    memory : int or None
        Predicted bytes that a regression needs for dictionary and sequences. Selected atoms need more, up to
        several kilobytes per sequence.
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
    _core: _core.Plan = field(repr=False, compare=False)

    def batches(self, size: int = 65_536) -> Iterator[Codes]:
        """Yield the sequences that :func:`sketch` evaluates, as codes (B, n) with B at most `size`.

        Another program can evaluate them: see :func:`write_sequences` and :func:`shapsketch.models.table`.
        """
        size = integer("size", size, least=1)
        queries = self._core.queries()
        n = queries.batch(0, 1).shape[1]
        for start in range(0, len(queries), size):
            yield gathered(queries.batch, start, min(start + size, len(queries)), n)

    @property
    def total_queries(self) -> int:
        """Largest number of model evaluations of this plan."""
        return self.design_queries + self.validation_queries + self.test_queries

    def __reduce__(self) -> tuple[Callable[..., Plan], tuple[str, SequenceSpace, int, str, int]]:
        core = self._core
        return _unpickled, (self.method, SequenceSpace._wrap(core.space), core.budget, core.method, core.seed)

    def __str__(self) -> str:
        if self.design is None:
            methods = {
                "auto": "sparse regression, trees and distillation, or an average of them",
                "regress": "sparse regression",
                "trees": "boosted trees",
                "distill": "a teacher and its students",
            }[self.method]
            queries = f"{methods}: {self.design_queries:,} uniform queries of a budget of {self.budget:,}"
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
        b, groups, delays = self.design
        if self.method == "exact":
            return f"exact transform of all {self.design_queries:,} sequences (budget {self.budget:,})"
        larger = f"\nlarger blocks from a budget of {self.next_budget:,} on" if self.next_budget else ""
        return (
            f"peeling: {groups} groups x {delays} delays x q^{b} = "
            f"{self.design_queries:,} designed queries at most,\n"
            f"{self.validation_queries:,} to choose the noise level, {self.test_queries:,} to report R²: "
            f"{self.total_queries:,} of a budget of {self.budget:,}{larger}"
        )


def plan(
    space: SequenceSpace,
    budget: int,
    *,
    method: Method = "auto",
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
    core = budgeted(space, budget, method, random_state)
    return _plan_of(core, method if core.method == "regress" else core.method)


def _plan_of(core: _core.Plan, method: str) -> Plan:
    return Plan(
        method,
        core.budget,
        core.design,
        core.design_queries,
        core.validation_queries,
        core.test_queries,
        core.next_budget,
        core.n_atoms,
        core.memory,
        core,
    )


def _unpickled(method: str, space: SequenceSpace, budget: int, core_method: str, seed: int) -> Plan:
    return _plan_of(_core.Plan(space._core, budget, method=core_method, seed=seed), method)


def budgeted(space: SequenceSpace, budget: int, method: str, random_state: int) -> _core.Plan:
    """Return the core's plan. Trees and distillation use the uniform queries of a regression."""
    space_of(space)
    name = choice("method", method, METHODS)
    count = integer("budget", budget, least=1)
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
        method="regress" if name in TREES else name,
        seed=integer("random_state", random_state, least=0),
    )
