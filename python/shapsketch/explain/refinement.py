"""Shapley values of a model itself, with its sketch as control variate."""

from __future__ import annotations

from shapsketch.evaluate.evaluator import Evaluator, Parts
from shapsketch.evaluate.progress import Progress
from shapsketch.explain.control_variate import sample
from shapsketch.explain.pairs import sampled_interactions
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.explain.routes import Routes
from shapsketch.space import Codes, Values


def refined(
    routes: Routes,
    evaluator: Evaluator,
    codes: Codes,
    *,
    index: str,
    calls: int,
    seed: int,
    progress: Progress,
) -> Explanation | Interactions:
    """Return the Shapley values ("SV") or the interactions ("SII") of codes (B, n), by calls of a model."""
    space, link = routes.space, routes.link
    link.check_functions()

    def values_of(parts: Parts, count: int) -> Values:
        with evaluator.open(space, link=link, progress=progress) as session:
            return link.to_link(session.values(parts, count, to_square=True)[:, 0], "model")

    # Explain with the sketch first: if that fails, no evaluation was spent.
    pairs = index == "SII"
    controls = routes.controls(codes, calls=calls, pairs=pairs)
    sampled = sample(values_of, codes, routes.background, controls, calls=calls, seed=(seed,), pairs=pairs)
    explained = routes.explained(None)
    if pairs:
        return sampled_interactions(sampled, index, min(2, space.n), explained)
    return Explanation(sampled.values, sampled.base_values, codes, explained, sampled.stderr, space.alphabet)
