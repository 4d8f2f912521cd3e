"""Terms with runs: stems, repeats and relations of the user, against brute force and in words."""

import itertools
import math
import pickle

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch import _core

RNA = ss.SequenceSpace(ss.RNA, length=6)
CODES = np.array(list(itertools.product(range(4), repeat=6)), dtype=np.uint8)
PAIRS = {"AU", "UA", "CG", "GC"}


def with_runs(space, terms, letters=None):
    """Return a sketch with these terms, over equal, complement and wobble, plus another sketch."""
    core = space._core
    names = ["equal", "complement", "wobble"] if space.alphabet in (ss.DNA, ss.RNA) else ["equal"]
    relations = [_core.Relation.named(core, name) for name in names]
    runs = _core.run_terms(core, relations, terms)
    if letters is None:
        return ss.Sketch._wrap(runs)
    parts = [runs, letters._core]
    return ss.Sketch._wrap(_core.combine(parts, [1.0, 1.0], constant=0.0, dropped=0.0, max_terms=None))


def stem_and_repeat():
    """Return a sketch of a stem of two pairs and a repeat of two symbols, and the same function."""
    sketch = with_runs(RNA, [([(1, 0, 5, 2, True)], [], 2.0), ([(0, 0, 3, 2, False)], [(2, 0b101)], -1.0)])

    def function(sequences):
        return [
            2.0 * (s[0] + s[5] in PAIRS and s[1] + s[4] in PAIRS) - (s[:2] == s[3:5] and s[2] in "AG")
            for s in sequences
        ]

    return sketch, function


def test_predictions_are_those_of_the_function():
    sketch, function = stem_and_repeat()
    sequences = RNA.decode(CODES)
    np.testing.assert_allclose(sketch.predict(sequences), function(sequences), atol=1e-12)
    np.testing.assert_allclose(sketch.spectrum.predict(sequences), function(sequences), atol=1e-12)


def shapley_values(function, x, background):
    """Return Shapley values by their definition, from all coalitions and background sequences."""
    n = len(x)
    scores = {}
    for size in range(n + 1):
        for present in itertools.combinations(range(n), size):
            mixed = background.copy()
            mixed[:, present] = x[list(present)]
            scores[present] = np.mean(function(RNA.decode(mixed)))
    values = np.zeros(n)
    for i in range(n):
        for present in (s for s in scores if i not in s):
            weight = math.factorial(len(present)) * math.factorial(n - len(present) - 1) / math.factorial(n)
            values[i] += weight * (scores[tuple(sorted((*present, i)))] - scores[present])
    return values


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 4**6 - 1), st.sampled_from(["uniform", "reference", "list", "shuffles"]))
def test_shapley_values_equal_brute_force(index, kind):
    sketch, function = stem_and_repeat()
    rng = np.random.default_rng(index)
    x = CODES[index]
    background, rows = {
        "uniform": ("uniform", CODES),
        "reference": (CODES[7], CODES[7:8]),
        "list": (CODES[[5, 90, 4000]], CODES[[5, 90, 4000]]),
        "shuffles": (shuffles := ss.DinucleotideShuffles(count=3, random_state=int(rng.integers(99))), None),
    }[kind]
    if rows is None:
        rows = _core.dinucleotide_shuffles(RNA._core, x[None], 3, shuffles.random_state)
    explanation = ss.Explainer(sketch, background=background)(x[None])
    np.testing.assert_allclose(explanation.values[0], shapley_values(function, x, rows), atol=1e-10)
    np.testing.assert_allclose(explanation.base_values, np.mean(function(RNA.decode(rows))), atol=1e-10)


def test_mutants_and_epistasis_are_those_of_the_function():
    sketch, function = stem_and_repeat()
    explainer = ss.Explainer(sketch)
    x = RNA.encode(["GAACUC"])
    effects = explainer.mutation_effects(x)
    for i, a in itertools.product(range(6), range(4)):
        mutant = x.copy()
        mutant[0, i] = a
        assert effects[0, i, a] == pytest.approx(function(RNA.decode(mutant))[0] - function(["GAACUC"])[0])
    mutants = explainer.best_mutants("AAAAAA", 2, count=3)
    assert max(mutants.scores) == pytest.approx(2.0)
    epistasis = explainer.epistasis(x)
    assert set(epistasis.pairs) == set(itertools.combinations(range(6), 2)) - {(2, 5), (3, 5)}


def test_runs_survive_averages_files_and_pickles(tmp_path):
    sketch, _ = stem_and_repeat()
    letters = ss.fit(CODES[::3], CODES[::3, 0] == 2.0, RNA, method="regress")
    both = with_runs(RNA, [([(1, 0, 5, 2, True)], [], 2.0)], letters)
    np.testing.assert_allclose(
        both.predict(CODES), letters.predict(CODES) + np.array(stem(RNA.decode(CODES))), atol=1e-10
    )
    sketch.save(tmp_path / "runs.safetensors")
    loaded = ss.load(tmp_path / "runs.safetensors")
    for copy in (loaded, pickle.loads(pickle.dumps(sketch))):
        assert copy.patterns == sketch.patterns or str(copy.patterns) == str(sketch.patterns)
        np.testing.assert_array_equal(copy.predict(CODES), sketch.predict(CODES))


