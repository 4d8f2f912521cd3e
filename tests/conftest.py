"""Hypothesis profiles, signals, the processes that tests start, and commands."""

import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import settings
from shapsketch import cli
from toys import shorten_fits, without_progress

# Tests run in two processes; OpenMP threads of LightGBM that wait must not take the cores of the other one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# `dev` is quick. `ci` (chosen by CI=true) is thorough and repeatable.
settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Environment variable that marks the processes of one test; their own child processes inherit it.
MARK = "SHAPSKETCH_TEST"
# How long a process of a test may run, in seconds, before the test fails.
TIME_LIMIT = 300.0
# How long killed processes may take to disappear, in seconds.
END_LIMIT = 20.0


@pytest.fixture(autouse=True, scope="session")
def short_fits():
    """Let the default effort train small networks and students, and leave nothing out on a slow machine."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_fits(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def interruptible():
    """Let SIGINT raise KeyboardInterrupt, in the test and in the processes that it starts.

    Shells start background jobs (``pytest &``) with SIGINT ignored, and child processes inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Processes:
    """Starts the processes of one test, and ends them together with all of their child processes."""

    def __init__(self):
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        self._started = []

    def start(self, command, *, env=None, **options):
        """Return a ``Popen`` of a command, as the leader of its own process group.

        Variables in `env` are added to the environment. PYTHONPATH is put in front of the value it has.
        """
        environment = {**os.environ, **(env or {})}
        if env and "PYTHONPATH" in env and "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], os.environ["PYTHONPATH"]])
        name, value = self._mark.split("=")
        environment[name] = value
        process = subprocess.Popen(
            [str(argument) for argument in command], env=environment, start_new_session=True, **options
        )
        self._started.append(process)
        return process

    def run(self, command, **options):
        """Run a command to its end; return its exit code, stdout and stderr."""
        process = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        out, err = process.communicate(timeout=TIME_LIMIT)
        return process.returncode, out, err

    def running(self):
        """Return the ids of running processes.

        On Linux these include child processes, even if their parent has ended.
        """
        return {process.pid for process in self._started if process.poll() is None} | self._marked()

    def _marked(self):
        pids = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                # The process ended, or another user owns it.
                continue
            # A zombie (Z) has ended already.
            if self._mark.encode() in variables and state != "Z":
                pids.add(int(folder.name))
        return pids

    def end(self):
        """Kill all running processes and wait until none is left."""
        until = time.monotonic() + END_LIMIT
        while (running := self.running()) and time.monotonic() < until:
            for pid in running:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
        for process in self._started:
            # Leaving the context closes the pipes and waits for the process.
            with process:
                pass
        assert not running, f"processes {sorted(running)} did not end"


@pytest.fixture
def processes():
    """Start processes that end with the test, even if it fails."""
    started = Processes()
    yield started
    started.end()


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def succeed(shell):
    """Run a command that must succeed, and only say progress; return its output, parsed if it is JSON."""

    def call(*arguments):
        code, out, err = shell(*arguments)
        assert (code, without_progress(err)) == (0, "")
        return json.loads(out) if "--json" in arguments else out

    return call
