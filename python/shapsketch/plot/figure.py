"""What all plots share: axes, titles, ticks, colours. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from shapsketch._validate import optional, shown, string
from shapsketch.errors import InputError
from shapsketch.explain.explained import Explained
from shapsketch.link import MONOTONE
from shapsketch.space import numbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

T = TypeVar("T")

# Diverging colours, blue below 0, white at 0, red above; and colours from white to dark.
DIVERGING, SEQUENTIAL = "RdBu_r", "magma_r"
# Blue and red of bars, from the diverging colours.
NEGATIVE, POSITIVE, NEUTRAL = "#2166AC", "#B2182B", "0.55"
# Colours of symbols (Okabe & Ito 2008, without yellow, which is too light on white), of which the first
# four differ most for protanopes, deuteranopes and tritanopes; and their markers. A symbol has one of 7 x 10
# pairs.
PALETTE = ("#0072B2", "#E69F00", "#D55E00", "#000000", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = "os^DvP*X<>"
# Sizes of text in points, and widths relative to it: the mean of characters of a title, and of a digit.
TITLE_SIZE, TEXT_SIZE, MEAN_WIDTH, WIDTH = 10.0, 9.0, 0.56, 0.64
# Half of the width of the light part of diverging colours, which lines do not have.
FAINT = 0.15
# Points of an inch.
INCH = 72.0
# Largest number of lines of a title.
TITLE_LINES = 5
# Longest word of a title, in characters.
LONGEST_WORD = 40


def library(module: str) -> Any:
    """Return a module of matplotlib.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    return optional(f"matplotlib.{module}", "plot", "plotting")


def checked(name: str, value: object, kind: type[T]) -> T:
    """Return the argument `name` if it is of a type.

    Raises
    ------
    InputError
        If it is something else.
    """
    if not isinstance(value, kind):
        article = "" if kind.__name__.endswith("s") else "an " if kind.__name__[0] in "AEIOU" else "a "
        raise InputError(f"{name} must be {article}{kind.__name__}, got {shown(value)}")
    return value


def drawn_on(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes to draw on, by default those of a new figure of some inches.

    Raises
    ------
    InputError
        If `ax` is something else.
    """
    axes: Axes
    if ax is None:
        axes = library("pyplot").subplots(figsize=(width, height), layout="constrained")[1]
        return axes
    kind: type = library("axes").Axes
    if not isinstance(ax, kind):
        raise InputError(f"ax must be the Axes of matplotlib, got {shown(ax)}")
    return ax


def size_of(ax: Axes) -> tuple[float, float]:
    """Return width and height of axes, in inches."""
    box = ax.get_window_extent()
    return float(box.width / ax.figure.dpi), float(box.height / ax.figure.dpi)


def titled(ax: Axes, *lines: object) -> None:
    """Write a title, each line of which is wrapped at the width of the axes."""
    count = max(20, int(size_of(ax)[0] * INCH / (MEAN_WIDTH * TITLE_SIZE)))
    texts = [plain(" ".join(map(_cut, str(line).split()))) for line in lines]
    wrapped = [part for text in texts for part in textwrap.wrap(text, count, break_on_hyphens=False)]
    if len(wrapped) > TITLE_LINES:
        wrapped = [*wrapped[: TITLE_LINES - 1], f"{wrapped[TITLE_LINES - 1][: count - 3]}..."]
    ax.set_title("\n".join(wrapped), fontsize=TITLE_SIZE, loc="left")


def _cut(word: str) -> str:
    """Return a word, such as a reference sequence, so that it fits into a line."""
    return word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD // 2]}..."


def units(link: str) -> str:
    """Return the units of a scale, as the label of an axis."""
    if link == MONOTONE:
        return "latent scale"
    return "model units" if link == "identity" else f"{link} of model units"


def predicted_by(explained: Explained) -> str:
    """Return what predicts, for the title of a plot that does not depend on the background."""
    known = "" if np.isnan(explained.r2) else f" (R² {explained.r2:.3f})"
    return f"predicted by the {explained.of}{known}, link {explained.link}"


def columns_width(n: int, inches: float, most: float) -> float:
    """Return the width of a figure with n columns of some inches, from 6 inches to `most`."""
    return min(max(inches * n + 2.0, 6.0), most)


def map_width(n: int) -> float:
    """Return the width of a figure of n by n cells, in inches."""
    return min(max(0.06 * n, 6.4), 12.0)


def position_ticks(ax: Axes, n: int, start: int, *, axis: str = "x") -> None:
    """Label the axis of the positions `start` to ``start + n - 1``, each of them if there is space."""
    ticker = library("ticker")
    width, height = size_of(ax)
    which = ax.xaxis if axis == "x" else ax.yaxis
    digits = max(len(str(start)), len(str(start + n - 1)))
    need = (WIDTH * digits + 0.8) if axis == "x" else 1.3
    # As many labels as have space; a step may be one and a half times as long as is needed.
    count = (width if axis == "x" else height) * INCH / (need * TEXT_SIZE)
    if count >= n:
        which.set_major_locator(ticker.FixedLocator(np.arange(start, start + n)))
    else:
        bins = max(int(count / 1.5), 1)
        which.set_major_locator(ticker.MaxNLocator(bins, integer=True, steps=[1, 2, 5, 10]))
    which.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.0f}"))
    which.set_tick_params(labelsize=TEXT_SIZE)
    which.set_label_text("position")


def symbol_ticks(ax: Axes, alphabet: str) -> None:
    """Label the rows 0 to q - 1 by the symbols."""
    row = size_of(ax)[1] * INCH / len(alphabet)
    ax.set_yticks(range(len(alphabet)), [plain(visible(symbol)) for symbol in alphabet])
    ax.tick_params(axis="y", labelsize=max(2.0, min(TEXT_SIZE, 0.75 * row)), length=2.0)


def visible(symbol: str) -> str:
    """Return a symbol so that it can be seen: the space as an open box."""
    return "\u2423" if symbol == " " else symbol


def plain(text: str) -> str:
    """Return a text that matplotlib writes as it is; two dollar signs would enclose a formula."""
    return text.replace("$", r"\$")


def styles(alphabet: str) -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of each symbol."""
    return {
        symbol: (PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE) % len(MARKERS)])
        for i, symbol in enumerate(alphabet)
    }


