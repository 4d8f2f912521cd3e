"""The same sketch wherever the batches run."""

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
    """A model of other processes, whose worker dies, or which fails, at the first batch of some number."""

    inputs = "codes"

    def __init__(self, folder, *, dies=None, fails=()):
        self.folder, self.dies, self.fails = str(folder), dies, tuple(fails)

    def __call__(self, codes):
        number = sum(1 for _ in Path(self.folder).iterdir())
        (Path(self.folder) / f"{time.time_ns()}-{os.getpid()}-{threading.get_ident()}").touch()
        if self.dies is not None and number >= self.dies and self._first():
            os._exit(1)
        if number in self.fails:
            raise OSError(f"batch {number} went wrong")
        time.sleep(0.01)
        return motif(codes)

    def _first(self):
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


def saved(sketch, folder):
    sketch.save(folder / "sketch")
    return (folder / "sketch").read_bytes()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "calls"
    made.mkdir()
    return made


def processes(workers=2):
    # Not forked: other tests have threads.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def test_threads_and_processes_give_the_same_sketch(tmp_path):
    plain = saved(run(), tmp_path)
    with ThreadPoolExecutor(4) as pool:
        assert saved(run(executor=pool), tmp_path) == plain
        assert saved(run(executor=pool, in_flight=1), tmp_path) == plain
    with processes() as pool:
        assert saved(run(executor=pool), tmp_path) == plain
        assert saved(run(executor=pool, store=tmp_path / "values.db"), tmp_path) == plain
    assert saved(run(store=tmp_path / "values.db"), tmp_path) == plain


def test_a_cluster_that_loses_a_worker_gives_the_same_sketch(tmp_path, folder):
    import dask
    import distributed

    plain = saved(run(), tmp_path)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "20s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        model = Faulty(folder, dies=8)
        assert saved(run(model, executor=client), tmp_path) == plain
        # 23 batches; the one that was lost, and answers that died with the worker, are asked again.
        assert len(list(folder.iterdir())) >= 24
        # And through the executor that a client makes.
        assert saved(run(executor=client.get_executor()), tmp_path) == plain


def test_batches_that_end_in_any_order_give_the_same_sketch(tmp_path):
    rng = np.random.default_rng(0)
    lock = threading.Lock()

    def slow(codes):
        with lock:
            wait = float(rng.uniform(0, 0.02))
        time.sleep(wait)
        return motif(codes)

    with ThreadPoolExecutor(8) as pool:
        assert saved(run(slow, executor=pool), tmp_path) == saved(run(), tmp_path)


class Watching(ThreadPoolExecutor):
    """Notes how many batches are held at a time."""

    held, most = 0, 0

    def submit(self, *arguments):
        future = super().submit(*arguments)
        self.held += 1
        self.most = max(self.most, self.held)
        return future

    def taken(self, done, total):
        self.held -= 1


@pytest.mark.parametrize(("in_flight", "most"), [(None, 6), (2, 2), (1, 1)])
def test_the_number_of_batches_in_flight_is_bounded(in_flight, most):
    with Watching(3) as pool:
        run(executor=pool, in_flight=in_flight, progress=pool.taken)
        assert pool.most == most
        assert pool.held == 0


@pytest.mark.parametrize("pooled", [False, True])
def test_failed_batches_are_tried_again_if_asked(tmp_path, folder, caplog, pooled):
    plain = saved(run(), tmp_path)
    pool = ThreadPoolExecutor(1) if pooled else None
    with caplog.at_level(logging.WARNING):
        found = run(Faulty(folder, fails=(3, 4, 9)), executor=pool, retries=2)
    assert saved(found, tmp_path) == plain
    assert caplog.text.count("a batch failed and is tried again") == 3
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ss.ModelError, match="batch 3 went wrong"):
        run(Faulty(folder, fails=(3,)), executor=pool)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ss.ModelError, match=r"batch [45] went wrong"):
        run(Faulty(folder, fails=range(3, 100)), executor=pool, retries=1)


def test_batches_that_ended_beside_one_that_failed_are_kept(tmp_path):
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


def test_a_worker_that_dies_is_said_and_what_was_paid_for_is_kept(tmp_path, folder):
    store = tmp_path / "values.db"
    with processes(1) as pool, pytest.raises(ss.ModelError, match="lost a batch: BrokenProcessPool"):
        run(Faulty(folder, dies=5), executor=pool, store=store)
    kept = len(ss.Store(store).read()[0])
    assert 0 < kept <= 200
    # The answers of the next worker are the same, and the rest alone is asked.
    with processes(1) as pool:
        again = run(Faulty(folder), executor=pool, store=store)
    assert saved(again, tmp_path) == saved(run(), tmp_path)


