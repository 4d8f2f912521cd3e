"""Notations of variants: A23G, HGVS of proteins and nucleotides, names of the wild type."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from shapsketch.errors import InputError
from shapsketch.space import DNA, RNA

# A substitution: the wild-type symbol ("" if it is not named), the number of the position, and the new symbol
# ("" if it is that of the wild type).
Substitution: TypeAlias = tuple[str, int, str]

# Names of the wild type, in lower case; "_sy" of MaveDB means a synonymous variant.
WILD_TYPES = ("wt", "_wt", "wildtype", "wild-type", "wild_type", "wild type", "=", "_sy")
STOPS = ("*", "ter", "stop")
GAPS = ("-", "~")
UNKNOWN = ("?", "xaa")
# One-letter codes of amino acids, also of those outside of the 20.
AMINO_ACIDS = {
    **{"ala": "A", "arg": "R", "asn": "N", "asp": "D", "cys": "C", "gln": "Q", "glu": "E", "gly": "G"},
    **{"his": "H", "ile": "I", "leu": "L", "lys": "K", "met": "M", "phe": "F", "pro": "P", "ser": "S"},
    **{"thr": "T", "trp": "W", "tyr": "Y", "val": "V", "sec": "U", "pyl": "O", "asx": "B", "glx": "Z"},
}
# Other changes, by a part of their notation. A change that matches several has the first of these names.
OTHER_CHANGES = {
    "fs": "frameshift",
    "delins": "insertion or deletion",
    "indel": "insertion or deletion",
    "ins": "insertion",
    "del": "deletion",
    "dup": "duplication",
    "inv": "inversion",
    "ext": "extension",
}
HGVS = re.compile(r"(?:[^\s:]*:)?([cgmnpr])\.(.*)")
OTHER = re.compile("|".join(OTHER_CHANGES))
BRACKETS = str.maketrans("", "", "[]()")
SEPARATOR = re.compile(r"\s*[:;,/_]\s*|\s+")
AMINO_ACID = r"[A-Za-z]{3}|[A-Za-z*]"
SUBSTITUTION = re.compile(rf"({AMINO_ACID})(-?[0-9]{{1,9}})([Ss]top|STOP|{AMINO_ACID}|[=?~-])")
NUCLEOTIDE = re.compile(r"([0-9]{1,9})([A-Za-z])>([A-Za-z])")
SAME_NUCLEOTIDES = re.compile(r"([0-9]{1,9})(?:_[0-9]{1,9})?([A-Za-z]?)=")
REPLACED_NUCLEOTIDES = re.compile(r"([0-9]{1,9})(?:_([0-9]{1,9}))?delins([A-Za-z]+)")
# Positions in introns and untranslated regions.
NOT_CODING = re.compile(r"[-*][0-9]|[0-9]+[-+][0-9]")


def is_of_nucleotides(alphabet: str) -> bool:
    """Return whether an alphabet is one of nucleotides, perhaps with N or a gap."""
    return set(alphabet.upper()) <= {*DNA, *RNA, "N", "-"}


class Unusable(NamedTuple):
    """A variant that is no set of substitutions.

    Attributes
    ----------
    reason : str
        Name of its kind, such as "stop codon".
    """

    reason: str


class Notation:
    """Reads variants with the symbols of an alphabet.

    Parameters
    ----------
    alphabet : str
        If it has ``*`` or ``-``, stop codons or deletions are substitutions by these symbols.
    """

    def __init__(self, alphabet: str) -> None:
        self._nucleotides = is_of_nucleotides(alphabet)
        self._alphabet = alphabet
        # A symbol may be in the other case, unless the alphabet has both cases.
        self._symbols = {**{symbol.swapcase(): symbol for symbol in alphabet}, **{s: s for s in alphabet}}

    def read(self, text: str) -> list[Substitution] | Unusable:
        """Return the substitutions of a variant, none for the wild type, or why it cannot be used.

        Raises
        ------
        InputError
            If the text is in none of the notations.
        """
        text = text.strip()
        if text.lower() in WILD_TYPES:
            return []
        if not text or text in ("NA", "N/A", "null", "nan", "NaN", "None"):
            return Unusable("no variant")
        hgvs = HGVS.fullmatch(text)
        if hgvs is None:
            parts, read = SEPARATOR.split(text), self._substitution
        else:
            kind, body = hgvs[1], hgvs[2].translate(BRACKETS)
            self._check_kind(kind, text)
            parts = [] if body == "=" else re.split(r"\s*[;,]\s*", body)
            read = self._substitution if kind == "p" else self._nucleotide
        other = OTHER.search(text if hgvs is None else hgvs[2])
        if other is not None and not (hgvs and self._nucleotides):
            return Unusable(OTHER_CHANGES[other[0]])
        substitutions: list[Substitution] = []
        for part in parts:
            change = read(part, text)
            if isinstance(change, Unusable):
                return change
            substitutions += change
        return substitutions

    def read_sequence(self, text: str, wild_type: str) -> list[Substitution] | Unusable:
        """Return the substitutions of a variant that is written as its whole sequence."""
        if not text.strip():
            return Unusable("no variant")
        if len(text) != len(wild_type):
            if text.strip().lower() in WILD_TYPES:
                return []
            return Unusable("a sequence of another length than the wild type")
        substitutions: list[Substitution] = []
        for position, (symbol, original) in enumerate(zip(text, wild_type, strict=True)):
            if symbol != original:
                new = self._symbol(symbol)
                if isinstance(new, Unusable):
                    return new
                if new != original:
                    substitutions.append(("", position, new))
        return substitutions

    def _check_kind(self, kind: str, text: str) -> None:
        """Refuse variants of proteins for nucleotides, and the other way round."""
        if (kind == "p") == self._nucleotides:
            of, other = ("a protein", "nucleotides") if kind == "p" else ("nucleotides", "a protein")
            raise InputError(
                f"{text!r} describes {of}, but the alphabet {self._alphabet!r} is one of {other}",
                advice="pass another column=, or the wild_type and the alphabet= of these variants",
                option="column",
            )

    def _substitution(self, part: str, text: str) -> list[Substitution] | Unusable:
        """Read A23G or Ala23Gly."""
        match = SUBSTITUTION.fullmatch(part)
        if match is None:
            raise self._unreadable(part, text)
        original, number, new = match.groups()
        symbol = "" if new == "=" else self._symbol(new, text)
        before = self._symbol(original, text)
        if isinstance(symbol, Unusable):
            return symbol
        # A symbol outside of the alphabet is none of the wild type: the caller finds that it is wrong.
        return [(original if isinstance(before, Unusable) else before, int(number), symbol)]

    def _nucleotide(self, part: str, text: str) -> list[Substitution] | Unusable:
        """Read 23A>G, 23=, or 23_25delinsACG."""
        if NOT_CODING.match(part):
            return Unusable("a position outside of the coding sequence")
        match = NUCLEOTIDE.fullmatch(part)
        if match is not None:
            number, original, new = match.groups()
            symbol = self._symbol(new)
            if isinstance(symbol, Unusable):
                return symbol
            return [(self._symbols.get(original, original), int(number), symbol)]
        match = SAME_NUCLEOTIDES.fullmatch(part)
        if match is not None:
            return [(self._symbols.get(match[2], match[2]), int(match[1]), "")]
        match = REPLACED_NUCLEOTIDES.fullmatch(part)
        if match is not None and int(match[2] or match[1]) - int(match[1]) + 1 == len(match[3]):
            symbols = [self._symbol(symbol) for symbol in match[3]]
            changes: list[Substitution] = []
            for number, symbol in enumerate(symbols, int(match[1])):
                if isinstance(symbol, Unusable):
                    return symbol
                changes.append(("", number, symbol))
            return changes
        other = OTHER.search(part)
        if other is not None:
            return Unusable(OTHER_CHANGES[other[0]])
        raise self._unreadable(part, text)

    def _symbol(self, name: str, text: str = "") -> str | Unusable:
        """Return the symbol of the alphabet that a text names."""
        if name in self._symbols:
            return self._symbols[name]
        lower = name.lower()
        if lower in STOPS:
            return "*" if "*" in self._symbols else Unusable("stop codon")
        if lower in GAPS:
            return "-" if "-" in self._symbols else Unusable("deletion")
        if lower == "x":
            return Unusable("X, a stop codon or an unknown symbol")
        if lower in UNKNOWN or (lower == "n" and self._nucleotides):
            return Unusable("unknown symbol")
        letter = AMINO_ACIDS.get(lower, name)
        if len(letter) > 1:
            raise self._unreadable(name, text)
        return self._symbols.get(letter) or Unusable(f"the symbol {letter!r}, which is not in the alphabet")

    def _unreadable(self, part: str, text: str) -> InputError:
        of = "" if part == text else f" in {text!r}"
        what = f"{part!r}{of}" if part else f"an empty part{of}"
        forms = "c.23A>G, A23G:C45T" if self._nucleotides else "A23G, A23G:T45S, p.Ala23Gly"
        return InputError(f"{what} is not a variant; write {forms} or WT")