def symbol_at(symbol: str, position: int) -> str:
    """Return the name of a symbol at a position: ``A12``, or ``1 at 12`` for a digit."""
    between = "\N{NO-BREAK SPACE}at\N{NO-BREAK SPACE}" if symbol.isnumeric() else ""
    return f"{visible(symbol)}{between}{position}"


def letters_below(ax: Axes, sequence: str, start: int) -> None:
    """Write the symbols of a sequence at their positions, above the ticks, if there is space."""
    size = min(TEXT_SIZE + 1.0, size_of(ax)[0] * INCH / len(sequence) / (1.1 * WIDTH))
    if size < 3.0:
        return
    for number, symbol in zip(numbered(range(len(sequence)), start), sequence, strict=True):
        ax.annotate(
            plain(visible(symbol)),
            (number, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(0.0, 3.0),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=size,
            family="monospace",
        )


def sequence_of(sequence: object, n: int) -> str | None:
    """Return the argument `sequence`, whose symbols are written into a plot of n positions; None for none.

    Raises
    ------
    InputError
        If it is not a string of n symbols.
    """
    if sequence is None:
        return None
    text = string("sequence", sequence)
    if len(text) != n:
        raise InputError(f"sequence must have {n} symbols, as the explained sequences, got {len(text)}")
    return text


def image(ax: Axes, values: npt.NDArray[np.float64], label: str, *, diverging: bool, **options: Any) -> None:
    """Draw a matrix with a colour bar; NaN is grey."""
    finite = np.abs(values[np.isfinite(values)])
    limit = float(finite.max()) if len(finite) and finite.max() > 0.0 else 1.0
    drawn = ax.imshow(
        values,
        cmap=DIVERGING if diverging else SEQUENTIAL,
        vmin=-limit if diverging else 0.0,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
        **options,
    )
    ax.set_facecolor("0.85")
    colour_bar(ax, drawn, label)


def colour_bar(ax: Axes, mappable: Any, label: str) -> None:
    """Add a colour bar whose label fits beside short axes."""
    width = max(10, int(size_of(ax)[1] * INCH / (WIDTH * TEXT_SIZE)))
    bar = ax.figure.colorbar(mappable, ax=ax, pad=0.02)
    bar.set_label("\n".join(textwrap.wrap(label, width)), fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1.0)


def line_colours(*, diverging: bool) -> Any:
    """Return the colours of lines: those of images without the light ones, which cannot be seen on white."""
    colours = library("pyplot").get_cmap(DIVERGING if diverging else SEQUENTIAL)
    parts = [np.linspace(0.0, 0.5 - FAINT, 128), np.linspace(0.5 + FAINT, 1.0, 128)]
    kept = np.concatenate(parts) if diverging else np.linspace(2.0 * FAINT, 1.0, 256)
    return library("colors").ListedColormap(colours(kept))


def one_or_mean(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], bool]:
    """Return the values (m,) of one sequence, or mean absolute values of several, and whether of one.

    Values of different signs would cancel in a mean.

    Raises
    ------
    InputError
        If there are no sequences.
    """
    refuse_empty(len(values))
    return (values[0], True) if len(values) == 1 else (np.abs(values).mean(axis=0), False)


def refuse_empty(count: int) -> None:
    """Refuse results without sequences.

    Raises
    ------
    InputError
    """
    if not count:
        raise InputError("there are no sequences to draw; explain at least one")
