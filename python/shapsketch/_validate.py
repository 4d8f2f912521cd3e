"""Checks of plain arguments, shared by the public functions."""

import importlib
from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any

from shapsketch.errors import InputError, MissingExtraError


def integer(name: str, value: object, *, least: int) -> int:
    """Return `value` as an int of at least `least`; a bool is no number."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    number = int(value)
    if number < least:
        raise InputError(f"{name} must be at least {least}, got {number}")
    if number >= 2**63:
        raise InputError(f"{name} must be below 2**63, got {number}")
    return number


def choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`; otherwise suggest the nearest."""
    if isinstance(value, str) and value in choices:
        return value
    lower = {known.lower(): known for known in choices}
    near = get_close_matches(str(value).lower(), lower, n=1)
    hint = f"; did you mean {lower[near[0]]!r}?" if near else ""
    raise InputError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}{hint}")


def optional(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional dependency.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message names the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.split(".")[0]
        raise MissingExtraError(
            f"{purpose} needs {library}, which is not installed: pip install 'shapsketch[{extra}]'"
        ) from error
