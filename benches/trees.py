"""Trees and the automatic choice of a method: time, memory, R², and other methods with as many queries.

    python benches/trees.py conversion     ensembles to closed forms: seconds, MiB, terms, variance kept
    python benches/trees.py explain        Shapley values of a large sketch of trees, one core
    python benches/trees.py auto           the automatic choice at 20,000 queries: time without the model
    python benches/trees.py peers          LightGBM, pairwise ridge and ProxySPEX for comparison, q = 2
    python benches/trees.py explainers     the interventional explainers of shap and shapiq on the same ensembles

`explainers` needs shap and shapiq 1.8, on one core: RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1.
Option of `auto`: --queries (20,000). Options of `peers`: --budget (2,000) and --seeds (3).
"""

import argparse
import json
import os
import resource
import time

import numpy as np
from vs_shapzero import in_process

# Number of sequences that trees are fitted to, and of queries of a sketch.
QUERIES = 20_000


def translation(codes):
    """Return scores of synthetic 5'UTRs: upstream starts, in-frame stops, the start's context, GC content."""
    codes = np.asarray(codes).astype(int)
    codons = codes[:, :-2] * 16 + codes[:, 1:-1] * 4 + codes[:, 2:]
    starts = codons == 0 * 16 + 3 * 4 + 2
    stops = (codons == 48) | (codons == 50) | (codons == 56)
    n = codes.shape[1]
    open_starts = np.zeros(len(codes))
    for i in range(n - 2):
        frame = slice(i + 3, None, 3)
        closed = stops[:, frame].any(axis=1)
        open_starts += (
            starts[:, i] * np.where(closed, 0.35, 1.0) * (0.6 + 0.4 * (codes[:, max(i - 3, 0)] == 0))
        )
    gc = ((codes == 1) | (codes == 2)).mean(axis=1)
    context = (codes[:, -3] == 0) + 0.5 * (codes[:, -6] == 2)
    return np.exp(-1.2 * open_starts) * (1.0 + 0.4 * context) - 1.5 * (gc - 0.5) ** 2


