"""Convert scikit-learn trees and ensembles of trees."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from shapsketch.errors import InputError
from shapsketch.space import SequenceSpace, Values
from shapsketch.trees.forest import Converted, Layout, Tree, choose_output
from shapsketch.trees.threads import forked


def convert(model: Any, space: SequenceSpace, output: int | None) -> Converted:
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
    layout = Layout(space, model.n_features_in_, "scikit-learn")
    classes = len(model.classes_) if hasattr(model, "classes_") and np.ndim(model.classes_[0]) == 0 else 0
    if single or forest:
        return _convert_forest(model, layout, output, classes, single)
    groups = 1 if classes <= 2 else classes
    chosen = choose_output(output, groups, "classes")
    link = "logit" if classes else "identity"
    # With the exponential loss the logit is twice the decision function.
    factor = 2.0 if boosted and classes and model.loss == "exponential" else 1.0
    if histogram:
        trees = [_histogram_tree(stage[chosen]) for stage in model._predictors]
        loss = getattr(model, "loss", None)
        if not classes and loss in ("poisson", "gamma"):
            link = "log"
        scale = 1.0
    else:
        trees = [_tree_of(stage[chosen].tree_, 0, None) for stage in model.estimators_]
        scale = factor * float(model.learning_rate)

    def scores(features: Values) -> Values:
        # scikit-learn depends on threadpoolctl.
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "openmp") if forked() else nullcontext():
            if not classes:
                predicted: Values = model.predict(features)
                return np.log(predicted) if link == "log" else predicted
            raw: Values = factor * model.decision_function(features)
        return raw if raw.ndim == 1 else raw[:, chosen]

    return Converted(layout, trees, scale, link if groups == 1 else "identity", scores)


def _convert_forest(model: Any, layout: Layout, output: int | None, classes: int, single: bool) -> Converted:
    """Return a forest, or a single tree, in the common form; `classes` is 0 for a regression."""
    estimators = [model] if single else model.estimators_
    outputs = int(model.n_outputs_)
    if hasattr(model, "classes_") and outputs > 1:
        raise InputError(
            "classifiers with several outputs cannot be converted; fit one classifier for each output"
        )
    if classes:
        # With two classes, the default is the second one, as in scikit-learn's decision functions.
        chosen = 1 if output is None and classes == 2 else choose_output(output, classes, "classes")
        trees = [_tree_of(estimator.tree_, 0, chosen) for estimator in estimators]
    else:
        chosen = choose_output(output, outputs, "outputs")
        trees = [_tree_of(estimator.tree_, chosen, None) for estimator in estimators]

    def scores(features: Values) -> Values:
        predicted: Values = model.predict_proba(features) if classes else model.predict(features)
        return predicted if predicted.ndim == 1 else predicted[:, chosen]

    return Converted(layout, trees, 1.0 / len(estimators), "identity", scores)


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


def _histogram_tree(predictor: Any) -> Tree:
    """Return a tree of a histogram gradient boosting model in the common form."""
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    tree = Tree(
        feature=nodes["feature_idx"].tolist(),
        threshold=nodes["num_threshold"].tolist(),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)).tolist(),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)).tolist(),
        value=nodes["value"].tolist(),
    )
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        # The set of categories that go left, in integers of 32 bits.
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        tree.categories[int(node)] = {c for c in range(64) if int(bits[c // 32]) >> (c % 32) & 1}
    return tree
