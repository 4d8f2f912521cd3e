"""Forked, spawned and joblib processes explain and fit as their parent does."""

import multiprocessing
import os
import queue
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import shapsketch as ss
from shapsketch.fitting import boosting
from shapsketch.fitting.features import PositionalFeatures
from shapsketch.fitting.holdout import Labelled, predict

SPACE = ss.SequenceSpace(ss.DNA, 8)
CODES = np.random.default_rng(0).integers(0, 4, (2_000, 8)).astype(np.uint8)
VALUES = 1.0 * (CODES[:, 0] == 2) + 2.0 * ((CODES[:, 3] == 1) & (CODES[:, 4] == 0))
# Python warns of forks in a process with several threads, the subject of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
# Against waiting for ever, in seconds.
PATIENCE = 60

needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="run it on Unix, which can fork"
)


def explained(sketch):
    return ss.Explainer(sketch, background=CODES[:50])(CODES[:20]).values


def regressed():
    return ss.fit(CODES, VALUES, SPACE)


def in_process(function, *arguments, method="fork"):
    """Return the result of a function in a new process, or fail if the process waits for ever."""
    context = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=lambda: results.put(function(*arguments)))
    process.start()
    try:
        return results.get(timeout=PATIENCE)
    except queue.Empty:
        pytest.fail("the process waits for ever")
    finally:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def parent():
    """A sketch, after which the parent has threads of its own."""
    sketch = regressed()
    explained(sketch)
    return sketch


@needs_fork
def test_a_forked_process_explains_and_fits_like_its_parent(parent):
    np.testing.assert_array_equal(in_process(explained, parent), explained(parent))
    again = in_process(lambda: regressed().predict(CODES))
    np.testing.assert_array_equal(again, parent.predict(CODES))
    # A child of the child, which has threads of its own by then.
    twice = in_process(lambda: (explained(parent), in_process(explained, parent))[1])
    np.testing.assert_array_equal(twice, explained(parent))
    # The parent still has its threads.
    np.testing.assert_array_equal(explained(regressed()), explained(parent))


@needs_fork
def test_a_process_forked_during_a_computation_explains(parent):
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            explained(parent)

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            np.testing.assert_array_equal(in_process(explained, parent), explained(parent))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@needs_fork
def test_a_forked_process_boosts_trees_after_its_parent_used_several_threads():
    lightgbm = pytest.importorskip("lightgbm", reason="pip install lightgbm")
    lightgbm.train({"num_threads": 2, "verbosity": -1}, lightgbm.Dataset(CODES, VALUES), 2)
    features = PositionalFeatures(SPACE, "onehot")

    def boosted():
        trees = boosting.boost_all(features, Labelled(CODES, VALUES), leaves=4, rounds=5, seed=0)
        return predict(boosting.closed_form(trees, 0.0, None)[0], CODES)

    np.testing.assert_array_equal(in_process(boosted), boosted())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="run it on Linux, which lists threads")
def test_all_parallel_work_runs_on_the_pool_of_the_process():
    """Work on rayon's global pool, whose threads have no name, would not survive a fork."""
    code = """
        import numpy as np, os, pathlib, shapsketch as ss, threading
        os.environ["RAYON_NUM_THREADS"] = "3"
        space = ss.SequenceSpace(ss.DNA, 8)
        sketch = ss.sketch(lambda c: c[:, 0] * 1.0, space, budget=500, method="regress", inputs="codes",
                           progress=False)
        ss.plan(space, 20_000, method="peel"), ss.plan(space, 100, method="regress")
        sketch.spectrum.truncate(max_terms=2).predict(["ACGTACGT"])
        sketch.summary(), sketch.patterns
        explainer = ss.Explainer(sketch, background=np.full((8, 4), 0.25))
        explainer(["ACGTACGT"]), explainer.sobol(), explainer.motifs(), explainer.background
        ss.Explainer(sketch, ss.DinucleotideShuffles())(["ACGTACGT"])
        names = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
        ours = sorted(name for name in names if name.startswith("shapsketch"))
        print(ours, len(names) - len(ours) - threading.active_count())
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    assert ran.stdout.strip() == "['shapsketch-0', 'shapsketch-1', 'shapsketch-2'] 0"


@needs_fork
@pytest.mark.parametrize("library", ["lightgbm", "xgboost", "sklearn"])
def test_a_forked_process_converts_trees(library):
    module = pytest.importorskip(library, reason=f"pip install {library}")
    if library == "lightgbm":
        model = module.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=2)
    elif library == "xgboost":
        model = module.XGBRegressor(n_estimators=5, n_jobs=2)
    else:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(max_iter=5)
    model.fit(CODES.astype(float), VALUES)
    model.predict(CODES.astype(float))

    def predicted():
        return ss.from_trees(model, SPACE).predict(CODES)

    np.testing.assert_array_equal(in_process(predicted), predicted())


def model(codes):
    return codes[:, 0] * 1.0


def sketched(seed):
    return ss.sketch(
        model, SPACE, budget=500, method="regress", inputs="codes", random_state=seed, progress=False
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_explains_and_fits(parent, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("run it on Unix, which has this start method")
    with multiprocessing.get_context(method).Pool(1) as pool:
        values = pool.apply_async(explained, (parent,)).get(PATIENCE)
        other = pool.apply_async(sketched, (3,)).get(PATIENCE)
    np.testing.assert_array_equal(values, explained(parent))
    np.testing.assert_array_equal(other.predict(CODES), sketched(3).predict(CODES))
    assert other.summary() == sketched(3).summary()


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib_explains_and_fits(parent, backend):
    joblib = pytest.importorskip("joblib", reason="pip install joblib")
    run = joblib.Parallel(n_jobs=2, backend=backend, timeout=PATIENCE)
    for values in run(joblib.delayed(explained)(parent) for _ in range(2)):
        np.testing.assert_array_equal(values, explained(parent))
    for other in run(joblib.delayed(sketched)(3) for _ in range(2)):
        np.testing.assert_array_equal(other.predict(CODES), sketched(3).predict(CODES))


def test_workers_of_a_data_loader_explain(parent):
    data = pytest.importorskip("torch.utils.data", reason="install torch, whose workers are forked")
    explainer = ss.Explainer(parent)

    class Explained(data.Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return explainer(CODES[index : index + 1]).values[0]

    loader = data.DataLoader(Explained(), batch_size=4, num_workers=2, timeout=PATIENCE)
    values = np.concatenate([batch.numpy() for batch in loader])
    np.testing.assert_array_equal(values, explainer(CODES[:8]).values)
