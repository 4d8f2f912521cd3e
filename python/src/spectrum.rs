//! Spectra, and peeling, which decodes them.

use numpy::{Complex64, PyArray1, PyArray2};
use pyo3::prelude::*;

use crate::arrays::{self, Codes, Coefficients, Values};
use crate::design::{Design, Space};
use crate::work::{interruptible, short};

/// How a decoding went.
#[pyclass(frozen, get_all, module = "shapsketch._core")]
pub(crate) struct Peeling {
    spectrum: Spectrum,
    status: &'static str,
    unexplained: f64,
    noise: f64,
    rounds: usize,
    open_bins: usize,
}

#[pyfunction]
#[pyo3(signature = (design, values, *, noise, refit, max_rounds))]
pub(crate) fn peel(
    py: Python<'_>,
    design: Design,
    values: Values<'_>,
    noise: Option<f64>,
    refit: bool,
    max_rounds: usize,
) -> PyResult<Peeling> {
    let values = arrays::values(&values);
    let decoder = shapsketch::peel::PeelingDecoder { noise, refit, max_rounds };
    let peeling = interruptible(py, |cancel| {
        decoder.decode(&shapsketch::design::Observations::new(design.0, values)?, cancel)
    })?;
    Ok(Peeling {
        spectrum: Spectrum(peeling.spectrum),
        status: peeling.status.name(),
        unexplained: peeling.unexplained,
        noise: peeling.noise,
        rounds: peeling.rounds,
        open_bins: peeling.open_bins,
    })
}

/// Frequencies `(s, n)` and coefficients `(s,)`.
pub(crate) type Terms<'py> = (Bound<'py, PyArray2<u8>>, Bound<'py, PyArray1<Complex64>>);

#[pyclass(frozen, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Spectrum(pub(crate) shapsketch::surrogate::Spectrum);

#[pymethods]
impl Spectrum {
    #[new]
    fn new(
        py: Python<'_>,
        space: Space,
        frequencies: Codes<'_>,
        coefficients: Coefficients<'_>,
        real_part: bool,
    ) -> PyResult<Self> {
        let (rows, values) = (arrays::codes(&frequencies), arrays::coefficients(&coefficients));
        interruptible(py, |_| {
            space.0.check(&rows)?;
            let keys = rows.chunks_exact(space.0.n()).map(shapsketch::frequency::Frequency::from_dense);
            let terms = keys.zip(values).collect();
            if real_part {
                shapsketch::surrogate::Spectrum::real_part(space.0, terms)
            } else {
                shapsketch::surrogate::Spectrum::new(space.0, terms)
            }
        })
        .map(Self)
    }

    #[getter]
    fn space(&self) -> Space {
        Space(self.0.space().clone())
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Frequencies `(s, n)` and coefficients `(s,)`.
    fn terms<'py>(&self, py: Python<'py>) -> PyResult<Terms<'py>> {
        let n = self.0.space().n();
        let (keys, values): (Vec<_>, Vec<_>) = self.0.coefficients().into_iter().unzip();
        let rows = keys.iter().flat_map(|k| k.to_dense(n)).collect();
        Ok((arrays::matrix(py, rows, keys.len(), n)?, arrays::vector(py, values)))
    }

    fn order_energy<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        arrays::vector(py, self.0.order_energy())
    }

    fn truncate(
        &self,
        py: Python<'_>,
        max_terms: Option<usize>,
        max_order: Option<usize>,
        energy: Option<f64>,
    ) -> PyResult<Self> {
        short(py, || self.0.truncate(shapsketch::surrogate::Truncation { max_terms, max_order, energy }))
            .map(Self)
    }
}
