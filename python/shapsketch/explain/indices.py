"""The names of the interaction indices."""

from typing import Literal, get_args

Index = Literal[
    "SV", "BV", "SII", "k-SII", "STII", "FSII", "FBII", "BII", "Moebius", "Co-Moebius", "Faith-Shap"
]
INDICES: tuple[str, ...] = get_args(Index)
# Indices whose default `max_order` is the length; that of the others is 2.
ALL_ORDERS = ("Moebius", "Co-Moebius", "Faith-Shap")
