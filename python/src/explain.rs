//! Interactions, motifs and shuffles.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::arrays::{self, Codes, Matrix};
use crate::space::Space;
use crate::surrogate::{Run, run};
use crate::work::interruptible;

/// Shuffles `(B * count, n)` that preserve dinucleotide counts.
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
    let shuffles = interruptible(py, |cancel| {
        shapsketch::explain::dinucleotide_shuffles(&space.0, &codes, count, seed, cancel)
    })?;
    let rows = shuffles.len() / n;
    arrays::matrix(py, shuffles, rows, n)
}

/// An index up to an order, ready for evaluation.
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

/// Support, symbols, runs, sets of symbols at positions, interaction, effect, frequency.
pub(crate) type Motif = (Vec<u16>, Vec<u8>, Vec<Run>, Vec<(u16, u64)>, f64, f64, f64);

pub(crate) fn motif(motif: shapsketch::explain::Motif) -> Motif {
    let runs = motif.runs.iter().map(run).collect();
    (motif.support, motif.letters, runs, motif.sets, motif.interaction, motif.effect, motif.frequency)
}
