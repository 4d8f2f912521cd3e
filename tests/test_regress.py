"""Sparse regression: compared with scikit-learn, on labelled data, with links, in rounds; its errors."""

import os
import subprocess
import sys

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch.link import parse
from sklearn.base import clone
from sklearn.linear_model import Lasso
from toys import by_evaluator

DNA8 = ss.SequenceSpace(ss.DNA, length=8)


def motifs(codes):
    """A model with single symbols, a window of three positions and a distant pair."""
    codes = np.asarray(codes)
    weights = np.random.default_rng(5).normal(size=(codes.shape[1], 4))
    return (
        weights[np.arange(codes.shape[1]), codes].sum(axis=1)
        + 4.0 * ((codes[:, 1] == 0) & (codes[:, 2] == 3) & (codes[:, 3] == 2))
        + 2.0 * (codes[:, 0] == codes[:, 7])
    )


def uniform(count, space=DNA8, seed=0):
    return np.random.default_rng(seed).integers(0, space.q, (count, space.n))


def one_hot_of_windows(codes, q, order):
    """Indicators of all k-mers in all windows up to an order, and the pattern of each indicator."""
    columns, atoms = [], []
    for size in range(1, order + 1):
        for first in range(codes.shape[1] - size + 1):
            for kmer in np.ndindex(*(q,) * size):
                columns.append((codes[:, first : first + size] == kmer).all(axis=1))
                atoms.append((tuple(range(first, first + size)), kmer))
    return np.array(columns, dtype=float).T, atoms


@pytest.mark.parametrize(("q", "n", "order"), [(2, 6, 3), (4, 5, 2), (20, 3, 1)])
def test_the_optimum_equals_that_of_scikit_learn(q, n, order):
    rng = np.random.default_rng(q)
    space = ss.SequenceSpace("ACDEFGHIKLMNPQRSTVWY"[:q], n)
    codes = rng.integers(0, q, (400, n))
    y = (codes[:, 0] == 1) * 2.0 + (codes[:, 1] == codes[:, 2]) + rng.normal(0, 0.3, 400)
    columns, atoms = one_hot_of_windows(codes, q, order)
    # The documented weights: the root mean square about the mean, if positions are independent.
    frequencies = np.array([(codes == a).mean(axis=0) for a in range(q)]).T
    p = np.array([np.prod([frequencies[i, a] for i, a in zip(*atom, strict=True)]) for atom in atoms])
    weights = np.sqrt(p * (1 - p))
    strengths = (1.7, 1.3, 1.0, None)
    orders = np.array([len(support) for support, _ in atoms])
    weights = weights * np.where(orders > 1, strengths[0] * strengths[1] ** (orders - 2.0), 1.0)
    peer = Lasso(alpha=0.03, tol=1e-14, max_iter=1_000_000).fit(columns / weights, y)
    regressor = ss.SparseRegressor(
        space,
        dictionary=ss.Dictionary(windows=order),
        basis="letters",
        penalty=0.03,
        strengths=strengths,
        refit=False,
        tol=1e-24,
    ).fit(codes, y)
    np.testing.assert_allclose(
        regressor.predict(codes), peer.predict(columns / weights), atol=1e-6 * np.abs(y).max()
    )
    # Several sets of patterns may give the optimum, but the penalty is unique.
    penalty = 0.03 * np.abs(peer.coef_).sum()
    weight_of = {
        (s, "".join(space.alphabet[a] for a in kmer)): w for (s, kmer), w in zip(atoms, weights, strict=True)
    }
    ours = 0.03 * sum(
        abs(pattern.coefficient) * weight_of[pattern.support, pattern.letters]
        for pattern in regressor.sketch_.patterns
    )
    assert ours == pytest.approx(penalty, rel=1e-5)
    assert abs(regressor.duality_gap_) < 1e-9


def test_a_fit_to_the_bins_of_a_design_equals_the_fit_to_its_sequences():
    space = ss.SequenceSpace(ss.DNA, length=12)
    design = ss.QueryDesign(space, b=3, groups=12, delays="random", repeats=1, random_state=1)
    codes = design.queries()
    y = motifs(codes)
    arguments = {
        "dictionary": ss.Dictionary(orders=2),
        "basis": "characters",
        "penalty": 0.05,
        "refit": False,
        "tol": 1e-24,
    }
    bins = ss.SparseRegressor(**arguments).fit(ss.Observations(design, y))
    rows = ss.SparseRegressor(space, **arguments).fit(codes, y)
    np.testing.assert_allclose(bins.predict(codes), rows.predict(codes), atol=1e-6)
    assert bins.sketch_.n_terms == rows.sketch_.n_terms


