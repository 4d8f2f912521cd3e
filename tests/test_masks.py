"""Explanations of value functions of masks: exact values, planted interactions, names, and bad input."""

import itertools
import math
import sys

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch.fitting.hierarchy import grown_supports, screened_pairs, selects, supports_of, unordered
from shapsketch.fitting.holdout import Labelled
from shapsketch.query.masks import coalitions, mask_space

NAMES = ["age", "income", "town", "price", "sex", "height"]


def all_masks(n):
    return np.array(list(itertools.product([False, True], repeat=n)))


def table_function(table):
    """Return the value function whose values are a table, indexed by the mask as a binary number."""
    return lambda masks: table[masks @ (1 << np.arange(masks.shape[1]))]


def game(table, n):
    """Return the values of sets of features, by frozenset."""
    return {
        frozenset(i for i in range(n) if number >> i & 1): value
        for number, value in enumerate(table.tolist())
    }


def subsets(items):
    items = sorted(items)
    return (frozenset(s) for r in range(len(items) + 1) for s in itertools.combinations(items, r))


def moebius(v, support):
    return sum((-1) ** (len(support) - len(inside)) * v[inside] for inside in subsets(support))


def shapley(v, n):
    """Return Shapley values by their definition."""
    values = np.zeros(n)
    for i in range(n):
        for others in subsets(set(range(n)) - {i}):
            size = len(others)
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            values[i] += weight * (v[others | {i}] - v[others])
    return values


