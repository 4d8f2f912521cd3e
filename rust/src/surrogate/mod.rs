//! Surrogates: closed forms that stand in for the model.
//!
//! A surrogate is a sum of product terms, `f̂(x) = c_0 + Re Σ_t c_t Π_{i∈S_t} g(l_{t,i}, x_i)`. The
//! factor `g(l, a)` of label `l` at letter `a` is that of a [`Basis`]. Prediction, components and
//! Shapley values are computed from [`ProductTerms`] alone; nothing there knows which kind of
//! surrogate the terms came from, or how it was found.

mod spectrum;

use rustfft::num_complex::Complex64;

pub use spectrum::{Spectrum, Truncation};

use crate::error::{Error, Result};
use crate::space::{SequenceSpace, roots_of_unity};

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
}

impl Surrogate {
    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        match self {
            Self::Spectrum(spectrum) => spectrum.space(),
        }
    }

    /// Number of terms, the constant included.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Spectrum(spectrum) => spectrum.len(),
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
        }
    }

    /// The surrogate as a spectrum.
    #[must_use]
    pub fn spectrum(&self) -> &Spectrum {
        match self {
            Self::Spectrum(spectrum) => spectrum,
        }
    }
}
