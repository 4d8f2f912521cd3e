"""Global epistasis: effects of mutations add up on a latent scale, and a monotone curve gives the values.

The latent scale is learned as in alternating conditional expectations (Breiman & Friedman 1985): a ridge
regression on mutations predicts transformed values, and the transformation is the monotone curve that agrees
best with the predictions of held-out folds. MAVE-NN (Tareen et al. 2022) fits the same kind of model by
gradient descent. Positions, and pairs of positions, whose mutations have larger effects get larger prior
variances in further fits (automatic relevance determination: MacKay 1992).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import optional
from shapsketch.fitting.curves import Curve
from shapsketch.fitting.holdout import Labelled, Split
from shapsketch.fitting.learners import Model
from shapsketch.fitting.steps import Log
from shapsketch.space import Codes, SequenceSpace, Values

# Folds of the cross-validation.
FOLDS = 5
# Prior variances of the features, relative to the noise, before the search: the number of mutations, a
# mutation at a position, its symbol, two mutations with their symbols.
PRIORS = (0.3, 0.1, 0.5, 0.05)
# Prior variance of the constant.
CONSTANT = 100.0
# Factors by which the search multiplies or divides the prior variances, and the smallest relative decrease of
# the error that counts.
FACTORS = (8.0, 3.0, 1.7)
DECREASE = 5e-4
# Number of times that the latent scale is learned.
ROUNDS = 2
# Largest number of times that prior variances follow the effects of a fit, and bounds of the factor.
REWEIGHTED, FACTOR_BOUNDS = 3, (0.02, 50.0)
# The curve is fitted at a weighted mean of held-out and fitted latent values, with this weight of the latter.
# Held-out values of these data are more uncertain than those of sequences with fewer mutations.
FITTED_WEIGHT = 0.25
# Tolerance and largest number of iterations of conjugate gradients.
TOLERANCE, ITERATIONS = 1e-4, 300
# Largest number of entries of the features of pairs of mutations, of all sequences.
PAIR_ENTRIES = 3_000_000
# Seconds of one core for each entry of the features, for the whole fit.
ENTRY_SECONDS = 7e-5


def require_epistasis() -> None:
    """Import what global epistasis needs.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    optional("scipy.sparse", "trees", "global epistasis")


