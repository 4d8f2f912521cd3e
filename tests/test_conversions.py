"""Conversions of tree ensembles: the model's own scale, classes, missing values, layouts."""

import re

import lightgbm
import numpy as np
import pandas
import pytest
import shapsketch as ss
import xgboost
from scipy.sparse import csr_matrix
from shapsketch import models
from shapsketch.trees.objectives import LINKS, REFUSED
from sklearn import ensemble
from threadpoolctl import threadpool_limits

Q, N = 4, 5
SPACE = ss.SequenceSpace("ABCD", N)
X = np.random.default_rng(0).integers(0, Q, (300, N))
Y = np.random.default_rng(1).normal(size=(Q, Q))[X[:, 0], X[:, -1]] + (X[:, 2] == 1)
TWO = (Y.mean() < Y).astype(int)
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.6]))
GROUPS = [60] * 5
# Fresh sequences, on which no model was fitted and no conversion is checked.
FRESH = np.random.default_rng(9).integers(0, Q, (200, N))
SMALL = {"n_estimators": 5}
ALONE = {**SMALL, "n_jobs": 1}
QUIET = {**ALONE, "verbosity": -1}
# Labels for objectives that do not take any number.
LABELS = {"log": np.exp(Y), "logit": TWO, "softplus": TWO, "softmax": THREE}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small are fitted faster by one thread."""
    with threadpool_limits(1):
        yield


def labels_of(library, objective):
    if objective.startswith(("binary", "rank", "lambdarank")):
        return TWO
    if objective in ("reg:squaredlogerror", "survival:aft"):
        return np.exp(Y)
    return THREE if "multi" in objective else LABELS.get(LINKS[library][objective], Y)


def check_response(model, own, link, **options):
    """Check predictions on the model's own scale, and the link, against the library on fresh sequences."""
    sketch = ss.from_trees(model, SPACE, **options)
    assert sketch.link == link
    expected = np.asarray(own, dtype=float)
    if link == "softmax":
        with pytest.raises(ss.InputError, match=r"convert each class \(output=0, 1, \.\.\.\)"):
            sketch.predict(FRESH, response=True)
        assert sketch.response_r2 is None
        return sketch
    np.testing.assert_allclose(
        sketch.predict(FRESH, response=True), expected, rtol=0, atol=2e-6 * max(1, np.abs(expected).max())
    )
    assert sketch.response_r2 > 0.999
    return sketch


def xgboost_of(objective, **parameters):
    data = xgboost.DMatrix(X.astype(float), labels_of("xgboost", objective))
    if objective.startswith("rank"):
        data.set_group(GROUPS)
    if objective == "survival:aft":
        for bound in ("label_lower_bound", "label_upper_bound"):
            data.set_float_info(bound, np.exp(Y))
    if objective == "reg:quantileerror":
        parameters["quantile_alpha"] = 0.3
    if objective == "reg:expectileerror":
        parameters["expectile_alpha"] = 0.3
    if objective.startswith("multi"):
        parameters["num_class"] = 3
    return xgboost.train({"objective": objective, "max_depth": 3, "nthread": 1, **parameters}, data, 5)


def objectives_of_xgboost():
    """Return the objectives of the installed version, which an error message lists."""
    with pytest.raises(xgboost.core.XGBoostError) as raised:
        xgboost.train({"objective": "nonsense"}, xgboost.DMatrix(X, Y), 1)
    # reg:linear is an old name of reg:squarederror, under which models are saved.
    return set(re.findall(r"Objective candidate: (\S+)", str(raised.value))) - {"reg:linear"}


def test_every_objective_of_xgboost_has_a_link_or_is_refused():
    installed = objectives_of_xgboost()
    assert len(installed) > 15
    assert {"survival:aft", "binary:hinge"} <= installed
    assert installed <= set(LINKS["xgboost"]) | set(REFUSED)


@pytest.mark.parametrize("objective", LINKS["xgboost"])
def test_objectives_of_xgboost(objective):
    if objective not in objectives_of_xgboost():
        pytest.skip("install another version of XGBoost, which has this objective")
    booster = xgboost_of(objective)
    own = booster.predict(xgboost.DMatrix(FRESH.astype(float)))
    output = {"output": 1} if objective.startswith("multi") else {}
    check_response(booster, own, LINKS["xgboost"][objective], **output)


def test_a_step_function_of_the_trees_is_refused():
    message = "objective 'binary:hinge'.*fit the model with 'binary:logistic'.*models.booster"
    with pytest.raises(ss.InputError, match=message):
        ss.from_trees(xgboost_of("binary:hinge"), SPACE)


