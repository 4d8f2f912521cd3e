//! Backgrounds: the distribution of positions that are missing from a coalition.
//!
//! A background is a distribution of whole sequences `X`; the game of a sequence `x` is
//! `v_x(T) = E f(x_T, X_{T^c})`, with `X` independent of `x` (interventional Shapley values).

use std::fmt;

use rustfft::num_complex::Complex64;

use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::Basis;
use crate::words;

/// Tolerance: the probabilities of a position may add up to 1 with at most this error.
const SLACK: f64 = 1e-6;
/// A mean of a factor below this absolute value is a rounding error, and is set to 0.
const ROUNDING: f64 = 1e-13;

/// A distribution of background sequences.
///
/// ```
/// use shapsketch::frequency::Frequency;
/// use shapsketch::surrogate::Spectrum;
/// use shapsketch::{Background, Cancel, Components, SequenceSpace};
/// # use rustfft::num_complex::Complex64;
/// let space = SequenceSpace::new("01", 2)?;
/// // f(x) = 1 if both symbols are 1.
/// let terms = [([0, 0], 0.25), ([1, 0], -0.25), ([0, 1], -0.25), ([1, 1], 0.25)]
///     .map(|(k, value)| (Frequency::from_dense(&k), Complex64::new(value, 0.0)));
/// let terms = Spectrum::new(space.clone(), terms.to_vec())?.terms();
/// let wild_type = Background::references(&space, &[1, 0])?;
/// let components = Components::with_background(&terms, &wild_type, &Cancel::new())?;
/// assert_eq!(components.base_value(), 0.0);
/// assert_eq!(components.shapley_values(&[1, 1], &Cancel::new())?, [0.0, 1.0]);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Background {
    space: SequenceSpace,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Uniform,
    /// Probabilities `(n, q)`; 0 for letters that a position cannot have.
    Product(Vec<f64>),
    /// Codes `(R, n)`.
    References(Vec<u8>),
}

impl Background {
    /// Every sequence equally likely.
    #[must_use]
    pub fn uniform(space: &SequenceSpace) -> Self {
        Self { space: space.clone(), kind: Kind::Uniform }
    }

    /// Independent positions, with the probability of each symbol at each position; row-major `(n, q)`.
    ///
    /// # Errors
    /// If there are not `n q` numbers, one is negative or not finite, or those of a position do not add up
    /// to 1 within 1e-6. The message names the position.
    pub fn product(space: &SequenceSpace, mut probabilities: Vec<f64>) -> Result<Self> {
        let (q, n) = (space.q(), space.n());
        let bad = |expected, got| Err(Error::Parameter { name: "background", expected, got });
        if probabilities.len() != n * q {
            let got = format!("{} numbers for {n} positions and {q} symbols", probabilities.len());
            return bad("one probability for each symbol at each position", got);
        }
        for (position, row) in probabilities.chunks_exact_mut(q).enumerate() {
            if let Some((symbol, p)) = row.iter().enumerate().find(|(_, p)| !(p.is_finite() && **p >= 0.0)) {
                return bad(
                    "probabilities that are at least 0",
                    format!("{p} for symbol {symbol} at position {position}"),
                );
            }
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() > SLACK {
                return bad(
                    "probabilities that add up to 1 at each position",
                    format!("{sum} at position {position}; divide each row by its sum"),
                );
            }
            let letters = space.letters_at(position);
            if let Some(symbol) = (0..q).find(|symbol| row[*symbol] > 0.0 && letters >> symbol & 1 == 0) {
                return bad(
                    "0 for letters that a position of the space cannot have",
                    format!("{} for symbol {symbol} at position {position}", row[symbol]),
                );
            }
            row.iter_mut().for_each(|p| *p /= sum);
        }
        Ok(Self { space: space.clone(), kind: Kind::Product(probabilities) })
    }

