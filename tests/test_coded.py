"""Coded delays: codes, designs, plans, and `auto`, which peels the queries that all methods share."""

import pickle

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import evaluate, random_spectrum

BITS64 = ss.SequenceSpace("01", 64)


def parities(n, terms, order, seed=0):
    """Return a model of codes: a sum of parities of `order` random positions."""
    rng = np.random.default_rng(seed)
    supports = np.array([rng.choice(n, order, replace=False) for _ in range(terms)])
    coefficients = rng.uniform(0.5, 1.5, terms)
    return lambda codes: (1.0 - 2.0 * (codes[:, supports].sum(axis=2) % 2)) @ coefficients


@settings(deadline=None, max_examples=20)
@given(
    q=st.sampled_from([2, 3, 4, 5, 7, 20]),
    n=st.integers(60, 120),
    max_order=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_planted_spectra_are_found_with_fewer_delays_than_positions(q, n, max_order, seed):
    spectrum = random_spectrum(q, n, seed, terms=4, max_order=max_order)
    b = {2: 6, 3: 4, 4: 3, 5: 3}.get(q, 2)
    design = ss.QueryDesign(
        spectrum.space, b=b, groups=4, delays="coded", max_order=max_order, random_state=seed
    )
    assert design.delays[0].shape[0] <= min(n + 1, 66)
    decoder = ss.PeelingDecoder().fit(ss.Observations(design, evaluate(spectrum, design.queries())))
    assert decoder.status_ == "converged"
    np.testing.assert_array_equal(decoder.spectrum_.frequencies, spectrum.frequencies)
    np.testing.assert_allclose(decoder.spectrum_.coefficients, spectrum.coefficients, atol=1e-9)


def test_delays_are_offsets_and_the_same_checks_after_each():
    design = ss.QueryDesign(BITS64, b=4, groups=2, delays="coded", max_order=3, repeats=2)
    # One check for S_0, three exponents of 6 digits each, and 4 random checks, from two offsets.
    steps = [delays.reshape(2, 1 + 1 + 3 * 6 + 4, 64) for delays in design.delays]
    checks = [(group[:, 1:] ^ group[:, :1]) for group in steps]
    for repeat in (*checks[0], *checks[1]):
        np.testing.assert_array_equal(repeat, checks[0][0])
    np.testing.assert_array_equal(checks[0][0][0], np.ones(64))
    back = pickle.loads(pickle.dumps(design))
    np.testing.assert_array_equal(back.queries(), design.queries())


@pytest.mark.parametrize(
    ("n", "arguments", "message"),
    [
        (64, {"max_order": 0}, "max_order must be at least 1, got 0"),
        (64, {"max_order": 40}, "no coded delays for orders up to 40 over 2 symbols at length 64.*'nso'"),
        (20, {}, "no coded delays for orders up to 5.*fewer than the 21 of delays 'nso'.*lower max_order"),
        (64, {"max_order": 3, "delays": "nso"}, "max_order is for delays='coded', not for delays='nso'"),
        (64, {"max_order": 2.5}, "max_order must be an integer"),
        (64, {"repeats": 10**9}, "exceed 2"),
    ],
)
def test_designs_that_do_not_exist(n, arguments, message):
    with pytest.raises(ss.InputError, match=message):
        ss.QueryDesign(ss.SequenceSpace("01", n), **{"b": 2, "delays": "coded", **arguments})


def test_frequencies_of_higher_order_are_not_read_as_others():
    wrong = 0
    for seed in range(40):
        frequency = np.zeros((1, 64), dtype=np.uint8)
        frequency[0, np.random.default_rng(seed).choice(64, 6, replace=False)] = 1
        spectrum = ss.Spectrum(BITS64, frequency, [1.0])
        design = ss.QueryDesign(BITS64, b=4, delays="coded", max_order=2, random_state=seed)
        values = evaluate(spectrum, design.queries())
        decoder = ss.PeelingDecoder().fit(ss.Observations(design, values))
        assert decoder.status_ == "stalled"
        wrong += len(decoder.spectrum_) > 1
    assert wrong <= 1


def test_a_plan_takes_coded_delays_where_they_allow_larger_blocks():
    space = ss.SequenceSpace("01", 256)
    plan = ss.plan(space, 8_000, method="peel")
    assert (plan.design, plan.max_order) == ((5, 4, 46), 5)
    assert "terms of order up to 5" in str(plan)
    # At length 26, a code of order 5 needs more delays than unit steps.
    unit = ss.plan(ss.SequenceSpace(ss.DNA, 26), 20_000, method="peel")
    assert (unit.design, unit.max_order) == ((3, 3, 81), None)
    # A small budget has fewer orders.
    assert ss.plan(space, 2_100, method="peel").max_order == 3


def test_auto_evaluates_the_queries_of_a_design_and_uniform_ones():
    plan = ss.plan(BITS64, 3_000)
    assert (plan.method, plan.design, plan.max_order, plan.total_queries) == ("auto", (4, 4, 36), 5, 3_000)
    assert "4 groups x 36 delays x q^4" in str(plan)
    codes = np.concatenate(list(plan.batches()))
    assert len(np.unique(codes, axis=0)) == 3_000
    design = ss.QueryDesign(BITS64, b=4, groups=4, delays="coded", max_order=5)
    np.testing.assert_array_equal(codes[: len(design)], design.queries())
    again = pickle.loads(pickle.dumps(plan))
    assert again == plan
    np.testing.assert_array_equal(np.concatenate(list(again.batches())), codes)
    # No design: a method that does not peel, queries that are not uniform, a budget that is too small.
    for options in ({"method": "regress"}, {"distribution": [0.3, 0.7]}):
        assert ss.plan(BITS64, 3_000, **options).design is None
    assert ss.plan(BITS64, 500).design is None


def test_auto_peels_parities_and_evaluates_no_more_than_its_budget():
    seen = []

    def model(codes):
        seen.append(codes.copy())
        return parities(64, 20, 5)(codes)

    sketch = ss.sketch(model, BITS64, budget=3_000, inputs="codes", progress=False)
    assert len(np.concatenate(seen)) == sketch.n_queries == 3_000
    assert (sketch.method, [c.name for c in sketch.candidates]) == ("peel", ["peel"])
    assert sketch.r2 > 1.0 - 1e-9
    fresh = np.random.default_rng(1).integers(0, 2, (100, 64), dtype=np.uint8)
    np.testing.assert_allclose(sketch.predict(fresh), model(fresh), atol=1e-9)


def test_auto_keeps_the_better_of_peeling_and_the_other_methods(tmp_path):
    rng = np.random.default_rng(0)
    space = ss.SequenceSpace("01", 40)
    weights = rng.normal(size=40)
    sparse = parities(40, 10, 3)

    def noisy(codes):
        return sparse(codes) + 0.5 * rng.normal(size=len(codes))

    def dense(codes):
        return codes @ weights + 0.3 * rng.normal(size=len(codes))

    options = {"budget": 1_500, "inputs": "codes", "effort": "quick", "progress": False}
    peeled, regressed = (ss.sketch(scores, space, **options) for scores in (noisy, dense))
    assert (peeled.method, regressed.method) == ("peel", "regress")
    for sketch in (peeled, regressed):
        assert {c.name: c.weight for c in sketch.candidates} == {
            "peel": float(sketch is peeled),
            "regress": float(sketch is regressed),
        }
        assert sketch.r2 == max(c.r2 for c in sketch.candidates) > 0.8
        sketch.save(tmp_path / "s.safetensors")
        loaded = ss.load(tmp_path / "s.safetensors")
        assert (loaded.method, loaded.r2, len(loaded.candidates)) == (sketch.method, sketch.r2, 2)


def test_queries_are_uniform_if_the_first_group_shows_no_sparse_spectrum(tmp_path):
    rng, space, seen = np.random.default_rng(0), ss.SequenceSpace("01", 40), []
    weights = rng.normal(size=40)

    def model(codes):
        seen.append(codes.copy())
        return np.tanh(codes @ weights) + 0.3 * (codes @ weights > 1.0)

    options = {"budget": 1_500, "inputs": "codes", "effort": "quick", "progress": False}
    sketch = ss.sketch(model, space, **options)
    plan = ss.plan(space, 1_500)
    assert (sketch.n_queries, [c.name for c in sketch.candidates]) == (1_500, ["regress"])
    asked, planned = np.concatenate(seen), np.concatenate(list(plan.batches()))
    b, groups, _ = plan.design
    first, designed = (
        len(ss.QueryDesign(space, b=b, groups=count, delays="coded", max_order=plan.max_order))
        for count in (1, groups)
    )
    np.testing.assert_array_equal(asked[:first], planned[:first])
    uniform = planned[designed:]
    np.testing.assert_array_equal(asked[first : first + len(uniform)], uniform)
    assert len(asked) == len(np.unique(asked, axis=0)) == 1_500
    # One of several outputs suffices.
    parity = parities(40, 3, 2)
    for other, method in ((lambda codes: model(codes) ** 2, "regress"), (parity, "peel")):
        evaluator = ss.Evaluator(
            lambda codes, other=other: np.stack([model(codes), other(codes)], axis=1),
            inputs="codes",
            outputs=["a", "b"],
        )
        both = ss.sketch_outputs(evaluator, space, budget=1_500, effort="quick", progress=False)
        assert both["b"].method == method
        assert ("peel" in [c.name for c in both["a"].candidates]) == (method == "peel")
    # A table has the scores of the plan only.
    path = tmp_path / "scores.csv"
    ss.write_sequences(path, space, plan.batches())
    rows = path.read_text().splitlines()
    scores = model(planned)
    path.write_text(
        "\n".join([f"{rows[0]},score", *(f"{r},{v}" for r, v in zip(rows[1:], scores, strict=True))])
    )
    table = ss.sketch(ss.models.table(path), space, budget=1_500, effort="quick", progress=False)
    assert (table.n_queries, [c.name for c in table.candidates]) == (1_500, ["regress", "peel"])


def test_errors_count_the_queries_of_the_first_group():
    asked = []

    def model(codes):
        asked.extend(codes)
        return np.where(
            np.arange(len(asked) - len(codes), len(asked)) == 1_000, np.nan, codes.sum(axis=1) ** 2.5
        )

    with pytest.raises(ss.ModelError, match="returned nan for query 1000, ") as caught:
        ss.sketch(model, ss.SequenceSpace("01", 40), budget=1_500, inputs="codes", progress=False)
    assert caught.value.index == 1_000


def test_sketches_in_rounds_have_uniform_queries():
    model = parities(64, 5, 1)
    sketch = ss.sketch(model, BITS64, budget=3_000, target_r2=0.9, inputs="codes", progress=False)
    assert (sketch.n_queries, sketch.method) == (500, "regress")
