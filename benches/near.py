"""Sketches near a wild type: uniform queries, mutants, and LightGBM on the same mutants.

    python benches/near.py [--budget 2000] [--effort thorough] [--seed 0]

`protein` (n = 40, q = 20) is a sigmoid of effects of mutations and of 40 pairs. `promoter` (DNA, n = 80) has the best
match of a motif, with a strong and a weak site in the wild type, and effects of positions. A tenth of the positions is
mutated. Columns: R² on such mutants and on single mutants, error of Shapley values relative to their root mean square
(wild type as background; exact values of the model from all coalitions), seconds of the fit, peak memory.
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import time

import lightgbm
import numpy as np
import shapsketch as ss

RATE = 0.1
# Largest number of mutations of an explained sequence, for exact values.
MOST = 10


def protein(seed):
    rng = np.random.default_rng([seed, 1])
    n, q = 40, 20
    wild = rng.integers(0, q, n)
    effects = rng.normal(-0.6, 0.8, (n, q)) * (rng.random((n, 1)) < 0.7)
    effects[np.arange(n), wild] = 0.0
    pairs = rng.permutation(list(itertools.combinations(range(n), 2)))[:40]
    tables = rng.normal(0.0, 1.0, (len(pairs), q, q))
    for (i, j), table in zip(pairs, tables, strict=True):
        table[wild[i]], table[:, wild[j]] = 0.0, 0.0

    def model(codes):
        latent = 2.0 + effects[np.arange(n), codes].sum(axis=1)
        for (i, j), table in zip(pairs, tables, strict=True):
            latent += table[codes[:, i], codes[:, j]]
        return 1.0 / (1.0 + np.exp(-latent))

    return ss.SequenceSpace(ss.PROTEIN, n), wild, model


def promoter(seed):
    rng = np.random.default_rng([seed, 2])
    n, width = 80, 8
    wild, core = rng.integers(0, 4, n), rng.integers(0, 4, width)
    scan = np.where(np.arange(4) == core[:, None], math.log(3.4), math.log(0.2))
    wild[20 : 20 + width] = wild[50 : 50 + width] = core
    wild[52] = (wild[52] + 1) % 4
    effects = rng.normal(0.0, 0.15, (n, 4))

    def model(codes):
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(codes), width, axis=1)
        matches = scan[np.arange(width), windows].sum(axis=2)
        return matches.max(axis=1) + effects[np.arange(n), codes].sum(axis=1)

    return ss.SequenceSpace(ss.DNA, n), wild, model


def exact(function, wild, sequence):
    """Shapley values (n,) from all coalitions of the mutations."""
    mutated = np.flatnonzero(sequence != wild)
    count = len(mutated)
    inside = np.arange(2**count)[:, None] >> np.arange(count) & 1
    hybrids = np.tile(wild, (2**count, 1))
    hybrids[:, mutated] = np.where(inside, sequence[mutated], wild[mutated])
    scores, size = function(hybrids.astype(np.uint8)), inside.sum(axis=1)
    values = np.zeros(len(wild))
    for k, position in enumerate(mutated):
        without = np.flatnonzero(inside[:, k] == 0)
        weights = np.array([1.0 / (count * math.comb(count - 1, s)) for s in size[without]])
        values[position] = weights @ (scores[without + (1 << k)] - scores[without])
    return values


def r_squared(truth, predictions):
    return 1.0 - np.mean((truth - predictions) ** 2) / np.var(truth)


def measure(make, budget, effort, seed):
    space, wild, model = make(seed)
    near = ss.Mutagenesis(wild, rate=RATE)

    def draw(distribution, count):
        plan = ss.plan(space, count, distribution=distribution, random_state=99)
        return np.concatenate(list(plan.batches()))

    others, singles = draw(near, 4_000), draw(ss.Mutagenesis(wild, counts=(1,)), 200)
    explained = [row for row in others[:200] if 0 < (row != wild).sum() <= MOST][:20]
    truth = np.array([exact(model, wild, row) for row in explained])

    def report(name, predict, seconds):
        values = np.array([exact(predict, wild, row) for row in explained])
        error = np.sqrt(np.mean((values - truth) ** 2) / np.mean(truth**2))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:28} {r_squared(model(others), predict(others)):7.3f} "
            f"{r_squared(model(singles), predict(singles)):7.3f} {error:8.3f} {seconds:8.1f} {memory:6.0f}",
            flush=True,
        )

    for name, distribution in (("uniform", "uniform"), ("mutants", near)):
        started = time.perf_counter()
        sketch = ss.sketch(
            model,
            space,
            budget=budget,
            distribution=distribution,
            inputs="codes",
            effort=effort,
            random_state=seed,
            progress=False,
        )
        seconds = time.perf_counter() - started
        report(f"{make.__name__}, {name}, closed form", sketch.predict, seconds)
        if sketch.predictor is not None:
            report(f"{make.__name__}, {name}, predictor", sketch.predictor.predict, seconds)
    queries = draw(near, budget)
    started = time.perf_counter()
    table = space.onehot(queries).reshape(len(queries), -1)
    booster = lightgbm.LGBMRegressor(n_estimators=600, learning_rate=0.05, num_leaves=15, verbosity=-1)
    booster.fit(table, model(queries))
    report(
        f"{make.__name__}, mutants, LightGBM",
        lambda codes: booster.booster_.predict(space.onehot(codes).reshape(len(codes), -1)),
        time.perf_counter() - started,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=int, default=2_000)
    parser.add_argument("--effort", default="thorough")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'':28} {'near':>7} {'single':>7} {'Shapley':>8} {'seconds':>8} {'MiB':>6}")
    for make in (protein, promoter):
        measure(make, arguments.budget, arguments.effort, arguments.seed)


if __name__ == "__main__":
    main()
