"""Links: the scale on which a sketch predicts, and on which its explanations are additive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import choice, real_array, shown
from shapsketch.errors import InputError, ModelError
from shapsketch.space import Values

Function: TypeAlias = Callable[[Values], npt.ArrayLike]
LinkLike: TypeAlias = str | tuple[Function, Function]
# Links that a caller can choose by name.
NAMES = ("identity", "log", "logit", "softplus")
# A link that is fitted together with the sketch: a monotone curve from the latent scale of the sketch to the
# values.
MONOTONE = "monotone"
# What a fit takes by name.
CHOICES = (*NAMES, MONOTONE)
# The link of a class of a converted model with several classes. The sketch predicts the raw score of the
# class. Its probability also depends on the raw scores of the other classes, so it has no response.
SOFTMAX = "softmax"
# Largest difference between a value x and inverse(forward(x)) of a custom link, relative to |x| and to the
# largest |x|.
ROUND_TRIP = 1e-6


@dataclass(frozen=True)
class Link:
    """A pair of functions: from the model's scale to the scale of the sketch, and back.

    Attributes
    ----------
    name : str
        "identity", "log", "logit" or "softplus"; "custom" for a pair of functions; "softmax"; or "monotone".
    forward, inverse : callable
        The functions on arrays of float64. `inverse` is None for "softmax", and for a custom link read from a
        file. Those of "monotone" return the values until its curve is fitted.
    """

    name: str
    forward: Function
    inverse: Function | None

    def __reduce__(self) -> tuple[Callable[..., Link], tuple[Any, ...]]:
        # The functions of a named link are not pickled; curves and those of a custom one are, by their own
        # means.
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
            If the sketch was loaded and has a custom link, which files do not store; or if a function of a
            custom link fails, or does not return real numbers.
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
        return _applied(self.forward, values, "forward")

    def outside(self, values: Values) -> npt.NDArray[np.bool_]:
        """Return which values, of any shape, are outside the domain.

        For them the result is not finite, or the inverse function of a custom link does not return the value.
        """
        if self.name == "identity":
            return np.zeros(values.shape, dtype=bool)
        plain = values.ravel()
        linked = self._linked(plain)
        wrong = ~np.isfinite(linked)
        # The ends of a curve are the values of all numbers beyond them.
        if self.name not in CHOICES and self.inverse is not None:
            back = np.full(len(plain), np.nan)
            back[~wrong] = _applied(self.inverse, linked[~wrong], "inverse")
            wrong |= ~_equal(back, plain)
        return wrong.reshape(values.shape)

    @property
    def domain(self) -> str:
        """The domain, in words that follow "numbers" in a message."""
        domains = {"log": "above 0", "logit": "between 0 and 1", "softplus": "above 0"}
        return domains.get(self.name, "x for which it is finite and inverse(forward(x)) is x")

    def to_response(self, values: Values, *, allow_nan: bool = False) -> Values:
        """Return values on the model's scale.

        Raises
        ------
        InputError
            If the sketch was loaded and has a custom link, which files do not store; if it is the raw score
            of one of several classes; or if a function of a custom link fails, does not return real numbers,
            or returns NaN, which `allow_nan` allows.
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
        response = _applied(self.inverse, values, "inverse")
        undefined = np.flatnonzero(np.isnan(response))
        if len(undefined) and not allow_nan:
            index = int(undefined[0])
            raise InputError(
                f"the link's inverse function returned nan for the predicted score {values[index]} at index "
                f"{index} ({len(undefined)} of {len(values)} scores); define it for all numbers",
                index=index,
            )
        return response

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


@dataclass(frozen=True)
class MonotoneCurve:
    """A curve that ascends, linear between its points: from the latent scale to the values, and back.

    Attributes
    ----------
    knots, values : numpy.ndarray of float64, shape (K,)
        Points on the latent scale and on the scale of the values, ascending.
    """

    knots: Values
    values: Values

    def to_values(self, latent: Values) -> Values:
        """Return values (N,); beyond the ends, the curve goes on as in its first and its last interval."""
        left = np.searchsorted(self.knots, latent, side="right") - 1
        left = left.clip(0, len(self.knots) - 2)
        slopes = np.diff(self.values) / np.diff(self.knots)
        return np.asarray(self.values[left] + slopes[left] * (latent - self.knots[left]))

    def to_latent(self, values: Values) -> Values:
        """Return latent values (N,); those beyond the ends of the curve are its ends.

        The curve is almost flat where it saturates, so noise would otherwise give latent values without
        bounds.
        """
        return np.asarray(np.interp(values, self.values, self.knots))

    def link(self) -> Link:
        """Return the link with this curve."""
        return Link(MONOTONE, self.to_latent, self.to_values)


def _applied(function: Function, values: Values, which: str) -> Values:
    """Return the values of a function of the link.

    Raises
    ------
    InputError
        If it fails, or does not return one real number for each value.
    """
    try:
        with np.errstate(all="ignore"):
            returned = function(values)
    except Exception as error:
        raise InputError(
            f"the link's {which} function raised {type(error).__name__}: {error}; it received {len(values)} "
            "numbers as an array"
        ) from error
    numbers = real_array(f"the results of the link's {which} function", returned)
    result: Values = numbers.astype(np.float64)
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

    "monotone" has no curve yet: its functions return the values.

    Raises
    ------
    InputError
        If the name is unknown, the argument is not such a pair, or the functions are not inverse to each
        other.
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
        MONOTONE: (_identity, _identity),
    }
    if not isinstance(link, str):
        example = ", such as (numpy.log, numpy.exp)" if callable(link) else ""
        raise InputError(
            f"link must be one of {', '.join(map(repr, CHOICES))}, or a pair (forward, inverse) of functions "
            f"on arrays{example}; got {shown(link)}"
        )
    name = choice("link", link, CHOICES)
    return Link(name, *functions[name])


def _check_round_trip(forward: Function, inverse: Function) -> None:
    """Refuse functions that are not inverse to each other at three numbers between 0 and 1."""
    probes = np.array([0.25, 0.5, 0.75])
    linked = _applied(forward, probes, "forward")
    if not np.isfinite(linked).all():
        # The scores may be outside this range; `Link.outside` checks them.
        return
    back = _applied(inverse, linked, "inverse")
    if not _equal(back, probes).all():
        raise InputError(
            "the two functions of the link are not inverse to each other: "
            f"inverse(forward(x)) at x = 0.25, 0.5, 0.75 is {back}"
        )


def _equal(back: Values, values: Values) -> npt.NDArray[np.bool_]:
    """Return which values the functions of a link give back."""
    largest = float(np.abs(values).max(initial=0.0))
    return np.isclose(back, values, rtol=ROUND_TRIP, atol=ROUND_TRIP * largest)


IDENTITY = parse("identity")


def loaded(name: str) -> Link:
    """Return the link with a name read from a file, which does not store the functions of a custom link."""
    return parse(name) if name in NAMES else Link(name, _identity, None)
