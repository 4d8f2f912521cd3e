//! The real orthonormal basis of characters that the solver works in.
//!
//! A support of order `d` has `(q-1)^d` atoms, one for each tuple of labels from 1 to `q-1`: of a pair
//! `k, -k` the one that comes first stands for `√2 cos(2π<k,x>/q)`, the other for `√2 sin(2π<k,x>/q)` with
//! the same `k`; a tuple that is its own negative stands for the real character itself. All have mean
//! square 1 over uniform sequences.

use std::f64::consts::SQRT_2;

use rustfft::num_complex::Complex64;

use super::operator::{cell, word};
use crate::frequency::Frequency;

/// What a cell stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wave {
    /// Its labels are their own negatives.
    Real,
    /// `√2 cos`.
    Cosine,
    /// `√2 sin`.
    Sine,
}

impl Wave {
    /// The atom's value where the character is `χ`.
    pub(crate) fn value(self, character: Complex64) -> f64 {
        match self {
            Self::Real => character.re,
            Self::Cosine => SQRT_2 * character.re,
            Self::Sine => SQRT_2 * character.im,
        }
    }

    /// The coefficient of `k` in `β` times the atom; that of `-k` is its conjugate.
    pub(crate) fn coefficient(self, beta: f64) -> Complex64 {
        match self {
            Self::Real => Complex64::new(beta, 0.0),
            Self::Cosine => Complex64::new(beta / SQRT_2, 0.0),
            Self::Sine => Complex64::new(0.0, -beta / SQRT_2),
        }
    }
}

/// The labels of the frequency behind a cell, and which wave of it is meant.
pub(crate) fn wave(index: u32, q: usize, order: usize) -> (Vec<u8>, Wave) {
    let labels: Vec<u8> = word(index, q - 1, order).into_iter().map(|l| l + 1).collect();
    let negated: Vec<u8> = labels.iter().map(|&l| (q - l as usize) as u8).collect();
    match labels.cmp(&negated) {
        std::cmp::Ordering::Less => (labels, Wave::Cosine),
        std::cmp::Ordering::Equal => (labels, Wave::Real),
        std::cmp::Ordering::Greater => (negated, Wave::Sine),
    }
}

/// The cells of a frequency's waves: that of the frequency itself, and of its negative.
pub(crate) fn cells(labels: &[u8], q: usize) -> (usize, usize) {
    let of = |labels: &mut dyn Iterator<Item = u8>| cell(&labels.map(|l| l - 1).collect::<Vec<_>>(), q - 1);
    (of(&mut labels.iter().copied()), of(&mut labels.iter().map(|&l| (q - l as usize) as u8)))
}

/// The frequency with these labels on a support.
pub(crate) fn frequency(support: &[u16], labels: &[u8]) -> Frequency {
    support.iter().copied().zip(labels.iter().copied()).collect()
}
