"""Stored values survive kills, and values of different models are never mixed."""

import logging
import os
import signal
import sqlite3
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
    """A model that records the sequences that it evaluates."""

    inputs = "codes"

    def __init__(self, model=motif):
        self.model, self.evaluated = model, []

    def __call__(self, codes):
        self.evaluated.extend(row.tobytes() for row in codes)
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


def saved_bytes(sketch, path):
    sketch.save(path)
    return path.read_bytes()


def test_no_sequence_is_evaluated_twice_and_a_larger_budget_evaluates_only_the_rest(tmp_path):
    store = tmp_path / "values.db"
    first, again, more = Counting(), Counting(), Counting()
    plain = saved_bytes(run(first, None), tmp_path / "a")
    assert saved_bytes(run(first, store), tmp_path / "b") == plain
    assert len(first.evaluated) == 2 * 600
    assert saved_bytes(run(again, store), tmp_path / "c") == plain
    # Only the probes, which are in the store.
    assert len(again.evaluated) == PROBES
    assert set(again.evaluated) <= set(first.evaluated)
    larger = run(more, store, budget=1000)
    assert len(more.evaluated) == 400 + PROBES
    assert saved_bytes(larger, tmp_path / "d") == saved_bytes(
        run(Counting(), None, budget=1000), tmp_path / "e"
    )
    codes, values = ss.Store(store).read()
    assert codes.shape == (1000, 8)
    np.testing.assert_array_equal(values, motif(codes))


def test_rounds_and_other_methods_share_a_store(tmp_path):
    store = tmp_path / "values.db"
    model = Counting()
    adaptive = by_evaluator(
        ss.sketch, model, DNA8, budget=4000, method="regress", target_r2=0.99999, store=store, progress=False
    )
    spent = len(model.evaluated)
    assert spent == len(set(model.evaluated)) == adaptive.n_queries
    by_evaluator(ss.sketch, model, DNA8, budget=spent, method="trees", store=store, progress=False)
    assert len(model.evaluated) == spent + PROBES


def test_several_outputs_share_one_set_of_queries(tmp_path):
    def model(codes):
        return {"low": -motif(codes), "unused": None, "high": motif(codes)}

    both = Counting(model)
    sketches = run(both, tmp_path / "values.db", outputs=["high", "low"])
    assert list(sketches) == ["high", "low"]
    assert len(both.evaluated) == len(set(both.evaluated)) == 600
    codes = np.random.default_rng(0).integers(0, 4, (50, 8)).astype(np.uint8)
    np.testing.assert_allclose(sketches["high"].predict(codes), -sketches["low"].predict(codes), atol=1e-6)
    assert saved_bytes(sketches["high"], tmp_path / "a") == saved_bytes(run(Counting(), None), tmp_path / "b")
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
    queries = max(sketch.n_queries for sketch in rounds.values())
    assert len(columns.evaluated) == len(set(columns.evaluated)) == queries
    codes, values = ss.Store(tmp_path / "other.db").read()
    np.testing.assert_array_equal(values[:, 1], codes[:, 0])


def test_a_model_that_writes_into_its_batch_changes_no_result(tmp_path):
    plain = saved_bytes(run(Counting(), None), tmp_path / "a")
    calls = []

    def overwrites(codes):
        calls.append(0)
        values = motif(codes)
        codes[:] = 0
        if len(calls) == 3:
            raise RuntimeError("again")
        return values

    store = tmp_path / "values.db"
    assert saved_bytes(run(Counting(overwrites), store, retries=1), tmp_path / "b") == plain
    assert saved_bytes(run(Counting(overwrites), store), tmp_path / "c") == plain
    codes, values = ss.Store(store).read()
    assert len(np.unique(codes, axis=0)) == 600
    np.testing.assert_array_equal(values, motif(codes))


def test_rounding_errors_of_float32_do_not_look_like_another_model(tmp_path):
    store = tmp_path / "values.db"

    def offset(codes):
        rounded = np.float32(-50_000) + motif(codes).astype(np.float32)
        # One unit in the last place, as another batch size may cause.
        return rounded if len(codes) > PROBES else np.nextafter(rounded, np.float32(0))

    run(Counting(offset), store)
    run(Counting(offset), store, budget=700)


