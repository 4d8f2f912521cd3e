"""Networks, and other callables on arrays. No library is imported: who holds a model of one has done so."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from shapsketch._validate import choice, integer
from shapsketch.errors import InputError, ModelError
from shapsketch.models._base import ARRAYS, LAYOUTS, Layout, Numbers, answers, arranged, column, number_type
from shapsketch.models._protocol import Model


def array(
    model: Model,
    layout: Literal["channels_last", "channels_first", "flat"] = "channels_last",
    dtype: Any = "float32",
) -> _Array:
    """Adapt a callable on one-hot arrays.

    A callable on strings or codes needs no adapter: say ``inputs=`` where it is used.

    Parameters
    ----------
    model : callable
        Takes the array, returns (B,), (B, 1) or (B, k).
    layout : {"channels_last", "channels_first", "flat"}
        The array's shape: (B, n, q), (B, q, n), or (B, n * q) with the symbols of a position together.
    dtype : NumPy type

    Raises
    ------
    InputError
        If the model is no callable, or layout or type are not known.

    Examples
    --------
    >>> import shapsketch as ss
    >>> from shapsketch import models
    >>> def count_of_g(x):  # (B, q, n)
    ...     return x[:, 2].sum(axis=1)
    >>> model = models.array(count_of_g, layout="channels_first")
    >>> model.inputs
    'onehot'
    >>> space = ss.SequenceSpace(ss.DNA, length=6)
    >>> round(ss.sketch(model, space, budget=4096, inputs=model.inputs, progress=False).r2, 3)
    1.0
    """
    if not callable(model):
        raise InputError(f"model must be a callable, got {type(model).__name__}")
    return _Array(model, choice("layout", layout, ARRAYS), number_type(dtype))


@dataclass(frozen=True, eq=False)
class _Array:
    model: Model
    layout: str
    dtype: str
    inputs: str = "onehot"
    outputs: tuple[str, ...] | None = None

    def __call__(self, batch: Any) -> Numbers:
        return answers(self.model(arranged(batch, self.layout, self.dtype)), len(batch), "model")


def torch(
    module: Any,
    layout: Layout = "channels_first",
    dtype: Any = "float32",
    device: Any = None,
    batch_size: int = 1024,
    target: int | None = None,
) -> _Torch:
    """Adapt a ``torch.nn.Module``.

    It is asked in evaluation mode and without gradients; afterwards each of its modules is in the mode in
    which it was.

    Parameters
    ----------
    module : torch.nn.Module
        Returns a tensor (B,), (B, 1) or (B, k).
    layout : {"channels_first", "channels_last", "flat", "codes"}
        What it takes: one-hot (B, q, n), (B, n, q) or (B, n * q), or codes (B, n) as int64.
    dtype : str or torch.dtype
        Of one-hot tensors.
    device : str or torch.device, optional
        Where it runs; it is moved there, and stays. By default where its parameters are.
    batch_size : int
        Most sequences in one forward pass.
    target : int, optional
        The one output meant, from 0.

    Raises
    ------
    InputError
        If it is no module, or an argument is not known.

    Examples
    --------
    >>> import shapsketch as ss  # doctest: +SKIP
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 1))  # doctest: +SKIP
    >>> model = ss.models.torch(network, device="cuda")  # doctest: +SKIP
    >>> sketch = ss.sketch(model, ss.SequenceSpace(ss.DNA, length=10), budget=5_000)  # doctest: +SKIP
    """
    library = sys.modules.get("torch")
    if library is None or not isinstance(module, library.nn.Module):
        raise InputError(
            f"module must be a torch.nn.Module, got {_named(module)}; models.array takes other callables"
        )
    name = str(dtype).removeprefix("torch.")
    if not isinstance(getattr(library, name, None), library.dtype):
        raise InputError(f"dtype must be a type of torch such as 'float32', got {dtype!r}")
    try:
        where = None if device is None else str(library.device(device))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device {device!r} is none of torch: {error}") from error
    return _Torch(
        module,
        choice("layout", layout, LAYOUTS),
        name,
        where,
        integer("batch_size", batch_size, least=1),
        column(target),
        "codes" if layout == "codes" else "onehot",
    )


@dataclass(frozen=True, eq=False)
class _Torch:
    module: Any
    layout: str
    dtype: str
    device: str | None
    batch_size: int
    target: int | None
    inputs: str
    outputs: tuple[str, ...] | None = None

    def __call__(self, batch: Any) -> Numbers:
        library = importlib.import_module("torch")
        if self.device is not None:
            self.module.to(self.device)
        codes = self.layout == "codes"
        given = library.from_numpy(arranged(batch, self.layout, "int64" if codes else "float32"))
        dtype = library.int64 if codes else getattr(library, self.dtype)
        found = []
        with _evaluating(self.module), library.inference_mode():
            for part in given.split(self.batch_size):
                output = self.module(part.to(self._where(), dtype))
                if not isinstance(output, library.Tensor):
                    raise ModelError(
                        f"the module returned {type(output).__name__}, expected a tensor; wrap it into a "
                        "module that returns the one meant"
                    )
                # NumPy knows no bfloat16, and some devices no float64.
                if output.is_floating_point():
                    output = output.cpu().double()
                found.append(answers(output.cpu().numpy(), len(part), "module", self.target))
        return np.concatenate(found)

    def _where(self) -> Any:
        if self.device is not None:
            return self.device
        for tensors in (self.module.parameters(), self.module.buffers()):
            for tensor in tensors:
                return tensor.device
        return "cpu"


# How many threads are asking a module just now, and the modes of its parts before.
_ASKED: WeakKeyDictionary[Any, tuple[int, list[tuple[Any, bool]]]] = WeakKeyDictionary()
_MODES = threading.Lock()


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put a module into evaluation mode until the last of those who ask it at the same time is done."""
    with _MODES:
        threads, modes = _ASKED.get(module, (0, []))
        if not threads:
            modes = [(part, part.training) for part in module.modules()]
            module.eval()
        _ASKED[module] = (threads + 1, modes)
    try:
        yield
    finally:
        with _MODES:
            threads, modes = _ASKED.pop(module)
            if threads > 1:
                _ASKED[module] = (threads - 1, modes)
            else:
                # Parents come before their parts.
                for part, training in modes:
                    if part.training != training:
                        part.train(training)


