"""Several methods on the same queries: which predicts best, or which of them together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import optional
from shapsketch.errors import InputError, MissingExtraError
from shapsketch.fitting.boosting import (
    DROPPED,
    FEWEST,
    LEAVES,
    REST,
    Choice,
    Split,
    choose,
    enough,
    r2_of,
    scores,
    without,
)
from shapsketch.fitting.distillation import OwnTeacher, Predictor, Teacher, choose_teacher, students
from shapsketch.space import Codes, SequenceSpace, Values
from shapsketch.surrogate.sketch import Sketch

logger = logging.getLogger(__name__)

# An R² of the regression from which on nothing else is tried.
GOOD = 0.9995
# An average must lower the error of the best by this part to be worth its terms.
WORTHWHILE = 0.01
# Candidates with a smaller share of the weights are left out.
LIGHT = 0.05
FAST_LEAVES = (31, 8)


@dataclass
class Candidates:
    """Sketches of the queries but the held-out ones, and what they predict for these."""

    predictions: dict[str, Values] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    # How to make each again, of all queries.
    again: dict[str, Callable[[], _core.Sketch]] = field(default_factory=dict)

    def add(self, name: str, predictions: Values, again: Callable[[], _core.Sketch], seconds: float) -> None:
        """Add one."""
        self.predictions[name] = predictions
        self.again[name] = again
        self.seconds[name] = seconds


@dataclass(frozen=True)
class Mix:
    """Weights of candidates, and a constant."""

    weights: dict[str, float]
    constant: float

    def of(self, predictions: dict[str, Values]) -> Values:
        """Return the weighted sum of predictions."""
        rows = [weight * predictions[name] for name, weight in self.weights.items()]
        total: Values = np.sum(rows, axis=0) + self.constant
        return total


def mix(predictions: dict[str, Values], values: Values, rows: npt.NDArray[np.intp]) -> Mix:
    """Return the best candidate on these rows, or the best average if that is clearly better."""
    truth = values[rows]
    errors = {name: float(((truth - p[rows]) ** 2).mean()) for name, p in predictions.items()}
    best = min(errors, key=lambda name: errors[name])
    alone = Mix({best: 1.0}, 0.0)
    if len(predictions) == 1:
        return alone
    nnls = optional("scipy.optimize", "trees", "averaging sketches").nnls
    names = list(predictions)
    while True:
        table = np.stack([predictions[name][rows] for name in names], axis=1)
        means = table.mean(axis=0)
        weights, _ = nnls(table - means, truth - truth.mean())
        kept = [name for name, w in zip(names, weights, strict=True) if w > LIGHT * weights.sum()]
        if len(kept) == len(names) or not kept:
            break
        names = kept
    if not kept:
        return alone
    together = Mix(dict(zip(names, map(float, weights), strict=True)), float(truth.mean() - means @ weights))
    error = float(((truth - together.of({n: p[rows] for n, p in predictions.items()})) ** 2).mean())
    return together if error < (1.0 - WORTHWHILE) * errors[best] else alone


def cross_fitted(predictions: dict[str, Values], values: Values, seed: int) -> Values:
    """Return what the mix predicts for each half of the rows, chosen on the other half."""
    order = np.random.default_rng([seed, 3]).permutation(len(values))
    out = np.empty(len(values))
    for rows, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        out[rows] = mix(predictions, values, others).of({name: p[rows] for name, p in predictions.items()})
    return out


@contextmanager
def steps(progress: bool) -> Iterator[Callable[[str], None]]:
    """Show what is being done, and for how long; hand out what tells the next step."""
    from tqdm.auto import tqdm

    with tqdm(disable=not progress, bar_format="{desc} [{elapsed}]") as bar:

        def tell(what: str) -> None:
            logger.info("%s", what)
            bar.set_description_str(what)

        yield tell


def compare(
    space: SequenceSpace,
    codes: Codes,
    values: Values,
    *,
    method: str,
    regress: Callable[[], _core.Sketch],
    share: float,
    budget: int,
    max_terms: int | None,
    teacher: Predictor | None,
    inputs: str,
    fast: bool,
    seed: int,
    progress: bool,
) -> Sketch:
    """Fit what `method` names, choose on held-out queries, fit that again to all."""
    with steps(progress) as tell:
        regressed, seconds = None, 0.0
        if method == "auto":
            started = time.perf_counter()
            tell("regression")
            regressed = regress()
            seconds = time.perf_counter() - started
            untried = _untried(codes, regressed.info["r2"], teacher)
            if untried is not None:
                core = regressed
                if max_terms is not None and len(regressed) > max_terms:
                    core = _shortened(regressed, codes, max_terms, seed)
                    untried = untried or core.info["status"]
                return Sketch._wrap(
                    core.described(
                        status=untried or None, budget=budget, link=None, values=None, predictions=None
                    ).among([("regress", regressed.info["r2"], seconds, 1.0)])
                )
        try:
            return _compare(
                space,
                codes,
                values,
                method,
                regressed,
                seconds,
                share,
                budget,
                max_terms,
                teacher,
                inputs,
                fast,
                seed,
                tell,
            )
        except InputError as error:
            # The queries are paid for: what regression made of them is not lost.
            if regressed is None or teacher is not None:
                raise
            logger.warning("trees and distillation failed, the sketch is that of regression: %s", error)
            core, status = regressed, f"cross-validated; trees and distillation failed: {error}"
            if max_terms is not None and len(regressed) > max_terms:
                core = _shortened(regressed, codes, max_terms, seed)
                status = f"{core.info['status']}; trees and distillation failed: {error}"
            return Sketch._wrap(
                core.described(status=status, budget=budget, link=None, values=None, predictions=None).among(
                    [("regress", regressed.info["r2"], seconds, 1.0)]
                )
            )


def _untried(codes: Codes, r2: float, teacher: Predictor | None) -> str | None:
    """Return why nothing but regression is tried; empty where nothing is left to gain."""
    if r2 >= GOOD:
        return ""
    if len(np.unique(codes, axis=0)) < FEWEST:
        return f"cross-validated; trees take {FEWEST} sequences"
    try:
        optional("lightgbm", "trees", "trying trees")
    except MissingExtraError as error:
        if teacher is None:
            return f"cross-validated; trees and distillation were not tried: {error}"
        raise
    return None


def _compare(
    space: SequenceSpace,
    codes: Codes,
    values: Values,
    method: str,
    regressed: _core.Sketch | None,
    seconds: float,
    share: float,
    budget: int,
    max_terms: int | None,
    own: Predictor | None,
    inputs: str,
    fast: bool,
    seed: int,
    tell: Callable[[str], None],
) -> Sketch:
    if regressed is None:
        enough(codes)
    split = Split.of(codes, values, seed)
    found = Candidates()
    if regressed is not None:
        held = regressed.held_out()
        assert held is not None
        again = regressed
        found.add("regress", _rows(codes, split.held_codes, held[1]), lambda: again, seconds)
    chosen: Choice | None = None
    started = time.perf_counter()
    leaves = FAST_LEAVES if fast else LEAVES
    chosen = choose(split, space, features="auto", leaves=leaves, seed=seed, tell=tell)
    if method != "distill":
        tell("trees in closed form")
        tested, _ = chosen.sketch(chosen.boosted, DROPPED, None)
        picked = chosen

        def trees() -> _core.Sketch:
            return picked.sketch(picked.refit(codes, values, seed), DROPPED, None)[0]

        found.add("trees", scores(tested, split.held_codes), trees, time.perf_counter() - started)
    taught: Values | None = None
    final: dict[str, Teacher | dict[str, _core.Sketch]] = {}
    if method == "distill" or (method == "auto" and not fast):
        started = time.perf_counter()
        if own is None:
            tutor: Teacher = choose_teacher(split, chosen.places, seed=seed, tell=tell)
        else:
            tell("the teacher")
            tutor = OwnTeacher(own, space, inputs).refit(split.codes, split.values, seed)
        taught = tutor.predict(split.held_codes)
        places = chosen.places
        pupils = students(tutor, space, places, dropped=DROPPED, seed=seed, tell=tell)

        def pupil(name: str) -> Callable[[], _core.Sketch]:
            def make() -> _core.Sketch:
                # All students are made of one teacher.
                if "students" not in final:
                    tell("the teacher again, of all queries")
                    again = tutor.refit(codes, values, seed)  # type: ignore[attr-defined]
                    final["teacher"] = again
                    final["students"] = students(again, space, places, dropped=DROPPED, seed=seed, tell=tell)
                made: _core.Sketch = final["students"][name]  # type: ignore[index]
                return made

            return make

        spent = (time.perf_counter() - started) / len(pupils)
        for name, made in pupils.items():
            found.add(name, scores(made, split.held_codes), pupil(name), spent)
    truth = split.held_values
    weights = mix(found.predictions, truth, np.arange(len(truth)))
    predictions = cross_fitted(found.predictions, truth, seed)
    table = [
        (name, r2_of(truth, p), found.seconds[name], weights.weights.get(name, 0.0))
        for name, p in found.predictions.items()
    ]
    for name, r2, spent, weight in table:
        logger.info("%s: R² %.4f in %.1f s, weight %.2f", name, r2, spent, weight)
    if set(weights.weights) == {"regress"} and regressed is not None and max_terms is None:
        return Sketch._wrap(
            regressed.described(status=None, budget=budget, link=None, values=None, predictions=None).among(
                table
            )
        )
    tell("all queries")
    parts = {name: found.again[name]() for name in weights.weights}
    sketch = _core.combine(
        list(parts.values()),
        list(weights.weights.values()),
        constant=weights.constant,
        dropped=0.0,
        max_terms=None,
    )
    status = "validated"
    if max_terms is not None:
        whole = sketch
        sketch = _core.combine([whole], [1.0], constant=0.0, dropped=0.0, max_terms=max_terms)
        # What was cut off is missing in predictions too.
        status = f"validated; with all {len(whole):,} terms R² is {r2_of(truth, predictions):.4f}"
        predictions = without(predictions, whole, sketch, split.held_codes)
    names = {name.split(" ")[0] for name in weights.weights}
    core = sketch.made_by(
        method=names.pop() if len(names) == 1 else "average",
        status=status,
        budget=budget,
        queries=len(np.unique(codes, axis=0)),
        seed=seed,
        codes=split.held_codes,
        values=truth,
        predictions=predictions,
        share=share,
        rest=REST,
        candidates=table,
        teacher=taught,
    )
    result = Sketch._wrap(core)
    if "teacher" in final:
        result.__dict__["_teacher"] = final["teacher"]
    return result


def _shortened(regressed: _core.Sketch, codes: Codes, max_terms: int, seed: int) -> _core.Sketch:
    """Return a regression with fewer terms, and what is cut off missing in its predictions too."""
    held = regressed.held_out()
    assert held is not None
    short = _core.combine([regressed], [1.0], constant=0.0, dropped=0.0, max_terms=max_terms)
    return short.made_by(
        method="regress",
        status=f"cross-validated; with all {len(regressed):,} terms R² is {regressed.info['r2']:.4f}",
        budget=len(codes),
        queries=len(np.unique(codes, axis=0)),
        seed=seed,
        codes=codes,
        values=held[0],
        predictions=without(held[1], regressed, short, codes),
        share=0.0,
        rest=REST,
        candidates=[],
        teacher=None,
    )


def _rows(codes: Codes, held: Codes, predictions: Values) -> Values:
    """Return the predictions of held-out sequences among those of all."""
    where: dict[bytes, int] = {row.tobytes(): index for index, row in enumerate(codes)}
    return predictions[[where[row.tobytes()] for row in held]]
