"""Plots of pairs of positions: maps, arcs, networks, and the epistasis of a scan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shapsketch._validate import integer, shown
from shapsketch.errors import InputError
from shapsketch.explain.results import Interactions
from shapsketch.explain.variant_table import VariantTable
from shapsketch.explain.variants import VariantEffects
from shapsketch.plot.figure import (
    INCH,
    NEUTRAL,
    TEXT_SIZE,
    checked,
    colour_bar,
    columns_width,
    drawn_on,
    image,
    letters_below,
    library,
    line_colours,
    map_width,
    one_or_mean,
    position_ticks,
    predicted_by,
    sequence_of,
    size_of,
    titled,
    units,
)
from shapsketch.space import Values, numbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Least height of the axes of arcs, relative to that at which arcs are half circles.
ROUND = 0.5
# Widths of the lines of the weakest and the strongest pair, in points.
THIN, THICK = 0.6, 4.0


def _pairs_of(interactions: object) -> Interactions:
    """Return the pairs of interactions.

    Raises
    ------
    InputError
        If it is something else, or pairs were not computed.
    """
    pairs = checked("interactions", interactions, Interactions)
    if 2 not in pairs.orders:
        raise InputError(
            "these interactions have no pairs; compute them with an index of several orders and max_order=2"
        )
    return pairs.order(2)


def pair_map(interactions: Interactions, n: int, ax: Axes | None = None) -> Axes:
    """Draw the mean absolute interaction of each pair of `n` positions; that of one sequence has its sign.

    Parameters
    ----------
    interactions : Interactions
        With pairs.
    n : int
        The length of the explained sequences.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, `n` is not the length of the explained sequences, pairs were not
        computed, or there are no sequences.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> pairs = explainer.interactions(["ACGTACGT"], index="FSII", max_order=2)
    >>> ss.plot.pair_map(pairs, 8).get_title(loc="left").splitlines()[0]
    'FSII of pairs of positions'
    """
    checked("interactions", interactions, Interactions)
    if integer("n", n, least=1) != interactions.length:
        raise InputError(f"n must be {interactions.length}, the length of the explained sequences, got {n}")
    pairs = _pairs_of(interactions)
    sizes, signed = one_or_mean(pairs.values)
    matrix = np.full((n, n), np.nan)
    matrix[np.triu_indices(n, 1)] = 0.0
    for (i, j), size in zip(pairs.supports, sizes, strict=True):
        matrix[i, j] = size
    ax = _square(ax, matrix, units(interactions.link), diverging=signed, start=interactions.start)
    ax.set_facecolor("white")
    titled(ax, _named(interactions, signed), f"of {interactions.explained}")
    return ax


def _square(ax: Axes | None, matrix: Values, label: str, *, diverging: bool, start: int = 0) -> Axes:
    """Draw a matrix (n, n) of pairs of the positions from `start`."""
    n = len(matrix)
    width = map_width(n)
    ax = drawn_on(ax, width, 0.88 * width)
    first, last = start - 0.5, start + n - 0.5
    image(ax, matrix, label, diverging=diverging, extent=(first, last, last, first))
    # Lines that are drawn later must not widen the map.
    ax.autoscale(False)
    for axis in ("x", "y"):
        position_ticks(ax, n, start, axis=axis)
    return ax


def _named(interactions: Interactions, signed: bool, pairs: str = "pairs of positions") -> str:
    """Return the first line of a title."""
    if signed:
        return f"{interactions.index} of {pairs}"
    return f"mean |{interactions.index}| of {pairs}, {len(interactions):,} sequences"


def _strongest(
    interactions: object, count: object
) -> tuple[Interactions, list[tuple[int, int]], Values, bool]:
    """Return pairs, the strongest of them that are not 0, their values, and whether these have signs.

    Raises
    ------
    InputError
        If an argument is wrong, pairs were not computed, or there are no sequences.
    """
    pairs = _pairs_of(interactions)
    most = integer("count", count, least=1)
    sizes, signed = one_or_mean(pairs.values)
    order = np.argsort(-np.abs(sizes), kind="stable")[:most]
    order = order[sizes[order] != 0.0]
    # The strongest is drawn last, above the others.
    chosen = [(pairs.supports[k][0], pairs.supports[k][1]) for k in order[::-1]]
    return pairs, chosen, sizes[order[::-1]], signed


class Lines(NamedTuple):
    """The colours (m, 4) and widths (m,) of lines, and what a colour bar needs."""

    colours: npt.NDArray[Any]
    widths: Values
    mappable: Any

    @classmethod
    def of(cls, values: Values, signed: bool, thick: float = THICK) -> Lines:
        """Return the lines of values; the strongest has the width `thick`, in points."""
        limit = float(np.abs(values).max()) if len(values) else 1.0
        norm = library("colors").Normalize(-limit if signed else 0.0, limit)
        mappable = library("cm").ScalarMappable(norm, line_colours(diverging=signed))
        return cls(mappable.to_rgba(values), THIN + (thick - THIN) * np.abs(values) / limit, mappable)


def arcs(
    interactions: Interactions, count: int = 30, *, sequence: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the strongest pairs as arcs above the sequence, as secondary structures are drawn.

    Colour and width are the interaction of one sequence, or the mean absolute interaction of several.

    Parameters
    ----------
    interactions : Interactions
        With pairs.
    count : int
        Largest number of pairs.
    sequence : str, optional
        Symbols to write below the arcs: a sequence, or a structure in dot-bracket notation.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, pairs were not computed, or there are no sequences.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> pairs = explainer.interactions(["ACGTACGT"], index="FSII", max_order=2)
    >>> ss.plot.arcs(pairs, sequence="ACGTACGT").get_title(loc="left").splitlines()[0]
    'FSII of one pair'
    """
    pairs, chosen, values, signed = _strongest(interactions, count)
    n = pairs.length
    text = sequence_of(sequence, n)
    ax = drawn_on(ax, columns_width(n, 0.22, 22.0), 3.6)
    lines = Lines.of(values, signed)
    patches = library("patches")
    start = pairs.start
    longest = max((j - i for i, j in chosen), default=1)
    for (i, j), colour, width in zip(chosen, lines.colours, lines.widths, strict=True):
        # Heights grow with the root of the span, so that short arcs are seen beside long ones.
        middle, span, height = start + (i + j) / 2.0, float(j - i), float(np.sqrt((j - i) * longest))
        arc = patches.Arc(
            (middle, 0.0), span, height, theta1=0.0, theta2=180.0, color=colour, linewidth=width
        )
        ax.add_patch(arc)
    # The highest arc fills the axes, but short arcs are not drawn much higher than wide.
    width_of_axes, height_of_axes = size_of(ax)
    height = max(longest, ROUND * n * height_of_axes / width_of_axes) / 2.0
    ax.set_xlim(start - 0.7, start + n - 0.3)
    ax.set_ylim(-0.14 * height if text else -0.02 * height, 1.08 * height)
    ax.set_yticks([])
    for side in ("top", "left", "right"):
        ax.spines[side].set_visible(False)
    ax.plot([start, start + n - 1.0], [0.0, 0.0], color=NEUTRAL, linewidth=1.0, zorder=0)
    if text:
        letters_below(ax, text, start)
    position_ticks(ax, n, start)
    _explained_by(ax, pairs, lines, signed)
    return ax


