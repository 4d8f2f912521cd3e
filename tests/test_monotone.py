"""link="monotone": a latent scale and a monotone curve to the values, fitted together."""

import json
import pickle
import struct

import numpy as np
import pytest
import shapsketch as ss
import shapsketch.fitting.latent
import shapsketch.fitting.monotone
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls as reference_nnls
from shapsketch import plot
from shapsketch.fitting import curves
from shapsketch.fitting.curves import LEAST_SLOPE, Curve, cross_validated, nnls
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.latent import LatentLearner
from shapsketch.link import MonotoneCurve, parse
from toys import hide, shapley_values

Q, N = 4, 6
SPACE = ss.SequenceSpace(ss.DNA, length=N)
# Small dictionaries are fast.
PAIRWISE = ss.Dictionary(orders=2)
PAIRS = ((0, 1), (3, 5))
CURVES = {
    "sigmoid": lambda latent: 10.0 / (1.0 + np.exp(-2.0 * latent)),
    "softplus": lambda latent: np.logaddexp(0.0, 3.0 * latent - 2.0),
    "saturating": lambda latent: np.minimum(latent, 0.5) + 0.02 * latent,
}


def latent(codes):
    """Additive effects and two pairs."""
    rng = np.random.default_rng(4)
    effects, pairs = rng.normal(size=(N, Q)), rng.normal(size=(len(PAIRS), Q, Q))
    values = effects[np.arange(N), codes].sum(axis=1)
    return values + sum(pairs[k][codes[:, i], codes[:, j]] for k, (i, j) in enumerate(PAIRS))


def data(curve, count=400, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, Q, (count, N)).astype(np.uint8)
    values = CURVES[curve](latent(codes))
    return codes, values + noise * values.std() * rng.normal(size=count)


def fit(curve, **options):
    codes, values = data(curve)
    return ss.fit(codes, values, SPACE, dictionary=PAIRWISE, link="monotone", progress=False, **options)


@pytest.fixture(scope="module")
def sigmoid():
    return fit("sigmoid")


def r2(values, predictions):
    return 1.0 - np.mean((values - predictions) ** 2) / np.var(values)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 30), st.booleans())
def test_non_negative_least_squares_are_those_of_scipy(seed, width, count, cumulative):
    rng = np.random.default_rng(seed)
    table, target = rng.normal(size=(count, width)), rng.normal(size=count)
    if cumulative:
        table = np.abs(table).cumsum(axis=1)
    found, expected = nnls(table, target), reference_nnls(table, target)[0]
    assert (found >= 0.0).all()
    error = np.linalg.norm(table @ found - target)
    assert error == pytest.approx(np.linalg.norm(table @ expected - target), rel=1e-9, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(8, 200), st.floats(1e-3, 1e3))
def test_fitted_curves_ascend_and_their_slopes_are_derivatives(seed, count, size):
    rng = np.random.default_rng(seed)
    at, values = size * rng.normal(size=count), rng.normal(size=count)
    weights = rng.random(count) + 0.1
    curve = Curve.fit(at, values, weights, least_slope=LEAST_SLOPE)
    grid = size * np.linspace(-6.0, 6.0, 200)
    assert (np.diff(curve(grid)) > 0.0).all()
    step = 1e-6 * size
    slopes = (curve(grid + step) - curve(grid - step)) / (2.0 * step)
    np.testing.assert_allclose(curve.slopes(grid), slopes, rtol=1e-4, atol=1e-5 / size)


