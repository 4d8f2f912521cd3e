//! Penalty strengths: one for each order and part of the dictionary, relative to a common `λ`.

use serde::{Deserialize, Serialize};

/// Highest order of a pattern.
pub(crate) const MAX_ORDER: usize = 6;

/// How strongly each part of a dictionary is penalised, relative to order 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strengths {
    /// Factor of order 2 and above.
    pub pairs: f64,
    /// Further factor for every order above 2.
    pub higher: f64,
    /// Further factor of supports that are no contiguous window.
    pub scattered: f64,
    /// Further factor of supports grown from what was found; `None`: nothing is grown.
    pub growth: Option<f64>,
}

impl Default for Strengths {
    fn default() -> Self {
        Self { pairs: 3.0, higher: 1.3, scattered: 2.0, growth: Some(2.0) }
    }
}

impl Strengths {
    /// The weight of a support of the dictionary.
    pub(crate) fn of(&self, support: &[u16]) -> f64 {
        if support.len() < 2 {
            return 1.0;
        }
        let contiguous = support.windows(2).all(|w| w[1] == w[0] + 1);
        let scattered = if contiguous { 1.0 } else { self.scattered };
        self.pairs * self.higher.powi(support.len() as i32 - 2) * scattered
    }

    /// The weight of a grown support.
    pub(crate) fn grown(&self, support: &[u16]) -> f64 {
        self.of(support) * self.growth.unwrap_or(f64::INFINITY)
    }
}
