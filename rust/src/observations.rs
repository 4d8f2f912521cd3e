//! Observations: a query design and the model's value for each of its queries.

use std::sync::Arc;

use crate::design::QueryDesign;
use crate::error::{Error, Result};

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
    /// If the number of values is not the number of queries, or one is NaN or infinite.
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
/// If there are not `expected` values or one is not finite.
pub(crate) fn check_values(what: &'static str, values: &[f64], expected: usize) -> Result<()> {
    if values.len() != expected {
        return Err(Error::ValueCount { what, got: values.len(), expected });
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(Error::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}