def test_probes_are_evaluated_on_the_executor(tmp_path):
    store = tmp_path / "values.db"
    main = threading.get_ident()

    def on_worker(codes):
        assert threading.get_ident() != main, "not on a worker"
        return motif(codes)

    with ThreadPoolExecutor(1) as pool:
        run(Counting(on_worker), store, executor=pool)
        run(Counting(on_worker), store, budget=700, executor=pool)


def test_missing_values_are_evaluated_in_full_batches(tmp_path):
    store = ss.Store(tmp_path / "values.db")
    queries = np.concatenate(list(ss.plan(DNA8, 600, method="regress").batches()))
    stored = np.random.default_rng(0).random(600) < 0.7
    with store.open(DNA8, None) as opened:
        opened.keep(queries[stored], motif(queries[stored]))
    sizes = []

    def model(codes):
        sizes.append(len(codes))
        return motif(codes)

    sketch = run(Counting(model), store)
    missing = int((~stored).sum())
    assert sizes == [PROBES] + [BATCH] * (missing // BATCH) + [missing % BATCH] * (missing % BATCH > 0)
    assert saved_bytes(sketch, tmp_path / "a") == saved_bytes(run(Counting(), None), tmp_path / "b")


def test_threads_that_make_a_store_at_once_do_not_damage_it(tmp_path):
    for attempt in range(10):
        store = ss.Store(tmp_path / f"{attempt}.db")
        opened, refused = [], []
        start = threading.Barrier(4)

        def make(store=store, opened=opened, refused=refused, start=start):
            start.wait(20)
            try:
                with store.open(DNA8, None) as one:
                    one.keep(np.zeros((1, 8), dtype=np.uint8), np.zeros(1))
                    opened.append(one)
            except ss.FileError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert opened
        assert all("another process uses the store" in message for message in refused), refused
        assert len(store.read()[0]) == len(opened)
    assert not list(tmp_path.glob("*.new"))


def test_a_store_works_on_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    run(Counting(), tmp_path / "values.db", budget=300)
    assert len(ss.Store(tmp_path / "values.db").read()[0]) == 300
    assert [path.name for path in tmp_path.iterdir()] == ["values.db"]


@contextmanager
def without_privileges(*paths):
    """Run as an unprivileged user who owns the paths, if root runs the tests."""
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


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="run it on Linux, which can change the user")
def test_a_store_in_a_read_only_folder_can_be_read():
    # Not in pytest's folder, which only its user can enter.
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), Path(name, "values.db")
        run(Counting(), store, budget=300)
        store.chmod(0o444)
        folder.chmod(0o555)
        try:
            with without_privileges(folder, store):
                assert len(ss.Store(store).read()[0]) == 300
                with pytest.raises(ss.FileError, match="cannot write to the store"):
                    run(Counting(), store)
        finally:
            folder.chmod(0o755)


@pytest.mark.parametrize("at", [3, 4])
@pytest.mark.parametrize("before", [False, True])
def test_an_interrupt_between_statements_leaves_a_valid_store(tmp_path, at, before):
    store = ss.Store(tmp_path / "values.db")
    rng = np.random.default_rng(0)

    class Interrupting:
        """A connection that is interrupted before or after its statement number `at`."""

        def __init__(self, connection):
            self.connection, self.count = connection, 0

        def execute(self, *arguments):
            self.count += 1
            if self.count == at and before:
                raise KeyboardInterrupt
            cursor = self.connection.execute(*arguments)
            if self.count == at:
                raise KeyboardInterrupt
            return cursor

    batches = rng.integers(0, 4, (3, 20, 8)).astype(np.uint8)
    with store.open(DNA8, None) as opened:
        # Each batch needs two statements: one reads the previous batch, one writes the new batch.
        opened._connection = Interrupting(opened._connection)
        opened.keep(batches[0], motif(batches[0]))
        with pytest.raises(KeyboardInterrupt):
            opened.keep(batches[1], motif(batches[1]))
        # Like batches that finished on an executor before the interrupt.
        opened.keep(batches[2], motif(batches[2]))
    written = batches if at == 4 and not before else batches[[0, 2]]
    np.testing.assert_array_equal(store.read()[0], written.reshape(-1, 8))


