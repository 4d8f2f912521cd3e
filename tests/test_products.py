"""Spectra, designs and peeling over spaces with letters by position, compared with definitions."""

import pickle

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapsketch import cli
from test_letters import LIBRARY, every, function_of, library_score, random_space

# Sizes of the alphabets: at most 600 sequences, with constants and sizes without a common factor.
SIZES = st.lists(st.integers(1, 21), min_size=1, max_size=6).filter(lambda s: 2 <= np.prod(s) <= 600)


def sizes_of(space):
    """Return the number of letters of each position."""
    return np.array([len(own) for own in space.letters])


def digits_of(space, codes):
    """Return the numbers of letters among those of their positions, by look-up."""
    sequences = space.decode(codes)
    return np.array([[own.index(a) for own, a in zip(space.letters, s, strict=True)] for s in sequences])


def characters(space, frequencies, codes):
    """Return prod_i exp(2 pi i k_i x_i / q_i) of every frequency (rows) and sequence (columns)."""
    turns = (np.asarray(frequencies) / sizes_of(space)) @ digits_of(space, codes).T
    return np.exp(2j * np.pi * turns)


@settings(max_examples=40)
@given(sizes=SIZES, seed=st.integers(0, 2**31))
def test_the_exact_spectrum_is_that_of_the_definition(sizes, seed):
    space = random_space(sizes, seed)
    function, codes = function_of(space, seed), every(space)
    sketch = ss.sketch(function, space, budget=len(codes), method="exact", inputs="codes", progress=False)
    assert sketch.r2 == pytest.approx(1.0)
    spectrum = sketch.spectrum
    waves = characters(space, digits_of(space, codes), codes)
    slow = waves.conj() @ function(codes) / len(codes)
    fast = {tuple(k): value for k, value in zip(spectrum.frequencies, spectrum.coefficients, strict=True)}
    for k, value in zip(digits_of(space, codes), slow, strict=True):
        assert fast.pop(tuple(k), 0.0) == pytest.approx(value, abs=1e-9)
    assert not fast
    np.testing.assert_allclose(spectrum.predict(codes), function(codes), atol=1e-9)
    assert spectrum.order_energy()[1:].sum() == pytest.approx(np.var(function(codes)), abs=1e-9)
    again = ss.Spectrum(space, spectrum.frequencies[::-1], spectrum.coefficients[::-1])
    assert pickle.loads(pickle.dumps(spectrum)) == spectrum == again
    few = spectrum.truncate(max_order=1)
    assert (np.count_nonzero(few.frequencies, axis=1) < 2).all()


@settings(max_examples=15)
@given(sizes=SIZES.filter(lambda s: np.prod(s) >= 40), seed=st.integers(0, 2**31))
def test_sums_of_patterns_have_the_spectrum_of_the_definition(sizes, seed):
    space, rng = random_space(sizes, seed), np.random.default_rng(seed)
    codes = every(space)
    X = codes[rng.permutation(len(codes))[:60]]
    y = rng.normal(size=len(X))
    terms = ss.SparseRegressor(space, basis="letters").fit(X, y).sketch_
    waves = ss.SparseRegressor(space, basis="characters").fit(X, y).sketch_
    for sketch in (terms, waves):
        values = sketch.predict(codes)
        spectrum = sketch.spectrum
        np.testing.assert_allclose(spectrum.predict(codes), values, atol=1e-9)
        slow = characters(space, spectrum.frequencies, codes).conj() @ values / len(codes)
        np.testing.assert_allclose(spectrum.coefficients, slow, atol=1e-9)
        assert (np.abs(spectrum.coefficients) ** 2).sum() == pytest.approx((values**2).mean(), abs=1e-9)


@given(
    sizes=st.lists(st.integers(1, 21), min_size=2, max_size=7),
    seed=st.integers(0, 1000),
    delays=st.sampled_from(["nso", "identity", "random", "zero"]),
    b=st.integers(1, 3),
)
def test_queries_are_those_of_the_definition(sizes, seed, delays, b):
    free = sum(size > 1 for size in sizes)
    assume(free >= b and np.prod(sizes) ** (b / free) < 100)
    space = random_space(sizes, seed)
    design = ss.QueryDesign(space, b=b, groups=2, delays=delays, repeats=2, random_state=seed)
    rows = []
    for matrix, sizes_of_columns, shifts in zip(
        design.matrices, design.column_sizes, design.delays, strict=True
    ):
        belongs = sizes_of(space)[:, None] == np.array(sizes_of_columns)
        assert (matrix[~belongs] == 0).all()
        words = np.stack(np.unravel_index(np.arange(np.prod(sizes_of_columns)), sizes_of_columns), axis=1)
        for shift in shifts:
            rows.append((words @ matrix.T.astype(int) + shift) % sizes_of(space))
    expected = list(dict.fromkeys(map(tuple, np.concatenate(rows))))
    np.testing.assert_array_equal(digits_of(space, design.queries()), expected)
    assert len(pickle.loads(pickle.dumps(design))) == len(design)


