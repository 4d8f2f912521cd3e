"""Spaces whose positions have letters of their own: every result equals its definition by enumeration."""

import json
import pickle

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch import _core, cli
from toys import moebius, shapley_values

SYMBOLS = "ABCDEFGHIJKLMNOPQRSTU"
LIBRARY = ss.SequenceSpace(["ACDE", "W", "WT", "GKR", "AC", "ST", "ILV", "DEK"])


def random_space(sizes, seed):
    """Return a space with random letters, as many as `sizes` at each position."""
    rng = np.random.default_rng(seed)
    return ss.SequenceSpace(["".join(rng.permutation(list(SYMBOLS))[:size]) for size in sizes])


def every(space):
    """Return the codes of all sequences, by nested loops over the letters of positions."""
    rows = [[]]
    for letters in space.letters:
        rows = [[*row, space.alphabet.index(letter)] for row in rows for letter in letters]
    return np.array(rows, dtype=np.uint8)


def function_of(space, seed):
    """Return a random function of codes: a value for each sequence, drawn independently."""
    codes = every(space)
    values = np.random.default_rng(seed).normal(size=len(codes))
    table = {row.tobytes(): value for row, value in zip(codes, values, strict=True)}
    return lambda rows: np.array([table[np.ascontiguousarray(row, dtype=np.uint8).tobytes()] for row in rows])


def played(function, space, x, background, weights):
    """Return v(T) for all coalitions T (bit masks), by enumeration of the background."""
    values = np.empty(2**space.n)
    for mask in range(2**space.n):
        inside = np.array([mask >> i & 1 for i in range(space.n)], dtype=bool)
        values[mask] = weights @ function(np.where(inside, x, background))
    return values


def library_score(codes):
    """Return a score of LIBRARY with effects, a pair and a triple of letters."""
    seqs = LIBRARY.decode(np.asarray(codes))
    return np.array(
        [
            (s[0] == "A")
            + 2.0 * (s[2:4] == "WK")
            - 1.5 * (s[6] == "V")
            + 0.5 * (s[4:6] == "AT" and s[7] == "E")
            for s in seqs
        ]
    )


# Sizes of the alphabets: at most 2,500 sequences, with constants and sizes without a common factor.
SIZES = st.lists(st.integers(1, 21), min_size=1, max_size=6).filter(lambda s: 2 <= np.prod(s) <= 2_500)


@given(sizes=SIZES, seed=st.integers(0, 2**31))
def test_codes_sizes_and_files(sizes, seed):
    space = random_space(sizes, seed)
    codes = every(space)
    assert space.size == len(codes)
    assert sorted("".join({*"".join(space.letters)})) == list(space.alphabet)
    np.testing.assert_array_equal(space.encode(space.decode(codes)), codes)
    assert pickle.loads(pickle.dumps(space)) == space == ss.SequenceSpace(space.letters)
    digits = space._digits(codes)
    assert (digits < space.allowed.sum(axis=1)).all()
    np.testing.assert_array_equal(space._of_digits(digits), codes)


@settings(max_examples=25)
@given(sizes=SIZES, seed=st.integers(0, 2**31), kind=st.sampled_from(["uniform", "product", "list"]))
def test_the_exact_sketch_and_its_explanations_equal_brute_force(sizes, seed, kind):
    space = random_space(sizes, seed)
    function, codes = function_of(space, seed), every(space)
    sketch = ss.sketch(function, space, budget=len(codes), inputs="codes", progress=False)
    assert sketch.method == "exact"
    np.testing.assert_allclose(sketch.predict(codes), function(codes), atol=1e-9)
    rng = np.random.default_rng(seed)
    x = codes[rng.integers(len(codes))]
    background, rows, weights = "uniform", codes, np.full(len(codes), 1.0 / len(codes))
    if kind == "product":
        background = space.allowed * rng.random(space.allowed.shape)
        background /= background.sum(axis=1, keepdims=True)
        weights = background[np.arange(space.n), codes].prod(axis=1)
    elif kind == "list":
        rows = codes[rng.integers(len(codes), size=3)]
        background, weights = rows, np.full(3, 1.0 / 3.0)
    values = played(function, space, x, rows, weights)
    explainer = ss.Explainer(sketch, background if kind != "list" else space.decode(rows))
    explanation = explainer(x[None])
    np.testing.assert_allclose(explanation.values[0], shapley_values(values, space.n), atol=1e-9)
    np.testing.assert_allclose(explanation.base_values[0], values[0], atol=1e-9)
    exact = moebius(values, space.n)
    interactions = explainer.interactions(x[None])
    for support, value in zip(interactions.supports, interactions.values[0], strict=True):
        assert value == pytest.approx(exact.pop(support), abs=1e-9)
    assert all(abs(value) < 1e-9 for value in exact.values())
    effects = explainer.mutation_effects(x[None])[0]
    assert (np.isnan(effects) == ~space.allowed).all()
    for i, a in np.argwhere(space.allowed):
        mutant = x.copy()
        mutant[i] = a
        change = function(mutant[None])[0] - function(x[None])[0]
        assert effects[i, a] == pytest.approx(change, abs=1e-9)


