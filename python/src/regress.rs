//! Sparse regression.

use pyo3::prelude::*;
use shapsketch::design::Observations;
use shapsketch::regress::{Atoms, PenaltyFactors, Sample, SparseRegression};

use crate::arrays::{self, Codes, Values};
use crate::design::Design;
use crate::sketch::Sketch;
use crate::space::Space;
use crate::work::{interruptible, short};

/// The supports of a regression.
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

/// Regresses values on sequences, or on the queries of a design.
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
    let (codes, values) = (arrays::codes(&codes), arrays::values(&values));
    let regression = SparseRegression {
        dictionary: dictionary.map(|dictionary| dictionary.0),
        basis: short(py, || Atoms::choice_from_name(basis))?,
        penalty_factors: strengths.map(penalty_factors),
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
        let regression = regression.fit(&sample, cancel)?;
        Ok(shapsketch::Sketch::from_regression(regression, &sample, seed))
    })
    .map(Sketch::from)
}

fn penalty_factors((pairs, higher, scattered, growth): (f64, f64, f64, Option<f64>)) -> PenaltyFactors {
    PenaltyFactors { pairs, higher, scattered, growth }
}
