"""Convert fitted tree ensembles of other libraries to sketches, without a query."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from shapsketch import _core
from shapsketch._validate import boolean, choice, integer
from shapsketch.errors import InputError
from shapsketch.link import SOFTMAX, Link, loaded
from shapsketch.models._base import FLAT, Flat
from shapsketch.space import SequenceSpace, Values, space_of
from shapsketch.surrogate.sketch import Sketch, on_link
from shapsketch.trees import lightgbm, sklearn, xgboost
from shapsketch.trees.forest import Converted, Forest

# Number of random sequences on which a conversion is verified.
PROBES = 256
# Largest difference from the library's predictions, relative to their range.
TOLERANCE = 1e-6
# Default limit of the number of terms.
MAX_TERMS = 2**22


def from_trees(
    model: Any,
    space: SequenceSpace,
    *,
    output: int | None = None,
    max_terms: int = MAX_TERMS,
    zeros_missing: bool | None = None,
    layout: Flat = "flat",
) -> Sketch:
    """Convert a fitted tree ensemble to a sketch of the same function, without a query.

    Supports LightGBM (``Booster``, ``LGBMRegressor``, ``LGBMClassifier``), XGBoost (``Booster``,
    ``XGBRegressor``, ``XGBClassifier``) and scikit-learn (decision trees, random forests, extra trees,
    gradient boosting, histogram gradient boosting), trained on integer codes ``(B, n)``, ordinal or
    categorical, or on one-hot features ``(B, n q)``. Each leaf becomes one product term, so the conversion is
    exact. Shapley values are exact too: they equal those of interventional tree explainers with a uniform
    background.

    The trees of boosted classifiers and of count and survival models are summed on a link scale. The sketch
    predicts on the same scale: ``sketch.link`` is ``"logit"``, ``"log"`` or ``"softplus"``, and
    ``sketch.predict(..., response=True)`` gives the predictions of the model. For a class of a forest the
    sketch predicts the probability. For a class of a boosted model with more than two classes it predicts the
    raw score before the softmax: its link is ``"softmax"``, and it has no response.

    Parameters
    ----------
    model : fitted model
    space : SequenceSpace
    output : int, optional
        Index of the output or class to convert, for a model with several. Classes have the order of the
        model's ``classes_``, or of the labels 0, 1, ... of a booster. For two classes the default is 1, the
        second one; 0 converts the first: its probability, or the negative raw score.
    max_terms : int
        Largest number of terms of the sketch.
    zeros_missing : bool, optional
        For an XGBoost model: whether its features were a sparse matrix, whose zeros XGBoost treats as missing
        values. Required for one-hot features if it changes the predictions; for codes False by default.
    layout : {"flat", "flat_channels_first"}
        Order of one-hot features: ``(B, n q)`` with the symbols of a position next to each other, or
        ``(B, q n)`` with the positions of a symbol next to each other. A model cannot tell which of them it
        was trained on.

    Returns
    -------
    Sketch
        Its predictions agree with the model's on 256 random sequences, to 1e-6 of their range plus the
        rounding of the library, both on the scale of the sketch and on the model's own scale.

    Raises
    ------
    InputError
        If the model is not fitted or not supported, its features are not those of the space, it has several
        outputs and `output` is missing, it has trees that cannot be converted (linear leaves, zeros as
        missing values), or its predictions are not an invertible function of the sum of its trees. The
        message says which.
    MissingExtraError
        If the library of the model cannot be imported.

    Examples
    --------
    >>> import numpy as np, shapsketch as ss
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> space = ss.SequenceSpace(ss.DNA, length=6)
    >>> X = np.random.default_rng(0).integers(0, 4, (200, 6))
    >>> forest = RandomForestRegressor(10, random_state=0).fit(X, X[:, 0] == X[:, 3])
    >>> sketch = ss.from_trees(forest, space)
    >>> bool(np.allclose(sketch.predict(X), forest.predict(X)))
    True
    """
    space_of(space)
    limit = integer("max_terms", max_terms, least=1)
    chosen = None if output is None else integer("output", output, least=0)
    onehot = choice("layout", layout, FLAT)
    missing = None if zeros_missing is None else boolean("zeros_missing", zeros_missing)
    library = type(model).__module__.split(".")[0]
    if missing is not None and library in ("lightgbm", "sklearn"):
        raise InputError(f"zeros_missing is for XGBoost models, not for those of {library}; remove it")
    converters: dict[str, Callable[..., Converted]] = {
        "lightgbm": lightgbm.convert,
        "xgboost": partial(xgboost.convert, zeros_missing=missing),
        "sklearn": sklearn.convert,
    }
    if library not in converters:
        raise InputError(
            f"cannot convert a {type(model).__module__}.{type(model).__name__}; supported are the tree "
            f"ensembles of {', '.join(converters)}"
        )
    converted = converters[library](model, space, chosen, onehot)
    return _sketch_of(converted, space, type(model).__name__, limit)


def _sketch_of(converted: Converted, space: SequenceSpace, name: str, limit: int) -> Sketch:
    """Return the sketch of a model in the common form, after a comparison with the library's predictions."""
    forest = Forest(space)
    for tree in converted.trees:
        tree.value = [converted.scale * value for value in tree.value]
        forest.grow(converted.layout, tree)
    rng = np.random.default_rng(0)
    probes = space._random(rng, PROBES)
    features = converted.layout.features(probes)
    try:
        scores = np.asarray(converted.scores(features), dtype=np.float64)
        responses = np.asarray(converted.responses(features), dtype=np.float64)
    except Exception as error:
        raise InputError(
            f"this {name} could not predict from a numeric array, which is needed to verify "
            f"the conversion: {error}"
        ) from error
    # Each library stores its initial score in a different way, so it is computed here: it is the part of the
    # scores that is not in the trees.
    rest = scores - forest.ensemble(0.0).predict(probes)
    constant = float(np.median(rest))
    difference = float(np.abs(rest - constant).max())
    allowed = TOLERANCE * np.ptp(scores) + converted.rounding * float(np.abs(scores).max())
    if not difference <= allowed:
        raise InputError(
            f"cannot convert this {name}: its predictions differ from the sum of its trees "
            f"by up to {difference:.2g}; does it use an encoder or an initial model?"
        )
    core = _exact(forest.ensemble(constant), limit, name)
    predictions = _core.Components(core).predict(probes)
    scale = loaded(converted.link)
    _check_responses(scale, predictions, responses, allowed, converted.rounding, name)
    fit = _core.Fit(
        codes=probes,
        values=scores,
        predictions=predictions,
        method="converted",
        outcome="exact",
        budget=0,
        n_queries=0,
        seed=0,
    )
    return Sketch._wrap(on_link(_core.Sketch.from_fit(core, fit), scale), scale, start=space.start)


