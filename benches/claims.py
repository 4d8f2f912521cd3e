"""Do claims hold? Intervals of R² and standard errors, against functions of which every value is known.

    python benches/claims.py sketch [--method auto]     sketches of 24 functions
    python benches/claims.py fit                        labelled data: replicates, noise, outliers, dependent positions

q = 4, n = 9: all 262,144 sequences have a value, so R² and Shapley values are known exactly. With `--part I --of K`,
K processes do a part each; `--out FILE` adds the runs to a file of JSON lines, and `--table FILE` prints the tables.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json

import numpy as np
import shapsketch as ss

Q, N = 4, 9
SPACE = ss.SequenceSpace(ss.DNA, N)
ALL = np.indices((Q,) * N).reshape(N, -1).T.astype(np.uint8)
PLACES = Q ** np.arange(N)[::-1]
BUDGETS = (300, 1_000, 5_000)
# Share and standard deviation of outliers, for a signal of standard deviation 1.
OUTLIER_SHARE, OUTLIER_SD = 0.01, 20.0


def random(seed):
    return np.random.default_rng(seed)


def scaled(values):
    return (values - values.mean()) / values.std()


def additive(seed):
    w = random(seed).normal(size=(N, Q))
    return (w - w.mean(axis=1, keepdims=True))[np.arange(N), ALL].sum(axis=1)


def pairs(seed, positions):
    rng = random(seed)
    return sum(rng.normal(size=(Q, Q))[ALL[:, i], ALL[:, j]] for i, j in positions)


def has(first, word):
    return np.all([ALL[:, first + i] == "ACGT".index(letter) for i, letter in enumerate(word)], axis=0) * 1.0


def places_of(word):
    return np.array([has(first, word) for first in range(N - len(word) + 1)])


def windows(seed, size):
    """Sum of a random table for each cyclic window (an NK landscape)."""
    rng = random(seed)
    return sum(
        rng.normal(size=(Q,) * size)[tuple(ALL[:, (i + d) % N] for d in range(size))] for i in range(N)
    )


def best_match(seed, size):
    w = random(seed).normal(size=(size, Q))
    return np.max([sum(w[t][ALL[:, i + t]] for t in range(size)) for i in range(N - size + 1)], axis=0)


def network(seed, width):
    rng = random(seed)
    first, bias, last = rng.normal(size=(N * Q, width)), rng.normal(size=width), rng.normal(size=width)
    hidden = bias + sum(first[Q * i + ALL[:, i]] for i in range(N))
    return np.maximum(hidden, 0.0) @ last


def tree(seed, depth):
    rng = random(seed)
    node = np.zeros(len(ALL), dtype=int)
    for level in range(depth):
        position, symbols = rng.integers(0, N, 2**level), rng.integers(1, 15, 2**level)
        node = 2 * node + (symbols[node] >> ALL[np.arange(len(ALL)), position[node]] & 1)
    return rng.normal(size=2**depth)[node]


def gc():
    return ((ALL == 1) | (ALL == 2)).sum(axis=1) - N / 2


ADJACENT = [(i, i + 1) for i in range(N - 1)]
DISJOINT = [(0, 3), (1, 5), (2, 8), (4, 7)]
# For each function: its values, and the frequency of its rarest feature.
FUNCTIONS = {
    "additive": lambda: additive(1),
    "additive, three positions": lambda: sum(random(i).normal(size=Q)[ALL[:, i]] for i in (1, 4, 7)),
    "additive, R² of 0.9 with noise": lambda: scaled(additive(2)) + random(3).normal(size=len(ALL)) / 3,
    "additive, noise of t3": lambda: scaled(additive(4)) + 0.5 * random(5).standard_t(3, size=len(ALL)),
    "adjacent pairs": lambda: pairs(6, ADJACENT) + additive(6),
    "all pairs": lambda: 0.3 * pairs(7, itertools.combinations(range(N), 2)) + additive(7),
    "number of ACG": lambda: places_of("ACG").sum(axis=0),
    "any GAT": lambda: places_of("GAT").max(axis=0),
    "any TATA": lambda: places_of("TATA").max(axis=0),
    "sigmoid": lambda: 1.0 / (1.0 + np.exp(-2.5 * additive(8))),
    "exponential, 0.5": lambda: np.exp(0.5 * additive(9)),
    "exponential, 1": lambda: np.exp(additive(10)),
    "exponential, 2": lambda: np.exp(2.0 * additive(11)),
    "product": lambda: np.prod([random(20 + i).uniform(0, 2, size=Q)[ALL[:, i]] for i in range(N)], axis=0),
    "threshold": lambda: (additive(12) > 1.0) * 1.0,
    "threshold of pairs": lambda: (pairs(13, DISJOINT) > 0.0) * 1.0,
    "parity of three": lambda: 1.0 - 2.0 * (ALL[:, [1, 4, 6]].sum(axis=1) % 2) + scaled(additive(14)),
    "windows of three": lambda: windows(15, 3),
    "best match": lambda: best_match(16, 4),
    "network": lambda: network(17, 32),
    "tree": lambda: tree(18, 7),
    "GC squared": lambda: gc() ** 2.0,
    "noise": lambda: random(19).normal(size=len(ALL)),
    "a word of 1 in 1,024": lambda: 0.05 * additive(20) + 10.0 * has(2, "ACGTA"),
}
# Frequencies of features that small budgets do not see.
RARE = {"a word of 1 in 1,024": 1 / 1024}


def shapley_truth(values, some):
    """Shapley values of the uniform background, by the definition."""
    truth = []
    for x in some:
        games = [values.reshape((Q,) * N)]
        for symbol in x:
            games = [game for table in games for game in (table.mean(axis=0), table[symbol])]
        v = np.array([float(game) for game in games])
        sizes = np.array([i.bit_count() for i in range(2**N)])
        weights = np.array([1.0 / (N * len(list(itertools.combinations(range(N - 1), s)))) for s in range(N)])
        row = []
        for position in range(N):
            bit = 1 << (N - 1 - position)
            without = np.array([i for i in range(2**N) if not i & bit])
            row.append((weights[sizes[without]] * (v[without | bit] - v[without])).sum())
        truth.append(row)
    return np.array(truth)


def claims(sketch, r2, truth, some):
    """The claims of a sketch beside the truth."""
    low, high = sketch.r2_interval
    run = {"r2": sketch.r2, "low": low, "high": high, "true": r2}
    try:
        explanation = ss.Explainer(sketch, of="closed form")(some)
        errors = np.abs(explanation.values - truth)
        run["inside"] = float((errors <= 1.96 * explanation.stderr + 1e-12).mean())
    except ss.InputError:
        # The sketch has no standard errors and says why.
        pass
    return run


def sketch_runs(method):
    some = random(0).integers(0, Q, (64, N)).astype(np.uint8)
    budgets = BUDGETS if method == "regress" else BUDGETS[:2]
    for name, function in FUNCTIONS.items():
        values = function()
        truth = shapley_truth(values, some)
        for budget in budgets:
            for seed in range(4 if method == "regress" and budget < BUDGETS[2] else 2):

                def run(values=values, truth=truth, name=name, budget=budget, seed=seed):
                    sketch = ss.sketch(
                        ss.Evaluator(lambda codes: values[codes.astype(int) @ PLACES], inputs="codes"),
                        SPACE,
                        budget=budget,
                        method=method,
                        random_state=seed,
                        progress=False,
                    )
                    r2 = 1.0 - ((sketch.predict(ALL) - values) ** 2).mean() / values.var()
                    hidden = RARE.get(name, 1.0) < 3.0 / budget
                    about = {"function": name, "budget": budget, "seed": seed, "hidden": hidden}
                    return about | claims(sketch, r2, truth, some)

                yield run


def noise_of(kind, sd, size, rng):
    if kind == "t2":
        return sd * rng.standard_t(2, size=size)
    noise = sd * rng.normal(size=size)
    if kind == "outliers":
        noise = noise + (rng.random(size) < OUTLIER_SHARE) * OUTLIER_SD * rng.normal(size=size)
    return noise


def fit_runs():
    some = random(0).integers(0, Q, (32, N)).astype(np.uint8)
    names = ("additive", "adjacent pairs", "network", "best match")
    tables = {name: scaled(FUNCTIONS[name]()) for name in names}
    truths = {name: shapley_truth(tables[name], some) for name in names}
    kinds = ("Gaussian", "outliers", "t2", "dependent positions")
    cells = itertools.product(kinds, (500, 2_000), (1, 2, 6), (0.5, 2.0), names, range(2))
    for number, (kind, rows, replicates, sd, name, seed) in enumerate(cells):

        def run(number=number, kind=kind, rows=rows, replicates=replicates, sd=sd, name=name, seed=seed):
            rng, values = random([1, number]), tables[name]
            domain = np.arange(len(ALL))
            if kind == "dependent positions":
                domain = np.flatnonzero(ALL[:, 7] == 3 - ALL[:, 0])
            chosen = np.repeat(rng.choice(domain, rows), replicates)
            y = values[chosen] + noise_of(kind, sd, len(chosen), rng)
            sketch = ss.fit(ALL[chosen], y, SPACE, random_state=seed, progress=False)
            # Fresh single measurements of fresh sequences of the same kind. The sample variance of t2 has no limit, so
            # its R² is the median over data sets of the same size.
            predictions = sketch.predict(ALL)
            if kind == "t2":
                r2 = []
                for _ in range(41):
                    fresh = rng.choice(domain, rows)
                    measured = values[fresh] + noise_of(kind, sd, rows, rng)
                    r2.append(1.0 - ((measured - predictions[fresh]) ** 2).mean() / measured.var())
                r2 = float(np.median(r2))
            else:
                noise = sd**2 + (OUTLIER_SHARE * OUTLIER_SD**2 if kind == "outliers" else 0.0)
                error = ((predictions - values)[domain] ** 2).mean()
                r2 = 1.0 - (error + noise) / (values[domain].var() + noise)
            about = {
                "kind": kind,
                "rows": rows,
                "replicates": replicates,
                "sd": sd,
                "function": name,
                "seed": seed,
            }
            return about | claims(sketch, r2, truths[name], some)

        yield run


def holds(run):
    return run["low"] - 1e-9 <= run["true"] <= run["high"] + 1e-9


def narrowest(runs, target=0.95):
    """The largest factor by which all intervals can be divided around R² so that they still hold in 95 % of the runs."""
    runs = [run for run in runs if np.isfinite([run["r2"], run["low"]]).all()]
    r2, low, high, true = (np.array([run[key] for run in runs]) for key in ("r2", "low", "high", "true"))
    for factor in np.linspace(0.2, 1.5, 261):
        below, above = r2 - factor * (r2 - low), np.minimum(1.0, r2 + factor * (high - r2))
        if ((below - 1e-9 <= true) & (true <= above + 1e-9)).mean() >= target:
            return float(np.median(high - low) / np.median(above - below))
    return float("nan")


def row_of(runs):
    inside = [run["inside"] for run in runs if "inside" in run]
    return (
        f"{len(runs)} | {np.mean([holds(run) for run in runs]):.1%} | "
        f"{np.mean([run['true'] < run['low'] - 1e-9 for run in runs]):.1%} | "
        f"{np.median([run['high'] - run['low'] for run in runs]):.3f} | "
        + (f"{np.mean(inside):.1%} |" if inside else "refused |")
    )


def sketch_table(runs):
    print("| queries | runs | interval holds | too optimistic | median width | Shapley values in theirs |")
    print("|---|--:|--:|--:|--:|--:|")
    seen = [run for run in runs if not run["hidden"]]
    for budget in BUDGETS:
        some = [run for run in seen if run["budget"] == budget]
        if some:
            print(f"| {budget:,} | {row_of(some)}")
    print(f"| all | {row_of(seen)}")
    hidden = [run for run in runs if run["hidden"]]
    print(f"| feature rarer than 3/N | {row_of(hidden)}")
    print(f"\nmedian width / the narrowest that holds in 95 % of the runs: {narrowest(seen):.2f}")
    by_function = collections.defaultdict(list)
    for run in seen:
        by_function[run["function"]].append(run)
    worst = min(by_function.items(), key=lambda item: np.mean([holds(run) for run in item[1]]))
    print(f"lowest: {worst[0]}, {sum(map(holds, worst[1]))} of {len(worst[1])}")
    inside = {
        name: np.mean([run["inside"] for run in some if "inside" in run])
        for name, some in by_function.items()
        if any("inside" in run for run in some)
    }
    lowest = min(inside, key=inside.get)
    print(f"lowest of Shapley values: {lowest}, {inside[lowest]:.1%}")


def fit_table(runs):
    print(
        "| data | noise | replicates | runs | interval holds | too optimistic | median width | Shapley values |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    cells = collections.defaultdict(list)
    for run in runs:
        cells[run["kind"], run["sd"], run["replicates"]].append(run)
    for (kind, sd, replicates), some in cells.items():
        print(f"| {kind} | {sd} | {replicates} | {row_of(some)}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["sketch", "fit"])
    parser.add_argument("--method", choices=["regress", "auto"], default="regress")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    parser.add_argument("--out")
    parser.add_argument("--table")
    options = parser.parse_args()
    table = sketch_table if options.what == "sketch" else fit_table
    if options.table:
        with open(options.table) as file:
            table([json.loads(line) for line in file])
        return
    jobs = sketch_runs(options.method) if options.what == "sketch" else fit_runs()
    runs = []
    for index, run in enumerate(jobs):
        if index % options.of == options.part:
            runs.append(run())
            if options.out:
                with open(options.out, "a") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    table(runs)


if __name__ == "__main__":
    main()