def test_a_broken_pool_is_not_tried_again(folder):
    with processes(1) as pool, pytest.raises(ss.ModelError, match="lost a batch: BrokenProcessPool"):
        run(Faulty(folder, dies=3), executor=pool, retries=3)


def test_a_progress_function_that_raises_loses_no_answer(tmp_path):
    store = tmp_path / "values.db"

    def raises(done, total):
        raise RuntimeError("no terminal")

    class Slow(ThreadPoolExecutor):
        """Hands results out only when they are there."""

        def submit(self, *arguments):
            future = super().submit(*arguments)
            future.result()
            return future

    with Slow(1) as pool, pytest.raises(RuntimeError, match="no terminal"):
        run(executor=pool, in_flight=4, progress=raises, store=store)
    assert len(ss.Store(store).read()[0]) == 160


def test_an_executor_that_is_shut_down_is_said():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(
        ss.ModelError, match=r"takes no more batches: .*after shutdown; give one that is open"
    ):
        run(executor=pool)


def test_a_model_that_cannot_be_sent_is_said():
    with processes(1) as pool, pytest.raises(ss.ModelError, match=r"pickle.*ss\.models\.imported"):
        run(lambda codes: motif(codes), executor=pool)


@pytest.mark.parametrize("width", [1, 3])
def test_a_number_of_outputs_that_changes_is_said(width):
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
        ({"target_r2": 0.9, "method": "peel"}, ss.InputError, "which method='peel' cannot"),
        ({"executor": 4}, ss.InputError, "a concurrent.futures.Executor or a distributed.Client, got int"),
        ({"in_flight": 2}, ss.InputError, "in_flight is for an executor"),
        ({"executor": ThreadPoolExecutor(1), "in_flight": 0}, ss.InputError, "in_flight must be at least 1"),
        ({"retries": -1}, ss.InputError, "retries must be at least 0"),
        ({"progress": "yes"}, ss.InputError, "a function of"),
        ({"outputs": "score"}, ss.InputError, "put it into a list"),
        ({"outputs": []}, ss.InputError, "list of names is empty"),
        ({"outputs": ["a", "a"]}, ss.InputError, "'a' is there twice"),
        ({"outputs": ["a", 3]}, ss.InputError, "name 1 is 3"),
        ({"outputs": ["a", "b"]}, ss.ModelError, r"shape \(40, 2\), got shape \(40,\)"),
        ({"store": 3}, ss.InputError, "a store needs a path"),
    ],
)
def test_bad_ways_to_run(options, error, message):
    with pytest.raises(error, match=message):
        run(**options)


def test_outputs_with_names_that_nobody_asked_for_are_said():
    with pytest.raises(
        ss.ModelError, match=r"with the names 'a', 'c' on queries .* outputs=\[\.\.\.\], or take"
    ):
        run(lambda codes: {"a": codes[:, 0], "c": codes[:, 1]})


def test_what_an_adapter_refuses_is_said_in_its_own_words():
    model = ss.models.template(lambda sequences: [0.0] * len(sequences), "ANNA")
    for pool in (None, ThreadPoolExecutor(1)):
        with pytest.raises(ss.InputError, match=r"^the template has 2 free positions, and .* 8 symbols"):
            run(model, inputs="strings", executor=pool)


def test_an_output_that_is_missing_is_said():
    with pytest.raises(ss.ModelError, match="outputs 'a', 'c', without 'b' on queries 0 to 39"):
        run(lambda codes: {"a": codes[:, 0], "c": codes[:, 1]}, outputs=["a", "b"])


def test_columns_of_a_data_frame_are_taken_by_name():
    import pandas

    def model(codes):
        return pandas.DataFrame({"b": codes[:, 0] * 1.0, "unused": "x", "a": motif(codes)})

    made = run(model, outputs=["a", "b"])
    codes = np.random.default_rng(0).integers(0, 4, (9, 8)).astype(np.uint8)
    np.testing.assert_allclose(made["b"].predict(codes), codes[:, 0], atol=1e-2)
    assert ss.models.select(model, "b", inputs="codes")(codes).tolist() == codes[:, 0].tolist()


def test_batches_grow_as_long_as_that_pays():
    def sizes(each=0.0, start=0.0, count=20_000, workers=0, given=None):
        """Return the sizes of all batches of a model that takes so long to start, and for each sequence."""
        pace, made = Pace(given, count, workers), []
        while sum(made) < count:
            made.append(min(pace.size, count - sum(made)))
            pace.took(made[-1], start + each * made[-1])
        return made

    assert sizes()[:6] == [16, 64, 256, 1024, 4096, 4096]
    # Half a second for each: none longer than the one that showed that it does not pay.
    assert max(sizes(each=0.5, count=1000)) == 64
    assert sizes(each=0.5, count=1000)[2:5] == [16, 16, 16]
    # 64 at 10 ms take 0.64 s, 256 more than a second.
    assert sizes(each=0.01, count=5000)[:4] == [16, 64, 256, 64]
    # A program that takes half a minute to start is started few times.
    assert len(sizes(each=1e-4, start=30.0)) <= 9
    assert max(sizes(count=1000, workers=4)) == 62
    assert sizes(given=300, count=1000) == [300, 300, 300, 100]


