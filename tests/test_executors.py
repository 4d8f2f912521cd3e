"""The sketch is the same wherever the batches run."""

import logging
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import shapsketch as ss
from shapsketch.evaluate.pace import Pace, batches_of
from toys import by_evaluator

DNA8 = ss.SequenceSpace(ss.DNA, 8)


def motif(codes):
    return (codes[:, 1] == 2) * 2.0 + (codes[:, 3] == 1) * (codes[:, 4] == 0) - 0.1 * codes[:, 6]


class Faulty:
    """A model for worker processes: batches numbered `fails` fail; the worker dies once, at batch `dies`."""

    inputs = "codes"

    def __init__(self, folder, *, dies=None, fails=()):
        self.folder, self.dies, self.fails = str(folder), dies, tuple(fails)

    def __call__(self, codes):
        number = sum(1 for _ in Path(self.folder).iterdir())
        (Path(self.folder) / f"{time.time_ns()}-{os.getpid()}-{threading.get_ident()}").touch()
        if self.dies is not None and number >= self.dies and self._is_first_death():
            os._exit(1)
        if number in self.fails:
            raise OSError(f"batch {number} went wrong")
        time.sleep(0.01)
        return motif(codes)

    def _is_first_death(self):
        try:
            Path(f"{self.folder}-died").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def run(model=motif, **options):
    return by_evaluator(
        ss.sketch,
        model,
        DNA8,
        budget=900,
        batch_size=40,
        **{"inputs": "codes", "method": "regress", "progress": False, **options},
    )


def saved_bytes(sketch, folder):
    sketch.save(folder / "sketch")
    return (folder / "sketch").read_bytes()


@pytest.fixture
def folder(tmp_path):
    """A folder in which `Faulty` creates one file per call."""
    calls = tmp_path / "calls"
    calls.mkdir()
    return calls


def process_pool(workers=2):
    # Spawned, not forked, because other tests have threads.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def test_threads_and_processes_give_the_same_sketch(tmp_path):
    plain = saved_bytes(run(), tmp_path)
    with ThreadPoolExecutor(4) as pool:
        assert saved_bytes(run(executor=pool), tmp_path) == plain
        assert saved_bytes(run(executor=pool, in_flight=1), tmp_path) == plain
    with process_pool() as pool:
        assert saved_bytes(run(executor=pool), tmp_path) == plain
        assert saved_bytes(run(executor=pool, store=tmp_path / "values.db"), tmp_path) == plain
    assert saved_bytes(run(store=tmp_path / "values.db"), tmp_path) == plain


def test_a_cluster_that_loses_a_worker_gives_the_same_sketch(tmp_path, folder):
    import dask
    import distributed

    plain = saved_bytes(run(), tmp_path)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "20s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        model = Faulty(folder, dies=8)
        assert saved_bytes(run(model, executor=client), tmp_path) == plain
        # There are 23 batches. The lost one, and values that were lost with the worker, are evaluated again.
        assert len(list(folder.iterdir())) >= 24
        # The executor of a client works, too.
        assert saved_bytes(run(executor=client.get_executor()), tmp_path) == plain


def test_batches_that_finish_in_any_order_give_the_same_sketch(tmp_path):
    rng = np.random.default_rng(0)
    lock = threading.Lock()

    def slow(codes):
        with lock:
            wait = float(rng.uniform(0, 0.02))
        time.sleep(wait)
        return motif(codes)

    with ThreadPoolExecutor(8) as pool:
        assert saved_bytes(run(slow, executor=pool), tmp_path) == saved_bytes(run(), tmp_path)


class CountingPool(ThreadPoolExecutor):
    """Counts the batches that are in flight at a time."""

    in_flight, most = 0, 0

    def submit(self, *arguments):
        future = super().submit(*arguments)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        return future

    def collected(self, done, total):
        self.in_flight -= 1


@pytest.mark.parametrize(("in_flight", "most"), [(None, 6), (2, 2), (1, 1)])
def test_the_number_of_batches_in_flight_is_bounded(in_flight, most):
    with CountingPool(3) as pool:
        run(executor=pool, in_flight=in_flight, progress=pool.collected)
        assert pool.most == most
        assert pool.in_flight == 0