def test_a_sparse_spectrum_with_noise_is_recovered_as_characters():
    rng = np.random.default_rng(0)
    frequencies = np.zeros((12, 8), dtype=int)
    for row in frequencies:
        row[rng.choice(8, 2, replace=False)] = rng.integers(1, 4, 2)
    truth = ss.Spectrum(DNA8, frequencies, rng.normal(size=12) + 1j * rng.normal(size=12), real_part=True)
    codes = rng.integers(0, 4, (2000, 8))
    y = truth.predict(codes)
    y = y + rng.normal(0, np.sqrt(0.1) * y.std(), 2000)
    regressor = ss.SparseRegressor(DNA8).fit(codes, y)
    assert regressor.basis_ == "characters"
    fresh = rng.integers(0, 4, (4000, 8))
    assert regressor.score(fresh, truth.predict(fresh)) > 0.99
    assert regressor.sketch_.patterns is None


def test_scikit_learn_clones_the_regressor():
    regressor = ss.SparseRegressor(DNA8, dictionary=ss.Dictionary(windows=2), growth=False, random_state=3)
    copy = clone(regressor)
    assert copy.get_params() == regressor.get_params()
    assert copy.set_params(tol=1e-3).tol == 1e-3
    with pytest.raises(ss.InputError, match="did you mean 'growth'"):
        copy.set_params(growht=False)


def test_reported_r2_agrees_with_fresh_sequences():
    X = uniform(1500)
    y = motifs(X) + np.random.default_rng(1).normal(0, 0.8, 1500)
    sketch = ss.fit(X, y, DNA8)
    fresh = uniform(20_000, seed=9)
    noisy = motifs(fresh) + np.random.default_rng(2).normal(0, 0.8, 20_000)
    truth = 1 - ((noisy - sketch.predict(fresh)) ** 2).mean() / noisy.var()
    low, high = sketch.r2_interval
    assert low <= truth <= high
    assert sketch.r2 <= high


def test_explanations_add_up_and_have_standard_errors():
    X = uniform(1200)
    sketch = ss.fit(X, motifs(X) + np.random.default_rng(1).normal(0, 0.5, 1200), DNA8)
    explanation = ss.Explainer(sketch)(X[:50])
    total = explanation.base_values + explanation.values.sum(axis=1)
    np.testing.assert_allclose(total, sketch.predict(X[:50]), atol=1e-9)
    assert explanation.stderr.shape == explanation.values.shape
    assert (explanation.stderr > 0).all()
    exact = ss.Explainer(ss.sketch(motifs, DNA8, budget=4**8, inputs="codes", progress=False))(X[:50])
    assert (exact.stderr == 0.0).all()
    inside = np.abs(explanation.values - exact.values) <= 1.96 * explanation.stderr
    assert inside.mean() > 0.85
    spectrum = ss.Explainer(sketch.spectrum)(X[:50])
    np.testing.assert_allclose(spectrum.values, explanation.values, atol=1e-9)


def test_sketches_of_patterns_are_loaded_as_saved(tmp_path):
    X = uniform(800)
    sketch = ss.fit(X, np.exp(motifs(X) / 4), DNA8, link="log")
    sketch.save(tmp_path / "a.safetensors")
    back = ss.load(tmp_path / "a.safetensors")
    assert back.summary() == sketch.summary()
    assert back.patterns == sketch.patterns
    assert (back.link, back.response_r2) == ("log", sketch.response_r2)
    np.testing.assert_array_equal(back.predict(X, response=True), sketch.predict(X, response=True))
    np.testing.assert_array_equal(ss.Explainer(back)(X).stderr, ss.Explainer(sketch)(X).stderr)
    back.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("link", ["log", "logit", (np.sqrt, np.square)])
