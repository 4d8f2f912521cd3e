"""The names of the interaction indices, and their orders."""

from typing import Literal, get_args

from shapsketch._validate import choice, integer
from shapsketch.errors import InputError

Index = Literal[
    "SV", "BV", "SII", "k-SII", "STII", "FSII", "FBII", "BII", "Moebius", "Co-Moebius", "Faith-Shap"
]
INDICES: tuple[str, ...] = get_args(Index)
# Indices whose default `max_order` is the length; that of the others is 2.
ALL_ORDERS = ("Moebius", "Co-Moebius", "Faith-Shap")


def name_and_order(index: object, max_order: object, n: int) -> tuple[str, int]:
    """Return the name of an index and its highest order, for sequences of length n.

    Raises
    ------
    InputError
        If the index does not exist, or the order is out of range.
    """
    name = choice("index", index, INDICES)
    if max_order is None:
        return name, n if name in ALL_ORDERS else min(2, n)
    highest = integer("max_order", max_order, least=1)
    if name in ("SV", "BV"):
        # Values of order 1, so any `max_order` is valid.
        highest = 1
    if name == "Faith-Shap" and highest != n:
        raise InputError(f"Faith-Shap has full order, n = {n}; use index='FSII' for max_order={highest}")
    return name, highest