@pytest.mark.parametrize("pooled", [False, True])
def test_failed_batches_are_repeated_with_retries(tmp_path, folder, caplog, pooled):
    plain = saved_bytes(run(), tmp_path)
    pool = ThreadPoolExecutor(1) if pooled else None
    with caplog.at_level(logging.WARNING):
        sketch = run(Faulty(folder, fails=(3, 4, 9)), executor=pool, retries=2)
    assert saved_bytes(sketch, tmp_path) == plain
    assert caplog.text.count("a batch failed; retry ") == 3
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ss.ModelError, match="batch 3 went wrong"):
        run(Faulty(folder, fails=(3,)), executor=pool)
    for path in folder.iterdir():
        path.unlink()
    # With one batch in flight, the call after the one that fails is its repetition.
    with pytest.raises(ss.ModelError, match="batch 4 went wrong"):
        run(
            Faulty(folder, fails=range(3, 100)),
            executor=pool,
            retries=1,
            in_flight=1 if pooled else None,
        )


def test_batches_that_run_beside_a_failing_one_are_kept(tmp_path):
    store = tmp_path / "values.db"
    started = threading.Barrier(3)

    def model(codes):
        number = started.wait(20)
        if number == 0:
            raise RuntimeError("no memory")
        time.sleep(0.05)
        return motif(codes)

    with ThreadPoolExecutor(3) as pool, pytest.raises(ss.ModelError, match="no memory"):
        run(model, executor=pool, in_flight=3, store=store)
    assert len(ss.Store(store).read()[0]) == 80


def test_a_dead_worker_is_an_error_and_earlier_values_are_kept(tmp_path, folder):
    store = tmp_path / "values.db"
    with process_pool(1) as pool, pytest.raises(ss.ModelError, match="lost a batch: BrokenProcessPool"):
        run(Faulty(folder, dies=5), executor=pool, store=store)
    kept = len(ss.Store(store).read()[0])
    assert 0 < kept <= 200
    # The next worker returns the same values, and evaluates only the rest.
    with process_pool(1) as pool:
        again = run(Faulty(folder), executor=pool, store=store)
    assert saved_bytes(again, tmp_path) == saved_bytes(run(), tmp_path)


def test_batches_on_a_broken_pool_are_not_repeated(folder):
    with process_pool(1) as pool, pytest.raises(ss.ModelError, match="lost a batch: BrokenProcessPool"):
        run(Faulty(folder, dies=3), executor=pool, retries=3)


def test_a_progress_function_that_raises_loses_no_value(tmp_path):
    store = tmp_path / "values.db"

    def raises(done, total):
        raise RuntimeError("no terminal")

    class Slow(ThreadPoolExecutor):
        """Returns a future only when its result is ready."""

        def submit(self, *arguments):
            future = super().submit(*arguments)
            future.result()
            return future

    with Slow(1) as pool, pytest.raises(RuntimeError, match="no terminal"):
        run(executor=pool, in_flight=4, progress=raises, store=store)
    assert len(ss.Store(store).read()[0]) == 160


def test_an_executor_that_is_shut_down_is_an_error():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(
        ss.ModelError, match=r"accepts no more batches: .*after shutdown; pass an open executor"
    ):
        run(executor=pool)


def test_a_model_that_cannot_be_pickled_is_an_error():
    with process_pool(1) as pool, pytest.raises(ss.ModelError, match=r"pickle.*ss\.models\.imported"):
        run(lambda codes: motif(codes), executor=pool)


@pytest.mark.parametrize("width", [1, 3])
def test_a_number_of_outputs_that_changes_is_an_error(width):
    calls = []

    def model(codes):
        calls.append(0)
        return np.zeros((len(codes), 2 if len(calls) < 3 else width))

    with pytest.raises(
        ss.ModelError,
        match=rf"2 numbers for each .* shape \(40, 2\), got shape \(40, {width}\) on queries 80 to",
    ):
        run(model, outputs=["a", "b"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target_r2": "high"}, ss.InputError, "a number up to 1, got 'high'"),
        (
            {"target_r2": 0.9, "method": "peel"},
            ss.InputError,
            "rounds of queries, which method='peel' does not have",
        ),
        ({"executor": 4}, ss.InputError, "a concurrent.futures.Executor or a distributed.Client, got int"),
        ({"in_flight": 2}, ss.InputError, "in_flight has no effect without executor="),
        ({"executor": ThreadPoolExecutor(1), "in_flight": 0}, ss.InputError, "in_flight must be at least 1"),
        ({"retries": -1}, ss.InputError, "retries must be at least 0"),
        ({"progress": "yes"}, ss.InputError, "a function of"),
        ({"outputs": "score"}, ss.InputError, "put it into a list"),
        ({"outputs": []}, ss.InputError, "list of names is empty"),
        ({"outputs": ["a", "a"]}, ss.InputError, "the name 'a' occurs twice"),
        ({"outputs": ["a", 3]}, ss.InputError, "name 1 is 3"),
        ({"outputs": ["a", "b"]}, ss.ModelError, r"shape \(40, 2\), got shape \(40,\)"),
        ({"store": 3}, ss.InputError, "the path of a store must be a string or a path"),
    ],
)
def test_invalid_options(options, error, message):
    with pytest.raises(error, match=message):
        run(**options)


