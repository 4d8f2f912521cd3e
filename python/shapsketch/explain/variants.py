"""Results of a deep mutational scan, in the notation of variants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shapsketch._validate import check_memory, integer, lazy_property, shown
from shapsketch.errors import InputError, ModelError
from shapsketch.explain.explained import Explains
from shapsketch.explain.explainer import Explainer
from shapsketch.explain.library import substitutions_of
from shapsketch.explain.mutants import MAX_COMPARED, Wanted, best_mutants
from shapsketch.explain.variant_errors import Predicted, VariantErrors, variant_errors
from shapsketch.explain.variant_table import VariantTable
from shapsketch.files.variants import Indices, Variants
from shapsketch.space import Codes, Values, numbered
from shapsketch.surrogate.sketch import Sketch

# Variants that are predicted at a time, and predicted memory of a row of a table, in bytes.
PART, ROW_BYTES = 65_536, 500


class VariantEffects(Explains):
    r"""Effects of substitutions in the wild type of a deep mutational scan, predicted and measured.

    All effects are differences from the wild type, on the scale of the sketch. Measured effects are
    differences of the weighted means of the values; if the wild type has no value, from its predicted score.

    Standard errors are those of predictions, for the true effect without the noise of its measurement. They
    take into account how many variants have a substitution, the noise of the values, and what the sketch did
    not predict at held-out variants, in proportion to the number of pairs of substitutions. Errors that do
    not grow with this number count as noise. Standard errors are NaN if the sketch has no held-out values of
    these variants: if it was loaded from a file, or fitted to other data.

    Parameters
    ----------
    sketch : Sketch
        Fitted to the variants: ``ss.fit(variants)``.
    variants : Variants
    of : {"best", "closed form", "predictor"}
        What predicts, as for :class:`Explainer`.

    Raises
    ------
    InputError
        If the sketch has another space than the variants, or `of` does not exist.

    Examples
    --------
    >>> import itertools, pathlib, tempfile, shapsketch as ss
    >>> effects = {f"{wild_type}{i}{a}": 0.1 * i - 0.2 * k for i, wild_type in enumerate("MKV", 1)
    ...            for k, a in enumerate("ACDEFG")}
    >>> pairs = [pair for pair in itertools.combinations(effects, 2) if pair[0][1] != pair[1][1]]
    >>> rows = ["mutant,score", "WT,1", *(f"{name},{1 + effect}" for name, effect in effects.items())]
    >>> rows += [f"{a}:{b},{1 + effects[a] + effects[b]}" for a, b in pairs]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scan.csv")
    ...     _ = path.write_text("\n".join(rows))
    ...     variants = ss.read_variants(path, wild_type="MKV")
    >>> results = ss.VariantEffects(ss.fit(variants), variants)
    >>> row = results.singles().records()[21]
    >>> row["mutation"], round(row["effect"], 2), row["measured"], round(row["measured_effect"], 2)
    ('K2D', -0.2, 1, -0.2)
    """

    def __init__(
        self,
        sketch: Sketch,
        variants: Variants,
        *,
        of: Literal["best", "closed form", "predictor"] = "best",
    ) -> None:
        if not isinstance(variants, Variants):
            raise InputError(f"variants must be Variants of ss.read_variants, got {shown(variants)}")
        if not isinstance(sketch, Sketch):
            raise InputError(f"expected a Sketch, got {shown(sketch)}")
        if sketch.space != variants.space:
            raise InputError(
                f"the sketch is of {sketch.space!r}, the variants are of {variants.space!r}; fit it to them: "
                "ss.fit(variants)"
            )
        self._sketch, self._variants, self._of = sketch, variants, of
        explainer = Explainer(sketch, of=of)
        self._route, self._link = explainer._routes.preferred, explainer._routes.link
        self.explained = replace(explainer.explained, start=variants.start)
        self._wild_type = variants.wild_type_codes
        shape = (variants.space.n, variants.space.q)
        self._effects: Values = self._route.mutation_effects(self._wild_type[None]).reshape(shape)
        self._score = float(self._route.predict(self._wild_type[None])[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of a sketch does not have the held-out values that the errors need.
        return _restored, (self._sketch, self._variants, self._of, self._errors)

    @lazy_property
    def _values(self) -> Values:
        """The measured values, on the scale of the sketch."""
        try:
            return self._link.to_link(self._variants.values, "variants")
        except ModelError as error:
            raise InputError(error.message, index=error.index) from None

    @lazy_property
    def _errors(self) -> VariantErrors | None:
        predicted = Predicted(self._score, self._effects, self._epistasis_of)
        return variant_errors(self._sketch, self._variants, self._values, predicted)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of a value, on the scale of the sketch; NaN if it is not known.

        It comes from ``variants.sd`` or from replicates. Without them it is estimated from the residuals of
        held-out variants, and includes errors of the sketch that do not grow with the number of pairs.
        """
        return float("nan") if self._errors is None else self._errors.noise**0.5

    @lazy_property
    def _measured(self) -> tuple[dict[bytes, int], Indices, Values]:
        """Index of each distinct variant by its codes, its number of values, and their mean."""
        codes, unit = np.unique(self._variants.codes, axis=0, return_inverse=True)
        weights = self._variants.weights
        weights = np.ones(len(self._variants)) if weights is None else weights
        unit = unit.reshape(-1)
        means = np.bincount(unit, weights * self._values) / np.bincount(unit, weights)
        return {row.tobytes(): i for i, row in enumerate(codes)}, np.bincount(unit), means

    def _measurements(self, codes: Codes) -> tuple[Indices, Values]:
        """Return numbers of values of variants (B, n), and their mean effects, NaN for those without."""
        index, counts, means = self._measured
        where = np.array([index.get(row.tobytes(), -1) for row in codes], dtype=np.int64)
        wild_type = index.get(self._wild_type.tobytes())
        origin = self._score if wild_type is None else means[wild_type]
        present = where >= 0
        return np.where(present, counts[where], 0), np.where(present, means[where] - origin, np.nan)

    def _mutants(self, cells: Indices) -> Codes:
        """Return the variants (B, n) with substitutions (B, m), each ``position * q + symbol``."""
        q, codes = self._variants.space.q, np.tile(self._wild_type, (len(cells), 1))
        for column in cells.T:
            codes[np.arange(len(cells)), column // q] = column % q
        return codes

    def _stderr(self, cells: Indices) -> Values:
        return np.full(len(cells), np.nan) if self._errors is None else self._errors.of_cells(cells)

    def singles(self) -> VariantTable:
        """Return all single substitutions, ascending by position and symbol.

        Returns
        -------
        VariantTable
            With the columns ``mutation``, such as ``"A23G"``; ``wild_type``, ``position`` and ``letter``;
            ``effect``, predicted, and ``stderr``; ``variants``, number of distinct variants with this
            substitution; ``measured``, number of values of the single mutant, and ``measured_effect``, NaN
            without a value.
        """
        variants, space = self._variants, self._variants.space
        substituted = np.arange(space.q) != self._wild_type[:, None]
        cells = np.flatnonzero(substituted)
        positions, symbols = np.divmod(cells, space.q)
        mutants = self._mutants(cells[:, None])
        distinct = np.unique(variants.codes, axis=0)
        rows, where = np.nonzero(distinct != self._wild_type)
        support = np.bincount(where * space.q + distinct[rows, where], minlength=space.n * space.q)
        counts, measured = self._measurements(mutants)
        columns = {
            "mutation": variants.name(mutants),
            "position": np.array(numbered(positions, variants.start), dtype=np.int64),
            "wild_type": [variants.wild_type[i] for i in positions],
            "letter": [space.alphabet[a] for a in symbols],
            "effect": self._effects.ravel()[cells],
            "stderr": self._stderr(cells[:, None]),
            "variants": support[cells],
            "measured": counts,
            "measured_effect": measured,
        }
        return VariantTable(columns, self.explained, "effect")

    def epistasis(self, pairs: Literal["measured", "all"] | Iterable[str] = "measured") -> VariantTable:
        """Return the epistasis of pairs: the effect of both substitutions minus the sum of their effects.

        Parameters
        ----------
        pairs : {"measured", "all"} or list of str
            Double mutants with values; every two observed substitutions at different positions; or these
            double mutants, in any notation.

        Returns
        -------
        VariantTable
            With the columns ``mutations``, such as ``"A23G:T45S"``; ``effect`` of both, and ``epistasis``,
            predicted; ``stderr`` of the epistasis, NaN if no variant has two substitutions; ``measured``,
            number of values of the double mutant, ``measured_effect``, and ``measured_epistasis``, NaN unless
            both single mutants have values too.

        Raises
        ------
        InputError
            If a variant does not have two substitutions, or the table exceeds the memory.
        """
        q = self._variants.space.q
        if isinstance(pairs, str) and pairs == "measured":
            distinct = np.unique(self._variants.codes, axis=0)
            doubles = distinct[(distinct != self._wild_type).sum(axis=1) == 2]
            cells = self._cells_of(doubles) if len(doubles) else np.empty((0, 2), dtype=np.int64)
        elif isinstance(pairs, str) and pairs == "all":
            observed = np.flatnonzero(self._variants.observed)
            count = len(observed) * (len(observed) - 1) // 2
            need = count * (ROW_BYTES + self._variants.space.n)
            check_memory(f"{count:,} pairs", need, "name the pairs, pairs=[...]")
            first, second = np.triu_indices(len(observed), k=1)
            cells = np.stack([observed[first], observed[second]], axis=1)
            cells = cells[cells[:, 0] // q != cells[:, 1] // q]
        elif isinstance(pairs, str):
            raise InputError(f"pairs must be 'measured', 'all' or a list of variants, got {pairs!r}")
        else:
            codes = self._variants.encode(pairs)
            wrong = np.flatnonzero((codes != self._wild_type).sum(axis=1) != 2)
            if len(wrong):
                name = self._variants.name(codes[wrong[:1]])[0]
                raise InputError(
                    f"pairs: variant {wrong[0]}, {name!r}, does not have two substitutions",
                    index=int(wrong[0]),
                )
            cells = self._cells_of(codes)
        singles, flat = self._effects.ravel(), np.unique(cells)
        counts, measured = self._measurements(self._mutants(flat[:, None]))
        alone = np.full(len(singles), np.nan)
        alone[flat] = measured
        doubles = self._mutants(cells)
        counts, measured = self._measurements(doubles)
        epistasis = self._epistasis_of(cells)
        error = np.nan if self._errors is None else np.sqrt(self._errors.pair)
        columns = {
            "mutations": self._variants.name(doubles) if len(doubles) else [],
            "effect": epistasis + singles[cells].sum(axis=1),
            "epistasis": epistasis,
            "stderr": np.full(len(cells), error),
            "measured": counts,
            "measured_effect": measured,
            "measured_epistasis": measured - alone[cells].sum(axis=1),
        }
        return VariantTable(columns, self.explained, "epistasis")

    def _cells_of(self, codes: Codes) -> Indices:
        """Return the substitutions (B, m) of variants that all have m."""
        positions = np.nonzero(codes != self._wild_type)[1].reshape(len(codes), -1).astype(np.int64)
        cells: Indices = positions * self._variants.space.q + np.take_along_axis(codes, positions, axis=1)
        return cells

    def _epistasis_of(self, cells: Indices) -> Values:
        """Return the predicted epistasis (B,) of pairs of substitutions (B, 2)."""
        effects = np.empty(len(cells))
        for start in range(0, len(cells), PART):
            part = slice(start, start + PART)
            effects[part] = self._route.predict(self._mutants(cells[part])) - self._score
        epistasis: Values = effects - self._effects.ravel()[cells].sum(axis=1)
        return epistasis

    def best(
        self,
        mutations: int,
        *,
        count: int = 10,
        library: Literal["observed", "all"] | Mapping[int, str] | Iterable[int] = "observed",
        fewer: bool = False,
        min_support: int = 2,
        minimize: bool = False,
        limit: int = MAX_COMPARED,
    ) -> VariantTable:
        """Return the combinations of substitutions with the highest (lowest) predicted scores, best first.

        The support of a substitution is the number of values of variants that have it; that of a combination
        is the smallest one of its substitutions. Combinations with less support than `min_support` come after
        all others, because the noise of a single value can make a substitution look best of all.

        Parameters
        ----------
        mutations : int
            Number of substitutions.
        count : int
            Number of combinations to return.
        library : {"observed", "all"}, mapping of int to str, or iterable of int
            The substitutions that may be combined: those that variants have; all; the symbols of each
            position, by its number; or all at these positions.
        fewer : bool
            Also return combinations of fewer substitutions, if their scores are better.
        min_support : int
            Smallest support of combinations that are ranked by their effect alone; 0 for all.
        minimize : bool
            Return the combinations with the lowest scores.
        limit : int
            All combinations are compared if there are at most `limit`; otherwise a beam search is used, which
            may miss better ones (see :meth:`Explainer.best_mutants`).

        Returns
        -------
        VariantTable
            With the columns ``mutations``, ``effect``, ``stderr``, ``support`` (smallest number of values
            that have one of the substitutions), ``measured`` (number of values of the combination),
            ``measured_effect`` and ``sequence``.

        Raises
        ------
        InputError
            If a number is out of range, or the library has a position or a symbol that does not exist.
        """
        wanted = Wanted(mutations, count, minimize, limit, fewer)
        least, allowed = integer("min_support", min_support, least=0), self._library(library)
        supported = allowed & (self._support >= least)
        n_positions, n_supported = self._positions_of(allowed), self._positions_of(supported)
        codes = np.empty((0, self._variants.space.n), dtype=np.uint8)
        most = wanted.mutations
        if most <= n_positions and (most <= n_supported or (wanted.fewer and n_supported)):
            codes = self._best(supported, replace(wanted, mutations=min(most, n_supported)))
        missing = wanted.count - len(codes)
        if missing:
            # All with enough support are there, so the best of all have as many others as are missing.
            others = self._best(allowed, replace(wanted, count=wanted.count + len(codes)))
            codes = np.concatenate([codes, others[self._support_of(others) < least][:missing]])
        counts, measured = self._measurements(codes)
        columns = {
            "mutations": self._variants.name(codes),
            "effect": self._route.predict(codes) - self._score,
            "stderr": self._errors_of(codes),
            "support": self._support_of(codes),
            "measured": counts,
            "measured_effect": measured,
            "sequence": self._variants.space.decode(codes),
        }
        return VariantTable(columns, self.explained, "effect")

    def _positions_of(self, allowed: npt.NDArray[np.bool_]) -> int:
        """Return the number of positions at which some symbol other than that of the wild type is allowed."""
        others = allowed & (np.arange(self._variants.space.q) != self._wild_type[:, None])
        return int(others.any(axis=1).sum())

    def _best(self, allowed: npt.NDArray[np.bool_], wanted: Wanted) -> Codes:
        return best_mutants(self._route, self._variants.space, self._wild_type, wanted, allowed).codes

    @lazy_property
    def _support(self) -> Indices:
        """Number of values that have each substitution, (n, q); 0 for the symbols of the wild type."""
        variants, q = self._variants, self._variants.space.q
        rows, positions = np.nonzero(variants.codes != self._wild_type)
        cells = positions * q + variants.codes[rows, positions]
        support: Indices = np.bincount(cells, minlength=variants.space.n * q).reshape(-1, q)
        return support

    def _support_of(self, codes: Codes) -> Indices:
        """Return the support (B,) of mutants (B, n): the least of their substitutions."""
        support = self._support[np.arange(codes.shape[1]), codes]
        most = np.iinfo(support.dtype).max
        least: Indices = np.where(codes == self._wild_type, most, support).min(axis=1)
        return least

    def _errors_of(self, codes: Codes) -> Values:
        """Return the standard errors (B,) of mutants (B, n)."""
        stderr, orders = np.empty(len(codes)), (codes != self._wild_type).sum(axis=1)
        for order in np.unique(orders):
            rows = np.flatnonzero(orders == order)
            stderr[rows] = self._stderr(self._cells_of(codes[rows]))
        return stderr

    def _library(self, library: str | Mapping[int, str] | Iterable[int]) -> npt.NDArray[np.bool_]:
        """Return the substitutions that may be combined, (n, q)."""
        space = self._variants.space
        if isinstance(library, str):
            if library not in ("observed", "all"):
                raise InputError(
                    "library must be 'observed', 'all', a mapping or a list of positions, got "
                    f"{shown(library)}"
                )
            return self._variants.observed if library == "observed" else space.allowed.copy()
        return substitutions_of(library, space)


def _restored(
    sketch: Sketch, variants: Variants, of: Literal["best", "closed form", "predictor"], errors: VariantErrors
) -> VariantEffects:
    effects = VariantEffects(sketch, variants, of=of)
    effects._errors = errors
    return effects
