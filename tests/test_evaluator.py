"""An evaluator says how a model is evaluated, once, and evaluates each sequence once."""

import logging

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st

DNA6 = ss.SequenceSpace(ss.DNA, 6)


class Counting:
    """A model of codes that records every row it receives."""

    inputs = "codes"

    def __init__(self, value=lambda codes: codes[:, 0] * 2.0 + (codes[:, 2] == 1)):
        self.value, self.rows = value, []

    def __call__(self, codes):
        self.rows.extend(row.tobytes() for row in codes)
        return self.value(codes)


def codes_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 4, (count, 6)).astype(np.uint8)


def sketch(model, **options):
    return ss.sketch(model, DNA6, budget=300, method="regress", progress=False, **options)


def test_one_evaluator_serves_sketch_faithfulness_and_refine_without_repeats():
    model = Counting()
    evaluator = ss.Evaluator(model)
    made = sketch(evaluator)
    assert len(model.rows) == 300
    again = sketch(evaluator)
    assert len(model.rows) == 300
    explainer = ss.Explainer(made)
    ss.faithfulness(evaluator, explainer, codes_of(2), budget=600, progress=False)
    explainer.refine(evaluator, codes_of(2), calls_per_sequence=64, progress=False)
    assert len(model.rows) == len(set(model.rows))
    np.testing.assert_array_equal(made.predict(codes_of(50)), again.predict(codes_of(50)))


def test_an_evaluator_gives_the_same_results_as_the_callable():
    codes = codes_of(3)
    plain, evaluated = sketch(Counting()), sketch(ss.Evaluator(Counting()))
    np.testing.assert_array_equal(plain.predict(codes), evaluated.predict(codes))
    explainer = ss.Explainer(plain)
    one = explainer.refine(Counting(), codes, calls_per_sequence=64, progress=False)
    other = explainer.refine(ss.Evaluator(Counting()), codes, calls_per_sequence=64, progress=False)
    np.testing.assert_array_equal(one.values, other.values)


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=30), min_size=1, max_size=5))
def test_values_are_those_of_the_model_in_any_order_and_with_repeats(requests):
    model, pool = Counting(), codes_of(41, seed=1)
    evaluator = ss.Evaluator(model, batch_size=4)
    for rows in requests:
        values = evaluator.evaluate(pool[rows], DNA6, progress=False)
        np.testing.assert_array_equal(values, model.value(pool[rows]))
    assert len(model.rows) == len(set(model.rows))


def test_each_space_has_its_own_values():
    evaluator = ss.Evaluator(lambda sequences: [float(len(s)) for s in sequences])
    assert evaluator.evaluate(["ACGTAC"], DNA6, progress=False).tolist() == [6.0]
    assert evaluator.evaluate(["ACG"], ss.SequenceSpace(ss.DNA, 3), progress=False).tolist() == [3.0]


def test_values_before_a_failure_are_not_evaluated_again():
    model = Counting()
    healthy = model.value

    def failing(codes):
        if len(model.rows) > 40:
            raise OSError("the network is down")
        return healthy(codes)

    model.value = failing
    evaluator = ss.Evaluator(model, batch_size=20)
    with pytest.raises(ss.ModelError, match="the network is down"):
        sketch(evaluator)
    kept = set(model.rows[:40])
    model.rows, model.value = [], healthy
    sketch(evaluator)
    assert not kept & set(model.rows)
    assert len(model.rows) == 260


def test_several_outputs_have_a_function_of_their_own():
    model = Counting(lambda codes: np.stack([codes[:, 0] * 1.0, codes[:, 1] == 2], axis=1))
    evaluator = ss.Evaluator(model, outputs=["first", "second"])
    options = {"budget": 300, "method": "regress", "progress": False}
    sketches = ss.sketch_outputs(evaluator, DNA6, **options)
    assert list(sketches) == ["first", "second"]
    assert len(model.rows) == 300
    assert evaluator.evaluate(codes_of(3), DNA6, progress=False).shape == (3, 2)
    codes = codes_of(20)
    plain = ss.sketch_outputs(model, DNA6, outputs=["first", "second"], **options)
    np.testing.assert_array_equal(plain["second"].predict(codes), sketches["second"].predict(codes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: sketch(e), "several outputs; use ss.sketch_outputs"),
        (lambda e: ss.Explainer(sketch(Counting())).refine(e, codes_of(1)), "several outputs"),
        (
            lambda e: ss.faithfulness(e, ss.Explainer(sketch(Counting())), codes_of(1), budget=500),
            "several outputs",
        ),
        (
            lambda e: ss.sketch_outputs(e, DNA6, outputs=["a"], budget=300),
            "pass outputs= to the Evaluator",
        ),
        (lambda e: ss.sketch_outputs(Counting(), DNA6, budget=300), "names of the outputs are unknown"),
        (lambda e: sketch(ss.Evaluator(Counting()), inputs="codes"), "pass inputs= to the Evaluator"),
        (lambda e: ss.Evaluator(e), "is already an Evaluator"),
        (lambda e: ss.Evaluator("model"), "model must be a callable"),
        (lambda e: ss.Evaluator(Counting(), executor=3), "executor must be a concurrent.futures.Executor"),
        (lambda e: ss.Evaluator(Counting(), in_flight=3), "in_flight has no effect without executor="),
        (lambda e: ss.Evaluator(Counting(), retries=-1), "retries must be at least 0"),
        (lambda e: ss.Evaluator(Counting(), batch_size=0), "batch_size must be at least 1"),
        (lambda e: ss.Evaluator(Counting(), store=3), "the path of a store must be a string or a path"),
        (lambda e: e.evaluate(["ACGTAC"], "space"), "space must be a SequenceSpace"),
        (
            lambda e: e.evaluate(["ACGTAC"], DNA6, progress="yes"),
            "progress must be True, False or a function",
        ),
    ],
)
def test_wrong_use_is_refused_before_the_model_is_called(call, message):
    model = Counting()
    with pytest.raises(ss.InputError, match=message):
        call(ss.Evaluator(model, outputs=["a", "b"]))
    assert not model.rows


def test_the_model_is_checked_once_in_each_space(caplog):
    model = Counting(lambda codes: np.random.default_rng().random(len(codes)))
    evaluator = ss.Evaluator(model, check=True)
    with caplog.at_level(logging.WARNING, logger="shapsketch"):
        evaluator.evaluate(codes_of(20), DNA6, progress=False)
        # Eight sequences twice, two of them alone, and the other twelve.
        assert len(model.rows) == 30
        evaluator.evaluate(codes_of(40), DNA6, progress=False)
        assert len(model.rows) == 50
    assert caplog.text.count("the model is not repeatable") == 1


def test_an_evaluator_that_does_not_remember_evaluates_again():
    model = Counting()
    evaluator = ss.Evaluator(model, batch_size=64, remember=False)
    first, second = sketch(evaluator), sketch(evaluator)
    assert len(model.rows) == 600
    np.testing.assert_array_equal(first.predict(codes_of(20)), second.predict(codes_of(20)))
    adapted = evaluator.adapted(lambda inner: inner)
    assert adapted.remember is False
    assert ss.Evaluator(model).remember is True
