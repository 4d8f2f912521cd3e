"""Shapley values of mutants of a wild type, and of hybrids of sequences, from sketches of queries there and elsewhere.

    python benches/places.py [--model FILE.py] [--calls 10000] [--seed 0] [--place mutants,hybrids]

All methods may evaluate the model `--calls` times in all. "mutants": a tenth of the positions of a random wild type is
mutated, and the wild type is the background; values of the model are exact. "hybrids": 200 sequences of a first-order
Markov chain with unequal transitions, each with one of three random motifs of six letters at a random place; the
background has their frequencies of letters at each position; values of the model come from `--permutations` permutations
of 20 of them. Errors are root mean squares, relative to that of the values of the model, without the variance of these.

The sketches have uniform queries, and queries from the place (`ss.Mutagenesis`, `ss.Hybrids`). LightGBM learns from queries
of the place, and interventional TreeSHAP explains it. KernelSHAP has an equal share of the calls for each of 200 sequences.
FILE.py is that of `peers.py`.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings

import numpy as np
import peers
import shapsketch as ss
from near import MOST, RATE, exact

SEQUENCES, EXPLAINED, MOTIFS, WIDTH = 200, 20, 3, 6


def letters_of(codes, q):
    """Return frequencies (n, q), with one more occurrence of each letter."""
    counts = (codes[:, :, None] == np.arange(q)).sum(axis=0) + 1.0
    return counts / counts.sum(axis=1, keepdims=True)


def motif_rich(model, rng):
    """Return sequences of a Markov chain, each with a motif."""
    transitions = rng.dirichlet(np.full(model.q, 0.5 * model.q), model.q)
    codes = model.random(rng, SEQUENCES)
    for row in codes:
        for i in range(1, model.n):
            row[i] = rng.choice(model.q, p=transitions[row[i - 1]])
    motifs, width = model.random(rng, MOTIFS)[:, :WIDTH], min(WIDTH, model.n)
    for row in codes:
        place = rng.integers(0, model.n - width + 1)
        row[place : place + width] = motifs[rng.integers(MOTIFS)][:width]
    return codes


class Mutants:
    """Mutants of a wild type, which is their background."""

    def __init__(self, model, rng, _permutations):
        self.wild = model.random(rng, 1)[0]
        self.background, self.distribution = self.wild, ss.Mutagenesis(self.wild, rate=RATE)
        plan = ss.plan(model.space, 500, distribution=self.distribution, random_state=99)
        drawn = np.concatenate(list(plan.batches()))
        differing = (drawn != self.wild).sum(axis=1)
        self.codes = drawn[(differing > 1) & (differing <= MOST)][:EXPLAINED]
        self.values = np.array([exact(model, self.wild, row) for row in self.codes])
        self.variance = 0.0

    def draw(self, rng, count):
        return np.repeat(self.wild[None], count, axis=0)


class MotifRich:
    """Hybrids of motif-rich sequences with their frequencies of letters."""

    def __init__(self, model, rng, permutations):
        sequences = motif_rich(model, rng)
        self.background = letters_of(sequences, model.q)
        self.distribution = ss.Hybrids(sequences, self.background)
        self.codes = sequences[:EXPLAINED]
        means, variances = [], []
        for row in self.codes:
            backgrounds = self.draw(rng, permutations)
            values = peers.permutation_values(model, np.tile(row, (permutations, 1)), backgrounds, rng)
            means.append(values.mean(axis=0))
            variances.append(values.var(axis=0) / permutations)
        self.values, self.variance = np.array(means), float(np.mean(variances))

    def draw(self, rng, count):
        drawn = rng.random((count, len(self.background), 1)) >= np.cumsum(self.background, axis=1)[:, :-1]
        return drawn.sum(axis=2).astype(np.uint8)


def sketched(model, place, calls, seed, distribution):
    sketch = ss.sketch(
        ss.Evaluator(model, inputs="codes", check=False),
        model.space,
        budget=calls,
        distribution=distribution,
        random_state=seed,
        progress=False,
    )
    routes = ("closed form",) if sketch.predictor is None else ("closed form", "predictor")
    for of in routes:
        yield of, ss.Explainer(sketch, place.background, of=of, progress=False)(place.codes).values


def tree_shap(model, place, calls, seed):
    import lightgbm
    import shap

    plan = ss.plan(model.space, calls, distribution=place.distribution, random_state=seed)
    queries = np.concatenate(list(plan.batches()))
    options = {"n_estimators": 500, "learning_rate": 0.05, "num_leaves": 8, "verbose": -1, "n_jobs": 2}
    fitted = lightgbm.LGBMRegressor(random_state=seed, **options)
    fitted.fit(peers.onehot(model, queries), model(queries))
    background = place.draw(np.random.default_rng(seed), peers.BACKGROUND)
    explainer = shap.TreeExplainer(fitted, peers.onehot(model, background))
    values = explainer.shap_values(peers.onehot(model, place.codes), check_additivity=False)
    return values.reshape(len(place.codes), model.n, model.q).sum(axis=2)


def kernel_shap(model, place, calls, seed):
    rng, values = np.random.default_rng(seed), []
    base = model(place.draw(rng, peers.BASE)).mean()
    for row in place.codes:

        def game(masks, row=row):
            masks = np.atleast_2d(np.asarray(masks)).astype(bool)
            scores, some = np.full(len(masks), base), masks.any(axis=1)
            scores[some] = model(np.where(masks[some], row, place.draw(rng, int(some.sum()))))
            return scores

        values.append(peers.kernel_shap(model.n, calls // SEQUENCES, game, seed))
    return np.array(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--permutations", type=int, default=2_000)
    parser.add_argument("--place", default="mutants,hybrids")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    model, calls, seed = peers.load(arguments.model), arguments.calls, arguments.seed
    for name in arguments.place.split(","):
        make = {"mutants": Mutants, "hybrids": MotifRich}[name]
        place = make(model, np.random.default_rng([seed, 3]), arguments.permutations)
        size = np.sqrt((place.values**2).mean() - place.variance)
        print(f"{name}: root mean square {size:.4g}, standard error {place.variance**0.5:.2g}", flush=True)

        def report(method, values, started, place=place, size=size):
            square = ((values - place.values) ** 2).mean() - place.variance
            error = max(square, 0.0) ** 0.5 / size
            print(f"  {method:32} {error:7.3f} {time.perf_counter() - started:8.1f} s", flush=True)

        for queries, distribution in (("uniform", "uniform"), (name, place.distribution)):
            started = time.perf_counter()
            for of, values in sketched(model, place, calls, seed, distribution):
                report(f"sketch of {queries}, {of}", values, started)
        for method, explain in (("LightGBM, TreeSHAP", tree_shap), ("KernelSHAP", kernel_shap)):
            started = time.perf_counter()
            report(method, explain(model, place, calls, seed), started)


if __name__ == "__main__":
    main()
