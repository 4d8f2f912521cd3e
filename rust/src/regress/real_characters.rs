//! The real orthonormal basis of characters that the solver works in.
//!
//! A support of order `d` has `(q-1)^d` atoms, one for each tuple of labels from 1 to `q-1`. In a pair `k, -k`, the
//! lexicographically smaller tuple represents `√2 cos(2π<k,x>/q)`, and the larger tuple represents
//! `√2 sin(2π<k,x>/q)` with the smaller `k`. A tuple with `k = -k` represents the real character itself. All atoms
//! have mean square 1 over uniform sequences.

use std::f64::consts::SQRT_2;

use rustfft::num_complex::Complex64;

use super::operator::{cell, digits};
use crate::frequency::Frequency;

/// Which real function of a character an atom is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wave {
    /// The character itself, which is real: `k = -k`.
    Real,
    /// `√2` times its real part.
    Cosine,
    /// `√2` times its imaginary part.
    Sine,
}

impl Wave {
    /// The atom's value, from the value of the character.
    pub(crate) fn value(self, character: Complex64) -> f64 {
        match self {
            Self::Real => character.re,
            Self::Cosine => SQRT_2 * character.re,
            Self::Sine => SQRT_2 * character.im,
        }
    }

    /// The Fourier coefficient of `k` in `β` times the atom; the coefficient of `-k` is its conjugate.
    pub(crate) fn coefficient(self, beta: f64) -> Complex64 {
        match self {
            Self::Real => Complex64::new(beta, 0.0),
            Self::Cosine => Complex64::new(beta / SQRT_2, 0.0),
            Self::Sine => Complex64::new(0.0, -beta / SQRT_2),
        }
    }
}

/// The labels of the frequency of a cell, and which function of its character the cell represents.
pub(crate) fn wave(cell: u32, q: usize, order: usize) -> (Vec<u8>, Wave) {
    let labels: Vec<u8> = digits(cell, q - 1, order).into_iter().map(|digit| digit + 1).collect();
    let negated: Vec<u8> = labels.iter().map(|&label| (q - label as usize) as u8).collect();
    match labels.cmp(&negated) {
        std::cmp::Ordering::Less => (labels, Wave::Cosine),
        std::cmp::Ordering::Equal => (labels, Wave::Real),
        std::cmp::Ordering::Greater => (negated, Wave::Sine),
    }
}

/// The cells of a frequency and of its negative.
pub(crate) fn cells(labels: &[u8], q: usize) -> (usize, usize) {
    let of = |labels: &mut dyn Iterator<Item = u8>| {
        cell(&labels.map(|label| label - 1).collect::<Vec<_>>(), q - 1)
    };
    (of(&mut labels.iter().copied()), of(&mut labels.iter().map(|&label| (q - label as usize) as u8)))
}

/// The frequency with these labels on a support.
pub(crate) fn frequency(support: &[u16], labels: &[u8]) -> Frequency {
    support.iter().copied().zip(labels.iter().copied()).collect()
}
