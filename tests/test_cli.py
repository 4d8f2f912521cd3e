"""The command line: what each command writes and prints, exit codes, JSON, and the state after errors."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapsketch as ss
from shapsketch import cli
from shapsketch.files.write import write_sequences
from toys import motif_model, random_spectrum

RNA9 = ss.SequenceSpace(ss.RNA, 9)
SPACE = ["--alphabet", "rna", "--length", "9"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with sketches and sequences."""
    folder = tmp_path_factory.mktemp("cli")
    sketch = ss.sketch(motif_model, RNA9, budget=600, method="regress", progress=False)
    sketch.save(folder / "motifs.safetensors")
    spectrum = random_spectrum(4, 9, 0)
    spectrum = ss.Spectrum(RNA9, spectrum.frequencies, spectrum.coefficients)
    ss.Sketch(spectrum).save(folder / "spectrum.safetensors")
    codes = np.random.default_rng(0).integers(0, 4, (100, 9), dtype=np.uint8)
    for extension in ("fasta", "fasta.gz", "csv", "parquet"):
        write_sequences(folder / f"seqs.{extension}", RNA9, [codes], prefix="s")
    (folder / "bad.fasta").write_text(">good\nGGGAAAUUU\n>short\nGGG\n>odd\nGGGAAAUUN\n>last\nAAAAAAAAA\n")
    (folder / "mine.py").write_text(
        "def score(sequences):\n    return [s.count('G') + 2.0 * s.startswith('AU') for s in sequences]\n"
        "def both(sequences):\n    return [(s.count('G'), s.count('A')) for s in sequences]\n"
        "def stopped(sequences):\n    raise KeyboardInterrupt\n"
    )
    return folder


@pytest.fixture(autouse=True)
def programs(folder, monkeypatch):
    """Let each test import `mine` again."""
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.syspath_prepend(str(folder))


def codes_of(folder):
    return ss.SequenceSpace(ss.RNA, 9).encode(pd.read_csv(folder / "seqs.csv")["sequence"].tolist())


def test_plan(succeed, shell, tmp_path):
    assert "sparse regression" in succeed("plan", *SPACE, "--budget", "2_000")
    report = succeed("plan", *SPACE, "--budget", 2_000, "--method", "regress", "--json")
    assert (report["method"], report["total_queries"], report["alphabet"]) == ("regress", 2_000, "ACGU")
    code, out, err = shell("plan", *SPACE, "--budget", 5)
    assert (code, out) == (1, "")
    assert err.startswith("shapsketch: ")
    assert "too small" in err


@pytest.mark.parametrize("extension", ["fasta", "csv", "parquet"])
def test_queries_can_be_evaluated_elsewhere(succeed, tmp_path, extension):
    """plan --queries, a model that runs elsewhere, and sketch --values give the same sketch as ss.sketch."""
    options = [*SPACE, "--budget", 600, "--method", "regress", "--seed", 3]
    plan = succeed("plan", *options, "--queries", f"queries.{extension}", "--json")
    assert plan["queries_written"] == plan["total_queries"] == 600
    if extension == "fasta":
        lines = (tmp_path / "queries.fasta").read_text().splitlines()
        table = pd.DataFrame({"name": [line[1:] for line in lines[::2]], "sequence": lines[1::2]})
    else:
        table = (pd.read_csv if extension == "csv" else pd.read_parquet)(tmp_path / f"queries.{extension}")
    assert table["name"][599] == "query599"
    table["score"] = motif_model(table["sequence"])
    table.to_csv("scores.csv", index=False)
    report = succeed("sketch", *options, "--values", "scores.csv", "-o", "out.safetensors", "--json")
    assert report["r2"] > 0.99
    assert report["queries"] == 600
    direct = ss.sketch(motif_model, RNA9, budget=600, method="regress", random_state=3, progress=False)
    direct.save("direct.safetensors")
    assert (tmp_path / "direct.safetensors").read_bytes() == (tmp_path / "out.safetensors").read_bytes()


