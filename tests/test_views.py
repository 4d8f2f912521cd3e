"""Tables of interactions and epistasis, and motifs that say what matters."""

import itertools

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch.explain import columns
from toys import random_spectrum

SHAPES = st.sampled_from([(2, 6), (3, 5), (4, 4)])


def explainer_of(q, n, seed, start=0):
    spectrum = random_spectrum(q, n, seed)
    space = ss.SequenceSpace(spectrum.space.alphabet, n, start=start)
    return ss.Explainer(ss.Spectrum(space, spectrum.frequencies, spectrum.coefficients))


def codes_of(q, n, seed, count):
    return np.random.default_rng(seed).integers(0, q, (count, n)).astype(np.uint8)


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**31), start=st.integers(-5, 5), count=st.integers(1, 3))
def test_epistasis_as_a_table_equals_four_predictions(shape, seed, start, count):
    (q, n), rng = shape, np.random.default_rng(seed)
    explainer, codes = explainer_of(q, n, seed, start), codes_of(q, n, seed, count)
    result, predict = explainer.epistasis(codes), explainer._sketch.predict
    expected = {}
    for b, (i, j) in itertools.product(range(count), itertools.combinations(range(n), 2)):
        for a, c in itertools.product(range(q), range(q)):
            if a == codes[b, i] or c == codes[b, j]:
                continue
            batch = np.tile(codes[b], (4, 1))
            batch[[0, 1], i], batch[[0, 2], j] = a, c
            both, first, second, neither = predict(batch)
            if abs(value := both - first - second + neither) > 1e-9:
                old, new = (explainer._space.decode(batch[[k]])[0] for k in (3, 0))
                name = f"{old[i]}{i + start}{new[i]}:{old[j]}{j + start}{new[j]}"
                expected[b, (i + start, j + start), name] = value
    rows = result.records()
    assert {(r["sequence"], r["support"], r["mutations"]): r["value"] for r in rows} == pytest.approx(
        expected, abs=1e-10
    )
    assert result.to_frame().to_dict("records") == rows or not rows
    top = result.top(3)
    assert top == sorted(rows, key=lambda row: -abs(row["value"]))[:3]
    position = start + int(rng.integers(n))
    chosen = [row for row in rows if position in row["support"]]
    assert result.records(position=position) == chosen
    assert result.to_frame(position=position)["value"].tolist() == [row["value"] for row in chosen]
    assert result.top(2, position=position) == sorted(chosen, key=lambda row: -abs(row["value"]))[:2]
    one = [dict(row, sequence=0) for row in rows if row["sequence"] == count - 1]
    assert result[-1].records() == one == list(result)[-1].records()
    assert str(result).splitlines()[0] == f"epistasis of {explainer.explained}"
    assert not top or top[0]["mutations"] in str(result).splitlines()[2]


def test_epistasis_stays_in_the_space_and_refuses_other_positions():
    space = ss.SequenceSpace(["AC", "ACG", "T"], start=3)
    sketch = ss.sketch(lambda s: [t.startswith("CG") for t in s], space, budget=10, progress=False)
    result = ss.Explainer(sketch).epistasis(["AAT"])
    assert [row["mutations"] for row in result.records()] == ["A3C:A4G"]
    assert len(result) == 1
    assert "1 sequences x" in repr(result)
    for wrong in (2, 6):
        with pytest.raises(ss.InputError, match="position: "):
            result.records(position=wrong)
    with pytest.raises(ss.InputError, match="count must be"):
        result.top(-1)


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**31), count=st.integers(1, 3), order=st.integers(1, 4))
def test_interactions_are_filtered_by_order(shape, seed, count, order):
    q, n = shape
    explainer, codes = explainer_of(q, n, seed, 2), codes_of(q, n, seed, count)
    result = explainer.interactions(codes)
    largest = np.abs(result.values).max(axis=1, initial=0.0)
    rows = [
        {"sequence": b, "support": tuple(i + 2 for i in support), "value": float(result.values[b, k])}
        for b in range(count)
        for k, support in enumerate(result.supports)
        if abs(result.values[b, k]) > 1e-12 * largest[b]
    ]
    assert result.records() == rows
    for options, keep in (
        ({"order": order}, lambda size: size == order),
        ({"min_order": order}, lambda size: size >= order),
    ):
        chosen = [row for row in rows if keep(len(row["support"]))]
        assert result.records(**options) == chosen
        frame = result.to_frame(**options)
        assert frame["value"].tolist() == [row["value"] for row in chosen]
        assert frame["support"].tolist() == [row["support"] for row in chosen]
        top = result.top(3, **options)
        assert top == [pair for pair in result.top(10_000) if keep(len(pair[0]))][:3]
    assert result.order(order).records() == result.records(order=order)
    assert result.order(order)[0].records() == result[0].records(order=order)
    for wrong in ({"order": 0}, {"min_order": 0}, {"order": 1.5}):
        for call in (result.records, result.to_frame):
            with pytest.raises(ss.InputError, match="order must be"):
                call(**wrong)
        with pytest.raises(ss.InputError, match="order must be"):
            result.top(1, **wrong)


def test_rounding_errors_are_not_in_tables():
    """A closed form whose terms of three positions cancel in many sequences, up to rounding."""
    space = ss.SequenceSpace(ss.DNA, 6)
    sketch = ss.sketch(lambda s: [0.1 * t.count("TGA") for t in s], space, budget=5_000, progress=False)
    explainer = ss.Explainer(sketch.spectrum, background="CCCCCC")
    result = explainer.interactions(["TGACCC", "CTGAAA"])
    tiny = np.abs(result.values) < 1e-12
    assert tiny.any()
    assert all(abs(row["value"]) > 1e-12 for row in result.records())
    assert len(result.records()) == len(result.to_frame()) == int((~tiny).sum())
    assert result[0].records(order=3) == result[0].order(3).records()
    assert str(result[0].order(1)) == "(no rows)"
    assert result[0].records() == [{"sequence": 0, "support": (0, 1, 2), "value": pytest.approx(0.1)}]
    assert result[0].top(9) == [((0, 1, 2), pytest.approx(0.1))]
    rows = columns.interaction_rows(["a", "b"], result.supports, result.values, start=0)
    assert rows["value"].tolist() == [row["value"] for row in result.records()]
    assert rows["name"][1].tolist() == [row["sequence"] for row in result.records()]
    epistasis = explainer.epistasis(["TGACCC"])
    assert (np.abs(epistasis.values)[epistasis.values != 0.0] < 1e-12).any()
    assert all(abs(row["value"]) > 1e-12 for row in epistasis.records())
