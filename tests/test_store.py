"""Values that were paid for survive kills, and are never mixed up."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st
from shapsketch.evaluate.cache import Cache
from shapsketch.evaluate.store import PROBES, OpenStore
from toys import by_evaluator

DNA8 = ss.SequenceSpace(ss.DNA, 8)
BATCH = 50


def motif(codes):
    return (codes[:, 1] == 2) * 2.0 + (codes[:, 3] == 1) * (codes[:, 4] == 0) - 0.1 * codes[:, 6]


class Counting:
    """A model that notes what it is asked for."""

    inputs = "codes"

    def __init__(self, model=motif):
        self.model, self.asked = model, []

    def __call__(self, codes):
        self.asked.extend(row.tobytes() for row in codes)
        return self.model(codes)


def run(model, store, budget=600, **options):
    return by_evaluator(
        ss.sketch,
        model,
        DNA8,
        budget=budget,
        method="regress",
        store=store,
        batch_size=BATCH,
        progress=False,
        **options,
    )


def saved(sketch, path):
    sketch.save(path)
    return path.read_bytes()


def test_nothing_is_asked_twice_and_a_larger_budget_asks_the_rest(tmp_path):
    store = tmp_path / "values.db"
    first, again, more = Counting(), Counting(), Counting()
    plain = saved(run(first, None), tmp_path / "a")
    assert saved(run(first, store), tmp_path / "b") == plain
    assert len(first.asked) == 2 * 600
    assert saved(run(again, store), tmp_path / "c") == plain
    # The probes alone, which it has.
    assert len(again.asked) == PROBES
    assert set(again.asked) <= set(first.asked)
    larger = run(more, store, budget=1000)
    assert len(more.asked) == 400 + PROBES
    assert saved(larger, tmp_path / "d") == saved(run(Counting(), None, budget=1000), tmp_path / "e")
    codes, values = ss.Store(store).read()
    assert codes.shape == (1000, 8)
    np.testing.assert_array_equal(values, motif(codes))


def test_rounds_and_other_methods_share_a_store(tmp_path):
    store = tmp_path / "values.db"
    model = Counting()
    adaptive = by_evaluator(
        ss.sketch, model, DNA8, budget=4000, method="regress", target_r2=0.99999, store=store, progress=False
    )
    spent = len(model.asked)
    assert spent == len(set(model.asked)) == adaptive.n_queries
    by_evaluator(ss.sketch, model, DNA8, budget=spent, method="trees", store=store, progress=False)
    assert len(model.asked) == spent + PROBES


def test_several_outputs_have_one_set_of_queries(tmp_path):
    def model(codes):
        return {"low": -motif(codes), "unused": None, "high": motif(codes)}

    both = Counting(model)
    found = run(both, tmp_path / "values.db", outputs=["high", "low"])
    assert list(found) == ["high", "low"]
    assert len(both.asked) == len(set(both.asked)) == 600
    codes = np.random.default_rng(0).integers(0, 4, (50, 8)).astype(np.uint8)
    np.testing.assert_allclose(found["high"].predict(codes), -found["low"].predict(codes), atol=1e-6)
    assert saved(found["high"], tmp_path / "a") == saved(run(Counting(), None), tmp_path / "b")
    columns = Counting(lambda codes: np.stack([motif(codes), codes[:, 0] * 1.0], axis=1))
    rounds = by_evaluator(
        ss.sketch,
        columns,
        DNA8,
        budget=4000,
        method="regress",
        target_r2=0.9999,
        outputs=("a", "b"),
        store=tmp_path / "other.db",
        progress=False,
    )
    assert (
        len(columns.asked) == len(set(columns.asked)) == max(sketch.n_queries for sketch in rounds.values())
    )
    codes, values = ss.Store(tmp_path / "other.db").read()
    np.testing.assert_array_equal(values[:, 1], codes[:, 0])


def test_a_model_that_writes_into_its_batch_harms_nobody(tmp_path):
    plain = saved(run(Counting(), None), tmp_path / "a")
    calls = []

    def spoils(codes):
        calls.append(0)
        answers = motif(codes)
        codes[:] = 0
        if len(calls) == 3:
            raise RuntimeError("again")
        return answers

    store = tmp_path / "values.db"
    assert saved(run(Counting(spoils), store, retries=1), tmp_path / "b") == plain
    assert saved(run(Counting(spoils), store), tmp_path / "c") == plain
    codes, values = ss.Store(store).read()
    assert len(np.unique(codes, axis=0)) == 600
    np.testing.assert_array_equal(values, motif(codes))


def test_roundings_of_float32_are_no_other_model(tmp_path):
    store = tmp_path / "values.db"

    def offset(codes):
        rounded = np.float32(-50_000) + motif(codes).astype(np.float32)
        # One unit in the last place, as another size of batch may give.
        return rounded if len(codes) > PROBES else np.nextafter(rounded, np.float32(0))

    run(Counting(offset), store)
    run(Counting(offset), store, budget=700)


def test_probes_are_asked_where_the_model_is(tmp_path):
    store = tmp_path / "values.db"
    here = threading.get_ident()

    def elsewhere(codes):
        assert threading.get_ident() != here, "not on a worker"
        return motif(codes)

    with ThreadPoolExecutor(1) as pool:
        run(Counting(elsewhere), store, executor=pool)
        run(Counting(elsewhere), store, budget=700, executor=pool)


def test_gaps_between_known_values_are_asked_in_batches(tmp_path):
    store = ss.Store(tmp_path / "values.db")
    queries = np.concatenate(list(ss.plan(DNA8, 600, method="regress").batches()))
    known = np.random.default_rng(0).random(600) < 0.7
    with store.open(DNA8, None) as held:
        held.keep(queries[known], motif(queries[known]))
    sizes = []

    def model(codes):
        sizes.append(len(codes))
        return motif(codes)

    made = run(Counting(model), store)
    missing = int((~known).sum())
    assert sizes == [PROBES] + [BATCH] * (missing // BATCH) + [missing % BATCH] * (missing % BATCH > 0)
    assert saved(made, tmp_path / "a") == saved(run(Counting(), None), tmp_path / "b")


def test_two_that_make_a_store_at_once_do_not_spoil_it(tmp_path):
    for attempt in range(10):
        store = ss.Store(tmp_path / f"{attempt}.db")
        opened, refused = [], []
        start = threading.Barrier(4)

        def make(store=store, opened=opened, refused=refused, start=start):
            start.wait(20)
            try:
                with store.open(DNA8, None) as held:
                    held.keep(np.zeros((1, 8), dtype=np.uint8), np.zeros(1))
                    opened.append(held)
            except ss.FileError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert opened
        assert all("another process has this store" in message for message in refused), refused
        assert len(store.read()[0]) == len(opened)
    assert not list(tmp_path.glob("*.new"))


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    run(Counting(), tmp_path / "values.db", budget=300)
    assert len(ss.Store(tmp_path / "values.db").read()[0]) == 300
    assert [path.name for path in tmp_path.iterdir()] == ["values.db"]


@contextmanager
def without_privileges(*paths):
    """As somebody who may not write everywhere, even if root runs the tests; the paths are theirs."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65_534
    for path in paths:
        os.chown(path, nobody, nobody)
    os.setresuid(nobody, nobody, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="run it on Linux, where users can be changed")
