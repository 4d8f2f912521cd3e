"""Fitted estimators and boosters.

This module does not import their libraries: a user who has such a model has already imported its library.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._validate import choice, listed
from shapsketch.errors import InputError, ModelError
from shapsketch.models._base import FLAT, Flat, Numbers, arrange, as_values, output_index

Features: TypeAlias = Literal["onehot", "codes"] | Callable[[list[str]], Any]
# A layout of features, or a function that computes them.
Columns: TypeAlias = str | Callable[[list[str]], Any]
METHODS = ("predict", "predict_proba", "decision_function")
# Objectives of boosters with two classes, whose one output is about the second class.
TWO_CLASSES = ("binary:logistic", "binary:logitraw", "binary:hinge", "binary")


def sklearn(
    estimator: Any,
    features: Features = "onehot",
    output: Literal["auto", "predict", "predict_proba", "decision_function"] = "auto",
    target: Any = None,
    layout: Flat = "flat",
) -> _Estimator:
    """Adapt a fitted scikit-learn estimator, a pipeline, or an estimator of LightGBM or XGBoost.

    The value of a classifier with two classes is the probability of the second class,
    ``estimator.classes_[1]``. A classifier with more classes returns the probabilities of all, and its
    `outputs` are the names of the classes.

    Parameters
    ----------
    estimator : object with ``predict``
    features : {"onehot", "codes"} or callable
        What the estimator was fitted on: dense one-hot features of float64; codes (B, n) of int64; or what a
        function of a list of strings returns.
    output : {"auto", "predict", "predict_proba", "decision_function"}
        The method to call. "auto" calls the first of ``predict_proba`` and ``decision_function`` that a
        classifier has, and ``predict`` of all other estimators.
    target : label or int, optional
        Return only this class, or, for a regressor with several outputs, the output with this index.
    layout : {"flat", "flat_channels_first"}
        Order of one-hot features: (B, n * q) with the symbols of a position next to each other, or (B, q * n)
        with the positions of a symbol next to each other.

    Raises
    ------
    InputError
        If the argument is not an estimator, is not fitted, or has no such method or class.

    Examples
    --------
    >>> import numpy as np, shapsketch as ss
    >>> from shapsketch import models
    >>> from sklearn.linear_model import LogisticRegression
    >>> space = ss.SequenceSpace(ss.DNA, length=5)
    >>> codes = np.random.default_rng(0).integers(0, 4, (500, 5))
    >>> labels = np.where(codes[:, 1] == 2, "active", "dead")
    >>> estimator = LogisticRegression().fit(np.eye(4)[codes].reshape(500, -1), labels)
    >>> model = models.sklearn(estimator, target="active")
    >>> sketch = ss.sketch(model, space, budget=1024, inputs=model.inputs, progress=False)
    >>> bool(sketch.predict(["AGAAA"])[0] > 0.5 > sketch.predict(["AAAAA"])[0])
    True
    """
    name = type(estimator).__name__
    if isinstance(estimator, type):
        raise InputError(f"estimator must be a fitted estimator, got the class {estimator.__name__}")
    if _library_of_booster(estimator) is not None:
        raise InputError(f"a {name} is not an estimator; use models.booster")
    if not callable(getattr(estimator, "predict", None)):
        raise InputError(f"estimator must have a method predict, got {name}")
    _check_fitted(estimator)
    choice("output", output, ("auto", *METHODS))
    classes = _classes(estimator)
    if output == "auto":
        available = [method for method in METHODS[1:] if classes and hasattr(estimator, method)]
        output = available[0] if available else "predict"  # type: ignore[assignment]
    elif not hasattr(estimator, output):
        raise InputError(f"the {name} has no method {output}; choose another output, or 'auto'")
    names, index = None, None
    if not classes:
        index = output_index(target)
    elif output == "predict":
        if target is not None:
            raise InputError(
                "target selects a probability or a decision function, but output='predict' returns the class"
            )
    elif target is not None:
        if target not in classes:
            raise InputError(f"target must be one of the classes [{listed(classes)}], got {target!r}")
        index = classes.index(target)
    elif len(classes) > 2:
        names = tuple(map(str, classes))
    else:
        index = len(classes) - 1
    columns = _checked_features(features, layout)
    return _Estimator(estimator, columns, output, index, _inputs(features), names)


def _check_fitted(estimator: Any) -> None:
    """Refuse an estimator of scikit-learn that is not fitted."""
    if importlib.util.find_spec("sklearn") is None:
        return
    exceptions = importlib.import_module("sklearn.exceptions")
    validation = importlib.import_module("sklearn.utils.validation")
    try:
        validation.check_is_fitted(estimator)
    except exceptions.NotFittedError as error:
        raise InputError(f"the {type(estimator).__name__} is not fitted; call its fit first") from error
    except (AttributeError, TypeError):
        # The class only resembles an estimator. Whether it is fitted shows in the first call.
        return


def _classes(estimator: Any) -> list[Any]:
    """Return the labels of a classifier; an empty list for other estimators."""
    try:
        labels = list(getattr(estimator, "classes_", ()))
    except TypeError:
        return []
    if labels and np.ndim(labels[0]) != 0:
        raise InputError(
            "classifiers with several outputs are not supported; adapt one classifier for each output"
        )
    return [label.item() if isinstance(label, np.generic) else label for label in labels]


@dataclass(frozen=True, eq=False)
class _Estimator:
    estimator: Any
    features: Columns
    method: str
    target: int | None
    inputs: str
    outputs: tuple[str, ...] | None

    def __call__(self, batch: Any) -> Numbers:
        name = type(self.estimator).__name__
        expected = getattr(self.estimator, "n_features_in_", None)
        features = _feature_matrix(self.features, batch, expected, name)
        output = getattr(self.estimator, self.method)(features)
        if self.method == "decision_function" and self.target is not None and np.ndim(output) == 1:
            # A single column is the decision function of the second of two classes.
            return np.asarray(output) if self.target else -np.asarray(output)
        values = as_values(output, len(batch), name, self.target)
        if self.outputs is not None and values.shape[1:] != (len(self.outputs),):
            raise ModelError(
                f"the {name} returned an array of shape {values.shape} for {len(self.outputs)} classes; if "
                "it compares pairs of classes, fit it with decision_function_shape='ovr'"
            )
        return values


def booster(
    booster: Any, features: Features = "onehot", target: int | None = None, layout: Flat = "flat"
) -> _Booster:
    """Adapt a ``lightgbm.Booster`` or ``xgboost.Booster``; the value is what its ``predict`` returns.

    This is a probability for binary objectives. With several classes there is one output for each class,
    unless `target` selects one. :func:`shapsketch.from_trees` converts many boosters into sketches without
    any evaluation.

    Parameters
    ----------
    booster : lightgbm.Booster or xgboost.Booster
    features : {"onehot", "codes"} or callable
        As in :func:`sklearn`. One-hot features are dense. If XGBoost was trained on a sparse matrix, it
        treats zeros as missing values: pass a function that returns such a matrix.
    target : int, optional
        Return only the class with this index, from 0. A binary objective has the classes 0 and 1, and its
        prediction is that of class 1.
    layout : {"flat", "flat_channels_first"}
        As in :func:`sklearn`.

    Raises
    ------
    InputError
        If the argument is not a booster, or has no such class.

    Examples
    --------
    >>> import lightgbm, numpy as np
    >>> from shapsketch import models
    >>> codes = np.random.default_rng(0).integers(0, 4, (400, 6))
    >>> data = lightgbm.Dataset(codes, codes[:, 2] == 1.0, categorical_feature=list(range(6)))
    >>> model = models.booster(lightgbm.train({"verbosity": -1}, data, 20), features="codes")
    >>> model.inputs, model(codes[:8]).shape
    ('codes', (8,))
    """
    library = _library_of_booster(booster)
    if library is None:
        hint = "; use models.sklearn" if hasattr(booster, "predict") else ""
        raise InputError(
            f"booster must be a lightgbm.Booster or an xgboost.Booster, got {type(booster).__name__}{hint}"
        )
    columns, index = _checked_features(features, layout), output_index(target)
    objective = None if index is None else _objective(booster, library)
    two_classes = objective if objective in TWO_CLASSES else None
    if two_classes is not None and index not in (0, 1):
        raise InputError(f"target must be 0 or 1 for the objective {objective!r}, got {target!r}")
    return _Booster(booster, library, columns, index, _inputs(features), two_classes)


def _objective(booster: Any, library: str) -> str:
    """Return the library's name of the objective of a booster."""
    if library == "xgboost":
        return str(json.loads(booster.save_config())["learner"]["objective"]["name"])
    return str(booster.dump_model(num_iteration=1).get("objective", "custom")).split()[0]


