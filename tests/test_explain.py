"""Every index under every background, mutations, views and refined values against slow definitions."""

import itertools
import math

import lightgbm
import numpy as np
import pytest
import shapiq
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import all_sequences, by_evaluator, evaluate, random_spectrum, shapley_values

SHAPES = [(2, 7), (3, 5), (4, 5), (5, 4), (20, 3)]
INDICES = ["SV", "BV", "SII", "k-SII", "STII", "FSII", "FBII", "BII", "Moebius", "Co-Moebius"]


def pattern_sum(q, n, seed):
    """A surrogate of letter patterns of up to four letters, fitted to values that are just such a sum."""
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
    """Yield what a user would give, and the same as sequences with probabilities."""
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
    """The index of a game by another package, as a dictionary."""

    def coalitions(masks):
        return values[np.asarray(masks).astype(int) @ (1 << np.arange(n))]

    found = shapiq.ExactComputer(coalitions, n_players=n)(index, order)
    return {support: found[support] for support in found.interaction_lookup if support}


def faithful(values, n, order, shapley):
    """FSII or FBII by their definition: the best approximation by terms up to an order."""
    supports = [s for size in range(1, order + 1) for s in itertools.combinations(range(n), size)]
    masks = np.arange(2**n)
    members = np.array([sum(1 << i for i in s) for s in supports])
    inside = (masks[:, None] & members == members).astype(float)
    if not shapley:
        solved = np.linalg.lstsq(np.column_stack([np.ones(2**n), inside]), values, rcond=None)[0]
        return dict(zip(supports, solved[1:], strict=True))
    # Exact for nobody and for all, by eliminating the last term; between them weighted.
    sizes = np.array([int(mask).bit_count() for mask in masks[1:-1]])
    weights = [(n - 1) / (math.comb(n, t) * t * (n - t)) for t in sizes.tolist()]
    root = np.sqrt(weights)
    target, rows = values[1:-1] - values[0], inside[1:-1]
    total = values[-1] - values[0]
    reduced = rows[:, :-1] - rows[:, -1:]
    solved = np.linalg.lstsq(reduced * root[:, None], (target - rows[:, -1] * total) * root, rcond=None)[0]
    return dict(zip(supports, [*solved, total - solved.sum()], strict=True))


def agrees(found, expected, atol=1e-9):
    table = dict(zip(found.supports, found.values[0], strict=True))
    assert len(table) == len(found.supports)
    for support, value in expected.items():
        assert table.pop(support, 0.0) == pytest.approx(value, abs=atol), support
    assert all(abs(value) < atol for value in table.values()), "an interaction too many"


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
            found = explainer.interactions(x[None], index=index, max_order=order)
            expected = exact(values, n, index, n if index in ("Moebius", "Co-Moebius") else order)
            if index in ("FSII", "FBII"):
                # The package approximates constraints by large weights.
                agrees(found, expected, atol=1e-6)
                expected = faithful(values, n, order, index == "FSII")
            agrees(found, {s: v for s, v in expected.items() if len(s) <= order})
            assert found.base_values[0] == pytest.approx(values[0], abs=1e-9)
        explanation = explainer(x[None])
        np.testing.assert_allclose(explanation.values[0], shapley_values(values, n), atol=1e-9)
        np.testing.assert_allclose(explanation.base_values[0], values[0], atol=1e-9)