# The weight of the Möbius coefficient of a set of t features in the index of s of them.
WEIGHTS = {
    "SII": lambda s, t: 1.0 / (t - s + 1),
    "BII": lambda s, t: 2.0 ** -(t - s),
    "Moebius": lambda s, t: float(s == t),
    "Co-Moebius": lambda s, t: 1.0,
}


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_all_masks_give_exact_values_and_interactions(n, seed):
    table = np.random.default_rng(seed).normal(size=2**n)
    v = game(table, n)
    explanation = ss.explain_masks(table_function(table), n, 2**n, progress=False)
    np.testing.assert_allclose(explanation.values, shapley(v, n), atol=1e-9)
    assert explanation.base_value == table[0]
    assert abs(explanation.gap) < 1e-9
    assert explanation.n_queries == 2**n
    assert (explanation.stderr == 0.0).all()
    np.testing.assert_allclose(
        explanation.predict(all_masks(n)), table_function(table)(all_masks(n)), atol=1e-9
    )
    for index, weight in WEIGHTS.items():
        order = min(3, n)
        found = explanation.interactions(index, order)
        values = dict(zip(found.supports, found.values, strict=True))
        for support in subsets(range(n)):
            if 1 <= len(support) <= order:
                around = (support | more for more in subsets(set(range(n)) - support))
                expected = sum(weight(len(support), len(t)) * moebius(v, t) for t in around)
                assert values.get(tuple(sorted(support)), 0.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("index", ["SV", "BV", "k-SII", "STII", "FSII", "FBII"])
def test_other_indices_agree_with_shapiq(index):
    shapiq = pytest.importorskip("shapiq")
    n, order = 6, 1 if index in ("SV", "BV") else 2
    table = np.random.default_rng(3).normal(size=2**n)
    value = table_function(table)
    found = ss.explain_masks(value, n, 2**n, progress=False).interactions(index, order)
    computer = shapiq.ExactComputer(n_players=n, game=lambda masks: value(np.asarray(masks, dtype=bool)))
    expected = computer(index, order=order)
    for support, entry in zip(found.supports, found.values, strict=True):
        # shapiq fits FSII with a large finite weight for the two ends.
        assert entry == pytest.approx(expected[support], abs=1e-7 if index == "FSII" else 1e-9)


def planted(masks):
    kept = masks.astype(float)
    return (
        1.0 + 2.0 * kept[:, 3] - 1.5 * kept[:, 7] * kept[:, 20] + 3.0 * kept[:, 0] * kept[:, 12] * kept[:, 29]
    )


def test_planted_interactions_are_recovered():
    explanation = ss.explain_masks(planted, 30, 600, effort="quick", progress=False)
    truth = np.zeros(30)
    truth[[3, 7, 20, 0, 12, 29]] = 2.0, -0.75, -0.75, 1.0, 1.0, 1.0
    np.testing.assert_allclose(explanation.values, truth, atol=0.02)
    assert explanation.r2 > 0.999
    assert explanation.r2_interval[0] <= explanation.r2 <= explanation.r2_interval[1]
    assert explanation.n_queries == 600
    assert explanation.stderr is None
    strongest = dict(explanation.interactions("Moebius").top(3))
    assert set(strongest) == {("3",), ("7", "20"), ("0", "12", "29")}
    assert strongest["0", "12", "29"] == pytest.approx(3.0, abs=0.05)


def test_values_add_up_to_the_value_of_all_features():
    def value(masks):
        return np.sin(masks @ np.arange(20.0)) + masks[:, 0]

    explanation = ss.explain_masks(value, 20, 200, effort="quick", progress=False)
    ends = value(np.array([[False] * 20, [True] * 20]))
    assert explanation.base_value == ends[0]
    assert explanation.base_value + explanation.values.sum() == pytest.approx(ends[1], abs=1e-12)
    sketched = explanation.interactions("SV")
    listed = np.zeros(20)
    listed[[support[0] for support in sketched.supports]] = sketched.values
    np.testing.assert_allclose(explanation.values - listed, explanation.gap / 20, atol=1e-12)
    # The two ends are wrong by what the sketch lacks there.
    predicted = explanation.predict(np.array([[False] * 20, [True] * 20]))
    assert explanation.gap == pytest.approx((ends[1] - ends[0]) - (predicted[1] - predicted[0]), abs=1e-9)


def test_the_ends_are_evaluated_once_each_and_masks_do_not_repeat():
    asked = []

    def value(masks):
        assert masks.dtype == bool
        assert masks.shape[1] == 12
        asked.extend(map(tuple, masks.tolist()))
        return masks.sum(axis=1)

    explanation = ss.explain_masks(value, 12, 150, effort="quick", progress=False)
    assert len(asked) == len(set(asked)) == explanation.n_queries == 150
    assert (False,) * 12 in asked
    assert (True,) * 12 in asked


def test_the_order_of_features_means_nothing():
    order = np.random.default_rng(5).permutation(30)
    space = mask_space(30)
    codes = coalitions(space).distinct(600, 0)
    moved = np.empty_like(codes)
    moved[:, order] = codes
    values = planted(codes.astype(bool))
    fits = [
        unordered(space, Labelled(each, values), 0)._fit(space, Labelled(each, values))
        for each in (codes, moved)
    ]
    first, second = (ss.Explainer(fit.sketch_, background="0" * 30)(["1" * 30]).values[0] for fit in fits)
    # The folds of cross-validation depend on the codes, so the shrinkage differs a little. With windows of
    # neighbours the values differ by 0.08.
    np.testing.assert_allclose(first, second[order], atol=2e-3)


def test_coalitions_have_every_size_and_contain_the_ends():
    codes = coalitions(mask_space(40)).distinct(4_000, 3)
    assert not codes[0].any()
    assert codes[1].all()
    assert len(np.unique(codes, axis=0)) == 4_000
    drawn = coalitions(mask_space(40)).draw(np.random.default_rng(3), 40_000).sum(axis=1)
    # All 41 sizes are equally likely: about 976 times each, with a standard deviation of 31.
    assert np.abs(np.bincount(drawn, minlength=41) - 40_000 / 41).max() < 5 * 31


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.integers(0, 2**32 - 1))
def test_screened_pairs_are_those_with_the_largest_correlations(n, seed):
    rng = np.random.default_rng(seed)
    codes = (rng.random((200, n)) < rng.random((200, 1))).astype(np.uint8)
    values = rng.normal(size=200)
    centred = codes - codes.mean(axis=0)
    scatter = centred.T @ centred + 1e-3 * 200 * np.eye(n)
    residual = values - values.mean()
    residual = residual - centred @ np.linalg.solve(scatter, centred.T @ residual)
    scores = {
        (i, j): abs((centred[:, i] * centred[:, j]) @ residual)
        / np.linalg.norm(centred[:, i] * centred[:, j])
        for i, j in itertools.combinations(range(n), 2)
    }
    found = screened_pairs(Labelled(codes, values), 3)
    assert found == sorted(sorted(scores, key=lambda pair: -scores[pair])[:3])


