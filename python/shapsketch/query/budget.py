"""What a budget will be spent on, said before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shapsketch import _core
from shapsketch._validate import choice, integer
from shapsketch.space import Codes, SequenceSpace, space_of

METHODS = ("auto", "regress", "peel", "trees", "distill", "exact")
Method: TypeAlias = Literal["auto", "regress", "peel", "trees", "distill", "exact"]


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
        Bytes that a regression takes for candidates and sequences, as predicted; what it finds comes on top,
        up to some kilobytes for each sequence.
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
        """Yield the sequences that :func:`sketch` will ask for, as codes, at most `size` at a time.

        They can be scored elsewhere: see :func:`write_sequences` and :func:`shapsketch.models.table`.
        """
        size = integer("size", size, least=1)
        queries = self._core.queries()
        for start in range(0, len(queries), size):
            yield queries.batch(start, min(start + size, len(queries)))

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
                f"({(self.memory or 0) / 2**20:,.0f} MiB at least);\n"
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
    core = budgeted(space, budget, method, random_state)
    return Plan(
        method if core.method == "regress" else core.method,
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


def budgeted(space: SequenceSpace, budget: int, method: str, random_state: int) -> _core.Plan:
    """Return the plan of the core."""
    space_of(space)
    name = choice("method", method, METHODS)
    return _core.Plan(
        space._core,
        integer("budget", budget, least=1),
        method="regress" if name in ("trees", "distill") else name,
        seed=integer("random_state", random_state, least=0),
    )
