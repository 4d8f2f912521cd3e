"""Explain a value function of masks: features that are kept or removed, without an order.

This module composes queries, fits and explanations, so it stands after all of them: `explain` does not know
how a sketch was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import array_of, integer, items, lazy_property, shown, string
from shapsketch.errors import BudgetError, InputError, ModelError
from shapsketch.evaluate.evaluator import Evaluator
from shapsketch.evaluate.progress import Progress, check_progress
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.indices import Index
from shapsketch.explain.interop import to_shapiq
from shapsketch.explain.table import PRINTED_ROWS, Record, Support, Table
from shapsketch.fitting.api import sketch
from shapsketch.fitting.effort import Effort
from shapsketch.fitting.hierarchy import selects
from shapsketch.link import MONOTONE, NAMES, LinkLike, parse
from shapsketch.models.value_function import ValueFunction
from shapsketch.query.masks import coalitions, mask_space
from shapsketch.space import Codes, Values
from shapsketch.surrogate.sketch import Sketch

# Fewest masks that a regression can fit and validate.
FEWEST_MASKS = 100
# The same if it selects pairs by their values.
FEWEST_TO_SELECT = 300


def explain_masks(
    value_function: Callable[[npt.NDArray[np.bool_]], npt.ArrayLike] | Evaluator,
    features: int | Iterable[str],
    budget: int,
    *,
    link: LinkLike = "identity",
    effort: Effort = "standard",
    random_state: int = 0,
    progress: Progress = True,
) -> MaskExplanation:
    """Explain a function of masks: segments of a text, patches of an image, columns of a table.

    The value function is the game ``v(T)``: its value if the features ``T`` are kept and all others removed.
    What "removed" means is up to it: an empty string, a grey patch, the mean of a column. The result has the
    Shapley values and all interaction indices of all features against none.

    The masks are coalitions with a uniform fraction of features, which weight all sizes of coalitions
    equally, as Shapley values do, and always the masks that remove or keep everything. If the budget allows
    it, all ``2**n`` masks are evaluated, and the result is exact. Otherwise a sketch is fitted to the values
    by regression on pairs of features, by boosted trees, and by regression on the supports of these trees.
    Features have no order, so neither windows nor networks are used.

    Parameters
    ----------
    value_function : callable or Evaluator
        Takes a boolean array (B, n), True for features that are kept, and returns B finite numbers. An
        :class:`Evaluator` of such a function also defines batches, executor, retries and a store.
    features : int or iterable of str
        Number of features n, at most 4096, or their names, each once.
    budget : int
        Largest number of distinct masks to evaluate, at least 100 (300 for more than 90 features), or
        ``2**n`` if that is less.
    link : {"identity", "log", "logit", "softplus"} or (forward, inverse)
        Explain ``link(value)`` instead of the value.
    effort : {"quick", "standard", "thorough"}
        Time that the fit may take, as for :func:`sketch`.
    random_state : int
        Seed of every random choice, at least 0.
    progress : bool or callable
        As for :func:`sketch`.

    Returns
    -------
    MaskExplanation

    Raises
    ------
    BudgetError
        If the budget is too small.
    ModelError
        If the value function fails, does not return one finite real number for each mask (the message
        describes the mask), or returns the same value for all masks.
    InputError
        If an argument is wrong, or a name occurs twice.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def value(masks):
    ...     return 2.0 * masks[:, 0] + 3.0 * (masks[:, 1] & masks[:, 2])
    >>> explanation = ss.explain_masks(value, ["price", "age", "town", "sex"], 16, progress=False)
    >>> print(explanation)
    values of 4 features (R² 1.000), from 0 for none to 5 for all
    feature  value
      price      2
        age    1.5
       town    1.5
        sex      0
    >>> explanation.interactions("SII", 2).top(1)
    [(('age', 'town'), 3.0)]
    """
    names = _names(features)
    space, scale = mask_space(len(names)), parse(link)
    if scale.name == MONOTONE:
        raise InputError(f"masks have no link={MONOTONE!r}; use one of {', '.join(map(repr, NAMES))}")
    asked = integer("budget", budget, least=1)
    check_progress(progress)
    fewest = FEWEST_TO_SELECT if selects(space, asked) else min(FEWEST_MASKS, space.size)
    if asked < fewest:
        raise BudgetError(
            f"a budget of {asked} masks is too small for {len(names)} features; use at least {fewest}",
            option="budget",
        )
    evaluator = _evaluator(value_function, names)
    ends = np.repeat(np.array([[0], [1]], dtype=np.uint8), space.n, axis=1)
    ends_values = evaluator.evaluate(ends, space, progress=False)
    none, every = scale.to_link(ends_values, "value function, mask 0 without features and mask 1 with all")
    fitted = sketch(
        evaluator,
        space,
        budget=asked,
        distribution="uniform" if asked >= space.size else coalitions(space),
        link=link,
        random_state=random_state,
        progress=progress,
        effort=effort,
    )
    if _is_constant(fitted):
        raise ModelError(
            f"the value function returned the same value, {none:g} on the scale of the link, for all "
            f"{fitted.n_queries} masks, so there is nothing to explain; check that it uses the masks"
        )
    return MaskExplanation._of(names, fitted, float(none), float(every))


def _is_constant(fitted: Sketch) -> bool:
    if fitted.method == "exact":
        return not fitted.spectrum.order_energy()[1:].any()
    return fitted.r2 is None or bool(np.isnan(fitted.r2))


def _names(features: object) -> tuple[str, ...]:
    """Return the names of the features, checked."""
    if isinstance(features, (int, np.integer)) and not isinstance(features, bool):
        count = integer("features", features, least=1)
        mask_space(count)
        return tuple(map(str, range(count)))
    names = [
        str(string(f"features: name {i}", name))
        for i, name in enumerate(items("features", features, "names"))
    ]
    if not names:
        raise InputError("features is empty; pass the number of features, or a name for each of them")
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            raise InputError(
                f"features: the name {name!r} occurs twice, at {seen[name]} and {index}; names must differ",
                index=index,
            )
        seen[name] = index
    return tuple(names)


def _evaluator(value_function: object, names: Sequence[str]) -> Evaluator:
    """Return an evaluator of masks that remembers their values."""
    if isinstance(value_function, Evaluator):
        inner = value_function.single_output()
        return inner.adapted(lambda model: ValueFunction(model, names))
    if not callable(value_function):
        raise InputError(
            f"value_function must be a function of a boolean array (B, n), got {shown(value_function)}"
        )
    return Evaluator(ValueFunction(value_function, names))


@dataclass(frozen=True, eq=False, repr=False)
class MaskExplanation(Table):
    """Shapley values and interactions of the features of a value function; see :func:`explain_masks`.

    ``print`` it to see the strongest features, or pass its ``records()`` to pandas.

    Attributes
    ----------
    names : tuple of str
    values : numpy.ndarray of float64, shape (n,)
        Shapley value of each feature, on the scale of the link. They add up to the value of all features
        minus `base_value`: `gap` is distributed equally among them.
    base_value : float
        The value without any feature, as the value function returned it.
    gap : float
        What the Shapley values of the sketch lacked of that sum. The sketch lacks it at the empty and the
        grand coalition; it acts like an interaction of all features, which all features share equally.
        Interactions do not contain it.
    sketch : Sketch
        The closed form, of sequences over "01", in which 1 means that the feature is kept.
    """

    names: tuple[str, ...]
    values: Values
    base_value: float
    gap: float
    sketch: Sketch

    @classmethod
    def _of(cls, names: tuple[str, ...], fitted: Sketch, none: float, every: float) -> MaskExplanation:
        values = Explainer(fitted, background=_repeated(0, len(names)))(_repeated(1, len(names))).values[0]
        gap = every - none - float(values.sum())
        return cls(names, values + gap / len(names), none, gap, fitted)

    @property
    def stderr(self) -> Values | None:
        """Standard errors of the values (n,): 0 if all masks were evaluated, otherwise None (not known)."""
        return np.zeros(len(self.names)) if self.sketch.method == "exact" else None

    @property
    def r2(self) -> float:
        """R² of the sketch on held-out coalitions; 1 if all masks were evaluated."""
        assert self.sketch.r2 is not None
        return self.sketch.r2

    @property
    def r2_interval(self) -> tuple[float, float]:
        """95 % confidence interval of :attr:`r2`."""
        assert self.sketch.r2_interval is not None
        return self.sketch.r2_interval

    @property
    def n_queries(self) -> int:
        """Number of distinct masks that were evaluated."""
        assert self.sketch.n_queries is not None
        return self.sketch.n_queries

    @lazy_property
    def _explainer(self) -> Explainer:
        return Explainer(self.sketch, background=_repeated(0, len(self.names)))

    def predict(self, masks: npt.ArrayLike) -> Values:
        """Return the values (B,) of masks (B, n) by the sketch, on the scale of the link.

        Raises
        ------
        InputError
            If the masks are not boolean, or have another shape.
        """
        array = array_of("masks", masks)
        n = len(self.names)
        if array.dtype.kind != "b" or array.ndim != 2 or array.shape[1] != n:
            raise InputError(
                f"masks must be a boolean array of shape (B, {n}), got dtype {array.dtype} and shape "
                f"{array.shape}"
            )
        return self.sketch.predict(array.astype(np.uint8))

    def interactions(self, index: Index = "SII", max_order: int | None = None) -> MaskInteractions:
        """Return interactions of features, by the indices of :meth:`Explainer.interactions`.

        Parameters
        ----------
        index : str
        max_order : int, optional
            Highest order; 2 by default, and n for ``Moebius``, ``Co-Moebius`` and ``Faith-Shap``.

        Raises
        ------
        InputError
            If the index does not exist, or the order is out of range.
        """
        found = self._explainer.interactions(_repeated(1, len(self.names)), index=index, max_order=max_order)
        return MaskInteractions(
            self.names, found.supports, found.values[0], found.index, float(found.base_values[0])
        )

    def records(self) -> list[Record]:
        """Return one row for each feature, in the order of the names."""
        return [
            {"feature": name, "value": float(value)}
            for name, value in zip(self.names, self.values, strict=True)
        ]

    def top(self, count: int) -> list[Record]:
        """Return the rows of the `count` features with the largest absolute values, strongest first.

        Raises
        ------
        InputError
            If `count` is not an integer of at least 0.
        """
        rows = self.records()
        return [rows[i] for i in _strongest(self.values, integer("count", count, least=0))]

    def to_shapiq(self) -> Any:
        """Return the Shapley values as ``shapiq.InteractionValues``.

        Raises
        ------
        MissingExtraError
            If shapiq is not installed.
        """
        supports: list[Support] = [(i,) for i in range(len(self.names))]
        return to_shapiq(
            self.values,
            supports,
            index="SV",
            orders=range(1, 2),
            n=len(self.names),
            base=self.base_value,
            sampled=self.stderr is None,
        )

    def _first_rows(self) -> tuple[list[Record], int]:
        return self.top(PRINTED_ROWS), len(self.names)

    def _title(self) -> str:
        return (
            f"values of {len(self.names)} features (R² {self.r2:.3f}), from {self.base_value:.4g} for none "
            f"to {self.base_value + self.values.sum():.4g} for all"
        )

    def __repr__(self) -> str:
        return f"MaskExplanation({len(self.names)} features, {self.n_queries} masks, R² {self.r2:.3f})"


@dataclass(frozen=True, eq=False, repr=False)
class MaskInteractions(Table):
    """Interactions of features; see :meth:`MaskExplanation.interactions`.

    Attributes
    ----------
    names : tuple of str
        Names of all features.
    supports : list of tuple of int
        Indices of the features that interact, ascending; sorted by order.
    values : numpy.ndarray of float64, shape (n_supports,)
    index : str
        Name of the interaction index.
    base_value : float
        Value of the sketch without any feature.
    """

    names: tuple[str, ...]
    supports: list[Support]
    values: Values
    index: str
    base_value: float

    def records(self) -> list[Record]:
        """Return one row for each support."""
        return [
            {"features": names, "value": value} for names, value in self._named(range(len(self.supports)))
        ]

    def top(self, count: int) -> list[tuple[tuple[str, ...], float]]:
        """Return the names and values of the `count` strongest interactions, strongest first.

        Raises
        ------
        InputError
            If `count` is not an integer of at least 0.
        """
        return self._named(_strongest(self.values, integer("count", count, least=0)))

    def to_shapiq(self) -> Any:
        """Return the interactions as ``shapiq.InteractionValues``.

        Raises
        ------
        MissingExtraError
            If shapiq is not installed.
        """
        return to_shapiq(
            self.values,
            self.supports,
            index=self.index,
            orders=range(1, 1 + max(map(len, self.supports), default=1)),
            n=len(self.names),
            base=self.base_value,
            sampled=True,
        )

    def _named(self, rows: Iterable[int]) -> list[tuple[tuple[str, ...], float]]:
        return [(tuple(self.names[i] for i in self.supports[row]), float(self.values[row])) for row in rows]

    def _first_rows(self) -> tuple[list[Record], int]:
        rows = [{"features": " + ".join(names), "value": value} for names, value in self.top(PRINTED_ROWS)]
        return rows, len(self.supports)

    def _title(self) -> str:
        return f"{self.index} of {len(self.names)} features"

    def __repr__(self) -> str:
        return f"MaskInteractions({self.index}, {len(self.supports)} supports of {len(self.names)} features)"


def _repeated(symbol: int, n: int) -> Codes:
    return np.full((1, n), symbol, dtype=np.uint8)


def _strongest(values: Values, count: int) -> list[int]:
    """Return the indices of the `count` largest absolute values, the largest first."""
    order: list[int] = np.argsort(-np.abs(values), kind="stable")[:count].tolist()
    return order
