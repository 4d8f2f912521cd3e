//! Peeling, which decodes spectra.

use pyo3::prelude::*;

use crate::arrays::{self, Values};
use crate::design::Design;
use crate::surrogate::Spectrum;
use crate::work::interruptible;

/// The result of peeling.
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
        decoder.decode_owned(shapsketch::design::Observations::new(design.0, values)?, cancel)
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
