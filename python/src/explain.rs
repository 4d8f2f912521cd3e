//! Interactions, motifs and shuffles.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::arrays::{self, Codes, Matrix};
use crate::space::Space;
use crate::work::interruptible;

/// Shuffles `(B * count, n)` that keep dinucleotides.
#[pyfunction]
pub(crate) fn dinucleotide_shuffles<'py>(
    py: Python<'py>,
    space: Space,
    codes: Codes<'_>,
    count: usize,
    seed: u64,
) -> PyResult<Matrix<'py, u8>> {
    let codes = arrays::codes(&codes);
    let n = space.0.n();
    let found =
        interruptible(py, |_| shapsketch::explain::dinucleotide_shuffles(&space.0, &codes, count, seed))?;
    let rows = found.len() / n;
    arrays::matrix(py, found, rows, n)
}

/// An index of a game, up to an order.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Interactions(pub(crate) Arc<shapsketch::explain::Interactions>);

#[pymethods]
impl Interactions {
    #[getter]
    fn supports(&self) -> Vec<Vec<u16>> {
        self.0.supports().to_vec()
    }
}

/// Support, symbols, interaction, effect, frequency.
pub(crate) type Motif = (Vec<u16>, Vec<u8>, f64, f64, f64);

pub(crate) fn motif(motif: shapsketch::explain::Motif) -> Motif {
    (motif.support, motif.letters, motif.interaction, motif.effect, motif.frequency)
}
