"""The final fit: the chosen candidates, again with all values, as one sketch and one predictor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shapsketch import _core
from shapsketch._validate import lazy_property
from shapsketch.fitting.boosting import REFIT_GAIN
from shapsketch.fitting.comparison import Comparison, refit_seconds, teacher_of
from shapsketch.fitting.distillation import CustomTeacher, Students
from shapsketch.fitting.effort import Clock
from shapsketch.fitting.holdout import Labelled, are_near, predictions_after_truncation
from shapsketch.fitting.learners import ClosedForm, Model, NetworkLearner
from shapsketch.fitting.networks import REFIT_GAIN_NEAR
from shapsketch.fitting.options import FitOptions
from shapsketch.fitting.stacking import Weights
from shapsketch.fitting.steps import Stages
from shapsketch.query.distribution import Distribution
from shapsketch.space import Codes, SequenceSpace, Values
from shapsketch.surrogate.predictor import CustomPart

# The note of a sketch that is a constant.
CONSTANT = "no method predicts held-out values better than their mean, so the sketch is a constant"


@dataclass(frozen=True)
class Data:
    """Sequences and values to learn from.

    Attributes
    ----------
    space : SequenceSpace
    rows : Labelled
        Values on the scale of the sketch.
    budget : int
        Evaluations that were allowed.
    sampled_fraction : float
        Fraction of the space that was evaluated; 0 for measured data.
    model_seconds : float
        How long the evaluation of the model took; 0 for measured data.
    distribution : Distribution or None
        Distribution of the sequences; None if it is uniform (queries) or unknown (measured data).
    """

    space: SequenceSpace
    rows: Labelled
    budget: int
    sampled_fraction: float
    model_seconds: float = 0.0
    distribution: Distribution | None = None

    @property
    def uniform(self) -> bool:
        """Whether the sequences are uniform queries."""
        return self.sampled_fraction > 0.0

    @property
    def ordered(self) -> bool:
        """Whether the order of positions means something."""
        return self.distribution is None or self.distribution.ordered

    @lazy_property
    def near(self) -> bool:
        """Whether the sequences are near one sequence."""
        return not self.uniform and are_near(self.rows.codes, self.space)

    @property
    def exact(self) -> bool:
        """Whether trees are kept exactly, instead of truncated by the variance of uniform sequences.

        Truncation assumes that every position may have the whole alphabet.
        """
        return self.near or self.space.varies

    def draw(self, rng: np.random.Generator, count: int) -> Codes:
        """Return random sequences (count, n) of about the same distribution."""
        if self.uniform:
            return self.space._random(rng, count)
        if self.distribution is not None:
            codes = self.distribution.draw(rng, count)
            # Shapley values depend on hybrids of sequences and background, so half of them are hybrids.
            others = self.distribution.background.draw(codes[0], count, rng)
            mixed = (np.arange(count) % 2 == 1)[:, None] & (rng.random(codes.shape) < rng.random((count, 1)))
            return np.where(mixed, others, codes)
        # Recombine measured sequences.
        codes = self.rows.codes
        first, second = (codes[rng.integers(0, len(codes), count)] for _ in range(2))
        return np.where(rng.random(first.shape) < rng.random((count, 1)), first, second)

    def dependent(self) -> list[tuple[int, int]]:
        """Return the pairs of positions that depend on each other; queries have none."""
        return [] if self.uniform else _core.dependent_positions(self.space._core, self.rows.codes)


@dataclass
class Final:
    """Candidates that are fitted to all values when they are needed, each once.

    Attributes
    ----------
    data : Data
    options : FitOptions
    comparison : Comparison
    stages : Stages
    students : Students or None
    clock : Clock or None
        The time for the fits to all values; None if there is no limit.
    refit : bool
        Whether candidates are fitted to all values; otherwise those of the comparison are used, which did
        not have the held-out values.
    """

    data: Data
    options: FitOptions
    comparison: Comparison
    stages: Stages
    students: Students | None = None
    clock: Clock | None = None
    refit: bool = True
    _models: dict[str, Model] = field(default_factory=dict)

    def fitted(self, name: str) -> Model:
        """Return the model of a learner."""
        learner = self.comparison.learners[name]
        if not self.refit and learner.fitted is not None:
            return learner.fitted
        if name not in self._models:
            seconds = refit_seconds(learner, self.comparison.seconds[name])
            if learner.fitted is None or self.clock is None or self.clock.refits(name, seconds):
                self._models[name] = learner.fit_all(self.data.rows)
            else:
                self._models[name] = learner.fitted
        return self._models[name]

    def closed_forms(self, names: list[str]) -> list[_core.Sketch]:
        """Return the sketches of candidates with closed forms."""
        students = [name for name in names if name not in self.comparison.learners]
        sketches = self.comparison.sketches
        if self.refit and students:
            sketches = self._refitted_students(students)
        found = []
        for name in names:
            if name in students:
                found.append(sketches[name])
                continue
            model = self.fitted(name)
            assert isinstance(model, ClosedForm)
            found.append(model.sketch)
        return found

    def _refitted_students(self, names: list[str]) -> dict[str, _core.Sketch]:
        """Return the students of the teacher of all values, or those of the comparison to save time."""
        comparison = self.comparison
        # All students share one teacher.
        teaching = comparison.teaching
        assert teaching is not None
        assert self.students is not None
        if self.clock is not None:
            seconds = sum(comparison.seconds[name] for name in comparison.sketches)
            for name in teaching.weights:
                if name not in self._models:
                    seconds += refit_seconds(comparison.learners[name], comparison.seconds[name])
            if not self.clock.refits("students", seconds):
                return comparison.sketches
        models = {teacher: self.fitted(teacher) for teacher in teaching.weights}
        return self.students.fit(teacher_of(teaching, models), names)

    def sketch(
        self, weights: Weights, predictions: Values, candidates: list[_core.Candidate]
    ) -> _core.Sketch:
        """Return the weighted sum of closed forms, tested by `predictions` of the held-out values."""
        data, options, held = self.data, self.options, self.comparison.split.held
        surrogate, all_terms, predictions = self._combined(weights, predictions)
        fit = _core.Fit(
            codes=held.codes,
            values=held.values,
            predictions=predictions,
            method=self._method(weights),
            outcome="validated",
            budget=data.budget,
            n_queries=data.rows.n_sequences,
            seed=options.seed,
            sampled_fraction=data.sampled_fraction,
            weights=held.weights,
            dependent=data.dependent(),
            refit_gain=REFIT_GAIN if weights.weights else 0.0,
            farthest=data.rows.farthest_share(),
            all_terms=all_terms,
            notes=[] if weights.weights else [CONSTANT],
            candidates=candidates,
        )
        return _core.Sketch.from_fit(surrogate, fit)

    def _method(self, weights: Weights) -> str:
        """Return the method that made a sketch of candidates."""
        methods = {name.split(" ")[0] for name in weights.weights}
        if not methods:
            return "regress" if self.options.method == "auto" else self.options.method
        return methods.pop() if len(methods) == 1 else "average"

    def _combined(
        self, weights: Weights, predictions: Values
    ) -> tuple[_core.Sketch, tuple[int, float] | None, Values]:
        """Return the weighted sum of sketches of all values, and its held-out predictions.

        If `max_terms` removed terms, the second item has their number and R² before.
        """
        rows, limit = self.data.rows, self.options.max_terms
        if not weights.weights:
            constant = float(np.average(rows.values, weights=rows.weights))
            return _core.Sketch.constant_of(self.data.space._core, constant), None, predictions
        parts = self.closed_forms(list(weights.weights))
        factors = list(weights.weights.values())
        full = parts[0]
        if factors != [1.0] or weights.constant != 0.0:
            full = _core.combine(parts, factors, constant=weights.constant, dropped=0.0, max_terms=None)
        if limit is None:
            return full, None, predictions
        held: Labelled = self.comparison.split.held
        short = _core.combine([full], [1.0], constant=0.0, dropped=0.0, max_terms=limit)
        all_terms = (len(full), held.r_squared(predictions))
        return short, all_terms, predictions_after_truncation(predictions, full, short, held.codes)

    def predictor(self, weights: Weights, predictions: Values) -> tuple[_core.Predictor, CustomPart | None]:
        """Return the weighted sum of models, tested by `predictions` of the held-out values.

        The second item is the user's predictor, which is no part of the first.
        """
        held = self.comparison.split.held
        near = self.data.near and NetworkLearner.name in weights.weights
        gain = REFIT_GAIN_NEAR if near else REFIT_GAIN
        r2 = held.held_out_r2(predictions, self.data.rows, gain=gain)
        parts, custom = [], None
        for name, weight in weights.weights.items():
            alone = held.r_squared(self.comparison.predictions[name])
            model = self.fitted(name)
            if isinstance(model, CustomTeacher):
                custom = CustomPart(model, weight, alone)
                continue
            part = model.sketch if isinstance(model, ClosedForm) else model
            assert isinstance(part, _core.Sketch | _core.Monotone | _core.CountingTrees | _core.Networks)
            parts.append((name, weight, alone, part))
        space = self.data.space._core
        variances = None
        if not (self.data.dependent() or r2.is_undefined or r2.is_carried_by_few):
            variances = _core.position_variances(space, held.codes, held.values - predictions, held.weights)
        predictor = _core.Predictor(space, constant=weights.constant, parts=parts, r2=r2, variances=variances)
        return predictor, custom
