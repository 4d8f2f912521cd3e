"""What was explained, and how faithfully, in words."""

from __future__ import annotations

import math

from shapsketch.explain.explained import Explained
from shapsketch.link import MONOTONE
from shapsketch.surrogate.sketch import LOW_FIDELITY, Sketch
from shapsketch.surrogate.summary import UNSEEN, described

# A name and what is known about it.
Fact = tuple[str, str]
HOW = {
    "closed form": "the closed form of the sketch; its Shapley values are exact",
    "predictor": "the predictor of the sketch, a weighted sum of models; its Shapley values are sampled",
    "amortised predictor": "the predictor of the sketch; a network computes its Shapley values",
}


def facts_of(sketch: Sketch, explained: Explained) -> list[Fact]:
    """Return what was explained and how faithfully, for the top of a page."""
    facts = [("Sequences", f"over {described(sketch.space)}"), ("Explained", HOW[explained.of])]
    if explained.error:
        facts.append(("Error of the network", f"{explained.error:.1%} of the size of the Shapley values"))
    facts += [("R²", _r2(sketch, explained)), ("Background", _background(explained))]
    own = explained.link == "identity"
    scale = "that of the model" if own else f"{explained.link} of the scale of the model"
    if explained.link == MONOTONE:
        scale = "latent: a monotone curve leads to that of the model"
    facts.append(("Scale", f"{scale} (link {explained.link})"))
    info = sketch._info
    if info is not None:
        facts.append(("Method", f"{info.method} ({info.status})"))
        facts.append(("Evaluated sequences", f"{info.n_queries:,} of a budget of {info.budget:,}"))
        if info.method not in ("exact", "converted"):
            rarest = max(1, info.n_queries // UNSEEN)
            facts.append(
                (
                    "Rarest feature",
                    f"a feature in fewer than 1 of {rarest:,} sequences may not be in the evaluated ones",
                )
            )
    return [*facts, ("Terms", f"{sketch.n_terms:,} in the closed form")]


def _background(explained: Explained) -> str:
    return f"{explained.background}; the symbols of missing positions are drawn from it"


def _r2(sketch: Sketch, explained: Explained) -> str:
    if math.isnan(explained.r2):
        return "not known"
    predictor = None if explained.of == "closed form" else sketch.predictor
    interval = sketch.r2_interval if predictor is None else predictor.r2_interval
    between = "" if interval is None else f", 95 % interval {interval[0]:.4f} to {interval[1]:.4f}"
    where = "uniform sequences" if explained.distribution in ("", "uniform") else explained.distribution
    return f"{explained.r2:.4f}{between}, on {where}"


def cautions_of(sketch: Sketch, explained: Explained, distance: str | None) -> list[str]:
    """Return reasons to doubt the explanations; `distance` says in words that sequences are far."""
    cautions = [] if distance is None else [f"Explanations can be wrong: {distance}."]
    info = sketch._info
    if info is None:
        return cautions
    r2 = info.r2
    if r2.is_undefined:
        cautions.append(f"R² is undefined, because all {r2.count:,} values are equal.")
    if r2.is_carried_by_few:
        few = max(1, round(r2.n_effective))
        cautions.append(f"About {few} of {r2.count:,} sequences decide R² and its interval.")
    if explained.r2 < LOW_FIDELITY:
        cautions.append("R² is low: the explanations describe the sketch, not the model.")
    return cautions
