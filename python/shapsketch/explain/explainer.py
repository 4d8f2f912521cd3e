"""Explain sequences with a sketch: Shapley values, interactions, mutations and summaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np

from shapsketch._validate import choice, integer, iterator_of, number
from shapsketch.errors import InputError
from shapsketch.evaluate.evaluator import Evaluator
from shapsketch.evaluate.progress import Progress, check_progress
from shapsketch.explain.closed_form import ClosedForm
from shapsketch.explain.control_variate import MIN_CALLS
from shapsketch.explain.distance import Guard, default_background
from shapsketch.explain.epistasis import Epistasis
from shapsketch.explain.explained import Explained, Explains
from shapsketch.explain.indices import Index, name_and_order
from shapsketch.explain.interop import LikeShap
from shapsketch.explain.library import substitutions_of
from shapsketch.explain.mutants import MAX_COMPARED, Mutants, Wanted, best_mutants, by_letter, one_sequence
from shapsketch.explain.pairs import sampled_index, sampled_interactions
from shapsketch.explain.refinement import refined
from shapsketch.explain.results import Explanation, Interactions
from shapsketch.explain.routes import Routes, sketch_of
from shapsketch.explain.sampled import Sampling
from shapsketch.explain.views import Views
from shapsketch.models._protocol import Model
from shapsketch.query.background import Background, BackgroundLike
from shapsketch.space import Codes, Sequences, Values
from shapsketch.surrogate.sketch import Sketch
from shapsketch.surrogate.spectrum import Spectrum


class Explainer(LikeShap, Views, Explains):
    """Explains any sequence with a sketch, without evaluating the model again.

    Positions that are missing from a coalition are drawn from the background: the game is
    ``v_x(T) = E f(x_T, X_rest)`` (interventional Shapley values; Tsui et al., arXiv 2410.19236, for uniform
    ``X``). Its Möbius transform ``a(S)`` is a table for each support, and all indices are weighted sums of
    it: ``SV_i = sum_{S with i} a(S) / |S|``.

    Parameters
    ----------
    sketch : Sketch or Spectrum
    background : "uniform", array, str, list or DinucleotideShuffles, optional
        The distribution from which missing positions are drawn; by default the wild type or the distribution
        of the queries, and uniform for uniform queries. "uniform": all symbols are equally likely. A
        float array (n, q): a product distribution, such as a position weight matrix; a float array (q,): one
        composition for all positions. The labels of a pandas object must be the symbols, in any order: the
        columns of a DataFrame (n, q), and the index of a Series (q,). A string or codes (n,): one reference
        sequence, such as the wild type. A list of strings or codes (R, n): these sequences, equally likely.
        :class:`DinucleotideShuffles`: shuffles of each explained sequence.
    of : {"best", "closed form", "predictor", "amortised"}
        What to explain. The closed form is explained exactly, in microseconds for each sequence. The
        predictor (``sketch.predictor``) is closer to the model, but its Shapley values are sampled, as by
        :meth:`refine`, or those of a network if "amortised" (:func:`amortise`).
        "best" explains the predictor if its unexplained variance is less than three quarters of that of the
        closed form, and 200 sequences or more by the network if its error is small. All are on the scale of
        the sketch (``sketch.link``), with one exception: if that is a latent scale (``link="monotone"``),
        the predictor predicts scores, and "best" is the closed form. Interactions other than
        SII up to order 2, Sobol indices and motifs exist for the closed form only.
    precision : float
        Standard error of sampled values that is aimed at, above 0, relative to the root mean square of the
        values of a sequence, or of random sequences if that is larger. A sequence gets at most 16,384
        predictions (4,096 for pairs, with a teacher of yours, and in sequences of more than 100 positions);
        ``sampling_stderr`` of an explanation is the standard error that was reached.
    evaluations : int, optional
        Number of predictions for each sequence, at least 32, instead of `precision`. Values that are hardly
        larger than their errors are shrunk towards those of the closed form.
    random_state : int
        Seed of sampling. A sequence has the same values in every batch.
    progress : bool or callable
        Progress of sampling, as for :func:`sketch`.

    Raises
    ------
    InputError
        If the background has another form, or its probabilities are negative or do not add up to 1; if an
        option is out of range, or there is no predictor to explain.

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

    def __init__(
        self,
        sketch: Sketch | Spectrum,
        background: BackgroundLike | None = None,
        *,
        of: Literal["best", "closed form", "predictor", "amortised"] = "best",
        precision: float = 0.03,
        evaluations: int | None = None,
        random_state: int = 0,
        progress: Progress = True,
    ) -> None:
        self._sketch = sketch_of(sketch)
        self._space, self._link = self._sketch.space, self._sketch.link
        chosen = default_background(self._sketch) if background is None else background
        self._background = Background.parse(chosen, self._space)
        self._guard = Guard(self._sketch, self._background)
        aim = number("precision", precision)
        if not aim > 0.0:
            raise InputError(f"precision must be above 0, got {aim}")
        self._sampling = Sampling(
            precision=aim,
            evaluations=None if evaluations is None else integer("evaluations", evaluations, least=MIN_CALLS),
            seed=integer("random_state", random_state, least=0),
            progress=check_progress(progress),
        )
        self._routes = Routes(self._sketch, self._background, of, self._sampling)

    def __reduce__(self) -> tuple[Any, ...]:
        sampling = self._sampling
        options: dict[str, Any] = {
            "of": self._routes.of,
            "precision": sampling.precision,
            "evaluations": sampling.evaluations,
            "random_state": sampling.seed,
            # A function of the user may not be possible to copy.
            "progress": sampling.progress if isinstance(sampling.progress, bool) else True,
        }
        return partial(Explainer, **options), (self._sketch, self._background)

    def _encode(self, sequences: Sequences) -> Codes:
        codes = self._space.encode(sequences)
        self._guard.check(codes)
        return codes

    @property
    def explained(self) -> Explained:  # type: ignore[override]
        """What Shapley values of one sequence explain, its R², background and scale."""
        return self._routes.explained(self._routes.of_values(1))

    @property
    def base_value(self) -> float:
        """Mean over the background of what Shapley values explain.

        Raises
        ------
        InputError
            If the background differs by sequence; explanations then have different ``base_values``.
        """
        if self._background.shuffles is not None:
            raise InputError("the base value differs by sequence here; use base_values of an explanation")
        return self._routes.of_values(1).base_value

    def __call__(self, sequences: Sequences) -> Explanation:
        """Return Shapley values of sequences (strings, or codes (B, n)).

        Raises
        ------
        InputError
            If a sequence does not belong to the space; the message says which one and where.
        """
        codes = self._encode(sequences)
        route = self._routes.of_values(len(codes))
        values, base, stderr = self._routes.shapley_values(codes, route)
        source = self._sketch if isinstance(route, ClosedForm) else self._sketch.predictor
        explained = self._routes.explained(route)
        return Explanation(values, base, codes, explained, stderr, self._space.alphabet, source)

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
        for index, batch in enumerate(iterator_of("batches", batches, "lists of sequences")):
            try:
                explanation = self(batch)
            except InputError as error:
                raise InputError(f"batch {index}: {error}") from error
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

        Raises
        ------
        InputError
            If the index does not exist (the message suggests one), the order is out of range, or a sequence
            does not belong to the space.
        """
        n = self._space.n
        name, highest = name_and_order(index, max_order, n)
        codes, route = self._encode(sequences), self._routes.preferred
        if not isinstance(route, ClosedForm) and sampled_index(name, highest):
            order = 1 if name == "SV" else highest
            sampled = route.explain(codes, pairs=order == 2)
            return sampled_interactions(sampled, name, order, self._routes.explained(route))
        closed_form = self._routes.only_closed_form(f"{name} interactions up to order {highest}")
        core_name = "Moebius" if name == "Faith-Shap" else name
        supports, values, base = closed_form.interactions(codes, core_name, highest)
        orders = range(1, highest + 1)
        return Interactions(supports, values, name, self._routes.explained(closed_form), base, n, orders)

    def mutation_effects(self, sequences: Sequences) -> Values:
        """Return the predicted change of the score by every single substitution, (B, n, q).

        This is in-silico saturation mutagenesis with the closed form or the predictor, on the scale of the
        sketch; it is exact for both. The change is 0 for the symbol of the sequence itself, and NaN for
        letters that a position cannot have. It does not depend on the background.
        """
        codes = self._encode(sequences)
        return by_letter(self._routes.preferred.mutation_effects(codes), self._space)

    def epistasis(self, sequences: Sequences) -> Epistasis:
        """Return the predicted epistasis of every two substitutions.

        Epistasis is the effect of both substitutions minus the sum of their single effects. It is exact for
        the closed form and for the predictor. The result takes ``8 B n_pairs q**2`` bytes.

        Raises
        ------
        InputError
            If a sequence does not belong to the space, or the result exceeds the memory.
        """
        codes, route = self._encode(sequences), self._routes.preferred
        pairs, values = route.epistasis(codes)
        largest = np.abs(route.mutation_effects(codes)).max(axis=1)
        return Epistasis(pairs, values, codes, self._routes.explained(route), self._space, largest)

    def best_mutants(
        self,
        sequence: str | Codes,
        mutations: int,
        *,
        count: int = 10,
        library: Mapping[int, str] | Iterable[int] | None = None,
        fewer: bool = False,
        minimize: bool = False,
        limit: int = MAX_COMPARED,
    ) -> Mutants:
        """Return the mutants of a sequence with the highest (or lowest) predicted scores.

        All mutants with a number of substitutions are compared if there are at most `limit`; all double
        mutants of a closed form by their effects and epistasis, a million in less than a second. Otherwise a
        beam search starts from the best double mutants of all, keeps the best 200 mutants after each
        substitution (`count` if larger), and ``exact`` is False. Its time is proportional to the product of
        `mutations`, the mutants that it keeps, the length, and the number of terms. Long searches log a
        warning first.

        Parameters
        ----------
        sequence : str, or integer array (n,)
        mutations : int
            Number of substitutions, from 1 to n.
        count : int
            Number of mutants to return.
        library : mapping of int to str, or iterable of int, optional
            The symbols that each position may get, by its number, or numbers of positions; by default all.
        fewer : bool
            Also return mutants with fewer substitutions, if their scores are better.
        minimize : bool
            Return the mutants with the lowest scores.
        limit : int
            Largest number of mutants to compare; each takes about a microsecond for each hundred terms.

        Raises
        ------
        InputError
            If a number is out of range, the library has a position or a symbol that does not exist, or the
            sequence does not belong to the space.
        """
        return best_mutants(
            self._routes.preferred,
            self._space,
            one_sequence(sequence, self._space),
            Wanted(mutations, count, minimize, limit, fewer),
            None if library is None else substitutions_of(library, self._space),
        )

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
        positions. Sampling is by permutations (Castro et al. 2009), which start from a Latin hypercube sample
        of the background (McKay et al. 1979). For pairs, for one reference, and with too few calls for three
        permutations, it is unbiased KernelSHAP (Covert & Lee 2021) with an adjustment by regression (Witter
        et al. 2025).

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
        return refined(
            self._routes,
            evaluator,
            self._space.encode(sequences),
            index=choice("index", index, ("SV", "SII")),
            calls=integer("calls_per_sequence", calls_per_sequence, least=MIN_CALLS),
            seed=integer("random_state", random_state, least=0),
            progress=progress,
        )