def test_a_feature_that_never_changes_is_in_no_screened_pair():
    codes = np.random.default_rng(0).integers(0, 2, (50, 4)).astype(np.uint8)
    codes[:, 1] = 1
    assert all(1 not in pair for pair in screened_pairs(Labelled(codes, codes[:, 0] * 1.0 * codes[:, 2]), 3))


def test_pairs_are_found_among_more_than_can_be_listed():
    def value(masks):
        return masks[:, :5].sum(axis=1) + 4.0 * (masks[:, 100] & masks[:, 17])

    explanation = ss.explain_masks(value, 150, 500, effort="quick", progress=False)
    pairs = [pair for pair in explanation.interactions("Moebius").top(10) if len(pair[0]) == 2]
    assert pairs[0][0] == ("17", "100")
    assert pairs[0][1] == pytest.approx(4.0, abs=0.1)


def test_r2_of_noise_is_0_although_pairs_are_selected_by_the_values():
    noise = np.random.default_rng(1).normal(size=500)

    def value(masks):
        # One number for each mask, whatever the batches are.
        return noise[(masks @ np.arange(1, 301) ** 2) % 500]

    explanation = ss.explain_masks(value, 300, 400, effort="quick", progress=False)
    assert explanation.r2 < 0.1
    assert explanation.r2_interval[0] <= 0.0


def test_selection_starts_where_pairs_cannot_be_listed():
    # 90 positions and 4,005 pairs are listed; 91 and 4,095 exceed 4,096.
    assert not selects(mask_space(90), 1_000)
    assert selects(mask_space(91), 1_000)
    assert not selects(mask_space(1), 2)
    with pytest.raises(ss.BudgetError, match="299 masks is too small for 91 features; use at least 300"):
        ss.explain_masks(planted, 91, 299, progress=False)


def test_higher_orders_grow_from_screened_pairs():
    space = mask_space(120)
    codes = coalitions(space).distinct(600, 0)
    data = Labelled(codes, planted(codes.astype(bool)))
    supports = grown_supports(space, data, 0)
    assert {(7, 20), (0, 12, 29)} <= set(supports)
    assert supports == sorted(set(supports))
    assert min(map(len, supports)) == 2
    # Of 7,140 pairs, 2,000 are screened, and fewer are in use.
    assert len(supports) < 2_000
    sketch = unordered(space, data, 0)._fit(space, data).sketch_
    fresh = coalitions(space).distinct(2_000, 1)
    np.testing.assert_allclose(sketch.predict(fresh), planted(fresh.astype(bool)), atol=0.1)


def test_few_features_in_use_among_many():
    # Masks that agree at all features in use are still different masks.
    explanation = ss.explain_masks(lambda masks: 2.0 * masks[:, 5], 120, 300, effort="quick", progress=False)
    assert explanation.top(1) == [{"feature": "5", "value": pytest.approx(2.0, abs=1e-3)}]
    space = mask_space(120)
    data = Labelled(coalitions(space).distinct(300, 0), np.full(300, 2.0))
    assert grown_supports(space, data, 0) == []


