"""Asking a model for what is not known: the values of sequences, each asked for once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from shapsketch.evaluate.batches import Keep, Runner, evaluate
from shapsketch.evaluate.diagnostics import examined
from shapsketch.evaluate.store import Known, OpenStore, Store
from shapsketch.link import Link
from shapsketch.models._protocol import Model
from shapsketch.space import Codes, SequenceSpace, Values

logger = logging.getLogger(__name__)

# The same sequences, in the same parts, each time that it is called.
Parts = Callable[[], Iterator[Codes]]


class Observer:
    """Asks a model for sequences, and for none whose value is known, from a store or from before.

    Parameters
    ----------
    remember : bool
        Know what was asked before, without a store, too: some (n + 8 k) bytes a sequence.
    """

    def __init__(
        self,
        model: Model,
        space: SequenceSpace,
        *,
        inputs: str,
        outputs: tuple[str, ...] | None,
        runner: Runner,
        link: Link,
        kept: OpenStore | None,
        remember: bool,
    ) -> None:
        self._model, self._space, self._inputs, self._outputs = model, space, inputs, outputs
        self._runner, self._link, self._kept = runner, link, kept
        self._width = 1 if outputs is None else len(outputs)
        self._known = kept.known if kept is not None else Known(space.n, self._width) if remember else None
        # Sequences that the model was asked for.
        self.asked = 0
        if kept is not None:
            kept.check_model(self._alone)
            # What tells the model is not what was asked for.
            self.asked = 0

    def _alone(self, codes: Codes) -> Values:
        """Ask for one batch, whatever is known."""
        runner = replace(self._runner, progress=False, batch_size=len(codes))
        return self._evaluate(iter([codes]), len(codes), runner, None)

    def _evaluate(self, parts: Iterator[Codes], count: int, runner: Runner, keep: Keep | None) -> Values:
        self.asked += count
        return evaluate(
            self._model,
            self._space,
            parts,
            count,
            inputs=self._inputs,
            outputs=self._outputs,
            runner=runner,
            keep=keep,
            link=self._link,
        )

    def _keep(self) -> Keep | None:
        if self._kept is not None:
            return self._kept.keep
        return None if self._known is None else self._known.add

    def examine(self, codes: Codes) -> None:
        """Log what is odd about answers to some sequences, unless the store has values of this model."""
        if len(codes) < 2 or (self._kept is not None and len(self._kept.known)):
            return
        _, answers = examined(self._alone, codes, self._outputs)
        keep = self._keep()
        if keep is not None:
            keep(codes, answers)

    def ask(self, parts: Parts, count: int) -> Values:
        """Return the values (N, k) of sequences that come in parts, on the model's scale."""
        known = self._known
        if known is None:
            return self._evaluate(parts(), count, self._runner, None).reshape(count, self._width)
        known.settle()
        answers = np.empty((count, self._width))
        missing, keys = [], []
        start = 0
        for part in parts():
            found, values = known.find(part)
            answers[start + np.flatnonzero(found)] = values
            rows = np.flatnonzero(~found)
            missing.append(start + rows)
            keys.append(known.keys(part[rows]))
            start += len(part)
        where = np.concatenate(missing)
        if not len(where):
            return answers
        # Those that come more than once are asked for where they come first.
        _, first, same = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
        asked = np.sort(where[first])
        if len(asked) < count:
            logger.info("%d of %d values are known", count - len(asked), count)

        def of_asked() -> Iterator[Codes]:
            start = 0
            for part in parts():
                rows = asked[slice(*np.searchsorted(asked, [start, start + len(part)]))] - start
                start += len(part)
                if len(rows):
                    yield part[rows]

        told = self._evaluate(of_asked(), len(asked), self._runner, self._keep())
        told = told.reshape(len(asked), self._width)
        answers[where] = told[np.searchsorted(asked, where[first])[same.reshape(-1)]]
        return answers


@contextmanager
def observing(
    model: Model,
    space: SequenceSpace,
    *,
    inputs: str,
    runner: Runner,
    link: Link,
    store: str | os.PathLike[str] | Store | None,
    outputs: tuple[str, ...] | None = None,
    remember: bool = False,
) -> Iterator[Observer]:
    """Yield an observer, with its store open if there is one.

    Raises
    ------
    FileError
        If the store cannot be opened or made, is damaged, or another process has it.
    InputError
        If it is of another model, space or list of outputs.
    """
    arguments = {"inputs": inputs, "outputs": outputs, "runner": runner, "link": link, "remember": remember}
    if store is None:
        yield Observer(model, space, kept=None, **arguments)  # type: ignore[arg-type]
        return
    given = store if isinstance(store, Store) else Store(store)
    with given.open(space, outputs) as kept:
        observer = Observer(model, space, kept=kept, **arguments)  # type: ignore[arg-type]
        try:
            yield observer
        except BaseException:
            kept.say_how_to_go_on()
            raise
