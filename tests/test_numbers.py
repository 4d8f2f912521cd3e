"""The numbers of positions: every text, table, plot and file counts from the start of the space."""

import csv
import io
import json
import pickle
import re
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch.cli import main
from shapsketch.explain import columns
from shapsketch.reporting import tables
from shapsketch.surrogate.patterns import Pattern
from shapsketch.surrogate.runs import Run
from sklearn.ensemble import RandomForestRegressor

pytest.importorskip("matplotlib").use("Agg")

N = 6
STARTS = st.integers(-50, 5_000)
# A model with a motif of two symbols, a pair that is far apart, and a single symbol.
EFFECTS = {(1, "T"): 0.5, ((1, "T"), (2, "G")): 2.0, ((0, "A"), (5, "C")): 1.0}


def model(sequences):
    return [2.0 * (s[1:3] == "TG") + (s[0] == "A" and s[5] == "C") + 0.5 * (s[4] == "G") for s in sequences]


def sketch_of(start):
    return ss.sketch(model, ss.SequenceSpace(ss.DNA, N, start=start), budget=5_000, progress=False)


@pytest.fixture(scope="module")
def sketches():
    """Return a function that gives the same sketch with any start."""
    sketch = sketch_of(0)
    state = sketch.__reduce__()
    return lambda start: state[0](*state[1][:-1], start)


def shifted(rows, start, *names):
    """Return rows with the start added to the positions of some columns."""

    def shift(value):
        return tuple(i + start for i in value) if isinstance(value, tuple) else value + start

    return [{k: shift(v) if k in names else v for k, v in row.items()} for row in rows]


@settings(max_examples=10, deadline=None)
@given(start=STARTS)
def test_tables_count_from_the_start(sketches, start):
    plain, other = (ss.Explainer(sketches(s), of="closed form") for s in (0, start))
    assert other.start == start
    codes = np.random.default_rng(0).integers(0, 4, (5, N))
    for result in (lambda e: e(codes), lambda e: e.sobol(), lambda e: e.attribution_map(codes)):
        assert result(other).records() == shifted(result(plain).records(), start, "position")
        assert result(other).to_frame().to_dict("records") == result(other).records()
    pairs, of_plain = (e.interactions(codes, max_order=3) for e in (other, plain))
    assert pairs.records() == shifted(of_plain.records(), start, "support")
    assert pairs.to_frame().to_dict("records") == pairs.records()
    assert pairs.supports == of_plain.supports
    assert pairs.top(3) == of_plain.top(3)
    motifs, of_plain = other.motifs(), plain.motifs()
    assert motifs.records() == shifted(of_plain.records(), start, "from", "to")
    assert [motif.places for motif in motifs] == [motif.places for motif in of_plain]
    for motif, before in zip(motifs, of_plain, strict=True):
        at = (
            f"at {before.first + start}" if before.first == before.last else f"from {before.first + start} to"
        )
        assert at in str(motif)
    assert other(codes[:1]).to_logo().index.tolist() == list(range(start, start + N))


@settings(max_examples=10, deadline=None)
@given(start=STARTS)
def test_names_of_mutants_count_from_the_start(sketches, start):
    explainer = ss.Explainer(sketches(start), of="closed form")
    wild_type = "CCCCCC"
    for mutants in (
        explainer.best_mutants(wild_type, 2),
        explainer.best_mutants(wild_type, 1, library=[start]),
    ):
        for name, sequence in zip(mutants.mutations, mutants.sequences, strict=True):
            changed = [i for i in range(N) if sequence[i] != wild_type[i]]
            assert name == " ".join(f"C{i + start}{sequence[i]}" for i in changed)
    with pytest.raises(ss.InputError, match=re.escape(f"{start} to {start + N - 1}")):
        explainer.best_mutants(wild_type, 1, library=[start + N])
    free = range(start + 1, start + N)
    near = ss.Mutagenesis(wild_type, rate=0.9, positions=free, letters={start + 2: "GC"})
    queries = next(ss.plan(explainer._space, 100, distribution=near).batches())
    assert [len(set(column)) for column in queries.T.tolist()] == [1, 4, 2, 4, 4, 4]
    with pytest.raises(ss.InputError, match=f"they are {start} to {start + N - 1}$"):
        ss.plan(explainer._space, 100, distribution=ss.Mutagenesis(wild_type, positions=[start + N]))


