"""Teacher and student: a predictor of features without a place, and its answers as a closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shapsketch import _core
from shapsketch._validate import optional
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import evaluate
from shapsketch.fitting.boosting import Boosted, Choice, Places, Split, boost, windows
from shapsketch.space import Codes, SequenceSpace, Values

# Words whose counts are features, and the longest of them.
COUNTED = 400
LONGEST = 3
FRAMES = 3
PARTS = 4
# Which features without a place are tried: each with those before it.
FEATURES = ("counts", "frames", "parts")
LEAVES = (15, 8, 31)
CHUNK = 16_384
# Answers of the teacher for a student of trees (so many letters in all, within bounds), and for one of
# regression; spaces of up to so many sequences are answered whole.
LETTERS = 5_000_000
TREE_ANSWERS = (20_000, 100_000)
REGRESSION_ANSWERS = 20_000
WHOLE = 2**18
WHOLE_LENGTH = 15
STUDENT_LEAVES = 127
STUDENT_ROUNDS = 400
STUDENT_RATE = 0.1


class Predictor(Protocol):
    """What a teacher of one's own has: the manners of scikit-learn."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit to inputs and values."""

    def predict(self, X: Any) -> Any:
        """Return a value for each input."""


class Teacher(Protocol):
    """A fitted teacher."""

    def predict(self, codes: Codes) -> Values:
        """Return its answers (B,) to codes."""


@dataclass(frozen=True)
class Counts:
    """Features without a place beside those with one.

    ``counts``: how often each word of up to three letters occurs; ``frames``: the same for each reading
    frame; ``parts``: the letters of each quarter of the sequence.
    """

    places: Places
    kind: str

    def matrix(self, codes: Codes) -> Any:
        """Return the features of codes."""
        space = self.places.space
        q, n = space.q, space.n
        level = FEATURES.index(self.kind)
        blocks = []
        for k in range(1, min(LONGEST, n) + 1):
            if q**k > COUNTED and k > 1:
                break
            words = windows(codes, q, k)
            blocks.append(_counts(words, q**k))
            if level >= 1 and k == LONGEST:
                blocks += [
                    _counts(words[:, frame::FRAMES], q**k) for frame in range(FRAMES) if frame < n - k + 1
                ]
        if level >= 2:
            for part in np.array_split(np.arange(n), min(PARTS, n)):
                blocks.append(_counts(codes[:, part].astype(np.int64), q))
        counts = np.concatenate(blocks, axis=1)
        with_place = self.places.matrix(codes)
        if self.places.categorical:
            return np.concatenate([with_place, counts], axis=1)
        sparse = optional("scipy.sparse", "trees", "fitting a teacher")
        return sparse.hstack([with_place, sparse.csr_matrix(counts)], format="csr")


def _counts(words: Any, size: int) -> Any:
    rows = np.arange(len(words))[:, None] * size
    return (
        np.bincount((words + rows).ravel(), minlength=len(words) * size).reshape(-1, size).astype(np.float32)
    )


@dataclass(frozen=True)
class BoostedTeacher:
    """Boosted trees on features with and without a place."""

    counts: Counts
    boosted: Boosted

    def predict(self, codes: Codes) -> Values:
        """Return its answers (B,) to codes."""
        return np.concatenate([self.boosted.predict(self.counts.matrix(chunk)) for chunk in _chunks(codes)])

    def refit(self, codes: Codes, values: Values, seed: int) -> BoostedTeacher:
        """Fit the same to other values."""
        again = _boost(self.counts, codes, values, self.boosted.leaves, seed, rounds=self.boosted.again)
        return BoostedTeacher(self.counts, again)


@dataclass(frozen=True)
class OwnTeacher:
    """A predictor that the user brought."""

    predictor: Predictor
    space: SequenceSpace
    inputs: str

    def predict(self, codes: Codes) -> Values:
        """Return its answers (B,) to codes."""
        return evaluate(
            self.predictor.predict,
            self.space,
            _chunks(codes),
            len(codes),
            inputs=self.inputs,
            what="teacher",
        )

    def refit(self, codes: Codes, values: Values, seed: int) -> OwnTeacher:  # noqa: ARG002
        """Fit it to other values."""
        inputs: Any = codes
        if self.inputs == "strings":
            inputs = self.space.decode(codes)
        elif self.inputs == "onehot":
            inputs = self.space.onehot(codes)
        try:
            self.predictor.fit(inputs, values)
        except Exception as error:
            raise InputError(
                f"the teacher's fit raised {type(error).__name__}: {error}; "
                f"it was given {len(codes)} {self.inputs}"
            ) from error
        return self


