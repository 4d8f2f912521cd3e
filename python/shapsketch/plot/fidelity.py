"""Plots of sketches: how well they predict, the orders of their terms, and spacing curves of words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import items, real_array, shown
from shapsketch.errors import InputError, ModelError
from shapsketch.explain.spacing import Spacing
from shapsketch.explain.summaries import Sobol
from shapsketch.link import MONOTONE
from shapsketch.plot.figure import (
    NEGATIVE,
    NEUTRAL,
    TEXT_SIZE,
    checked,
    drawn_on,
    library,
    plain,
    titled,
    units,
)
from shapsketch.space import Sequences, Values
from shapsketch.surrogate.sketch import Sketch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colour of predictors, beside that of closed forms; both are of the Okabe-Ito palette or near it.
OTHER = "#E69F00"
# Ratio of budgets from which their axis is logarithmic.
DECADE = 8.0
# Longest word in the label of an axis, in symbols.
LONGEST_LABEL = 12


def order_energy(sobol: Sobol, ax: Axes | None = None) -> Axes:
    """Draw the fraction of the variance that the terms of each order carry.

    Parameters
    ----------
    sobol : Sobol
        ``explainer.sobol()``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> [text.get_text() for text in ss.plot.order_energy(explainer.sobol()).texts]
    ['0%', '100%']
    """
    checked("sobol", sobol, Sobol)
    fractions = sobol.by_order[1:]
    ax = drawn_on(ax, 0.5 * len(fractions) + 4.5, 3.4)
    orders = np.arange(1, len(fractions) + 1)
    bars = ax.bar(orders, fractions, color=NEGATIVE, width=0.7)
    if len(fractions) <= 12:
        labels = [_percent(fraction) for fraction in fractions]
        ax.bar_label(bars, labels, padding=2.0, fontsize=TEXT_SIZE - 1.0)
    ax.xaxis.set_major_locator(library("ticker").MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlim(0.4, max(len(fractions), 1) + 0.6)
    ax.set_ylim(0.0, 1.12)
    ax.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    ax.set_xlabel("order, the number of positions")
    ax.set_ylabel("fraction of the variance")
    titled(ax, f"variance by order, {sobol.variance:.3g} in all", f"of {sobol.explained}")
    return ax


def _percent(fraction: float) -> str:
    return "<0.1%" if 0.0 < fraction < 0.001 else f"{100.0 * fraction:.3g}%"


def spacing(curve: Spacing, ax: Axes | None = None) -> Axes:
    """Draw the joint effect of two words against the distance between them.

    Parameters
    ----------
    curve : Spacing
        ``explainer.spacing("GGGCGG", "TATAAA")``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> ss.plot.spacing(explainer.spacing("A", "C")).get_xlabel()
    'symbols between A and C'
    """
    checked("curve", curve, Spacing)
    ax = drawn_on(ax, 6.0, 3.4)
    ax.axhline(0.0, color=NEUTRAL, linewidth=0.8, zorder=0)
    ax.plot(curve.distances, curve.effects, "o-", color=NEGATIVE, markersize=4.0)
    ax.xaxis.set_major_locator(library("ticker").MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlim(-0.5, curve.distances[-1] + 0.5)
    ax.set_xlabel(plain(f"symbols between {_short(curve.first)} and {_short(curve.second)}"))
    ax.set_ylabel(f"joint effect, {units(curve.link)}")
    titled(ax, f"joint effect of {curve.first} and {curve.second}", f"of {curve.explained}")
    return ax


def _short(word: str) -> str:
    return word if len(word) <= LONGEST_LABEL else f"{word[:LONGEST_LABEL]}..."


def predicted_against_true(
    sketch: Sketch,
    sequences: Sequences | None = None,
    values: npt.ArrayLike | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the predictions of a sketch against values of the model, on the scale of the sketch.

    Parameters
    ----------
    sketch : Sketch
    sequences : iterable of str, or integer array (B, n), optional
        By default the held-out queries, each predicted by a fit without it. A sketch that was loaded from a
        file, copied or converted does not have them.
    values : array_like of float, shape (B,), optional
        The values of the model for `sequences`, on its own scale.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, only one of `sequences` and `values` is passed, their numbers
        differ, or the sketch has no held-out queries.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> sketch = ss.sketch(lambda batch: [s.count("G") for s in batch], space, budget=300, progress=False)
    >>> ss.plot.predicted_against_true(sketch).get_ylabel()
    'predicted, model units'
    """
    checked("sketch", sketch, Sketch)
    if sequences is None and values is None:
        held = sketch._core.held_out
        if held is None:
            raise InputError(
                "this sketch has no held-out queries (it was loaded, copied, converted, or fitted by a "
                "method without them)",
                advice="pass sequences= and values= of the model",
                option="sequences",
            )
        true, predicted, r2 = held.values, held.predictions, sketch.r2
        present = np.isfinite(predicted)
        true, predicted = true[present], predicted[present]
        what = f"{len(true):,} held-out queries"
    elif sequences is None or values is None:
        raise InputError("pass both sequences and values, or neither for the held-out queries")
    else:
        # The latent scale cannot be measured: the curve leads from it to the values.
        predicted = sketch.predict(sequences, response=sketch.link == MONOTONE)
        true = _on_link(sketch, values, len(predicted))
        r2 = float(_core.RSquared(true, predicted).value) if len(true) > 1 else float("nan")
        what = f"{len(true):,} sequences" if len(true) > 1 else "one sequence"
    ax = drawn_on(ax, 5.2, 5.2)
    size = float(np.clip(12_000.0 / max(len(true), 1), 6.0, 24.0))
    ax.scatter(true, predicted, s=size, alpha=0.5, color=NEGATIVE, linewidths=0, rasterized=True)
    both = np.concatenate([true, predicted])
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, color=NEUTRAL, linewidth=0.8, zorder=0)
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.set_aspect("equal")
    scale = units("identity" if sketch.link == MONOTONE else sketch.link)
    ax.set_xlabel(f"model, {scale}")
    ax.set_ylabel(f"predicted, {scale}")
    known = "" if r2 is None or np.isnan(r2) else f": R² {r2:.4f}"
    titled(ax, f"{what}{known}", f"of the closed form, link {sketch.link}")
    return ax


