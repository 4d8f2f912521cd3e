"""The commands `plot ...`, one for each plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import shapsketch as ss
from shapsketch._validate import optional, suggestion
from shapsketch.cli.explaining import EXPLAINING, Explaining
from shapsketch.cli.options import (
    READING,
    SEQS,
    SKETCH,
    VERBOSE,
    Reading,
    TableOutput,
    combine,
    echo,
    loaded,
    output,
    output_format,
    print_json,
    refuse,
)
from shapsketch.cli.streaming import described, read_all
from shapsketch.explain.explainer import Explainer
from shapsketch.files.atomic import replacing
from shapsketch.space import Codes

IMAGES = ("png", "svg", "pdf")
# Resolution of PNG files, in dots per inch.
DPI = 150


def _pairs(explainer: Explainer, codes: Codes) -> Any:
    # Only SII is sampled for predictors.
    sampled = explainer.of != "closed form"
    return explainer.interactions(codes, index="SII" if sampled else "FSII", max_order=2)


def _symbols(explainer: Explainer, codes: Codes) -> str | None:
    return explainer._space.decode(codes)[0] if len(codes) == 1 else None


# Plots of one sequence, and plots of all sequences of a file; each takes an explainer and codes (B, n).
Draw = Callable[[Explainer, Codes], Any]
ONE: dict[str, tuple[Draw, str]] = {
    "logo": (
        lambda e, c: ss.plot.logo(e(c)),
        "Symbols of one sequence with the heights of their Shapley values.",
    ),
    "waterfall": (
        lambda e, c: ss.plot.waterfall(e(c)),
        "How the Shapley values of one sequence add up to its score.",
    ),
    "mutation-map": (
        lambda e, c: ss.plot.mutation_map(e, c[0]),
        "Predicted effect of every substitution in one sequence.",
    ),
}
MANY: dict[str, tuple[Draw, str]] = {
    "beeswarm": (
        lambda e, c: ss.plot.beeswarm(e(c)),
        "Shapley values of the positions that matter most in many sequences.",
    ),
    "position-map": (
        lambda e, c: ss.plot.position_letter_map(e(c), e._space),
        "Mean Shapley value of each symbol at each position.",
    ),
    "pair-map": (
        lambda e, c: ss.plot.pair_map(_pairs(e, c), e._space.n),
        "Interaction of each pair of positions.",
    ),
    "arcs": (
        lambda e, c: ss.plot.arcs(_pairs(e, c), sequence=_symbols(e, c)),
        "The strongest pairs as arcs above the sequence.",
    ),
    "network": (lambda e, c: ss.plot.network(_pairs(e, c)), "The strongest pairs as lines on a circle."),
}


@click.group()
def plot() -> None:
    """Draw a plot of a sketch, or of sequences, as PNG, SVG or PDF."""


def _format(target: TableOutput) -> str:
    """Return the format of an image: the requested one, or that of its extension."""
    chosen = target.output_format or target.output.suffix.lower()[1:]
    if chosen not in IMAGES:
        raise ss.InputError(
            f"{target.output}: an image has the extension {', '.join(IMAGES)}; add it, or choose a "
            "format with --output-format"
        )
    return str(chosen)


def _save(target: TableOutput, axes: Any) -> None:
    """Write the figure of a plot."""
    chosen = _format(target)
    try:
        with replacing(target.output, compressed=False) as file:
            metadata = {"Date": None} if chosen == "svg" else None
            axes.figure.savefig(file, format=chosen, dpi=DPI, metadata=metadata)
    finally:
        optional("matplotlib.pyplot", "plot", "plotting").close(axes.figure)


def _prepare(target: TableOutput, *sources: Path | None) -> None:
    """Refuse outputs that cannot be written, and draw without a window."""
    _format(target)
    refuse(target.force, target.output, sources=sources)
    optional("matplotlib", "plot", "plotting").use("Agg")


def _report(target: TableOutput, facts: dict[str, Any], text: str) -> None:
    if target.as_json:
        print_json({"output": str(target.output), **facts}, target.output)
    else:
        echo(f"wrote {target.output}: {text}", target.output)


IMAGE = output(
    "The image; the extension tells the format: png, svg or pdf.", output_format(IMAGES), group=TableOutput
)


def _of_sequences(name: str, draw: Draw, text: str, one: bool) -> click.Command:
    """Return the command that draws one sequence of a file, or all."""

    def command(
        sketch: Path,
        seqs: Path,
        target: TableOutput,
        explaining: Explaining,
        reading: Reading,
        chosen: str | None = None,
    ) -> None:
        _prepare(target, sketch, seqs, explaining.file)
        explainer = explaining.explainer(loaded(sketch))
        names, codes = read_all(reading.reader(seqs, explainer._space))
        if one or chosen is not None:
            row = _row(names, chosen, seqs)
            names, codes = [names[row]], codes[row : row + 1]
        _save(target, draw(explainer, codes))
        shown = names[0] if len(names) == 1 else f"{len(names):,} sequences"
        _report(target, {"sequences": len(names), **described(explainer.explained)}, shown)

    help_text = "Draw this sequence; by default the first one." if one else "Draw this sequence only."
    choose = click.option("--name", "chosen", metavar="NAME", help=help_text)
    options = combine(SKETCH, SEQS, IMAGE, choose, EXPLAINING, READING, VERBOSE)
    return click.command(name, help=text)(options(command))


def _row(names: list[str], chosen: str | None, path: Path) -> int:
    """Return the row of the sequence that a name chooses."""
    if chosen is None:
        return 0
    if chosen not in names:
        raise ss.InputError(f"--name: {path} has no sequence {chosen!r}{suggestion(chosen, names[:1000])}")
    return names.index(chosen)


for one, plots in ((True, ONE), (False, MANY)):
    for name, (draw, text) in plots.items():
        plot.add_command(_of_sequences(name, draw, text, one))


@plot.command("order-energy")
@SKETCH
@IMAGE
@EXPLAINING
@VERBOSE
def order_energy(sketch: Path, target: TableOutput, explaining: Explaining) -> None:
    """Fraction of the variance that the terms of each order carry."""
    _prepare(target, sketch, explaining.file)
    sobol = explaining.explainer(loaded(sketch)).sobol()
    _save(target, ss.plot.order_energy(sobol))
    _report(target, described(sobol.explained), "variance by order")


@plot.command("spacing")
@SKETCH
@click.argument("first")
@click.argument("second")
@IMAGE
@EXPLAINING
@VERBOSE
def spacing(sketch: Path, first: str, second: str, target: TableOutput, explaining: Explaining) -> None:
    """Joint effect of the words FIRST and SECOND by the distance between them."""
    _prepare(target, sketch, explaining.file)
    curve = explaining.explainer(loaded(sketch)).spacing(first, second)
    _save(target, ss.plot.spacing(curve))
    _report(target, described(curve.explained), f"spacing of {first} and {second}")


@plot.command("budget-curve")
@click.argument("sketches", nargs=-1, required=True, type=click.Path(path_type=Path))
@IMAGE
@VERBOSE
def budget_curve(sketches: tuple[Path, ...], target: TableOutput) -> None:
    """R² of several sketches of one model against their numbers of evaluated sequences."""
    _prepare(target, *sketches)
    loaded = [ss.load(path) for path in sketches]
    _save(target, ss.plot.budget_curve(loaded))
    _report(target, {"sketches": len(loaded)}, f"{len(loaded)} sketches")
