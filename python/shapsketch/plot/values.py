"""Plots of Shapley values and interactions: of many sequences, and of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shapsketch._validate import integer, shown
from shapsketch.errors import InputError
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.plot.figure import (
    INCH,
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    TEXT_SIZE,
    WIDTH,
    checked,
    drawn_on,
    library,
    plain,
    refuse_empty,
    sequence_of,
    size_of,
    styles,
    symbol_at,
    titled,
    units,
    visible,
)
from shapsketch.space import Codes, Values, numbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Bins of the values of a row of a beeswarm, and the largest distance of a point from its row.
BINS, SPREAD = 80, 0.42
# Symbols of one column of a legend.
LEGEND_ROWS = 20
# Indices whose values of all orders up to the highest add up to the score.
ADDITIVE = ("SV", "k-SII", "STII", "FSII", "Faith-Shap")


def beeswarm(explanation: Explanation, count: int = 15, *, ax: Axes | None = None) -> Axes:
    """Draw the Shapley values of many sequences: a row for each position, a point for each sequence.

    The rows are the positions with the largest mean absolute values, largest first; the colour and the
    marker of a point are the symbol that the sequence has there.

    Parameters
    ----------
    explanation : Explanation
    count : int
        Largest number of positions.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, or there are no sequences.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> ax = ss.plot.beeswarm(explainer(["ACGTACGT", "AAGTACGT"]), count=2)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['1', '2']
    """
    checked("explanation", explanation, Explanation)
    most = integer("count", count, least=1)
    refuse_empty(len(explanation))
    alphabet, n = explanation._alphabet, explanation.values.shape[1]
    sizes = np.abs(explanation.values).mean(axis=0)
    rows = np.argsort(-sizes, kind="stable")[:most]
    ax = drawn_on(ax, 7.0, 0.3 * len(rows) + 2.0)
    values = explanation.values[:, rows]
    codes = explanation.data[:, rows]
    offsets = [_offsets(column, symbols) for column, symbols in zip(values.T, codes.T, strict=True)]
    heights = np.arange(len(rows)) + np.stack(offsets, axis=1)
    # A point has the diameter of its row at most.
    diameter = min(4.5, 0.5 * INCH * size_of(ax)[1] / len(rows))
    for code, (symbol, (colour, marker)) in enumerate(styles(alphabet).items()):
        has = codes == code
        if has.any():
            ax.scatter(
                values[has],
                heights[has],
                s=diameter**2,
                color=colour,
                marker=marker,
                linewidths=0,
                alpha=0.8,
                # Matplotlib leaves out labels that start with an underscore.
                label=" _" if symbol == "_" else plain(visible(symbol)),
                rasterized=True,
            )
    ax.axvline(0.0, color=NEUTRAL, linewidth=0.8, zorder=0)
    labels = [str(number) for number in numbered(rows, explanation.start)]
    ax.set_yticks(range(len(rows)), labels, fontsize=min(TEXT_SIZE, 0.7 * INCH * size_of(ax)[1] / len(rows)))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_ylabel("position")
    ax.set_xlabel(f"Shapley value, {units(explanation.link)}")
    _, names = ax.get_legend_handles_labels()
    # Lines of the legend are 1.5 times as high as their text.
    legend_rows = min(LEGEND_ROWS, max(int(size_of(ax)[1] * INCH / (1.5 * TEXT_SIZE)), 1))
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        ncols=-(-len(names) // legend_rows),
        fontsize=TEXT_SIZE - 1.0,
        frameon=False,
        handletextpad=0.1,
        columnspacing=0.8,
        markerscale=1.4,
    )
    left_out = f", the {len(rows)} largest of {n} positions" if len(rows) < n else ""
    sequences = f"{len(explanation):,} sequences" if len(explanation) > 1 else "one sequence"
    titled(ax, f"Shapley values of {sequences}{left_out}", f"of {explanation.explained}")
    return ax


def _offsets(values: Values, codes: Codes) -> Values:
    """Return the distances of points from their row: points of similar values lie apart, by their symbols."""
    span = float(np.ptp(values)) or 1.0
    bins = np.minimum((values - values.min()) / span * BINS, BINS - 1).astype(np.int64)
    order = np.lexsort((codes, bins))
    counts = np.bincount(bins, minlength=BINS)
    rank = np.empty(len(values))
    rank[order] = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    # 0, 1, -1, 2, -2 and so on.
    steps = np.ceil(rank / 2.0) * np.where(rank % 2.0 == 1.0, 1.0, -1.0)
    return steps * min(0.1, 2.0 * SPREAD / max(int(counts.max()), 1))


def waterfall(
    result: Explanation | Interactions,
    count: int = 12,
    *,
    sequence: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how the values of one sequence add up, from the base value to its score.

    Parameters
    ----------
    result : Explanation or Interactions
        Of one sequence. Interactions must add up to the score: those of order 1 and higher by the indices
        ``SV``, ``k-SII``, ``STII``, ``FSII``, ``Faith-Shap``, and ``Moebius`` of full order.
    count : int
        Largest number of bars besides that of all others.
    sequence : str, optional
        The symbols in the names of interactions, which do not contain them.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, the result is not of one sequence, or its values do not add up.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> pairs = explainer.interactions(["ACGTACGT"], index="FSII")
    >>> ax = ss.plot.waterfall(pairs, sequence="ACGTACGT")
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['C1 · G2']
    """
    if not isinstance(result, (Explanation, Interactions)):
        raise InputError(f"result must be an Explanation or Interactions, got {shown(result)}")
    most = integer("count", count, least=1)
    if len(result) != 1:
        raise InputError(f"a waterfall is of one sequence, and these are {len(result)}; pass result[0]")
    names, what = _bars(result, sequence)
    values, base = result.values[0], float(result.base_values[0])
    order = [k for k in np.argsort(-np.abs(values), kind="stable") if values[k] != 0.0]
    steps = [(names[k], float(values[k])) for k in order[:most]]
    if len(order) > most:
        steps.append((f"{len(order) - most} others", float(values[order[most:]].sum())))
    # From the base value at the bottom to the score at the top, so the largest bar is at the top.
    ends = base + np.cumsum([value for _, value in steps[::-1]])[::-1] if steps else np.empty(0)
    ax = drawn_on(ax, 6.4, 0.28 * len(steps) + 2.2)
    row = INCH * size_of(ax)[1] / max(len(steps), 1)
    # Lines end beside the numbers that they cross.
    outline = library("patheffects").withStroke(linewidth=2.5, foreground="white")
    for y, ((_, value), end) in enumerate(zip(steps, ends, strict=True)):
        colour = POSITIVE if value > 0.0 else NEGATIVE
        ax.barh(y, value, left=end - value, height=0.7, color=colour)
        ax.annotate(
            f"{value:+.3g}",
            (end, y),
            xytext=(3.0 if value > 0.0 else -3.0, 0.0),
            textcoords="offset points",
            ha="left" if value > 0.0 else "right",
            va="center",
            fontsize=min(TEXT_SIZE - 1.0, 0.7 * row),
            path_effects=[outline],
        )
        if y > 0:
            ax.plot([end, end], [y - 1.35, y + 0.35], color=NEUTRAL, linewidth=0.7, zorder=0)
    score = float(ends[0]) if steps else base
    for x, style in ((base, "--"), (score, "-")):
        ax.axvline(x, color=NEUTRAL, linewidth=0.8, linestyle=style, zorder=0)
    low, high = min([base, *ends]), max([base, *ends])
    # Space for the numbers beside the bars, which have up to 7 characters.
    beside = min(0.4, 7.0 * WIDTH * TEXT_SIZE / (INCH * size_of(ax)[0]))
    margin = beside / (1.0 - 2.0 * beside) * (high - low) or 1.0
    ax.set_xlim(low - margin, high + margin)
    ax.set_yticks(range(len(steps)), [plain(name) for name, _ in steps], fontsize=min(TEXT_SIZE, 0.7 * row))
    ax.set_ylim(max(len(steps), 1) - 0.5, -0.5)
    ax.set_xlabel(f"score, {units(result.link)}")
    sums = f"base value {base:.4g} (dashed), score {score:.4g}"
    titled(ax, f"{what}: {sums}", f"of {result.explained}")
    return ax


