"""Amortised explanations: a network that gives the Shapley values of the predictor."""

import csv
import pickle
import subprocess
import sys

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core

SPACE = ss.SequenceSpace("ABC", 6)
Q, N = SPACE.q, SPACE.n
EVERY = np.indices((Q,) * N).reshape(N, -1).T.astype(np.uint8)
WEIGHTS = np.random.default_rng(2).dirichlet(np.ones(Q), N)
BACKGROUNDS = {"uniform": "uniform", "product": WEIGHTS, "reference": "ABCABC"}


def function(codes):
    """Counts without positions, which have interactions of all orders, and a pair."""
    pairs = (codes[:, 1:] == codes[:, :-1]).sum(axis=1)
    return np.sin(1.5 * pairs) + 0.8 * (codes[:, 1] == codes[:, 4]) + 0.3 * codes[:, 0]


@pytest.fixture(scope="module")
def sketch():
    """A closed form with few terms, and a predictor of two networks and a closed form."""
    values = function(EVERY)
    options = {
        "members": 2,
        "channels": 12,
        "hidden": 12,
        "epochs": 20,
        "rate": 1e-2,
        "decay": 0.1,
        "seed": 0,
    }
    networks = _core.Networks.train(SPACE._core, EVERY, values, None, **options)
    poor = ss.fit(EVERY, values, SPACE, method="auto", effort="quick", max_terms=6, progress=False)
    r2 = ss.fit(EVERY, values, SPACE, method="auto", effort="quick", progress=False)._core.info.r2
    parts = [("networks", 0.8, 0.9, networks), ("regress", 0.2, 0.5, poor._core)]
    variances = np.full(N, 1e-4)
    predictor = _core.Predictor(SPACE._core, constant=0.1, parts=parts, r2=r2, variances=variances)
    return ss.Sketch._wrap(poor._core.with_predictor(predictor))


@pytest.fixture(scope="module")
def trained(sketch):
    return {name: ss.amortise(sketch, background) for name, background in BACKGROUNDS.items()}


def exact(predictor, background, row):
    """Shapley values of a predictor by enumeration of all coalitions."""
    if isinstance(background, np.ndarray):
        chances = np.prod([background[i, EVERY[:, i]] for i in range(N)], axis=0)
    elif background == "uniform":
        chances = np.full(len(EVERY), 1.0 / len(EVERY))
    else:
        chances = (SPACE.encode([background]) == EVERY).all(axis=1).astype(float)
    scores, games = predictor.predict(EVERY), np.empty(2**N)
    for mask in range(2**N):
        inside = (mask >> np.arange(N) & 1).astype(bool)
        games[mask] = chances @ scores[np.where(inside, row, EVERY) @ Q ** np.arange(N - 1, -1, -1)]
    sizes = np.array([bin(mask).count("1") for mask in range(2**N)])
    factorial = np.cumprod([1, *range(1, N + 1)])
    values = np.empty(N)
    for i in range(N):
        without = np.flatnonzero(~(np.arange(2**N) >> i & 1).astype(bool))
        weights = factorial[sizes[without]] * factorial[N - 1 - sizes[without]] / factorial[N]
        values[i] = weights @ (games[without | 1 << i] - games[without])
    return values


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_values_are_close_to_those_of_the_predictor_and_the_error_is_stated(trained, name):
    codes = EVERY[np.random.default_rng(5).permutation(len(EVERY))[:60]]
    explainer = ss.Explainer(trained[name], BACKGROUNDS[name], of="amortised")
    explanation = explainer(codes)
    truth = np.array([exact(trained[name].predictor, BACKGROUNDS[name], row) for row in codes])
    error = np.sqrt(((explanation.values - truth) ** 2).mean())
    closed_form = ss.Explainer(trained[name], BACKGROUNDS[name], of="closed form")(codes).values
    assert error < 0.5 * np.sqrt(((closed_form - truth) ** 2).mean())
    stated = trained[name].amortised_error * np.sqrt((truth**2).mean())
    assert 0.6 < error / stated < 1.6
    held = np.abs(explanation.values - truth) <= 1.96 * explanation.sampling_stderr
    assert held.mean() > 0.85
    assert explanation.of == "amortised predictor"
    assert explanation.explained.error == trained[name].amortised_error
    assert explanation.r2 == trained[name].predictor.r2
    assert f"error {trained[name].amortised_error:.1%}" in str(explanation.explained)
    assert "amortised" in trained[name].summary()
    sampled = ss.Explainer(trained[name], BACKGROUNDS[name], of="predictor", progress=False)
    assert explainer.base_value == pytest.approx(sampled.base_value, abs=0.02)
    assert explanation.base_values[0] == explainer.base_value


def with_errors(sketch, network, error, sampling):
    """A sketch with a network that states these errors."""
    uniform = _core.Background.uniform(SPACE._core)
    core = _core.Amortised(network, uniform, base_value=0.0, error=error, size=0.3, sampling=sampling)
    return ss.Sketch._wrap(sketch._core.with_amortised(core))


