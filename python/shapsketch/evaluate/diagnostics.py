"""Checks that a model can be sketched: it is repeatable, independent of the batch, and not constant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shapsketch._validate import check_memory, integer
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import evaluate
from shapsketch.evaluate.executor import Resources
from shapsketch.evaluate.outputs import ModelCall
from shapsketch.models._protocol import Inputs, Model, inputs_of, named_outputs, outputs_of
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, space_of

logger = logging.getLogger(__name__)

# Differences that are tolerated: this fraction of the spread of values, plus a few rounding errors of float32
# relative to the largest value.
OF_SPREAD = 1e-5
ROUNDINGS = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Check:
    """The result of :func:`check`.

    Attributes
    ----------
    repeatable : bool
        Whether the same batch received the same values again.
    batch_independent : bool
        Whether two sequences received the same values alone and within a batch.
    constant : bool
        Whether all sequences received the same value, for at least one output.
    repeat_difference, batch_difference : float
        The largest differences between those values.
    spread : float
        Largest value minus smallest value; for several outputs, the largest spread.
    messages : list of str
        The problems, one sentence each; empty if there are none.
    n_calls : int
        Sequences that the model evaluated, repeats included.
    """

    repeatable: bool
    batch_independent: bool
    constant: bool
    repeat_difference: float
    batch_difference: float
    spread: float
    messages: list[str]
    n_calls: int


def check(
    model: Model,
    space: SequenceSpace,
    inputs: Inputs | None = None,
    sequences: Sequences | None = None,
    count: int = 8,
    random_state: int = 0,
    *,
    outputs: Sequence[str] | None = None,
    retries: int = 0,
) -> Check:
    """Evaluate a few sequences and report problems of the model.

    The same batch is evaluated twice, then the first and the last sequence alone. Differences up to 1e-5 of
    the spread of values plus a few rounding errors of float32 are ignored. Problems are also logged as
    warnings.

    Parameters
    ----------
    model : callable
    space : SequenceSpace
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes. By default what an adapter declares; strings for other callables.
    sequences : list of str or codes (B, n), optional
        Sequences to evaluate, at least two; random ones by default.
    count : int
        Number of random sequences, at least 2.
    random_state : int
    outputs : list of str, optional
        Names of the outputs of a model that returns (B, k); by default what an adapter declares.
    retries : int
        How often a call that fails is repeated.

    Returns
    -------
    Check

    Raises
    ------
    ModelError
        If the model raises, or does not return one finite number for each sequence.
    InputError
        If there are fewer than two sequences, or one does not belong to the space.

    Examples
    --------
    >>> import shapsketch as ss
    >>> from shapsketch import models
    >>> def relative(sequences):  # relative to the other sequences of the batch
    ...     counts = [s.count("G") for s in sequences]
    ...     return [c - max(counts) for c in counts]
    >>> report = models.check(relative, ss.SequenceSpace(ss.DNA, length=12))
    >>> report.repeatable, report.batch_independent, report.constant
    (True, False, False)
    """
    model_inputs = inputs_of(model, inputs)
    space_of(space)
    seed = integer("random_state", random_state, least=0)
    names = named_outputs(outputs_of(model) if outputs is None else outputs)
    if sequences is None:
        number = integer("count", count, least=2)
        check_memory(f"{number:,} sequences", number * (8 * space.n + 100), "check fewer sequences")
        codes = _random(space, number, np.random.default_rng(seed))
    else:
        codes = space.encode(sequences)
    if len(codes) < 2:
        raise InputError("a check compares sequences; pass at least two")
    call = ModelCall(model, space, model_inputs, names)

    def alone(batch: Codes) -> Values:
        return evaluate(call, [batch], len(batch), Resources(batch_size=len(batch), retries=retries))

    return examine(alone, codes, names)[0]


def tolerance(values: Values) -> Values:
    """Return the differences (k) from values (B, k) that are ignored."""
    allowed: Values = OF_SPREAD * np.ptp(values, axis=0) + ROUNDINGS * np.abs(values).max(axis=0)
    return allowed


def examine(
    evaluate_alone: Callable[[Codes], Values], codes: Codes, names: tuple[str, ...] | None
) -> tuple[Check, Values]:
    """Return the check of a model, which evaluates codes as one batch, and the values of `codes`."""

    def values_of(batch: Codes) -> Values:
        return evaluate_alone(batch).reshape(len(batch), -1)

    first, again = values_of(codes), values_of(codes)
    alone = np.concatenate([values_of(codes[:1]), values_of(codes[-1:])])
    spread = np.ptp(first, axis=0)
    allowed = tolerance(first)
    repeat, apart = np.abs(again - first), np.abs(alone - first[[0, -1]])
    constant = spread <= ROUNDINGS * np.abs(first).max(axis=0)
    messages = []
    if (repeat > allowed).any():
        messages.append(
            f"the model is not repeatable: the same batch received values that differ by up to "
            f"{repeat.max():.3g} (their spread is {spread.max():.3g}); switch off its randomness, such as "
            "dropout"
        )
    if (apart > allowed).any():
        messages.append(
            f"the value of a sequence depends on its batch: alone it differs by up to {apart.max():.3g} "
            f"(the spread is {spread.max():.3g}); the network may be in training mode, or the model may "
            "compare the sequences of a batch; score each sequence independently"
        )
    if constant.any():
        subject = "all its outputs" if constant.all() and names else "it"
        if names and not constant.all():
            subject = f"its output {names[int(np.flatnonzero(constant)[0])]!r}"
        messages.append(
            f"the model may not depend on its input: {subject} gave the same value to all {len(codes)} "
            "sequences; use a larger count, or pass sequences= with known different values"
        )
    for message in messages:
        logger.warning("%s", message)
    check = Check(
        repeatable=not (repeat > allowed).any(),
        batch_independent=not (apart > allowed).any(),
        constant=bool(constant.any()),
        repeat_difference=float(repeat.max()),
        batch_difference=float(apart.max()),
        spread=float(spread.max()),
        messages=messages,
        n_calls=2 * len(codes) + 2,
    )
    return check, first


def _random(space: SequenceSpace, count: int, rng: np.random.Generator) -> Codes:
    """Return distinct random sequences, or all sequences if the space has fewer."""
    if space.size <= 4 * count:
        numbers = rng.permutation(space.size)[:count]
        digits = np.unravel_index(numbers, [len(own) for own in space.letters])
        return space._of_digits(np.stack(digits, axis=1))
    codes = np.empty((0, space.n), dtype=np.uint8)
    while len(codes) < count:
        more = space._random(rng, 2 * count)
        codes = np.unique(np.concatenate([codes, more]), axis=0)
    return rng.permutation(codes)[:count]