def test_links_make_a_multiplicative_model_additive(link, tmp_path):
    weights = np.random.default_rng(3).normal(size=(8, 4))
    additive = lambda c: weights[np.arange(8), c].sum(axis=1)  # noqa: E731
    inverse = {"log": np.exp, "logit": lambda v: 1 / (1 + np.exp(-v))}.get(link, np.square)
    shift = 0.0 if isinstance(link, str) else 20.0
    model = lambda c: inverse(additive(c) + shift)  # noqa: E731
    sketch = ss.sketch(model, DNA8, budget=1500, link=link, inputs="codes", progress=False)
    assert sketch.link == (link if isinstance(link, str) else "custom")
    assert sketch.r2 > 0.999
    assert sketch.response_r2 > 0.99
    assert f"link       {sketch.link}" in sketch.summary()
    X = uniform(100)
    np.testing.assert_allclose(sketch.predict(X, response=True), model(X), rtol=0.2)
    explanation = ss.Explainer(sketch)(X)
    assert explanation.link == sketch.link
    expected = weights[np.arange(8), X] - weights.mean(axis=1)
    np.testing.assert_allclose(explanation.values, expected, atol=0.1)
    sketch.save(tmp_path / "s.safetensors")
    if isinstance(link, str):
        return
    back = ss.load(tmp_path / "s.safetensors")
    with pytest.raises(ss.InputError, match=r"link=\(forward, inverse\)"):
        back.predict(X, response=True)
    again = ss.load(tmp_path / "s.safetensors", link=link)
    np.testing.assert_array_equal(again.predict(X, response=True), sketch.predict(X, response=True))


@pytest.mark.parametrize(
    ("link", "values", "parts"),
    [
        ("log", [1.0, 0.0], "value 0.0 at index 1 is outside the domain of the link 'log'"),
        ("logit", [0.5, 1.0], "value 1.0 at index 1"),
        ((np.sqrt, np.square), [1.0, -1.0], "value -1.0 at index 1"),
        ((lambda v: np.log(abs(v)), np.exp), [1.0, -3.0], r"value -3.0 at index 1.* inverse\(forward\(x\)\)"),
        (
            (lambda v: 1e3 / v, lambda v: np.where(v > 0, 1e3 / v, np.nan)),
            [1.0, -3.0],
            "value -3.0 at index 1",
        ),
    ],
)
def test_values_outside_the_domain_of_a_link_are_named(link, values, parts):
    with pytest.raises(ss.InputError, match=parts):
        ss.fit(np.tile(uniform(2), (20, 1)), np.tile(values, 20), DNA8, link=link)
    with pytest.raises(ss.ModelError, match="outside the domain"):
        ss.sketch(lambda s: np.resize(values, len(s)), DNA8, budget=500, link=link, progress=False)


def test_invalid_links_are_refused():
    X, y = uniform(50), np.ones(50)
    with pytest.raises(ss.InputError, match="did you mean 'log'"):
        ss.fit(X, y, DNA8, link="log10")
    with pytest.raises(ss.InputError, match=r"pair \(forward, inverse\)"):
        ss.fit(X, y, DNA8, link=(np.log,))
    with pytest.raises(ss.InputError, match="not inverse to each other"):
        ss.fit(X, y, DNA8, link=(np.log, np.log))
    with pytest.raises(ss.InputError, match="keep the shape"):
        ss.fit(X, y, DNA8, link=(np.sum, np.exp))
    with pytest.raises(ss.InputError, match=r"pair \(forward, inverse\) of functions on arrays, such as"):
        ss.fit(X, y, DNA8, link=np.log)
    with pytest.raises(ss.InputError, match=r"pair \(forward, inverse\) of functions on arrays; got 3"):
        ss.fit(X, y, DNA8, link=3)
    with pytest.raises(ss.InputError, match="link's forward function raised ZeroDivisionError: division by"):
        ss.fit(X, y, DNA8, link=(lambda v: 1 / 0, np.exp))
    with pytest.raises(ss.InputError, match="link's inverse function raised KeyError: 'x'"):
        ss.fit(X, y, DNA8, link=(np.log, lambda v: {}["x"]))
    with pytest.raises(
        ss.InputError, match="link's forward function must be real numbers, got dtype complex128"
    ):
        ss.fit(X, y, DNA8, link=(lambda v: np.log(v + 0j), np.exp))
    with pytest.raises(
        ss.InputError, match="link's inverse function must be real numbers, got dtype complex128"
    ):
        ss.fit(X, y, DNA8, link=(np.log, lambda v: np.exp(v + 0j)))


