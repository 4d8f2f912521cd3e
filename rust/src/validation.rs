//! How well a surrogate predicts: R² on held-out values, with a confidence interval.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Magnitudes of values that can be squared and summed without loss.
const SIZES: std::ops::RangeInclusive<f64> = 1e-120..=1e120;
/// Two-sided 95 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// The coefficient of determination `R² = 1 - Σ(y-ŷ)² / Σ(y-ȳ)²` and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RSquared {
    /// R², at most 1; 0 is as good as the mean of the values, negative is worse.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Number of values.
    pub count: usize,
}

impl RSquared {
    /// R² of predictions against true values.
    ///
    /// The interval follows from an interval of `log(1 - R²) = log Σ(y-ŷ)² - log Σ(y-ȳ)²`, whose variance follows
    /// from the spread of the summands (delta method), so it is never above 1. Constant values have R² 1 if they are
    /// predicted to rounding error, else 0.
    ///
    /// # Errors
    /// If there are fewer than two values, not as many predictions, or a number is not finite.
    ///
    /// ```
    /// let r2 = shapsketch::validation::RSquared::new(&[0.0, 1.0, 2.0, 3.0], &[0.1, 1.1, 1.9, 2.9])?;
    /// assert!((r2.value - (1.0 - 0.04 / 5.0)).abs() < 1e-12);
    /// assert!(r2.low < r2.value && r2.value < r2.high && r2.high <= 1.0);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn new(values: &[f64], predictions: &[f64]) -> Result<Self> {
        Self::over_finite_space(values, predictions, predictions, 0.0)
    }

    /// R² over a finite space, of which a fraction was sampled to fit the surrogate: sequences of that fraction are
    /// predicted as `fitted`, the others as `predictions`.
    ///
    /// # Errors
    /// As for [`RSquared::new`].
    pub fn over_finite_space(
        values: &[f64],
        predictions: &[f64],
        fitted: &[f64],
        sampled_fraction: f64,
    ) -> Result<Self> {
        let count = values.len();
        if count < 2 {
            return Err(Error::Parameter {
                name: "values",
                expected: "at least two numbers",
                got: count.to_string(),
            });
        }
        check_values("true value", values, count)?;
        if predictions.len() != count {
            return Err(Error::ValueCount { what: "prediction", got: predictions.len(), expected: count });
        }
        if let Some(index) = predictions.iter().position(|p| !p.is_finite()) {
            return Err(Error::NotFinite { what: "prediction", index, value: predictions[index] });
        }
        let m = count as f64;
        let mean = values.iter().sum::<f64>() / m;
        let errors: Vec<f64> = values
            .iter()
            .zip(predictions.iter().zip(fitted))
            .map(|(y, (p, f))| {
                (1.0 - sampled_fraction) * (y - p).powi(2) + sampled_fraction * (y - f).powi(2)
            })
            .collect();
        let spreads: Vec<f64> = values.iter().map(|y| (y - mean).powi(2)).collect();
        let (error, spread) = (errors.iter().sum::<f64>() / m, spreads.iter().sum::<f64>() / m);
        let rounding = (1e-12 * values.iter().map(|y| y.abs()).fold(0.0, f64::max)).powi(2);
        if error <= rounding {
            return Ok(Self {
                value: 1.0 - if spread > rounding { error / spread } else { 0.0 },
                low: 1.0,
                high: 1.0,
                count,
            });
        }
        if spread <= rounding {
            return Ok(Self { value: 0.0, low: 0.0, high: 0.0, count });
        }
        let ratio = error / spread;
        let variance =
            errors.iter().zip(&spreads).map(|(e, s)| (e / error - s / spread).powi(2)).sum::<f64>() / (m * m);
        let factor = (Z95 * variance.sqrt()).exp();
        Ok(Self { value: 1.0 - ratio, low: 1.0 - ratio * factor, high: 1.0 - ratio / factor, count })
    }
}

/// # Errors
/// If there are not `expected` values, one is not finite, or their squares would overflow or vanish.
pub(crate) fn check_values(what: &'static str, values: &[f64], expected: usize) -> Result<()> {
    if values.len() != expected {
        return Err(Error::ValueCount { what, got: values.len(), expected });
    }
    if let Some(index) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::NotFinite { what, index, value: values[index] });
    }
    let largest = values.iter().map(|v| v.abs()).fold(0.0, f64::max);
    if largest == 0.0 || SIZES.contains(&largest) { Ok(()) } else { Err(Error::Scale { what, largest }) }
}