def _on_link(sketch: Sketch, values: object, count: int) -> Values:
    """Return values of the model on the scale of a sketch.

    Raises
    ------
    InputError
        If there are not `count` finite numbers, or one is outside of the link.
    """
    array = real_array("values", values).astype(np.float64)
    if array.shape != (count,):
        raise InputError(f"values must have shape ({count},), one for each sequence, got {array.shape}")
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise InputError(f"values: {array[wrong[0]]} at index {wrong[0]} is not finite", index=int(wrong[0]))
    try:
        return array if sketch.link == MONOTONE else sketch._link.to_link(array, "values")
    except ModelError as error:
        raise InputError(error.message, index=error.index) from None


def budget_curve(sketches: Iterable[Sketch], ax: Axes | None = None) -> Axes:
    """Draw R² against the number of evaluated sequences, with 95 % intervals.

    Parameters
    ----------
    sketches : list of Sketch
        Of one model, with different budgets.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If there are none, one is something else, or one has no R² or no queries.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> def model(sequences):
    ...     return [s.count("G") for s in sequences]
    >>> sketches = [ss.sketch(model, space, budget=budget, progress=False) for budget in (100, 300)]
    >>> ss.plot.budget_curve(sketches).get_xlabel()
    'evaluated sequences'
    """
    listed = items("sketches", sketches, "sketches")
    if not listed:
        raise InputError("sketches: the list is empty; pass at least one sketch")
    for index, sketch in enumerate(listed):
        if not isinstance(sketch, Sketch):
            raise InputError(f"sketch {index} must be a Sketch, got {shown(sketch)}", index=index)
        if sketch.r2 is None or np.isnan(sketch.r2) or not sketch.n_queries:
            raise InputError(
                f"sketch {index} has no R² on queries of a model, so it has no point on the curve",
                index=index,
            )
    closed = [(s.n_queries, s.r2, *s.r2_interval) for s in listed]
    best = [
        (s.n_queries, s.predictor.r2, *s.predictor.r2_interval) for s in listed if s.predictor is not None
    ]
    ax = drawn_on(ax, 6.0, 4.0)
    lowest = min(r2 for _, r2, *_ in closed + best)
    # An interval may reach to minus infinity: it leaves the axes at the bottom.
    bottom = min(0.0, lowest) - 0.05 if lowest < 0.6 else lowest - 0.3 * (1.0 - lowest) - 0.05
    for name, points, colour, marker in (
        ("closed form", closed, NEGATIVE, "o"),
        ("predictor", best, OTHER, "s"),
    ):
        if points:
            x, y, low, high = np.array(sorted(points)).T
            errors = np.stack([y - np.clip(low, bottom - 1.0, y), np.clip(high, y, None) - y])
            ax.errorbar(x, y, errors, color=colour, marker=marker, markersize=5.0, capsize=3.0, label=name)
    queries = [count for count, *_ in closed]
    if max(queries) >= DECADE * min(queries):
        ticker = library("ticker")
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda count, _: f"{count:,.0f}"))
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.set_ylim(bottom, 1.0 + 0.04 * (1.0 - bottom))
    ax.set_xlabel("evaluated sequences")
    ax.set_ylabel("R²")
    if best:
        ax.legend(loc="lower right", frameon=False, fontsize=TEXT_SIZE)
    distributions = sorted({sketch.distribution for sketch in listed})
    titled(
        ax,
        "R² with its 95 % interval",
        f"queries: {', '.join(distributions)}",
    )
    return ax
