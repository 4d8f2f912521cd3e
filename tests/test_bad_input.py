"""Bad input raises an error with what is wrong, where, and what to do."""

import json
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas
import pyarrow
import pytest
import shapsketch as ss
from shapsketch import plot
from sklearn.linear_model import Ridge
from toys import by_evaluator, motif_model

DNA4 = ss.SequenceSpace(ss.DNA, 4)
RNA9 = ss.SequenceSpace(ss.RNA, 9)


def raises(*parts, error=ss.InputError):
    """Expect an error whose message contains these patterns, in this order."""
    pattern = ".*".join(parts)
    return pytest.raises(error, match=f"(?s){pattern}")


@pytest.mark.parametrize(
    ("alphabet", "length", "parts"),
    [
        ("A", 4, ["2 to 64 symbols", "has 1"]),
        ("", 4, ["has 0"]),
        ("ACGA", 4, ["'A' twice", "positions 0 and 3"]),
        ("".join(map(chr, range(0x100, 0x141))), 4, ["has 65"]),
        (5, 4, ["alphabet must be a string", "int"]),
        ("ACGT", 0, ["length must be at least 1, got 0"]),
        ("ACGT", 4097, ["1 to 4096", "4097"]),
        ("ACGT", 4.0, ["length must be an integer", "float"]),
        ("ACGT", True, ["length must be an integer", "bool"]),
        ("ACG\t", 4, [r"has '\\t' at position 3"]),
        ("ACG\u3000", 4, ["u3000' at position 3"]),
        ("AC\nG", 4, [r"has '\\n' at position 2"]),
        ("\x07ACG", 4, [r"has '\\x07' at position 0", "cannot be printed"]),
        ("ACG\u200b", 4, ["u200b' at position 3"]),
        ("DNA", 4, ["has the symbols D, N, A", r"did you mean ss.DNA\?"]),
        ("rna", 4, [r"did you mean ss.RNA\?"]),
        ("Protein", 4, [r"did you mean ss.PROTEIN\?"]),
    ],
)
def test_spaces(alphabet, length, parts):
    with raises(*parts):
        ss.SequenceSpace(alphabet, length)


@pytest.mark.parametrize(
    ("sequences", "parts"),
    [
        (["ACGT", "ACXT"], ["sequence 1", "'X' at position 2", "ACGT"]),
        (["ACGU"], ["'U' at position 3", "write T for U"]),
        (["ACNT"], ["'N'", "ambiguity codes"]),
        (["ACGT", "ACG"], ["sequence 1 has 3 symbols", "length 4"]),
        ([], ["no sequences"]),
        ("ACGT", ["single string", "list"]),
        (["ACGT", 5], ["sequence 1 is of type int"]),
        (7, ["list of strings", "int"]),
        ([[0, 1, 2, 3]], ["sequence 0 is of type list", "integer array"]),
        (np.array([[0, 1, 2, 4]]), ["sequence 0: code 4 at position 3", "0 to 3"]),
        (np.array([[0, 1, 2, -1]]), ["code -1 at position 3"]),
        (np.array([[0, 1, 2, 300]]), ["code 300"]),
        (np.array([[0.0, 1, 2, 3]]), ["integer array", "float64"]),
        (np.array([0, 1, 2, 3]), [r"shape \(B, 4\)", r"\(4,\)"]),
        (np.zeros((2, 5), int), [r"shape \(B, 4\)", r"\(2, 5\)"]),
        (np.zeros((0, 4), int), ["no sequences"]),
        (pandas.DataFrame({"PEPT": ["ACGT"]}), ["got a DataFrame", r"df\['sequence'\]", "to_numpy"]),
        (pandas.DataFrame([[0, 1, 2, 3]]), ["got a DataFrame", "to_numpy"]),
        (pyarrow.table({"ACGT": ["ACGT"]}), ["got a Table", r"df\['sequence'\]"]),
        ({"ACGT", "AAAA"}, ["got a set", "no order", "pass a list"]),
        (frozenset(["ACGT"]), ["got a frozenset"]),
        (["ACGT", "ACGT "], ["sequence 1 has 5 symbols", "'ACGT '", "' ' at position 4, which is not in"]),
        (["ACGT\n"], [r"'ACGT\\n', with '\\n' at position 4"]),
        (["ACGT*"], [r"'ACGT\*', with '\*' at position 4"]),
        (["A" * 100], ["100 symbols, the space has length 4: 'A{60}'...$"]),
    ],
)
def test_sequences(sequences, parts):
    explainer = ss.Explainer(ss.Spectrum(DNA4, [[0, 0, 0, 0]], [1.0]))
    with raises(*parts):
        DNA4.encode(sequences)
    with raises(*parts):
        explainer(sequences)