def stem(sequences):
    return [2.0 * (s[0] + s[5] in PAIRS and s[1] + s[4] in PAIRS) for s in sequences]


@pytest.mark.parametrize(
    ("alphabet", "run", "words"),
    [
        ("ACGU", (1, 3, 17, 4, True), "positions 3-6 pair with 14-17"),
        ("ACGU", (1, 3, 17, 1, True), "position 3 pairs with 17"),
        ("ACGT", (2, 3, 17, 2, True), "positions 3-4 pair or wobble with 16-17"),
        ("ACGU", (1, 3, 14, 4, False), "positions 3-6 pair in parallel with 14-17"),
        ("ACGU", (0, 3, 14, 4, False), "positions 3-6 equal 14-17"),
        ("01", (0, 3, 14, 1, False), "position 3 equals 14"),
        ("01", (0, 3, 17, 4, True), "positions 3-6 equal 17-14"),
    ],
)
def test_runs_are_described_in_words(alphabet, run, words):
    space = ss.SequenceSpace(alphabet, length=18)
    sketch = with_runs(space, [([run], [], 1.0)])
    (pattern,) = sketch.patterns
    assert [str(r) for r in pattern.runs] == [words]
    assert pattern.letters == ""
    assert "runs       1 terms" in sketch.summary()


def test_a_relation_of_the_user_is_named():
    space = ss.SequenceSpace("ACGU", length=18)
    purines = _core.Relation(space._core, "both purines", [5, 0, 5, 0])
    sketch = ss.Sketch._wrap(_core.run_terms(space._core, [purines], [([(0, 1, 9, 2, True)], [], 1.0)]))
    assert str(sketch.patterns[0].runs[0]) == "positions 1-2 relate to 9-8 (both purines)"


def test_motifs_name_runs_with_their_effect():
    sketch, function = stem_and_repeat()
    sequences = RNA.decode(CODES)
    values = np.array(function(sequences), dtype=float)
    motifs = ss.Explainer(sketch).motifs(sequences=CODES)
    stem, repeat = motifs
    assert [str(run) for run in stem.runs] == ["positions 0-1 pair with 4-5"]
    assert [str(run) for run in repeat.runs] == ["positions 0-1 equal 3-4"]
    assert repeat.letters == "A or G at 2"
    has = np.array([s[:2] == s[3:5] and s[2] in "AG" for s in sequences])
    assert repeat.frequency == pytest.approx(has.mean(), abs=1e-12)
    assert repeat.found == pytest.approx(has.mean(), abs=1e-12)
    assert repeat.effect == pytest.approx(values[has].mean() - values.mean(), abs=1e-10)
    assert "positions 0-1 pair with 4-5" in str(motifs)
    assert ss.Explainer(sketch).sobol().variance == pytest.approx(values.var(), abs=1e-10)


@pytest.mark.parametrize(
    ("alphabet", "call", "message"),
    [
        (
            "ACDE",
            lambda core: _core.Relation.named(core, "complement"),
            "only DNA .* got stems .*'ACDE'|\"ACDE\"",
        ),
        ("01", lambda core: _core.Relation(core, "mine", [2, 0]), "relates '0' to '1', but not '1' to '0'"),
        ("01", lambda core: _core.Relation(core, "mine", [1, 2, 1]), "3 rows .* for 2 symbols"),
        (
            "ACGU",
            lambda core: _core.run_terms(
                core, [_core.Relation.named(core, "equal")], [([(0, 0, 1, 9, False)], [], 1.0)]
            ),
            "term 0: positions .* are connected, at most 7 can be for 4 symbols",
        ),
    ],
)
def test_relations_and_runs_that_do_not_fit_are_refused(alphabet, call, message):
    space = ss.SequenceSpace(alphabet, length=12)
    with pytest.raises(ss.InputError, match=message):
        call(space._core)


RNG = np.random.default_rng(11)
DNA10 = ss.SequenceSpace(ss.DNA, length=10)
X10 = RNG.integers(0, 4, (1_500, 10))


