"""Results for other libraries: shap, shapiq, pandas and logomaker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shapsketch._validate import integer, optional, shown
from shapsketch.errors import InputError
from shapsketch.explain.table import Support
from shapsketch.space import Codes, Sequences, Values, numbered

if TYPE_CHECKING:
    from shapsketch.explain.results import Explanation

# The extra that installs shap, shapiq, pandas and pyarrow.
EXTRA = "interop"
# Indices whose interaction of no position is the base value. The others have another one, which is not
# computed.
BASED = ("SV", "k-SII", "STII", "FSII", "Moebius", "Co-Moebius")


def row_of(row: object, count: int, what: str) -> int:
    """Return the number of one sequence of `count`; None is the only one.

    Raises
    ------
    InputError
        If there are several and `row` is None, or there is no such sequence.
    """
    if row is None:
        if count != 1:
            raise InputError(f"{what} is of one sequence, and these are {count}", advice="choose one by row=")
        return 0
    number = integer("row", row, least=-count)
    if number >= count:
        raise InputError(f"row must be below {count}, the number of sequences, got {number}")
    return number % count


def rows_of(index: object, count: int) -> slice:
    """Return the rows that ``result[index]`` selects of `count`: one by its number, or a slice.

    Raises
    ------
    InputError
        If there is no such row, or `index` is something else.
    """
    if isinstance(index, slice):
        try:
            return slice(*index.indices(count))
        except TypeError:
            raise InputError(f"a slice of sequences has integers, got {shown(index)}") from None
    row = integer("the index of a sequence", index, least=-count)
    if row >= count:
        raise InputError(f"there is no sequence {row}, the last one is {count - 1}")
    return slice(row % count, row % count + 1)


class LikeShap(ABC):
    """The interface of shap's explainers, for code that calls one."""

    @abstractmethod
    def __call__(self, sequences: Sequences) -> Explanation:
        """Return Shapley values of sequences."""

    @property
    @abstractmethod
    def base_value(self) -> float:
        """Mean over the background of what Shapley values explain."""

    @property
    def expected_value(self) -> float:
        """The :attr:`base_value`, by the name that it has in shap."""
        return self.base_value

    def shap_values(self, sequences: Sequences) -> Values:
        """Return the Shapley values (B, n) of sequences, ``explainer(sequences).values``, as in shap.

        Raises
        ------
        InputError
            If a sequence does not belong to the space.
        """
        return self(sequences).values


def to_shap(explanation: Explanation, alphabet: str) -> Any:
    """Return a ``shap.Explanation`` with the letters of the sequences as data."""
    shap = optional("shap", EXTRA, "an explanation for shap")
    letters = letters_of(explanation.data, alphabet)
    numbers = numbered(range(letters.shape[1]), explanation.start)
    if len(letters) == 1:
        names = [f"{letter}{i}" for letter, i in zip(letters[0], numbers, strict=True)]
    else:
        names = [str(i) for i in numbers]
    return shap.Explanation(
        values=explanation.values.copy(),
        base_values=explanation.base_values.copy(),
        data=letters,
        display_data=letters,
        feature_names=names,
    )


def letters_of(codes: Codes, alphabet: str) -> npt.NDArray[np.object_]:
    """Return the symbols of codes as an array of strings with one character."""
    letters: npt.NDArray[np.object_] = np.array(list(alphabet), dtype=object)[codes]
    return letters


def to_shapiq(
    values: Values, supports: list[Support], *, index: str, orders: range, n: int, base: float, sampled: bool
) -> Any:
    """Return the interactions of one sequence, `values` (n_supports,), as ``shapiq.InteractionValues``."""
    shapiq = optional("shapiq", EXTRA, "interactions for shapiq")
    # shapiq has Faith-Shap of full order by its other name only.
    name = "FSII" if index == "Faith-Shap" else index
    with_base = orders[0] == 1 and name in BASED
    supports, values = ([(), *supports], np.append(base, values)) if with_base else (supports, values)
    result = shapiq.InteractionValues(
        values,
        index=name,
        max_order=1 if name in ("SV", "BV") else orders[-1],
        n_players=n,
        min_order=0 if with_base else orders[0],
        interaction_lookup={support: i for i, support in enumerate(supports)},
        estimated=sampled,
        baseline_value=base,
    )
    # shapiq calls every index of order 1 a Shapley or Banzhaf value, which those of k-SII are not if the
    # index was computed up to a higher order.
    result.index = name
    return result


def logo_matrix(values: Values, alphabet: str, start: int) -> Any:
    """Return values (n, q) as a ``pandas.DataFrame`` in the form of a logomaker matrix."""
    pandas = optional("pandas", EXTRA, "a matrix for logomaker")
    numbers = pandas.RangeIndex(start, start + len(values), name="pos")
    return pandas.DataFrame(values, columns=list(alphabet), index=numbers)
