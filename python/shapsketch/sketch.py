"""Sketching a model: plan, ask, decode, test; and the sketch that comes out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._check import choice, integer
from shapsketch._errors import InputError
from shapsketch.model import INPUTS, Inputs, Model, evaluate
from shapsketch.space import Codes, Sequences, SequenceSpace
from shapsketch.spectrum import Spectrum

logger = logging.getLogger(__name__)

METHODS = ("auto", "peel", "exact")
LOW_FIDELITY = 0.5


@dataclass(frozen=True)
class Plan:
    """What a budget will be spent on; made by :func:`plan`.

    Attributes
    ----------
    method : {"exact", "peel"}
    budget : int
        The hard cap on distinct model evaluations.
    b, groups, delays : int
        Subsampling dimension, number of groups, delays in each.
    design_queries, validation_queries, test_queries : int
        Evaluations of each kind, the first an upper bound.
    next_budget : int or None
        The least budget that would allow blocks ``q`` times as large.
    """

    method: str
    budget: int
    b: int
    groups: int
    delays: int
    design_queries: int
    validation_queries: int
    test_queries: int
    next_budget: int | None

    @property
    def total_queries(self) -> int:
        """The most model evaluations this plan takes."""
        return self.design_queries + self.validation_queries + self.test_queries

    def __str__(self) -> str:
        if self.method == "exact":
            return f"exact transform of all {self.design_queries:,} sequences (budget {self.budget:,})"
        more = f"\nlarger blocks from a budget of {self.next_budget:,} on" if self.next_budget else ""
        return (
            f"peeling: {self.groups} groups x {self.delays} delays x q^{self.b} = "
            f"{self.design_queries:,} designed queries at most,\n"
            f"{self.validation_queries:,} to choose the noise level, {self.test_queries:,} to report R²: "
            f"{self.total_queries:,} of a budget of {self.budget:,}{more}"
        )


def plan(
    space: SequenceSpace,
    budget: int,
    *,
    method: Literal["auto", "peel", "exact"] = "auto",
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
    >>> print(ss.plan(ss.SequenceSpace(ss.RNA, length=17), budget=20_000))
    peeling: 3 groups x 18 delays x q^4 = 13,824 designed queries at most,
    1,000 to choose the noise level, 2,000 to report R²: 16,824 of a budget of 20,000
    larger blocks from a budget of 58,296 on
    """
    core = _plan(space, budget, method, random_state)
    return Plan(
        core.method,
        core.budget,
        core.b,
        core.groups,
        core.delays,
        core.design_queries,
        core.validation_queries,
        core.test_queries,
        core.next_budget,
    )


def _plan(space: SequenceSpace, budget: int, method: str, random_state: int) -> _core.Plan:
    if not isinstance(space, SequenceSpace):
        raise InputError(f"space must be a SequenceSpace, got {type(space).__name__}")
    return _core.Plan(
        space._core,
        integer("budget", budget, least=1),
        method=choice("method", method, METHODS),
        seed=integer("random_state", random_state, least=0),
    )


def sketch(
    model: Model,
    space: SequenceSpace,
    *,
    budget: int,
    method: Literal["auto", "peel", "exact"] = "auto",
    inputs: Inputs = "strings",
    batch_size: int = 4096,
    random_state: int = 0,
    progress: bool = True,
) -> Sketch:
    """Sketch a model: ask it for at most `budget` sequences and find its sparse spectrum.

    Parameters
    ----------
    model : callable
        Takes a batch of sequences and returns one finite real number for each, shape (B,).
    space : SequenceSpace
    budget : int
        Hard cap on the distinct sequences the model is asked for, those for validation and test
        included.
    method : {"auto", "peel", "exact"}
        ``exact`` evaluates every sequence; ``peel`` decodes designed queries; ``auto`` takes
        ``exact`` if it fits the budget.
    inputs : {"strings", "codes", "onehot"}
        What the model takes: list of str, uint8 array (B, n), or float32 array (B, n, q).
    batch_size : int
        Most sequences in one call of the model.
    random_state : int
        Seed of every random choice, at least 0.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Sketch

    Raises
    ------
    BudgetError
        If the budget is too small to mean anything.
    ModelError
        If the model fails or returns something else than asked.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [s.count("G") + 2.0 * (s[2:4] == "AU") for s in sequences]
    >>> sketch = ss.sketch(model, ss.SequenceSpace(ss.RNA, length=9), budget=10_000, progress=False)
    >>> sketch.method, round(sketch.r2, 6), sketch.n_terms
    ('peel', 1.0, 37)
    """
    if not callable(model):
        raise InputError(f"model must be a callable, got {type(model).__name__}")
    inputs_checked = choice("inputs", inputs, INPUTS)
    size = integer("batch_size", batch_size, least=1)
    planned = _plan(space, budget, method, random_state)
    logger.info("%s, up to %d queries", planned.method, planned.budget)
    queries = planned.queries()
    count = len(queries)

    def batches() -> Iterator[Codes]:
        for start in range(0, count, size):
            yield queries.batch(start, min(start + size, count))

    values = evaluate(model, space, batches(), count, inputs=inputs_checked, progress=progress)
    made = Sketch._wrap(queries.sketch(values))
    if made.r2 is not None and made.r2 < LOW_FIDELITY:
        logger.warning(
            "the sketch explains little of the model (R² %.3f on held-out queries): its explanations are "
            "those of the sketch, not of the model; see sketch.summary()",
            made.r2,
        )
    return made