def test_a_store_in_a_place_that_is_read_only_is_read():
    # Not in pytest's folder, which is one user's.
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), Path(name, "values.db")
        run(Counting(), store, budget=300)
        store.chmod(0o444)
        folder.chmod(0o555)
        try:
            with without_privileges(folder, store):
                assert len(ss.Store(store).read()[0]) == 300
                with pytest.raises(ss.FileError, match="cannot be written to"):
                    run(Counting(), store)
        finally:
            folder.chmod(0o755)


@pytest.mark.parametrize("at", [3, 4])
@pytest.mark.parametrize("before", [False, True])
def test_an_interrupt_around_a_statement_keeps_the_store_in_order(tmp_path, at, before):
    store = ss.Store(tmp_path / "values.db")
    rng = np.random.default_rng(0)

    class Interrupting:
        """A connection that is interrupted before or after one of its statements."""

        def __init__(self, connection):
            self.connection, self.count = connection, 0

        def execute(self, *arguments):
            self.count += 1
            if self.count == at and before:
                raise KeyboardInterrupt
            found = self.connection.execute(*arguments)
            if self.count == at:
                raise KeyboardInterrupt
            return found

    batches = rng.integers(0, 4, (3, 20, 8)).astype(np.uint8)
    with store.open(DNA8, None) as held:
        # Two statements for each batch: the last one before, and this one.
        held._connection = Interrupting(held._connection)
        held.keep(batches[0], motif(batches[0]))
        with pytest.raises(KeyboardInterrupt):
            held.keep(batches[1], motif(batches[1]))
        # As those that had ended on an executor are.
        held.keep(batches[2], motif(batches[2]))
    written = batches if at == 4 and not before else batches[[0, 2]]
    np.testing.assert_array_equal(store.read()[0], written.reshape(-1, 8))