def test_trees_are_left_out_without_lightgbm(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    explanation = ss.explain_masks(
        lambda masks: masks[:, 5] + np.sin(masks.sum(axis=1)), 120, 300, progress=False
    )
    assert [candidate.name for candidate in explanation.sketch.candidates] == ["regress"]
    note = "trees were not tried: fitting trees needs lightgbm, which is"
    assert note in explanation.sketch.status
    assert note in caplog.text


def test_without_lightgbm_the_regression_of_few_features_is_not_validated_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    explanation = ss.explain_masks(
        lambda masks: masks[:, 5] + np.sin(masks.sum(axis=1)), 20, 300, progress=False
    )
    sketch = explanation.sketch
    assert [candidate.name for candidate in sketch.candidates] == ["regress"]
    assert sketch.status.startswith("cross-validated; trees were not tried: fitting trees needs lightgbm")


def test_supports_of_a_sketch_are_ordered_by_variance():
    frequencies = np.zeros((4, 6), dtype=np.uint8)
    frequencies[1, [0, 1]] = frequencies[2, [2, 3, 4]] = frequencies[3, 5] = 1
    sketch = ss.Sketch(ss.Spectrum(mask_space(6), frequencies, [1.0, 0.5, 2.0, 9.0]))
    assert supports_of(sketch._core, 5, 3) == [(2, 3, 4), (0, 1)]
    assert supports_of(sketch._core, 5, 2) == [(0, 1)]
    assert supports_of(sketch._core, 1, 3) == [(2, 3, 4)]


def parity_of_three(masks):
    return (1.0 - 2.0 * masks[:, [1, 8, 15]]).prod(axis=1) + (1.0 - 2.0 * masks[:, [2, 9]]).prod(axis=1)


def test_no_candidate_needs_an_order_and_trees_are_refitted():
    explanation = ss.explain_masks(
        lambda masks: parity_of_three(masks) + np.sin(5.0 * masks.sum(axis=1)),
        16,
        400,
        effort="thorough",
        progress=False,
    )
    names = [candidate.name for candidate in explanation.sketch.candidates]
    assert names == ["regress", "trees", "trees (refit)"]
    assert explanation.sketch.predictor is None
    assert not explanation.sketch._core.run_counts()


def test_the_same_seed_gives_the_same_result():
    results = [
        ss.explain_masks(planted, 30, 300, effort="quick", random_state=seed, progress=False)
        for seed in (4, 4, 5)
    ]
    assert np.array_equal(results[0].values, results[1].values)
    assert not np.array_equal(results[0].values, results[2].values)


def first_plus_pair(masks):
    return 2.0 * masks[:, 0] + 3.0 * (masks[:, 2] & masks[:, 4])


def test_names_are_in_every_result():
    explanation = ss.explain_masks(first_plus_pair, NAMES, 64, progress=False)
    assert explanation.names == tuple(NAMES)
    # Columns of a table of NumPy have names of another type, whose text differs.
    columns = ss.explain_masks(first_plus_pair, np.array(NAMES), 64, progress=False)
    assert str(columns.names) == str(explanation.names)
    assert explanation.records()[0] == {"feature": "age", "value": 2.0}
    assert [row["feature"] for row in explanation.top(3)] == ["age", "town", "sex"]
    lines = str(explanation).splitlines()
    assert lines[0] == "values of 6 features (R² 1.000), from 0 for none to 5 for all"
    assert lines[2].split() == ["age", "2"]
    assert repr(explanation) == "MaskExplanation(6 features, 64 masks, R² 1.000)"
    pairs = explanation.interactions("Moebius")
    assert pairs.top(1) == [(("town", "sex"), 3.0)]
    assert {"features": ("town", "sex"), "value": 3.0} in pairs.records()
    assert str(pairs).splitlines()[2].split() == ["town", "+", "sex", "3"]
    assert repr(pairs).startswith("MaskInteractions(Moebius, ")


def test_results_convert_to_shapiq():
    pytest.importorskip("shapiq")
    explanation = ss.explain_masks(lambda masks: first_plus_pair(masks) + 1.0, NAMES, 64, progress=False)
    values = explanation.to_shapiq()
    assert (values.index, values.n_players, values.baseline_value) == ("SV", 6, 1.0)
    assert [values[(i,)] for i in range(6)] == pytest.approx(explanation.values)
    pairs = explanation.interactions("k-SII").to_shapiq()
    assert (pairs.index, pairs.max_order) == ("k-SII", 2)
    assert pairs[2, 4] == pytest.approx(3.0)


def test_a_link_changes_the_scale():
    explanation = ss.explain_masks(
        lambda masks: np.exp(first_plus_pair(masks)), NAMES, 64, link="log", progress=False
    )
    np.testing.assert_allclose(explanation.values, [2.0, 0.0, 1.5, 0.0, 1.5, 0.0], atol=1e-9)
    with pytest.raises(ss.ModelError, match="value function, mask 0 without features and mask 1 with all"):
        ss.explain_masks(first_plus_pair, NAMES, 64, link="log", progress=False)


def test_an_evaluator_gives_batches_and_a_store(tmp_path):
    sizes = []

    def value(masks):
        sizes.append(len(masks))
        return first_plus_pair(masks)

    evaluator = ss.Evaluator(value, batch_size=10, store=tmp_path / "values.db")
    first = ss.explain_masks(evaluator, NAMES, 64, progress=False)
    assert max(sizes) == 10
    evaluated = sum(sizes)
    second = ss.explain_masks(evaluator, NAMES, 64, progress=False)
    # The store checks a few of its values each time it is opened.
    assert sum(sizes) - evaluated < 40
    assert np.array_equal(first.values, second.values)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda masks: np.where(masks.sum(axis=1) == 3, np.nan, 1.0 * masks[:, 0]),
            r"returned nan for the mask that keeps 3 of 6 features: '\w+', '\w+', '\w+' \(\d+ of \d+ values",
        ),
        (
            lambda masks: np.where(masks.any(axis=1), 1.0, np.inf),
            "returned inf for the mask that removes all 6",
        ),
        (
            lambda masks: np.where(masks.all(axis=1), -np.inf, 0.0),
            "returned -inf for the mask that keeps all 6",
        ),
        (lambda masks: masks * 1.0, r"one number for each mask, shape \(2,\), got shape \(2, 6\)"),
        (lambda masks: 1.0, r"one number for each mask, shape \(2,\), got 1.0 \(float\)"),
        (lambda masks: ["a"] * len(masks), "must return real numbers, got an array of dtype <U1"),
        (lambda masks: [[1.0], [1.0, 2.0]], "returned what is not an array"),
        (lambda masks: masks.nothing, r"raised AttributeError: .* a boolean array of shape \(2, 6\)"),
        (lambda masks: np.full(len(masks), 3.0), "same value, 3 on the scale of the link, for all 64 masks"),
    ],
)
def test_a_wrong_value_function_is_an_error_that_describes_the_mask(function, message):
    with pytest.raises(ss.ModelError, match=message):
        ss.explain_masks(function, NAMES, 64, progress=False)


