"""Shapley values of a model by the closed form of a sketch, and by its sampled predictor.

    python benches/predictor.py [--queries 5000] [--sequences 10]

The model scans 50 nucleotides for two motifs and saturates. Errors are relative to the root mean square of its values,
which come from 20,000 evaluations of each sequence.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import shapsketch as ss

LENGTH = 50
ROUTES = [
    ("", 0),
    *(("evaluations", count) for count in (128, 512, 2_048, 8_192)),
    *(("precision", precision) for precision in (0.1, 0.03)),
]
SCANS = np.random.default_rng(1).normal(size=(2, 6, 4))


def model(codes):
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(codes), 6, axis=1)
    scores = [scan[np.arange(6), windows].sum(axis=2) for scan in SCANS]
    found = [np.log(np.exp(score).mean(axis=1)) for score in scores]
    return np.tanh(found[0] - 2.0) + 0.5 * found[1] * np.cos(found[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--sequences", type=int, default=10)
    arguments = parser.parse_args()
    space = ss.SequenceSpace(ss.DNA, LENGTH)
    evaluator = ss.Evaluator(model, inputs="codes")
    sketch = ss.sketch(evaluator, space, budget=arguments.queries, progress=False)
    codes = np.random.default_rng(2).integers(0, 4, (arguments.sequences, LENGTH), dtype=np.uint8)
    options = {"calls_per_sequence": 20_000, "progress": False}
    truth = ss.Explainer(sketch).refine(evaluator, codes, **options)
    size = np.sqrt((truth.values**2).mean())
    noise = np.sqrt((truth.stderr**2).mean()) / size
    print(f"R² of the closed form {sketch.r2:.3f}, of the predictor {sketch.predictor.r2:.3f}")
    print(f"standard error of the model's values {noise:.3f}")
    print("of          how                  s/sequence   error  sampling  95 % intervals hold")
    for name, value in ROUTES:
        of = "predictor" if name else "closed form"
        how = f"{name}={value:,}" if name else ""
        explainer = ss.Explainer(sketch, of=of, progress=False, **({name: value} if name else {}))
        explainer.base_value  # noqa: B018
        started = time.perf_counter()
        explanation = explainer(codes)
        seconds = (time.perf_counter() - started) / len(codes)
        error = explanation.values - truth.values
        held = np.abs(error) <= 1.96 * np.hypot(explanation.stderr, truth.stderr)
        rmse = np.sqrt(max((error**2).mean() / size**2 - noise**2, 0.0))
        sampling = 0.0
        if explanation.sampling_stderr is not None:
            sampling = np.sqrt((explanation.sampling_stderr**2).mean()) / size
        print(f"{of:11} {how:20} {seconds:10.5f} {rmse:7.3f} {sampling:9.3f} {held.mean():8.3f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
