"""Comparison with the published package (`pip install shapzero`): decoding and explaining.

    python benches/vs_shapzero.py recovery            support and NMSE on the same queries
    python benches/vs_shapzero.py decode --b 5 6      time and memory, without the model
    python benches/vs_shapzero.py explain             time per explained sequence

Setting (that of TIGER): q = 4, n = 26, C = 3 groups, NSO delays with R = 3 repeats; 250 planted coefficients of
order up to 3, noise at 10 dB per query. shapzero receives the true noise level; shapsketch estimates it. Both
packages run one after the other, in separate processes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

# Alphabet size, sequence length, and groups of a design.
Q, N, GROUPS = 4, 26, 3


def planted(terms=250, seed=1, max_order=3):
    """Return random conjugate pairs of order 1 to `max_order`, with magnitudes 0.5 to 1.5."""
    import shapsketch as ss

    rng = np.random.default_rng(seed)
    rows, values = {}, []
    while len(values) < terms // 2:
        k = np.zeros(N, dtype=np.uint8)
        support = rng.choice(N, rng.integers(1, max_order + 1), replace=False)
        k[support] = rng.integers(1, Q, len(support))
        negated = (-k.astype(int) % Q).astype(np.uint8)
        if bytes(k) not in rows and bytes(negated) not in rows and (k != negated).any():
            rows[bytes(k)] = k
            values.append(rng.uniform(0.5, 1.5) * np.exp(2j * np.pi * rng.random()))
    half = np.array(list(rows.values()))
    both = np.concatenate([half, (-half.astype(int) % Q).astype(np.uint8)])
    values = np.array(values)
    return ss.Spectrum(ss.SequenceSpace(ss.RNA, N), both, np.concatenate([values, values.conj()]))


def noisy_values(truth, queries, seed=2):
    sd = np.sqrt(truth.order_energy()[1:].sum() / 10)
    return truth.predict(queries) + np.random.default_rng(seed).normal(0, sd, len(queries)), sd


def theirs_decode(values, matrices, delays, repeats, b, noise_sd):
    """Run the published transform and peeling on values; return its dictionary."""
    from shapzero.fourier.input_signal_subsampled import SubsampledSignal
    from shapzero.fourier.qsft import QSFT
    from shapzero.fourier.utils import gwht

    class WithoutQueries(SubsampledSignal):
        """A signal whose values are set below."""

        def _init_signal(self):
            pass

    # Delays of each repeat.
    per = N + 1
    signal = WithoutQueries(
        n=N,
        q=Q,
        query_args={"b": b, "num_subsample": GROUPS, "num_repeat": repeats, "subsampling_method": "qsft"},
    )
    signal.noise_sd = noise_sd
    signal.Ms = [m.astype(int) for m in matrices]
    signal.Ds = [[d[r * per : (r + 1) * per].astype(int) for r in range(repeats)] for d in delays]
    blocks = (values - values.mean()).reshape(GROUPS, repeats, per, Q**b)
    signal.Us = [
        [{b: [gwht(row, Q, b) for row in blocks[c, r]]} for r in range(repeats)] for c in range(GROUPS)
    ]
    signal.transformTimes = [[{b: 0.0} for _ in range(repeats)] for _ in range(GROUPS)]
    decoder = QSFT(
        reconstruct_method_source="identity",
        reconstruct_method_channel="nso",
        num_subsample=GROUPS,
        num_repeat=repeats,
        b=b,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        return decoder.transform(signal)


def theirs_queries(b, repeats):
    """Yield the queries of the published design, one batch for each delay."""
    from shapzero.fourier.query import get_Ms_and_Ds
    from shapzero.fourier.utils import dec_to_qary_vec, qary_ints, qary_vec_to_dec

    matrices, delays = get_Ms_and_Ds(
        N,
        Q,
        query_method="complex",
        b=b,
        num_subsample=GROUPS,
        delays_method_source="identity",
        delays_method_channel="nso",
        num_repeat=repeats,
    )
    digits = np.array(qary_ints(b, Q))
    for matrix, group in zip(matrices, delays, strict=True):
        base = (matrix @ digits) % Q
        for repeat in group:
            for delay in repeat:
                # Like the package: first indices, then sequences from the indices.
                indices = qary_vec_to_dec((base + np.outer(delay, np.ones(Q**b, dtype=int))) % Q, Q)
                yield np.array(dec_to_qary_vec(indices, Q, N)).T


def theirs_pipeline(truth, sd, b, repeats):
    """Run the published package as its Explainer does, with the true noise level.

    Returns the seconds without the model, and the result. The time includes the files between its stages, but not
    its search for a noise level.
    """
    import pickle
    import tempfile
    from pathlib import Path

    import matplotlib

    matplotlib.use("Agg")
    from shapzero.fourier import commands

    rng = np.random.default_rng(2)
    in_model = 0.0

    def model(codes):
        nonlocal in_model
        started = time.perf_counter()
        codes = np.asarray(codes).astype(np.uint8)
        values = truth.predict(codes) + rng.normal(0, sd, len(codes))
        in_model += time.perf_counter() - started
        return values

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        parameters = {
            "q": Q,
            "n": N,
            "b": b,
            "num_subsample": GROUPS,
            "num_repeat": repeats,
            "sampling_function": model,
            "exp_dir": folder,
            "delays_method_channel": "nso",
            "n_samples": 1000,
            "hyperparam": False,
            "noise_sd": sd,
        }
        started = time.perf_counter()
        commands.get_qary_indices(parameters)
        commands.compute_fourier_samples(parameters)
        commands.compute_subsampled_fourier_transforms(parameters, exp_dir=folder)
        commands.run_fourier(parameters, verbose=False)
        seconds = time.perf_counter() - started - in_model
        # This process wrote the file, so it is safe to unpickle.
        decoded = pickle.loads((Path(folder) / "fourier_transform.pickle").read_bytes())
    return seconds, decoded


def score(decoded, truth):
    """Return support F1 and NMSE over all frequencies except zero; `decoded` maps the bytes of k to F[k]."""
    real = {bytes(k): v for k, v in zip(truth.frequencies, truth.coefficients, strict=True) if k.any()}
    decoded = {k: v for k, v in decoded.items() if any(k)}
    common = real.keys() & decoded.keys()
    error = sum(abs(real.get(k, 0) - decoded.get(k, 0)) ** 2 for k in real.keys() | decoded.keys())
    f1 = 2 * len(common) / (len(real) + len(decoded))
    return f1, error / sum(abs(v) ** 2 for v in real.values())


def as_dict(spectrum):
    return {bytes(k): v for k, v in zip(spectrum.frequencies, spectrum.coefficients, strict=True)}


def recovery(seeds):
    import shapsketch as ss

    space = ss.SequenceSpace(ss.RNA, N)
    print(
        "| b | R | queries | F1 shapzero | F1 shapsketch | without refit | NMSE shapzero | NMSE shapsketch | without refit |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for b, repeats in [(3, 3), (4, 1), (4, 3), (4, 6), (5, 1), (5, 3), (6, 1)]:
        rows, count = [], 0
        for seed in range(seeds):
            truth = planted(seed=seed)
            design = ss.QueryDesign(space, b=b, groups=GROUPS, repeats=repeats, random_state=seed)
            count = GROUPS * repeats * (N + 1) * Q**b
            if len(design) != count:
                raise SystemExit("blocks of the design overlap; choose another seed")
            values, sd = noisy_values(truth, design.queries(), seed)
            theirs = theirs_decode(values, design.matrices, design.delays, repeats, b, sd)
            theirs = {bytes(np.array(k, dtype=np.uint8)): v for k, v in theirs.items()}
            observed = ss.Observations(design, values)
            ours = ss.PeelingDecoder().fit(observed).spectrum_
            plain = ss.PeelingDecoder(refit=False, noise=sd).fit(observed).spectrum_
            rows.append([*score(theirs, truth), *score(as_dict(ours), truth), *score(as_dict(plain), truth)])
        f1t, et, f1o, eo, f1p, ep = np.mean(rows, axis=0)
        print(
            f"| {b} | {repeats} | {count:,} | {f1t:.3f} | {f1o:.3f} | {f1p:.3f} | {et:.2e} | {eo:.2e} | {ep:.2e} |",
            flush=True,
        )


def decode_side(side, b):
    """Run one side of the decoding comparison, and print its times as JSON."""
    import shapsketch as ss

    repeats = 3
    truth = planted()
    sd = np.sqrt(truth.order_energy()[1:].sum() / 10)
    started = time.perf_counter()
    generated = 0.0
    if side == "shapsketch":
        design = ss.QueryDesign(truth.space, b=b, groups=GROUPS, repeats=repeats)
        for batch in design.batches():
            assert batch.shape[1] == N
        generated = time.perf_counter() - started
        values = np.concatenate([truth.predict(batch) for batch in design.batches()])
        values += np.random.default_rng(2).normal(0, sd, len(values))
        started = time.perf_counter()
        result = as_dict(ss.PeelingDecoder().fit(ss.Observations(design, values)).spectrum_)
        decoding = time.perf_counter() - started
    elif side == "shapzero, in memory":
        total = sum(len(batch) for batch in theirs_queries(b, repeats))
        generated = time.perf_counter() - started
        assert total == GROUPS * repeats * (N + 1) * Q**b
        design = ss.QueryDesign(truth.space, b=b, groups=GROUPS, repeats=repeats)
        values = np.concatenate([truth.predict(batch) for batch in design.batches()])
        values += np.random.default_rng(2).normal(0, sd, len(values))
        started = time.perf_counter()
        result = theirs_decode(values, design.matrices, design.delays, repeats, b, sd)
        decoding = time.perf_counter() - started
    else:
        decoding, result = theirs_pipeline(truth, sd, b, repeats)
    if side != "shapsketch":
        result = {bytes(np.array(k, dtype=np.uint8)): v for k, v in result.items()}
    f1, error = score(result, truth)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"queries": generated, "decode": decoding, "mib": memory, "f1": f1, "nmse": error}))


def explain_side(side, repeat):
    """Run one side of the explaining comparison, and print its seconds per sequence as JSON."""
    import shapsketch as ss

    rng = np.random.default_rng(repeat)
    supports = [(i,) for i in range(N)]
    while len(supports) < 300:
        support = tuple(sorted(rng.choice(N, 2 if len(supports) < 200 else 3, replace=False)))
        if support not in supports:
            supports.append(support)
    rows = np.zeros((560, N), dtype=np.uint8)
    for row, support in zip(rows, (supports * 2)[:560], strict=True):
        row[list(support)] = rng.integers(1, Q, len(support))
    coefficients = rng.normal(size=560) + 1j * rng.normal(size=560)
    spectrum = ss.Spectrum(ss.SequenceSpace(ss.RNA, N), rows, coefficients, real_part=True)
    out = {"coefficients": len(spectrum)}
    if side == "shapsketch":
        codes = rng.integers(0, Q, (200_000, N)).astype(np.uint8)
        explainer = ss.Explainer(spectrum)
        explainer(codes[:10])
        for name, run in (("values", explainer), ("interactions", explainer.interactions)):
            started = time.perf_counter()
            run(codes)
            out[name] = (time.perf_counter() - started) / len(codes)
        out["supports"] = len(explainer.interactions(codes[:1]).supports)
    else:
        from shapzero.shap.shap_explainer import shap_explainer

        keys = [tuple(int(v) for v in k) for k in spectrum.frequencies]
        other = shap_explainer(dict(zip(keys, spectrum.coefficients, strict=True)), q=Q, n=N)
        codes = rng.integers(0, Q, (5, N))
        for name, kind in (("values", "shap_value"), ("interactions", "interaction")):
            started = time.perf_counter()
            for x in codes:
                other.explain(x, explanation=kind)
            out[name] = (time.perf_counter() - started) / len(codes)
    print(json.dumps(out))


def in_process(*arguments, threads=None, script=__file__):
    """Run a command of a script in a new process; return the JSON object of its last line."""
    environment = dict(os.environ, **({"RAYON_NUM_THREADS": str(threads)} if threads else {}))
    command = [sys.executable, script, *map(str, arguments)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


def decode(bs, alone):
    sides = ["shapsketch"] if alone else ["shapsketch", "shapzero, in memory", "shapzero, as it runs"]
    print("| b | queries | side | generate s | decode s | total s | ratio | peak MiB | F1 | NMSE |")
    print("|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    for b in bs:
        ours = 0.0
        for side in sides:
            r = in_process("side-decode", side, b)
            total = r["queries"] + r["decode"]
            ours = ours or total
            print(
                f"| {b} | {GROUPS * 3 * (N + 1) * Q**b:,} | {side} | {r['queries']:.3f} | {r['decode']:.3f} | "
                f"{total:.3f} | {total / ours:,.0f} | {r['mib']:.0f} | {r['f1']:.3f} | {r['nmse']:.1e} |",
                flush=True,
            )


def explain(runs):
    print("| run | coefficients | supports | side | values µs | interactions µs |")
    print("|--:|--:|--:|---|--:|--:|")
    for run in range(runs):
        ours = in_process("side-explain", "shapsketch", run, threads=1)
        theirs = in_process("side-explain", "shapzero", run)
        for side, r in (("shapsketch, one core", ours), ("shapzero", theirs)):
            print(
                f"| {run} | {ours['coefficients']} | {ours['supports']} | {side} | {r['values'] * 1e6:,.2f} | "
                f"{r['interactions'] * 1e6:,.2f} |"
            )
        ratio = {k: theirs[k] / ours[k] for k in ("values", "interactions")}
        print(f"| {run} | | | ratio | {ratio['values']:,.0f} | {ratio['interactions']:,.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("recovery").add_argument("--seeds", type=int, default=3)
    timing = commands.add_parser("decode")
    timing.add_argument("--b", type=int, nargs="+", default=[5])
    timing.add_argument("--alone", action="store_true", help="shapsketch only")
    commands.add_parser("explain").add_argument("--runs", type=int, default=3)
    for name in ("side-decode", "side-explain"):
        side = commands.add_parser(name)
        side.add_argument("side")
        side.add_argument("number", type=int)
    options = parser.parse_args()
    if options.command == "recovery":
        recovery(options.seeds)
    elif options.command == "decode":
        decode(options.b, options.alone)
    elif options.command == "explain":
        explain(options.runs)
    elif options.command == "side-decode":
        decode_side(options.side, options.number)
    else:
        explain_side(options.side, options.number)


if __name__ == "__main__":
    main()
