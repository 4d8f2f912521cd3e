//! Sequence spaces.

use pyo3::prelude::*;

use crate::arrays::{self, Codes, Matrix};
use crate::work::short;

#[pyclass(frozen, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Space(pub(crate) shapsketch::SequenceSpace);

#[pymethods]
impl Space {
    #[new]
    fn new(py: Python<'_>, alphabet: &str, length: usize) -> PyResult<Self> {
        short(py, || shapsketch::SequenceSpace::new(alphabet, length)).map(Self)
    }

    #[staticmethod]
    fn with_letters(py: Python<'_>, letters: Vec<String>) -> PyResult<Self> {
        short(py, || shapsketch::SequenceSpace::with_letters(&letters)).map(Self)
    }

    /// The letters of each position; `None` if every position has the whole alphabet.
    #[getter]
    fn letters(&self) -> Option<Vec<String>> {
        self.0.letters()
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

    fn encode<'py>(&self, py: Python<'py>, sequences: Vec<String>) -> PyResult<Matrix<'py, u8>> {
        let codes = short(py, || self.0.encode(&sequences))?;
        arrays::matrix(py, codes, sequences.len(), self.0.n())
    }

    fn decode(&self, py: Python<'_>, codes: Codes<'_>) -> PyResult<Vec<String>> {
        let codes = arrays::codes(&codes);
        short(py, || self.0.decode(&codes))
    }
}
