"""Explanations from Python: rates on one core, memory of a stream, and other packages on the same coefficients.

    python benches/explain.py rates      sequences per second for every index and background, one core
    python benches/explain.py stream     10,000,000 sequences: time and peak memory
    python benches/explain.py peers      shapzero at q = 20 and order 3, and shapiq's converter, one core

Option of `stream`: --sequences (10,000,000).
"""

import argparse
import contextlib
import io
import json
import resource
import time

import numpy as np
from vs_shapzero import in_process

# Length of the sequences.
N = 26


def spectrum():
    """Return 1,000 coefficients on 300 supports, n = 26, q = 4: all positions, 168 pairs, 106 triples."""
    import shapsketch as ss

    rng = np.random.default_rng(0)
    supports = [[i] for i in range(N)]
    supports += [[i % 12, 12 + i // 12] for i in range(168)]
    supports += [[i % 10, 10 + i // 10, 21 + i % 5] for i in range(106)]
    keys, values = [np.zeros(N, int)], [1.0 + 0.0j]
    for first in (1, 2):
        for support in supports if first == 1 else supports[26:226]:
            key = np.zeros(N, int)
            key[support] = 1
            key[support[0]] = first
            keys.append(key)
            values.append(np.exp(1j * rng.uniform(0, 6.28)))
    space = ss.SequenceSpace(ss.RNA, N)
    return ss.Spectrum(space, np.array(keys), values, real_part=True)


def rate(work, count, duration=1.0):
    """Return the items per second of the fastest run within `duration` seconds."""
    best, started = 0.0, time.perf_counter()
    while time.perf_counter() - started < duration:
        before = time.perf_counter()
        work()
        best = max(best, count / (time.perf_counter() - before))
    return best


def side_rates():
    import shapsketch as ss

    surrogate = spectrum()
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (20_000, N)).astype(np.uint8)
    few = codes[:500]
    uniform = ss.Explainer(surrogate)
    composition = np.tile([0.3, 0.2, 0.2, 0.3], (N, 1))
    out = {"coefficients": len(surrogate), "rows": []}

    def row(name, work, count=20_000):
        work()
        out["rows"].append((name, rate(work, count)))

    row("SV, uniform", lambda: uniform(codes))
    for name, background in [
        ("product distribution", composition),
        ("reference", codes[0]),
        ("100 sequences", codes[:100]),
    ]:
        explainer = ss.Explainer(surrogate, background)
        row(f"SV, {name}", lambda explainer=explainer: explainer(codes))
    shuffled = ss.Explainer(surrogate, ss.DinucleotideShuffles(20))
    row("SV, 20 dinucleotide shuffles of each sequence", lambda: shuffled(few), len(few))
    for index, order in [
        ("FSII", 2), ("k-SII", 2), ("SII", 2), ("STII", 2), ("FBII", 2), ("FSII", 3), ("Moebius", None),
    ]:  # fmt: skip
        name = f"{index}, order {order or 'any'}, uniform"
        row(name, lambda i=index, o=order: uniform.interactions(codes, index=i, max_order=o))
    row("mutation effects", lambda: uniform.mutation_effects(codes))
    row("epistasis", lambda: uniform.epistasis(few), len(few))
    print(json.dumps(out))


def rates():
    r = in_process("side-rates", threads=1, script=__file__)
    print(f"| {r['coefficients']:,} coefficients, 300 supports, n = 26, q = 4 | sequences/s, one core |")
    print("|---|--:|")
    for name, value in r["rows"]:
        print(f"| {name} | {value:,.0f} |")


def side_stream(count):
    import shapsketch as ss

    explainer = ss.Explainer(spectrum())
    rng = np.random.default_rng(1)
    batch = 65_536
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    batches = (
        rng.integers(0, 4, (min(batch, count - start), N), dtype=np.uint8) for start in range(0, count, batch)
    )
    total, rows = np.zeros(N), 0
    for explanation in explainer.stream(batches):
        total += explanation.values.sum(axis=0)
        rows += len(explanation)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "s": time.perf_counter() - started, "peak": peak, "before": before}))


def stream(count):
    r = in_process("side-stream", "--sequences", count, script=__file__)
    print(
        f"{r['rows']:,} random sequences generated and explained in {r['s']:.1f} s, "
        f"peak {r['peak']:.0f} MiB ({r['before']:.0f} before)"
    )


