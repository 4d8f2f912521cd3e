//! Observations: a query design and the model's value for each of its queries.

use std::sync::Arc;

use super::QueryDesign;
use crate::error::Result;
use crate::validation::check_values;

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

    /// The same observations with another value in place of each value.
    pub(crate) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { design: self.design.clone(), values: self.values.iter().map(|&v| change(v)).collect() }
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
