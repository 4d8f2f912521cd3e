"""Results in the forms of shap, shapiq, pandas, Arrow and logomaker."""

import sys
import types
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapiq
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch.explain.indices import INDICES
from toys import random_spectrum

with warnings.catch_warnings():
    # Packages that shap imports emit warnings.
    warnings.simplefilter("ignore")
    import shap


def explained(q=4, n=6, count=5, seed=0):
    """Return an explainer of a random function, and codes of sequences."""
    codes = np.random.default_rng(seed).integers(0, q, (count, n)).astype(np.uint8)
    return ss.Explainer(random_spectrum(q, n, seed)), codes


@pytest.fixture
def plt():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@settings(max_examples=15)
@given(shape=st.sampled_from([(2, 8), (4, 6), (20, 4)]), count=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_values_survive_the_round_trip_through_shap(shape, count, seed):
    explainer, codes = explained(*shape, count, seed)
    explanation = explainer(codes)
    theirs = explanation.to_shap()
    np.testing.assert_allclose(theirs.values, explanation.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(theirs.base_values, explanation.base_values, rtol=0, atol=1e-12)
    letters = ["".join(row) for row in theirs.data]
    assert letters == ["".join(row) for row in theirs.display_data]
    assert letters == [random_spectrum(*shape, seed).space.decode(codes[b : b + 1])[0] for b in range(count)]
    numbers = [name if count > 1 else name[1:] for name in theirs.feature_names]
    assert numbers == [str(i) for i in range(shape[1])]


def test_one_sequence_has_its_letters_in_the_names_of_features():
    explainer = ss.Explainer(random_spectrum(4, 3, 0))
    assert explainer(["GAT"]).to_shap().feature_names == ["G0", "A1", "T2"]
    numbered = ss.Explainer(ss.Spectrum(ss.SequenceSpace("ACGT", 3, start=1), [[2, 0, 2]], [1.0]))
    assert numbered(["GAT"]).to_shap().feature_names == ["G1", "A2", "T3"]


def test_shap_draws_explanations(plt):
    explainer, codes = explained(count=12)
    theirs = explainer(codes).to_shap()
    with warnings.catch_warnings():
        # shap's plots use deprecated functions of their dependencies.
        warnings.simplefilter("ignore")
        for draw in (shap.plots.beeswarm, shap.plots.heatmap, shap.plots.bar):
            assert draw(theirs, show=False) is not None
            plt.close("all")
        ax = shap.plots.waterfall(explainer(codes)[2].to_shap()[0], show=False)
    labels = {text.get_text() for text in ax.figure.findobj(plt.Text)}
    letters = ["ACGT"[code] for code in codes[2]]
    assert {f"{letter} = {letter}{i}" for i, letter in enumerate(letters)} <= labels


@settings(max_examples=20)
@given(
    shape=st.sampled_from([(2, 7), (4, 5), (20, 3)]),
    index=st.sampled_from(INDICES),
    count=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_interactions_survive_the_round_trip_through_shapiq(shape, index, count, seed):
    explainer, codes = explained(*shape, count, seed)
    interactions = explainer.interactions(codes, index=index)
    for row in range(count):
        theirs = interactions.to_shapiq(row)
        assert theirs.index == ("FSII" if index == "Faith-Shap" else index)
        assert theirs.n_players == shape[1]
        assert theirs.baseline_value == pytest.approx(interactions.base_values[row], abs=1e-12)
        table = {support: value for support, value in theirs.dict_values.items() if support}
        assert list(table) == interactions.supports
        np.testing.assert_allclose(list(table.values()), interactions.values[row], rtol=0, atol=1e-12)
        assert theirs.interaction_lookup.keys() == theirs.dict_values.keys()


def test_pairs_alone_and_singles_alone_keep_their_index():
    explainer, codes = explained(count=1)
    interactions = explainer.interactions(codes, index="k-SII", max_order=2)
    pairs, singles = interactions.order(2).to_shapiq(), interactions.order(1).to_shapiq()
    assert (pairs.index, pairs.min_order, pairs.max_order) == ("k-SII", 2, 2)
    # These are not Shapley values: part of the pairs is aggregated into them.
    assert (singles.index, singles.max_order) == ("k-SII", 1)
    assert not interactions.to_shapiq().estimated


def test_shapiq_computes_the_same_base_value_and_sum():
    """The interaction of no position is the base value if the values of shapiq's own computer say so."""
    explainer, codes = explained(q=2, n=5, count=1)
    score = explainer._sketch.predict(codes)[0]
    for index in ("SV", "k-SII", "STII", "FSII", "Moebius"):
        theirs = explainer.interactions(codes, index=index).to_shapiq()
        assert theirs.dict_values[()] == theirs.baseline_value
        assert sum(theirs.dict_values.values()) == pytest.approx(score, abs=1e-10)


def test_shapiq_draws_interactions(plt):
    explainer, codes = explained(count=2)
    theirs = explainer.interactions(codes, index="k-SII").to_shapiq(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for draw in (shapiq.network_plot, shapiq.force_plot, shapiq.upset_plot):
            assert draw(theirs, show=False) is not None
            plt.close("all")


def test_an_explainer_works_where_code_calls_one_of_shap():
    explainer, codes = explained()
    np.testing.assert_array_equal(explainer.shap_values(codes), explainer(codes).values)
    assert explainer.expected_value == explainer.base_value
    additive = explainer.expected_value + explainer.shap_values(codes).sum(axis=1)
    np.testing.assert_allclose(additive, explainer._sketch.predict(codes), atol=1e-10)


def test_rows_of_an_explanation_and_of_interactions():
    explainer, codes = explained(count=4)
    whole, pairs = explainer(codes), explainer.interactions(codes)
    for index in (0, np.int64(2), -1, slice(1, 3), slice(None, None, 2)):
        rows = np.atleast_1d(np.arange(4)[index])
        np.testing.assert_array_equal(whole[index].values, whole.values[rows])
        np.testing.assert_array_equal(whole[index].base_values, whole.base_values[rows])
        np.testing.assert_array_equal(whole[index].data, codes[rows])
        np.testing.assert_array_equal(pairs[index].values, pairs.values[rows])
        np.testing.assert_array_equal(pairs[index].base_values, pairs.base_values[rows])
    assert [len(one) for one in whole] == [1] * 4
    assert [one.to_shapiq().baseline_value for one in pairs] == pairs.base_values.tolist()
    assert len(whole[2:2]) == 0
    np.testing.assert_array_equal(np.asarray(whole), whole.values)
    for index, text in [
        (4, "there is no sequence 4, the last one is 3"),
        (-5, "must be at least -4"),
        ("0", "must be an integer"),
        (slice("a", None), "a slice of sequences has integers"),
    ]:
        with pytest.raises(ss.InputError, match=text):
            whole[index]
        with pytest.raises(ss.InputError, match=text):
            pairs[index]


def test_rows_keep_errors_of_sampling():
    explainer, codes = explained(q=2, n=5, count=3)
    evaluator = ss.Evaluator(lambda batch: explainer._sketch.predict(batch) ** 2, inputs="codes")
    options = {"calls_per_sequence": 32, "progress": False}
    refined = explainer.refine(evaluator, codes, **options)
    np.testing.assert_array_equal(refined[1].stderr, refined.stderr[1:2])
    pairs = explainer.refine(evaluator, codes, index="SII", **options)
    np.testing.assert_array_equal(pairs[1:].stderr, pairs.stderr[1:])
    assert pairs.to_shapiq(0).estimated


def tables():
    explainer, codes = explained(count=3)
    sequences = ["".join("ACGT"[a] for a in row) for row in codes]
    return {
        "explanation": explainer(codes),
        "interactions": explainer.interactions(codes),
        "sobol": explainer.sobol(),
        "motifs": explainer.motifs(5),
        "map": explainer.attribution_map(codes),
        "mutants": explainer.best_mutants(sequences[0], 2, count=4),
    }


@pytest.mark.parametrize("name", tables())
def test_frames_have_the_rows_of_records(name):
    result = tables()[name]
    frame = result.to_frame()
    pd.testing.assert_frame_equal(frame, pd.DataFrame(result.records()))
    # Polars and others read it through Arrow.
    table = pa.table(frame)
    assert table.num_rows == len(result.records())
    assert table.column_names == list(frame.columns)


def test_a_table_of_variants_is_a_frame(tmp_path):
    path = tmp_path / "scan.csv"
    path.write_text("mutant,score\nWT,1\nA1C,0.5\nC2T,0.2\nA1C:C2T,0\n")
    variants = ss.read_variants(path, wild_type="ACG")
    sketch = ss.Sketch(ss.Spectrum(variants.space, [[0, 0, 0], [0, 3, 0]], [1.0, 0.5], real_part=True))
    table = ss.VariantEffects(sketch, variants).singles()
    frame = table.to_frame()
    pd.testing.assert_frame_equal(frame, pd.DataFrame(table.records()))
    assert pa.table(frame).num_rows == len(table)


def test_an_empty_result_is_an_empty_frame():
    explainer, codes = explained()
    assert list(explainer(codes)[:0].to_frame().columns) == ["sequence", "position", "letter", "value"]
    assert list(explainer.interactions(codes).order(6).to_frame().columns) == ["sequence", "support", "value"]


@pytest.mark.parametrize("q", [2, 4, 20])
def test_logomaker_draws_matrices(plt, q):
    import logomaker

    explainer, codes = explained(q=q, n=4, count=7)
    one = explainer(codes)[2].to_logo()
    assert one.shape == (4, q)
    np.testing.assert_allclose(one.to_numpy().sum(axis=1), explainer(codes).values[2], atol=1e-12)
    means = explainer.attribution_map(codes)
    np.testing.assert_array_equal(means.to_logo().to_numpy(), np.nan_to_num(means.mean))
    for matrix in (one, means.to_logo()):
        logo = logomaker.Logo(matrix, color_scheme="black")
        assert len(logo.glyph_list) == 4 * q
        plt.close("all")


def test_exports_say_what_they_cannot():
    explainer, codes = explained()
    with pytest.raises(ss.InputError, match=r"a logo is of one sequence, and this explanation has 5; choose"):
        explainer(codes).to_logo()
    interactions = explainer.interactions(codes, index="SII")
    with pytest.raises(ss.InputError, match="of one sequence, and these are 5; choose one by row="):
        interactions.to_shapiq()
    with pytest.raises(ss.InputError, match="row must be below 5, the number of sequences, got 5"):
        interactions.to_shapiq(5)
    with pytest.raises(ss.InputError, match="an order that was not computed; choose a larger max_order"):
        interactions.order(3).to_shapiq(0)


@pytest.mark.parametrize(
    ("library", "use"),
    [
        ("shap", lambda explanation, pairs: explanation.to_shap()),
        ("shapiq", lambda explanation, pairs: pairs.to_shapiq()),
        ("pandas", lambda explanation, pairs: explanation.to_frame()),
        ("pandas", lambda explanation, pairs: explanation.to_logo()),
    ],
)
def test_the_error_names_the_missing_extra(monkeypatch, library, use):
    explainer, codes = explained(count=1)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ss.MissingExtraError, match=rf"{library}, .*pip install 'shapsketch\[interop\]'"):
        use(explainer(codes), explainer.interactions(codes))


class TestBareModels:
    """Models of other libraries are refused with the name of their adapter."""

    @staticmethod
    def errors(model):
        space = ss.SequenceSpace(ss.DNA, 4)
        for use in (
            lambda: ss.sketch(model, space, budget=100, progress=False),
            lambda: ss.Evaluator(model),
            lambda: ss.Evaluator(model, inputs="onehot"),
            lambda: ss.models.check(model, space),
        ):
            with pytest.raises(ss.InputError) as raised:
                use()
            yield str(raised.value)

    @pytest.mark.parametrize("library", ["torch", "keras"])
    def test_networks(self, monkeypatch, library):
        class Network:
            def __call__(self, batch):
                return np.zeros(len(batch))

        module = types.ModuleType(library)
        module.nn = types.SimpleNamespace(Module=Network)
        module.Model = Network
        monkeypatch.setitem(sys.modules, library, module)
        for text in self.errors(Network()):
            assert f"model is a {library} model, Network" in text
            assert f"pass ss.models.{library}(model)" in text
        # A network that declares what it takes is an adapter.
        declared = Network()
        declared.inputs = "strings"
        assert ss.Evaluator(declared).inputs == "strings"

    def test_estimators_and_boosters(self):
        from sklearn.tree import DecisionTreeRegressor

        class Booster:
            def predict(self, features):
                return features

        for text in self.errors(DecisionTreeRegressor()):
            assert "model is a DecisionTreeRegressor, which predicts from features" in text
            assert "pass ss.models.sklearn(model)" in text
        for text in self.errors(Booster()):
            assert "pass ss.models.booster(model)" in text
