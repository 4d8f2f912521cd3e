//! R² with its confidence interval.

use pyo3::prelude::*;

use crate::arrays::{self, Values};
use crate::work::short;

/// R² and its 95 % interval.
#[pyclass(frozen, get_all, eq, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct RSquared {
    value: f64,
    low: f64,
    high: f64,
    count: usize,
}

#[pymethods]
impl RSquared {
    #[new]
    fn new(py: Python<'_>, values: Values<'_>, predictions: Values<'_>) -> PyResult<Self> {
        let (values, predictions) = (arrays::values(&values), arrays::values(&predictions));
        short(py, || shapsketch::validation::RSquared::new(&values, &predictions)).map(Self::from)
    }
}

impl From<shapsketch::validation::RSquared> for RSquared {
    fn from(r2: shapsketch::validation::RSquared) -> Self {
        Self { value: r2.value, low: r2.low, high: r2.high, count: r2.count }
    }
}
