"""Convert fitted tree ensembles of other libraries to sketches, without a query."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from shapsketch import _core
from shapsketch._validate import boolean, integer
from shapsketch.errors import InputError
from shapsketch.link import parse
from shapsketch.space import SequenceSpace, space_of
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
) -> Sketch:
    """Convert a fitted tree ensemble to a sketch of the same function, without a query.

    Supports LightGBM (``Booster``, ``LGBMRegressor``, ``LGBMClassifier``), XGBoost (``Booster``,
    ``XGBRegressor``, ``XGBClassifier``) and scikit-learn (decision trees, random forests, extra trees,
    gradient boosting, histogram gradient boosting), trained on integer codes ``(B, n)``, ordinal or
    categorical, or on one-hot features ``(B, n q)``, position by position. Each leaf becomes one
    product term, so the conversion is exact. Shapley values are exact too: they equal those of interventional
    tree explainers with a uniform background.

    The trees of boosted classifiers and of count models are summed on a link scale. The sketch predicts on
    the same scale: ``sketch.link`` is ``"logit"`` or ``"log"``. For a class of a forest it predicts the
    probability; for a class of a boosted model with several classes the raw score before the softmax.

    Parameters
    ----------
    model : fitted model
    space : SequenceSpace
    output : int, optional
        Index of the output or class to convert, for a model with several.
    max_terms : int
        Largest number of terms of the sketch.
    zeros_missing : bool, optional
        For an XGBoost model on one-hot features: whether these were a sparse matrix, whose zeros XGBoost
        treats as missing values. Required if it changes the predictions.

    Returns
    -------
    Sketch
        Its predictions agree with the model's on 256 random sequences, to 1e-6 of their range plus the
        rounding of the library.

    Raises
    ------
    InputError
        If the model is not fitted or not supported, its features are not those of the space, it has several
        outputs and `output` is missing, or it has trees that cannot be converted (linear leaves, zeros as
        missing values). The message says which.
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
    missing = None if zeros_missing is None else boolean("zeros_missing", zeros_missing)
    library = type(model).__module__.split(".")[0]
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
    converted = converters[library](model, space, chosen)
    forest = Forest(space)
    for tree in converted.trees:
        tree.value = [converted.scale * value for value in tree.value]
        forest.grow(converted.layout, tree)
    rng = np.random.default_rng(0)
    probes = rng.integers(0, space.q, (PROBES, space.n)).astype(np.uint8)
    try:
        scores = np.asarray(converted.scores(converted.layout.features(probes)), dtype=np.float64)
    except Exception as error:
        raise InputError(
            f"this {type(model).__name__} could not predict from a numeric array, which is needed to verify "
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
            f"cannot convert this {type(model).__name__}: its predictions differ from the sum of its trees "
            f"by up to {difference:.2g}; does it use an encoder or an initial model?"
        )
    core = forest.ensemble(constant).exact(limit)
    fit = _core.Fit(
        codes=probes,
        values=scores,
        predictions=_core.Components(core).predict(probes),
        method="converted",
        outcome="exact",
        budget=0,
        n_queries=0,
        seed=0,
    )
    sketch = _core.Sketch.from_fit(core, fit)
    scale = parse(converted.link)
    return Sketch._wrap(on_link(sketch, scale), scale)