def planted(space, seed, count=12):
    """Return a function of codes with random effects of 1 to 3 positions, and its true spectrum."""
    rng = np.random.default_rng(seed)
    sizes = sizes_of(space)
    frequencies = np.zeros((count, space.n), dtype=int)
    for row in frequencies:
        support = rng.choice(np.flatnonzero(sizes > 1), rng.integers(1, 4), replace=False)
        row[support] = rng.integers(1, sizes[support])
    values = rng.uniform(0.5, 1.5, count) * np.exp(2j * np.pi * rng.random(count))
    return ss.Spectrum(space, frequencies, values, real_part=True)


def test_peeling_recovers_planted_spectra_of_unequal_alphabets():
    space = random_space((2, 3, 4, 20) * 4, seed=4)
    truth = planted(space, seed=5)
    design = ss.QueryDesign(space, b=5, groups=4, delays="identity")
    decoder = ss.PeelingDecoder().fit(ss.Observations(design, truth.predict(design.queries())))
    assert decoder.status_ == "converged"
    spectrum = decoder.spectrum_
    large = abs(spectrum.coefficients) > 1e-12  # the constant is a rounding error
    np.testing.assert_array_equal(spectrum.frequencies[large], truth.frequencies)
    np.testing.assert_allclose(spectrum.coefficients[large], truth.coefficients, atol=1e-9)

    noise = np.random.default_rng(6)

    def noisy(codes):
        return truth.predict(codes) + noise.normal(scale=0.3, size=len(codes))

    sketch = ss.sketch(noisy, space, budget=60_000, method="peel", inputs="codes", progress=False)
    fresh = space._random(np.random.default_rng(7), 2_000)
    error = ((sketch.predict(fresh) - truth.predict(fresh)) ** 2).mean()
    assert error < 1e-3 * truth.predict(fresh).var()
    assert sketch.method == "peel"


def test_peeling_a_library(tmp_path):
    space = random_space((2, 3, 4, 1, 20, 2, 3), seed=8)
    truth = planted(space, seed=9, count=5)
    sketch = ss.sketch(truth.predict, space, budget=2_800, method="peel", inputs="codes", progress=False)
    assert sketch.r2 > 0.999
    sketch.save(tmp_path / "peeled.safetensors")
    loaded = ss.load(tmp_path / "peeled.safetensors")
    assert loaded.spectrum == sketch.spectrum
    x = space.decode(every(space)[[11, 222]])
    explanation = ss.Explainer(loaded)(x)
    np.testing.assert_allclose(explanation.values.sum(axis=1) + explanation.base_values, loaded.predict(x))
    assert "letters by position" in sketch.summary()
    plan = ss.plan(space, 2_800, method="peel")
    assert plan.design is not None
    assert "on average" in str(plan)
    assert sum(map(len, plan.batches())) <= plan.total_queries <= 2_800
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert ss.plan(LIBRARY, 864).method == "exact"
    assert ss.plan(LIBRARY, 864).design == (7, 1, 1)


def test_every_explanation_of_a_spectrum_is_that_of_its_patterns():
    rng = np.random.default_rng(11)
    codes = LIBRARY._random(rng, 200)
    terms = ss.SparseRegressor(LIBRARY, basis="letters").fit(codes, library_score(codes)).sketch_
    waves = ss.Sketch(terms.spectrum)
    x = LIBRARY.decode(LIBRARY._random(rng, 3))
    chances = LIBRARY.allowed * rng.random(LIBRARY.allowed.shape)
    for background in ("uniform", chances / chances.sum(axis=1, keepdims=True), "AWTGASLD", x):
        a, b = ss.Explainer(terms, background), ss.Explainer(waves, background)
        np.testing.assert_allclose(a(x).values, b(x).values, atol=1e-9)
        np.testing.assert_allclose(a.mutation_effects(x), b.mutation_effects(x), atol=1e-9)
        for index in ("SII", "FSII"):
            first, second = (e.interactions(x, index=index, max_order=3) for e in (a, b))
            values = dict(zip(first.supports, first.values.T, strict=True))
            for support, value in zip(second.supports, second.values.T, strict=True):
                np.testing.assert_allclose(values.pop(support, np.zeros(3)), value, atol=1e-9)
            assert all(abs(rest).max() < 1e-9 for rest in values.values())
    assert ss.Explainer(terms).sobol().variance == pytest.approx(ss.Explainer(waves).sobol().variance)
    first, second = (ss.Explainer(sketch).motifs(5) for sketch in (terms, waves))
    assert [motif.word for motif in first] == [motif.word for motif in second]


