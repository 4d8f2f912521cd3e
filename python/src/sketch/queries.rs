//! Queries of a plan.

use pyo3::prelude::*;

use super::Sketch;
use crate::arrays::{self, Matrix, Values, Vector};
use crate::regress::time_limit;
use crate::work::interruptible;

/// All queries of a plan: design, validation, test.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct Queries(pub(super) shapsketch::Queries);

#[pymethods]
impl Queries {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn batch<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Matrix<'py, u8>> {
        let n = self.0.space().n();
        let rows = interruptible(py, |_| Ok(self.0.batch(start..stop)))?;
        let count = rows.len() / n;
        arrays::matrix(py, rows, count, n)
    }

    /// Number of queries of the first group of the design of a regression; 0 without a design.
    fn n_first(&self, py: Python<'_>) -> PyResult<usize> {
        interruptible(py, |cancel| self.0.first_group(cancel))
            .map(|group| group.map_or(0, |group| group.len()))
    }

    /// Whether the values of the first group are those of a sparse spectrum.
    fn is_sparse(&self, py: Python<'_>, values: Values<'_>) -> PyResult<bool> {
        let values = arrays::values(&values);
        interruptible(py, |cancel| self.0.is_sparse(&values, cancel))
    }

    /// The sketch of the values; a regression ends after these seconds, approximately. Peeling overwrites the values, so
    /// that it needs no other memory.
    #[pyo3(signature = (values, seconds=None))]
    fn sketch(&self, py: Python<'_>, values: Vector<'_, f64>, seconds: Option<f64>) -> PyResult<Sketch> {
        arrays::overwriting(&values, |values| {
            interruptible(py, |cancel| self.0.sketch_in_place(time_limit(seconds), values, cancel))
        })
        .map(Sketch::from)
    }

    /// The peeled sketch of queries for a regression; `None` if none of them belong to a design.
    fn peel(&self, py: Python<'_>, values: Values<'_>) -> PyResult<Option<Sketch>> {
        let values = arrays::values(&values);
        interruptible(py, |cancel| self.0.peel(&values, cancel)).map(|sketch| sketch.map(Sketch::from))
    }
}
