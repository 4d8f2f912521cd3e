"""Explanations of a predictor: sampled values against brute force, and views that are exact."""

import csv
import json
import subprocess
import sys
from itertools import combinations
from math import comb

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core

SPACE = ss.SequenceSpace(ss.DNA, 6)
Q, N = SPACE.q, SPACE.n
EVERY = np.indices((Q,) * N).reshape(N, -1).T.astype(np.uint8)
CODES = EVERY[np.random.default_rng(1).permutation(len(EVERY))[:60]]
WEIGHTS = np.random.default_rng(2).dirichlet(np.ones(Q), N)
REFERENCES = EVERY[np.random.default_rng(3).permutation(len(EVERY))[:5]]
BACKGROUNDS = {
    "uniform": "uniform",
    "product": WEIGHTS,
    "reference": REFERENCES[:1],
    "references": REFERENCES,
    "shuffles": ss.DinucleotideShuffles(4, random_state=2),
}


def function(codes):
    """Counts without positions, which have interactions of all orders, and a pair."""
    counts = (codes == 1).sum(axis=1)
    waves = np.cos(codes.astype(int) @ np.arange(codes.shape[1]))
    return np.sin(1.5 * counts) + 0.8 * (codes[:, 1] == codes[:, 4]) + 0.3 * codes[:, 0] + 0.3 * waves


@pytest.fixture(scope="module")
def sketch():
    """A closed form with few terms, and a predictor that is much better."""
    codes = EVERY[np.random.default_rng(0).permutation(len(EVERY))[:1000]]
    good = ss.fit(codes, function(codes), SPACE, method="distill", progress=False)
    poor = ss.fit(codes, function(codes), SPACE, method="auto", effort="quick", max_terms=6, progress=False)
    return ss.Sketch._wrap(poor._core.with_predictor(good._core.predictor))


def probabilities(background, row):
    """The probability of each sequence of the space under a background, for the explained sequence."""
    if isinstance(background, str):
        return np.full(len(EVERY), 1.0 / len(EVERY))
    if isinstance(background, ss.DinucleotideShuffles):
        references = background.of(SPACE, row[None])[0]
    elif background.dtype.kind == "f":
        return np.prod([background[i, EVERY[:, i]] for i in range(N)], axis=0)
    else:
        references = background
    return np.array([(references == every).all(axis=1).mean() for every in EVERY])


def game(predict, background, row):
    """The value of each coalition, an array with two entries for each position."""
    table, chances = predict(EVERY), probabilities(background, row)
    values = np.empty((2,) * N)
    for inside in np.ndindex(values.shape):
        mixed = np.where(np.array(inside, dtype=bool), row, EVERY)
        values[inside] = chances @ table[mixed.astype(int) @ Q ** np.arange(N)[::-1]]
    return values


