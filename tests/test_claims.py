"""What sketches claim about themselves: R², its interval and standard errors, against truth that is known."""

import logging

import numpy as np
import pytest
import shapsketch as ss
from toys import by_evaluator

DNA9 = ss.SequenceSpace(ss.DNA, length=9)
# Every sequence, and the place of a sequence in this list.
ALL = np.indices((4,) * 9).reshape(9, -1).T.astype(np.uint8)
PLACES = 4 ** np.arange(9)[::-1]


def weights(seed):
    w = np.random.default_rng(seed).normal(size=(9, 4))
    return w - w.mean(axis=1, keepdims=True)


def additive(codes, seed=1):
    return weights(seed)[np.arange(9), codes].sum(axis=1)


def word(codes, first, letters):
    return np.all([codes[:, first + i] == letter for i, letter in enumerate(letters)], axis=0) * 1.0


def true_r2(sketch, values):
    return 1.0 - ((sketch.predict(ALL) - values) ** 2).mean() / values.var()


NOISE = np.random.default_rng(77).normal(size=len(ALL))
MODELS = {
    "additive": additive(ALL),
    "additive and noise": additive(ALL, 2) / additive(ALL, 2).std() + NOISE / 3,
    "noise": NOISE,
    "a word at any place": np.max([word(ALL, i, (2, 0, 3)) for i in range(7)], axis=0),
    "sigmoid": 1.0 / (1.0 + np.exp(-additive(ALL, 6))),
    "heavy": np.exp(2.0 * additive(ALL, 10)),
    "threshold": (additive(ALL, 16) > 1.0) * 1.0,
    "product": np.prod([0.1 + weights(29)[i, ALL[:, i]] ** 2 for i in range(9)], axis=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_intervals_hold_the_true_r2(name):
    values = MODELS[name]
    for seed in range(4):
        sketch = by_evaluator(
            ss.sketch,
            lambda codes: values[codes.astype(int) @ PLACES],
            DNA9,
            budget=300,
            method="regress",
            random_state=seed,
            inputs="codes",
            progress=False,
        )
        low, high = sketch.r2_interval
        assert low <= true_r2(sketch, values) <= high <= 1.0
        assert high - low > 1e-4


@pytest.mark.parametrize("method", ["auto", "regress"])
def test_no_variance_no_r2(method, caplog):
    with caplog.at_level(logging.WARNING):
        sketch = ss.sketch(
            lambda s: [5.0 * (x[4:10] == "TATAAA") for x in s],
            ss.SequenceSpace(ss.DNA, length=20),
            budget=300,
            method=method,
            progress=False,
        )
    assert np.isnan(sketch.r2)
    assert sketch.r2_interval == (-np.inf, 1.0)
    assert "R² is undefined" in sketch.status
    assert "R²         undefined: all 300 values are equal" in sketch.summary()
    assert "a feature in fewer than 1 of 100 sequences can be missing" in sketch.summary()
    assert "R² is undefined" in caplog.text
    explanation = ss.Explainer(sketch)(["A" * 20])
    with pytest.raises(ss.InputError, match="no standard errors"):
        _ = explanation.stderr


def test_a_target_is_not_met_without_variance():
    sketch = ss.sketch(
        lambda s: [5.0 * (x[4:10] == "TATAAA") for x in s],
        ss.SequenceSpace(ss.DNA, length=20),
        budget=4_000,
        target_r2=0.9,
        progress=False,
    )
    assert sketch.n_queries == 4_000
    assert "budget spent" in sketch.status


def test_few_rows_are_named():
    values = np.random.default_rng(3).normal(size=300)
    values[17] = 300.0
    codes = np.random.default_rng(4).integers(0, 4, (300, 9))
    sketch = ss.fit(codes, values, DNA9, progress=False)
    assert "about 1 of 300 sequences decide R²" in sketch.summary()
    assert sketch.r2_interval == (-np.inf, 1.0)
    # No pattern has the size of the outlier.
    assert max((abs(pattern.coefficient) for pattern in sketch.patterns), default=0.0) < 100.0


def test_hubers_loss_limits_an_outlier():
    codes = np.random.default_rng(4).integers(0, 4, (300, 9))
    values = additive(codes) + 0.3 * np.random.default_rng(5).normal(size=300)
    values[17] = 300.0
    squared = ss.fit(codes, values, DNA9, progress=False)
    huber = ss.fit(codes, values, DNA9, loss="huber", progress=False)
    assert true_r2(squared, additive(ALL)) < 0.5
    assert true_r2(huber, additive(ALL)) > 0.95
    with pytest.raises(ss.InputError, match="loss='huber' is for method='regress', not 'auto'"):
        ss.fit(codes, values, DNA9, method="auto", loss="huber")
    with pytest.raises(ss.InputError, match="loss must be one of 'squared', 'huber', got 'hubert'"):
        ss.fit(codes, values, DNA9, loss="hubert")


def test_an_offset_does_not_change_the_interval():
    def of(offset):
        def model(codes):
            return additive(codes) + NOISE[codes.astype(int) @ PLACES] + offset

        return ss.sketch(model, DNA9, budget=400, method="regress", inputs="codes", progress=False)

    np.testing.assert_allclose(of(1e12).r2_interval, of(0.0).r2_interval, atol=1e-3)
    with pytest.raises(ss.InputError, match="differ by rounding only; subtract a constant in the model"):
        of(1e16)


def test_replicates_count_once():
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 4, (500, 9))
    values = np.repeat(additive(codes), 6) + rng.normal(size=3000)
    sketch = ss.fit(np.repeat(codes, 6, axis=0), values, DNA9, progress=False)
    assert sketch.n_queries == len(np.unique(codes, axis=0)) == sketch._info.r2.count
    # A single fresh measurement has the noise.
    error = ((sketch.predict(ALL) - additive(ALL)) ** 2).mean()
    low, high = sketch.r2_interval
    assert low <= 1.0 - (error + 1.0) / (additive(ALL).var() + 1.0) <= high
    some = ALL[::4099]
    explanation = ss.Explainer(sketch)(some)
    # The Shapley values of an additive model are its centred weights.
    errors = np.abs(explanation.values - weights(1)[np.arange(9), some])
    assert (errors < 1.96 * explanation.stderr).mean() > 0.85
    # The standard errors are those of a fit to the means of the replicates.
    means = ss.fit(codes, values.reshape(500, 6).mean(axis=1), DNA9, progress=False)
    np.testing.assert_allclose(explanation.stderr, ss.Explainer(means)(some).stderr, rtol=1e-6)


def test_a_weight_counts_as_copies():
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 4, (400, 9))
    values = additive(codes) + rng.normal(size=400)
    counts = rng.integers(1, 4, 400)
    copies = np.repeat(codes, counts, axis=0), np.repeat(values, counts)
    # LightGBM bins and counts rows, so its trees differ.
    small = ss.TreeSketch(DNA9, features="onehot", leaves=4)
    for estimator, tolerance in [(ss.SparseRegressor(DNA9), 1e-8), (small, 0.1)]:
        weighted = estimator.fit(codes, values, sample_weight=counts).sketch_.r2
        np.testing.assert_allclose(weighted, estimator.fit(*copies).sketch_.r2, atol=tolerance)
    for wrong, message in [
        (np.ones(399), r"sample_weight must have shape \(400,\)"),
        (np.where(counts == 2, 0.0, 1.0), "is not a finite number above 0"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            ss.fit(codes, values, DNA9, sample_weight=wrong)


@pytest.mark.parametrize(
    "estimator", [ss.SparseRegressor(DNA9), ss.TreeSketch(DNA9, features="onehot", leaves=4)]
)
def test_dependent_positions_are_named(estimator):
    codes = np.random.default_rng(9).integers(0, 4, (600, 9))
    codes[:, 7] = 3 - codes[:, 0]
    sketch = estimator.fit(codes, additive(codes)).sketch_
    assert "positions 0 and 7: their effects cannot be told apart" in sketch.summary()
    with pytest.raises(ss.InputError, match="no standard errors"):
        _ = ss.Explainer(sketch)(codes[:2]).stderr


def test_a_constant_is_better_than_a_bad_sketch():
    codes = np.random.default_rng(1).integers(0, 4, (600, 9))
    noise = np.random.default_rng(2).normal(size=600)
    sketch = ss.fit(codes, noise, DNA9, method="trees", progress=False)
    assert sketch.n_terms == 1
    assert "the sketch is a constant" in sketch.status
    np.testing.assert_allclose(sketch.predict(codes[:3]), noise.mean())


def test_few_values_that_differ_do_not_inflate_an_average():
    # 3 % of the values are 1, so 60 held-out values have two of them. Weights of the average were up to 7.
    values = (additive(ALL, 117) > 5.0) * 1.0
    evaluator = ss.Evaluator(lambda codes: values[codes.astype(int) @ PLACES], inputs="codes")
    for seed in range(2):
        sketch = ss.sketch(evaluator, DNA9, budget=300, method="auto", random_state=seed, progress=False)
        assert sum(candidate.weight for candidate in sketch.candidates) <= 1.0 + 1e-9
        low, high = sketch.r2_interval
        assert low <= true_r2(sketch, values) <= high
        assert true_r2(sketch, values) > -0.1


@pytest.mark.parametrize(
    ("method", "power"),
    [
        ("regress", -390),
        ("regress", -270),
        ("regress", 260),
        ("regress", 390),
        ("trees", -390),
        ("trees", 390),
    ],
)
def test_the_scale_of_the_values_changes_nothing_else(method, power):
    codes = np.random.default_rng(8).integers(0, 4, (600, 9))
    values = additive(codes) + 2.0 * word(codes, 3, (1, 2)) + NOISE[codes @ PLACES]
    some, factor = ALL[::40_009], 2.0**power
    one = ss.fit(codes, values, DNA9, method=method, progress=False)
    other = ss.fit(codes, factor * values, DNA9, method=method, progress=False)
    np.testing.assert_allclose((other.r2, *other.r2_interval), (one.r2, *one.r2_interval), rtol=1e-9)
    first, second = ss.Explainer(one)(some), ss.Explainer(other)(some)
    np.testing.assert_allclose(second.values / factor, first.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(second.stderr / factor, first.stderr, rtol=1e-9)


def test_the_scale_of_a_model_does_not_change_its_faithfulness():
    space = ss.SequenceSpace(ss.DNA, 6)

    def correlation(power):
        def model(sequences):
            return [2.0**power * (x.count("G") + 2.0 * x.startswith("AC") + x.count("CA")) for x in sequences]

        sketch = ss.sketch(model, space, budget=300, method="regress", progress=False)
        explainer = ss.Explainer(sketch)
        with pytest.raises(ss.InputError, match="cannot be squared without loss"):
            explainer.refine(lambda s: [1e200 * (1 + x.count("G")) for x in s], ["ACGTAC"], progress=False)
        found = ss.faithfulness(model, explainer, ["ACGTAC", "GGCATA"], budget=2_000, progress=False)
        return found.shapley_correlation["sketch"].value

    one = correlation(0)
    assert one > 0.9
    for power in (-270, 260):
        np.testing.assert_allclose(correlation(power), one, rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_noise_does_not_shrink_standard_errors(seed):
    # With seed 1, pairs of residuals show less error than the terms have, by chance. Coverage was 0.30.
    truth = additive(ALL) / additive(ALL).std()
    rng = np.random.default_rng([seed, 500, 1])
    chosen = rng.choice(len(ALL), 500)
    values = truth[chosen] + 0.5 * rng.normal(size=500)
    sketch = ss.fit(ALL[chosen], values, DNA9, random_state=seed, progress=False)
    some = ALL[::8001]
    explanation = ss.Explainer(sketch)(some)
    errors = np.abs(explanation.values - weights(1)[np.arange(9), some] / additive(ALL).std())
    assert (errors < 1.96 * explanation.stderr).mean() > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_a_nearly_perfect_fit_is_as_close_as_it_says(seed):
    """The final fit must converge as far as the fits that measure its error."""

    def halves(codes):
        return np.where((codes == 1) | (codes == 2), 0.5, -0.5)

    sketch = ss.sketch(
        lambda codes: halves(codes).sum(axis=1) ** 2, DNA9,
        budget=1_000, method="regress", inputs="codes", random_state=seed, progress=False,
    )  # fmt: skip
    codes = np.random.default_rng(1).integers(0, 4, (4_000, 9))
    half = halves(codes)
    true = half.sum(axis=1) ** 2
    assert ((sketch.predict(codes) - true) ** 2).mean() / true.var() < 2.0 * (1.0 - sketch.r2)
    explanation = ss.Explainer(sketch)(codes)
    # The square is a constant plus 2·h_i·h_j for each pair, which its two positions share.
    expected = half * (half.sum(axis=1, keepdims=True) - half)
    assert (np.abs(explanation.values - expected) <= 1.96 * explanation.stderr).mean() > 0.93
