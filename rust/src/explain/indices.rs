//! Interaction indices: their names and their weights.
//!
//! With `a(T)` the Möbius transform of the game, `t = |T|`, `s = |S|` and the highest order `ℓ`, every index here
//! is `I(S) = Σ_{T⊇S} w(s, t) a(T)`: Grabisch & Roubens 1999 (SII, BII), Lundberg et al. 2020 and Bordt & von
//! Luxburg 2023 (k-SII), Sundararajan et al. 2020 (STII), Tsai et al. 2023 (FSII, FBII). The names are those of
//! `shapiq`.

use crate::error::{Error, Result};
use crate::words::binomial;

/// Which interaction index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Index {
    /// Shapley values: order 1.
    Sv,
    /// Banzhaf values: order 1.
    Bv,
    /// Shapley interaction index.
    Sii,
    /// k-Shapley values: SII aggregated so that all orders add up to the score.
    KSii,
    /// Shapley-Taylor interaction index.
    Stii,
    /// Faithful Shapley interaction index.
    Fsii,
    /// Faithful Banzhaf interaction index.
    Fbii,
    /// Banzhaf interaction index.
    Bii,
    /// Möbius transform, the interactions that the SHAP zero paper calls Faith-Shap (FSII of order `n`).
    Moebius,
    /// Co-Möbius transform: all components that contain the support.
    CoMoebius,
}

impl Index {
    /// All indices.
    pub const ALL: [Self; 10] = [
        Self::Sv,
        Self::Bv,
        Self::Sii,
        Self::KSii,
        Self::Stii,
        Self::Fsii,
        Self::Fbii,
        Self::Bii,
        Self::Moebius,
        Self::CoMoebius,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sv => "SV",
            Self::Bv => "BV",
            Self::Sii => "SII",
            Self::KSii => "k-SII",
            Self::Stii => "STII",
            Self::Fsii => "FSII",
            Self::Fbii => "FBII",
            Self::Bii => "BII",
            Self::Moebius => "Moebius",
            Self::CoMoebius => "Co-Moebius",
        }
    }

    /// The index with this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`](crate::Error::UnknownName) if there is none.
    pub fn from_name(name: &str) -> Result<Self> {
        Error::choose("index", name, &Self::ALL, Self::name)
    }

    /// Weight of a component of `t` positions in the interaction of `s` of them, with `s <= t` and highest order
    /// `most`.
    #[must_use]
    pub fn weight(self, s: usize, t: usize, most: usize) -> f64 {
        let same = if s == t { 1.0 } else { 0.0 };
        let half = |power: usize| 0.5_f64.powi(power as i32);
        let sign = if (most - s).is_multiple_of(2) { 1.0 } else { -1.0 };
        match self {
            Self::Sv => 1.0 / t as f64,
            Self::Sii => 1.0 / (t - s + 1) as f64,
            Self::Bv | Self::Bii => half(t - s),
            Self::Moebius => same,
            Self::CoMoebius => 1.0,
            // A component within the highest order is an interaction of its own support alone.
            Self::KSii if t <= most => same,
            Self::KSii => {
                let sum: f64 =
                    (s..=most).map(|r| bernoulli(r - s) * binomial(t - s, r - s) / (t - r + 1) as f64).sum();
                // A sum that is 0 up to rounding, as for odd Bernoulli numbers, is set to 0.
                if sum.abs() < 1e-12 { 0.0 } else { sum }
            }
            Self::Stii if s == most => 1.0 / binomial(t, most),
            Self::Stii => same,
            Self::Fsii | Self::Fbii if t <= most => same,
            Self::Fsii => {
                sign * s as f64 / (most + s) as f64 * binomial(most, s) * binomial(t - 1, most)
                    / binomial(t + most - 1, most + s)
            }
            Self::Fbii => sign * half(t - s) * binomial(t - s - 1, most - s),
        }
    }
}

/// Bernoulli numbers, `B_1 = -1/2`.
fn bernoulli(m: usize) -> f64 {
    let mut all = vec![1.0];
    for k in 1..=m {
        let sum: f64 = all.iter().enumerate().map(|(j, b)| binomial(k + 1, j) * b).sum();
        all.push(-sum / (k + 1) as f64);
    }
    all[m]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bernoulli_numbers() {
        for (m, b) in [1.0, -0.5, 1.0 / 6.0, 0.0, -1.0 / 30.0, 0.0, 1.0 / 42.0].into_iter().enumerate() {
            assert!((bernoulli(m) - b).abs() < 1e-14);
        }
    }

    #[test]
    fn each_name_gives_its_index() {
        for index in Index::ALL {
            assert_eq!(Index::from_name(index.name()).unwrap(), index);
        }
        let message = Index::from_name("sii").unwrap_err().to_string();
        assert!(message.starts_with("index must be one of 'SV', 'BV', 'SII', "), "{message}");
        assert!(message.ends_with("got 'sii'; did you mean 'SII'?"), "{message}");
        assert!(Index::from_name("xyz").unwrap_err().to_string().ends_with("got 'xyz'"));
    }
}