@pytest.mark.parametrize("workers", [[], ["--threads", 2], ["--workers", 2]])
def test_sketch_of_a_callable(succeed, folder, tmp_path, workers, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    report = succeed(
        "sketch", *SPACE, "--budget", 600, "--method", "regress", "--model", "mine:score", *workers,
        "--batch-size", 100, "-o", "out.safetensors", "--json",
    )  # fmt: skip
    assert report["sketch"] == "out.safetensors"
    assert report["r2"] > 0.99
    sketch = ss.load("out.safetensors")
    assert abs(sketch.predict(["AUGGCCCCC"])[0] - 4.0) < 0.05
    assert succeed("info", "out.safetensors") == sketch.summary() + "\n"
    info = succeed("info", "out.safetensors", "--json")
    assert {**report, "candidates": []} == {**info, "candidates": []}


def test_info_says_that_an_older_file_has_no_digest(succeed, folder, tmp_path):
    file = (folder / "motifs.safetensors").read_bytes()
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    described = json.loads(header["__metadata__"]["shapsketch"])
    del described["digest"]
    header["__metadata__"]["shapsketch"] = json.dumps(described)
    header = json.dumps(header).encode()
    (tmp_path / "old.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + file[8 + size :])
    line = "file       no digest (older version): damage cannot be detected; save it again"
    assert succeed("info", "old.safetensors").splitlines()[-1] == line
    assert line not in succeed("info", folder / "motifs.safetensors")
    assert succeed("info", "old.safetensors", "--json")["unverified"] is True
    assert succeed("info", folder / "motifs.safetensors", "--json")["unverified"] is False
    old = ss.load("old.safetensors")
    assert old.unverified
    old.save("new.safetensors")
    assert (tmp_path / "new.safetensors").read_bytes() == file


def test_sketch_of_a_program(succeed, tmp_path):
    program = f"{sys.executable} -c \"import sys; [print(line.count('G')) for line in sys.stdin]\""
    out = succeed(
        "sketch", *SPACE, "--budget", 500, "--method", "regress", "--command", program, "-o", "g.safetensors"
    )
    assert "wrote g.safetensors" in out
    assert "R²" in out
    assert abs(ss.load("g.safetensors").predict(["GGGAAAAAA"])[0] - 3.0) < 0.05


def test_sketches_of_several_outputs(succeed, shell, tmp_path):
    options = ["sketch", *SPACE, "--budget", 500, "--method", "regress", "--model", "mine:both"]
    report = succeed(*options, "--outputs", "g,a", "-o", "two.safetensors", "--json")
    assert [o["sketch"] for o in report["outputs"].values()] == ["two.g.safetensors", "two.a.safetensors"]
    assert sorted(os.listdir()) == ["two.a.safetensors", "two.g.safetensors"]
    assert abs(ss.load("two.a.safetensors").predict(["AAACCCCCC"])[0] - 3.0) < 0.05
    code, _, err = shell(*options, "--outputs", "g,a", "-o", "two.safetensors")
    assert code == 1
    assert "two.g.safetensors exists; --force replaces it" in err
    code, _, err = shell(*options, "--outputs", "g,../a", "-o", "three.safetensors")
    assert (code, "'../a'" in err) == (1, True)
    table = pd.DataFrame({"sequence": ["GGGGGGGGG"], "g": [9.0], "a": [0.0]})
    table.to_csv("few.csv", index=False)
    code, _, err = shell(*options[:-2], "--values", "few.csv", "-o", "four.safetensors")
    assert code == 1
    assert "few.csv" in err


def test_a_stopped_sketch_resumes(shell, succeed, tmp_path, monkeypatch):
    options = [
        "sketch",
        *SPACE,
        "--budget",
        500,
        "--method",
        "regress",
        "--no-check",
        "-o",
        "out.safetensors",
    ]
    code, out, err = shell(*options, "--model", "mine:stopped")
    assert (code, out) == (130, "")
    assert "no values were kept" in err
    code, out, err = shell(*options, "--model", "mine:stopped", "--store", "values.db")
    assert code == 130
    assert "the values so far are in values.db; run the same command again to resume" in err
    assert not (tmp_path / "out.safetensors").exists()
    succeed(*options, "--model", "mine:score", "--store", "other.db", "--model-name", "1", "--json")
    codes, _ = ss.Store("other.db").read()
    assert len(codes) == 500
    code, _, err = shell(
        *options, "--force", "--model", "mine:score", "--store", "other.db", "--model-name", "2"
    )
    assert code == 1
    assert "other.db" in err


def test_sketch_warns_about_a_constant_model(shell, folder):
    (folder / "odd.py").write_text("def flat(sequences):\n    return [1.0] * len(sequences)\n")
    options = [
        "sketch",
        *SPACE,
        "--budget",
        500,
        "--method",
        "regress",
        "--model",
        "odd:flat",
        "-o",
        "x.safetensors",
    ]
    _, _, err = shell(*options)
    assert "may not depend on its input" in err
    _, _, err = shell(*options, "--no-check", "--force")
    assert "may not depend on its input" not in err


@pytest.mark.parametrize(
    "wrong",
    [
        ["-o", "x.safetensors"],
        ["-o", "x.safetensors", "--model", "mine:score", "--command", "cat"],
        ["-o", "x.safetensors", "--model", "mine:score", "--column", "score"],
        ["-o", "x.safetensors", "--model", "mine:score", "--threads", 2, "--workers", 2],
        ["-o", "x.safetensors", "--model", "mine:score", "--model-name", "1"],
        ["-o", "x.safetensors", "--model", "mine:score", "--link", "cube"],
        ["--model", "mine:score"],
        ["-o", "x.safetensors", "--command", ""],
        ["-o", "x.safetensors", "--model", "mine:both", "--outputs", "a,,b"],
    ],
)
def test_wrong_usage_of_sketch(shell, wrong):
    code, out, err = shell("sketch", *SPACE, "--budget", 500, *wrong)
    assert (code, out) == (2, "")
    assert "Usage: shapsketch sketch" in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model", "mine:none", "-o", "x.safetensors"], "'none'"),
        (["--model", "nowhere:none", "-o", "x.safetensors"], "nowhere"),
        (["--values", "none.csv", "-o", "x.safetensors"], "none.csv"),
        (["--command", "no-such-program", "-o", "x.safetensors"], "no-such-program"),
        (["--model", "mine:score", "-o", "none/x.safetensors"], "is not a writable folder"),
        (["--model", "mine:score", "-o", "."], "is a folder"),
        (
            ["--model", "mine", "-o", "x.safetensors"],
            "--model: path must be 'package.module:name', got 'mine'",
        ),
        (["--model", "./mine:score", "-o", "x.safetensors"], "pass 'mine:score'\n"),
        (["--model", "mine:both", "-o", "x.safetensors"], "; name all outputs with --outputs A,B\n"),
        (
            ["--model", "mine:score", "--method", "regress", "--max-terms", 5, "-o", "x.safetensors"],
            "not 'regress'; remove --max-terms, or choose another --method\n",
        ),
    ],
)
def test_errors_of_sketch(shell, wrong, message):
    code, out, err = shell("sketch", *SPACE, "--budget", 500, *wrong)
    assert (code, out) == (1, "")
    assert err.startswith("shapsketch: ")
    assert message in err


