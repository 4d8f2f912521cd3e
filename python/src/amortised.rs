//! Amortised Shapley values of predictors.

use std::sync::Arc;

use pyo3::prelude::*;
use shapsketch::Result;
use shapsketch::amortised::{self, Accuracy};
use shapsketch::networks::values::{self, ValuesTraining};

use crate::anova::Background;
use crate::arrays::{self, Codes, Matrix, Vector};
use crate::predictor::Predictor;
use crate::sketch::Sketch;
use crate::work::{interruptible, short};

/// A network with one output for each position.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct ValueNetwork(values::ValueNetwork);

#[pymethods]
impl ValueNetwork {
    /// Trains a network on the difference between a predictor and the closed form of a sketch.
    #[staticmethod]
    #[pyo3(signature = (predictor, sketch, background, *, seed))]
    fn train(
        py: Python<'_>,
        predictor: Predictor,
        sketch: Sketch,
        background: Background,
        seed: u64,
    ) -> PyResult<Self> {
        let training = ValuesTraining { seed, ..ValuesTraining::default() };
        interruptible(py, |cancel| {
            amortised::train(&predictor.0, &sketch.0.surrogate, &background.0, &training, cancel)
        })
        .map(Self)
    }
}

/// A network, its background, and its accuracy.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Amortised(pub(crate) Arc<amortised::Amortised>);

#[pymethods]
impl Amortised {
    #[new]
    #[pyo3(signature = (network, background, *, base_value, error, size, sampling))]
    fn new(
        py: Python<'_>,
        network: &ValueNetwork,
        background: Background,
        base_value: f64,
        error: f64,
        size: f64,
        sampling: f64,
    ) -> PyResult<Self> {
        let accuracy = Accuracy { error, size, sampling };
        let probabilities = background.0.probabilities().unwrap_or_default();
        let of = || -> Result<_> {
            amortised::Amortised::new(network.0.clone(), probabilities, base_value, accuracy)
        };
        short(py, of).map(|amortised| Self(Arc::new(amortised)))
    }

    /// What the network adds to the Shapley values of the closed form, `(B, n)`.
    fn values<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Matrix<'py, f64>> {
        let codes = arrays::codes(&codes);
        let n = self.0.space().n();
        let values = interruptible(py, |cancel| self.0.values(&codes, cancel))?;
        arrays::matrix(py, values, codes.len() / n, n)
    }

    /// The probability of each symbol at each position, row by row.
    #[getter]
    fn background<'py>(&self, py: Python<'py>) -> Vector<'py, f64> {
        arrays::vector(py, self.0.background().to_vec())
    }

    #[getter]
    fn base_value(&self) -> f64 {
        self.0.base_value()
    }

    /// Error, size of the values, and error of sampling.
    #[getter]
    fn accuracy(&self) -> (f64, f64, f64) {
        let Accuracy { error, size, sampling } = self.0.accuracy();
        (error, size, sampling)
    }
}
