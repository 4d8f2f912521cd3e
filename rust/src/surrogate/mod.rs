//! Surrogates: closed forms that approximate the model.
//!
//! A surrogate is a sum of product terms, `f̂(x) = c_0 + Re Σ_t c_t Π_{i∈S_t} g(l_{t,i}, x_i)`. The factor `g(l, a)` of
//! label `l` at symbol `a` belongs to a [`Basis`]. Terms with [`Run`]s, whose factors are tables over related positions,
//! can be added. Prediction, components and Shapley values are computed from [`ProductTerms`] alone; they do not depend
//! on the kind of surrogate or on how it was fitted.

mod by_position;
mod centred;
mod exact;
mod relation;
mod runs;
mod spectrum;
mod terms;
mod truncation;
mod uncertainty;

use std::borrow::Cow;

pub use relation::Relation;
pub use runs::{Run, RunTerm, RunTerms};
pub use spectrum::Spectrum;
pub use terms::{Basis, ProductTerms, SupportTerms};
pub use truncation::{Keep, Truncation};
pub use uncertainty::Uncertainty;

pub(crate) use centred::CentredSum;
pub(crate) use runs::RunBlock;
pub(crate) use terms::table;
pub(crate) use uncertainty::{shapley_of_pattern, shapley_of_sizes};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// A surrogate of any kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Surrogate {
    /// A sparse q-ary Fourier spectrum.
    Spectrum(Spectrum),
    /// A sum of letter patterns, of centred indicators or of leaves of trees, and of terms with runs.
    Terms(ProductTerms),
}

impl Surrogate {
    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        match self {
            Self::Spectrum(spectrum) => spectrum.space(),
            Self::Terms(terms) => &terms.space,
        }
    }

    /// The sum of terms with runs.
    #[must_use]
    pub fn of_runs(space: SequenceSpace, runs: RunTerms) -> Self {
        Self::Terms(ProductTerms { space, basis: Basis::Letters, constant: 0.0, supports: Vec::new(), runs })
    }

    /// Number of terms, the constant included.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Spectrum(spectrum) => spectrum.len(),
            Self::Terms(terms) => terms.len(),
        }
    }

    /// Whether there are no terms: the surrogate is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The surrogate plus a constant.
    #[must_use]
    pub(crate) fn shifted(self, constant: f64) -> Self {
        match self {
            Self::Spectrum(spectrum) => Self::Spectrum(spectrum.shifted(constant)),
            Self::Terms(terms) => Self::Terms(ProductTerms { constant: terms.constant + constant, ..terms }),
        }
    }

    /// The function multiplied by a number.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Spectrum(spectrum) => Self::Spectrum(spectrum.scaled(factor)),
            Self::Terms(terms) => Self::Terms(terms.scaled(factor)),
        }
    }

    /// The surrogate as a sum of product terms.
    #[must_use]
    pub fn terms(&self) -> ProductTerms {
        match self {
            Self::Spectrum(spectrum) => spectrum.terms(),
            Self::Terms(terms) => terms.clone(),
        }
    }

    /// A weighted sum of surrogates and a constant, in centred indicators and terms with runs.
    ///
    /// # Errors
    /// If they have different spaces, one is a spectrum of high order, the components would take too much
    /// memory, or the caller cancels.
    pub fn combine(parts: &[(&Self, f64)], constant: f64, keep: Keep, cancel: &Cancel) -> Result<Self> {
        let Some((first, _)) = parts.first() else {
            return Err(Error::Parameter { name: "parts", expected: "at least one", got: "none".into() });
        };
        let mut sum = CentredSum::new(first.space().clone());
        for (part, weight) in parts {
            first.space().check_same(part.space())?;
            sum.add_components(part, *weight, cancel)?;
        }
        sum.add(&[], constant)?;
        sum.keep(keep);
        Ok(Self::Terms(sum.into_terms()))
    }

    /// The surrogate as a spectrum: the same function.
    ///
    /// # Errors
    /// If the spectrum has more coefficients than fit into memory.
    pub fn spectrum(&self) -> Result<Cow<'_, Spectrum>> {
        match self {
            Self::Spectrum(spectrum) => Ok(Cow::Borrowed(spectrum)),
            Self::Terms(terms) => terms.spectrum().map(Cow::Owned),
        }
    }
}
