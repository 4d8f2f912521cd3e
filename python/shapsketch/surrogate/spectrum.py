"""Spectra: sparse q-ary Fourier transforms of real functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from shapsketch import _core
from shapsketch._validate import array_of, boolean, integer, lazy_property, number, refuse_frame
from shapsketch.errors import InputError
from shapsketch.space import Codes, Sequences, SequenceSpace, space_of

# Magnitudes of coefficients whose squares, and sums of squares, neither overflow nor underflow.
MAGNITUDES = (1e-120, 1e120)


class Spectrum:
    """The nonzero coefficients of a function ``f(x) = sum_k F[k] w**<k, x>``, ``w = exp(2 pi i / q)``.

    Real functions have ``F[-k] = conj(F[k])``; both coefficients of a pair are listed. Terms are sorted by
    order (number of nonzero entries of ``k``), support, and entries. Coefficients of repeated frequencies are
    added. A spectrum is immutable.

    If positions have letters of their own, position ``i`` has the characters of its ``q_i`` letters: terms
    are ``F[k] prod_i exp(2 pi i k_i x_i / q_i)``, where ``x_i`` is the number of a letter among those of its
    position, from 0, in the order of the alphabet.

    Parameters
    ----------
    space : SequenceSpace
    frequencies : integer array, shape (s, n), values 0 to q - 1
        In column ``i`` up to ``q_i - 1``, if positions have letters of their own.
    coefficients : complex array, shape (s,), with magnitudes of 0 or from 1e-120 to 1e120
    real_part : bool
        Use the real part of a function that is not real; by default such a function is an error.

    Raises
    ------
    InputError
        If shapes or values are wrong, or the function is not real.

    Examples
    --------
    >>> import shapsketch as ss
    >>> space = ss.SequenceSpace("01", length=2)
    >>> spectrum = ss.Spectrum(space, [[0, 0], [1, 1]], [0.5, -0.5])
    >>> spectrum.predict(["00", "01"])
    array([0., 1.])
    """

    def __init__(
        self,
        space: SequenceSpace,
        frequencies: npt.ArrayLike,
        coefficients: npt.ArrayLike,
        *,
        real_part: bool = False,
    ) -> None:
        space_of(space)
        values: npt.NDArray[Any] = array_of("coefficients", coefficients)
        refuse_frame("frequencies", frequencies)
        rows: npt.NDArray[Any] = array_of("frequencies", frequencies)
        if values.ndim != 1 or values.dtype.kind not in "fiubc":
            raise InputError(f"coefficients must be numbers of shape (s,), got {values.dtype} {values.shape}")
        if rows.size == 0 and len(values) == 0:
            rows = np.zeros((0, space.n), dtype=np.uint8)
        else:
            rows = _checked_frequencies(rows, space)
        if len(rows) != len(values):
            raise InputError(f"{len(rows)} frequencies but {len(values)} coefficients")
        _check_magnitudes(values)
        self._start = space.start
        self._core = _core.Spectrum(
            space._core, rows, values.astype(np.complex128), boolean("real_part", real_part)
        )

    @classmethod
    def _wrap(cls, core: _core.Spectrum, start: int = 0) -> Spectrum:
        spectrum = cls.__new__(cls)
        spectrum._core, spectrum._start = core, start
        return spectrum

    @lazy_property
    def space(self) -> SequenceSpace:
        """The sequence space."""
        return SequenceSpace._wrap(self._core.space, self._start)

    @lazy_property
    def _terms(self) -> tuple[Codes, npt.NDArray[np.complex128]]:
        frequencies, coefficients = self._core.terms()
        frequencies.setflags(write=False)
        coefficients.setflags(write=False)
        return frequencies, coefficients

    @lazy_property
    def _components(self) -> _core.Components:
        return _core.Components(_core.Sketch(self._core))

    @property
    def frequencies(self) -> Codes:
        """Frequencies ``k``, uint8 (s, n), read-only."""
        return self._terms[0]

    @property
    def coefficients(self) -> npt.NDArray[np.complex128]:
        """Coefficients ``F[k]``, complex128 (s,), read-only."""
        return self._terms[1]

    def order_energy(self) -> npt.NDArray[np.float64]:
        """Return ``sum |F[k]|**2`` over the ``k`` of order 0, 1, 2 and so on.

        The values from order 1 add up to the variance of the function over uniform sequences.
        """
        return self._core.order_energy()

    def truncate(
        self, *, max_terms: int | None = None, max_order: int | None = None, energy: float | None = None
    ) -> Spectrum:
        """Return a spectrum with fewer coefficients; conjugate pairs stay together.

        Parameters
        ----------
        max_terms : int, optional
            Keep at most this many coefficients, the largest ones; the constant counts as one.
        max_order : int, optional
            Keep orders up to this one.
        energy : float, optional
            Keep the smallest number of coefficients that have this fraction (0 to 1) of the variance.

        Raises
        ------
        InputError
            If a parameter is out of range.
        """
        return Spectrum._wrap(
            self._core.truncate(
                None if max_terms is None else integer("max_terms", max_terms, least=0),
                None if max_order is None else integer("max_order", max_order, least=0),
                None if energy is None else number("energy", energy),
            ),
            self._start,
        )

    def predict(self, sequences: Sequences) -> npt.NDArray[np.float64]:
        """Return the values (B,) of the function for sequences (strings, or codes (B, n))."""
        return self._components.predict(self.space.encode(sequences))

    def __len__(self) -> int:
        return len(self._core)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spectrum) and self._core == other._core

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., Spectrum], tuple[bytes, int]]:
        return _unpickled, (_core.Sketch(self._core).to_bytes(), self._start)

    def __repr__(self) -> str:
        return f"Spectrum({self.space!r}, {len(self)} coefficients)"


def _checked_frequencies(rows: npt.NDArray[Any], space: SequenceSpace) -> Codes:
    """Return frequencies (s, n) of a space as uint8.

    Raises
    ------
    InputError
        If the dtype, the shape or an entry is wrong.
    """
    if rows.dtype.kind not in "iu":
        raise InputError(f"frequencies must be an integer array, got dtype {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] != space.n:
        raise InputError(f"frequencies must have shape (s, {space.n}), got {rows.shape}")
    sizes = np.array([len(own) for own in space.letters])
    wrong = np.argwhere((rows < 0) | (rows >= sizes))
    if len(wrong):
        index, position = (int(i) for i in wrong[0])
        size = int(sizes[position])
        raise InputError(
            f"frequency {index}: the entry {rows[index, position]} at position {position + space.start} is "
            f"out of range, entries must be 0 to {size - 1} (take it modulo {size})",
            index=index,
            position=position,
        )
    return np.ascontiguousarray(rows, dtype=np.uint8)


def _check_magnitudes(coefficients: npt.NDArray[Any]) -> None:
    """Refuse coefficients whose squares overflow or underflow; the core refuses those that are not finite.

    Raises
    ------
    InputError
    """
    least, most = MAGNITUDES
    with np.errstate(over="ignore"):
        sizes = np.abs(coefficients.astype(np.complex128))
    wrong = np.flatnonzero(np.isfinite(coefficients) & (sizes > 0) & ((sizes < least) | (sizes > most)))
    if len(wrong):
        index = int(wrong[0])
        raise InputError(
            f"the coefficient {coefficients[index]} of frequency {index} has a magnitude outside {least:g} "
            f"to {most:g}, whose square overflows or underflows; rescale the function, or set it to 0 if it "
            "is negligible",
            index=index,
        )


def _unpickled(file: bytes, start: int = 0) -> Spectrum:
    return Spectrum._wrap(_core.Sketch.from_bytes(file).spectrum(), start)