def test_an_inverse_link_that_is_undefined_for_a_prediction_is_refused():
    """The sketch can predict scores outside the range of the forward function."""
    scale = parse((np.square, np.sqrt))
    np.testing.assert_array_equal(scale.to_response(np.array([4.0, 9.0])), [2.0, 3.0])
    with pytest.raises(ss.InputError, match=r"returned nan for the predicted score -1.0 at index 1 \(1 of 2"):
        scale.to_response(np.array([4.0, -1.0]))


class Counting:
    """A model that records the sequences it evaluates."""

    def __init__(self, model):
        self.model, self.evaluated = model, []

    def __call__(self, codes):
        self.evaluated += [row.tobytes() for row in codes]
        return self.model(codes)


def test_rounds_reuse_every_query_and_stop_when_the_target_is_met():
    model = Counting(motifs)
    arguments = {"inputs": "codes", "progress": False, "budget": 20_000}
    sketch = by_evaluator(ss.sketch, model, DNA8, target_r2=0.99, **arguments)
    assert (sketch.status, sketch.method) == ("target met", "regress")
    assert sketch.r2 >= 0.99
    assert len(model.evaluated) == len(set(model.evaluated)) == sketch.n_queries < 20_000
    whole = by_evaluator(ss.sketch, motifs, DNA8, **{**arguments, "budget": sketch.n_queries})
    np.testing.assert_array_equal(whole.predict(uniform(99)), sketch.predict(uniform(99)))


def test_rounds_end_if_more_queries_do_not_pay_or_none_are_left():
    space = ss.SequenceSpace("01", length=13)
    noise = np.random.default_rng(0)
    noisy = Counting(lambda c: (c[:, 3] == 1) + noise.normal(0, 0.5, len(c)))
    arguments = {"inputs": "codes", "progress": False}
    rounds = {"target_r2": 0.95, "method": "regress", **arguments}
    sketch = by_evaluator(ss.sketch, noisy, space, budget=8_000, **rounds)
    assert sketch.status == "more queries no longer pay"
    assert len(noisy.evaluated) == sketch.n_queries <= 4000
    spent = by_evaluator(ss.sketch, noisy, space, budget=700, **rounds)
    assert (spent.status, spent.n_queries) == ("budget spent", 700)
    small = Counting(lambda codes: motifs(np.pad(codes, ((0, 0), (0, 2)))))
    whole = ss.SequenceSpace(ss.DNA, 6)
    exact = by_evaluator(ss.sketch, small, whole, budget=4**6, target_r2=1.0, **arguments)
    assert (exact.method, exact.status) == ("exact", "target met")
    assert len(small.evaluated) == len(set(small.evaluated)) == 4**6
    with pytest.raises(ss.InputError, match="target_r2 needs rounds of queries"):
        by_evaluator(ss.sketch, motifs, DNA8, budget=5000, method="peel", target_r2=0.9, **arguments)


@pytest.mark.parametrize("scale", [1e-90, 1.0, 1e90])
def test_constant_values_need_one_term(scale):
    sketch = ss.fit(uniform(60), np.full(60, 0.3 * scale), DNA8)
    assert np.isnan(sketch.r2)
    assert sketch.r2_interval == (-np.inf, 1.0)
    assert sketch.n_terms == 1
    np.testing.assert_allclose(sketch.predict(uniform(5)), 0.3 * scale)


def test_the_r2_of_noise_is_near_zero():
    sketch = ss.fit(uniform(2000), np.random.default_rng(4).normal(size=2000), DNA8)
    assert sketch.r2 < 0.02
    assert sketch.n_terms < 40
    assert "LOW" in sketch.summary()


def test_one_large_outlier_does_not_give_a_high_r2():
    X = uniform(1500)
    y = motifs(X)
    y[77] = 1e6
    sketch = ss.fit(X, y, DNA8)
    assert sketch.r2 < 0.1
    assert np.isfinite(sketch.predict(X)).all()


def test_conflicting_repeats_are_averaged_and_never_split_between_folds():
    X = uniform(500)
    both = np.concatenate([X, X])
    y = np.concatenate([motifs(X) + 0.5, motifs(X) - 0.5])
    sketch = ss.fit(both, y, DNA8)
    # The highest possible R²: the two values of a sequence differ by noise that no sketch predicts.
    ceiling = 1 - 0.25 / y.var()
    assert sketch.r2 < ceiling
    assert np.abs(sketch.predict(X) - motifs(X)).mean() < 0.5


