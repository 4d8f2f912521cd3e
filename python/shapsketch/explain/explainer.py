"""Explaining sequences: Shapley values, interactions and mutations, read off a sketch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from shapsketch import _core
from shapsketch._validate import choice, integer
from shapsketch.errors import InputError
from shapsketch.evaluate.batches import Progress
from shapsketch.evaluate.evaluator import Evaluator, Parts
from shapsketch.explain.background import Background, BackgroundLike
from shapsketch.explain.control_variate import LEAST, Sampled, sample
from shapsketch.explain.mutants import Mutants, best_mutants
from shapsketch.explain.refinement import ValuesOf, difference, refined_pairs, refined_values
from shapsketch.explain.results import Epistasis, Explanation, Interactions
from shapsketch.explain.summaries import AttributionMap, Motifs, Sobol
from shapsketch.models._protocol import Model
from shapsketch.space import Codes, Sequences, Values
from shapsketch.surrogate.sketch import Sketch
from shapsketch.surrogate.spectrum import Spectrum

Index = Literal[
    "SV", "BV", "SII", "k-SII", "STII", "FSII", "FBII", "BII", "Moebius", "Co-Moebius", "Faith-Shap"
]
INDICES: tuple[str, ...] = get_args(Index)
# Indices that have every order unless told otherwise; the others have pairs.
ALL_ORDERS = ("Moebius", "Co-Moebius", "Faith-Shap")
# Sequences explained at a time where batches are ours to choose.
BATCH = 65_536
# Mutants compared one by one, at most, unless told otherwise.
COMPARED = 5_000_000


class Explainer:
    """Explains any sequence from a sketch, without further model calls.

    A position that is missing from a coalition is drawn from the background: the game is
    ``v_x(T) = E f(x_T, X_rest)`` (Tsui et al., arXiv 2410.19236, with uniform ``X``; interventional
    Shapley values in general). Its Möbius transform ``a(S)`` is a table for each support, and all indices
    are weighted sums: ``SV_i = sum_{S with i} a(S) / |S|``.

    Parameters
    ----------
    sketch : Sketch or Spectrum
    background : "uniform", array, str, list or DinucleotideShuffles
        What a missing position is drawn from: every letter alike; a product distribution, an array (n, q)
        of probabilities such as a position weight matrix, or (q,), a composition; one reference sequence such
        as the wild type (a string, or codes (n,)); a list of sequences, each equally likely (strings, or
        codes (R, n)); or :class:`DinucleotideShuffles` of each explained sequence.

    Raises
    ------
    InputError
        If the background is none of these, or its probabilities are negative or do not add up to 1.

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
        self._indices: dict[tuple[str, int, bool], _core.Interactions] = {}

    @cached_property
    def _components(self) -> _core.Components:
        if self._background.uniform or self._background.shuffles is not None:
            return self._sketch._components
        return _core.Components(self._sketch._core, self._background.core)

    @property
    def background(self) -> str:
        """What a missing position is drawn from, in words."""
        return str(self._background)

    @property
    def base_value(self) -> float:
        """The surrogate's mean over the background.

        Raises
        ------
        InputError
            If the background differs by sequence: then explanations have ``base_values``.
        """
        if self._background.shuffles is not None:
            raise InputError("each sequence has a base value of its own; see base_values of its explanation")
        return self._components.base_value

    def _references(self, codes: Codes) -> Codes | None:
        """Return the background sequences (B * R, n) of each sequence's own, if it has any."""
        own = self._background.shuffles
        return None if own is None else own.of(self._space, codes).reshape(-1, self._space.n)

    def _base_values(self, codes: Codes, references: Codes | None) -> Values:
        if references is None:
            return np.full(len(codes), self.base_value)
        scores: Values = self._components.predict(references).reshape(len(codes), -1)
        return np.asarray(scores.mean(axis=1))

    def __call__(self, sequences: Sequences) -> Explanation:
        """Return Shapley values of sequences (strings, or codes (B, n)).

        Raises
        ------
        InputError
            If a sequence is not one of the sketch's space: says which and where.
        """
        codes = self._space.encode(sequences)
        references = self._references(codes)
        if references is None:
            values = self._components.shapley_values(codes)
        else:
            values = self._components.shapley_values_with_references(codes, references)
        base = self._base_values(codes, references)
        alphabet = self._space.alphabet
        return Explanation(values, base, codes, self.background, self._link, alphabet, self._sketch)

    def stream(self, batches: Iterable[Sequences]) -> Iterator[Explanation]:
        """Yield the explanation of each batch of sequences, in constant memory.

        Parameters
        ----------
        batches : iterable of batches
            Each a list of strings or codes (B, n); a generator is read batch by batch.

        Raises
        ------
        InputError
            If a batch has a sequence that is not of the space: says which batch and which sequence.
        """
        for number, batch in enumerate(batches):
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
        each index is a weighted sum of ``a(T)`` over ``T`` that contain ``S``:

        - ``SV``: ``a(T) / t``, Shapley values; ``BV``: ``a(T) / 2**(t-1)``, Banzhaf values (both of order 1).
        - ``SII``: ``a(T) / (t-s+1)`` (Grabisch & Roubens 1999): what ``S`` does together, on average over
          who else is there. ``BII``: ``a(T) / 2**(t-s)``, the same with all coalitions alike.
        - ``k-SII`` (Bordt & von Luxburg 2023): ``SII`` aggregated so that all orders add up to the
          score; order 1 and 2 are what n-Shapley plots show.
        - ``STII`` (Sundararajan et al. 2020): ``a(S)`` below order ``l``, all the rest divided at ``l``.
        - ``FSII``, ``FBII`` (Tsai et al. 2023): the best approximation of the game by terms of order up
          to ``l``, with Shapley weights or all coalitions alike.
        - ``Moebius``: ``a(S)`` itself, exact at every order; ``Faith-Shap`` of full order, as in the SHAP
          zero paper, is the same.
        - ``Co-Moebius``: the sum of ``a(T)``: what is lost if ``S`` is taken from the whole.

        Take ``FSII`` or ``k-SII`` for a faithful summary in pairs, ``SII`` to test one pair, ``Moebius`` to
        see the terms of the sketch themselves.

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
        index : str
        max_order : int, optional
            Highest order, from 1 to n; 2 by default, and every order for ``Moebius``, ``Co-Moebius`` and
            ``Faith-Shap``.

        Returns
        -------
        Interactions

        Raises
        ------
        InputError
            If the index is not known (suggests one), the order is out of range, or a sequence is not of the
            space.
        """
        name = choice("index", index, INDICES)
        n = self._space.n
        if max_order is None:
            most = n if name in ALL_ORDERS else min(2, n)
        else:
            most = integer("max_order", max_order, least=1)
            if name in ("SV", "BV"):
                # They have order 1, whatever is allowed.
                most = 1
            if name == "Faith-Shap" and most != n:
                raise InputError(
                    f"Faith-Shap has full order, n = {n}; FSII is the same of order max_order={most}"
                )
        codes = self._space.encode(sequences)
        references = self._references(codes)
        core = self._indexed("Moebius" if name == "Faith-Shap" else name, most, references is not None)
        if references is None:
            values = self._components.values(core, codes)
        else:
            values = self._components.values_with_references(core, codes, references)
        supports = [tuple(support) for support in core.supports]
        base = self._base_values(codes, references)
        return Interactions(supports, values, name, self.background, self._link, base, n)

    def _indexed(self, index: str, most: int, with_references: bool) -> _core.Interactions:
        key = (index, most, with_references)
        if key not in self._indices:
            self._indices[key] = self._components.interactions(index, most, with_references=with_references)
        return self._indices[key]

    def mutation_effects(self, sequences: Sequences) -> Values:
        """Return the predicted change of score for every single substitution, (B, n, q).

        In-silico saturation mutagenesis from the sketch, on its scale; 0 for the letter that is there. The
        same under every background.
        """
        codes = self._space.encode(sequences)
        effects: Values = self._sketch._components.mutation_effects(codes)
        return effects.reshape(len(codes), self._space.n, self._space.q)

    def epistasis(self, sequences: Sequences) -> Epistasis:
        """Return the predicted epistasis of every two substitutions: how far their effects do not add up.

        Takes ``8 B n_pairs q**2`` bytes.
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
        limit: int = COMPARED,
    ) -> Mutants:
        """Return the mutants of a sequence with the highest (or lowest) predicted scores.

        All mutants with exactly so many mutations are compared if there are at most `limit`; otherwise a beam
        search keeps the best 200 from step to step, and ``exact`` is False.

        Parameters
        ----------
        sequence : str, or integer array (n,)
        mutations : int
            Substitutions, from 1 to n.
        count : int
            Mutants to return.
        minimize : bool
            Find the lowest scores.
        limit : int
            Mutants to compare; each takes about a microsecond for each hundred terms.
        """
        one = [sequence] if isinstance(sequence, str) else np.asarray(sequence)[None]
        row = self._space.encode(one)[0]
        number = integer("mutations", mutations, least=1)
        if number > self._space.n:
            raise InputError(f"mutations must be at most {self._space.n}, the length, got {number}")
        return best_mutants(
            self._sketch._components,
            self._space,
            row,
            mutations=number,
            count=integer("count", count, least=1),
            minimize=bool(minimize),
            limit=integer("limit", limit, least=0),
        )

    def sobol(self) -> Sobol:
        """Return how the surrogate's variance over the background divides among sets of positions.

        Raises
        ------
        InputError
            If positions of the background are not independent (sequences, shuffles).
        """
        self._independent("Sobol indices")
        return Sobol.of(self._components, self._space.n, self.background)

    def motifs(
        self, count: int = 20, *, max_order: int | None = None, sequences: Sequences | None = None
    ) -> Motifs:
        """Return the motifs that carry most of the surrogate's variance over the background.

        Parameters
        ----------
        count : int
        max_order : int, optional
            Most letters of a motif.
        sequences : optional
            Sequences to look for the motifs in.
        """
        self._independent("motifs")
        most = self._space.n if max_order is None else integer("max_order", max_order, least=1)
        codes = None if sequences is None else self._space.encode(sequences)
        number = integer("count", count, least=1)
        return Motifs.of(self._components, self._space, self.background, number, most, codes)

    def _independent(self, what: str) -> None:
        if self._background.shuffles is not None:
            raise InputError(f"{what} need a background that is the same for all sequences, not shuffles")

    def attribution_map(self, sequences: Sequences) -> AttributionMap:
        """Return mean and mean absolute Shapley values of each letter at each position over sequences."""
        codes = self._space.encode(sequences)
        own = self._background.shuffles
        size = BATCH if own is None else max(1, BATCH // own.count)
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
        The sum is unbiased, has standard errors, and a variance about ``1 / (1 - R²)`` times smaller than
        without the sketch. With few calls the noise of sampling can exceed the error of the sketch itself:
        compare ``stderr`` with that of the explanation. Pairs are noisier than single positions. The
        estimator is described in :mod:`shapsketch.explain.control_variate`.

        Parameters
        ----------
        model : callable or Evaluator
            The model, on its own scale; the sketch's link is applied. Pass an :class:`Evaluator` to choose
            inputs, batches, executor, retries and store; with the one that made the sketch, no sequence is
            evaluated twice.
        sequences : iterable of str, or integer array (B, n)
        calls_per_sequence : int
            Largest number of model evaluations for each sequence, at least 32.
        index : {"SV", "SII"}
            Shapley values, or single positions and pairs by the Shapley interaction index.
        random_state : int
        progress : bool or callable
            As for :func:`sketch`.

        Returns
        -------
        Explanation, or Interactions for ``"SII"``
            With ``stderr``.

        Raises
        ------
        ModelError
            If the model fails, or returns something else than requested.
        FileError, InputError
            If the store cannot be used, or belongs to another model.
        """
        evaluator = Evaluator.of(model).single_output()
        name = choice("index", index, ("SV", "SII"))
        calls = integer("calls_per_sequence", calls_per_sequence, least=LEAST)
        seed = integer("random_state", random_state, least=0)
        codes = self._space.encode(sequences)
        link = self._sketch._link
        link.check_functions()

        def values_of(parts: Parts, count: int) -> Values:
            with evaluator.open(self._space, link=link, progress=progress) as session:
                return link.to_link(session.values(parts, count)[:, 0], "model")

        # The sketch's own values come first: what they cannot explain is refused before any call is paid for.
        if name == "SV":
            explained = self(codes)
            return refined_values(explained, self._sampled(values_of, codes, calls, seed))
        exact = self.interactions(codes, index="SII", max_order=min(2, self._space.n))
        return refined_pairs(exact, self._sampled(values_of, codes, calls, seed, pairs=True))

    def values_of_teacher(
        self, sequences: Sequences, *, calls_per_sequence: int = 4000, random_state: int = 0
    ) -> Explanation:
        """Return Shapley values of the teacher that the sketch was distilled from.

        A teacher can represent what no sum of few terms can, such as a motif at any position, but it has no
        closed form. Its values are sampled in the same way as :meth:`refine` samples those of a model. This
        evaluates only the teacher, never the model.

        Parameters
        ----------
        sequences : iterable of str, or integer array (B, n)
        calls_per_sequence : int
            Predictions of the teacher for each sequence, at least 32.
        random_state : int

        Raises
        ------
        InputError
            If the sketch has no teacher: it was not distilled, or it was loaded from a file, which holds no
            teacher.
        """
        teacher = self._sketch._teacher
        if teacher is None:
            raise InputError(
                "this sketch has no teacher: only a sketch made by method='distill', or by 'auto' if it "
                "chose a distilled one, has a teacher, and only until it is saved"
            )
        calls = integer("calls_per_sequence", calls_per_sequence, least=LEAST)
        seed = integer("random_state", random_state, least=0)
        codes = self._space.encode(sequences)

        def values_of(parts: Parts, count: int) -> Values:
            predictions = np.concatenate([teacher.predict(batch) for batch in parts()])
            assert len(predictions) == count
            return predictions

        explained = self(codes)
        return refined_values(explained, self._sampled(values_of, codes, calls, seed))

    def _sampled(
        self, values_of: ValuesOf, codes: Codes, calls: int, seed: int, *, pairs: bool = False
    ) -> Sampled:
        """Sample the difference between a predictor's values and the sketch's."""
        predict = self._sketch._components.predict
        score = difference(values_of, predict)
        return sample(score, codes, self._background, calls=calls, seed=seed, pairs=pairs)
