//! The extension module `shapsketch._core`: every body converts, calls the core, converts back. Each file binds the
//! module of the core with the same name. The documentation for users is in the Python package and in the stub file.

#![allow(missing_docs)]

mod amortised;
mod anova;
mod arrays;
mod design;
mod errors;
mod explain;
mod memory;
mod networks;
mod peel;
mod predictor;
mod regress;
mod sketch;
mod space;
mod surrogate;
mod trees;
mod validation;
mod walks;
mod work;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use shapsketch::Index;
use shapsketch::design::{DelayFamily, SubsamplingFamily};
use shapsketch::regress::Atoms;
use shapsketch::sketch::{Method, Outcome, Strategy};

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::amortised::{Amortised, ValueNetwork};
    #[pymodule_export]
    use super::anova::{Background, Components};
    #[pymodule_export]
    use super::design::Design;
    #[pymodule_export]
    use super::explain::{Interactions, dinucleotide_shuffles};
    #[pymodule_export]
    use super::memory::memory_limit;
    #[pymodule_export]
    use super::networks::Networks;
    #[pymodule_export]
    use super::peel::{Peeling, peel};
    #[pymodule_export]
    use super::predictor::{Monotone, Predictor};
    #[pymodule_export]
    use super::regress::{
        Dictionary, check_regression, dependent_positions, position_variances, regress, run_kinds,
        strong_runs,
    };
    #[pymodule_export]
    use super::sketch::{
        Candidate, Distribution, Fit, HeldOut, Link, Plan, Queries, RegressionInfo, Sketch, SketchInfo,
        Status,
    };
    #[pymodule_export]
    use super::space::Space;
    #[pymodule_export]
    use super::surrogate::{Relation, Spectrum, combine, letter_terms, run_terms};
    #[pymodule_export]
    use super::trees::{CountingTrees, Ensemble, count_runs};
    #[pymodule_export]
    use super::validation::{RSquared, farthest_share};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::arrays::initialise(module.py());
        module.add("NAMES", super::names(module.py())?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// The names that each option accepts.
fn names(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let basis = ["auto"].into_iter().chain(Atoms::ALL.map(Atoms::name)).collect();
    let all: [(&str, Vec<&str>); 7] = [
        ("index", Index::ALL.map(Index::name).into()),
        ("basis", basis),
        ("subsampling", SubsamplingFamily::ALL.map(SubsamplingFamily::name).into()),
        ("delays", DelayFamily::NAMES.into()),
        ("strategy", Strategy::ALL.map(Strategy::name).into()),
        ("method", Method::ALL.map(Method::name).into()),
        ("outcome", Outcome::ALL.map(Outcome::name).into()),
    ];
    let names = PyDict::new(py);
    all.into_iter().try_for_each(|(option, known)| names.set_item(option, PyTuple::new(py, known)?))?;
    Ok(names)
}
