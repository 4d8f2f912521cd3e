//! Penalty factors: one for each order and kind of support, relative to a common `λ` (glmnet's
//! `penalty.factor`).

use serde::{Deserialize, Serialize};

/// Highest order of a pattern.
pub(crate) const MAX_ORDER: usize = 6;

/// How strongly the atoms of a dictionary are penalised, relative to those of order 1.
///
/// The penalty factor of a support is the product of the factors that apply to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PenaltyFactors {
    /// Factor for supports of order 2 and above.
    pub pairs: f64,
    /// Factor for each order above 2.
    pub higher: f64,
    /// Factor for supports that are not a contiguous window.
    pub scattered: f64,
    /// Factor for supports that growth adds to the dictionary; `None` turns growth off.
    pub growth: Option<f64>,
    /// Factor for runs; `None` leaves them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<f64>,
}

impl Default for PenaltyFactors {
    fn default() -> Self {
        Self { pairs: 3.0, higher: 1.3, scattered: 2.0, growth: Some(2.0), runs: None }
    }
}

impl PenaltyFactors {
    /// The same penalty for all supports, and no growth.
    pub(crate) const EQUAL: Self = Self { pairs: 1.0, higher: 1.0, scattered: 1.0, growth: None, runs: None };
    /// The factor of runs at the start of the search, and if the others are set.
    pub(crate) const RUNS: f64 = 2.0;

    /// The penalty factor of a support of the dictionary.
    pub(crate) fn listed(&self, support: &[u16]) -> f64 {
        if support.len() < 2 {
            return 1.0;
        }
        let contiguous = support.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let scattered = if contiguous { 1.0 } else { self.scattered };
        self.pairs * self.higher.powi(support.len() as i32 - 2) * scattered
    }

    /// The penalty factor of a support that growth adds.
    pub(crate) fn grown(&self, support: &[u16]) -> f64 {
        self.listed(support) * self.growth.unwrap_or(f64::INFINITY)
    }
}
