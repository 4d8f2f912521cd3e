"""Libraries: the substitutions that mutants may combine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import items, string
from shapsketch.errors import InputError
from shapsketch.space import SequenceSpace, index_of


def substitutions_of(
    library: Mapping[int, str] | Iterable[int], space: SequenceSpace
) -> npt.NDArray[np.bool_]:
    """Return the symbols (n, q) of a library: a mapping of positions to symbols, or a list of positions.

    Positions count from the start of the space. A position of a list has all its symbols.

    Raises
    ------
    InputError
        If the library is something else, or has a position or a symbol that does not exist.
    """
    symbols: Iterable[tuple[Any, Any]]
    if isinstance(library, Mapping):
        symbols = library.items()
    else:
        symbols = [(number, space.alphabet) for number in items("library", library, "positions")]
    allowed = np.zeros((space.n, space.q), dtype=bool)
    for number, letters in symbols:
        position = index_of("library", number, space)
        for symbol in string(f"library[{number}]", letters):
            if symbol not in space.alphabet:
                raise InputError(f"library[{number}]: {symbol!r} is not in the alphabet")
            allowed[position, space.alphabet.index(symbol)] = True
    return allowed & space.allowed