def side_peers():
    import shapiq
    import shapsketch as ss
    from shapiq.game_theory.moebius_converter import MoebiusConverter
    from shapzero.shap.shap_explainer import shap_explainer

    rng = np.random.default_rng(2)
    rows = against_shapzero(ss, shap_explainer, rng)
    rows += against_shapiq(ss, shapiq, MoebiusConverter, rng)
    print(json.dumps(rows))


def against_shapzero(ss, shap_explainer, rng):
    """Return rows of the peer table: name, peer, seconds per sequence of shapsketch and of the peer."""
    q, n = 20, 20
    keys, values = [np.zeros(n, int)], [1.0 + 0.0j]
    for _ in range(300):
        key = np.zeros(n, int)
        support = rng.choice(n, rng.integers(1, 4), replace=False)
        key[support] = rng.integers(1, q, len(support))
        keys.append(key)
        values.append(rng.normal() + 1j * rng.normal())
    surrogate = ss.Spectrum(ss.SequenceSpace(ss.PROTEIN, n), np.array(keys), values, real_part=True)
    codes = rng.integers(0, q, (2_000, n)).astype(np.uint8)
    explainer = ss.Explainer(surrogate)
    table = {
        tuple(int(v) for v in k): c
        for k, c in zip(surrogate.frequencies, surrogate.coefficients, strict=True)
    }
    with contextlib.redirect_stdout(io.StringIO()):
        published = shap_explainer(table, q=q, n=n)
    out = []
    for name, ours, kind in [
        ("SV, q = 20, order up to 3", lambda: explainer(codes), "shap_value"),
        (
            "full-order Faith-Shap, q = 20, order up to 3",
            lambda: explainer.interactions(codes, index="Faith-Shap"),
            "interaction",
        ),
    ]:
        ours()
        pairs = []
        for x in codes[:2]:
            fast = 1.0 / rate(ours, len(codes), 0.5)
            started = time.perf_counter()
            published.explain(x, explanation=kind)
            pairs.append((fast, time.perf_counter() - started))
        out.append((name, "shapzero", *np.mean(pairs, axis=0)))
    return out


def against_shapiq(ss, shapiq, converter, rng):
    """Return rows of the peer table; shapiq converts components that shapsketch computed."""
    codes = rng.integers(0, 4, (2_000, N)).astype(np.uint8)
    explainer = ss.Explainer(spectrum())
    components = explainer.interactions(codes[:5], index="Moebius")
    out = []
    for index in ("SV", "FSII", "k-SII", "STII"):
        order = 1 if index == "SV" else 2
        pairs = []
        for b in range(5):
            ours = 1.0 / rate(
                lambda i=index, o=order: explainer.interactions(codes, index=i, max_order=o), len(codes), 0.3
            )
            lookup = {support: column for column, support in enumerate(components.supports)}
            moebius = shapiq.InteractionValues(
                components.values[b],
                index="Moebius",
                min_order=1,
                max_order=3,
                n_players=N,
                interaction_lookup=lookup,
            )
            started = time.perf_counter()
            converted = converter(moebius)(index, order)
            pairs.append((ours, time.perf_counter() - started))
            result = explainer.interactions(codes[b : b + 1], index=index, max_order=order)
            for support, value in zip(result.supports, result.values[0], strict=True):
                assert abs(value - converted[support]) < 1e-9, "the packages disagree"
        out.append(
            (
                f"{index}, order {order}, q = 4",
                "shapiq, from computed components",
                *np.mean(pairs, axis=0),
            )
        )
    return out


def peers():
    print("| one core | peer | shapsketch µs | peer µs | ratio |")
    print("|---|---|--:|--:|--:|")
    for name, peer, ours, theirs in in_process("side-peers", threads=1, script=__file__):
        print(f"| {name} | {peer} | {ours * 1e6:,.2f} | {theirs * 1e6:,.0f} | {theirs / ours:,.0f} |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {
        "rates": rates,
        "stream": stream,
        "peers": peers,
        "side-rates": side_rates,
        "side-stream": side_stream,
        "side-peers": side_peers,
    }
    parser.add_argument("command", choices=commands)
    parser.add_argument("--sequences", type=int, default=10_000_000)
    options = parser.parse_args()
    arguments = (options.sequences,) if options.command.endswith("stream") else ()
    commands[options.command](*arguments)


if __name__ == "__main__":
    main()
