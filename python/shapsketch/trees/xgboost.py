"""Convert XGBoost models."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from shapsketch._validate import optional
from shapsketch.errors import InputError
from shapsketch.models.estimators import TWO_CLASSES
from shapsketch.space import SequenceSpace, Values
from shapsketch.trees.forest import Converted, Layout, Tree, choose_class, choose_output, column, of_class
from shapsketch.trees.objectives import link_of
from shapsketch.trees.threads import forked


def convert(
    model: Any, space: SequenceSpace, output: int | None, onehot: str, zeros_missing: bool | None
) -> Converted:
    """Return a fitted XGBoost model in the common form."""
    xgboost = optional("xgboost", "trees", "converting an XGBoost model")
    booster = _booster(model, xgboost)
    if forked():
        # With more threads, this process could not even save the model.
        booster.set_param({"nthread": 1})
    learner = json.loads(booster.save_raw("json"))["learner"]
    gradient, weights = learner["gradient_booster"], None
    if gradient["name"] == "gblinear":
        raise InputError(
            "an XGBoost model with booster='gblinear' has no trees; fit it with booster='gbtree'"
        )
    if gradient["name"] == "dart":
        weights, gradient = gradient["weight_drop"], gradient["gbtree"]
    # From XGBoost 3.4 on, dropout is part of ordinary trees.
    weights = gradient["model"].get("weight_drop") or weights
    sizes, objective = learner["learner_model_param"], learner["objective"]["name"]
    layout = Layout(space, int(sizes["num_feature"]), "XGBoost", onehot)
    link = link_of("xgboost", objective)
    if gradient["model"].get("cats", {}).get("enc"):
        raise InputError(
            "the model was trained on categories of a data frame, whose codes may differ from those of the "
            "space; "
            "train it on integer codes with feature_types=['c', ...]"
        )
    wrapped = booster is not model
    if wrapped and not np.isnan(model.missing):
        raise InputError(f"the model treats {model.missing} as a missing value; fit it with missing=nan")
    groups = max(int(sizes.get("num_class", 0)), int(sizes.get("num_target", 1)), 1)
    two = groups == 1 and (objective in TWO_CLASSES or getattr(model, "n_classes_", 0) == 2)
    # Two classes have one sum of trees; its negative is the raw score of the first class.
    label = choose_class(output) if two else 1
    chosen = 0 if two else choose_output(output, groups, "outputs")
    # As in XGBoost: the scikit-learn wrapper uses the trees up to the best iteration, a booster uses all.
    best = int(booster.best_iteration) if wrapped and booster.attr("best_iteration") else None
    trees = _trees(gradient["model"], chosen, best, weights, layout, zeros_missing)
    scale = 1.0 if label == 1 else -1.0

    def predicted(features: Values, *, margin: bool) -> Values:
        matrix = xgboost.DMatrix(
            features,
            missing=0.0 if zeros_missing else np.nan,
            feature_types=booster.feature_types,
            feature_names=booster.feature_names,
            enable_categorical=True,
            nthread=1 if forked() else None,
        )
        limit = (0, 0) if best is None else (0, best + 1)
        values: Values = booster.predict(matrix, output_margin=margin, iteration_range=limit)
        return column(values.astype(np.float64), chosen)

    def scores(features: Values) -> Values:
        return scale * predicted(features, margin=True)

    def responses(features: Values) -> Values:
        return of_class(predicted(features, margin=False), label, link)

    rounding = float(np.finfo(np.float32).eps) * np.sqrt(len(trees) + 1)
    return Converted(layout, trees, scale, link, scores, responses, rounding)


def _booster(model: Any, xgboost: Any) -> Any:
    if isinstance(model, xgboost.Booster):
        return model
    try:
        return model.get_booster()
    except Exception as error:
        raise InputError(f"the {type(model).__name__} is not fitted, or has no booster: {error}") from error


def _trees(
    dump: dict[str, Any],
    chosen: int,
    best: int | None,
    weights: list[float] | None,
    layout: Layout,
    zeros_missing: bool | None,
) -> list[Tree]:
    """Return the trees of one output, up to the best iteration; `weights` are the tree weights of DART."""
    entries = dump["trees"]
    if best is not None:
        entries = entries[: dump["iteration_indptr"][best + 1]]
    trees = []
    for index, entry in enumerate(entries):
        if dump["tree_info"][index] != chosen:
            continue
        tree = _tree_of(entry)
        tree.zeros_left = _zeros_left(entry, layout, zeros_missing)
        if weights is not None:
            tree.value = [weights[index] * value for value in tree.value]
        trees.append(tree)
    return trees


def _zeros_left(entry: dict[str, Any], layout: Layout, zeros_missing: bool | None) -> list[bool] | None:
    """Return whether zeros, as missing values, go left at each node; None if they are not missing values.

    XGBoost treats the zeros of a sparse matrix as missing values. One-hot features are often sparse, so for
    these `zeros_missing` is required if it matters; codes are not.
    """
    as_missing = [bool(left) for left in entry["default_left"]]
    if not layout.onehot:
        return as_missing if zeros_missing else None
    as_values = [threshold > 0.0 for threshold in entry["split_conditions"]]
    is_split = [child >= 0 for child in entry["left_children"]]
    differs = any(
        split and missing != value
        for split, missing, value in zip(is_split, as_missing, as_values, strict=True)
    )
    if zeros_missing is None and differs:
        raise InputError(
            "the predictions of this model depend on whether zeros were missing values in training; pass "
            "zeros_missing=True if the one-hot features were a sparse matrix, zeros_missing=False if they "
            "were dense"
        )
    return as_missing if zeros_missing else None


def _tree_of(entry: dict[str, Any]) -> Tree:
    if int(entry["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise InputError(
            "trees with a vector in each leaf (multi_strategy='multi_output_tree') cannot be converted; "
            "fit the model with multi_strategy='one_output_per_tree'"
        )
    tree = Tree(
        feature=entry["split_indices"],
        threshold=entry["split_conditions"],
        left=entry["left_children"],
        right=entry["right_children"],
        value=entry["split_conditions"],
        strict=True,
        single_precision=True,
    )
    for node, start, size in zip(
        entry["categories_nodes"], entry["categories_segments"], entry["categories_sizes"], strict=True
    ):
        # XGBoost lists the categories that go right.
        right = set(entry["categories"][start : start + size])
        tree.categories[node] = set(range(64)) - right
    return tree
