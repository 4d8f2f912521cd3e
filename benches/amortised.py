"""Shapley values of a predictor: closed form, sampled, and by an amortised network.

    python benches/amortised.py [--queries 5000] [--sequences 10]

The model is that of `predictor.py`: it scans 50 nucleotides for two motifs and saturates. Errors are relative to the root
mean square of its values, which come from 20,000 evaluations of each sequence.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import shapsketch as ss
from predictor import LENGTH, model

MANY = 10_000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--sequences", type=int, default=10)
    arguments = parser.parse_args()
    space = ss.SequenceSpace(ss.DNA, LENGTH)
    evaluator = ss.Evaluator(model, inputs="codes")
    sketch = ss.sketch(evaluator, space, budget=arguments.queries, progress=False)
    started = time.perf_counter()
    sketch = ss.amortise(sketch)
    print(f"training {time.perf_counter() - started:.0f} s, stated error {sketch.amortised_error:.3f}")
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, (arguments.sequences, LENGTH), dtype=np.uint8)
    many = rng.integers(0, 4, (MANY, LENGTH), dtype=np.uint8)
    truth = ss.Explainer(sketch).refine(evaluator, codes, calls_per_sequence=20_000, progress=False)
    size, noise = np.sqrt((truth.values**2).mean()), (truth.stderr**2).mean()
    print("of           sequences/s   error")
    for of in ("closed form", "amortised", "predictor"):
        explainer = ss.Explainer(sketch, of=of, progress=False)
        explainer.base_value  # noqa: B018
        timed = codes if of == "predictor" else many
        started = time.perf_counter()
        explainer(timed)
        speed = len(timed) / (time.perf_counter() - started)
        error = ((explainer(codes).values - truth.values) ** 2).mean()
        print(f"{of:12} {speed:11,.1f} {np.sqrt(max(error - noise, 0.0)) / size:7.3f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
