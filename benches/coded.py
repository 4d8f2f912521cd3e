"""Coded delays against SPEX of shapiq: planted parities at equal calls, both sides in one run.

    pip install shapiq sparse-transform
    python benches/coded.py [--seeds 3]

Each row is the mean over seeds of a function with `s` random parities of order 1 to 5 of `n` bits, coefficients of magnitude 0.5
to 1.5. SPEX evaluates as many masks as it wants within its budget; our design has at most as many queries. R² is measured on
10,000 masks that neither side has seen. Both sides alternate; times are without the calls of the function.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field

import numpy as np
import shapsketch as ss
from shapiq import SPEX

# Length, number of parities, budget of SPEX.
CASES = ((256, 40, 8_000), (256, 100, 12_000), (256, 200, 24_000), (1000, 100, 12_000), (1000, 200, 24_000))


@dataclass
class Parities:
    """A sum of parities, which counts its calls and their time."""

    supports: list[np.ndarray]
    coefficients: np.ndarray
    calls: int = 0
    seconds: float = field(default=0.0)

    @classmethod
    def random(cls, n: int, s: int, rng: np.random.Generator) -> Parities:
        supports = {tuple(sorted(rng.choice(n, rng.integers(1, 6), replace=False))) for _ in range(s)}
        signs = rng.choice([-1.0, 1.0], len(supports))
        return cls([np.array(x) for x in sorted(supports)], signs * rng.uniform(0.5, 1.5, len(supports)))

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        started = time.perf_counter()
        bits = np.asarray(masks).astype(np.int8)
        out = np.zeros(len(bits))
        for support, coefficient in zip(self.supports, self.coefficients, strict=True):
            out += coefficient * (1.0 - 2.0 * (bits[:, support].sum(axis=1) % 2))
        self.calls += len(bits)
        self.seconds += time.perf_counter() - started
        return out


def r_squared(truth: np.ndarray, predictions: np.ndarray) -> float:
    return 1.0 - float(np.mean((truth - predictions) ** 2) / truth.var())


def spex(function: Parities, n: int, budget: int, test: np.ndarray) -> tuple[np.ndarray, float]:
    # The function has no higher order, so its faithful interactions are its Moebius transform.
    started = time.perf_counter()
    values = SPEX(n=n, index="FBII", max_order=5, random_state=0).approximate(budget, function)
    seconds = time.perf_counter() - started - function.seconds
    on, predictions = test.astype(bool), np.zeros(len(test))
    for members, position in values.interaction_lookup.items():
        predictions += values.values[position] * on[:, list(members)].all(axis=1)
    return predictions, seconds


def coded(function: Parities, n: int, calls: int, test: np.ndarray) -> tuple[np.ndarray, float, int]:
    space = ss.SequenceSpace("01", n)
    started = time.perf_counter()
    b = 4
    while len(larger := ss.QueryDesign(space, b=b, groups=3, delays="coded")) <= calls:
        design, b = larger, b + 1
    values = function(design.queries())
    sketch = ss.Sketch(ss.PeelingDecoder().fit(ss.Observations(design, values)).spectrum_)
    seconds = time.perf_counter() - started - function.seconds
    return sketch.predict(test), seconds, len(design)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--case", type=int, choices=range(len(CASES)), help="only this case")
    options = parser.parse_args()
    print("|    n |   s | SPEX calls |   R² | seconds | coded calls |   R² | seconds | time ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for n, s, budget in CASES if options.case is None else [CASES[options.case]]:
        rows = []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            function = Parities.random(n, s, rng)
            test = rng.integers(0, 2, (10_000, n), dtype=np.uint8)
            truth = function(test)
            function.calls, function.seconds = 0, 0.0
            theirs, their_seconds = spex(function, n, budget, test)
            their_calls = function.calls
            function.seconds = 0.0
            ours, our_seconds, our_calls = coded(function, n, their_calls, test)
            rows.append(
                (
                    their_calls,
                    r_squared(truth, theirs),
                    their_seconds,
                    our_calls,
                    r_squared(truth, ours),
                    our_seconds,
                )
            )
        a, b, c, d, e, f = np.mean(rows, axis=0)
        ratio = c / f
        print(
            f"| {n} | {s} | {a:,.0f} | {b:.3f} | {c:.2f} | {d:,.0f} | {e:.3f} | {f:.3f} | {ratio:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