@pytest.mark.parametrize("source", ["seqs.fasta", "seqs.fasta.gz", "seqs.csv", "seqs.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.csv.gz", "out.parquet"])
def test_explain_writes_the_values_of_an_explainer(succeed, folder, tmp_path, source, target):
    sketch = folder / "motifs.safetensors"
    report = succeed(
        "explain",
        sketch,
        folder / source,
        "-o",
        target,
        "--stderr",
        "--with-sequence",
        "--batch-size",
        7,
        "--json",
    )
    assert report["sequences"] == report["rows"] == 100
    assert (report["index"], report["background"], report["skipped"]) == ("SV", "uniform", 0)
    expected = ss.Explainer(ss.load(sketch))(codes_of(folder))
    table = (pd.read_parquet if target.endswith("parquet") else pd.read_csv)(target)
    values, errors = [f"p{i}" for i in range(9)], [f"p{i}_stderr" for i in range(9)]
    assert list(table) == ["name", "sequence", "base_value", *values, *errors]
    assert table["name"].tolist() == [f"s{i}" for i in range(100)]
    assert (RNA9.encode(table["sequence"].tolist()) == expected.data).all()
    assert (table["base_value"] == expected.base_values).all()
    assert (table[values].to_numpy() == expected.values).all()
    assert (table[errors].to_numpy() == expected.stderr).all()
    assert os.listdir() == [target]
    if target.endswith("parquet"):
        metadata = pq.read_schema(target).metadata
        assert metadata[b"background"] == b"uniform"
        assert metadata[b"link"] == b"identity"
        assert metadata[b"sketch"] == str(sketch).encode()
        assert metadata[b"shapsketch"] == ss.__version__.encode()


