"""Sketching a model: plan, ask, decode, test; and the sketch that comes out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._check import choice, integer
from shapsketch._errors import InputError
from shapsketch.link import Link, LinkLike, loaded, parse
from shapsketch.model import INPUTS, Inputs, Model, evaluate
from shapsketch.space import Codes, Sequences, SequenceSpace
from shapsketch.spectrum import Spectrum

logger = logging.getLogger(__name__)

METHODS = ("auto", "regress", "peel", "exact")
Method: TypeAlias = Literal["auto", "regress", "peel", "exact"]
LOW_FIDELITY = 0.5
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
    method : {"exact", "regress", "peel"}
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
            return (
                f"sparse regression: {self.design_queries:,} uniform queries of a budget of "
                f"{self.budget:,},\n"
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
        core.method,
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
    method: Method = "auto",
    target_r2: float | None = None,
    link: LinkLike = "identity",
    inputs: Inputs = "strings",
    batch_size: int = 4096,
    random_state: int = 0,
    progress: bool = True,
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
    method : {"auto", "regress", "peel", "exact"}
        ``regress`` explains uniform queries by few motifs at their places; ``peel`` decodes designed
        queries, for spectra that are truly sparse; ``exact`` evaluates every sequence; ``auto`` takes
        ``exact`` if it fits the budget, else ``regress``.
    target_r2 : float, optional
        Ask in rounds, each reusing all earlier queries, and stop when the cross-validated R² reaches this
        or further queries no longer pay; ``sketch.status`` says which. For ``auto`` and ``regress``.
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
    values: dict[bytes, float] = {}

    def ask(plan: _core.Plan) -> _core.Sketch:
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
        return _on_link(queries.sketch(scale.to_link(answers, "model")), scale)

    if target_r2 is None:
        core = ask(planned)
    else:
        core = _adaptive(ask, space, planned, method, float(target_r2), random_state)
    made = Sketch._wrap(core, scale)
    _warn_if_low(made)
    return made


def _warn_if_low(made: Sketch) -> None:
    if made.r2 is not None and made.r2 < LOW_FIDELITY:
        logger.warning(
            "the sketch explains little of the model (R² %.3f on held-out queries): its explanations are "
            "those of the sketch, not of the model; see sketch.summary()",
            made.r2,
        )


def _on_link(core: _core.Sketch, scale: Link) -> _core.Sketch:
    """Note the scale in a sketch, with R² on the model's own."""
    held_out = core.held_out()
    if scale.name == "identity" or held_out is None:
        return core
    truth, predictions = (scale.to_response(part) for part in held_out)
    finite = bool(np.isfinite(predictions).all())
    return core.described(
        status=None,
        budget=None,
        link=scale.name,
        values=truth if finite else None,
        predictions=predictions if finite else None,
    )


def _adaptive(
    ask: Callable[[_core.Plan], _core.Sketch],
    space: SequenceSpace,
    planned: _core.Plan,
    method: str,
    target: float,
    seed: int,
) -> _core.Sketch:
    """Ask in rounds until the target is met, the budget is spent, or more does not pay."""
    if method not in ("auto", "regress"):
        raise InputError(f"target_r2 asks in rounds, which method={method!r} cannot; use 'auto' or 'regress'")
    if not target <= 1.0:
        raise InputError(f"target_r2 must be a number up to 1, got {target}")
    budget, idle, before = planned.budget, 0, None
    asked = min(FIRST_ROUND, budget)
    while True:
        last = asked >= budget
        # The last round may be the exact transform.
        plan = planned if last else _core.Plan(space._core, asked, method="regress", seed=seed)
        core = ask(plan)
        r2 = core.info["r2"]
        logger.info("%d queries: R² %.4f", core.info["n_queries"], r2)
        error = 1.0 - r2
        slow = before is not None and error > (1.0 - WORTHWHILE) * before
        # Where every sequence is affordable, that always pays.
        idle = idle + 1 if slow and planned.method != "exact" else 0
        before = error
        status = None
        if r2 >= target:
            status = "target met"
        elif last:
            status = "budget spent"
        elif idle == 2:
            status = "more queries no longer pay"
        if status is not None:
            return core.described(status=status, budget=budget, link=None, values=None, predictions=None)
        asked = min(GROWTH * asked, budget)


