"""The command line: what each command writes and prints, exit codes, JSON, and what is left after errors."""

import builtins
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
    made = ss.sketch(motif_model, RNA9, budget=600, method="regress", progress=False)
    made.save(folder / "motifs.safetensors")
    some = random_spectrum(4, 9, 0)
    some = ss.Spectrum(RNA9, some.frequencies, some.coefficients)
    ss.Sketch(some).save(folder / "spectrum.safetensors")
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


@pytest.fixture
def shell(folder, tmp_path, monkeypatch, capsys):
    """Run a command in a fresh folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    # A fresh `mine` for each test.
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.syspath_prepend(str(folder))

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def well(shell):
    def call(*arguments):
        code, out, err = shell(*arguments)
        assert (code, err) == (0, "")
        return json.loads(out) if "--json" in arguments else out

    return call


def codes_of(folder):
    return ss.SequenceSpace(ss.RNA, 9).encode(pd.read_csv(folder / "seqs.csv")["sequence"].tolist())


def test_plan(well, shell, tmp_path):
    assert "sparse regression" in well("plan", *SPACE, "--budget", "2_000")
    found = well("plan", *SPACE, "--budget", 2_000, "--method", "regress", "--json")
    assert (found["method"], found["total_queries"], found["alphabet"]) == ("regress", 2_000, "ACGU")
    code, out, err = shell("plan", *SPACE, "--budget", 5)
    assert (code, out) == (1, "")
    assert err.startswith("shapsketch: ")
    assert "too small" in err


@pytest.mark.parametrize("extension", ["fasta", "csv", "parquet"])
def test_queries_are_scored_elsewhere(well, tmp_path, extension):
    """plan --queries, a model that runs elsewhere, sketch --values: the same sketch as at home."""
    options = [*SPACE, "--budget", 600, "--method", "regress", "--seed", 3]
    found = well("plan", *options, "--queries", f"queries.{extension}", "--json")
    assert found["queries_written"] == found["total_queries"] == 600
    if extension == "fasta":
        lines = (tmp_path / "queries.fasta").read_text().splitlines()
        table = pd.DataFrame({"name": [line[1:] for line in lines[::2]], "sequence": lines[1::2]})
    else:
        table = (pd.read_csv if extension == "csv" else pd.read_parquet)(tmp_path / f"queries.{extension}")
    assert table["name"][599] == "query599"
    table["score"] = motif_model(table["sequence"])
    table.to_csv("scores.csv", index=False)
    found = well("sketch", *options, "--values", "scores.csv", "-o", "out.safetensors", "--json")
    assert found["r2"] > 0.99
    assert found["queries"] == 600
    home = ss.sketch(motif_model, RNA9, budget=600, method="regress", random_state=3, progress=False)
    home.save("home.safetensors")
    assert (tmp_path / "home.safetensors").read_bytes() == (tmp_path / "out.safetensors").read_bytes()


@pytest.mark.parametrize("how", [[], ["--threads", 2], ["--workers", 2]])
def test_sketch_of_a_callable(well, folder, tmp_path, how, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(folder))
    found = well(
        "sketch", *SPACE, "--budget", 600, "--method", "regress", "--model", "mine:score", *how,
        "--batch-size", 100, "-o", "out.safetensors", "--json",
    )  # fmt: skip
    assert found["sketch"] == "out.safetensors"
    assert found["r2"] > 0.99
    made = ss.load("out.safetensors")
    assert abs(made.predict(["AUGGCCCCC"])[0] - 4.0) < 0.05
    shown = well("info", "out.safetensors")
    assert shown == made.summary() + "\n"
    described = well("info", "out.safetensors", "--json")
    assert {**found, "candidates": []} == {**described, "candidates": []}


def test_sketch_of_a_program(well, tmp_path):
    program = f"{sys.executable} -c \"import sys; [print(line.count('G')) for line in sys.stdin]\""
    out = well(
        "sketch", *SPACE, "--budget", 500, "--method", "regress", "--command", program, "-o", "g.safetensors"
    )
    assert "wrote g.safetensors" in out
    assert "R²" in out
    assert abs(ss.load("g.safetensors").predict(["GGGAAAAAA"])[0] - 3.0) < 0.05


def test_sketches_of_several_outputs(well, shell, tmp_path):
    options = ["sketch", *SPACE, "--budget", 500, "--method", "regress", "--model", "mine:both"]
    found = well(*options, "--outputs", "g,a", "-o", "two.safetensors", "--json")
    assert [o["sketch"] for o in found["outputs"].values()] == ["two.g.safetensors", "two.a.safetensors"]
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


def test_a_sketch_that_is_stopped_resumes(shell, well, tmp_path, monkeypatch):
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
    assert "no value was kept" in err
    code, out, err = shell(*options, "--model", "mine:stopped", "--store", "values.db")
    assert code == 130
    assert "the values paid for are in values.db, and the same command resumes" in err
    assert not (tmp_path / "out.safetensors").exists()
    well(*options, "--model", "mine:score", "--store", "other.db", "--model-name", "1", "--json")
    codes, _ = ss.Store("other.db").read()
    assert len(codes) == 500
    code, _, err = shell(
        *options, "--force", "--model", "mine:score", "--store", "other.db", "--model-name", "2"
    )
    assert code == 1
    assert "other.db" in err


def test_what_is_odd_about_a_model_is_said(shell, folder):
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
    ],
)
def test_wrong_usage_of_sketch(shell, wrong):
    code, out, err = shell("sketch", *SPACE, "--budget", 500, *wrong)
    assert (code, out) == (2, "")
    assert "Usage: shapsketch sketch" in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--model", "mine:none", "-o", "x.safetensors"], "'none'"),
        (["--model", "nowhere:none", "-o", "x.safetensors"], "nowhere"),
        (["--values", "none.csv", "-o", "x.safetensors"], "none.csv"),
        (["--command", "no-such-program", "-o", "x.safetensors"], "no-such-program"),
        (["--model", "mine:score", "-o", "none/x.safetensors"], "is no folder that can be written to"),
        (["--model", "mine:score", "-o", "."], "is a folder"),
    ],
)
def test_errors_of_sketch(shell, wrong, said):
    code, out, err = shell("sketch", *SPACE, "--budget", 500, *wrong)
    assert (code, out) == (1, "")
    assert err.startswith("shapsketch: ")
    assert said in err


@pytest.mark.parametrize("source", ["seqs.fasta", "seqs.fasta.gz", "seqs.csv", "seqs.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.csv.gz", "out.parquet"])
def test_explain_gives_the_values_of_an_explainer(well, folder, tmp_path, source, target):
    sketch = folder / "motifs.safetensors"
    found = well(
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
    assert found["sequences"] == found["rows"] == 100
    assert (found["index"], found["background"], found["skipped"]) == ("SV", "uniform", 0)
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
def test_explain_gives_interactions(well, folder, monkeypatch, index, order):
    from shapsketch.cli import explain as explaining

    monkeypatch.setattr(explaining, "LONG", 300)
    sketch = folder / "spectrum.safetensors"
    more = [] if order is None else ["--max-order", order]
    out = well("explain", sketch, folder / "seqs.fasta", "-o", "out.csv", "--index", index, *more)
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
    well("explain", sketch, folder / "seqs.fasta", "-o", "top.csv", "--index", index, "--top", 3, *more)
    table = pd.read_csv("top.csv", dtype={"support": str})
    assert table["name"].tolist() == [f"s{i}" for i in range(100) for _ in range(3)]
    for row, (_, found) in zip(expected.values, table.groupby("name", sort=False), strict=True):
        strongest = sorted(zip(-abs(row), row, supports, strict=True), key=lambda one: one[0])[:3]
        assert found["value"].tolist() == [value for _, value, _ in strongest]
        assert found["support"].tolist() == [support for _, _, support in strongest]


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


def test_explain_against_backgrounds(well, folder):
    sketch = folder / "spectrum.safetensors"
    for text, background in backgrounds(folder).items():
        found = well(
            "explain", sketch, folder / "seqs.fasta", "-o", "out.parquet", "--force", "--background", text,
            "--seed", 5, "--json",
        )  # fmt: skip
        explainer = ss.Explainer(ss.load(sketch), background)
        expected = explainer(codes_of(folder))
        table = pd.read_parquet("out.parquet")
        assert np.allclose(table[[f"p{i}" for i in range(9)]].to_numpy(), expected.values, atol=1e-12)
        assert np.allclose(table["base_value"], expected.base_values, atol=1e-12)
        assert found["background"] == explainer.background


def test_backgrounds_that_are_none(shell, folder):
    backgrounds(folder)
    good = (Path("pwm.csv")).read_text()
    Path("short.csv").write_text("\n".join(good.splitlines()[:5]))
    Path("letters.csv").write_text(good.replace("A", "N", 1))
    Path("text.csv").write_text(good + "10,a,b,c,d\n")
    Path("sums.csv").write_text("A,C,G,U\n" + "0.5,0.5,0.5,0.5\n" * 9)
    for text, said in {
        "GGG": "background",
        "GGGAAAUUN": "'N'",
        "shuffles:x": "shuffles:COUNT",
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
        assert said in err, text
    assert "o.csv" not in os.listdir()


def test_float32(well, folder):
    well("explain", folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.parquet", "--float32")
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
    assert "2 malformed ones left out" in out
    assert "line 5, record 'odd': symbol 'N' at position 8" in err
    assert pd.read_csv("o.csv")["name"].tolist() == ["good", "last"]
    found = json.loads(shell(*arguments, "--on-error", "skip", "--force", "--json")[1])
    assert (found["sequences"], found["skipped"]) == (2, 2)


def test_output_is_not_replaced_unless_forced(shell, folder):
    for command in ("explain", "mutate"):
        arguments = [command, folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.csv"]
        Path("o.csv").write_text("before")
        code, _, err = shell(*arguments)
        assert (code, err) == (1, "shapsketch: o.csv exists; --force replaces it\n")
        # A run that fails leaves what was there.
        code, _, _ = shell(*arguments[:2], folder / "bad.fasta", *arguments[3:], "--force")
        assert code == 1
        assert os.listdir() == ["o.csv"]
        assert Path("o.csv").read_text() == "before"
        assert shell(*arguments, "--force")[0] == 0
        assert Path("o.csv").read_text() != "before"


def test_a_stopped_command_leaves_nothing(shell, folder, monkeypatch):
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
def test_mutate_gives_all_substitutions(well, folder, monkeypatch, target):
    from shapsketch.cli import mutate

    monkeypatch.setattr(mutate, "LONG", 100)
    sketch = folder / "spectrum.safetensors"
    found = well("mutate", sketch, folder / "seqs.parquet", "-o", target, "--json")
    assert (found["sequences"], found["rows"]) == (100, 2_700)
    table = (pd.read_parquet if target.endswith("parquet") else pd.read_csv)(target)
    assert list(table) == ["name", "position", "from", "to", "change"]
    made, codes = ss.load(sketch), codes_of(folder)
    own = made.predict(codes)
    for row in table.sample(50, random_state=0).itertuples(index=False):
        name, position, before, after, change = row
        at = int(name[1:])
        mutant = codes[at].copy()
        assert RNA9.alphabet[mutant[position]] == before != after
        mutant[position] = RNA9.alphabet.index(after)
        assert np.isclose(made.predict(mutant[None])[0] - own[at], change)
    assert len(table.drop_duplicates(["name", "position", "to"])) == 2_700


def test_mutate_gives_the_best_mutants(well, shell, folder, caplog):
    sketch = folder / "spectrum.safetensors"
    well("mutate", sketch, folder / "seqs.fasta", "-o", "o.csv", "--best", 3, "--mutations", 2, "--minimize")
    table = pd.read_csv("o.csv")
    assert list(table) == ["name", "rank", "mutations", "score", "change", "sequence"]
    assert table["rank"].tolist() == [1, 2, 3] * 100
    explainer = ss.Explainer(ss.load(sketch))
    for at, row in enumerate(codes_of(folder)[:5]):
        expected = explainer.best_mutants(row, 2, count=3, minimize=True)
        part = table[3 * at : 3 * at + 3]
        assert part["name"].tolist() == [f"s{at}"] * 3
        assert part["mutations"].tolist() == expected.mutations
        assert part["sequence"].tolist() == expected.sequences
        assert np.allclose(part["score"], expected.scores)
        assert np.allclose(part["change"], expected.changes)
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
    for arguments, said in [
        (["explain", sketch, seqs, "-o", "o.csv", "--stderr"], "no standard errors"),
        (["explain", sketch, seqs, "-o", "o.csv", "--column", "x"], "'x' is not there"),
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
        assert said in err
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
    # Older versions of click show the help and are content.
    assert shell()[0] in (0, 2)
    assert shell("explan")[0] == 2
    assert shell("plan", "--length", "9")[0] == 2


def test_logging_ends_with_the_command(shell, folder):
    log = logging.getLogger("shapsketch")
    before = (list(log.handlers), log.level)
    assert shell("explain", folder / "motifs.safetensors", folder / "seqs.csv", "-o", "o.csv", "-vv")[0] == 0
    assert (log.handlers, log.level) == before
    assert shell("plan", *SPACE, "--budget", 5, "-v")[0] == 1
    assert (log.handlers, log.level) == before


def test_without_click_the_extra_is_named(monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == "click":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert cli.main(["--version"]) == 1
    assert "pip install 'shapsketch[cli]'" in capsys.readouterr().err


def test_as_a_process(folder, tmp_path):
    """As a process it shows no progress bars outside of terminals, and returns the exit code."""
    command = [sys.executable, "-m", "shapsketch.cli"]
    done = subprocess.run(
        [*command, "explain", folder / "motifs.safetensors", folder / "seqs.fasta", "-o", tmp_path / "o.csv"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert "100 sequences" in done.stdout
    assert subprocess.run([*command, "info", "none"], capture_output=True).returncode == 1


def workers_of(parent):
    """Processes that descend from one, or that it started and left."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if f"SHAPSKETCH_TEST={parent}".encode() in environment and state != "Z":
                found.append(int(folder.name))
    return found


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
def test_a_killed_sketch_leaves_no_process_and_keeps_its_values(folder, tmp_path, how, name):
    number, pause = getattr(signal, name.split()[0]), 3.0 if name == "SIGINT twice" else 0.3
    (tmp_path / "slow.py").write_text(
        "import sys, time\n"
        f"def score(sequences):\n    time.sleep({pause})\n    return [s.count('G') for s in sequences]\n"
        "if __name__ == '__main__':\n"
        "    for value in score(sys.stdin.read().split()):\n        print(value)\n"
    )
    token = f"{tmp_path}-{how}-{name}"
    model = ["--model", "slow:score"] if how == "workers" else ["--command", f"{sys.executable} slow.py"]
    model += [f"--{how.split()[0]}", "2"]
    command = [sys.executable, "-m", "shapsketch.cli", "sketch", *SPACE, "--budget", "2000", "--no-check"]
    process = subprocess.Popen(
        [*command, "--method", "regress", "--batch-size", "25", *model, "--store", "v.db", "-o", "o.st"],
        cwd=tmp_path,
        env={**os.environ, "SHAPSKETCH_TEST": token, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    waited = time.monotonic() + 60
    while time.monotonic() < waited:
        time.sleep(0.2)
        if (tmp_path / "v.db-wal").exists() and (tmp_path / "v.db-wal").stat().st_size > 5_000:
            break
    (os.killpg if name.endswith("to all") else os.kill)(process.pid, number)
    if name.endswith("twice"):
        time.sleep(1.0)
        process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert "the values paid for are in v.db, and the same command resumes" in complaint
        assert "nothing was written" not in complaint
        assert "Traceback" not in complaint
    # Of a program whose parent was killed the end comes with its batch.
    until = time.monotonic() + 20
    while workers_of(token) and time.monotonic() < until:
        time.sleep(0.2)
    assert not workers_of(token)
    codes, values = ss.Store(tmp_path / "v.db").read()
    assert len(codes) % 25 == 0
    assert len(codes) >= 25
    assert (values == (codes == 2).sum(axis=1)).all()
    assert not (tmp_path / "o.st").exists()


def test_a_model_that_exits_is_no_success(shell, tmp_path):
    (tmp_path / "exiting.py").write_text("import sys\ndef score(sequences):\n    sys.exit(0)\n")
    code, out, err = shell("sketch", "--model", "exiting:score", *SPACE, "--budget", 600, "-o", "o.st")
    assert (code, out) == (1, "")
    assert "the model called sys.exit(0)" in err


def test_what_is_read_is_never_the_output(shell, well, folder):
    options = [*SPACE, "--budget", 600, "--method", "regress"]
    sketch = ["sketch", "--model", "mine:score", *options]
    well(*sketch, "--store", "values.db", "-o", "o.st")
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
        assert "is read, and cannot be the output, too" in err
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_what_a_model_prints_is_not_in_the_output(folder, tmp_path):
    (tmp_path / "noisy.py").write_text(
        "import os\nprint('imported')\n"
        "def score(sequences):\n"
        "    print('1/1 [=====]')\n    os.system('echo from a program')\n"
        "    return [s.count('G') for s in sequences]\n"
    )
    command = [sys.executable, "-m", "shapsketch.cli", "sketch", *SPACE, "--budget", "600", "--json"]
    for how in ([], ["--workers", "1"]):
        done = subprocess.run(
            [*command, "--model", "noisy:score", "-o", "o.st", "--force", "--method", "regress", *how],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["r2"] > 0.999
        assert "from a program" in done.stderr
        assert "[=====]" in done.stderr


def test_programs_of_sketch(shell, tmp_path):
    options = ["sketch", *SPACE, "--budget", 600, "--method", "regress", "-o", "o.st"]
    code, _, err = shell(*options, "--command", "echo 'x")
    assert (code, 'No closing quotation in "echo \'x"' in err) == (2, True)
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(9)\n")
    code, _, err = shell(*options, "--command", f"{sys.executable} slow.py", "--timeout", 0.5)
    assert (code, "took more than 0.5 s" in err) == (1, True)
    assert shell(*options, "--model", "mine:score", "--timeout", 1)[0] == 2
    (tmp_path / "scores.csv").write_text("sequence,a/b,c\nGGGGGGGGG,1,2\n")
    code, _, err = shell(*options, "--values", "scores.csv")
    assert (code, "'a/b' cannot be part of a file name; choose others by --column" in err) == (1, True)
    code, _, err = shell("plan", *SPACE, "--budget", 600, "--queries", "q.txt")
    assert (code, "--format" not in err and "use one of .fasta" in err) == (1, True)
    code, _, err = shell(*options, "--model", "mine:score", "--store", ".")
    assert (code, "this is a folder, and a store is a file" in err) == (1, True)
