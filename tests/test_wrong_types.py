"""Every public entry refuses values of wrong types in its own words.

Each parameter of each public function, class and method receives each of the values of `WRONG`. The call
returns or raises an error of shapsketch. It raises if the type hint of the parameter excludes the value.
"""

import collections.abc
import contextlib
import decimal
import inspect
import itertools
import numbers
import os
import pathlib
import sys
import types
import typing
from dataclasses import dataclass

import numpy as np
import shapsketch as ss

SPACE = ss.SequenceSpace(ss.DNA, 3)
CODES = SPACE.encode(["ACG", "TTT", "GAT", "CCC"])
# Enough distinct sequences for a regression.
MANY = np.array(list(itertools.product(range(4), repeat=3)), dtype=np.uint8)
VALUES = MANY[:, 0] * 1.0 + (MANY[:, 1] == 2)


def model(batch):
    return np.array([s.count("A") + 2.0 * (s[1] == "G") for s in batch])


def pair(batch):
    return np.array([(s.count("A"), s.count("G")) for s in batch], dtype=float)


def keeps(masks):
    return masks @ np.array([1.0, 2.0, 3.0])


def anything(*_, **__):
    return None


class Anything:
    def __init__(self, *_, **__):
        pass


# Values of many types, each made anew for each call, because generators are used up.
WRONG = {
    "None": lambda: None,
    "True": lambda: True,
    "np.False_": lambda: np.False_,
    "0": lambda: 0,
    "-1": lambda: -1,
    "2**70": lambda: 2**70,
    "10**12": lambda: 10**12,
    "np.int8(3)": lambda: np.int8(3),
    "1.5": lambda: 1.5,
    "nan": lambda: float("nan"),
    "-inf": lambda: -float("inf"),
    "np.float32(2)": lambda: np.float32(2),
    "Decimal(2)": lambda: decimal.Decimal(2),
    "1j": lambda: 1j,
    "''": lambda: "",
    "'no'": lambda: "no",
    "surrogate": lambda: "A\ud800C",
    "null": lambda: "A\0C",
    "b'ACG'": lambda: b"ACG",
    "bytearray": lambda: bytearray(b"ACG"),
    "[]": list,
    "[None]": lambda: [None],
    "[1, 'a']": lambda: [1, "a"],
    "ragged": lambda: [[1], [1, 2]],
    "['surrogate']": lambda: ["A\ud800C"],
    "['ACG', 'ACG']": lambda: ["ACG", "ACG"],
    "[b'ACG']": lambda: [b"ACG"],
    "(1, 2)": lambda: (1, 2),
    "('csv', nan)": lambda: ("csv", float("nan")),
    "{}": dict,
    "{1: 2}": lambda: {1: 2},
    "{'name': None}": lambda: {"name": None},
    "set": lambda: {3, "ACG"},
    "object": object,
    "class": lambda: Anything,
    "function": lambda: anything,
    "generator": lambda: (i for i in range(2)),
    "failing generator": lambda: (1 // i for i in range(2)),
    "range": lambda: range(3),
    "path": lambda: pathlib.Path("no", "where"),
    "empty array": lambda: np.array([]),
    "floats": lambda: np.zeros((2, 3)),
    "nans": lambda: np.full(4, np.nan),
    "codes out of range": lambda: np.full((4, 3), 9),
    "masked codes": lambda: np.ma.masked_array(CODES, CODES == 3),
    "masked floats": lambda: np.ma.masked_array(np.linspace(0, 1, 64), np.arange(64) == 3),
    "objects": lambda: np.array([object(), None]),
    "scalar array": lambda: np.array(3),
    "strings": lambda: np.array(["ACG", "no"]),
    "bytes": lambda: np.array([b"ACG"]),
    "dates": lambda: np.array(["2020-01-01"], dtype="datetime64[D]"),
    "records": lambda: np.zeros(3, dtype=[("a", int), ("b", float)]),
    "space": lambda: ss.SequenceSpace("01", 9),
    "module": lambda: types,
}
MASKED = ("masked codes", "masked floats")
UNREADABLE = ("surrogate", "['surrogate']")


def allowed(hint, value):
    """Return whether a type hint allows a value; None if the hint does not decide."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        each = [allowed(part, value) for part in args]
        return True if True in each else None if None in each else False
    if typing.get_origin(hint) is typing.Literal:
        return isinstance(value, str) and value in args
    if typing.get_origin(hint) is collections.abc.Callable:
        return callable(value)
    if hint is bool:
        return isinstance(value, (bool, np.bool_))
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if hint is type(None):
        return value is None
    if getattr(hint, "__origin__", None) is os.PathLike:
        return isinstance(value, os.PathLike)
    if hint is str or (inspect.isclass(hint) and hint.__module__.startswith("shapsketch.")):
        return None if getattr(hint, "_is_protocol", False) else isinstance(value, hint)
    return None


@dataclass
class Case:
    """A public function, class or method, how to use it, and arguments that are valid."""

    name: str
    entry: object
    arguments: dict
    use: object = None

    def __call__(self, arguments):
        result = (self.use or self.entry)(**arguments)
        if isinstance(result, (collections.abc.Iterator, ss.SequenceReader)):
            list(result)


def fitted(estimator, *, X=MANY, y=VALUES):
    """Return a function that sets the parameters of an estimator and fits it."""

    def use(**params):
        arguments = () if y is None else (y,)
        return estimator(**params).fit(X, *arguments)

    return use


def is_public(name):
    return not name.startswith("_")


def cases(folder):
    """Return the cases of the whole public surface."""
    table, sequences, saved = folder / "t.csv", folder / "s.fasta", folder / "k.safetensors"
    table.write_text("sequence,score\nACG,0.5\n")
    sequences.write_text(">a\nACG\n")
    sketch = ss.sketch(model, SPACE, budget=64, progress=False)
    sketch.save(saved)
    explainer, spectrum = ss.Explainer(sketch), sketch.spectrum
    design = ss.QueryDesign(SPACE, b=1)
    observations = ss.Observations(design, np.zeros(len(design)))
    evaluator = ss.Evaluator(model)
    interactions = explainer.interactions(CODES)
    plan = ss.plan(SPACE, 64)
    numbered = itertools.count()
    scan = folder / "v.csv"
    scan.write_text("mutant,score\nWT,1\nA1C,0.5\nA1C:C2T,0\n")
    variants = ss.read_variants(scan, wild_type="ACG")
    effects = ss.VariantEffects(sketch, variants)
    masked = ss.explain_masks(keeps, 3, 8, progress=False)

    def store():
        return ss.Store(folder / f"{next(numbered)}.db")

    held = ss.Store(folder / "held.db")
    ss.Evaluator(model, store=held).evaluate(CODES, SPACE, progress=False)
    regressor = ss.SparseRegressor(SPACE, dictionary=ss.Dictionary(orders=1), basis="letters", penalty=0.01)
    regressor.fit(MANY, VALUES)

    def write(**arguments):
        with ss.TableWriter(**arguments) as writer:
            writer.write({"name": ["a"]})

    def write_batch(batch):
        with ss.TableWriter(folder / "w.csv", {"name": "string", "x": "float64"}) as writer:
            writer.write(batch)

    def evaluate_all(**arguments):
        return ss.Evaluator(**arguments).evaluate(CODES, SPACE, progress=False)

    distant = ss.Spectrum(SPACE, [[0, 0, 0]], [1.0])
    listed = [
        Case("SequenceSpace", ss.SequenceSpace, {"alphabet": "ACGT", "length": 3}),
        Case("SequenceSpace.encode", SPACE.encode, {"sequences": ["ACG"]}),
        Case("SequenceSpace.decode", SPACE.decode, {"codes": CODES}),
        Case("SequenceSpace.onehot", SPACE.onehot, {"codes": CODES}),
        Case("QueryDesign", ss.QueryDesign, {"space": SPACE, "b": 1}),
        Case("QueryDesign.queries", design.queries, {}),
        Case("QueryDesign.batches", design.batches, {}),
        Case("Observations", ss.Observations, {"design": design, "values": np.zeros(len(design))}),
        Case("plan", ss.plan, {"space": SPACE, "budget": 64}),
        Case("Plan.batches", plan.batches, {}),
        Case("Spectrum", ss.Spectrum, {"space": SPACE, "frequencies": [[0, 0, 0]], "coefficients": [1.0]}),
        Case("Spectrum.predict", spectrum.predict, {"sequences": CODES}),
        Case("Spectrum.truncate", spectrum.truncate, {}),
        Case("Spectrum.order_energy", spectrum.order_energy, {}),
        Case("Sketch", ss.Sketch, {"spectrum": spectrum}),
        Case("Sketch.predict", sketch.predict, {"sequences": CODES}),
        Case("Sketch.save", sketch.save, {"path": folder / "new.safetensors"}),
        Case("Sketch.summary", sketch.summary, {}),
        Case("load", ss.load, {"path": saved}),
        Case("Dictionary", ss.Dictionary, {}),
        Case("Relation", ss.Relation, {"name": "same", "matrix": np.eye(4, dtype=bool)}),
        Case("Evaluator", ss.Evaluator, {"model": model}, evaluate_all),
        Case(
            "Evaluator.evaluate",
            evaluator.evaluate,
            {"sequences": CODES, "space": SPACE, "progress": False},
        ),
        Case(
            "Store", ss.Store, {"path": "new.db"}, lambda **a: evaluate_all(model=model, store=ss.Store(**a))
        ),
        Case("Store.read", held.read, {}),
        Case("Store.rescue", held.rescue, {"path": "rescued.db"}),
        Case("read_sequences", ss.read_sequences, {"path": sequences, "space": SPACE}),
        Case("write_sequences", ss.write_sequences, {"path": "w.fa", "space": SPACE, "batches": [CODES]}),
        Case("TableWriter", ss.TableWriter, {"path": "w.csv", "columns": {"name": "string"}}, write),
        Case("TableWriter.write", ss.TableWriter.write, {"batch": {"name": ["a"], "x": [1.0]}}, write_batch),
        Case("sketch", ss.sketch, {"model": model, "space": SPACE, "budget": 64, "progress": False}),
        Case(
            "sketch_outputs",
            ss.sketch_outputs,
            {"model": pair, "space": SPACE, "budget": 64, "outputs": ["a", "g"], "progress": False},
        ),
        Case(
            "explain_masks",
            ss.explain_masks,
            {"value_function": keeps, "features": 3, "budget": 8, "progress": False},
        ),
        Case("MaskExplanation.predict", masked.predict, {"masks": np.eye(3, dtype=bool)}),
        Case("MaskExplanation.interactions", masked.interactions, {}),
        Case("MaskExplanation.top", masked.top, {"count": 2}),
        Case("MaskInteractions.top", masked.interactions().top, {"count": 2}),
        Case("fit", ss.fit, {"X": MANY, "y": VALUES, "space": SPACE, "dictionary": ss.Dictionary(orders=1)}),
        Case(
            "SparseRegressor",
            ss.SparseRegressor,
            {"space": SPACE, "dictionary": ss.Dictionary(orders=1), "basis": "letters", "penalty": 0.01},
            fitted(ss.SparseRegressor),
        ),
        Case("SparseRegressor.fit", ss.SparseRegressor(SPACE).fit, {"X": MANY, "y": VALUES}),
        Case("SparseRegressor.predict", regressor.predict, {"X": MANY}),
        Case("SparseRegressor.score", regressor.score, {"X": MANY, "y": VALUES}),
        # With too few sequences for trees: the parameters are checked before.
        Case("TreeSketch", ss.TreeSketch, {"space": SPACE}, fitted(ss.TreeSketch)),
        Case("TreeSketch.fit", ss.TreeSketch(SPACE).fit, {"X": MANY, "y": VALUES}),
        Case("TreeSketch.predict", ss.TreeSketch(SPACE).predict, {"X": MANY}),
        Case("TreeSketch.score", ss.TreeSketch(SPACE).score, {"X": MANY, "y": VALUES}),
        Case("PeelingDecoder", ss.PeelingDecoder, {}, fitted(ss.PeelingDecoder, X=observations, y=None)),
        Case("PeelingDecoder.fit", ss.PeelingDecoder().fit, {"observations": observations}),
        Case("from_trees", ss.from_trees, {"model": tree(), "space": SPACE}),
        Case("DinucleotideShuffles", ss.DinucleotideShuffles, {}, shuffled),
        Case(
            "DinucleotideShuffles.of",
            ss.DinucleotideShuffles(2).of,
            {"space": SPACE, "sequences": CODES},
        ),
        Case("Mutagenesis", ss.Mutagenesis, {"wild_type": "ACG"}, lambda **a: ss.Mutagenesis(**a).of(SPACE)),
        Case("Mutagenesis.of", ss.Mutagenesis("ACG").of, {"space": SPACE}),
        Case("Hybrids", ss.Hybrids, {"sequences": CODES}, lambda **a: ss.Hybrids(**a).of(SPACE)),
        Case("Hybrids.of", ss.Hybrids(CODES).of, {"space": SPACE}),
        # The sketch has no predictor: the parameters are checked before.
        Case("amortise", ss.amortise, {"sketch": ss.Sketch(distant)}),
        Case("Explainer", ss.Explainer, {"sketch": distant}, lambda **a: ss.Explainer(**a)(CODES)),
        Case("Explainer.shap_values", explainer.shap_values, {"sequences": CODES}),
        Case("Explainer.stream", explainer.stream, {"batches": [CODES]}),
        Case("Explainer.interactions", explainer.interactions, {"sequences": CODES}),
        Case("Explainer.mutation_effects", explainer.mutation_effects, {"sequences": CODES}),
        Case("Explainer.epistasis", explainer.epistasis, {"sequences": CODES}),
        Case("Explainer.best_mutants", explainer.best_mutants, {"sequence": "ACG", "mutations": 1}),
        Case("Explainer.sobol", explainer.sobol, {}),
        Case("Explainer.motifs", explainer.motifs, {}),
        Case("Explainer.spacing", explainer.spacing, {"first": "A", "second": "C"}),
        Case("Explainer.attribution_map", explainer.attribution_map, {"sequences": CODES}),
        Case(
            "Explainer.refine",
            explainer.refine,
            {"model": evaluator, "sequences": CODES[:1], "calls_per_sequence": 32, "progress": False},
        ),
        Case("Predictor.predict", with_predictor(sketch)._sketch.predictor.predict, {"sequences": CODES}),
        Case(
            "faithfulness",
            ss.faithfulness,
            {
                "model": evaluator,
                "explainer": explainer,
                "sequences": CODES[:1],
                "budget": 200,
                "progress": False,
            },
        ),
        Case(
            "report",
            ss.report,
            {"sketch": explainer, "path": "r.html", "sequences": CODES[:1], "names": ["a"], "figures": 0},
        ),
        Case("read_variants", ss.read_variants, {"path": scan, "wild_type": "ACG"}),
        Case("Variants.name", variants.name, {"codes": CODES}),
        Case("Variants.encode", variants.encode, {"names": ["A1C"]}),
        Case("Variants.summary", variants.summary, {}),
        Case("VariantEffects", ss.VariantEffects, {"sketch": sketch, "variants": variants}),
        Case("VariantEffects.singles", effects.singles, {}),
        Case("VariantEffects.epistasis", effects.epistasis, {}),
        Case("VariantEffects.best", effects.best, {"mutations": 1}),
        Case("VariantTable.rows", effects.singles().rows, {"indices": [0]}),
        Case("VariantTable.top", effects.singles().top, {"count": 2}),
        Case("VariantTable.save", effects.singles().save, {"path": "t.csv"}),
        Case("Interactions.order", interactions.order, {"order": 1}),
        Case("Interactions.top", interactions.top, {"count": 2}),
        Case("Interactions.records", interactions.records, {}),
        Case("Interactions.to_frame", interactions.to_frame, {}),
        Case("Epistasis.top", explainer.epistasis(CODES).top, {"count": 2}),
        Case("Epistasis.records", explainer.epistasis(CODES).records, {}),
        Case("Epistasis.to_frame", explainer.epistasis(CODES).to_frame, {}),
        Case("Interactions.to_shapiq", interactions.to_shapiq, {"row": 1}),
        Case("Interactions.dense", interactions.dense, {}),
        Case("Sobol.top", explainer.sobol().top, {"count": 2}),
    ]
    listed += [
        Case(f"{name}.{method}", getattr(estimator, method), arguments)
        for name, estimator in [
            ("SparseRegressor", ss.SparseRegressor()),
            ("TreeSketch", ss.TreeSketch(SPACE)),
            ("PeelingDecoder", ss.PeelingDecoder()),
        ]
        for method, arguments in [("get_params", {}), ("set_params", {})]
    ]
    return listed + adapters(table) + plots(sketch, effects)


def tree():
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor(max_depth=2).fit(MANY, VALUES)


def booster():
    import lightgbm

    return lightgbm.train({"verbosity": -1, "min_data_in_leaf": 2}, lightgbm.Dataset(MANY, VALUES), 2)


def shuffled(**arguments):
    shuffles = ss.DinucleotideShuffles(**arguments)
    return ss.Explainer(ss.Spectrum(SPACE, [[0, 0, 0]], [1.0]), shuffles)


def with_predictor(sketch):
    r2 = ss._core.RSquared(np.arange(9.0), np.arange(9.0))
    parts = [("regress", 1.0, 1.0, sketch._core)]
    predictor = ss._core.Predictor(sketch.space._core, constant=0.0, parts=parts, r2=r2)
    return ss.Explainer(ss.Sketch._wrap(sketch._core.with_predictor(predictor)))


def adapters(table):
    """Return the cases of `models`; adapters are created and used."""
    models = ss.models

    def used(adapter):
        """Return a function that creates an adapter and evaluates it."""
        return lambda **arguments: ss.Evaluator(adapter(**arguments)).evaluate(CODES, SPACE, progress=False)

    class Network:
        layers = ()

        def predict(self, x, batch_size=None, verbose=0):
            return x.reshape(len(x), -1)[:, :2]

    return [
        Case("models.array", models.array, {"model": lambda x: x[:, 0, 0]}, used(models.array)),
        Case(
            "models.booster",
            models.booster,
            {"booster": booster(), "features": "codes"},
            used(models.booster),
        ),
        Case("models.check", models.check, {"model": model, "space": SPACE}),
        Case("models.command", models.command, {"arguments": ["true"]}),
        Case("models.imported", models.imported, {"path": "numpy:char.str_len"}, used(models.imported)),
        Case("models.keras", models.keras, {"model": Network()}, used(models.keras)),
        Case(
            "models.reverse_complement",
            models.reverse_complement,
            {"model": model},
            used(models.reverse_complement),
        ),
        Case("models.select", models.select, {"model": pair, "output": 1}, used(models.select)),
        Case(
            "models.sklearn", models.sklearn, {"estimator": tree(), "features": "codes"}, used(models.sklearn)
        ),
        Case("models.table", models.table, {"path": table}),
        Case("models.template", models.template, {"model": model, "template": "ANG"}),
        Case("models.torch", models.torch, {"module": object()}),
    ]


def plots(sketch, effects):
    """Return the cases of `plot`; figures are closed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def drawn(function):
        def use(**arguments):
            try:
                function(**arguments)
            finally:
                plt.close("all")

        return use

    explainer = ss.Explainer(sketch)
    explanation, pairs = explainer(CODES), explainer.interactions(CODES, index="FSII")
    arguments = {
        "arcs": {"interactions": pairs},
        "beeswarm": {"explanation": explanation},
        "budget_curve": {"sketches": [sketch]},
        "epistasis_map": {"scan": effects},
        "logo": {"attributions": explanation[0]},
        "mutation_map": {"source": explainer, "sequence": "ACG"},
        "network": {"interactions": pairs},
        "order_energy": {"sobol": explainer.sobol()},
        "spacing": {"curve": explainer.spacing("A", "C")},
        "pair_map": {"interactions": pairs, "n": 3},
        "position_letter_map": {"explanation": explanation, "space": SPACE},
        "predicted_against_true": {"sketch": sketch, "sequences": CODES, "values": np.zeros(4)},
        "waterfall": {"result": pairs[0]},
    }
    functions = {name: getattr(ss.plot, name) for name in arguments}
    return [Case(f"plot.{name}", f, arguments[name], drawn(f)) for name, f in functions.items()]


def hints_of(entry):
    """Return the types of the parameters of a function or class, by name."""
    function = entry.__init__ if inspect.isclass(entry) else entry
    function = getattr(function, "__func__", function)
    names, hints = vars(sys.modules[entry.__module__]), {}
    for name, text in function.__annotations__.items():
        # `Sequences`, an alias in quotes, cannot be combined with other types, and matplotlib's `Axes` is not
        # imported; then the hint decides nothing.
        with contextlib.suppress(TypeError, NameError):
            hints[name] = eval(text, names) if isinstance(text, str) else text
    return hints


def wrong_cases(case):
    """Yield a description of each wrong value and what is wrong with the reaction to it."""
    hints = hints_of(case.entry)
    parameters = [
        name for name, p in inspect.signature(case.entry).parameters.items() if p.kind != p.VAR_KEYWORD
    ]
    for name in parameters:
        if name in ("self",):
            continue
        for label, make in WRONG.items():
            value, given = make(), make()
            reaction = None
            try:
                case({**case.arguments, name: given})
            except ss.ShapsketchError as error:
                text = str(error)
                if "internally" in text or not text:
                    reaction = f"says {text!r}"
            except ZeroDivisionError:
                if label != "failing generator":
                    reaction = "raises ZeroDivisionError"
            except BaseException as error:
                reaction = f"raises {type(error).__name__}: {str(error)[:150]}"
            else:
                if allowed(hints.get(name), value) is False or label in (*MASKED, *UNREADABLE):
                    reaction = "is accepted"
            if reaction is not None:
                yield f"{case.name}({name}={label}) {reaction}"


def test_wrong_types_are_refused_in_the_words_of_shapsketch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faults = [fault for case in cases(tmp_path) for fault in wrong_cases(case)]
    assert not faults, "\n".join(faults)


# Results are made by the library, and exceptions only carry text.
RESULTS = (
    "Agreement", "AttributionMap", "Candidate", "Epistasis", "Explanation", "Faithfulness", "Interactions",
    "MaskExplanation", "MaskInteractions", "Motif", "Motifs", "Mutants", "Pattern", "Plan", "Predictor",
    "PredictorPart", "Records", "Run", "SequenceReader", "Sobol", "Spacing", "VariantTable", "Variants",
    "models.Check",
)  # fmt: skip


# Methods that other packages of shapsketch call.
INTERNAL = ("Evaluator.adapted", "Evaluator.open", "Store.open")


def surface():
    """Yield the names of all public functions, classes and methods that have parameters."""
    named = [(name, getattr(ss, name)) for name in ss.__all__]
    named += [(f"models.{name}", getattr(ss.models, name)) for name in ss.models.__all__]
    named += [(f"plot.{name}", getattr(ss.plot, name)) for name in ss.plot.__all__]
    for name, value in named:
        if not callable(value) or (inspect.isclass(value) and issubclass(value, BaseException)):
            continue
        if name not in RESULTS:
            yield name
        if inspect.isclass(value):
            for method, function in inspect.getmembers(value, inspect.isfunction):
                own = function.__module__.startswith("shapsketch")
                if is_public(method) and own and list(inspect.signature(function).parameters) != ["self"]:
                    yield f"{name}.{method}"


def test_the_sweep_covers_the_whole_public_surface(tmp_path):
    covered = {case.name for case in cases(tmp_path)}
    missing = set(surface()) - covered - set(INTERNAL)
    assert not missing
