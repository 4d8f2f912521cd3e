"""What asking a model costs beside the model: queries, checks, order, store and executors.

python benches/asking.py    # microseconds for each query, of a model that costs next to nothing
"""

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import shapsketch as ss
from shapsketch.evaluate.batches import Runner
from shapsketch.evaluate.evaluator import observing
from shapsketch.fitting.api import _parts
from shapsketch.link import IDENTITY
from shapsketch.query.budget import budgeted

N, BUDGET, RUNS = 26, 200_000, 5


def codes_model(codes):
    return codes[:, 3] * 1.0


def strings_model(strings):
    # One number for all: the cost of looking at strings is the model's.
    return np.zeros(len(strings))


def seconds(model, inputs, size, executor=None, kept=False, count=BUDGET):
    """Time of everything between a plan and the values of its queries, less the time within the model."""
    space = ss.SequenceSpace(ss.DNA, N)
    plan = budgeted(space, count, "regress", 0)
    queries = plan.queries()
    inside = [0.0]

    def timed(argument):
        started = time.perf_counter()
        answers = model(argument)
        inside[0] += time.perf_counter() - started
        return answers

    runner = Runner(executor, progress=False, batch_size=size)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with observing(
            timed if executor is None else model,
            space,
            inputs=inputs,
            runner=runner,
            link=IDENTITY,
            store=f"{folder}/values.db" if kept else None,
        ) as observer:
            observer.ask(lambda: _parts(queries), count)
        return (time.perf_counter() - started - inside[0]) / count


def main():
    print(f"| {BUDGET:,} queries of n = {N}, q = 4 | batch | µs a query, median of {RUNS} | least |")
    print("|---|--:|--:|--:|")
    with ThreadPoolExecutor(2) as pool:
        for name, model, inputs, options in [
            ("codes", codes_model, "codes", {}),
            ("one-hot", lambda x: x[:, 3, 0], "onehot", {}),
            ("strings", strings_model, "strings", {}),
            ("codes, kept in a store", codes_model, "codes", {"kept": True}),
            ("strings, two threads, with the model", strings_model, "strings", {"executor": pool}),
        ]:
            for size in (None, 4096, 64):
                found = [1e6 * seconds(model, inputs, size, **options) for _ in range(RUNS)]
                print(
                    f"| {name} | {size or 'by itself'} | {statistics.median(found):.2f} | {min(found):.2f} |"
                )


if __name__ == "__main__":
    main()
