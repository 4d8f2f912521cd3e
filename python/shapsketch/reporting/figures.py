"""Figures of a page: SVG inside of the HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shapsketch.plot.figure import library

# Options of matplotlib: equal figures give equal bytes, and text is drawn as shapes, which need no font.
STYLE = {"svg.hashsalt": "shapsketch", "svg.fonttype": "path"}

# Width above which a figure is scrolled, in inches: at 3/4 of its size it is wider than most screens.
WIDE = 19.0


@dataclass(frozen=True)
class Figure:
    """A figure as the address of an image, what it shows, and whether it is too wide to shrink to a page."""

    source: str
    text: str
    wide: bool


def figure_of(draw: Callable[..., Any], *arguments: Any) -> Figure:
    """Return the figure that a function of :mod:`shapsketch.plot` draws."""
    pyplot, file = library("pyplot"), io.BytesIO()
    with pyplot.rc_context(STYLE):
        axes = draw(*arguments)
        try:
            width = axes.figure.get_size_inches()[0]
            axes.figure.savefig(file, format="svg", metadata={"Date": None})
        finally:
            pyplot.close(axes.figure)
    # As an image the SVG can neither run scripts nor share names with other figures of the page.
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    title = " ".join(axes.get_title(loc="left").split())
    return Figure(f"data:image/svg+xml;base64,{encoded}", title, width > WIDE)
