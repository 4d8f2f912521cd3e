"""Exceptions: one base class, and a subclass for each kind that a caller may want to catch."""


class ShapsketchError(Exception):
    """Base class of everything shapsketch raises on purpose."""


class InputError(ShapsketchError, ValueError):
    """An argument, a sequence or a value is not what it must be; the message says which and where."""


class BudgetError(InputError):
    """The budget is too small for what was asked; the message says what would be needed."""


class FileError(ShapsketchError, OSError):
    """A file cannot be read or written, or is no sketch."""


class ModelError(ShapsketchError, RuntimeError):
    """The model failed or gave something that is not one finite number for each sequence."""


class MissingExtraError(ShapsketchError, ImportError):
    """An optional dependency is not installed; the message names the extra."""
