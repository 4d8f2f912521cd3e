//! The extension module `shapsketch._core`: every body converts, calls the core, converts back.
//! What users read is documented in the Python package and in the stub file.

#![allow(missing_docs)]

mod arrays;
mod design;
mod errors;
mod explain;
mod fit;
mod sketch;
mod spectrum;
mod work;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::design::{Design, Space};
    #[pymodule_export]
    use super::explain::{Background, Components, Interactions, dinucleotide_shuffles};
    #[pymodule_export]
    use super::fit::{Dictionary, Ensemble, Plan, Queries, regress};
    #[pymodule_export]
    use super::sketch::{Sketch, combine};
    #[pymodule_export]
    use super::spectrum::{Peeling, Spectrum, peel};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
