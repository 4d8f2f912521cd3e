//! Observations: a query design and the model's value for each of its queries.

use std::sync::Arc;

use super::QueryDesign;
use crate::error::{Error, Result};

/// Sizes of values that can be squared, summed and compared to rounding errors.
const SIZES: std::ops::RangeInclusive<f64> = 1e-120..=1e120;

/// A design with one finite value for each distinct query, in the order of the queries.
#[derive(Clone, Debug)]
pub struct Observations {
    design: Arc<QueryDesign>,
    values: Vec<f64>,
}

impl Observations {
    /// Pairs a design with the values of its queries.
    ///
    /// # Errors
    /// If the number of values is not the number of queries, one is NaN or infinite, or their squares
    /// would overflow or vanish.
    pub fn new(design: Arc<QueryDesign>, values: Vec<f64>) -> Result<Self> {
        check_values("design", &values, design.len())?;
        Ok(Self { design, values })
    }

    /// The design.
    #[must_use]
    pub fn design(&self) -> &Arc<QueryDesign> {
        &self.design
    }

    /// The values of the distinct queries.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
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