def test_the_smoothness_of_a_curve_is_chosen_on_other_folds():
    rng = np.random.default_rng(1)
    at, fold = rng.normal(size=300), np.arange(300) % 5
    step = np.tanh(6.0 * at)
    roughness, predictions = cross_validated(at, step + 0.05 * rng.normal(size=300), None, fold)
    assert roughness < 0.1
    assert r2(step, predictions) > 0.97
    line, _ = cross_validated(at, at + rng.normal(size=300), None, fold)
    assert line > roughness
    # Each fold is predicted by a curve of the others.
    for number in range(5):
        curve = Curve.fit(
            at[fold != number], step[fold != number], None, roughness=0.5, least_slope=LEAST_SLOPE
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(curves, "ROUGHNESSES", (0.5,))
            _, predictions = cross_validated(at, step, None, fold)
        np.testing.assert_array_equal(predictions[fold == number], curve(at[fold == number]))


@given(st.lists(st.tuples(st.floats(0.01, 2.0), st.floats(0.01, 3.0)), min_size=2, max_size=9), st.data())
def test_a_stored_curve_and_its_inverse_ascend(steps, draw):
    knots, values = np.cumsum(steps, axis=0).T
    curve = MonotoneCurve(knots, values)
    at = np.sort(np.array(draw.draw(st.lists(st.floats(-9.0, 30.0), min_size=2, max_size=20))))
    outputs = curve.to_values(at)
    assert (np.diff(outputs) >= 0.0).all()
    np.testing.assert_allclose(curve.to_values(knots), values, atol=1e-9)
    # The inverse gives the latent value, or the end of the curve.
    np.testing.assert_allclose(curve.to_latent(outputs), at.clip(knots[0], knots[-1]), atol=1e-9)
    by_definition = [
        values[k] + (values[k + 1] - values[k]) * (x - knots[k]) / (knots[k + 1] - knots[k])
        for x in at
        for k in [next((k for k in range(len(knots) - 2) if x < knots[k + 1]), len(knots) - 2)]
    ]
    np.testing.assert_allclose(outputs, by_definition, atol=1e-9)


@pytest.mark.parametrize("curve", CURVES)
def test_the_latent_scale_of_a_planted_function_is_found(curve):
    sketch = fit(curve)
    assert sketch.link == "monotone"
    plain = ss.fit(*data(curve), SPACE, dictionary=PAIRWISE, progress=False)
    codes, _ = data(curve, count=1_000, seed=9)
    truth = CURVES[curve](latent(codes))
    assert np.corrcoef(sketch.predict(codes), latent(codes))[0, 1] > 0.99
    assert r2(truth, sketch.predict(codes, response=True)) > r2(truth, plain.predict(codes)) + 0.02
    assert plain.r2 < sketch.r2 == sketch.response_r2
    low, high = sketch.r2_interval
    assert low < sketch.r2 < high


def test_shapley_values_near_a_wild_type_are_those_of_the_latent_scale(sigmoid):
    wild, codes = SPACE.decode(np.zeros((1, N), dtype=np.uint8))[0], data("sigmoid", count=40, seed=5)[0]
    explained = ss.Explainer(sigmoid, background=wild)(codes).values
    masks = (np.arange(2**N)[:, None] >> np.arange(N)) & 1
    expected = np.array([shapley_values(latent(masks * x), N) for x in codes.astype(int)])
    differ = codes != 0
    assert np.corrcoef(explained[differ], expected[differ])[0, 1] > 0.99


def test_the_latent_scale_has_the_mean_and_the_spread_of_the_predictions(sigmoid):
    codes, _ = data("sigmoid")
    scores, predictions = sigmoid.predict(codes), sigmoid.predict(codes, response=True)
    assert scores.mean() == pytest.approx(predictions.mean(), rel=0.01)
    assert scores.std() == pytest.approx(predictions.std(), rel=0.01)
    assert sigmoid.patterns is not None


def test_rows_of_small_weight_and_units_do_not_matter(sigmoid):
    codes, values = data("sigmoid")
    wrong, others = data("sigmoid", count=60, seed=6)[0], np.random.default_rng(7).normal(5.0, 5.0, 60)
    rows, scores = np.concatenate([codes, wrong]), 1e-4 * np.concatenate([values, others]) + 3.0
    weights = np.repeat([1.0, 1e-6], [len(codes), 60])
    sketch = ss.fit(
        rows,
        scores,
        SPACE,
        sample_weight=weights,
        dictionary=PAIRWISE,
        link="monotone",
        progress=False,
    )
    assert sketch.link == "monotone"
    assert sketch.r2 > 0.9
    latent_scores = sketch.predict(codes)
    assert np.corrcoef(latent_scores, sigmoid.predict(codes))[0, 1] > 0.99
    assert latent_scores.std() == pytest.approx(1e-4 * sigmoid.predict(codes).std(), rel=0.2)


def test_closed_form_is_latent_and_the_predictor_predicts_values(sigmoid):
    codes, _ = data("sigmoid", count=30, seed=3)
    np.testing.assert_allclose(sigmoid.predictor.predict(codes), sigmoid.predict(codes, response=True))
    assert [(part.name, part.kind) for part in sigmoid.predictor.parts] == [("monotone", "monotone")]
    best, measured = ss.Explainer(sigmoid), ss.Explainer(sigmoid, of="predictor", background="AAAAAA")
    assert (best.of, best.explained.link) == ("closed form", "monotone")
    assert (measured.explained.of, measured.explained.link) == ("predictor", "identity")
    explanation = measured(codes[:2])
    np.testing.assert_allclose(
        explanation.values.sum(axis=1) + explanation.base_values, sigmoid.predictor.predict(codes[:2])
    )

    # The model is refined and checked on the scale of what is explained.
    def model(rows):
        return CURVES["sigmoid"](latent(rows))

    evaluator = ss.Evaluator(model, inputs="codes")
    for explainer, link in ((best, "monotone"), (measured, "identity")):
        refined = explainer.refine(evaluator, codes[:1], calls_per_sequence=64, progress=False)
        assert refined.link == link
        checked = ss.faithfulness(evaluator, explainer, codes[:2], budget=600, progress=False)
        assert checked.shapley_correlation["sketch"].value > 0.9
    # Values that the curve does not reach are its ends.
    knots, heights = sigmoid._core.curve
    beyond = np.array([heights[0] - 9.0, heights[-1] + 9.0])
    np.testing.assert_array_equal(sigmoid._link.to_link(beyond, "values"), knots[[0, -1]])


def test_a_linear_function_has_no_curve():
    codes, _ = data("sigmoid")
    values = latent(codes) + 0.1 * np.random.default_rng(2).normal(size=len(codes))
    sketch, plain = (
        ss.fit(codes, values, SPACE, dictionary=PAIRWISE, link=link, progress=False)
        for link in ("monotone", "identity")
    )
    assert sketch.link == "identity"
    assert sketch.status.startswith(
        "cross-validated; no monotone curve, so the link is the identity: held-out R²"
    )
    np.testing.assert_array_equal(sketch.predict(codes), plain.predict(codes))
    constant = ss.fit(codes, np.ones(len(codes)), SPACE, link="monotone", progress=False)
    assert constant.link == "identity"
    assert "no monotone curve, so the link is the identity: all values are equal" in constant.status


def test_values_that_are_only_noise_have_no_curve():
    codes, _ = data("sigmoid")
    values = np.random.default_rng(3).normal(size=len(codes))
    sketch = ss.fit(codes, values, SPACE, dictionary=PAIRWISE, link="monotone", progress=False)
    assert sketch.link == "identity"
    assert sketch.r2 < 0.1


def test_r2_is_that_of_values_which_no_part_of_the_fit_has_seen():
    """The split is found again, and a fit to its larger part predicts the rest."""
    codes, values = data("saturating")
    sketch = fit("saturating")
    split = Split.of(Labelled(codes, values), 0)
    learner = LatentLearner(
        SPACE,
        ss.SparseRegressor(SPACE, dictionary=PAIRWISE),
        mutations=False,
        uniform=False,
        seed=0,
        log=print,
    )
    expected = r2(split.held.values, learner.fit_curve(split.train).predict(split.held.codes))
    assert sketch.r2 == pytest.approx(expected, rel=1e-6)
    assert sketch._core.info.r2.count == split.held.n_sequences


def test_models_and_outputs_are_sketched():
    def model(rows):
        scores = CURVES["sigmoid"](latent(rows))
        return np.stack([scores, latent(rows)], axis=1)

    sketches = ss.sketch_outputs(
        ss.Evaluator(model, inputs="codes", outputs=["curved", "plain"]),
        SPACE,
        budget=400,
        method=ss.SparseRegressor(dictionary=PAIRWISE),
        link="monotone",
        progress=False,
    )
    assert [sketch.link for sketch in sketches.values()] == ["monotone", "identity"]
    assert sketches["curved"].r2 > 0.97
    assert sketches["curved"].method == "regress"
    assert sketches["curved"].n_queries == 400


def test_auto_keeps_the_better_predictor_of_the_values():
    sketch = fit("softplus", method="auto")
    assert sketch.link == "monotone"
    names = [candidate.name for candidate in sketch.candidates]
    assert names[0] == "monotone"
    assert "trees" in names
    assert sketch.predictor.r2 >= sketch.r2
    assert "tried" in sketch.summary()


def test_near_a_wild_type_the_latent_scale_is_that_of_mutations(tmp_path, monkeypatch):
    # Too many pairs for sparse regressions.
    monkeypatch.setattr(shapsketch.fitting.monotone, "MANY_WORDS", 0)
    n, wild = 15, np.random.default_rng(1).integers(0, Q, 15)
    space = ss.SequenceSpace(ss.DNA, n)
    effects = np.random.default_rng(2).normal(-1.0, 1.0, (n, Q))
    effects[np.arange(n), wild] = 0.0

    def score(codes):
        return 100.0 / (1.0 + np.exp(-2.5 - effects[np.arange(n), codes].sum(axis=1)))

    rng = np.random.default_rng(3)
    codes = np.where(rng.random((400, n)) < 0.2, rng.integers(0, Q, (400, n)), wild).astype(np.uint8)
    values = score(codes) + rng.normal(size=400)
    sketch = ss.fit(codes, values, space, link="monotone", progress=False)
    assert sketch.link == "monotone"
    assert sketch.patterns is not None
    explainer = ss.Explainer(sketch, background=wild)
    found = explainer.mutation_effects(wild[None].astype(np.uint8))[0]
    differ = np.arange(Q) != wild[:, None]
    assert np.corrcoef(found[differ], effects[differ])[0, 1] > 0.98
    assert sketch.r2 > 0.97
    sketch.save(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(ss.load(tmp_path / "s.safetensors").predict(codes), sketch.predict(codes))


def test_without_scipy_sparse_regressions_fit_the_latent_scale(monkeypatch):
    hide(monkeypatch, "scipy")
    monkeypatch.setattr(shapsketch.fitting.latent, "ROUNDS", 3)
    others, _ = data("sigmoid")
    # Where the curve is steep, sequences near one sequence tell most.
    wild = others[np.abs(latent(others)).argmin()]
    codes = np.where(np.random.default_rng(8).random(others.shape) < 0.4, others, wild)
    sketch = ss.fit(codes, CURVES["sigmoid"](latent(codes)), SPACE, link="monotone", progress=False)
    assert sketch.link == "monotone"
    assert "ridge regressions on mutations were not tried: " in sketch.status
    assert sketch.r2 > 0.9


def test_files_and_pickles_have_the_curve(sigmoid, tmp_path):
    codes, _ = data("sigmoid", count=50)
    path = tmp_path / "s.safetensors"
    sigmoid.save(path)
    for copied in (ss.load(path), ss.load(path, link="monotone"), pickle.loads(pickle.dumps(sigmoid))):
        assert copied.link == "monotone"
        assert copied.summary() == sigmoid.summary()
        assert copied.r2_interval == sigmoid.r2_interval
        for response in (False, True):
            np.testing.assert_array_equal(
                copied.predict(codes, response=response), sigmoid.predict(codes, response=response)
            )
    assert "link       monotone; a latent scale, and a curve to the values" in sigmoid.summary()
    with pytest.raises(ss.InputError, match="has the link 'monotone', not 'log'"):
        ss.load(path, link="log")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda curve: curve[::-1], "of values that do not descend"),
        (lambda curve: np.where(curve == curve[3], curve[2], curve), "of ascending values"),
        (lambda curve: np.where(curve == curve[3], np.nan, curve), "of finite numbers"),
        (None, 'the tensor "link.curve" is missing'),
    ],
)
def test_damaged_curves_are_refused(sigmoid, tmp_path, damage, reason):
    path = tmp_path / "s.safetensors"
    sigmoid.save(path)
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    metadata = json.loads(header["__metadata__"]["shapsketch"])
    # As in files of older versions, so that the digest does not tell.
    for field in ("digest", "distribution", "predictor"):
        del metadata[field]
    header["__metadata__"]["shapsketch"] = json.dumps(metadata)
    if damage is None:
        header["another"] = header.pop("link.curve")
    else:
        start, end = header["link.curve"]["data_offsets"]
        curve = np.frombuffer(bytes(body[start:end]))
        body[start:end] = damage(curve).tobytes()
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + bytes(body))
    with pytest.raises(ss.FileError, match="the curve of its link is damaged") as error:
        ss.load(path)
    assert reason in str(error.value)


