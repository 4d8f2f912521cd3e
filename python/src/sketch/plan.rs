//! Plans.

use pyo3::prelude::*;
use shapsketch::design::DelayFamily;
use shapsketch::sketch::Strategy;

use super::queries::Queries;
use crate::space::Space;
use crate::work::interruptible;

/// How a budget is spent.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Plan(shapsketch::Plan);

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (space, budget, *, method, seed))]
    fn new(py: Python<'_>, space: Space, budget: usize, method: &str, seed: u64) -> PyResult<Self> {
        interruptible(py, |_| shapsketch::Plan::new(space.0, budget, Strategy::from_name(method)?, seed))
            .map(Self)
    }

    #[getter]
    fn space(&self) -> Space {
        Space(self.0.space().clone())
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed()
    }

    #[getter]
    fn method(&self) -> &'static str {
        self.0.method().name()
    }

    #[getter]
    fn budget(&self) -> usize {
        self.0.budget()
    }

    /// Subsampling dimension, groups, and delays of each group; `None` for uniform queries.
    #[getter]
    fn design(&self) -> Option<(usize, usize, usize)> {
        let (space, design) = (self.0.space(), self.0.design()?);
        Some((design.b, design.groups, design.delays.count(space).ok()?))
    }

    /// Highest order of the frequencies that coded delays can tell; `None` for other delays.
    #[getter]
    fn max_order(&self) -> Option<usize> {
        match self.0.design()?.delays {
            DelayFamily::Coded { max_order, .. } => Some(max_order),
            _ => None,
        }
    }

    #[getter]
    fn design_queries(&self) -> usize {
        self.0.design_queries()
    }

    #[getter]
    fn validation_queries(&self) -> usize {
        self.0.validation_queries()
    }

    #[getter]
    fn test_queries(&self) -> usize {
        self.0.test_queries()
    }

    #[getter]
    fn next_budget(&self) -> Option<u128> {
        self.0.next_budget()
    }

    /// Number of atoms of the dictionary of a regression.
    #[getter]
    fn n_atoms(&self) -> Option<u128> {
        self.0.n_atoms()
    }

    /// Predicted memory of a regression, in bytes.
    #[getter]
    fn memory(&self) -> Option<u128> {
        self.0.memory()
    }

    /// The plan for values without a sparse spectrum.
    fn without_peeling(&self) -> Self {
        Self(self.0.without_peeling())
    }

    fn queries(&self, py: Python<'_>) -> PyResult<Queries> {
        interruptible(py, |cancel| self.0.queries(cancel)).map(Queries)
    }
}
