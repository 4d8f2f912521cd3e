"""Fitted tree ensembles of other libraries, as surrogates without a single query."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import integer, optional
from shapsketch.errors import InputError
from shapsketch.link import parse
from shapsketch.space import Codes, SequenceSpace, Values, space_of
from shapsketch.surrogate.sketch import Sketch, _on_link

# Sequences on which a conversion is checked against the library, and the difference allowed.
PROBES = 256
AGREES = 1e-6
MAX_TERMS = 2**22


@dataclass
class Forest:
    """Trees as flat arrays, as the core takes them."""

    space: SequenceSpace
    starts: list[int] = field(default_factory=lambda: [0])
    positions: list[int] = field(default_factory=list)
    sets: list[int] = field(default_factory=list)
    roots: list[int] = field(default_factory=lambda: [0])
    conditions: list[int] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    _known: dict[tuple[tuple[int, int], ...], int] = field(default_factory=dict)

    def condition(self, *places: tuple[int, int]) -> int:
        """Return the number of a condition: positions and sets of letters as bits."""
        if places not in self._known:
            self._known[places] = len(self._known)
            self.positions += [position for position, _ in places]
            self.sets += [letters for _, letters in places]
            self.starts.append(len(self.positions))
        return self._known[places]

    def leaf(self, value: float) -> int:
        """Add a leaf to the last tree and return its number."""
        return self._add(-1, value)

    def split(self, condition: int) -> int:
        """Add a split, whose children are set by :meth:`join`, and return its number."""
        return self._add(condition, 0.0)

    def _add(self, condition: int, value: float) -> int:
        self.conditions.append(condition)
        self.yes.append(0)
        self.no.append(0)
        self.values.append(float(value))
        return len(self.conditions) - 1 - self.roots[-1]

    def join(self, at: int, yes: int, no: int) -> None:
        """Set the children of a split of the last tree."""
        self.yes[self.roots[-1] + at] = yes
        self.no[self.roots[-1] + at] = no

    def end(self) -> None:
        """End the last tree."""
        self.roots.append(len(self.conditions))

    def ensemble(self, constant: float) -> _core.Ensemble:
        """Return the trees and a constant as an ensemble."""
        return _core.Ensemble(
            self.space._core,
            constant=constant,
            starts=self.starts,
            positions=self.positions,
            sets=self.sets,
            roots=self.roots,
            conditions=self.conditions,
            yes=self.yes,
            no=self.no,
            values=np.array(self.values),
        )

    def grow(self, layout: Layout, tree: Tree) -> None:
        """Add a tree over features of a layout."""
        at = 0
        # Depth first, without recursion: users' trees may be chains. (node, parent, is it the yes side)
        todo: list[tuple[int, int | None, bool]] = [(0, None, False)]
        children: dict[int, list[int]] = {}
        while todo:
            node, parent, holds = todo.pop()
            while True:
                if tree.left[node] < 0:
                    at = self.leaf(tree.value[node])
                    break
                position, letters = layout.goes_left(tree, node)
                if letters in (0, layout.all):
                    node = tree.left[node] if letters else tree.right[node]
                    continue
                at = self.split(self.condition((position, letters)))
                children[at] = [0, 0]
                todo += [(tree.right[node], at, False), (tree.left[node], at, True)]
                break
            if parent is not None:
                children[parent][0 if holds else 1] = at
        for at, (yes, no) in children.items():
            self.join(at, yes, no)
        self.end()


@dataclass
class Tree:
    """One tree as the libraries have it: children below 0 mark a leaf."""

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]
    # Categories that go left, by node.
    categories: dict[int, set[int]] = field(default_factory=dict)
    # "<=" (LightGBM, scikit-learn) or "<" (XGBoost).
    strict: bool = False
    # Which way a missing value goes left, by node, where zeros count as missing.
    zeros: list[bool] | None = None
    # Whether thresholds are compared in single precision.
    single: bool = False


class Layout:
    """How sequences became features: codes (B, n), or one-hot (B, n q), position by position."""

    def __init__(self, space: SequenceSpace, n_features: int, library: str) -> None:
        self.space = space
        self.onehot = n_features == space.n * space.q
        self.all = (1 << space.q) - 1
        if not self.onehot and n_features != space.n:
            raise InputError(
                f"the {library} model has {n_features} features; sequences of {space} have {space.n} as "
                f"integer codes, {space.n * space.q} as one-hot features: no other layout can be converted"
            )

    def goes_left(self, tree: Tree, node: int) -> tuple[int, int]:
        """Return the position a split asks for, and the letters that go left, as bits."""
        q = self.space.q
        position, letter = divmod(tree.feature[node], q) if self.onehot else (tree.feature[node], 0)
        values = (np.arange(q) == letter).astype(np.int64) if self.onehot else np.arange(q)
        if node in tree.categories:
            left: npt.NDArray[np.bool_] = np.isin(values, list(tree.categories[node]))
        else:
            kind = np.float32 if tree.single else np.float64
            threshold = kind(tree.threshold[node])
            numbers = values.astype(kind)
            left = np.asarray(numbers < threshold if tree.strict else numbers <= threshold)
            if tree.zeros is not None:
                left = np.where(values == 0, tree.zeros[node], left)
        return position, sum(1 << int(a) for a in np.flatnonzero(left))

    def features(self, codes: Codes) -> Values:
        """Return the features of codes."""
        numbers = np.eye(self.space.q)[codes].reshape(len(codes), -1) if self.onehot else codes
        return numbers.astype(np.float64)


@dataclass
class Converted:
    """What a library's model is, in our terms."""

    layout: Layout
    trees: list[Tree]
    # What all trees are multiplied by.
    scale: float
    link: str
    # The library's own scores on the scale of the link, of features.
    scores: Any
    # What the library rounds its scores by, relative to the largest.
    rounding: float = 1e-12