def test_symbols_that_do_not_occur_are_named_and_not_used():
    X = uniform(700)
    X[:, 4] %= 2
    sketch = ss.fit(X, motifs(X), DNA8)
    assert "unseen     G at 4, T at 4: terms with these are not identifiable" in sketch.summary()
    for pattern in sketch.patterns:
        assert dict(zip(pattern.support, pattern.letters, strict=True)).get(4) not in ("G", "T")


def test_more_positions_than_sequences():
    space = ss.SequenceSpace(ss.DNA, length=90)
    X = uniform(80, space)
    sketch = ss.fit(X, 3.0 * (X[:, 50] < 2) + np.random.default_rng(0).normal(0, 0.3, 80), space)
    assert sketch.r2 > 0.5


@pytest.mark.parametrize(
    ("X", "y", "parts"),
    [
        (uniform(40), np.ones(39), r"y must have shape \(40,\)"),
        (uniform(40), np.full(40, np.nan), "y: value nan at index 0, sequence 'TGGCCAAA'"),
        (uniform(40), ["a"] * 40, "y must be real numbers"),
        (uniform(29), np.arange(29.0), "29 distinct sequences are too few"),
        (np.tile(uniform(5), (20, 1)), np.arange(100.0), "5 distinct sequences are too few"),
        (["ACGT"] * 40, np.arange(40.0), "sequence 0 has 4 symbols"),
    ],
)
def test_data_that_cannot_be_fitted(X, y, parts):
    with pytest.raises(ss.InputError, match=parts):
        ss.fit(X, y, DNA8)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"dictionary": "windows"}, "dictionary must be a Dictionary or 'auto'"),
        ({"basis": "letter"}, "did you mean 'letters'"),
        ({"penalty": -1.0}, "penalty must be above 0, got -1"),
        ({"tol": 0.0}, "tol must be above 0, got 0"),
        ({"strengths": (1.0, 1.0)}, "strengths must be"),
        ({"strengths": (0.0, 1.0, 1.0, None)}, "strengths must be finite and above 0"),
        (
            {"dictionary": ss.Dictionary(orders=0)},
            "dictionary must be made of supports of the space, got none",
        ),
        (
            {"dictionary": ss.Dictionary(supports=[(0, 9)])},
            "support 0: .0, 9., which is not a list of ascending",
        ),
        ({"dictionary": ss.Dictionary(supports=[(3, 2)])}, "support 0: .3, 2."),
        ({"memory_limit": 1000}, "would take .* bytes, 1000 are allowed"),
    ],
)
def test_invalid_parameters_are_refused(arguments, parts):
    with pytest.raises(ss.InputError, match=parts):
        ss.SparseRegressor(DNA8, **arguments).fit(uniform(100), motifs(uniform(100)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"dictionary": ss.Dictionary(orders=7)},
        {"dictionary": ss.Dictionary(orders=0)},
        {"dictionary": ss.Dictionary(supports=[(0, 300)])},
        {"relations": ["repeats"], "dictionary": ss.Dictionary(), "memory_limit": 1_000_000},
        {"strengths": (0.0, 1.0, 1.0, None)},
        {"memory_limit": 10_000},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "options",
    [{}, {"target_r2": 0.9}, {"distribution": ss.Mutagenesis("A" * 300, counts=(1, 2, 3))}],
    ids=["uniform", "rounds", "distribution"],
)
def test_what_every_regression_refuses_is_refused_before_the_model_is_evaluated(arguments, options):
    space = ss.SequenceSpace(ss.DNA, length=300)
    regressor = ss.SparseRegressor(**arguments)
    asked = []

    def model(codes):
        asked.append(len(codes))
        return codes[:, 0] * 1.0

    with pytest.raises(ss.InputError) as early:
        by_evaluator(
            ss.sketch, model, space, budget=1_000, method=regressor, inputs="codes", progress=False, **options
        )
    assert asked == []
    # The message is that of a fit to as many sequences.
    codes = uniform(1_000, space)
    if options.get("distribution") is None or "memory_limit" not in arguments:
        with pytest.raises(ss.InputError) as late:
            ss.SparseRegressor(space, **arguments).fit(codes, codes[:, 0] * 1.0)
        assert str(early.value) == str(late.value)


