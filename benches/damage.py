"""Damaged files: single-bit flips of sketch files, and mutated stores.

    python benches/damage.py [flips] [mutations]

No damaged sketch may load, and a damaged store must give a FileError, the values that were written, or the first
batches of them, as after a run that ended early.
"""

import collections
import logging
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import shapsketch as ss

PAGE = 4096
SPACE = ss.SequenceSpace(ss.DNA, 8)


def score(codes):
    return 1.0 + (codes[:, 0] == 2) + 2.0 * ((codes[:, 3] == 1) & (codes[:, 4] == 0))


def sketches():
    """Return sketches of all methods."""
    options = {"inputs": "codes", "progress": False}
    codes = np.random.default_rng(0).integers(0, 4, (1_000, 8)).astype(np.uint8)
    from sklearn.tree import DecisionTreeRegressor

    rough = np.random.default_rng(1).normal(size=1024)
    yield (
        "exact",
        ss.sketch(
            lambda c: rough[c @ 4 ** np.arange(5)],
            ss.SequenceSpace(ss.DNA, 5),
            budget=1024,
            method="exact",
            **options,
        ),
    )
    yield "peel", ss.sketch(score, SPACE, budget=9_000, method="peel", **options)
    noisy = np.exp(score(codes) + 0.3 * np.random.default_rng(2).normal(size=len(codes)))
    yield "regress", ss.fit(codes, noisy, SPACE, link="log")
    yield "auto", ss.fit(codes, noisy, SPACE, method="auto", max_terms=200, progress=False)
    yield "distill", ss.fit(codes, noisy, SPACE, method="distill", progress=False)
    yield "converted", ss.from_trees(DecisionTreeRegressor(max_depth=4).fit(codes, score(codes)), SPACE)


def flip_bits(folder, flips):
    path = folder / "sketch.safetensors"
    total = collections.Counter()
    found = list(sketches())
    for name, sketch in found:
        sketch.save(path)
        whole = path.read_bytes()
        wanted = flips // len(found)
        bits = range(8 * len(whole))
        chosen = random.sample(bits, wanted) if wanted < len(bits) else bits
        counts = collections.Counter()
        for bit in chosen:
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                ss.load(path)
                counts["loaded"] += 1
            except ss.FileError:
                counts["refused"] += 1
        total += counts
        print(f"{name:<10} {len(whole):>8,} bytes  {dict(counts)}", flush=True)
    print(f"all        {dict(total)}")


def mutated(whole, others):
    """Return the bytes of a store with a random mutation."""
    at, size = random.randrange(len(whole)), random.choice([1, 16, 512, PAGE])
    kind = random.randrange(9)
    data = bytearray(whole)
    if kind == 0:
        data[at] ^= 1 << random.randrange(8)
    elif kind == 1:
        for _ in range(random.randrange(2, 200)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        data[at:at] = random.randbytes(size)
    elif kind == 4:
        del data[at : at + size]
    elif kind == 5:
        data[at : at + size] = bytes(len(data[at : at + size]))
    elif kind == 6:
        data[at:] = random.choice(others)[at:]
    elif kind == 7:
        # The header, the schema and the description.
        page = random.randrange(min(2 * PAGE, len(data)))
        data[page] = random.randrange(256)
    else:
        one, two = (PAGE * random.randrange(len(data) // PAGE) for _ in range(2))
        data[one : one + PAGE], data[two : two + PAGE] = data[two : two + PAGE], data[one : one + PAGE]
    return bytes(data)


def mutate_stores(folder, mutations):
    wholes, contents = [], []
    for number, (batches, size) in enumerate([(3, 5), (60, 40), (2, 3_000), (10, 30), (1, 1)]):
        store = ss.Store(folder / f"{number}.db")
        with store.open(SPACE, None) as opened:
            for _ in range(batches):
                codes = np.random.default_rng().integers(0, 4, (size, 8)).astype(np.uint8)
                opened.keep(codes, score(codes))
        wholes.append((folder / f"{number}.db").read_bytes())
        contents.append(store.read())
    path, new = folder / "mutated.db", folder / "new.db"
    counts = collections.Counter()

    def judge(use):
        """Return what a way to read the mutated store does."""
        for rest in folder.glob("mutated.db-*"):
            rest.unlink()
        path.write_bytes(data)
        try:
            codes, values = use()
        except ss.FileError:
            return "FileError"
        except Exception as error:
            return f"BARE {type(error).__name__}"
        if any(np.array_equal(codes, c) and np.array_equal(values, v) for c, v in contents):
            return "all values"
        first = [(c[: len(codes)], v[: len(codes)]) for c, v in contents]
        return (
            "first batches"
            if any(np.array_equal(codes, c) and np.array_equal(values, v) for c, v in first)
            else "WRONG"
        )

    def opened_store():
        with ss.Store(path).open(SPACE, None) as opened:
            # All values are in the cache; `read` compares them.
            assert len(opened.cache)
        return ss.Store(path).read()

    def rescued():
        new.unlink(missing_ok=True)
        ss.Store(path).rescue(new)
        return ss.Store(new).read()

    for _ in range(mutations):
        data = mutated(random.choice(wholes), wholes)
        counts["read", judge(ss.Store(path).read)] += 1
        counts["open", judge(opened_store)] += 1
        counts["rescue", judge(rescued)] += 1
    for (use, result), count in sorted(counts.items()):
        print(f"store {use:<7} {result:<13} {count:>6,}")


def main(flips=100_000, mutations=3_000):
    logging.disable(logging.CRITICAL)
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        flip_bits(Path(name), int(flips))
        mutate_stores(Path(name), int(mutations))


if __name__ == "__main__":
    main(*sys.argv[1:])
