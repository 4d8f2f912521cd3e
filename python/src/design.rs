//! Query designs.

use std::sync::Arc;

use pyo3::prelude::*;
use shapsketch::design::{DelayFamily, DesignConfig, QueryDesign, SubsamplingFamily};

use crate::arrays::{self, Matrix};
use crate::space::Space;
use crate::work::interruptible;

/// A query design: blocks of queries.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Design(pub(crate) Arc<QueryDesign>);

#[pymethods]
impl Design {
    #[new]
    #[pyo3(signature = (space, *, b, groups, subsampling, delays, repeats, max_order, seed))]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
    fn new(
        py: Python<'_>,
        space: Space,
        b: usize,
        groups: usize,
        subsampling: &str,
        delays: &str,
        repeats: usize,
        max_order: usize,
        seed: u64,
    ) -> PyResult<Self> {
        interruptible(py, |cancel| {
            let subsampling = SubsamplingFamily::from_name(subsampling)?;
            let delays = DelayFamily::from_name(delays, repeats, max_order)?;
            let config = DesignConfig { b, groups, subsampling, delays, seed };
            QueryDesign::new(space.0, config, cancel)
        })
        .map(|design| Self(Arc::new(design)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Subsampling matrices, one `(n, b)` for each group.
    fn matrices<'py>(&self, py: Python<'py>) -> PyResult<Vec<Matrix<'py, u8>>> {
        let n = self.0.space().n();
        let matrices = self.0.groups().iter().map(|group| &group.matrix);
        matrices.map(|m| arrays::matrix(py, m.as_slice().to_vec(), n, m.sizes().len())).collect()
    }

    /// For each group, the size of each column of its matrix.
    fn column_sizes(&self) -> Vec<Vec<usize>> {
        self.0.groups().iter().map(|group| group.matrix.sizes().to_vec()).collect()
    }

    /// Delays of each group, as a list of `(P, n)`.
    fn delays<'py>(&self, py: Python<'py>) -> PyResult<Vec<Matrix<'py, u8>>> {
        let n = self.0.space().n();
        self.0
            .groups()
            .iter()
            .map(|g| {
                let rows: Vec<u8> = (0..g.delays.count()).flat_map(|p| g.delays.row(p)).collect();
                arrays::matrix(py, rows, g.delays.count(), n)
            })
            .collect()
    }

    fn queries<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Matrix<'py, u8>> {
        let n = self.0.space().n();
        let rows = interruptible(py, |_| Ok(self.0.queries(start..stop)))?;
        let count = rows.len() / n;
        arrays::matrix(py, rows, count, n)
    }
}