def by_definition(predict, background, row):
    """Shapley values, and Shapley interactions of pairs, as means over orders of the positions."""
    values = game(predict, background, row)
    singles, pairs = np.zeros(N), np.zeros((N, N))
    for i in range(N):
        gain = np.diff(values, axis=i).squeeze(axis=i)
        singles[i] = sum(gain[others] / (N * comb(N - 1, sum(others))) for others in np.ndindex(gain.shape))
    for i, j in combinations(range(N), 2):
        gain = np.diff(np.diff(values, axis=j), axis=i).squeeze(axis=(i, j))
        pairs[i, j] = sum(
            gain[others] / ((N - 1) * comb(N - 2, sum(others))) for others in np.ndindex(gain.shape)
        )
    return singles, pairs, values[(0,) * N]


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_sampled_values_and_pairs_agree_with_brute_force_within_their_errors(sketch, kind):
    # With one reference, 50 evaluations are fewer than all coalitions of six positions.
    background, evaluations = BACKGROUNDS[kind], 50 if kind == "reference" else 200
    explainer = ss.Explainer(sketch, background, of="predictor", evaluations=evaluations, random_state=4)
    explanation = explainer(CODES)
    pairs = explainer.interactions(CODES, index="SII")
    expected = [by_definition(sketch.predictor.predict, background, row) for row in CODES]
    singles = np.array([each[0] for each in expected])
    upper = np.triu_indices(N, 1)
    of_pairs = np.array([each[1][upper] for each in expected])
    np.testing.assert_allclose(
        explanation.values.sum(axis=1) + explanation.base_values,
        sketch.predictor.predict(CODES),
        atol=1e-9,
    )
    assert explanation.of == pairs.of == "predictor"
    assert explanation.r2 == sketch.predictor.r2
    sampled = np.full(len(CODES), True)
    if kind == "reference":
        # Games of up to five positions have at most 32 coalitions, and are exact.
        sampled = (background[0] != CODES).sum(axis=1) > 5
        assert 0 < sampled.sum() < len(CODES)
        np.testing.assert_allclose(explanation.values[~sampled], singles[~sampled], atol=1e-9)
        np.testing.assert_allclose(pairs.values[~sampled, N:], of_pairs[~sampled], atol=1e-9)
    covers(explanation.values[sampled], singles[sampled], explanation.sampling_stderr[sampled])
    if kind != "reference":
        covers(pairs.values[:, N:], of_pairs, pairs.stderr[:, N:])


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_values_of_a_precision_agree_with_brute_force_within_their_errors(sketch, kind):
    # With a precision, values come from walks. Games with few references have few coalitions, and are exact.
    background = BACKGROUNDS[kind]
    expected = np.array([by_definition(sketch.predictor.predict, background, row)[0] for row in CODES])
    for precision in (0.3, 0.1):
        explainer = ss.Explainer(sketch, background, of="predictor", precision=precision, random_state=4)
        explanation = explainer(CODES)
        scores = sketch.predictor.predict(CODES)
        np.testing.assert_allclose(
            explanation.values.sum(axis=1) + explanation.base_values, scores, atol=1e-9
        )
        if explanation.sampling_stderr.any():
            covers(explanation.values, expected, explanation.sampling_stderr)
        else:
            assert kind not in ("uniform", "product")
            np.testing.assert_allclose(explanation.values, expected, atol=1e-9)
        alone = explainer(CODES[7:9])
        np.testing.assert_allclose(alone.values, explanation.values[7:9], atol=1e-9)


@pytest.mark.parametrize("count", [3, 40])
def test_values_under_references_agree_with_all_coalitions_of_each(count):
    space, rng = ss.SequenceSpace(ss.DNA, 10), np.random.default_rng(8)
    codes = rng.integers(0, 4, (600, 10), dtype=np.uint8)
    sketch = ss.fit(codes, function(codes), space, method="distill", progress=False)
    references, explained = codes[:count], codes[-30:]
    # With one reference, 2 ** 10 evaluations are all coalitions.
    alone = [ss.Explainer(sketch, [row], of="predictor", evaluations=1024) for row in references]
    expected = [explainer(explained) for explainer in alone]
    assert not any(explanation.sampling_stderr.any() for explanation in expected)
    mean = np.mean([explanation.values for explanation in expected], axis=0)
    base_value = np.mean([explanation.base_values[0] for explanation in expected])
    ratios = []
    for seed in range(4):
        explainer = ss.Explainer(sketch, references, of="predictor", precision=0.2, random_state=seed)
        walks = explainer(explained)
        np.testing.assert_allclose(walks.base_values, base_value, atol=1e-5)
        sampled = walks.sampling_stderr > 0.0
        np.testing.assert_allclose(walks.values[~sampled], mean[~sampled], atol=1e-5)
        ratios.append((walks.values - mean)[sampled] / walks.sampling_stderr[sampled])
    # Each reference has about as many walks, which makes errors smaller than those of random references.
    ratios = np.concatenate(ratios)
    assert len(ratios) >= 100
    assert (np.abs(ratios) <= 1.96).mean() >= 0.91
    assert 0.5 < np.sqrt((ratios**2).mean()) < 1.2


def test_values_of_networks_along_walks_agree_with_many_coalitions():
    space = ss.SequenceSpace(ss.DNA, 24)
    codes = np.random.default_rng(0).integers(0, 4, (1500, 24), dtype=np.uint8)
    places = np.lib.stride_tricks.sliding_window_view(codes, 4, axis=1)
    values = (places == [2, 0, 3, 1]).sum(axis=2).max(axis=1) + 0.3 * codes[:, 3]
    sketch = ss.fit(codes, values, space, method="auto", effort="standard", progress=False)
    assert "networks" in {part.kind for part in sketch.predictor.parts}
    explained, wild_type = codes[:8], "ACGT" * 6
    for background in ("uniform", wild_type):
        many = ss.Explainer(sketch, background, of="predictor", evaluations=20_000)(explained)
        walks = ss.Explainer(sketch, background, of="predictor", precision=0.1)(explained)
        size = np.sqrt((many.values**2).mean())
        assert np.sqrt((walks.sampling_stderr**2).mean()) < 0.11 * size
        errors = np.hypot(walks.sampling_stderr, many.sampling_stderr)
        np.testing.assert_allclose(walks.values.sum(axis=1), many.values.sum(axis=1), atol=0.1 * size)
        inside = np.abs(walks.values - many.values) <= 1.96 * errors + 1e-6 * size
        assert inside.mean() >= 0.91


