"""Read deep mutational scans: tables of variants, as of MaveDB and ProteinGym."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from shapsketch._validate import choice, file_path, items, listed, string
from shapsketch.errors import InputError
from shapsketch.files.columns import Columns, read_columns
from shapsketch.files.notation import WILD_TYPES, is_of_nucleotides
from shapsketch.files.variants import Indices, Reader, Skipped, Variants
from shapsketch.space import DNA, PROTEIN, RNA, Codes, SequenceSpace, Values, checked_start

logger = logging.getLogger(__name__)

# Names of columns, in lower case.
PROTEIN_COLUMNS = ("mutant", "mutants", "hgvs_pro", "variant", "variants", "mutation", "mutations")
NUCLEOTIDE_COLUMNS = ("hgvs_nt", *(name for name in PROTEIN_COLUMNS if name != "hgvs_pro"))
SEQUENCE_COLUMNS = ("mutated_sequence", "sequence")
SCORE_COLUMNS = ("score", "dms_score", "fitness")
# Number of rows of each reason that messages name.
NAMED_ROWS = 3
# Number of texts from which the form of a column is inferred.
EXAMINED = 100

# Columns of a table: one name, or several.
Names: TypeAlias = "str | Sequence[str]"


def read_variants(  # noqa: PLR0913 - public
    path: str | os.PathLike[str],
    *,
    wild_type: str,
    alphabet: str | None = None,
    start: int = 1,
    column: str | None = None,
    score: Names | None = None,
    sd: Names | None = None,
    weight: str | None = None,
    on_other: Literal["skip", "error"] = "skip",
) -> Variants:
    r"""Read a deep mutational scan: a table of variants of one wild type, and their measured values.

    A variant is written as ``A23G:T45S`` (or with ``,``, ``;``, ``/``, ``_`` or spaces between
    substitutions), ``Ala23Gly``, in HGVS (``p.Ala23Gly``, ``p.[Ala23Gly;Thr45Ser]``, ``c.23A>G``), or as its
    whole sequence. The wild type is ``WT``, ``_wt``, ``p.=`` or ``_sy``.

    Parameters
    ----------
    path : str or path
        CSV, TSV or Parquet, as of MaveDB and ProteinGym. Lines before the header that start with ``#`` are
        comments.
    wild_type : str
        The whole sequence whose positions the variants number.
    alphabet : str, optional
        By default DNA or RNA if the wild type has no other symbols, otherwise the 20 amino acids. If it has
        ``*`` (or ``-``), stop codons (or deletions) are symbols like any other.
    start : int
        Number of the first position of `wild_type`.
    column : str, optional
        Column of the variants. By default the one of ``mutant``, ``variant``, ``mutation`` and ``hgvs_pro``
        (``hgvs_nt`` for DNA and RNA) that exists; otherwise ``mutated_sequence`` or ``sequence``.
    score : str or list of str, optional
        Column of the values. Several are replicates: each gives one row. By default the one of ``score``,
        ``DMS_score`` and ``fitness`` that exists.
    sd : str or list of str, optional
        Columns of the standard deviations of the values, one for each of `score`, or one for all. The weights
        are their inverse squares.
    weight : str, optional
        Column of weights, instead of `sd`.
    on_other : {"skip", "error"}
        What to do with rows without a value, and with variants that are not substitutions, such as stop
        codons, deletions and frameshifts: count them in ``skipped`` and log a warning, or stop with an error.

    Returns
    -------
    Variants

    Raises
    ------
    InputError
        If columns are ambiguous or missing (the message lists them); if a variant has none of the notations,
        has two symbols at one position, a wrong wild-type symbol, or a position outside of the wild type (the
        message names the line, and the `start` that fits); if a standard deviation or weight is not above 0.
    FileError
        If the file cannot be read, or a value is not a number.
    MissingExtraError
        If xopen or, for Parquet, pyarrow is not installed.

    Examples
    --------
    >>> import pathlib, tempfile, shapsketch as ss
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scan.csv")
    ...     rows = ["hgvs_pro,score", "_wt,1", "p.Met11Gly,0.5", "p.[Met11Gly;Cys12Trp],0", "p.Cys12Ter,-3"]
    ...     _ = path.write_text("\n".join(rows))
    ...     variants = ss.read_variants(path, wild_type="MC", start=11)
    >>> variants.name(variants.codes), variants.values
    (['WT', 'M11G', 'M11G:C12W'], array([1. , 0.5, 0. ]))
    >>> print(variants.skipped["stop codon"])
    1 (line 5: 'p.Cys12Ter')
    """
    file = file_path(path)
    first = checked_start(start)
    stops = choice("on_other", on_other, ("skip", "error")) == "error"
    sequence = string("wild_type", wild_type)
    symbols = _alphabet_of(sequence) if alphabet is None else alphabet
    space = SequenceSpace(symbols, max(1, len(sequence)), start=first)
    try:
        original: Codes = space.encode([sequence])[0]
    except InputError as error:
        raise InputError(f"wild_type: {error.detail}", position=error.position) from None
    scores, sds = _names("score", score), _names("sd", sd)
    if column is not None:
        string("column", column)
    if weight is not None:
        string("weight", weight)
        if sds:
            raise InputError("sd and weight both give weights; pass one of them")
    chosen = _Choice(column, scores, sds, weight, nucleotides=is_of_nucleotides(space.alphabet))
    columns = read_columns(file, lambda header: chosen.of(str(file), header))
    reader = Reader(space, original, first, f"{file}, ")
    others = _Others(columns, stops)
    texts = columns.texts(chosen.column)
    whole = chosen.column.lower() in SEQUENCE_COLUMNS or _are_sequences(texts, space)
    used = []
    for row, text in enumerate(texts):
        reason = reader.add(text, columns.where(row), sequence=whole)
        if reason is None:
            used.append(row)
        elif alphabet is None and space.alphabet != PROTEIN and "not in the alphabet" in reason.reason:
            raise InputError(
                f"{file}, {columns.where(row)}: {text!r} has {reason.reason} {space.alphabet!r}",
                advice="pass alphabet=ss.PROTEIN if wild_type is a protein",
                option="alphabet",
            )
        else:
            others.add(row, text, reason.reason)
    if not used:
        raise InputError(f"{file}: none of the {len(texts):,} rows has a variant: {others.first}")
    return _with_values(reader, chosen, columns, np.array(used), others, space, sequence)


def _with_values(
    reader: Reader,
    chosen: _Choice,
    columns: Columns,
    used: Indices,
    others: _Others,
    space: SequenceSpace,
    wild_type: str,
) -> Variants:
    """Return the variants of the rows `used`, with the values of each score."""
    codes = reader.codes()
    values = np.array([columns.numbers(name) for name in chosen.scores])[:, used]
    present = ~np.isnan(values)
    for name, of_score in zip(chosen.scores, present, strict=True):
        for index in np.flatnonzero(~of_score):
            others.add(int(used[index]), reader.texts[index][1], f"no value of {name!r}")
    if not present.any():
        raise InputError(f"{columns.path}: no variant has a value: {others.first}")
    # Replicates of a variant follow each other.
    rows, replicates = np.nonzero(present.T)
    spread = weights = None
    names = chosen.sds or ([] if chosen.weight is None else [chosen.weight])
    if names:
        table = np.array([columns.numbers(name) for name in names])[:, used]
        which = replicates if len(names) > 1 else np.zeros(len(rows), dtype=np.int64)
        numbers = table[which, rows]
        wrong = np.flatnonzero(~(numbers > 0.0))
        if len(wrong):
            where, text = reader.texts[rows[wrong[0]]]
            got = "missing" if np.isnan(numbers[wrong[0]]) else f"{numbers[wrong[0]]:g}"
            raise InputError(
                f"{columns.path}, {where}: {names[which[wrong[0]]]!r} of {text!r} is {got}, but it must be "
                f"above 0 ({len(wrong):,} such values); remove these rows, replace the values, for example "
                "by the median of the others, or do not use this column"
            )
        spread, weights = (numbers, _inverse_squares(numbers)) if chosen.sds else (None, numbers)
    others.log()
    return Variants(
        space,
        space.decode(space.encode([wild_type]))[0],
        codes[rows],
        np.ascontiguousarray(values[replicates, rows]),
        [reader.texts[row][1] for row in rows],
        space.start,
        weights,
        spread,
        others.skipped,
    )


def _inverse_squares(numbers: Values) -> Values:
    """Return inverse squares; they may overflow, and a fit refuses weights that are not finite."""
    with np.errstate(over="ignore"):
        squares: Values = numbers**-2.0
    return squares


class _Choice:
    """The columns of a table that are read.

    Attributes
    ----------
    column : str
        Column of the variants.
    scores, sds : list of str
    weight : str or None
    """

    def __init__(
        self, column: str | None, scores: list[str], sds: list[str], weight: str | None, *, nucleotides: bool
    ) -> None:
        self.column, self.scores, self.sds, self.weight = column or "", scores, sds, weight
        self._notations = NUCLEOTIDE_COLUMNS if nucleotides else PROTEIN_COLUMNS

    def of(self, file: str, header: list[str]) -> list[str]:
        """Return the columns to read, of those that a table has.

        Raises
        ------
        InputError
            If one is missing, or several can be meant.
        """
        for option, names in (
            ("column", [self.column] if self.column else []),
            ("score", self.scores),
            ("sd", self.sds),
            ("weight", [] if self.weight is None else [self.weight]),
        ):
            for name in names:
                if name not in header:
                    raise InputError(
                        f"{file}: the column {name!r} is missing; the columns are {listed(header)}",
                        advice=f"choose one with {option}=",
                        option=option,
                    )
        if not self.column:
            self.column = _one(file, "variants", "column", [self._notations, SEQUENCE_COLUMNS], header)
        if not self.scores:
            self.scores = [_one(file, "values", "score", [SCORE_COLUMNS], header)]
        if len(self.sds) not in (0, 1, len(self.scores)):
            raise InputError(
                f"sd names {len(self.sds)} columns for {len(self.scores)} scores; pass one for each"
            )
        named = [self.column, *self.scores, *self.sds, *([] if self.weight is None else [self.weight])]
        for index, name in enumerate(named):
            if name in named[:index]:
                raise InputError(f"the column {name!r} is named twice; pass each column once")
        return named


def _one(file: str, what: str, option: str, groups: list[Sequence[str]], header: list[str]) -> str:
    """Return the column of the first group of names that the table has."""
    for group in groups:
        present = [name for name in header if name.lower() in group]
        if len(present) == 1:
            return present[0]
        if present:
            raise InputError(
                f"{file}: the columns {listed(present)} may all have the {what}",
                advice=f"choose one with {option}=",
                option=option,
            )
    raise InputError(
        f"{file}: no column has a known name of the {what}; the columns are {listed(header)}",
        advice=f"choose one with {option}=",
        option=option,
    )


class _Others:
    """Rows that are not used."""

    def __init__(self, columns: Columns, stops: bool) -> None:
        self._columns, self._stops = columns, stops
        self.skipped: dict[str, Skipped] = {}

    def add(self, row: int, text: str, reason: str) -> None:
        """Count a row, or raise the error for it."""
        where = f"{self._columns.where(row)}: {text!r}"
        if self._stops:
            raise InputError(
                f"{self._columns.path}, {where} cannot be used: {reason}",
                advice="on_other='skip' counts such rows",
                option="on_other",
                index=row,
            )
        before = self.skipped.get(reason, Skipped(0, []))
        rows = before.rows if len(before.rows) == NAMED_ROWS else [*before.rows, where]
        self.skipped[reason] = Skipped(before.count + 1, rows)

    @property
    def first(self) -> str:
        """The reasons, in words."""
        return "; ".join(f"{reason}, {rows}" for reason, rows in self.skipped.items())

    def log(self) -> None:
        """Log a warning for each reason."""
        for reason, rows in self.skipped.items():
            logger.warning("%s: skipped rows, %s: %s", self._columns.path, reason, rows)


def _names(option: str, value: Names | None) -> list[str]:
    """Return the names of columns."""
    if value is None:
        return []
    names = [value] if isinstance(value, str) else items(option, value, "names of columns")
    if not names:
        raise InputError(f"{option}: the list is empty; name columns, or omit it")
    return [string(f"{option}: name {index}", name) for index, name in enumerate(names)]


def _alphabet_of(wild_type: str) -> str:
    """Return the smallest of the known alphabets that has the symbols of a wild type."""
    symbols = set(wild_type.upper())
    return next((alphabet for alphabet in (DNA, RNA) if symbols <= set(alphabet)), PROTEIN)


def _are_sequences(texts: list[str], space: SequenceSpace) -> bool:
    """Return whether a column has sequences, because most of its texts are long enough and have no digits."""
    filled = [text for text in texts if text and text.lower() not in WILD_TYPES][:EXAMINED]
    symbols = {*space.alphabet, *space.alphabet.lower(), "*", "-", "X", "x"}
    like = sum(len(text) == space.n and set(text) <= symbols for text in filled)
    return 2 * like > len(filled)
