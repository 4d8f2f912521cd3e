"""The examples of README.md and docs/ run and print what the pages show; links lead somewhere."""

import doctest
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shapsketch as ss

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
# Pages of text that people read on the web; the crate's README has links of rustdoc instead.
OTHERS = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "benches/README.md")]
LINKED = [*PAGES, *OTHERS, *sorted((ROOT / "docs" / "notebooks").glob("*.md"))]


def blocks(path, language):
    """Yield (line number, text) of the fenced blocks of a language."""
    for block in re.finditer(rf"^```{language}\n(.*?)^```$", path.read_text(), re.M | re.S):
        yield path.read_text()[: block.start(1)].count("\n"), block[1]


def code(text):
    """Return the lines of a program without comments and indentation."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("//")]


def test_there_are_pages():
    assert len(PAGES) >= 7


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_examples_print_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = list(blocks(page, "python"))
    runner, names = doctest.DocTestRunner(), {}
    for line, text in found:
        assert text.startswith(">>> "), f"{page.name}, line {line + 1}: a block that no test would run"
        example = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line)
        runner.run(example, clear_globs=False)
        # Each block goes on where the one before ended.
        names = example.globs
    results = runner.summarize()
    assert results.failed == 0
    assert results.attempted >= len(found)
    # Other tests here run the examples of the first two; the others only explain words and lead to pages.
    assert found or page.stem in ("command-line", "rust", "glossary", "index")
    assert page != README or results.attempted > 10


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash on the PATH")
def test_shell_examples_of_the_command_line_page_run(tmp_path):
    found = [text for _, text in blocks(ROOT / "docs" / "command-line.md", "sh")]
    assert len(found) > 3
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "\n".join(found)
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)


def test_rust_examples_are_taken_from_programs_that_ci_runs():
    sources = [ROOT / "rust" / "README.md", *(ROOT / "rust" / "examples").glob("*.rs")]
    programs = [code(source.read_text()) for source in sources]
    found = [code(text) for _, text in blocks(ROOT / "docs" / "rust.md", "rust")]
    assert all(found)
    assert found
    for lines in found:
        # The lines of a program in its order, though not all of them.
        assert any(all(line in rest for line in lines) for rest in map(iter, programs)), lines


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.stem)
def test_links_to_files_and_headings_lead_somewhere(page):
    for target, _, heading in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in anchors, f"{page.name}: {target}#{heading}"


@pytest.mark.parametrize("module", [ss, ss.models, ss.plot], ids=lambda module: module.__name__)
def test_the_api_reference_has_every_public_name_once(module):
    listed = []
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        text = page.read_text()
        if re.search(rf"^.. (current)?module:: {module.__name__}$", text, re.M):
            listed += re.findall(r"^.. auto\w+:: (\w+)$", text, re.M)
    public = [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    assert sorted(listed) == sorted(set(public) - {"__version__"})


def test_the_readme_is_short_and_has_one_test_command():
    lines = README.read_text().splitlines()
    assert len(lines) <= 130
    # `.ci/run` takes the command from here.
    assert sum("'.[test]'" in line for line in lines) == 1
