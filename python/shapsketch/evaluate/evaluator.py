"""A model and how to evaluate it; each sequence is evaluated once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from shapsketch._validate import boolean
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import NOTHING, Keep, Report, Sizes, evaluate
from shapsketch.evaluate.cache import Cache
from shapsketch.evaluate.diagnostics import examine, tolerance
from shapsketch.evaluate.executor import Resources
from shapsketch.evaluate.outputs import ModelCall
from shapsketch.evaluate.progress import Progress, check_progress, progress_log, reporting
from shapsketch.evaluate.store import OpenStore, Store
from shapsketch.evaluate.threads import check_threads, runs_threads
from shapsketch.link import IDENTITY, Link
from shapsketch.models._protocol import Inputs, Model, inputs_of, named_outputs
from shapsketch.space import Codes, Sequences, SequenceSpace, Values, space_of

logger = logging.getLogger(__name__)

# Yields the same sequences, in the same parts, each time it is called.
Parts: TypeAlias = Callable[[], Iterator[Codes]]
# Sequences that `check=True` examines.
CHECKED = 8


class Evaluator:
    """A model, and how to evaluate it: inputs, batches, executor, retries, store.

    :func:`sketch`, :func:`sketch_outputs`, :func:`faithfulness` and :meth:`Explainer.refine` take it in place
    of a model. It remembers every value, so a second call with the same evaluator evaluates only new
    sequences. The memory takes about (n + 8 k) bytes for each sequence of length n and k outputs.

    Parameters
    ----------
    model : callable
        Takes a batch of sequences and returns one finite real number for each, shape (B,); with `outputs`,
        k numbers for each, shape (B, k), or a mapping of names to arrays (B,).
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes: a list of str, a uint8 array (B, n), or a float32 array (B, n, q). By default
        what an adapter of :mod:`shapsketch.models` declares; strings for other callables.
    outputs : list of str, optional
        Names of the outputs of a model with several.
    batch_size : int, optional
        Number of sequences in one call of the model. By default it adapts from 16 to 4,096, aiming at about
        one second per call, or more if larger batches are cheaper per sequence. Set a fixed size if rounding
        in your network depends on it.
    executor : concurrent.futures.Executor or distributed.Client, optional
        Where batches run: threads, processes, or a Dask cluster. Results do not depend on it, if the model is
        thread-safe: threads call the same model at once, so it must not keep anything of a batch in an
        object that all calls use. Other processes receive the model by pickle.
    in_flight : int, optional
        Largest number of batches submitted to the executor at a time; two for each worker by default.
    retries : int
        How often a batch that fails is evaluated again.
    store : path or Store, optional
        Keep every value in this file as soon as its batch ends, and never evaluate a stored sequence again.
        See :class:`Store`.
    check : bool
        Before the first evaluation in a space, examine the model with :func:`shapsketch.models.check` on
        eight of the sequences, which evaluates 18 sequences in 4 calls, and log problems as warnings. On a
        ``ThreadPoolExecutor``, the eight are evaluated twice more, in two calls at once, the second time line
        by line of Python in turn; other values than before are a :class:`ModelError`. It may miss races in
        compiled code. Skipped if the store already has values.
    remember : bool
        Keep every value in memory for later calls. Set it to False for one sketch of many million queries,
        which then takes about 10 bytes for each query; a store keeps its values nevertheless.

    Raises
    ------
    InputError
        If a parameter is wrong.

    Examples
    --------
    >>> import shapsketch as ss
    >>> def model(sequences):
    ...     return [s.count("G") + 2.0 * (s[2:4] == "AU") for s in sequences]
    >>> evaluator = ss.Evaluator(model, batch_size=256, retries=2)
    >>> space = ss.SequenceSpace(ss.RNA, length=9)
    >>> sketch = ss.sketch(evaluator, space, budget=2_000, progress=False)
    >>> evaluator.evaluate(["GGAUCCGAA", "CCCCCCCCC"], space, progress=False)
    array([5., 0.])
    """

    def __init__(  # noqa: PLR0913 - public
        self,
        model: Model,
        *,
        inputs: Inputs | None = None,
        outputs: Sequence[str] | None = None,
        batch_size: int | None = None,
        executor: Any = None,
        in_flight: int | None = None,
        retries: int = 0,
        store: str | os.PathLike[str] | Store | None = None,
        check: bool = False,
        remember: bool = True,
    ) -> None:
        if isinstance(model, Evaluator):
            raise InputError("model is already an Evaluator; pass it directly")
        self.model = model
        self.inputs = inputs_of(model, inputs)
        self.outputs = named_outputs(outputs)
        self.store = store if isinstance(store, Store) or store is None else Store(store)
        self.check = boolean("check", check)
        self._resources = Resources(executor, in_flight, retries, batch_size)
        self.remember = boolean("remember", remember)
        self._caches: dict[SequenceSpace, Cache] = {}
        self._checked: set[SequenceSpace] = set()

    @classmethod
    def of(
        cls, model: Model | Evaluator, inputs: Inputs | None = None, *, remember: bool = False
    ) -> Evaluator:
        """Return an evaluator of a model, or the evaluator that `model` is.

        For a plain callable, `remember` is True if later calls within one task may repeat sequences.

        Raises
        ------
        InputError
            If `model` is an evaluator and `inputs` is given too.
        """
        if not isinstance(model, Evaluator):
            return cls(model, inputs=inputs, remember=remember)
        if inputs is not None:
            raise InputError("pass inputs= to the Evaluator: ss.Evaluator(model, inputs=...)")
        return model

    def single_output(self) -> Evaluator:
        """Return self.

        Raises
        ------
        InputError
            If there are several outputs.
        """
        if self.outputs is not None:
            raise InputError(
                "the evaluator has several outputs; use ss.sketch_outputs to sketch each of them, or "
                "ss.models.select to select one"
            )
        return self

    def adapted(self, adapter: Callable[[Model], Model]) -> Evaluator:
        """Return an evaluator of the adapted model, with the same resources and store."""
        model = adapter(self.model)
        evaluator = Evaluator(model, store=self.store, check=self.check, remember=self.remember)
        evaluator._resources = self._resources
        return evaluator

    def evaluate(self, sequences: Sequences, space: SequenceSpace, *, progress: Progress = True) -> Values:
        """Return the model's values of sequences, shape (B,), or (B, k) for k outputs.

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
        space : SequenceSpace
        progress : bool or callable
            As for :func:`sketch`.

        Raises
        ------
        ModelError
            If the model fails, or does not return the requested values.
        FileError, InputError
            If the store cannot be used, or belongs to another model.
        """
        codes = space_of(space).encode(sequences)
        with self.open(space, progress=progress) as session:
            values = session.values(lambda: iter([codes]), len(codes))
        return values[:, 0] if self.outputs is None else values

    @contextmanager
    def open(
        self, space: SequenceSpace, *, link: Link = IDENTITY, progress: Progress = False
    ) -> Iterator[Session]:
        """Yield a session in a space; its store, if any, is open until the session ends.

        Raises
        ------
        FileError
            If the store cannot be opened or created, is damaged, or another process uses it.
        InputError
            If the store belongs to another model, space or list of outputs.
        """
        progress = check_progress(progress)
        if self.store is None:
            cache = None
            if self.remember or self.check:
                width = 1 if self.outputs is None else len(self.outputs)
                cache = self._caches.setdefault(space, Cache(space.n, width))
            yield Session(self, space, link, progress, cache, None)
            return
        with self.store.open(space, self.outputs) as opened:
            session = Session(self, space, link, progress, opened.cache, opened)
            opened.check_model(session.evaluate_alone)
            session.n_evaluated = 0
            try:
                yield session
            except BaseException:
                opened.log_how_to_continue()
                raise


class Session:
    """An evaluator in use: values of one space, on the model's scale.

    Attributes
    ----------
    n_evaluated : int
        Sequences that the model evaluated in this session.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        space: SequenceSpace,
        link: Link,
        progress: Progress,
        cache: Cache | None,
        opened: OpenStore | None,
    ) -> None:
        self._evaluator, self._space, self._link, self._progress = evaluator, space, link, progress
        self._cache, self._opened = cache, opened
        # Whether the store had values before this session.
        self._stored = opened is not None and len(opened.cache) > 0
        self._width = 1 if evaluator.outputs is None else len(evaluator.outputs)
        self.n_evaluated = 0

    def evaluate_alone(self, codes: Codes) -> Values:
        """Evaluate codes as one batch, also if their values are in the cache."""
        resources = replace(self._evaluator._resources, batch_size=len(codes))
        return self._evaluate(iter([codes]), len(codes), resources, None)

    def values(
        self, parts: Parts, count: int, *, to_square: bool = False, label: str = "", earlier: int = 0
    ) -> Values:
        """Return the values (N, k) of sequences; only those not in the cache are evaluated.

        If they are `to_square`, values whose squares overflow or vanish are refused early. Progress is shown
        with a `label`, by default what the model is. Errors count `earlier` queries, too.
        """
        show = partial(reporting, self._progress, count, label or self._call().what)
        if self._evaluator.check and self._space not in self._evaluator._checked:
            self._examine(next(parts())[:CHECKED])
        resources, cache = self._evaluator._resources, self._cache
        sizes = Sizes(self._link, self._evaluator.outputs) if to_square else None
        if cache is None:
            values = self._evaluate(
                parts(), count, resources, None, report=show, sizes=sizes, earlier=earlier
            )
            return values.reshape(count, self._width)
        cache.settle()
        values = np.empty((count, self._width))
        missing, keys = [], []
        start = 0
        for part in parts():
            hits, cached = cache.find(part)
            values[start + np.flatnonzero(hits)] = cached
            if sizes is not None:
                sizes.add(cached.reshape(-1, self._width))
            rows = np.flatnonzero(~hits)
            missing.append(start + rows)
            keys.append(cache.keys(part[rows]))
            start += len(part)
        rows = np.concatenate(missing)
        self._say_available(count - len(rows), count)
        if not len(rows):
            return values
        # A repeated sequence is evaluated once, at its first occurrence.
        _, first, repeats = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
        new = np.sort(rows[first])

        def new_parts() -> Iterator[Codes]:
            start = 0
            for part in parts():
                chosen = new[slice(*np.searchsorted(new, [start, start + len(part)]))] - start
                start += len(part)
                if len(chosen):
                    yield part[chosen]

        evaluated = self._evaluate(
            new_parts(),
            len(new),
            resources,
            self._keep(cache),
            report=partial(show, available=count - len(new)),
            sizes=sizes,
            earlier=earlier,
        ).reshape(len(new), self._width)
        values[rows] = evaluated[np.searchsorted(new, rows[first])[repeats.reshape(-1)]]
        return values

    def _evaluate(
        self,
        parts: Iterator[Codes],
        count: int,
        resources: Resources,
        keep: Keep | None,
        *,
        report: Report = NOTHING,
        sizes: Sizes | None = None,
        earlier: int = 0,
    ) -> Values:
        self.n_evaluated += count
        return evaluate(
            replace(self._call(), earlier=earlier),
            parts,
            count,
            resources,
            report=report,
            keep=keep,
            link=self._link,
            sizes=sizes,
        )

    def _say_available(self, available: int, count: int) -> None:
        """Log how many of the values need no evaluation; a store says so as progress."""
        if not available:
            return
        if self._opened is not None and self._stored:
            log = progress_log if self._progress is True else logger
            log.info("%s has %s of %s values already", self._opened.path, f"{available:,}", f"{count:,}")
        else:
            logger.info("%d of %d values are already available", available, count)

    def _call(self) -> ModelCall:
        evaluator = self._evaluator
        return ModelCall(evaluator.model, self._space, evaluator.inputs, evaluator.outputs)

    def _keep(self, cache: Cache) -> Keep:
        return cache.add if self._opened is None else self._opened.keep

    def _examine(self, codes: Codes) -> None:
        """Log problems of the model, unless the store already has values of it."""
        self._evaluator._checked.add(self._space)
        if len(codes) < 2 or (self._opened is not None and len(self._opened.cache)):
            return
        evaluator = self._evaluator
        check, values = examine(self.evaluate_alone, codes, evaluator.outputs)
        if check.repeatable and check.batch_independent and runs_threads(evaluator._resources):
            self.n_evaluated += check_threads(
                self._call(), evaluator._resources, codes, values, tolerance(values)
            )
        if self._cache is not None:
            self._keep(self._cache)(codes, values)