@pytest.mark.parametrize("method", ["regress", "trees", "distill"])
def test_every_method_learns_a_library(method, tmp_path):
    codes = every(LIBRARY)
    sketch = ss.sketch(
        library_score, LIBRARY, budget=600, method=method, inputs="codes", progress=False, effort="quick"
    )
    assert sketch.r2 > 0.98
    truth = library_score(codes)
    assert ((sketch.predict(codes) - truth) ** 2).mean() < 0.02 * truth.var()
    sketch.save(tmp_path / "library.safetensors")
    loaded = ss.load(tmp_path / "library.safetensors")
    assert loaded.space == LIBRARY
    np.testing.assert_array_equal(loaded.predict(codes), sketch.predict(codes))
    assert "letters by position: 864 sequences" in loaded.summary()


def test_amortised_values_of_a_library_are_those_of_its_predictor():
    codes = every(LIBRARY)
    values = library_score(codes)
    options = {"members": 1, "channels": 12, "hidden": 12, "epochs": 20, "rate": 1e-2, "decay": 0.1}
    networks = _core.Networks.train(LIBRARY._core, codes, values, None, seed=0, **options)
    poor = ss.fit(codes, values, LIBRARY, method="auto", effort="quick", max_terms=4, progress=False)._core
    parts = [("networks", 1.0, 0.9, networks)]
    predictor = _core.Predictor(LIBRARY._core, constant=0.0, parts=parts, r2=poor.info.r2, variances=None)
    sketch = ss.amortise(ss.Sketch._wrap(poor.with_predictor(predictor)))

    rows = codes[np.random.default_rng(1).permutation(len(codes))[:40]]
    explanation = ss.Explainer(sketch, of="amortised")(rows)
    scores = {row.tobytes(): score for row, score in zip(codes, sketch.predictor.predict(codes), strict=True)}
    weights = np.full(len(codes), 1 / len(codes))

    def score(rows):
        return np.array([scores[row.tobytes()] for row in rows])

    games = [played(score, LIBRARY, row, codes, weights) for row in rows]
    truth = np.array([shapley_values(game, LIBRARY.n) for game in games])
    assert (explanation.values[:, 1] == 0).all()
    error = np.sqrt(((explanation.values - truth) ** 2).mean() / (truth**2).mean())
    assert 0.5 * sketch.amortised_error < error < 2 * sketch.amortised_error < 0.4


@pytest.mark.parametrize("basis", ["letters", "characters"])
def test_intervals_of_a_noisy_library_hold_the_values_of_the_model(basis):
    space = ss.SequenceSpace(["ACGT", "CT", "AC", "ACGT", "AGT", "CG", "ACT", "A"])
    held = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        single, pair = rng.normal(size=(8, space.q)), rng.normal(size=(space.q, space.q))
        codes = np.stack([rng.choice(np.flatnonzero(row), 400) for row in space.allowed], axis=1)
        codes = codes.astype(np.uint8)

        def model(rows, single=single, pair=pair):
            singles = sum(effects[rows[:, i]] for i, effects in enumerate(single))
            return singles + pair[rows[:, 0], rows[:, 3]] + pair[rows[:, 4], rows[:, 6]]

        noisy = model(codes) + rng.normal(0, 0.5, len(codes))
        sketch = ss.SparseRegressor(space, basis=basis, random_state=0).fit(codes, noisy).sketch_
        exact = ss.sketch(model, space, budget=space.size, inputs="codes", progress=False)
        explanation = ss.Explainer(sketch)(codes[:20])
        errors = np.abs(explanation.values - ss.Explainer(exact)(codes[:20]).values)
        assert (explanation.stderr[:, 7] == 0).all()
        held.append((errors < 1.96 * explanation.stderr)[:, :7].mean())
    assert 0.9 < np.mean(held) < 1.0


def test_planted_terms_of_unequal_alphabets_are_recovered():
    space = random_space((2, 3, 4, 20) * 2, seed=4)
    rng = np.random.default_rng(5)
    terms = []
    for order in (1, 1, 1, 2, 2, 3):
        support = rng.choice(space.n, order, replace=False)
        letters = [int(rng.choice(np.flatnonzero(space.allowed[i]))) for i in support]
        terms.append((support, letters, rng.normal() + 2.0))

    def planted(codes):
        return sum(c * (codes[:, support] == letters).all(axis=1) for support, letters, c in terms)

    sketch = ss.sketch(planted, space, budget=2_000, method="regress", inputs="codes", progress=False)
    assert sketch.r2 > 0.999
    fresh = space._random(np.random.default_rng(6), 2_000)
    assert ((sketch.predict(fresh) - planted(fresh)) ** 2).mean() < 1e-3 * planted(fresh).var()


