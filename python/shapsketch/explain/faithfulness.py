"""How far explanations can be trusted on given sequences, checked against the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch._validate import integer
from shapsketch.errors import BudgetError, InputError
from shapsketch.evaluate.batches import Progress
from shapsketch.evaluate.evaluator import Evaluator, Parts, Session
from shapsketch.explain.control_variate import LEAST
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.table import Record, Table
from shapsketch.models._protocol import Model
from shapsketch.space import Codes, Sequences, Values

# Parts of the calls that go to Shapley values, to mutations, and to curves.
SHAPLEY, MUTATIONS = 0.4, 0.25
# Points of a curve between nothing and all.
POINTS = 8
# Fewest mutations of a sequence.
FEWEST = 8
RESAMPLED = 200
MUTATED = "sketch (mutation effects)"


@dataclass(frozen=True)
class Agreement:
    """A measure, its standard error over sequences, and how it is called."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Faithfulness(Table):
    """What :func:`faithfulness` found; ``print`` it for a table.

    Attributes
    ----------
    n_calls : int
        Model evaluations spent; of the same sequence once, and without those that tell the model of a store.
    background : str
        What missing positions were drawn from.
    r2, rmse : float
        Of the surrogate's scores, on these sequences.
    shapley_correlation : dict of str to Agreement
        For each attribution: mean correlation over sequences with sampled Shapley values of the model. The
        noise of sampling lowers it.
    shapley_rmse : dict of str to Agreement
        Root mean squared error against them, less the noise of sampling.
    shapley_noise : float
        Root mean squared standard error of the sampled values.
    mutation_correlation : dict of str to Agreement
        Mean rank correlation over sequences between the attribution of a position and what the model's score
        loses with a random substitution there (Ozbulak et al. 2022, arXiv 2212.06151); ``"sketch (mutation
        effects)"`` is the sketch's own prediction of each substitution.
    deletion, insertion : dict of str to numpy.ndarray (points,)
        Mean score after the positions of highest attribution were replaced by the background, or all others
        were; ``"random"`` takes positions in random order. A faithful attribution of what raises the score
        falls fast, and rises fast.
    fractions : numpy.ndarray (points,)
        Part of the positions replaced, or kept.
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
        """Return one row for each attribution, with areas under its curves."""

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
    """Check explanations of given sequences against the model, with a stated number of further calls.

    R² of a sketch is about random sequences; this is about yours: whether the surrogate predicts them, its
    Shapley values agree with sampled ones, and attributions say which mutations matter.

    Parameters
    ----------
    model : callable or Evaluator
        The model, on its own scale. Pass an :class:`Evaluator` to choose inputs, batches, executor, retries
        and store; with the one that made the sketch, no sequence is evaluated twice.
    explainer : Explainer
        Its background is that of sampled values and of curves.
    sequences : iterable of str, or integer array (B, n)
    budget : int
        Most model evaluations.
    attributions : mapping of str to array (B, n), optional
        Other attributions of the same sequences to compare, such as gradients.
    random_state : int
    progress : bool or callable
        As for :func:`sketch`.

    Returns
    -------
    Faithfulness

    Raises
    ------
    BudgetError
        If the budget is too small: says what is needed.
    InputError
        If an attribution has another shape, or holds a number that is not finite; or the store is of
        another model.
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
    most = integer("budget", budget, least=1)
    seed = integer("random_state", random_state, least=0)
    space, surrogate = explainer._space, explainer._sketch
    surrogate._link.check_functions()
    codes = space.encode(sequences)
    count, n = codes.shape
    named = {"sketch": explainer(codes).values}
    if attributions is not None and not isinstance(attributions, Mapping):
        raise InputError(
            f"attributions must be a mapping of names to arrays, got {type(attributions).__name__}"
        )
    for name, given in (attributions or {}).items():
        raw = np.asarray(given)
        if raw.dtype.kind not in "fiub":
            raise InputError(f"attributions {name!r} must be real numbers, got dtype {raw.dtype}")
        array = raw.astype(np.float64)
        if array.shape != (count, n):
            raise InputError(f"attributions {name!r} must have shape ({count}, {n}), got {array.shape}")
        if not np.isfinite(array).all():
            b, i = (int(k) for k in np.argwhere(~np.isfinite(array))[0])
            raise InputError(f"attributions {name!r}: {array[b, i]} for sequence {b} at position {i}")
        if name in ("sketch", "random", MUTATED):
            raise InputError(f"attributions may not be called {name!r}: that name is taken")
        named[name] = array
    each = (most - count) // count
    points = min(POINTS, n)
    # What is replaced nowhere is the sequence; what is replaced everywhere is asked for once.
    curves = 2 * (len(named) + 1) * (points - 1) + 1
    least = max(LEAST / SHAPLEY, FEWEST / MUTATIONS, curves / (1.0 - SHAPLEY - MUTATIONS))
    if each < least:
        needed = count * (1 + int(np.ceil(least)))
        raise BudgetError(
            f"a budget of {most:,} is too small to check {count} sequences with {len(named)} attributions; "
            f"{needed:,} is the least, or check fewer sequences"
        )

    link = surrogate._link
    with evaluator.open(space, link=link, progress=progress) as session:
        return _measured(session, explainer, codes, named, each, points, curves, seed)