@pytest.mark.parametrize("boosting", ["gbdt", "rf"])
@pytest.mark.parametrize("objective", LINKS["lightgbm"])
def test_objectives_of_lightgbm(objective, boosting):
    several = objective.startswith("multiclass")
    parameters = {"objective": objective, "boosting": boosting, "verbosity": -1, "num_threads": 1}
    parameters |= {
        "num_class": 3 if several else 1,
        "bagging_freq": 1,
        "bagging_fraction": 0.7,
        "sigmoid": 0.5,
    }
    groups = GROUPS if "rank" in objective else None
    data = lightgbm.Dataset(X, labels_of("lightgbm", objective), group=groups)
    booster = lightgbm.train(parameters, data, 5)
    own = booster.predict(FRESH)
    output = {"output": 1} if several else {}
    sketch = check_response(booster, own[:, 1] if several else own, LINKS["lightgbm"][objective], **output)
    if objective == "multiclass":
        # The documented way to the probability: the softmax of the raw scores of all classes.
        raw = np.stack([ss.from_trees(booster, SPACE, output=k).predict(FRESH) for k in range(3)], axis=1)
        np.testing.assert_array_equal(raw[:, 1], sketch.predict(FRESH))
        weights = np.exp(raw)
        np.testing.assert_allclose(weights / weights.sum(axis=1, keepdims=True), own, atol=1e-12)


@pytest.mark.parametrize("loss", LINKS["sklearn"])
def test_losses_of_scikit_learn(loss):
    link = LINKS["sklearn"][loss]
    tried = 0
    for kind in (
        ensemble.GradientBoostingRegressor,
        ensemble.HistGradientBoostingRegressor,
        ensemble.GradientBoostingClassifier,
        ensemble.HistGradientBoostingClassifier,
    ):
        if loss not in next(iter(kind._parameter_constraints["loss"])).options:
            continue
        tried += 1
        histogram = kind.__name__.startswith("Hist")
        options = {"max_iter": 5} if histogram else SMALL
        if histogram and loss == "quantile":
            options |= {"quantile": 0.3}
        model = kind(loss=loss, **options).fit(X, labels_of("sklearn", loss))
        own = model.predict_proba(FRESH)[:, 1] if hasattr(model, "classes_") else model.predict(FRESH)
        check_response(model, own, link)
    assert tried


def test_a_link_that_does_not_give_the_predictions_of_the_library_is_an_error(monkeypatch):
    """The comparison finds an objective whose link is wrong in the table, for each library."""
    for library, name, model in [
        ("xgboost", "count:poisson", xgboost_of("count:poisson")),
        ("lightgbm", "poisson", lightgbm.LGBMRegressor(**QUIET, objective="poisson").fit(X, np.exp(Y))),
        ("sklearn", "log_loss", ensemble.GradientBoostingClassifier(**SMALL).fit(X, TWO)),
    ]:
        monkeypatch.setitem(LINKS[library], name, "identity")
        with pytest.raises(ss.InputError, match="differ from the sum of its trees on the scale 'identity'"):
            ss.from_trees(model, SPACE)


TWO_CLASSES = [
    lightgbm.LGBMClassifier(**QUIET),
    lightgbm.LGBMClassifier(**QUIET, sigmoid=0.5),
    xgboost.XGBClassifier(**ALONE),
    xgboost.XGBRFClassifier(**ALONE),
    ensemble.GradientBoostingClassifier(**SMALL),
    ensemble.GradientBoostingClassifier(**SMALL, loss="exponential"),
    ensemble.HistGradientBoostingClassifier(max_iter=5),
    ensemble.RandomForestClassifier(**SMALL, random_state=0),
    ensemble.ExtraTreesClassifier(**SMALL, random_state=0),
]


@pytest.mark.parametrize("model", TWO_CLASSES, ids=lambda model: type(model).__name__)
def test_an_output_of_two_classes_is_the_same_class_for_all_libraries(model):
    probabilities = model.fit(X, TWO).predict_proba(FRESH)
    for output, column in [(None, 1), (0, 0), (1, 1)]:
        sketch = ss.from_trees(model, SPACE, output=output)
        np.testing.assert_allclose(
            sketch.predict(FRESH, response=True), probabilities[:, column], rtol=0, atol=1e-6
        )
    with pytest.raises(ss.InputError, match="output must be below 2, the number of classes, got 2"):
        ss.from_trees(model, SPACE, output=2)


