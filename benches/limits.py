"""Reaction to Ctrl-C, and peak memory of work that used to be without bound. Each case is a separate process.

python benches/limits.py interrupts     seconds from SIGINT to the end of the process
python benches/limits.py memory         peak resident memory (MiB) and seconds
"""

import argparse
import json
import signal
import subprocess
import sys
import textwrap
import time

SETUP = """
import itertools, json, resource, sys, time
import numpy as np, shapsketch as ss
rng = np.random.default_rng(0)

def space(n): return ss.SequenceSpace(ss.DNA, n)

def spectrum(count, n=26):
    k = np.zeros((count, n), dtype=int)
    for row, order in zip(k, rng.integers(1, 4, count)):
        row[rng.choice(n, order, replace=False)] = rng.integers(1, 4, order)
    k, where = np.unique(np.concatenate([k, -k % 4]), axis=0, return_index=True)
    return ss.Spectrum(space(n), k, np.exp(rng.normal(size=len(k))), real_part=True)

def count(codes): return (np.asarray(codes) == 2).sum(axis=1) * 1.0
"""

# name: (what comes before, the work)
INTERRUPTS = {
    "2 * 10⁸ dinucleotide shuffles": (
        "",
        "ss.DinucleotideShuffles(2 * 10**8).of(space(10), ['ACGTACGGTA'])",
    ),
    "Shapley values, 20,000 shuffles of each of 5,000 sequences": (
        "e = ss.Explainer(spectrum(1_000), background=ss.DinucleotideShuffles(20_000))\n"
        "x = rng.integers(0, 4, (5_000, 26))",
        "e(x)",
    ),
    "Shapley values of 20 million sequences": (
        "e = ss.Explainer(spectrum(1_000)); x = rng.integers(0, 4, (20_000_000, 26), dtype=np.uint8)",
        "e(x)",
    ),
    "`truncate` of 1.5 million coefficients, repeated": (
        "s = spectrum(750_000)",
        "while True: s.truncate(energy=0.9)",
    ),
    "all 4^12 sequences, exact": (
        "t = rng.normal(size=4**12)\np = 4 ** np.arange(12)",
        "ss.sketch(ss.Evaluator(lambda c: t[c.astype(int) @ p], inputs='codes'), space(12), budget=4**12, "
        "progress=False)",
    ),
    "regression, q = 4, n = 50, 20,000 queries, orders up to 3": (
        "c = rng.integers(0, 4, (20_000, 50)); y = rng.normal(size=20_000)",
        "ss.fit(c, y, space(50), dictionary=ss.Dictionary(orders=3), progress=False)",
    ),
    "boosted trees, 20,000 queries": (
        "c = rng.integers(0, 4, (20_000, 50)); y = (c == 2).sum(axis=1) ** 2.0",
        "ss.fit(c, y, space(50), method='trees', progress=False)",
    ),
    "`encode` of 50 million strings": ("", "space(10).encode(itertools.repeat('ACGTACGTAC', 50_000_000))"),
    "`decode` of 10 million sequences": (
        "c = np.zeros((10_000_000, 26), dtype=np.uint8)",
        "space(26).decode(c)",
    ),
    "`best_mutants`, n = 4,096, 1,000 mutations": (
        "e = ss.Explainer(spectrum(1_000, 4_096))",
        "e.best_mutants('A' * 4_096, mutations=1_000)",
    ),
}

MEMORY = {
    "`best_mutants`, n = 4,096, 100 mutations": (
        "e = ss.Explainer(spectrum(1_000, 4_096))",
        "e.best_mutants('A' * 4_096, mutations=100)",
    ),
    "FASTA record of 300 MB on one line, compressed": (
        "import gzip\n"
        "with gzip.open('one.fasta.gz', 'wb', 1) as f:\n"
        "    f.write(b'>a\\n'); [f.write(b'ACGT' * 2**18) for _ in range(300)]",
        "list(ss.read_sequences('one.fasta.gz', space(4)))",
    ),
    "CSV row of 300 MB, compressed": (
        "import gzip\n"
        "with gzip.open('one.csv.gz', 'wb', 1) as f:\n"
        "    f.write(b'sequence\\n'); [f.write(b'ACGT' * 2**18) for _ in range(300)]",
        "list(ss.read_sequences('one.csv.gz', space(4)))",
    ),
    "`/dev/zero` as FASTA": ("", "list(ss.read_sequences('/dev/zero', space(4), format='fasta'))"),
    "`/dev/zero` as CSV": ("", "list(ss.read_sequences('/dev/zero', space(4), format='csv'))"),
    "`DinucleotideShuffles(count=10**9)`": (
        "",
        "ss.DinucleotideShuffles(10**9).of(space(10), ['ACGTACGGTA'] * 100)",
    ),
    "a program that prints without end": ("", "ss.models.command(['yes'])(['ACGT'])"),
}


def program(before, work):
    return f"{SETUP}\n{textwrap.dedent(before)}\nprint('ready', flush=True)\n{work}\n"


def interrupts():
    print("| work | seconds from Ctrl-C to the end |")
    print("|---|--:|")
    for name, (before, work) in INTERRUPTS.items():
        times = []
        for wait in (0.5, 1.5):
            child = subprocess.Popen(
                [sys.executable, "-c", program(before, work)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            child.stdout.readline()
            time.sleep(wait)
            if child.poll() is not None:
                times.append(f"ended before {wait} s: {child.stderr.read()[-200:]}")
                continue
            child.send_signal(signal.SIGINT)
            started = time.perf_counter()
            _, errors = child.communicate(timeout=120)
            seconds = time.perf_counter() - started
            times.append(f"{seconds:.2f}" if "KeyboardInterrupt" in errors else errors.splitlines()[-1])
        print(f"| {name} | {', '.join(times)} |", flush=True)


def memory():
    print("| work | peak MiB (before) | s | result |")
    print("|---|--:|--:|---|")
    for name, (before, work) in MEMORY.items():
        code = f"""{SETUP}
{textwrap.dedent(before)}
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before, started, result = peak(), time.perf_counter(), 'done'
try:
    {work}
except ss.ShapsketchError as error:
    result = type(error).__name__
print(json.dumps([peak(), before, time.perf_counter() - started, result]))
"""
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if child.returncode:
            print(f"| {name} | | | {child.stderr.splitlines()[-1]} |", flush=True)
            continue
        most, start, seconds, result = json.loads(child.stdout.splitlines()[-1])
        print(f"| {name} | {most} ({start}) | {seconds:.1f} | {result} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["interrupts", "memory"])
    {"interrupts": interrupts, "memory": memory}[parser.parse_args().what]()