    /// A list of equally likely sequences, row-major codes. A single sequence is a reference, such as the wild type.
    ///
    /// # Errors
    /// If the list is empty, or the codes are not sequences of the space.
    pub fn references(space: &SequenceSpace, codes: &[u8]) -> Result<Self> {
        if space.check(codes)? == 0 {
            return Err(Error::Parameter {
                name: "background",
                expected: "at least one sequence",
                got: "none".into(),
            });
        }
        Ok(Self { space: space.clone(), kind: Kind::References(codes.to_vec()) })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// Whether positions are independent: then components are orthogonal.
    #[must_use]
    pub fn is_product(&self) -> bool {
        matches!(self.kind, Kind::Uniform | Kind::Product(_))
    }

    /// Whether all symbols of the alphabet are equally likely at every position.
    pub(crate) fn is_uniform(&self) -> bool {
        matches!(self.kind, Kind::Uniform) && !self.space.has_letters()
    }

    /// The codes of the equally likely sequences that the background consists of, if it does.
    pub(crate) fn codes(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::References(codes) => Some(codes),
            _ => None,
        }
    }

    /// Number of product distributions whose mixture, with equal weights, is the background.
    pub(crate) fn parts(&self) -> usize {
        match &self.kind {
            Kind::References(codes) => codes.len() / self.space.n(),
            _ => 1,
        }
    }

    /// Whether the probability of every word is `Π_i P(x_i = a_i)`, which is false for several references.
    pub(crate) fn factorises(&self) -> bool {
        self.parts() == 1
    }

    /// The probability of each symbol at each position, `(n, q)`, if positions are independent; `None` for several
    /// references.
    #[must_use]
    pub fn probabilities(&self) -> Option<Vec<f64>> {
        let positions = 0..self.space.n() as u16;
        self.factorises().then(|| positions.flat_map(|position| self.symbols(position)).collect())
    }

    /// Probabilities of the symbols at a position.
    pub(crate) fn symbols(&self, position: u16) -> Vec<f64> {
        let q = self.space.q();
        match &self.kind {
            Kind::Uniform => {
                let letters = self.space.letters_at(position as usize);
                let chance = 1.0 / f64::from(letters.count_ones());
                (0..q).map(|symbol| if letters >> symbol & 1 == 1 { chance } else { 0.0 }).collect()
            }
            Kind::Product(probabilities) => probabilities[position as usize * q..][..q].to_vec(),
            Kind::References(_) => self.words(&[position]),
        }
    }

    /// Probabilities of the words of some positions, the first most significant.
    pub(crate) fn words(&self, positions: &[u16]) -> Vec<f64> {
        let (q, n) = (self.space.q(), self.space.n());
        if let Kind::References(codes) = &self.kind {
            let radices = words::same(q, positions.len());
            let mut chances = vec![0.0; words::count(radices.clone())];
            let weight = 1.0 / self.parts() as f64;
            for row in codes.chunks_exact(n) {
                let symbols = positions.iter().map(|&i| row[i as usize] as usize);
                chances[words::number(symbols, radices.clone())] += weight;
            }
            return chances;
        }
        let mut chances = vec![1.0];
        for &position in positions {
            let symbols = self.symbols(position);
            chances = chances.iter().flat_map(|chance| symbols.iter().map(move |p| chance * p)).collect();
        }
        chances
    }

