"""Checks of arguments, imports of optional dependencies, and properties that are computed once."""

import importlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch.errors import InputError, MissingExtraError

# Characters of a value that a message shows, names of a list, and choices that are listed completely.
SHOWN, NAMED, CHOICES = 60, 5, 20
# Magnitudes of values that the core squares and sums without loss.
SMALLEST, LARGEST = 1e-120, 1e120
# Bytes of a gibibyte.
GIB = 1 << 30

T = TypeVar("T")


class lazy_property(cached_property[T]):  # noqa: N801 - used as a decorator
    """A `cached_property` without the lock that it has before Python 3.12.

    All instances share that lock. If a process forks while a thread computes the property of one, the child
    waits for ever when it computes the property of another.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        super().__init__(function)
        self.lock = nullcontext()


def integer(name: str, value: object, *, least: int) -> int:
    """Return the argument `name` as an int.

    Raises
    ------
    InputError
        If it is not an integer (a bool is not one), is less than `least`, or needs more than 63 bits.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} must be an integer, got {shown(value)}")
    number = int(value)
    if number < least:
        raise InputError(f"{name} must be at least {least}, got {number}")
    if number >= 2**63:
        raise InputError(f"{name} must be below 2**63, got {number}")
    return number


def number(name: str, value: object) -> float:
    """Return the argument `name` as a float.

    Raises
    ------
    InputError
        If it is not a real number (a bool is not one), or is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {shown(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise InputError(f"{name} must be a finite number, got {shown(value)}")
    return result


def boolean(name: str, value: object) -> bool:
    """Return the argument `name` as a bool.

    Raises
    ------
    InputError
        If it is neither a bool nor a NumPy bool.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def string(name: str, value: object) -> str:
    """Return the argument `name` if it is a string.

    Raises
    ------
    InputError
        If it is not, or has a character that is not valid in Unicode text (a lone surrogate).
    """
    if not isinstance(value, str):
        raise InputError(f"{name} must be a string, got {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} has the character {value[error.start]!r} at position {error.start}, which is half of a "
            "surrogate pair and not valid in text; remove it",
            position=error.start,
        ) from None
    return value


def file_path(value: object, name: str = "path") -> Path:
    """Return the argument `name`, a string or a path object, as a path.

    Raises
    ------
    InputError
        If it is something else, or no file can have this name.
    """
    return Path(system_text(name, value))


def path_text(name: str, value: object) -> str:
    """Return the argument `name`, a string or a path object, as a string that may be no name of a file.

    Raises
    ------
    InputError
        If it is something else.
    """
    plain = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(plain, str):
        raise InputError(f"{name} must be a string or a path, got {shown(value)}")
    return plain


def system_text(name: str, value: object) -> str:
    """Return the argument `name`, a string or a path object, as a string for the operating system.

    Raises
    ------
    InputError
        If it is something else, or has a character that file names and arguments of programs cannot have.
    """
    plain = path_text(name, value)
    try:
        encoded = os.fsencode(plain)
    except UnicodeEncodeError as error:
        raise InputError(f"{name} cannot be passed to the operating system: {error}") from None
    if b"\0" in encoded:
        raise InputError(
            f"{name} has a null character, which the operating system does not accept: {shown(value)}"
        )
    return plain


def items(name: str, value: Any, what: str) -> list[Any]:
    """Return the argument `name`, an iterable of `what`, as a list.

    Raises
    ------
    InputError
        If it cannot be iterated over, or is a single string or a mapping.
    """
    return list(iterator_of(name, value, what))


def iterator_of(name: str, value: Any, what: str) -> Iterator[Any]:
    """Return an iterator over the argument `name`, an iterable of `what`.

    An error that the iterator itself raises is one of the caller, and is not changed.

    Raises
    ------
    InputError
        If it cannot be iterated over, or is a single string, a mapping or a data frame.
    """
    if isinstance(value, (str, bytes, bytearray, Mapping)):
        raise InputError(f"{name} must be a list of {what}, got {shown(value)}; put it into a list")
    if is_frame(value):
        raise InputError(f"{name} must be a list of {what}, got a {type(value).__name__}; pass one column")
    try:
        return iter(value)
    except TypeError:
        raise InputError(f"{name} must be a list of {what}, got {shown(value)}") from None


def is_frame(value: object) -> bool:
    """Return whether a value is a data frame (pandas, polars, pyarrow), which iterates over columns."""
    return hasattr(type(value), "columns") and hasattr(type(value), "shape")


def refuse_frame(name: str, value: object) -> None:
    """Refuse a data frame as the argument `name`, sequences or codes.

    Raises
    ------
    InputError
    """
    if is_frame(value):
        raise InputError(
            f"{name}: got a {type(value).__name__}; pass one column, df['sequence'], or codes, df.to_numpy()"
        )


def refuse_set(name: str, value: object) -> None:
    """Refuse a set as the argument `name`, whose results have the order of its items.

    Raises
    ------
    InputError
    """
    if isinstance(value, (set, frozenset)):
        raise InputError(f"{name}: got a {type(value).__name__}, which has no order; pass a list")