@settings(max_examples=15)
@given(shape=st.sampled_from([(2, 8), (4, 7), (20, 4)]), seed=st.integers(0, 2**31))
def test_shuffles_are_a_list_of_sequences_of_each_ones_own(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    codes = np.random.default_rng(seed).integers(0, q, (3, n)).astype(np.uint8)
    shuffles = ss.DinucleotideShuffles(count=4, random_state=seed)
    explainer = ss.Explainer(spectrum, shuffles)
    explanation = explainer(codes)
    for row, own, values, base in zip(
        codes, shuffles.of(spectrum.space, codes), explanation.values, explanation.base_values, strict=True
    ):
        listed = ss.Explainer(spectrum, own)
        np.testing.assert_allclose(values, listed(row[None]).values[0], atol=1e-9)
        assert base == pytest.approx(listed.base_value, abs=1e-9)
        found = explainer.interactions(row[None], index="FSII", max_order=2)
        other = listed.interactions(row[None], index="FSII", max_order=2)
        agrees(found, dict(zip(other.supports, other.values[0], strict=True)))
        # Each keeps the pairs of neighbours.
        pairs = sorted(itertools.pairwise(row))
        assert all(sorted(itertools.pairwise(s)) == pairs for s in own)


def test_long_leaves_of_trees_under_other_backgrounds():
    # Too many components to list: Shapley values come from the terms themselves.
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
    found = ss.Explainer(sketch, reference)(x[None])
    # Permutations of the few positions in which the two differ at first.
    x = np.where(np.arange(14) < 6, x, reference).astype(np.uint8)
    values = np.empty(2**6)
    for mask in range(2**6):
        mixed = reference.copy()
        fixed = [i for i in range(6) if mask >> i & 1]
        mixed[fixed] = x[fixed]
        values[mask] = model.predict(mixed[None].astype(float))[0]
    found = ss.Explainer(sketch, reference)(x[None]).values[0]
    np.testing.assert_allclose(found[:6], shapley_values(values, 6), atol=1e-6)
    np.testing.assert_allclose(found[6:], 0.0, atol=1e-9)
    own = ss.Explainer(sketch, ss.DinucleotideShuffles(count=3))(X[:2])
    total = own.values.sum(axis=1) + own.base_values
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
    own = evaluate(spectrum, x[None])[0]
    effects = explainer.mutation_effects(x[None])
    assert effects.shape == (1, n, q)

    def change(*mutations):
        mutant = x.copy()
        for i, a in mutations:
            mutant[i] = a
        return evaluate(spectrum, mutant[None])[0] - own

    for i, a in itertools.product(range(n), range(q)):
        assert effects[0, i, a] == pytest.approx(change((i, a)), abs=1e-9)
    epistasis = explainer.epistasis(x[None])
    table = dict(zip(epistasis.pairs, epistasis.values[0], strict=True))
    for i, j in itertools.combinations(range(n), 2):
        for a, b in [(0, 1), (q - 1, 0)]:
            wanted = change((i, a), (j, b)) - change((i, a)) - change((j, b))
            found = table[i, j][a, b] if (i, j) in table else 0.0
            assert found == pytest.approx(wanted, abs=1e-9)
    for mutations, minimize in [(1, False), (2, True), (min(3, n), False)]:
        mutants = [
            (change(*zip(places, letters, strict=True)), places, letters)
            for places in itertools.combinations(range(n), mutations)
            for letters in itertools.product(*[[a for a in range(q) if a != x[i]] for i in places])
        ]
        best = sorted((m[0] for m in mutants), reverse=not minimize)[:5]
        found = explainer.best_mutants(x, mutations, count=5, minimize=minimize)
        assert found.exact
        np.testing.assert_allclose(found.changes, best, atol=1e-9)
        np.testing.assert_allclose(evaluate(spectrum, found.codes) - own, best, atol=1e-9)
        assert ((found.codes != x).sum(axis=1) == mutations).all()
        searched = explainer.best_mutants(x, mutations, count=5, minimize=minimize, limit=0)
        assert not searched.exact
        assert ((searched.codes != x).sum(axis=1) == mutations).all()
        if mutations == 1:
            np.testing.assert_allclose(searched.changes, best, atol=1e-9)


def test_mutants_are_named():
    space = ss.SequenceSpace(ss.DNA, 4)
    sketch = ss.sketch(lambda s: [t.count("GC") for t in s], space, budget=256, progress=False)
    found = ss.Explainer(sketch).best_mutants("AATA", 2, count=1)
    assert found.sequences[0].count("GC") == 1
    assert found.mutations[0] in ("A1G A2C", "A2G T3C", "T3G A4C")
    assert "mutations" in str(found)


@settings(max_examples=20)
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31))
def test_sobol_indices_equal_conditional_variances(shape, seed):
    q, n = shape
    spectrum = random_spectrum(q, n, seed)
    given_backgrounds = list(backgrounds(spectrum.space, seed))
    for background, rows, chances in given_backgrounds[:2]:
        scores = evaluate(spectrum, rows)
        mean = scores @ chances
        variance = (scores - mean) ** 2 @ chances
        sobol = ss.Explainer(spectrum, background).sobol()
        assert sobol.variance == pytest.approx(variance, abs=1e-9)
        assert sobol.shares.sum() == pytest.approx(1.0)
        assert sobol.by_order.sum() == pytest.approx(1.0)
        for i in range(n):
            of_letter = np.zeros(q)
            of_rest = {}
            for row, p, score in zip(rows, chances, scores, strict=True):
                of_letter[row[i]] += p * score
                rest = bytes(np.delete(row, i))
                weight, total = of_rest.get(rest, (0.0, 0.0))
                of_rest[rest] = (weight + p, total + p * score)
            letters = np.bincount(rows[:, i], chances, minlength=q)
            held = letters > 0
            first = letters[held] @ (of_letter[held] / letters[held] - mean) ** 2 / variance
            rest = sum(w * (t / w - mean) ** 2 for w, t in of_rest.values() if w > 0) / variance
            assert sobol.first[i] == pytest.approx(first, abs=1e-7)
            assert sobol.total[i] == pytest.approx(1.0 - rest, abs=1e-7)
    for background, _, _ in given_backgrounds[2:]:
        with pytest.raises(ss.InputError, match="product distribution"):
            ss.Explainer(spectrum, background).sobol()


