"""Neural networks, and other callables on arrays.

This module does not import their libraries: a user who has such a model has already imported its library.
"""

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
from shapsketch.models._base import (
    ARRAYS,
    LAYOUTS,
    Layout,
    Numbers,
    arrange,
    as_values,
    numeric_dtype,
    output_index,
)
from shapsketch.models._protocol import Model


def array(
    model: Model,
    layout: Literal["channels_last", "channels_first", "flat", "flat_channels_first"] = "channels_last",
    dtype: Any = "float32",
) -> _Array:
    """Adapt a callable on one-hot arrays.

    A callable on strings or codes needs no adapter. Pass ``inputs=`` to the function that evaluates it.

    Parameters
    ----------
    model : callable
        Takes the array and returns (B,), (B, 1) or (B, k).
    layout : {"channels_last", "channels_first", "flat", "flat_channels_first"}
        The shape of the array: (B, n, q), (B, q, n), (B, n * q) with the symbols of a position next to each
        other, or (B, q * n) with the positions of a symbol next to each other.
    dtype : NumPy type

    Raises
    ------
    InputError
        If the model is not callable, or the layout or the type is unknown.

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
    return _Array(model, choice("layout", layout, ARRAYS), numeric_dtype(dtype))


@dataclass(frozen=True, eq=False)
class _Array:
    model: Model
    layout: str
    dtype: str
    inputs: str = "onehot"
    outputs: tuple[str, ...] | None = None

    def __call__(self, batch: Any) -> Numbers:
        return as_values(self.model(arrange(batch, self.layout, self.dtype)), len(batch), "model")


def torch(
    module: Any,
    layout: Layout = "channels_first",
    dtype: Any = "float32",
    device: Any = None,
    batch_size: int = 1024,
    target: int | None = None,
) -> _Torch:
    """Adapt a ``torch.nn.Module``.

    It runs in evaluation mode and without gradients. Afterwards each of its modules is in its earlier mode.

    Parameters
    ----------
    module : torch.nn.Module
        Returns a tensor (B,), (B, 1) or (B, k).
    layout : {"channels_first", "channels_last", "flat", "flat_channels_first", "codes"}
        What the module takes: one-hot (B, q, n), (B, n, q), (B, n * q) or (B, q * n), or codes (B, n) of
        int64.
    dtype : str or torch.dtype
        Type of one-hot tensors.
    device : str or torch.device, optional
        Move the module to this device, where it stays. By default it runs where its parameters are.
    batch_size : int
        Largest number of sequences in one forward pass.
    target : int, optional
        Return only the output with this index, from 0.

    Raises
    ------
    InputError
        If `module` is not a module, or an argument is unknown or out of range.

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
            f"module must be a torch.nn.Module, got {_type_of(module)}; use models.array for other callables"
        )
    dtype_name = str(dtype).removeprefix("torch.")
    if not isinstance(getattr(library, dtype_name, None), library.dtype):
        raise InputError(f"dtype must be a torch dtype such as 'float32', got {dtype!r}")
    try:
        device_name = None if device is None else str(library.device(device))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device {device!r} is not a torch device: {error}") from error
    return _Torch(
        module,
        choice("layout", layout, LAYOUTS),
        dtype_name,
        device_name,
        integer("batch_size", batch_size, least=1),
        output_index(target),
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
        tensor = library.from_numpy(arrange(batch, self.layout, "int64" if codes else "float32"))
        dtype = library.int64 if codes else getattr(library, self.dtype)
        values = []
        with _evaluation_mode(self.module), library.inference_mode():
            for part in tensor.split(self.batch_size):
                output = self.module(part.to(self._current_device(), dtype))
                if not isinstance(output, library.Tensor):
                    raise ModelError(
                        f"the module returned {type(output).__name__}, expected a tensor; wrap it in a "
                        "module that returns a single tensor"
                    )
                # NumPy has no bfloat16, and some devices have no float64.
                if output.is_floating_point():
                    output = output.cpu().double()
                values.append(as_values(output.cpu().numpy(), len(part), "module", self.target))
        return np.concatenate(values)

    def _current_device(self) -> Any:
        if self.device is not None:
            return self.device
        for tensors in (self.module.parameters(), self.module.buffers()):
            for tensor in tensors:
                return tensor.device
        return "cpu"


# Modules in use: the number of threads that evaluate one, and the modes of its modules before the first.
_IN_USE: WeakKeyDictionary[Any, tuple[int, list[tuple[Any, bool]]]] = WeakKeyDictionary()
# Protects _IN_USE and the modes of modules.
_MODES_LOCK = threading.Lock()


@contextmanager
def _evaluation_mode(module: Any) -> Iterator[None]:
    """Keep a module in evaluation mode until no thread evaluates it any more."""
    with _MODES_LOCK:
        threads, modes = _IN_USE.get(module, (0, []))
        if not threads:
            modes = [(part, part.training) for part in module.modules()]
            module.eval()
        _IN_USE[module] = (threads + 1, modes)
    try:
        yield
    finally:
        with _MODES_LOCK:
            threads, modes = _IN_USE.pop(module)
            if threads > 1:
                _IN_USE[module] = (threads - 1, modes)
            else:
                # `train` also changes the parts of a module. Parents come first, so each part ends as it was.
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
    """Adapt a Keras model, which is evaluated by its ``predict``.

    Parameters
    ----------
    model : keras.Model
        Has one input. If it has several outputs, each must be one number for each sequence.
    layout : {"channels_last", "channels_first", "flat", "flat_channels_first", "codes"}
        What the model takes: one-hot (B, n, q), (B, q, n), (B, n * q) or (B, q * n), or codes (B, n) of
        int32.
    dtype : NumPy type
        Type of one-hot arrays.
    batch_size : int
        Largest number of sequences in one forward pass.
    target : int or str, optional
        Return only this output: the index of a column, from 0, or the name of one of several outputs.

    Raises
    ------
    InputError
        If `model` is not a Keras model, or an argument is unknown or out of range.

    Examples
    --------
    >>> import shapsketch as ss  # doctest: +SKIP
    >>> network = keras.saving.load_model("splicing.keras")  # doctest: +SKIP
    >>> model = ss.models.keras(network, target="donor")  # doctest: +SKIP
    """
    if isinstance(model, type) or not (hasattr(model, "predict") and hasattr(model, "layers")):
        raise InputError(
            f"model must be a keras.Model, got {_type_of(model)}; use models.array for other callables"
        )
    names = tuple(getattr(model, "output_names", None) or ())
    outputs = names if len(names) > 1 else None
    if isinstance(target, str):
        index: int | None = names.index(choice("target", target, names))
    else:
        index = output_index(target)
    return _Keras(
        model,
        choice("layout", layout, LAYOUTS),
        numeric_dtype(dtype),
        integer("batch_size", batch_size, least=1),
        index,
        "codes" if layout == "codes" else "onehot",
        outputs if index is None else None,
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
        array = arrange(batch, self.layout, "int32" if self.layout == "codes" else self.dtype)
        output = self.model.predict(array, batch_size=self.batch_size, verbose=0)
        if isinstance(output, Mapping):
            output = [output[name] for name in self.model.output_names]
        if isinstance(output, Sequence):
            columns = [as_values(column, len(batch), "model") for column in output]
            if any(column.ndim != 1 for column in columns):
                raise ModelError(
                    f"the model's outputs have the shapes {[np.shape(column) for column in output]}, "
                    "expected one number for each sequence; build a model with a single output, "
                    "keras.Model(model.inputs, model.outputs[i])"
                )
            output = np.column_stack(columns)
        return as_values(output, len(batch), "model", self.target)


def _type_of(value: object) -> str:
    """Return the type of an argument as error messages name it."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
