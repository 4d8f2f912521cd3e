"""Compare `explain_masks` with SPEX, ProxySPEX (shapiq) and KernelSHAP (shap) at equal calls.

    python benches/masks.py [--cases parity64,cancer] [--calls 500,2000] [--seeds 1] [--methods ours,ProxySPEX]

One row for each case, number of calls and method, with means over seeds: R² on fresh uniform masks and on
fresh coalitions with a uniform fraction of features, the root mean squared error of the Shapley values relative
to their root mean square, and seconds. Shapley values are exact for planted functions, otherwise from antithetic
permutations. A method that fails has the error in its row. The method sketch is the closed form of `ss.sketch`, whose
queries are uniform or designed, as those of SPEX and ProxySPEX. The methods coalitions, uniform, mixed and paired are
the regression of `explain_masks` alone, on masks of these kinds.
"""

import argparse
import logging
import time
import warnings

import numpy as np
import shapsketch as ss
from shapsketch.fitting.hierarchy import unordered
from shapsketch.fitting.holdout import Labelled
from shapsketch.query.masks import mask_space

FRESH = 5_000
PERMUTATIONS = 300


def uniform(n, count, seed):
    return np.random.default_rng(seed).random((count, n)) < 0.5


def coalitions(n, count, seed):
    rng = np.random.default_rng(seed)
    return rng.random((count, n)) < rng.random((count, 1))


def planted(n, kind, seed, terms=60, order=3):
    """Return a sum of random terms, of which each is a parity or a conjunction, and its Shapley values."""
    rng = np.random.default_rng(seed)
    supports = [rng.choice(n, rng.integers(1, order + 1), replace=False) for _ in range(terms)]
    weights, truth = rng.normal(size=terms), np.zeros(n)
    for weight, support in zip(weights, supports, strict=True):
        # The features of a term are symmetric and share its difference between the grand and empty coalition.
        change = 1.0 if kind == "moebius" else (-1.0) ** len(support) - 1.0
        truth[support] += weight * change / len(support)

    def value(masks):
        total = np.zeros(len(masks))
        for weight, support in zip(weights, supports, strict=True):
            kept = masks[:, support]
            total += weight * (kept.all(axis=1) if kind == "moebius" else (1 - 2.0 * kept).prod(axis=1))
        return total

    return value, n, truth


def tabular(loader, seed):
    """Return the probability that a forest gives the class of a row; removed features have their mean."""
    from sklearn import datasets
    from sklearn.ensemble import RandomForestClassifier

    X, y = getattr(datasets, loader)(return_X_y=True)
    forest = RandomForestClassifier(100, random_state=0).fit(X, y)
    row, mean = X[np.random.default_rng(seed).integers(len(X))], X.mean(axis=0)
    column = int(forest.predict_proba(row[None])[0].argmax())
    return (lambda masks: forest.predict_proba(np.where(masks, row, mean))[:, column]), X.shape[1], None


def text(seed, unit="sentences"):
    """Return the log-odds that a text classifier gives the topic of a document, by its sentences or words."""
    from sklearn import datasets
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    names = ["iris", "wine", "breast_cancer", "diabetes", "digits", "linnerud"]
    documents = [getattr(datasets, f"load_{name}")().DESCR.replace("\n", " ") for name in names]
    if unit == "sentences":
        separator, classifier = ". ", GradientBoostingClassifier(random_state=0)
        units = [[s for s in d.split(separator) if len(s) > 20] for d in documents]
    else:
        separator, classifier = " ", MLPClassifier((32,), random_state=0)
        units = [d.split()[:400] for d in documents]
    rng, texts, labels = np.random.default_rng(seed), [], []
    for label, each in enumerate(units):
        for _ in range(60):
            texts.append(separator.join(np.array(each)[rng.random(len(each)) < rng.random()]))
            labels.append(label)
    model = make_pipeline(TfidfVectorizer(), classifier).fit(texts, labels)
    label = 2
    segments = units[label][:64]

    def value(masks):
        texts = [separator.join(s for s, kept in zip(segments, mask, strict=True) if kept) for mask in masks]
        probability = model.predict_proba(texts)[:, label]
        return np.log(probability) - np.log1p(-probability)

    return value, len(segments), None


CASES = {
    **{f"parity{n}": (lambda seed, n=n: planted(n, "parity", seed)) for n in (20, 64, 128, 256, 1000)},
    **{
        f"moebius{n}": (lambda seed, n=n: planted(n, "moebius", seed, order=5))
        for n in (20, 64, 128, 256, 1000)
    },
    "cancer": lambda seed: tabular("load_breast_cancer", seed),
    "digits": lambda seed: tabular("load_digits", seed),
    "text": text,
    "words": lambda seed: text(seed, "words"),
}


def permutation_values(value, n):
    """Return Shapley values from antithetic permutations."""
    rng, total = np.random.default_rng(7), np.zeros(n)
    for _ in range(PERMUTATIONS):
        order = rng.permutation(n)
        for each in (order, order[::-1]):
            ranks = np.argsort(each)
            total[each] += np.diff(value(ranks[None] < np.arange(n + 1)[:, None]))
    return total / (2 * PERMUTATIONS)


