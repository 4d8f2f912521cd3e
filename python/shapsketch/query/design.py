"""Query designs: which sequences to ask the model for, and its answers to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import choice, integer
from shapsketch.errors import InputError
from shapsketch.space import Codes, SequenceSpace, space_of


class QueryDesign:
    """The queries of a sketch, in blocks ``x = M l + d (mod q)``.

    A design has `groups` subsampling groups, each with a matrix ``M`` (n, b) and delays ``d``; every
    pair is a block of ``q ** b`` queries (Erginbas et al., arXiv 2301.06200, section 3). Sequences
    that several blocks share are asked once. The same arguments give the same queries on every
    machine. Nothing but matrices and delays is held in memory.

    Parameters
    ----------
    space : SequenceSpace
    b : int
        Subsampling dimension, 1 to the sequence length.
    groups : int
        Number of groups ``C``; peeling wants at least 3.
    subsampling : {"random", "simple"}
        Random injective matrices, or the identity on consecutive positions.
    delays : {"nso", "identity", "random", "zero"}
        ``nso``: ``repeats`` random offsets, each with ``n`` unit steps from it, against noise;
        ``identity``: the origin and its unit steps; ``random``: ``repeats`` random delays (not for
        peeling); ``zero``: the origin alone.
    repeats : int
        Number of random offsets or delays.
    random_state : int
        Seed of every random choice, at least 0.

    Examples
    --------
    >>> import shapsketch as ss
    >>> design = ss.QueryDesign(ss.SequenceSpace(ss.DNA, length=10), b=2, groups=3)
    >>> len(design), design.queries().shape
    (528, (528, 10))
    """

    def __init__(
        self,
        space: SequenceSpace,
        *,
        b: int,
        groups: int = 3,
        subsampling: Literal["random", "simple"] = "random",
        delays: Literal["nso", "identity", "random", "zero"] = "nso",
        repeats: int = 1,
        random_state: int = 0,
    ) -> None:
        space_of(space)
        self.space = space
        self._core = _core.Design(
            space._core,
            b=integer("b", b, least=1),
            groups=integer("groups", groups, least=1),
            subsampling=choice("subsampling", subsampling, ("random", "simple")),
            delays=choice("delays", delays, ("nso", "identity", "random", "zero")),
            repeats=integer("repeats", repeats, least=1),
            seed=integer("random_state", random_state, least=0),
        )

    @property
    def matrices(self) -> list[Codes]:
        """Subsampling matrices, one (n, b) array for each group."""
        return self._core.matrices()

    @property
    def delays(self) -> list[Codes]:
        """Delays, one (P, n) array for each group."""
        return self._core.delays()

    def queries(self) -> Codes:
        """Return all queries as codes, uint8 (len(self), n)."""
        return self._core.queries(0, len(self))

    def batches(self, size: int = 65_536) -> Iterator[Codes]:
        """Yield the queries in order, at most `size` at a time."""
        size = integer("size", size, least=1)
        for start in range(0, len(self), size):
            yield self._core.queries(start, start + size)

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        return f"QueryDesign({self.space!r}, {len(self)} queries)"


class Observations:
    """A design and the model's value for each of its queries.

    Parameters
    ----------
    design : QueryDesign
    values : array of float, shape (len(design),)
        One finite number for each query, in the order of ``design.queries()``.

    Raises
    ------
    InputError
        If the shape is another, or a value is not finite (says which).
    """

    def __init__(self, design: QueryDesign, values: npt.ArrayLike) -> None:
        if not isinstance(design, QueryDesign):
            raise InputError(f"design must be a QueryDesign, got {type(design).__name__}")
        array: npt.NDArray[Any] = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise InputError(f"values must be real numbers, got dtype {array.dtype}")
        if array.shape != (len(design),):
            raise InputError(
                f"values must have shape ({len(design)},), one for each query, got {array.shape}"
            )
        self.design = design
        self.values: npt.NDArray[np.float64] = array.astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(self.values))
        if len(wrong):
            raise InputError(
                f"value {self.values[wrong[0]]} at index {wrong[0]} is not finite ({len(wrong)} such values)"
            )