def covers(values, expected, errors):
    """Check that 95 % intervals hold about 95 % of the expected values; values without errors are exact."""
    exact = errors == 0.0
    np.testing.assert_allclose(values[exact], expected[exact], atol=1e-9)
    inside = np.abs(values - expected)[~exact] <= 1.96 * errors[~exact]
    assert 0.91 <= inside.mean() < 1.0


def test_pairs_under_one_reference_agree_with_brute_force_within_their_errors():
    n = 9
    space = ss.SequenceSpace("01", n)
    every = np.indices((2,) * n).reshape(n, -1).T.astype(np.uint8)

    def model(codes):
        return np.sin(codes.sum(axis=1)) + 0.3 * codes[:, 0] * codes[:, 3]

    sketch = ss.fit(every[::2], model(every[::2]), space, method="regress", progress=False)
    codes = every[every.sum(axis=1) >= n - 1]
    explainer = ss.Explainer(sketch, "0" * n)
    refined = explainer.refine(
        ss.Evaluator(model, inputs="codes"), codes, calls_per_sequence=200, index="SII", progress=False
    )
    exact = ss.Explainer(ss.sketch(model, space, budget=512, inputs="codes", progress=False), "0" * n)
    expected = exact.interactions(codes, index="SII").dense()
    upper = np.triu_indices(n, 1)
    covers(refined.values[:, n:], expected[:, upper[0], upper[1]], refined.stderr[:, n:])


def test_precision_and_evaluations(sketch):
    random = np.random.default_rng(5).integers(0, Q, (500, N))
    typical = np.sqrt((ss.Explainer(sketch, of="closed form")(random).values ** 2).mean())
    for precision in (0.5, 0.1):
        explanation = ss.Explainer(sketch, of="predictor", precision=precision)(CODES)
        errors = np.sqrt((explanation.sampling_stderr**2).mean(axis=1))
        size = np.maximum(np.sqrt((explanation.values**2).mean(axis=1)), typical)
        assert (errors < 1.4 * precision * size).all()
        assert (errors < 1.05 * precision * size).mean() > 0.7
    few, more = (ss.Explainer(sketch, of="predictor", evaluations=count)(CODES) for count in (100, 400))
    ratio = np.sqrt((few.sampling_stderr**2).mean() / (more.sampling_stderr**2).mean())
    assert 1.7 < ratio < 2.6


def test_a_sequence_has_the_same_values_in_any_batch_and_any_explainer(sketch):
    explainer = ss.Explainer(sketch, of="predictor", precision=0.2)
    together = explainer(CODES)
    again = ss.Explainer(sketch, of="predictor", precision=0.2)
    np.testing.assert_array_equal(again(CODES[7:9]).values, together.values[7:9])
    streamed = [part.values for part in again.stream([CODES[:2], CODES[2:]])]
    np.testing.assert_array_equal(np.concatenate(streamed), together.values)
    other = ss.Explainer(sketch, of="predictor", precision=0.2, random_state=1)(CODES)
    assert not np.array_equal(other.values, together.values)


def test_the_closed_form_is_explained_as_before_and_best_takes_what_is_better(sketch):
    closed = ss.Explainer(sketch, of="closed form")
    explanation = closed(CODES)
    np.testing.assert_array_equal(explanation.values, sketch._components.shapley_values(CODES))
    assert (closed.of, explanation.of, explanation.r2) == ("closed form", "closed form", sketch.r2)
    assert explanation.sampling_stderr is None
    best = ss.Explainer(sketch)
    assert sketch.predictor.r2 > sketch.r2 + 0.05
    assert best.of == best(CODES[:2]).of == "predictor"
    # What the predictor does not have comes from the closed form, and says so.
    assert best.interactions(CODES[:2], index="SII").of == "predictor"
    assert best.interactions(CODES[:2], index="FSII").of == "closed form"
    assert best.interactions(CODES[:2]).of == best.sobol().of == best.motifs().of == "closed form"
    values = best.interactions(CODES[:2], index="SV")
    assert values.supports == [(i,) for i in range(N)]
    np.testing.assert_array_equal(values.values, best(CODES[:2]).values)
    assert best.attribution_map(CODES[:5]).of == "predictor"
    assert "the predictor (R² 0." in str(best(CODES[:2])).splitlines()[0]
    predictor = sketch._core.predictor
    weak = _core.Predictor(
        SPACE._core,
        constant=0.0,
        parts=[("regress", 1.0, 0.5, sketch._core)],
        r2=_core.RSquared(np.arange(20.0), np.arange(20.0) % 7, None, sequences=list(range(20)), gain=0.0),
    )
    assert weak.r2.value < sketch.r2 < predictor.r2.value
    assert ss.Explainer(ss.Sketch._wrap(sketch._core.with_predictor(weak))).of == "closed form"