def test_a_column_of_a_data_frame_is_a_list_of_sequences():
    table = pandas.DataFrame({"sequence": ["ACGT", "TTTT"]})
    np.testing.assert_array_equal(DNA4.encode(table["sequence"]), [[0, 1, 2, 3], [3, 3, 3, 3]])


def test_codes_and_values_of_a_data_frame():
    codes = pandas.DataFrame([[0, 1, 2, 3]] * 3, columns=list("wxyz"))
    explainer = ss.Explainer(ss.Spectrum(DNA4, [[0, 0, 0, 0]], [1.0]))
    with raises("codes: got a DataFrame", "to_numpy"):
        DNA4.decode(codes)
    with raises("sequences: got a DataFrame", "to_numpy"):
        ss.fit(codes, [1.0, 2.0, 3.0], DNA4)
    with raises("frequencies: got a DataFrame", "to_numpy"):
        ss.Spectrum(DNA4, codes, [1.0, 2.0, 3.0])
    with raises("batches must be a list", "got a DataFrame", "one column"):
        list(explainer.stream(codes))


def test_advice_about_u_and_t_is_for_dna_and_rna_only():
    with raises(r"'U' at position 0 is not in the alphabet \"ACDEFGHIKLMNPQRSTVWY\"$"):
        ss.SequenceSpace(ss.PROTEIN, 1).encode(["U"])
    with raises("'T' at position 0 is not in the alphabet \"XYZU\"$"):
        ss.SequenceSpace("XYZU", 1).encode(["T"])
    with raises("write T for U"):
        ss.SequenceSpace("TGCA", 1).encode(["u"])


def test_ragged_arrays_and_other_spaces():
    with raises("sequence 1 has 5 symbols"):
        DNA4.encode(["ACGT", "ACGTA"])
    explainer = ss.Explainer(ss.sketch(motif_model, RNA9, budget=3000, progress=False))
    with raises("'T' at position 0", "write U for T"):
        explainer(["TTTTTTTTT"])
    with raises("has 8 symbols, the space has length 9"):
        explainer(["UUUUUUUU"])


def test_lower_case_is_accepted_unless_the_alphabet_has_both_cases():
    np.testing.assert_array_equal(DNA4.encode(["acgT"]), [[0, 1, 2, 3]])
    both = ss.SequenceSpace("aA", 2)
    np.testing.assert_array_equal(both.encode(["aA"]), [[0, 1]])


@pytest.mark.parametrize(
    ("budget", "error", "parts"),
    [
        (0, ss.InputError, ["budget must be at least 1"]),
        (-5, ss.InputError, ["budget must be at least 1, got -5"]),
        (True, ss.InputError, ["budget must be an integer", "bool"]),
        (1000.5, ss.InputError, ["budget must be an integer"]),
        (2**70, ss.InputError, ["budget must be below"]),
        (99, ss.BudgetError, ["budget of 99 is too small", "cross-validation", "at least 100 "]),
    ],
)
def test_budgets(budget, error, parts):
    with raises(*parts, error=error):
        ss.sketch(motif_model, RNA9, budget=budget, progress=False)


def test_the_exact_method_needs_every_sequence():
    with raises("too small", "4.9", "at least 262144", error=ss.BudgetError):
        ss.plan(RNA9, 5000, method="exact")


def test_small_spaces_need_the_exact_method():
    space = ss.SequenceSpace(ss.DNA, 3)
    with raises("too small", "exact method evaluates all 64", "at least 64 ", error=ss.BudgetError):
        ss.plan(space, 63)
    with raises("more than the 64 sequences of this space; use the exact method"):
        ss.plan(space, 1000, method="peel")


