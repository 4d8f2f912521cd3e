"""Shapley values of many sequences at equal model calls: sketches, samplers, trees and amortization.

    python benches/peers.py [--model FILE.py] [--calls 10000] [--sequences 20,200,2000] [--methods best,ProxySHAP]

All methods may evaluate the model `--calls` times in all, for all sequences together; a missing position is drawn
uniformly. A sketch, trees and an amortizing network spend the calls once; a sampler has an equal share of them for each
sequence, and the base value for free. Errors are root mean squares over `--checked` sequences, in units of the model, beside
values from `--permutations` permutations, whose variance is subtracted. `--truth FILE.npz` keeps these values. A dash: the
share is too small for the method, or it failed; the last lines say which.

FILE.py has the numbers `q` and `n`, and `predict`, from codes (B, n) to scores (B,); the default is the model of
`predictor.py`. The peers are shapiq 1.8 (Python 3.12), shap, LightGBM with interventional TreeSHAP, and a perceptron
(scikit-learn) that learns noisy values of random sequences, as in stochastic amortization (Covert et al. 2024).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import logging
import time
import warnings
from pathlib import Path

import numpy as np
import predictor
import shapsketch as ss

SYMBOLS = "ACDEFGHIKLMNPQRSTVWYBJOUXZ"
# Rows of the background of interventional TreeSHAP.
BACKGROUND = 100
# Permutations that are evaluated together, and random sequences that give the base value.
TOGETHER, BASE = 50, 20_000


class Model:
    """A model of codes, which counts its evaluations."""

    def __init__(self, q, n, predict):
        self.q, self.n, self._predict, self.calls = q, n, predict, 0

    def __call__(self, codes):
        self.calls += len(codes)
        return np.asarray(self._predict(np.ascontiguousarray(codes, dtype=np.uint8)), dtype=float)

    def random(self, rng, count):
        return rng.integers(0, self.q, (count, self.n), dtype=np.uint8)

    @property
    def space(self):
        return ss.SequenceSpace(SYMBOLS[: self.q], self.n)


def load(path):
    if path is None:
        return Model(4, predictor.LENGTH, predictor.model)
    spec = importlib.util.spec_from_file_location("model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Model(module.q, module.n, module.predict)


def permutation_values(model, x, background, rng):
    """Return Shapley values (B, n) of sequences for one background sequence each, from one permutation each."""
    count, n = x.shape
    orders = rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
    ranks = np.argsort(orders, axis=1)
    steps = np.arange(n + 1)[None, :, None]
    hybrids = np.where(ranks[:, None, :] < steps, x[:, None, :], background[:, None, :])
    scores = model(hybrids.reshape(-1, n)).reshape(count, n + 1)
    values = np.empty((count, n))
    np.put_along_axis(values, orders, np.diff(scores, axis=1), axis=1)
    return values


def truth(model, count, permutations, seed, path):
    """Return sequences, their Shapley values from many permutations, and the variance of these."""
    if path and Path(path).exists():
        kept = np.load(path)
        return kept["codes"], kept["values"], float(kept["variance"])
    rng = np.random.default_rng([seed, 1])
    codes = model.random(rng, count)
    total, squares = np.zeros(codes.shape), np.zeros(codes.shape)
    for row, x in enumerate(codes):
        for _ in range(permutations // TOGETHER):
            backgrounds = model.random(rng, TOGETHER)
            values = permutation_values(model, np.tile(x, (TOGETHER, 1)), backgrounds, rng)
            total[row] += values.sum(axis=0)
            squares[row] += (values**2).sum(axis=0)
    done = permutations // TOGETHER * TOGETHER
    values = total / done
    variance = float((squares / done - values**2).mean() / done)
    if path:
        np.savez(path, codes=codes, values=values, variance=variance)
    return codes, values, variance


def sketched(of):
    """Values from one sketch, by one of its routes."""

    def run(model, codes, calls, sequences, seed):
        half = calls // 2 if of == "refine" else calls
        evaluator = ss.Evaluator(model, inputs="codes", check=False)
        sketch = ss.sketch(evaluator, model.space, budget=half, random_state=seed, progress=False)
        if of == "refine":
            share = (calls - half) // sequences
            explainer = ss.Explainer(sketch, progress=False)
            return explainer.refine(evaluator, codes, calls_per_sequence=share, progress=False).values
        if of == "amortised":
            sketch = ss.amortise(sketch)
        return ss.Explainer(sketch, of=of, progress=False)(codes).values

    return run


def sampled(approximate):
    """Values of each sequence by its own share of the calls."""

    def run(model, codes, calls, sequences, seed):
        rng, values = np.random.default_rng(seed), []
        counted = model.calls
        base = model(model.random(np.random.default_rng(seed + 1), BASE)).mean()
        model.calls = counted
        for x in codes:

            def game(masks, x=x):
                masks = np.atleast_2d(np.asarray(masks)).astype(bool)
                scores, some = np.full(len(masks), base), masks.any(axis=1)
                scores[some] = model(np.where(masks[some], x, model.random(rng, int(some.sum()))))
                return scores

            values.append(approximate(model.n, calls // sequences, game, seed))
        return np.array(values)

    return run


def shapiq_values(name, **options):
    def approximate(n, share, game, seed):
        import shapiq

        found = getattr(shapiq, name)(n=n, random_state=seed, **options).approximate(share, game)
        return np.array([found[(i,)] for i in range(n)])

    return sampled(approximate)


def kernel_shap(n, share, game, seed):
    import shap

    np.random.seed(seed)  # noqa: NPY002 - shap has no other seed
    explainer = shap.KernelExplainer(game, np.zeros((1, n)))
    return explainer.shap_values(np.ones((1, n)), nsamples=share, l1_reg=False, silent=True)[0]


def permutation_shap(n, share, game, seed):
    import shap

    if share < 2 * n + 1:
        raise ValueError("too few calls for one permutation")
    explainer = shap.explainers.Permutation(game, np.zeros((1, n)), seed=seed)
    return explainer(np.ones((1, n)), max_evals=share, silent=True).values[0]


def onehot(model, codes):
    return np.eye(model.q, dtype=np.float32)[codes].reshape(len(codes), -1)


def tree_shap(model, codes, calls, _sequences, seed):
    import lightgbm
    import shap

    rng = np.random.default_rng(seed)
    queries = model.random(rng, calls)
    options = {"n_estimators": 500, "learning_rate": 0.05, "num_leaves": 8, "verbose": -1, "n_jobs": 2}
    fitted = lightgbm.LGBMRegressor(random_state=seed, **options).fit(onehot(model, queries), model(queries))
    explainer = shap.TreeExplainer(fitted, onehot(model, model.random(rng, BACKGROUND)))
    values = explainer.shap_values(onehot(model, codes), check_additivity=False)
    return values.reshape(len(codes), model.n, model.q).sum(axis=2)


def amortization(model, codes, calls, _sequences, seed):
    from sklearn.neural_network import MLPRegressor

    rng = np.random.default_rng(seed)
    learned = model.random(rng, calls // (model.n + 1))
    noisy = permutation_values(model, learned, model.random(rng, len(learned)), rng)
    size = noisy.std()
    network = MLPRegressor(
        hidden_layer_sizes=(256, 256), early_stopping=len(learned) >= 100, random_state=seed, max_iter=300
    )
    network.fit(onehot(model, learned), noisy / size)
    return network.predict(onehot(model, codes)) * size


# The methods, and whether they spend their calls once for all sequences.
METHODS = {
    "closed form": (sketched("closed form"), True),
    "best": (sketched("best"), True),
    "predictor": (sketched("predictor"), True),
    "amortised": (sketched("amortised"), True),
    "refine": (sketched("refine"), False),
    "ProxySHAP": (shapiq_values("ProxySHAP", index="SV", max_order=1, adjustment=True), False),
    "ProxySPEX": (shapiq_values("ProxySPEX", index="SV", max_order=1), False),
    "OddSHAP": (shapiq_values("OddSHAP"), False),
    "PolySHAP": (shapiq_values("PolySHAP", max_order=2), False),
    "LeverageSHAP": (shapiq_values("LeverageSHAP"), False),
    "KernelSHAP": (sampled(kernel_shap), False),
    "Permutation": (sampled(permutation_shap), False),
    "TreeSHAP": (tree_shap, True),
    "amortization": (amortization, True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--sequences", default="20,200,2000")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--checked", type=int, default=20)
    parser.add_argument("--permutations", type=int, default=4_000)
    parser.add_argument("--truth")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with contextlib.suppress(ImportError):
        importlib.import_module("lightgbm").register_logger(logging.getLogger("lightgbm"))
    model = load(arguments.model)
    codes, values, variance = truth(
        model, arguments.checked, arguments.permutations, arguments.seed, arguments.truth
    )
    print(
        f"values: root mean square {np.sqrt((values**2).mean()):.4g}, standard error {variance**0.5:.2g}; "
        f"{arguments.calls:,} calls in all"
    )
    counts = [int(count) for count in arguments.sequences.split(",")]
    print("method        " + "".join(f"{f'{count:,} sequences':>18}" for count in counts) + "   seconds")
    notes = []
    for name in arguments.methods.split(","):
        method, once = METHODS[name]
        cells, seconds, found = [], 0.0, None
        for count in counts:
            if found is None or not once:
                model.calls, started = 0, time.perf_counter()
                try:
                    found = method(model, codes, arguments.calls, count, arguments.seed)
                except Exception as failure:
                    notes.append(f"{name}, {count:,} sequences: {type(failure).__name__}: {failure}"[:110])
                    found = np.full(codes.shape, np.nan)
                seconds += time.perf_counter() - started
            square = ((found - values) ** 2).mean() - variance
            cells.append(f"{'-' if np.isnan(square) else f'{max(square, 0.0) ** 0.5:.5f}':>18}")
        print(f"{name:14}" + "".join(cells) + f"{seconds:10.1f}", flush=True)
    print("\n".join(notes))


if __name__ == "__main__":
    main()