def test_another_model_space_name_or_list_of_outputs_is_refused(tmp_path):
    store = tmp_path / "values.db"
    run(Counting(), ss.Store(store, model_name="one"))
    before = store.read_bytes()
    named = ss.Store(store, model_name="one")
    other = Counting(lambda codes: motif(codes) + 1e-3)
    with pytest.raises(ss.InputError, match=r"another model: .* where this one says .*8 of 8 probes differ"):
        run(other, named)
    assert len(other.asked) == PROBES
    with pytest.raises(ss.InputError, match="another model: 'one', not 'two'"):
        run(Counting(), ss.Store(store, model_name="two"))
    with pytest.raises(ss.InputError, match="another model: 'one', not ''"):
        run(Counting(), store)
    with pytest.raises(ss.InputError, match="another sequence length: '8', not '9'"):
        by_evaluator(
            ss.sketch,
            Counting(),
            ss.SequenceSpace(ss.DNA, 9),
            budget=600,
            method="regress",
            store=named,
            progress=False,
        )
    with pytest.raises(ss.InputError, match="another alphabet: 'ACGT', not 'ACGU'"):
        by_evaluator(
            ss.sketch,
            Counting(),
            ss.SequenceSpace(ss.RNA, 8),
            budget=600,
            method="regress",
            store=named,
            progress=False,
        )
    with pytest.raises(ss.InputError, match="another list of outputs"):
        run(Counting(lambda codes: motif(codes)[:, None]), named, outputs=["a"])
    assert store.read_bytes() == before
    # Random by less than is said.
    noise = np.random.default_rng(0)
    noisy = Counting(lambda codes: motif(codes) + 1e-2 * noise.normal(size=len(codes)))
    with pytest.raises(ss.InputError, match=r"tolerance=\.\.\."):
        run(noisy, named)
    run(noisy, ss.Store(store, model_name="one", tolerance=0.1))