def from_trees(
    model: Any,
    space: SequenceSpace,
    *,
    output: int | None = None,
    max_terms: int = MAX_TERMS,
    zeros_missing: bool | None = None,
) -> Sketch:
    """Turn a fitted tree ensemble into a sketch of the same function, without a query.

    Takes LightGBM (``Booster``, ``LGBMRegressor``, ``LGBMClassifier``), XGBoost (``Booster``,
    ``XGBRegressor``, ``XGBClassifier``) and scikit-learn (decision trees, random forests, extra trees,
    gradient boosting, histogram gradient boosting), trained on integer codes ``(B, n)``, ordinal or
    categorical, or on one-hot features ``(B, n q)``, position by position. A leaf becomes one product
    term, so nothing is lost, and Shapley values are exact: those of the interventional tree explainers
    for a uniform background.

    Boosted classifiers and count models add up on a link scale; so does the sketch, and says so:
    ``sketch.link`` is ``"logit"`` or ``"log"``. A forest's classes are probabilities. With several
    classes the score of a boosted one is the raw score before the softmax.

    Parameters
    ----------
    model : fitted model
    space : SequenceSpace
    output : int, optional
        Which output or class, of a model with several.
    max_terms : int
        Terms that the sketch may have.
    zeros_missing : bool, optional
        Of an XGBoost model on one-hot features: whether these were a sparse matrix, whose zeros are missing
        values to it. Asked for where it makes a difference.

    Returns
    -------
    Sketch
        Agrees with the model to 1e-6 of the range of its scores, and the library's own rounding; this is
        checked on random sequences.

    Raises
    ------
    InputError
        If the model is not fitted, is of another kind, has other features, several outputs and none was
        chosen, or splits that cannot be converted (linear leaves, zeros as missing values): says which.

    Examples
    --------
    >>> import numpy as np, shapsketch as ss
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> space = ss.SequenceSpace(ss.DNA, length=6)
    >>> X = np.random.default_rng(0).integers(0, 4, (200, 6))
    >>> forest = RandomForestRegressor(10, random_state=0).fit(X, X[:, 0] == X[:, 3])
    >>> sketch = ss.from_trees(forest, space)
    >>> bool(np.allclose(sketch.predict(X), forest.predict(X)))
    True
    """
    space_of(space)
    limit = integer("max_terms", max_terms, least=1)
    which = None if output is None else integer("output", output, least=0)
    library = type(model).__module__.split(".")[0]
    converters: dict[str, Callable[..., Converted]] = {
        "lightgbm": _lightgbm,
        "xgboost": partial(_xgboost, zeros_missing=zeros_missing),
        "sklearn": _sklearn,
    }
    if library not in converters:
        raise InputError(
            f"cannot convert a {type(model).__module__}.{type(model).__name__}; known are the tree ensembles "
            f"of {', '.join(converters)}"
        )
    found = converters[library](model, space, which)
    forest = Forest(space)
    for tree in found.trees:
        tree.value = [found.scale * value for value in tree.value]
        forest.grow(found.layout, tree)
    rng = np.random.default_rng(0)
    probes = rng.integers(0, space.q, (PROBES, space.n)).astype(np.uint8)
    try:
        wanted = np.asarray(found.scores(found.layout.features(probes)), dtype=np.float64)
    except Exception as error:
        raise InputError(
            f"this {type(model).__name__} does not predict from numbers, with which a conversion is "
            f"checked: {error}"
        ) from error
    # Libraries keep what they start from in places of their own: it is what the trees do not account for.
    rest = wanted - forest.ensemble(0.0).predict(probes)
    constant = float(np.median(rest))
    allowed = AGREES * np.ptp(wanted) + found.rounding * float(np.abs(wanted).max())
    if not np.abs(rest - constant).max() <= allowed:
        raise InputError(
            f"this {type(model).__name__} is not the sum of its trees, as they were read, and a constant: "
            f"scores differ by {np.abs(rest - constant).max():.2g}; it cannot be converted (an encoder, or a "
            "model that it starts from?)"
        )
    core = forest.ensemble(constant).exact(limit)
    made = core.made_by(
        method="converted",
        status="exact",
        budget=0,
        queries=0,
        seed=0,
        codes=probes,
        values=wanted,
        predictions=_core.Components(core).predict(probes),
        share=0.0,
        rest=0.0,
        candidates=[],
        teacher=None,
    )
    scale = parse(found.link)
    return Sketch._wrap(_on_link(made, scale), scale)


