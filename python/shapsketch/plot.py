"""Plots of explanations; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shapsketch._validate import integer, optional, shown
from shapsketch.errors import InputError
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.explain.summaries import AttributionMap
from shapsketch.space import SequenceSpace, space_of

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


def _drawn_on(ax: Axes | None, figsize: tuple[float, float]) -> Axes:
    """Return the axes to draw on, by default those of a new figure.

    Raises
    ------
    InputError
        If `ax` is something else.
    """
    if ax is None:
        axes: Axes = pyplot().subplots(figsize=figsize)[1]
        return axes
    kind: type = optional("matplotlib.axes", "demo", "plotting").Axes
    if not isinstance(ax, kind):
        raise InputError(f"ax must be the Axes of matplotlib, got {shown(ax)}")
    return ax


def position_letter_map(explanation: Explanation, space: SequenceSpace, ax: Axes | None = None) -> Axes:
    """Draw the mean Shapley value of each symbol at each position over the explained sequences.

    Symbols that no sequence has at a position are grey. Returns the axes.

    Raises
    ------
    InputError
        If an argument is of another type, or `space` is not the space of the explained sequences.
    """
    if not isinstance(explanation, Explanation):
        raise InputError(f"explanation must be an Explanation, got {shown(explanation)}")
    alphabet, n = explanation._alphabet, explanation.values.shape[1]
    if (space_of(space).alphabet, space.n) != (alphabet, n):
        raise InputError(
            f"space must be that of the explained sequences, over {alphabet!r} of length {n}, got {space}"
        )
    ax = _drawn_on(ax, (0.45 * space.n + 2, 0.35 * space.q + 1.4))
    attributions = AttributionMap.from_batches(
        iter([(explanation.data, explanation.values)]), space, explanation.explained
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
    """Draw the mean absolute interaction of each pair of `n` positions. Returns the axes.

    Raises
    ------
    InputError
        If an argument is of another type, `n` is not the length of the explained sequences, or pairs were not
        computed.
    """
    if not isinstance(interactions, Interactions):
        raise InputError(f"interactions must be Interactions, got {shown(interactions)}")
    if integer("n", n, least=1) != interactions.length:
        raise InputError(f"n must be {interactions.length}, the length of the explained sequences, got {n}")
    if 2 not in interactions.orders:
        raise InputError(
            "these interactions have no pairs; compute them with an index of several orders and max_order=2"
        )
    ax = _drawn_on(ax, (6, 5.2))
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