def landscape(codes):
    """Return a synthetic binary landscape: the sigmoid of main effects and 30 interactions of order 2 to 5."""
    rng = np.random.default_rng(1)
    spins = 1.0 - 2.0 * np.asarray(codes)
    score = spins @ rng.normal(size=spins.shape[1])
    for _ in range(30):
        chosen = rng.choice(spins.shape[1], rng.integers(2, 6), replace=False)
        score += rng.normal() * spins[:, chosen].prod(axis=1)
    return 1.0 / (1.0 + np.exp(-0.6 * score))


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fitted(kind):
    """Fit an ensemble; return its space and a function that converts it to (sketch, fraction of variance kept)."""
    import lightgbm
    import shapsketch as ss
    from shapsketch.fitting.boosting import FittedTrees, Schedule, boost, closed_form
    from shapsketch.fitting.features import PositionalFeatures
    from shapsketch.fitting.holdout import labelled

    rng = np.random.default_rng(0)
    if kind == "kmers":
        space = ss.SequenceSpace(ss.DNA, 50)
        codes = rng.integers(0, 4, (QUERIES, 50), dtype=np.uint8)
        features = PositionalFeatures(space, "kmers")
        data = labelled(codes, translation(codes), space)
        boosted = boost(features, data, leaves=127, seed=0, rounds=400, schedule=Schedule(0.1))

        def truncated():
            core, kept = closed_form(FittedTrees(features, boosted), 1e-3, None)
            return ss.Sketch._wrap(core), kept

        return space, truncated
    q, n, depth = (20, 56, 6) if kind == "protein" else (4, 50, 8)
    space = ss.SequenceSpace(ss.PROTEIN if q == 20 else ss.DNA, n)
    codes = rng.integers(0, q, (QUERIES, n))
    table = rng.normal(size=(n, q))
    values = table[np.arange(n), codes].sum(axis=1) + 3.0 * (codes[:, 3] < q // 2) * (codes[:, 9] > q // 3)
    options = {"max_depth": depth, "num_leaves": 2**depth, "verbosity": -1}
    model = lightgbm.train(options, lightgbm.Dataset(codes.astype(float), values), 300)
    return space, lambda: (ss.from_trees(model, space), 1.0)


def side_conversion(kind):
    _, convert = fitted(kind)
    before = peak()
    started = time.perf_counter()
    sketch, kept = convert()
    seconds = time.perf_counter() - started
    print(json.dumps({"s": seconds, "mib": peak(), "before": before, "terms": sketch.n_terms, "kept": kept}))


def conversion():
    print("| ensemble | form | s | peak MiB (before) | terms | variance kept |")
    print("|---|---|--:|--:|--:|--:|")
    rows = [
        ("kmers", "400 trees of 127 leaves, k-mers of length 1 to 3, q = 4, n = 50", "truncated"),
        ("protein", "300 trees of depth 6, codes, q = 20, n = 56", "exact"),
        ("dna", "300 trees of depth 8, codes, q = 4, n = 50", "exact"),
    ]
    for kind, name, form in rows:
        r = in_process("side-conversion", kind, script=__file__)
        print(
            f"| {name} | {form} | {r['s']:.1f} | {r['mib']:.0f} ({r['before']:.0f}) | {r['terms']:,} | {r['kept']:.4f} |",
            flush=True,
        )


def side_explain(kind):
    import shapsketch as ss

    space, convert = fitted(kind)
    sketch, _ = convert()
    explainer = ss.Explainer(sketch)
    count = 20_000 if kind == "kmers" else 500
    codes = np.random.default_rng(1).integers(0, space.q, (count, space.n))
    started = time.perf_counter()
    explainer(codes[:10])
    first = time.perf_counter() - started
    started = time.perf_counter()
    explainer(codes)
    print(json.dumps({"first": first, "rate": count / (time.perf_counter() - started), "mib": peak()}))


def explain():
    os.environ["RAYON_NUM_THREADS"] = "1"
    print("| sketch | first call s | sequences/s, one core | peak MiB |")
    print("|---|--:|--:|--:|")
    for kind, name in [
        ("kmers", "127-leaf trees on k-mers, q = 4, n = 50, truncated"),
        ("protein", "depth-6 trees, q = 20, n = 56, exact"),
        ("dna", "depth-8 trees, q = 4, n = 50, exact"),
    ]:
        r = in_process("side-explain", kind, script=__file__)
        print(f"| {name} | {r['first']:.2f} | {r['rate']:,.0f} | {r['mib']:.0f} |", flush=True)


def side_auto(kind, queries):
    import shapsketch as ss

    space = ss.SequenceSpace(ss.DNA, 50)
    in_model = 0.0

    def model(codes):
        nonlocal in_model
        started = time.perf_counter()
        values = translation(codes)
        in_model += time.perf_counter() - started
        return values

    started = time.perf_counter()
    sketch = ss.sketch(model, space, budget=queries, inputs="codes", effort=kind, progress=False)
    seconds = time.perf_counter() - started - in_model
    codes = np.random.default_rng(9).integers(0, 4, (20_000, 50))
    truth = translation(codes)
    r2 = 1.0 - ((truth - sketch.predict(codes)) ** 2).mean() / truth.var()
    candidates = [(c.name, c.r2, c.weight) for c in sketch.candidates]
    print(
        json.dumps(
            {
                "s": seconds,
                "mib": peak(),
                "r2": r2,
                "reported": sketch.r2,
                "predictor": None if sketch.predictor is None else sketch.predictor.r2,
                "candidates": candidates,
            }
        )
    )


def auto(queries):
    print("| | s | peak MiB | R² | reported R² | R² of the predictor | candidates: R² (weight) |")
    print("|---|--:|--:|--:|--:|--:|---|")
    for kind in ("quick", "standard", "thorough"):
        r = in_process("side-auto", kind, "--queries", queries, script=__file__)
        candidates = ", ".join(f"{name} {r2:.3f} ({weight:.2f})" for name, r2, weight in r["candidates"])
        predictor = f"{r['predictor']:.3f}" if r["predictor"] else ""
        print(
            f"| {kind} | {r['s']:.0f} | {r['mib']:.0f} | {r['r2']:.3f} | {r['reported']:.3f} | {predictor} | {candidates} |",
            flush=True,
        )


def peers(budget, seeds):
    import lightgbm
    import shapiq
    import shapsketch as ss
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import PolynomialFeatures

    n = 13
    space = ss.SequenceSpace("01", n)
    all_codes = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.uint8)
    truth = landscape(all_codes)

    def r2(predictions):
        return 1.0 - ((truth - predictions) ** 2).mean() / truth.var()

    print(
        f"| q = 2, n = 13, {budget:,} queries, R² over all sequences | {' | '.join(map(str, range(seeds)))} |"
    )
    print("|---|" + "--:|" * seeds)
    rows = {"shapsketch, auto": [], "LightGBM": [], "pairwise ridge": [], "ProxySPEX (shapiq)": []}
    for seed in range(seeds):
        sketch = ss.sketch(landscape, space, budget=budget, inputs="codes", random_state=seed, progress=False)
        rows["shapsketch, auto"].append(r2(sketch.predict(all_codes)))
        chosen = np.random.default_rng(seed).choice(2**n, budget, replace=False)
        codes, values = all_codes[chosen], truth[chosen]
        booster = lightgbm.LGBMRegressor(n_estimators=1000, learning_rate=0.05, num_leaves=8, verbosity=-1)
        rows["LightGBM"].append(r2(booster.fit(codes, values).predict(all_codes)))
        pairs = PolynomialFeatures(2, interaction_only=True, include_bias=False)
        ridge = RidgeCV(np.logspace(-4, 3, 15)).fit(pairs.fit_transform(codes), values)
        rows["pairwise ridge"].append(r2(ridge.predict(pairs.transform(all_codes))))
        # Faith-Banzhaf interactions of full order are the Möbius transform of the surrogate on the cube.
        spex = shapiq.ProxySPEX(n=n, index="FBII", max_order=n, random_state=seed)
        interactions = spex.approximate(budget, lambda x: landscape(np.asarray(x).astype(np.uint8)))
        predictions = np.full(2**n, 0.0)
        for support, value in interactions.dict_values.items():
            predictions += value * all_codes[:, list(support)].prod(axis=1)
        rows["ProxySPEX (shapiq)"].append(r2(predictions))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in values) + " |", flush=True)