def _choose(output: int | None, count: int, what: str) -> int:
    """Return which of several outputs is meant."""
    if output is None:
        if count > 1:
            raise InputError(f"the model has {count} {what}; choose one: output=0 to {count - 1}")
        return 0
    if output >= max(count, 1):
        raise InputError(f"output must be below {count}, the number of {what}, got {output}")
    return output


def _lightgbm(model: Any, space: SequenceSpace, output: int | None) -> Converted:
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
    chosen = _choose(output, each, "classes")
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
    trees = [_lightgbm_tree(info["tree_structure"]) for info in listed]
    scale = 1.0 / max(len(trees), 1) if dump["average_output"] else 1.0

    def scores(features: Values) -> Values:
        # The raw score of a forest is the sum of its trees, its prediction their mean.
        raw: Values = scale * booster.predict(features, raw_score=True, num_iteration=best)
        return raw if each == 1 else raw[:, chosen]

    return Converted(layout, trees, scale, link, scores)


def _lightgbm_tree(root: dict[str, Any]) -> Tree:
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


def _xgboost(model: Any, space: SequenceSpace, output: int | None, zeros_missing: bool | None) -> Converted:
    xgboost = optional("xgboost", "trees", "converting an XGBoost model")
    booster = model
    if not isinstance(model, xgboost.Booster):
        try:
            booster = model.get_booster()
        except Exception as error:
            raise InputError(
                f"the {type(model).__name__} is not fitted, or has no booster: {error}"
            ) from error
    learner = json.loads(booster.save_raw("json"))["learner"]
    name = learner["gradient_booster"]["name"]
    if name == "gblinear":
        raise InputError("an XGBoost model with booster='gblinear' has no trees")
    inner = learner["gradient_booster"]
    weights = None
    if name == "dart":
        weights, inner = inner["weight_drop"], inner["gbtree"]
    layout = Layout(space, int(learner["learner_model_param"]["num_feature"]), "XGBoost")
    groups = max(int(learner["learner_model_param"].get("num_class", 0)), 1)
    groups = max(groups, int(learner["learner_model_param"].get("num_target", 1)))
    chosen = _choose(output, groups, "outputs")
    if inner["model"].get("cats", {}).get("enc"):
        raise InputError(
            "the model was trained on categories of a data frame, which have codes of their own; train it on "
            "integer codes with feature_types=['c', ...]"
        )
    wrapped = booster is not model
    if wrapped and not np.isnan(model.missing):
        raise InputError(f"the model takes {model.missing} for a missing value; fit it with missing=nan")
    # As the library itself: the wrapper predicts with the best iteration, a booster with all of them.
    best = booster.best_iteration if wrapped and booster.attr("best_iteration") else None
    listed = inner["model"]["trees"]
    if best is not None:
        listed = listed[: inner["model"]["iteration_indptr"][int(best) + 1]]
    trees = []
    for index, entry in enumerate(listed):
        if inner["model"]["tree_info"][index] != chosen:
            continue
        tree = _xgboost_tree(entry)
        if layout.onehot:
            tree.zeros = _zeros(entry, zeros_missing)
        if weights is not None:
            tree.value = [weights[index] * value for value in tree.value]
        trees.append(tree)
    objective = learner["objective"]["name"]
    link = "identity"
    if objective in ("binary:logistic", "reg:logistic"):
        link = "logit"
    elif objective in ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"):
        link = "log"

    def scores(features: Values) -> Values:
        matrix = xgboost.DMatrix(
            features,
            missing=0.0 if layout.onehot and zeros_missing else np.nan,
            feature_types=booster.feature_types,
            feature_names=booster.feature_names,
            enable_categorical=True,
        )
        limit = (0, 0) if best is None else (0, int(best) + 1)
        raw: Values = booster.predict(matrix, output_margin=True, iteration_range=limit).astype(np.float64)
        return raw if raw.ndim == 1 else raw[:, chosen]

    rounding = float(np.finfo(np.float32).eps) * np.sqrt(len(trees) + 1)
    return Converted(layout, trees, 1.0, link, scores, rounding)


