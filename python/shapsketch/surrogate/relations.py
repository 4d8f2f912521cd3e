"""Relations between positions that a fit may use: stems, repeats, and relations of the user."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import array_of, boolean, choice, items, string
from shapsketch.errors import InputError
from shapsketch.space import SequenceSpace

# The relations that have names: the name of the relation in the core, and whether partners descend.
NAMED: dict[str, tuple[str, bool]] = {
    "stems": ("complement", True),
    "stems-wobble": ("wobble", True),
    "stems-strong": ("strong", True),
    "repeats": ("equal", False),
}


class Relation:
    """A symmetric relation between symbols, for runs of related positions.

    Parameters
    ----------
    name : str
        1 to 64 characters, for descriptions of runs.
    matrix : array of bool, shape (q, q)
        Whether two symbols are related, in the order of the alphabet; symmetric.
    reversed : bool
        Whether runs relate `i + k` to `j - k`, as in a stem; by default to `j + k`, as in a repeat.

    Raises
    ------
    InputError
        If the matrix is not square or does not contain booleans. That it is symmetric and of the size of the
        alphabet is checked when a fit uses it.

    Examples
    --------
    >>> import numpy as np, shapsketch as ss
    >>> charge = np.zeros((20, 20), dtype=bool)
    >>> positive, negative = [ss.PROTEIN.index(a) for a in "KR"], [ss.PROTEIN.index(a) for a in "DE"]
    >>> charge[np.ix_(positive, negative)] = charge[np.ix_(negative, positive)] = True
    >>> ss.Relation("salt bridge", charge)
    Relation('salt bridge', <20 x 20 matrix>, reversed=False)
    """

    def __init__(
        self,
        name: str,
        matrix: npt.ArrayLike,
        *,
        reversed: bool = False,  # noqa: A002 - public
    ) -> None:
        string("name", name)
        values: npt.NDArray[Any] = array_of("matrix", matrix)
        if values.ndim != 2 or values.shape[0] != values.shape[1]:
            raise InputError(
                f"the matrix of the relation {name!r} must have shape (q, q), got {values.shape}"
            )
        if values.dtype.kind not in "biu" or not np.isin(values, (0, 1)).all():
            raise InputError(f"the matrix of the relation {name!r} must contain booleans, got {values.dtype}")
        self.name = name
        self.matrix: npt.NDArray[np.bool_] = values.astype(np.bool_)
        self.reversed = boolean("reversed", reversed)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Relation)
            and (self.name, self.reversed) == (other.name, other.reversed)
            and np.array_equal(self.matrix, other.matrix)
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Relation, reversed=self.reversed), (self.name, self.matrix)

    def __repr__(self) -> str:
        q = len(self.matrix)
        return f"Relation({self.name!r}, <{q} x {q} matrix>, reversed={self.reversed})"


# What users pass as `relations`.
RelationLike = Literal["stems", "stems-wobble", "stems-strong", "repeats"] | Relation


def core_relations(
    relations: Iterable[RelationLike] | Literal["auto"], space: SequenceSpace
) -> list[tuple[_core.Relation, bool]] | None:
    """Return relations for a space, each with whether partners descend; None for "auto".

    Raises
    ------
    InputError
        If one is unknown or does not fit the alphabet.
    """
    if isinstance(relations, str) and relations == "auto":
        return None
    listed = []
    for relation in items("relations", relations, "relations"):
        if isinstance(relation, Relation):
            listed.append((_core_relation(relation, space), relation.reversed))
        else:
            name, descends = NAMED[choice("relations", relation, tuple(NAMED))]
            listed.append((_core.Relation.named(space._core, name), descends))
    return listed


def _core_relation(relation: Relation, space: SequenceSpace) -> _core.Relation:
    """Return a relation for a space.

    Raises
    ------
    InputError
        If it is not symmetric, or has another size than the alphabet.
    """
    if len(relation.matrix) != space.q:
        raise InputError(
            f"relations: the matrix of {relation.name!r} must have shape ({space.q}, {space.q}) for the "
            f"alphabet {space.alphabet!r}, got {relation.matrix.shape}",
            option="relations",
        )
    rows = [sum(1 << int(b) for b in np.flatnonzero(row)) for row in relation.matrix]
    return _core.Relation(space._core, relation.name, rows)
