"""Cost of evaluating a model, without the model itself: queries, inputs, checks, cache, store and executors.

    python benches/evaluate.py    microseconds per query, for a model that costs almost nothing

Options: --queries (200,000) and --runs (5).
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import shapsketch as ss

# Length of the sequences.
N = 26


def codes_model(codes):
    return codes[:, 3] * 1.0


def strings_model(strings):
    # A constant, because reading the strings would count as time of the model.
    return np.zeros(len(strings))


def seconds_per_query(queries, model, inputs, size, executor=None, store=False):
    """Return the time from a plan to the values of its queries, without the time inside the model."""
    space = ss.SequenceSpace(ss.DNA, N)
    plan = ss.plan(space, queries, method="regress")
    in_model = 0.0

    def timed(argument):
        nonlocal in_model
        started = time.perf_counter()
        values = model(argument)
        in_model += time.perf_counter() - started
        return values

    with tempfile.TemporaryDirectory() as folder:
        evaluator = ss.Evaluator(
            timed if executor is None else model,
            inputs=inputs,
            batch_size=size,
            executor=executor,
            store=f"{folder}/values.db" if store else None,
        )
        started = time.perf_counter()
        evaluator.evaluate(np.concatenate(list(plan.batches())), space, progress=False)
        return (time.perf_counter() - started - in_model) / queries


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    runs = options.runs
    print(f"| {options.queries:,} queries, n = {N}, q = 4 | batch | µs per query, median of {runs} | least |")
    print("|---|--:|--:|--:|")
    with ThreadPoolExecutor(2) as pool:
        for name, model, inputs, how in [
            ("codes", codes_model, "codes", {}),
            ("one-hot", lambda x: x[:, 3, 0], "onehot", {}),
            ("strings", strings_model, "strings", {}),
            ("codes, kept in a store", codes_model, "codes", {"store": True}),
            ("strings, two threads, with the model", strings_model, "strings", {"executor": pool}),
        ]:
            for size in (None, 4096, 64):
                times = [
                    1e6 * seconds_per_query(options.queries, model, inputs, size, **how) for _ in range(runs)
                ]
                print(
                    f"| {name} | {size or 'automatic'} | {statistics.median(times):.2f} | {min(times):.2f} |"
                )


if __name__ == "__main__":
    main()
