"""Checks of arguments, and imports of optional dependencies."""

import importlib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any

from shapsketch.errors import InputError, MissingExtraError


def integer(name: str, value: object, *, least: int) -> int:
    """Return the argument `name` as an int.

    Raises
    ------
    InputError
        If it is not an integer (a bool is not one), is less than `least`, or needs more than 63 bits.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    number = int(value)
    if number < least:
        raise InputError(f"{name} must be at least {least}, got {number}")
    if number >= 2**63:
        raise InputError(f"{name} must be below 2**63, got {number}")
    return number


def choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return the argument `name` if it is one of `choices`.

    Raises
    ------
    InputError
        If it is not; the message suggests the most similar choice.
    """
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(map(repr, choices))
    raise InputError(f"{name} must be one of {listed}, got {value!r}{suggestion(value, choices)}")


def suggestion(value: object, choices: Iterable[str], count: int = 1) -> str:
    """Return "; did you mean ...?" with up to `count` similar choices; empty if none is similar."""
    by_lower_case = {option.lower(): option for option in choices}
    near = get_close_matches(str(value).lower(), by_lower_case, n=count)
    return f"; did you mean {' or '.join(repr(by_lower_case[name]) for name in near)}?" if near else ""


def optional(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional dependency.

    Raises
    ------
    MissingExtraError
        If it is not installed (the message names the extra that installs it), or if its import fails.
    """
    library = module.split(".")[0]
    try:
        importlib.import_module(library)
        return importlib.import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == library:
            problem = f"which is not installed: pip install 'shapsketch[{extra}]'"
        else:
            problem = (
                f"which is installed, but cannot be imported: {type(error).__name__}: {error}; reinstall it, "
                "or install what it needs"
            )
        raise MissingExtraError(f"{purpose} needs {library}, {problem}") from error