def test_queries_and_mutants_stay_in_the_space():
    for distribution in (
        "uniform",
        ss.Mutagenesis("AWTGASLD", rate=0.5),
        ss.Mutagenesis("AWTGASLD", counts=(1, 2, 3), letters={6: "IV"}),
        ss.Hybrids(["AWTGASLD", "CWWKCTVE"]),
        LIBRARY.allowed / LIBRARY.allowed.sum(axis=1, keepdims=True),
    ):
        plan = ss.plan(LIBRARY, 100, method="regress", distribution=distribution)
        codes = np.concatenate(list(plan.batches()))
        assert LIBRARY.allowed[np.arange(8), codes].all()
        assert len(np.unique(codes, axis=0)) == 100
    sketch = ss.sketch(library_score, LIBRARY, budget=864, inputs="codes", progress=False)
    best = ss.Explainer(sketch).best_mutants("CWTGASVD", 2, count=200, limit=0)
    assert LIBRARY.allowed[np.arange(8), best.codes].all()
    checked = ss.faithfulness(
        ss.Evaluator(library_score, inputs="codes"), ss.Explainer(sketch), ["CWTGASVD"], budget=500
    )
    # The score refuses sequences that are not in the library.
    assert checked.n_calls <= 500


def test_uniform_queries_have_all_letters_equally_often():
    space = random_space((2, 3, 4, 20, 1, 7), seed=1)
    codes = np.concatenate(list(ss.plan(space, 3_000, method="regress").batches()))
    for i, own in enumerate(space.allowed):
        counts = np.bincount(codes[:, i], minlength=space.q)[own]
        assert abs(counts - 3_000 / own.sum()).max() < 6 * np.sqrt(3_000 / own.sum())


def test_equal_letters_are_a_plain_space():
    space = ss.SequenceSpace(["TGCA"] * 3)
    assert space == ss.SequenceSpace(ss.DNA, 3)
    assert not space.varies
    assert space.letters == ["ACGT"] * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ss.SequenceSpace(["AC", ""]), "the letters of position 1: no letters"),
        (lambda: ss.SequenceSpace(["AC", "GAG"]), "the letters of position 1: 'G' twice"),
        (lambda: ss.SequenceSpace(["A", "A"]), "alphabet"),
        (lambda: ss.SequenceSpace([]), "the list of letters is empty"),
        (lambda: ss.SequenceSpace(["AC", 3]), "the letters of position 1"),
        (lambda: ss.SequenceSpace(["AC", "G\n"]), "position 1 have '\\n'"),
        (lambda: ss.SequenceSpace(["AC", "GT"], length=3), "length is 3, but letters are given for 2"),
        (lambda: ss.SequenceSpace("ACGT"), "length is missing"),
        (lambda: LIBRARY.encode(["AWTGASLD", "TWTGASLD"]), "sequence 1: letter 'T' at position 0"),
        (lambda: LIBRARY.encode(np.full((1, 8), 0)), "sequence 0: letter 'A' at position 1"),
        (
            lambda: ss.Explainer(exact(), np.full(len(LIBRARY.alphabet), 1 / 13)),
            "0 for letters that a position of the space cannot have",
        ),
        (lambda: ss.Explainer(exact(), ss.DinucleotideShuffles(2)), "shuffles move letters"),
        (lambda: ss.plan(LIBRARY, 99, distribution=ss.Mutagenesis("AWTGASLF")), "not in the alphabet"),
        (
            lambda: ss.plan(LIBRARY, 99, distribution=ss.Mutagenesis("AWTGASLD", letters={0: "AT"})),
            "at position 0 is not in 'ACDE'",
        ),
        (lambda: ss.plan(LIBRARY, 865, method="regress").total_queries == 864 or exact().space.size, None),
    ],
)
def test_bad_input(call, message):
    if message is None:
        assert call()
        return
    with pytest.raises(ss.InputError) as caught:
        call()
    assert message in str(caught.value)


def exact():
    return ss.sketch(library_score, LIBRARY, budget=864, inputs="codes", progress=False)


def test_the_command_line_takes_letters(capsys):
    letters = ",".join(LIBRARY.letters)
    assert cli.main(["plan", "--letters", letters, "--budget", "500", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["letters"] == LIBRARY.letters
    for arguments in (["--letters", letters, "--length", "3"], ["--alphabet", "DNA"], []):
        assert cli.main(["plan", *arguments, "--budget", "500"]) == 2
        assert "--letters" in capsys.readouterr().err