def test_plans_stay_within_the_largest_design():
    plan = ss.plan(ss.SequenceSpace(ss.DNA, 26), 10**12, method="peel")
    assert plan.total_queries <= 2**28
    assert plan.next_budget is None


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_values_whose_squares_overflow_or_underflow(size):
    with raises("cannot be squared without loss", "rescale the model"):
        ss.sketch(lambda s: [size * x.count("G") for x in s], RNA9, budget=3000, progress=False)


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (lambda s: [1.0] * (len(s) - 1), ["one number for each sequence", r"got shape \(\d+,\)"]),
        (lambda s: np.ones((len(s), 1)), ["got shape", r"output\[:, 0\]"]),
        (lambda s: np.ones((len(s), 2)), ["got shape", "return one output for each sequence"]),
        (lambda s: 1.0, ["one number for each sequence", r"got shape \(\)"]),
        (lambda s: None, ["real numbers", "NoneType"]),
        (lambda s: np.ones(len(s)) * 1j, ["real numbers", "complex"]),
        (lambda s: ["a"] * len(s), ["real numbers", "dtype <U1"]),
        (lambda s: [1.0, None, *[1.0] * (len(s) - 2)], ["real numbers", r"None \(NoneType\) for query 1, '"]),
        (lambda s: [1.0, "n.d.", *[1.0] * (len(s) - 2)], ["real numbers", r"'n.d.' \(str\) for query 1, '"]),
        (lambda s: [10**400] * len(s), [r"1000.*\(int\), which is too large for float64 for query 0"]),
        (lambda s: [float("nan") if x[0] == "G" else 0.0 for x in s], ["nan", "query", "'G", "finite score"]),
        (lambda s: [np.inf] * len(s), ["inf", "query 0"]),
    ],
)
def test_models(model, parts):
    with raises(*parts, error=ss.ModelError):
        ss.sketch(model, RNA9, budget=3000, progress=False)


def test_an_exception_of_the_model_is_the_cause_of_an_error_with_its_batch():
    def model(sequences):
        raise KeyError("weights")

    with raises(
        "raised KeyError", "weights", "queries 0 to 99", "the first is", error=ss.ModelError
    ) as caught:
        by_evaluator(ss.sketch, model, RNA9, budget=3000, batch_size=100, progress=False)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"method": "peal"}, ["method must be one of", "did you mean 'peel'"]),
        ({"inputs": "string"}, ["inputs must be one of", "did you mean 'strings'"]),
        ({"batch_size": 0}, ["batch_size must be at least 1"]),
        ({"random_state": -1}, ["random_state must be at least 0"]),
        ({"random_state": None}, ["random_state must be an integer"]),
        ({"method": Ridge}, ["method is the class Ridge; pass an instance", r"Ridge\(\)"]),
    ],
)
def test_arguments_of_sketch(arguments, parts):
    with raises(*parts):
        by_evaluator(ss.sketch, motif_model, RNA9, budget=3000, progress=False, **arguments)
    with raises("model must be a callable"):
        ss.sketch("model", RNA9, budget=3000)
    with raises("space must be a SequenceSpace"):
        ss.sketch(motif_model, "ACGU", budget=3000)


@pytest.mark.parametrize(
    ("frequencies", "coefficients", "parts"),
    [
        ([[0, 1, 0, 0]], [1j], ["conjugate", "real part"]),
        ([[0, 1, 0]], [1.0], [r"frequencies must have shape \(s, 4\), got \(1, 3\)"]),
        ([[0, 9, 0, 0]], [1.0], ["frequency 0: the entry 9 at position 1", "0 to 3", "modulo 4"]),
        ([[0, 0, 0, 0], [0, 0, -1, 0]], [1.0, 1.0], ["frequency 1: the entry -1 at position 2"]),
        ([[0.5, 0, 0, 0]], [1.0], ["frequencies must be an integer array, got dtype float64"]),
        ([[0, 0, 0, 0], [0, 0, 0, 2]], [1.0, 1e200], ["coefficient 1e\\+200 of frequency 1", "rescale"]),
        ([[0, 0, 0, 0], [0, 0, 0, 2]], [1.0, 1e-200], ["coefficient 1e-200 of frequency 1", "1e-120"]),
        ([[0, 0, 0, 0]], [1.5e308 + 1.5e308j], ["frequency 0 has a magnitude outside 1e-120 to 1e"]),
        ([[0, 0, 0, 0]], [1.0, 2.0], ["1 frequencies but 2 coefficients"]),
        ([[0, 0, 0, 0]], [np.nan], ["frequency 0", "not finite"]),
        ([[0, 0, 0, 0]], ["x"], ["coefficients must be numbers"]),
    ],
)
def test_spectra(frequencies, coefficients, parts):
    with raises(*parts):
        ss.Spectrum(DNA4, np.array(frequencies), coefficients)


