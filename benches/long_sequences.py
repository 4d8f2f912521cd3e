"""Long sequences: fidelity, own time and memory for models that scan for motifs.

    python benches/long_sequences.py [--lengths 200 500 1000] [--draws 3] [--calls 5000] [--efforts standard thorough]
        [--kinds best] [--motifs 2] [--width 8] [--alphabet 4]

The model is a scan for motifs with random weights, plus additive effects of 30 positions. The scan has 80 % of the
variance. `best`: the sum over motifs of the best match at any position. `region`: the same, but one motif counts only in
the first third. `sum`: the sum of what all matches have above a threshold, which three positions of a random sequence pass
on average. Queries are uniform. R² "reported" is that of the sketch; "fresh" is on 2,000 other random sequences.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import shapsketch as ss

LETTERS = {4: "ACGT", 20: "ACDEFGHIKLMNPQRSTVWY"}
KINDS = ("best", "region", "sum")
FRESH, EFFECTS, SCAN = 2_000, 30, 0.8


def scan_model(length, q, motifs, width, draw, kind):
    """Return a function of codes (B, n)."""
    rng = np.random.default_rng(draw)
    weights = rng.normal(size=(motifs, width, q))
    weights -= weights.max(axis=2, keepdims=True)
    positions = rng.choice(length, EFFECTS, replace=False)
    effects = rng.normal(size=(EFFECTS, q))
    words = np.random.default_rng(1).integers(0, q, (200_000, width))
    thresholds = [np.quantile(w[np.arange(width), words].sum(axis=1), 1 - 3 / length) for w in weights]

    def scan(codes):
        total = np.zeros(len(codes))
        for index, (table, threshold) in enumerate(zip(weights, thresholds, strict=True)):
            matches = sum(table[j][codes[:, j : length - width + 1 + j]] for j in range(width))
            if kind == "sum":
                total += np.maximum(matches - threshold, 0).sum(axis=1)
            else:
                end = length // 3 if kind == "region" and index == 0 else None
                total += matches[:, :end].max(axis=1)
        return total

    def additive(codes):
        return sum(effects[k][codes[:, i]] for k, i in enumerate(positions))

    some = np.random.default_rng(99).integers(0, q, (2_000, length))
    scale, other = np.sqrt(SCAN) / scan(some).std(), np.sqrt(1 - SCAN) / additive(some).std()
    return lambda codes: scale * scan(codes) + other * additive(codes)


def r_squared(values, predictions):
    return 1 - ((values - predictions) ** 2).sum() / ((values - values.mean()) ** 2).sum()


def one(length, q, motifs, width, draw, kind, calls, effort):
    model, spent = scan_model(length, q, motifs, width, draw, kind), [0.0]

    def timed(codes):
        started = time.perf_counter()
        values = model(codes)
        spent[0] += time.perf_counter() - started
        return values

    space = ss.SequenceSpace(LETTERS[q], length)
    started = time.perf_counter()
    sketch = ss.sketch(
        timed, space, budget=calls, inputs="codes", effort=effort, random_state=draw, progress=False
    )
    own = time.perf_counter() - started - spent[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best = sketch.predictor or sketch
    codes = np.random.default_rng(10**6 + draw).integers(0, q, (FRESH, length)).astype(np.uint8)
    values = model(codes)
    fresh = [r_squared(values, fit.predict(codes)) for fit in (sketch, best)]
    return f"{best.r2:.3f} | {fresh[1]:.3f} | {fresh[0]:.3f} | {own:.0f} | {peak:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[200, 500, 1_000])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--efforts", nargs="+", default=["standard", "thorough"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["best"])
    parser.add_argument("--motifs", type=int, default=2)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--alphabet", type=int, choices=list(LETTERS), default=4)
    parser.add_argument("--alone", nargs=4, help="length, draw, kind and effort of one run in this process")
    arguments = parser.parse_args()
    shared = (arguments.alphabet, arguments.motifs, arguments.width)
    if arguments.alone:
        length, draw, kind, effort = arguments.alone
        print(one(int(length), *shared, int(draw), kind, arguments.calls, effort))
        return
    print("| n | kind | effort | draw | R² reported | fresh | closed form, fresh | own time, s | peak, MiB |")
    print("|--:|---|---|--:|--:|--:|--:|--:|--:|")
    options = ["--calls", arguments.calls, "--motifs", arguments.motifs, "--width", arguments.width]
    options += ["--alphabet", arguments.alphabet]
    for length in arguments.lengths:
        for kind in arguments.kinds:
            for effort in arguments.efforts:
                for draw in range(arguments.draws):
                    # A process of its own has a peak of its own.
                    command = [sys.executable, __file__, *map(str, options), "--alone"]
                    command += [str(length), str(draw), kind, effort]
                    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    print(f"| {length} | {kind} | {effort} | {draw} | {line.strip()}", flush=True)


if __name__ == "__main__":
    main()
