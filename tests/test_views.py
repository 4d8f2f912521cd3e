"""Tables of interactions and epistasis, and motifs that say what matters."""

import itertools

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch.explain import columns
from shapsketch.explain.fragments import Carrier, Group, Place, distances_of, spans
from shapsketch.reporting import tables
from toys import random_spectrum, sketch_of_patterns

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


@settings(max_examples=25, deadline=None)
@given(
    shape=SHAPES,
    seed=st.integers(0, 2**31),
    lengths=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    product=st.booleans(),
)
def test_a_spacing_curve_equals_means_over_all_sequences(shape, seed, lengths, product):
    (q, n), rng = shape, np.random.default_rng(seed)
    spectrum = random_spectrum(q, n, seed)
    space, background = spectrum.space, rng.dirichlet(np.ones(q), n) if product else np.full((n, q), 1 / q)
    explainer = ss.Explainer(spectrum, background)
    first, second = ("".join(rng.choice(list(space.alphabet), k)) for k in lengths)
    codes = np.array(list(itertools.product(range(q), repeat=n)), dtype=np.uint8)
    scores, chances = explainer._sketch.predict(codes), background[np.arange(n), codes]

    def mean(words):
        has, free = np.ones(len(codes), bool), np.ones(n, bool)
        for start, word in words:
            where = slice(start, start + len(word))
            has &= (codes[:, where] == [space.alphabet.index(a) for a in word]).all(axis=1)
            free[where] = False
        return float((scores * chances[:, free].prod(axis=1))[has].sum())

    expected = []
    for distance in range(n - sum(lengths) + 1):
        joint = []
        for start in range(n - sum(lengths) - distance + 1):
            one, other = (start, first), (start + lengths[0] + distance, second)
            joint.append(mean([one, other]) - mean([one]) - mean([other]) + mean([]))
        expected.append(np.mean(joint))
    curve = explainer.spacing(first, second)
    np.testing.assert_allclose(curve.effects, expected, atol=1e-10)
    assert curve.distances.tolist() == list(range(len(expected))) == [r["distance"] for r in curve.records()]
    assert curve.places.tolist() == [n - sum(lengths) - d + 1 for d in curve.distances]
    assert [row["effect"] for row in curve.records()] == curve.effects.tolist()
    assert str(curve).startswith(f"joint effect of {first} and {second} of {explainer.explained}")


def test_spacing_in_long_sequences_and_other_spaces():
    space = ss.SequenceSpace(ss.DNA, 40)
    patterns = [(start, "CA....TG", 2.0) for start in range(33)] + [(0, "CA", 0.5)]
    curve = ss.Explainer(sketch_of_patterns(space, patterns)).spacing("CA", "TG")
    assert curve.effects[4] == pytest.approx(2.0 * (1 - 4.0**-2) ** 2, rel=0.05)
    assert np.abs(np.delete(curve.effects, 4)).max() < 0.2 * curve.effects[4]
    # All places, so that a pair at one of them is seen.
    assert curve.places.tolist() == [37 - distance for distance in range(37)]
    placed = ss.Explainer(sketch_of_patterns(space, [(11, "CA....TG", 3.0)])).spacing("CA", "TG")
    assert placed.effects[4] == pytest.approx(3.0 * (1 - 4.0**-2) ** 2 / 33, rel=0.02)
    library = ss.SequenceSpace(["AC", "G", "AT", "G", "CA"])
    sketch = ss.sketch(lambda s: [t.startswith("AG") for t in s], library, budget=10, progress=False)
    curve = ss.Explainer(sketch).spacing("A", "G")
    assert curve.places.tolist() == [2, 0, 1, 0]
    assert np.isnan(curve.effects).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("", "A"), "first is empty"),
        (("A", "N"), "second: symbol 'N' at index 0 is not in 'ACGT'"),
        (("AAAA", "AAA"), "words of 4 and 3 symbols do not fit into sequences of 6"),
    ],
)
def test_words_that_do_not_fit_are_refused(words, problem):
    explainer = ss.Explainer(ss.Spectrum(ss.SequenceSpace(ss.DNA, 6), [[0] * 6], [1.0]))
    with pytest.raises(ss.InputError, match=problem):
        explainer.spacing(*words)


def promoter_patterns(n):
    """Return what a sketch of a network has: three rules, of which the last is in fragments, and noise."""
    patterns = [(start, "TATAAA", 1.5) for start in range(1, n - 6)]
    patterns += [(start, "GGGCGG", 1.0) for start in range(n - 5)]
    # Fragments of single words, also over the ends of the places.
    patterns += [(n - 5, "TATAA", 0.3), (8, "ATAAA", 0.2), (10, "TATA", 0.05), (0, "GGCGG", 0.25)]
    # Fragments of both words, at the distances 3 to 5.
    for gap in (3, 4, 5):
        for start in range(0, n - 12 - gap, 2):
            patterns += [(start + 3, f"CGG{gap * '.'}TAT", 0.4), (start + 2, f"GCGG{gap * '.'}.ATA", 0.5)]
    return [*patterns, (3, "GCCGCC", 0.6), (9, "GTG", -0.05), (12, "C", 0.002)]