def _chunks(codes: Codes) -> Iterator[Codes]:
    for start in range(0, len(codes), CHUNK):
        yield codes[start : start + CHUNK]


def _boost(
    counts: Counts,
    codes: Codes,
    values: Values,
    leaves: int,
    seed: int,
    *,
    rounds: int | None = None,
    held: tuple[Codes, Values] | None = None,
) -> Boosted:
    matrix = counts.matrix(codes)
    valid = None if held is None else (counts.matrix(held[0]), held[1])
    return boost(
        matrix,
        values,
        leaves=leaves,
        seed=seed,
        categories=counts.places.categories,
        held=valid,
        rounds=rounds,
    )


def choose_teacher(split: Split, places: Places, *, seed: int, tell: Callable[[str], None]) -> BoostedTeacher:
    """Choose the teacher's features, then the size of its trees, as those of trees are chosen."""
    inner = split.inner(seed)
    best: BoostedTeacher | None = None

    def fitted(part: Split, counts: Counts, leaves: int, rounds: int | None = None) -> BoostedTeacher:
        held = (part.held_codes, part.held_values)
        boosted = _boost(counts, part.codes, part.values, leaves, seed, held=held, rounds=rounds)
        return BoostedTeacher(counts, boosted)

    def attempt(kind: str, leaves: int) -> None:
        nonlocal best
        tell(f"teacher of {leaves} leaves with {kind}")
        found = fitted(inner, Counts(places, kind), leaves)
        if best is None or found.boosted.error < best.boosted.error:
            best = found

    # Words of three letters have reading frames; where there are too many of them, nothing has.
    framed = places.space.q**LONGEST <= COUNTED and places.space.n > LONGEST
    for kind in FEATURES:
        if framed or kind != "frames":
            attempt(kind, LEAVES[0])
    assert best is not None
    for leaves in LEAVES[1:]:
        attempt(best.counts.kind, leaves)
    tell("the chosen teacher")
    return fitted(split, best.counts, best.boosted.leaves, best.boosted.rounds)


def students(
    teacher: Teacher,
    space: SequenceSpace,
    places: Places,
    *,
    dropped: float,
    seed: int,
    tell: Callable[[str], None],
) -> dict[str, _core.Sketch]:
    """Sketch a teacher's free answers in every way that suits the space."""
    if space.size <= WHOLE and space.n <= WHOLE_LENGTH:
        tell("student: every sequence")
        queries = _core.Plan(space._core, space.size, method="exact", seed=seed).queries()
        return {"distill": queries.sketch(teacher.predict(queries.batch(0, len(queries))))}
    made = {}
    rng = np.random.default_rng([seed, 2])
    count = int(np.clip(LETTERS // space.n, *TREE_ANSWERS))
    codes = rng.integers(0, space.q, (count, space.n), dtype=np.uint8)
    tell(f"teacher: {count:,} answers")
    answers = teacher.predict(codes)
    tell("student: trees")
    boosted = boost(
        places.matrix(codes),
        answers,
        leaves=STUDENT_LEAVES,
        seed=seed,
        categories=places.categories,
        rounds=STUDENT_ROUNDS,
        rate=STUDENT_RATE,
    )
    made["distill (trees)"], _ = Choice(places, boosted).sketch(boosted, dropped, None)
    tell("student: regression")
    some = slice(0, REGRESSION_ANSWERS)
    made["distill (regress)"] = _core.regress(
        space._core,
        codes[some],
        answers[some],
        None,
        dictionary=None,
        basis="letters",
        strengths=None,
        penalty=None,
        growth=True,
        refit=True,
        tolerance=1e-7,
        memory=2**32,
        seed=seed,
    )
    return made