def _explained_by(ax: Axes, pairs: Interactions, lines: Lines, signed: bool) -> None:
    """Add what the lines of some pairs mean: a colour bar, and the title."""
    count = len(lines.widths)
    what = f"the {count} strongest pairs" if count > 1 else "one pair"
    title = _named(pairs, signed, what) if count else f"{pairs.index}: no pair interacts"
    colour_bar(ax, lines.mappable, units(pairs.link))
    titled(ax, title, f"of {pairs.explained}")


def network(interactions: Interactions, count: int = 20, *, ax: Axes | None = None) -> Axes:
    """Draw the strongest pairs as lines between positions on a circle.

    Only positions of these pairs are drawn, clockwise from the top. Colour and width of a line are the
    interaction of one sequence, or the mean absolute interaction of several.

    Parameters
    ----------
    interactions : Interactions
        With pairs.
    count : int
        Largest number of pairs.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an argument is of another type, pairs were not computed, or there are no sequences.

    Examples
    --------
    >>> import matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> pairs = explainer.interactions(["ACGTACGT"], index="FSII", max_order=2)
    >>> [text.get_text() for text in ss.plot.network(pairs).texts]
    ['1', '2']
    """
    pairs, chosen, values, signed = _strongest(interactions, count)
    positions = sorted({position for pair in chosen for position in pair})
    angles = np.pi / 2.0 - 2.0 * np.pi * np.arange(len(positions)) / max(len(positions), 1)
    points = dict(zip(positions, np.stack([np.cos(angles), np.sin(angles)], axis=1), strict=True))
    ax = drawn_on(ax, 6.6, 5.8)
    # The radius of the circle, and half of the space between neighbours on it, in points.
    radius = 0.4 * INCH * min(size_of(ax))
    space = np.pi * radius / max(len(positions), 1)
    size = min(TEXT_SIZE, max(4.0, 0.75 * space))
    lines = Lines.of(values, signed, THICK * size / TEXT_SIZE)
    path, patch = library("path").Path, library("patches").PathPatch
    for (i, j), colour, width in zip(chosen, lines.colours, lines.widths, strict=True):
        # A curve towards the centre, so that lines between neighbours stay apart.
        bent = path([points[i], 0.25 * (points[i] + points[j]), points[j]], [1, 3, 3])
        ax.add_patch(patch(bent, fill=False, edgecolor=colour, linewidth=width))
    for position, point in points.items():
        ax.plot(*point, "o", color="0.25", markersize=0.5 * size)
        label = str(numbered([position], pairs.start)[0])
        outwards = (1.3 + 0.3 * len(label)) * size * point
        ax.annotate(
            label,
            point,
            outwards,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
        )
    # Space for the numbers of the positions.
    reach = max(1.25, 1.0 + 3.2 * size / radius)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.set_axis_off()
    _explained_by(ax, pairs, lines, signed)
    return ax


