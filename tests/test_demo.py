"""The demo runs, recovers the base pairs, and writes its files."""

import sys

import pytest
import shapsketch as ss
from shapsketch import cli
from shapsketch.cli import demo


def test_the_demo_recovers_the_base_pairs(tmp_path, capsys):
    assert cli.main(["demo", "--output", str(tmp_path), "--quiet"]) == 0
    assert "5 of the 5 base pairs" in capsys.readouterr().out
    assert (tmp_path / "hairpin.png").stat().st_size > 20_000
    assert ss.load(tmp_path / "hairpin.safetensors").r2 > 0.999


def test_base_pairs_of_a_structure():
    assert demo.base_pairs("((..)).()") == {(0, 5), (1, 4), (7, 8)}


@pytest.mark.parametrize("module", ["RNA", "matplotlib"])
def test_the_error_names_the_missing_extra(monkeypatch, tmp_path, capsys, module):
    monkeypatch.setitem(sys.modules, module, None)
    if module == "matplotlib":
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert cli.main(["demo", "--output", str(tmp_path), "--quiet"]) == 1
    assert "pip install 'shapsketch[demo]'" in capsys.readouterr().err


def test_errors_of_the_command_line_are_short(tmp_path, capsys):
    assert cli.main(["demo", "--output", str(tmp_path), "--budget", "10", "--quiet"]) == 1
    assert "too small" in capsys.readouterr().err