@dataclass(frozen=True)
class Pattern:
    """A motif at its place.

    Attributes
    ----------
    support : tuple of int
        Positions, ascending.
    letters : str
        The letters there.
    coefficient : float
        What a sequence with these letters there gains, on the scale of the sketch.
    stderr : float
        Standard error of the coefficient; NaN if not known.
    """

    support: tuple[int, ...]
    letters: str
    coefficient: float
    stderr: float


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
    link: str
    response_r2: float | None
    regression: dict[str, Any] | None


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
    def _wrap(cls, core: _core.Sketch, link: Link | None = None) -> Sketch:
        made = cls.__new__(cls)
        made._core = core
        if link is not None:
            made.__dict__["_link"] = link
        return made

    @cached_property
    def _link(self) -> Link:
        return loaded("identity" if self._info is None else self._info["link"])

    @cached_property
    def _components(self) -> _core.Components:
        return _core.Components.of_sketch(self._core)

    @cached_property
    def _info(self) -> _Info | None:
        info: _Info | None = self._core.info
        return info

    def _of_info(self, key: Any) -> Any:
        return None if self._info is None else self._info[key]  # type: ignore[literal-required]

    @cached_property
    def spectrum(self) -> Spectrum:
        """The surrogate as a spectrum: the same function.

        Raises
        ------
        InputError
            If the letter patterns of a regression stand for more than 2**24 coefficients.
        """
        return Spectrum._wrap(self._core.spectrum())

    @cached_property
    def patterns(self) -> list[Pattern] | None:
        """The letter patterns of a regression, strongest first; None if the surrogate is a spectrum.

        The surrogate is the sum of their coefficients where they occur, and a constant.
        """
        found = self._core.patterns()
        if found is None:
            return None
        supports, letters, coefficients, variances = found
        alphabet = self.space.alphabet
        errors = np.full(len(supports), np.nan) if variances is None else np.sqrt(variances)
        listed = [
            Pattern(tuple(support), "".join(alphabet[a] for a in word), float(c), float(e))
            for support, word, c, e in zip(supports, letters, coefficients, errors, strict=True)
        ]
        scale = float(self.space.q)
        return sorted(listed, key=lambda p: -abs(p.coefficient) * scale ** (-len(p.support) / 2))

    @cached_property
    def space(self) -> SequenceSpace:
        """The sequence space."""
        return SequenceSpace._wrap(self._core.space)

    @property
    def link(self) -> str:
        """The scale on which the sketch lives: "identity", "log", "logit" or "custom"."""
        return self._link.name

    @property
    def r2(self) -> float | None:
        """R² on the scale of the sketch (at most 1; 0 is no better than a constant).

        For ``peel`` on test queries that were used for nothing else; for ``regress`` on queries held out
        from fits to five sixths of them (in a small space, also on the part of it that was asked); for
        ``exact`` over all sequences. None if the sketch has no known origin.
        """
        value: float | None = self._of_info("r2")
        return value

    @property
    def r2_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of :attr:`r2`."""
        value: tuple[float, float] | None = self._of_info("r2_interval")
        return value

    @property
    def response_r2(self) -> float | None:
        """R² on the model's own scale; that of :attr:`r2` if there is no link."""
        if self._info is None or self._info["link"] == "identity":
            return self.r2
        return self._info["response_r2"]

    @property
    def n_queries(self) -> int | None:
        """Distinct model evaluations spent, validation and test included."""
        value: int | None = self._of_info("n_queries")
        return value

    @property
    def method(self) -> str | None:
        """How the sketch was made: "exact", "regress" or "peel"."""
        value: str | None = self._of_info("method")
        return value

    @property
    def status(self) -> str | None:
        """How it ended.

        "exact"; "converged", "stalled" or "round limit" (peel); "cross-validated", "target met", "budget
        spent" or "more queries no longer pay" (regress).
        """
        value: str | None = self._of_info("status")
        return value

    @property
    def n_terms(self) -> int:
        """Number of terms of the surrogate: Fourier coefficients, or letter patterns and a constant."""
        return len(self._core)

    def predict(self, sequences: Sequences, *, response: bool = False) -> npt.NDArray[np.float64]:
        """Return surrogate scores (B,) of sequences (strings, or codes (B, n)).

        They are on the scale of the sketch; with `response` in the model's units, where a link makes
        these differ.
        """
        values = self._components.predict(self.space.encode(sequences))
        return self._link.to_response(values) if response else values

    def summary(self) -> str:
        """Return what was done, how well the surrogate predicts, and where its variance lies."""
        lines = [f"sketch of sequences over {self.space.alphabet!r} of length {self.space.n}"]
        info = self._info
        if info is not None:
            low, high = info["r2_interval"]
            tested = {
                "exact": "all sequences",
                "regress": "cross-validated",
                "peel": f"{info['n_test']:,} held-out queries",
            }[info["method"]]
            lines += [
                f"method     {info['method']} ({info['status']})",
                f"queries    {info['n_queries']:,} of a budget of {info['budget']:,}",
                f"R²         {info['r2']:.4f}  (95 % interval {low:.4f} to {high:.4f}, {tested})",
            ]
            if info["link"] != "identity":
                own = info["response_r2"]
                known = "unknown" if own is None else f"{own:.4f}"
                lines.append(f"link       {info['link']}; R² on the model's own scale {known}")
            if info["regression"] is not None and info["regression"]["unseen"]:
                unseen = info["regression"]["unseen"]
                alphabet = self.space.alphabet
                some = ", ".join(f"{alphabet[a]} at {i}" for i, a in unseen[:8])
                more = f" and {len(unseen) - 8} more" if len(unseen) > 8 else ""
                lines.append(f"unseen     {some}{more}: terms with these are not identifiable, and left out")
            if info["method"] == "peel" and info["status"] != "converged":
                lines.append(
                    f"           {info['unexplained']:.1%} of the variance on the design is unexplained"
                )
            if info["r2"] < LOW_FIDELITY:
                lines.append(
                    "           LOW: explanations are those of the sketch, hardly those of the model"
                )
        lines.append(f"terms      {self.n_terms:,}")
        lines += self._orders()
        return "\n".join(lines)

    def _orders(self) -> list[str]:
        found = self._core.patterns()
        if found is not None:
            counts = np.bincount([len(support) for support in found[0]], minlength=1)
            return [
                f"order {order:<4} {counts[order]:,} letter patterns" for order in np.flatnonzero(counts > 0)
            ]
        energy = self.spectrum.order_energy()
        total = energy[1:].sum()
        orders = np.count_nonzero(self.spectrum.frequencies, axis=1)
        return [
            f"order {order:<4} {energy[order] / total:7.2%} of the variance, "
            f"{int((orders == order).sum()):,} coefficients"
            for order in np.unique(orders[orders > 0])
        ]

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


def load(path: str | os.PathLike[str], *, link: LinkLike | None = None) -> Sketch:
    """Read a sketch that :meth:`Sketch.save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or path
    link : (forward, inverse), optional
        The functions of a link of one's own, which no file holds.

    Raises
    ------
    FileError
        If the file cannot be read, is damaged, is no sketch, or was written by a newer version.
    InputError
        If the sketch has another link than the one given.
    """
    made = Sketch._wrap(_core.Sketch.load(os.fspath(path)))
    if link is not None:
        given = parse(link)
        if given.name != made.link:
            raise InputError(f"the sketch has the link {made.link!r}, not {given.name!r}")
        made.__dict__["_link"] = given
    return made