def test_a_damaged_store_is_refused_or_says_the_truth(tmp_path, monkeypatch):
    path = tmp_path / "values.db"
    store = ss.Store(path)
    rng = np.random.default_rng(0)
    with store.open(DNA8, None) as held:
        for _ in range(20):
            codes = rng.integers(0, 4, (500, 8)).astype(np.uint8)
            held.keep(codes, motif(codes))
    whole = path.read_bytes()
    truth = store.read()
    refused = rescued = 0
    for trial in range(200):
        damaged = bytearray(whole)
        at = int(rng.integers(len(whole)))
        if trial % 4 == 0:
            damaged = damaged[:at]
        else:
            damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            codes, values = store.read()
        except ss.FileError as error:
            refused += 1
            told = str(error)
            assert "values.db" in told
            assert "move it away" in told or "newer program" in told
            with pytest.raises((ss.FileError, ss.InputError)):
                run(Counting(), path)
            # What is rescued is the truth, up to some batch.
            new = tmp_path / "new.db"
            try:
                count = store.rescue(new)
            except ss.FileError:
                assert not new.exists()
            else:
                rescued += count
                for there, true in zip(ss.Store(new).read(), truth, strict=True):
                    np.testing.assert_array_equal(there, true[:count])
                new.unlink()
        else:
            # A byte that no value depends on, in the empty parts of pages.
            assert trial % 4
            np.testing.assert_array_equal(codes, truth[0])
            np.testing.assert_array_equal(values, truth[1])
        for rest in tmp_path.glob("values.db-*"):
            rest.unlink()
    assert refused > 170
    # What cannot be written is no damage.
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(OpenStore, "keep", lambda *_: (_ for _ in ()).throw(ss.FileError("disk full")))
        with pytest.raises(ss.FileError, match="disk full"):
            store.rescue(new)
    new.unlink()
    assert rescued > 0.3 * refused * len(truth[0])
    with pytest.raises(ss.FileError, match="exists; a rescued store needs a new file"):
        store.rescue(path)


def test_every_changed_value_is_noticed(tmp_path):
    store = tmp_path / "values.db"
    run(Counting(), store, budget=300)
    whole = store.read_bytes()
    for change in [
        "UPDATE batches SET scores = zeroblob(length(scores)) WHERE id = 3",
        "UPDATE batches SET codes = scores WHERE id = 2",
        "UPDATE batches SET scores = 'text' WHERE id = 2",
        "DELETE FROM batches WHERE id = 2",
        "UPDATE batches SET id = 100 WHERE id = 6",
        "UPDATE meta SET value = 'renamed' WHERE key = 'model'",
        "UPDATE meta SET value = 'x' WHERE key = 'length'",
        "DELETE FROM meta WHERE key = 'length'",
        "DROP TABLE batches",
        "PRAGMA application_id = 7",
    ]:
        store.write_bytes(whole)
        connection = sqlite3.connect(store)
        connection.execute(change)
        connection.commit()
        connection.close()
        with pytest.raises(ss.FileError, match="is no store, or damaged"):
            ss.Store(store).read()
    store.write_bytes(whole)
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(ss.FileError, match="version 2"):
        run(Counting(), store)