def test_what_a_latent_scale_cannot_do_is_refused():
    codes, values = data("sigmoid", count=150)

    def model(rows):
        raise AssertionError("the model must not be called")

    refused = [
        ({"method": "peel"}, "use method='auto' or 'regress' instead of 'peel'"),
        ({"method": "exact"}, "use method='auto' or 'regress' instead of 'exact'"),
        ({"method": "trees"}, "use method='auto' or 'regress' instead of 'trees'"),
        ({"max_terms": 5}, "max_terms"),
        ({"target_r2": 0.9}, "remove target_r2"),
        ({"method": _Teacher()}, "pass method='auto'"),
        ({"budget": 60}, "at least 100 model evaluations are needed"),
        ({"link": ("monotone", np.exp)}, "a custom link must be a pair"),
        ({"link": "monotonic"}, "did you mean 'monotone'"),
    ]
    for options, message in refused:
        arguments = {"budget": 500, "link": "monotone", "progress": False, **options}
        with pytest.raises((ss.InputError, ss.BudgetError), match=message):
            ss.sketch(model, SPACE, **arguments)
    small = ss.SequenceSpace(ss.DNA, length=3)
    with pytest.raises(ss.InputError, match="to fit and test its curve, got a space of 64; pass more"):
        ss.sketch(model, small, budget=64, link="monotone", progress=False)
    with pytest.raises(ss.InputError, match="needs 100 distinct sequences to fit and test its curve, got 80"):
        ss.fit(codes[:80], values[:80], SPACE, link="monotone", progress=False)
    with pytest.raises(ss.InputError, match="instead of 'distill'"):
        ss.fit(codes, values, SPACE, link="monotone", method="distill", progress=False)
    with pytest.raises(ss.InputError, match="masks have no link='monotone'"):
        ss.explain_masks(lambda masks: masks.sum(axis=1), 3, budget=8, link="monotone", progress=False)


