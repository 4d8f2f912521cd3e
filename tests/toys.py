"""Deterministic toy models, and slow, direct implementations of what shapsketch computes fast."""

import importlib
import inspect
import itertools
import math
import re

import numpy as np
import shapsketch as ss
from shapsketch import _core
from shapsketch.fitting import distillation, effort


def by_evaluator(function, model, *arguments, **options):
    """Call ss.sketch, ss.faithfulness or refine, and pass options of an Evaluator by an Evaluator."""
    names = set(inspect.signature(ss.Evaluator).parameters) & set(options)
    evaluator = ss.Evaluator(model, **{name: options.pop(name) for name in names})
    if function is ss.sketch and evaluator.outputs is not None:
        function = ss.sketch_outputs
    return function(evaluator, *arguments, **options)


def hide(monkeypatch, *names):
    """Let imports of some libraries fail."""
    real = importlib.import_module

    def import_module(name, *rest):
        if name.split(".")[0] in names:
            raise ModuleNotFoundError(name, name=name.split(".")[0])
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", import_module)


def without_progress(err):
    """Return the lines of stderr that are not about progress."""
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if not re.match(r"shapsketch: (.*, )?stage \d+ of \d+", line))


def random_spectrum(q, n, seed, terms=12, max_order=4):
    """Return a random real spectrum with a constant and terms of orders 1 to `max_order`."""
    rng = np.random.default_rng(seed)
    frequencies, coefficients = [np.zeros(n, int)], [complex(rng.normal())]
    for _ in range(terms):
        k = np.zeros(n, int)
        support = rng.choice(n, rng.integers(1, min(max_order, n) + 1), replace=False)
        k[support] = rng.integers(1, q, len(support))
        frequencies.append(k)
        coefficients.append(complex(rng.normal(), rng.normal()))
    space = ss.SequenceSpace("ACGTBDEFHIJKLMNOPQRSUVWXYZ"[:q], n)
    return ss.Spectrum(space, np.array(frequencies), coefficients, real_part=True)


def spectrum_of(terms, space):
    """Return the spectrum of a sum of functions of codes, in a dict by their supports."""
    frequencies, coefficients = [], []
    for support, function in terms.items():
        shape = (space.q,) * len(support)
        table = np.array([function(*word) for word in np.ndindex(*shape)], dtype=float).reshape(shape)
        transform = np.fft.fftn(table) / table.size
        for word in np.argwhere(np.abs(transform) > 1e-14):
            k = np.zeros(space.n, int)
            k[list(support)] = word
            frequencies.append(k)
            coefficients.append(transform[tuple(word)])
    keys, where = np.unique(np.array(frequencies), axis=0, return_inverse=True)
    sums = np.zeros(len(keys), dtype=complex)
    np.add.at(sums, where.reshape(-1), coefficients)
    return ss.Spectrum(space, keys, sums)


def sketch_of_patterns(space, patterns):
    """Return a sketch of patterns (start, word, coefficient); a dot is any symbol."""
    orders, supports, symbols = [], [], []
    for start, word, _ in patterns:
        letters = [(start + i, space.alphabet.index(a)) for i, a in enumerate(word) if a != "."]
        orders.append(len(letters))
        supports += [i for i, _ in letters]
        symbols += [a for _, a in letters]
    arrays = (np.array(values, dtype=np.uint16) for values in (orders, supports, symbols))
    coefficients = np.array([c for *_, c in patterns], dtype=float)
    return ss.Sketch._wrap(_core.letter_terms(space._core, 0.0, *arrays, coefficients))


def evaluate(spectrum, codes):
    """Evaluate the function of a spectrum at codes, as the sum of its terms."""
    phases = spectrum.frequencies.astype(int) @ np.asarray(codes).astype(int).T
    return (spectrum.coefficients @ np.exp(2j * np.pi * phases / spectrum.space.q)).real


def all_sequences(q, n):
    """Return the codes of all q**n sequences."""
    return np.array(list(itertools.product(range(q), repeat=n)), dtype=np.uint8)


def game(function, q, x):
    """Return v(T) = E f(x_T, X_rest) over uniform X for all coalitions T (bit masks), by enumeration."""
    n = len(x)
    sequences = all_sequences(q, n)
    values = np.empty(2**n)
    for mask in range(2**n):
        rows = sequences.copy()
        fixed = [i for i in range(n) if mask >> i & 1]
        rows[:, fixed] = np.asarray(x)[fixed]
        values[mask] = function(rows).mean()
    return values


def shapley_values(values, n):
    """Return the Shapley values of a game, given its values for all coalitions, by the definition."""
    result = np.zeros(n)
    for i in range(n):
        for mask in range(2**n):
            if not mask >> i & 1:
                size = mask.bit_count()
                weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
                result[i] += weight * (values[mask | 1 << i] - values[mask])
    return result


def moebius(values, n):
    """Return the Möbius transform of a game, given its values for all coalitions, by the definition."""
    return {
        tuple(i for i in range(n) if mask >> i & 1): sum(
            (-1) ** (mask.bit_count() - sub.bit_count()) * values[sub]
            for sub in range(2**n)
            if sub & mask == sub
        )
        for mask in range(1, 2**n)
    }


def motif_model(sequences):
    """Score sequences: the number of G, plus 2 for a start with AU, minus 1.5 for GC at positions 4 and 5."""
    return [s.count("G") + 2.0 * s.startswith("AU") - 1.5 * (s[4:6] == "GC") for s in sequences]


def shorten_fits(assign=setattr):
    """Let the default effort train small networks and students, and leave nothing out on a slow machine."""
    assign(effort, "LEAST_SECONDS", 3_600.0)
    assign(effort, "STANDARD", (effort.NetworkSize(1, 16, 10),))
    assign(effort, "LONG_STANDARD", (effort.NetworkSize(1, 16, 10),))
    assign(distillation, "FEW_PREDICTIONS", (2_000, 2_000))
    assign(distillation, "FAST_ROUNDS", 20)