def test_a_constant_of_many_features_is_an_error():
    with pytest.raises(ss.ModelError, match=r"same value, 0\.1 on the scale of the link, for all 120 masks"):
        ss.explain_masks(lambda masks: np.full(len(masks), 0.1), 9, 120, progress=False)


@pytest.mark.parametrize(
    ("features", "budget", "message"),
    [
        (["a", "b", "a"], 8, "features: the name 'a' occurs twice, at 0 and 2; names must differ"),
        (["a", 1], 8, "features: name 1 must be a string, got 1"),
        ([], 8, "features is empty"),
        (0, 8, "features must be at least 1"),
        (5_000, 200, "length must be 1 to 4096, got 5000"),
        ("age", 8, "features must be a list of names"),
        (7, 99, "a budget of 99 masks is too small for 7 features; use at least 100"),
        (6, 63, "a budget of 63 masks is too small for 6 features; use at least 64"),
    ],
)
def test_wrong_features_and_budgets(features, budget, message):
    with pytest.raises(ss.InputError, match=message):
        ss.explain_masks(first_plus_pair, features, budget, progress=False)


@pytest.mark.parametrize(
    "masks", [np.zeros((2, 6)), np.zeros((2, 5), dtype=bool), np.zeros(6, dtype=bool), ["011010"], [[0, 1]]]
)
def test_predictions_need_boolean_masks(masks):
    explanation = ss.explain_masks(first_plus_pair, NAMES, 64, progress=False)
    with pytest.raises(ss.InputError, match=r"masks must be a boolean array of shape \(B, 6\), got dtype"):
        explanation.predict(masks)


def test_a_value_function_that_is_none():
    with pytest.raises(ss.InputError, match="value_function must be a function of a boolean array"):
        ss.explain_masks(3, 6, 64, progress=False)