def _library_of_booster(model: object) -> str | None:
    for library in ("lightgbm", "xgboost"):
        module = sys.modules.get(library)
        if module is not None and isinstance(model, getattr(module, "Booster", ())):
            return library
    return None


@dataclass(frozen=True, eq=False)
class _Booster:
    booster: Any
    library: str
    features: Columns
    target: int | None
    inputs: str
    # The objective, if it has two classes and `target` selects one.
    two_classes: str | None = None
    outputs: tuple[str, ...] | None = None

    def __call__(self, batch: Any) -> Numbers:
        booster, name = self.booster, f"{self.library} booster"
        expected = booster.num_feature() if self.library == "lightgbm" else booster.num_features()
        features = _feature_matrix(self.features, batch, expected, name)
        if self.library == "xgboost":
            columns = {}
            if not callable(self.features):
                columns = {"feature_names": booster.feature_names, "feature_types": booster.feature_types}
            features = importlib.import_module("xgboost").DMatrix(
                features, enable_categorical=True, **columns
            )
        predictions = booster.predict(features)
        if self.two_classes is None or np.ndim(predictions) != 1:
            return as_values(predictions, len(batch), name, self.target)
        second = as_values(predictions, len(batch), name)
        if self.target == 1:
            return second
        return -second if self.two_classes == "binary:logitraw" else 1 - second