def test_the_command_line_peels_letters_by_position(capsys):
    letters = ",".join(["ACDE", "DE", "GKR", "IV"] * 3)
    assert cli.main(["plan", "--letters", letters, "--budget", "6000", "--method", "peel"]) == 0
    assert "on average" in capsys.readouterr().out


def test_shuffles_of_exchangeable_letters_stay_in_the_space():
    space = ss.SequenceSpace(["G", *["ACT"] * 6, "GT"])
    sequences = ["GACTTCAG", "GAATTCCT"]
    shuffles = ss.DinucleotideShuffles(count=5).of(space, sequences)
    assert space.allowed[np.arange(8), shuffles].all()
    spectrum = planted(space, seed=1)
    explanation = ss.Explainer(ss.Sketch(spectrum), ss.DinucleotideShuffles(count=5))(sequences)
    means = spectrum.predict(shuffles.reshape(-1, 8)).reshape(2, 5).mean(axis=1)
    np.testing.assert_allclose(explanation.base_values, means, atol=1e-9)
    np.testing.assert_allclose(explanation.values.sum(axis=1) + means, spectrum.predict(sequences), atol=1e-9)


def test_standard_errors_are_as_large_as_errors():
    space = random_space((2, 3, 4, 1, 7, 5, 2, 3), seed=3)
    rng = np.random.default_rng(4)
    tables = [
        (support, rng.normal(size=sizes_of(space)[support])) for support in ([0], [4, 5], [1, 2], [2, 7])
    ]
    tables += [([i, (i + 3) % space.n], 0.1 * rng.normal(size=(7, 7))) for i in range(space.n)]

    def score(codes):
        digits = digits_of(space, codes)
        return sum(table[tuple(digits[:, support].T)] for support, table in tables)

    codes = space._random(rng, 1_000)
    sketch = ss.SparseRegressor(space).fit(codes, score(codes) + 0.3 * rng.normal(size=1_000)).sketch_
    x = space._random(rng, 300)
    explanation = ss.Explainer(sketch)(x)
    # The component of a table of one or two positions counts in equal parts for its positions.
    truth = np.zeros(x.shape)
    digits, every_digit = digits_of(space, x), sizes_of(space)
    for support, table in tables:
        table = table[tuple(slice(every_digit[i]) for i in support)]
        values = table[tuple(digits[:, support].T)]
        means = [
            table.mean(axis=tuple(j for j in range(table.ndim) if j != axis))[digits[:, i]]
            for axis, i in enumerate(support)
        ]
        for axis, i in enumerate(support):
            if len(support) == 1:
                truth[:, i] += values - table.mean()
            else:
                pair = values - means[0] - means[1] + table.mean()
                truth[:, i] += means[axis] - table.mean() + pair / 2
    errors = ((explanation.values - truth) ** 2).mean(axis=0)
    stated = (explanation.stderr**2).mean(axis=0)
    free = sizes_of(space) > 1
    assert 0.5 < (errors[free].mean() / stated[free].mean()) ** 0.5 < 1.5
    assert stated[~free].max() < 0.2 * stated[free].mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ss.Spectrum(LIBRARY, [[0, 0, 2, 0, 0, 0, 0, 0]], [1.0]), "entries must be 0 to 1"),
        (lambda: ss.Spectrum(LIBRARY, [[0, 1, 0, 0, 0, 0, 0, 0]], [1.0]), "entries must be 0 to 0"),
        (lambda: ss.Spectrum(LIBRARY, [[1, 0, 0, 0, 0, 0, 0, 0]], [1.0]), "real"),
        (lambda: ss.QueryDesign(LIBRARY, b=8), "b must be 1 to the number 7 of positions"),
        (lambda: ss.QueryDesign(LIBRARY, b=2, delays="coded"), "coded delays need the same letters"),
        (lambda: ss.plan(LIBRARY, 500, method="peel"), "the exact method evaluates all 864 sequences"),
        (lambda: ss.plan(LIBRARY, 863, method="exact"), "the exact transform evaluates all sequences"),
        (
            lambda: ss.DinucleotideShuffles(2).of(LIBRARY, ["AWTGASLD"]),
            "positions 1 and 2 have the letters 'W' and 'TW'",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ss.InputError) as caught:
        call()
    assert message in str(caught.value)