def test_other_files_are_refused(tmp_path):
    for name, content in [("text", b"sequence,score\n" * 100), ("empty", b"")]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ss.FileError, match="is no store, or damaged"):
            run(Counting(), path)
        assert path.read_bytes() == content
    with pytest.raises(ss.FileError, match="there is no such store"):
        ss.Store(tmp_path / "missing").read()
    (tmp_path / "file").touch()
    for path in ("no folder/values.db", "file/values.db"):
        with pytest.raises(ss.FileError, match="cannot be made"):
            run(Counting(), tmp_path / path)
    for path in ("x" * 300, "a\0b"):
        with pytest.raises(ss.FileError, match=r"cannot be (looked for|made)"):
            run(Counting(), tmp_path / path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ss.FileError, match="folder: this is a folder"):
        run(Counting(), tmp_path / "folder")
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    connection.close()
    content = foreign.read_bytes()
    with pytest.raises(ss.FileError, match="a database of something else"):
        run(Counting(), foreign)
    assert foreign.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 3}, "needs a path, got int"),
        ({"path": "x", "model_name": 3}, "model_name must be a string"),
        ({"path": "x", "tolerance": -1.0}, "at least 0, got -1.0"),
        ({"path": "x", "tolerance": float("nan")}, "at least 0, got nan"),
        ({"path": "x", "tolerance": "0"}, "must be a number, got '0'"),
    ],
)
def test_bad_stores(options, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Store(**options)


def test_what_was_paid_for_before_a_failure_is_kept(tmp_path, caplog):
    store = tmp_path / "values.db"
    calls = []

    def breaks(codes):
        calls.append(len(codes))
        if len(calls) == 5:
            raise RuntimeError("out of memory")
        return motif(codes)

    with caplog.at_level(logging.WARNING), pytest.raises(ss.ModelError, match="out of memory"):
        run(Counting(breaks), store)
    assert "has 200 values, and the same call asks only for the rest" in caplog.text
    rest = Counting()
    run(rest, store)
    assert len(rest.asked) == 400 + PROBES


def test_ctrl_c_keeps_what_was_paid_for_and_says_how_to_go_on(tmp_path, caplog):
    store = tmp_path / "values.db"
    calls = []

    def interrupted(codes):
        calls.append(len(codes))
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return motif(codes)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
            run(Counting(interrupted), store)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "the same call asks only for the rest" in caplog.text
    assert len(ss.Store(store).read()[0]) == 150


SLOW = """
import sys, time
import numpy as np
import shapsketch as ss

log, store, out = sys.argv[1:]

def model(codes):
    with open(log, "ab", buffering=0) as file:
        file.write(np.ascontiguousarray(codes).tobytes())
    time.sleep(0.03)
    return (codes[:, 1] == 2) * 2.0 + (codes[:, 3] == 1) * (codes[:, 4] == 0) - 0.1 * codes[:, 6]

space = ss.SequenceSpace(ss.DNA, 8)
sketch = ss.sketch(
    model, space, budget=4000, method="regress", inputs="codes", batch_size=20, store=store, progress=False
)
sketch.save(out)
"""


def test_a_run_killed_twenty_times_ends_as_if_it_had_not_been(tmp_path):
    script, log, store, out = (tmp_path / name for name in ("run.py", "log", "values.db", "sketch"))
    script.write_text(SLOW)
    command = [sys.executable, str(script), str(log), str(store), str(out)]
    log.write_bytes(b"")
    rng = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        before = log.stat().st_size
        process = subprocess.Popen(command)
        # Some time after the model was first asked.
        while process.poll() is None and log.stat().st_size == before:
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0.0, 0.12)))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it must not end before it is killed"
        kills += 1
    subprocess.run(command, check=True)
    asked = np.frombuffer(log.read_bytes(), dtype=np.uint8).reshape(-1, 8)
    distinct = len(np.unique(asked, axis=0))
    assert distinct == 4000
    # The batch in flight, and the probes of each new start.
    assert len(asked) - distinct <= kills * (20 + PROBES)
    plain = by_evaluator(
        ss.sketch, motif, DNA8, budget=4000, method="regress", inputs="codes", batch_size=20, progress=False
    )
    assert out.read_bytes() == saved(plain, tmp_path / "plain")


def test_a_second_process_is_refused_while_a_store_is_in_use(tmp_path):
    script, log, store, out = (tmp_path / name for name in ("run.py", "log", "values.db", "sketch"))
    script.write_text(SLOW)
    log.write_bytes(b"")
    process = subprocess.Popen([sys.executable, str(script), str(log), str(store), str(out)])
    try:
        while process.poll() is None and log.stat().st_size < 3 * 160:
            time.sleep(0.01)
        with pytest.raises(ss.FileError, match="another process has this store"):
            run(Counting(), store)
        with pytest.raises(ss.FileError, match="another process has this store"):
            ss.Store(store).read()
    finally:
        process.kill()
        process.wait()
    codes, values = ss.Store(store).read()
    assert len(codes) >= 20
    np.testing.assert_array_equal(values, motif(codes))


def test_two_threads_of_one_process_do_not_share_a_store_either(tmp_path):
    store = tmp_path / "values.db"
    inside, free, errors = threading.Event(), threading.Event(), []

    def waits(codes):
        inside.set()
        assert free.wait(20)
        return motif(codes)

    def first():
        try:
            run(Counting(waits), store)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(20)
    with pytest.raises(ss.FileError, match="another process has this store"):
        run(Counting(), store)
    free.set()
    thread.join()
    assert not errors


