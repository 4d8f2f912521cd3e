"""Estimators follow the conventions of scikit-learn."""

import pickle

import numpy as np
import pytest
import shapsketch as ss
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils.validation import check_is_fitted

SPACE = ss.SequenceSpace(ss.DNA, 6)
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, (700, 6))
STRINGS = SPACE.decode(CODES)
# With a little noise, boosting stops early, so that the tests are fast.
VALUES = 1.0 * (CODES[:, 0] == 2) + 3.0 * ((CODES[:, 3] == 1) & (CODES[:, 4] == 3)) + RNG.normal(0, 0.1, 700)
# Small and fast settings, each with a parameter to search over.
REGRESSORS = [
    pytest.param(ss.SparseRegressor(SPACE, growth=False), ("basis", ["letters", "characters"]), id="sparse"),
    pytest.param(ss.TreeSketch(SPACE, features="onehot", leaves=8), ("leaves", [4, 8]), id="trees"),
]
ESTIMATORS = [
    pytest.param(ss.SparseRegressor(SPACE, growth=False), id="sparse"),
    pytest.param(ss.TreeSketch(SPACE, features="onehot", leaves=8), id="trees"),
    pytest.param(ss.PeelingDecoder(noise=0.1), id="peeling"),
]


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (ss.SparseRegressor(SPACE), "penalty_"),
        (ss.TreeSketch(SPACE), "sketch_"),
        (ss.PeelingDecoder(), "spectrum_"),
    ],
)
def test_results_before_fit(estimator, name):
    with pytest.raises(ss.NotFittedError, match=f"not fitted, so it has no {name}; call .*fit first"):
        getattr(estimator, name)
    assert not hasattr(estimator, name)
    with pytest.raises(AttributeError, match="has no attribute 'no_'") as caught:
        estimator.no_  # noqa: B018
    assert not isinstance(caught.value, ss.NotFittedError)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"penalty": -1}, "penalty must be above 0, got -1"),
        ({"penalty": 0.0}, "penalty must be above 0, got 0"),
        ({"tol": 0}, "tol must be above 0, got 0"),
        ({"space": "ACGT"}, "space must be a SequenceSpace, got str"),
        ({"space": None}, "pass the space"),
    ],
)
def test_errors_name_the_parameters_of_a_regression(params, message):
    with pytest.raises(ss.InputError, match=message):
        ss.SparseRegressor(**{"space": SPACE, **params}).fit(CODES, VALUES)


def as_lower_case(sequences):
    return [sequence.lower() for sequence in sequences]


def observations():
    design = ss.QueryDesign(SPACE, b=2, delays="identity")
    return ss.Observations(design, [2.0 * (x[2] == 0) for x in design.queries()])


