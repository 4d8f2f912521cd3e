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
use crate::space::SequenceSpace;
use crate::words;

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

/// For each position of a support, the mean over uniform sequences of the squared Shapley value of an atom.
///
/// With the same letters at every position, an atom is one component: its values are a fraction `1/d` of it. Letters of some
/// positions only give the factors `g_i` of its character means `u_i`. Its components are then `Re(c Π_{i∈T} (g_i - u_i)
/// Π_{i∉T} u_i)` for all subsets `T` of the support; they are uncorrelated, and `E (Re z)² = (E |z|² + Re E z²) / 2`.
pub(super) fn mean_squares(space: &SequenceSpace, support: &[u16], cell: u32) -> Vec<f64> {
    let (q, order) = (space.q(), support.len());
    if !space.has_letters() {
        return vec![1.0 / (order * order) as f64; order];
    }
    let (labels, wave) = wave(cell, q, order);
    // The mean of a factor, and the means of the squared magnitude and of the square of its deviations.
    let moments: Vec<(Complex64, f64, Complex64)> = support
        .iter()
        .zip(labels)
        .map(|(&i, label)| {
            let turn = std::f64::consts::TAU * f64::from(label) / q as f64;
            let factors: Vec<Complex64> =
                space.codes_at(i as usize).map(|code| Complex64::cis(turn * code as f64)).collect();
            let count = factors.len() as f64;
            let mean = factors.iter().sum::<Complex64>() / count;
            let deviations = || factors.iter().map(|factor| factor - mean);
            let magnitude = deviations().map(|z| z.norm_sqr()).sum::<f64>() / count;
            (mean, magnitude, deviations().map(|z| z * z).sum::<Complex64>() / count)
        })
        .collect();
    let factor = match wave {
        Wave::Real => Complex64::ONE,
        Wave::Cosine => SQRT_2.into(),
        Wave::Sine => Complex64::new(0.0, -SQRT_2),
    };
    let mut squares = vec![0.0; order];
    for subset in 1..words::count(words::same(2, order)) {
        let (mut magnitude, mut square) = (factor.norm_sqr(), factor * factor);
        for (bit, &(mean, of_magnitude, of_square)) in moments.iter().enumerate() {
            let inside = subset >> bit & 1 == 1;
            magnitude *= if inside { of_magnitude } else { mean.norm_sqr() };
            square *= if inside { of_square } else { mean * mean };
        }
        let value = (magnitude + square.re) / 2.0 / f64::from(subset.count_ones().pow(2));
        (0..order).filter(|bit| subset >> bit & 1 == 1).for_each(|bit| squares[bit] += value);
    }
    squares
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn mean_squares_are_those_of_all_sequences(
            sets in proptest::collection::vec(1_u8..16, 1..5), number: u32,
        ) {
            let letters: Vec<String> = sets
                .iter()
                .map(|set| "ACGT".chars().enumerate().filter(|(code, _)| set >> code & 1 == 1).map(|(_, a)| a).collect())
                .collect();
            let Ok(space) = SequenceSpace::with_letters(&letters) else { return Ok(()) };
            let (q, n) = (space.q(), space.n());
            let support: Vec<u16> = (0..n as u16).collect();
            let cell = number % ((q - 1) as u32).pow(n as u32);
            let (labels, wave) = wave(cell, q, n);
            let mut rows = vec![vec![0_u8; n]; space.size().unwrap() as usize];
            rows.iter_mut().enumerate().for_each(|(number, row)| space.write_sequence(number, row));
            let atom = |row: &[u8]| {
                let product: usize = row.iter().zip(&labels).map(|(&code, &l)| usize::from(code) * usize::from(l)).sum();
                wave.value(Complex64::cis(std::f64::consts::TAU * product as f64 / q as f64))
            };
            // The game of a sequence by the definition.
            let game = |row: &[u8], coalition: usize| {
                let mixed = rows.iter().map(|other| {
                    atom(&(0..n).map(|i| if coalition >> i & 1 == 1 { row[i] } else { other[i] }).collect::<Vec<_>>())
                });
                mixed.sum::<f64>() / rows.len() as f64
            };
            let mut slow = vec![0.0; n];
            for row in &rows {
                let values: Vec<f64> = (0..1_usize << n).map(|coalition| game(row, coalition)).collect();
                for (i, sum) in slow.iter_mut().enumerate() {
                    let others = (0..1_usize << n).filter(|coalition| coalition >> i & 1 == 0);
                    let value: f64 = others
                        .map(|coalition| {
                            let size = coalition.count_ones() as usize;
                            let weight = 1.0 / (n as f64 * words::binomial(n - 1, size));
                            weight * (values[coalition | 1 << i] - values[coalition])
                        })
                        .sum();
                    *sum += value * value / rows.len() as f64;
                }
            }
            for (fast, slow) in mean_squares(&space, &support, cell).iter().zip(slow) {
                prop_assert!((fast - slow).abs() < 1e-12, "{fast} for {slow}");
            }
        }
    }
}