def ours(value, n, calls, seed):
    explanation = ss.explain_masks(value, n, calls, random_state=seed, progress=False)
    return explanation.predict, explanation.values


def automatic(value, n, calls, seed):
    sketch = ss.sketch(
        lambda codes: value(codes.astype(bool)),
        mask_space(n),
        calls,
        inputs="codes",
        random_state=seed,
        progress=False,
    )
    explainer = ss.Explainer(sketch, background=np.zeros(n, dtype=np.uint8), of="closed form")
    shapley = explainer(np.ones((1, n), dtype=np.uint8)).values[0]
    return (lambda masks: sketch.predict(masks.astype(np.uint8))), shapley


def sparse(name):
    def run(value, n, calls, seed):
        import shapiq

        class Kept(getattr(shapiq, name)):
            def _process_moebius(self, moebius_transform):
                self.moebius = moebius_transform
                return super()._process_moebius(moebius_transform)

        peer = Kept(n=n, index="SV", max_order=1, random_state=seed)
        peer.approximate(calls, lambda masks: value(np.asarray(masks, dtype=bool)).astype(float))
        terms = peer.moebius
        values = np.zeros(n)
        for support, weight in terms.items():
            values[list(support)] += weight / max(1, len(support))

        def predict(masks):
            return sum(w * masks[:, list(s)].all(axis=1) if s else w for s, w in terms.items())

        return predict, values

    return run


def kernel_shap(value, n, calls, seed):
    import shap

    np.random.seed(seed)  # noqa: NPY002 - shap has no other seed
    explainer = shap.KernelExplainer(lambda x: value(x.astype(bool)).astype(float), np.zeros((1, n)))
    values = explainer.shap_values(np.ones((1, n)), nsamples=calls, l1_reg=False, silent=True)[0]
    base = float(value(np.zeros((1, n), dtype=bool))[0])
    return (lambda masks: base + masks @ values), values


def designed(name):
    """Return the regression of `explain_masks` alone, on other masks."""

    def run(value, n, calls, seed):
        half = calls // 2
        masks = {
            "coalitions": lambda: coalitions(n, calls, seed),
            "uniform": lambda: uniform(n, calls, seed),
            "mixed": lambda: np.concatenate([coalitions(n, half, seed), uniform(n, calls - half, seed)]),
            "paired": lambda: np.concatenate([coalitions(n, half, seed), ~coalitions(n, half, seed)]),
        }[name]()
        masks[:2] = np.array([[False], [True]])
        space, codes = mask_space(n), masks.astype(np.uint8)
        values = value(masks).astype(float)
        fitted = unordered(space, Labelled(codes, values), seed).fit(codes, values).sketch_
        explainer = ss.Explainer(fitted, background=np.zeros(n, dtype=np.uint8))
        shapley = explainer(np.ones((1, n), dtype=np.uint8)).values[0]
        return (lambda masks: fitted.predict(masks.astype(np.uint8))), shapley

    return run


DESIGNS = {name: designed(name) for name in ("coalitions", "uniform", "mixed", "paired")}
METHODS = {
    "ours": ours,
    "sketch": automatic,
    "SPEX": sparse("SPEX"),
    "ProxySPEX": sparse("ProxySPEX"),
    "KernelSHAP": kernel_shap,
    **DESIGNS,
}


def r_squared(values, predictions):
    return 1.0 - np.mean((values - predictions) ** 2) / np.var(values)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default="parity20,parity64,moebius20,moebius64,cancer,digits,text")
    parser.add_argument("--calls", default="500,2000,8000")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", default="ours,SPEX,ProxySPEX,KernelSHAP")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print("case        calls  method      R2 uniform  R2 coalitions  Shapley error  seconds")
    for case in arguments.cases.split(","):
        made = [CASES[case](seed) for seed in range(arguments.seeds)]
        games = [(v, n, permutation_values(v, n) if truth is None else truth) for v, n, truth in made]
        for calls in map(int, arguments.calls.split(",")):
            for method in arguments.methods.split(","):
                print(f"{case:10} {calls:6}  {method:10}  {row(method, games, calls)}", flush=True)


def row(method, games, calls):
    """Return the means over the games of one method, as text."""
    results = []
    for seed, (value, n, truth) in enumerate(games):
        started = time.perf_counter()
        try:
            predict, values = METHODS[method](value, n, calls, seed)
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:60]}"
        seconds = time.perf_counter() - started
        fresh = [draw(n, FRESH, 1_000 + seed) for draw in (uniform, coalitions)]
        fits = [r_squared(value(masks), predict(masks)) for masks in fresh]
        results.append([*fits, np.sqrt(np.mean((values - truth) ** 2) / np.mean(truth**2)), seconds])
    first, second, error, seconds = np.mean(results, axis=0)
    return f"{first:10.3f}  {second:13.3f}  {error:13.3f}  {seconds:7.1f}"


if __name__ == "__main__":
    main()