def keras(
    model: Any,
    layout: Layout = "channels_last",
    dtype: Any = "float32",
    batch_size: int = 1024,
    target: int | str | None = None,
) -> _Keras:
    """Adapt a Keras model, asked by its ``predict``.

    Parameters
    ----------
    model : keras.Model
        Of a single input. Each of several outputs must be one number.
    layout : {"channels_last", "channels_first", "flat", "codes"}
        What it takes: one-hot (B, n, q), (B, q, n) or (B, n * q), or codes (B, n) as int32.
    dtype : NumPy type
        Of one-hot arrays.
    batch_size : int
        Most sequences in one forward pass.
    target : int or str, optional
        The one output meant: a column from 0, or the name of one of several outputs.

    Raises
    ------
    InputError
        If it is no such model, or an argument is not known.

    Examples
    --------
    >>> import shapsketch as ss  # doctest: +SKIP
    >>> network = keras.saving.load_model("splicing.keras")  # doctest: +SKIP
    >>> model = ss.models.keras(network, target="donor")  # doctest: +SKIP
    """
    if isinstance(model, type) or not (hasattr(model, "predict") and hasattr(model, "layers")):
        raise InputError(
            f"model must be a keras.Model, got {_named(model)}; models.array takes other callables"
        )
    names = tuple(getattr(model, "output_names", None) or ())
    outputs = names if len(names) > 1 else None
    number = names.index(choice("target", target, names)) if isinstance(target, str) else column(target)
    return _Keras(
        model,
        choice("layout", layout, LAYOUTS),
        number_type(dtype),
        integer("batch_size", batch_size, least=1),
        number,
        "codes" if layout == "codes" else "onehot",
        outputs if number is None else None,
    )


@dataclass(frozen=True, eq=False)
class _Keras:
    model: Any
    layout: str
    dtype: str
    batch_size: int
    target: int | None
    inputs: str
    outputs: tuple[str, ...] | None

    def __call__(self, batch: Any) -> Numbers:
        given = arranged(batch, self.layout, "int32" if self.layout == "codes" else self.dtype)
        found = self.model.predict(given, batch_size=self.batch_size, verbose=0)
        if isinstance(found, Mapping):
            found = [found[name] for name in self.model.output_names]
        if isinstance(found, Sequence):
            parts = [answers(part, len(batch), "model") for part in found]
            if any(part.ndim != 1 for part in parts):
                raise ModelError(
                    f"the model's outputs have shapes {[np.shape(part) for part in found]}, expected one "
                    "number of each; make a model of one, keras.Model(model.inputs, model.outputs[i])"
                )
            found = np.column_stack(parts)
        return answers(found, len(batch), "model", self.target)


def _named(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
