"""Convert LightGBM models."""

from __future__ import annotations

from typing import Any

from shapsketch._validate import optional
from shapsketch.errors import InputError
from shapsketch.space import SequenceSpace, Values
from shapsketch.trees.forest import Converted, Layout, Tree, choose_output
from shapsketch.trees.threads import forked


def convert(model: Any, space: SequenceSpace, output: int | None) -> Converted:
    """Return a fitted LightGBM model in the common form."""
    lightgbm = optional("lightgbm", "trees", "converting a LightGBM model")
    booster = model
    if not isinstance(model, lightgbm.Booster):
        if not isinstance(model, lightgbm.LGBMModel):
            raise InputError(f"cannot convert a lightgbm {type(model).__name__}: it is not a model")
        if not hasattr(model, "booster_"):
            raise InputError(f"the {type(model).__name__} is not fitted; call its fit first")
        booster = model.booster_
    best = booster.best_iteration if booster.best_iteration > 0 else None
    dump = booster.dump_model(num_iteration=best)
    layout = Layout(space, dump["max_feature_idx"] + 1, "LightGBM")
    each = dump["num_tree_per_iteration"]
    chosen = choose_output(output, each, "classes")
    if dump.get("pandas_categorical"):
        expected = [list(space.alphabet)] * len(dump["pandas_categorical"])
        if dump["pandas_categorical"] != expected:
            raise InputError(
                "the model was trained on pandas categories that are not the alphabet in its order, "
                f"{space.alphabet!r}; train it on codes, or with the categories list(alphabet)"
            )
    objective, *parameters = dump.get("objective", "regression").split()
    link = "identity"
    if objective in ("binary", "cross_entropy"):
        if "sigmoid:1" not in parameters and objective == "binary":
            raise InputError(
                f"the objective {dump['objective']!r} scales its logit; only sigmoid:1 is supported"
            )
        link = "logit"
    elif objective in ("poisson", "gamma", "tweedie"):
        link = "log"
    if "sqrt" in parameters:
        raise InputError(
            "a LightGBM model with reg_sqrt=True squares the sum of its trees, so it cannot be converted; "
            "fit it with reg_sqrt=False"
        )
    trees = [tree_of(info["tree_structure"]) for info in dump["tree_info"][chosen::each]]
    scale = 1.0 / max(len(trees), 1) if dump["average_output"] else 1.0

    def scores(features: Values) -> Values:
        # The raw score of a random forest is the sum of its trees, but its prediction is their mean.
        threads = {"num_threads": 1} if forked() else {}
        raw: Values = scale * booster.predict(features, raw_score=True, num_iteration=best, **threads)
        return raw if each == 1 else raw[:, chosen]

    return Converted(layout, trees, scale, link, scores)


def tree_of(root: dict[str, Any]) -> Tree:
    """Return a tree of a LightGBM dump in the common form."""
    tree = Tree([], [], [], [], [])
    # Each entry is a node, and where to store its index: a list of children and the index of the parent.
    pending: list[tuple[dict[str, Any], list[int] | None, int]] = [(root, None, 0)]
    while pending:
        node, children, parent = pending.pop()
        index = len(tree.feature)
        if children is not None:
            children[parent] = index
        split = "split_feature" in node
        tree.feature.append(node["split_feature"] if split else -1)
        tree.left.append(-1)
        tree.right.append(-1)
        tree.value.append(0.0 if split else node["leaf_value"])
        tree.threshold.append(0.0)
        if not split:
            if "leaf_coeff" in node:
                raise InputError(
                    "trees with linear leaves (linear_tree=True) cannot be converted; "
                    "fit the model with linear_tree=False"
                )
            continue
        if node["missing_type"] == "Zero":
            raise InputError(
                "splits that treat zero as a missing value (zero_as_missing=True) cannot be converted; "
                "fit the model with zero_as_missing=False"
            )
        if node["decision_type"] == "==":
            tree.categories[index] = {int(c) for c in str(node["threshold"]).split("||")}
        else:
            tree.threshold[index] = float(node["threshold"])
        pending += [(node["right_child"], tree.right, index), (node["left_child"], tree.left, index)]
    return tree
