//! Surrogates: closed forms that stand in for the model.
//!
//! A surrogate is a sum of product terms, `f̂(x) = c_0 + Re Σ_t c_t Π_{i∈S_t} g(l_{t,i}, x_i)`. The
//! factor `g(l, a)` of label `l` at letter `a` is that of a [`Basis`]. Prediction, components and
//! Shapley values are computed from [`ProductTerms`] alone; nothing there knows which kind of
//! surrogate the terms came from, or how it was found.

mod spectrum;
mod uncertainty;

use std::borrow::Cow;

use rustfft::num_complex::Complex64;

pub use spectrum::{Spectrum, Truncation};
pub use uncertainty::Uncertainty;

pub(crate) use uncertainty::shapley_of_pattern;

use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::space::{SequenceSpace, roots_of_unity};

/// Most coefficients of a spectrum that is expanded from other terms.
const MAX_COEFFICIENTS: u128 = 1 << 24;

/// The factors a product term is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// `g(l, a) = ω^{l a}`, of mean zero for `l ≠ 0`: the terms of a [`Spectrum`].
    Characters,
    /// `g(l, a) = 1[a = l]`, of mean `1/q`: letter patterns.
    Letters,
}

impl Basis {
    /// `g(l, a)` for all labels and letters, row `l`.
    pub(crate) fn factors(self, q: usize) -> Vec<Complex64> {
        let roots = roots_of_unity(q);
        (0..q * q)
            .map(|i| match self {
                Self::Characters => roots[(i / q) * (i % q) % q],
                Self::Letters => Complex64::new(f64::from(u8::from(i / q == i % q)), 0.0),
            })
            .collect()
    }

    /// `E g(l, A)` over a uniform letter, for each label.
    pub(crate) fn means(self, q: usize) -> Vec<f64> {
        (0..q)
            .map(|label| match self {
                Self::Characters => f64::from(u8::from(label == 0)),
                Self::Letters => 1.0 / q as f64,
            })
            .collect()
    }
}

/// The terms of one support.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SupportTerms {
    /// Positions, ascending.
    pub support: Vec<u16>,
    /// Labels, row-major: one row of `support.len()` for each term.
    pub labels: Vec<u8>,
    /// Coefficients `c_t`.
    pub coefficients: Vec<Complex64>,
}

/// A sum of product terms over one basis, grouped by support; no support stands twice.
#[derive(Clone, Debug)]
pub struct ProductTerms {
    /// The sequence space.
    pub space: SequenceSpace,
    /// The factors.
    pub basis: Basis,
    /// The constant term `c_0`.
    pub constant: f64,
    /// The other terms.
    pub supports: Vec<SupportTerms>,
}

impl ProductTerms {
    /// Number of terms, the constant included unless it is zero.
    #[must_use]
    pub fn len(&self) -> usize {
        let constant = usize::from(self.constant != 0.0);
        constant + self.supports.iter().map(|group| group.coefficients.len()).sum::<usize>()
    }