def epistasis_map(scan: VariantEffects | VariantTable, ax: Axes | None = None) -> Axes:
    r"""Draw the epistasis of a deep mutational scan between positions.

    Above the diagonal it is predicted, below it is measured, each as the mean over the pairs of substitutions
    in the table. Grey pairs of positions have none.

    Parameters
    ----------
    scan : VariantEffects or VariantTable
        The measured pairs of a scan, or the table of its method ``epistasis``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If it is something else, a table without epistasis, or there are no pairs.

    Examples
    --------
    >>> import pathlib, tempfile, matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> effects = {f"{symbol}{i}{a}": 0.1 * i - 0.2 * k for i, symbol in enumerate("MKV", 1)
    ...            for k, a in enumerate("ACDEFG")}
    >>> rows = ["mutant,score", "WT,0", *(f"{name},{effect}" for name, effect in effects.items())]
    >>> rows += [f"{a}:{b},{effects[a] + effects[b]}" for a in effects for b in effects if a[1] < b[1]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scan.csv")
    ...     _ = path.write_text("\n".join(rows))
    ...     variants = ss.read_variants(path, wild_type="MKV")
    >>> scan = ss.VariantEffects(ss.fit(variants), variants)
    >>> ss.plot.epistasis_map(scan).get_title(loc="left").splitlines()[0]
    'mean epistasis of 108 pairs of substitutions'
    """
    if not isinstance(scan, (VariantEffects, VariantTable)):
        raise InputError(f"scan must be VariantEffects or a VariantTable, got {shown(scan)}")
    table = scan.epistasis() if isinstance(scan, VariantEffects) else scan
    if "measured_epistasis" not in table.columns:
        raise InputError("the table has no epistasis; pass that of effects.epistasis()")
    if not len(table):
        raise InputError("the table has no pairs; pass effects.epistasis('all') for all observed pairs")
    # Names such as "A23G:T45S"; symbols may be digits or colons.
    numbers = np.array([_positions(name) for name in table["mutations"]])
    start, end = int(numbers.min()), int(numbers.max())
    n = end - start + 1
    rows, columns = (numbers - start).T
    matrix = np.full(n * n, np.nan)
    for i, j, values in (
        (rows, columns, table["epistasis"]),
        (columns, rows, table["measured_epistasis"]),
    ):
        finite = np.isfinite(values)
        cells = (i * n + j)[finite]
        counts = np.bincount(cells, minlength=n * n)
        sums = np.bincount(cells, values[finite], minlength=n * n)
        matrix[counts > 0] = sums[counts > 0] / counts[counts > 0]
    ax = _square(
        ax, matrix.reshape(n, n), f"mean epistasis, {units(table.link)}", diverging=True, start=start
    )
    ax.plot([start - 0.5, end + 0.5], [start - 0.5, end + 0.5], color="black", linewidth=0.6)
    ax.set_xlabel("position (above the diagonal: predicted)")
    ax.set_ylabel("position (below: measured)")
    pairs = f"{len(table):,} pairs" if len(table) > 1 else "one pair"
    titled(ax, f"mean epistasis of {pairs} of substitutions", predicted_by(table.explained))
    return ax


def _positions(name: str) -> tuple[int, int]:
    """Return the positions of two substitutions, by their name."""
    match = re.fullmatch(r".(-?\d+).:.(-?\d+).", name)
    assert match is not None, name
    return int(match[1]), int(match[2])
