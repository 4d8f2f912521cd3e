"""The command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shapsketch import ShapsketchError, __version__


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="shapsketch", description="Explain sequence models from one sketch."
    )
    parser.add_argument("--version", action="version", version=f"shapsketch {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="explain ViennaRNA's energy of a hairpin, within a minute")
    demo.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="folder for plot and sketch file"
    )
    demo.add_argument("--budget", type=int, default=None, help="model evaluations to spend")
    demo.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    demo.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    from shapsketch import demo as demonstration

    budget = demonstration.BUDGET if options.budget is None else options.budget
    try:
        demonstration.run(
            options.output, budget=budget, random_state=options.seed, progress=not options.quiet
        )
    except ShapsketchError as error:
        print(f"shapsketch: {error}", file=sys.stderr)
        return 1
    return 0