class _Teacher:
    def fit(self, codes, values):
        return self

    def predict(self, codes):
        return np.zeros(len(codes))


def test_the_command_line_fits_and_names_a_latent_scale(shell, succeed, tmp_path, monkeypatch):
    monkeypatch.setattr(shapsketch.fitting.latent, "ROUNDS", 2)
    codes, values = data("sigmoid")
    rows = dict(zip(SPACE.decode(codes), values, strict=True))
    table, out = tmp_path / "library.csv", tmp_path / "s.safetensors"
    table.write_text("sequence,score\n" + "".join(f"{word},{value}\n" for word, value in rows.items()))
    code, text, _ = shell("fit", table, "--alphabet", "ACGT", "--length", N, "--link", "monotone", "-o", out)
    assert code == 0
    assert "link       monotone" in text
    described = succeed("info", out, "--json")
    assert described["link"] == "monotone"
    assert described["response_r2"] == described["r2"]


def test_the_link_before_its_fit_returns_the_values():
    link = parse("monotone")
    values = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(link.to_link(values, "y"), values)
    assert pickle.loads(pickle.dumps(link)).name == "monotone"


def test_effects_of_variants_are_latent_or_those_of_scores(tmp_path):
    rng, wild = np.random.default_rng(1), "MKVLAG"
    singles = {f"{a}{i}{b}": rng.normal() for i, a in enumerate(wild, 1) for b in "CDEF" if a != b}
    names = [*singles, *(f"{a}:{b}" for a in singles for b in singles if a[1] < b[1])]
    scores = [1.0 / (1.0 + np.exp(-2.0 * sum(singles[m] for m in name.split(":")))) for name in names]
    rows = [f"{name},{score + rng.normal(0, 0.02):.4f}" for name, score in zip(names, scores, strict=True)]
    (tmp_path / "scan.csv").write_text("\n".join(["mutant,score", *rows]))
    scan = ss.read_variants(tmp_path / "scan.csv", wild_type=wild)
    sketch = ss.fit(scan, dictionary=PAIRWISE, link="monotone", progress=False)
    latent_effects = ss.VariantEffects(sketch, scan).singles()
    of_scores = ss.VariantEffects(sketch, scan, of="predictor").singles()
    assert (latent_effects.link, of_scores.link) == ("monotone", "identity")
    known = np.array([name in singles for name in latent_effects["mutation"]])
    expected = np.array([singles[name] for name in np.array(latent_effects["mutation"])[known]])
    assert np.corrcoef(latent_effects["effect"][known], expected)[0, 1] > 0.99
    assert np.isnan(latent_effects["stderr"]).all()
    change = 1.0 / (1.0 + np.exp(-2.0 * expected)) - 0.5
    found = of_scores["effect"][np.isin(of_scores["mutation"], list(singles))]
    np.testing.assert_allclose(np.sort(found), np.sort(change), atol=0.05)
    measured = latent_effects["measured_effect"][known]
    assert np.corrcoef(measured, expected)[0, 1] > 0.9
    for axes in (
        plot.predicted_against_true(sketch),
        plot.predicted_against_true(sketch, scan.codes, scan.values),
    ):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("model, model units", "predicted, model units")
        true, predicted = axes.collections[0].get_offsets().T
        assert r2(true, predicted) > 0.95
    assert (
        plot.mutation_map(ss.Explainer(sketch), wild).get_figure().axes[-1].get_ylabel()
        == "effect, latent scale"
    )
