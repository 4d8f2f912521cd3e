"""Convert XGBoost models."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from shapsketch._validate import optional
from shapsketch.errors import InputError
from shapsketch.space import SequenceSpace, Values
from shapsketch.trees.forest import Converted, Layout, Tree, choose_output
from shapsketch.trees.threads import forked

# The link scale on which the trees of an objective are summed; identity for other objectives.
LINKS = {
    "binary:logistic": "logit",
    "reg:logistic": "logit",
    "count:poisson": "log",
    "reg:gamma": "log",
    "reg:tweedie": "log",
    "survival:cox": "log",
}


def convert(model: Any, space: SequenceSpace, output: int | None, zeros_missing: bool | None) -> Converted:
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
    sizes = learner["learner_model_param"]
    layout = Layout(space, int(sizes["num_feature"]), "XGBoost")
    groups = max(int(sizes.get("num_class", 0)), int(sizes.get("num_target", 1)), 1)
    chosen = choose_output(output, groups, "outputs")
    if gradient["model"].get("cats", {}).get("enc"):
        raise InputError(
            "the model was trained on categories of a data frame, whose codes may differ from those of the "
            "space; "
            "train it on integer codes with feature_types=['c', ...]"
        )
    wrapped = booster is not model
    if wrapped and not np.isnan(model.missing):
        raise InputError(f"the model treats {model.missing} as a missing value; fit it with missing=nan")
    # As in XGBoost: the scikit-learn wrapper uses the trees up to the best iteration, a booster uses all.
    best = int(booster.best_iteration) if wrapped and booster.attr("best_iteration") else None
    trees = _trees(gradient["model"], chosen, best, weights, layout, zeros_missing)

    def scores(features: Values) -> Values:
        matrix = xgboost.DMatrix(
            features,
            missing=0.0 if layout.onehot and zeros_missing else np.nan,
            feature_types=booster.feature_types,
            feature_names=booster.feature_names,
            enable_categorical=True,
            nthread=1 if forked() else None,
        )
        limit = (0, 0) if best is None else (0, best + 1)
        raw: Values = booster.predict(matrix, output_margin=True, iteration_range=limit).astype(np.float64)
        return raw if raw.ndim == 1 else raw[:, chosen]

    link = LINKS.get(learner["objective"]["name"], "identity")
    rounding = float(np.finfo(np.float32).eps) * np.sqrt(len(trees) + 1)
    return Converted(layout, trees, 1.0, link, scores, rounding)


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
        if layout.onehot:
            tree.zeros_left = _zeros_left(entry, zeros_missing)
        if weights is not None:
            tree.value = [weights[index] * value for value in tree.value]
        trees.append(tree)
    return trees


def _zeros_left(entry: dict[str, Any], zeros_missing: bool | None) -> list[bool] | None:
    """Return whether zeros, as missing values, go left at each node; None if they are not missing values.

    XGBoost treats the zeros of a sparse matrix as missing values.
    """
    as_missing = [bool(left) for left in entry["default_left"]]
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