def _checked_features(features: Features, layout: str) -> Columns:
    """Return a function of strings, or the layout of the features."""
    choice("layout", layout, FLAT)
    if not callable(features) and choice("features", features, ("onehot", "codes")) == "onehot":
        return layout
    if layout != "flat":
        raise InputError(f"layout={layout!r} is for features='onehot'; remove it")
    return features


def _inputs(features: Features) -> str:
    """Return the inputs of an adapter that computes these features."""
    return "strings" if callable(features) else features


def _feature_matrix(features: Columns, batch: Any, expected: int | None, name: str) -> Any:
    """Return the features of a batch.

    Raises
    ------
    ModelError
        If there is not one row for each sequence, or the number of features is not `expected`, the number
        that the model was fitted on; not checked if None.
    """
    if callable(features):
        matrix = features(list(batch))
        rows = (len(matrix),) if isinstance(matrix, (list, tuple)) else getattr(matrix, "shape", ())[:1]
        if rows and rows[0] != len(batch):
            raise ModelError(
                f"the function passed as features= returned {rows[0]} rows for {len(batch)} sequences; "
                "return one row for each"
            )
    else:
        matrix = arrange(batch, features, "int64" if features == "codes" else "float64")
    shape: Any = getattr(matrix, "shape", ())
    if expected is None or len(shape) != 2 or shape[1] == expected:
        return matrix
    hint = ""
    if callable(features):
        source = "the function passed as features= returns"
    else:
        used, other = ("codes", "onehot") if features == "codes" else ("onehot", "codes")
        source = f"features={used!r} gives"
        if expected in (batch.shape[1], batch.shape[1] * batch.shape[-1]):
            hint = f"; try features={other!r}"
    raise ModelError(f"the {name} was fitted on {expected} features, but {source} {shape[1]}{hint}")
