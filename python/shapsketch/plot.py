"""Plots of explanations; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shapsketch._validate import optional
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.explain.summaries import AttributionMap
from shapsketch.space import SequenceSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Diverging colour map: blue below 0, white at 0, red above 0.
COLOURS = "RdBu_r"


def pyplot() -> Any:
    """Return matplotlib's pyplot.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    return optional("matplotlib.pyplot", "demo", "plotting")


def position_letter_map(explanation: Explanation, space: SequenceSpace, ax: Axes | None = None) -> Axes:
    """Draw the mean Shapley value of each symbol at each position over the explained sequences.

    Symbols that no sequence has at a position are grey. Returns the axes.
    """
    ax = pyplot().subplots(figsize=(0.45 * space.n + 2, 0.35 * space.q + 1.4))[1] if ax is None else ax
    attributions = AttributionMap.of(
        iter([(explanation.data, explanation.values)]), space, explanation.background
    )
    means = attributions.mean.T
    limit = float(np.nanmax(np.abs(means))) or 1.0
    image = ax.imshow(means, cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto")
    ax.set_facecolor("0.85")
    ax.set_yticks(range(space.q), list(space.alphabet))
    ax.set_xticks(range(space.n), [str(i) for i in range(space.n)])
    ax.set_xlabel("position")
    ax.set_title("mean Shapley value of each symbol at each position")
    ax.figure.colorbar(image, ax=ax, label=_units(explanation.link), pad=0.02)
    return ax


def _units(link: str) -> str:
    return "model units" if link == "identity" else f"{link} of model units"


def pair_map(interactions: Interactions, n: int, ax: Axes | None = None) -> Axes:
    """Draw the mean absolute interaction of each pair of `n` positions. Returns the axes."""
    ax = pyplot().subplots(figsize=(6, 5.2))[1] if ax is None else ax
    pairs = interactions.order(2)
    means = np.full((n, n), np.nan)
    means[np.triu_indices(n, 1)] = 0.0
    for (i, j), mean in zip(pairs.supports, np.abs(pairs.values).mean(axis=0), strict=True):
        means[i, j] = mean
    image = ax.imshow(means, cmap="magma_r", vmin=0.0)
    ax.set_xticks(range(n), [str(i) for i in range(n)])
    ax.set_yticks(range(n), [str(i) for i in range(n)])
    ax.set_xlabel("position")
    ax.set_ylabel("position")
    ax.set_title("mean |interaction| of position pairs")
    ax.figure.colorbar(image, ax=ax, label=_units(interactions.link), pad=0.02)
    return ax
