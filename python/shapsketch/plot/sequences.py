"""Plots along a sequence: logos, and maps of positions and symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shapsketch._validate import optional, shown
from shapsketch.errors import InputError
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.mutants import one_sequence
from shapsketch.explain.results import Explanation
from shapsketch.explain.summaries import AttributionMap
from shapsketch.explain.variants import VariantEffects
from shapsketch.plot.figure import (
    checked,
    columns_width,
    drawn_on,
    image,
    position_ticks,
    predicted_by,
    refuse_empty,
    size_of,
    styles,
    symbol_ticks,
    titled,
    units,
    visible,
)
from shapsketch.space import Codes, SequenceSpace, Values, space_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def logo(attributions: Explanation | AttributionMap, ax: Axes | None = None) -> Axes:
    """Draw symbols with the heights of their Shapley values, with logomaker (Tareen & Kinney 2020).

    Parameters
    ----------
    attributions : Explanation or AttributionMap
        An explanation of one sequence, ``explanation[0]``; or a map, whose mean values are stacked.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If it is something else, or an explanation of several sequences.
    MissingExtraError
        If matplotlib or logomaker is not installed.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> ss.plot.logo(explainer(["ACGTACGT"])).get_xlabel()
    'position'
    """
    if not isinstance(attributions, (Explanation, AttributionMap)):
        raise InputError(
            f"attributions must be an Explanation or an AttributionMap, got {shown(attributions)}"
        )
    logomaker = optional("logomaker", "plot", "a logo")
    several = isinstance(attributions, AttributionMap)
    matrix = attributions.to_logo()
    # Symbols without a value would only take time.
    matrix = matrix.loc[:, (matrix != 0.0).any(axis=0)]
    colours = {visible(symbol): colour for symbol, (colour, _) in styles(_alphabet_of(attributions)).items()}
    matrix.columns = [visible(symbol) for symbol in matrix.columns]
    n, start = len(matrix), attributions.start
    ax = drawn_on(ax, columns_width(n, 0.25, 26.0), 2.8)
    if matrix.shape[1]:
        logomaker.Logo(matrix, ax=ax, color_scheme=colours, flip_below=False, show_spines=True)
    else:
        ax.axhline(0.0, color="black", linewidth=0.5)
    ax.set_xlim(start - 0.5, start + n - 0.5)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    position_ticks(ax, n, start)
    # Letters that touch the frame look cut off.
    ax.margins(y=0.05)
    ax.set_ylabel(units(attributions.link))
    titled(ax, "mean Shapley values" if several else "Shapley values", f"of {attributions.explained}")
    return ax


def _alphabet_of(attributions: Explanation | AttributionMap) -> str:
    return attributions._alphabet if isinstance(attributions, Explanation) else attributions.alphabet


def _symbols_by_positions(ax: Axes | None, values: Values, alphabet: str, label: str, start: int = 0) -> Axes:
    """Draw values (n, q) of the symbols at the positions from `start`."""
    n, q = values.shape
    ax = drawn_on(ax, columns_width(n, 0.3, 20.0), 0.22 * q + 2.0)
    image(ax, values.T, label, diverging=True, extent=(start - 0.5, start + n - 0.5, q - 0.5, -0.5))
    symbol_ticks(ax, alphabet)
    position_ticks(ax, n, start)
    return ax


def position_letter_map(explanation: Explanation, space: SequenceSpace, ax: Axes | None = None) -> Axes:
    """Draw the mean Shapley value of each symbol at each position over the explained sequences.

    Symbols that no sequence has at a position are grey.

    Parameters
    ----------
    explanation : Explanation
    space : SequenceSpace
        The space of the explained sequences.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, `space` is not the space of the explained sequences, or there are
        none.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> explanation = explainer(["ACGTACGT", "AAGTACGT"])
    >>> ss.plot.position_letter_map(explanation, space).get_xlabel()
    'position'
    """
    checked("explanation", explanation, Explanation)
    alphabet, n = explanation._alphabet, explanation.values.shape[1]
    if (space_of(space).alphabet, space.n) != (alphabet, n):
        raise InputError(
            f"space must be that of the explained sequences, over {alphabet!r} of length {n}, got {space}"
        )
    refuse_empty(len(explanation))
    attributions = AttributionMap.from_batches(
        iter([(explanation.data, explanation.values)]), space, explanation.explained
    )
    label = f"Shapley value, {units(explanation.link)}"
    ax = _symbols_by_positions(ax, attributions.mean, alphabet, label, explanation.start)
    titled(ax, "mean Shapley value of each symbol at each position", f"of {explanation.explained}")
    return ax


def mutation_map(
    source: Explainer | VariantEffects, sequence: str | Codes | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the predicted effect of every single substitution in one sequence.

    A dot marks the symbol of the sequence itself. The effects do not depend on the background.

    Parameters
    ----------
    source : Explainer or VariantEffects
        What predicts.
    sequence : str, or integer array (n,)
        For an explainer. A scan has its wild type, and the numbers of its positions.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, or the sequence does not belong to the space.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> ss.plot.mutation_map(explainer, "ACGTACGT").get_xlabel()
    'position'
    """
    if isinstance(source, VariantEffects):
        if sequence is not None:
            raise InputError("leave out sequence for a scan: its effects are those in its wild type")
        space, codes, effects = source._variants.space, source._wild_type, source._effects
        explained = source.explained
    elif isinstance(source, Explainer):
        if sequence is None:
            raise InputError("pass the sequence whose substitutions to draw")
        space, routes = source._space, source._routes
        codes = one_sequence(sequence, space)
        effects = source.mutation_effects(codes[None])[0]
        explained = routes.explained(routes.preferred)
    else:
        raise InputError(f"source must be an Explainer or VariantEffects, got {shown(source)}")
    start = explained.start
    ax = _symbols_by_positions(ax, effects, space.alphabet, f"effect, {units(explained.link)}", start)
    width, height = size_of(ax)
    diameter = 0.45 * 72.0 * min(width / space.n, height / space.q)
    ax.scatter(start + np.arange(space.n), codes, s=min(diameter, 6.0) ** 2, color="black", linewidths=0)
    titled(ax, "effect of each substitution (dot: symbol of the sequence)", predicted_by(explained))
    return ax
