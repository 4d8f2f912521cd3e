"""Sketches where the sequences are: distributions of queries, default backgrounds, and the guard."""

import logging
import pickle
from functools import cache

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st
from shapsketch import _core
from shapsketch.fitting.boosting import boost_all, closed_form, exact_closed_form, positional_candidates
from shapsketch.fitting.holdout import Labelled
from shapsketch.fitting.regression import suited_dictionary
from shapsketch.query.distribution import log_likelihoods, parse

SPACE = ss.SequenceSpace(ss.DNA, length=12)
WILD = "ACGTACGTTGCA"
WILD_CODES = SPACE.encode([WILD])[0]
RNG = np.random.default_rng(3)
EFFECTS = RNG.normal(size=(12, 4)) * np.isin(np.arange(12), [0, 5, 7])[:, None]


def additive(codes):
    return EFFECTS[np.arange(12), codes].sum(axis=1)


def sketch(distribution, budget=150, **options):
    options = {"method": "regress", "inputs": "codes", "progress": False, **options}
    return ss.sketch(additive, SPACE, budget=budget, distribution=distribution, **options)


@cache
def named(name):
    return sketch(DISTRIBUTIONS[name])


def queries(distribution, budget=200, seed=0):
    plan = ss.plan(SPACE, budget, distribution=distribution, random_state=seed)
    return np.concatenate(list(plan.batches(64)))


def test_mutagenesis_mutates_each_position_with_its_rate():
    codes = parse(ss.Mutagenesis(WILD, rate=0.2), SPACE).draw(np.random.default_rng(0), 20_000)
    mutated = codes != WILD_CODES
    assert abs(mutated.mean(axis=0) - 0.2).max() < 0.012
    # The three other symbols are equally likely.
    shifts = (codes - WILD_CODES) % 4
    assert abs(np.array([(shifts == s).mean() for s in (1, 2, 3)]) - 0.2 / 3).max() < 0.003


def test_mutagenesis_by_counts_positions_and_letters():
    near = ss.Mutagenesis(WILD_CODES, counts=(1, 3), positions=[0, 2, 5, 7], letters={2: "AG", 5: "T"})
    codes = parse(near, SPACE).draw(np.random.default_rng(0), 4_000)
    mutated = codes != WILD_CODES
    assert set(mutated.sum(axis=1)) == {1, 3}
    assert set(np.flatnonzero(mutated.any(axis=0))) == {0, 2, 5, 7}
    # The wild type has G at position 2, so only A remains.
    assert set(codes[:, 2]) == {0, 2}
    assert set(codes[:, 5]) == {1, 3}
    assert abs((mutated.sum(axis=1) == 3).mean() - 0.5) < 0.03


def test_hybrids_mix_sequences_with_their_background():
    background = "T" * 12
    codes = parse(ss.Hybrids(["A" * 12, "C" * 12], background), SPACE).draw(np.random.default_rng(0), 8_000)
    assert set(np.unique(codes)) == {0, 1, 3}
    assert not ((codes == 0).any(axis=1) & (codes == 1).any(axis=1)).any()
    # The fraction of the background is uniform, so each number of background symbols is equally likely.
    counts = np.bincount((codes == 3).sum(axis=1), minlength=13)
    assert abs(counts / 8_000 - 1 / 13).max() < 0.015


def test_probabilities_lists_and_functions():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 12)
    codes = parse(probabilities, SPACE).draw(np.random.default_rng(0), 20_000)
    found = np.array([np.bincount(column, minlength=4) / 20_000 for column in codes.T])
    assert abs(found - probabilities).max() < 0.015
    listed = SPACE.decode(RNG.integers(0, 4, (150, 12), dtype=np.uint8))
    assert set(SPACE.decode(queries(listed, 150))) == set(listed)

    def function(rng, count):
        return rng.integers(0, 2, (count, 12))

    assert set(np.unique(queries(function))) == {0, 1}


@given(budget=st.integers(100, 400), seed=st.integers(0, 5))
def test_queries_are_distinct_and_those_of_a_smaller_budget_come_first(budget, seed):
    near = ss.Mutagenesis(WILD, counts=(2, 3))
    large = queries(near, 400, seed)
    assert len(np.unique(large, axis=0)) == 400
    np.testing.assert_array_equal(queries(near, budget, seed), large[:budget])


DISTRIBUTIONS = {
    "uniform": "uniform",
    "rate": ss.Mutagenesis(WILD, rate=0.3),
    "counts": ss.Mutagenesis(WILD, counts=(1, 2, 3)),
    "hybrids": ss.Hybrids([WILD, WILD[::-1]], "T" * 12),
    "composition": np.array([0.4, 0.1, 0.1, 0.4]),
    "list": SPACE.decode(RNG.integers(0, 4, (400, 12), dtype=np.uint8)),
}


