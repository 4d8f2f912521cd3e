"""Faithfulness: how well explanations of some sequences agree with the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import check_memory, integer, mapping, real_array
from shapsketch.errors import BudgetError, InputError
from shapsketch.evaluate.evaluator import Evaluator, Parts, Session
from shapsketch.evaluate.progress import Progress
from shapsketch.explain.control_variate import MIN_CALLS, Sampled, sample
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.mutants import Scores
from shapsketch.explain.table import Record, Table
from shapsketch.fitting.holdout import r_squared
from shapsketch.models._protocol import Model
from shapsketch.query.background import Background
from shapsketch.space import Codes, Sequences, SequenceSpace, Values

# Returns the scores (B,) of the model for codes (B, n), on the scale of the sketch.
ScoresOf: TypeAlias = Callable[[Codes], Values]

# Fractions of the calls that go to Shapley values and to mutations; the rest goes to curves.
SHAPLEY_FRACTION, MUTATION_FRACTION = 0.4, 0.25
CURVE_FRACTION = 1.0 - SHAPLEY_FRACTION - MUTATION_FRACTION
# Largest number of steps from a sequence to the background in a curve.
MAX_STEPS = 8
# Smallest number of mutants of a sequence.
MIN_MUTANTS = 8
# Number of bootstrap samples of sequences behind the standard error of a root mean squared error.
BOOTSTRAP_SAMPLES = 200
# Predicted memory for each symbol of each evaluated sequence, in bytes.
BUDGET_BYTES = 8
# Row of the table that compares the sketch's own prediction of each substitution.
MUTATION_EFFECTS = "sketch (mutation effects)"


@dataclass(frozen=True)
class Agreement:
    """A measure and its standard error over sequences.

    Attributes
    ----------
    value : float
        NaN if it is not defined, such as a correlation with constant values.
    error : float
        NaN for fewer than two sequences.
    """

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Faithfulness(Table):
    """The result of :func:`faithfulness`; ``print`` it for a table.

    Attributes
    ----------
    n_calls : int
        Number of model evaluations; each distinct sequence counts once. The evaluations that check whether a
        store belongs to the model are not counted.
    background : str
        The distribution from which missing positions are drawn, in words.
    r2, rmse : float
        R² and root mean squared error of the predicted scores on these sequences. R² is NaN if all scores
        are equal.
    shapley_correlation : dict of str to Agreement
        For each attribution: mean over sequences of its correlation with sampled Shapley values of the model.
        Sampling noise lowers it.
    shapley_rmse : dict of str to Agreement
        Root mean squared error relative to the sampled values, corrected for sampling noise.
    shapley_noise : float
        Root mean squared standard error of the sampled values.
    mutation_correlation : dict of str to Agreement
        Mean over sequences of the rank correlation between the attribution of a position and the decrease of
        the model's score by a random substitution there (Ozbulak et al. 2022, arXiv 2212.06151).
        ``"sketch (mutation effects)"`` is the sketch's prediction of each substitution.
    deletion, insertion : dict of str to numpy.ndarray (points,)
        Mean score after the positions of highest attribution were replaced by the background (deletion), or
        after all other positions were (insertion); ``"random"`` takes positions in random order. If an
        attribution shows what raises the score, its deletion curve falls fast and its insertion curve rises
        fast.
    fractions : numpy.ndarray (points,)
        Fraction of the positions that are replaced (deletion) or kept (insertion).
    """

    n_calls: int
    background: str
    r2: float
    rmse: float
    shapley_correlation: dict[str, Agreement]
    shapley_rmse: dict[str, Agreement]
    shapley_noise: float
    mutation_correlation: dict[str, Agreement]
    deletion: dict[str, Values]
    insertion: dict[str, Values]
    fractions: Values

    def records(self) -> list[Record]:
        """Return one row for each attribution, with the areas under its curves."""

        def area(curve: Values) -> float:
            return float(((curve[1:] + curve[:-1]) / 2.0 * np.diff(self.fractions)).sum())

        rows = []
        for name in dict.fromkeys([*self.deletion, *self.mutation_correlation]):
            row: Record = {"attribution": name}
            for column, measure in [
                ("SV correlation", self.shapley_correlation),
                ("SV RMSE", self.shapley_rmse),
                ("mutation rank correlation", self.mutation_correlation),
            ]:
                row[column] = measure[name].value if name in measure else float("nan")
                row[f"{column} ±"] = measure[name].error if name in measure else float("nan")
            for column, curves in [("deletion area", self.deletion), ("insertion area", self.insertion)]:
                row[column] = area(curves[name]) if name in curves else float("nan")
            rows.append(row)
        return rows


def faithfulness(
    model: Model | Evaluator,
    explainer: Explainer,
    sequences: Sequences,
    *,
    budget: int,
    attributions: Mapping[str, npt.ArrayLike] | None = None,
    random_state: int = 0,
    progress: Progress = True,
) -> Faithfulness:
    """Check explanations of your sequences against the model, with at most `budget` evaluations.

    The R² of a sketch is about random sequences. This function is about the sequences that you pass: does the
    sketch predict their scores, do its Shapley values agree with sampled values of the model, and do
    attributions show which mutations matter?

    Parameters
    ----------
    model : callable or Evaluator
        The model, on its own scale. Pass an :class:`Evaluator` to choose inputs, batches, executor, retries
        and store. If the same evaluator made the sketch, no sequence is evaluated twice.
    explainer : Explainer
        Sampled values and curves use its background.
    sequences : iterable of str, or integer array (B, n)
    budget : int
        Largest number of model evaluations.
    attributions : mapping of str to array (B, n), optional
        Other attributions of the same sequences, such as gradients, for comparison.
    random_state : int
    progress : bool or callable
        As for :func:`sketch`.

    Returns
    -------
    Faithfulness

    Raises
    ------
    BudgetError
        If the budget is too small; the message says how much is needed.
    InputError
        If an attribution has another shape or contains a number that is not finite, the budget needs more
        memory than the machine can give, or the store belongs to another model.
    ModelError
        If the model fails, or does not return the requested values.
    FileError
        If the store cannot be used.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [s.count("G") + 2.0 * (s[2:4] == "AU") for s in sequences]
    >>> sketch = ss.sketch(model, ss.SequenceSpace(ss.RNA, length=9), budget=2_000, progress=False)
    >>> checked = ss.faithfulness(model, ss.Explainer(sketch), ["GGAUCGUAC"], budget=500, progress=False)
    >>> round(checked.shapley_correlation["sketch"].value, 3)
    1.0
    """
    evaluator = Evaluator.of(model, remember=True).single_output()
    if not isinstance(explainer, Explainer):
        raise InputError(f"explainer must be an Explainer, got {type(explainer).__name__}")
    budget = integer("budget", budget, least=1)
    seed = integer("random_state", random_state, least=0)
    link = explainer._routes.link
    link.check_functions()
    codes = explainer._space.encode(sequences)
    check_memory(
        f"a check with a budget of {budget:,}",
        budget * BUDGET_BYTES * explainer._space.n,
        "use a smaller budget",
    )
    compared = {"sketch": explainer(codes).values, **_checked(attributions, codes.shape, explainer.start)}
    calls = _divide(budget, codes.shape, len(compared), explainer)
    with evaluator.open(explainer._space, link=link, progress=progress) as session:
        return _measure(session, explainer, codes, compared, calls, seed)


def _checked(
    attributions: Mapping[str, npt.ArrayLike] | None, shape: tuple[int, ...], start: int
) -> dict[str, Values]:
    """Return attributions as arrays of float64 of this shape."""
    arrays = {}
    named = {} if attributions is None else mapping("attributions", attributions, "names to arrays")
    for name, values in named.items():
        array = real_array(f"attributions {name!r}", values).astype(np.float64)
        if array.shape != shape:
            raise InputError(f"attributions {name!r} must have shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            b, i = (int(k) for k in np.argwhere(~np.isfinite(array))[0])
            raise InputError(
                f"attributions {name!r}: {array[b, i]} for sequence {b} at position {i + start}; "
                "attributions must be finite"
            )
        if name in ("sketch", "random", MUTATION_EFFECTS):
            raise InputError(f"attributions cannot have the name {name!r}, which is reserved; rename it")
        arrays[name] = array
    return arrays


@dataclass(frozen=True)
class _Calls:
    """How many model evaluations each sequence receives, besides one for its score."""

    # For sampled Shapley values.
    shapley: int
    # For mutants with one substitution.
    mutants: int
    # Background sequences, each of which fills the replaced positions at every point of every curve.
    fillings: int


def _divide(budget: int, shape: tuple[int, ...], n_compared: int, explainer: Explainer) -> _Calls:
    """Divide the budget; refuse one that is too small."""
    count, n = shape
    each = (budget - count) // count
    # There are a deletion and an insertion curve for each attribution and for the random order. All begin or
    # end with the sequence itself and with the background sequence, which are evaluated once.
    per_filling = 2 * (n_compared + 1) * (min(MAX_STEPS, n) - 1) + 1
    least = max(MIN_CALLS / SHAPLEY_FRACTION, MIN_MUTANTS / MUTATION_FRACTION, per_filling / CURVE_FRACTION)
    if each < least:
        needed = count * (1 + int(np.ceil(least)))
        raise BudgetError(
            f"a budget of {budget:,} is too small to check {count} sequences with {n_compared} attributions; "
            f"use at least {needed:,}, or check fewer sequences"
        )
    # All substitutions if the calls suffice; what is left over goes to Shapley values.
    mutants = min(int(MUTATION_FRACTION * each), int(explainer._space.allowed.sum()) - n)
    fillings = 1 if explainer._background.fixed else max(1, int(each * CURVE_FRACTION) // per_filling)
    return _Calls(each - mutants - fillings * per_filling, mutants, fillings)


def _measure(
    session: Session,
    explainer: Explainer,
    codes: Codes,
    compared: dict[str, Values],
    calls: _Calls,
    seed: int,
) -> Faithfulness:
    """Evaluate the model and compare the attributions, an array (B, n) for each name."""
    link, routes = explainer._routes.link, explainer._routes
    explained = routes.preferred

    def values_of(parts: Parts, count: int) -> Values:
        return link.to_link(session.values(parts, count, to_square=True)[:, 0], "model")

    def scores_of(rows: Codes) -> Values:
        """Return the scores of codes (B, n), each distinct sequence evaluated once."""
        distinct, indices = np.unique(rows, axis=0, return_inverse=True)
        return values_of(lambda: iter([distinct]), len(distinct))[indices.reshape(-1)]

    rng = np.random.default_rng([seed, 1])
    scores = scores_of(codes)
    controls = routes.controls(codes, calls=calls.shapley)
    sampled = sample(values_of, codes, explainer._background, controls, calls=calls.shapley, seed=(seed,))
    mutation_correlation = _mutations(
        scores_of, explained, explainer._space, codes, scores, compared, calls.mutants, rng
    )
    deletion, insertion, fractions = _curves(
        scores_of, explainer._background, codes, scores, compared, calls.fillings, rng
    )
    shapley_correlation, shapley_rmse = _shapley_values(compared, sampled, rng)
    predictions = explained.predict(codes)
    return Faithfulness(
        n_calls=session.n_evaluated,
        background=explainer.background,
        r2=r_squared(scores, predictions) if np.ptp(scores) > 0 else float("nan"),
        rmse=float(np.sqrt(((scores - predictions) ** 2).mean())),
        shapley_correlation=shapley_correlation,
        shapley_rmse=shapley_rmse,
        shapley_noise=float(np.sqrt((sampled.stderr**2).mean())),
        mutation_correlation=mutation_correlation,
        deletion=deletion,
        insertion=insertion,
        fractions=fractions,
    )


def _shapley_values(
    compared: dict[str, Values], sampled: Sampled, rng: np.random.Generator
) -> tuple[dict[str, Agreement], dict[str, Agreement]]:
    """Return correlations and errors of attributions, relative to sampled Shapley values of the model."""
    correlations = {name: _mean(_correlations(values, sampled.values)) for name, values in compared.items()}
    errors = {name: _rmse(values - sampled.values, sampled.stderr, rng) for name, values in compared.items()}
    return correlations, errors


def _mutations(
    scores_of: ScoresOf,
    explained: Scores,
    space: SequenceSpace,
    codes: Codes,
    scores: Values,
    compared: dict[str, Values],
    n_mutants: int,
    rng: np.random.Generator,
) -> dict[str, Agreement]:
    """Return rank correlations of attributions with the effects of random substitutions on the model."""
    count = len(codes)
    # The substitutions of a position replace its letter by the 1st, 2nd, ... one after it.
    sizes = space.allowed.sum(axis=1)
    substituted = np.repeat(np.arange(space.n), sizes - 1)
    steps = np.concatenate([np.arange(1, size) for size in sizes])
    chosen = np.stack([rng.permutation(len(steps))[:n_mutants] for _ in range(count)])
    positions = substituted[chosen]
    digits = np.repeat(space._digits(codes), n_mutants, axis=0)
    rows, columns = np.arange(len(digits)), positions.ravel()
    digits[rows, columns] = (digits[rows, columns] + steps[chosen].ravel()) % sizes[columns]
    mutants = space._of_digits(digits)
    effects = scores_of(mutants).reshape(count, n_mutants) - scores[:, None]
    predicted = explained.predict(mutants).reshape(count, n_mutants) - explained.predict(codes)[:, None]
    correlations = {}
    for name, values in compared.items():
        attributed = np.take_along_axis(values, positions, axis=1)
        correlations[name] = _mean(_correlations(_ranks(attributed), _ranks(-effects)))
    correlations[MUTATION_EFFECTS] = _mean(_correlations(_ranks(predicted), _ranks(effects)))
    return correlations


def _curves(
    scores_of: ScoresOf,
    background: Background,
    codes: Codes,
    scores: Values,
    compared: dict[str, Values],
    n_fillings: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Values], dict[str, Values], Values]:
    """Return deletion curves, insertion curves, and the fractions of positions at their points."""
    count, n = codes.shape
    orders = {name: np.argsort(-values, axis=1, kind="stable") for name, values in compared.items()}
    orders["random"] = np.argsort(rng.random((count, n)), axis=1)
    sizes = np.unique(np.round(np.linspace(0, n, min(MAX_STEPS, n) + 1)).astype(int))
    fillings = np.stack([background.draw(row, n_fillings, rng) for row in codes])
    replaced = fillings.reshape(-1, n)[: 1 if background.fixed else None]
    start, end = float(scores.mean()), float(scores_of(replaced).mean())
    deletion, insertion = {}, {}
    for name, order in orders.items():
        rank = np.argsort(order, axis=1)
        # (B, 1, points, n): the positions that come first in the order, for the points between the ends.
        first = (rank[:, None, :] < sizes[1:-1, None])[:, None]
        original, filling = codes[:, None, None, :], fillings[:, :, None, :]
        hybrids = np.concatenate(
            [np.where(first, filling, original), np.where(first, original, filling)], axis=2
        )
        means = np.empty(0)
        if hybrids.size:
            means = scores_of(hybrids.reshape(-1, n)).reshape(count * n_fillings, -1).mean(axis=0)
        steps = len(sizes) - 2
        deletion[name] = np.concatenate([[start], means[:steps], [end]])
        insertion[name] = np.concatenate([[end], means[steps:], [start]])
    return deletion, insertion, sizes / n


def _correlations(a: Values, b: Values) -> Values:
    """Return the correlation of each row of a with that of b, shape (B,); NaN if one of them is constant."""
    a, b = _scaled(a - a.mean(axis=1, keepdims=True)), _scaled(b - b.mean(axis=1, keepdims=True))
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    undefined = np.full(len(a), np.nan)
    correlations: Values = np.divide((a * b).sum(axis=1), size, out=undefined, where=size > 0)
    return correlations


def _scaled(rows: Values) -> Values:
    """Divide each row by its largest magnitude, so that squares neither overflow nor vanish."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled: Values = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    return scaled