def hairpin(X):
    """Return 3 for a stem of three pairs, 0 to 2 with 9 to 7, minus 1 for G at position 4."""
    pairs = np.array([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    stem = pairs[X[:, 0], X[:, 9]] & pairs[X[:, 1], X[:, 8]] & pairs[X[:, 2], X[:, 7]]
    return 3.0 * stem - 1.0 * (X[:, 4] == 2)


def test_regression_finds_a_stem():
    regressor = ss.SparseRegressor(DNA10).fit(X10, hairpin(X10))
    sketch = regressor.sketch_
    assert sketch.r2 > 0.95
    stem = next(pattern for pattern in sketch.patterns if pattern.runs)
    assert str(stem.runs[0]) == "positions 0-2 pair with 7-9"
    assert 0.0 < stem.stderr < 0.5
    assert "complement" in sketch.summary()
    fresh = np.random.default_rng(12).integers(0, 4, (500, 10))
    explanation = ss.Explainer(sketch)(fresh)
    np.testing.assert_allclose(
        explanation.values.sum(axis=1) + explanation.base_values, sketch.predict(fresh), atol=1e-10
    )
    # Each of the six positions of the stem has an equal part of it.
    has = hairpin(fresh) > 1.5
    exact = 3.0 * (1 - 4.0**-3) / 6
    errors = np.abs(explanation.values[has][:, [0, 1, 2, 7, 8, 9]] - exact)
    assert (errors < 3 * explanation.stderr[has][:, [0, 1, 2, 7, 8, 9]] + 0.02).mean() > 0.8


def test_standard_errors_of_runs_are_those_of_their_coefficient_times_their_values():
    sketch = ss.SparseRegressor(DNA10, relations=["stems"]).fit(X10, hairpin(X10)).sketch_
    relations, terms, variances = sketch._core.runs()
    assert len(variances) == len(terms) > 0
    x = X10[:3].astype(np.uint8)
    total = sketch._core.standard_errors(x) ** 2
    parts = np.zeros_like(total)
    for (runs, sets, _), variance in zip(terms, variances, strict=True):
        unit = ss.Sketch._wrap(_core.run_terms(DNA10._core, relations, [(runs, sets, 1.0)]))
        parts += variance * ss.Explainer(unit)(x).values ** 2
    letters = sketch._core.to_bytes()
    assert letters  # the file has the variances too
    again = ss.Sketch._wrap(_core.Sketch.from_bytes(letters))
    np.testing.assert_array_equal(again._core.standard_errors(x) ** 2, total)
    assert (total >= parts * (1 - 1e-9)).all()


def test_a_relation_of_the_user_is_learned():
    purine = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
    relation = ss.Relation("purines", purine)
    y = 2.0 * purine[X10[:, 1], X10[:, 5]] * purine[X10[:, 2], X10[:, 6]]
    sketch = ss.SparseRegressor(DNA10, relations=[relation]).fit(X10, y).sketch_
    runs = [str(pattern.runs[0]) for pattern in sketch.patterns if pattern.runs]
    assert "positions 1-2 relate to 5-6 (purines)" in runs
    assert pickle.loads(pickle.dumps(relation)) == relation


def test_relations_are_not_used_if_they_do_not_pay():
    y = 1.0 * (X10[:, 3] == 1) + 0.5 * (X10[:, 6] == 2)
    with_relations = ss.SparseRegressor(DNA10).fit(X10, y).sketch_
    without = ss.SparseRegressor(DNA10, relations=[]).fit(X10, y).sketch_
    np.testing.assert_array_equal(with_relations.predict(X10), without.predict(X10))
    assert not any(pattern.runs for pattern in with_relations.patterns)


@pytest.mark.parametrize(
    ("alphabet", "relations", "message"),
    [
        (ss.PROTEIN, ["stems"], "relations must be 'repeats' or a relation of your own .* only DNA"),
        (ss.DNA, ["stem"], "relations must be one of 'stems', .* did you mean 'stems'"),
        (ss.DNA, "stems", "relations must be a list of relations"),
        (ss.DNA, [3], "relations must be one of"),
        (
            ss.DNA,
            [ss.Relation("mine", np.eye(3, dtype=bool))],
            r"'mine' must have shape \(4, 4\) .* got \(3, 3\)",
        ),
        (
            ss.DNA,
            [ss.Relation("mine", np.tri(4, dtype=bool))],
            "relations must be symmetric, got \"mine\", which relates 'C' to 'A', but not 'A' to 'C'",
        ),
        (ss.DNA, [ss.Relation("mine", np.zeros((4, 4), dtype=bool))], "relates no symbols"),
    ],
)
def test_relations_that_do_not_fit_are_refused(alphabet, relations, message):
    space = ss.SequenceSpace(alphabet, length=10)
    with pytest.raises(ss.InputError, match=message):
        ss.SparseRegressor(space, relations=relations).fit(X10, hairpin(X10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine", np.ones((2, 3))), r"shape \(q, q\), got \(2, 3\)"),
        (("mine", np.full((2, 2), 0.5)), "must contain booleans, got float64"),
        ((3, np.eye(2)), "name must be a string"),
    ],
)
def test_malformed_relations_are_refused(arguments, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Relation(*arguments)
