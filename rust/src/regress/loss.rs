//! The loss of a regression.
//!
//! Huber's loss (Huber 1964) is squared for small residuals and linear for large ones, so that a wrong value has a bounded
//! influence. It is minimised by iteratively reweighted least squares: the weight of a row is `min(1, δ/|e|)`, where `e` is
//! its held-out residual. A residual of the fit itself would not do: a fit follows an outlier.

use crate::error::{Error, Result};

/// `δ` as a multiple of the scale of the residuals: 95 % efficient if errors are normal.
const TURN: f64 = 1.345;
/// The standard deviation of a normal distribution as a multiple of the median absolute deviation.
const SCALE: f64 = 1.4826;

/// What a regression minimises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// The sum of squared errors.
    #[default]
    Squared,
    /// Huber's loss, for values with outliers.
    Huber,
}

impl Loss {
    /// All losses.
    pub const ALL: [Self; 2] = [Self::Squared, Self::Huber];

    /// The name used in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Squared => "squared",
            Self::Huber => "huber",
        }
    }

    /// The loss with this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str) -> Result<Self> {
        Error::choose("loss", name, &Self::ALL, Self::name)
    }
}

/// The weight of each row from its held-out residual.
pub(super) fn huber_weights(residuals: &[f64]) -> Vec<f64> {
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let turn = TURN * SCALE * sizes[sizes.len() / 2];
    // At a median of 0 more than half of the rows are exact, and each other row is an outlier.
    let smallest = f64::EPSILON;
    residuals.iter().map(|r| if r.abs() <= turn { 1.0 } else { (turn / r.abs()).max(smallest) }).collect()
}
