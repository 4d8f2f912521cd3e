//! R² with its confidence interval.

use pyo3::prelude::*;
use shapsketch::validation::{self, Validation};

use crate::arrays::{self, Values};
use crate::work::short;

/// R² and its 95 % interval.
#[pyclass(frozen, get_all, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct RSquared {
    value: f64,
    low: f64,
    high: f64,
    count: usize,
    n_effective: f64,
    is_undefined: bool,
    is_carried_by_few: bool,
}

#[pymethods]
impl RSquared {
    #[new]
    #[pyo3(signature = (values, predictions, weights = None, *, sequences = None, gain = 0.0, farthest = 0.0))]
    fn new(
        py: Python<'_>,
        values: Values<'_>,
        predictions: Values<'_>,
        weights: Option<Values<'_>>,
        sequences: Option<Vec<usize>>,
        gain: f64,
        farthest: f64,
    ) -> PyResult<Self> {
        let (values, predictions) = (arrays::values(&values), arrays::values(&predictions));
        let weights = weights.map(|weights| arrays::values(&weights));
        let (weights, sequences) = (weights.as_deref(), sequences.as_deref());
        let validation =
            Validation { weights, sequences, gain, farthest, ..Validation::new(&values, &predictions) };
        short(py, || validation.r_squared()).map(Self::from)
    }
}

/// Share of the squared deviations of values from their mean that the farthest sequence has.
#[pyfunction]
#[pyo3(signature = (values, weights = None, *, sequences = None))]
pub(crate) fn farthest_share(
    values: Values<'_>,
    weights: Option<Values<'_>>,
    sequences: Option<Vec<usize>>,
) -> f64 {
    let weights = weights.map(|weights| arrays::values(&weights));
    validation::farthest_share(&arrays::values(&values), weights.as_deref(), sequences.as_deref())
}

impl From<RSquared> for shapsketch::validation::RSquared {
    fn from(r2: RSquared) -> Self {
        let RSquared { value, low, high, count, n_effective, .. } = r2;
        Self { value, low, high, count, n_effective }
    }
}

impl From<shapsketch::validation::RSquared> for RSquared {
    fn from(r2: shapsketch::validation::RSquared) -> Self {
        Self {
            value: r2.value,
            low: r2.low,
            high: r2.high,
            count: r2.count,
            n_effective: r2.n_effective,
            is_undefined: r2.is_undefined(),
            is_carried_by_few: r2.is_carried_by_few(),
        }
    }
}