@settings(max_examples=2, deadline=None)
@given(start=STARTS)
def test_plots_count_from_the_start(sketches, start):
    from matplotlib import pyplot

    explainer = ss.Explainer(sketches(start), of="closed form")
    codes = np.random.default_rng(0).integers(0, 4, (3, N))
    numbers = [str(start + i) for i in range(N)]
    explanation, pairs = explainer(codes), explainer.interactions(codes, max_order=2)
    one = explainer(["ATGAGC"])
    drawn = [
        ss.plot.logo(one),
        ss.plot.position_letter_map(explanation, explainer._space),
        ss.plot.mutation_map(explainer, codes[0]),
        ss.plot.pair_map(pairs, N),
        ss.plot.arcs(pairs, sequence="ATGAGC"),
    ]
    for ax in drawn:
        ax.figure.canvas.draw()
        low, high = sorted(ax.get_xlim())
        labels = [label.get_text() for label in ax.get_xticklabels()]
        assert [a for a, x in zip(labels, ax.get_xticks(), strict=True) if low <= x <= high] == numbers
    below = [text for text in drawn[-1].texts if len(text.get_text()) == 1]
    assert [(text.get_text(), text.xy[0]) for text in below] == list(
        zip("ATGAGC", range(start, start + N), strict=True)
    )
    rows = [label.get_text() for label in ss.plot.beeswarm(explanation).get_yticklabels()]
    assert sorted(rows) == sorted(numbers)
    texts = {text.get_text() for text in ss.plot.network(pairs).texts}
    assert texts == {numbers[i] for support, value in pairs.order(2).top(9) if value for i in support}
    bars = {label.get_text() for label in ss.plot.waterfall(one).get_yticklabels()}
    assert bars <= {f"{a}{i}" for a, i in zip("ATGAGC", numbers, strict=True)} | {"0"}
    assert f"T{numbers[1]}" in bars
    bars = ss.plot.waterfall(explainer.interactions(["ATGAGC"], index="FSII"), sequence="ATGAGC")
    assert f"T{numbers[1]} · G{numbers[2]}" in {label.get_text() for label in bars.get_yticklabels()}
    pyplot.close("all")


@settings(max_examples=10, deadline=None)
@given(start=STARTS)
def test_files_and_reports_count_from_the_start(sketches, start):
    explainer = ss.Explainer(sketches(start), of="closed form")
    space, codes = explainer._space, np.zeros((1, N), dtype=np.uint8)
    explanation, pairs = explainer(codes), explainer.interactions(codes)
    names = [f"p{start + i}" for i in range(N)]
    assert [name for name in columns.value_columns(space) if name.startswith("p")] == names
    rows = columns.value_rows(["a"], explanation.values, explanation.base_values, start=start)
    assert [rows[name][0] for name in names] == explanation.values[0].tolist()
    supports = columns.interaction_rows(["a"], pairs.supports, pairs.values, start=start)["support"][0]
    assert supports == [",".join(str(i + start) for i in support) for support in pairs.supports]
    effects = columns.effect_rows(["a"], codes, explainer.mutation_effects(codes), space)
    assert sorted(set(effects["position"])) == list(range(start, start + N))
    listed = tables.sequences(explainer(["ATGAGC"]), space, ["a"]).rows[0][-1].text
    assert f"T{start + 1}\N{NO-BREAK SPACE}" in listed
    variances = [row[0].text for row in tables.variances(explainer.sobol()).rows]
    assert f"{start + 1}–{start + 2}" in variances
    assert f"{start + 1} and {start + 2}" in {row[0].text for row in tables.pairs(pairs).rows}
    assert f"{start + 1}–{start + 2}" in {row[1].text for row in tables.motifs(explainer.motifs()).rows}


