//! The peeling decoder: a sparse spectrum from the bins of a query design.
//!
//! Each bin is a sum `U_{c,p}[j] = Σ_{k: M_c^T k = j} F[k] ω^{<d_{c,p},k>}`. Bins with one coefficient (singletons)
//! are decoded, and their coefficients are subtracted from the bins of all groups. This is repeated until no
//! singleton is left (Erginbas et al., arXiv 2301.06200, algorithm 1). Beyond the paper:
//!
//! - the noise level is estimated from the bins, and again as bins become empty;
//! - the model is real, so `k` and `-k` are peeled together, and bins with `j = -j` are decoded as such pairs;
//! - a coefficient that is not far above the noise is peeled only if the other groups confirm it: the
//!   projection of the bins on its signature, averaged over groups, must be at least halfway between the
//!   value expected by chance and the coefficient;
//! - with noise, all coefficients are refitted on all bins at the end, those within the noise are dropped,
//!   and coefficients that the refit reveals are peeled. Without noise singletons are exact, and a refit
//!   would only distribute the unexplained residual over them.

mod bins;
mod exact;
mod peeler;
mod refit;
mod singleton;

pub(crate) use bins::Bins;
use peeler::Peeler;

use crate::cancel::Cancel;
use crate::design::{DelayFamily, DesignConfig, Observations, QueryDesign};
use crate::error::{Error, Result};
use crate::surrogate::Spectrum;

/// Bin energies up to this fraction of the variance of the values are rounding errors.
const FLOOR: f64 = 1e-24;

/// Settings of the decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeelingDecoder {
    /// Standard deviation of the noise of one value, in the units of the model; estimated if `None`.
    pub noise: Option<f64>,
    /// Whether to refit the coefficients on all bins; `false` gives the algorithm of the paper.
    pub refit: bool,
    /// Largest number of rounds of peeling.
    pub max_rounds: usize,
}

impl Default for PeelingDecoder {
    fn default() -> Self {
        Self { noise: None, refit: true, max_rounds: 1000 }
    }
}

/// Why the decoder stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeelingStatus {
    /// All bins are explained to within the noise.
    Converged,
    /// Some bins are above the noise, but none of them is a singleton.
    Stalled,
    /// The largest number of rounds was reached.
    RoundLimit,
}

impl PeelingStatus {
    /// The name used in files and in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Stalled => "stalled",
            Self::RoundLimit => "round limit",
        }
    }
}

/// A decoded spectrum, and the outcome of the decoding.
#[derive(Clone, Debug)]
pub struct Peeling {
    /// The decoded coefficients.
    pub spectrum: Spectrum,
    /// Why the decoder stopped.
    pub status: PeelingStatus,
    /// Fraction of the variance of the design's values that the spectrum does not explain (0 to 1; 0 for
    /// constant values). The coefficients were chosen on these values, so use other values to assess the
    /// spectrum.
    pub unexplained: f64,
    /// Standard deviation of the noise of one value, as assumed by the last bin tests.
    pub noise: f64,
    /// Number of rounds of peeling.
    pub rounds: usize,
    /// Number of bins of all groups whose energy is above the noise at the end.
    pub open_bins: usize,
}

impl PeelingDecoder {
    /// Decodes a spectrum. It copies the values; see [`Self::decode_owned`].
    ///
    /// # Errors
    /// If frequencies cannot be read from the design's delays, a parameter is out of range, or the caller
    /// cancels.
    pub fn decode(&self, observations: &Observations, cancel: &Cancel) -> Result<Peeling> {
        self.check(observations.design())?;
        self.decode_owned(observations.clone(), cancel)
    }

    /// Decodes a spectrum in the memory of the values: 8 bytes for each query in all, and a few blocks.
    ///
    /// # Errors
    /// As for [`Self::decode`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use shapsketch::design::{DelayFamily, DesignConfig, Observations, QueryDesign, SubsamplingFamily};
    /// use shapsketch::{Cancel, SequenceSpace, peel::PeelingDecoder};
    /// let delays = DelayFamily::Identity;
    /// let config = DesignConfig { b: 3, groups: 3, subsampling: SubsamplingFamily::Random, delays, seed: 0 };
    /// let design = QueryDesign::new(SequenceSpace::new("ACGT", 8)?, config, &Cancel::new())?;
    /// let model = |codes: &[u8]| codes.chunks(8).map(|x| f64::from(x[2] == 1) + f64::from(x[5] == 3)).collect();
    /// let observations = Observations::evaluate(Arc::new(design), 1000, model, &Cancel::new())?;
    /// let peeling = PeelingDecoder::default().decode_owned(observations, &Cancel::new())?;
    /// assert_eq!(peeling.spectrum.len(), 7);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn decode_owned(&self, observations: Observations, cancel: &Cancel) -> Result<Peeling> {
        self.check(observations.design())?;
        let (design, mut values) = observations.into_parts();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut rest = Vec::new();
        self.decode_bins(&mut Bins::new(design, &mut values, &mut rest, mean, cancel)?, cancel)
    }

    /// # Errors
    /// If frequencies cannot be read from the delays of a design, or a parameter is out of range.
    fn check(&self, design: &QueryDesign) -> Result<()> {
        let bad = |name, expected, got: String| Err(Error::Parameter { name, expected, got });
        if let Some(noise) = self.noise.filter(|noise| !(noise.is_finite() && *noise >= 0.0)) {
            return bad("noise", "a standard deviation, finite and not negative", noise.to_string());
        }
        if self.max_rounds == 0 {
            return bad("max_rounds", "at least 1", "0".into());
        }
        match design.config().delays {
            DelayFamily::Identity | DelayFamily::Nso { .. } | DelayFamily::Coded { .. } => Ok(()),
            DelayFamily::Zero if is_complete(design) => Ok(()),
            other => Err(Error::Design(format!(
                "frequencies cannot be read from {other:?} delays; use identity, NSO or coded delays for peeling"
            ))),
        }
    }

    /// Decodes bins whose offset is the mean of the values, and leaves them as they were.
    ///
    /// # Errors
    /// As for [`Self::decode`].
    pub(crate) fn decode_bins(&self, bins: &mut Bins<'_>, cancel: &Cancel) -> Result<Peeling> {
        self.check(&bins.design)?;
        if is_complete(&bins.design) {
            return exact::exact(bins, cancel);
        }
        let peeling = Peeler::new(*self, bins).run(cancel);
        bins.restore();
        peeling
    }
}

/// Whether each bin of a design is one frequency: it has all sequences, and its matrix is the identity.
fn is_complete(design: &QueryDesign) -> bool {
    let config = design.config();
    *config == DesignConfig { seed: config.seed, ..DesignConfig::complete(design.space()) }
}