def _ranks(values: Values) -> Values:
    """Return the rank of each number in its row; equal numbers have their mean rank."""
    ranks = np.empty(values.shape)
    for row, out in zip(values, ranks, strict=True):
        _, indices, counts = np.unique(row, return_inverse=True, return_counts=True)
        out[:] = (np.cumsum(counts) - (counts + 1) / 2.0)[indices.reshape(-1)]
    return ranks


def _mean(values: Values) -> Agreement:
    """Return the mean over sequences and its standard error; NaNs are left out."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Agreement(float("nan"), float("nan"))
    error = float(defined.std(ddof=1) / np.sqrt(len(defined))) if len(defined) > 1 else float("nan")
    return Agreement(float(defined.mean()), error)


def _rmse(errors: Values, noise: Values, rng: np.random.Generator) -> Agreement:
    """Return the root mean squared error without the noise, and its standard error by bootstrap.

    The bootstrap resamples sequences, the rows of `errors` (B, n) and of `noise`, their standard errors.
    """
    squares = (errors**2 - noise**2).mean(axis=1)
    rows = rng.integers(0, len(squares), (BOOTSTRAP_SAMPLES, len(squares)))
    samples = np.sqrt(np.maximum(squares[rows].mean(axis=1), 0.0))
    error = float(samples.std()) if len(squares) > 1 else float("nan")
    return Agreement(float(np.sqrt(max(float(squares.mean()), 0.0))), error)
