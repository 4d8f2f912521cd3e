"""Cost of designed queries and peeling against s, n, q, b, C and P, and of runs with up to 10^8 queries.

    python benches/growth.py parameters                   one parameter at a time, 1 process for each row
    python benches/growth.py large --queries 1e6 1e7      ss.sketch(method="peel"), 1 process for each row
    python benches/growth.py figure parameters.json large.json --out benches/growth.png

The first two print a table, and write it to a file with --json. Times are CPU seconds of all threads, without the model. Peak
memory is that of the whole process, Python included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

# The setting of which one parameter is changed: s planted coefficients of order up to 3, noise at 10 dB per query.
BASE = {"s": 200, "n": 30, "q": 4, "b": 6, "C": 3, "R": 1, "delays": "nso"}
# Parameter: its values. n and R change the number of delays P = R (n + 1); coded delays have about log n.
CHANGES = {
    "s": (50, 200, 800, 3200),
    "n": (15, 30, 60, 120, 240),
    "n, coded": (60, 120, 240, 480, 960),
    "q": (2, 3, 4, 5, 6),
    "b": (4, 5, 6, 7, 8),
    "C": (3, 6, 12, 24),
    "P": (1, 2, 4, 8, 16),
}
SYMBOLS = "ABCDEFGHIJKLMNOPQRST"


def peak() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def planted(space, s, rng):
    """Return a spectrum of s random coefficients, in conjugate pairs, of order 1 to 3."""
    import shapsketch as ss

    q, n = len(space.alphabet), space.n
    half = np.zeros((s // 2, n), dtype=int)
    for row, order in zip(half, rng.integers(1, 4, len(half)), strict=True):
        row[rng.choice(n, order, replace=False)] = rng.integers(1, q, order)
    k = np.unique(np.concatenate([half, -half % q]), axis=0)
    values = rng.uniform(0.5, 1.5, len(k)) * np.exp(2j * np.pi * rng.random(len(k)))
    return ss.Spectrum(space, k, values, real_part=True)


def measure_parameters(s, n, q, b, C, R, delays):
    """Return one row: queries, CPU seconds of each part, memory."""
    import shapsketch as ss

    rng = np.random.default_rng(0)
    space = ss.SequenceSpace(SYMBOLS[:q], n)
    truth = planted(space, s, rng)
    sd = np.sqrt(truth.order_energy()[1:].sum() / 10)
    started = time.process_time()
    design = ss.QueryDesign(space, b=b, groups=C, repeats=R, delays=delays)
    designed = time.process_time()
    for _ in design.batches():
        pass
    generated = time.process_time()
    values = np.empty(len(design))
    start = 0
    for batch in design.batches():
        values[start : start + len(batch)] = truth.predict(batch)
        start += len(batch)
    values += rng.normal(0, sd, len(values))
    observations = ss.Observations(design, values)
    del values
    fitting = time.process_time()
    spectrum = ss.PeelingDecoder().fit(observations).spectrum_
    fitted = time.process_time()
    test = rng.integers(0, q, (2000, n), dtype=np.uint8)
    error = ((truth.predict(test) - spectrum.predict(test)) ** 2).mean() / truth.predict(test).var()
    return {
        "P": len(design.delays[0]),
        "queries": len(design),
        "design": designed - started,
        "generate": generated - designed,
        "decode": fitted - fitting,
        "peak": peak(),
        "nmse": error,
    }


class Model:
    """Weights at some positions and of 6 pairs, with noise that depends on the sequence; counts its CPU time."""

    def __init__(self, n):
        rng = np.random.default_rng(0)
        self.single = rng.normal(size=(n, 4))
        self.pairs = [(*rng.choice(n, 2, replace=False), rng.normal(size=16)) for _ in range(6)]
        self.primes = (np.arange(1, n + 1, dtype=np.float32) ** 2 * 7919) % 104729
        self.seconds, self.first, self.last = 0.0, None, 0.0

    def __call__(self, codes):
        started = time.process_time()
        self.first = self.first or started
        values = np.zeros(len(codes))
        for i in range(0, codes.shape[1], 4):
            values += self.single[i][codes[:, i]]
        for i, j, table in self.pairs:
            values += table[4 * codes[:, i] + codes[:, j]]
        values += 0.3 * ((codes.astype(np.float32) @ self.primes) % 1009 / 1009 - 0.5)
        self.last = time.process_time()
        self.seconds += self.last - started
        return values


def measure_large(queries):
    """Return one row for a sketch of about so many queries."""
    import shapsketch as ss

    # At length 31 a design with 3 groups, 32 delays and 4^10 bins has 10^8 queries.
    n = 31 if queries > 9e7 else 26
    space, model = ss.SequenceSpace(ss.DNA, n), Model(n)
    before, wall, started = peak(), time.perf_counter(), time.process_time()
    sketch = ss.sketch(model, space, budget=int(queries), method="peel", inputs="codes", progress=False)
    ended = time.process_time()
    return {
        "n": n,
        "queries": sketch.n_queries,
        "design": model.first - started,
        "generate": model.last - model.first - model.seconds,
        "model": model.seconds,
        "decode": ended - model.last,
        "wall": time.perf_counter() - wall,
        "before": before,
        "peak": peak(),
        "bytes": (peak() - before) * 2**20 / sketch.n_queries,
        "r2": sketch.r2,
    }


def in_process(name, arguments):
    """Return the row of a new process."""
    command = [sys.executable, __file__, "measure", name, json.dumps(arguments)]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(child.stdout.splitlines()[-1])


def parameters():
    print("| parameter | value | P | queries | design s | generate s | decode s | peak MiB | NMSE |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    rows = []
    for name, values in CHANGES.items():
        for value in values:
            changed = {"n, coded": {"n": value, "delays": "coded"}, "P": {"R": value}}
            setting = BASE | changed.get(name, {name: value})
            row = {"parameter": name, "value": value} | in_process("parameters", setting)
            rows.append(row)
            shown = row["P"] if name == "P" else value
            print(
                f"| {name} | {shown} | {row['P']} | {row['queries']:,} | {row['design']:.3f} | "
                f"{row['generate']:.2f} | {row['decode']:.2f} | {row['peak']:.0f} | "
                f"{row['nmse']:.1e} |",
                flush=True,
            )
    return rows


def large(queries):
    print(
        "| n | queries | design s | generate s | model s | decode s | wall s | peak MiB | bytes/query | R² |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    rows = []
    for count in queries:
        row = in_process("large", {"queries": count})
        rows.append(row)
        print(
            f"| {row['n']} | {row['queries']:,} | {row['design']:.3f} | {row['generate']:.1f} | "
            f"{row['model']:.1f} | {row['decode']:.1f} | {row['wall']:.1f} | {row['peak']:,.0f} | "
            f"{row['bytes']:.1f} | {row['r2']:.6f} |",
            flush=True,
        )
    return rows


def figure(changed, grown, out):
    """Draw CPU seconds against each parameter, and time and memory against the number of queries."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 7, "lines.markersize": 3, "lines.linewidth": 1})
    parts, colours = ("design", "generate", "decode"), ("#999999", "#0072b2", "#d55e00")
    shape, axes = plt.subplots(2, 4, figsize=(8.4, 3.8), layout="constrained")
    titles = {"s": "coefficients s", "n": "length n", "n, coded": "length n, coded delays", "q": "symbols q"}
    titles |= {"b": "dimension b", "C": "groups C", "P": "delays P"}
    for ax, (name, title) in zip(axes.flat, titles.items(), strict=False):
        rows = [row for row in changed if row["parameter"] == name]
        x = [row["P"] if name == "P" else row["value"] for row in rows]
        for part, colour in zip(parts, colours, strict=True):
            ax.plot(x, [max(row[part], 1e-3) for row in rows], "o-", color=colour, label=part)
        ax.set(yscale="log", xscale="linear" if name in "qb" else "log", xlabel=title, ylim=(7e-4, 40))
        ax.set_xticks(x, [str(value) for value in x])
        ax.minorticks_off()
    axes[0, 0].legend(frameon=False)
    axes[0, 0].set_ylabel("CPU seconds")
    axes[1, 0].set_ylabel("CPU seconds")
    ax = axes[1, 3]
    x = np.array([row["queries"] for row in grown])
    ax.plot(x, [row["peak"] for row in grown], "o-", color="#009e73", label="peak memory")
    ax.plot(x, x * 8 / 2**20, "--", color="#999999", label="8 bytes per query")
    ax.set(xscale="log", yscale="log", xlabel="queries of ss.sketch", ylabel="MiB")
    ax.legend(frameon=False)
    shape.savefig(out, dpi=85, pil_kwargs={"optimize": True})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("parameters", "large"):
        command = commands.add_parser(name)
        command.add_argument("--json", type=Path)
        if name == "large":
            command.add_argument("--queries", type=float, nargs="+", default=[1e6, 6e6, 2.2e7, 1.1e8])
    command = commands.add_parser("measure")
    command.add_argument("what", choices=("parameters", "large"))
    command.add_argument("arguments", type=json.loads)
    command = commands.add_parser("figure")
    command.add_argument("changed", type=Path)
    command.add_argument("grown", type=Path)
    command.add_argument("--out", required=True)
    options = parser.parse_args()
    if options.command == "measure":
        work = {"parameters": measure_parameters, "large": measure_large}[options.what]
        print(json.dumps(work(**options.arguments)))
        return
    if options.command == "figure":
        figure(json.loads(options.changed.read_text()), json.loads(options.grown.read_text()), options.out)
        return
    rows = parameters() if options.command == "parameters" else large(options.queries)
    if options.json:
        options.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
