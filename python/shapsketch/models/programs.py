"""Models that live elsewhere: in another program, in a module, in a file of scores."""

from __future__ import annotations

import csv
import importlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np

from shapsketch._validate import choice, integer
from shapsketch.errors import InputError, ModelError
from shapsketch.models._base import Numbers
from shapsketch.models._protocol import INPUTS, Inputs, Model, inputs_of, outputs_of

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


def imported(path: str, *, inputs: Inputs | None = None) -> _Imported:
    """Name a model by where it is imported from.

    It is imported when first asked, once in each process: processes and clusters are sent its path alone, so
    that it need not be one that can be sent, nor small.

    Parameters
    ----------
    path : str
        ``"package.module:name"``, where the name may have dots. A class is called, without arguments, and so
        is a function whose name ends with ``()``: ``"package.module:make_model()"``. Modules in the current
        folder are found, too.
    inputs : {"strings", "codes", "onehot"}, optional
        What the model takes; by default what it says itself, or strings.

    Raises
    ------
    InputError
        If the path is no such path; when first asked, if there is no such module or name, or it is no model.

    Examples
    --------
    >>> from shapsketch import models
    >>> model = models.imported("numpy:char.str_len")
    >>> model(["A", "ACG"])
    array([1, 3])
    """
    if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*(\(\))?", path):
        hint = ""
        if isinstance(path, str) and re.fullmatch(r"\w+(\.\w+)+(\(\))?", path):
            hint = f"; did you mean {':'.join(path.rsplit('.', 1))!r}?"
        raise InputError(f"path must be 'package.module:name', got {path!r}{hint}")
    return _Imported(path, None if inputs is None else choice("inputs", inputs, INPUTS))


_LOADED: dict[str, Model] = {}
_LOADING = threading.RLock()


@dataclass(frozen=True, eq=False)
class _Imported:
    path: str
    given: str | None

    @property
    def inputs(self) -> str:
        """What the model takes."""
        return self.given or inputs_of(self._model(), None)

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """How the model calls its outputs."""
        return outputs_of(self._model())

    @property
    def alphabet_of_codes(self) -> str | None:
        """The alphabet that it takes codes of, if it says so."""
        return getattr(self._model(), "alphabet_of_codes", None)

    def __call__(self, batch: Any) -> Any:
        return self._model()(batch)

    def _model(self) -> Model:
        with _LOADING:
            if self.path not in _LOADED:
                _LOADED[self.path] = _load(self.path)
            return _LOADED[self.path]


def _load(path: str) -> Model:
    name, _, rest = path.partition(":")
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            hint = f"; did you mean {path.replace('.py:', ':')!r}?" if name.endswith(".py") else ""
            raise InputError(
                f"{path!r}: there is no module {missing!r} in the current folder or on the path of Python"
                f"{hint}"
            ) from error
        hint = (
            "; a script that does its work when it is imported needs it under `if __name__ == '__main__':`"
            if isinstance(error, SystemExit)
            else ""
        )
        raise ModelError(
            f"{path!r}: importing {name!r} raised {type(error).__name__}: {error}{hint}"
        ) from error
    where = name
    for part in rest.removesuffix("()").split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            known = [name for name in dir(found) if callable(getattr(found, name, None))]
            near = get_close_matches(part, known, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            source = getattr(sys.modules[name], "__file__", None)
            raise InputError(
                f"{path!r}: {where!r}{f' ({source})' if source else ''} has no {part!r}{hint}"
            ) from error
        where = f"{where}.{part}"
    if rest.endswith("()") or isinstance(found, type):
        if not callable(found):
            raise InputError(f"{path!r}: {where!r} is of type {type(found).__name__} and cannot be called")
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise ModelError(f"{path!r}: calling {where!r} raised {type(error).__name__}: {error}") from error
        where = f"{where}()"
    if not callable(found):
        raise InputError(f"{path!r}: {where!r} is of type {type(found).__name__}, and no callable")
    return found  # type: ignore[no-any-return]
