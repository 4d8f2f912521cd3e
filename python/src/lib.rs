//! The extension module `shapsketch._core`: every body converts, calls the core, converts back.
//! What users read is documented in the Python package and in the stub file.

#![allow(missing_docs)]

mod arrays;
mod errors;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{Complex64, PyArray1, PyArray2};
use pyo3::prelude::*;

use arrays::{Codes, Coefficients, Values};
use work::{interruptible, short};

#[pyclass(frozen, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
struct Space(shapsketch::SequenceSpace);

#[pymethods]
impl Space {
    #[new]
    fn new(py: Python<'_>, alphabet: &str, length: usize) -> PyResult<Self> {
        short(py, || shapsketch::SequenceSpace::new(alphabet, length)).map(Self)
    }

    #[getter]
    fn q(&self) -> usize {
        self.0.q()
    }

    #[getter]
    fn n(&self) -> usize {
        self.0.n()
    }

    #[getter]
    fn alphabet(&self) -> String {
        self.0.alphabet()
    }

    fn encode<'py>(&self, py: Python<'py>, sequences: Vec<String>) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let codes = short(py, || self.0.encode(&sequences))?;
        arrays::matrix(py, codes, sequences.len(), self.0.n())
    }

    fn decode(&self, py: Python<'_>, codes: Codes<'_>) -> PyResult<Vec<String>> {
        let codes = arrays::codes(&codes);
        short(py, || self.0.decode(&codes))
    }
}

/// The design behind blocks of queries.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
struct Design(Arc<shapsketch::QueryDesign>);

#[pymethods]
impl Design {
    #[new]
    #[pyo3(signature = (space, *, b, groups, subsampling, delays, repeats, seed))]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
    fn new(
        py: Python<'_>,
        space: Space,
        b: usize,
        groups: usize,
        subsampling: &str,
        delays: &str,
        repeats: usize,
        seed: u64,
    ) -> PyResult<Self> {
        use shapsketch::{DelayFamily, SubsamplingFamily};
        // The names are checked in Python.
        let subsampling =
            if subsampling == "simple" { SubsamplingFamily::Simple } else { SubsamplingFamily::Random };
        let delays = match delays {
            "zero" => DelayFamily::Zero,
            "identity" => DelayFamily::Identity,
            "random" => DelayFamily::Random { count: repeats },
            _ => DelayFamily::Nso { repeats },
        };
        let config = shapsketch::DesignConfig { b, groups, subsampling, delays, seed };
        interruptible(py, |cancel| shapsketch::QueryDesign::new(space.0, config, cancel))
            .map(|d| Self(Arc::new(d)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Subsampling matrices `(C, n, b)` as a list of `(n, b)`.
    fn matrices<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArray2<u8>>>> {
        let (n, b) = (self.0.space().n(), self.0.config().b);
        self.0.groups().iter().map(|g| arrays::matrix(py, g.matrix.as_slice().to_vec(), n, b)).collect()
    }

    /// Delays of each group, as a list of `(P, n)`.
    fn delays<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArray2<u8>>>> {
        let n = self.0.space().n();
        self.0
            .groups()
            .iter()
            .map(|g| {
                let rows: Vec<u8> = (0..g.delays.count()).flat_map(|p| g.delays.row(p)).collect();
                arrays::matrix(py, rows, g.delays.count(), n)
            })
            .collect()
    }

    fn queries<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let n = self.0.space().n();
        let rows = interruptible(py, |_| Ok(self.0.queries(start..stop)))?;
        let count = rows.len() / n;
        arrays::matrix(py, rows, count, n)
    }
}

/// How a decoding went.
#[pyclass(frozen, get_all, module = "shapsketch._core")]
struct Peeling {
    spectrum: Spectrum,
    status: &'static str,
    unexplained: f64,
    noise: f64,
    rounds: usize,
    open_bins: usize,
}

#[pyfunction]
#[pyo3(signature = (design, values, *, noise, refit, max_rounds))]
fn peel(
    py: Python<'_>,
    design: Design,
    values: Values<'_>,
    noise: Option<f64>,
    refit: bool,
    max_rounds: usize,
) -> PyResult<Peeling> {
    let values = arrays::values(&values);
    let decoder = shapsketch::PeelingDecoder { noise, refit, max_rounds };
    let peeling = interruptible(py, |cancel| {
        decoder.decode(&shapsketch::Observations::new(design.0, values)?, cancel)
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
type Terms<'py> = (Bound<'py, PyArray2<u8>>, Bound<'py, PyArray1<Complex64>>);

#[pyclass(frozen, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
struct Spectrum(shapsketch::Spectrum);

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
            let keys = rows.chunks_exact(space.0.n()).map(shapsketch::Frequency::from_dense);
            let terms = keys.zip(values).collect();
            if real_part {
                shapsketch::Spectrum::real_part(space.0, terms)
            } else {
                shapsketch::Spectrum::new(space.0, terms)
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
        short(py, || self.0.truncate(shapsketch::Truncation { max_terms, max_order, energy })).map(Self)
    }
}

/// The components of a surrogate, compiled.
#[pyclass(frozen, module = "shapsketch._core")]
struct Components(shapsketch::Components);

#[pymethods]
impl Components {
    #[new]
    fn new(py: Python<'_>, spectrum: Spectrum) -> PyResult<Self> {
        interruptible(py, |_| shapsketch::Components::new(&spectrum.0.terms())).map(Self)
    }

    #[getter]
    fn base_value(&self) -> f64 {
        self.0.base_value()
    }

    #[getter]
    fn supports(&self) -> Vec<Vec<u16>> {
        self.0.supports().to_vec()
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }

    fn shapley_values<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let codes = arrays::codes(&codes);
        let n = self.0.space().n();
        let values = interruptible(py, |cancel| self.0.shapley_values(&codes, cancel))?;
        arrays::matrix(py, values, codes.len() / n, n)
    }

    fn moebius<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let codes = arrays::codes(&codes);
        let values = interruptible(py, |cancel| self.0.moebius(&codes, cancel))?;
        arrays::matrix(py, values, codes.len() / self.0.space().n(), self.0.supports().len())
    }
}

/// What a budget is spent on.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
struct Plan(shapsketch::Plan);

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (space, budget, *, method, seed))]
    fn new(py: Python<'_>, space: Space, budget: usize, method: &str, seed: u64) -> PyResult<Self> {
        // The names are checked in Python; "auto" leaves the choice to the core.
        let method = match method {
            "exact" => Some(shapsketch::Method::Exact),
            "peel" => Some(shapsketch::Method::Peel),
            _ => None,
        };
        short(py, || shapsketch::Plan::new(space.0, budget, method, seed)).map(Self)
    }

    #[getter]
    fn method(&self) -> &'static str {
        method_name(self.0.method)
    }

    #[getter]
    fn budget(&self) -> usize {
        self.0.budget
    }

    #[getter]
    fn b(&self) -> usize {
        self.0.design.b
    }

    #[getter]
    fn groups(&self) -> usize {
        self.0.design.groups
    }

    #[getter]
    fn delays(&self) -> usize {
        self.0.design.delays.count(self.0.space().n())
    }

    #[getter]
    fn design_queries(&self) -> usize {
        self.0.design_queries
    }

    #[getter]
    fn validation_queries(&self) -> usize {
        self.0.validation_queries
    }

    #[getter]
    fn test_queries(&self) -> usize {
        self.0.test_queries
    }

    #[getter]
    fn next_budget(&self) -> Option<u128> {
        self.0.next_budget
    }

    fn queries(&self, py: Python<'_>) -> PyResult<Queries> {
        interruptible(py, |cancel| self.0.queries(cancel)).map(Queries)
    }
}

