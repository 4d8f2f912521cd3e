"""Models that give other values if two threads run them at once."""

import gc
import itertools
import logging
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import cli
from shapsketch.evaluate.threads import MOST_LINES

SPACE = ss.SequenceSpace(ss.DNA, 6)
CODES = np.random.default_rng(0).integers(0, 4, (50, 6)).astype(np.uint8)
EXPECTED = (CODES == 2).sum(axis=1) + 0.5 * CODES[:, 0]


class Attribute:
    """Keeps its batch in an attribute."""

    def __call__(self, codes):
        self.codes = codes
        return (self.codes == 2).sum(axis=1) + 0.5 * self.codes[:, 0]


class Buffer:
    """Computes in a buffer that all calls share."""

    def __init__(self):
        self.buffer = np.empty((10_000, 6))

    def __call__(self, codes):
        self.buffer[: len(codes)] = codes
        batch = self.buffer[: len(codes)]
        return (batch == 2).sum(axis=1) + 0.5 * batch[:, 0]


class Hook:
    """Keeps hidden values of one layer for the next, as hooks of networks do, in a function that it calls."""

    def layer(self, codes):
        self.hidden = (codes == 2).sum(axis=1) + 0.5 * codes[:, 0]

    def __call__(self, codes):
        self.layer(codes)
        return self.hidden


class Output:
    """Appends to a list: two calls at once give too many scores."""

    def __call__(self, codes):
        self.scores = []
        for row in codes:
            self.scores.append((row == 2).sum() + 0.5 * row[0])
        return self.scores


class Slow:
    """Waits between two lines, as a program that writes a file with a fixed name does."""

    def __call__(self, codes):
        self.codes = codes
        time.sleep(0.002)
        return (self.codes == 2).sum(axis=1) + 0.5 * self.codes[:, 0]


class OneLine:
    """Has no line between the two uses of its attribute."""

    def __call__(self, codes):
        return (setattr(self, "codes", codes), time.sleep(0.005), Attribute.__call__(self, self.codes))[2]


def evaluated(model, pool, **options):
    evaluator = ss.Evaluator(model, inputs="codes", executor=pool, check=True, **options)
    return evaluator.evaluate(CODES, SPACE, progress=False)


@pytest.mark.parametrize("model", [Attribute, Buffer, Hook, Output, Slow, OneLine])
def test_a_model_that_is_not_thread_safe_is_an_error(model):
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            with pytest.raises(
                ss.ModelError, match="the model is not thread-safe: with two batches at once it"
            ):
                evaluated(model(), pool)
    # One thread at a time gives the right values.
    np.testing.assert_array_equal(model()(CODES), EXPECTED)
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(evaluated(model(), pool, in_flight=1), EXPECTED)
    with ThreadPoolExecutor(1) as pool:
        np.testing.assert_array_equal(evaluated(model(), pool), EXPECTED)


def test_it_is_an_error_on_a_busy_machine_too():
    """Other threads keep the interpreter for longer than a line of the model takes."""
    ended = threading.Event()

    def busy():
        while not ended.is_set():
            pass

    interval = sys.getswitchinterval()
    others = [threading.Thread(target=busy) for _ in range(2)]
    sys.setswitchinterval(0.02)
    try:
        for other in others:
            other.start()
        with ThreadPoolExecutor(2) as pool, pytest.raises(ss.ModelError, match="is not thread-safe"):
            evaluated(Attribute(), pool)
    finally:
        ended.set()
        sys.setswitchinterval(interval)
        for other in others:
            other.join()


def test_finalisers_do_not_hide_it():
    """Lines of finalisers, which run in any thread, are no lines of the model."""

    class Link:
        pass

    class Finalising(Attribute):
        """Every second call frees an object that has a finaliser."""

        def __init__(self):
            self.calls, self.kept = itertools.count(), []

        def __call__(self, codes):
            link = Link()
            weakref.finalize(link, int)
            self.kept.append(None if next(self.calls) % 2 else link)
            del link
            self.codes = codes
            return (self.codes == 2).sum(axis=1) + 0.5 * self.codes[:, 0]

    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            with pytest.raises(ss.ModelError, match="is not thread-safe"):
                evaluated(Finalising(), pool)


class Locked(Attribute):
    """Thread-safe by a lock, for which the other thread waits."""

    def __init__(self):
        self.lock = threading.Lock()
        self.rows = 0

    def __call__(self, codes):
        with self.lock:
            self.rows += len(codes)
            return super().__call__(codes)


def test_no_garbage_is_collected_while_threads_take_turns():
    seen = []

    class Watching(Locked):
        def __call__(self, codes):
            seen.append(gc.isenabled())
            return super().__call__(codes)

    with ThreadPoolExecutor(2) as pool:
        evaluated(Watching(), pool)
    assert not all(seen)
    assert seen[-1]
    assert gc.isenabled()


def test_a_thread_safe_model_passes_and_each_call_is_counted(caplog):
    model = Locked()
    with ThreadPoolExecutor(2) as pool, caplog.at_level(logging.WARNING, logger="shapsketch"):
        np.testing.assert_array_equal(evaluated(model, pool), EXPECTED)
        # Eight sequences four times, two of them alone, and the others.
        assert model.rows == 4 * 8 + 2 + len(CODES) - 8
        np.testing.assert_array_equal(evaluated(model, pool, batch_size=7), EXPECTED)
    assert not caplog.messages


def test_models_with_many_lines_and_failures_that_a_retry_removes():
    failed = []

    def long(codes):
        for _ in range(2 * MOST_LINES):
            pass
        if len(codes) == 4 and not failed:
            failed.append(True)
            raise RuntimeError("busy")
        return (codes == 2).sum(axis=1) + 0.5 * codes[:, 0]

    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(evaluated(long, pool, retries=1), EXPECTED)
        failed.clear()
        with pytest.raises(
            ss.ModelError, match=r"not thread-safe: .* it fails: the model raised RuntimeError: busy"
        ):
            evaluated(long, pool)


def test_a_model_that_is_slower_under_a_trace_or_other_with_it_is_not_called_unsafe():
    """Just-in-time compilers may give other rounding while Python traces their thread."""

    def traced(codes):
        return (codes == 2).sum(axis=1) + 0.5 * codes[:, 0] + (0.01 if sys.gettrace() is not None else 0.0)

    with ThreadPoolExecutor(2) as pool:
        sys.settrace(None)
        evaluated(traced, pool)


def test_a_busy_pool_does_not_block_the_check():
    """The second batch waits behind another task of the pool."""
    ended = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(ended.wait, 60)
        np.testing.assert_array_equal(evaluated(Attribute(), pool, batch_size=64), EXPECTED)
        ended.set()


def test_the_command_line_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unsafe_model.py").write_text(
        "kept = {}\n"
        "def score(sequences):\n"
        "    kept['batch'] = sequences\n"
        "    return [s.count('G') for s in kept['batch']]\n"
    )
    command = "sketch --model unsafe_model:score --alphabet DNA --length 6 --budget 600 --method regress"
    assert cli.main([*command.split(), "-o", "out", "--threads", "2"]) == 1
    assert "not thread-safe" in (message := capsys.readouterr().err)
    assert "use --workers instead of --threads" in message