def _measured(
    session: Session,
    explainer: Explainer,
    codes: Codes,
    named: dict[str, Values],
    each: int,
    points: int,
    curves: int,
    seed: int,
) -> Faithfulness:
    """Spend so many calls `each` on sequences, and compare the attributions of these names."""
    space, surrogate = explainer._space, explainer._sketch
    link, (count, n) = surrogate._link, codes.shape
    # All substitutions if they fit; what is left over goes to Shapley values.
    tried = min(int(MUTATIONS * each), n * (space.q - 1))
    fixed = explainer._background.fixed
    draws = 1 if fixed else max(1, int(each * (1.0 - SHAPLEY - MUTATIONS)) // curves)
    calls = each - tried - draws * curves

    def ask(parts: Parts, total: int) -> Values:
        return link.to_link(session.values(parts, total)[:, 0], "model")

    def answers(rows: Codes) -> Values:
        rows, back = np.unique(rows, axis=0, return_inverse=True)
        return ask(lambda: iter([rows]), len(rows))[back.reshape(-1)]

    rng = np.random.default_rng([seed, 1])
    scores = answers(codes)
    sampled = explainer._sampled(ask, codes, calls, seed)
    truth = named["sketch"] + sampled.values

    changes = np.stack([rng.permutation(n * (space.q - 1))[:tried] for _ in range(count)])
    positions = changes // (space.q - 1)
    letters = (np.take_along_axis(codes, positions, axis=1) + 1 + changes % (space.q - 1)) % space.q
    mutants = np.repeat(codes, tried, axis=0)
    mutants[np.arange(len(mutants)), positions.ravel()] = letters.ravel()
    effects = answers(mutants).reshape(count, tried) - scores[:, None]
    predicted = surrogate.predict(mutants).reshape(count, tried) - surrogate.predict(codes)[:, None]

    orders = {name: np.argsort(-values, axis=1, kind="stable") for name, values in named.items()}
    orders["random"] = np.argsort(rng.random((count, n)), axis=1)
    sizes = np.unique(np.round(np.linspace(0, n, points + 1)).astype(int))
    fillings = np.stack([explainer._background.draw(row, draws, rng) for row in codes])
    replaced = fillings.reshape(-1, n)[: 1 if fixed else None]
    start, end = float(scores.mean()), float(answers(replaced).mean())
    deletion, insertion = {}, {}
    for name, order in orders.items():
        rank = np.argsort(order, axis=1)
        # (B, draws, points, n): the first of the order are replaced, or kept.
        first = (rank[:, None, :] < sizes[1:-1, None])[:, None]
        own, other = codes[:, None, None, :], fillings[:, :, None, :]
        hybrids = np.concatenate([np.where(first, other, own), np.where(first, own, other)], axis=2)
        found = np.empty(0)
        if hybrids.size:
            found = answers(hybrids.reshape(-1, n)).reshape(count * draws, -1).mean(axis=0)
        steps = len(sizes) - 2
        deletion[name] = np.concatenate([[start], found[:steps], [end]])
        insertion[name] = np.concatenate([[end], found[steps:], [start]])
    ranks = {name: np.take_along_axis(values, positions, axis=1) for name, values in named.items()}
    mutated = {name: _over(_correlations(_ranks(r), _ranks(-effects))) for name, r in ranks.items()}
    mutated[MUTATED] = _over(_correlations(_ranks(predicted), _ranks(effects)))
    error = scores - surrogate.predict(codes)
    spread = float(((scores - scores.mean()) ** 2).sum())
    return Faithfulness(
        n_calls=session.n_evaluated,
        background=explainer.background,
        r2=1.0 - float((error**2).sum()) / spread if spread > 0 else float("nan"),
        rmse=float(np.sqrt((error**2).mean())),
        shapley_correlation={name: _over(_correlations(a, truth)) for name, a in named.items()},
        shapley_rmse={name: _rmse(a - truth, sampled.errors, rng) for name, a in named.items()},
        shapley_noise=float(np.sqrt((sampled.errors**2).mean())),
        mutation_correlation=mutated,
        deletion=deletion,
        insertion=insertion,
        fractions=sizes / n,
    )


def _correlations(a: Values, b: Values) -> Values:
    """Return the correlation of each row; NaN where one of them is constant."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    nothing = np.full(len(a), np.nan)
    found: Values = np.divide((a * b).sum(axis=1), size, out=nothing, where=size > 0)
    return found


def _ranks(values: Values) -> Values:
    """Return the rank of each number in its row, equal ones sharing theirs."""
    ranks = np.empty(values.shape)
    for row, out in zip(values, ranks, strict=True):
        _, which, counts = np.unique(row, return_inverse=True, return_counts=True)
        out[:] = (np.cumsum(counts) - (counts + 1) / 2.0)[which.reshape(-1)]
    return ranks


def _over(values: Values) -> Agreement:
    """Return the mean over sequences and its standard error."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Agreement(float("nan"), float("nan"))
    error = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    return Agreement(float(known.mean()), error)


def _rmse(errors: Values, noise: Values, rng: np.random.Generator) -> Agreement:
    """Return a root mean square less that of the noise, and its standard error by resampling sequences."""
    squares = (errors**2 - noise**2).mean(axis=1)
    again = squares[rng.integers(0, len(squares), (RESAMPLED, len(squares)))].mean(axis=1)
    value, resampled = float(squares.mean()), np.sqrt(np.maximum(again, 0.0))
    error = float(resampled.std()) if len(squares) > 1 else float("nan")
    return Agreement(float(np.sqrt(max(value, 0.0))), error)