def test_views_find_what_was_planted():
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
    found = next(m.found for m in explainer.motifs(sequences=codes) if m.letters == "CG")
    assert found == pytest.approx(1 / 16, abs=0.02)
    sobol = explainer.sobol()
    assert {support for support, _ in sobol.top(4)} == {(2,), (3,), (2, 3), (6,)}
    assert sobol.records()[6]["total"] == pytest.approx(sobol.first[6])
    drawn = explainer.attribution_map(codes)
    explanation = explainer(codes)
    held = codes[:, 6] == 0
    assert drawn.mean[6, 0] == pytest.approx(explanation.values[held, 6].mean())
    assert drawn.mean_absolute[6, 0] == pytest.approx(np.abs(explanation.values[held, 6]).mean())
    assert drawn.counts.sum() == codes.size
    for view in (motifs, sobol, drawn):
        assert len(str(view).splitlines()) == 1 + min(len(view.records()), 20) + (len(view.records()) > 20)
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


def test_interactions_can_be_seen_as_matrices():
    spectrum = random_spectrum(4, 6, 3, terms=20)
    codes = np.random.default_rng(0).integers(0, 4, (5, 6))
    found = ss.Explainer(spectrum).interactions(codes, index="k-SII", max_order=2)
    dense = found.dense()
    assert dense.shape == (5, 6, 6)
    np.testing.assert_array_equal(dense, dense.transpose(0, 2, 1))
    # k-SII adds up to the score.
    upper = np.triu(np.ones((6, 6), bool))
    total = dense[:, upper].sum(axis=1) + found.base_values
    np.testing.assert_allclose(total, spectrum.predict(codes), atol=1e-9)
    assert found.order(2).stderr is None


def rough(codes):
    """A function that no sketch of low order explains whole, over 8 letters of a DNA sequence."""
    codes = np.asarray(codes).astype(int)
    return np.sin(codes @ np.arange(1, codes.shape[1] + 1)) + 2.0 * (codes[:, 1] == 2) * (codes[:, 4] == 3)


def poor_sketch(n=8):
    space = ss.SequenceSpace(ss.DNA, n)
    X = np.random.default_rng(0).integers(0, 4, (600, n))
    return ss.fit(X, rough(X), space, dictionary=ss.Dictionary(windows=1, orders=2))


