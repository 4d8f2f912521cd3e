"""A few questions to a model before many are asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapsketch._validate import integer
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import Runner, evaluate
from shapsketch.models._protocol import Inputs, Model, inputs_of, named_outputs, outputs_of
from shapsketch.space import Codes, Sequences, SequenceSpace, space_of

logger = logging.getLogger(__name__)

# Differences that mean nothing: of the spread of scores, and of the largest, in roundings of float32.
OF_SPREAD = 1e-5
ROUNDINGS = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Check:
    """What :func:`check` found.

    Attributes
    ----------
    repeatable : bool
        The same batch got the same scores again.
    batch_independent : bool
        Two sequences alone got the scores that they got among others.
    constant : bool
        All sequences got the same score, of some output.
    repeat_difference, batch_difference : float
        The largest differences between those scores.
    spread : float
        Largest score less the smallest; of several outputs, the largest spread.
    messages : list of str
        What is wrong, in words; empty if nothing is.
    n_calls : int
        Sequences that the model was asked for, repeats included.
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
    """Ask a model a few sequences and say what is odd about its answers.

    The same batch is asked twice, and then the first and the last sequence alone. Differences up to 1e-5 of
    the spread of scores and some roundings of float32 are none. What is found is logged as warnings, too.

    Parameters
    ----------
    model : callable
    space : SequenceSpace
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it says itself, or strings.
    sequences : list of str or codes (B, n), optional
        What to ask, at least two; random ones by default.
    count : int
        Number of random sequences, at least 2.
    random_state : int
    outputs : list of str, optional
        Names of the outputs of a model that returns (B, k); by default what it says itself.
    retries : int
        How often a call that fails is tried again.

    Returns
    -------
    Check

    Raises
    ------
    ModelError
        If the model raises, or does not return one finite number for each sequence.
    InputError
        If there are fewer than two sequences, or one is not of the space.

    Examples
    --------
    >>> import shapsketch as ss
    >>> from shapsketch import models
    >>> def relative(sequences):  # to the others of the batch
    ...     counts = [s.count("G") for s in sequences]
    ...     return [c - max(counts) for c in counts]
    >>> found = models.check(relative, ss.SequenceSpace(ss.DNA, length=12))
    >>> found.repeatable, found.batch_independent, found.constant
    (True, False, False)
    """
    takes = inputs_of(model, inputs)
    space_of(space)
    seed = integer("random_state", random_state, least=0)
    names = named_outputs(outputs_of(model) if outputs is None else outputs)
    if sequences is None:
        codes = _random(space, integer("count", count, least=2), np.random.default_rng(seed))
    else:
        codes = space.encode(sequences)
    if len(codes) < 2:
        raise InputError("one sequence tells nothing of others; give at least two")

    def asked(batch: Codes) -> npt.NDArray[np.float64]:
        runner = Runner(progress=False, batch_size=len(batch), retries=retries)
        return evaluate(model, space, [batch], len(batch), inputs=takes, outputs=names, runner=runner)

    return examined(asked, codes, names)[0]


def examined(
    ask: Callable[[Codes], npt.NDArray[np.float64]], codes: Codes, names: tuple[str, ...] | None
) -> tuple[Check, npt.NDArray[np.float64]]:
    """Return what is odd about answers to codes, each asked as one batch, and the first answers to them."""

    def asked(batch: Codes) -> npt.NDArray[np.float64]:
        return ask(batch).reshape(len(batch), -1)

    first, again = asked(codes), asked(codes)
    alone = np.concatenate([asked(codes[:1]), asked(codes[-1:])])
    spread = np.ptp(first, axis=0)
    allowed = OF_SPREAD * spread + ROUNDINGS * np.abs(first).max(axis=0)
    repeat, apart = np.abs(again - first), np.abs(alone - first[[0, -1]])
    constant = spread <= ROUNDINGS * np.abs(first).max(axis=0)
    messages = []
    if (repeat > allowed).any():
        messages.append(
            f"the model is not repeatable: the same batch got scores that differ by up to {repeat.max():.3g} "
            f"(their spread is {spread.max():.3g}); switch off its randomness, such as dropout"
        )
    if (apart > allowed).any():
        messages.append(
            f"the score of a sequence depends on its batch: alone it differs by up to {apart.max():.3g} "
            f"(the spread is {spread.max():.3g}); a network may be in training mode, or scores "
            "are relative to others"
        )
    if constant.any():
        what = "all its outputs" if constant.all() and names else "it"
        if names and not constant.all():
            what = f"its output {names[int(np.flatnonzero(constant)[0])]!r}"
        messages.append(
            f"the model may not depend on its input: {what} gave the same score to all {len(codes)} "
            "sequences; ask more, or give sequences= of which you know better"
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
    """Return distinct random sequences, or all if they are fewer."""
    if space.size <= 4 * count:
        numbers = rng.permutation(space.size)[:count]
        return (numbers[:, None] // space.q ** np.arange(space.n) % space.q).astype(np.uint8)
    found = np.empty((0, space.n), dtype=np.uint8)
    while len(found) < count:
        more = rng.integers(0, space.q, (2 * count, space.n), dtype=np.uint8)
        found = np.unique(np.concatenate([found, more]), axis=0)
    return rng.permutation(found)[:count]
