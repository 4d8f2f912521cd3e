"""Plots of results, drawn by matplotlib (extra ``plot``).

Each function draws on the axes `ax`, by default on those of a new figure, and returns the axes. Titles say
what was explained, its R², the background and the scale. Colours can be told apart by colour-blind people.

- Sequences: :func:`logo`, :func:`mutation_map`, :func:`position_letter_map`, :func:`beeswarm`,
  :func:`waterfall`.
- Pairs of positions: :func:`pair_map`, :func:`arcs`, :func:`network`, :func:`epistasis_map`.
- Sketches: :func:`order_energy`, :func:`spacing`, :func:`predicted_against_true`, :func:`budget_curve`.
"""

from shapsketch.plot.fidelity import budget_curve, order_energy, predicted_against_true, spacing
from shapsketch.plot.pairs import arcs, epistasis_map, network, pair_map
from shapsketch.plot.sequences import logo, mutation_map, position_letter_map
from shapsketch.plot.values import beeswarm, waterfall

__all__ = [
    "arcs",
    "beeswarm",
    "budget_curve",
    "epistasis_map",
    "logo",
    "mutation_map",
    "network",
    "order_energy",
    "pair_map",
    "position_letter_map",
    "predicted_against_true",
    "spacing",
    "waterfall",
]
