"""Tree ensembles: conversion, trees fitted to queries, teacher and students, and the automatic choice."""

import logging
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import lightgbm
import numpy as np
import pandas
import pytest
import shapsketch as ss
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from shapsketch.fitting.distillation import CustomTeacher
from shapsketch.fitting.holdout import Labelled
from shapsketch.fitting.stacking import choose
from sklearn import ensemble, tree
from sklearn.linear_model import Ridge
from toys import by_evaluator, game, shapley_values

with warnings.catch_warnings():
    # The imports of shap cause warnings.
    warnings.simplefilter("ignore")
    import shap

PROPERTY = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
QUIET = {"verbosity": -1, "num_threads": 2}


def data(q, n, seed, rows=400):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, q, (rows, n))
    table = rng.normal(size=(q, q))
    y = table[codes[:, 0], codes[:, -1]] + (codes[:, n // 2] == 1) + 0.1 * rng.normal(size=rows)
    return codes, y


def features(codes, q, layout):
    if layout == "onehot":
        return np.eye(q)[codes].reshape(len(codes), -1)
    return codes.astype(float)


def space_of(q, n):
    return ss.SequenceSpace("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:q], n)


def brute_force(function, row, q):
    """Shapley values and base value by the definition."""
    values = game(function, q, row)
    return shapley_values(values, len(row)), values[0]


def agrees(model, q, n, layout, scores, **options):
    """Check the sketch against the library on 1,000 random sequences, and return it."""
    sketch = ss.from_trees(model, space_of(q, n), **options)
    codes = np.random.default_rng(99).integers(0, q, (1000, n))
    expected = np.asarray(scores(features(codes, q, layout)), dtype=float)
    np.testing.assert_allclose(
        sketch.predict(codes), expected, rtol=0, atol=1e-6 * max(1, np.abs(expected).max())
    )
    assert sketch.n_queries == 0
    assert sketch.method == "converted"
    return sketch


shapes = st.tuples(st.sampled_from([(2, 9), (3, 5), (4, 6), (5, 4), (20, 5)]), st.integers(0, 10**6))
layouts = st.sampled_from(["codes", "onehot"])


@PROPERTY
@given(shape=shapes, layout=layouts, leaves=st.integers(2, 40), categorical=st.booleans())
def test_lightgbm(shape, layout, leaves, categorical):
    (q, n), seed = shape
    codes, y = data(q, n, seed)
    options = {"categorical_feature": list(range(n))} if categorical and layout == "codes" else {}
    parameters = {"num_leaves": leaves, "min_data_in_leaf": 3, "min_data_per_group": 3, **QUIET}
    train = lightgbm.Dataset(features(codes, q, layout), y, **options)
    booster = lightgbm.train(parameters, train, 15)
    agrees(booster, q, n, layout, booster.predict)


@PROPERTY
@given(shape=shapes, layout=layouts, depth=st.integers(1, 7), categorical=st.booleans())
def test_xgboost(shape, layout, depth, categorical):
    (q, n), seed = shape
    codes, y = data(q, n, seed)
    categorical = categorical and layout == "codes"
    kinds = ["c"] * n if categorical else None
    inputs = features(codes, q, layout)
    matrix = xgboost.DMatrix(inputs, y, feature_types=kinds, enable_categorical=categorical)
    booster = xgboost.train({"max_depth": depth, "max_cat_to_onehot": 3}, matrix, 15)

    def scores(x):
        return booster.predict(xgboost.DMatrix(x, feature_types=kinds, enable_categorical=categorical))

    agrees(booster, q, n, layout, scores, zeros_missing=False)


@PROPERTY
@given(shape=shapes, layout=layouts, depth=st.integers(1, 8))
@pytest.mark.parametrize(
    "kind",
    [
        tree.DecisionTreeRegressor,
        tree.ExtraTreeRegressor,
        ensemble.RandomForestRegressor,
        ensemble.ExtraTreesRegressor,
        ensemble.GradientBoostingRegressor,
        ensemble.HistGradientBoostingRegressor,
    ],
)
def test_scikit_learn(kind, shape, layout, depth):
    (q, n), seed = shape
    codes, y = data(q, n, seed)
    options = {"max_depth": depth, "random_state": seed}
    if kind is ensemble.HistGradientBoostingRegressor:
        options |= {"max_iter": 10, "categorical_features": list(range(n)) if layout == "codes" else None}
    elif "Tree" not in kind.__name__ or "Trees" in kind.__name__:
        options["n_estimators"] = 8
    model = kind(**options).fit(features(codes, q, layout), y)
    agrees(model, q, n, layout, model.predict)


def test_links_and_classes():
    q, n = 4, 5
    codes, y = data(q, n, 0)
    two, three = (y > y.mean()).astype(int), np.digitize(y, np.quantile(y, [0.3, 0.6]))
    positive = np.exp(y)
    small = {"n_estimators": 8}
    classifier = lightgbm.LGBMClassifier(**small, verbosity=-1).fit(codes, two)
    sketch = agrees(classifier, q, n, "codes", lambda x: classifier.predict(x, raw_score=True))
    assert sketch.link == "logit"
    probabilities = sketch.predict(codes, response=True)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(codes)[:, 1], atol=1e-9)
    counts = lightgbm.LGBMRegressor(**small, objective="poisson", verbosity=-1).fit(codes, positive)
    assert agrees(counts, q, n, "codes", lambda x: np.log(counts.predict(x))).link == "log"
    many = lightgbm.LGBMClassifier(**small, verbosity=-1).fit(codes, three)
    agrees(many, q, n, "codes", lambda x: many.predict(x, raw_score=True)[:, 2], output=2)
    logistic = xgboost.XGBClassifier(**small).fit(codes, two)
    sketch = agrees(logistic, q, n, "codes", lambda x: logistic.predict(x, output_margin=True))
    assert sketch.link == "logit"
    several = xgboost.XGBClassifier(**small).fit(codes, three)
    agrees(several, q, n, "codes", lambda x: several.predict(x, output_margin=True)[:, 1], output=1)
    dart = xgboost.XGBRegressor(**small, booster="dart", rate_drop=0.3).fit(codes, y)
    agrees(dart, q, n, "codes", dart.predict)
    forest = ensemble.RandomForestClassifier(**small).fit(codes, two)
    agrees(forest, q, n, "codes", lambda x: forest.predict_proba(x)[:, 1])
    agrees(forest, q, n, "codes", lambda x: forest.predict_proba(x)[:, 0], output=0)
    boosted = ensemble.GradientBoostingClassifier(**small).fit(codes, two)
    assert agrees(boosted, q, n, "codes", boosted.decision_function).link == "logit"
    histogram = ensemble.HistGradientBoostingClassifier(max_iter=8).fit(codes, three)
    agrees(histogram, q, n, "codes", lambda x: histogram.decision_function(x)[:, 0], output=0)
    wide = ensemble.ExtraTreesRegressor(**small).fit(codes, np.stack([y, -y], axis=1))
    agrees(wide, q, n, "codes", lambda x: wide.predict(x)[:, 1], output=1)
    averaged = lightgbm.LGBMRegressor(
        **small, boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, verbosity=-1
    ).fit(codes, y)
    agrees(averaged, q, n, "codes", averaged.predict)


def test_missing_zeros_categories_and_early_stopping_are_converted_or_refused():
    q, n = 4, 5
    space = space_of(q, n)
    codes, y = data(q, n, 0)
    onehot = features(codes, q, "onehot")
    sparse = xgboost.XGBRegressor(n_estimators=10).fit(csr_matrix(onehot), y)
    with pytest.raises(ss.InputError, match="zeros_missing=True"):
        ss.from_trees(sparse, space)
    sketch = ss.from_trees(sparse, space, zeros_missing=True)
    np.testing.assert_allclose(sketch.predict(codes), sparse.predict(csr_matrix(onehot)), atol=1e-5)
    with pytest.raises(ss.InputError, match="missing=nan"):
        ss.from_trees(xgboost.XGBRegressor(n_estimators=3, missing=0).fit(codes, y), space)
    table = pandas.DataFrame(
        {str(i): pandas.Categorical([space.alphabet[a] for a in codes[:, i]], list("DCBA")) for i in range(n)}
    )
    for model in (
        lightgbm.LGBMRegressor(n_estimators=3, verbosity=-1),
        xgboost.XGBRegressor(n_estimators=3, enable_categorical=True),
    ):
        with pytest.raises(ss.InputError, match="categories"):
            ss.from_trees(model.fit(table, y), space)
    stopped = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=2)
    stopped.fit(codes, y, eval_set=[(codes[:100], -y[:100])], verbose=False)
    agrees(stopped, q, n, "codes", stopped.predict)
    booster = stopped.get_booster()
    agrees(booster, q, n, "codes", lambda x: booster.predict(xgboost.DMatrix(x)))
    two = (y > y.mean()).astype(int)
    doubled = ensemble.GradientBoostingClassifier(n_estimators=8, loss="exponential").fit(codes, two)
    probabilities = ss.from_trees(doubled, space).predict(codes, response=True)
    np.testing.assert_allclose(probabilities, doubled.predict_proba(codes)[:, 1], atol=1e-9)
    # The tolerance is relative to the range of the scores.
    small = ensemble.HistGradientBoostingRegressor(max_iter=10).fit(codes, 1e-7 * y)
    converted = ss.from_trees(small, space).predict(codes)
    np.testing.assert_allclose(converted, small.predict(codes), rtol=0, atol=1e-13)


@PROPERTY
@given(shape=st.tuples(st.sampled_from([(2, 7), (3, 5), (4, 4)]), st.integers(0, 10**6)), layout=layouts)
def test_exact_shapley_values_equal_brute_force(shape, layout):
    (q, n), seed = shape
    codes, y = data(q, n, seed)
    model = lightgbm.train(
        {"num_leaves": 15, "min_data_in_leaf": 3, **QUIET},
        lightgbm.Dataset(features(codes, q, layout), y),
        10,
    )
    explanation = ss.Explainer(ss.from_trees(model, space_of(q, n)))(codes[:3])
    for row, values, base in zip(codes[:3], explanation.values, explanation.base_values, strict=True):
        expected, mean = brute_force(lambda x: model.predict(features(x, q, layout)), row, q)
        np.testing.assert_allclose(values, expected, atol=1e-9)
        assert abs(base - mean) < 1e-9


def test_interventional_tree_explainer_of_shap_agrees():
    q, n = 3, 5
    codes, y = data(q, n, 1)
    model = ensemble.RandomForestRegressor(12, random_state=0).fit(codes, y)
    every = np.stack(np.meshgrid(*[np.arange(q)] * n, indexing="ij"), axis=-1).reshape(-1, n)
    background = shap.maskers.Independent(every, max_samples=len(every))
    peer = shap.TreeExplainer(model, data=background, feature_perturbation="interventional")
    ours = ss.Explainer(ss.from_trees(model, space_of(q, n)))(codes[:20])
    # shap sums in single precision.
    np.testing.assert_allclose(ours.values, peer.shap_values(codes[:20]), rtol=0, atol=1e-7)


def test_deep_trees_are_explained_without_listing_components():
    q, n = 4, 40
    rng = np.random.default_rng(0)
    codes = rng.integers(0, q, (3000, n))
    # A chain: each leaf depends on one more symbol.
    y = np.argmax(codes == 0, axis=1) + 0.01 * rng.normal(size=len(codes))
    model = tree.DecisionTreeRegressor(min_samples_leaf=1).fit(codes, y)
    assert model.get_depth() > 20
    sketch = agrees(model, q, n, "codes", model.predict)
    explanation = ss.Explainer(sketch)(codes[:10])
    total = explanation.values.sum(axis=1) + explanation.base_values
    np.testing.assert_allclose(total, model.predict(codes[:10]), atol=1e-8)
    with pytest.raises(ss.InputError, match="truncate the surrogate"):
        ss.Explainer(sketch).interactions(codes[:2])


def test_models_that_cannot_be_converted_say_why(monkeypatch):
    q, n = 4, 5
    space = space_of(q, n)
    codes, y = data(q, n, 0)
    cases = [
        (lightgbm.LGBMRegressor(), "not fitted"),
        (xgboost.XGBRegressor(), "not fitted"),
        (ensemble.RandomForestRegressor(), "not fitted"),
        (Ridge().fit(codes, y), "scikit-learn Ridge; supported are"),
        ("a string", "cannot convert a builtins.str"),
        (tree.DecisionTreeRegressor().fit(codes[:, :3], y), "3 features; sequences of .* have 5 as"),
        (
            lightgbm.LGBMClassifier(n_estimators=2, verbosity=-1).fit(codes, np.digitize(y, [0, 1])),
            "3 classes",
        ),
        (
            ensemble.ExtraTreesRegressor(2).fit(codes, np.stack([y, y], 1)),
            "2 outputs; choose one: output=0 to 1",
        ),
        (
            lightgbm.LGBMRegressor(n_estimators=3, linear_tree=True, verbosity=-1).fit(
                codes.astype(float), y
            ),
            "linear leaves",
        ),
        (
            lightgbm.LGBMRegressor(n_estimators=3, zero_as_missing=True, verbosity=-1).fit(codes, y),
            "zero_as_missing",
        ),
        (xgboost.XGBRegressor(n_estimators=2, booster="gblinear").fit(codes, y), "gblinear"),
        (
            ensemble.GradientBoostingRegressor(n_estimators=2, init=Ridge()).fit(codes, y),
            "predictions differ from the sum of its trees by up to .*initial model",
        ),
        (
            lightgbm.LGBMRegressor(n_estimators=2, reg_sqrt=True, verbosity=-1).fit(codes, y - y.min()),
            "reg_sqrt",
        ),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model, message in cases:
            with pytest.raises(ss.InputError, match=message):
                ss.from_trees(model, space)
    fitted = ensemble.RandomForestRegressor(5, random_state=0).fit(codes, y)
    with pytest.raises(ss.InputError, match="output must be below 1"):
        ss.from_trees(fitted, space, output=1)
    with pytest.raises(ss.InputError, match="space must be"):
        ss.from_trees(fitted, "ACGT")
    with pytest.raises(
        ss.InputError, match=r"more than max_terms=3 terms; pass max_terms=\d+ or more"
    ) as few:
        ss.from_trees(fitted, space, max_terms=3)
    enough = int(re.search(r"pass max_terms=(\d+)", str(few.value))[1])
    assert ss.from_trees(fitted, space, max_terms=enough).n_terms <= enough


def motifs(codes):
    """Patterns at fixed positions, and a motif that counts up to twice."""
    codes = np.asarray(codes).astype(int)
    pair = (codes[:, :-1] == 1) & (codes[:, 1:] == 2)
    placed = (codes[:, 2] == 1) & (codes[:, 3] == 2) & (codes[:, 4] == 0)
    return 1.0 * np.minimum(pair.sum(axis=1), 2) + 2.0 * placed + 0.3 * (codes[:, 9] == 3)


SPACE = ss.SequenceSpace(ss.DNA, 14)


def sketched(method, budget=1500, **options):
    return by_evaluator(
        ss.sketch, motifs, SPACE, budget=budget, method=method, inputs="codes", progress=False, **options
    )


def true_r2(sketch, space=SPACE, model=motifs):
    """R² on 4,000 fresh uniform sequences."""
    codes = np.random.default_rng(5).integers(0, space.q, (4000, space.n))
    y = model(codes)
    return 1 - ((y - sketch.predict(codes)) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def test_trees_are_fitted_to_queries(tmp_path):
    sketch = sketched("trees")
    assert sketch.method == "trees"
    assert [c.name for c in sketch.candidates] == ["trees"]
    assert true_r2(sketch) > 0.9
    assert sketch.r2_interval[0] <= true_r2(sketch) <= sketch.r2_interval[1]
    assert sketch.patterns is None
    sketch.save(tmp_path / "trees")
    again = ss.load(tmp_path / "trees")
    codes = np.random.default_rng(0).integers(0, 4, (50, 14))
    np.testing.assert_array_equal(again.predict(codes), sketch.predict(codes))
    # Times are not saved.
    assert again.candidates == [replace(c, seconds=None) for c in sketch.candidates]
    explanation = ss.Explainer(sketch)(codes)
    np.testing.assert_allclose(
        explanation.values.sum(axis=1) + explanation.base_values, sketch.predict(codes), atol=1e-9
    )
    assert explanation.stderr.shape == (50, 14)
    # The spectrum is the same function.
    np.testing.assert_allclose(sketch.spectrum.predict(codes), sketch.predict(codes), atol=1e-9)


def test_tree_sketch_follows_the_conventions_of_scikit_learn():
    codes = np.random.default_rng(1).integers(0, 4, (1500, 14))
    fitted = ss.TreeSketch(SPACE, features="onehot", leaves=8, random_state=1).fit(codes, motifs(codes))
    assert (fitted.features_, fitted.leaves_) == ("onehot", 8)
    assert fitted.rounds_ >= 1
    assert 0.9 < fitted.share_ <= 1.0
    assert fitted.score(codes, motifs(codes)) > 0.6
    few = ss.TreeSketch(SPACE, leaves=8, max_terms=60).fit(codes, motifs(codes))
    assert few.sketch_.n_terms <= 60
    assert abs(few.sketch_.r2 - true_r2(few.sketch_)) < 0.08
    assert ss.TreeSketch(**fitted.get_params()).set_params(leaves=4).leaves == 4
    for options, message in [
        ({"features": "kmer"}, "did you mean 'kmers'"),
        ({"leaves": 1}, "leaves must be at least 2"),
        ({"dropped": 1.0}, "dropped must be"),
        ({"max_terms": 0}, "max_terms must be at least 1"),
        ({"leaves": "many"}, "leaves must be 'auto' or an integer of at least 2, got 'many'"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            ss.TreeSketch(SPACE, **options).fit(codes, motifs(codes))
    with pytest.raises(ss.InputError, match="300 distinct sequences"):
        ss.TreeSketch(SPACE).fit(codes[:200], motifs(codes[:200]))


def test_auto_chooses_by_held_out_queries(caplog):
    with caplog.at_level(logging.INFO, logger="shapsketch"):
        sketch = sketched("auto", budget=800)
    names = {c.name for c in sketch.candidates}
    assert names == {"regress", "trees", "trees (counts)", "networks", "distill (regress)"}
    assert "trees: 31 leaves on kmers" in caplog.text
    best = max(c.r2 for c in sketch.candidates if c.name not in ("networks", "trees (counts)"))
    assert sketch.r2 > best - 0.02
    assert sketch.r2_interval[0] <= true_r2(sketch) <= sketch.r2_interval[1]
    assert all(name in sketch.summary() for name in names)


def test_no_other_method_is_tried_if_regression_is_exact():
    sketch = ss.sketch(lambda c: 1.0 * (c[:, 0] == 1), SPACE, budget=1000, inputs="codes", progress=False)
    assert sketch.method == "regress"
    assert [c.name for c in sketch.candidates] == ["regress"]


def test_distillation():
    sketch = sketched("distill")
    assert sketch.method == "distill"
    assert sketch.predictor.r2 > 0.9
    assert true_r2(sketch) > 0.85


class Scaled:
    """A custom teacher that knows the model up to a factor; `predict_by` replaces its predictions."""

    def __init__(self, predict_by=motifs):
        self.predict_by = predict_by

    def fit(self, X, y):
        self.scale = y.std() / motifs(X).std()
        return self

    def predict(self, X):
        return self.scale * self.predict_by(X)


def test_a_custom_teacher():
    sketch = sketched(Scaled(), budget=400)
    names = [candidate.name for candidate in sketch.candidates]
    assert names[:3] == ["regress", "trees", "teacher"]
    assert names[3].startswith("distill")
    assert sketch.predictor.parts[0].kind == "custom"
    codes = np.random.default_rng(5).integers(0, 4, (400, 14)).astype(np.uint8)
    np.testing.assert_allclose(sketch.predictor.predict(codes), motifs(codes), rtol=1e-6)
    # Students learn from the teacher without further queries.
    assert true_r2(sketch) > 0.95
    for predict_by, message in [
        (lambda X: np.full(len(X), np.nan), "the teacher returned nan"),
        (lambda X: np.zeros((len(X), 2)), "the teacher must return one number"),
        (lambda X: 1 / 0, "the teacher raised ZeroDivisionError"),
    ]:
        teacher = CustomTeacher(Scaled(predict_by), SPACE, "codes").refit(Labelled(codes, motifs(codes)))
        with pytest.raises(ss.ModelError, match=message):
            teacher.predict(codes)
    with pytest.raises(ss.InputError, match="the teacher's fit raised"):
        sketched(type("T", (), {"fit": lambda s: 0, "predict": lambda s, x: x})(), budget=300)
    with pytest.raises(ss.InputError, match="needs 'fit' and 'predict'; T does not have 'fit'"):
        sketched(type("T", (), {"predict": lambda s, x: x})())
    with pytest.raises(ss.InputError, match="method must be one of 'auto', 'regress'"):
        sketched(object())
    with pytest.raises(ss.InputError, match="max_terms is for method='auto'"):
        sketched("regress", max_terms=100)


def test_max_terms_limits_the_terms_and_is_reported():
    sketch = sketched("trees", max_terms=100)
    assert sketch.n_terms <= 100
    assert "terms R² is" in sketch.status
    assert sketch.r2_interval[0] <= true_r2(sketch) <= sketch.r2_interval[1]


def test_few_distinct_sequences_and_sequences_of_sixteen_positions():
    codes = np.tile(np.random.default_rng(0).integers(0, 4, (45, 14)), (10, 1))
    with pytest.raises(ss.InputError, match="300 distinct sequences"):
        ss.fit(codes, motifs(codes), SPACE, method="trees", progress=False)
    assert ss.fit(codes, motifs(codes), SPACE, method="auto", progress=False).method == "regress"
    space = ss.SequenceSpace("01", 16)
    sketch = ss.sketch(
        lambda c: (c[:, :6].sum(axis=1) > 3) * 1.0,
        space,
        budget=800,
        inputs="codes",
        progress=False,
    )
    assert sketch.r2 > 0.8
    short = ss.sketch(
        lambda c: 1.0 * c[:, 0] + c[:, 1] * c[:, 2], space, budget=500, inputs="codes", max_terms=3
    )
    assert short.n_terms <= 3


def test_few_queries_are_fitted_by_regression_only():
    sketch = sketched("auto", budget=200)
    assert sketch.method == "regress"
    assert "trees need at least 300 sequences" in sketch.status


def test_labelled_data_are_fitted_by_all_methods():
    space = ss.SequenceSpace("ACG", 12)
    codes = np.random.default_rng(3).integers(0, 3, (800, 12))
    y = motifs(codes) + 0.05 * np.random.default_rng(4).normal(size=800)
    doubled = np.concatenate([codes, codes[:100]])
    sketch = ss.fit(doubled, np.concatenate([y, y[:100]]), space, method="auto", progress=False)
    assert true_r2(sketch, space) > 0.85
    linked = ss.fit(codes, np.exp(y), space, method="trees", link="log", progress=False)
    assert linked.link == "log"
    assert true_r2(linked, space) > 0.85
    with pytest.raises(ss.InputError, match="method must be one of"):
        ss.fit(codes, y, space, method="peel")


def test_noise_has_an_r2_near_zero():
    r2 = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        codes, noise = rng.integers(0, 4, (320, 12)), rng.normal(size=320)
        trees = ss.TreeSketch(ss.SequenceSpace(ss.DNA, 12), random_state=seed).fit(codes, noise)
        r2.append(trees.sketch_.r2)
    assert np.mean(r2) < 0.02


def test_options_that_have_no_effect_are_refused():
    codes = np.random.default_rng(3).integers(0, 4, (400, 14))
    y = motifs(codes)
    with pytest.raises(ss.InputError, match="dictionary is for method='regress' and 'auto'"):
        ss.fit(codes, y, SPACE, method="trees", dictionary=ss.Dictionary(windows=2))
    with pytest.raises(ss.InputError, match="'strings' is what a predictor passed as method takes"):
        ss.fit(codes, y, SPACE, inputs="strings")
    with pytest.raises(ss.InputError, match="a SparseRegressor fits labelled data itself"):
        ss.fit(codes, y, SPACE, method=ss.SparseRegressor())


def test_plans_name_the_method():
    assert "boosted trees: 1,000 uniform queries" in str(ss.plan(SPACE, 1000, method="trees"))
    assert "teacher" in str(ss.plan(SPACE, 1000, method="distill"))
    assert "average" in str(ss.plan(SPACE, 1000))


def test_any_number_of_threads_gives_the_same_sketch(tmp_path):
    code = (
        "import logging, sys; sys.path.insert(0, 'tests'); logging.disable(50)\n"
        "import numpy as np, shapsketch as ss\n"
        "from toys import shorten_fits; shorten_fits()\n"
        "def model(codes):\n"
        "    pairs = ((codes[:, :-1] == 1) & (codes[:, 1:] == 0)).sum(axis=1)\n"
        "    placed = (codes[:, 2:5] == 1).all(axis=1)\n"
        "    return 0.5 * np.minimum(pairs, 2) + 2.0 * placed + 0.3 * (codes[:, 9] == 1)\n"
        "space = ss.SequenceSpace('ACG', 12)\n"
        "ss.sketch(model, space, budget=400, inputs='codes', progress=False).save(sys.argv[1])\n"
    )
    files = []
    for threads in ("1", "2"):
        path = tmp_path / threads
        variables = {"RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", code, path], check=True, env={**os.environ, **variables})
        files.append(path.read_bytes())
    assert files[0] == files[1]
    # Every method took part; the sketch has a student.
    sketch = ss.load(path)
    weights = {candidate.name: candidate.weight for candidate in sketch.candidates}
    students = {"distill (trees)", "distill (regress)"}
    assert set(weights) == {"regress", "trees", "trees (counts)", "networks", *students}
    assert max(weights[name] for name in students) > 0.0
    assert {part.name for part in sketch.predictor.parts} >= {"regress", "trees", "trees (counts)"}


def test_standard_errors_of_trees_cover_interactions_of_high_order():
    # A nonlinear function of a count has all orders; the space is small enough for the exact method.
    space = ss.SequenceSpace("AB", 12)

    def model(codes):
        counts = np.asarray(codes).sum(axis=1)
        return np.sin(1.7 * counts) + 0.4 * codes[:, 3]

    exact = ss.Explainer(ss.sketch(model, space, budget=2**12, inputs="codes", progress=False))
    sketch = ss.sketch(model, space, budget=900, method="trees", inputs="codes", progress=False)
    codes = np.random.default_rng(1).integers(0, 2, (300, 12))
    explanation = ss.Explainer(sketch)(codes)
    inside = np.abs(explanation.values - exact(codes).values) <= 1.96 * explanation.stderr
    assert sketch.r2 < 0.9
    assert inside.mean() > 0.9


def test_a_large_mean_does_not_reduce_precision():
    """Trees are fitted in single precision, after the mean is subtracted."""
    X = np.random.default_rng(0).integers(0, 4, (1_000, 6))
    y = np.arange(6.0) @ (X.T == 2)
    space = ss.SequenceSpace(ss.DNA, 6)
    plain = ss.TreeSketch(space, leaves=7, features="onehot").fit(X, y).sketch_
    far = ss.TreeSketch(space, leaves=7, features="onehot").fit(X, y + 1e9).sketch_
    assert far.r2 == pytest.approx(plain.r2, abs=1e-3)
    np.testing.assert_allclose(
        ss.Explainer(far)(X[:20]).values, ss.Explainer(plain)(X[:20]).values, atol=1e-2
    )


@pytest.mark.parametrize("size", [1e-35, 1e40])
def test_values_of_any_size_are_fitted_equally_well(size):
    codes = np.random.default_rng(0).integers(0, 4, (400, 6))
    y = 1.0 * (codes[:, 0] == 2) + 3.0 * ((codes[:, 3] == 1) & (codes[:, 4] == 3))
    y += np.random.default_rng(1).normal(0, 0.1, 400)
    options = {"features": "onehot", "leaves": 8}
    expected = ss.TreeSketch(space_of(4, 6), **options).fit(codes, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = ss.TreeSketch(space_of(4, 6), **options).fit(codes, size * y)
        weighted = ss.TreeSketch(space_of(4, 6), **options).fit(codes, y, np.full(400, size))
    assert expected.sketch_.r2 > 0.9
    assert scaled.sketch_.r2 == pytest.approx(expected.sketch_.r2, abs=1e-6)
    np.testing.assert_allclose(scaled.predict(codes) / size, expected.predict(codes), atol=1e-5)
    np.testing.assert_allclose(weighted.predict(codes), expected.predict(codes), atol=1e-6)


def test_the_average_of_candidates_does_not_depend_on_the_size_of_the_values():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (300, 6)).astype(np.uint8)
    truth = rng.normal(size=300)
    candidates = {"a": truth + 0.5 * rng.normal(size=300), "b": truth + 0.5 * rng.normal(size=300)}
    expected = choose(candidates, Labelled(codes, truth), 0.0).weights
    assert set(expected) == {"a", "b"}
    for size in (1e-100, 1e100):
        scaled = {name: size * predictions for name, predictions in candidates.items()}
        weights = choose(scaled, Labelled(codes, size * truth, np.full(300, size)), 0.0).weights
        assert weights == pytest.approx(expected)
