"""Exceptions: one base class, and a subclass for each kind that a caller may want to catch."""

from __future__ import annotations


class ShapsketchError(Exception):
    """Base class of every error that shapsketch raises on purpose.

    Attributes
    ----------
    message : str
        What is wrong, without the advice.
    advice : str
        What to do, in terms of the Python interface; empty if the message says it.
    option : str or None
        The parameter that the advice is about.
    index : int or None
        Which sequence, value or query is wrong, counted from 0.
    position : int or None
        Which position of that sequence is wrong, counted from 0.
    detail : str
        The message without the location, for callers that know a better one, such as a line of a file.
    """

    def __init__(
        self,
        message: str = "",
        *,
        advice: str = "",
        option: str | None = None,
        index: int | None = None,
        position: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.message, self.advice, self.option = message, advice, option
        self.index, self.position = index, position
        self.detail = message if detail is None else detail


class InputError(ShapsketchError, ValueError):
    """An argument, a sequence or a value is wrong; the message says which one and where."""


class BudgetError(InputError):
    """The budget is too small; the message says how much is needed."""


class NotFittedError(InputError, AttributeError):
    """An estimator has not been fitted yet; call its ``fit`` first."""


class FileError(ShapsketchError, OSError):
    """A file cannot be read or written, or is not a sketch."""


class ModelError(ShapsketchError, RuntimeError):
    """The model failed, or did not return one finite number for each sequence."""


class MissingExtraError(ShapsketchError, ImportError):
    """An optional dependency is not installed, and the message names the extra; or its import fails."""