def _zeros(entry: dict[str, Any], zeros_missing: bool | None) -> list[bool] | None:
    """Return which way zeros go if they are missing values, which a sparse matrix makes of them."""
    ways = [bool(way) for way in entry["default_left"]]
    inner = [left >= 0 for left in entry["left_children"]]
    smaller = [threshold > 0.0 for threshold in entry["split_conditions"]]
    if zeros_missing is None and any(i and w != s for i, w, s in zip(inner, ways, smaller, strict=True)):
        raise InputError(
            "whether zeros were missing values in training decides where this model's splits send them: say "
            "zeros_missing=True if the one-hot features were a sparse matrix, False if they were dense"
        )
    return ways if zeros_missing else None


def _xgboost_tree(entry: dict[str, Any]) -> Tree:
    if int(entry["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise InputError(
            "trees with a vector in each leaf (multi_strategy='multi_output_tree') are not known"
        )
    tree = Tree(
        feature=entry["split_indices"],
        threshold=entry["split_conditions"],
        left=entry["left_children"],
        right=entry["right_children"],
        value=entry["split_conditions"],
        strict=True,
        single=True,
    )
    for node, start, size in zip(
        entry["categories_nodes"], entry["categories_segments"], entry["categories_sizes"], strict=True
    ):
        # The categories listed go right.
        right = set(entry["categories"][start : start + size])
        tree.categories[node] = set(range(64)) - right
    return tree


def _sklearn(model: Any, space: SequenceSpace, output: int | None) -> Converted:
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
            f"cannot convert a scikit-learn {name}; known are decision trees, random forests, extra trees, "
            "gradient boosting and histogram gradient boosting"
        )
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise InputError(f"the {name} is not fitted: {error}") from error
    layout = Layout(space, model.n_features_in_, "scikit-learn")
    classes = len(model.classes_) if hasattr(model, "classes_") and np.ndim(model.classes_[0]) == 0 else 0
    if single or forest:
        return _sklearn_forest(model, layout, output, classes, single)
    groups = 1 if classes <= 2 else classes
    chosen = _choose(output, groups, "classes")
    link = "logit" if classes else "identity"
    # The exponential loss has twice the logit of others.
    factor = 2.0 if boosted and classes and model.loss == "exponential" else 1.0
    if histogram:
        trees = [_histogram_tree(stage[chosen]) for stage in model._predictors]
        loss = getattr(model, "loss", None)
        if not classes and loss in ("poisson", "gamma"):
            link = "log"
        scale = 1.0
    else:
        trees = [_sklearn_tree(stage[chosen].tree_, 0, None) for stage in model.estimators_]
        scale = factor * float(model.learning_rate)

    def scores(features: Values) -> Values:
        if not classes:
            predicted: Values = model.predict(features)
            return np.log(predicted) if link == "log" else predicted
        raw: Values = factor * model.decision_function(features)
        return raw if raw.ndim == 1 else raw[:, chosen]

    return Converted(layout, trees, scale, link if groups == 1 else "identity", scores)


def _sklearn_forest(model: Any, layout: Layout, output: int | None, classes: int, single: bool) -> Converted:
    estimators = [model] if single else model.estimators_
    outputs = int(model.n_outputs_)
    if hasattr(model, "classes_") and outputs > 1:
        raise InputError("classifiers with several outputs cannot be converted; fit one for each")
    if classes:
        # Of two classes the second is the one that is meant, as in scikit-learn's own scores.
        chosen = 1 if output is None and classes == 2 else _choose(output, classes, "classes")
        trees = [_sklearn_tree(estimator.tree_, 0, chosen) for estimator in estimators]
    else:
        chosen = _choose(output, outputs, "outputs")
        trees = [_sklearn_tree(estimator.tree_, chosen, None) for estimator in estimators]

    def scores(features: Values) -> Values:
        found: Values = model.predict_proba(features) if classes else model.predict(features)
        return found if found.ndim == 1 else found[:, chosen]

    return Converted(layout, trees, 1.0 / len(estimators), "identity", scores)


def _sklearn_tree(tree: Any, output: int, chosen: int | None) -> Tree:
    values = tree.value[:, output]
    # Classes hold counts or shares, whatever the version.
    value = values[:, 0] if chosen is None else values[:, chosen] / values.sum(axis=1)
    return Tree(
        feature=tree.feature.tolist(),
        threshold=tree.threshold.tolist(),
        left=tree.children_left.tolist(),
        right=tree.children_right.tolist(),
        value=value.tolist(),
    )


def _histogram_tree(predictor: Any) -> Tree:
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
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        tree.categories[int(node)] = {c for c in range(64) if int(words[c // 32]) >> (c % 32) & 1}
    return tree