def instance(name: str, value: object) -> None:
    """Refuse a class as the argument `name`, which takes an instance of it.

    Raises
    ------
    InputError
    """
    if isinstance(value, type):
        raise InputError(f"{name} is the class {value.__name__}; pass an instance, {value.__name__}()")


def mapping(name: str, value: object, what: str) -> dict[Any, Any]:
    """Return the argument `name`, a mapping of `what`, as a dict.

    Raises
    ------
    InputError
        If it is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must be a mapping of {what}, got {shown(value)}")
    return dict(value)


def array_of(name: str, value: object) -> npt.NDArray[Any]:
    """Return the argument `name` as an array of any dtype.

    Raises
    ------
    InputError
        If it cannot be converted, or entries are masked.
    """
    if isinstance(value, np.ma.MaskedArray):
        masked = np.argwhere(np.ma.getmaskarray(value))
        if len(masked):
            first = ", ".join(map(str, masked[0]))
            raise InputError(
                f"{name}: {len(masked)} of {value.size} entries are masked, the first at index {first}; "
                "remove them, or replace them with values"
            )
    try:
        return np.asarray(value)
    except Exception as error:
        raise InputError(f"{name} cannot be converted to an array: {error}") from error


def real_array(name: str, value: object) -> npt.NDArray[Any]:
    """Return the argument `name` as an array of real numbers, which may be integers or bools.

    Raises
    ------
    InputError
        If it is something else, or entries are masked.
    """
    array = array_of(name, value)
    if array.dtype.kind in "fiub":
        return array
    if array.ndim == 0:
        raise InputError(f"{name} must be real numbers, got {shown(value)}")
    wrong = not_real(value, array)
    if wrong is None:
        raise InputError(f"{name} must be real numbers, got dtype {array.dtype}; convert them to float")
    index, entry = wrong
    raise InputError(
        f"{name} must be real numbers, got dtype {array.dtype}: {shown_number(entry)} at index "
        f"{', '.join(map(str, index))}",
        index=index[0],
    )


def not_real(value: object, array: npt.NDArray[Any]) -> tuple[tuple[int, ...], object] | None:
    """Return the first entry that is not a real number, with its index; None if there is none.

    `array` is `value` as an array of one dimension or more. Of a list of mixed types, NumPy makes an array of
    strings, so the entries of the list itself are examined.
    """
    entries: Iterable[tuple[tuple[int, ...], object]] = np.ndenumerate(array)
    if isinstance(value, (list, tuple)) and array.ndim == 1:
        entries = (((index,), entry) for index, entry in enumerate(value))
    for index, entry in entries:
        if not isinstance(entry, (Real, np.bool_)):
            return index, entry
        try:
            float(entry)
        except OverflowError:
            return index, entry
    return None


def shown_number(value: object) -> str:
    """Return an entry that is not a real number of float64, as messages show it."""
    return f"{shown(value)}, which is too large for float64" if isinstance(value, Real) else shown(value)


def not_squarable(values: npt.NDArray[np.float64]) -> int | None:
    """Return the index of the largest magnitude if the core cannot square it; None if it can."""
    index = int(np.argmax(np.abs(values)))
    largest = abs(values[index])
    return None if largest == 0.0 or SMALLEST <= largest <= LARGEST else index


def check_memory(what: str, need: float, advice: str) -> None:
    """Refuse work that is predicted to take more memory than the machine can give; `need` is in bytes.

    Raises
    ------
    InputError
    """
    limit = _core.memory_limit()
    if need > limit:
        raise InputError(
            f"{what} would need {need / GIB:,.1f} GiB of memory, more than the {limit / GIB:,.1f} GiB that "
            f"are allowed on this machine; {advice}"
        )


def shown(value: object) -> str:
    """Return a value and its type as messages show them; long values are cut."""
    try:
        written = " ".join(repr(value).split())
    except Exception:
        written = "a value"
    written = written if len(written) <= SHOWN else f"{written[:SHOWN]}..."
    return f"{written} ({type(value).__name__})"


def listed(names: Iterable[object]) -> str:
    """Return names as messages list them: the first few, and how many there are."""
    written = [text if len(text) <= SHOWN else f"{text[:SHOWN]}..." for text in map(repr, names)]
    first = ", ".join(written[:NAMED])
    return first if len(written) <= NAMED else f"{first}, ... ({len(written)} in total)"


def choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return the argument `name` if it is one of `choices`.

    Raises
    ------
    InputError
        If it is not; the message suggests the most similar choice.
    """
    if isinstance(value, str) and value in choices:
        return value
    # Choices of the interface are few; names of a user's own may be many.
    all_choices = ", ".join(map(repr, choices)) if len(choices) <= CHOICES else listed(choices)
    hint = suggestion(value, choices) if isinstance(value, str) else ""
    got = repr(value) if isinstance(value, str) else shown(value)
    raise InputError(f"{name} must be one of {all_choices}, got {got}{hint}")


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
