"""Models that are imported by name."""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from shapsketch._validate import choice
from shapsketch.errors import InputError, ModelError
from shapsketch.models._protocol import INPUTS, Inputs, Model, inputs_of, outputs_of


def imported(path: str, *, inputs: Inputs | None = None) -> _Imported:
    """Name a model by where it is imported from.

    It is imported when first asked, once in each process: processes and clusters are sent its path alone, so
    that it need not be one that can be sent, nor small.

    Parameters
    ----------
    path : str
        ``"package.module:name"``, where the name may have dots. A class is called, without arguments, and so
        is a function whose name ends with ``()``: ``"package.module:make_model()"``. Modules in the current
        folder are found, too.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it says itself, or strings.

    Raises
    ------
    InputError
        If the path is no such path; when first asked, if there is no such module or name, or it is no model.

    Examples
    --------
    >>> from shapsketch import models
    >>> model = models.imported("numpy:char.str_len")
    >>> model(["A", "ACG"])
    array([1, 3])
    """
    if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*(\(\))?", path):
        hint = ""
        if isinstance(path, str) and re.fullmatch(r"\w+(\.\w+)+(\(\))?", path):
            hint = f"; did you mean {':'.join(path.rsplit('.', 1))!r}?"
        raise InputError(f"path must be 'package.module:name', got {path!r}{hint}")
    return _Imported(path, None if inputs is None else choice("inputs", inputs, INPUTS))


_LOADED: dict[str, Model] = {}
_LOADING = threading.RLock()


@dataclass(frozen=True, eq=False)
class _Imported:
    path: str
    given: str | None

    @property
    def inputs(self) -> str:
        """What the model takes."""
        return self.given or inputs_of(self._model(), None)

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """How the model calls its outputs."""
        return outputs_of(self._model())

    @property
    def alphabet_of_codes(self) -> str | None:
        """The alphabet that it takes codes of, if it says so."""
        return getattr(self._model(), "alphabet_of_codes", None)

    def __call__(self, batch: Any) -> Any:
        return self._model()(batch)

    def _model(self) -> Model:
        with _LOADING:
            if self.path not in _LOADED:
                _LOADED[self.path] = _load(self.path)
            return _LOADED[self.path]


def _load(path: str) -> Model:
    name, _, rest = path.partition(":")
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            hint = f"; did you mean {path.replace('.py:', ':')!r}?" if name.endswith(".py") else ""
            raise InputError(
                f"{path!r}: there is no module {missing!r} in the current folder or on the path of Python"
                f"{hint}"
            ) from error
        hint = (
            "; a script that does its work when it is imported needs it under `if __name__ == '__main__':`"
            if isinstance(error, SystemExit)
            else ""
        )
        raise ModelError(
            f"{path!r}: importing {name!r} raised {type(error).__name__}: {error}{hint}"
        ) from error
    where = name
    for part in rest.removesuffix("()").split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            known = [name for name in dir(found) if callable(getattr(found, name, None))]
            near = get_close_matches(part, known, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            source = getattr(sys.modules[name], "__file__", None)
            raise InputError(
                f"{path!r}: {where!r}{f' ({source})' if source else ''} has no {part!r}{hint}"
            ) from error
        where = f"{where}.{part}"
    if rest.endswith("()") or isinstance(found, type):
        if not callable(found):
            raise InputError(f"{path!r}: {where!r} is of type {type(found).__name__} and cannot be called")
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise ModelError(f"{path!r}: calling {where!r} raised {type(error).__name__}: {error}") from error
        where = f"{where}()"
    if not callable(found):
        raise InputError(f"{path!r}: {where!r} is of type {type(found).__name__}, and no callable")
    return found  # type: ignore[no-any-return]
