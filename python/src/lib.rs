//! The extension module `shapsketch._core`: every body converts, calls the core, converts back.
//! Each file binds the room of the core that has its name. What users read is documented in the Python package and in
//! the stub file.

#![allow(missing_docs)]

mod anova;
mod arrays;
mod design;
mod errors;
mod explain;
mod peel;
mod regress;
mod sketch;
mod space;
mod surrogate;
mod trees;
mod work;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::anova::{Background, Components};
    #[pymodule_export]
    use super::design::Design;
    #[pymodule_export]
    use super::explain::{Interactions, dinucleotide_shuffles};
    #[pymodule_export]
    use super::peel::{Peeling, peel};
    #[pymodule_export]
    use super::regress::{Dictionary, regress};
    #[pymodule_export]
    use super::sketch::{Plan, Queries, Sketch};
    #[pymodule_export]
    use super::space::Space;
    #[pymodule_export]
    use super::surrogate::{Spectrum, combine};
    #[pymodule_export]
    use super::trees::Ensemble;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