@pytest.mark.parametrize(("index", "order"), [("FSII", 2), ("Moebius", None), ("SII", 3), ("BV", None)])
def test_explain_writes_interactions(succeed, folder, monkeypatch, index, order):
    from shapsketch.cli import explain

    monkeypatch.setattr(explain, "LONG", 300)
    sketch = folder / "spectrum.safetensors"
    more = [] if order is None else ["--max-order", order]
    out = succeed("explain", sketch, folder / "seqs.fasta", "-o", "out.csv", "--index", index, *more)
    expected = ss.Explainer(ss.load(sketch)).interactions(codes_of(folder), index=index, max_order=order)
    assert "100 sequences in" in out
    assert f"wrote {expected.values.size:,} rows to out.csv" in out
    table = pd.read_csv("out.csv", dtype={"support": str})
    assert list(table) == ["name", "support", "order", "value"]
    supports = [",".join(map(str, support)) for support in expected.supports]
    assert table["support"].tolist() == supports * 100
    assert table["order"].tolist() == [len(support) for support in expected.supports] * 100
    assert table["name"].tolist() == [f"s{i}" for i in range(100) for _ in supports]
    assert (table["value"].to_numpy() == expected.values.ravel()).all()
    succeed("explain", sketch, folder / "seqs.fasta", "-o", "top.csv", "--index", index, "--top", 3, *more)
    table = pd.read_csv("top.csv", dtype={"support": str})
    assert table["name"].tolist() == [f"s{i}" for i in range(100) for _ in range(3)]
    for row, (_, rows) in zip(expected.values, table.groupby("name", sort=False), strict=True):
        strongest = sorted(zip(-abs(row), row, supports, strict=True), key=lambda one: one[0])[:3]
        assert rows["value"].tolist() == [value for _, value, _ in strongest]
        assert rows["support"].tolist() == [support for _, _, support in strongest]


def backgrounds(folder):
    weights = np.random.default_rng(1).dirichlet(np.ones(4), 9)
    order = [2, 0, 3, 1]
    table = pd.DataFrame(weights[:, order], columns=["ACGU"[i] for i in order])
    table.insert(0, "position", range(9))
    table.to_csv("pwm.csv", index=False)
    table.to_csv("pwm.tsv.gz", index=False, sep="\t")
    return {
        "uniform": "uniform",
        "GGGAAAUUU": "GGGAAAUUU",
        f"@{folder / 'seqs.fasta'}": codes_of(folder),
        "pwm.csv": pd.read_csv("pwm.csv")[list("ACGU")].to_numpy(),
        "pwm.tsv.gz": pd.read_csv("pwm.csv")[list("ACGU")].to_numpy(),
        "shuffles": ss.DinucleotideShuffles(random_state=5),
        "shuffles:3": ss.DinucleotideShuffles(3, random_state=5),
    }


def test_explain_against_backgrounds(succeed, folder):
    sketch = folder / "spectrum.safetensors"
    for text, background in backgrounds(folder).items():
        report = succeed(
            "explain", sketch, folder / "seqs.fasta", "-o", "out.parquet", "--force", "--background", text,
            "--seed", 5, "--json",
        )  # fmt: skip
        explainer = ss.Explainer(ss.load(sketch), background)
        expected = explainer(codes_of(folder))
        table = pd.read_parquet("out.parquet")
        assert np.allclose(table[[f"p{i}" for i in range(9)]].to_numpy(), expected.values, atol=1e-12)
        assert np.allclose(table["base_value"], expected.base_values, atol=1e-12)
        assert report["background"] == explainer.background


