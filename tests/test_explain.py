"""Indices under all backgrounds, mutations, summaries and refined values equal their slow definitions."""

import itertools
import math
from unittest import mock

import lightgbm
import numpy as np
import pandas
import pyarrow
import pytest
import shapiq
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import (
    all_sequences,
    by_evaluator,
    evaluate,
    random_spectrum,
    shapley_values,
    sketch_of_patterns,
    spectrum_of,
)

SHAPES = [(2, 7), (3, 5), (4, 5), (5, 4), (20, 3)]
INDICES = ["SV", "BV", "SII", "k-SII", "STII", "FSII", "FBII", "BII", "Moebius", "Co-Moebius"]


def pattern_sum(q, n, seed):
    """A regression of a sum of letter patterns up to order 4, and its prediction."""
    rng = np.random.default_rng(seed)
    space = ss.SequenceSpace("ACGTBDEFHIJKLMNOPQRSUVWXYZ"[:q], n)
    patterns = []
    for _ in range(8):
        support = np.sort(rng.choice(n, rng.integers(1, min(4, n) + 1), replace=False))
        patterns.append((support, rng.integers(0, q, len(support)), rng.normal()))

    def model(codes):
        return sum(c * (codes[:, s] == letters).all(axis=1) for s, letters, c in patterns)

    budget = min(q**n - 1, 400)
    sketch = ss.sketch(model, space, budget=budget, method="regress", inputs="codes", progress=False)
    return sketch, sketch.predict


def surrogates(kind, shape, seed):
    q, n = shape
    if kind == "patterns":
        return pattern_sum(q, n, seed)
    spectrum = random_spectrum(q, n, seed)
    return spectrum, lambda codes: evaluate(spectrum, codes)


def backgrounds(space, seed):
    """Yield each kind of background as a user passes it, and as sequences with probabilities."""
    q, n = space.q, space.n
    rng = np.random.default_rng(seed)
    everything = all_sequences(q, n)
    yield "uniform", everything, np.full(q**n, q**-n)
    chances = rng.dirichlet(np.full(q, 0.5), size=n)
    yield chances, everything, np.prod(chances[np.arange(n), everything], axis=1)
    reference = rng.integers(0, q, (1, n))
    yield space.decode(reference)[0], reference, np.ones(1)
    several = rng.integers(0, q, (5, n))
    yield several, several, np.full(5, 0.2)


def game(function, rows, chances, x):
    """v(T) for all coalitions as bit masks."""
    values = np.empty(2 ** len(x))
    for mask in range(2 ** len(x)):
        mixed = np.array(rows, dtype=np.uint8)
        fixed = [i for i in range(len(x)) if mask >> i & 1]
        mixed[:, fixed] = x[fixed]
        values[mask] = function(mixed) @ chances
    return values


def exact(values, n, index, order):
    """Interactions of a game by shapiq, as a dictionary."""

    def coalitions(masks):
        return values[np.asarray(masks).astype(int) @ (1 << np.arange(n))]

    result = shapiq.ExactComputer(coalitions, n_players=n)(index, order)
    return {support: result[support] for support in result.interaction_lookup if support}


def faithful(values, n, order, shapley):
    """FSII or FBII by definition: the best approximation by terms up to an order."""
    supports = [s for size in range(1, order + 1) for s in itertools.combinations(range(n), size)]
    masks = np.arange(2**n)
    members = np.array([sum(1 << i for i in s) for s in supports])
    inside = (masks[:, None] & members == members).astype(float)
    if not shapley:
        solved = np.linalg.lstsq(np.column_stack([np.ones(2**n), inside]), values, rcond=None)[0]
        return dict(zip(supports, solved[1:], strict=True))
    # Exact for the empty and the full coalition, by elimination of the last term; weighted for all others.
    sizes = np.array([int(mask).bit_count() for mask in masks[1:-1]])
    weights = [(n - 1) / (math.comb(n, t) * t * (n - t)) for t in sizes.tolist()]
    root = np.sqrt(weights)
    target, rows = values[1:-1] - values[0], inside[1:-1]
    total = values[-1] - values[0]
    reduced = rows[:, :-1] - rows[:, -1:]
    solved = np.linalg.lstsq(reduced * root[:, None], (target - rows[:, -1] * total) * root, rcond=None)[0]
    return dict(zip(supports, [*solved, total - solved.sum()], strict=True))


def agrees(result, expected, atol=1e-9):
    table = dict(zip(result.supports, result.values[0], strict=True))
    assert len(table) == len(result.supports)
    for support, value in expected.items():
        assert table.pop(support, 0.0) == pytest.approx(value, abs=atol), support
    assert all(abs(value) < atol for value in table.values()), "more interactions than expected"


@settings(max_examples=25)
@given(
    shape=st.sampled_from(SHAPES),
    kind=st.sampled_from(["spectrum", "patterns"]),
    index=st.sampled_from(INDICES),
    seed=st.integers(0, 2**31),
)
def test_every_index_under_every_background_equals_shapiq(shape, kind, index, seed):
    q, n = shape
    surrogate, function = surrogates(kind, shape, seed)
    x = np.random.default_rng(seed).integers(0, q, n).astype(np.uint8)
    for background, rows, chances in backgrounds(surrogate.space, seed):
        explainer = ss.Explainer(surrogate, background)
        values = game(function, rows, chances, x)
        for order in [1] if index in ("SV", "BV") else range(1, min(4, n) + 1):
            result = explainer.interactions(x[None], index=index, max_order=order)
            expected = exact(values, n, index, n if index in ("Moebius", "Co-Moebius") else order)
            if index in ("FSII", "FBII"):
                # shapiq approximates the constraints by large weights.
                agrees(result, expected, atol=1e-6)
                expected = faithful(values, n, order, index == "FSII")
            agrees(result, {s: v for s, v in expected.items() if len(s) <= order})
            assert result.base_values[0] == pytest.approx(values[0], abs=1e-9)
        explanation = explainer(x[None])
        np.testing.assert_allclose(explanation.values[0], shapley_values(values, n), atol=1e-9)
        np.testing.assert_allclose(explanation.base_values[0], values[0], atol=1e-9)


