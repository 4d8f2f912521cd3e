"""Pickles and copies of results give the same numbers, bit by bit."""

import copy
import pickle
import pickletools
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import shapsketch as ss

SPACE = ss.SequenceSpace(ss.DNA, 8)
CODES = np.random.default_rng(0).integers(0, 4, (500, 8)).astype(np.uint8)
VALUES = 1.0 + (CODES[:, 0] == 2) + 2.0 * ((CODES[:, 3] == 1) & (CODES[:, 4] == 0))
FEW = CODES[:9]


def forward(values):
    return np.cbrt(values)


def inverse(values):
    return values**3


class Teacher:
    """A teacher that pickle can find by its name."""

    def fit(self, X, y):
        self.scale_ = y.std() / wave(X).std()
        return self

    def predict(self, X):
        return self.scale_ * wave(X)


def wave(codes):
    """Values of all orders, so that the teacher is the best candidate."""
    return np.sin(3.0 * codes.astype(float) @ np.arange(1.0, 9.0))


def model(codes):
    return 1.0 + (codes[:, 0] == 2) + 2.0 * ((codes[:, 3] == 1) & (codes[:, 4] == 0))


@pytest.fixture(scope="module")
def sketches():
    options = {"inputs": "codes", "progress": False}
    peeled = ss.sketch(model, SPACE, budget=9_000, method="peel", **options)
    tree = (
        pytest.importorskip("sklearn.tree", reason="pip install scikit-learn")
        .DecisionTreeRegressor(max_depth=3)
        .fit(CODES, VALUES)
    )
    found = {
        "regress": ss.fit(CODES, VALUES, SPACE),
        "link": ss.fit(CODES, VALUES, SPACE, link=(forward, inverse)),
        "log": ss.fit(CODES, VALUES, SPACE, link="log"),
        "peel": peeled,
        "spectrum": ss.Sketch(peeled.spectrum),
        "exact": ss.sketch(lambda c: c[:, 0] * 1.0, ss.SequenceSpace(ss.DNA, 3), budget=64, **options),
        "trees": ss.fit(CODES, VALUES, SPACE, method="auto", max_terms=50, progress=False),
        "teacher": ss.fit(CODES, wave(CODES), SPACE, method=Teacher(), progress=False),
        "converted": ss.from_trees(tree, SPACE),
    }
    found["teacher of trees"] = ss.fit(CODES, VALUES, SPACE, method="distill", progress=False)
    assert [part.kind for part in found["teacher"].predictor.parts] == ["custom"]
    return found


@pytest.fixture(scope="module")
def estimators():
    regressor = ss.SparseRegressor(SPACE, dictionary=ss.Dictionary(windows=2))
    trees = ss.TreeSketch(SPACE, leaves=8, features="onehot")
    return [regressor.fit(CODES, VALUES), trees.fit(CODES, VALUES)]


def pickled(each, protocol=pickle.DEFAULT_PROTOCOL):
    return pickle.loads(pickle.dumps(each, protocol))


def through_joblib(each):
    import io

    joblib = pytest.importorskip("joblib", reason="pip install joblib")
    file = io.BytesIO()
    joblib.dump(each, file)
    file.seek(0)
    return joblib.load(file)


WAYS = [copy.copy, copy.deepcopy, through_joblib, pickled, lambda each: pickled(each, 2)]


