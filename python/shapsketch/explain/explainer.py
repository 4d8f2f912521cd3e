"""Explain sequences with a sketch: Shapley values, interactions, mutations and summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal

import numpy as np

from shapsketch import _core
from shapsketch._lazy import lazy_property
from shapsketch._validate import boolean, choice, integer, iterator_of
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import Progress
from shapsketch.evaluate.evaluator import Evaluator, Parts
from shapsketch.explain.background import Background, BackgroundLike
from shapsketch.explain.control_variate import MIN_CALLS, sample
from shapsketch.explain.indices import ALL_ORDERS, INDICES, Index
from shapsketch.explain.mutants import MAX_COMPARED, Mutants, best_mutants, one_sequence
from shapsketch.explain.refinement import difference, refined_pairs, refined_values
from shapsketch.explain.results import Epistasis, Explanation, Interactions
from shapsketch.explain.summaries import AttributionMap, Motifs, Sobol
from shapsketch.models._protocol import Model
from shapsketch.space import Codes, Sequences, Values
from shapsketch.surrogate.sketch import Sketch
from shapsketch.surrogate.spectrum import Spectrum

# Largest number of sequences that `attribution_map` explains at a time, and of their Shapley values.
BATCH_SIZE, BATCH_VALUES = 65_536, 1 << 24


class Explainer:
    """Explains any sequence with a sketch, without evaluating the model again.

    Positions that are missing from a coalition are drawn from the background: the game is
    ``v_x(T) = E f(x_T, X_rest)`` (interventional Shapley values; Tsui et al., arXiv 2410.19236, for uniform
    ``X``). Its Möbius transform ``a(S)`` is a table for each support, and all indices are weighted sums of
    it: ``SV_i = sum_{S with i} a(S) / |S|``.

    Parameters
    ----------
    sketch : Sketch or Spectrum
    background : "uniform", array, str, list or DinucleotideShuffles
        The distribution from which missing positions are drawn. "uniform": all symbols are equally likely. A
        float array (n, q): a product distribution, such as a position weight matrix; a float array (q,): one
        composition for all positions. The labels of a pandas object must be the symbols, in any order: the
        columns of a DataFrame (n, q), and the index of a Series (q,). A string or codes (n,): one reference
        sequence, such as the wild type. A list of strings or codes (R, n): these sequences, equally likely.
        :class:`DinucleotideShuffles`: shuffles of each explained sequence.

    Raises
    ------
    InputError
        If the background has another form, or its probabilities are negative or do not add up to 1.

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace("01", length=3)
    >>> both = ss.Spectrum(space, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], [0.25, -0.25, -0.25, 0.25])
    >>> explainer = ss.Explainer(both)  # 1 if the first two symbols are both 1
    >>> explainer(["110"]).values
    array([[0.375, 0.375, 0.   ]])
    >>> explainer.interactions(["110"]).supports
    [(0,), (1,), (0, 1)]
    >>> ss.Explainer(both, background="010")(["110"]).values
    array([[1., 0., 0.]])
    """

    def __init__(self, sketch: Sketch | Spectrum, background: BackgroundLike = "uniform") -> None:
        if not isinstance(sketch, (Sketch, Spectrum)):
            raise InputError(f"expected a Sketch or a Spectrum, got {type(sketch).__name__}")
        self._sketch = sketch if isinstance(sketch, Sketch) else Sketch(sketch)
        self._space = self._sketch.space
        self._background = Background.parse(background, self._space)
        self._link = self._sketch.link
        self._compiled: dict[tuple[str, int, bool], _core.Interactions] = {}

    @lazy_property
    def _components(self) -> _core.Components:
        if self._background.uniform or self._background.shuffles is not None:
            return self._sketch._components
        return _core.Components(self._sketch._core, self._background.core)

    def __reduce__(self) -> tuple[type[Explainer], tuple[Sketch, Background]]:
        return Explainer, (self._sketch, self._background)

    @property
    def background(self) -> str:
        """The distribution from which missing positions are drawn, in words."""
        return str(self._background)

    @property
    def base_value(self) -> float:
        """The surrogate's mean over the background.

        Raises
        ------
        InputError
            If the background differs by sequence; explanations then have different ``base_values``.
        """
        if self._background.shuffles is not None:
            raise InputError("the base value differs by sequence here; use base_values of an explanation")
        return self._components.base_value

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
                return shared(part), np.full(len(part), self.base_value)
            values.append(own(part, references))
            scores: Values = self._components.predict(references).reshape(len(part), -1)
            bases.append(scores.mean(axis=1))
        return np.concatenate(values), np.concatenate(bases)

    def __call__(self, sequences: Sequences) -> Explanation:
        """Return Shapley values of sequences (strings, or codes (B, n)).

        Raises
        ------
        InputError
            If a sequence does not belong to the space; the message says which one and where.
        """
        codes, components = self._space.encode(sequences), self._components
        values, base = self._explained(
            codes, components.shapley_values, components.shapley_values_with_references
        )
        alphabet = self._space.alphabet
        return Explanation(values, base, codes, self.background, self._link, alphabet, self._sketch)

    def stream(self, batches: Iterable[Sequences]) -> Iterator[Explanation]:
        """Yield one explanation for each batch of sequences, in constant memory.

        Parameters
        ----------
        batches : iterable of batches
            Each batch is a list of strings or codes (B, n). A generator is read one batch at a time.

        Raises
        ------
        InputError
            If a sequence does not belong to the space; the message says which batch and which sequence. Or if
            `batches` cannot be iterated over.
        """
        for number, batch in enumerate(iterator_of("batches", batches, "lists of sequences")):
            try:
                explanation = self(batch)
            except InputError as error:
                raise InputError(f"batch {number}: {error}") from error
            yield explanation

    def interactions(
        self, sequences: Sequences, *, index: Index = "Moebius", max_order: int | None = None
    ) -> Interactions:
        """Return interactions of sequences (strings, or codes (B, n)).

        With ``a(T)`` the Möbius transform of the game, ``t = |T|``, ``s = |S|`` and highest order ``l``,
        each index is a weighted sum of ``a(T)`` over the sets ``T`` that contain ``S``:

        - ``SV``: ``a(T) / t``, Shapley values; ``BV``: ``a(T) / 2**(t-1)``, Banzhaf values (both of order 1).
        - ``SII``: ``a(T) / (t-s+1)`` (Grabisch & Roubens 1999), the joint effect of ``S``, averaged over the
          other positions that are present. ``BII``: ``a(T) / 2**(t-s)``, the same with equal weights for all
          coalitions.
        - ``k-SII`` (Bordt & von Luxburg 2023): ``SII``, aggregated so that all orders add up to the score;
          orders 1 and 2 are the values of n-Shapley plots.
        - ``STII`` (Sundararajan et al. 2020): ``a(S)`` below order ``l``; the rest is divided at order ``l``.
        - ``FSII``, ``FBII`` (Tsai et al. 2023): the best approximation of the game by terms up to order
          ``l``, with Shapley weights, or with equal weights for all coalitions.
        - ``Moebius``: ``a(S)`` itself, exact at every order. ``Faith-Shap`` is the same, of full order, as in
          the SHAP zero paper.
        - ``Co-Moebius``: the sum of ``a(T)``, the loss if ``S`` is removed from the whole sequence.

        Use ``FSII`` or ``k-SII`` for a faithful summary in pairs, ``SII`` to test one pair, and ``Moebius``
        to see the terms of the sketch.

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
        index : str
        max_order : int, optional
            Highest order, from 1 to n. The default is 2, and n for ``Moebius``, ``Co-Moebius`` and
            ``Faith-Shap``.

        Returns
        -------
        Interactions

        Raises
        ------
        InputError
            If the index does not exist (the message suggests one), the order is out of range, or a sequence
            does not belong to the space.
        """
        name = choice("index", index, INDICES)
        n = self._space.n
        if max_order is None:
            highest = n if name in ALL_ORDERS else min(2, n)
        else:
            highest = integer("max_order", max_order, least=1)
            if name in ("SV", "BV"):
                # Values of order 1, so any `max_order` is valid.
                highest = 1
            if name == "Faith-Shap" and highest != n:
                raise InputError(
                    f"Faith-Shap has full order, n = {n}; use index='FSII' for max_order={highest}"
                )
        codes, components = self._space.encode(sequences), self._components
        core_name = "Moebius" if name == "Faith-Shap" else name
        core = self._compile(core_name, highest, with_references=self._background.shuffles is not None)
        values, base = self._explained(
            codes, partial(components.values, core), partial(components.values_with_references, core)
        )
        supports = [tuple(support) for support in core.supports]
        orders = range(1, highest + 1)
        return Interactions(supports, values, name, self.background, self._link, base, n, orders)

    def _compile(self, index: str, max_order: int, *, with_references: bool) -> _core.Interactions:
        key = (index, max_order, with_references)
        if key not in self._compiled:
            self._compiled[key] = self._components.interactions(
                index, max_order, with_references=with_references
            )
        return self._compiled[key]

    def mutation_effects(self, sequences: Sequences) -> Values:
        """Return the predicted change of the score by every single substitution, (B, n, q).

        This is in-silico saturation mutagenesis with the sketch, on its scale. The change is 0 for the symbol
        of the sequence itself. It does not depend on the background.
        """
        codes = self._space.encode(sequences)
        effects: Values = self._sketch._components.mutation_effects(codes)
        return effects.reshape(len(codes), self._space.n, self._space.q)

    def epistasis(self, sequences: Sequences) -> Epistasis:
        """Return the predicted epistasis of every two substitutions.

        Epistasis is the effect of both substitutions minus the sum of their single effects. The result takes
        ``8 B n_pairs q**2`` bytes.
        """
        codes = self._space.encode(sequences)
        components = self._sketch._components
        q, pairs = self._space.q, components.pairs
        values = components.epistasis(codes).reshape(len(codes), len(pairs), q, q)
        return Epistasis(pairs, values, codes, self._link)

    def best_mutants(
        self,
        sequence: str | Codes,
        mutations: int,
        *,
        count: int = 10,
        minimize: bool = False,
        limit: int = MAX_COMPARED,
    ) -> Mutants:
        """Return the mutants of a sequence with the highest (or lowest) predicted scores.

        All mutants with exactly `mutations` substitutions are compared if there are at most `limit`.
        Otherwise a beam search keeps the best 200 mutants after each substitution (`count` if larger), and
        ``exact`` is False. Its time is proportional to the product of `mutations`, the mutants that it keeps,
        the length, and the number of terms; a search that scores more than 5e7 mutants logs a warning first.

        Parameters
        ----------
        sequence : str, or integer array (n,)
        mutations : int
            Number of substitutions, from 1 to n.
        count : int
            Number of mutants to return.
        minimize : bool
            Return the mutants with the lowest scores.
        limit : int
            Largest number of mutants to compare; each takes about a microsecond for each hundred terms.

        Raises
        ------
        InputError
            If a number is out of range, or the sequence does not belong to the space.
        """
        return best_mutants(
            self._sketch._components,
            self._space,
            one_sequence(sequence, self._space),
            mutations=mutations,
            count=count,
            minimize=boolean("minimize", minimize),
            limit=limit,
        )

    def sobol(self) -> Sobol:
        """Return Sobol indices: how the surrogate's variance divides among sets of positions.

        The variance is that over the background.

        Raises
        ------
        InputError
            If the positions of the background are not independent (sequences, shuffles).
        """
        self._background.require_shared("Sobol indices")
        return Sobol.of(self._components, self._space.n, self.background)

    def motifs(
        self, count: int = 20, *, max_order: int | None = None, sequences: Sequences | None = None
    ) -> Motifs:
        """Return the motifs that carry most of the surrogate's variance over the background.

        Parameters
        ----------
        count : int
            Largest number of motifs.
        max_order : int, optional
            Largest number of symbols of a motif; the length by default.
        sequences : iterable of str, or integer array (B, n), optional
            Sequences to search for the motifs.

        Raises
        ------
        InputError
            If the positions of the background are not independent (sequences, shuffles).
        """
        self._background.require_shared("motifs")
        highest = self._space.n if max_order is None else integer("max_order", max_order, least=1)
        codes = None if sequences is None else self._space.encode(sequences)
        number = integer("count", count, least=1)
        return Motifs.of(self._components, self._space, self.background, number, highest, codes)

    def attribution_map(self, sequences: Sequences) -> AttributionMap:
        """Return mean and mean absolute Shapley values of each symbol at each position over sequences."""
        codes = self._space.encode(sequences)
        size = max(1, min(BATCH_SIZE, BATCH_VALUES // self._space.n))
        batches = (codes[start : start + size] for start in range(0, len(codes), size))
        explained = ((part.data, part.values) for part in self.stream(batches))
        return AttributionMap.of(explained, self._space, self.background)

    def refine(
        self,
        model: Model | Evaluator,
        sequences: Sequences,
        *,
        calls_per_sequence: int = 1000,
        index: Literal["SV", "SII"] = "SV",
        random_state: int = 0,
        progress: Progress = True,
    ) -> Explanation | Interactions:
        """Return Shapley values of the model itself, sampled with the sketch as control variate.

        The values of the sketch are exact; only those of the difference between model and sketch are sampled.
        The sum is unbiased and has standard errors; its variance is smaller than without the sketch by a
        factor of about ``1 / (1 - R²)``. With few calls the sampling noise can exceed the error of the sketch
        itself: compare ``stderr`` with that of the explanation. Pairs have larger errors than single
        positions. The estimator is described in :mod:`shapsketch.explain.control_variate`.

        Parameters
        ----------
        model : callable or Evaluator
            The model, on its own scale; the sketch's link is applied. Pass an :class:`Evaluator` to choose
            inputs, batches, executor, retries and store. If the same evaluator made the sketch, no sequence
            is evaluated twice.
        sequences : iterable of str, or integer array (B, n)
        calls_per_sequence : int
            Largest number of model evaluations for each sequence, at least 32.
        index : {"SV", "SII"}
            Shapley values, or the Shapley interaction index of single positions and pairs.
        random_state : int
        progress : bool or callable
            As for :func:`sketch`.

        Returns
        -------
        Explanation, or Interactions for ``"SII"``
            With ``stderr``, the standard errors of sampling.

        Raises
        ------
        ModelError
            If the model fails, or does not return the requested values.
        FileError, InputError
            If the store cannot be used, or belongs to another model.
        """
        evaluator = Evaluator.of(model).single_output()
        name = choice("index", index, ("SV", "SII"))
        calls = integer("calls_per_sequence", calls_per_sequence, least=MIN_CALLS)
        seed = integer("random_state", random_state, least=0)
        codes = self._space.encode(sequences)
        link = self._sketch._link
        link.check_functions()

        def values_of(parts: Parts, count: int) -> Values:
            with evaluator.open(self._space, link=link, progress=progress) as session:
                return link.to_link(session.values(parts, count, to_square=True)[:, 0], "model")

        residuals_of, background = difference(values_of, self._sketch), self._background
        # Explain with the sketch first: if that fails, no evaluation was spent.
        if name == "SV":
            values = self(codes)
            return refined_values(values, sample(residuals_of, codes, background, calls=calls, seed=seed))
        pairs = self.interactions(codes, index="SII", max_order=min(2, self._space.n))
        sampled = sample(residuals_of, codes, background, calls=calls, seed=seed, pairs=True)
        return refined_pairs(pairs, sampled)

    def values_of_predictor(
        self, sequences: Sequences, *, calls_per_sequence: int = 4000, random_state: int = 0
    ) -> Explanation:
        """Return Shapley values of the best predictor of the sketch.

        The predictor is closer to the model than the sketch, but it has no closed form. Its values are
        sampled in the same way as :meth:`refine` samples those of a model, and the sketch supplies exactly
        what it can explain. Only the predictor is evaluated, never the model.

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
        calls_per_sequence : int
            Largest number of predictions for each sequence, at least 32.
        random_state : int

        Raises
        ------
        InputError
            If the sketch has no predictor.
        """
        predictor = self._sketch.predictor
        if predictor is None:
            raise InputError(
                "this sketch has no predictor besides its closed form; sketch the model with method='auto' "
                "and effort='standard' or 'thorough'"
            )
        calls = integer("calls_per_sequence", calls_per_sequence, least=MIN_CALLS)
        seed = integer("random_state", random_state, least=0)
        codes = self._space.encode(sequences)

        def values_of(parts: Parts, count: int) -> Values:
            predictions = np.concatenate([predictor.predict(batch) for batch in parts()])
            assert len(predictions) == count
            return predictions

        values, residuals_of = self(codes), difference(values_of, self._sketch)
        return refined_values(values, sample(residuals_of, codes, self._background, calls=calls, seed=seed))
