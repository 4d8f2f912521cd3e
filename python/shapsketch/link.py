"""Links: the scale on which a sketch lives, and its explanations add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import choice
from shapsketch.errors import InputError, ModelError
from shapsketch.space import Values

Function: TypeAlias = Callable[[Values], npt.ArrayLike]
LinkLike: TypeAlias = str | tuple[Function, Function]
NAMES = ("identity", "log", "logit")


@dataclass(frozen=True)
class Link:
    """A pair of functions: from the model's scale to that of the sketch, and back."""

    name: str
    forward: Function
    inverse: Function | None

    def to_link(self, values: Values, what: str) -> Values:
        """Return values on the scale of the sketch; `what` says whose values they are.

        Raises
        ------
        ModelError
            If a value is outside the link's domain: says which.
        InputError
            If the sketch was loaded and its link is a pair of functions, which no file holds.
        """
        if self.name == "identity":
            return values
        self.check_functions()
        wrong = np.flatnonzero(self.outside(values))
        if len(wrong):
            raise ModelError(
                f"{what}: value {values[wrong[0]]} at index {wrong[0]} is outside the domain of the link "
                f"{self.name!r}, which takes numbers {self.domain} ({len(wrong)} of {len(values)} values are "
                "not)"
            )
        return self._linked(values)

    def _linked(self, values: Values) -> Values:
        with np.errstate(all="ignore"):
            return _applied(self.forward, values, "forward")

    def outside(self, values: Values) -> npt.NDArray[np.bool_]:
        """Return which values, of any shape, are outside the link's domain."""
        if self.name == "identity":
            return np.zeros(values.shape, dtype=bool)
        # Where the functions are infinite or no number.
        return ~np.isfinite(self._linked(values.ravel())).reshape(values.shape)

    @property
    def domain(self) -> str:
        """What numbers it takes, in words."""
        return {"log": "above 0", "logit": "between 0 and 1"}.get(self.name, "in its domain")

    def to_response(self, values: Values) -> Values:
        """Return values on the model's own scale.

        Raises
        ------
        InputError
            If the sketch was loaded and its link is a pair of functions, which no file holds.
        """
        if self.name == "identity":
            return values
        self.check_functions()
        assert self.inverse is not None
        return _applied(self.inverse, values, "inverse")

    def check_functions(self) -> None:
        """Refuse a custom link that was not passed to `load` again.

        Raises
        ------
        InputError
        """
        if self.inverse is None:
            raise InputError(
                "this sketch has a custom link, which its file does not hold; "
                "pass it again: ss.load(path, link=(forward, inverse))"
            )


def _applied(function: Function, values: Values, which: str) -> Values:
    result = np.asarray(function(values), dtype=np.float64)
    if result.shape != values.shape:
        raise InputError(
            f"the link's {which} function must keep the shape {values.shape}, it returned {result.shape}"
        )
    return result


def _logit(values: Values) -> Values:
    result: Values = np.log(values) - np.log1p(-values)
    return result


def _expit(values: Values) -> Values:
    result: Values = 1.0 / (1.0 + np.exp(-values))
    return result


def _same(values: Values) -> Values:
    return values


def parse(link: LinkLike) -> Link:
    """Return the link of a name, or of a pair (forward, inverse) of functions on arrays."""
    if isinstance(link, tuple):
        if len(link) != 2 or not all(callable(function) for function in link):
            raise InputError("a custom link is a pair (forward, inverse) of functions on arrays")
        forward, inverse = link
        _round_trip(forward, inverse)
        return Link("custom", forward, inverse)
    functions: dict[str, tuple[Function, Function]] = {
        "identity": (_same, _same),
        "log": (np.log, np.exp),
        "logit": (_logit, _expit),
    }
    name = choice("link", link, NAMES)
    return Link(name, *functions[name])


def _round_trip(forward: Function, inverse: Function) -> None:
    """Refuse functions that are plainly not inverse to each other."""
    probes = np.array([0.25, 0.5, 0.75])
    with np.errstate(all="ignore"):
        linked = _applied(forward, probes, "forward")
        if np.isfinite(linked).all() and not np.allclose(_applied(inverse, linked, "inverse"), probes):
            raise InputError(
                "the two functions of the link are not inverse to each other: "
                f"inverse(forward(0.25)) is {_applied(inverse, linked, 'inverse')[0]}"
            )


IDENTITY = parse("identity")


def loaded(name: str) -> Link:
    """Return the link of a name in a file; functions of one's own are not in there."""
    return parse(name) if name in NAMES else Link(name, _same, None)
