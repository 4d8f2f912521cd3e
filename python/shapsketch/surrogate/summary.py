"""How a sketch was made, as lines of text."""

from __future__ import annotations

from shapsketch import _core
from shapsketch.link import MONOTONE
from shapsketch.space import SequenceSpace, numbered
from shapsketch.surrogate.predictor import Predictor

# Symbols without any sequence, or pairs of dependent positions, that a summary lists.
LISTED = 8
# An event that is expected in fewer than this many of N queries can be absent from all (rule of three, 95 %).
UNSEEN = 3


def info_lines(info: _core.SketchInfo, space: SequenceSpace, distribution: str) -> list[str]:
    """Return the lines of a summary about method, queries, R², candidates, link and unseen symbols."""
    tested = {
        "exact": "all sequences",
        "regress": "cross-validated",
        "converted": "against the ensemble, on random sequences",
    }.get("" if info.link.name == MONOTONE else info.method, f"{info.r2.count:,} held-out queries")
    r2 = info.r2
    lines = [
        f"method     {info.method} ({info.status})",
        f"queries    {info.n_queries:,} of a budget of {info.budget:,}",
        _r2(r2, tested),
    ]
    if distribution != "uniform":
        lines.insert(2, f"of         {distribution}; R² refers to these")
    if info.method not in ("exact", "converted"):
        rarest = max(1, info.n_queries // UNSEEN)
        lines.append(
            f"rarest     a feature in fewer than 1 of {rarest:,} sequences can be missing from these queries"
        )
    if r2.is_carried_by_few:
        lines.append(
            f"few        about {max(1, round(r2.n_effective))} of {r2.count:,} sequences decide R² and its "
            "interval"
        )
    if info.dependent:
        lines.append(_dependent(info.dependent, space.start))
    if len(info.candidates) > 1:
        lines.append("tried      R²      seconds  weight")
        for each in info.candidates:
            seconds = "" if each.seconds is None else f"{each.seconds:.1f}"
            lines.append(f"           {each.r2:<7.4f} {seconds:>7} {each.weight:7.2f}  {each.name}")
    if info.link.name != "identity":
        response = info.link.response_r2
        value = "unknown" if response is None else f"{response.value:.4f}"
        what = f"R² on the model's own scale {value}"
        if info.link.name == MONOTONE:
            what = "a latent scale, and a curve to the values, which R² refers to"
        lines.append(f"link       {info.link.name}; {what}")
    if info.regression is not None and info.regression.unseen:
        lines.append(_unseen(info.regression.unseen, space))
    if info.method == "peel" and info.status.outcome != "converged":
        lines.append(f"           {info.unexplained:.1%} of the variance on the design is unexplained")
    return lines


def described(space: SequenceSpace) -> str:
    """Return a space in words."""
    own = f", letters by position: {space.size:,} sequences" if space.varies else ""
    start = f", numbered from {space.start}" if space.start else ""
    return f"{space.alphabet!r} of length {space.n}{start}{own}"


def predictor_lines(predictor: Predictor) -> list[str]:
    """Return the lines of a summary about a predictor: its R², and the R² and weight of its parts."""
    low, high = predictor.r2_interval
    lines = [
        f"predictor  R² {predictor.r2:.4f}  ({low:.4f} to {high:.4f}): no closed form; explained by sampling"
    ]
    for part in predictor.parts:
        lines.append(f"           {part.r2:<7.4f} {'':>7} {part.weight:7.2f}  {part.name}")
    return lines


def _r2(r2: _core.RSquared, tested: str) -> str:
    if r2.is_undefined:
        return f"R²         undefined: all {r2.count:,} values are equal ({tested})"
    return f"R²         {r2.value:.4f}  (95 % interval {r2.low:.4f} to {r2.high:.4f}, {tested})"


def _dependent(pairs: list[tuple[int, int]], start: int) -> str:
    some = ", ".join("{} and {}".format(*numbered(pair, start)) for pair in pairs[:LISTED])
    more = f" and {len(pairs) - LISTED} more pairs" if len(pairs) > LISTED else ""
    reason = "their effects cannot be told apart, so there are no standard errors"
    return f"dependent  positions {some}{more}: {reason}"


def _unseen(unseen: list[tuple[int, int]], space: SequenceSpace) -> str:
    symbols, positions = [symbol for _, symbol in unseen], numbered([i for i, _ in unseen], space.start)
    listed = list(zip(symbols, positions, strict=True))[:LISTED]
    some = ", ".join(f"{space.alphabet[symbol]} at {number}" for symbol, number in listed)
    more = f" and {len(unseen) - LISTED} more" if len(unseen) > LISTED else ""
    return f"unseen     {some}{more}: terms with these are not identifiable, and not in the sketch"
