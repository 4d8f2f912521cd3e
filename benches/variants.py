"""Held-out variants of a deep mutational scan, predicted by this package and by common fits.

    python benches/variants.py SCAN.csv WILD_TYPE [--most 2] [--held 0.2] [--auto] [options of the table]

A fraction of the variants with up to `--most` substitutions is held out. The table has R² for all held-out variants and
by their number of substitutions; for this package also the R² that it claims, with its interval, and the fractions of
measured effects of held-out single mutants, and of measured epistasis of held-out pairs, that are within 1.96 standard
errors of the predicted ones (those of the prediction and of the noise of the values together). The other fits:

- additive: least squares on single substitutions, with the ridge penalty that cross-validation chooses.
- pairs: the same on single substitutions and pairs of them.
- global epistasis: a monotone function (increasing I-splines) of an additive latent phenotype, as in MAVE-NN (Tareen et
  al. 2022), fitted by L-BFGS.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import shapsketch as ss
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.optimize import minimize
from scipy.sparse.linalg import lsqr

KNOTS, FOLDS = 12, 5
PENALTIES = np.geomspace(0.01, 1000.0, 11)


def select(variants, rows):
    parts = {name: getattr(variants, name) for name in ("codes", "values", "weights", "sd")}
    parts = {name: None if part is None else part[rows] for name, part in parts.items()}
    return replace(variants, names=[variants.names[i] for i in np.flatnonzero(rows)], **parts)


def features(variants, order):
    """Return a function that maps codes to a sparse matrix of substitutions, and of pairs of them."""
    q, wild_type = variants.space.q, variants.wild_type_codes
    names = {}

    def of(codes, fit=False):
        rows, columns = [], []
        for row, code in enumerate(codes):
            cells = [int(i * q + code[i]) for i in np.flatnonzero(code != wild_type)]
            for term in (part for k in range(1, order + 1) for part in combinations(cells, k)):
                column = names.setdefault(term, len(names)) if fit else names.get(term)
                if column is not None:
                    rows.append(row)
                    columns.append(column)
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(codes), len(names)))

    return of


def ridge(train, test, order):
    of = features(train, order)
    X, Z = of(train.codes, fit=True), of(test.codes)
    root = np.ones(len(train)) if train.weights is None else np.sqrt(train.weights / train.weights.mean())

    def solved(rows, penalty):
        mean = np.average(train.values[rows], weights=root[rows] ** 2)
        A = sparse.diags(root[rows]) @ sparse.hstack([X[rows], np.ones((rows.sum(), 1))])
        # The constant is not penalised.
        D = sparse.diags(np.append(np.full(X.shape[1], np.sqrt(penalty)), 0.0))
        target = np.concatenate([root[rows] * (train.values[rows] - mean), np.zeros(X.shape[1] + 1)])
        beta = lsqr(sparse.vstack([A, D]), target, atol=1e-8, btol=1e-8, iter_lim=500)[0]
        return lambda M: M @ beta[:-1] + beta[-1] + mean

    fold = np.random.default_rng(0).integers(0, FOLDS, len(train))
    errors = [
        sum(
            ((root * (train.values - solved(fold != k, penalty)(X)))[fold == k] ** 2).sum()
            for k in range(FOLDS)
        )
        for penalty in PENALTIES
    ]
    return solved(np.ones(len(train), dtype=bool), PENALTIES[int(np.argmin(errors))])(Z)


def global_epistasis(train, test):
    """Return predictions of g(additive), g a nonnegative sum of I-splines, with ridge penalties."""
    of = features(train, 1)
    X, Z = of(train.codes, fit=True), of(test.codes)
    y = (train.values - train.values.mean()) / train.values.std()
    weights = np.ones(len(y)) if train.weights is None else train.weights / train.weights.mean()
    inner = np.linspace(-4.0, 4.0, KNOTS)
    knots = np.concatenate([np.full(3, inner[0]), inner, np.full(3, inner[-1])])
    # Sums of the last B-splines of degree 3 increase from 0 to 1.
    count = len(knots) - 4
    splines = BSpline(knots, np.tril(np.ones((count, count))).astype(float), 3)
    slopes = splines.derivative()

    def parts(beta, X):
        latent = X @ beta[count + 1 : -1] + beta[-1]
        inside = np.clip(latent, -4.0, 4.0)
        # A slope of 0.01 outside of the knots, so that no gradient vanishes.
        return latent, splines(inside), slopes(inside) * (np.abs(latent) <= 4.0)[:, None]

    def loss(beta):
        steps = np.exp(beta[1 : count + 1])
        latent, basis, slope = parts(beta, X)
        residual = beta[0] + basis @ steps + 0.01 * latent - y
        by_latent = weights * residual * (slope @ steps + 0.01)
        gradient = np.concatenate(
            [
                [(weights * residual).sum()],
                (basis.T @ (weights * residual)) * steps,
                X.T @ by_latent,
                [by_latent.sum()],
            ]
        )
        penalty = np.concatenate([np.zeros(1), np.full(count, 0.01), np.full(X.shape[1], 0.1), [0.0]])
        centred = beta - np.concatenate([np.zeros(1), np.full(count, np.log(0.2)), np.zeros(X.shape[1] + 1)])
        return 0.5 * (weights * residual**2).sum() + 0.5 * penalty @ centred**2, gradient + penalty * centred

    start = np.concatenate([[-1.5], np.full(count, np.log(0.2)), np.zeros(X.shape[1] + 1)])
    beta = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    latent, basis, _ = parts(beta, Z)
    predicted = beta[0] + basis @ np.exp(beta[1 : count + 1]) + 0.01 * latent
    return predicted * train.values.std() + train.values.mean()


def covered(predicted, stderr, measured, noise):
    return np.mean(np.abs(predicted - measured) <= 1.96 * np.hypot(stderr, noise))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scan")
    parser.add_argument("wild_type")
    parser.add_argument("--start", type=int, default=1)
    parser.add_argument("--column")
    parser.add_argument("--score")
    parser.add_argument("--sd")
    parser.add_argument("--most", type=int, default=2, help="largest number of substitutions to fit to")
    parser.add_argument("--held", type=float, default=0.2, help="fraction that is held out")
    parser.add_argument("--auto", action="store_true", help="also method='auto', which takes longer")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    options = {name: getattr(arguments, name) for name in ("start", "column", "score", "sd")}
    scan = ss.read_variants(arguments.scan, wild_type=arguments.wild_type, **options)
    scan = select(scan, scan.n_mutations <= arguments.most)
    print(scan.summary())
    _, unit = np.unique(scan.codes, axis=0, return_inverse=True)
    chosen = np.random.default_rng(0).random(unit.max() + 1) < arguments.held
    out = chosen[unit.reshape(-1)] & (scan.n_mutations > 0)
    train, test = select(scan, ~out), select(scan, out)

    def show(name, predictions, seconds, more=""):
        r2 = [1 - np.sum((test.values - predictions) ** 2) / np.sum((test.values - test.values.mean()) ** 2)]
        for order in range(1, arguments.most + 1):
            rows = test.n_mutations == order
            spread = np.sum((test.values[rows] - test.values[rows].mean()) ** 2)
            r2.append(1 - np.sum((test.values - predictions)[rows] ** 2) / spread)
        print(
            f"{name:18}", "  ".join(f"{value:6.3f}" for value in r2), f"  {seconds:5.1f} s", more, flush=True
        )

    columns = ["all", *(f"{order} sub." for order in range(1, arguments.most + 1))]
    print(
        f"{len(train):,} values to fit to, {len(test):,} held out; R²:\n{'':18}",
        "  ".join(f"{c:>6}" for c in columns),
    )
    for name, fit in (
        ("additive", lambda: ridge(train, test, 1)),
        ("pairs", lambda: ridge(train, test, 2)),
        ("global epistasis", lambda: global_epistasis(train, test)),
    ):
        started = time.perf_counter()
        show(name, fit(), time.perf_counter() - started)
    for method in ("regress", *(["auto"] if arguments.auto else [])):
        started = time.perf_counter()
        sketch = ss.fit(train, method=method, progress=False)
        seconds = time.perf_counter() - started
        low, high = sketch.r2_interval
        show(
            f"this, {method}",
            sketch.predict(test.codes),
            seconds,
            f"claims {sketch.r2:.3f} ({low:.3f} to {high:.3f})",
        )
        if sketch.predictor is not None:
            show(
                "its predictor",
                sketch.predictor.predict(test.codes),
                seconds,
                f"claims {sketch.predictor.r2:.3f}",
            )
        results = ss.VariantEffects(sketch, train, of="closed form")
        singles, pairs = results.singles(), results.epistasis("all")
        measured, noise = ss.VariantEffects(sketch, scan, of="closed form"), results.noise
        effects = measured.singles()["measured_effect"]
        new = (singles["measured"] == 0) & ~np.isnan(effects)
        inside = covered(*(singles[name][new] for name in ("effect", "stderr")), effects[new], 2**0.5 * noise)
        known = measured.epistasis()
        values = dict(zip(known["mutations"], known["measured_epistasis"], strict=True))
        values = np.array([values.get(name, np.nan) for name in pairs["mutations"]])
        new = (pairs["measured"] == 0) & ~np.isnan(values)
        share = covered(*(pairs[name][new] for name in ("epistasis", "stderr")), values[new], 2 * noise)
        print(
            f"{'':18} within 1.96 standard errors: {inside:.2f} of held-out singles, {share:.2f} of held-out epistasis"
        )


if __name__ == "__main__":
    main()
