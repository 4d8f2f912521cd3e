//! Spaces, and designs of queries.

use std::sync::Arc;

use numpy::PyArray2;
use pyo3::prelude::*;

use crate::arrays::{self, Codes};
use crate::work::{interruptible, short};

#[pyclass(frozen, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Space(pub(crate) shapsketch::SequenceSpace);

#[pymethods]
impl Space {
    #[new]
    fn new(py: Python<'_>, alphabet: &str, length: usize) -> PyResult<Self> {
        short(py, || shapsketch::SequenceSpace::new(alphabet, length)).map(Self)
    }

    #[getter]
    fn q(&self) -> usize {
        self.0.q()
    }

    #[getter]
    fn n(&self) -> usize {
        self.0.n()
    }

    #[getter]
    fn alphabet(&self) -> String {
        self.0.alphabet()
    }

    fn encode<'py>(&self, py: Python<'py>, sequences: Vec<String>) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let codes = short(py, || self.0.encode(&sequences))?;
        arrays::matrix(py, codes, sequences.len(), self.0.n())
    }

    fn decode(&self, py: Python<'_>, codes: Codes<'_>) -> PyResult<Vec<String>> {
        let codes = arrays::codes(&codes);
        short(py, || self.0.decode(&codes))
    }
}

/// The design behind blocks of queries.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Design(pub(crate) Arc<shapsketch::design::QueryDesign>);

#[pymethods]
impl Design {
    #[new]
    #[pyo3(signature = (space, *, b, groups, subsampling, delays, repeats, seed))]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
    fn new(
        py: Python<'_>,
        space: Space,
        b: usize,
        groups: usize,
        subsampling: &str,
        delays: &str,
        repeats: usize,
        seed: u64,
    ) -> PyResult<Self> {
        use shapsketch::design::{DelayFamily, SubsamplingFamily};
        // The names are checked in Python.
        let subsampling =
            if subsampling == "simple" { SubsamplingFamily::Simple } else { SubsamplingFamily::Random };
        let delays = match delays {
            "zero" => DelayFamily::Zero,
            "identity" => DelayFamily::Identity,
            "random" => DelayFamily::Random { count: repeats },
            _ => DelayFamily::Nso { repeats },
        };
        let config = shapsketch::design::DesignConfig { b, groups, subsampling, delays, seed };
        interruptible(py, |cancel| shapsketch::design::QueryDesign::new(space.0, config, cancel))
            .map(|d| Self(Arc::new(d)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Subsampling matrices `(C, n, b)` as a list of `(n, b)`.
    fn matrices<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArray2<u8>>>> {
        let (n, b) = (self.0.space().n(), self.0.config().b);
        self.0.groups().iter().map(|g| arrays::matrix(py, g.matrix.as_slice().to_vec(), n, b)).collect()
    }

    /// Delays of each group, as a list of `(P, n)`.
    fn delays<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArray2<u8>>>> {
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

    fn queries<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let n = self.0.space().n();
        let rows = interruptible(py, |_| Ok(self.0.queries(start..stop)))?;
        let count = rows.len() / n;
        arrays::matrix(py, rows, count, n)
    }
}