def test_classes_of_boosters_are_those_of_their_labels():
    data = lightgbm.Dataset(X, TWO)
    light = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5)
    matrix = xgboost.DMatrix(FRESH.astype(float))
    raw, logistic = xgboost_of("binary:logitraw"), xgboost_of("binary:logistic")
    for booster, second, first in [
        (light, light.predict(FRESH), 1 - light.predict(FRESH)),
        (logistic, logistic.predict(matrix), 1 - logistic.predict(matrix)),
        (raw, raw.predict(matrix), -raw.predict(matrix)),
    ]:
        for output, expected in [(None, second), (1, second), (0, first)]:
            sketch = ss.from_trees(booster, SPACE, output=output)
            np.testing.assert_allclose(sketch.predict(FRESH, response=True), expected, rtol=0, atol=1e-5)
            model = models.booster(booster, features="codes", target=output)
            np.testing.assert_allclose(model(FRESH), expected, rtol=0, atol=1e-6)
        with pytest.raises(ss.InputError, match="target must be 0 or 1 for the objective 'binary"):
            models.booster(booster, features="codes", target=2)


def test_zeros_of_codes_are_missing_values_if_the_caller_says_so():
    sparse = csr_matrix(X.astype(float))
    fresh = csr_matrix(FRESH.astype(float))
    numeric = xgboost.DMatrix(sparse, Y)
    kinds = {"feature_types": ["c"] * N, "enable_categorical": True}
    categorical = xgboost.DMatrix(sparse, Y, **kinds)
    for matrix, options in [(numeric, {}), (categorical, kinds)]:
        booster = xgboost.train({"max_depth": 3, "nthread": 1}, matrix, 5)
        as_missing = booster.predict(xgboost.DMatrix(fresh, **options))
        as_values = booster.predict(xgboost.DMatrix(FRESH.astype(float), **options))
        assert np.abs(as_missing - as_values).max() > 0.1
        for zeros_missing, expected in [(True, as_missing), (False, as_values), (None, as_values)]:
            sketch = ss.from_trees(booster, SPACE, zeros_missing=zeros_missing)
            np.testing.assert_allclose(sketch.predict(FRESH), expected, rtol=0, atol=1e-5)


def test_zeros_missing_is_refused_if_it_has_no_effect():
    forest = ensemble.RandomForestRegressor(**SMALL).fit(X, Y)
    light = lightgbm.LGBMRegressor(**QUIET).fit(X, Y)
    for model in (forest, light):
        with pytest.raises(ss.InputError, match="zeros_missing is for XGBoost models"):
            ss.from_trees(model, SPACE, zeros_missing=True)
    with pytest.raises(ss.InputError, match=r"zeros_missing must be True or False, got 'yes'"):
        ss.from_trees(xgboost_of("reg:squarederror"), SPACE, zeros_missing="yes")


@pytest.mark.parametrize("categorical", [[0, 1, 2, 3, 4], [1, 3], [0]])
def test_categories_that_training_did_not_have(categorical):
    """scikit-learn treats them as missing values, and moves categorical features before the others."""
    seen = X.copy()
    seen[seen[:, 1] == 2, 1] = 0
    seen[seen[:, 0] == 1, 0] = 3
    model = ensemble.HistGradientBoostingRegressor(max_iter=5, categorical_features=categorical)
    model.fit(seen, Y)
    sketch = ss.from_trees(model, SPACE)
    np.testing.assert_allclose(sketch.predict(FRESH), model.predict(FRESH), rtol=0, atol=1e-12)


def test_categories_that_are_letters_are_refused():
    table = pandas.DataFrame(
        {str(i): pandas.Categorical([SPACE.alphabet[a] for a in X[:, i]]) for i in range(N)}
    )
    model = ensemble.HistGradientBoostingRegressor(max_iter=3, categorical_features="from_dtype").fit(
        table, Y
    )
    with pytest.raises(ss.InputError, match="categories that are not codes, such as 'A' of feature 0"):
        ss.from_trees(model, SPACE)