def test_rows_are_batched_anew():
    pace = Pace(None, 1000)
    rows = np.arange(2000, dtype=np.uint8).reshape(1000, 2)
    found = []
    for first, batch in batches_of(iter([rows[:10], rows[10:11], rows[11:900], rows[900:]]), pace):
        assert first == sum(map(len, found))
        found.append(batch)
        pace.took(len(batch), 0.0)
    assert [len(batch) for batch in found] == [16, 64, 256, 664]
    np.testing.assert_array_equal(np.concatenate(found), rows)


def test_masked_scores_are_no_scores():
    def model(codes):
        return np.ma.masked_array(np.ones(len(codes)), mask=np.arange(len(codes)) == 7)

    with pytest.raises(ss.ModelError, match="returned nan for query 7"):
        run(model)


def test_futures_of_another_kind_are_refused():
    class Odd:
        def submit(self, *_):
            return 3

    with pytest.raises(ss.ModelError, match=r"it returned int, no concurrent\.futures\.Future"):
        run(executor=Odd())


def test_progress_goes_where_it_is_told_to():
    told = []
    run(progress=lambda done, total: told.append((done, total)))
    assert told == [(min(40 * (i + 1), 900), 900) for i in range(23)]


def test_refined_values_and_checks_run_on_an_executor_too():
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


def test_an_interrupt_does_not_wait_for_the_executor():
    """What has ended is taken; what runs is left."""

    class Interrupting:
        def __init__(self):
            self.made = []

        def submit(self, job, codes, first):
            future = Future()
            self.made.append(future)
            if len(self.made) == 3:
                raise KeyboardInterrupt
            if len(self.made) == 1:
                future.set_result(job(codes, first))
            return future

    executor, told = Interrupting(), []
    with pytest.raises(KeyboardInterrupt):
        run(executor=executor, in_flight=5, progress=lambda done, total: told.append(done))
    assert told == [40]
    assert executor.made[1].cancelled()


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)])
@pytest.mark.parametrize("answer", ["shape", "names", "words"])
def test_answers_of_a_wrong_form_are_not_asked_for_again(executor, answer):
    calls = []

    def model(codes):
        calls.append(len(codes))
        if answer == "words":
            raise ss.InputError("an adapter does not like this")
        return {"a": motif(codes)} if answer == "names" else motif(codes)[:-1]

    with pytest.raises(ss.ShapsketchError):
        run(model, executor=executor, retries=5, in_flight=None if executor is None else 1)
    assert calls == [40]


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="run it on Unix, where a thread can be sent a signal"
)
def test_after_an_interrupt_batches_are_kept_as_they_end(tmp_path):
    """The process may be killed before the slowest of them has ended."""
    main, begun, kept = threading.main_thread(), [], []

    def interrupt():
        time.sleep(0.3)
        signal.pthread_kill(main.ident, signal.SIGINT)

    def model(codes):
        begun.append(len(codes))
        number = len(begun)
        if number == 2:
            threading.Thread(target=interrupt).start()
        time.sleep(4.0 if number == 1 else 1.0)
        return motif(codes)

    def progress(done, _):
        kept.append((done, time.monotonic()))

    with ThreadPoolExecutor(2) as pool, pytest.raises(KeyboardInterrupt):
        run(model, executor=pool, store=tmp_path / "values.db", progress=progress)
    # The second batch, then the first.
    assert [done for done, _ in kept] == [40, 80]
    assert kept[1][1] - kept[0][1] > 2.0


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="run it on Unix, where a thread can be sent a signal"
)
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_waits_for_the_batches_that_run(tmp_path, caplog, times):
    """What runs is paid for: it is kept, and a second interrupt leaves it."""
    main = threading.main_thread()
    begun, ended = [], []

    def interrupt():
        for _ in range(times):
            time.sleep(0.5)
            signal.pthread_kill(main.ident, signal.SIGINT)

    def model(codes):
        begun.append(len(codes))
        if len(begun) == 4:
            threading.Thread(target=interrupt).start()
        time.sleep(0.1 if len(begun) < 4 else 3.0)
        ended.append(len(codes))
        return motif(codes)

    store = tmp_path / "values.db"
    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(KeyboardInterrupt):
            run(model, executor=pool, store=store)
        left = sum(begun) - sum(ended)
    assert "waiting for the batches that run (2 at most)" in caplog.text
    assert left == (0 if times == 1 else 80)
    assert len(ss.Store(store).read()[0]) == sum(begun) - left