def test_invalid_backgrounds(shell, folder):
    backgrounds(folder)
    good = (Path("pwm.csv")).read_text()
    Path("short.csv").write_text("\n".join(good.splitlines()[:5]))
    Path("letters.csv").write_text(good.replace("A", "N", 1))
    Path("text.csv").write_text(good + "10,a,b,c,d\n")
    Path("sums.csv").write_text("A,C,G,U\n" + "0.5,0.5,0.5,0.5\n" * 9)
    for text, message in {
        "GGG": "background",
        "GGGAAAUUN": "'N'",
        "shuffles:x": "COUNT of shuffles must be a number, got 'shuffles:x'",
        "shuffles:0": "count must be at least 1",
        "@none.fasta": "none.fasta: No such file",
        f"@{folder / 'bad.fasta'}": "line 3",
        "none.csv": "none.csv: No such file",
        "short.csv": "4 rows of probabilities, the sketch has 9 positions",
        "letters.csv": "the symbol 'A' is missing",
        "text.csv": "line 11",
        "sums.csv": "2",
    }.items():
        code, out, err = shell(
            "explain",
            folder / "spectrum.safetensors",
            folder / "seqs.csv",
            "-o",
            "o.csv",
            "--background",
            text,
        )
        assert (code, out) == (1, "")
        assert message in err, text
    assert "o.csv" not in os.listdir()


