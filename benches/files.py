"""From file to file: throughput and peak memory of `shapsketch explain` on FASTA records.

    python benches/files.py [--records 1000000]

Each process reads random FASTA records of 26 nt and writes their Shapley values as Parquet or CSV. The sketch is
that of benches/explain.py, with 1,001 coefficients. For comparison, one process only parses the file with dnaio.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from explain import N, spectrum

PARSE = "import sys, dnaio\nwith dnaio.open(sys.argv[1]) as records:\n    for record in records: pass"


def run(command):
    """Return the seconds and the peak memory (MiB) of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1_000_000)
    count = parser.parse_args().records
    import shapsketch as ss

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        surrogate = spectrum()
        ss.Sketch(surrogate).save(folder / "model.safetensors")
        rng = np.random.default_rng(0)
        sizes = [65_536] * (count // 65_536) + [count % 65_536] * (count % 65_536 > 0)
        codes = (rng.integers(0, 4, (size, N), dtype=np.uint8) for size in sizes)
        source = folder / "reads.fasta"
        ss.write_sequences(source, surrogate.space, codes)
        parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = source.stat().st_size / 2**20
        print(f"{count:,} records of {N} nt, {size:,.0f} MiB (written with {parent:,.0f} MiB of memory)\n")
        print("| file to file, including start and imports | seconds | records/s | peak MiB | MiB written |")
        print("|---|--:|--:|--:|--:|")
        explain = [sys.executable, "-m", "shapsketch.cli", "explain", folder / "model.safetensors", source]
        for what, command, output in [
            ("only parsing, with dnaio", [sys.executable, "-c", PARSE, source], None),
            ("SV to Parquet", explain, "values.parquet"),
            ("SV to Parquet, --float32", [*explain, "--float32"], "small.parquet"),
            ("SV to CSV", explain, "values.csv"),
            ("SV to CSV, compressed", explain, "values.csv.gz"),
        ]:
            seconds, peak = run(command if output is None else [*command, "-o", folder / output])
            written = (folder / output).stat().st_size / 2**20 if output else 0
            # A child process starts with the peak of its parent, so smaller peaks cannot be measured.
            shown = f"{peak:,.0f}" if peak > 1.1 * parent else "-"
            print(f"| {what} | {seconds:.1f} | {count / seconds:,.0f} | {shown} | {written:,.0f} |")


if __name__ == "__main__":
    main()