    /// Means of the factors of a basis (row `l`, column `a`) under each product distribution of the mixture.
    pub(crate) fn means(&self, basis: &Basis, factors: &[Complex64]) -> Vec<Means> {
        let (q, n) = (self.space.q(), self.space.n());
        let mean = |chances: &[f64]| -> Vec<Complex64> {
            factors
                .chunks_exact(q)
                .map(|row| row.iter().zip(chances).map(|(factor, p)| factor * p).sum())
                .collect()
        };
        match &self.kind {
            // Means that are zero in theory must be exactly 0.
            Kind::Uniform if !self.space.has_letters() => {
                vec![Means::Same(basis.means(q).into_iter().map(Complex64::from).collect())]
            }
            Kind::Uniform | Kind::Product(_) => {
                let mut rows: Vec<Complex64> = (0..n as u16).flat_map(|i| mean(&self.symbols(i))).collect();
                rows.iter_mut()
                    .filter(|mean| mean.norm() < ROUNDING)
                    .for_each(|mean| *mean = Complex64::ZERO);
                vec![Means::Each { labels: factors.len() / q, values: rows }]
            }
            Kind::References(codes) => {
                codes.chunks_exact(n).map(|row| Means::Reference { q, row: row.to_vec() }).collect()
            }
        }
    }
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Uniform => write!(f, "uniform"),
            Kind::Product(_) => write!(f, "product distribution"),
            Kind::References(codes) if codes.len() == self.space.n() => {
                let reference = self.space.decode(codes).unwrap_or_default().concat();
                write!(f, "reference {reference}")
            }
            Kind::References(_) => write!(f, "{} sequences", self.parts()),
        }
    }
}

/// Means `u_i(l) = E g(l, X_i)` of factors under one product distribution.
#[derive(Clone, Debug)]
pub(crate) enum Means {
    /// The same at every position.
    Same(Vec<Complex64>),
    /// Row `i` for position `i`.
    Each { labels: usize, values: Vec<Complex64> },
    /// Factors at the symbols of one sequence.
    Reference { q: usize, row: Vec<u8> },
}

impl Means {
    /// `u_i(l)`. `factors` are the factors from which these means were computed.
    pub(crate) fn of(&self, factors: &[Complex64], position: u16, label: u16) -> Complex64 {
        let (position, label) = (position as usize, label as usize);
        match self {
            Self::Same(means) => means[label],
            Self::Each { labels, values } => values[position * labels + label],
            Self::Reference { q, row } => factors[label * q + row[position] as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bad_backgrounds_are_refused() {
        let space = SequenceSpace::of_size(2, 2).unwrap();
        let message = |result: Result<Background>| result.unwrap_err().to_string();
        let product = |p: &[f64]| message(Background::product(&space, p.to_vec()));
        assert!(product(&[0.5; 3]).contains("got 3"));
        assert!(product(&[0.5, 0.5, 1.5, -0.5]).contains("-0.5 for symbol 1 at position 1"));
        assert!(product(&[0.5, 0.5, 0.5, f64::NAN]).contains("NaN for symbol 1 at position 1"));
        assert!(product(&[0.5, 0.5, 0.5, 0.4]).contains("0.9 at position 1"));
        assert!(message(Background::references(&space, &[])).contains("at least one sequence"));
        assert!(message(Background::references(&space, &[0, 2])).contains("code 2"));
    }

    #[test]
    fn means_of_a_product_that_is_uniform_vanish() {
        for q in [3, 6, 20] {
            let space = SequenceSpace::of_size(q, 2).unwrap();
            let product = Background::product(&space, vec![1.0 / q as f64; 2 * q]).unwrap();
            for basis in [Basis::Characters, Basis::Letters] {
                let factors = basis.factors(q);
                let (same, uniform) = (&product.means(&basis, &factors)[0], &basis.means(q));
                for (label, &mean) in uniform.iter().enumerate() {
                    let mean_of_product = same.of(&factors, 1, label as u16);
                    assert_eq!(
                        mean_of_product == Complex64::ZERO,
                        mean == 0.0,
                        "q = {q}, label {label}: {mean_of_product}"
                    );
                }
            }
        }
    }

    #[test]
    fn words_of_references_are_counted() {
        let space = SequenceSpace::of_size(2, 3).unwrap();
        let list = Background::references(&space, &[0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1]).unwrap();
        assert_eq!(list.words(&[0, 2]), [0.25, 0.5, 0.25, 0.0]);
        assert_eq!(list.symbols(1), [0.5, 0.5]);
        let product = Background::product(&space, vec![0.25, 0.75, 1.0, 0.0, 0.5, 0.5]).unwrap();
        assert_eq!(product.words(&[0, 2]), [0.125, 0.125, 0.375, 0.375]);
    }
}
