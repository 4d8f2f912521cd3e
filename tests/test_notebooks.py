"""The notebooks of the documentation run, and what they say about their results is true."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "notebooks").glob("*.md"))


def run(name):
    """Run the cells of a notebook; return its names and what it printed."""
    (path,) = [path for path in NOTEBOOKS if path.stem == name]
    cells = re.findall(r"^```\{code-cell\}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)
    assert len(cells) > 3
    names = {}
    for number, cell in enumerate(cells, 1):
        exec(compile(cell, f"{path.name}, cell {number}", "exec"), names)
        plt.close("all")
    return names


def test_every_notebook_has_a_test_and_a_kernel():
    assert [path.stem for path in NOTEBOOKS] == ["hairpin", "splice-sites", "text", "ww-domain"]
    for path in NOTEBOOKS:
        assert path.read_text().startswith("---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n")


def test_hairpin(capsys):
    names = run("hairpin")
    assert names["sketch"].r2 > 0.97
    values, structure = names["explanation"].values[0], names["structure"]
    assert all(value < -0.1 for value, symbol in zip(values, structure, strict=True) if symbol in "()")
    assert {support for support, _ in names["strongest"]} == {(i, 12 - i) for i in range(5)}
    assert "()" in capsys.readouterr().out


def test_splice_sites(capsys):
    names = run("splice-sites")
    assert names["correct"] > 0.9
    assert names["sketch"].r2 > 0.99
    means = (
        names["ss"]
        .AttributionMap.from_batches(
            iter([(names["explanation"].data, names["explanation"].values)]),
            names["space"],
            names["explanation"].explained,
        )
        .mean
    )
    best = np.where(np.isnan(means), -np.inf, means).argmax(axis=1)
    # The consensus, besides the first position, whose values are small, and the fixed G.
    assert [names["space"].alphabet[best[i]] for i in (1, 2, 4, 5, 6, 7, 8)] == list("AGTAAGT")
    pairs = names["interactions"].order(2)
    sizes = np.abs(pairs.values).mean(axis=0)
    far = np.array([j - i >= 4 for i, j in pairs.supports])
    assert sizes[far].max(initial=0.0) < 0.01 < 0.3 < sizes.max()
    # The gradients of the network, by differences.
    network, onehot = names["network"], names["onehot"][1_990:2_010]
    is_site = names["is_site"][1_990:2_010]

    def loss():
        return np.logaddexp(0.0, np.where(is_site == 1.0, -1.0, 1.0) * network(onehot)).mean()

    for weight, gradient in zip(network.weights, network.gradients(onehot, is_site), strict=True):
        before = weight.flat[0]
        weight.flat[0] = before + 1e-5
        above = loss()
        weight.flat[0] = before - 1e-5
        assert (above - loss()) / 2e-5 == pytest.approx(gradient.flat[0], rel=1e-4, abs=1e-7)
        weight.flat[0] = before
    assert "different sites" in capsys.readouterr().out


def test_ww_domain(capsys):
    names = run("ww-domain")
    assert names["sketch"].r2 > 0.95
    score, wild_type, space = names["score"], names["wild_type"], names["space"]
    effects = names["explainer"].mutation_effects([wild_type])[0]
    # Harmful positions: the first W, Y and F of the middle strand, and the last P.
    typical = np.median(effects, axis=1)
    assert {4, 15, 16, 29} <= set(np.argsort(typical)[:9])
    true = names["evaluate"](names["singles"])
    assert np.corrcoef(true, names["sketch"].predict(names["singles"]))[0, 1] > 0.97
    assert (names["changes"] > 2.0).all()
    # The Potts model is that of its definition: a sum of fields and couplings.
    codes = space.encode(names["sequences"][:3])
    n, q = space.n, space.q
    for row in codes:
        at = np.arange(n) * q + row
        pairs = names["coupling"][np.ix_(at, at)]
        expected = names["field"][at].sum() + np.triu(pairs, 1).sum()
        np.testing.assert_allclose(score(np.eye(q)[row][None])[0], expected, rtol=1e-10)
    assert "predicted" in capsys.readouterr().out


def test_text(capsys):
    names = run("text")
    explanation = names["explanation"]
    assert explanation.values.sum() == pytest.approx(
        names["probability"](names["everything"])[0] - explanation.base_value, abs=0.02
    )
    strongest = [row["feature"] for row in explanation.top(3)]
    assert "14 breast" in strongest
    # Words that say the same: each alone is missed less than its Shapley value.
    for row in explanation.top(3):
        assert names["lost"][names["features"].index(row["feature"])] < row["value"]
    assert "removed alone" in capsys.readouterr().out
