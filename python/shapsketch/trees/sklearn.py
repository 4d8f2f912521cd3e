"""Convert scikit-learn trees and ensembles of trees."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from shapsketch.errors import InputError
from shapsketch.link import SOFTMAX
from shapsketch.space import SequenceSpace, Values
from shapsketch.trees.forest import Converted, Layout, Tree, choose_class, choose_output, column
from shapsketch.trees.objectives import link_of
from shapsketch.trees.threads import forked


def convert(model: Any, space: SequenceSpace, output: int | None, onehot: str) -> Converted:
    """Return a fitted scikit-learn tree or ensemble in the common form."""
    from sklearn import ensemble, tree
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    name = type(model).__name__
    single = isinstance(model, tree.BaseDecisionTree)
    forest = isinstance(
        model,
        (
            ensemble.RandomForestRegressor,
            ensemble.RandomForestClassifier,
            ensemble.ExtraTreesRegressor,
            ensemble.ExtraTreesClassifier,
        ),
    )
    boosted = isinstance(model, (ensemble.GradientBoostingRegressor, ensemble.GradientBoostingClassifier))
    histogram = isinstance(
        model, (ensemble.HistGradientBoostingRegressor, ensemble.HistGradientBoostingClassifier)
    )
    if not (single or forest or boosted or histogram):
        raise InputError(
            f"cannot convert a scikit-learn {name}; supported are decision trees, random forests, "
            "extra trees, gradient boosting and histogram gradient boosting"
        )
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise InputError(f"the {name} is not fitted: {error}") from error
    layout = Layout(space, model.n_features_in_, "scikit-learn", onehot)
    classes = len(model.classes_) if hasattr(model, "classes_") and np.ndim(model.classes_[0]) == 0 else 0
    if single or forest:
        return _convert_forest(model, layout, output, classes, single)
    link = link_of("sklearn", model.loss)
    chosen, label = 0, 1
    if classes > 2:
        chosen, link = choose_output(output, classes, "classes"), SOFTMAX
    elif classes:
        # Two classes have one sum of trees; its negative is the decision function of the first class.
        label = choose_class(output)
    else:
        choose_output(output, 1, "outputs")
    scale = 1.0 if label == 1 else -1.0
    if boosted and classes and model.loss == "exponential":
        # With the exponential loss the logit is twice the decision function.
        scale *= 2.0

    def scores(features: Values) -> Values:
        with _threads():
            if not classes:
                predicted: Values = model.predict(features)
                return np.log(predicted) if link == "log" else predicted
            return scale * column(model.decision_function(features), chosen)

    def responses(features: Values) -> Values:
        with _threads():
            predicted: Values = (
                model.predict_proba(features)[:, label] if classes else model.predict(features)
            )
        return predicted

    if histogram:
        trees = _histogram_trees(model, chosen, space)
        return Converted(layout, trees, scale, link, scores, responses)
    trees = [_tree_of(stage[chosen].tree_, 0, None) for stage in model.estimators_]
    return Converted(layout, trees, scale * float(model.learning_rate), link, scores, responses)


def _threads() -> AbstractContextManager[Any]:
    """Return a context in which a forked process uses one thread."""
    # scikit-learn depends on threadpoolctl.
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "openmp") if forked() else nullcontext()


def _convert_forest(model: Any, layout: Layout, output: int | None, classes: int, single: bool) -> Converted:
    """Return a forest, or a single tree, in the common form; `classes` is 0 for a regression."""
    estimators = [model] if single else model.estimators_
    outputs = int(model.n_outputs_)
    if hasattr(model, "classes_") and outputs > 1:
        raise InputError(
            "classifiers with several outputs cannot be converted; fit one classifier for each output"
        )
    if classes:
        chosen = choose_class(output) if classes == 2 else choose_output(output, classes, "classes")
        trees = [_tree_of(estimator.tree_, 0, chosen) for estimator in estimators]
    else:
        chosen = choose_output(output, outputs, "outputs")
        trees = [_tree_of(estimator.tree_, chosen, None) for estimator in estimators]

    def scores(features: Values) -> Values:
        return column(model.predict_proba(features) if classes else model.predict(features), chosen)

    return Converted(layout, trees, 1.0 / len(estimators), "identity", scores, scores)


def _tree_of(tree: Any, output: int, chosen: int | None) -> Tree:
    """Return a tree in the common form: values of an output, or fractions of the class `chosen`."""
    values = tree.value[:, output]
    # Depending on the version of scikit-learn, the values of classes are counts or fractions.
    value = values[:, 0] if chosen is None else values[:, chosen] / values.sum(axis=1)
    return Tree(
        feature=tree.feature.tolist(),
        threshold=tree.threshold.tolist(),
        left=tree.children_left.tolist(),
        right=tree.children_right.tolist(),
        value=value.tolist(),
    )


def _histogram_trees(model: Any, chosen: int, space: SequenceSpace) -> list[Tree]:
    """Return the trees of a histogram gradient boosting model in the common form.

    The model encodes categories as their indices among those of the training data, and moves categorical
    features before the others. Categories that training did not have are missing values.
    """
    order = np.arange(model.n_features_in_)
    # The code of each category of each categorical feature.
    codes: list[list[int]] = [list(range(64)) for _ in order]
    # Before version 1.4, scikit-learn did not encode categories.
    preprocessor = getattr(model, "_preprocessor", None)
    if preprocessor is None:
        return [_histogram_tree(stage[chosen], order, codes) for stage in model._predictors]
    order = np.argsort(~model.is_categorical_, kind="stable")
    codes = []
    for feature, categories in zip(
        order, preprocessor.named_transformers_["encoder"].categories_, strict=False
    ):
        if np.asarray(categories).dtype.kind not in "iufb":
            raise InputError(
                f"the model was trained on categories that are not codes, such as {categories[0]!r} of "
                f"feature {feature}; train it on integer codes with categorical_features=[0, 1, ...]"
            )
        # -1 for missing values and numbers that are not codes.
        codes.append([int(c) if c in range(space.q) else -1 for c in categories])
    return [_histogram_tree(stage[chosen], order, codes) for stage in model._predictors]


def _histogram_tree(predictor: Any, order: Any, codes: list[list[int]]) -> Tree:
    """Return a tree in the common form.

    `order` has the original index of each feature, `codes` the codes of the categories of each categorical
    feature.
    """
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    features = nodes["feature_idx"].astype(np.int64)
    tree = Tree(
        feature=np.where(leaf, -1, order[features]).tolist(),
        threshold=nodes["num_threshold"].tolist(),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)).tolist(),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)).tolist(),
        value=nodes["value"].tolist(),
    )
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        # The set of categories that go left, in integers of 32 bits.
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        known = codes[features[node]]
        left = {code for c, code in enumerate(known) if int(bits[c // 32]) >> (c % 32) & 1}
        unknown = set(range(64)) - set(known) if nodes["missing_go_to_left"][node] else set()
        tree.categories[int(node)] = left | unknown
    return tree