def _bars(result: Explanation | Interactions, sequence: object) -> tuple[list[str], str]:
    """Return the names of the bars, and what they are.

    Raises
    ------
    InputError
        If interactions do not add up to the score, or the sequence is not one of their length.
    """
    if isinstance(result, Explanation):
        if sequence is not None:
            raise InputError("leave out sequence: an explanation has its symbols")
        letters = [result._alphabet[code] for code in result.data[0]]
        numbers = numbered(range(len(letters)), result.start)
        return [symbol_at(letter, i) for letter, i in zip(letters, numbers, strict=True)], "Shapley values"
    orders, n = result.orders, result.length
    full = len(orders) > 0 and orders[-1] >= n
    if not (
        len(orders) and orders[0] == 1 and (result.index in ADDITIVE or (full and result.index == "Moebius"))
    ):
        computed = f"{orders[0]} to {orders[-1]}" if len(orders) else "that were not computed"
        raise InputError(
            f"the interactions {result.index} of orders {computed} do not add up to the score",
            advice="use index='FSII' or 'k-SII', with all orders from 1",
            option="result",
        )
    text = sequence_of(sequence, n)
    symbols, numbers = [""] * n if text is None else list(text), numbered(range(n), result.start)
    names = [" · ".join(symbol_at(symbols[i], numbers[i]) for i in support) for support in result.supports]
    return names, f"{result.index} up to order {orders[-1]}"