def test_named_outputs_without_outputs_option_are_an_error():
    with pytest.raises(
        ss.ModelError,
        match=r"several outputs, 'a', 'c', on queries .* select one with .*sketch_outputs\(.*=\['a', 'c'\]",
    ):
        run(lambda codes: {"a": codes[:, 0], "c": codes[:, 1]})


def test_errors_of_an_adapter_are_not_wrapped():
    model = ss.models.template(lambda sequences: [0.0] * len(sequences), "ANNA")
    for pool in (None, ThreadPoolExecutor(1)):
        with pytest.raises(ss.InputError, match=r"^the template has 2 free positions, and .* 8 symbols"):
            run(model, inputs="strings", executor=pool)


def test_a_missing_output_is_an_error():
    with pytest.raises(ss.ModelError, match="outputs 'a', 'c', without 'b' on queries 0 to 39"):
        run(lambda codes: {"a": codes[:, 0], "c": codes[:, 1]}, outputs=["a", "b"])


def test_columns_of_a_data_frame_are_selected_by_name():
    import pandas

    def model(codes):
        return pandas.DataFrame({"b": codes[:, 0] * 1.0, "unused": "x", "a": motif(codes)})

    sketches = run(model, outputs=["a", "b"])
    codes = np.random.default_rng(0).integers(0, 4, (9, 8)).astype(np.uint8)
    np.testing.assert_allclose(sketches["b"].predict(codes), codes[:, 0], atol=1e-2)
    assert ss.models.select(model, "b", inputs="codes")(codes).tolist() == codes[:, 0].tolist()


def test_batches_grow_while_larger_ones_save_time():
    def sizes(each=0.0, start=0.0, count=20_000, workers=0, batch_size=None):
        """Return the sizes of all batches of a model that takes `start` + `each` × size seconds per batch."""
        pace, batches = Pace(batch_size, count, workers), []
        while sum(batches) < count:
            batches.append(min(pace.size, count - sum(batches)))
            pace.took(batches[-1], start + each * batches[-1])
        return batches

    assert sizes()[:6] == [16, 64, 256, 1024, 4096, 4096]
    # At half a second per sequence the second batch, of 64, saves no time; later batches are smaller.
    assert max(sizes(each=0.5, count=1000)) == 64
    assert sizes(each=0.5, count=1000)[2:5] == [16, 16, 16]
    # At 10 ms per sequence, 64 sequences take 0.64 s, and 256 take more than a second.
    assert sizes(each=0.01, count=5000)[:4] == [16, 64, 256, 64]
    # A program that needs half a minute to start is started few times.
    assert len(sizes(each=1e-4, start=30.0)) <= 9
    assert max(sizes(count=1000, workers=4)) == 62
    assert sizes(batch_size=300, count=1000) == [300, 300, 300, 100]


def test_batches_are_independent_of_how_the_queries_arrive():
    pace = Pace(None, 1000)
    rows = np.arange(2000, dtype=np.uint8).reshape(1000, 2)
    batches = []
    for first, batch in batches_of(iter([rows[:10], rows[10:11], rows[11:900], rows[900:]]), pace):
        assert first == sum(map(len, batches))
        batches.append(batch)
        pace.took(len(batch), 0.0)
    assert [len(batch) for batch in batches] == [16, 64, 256, 664]
    np.testing.assert_array_equal(np.concatenate(batches), rows)


def test_masked_scores_are_refused():
    def model(codes):
        return np.ma.masked_array(np.ones(len(codes)), mask=np.arange(len(codes)) == 7)

    with pytest.raises(ss.ModelError, match="returned nan for query 7"):
        run(model)