@settings(max_examples=15)
@given(shape=st.sampled_from([(2, 8), (4, 7), (20, 4)]), seed=st.integers(0, 2**31))
def test_shuffles_are_a_separate_list_of_sequences_for_each_sequence(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    codes = np.random.default_rng(seed).integers(0, q, (3, n)).astype(np.uint8)
    shuffles = ss.DinucleotideShuffles(count=4, random_state=seed)
    explainer = ss.Explainer(spectrum, shuffles)
    explanation = explainer(codes)
    for row, shuffled, values, base in zip(
        codes, shuffles.of(spectrum.space, codes), explanation.values, explanation.base_values, strict=True
    ):
        listed = ss.Explainer(spectrum, shuffled)
        np.testing.assert_allclose(values, listed(row[None]).values[0], atol=1e-9)
        assert base == pytest.approx(listed.base_value, abs=1e-9)
        result = explainer.interactions(row[None], index="FSII", max_order=2)
        other = listed.interactions(row[None], index="FSII", max_order=2)
        agrees(result, dict(zip(other.supports, other.values[0], strict=True)))
        # Each shuffle keeps the pairs of neighbours.
        pairs = sorted(itertools.pairwise(row))
        assert all(sorted(itertools.pairwise(s)) == pairs for s in shuffled)


def test_long_leaves_of_trees_under_other_backgrounds():
    # There are too many components to list, so Shapley values are computed from the terms.
    rng = np.random.default_rng(0)
    space = ss.SequenceSpace(ss.PROTEIN, 14)
    X = rng.integers(0, 20, (4000, 14))
    y = rng.normal(size=4000) + (X[:, 0] < 9) * (X[:, 5] > 3)
    options = {"num_leaves": 400, "max_depth": 12, "min_data_in_leaf": 2, "verbosity": -1}
    model = lightgbm.train(options, lightgbm.Dataset(X.astype(float), y), 60)
    sketch = ss.from_trees(model, space)
    with pytest.raises(ss.InputError, match="truncate"):
        ss.Explainer(sketch).interactions(X[:1])
    reference, x = X[7].astype(np.uint8), X[3].astype(np.uint8)
    result = ss.Explainer(sketch, reference)(x[None])
    # The two sequences differ at the first six positions at most: enumerate their coalitions.
    x = np.where(np.arange(14) < 6, x, reference).astype(np.uint8)
    values = np.empty(2**6)
    for mask in range(2**6):
        mixed = reference.copy()
        fixed = [i for i in range(6) if mask >> i & 1]
        mixed[fixed] = x[fixed]
        values[mask] = model.predict(mixed[None].astype(float))[0]
    result = ss.Explainer(sketch, reference)(x[None]).values[0]
    np.testing.assert_allclose(result[:6], shapley_values(values, 6), atol=1e-6)
    np.testing.assert_allclose(result[6:], 0.0, atol=1e-9)
    shuffled = ss.Explainer(sketch, ss.DinucleotideShuffles(count=3))(X[:2])
    total = shuffled.values.sum(axis=1) + shuffled.base_values
    np.testing.assert_allclose(total, sketch.predict(X[:2]), atol=1e-9)
    effects = ss.Explainer(sketch).mutation_effects(X[:1])[0]
    mutant = X[:1].copy()
    mutant[0, 5] = 2
    assert effects[5, 2] == pytest.approx(sketch.predict(mutant)[0] - sketch.predict(X[:1])[0], abs=1e-9)


@settings(max_examples=20)
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31))
def test_mutations_equal_predictions(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    x = np.random.default_rng(seed).integers(0, q, n).astype(np.uint8)
    explainer = ss.Explainer(spectrum)
    score = evaluate(spectrum, x[None])[0]
    effects = explainer.mutation_effects(x[None])
    assert effects.shape == (1, n, q)

    def change(*mutations):
        mutant = x.copy()
        for i, a in mutations:
            mutant[i] = a
        return evaluate(spectrum, mutant[None])[0] - score

    for i, a in itertools.product(range(n), range(q)):
        assert effects[0, i, a] == pytest.approx(change((i, a)), abs=1e-9)
    epistasis = explainer.epistasis(x[None])
    table = dict(zip(epistasis.pairs, epistasis.values[0], strict=True))
    for i, j in itertools.combinations(range(n), 2):
        for a, b in [(0, 1), (q - 1, 0)]:
            expected = change((i, a), (j, b)) - change((i, a)) - change((j, b))
            result = table[i, j][a, b] if (i, j) in table else 0.0
            assert result == pytest.approx(expected, abs=1e-9)
    for mutations, minimize in [(1, False), (2, True), (min(3, n), False)]:
        mutants = [
            (change(*zip(positions, symbols, strict=True)), positions, symbols)
            for positions in itertools.combinations(range(n), mutations)
            for symbols in itertools.product(*[[a for a in range(q) if a != x[i]] for i in positions])
        ]
        best = sorted((m[0] for m in mutants), reverse=not minimize)[:5]
        result = explainer.best_mutants(x, mutations, count=5, minimize=minimize)
        assert result.exact
        np.testing.assert_allclose(result.changes, best, atol=1e-9)
        np.testing.assert_allclose(evaluate(spectrum, result.codes) - score, best, atol=1e-9)
        assert ((result.codes != x).sum(axis=1) == mutations).all()
        searched = explainer.best_mutants(x, mutations, count=5, minimize=minimize, limit=0)
        assert not searched.exact
        assert ((searched.codes != x).sum(axis=1) == mutations).all()
        if mutations == 1:
            np.testing.assert_allclose(searched.changes, best, atol=1e-9)


def test_the_motif_view_states_words_and_distances():
    # TATAAA and a GC box at some places, TGA anywhere, two words 8 to 10 symbols apart, and G everywhere.
    space = ss.SequenceSpace(ss.DNA, 60)
    patterns = [(start, "TATAAA", 1.4) for start in range(23, 35)]
    patterns += [(start, "GGGCGG", 0.8) for start in range(5, 20)]
    patterns += [(start, "TGA", 1.5) for start in range(58)]
    patterns += [(s, "CA" + "." * gap + "TG", 1.0) for gap in (8, 9, 10) for s in range(10, 30)]
    patterns += [(start, "G", 0.05) for start in range(60)]
    explainer = ss.Explainer(sketch_of_patterns(space, patterns))
    view = explainer.motifs()
    assert [(m.word, m.first, m.last, len(m.places)) for m in view] == [
        ("TGA", 0, 59, 58),
        ("CA, then TG after 8 to 10 symbols", 10, 42, 60),
        ("G", 0, 59, 60),
        ("TATAAA", 23, 39, 12),
        ("GGGCGG", 5, 24, 15),
    ]
    for motif in view:
        assert motif.word in str(view)
        assert str(motif).startswith(f"{motif.word} from {motif.first} to {motif.last}, ")
    # The variances of indicators with the planted coefficients.
    chance = 4.0**-3
    assert view.motifs[0].variance == pytest.approx(58 * 1.5**2 * chance * (1 - chance), rel=1e-9)
    codes = np.random.default_rng(0).integers(0, 4, (500, 60))
    sequences = space.decode(codes)
    found = {motif.word: motif.found for motif in explainer.motifs(sequences=codes)}
    assert found["TGA"] == np.mean(["TGA" in s for s in sequences])
    assert found["TATAAA"] == np.mean(["TATAAA" in s[23:40] for s in sequences])
    effects = [abs(m.effect) for m in explainer.motifs(sort="effect", min_order=2)]
    assert effects == sorted(effects, reverse=True)
    assert len(effects) == 4
    assert explainer.motifs(1, min_order=4, max_order=5).motifs[0].word.startswith("CA")


@settings(max_examples=30, deadline=None)
@given(shape=st.sampled_from([(3, 5), (4, 4), (5, 4)]), product=st.booleans(), seed=st.integers(0, 2**31))
def test_motifs_recover_the_patterns_of_a_sketch(shape, product, seed):
    (q, n), rng = shape, np.random.default_rng(seed)
    space = ss.SequenceSpace("ACGTB"[:q], n)
    planted = {}
    for _ in range(6):
        support = tuple(sorted(rng.choice(n, rng.integers(1, 5), replace=False).tolist()))
        planted[support] = (
            "".join(rng.choice(list(space.alphabet), len(support))),
            rng.choice([-1, 1]) * (1 + rng.random()),
        )
    patterns = []
    for support, (letters, coefficient) in planted.items():
        word = ["."] * (support[-1] - support[0] + 1)
        for i, letter in zip(support, letters, strict=True):
            word[i - support[0]] = letter
        patterns.append((support[0], "".join(word), coefficient))
    chances = rng.dirichlet(np.ones(q), size=n) if product else np.full((n, q), 1 / q)
    explainer = ss.Explainer(sketch_of_patterns(space, patterns), chances)
    with mock.patch("shapsketch.explain.motifs.LEAST", 1e-6):
        motifs = explainer.motifs(1000)
    expected = {}
    for support, (letters, coefficient) in planted.items():
        chance = np.prod([chances[i, space.alphabet.index(a)] for i, a in zip(support, letters, strict=True)])
        expected[support] = coefficient**2 * chance * (1 - chance)
    places = [place for motif in motifs for place in motif.places]
    assert sorted(places) == sorted(expected)
    assert sum(m.variance for m in motifs) == pytest.approx(sum(expected.values()), abs=1e-10)


@settings(max_examples=20)
@given(
    shape=st.sampled_from([(2, 5), (3, 5), (4, 6)]),
    seed=st.integers(0, 2**31),
    minimize=st.booleans(),
    count=st.integers(1, 40),
)
def test_doubles_by_epistasis_are_the_best_of_all(shape, seed, minimize, count):
    q, n = shape
    rng = np.random.default_rng(seed)
    explainer = ss.Explainer(random_spectrum(q, n, seed))
    x = rng.integers(0, q, n).astype(np.uint8)
    library = {i: explainer._space.alphabet[: rng.integers(1, q + 1)] for i in range(n)}
    allowed = [{explainer._space.alphabet.index(a) for a in library[i]} - {int(x[i])} for i in range(n)]
    doubles = []
    for i, j in itertools.combinations(range(n), 2):
        for a, b in itertools.product(allowed[i], allowed[j]):
            y = x.copy()
            y[i], y[j] = a, b
            doubles.append(y)
    if not doubles:
        return
    scores = np.sort(explainer._routes.preferred.predict(np.array(doubles)))
    expected = scores[:count] if minimize else scores[::-1][:count]
    result = explainer.best_mutants(x, 2, count=count, minimize=minimize, library=library)
    np.testing.assert_allclose(result.scores, expected, rtol=0, atol=1e-10)
    assert result.exact
    assert ((result.codes != x).sum(axis=1) == 2).all()
    assert len(np.unique(result.codes, axis=0)) == len(result.codes)


def test_the_beam_search_starts_from_the_best_doubles():
    # Two C at positions 0 and 1 are worth 9, though each alone costs 1; 300 better single mutants hide them.
    space = ss.SequenceSpace(ss.DNA, 110)

    def model(codes):
        first, second = codes[:, 0] == 1, codes[:, 1] == 1
        return 11.0 * (first & second) - first - second + 0.01 * (codes[:, 2:] != 0).sum(axis=1)

    terms = {(0, 1): lambda a, b: 11.0 * (a == b == 1) - (a == 1) - (b == 1)}
    terms |= {(i,): lambda a: 0.01 * (a != 0) for i in range(2, 110)}
    explainer = ss.Explainer(spectrum_of(terms, space))
    best = explainer.best_mutants("A" * 110, 3, count=1, limit=100_000)
    assert not best.exact
    assert best.changes[0] == pytest.approx(9.01)
    # Without the doubles the beam has only singles that are good alone.
    assert explainer.best_mutants("A" * 110, 3, count=1, limit=0).changes[0] < 0.1
    assert model(best.codes)[0] == pytest.approx(9.01)


@pytest.mark.parametrize("limit", [10**6, 30, 0])
def test_fewer_mutations_are_never_worse(limit):
    space = ss.SequenceSpace(ss.DNA, 5)
    weights = np.array([3.0, 2.0, -1.0, -2.0, -4.0])
    terms = {(i,): lambda a, w=w: w * (a != 0) for i, w in enumerate(weights)}
    explainer = ss.Explainer(spectrum_of(terms, space))
    assert explainer.best_mutants("AAAAA", 4, count=1, limit=limit).changes[0] == pytest.approx(2.0)
    best = explainer.best_mutants("AAAAA", 4, count=200, limit=limit, fewer=True)
    assert best.changes[0] == pytest.approx(5.0)
    assert best.exact == (limit == 10**6)
    assert (np.diff(best.scores) <= 1e-12).all()
    if best.exact:
        every = [
            weights[list(s)].sum()
            for m in range(1, 5)
            for s in itertools.combinations(range(5), m)
            for _ in range(3**m)
        ]
        np.testing.assert_allclose(best.changes, sorted(every, reverse=True)[:200], atol=1e-12)
    only = explainer.best_mutants("AAAAA", 1, count=20, library=[2, 4], limit=limit)
    assert {name[1] for name in only.mutations} == {"2", "4"}


def test_a_long_comparison_is_announced(monkeypatch, caplog):
    monkeypatch.setattr("shapsketch.explain.mutants.LONG", 0.0)
    monkeypatch.setattr("shapsketch.explain.mutants.CHUNK", 1000)
    space = ss.SequenceSpace(ss.DNA, 6)
    explainer = ss.Explainer(spectrum_of({(0,): lambda a: float(a)}, space))
    explainer.best_mutants("AAAAAA", 3)
    assert [r.getMessage()[:47] for r in caplog.records] == [
        "comparing all 540 mutants with 3 mutations take"
    ]


def test_mutants_are_named():
    space = ss.SequenceSpace(ss.DNA, 4)
    sketch = ss.sketch(lambda s: [t.count("GC") for t in s], space, budget=256, progress=False)
    result = ss.Explainer(sketch).best_mutants("AATA", 2, count=1)
    assert result.sequences[0].count("GC") == 1
    assert result.mutations[0] in ("A0G A1C", "A1G T2C", "T2G A3C")
    assert "mutations" in str(result)


@settings(max_examples=20)
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31))
def test_sobol_indices_equal_conditional_variances(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    all_backgrounds = list(backgrounds(spectrum.space, seed))
    for background, rows, chances in all_backgrounds[:2]:
        scores = evaluate(spectrum, rows)
        mean = scores @ chances
        variance = (scores - mean) ** 2 @ chances
        sobol = ss.Explainer(spectrum, background).sobol()
        assert sobol.variance == pytest.approx(variance, abs=1e-9)
        assert sobol.shares.sum() == pytest.approx(1.0)
        assert sobol.by_order.sum() == pytest.approx(1.0)
        for i in range(n):
            of_symbol = np.zeros(q)
            of_rest = {}
            for row, p, score in zip(rows, chances, scores, strict=True):
                of_symbol[row[i]] += p * score
                rest = bytes(np.delete(row, i))
                weight, total = of_rest.get(rest, (0.0, 0.0))
                of_rest[rest] = (weight + p, total + p * score)
            symbols = np.bincount(rows[:, i], chances, minlength=q)
            present = symbols > 0
            first = symbols[present] @ (of_symbol[present] / symbols[present] - mean) ** 2 / variance
            rest = sum(w * (t / w - mean) ** 2 for w, t in of_rest.values() if w > 0) / variance
            assert sobol.first[i] == pytest.approx(first, abs=1e-7)
            assert sobol.total[i] == pytest.approx(1.0 - rest, abs=1e-7)
    for background, _, _ in all_backgrounds[2:]:
        with pytest.raises(ss.InputError, match="product distribution"):
            ss.Explainer(spectrum, background).sobol()


def test_summaries_find_planted_motifs():
    space = ss.SequenceSpace(ss.DNA, 8)

    def model(codes):
        return 3.0 * ((codes[:, 2] == 1) & (codes[:, 3] == 2)) + 0.5 * (codes[:, 6] == 0)

    sketch = ss.sketch(model, space, budget=4**8, inputs="codes", progress=False)
    explainer = ss.Explainer(sketch)
    codes = np.random.default_rng(0).integers(0, 4, (5000, 8))
    motifs = explainer.motifs(5, sequences=codes)
    assert (motifs.motifs[0].support, motifs.motifs[0].letters) in [((2, 3), "CG"), ((2,), "C"), ((3,), "G")]
    both = next(m for m in explainer.motifs(max_order=2) if m.letters == "CG")
    assert both.effect == pytest.approx(3.0 - 3.0 / 16)
    assert both.frequency == pytest.approx(1 / 16)
    result = next(m.found for m in explainer.motifs(sequences=codes) if m.letters == "CG")
    assert result == pytest.approx(1 / 16, abs=0.02)
    sobol = explainer.sobol()
    assert {support for support, _ in sobol.top(4)} == {(2,), (3,), (2, 3), (6,)}
    assert sobol.records()[6]["total"] == pytest.approx(sobol.first[6])
    drawn = explainer.attribution_map(codes)
    explanation = explainer(codes)
    has_symbol = codes[:, 6] == 0
    assert drawn.mean[6, 0] == pytest.approx(explanation.values[has_symbol, 6].mean())
    assert drawn.mean_absolute[6, 0] == pytest.approx(np.abs(explanation.values[has_symbol, 6]).mean())
    assert drawn.counts.sum() == codes.size
    for summary in (motifs, sobol, drawn):
        count = len(summary.records())
        assert len(str(summary).splitlines()) == 1 + min(count, 20) + (count > 20)
    alone = explainer.attribution_map(["AAAAAAAA"])
    assert np.isnan(alone.mean[:, 1:]).all()


def test_a_stream_is_explained_batch_by_batch():
    spectrum = random_spectrum(4, 6, 1)
    explainer = ss.Explainer(spectrum)
    codes = np.random.default_rng(0).integers(0, 4, (100, 6))
    read = []

    def batches():
        for start in range(0, 100, 30):
            read.append(start)
            yield codes[start : start + 30]

    stream = explainer.stream(batches())
    first = next(stream)
    assert read == [0]
    values = np.concatenate([first.values, *(part.values for part in stream)])
    np.testing.assert_array_equal(values, explainer(codes).values)
    with pytest.raises(ss.InputError, match="batch 1: sequence 0"):
        list(explainer.stream([codes[:2], ["ACGTAX"]]))


def test_interactions_convert_to_matrices():
    spectrum = random_spectrum(4, 6, 3, terms=20)
    codes = np.random.default_rng(0).integers(0, 4, (5, 6))
    result = ss.Explainer(spectrum).interactions(codes, index="k-SII", max_order=2)
    dense = result.dense()
    assert dense.shape == (5, 6, 6)
    np.testing.assert_array_equal(dense, dense.transpose(0, 2, 1))
    # k-SII adds up to the score.
    upper = np.triu(np.ones((6, 6), bool))
    total = dense[:, upper].sum(axis=1) + result.base_values
    np.testing.assert_allclose(total, spectrum.predict(codes), atol=1e-9)
    assert result.order(2).stderr is None


def rough(codes):
    """A function of DNA sequences that no sketch of low order explains completely."""
    codes = np.asarray(codes).astype(int)
    return np.sin(codes @ np.arange(1, codes.shape[1] + 1)) + 2.0 * (codes[:, 1] == 2) * (codes[:, 4] == 3)


def poor_sketch(n=8):
    space = ss.SequenceSpace(ss.DNA, n)
    X = np.random.default_rng(0).integers(0, 4, (600, n))
    return ss.fit(X, rough(X), space, dictionary=ss.Dictionary(windows=1, orders=2))


@pytest.mark.filterwarnings("ignore:the sketch")
def test_refined_values_are_unbiased_with_correct_standard_errors():
    sketch = poor_sketch()
    x = np.random.default_rng(5).integers(0, 4, (1, 8)).astype(np.uint8)
    chances = np.random.default_rng(6).dirichlet(np.ones(4), size=8)
    rows = all_sequences(4, 8)
    for background, weights in [
        ("uniform", np.full(4**8, 4.0**-8)),
        (chances, np.prod(chances[np.arange(8), rows], axis=1)),
        # Differs at all 8 positions: 256 coalitions, more than the 150 calls.
        ((x[0] + 1) % 4, None),
    ]:
        listed = (rows, weights) if weights is not None else (background[None], np.ones(1))
        values = game(rough, *listed, x[0])
        explainer = ss.Explainer(sketch, background)
        z = []
        for seed in range(120):
            result = by_evaluator(
                explainer.refine,
                rough,
                x,
                calls_per_sequence=150,
                inputs="codes",
                random_state=seed,
                progress=False,
            )
            z.append((result.values[0] - shapley_values(values, 8)) / result.stderr[0])
        z = np.array(z)
        # 960 numbers; the 8 of one run are correlated.
        assert abs(z.mean()) < 0.15
        assert 0.90 < (np.abs(z) < 1.96).mean() < 0.985
        if isinstance(background, str):
            refined = np.std(z * result.stderr[0], axis=0)
            assert refined.mean() < 0.9 * np.std(list(plain(x[0], 150)), axis=0).mean()


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.filterwarnings("ignore:the sketch")
def test_standard_errors_of_short_sequences_are_correct_with_few_calls(n):
    space = ss.SequenceSpace(ss.DNA, n)
    rows = all_sequences(4, n)
    scores = np.random.default_rng(n).normal(size=len(rows))
    explainer = ss.Explainer(ss.Spectrum(space, [[0] * n], [0.0]))

    def model(codes):
        return scores[codes @ 4 ** np.arange(n)[::-1]]

    values = game(model, rows, np.full(len(rows), 1 / len(rows)), rows[1])
    z = []
    for seed in range(300):
        result = by_evaluator(
            explainer.refine,
            model,
            rows[1:2],
            calls_per_sequence=32,
            inputs="codes",
            random_state=seed,
            progress=False,
        )
        z.append((result.values[0] - shapley_values(values, n)) / result.stderr[0])
    assert abs(np.mean(z)) < 0.2
    assert 0.90 < (np.abs(z) < 1.96).mean() < 0.985


@pytest.mark.filterwarnings("ignore:the sketch")
@pytest.mark.parametrize("index", ["SV", "SII"])
def test_few_differences_from_a_reference_are_refined_exactly(index):
    explained = np.random.default_rng(3).integers(0, 4, (3, 8)).astype(np.uint8)
    reference = explained[0].copy()
    reference[[1, 4, 6]] = (reference[[1, 4, 6]] + 2) % 4
    explained[1:] = reference, (reference + 1) % 4
    explainer = ss.Explainer(poor_sketch(), reference)
    evaluated = []

    def model(codes):
        evaluated.append(codes.copy())
        return rough(codes)

    result = by_evaluator(
        explainer.refine, model, explained, calls_per_sequence=40, index=index, inputs="codes", progress=False
    )
    # 2**3 hybrids of the first sequence; the second is the reference; the third differs at all positions.
    evaluated = np.concatenate(evaluated)
    assert 8 + 1 < len(evaluated) <= 8 + 1 + 40
    assert len(np.unique(evaluated[:8], axis=0)) == 8
    for row in (0, 1):
        values = game(rough, reference[None], np.ones(1), explained[row])
        if index == "SV":
            expected = shapley_values(values, 8)
        else:
            truth = exact(values, 8, "SII", 2)
            expected = [truth[support] for support in result.supports]
        np.testing.assert_allclose(result.values[row], expected, atol=1e-9)
        assert not result.stderr[row].any()
    assert result.stderr[2].any()


def plain(x, calls, repeats=100):
    """Permutation sampling without a sketch, with the same number of calls."""
    n = len(x)
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        gains = []
        for _ in range(calls // (n + 1)):
            order, mixed = rng.permutation(n), rng.integers(0, 4, n)
            walk = [mixed.copy()]
            for i in order:
                mixed[i] = x[i]
                walk.append(mixed.copy())
            gain = np.empty(n)
            gain[order] = np.diff(rough(np.array(walk)))
            gains.append(gain)
        yield np.mean(gains, axis=0)


@pytest.mark.filterwarnings("ignore:the sketch")
def test_refined_pairs_are_unbiased_with_correct_standard_errors():
    sketch = poor_sketch(6)
    x = np.random.default_rng(5).integers(0, 4, (1, 6)).astype(np.uint8)
    rows = all_sequences(4, 6)
    values = game(rough, rows, np.full(len(rows), 1 / len(rows)), x[0])
    expected = exact(values, 6, "SII", 2)
    explainer = ss.Explainer(sketch)
    z = []
    for seed in range(80):
        result = by_evaluator(
            explainer.refine,
            rough,
            x,
            calls_per_sequence=400,
            index="SII",
            inputs="codes",
            random_state=seed,
            progress=False,
        )
        truth = np.array([expected[support] for support in result.supports])
        z.append((result.values[0] - truth) / result.stderr[0])
    z = np.array(z)
    assert len(result.supports) == 6 + 15
    assert np.abs(z.mean(axis=0)).max() < 4.5 / np.sqrt(80)
    assert 0.90 < (np.abs(z) < 1.96).mean() < 0.985


def test_refining_keeps_its_budget_and_batches():
    sketch = ss.Explainer(random_spectrum(4, 6, 2))
    sizes = []

    def model(codes):
        sizes.append(len(codes))
        return np.zeros(len(codes))

    codes = np.random.default_rng(0).integers(0, 4, (7, 6))
    by_evaluator(
        sketch.refine, model, codes, calls_per_sequence=100, inputs="codes", batch_size=64, progress=False
    )
    assert sum(sizes) <= 700
    assert set(sizes[:-1]) == {64}


def test_a_space_of_one_position():
    space = ss.SequenceSpace("01", 1)
    spectrum = ss.Spectrum(space, [[0], [1]], [0.5, -0.5])
    explainer = ss.Explainer(spectrum)
    assert explainer.interactions(["1"], index="FSII").supports == [(0,)]
    result = explainer.refine(lambda s: [float(t) for t in s], ["1"], calls_per_sequence=64, progress=False)
    assert result.values[0, 0] == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (np.full((6, 4), 0.3), "add up to 1 at each position, got 1.2 at position 0"),
        (np.array([[0.5, 0.5, 0.5, -0.5]] * 6), "-0.5 for symbol 3 at position 0"),
        (np.full((5, 4), 0.25), r"shape \(n, q\) = \(6, 4\), got \(5, 4\)"),
        ("ACGTA", "a reference of 6 symbols"),
        ("ACGTAX", "symbol 'X' at position 5"),
        ([], "list of sequences is empty"),
        (["ACGTAC", "ACG"], "sequence 1 has 3 symbols"),
        (np.zeros((0, 6), int), "list of sequences is empty"),
        (np.zeros((2, 5), int), r"shape \(6,\) or \(R, 6\), got \(2, 5\)"),
        (np.full(6, 7), "code 7 at position 0"),
        (ss.DinucleotideShuffles(count=0), "count must be at least 1"),
    ],
)
def test_bad_backgrounds(background, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Explainer(random_spectrum(4, 6, 0), background)(["ACGTAC"])


def test_long_terms_under_shuffles_are_refused_before_they_fill_memory():
    n = 40
    space = ss.SequenceSpace(ss.DNA, n)
    keys = [[0] * n, [2] * n, [2] * 3 + [0] * (n - 3)]
    spectrum = ss.Spectrum(space, keys, [0.0, 1.0, 1.0])
    explainer = ss.Explainer(spectrum, ss.DinucleotideShuffles(1))
    with pytest.raises(ss.InputError, match="truncate the surrogate to lower orders"):
        explainer(["ACGT" * 10])
    short = ss.Explainer(spectrum.truncate(max_order=3), ss.DinucleotideShuffles(1))
    assert short(["ACGT" * 10]).values.shape == (1, n)


def test_explanations_are_tables():
    explainer = ss.Explainer(random_spectrum(4, 3, 0))
    explanation = explainer(["ACG", "TTT"])
    assert repr(explanation) == (
        "Explanation(2 x 3 values of the closed form, background uniform, link identity)"
    )
    rows = explanation.records()
    assert [(row["sequence"], row["position"], row["letter"]) for row in rows[2:4]] == [
        (0, 2, "G"),
        (1, 0, "T"),
    ]
    assert [row["value"] for row in rows] == explanation.values.ravel().tolist()
    title, header = str(explanation).splitlines()[:2]
    assert title == "Shapley values of the closed form, background uniform, link identity"
    assert header.split() == ["sequence", "position", "letter", "value"]
    pairs = explainer.interactions(["ACG", "TTT"], index="SII")
    assert repr(pairs).startswith("Interactions(SII, 2 sequences x ")
    assert [row["value"] for row in pairs.records()] == pairs.values.ravel().tolist()
    # For one sequence, the strongest interactions have their signs.
    one = explainer.interactions(["ACG"], index="SII")
    for support, value in one.top(3):
        assert value == one.values[0, one.supports.index(support)]
    for support, value in pairs.top(3):
        assert value == np.abs(pairs.values[:, pairs.supports.index(support)]).mean()


def test_prints_show_the_strongest_first():
    space = ss.SequenceSpace(ss.DNA, 30)
    # G adds 0.1, 0.2, ... at the positions in turn, and two G at the end add 40.
    sketch = sketch_of_patterns(space, [(i, "G", 0.1 * (i + 1)) for i in range(30)] + [(28, "GG", 40.0)])
    explainer = ss.Explainer(sketch, background="A" * 30)
    explanation = explainer(["G" * 30, "A" * 30])
    lines = str(explanation).splitlines()
    assert [line.split()[:2] for line in lines[2:-1]] == [["0", str(i)] for i in range(29, 9, -1)]
    assert lines[-1] == "... 40 more"
    assert [row["position"] for row in explanation.records()[:30]] == list(range(30))
    short = str(explainer(["A" * 29 + "G"])[0]).splitlines()
    assert short[2].split() == ["0", "29", "G", "3"]
    pairs = str(explainer.interactions(["G" * 30])).splitlines()
    assert [line.split()[1] for line in pairs[2:5]] == ["28-29", "29", "28"]


def test_a_composition_applies_to_every_position():
    spectrum, chances = random_spectrum(4, 5, 0), [0.3, 0.2, 0.2, 0.3]
    one, all_ = (ss.Explainer(spectrum, form)(["ACGTA"]) for form in (chances, np.tile(chances, (5, 1))))
    np.testing.assert_array_equal(one.values, all_.values)


def test_labels_of_probabilities_are_the_symbols():
    """The columns of a data frame and the index of a series have any order, and no other names."""
    space = ss.SequenceSpace(ss.DNA, 6)
    spectrum = random_spectrum(4, 6, 0)
    spectrum = ss.Spectrum(space, spectrum.frequencies, spectrum.coefficients)
    chances = np.random.default_rng(0).dirichlet(np.ones(4), size=6)
    expected = ss.Explainer(spectrum, chances).base_value
    table = pandas.DataFrame(chances, columns=list("ACGT"))
    for frame in (table, table[list("TGCA")], pyarrow.Table.from_pandas(table[list("GATC")])):
        assert ss.Explainer(spectrum, frame).base_value == pytest.approx(expected)
    composition = pandas.Series(chances[0], index=list("ACGT"))
    expected = ss.Explainer(spectrum, chances[0]).base_value
    assert ss.Explainer(spectrum, composition[list("TGCA")]).base_value == pytest.approx(expected)
    # Without labels, the order of an array counts.
    assert ss.Explainer(spectrum, composition[list("TGCA")].to_numpy()).base_value != pytest.approx(expected)
    only_g = pandas.Series([1, 0, 0, 0], index=list("GATC"))
    expected = ss.Explainer(spectrum, "GGGGGG").base_value
    assert ss.Explainer(spectrum, only_g).base_value == pytest.approx(expected)
    sequences = pandas.DataFrame({"sequence": ["GGGGGG"]})
    assert ss.Explainer(spectrum, sequences["sequence"]).base_value == pytest.approx(expected)
    for wrong, message in [
        (
            table.rename(columns={"A": "U"}),
            "columns of this DataFrame, 'U', 'C', 'G', 'T', are not the symbols",
        ),
        (pandas.DataFrame(chances), "columns of this DataFrame, 0, 1, 2, 3, are not the symbols of 'ACGT'"),
        (sequences, r"'sequence', are not the symbols .* one column, df\['sequence'\]"),
        (table[::-1], r"rows of this DataFrame, 5, 4, 3, 2, 1, ..., are not in the order .*sort_index"),
        (composition.rename({"A": "U"}), "labels of this Series, 'U', 'C', 'G', 'T', are not the symbols"),
        (composition.reset_index(drop=True), "labels of this Series, 0, 1, 2, 3, are not the symbols"),
        (table.astype(str), "column 'A' must be real numbers"),
        ({"GGGGGG", "AAAAAA"}, "background: got a set, which has no order"),
        (ss.DinucleotideShuffles, r"is the class DinucleotideShuffles; pass an instance, Dinucleotid"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            ss.Explainer(spectrum, wrong)


def test_references_can_be_any_kind_of_list():
    spectrum = random_spectrum(4, 6, 0)
    rows = ["ACGTAC", "GGGTTA"]
    expected = ss.Explainer(spectrum, rows)(["CCCTTA"]).values
    for listed in [tuple(rows), np.array(rows), np.array(rows, dtype=object), iter(rows)]:
        np.testing.assert_array_equal(ss.Explainer(spectrum, listed)(["CCCTTA"]).values, expected)


def test_indices_of_order_one_accept_any_max_order():
    explainer = ss.Explainer(random_spectrum(4, 3, 0))
    for index in ("SV", "BV"):
        result = explainer.interactions(["ACG"], index=index, max_order=9)
        assert {len(support) for support in result.supports} == {1}


def test_integers_that_could_be_one_hot_are_refused():
    spectrum = random_spectrum(4, 4, 0)
    with pytest.raises(ss.InputError, match="could be one-hot or codes"):
        ss.Explainer(spectrum, np.eye(4, dtype=int))
    assert ss.Explainer(spectrum, np.eye(4)).background == "product distribution"


def test_bad_requests():
    explainer = ss.Explainer(random_spectrum(4, 6, 0))
    for options, message in [
        ({"index": "fsi"}, "did you mean 'FSII'"),
        ({"index": "k-sii"}, "did you mean 'k-SII'"),
        ({"index": "FSII", "max_order": 0}, "max_order must be at least 1"),
        ({"index": "FSII", "max_order": 7}, "max_order must be from 1 to the length"),
        ({"index": "Faith-Shap", "max_order": 2}, "use index='FSII' for max_order=2"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            explainer.interactions(["ACGTAC"], **options)
    with pytest.raises(ss.InputError, match="no standard errors: the sketch has none"):
        _ = explainer(["ACGTAC"]).stderr
    sketch = poor_sketch()
    assert ss.Explainer(sketch)(["ACGTACGT"]).stderr.shape == (1, 8)
    with pytest.raises(
        ss.InputError, match="for the uniform background only, and this background is reference ACGTACGT"
    ):
        _ = ss.Explainer(sketch, "ACGTACGT")(["ACGTACGT"]).stderr
    shuffled = ss.Explainer(sketch, ss.DinucleotideShuffles())
    with pytest.raises(ss.InputError, match="the base value differs by sequence"):
        _ = shuffled.base_value
    with pytest.raises(ss.InputError, match="not shuffles"):
        shuffled.motifs()
    for arguments, message in [((7,), "at most 6"), ((0,), "at least 1")]:
        with pytest.raises(ss.InputError, match=message):
            explainer.best_mutants("ACGTAC", *arguments)
    for options, message in [
        ({"calls_per_sequence": 10}, "at least 32"),
        ({"index": "FSII"}, "index must be one of 'SV', 'SII'"),
        ({"inputs": "letters"}, "inputs must be one of"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            by_evaluator(explainer.refine, lambda s: [0.0] * len(s), ["ACGTAC"], **options)
    with pytest.raises(ss.ModelError, match="returned nan"):
        explainer.refine(lambda s: [math.nan] * len(s), ["ACGTAC"], progress=False)


WEIGHTS = np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0])


def additive(codes):
    return np.asarray(codes) @ WEIGHTS


def test_faithfulness_distinguishes_good_attributions_from_bad_ones():
    space = ss.SequenceSpace(ss.DNA, 8)
    sketch = ss.sketch(additive, space, budget=4**8, inputs="codes", progress=False)
    codes = np.random.default_rng(0).integers(0, 4, (12, 8))
    evaluated = []

    def model(rows):
        evaluated.extend(row.tobytes() for row in rows)
        return additive(rows)

    wrong = -ss.Explainer(sketch)(codes).values
    noise = np.random.default_rng(1).normal(size=(12, 8))
    result = by_evaluator(
        ss.faithfulness,
        model,
        ss.Explainer(sketch),
        codes,
        budget=8000,
        attributions={"wrong": wrong, "noise": noise},
        inputs="codes",
        progress=False,
    )
    # Each sequence is evaluated once; with 8 positions, many hybrids are equal.
    assert result.n_calls == len(evaluated) == len(set(evaluated)) <= 8000
    assert result.n_calls > 4000
    assert result.r2 == pytest.approx(1.0, abs=1e-6)
    assert result.shapley_correlation["sketch"].value == pytest.approx(1.0, abs=1e-6)
    assert result.shapley_correlation["wrong"].value == pytest.approx(-1.0, abs=1e-6)
    assert abs(result.shapley_correlation["noise"].value) < 0.4
    exact = (codes - 1.5) * WEIGHTS
    for name, values in [("sketch", -wrong), ("wrong", wrong), ("noise", noise)]:
        truth = np.sqrt(((values - exact) ** 2).mean())
        assert result.shapley_rmse[name].value == pytest.approx(truth, rel=1e-3, abs=1e-4)
    assert result.mutation_correlation["sketch (mutation effects)"].value == pytest.approx(1.0, abs=1e-6)
    assert result.mutation_correlation["sketch"].value > 0.6 > result.mutation_correlation["noise"].value
    for curves, better in [(result.deletion, -1), (result.insertion, 1)]:
        area = {name: curve.mean() * better for name, curve in curves.items()}
        assert area["sketch"] > area["random"] > area["wrong"]
        assert len(curves["noise"]) == len(result.fractions)
    # With all positions deleted, the background is left; with all inserted, the sequence itself.
    assert result.insertion["sketch"][-1] == pytest.approx(additive(codes).mean())
    assert result.deletion["sketch"][0] == pytest.approx(additive(codes).mean())
    assert "sketch (mutation effects)" in str(result)


@pytest.mark.filterwarnings("ignore:the sketch")
def test_faithfulness_reports_that_a_sketch_is_poor():
    sketch = poor_sketch()
    codes = np.random.default_rng(0).integers(0, 4, (10, 8))
    result = by_evaluator(
        ss.faithfulness, rough, ss.Explainer(sketch), codes, budget=30_000, inputs="codes", progress=False
    )
    rows = all_sequences(4, 8)
    truth = np.array(
        [shapley_values(game(rough, rows, np.full(len(rows), 1 / len(rows)), x), 8) for x in codes[:3]]
    )
    exact = np.sqrt(((ss.Explainer(sketch)(codes[:3]).values - truth) ** 2).mean())
    assert result.r2 < 0.8
    assert 0.5 * exact < result.shapley_rmse["sketch"].value < 2.0 * exact


def test_bad_faithfulness_requests():
    explainer = ss.Explainer(random_spectrum(4, 6, 0))
    codes = np.zeros((5, 6), int)

    def check(budget=2000, **options):
        return by_evaluator(
            ss.faithfulness, lambda s: [0.0] * len(s), explainer, codes, budget=budget, **options
        )

    with pytest.raises(ss.BudgetError, match=r"a budget of 100 is too small .*; use at least 4\d\d"):
        check(budget=100)
    with pytest.raises(ss.InputError, match=r"'a' must have shape \(5, 6\), got \(5, 5\)"):
        check(attributions={"a": np.zeros((5, 5))})
    with pytest.raises(ss.InputError, match="'a': nan for sequence 0 at position 0"):
        check(attributions={"a": np.full((5, 6), np.nan)})
    with pytest.raises(ss.InputError, match="reserved"):
        check(attributions={"random": np.zeros((5, 6))})
    with pytest.raises(ss.InputError, match="must be an Explainer"):
        ss.faithfulness(rough, 3, codes, budget=100)
    least = check(budget=5 * 81, progress=False)
    assert least.n_calls <= 5 * 81


def test_the_model_is_not_evaluated_if_the_sketch_cannot_explain(tmp_path):
    calls = []

    def model(codes):
        calls.append(len(codes))
        return np.exp(0.5 * np.asarray(codes).sum(axis=1))

    space = ss.SequenceSpace(ss.DNA, 4)
    link = (np.log, np.exp)
    ss.sketch(model, space, budget=256, link=link, inputs="codes", progress=False).save(tmp_path / "custom")
    loaded = ss.Explainer(ss.load(tmp_path / "custom"))
    long = ss.Spectrum(ss.SequenceSpace("01", 60), [[0] * 60, [1] * 60], [1.0, 1.0])
    calls.clear()
    with pytest.raises(ss.InputError, match="pass it again"):
        by_evaluator(loaded.refine, model, ["ACGT"], inputs="codes")
    with pytest.raises(ss.InputError, match="pass it again"):
        by_evaluator(ss.faithfulness, model, loaded, ["ACGT"], budget=1000, inputs="codes")
    for background in ["0" * 60, ss.DinucleotideShuffles()]:
        with pytest.raises(ss.InputError, match="truncate"):
            by_evaluator(ss.Explainer(long, background).refine, model, ["1" * 60], inputs="codes")
    for summary in ("sobol", "motifs"):
        with pytest.raises(ss.InputError, match="truncate"):
            getattr(ss.Explainer(long), summary)()
    with pytest.raises(ss.InputError, match="truncate"):
        ss.Explainer(long).interactions(["1" * 60], index="Co-Moebius")
    assert not calls
    again = ss.Explainer(ss.load(tmp_path / "custom", link=link))
    result = by_evaluator(
        again.refine, model, ["ACGT"], calls_per_sequence=64, inputs="codes", progress=False
    )
    np.testing.assert_allclose(result.values[0], [-0.75, -0.25, 0.25, 0.75], atol=1e-9)
    assert (ss.Explainer(ss.load(tmp_path / "custom"), "AAAA")(["ACGT"]).stderr == 0.0).all()


def test_pairs_of_long_sequences_are_finite():
    space = ss.SequenceSpace("01", 1100)
    key = np.zeros((1, 1100), int)
    sketch = ss.Explainer(ss.Spectrum(space, key, [1.0]))
    result = by_evaluator(
        sketch.refine,
        lambda c: c[:, 0] * c[:, 1] * 1.0,
        np.ones((1, 1100), int),
        calls_per_sequence=40,
        index="SII",
        inputs="codes",
        progress=False,
    )
    assert np.isfinite(result.values).all()
    assert np.isfinite(result.stderr).all()


@pytest.mark.parametrize("n", [3, 6, 12])
def test_k_sii_of_high_orders_lists_only_nonzero_interactions(n):
    space = ss.SequenceSpace("01", n)
    explainer = ss.Explainer(ss.Spectrum(space, np.ones((1, n), np.uint8), [1.0]))
    result = explainer.interactions(["0" * n], index="k-SII", max_order=n)
    assert result.supports == [tuple(range(n))]
    # Below the highest order, terms weighted by odd Bernoulli numbers are 0 and not listed.
    result = explainer.interactions(["0" * n], index="k-SII", max_order=n - 1)
    assert result.supports
    assert (np.abs(result.values) > 1e-12).all()
    # All orders still add up to the score minus the mean.
    assert result.values.sum() == pytest.approx(1.0)


def test_mutants_do_not_depend_on_the_chunk_size(monkeypatch):
    from shapsketch.explain import mutants

    spectrum = random_spectrum(4, 5, 0)
    explainer = ss.Explainer(spectrum)
    for mutations in (1, 3, 5):
        whole = explainer.best_mutants([0, 1, 2, 3, 0], mutations, count=50)
        with monkeypatch.context() as patch:
            patch.setattr(mutants, "CHUNK", 7)
            parts = explainer.best_mutants([0, 1, 2, 3, 0], mutations, count=50)
        np.testing.assert_array_equal(parts.scores, whole.scores)
        assert len(set(parts.sequences)) == len(parts.sequences)


def test_errors_name_a_background_of_wrong_sequences():
    space = ss.SequenceSpace(ss.DNA, 4)
    spectrum = ss.Spectrum(space, [[0, 0, 0, 0]], [1.0])
    for background in ("ACGN", ["ACGT", "ACGN"], [[0, 1, 2, 9]]):
        with pytest.raises(ss.InputError, match="background: sequence"):
            ss.Explainer(spectrum, background)