@pytest.mark.filterwarnings("ignore:the sketch")
def test_refined_values_are_unbiased_and_their_errors_cover():
    sketch = poor_sketch()
    x = np.random.default_rng(5).integers(0, 4, (1, 8)).astype(np.uint8)
    chances = np.random.default_rng(6).dirichlet(np.ones(4), size=8)
    rows = all_sequences(4, 8)
    for background, weights in [
        ("uniform", np.full(4**8, 4.0**-8)),
        (chances, np.prod(chances[np.arange(8), rows], axis=1)),
        # Differs everywhere: 256 coalitions, of which 150 cannot be all.
        ((x[0] + 1) % 4, None),
    ]:
        listed = (rows, weights) if weights is not None else (background[None], np.ones(1))
        values = game(rough, *listed, x[0])
        explainer = ss.Explainer(sketch, background)
        z = []
        for seed in range(120):
            found = by_evaluator(
                explainer.refine,
                rough,
                x,
                calls_per_sequence=150,
                inputs="codes",
                random_state=seed,
                progress=False,
            )
            z.append((found.values[0] - shapley_values(values, 8)) / found.stderr[0])
        z = np.array(z)
        # 960 numbers, of which those of one run hang together.
        assert abs(z.mean()) < 0.15
        assert 0.90 < (np.abs(z) < 1.96).mean() < 0.985
        if isinstance(background, str):
            refined = np.std(z * found.stderr[0], axis=0)
            assert refined.mean() < 0.9 * np.std(list(plain(x[0], 150)), axis=0).mean()


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.filterwarnings("ignore:the sketch")
def test_errors_of_short_sequences_cover_with_few_calls(n):
    space = ss.SequenceSpace(ss.DNA, n)
    rows = all_sequences(4, n)
    scores = np.random.default_rng(n).normal(size=len(rows))
    explainer = ss.Explainer(ss.Spectrum(space, [[0] * n], [0.0]))

    def model(codes):
        return scores[codes @ 4 ** np.arange(n)[::-1]]

    values = game(model, rows, np.full(len(rows), 1 / len(rows)), rows[1])
    z = []
    for seed in range(300):
        found = by_evaluator(
            explainer.refine,
            model,
            rows[1:2],
            calls_per_sequence=32,
            inputs="codes",
            random_state=seed,
            progress=False,
        )
        z.append((found.values[0] - shapley_values(values, n)) / found.stderr[0])
    assert abs(np.mean(z)) < 0.2
    assert 0.90 < (np.abs(z) < 1.96).mean() < 0.985


@pytest.mark.filterwarnings("ignore:the sketch")
@pytest.mark.parametrize("index", ["SV", "SII"])
def test_against_a_reference_few_differences_are_refined_exactly(index):
    explained = np.random.default_rng(3).integers(0, 4, (3, 8)).astype(np.uint8)
    reference = explained[0].copy()
    reference[[1, 4, 6]] = (reference[[1, 4, 6]] + 2) % 4
    explained[1:] = reference, (reference + 1) % 4
    explainer = ss.Explainer(poor_sketch(), reference)
    asked = []

    def model(codes):
        asked.append(codes.copy())
        return rough(codes)

    found = by_evaluator(
        explainer.refine, model, explained, calls_per_sequence=40, index=index, inputs="codes", progress=False
    )
    # 2**3 hybrids of the first, the second is the reference, and the third differs everywhere.
    asked = np.concatenate(asked)
    assert 8 + 1 < len(asked) <= 8 + 1 + 40
    assert len(np.unique(asked[:8], axis=0)) == 8
    for row in (0, 1):
        values = game(rough, reference[None], np.ones(1), explained[row])
        if index == "SV":
            wanted = shapley_values(values, 8)
        else:
            truth = exact(values, 8, "SII", 2)
            wanted = [truth[support] for support in found.supports]
        np.testing.assert_allclose(found.values[row], wanted, atol=1e-9)
        assert not found.stderr[row].any()
    assert found.stderr[2].any()


def plain(x, calls, repeats=100):
    """Permutation sampling without a sketch, at as many calls."""
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
def test_refined_pairs_are_unbiased_and_their_errors_cover():
    sketch = poor_sketch(6)
    x = np.random.default_rng(5).integers(0, 4, (1, 6)).astype(np.uint8)
    rows = all_sequences(4, 6)
    values = game(rough, rows, np.full(len(rows), 1 / len(rows)), x[0])
    wanted = exact(values, 6, "SII", 2)
    explainer = ss.Explainer(sketch)
    z = []
    for seed in range(80):
        found = by_evaluator(
            explainer.refine,
            rough,
            x,
            calls_per_sequence=400,
            index="SII",
            inputs="codes",
            random_state=seed,
            progress=False,
        )
        truth = np.array([wanted[support] for support in found.supports])
        z.append((found.values[0] - truth) / found.stderr[0])
    z = np.array(z)
    assert len(found.supports) == 6 + 15
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


