//! The distribution of the queries of a sketch.

use pyo3::prelude::*;
use shapsketch::sketch::{self, DefaultBackground};

use crate::arrays::{self, Codes, Values, Vector};
use crate::work::short;

/// The distribution of queries that were not uniform.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Distribution(pub(super) sketch::Distribution);

#[pymethods]
impl Distribution {
    #[new]
    #[pyo3(signature = (text, probabilities, least_log_likelihood, background, references = None))]
    fn new(
        py: Python<'_>,
        text: String,
        probabilities: Values<'_>,
        least_log_likelihood: f64,
        background: &str,
        references: Option<Codes<'_>>,
    ) -> PyResult<Self> {
        let references = references.as_ref().map(arrays::codes).unwrap_or_default();
        let background = short(py, || DefaultBackground::from_name(background, references))?;
        let probabilities = arrays::values(&probabilities);
        Ok(Self(sketch::Distribution { text, probabilities, least_log_likelihood, background }))
    }

    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    /// Probability of each symbol at each position, `(n q,)`.
    #[getter]
    fn probabilities<'py>(&self, py: Python<'py>) -> Vector<'py, f64> {
        arrays::vector(py, self.0.probabilities.clone())
    }

    #[getter]
    fn least_log_likelihood(&self) -> f64 {
        self.0.least_log_likelihood
    }

    #[getter]
    fn background(&self) -> &'static str {
        self.0.background.name()
    }

    /// Codes `(R n,)` of the background of explanations; `None` if it is not a list of sequences.
    #[getter]
    fn references<'py>(&self, py: Python<'py>) -> Option<Vector<'py, u8>> {
        let DefaultBackground::References(codes) = &self.0.background else { return None };
        Some(arrays::vector(py, codes.clone()))
    }
}