def test_a_dictionary_that_fits_is_used():
    small = ss.SparseRegressor(dictionary=ss.Dictionary(orders=1), memory_limit=2_000_000)
    sketch = ss.sketch(lambda x: [s.count("G") for s in x], DNA8, budget=500, method=small, progress=False)
    assert sketch.r2 > 0.999


def test_labelled_data_refuse_a_dictionary_beyond_memory():
    space = ss.SequenceSpace(ss.DNA, length=300)
    for method in ("auto", "regress"):
        with pytest.raises(ss.InputError, match=r"orders up to 2 would fit in \d+ bytes"):
            ss.fit(
                uniform(400, space),
                np.arange(400.0),
                space,
                method=method,
                dictionary=ss.Dictionary(orders=7),
                progress=False,
            )


def test_dictionaries_beyond_memory_are_refused_before_anything_is_allocated():
    space = ss.SequenceSpace(ss.DNA, length=300)
    regressor = ss.SparseRegressor(space, dictionary=ss.Dictionary(orders=7))
    with pytest.raises(
        ss.InputError, match=r"orders up to 2 would fit in \d+ bytes, and growth extends letter patterns"
    ):
        regressor.fit(uniform(100, space), np.arange(100.0))
    with pytest.raises(ss.InputError, match=r"gapped must be a pair"):
        ss.Dictionary(gapped=3)
    with pytest.raises(ss.InputError, match="pass the space"):
        ss.SparseRegressor().fit(uniform(100), np.arange(100.0))


SCRIPT = """
import sys, numpy as np, shapsketch as ss
rng = np.random.default_rng(0)
space = ss.SequenceSpace(ss.DNA, 8)
X = rng.integers(0, 4, (500, 8))
y = (X[:, 3] == X[:, 7]) + np.sin(X @ np.arange(8.0)) + 2.0 * ((X[:, 1:4] == 1).all(axis=1))
sketch = ss.fit(X, y, space)
sketch.save(sys.argv[1])
np.save(sys.argv[2], ss.Explainer(sketch)(X).stderr)
"""


def test_other_processes_and_thread_counts_give_the_same_bits(tmp_path):
    results = set()
    for run, threads in enumerate(("1", "2", "4", "2")):
        file, values = tmp_path / f"{run}.safetensors", tmp_path / f"{run}.npy"
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", SCRIPT, file, values], check=True, env=environment)
        results.add((file.read_bytes(), values.read_bytes()))
    assert len(results) == 1


@settings(max_examples=15)
@given(q=st.integers(2, 6), n=st.integers(2, 7), seed=st.integers(0, 999), rows=st.integers(60, 300))
def test_any_small_sample_gives_finite_numbers_and_a_valid_r2_interval(q, n, seed, rows):
    rng = np.random.default_rng(seed)
    space = ss.SequenceSpace("ACGTBD"[:q], n)
    X = rng.integers(0, q, (rows, n))
    if len(np.unique(X, axis=0)) < 30:
        return
    y = rng.normal(size=rows) + X[:, 0] * rng.normal()
    sketch = ss.fit(X, y, space, random_state=seed)
    assert sketch.r2 <= 1.0
    low, high = sketch.r2_interval
    assert low <= sketch.r2 <= high <= 1.0
    explanation = ss.Explainer(sketch)(X)
    assert np.isfinite(explanation.values).all()
    assert np.isfinite(explanation.stderr).all()
    total = explanation.base_values + explanation.values.sum(axis=1)
    np.testing.assert_allclose(total, sketch.predict(X), atol=1e-9)


def dense(values, n):
    """Shapley values (q^n, n) of a function with values (q^n,), in lexicographic order of the sequences."""
    q = round(len(values) ** (1 / n))
    spectrum = np.fft.fftn(values.reshape((q,) * n))
    inside = np.stack(np.meshgrid(*[np.arange(q) > 0] * n, indexing="ij"))
    order = np.maximum(inside.sum(axis=0), 1)
    return np.stack([np.fft.ifftn(spectrum * inside[i] / order).real.ravel() for i in range(n)], axis=1)