def test_truncation_and_explanation_arguments():
    spectrum = ss.Spectrum(DNA4, [[0, 0, 0, 0]], [1.0])
    with raises("energy must be a fraction", "1.5"):
        spectrum.truncate(energy=1.5)
    with raises("max_terms must be at least 0"):
        spectrum.truncate(max_terms=-1)
    with raises(
        "expected a Sketch or a Spectrum", "str", r"by ss.sketch\(model, space, budget=...\), or load"
    ):
        ss.Explainer("sketch")
    advice = r"for one-hot features pass the codes, array.reshape\(-1, 4, 4\).argmax\(axis=2\)"
    for onehot in (np.eye(4)[None], np.eye(4).reshape(1, 16)):
        for array in (onehot, onehot.astype(int)):
            with raises("codes must", advice):
                ss.Explainer(spectrum)(array)
        with raises("background", advice):
            ss.Explainer(spectrum, background=onehot)
    for sequence in (["ACGT"], DNA4.encode(["ACGT", "AAAA"]), [[0, 1, 2, 3]]):
        with raises("pass one sequence, a string or codes", r"\(4,\)"):
            ss.Explainer(spectrum).best_mutants(sequence, 1)
    with raises("background must be 'uniform', a reference of"):
        ss.Explainer(spectrum, background="unifrom")
    with raises("index must be one of", "did you mean 'Moebius'"):
        ss.Explainer(spectrum).interactions(["ACGT"], index="Mobius")
    with raises("max_order must be at least 1"):
        ss.Explainer(spectrum).interactions(["ACGT"], max_order=0)


def test_plots():
    spectrum = ss.Spectrum(DNA4, [[0, 0, 0, 0], [0, 0, 2, 2]], [1.0, 2.0])
    explainer = ss.Explainer(spectrum)
    explanation = explainer(["ACGT"])
    pairs = explainer.interactions(["ACGT"], index="SII", max_order=2)
    for wrong in (explanation.values, pairs, None):
        with raises("explanation must be an Explanation, got"):
            plot.position_letter_map(wrong, DNA4)
    for space in (ss.SequenceSpace("TGCA", 4), ss.SequenceSpace(ss.DNA, 5)):
        with raises("space must be that of the explained sequences, over 'ACGT' of length 4, got"):
            plot.position_letter_map(explanation, space)
    with raises("space must be a SequenceSpace, got str"):
        plot.position_letter_map(explanation, "ACGT")
    with raises("ax must be the Axes of matplotlib, got 3"):
        plot.position_letter_map(explanation, DNA4, ax=3)
    with raises("ax must be the Axes of matplotlib, got 3"):
        plot.pair_map(pairs, 4, ax=3)
    with raises("interactions must be Interactions, got"):
        plot.pair_map(explanation, 4)
    with raises("n must be an integer, got '4'"):
        plot.pair_map(pairs, "4")
    for n in (3, 100):
        with raises(f"n must be 4, the length of the explained sequences, got {n}"):
            plot.pair_map(pairs, n)
    singles = explainer.interactions(["ACGT"], index="SII", max_order=1)
    for none in (singles, pairs.order(1), explainer.interactions(["ACGT"], index="SV", max_order=2)):
        with raises("have no pairs", "max_order=2"):
            plot.pair_map(none, 4)


