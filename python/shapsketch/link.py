"""Links: the scale on which a sketch predicts, and on which its explanations are additive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import choice
from shapsketch.errors import InputError, ModelError
from shapsketch.space import Values

Function: TypeAlias = Callable[[Values], npt.ArrayLike]
LinkLike: TypeAlias = str | tuple[Function, Function]
# Links that a caller can choose by name.
NAMES = ("identity", "log", "logit", "softplus")
# The link of a class of a converted model with several classes. The sketch predicts the raw score of the
# class. Its probability also depends on the raw scores of the other classes, so it has no response.
SOFTMAX = "softmax"


@dataclass(frozen=True)
class Link:
    """A pair of functions: from the model's scale to the scale of the sketch, and back.

    Attributes
    ----------
    name : str
        "identity", "log", "logit" or "softplus"; "custom" for a pair of functions; or "softmax".
    forward, inverse : callable
        The functions on arrays of float64. `inverse` is None for "softmax", and for a custom link read from a
        file.
    """

    name: str
    forward: Function
    inverse: Function | None

    def __reduce__(self) -> tuple[Callable[..., Link], tuple[Any, ...]]:
        # The functions of a named link are not pickled; those of a custom one are, by their own means.
        if self.name in NAMES:
            return parse, (self.name,)
        return Link, (self.name, self.forward, self.inverse)

    def to_link(self, values: Values, what: str) -> Values:
        """Return values on the scale of the sketch; `what` names the values in error messages.

        Raises
        ------
        ModelError
            If a value is outside the domain of the link; the message names the first such value.
        InputError
            If the sketch was loaded and has a custom link, which files do not store.
        """
        if self.name == "identity":
            return values
        self.check_functions()
        wrong = np.flatnonzero(self.outside(values))
        if len(wrong):
            raise ModelError(
                f"{what}: value {values[wrong[0]]} at index {wrong[0]} is outside the domain of the link "
                f"{self.name!r}, which takes numbers {self.domain} ({len(wrong)} of {len(values)} values are "
                "outside)"
            )
        return self._linked(values)

    def _linked(self, values: Values) -> Values:
        with np.errstate(all="ignore"):
            return _applied(self.forward, values, "forward")

    def outside(self, values: Values) -> npt.NDArray[np.bool_]:
        """Return which values, of any shape, are outside the domain: the result for them is not finite."""
        if self.name == "identity":
            return np.zeros(values.shape, dtype=bool)
        return ~np.isfinite(self._linked(values.ravel())).reshape(values.shape)

    @property
    def domain(self) -> str:
        """The domain, in words that follow "numbers" in a message."""
        domains = {"log": "above 0", "logit": "between 0 and 1", "softplus": "above 0"}
        return domains.get(self.name, "for which it is finite")

    def to_response(self, values: Values) -> Values:
        """Return values on the model's scale.

        Raises
        ------
        InputError
            If the sketch was loaded and has a custom link, which files do not store; or if it is the raw
            score of one of several classes.
        """
        if self.name == "identity":
            return values
        if self.name == SOFTMAX:
            raise InputError(
                "this sketch is the raw score of one of several classes; its probability also depends on the "
                "raw scores of the others: convert each class (output=0, 1, ...), and apply the softmax to "
                "their predictions"
            )
        self.check_functions()
        assert self.inverse is not None
        return _applied(self.inverse, values, "inverse")

    def check_functions(self) -> None:
        """Refuse a custom link whose functions are missing, because `load` did not receive them.

        Raises
        ------
        InputError
            If they are missing.
        """
        if self.inverse is None and self.name != SOFTMAX:
            raise InputError(
                "this sketch has a custom link, which its file does not store; "
                "pass it again: ss.load(path, link=(forward, inverse))"
            )


def _applied(function: Function, values: Values, which: str) -> Values:
    """Return the values of a function of the link."""
    result = np.asarray(function(values), dtype=np.float64)
    if result.shape != values.shape:
        raise InputError(
            f"the link's {which} function must keep the shape {values.shape}, but it returned {result.shape}"
        )
    return result


def _logit(values: Values) -> Values:
    result: Values = np.log(values) - np.log1p(-values)
    return result


def _expit(values: Values) -> Values:
    result: Values = 1.0 / (1.0 + np.exp(-values))
    return result


def _softplus_inverse(values: Values) -> Values:
    # log(exp(y) - 1), without overflow for large y and without cancellation for small y.
    result: Values = values + np.log(-np.expm1(-values))
    return result


def _softplus(values: Values) -> Values:
    result: Values = np.logaddexp(0.0, values)
    return result


def _identity(values: Values) -> Values:
    return values


def parse(link: LinkLike) -> Link:
    """Return the link with a name, or of a pair (forward, inverse) of functions on arrays.

    Raises
    ------
    InputError
        If the name is unknown, or the argument is not such a pair.
    """
    if isinstance(link, tuple):
        if len(link) != 2 or not all(callable(function) for function in link):
            raise InputError("a custom link must be a pair (forward, inverse) of functions on arrays")
        forward, inverse = link
        _check_round_trip(forward, inverse)
        return Link("custom", forward, inverse)
    functions: dict[str, tuple[Function, Function]] = {
        "identity": (_identity, _identity),
        "log": (np.log, np.exp),
        "logit": (_logit, _expit),
        "softplus": (_softplus_inverse, _softplus),
    }
    name = choice("link", link, NAMES)
    return Link(name, *functions[name])


def _check_round_trip(forward: Function, inverse: Function) -> None:
    """Refuse functions that are not inverse to each other at three numbers between 0 and 1."""
    probes = np.array([0.25, 0.5, 0.75])
    with np.errstate(all="ignore"):
        linked = _applied(forward, probes, "forward")
        if np.isfinite(linked).all() and not np.allclose(_applied(inverse, linked, "inverse"), probes):
            raise InputError(
                "the two functions of the link are not inverse to each other: "
                f"inverse(forward(x)) at x = 0.25, 0.5, 0.75 is {_applied(inverse, linked, 'inverse')}"
            )


IDENTITY = parse("identity")


def loaded(name: str) -> Link:
    """Return the link with a name read from a file, which does not store the functions of a custom link."""
    return parse(name) if name in NAMES else Link(name, _identity, None)