def alternated(functions, repeats=5):
    """Return the fastest time of each function, in seconds; they alternate, so that all see the same load."""
    times = np.full((repeats, len(functions)), np.inf)
    for repeat in range(repeats):
        for index, function in enumerate(functions):
            started = time.perf_counter()
            function()
            times[repeat, index] = time.perf_counter() - started
    return times.min(axis=0)


def explainers():
    import lightgbm
    import shap
    import shapiq
    import shapsketch as ss

    print(
        "| 150 trees of 15 leaves | conversion s | µs a sequence: reference | shap | shapiq | ratio to shap, shapiq "
        "| uniform | product | error |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for q, n, layout in [(4, 50, "one-hot"), (4, 50, "codes"), (20, 75, "one-hot"), (20, 75, "codes")]:
        rng = np.random.default_rng(0)
        codes = rng.integers(0, q, (4000, n))
        table = rng.normal(size=(n, q))
        values = table[np.arange(n), codes].sum(axis=1) + 3.0 * (codes[:, 3] < q // 2) * (
            codes[:, 9] > q // 3
        )

        def features(codes, q=q, layout=layout):
            return np.eye(q)[codes].reshape(len(codes), -1) if layout == "one-hot" else codes.astype(float)

        options = {"num_leaves": 15, "verbosity": -1, "num_threads": 1}
        model = lightgbm.train(options, lightgbm.Dataset(features(codes), values), 150)
        space = ss.SequenceSpace(ss.PROTEIN if q == 20 else ss.DNA, n)
        (conversion,) = alternated([lambda model=model, space=space: ss.from_trees(model, space)], 2)
        sketch = ss.from_trees(model, space)
        x, reference = rng.integers(0, q, (256, n)), codes[:1]
        backgrounds = [reference, "uniform", rng.dirichlet(np.ones(q), n)]
        ours = [ss.Explainer(sketch, background=background) for background in backgrounds]
        of_shap = shap.TreeExplainer(model, data=features(reference), feature_perturbation="interventional")
        of_shapiq = shapiq.TreeExplainer(
            model,
            mode="interventional",
            reference_dataset=features(reference),
            index="SV",
            max_order=1,
        )
        inputs = features(x)
        sides = [
            lambda ours=ours, x=x: ours[0](x),
            lambda e=of_shap, inputs=inputs: e.shap_values(inputs, check_additivity=False),
            lambda e=of_shapiq, inputs=inputs: e.explain_X(inputs),
            lambda ours=ours, x=x: ours[1](x),
            lambda ours=ours, x=x: ours[2](x),
        ]
        us = alternated(sides) / len(x) * 1e6
        columns = np.asarray(sides[1]()).reshape(len(x), n, -1).sum(axis=2)
        # With one-hot features several columns of a position are one of our players, so values differ.
        error = f"{np.abs(ours[0](x).values - columns).max():.0e}" if layout == "codes" else ""
        print(
            f"| q = {q}, n = {n}, {layout} | {conversion:.2f} | {us[0]:.0f} | {us[1]:.0f} | {us[2]:.0f} "
            f"| {us[0] / us[1]:.2f}, {us[0] / us[2]:.2f} | {us[3]:.0f} | {us[4]:.0f} | {error} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("conversion", "explain"):
        commands.add_parser(name)
        commands.add_parser(f"side-{name}").add_argument("kind")
    for name in ("auto", "side-auto"):
        automatic = commands.add_parser(name)
        automatic.add_argument("--queries", type=int, default=QUERIES)
    automatic.add_argument("kind")
    comparison = commands.add_parser("peers")
    comparison.add_argument("--budget", type=int, default=2_000)
    comparison.add_argument("--seeds", type=int, default=3)
    commands.add_parser("explainers")
    options = vars(parser.parse_args())
    functions = {
        "conversion": conversion,
        "side-conversion": side_conversion,
        "explain": explain,
        "side-explain": side_explain,
        "auto": auto,
        "side-auto": side_auto,
        "peers": peers,
        "explainers": explainers,
    }
    functions[options.pop("command")](**options)


if __name__ == "__main__":
    main()