@pytest.mark.parametrize(("regressor", "grid"), REGRESSORS)
def test_cross_validation_accepts_strings_and_codes(regressor, grid):
    scores = cross_val_score(regressor, CODES, VALUES, cv=2, error_score="raise")
    assert scores.min() > 0.9
    np.testing.assert_array_equal(cross_val_score(regressor, STRINGS, VALUES, cv=2), scores)
    # An array of strings.
    predictions = cross_val_predict(regressor, np.array(STRINGS), VALUES, cv=2)
    assert predictions.shape == VALUES.shape
    half = slice(0, len(VALUES) // 2)
    errors, spread = VALUES[half] - predictions[half], VALUES[half] - VALUES[half].mean()
    assert scores[0] == pytest.approx(1 - (errors**2).sum() / (spread**2).sum())


@pytest.mark.parametrize(("regressor", "grid"), REGRESSORS)
def test_grid_search_sets_parameters(regressor, grid):
    name, choices = grid
    search = GridSearchCV(regressor, {name: choices}, cv=2, error_score="raise").fit(STRINGS, VALUES)
    assert [params[name] for params in search.cv_results_["params"]] == choices
    assert getattr(search.best_estimator_, name) == search.best_params_[name]
    assert search.best_score_ == max(search.cv_results_["mean_test_score"]) > 0.9
    assert search.score(STRINGS, VALUES) > 0.9
    np.testing.assert_array_equal(
        search.predict(STRINGS[:5]), search.best_estimator_.sketch_.predict(CODES[:5])
    )


@pytest.mark.parametrize(("regressor", "grid"), REGRESSORS)
def test_a_regressor_is_the_final_step_of_a_pipeline(regressor, grid):
    name, choices = grid
    alone = clone(regressor).fit(CODES, VALUES)
    pipeline = make_pipeline(clone(regressor)).fit(STRINGS, VALUES)
    np.testing.assert_array_equal(pipeline.predict(STRINGS), alone.predict(CODES))
    assert pipeline.score(STRINGS, VALUES) == alone.score(STRINGS, VALUES)
    pipeline = Pipeline([("lower", FunctionTransformer(as_lower_case)), ("regressor", clone(regressor))])
    assert is_regressor(pipeline)
    np.testing.assert_array_equal(pipeline.fit(STRINGS, VALUES).predict(STRINGS), alone.predict(CODES))
    check_is_fitted(pipeline)
    pipeline.set_params(**{f"regressor__{name}": choices[0]})
    assert pipeline.get_params()[f"regressor__{name}"] == choices[0]
    assert cross_val_score(pipeline, STRINGS, VALUES, cv=2, error_score="raise").min() > 0.9


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_clone_copies_parameters_but_not_results(estimator):
    fitted = clone(estimator)
    if isinstance(fitted, ss.PeelingDecoder):
        fitted.fit(observations())
    else:
        fitted.fit(CODES, VALUES)
    check_is_fitted(fitted)
    copy = clone(fitted)
    assert type(copy) is type(estimator)
    assert copy.get_params() == fitted.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        check_is_fitted(copy)
    # Fitting the copy gave the original no results.
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_can_be_pickled(estimator):
    """So that scikit-learn can fit copies in other processes (``n_jobs``)."""
    copy = pickle.loads(pickle.dumps(estimator))
    assert repr(copy) == repr(estimator)


@pytest.mark.parametrize(("regressor", "grid"), REGRESSORS)
def test_regressors_have_the_tags_of_a_regressor(regressor, grid):
    assert is_regressor(regressor)
    assert not is_classifier(regressor)
    tags = get_tags(regressor)
    assert tags.estimator_type == "regressor"
    assert tags.regressor_tags is not None
    assert tags.target_tags.required
    assert (tags.input_tags.string, tags.input_tags.two_d_array) == (True, True)


def test_a_peeling_decoder_has_tags_but_is_not_a_regressor():
    decoder = ss.PeelingDecoder()
    assert not is_regressor(decoder)
    assert not is_classifier(decoder)
    assert get_tags(decoder).estimator_type is None


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (ss.SparseRegressor(), "SparseRegressor()"),
        (
            ss.SparseRegressor(SPACE, dictionary=ss.Dictionary(windows=2), penalty=0.5),
            "SparseRegressor(space=SequenceSpace('ACGT', length=6), "
            "dictionary=Dictionary(windows=2, orders=1), penalty=0.5)",
        ),
        (ss.SparseRegressor(basis="auto", tol=1e-7, random_state=2), "SparseRegressor(random_state=2)"),
        (
            ss.TreeSketch(SPACE, leaves=8, max_terms=None),
            "TreeSketch(space=SequenceSpace('ACGT', length=6), leaves=8)",
        ),
        (ss.PeelingDecoder(), "PeelingDecoder()"),
        (ss.PeelingDecoder(noise=0.1, refit=True), "PeelingDecoder(noise=0.1)"),
    ],
)
def test_repr_shows_changed_parameters(estimator, expected):
    assert repr(estimator) == expected


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_notebooks_show_estimators(estimator):
    assert type(estimator).__name__ in estimator_html_repr(estimator)


@pytest.mark.parametrize("method", ["predict", "score"])
@pytest.mark.parametrize(("regressor", "grid"), REGRESSORS)
def test_methods_before_fit_raise_not_fitted_error(regressor, grid, method):
    arguments = (STRINGS,) if method == "predict" else (STRINGS, VALUES)
    with pytest.raises(ss.NotFittedError, match=f"call {type(regressor).__name__}.fit first") as caught:
        getattr(clone(regressor), method)(*arguments)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AttributeError)


@pytest.mark.parametrize(
    ("estimator", "names", "change", "typo"),
    [
        (
            ss.SparseRegressor(SPACE),
            [
                "space",
                "dictionary",
                "relations",
                "basis",
                "penalty",
                "strengths",
                "loss",
                "growth",
                "refit",
                "tol",
                "memory_limit",
                "random_state",
            ],
            {"growth": False, "penalty": 0.1},
            "growht",
        ),
        (
            ss.TreeSketch(SPACE),
            ["space", "features", "leaves", "dropped", "max_terms", "random_state"],
            {"leaves": 4, "features": "onehot"},
            "leafs",
        ),
        (ss.PeelingDecoder(), ["noise", "refit", "max_rounds"], {"noise": 0.2, "refit": False}, "max_round"),
    ],
)
def test_parameters_can_be_read_and_set(estimator, names, change, typo):
    assert list(estimator.get_params()) == names
    assert estimator.get_params(deep=False) == estimator.get_params()
    before = estimator.get_params()
    assert estimator.set_params() is estimator
    assert estimator.set_params(**change) is estimator
    assert estimator.get_params() == {**before, **change}
    with pytest.raises(ss.InputError, match=r"parameter must be one of .*did you mean"):
        estimator.set_params(**{typo: 1})
    assert estimator.get_params() == {**before, **change}
    assert type(estimator)(**estimator.get_params()).get_params() == estimator.get_params()
