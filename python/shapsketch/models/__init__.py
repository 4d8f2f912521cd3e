"""Adapters, which make the models of other libraries, programs and files callable.

An adapter takes a batch of sequences and returns one number for each, shape (B,), or k numbers, shape (B, k).
Its `inputs` declare what a batch is ("strings", "codes" or "onehot"), and its `outputs` the names of several
outputs, if they are known. Adapters nest. An adapter can be sent to other processes if its model can.

- Libraries: :func:`array`, :func:`sklearn`, :func:`booster`, :func:`torch`, :func:`keras`.
- Sequences and outputs: :func:`template`, :func:`reverse_complement`, :func:`select`.
- Programs, imports and files: :func:`command`, :func:`imported`, :func:`table`.
- :func:`check` evaluates a few sequences and reports problems of a model.
"""

from shapsketch.evaluate.diagnostics import Check, check
from shapsketch.models.estimators import booster, sklearn
from shapsketch.models.imports import imported
from shapsketch.models.lookup import table
from shapsketch.models.networks import array, keras, torch
from shapsketch.models.programs import command
from shapsketch.models.wrappers import reverse_complement, select, template

__all__ = [
    "Check",
    "array",
    "booster",
    "check",
    "command",
    "imported",
    "keras",
    "reverse_complement",
    "select",
    "sklearn",
    "table",
    "template",
    "torch",
]