def test_pairs_without_interactions_are_drawn_as_zeros():
    """No pair interacts: they were computed, and all are 0."""
    import matplotlib.pyplot as plt

    explainer = ss.Explainer(ss.Spectrum(DNA4, [[0, 0, 0, 2]], [1.0]))
    pairs = explainer.interactions(["ACGT"], index="SII", max_order=2)
    for drawn in (pairs, pairs.order(2)):
        ax = plot.pair_map(drawn, 4)
        means = ax.images[0].get_array().filled(np.nan)
        assert (means[np.triu_indices(4, 1)] == 0).all()
        plt.close(ax.figure)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"b": 0}, ["b must be at least 1"]),
        ({"b": 5}, ["b must be 1 to the sequence length 4, got 5"]),
        ({"b": 2, "groups": 3, "subsampling": "simple"}, ["3 groups of 2 positions", "length 6, not 4"]),
        ({"b": 1, "delays": "nos"}, ["delays must be one of", "did you mean 'nso'"]),
        ({"b": 1, "repeats": 0}, ["repeats must be at least 1"]),
    ],
)
def test_designs(arguments, parts):
    with raises(*parts):
        ss.QueryDesign(DNA4, **arguments)


def test_designs_that_are_too_large():
    with raises("exceed 2", "lower b"):
        ss.QueryDesign(ss.SequenceSpace(ss.PROTEIN, 50), b=10)


def test_observations_and_decoders():
    design = ss.QueryDesign(DNA4, b=1)
    values = np.zeros(len(design))
    with raises(r"values must have shape", "one for each query"):
        ss.Observations(design, values[1:])
    with raises("nan at index 2"):
        ss.Observations(design, np.where(np.arange(len(design)) == 2, np.nan, 0.0))
    with raises("real numbers", "complex"):
        ss.Observations(design, values * 1j)
    with raises("design must be a QueryDesign"):
        ss.Observations("design", values)
    with raises("expected Observations"):
        ss.PeelingDecoder().fit(values)
    with raises("noise must be", "-1"):
        ss.PeelingDecoder(noise=-1.0).fit(ss.Observations(design, values))
    with raises("max_rounds must be at least 1"):
        ss.PeelingDecoder(max_rounds=0).fit(ss.Observations(design, values))
    scattered = ss.QueryDesign(DNA4, b=1, delays="random")
    with raises("frequencies cannot be read from"):
        ss.PeelingDecoder().fit(ss.Observations(scattered, np.zeros(len(scattered))))


def test_only_the_identity_makes_a_complete_design_an_exact_transform():
    weights = np.arange(16.0).reshape(4, 4)
    for subsampling in ("simple", "random"):
        design = ss.QueryDesign(DNA4, b=4, groups=1, subsampling=subsampling, delays="zero")
        values = weights[np.arange(4), design.queries()].sum(axis=1)
        observations = ss.Observations(design, values)
        if subsampling == "simple":
            spectrum = ss.PeelingDecoder().fit(observations).spectrum_
            np.testing.assert_allclose(spectrum.predict(design.queries()), values, atol=1e-12)
        else:
            with raises("frequencies cannot be read from"):
                ss.PeelingDecoder().fit(observations)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "sketch.safetensors"
    ss.sketch(motif_model, RNA9, budget=3000, progress=False).save(path)
    return path


