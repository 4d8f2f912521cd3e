"""Convert LightGBM models."""

from __future__ import annotations

from typing import Any

from shapsketch._validate import optional
from shapsketch.errors import InputError
from shapsketch.models.estimators import TWO_CLASSES
from shapsketch.space import SequenceSpace, Values
from shapsketch.trees.forest import Converted, Layout, Tree, choose_class, choose_output, column, of_class
from shapsketch.trees.objectives import link_of
from shapsketch.trees.threads import forked


def convert(model: Any, space: SequenceSpace, output: int | None, onehot: str) -> Converted:
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
    layout = Layout(space, dump["max_feature_idx"] + 1, "LightGBM", onehot)
    if dump.get("pandas_categorical"):
        expected = [list(space.alphabet)] * len(dump["pandas_categorical"])
        if dump["pandas_categorical"] != expected:
            raise InputError(
                "the model was trained on pandas categories that are not the alphabet in its order, "
                f"{space.alphabet!r}; train it on codes, or with the categories list(alphabet)"
            )
    objective, *parameters = dump.get("objective", "custom").split()
    link = link_of("lightgbm", objective)
    if "sqrt" in parameters:
        raise InputError(
            "a LightGBM model with reg_sqrt=True squares the sum of its trees, so it cannot be converted; "
            "fit it with reg_sqrt=False"
        )
    each = dump["num_tree_per_iteration"]
    two = each == 1 and (objective in TWO_CLASSES or getattr(model, "n_classes_", 0) == 2)
    # Two classes have one sum of trees; its negative is the raw score of the first class.
    label = choose_class(output) if two else 1
    chosen = 0 if two else choose_output(output, each, "classes")
    trees = [tree_of(info["tree_structure"]) for info in dump["tree_info"][chosen::each]]
    scale = 1.0 if label == 1 else -1.0
    if link == "logit":
        # The factor of the raw score in the logit, such as "sigmoid:1".
        scale *= next(
            (float(p.removeprefix("sigmoid:")) for p in parameters if p.startswith("sigmoid:")), 1.0
        )
    if dump["average_output"]:
        # The raw score of a random forest is the sum of its trees, but its prediction is their mean.
        scale /= max(len(trees), 1)

    def predicted(features: Values, *, raw_score: bool) -> Values:
        threads = {"num_threads": 1} if forked() else {}
        values: Values = booster.predict(features, raw_score=raw_score, num_iteration=best, **threads)
        return values

    def scores(features: Values) -> Values:
        return scale * column(predicted(features, raw_score=True), chosen)

    def responses(features: Values) -> Values:
        return of_class(column(predicted(features, raw_score=False), chosen), label, link)

    return Converted(layout, trees, scale, link, scores, responses)


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
