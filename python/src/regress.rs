//! Sparse regression.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::arrays::{self, Codes, Values};
use crate::design::Design;
use crate::sketch::Sketch;
use crate::space::Space;
use crate::work::interruptible;

/// Which supports a regression may use.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Dictionary(shapsketch::regress::Dictionary);

#[pymethods]
impl Dictionary {
    #[new]
    #[pyo3(signature = (*, windows, orders, gapped, supports))]
    fn new(windows: usize, orders: usize, gapped: Option<(usize, usize)>, supports: Vec<Vec<u16>>) -> Self {
        Self(shapsketch::regress::Dictionary { windows, orders, gapped, supports })
    }
}

/// Regresses values on sequences, or on those of a design.
#[pyfunction]
#[pyo3(signature = (
    space, codes, values, design, *, dictionary, basis, strengths, penalty, growth, refit, tolerance, memory, seed
))]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
pub(crate) fn regress(
    py: Python<'_>,
    space: Space,
    codes: Codes<'_>,
    values: Values<'_>,
    design: Option<Design>,
    dictionary: Option<Dictionary>,
    basis: &str,
    strengths: Option<(f64, f64, f64, Option<f64>)>,
    penalty: Option<f64>,
    growth: bool,
    refit: bool,
    tolerance: f64,
    memory: u64,
    seed: u64,
) -> PyResult<Sketch> {
    use shapsketch::design::Observations;
    use shapsketch::regress::{Atoms, PenaltyFactors, Sample};
    let (codes, values) = (arrays::codes(&codes), arrays::values(&values));
    let regression = shapsketch::regress::SparseRegression {
        dictionary: dictionary.map(|dictionary| dictionary.0),
        // The names are checked in Python.
        basis: match basis {
            "letters" => Some(Atoms::Letters),
            "characters" => Some(Atoms::Characters),
            _ => None,
        },
        penalty_factors: strengths.map(|(pairs, higher, scattered, growth)| PenaltyFactors {
            pairs,
            higher,
            scattered,
            growth,
        }),
        lambda: penalty,
        growth,
        refit,
        tolerance,
        memory: memory.into(),
        seed,
    };
    interruptible(py, |cancel| {
        let sample = match design {
            Some(design) => Sample::from(Observations::new(design.0, values)?),
            None => Sample::new(space.0, codes, values)?,
        };
        let fitted = regression.fit(&sample, cancel)?;
        Ok(shapsketch::Sketch::of_regression(fitted, &sample, seed))
    })
    .map(|sketch| Sketch(Arc::new(sketch)))
}
