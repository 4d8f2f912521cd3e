"""Fitted tree ensembles of other libraries, as surrogates without a single query."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from shapsketch import _core
from shapsketch._validate import integer
from shapsketch.errors import InputError
from shapsketch.link import parse
from shapsketch.space import SequenceSpace, space_of
from shapsketch.surrogate.sketch import Sketch, on_link
from shapsketch.trees import lightgbm, sklearn, xgboost
from shapsketch.trees.forest import Converted, Forest

# Sequences on which a conversion is checked against the library, and the difference allowed.
PROBES = 256
AGREES = 1e-6
MAX_TERMS = 2**22


def from_trees(
    model: Any,
    space: SequenceSpace,
    *,
    output: int | None = None,
    max_terms: int = MAX_TERMS,
    zeros_missing: bool | None = None,
) -> Sketch:
    """Turn a fitted tree ensemble into a sketch of the same function, without a query.

    Takes LightGBM (``Booster``, ``LGBMRegressor``, ``LGBMClassifier``), XGBoost (``Booster``,
    ``XGBRegressor``, ``XGBClassifier``) and scikit-learn (decision trees, random forests, extra trees,
    gradient boosting, histogram gradient boosting), trained on integer codes ``(B, n)``, ordinal or
    categorical, or on one-hot features ``(B, n q)``, position by position. A leaf becomes one product
    term, so nothing is lost, and Shapley values are exact: those of the interventional tree explainers
    for a uniform background.

    Boosted classifiers and count models add up on a link scale; so does the sketch, and says so:
    ``sketch.link`` is ``"logit"`` or ``"log"``. A forest's classes are probabilities. With several
    classes the score of a boosted one is the raw score before the softmax.

    Parameters
    ----------
    model : fitted model
    space : SequenceSpace
    output : int, optional
        Which output or class, of a model with several.
    max_terms : int
        Terms that the sketch may have.
    zeros_missing : bool, optional
        Of an XGBoost model on one-hot features: whether these were a sparse matrix, whose zeros are missing
        values to it. Asked for where it makes a difference.

    Returns
    -------
    Sketch
        Agrees with the model to 1e-6 of the range of its scores, and the library's own rounding; this is
        checked on random sequences.

    Raises
    ------
    InputError
        If the model is not fitted, is of another kind, has other features, several outputs and none was
        chosen, or splits that cannot be converted (linear leaves, zeros as missing values): says which.

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
    which = None if output is None else integer("output", output, least=0)
    library = type(model).__module__.split(".")[0]
    converters: dict[str, Callable[..., Converted]] = {
        "lightgbm": lightgbm.convert,
        "xgboost": partial(xgboost.convert, zeros_missing=zeros_missing),
        "sklearn": sklearn.convert,
    }
    if library not in converters:
        raise InputError(
            f"cannot convert a {type(model).__module__}.{type(model).__name__}; known are the tree ensembles "
            f"of {', '.join(converters)}"
        )
    found = converters[library](model, space, which)
    forest = Forest(space)
    for tree in found.trees:
        tree.value = [found.scale * value for value in tree.value]
        forest.grow(found.layout, tree)
    rng = np.random.default_rng(0)
    probes = rng.integers(0, space.q, (PROBES, space.n)).astype(np.uint8)
    try:
        wanted = np.asarray(found.scores(found.layout.features(probes)), dtype=np.float64)
    except Exception as error:
        raise InputError(
            f"this {type(model).__name__} does not predict from numbers, with which a conversion is "
            f"checked: {error}"
        ) from error
    # Libraries keep what they start from in places of their own: it is what the trees do not account for.
    rest = wanted - forest.ensemble(0.0).predict(probes)
    constant = float(np.median(rest))
    allowed = AGREES * np.ptp(wanted) + found.rounding * float(np.abs(wanted).max())
    if not np.abs(rest - constant).max() <= allowed:
        raise InputError(
            f"this {type(model).__name__} is not the sum of its trees, as they were read, and a constant: "
            f"scores differ by {np.abs(rest - constant).max():.2g}; it cannot be converted (an encoder, or a "
            "model that it starts from?)"
        )
    core = forest.ensemble(constant).exact(limit)
    fit = _core.Fit(
        codes=probes,
        values=wanted,
        predictions=_core.Components(core).predict(probes),
        method="converted",
        outcome="exact",
        budget=0,
        n_queries=0,
        seed=0,
    )
    made = _core.Sketch.from_fit(core, fit)
    scale = parse(found.link)
    return Sketch._wrap(on_link(made, scale), scale)
