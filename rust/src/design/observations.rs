//! Observations: a query design and the model's value for each of its queries.

use std::sync::Arc;

use super::QueryDesign;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
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

    /// Evaluates a function on batches of at most `batch` queries, row-major codes; it returns one value for each. Neither
    /// the queries nor the values of more than one batch are in memory besides the result.
    ///
    /// # Errors
    /// If `batch` is 0, the function returns too few or too many values for a batch or one that is not finite, the caller
    /// cancels, or as for [`Self::new`].
    pub fn evaluate(
        design: Arc<QueryDesign>,
        batch: usize,
        mut function: impl FnMut(&[u8]) -> Vec<f64>,
        cancel: &Cancel,
    ) -> Result<Self> {
        if batch == 0 {
            return Err(Error::Parameter { name: "batch", expected: "at least 1", got: "0".into() });
        }
        let mut values = Vec::with_capacity(design.len());
        while values.len() < design.len() {
            cancel.check()?;
            let (start, end) = (values.len(), design.len().min(values.len() + batch));
            let part = function(&design.queries(start..end));
            if part.len() != end - start {
                return Err(Error::BatchValues { first: start, last: end - 1, got: part.len() });
            }
            if let Some(index) = part.iter().position(|value| !value.is_finite()) {
                return Err(Error::NotFinite { what: "design", index: start + index, value: part[index] });
            }
            values.extend(part);
        }
        Self::new(design, values)
    }

    /// The design, and the values.
    pub(crate) fn into_parts(self) -> (Arc<QueryDesign>, Vec<f64>) {
        (self.design, self.values)
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