@pytest.mark.parametrize("name", list(DISTRIBUTIONS)[1:])
def test_a_sketch_knows_its_distribution(name, tmp_path):
    made = named(name)
    assert made.n_queries == 150
    assert made.r2 > 0.999
    assert made.distribution in made.summary()
    made.save(tmp_path / "s.safetensors")
    loaded = ss.load(tmp_path / "s.safetensors")
    assert loaded.distribution == made.distribution != "uniform"
    copied = pickle.loads(pickle.dumps(made))
    backgrounds = {ss.Explainer(each).background for each in (made, loaded, copied)}
    assert len(backgrounds) == 1
    explanation = ss.Explainer(loaded)([WILD])
    assert made.distribution in str(explanation.explained)
    np.testing.assert_allclose(
        explanation.values.sum() + explanation.base_values[0], made.predict([WILD])[0], atol=1e-9
    )


def test_the_default_background_is_the_wild_type_or_the_distribution():
    near = named("rate")
    mutant = "T" + WILD[1:]
    values = ss.Explainer(near)([mutant]).values[0]
    expected = np.zeros(12)
    expected[0] = EFFECTS[0, 3] - EFFECTS[0, 0]
    np.testing.assert_allclose(values, expected, atol=0.05)
    composition = np.array([0.4, 0.1, 0.1, 0.4])
    explainer = ss.Explainer(named("composition"))
    np.testing.assert_allclose(explainer.base_value, (EFFECTS @ composition).sum(), atol=0.05)
    assert ss.Explainer(named("uniform")).background == "uniform"
    shuffled = sketch(ss.Hybrids([WILD, WILD[::-1]], ss.DinucleotideShuffles(30)), budget=100)
    with pytest.raises(ss.InputError, match="pass background="):
        ss.Explainer(shuffled)
    assert ss.Explainer(shuffled, "uniform").background == "uniform"


def test_rounds_and_several_outputs_have_the_distribution():
    near = DISTRIBUTIONS["counts"]
    made = sketch(near, budget=600, target_r2=0.9)
    assert made.status == "target met"
    assert made.n_queries == 500
    assert made.distribution.startswith("mutants of")
    both = ss.sketch_outputs(
        ss.Evaluator(
            lambda codes: np.stack([additive(codes), -additive(codes)], axis=1),
            inputs="codes",
            outputs=["plus", "minus"],
        ),
        SPACE,
        budget=100,
        distribution=near,
        method="regress",
        progress=False,
    )
    assert {each.distribution for each in both.values()} == {made.distribution}


def test_a_plan_of_a_distribution_can_be_pickled():
    plan = ss.plan(SPACE, 150, distribution=ss.Mutagenesis(WILD, counts=(2,)))
    again = pickle.loads(pickle.dumps(plan))
    assert "mutants of ACGTACGTTGCA with 2 mutations" in str(plan)
    np.testing.assert_array_equal(next(plan.batches()), next(again.batches()))


BAD = [
    (ss.Mutagenesis("ACGT"), ss.InputError, "wild_type: .*length"),
    (ss.Mutagenesis([WILD, WILD]), ss.InputError, "wild_type must be one sequence, a string or codes"),
    (ss.Mutagenesis(WILD, rate=0.0), ss.InputError, "rate must be above 0"),
    (ss.Mutagenesis(WILD, rate=2), ss.InputError, "at most 1"),
    (ss.Mutagenesis(WILD, rate=0.1, counts=(1,)), ss.InputError, "not both"),
    (ss.Mutagenesis(WILD, counts=()), ss.InputError, "counts is empty"),
    (ss.Mutagenesis(WILD, counts=(13,)), ss.InputError, "13 mutations, but only 12 positions"),
    (ss.Mutagenesis(WILD, positions=[]), ss.InputError, "positions is empty"),
    (ss.Mutagenesis(WILD, positions=[12]), ss.InputError, "12 is not a position; they are 0 to 11"),
    (ss.Mutagenesis(WILD, letters={0: "AZ"}), ss.InputError, "'Z'.* at position 0"),
    (ss.Mutagenesis(WILD, letters={i: WILD[i] for i in range(12)}), ss.InputError, "no position"),
    (ss.Mutagenesis(WILD, counts=(1,)), ss.BudgetError, "only 36 distinct sequences.*use budget=36"),
    (ss.Mutagenesis, ss.InputError, "pass an instance"),
    (ss.Hybrids([]), ss.InputError, "Hybrids: there are no sequences"),
    (ss.Hybrids(["ACGT"]), ss.InputError, "Hybrids: "),
    ("near", ss.InputError, "distribution must be 'uniform'"),
    (np.full((12, 4), 0.3), ss.InputError, "add up to 1"),
    ([WILD], ss.BudgetError, "only 1 distinct"),
    (lambda rng, count: rng.integers(0, 4, (count, 11)), ss.InputError, r"must return codes \(4096, 12\)"),
    (lambda rng, count: rng.integers(0, 5, (count, 12)), ss.InputError, "distribution: "),
    (None, ss.InputError, "distribution must be .* got None"),
]