def test_float32(succeed, folder):
    succeed("explain", folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.parquet", "--float32")
    assert set(pd.read_parquet("o.parquet").dtypes.iloc[1:]) == {np.dtype(np.float32)}


def test_malformed_records(shell, folder):
    arguments = ["explain", folder / "motifs.safetensors", folder / "bad.fasta", "-o", "o.csv"]
    code, out, err = shell(*arguments)
    assert (code, out) == (1, "")
    assert "bad.fasta, line 3, record 'short': it has 3 symbols" in err
    assert os.listdir() == []
    code, out, err = shell(*arguments, "--on-error", "skip")
    assert code == 0
    assert "2 sequences in" in out
    assert "2 malformed ones skipped" in out
    assert "line 5, record 'odd': symbol 'N' at position 8" in err
    assert pd.read_csv("o.csv")["name"].tolist() == ["good", "last"]
    report = json.loads(shell(*arguments, "--on-error", "skip", "--force", "--json")[1])
    assert (report["sequences"], report["skipped"]) == (2, 2)


def test_output_is_not_replaced_unless_forced(shell, folder):
    for command in ("explain", "mutate"):
        arguments = [command, folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.csv"]
        Path("o.csv").write_text("before")
        code, _, err = shell(*arguments)
        assert (code, err) == (1, "shapsketch: o.csv exists; --force replaces it\n")
        # A failing run leaves the old file.
        code, _, _ = shell(*arguments[:2], folder / "bad.fasta", *arguments[3:], "--force")
        assert code == 1
        assert os.listdir() == ["o.csv"]
        assert Path("o.csv").read_text() == "before"
        assert shell(*arguments, "--force")[0] == 0
        assert Path("o.csv").read_text() != "before"


def test_a_stopped_command_leaves_no_file(shell, folder, monkeypatch):
    calls = []

    def stop(self, codes):
        calls.append(len(codes))
        raise KeyboardInterrupt

    monkeypatch.setattr(ss.Explainer, "__call__", stop)
    code, out, err = shell("explain", folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.csv")
    assert (code, out) == (130, "")
    assert "shapsketch: stopped; nothing was written" in err
    assert calls == [100]
    assert os.listdir() == []


@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_mutate_writes_all_substitutions(succeed, folder, monkeypatch, target):
    from shapsketch.cli import mutate

    monkeypatch.setattr(mutate, "LONG", 100)
    sketch = folder / "spectrum.safetensors"
    report = succeed("mutate", sketch, folder / "seqs.parquet", "-o", target, "--json")
    assert (report["sequences"], report["rows"]) == (100, 2_700)
    table = (pd.read_parquet if target.endswith("parquet") else pd.read_csv)(target)
    assert list(table) == ["name", "position", "from", "to", "change"]
    loaded, codes = ss.load(sketch), codes_of(folder)
    scores = loaded.predict(codes)
    for row in table.sample(50, random_state=0).itertuples(index=False):
        name, position, before, after, change = row
        index = int(name[1:])
        mutant = codes[index].copy()
        assert RNA9.alphabet[mutant[position]] == before != after
        mutant[position] = RNA9.alphabet.index(after)
        assert np.isclose(loaded.predict(mutant[None])[0] - scores[index], change)
    assert len(table.drop_duplicates(["name", "position", "to"])) == 2_700


def test_mutate_writes_the_best_mutants(succeed, shell, folder, caplog):
    sketch = folder / "spectrum.safetensors"
    succeed(
        "mutate", sketch, folder / "seqs.fasta", "-o", "o.csv", "--best", 3, "--mutations", 2, "--minimize"
    )
    table = pd.read_csv("o.csv")
    assert list(table) == ["name", "rank", "mutations", "score", "change", "sequence"]
    assert table["rank"].tolist() == [1, 2, 3] * 100
    explainer = ss.Explainer(ss.load(sketch))
    for index, row in enumerate(codes_of(folder)[:5]):
        expected = explainer.best_mutants(row, 2, count=3, minimize=True)
        rows = table[3 * index : 3 * index + 3]
        assert rows["name"].tolist() == [f"s{index}"] * 3
        assert rows["mutations"].tolist() == expected.mutations
        assert rows["sequence"].tolist() == expected.sequences
        assert np.allclose(rows["score"], expected.scores)
        assert np.allclose(rows["change"], expected.changes)
    (Path("one.fasta")).write_text(">a\nGGGGGGGGG\n")
    code, _, err = shell("mutate", sketch, "one.fasta", "-o", "b.csv", "--best", 1, "--mutations", 8)
    assert (code, err) == (0, "")
    assert shell("mutate", sketch, "one.fasta", "-o", "c.csv", "--mutations", 2)[0] == 2
    code, _, err = shell("mutate", sketch, "one.fasta", "-o", "c.csv", "--best", 1, "--mutations", 10)
    assert (code, "mutations must be at most 9" in err) == (1, True)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--index", "XX"],
        ["--max-order", 2],
        ["--index", "SII", "--stderr"],
        ["--on-error", "ignore"],
        ["--batch-size", 0],
    ],
)
def test_wrong_usage_of_explain(shell, folder, wrong):
    code, out, err = shell(
        "explain", folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.csv", *wrong
    )
    assert (code, out) == (2, "")
    assert "Usage: shapsketch explain" in err


def test_errors_of_explain(shell, folder):
    sketch, seqs = folder / "spectrum.safetensors", folder / "seqs.csv"
    for arguments, message in [
        (["explain", sketch, seqs, "-o", "o.csv", "--stderr"], "no standard errors"),
        (["explain", sketch, seqs, "-o", "o.csv", "--column", "x"], "the column 'x' is missing"),
        (["explain", sketch, seqs, "-o", "o.txt"], "extension"),
        (["explain", sketch, folder / "mine.py", "-o", "o.csv"], "extension"),
        (["explain", sketch, folder / "mine.py", "-o", "o.csv", "--format", "fasta"], "line 1"),
        (["explain", sketch, "none.csv", "-o", "o.csv"], "none.csv: No such file"),
        (["explain", seqs, seqs, "-o", "o.csv"], "seqs.csv"),
        (["info", "none.safetensors"], "none.safetensors"),
    ]:
        code, out, err = shell(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("shapsketch: ")
        assert message in err
    assert os.listdir() == []


def test_usage(shell):
    code, out, err = shell("--version")
    assert (code, out, err) == (0, f"shapsketch {ss.__version__}\n", "")
    for help_option in ("-h", "--help"):
        assert shell(help_option)[0] == 0
        for command in ("plan", "sketch", "explain", "mutate", "info", "demo"):
            code, out, _ = shell(command, help_option)
            assert code == 0
            assert f"Usage: shapsketch {command}" in out
    # Without a command, older versions of click show the help and exit with 0.
    assert shell()[0] in (0, 2)
    assert shell("explan")[0] == 2
    assert shell("plan", "--length", "9")[0] == 2


def test_a_command_restores_logging(shell, folder):
    log = logging.getLogger("shapsketch")
    before = (list(log.handlers), log.level)
    assert shell("explain", folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.csv", "-vv")[0] == 0
    assert (log.handlers, log.level) == before
    assert shell("plan", *SPACE, "--budget", 5, "-v")[0] == 1
    assert (log.handlers, log.level) == before


def test_without_click_the_error_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "click", None)
    assert cli.main(["--version"]) == 1
    assert "pip install 'shapsketch[cli]'" in capsys.readouterr().err


def test_as_a_process(folder, tmp_path, processes):
    """A process shows no progress bars outside terminals, and returns the exit code."""
    command = [sys.executable, "-m", "shapsketch.cli"]
    code, out, err = processes.run(
        [*command, "explain", folder / "motifs.safetensors", folder / "seqs.fasta", "-o", tmp_path / "o.csv"]
    )
    assert (code, err) == (0, "")
    assert "100 sequences" in out
    assert processes.run([*command, "info", "none"])[0] == 1


@pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="run it on Linux, which lists processes in /proc"
)
@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("workers", "SIGINT"),
        ("workers", "SIGTERM to all"),
        ("workers", "SIGKILL"),
        ("threads of a program", "SIGINT twice"),
        ("threads of a program", "SIGTERM"),
        ("threads of a program", "SIGKILL"),
        ("workers of a program", "SIGINT twice"),
        ("workers of a program", "SIGTERM to all"),
        ("workers of a program", "SIGKILL"),
    ],
)
def test_a_killed_sketch_leaves_no_process_and_keeps_its_values(tmp_path, processes, how, name):
    number, pause = getattr(signal, name.split()[0]), 3.0 if name == "SIGINT twice" else 0.3
    (tmp_path / "slow.py").write_text(
        "import sys, time\n"
        f"def score(sequences):\n    time.sleep({pause})\n    return [s.count('G') for s in sequences]\n"
        "if __name__ == '__main__':\n"
        "    for value in score(sys.stdin.read().split()):\n        print(value)\n"
    )
    model = ["--model", "slow:score"] if how == "workers" else ["--command", f"{sys.executable} slow.py"]
    model += [f"--{how.split()[0]}", "2"]
    command = [sys.executable, "-m", "shapsketch.cli", "sketch", *SPACE, "--budget", "2000", "--no-check"]
    process = processes.start(
        [*command, "--method", "regress", "--batch-size", "25", *model, "--store", "v.db", "-o", "o.st"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(0.2)
        if (tmp_path / "v.db-wal").exists() and (tmp_path / "v.db-wal").stat().st_size > 5_000:
            break
    (os.killpg if name.endswith("to all") else os.kill)(process.pid, number)
    if name.endswith("twice"):
        time.sleep(1.0)
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert "the values so far are in v.db; run the same command again to resume" in err
        assert "nothing was written" not in err
        assert "Traceback" not in err
    # If its parent is killed, a program ends after its batch.
    until = time.monotonic() + 20
    while processes.running() and time.monotonic() < until:
        time.sleep(0.2)
    assert not processes.running()
    codes, values = ss.Store(tmp_path / "v.db").read()
    assert len(codes) % 25 == 0
    assert len(codes) >= 25
    assert (values == (codes == 2).sum(axis=1)).all()
    assert not (tmp_path / "o.st").exists()


def test_a_model_that_calls_sys_exit_is_an_error(shell, tmp_path):
    (tmp_path / "exiting.py").write_text("import sys\ndef score(sequences):\n    sys.exit(0)\n")
    code, out, err = shell("sketch", "--model", "exiting:score", *SPACE, "--budget", 600, "-o", "o.st")
    assert (code, out) == (1, "")
    assert "the model called sys.exit(0)" in err


def test_an_input_is_never_replaced_by_the_output(shell, succeed, folder):
    options = [*SPACE, "--budget", 600, "--method", "regress"]
    sketch = ["sketch", "--model", "mine:score", *options]
    succeed(*sketch, "--store", "values.db", "-o", "o.st")
    Path("one.fasta").write_text(">a\nGGGGGGGGG\n")
    Path("link.csv").symlink_to("one.csv")
    Path("one.csv").write_text("sequence,score\nGGGGGGGGG,1\n")
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    for arguments in [
        [*sketch, "--store", "values.db", "-o", "values.db"],
        [*sketch, "--store", "new.db", "-o", "new.db"],
        ["sketch", *options, "--values", "one.csv", "-o", "one.csv"],
        ["explain", "o.st", "one.csv", "-o", "one.csv"],
        ["explain", "o.st", "one.csv", "-o", "link.csv"],
        ["explain", "o.st", "one.fasta", "-o", "one.csv", "--background", "@one.csv"],
        ["mutate", "o.st", "one.csv", "-o", "one.csv"],
    ]:
        code, out, err = shell(*arguments, "--force")
        assert (code, out) == (1, "")
        assert "is an input and cannot also be the output" in err
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_what_a_model_prints_goes_to_stderr(tmp_path, processes):
    (tmp_path / "noisy.py").write_text(
        "import os\nprint('imported')\n"
        "def score(sequences):\n"
        "    print('1/1 [=====]')\n    os.system('echo from a program')\n"
        "    return [s.count('G') for s in sequences]\n"
    )
    command = [sys.executable, "-m", "shapsketch.cli", "sketch", *SPACE, "--budget", "600", "--json"]
    for workers in ([], ["--workers", "1"]):
        code, out, err = processes.run(
            [*command, "--model", "noisy:score", "-o", "o.st", "--force", "--method", "regress", *workers],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
        )
        assert code == 0, err
        assert json.loads(out)["r2"] > 0.999
        assert "from a program" in err
        assert "[=====]" in err


def test_errors_of_programs_tables_and_stores(shell, tmp_path):
    options = ["sketch", *SPACE, "--budget", 600, "--method", "regress", "-o", "o.st"]
    code, _, err = shell(*options, "--command", "echo 'x")
    assert (code, 'No closing quotation in "echo \'x"' in err) == (2, True)
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(9)\n")
    code, _, err = shell(*options, "--command", f"{sys.executable} slow.py", "--timeout", 0.5)
    assert (code, "took more than 0.5 s" in err) == (1, True)
    assert shell(*options, "--model", "mine:score", "--timeout", 1)[0] == 2
    (tmp_path / "scores.csv").write_text("sequence,a/b,c\nGGGGGGGGG,1,2\n")
    code, _, err = shell(*options, "--values", "scores.csv")
    assert (code, "'a/b' cannot be part of a file name; choose other outputs with --column" in err) == (
        1,
        True,
    )
    code, _, err = shell("plan", *SPACE, "--budget", 600, "--queries", "q.txt")
    assert (code, "--format" not in err and "use one of .fasta" in err) == (1, True)
    code, _, err = shell(*options, "--model", "mine:score", "--store", ".")
    assert (code, ". is a folder; a store is a file" in err) == (1, True)


def test_messages_name_the_option_that_is_wrong(shell, folder):
    code, _, err = shell("plan", *SPACE, "--budget", 500, "--queries", "none/q.csv")
    assert code == 1
    assert err.endswith("none is not a writable folder; choose another --queries\n")
    background = f"@{folder / 'bad.fasta'}"
    options = ["-o", "x.csv", "--on-error", "skip", "--background", background]
    code, _, err = shell("explain", folder / "motifs.safetensors", folder / "seqs.fasta", *options)
    assert code == 1
    assert err.startswith("shapsketch: --background: ")
    assert "line 3, record 'short'" in err
    # The option is there already, and is not about the background.
    assert "--on-error" not in err
