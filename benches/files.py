"""From file to file: `shapsketch explain` on FASTA records, its throughput and peak memory.

python benches/files.py [--records 1000000]

A process reads a million random FASTA records of 26 nt and writes their Shapley values, by the sketch of 1,001
coefficients of benches/explain.py, as Parquet and as CSV. A loop that does nothing but parse the same file by
dnaio is shown for comparison.
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
    """Seconds and peak memory (MiB) of a process."""
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
        made = spectrum()
        ss.Sketch(made).save(folder / "model.safetensors")
        rng = np.random.default_rng(0)
        sizes = [65_536] * (count // 65_536) + [count % 65_536] * (count % 65_536 > 0)
        codes = (rng.integers(0, 4, (size, N), dtype=np.uint8) for size in sizes)
        source = folder / "reads.fasta"
        ss.write_sequences(source, made.space, codes)
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{count:,} records of {N} nt, {source.stat().st_size / 2**20:,.0f} MiB (made in {own:,.0f} MiB)\n"
        )
        print("| file to file, import of Python included | seconds | records/s | peak MiB | MiB written |")
        print("|---|--:|--:|--:|--:|")
        explain = [sys.executable, "-m", "shapsketch.cli", "explain", folder / "model.safetensors", source]
        for what, command, output in [
            ("dnaio alone, parsing", [sys.executable, "-c", PARSE, source], None),
            ("SV to Parquet", explain, "values.parquet"),
            ("SV to Parquet, --float32", [*explain, "--float32"], "small.parquet"),
            ("SV to CSV", explain, "values.csv"),
            ("SV to CSV, compressed", explain, "values.csv.gz"),
        ]:
            seconds, peak = run(command if output is None else [*command, "-o", folder / output])
            written = (folder / output).stat().st_size / 2**20 if output else 0
            # A process that holds nothing shows what this one held when it was started.
            shown = f"{peak:,.0f}" if peak > 1.1 * own else "-"
            print(f"| {what} | {seconds:.1f} | {count / seconds:,.0f} | {shown} | {written:,.0f} |")


if __name__ == "__main__":
    main()