def test_one_position():
    space = ss.SequenceSpace("01", 1)
    spectrum = ss.Spectrum(space, [[0], [1]], [0.5, -0.5])
    explainer = ss.Explainer(spectrum)
    assert explainer.interactions(["1"], index="FSII").supports == [(0,)]
    found = explainer.refine(lambda s: [float(t) for t in s], ["1"], calls_per_sequence=64, progress=False)
    assert found.values[0, 0] == pytest.approx(0.5, abs=1e-9)


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
        (None, "NoneType"),
        (ss.DinucleotideShuffles(count=0), "count must be at least 1"),
    ],
)
def test_bad_backgrounds(background, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Explainer(random_spectrum(4, 6, 0), background)(["ACGTAC"])


def test_long_terms_against_shuffles_are_refused_before_they_take_all_memory():
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
    assert repr(explanation) == "Explanation(2 x 3 values, background uniform, link identity)"
    rows = explanation.records()
    assert [(row["sequence"], row["position"], row["letter"]) for row in rows[2:4]] == [
        (0, 2, "G"),
        (1, 0, "T"),
    ]
    assert [row["value"] for row in rows] == explanation.values.ravel().tolist()
    assert str(explanation).splitlines()[0].split() == ["sequence", "position", "letter", "value"]
    pairs = explainer.interactions(["ACG", "TTT"], index="SII")
    assert repr(pairs).startswith("Interactions(SII, 2 sequences x ")
    assert [row["value"] for row in pairs.records()] == pairs.values.ravel().tolist()
    # Of one sequence the strongest have their signs.
    one = explainer.interactions(["ACG"], index="SII")
    for support, value in one.top(3):
        assert value == one.values[0, one.supports.index(support)]
    for support, value in pairs.top(3):
        assert value == np.abs(pairs.values[:, pairs.supports.index(support)]).mean()


def test_a_composition_is_that_of_every_position():
    spectrum, chances = random_spectrum(4, 5, 0), [0.3, 0.2, 0.2, 0.3]
    one, all_ = (ss.Explainer(spectrum, given)(["ACGTA"]) for given in (chances, np.tile(chances, (5, 1))))
    np.testing.assert_array_equal(one.values, all_.values)


def test_references_come_in_any_list():
    spectrum = random_spectrum(4, 6, 0)
    rows = ["ACGTAC", "GGGTTA"]
    wanted = ss.Explainer(spectrum, rows)(["CCCTTA"]).values
    for listed in [tuple(rows), np.array(rows), np.array(rows, dtype=object), iter(rows)]:
        np.testing.assert_array_equal(ss.Explainer(spectrum, listed)(["CCCTTA"]).values, wanted)


def test_values_of_order_one_allow_any_order():
    explainer = ss.Explainer(random_spectrum(4, 3, 0))
    for index in ("SV", "BV"):
        found = explainer.interactions(["ACG"], index=index, max_order=9)
        assert {len(support) for support in found.supports} == {1}


def test_whole_numbers_that_may_be_one_hot_are_refused():
    spectrum = random_spectrum(4, 4, 0)
    with pytest.raises(ss.InputError, match="may be one-hot or codes"):
        ss.Explainer(spectrum, np.eye(4, dtype=int))
    assert ss.Explainer(spectrum, np.eye(4)).background == "product distribution"


def test_bad_requests():
    explainer = ss.Explainer(random_spectrum(4, 6, 0))
    for options, message in [
        ({"index": "fsi"}, "did you mean 'FSII'"),
        ({"index": "k-sii"}, "did you mean 'k-SII'"),
        ({"index": "FSII", "max_order": 0}, "max_order must be at least 1"),
        ({"index": "FSII", "max_order": 7}, "max_order must be from 1 to the length"),
        ({"index": "Faith-Shap", "max_order": 2}, "FSII is the same of order max_order=2"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            explainer.interactions(["ACGTAC"], **options)
    with pytest.raises(ss.InputError, match="no standard errors: the sketch has none"):
        _ = explainer(["ACGTAC"]).stderr
    sketch = poor_sketch()
    assert ss.Explainer(sketch)(["ACGTACGT"]).stderr.shape == (1, 8)
    with pytest.raises(ss.InputError, match="known under the uniform background, this is reference ACGTACGT"):
        _ = ss.Explainer(sketch, "ACGTACGT")(["ACGTACGT"]).stderr
    own = ss.Explainer(sketch, ss.DinucleotideShuffles())
    with pytest.raises(ss.InputError, match="base value of its own"):
        _ = own.base_value
    with pytest.raises(ss.InputError, match="not shuffles"):
        own.motifs()
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


def test_faithfulness_tells_good_attributions_from_bad_ones():
    space = ss.SequenceSpace(ss.DNA, 8)
    sketch = ss.sketch(additive, space, budget=4**8, inputs="codes", progress=False)
    codes = np.random.default_rng(0).integers(0, 4, (12, 8))
    asked = []

    def model(rows):
        asked.extend(row.tobytes() for row in rows)
        return additive(rows)

    wrong = -ss.Explainer(sketch)(codes).values
    noise = np.random.default_rng(1).normal(size=(12, 8))
    found = by_evaluator(
        ss.faithfulness,
        model,
        ss.Explainer(sketch),
        codes,
        budget=8000,
        attributions={"wrong": wrong, "noise": noise},
        inputs="codes",
        progress=False,
    )
    # Each sequence once; of 8 positions many hybrids are the same.
    assert found.n_calls == len(asked) == len(set(asked)) <= 8000
    assert found.n_calls > 4000
    assert found.r2 == pytest.approx(1.0, abs=1e-6)
    assert found.shapley_correlation["sketch"].value == pytest.approx(1.0, abs=1e-6)
    assert found.shapley_correlation["wrong"].value == pytest.approx(-1.0, abs=1e-6)
    assert abs(found.shapley_correlation["noise"].value) < 0.4
    exact = (codes - 1.5) * WEIGHTS
    for name, values in [("sketch", -wrong), ("wrong", wrong), ("noise", noise)]:
        truth = np.sqrt(((values - exact) ** 2).mean())
        assert found.shapley_rmse[name].value == pytest.approx(truth, rel=1e-3, abs=1e-4)
    assert found.mutation_correlation["sketch (mutation effects)"].value == pytest.approx(1.0, abs=1e-6)
    assert found.mutation_correlation["sketch"].value > 0.6 > found.mutation_correlation["noise"].value
    for curves, better in [(found.deletion, -1), (found.insertion, 1)]:
        area = {name: curve.mean() * better for name, curve in curves.items()}
        assert area["sketch"] > area["random"] > area["wrong"]
        assert len(curves["noise"]) == len(found.fractions)
    # What is deleted whole is the background; what is inserted whole is the sequence.
    assert found.insertion["sketch"][-1] == pytest.approx(additive(codes).mean())
    assert found.deletion["sketch"][0] == pytest.approx(additive(codes).mean())
    assert "sketch (mutation effects)" in str(found)


@pytest.mark.filterwarnings("ignore:the sketch")
def test_faithfulness_says_that_a_sketch_is_poor():
    sketch = poor_sketch()
    codes = np.random.default_rng(0).integers(0, 4, (10, 8))
    found = by_evaluator(
        ss.faithfulness, rough, ss.Explainer(sketch), codes, budget=30_000, inputs="codes", progress=False
    )
    rows = all_sequences(4, 8)
    truth = np.array(
        [shapley_values(game(rough, rows, np.full(len(rows), 1 / len(rows)), x), 8) for x in codes[:3]]
    )
    exact = np.sqrt(((ss.Explainer(sketch)(codes[:3]).values - truth) ** 2).mean())
    assert found.r2 < 0.8
    assert 0.5 * exact < found.shapley_rmse["sketch"].value < 2.0 * exact


def test_bad_faithfulness_requests():
    explainer = ss.Explainer(random_spectrum(4, 6, 0))
    codes = np.zeros((5, 6), int)

    def check(budget=2000, **options):
        return by_evaluator(
            ss.faithfulness, lambda s: [0.0] * len(s), explainer, codes, budget=budget, **options
        )

    with pytest.raises(ss.BudgetError, match=r"a budget of 100 is too small .*; 4\d\d is the least"):
        check(budget=100)
    with pytest.raises(ss.InputError, match=r"'a' must have shape \(5, 6\), got \(5, 5\)"):
        check(attributions={"a": np.zeros((5, 5))})
    with pytest.raises(ss.InputError, match="'a': nan for sequence 0 at position 0"):
        check(attributions={"a": np.full((5, 6), np.nan)})
    with pytest.raises(ss.InputError, match="taken"):
        check(attributions={"random": np.zeros((5, 6))})
    with pytest.raises(ss.InputError, match="must be an Explainer"):
        ss.faithfulness(rough, 3, codes, budget=100)
    least = check(budget=5 * 81, progress=False)
    assert least.n_calls <= 5 * 81


def test_nothing_is_asked_that_cannot_be_explained(tmp_path):
    calls = []

    def model(codes):
        calls.append(len(codes))
        return np.exp(0.5 * np.asarray(codes).sum(axis=1))

    space = ss.SequenceSpace(ss.DNA, 4)
    link = (np.log, np.exp)
    ss.sketch(model, space, budget=256, link=link, inputs="codes", progress=False).save(tmp_path / "own")
    loaded = ss.Explainer(ss.load(tmp_path / "own"))
    long = ss.Spectrum(ss.SequenceSpace("01", 60), [[0] * 60, [1] * 60], [1.0, 1.0])
    calls.clear()
    with pytest.raises(ss.InputError, match="give it again"):
        by_evaluator(loaded.refine, model, ["ACGT"], inputs="codes")
    with pytest.raises(ss.InputError, match="give it again"):
        by_evaluator(ss.faithfulness, model, loaded, ["ACGT"], budget=1000, inputs="codes")
    for background in ["0" * 60, ss.DinucleotideShuffles()]:
        with pytest.raises(ss.InputError, match="truncate"):
            by_evaluator(ss.Explainer(long, background).refine, model, ["1" * 60], inputs="codes")
    for view in ("sobol", "motifs"):
        with pytest.raises(ss.InputError, match="truncate"):
            getattr(ss.Explainer(long), view)()
    with pytest.raises(ss.InputError, match="truncate"):
        ss.Explainer(long).interactions(["1" * 60], index="Co-Moebius")
    assert not calls
    again = ss.Explainer(ss.load(tmp_path / "own", link=link))
    found = by_evaluator(again.refine, model, ["ACGT"], calls_per_sequence=64, inputs="codes", progress=False)
    np.testing.assert_allclose(found.values[0], [-0.75, -0.25, 0.25, 0.75], atol=1e-9)
    assert (ss.Explainer(ss.load(tmp_path / "own"), "AAAA")(["ACGT"]).stderr == 0.0).all()


def test_pairs_of_long_sequences_are_finite():
    space = ss.SequenceSpace("01", 1100)
    key = np.zeros((1, 1100), int)
    sketch = ss.Explainer(ss.Spectrum(space, key, [1.0]))
    found = by_evaluator(
        sketch.refine,
        lambda c: c[:, 0] * c[:, 1] * 1.0,
        np.ones((1, 1100), int),
        calls_per_sequence=40,
        index="SII",
        inputs="codes",
        progress=False,
    )
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.stderr).all()


@pytest.mark.parametrize("n", [3, 6, 12])
def test_k_sii_of_high_orders_lists_what_there_is(n):
    space = ss.SequenceSpace("01", n)
    explainer = ss.Explainer(ss.Spectrum(space, np.ones((1, n), np.uint8), [1.0]))
    found = explainer.interactions(["0" * n], index="k-SII", max_order=n)
    assert found.supports == [tuple(range(n))]
    # Below the highest order, what odd Bernoulli numbers weigh is nothing.
    found = explainer.interactions(["0" * n], index="k-SII", max_order=n - 1)
    assert found.supports
    assert (np.abs(found.values) > 1e-12).all()
    # The orders still add up to the score, less the mean.
    assert found.values.sum() == pytest.approx(1.0)


def test_all_mutants_come_in_chunks(monkeypatch):
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


def test_a_background_that_is_none_is_called_so():
    space = ss.SequenceSpace(ss.DNA, 4)
    spectrum = ss.Spectrum(space, [[0, 0, 0, 0]], [1.0])
    for background in ("ACGN", ["ACGT", "ACGN"], [[0, 1, 2, 9]]):
        with pytest.raises(ss.InputError, match="background: sequence"):
            ss.Explainer(spectrum, background)
