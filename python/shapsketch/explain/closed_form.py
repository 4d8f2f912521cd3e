"""Exact explanations, by the closed form of a sketch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import lazy_property
from shapsketch.explain.control_variate import Controls
from shapsketch.explain.table import Support
from shapsketch.query.background import Background
from shapsketch.space import Codes, SequenceSpace, Values
from shapsketch.surrogate.sketch import Sketch


class ClosedForm:
    """Shapley values and interactions of the closed form of a sketch under a background."""

    def __init__(self, sketch: Sketch, background: Background) -> None:
        self._sketch, self._background = sketch, background
        self._compiled: dict[tuple[str, int, bool], _core.Interactions] = {}

    @lazy_property
    def components(self) -> _core.Components:
        """The components under the background; under the uniform one if it differs by sequence."""
        if self._background.uniform or self._background.shuffles is not None:
            return self._sketch._components
        return _core.Components(self._sketch._core, self._background.core)

    def typical_sequences(self, count: int, rng: np.random.Generator) -> Codes:
        """Return random sequences (count, n) with the symbols of the queries."""
        space, distribution = self._background.space, self._sketch._core.distribution
        if distribution is None:
            return space._random(rng, count)
        queries = Background(space, probabilities=distribution.probabilities.reshape(space.n, space.q))
        return queries.draw(np.zeros(space.n, dtype=np.uint8), count, rng)

    def predict(self, codes: Codes) -> Values:
        """Return predicted scores (B,)."""
        return self._sketch._components.predict(codes)

    def walks(self, starts: Codes, targets: Codes, orders: npt.NDArray[np.uint32]) -> Values:
        """Return scores (R, n + 1) along walks."""
        return self._sketch._components.walks(starts, targets, orders)

    def mutation_effects(self, codes: Codes) -> Values:
        """Return the change of the score by every substitution, (B, n q)."""
        return self._sketch._components.mutation_effects(codes)

    def epistasis(self, codes: Codes) -> tuple[list[tuple[int, int]], Values]:
        """Return the pairs of positions that share a term, and their epistasis, (B, n_pairs, q, q)."""
        components, q = self._sketch._components, self._background.space.q
        pairs = components.pairs
        return pairs, components.epistasis(codes).reshape(len(codes), len(pairs), q, q)

    @property
    def n_pairs(self) -> int:
        """Number of pairs of positions that share a term."""
        return len(self._sketch._components.pairs)

    @property
    def space(self) -> SequenceSpace:
        """The sequence space."""
        return self._background.space

    @property
    def base_value(self) -> float:
        """Mean over the background."""
        return self.components.base_value

    def _explained(
        self, codes: Codes, shared: Callable[[Codes], Values], own: Callable[[Codes, Codes], Values]
    ) -> tuple[Values, Values]:
        """Return explanations (B, width) and base values (B,).

        The function `shared` explains codes under a background that is the same for all of them, and `own`
        under background sequences of each of them.
        """
        values, bases = [], []
        for part, references in self._background.parts(codes):
            if references is None:
                return shared(part), np.full(len(part), self.components.base_value)
            values.append(own(part, references))
            scores: Values = self.components.predict(references).reshape(len(part), -1)
            bases.append(scores.mean(axis=1))
        return np.concatenate(values), np.concatenate(bases)

    def shapley_values(self, codes: Codes) -> tuple[Values, Values]:
        """Return Shapley values (B, n) and base values (B,)."""
        components = self.components
        return self._explained(codes, components.shapley_values, components.shapley_values_with_references)

    def interactions(self, codes: Codes, index: str, max_order: int) -> tuple[list[Support], Values, Values]:
        """Return supports, interactions (B, n_supports) and base values (B,)."""
        components, own = self.components, self._background.shuffles is not None
        key = (index, max_order, own)
        if key not in self._compiled:
            self._compiled[key] = components.interactions(index, max_order, with_references=own)
        core = self._compiled[key]
        values, bases = self._explained(
            codes, partial(components.values, core), partial(components.values_with_references, core)
        )
        return [tuple(support) for support in core.supports], values, bases

    def controls(self, codes: Codes, *, pairs: bool) -> Controls:
        """Return the closed form as a control variate."""
        values, bases = self.shapley_values(codes)
        matrices = None
        if pairs:
            count, n = codes.shape
            matrices = np.zeros((count, n, n, 1))
            supports, interactions, _ = self.interactions(codes, "SII", min(2, n))
            for support, column in zip(supports, interactions.T, strict=True):
                i, j = support[0], support[-1]
                matrices[:, i, j, 0] = matrices[:, j, i, 0] = column
        return Controls(
            lambda hybrids: self.predict(hybrids)[:, None], values[..., None], bases[:, None], matrices
        )