def test_best_takes_amortised_values_for_large_batches_if_their_error_is_small(sketch):
    codes, options = EVERY[:200], {"evaluations": 32, "progress": False}
    # The variances of the predictor are 0.01 squared.
    uniform = _core.Background.uniform(SPACE._core)
    network = _core.ValueNetwork.train(sketch._core.predictor, sketch._core, uniform, seed=0)
    good, bad = (with_errors(sketch, network, error, 0.02) for error in (0.023, 0.025))
    explainer = ss.Explainer(good, **options)
    assert explainer(codes[:199]).of == explainer.explained.of == "predictor"
    assert explainer.attribution_map(codes[:199]).of == "predictor"
    many, amortised = explainer(codes), ss.Explainer(good, of="amortised")
    assert many.of == explainer.attribution_map(codes).of == "amortised predictor"
    np.testing.assert_array_equal(many.values, amortised(codes).values)
    assert ss.Explainer(good, of="predictor", **options)(codes).of == "predictor"
    assert ss.Explainer(good, of="closed form")(codes).of == "closed form"
    # It is for the uniform background only.
    assert ss.Explainer(good, "ABCABC", **options)(codes).of == "predictor"
    assert ss.Explainer(bad, **options)(codes).of == "predictor"
    assert ss.Explainer(bad, of="amortised")(codes).of == "amortised predictor"


def test_only_shapley_values_are_amortised(trained):
    explainer = ss.Explainer(trained["uniform"], of="amortised", evaluations=64, progress=False)
    predictor = ss.Explainer(trained["uniform"], of="predictor", evaluations=64, progress=False)
    codes = EVERY[100:102]
    np.testing.assert_array_equal(explainer.mutation_effects(codes), predictor.mutation_effects(codes))
    assert explainer.interactions(codes, index="SII").of == "predictor"
    with pytest.raises(ss.InputError, match="only the closed form has them"):
        explainer.sobol()
    assert pickle.loads(pickle.dumps(explainer))(codes).of == "amortised predictor"


def test_the_standard_errors_include_what_the_predictor_does_not_know(trained):
    explanation = ss.Explainer(trained["uniform"], of="amortised")(EVERY[:3])
    expected = np.hypot(explanation.sampling_stderr, 0.01)
    np.testing.assert_allclose(explanation.stderr, expected)


def test_files_and_pickles_contain_the_network(trained, tmp_path):
    path = tmp_path / "a.safetensors"
    for name, one in trained.items():
        one.save(path)
        for other in (ss.load(path), pickle.loads(pickle.dumps(one))):
            explain = [ss.Explainer(s, BACKGROUNDS[name], of="amortised")(EVERY[:50]) for s in (one, other)]
            np.testing.assert_array_equal(explain[0].values, explain[1].values)
            assert explain[0].explained == explain[1].explained
            other.save(tmp_path / "b.safetensors")
            assert path.read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_bad_input_says_what_to_do(sketch, trained):
    with pytest.raises(ss.InputError, match=r"no amortised predictor.*ss\.amortise"):
        ss.Explainer(sketch, of="amortised")
    for background in ("product", "reference"):
        with pytest.raises(ss.InputError, match=r"another background.*ss\.amortise"):
            ss.Explainer(trained["uniform"], BACKGROUNDS[background], of="amortised")
    for background in (["ABCABC", "CBACBA"], ss.DinucleotideShuffles(2)):
        with pytest.raises(ss.InputError, match="independent positions"):
            ss.amortise(sketch, background)
        with pytest.raises(ss.InputError, match="another background"):
            ss.Explainer(trained["uniform"], background, of="amortised")
    with pytest.raises(ss.InputError, match="no predictor with networks"):
        ss.amortise(ss.Sketch._wrap(sketch._core.without_predictor()))
    with pytest.raises(ss.InputError, match="expected a Sketch"):
        ss.amortise("sketch")
    with pytest.raises(ss.InputError, match="random_state"):
        ss.amortise(sketch, random_state=-1)


def test_another_predictor_removes_the_amortised_one(sketch, trained):
    assert trained["uniform"].amortised_error is not None
    other = ss.Sketch._wrap(trained["uniform"]._core.with_predictor(sketch._core.predictor))
    assert other.amortised_error is None


def test_the_command_line_explains(trained, tmp_path):
    pytest.importorskip("click", reason="pip install 'shapsketch[cli]'")
    path, fasta, table = (str(tmp_path / name) for name in ("a.safetensors", "a.fasta", "a.csv"))
    trained["uniform"].save(path)
    (tmp_path / "a.fasta").write_text(">one\nABCABC\n>two\nCCCBBA\n")
    command = [
        sys.executable,
        "-m",
        "shapsketch.cli",
        "explain",
        path,
        fasta,
        "--of",
        "amortised",
        "-o",
        table,
    ]
    subprocess.run(command, check=True, capture_output=True)
    rows = list(csv.reader((tmp_path / "a.csv").read_text().split()))
    values = ss.Explainer(trained["uniform"], of="amortised")(["ABCABC", "CCCBBA"]).values
    np.testing.assert_allclose([[float(v) for v in row[2:]] for row in rows[1:]], values)
