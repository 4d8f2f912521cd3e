"""LightGBM models."""

from __future__ import annotations

from typing import Any

from shapsketch._validate import optional
from shapsketch.errors import InputError
from shapsketch.space import SequenceSpace, Values
from shapsketch.trees.forest import Converted, Layout, Tree, choose_output


def convert(model: Any, space: SequenceSpace, output: int | None) -> Converted:
    """Return a fitted LightGBM model in the common form."""
    lightgbm = optional("lightgbm", "trees", "converting a LightGBM model")
    booster = model
    if not isinstance(model, lightgbm.Booster):
        if not isinstance(model, lightgbm.LGBMModel):
            raise InputError(f"cannot convert a lightgbm {type(model).__name__}: it is no model")
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
    words = dump.get("objective", "regression").split()
    objective = words[0]
    link = "identity"
    if objective in ("binary", "cross_entropy"):
        if "sigmoid:1" not in words and objective == "binary":
            raise InputError(f"the objective {' '.join(words)!r} scales its logit; only sigmoid:1 is known")
        link = "logit"
    elif objective in ("poisson", "gamma", "tweedie"):
        link = "log"
    if "sqrt" in words:
        raise InputError("a LightGBM model with reg_sqrt=True squares its sum of trees; fit it without")
    listed = dump["tree_info"][chosen::each]
    trees = [tree_of(info["tree_structure"]) for info in listed]
    scale = 1.0 / max(len(trees), 1) if dump["average_output"] else 1.0

    def scores(features: Values) -> Values:
        # The raw score of a forest is the sum of its trees, its prediction their mean.
        raw: Values = scale * booster.predict(features, raw_score=True, num_iteration=best)
        return raw if each == 1 else raw[:, chosen]

    return Converted(layout, trees, scale, link, scores)


def tree_of(root: dict[str, Any]) -> Tree:
    """Return a tree of a LightGBM dump in the common form."""
    tree = Tree([], [], [], [], [])
    todo: list[tuple[dict[str, Any], list[int] | None, int]] = [(root, None, 0)]
    while todo:
        node, children, slot = todo.pop()
        at = len(tree.feature)
        if children is not None:
            children[slot] = at
        split = "split_feature" in node
        tree.feature.append(node["split_feature"] if split else -1)
        tree.left.append(-1)
        tree.right.append(-1)
        tree.value.append(0.0 if split else node["leaf_value"])
        tree.threshold.append(0.0)
        if not split:
            if "leaf_coeff" in node:
                raise InputError(
                    "trees with linear leaves (linear_tree=True) are no sums of products; fit without"
                )
            continue
        if node["missing_type"] == "Zero":
            raise InputError(
                "splits that take zero for a missing value (zero_as_missing=True) cannot be converted"
            )
        if node["decision_type"] == "==":
            tree.categories[at] = {int(c) for c in str(node["threshold"]).split("||")}
        else:
            tree.threshold[at] = float(node["threshold"])
        todo += [(node["right_child"], tree.right, at), (node["left_child"], tree.left, at)]
    return tree
