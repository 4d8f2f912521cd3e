"""Sparse regression: planted spectra, coverage of intervals, time and memory.

    python benches/regress.py planted             NMSE for numbers of queries, with the published package; a figure
    python benches/regress.py coverage            how often 95 % intervals contain the true value
    python benches/regress.py speed               separate processes: seconds and peak memory

Planted spectra: q = 4, n = 26, 200 coefficients of order up to 3, noise at 10 dB per query. The published package
(`pip install shapzero`) receives the true noise level; shapsketch estimates it.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
from vs_shapzero import (
    GROUPS,
    N,
    Q,
    as_dict,
    in_process,
    noisy_values,
    planted,
    score,
    theirs_decode,
)

# Coefficients of a planted spectrum.
TERMS = 200
# Numbers of queries for shapsketch.
QUERIES = (1000, 2000, 3000, 4000, 6000, 8000, 16_000, 32_000)
# Designs for the published package: subspace dimension b and repeats R.
DESIGNS = ((3, 3), (4, 1), (4, 3), (4, 6), (5, 3))


def compare_planted(seeds, figure):
    import shapsketch as ss

    space = ss.SequenceSpace(ss.RNA, N)
    print("| package | queries | NMSE, mean | largest of the seeds | support F1 |")
    print("|---|--:|--:|--:|--:|")
    curves = {"shapsketch, regression": [], "shapzero": []}
    for count in QUERIES:
        rows = []
        for seed in range(seeds):
            truth = planted(TERMS, seed)
            codes = np.random.default_rng(seed + 100).integers(0, Q, (count, N)).astype(np.uint8)
            values, _ = noisy_values(truth, codes, seed)
            regressor = ss.SparseRegressor(
                space, dictionary=ss.Dictionary(orders=3), basis="characters", random_state=seed
            ).fit(codes, values)
            rows.append(score(as_dict(regressor.sketch_.spectrum), truth))
        report("shapsketch, regression", count, rows, curves)
    for b, repeats in DESIGNS:
        rows = []
        for seed in range(seeds):
            truth = planted(TERMS, seed)
            design = ss.QueryDesign(space, b=b, groups=GROUPS, repeats=repeats, random_state=seed)
            values, sd = noisy_values(truth, design.queries(), seed)
            decoded = theirs_decode(values, design.matrices, design.delays, repeats, b, sd)
            rows.append(score({bytes(np.array(k, dtype=np.uint8)): v for k, v in decoded.items()}, truth))
        report("shapzero", GROUPS * repeats * (N + 1) * Q**b, rows, curves)
    if figure:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        drawing, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        for (name, points), marker in zip(curves.items(), "os", strict=True):
            axes.loglog(*zip(*points, strict=True), marker=marker, label=name)
        axes.axhline(0.01, color="0.7", lw=0.8)
        axes.set(
            xlabel="model evaluations", ylabel="NMSE of the spectrum", title=f"{TERMS} planted coefficients"
        )
        axes.legend(frameon=False)
        drawing.savefig(figure, dpi=130)
        print(f"wrote {figure}")


def report(package, count, rows, curves):
    f1, error = np.mean(rows, axis=0)
    worst = max(row[1] for row in rows)
    curves[package].append((count, error))
    print(f"| {package} | {count:,} | {error:.4f} | {worst:.4f} | {f1:.3f} |", flush=True)


def scenario(kind, seed):
    """Return a true spectrum with many small terms, and noisy values of it."""
    import shapsketch as ss

    rng = np.random.default_rng(seed)
    n, q, count = 14, 4, 3000
    space = ss.SequenceSpace(ss.DNA, n)
    codes = rng.integers(0, q, (count, n))
    rows, values = [], []
    for size, terms in ((1.0, 40), (0.12, 400)):
        for _ in range(terms):
            k = np.zeros(n, dtype=int)
            support = rng.choice(n, rng.integers(1, 4), replace=False)
            k[support] = rng.integers(1, q, len(support))
            rows.append(k)
            values.append(size * (rng.normal() + 1j * rng.normal()))
    if kind == "patterns":
        # Letter patterns take the place of the large coefficients.
        rows, values = rows[40:], values[40:]
    truth = ss.Spectrum(space, np.array(rows), np.array(values), real_part=True)
    if kind == "patterns":
        patterns = []
        for _ in range(30):
            first, size = rng.integers(0, n - 3), rng.integers(1, 4)
            patterns.append((np.arange(first, first + size), rng.integers(0, q, size), 4.0 * rng.normal()))
        truth = add_patterns(truth, patterns, q, n)
    y = truth.predict(codes)
    return space, truth, codes, y + rng.normal(0, 0.3 * y.std(), count)


def add_patterns(spectrum, patterns, q, n):
    """Return the sum of a spectrum and letter patterns (positions, codes, weight) as one spectrum."""
    import shapsketch as ss

    frequencies, coefficients = [*spectrum.frequencies], [*spectrum.coefficients]
    for positions, symbols, weight in patterns:
        size = len(symbols)
        for labels in np.ndindex(*(q,) * size):
            k = np.zeros(n, dtype=int)
            k[positions] = labels
            frequencies.append(k)
            coefficients.append(weight * q**-size * np.exp(-2j * np.pi * (labels @ symbols) / q))
    return ss.Spectrum(spectrum.space, np.array(frequencies), np.array(coefficients), real_part=True)


def coverage(seeds, verbose):
    import shapsketch as ss

    print(
        "| truth | basis | Shapley values in their 95 % interval | median standard error / sd of the values "
        "| R² in its interval |"
    )
    print("|---|---|--:|--:|--:|")
    for kind in ("coefficients", "patterns"):
        for basis in ("letters", "characters"):
            inside, r2_inside, width = [], [], []
            for seed in range(seeds):
                space, truth, codes, y = scenario(kind, seed)
                sketch = ss.SparseRegressor(space, basis=basis, random_state=seed).fit(codes, y).sketch_
                fresh = np.random.default_rng(seed + 5000).integers(0, 4, (2000, 14))
                ours, true = ss.Explainer(sketch)(fresh), ss.Explainer(truth)(fresh)
                inside.append((np.abs(ours.values - true.values) <= 1.96 * ours.stderr).mean())
                width.append(np.median(ours.stderr) / true.values.std())
                many = np.random.default_rng(seed + 9000).integers(0, 4, (50_000, 14))
                clean = truth.predict(many)
                noise = 0.09 * truth.order_energy()[1:].sum()
                r2 = 1 - (((clean - sketch.predict(many)) ** 2).mean() + noise) / (clean.var() + noise)
                low, high = sketch.r2_interval
                r2_inside.append(low <= r2 <= high)
                if verbose:
                    print(f"  R² {r2:.4f}, reported {sketch.r2:.4f} ({low:.4f} to {high:.4f})")
            print(
                f"| {kind} and small terms | {basis} | {np.mean(inside):.1%} | {np.mean(width):.2f} | "
                f"{np.sum(r2_inside)} of {seeds} |",
                flush=True,
            )


def speed_side(row):
    """Print seconds and MiB of one row of the speed table as JSON."""
    import shapsketch as ss

    rng = np.random.default_rng(0)
    if row in ("windows", "pairs"):
        q, n = (4, 28) if row == "windows" else (20, 56)
        space = ss.SequenceSpace(ss.DNA if row == "windows" else ss.PROTEIN, n)
        codes = rng.integers(0, q, (20_000, n)).astype(np.uint8)
        y = rng.normal(size=(n, q))[np.arange(n), codes].sum(axis=1)
        for _ in range(200):
            size = rng.integers(2, 5) if row == "windows" else 2
            first = rng.integers(0, n - size)
            positions = np.arange(first, first + size)
            if rng.random() < 0.5:
                positions = rng.choice(n, 2, replace=False)
            symbols = rng.integers(0, q, len(positions))
            y += 3.0 * rng.normal() * (codes[:, positions] == symbols).all(axis=1)
        y += rng.normal(0, np.sqrt(0.1) * y.std(), len(y))
        dictionary = ss.Dictionary(windows=4 if row == "windows" else 1, orders=2)
        regressor = ss.SparseRegressor(space, dictionary=dictionary, basis="letters")
        started = time.perf_counter()
        regressor.fit(codes, y)
    else:
        q, n, order, b = (4, 50, 3, 4) if row == "orders" else (20, 56, 2, 2)
        space = ss.SequenceSpace(ss.DNA if q == 4 else ss.PROTEIN, n)
        rows = np.zeros((200, n), dtype=int)
        for k in rows:
            support = rng.choice(n, rng.integers(1, order + 1), replace=False)
            k[support] = rng.integers(1, q, len(support))
        truth = ss.Spectrum(space, rows, rng.normal(size=200) + 1j * rng.normal(size=200), real_part=True)
        design = ss.QueryDesign(space, b=b, groups=20_000 // q**b, delays="random", repeats=1)
        y = truth.predict(design.queries())
        y += rng.normal(0, np.sqrt(0.1) * y.std(), len(y))
        regressor = ss.SparseRegressor(dictionary=ss.Dictionary(orders=order), basis="characters")
        started = time.perf_counter()
        regressor.fit(ss.Observations(design, y))
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sketch = regressor.sketch_
    n_atoms = sketch._core.info.regression.n_atoms
    print(json.dumps({"s": seconds, "mib": memory, "r2": sketch.r2, "n_atoms": n_atoms}))


ROWS = {
    "windows": "q = 4, n = 28, windows up to 4 and all pairs, letters",
    "orders": "q = 4, n = 50, all supports of order up to 3, characters in bins",
    "pairs": "q = 20, n = 56, all pairs, letters",
    "pairs in bins": "q = 20, n = 56, all pairs, characters in bins",
}


def speed(runs):
    print("| 20,000 queries | atoms in the dictionary | s, each run | peak MiB | cross-validated R² |")
    print("|---|--:|--:|--:|--:|")
    for row, name in ROWS.items():
        results = [in_process("side-speed", row, script=__file__) for _ in range(runs)]
        times = ", ".join(f"{r['s']:.1f}" for r in results)
        peak = max(r["mib"] for r in results)
        print(
            f"| {name} | {results[0]['n_atoms']:,} | {times} | {peak:.0f} | {results[0]['r2']:.3f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    planted_options = commands.add_parser("planted")
    planted_options.add_argument("--seeds", type=int, default=3)
    planted_options.add_argument("--figure", help="write the curves to this file")
    coverage_options = commands.add_parser("coverage")
    coverage_options.add_argument("--seeds", type=int, default=10)
    coverage_options.add_argument("--verbose", action="store_true", help="print every R²")
    commands.add_parser("speed").add_argument("--runs", type=int, default=3)
    commands.add_parser("side-speed").add_argument("row")
    options = parser.parse_args()
    if options.command == "planted":
        compare_planted(options.seeds, options.figure)
    elif options.command == "coverage":
        coverage(options.seeds, options.verbose)
    elif options.command == "speed":
        speed(options.runs)
    else:
        speed_side(options.row)


if __name__ == "__main__":
    main()