@pytest.mark.parametrize(("distribution", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_distributions_are_refused_before_the_model_is_called(distribution, error, message):
    def model(_):
        raise AssertionError("the model was called")

    with pytest.raises(error, match=message):
        ss.sketch(model, SPACE, budget=200, distribution=distribution, progress=False)


@pytest.mark.parametrize("method", ["peel", "exact"])
def test_designs_have_uniform_queries(method):
    with pytest.raises(ss.InputError, match="needs uniform queries; remove distribution="):
        sketch(ss.Mutagenesis(WILD), budget=20_000, method=method)


def warnings_of(explainer, sequences, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "shapsketch.explain.distance"):
        explainer(sequences)
    return [record.getMessage() for record in caplog.records]


def test_the_guard_warns_where_r2_does_not_hold(caplog):
    rng = np.random.default_rng(7)
    mutants = parse(ss.Mutagenesis(WILD, rate=0.1), SPACE).draw(rng, 50)
    uniform = rng.integers(0, 4, (50, 12), dtype=np.uint8)
    everywhere, at_home = named("uniform"), named("counts")
    explainer = ss.Explainer(everywhere)
    assert "agree at" in warnings_of(explainer, mutants, caplog)[0]
    assert warnings_of(explainer, mutants, caplog) == []  # once
    assert "mutations from the background" in warnings_of(ss.Explainer(everywhere, WILD), mutants, caplog)[0]
    assert "less likely than every query" in warnings_of(ss.Explainer(at_home), uniform, caplog)[0]
    assert "background sequences" in warnings_of(ss.Explainer(at_home, "uniform"), mutants, caplog)[0]
    assert warnings_of(ss.Explainer(at_home), mutants, caplog) == []
    assert warnings_of(ss.Explainer(everywhere), uniform, caplog) == []


def test_the_guard_is_silent_for_sequences_of_its_own_distribution(caplog):
    false_alarms = 0
    for name in list(DISTRIBUTIONS)[1:]:
        made, distribution = named(name), parse(DISTRIBUTIONS[name], SPACE)
        for draw in range(20):
            codes = distribution.draw(np.random.default_rng(draw), 100)
            false_alarms += len(warnings_of(ss.Explainer(made), codes, caplog))
    assert false_alarms <= 2


def test_log_likelihoods_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 12)
    codes = rng.integers(0, 4, (7, 12), dtype=np.uint8)
    smoothed = 0.999 * probabilities + 0.001 / 4
    expected = [np.mean([np.log(smoothed[i, a]) for i, a in enumerate(row)]) for row in codes]
    np.testing.assert_allclose(log_likelihoods(probabilities, codes), expected, rtol=1e-12)


def test_trees_near_a_wild_type_are_exact():
    space = ss.SequenceSpace(ss.PROTEIN, 20)
    wild = np.random.default_rng(0).integers(0, 20, 20)
    codes = parse(ss.Mutagenesis(wild, rate=0.1), space).distinct(900, 0)
    mutated = codes != wild
    values = np.exp(-mutated.sum(axis=1) / 2.0) + mutated[:, 3] * mutated[:, 9]
    for features in positional_candidates(space, exact=True):
        trees = boost_all(features, Labelled(codes, values), leaves=31, rounds=80, seed=0)
        boosted = trees.boosted
        expected = boosted.centre + boosted.scale * boosted.booster.predict(features.matrix(codes))
        form = _core.Components(exact_closed_form(trees)).predict(codes)
        np.testing.assert_allclose(form, expected, rtol=1e-9, atol=1e-9)
        # Truncation by the variance of uniform sequences loses what varies here.
        short = _core.Components(closed_form(trees, 1e-3, None)[0]).predict(codes)
        assert np.mean((short - expected) ** 2) > 0.01 * expected.var()


def test_the_dictionary_near_one_sequence_leaves_out_pairs_that_hardly_occur():
    def dictionary(space, rate, count):
        wild = np.zeros(space.n, dtype=np.uint8)
        return suited_dictionary(space, parse(ss.Mutagenesis(wild, rate=rate), space).distinct(count, 0))

    long = ss.SequenceSpace(ss.PROTEIN, 60)
    chosen = dictionary(long, 0.1, 2_000)
    assert (chosen.orders, chosen.windows) == (1, 2)
    # Pairs are listed if they occur, if sequences are far from each other, or if there are few.
    assert dictionary(ss.SequenceSpace("ACDE", 150), 0.1, 2_000) is None
    assert dictionary(long, 0.8, 2_000) is None
    assert dictionary(ss.SequenceSpace(ss.PROTEIN, 12), 0.1, 2_000) is None