def rewrite(path, change):
    """Apply `change` to the header and the shapsketch metadata of a file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    meta = json.loads(header["__metadata__"]["shapsketch"])
    change(header, meta)
    if "__metadata__" in header:
        header["__metadata__"]["shapsketch"] = json.dumps(meta)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_truncated_files(saved):
    data = saved.read_bytes()
    for length in [0, 7, 8, 100, len(data) // 2, len(data) - 1]:
        saved.write_bytes(data[:length])
        with raises("sketch.safetensors", "not a complete safetensors file", error=ss.FileError):
            ss.load(saved)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda header, meta: meta.update(version=99), ["format version 99", "reads version 1"]),
        (lambda header, meta: meta.update(kind="trees"), ["kind .trees.", "update shapsketch"]),
        (lambda header, meta: meta.update(length=3), ["damaged"]),
        (lambda header, meta: meta.update(alphabet="A"), ["does not match its digest"]),
        (lambda header, meta: meta.pop("alphabet"), ["metadata is damaged"]),
        (lambda header, meta: header.pop("__metadata__"), ["not a shapsketch sketch"]),
    ],
)
def test_altered_files(saved, change, parts):
    rewrite(saved, change)
    with raises(*parts, error=ss.FileError):
        ss.load(saved)


def test_files_that_are_not_sketches(tmp_path):
    with raises("No such file", error=ss.FileError):
        ss.load(tmp_path / "nowhere")
    (tmp_path / "text").write_text("hello, this is text")
    with raises("not a complete safetensors file", error=ss.FileError):
        ss.load(tmp_path / "text")
    with raises("No such file", error=ss.FileError):
        ss.Sketch(ss.Spectrum(DNA4, [[0, 0, 0, 0]], [1.0])).save(tmp_path / "no" / "folder")


def test_errors_can_be_caught_by_kind():
    assert issubclass(ss.InputError, ValueError)
    assert issubclass(ss.BudgetError, ss.InputError)
    assert issubclass(ss.FileError, OSError)
    assert issubclass(ss.ModelError, RuntimeError)
    assert issubclass(ss.MissingExtraError, ImportError)
    for error in (ss.InputError, ss.FileError, ss.ModelError, ss.MissingExtraError):
        assert issubclass(error, ss.ShapsketchError)


def two(sequences):
    return [[s.count("G"), s.count("A")] for s in sequences]


def named(sequences, names=("a", "b")):
    return {name: [float(s.count("G")) for s in sequences] for name in names}


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (
            two,
            [
                r"output\[:, 0\], or sketch each of them with",
                r"sketch_outputs\(model, .*'output 0', 'output 1'",
            ],
        ),
        (
            named,
            ["several outputs, 'a', 'b', on", r"select\(model, 'b'\)", r"outputs\(model, .*=\['a', 'b'\], "],
        ),
        (lambda s: named(s, ["a"]), ["an output with a name, 'a', on", r"select\(model, 'a'\)$"]),
        (lambda s: {**named(s, "a"), "sequence": s}, ["'a', 'sequence', on", r"select\(model, 'a'\)$"]),
        (
            lambda s: dict(zip(s, range(len(s)), strict=True)),
            ["keys are the sequences", "in the order of the"],
        ),
    ],
)
def test_the_advice_for_several_outputs_can_be_followed(model, parts):
    with raises(*parts, error=ss.ModelError):
        ss.sketch(model, RNA9, budget=300, progress=False)


def test_the_advice_of_these_messages_works():
    space = ss.SequenceSpace(ss.RNA, 5)
    options = {"budget": 300, "method": "regress", "progress": False}
    first = ss.sketch(lambda s: np.array(two(s))[:, 0], space, **options)
    each = ss.sketch_outputs(two, space, outputs=["output 0", "output 1"], **options)
    selected = ss.sketch(ss.models.select(named, "b"), space, **options)
    np.testing.assert_array_equal(each["output 0"].predict(["GGGGG"]), first.predict(["GGGGG"]))
    np.testing.assert_array_equal(selected.predict(["GGGGG"]), first.predict(["GGGGG"]))


def test_messages_list_the_first_of_many_names():
    names = [f"output number {index}" for index in range(900)]
    calls = [
        lambda: ss.sketch(lambda s: named(s, names), RNA9, budget=300, progress=False),
        lambda: ss.sketch(lambda s: np.zeros((len(s), 900)), RNA9, budget=300, progress=False),
        lambda: ss.sketch_outputs(lambda s: named(s, names), RNA9, outputs=["x"], budget=300, progress=False),
        lambda: by_evaluator(ss.sketch, lambda s: dict.fromkeys(s, 1.0), RNA9, budget=3000, batch_size=3000),
        lambda: ss.models.select(ss.models.select(lambda s: named(s, names), 0), "x")(["A"]),
    ]
    for call in calls:
        with pytest.raises(ss.ModelError) as caught:
            call()
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (lambda s: {"a": [1.0] * len(s), "b": [np.nan] * len(s)}, ["nan as the output 'b' for query 0"]),
        (lambda s: {"a": [1.0] * len(s), "b": [2.0]}, [r"got shape \(1,\) for the output 'b' on queries"]),
        (
            lambda s: {"a": [1.0] * len(s), "b": ["x"] * len(s)},
            ["for the output 'b'", r"'x' \(str\) for query 0"],
        ),
        (
            lambda s: [{"a": 1.0, "b": 2.0} for _ in s],
            [r"\(dict\) for query 0", "a dict with one array for each"],
        ),
        (lambda s: dict.fromkeys(s, 1.0), ["keys are the sequences"]),
    ],
)
def test_several_outputs(model, parts):
    with raises(*parts, error=ss.ModelError):
        ss.sketch_outputs(model, RNA9, outputs=["a", "b"], budget=300, progress=False)


X = np.random.default_rng(0).integers(0, 4, (600, 4))
Y = 1.0 * (X[:, 0] == 2) + np.random.default_rng(1).normal(0, 0.1, 600)


@pytest.mark.parametrize(
    ("y", "parts"),
    [
        (None, [r"y must be real numbers, got None"]),
        ([*Y[:-1], None], [r"y must be real numbers.*None \(NoneType\) at index 599"]),
        ([*Y[:-1], "n.d."], [r"'n.d.' \(str\) at index 599"]),
        ([*Y[:-1], 10**400], [r"\(int\), which is too large for float64 at index 599"]),
        (pandas.Series([*Y[:-1], "n.d."]), [r"'n.d.' \(str\) at index 599"]),
        (Y.astype(object), ["dtype object; convert them to float"]),
        (Y * 1e200, ["y: the largest magnitude", "at index", "rescale y to magnitudes from 1e-120"]),
        (Y * 1e-130, ["y: the largest magnitude", "rescale y"]),
    ],
)
def test_one_bad_value_of_y_is_named(y, parts):
    for fit in (ss.TreeSketch(DNA4).fit, ss.SparseRegressor(DNA4).fit, lambda *a: ss.fit(*a, DNA4)):
        with raises(*parts):
            fit(X, y)


def test_bad_weights_and_values_outside_a_link_are_named():
    with raises("sample_weight: the largest magnitude, 1e\\+300 at index 0", "rescale sample_weight"):
        ss.fit(X, Y, DNA4, sample_weight=np.r_[1e300, np.ones(599)])
    with raises("sample_weight: the largest magnitude, 1e-300 at index 0"):
        ss.fit(X, Y, DNA4, sample_weight=np.full(600, 1e-300))
    with raises("sample_weight must be real numbers", "at index 599"):
        ss.fit(X, Y, DNA4, sample_weight=[*np.ones(599), None])
    with raises("y: value -", "outside the domain of the link 'log'") as caught:
        ss.fit(X, Y, DNA4, link="log")
    assert not isinstance(caught.value, ss.ModelError)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_values_that_cannot_be_squared_are_refused_after_the_first_batch(size):
    evaluated = []

    def model(sequences):
        evaluated.extend(sequences)
        return [size * (1 + s.count("G")) for s in sequences]

    with raises("first 16 values have magnitudes", "link='log'"):
        ss.sketch(model, RNA9, budget=300, method="regress", progress=False)
    assert len(evaluated) == 16
    with raises("values of the output 'b' have magnitudes"):
        ss.sketch_outputs(lambda s: [(1.0, v) for v in model(s)], RNA9, outputs=["a", "b"], budget=300)
    # An evaluation alone squares nothing, and neither does a fit of logarithms.
    assert ss.Evaluator(model).evaluate(["G" * 9], RNA9, progress=False)[0] == size * 10
    assert ss.sketch(model, RNA9, budget=300, method="regress", link="log", progress=False).r2 > 0.8


def test_a_few_values_that_are_tiny_by_chance_are_not_refused():
    def model(sequences):
        return [1e-200 if s == "AAA" else float(s.count("G")) for s in sequences]

    space = ss.SequenceSpace(ss.DNA, 3)
    evaluator = ss.Evaluator(model, batch_size=1)
    assert ss.sketch(evaluator, space, budget=64, progress=False).r2 == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["trees", "distill"])
def test_trees_need_a_budget_of_300(method):
    def model(sequences):
        raise AssertionError("evaluated")

    parts = ["budget of 299 is too small", f"method='{method}' needs 300", "budget=300", "'regress'"]
    with raises(*parts, error=ss.BudgetError):
        ss.plan(RNA9, 299, method=method)
    with raises(*parts, error=ss.BudgetError):
        ss.sketch(model, RNA9, budget=299, method=method, progress=False)
    with raises("this space has 256", "method='exact' with budget=256", error=ss.BudgetError):
        ss.plan(DNA4, 1000, method=method)
    assert ss.plan(RNA9, 300, method=method).total_queries == 300


def test_the_class_of_an_executor_is_refused():
    with raises(
        r"executor is the class ThreadPoolExecutor; pass an instance, such as ThreadPoolExecutor\(4\)"
    ):
        ss.Evaluator(motif_model, executor=ThreadPoolExecutor)
