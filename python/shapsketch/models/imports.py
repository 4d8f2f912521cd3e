"""Models that each process imports by their name."""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from shapsketch._validate import choice, suggestion
from shapsketch.errors import InputError, ModelError
from shapsketch.models._protocol import INPUTS, Inputs, Model, inputs_of, outputs_of


def imported(path: str, *, inputs: Inputs | None = None) -> _Imported:
    """Adapt a model that is imported by its name.

    Each process imports the model once, when it is first used. Other processes and clusters receive only the
    path, so the model itself can be large and need not be picklable.

    Parameters
    ----------
    path : str
        ``"package.module:name"``; the name may contain dots. A class is called without arguments, and so is a
        function if ``()`` follows its name: ``"package.module:make_model()"``. Modules are searched on the
        Python path and in the current folder.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it declares, or strings.

    Raises
    ------
    InputError
        If the path has another form. At the first use: if there is no such module or name, or it is not
        callable. If the import or the call raises an exception, the first use raises
        :class:`shapsketch.ModelError`.

    Examples
    --------
    >>> from shapsketch import models
    >>> model = models.imported("numpy:char.str_len")
    >>> model(["A", "ACG"])
    array([1, 3])
    """
    if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*(\(\))?", path):
        hint = ""
        if isinstance(path, str) and re.fullmatch(r"\w+\.py", path):
            hint = f"; add the name of the model in this file, such as '{path.removesuffix('.py')}:predict'"
        elif isinstance(path, str) and re.fullmatch(r"\w+(\.\w+)+(\(\))?", path):
            hint = f"; did you mean {':'.join(path.rsplit('.', 1))!r}?"
        elif isinstance(path, str) and re.fullmatch(r"\w+", path):
            hint = f"; add the name of the model in the module {path!r}, such as '{path}:predict'"
        elif isinstance(path, str) and re.fullmatch(r"[^:]*[/\\][^:]*:[^:]*", path):
            module, _, name = path.partition(":")
            folder, module = os.path.split(module.replace("\\", "/"))
            hint = f"; modules have no folder: pass '{module.removesuffix('.py')}:{name}'"
            if folder != ".":
                hint += f", and start Python in the folder {folder!r}, or add it to PYTHONPATH"
        raise InputError(f"path must be 'package.module:name', got {path!r}{hint}")
    return _Imported(path, None if inputs is None else choice("inputs", inputs, INPUTS))


# The models of this process, by their paths.
_LOADED: dict[str, Model] = {}
_LOADING = threading.RLock()


@dataclass(frozen=True, eq=False)
class _Imported:
    path: str
    requested: str | None

    @property
    def inputs(self) -> str:
        """What the model takes."""
        return self.requested or inputs_of(self._model(), None)

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """The names of the outputs that the model declares."""
        return outputs_of(self._model())

    @property
    def alphabet_of_codes(self) -> str | None:
        """The alphabet of the codes that the model takes, if it declares one."""
        return getattr(self._model(), "alphabet_of_codes", None)

    def __call__(self, batch: Any) -> Any:
        return self._model()(batch)

    def _model(self) -> Model:
        with _LOADING:
            if self.path not in _LOADED:
                _LOADED[self.path] = _load(self.path)
            return _LOADED[self.path]


def _load(path: str) -> Model:
    """Return the model at a path."""
    module_name, _, name = path.partition(":")
    model: Any = _module(path, module_name)
    full_name = module_name
    for attribute in name.removesuffix("()").split("."):
        try:
            model = getattr(model, attribute)
        except AttributeError as error:
            callables = [other for other in dir(model) if callable(getattr(model, other, None))]
            hint = suggestion(attribute, callables, count=3)
            source = getattr(sys.modules[module_name], "__file__", None)
            raise InputError(
                f"{path!r}: {full_name!r}{f' ({source})' if source else ''} has no {attribute!r}{hint}"
            ) from error
        full_name = f"{full_name}.{attribute}"
    if name.endswith("()") or isinstance(model, type):
        _check_callable(path, full_name, model)
        try:
            model = model()
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"{path!r}: calling {full_name!r} raised {type(error).__name__}: {error}"
            ) from error
        full_name = f"{full_name}()"
    _check_callable(path, full_name, model)
    return model  # type: ignore[no-any-return]


def _module(path: str, name: str) -> ModuleType:
    """Import a module from the Python path or the current folder."""
    folder = os.getcwd()
    if not {"", folder} & set(sys.path):
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            hint = f"; did you mean {path.replace('.py:', ':')!r}?" if name.endswith(".py") else ""
            raise InputError(
                f"{path!r}: there is no module {missing!r} in the current folder or on the Python path{hint}"
            ) from error
        hint = ""
        if isinstance(error, SystemExit):
            hint = "; if the module is a script, put its main part under `if __name__ == '__main__':`"
        raise ModelError(
            f"{path!r}: importing {name!r} raised {type(error).__name__}: {error}{hint}"
        ) from error


def _check_callable(path: str, name: str, value: object) -> None:
    if not callable(value):
        raise InputError(f"{path!r}: {name!r} is of type {type(value).__name__}, which is not callable")
