"""Variants of one wild type, with measured values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shapsketch._validate import check_memory, items, listed, string
from shapsketch.errors import InputError
from shapsketch.files.notation import Notation, Substitution, Unusable
from shapsketch.space import Codes, SequenceSpace, Values, checked_start, numbered, substitution

# Fraction of the substitutions that fit another numbering, from which a message recommends it.
MOSTLY = 0.9

Indices: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Skipped:
    """Rows of a table that were not used, for one reason.

    Attributes
    ----------
    count : int
    rows : list of str
        The first of them, with their line and the text of the variant.
    """

    count: int
    rows: list[str]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.rows) else ""
        return f"{self.count:,} ({', '.join(self.rows)}{more})"


@dataclass(frozen=True, eq=False, repr=False)
class Variants:
    """Variants of one wild type, with measured values; :func:`read_variants` returns them.

    A variant with several values, such as replicates, has one row for each. All positions of the wild type
    belong to the space, also those that no variant changes.

    Attributes
    ----------
    space : SequenceSpace
        Its positions have the same numbers.
    wild_type : str
    codes : numpy.ndarray of uint8, shape (N, n)
        Sequences of the variants.
    values : numpy.ndarray of float64, shape (N,)
    names : list of str
        The variants as they are written in the table; :meth:`name` writes them in one notation.
    start : int
        Number of the first position of the wild type.
    weights : numpy.ndarray of float64, shape (N,), or None
        Weights of the values: the inverse squares of `sd`, or those of the table.
    sd : numpy.ndarray of float64, shape (N,), or None
        Standard deviations of the errors of the values.
    skipped : dict of str to Skipped
        Rows of the table that were not used, by the reason, such as "stop codon": their ``count``, and the
        first of them, ``rows``.
    """

    space: SequenceSpace
    wild_type: str
    codes: Codes
    values: Values
    names: list[str]
    start: int = 1
    weights: Values | None = None
    sd: Values | None = None
    skipped: dict[str, Skipped] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Results about the space and names of variants have the same numbers.
        if self.space.start != checked_start(self.start):
            object.__setattr__(self, "space", self.space._from(self.start))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def wild_type_codes(self) -> Codes:
        """Codes of the wild type, (n,)."""
        codes: Codes = self.space.encode([self.wild_type])[0]
        return codes

    @property
    def n_mutations(self) -> Indices:
        """Number of substitutions of each variant, (N,)."""
        counts: Indices = (self.codes != self.wild_type_codes).sum(axis=1)
        return counts

    @property
    def observed(self) -> npt.NDArray[np.bool_]:
        """Whether a variant has a symbol at a position, (n, q); symbols of the wild type are not marked."""
        seen = np.zeros((self.space.n, self.space.q), dtype=bool)
        rows, positions = np.nonzero(self.codes != self.wild_type_codes)
        seen[positions, self.codes[rows, positions]] = True
        return seen

    def name(self, codes: Codes) -> list[str]:
        """Return the names of sequences, codes (B, n), such as ``"A23G:T45S"`` and ``"WT"``.

        Raises
        ------
        InputError
            If the codes do not belong to the space.
        """
        checked, original = self.space.encode(codes), self.wild_type_codes
        alphabet = self.space.alphabet
        rows, positions = np.nonzero(checked != original)
        parts: list[list[str]] = [[] for _ in checked]
        for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
            old, new = alphabet[original[position]], alphabet[checked[row, position]]
            parts[row].append(substitution(old, position, new, self.start))
        return [":".join(part) or "WT" for part in parts]

    def encode(self, names: Iterable[str]) -> Codes:
        """Return the codes (B, n) of variants, in any notation that :func:`read_variants` reads.

        Raises
        ------
        InputError
            If one is not a set of substitutions of this wild type; the message says which one.
        """
        texts = [string(f"variant {i}", text) for i, text in enumerate(items("names", names, "variants"))]
        if not texts:
            raise InputError("there are no variants; pass at least one")
        reader = Reader(self.space, self.wild_type_codes, self.start)
        for index, text in enumerate(texts):
            reason = reader.add(text, f"variant {index}")
            if reason is not None:
                raise InputError(f"variant {index}, {text!r}, cannot be used: {reason.reason}", index=index)
        return reader.codes()

    def __repr__(self) -> str:
        skipped = sum(part.count for part in self.skipped.values())
        return (
            f"Variants({len(self):,} values, wild type of length {self.space.n}"
            f"{f', {skipped:,} rows skipped' if skipped else ''})"
        )

    def summary(self) -> str:
        """Return what the table has: numbers of mutations, observed substitutions, and what was skipped."""
        distinct = np.unique(self.codes, axis=0)
        orders = np.bincount((distinct != self.wild_type_codes).sum(axis=1))
        seen, n, q = self.observed, self.space.n, self.space.q
        constant = numbered(np.flatnonzero(~seen.any(axis=1)), self.start)
        lines = [
            f"values     {len(self):,} of {len(distinct):,} variants, scores from {self.values.min():g} to "
            f"{self.values.max():g}",
            f"wild type  {n:,} symbols over {self.space.alphabet!r}, numbered from {self.start}"
            f"{'' if orders[0] else '; it has no value'}",
            "mutations  "
            + ", ".join(f"{count:,} with {order}" for order, count in enumerate(orders) if count),
            f"observed   {seen.sum():,} of {n * (q - 1):,} single substitutions",
        ]
        if len(constant):
            lines.append(f"constant   {len(constant):,} positions: {listed(constant)}")
        lines += [f"skipped    {reason}: {rows}" for reason, rows in self.skipped.items()]
        return "\n".join(lines)


class Reader:
    """Collects variants, and returns their codes if all fit the wild type."""

    def __init__(self, space: SequenceSpace, wild_type: Codes, start: int, place: str = "") -> None:
        self._space, self._wild_type, self._start = space, wild_type, start
        # The place of all variants, for messages, such as "file.csv, ".
        self._place = place
        self._notation = Notation(space.alphabet)
        self._letters = "".join(space.alphabet[code] for code in wild_type)
        self._rows: list[int] = []
        self._substitutions: list[Substitution] = []
        # Place and text of each variant.
        self.texts: list[tuple[str, str]] = []

    def add(self, text: str, where: str, *, sequence: bool = False) -> Unusable | None:
        """Add a variant, unless it cannot be used; then return the reason.

        Raises
        ------
        InputError
            If it is in none of the notations, or has two symbols at one position.
        """
        try:
            read = (
                self._notation.read_sequence(text, self._letters) if sequence else self._notation.read(text)
            )
        except InputError as error:
            raise InputError(
                f"{self._place}{where}: {error.message}", advice=error.advice, option=error.option
            ) from None
        if isinstance(read, Unusable):
            return read
        first: dict[int, str] = {}
        for _, number, symbol in read:
            other = first.setdefault(number, symbol)
            if other != symbol:
                raise InputError(
                    f"{self._place}{where}: {text!r} has two symbols at position {number}, {other or '='} "
                    f"and {symbol or '='}; correct it"
                )
        offset = self._start if sequence else 0
        self._rows += [len(self.texts)] * len(read)
        self._substitutions += [(old, number + offset, new) for old, number, new in read]
        self.texts.append((where, text))
        return None

    def codes(self) -> Codes:
        """Return the codes of the variants, (N, n).

        Raises
        ------
        InputError
            If a position is outside of the wild type, or a wild-type symbol is wrong.
        """
        count, n = len(self.texts), len(self._wild_type)
        check_memory(f"{count:,} variants", 3.0 * count * n, "read fewer at a time")
        positions = np.array([number for _, number, _ in self._substitutions], dtype=np.int64) - self._start
        index = {symbol: code for code, symbol in enumerate(self._space.alphabet)}
        # -1 for a symbol that is not named, -2 for one that is outside of the alphabet.
        old = np.array([index.get(s, -2) if s else -1 for s, _, _ in self._substitutions], dtype=np.int64)
        new = np.array([index.get(s, -1) for _, _, s in self._substitutions], dtype=np.int64)
        wrong = np.flatnonzero(~self._fits(positions, old))
        if len(wrong):
            self._refuse(int(wrong[0]), positions, old)
        codes: Codes = np.tile(self._wild_type, (count, 1))
        rows = np.array(self._rows, dtype=np.int64)
        codes[rows, positions] = np.where(new < 0, self._wild_type[positions], new)
        return codes

    def _fits(self, positions: Indices, old: Indices) -> npt.NDArray[np.bool_]:
        """Return whether positions exist, and have the wild-type symbols `old`."""
        n = len(self._wild_type)
        inside = (positions >= 0) & (positions < n)
        fitting: npt.NDArray[np.bool_] = (old == -1) | (self._wild_type[np.clip(positions, 0, n - 1)] == old)
        return inside & fitting

    def _refuse(self, first: int, positions: Indices, old: Indices) -> None:
        """Raise the error for the first substitution that does not fit the wild type."""
        row, n = self._rows[first], len(self._wild_type)
        where, text = self.texts[row]
        symbol, number, _ = self._substitutions[first]
        if 0 <= positions[first] < n:
            problem = (
                f"has the wild-type symbol {symbol} at position {number}, but wild_type has "
                f"{self._letters[positions[first]]} there"
            )
        else:
            end = self._start + n - 1
            problem = f"changes position {number}, but those of wild_type are {self._start} to {end}"
        pairs, counts = np.unique(np.column_stack([positions, old]), axis=0, return_counts=True)
        best, share = 0, 0.0
        # Further shifts would move a position out of the wild type.
        for shift in range(-int(pairs[:, 0].max()), n - int(pairs[:, 0].min())):
            fitting = float(counts[self._fits(pairs[:, 0] + shift, pairs[:, 1])].sum() / counts.sum())
            if fitting > share:
                best, share = shift, fitting
        advice = "check wild_type and start="
        if share >= MOSTLY and best:
            advice = f"start={self._start - best} fits {share:.0%} of the substitutions"
        raise InputError(
            f"{self._place}{where}: {text!r} {problem}", advice=advice, option="start", index=row
        )
