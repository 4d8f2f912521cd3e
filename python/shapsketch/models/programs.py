"""Models that are programs, started for each batch."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._validate import choice, integer
from shapsketch.errors import InputError, ModelError
from shapsketch.models._base import Numbers

Output: TypeAlias = Literal["lines"] | tuple[Literal["tsv", "csv"], int | str]
# Characters shown of what a program complained.
SHOWN = 1000


def command(
    arguments: Sequence[str],
    *,
    input: Literal["lines", "fasta"] = "lines",  # noqa: A002
    output: Output = "lines",
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
) -> _Command:
    """Ask a program, which is started once for each batch, without a shell.

    It reads the sequences of a batch from its standard input and prints their scores in the same order. Where
    an argument has ``{input}`` or ``{output}``, that is the path of a file in a temporary folder, read or
    written instead.

    Parameters
    ----------
    arguments : list of str
        The program and its arguments.
    input : {"lines", "fasta"}
        One sequence a line, or FASTA records with numbers from 0 as names.
    output : "lines", ("tsv", column) or ("csv", column)
        One number a line, or one row a sequence with the score in a column: its number from 0 of tables
        without a header, or its name in the header.
    timeout : float, optional
        Most seconds for a batch. Without it, a program that never ends, or leaves one behind that keeps its
        output open, is waited for.
    env : dict of str, optional
        Environment variables, beside those of this process.

    Raises
    ------
    InputError
        If an argument is not what it must be. What goes wrong when it is asked is a :class:`ModelError`: no
        such program, an exit status other than 0, too many or too few scores, no number (in which line).

    Examples
    --------
    >>> import sys
    >>> from shapsketch import models
    >>> code = "import sys; [print(line.count('G')) for line in sys.stdin]"
    >>> models.command([sys.executable, "-c", code])(["ACG", "GGG"])
    array([1., 3.])
    """
    if isinstance(arguments, (str, bytes)):
        raise InputError(
            f"arguments must be a list of strings, got {arguments!r}; shlex.split makes one of it"
        )
    given: list[str] = []
    for argument in arguments:
        if not isinstance(argument, (str, os.PathLike)):
            raise InputError(f"arguments must be strings, got {argument!r} ({type(argument).__name__})")
        given.append(os.fspath(argument))
    if not given:
        raise InputError("arguments: the list is empty; the first is the program")
    choice("input", input, ("lines", "fasta"))
    kind, column = output if isinstance(output, (tuple, list)) and len(output) == 2 else (output, None)
    if column is None:
        if kind != "lines":
            raise InputError(f"output must be 'lines', ('tsv', column) or ('csv', column), got {output!r}")
    else:
        choice("output", kind, ("tsv", "csv"))
        if not isinstance(column, str):
            column = integer("the column of output", column, least=0)
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise InputError(f"timeout must be a positive number of seconds, got {timeout!r}")
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InputError(f"env must have strings, got {name!r}: {value!r}")
    return _Command(tuple(given), input, str(kind), column, timeout, None if env is None else dict(env))


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
            f">{at}\n{sequence}\n" if self.input == "fasta" else f"{sequence}\n"
            for at, sequence in enumerate(batch)
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
        program = self.arguments[0]
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=None if self.env is None else {**os.environ, **self.env},
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ModelError(f"the program {program!r} was not found; give its full path") from error
        except OSError as error:
            raise ModelError(f"the program {program!r} cannot be started: {error}") from error
        with process:
            _RUNNING.add(process)
            try:
                printed, complaint = process.communicate(text, self.timeout)
            except subprocess.TimeoutExpired as error:
                _kill(process)
                raise ModelError(
                    f"the program {program!r} took more than {self.timeout:g} s for {count} sequences; "
                    "allow a longer timeout=, or smaller batches (batch_size=)"
                ) from error
            except BaseException:
                _kill(process)
                raise
            finally:
                _RUNNING.discard(process)
        if process.returncode != 0:
            complaint = complaint.strip()
            end = f"; the end of what it complained: {complaint[-SHOWN:]}" if complaint else ""
            raise ModelError(f"the program {program!r} ended with status {process.returncode}{end}")
        return printed

    def _scores(self, printed: str, count: int) -> Numbers:
        program = self.arguments[0]
        lines = printed.rstrip().splitlines()
        if self.output == "lines":
            rows, at, first = [[line.strip()] for line in lines], 0, 1
        else:
            rows = list(csv.reader(lines, delimiter="\t" if self.output == "tsv" else ","))
            at, first = self.column, 1  # type: ignore[assignment]
            if isinstance(self.column, str):
                header = rows.pop(0) if rows else []
                if self.column not in header:
                    raise ModelError(
                        f"the program {program!r} printed no column {self.column!r}, its header is {header}"
                    )
                if header.count(self.column) > 1:
                    raise ModelError(f"the program {program!r} printed two columns {self.column!r}: {header}")
                at, first = header.index(self.column), 2
        if len(rows) != count:
            start = "".join(f"\n  {line}" for line in lines[:3])
            raise ModelError(
                f"the program {program!r} printed {len(rows)} scores for {count} sequences"
                f"{'; it begins:' + start if start else ''}"
            )
        scores = np.empty(count)
        for index, row in enumerate(rows):
            try:
                scores[index] = float(row[at])
            except (IndexError, ValueError):
                what = f"has {len(row)} columns" if at >= len(row) else f"has {row[at]!r}"
                raise ModelError(
                    f"the program {program!r} printed no number in line {index + first}, which {what}"
                ) from None
        return scores


# Programs that run now.
_RUNNING: set[subprocess.Popen[str]] = set()


def stop_programs() -> None:
    """End the programs that run for models of this process; their batches fail."""
    for process in list(_RUNNING):
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """End a program and all that it started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
    else:
        process.kill()