@settings(max_examples=30, deadline=None)
@given(start=STARTS, position=st.integers(0, N - 1))
def test_errors_count_from_the_start(start, position):
    space, number = ss.SequenceSpace(ss.DNA, N, start=start), start + position
    wrong = "A" * position + "N" + "A" * (N - position - 1)
    codes = np.zeros((1, N), dtype=int)
    codes[0, position] = 9
    frequency = codes.astype(np.uint8)
    letters = ["AC"] * N
    narrow = ss.SequenceSpace([*letters[:position], "A", *letters[position + 1 :]], start=start)
    probabilities = np.full((N, 4), 0.25)
    probabilities[position, 0] = 0.5
    explainer = ss.Explainer(ss.Spectrum(space, np.zeros((1, N), int), [1.0]))
    for call in (
        lambda: space.encode([wrong]),
        lambda: space.encode([wrong + "A"]),
        lambda: space.encode(codes),
        lambda: ss.Spectrum(space, frequency, [1.0]),
        lambda: narrow.encode(["A" * position + "C" + "A" * (N - position - 1)]),
        lambda: narrow.encode(np.eye(N, dtype=int)[[position]]),
        lambda: ss.SequenceSpace([*letters[:position], "CC", *letters[position + 1 :]], start=start),
        lambda: ss.SequenceSpace([*letters[:position], 3, *letters[position + 1 :]], start=start),
        lambda: ss.Explainer(explainer._sketch, background=probabilities),
    ):
        with pytest.raises(ss.InputError, match=rf"position {number}\b") as raised:
            call()
        assert raised.value.position in (None, position)


def test_a_start_is_kept_wherever_a_sketch_is_made(tmp_path):
    space = ss.SequenceSpace(ss.DNA, N, start=-7)
    sketch = ss.sketch(model, space, budget=5_000, progress=False)
    codes = np.random.default_rng(1).integers(0, 4, (300, N))
    values = np.array(model(space.decode(codes)))
    regressor = ss.SparseRegressor(space).fit(codes, values)
    design = ss.QueryDesign(space, b=2)
    forest = RandomForestRegressor(3, max_depth=3, random_state=0).fit(codes, values)
    two = ss.Evaluator(lambda s: np.stack([model(s), model(s)], axis=1), outputs=["a", "b"])
    outputs = ss.sketch_outputs(two, space, budget=5_000, progress=False)
    spectrum = sketch.spectrum
    made = [
        sketch,
        ss.sketch(model, space, budget=400, method="regress", progress=False),
        ss.fit(codes, values, space=space, progress=False),
        regressor.sketch_,
        spectrum,
        spectrum.truncate(max_terms=5),
        ss.Sketch(spectrum),
        ss.Explainer(spectrum),
        design,
        ss.from_trees(forest, space),
        outputs["b"],
    ]
    for each in made:
        for copy in (each, pickle.loads(pickle.dumps(each))):
            of = copy._space if isinstance(copy, ss.Explainer) else copy.space
            assert of == space == ss.SequenceSpace(ss.DNA, N), each
            assert of.start == -7, each
            assert repr(of) == "SequenceSpace('ACGT', length=6, start=-7)"
    assert all(str(pattern) for pattern in regressor.sketch_.patterns)
    assert {pattern.start for pattern in regressor.sketch_.patterns} == {-7}
    sketch.save(tmp_path / "a.safetensors")
    assert ss.load(tmp_path / "a.safetensors").space.start == -7
    assert ss.load(tmp_path / "a.safetensors", start=2).space.start == 2
    assert ss.load(tmp_path / "a.safetensors", start=0).space.start == 0
    for wrong in (1.5, "1", True, 10**10):
        with pytest.raises(ss.InputError, match="start must be an integer"):
            ss.load("a", start=wrong)
        with pytest.raises(ss.InputError, match="start must be an integer"):
            ss.SequenceSpace("AC", 3, start=wrong)