def _exact(ensemble: _core.Ensemble, limit: int, name: str) -> _core.Sketch:
    """Return an ensemble as a sketch of at most `limit` terms.

    Raises
    ------
    InputError
        If it has more terms; the message says which `max_terms` is enough.
    """
    try:
        return ensemble.exact(limit)
    except InputError as error:
        if limit >= MAX_TERMS:
            raise InputError(f"cannot convert this {name} with max_terms={limit}: {error}") from error
    # The conversion stops at the limit. It also counts terms that cancel, so their number can be too small.
    enough = len(_exact(ensemble, MAX_TERMS, name))
    while enough < MAX_TERMS and not _fits(ensemble, enough):
        enough *= 2
    raise InputError(
        f"this {name} has more than max_terms={limit} terms; pass max_terms={enough} or more, or fit smaller "
        "trees"
    )


def _fits(ensemble: _core.Ensemble, limit: int) -> bool:
    try:
        ensemble.exact(limit)
    except InputError:
        return False
    return True


def _check_responses(
    scale: Link, predictions: Values, responses: Values, allowed: float, rounding: float, name: str
) -> None:
    """Refuse a model whose own predictions are not those of the sketch on the model's scale.

    `allowed` is the tolerance of `predictions`, on the scale of the sketch. The inverse of a link increases,
    so the predictions minus and plus `allowed` bound the responses.
    """
    if scale.name == SOFTMAX:
        return
    low, high = (scale.to_response(predictions + shift) for shift in (-allowed, allowed))
    margin = TOLERANCE * np.ptp(responses) + rounding * float(np.abs(responses).max())
    outside = np.maximum(low - responses, responses - high)
    if not (outside <= margin).all():
        worst = float(np.abs(scale.to_response(predictions) - responses).max())
        raise InputError(
            f"cannot convert this {name}: its predictions differ from the sum of its trees on the scale "
            f"{scale.name!r} by up to {worst:.2g}; its objective may transform that sum: sketch its "
            "predictions with ss.sketch and an adapter of ss.models"
        )