def test_mutations_of_the_predictor_are_its_own_predictions(sketch):
    explainer, predict = ss.Explainer(sketch), sketch.predictor.predict
    rows = CODES[:3]
    effects, epistasis = explainer.mutation_effects(rows), explainer.epistasis(rows)
    assert epistasis.of == "predictor"
    assert epistasis.pairs == list(combinations(range(N), 2))
    for b, row in enumerate(rows):
        for i, a in np.ndindex(N, Q):
            mutant = row.copy()
            mutant[i] = a
            change = predict(mutant[None])[0] - predict(row[None])[0]
            assert effects[b, i, a] == pytest.approx(change, abs=1e-9)
            for j, c in np.ndindex(N, Q):
                if i < j:
                    double = mutant.copy()
                    double[j] = c
                    expected = predict(double[None])[0] - predict(row[None])[0] - change - effects[b, j, c]
                    pair = epistasis.pairs.index((i, j))
                    assert epistasis.values[b, pair, a, c] == pytest.approx(expected, abs=1e-9)
    mutants = explainer.best_mutants(rows[0], 2, count=3)
    differ = (rows[0] != EVERY).sum(axis=1) == 2
    np.testing.assert_allclose(mutants.scores, np.sort(predict(EVERY[differ]))[-3:][::-1], atol=1e-9)
    assert mutants.exact
    beam = explainer.best_mutants(rows[0], 2, count=3, limit=0)
    np.testing.assert_allclose(beam.scores, mutants.scores, atol=1e-9)


def test_standard_errors_are_those_of_the_model(sketch):
    explainer = ss.Explainer(sketch, of="predictor", precision=0.1)
    explanation = explainer(EVERY[::80])
    unknown = sketch._core.predictor.variances
    np.testing.assert_allclose(
        explanation.stderr, np.sqrt(explanation.sampling_stderr**2 + unknown), rtol=1e-12
    )
    expected = np.array([by_definition(function, "uniform", row)[0] for row in EVERY[::80]])
    inside = np.abs(explanation.values - expected) <= 1.96 * explanation.stderr
    assert inside.mean() >= 0.9
    with pytest.raises(ss.InputError, match=r"uniform background only.*Explainer\.refine"):
        ss.Explainer(sketch, WEIGHTS, of="predictor")(CODES[:1]).stderr  # noqa: B018


def test_refine_with_the_predictor_needs_fewer_calls(sketch):
    def model(codes):
        return function(np.asarray(codes))

    evaluator = ss.Evaluator(model, inputs="codes")
    expected = np.array([by_definition(function, "uniform", row)[0] for row in CODES])
    errors = {}
    for of in ("closed form", "best"):
        explainer = ss.Explainer(sketch, of=of)
        refined = explainer.refine(evaluator, CODES, calls_per_sequence=60, progress=False)
        assert refined.of == "model"
        covers(refined.values, expected, refined.stderr)
        errors[of] = np.sqrt(((refined.values - expected) ** 2).mean())
    assert errors["best"] < 0.8 * errors["closed form"]
    pairs = ss.Explainer(sketch).refine(evaluator, CODES, calls_per_sequence=60, index="SII", progress=False)
    upper = np.triu_indices(N, 1)
    of_pairs = np.array([by_definition(function, "uniform", row)[1][upper] for row in CODES])
    covers(pairs.values[:, N:], of_pairs, pairs.stderr[:, N:])


