"""The link of each objective of the supported libraries: the scale on which its trees are summed."""

from __future__ import annotations

from shapsketch.errors import InputError
from shapsketch.link import SOFTMAX

# Links by the library's name of the objective or the loss. An objective that is not listed, such as a custom
# one, has the identity. In any case the conversion compares the result with the library's own predictions.
LINKS = {
    "xgboost": {
        "reg:squarederror": "identity",
        "reg:squaredlogerror": "identity",
        "reg:pseudohubererror": "identity",
        "reg:absoluteerror": "identity",
        "reg:quantileerror": "identity",
        "reg:expectileerror": "identity",
        "reg:logistic": "logit",
        "reg:gamma": "log",
        "reg:tweedie": "log",
        "binary:logistic": "logit",
        "binary:logitraw": "identity",
        "count:poisson": "log",
        "survival:cox": "log",
        "survival:aft": "log",
        "multi:softmax": SOFTMAX,
        "multi:softprob": SOFTMAX,
        "rank:pairwise": "identity",
        "rank:ndcg": "identity",
        "rank:map": "identity",
    },
    "lightgbm": {
        "regression": "identity",
        "regression_l1": "identity",
        "huber": "identity",
        "fair": "identity",
        "quantile": "identity",
        "mape": "identity",
        "poisson": "log",
        "gamma": "log",
        "tweedie": "log",
        "binary": "logit",
        "cross_entropy": "logit",
        "cross_entropy_lambda": "softplus",
        "multiclass": SOFTMAX,
        "multiclassova": "logit",
        "lambdarank": "identity",
        "rank_xendcg": "identity",
    },
    "sklearn": {
        "squared_error": "identity",
        "absolute_error": "identity",
        "huber": "identity",
        "quantile": "identity",
        "poisson": "log",
        "gamma": "log",
        "log_loss": "logit",
        "exponential": "logit",
    },
}
# Objectives whose predictions are not an invertible function of the sum of the trees, and what to do.
REFUSED = {
    "binary:hinge": "it predicts 0 or 1, a step function of the sum of the trees, so no link gives its "
    "predictions; fit the model with 'binary:logistic', or sketch its predictions with "
    "ss.sketch(ss.models.booster(booster), ...)",
}


def link_of(library: str, objective: str) -> str:
    """Return the name of the link of an objective.

    Raises
    ------
    InputError
        If its predictions are not an invertible function of the sum of the trees.
    """
    if objective in REFUSED:
        raise InputError(f"cannot convert the objective {objective!r}: {REFUSED[objective]}")
    return LINKS[library].get(objective, "identity")
