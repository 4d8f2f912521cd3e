"""Sequence and table files: round trips, messages with lines, bounded memory, complete files or none."""

import bz2
import gzip
import logging
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from shapsketch.files import header_lines
from shapsketch.files.read import read_sequences
from shapsketch.files.write import TableWriter, write_sequences

DNA4 = ss.SequenceSpace(ss.DNA, 4)
WRITTEN = ["fasta", "fasta.gz", "fa.xz", "csv", "csv.gz", "csv.bz2", "tsv.zst", "parquet"]


def says(*parts, error=ss.InputError):
    return pytest.raises(error, match="(?s)" + ".*".join(parts))


def everything(path, space=DNA4, **options):
    with read_sequences(path, space, **options) as reader:
        batches = list(reader)
    assert reader.count == sum(map(len, batches))
    assert all(batch.codes.dtype == np.uint8 and batch.lines.dtype == np.int64 for batch in batches)
    names = [name for batch in batches for name in batch.names]
    codes = np.concatenate([batch.codes for batch in batches])
    lines = [line for batch in batches for line in batch.lines.tolist()]
    assert len(names) == len(codes) == len(lines)
    return names, codes, lines


def texts(path, space=DNA4, **options):
    return space.decode(everything(path, space, **options)[1])


@pytest.mark.parametrize("extension", WRITTEN)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_sequences_that_are_written_are_read_back(extension, data):
    alphabet = data.draw(st.sampled_from([ss.DNA, ss.PROTEIN, "01", "0123456789", 'ab,"; ']))
    if "fa" in extension and " " in alphabet:
        alphabet = "xyz"
    space = ss.SequenceSpace(alphabet, data.draw(st.integers(1, 30)))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    counts = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=4))
    batches = [rng.integers(0, space.q, (count, space.n), dtype=np.uint8) for count in counts]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"queries.{extension}")
        assert write_sequences(path, space, batches) == sum(counts)
        assert os.listdir(folder) == [path.name]
        size = data.draw(st.integers(1, 60))
        names, codes, lines = everything(path, space, batch_size=size)
    assert (codes == np.concatenate(batches)).all()
    assert names == [f"query{i}" for i in range(len(codes))]
    start, step = {"f": (1, 2), "p": (0, 1)}.get(extension[0], (2, 1))
    assert lines == list(range(start, start + step * len(lines), step))


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(
        st.tuples(
            st.text("ab c>#", max_size=4),
            st.text("ACGTacgt", min_size=4, max_size=4),
            st.lists(st.sampled_from(["", "", " ", "#note", "\t"]), max_size=2),
        ),
        min_size=1,
        max_size=8,
    ),
    wrap=st.integers(1, 5),
    indent=st.sampled_from(["", "", " \t"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
    chunk=st.integers(1, 9),
)
def test_fasta_of_any_shape(records, wrap, indent, end, last, chunk):
    """Wrapped and empty lines, comments, all kinds of line ends, chunks that end anywhere."""
    lines, starts = ["", "#comment"], []
    for name, sequence, more in records:
        starts.append(len(lines) + 1)
        lines.append(f"{indent}>{name}")
        lines += [sequence[i : i + wrap] for i in range(0, 4, wrap)] + more
    content = end.join(lines) + end * last
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(header_lines, "CHUNK", chunk)
        path = Path(folder, "some.fa")
        path.write_bytes(content.encode())
        names, codes, record_lines = everything(path)
    assert DNA4.decode(codes) == [sequence.upper() for _, sequence, _ in records]
    # The name ends at the first white space.
    assert names == [(name.split() or [""])[0] for name, _, _ in records]
    assert record_lines == starts


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a.fasta").write_bytes(b"\xef\xbb\xbf>one\nACGT\n")
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfsequence\nACGT\n")
    assert everything(tmp_path / "a.fasta")[0] == ["one"]
    assert everything(tmp_path / "a.csv")[0] == ["0"]


def test_fastq(tmp_path):
    path = tmp_path / "reads.fq.gz"
    path.write_bytes(gzip.compress(b"@r1 x\nACGT\n+\nIIII\n@r2\nGGTT\n+\nIIII\n"))
    names, codes, lines = everything(path)
    assert (names, DNA4.decode(codes), lines) == (["r1", "r2"], ["ACGT", "GGTT"], [1, 5])


def test_tables_by_columns(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "table.csv"
    path.write_text('id,score,site\n001,1.5,ACGT\n"a,b",x,"ggtt"\n')
    assert everything(path, column="site")[0] == ["001", "a,b"]
    assert texts(path, column="site") == ["ACGT", "GGTT"]
    with says("table.csv, line 1", "'sequence' is missing", "'id', 'score', 'site'", "with column="):
        everything(path)
    # Line breaks within values do not start new rows.
    path.write_bytes(b'note,sequence\r\n"a\r\nb\n",ACGT\r\n\r\n"c, ""d""\n",GGTT\n"",CCCC')
    for size in (1, 2, 5):
        assert everything(path, batch_size=size)[1:][1] == [2, 6, 8]
    path.write_text("sequence,sequence\nA,C\n")
    with says("appears twice"):
        everything(path)
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        table = pa.table(
            {"name": pa.array([7, 8]), "site": pa.array(["ACGT", "CCCC"], type=kind), "x": [[1], [2]]}
        )
        pq.write_table(table, tmp_path / "t.pq")
        names, codes, lines = everything(tmp_path / "t.pq", column="site")
        assert (names, DNA4.decode(codes), lines) == (["7", "8"], ["ACGT", "CCCC"], [0, 1])
    with says("t.pq", "'sequence' is missing"):
        everything(tmp_path / "t.pq")
    with says("columns.*not text", error=ss.FileError):
        everything(tmp_path / "t.pq", column="x")


# For each format: a file, its malformed records (line, name, message), and the names of the other records.
MALFORMED = {
    "fasta": (
        ">a\nACGT\n>b\nAC\nGTA\n\n>c\nACNT\n>d\n>e\ngg\ncc\n>f\nACéT\n",
        [(3, "b", "5 symbols"), (7, "c", "'N' at position 2"), (9, "d", "no sequence"), (13, "f", "'é'")],
        ["a", "e"],
    ),
    "fastq": (
        "@a\nACGT\n+\nIIII\n@b\nACG\n+\nIII\n@c\nACGN\n+\nIIII\n@e\nGGCC\n+\nIIII\n",
        [(5, "b", "3 symbols"), (9, "c", "'N' at position 3")],
        ["a", "e"],
    ),
    "csv": (
        "name,sequence\na,ACGT\n\nb,ACG\r\n\r\nc\nd,,\ne,GGCC\nf,\ng,-ACG\n\n\nh\n\n",
        [
            (4, "b", "3 symbols"),
            (6, "", "1 values, but the header has 2"),
            (7, "", "3 values, but the header has 2"),
            (9, "f", "no sequence"),
            (10, "g", "'-' at position 0"),
            (13, "", "1 values"),
        ],
        ["a", "e"],
    ),
    "tsv": ("sequence\n\nACGT\nACGTA\nGGCC\n", [(4, "1", "5 symbols")], ["0", "2"]),
    "parquet": (
        [("a", "ACGT"), ("b", "ACG"), ("c", None), (None, "ACXT"), ("e", "GGCC")],
        [(1, "b", "3 symbols"), (2, "c", "no sequence"), (3, "", "'X' at position 2")],
        ["a", "e"],
    ),
}


def malformed_file(folder, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"bad.{kind}"
    content, malformed, good = MALFORMED[kind]
    if kind == "parquet":
        names, sequences = zip(*content, strict=True)
        pq.write_table(pa.table({"name": names, "sequence": sequences}), path)
    else:
        path.write_bytes(content.encode())
    return path, malformed, good


@pytest.mark.parametrize("kind", MALFORMED)
def test_the_first_malformed_record_is_an_error(tmp_path, kind):
    path, malformed, _ = malformed_file(tmp_path, kind)
    line, name, problem = malformed[0]
    unit = "row" if kind == "parquet" else "line"
    for size in (1, 2, 100):
        with says(f"bad.{kind}, {unit} {line}", f"record '{name}'", problem, "on_error='skip'"):
            everything(path, batch_size=size)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_records_are_skipped_and_counted(tmp_path, caplog, kind, size):
    path, malformed, good = malformed_file(tmp_path, kind)
    reader = read_sequences(path, DNA4, on_error="skip", batch_size=size)
    with caplog.at_level(logging.WARNING, logger="shapsketch"):
        batches = list(reader)
    assert [name for batch in batches for name in batch.names] == good
    assert DNA4.decode(np.concatenate([batch.codes for batch in batches])) == ["ACGT", "GGCC"]
    assert (reader.count, reader.skipped) == (len(good), len(malformed))
    assert all(0 < len(batch) <= size for batch in batches)
    messages = [record.getMessage() for record in caplog.records]
    assert f"{len(malformed)} malformed records of {len(malformed) + len(good)}" in messages[-1]
    for (line, name, problem), message in zip(malformed, messages[:-1], strict=True):
        assert f" {line}" in message
        assert problem in message
        assert repr(name) in message or not name


def test_only_the_first_malformed_records_are_logged(tmp_path, caplog):
    path = tmp_path / "many.fasta"
    path.write_text("".join(f">r{i}\nACG{'T' * (i % 2)}\n" for i in range(2_000)))
    with caplog.at_level(logging.WARNING, logger="shapsketch"):
        reader = read_sequences(path, DNA4, on_error="skip", batch_size=64)
        assert sum(map(len, reader)) == 1_000
    assert reader.skipped == 1_000
    assert len(caplog.records) == 12
    path.write_text(">a\nAC\n>b\nA\n")
    with says("none of the 2 records", "line 1, record 'a'"):
        everything(path, on_error="skip")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.fasta", b"ACGT\n", ["a.fasta, line 1", "Expected '>'"]),
        ("a.fasta", b"#x\n\nPK\x03\x04", ["a.fasta, line 3", "Expected '>'"]),
        ("a.fasta", b">a\n\xff\xfe\n", ["a.fasta, line 2: the byte 0xff is not UTF-8"]),
        ("a.fasta", b"", ["no records"]),
        ("a.fasta", b"\n\n", ["no records"]),
        ("a.fastq", b"", ["no records"]),
        ("a.fastq", b"@a\nACGT\n+\nIIII\n@b\nACGT\n+\nIII\n", ["a.fastq, line 8", "[Ll]ength"]),
        ("a.fastq", b"@a\nACGT\n+\nIIII\n@b\nACGT\n", ["a.fastq, line", "[Pp]remature end"]),
        ("a.fastq", b">a\nACGT\n>b\nACGT\n", ["a.fastq, line 1: the file is FASTA, not FASTQ"]),
        ("a.csv", b"", ["no records"]),
        ("a.csv", b"\n\n", ["no records"]),
        ("a.csv", b"sequence\n", ["no records"]),
        ("a.csv", b"sequence\n\n", ["no records"]),
        ("a.csv", b"sequence\nAC\xff\xff\n", ["a.csv, line 2: the byte 0xff is not UTF-8"]),
        ("a.csv", b"\xff\n", ["a.csv, line 1: the byte 0xff is not UTF-8"]),
        ("a.csv", b'"sequence\nACGT\n', ["a.csv, line 1: unexpected end"]),
        ("a.csv", b'sequence\nACGT\n\n"AC"G\n', ["a.csv, line 4: ',' expected"]),
        ("a.csv", b"sequence\nACGT\n" + b"A" * 200_000, ["a.csv, line 3: field larger"]),
        ("a.fasta.gz", b">a\nACGT\n" * 9, ["[Nn]ot a gzip|[Mm]agic|[Hh]eader"]),
        ("a.parquet", b"", ["a.parquet"]),
        ("a.parquet", b"name,sequence\n", ["a.parquet", "[Pp]arquet"]),
        ("none/a.fasta", None, ["none/a.fasta: No such file"]),
        ("a.parquet", None, ["a.parquet: No such file"]),
    ],
)
def test_a_malformed_file_is_always_an_error(tmp_path, name, content, parts):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for on_error in ("raise", "skip"):
        with says(*parts, error=ss.FileError):
            everything(tmp_path / name, on_error=on_error)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kind", ["fasta", "fastq", "csv"])
def test_an_incomplete_archive_is_an_error(tmp_path, kind, compress):
    row = {"fasta": ">{}\nACGT\n", "fastq": "@{}\nACGT\n+\nIIII\n", "csv": "{},ACGT\n"}[kind]
    content = "name,sequence\n" * (kind == "csv") + "".join(row.format(i) for i in range(30_000))
    data = compress(content.encode())
    extension = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[compress]
    path = tmp_path / f"cut.{kind}.{extension}"
    path.write_bytes(data[: len(data) // 2])
    with says(f"cut.{kind}", "cut off", error=ss.FileError):
        everything(path)
    path.write_bytes(data)
    assert len(everything(path)[0]) == 30_000


def test_a_damaged_parquet_file_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    codes = np.random.default_rng(0).integers(0, 4, (5_000, 4), dtype=np.uint8)
    write_sequences(path, DNA4, [codes])
    data = bytearray(path.read_bytes())
    data[10:2_000] = bytes(1_990)
    path.write_bytes(data)
    with says("a.parquet", error=ss.FileError):
        everything(path)
    path.write_bytes(data[:-100])
    with says("a.parquet", error=ss.FileError):
        everything(path)


def test_arguments_are_checked(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text(">a\nACGT\n")
    with says("space must be a SequenceSpace, got str"):
        read_sequences(path, "ACGT")
    with says("on_error must be one of", "did you mean 'skip'"):
        read_sequences(path, DNA4, on_error="skp")
    with says("batch_size must be at least 1"):
        read_sequences(path, DNA4, batch_size=0)
    with says("format must be one of", "did you mean 'fasta'"):
        read_sequences(path, DNA4, format="fata")
    for name in ("a.txt", "fasta", "a.gz", "a.vcf.gz"):
        with says("cannot infer a supported format from the extension", ".fa", "'fastq'"):
            read_sequences(tmp_path / name, DNA4)
    with says("Is a directory|folder", error=ss.FileError):
        read_sequences(tmp_path, DNA4, format="fasta")
    for alphabet in ("A>", "A#", "A ", "Aß"):
        space = ss.SequenceSpace(alphabet, 4)
        with says("FASTA files cannot hold"):
            read_sequences(path, space)
        with says("FASTA files cannot hold"):
            write_sequences(tmp_path / "b.fasta", space, [])
    with says("cannot infer a supported format from the extension"):
        write_sequences(tmp_path / "b.fastq", DNA4, [])
    (tmp_path / "unnamed").write_text(">a\nACGT\n")
    assert texts(tmp_path / "unnamed", format="fasta") == ["ACGT"]


@pytest.mark.parametrize("module", ["dnaio", "pyarrow"])
def test_a_missing_extra_is_named(monkeypatch, tmp_path, module):
    for name in list(sys.modules):
        if name.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with says(r"pip install 'shapsketch\[files\]'", error=ss.MissingExtraError):
        read_sequences(tmp_path / ("a.fasta" if module == "dnaio" else "a.parquet"), DNA4)


@pytest.mark.parametrize("kind", ["fasta", "fastq", "csv"])
def test_reading_is_lazy(tmp_path, kind):
    """The first batch needs only the start of the file, and closing does not read the rest."""
    row = {"fasta": ">{}\nACGT\n", "fastq": "@{}\nACGT\n+\nIIII\n", "csv": "{},ACGT\n"}[kind]
    path = tmp_path / f"long.{kind}"
    content = "name,sequence\n" * (kind == "csv")
    content += "".join(row.format(f"record{i:09}") for i in range(2_000_000 if kind == "csv" else 400_000))
    # An incomplete archive raises no error as long as its end is not read.
    path = tmp_path / f"long.{kind}.gz"
    path.write_bytes(gzip.compress(content.encode(), 1)[:-1_000])
    with read_sequences(path, DNA4, batch_size=100) as reader:
        assert next(reader).names == [f"record{i:09}" for i in range(100)]
    assert reader.count == 100
    with says("a file is read once; call read_sequences again"):
        list(reader)


THREADS = """
import os, sys
import shapsketch as ss
from shapsketch.files.read import read_sequences

with read_sequences(sys.argv[1], ss.SequenceSpace(ss.DNA, 4), batch_size=10) as reader:
    before = len(os.listdir("/proc/self/task"))
    next(reader)
    assert len(os.listdir("/proc/self/task")) == before
"""


@pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="run it on Linux, which lists threads in /proc"
)
@pytest.mark.parametrize("kind", ["fasta", "fastq", "csv", "parquet"])
def test_reading_starts_no_threads(tmp_path, kind):
    """Threads that outlive a reader could use objects that are already deleted."""
    path = tmp_path / f"a.{kind}"
    if kind == "fastq":
        path.write_text("@a\nACGT\n+\nIIII\n" * 1_000)
    else:
        write_sequences(path, DNA4, [np.zeros((1_000, 4), dtype=np.uint8)])
    subprocess.run([sys.executable, "-c", THREADS, path], check=True)


# Runs in a separate process: threads of other tests that end while memory is traced can crash the process.
PEAK = """
import sys, tracemalloc
import pyarrow as pa
import shapsketch as ss
from shapsketch.files import header_lines
from shapsketch.files.read import read_sequences

header_lines.CHUNK = 1 << 12
tracemalloc.start()
arrow = 0
for path in sys.argv[1:]:
    tracemalloc.reset_peak()
    for _ in read_sequences(path, ss.SequenceSpace(ss.DNA, 4), batch_size=500):
        arrow = max(arrow, pa.total_allocated_bytes())
    print(tracemalloc.get_traced_memory()[1] + arrow)
"""


@pytest.mark.parametrize("kind", ["fasta", "csv", "parquet"])
def test_memory_is_bounded(tmp_path, kind):
    """Five times as many records need the same peak memory of Python and arrow."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{count}.{kind}" for count in (10, 50)]
    for path in paths:
        count = int(path.stem)
        write_sequences(path, DNA4, (rng.integers(0, 4, (1_000, 4), dtype=np.uint8) for _ in range(count)))
    command = [sys.executable, "-c", PEAK, paths[0], *paths]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    _, few, many = map(int, printed.split())
    # All records as Python objects would take 10 MB.
    assert many < 1.2 * few + 5e5


COLUMNS = {"name": "string", "symbol": "category", "count": "int64", "x": "float64", "y": "float32"}


def rows(start, stop):
    index = np.arange(start, stop)
    return {
        "name": [f'r"{i},' for i in index],
        "symbol": (["A", "C"], index % 2),
        "count": index,
        "x": index / 7,
        "y": index / 7,
    }


@pytest.mark.parametrize("extension", ["csv", "csv.gz", "tsv", "parquet"])
def test_tables_that_are_written_are_read_back(tmp_path, monkeypatch, extension):
    import pandas as pd
    import pyarrow.parquet as pq
    from shapsketch.files import write as tables

    monkeypatch.setattr(tables, "BUFFER", 1_000)
    path = tmp_path / f"table.{extension}"
    with TableWriter(path, COLUMNS, metadata={"index": "SV"}) as writer:
        for start in range(0, 500, 50):
            writer.write(rows(start, start + 50))
        assert not path.exists()
    assert writer.rows == 500
    assert os.listdir(tmp_path) == [path.name]
    if extension == "parquet":
        table = pd.read_parquet(path)
        assert pq.read_schema(path).metadata[b"index"] == b"SV"
        assert table["y"].dtype == np.float32
    else:
        table = pd.read_csv(path, sep="\t" if extension == "tsv" else ",")
    assert list(table) == list(COLUMNS)
    assert (table["x"] == np.arange(500) / 7).all()
    assert np.allclose(table["y"], np.arange(500) / 7, rtol=1e-6)
    assert table["name"][7] == 'r"7,'
    assert "".join(table["symbol"]) == "AC" * 250
    # The default permissions, not those of a temporary file.
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("extension", ["csv", "csv.gz", "parquet"])
def test_a_table_is_complete_or_the_old_file_stays(tmp_path, extension):
    path = tmp_path / f"table.{extension}"
    path.write_text("before")
    for error in (ValueError, KeyboardInterrupt, OSError):
        with pytest.raises(error), TableWriter(path, COLUMNS) as table:  # noqa: PT012
            table.write(rows(0, 10))
            raise error
    with says("the columns", "expected"), TableWriter(path, COLUMNS) as table:
        table.write({"name": ["a"]})
    with says("does not fit the columns of the table"), TableWriter(path, COLUMNS) as table:
        table.write(rows(0, 10) | {"x": [1.0]})
    with says("does not fit the columns of the table"), TableWriter(path, COLUMNS) as table:
        table.write(rows(0, 2) | {"count": ["a", "b"]})
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == [path.name]
    with TableWriter(path, COLUMNS):
        pass
    assert path.read_bytes() != b"before"


def test_a_failing_source_leaves_no_file(tmp_path):
    def batches():
        yield np.zeros((5, 4), dtype=np.uint8)
        raise RuntimeError("the source fails")

    for name in ("a.fasta", "a.csv", "a.parquet"):
        with pytest.raises(RuntimeError, match="the source fails"):
            write_sequences(tmp_path / name, DNA4, batches())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_that_cannot_be_written_are_refused(tmp_path, kind):
    with (
        says("none/a.*: No such file", error=ss.FileError),
        TableWriter(tmp_path / "none" / f"a.{kind}", COLUMNS),
    ):
        pass
    with says("is a folder", error=ss.FileError), TableWriter(tmp_path, COLUMNS, format=kind):
        pass
    with says("cannot infer a supported format from the extension"):
        TableWriter(tmp_path / "a.xlsx", COLUMNS)
    with says("at least one column"):
        TableWriter(tmp_path / "a.csv", {})
    with says("kind of column 'a'"):
        TableWriter(tmp_path / "a.csv", {"a": "float"})
    with says("within a `with` block"):
        TableWriter(tmp_path / "a.csv", {"a": "int64"}).write({"a": [1]})
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="run it on Linux, which has /dev/full")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_is_an_error(kind):
    with (
        says("cannot write /dev/full: No space left", error=ss.FileError),
        TableWriter("/dev/full", COLUMNS, format=kind) as table,
    ):
        for start in range(0, 50_000, 10_000):
            table.write(rows(start, start + 10_000))
    with says("cannot write /dev/full: No space left", error=ss.FileError):
        write_sequences("/dev/full", DNA4, [np.zeros((10_000, 4), dtype=np.uint8)], format="fasta")


def test_links_stay_links_and_devices_stay_devices(tmp_path):
    (tmp_path / "real.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write_sequences(tmp_path / "link.csv", DNA4, [np.zeros((1, 4), dtype=np.uint8)])
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == '"name","sequence"\n"query0","AAAA"\n'
    write_sequences("/dev/null", DNA4, [np.zeros((1, 4), dtype=np.uint8)], format="csv")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("end", ["read", "closed", "left"])
def test_a_file_is_read_once(tmp_path, end):
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGT\n")
    reader = read_sequences(path, DNA4)
    if end == "read":
        assert len(list(reader)) == 1
    elif end == "closed":
        reader.close()
    else:
        with reader:
            assert next(reader).names == ["a"]
    with says("read once; call read_sequences again"):
        list(reader)


def test_a_loop_over_a_reader_can_be_continued(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGT\n>b\nACGT\n")
    reader = read_sequences(path, DNA4, batch_size=1)
    first = next(iter(reader))
    assert [first.names, *(records.names for records in reader)] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("name", "prefix", "wrong"),
    [
        ("o.fa", "a\n>c", "'\\\\n' at position 1"),
        ("o.fa", "a b", "' ' at position 1"),
        ("o.csv", "\0", "x00"),
    ],
)
def test_names_that_would_break_a_file_are_refused(tmp_path, name, prefix, wrong):
    with says("prefix: the character", wrong, "cannot be part of a name"):
        write_sequences(tmp_path / name, DNA4, [DNA4.encode(["ACGT"])], prefix=prefix)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("x.fa", ">a\nACGT\n".encode("utf-16"), ["x.fa, line 1: it is UTF-16; save the file as UTF-8"]),
        (
            "x.fa",
            ">a\nACGT\n>g\xe8ne\nACGT\n".encode("latin-1"),
            ["line 3: the byte 0xe8 is not UTF-8; save"],
        ),
        (
            "x.csv",
            "sequence,n\nACGT,a\nACGT,g\xe8ne\n".encode("latin-1"),
            ["line 3: the byte 0xe8", "as UTF-8"],
        ),
        ("x.csv.gz", gzip.compress("sequence\nACGT\n\xe8".encode("latin-1")), ["line 3: the byte 0xe8"]),
        ("x.csv", "sequence\nACGT\n".encode("utf-16"), ["line 1: it is UTF-16"]),
        ("x.fq", b">a\nACGT\n", ["line 1: the file is FASTA, not FASTQ", "format='fasta'"]),
    ],
    ids=["utf-16", "latin-1", "table", "compressed", "utf-16 table", "fasta"],
)
def test_files_of_another_encoding_or_format(tmp_path, name, content, parts):
    (tmp_path / name).write_bytes(content)
    with says(*parts, error=ss.FileError):
        everything(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        (
            "x.csv",
            "ACGT\nGGGG\n",
            ["line 1: this line must have the names", "sequence 'ACGT'; add a line"],
        ),
        ("x.csv", "sequence,sequence\nACGT,GGGG\n", ["'sequence' appears twice", "rename one"]),
        ("x.csv", "name\tsequence\na\tACGT\n", ["a tab, but CSV needs a comma", "format='tsv'"]),
        ("x.csv", "name|sequence\na|ACGT\n", [r"'\|', but CSV needs a comma; replace it"]),
        ("x.tsv", "name,sequence\na,ACGT\n", ["a comma, but TSV needs a tab", "format='csv'"]),
        ("x.tsv", "name;sequence\na;ACGT\n", ["a semicolon, but TSV needs a tab; replace it"]),
        ("x.csv", "seq\nACGT\n", ["'sequence' is missing; the columns are 'seq'", "column="]),
        ("x.csv", ",".join("abcdefghij") + "\n", [r"'e', \.\.\. \(10 in total\)"]),
    ],
)
def test_headers_that_cannot_be_used(tmp_path, name, content, parts):
    (tmp_path / name).write_text(content)
    with says(*parts):
        everything(tmp_path / name)
