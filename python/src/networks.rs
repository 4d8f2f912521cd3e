//! Convolutional networks.

use pyo3::prelude::*;
use shapsketch::networks::{Ensemble, Training};

use crate::arrays::{self, Codes, Matrix, Parameters, Values, Vector};
use crate::space::Space;
use crate::work::{interruptible, short};

/// The mean of several networks.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct Networks(pub(crate) Ensemble);

#[pymethods]
impl Networks {
    /// Trains networks.
    #[staticmethod]
    #[pyo3(signature = (space, codes, values, weights, *, members, channels, hidden, epochs, rate, decay, seed, pool = 1))]
    #[expect(clippy::too_many_arguments, reason = "the data and the options of the training")]
    fn train(
        py: Python<'_>,
        space: Space,
        codes: Codes<'_>,
        values: Values<'_>,
        weights: Option<Values<'_>>,
        members: usize,
        channels: usize,
        hidden: usize,
        epochs: usize,
        rate: f64,
        decay: f64,
        seed: u64,
        pool: usize,
    ) -> PyResult<Self> {
        let (codes, values) = (arrays::codes(&codes), arrays::values(&values));
        let weights = weights.map(|weights| arrays::values(&weights));
        let training = Training { members, channels, hidden, pool, epochs, rate, decay, seed };
        interruptible(py, |cancel| {
            Ensemble::train(&space.0, &codes, &values, weights.as_deref(), &training, cancel)
        })
        .map(Self)
    }

    /// Networks with these parameters, one row for each.
    #[new]
    #[pyo3(signature = (space, parameters, *, channels, hidden, centre, scale, pool = 1))]
    #[expect(clippy::too_many_arguments, reason = "all numbers of a shape")]
    fn new(
        py: Python<'_>,
        space: Space,
        parameters: Parameters<'_>,
        channels: usize,
        hidden: usize,
        centre: f64,
        scale: f64,
        pool: usize,
    ) -> PyResult<Self> {
        let rows = arrays::rows(&parameters);
        short(py, || Ensemble::new(space.0, (channels, hidden, pool), rows, (centre, scale))).map(Self)
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Vector<'py, f64>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }

    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Matrix<'py, f32>> {
        let rows = self.0.parameters();
        let (count, width) = (rows.len(), self.0.shape().parameters());
        arrays::matrix(py, rows.flatten().copied().collect(), count, width)
    }

    #[getter]
    fn channels(&self) -> usize {
        self.0.shape().channels
    }

    #[getter]
    fn hidden(&self) -> usize {
        self.0.shape().hidden
    }

    /// Positions of a window.
    #[getter]
    fn pool(&self) -> usize {
        self.0.shape().pool
    }

    /// The centre and the scale of the values.
    #[getter]
    fn standard(&self) -> (f64, f64) {
        self.0.standard()
    }
}