class _Info(TypedDict):
    method: str
    status: str
    unexplained: float
    noise: float
    budget: int
    n_queries: int
    seed: int
    r2: float
    r2_interval: tuple[float, float]
    n_test: int


class Sketch:
    """A surrogate of a model in closed form, and how well it predicts.

    Made by :func:`sketch` or :func:`load`; from a :class:`Spectrum` alone there is no fidelity to
    report.

    Parameters
    ----------
    spectrum : Spectrum
    """

    def __init__(self, spectrum: Spectrum) -> None:
        if not isinstance(spectrum, Spectrum):
            raise InputError(f"spectrum must be a Spectrum, got {type(spectrum).__name__}")
        self._core = _core.Sketch(spectrum._core)

    @classmethod
    def _wrap(cls, core: _core.Sketch) -> Sketch:
        made = cls.__new__(cls)
        made._core = core
        return made

    @cached_property
    def _info(self) -> _Info | None:
        info: _Info | None = self._core.info
        return info

    def _of_info(self, key: Any) -> Any:
        return None if self._info is None else self._info[key]  # type: ignore[literal-required]

    @cached_property
    def spectrum(self) -> Spectrum:
        """The surrogate as a spectrum."""
        return Spectrum._wrap(self._core.spectrum)

    @property
    def space(self) -> SequenceSpace:
        """The sequence space."""
        return self.spectrum.space

    @property
    def r2(self) -> float | None:
        """R² on test queries that were used for nothing else (at most 1; 0 is no better than a constant).

        For ``method="exact"`` it is taken over all sequences. None if the sketch has no known origin.
        """
        value: float | None = self._of_info("r2")
        return value

    @property
    def r2_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of :attr:`r2`."""
        value: tuple[float, float] | None = self._of_info("r2_interval")
        return value

    @property
    def n_queries(self) -> int | None:
        """Distinct model evaluations spent, validation and test included."""
        value: int | None = self._of_info("n_queries")
        return value

    @property
    def method(self) -> str | None:
        """How the sketch was made: "exact" or "peel"."""
        value: str | None = self._of_info("method")
        return value

    @property
    def status(self) -> str | None:
        """Why the decoder stopped: "exact", "converged", "stalled" or "round limit"."""
        value: str | None = self._of_info("status")
        return value

    @property
    def n_terms(self) -> int:
        """Number of terms of the surrogate."""
        return len(self.spectrum)

    def predict(self, sequences: Sequences) -> npt.NDArray[np.float64]:
        """Return surrogate scores (B,) of sequences (strings, or codes (B, n)), in the model's units."""
        return self.spectrum.predict(sequences)

    def summary(self) -> str:
        """Return what was done, how well the surrogate predicts, and where its variance lies."""
        lines = [f"sketch of sequences over {self.space.alphabet!r} of length {self.space.n}"]
        info = self._info
        if info is not None:
            low, high = info["r2_interval"]
            tested = "all sequences" if info["method"] == "exact" else f"{info['n_test']:,} held-out queries"
            lines += [
                f"method     {info['method']} ({info['status']})",
                f"queries    {info['n_queries']:,} of a budget of {info['budget']:,}",
                f"R²         {info['r2']:.4f}  (95 % interval {low:.4f} to {high:.4f}, {tested})",
            ]
            if info["method"] == "peel" and info["status"] != "converged":
                lines.append(
                    f"           {info['unexplained']:.1%} of the variance on the design is unexplained"
                )
            if info["r2"] < LOW_FIDELITY:
                lines.append(
                    "           LOW: explanations are those of the sketch, hardly those of the model"
                )
        energy = self.spectrum.order_energy()
        total = energy[1:].sum()
        lines.append(f"terms      {self.n_terms:,}")
        orders = np.count_nonzero(self.spectrum.frequencies, axis=1)
        for order in np.unique(orders[orders > 0]):
            count = int((orders == order).sum())
            lines.append(
                f"order {order:<4} {energy[order] / total:7.2%} of the variance, {count:,} coefficients"
            )
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sketch as a safetensors file; the same sketch gives the same bytes.

        Raises
        ------
        FileError
            If the file cannot be written.
        """
        self._core.save(os.fspath(path))

    def __repr__(self) -> str:
        r2 = "" if self.r2 is None else f", R² {self.r2:.3f}"
        return f"Sketch({self.space!r}, {self.n_terms} terms{r2})"


def load(path: str | os.PathLike[str]) -> Sketch:
    """Read a sketch that :meth:`Sketch.save` wrote. Nothing in the file is executed.

    Raises
    ------
    FileError
        If the file cannot be read, is damaged, is no sketch, or was written by a newer version.
    """
    return Sketch._wrap(_core.Sketch.load(os.fspath(path)))