SYMBOLS_FIRST = np.eye(Q)[X].transpose(0, 2, 1).reshape(len(X), -1)
FRESH_SYMBOLS_FIRST = np.eye(Q)[FRESH].transpose(0, 2, 1).reshape(len(FRESH), -1)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (lightgbm.LGBMRegressor(**QUIET), {}),
        (xgboost.XGBRegressor(**ALONE), {"zeros_missing": False}),
        (ensemble.RandomForestRegressor(**SMALL), {}),
        (ensemble.HistGradientBoostingRegressor(max_iter=5), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_onehot_features_with_the_positions_of_a_symbol_next_to_each_other(model, options):
    model.fit(SYMBOLS_FIRST, Y)
    expected = model.predict(FRESH_SYMBOLS_FIRST)
    sketch = ss.from_trees(model, SPACE, layout="flat_channels_first", **options)
    np.testing.assert_allclose(sketch.predict(FRESH), expected, rtol=0, atol=1e-5)
    adapter = models.sklearn(model, layout="flat_channels_first")
    np.testing.assert_array_equal(adapter(SPACE.onehot(FRESH)), expected)
    # The other layout is another function.
    other = ss.from_trees(model, SPACE, layout="flat", **options)
    assert np.abs(other.predict(FRESH) - expected).max() > 0.1


def test_layouts_of_adapters_and_wrong_layouts():
    def first_symbol(features):
        return features[:, 0]

    onehot = SPACE.onehot(FRESH)
    by_symbol = models.array(first_symbol, layout="flat_channels_first")
    np.testing.assert_array_equal(by_symbol(onehot), FRESH[:, 0] == 0)
    np.testing.assert_array_equal(
        models.array(lambda x: x[:, 1], layout="flat_channels_first")(onehot), FRESH[:, 1] == 0
    )
    np.testing.assert_array_equal(models.array(lambda x: x[:, 1], layout="flat")(onehot), FRESH[:, 0] == 1)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(SYMBOLS_FIRST, Y), 5)
    adapter = models.booster(booster, layout="flat_channels_first")
    np.testing.assert_array_equal(adapter(onehot), booster.predict(FRESH_SYMBOLS_FIRST))
    codes = ensemble.RandomForestRegressor(**SMALL).fit(X, Y)
    with pytest.raises(
        ss.InputError, match=r"layout must be one of 'flat', 'flat_channels_first'.*did you mean"
    ):
        ss.from_trees(codes, SPACE, layout="flat_channel_first")
    with pytest.raises(
        ss.InputError, match=r"layout='flat_channels_first' is for one-hot features.*5 features"
    ):
        ss.from_trees(codes, SPACE, layout="flat_channels_first")
    with pytest.raises(ss.InputError, match="layout='flat_channels_first' is for features='onehot'"):
        models.sklearn(codes, features="codes", layout="flat_channels_first")


def test_the_softplus_link_inverts_and_is_kept_in_files(tmp_path):
    booster = lightgbm.train(
        {"objective": "cross_entropy_lambda", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(X, TWO), 5
    )
    sketch = ss.from_trees(booster, SPACE)
    sketch.save(tmp_path / "sketch")
    again = ss.load(tmp_path / "sketch")
    assert again.link == "softplus"
    np.testing.assert_allclose(again.predict(FRESH, response=True), booster.predict(FRESH), atol=1e-12)
    # log(1 + exp(x)) of large and of small x.
    fitted = ss.sketch(
        lambda x: np.where(x[:, 0] == 1, 1e3, 1e-3),
        SPACE,
        budget=4**5,
        inputs="codes",
        link="softplus",
        progress=False,
    )
    low_and_high = ["AAAAA", "BAAAA"]
    np.testing.assert_allclose(fitted.predict(low_and_high), [np.log(np.expm1(1e-3)), 1e3], rtol=1e-9)
    np.testing.assert_allclose(fitted.predict(low_and_high, response=True), [1e-3, 1e3], rtol=1e-9)
    with pytest.raises(ss.InputError, match="domain of the link 'softplus', which takes numbers above 0"):
        ss.fit(X, np.where(X[:, 0] == 1, 1.0, 0.0), SPACE, link="softplus", progress=False)


def test_a_class_without_a_response_keeps_that_in_files(tmp_path):
    model = lightgbm.LGBMClassifier(**QUIET).fit(X, THREE)
    ss.from_trees(model, SPACE, output=2).save(tmp_path / "sketch")
    again = ss.load(tmp_path / "sketch")
    assert again.link == "softmax"
    np.testing.assert_allclose(again.predict(FRESH), model.predict(FRESH, raw_score=True)[:, 2], atol=1e-12)
    with pytest.raises(ss.InputError, match="raw score of one of several classes"):
        again.predict(FRESH, response=True)
    # A model of the raw score refines it, without a link.
    refined = ss.Explainer(again).refine(
        ss.Evaluator(lambda x: model.predict(x, raw_score=True)[:, 2], inputs="codes"),
        FRESH[:2],
        calls_per_sequence=64,
        progress=False,
    )
    np.testing.assert_allclose(refined.values, ss.Explainer(again)(FRESH[:2]).values, atol=1e-9)
