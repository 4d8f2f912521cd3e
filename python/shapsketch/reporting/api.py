"""Reports of a sketch, as one page of HTML."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np

from shapsketch import plot
from shapsketch._core import __version__
from shapsketch._validate import file_path, integer, items, optional, shown, string
from shapsketch.errors import InputError
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.indices import Index
from shapsketch.files.atomic import replacing
from shapsketch.plot.figure import units
from shapsketch.reporting import tables
from shapsketch.reporting.facts import cautions_of, facts_of
from shapsketch.reporting.figures import Figure, figure_of
from shapsketch.space import Codes, Sequences, SequenceSpace
from shapsketch.surrogate.sketch import Sketch

# Largest number of sequences of a page; browsers become slow with more rows.
MAX_SEQUENCES = 10_000
# The index of pairs, whose values add up to the score together with those of single positions.
INDEX: Index = "FSII"


def report(
    sketch: Sketch | Explainer,
    path: str | os.PathLike[str],
    *,
    sequences: Sequences | None = None,
    names: Iterable[str] | None = None,
    figures: int = 3,
    title: str = "Report of a sketch",
) -> None:
    """Write a report: one page of HTML that says what a sketch found, and how faithful it is.

    The page has R² with its interval, the background and the methods that were compared, the rarest feature
    that the queries could contain, motifs and interactions. With sequences it also has logos and maps of the
    effects of substitutions of the first `figures` sequences, and a table of all with their scores and
    strongest positions, which can be sorted and filtered. It is one file without links to others, so it can
    be sent to people and read offline.

    Parameters
    ----------
    sketch : Sketch or Explainer
        An explainer chooses the background, and what is explained.
    path : str or path
        The HTML file. An existing file is replaced when the page is complete.
    sequences : iterable of str, or integer array (B, n), optional
        At most 10,000 sequences to explain.
    names : list of str, optional
        A name for each sequence; by default their numbers, from 0.
    figures : int
        Number of sequences with figures of their own, from 0.
    title : str
        The title of the page.

    Raises
    ------
    InputError
        If an argument is of another type or out of range, a sequence does not belong to the space, or the
        number of names is another one.
    FileError
        If the file cannot be written.
    MissingExtraError
        If jinja2, matplotlib or logomaker is not installed.

    Examples
    --------
    >>> import pathlib, tempfile, matplotlib, shapsketch as ss
    >>> matplotlib.use("Agg")
    >>> space = ss.SequenceSpace(ss.DNA, 8)
    >>> explainer = ss.Explainer(ss.Spectrum(space, [[0, 2, 2, 0, 0, 0, 0, 0]], [1.0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "report.html")
    ...     ss.report(explainer, path, sequences=["ACGTACGT", "AAGTACGT"])
    ...     print(path.read_text(encoding="utf-8")[:15])
    <!DOCTYPE html>
    """
    if not isinstance(sketch, (Sketch, Explainer)):
        raise InputError(f"expected a Sketch or an Explainer, got {shown(sketch)}")
    target, heading = file_path(path), string("title", title)
    count = integer("figures", figures, least=0)
    explainer = Explainer(sketch) if isinstance(sketch, Sketch) else sketch
    if sequences is None and names is not None:
        raise InputError("names are for sequences; pass sequences= too, or remove names")
    codes = None if sequences is None else _codes(explainer._space, sequences)
    labels = [] if codes is None else _names(names, len(codes))
    template = _template()
    # Opened first, so that a path that cannot be written is reported before the work.
    with replacing(target, compressed=False) as file:
        page = _contents(explainer, codes, labels, count)
        file.write(template(title=heading, version=__version__, **page).encode("utf-8"))


def _codes(space: SequenceSpace, sequences: Sequences) -> Codes:
    codes = space.encode(sequences)
    if len(codes) > MAX_SEQUENCES:
        raise InputError(
            f"a report has at most {MAX_SEQUENCES:,} sequences, got {len(codes):,}; choose some of them"
        )
    return codes


def _names(names: Iterable[str] | None, count: int) -> list[str]:
    if names is None:
        return list(map(str, range(count)))
    listed = [string(f"name {index}", name) for index, name in enumerate(items("names", names, "names"))]
    if len(listed) != count:
        raise InputError(f"names: {len(listed):,} names for {count:,} sequences; pass one for each")
    return listed


def _template() -> Callable[..., str]:
    """Return the function that fills the page.

    Raises
    ------
    MissingExtraError
        If jinja2, matplotlib or logomaker is not installed.
    """
    jinja = optional("jinja2", "report", "a report")
    for library in ("matplotlib", "logomaker"):
        optional(library, "report", "a report")
    folder = files("shapsketch.reporting")
    html, style, script = (
        folder.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined)
    page = environment.from_string(html)

    # Style and script are ours, and are not escaped. Their hashes let browsers refuse all others.
    parts = {"style": style, "script": script, "style_hash": _hash(style), "script_hash": _hash(script)}
    return partial(page.render, **parts)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _contents(explainer: Explainer, codes: Codes | None, names: list[str], figures: int) -> dict[str, Any]:
    """Return the contents of the page by the names that it uses."""
    sketch = explainer._sketch
    explanation = None if codes is None else explainer(codes)
    explained = explainer.explained if explanation is None else explanation.explained
    # Motifs, variances and most interactions exist for the closed form only.
    background: Any = explainer._background
    closed = explainer if explainer.of == "closed form" else Explainer(sketch, background, of="closed form")
    distance = None if codes is None else explainer._guard.distance(codes)
    held = sketch._core.held_out is not None
    page: dict[str, Any] = {
        "facts": facts_of(sketch, explained),
        "cautions": cautions_of(sketch, explained, distance),
        "candidates": tables.candidates(sketch),
        "summary": sketch.summary(),
        "fidelity": [figure_of(plot.predicted_against_true, sketch)] if held else [],
        "closed_form": str(closed.explained),
        "explained": str(explained),
        "start": explained.start,
        "units": units(explained.link),
        "index": INDEX,
        **_summaries(closed, codes),
        **_pairs(closed, codes),
        "rows": None,
    }
    if codes is None or explanation is None:
        return page
    stderr, space = explanation.sampling_stderr, explainer._space
    overview = len(codes) > 1
    page |= {
        "rows": tables.sequences(explanation, space, names),
        "sampled": None if stderr is None else f"{np.sqrt(np.mean(stderr**2)):.2g}",
        "overview": [figure_of(plot.position_letter_map, explanation, space)] if overview else [],
        "drawn": [
            (
                names[i],
                [figure_of(plot.logo, explanation[i]), figure_of(plot.mutation_map, explainer, codes[i])],
            )
            for i in range(min(figures, len(codes)))
        ],
    }
    return page


def _summaries(closed: Explainer, codes: Codes | None) -> dict[str, Any]:
    """Return motifs and Sobol indices, or why the background has none."""
    try:
        motifs, sobol = closed.motifs(tables.ROWS, sequences=codes), closed.sobol()
    except InputError as error:
        return {"motifs": None, "variances": None, "motifs_missing": f"{error.message}."}
    orders: list[Figure] = [figure_of(plot.order_energy, sobol)] if len(sobol.by_order) > 1 else []
    return {
        "motifs": tables.motifs(motifs),
        "variances": tables.variances(sobol),
        "order_figures": orders,
        "motifs_missing": "",
    }


def _pairs(closed: Explainer, codes: Codes | None) -> dict[str, Any]:
    """Return the pairs of the sequences, and their figure."""
    n = closed._space.n
    if codes is None or n < 2:
        return {"pairs": None, "pair_figure": None}
    interactions = closed.interactions(codes, index=INDEX, max_order=2)
    return {"pairs": tables.pairs(interactions), "pair_figure": figure_of(plot.pair_map, interactions, n)}