def test_a_control_variate_of_another_function_is_not_worse_than_none():
    space = ss.SequenceSpace(ss.DNA, 12)
    rng = np.random.default_rng(0)
    table, pair = rng.normal(size=(12, 4)), rng.normal(size=(4, 4))

    def model(codes):
        return table[np.arange(12), codes].sum(axis=1) + 2.0 * pair[codes[:, 2], codes[:, 7]]

    def other(codes):
        return 20.0 * np.cos(codes @ np.arange(1.0, 13.0))

    codes = rng.integers(0, 4, (40, 12)).astype(np.uint8)
    nothing = ss.fit(codes, np.ones(40), space, method="regress", progress=False)
    many = rng.integers(0, 4, (1_000, 12)).astype(np.uint8)
    wrong = ss.fit(many, other(many) + 30.0 * pair[many[:, 1], many[:, 4]], space, progress=False)
    exact = np.tile(0.0, (len(codes), 12))
    exact += table[np.arange(12), codes] - table.mean(axis=1)
    moved = pair - pair.mean()
    rows, columns = moved.mean(axis=1), moved.mean(axis=0)
    joint = moved[codes[:, 2], codes[:, 7]] - rows[codes[:, 2]] - columns[codes[:, 7]]
    exact[:, 2] += 2.0 * (rows[codes[:, 2]] + joint / 2.0)
    exact[:, 7] += 2.0 * (columns[codes[:, 7]] + joint / 2.0)
    errors = []
    for sketch in (nothing, wrong):
        explainer = ss.Explainer(sketch, of="closed form")
        refined = explainer.refine(
            ss.Evaluator(model, inputs="codes"), codes, calls_per_sequence=200, progress=False
        )
        errors.append(np.sqrt(((refined.values - exact) ** 2).mean()))
    assert errors[1] < 1.15 * errors[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": "model"}, "of must be one of 'best', 'closed form', 'predictor'"),
        ({"precision": 0.0}, "precision must be above 0, got 0.0"),
        ({"precision": float("nan")}, "precision"),
        ({"evaluations": 31}, "evaluations must be at least 32"),
        ({"random_state": -1}, "random_state must be at least 0"),
        ({"progress": 3}, "progress"),
    ],
)
def test_bad_options(sketch, options, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Explainer(sketch, **options)


def test_what_a_predictor_does_not_have_names_the_closed_form(sketch):
    explainer = ss.Explainer(sketch, of="predictor")
    for what, call in [
        ("Sobol indices", explainer.sobol),
        ("motifs", explainer.motifs),
        ("FSII interactions up to order 2", lambda: explainer.interactions(CODES[:1], index="FSII")),
        (
            "SII interactions up to order 3",
            lambda: explainer.interactions(CODES[:1], index="SII", max_order=3),
        ),
    ]:
        with pytest.raises(ss.InputError, match=f"{what} of a predictor.*of='closed form'"):
            call()


def test_the_command_line_explains_the_predictor_and_says_so(sketch, tmp_path):
    pytest.importorskip("click", reason="pip install 'shapsketch[cli]'")
    path, fasta = str(tmp_path / "a.safetensors"), tmp_path / "a.fasta"
    sketch.save(path)
    fasta.write_text(">one\nACGTGA\n>two\nGAGATT\n")

    def run(name, *arguments):
        table = tmp_path / f"{name}.csv"
        command = [sys.executable, "-m", "shapsketch.cli", *arguments, "-o", str(table), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = list(csv.DictReader(table.read_text().splitlines()))
        return rows, json.loads(done.stdout)

    words = ["ACGTGA", "GAGATT"]
    rows, report = run("best", "explain", path, str(fasta), "--precision", "0.2", "--stderr")
    assert report["of"] == "predictor"
    assert float(report["r2"]) == pytest.approx(sketch.predictor.r2, rel=1e-5)
    expected = ss.Explainer(sketch, precision=0.2)(words)
    for i in range(N):
        values = [float(row[f"p{i}"]) for row in rows]
        np.testing.assert_allclose(values, expected.values[:, i])
        errors = [float(row[f"p{i}_stderr"]) for row in rows]
        np.testing.assert_allclose(errors, expected.stderr[:, i])
    rows, report = run("closed", "explain", path, str(fasta), "--of", "closed-form")
    assert report["of"] == "closed form"
    closed = ss.Explainer(sketch, of="closed form")
    np.testing.assert_allclose([float(row["p0"]) for row in rows], closed(words).values[:, 0])
    rows, report = run("mutate", "mutate", path, str(fasta), "--of", "predictor")
    assert report["of"] == "predictor"
    effects = ss.Explainer(sketch, of="predictor").mutation_effects(words)
    changes = np.array([float(row["change"]) for row in rows])
    np.testing.assert_allclose(np.sort(changes), np.sort(effects[effects != 0.0]))