def test_another_model_space_name_or_list_of_outputs_is_refused(tmp_path):
    store = tmp_path / "values.db"
    run(Counting(), ss.Store(store, model_name="one"))
    before = store.read_bytes()
    named = ss.Store(store, model_name="one")
    other = Counting(lambda codes: motif(codes) + 1e-3)
    with pytest.raises(ss.InputError, match=r"another model: .* this model returns .*8 of 8 probes differ"):
        run(other, named)
    assert len(other.evaluated) == PROBES
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
    # Noise below the tolerance is allowed.
    noise = np.random.default_rng(0)
    noisy = Counting(lambda codes: motif(codes) + 1e-2 * noise.normal(size=len(codes)))
    with pytest.raises(ss.InputError, match=r"tolerance=\.\.\."):
        run(noisy, named)
    run(noisy, ss.Store(store, model_name="one", tolerance=0.1))


def test_a_damaged_store_is_refused_or_read_correctly(tmp_path, monkeypatch):
    path = tmp_path / "values.db"
    store = ss.Store(path)
    rng = np.random.default_rng(0)
    with store.open(DNA8, None) as opened:
        for _ in range(20):
            codes = rng.integers(0, 4, (500, 8)).astype(np.uint8)
            opened.keep(codes, motif(codes))
    whole = path.read_bytes()
    expected = store.read()
    refused = rescued = 0
    for trial in range(200):
        damaged = bytearray(whole)
        offset = int(rng.integers(len(whole)))
        if trial % 4 == 0:
            damaged = damaged[:offset]
        else:
            damaged[offset] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            codes, values = store.read()
        except ss.FileError as error:
            refused += 1
            message = str(error)
            assert "values.db" in message
            assert "move it away" in message or "newer program" in message
            with pytest.raises((ss.FileError, ss.InputError)):
                run(Counting(), path)
            # The rescued values are correct, up to some batch.
            new = tmp_path / "new.db"
            try:
                count = store.rescue(new)
            except ss.FileError:
                assert not new.exists()
            else:
                rescued += count
                for array, expected_array in zip(ss.Store(new).read(), expected, strict=True):
                    np.testing.assert_array_equal(array, expected_array[:count])
                new.unlink()
        else:
            # The bit was in an unused region of a page, on which no value depends.
            assert trial % 4
            np.testing.assert_array_equal(codes, expected[0])
            np.testing.assert_array_equal(values, expected[1])
        for rest in tmp_path.glob("values.db-*"):
            rest.unlink()
    assert refused > 170
    # An error while writing the rescued store is not reported as damage.
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(OpenStore, "keep", lambda *_: (_ for _ in ()).throw(ss.FileError("disk full")))
        with pytest.raises(ss.FileError, match="disk full"):
            store.rescue(new)
    new.unlink()
    assert rescued > 0.3 * refused * len(expected[0])
    with pytest.raises(ss.FileError, match="exists; choose a new file for the rescued store"):
        store.rescue(path)


def stored(path, batches=12, size=100):
    """Write a store, and return its bytes and contents."""
    rng = np.random.default_rng(0)
    with ss.Store(path).open(DNA8, None) as opened:
        for _ in range(batches):
            codes = rng.integers(0, 4, (size, 8)).astype(np.uint8)
            opened.keep(codes, motif(codes))
    return path.read_bytes(), ss.Store(path).read()


def refusals(path):
    """Return the messages of all ways to use a damaged store; each is a `FileError`."""
    uses = [ss.Store(path).read, lambda: run(Counting(), path), lambda: ss.Store(path).rescue(f"{path}.new")]
    messages = []
    for use in uses:
        with pytest.raises(ss.FileError) as refused:
            use()
        messages.append(str(refused.value))
    assert not Path(f"{path}.new").exists()
    return messages


