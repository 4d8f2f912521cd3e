"""The command line; ``shapsketch --help`` lists the commands."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit code.

    The code is 0 after success, 1 after an error, 2 after wrong usage, and 128 plus the number of the signal
    after a signal (130 after Ctrl-C).
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
