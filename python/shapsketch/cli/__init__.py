"""The command line; ``shapsketch --help`` lists the commands."""

from __future__ import annotations

import sys

from shapsketch._validate import optional
from shapsketch.errors import MissingExtraError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit code.

    The code is 0 after success, 1 after an error, 2 after wrong usage, and 128 plus the number of the signal
    after a signal (130 after Ctrl-C).
    """
    try:
        optional("click", "cli", "the command line")
    except MissingExtraError as error:
        print(f"shapsketch: {error}", file=sys.stderr)
        return 1
    from shapsketch.cli.group import run

    return run(arguments)
