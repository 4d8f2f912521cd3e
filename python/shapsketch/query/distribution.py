"""Distributions of sequences: where a model is evaluated, and what the R² of a sketch then refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import array_of, check_memory, instance, integer, items, number, shown
from shapsketch.errors import BudgetError, InputError
from shapsketch.query.background import Background, BackgroundLike
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, index_of, space_of

# Sequences that are drawn at a time. The draws do not depend on the budget, so the queries of a smaller
# budget are the first ones of a larger budget.
PART = 4_096
# The search for distinct sequences ends after this many draws without a new one for each distinct sequence
# that is needed, and at least `PART` draws.
PATIENCE = 10
# Sequences of a function's distribution that are the background of explanations.
BACKGROUND_SEQUENCES = 200
# Weight of the uniform distribution in the probabilities of symbols, so that none is 0.
SMOOTHING = 1e-3

Sampler: TypeAlias = Callable[[np.random.Generator, int], npt.ArrayLike]


@dataclass(frozen=True, eq=False)
class Distribution:
    """A distribution of the sequences of a space.

    Attributes
    ----------
    space : SequenceSpace
    text : str
        What it is, in words.
    sampler : callable
        Takes a generator and a number of sequences, and returns codes (count, n).
    background : Background
        The background of explanations unless the user chooses one.
    probabilities : numpy.ndarray of float64, shape (n, q), or None
        Probability of each symbol at each position, if it is known without sampling.
    first : numpy.ndarray of uint8, shape (m, n), or None
        Sequences that are always among the queries.
    ordered : bool
        Whether the order of positions means something, so that a fit may use windows, runs and counts.
    """

    space: SequenceSpace
    text: str
    sampler: Sampler
    background: Background
    probabilities: npt.NDArray[np.float64] | None = None
    first: Codes | None = None
    ordered: bool = True

    def draws(self, seed: int) -> Iterator[Codes]:
        """Yield random sequences without end, codes (`PART`, n)."""
        rng = np.random.default_rng([seed, 17])
        while True:
            yield self._checked(self.sampler(rng, PART))

    def _checked(self, drawn: npt.ArrayLike) -> Codes:
        codes = array_of("distribution: the result of your function", drawn)
        if codes.shape != (PART, self.space.n):
            raise InputError(
                f"distribution: your function must return codes ({PART}, {self.space.n}) for a generator and "
                f"count={PART}, got shape {codes.shape}"
            )
        try:
            return self.space.encode(codes)
        except InputError as error:
            raise InputError(f"distribution: {error}") from error

    def distinct(self, count: int, seed: int) -> Codes:
        """Return distinct random sequences, codes (count, n), in the order in which they were drawn.

        Raises
        ------
        BudgetError
            If the distribution does not have so many; the message says how many were found.
        """
        n = self.space.n
        check_memory(f"{count:,} queries", 4 * count * n, "use a smaller budget")
        found = np.empty((0, n), dtype=np.uint8) if self.first is None else self.first
        seen = {row.tobytes() for row in found}
        idle = 0
        for part in self.draws(seed):
            new = []
            for index, row in enumerate(part):
                key = row.tobytes()
                if key not in seen:
                    seen.add(key)
                    new.append(index)
            found = np.concatenate([found, part[new]])
            idle = 0 if new else idle + len(part)
            if len(found) >= count:
                return found[:count]
            if idle > max(PART, PATIENCE * count):
                break
        raise BudgetError(
            f"the distribution ({self.text}) has only {len(found):,} distinct sequences, fewer than the "
            f"{count:,} of the budget; use budget={len(found)}, or a wider distribution"
        )

    def draw(self, rng: np.random.Generator, count: int) -> Codes:
        """Return random sequences, codes (count, n), which may repeat."""
        parts = [self._checked(self.sampler(rng, PART)) for _ in range(-(-count // PART))]
        return np.concatenate(parts)[:count]

    def record(self, codes: Codes) -> _core.Distribution:
        """Return what sketches of the values of these queries keep, codes (N, n)."""
        background, probabilities = self.background, self.probabilities
        if probabilities is None:
            probabilities = _frequencies(self.space, codes)
        kind = "none" if background.shuffles is not None else "uniform"
        if background.references is not None:
            kind = "references"
        elif background.probabilities is not None:
            kind, probabilities = "product", background.probabilities
        least = _least(probabilities, codes)
        return _core.Distribution(self.text, probabilities.reshape(-1), least, kind, background.references)


def measured(space: SequenceSpace, codes: Codes, wild_type: Codes | None = None) -> _core.Distribution:
    """Return what a sketch of measured sequences, codes (N, n), keeps of their distribution.

    The default background of explanations is the wild type (n,) if there is one, else uniform.
    """
    probabilities = _frequencies(space, codes)
    text, kind, references = "measured sequences", "uniform", None
    if wild_type is not None:
        text, kind, references = "measured variants of a wild type", "references", wild_type[None]
    least = _least(probabilities, codes)
    return _core.Distribution(text, probabilities.reshape(-1), least, kind, references)


def _frequencies(space: SequenceSpace, codes: Codes) -> Values:
    """Return the fraction of sequences that have each symbol at each position, (n, q)."""
    counts = [np.bincount(column, minlength=space.q) for column in codes.T]
    return np.array(counts) / len(codes)


def _least(probabilities: Values, codes: Codes) -> float:
    return min(0.0, float(log_likelihoods(probabilities, codes).min()))


def log_likelihoods(probabilities: Values, codes: Codes) -> Values:
    """Return mean log-likelihoods (B,) of the symbols of sequences, for independent positions (n, q)."""
    smoothed = np.log((1.0 - SMOOTHING) * probabilities + SMOOTHING / probabilities.shape[1])
    likelihoods: Values = np.zeros(len(codes))
    for i, row in enumerate(smoothed):
        likelihoods += row[codes[:, i]]
    return likelihoods / len(smoothed)


@dataclass(frozen=True)
class Mutagenesis:
    """Random mutants of a wild type, as random mutagenesis makes them.

    Each mutated position gets a symbol that differs from the wild type; allowed symbols are equally likely.

    Parameters
    ----------
    wild_type : str, or integer array (n,)
    rate : float, optional
        Probability that a position is mutated, above 0 and at most 1. The default is 0.1, unless `counts` is
        given.
    counts : iterable of int, optional
        Numbers of mutations, each equally likely, instead of a rate.
    positions : iterable of int, optional
        Positions that may be mutated, by their numbers (see the start of the space); all by default.
    letters : mapping of int to str, optional
        Symbols that a position may have, for the numbers of some positions; all symbols elsewhere.

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=12)
    >>> near = ss.Mutagenesis("ACGTACGGACGT", counts=(1, 2))
    >>> plan = ss.plan(space, 200, distribution=near)
    >>> next(plan.batches()).shape
    (200, 12)
    """

    wild_type: str | Codes
    rate: float | None = None
    counts: Iterable[int] | None = None
    positions: Iterable[int] | None = None
    letters: Mapping[int, str] | None = None

    def of(self, space: SequenceSpace) -> Distribution:
        """Return the distribution in a space.

        Raises
        ------
        InputError
            If a parameter is wrong; the message says which one.
        """
        wild_type = _wild_type(self.wild_type, space_of(space))
        allowed = self._allowed(space, wild_type)
        movable = np.flatnonzero(allowed.any(axis=1))
        if len(movable) == 0:
            raise InputError("no position may be mutated: positions= and letters= leave none")
        name = space.decode(wild_type[None])[0]
        name = name if len(name) <= 20 else f"{name[:17]}..."
        background = Background(space, references=wild_type[None])
        if self.counts is None:
            rate = 0.1 if self.rate is None else number("rate", self.rate)
            if not 0.0 < rate <= 1.0:
                raise InputError(f"rate must be above 0 and at most 1, got {rate}")
            text = f"mutants of {name}, each position mutated with probability {rate:g}"
            probabilities = rate * allowed / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
            stays = 1.0 - probabilities.sum(axis=1)
            probabilities[np.arange(space.n), wild_type] = stays
            sampler = partial(_mutated_at_rate, wild_type, allowed, rate)
            return Distribution(space, _within(text, movable, space), sampler, background, probabilities)
        if self.rate is not None:
            raise InputError("pass either rate= or counts=, not both")
        counts = [integer("counts", count, least=0) for count in items("counts", self.counts, "integers")]
        if not counts:
            raise InputError("counts is empty; pass at least one number of mutations, such as (1, 2)")
        if max(counts) > len(movable):
            raise InputError(
                f"counts: {max(counts)} mutations, but only {len(movable)} positions may be mutated"
            )
        text = f"mutants of {name} with {', '.join(map(str, sorted(set(counts))))} mutations"
        sampler = partial(_mutated_by_count, wild_type, allowed, np.array(counts))
        return Distribution(space, _within(text, movable, space), sampler, background)

    def _allowed(self, space: SequenceSpace, wild_type: Codes) -> npt.NDArray[np.bool_]:
        """Return which symbols may replace the wild type, (n, q)."""
        allowed = space.allowed.copy()
        if self.positions is not None:
            chosen = [index_of("positions", i, space) for i in items("positions", self.positions, "integers")]
            if not chosen:
                raise InputError("positions is empty; pass at least one position, or omit it")
            allowed[np.setdiff1d(np.arange(space.n), chosen)] = False
        if self.letters is not None:
            if not isinstance(self.letters, Mapping):
                raise InputError(
                    f"letters must map positions to symbols, such as {{3: 'AG'}}, got {shown(self.letters)}"
                )
            for position, symbols in self.letters.items():
                i = index_of("letters", position, space)
                codes = [_code(space, symbol, i) for symbol in _letters(symbols, position)]
                if not codes:
                    raise InputError(
                        f"letters: no symbols at position {position}; omit it from positions= instead"
                    )
                allowed[i, np.setdiff1d(np.arange(space.q), codes)] = False
        allowed[np.arange(space.n), wild_type] = False
        return allowed


@dataclass(frozen=True)
class Hybrids:
    """Mixtures of sequences with their background: the sequences that decide Shapley values.

    A hybrid has each symbol of one of the sequences with probability ``t``, and of a random background
    sequence otherwise; ``t`` is uniform from 0 to 1 and drawn for each hybrid. The coalitions of Shapley
    values have this distribution, so a sketch of hybrids is accurate where explanations of these sequences
    need it.

    Parameters
    ----------
    sequences : iterable of str, or integer array (B, n)
    background : as for :class:`Explainer`

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=12)
    >>> plan = ss.plan(space, 500, distribution=ss.Hybrids(["ACGTACGGACGT", "TTGTACGGACGA"]))
    >>> plan.total_queries
    500
    """

    sequences: Sequences
    background: BackgroundLike = field(default="uniform")

    def of(self, space: SequenceSpace) -> Distribution:
        """Return the distribution in a space.

        Raises
        ------
        InputError
            If a sequence or the background does not belong to the space.
        """
        try:
            sequences = space_of(space).encode(self.sequences)
        except InputError as error:
            raise InputError(f"Hybrids: {error}") from error
        background = Background.parse(self.background, space)
        text = f"hybrids of {len(sequences):,} sequences with the background: {background}"
        return Distribution(space, text, partial(_hybrids, sequences, background), background)


DistributionLike: TypeAlias = (
    Literal["uniform"] | Iterable[str] | npt.ArrayLike | Distribution | Mutagenesis | Hybrids | Sampler
)


def parse(distribution: Any, space: SequenceSpace) -> Distribution | None:
    """Return the distribution that a user passed in one of the accepted forms; None if it is uniform.

    Raises
    ------
    InputError
        If it does not have an accepted form; the message says what is wrong and where.
    """
    if isinstance(distribution, Distribution):
        return distribution
    instance("distribution", distribution)
    if isinstance(distribution, (Mutagenesis, Hybrids)):
        return distribution.of(space)
    if isinstance(distribution, str):
        if distribution == "uniform":
            return None
        raise InputError(f"distribution must be {_FORMS}, got {shown(distribution)}")
    if callable(distribution):
        return _of_function(distribution, space)
    if not any(hasattr(type(distribution), name) for name in ("__iter__", "__array__", "to_numpy")):
        raise InputError(f"distribution must be {_FORMS}, got {shown(distribution)}")
    try:
        background = Background.parse(distribution, space)
    except InputError as error:
        raise InputError(f"distribution: {error}") from error
    if background.probabilities is not None:
        rows = background.probabilities / background.probabilities.sum(axis=1, keepdims=True)
        sampler = partial(_independent, background)
        return Distribution(space, "independent positions", sampler, background, rows)
    if background.references is not None:
        return _of_list(background, space)
    raise InputError(f"distribution must be {_FORMS}, got {shown(distribution)}")


_FORMS = (
    "'uniform', probabilities (q,) or (n, q), Mutagenesis, Hybrids, a list of sequences, or a function of a "
    "generator and a count"
)


def _of_list(background: Background, space: SequenceSpace) -> Distribution:
    assert background.references is not None
    codes = np.unique(background.references, axis=0)
    sampler = partial(_listed, codes)
    return Distribution(space, f"{len(codes):,} listed sequences", sampler, background)


def _of_function(function: Sampler, space: SequenceSpace) -> Distribution:
    # Explanations need a background that does not call the function: a sample of it.
    drawn = Distribution(space, "your function", function, Background(space))
    sample = next(drawn.draws(seed=0))[:BACKGROUND_SEQUENCES]
    return Distribution(space, "your function", function, Background(space, references=sample))


def _independent(background: Background, rng: np.random.Generator, count: int) -> Codes:
    return background.draw(np.zeros(background.space.n, dtype=np.uint8), count, rng)


def _listed(codes: Codes, rng: np.random.Generator, count: int) -> Codes:
    # Permutations instead of independent draws, so that all sequences come soon.
    rows = [rng.permutation(len(codes)) for _ in range(-(-count // len(codes)))]
    return np.asarray(codes[np.concatenate(rows)[:count]])


def _wild_type(sequence: str | Codes, space: SequenceSpace) -> Codes:
    rows: Any = [sequence]
    if not isinstance(sequence, str):
        rows = np.atleast_2d(array_of("wild_type", sequence))
        if rows.dtype.kind not in "iu":
            raise InputError(f"wild_type must be one sequence, a string or codes, got {shown(sequence)}")
    try:
        codes = space.encode(rows)
    except InputError as error:
        raise InputError(f"wild_type: {error}") from error
    if len(codes) != 1:
        raise InputError(f"wild_type must be one sequence, got {len(codes)}")
    return np.asarray(codes[0])


def _letters(symbols: object, position: int) -> list[object]:
    if isinstance(symbols, str):
        return list(symbols)
    return items(f"letters: the symbols at position {position}", symbols, "symbols")


def _code(space: SequenceSpace, symbol: object, position: int) -> int:
    own = space.letters[position]
    if not isinstance(symbol, str) or symbol not in own or len(symbol) != 1:
        raise InputError(f"letters: {shown(symbol)} at position {position + space.start} is not in {own!r}")
    return space.alphabet.index(symbol)


def _within(text: str, movable: npt.NDArray[np.intp], space: SequenceSpace) -> str:
    return text if len(movable) == space.n else f"{text}, at {len(movable)} of {space.n} positions"


def _replaced(
    codes: Codes, hit: npt.NDArray[np.bool_], allowed: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Codes:
    """Give the positions `hit` of codes (count, n) random allowed symbols."""
    rows, positions = np.nonzero(hit)
    options = allowed.sum(axis=1)
    order = np.argsort(~allowed, axis=1, kind="stable")
    codes[rows, positions] = order[positions, rng.integers(0, options[positions])]
    return codes


def _mutated_at_rate(
    wild_type: Codes, allowed: npt.NDArray[np.bool_], rate: float, rng: np.random.Generator, count: int
) -> Codes:
    hit = (rng.random((count, len(wild_type))) < rate) & allowed.any(axis=1)
    return _replaced(np.tile(wild_type, (count, 1)), hit, allowed, rng)


def _mutated_by_count(
    wild_type: Codes,
    allowed: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
    rng: np.random.Generator,
    count: int,
) -> Codes:
    chosen = counts[rng.integers(0, len(counts), count)]
    keys: Values = np.where(allowed.any(axis=1), rng.random((count, len(wild_type))), np.inf)
    hit = np.argsort(np.argsort(keys, axis=1), axis=1) < chosen[:, None]
    return _replaced(np.tile(wild_type, (count, 1)), hit, allowed, rng)


def _hybrids(sequences: Codes, background: Background, rng: np.random.Generator, count: int) -> Codes:
    rows = sequences[rng.integers(0, len(sequences), count)]
    if background.shuffles is None:
        others = background.draw(rows[0], count, rng)
    else:
        others = np.concatenate([background.draw(row, 1, rng) for row in rows])
    inside = rng.random((count, sequences.shape[1])) < rng.random((count, 1))
    return np.where(inside, rows, others)
