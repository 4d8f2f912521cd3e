"""The cost of evaluating a model beyond the model itself: queries, checks, order, cache, store, executors.

python benches/evaluate.py    # microseconds per query, for a model that costs almost nothing
"""

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import shapsketch as ss

N, BUDGET, RUNS = 26, 200_000, 5


def codes_model(codes):
    return codes[:, 3] * 1.0


def strings_model(strings):
    # The same number for all: reading the strings would be a cost of the model.
    return np.zeros(len(strings))


def seconds(model, inputs, size, executor=None, store=False):
    """Time from a plan to the values of its queries, per query, without the time inside the model."""
    space = ss.SequenceSpace(ss.DNA, N)
    plan = ss.plan(space, BUDGET, method="regress")
    inside = 0.0

    def timed(argument):
        nonlocal inside
        started = time.perf_counter()
        values = model(argument)
        inside += time.perf_counter() - started
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
        return (time.perf_counter() - started - inside) / BUDGET


def main():
    print(f"| {BUDGET:,} queries of n = {N}, q = 4 | batch | µs per query, median of {RUNS} | least |")
    print("|---|--:|--:|--:|")
    with ThreadPoolExecutor(2) as pool:
        for name, model, inputs, options in [
            ("codes", codes_model, "codes", {}),
            ("one-hot", lambda x: x[:, 3, 0], "onehot", {}),
            ("strings", strings_model, "strings", {}),
            ("codes, kept in a store", codes_model, "codes", {"store": True}),
            ("strings, two threads, with the model", strings_model, "strings", {"executor": pool}),
        ]:
            for size in (None, 4096, 64):
                times = [1e6 * seconds(model, inputs, size, **options) for _ in range(RUNS)]
                print(
                    f"| {name} | {size or 'automatic'} | {statistics.median(times):.2f} | {min(times):.2f} |"
                )


if __name__ == "__main__":
    main()
