"""Fitted estimators and boosters. No library is imported here: whoever holds a model of one has done so."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._validate import choice
from shapsketch.errors import InputError, ModelError
from shapsketch.models._base import Numbers, answers, arranged, column

Features: TypeAlias = Literal["onehot", "codes"] | Callable[[list[str]], Any]
METHODS = ("predict", "predict_proba", "decision_function")


def sklearn(
    estimator: Any,
    features: Features = "onehot",
    output: Literal["auto", "predict", "predict_proba", "decision_function"] = "auto",
    target: Any = None,
) -> _Estimator:
    """Adapt a fitted estimator in scikit-learn's manner: also pipelines, wrappers of LightGBM and XGBoost.

    Of a classifier with two classes the score is the probability of the second, ``estimator.classes_[1]``;
    of one with more, the probabilities of all, whose names are the `outputs`.

    Parameters
    ----------
    estimator : object with ``predict``
    features : {"onehot", "codes"} or callable
        What it was fitted on: dense one-hot features (B, n * q), in which the symbols of a position are
        together, as float64; codes (B, n), as int64; or what a function of a list of strings returns.
    output : {"auto", "predict", "predict_proba", "decision_function"}
        The method asked. "auto" takes probabilities of a classifier, or else its decision function, and what
        anything else predicts.
    target : label or int, optional
        The class meant; of regressors with several outputs, the number of one.

    Raises
    ------
    InputError
        If it is no estimator, not fitted, without that method, or there is no such class.

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
        raise InputError(f"a {name} is no estimator; use models.booster")
    if not callable(getattr(estimator, "predict", None)):
        raise InputError(f"estimator must have a method predict, got {name}")
    _check_fitted(estimator)
    choice("output", output, ("auto", *METHODS))
    classes = _classes(estimator)
    if output == "auto":
        known = [method for method in METHODS[1:] if classes and hasattr(estimator, method)]
        output = known[0] if known else "predict"  # type: ignore[assignment]
    elif not hasattr(estimator, output):
        raise InputError(f"the {name} has no {output}; choose another output, or 'auto'")
    names, number = None, None
    if not classes:
        number = column(target)
    elif output == "predict":
        if target is not None:
            raise InputError("target is for probabilities and decision functions; this output is the class")
    elif target is not None:
        if target not in classes:
            raise InputError(f"target must be one of the classes {classes}, got {target!r}")
        number = classes.index(target)
    elif len(classes) > 2:
        names = tuple(map(str, classes))
    else:
        number = len(classes) - 1
    return _Estimator(estimator, _features(features), output, number, _inputs(features), names)


def _check_fitted(estimator: Any) -> None:
    if importlib.util.find_spec("sklearn") is None:
        return
    exceptions = importlib.import_module("sklearn.exceptions")
    validation = importlib.import_module("sklearn.utils.validation")
    try:
        validation.check_is_fitted(estimator)
    except exceptions.NotFittedError as error:
        raise InputError(f"the {type(estimator).__name__} is not fitted; call its fit first") from error
    except (AttributeError, TypeError):
        # In the manner of scikit-learn, but not of it: only asking it will tell.
        return


def _classes(estimator: Any) -> list[Any]:
    """Return a classifier's labels, none for anything else."""
    try:
        labels = list(getattr(estimator, "classes_", ()))
    except TypeError:
        return []
    if labels and np.ndim(labels[0]) != 0:
        raise InputError("classifiers with several outputs are not known; give one for each output")
    return [label.item() if isinstance(label, np.generic) else label for label in labels]


@dataclass(frozen=True, eq=False)
class _Estimator:
    estimator: Any
    features: Features
    method: str
    column: int | None
    inputs: str
    outputs: tuple[str, ...] | None

    def __call__(self, batch: Any) -> Numbers:
        who = type(self.estimator).__name__
        made = _made(self.features, batch, getattr(self.estimator, "n_features_in_", None), who)
        found = getattr(self.estimator, self.method)(made)
        if self.method == "decision_function" and self.column is not None and np.ndim(found) == 1:
            # One number is about the second of two classes.
            return np.asarray(found) if self.column else -np.asarray(found)
        scores = answers(found, len(batch), who, self.column)
        if self.outputs is not None and scores.shape[1:] != (len(self.outputs),):
            raise ModelError(
                f"the {who} gives {scores.shape[1:]} numbers for each sequence and has {len(self.outputs)} "
                "classes; if it compares pairs of classes, fit it with decision_function_shape='ovr'"
            )
        return scores


def booster(booster: Any, features: Features = "onehot", target: int | None = None) -> _Booster:
    """Adapt a ``lightgbm.Booster`` or ``xgboost.Booster``; the score is what its ``predict`` returns.

    That is a probability for binary objectives. With several classes, all are returned, or the one that
    `target` numbers from 0. :func:`shapsketch.from_trees` turns many boosters into sketches without a query.

    Parameters
    ----------
    booster : lightgbm.Booster or xgboost.Booster
    features : {"onehot", "codes"} or callable
        As of :func:`sklearn`. One-hot features are dense: if XGBoost was trained on a sparse matrix, whose
        zeros are missing values to it, give a function that makes one.
    target : int, optional

    Raises
    ------
    InputError
        If it is no booster.

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
    return _Booster(booster, library, _features(features), column(target), _inputs(features))


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
    features: Features
    target: int | None
    inputs: str
    outputs: tuple[str, ...] | None = None

    def __call__(self, batch: Any) -> Numbers:
        booster = self.booster
        count = booster.num_feature() if self.library == "lightgbm" else booster.num_features()
        made = _made(self.features, batch, count, f"{self.library} booster")
        if self.library == "xgboost":
            named = {}
            if not callable(self.features):
                named = {"feature_names": booster.feature_names, "feature_types": booster.feature_types}
            made = importlib.import_module("xgboost").DMatrix(made, enable_categorical=True, **named)
        return answers(booster.predict(made), len(batch), f"{self.library} booster", self.target)


def _features(features: Features) -> Features:
    if not callable(features):
        choice("features", features, ("onehot", "codes"))
    return features


def _inputs(features: Features) -> str:
    return "strings" if callable(features) else features


def _made(features: Features, batch: Any, expected: int | None, who: str) -> Any:
    """Return the features of a batch, of the number expected if that is known."""
    if callable(features):
        made = features(list(batch))
    else:
        onehot = features == "onehot"
        made = arranged(batch, "flat" if onehot else "codes", "float64" if onehot else "int64")
    shape: Any = getattr(made, "shape", ())
    if expected is None or len(shape) != 2 or shape[1] == expected:
        return made
    what = "the function given as features= makes" if callable(features) else f"features={features!r} gives"
    hint = ""
    if not callable(features) and expected in (batch.shape[1], batch.shape[1] * batch.shape[-1]):
        hint = f"; try features={'codes' if features == 'onehot' else 'onehot'!r}"
    raise ModelError(f"the {who} was fitted on {expected} features, and {what} {shape[1]}{hint}")