def test_promoter_rules_come_first_and_in_words():
    """TATAAA anywhere, a GC box and a spacing rule, as a sketch of a convolutional network states them."""
    n = 18
    space = ss.SequenceSpace(ss.DNA, n)
    explainer = ss.Explainer(sketch_of_patterns(space, promoter_patterns(n)))
    # With 4 and 2 symbols between both words.
    view = explainer.motifs(sequences=["GGGCGGCACATATAAACC", "GGGCGGCATATAAACCCC"])
    assert [m.word for m in view][:3] == ["TATAAA", "GGGCGG", "GGGCGG, then TATAAA after 3 to 5 symbols"]
    assert [m.word for m in view][3:] == ["GCCGCC", "GTG", "C"]
    pair = view.motifs[2]
    curve = explainer.spacing("GGGCGG", "TATAAA")
    assert pair.joint == pair.interaction == pytest.approx(np.average(curve.effects[3:6], weights=[4, 3, 2]))
    assert set(np.flatnonzero(curve.effects >= 0.5 * curve.effects.max())) == {3, 4, 5}
    assert f", {pair.joint:+.3g} beyond both words" in str(pair)
    assert len(pair.places) == sum(n - 12 - gap + 1 for gap in (3, 4, 5))
    # Variances add up: that of the fragments is not lost.
    chances = [(c, 4.0 ** -len(w.replace(".", ""))) for _, w, c in promoter_patterns(n)]
    whole = sum(c**2 * p * (1.0 - p) for c, p in chances)
    assert sum(m.variance for m in view) == pytest.approx(whole, rel=0.01)
    assert [m.found for m in view][:3] == [1.0, 1.0, 0.5]
    assert [row[0].text for row in tables.motifs(view).rows][:3] == [m.word for m in view][:3]
    # Two words have more positions than these motifs may have.
    assert all(m.joint is None for m in explainer.motifs(max_order=11))


def test_effects_besides_those_of_a_longer_word_are_motifs():
    space = ss.SequenceSpace(ss.DNA, 12)
    tata = [(start, "TATA", 1.5) for start in range(9)]

    def words(*patterns):
        return [m.word for m in ss.Explainer(sketch_of_patterns(space, tata + list(patterns))).motifs()]

    # Frequent, of the other sign, strong, or a single symbol: not fragments.
    assert set(words(*[(start, "TAT", 0.7) for start in range(10)])) == {"TATA", "TAT"}
    assert words((3, "ATA", -0.9)) == ["TATA", "ATA"]
    assert words((3, "ATA", 0.8)) == ["TATA", "ATA"]
    assert words((3, "A", 0.1)) == ["TATA", "A"]
    assert words((3, "ATA", 0.2), (4, "A.A", 0.2)) == ["TATA"]
    # Two words without a joint effect are two motifs.
    boxes = [(start, "GGCG", 1.0) for start in range(9)]
    assert words(*boxes, (2, "GCG..TAT", 0.3)) == ["TATA", "GGCG", "GCG..TAT"]


@settings(max_examples=100, deadline=None)
@given(
    words=st.tuples(*[st.text("AC", min_size=2, max_size=4)] * 2),
    starts=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    text=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from("AC")), min_size=2, max_size=4, unique_by=lambda p: p[0]
    ),
)
def test_parts_of_words_are_found_at_all_places(words, starts, text):
    def carrier(word, start):
        support = list(range(start, start + len(word)))
        return Carrier(Group([Place((support, ["AC".index(a) for a in word], [], [], 1.0, 1.0, 0.5), 1.0)]))

    def placed(word, start, part):
        return all(0 <= i - start < len(word) and word[i - start] == a for i, a in part)

    part = sorted(text)
    support, letters = [i for i, _ in part], ["AC".index(a) for _, a in part]
    first, second = (carrier(word, start) for word, start in zip(words, starts, strict=True))
    # A place overlaps that of the word.
    near = [
        range(start - len(word) + 1, start + len(word)) for word, start in zip(words, starts, strict=True)
    ]
    assert first.fits(support, letters) == [s for s in near[0] if placed(words[0], s, part)]
    expected = {
        other - start - len(words[0])
        for split in range(1, len(part))
        for start in near[0]
        for other in near[1]
        if other >= start + len(words[0])
        and placed(words[0], start, part[:split])
        and placed(words[1], other, part[split:])
    }
    place = Place((support, letters, [], [], 1.0, 1.0, 0.5), 1.0)
    assert distances_of(first, second, place) == expected


def test_distances_in_words():
    assert [spans(x) for x in ([0], [2, 3, 4], [1, 3], [0, 1, 5, 9, 10])] == [
        "0", "2 to 4", "1 or 3", "0 to 1, 5 or 9 to 10",
    ]  # fmt: skip