def test_a_store_whose_schema_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "values.db"
    whole, _ = stored(path)
    assert whole.count(b"WITHOUT ROWID") == 1
    path.write_bytes(whole.replace(b"WITHOUT ROWID", b"WITHOUT \xd2OWID"))
    for message in refusals(path):
        assert "is not a store, or is damaged: " in message
    with pytest.raises(ss.FileError, match=r"malformed database schema \(meta\).* \ufffdOWID"):
        ss.Store(path).read()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alphabet", "ACGU"),
        ("alphabet", "A"),
        ("length", "9"),
        ("length", "0"),
        ("length", "1" + "0" * 30),
        ("length", "eight"),
        ("model", "another"),
        ("outputs", "[1, 2]"),
        ("outputs", "[" * 100_000),
        ("outputs", "{}"),
    ],
)
def test_a_store_whose_description_is_damaged_is_refused(tmp_path, key, value):
    path = tmp_path / "values.db"
    stored(path, batches=2)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
    connection.close()
    for message in refusals(path):
        assert "is not a store, or is damaged" in message


def test_a_truncated_store_is_rescued(tmp_path):
    path = tmp_path / "values.db"
    whole, (codes, values) = stored(path)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(ss.FileError, match="is not a store, or is damaged"):
        ss.Store(path).read()
    count = ss.Store(path).rescue(tmp_path / "new.db")
    assert count >= 600
    np.testing.assert_array_equal(ss.Store(tmp_path / "new.db").read()[0], codes[:count])
    np.testing.assert_array_equal(ss.Store(tmp_path / "new.db").read()[1], values[:count])


def test_mutated_stores_are_refused_or_read_correctly(tmp_path):
    path, new = tmp_path / "values.db", tmp_path / "new.db"
    whole, expected = stored(path)
    other, _ = stored(tmp_path / "other.db", size=30)
    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(60):
        at, size = int(rng.integers(len(whole))), int(rng.choice([1, 7, 512, 4096]))
        mutations = [
            whole[:at] + rng.bytes(size) + whole[at:],
            whole[:at] + whole[at + size :],
            whole[:at] + bytes(size) + whole[at + size :],
            whole[:at] + other[at:],
            whole[:at] + rng.bytes(size) + whole[at + size :],
            whole[: at % 4096] + rng.bytes(1) + whole[at % 4096 + 1 :],
        ]
        path.write_bytes(mutations[trial % len(mutations)])
        try:
            codes, values = ss.Store(path).read()
        except ss.FileError:
            refused += 1
        else:
            np.testing.assert_array_equal(codes, expected[0])
            np.testing.assert_array_equal(values, expected[1])
        try:
            count = ss.Store(path).rescue(new)
        except ss.FileError:
            assert not new.exists()
        else:
            np.testing.assert_array_equal(ss.Store(new).read()[1], expected[1][:count])
            new.unlink()
        for rest in tmp_path.glob("*-wal"):
            rest.unlink()
    assert refused > 40