def assert_same(one, other):
    """Compare everything public, bit by bit."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif is_dataclass(one):
        for field in fields(one):
            if field.name not in ("_core", "_source"):
                assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, float):
        assert np.float64(one).tobytes() == np.float64(other).tobytes()
    else:
        assert one == other


PUBLIC = [
    *("space", "link", "r2", "r2_interval", "response_r2", "n_queries", "method", "status", "candidates"),
    *("n_terms", "patterns", "unverified", "spectrum"),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_sketch_is_the_same_sketch(sketches, way):
    for name, sketch in sketches.items():
        other = way(sketch)
        for attribute in PUBLIC:
            assert_same(getattr(sketch, attribute), getattr(other, attribute))
        assert sketch.summary() == other.summary(), name
        codes = FEW[:, : sketch.space.n]
        assert_same(sketch.predict(codes), other.predict(codes))
        assert_same(sketch.predict(codes, response=True), other.predict(codes, response=True))
        one, two = ss.Explainer(sketch), ss.Explainer(other)
        assert_same(one(codes).values, two(codes).values)
        if name.startswith("teacher"):
            options = {"of": "predictor", "evaluations": 60, "random_state": 1}
            assert_same(ss.Explainer(sketch, **options)(codes), ss.Explainer(other, **options)(codes))


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_an_explainer_gives_the_same_explanations(sketches, way):
    sketch = sketches["regress"]
    weights = np.random.default_rng(1).dirichlet(np.ones(4), 8)
    for background in ("uniform", "ACGTACGT", CODES[:50], weights, ss.DinucleotideShuffles(3)):
        explainer = ss.Explainer(sketch, background)
        explainer(FEW)
        other = way(explainer)
        assert other.background == explainer.background
        assert_same(other(FEW), explainer(FEW))
        assert_same(other.interactions(FEW, index="k-SII"), explainer.interactions(FEW, index="k-SII"))
        assert_same(other.epistasis(FEW), explainer.epistasis(FEW))
    explainer = ss.Explainer(sketch)
    results = [
        *(explainer(FEW), explainer.interactions(FEW), explainer.epistasis(FEW), explainer.sobol()),
        *(explainer.motifs(5), explainer.attribution_map(FEW), explainer.best_mutants(FEW[0], 2)),
    ]
    for result in results:
        assert_same(way(result), result)
    assert_same(way(results[0]).stderr, results[0].stderr)
    assert str(way(results[0])) == str(results[0])


@pytest.mark.parametrize("way", WAYS)
def test_copies_of_inputs_and_estimators_are_the_same(sketches, estimators, way):
    for method in ("auto", "exact", "peel", "regress", "trees", "distill"):
        plan = ss.plan(SPACE, 70_000, method=method, random_state=5)
        other = way(plan)
        assert other == plan
        assert_same(next(other.batches(99)), next(plan.batches(99)))
    design = ss.QueryDesign(SPACE, b=2, groups=2, delays="random", repeats=3, random_state=7)
    assert_same(way(design).queries(), design.queries())
    assert way(SPACE) == SPACE
    observations = ss.Observations(design, model(design.queries()))
    assert_same(way(observations).values, observations.values)
    spectrum = sketches["peel"].spectrum
    spectrum.predict(FEW)
    assert way(spectrum) == spectrum
    assert_same(way(spectrum).coefficients, spectrum.coefficients)
    link = sketches["log"]._link
    assert way(link) == link
    for estimator in estimators:
        other = way(estimator)
        assert other.get_params() == estimator.get_params()
        assert_same(other.predict(FEW), estimator.predict(FEW))
    decoder = ss.PeelingDecoder()
    grid = ss.QueryDesign(SPACE, b=3, delays="identity")
    decoder.fit(ss.Observations(grid, model(grid.queries())))
    assert way(decoder).spectrum_ == decoder.spectrum_


def test_a_pickle_of_a_sketch_runs_only_a_loader(sketches):
    for name in ("regress", "log", "peel", "exact", "converted"):
        stream = pickle.dumps(sketches[name], 2)
        used = {argument for opcode, argument, _ in pickletools.genops(stream) if opcode.name == "GLOBAL"}
        ours = {name for name in used if name.startswith("shapsketch")}
        assert ours == {"shapsketch.surrogate.sketch _unpickled", "shapsketch.link parse"}
        assert used - ours <= {"_codecs encode"}


def test_damaged_bytes_in_a_pickle_are_refused(sketches):
    function, (file, *rest) = sketches["regress"].__reduce__()
    damaged = bytearray(file)
    damaged[-1] ^= 1
    with pytest.raises(ss.FileError, match="bytes of a sketch: the file is damaged: it does not match"):
        function(bytes(damaged), *rest)


def test_functions_that_pickle_cannot_find_are_refused_but_copied(sketches):
    sketch = ss.fit(CODES, VALUES, SPACE, link=(lambda v: 2.0 * v, lambda v: v / 2.0))
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(sketch)
    assert_same(copy.deepcopy(sketch).predict(FEW, response=True), sketch.predict(FEW, response=True))
    cloudpickle = pytest.importorskip("cloudpickle", reason="pip install cloudpickle")
    other = pickle.loads(cloudpickle.dumps(sketch))
    assert_same(other.predict(FEW, response=True), sketch.predict(FEW, response=True))


def test_clones_of_estimators_are_not_fitted(estimators):
    clone = pytest.importorskip("sklearn.base", reason="pip install scikit-learn").clone
    for estimator in estimators:
        other = clone(estimator)
        assert other.get_params() == estimator.get_params()
        with pytest.raises(ss.NotFittedError):
            other.predict(FEW)
