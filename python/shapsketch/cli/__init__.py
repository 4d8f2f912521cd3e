"""The command line: ``shapsketch --help``."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0 if all went well, 1 for errors, 2 for wrong usage, 130 after Ctrl-C (128 and its
    number after another signal).
    """
    try:
        import click  # noqa: F401
    except ImportError:
        print(
            "shapsketch: the command line needs click, which is not installed: pip install 'shapsketch[cli]'",
            file=sys.stderr,
        )
        return 1
    from shapsketch.cli.group import run

    return run(arguments)