def test_every_changed_value_is_detected(tmp_path):
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
        with pytest.raises(ss.FileError, match="is not a store, or is damaged"):
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
        with pytest.raises(ss.FileError, match="is not a store, or is damaged"):
            run(Counting(), path)
        assert path.read_bytes() == content
    with pytest.raises(ss.FileError, match="this store does not exist"):
        ss.Store(tmp_path / "missing").read()
    (tmp_path / "file").touch()
    for path in ("no folder/values.db", "file/values.db"):
        with pytest.raises(ss.FileError, match="cannot create the store"):
            run(Counting(), tmp_path / path)
    for path in ("x" * 300, "a\0b"):
        with pytest.raises(ss.FileError, match=r"cannot (access|create) the store"):
            run(Counting(), tmp_path / path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ss.FileError, match="folder is a folder; a store is a file"):
        run(Counting(), tmp_path / "folder")
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    connection.close()
    content = foreign.read_bytes()
    with pytest.raises(ss.FileError, match="a database of another program"):
        run(Counting(), foreign)
    assert foreign.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 3}, "the path of a store must be a string or a path, got 3"),
        ({"path": "x", "model_name": 3}, "model_name must be a string"),
        ({"path": "x", "tolerance": -1.0}, "at least 0, got -1.0"),
        ({"path": "x", "tolerance": float("nan")}, "tolerance must be a finite number, got nan"),
        ({"path": "x", "tolerance": "0"}, "must be a number, got '0'"),
    ],
)
def test_invalid_arguments_of_a_store(options, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Store(**options)


def test_values_before_a_failure_are_kept(tmp_path, caplog):
    store = tmp_path / "values.db"
    calls = []

    def breaks(codes):
        calls.append(len(codes))
        if len(calls) == 5:
            raise RuntimeError("out of memory")
        return motif(codes)

    with caplog.at_level(logging.WARNING), pytest.raises(ss.ModelError, match="out of memory"):
        run(Counting(breaks), store)
    assert "has 200 values, and the same call evaluates only the rest" in caplog.text
    rest = Counting()
    run(rest, store)
    assert len(rest.evaluated) == 400 + PROBES


def test_ctrl_c_keeps_values_and_says_how_to_continue(tmp_path, caplog):
    store = tmp_path / "values.db"
    calls = []

    def interrupted(codes):
        calls.append(len(codes))
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return motif(codes)

    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        run(Counting(interrupted), store)
    assert "the same call evaluates only the rest" in caplog.text
    assert len(ss.Store(store).read()[0]) == 150


# Sketches a slow model, which appends every sequence that it evaluates to a log.
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
evaluator = ss.Evaluator(model, inputs="codes", batch_size=20, store=store)
sketch = ss.sketch(evaluator, space, budget=4000, method="regress", progress=False)
sketch.save(out)
"""


def test_a_run_killed_twenty_times_gives_the_same_sketch(tmp_path, processes):
    script, log, store, out = (tmp_path / name for name in ("run.py", "log", "values.db", "sketch"))
    script.write_text(SLOW)
    command = [sys.executable, script, log, store, out]
    log.write_bytes(b"")
    rng = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        before = log.stat().st_size
        process = processes.start(command)
        # A random time after the first batch of this process started.
        while process.poll() is None and log.stat().st_size == before:
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0.0, 0.12)))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it must not end before it is killed"
        kills += 1
    code, _, err = processes.run(command)
    assert code == 0, err
    evaluated = np.frombuffer(log.read_bytes(), dtype=np.uint8).reshape(-1, 8)
    distinct = len(np.unique(evaluated, axis=0))
    assert distinct == 4000
    # Each kill may lose the batch in flight, and each new start evaluates the probes.
    assert len(evaluated) - distinct <= kills * (20 + PROBES)
    plain = by_evaluator(
        ss.sketch, motif, DNA8, budget=4000, method="regress", inputs="codes", batch_size=20, progress=False
    )
    assert out.read_bytes() == saved_bytes(plain, tmp_path / "plain")


def test_a_second_process_is_refused_while_a_store_is_in_use(tmp_path, processes):
    script, log, store, out = (tmp_path / name for name in ("run.py", "log", "values.db", "sketch"))
    script.write_text(SLOW)
    log.write_bytes(b"")
    process = processes.start([sys.executable, script, log, store, out])
    while process.poll() is None and log.stat().st_size < 3 * 160:
        time.sleep(0.01)
    with pytest.raises(ss.FileError, match="another process uses the store"):
        run(Counting(), store)
    with pytest.raises(ss.FileError, match="another process uses the store"):
        ss.Store(store).read()
    process.kill()
    process.wait()
    codes, values = ss.Store(store).read()
    assert len(codes) >= 20
    np.testing.assert_array_equal(values, motif(codes))


def test_a_second_thread_is_refused_while_a_store_is_in_use(tmp_path):
    store = tmp_path / "values.db"
    started, may_finish, errors = threading.Event(), threading.Event(), []

    def waits(codes):
        started.set()
        assert may_finish.wait(20)
        return motif(codes)

    def first():
        try:
            run(Counting(waits), store)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(20)
    with pytest.raises(ss.FileError, match="another process uses the store"):
        run(Counting(), store)
    may_finish.set()
    thread.join()
    assert not errors


# Fills a store until the limit of the file size, as on a full disk.
FULL = """
import resource, signal, sys
import shapsketch as ss

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
space = ss.SequenceSpace(ss.DNA, 8)
try:
    evaluator = ss.Evaluator(lambda s: [float(x.count("A")) for x in s], batch_size=200, store=sys.argv[1])
    ss.sketch(evaluator, space, budget=20_000, method="regress", progress=False)
except ss.FileError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="run it on Unix, which has limits of file sizes")
def test_a_full_disk_is_an_error_that_loses_no_value(tmp_path, processes):
    store = tmp_path / "values.db"
    script = tmp_path / "full.py"
    script.write_text(FULL)
    code, out, err = processes.run([sys.executable, script, store])
    assert code == 0, err
    assert "cannot write a batch" in out
    assert "the same call then evaluates only the rest" in out
    codes, values = ss.Store(store).read()
    assert f"the {len(codes):,} values before it" in out
    assert len(codes) >= 1000
    np.testing.assert_array_equal(values, (codes == 0).sum(axis=1))