    /// Whether there are no terms: the function is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The real part of the function as a spectrum.
    ///
    /// # Errors
    /// If a term is not one of the space, or the terms stand for more than 2^24 coefficients.
    pub fn spectrum(&self) -> Result<Spectrum> {
        self.check()?;
        let q = self.space.q();
        let roots = roots_of_unity(q);
        let mut sizes = 0_u128;
        for group in &self.supports {
            let words = (q as u128).saturating_pow(group.support.len() as u32);
            sizes = sizes.saturating_add(match self.basis {
                Basis::Characters => group.coefficients.len() as u128,
                Basis::Letters => words,
            });
        }
        if sizes > MAX_COEFFICIENTS {
            return Err(Error::TooLarge {
                what: "the spectrum of these terms",
                bytes: sizes.saturating_mul(64),
                advice: "work with the terms themselves, or fit lower orders",
            });
        }
        let mut all: Vec<(Frequency, Complex64)> = vec![(Frequency::default(), self.constant.into())];
        for SupportTerms { support, labels, coefficients } in &self.supports {
            let order = support.len();
            let frequency = |labels: &[u8]| -> Frequency {
                support.iter().copied().zip(labels.iter().copied()).filter(|&(_, l)| l != 0).collect()
            };
            if self.basis == Basis::Characters {
                all.extend(labels.chunks_exact(order).map(frequency).zip(coefficients.iter().copied()));
                continue;
            }
            // The table of the support, and its transform axis by axis.
            let size = q.pow(order as u32);
            let mut table = vec![Complex64::ZERO; size];
            for (letters, coefficient) in labels.chunks_exact(order).zip(coefficients) {
                table[letters.iter().fold(0, |at, &letter| at * q + letter as usize)] += coefficient;
            }
            for _ in 0..order {
                let rest = size / q;
                let mut next = vec![Complex64::ZERO; size];
                for (letter, row) in table.chunks_exact(rest).enumerate() {
                    for (at, &value) in row.iter().enumerate().filter(|(_, value)| **value != Complex64::ZERO)
                    {
                        for (label, out) in next[at * q..(at + 1) * q].iter_mut().enumerate() {
                            *out += value * roots[letter * label % q].conj() / q as f64;
                        }
                    }
                }
                table = next;
            }
            for (at, value) in table.into_iter().enumerate() {
                let dense: Vec<u8> =
                    (0..order).map(|i| (at / q.pow((order - 1 - i) as u32) % q) as u8).collect();
                all.push((frequency(&dense), value));
            }
        }
        Spectrum::real_part(self.space.clone(), all)
    }

    /// # Errors
    /// If a term is not one of this space, or a number is not finite.
    pub(crate) fn check(&self) -> Result<()> {
        let (q, n) = (self.space.q(), self.space.n());
        let bad = |expected, got| Err(Error::Parameter { name: "product terms", expected, got });
        if !self.constant.is_finite() {
            return bad("finite", format!("the constant {}", self.constant));
        }
        for (index, group) in self.supports.iter().enumerate() {
            let SupportTerms { support, labels, coefficients } = group;
            if !support.is_sorted_by(|a, b| a < b) || support.last().is_none_or(|&last| last as usize >= n) {
                return bad("on ascending positions of the space", format!("support {index}: {support:?}"));
            }
            if labels.len() != support.len() * coefficients.len() || labels.iter().any(|&l| l as usize >= q) {
                return bad(
                    "given by one label below q at each position",
                    format!("support {index}: {labels:?}"),
                );
            }
            if let Some(value) = coefficients.iter().find(|value| !value.is_finite()) {
                return bad("finite", format!("support {index}: {value}"));
            }
        }
        Ok(())
    }
}

/// Any kind of surrogate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Surrogate {
    /// A sparse q-ary Fourier spectrum.
    Spectrum(Spectrum),
    /// A sum of letter patterns: motifs at their places.
    Patterns(ProductTerms),
}

impl Surrogate {
    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        match self {
            Self::Spectrum(spectrum) => spectrum.space(),
            Self::Patterns(terms) => &terms.space,
        }
    }

    /// Number of terms, the constant included.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Spectrum(spectrum) => spectrum.len(),
            Self::Patterns(terms) => terms.len(),
        }
    }

    /// Whether there are no terms: the surrogate is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The surrogate as a sum of product terms.
    #[must_use]
    pub fn terms(&self) -> ProductTerms {
        match self {
            Self::Spectrum(spectrum) => spectrum.terms(),
            Self::Patterns(terms) => terms.clone(),
        }
    }

    /// The surrogate as a spectrum: the same function.
    ///
    /// # Errors
    /// If patterns stand for more coefficients than fit into memory.
    pub fn spectrum(&self) -> Result<Cow<'_, Spectrum>> {
        match self {
            Self::Spectrum(spectrum) => Ok(Cow::Borrowed(spectrum)),
            Self::Patterns(terms) => terms.spectrum().map(Cow::Owned),
        }
    }
}
