"""Commands for files: each writes what the function of Python returns."""

import itertools
import pickle
import sys

import lightgbm
import numpy as np
import pandas as pd
import pytest
import shapsketch as ss
import xgboost
from shapsketch.cli.plot import MANY, ONE
from shapsketch.files.write import write_sequences
from toys import motif_model

RNA9 = ss.SequenceSpace(ss.RNA, 9)
SPACE = ["--alphabet", "rna", "--length", "9"]
BACKGROUND = "GGGAAAUUU"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a sketch and sequences."""
    folder = tmp_path_factory.mktemp("commands")
    sketch = ss.sketch(motif_model, RNA9, budget=600, method="regress", progress=False)
    sketch.save(folder / "motifs.safetensors")
    codes = np.random.default_rng(0).integers(0, 4, (20, 9), dtype=np.uint8)
    for extension in ("fasta", "csv"):
        write_sequences(folder / f"seqs.{extension}", RNA9, [codes], prefix="s")
    (folder / "bad.fasta").write_text(">good\nGGGAAAUUU\n>short\nGGG\n")
    return folder


def codes_of(folder):
    return RNA9.encode(pd.read_csv(folder / "seqs.csv")["sequence"].tolist())


def test_report(succeed, shell, folder, tmp_path):
    sketch, seqs = folder / "motifs.safetensors", folder / "seqs.fasta"
    options = ["--background", BACKGROUND, "--figures", 1, "--title", "Mine"]
    facts = succeed("report", sketch, seqs, "-o", "page.html", *options, "--json")
    assert (facts["sequences"], facts["skipped"], facts["of"]) == (20, 0, "closed form")
    explainer = ss.Explainer(ss.load(sketch), BACKGROUND)
    names = [f"s{i}" for i in range(20)]
    ss.report(explainer, "direct.html", sequences=codes_of(folder), names=names, figures=1, title="Mine")
    assert (tmp_path / "page.html").read_bytes() == (tmp_path / "direct.html").read_bytes()
    assert "wrote alone.html" in succeed("report", sketch, "-o", "alone.html")
    code, _, err = shell("report", sketch, seqs, "-o", "page.html")
    assert (code, err) == (1, "shapsketch: page.html exists; --force replaces it\n")
    code, _, err = shell("report", sketch, folder / "bad.fasta", "-o", "bad.html")
    assert (code, "--on-error skip" in err, (tmp_path / "bad.html").exists()) == (1, True, False)
    code, out, err = shell("report", sketch, folder / "bad.fasta", "-o", "bad.html", "--on-error", "skip")
    assert code == 0
    assert "1 sequences in" in out
    assert "1 malformed ones skipped" in out


@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_motifs(succeed, folder, target):
    sketch = folder / "motifs.safetensors"
    options = ["--count", 7, "--max-order", 2, "--json"]
    report = succeed("motifs", sketch, folder / "seqs.csv", "-o", target, *options)
    expected = ss.Explainer(ss.load(sketch), of="closed form").motifs(
        7, max_order=2, sequences=codes_of(folder)
    )
    read = pd.read_parquet if target.endswith("parquet") else pd.read_csv
    table = read(target)
    assert report["rows"] == len(table) == len(expected) == 3
    assert table["motif"].tolist() == [motif.word for motif in expected]
    assert table["from"].tolist() == [motif.first for motif in expected]
    assert table["places"].tolist() == [len(motif.places) for motif in expected]
    for name in ("effect", "variance", "frequency", "found"):
        assert table[name].tolist() == [getattr(motif, name) for motif in expected]
    succeed("motifs", sketch, "-o", "alone.csv")
    assert "found" not in pd.read_csv("alone.csv")


def test_motifs_need_one_background_for_all_sequences(shell, folder, tmp_path):
    sketch = folder / "motifs.safetensors"
    code, _, err = shell("motifs", sketch, "-o", "out.csv", "--background", "shuffles")
    assert code == 1
    assert "motifs need a background that is the same for all sequences" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*ONE, *MANY])
def test_plots_of_sequences(succeed, folder, tmp_path, name):
    sketch, seqs = folder / "motifs.safetensors", folder / "seqs.fasta"
    report = succeed("plot", name, sketch, seqs, "-o", "x.svg", "--name", "s3", "--json")
    assert report["sequences"] == 1
    assert report["background"] == "uniform"
    assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")
    out = succeed("plot", name, sketch, seqs, "-o", "x.png")
    assert out == f"wrote x.png: {'s0' if name in ONE else '20 sequences'}\n"
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_plots_of_sketches(succeed, shell, folder, tmp_path):
    sketch = folder / "motifs.safetensors"
    succeed("plot", "order-energy", sketch, "-o", "orders.pdf")
    assert (tmp_path / "orders.pdf").read_bytes().startswith(b"%PDF")
    report = succeed(
        "plot", "budget-curve", sketch, sketch, "-o", "curve", "--output-format", "png", "--json"
    )
    assert report == {"output": "curve", "sketches": 2}
    succeed("plot", "spacing", sketch, "AU", "G", "-o", "spacing.svg")
    assert "<svg" in (tmp_path / "spacing.svg").read_text()
    for arguments, message in [
        (["spacing", sketch, "AU", "X", "-o", "x.png"], "second: symbol 'X' at index 0"),
        (["order-energy", sketch, "-o", "orders.pdf"], "orders.pdf exists; --force replaces it"),
        (["order-energy", sketch, "-o", "x.gif"], "--output-format"),
        (["budget-curve", sketch, "-o", sketch, "--output-format", "png"], "is an input"),
        (["logo", sketch, folder / "seqs.fasta", "-o", "x.png", "--name", "s33"], "no sequence 's33'"),
    ]:
        code, _, err = shell("plot", *arguments)
        assert (code, message in err) == (1, True), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve", "orders.pdf", "spacing.svg"]


def test_without_matplotlib_the_error_names_the_extra(shell, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = shell("plot", "order-energy", folder / "motifs.safetensors", "-o", "x.png")
    assert code == 1
    assert "pip install 'shapsketch[plot]'" in err


def test_fit_of_labelled_sequences(succeed, shell, tmp_path):
    codes = np.random.default_rng(1).integers(0, 4, (300, 9))
    table = pd.DataFrame({"sequence": RNA9.decode(codes)})
    table["y"], table["w"] = motif_model(table["sequence"]), 1.0 + codes[:, 0]
    table.to_csv("data.csv", index=False)
    options = ["--score", "y", "--weight", "w", "--seed", 2, "-o", "out.safetensors"]
    report = succeed("fit", "data.csv", *SPACE, *options, "--json")
    direct = ss.fit(
        codes,
        table["y"].to_numpy(),
        RNA9,
        sample_weight=table["w"].to_numpy(),
        random_state=2,
        progress=False,
    )
    direct.save("direct.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "direct.safetensors").read_bytes()
    assert (report["sketch"], report["r2"]) == ("out.safetensors", direct.r2)
    (tmp_path / "odd.csv").write_text("sequence,score\nGGGAAAUUU,1\nGGGAAAUUN,2\n")
    (tmp_path / "empty.csv").write_text("sequence,score\nGGGAAAUUU,\n")
    for arguments, code, message in [
        (["odd.csv", *SPACE], 1, "odd.csv, line 3"),
        (["empty.csv", *SPACE], 1, "empty.csv, line 2: the column 'score' has no number"),
        (["data.csv", *SPACE], 1, "the column 'score' is missing; the columns are"),
        (["data.csv"], 2, "pass --alphabet and --length, or --letters"),
        (["data.csv", *SPACE, "--sd", "w"], 2, "--sd is for --wild-type"),
        (["data.csv", *SPACE, "--wild-type", "ACGU"], 2, "--length and --letters are not for --wild-type"),
        (["none.csv", *SPACE], 1, "none.csv"),
    ]:
        found, _, err = shell("fit", *arguments, "-o", "new.safetensors")
        assert (found, message in err) == (code, True), err
    assert not (tmp_path / "new.safetensors").exists()


def test_fit_of_a_scan(shell, tmp_path):
    effects = {
        f"{w}{i}{a}": 0.1 * i - 0.2 * k for i, w in enumerate("MKV", 5) for k, a in enumerate("ACDEFG")
    }
    pairs = [pair for pair in itertools.combinations(effects, 2) if pair[0][1] != pair[1][1]]
    rows = ["mutant,fit1", "WT,1", *(f"{name},{1 + effect}" for name, effect in effects.items())]
    rows += [f"{a}:{b},{1 + effects[a] + effects[b]}" for a, b in pairs]
    (tmp_path / "scan.csv").write_text("\n".join(rows))
    options = ["--wild-type", "MKV", "--start", 5, "--score", "fit1"]
    code, out, err = shell("fit", "scan.csv", *options, "-o", "out.safetensors")
    # So few variants have an R² that a handful of them decides.
    assert (code, err.count("\n"), "sequences decide R²" in err) == (0, 1, True)
    assert "wrote out.safetensors" in out
    variants = ss.read_variants("scan.csv", wild_type="MKV", start=5, score="fit1")
    ss.fit(variants, progress=False).save("direct.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "direct.safetensors").read_bytes()


MODEL = ["--model", "toys:motif_model"]


def test_faithfulness(succeed, shell, folder, tmp_path):
    sketch, seqs = folder / "motifs.safetensors", folder / "seqs.fasta"
    options = ["--budget", 3_000, "--background", BACKGROUND, "--seed", 3]
    report = succeed("faithfulness", sketch, seqs, *MODEL, *options, "-o", "out.csv", "--json")
    explainer = ss.Explainer(ss.load(sketch), BACKGROUND)
    # The command examines the model first.
    model = ss.Evaluator(motif_model, check=True)
    expected = ss.faithfulness(
        model, explainer, codes_of(folder), budget=3_000, random_state=3, progress=False
    )
    assert (report["evaluations"], report["r2"]) == (expected.n_calls, expected.r2)
    table = pd.read_csv("out.csv").to_dict("list")
    for name in expected.records()[0]:
        values = [row[name] for row in expected.records()]
        assert table[name] == values or np.array_equal(table[name], values, equal_nan=True)
    for arguments, code, message in [
        ([*MODEL, "--budget", 3], 1, "budget"),
        (["--budget", 3_000], 2, "pass one of --model and --command"),
        ([*MODEL, "--values", "scores.csv", "--budget", 3_000], 2, "No such option"),
    ]:
        found, _, err = shell("faithfulness", sketch, seqs, *arguments, "-o", "new.csv")
        assert (found, message in err) == (code, True), err
    assert not (tmp_path / "new.csv").exists()


def test_refine(succeed, folder):
    sketch, seqs = folder / "motifs.safetensors", folder / "seqs.fasta"
    options = ["--calls-per-sequence", 100, "--seed", 3]
    succeed("refine", sketch, seqs, *MODEL, *options, "-o", "out.csv")
    expected = ss.Explainer(ss.load(sketch)).refine(
        motif_model, codes_of(folder), calls_per_sequence=100, random_state=3, progress=False
    )
    table = pd.read_csv("out.csv")
    assert table["name"].tolist() == [f"s{i}" for i in range(20)]
    assert (table["base_value"] == expected.base_values).all()
    assert (table[[f"p{i}" for i in range(9)]].to_numpy() == expected.values).all()
    assert (table[[f"p{i}_stderr" for i in range(9)]].to_numpy() == expected.stderr).all()


@pytest.fixture
def boosters(tmp_path):
    """Return files of boosters, with their predictions of codes."""
    codes = np.random.default_rng(2).integers(0, 4, (400, 9))
    y = np.array(motif_model(RNA9.decode(codes)))
    light = lightgbm.train(
        {"verbose": -1, "num_threads": 1, "num_leaves": 5, "seed": 0}, lightgbm.Dataset(codes, y), 10
    )
    light.save_model(tmp_path / "light.txt")
    boosted = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(codes, y), 10)
    boosted.save_model(tmp_path / "xg.json")
    return codes, {"light.txt": light.predict(codes), "xg.json": boosted.predict(xgboost.DMatrix(codes))}


def test_convert(succeed, shell, tmp_path, boosters):
    codes, predictions = boosters
    for name, expected in predictions.items():
        report = succeed("convert", name, *SPACE, "-o", f"{name}.safetensors", "--json")
        assert report["method"] == "converted"
        np.testing.assert_allclose(ss.load(f"{name}.safetensors").predict(codes), expected, atol=1e-4)


class Runs:
    """An object whose pickle runs a program."""

    def __reduce__(self):
        return open, ("ran", "w")


def test_convert_never_loads_a_pickle(shell, tmp_path):
    data = pickle.dumps(Runs())
    for name in ("model.pkl", "model.joblib", "model.txt", "model.json", "model.ubj"):
        (tmp_path / name).write_bytes(data)
        code, _, err = shell("convert", name, *SPACE, "-o", "out.safetensors")
        assert code == 1
        message = "a pickle can run any program" if name.endswith(("pkl", "joblib")) else "is not a model of"
        assert message in err
    code, _, err = shell("convert", "none.txt", *SPACE, "-o", "out.safetensors")
    assert (code, "none.txt: no such file" in err) == (1, True)
    code, _, err = shell("convert", "model.onnx", *SPACE, "-o", "out.safetensors")
    assert (code, "expected LightGBM text" in err) == (1, True)
    assert not {"ran", "out.safetensors"} & {path.name for path in tmp_path.iterdir()}