def test_an_executor_must_return_futures():
    class NoFutures:
        def submit(self, *_):
            return 3

    with pytest.raises(ss.ModelError, match=r"submit\(\) returned int, not a concurrent\.futures\.Future"):
        run(executor=NoFutures())


def test_a_progress_function_receives_every_batch():
    calls = []
    run(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(min(40 * (i + 1), 900), 900) for i in range(23)]


def test_refine_and_faithfulness_run_on_an_executor_too():
    explainer = ss.Explainer(run())
    codes = np.random.default_rng(0).integers(0, 4, (3, 8)).astype(np.uint8)
    options = {"inputs": "codes", "progress": False, "batch_size": 30}
    with ThreadPoolExecutor(3) as pool:
        plain = by_evaluator(explainer.refine, motif, codes, calls_per_sequence=100, **options)
        pooled = by_evaluator(
            explainer.refine, motif, codes, calls_per_sequence=100, executor=pool, **options
        )
        np.testing.assert_array_equal(plain.values, pooled.values)
        checked = by_evaluator(
            ss.faithfulness, motif, explainer, codes, budget=1000, executor=pool, **options
        )
    assert checked.r2 > 0.999


def test_an_interrupt_cancels_batches_that_have_not_started():
    """The values of finished batches are kept."""

    class Interrupting:
        def __init__(self):
            self.futures = []

        def submit(self, call, codes, first):
            future = Future()
            self.futures.append(future)
            if len(self.futures) == 3:
                raise KeyboardInterrupt
            if len(self.futures) == 1:
                future.set_result(call(codes, first))
            return future

    executor, kept = Interrupting(), []
    with pytest.raises(KeyboardInterrupt):
        run(executor=executor, in_flight=5, progress=lambda done, total: kept.append(done))
    assert kept == [40]
    assert executor.futures[1].cancelled()


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)])
@pytest.mark.parametrize("wrong", ["shape", "names", "input"])
def test_malformed_outputs_are_not_evaluated_again(executor, wrong):
    calls = []

    def model(codes):
        calls.append(len(codes))
        if wrong == "input":
            raise ss.InputError("an adapter refuses this input")
        return {"a": motif(codes)} if wrong == "names" else motif(codes)[:-1]

    with pytest.raises(ss.ShapsketchError):
        run(model, executor=executor, retries=5, in_flight=None if executor is None else 1)
    assert calls == [40]


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="run it on Unix, which can send a signal to one thread"
)
def test_after_an_interrupt_each_batch_is_kept_when_it_finishes(tmp_path):
    """The process may be killed before the slowest batch finishes."""
    main, started, kept = threading.main_thread(), [], []

    def interrupt():
        time.sleep(0.3)
        signal.pthread_kill(main.ident, signal.SIGINT)

    def model(codes):
        started.append(len(codes))
        number = len(started)
        if number == 2:
            threading.Thread(target=interrupt).start()
        time.sleep(4.0 if number == 1 else 1.0)
        return motif(codes)

    def progress(done, _):
        kept.append((done, time.monotonic()))

    with ThreadPoolExecutor(2) as pool, pytest.raises(KeyboardInterrupt):
        run(model, executor=pool, store=tmp_path / "values.db", progress=progress)
    # The second batch finishes first.
    assert [done for done, _ in kept] == [40, 80]
    assert kept[1][1] - kept[0][1] > 2.0


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="run it on Unix, which can send a signal to one thread"
)
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_waits_for_running_batches(tmp_path, caplog, times):
    """Values of running batches are kept; a second interrupt does not wait for them."""
    main = threading.main_thread()
    started, finished = [], []

    def interrupt():
        for _ in range(times):
            time.sleep(0.5)
            signal.pthread_kill(main.ident, signal.SIGINT)

    def model(codes):
        started.append(len(codes))
        if len(started) == 4:
            threading.Thread(target=interrupt).start()
        time.sleep(0.1 if len(started) < 4 else 3.0)
        finished.append(len(codes))
        return motif(codes)

    store = tmp_path / "values.db"
    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(KeyboardInterrupt):
            run(model, executor=pool, store=store)
        unfinished = sum(started) - sum(finished)
    assert "waiting for the batches that already run (at most 2)" in caplog.text
    assert unfinished == (0 if times == 1 else 80)
    assert len(ss.Store(store).read()[0]) == sum(started) - unfinished
