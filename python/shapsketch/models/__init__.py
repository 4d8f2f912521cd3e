"""Adapters: models of other libraries, programs and places, as :func:`shapsketch.sketch` asks them.

An adapter is called with a batch and returns one number for each sequence, shape (B,), or several, (B, k).
Its `inputs` say what the batch is ("strings", "codes" or "onehot"), its `outputs` how several numbers are
called, if that is known. Adapters nest, and go to other processes wherever the model that they hold goes.

- Of libraries: :func:`array`, :func:`sklearn`, :func:`booster`, :func:`torch`, :func:`keras`.
- On sequences: :func:`template`, :func:`reverse_complement`, :func:`select`.
- From elsewhere: :func:`command`, :func:`imported`, :func:`table`.
- :func:`check` asks a model a few sequences and says what is odd about its answers.
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
