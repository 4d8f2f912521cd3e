"""Training and prediction of convolutional networks: ours, and the same network in PyTorch if that is installed.

    python benches/networks.py [--count 5000] [--length 50] [--repeats 3]

Both train three networks of the same size for the same epochs, on all cores. The repeats alternate.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import shapsketch as ss
from shapsketch import _core

MEMBERS, CHANNELS, HIDDEN, EPOCHS, BATCH = 3, 64, 64, 30, 64


def data(count, length):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (count, length), dtype=np.uint8)
    found = ((codes[:, :-2] == 2) & (codes[:, 1:-1] == 0) & (codes[:, 2:] == 3)).sum(axis=1)
    return codes, 1.0 * found + 0.1 * (codes == 1).sum(axis=1)


def ours(codes, values):
    space = ss.SequenceSpace(ss.DNA, codes.shape[1])
    options = {"members": MEMBERS, "channels": CHANNELS, "hidden": HIDDEN, "epochs": EPOCHS}
    started = time.perf_counter()
    networks = _core.Networks.train(space._core, codes, values, None, rate=5e-3, decay=0.1, seed=0, **options)
    trained = time.perf_counter() - started
    started = time.perf_counter()
    networks.predict(codes)
    return trained, time.perf_counter() - started


def theirs(codes, values):
    import torch
    from torch import nn
    from torch.nn import functional

    n = codes.shape[1]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv1d(4, CHANNELS, 7, padding=3)
            self.second = nn.Conv1d(CHANNELS, CHANNELS, 5, padding=2)
            self.placed = nn.Conv1d(CHANNELS, 8, 1)
            self.dense = nn.Linear(8 * n + 2 * CHANNELS, HIDDEN)
            self.residual = nn.Linear(HIDDEN, HIDDEN)
            self.output = nn.Linear(HIDDEN, 1)
            self.linear = nn.Linear(4 * n, 1)

        def forward(self, onehot):
            first = functional.silu(self.first(onehot))
            both = first + functional.silu(self.second(first))
            features = torch.cat([self.placed(both).flatten(1), both.mean(2), both.amax(2)], 1)
            dense = functional.silu(self.dense(features))
            dense = dense + functional.silu(self.residual(dense))
            return (self.output(dense) + self.linear(onehot.flatten(1)))[:, 0]

    onehot = torch.from_numpy(np.ascontiguousarray(np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1)))
    target = torch.from_numpy(((values - values.mean()) / values.std()).astype(np.float32))
    held = len(codes) // 8
    members, started = [], time.perf_counter()
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        network = Network()
        optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=0.1)
        rows = np.random.default_rng(seed).permutation(len(codes))[held:]
        steps = EPOCHS * -(-len(rows) // BATCH)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps, pct_start=0.2)
        for _ in range(EPOCHS):
            np.random.default_rng(seed).shuffle(rows)
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                loss = ((network(onehot[batch]) - target[batch]) ** 2).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                cycle.step()
        members.append(network)
    trained = time.perf_counter() - started
    started = time.perf_counter()
    with torch.no_grad():
        for network in members:
            for start in range(0, len(onehot), 256):
                network(onehot[start : start + 256])
    return trained, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", choices=["ours", "theirs"], help="one side once, in this process")
    arguments = parser.parse_args()
    codes, values = data(arguments.count, arguments.length)
    if arguments.alone:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        trained, predicted = (ours if arguments.alone == "ours" else theirs)(codes, values)
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{trained} {predicted} {peak}")
        return
    sides = ["ours"]
    if (
        subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode
        == 0
    ):
        sides.append("theirs")
    best: dict[str, list[list[float]]] = {side: [] for side in sides}
    for _ in range(arguments.repeats):
        for side in sides:
            command = [sys.executable, __file__, "--alone", side]
            command += ["--count", str(arguments.count), "--length", str(arguments.length)]
            line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            best[side].append([float(number) for number in line.split()])
    print("| | training, s | prediction, µs per sequence | memory, MiB |\n|---|--:|--:|--:|")
    for side, runs in best.items():
        trained, predicted, peak = np.min(runs, axis=0)
        name = "shapsketch" if side == "ours" else "PyTorch"
        print(f"| {name} | {trained:.1f} | {1e6 * predicted / arguments.count:.0f} | {peak:.0f} |")
    if len(sides) == 2:
        ratio = np.median([t[0] / o[0] for o, t in zip(best["ours"], best["theirs"], strict=True)])
        print(f"training: PyTorch takes {ratio:.2f} times as long (median of pairs)")


if __name__ == "__main__":
    main()
