"""Sparse regression: from sequences and values to a sketch. No design is needed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import boolean, choice, integer, items, number, shown
from shapsketch.errors import InputError
from shapsketch.fitting.estimator import Regressor
from shapsketch.fitting.holdout import Labelled, are_near, labelled, mutated_fraction
from shapsketch.query.design import Observations
from shapsketch.query.distribution import measured
from shapsketch.space import Codes, Sequences, SequenceSpace, space_of
from shapsketch.surrogate.relations import RelationLike, core_relations
from shapsketch.surrogate.sketch import Sketch

# Names of the functions that a regression may select.
BASES = ("auto", "letters", "characters")
LOSSES = ("squared", "huber")
# Number of sequences with two given mutations that a regression on pairs needs, on average.
FEWEST_TOGETHER = 1
# Number of words of all pairs up to which a regression tries them in any case: that takes a few seconds.
MANY_WORDS = 250_000
# Largest number of words of a window in the dictionary for sequences near one sequence.
NEAR_CELLS = 4_096


class Dictionary:
    """The supports that a regression may use: the union of the groups below.

    Growth extends letter patterns in use to orders that the dictionary does not list, so a small dictionary
    is often enough.

    Parameters
    ----------
    windows : int
        All contiguous windows of up to this many positions (k-mers at fixed positions).
    orders : int
        All supports up to this order; 2 means all single positions and all pairs.
    gapped : (int, int), optional
        A pair (order, span): all supports up to this order that lie within a window of `span` positions.
    supports : iterable of iterable of int
        Individual supports, each with ascending positions.
    screened : int
        Largest number of further pairs: those whose interaction explains most of the residuals of a fit of
        the other supports (sure independence screening, Fan and Lv 2008). Each fold chooses its own pairs by
        its own training values, so R² stays honest. The automatic dictionary does this if there are too many
        pairs to list. Growth then extends pairs, not single positions.

    Raises
    ------
    InputError
        If a parameter is wrong.

    Examples
    --------
    >>> import shapsketch as ss
    >>> ss.Dictionary(windows=4, orders=2)
    Dictionary(windows=4, orders=2)
    """

    def __init__(
        self,
        *,
        windows: int = 0,
        orders: int = 1,
        gapped: tuple[int, int] | None = None,
        supports: Iterable[Iterable[int]] = (),
        screened: int = 0,
    ) -> None:
        self.windows = integer("windows", windows, least=0)
        self.orders = integer("orders", orders, least=0)
        self.gapped = None
        if gapped is not None:
            if not isinstance(gapped, (tuple, list)) or len(gapped) != 2:
                raise InputError(f"gapped must be a pair (order, span), got {gapped!r}")
            self.gapped = (
                integer("gapped order", gapped[0], least=1),
                integer("gapped span", gapped[1], least=1),
            )
        self.supports = [
            tuple(
                integer(f"supports[{index}]", i, least=0)
                for i in items(f"supports[{index}]", support, "positions")
            )
            for index, support in enumerate(items("supports", supports, "lists of positions"))
        ]
        for index, support in enumerate(self.supports):
            if any(i > 65_535 for i in support):
                raise InputError(
                    f"supports[{index}] = {support} has a position above 65535; "
                    "sequences have at most 4096 positions"
                )
        self.screened = integer("screened", screened, least=0)
        self._core = _core.Dictionary(
            windows=self.windows,
            orders=self.orders,
            gapped=self.gapped,
            supports=[list(support) for support in self.supports],
            screened=self.screened,
        )

    def _arguments(self) -> dict[str, Any]:
        return {
            "windows": self.windows,
            "orders": self.orders,
            "gapped": self.gapped,
            "supports": self.supports,
            "screened": self.screened,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dictionary) and self._arguments() == other._arguments()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Dictionary, **self._arguments()), ()

    def __repr__(self) -> str:
        parts = [f"windows={self.windows}"] if self.windows else []
        parts.append(f"orders={self.orders}")
        parts += [f"gapped={self.gapped}"] if self.gapped else []
        parts += [f"supports=<{len(self.supports)}>"] if self.supports else []
        parts += [f"screened={self.screened}"] if self.screened else []
        return f"Dictionary({', '.join(parts)})"


def parse_dictionary(dictionary: object) -> Dictionary | None:
    """Return the argument if it is a dictionary, and None for "auto".

    Raises
    ------
    InputError
        If it is something else.
    """
    if isinstance(dictionary, Dictionary):
        return dictionary
    if isinstance(dictionary, str) and dictionary == "auto":
        return None
    raise InputError(f"dictionary must be a Dictionary or 'auto', got {shown(dictionary)}")


def suited_dictionary(space: SequenceSpace, codes: Codes) -> Dictionary | None:
    """Return a dictionary for sequences near one sequence, codes (N, n); None if the automatic one is better.

    It has no pairs if two given mutations are in so few of these sequences that a regression cannot estimate
    their interaction, and there are so many pairs that it takes long to try them.
    """
    mutated = mutated_fraction(codes, space.q)
    together = len(codes) * (mutated / (space.q - 1)) ** 2
    words = space.n * (space.n - 1) // 2 * space.q**2
    if not are_near(codes, space) or together >= FEWEST_TOGETHER or words <= MANY_WORDS:
        return None
    return Dictionary(orders=1, windows=min(space.n, int(np.log(NEAR_CELLS) / np.log(space.q))))


def _above_0(name: str, value: object) -> float:
    """Return the argument `name` as a float.

    Raises
    ------
    InputError
        If it is not a finite number above 0.
    """
    result = number(name, value)
    if result <= 0.0:
        raise InputError(f"{name} must be above 0, got {result:g}")
    return result


class SparseRegressor(Regressor):
    """Fit values of sequences by a sparse sum of letter patterns or characters (ℓ1, cross-validated).

    Minimises ``1/(2N) ||y - f(x)||**2 + penalty * sum_j p_j |beta_j|`` over the atoms of a dictionary (the
    lasso, Tibshirani 1996). ``p_j`` is the penalty factor of the atom's support times the root mean square of
    the atom about its mean. Cross-validation chooses the parameters that are "auto" or None. The final fit
    uses all values.

    Parameters
    ----------
    space : SequenceSpace, optional
        Needed to fit (X, y); observations contain their space.
    dictionary : Dictionary or "auto"
        The supports that may be used. "auto": single positions, windows of up to 4 positions, all
        pairs (for long sequences those that screening chooses, see :class:`Dictionary`), and higher orders
        for short sequences, within limits of size.
    relations : "auto", or iterable of "stems", "stems-wobble", "stems-strong", "repeats" and Relation
        Runs of related positions that may be used besides letter patterns. "stems": complementary symbols at
        `i + k` and `j - k`, for DNA and RNA; "stems-wobble": also G with U or T; "stems-strong": only C with
        G; "repeats": equal symbols at `i + k` and `j + k`. Cross-validation chooses those that pay. "auto":
        all of these that the alphabet has, within limits of size.
    basis : {"auto", "letters", "characters"}
        Letter patterns or characters (Fourier basis functions). Characters are better if the spectrum is
        truly sparse.
    penalty : float, optional
        The factor of the ℓ1 norm, above 0.
    strengths : (pairs, higher, scattered, growth), optional
        Penalty factors, above 0: for orders above 1, for each order above 2, for supports that are not a
        contiguous window, and for supports that growth adds (None: no growth).
    loss : {"squared", "huber"}
        What the fit minimises. Huber's loss limits the influence of outliers (Huber 1964); use it for
        measured values with wrong ones among them. R² is that of squared errors for every loss.
    growth : bool
        Whether letter patterns may grow beyond the dictionary.
    refit : bool
        Whether to try refits with less or no shrinkage.
    tol : float
        The final fit has converged if the squared change per value, relative to the variance, is below this.
        ``duality_gap_`` shows how near the optimum is.
    memory_limit : int
        Largest predicted number of bytes; larger dictionaries are refused.
    random_state : int
        Seed of the folds, at least 0.

    Attributes
    ----------
    sketch_ : Sketch
        The surrogate, its cross-validated R², and standard errors.
    penalty_ : float or None
        The penalty used; None if the constant alone predicts best.
    refit_ : float
        Penalty of the refit relative to `penalty_`; 1 means no refit, 0 least squares.
    basis_ : {"letters", "characters"}
        The basis used.
    strengths_ : (pairs, higher, scattered, growth)
        The penalty factors of letter patterns used.
    duality_gap_ : float
        Duality gap of the final fit, relative to half the sum of squares of ``y``.

    Examples
    --------
    >>> import numpy as np, shapsketch as ss
    >>> space = ss.SequenceSpace(ss.DNA, length=8)
    >>> X = np.random.default_rng(0).integers(0, 4, (600, 8))
    >>> y = 1.0 * (X[:, 0] == 2) + 3.0 * ((X[:, 4] == 1) & (X[:, 5] == 3))
    >>> regressor = ss.SparseRegressor(space).fit(X, y)
    >>> regressor.sketch_.patterns[0].letters, bool(regressor.score(X, y) > 0.99)
    ('CT', True)
    """

    sketch_: Sketch
    penalty_: float | None
    refit_: float
    basis_: str
    strengths_: tuple[float, float, float, float | None]
    duality_gap_: float

    def __init__(  # noqa: PLR0913 - public
        self,
        space: SequenceSpace | None = None,
        *,
        dictionary: Dictionary | Literal["auto"] = "auto",
        relations: Iterable[RelationLike] | Literal["auto"] = "auto",
        basis: Literal["auto", "letters", "characters"] = "auto",
        penalty: float | None = None,
        strengths: tuple[float, float, float, float | None] | None = None,
        loss: Literal["squared", "huber"] = "squared",
        growth: bool = True,
        refit: bool = True,
        tol: float = 1e-7,
        memory_limit: int = 2**32,
        random_state: int = 0,
    ) -> None:
        self.space = space
        self.dictionary = dictionary
        self.relations = relations
        self.basis = basis
        self.penalty = penalty
        self.strengths = strengths
        self.loss = loss
        self.growth = growth
        self.refit = refit
        self.tol = tol
        self.memory_limit = memory_limit
        self.random_state = random_state

    def fit(
        self,
        X: Sequences | Observations,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> SparseRegressor:
        """Fit and return self.

        Parameters
        ----------
        X : sequences (strings, or codes (N, n)), or Observations
            Observations of a design with small blocks are fitted in the domain of its bins.
        y : array of float, shape (N,)
            Values of the sequences; omit it for observations.
        sample_weight : array of float, shape (N,), optional
            Weights of the squared errors, above 0; not for observations.

        Raises
        ------
        InputError
            If a parameter or a value is wrong, there are too few distinct sequences, or the dictionary needs
            more memory than allowed; the message says which orders fit.
        """
        design = None
        if isinstance(X, Observations):
            if y is not None:
                raise InputError("observations contain their values; remove y")
            if sample_weight is not None:
                raise InputError("observations have no weights; remove sample_weight")
            space, design = X.design.space, X.design._core
            data = Labelled(np.zeros((0, space.n), dtype=np.uint8), X.values)
        else:
            if self.space is None:
                raise InputError("pass the space: SparseRegressor(space).fit(X, y)")
            space_of(self.space)
            space = self.space
            data = labelled(X, y, space, sample_weight)
        self._fit(space, data, design)
        if design is None:
            core = self.sketch_._core.with_distribution(measured(space, data.codes))
            self.sketch_ = Sketch._wrap(core, start=space.start)
        return self

    def _arguments(self, space: SequenceSpace) -> dict[str, Any]:
        """Return the parameters for the core.

        Raises
        ------
        InputError
            If one is wrong.
        """
        dictionary = parse_dictionary(self.dictionary)
        strengths = None
        if self.strengths is not None:
            factors = items("strengths", self.strengths, "penalty factors")
            if len(factors) != 4:
                raise InputError(
                    f"strengths must be (pairs, higher, scattered, growth), got {self.strengths!r}"
                )
            pairs, higher, scattered = (number("strengths", factor) for factor in factors[:3])
            growth = None if factors[3] is None else number("strengths", factors[3])
            strengths = (pairs, higher, scattered, growth)
        return {
            "dictionary": None if dictionary is None else dictionary._core,
            "relations": core_relations(self.relations, space),
            "basis": choice("basis", self.basis, BASES),
            "strengths": strengths,
            "penalty": None if self.penalty is None else _above_0("penalty", self.penalty),
            "loss": choice("loss", self.loss, LOSSES),
            "growth": boolean("growth", self.growth),
            "refit": boolean("refit", self.refit),
            "tolerance": _above_0("tol", self.tol),
            "memory": integer("memory_limit", self.memory_limit, least=1),
            "seed": integer("random_state", self.random_state, least=0),
        }

    def _check_size(self, space: SequenceSpace, sequences: int, *, uniform: bool) -> None:
        """Refuse parameters that a fit to this number of distinct sequences would refuse for any values.

        Raises
        ------
        InputError
        """
        arguments = self._arguments(space)
        if arguments["dictionary"] is None and not uniform:
            # The sequences choose the dictionary; it lists at least single positions.
            arguments["dictionary"] = Dictionary(orders=1)._core
        names = ("dictionary", "relations", "strengths", "memory")
        _core.check_regression(space._core, sequences, **{name: arguments[name] for name in names})

    def _fit(
        self,
        space: SequenceSpace,
        data: Labelled,
        design: _core.Design | None = None,
        *,
        uniform: bool = False,
        seconds: float | None = None,
    ) -> SparseRegressor:
        arguments = self._arguments(space)
        if arguments["dictionary"] is None and design is None and not uniform and len(data.codes):
            suited = suited_dictionary(space, data.codes)
            arguments["dictionary"] = None if suited is None else suited._core
        core = _core.regress(
            space._core,
            data.codes,
            data.values,
            data.weights,
            design,
            uniform=uniform,
            seconds=seconds,
            **arguments,
        )
        self.sketch_ = Sketch._wrap(core, start=space.start)
        assert core.info is not None
        assert core.info.regression is not None
        info = core.info.regression
        self.penalty_ = info.penalty
        self.refit_ = info.refit
        self.basis_ = info.basis
        self.strengths_ = info.penalty_factors
        self.duality_gap_ = info.duality_gap
        return self

    def predict(self, X: Sequences) -> npt.NDArray[np.float64]:
        """Return predicted values (N,) for sequences."""
        self._check_fitted()
        return self.sketch_.predict(X)

    def score(self, X: Sequences, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return R² for sequences X and their values y (N,); NaN if the values do not differ."""
        self._check_fitted()
        data = labelled(X, y, self.sketch_.space, sample_weight)
        return data.r_squared(self.predict(data.codes))
