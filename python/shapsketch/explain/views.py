"""What a whole sketch, or many sequences, say: Sobol indices, motifs, spacing curves, attribution maps."""

from __future__ import annotations

from abc import ABC, abstractmethod

from shapsketch._validate import choice, integer
from shapsketch.explain.motifs import SORTS, Motifs, Sort, motifs_of
from shapsketch.explain.routes import Routes
from shapsketch.explain.spacing import Spacing, spacing_of
from shapsketch.explain.summaries import AttributionMap, Sobol
from shapsketch.query.background import Background
from shapsketch.space import Codes, Sequences, SequenceSpace

# Largest number of sequences that `attribution_map` explains at a time, and of their Shapley values.
BATCH_SIZE, BATCH_VALUES = 65_536, 1 << 24


class Views(ABC):
    """The methods of an explainer that summarise."""

    _background: Background
    _routes: Routes
    _space: SequenceSpace

    @abstractmethod
    def _encode(self, sequences: Sequences) -> Codes:
        """Return the codes of sequences to explain."""

    def sobol(self) -> Sobol:
        """Return Sobol indices: how the variance of the closed form divides among sets of positions.

        The variance is that over the background.

        Raises
        ------
        InputError
            If the positions of the background are not independent (sequences, shuffles), or only the
            predictor may be explained.
        """
        self._background.require_shared("Sobol indices")
        closed_form = self._routes.only_closed_form("Sobol indices")
        return Sobol.from_components(
            closed_form.components, self._space.n, self._routes.explained(closed_form)
        )

    def motifs(
        self,
        count: int = 20,
        *,
        min_order: int = 1,
        max_order: int | None = None,
        sort: Sort = "variance",
        sequences: Sequences | None = None,
    ) -> Motifs:
        """Return the motifs that carry most of the variance of the closed form, merged over positions.

        Parameters
        ----------
        count : int
            Largest number of motifs.
        min_order, max_order : int
            Smallest and largest number of symbols of a motif; by default 1 and the length. Without longer
            motifs, their parts are motifs.
        sort : {"variance", "effect"}
            The order, descending: the variance over the background, or the absolute mean effect.
        sequences : iterable of str, or integer array (B, n), optional
            Sequences to search for the motifs.

        Raises
        ------
        InputError
            If the positions of the background are not independent (sequences, shuffles), only the predictor
            may be explained, or an option is out of range.
        """
        self._background.require_shared("motifs")
        closed_form = self._routes.only_closed_form("motifs")
        lowest = integer("min_order", min_order, least=1)
        highest = self._space.n if max_order is None else integer("max_order", max_order, least=lowest)
        found = motifs_of(
            closed_form,
            self._space,
            self._background.chances,
            orders=(lowest, highest),
            sort=choice("sort", sort, SORTS),
            count=integer("count", count, least=1),
            codes=None if sequences is None else self._space.encode(sequences),
        )
        return Motifs(found, self._routes.explained(closed_form))

    def spacing(self, first: str, second: str) -> Spacing:
        """Return the joint effect of two words of the closed form, by the distance between them.

        Parameters
        ----------
        first, second : str
            Words of the alphabet, such as motifs of :meth:`motifs`; `second` is behind `first`.

        Raises
        ------
        InputError
            If one is not a word of the alphabet, both do not fit into a sequence, the positions of the
            background are not independent (sequences, shuffles), or only the predictor may be explained.

        Examples
        --------
        >>> import shapsketch as ss
        >>> import re
        >>> def model(sequences):
        ...     return [bool(re.search("CA.TG", s)) for s in sequences]
        >>> space = ss.SequenceSpace(ss.DNA, length=7)
        >>> explainer = ss.Explainer(ss.sketch(model, space, budget=20_000, progress=False))
        >>> curve = explainer.spacing("CA", "TG")
        >>> curve.distances, curve.effects.round(2)
        (array([0, 1, 2, 3]), array([-0.08,  0.88, -0.12,  0.  ]))
        """
        self._background.require_shared("spacing curves")
        closed_form = self._routes.only_closed_form("spacing curves")
        return spacing_of(closed_form, self._space, (first, second), self._routes.explained(closed_form))

    def attribution_map(self, sequences: Sequences) -> AttributionMap:
        """Return mean and mean absolute Shapley values of each symbol at each position over sequences."""
        codes = self._encode(sequences)
        size = max(1, min(BATCH_SIZE, BATCH_VALUES // self._space.n))
        route = self._routes.of_values(len(codes))
        batches = (codes[start : start + size] for start in range(0, len(codes), size))
        explained = ((batch, self._routes.shapley_values(batch, route)[0]) for batch in batches)
        return AttributionMap.from_batches(explained, self._space, self._routes.explained(route))
