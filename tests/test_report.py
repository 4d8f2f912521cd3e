"""Reports: the numbers of the page are those of the results, and nothing on it comes from elsewhere."""

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import shapsketch as ss

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Elements without an end.
VOID = {"meta", "img", "input", "link", "br"}
SPACE = ss.SequenceSpace(ss.DNA, 10)


def model(batch):
    return [s.count("G") + 4.0 * (s[3:5] == "TA") * (s[8] == "C") for s in batch]


@pytest.fixture(autouse=True)
def closed():
    """Close the figures of examples in docstrings, which run in the same process."""
    plt.close("all")


@pytest.fixture(scope="module")
def sketch():
    return ss.sketch(model, SPACE, budget=2_000, method="regress", progress=False)


class Page(HTMLParser):
    """The elements of a page: their attributes, and the text and tables of each section."""

    def __init__(self, path):
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.open, self.elements, self.text = [], [], {}
        self.tables = []
        self.feed(self.html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        section = next(
            (attrs["id"] for tag, attrs in self.open if tag == "section"), tags[-1] if tags else ""
        )
        self.text[section] = self.text.get(section, "") + data
        if "td" in tags or "th" in tags:
            self.tables[-1][-1][-1] += data

    def table(self, *columns):
        """Return the rows of the table with these first columns."""
        (found,) = [rows for rows in self.tables if rows[0][: len(columns)] == list(columns)]
        return found[1:]

    def images(self):
        sources = [attrs["src"] for tag, attrs in self.elements if tag == "img"]
        return [base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")) for source in sources]


def written(tmp_path, sketch, **options):
    path = tmp_path / "report.html"
    ss.report(sketch, path, **options)
    assert not plt.get_fignums()
    return Page(path)


def check_self_contained(page):
    """Check that the page refers to nothing outside, and runs no script but its own."""
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            # Only links to sections of the page.
            assert name != "href" or value.removeprefix("#") in ids
            assert name != "src" or value.startswith("data:image/svg+xml;base64,")
    assert "@import" not in page.text["style"]
    assert "url(" not in page.text["style"]
    for word in ("fetch", "XMLHttpRequest", "import(", "innerHTML", "http"):
        assert word not in page.text["script"]
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    for kind in ("style", "script"):
        assert [tag for tag, _ in page.elements].count(kind) == 1
        digest = base64.b64encode(hashlib.sha256(page.text[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    for image in page.images():
        root = ElementTree.fromstring(image)
        assert root.tag.endswith("svg")
        assert root.get("width").endswith("pt")
        references = re.findall(rb'(?:href|src)="([^"]*)"', image)
        assert all(target.startswith((b"#", b"data:")) for target in references)


def test_the_page_has_the_numbers_of_the_results(tmp_path, sketch):
    sequences = ["GGGTACGGCA", "AAAAAAAAAA", "ACGTACGTAC"]
    explainer = ss.Explainer(sketch)
    page = written(tmp_path, sketch, sequences=sequences, names=["a", "b", "c"], figures=2)
    check_self_contained(page)
    low, high = sketch.r2_interval
    text = page.text["fidelity"]
    assert f"R²{sketch.r2:.4f}, 95 % interval {low:.4f} to {high:.4f}, on uniform sequences" in text.replace(
        "\n", ""
    )
    assert "fewer than 1 of 666 sequences" in text
    assert "2,000 of a budget of 2,000" in text
    assert sketch.summary() in text
    explanation = explainer(sequences)
    rows = page.table("name", "sequence", "score")
    assert [row[:2] for row in rows] == [["a", sequences[0]], ["b", sequences[1]], ["c", sequences[2]]]
    np.testing.assert_allclose(
        [float(row[2]) for row in rows], sketch.predict(sequences), rtol=1e-3, atol=1e-4
    )
    strongest = np.argsort(-np.abs(explanation.values[0]), kind="stable")[:5]
    # Symbol and value stay on one line.
    words = [f"{sequences[0][i]}{i}\xa0{explanation.values[0, i]:+.3g}" for i in strongest]
    assert rows[0][3] == ", ".join(words)
    motifs = page.table("motif", "positions")
    found = explainer.motifs(sequences=sequences).motifs
    (planted,) = [i for i, motif in enumerate(found) if (motif.support, motif.letters) == ((3, 4, 8), "TAC")]
    first = found[planted]
    assert motifs[planted][:3] == ["TA...C", "3–8", "1"]
    assert motifs[planted][3:] == [
        f"{x:.4g}" for x in (first.effect, first.variance, first.frequency, first.found)
    ]
    pairs = page.table("positions", "mean |FSII|")
    expected = explainer.interactions(sequences, index="FSII", max_order=2).order(2).top(1)
    assert pairs[0] == ["{} and {}".format(*expected[0][0]), f"{expected[0][1]:.4g}"]
    sets = page.table("positions", "order")
    assert ["3–4, 8", "3"] in [row[:2] for row in sets]
    # Held-out queries, pairs, orders and all sequences; a logo and a mutation map for each of two sequences.
    assert len(page.images()) == 4 + 2 * 2


def test_a_sketch_of_a_file_has_no_times(tmp_path):
    kinds = {"effort": "quick", "progress": False}
    made = ss.sketch(model, SPACE, budget=1_000, **kinds)
    made.save(tmp_path / "sketch.safetensors")
    for each, timed in ((made, True), (ss.load(tmp_path / "sketch.safetensors"), False)):
        page = written(tmp_path, each)
        assert len(page.table("method", "R²", *["seconds"] * timed, "weight")) == len(made.candidates)
        assert ("seconds are the time" in page.text["fidelity"]) == timed


def test_a_page_without_sequences(tmp_path, sketch):
    page = written(tmp_path, sketch)
    check_self_contained(page)
    assert "sequences" not in page.text
    assert len(page.images()) == 2


def test_all_text_of_users_is_escaped(tmp_path):
    text = "</title><script>alert(1)</script>\"'&<b>"
    space = ss.SequenceSpace("<>&'\"", 4)
    spectrum = ss.Spectrum(space, [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0]], [1.0, 0.5, 0.3], real_part=True)
    page = written(tmp_path, ss.Sketch(spectrum), sequences=["<>&'", '""<<'], names=[text, "b"], title=text)
    check_self_contained(page)
    assert page.text["title"] == page.text["h1"] == text
    assert [row[:2] for row in page.table("name")] == [[text, "<>&'"], ["b", '""<<']]
    assert "not known" in page.text["fidelity"]


@pytest.mark.parametrize(("q", "n"), [(2, 10), (4, 50), (2, 200)])
def test_reports_of_1000_sequences_are_small(tmp_path, q, n):
    alphabet = {2: "01", 4: ss.DNA, 20: ss.PROTEIN}[q]
    rng = np.random.default_rng(0)
    space = ss.SequenceSpace(alphabet, n)
    frequencies = np.zeros((n, n), dtype=int)
    for i in range(n):
        frequencies[i, [i, (i + 3) % n]] = 1
    spectrum = ss.Spectrum(space, frequencies, rng.normal(size=n), real_part=True)
    codes = rng.integers(0, q, (1_000, n))
    page = written(tmp_path, ss.Sketch(spectrum), sequences=codes, figures=1)
    check_self_contained(page)
    assert len(page.html) < 10_000_000
    assert len(page.table("name")) == 1_000


def test_equal_reports_have_equal_bytes(tmp_path, sketch):
    pages = [written(tmp_path, sketch, sequences=["GGGTACGGCA"]).html for _ in range(2)]
    assert pages[0] == pages[1]


def test_backgrounds_without_motifs_say_so(tmp_path, sketch):
    explainer = ss.Explainer(sketch, background=ss.DinucleotideShuffles(3))
    page = written(tmp_path, explainer, sequences=["GGGTACGGCA"], figures=0)
    assert "motifs need a background that is the same for all sequences" in page.text["motifs"]
    assert "Background3 dinucleotide shuffles" in page.text["fidelity"]


def test_rounding_errors_are_not_in_the_tables(tmp_path):
    space = ss.SequenceSpace(ss.DNA, 6)
    pairs = [(0, 1, 1.0), (2, 3, 1e-2), (4, 5, 1e-9)]
    frequencies = np.zeros((3, 6), dtype=int)
    for row, (i, j, _) in enumerate(pairs):
        frequencies[row, [i, j]] = 2
    spectrum = ss.Spectrum(space, frequencies, [c for *_, c in pairs], real_part=True)
    for sequences, index in ((["ACGTAC"], "FSII"), (["ACGTAC", "CCCCCC"], "mean |FSII|")):
        page = written(tmp_path, ss.Sketch(spectrum), sequences=sequences, figures=0)
        assert [row[0] for row in page.table("positions", index)] == ["0 and 1", "2 and 3"]
        assert [row[0] for row in page.table("positions", "order")] == ["0–1", "2–3"]
    # The interaction of one sequence has its sign: A and C are on different sides of the mean.
    page = written(tmp_path, ss.Sketch(spectrum), sequences=["ACGTAC"], figures=0)
    assert page.table("positions", "FSII")[0] == ["0 and 1", "-1"]


def test_a_constant_and_a_single_position(tmp_path):
    constant = ss.Spectrum(ss.SequenceSpace(ss.DNA, 6), [[0] * 6], [1.0])
    page = written(tmp_path, ss.Sketch(constant), sequences=["ACGTAC"])
    assert "There are no motifs" in page.text["motifs"]
    assert "No positions interact." in page.text["interactions"]
    single = ss.Spectrum(ss.SequenceSpace(ss.DNA, 1), [[2]], [1.0])
    page = written(tmp_path, ss.Sketch(single), sequences=["A", "C"])
    assert [row[2] for row in page.table("name")] == ["1", "-1"]


def test_a_report_of_a_predictor(tmp_path, sketch):
    r2 = ss._core.RSquared(np.arange(9.0), np.arange(9.0))
    parts = [("regress", 1.0, 1.0, sketch._core)]
    predictor = ss._core.Predictor(SPACE._core, constant=0.0, parts=parts, r2=r2)
    both = ss.Sketch._wrap(sketch._core.with_predictor(predictor))
    explainer = ss.Explainer(both, of="predictor", progress=False)
    sequences = ["GGGTACGGCA", "AAAAAAAAAA"]
    page = written(tmp_path, explainer, sequences=sequences, figures=1)
    assert "a weighted sum of models; its Shapley values are sampled" in page.text["fidelity"]
    low, high = both.predictor.r2_interval
    assert f"{both.predictor.r2:.4f}, 95 % interval {low:.4f} to {high:.4f}" in page.text["fidelity"]
    scores = [float(row[2]) for row in page.table("name", "sequence")]
    np.testing.assert_allclose(scores, both.predictor.predict(sequences), rtol=1e-3, atol=1e-4)
    assert "errors of sampling are" in page.text["sequences"].replace("\n", " ")
    # Motifs and pairs are those of the closed form.
    closed = ss.Explainer(both, of="closed form").explained
    assert str(closed) in page.text["motifs"]
    assert str(closed) in page.text["interactions"]


def test_low_r2_is_a_caution(tmp_path):
    rng = np.random.default_rng(0)
    noise = ss.sketch(
        lambda batch: rng.normal(size=len(batch)), SPACE, budget=300, method="regress", progress=False
    )
    assert "R² is low" in written(tmp_path, noise).text["fidelity"]


def test_sequences_far_from_the_queries_are_a_caution(tmp_path, sketch, caplog):
    near = SPACE.decode(np.random.default_rng(0).integers(0, 4, (20, 10)))
    assert "Explanations can be wrong" not in written(tmp_path, sketch, sequences=near).text["fidelity"]
    assert not caplog.records
    far = [f"GGGTACGGC{symbol}" for symbol in "ACGT"] * 5
    text = written(tmp_path, sketch, sequences=far, figures=0).text["fidelity"]
    assert "Explanations can be wrong: the R² of this sketch refers to other sequences (uniform)" in text
    # The log has it once, although the page has several explanations.
    assert len(caplog.records) == 1


def test_errors_leave_an_old_report_as_it_was(tmp_path, sketch, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    for options, message in [
        ({"sequences": np.zeros((0, 10), dtype=int)}, "there are no sequences"),
        ({"sequences": np.zeros((10_001, 10), dtype=int)}, "got 10,001"),
        ({"sequences": ["ACGT"]}, "sequence 0"),
        ({"sequences": ["A" * 10], "names": ["a", "b"]}, "2 names for 1 sequences"),
        ({"names": ["a"]}, "names are for sequences"),
    ]:
        with pytest.raises(ss.InputError, match=re.escape(message)):
            ss.report(sketch, path, **options)
    monkeypatch.setattr("shapsketch.reporting.api.figure_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ss.report(sketch, path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"
    with pytest.raises(ss.FileError, match=r"cannot write .*nowhere"):
        ss.report(sketch, tmp_path / "nowhere" / "report.html")


@pytest.mark.parametrize("library", ["jinja2", "matplotlib", "logomaker"])
def test_the_error_names_the_missing_extra(tmp_path, sketch, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ss.MissingExtraError, match=rf"{library}, .*pip install 'shapsketch\[report\]'"):
        ss.report(sketch, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
