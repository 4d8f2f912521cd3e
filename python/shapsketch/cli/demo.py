"""The demo: positions, and pairs of positions, of an RNA sequence that stabilise a hairpin."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import shapsketch as ss
from shapsketch._validate import optional
from shapsketch.plot import pair_map, position_letter_map

# The hairpin, in dot-bracket notation.
STRUCTURE = "(((((...)))))...."
# Largest number of sequences that ViennaRNA evaluates.
BUDGET = 10_000
# Number of random sequences that are explained.
EXPLAINED = 2_000
# A sequence that folds well into the hairpin.
EXAMPLE = "GGCACGAAGUGCCAAAA"


def base_pairs(structure: str) -> set[tuple[int, int]]:
    """Return the base pairs (i, j), i < j, of a structure in dot-bracket notation."""
    opened: list[int] = []
    pairs = set()
    for position, symbol in enumerate(structure):
        if symbol == "(":
            opened.append(position)
        elif symbol == ")":
            pairs.add((opened.pop(), position))
    return pairs


def _folding_energy() -> Any:
    return optional("RNA", "demo", "the demo").energy_of_struct


def run(output: Path, *, budget: int = BUDGET, random_state: int = 0, progress: bool = True) -> int:
    """Sketch ViennaRNA's energy of the hairpin over all 4^17 RNA sequences, and explain it.

    Prints the results, and writes ``hairpin.png`` and ``hairpin.safetensors`` to the folder `output`. Returns
    how many base pairs of the structure are among the strongest pair interactions.

    Raises
    ------
    MissingExtraError
        If ViennaRNA or matplotlib is not installed.
    BudgetError
        If the budget is too small for a sketch.
    """
    energy = _folding_energy()
    figures = optional("matplotlib.pyplot", "demo", "the demo")
    space = ss.SequenceSpace(ss.RNA, length=len(STRUCTURE))
    print(f"model: ViennaRNA energy (kcal/mol) of {STRUCTURE} for each of {space.size:,} RNA sequences\n")
    started = time.perf_counter()
    sketch = ss.sketch(
        lambda sequences: [energy(sequence, STRUCTURE) for sequence in sequences],
        space,
        budget=budget,
        random_state=random_state,
        progress=progress,
    )
    print(f"{sketch.summary()}\n({time.perf_counter() - started:.1f} s, including the model)\n")

    # Exact and fast, for many sequences.
    explainer = ss.Explainer(sketch, of="closed form")
    sequences = np.random.default_rng(random_state).integers(0, space.q, (EXPLAINED, space.n))
    explanation = explainer(sequences)
    pairs = explainer.interactions(sequences, max_order=2).order(2)

    print(f"strongest positions (mean |Shapley value| over {EXPLAINED:,} random sequences):")
    means = np.abs(explanation.values).mean(axis=0)
    for position in np.argsort(-means)[:5]:
        print(f"  {position:2}  {STRUCTURE[position]}  {means[position]:.3f} kcal/mol")
    true_pairs = base_pairs(STRUCTURE)
    top = pairs.top(len(true_pairs))
    print("strongest pair interactions:")
    for (i, j), mean in top:
        mark = "base pair" if (i, j) in true_pairs else ""
        print(f"  {i:2}-{j:<2}  {mean:.3f} kcal/mol  {mark}")
    recovered = len(true_pairs.intersection(support for support, _ in top))
    print(
        f"{recovered} of the {len(true_pairs)} base pairs of the structure are among the {len(top)} "
        "strongest pairs\n"
    )

    one = explainer([EXAMPLE])
    print(f"Shapley values of {EXAMPLE} (kcal/mol; negative values stabilise the hairpin):")
    print("  " + " ".join(f"{symbol:>5}" for symbol in EXAMPLE))
    print("  " + " ".join(f"{symbol:>5}" for symbol in STRUCTURE))
    print("  " + " ".join(f"{value:5.2f}" for value in one.values[0]))
    print(
        f"  mean over all sequences {one.base_values[0]:.2f}, sum of values {one.values[0].sum():.2f}, "
        f"sketch {sketch.predict([EXAMPLE])[0]:.2f}, model {energy(EXAMPLE, STRUCTURE):.2f}\n"
    )

    output.mkdir(parents=True, exist_ok=True)
    figure, axes = figures.subplots(
        2, 1, figsize=(9, 10), layout="constrained", gridspec_kw={"height_ratios": [1, 2.6]}
    )
    labels = [f"{symbol}\n{position}" for position, symbol in enumerate(STRUCTURE)]
    position_letter_map(explanation, space, axes[0]).set_xticks(range(space.n), labels)
    pair_map(pairs, space.n, axes[1])
    for i, j in sorted(true_pairs):
        axes[1].add_patch(figures.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="C0", lw=1.8))
    axes[1].plot([], [], "s", mfc="none", mec="C0", mew=1.8, label="base pair of the structure")
    axes[1].legend(loc="lower left", frameon=False)
    figure.suptitle(f"Folding energy of {STRUCTURE}, sketched from {sketch.n_queries:,} of 4^17 sequences")
    figure.savefig(output / "hairpin.png", dpi=130)
    figures.close(figure)
    sketch.save(output / "hairpin.safetensors")
    print(f"wrote {output / 'hairpin.png'} and {output / 'hairpin.safetensors'}")
    return recovered
