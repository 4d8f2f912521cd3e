"""Errors of `Explainer.refine` beside antithetic permutations of the differing positions, at equal calls.

    python benches/refine.py [--seeds 6]

The model has 60 patterns of one to three of 30 positions (DNA). The explained sequences are twelve mutants of a wild type
("near"), or random ones ("far"). Backgrounds: uniform, letters that differ from the wild type with a probability, or 40
sequences. "Own" sketches have two thirds of the patterns, "other" ones are those of another function. Errors are relative to
the root mean square of the values; coverage is the fraction of values in the 95 % intervals.
"""

from __future__ import annotations

import argparse

import numpy as np
import shapsketch as ss

N, Q = 30, 4
SPACE = ss.SequenceSpace(ss.DNA, N)
WILD = np.random.default_rng(0).integers(0, Q, N).astype(np.uint8)


def planted(seed):
    rng = np.random.default_rng(seed)
    patterns = []
    for _ in range(60):
        support = np.sort(rng.choice(N, rng.integers(1, 4), replace=False))
        own = rng.random(len(support)) < 0.7
        letters = np.where(own, WILD[support], rng.integers(0, Q, len(support)))
        patterns.append((support, letters, rng.normal()))
    return patterns


def scores(patterns, codes):
    return sum(c * (codes[:, support] == letters).all(axis=1) for support, letters, c in patterns)


def sketch_of(patterns):
    frequencies, coefficients = [np.zeros(N, int)], [0.0]
    for support, letters, c in patterns:
        for number in range(Q ** len(support)):
            frequency = np.zeros(N, int)
            frequency[support] = np.unravel_index(number, (Q,) * len(support))
            frequencies.append(frequency)
            phase = (frequency[support] * letters).sum() / Q
            coefficients.append(c * Q ** -len(support) * np.exp(-2j * np.pi * phase))
    return ss.Sketch(ss.Spectrum(SPACE, np.array(frequencies), coefficients, real_part=True))


def mutants(count, rate, rng):
    return np.where(rng.random((count, N)) < rate, rng.integers(0, Q, (count, N)), WILD).astype(np.uint8)


def near(rate):
    probabilities = np.full((N, Q), rate / Q)
    probabilities[np.arange(N), WILD] += 1.0 - rate
    return probabilities


def permuted(model, sequence, draw, calls, rng):
    """Return Shapley values from permutations of the differing positions, each with its reverse."""
    total, used, drawn = np.zeros(N), 1, 0
    while True:
        background = draw(rng)
        order = rng.permutation(np.flatnonzero(background != sequence))
        used += 1 + max(0, 2 * (len(order) - 1))
        if drawn and used > calls:
            return total / drawn
        for each in (order, order[::-1]):
            rows = np.repeat(background[None], len(each) + 1, axis=0)
            for step, position in enumerate(each, 1):
                rows[step:, position] = sequence[position]
            total[each] += np.diff(scores(model, rows)) / 2.0
        drawn += 1


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    seeds = range(parser.parse_args().seeds)
    model, listed = planted(1), mutants(40, 0.5, np.random.default_rng(3))
    sketches = {"own": sketch_of([p for i, p in enumerate(model) if i % 3]), "other": sketch_of(planted(9))}
    everything = sketch_of(model)
    backgrounds = {
        "uniform": ("uniform", lambda rng: rng.integers(0, Q, N).astype(np.uint8)),
        "40 sequences": (SPACE.decode(listed), lambda rng: listed[rng.integers(len(listed))]),
    }
    for rate in (0.7, 0.5, 0.1):
        backgrounds[f"mutated {rate}"] = (near(rate), lambda rng, rate=rate: mutants(1, rate, rng)[0])
    print(
        f"{'background':13} {'sequences':9} {'calls':>5} {'own':>6} {'cover':>6} {'other':>6} {'cover':>6} {'perm.':>6}"
    )
    for name, (background, draw) in backgrounds.items():
        for place, rate in (("near", 0.5), ("far", 1.0)):
            codes = mutants(12, rate, np.random.default_rng(5))
            truth = ss.Explainer(everything, background)(codes).values
            size = np.sqrt((truth**2).mean())
            for calls in (100, 200, 1_000):
                row = []
                for sketch in sketches.values():
                    explainer, squares, covered = ss.Explainer(sketch, background), [], []
                    for seed in seeds:
                        refined = explainer.refine(
                            ss.Evaluator(lambda rows: scores(model, np.asarray(rows)), inputs="codes"),
                            codes,
                            calls_per_sequence=calls,
                            random_state=seed,
                            progress=False,
                        )
                        squares.append((refined.values - truth) ** 2)
                        covered.append(abs(refined.values - truth) <= 1.96 * refined.stderr + 1e-12)
                    row += [np.sqrt(np.mean(squares)) / size, np.mean(covered)]
                others = []
                for seed in seeds:
                    rng = np.random.default_rng([seed, 3])
                    values = np.array([permuted(model, x, draw, calls, rng) for x in codes])
                    others.append(((values - truth) ** 2).mean())
                row.append(np.sqrt(np.mean(others)) / size)
                print(f"{name:13} {place:9} {calls:5} " + " ".join(f"{x:6.3f}" for x in row), flush=True)


if __name__ == "__main__":
    main()
