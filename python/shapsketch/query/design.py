"""Query designs, and the values of a model for their queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import check_memory, choice, integer, real_array
from shapsketch.errors import InputError
from shapsketch.space import Codes, SequenceSpace, space_of

# Bytes of queries that are generated at a time.
PART_BYTES = 1 << 26
# Families of delays.
Delays: TypeAlias = Literal["nso", "coded", "identity", "random", "zero"]
DELAYS = ("nso", "coded", "identity", "random", "zero")
# Highest order of coded delays, unless `max_order` is set.
CODED_ORDER = 5


def gathered(read: Callable[[int, int], Codes], start: int, stop: int, n: int) -> Codes:
    """Return queries `start` to `stop`, read in parts, between which the work can be interrupted.

    Raises
    ------
    InputError
        If they exceed the memory.
    """
    check_memory(f"{stop - start:,} queries", (stop - start) * n, "use batches() with a smaller size")
    size = max(1, PART_BYTES // n)
    if stop - start <= size:
        return read(start, stop)
    queries = np.empty((stop - start, n), dtype=np.uint8)
    for first in range(start, stop, size):
        last = min(first + size, stop)
        queries[first - start : last - start] = read(first, last)
    return queries


class QueryDesign:
    """The queries of a sketch, in blocks ``x = M l + d (mod q)``.

    A design has `groups` subsampling groups, each with a matrix ``M`` (n, b) and delays ``d``. Each pair of a
    matrix and a delay gives a block of ``q ** b`` queries (Erginbas et al., arXiv 2301.06200, section 3). A
    sequence that is in several blocks is one query. The same arguments give the same queries on every
    machine. Only matrices, delays and the list of repeated queries are kept in memory. The matrices tell
    which sequences are in several blocks. Only if there are many, the constructor goes through all queries,
    with 16 bytes of memory for each.

    If positions have letters of their own, a sequence is the numbers of its letters among those of their
    positions. The positions with ``s`` letters have a matrix over ``Z_s`` of their own with ``b_s`` columns,
    and a block has ``prod_s s ** b_s`` queries (compare GFast: arXiv 2501.12365). The ``b_s`` may differ by
    group; over the groups every ``s`` gets columns in proportion to its positions. Positions with one letter
    are constants.

    Parameters
    ----------
    space : SequenceSpace
    b : int
        Subsampling dimension, 1 to the number of positions with several letters. If positions have letters of
        their own, blocks have about ``g ** b`` queries, where ``g`` is the geometric mean of their numbers of
        letters, without those that are 1.
    groups : int
        Number of groups ``C``; use at least 3 for peeling.
    subsampling : {"random", "simple"}
        Random injective matrices, or the identity on consecutive positions.
    delays : {"nso", "coded", "identity", "random", "zero"}
        ``nso``: `repeats` random offsets, each with ``n`` unit steps from it, which is robust to noise;
        ``coded``: `repeats` random offsets, each with the parity checks of a code as steps, which are far
        fewer, but find frequencies of order up to `max_order` only; ``identity``: the origin and its ``n``
        unit steps; ``random``: `repeats` random delays, not for peeling; ``zero``: the origin only.
    repeats : int
        Number of random offsets or delays.
    max_order : int, optional
        Highest order ``t`` of the frequencies that ``coded`` delays find, below ``n / 2``; 5 by default. For
        the primes ``p`` of `q` and ``p ** m >= n`` there are ``1 + m (2t - 1 - (2t - 1) // p)`` checks, and
        a few random ones, with which less than one in 16 frequencies of higher order is read as another,
        before its bin is compared. The codes are alternant codes (lengthened BCH, Reed-Solomon), decoded by
        Berlekamp and Massey's algorithm; a composite `q` is decoded digit by digit for each prime power. They
        need the same letters at every position.
    random_state : int
        Seed of all random choices, at least 0.

    Raises
    ------
    InputError
        If a parameter is out of range, there is no code for the order and the length, or the design has too
        many queries.

    Examples
    --------
    >>> import shapsketch as ss
    >>> design = ss.QueryDesign(ss.SequenceSpace(ss.DNA, length=10), b=2, groups=3)
    >>> len(design), design.queries().shape
    (528, (528, 10))
    >>> space = ss.SequenceSpace("01", length=1000)
    >>> design = ss.QueryDesign(space, b=5, groups=3, delays="coded", max_order=3)
    >>> len(design), design.delays[0].shape
    (3456, (36, 1000))
    >>> library = ss.SequenceSpace(["AC", "GT", "AC", "DEK", "DER", "HKR"])
    >>> ss.QueryDesign(library, b=4, groups=3).column_sizes
    [[2, 2, 3, 3], [2, 2, 3, 3], [2, 2, 3, 3]]
    """

    def __init__(
        self,
        space: SequenceSpace,
        *,
        b: int,
        groups: int = 3,
        subsampling: Literal["random", "simple"] = "random",
        delays: Delays = "nso",
        repeats: int = 1,
        max_order: int | None = None,
        random_state: int = 0,
    ) -> None:
        space_of(space)
        self.space = space
        self._options: dict[str, Any] = {
            "b": integer("b", b, least=1),
            "groups": integer("groups", groups, least=1),
            "subsampling": choice("subsampling", subsampling, ("random", "simple")),
            "delays": choice("delays", delays, DELAYS),
            "repeats": integer("repeats", repeats, least=1),
            "max_order": CODED_ORDER if max_order is None else integer("max_order", max_order, least=1),
        }
        if max_order is not None and delays != "coded":
            raise InputError(f"max_order is for delays='coded', not for delays={delays!r}; remove it")
        self._seed = integer("random_state", random_state, least=0)
        self._core = _core.Design(space._core, **self._options, seed=self._seed)

    @property
    def matrices(self) -> list[Codes]:
        """Subsampling matrices, one uint8 array (n, b) for each group.

        If positions have letters of their own, the number of columns differs by group; see `column_sizes`.
        """
        return self._core.matrices()

    @property
    def column_sizes(self) -> list[list[int]]:
        """For each group, the number of letters modulo which each column of its matrix is.

        They are all `q` if positions have the same letters. Otherwise a column with the size ``s`` is 0 at
        the positions that do not have ``s`` letters.
        """
        return self._core.column_sizes()

    @property
    def delays(self) -> list[Codes]:
        """Delays, one uint8 array (P, n) for each group; numbers of letters, as for the matrices."""
        return self._core.delays()

    def queries(self) -> Codes:
        """Return all queries as codes, uint8 (len(self), n).

        Raises
        ------
        InputError
            If they exceed the memory; use `batches` then.
        """
        return gathered(self._core.queries, 0, len(self), self.space.n)

    def batches(self, size: int = 65_536) -> Iterator[Codes]:
        """Yield the queries in order, as codes (B, n) with B at most `size`."""
        size = integer("size", size, least=1)
        for start in range(0, len(self), size):
            yield gathered(self._core.queries, start, min(start + size, len(self)), self.space.n)

    def __len__(self) -> int:
        return len(self._core)

    def __reduce__(self) -> tuple[partial[QueryDesign], tuple[SequenceSpace]]:
        options = dict(self._options)
        if options["delays"] != "coded":
            del options["max_order"]
        return partial(QueryDesign, **options, random_state=self._seed), (self.space,)

    def __repr__(self) -> str:
        return f"QueryDesign({self.space!r}, {len(self)} queries)"


class Observations:
    """A design, and the model's value for each of its queries.

    Parameters
    ----------
    design : QueryDesign
    values : array of float, shape (len(design),)
        One finite number for each query, in the order of ``design.queries()``.

    Raises
    ------
    InputError
        If the shape is wrong, or a value is not finite; the message names the value and its index.
    """

    def __init__(self, design: QueryDesign, values: npt.ArrayLike) -> None:
        if not isinstance(design, QueryDesign):
            raise InputError(f"design must be a QueryDesign, got {type(design).__name__}")
        array: npt.NDArray[Any] = real_array("values", values)
        if array.shape != (len(design),):
            raise InputError(
                f"values must have shape ({len(design)},), one for each query, got {array.shape}"
            )
        self.design = design
        self.values: npt.NDArray[np.float64] = array.astype(np.float64)
        infinite = np.flatnonzero(~np.isfinite(self.values))
        if len(infinite):
            index = int(infinite[0])
            raise InputError(
                f"value {self.values[index]} at index {index} is not finite "
                f"({len(infinite)} of {len(self.values)} values are not)",
                index=index,
            )
