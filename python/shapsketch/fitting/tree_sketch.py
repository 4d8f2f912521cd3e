"""The estimator of boosted trees in closed form."""

from __future__ import annotations

import time
from typing import Literal

import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import choice, integer, number
from shapsketch.errors import InputError
from shapsketch.fitting.boosting import (
    DROPPED,
    FEATURES,
    LEAVES,
    REFIT_GAIN,
    choose_trees,
    closed_form,
    positional_candidates,
)
from shapsketch.fitting.estimator import Regressor
from shapsketch.fitting.holdout import (
    Split,
    check_enough,
    labelled,
    predict,
    predictions_after_truncation,
)
from shapsketch.query.distribution import measured
from shapsketch.space import Sequences, SequenceSpace, Values, space_of
from shapsketch.surrogate.sketch import Sketch


class TreeSketch(Regressor):
    """Boosted trees (LightGBM) on symbols and patterns at positions, as a sum of terms.

    A fifth of the sequences is held out to report R², and a fifth of the others to choose features and
    sizes. Then the trees are fitted to all values and converted into their functional ANOVA components, which
    keep all but a small fraction of their variance.

    Parameters
    ----------
    space : SequenceSpace
    features : {"auto", "onehot", "kmers", "letters"}
        What a split can test: ``onehot``: one symbol at a position; ``kmers``: also a k-mer at a position;
        ``letters``: whether the symbol at a position belongs to a set.
    leaves : int or "auto"
        Leaves of each tree, at least 2.
    dropped : float
        Fraction of the variance that may be dropped to have fewer terms, from 0 to below 1.
    max_terms : int, optional
        Largest number of terms of the sketch.
    random_state : int

    Attributes
    ----------
    sketch_ : Sketch
        With R² on held-out values, measured after truncation.
    share_ : float
        Fraction of the trees' variance that the sketch keeps.
    features_, leaves_, rounds_ : str, int, int
        The chosen features, leaves and boosting rounds.

    Examples
    --------
    >>> import numpy as np, shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=8)
    >>> X = np.random.default_rng(0).integers(0, 4, (2_000, 8))
    >>> y = 1.0 * (X[:, 0] == 2) + 3.0 * ((X[:, 4] == 1) & (X[:, 5] == 3))
    >>> trees = ss.TreeSketch(space).fit(X, y)
    >>> trees.features_, bool(trees.sketch_.r2 > 0.98), bool(trees.share_ > 0.99)
    ('kmers', True, True)
    """

    sketch_: Sketch
    share_: float
    features_: str
    leaves_: int
    rounds_: int

    def __init__(
        self,
        space: SequenceSpace,
        *,
        features: Literal["auto", "onehot", "kmers", "letters"] = "auto",
        leaves: int | Literal["auto"] = "auto",
        dropped: float = DROPPED,
        max_terms: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.space = space
        self.features = features
        self.leaves = leaves
        self.dropped = dropped
        self.max_terms = max_terms
        self.random_state = random_state

    def fit(self, X: Sequences, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> TreeSketch:
        """Fit and return self.

        Parameters
        ----------
        X : sequences (strings, or codes (N, n))
        y : array of float, shape (N,)
        sample_weight : array of float, shape (N,), optional
            Weights of the squared errors, above 0.

        Raises
        ------
        InputError
            If a parameter or a value is wrong, or there are fewer than 300 distinct sequences.
        MissingExtraError
            If LightGBM is not installed.
        """
        space_of(self.space)
        features = choice("features", self.features, FEATURES)
        if isinstance(self.leaves, str):
            if self.leaves != "auto":
                raise InputError(f"leaves must be 'auto' or an integer of at least 2, got {self.leaves!r}")
            leaves: tuple[int, ...] = LEAVES
        else:
            leaves = (integer("leaves", self.leaves, least=2),)
        dropped = number("dropped", self.dropped)
        if not 0.0 <= dropped < 1.0:
            raise InputError(f"dropped must be at least 0 and below 1, got {dropped}")
        terms = None if self.max_terms is None else integer("max_terms", self.max_terms, least=1)
        seed = integer("random_state", self.random_state, least=0)
        data = labelled(X, y, self.space, sample_weight)
        check_enough(data)
        started = time.perf_counter()
        split = Split.of(data, seed)
        trees = choose_trees(
            split,
            positional_candidates(self.space, features),
            leaves=leaves,
            seed=seed,
            what="trees",
            log=lambda _: None,
        )
        predictions = predict(closed_form(trees, dropped, None)[0], split.held.codes)
        refitted = trees.refit(data, seed)
        final, self.share_ = closed_form(refitted, dropped, terms)
        if terms is not None:
            full, _ = closed_form(refitted, dropped, None)
            predictions = predictions_after_truncation(predictions, full, final, split.held.codes)
        seconds = time.perf_counter() - started
        r2 = split.held.r_squared(predictions)
        fit = _core.Fit(
            codes=split.held.codes,
            values=split.held.values,
            predictions=predictions,
            weights=split.held.weights,
            dependent=_core.dependent_positions(self.space._core, data.codes),
            method="trees",
            outcome="validated",
            budget=data.n_sequences,
            n_queries=data.n_sequences,
            seed=seed,
            refit_gain=REFIT_GAIN,
            farthest=data.farthest_share(),
            candidates=[_core.Candidate("trees", r2, seconds, 1.0)],
        )
        core = _core.Sketch.from_fit(final, fit).with_distribution(measured(self.space, data.codes))
        self.sketch_ = Sketch._wrap(core, start=self.space.start)
        self.features_ = trees.features.kind
        self.leaves_, self.rounds_ = trees.boosted.leaves, trees.boosted.refit_rounds
        return self

    def predict(self, X: Sequences) -> Values:
        """Return predicted values (N,) of sequences.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        self._check_fitted()
        return self.sketch_.predict(X)

    def score(self, X: Sequences, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return R² on sequences and their values; NaN if the values do not differ.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        self._check_fitted()
        data = labelled(X, y, self.sketch_.space, sample_weight)
        return data.r_squared(self.predict(data.codes))