fn method_name(method: shapsketch::Method) -> &'static str {
    match method {
        shapsketch::Method::Exact => "exact",
        _ => "peel",
    }
}

/// All queries of a plan: those of the design, then validation, then test.
#[pyclass(frozen, module = "shapsketch._core")]
struct Queries(shapsketch::Queries);

#[pymethods]
impl Queries {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn batch<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let n = self.0.design.space().n();
        let rows = interruptible(py, |_| Ok(self.0.batch(start..stop)))?;
        let count = rows.len() / n;
        arrays::matrix(py, rows, count, n)
    }

    fn sketch(&self, py: Python<'_>, values: Values<'_>) -> PyResult<Sketch> {
        let values = arrays::values(&values);
        interruptible(py, |cancel| self.0.sketch(&values, cancel)).map(Sketch)
    }
}

#[pyclass(frozen, module = "shapsketch._core")]
struct Sketch(shapsketch::Sketch);

#[pymethods]
impl Sketch {
    #[new]
    fn new(spectrum: Spectrum) -> Self {
        Self(shapsketch::Sketch { surrogate: shapsketch::Surrogate::Spectrum(spectrum.0), info: None })
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        interruptible(py, |_| shapsketch::Sketch::load(&path)).map(Self)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        interruptible(py, |_| self.0.save(&path))
    }

    #[getter]
    fn spectrum(&self) -> Spectrum {
        Spectrum(self.0.surrogate.spectrum().clone())
    }

    /// How the sketch was made, as a dictionary; `None` where that is not known.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, pyo3::types::PyDict>>> {
        let Some(info) = &self.0.info else { return Ok(None) };
        let dict = pyo3::types::PyDict::new(py);
        dict.set_item("method", method_name(info.method))?;
        dict.set_item("status", &info.status)?;
        dict.set_item("unexplained", info.unexplained)?;
        dict.set_item("noise", info.noise)?;
        dict.set_item("budget", info.budget)?;
        dict.set_item("n_queries", info.n_queries)?;
        dict.set_item("seed", info.seed)?;
        dict.set_item("r2", info.r2.value)?;
        dict.set_item("r2_interval", (info.r2.low, info.r2.high))?;
        dict.set_item("n_test", info.r2.count)?;
        Ok(Some(dict))
    }
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::{Components, Design, Peeling, Plan, Queries, Sketch, Space, Spectrum, peel};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