def test_patterns_and_runs_in_words_count_from_the_start():
    assert str(Pattern((3, 4), "TG", 1.5, 0.02, (), 10)) == "T at 13, G at 14: +1.5 ± 0.02"
    run = Run("complement", ((3, 17), (4, 16)), 10)
    assert str(run) == "positions 13-14 pair with 26-27"
    assert str(Pattern((3, 4, 16, 17), "", -1.0, float("nan"), (run,), 10)) == f"{run}: -1"


def test_variants_and_explanations_of_a_scan_have_the_same_numbers(tmp_path):
    path = tmp_path / "scan.csv"
    rng = np.random.default_rng(0)
    rows = [f"{a}{11 + i}{b}" for i, a in enumerate("MKVLMKVL") for b in "AGCW"]
    path.write_text(
        "mutant,score\n" + "\n".join(f"{row},{x:.3f}" for row, x in zip(rows, rng.random(32), strict=True))
    )
    variants = ss.read_variants(path, wild_type="MKVLMKVL", start=11)
    assert variants.space.start == 11
    sketch = ss.fit(variants, progress=False)
    explainer = ss.Explainer(sketch)
    names = {row["mutation"] for row in ss.VariantEffects(sketch, variants).singles().records()}
    best = explainer.best_mutants("MKVLMKVL", 1, count=20)
    assert set(best.mutations) <= names
    # A loaded sketch counts from 0, and the variants keep their numbers.
    sketch.save(tmp_path / "a.safetensors")
    effects = ss.VariantEffects(ss.load(tmp_path / "a.safetensors"), variants)
    assert effects.start == 11
    plain = ss.Variants(
        ss.SequenceSpace("ACDEFGHIKLMNPQRSTVWY", 2), "MK", np.zeros((1, 2), int), [1.0], ["a"], 5
    )
    assert plain.space.start == 5


def test_commands_count_from_the_start(tmp_path, sketches):
    path, seqs = tmp_path / "a.safetensors", tmp_path / "a.csv"
    sketches(0).save(path)
    seqs.write_text("sequence\nATGAGC\n")

    def rows(command, *options):
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        arguments = [command, str(path), str(seqs), "-o", str(out), *options, "--start", "100"]
        with redirect_stdout(io.StringIO()):
            assert main(arguments) == 0
        return list(csv.DictReader(out.read_text().splitlines()))

    assert {"p100", "p105"} <= set(rows("explain")[0]) - {"p0", "p106"}
    assert {row["support"] for row in rows("explain", "--index", "Moebius")} >= {"101,102", "100,105"}
    assert {int(row["position"]) for row in rows("mutate")} == set(range(100, 106))
    assert rows("mutate", "--best", "1")[0]["mutations"][1:-1].startswith("10")
    for command in (["info", str(path)], ["plan", "--alphabet", "DNA", "--length", "6", "--budget", "200"]):
        with redirect_stdout(io.StringIO()) as out:
            assert main([*command, "--start", "100", "--json"]) == 0
        assert json.loads(out.getvalue())["start"] == 100
    table, out = tmp_path / "data.csv", tmp_path / "fit.safetensors"
    table.write_text("sequence,score\nACGTAC,1\nACGTXC,2\n")
    space = ["--alphabet", "DNA", "--length", "6", "--start", "100"]
    with redirect_stderr(io.StringIO()) as err:
        assert main(["fit", str(table), *space, "-o", str(out)]) == 1
    assert "line 3: symbol 'X' at position 104" in err.getvalue()
    assert ("TG", "101", "102") in {(row["motif"], row["from"], row["to"]) for row in rows("motifs")}


def test_summaries_count_from_the_start():
    """Symbols that no query has, and positions that always change together."""
    space = ss.SequenceSpace(ss.DNA, N, start=41)
    codes = np.random.default_rng(2).integers(0, 4, (400, N)).astype(np.uint8)
    codes[:, 3] = codes[:, 1]
    codes[codes[:, 5] == 2, 5] = 0
    summary = ss.fit(codes, codes[:, 0] * 1.0, space=space, progress=False).summary()
    assert "'ACGT' of length 6, numbered from 41" in summary
    assert "unseen     G at 46:" in summary
    assert "dependent  positions 42 and 44:" in summary
