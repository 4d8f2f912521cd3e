"""Pairs in long sequences: products of two indicators at random positions, of which most cannot be listed.

    python benches/reach.py [--case N,Q,QUERIES ...] [--seed 0]

The model is a sum of n/2 products with normal weights. R² is on 4,000 fresh sequences, beside the claimed one and its
interval; seconds of the fit; peak memory of a process for each case, in MiB; atoms of the dictionary.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np
import shapsketch as ss

CASES = ["90,2,2000", "91,2,2000", "128,2,2000", "256,2,2000", "1000,2,8000", "100,4,5000", "240,4,5000"]


def products(n, q, rng):
    count = n // 2
    pairs = [rng.choice(n, 2, replace=False) for _ in range(count)]
    symbols, weights = rng.integers(0, q, (count, 2)), rng.normal(size=count)

    def model(codes):
        terms = zip(pairs, symbols, weights, strict=True)
        return sum(w * ((codes[:, i] == a) & (codes[:, j] == b)) for (i, j), (a, b), w in terms)

    return model


def run(n, q, queries, seed):
    rng = np.random.default_rng(seed)
    model = products(n, q, rng)
    space = ss.SequenceSpace("ACDEFGHIKLMNPQRSTVWY"[:q], n)
    codes, fresh = (rng.integers(0, q, (count, n), dtype=np.uint8) for count in (queries, 4_000))
    values, truth = model(codes), model(fresh)
    started = time.perf_counter()
    regressor = ss.SparseRegressor(space).fit(codes, values)
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    atoms = ss.plan(space, queries, method="regress").candidates
    low, high = regressor.sketch_.r2_interval
    print(
        f"{n:6} {q:3} {queries:8} {atoms:8} {regressor.score(fresh, truth):7.3f} {regressor.sketch_.r2:8.3f} "
        f"[{low:.3f}, {high:.3f}] {seconds:8.1f} {memory:7.0f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", nargs="+", default=CASES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        f"{'n':>6} {'q':>3} {'queries':>8} {'atoms':>8} {'R²':>7} {'claimed':>8} "
        f"{'interval':14} {'seconds':>8} {'MiB':>7}"
    )
    for case in arguments.case:
        n, q, queries = map(int, case.split(","))
        process = multiprocessing.get_context("spawn").Process(
            target=run, args=(n, q, queries, arguments.seed)
        )
        process.start()
        process.join()


if __name__ == "__main__":
    main()
