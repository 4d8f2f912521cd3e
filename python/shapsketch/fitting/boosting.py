"""Boosted trees on the queries, as a sketch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import choice, integer, optional
from shapsketch.errors import InputError
from shapsketch.fitting.regression import labelled
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, space_of
from shapsketch.surrogate.sketch import Sketch
from shapsketch.trees.convert import Forest, Layout, _lightgbm_tree

FEATURES = ("auto", "onehot", "kmers", "letters")
# Words of one window that k-mer features may have, and the longest windows.
WORDS = 64
LONGEST = 6
LEAVES = (31, 8, 127)
RATE = 0.05
MOST_ROUNDS = 1500
PATIENCE = 50
# More values want more rounds, up to so many times those chosen on fewer.
FURTHER = 1.5
# Values times leaves below which one thread is enough.
FEW = 200_000
# Fewest values of a leaf.
LEAST = 10
# Share of the values that choose, and bounds of their number.
HELD = 0.2
HELD_BOUNDS = (50, 4000)
# Part of the error of a fit to four fifths of the values that the others may take off it.
REST = 0.1
DROPPED = 1e-3
FEWEST = 300


@dataclass(frozen=True)
class Places:
    """Features with a place, and the condition behind each.

    ``onehot``: letters; ``kmers``: words in all windows of up to `longest` letters; ``letters``: codes,
    of which a split sends a set left.
    """

    space: SequenceSpace
    kind: str

    @property
    def longest(self) -> int:
        """Letters of the longest window."""
        q, n = self.space.q, self.space.n
        fits = [k for k in range(1, min(LONGEST, n) + 1) if q**k <= WORDS]
        return 1 if self.kind == "onehot" or not fits else fits[-1]

    @property
    def categorical(self) -> bool:
        """Whether a split may take a set of letters."""
        return self.kind == "letters"

    @property
    def categories(self) -> int:
        """How many of the features, the first ones, are categories."""
        return self.space.n if self.categorical else 0

    def matrix(self, codes: Codes) -> Any:
        """Return the features of codes, sparse where they are indicators."""
        if self.categorical:
            return codes.astype(np.float64)
        q, columns, offset = self.space.q, [], 0
        for k in range(1, self.longest + 1):
            words = windows(codes, q, k)
            columns.append(words + offset + np.arange(words.shape[1]) * q**k)
            offset += words.shape[1] * q**k
        sparse = optional("scipy.sparse", "trees", "fitting trees")
        indices = np.concatenate(columns, axis=1).astype(np.int32)
        rows, width = indices.shape
        pointers = np.arange(0, rows * width + 1, width)
        data = np.ones(rows * width, dtype=np.float32)
        return sparse.csr_matrix((data, indices.ravel(), pointers), shape=(rows, offset))

    def conditions(self) -> Iterator[tuple[tuple[int, int], ...]]:
        """Yield the places and letters behind each indicator."""
        q, n = self.space.q, self.space.n
        for k in range(1, self.longest + 1):
            for start in range(n - k + 1):
                for word in range(q**k):
                    letters = [word // q ** (k - 1 - i) % q for i in range(k)]
                    yield tuple((start + i, 1 << letter) for i, letter in enumerate(letters))

    def ensemble(self, boosted: Boosted) -> _core.Ensemble:
        """Return fitted trees as an ensemble of conditions."""
        forest = Forest(self.space)
        listed = [
            _lightgbm_tree(info["tree_structure"])
            for info in boosted.booster.dump_model(num_iteration=boosted.rounds)["tree_info"]
        ]
        if self.categorical:
            layout = Layout(self.space, self.space.n, "LightGBM")
            for tree in listed:
                forest.grow(layout, tree)
        else:
            known = list(self.conditions())
            for tree in listed:
                for node, (left, right) in enumerate(zip(tree.left, tree.right, strict=True)):
                    if left < 0:
                        forest.leaf(tree.value[node])
                    else:
                        # An indicator is 1 on the right.
                        forest.join(forest.split(forest.condition(*known[tree.feature[node]])), right, left)
                forest.end()
        return forest.ensemble(boosted.centre)


def windows(codes: Codes, q: int, k: int) -> npt.NDArray[np.int64]:
    """Return the number of the word in each window of k letters, (B, n - k + 1)."""
    weights = q ** np.arange(k - 1, -1, -1)
    found: npt.NDArray[np.int64] = (
        np.lib.stride_tricks.sliding_window_view(codes.astype(np.int64), k, axis=1) @ weights
    )
    return found


@dataclass(frozen=True)
class Boosted:
    """A booster, how many rounds of it count, and how many count once it is fitted to all values."""

    booster: Any
    rounds: int
    leaves: int
    error: float
    again: int
    # What is added to the trees: they are fitted in single precision, which a large mean would use up.
    centre: float

    def predict(self, matrix: Any) -> Values:
        """Return predictions of features."""
        found: Values = self.booster.predict(matrix, num_iteration=self.rounds) + self.centre
        return found


def boost(
    matrix: Any,
    values: Values,
    *,
    leaves: int,
    seed: int,
    categories: int = 0,
    held: tuple[Any, Values] | None = None,
    rounds: int | None = None,
    rate: float = RATE,
) -> Boosted:
    """Boost trees for so many rounds, or as many as predict held-out features and values best.

    With both, the rounds that would predict these best are ``again``. The first `categories` features are
    categories.
    """
    lightgbm = optional("lightgbm", "trees", "fitting trees")
    parameters = {
        "objective": "regression",
        "num_leaves": leaves,
        "learning_rate": rate,
        "min_data_in_leaf": max(2, min(LEAST, len(values) // 50)),
        "max_bin": 63,
        "cat_smooth": 10.0,
        "cat_l2": 10.0,
        "max_cat_to_onehot": 2,
        "max_cat_threshold": 32,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_col_wise": True,
        "seed": seed % 2**31,
        # Threads that wait for each other cost more than they bring on little data; the result is the same.
        "num_threads": 1 if len(values) * leaves < FEW else 0,
        "verbosity": -1,
    }
    names: Any = list(range(categories)) if categories else "auto"
    centre = float(np.mean(values))

    def dataset(features: Any, targets: Values, reference: Any = None) -> Any:
        return lightgbm.Dataset(
            features,
            targets - centre,
            reference=reference,
            params=parameters,
            categorical_feature=names,
            free_raw_data=True,
        )

    train = dataset(matrix, values)
    if held is None:
        assert rounds is not None
        booster = lightgbm.train(parameters, train, num_boost_round=rounds)
        return Boosted(booster, rounds, leaves, float("nan"), rounds, centre)
    errors: dict[str, Any] = {}
    callbacks = [lightgbm.record_evaluation(errors)]
    if rounds is None:
        callbacks.append(lightgbm.early_stopping(PATIENCE, verbose=False))
    booster = lightgbm.train(
        parameters,
        train,
        num_boost_round=MOST_ROUNDS if rounds is None else int(FURTHER * rounds) + PATIENCE,
        valid_sets=[dataset(*held, reference=train)],
        callbacks=callbacks,
    )
    curve = errors["valid_0"]["l2"]
    best = int(np.argmin(curve)) + 1
    return Boosted(booster, rounds or best, leaves, float(curve[best - 1]), best, centre)


@dataclass(frozen=True)
class Split:
    """Values that fit, and values that are held out."""

    codes: Codes
    values: Values
    held_codes: Codes
    held_values: Values

    @classmethod
    def of(cls, codes: Codes, values: Values, seed: int, stream: int = 1) -> Split:
        """Hold out a random fifth; copies of one sequence stay together."""
        _, unit = np.unique(codes, axis=0, return_inverse=True)
        unit = unit.reshape(-1)
        count = int(unit.max()) + 1
        held = min(int(np.clip(round(HELD * count), *HELD_BOUNDS)), count // 2)
        chosen = np.zeros(count, dtype=bool)
        chosen[np.random.default_rng([seed, stream]).permutation(count)[:held]] = True
        out = chosen[unit]
        return cls(codes[~out], values[~out], codes[out], values[out])

    def inner(self, seed: int) -> Split:
        """Hold out a fifth of the values that fit, to choose by: the R² of others is then honest."""
        return Split.of(self.codes, self.values, seed, stream=4)


def r2_of(values: Values, predictions: Values) -> float:
    """Return R² of predictions."""
    spread = float(((values - values.mean()) ** 2).sum())
    return 1.0 - float(((values - predictions) ** 2).sum()) / spread if spread > 0 else 0.0


def scores(sketch: _core.Sketch, codes: Codes) -> Values:
    """Return what a sketch predicts for codes."""
    return _core.Components(sketch).predict(codes)


def without(predictions: Values, whole: _core.Sketch, short: _core.Sketch, codes: Codes) -> Values:
    """Return predictions of a fit to other values, less what a sketch of all values lost to fewer terms."""
    return predictions + scores(short, codes) - scores(whole, codes)


def kinds(space: SequenceSpace) -> list[str]:
    """Return the kinds of features worth trying, the likeliest first."""
    if Places(space, "kmers").longest > 1:
        return ["kmers", "onehot"]
    return ["letters", "onehot"]


@dataclass(frozen=True)
class Choice:
    """The features and the size of trees that were chosen, and these trees."""

    places: Places
    boosted: Boosted

    def refit(self, codes: Codes, values: Values, seed: int) -> Boosted:
        """Fit the same to other values."""
        return boost(
            self.places.matrix(codes),
            values,
            leaves=self.boosted.leaves,
            seed=seed,
            categories=self.places.categories,
            rounds=self.boosted.again,
        )

    def sketch(self, boosted: Boosted, dropped: float, max_terms: int | None) -> tuple[_core.Sketch, float]:
        """Return a booster as a sketch, and the part of its variance that this has."""
        ensemble = self.places.ensemble(boosted)
        return ensemble.truncated(dropped, max_terms)


def choose(
    split: Split,
    space: SequenceSpace,
    *,
    features: str,
    leaves: tuple[int, ...],
    seed: int,
    tell: Callable[[str], None],
) -> Choice:
    """Choose features, then the size of the trees, on a fifth of the values that fit; fit all of these."""
    inner = split.inner(seed)
    best: Choice | None = None

    def fitted(part: Split, places: Places, size: int, rounds: int | None = None) -> Choice:
        boosted = boost(
            places.matrix(part.codes),
            part.values,
            leaves=size,
            seed=seed,
            categories=places.categories,
            held=(places.matrix(part.held_codes), part.held_values),
            rounds=rounds,
        )
        return Choice(places, boosted)

    def attempt(kind: str, size: int) -> None:
        nonlocal best
        tell(f"trees of {size} leaves on {kind}")
        found = fitted(inner, Places(space, kind), size)
        if best is None or found.boosted.error < best.boosted.error:
            best = found

    for kind in kinds(space) if features == "auto" else [features]:
        attempt(kind, leaves[0])
    assert best is not None
    for size in leaves[1:]:
        attempt(best.places.kind, size)
    tell("the chosen trees")
    return fitted(split, best.places, best.boosted.leaves, best.boosted.rounds)


class TreeSketch:
    """Boosted trees (LightGBM) on letters and motifs at their places, as a sum of terms.

    A fifth of the sequences and their values is held out to report R², a fifth of the others to choose
    features and sizes; then the trees are fitted to all, and converted: into the functional ANOVA
    components that carry all but a small part of their variance.

    Parameters
    ----------
    space : SequenceSpace
    features : {"auto", "onehot", "kmers", "letters"}
        What a split may ask for: a letter at a place; also a word (k-mer) at a place; or whether the
        letter at a place is in a set.
    leaves : int or "auto"
        Leaves of each tree.
    dropped : float
        Part of the variance that may be left out for the sake of fewer terms, from 0 to below 1.
    max_terms : int, optional
        Terms that the sketch may have.
    random_state : int

    Attributes
    ----------
    sketch_ : Sketch
        With R² on held-out values, measured after truncation.
    share_ : float
        Part of the trees' variance that the sketch has; the rest was dropped.
    features_, leaves_, rounds_ : str, int, int
        What was chosen.

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

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Return the parameters, as scikit-learn's clone wants them."""
        names = ("space", "features", "leaves", "dropped", "max_terms", "random_state")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> TreeSketch:
        """Set parameters and return self."""
        known = self.get_params()
        for name, value in params.items():
            choice("parameter", name, tuple(known))
            setattr(self, name, value)
        return self

    def fit(self, X: Sequences, y: npt.ArrayLike) -> TreeSketch:
        """Fit and return self.

        Parameters
        ----------
        X : sequences (strings, or codes (N, n))
        y : array of float, shape (N,)

        Raises
        ------
        InputError
            If a parameter or a value is not what it must be, or there are fewer than 300 distinct
            sequences.
        MissingExtraError
            If LightGBM is not installed.
        """
        space_of(self.space)
        features = choice("features", self.features, FEATURES)
        leaves = LEAVES if self.leaves == "auto" else (integer("leaves", self.leaves, least=2),)
        if not 0.0 <= float(self.dropped) < 1.0:
            raise InputError(f"dropped must be from 0 to below 1, got {self.dropped}")
        terms = None if self.max_terms is None else integer("max_terms", self.max_terms, least=1)
        seed = integer("random_state", self.random_state, least=0)
        codes, values = labelled(X, y, self.space)
        enough(codes)
        started = time.perf_counter()
        split = Split.of(codes, values, seed)
        chosen = choose(split, self.space, features=features, leaves=leaves, seed=seed, tell=lambda _: None)
        tested, _ = chosen.sketch(chosen.boosted, self.dropped, None)
        predictions = scores(tested, split.held_codes)
        refitted = chosen.refit(codes, values, seed)
        final, self.share_ = chosen.sketch(refitted, self.dropped, terms)
        if terms is not None:
            whole, _ = chosen.sketch(refitted, self.dropped, None)
            predictions = without(predictions, whole, final, split.held_codes)
        seconds = time.perf_counter() - started
        core = final.made_by(
            method="trees",
            status="validated",
            budget=len(values),
            queries=len(values),
            seed=seed,
            codes=split.held_codes,
            values=split.held_values,
            predictions=predictions,
            share=0.0,
            rest=REST,
            candidates=[("trees", r2_of(split.held_values, predictions), seconds, 1.0)],
            teacher=None,
        )
        self.sketch_ = Sketch._wrap(core)
        self.features_ = chosen.places.kind
        self.leaves_, self.rounds_ = chosen.boosted.leaves, chosen.boosted.again
        return self

    def predict(self, X: Sequences) -> Values:
        """Return predicted values (N,) of sequences."""
        return self.sketch_.predict(X)

    def score(self, X: Sequences, y: npt.ArrayLike) -> float:
        """Return R² on sequences and their values."""
        codes, values = labelled(X, y, self.sketch_.space)
        return r2_of(values, self.predict(codes))


def enough(codes: Codes) -> None:
    """Refuse so few sequences that trees cannot be validated."""
    distinct = len(np.unique(codes, axis=0))
    if distinct < FEWEST:
        raise InputError(f"trees need {FEWEST} distinct sequences to be fitted and validated, got {distinct}")