@given(st.integers(0, 2**32 - 1))
def test_a_cache_returns_the_values_that_were_added(seed):
    rng = np.random.default_rng(seed)
    n, width = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    cache, expected = Cache(n, width), {}
    for _ in range(int(rng.integers(1, 5))):
        codes = rng.integers(0, 4, (int(rng.integers(1, 30)), n)).astype(np.uint8)
        codes = np.unique(codes, axis=0)
        codes = codes[[row.tobytes() not in expected for row in codes]]
        values = rng.normal(size=(len(codes), width))
        cache.add(codes, values)
        expected.update((row.tobytes(), value) for row, value in zip(codes, values, strict=True))
        queries = rng.integers(0, 4, (20, n)).astype(np.uint8)
        cache.settle()
        hits, cached = cache.find(queries)
        assert hits.tolist() == [row.tobytes() in expected for row in queries]
        for row, value in zip(queries[hits], cached, strict=True):
            np.testing.assert_array_equal(expected[row.tobytes()], value)
    assert len(cache) == len(expected)


def test_a_store_can_be_read_without_shapsketch(tmp_path):
    """As docs/files.md describes."""
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


def test_outputs_of_a_store_may_be_requested_in_another_order(tmp_path):
    store = tmp_path / "values.db"
    first, again = Counting(two), Counting(lambda codes: two(codes)[:, ::-1])
    run(first, store, outputs=["a", "b"])
    sketches = run(again, store, outputs=["b", "a"], budget=700)
    assert len(again.evaluated) == 100 + PROBES
    codes, values = ss.Store(store).read()
    np.testing.assert_array_equal(values, two(codes))
    np.testing.assert_allclose(sketches["b"].predict(codes), codes[:, 0], atol=1e-2)
    # The same numbers with other names belong to another model.
    with pytest.raises(ss.InputError, match="another model"):
        run(Counting(two), store, outputs=["b", "a"])
    with pytest.raises(
        ss.InputError, match=r"'\[\"a\", \"b\"\]', not '\[\"a\"\]'; .* request all outputs of this one"
    ):
        run(Counting(motif), store, outputs=["a"])


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)])
@pytest.mark.parametrize("wrong", [np.nan, 0.0])
def test_one_invalid_value_does_not_discard_the_others(tmp_path, executor, wrong):
    """A batch with a NaN, or with a value outside the link's domain, keeps its other values."""

    def model(codes):
        values = 10.0 + motif(codes)
        values[(codes[:, :3] == 3).all(axis=1)] = wrong
        return values

    store, counting = tmp_path / "values.db", Counting(model)
    message = (
        "returned nan for query .* finite score"
        if np.isnan(wrong)
        else "returned 0.0 for query .*, 'TTT.*'log'.*above 0"
    )
    with pytest.raises(ss.ModelError, match=message):
        run(counting, store, link="log", executor=executor, retries=3)
    assert len(counting.evaluated) < 600
    codes, values = ss.Store(store).read()
    invalid = sum(bytes([3, 3, 3]) == row[:3] for row in counting.evaluated)
    assert invalid >= 1
    assert len(codes) == len(counting.evaluated) - (invalid if np.isnan(wrong) else 0)
    np.testing.assert_array_equal(values, model(codes))