@pytest.mark.parametrize("kind", ["random", "parity", "triples"])
def test_standard_errors_cover_terms_of_high_order(kind):
    """Standard errors include the terms of high order, which the sketch omits."""
    n, rng = 8, np.random.default_rng(0)
    every = np.stack(np.meshgrid(*[np.arange(4)] * n, indexing="ij"), axis=-1).reshape(-1, n)
    weights = rng.normal(size=(n, 4))
    values = weights[np.arange(n), every].sum(axis=1)
    if kind == "random":
        values += 0.5 * rng.normal(size=4**n)
    elif kind == "parity":
        values += np.prod(np.where(every[:, :6] < 2, 1.0, -1.0), axis=1)
    else:
        for i in range(n):
            some = rng.normal(size=(4, 4, 4))
            values += 0.4 * some[every[:, i], every[:, (i + 2) % n], every[:, (i + 5) % n]]
    truth = dense(values, n)
    space, powers = ss.SequenceSpace(ss.DNA, n), 4 ** np.arange(n)[::-1]
    inside = []
    for seed in range(4):
        sketch = ss.sketch(
            lambda codes: values[codes @ powers.astype(np.int64)],
            space,
            budget=1_000,
            inputs="codes",
            method="regress",
            random_state=seed,
            progress=False,
        )
        rows = rng.integers(0, 4**n, 200)
        explanation = ss.Explainer(sketch)(every[rows])
        inside.append(np.abs(explanation.values - truth[rows]) <= 1.96 * explanation.stderr)
    assert np.mean(inside) > 0.9


def test_mutants_of_one_sequence_have_no_standard_errors():
    """Standard errors need sequences all over the space; otherwise they would be far too large."""
    space, rng = ss.SequenceSpace(ss.PROTEIN, 8), np.random.default_rng(0)
    weights = rng.normal(size=(8, 20))
    X = np.tile(rng.integers(0, 20, 8), (500, 1))
    for row in X:
        positions = rng.choice(8, rng.integers(1, 4), replace=False)
        row[positions] = rng.integers(0, 20, len(positions))
    y = weights[np.arange(8), X].sum(axis=1) + 0.2 * rng.normal(size=len(X))
    for method in ("regress", "trees"):
        sketch = ss.fit(X, y, space, method=method, progress=False)
        with pytest.raises(ss.InputError, match="if their sequences were uniform"):
            _ = ss.Explainer(sketch)(X[:2]).stderr
    # Unequal frequencies of symbols, as in sequence libraries, are no problem.
    codes = rng.choice(4, size=(1_000, 8), p=[0.3, 0.2, 0.2, 0.3])
    sketch = ss.fit(codes, codes[:, 0] + 0.1 * rng.normal(size=1_000), ss.SequenceSpace(ss.DNA, 8))
    assert (ss.Explainer(sketch)(codes[:2]).stderr < 0.1).all()


def test_a_custom_link_receives_no_nan_and_its_arrays_are_not_changed():
    """NaN is an error of the model, not of the link. A link may return a read-only array."""

    def forward(values):
        if np.isnan(values).any():
            raise ValueError("no numbers")
        linked = np.sqrt(values)
        linked.setflags(write=False)
        return linked

    link = (forward, np.square)
    with pytest.raises(ss.ModelError, match="returned nan for query 0"):
        ss.sketch(lambda s: [np.nan] * len(s), DNA8, budget=500, link=link, progress=False)
    sketch = ss.sketch(
        lambda codes: 4.0 + motifs(codes) ** 2, DNA8, budget=500, link=link, inputs="codes", progress=False
    )
    refined = by_evaluator(
        ss.Explainer(sketch).refine,
        lambda codes: 4.0 + motifs(codes) ** 2,
        uniform(2),
        calls_per_sequence=100,
        inputs="codes",
        progress=False,
    )
    assert refined.link == "custom"


def products(n, q, seed, count=30):
    """A model with products of two indicators at random positions."""
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(n, 2, replace=False) for _ in range(count)]
    symbols, weights = rng.integers(0, q, (count, 2)), rng.normal(size=count)

    def model(codes):
        codes = np.asarray(codes)
        terms = zip(pairs, symbols, weights, strict=True)
        return sum(w * ((codes[:, i] == a) & (codes[:, j] == b)) for (i, j), (a, b), w in terms)

    return model


