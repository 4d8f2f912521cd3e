"""Models that are programs, started for each batch."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._validate import choice, integer, items, listed, mapping, number, shown, system_text
from shapsketch.errors import InputError, ModelError
from shapsketch.files.formats import number_in
from shapsketch.models._base import Numbers

Output: TypeAlias = Literal["lines"] | tuple[Literal["tsv", "csv"], int | str]
# Bytes of a program's error output that a message shows, from its end, and characters of its output.
SHOWN = 1000
# Largest output of a program, in bytes: for each sequence, and besides.
OUTPUT_PER_SEQUENCE, OUTPUT = 1 << 12, 1 << 20
# Bytes that are read at a time.
PART = 1 << 16


def command(
    arguments: Sequence[str],
    *,
    input: Literal["lines", "fasta"] = "lines",  # noqa: A002
    output: Output = "lines",
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
) -> _Command:
    """Adapt a program, which is started once for each batch, without a shell.

    The program reads the sequences of a batch from its standard input and prints their scores in the same
    order. If an argument contains ``{input}`` or ``{output}``, the program reads or writes a file in a
    temporary folder instead, and the argument receives the path of that file.

    Parameters
    ----------
    arguments : list of str
        The program and its arguments.
    input : {"lines", "fasta"}
        One sequence on each line, or FASTA records with the names 0, 1, 2, ...
    output : "lines", ("tsv", column) or ("csv", column)
        One score on each line, or a table with one row for each sequence. `column` is the column of the
        score: its index from 0 if the table has no header, or its name in the header.
    timeout : float, optional
        Largest number of seconds for a batch. By default there is no limit. Set one if the program may hang,
        or may start another program that keeps the output open.
    env : dict of str, optional
        Environment variables, in addition to those of this process.

    Raises
    ------
    InputError
        If an argument is wrong. A call raises :class:`shapsketch.ModelError` if the program cannot be
        started, ends with an exit status other than 0, prints too many or too few scores, or prints something
        that is not a number; the message names the line.

    Examples
    --------
    >>> import sys
    >>> from shapsketch import models
    >>> code = "import sys; [print(line.count('G')) for line in sys.stdin]"
    >>> models.command([sys.executable, "-c", code])(["ACG", "GGG"])
    array([1., 3.])
    """
    if isinstance(arguments, str):
        raise InputError(
            f"arguments must be a list of strings, got {arguments!r}; split a command line with shlex.split"
        )
    texts = [
        system_text(f"arguments[{index}]", argument)
        for index, argument in enumerate(items("arguments", arguments, "strings"))
    ]
    if not texts:
        raise InputError("arguments: the list is empty; its first entry is the program")
    choice("input", input, ("lines", "fasta"))
    kind, column = output if isinstance(output, (tuple, list)) and len(output) == 2 else (output, None)
    if column is None:
        if not (isinstance(kind, str) and kind == "lines"):
            raise InputError(
                f"output must be 'lines', ('tsv', column) or ('csv', column), got {shown(output)}"
            )
    else:
        choice("output", kind, ("tsv", "csv"))
        if not isinstance(column, str):
            column = integer("the column of output", column, least=0)
    seconds = None if timeout is None else number("timeout", timeout)
    if seconds is not None and seconds <= 0:
        raise InputError(f"timeout must be a positive number of seconds, got {timeout!r}")
    variables = None if env is None else mapping("env", env, "strings to strings")
    for name, value in (variables or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InputError(f"env must map strings to strings, got {name!r}: {value!r}")
        system_text("env", name)
        system_text(f"env[{name!r}]", value)
    return _Command(tuple(texts), input, str(kind), column, seconds, variables)


@dataclass(frozen=True, eq=False)
class _Command:
    arguments: tuple[str, ...]
    input: str
    output: str
    column: int | str | None
    timeout: float | None
    env: dict[str, str] | None
    inputs: str = "strings"
    outputs: tuple[str, ...] | None = None

    def __call__(self, batch: Any) -> Numbers:
        text = "".join(
            f">{index}\n{sequence}\n" if self.input == "fasta" else f"{sequence}\n"
            for index, sequence in enumerate(batch)
        )
        with TemporaryDirectory(prefix="shapsketch-") as folder:
            source, target = Path(folder, "sequences.txt"), Path(folder, "scores.txt")
            arguments = [
                argument.replace("{input}", str(source)).replace("{output}", str(target))
                for argument in self.arguments
            ]
            if any("{input}" in argument for argument in self.arguments):
                source.write_text(text, encoding="utf-8")
                text = ""
            printed = self._run(arguments, text, len(batch))
            if any("{output}" in argument for argument in self.arguments):
                if not target.exists():
                    raise ModelError(f"the program {self.arguments[0]!r} did not write the file {{output}}")
                printed = target.read_text(encoding="utf-8", errors="replace")
        return self._scores(printed, len(batch))

    def _run(self, arguments: list[str], text: str, count: int) -> str:
        """Run the program on `count` sequences; return what it prints."""
        program = self.arguments[0]
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if self.env is None else {**os.environ, **self.env},
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ModelError(f"the program {program!r} was not found; pass its full path") from error
        except OSError as error:
            raise ModelError(f"the program {program!r} cannot be started: {error}") from error
        most = OUTPUT + OUTPUT_PER_SEQUENCE * count
        with process:
            _RUNNING.add(process)
            streams = _Streams(process, text, most)
            try:
                streams.wait(self.timeout)
            except subprocess.TimeoutExpired as error:
                _kill(process)
                raise ModelError(
                    f"the program {program!r} took more than {self.timeout:g} s for {count} sequences; "
                    "set a longer timeout, or a smaller batch size"
                ) from error
            except BaseException:
                _kill(process)
                raise
            finally:
                _RUNNING.discard(process)
        printed = streams.printed.decode(errors="replace")
        errors = streams.errors.decode(errors="replace").strip()
        if len(streams.printed) > most:
            raise ModelError(
                f"the program {program!r} printed more than {most:,} bytes for {count} sequences, and was "
                f"stopped; it must print one score for each; its output begins: {printed[:SHOWN]!r}"
            )
        if process.returncode != 0:
            end = f"; the end of its error output: {errors}" if errors else ""
            raise ModelError(f"the program {program!r} {_ended(process.returncode)}{end}")
        return printed

    def _scores(self, printed: str, count: int) -> Numbers:
        """Return the scores of `count` sequences from the output of the program."""
        program = self.arguments[0]
        lines = printed.rstrip().splitlines()
        if self.output == "lines":
            rows, column, first_line = [[line.strip()] for line in lines], 0, 1
        else:
            rows = list(csv.reader(lines, delimiter="\t" if self.output == "tsv" else ","))
            column, first_line = self.column, 1  # type: ignore[assignment]
            if isinstance(self.column, str):
                header = rows.pop(0) if rows else []
                if self.column not in header:
                    raise ModelError(
                        f"the program {program!r} printed no column {self.column!r}, its header is "
                        f"[{listed(header)}]"
                    )
                if header.count(self.column) > 1:
                    raise ModelError(
                        f"the program {program!r} printed two columns {self.column!r}: [{listed(header)}]; "
                        "rename one"
                    )
                column, first_line = header.index(self.column), 2
        if len(rows) != count:
            start = "".join(f"\n  {_readable(line)}" for line in lines[:3])
            raise ModelError(
                f"the program {program!r} printed {len(rows)} scores for {count} sequences"
                f"{'; its output begins:' + start if start else ''}"
            )
        scores = np.empty(count)
        for index, row in enumerate(rows):
            try:
                scores[index] = number_in(row[column])
            except (IndexError, ValueError):
                content = f"has {len(row)} columns" if column >= len(row) else f"has {row[column]!r}"
                raise ModelError(
                    f"the program {program!r} printed no number in line {index + first_line}, which {content}"
                ) from None
        return scores


def _ended(status: int) -> str:
    """Return how a program ended, in words."""
    if status > 0:
        return f"ended with status {status}"
    names = {int(number): number.name for number in signal.Signals}
    name = f", {names[-status]}" if -status in names else ""
    return f"crashed or was stopped (signal {-status}{name})"


def _readable(line: str) -> str:
    """Return a line as messages show it: without what is not printable, and not too long."""
    text = line if line.isprintable() else repr(line)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


class _Streams:
    """The streams of a running program. It writes the input, and keeps a bounded part of the output.

    Each thread has its own descriptor of a pipe. So a thread that waits for another program, which keeps the
    pipe open, blocks nothing.

    Attributes
    ----------
    printed : bytes
        What the program printed; the program is stopped when this is longer than `most` bytes.
    errors : bytes
        The end of its error output.
    """

    def __init__(self, process: subprocess.Popen[bytes], text: str, most: int) -> None:
        self._process, self._text, self._most = process, text.encode(), most
        self.printed = self.errors = b""
        works = {
            process.stdin: self._write,
            process.stdout: self._read,
            process.stderr: self._read_errors,
        }
        self._threads = []
        for pipe, work in works.items():
            assert pipe is not None
            self._threads.append(threading.Thread(target=work, args=(os.dup(pipe.fileno()),), daemon=True))
            pipe.close()
        for thread in self._threads:
            thread.start()

    def wait(self, timeout: float | None) -> None:
        """Wait until the program has ended and its output is closed."""
        end = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self._process.args, timeout or 0.0)
        self._process.wait(None if end is None else max(0.0, end - time.monotonic()))

    def _write(self, pipe: int) -> None:
        # A program may end, or close its input, before it has read all of it.
        with suppress(OSError), open(pipe, "wb", buffering=0) as stream:
            left = memoryview(self._text)
            while left:
                left = left[stream.write(left[:PART]) :]

    def _read(self, pipe: int) -> None:
        with open(pipe, "rb", buffering=0) as stream:
            parts, length = [], 0
            while length <= self._most and (part := stream.read(PART)):
                parts.append(part)
                length += len(part)
            self.printed = b"".join(parts)
            if length > self._most:
                _kill(self._process)

    def _read_errors(self, pipe: int) -> None:
        with open(pipe, "rb", buffering=0) as stream:
            while part := stream.read(PART):
                self.errors = (self.errors + part)[-SHOWN:]


# The programs that run now, so that `stop_programs` can end them.
_RUNNING: set[subprocess.Popen[bytes]] = set()


def stop_programs() -> None:
    """End the programs that this process runs as models; their batches fail."""
    for process in list(_RUNNING):
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and all processes that it started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
    else:
        process.kill()