def test_refine_and_faithfulness_store_their_values(tmp_path):
    store = tmp_path / "values.db"
    sketch = run(Counting(), store)
    explainer = ss.Explainer(sketch)
    codes = np.random.default_rng(0).integers(0, 4, (3, 8))
    plain = by_evaluator(
        explainer.refine, motif, codes, calls_per_sequence=200, inputs="codes", progress=False
    )

    class Failing(Counting):
        def __call__(self, codes):
            if len(self.evaluated) > 200:
                raise OSError("no connection")
            return super().__call__(codes)

    failing, rest, again = Failing(), Counting(), Counting()
    options = {"calls_per_sequence": 200, "progress": False, "store": store, "batch_size": BATCH}
    with pytest.raises(ss.ModelError, match="no connection"):
        by_evaluator(explainer.refine, failing, codes, **options)
    refined = by_evaluator(explainer.refine, rest, codes, **options)
    np.testing.assert_array_equal(refined.values, plain.values)
    evaluated = failing.evaluated[PROBES:] + rest.evaluated[PROBES:]
    assert len(evaluated) == len(set(evaluated))
    checked = by_evaluator(
        ss.faithfulness, again, explainer, codes, budget=600, progress=False, store=store, batch_size=BATCH
    )
    assert checked.n_calls == len(again.evaluated) - PROBES <= 600
    assert not set(again.evaluated[PROBES:]) & set(evaluated)
    with pytest.raises(ss.InputError, match="another model"):
        by_evaluator(explainer.refine, Counting(lambda codes: motif(codes) + 1.0), codes, **options)


def test_values_of_a_model_check_are_used(tmp_path, caplog):
    """The check evaluates queries of the sketch, after the options are validated."""
    store, model = tmp_path / "values.db", Counting()
    plain = saved_bytes(run(Counting(), None), tmp_path / "a")
    with pytest.raises(ss.InputError, match="max_terms is for"):
        run(model, store, check=True, max_terms=3)
    with pytest.raises(ss.FileError, match="nowhere does not exist"):
        run(model, tmp_path / "nowhere" / "values.db", check=True)
    assert not model.evaluated
    assert saved_bytes(run(model, store, check=True), tmp_path / "b") == plain
    # The check repeats one batch of eight, and evaluates two sequences one by one.
    assert len(model.evaluated) == 600 + 10
    assert len(set(model.evaluated)) == 600
    model = Counting()
    assert saved_bytes(run(model, None, check=True), tmp_path / "c") == plain
    assert len(model.evaluated) == 610
    again = Counting()
    run(again, store, check=True)
    assert len(again.evaluated) == PROBES

    random = np.random.default_rng(0)
    run(lambda codes: motif(codes) + random.normal(size=len(codes)), None, check=True, inputs="codes")
    assert "not repeatable" in caplog.text
    fails = iter([OSError("once")])

    def flaky(codes):
        for error in fails:
            raise error
        return motif(codes)

    run(flaky, None, check=True, inputs="codes", retries=1)


def test_files_that_are_not_stores_say_what_they_are(tmp_path):
    sketch, other, empty, text = (tmp_path / name for name in ("s.safetensors", "other.db", "e.db", "t.db"))
    run(Counting(), tmp_path / "values.db").save(sketch)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    empty.write_bytes(b"")
    text.write_text("values")
    messages = {
        sketch: "a safetensors file, such as a sketch, which ss.load reads; choose another path",
        other: "a database of another program; choose another path",
        empty: "it is empty; choose another path",
        text: "it does not start as a database does",
    }
    for path, message in messages.items():
        for call in (ss.Store(path).read, lambda path=path: ss.Store(path).rescue(tmp_path / "new.db")):
            with pytest.raises(ss.FileError, match=message) as caught:
                call()
            # `rescue` cannot help.
            assert "rescue" not in str(caught.value)


def test_a_store_is_rescued_into_a_folder_that_exists(tmp_path):
    run(Counting(), tmp_path / "values.db")
    with pytest.raises(ss.FileError, match=r"new\.db: the folder .*none does not exist; create it first"):
        ss.Store(tmp_path / "values.db").rescue(tmp_path / "none" / "new.db")