@pytest.mark.parametrize(("n", "q", "count"), [(60, 2, 500), (40, 4, 1500)])
def test_screening_finds_pairs_of_a_longer_list(n, q, count):
    space, model = ss.SequenceSpace("ACGT"[:q], n), products(n, q, n, count=12)
    codes, fresh = uniform(count, space), uniform(2000, space, seed=1)
    noise = np.random.default_rng(2).normal(0, 0.1, count)
    dictionary = ss.Dictionary(screened=150)
    regressor = ss.SparseRegressor(space, dictionary=dictionary, relations=[], growth=False)
    r2 = regressor.fit(codes, model(codes) + noise).score(fresh, model(fresh))
    low, high = regressor.sketch_.r2_interval
    assert r2 > 0.9
    assert low - 0.02 <= r2 <= high + 0.04


@pytest.mark.parametrize("additive", [False, True])
def test_screening_claims_nothing_that_is_not_there(additive):
    # 1,770 pairs, of which each fold chooses 300, and 300 values.
    space = ss.SequenceSpace("AC", 60)
    dictionary = ss.Dictionary(screened=300)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=space.n) * additive
        codes, fresh = uniform(300, space, seed), uniform(2000, space, seed + 100)
        y = codes @ weights + rng.normal(0, 1.0 + 3.0 * additive, 300)
        regressor = ss.SparseRegressor(space, dictionary=dictionary, relations=[], random_state=seed)
        sketch = regressor.fit(codes, y).sketch_
        y = fresh @ weights + rng.normal(0, 1.0 + 3.0 * additive, 2000)
        assert sketch.r2_interval[0] - 0.02 <= regressor.score(fresh, y) <= sketch.r2_interval[1] + 0.02


def test_screened_pairs_do_not_depend_on_threads():
    script = (
        "import numpy as np, shapsketch as ss\n"
        "space = ss.SequenceSpace('AC', 40)\n"
        "X = np.random.default_rng(0).integers(0, 2, (300, 40))\n"
        "y = X[:, 3] * X[:, 9] + 0.5 * X[:, 1] * X[:, 30] + np.random.default_rng(1).normal(0, 0.3, 300)\n"
        "dictionary = ss.Dictionary(screened=100)\n"
        "print(ss.SparseRegressor(space, dictionary=dictionary).fit(X, y).predict(X).tobytes().hex())\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"RAYON_NUM_THREADS": threads},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for threads in ("1", "3")
    ]
    assert outputs[0] == outputs[1]


def parities(n, seed, count):
    """A model with parities of up to three positions."""
    rng = np.random.default_rng(seed)
    supports = [rng.choice(n, rng.integers(1, 4), replace=False) for _ in range(count)]
    weights = rng.normal(size=count)
    return lambda codes: sum(
        w * (1.0 - 2.0 * (codes[:, s].sum(axis=1) % 2)) for s, w in zip(supports, weights, strict=True)
    )


def test_an_early_refit_does_not_end_the_path():
    # With refits, the path is at least as long, so its lowest error is not higher.
    space = ss.SequenceSpace("AC", 20)
    options = {"dictionary": ss.Dictionary(orders=2), "basis": "characters", "relations": []}
    for seed in range(20):
        codes = uniform(200, space, seed)
        y = parities(20, seed, 60)(codes)
        without, refitted = (
            ss.SparseRegressor(space, refit=refit, **options).fit(codes, y).sketch_.r2
            for refit in (False, True)
        )
        assert refitted >= without - 1e-9


def test_a_sketch_takes_a_regressor_as_method():
    options = {"budget": 400, "inputs": "codes", "progress": False, "random_state": 3}
    plain = ss.sketch(motifs, DNA8, method="regress", **options)
    same = ss.sketch(motifs, DNA8, method=ss.SparseRegressor(random_state=3), **options)
    assert (same.r2, same.method) == (plain.r2, "regress")
    regressor = ss.SparseRegressor(DNA8, dictionary=ss.Dictionary(orders=1), growth=False, relations=[])
    sketch = ss.sketch(motifs, DNA8, method=regressor, **options)
    assert {len(pattern.support) for pattern in sketch.patterns} == {1}
    assert not hasattr(regressor, "sketch_")


@pytest.mark.parametrize(
    ("regressor", "message"),
    [
        (ss.SparseRegressor(penalty=-1.0), "penalty must be above 0, got -1"),
        (ss.SparseRegressor(ss.SequenceSpace(ss.DNA, 9)), "remove its space"),
    ],
)
def test_a_regressor_is_checked_before_the_model_is_called(regressor, message):
    def model(_):
        raise AssertionError

    with pytest.raises(ss.InputError, match=message):
        ss.sketch(model, DNA8, budget=400, method=regressor, progress=False)
