"""Tables of other programs, numbers in tables, output to pipes, and libraries that do not import."""

import io
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapsketch as ss
from shapsketch import cli, models
from shapsketch._validate import optional
from shapsketch.files.formats import number_in

DNA4 = ss.SequenceSpace(ss.DNA, 4)

# Tables with the sequences ACGT and GGTT, the names a and b, and the scores 0.5 and -2: the text, and the
# lines of the two records.
TABLES = {
    "comments.csv": (
        "# Accession: urn:mavedb:1-a-1\n# it's \"x\n\n#y\nname,sequence,score\na,ACGT,0.5\nb,GGTT,-2\n",
        [6, 7],
    ),
    "comments.tsv": ("#\tz\r\nname\tsequence\tscore\r\na\tACGT\t0.5\r\n\r\nb\tGGTT\t-2\r\n", [3, 5]),
    "marked.csv": ("\ufeff# comment\nname,sequence,score\na,ACGT,0.5\nb,GGTT,-2\n", [3, 4]),
    "semicolons.csv": ("name;sequence;score\na;ACGT;0.5\nb;GGTT;-2\n", [2, 3]),
    "both.csv": ('# one, two; three\n"name";"sequence";"score"\n"a";"ACGT";0.5\n"b";"GGTT";-2\n', [3, 4]),
    "spaces.csv": ('name, sequence, score\na, ACGT, 0.5\n"b", "GGTT", -2\n', [2, 3]),
    "spaces.tsv": ("name\t sequence\t score\na\t ACGT\t 0.5\nb\t GGTT\t -2\n", [2, 3]),
    "case.csv": ("name,sequence,score\na,acgt,0.5\nb,ggtt,-2\n", [2, 3]),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_programs(tmp_path, name):
    text, lines = TABLES[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    (records,) = ss.read_sequences(path, DNA4)
    assert (records.names, DNA4.decode(records.codes), records.lines.tolist()) == (
        ["a", "b"],
        ["ACGT", "GGTT"],
        lines,
    )
    model = models.table(path)
    if name != "case.csv":
        assert model(["GGTT", "ACGT"]).tolist() == [-2.0, 0.5]
        return
    with pytest.raises(
        ss.ModelError, match=r"no score for 'GGTT'.*it has one for 'ggtt': write .* case of the"
    ):
        model(["GGTT"])


def test_the_header_tells_the_delimiter(tmp_path):
    path = tmp_path / "a.csv"
    # A comma in the header: semicolons are symbols.
    space = ss.SequenceSpace("A;", 3)
    path.write_text("id,sequence\n1,A;;\n")
    (records,) = ss.read_sequences(path, space)
    assert space.decode(records.codes) == ["A;;"]
    path.write_text("sequence\nA;;\n")
    (records,) = ss.read_sequences(path, space)
    assert space.decode(records.codes) == ["A;;"]
    # No space after a comma of the header: spaces are symbols.
    space = ss.SequenceSpace("A ", 3)
    path.write_text("id,sequence\n1,  A\n")
    (records,) = ss.read_sequences(path, space)
    assert space.decode(records.codes) == ["  A"]


def test_comments_that_hide_rows_are_an_error(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,sequence\na,ACGT\n# the end\n")
    with pytest.raises(
        ss.InputError, match=r"a.csv, line 3: it has 1 values.*comment lines are allowed only before"
    ):
        list(ss.read_sequences(path, DNA4))
    path.write_text("#name,sequence\na,ACGT\n")
    with pytest.raises(
        ss.InputError,
        match=r"a.csv, line 2, the first line that is not a comment: this line must have the names",
    ):
        list(ss.read_sequences(path, DNA4))
    path.write_text("# nothing else\n")
    with pytest.raises(ss.FileError, match="no records"):
        list(ss.read_sequences(path, DNA4))
    with pytest.raises(ss.FileError, match="no rows"):
        models.table(path)


# Texts that Python's float takes, but that are not numbers in a table: 1_000, 12 in Arabic and in fullwidth
# digits, and 1 after a space that is not ASCII.
NOT_NUMBERS = ["1_000", "\u0661\u0662", "\uff11\uff12", "\u00a01", "0,5", "1.5x"]


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_numbers_of_other_notations_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r".*"):
        number_in(text)
    path = tmp_path / "scores.csv"
    path.write_text(f"sequence;score\nACGT;{text}\n", encoding="utf-8")
    with pytest.raises(
        ss.FileError, match=r"line 2: .* in the column 'score' is not a number such as -1200.5"
    ):
        models.table(path)
    pq.write_table(pa.table({"sequence": ["ACGT"], "score": [text]}), tmp_path / "scores.parquet")
    with pytest.raises(ss.FileError, match=r"scores.parquet, row 0: .* is not a number"):
        models.table(tmp_path / "scores.parquet")


@pytest.mark.parametrize("text", NOT_NUMBERS[:3])
def test_numbers_of_other_notations_that_a_program_prints_are_refused(text):
    program = f"import sys; sys.stdout.buffer.write({text!r}.encode())"
    model = models.command([sys.executable, "-c", program])
    with pytest.raises(ss.ModelError, match="printed no number in line 1, which has"):
        model(["ACGT"])


@pytest.mark.parametrize(
    ("text", "value"), [("-1200.5", -1200.5), ("3e-7", 3e-7), (" 1", 1.0), ("+.5", 0.5), ("inf", np.inf)]
)
def test_numbers(text, value):
    assert number_in(text) == value


@pytest.fixture
def sketch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ss.sketch(lambda s: [x.count("G") for x in s], DNA4, budget=256, progress=False)
    model.save("model.safetensors")
    ss.write_sequences("seqs.csv", DNA4, [DNA4.encode(["ACGT", "GGTT"])])
    return model


def test_probabilities_and_counts_of_other_notations_are_refused(sketch, capsys):
    explain = ["explain", "model.safetensors", "seqs.csv", "-o", "o.csv", "--force", "--background"]
    with open("p.csv", "w", encoding="utf-8") as file:
        file.write("# a\nA;C;G;T\n0.25;0.25;0.25;\u0661\n")
    assert cli.main([*explain, "p.csv"]) == 1
    assert "p.csv, line 3: expected a probability for each symbol" in capsys.readouterr().err
    with open("p.csv", "w", encoding="utf-8") as file:
        file.write("# a\nA; C; G; T\n0.1; 0.2; 0.3; 0.4\n")
    assert cli.main([*explain, "p.csv"]) == 0
    expected = ss.Explainer(sketch, background=np.array([0.1, 0.2, 0.3, 0.4]))(["ACGT"]).base_values
    assert pandas.read_csv("o.csv")["base_value"][0] == pytest.approx(expected[0])
    capsys.readouterr()
    assert cli.main([*explain, "shuffles:\u0661"]) == 1
    assert "COUNT of shuffles must be a number" in capsys.readouterr().err
    with open("p.csv", "w", encoding="utf-8") as file:
        file.write("a,c,g,t\n0.1,0.2,0.3,0.4\n")
    assert cli.main([*explain, "p.csv"]) == 1
    assert "symbol 'A' is missing; the columns are 'a', 'c', 'g', 't'" in capsys.readouterr().err


def shell(command):
    """Run a shell command line in which `shapsketch` is the command line of this package."""
    program = f'shapsketch() {{ {sys.executable} -m shapsketch.cli "$@"; }}; set -o pipefail; {command}'
    return subprocess.run(["bash", "-c", program], capture_output=True, timeout=120, check=False)


def test_output_to_a_pipe(sketch):
    """The advice of the error works, and the report does not mix with the table."""
    refused = shell("shapsketch explain model.safetensors seqs.csv -o /dev/stdout | cat")
    assert refused.returncode == 1
    assert b"/dev/stdout: cannot infer a supported format" in refused.stderr
    assert b"or choose one with --output-format" in refused.stderr
    done = shell(
        "shapsketch explain model.safetensors seqs.csv -o /dev/stdout --output-format tsv --json | cat &&"
        "echo old > appended.csv &&"
        "shapsketch mutate model.safetensors seqs.csv -o /dev/stdout --output-format csv >> appended.csv &&"
        "shapsketch mutate model.safetensors seqs.csv -o >(cat > fifo.csv) --output-format csv > report.txt"
    )
    assert done.returncode == 0, done.stderr
    table = pandas.read_csv(io.BytesIO(done.stdout), sep="\t")
    np.testing.assert_allclose(table["p2"], ss.Explainer(sketch)(["ACGT", "GGTT"]).values[:, 2], atol=1e-12)
    reports = done.stderr.decode().splitlines()
    assert json.loads(reports[0])["rows"] == 2
    assert reports[1].endswith("wrote 24 rows to /dev/stdout, by the closed form")
    with open("appended.csv") as file:
        appended = file.read()
    assert appended.startswith('old\n"name",')
    assert appended.count("\n") == 1 + 1 + 24


def test_queries_and_binary_tables_to_a_pipe(sketch, capfd):
    plan = ["plan", "--alphabet", "DNA", "--length", "4", "--budget", "256", "--queries", "/dev/stdout"]
    assert cli.main(plan) == 1
    assert "or choose one with --output-format" in capfd.readouterr().err
    assert cli.main([*plan, "--output-format", "fasta"]) == 0
    captured = capfd.readouterr()
    assert captured.out.count(">query") == 256
    assert "wrote 256 sequences to /dev/stdout" in captured.err
    assert cli.main([*plan[:-2], "--output-format", "fasta"]) == 2
    assert "--output-format is for --queries" in capfd.readouterr().err
    os.mkfifo("pipe")
    received = []

    def receive():
        with open("pipe", "rb") as file:
            received.append(file.read())

    reader = threading.Thread(target=receive)
    reader.start()
    explain = ["explain", "model.safetensors", "seqs.csv", "-o", "pipe", "--output-format", "parquet"]
    assert cli.main(explain) == 0
    reader.join(60)
    assert pq.read_table(pa.BufferReader(received[0])).num_rows == 2
    assert "wrote 2 rows to pipe" in capfd.readouterr().out


def test_a_pipe_needs_no_writable_folder(sketch, monkeypatch, capfd):
    """For other users than root, the folder /dev is not writable."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    explain = ["explain", "model.safetensors", "seqs.csv", "-o", "/dev/stdout", "--output-format", "csv"]
    assert cli.main(explain) == 0
    assert capfd.readouterr().out.startswith('"name","base_value"')
    assert cli.main([*explain[:4], "new.csv"]) == 1
    assert "not a writable folder" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import missing_part", "ModuleNotFoundError: No module named 'missing_part'"),
        ("from json import nonsense", "ImportError: cannot import name 'nonsense'"),
        (
            "raise OSError('libgomp.so.1: cannot open shared object file')",
            "OSError: libgomp.so.1: cannot open",
        ),
    ],
)
def test_an_installed_library_that_does_not_import_is_not_called_missing(
    tmp_path, monkeypatch, source, message
):
    (tmp_path / "broken_library.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ss.MissingExtraError) as raised:
        optional("broken_library", "files", "a table")
    assert str(raised.value).startswith(
        f"a table needs broken_library, which is installed, but cannot be imported: {message}"
    )
    assert "reinstall it" in str(raised.value)
    with pytest.raises(ss.MissingExtraError) as raised:
        optional("no_library", "files", "a table")
    assert str(raised.value) == (
        "a table needs no_library, which is not installed: pip install 'shapsketch[files]'"
    )