FULL = """
import resource, signal, sys
import shapsketch as ss

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
space = ss.SequenceSpace(ss.DNA, 8)
try:
    ss.sketch(lambda s: [float(x.count("A")) for x in s], space, budget=20_000, method="regress",
              batch_size=200, store=sys.argv[1], progress=False)
except ss.FileError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="run it on Unix, which has limits of file sizes")
def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    store = tmp_path / "values.db"
    script = tmp_path / "full.py"
    script.write_text(FULL)
    done = subprocess.run([sys.executable, script, store], capture_output=True, text=True, check=True)
    assert "a batch could not be kept" in done.stdout
    assert "the same call asks only for the rest" in done.stdout
    codes, values = ss.Store(store).read()
    assert f"the {len(codes):,} values before it" in done.stdout
    assert len(codes) >= 1000
    np.testing.assert_array_equal(values, (codes == 0).sum(axis=1))


@given(st.integers(0, 2**32 - 1))
def test_what_is_known_is_found_again(seed):
    rng = np.random.default_rng(seed)
    n, width = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    known, wanted = Cache(n, width), {}
    for _ in range(int(rng.integers(1, 5))):
        codes = rng.integers(0, 4, (int(rng.integers(1, 30)), n)).astype(np.uint8)
        codes = np.unique(codes, axis=0)
        codes = codes[[row.tobytes() not in wanted for row in codes]]
        values = rng.normal(size=(len(codes), width))
        known.add(codes, values)
        wanted.update((row.tobytes(), value) for row, value in zip(codes, values, strict=True))
        asked = rng.integers(0, 4, (20, n)).astype(np.uint8)
        known.settle()
        found, told = known.find(asked)
        assert found.tolist() == [row.tobytes() in wanted for row in asked]
        for row, value in zip(asked[found], told, strict=True):
            np.testing.assert_array_equal(wanted[row.tobytes()], value)
    assert len(known) == len(wanted)


def test_a_store_is_read_without_shapsketch(tmp_path):
    """As its documentation says."""
    store = tmp_path / "values.db"
    run(Counting(), store, budget=300)
    connection = sqlite3.connect(store)
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    rows = connection.execute("SELECT codes, scores FROM batches ORDER BY id").fetchall()
    connection.close()
    codes = np.concatenate([np.frombuffer(c, np.uint8).reshape(-1, int(meta["length"])) for c, _ in rows])
    scores = np.concatenate([np.frombuffer(s, "<f8") for _, s in rows])
    assert meta["alphabet"] == ss.DNA
    assert meta["outputs"] == "null"
    np.testing.assert_array_equal(scores, motif(codes))
    assert not list(Path(os.fspath(tmp_path)).glob("*.new"))


def two(codes):
    return np.column_stack([motif(codes), codes[:, 0]])


def test_outputs_of_a_store_may_come_in_another_order(tmp_path):
    store = tmp_path / "values.db"
    first, again = Counting(two), Counting(lambda codes: two(codes)[:, ::-1])
    run(first, store, outputs=["a", "b"])
    found = run(again, store, outputs=["b", "a"], budget=700)
    assert len(again.asked) == 100 + PROBES
    codes, values = ss.Store(store).read()
    np.testing.assert_array_equal(values, two(codes))
    np.testing.assert_allclose(found["b"].predict(codes), codes[:, 0], atol=1e-2)
    # The same numbers under other names are another model.
    with pytest.raises(ss.InputError, match="another model"):
        run(Counting(two), store, outputs=["b", "a"])
    with pytest.raises(
        ss.InputError, match=r"'\[\"a\", \"b\"\]', not '\[\"a\"\]'; .* ask for all of its outputs"
    ):
        run(Counting(motif), store, outputs=["a"])


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)])
@pytest.mark.parametrize("wrong", [np.nan, 0.0])
def test_one_useless_value_costs_no_other(tmp_path, executor, wrong):
    """Of a batch with a value that is none, or of which the link knows nothing, the others are kept."""

    def model(codes):
        values = 10.0 + motif(codes)
        values[(codes[:, :3] == 3).all(axis=1)] = wrong
        return values

    store, asked = tmp_path / "values.db", Counting(model)
    message = (
        "returned nan for query .* finite score"
        if np.isnan(wrong)
        else "returned 0.0 for query .*, 'TTT.*'log'.*above 0"
    )
    with pytest.raises(ss.ModelError, match=message):
        run(asked, store, link="log", executor=executor, retries=3)
    assert len(asked.asked) < 600
    codes, values = ss.Store(store).read()
    bad = sum(bytes([3, 3, 3]) == row[:3] for row in asked.asked)
    assert bad >= 1
    assert len(codes) == len(asked.asked) - (bad if np.isnan(wrong) else 0)
    np.testing.assert_array_equal(values, model(codes))


def test_refine_and_faithfulness_keep_what_they_ask(tmp_path):
    store = tmp_path / "values.db"
    sketch = run(Counting(), store)
    explainer = ss.Explainer(sketch)
    codes = np.random.default_rng(0).integers(0, 4, (3, 8))
    plain = by_evaluator(
        explainer.refine, motif, codes, calls_per_sequence=200, inputs="codes", progress=False
    )

    class Failing(Counting):
        def __call__(self, codes):
            if len(self.asked) > 200:
                raise OSError("out of luck")
            return super().__call__(codes)

    failing, rest, again = Failing(), Counting(), Counting()
    options = {"calls_per_sequence": 200, "progress": False, "store": store, "batch_size": BATCH}
    with pytest.raises(ss.ModelError, match="out of luck"):
        by_evaluator(explainer.refine, failing, codes, **options)
    found = by_evaluator(explainer.refine, rest, codes, **options)
    np.testing.assert_array_equal(found.values, plain.values)
    paid = failing.asked[PROBES:] + rest.asked[PROBES:]
    assert len(paid) == len(set(paid))
    checked = by_evaluator(
        ss.faithfulness, again, explainer, codes, budget=600, progress=False, store=store, batch_size=BATCH
    )
    assert checked.n_calls == len(again.asked) - PROBES <= 600
    assert not set(again.asked[PROBES:]) & set(paid)
    with pytest.raises(ss.InputError, match="another model"):
        by_evaluator(explainer.refine, Counting(lambda codes: motif(codes) + 1.0), codes, **options)


def test_what_a_check_asks_counts(tmp_path, caplog):
    """A look at the model is at queries of the sketch, after the options were looked at."""
    store, model = tmp_path / "values.db", Counting()
    plain = saved(run(Counting(), None), tmp_path / "a")
    with pytest.raises(ss.InputError, match="max_terms is for"):
        run(model, store, check=True, max_terms=3)
    with pytest.raises(ss.FileError, match="no folder"):
        run(model, tmp_path / "nowhere" / "values.db", check=True)
    assert not model.asked
    assert saved(run(model, store, check=True), tmp_path / "b") == plain
    # The batch of eight again, and two alone.
    assert len(model.asked) == 600 + 10
    assert len(set(model.asked)) == 600
    model = Counting()
    assert saved(run(model, None, check=True), tmp_path / "c") == plain
    assert len(model.asked) == 610
    again = Counting()
    run(again, store, check=True)
    assert len(again.asked) == PROBES

    random = np.random.default_rng(0)
    run(lambda codes: motif(codes) + random.normal(size=len(codes)), None, check=True, inputs="codes")
    assert "not repeatable" in caplog.text
    fails = iter([OSError("once")])

    def flaky(codes):
        for error in fails:
            raise error
        return motif(codes)

    run(flaky, None, check=True, inputs="codes", retries=1)