@dataclass(frozen=True)
class Mutations:
    """The features of sequences that differ from a reference.

    Attributes
    ----------
    reference : numpy.ndarray of uint8, shape (n,)
    q : int
    pairs : numpy.ndarray of int64, shape (P,)
        Pairs of mutations that are features, as numbers, ascending. A mutation is ``position * q + symbol``,
        and a pair is ``first * n q + second``.
    """

    reference: Codes
    q: int
    pairs: npt.NDArray[np.int64]

    @classmethod
    def of(cls, codes: Codes, q: int) -> Mutations:
        """Return the features of sequences, codes (N, n); the reference has the most frequent symbols."""
        counts = np.array([np.bincount(column, minlength=q) for column in codes.T])
        features = cls(counts.argmax(axis=1).astype(np.uint8), q, np.empty(0, dtype=np.int64))
        mutated = (codes != features.reference).sum(axis=1)
        if (mutated * (mutated - 1) // 2).sum() > PAIR_ENTRIES:
            return features
        return cls(features.reference, q, np.unique(features._pairs(codes)[1]))

    def _singles(self, codes: Codes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Return the row and the number of each mutation."""
        rows, positions = np.nonzero(codes != self.reference)
        return rows, positions * self.q + codes[rows, positions].astype(np.int64)

    def _pairs(self, codes: Codes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Return the row and the number of each pair of mutations."""
        rows, numbers = self._singles(codes)
        ends = np.searchsorted(rows, rows, side="right")
        # Each mutation with each later one of the same sequence.
        later = ends - np.arange(len(rows)) - 1
        first = np.repeat(np.arange(len(rows)), later)
        starts = np.cumsum(later) - later
        second = np.arange(len(first)) - np.repeat(starts, later) + first + 1
        return rows[first], numbers[first] * (len(self.reference) * self.q) + numbers[second]

    def blocks(self, codes: Codes) -> list[Any]:
        """Return sparse matrices of the constant, the number of mutations, positions, symbols, and pairs."""
        sparse = optional("scipy.sparse", "trees", "global epistasis")
        count, n = codes.shape
        rows, numbers = self._singles(codes)

        def matrix(rows: npt.NDArray[np.intp], columns: npt.NDArray[Any], width: int) -> Any:
            return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, width))

        pair_rows, pairs = np.empty(0, dtype=np.intp), np.empty(0, dtype=np.int64)
        if len(self.pairs):
            pair_rows, pairs = self._pairs(codes)
            columns = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
            known = self.pairs[columns] == pairs
            pair_rows, pairs = pair_rows[known], columns[known]
        return [
            sparse.csr_matrix(np.ones((count, 1))),
            sparse.csr_matrix(np.bincount(rows, minlength=count)[:, None].astype(np.float64)),
            matrix(rows, numbers // self.q, n),
            matrix(rows, numbers, n * self.q),
            matrix(pair_rows, pairs, len(self.pairs)),
        ]

    def groups(self) -> npt.NDArray[np.int64]:
        """Return the group of each feature: features of one kind at the same positions."""
        n, q = len(self.reference), self.q
        first, second = self.pairs // (n * q) // q, self.pairs % (n * q) // q
        keys = [
            np.array([0, 1]),
            2 + np.arange(n),
            2 + n + np.arange(n * q) // q,
            2 + 2 * n + first * n + second,
        ]
        groups: npt.NDArray[np.int64] = np.unique(np.concatenate(keys), return_inverse=True)[1]
        return groups

    def closed_form(self, space: SequenceSpace, coefficients: Values) -> _core.Sketch:
        """Return the sum of all features with coefficients, as a sum of letter patterns."""
        n, q = len(self.reference), self.q
        count, of_positions, of_symbols, of_pairs = np.split(
            coefficients[1:], np.cumsum([1, n, n * q]).tolist()
        )
        singles = of_symbols.reshape(n, q) + of_positions[:, None] + count[0]
        singles[np.arange(n), self.reference] = 0.0
        position, symbol = np.nonzero(singles)
        numbers = np.stack([self.pairs // (n * q), self.pairs % (n * q)], axis=1)
        kept = of_pairs != 0.0
        supports = [position, (numbers[kept] // q).reshape(-1)]
        symbols = [symbol, (numbers[kept] % q).reshape(-1)]
        orders = np.repeat([1, 2], [len(position), int(kept.sum())])
        return _core.letter_terms(
            space._core,
            float(coefficients[0]),
            orders.astype(np.uint16),
            np.concatenate(supports).astype(np.uint16),
            np.concatenate(symbols).astype(np.uint16),
            np.concatenate([singles[position, symbol], of_pairs[kept]]),
        )


class Ridge:
    """Ridge regressions on the features of some sequences.

    Parameters
    ----------
    blocks : list of sparse matrices
        Blocks of features that share a prior variance.
    groups : array of int
        Group of each feature; groups of a block can get other prior variances.
    weights : array (N,) or None
    """

    def __init__(self, blocks: list[Any], groups: npt.NDArray[np.int64], weights: Values | None) -> None:
        sparse = optional("scipy.sparse", "trees", "global epistasis")
        self._widths = [block.shape[1] for block in blocks]
        self._groups, self._sizes = groups, np.bincount(groups)
        self._roots = np.ones(blocks[0].shape[0]) if weights is None else np.sqrt(weights / weights.mean())
        self._matrix = sparse.hstack(blocks).tocsr()
        self._scaled = (sparse.diags(self._roots) @ self._matrix).tocsr()
        self._transposed = self._scaled.T.tocsr()
        self._dual = np.zeros(len(self._roots))

    def fit(self, values: Values, variances: Values, reweighted: int) -> Values:
        """Return the coefficients, given the prior variance of each block, which is reweighted some times."""
        base = np.repeat(variances, self._widths)
        coefficients = self._solve(values, base)
        for _ in range(reweighted):
            coefficients = self._solve(values, base * self._factors(coefficients, base))
        return coefficients

    def _factors(self, coefficients: Values, base: Values) -> Values:
        """Return factors of prior variances: squared effects of a group, relative to those of its block."""
        effects = np.bincount(self._groups, coefficients**2 / base) / self._sizes
        factors = effects[self._groups]
        start = 0
        for width in self._widths:
            part = factors[start : start + width]
            mean = float(part.mean()) if width > 0 else 0.0
            part[:] = np.clip(part / mean, *FACTOR_BOUNDS) if mean > 0.0 else 1.0
            start += width
        # The constant and the number of mutations are groups of their own.
        factors[:2] = 1.0
        return factors

    def _solve(self, values: Values, prior: Values) -> Values:
        """Return the coefficients for the prior variance of each feature.

        They are ``c = V A^T d`` with ``(A V A^T + 1) d = y``; conjugate gradients start from the last
        solution.
        """
        linear = optional("scipy.sparse.linalg", "trees", "global epistasis")
        count = len(self._roots)

        def product(dual: Values) -> Values:
            return np.asarray(self._scaled @ (prior * (self._transposed @ dual)) + dual)

        operator = linear.LinearOperator((count, count), matvec=product, dtype=np.float64)
        target = self._roots * values
        self._dual, _ = linear.cg(operator, target, x0=self._dual, rtol=TOLERANCE, maxiter=ITERATIONS)
        return np.asarray(prior * (self._transposed @ self._dual))


class CrossValidated:
    """Ridge regressions that each leave out one fold of the sequences."""

    def __init__(self, data: Labelled, blocks: list[Any], groups: npt.NDArray[np.int64], seed: int) -> None:
        _, unit = np.unique(data.codes, axis=0, return_inverse=True)
        unit = unit.reshape(-1)
        order = np.random.default_rng([seed, 18]).permutation(int(unit.max()) + 1)
        fold = (order % FOLDS)[unit]
        self._weights = data.weights
        self._rows = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)]
        weights = [None if data.weights is None else data.weights[train] for train, _ in self._rows]
        self._ridges = [
            Ridge([block[train] for block in blocks], groups, weight)
            for (train, _), weight in zip(self._rows, weights, strict=True)
        ]
        sparse = optional("scipy.sparse", "trees", "global epistasis")
        whole = sparse.hstack(blocks).tocsr()
        self._held = [whole[held] for _, held in self._rows]

    def predictions(self, values: Values, variances: Values, reweighted: int = 0) -> Values:
        """Return predictions (N,) of each fold by the fit to the others."""
        out = np.empty(len(values))
        for (train, held), ridge, features in zip(self._rows, self._ridges, self._held, strict=True):
            out[held] = features @ ridge.fit(values[train], variances, reweighted)
        return out

    def _error(self, values: Values, predictions: Values) -> float:
        return float(np.average((values - predictions) ** 2, weights=self._weights))

    def reweighted(self, values: Values, variances: Values) -> int:
        """Return how often to reweight the prior variances, by the error of the predictions."""
        options = range(REWEIGHTED + 1)
        errors = [self._error(values, self.predictions(values, variances, count)) for count in options]
        return int(np.argmin(errors))

    def search(self, values: Values, variances: Values) -> Values:
        """Return prior variances with a small error of the predictions, one coordinate after the other."""

        def error(variances: Values) -> float:
            return self._error(values, self.predictions(values, variances))

        best = error(variances)
        for factor in FACTORS:
            # The first variance, of the constant, is fixed.
            for index in range(1, len(variances)):
                for step in (factor, 1.0 / factor):
                    while True:
                        trial = variances.copy()
                        trial[index] *= step
                        found = error(trial)
                        if not found < (1.0 - DECREASE) * best:
                            break
                        best, variances = found, trial
        return variances


def normal_scores(values: Values) -> Values:
    """Return the quantiles of the standard normal distribution at the ranks of values (N,)."""
    stats = optional("scipy.stats", "trees", "global epistasis")
    ranks = stats.rankdata(values)
    return np.asarray(stats.norm.ppf((ranks - 0.5) / len(values)))


@dataclass(frozen=True)
class Latent:
    """A closed form on a latent scale, fitted to some sequences.

    Attributes
    ----------
    sketch : _core.Sketch
    fitted, held_out : arrays (N,)
        Latent values of the sequences, by the closed form and by fits to other folds.
    """

    sketch: _core.Sketch
    fitted: Values
    held_out: Values

    @property
    def between(self) -> Values:
        """Latent values at which a curve is fitted."""
        return FITTED_WEIGHT * self.fitted + (1.0 - FITTED_WEIGHT) * self.held_out


class EpistasisLearner:
    """A closed form on a latent scale, and a monotone curve to the scale of the values.

    Parameters
    ----------
    space : SequenceSpace
    seed : int
    log : callable
    """

    name = "global epistasis"

    def __init__(self, space: SequenceSpace, *, seed: int, log: Log) -> None:
        self._space, self._seed, self._log = space, seed, log
        self._variances: Values = np.array([CONSTANT, *PRIORS])
        self.fitted: Model | None = None

    def seconds(self, codes: Codes) -> float:
        """Return the estimated time of the fit to sequences, codes (N, n)."""
        features = Mutations.of(codes, self._space.q)
        return ENTRY_SECONDS * float(sum(block.nnz for block in features.blocks(codes)))

    def fit(self, split: Split) -> Values:
        """Choose prior variances, and fit; return predictions of the held-out sequences."""
        self._log("global epistasis")
        model = self._trained(split.train)
        self.fitted = model
        return model.predict(split.held.codes)

    def fit_all(self, data: Labelled) -> _core.Monotone:
        """Return the model of all data; the search starts from the chosen prior variances."""
        self._log("global epistasis, with all queries")
        return self._trained(data)

    def _trained(self, data: Labelled) -> _core.Monotone:
        latent = self.latent(data)
        curve = Curve.fit(latent.between, data.values, data.weights)
        return _core.Monotone(latent.sketch, *curve.points(latent.between))

    def latent(self, data: Labelled, *, transform: bool = True) -> Latent:
        """Return a latent scale of data; without `transform`, the scale of the values."""
        features = Mutations.of(data.codes, self._space.q)
        blocks, groups = features.blocks(data.codes), features.groups()
        folds = CrossValidated(data, blocks, groups, self._seed)
        scores = latent = normal_scores(data.values) if transform else _standard(data.values)
        reweighted = 0
        for _ in range(ROUNDS if transform else 1):
            self._variances = folds.search(latent, self._variances)
            reweighted = folds.reweighted(latent, self._variances)
            if not transform:
                break
            predictions = folds.predictions(latent, self._variances, reweighted)
            transformed = Curve.fit(scores, predictions, data.weights)(scores)
            if float(transformed.std()) == 0.0:
                break
            latent = _standard(transformed)
        coefficients = Ridge(blocks, groups, data.weights).fit(latent, self._variances, reweighted)
        fitted = sum(block @ part for block, part in zip(blocks, _split(coefficients, blocks), strict=True))
        held_out = folds.predictions(latent, self._variances, reweighted)
        return Latent(features.closed_form(self._space, coefficients), np.asarray(fitted), held_out)


def _standard(values: Values) -> Values:
    """Return values (N,) with mean 0 and variance 1."""
    return np.asarray((values - values.mean()) / (float(values.std()) or 1.0))


def _split(coefficients: Values, blocks: list[Any]) -> list[Values]:
    """Return the coefficients of each block."""
    return np.split(coefficients, np.cumsum([block.shape[1] for block in blocks])[:-1].tolist())
