//! The extension module `shapsketch._core`: every body converts, calls the core, converts back.
//! What users read is documented in the Python package and in the stub file.

#![allow(missing_docs)]

mod arrays;
mod errors;
mod explain;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{Complex64, PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use arrays::{Codes, Coefficients, Values};
use work::{interruptible, short};

#[pyclass(frozen, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Space(shapsketch::SequenceSpace);

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
        let method = shapsketch::Method::of_name(method);
        short(py, || shapsketch::Plan::new(space.0, budget, method, seed)).map(Self)
    }

    #[getter]
    fn method(&self) -> &'static str {
        self.0.method.name()
    }

    #[getter]
    fn budget(&self) -> usize {
        self.0.budget
    }

    /// Subsampling dimension, groups and delays of each; `None` for uniform queries.
    #[getter]
    fn design(&self) -> Option<(usize, usize, usize)> {
        self.0.design.map(|design| (design.b, design.groups, design.delays.count(self.0.space().n())))
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

    /// Candidate atoms of a regression, and bytes it will take.
    #[getter]
    fn candidates(&self) -> Option<(u128, u128)> {
        self.0.candidates
    }

    fn queries(&self, py: Python<'_>) -> PyResult<Queries> {
        interruptible(py, |cancel| self.0.queries(cancel)).map(Queries)
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
        let n = self.0.space().n();
        let rows = interruptible(py, |_| Ok(self.0.batch(start..stop)))?;
        let count = rows.len() / n;
        arrays::matrix(py, rows, count, n)
    }

    fn sketch(&self, py: Python<'_>, values: Values<'_>) -> PyResult<Sketch> {
        let values = arrays::values(&values);
        interruptible(py, |cancel| self.0.sketch(&values, cancel)).map(|sketch| Sketch(Arc::new(sketch)))
    }
}

/// Two vectors of equal length.
type Pair<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);
/// Supports, letters, coefficients and variances of letter patterns.
type Patterns<'py> =
    (Vec<Vec<u16>>, Vec<Vec<u16>>, Bound<'py, PyArray1<f64>>, Option<Bound<'py, PyArray1<f64>>>);

#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Sketch(Arc<shapsketch::Sketch>);

#[pymethods]
impl Sketch {
    #[new]
    fn new(spectrum: Spectrum) -> Self {
        Self(Arc::new(shapsketch::Surrogate::Spectrum(spectrum.0).into()))
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        interruptible(py, |_| shapsketch::Sketch::load(&path)).map(|sketch| Self(Arc::new(sketch)))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        interruptible(py, |_| self.0.save(&path))
    }

    #[getter]
    fn space(&self) -> Space {
        Space(self.0.surrogate.space().clone())
    }

    fn __len__(&self) -> usize {
        self.0.surrogate.len()
    }

    fn spectrum(&self, py: Python<'_>) -> PyResult<Spectrum> {
        interruptible(py, |_| self.0.surrogate.spectrum().map(std::borrow::Cow::into_owned)).map(Spectrum)
    }

    /// Number of terms of each order of a sum of patterns; `None` for a spectrum.
    fn orders(&self) -> Option<Vec<usize>> {
        let shapsketch::Surrogate::Terms(terms) = &self.0.surrogate else { return None };
        let highest = terms.supports.iter().map(|group| group.support.len()).max().unwrap_or(0);
        let mut counts = vec![0; highest + 1];
        terms.supports.iter().for_each(|group| counts[group.support.len()] += group.coefficients.len());
        Some(counts)
    }

    /// Letter patterns: supports, letters, coefficients, variances; `None` for a spectrum.
    fn patterns<'py>(&self, py: Python<'py>) -> Option<Patterns<'py>> {
        let shapsketch::Surrogate::Terms(terms) = &self.0.surrogate else { return None };
        if terms.basis != shapsketch::Basis::Letters {
            return None;
        }
        let (mut supports, mut letters, mut coefficients) = (Vec::new(), Vec::new(), Vec::new());
        for group in &terms.supports {
            for (word, coefficient) in group.labels.chunks_exact(group.support.len()).zip(&group.coefficients)
            {
                supports.push(group.support.clone());
                letters.push(word.to_vec());
                coefficients.push(coefficient.re);
            }
        }
        let variances = self.0.uncertainty.as_ref().map(|known| arrays::vector(py, known.patterns.clone()));
        Some((supports, letters, arrays::vector(py, coefficients), variances))
    }

    #[getter]
    fn constant(&self) -> f64 {
        self.0.surrogate.terms().constant
    }

    /// Standard errors of Shapley values `(B, n)`; `None` where they are not known.
    fn standard_errors<'py>(
        &self,
        py: Python<'py>,
        codes: Codes<'_>,
    ) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        let Some(known) = &self.0.uncertainty else { return Ok(None) };
        let codes = arrays::codes(&codes);
        let n = self.0.surrogate.space().n();
        let errors = interruptible(py, |cancel| {
            shapsketch::shapley_standard_errors(&self.0.surrogate.terms(), known, &codes, cancel)
        })?;
        arrays::matrix(py, errors, codes.len() / n, n).map(Some)
    }

    /// Values and predictions that its R² rests on, as long as it was not loaded from a file.
    fn held_out<'py>(&self, py: Python<'py>) -> Option<Pair<'py>> {
        let (values, predictions) = self.0.held_out.clone()?;
        Some((arrays::vector(py, values), arrays::vector(py, predictions)))
    }

    /// The same sketch under other words: why it was ended, its budget and the scale it lives on, with R² on
    /// the model's own scale.
    #[pyo3(signature = (*, status, budget, link, values, predictions))]
    fn described(
        &self,
        py: Python<'_>,
        status: Option<String>,
        budget: Option<usize>,
        link: Option<String>,
        values: Option<Values<'_>>,
        predictions: Option<Values<'_>>,
    ) -> PyResult<Self> {
        let mut sketch = (*self.0).clone();
        let both = values.zip(predictions).map(|(v, p)| (arrays::values(&v), arrays::values(&p)));
        let response_r2 = both.map(|(v, p)| short(py, || shapsketch::RSquared::new(&v, &p))).transpose()?;
        if let Some(info) = &mut sketch.info {
            info.status = status.unwrap_or_else(|| info.status.clone());
            info.budget = budget.unwrap_or(info.budget);
            if let Some(name) = link {
                info.link = shapsketch::Link { name, response_r2 };
            }
        }
        Ok(Self(Arc::new(sketch)))
    }

    /// The same surrogate as the sketch of a method that Python carried out: predictions at sequences that it
    /// was not fitted to, those of the surrogate as it is, and how much of the space was asked.
    #[pyo3(signature = (
        *, method, status, budget, queries, seed, codes, values, predictions, share, rest, candidates, teacher
    ))]
    #[expect(clippy::too_many_arguments, reason = "all that is known of one sketch")]
    fn made_by(
        &self,
        py: Python<'_>,
        method: &str,
        status: String,
        budget: usize,
        queries: usize,
        seed: u64,
        codes: Codes<'_>,
        values: Values<'_>,
        predictions: Values<'_>,
        share: f64,
        rest: f64,
        candidates: Vec<(String, f64, Option<f64>, f64)>,
        teacher: Option<Values<'_>>,
    ) -> PyResult<Self> {
        let (codes, values, predictions) =
            (arrays::codes(&codes), arrays::values(&values), arrays::values(&predictions));
        let teacher = teacher.map(|teacher| arrays::values(&teacher));
        // The names are ours.
        let method = shapsketch::Method::of_name(method).unwrap_or(shapsketch::Method::Average);
        let surrogate = self.0.surrogate.clone();
        let candidate = |(name, r2, seconds, weight)| shapsketch::Candidate { name, r2, seconds, weight };
        interruptible(py, |cancel| {
            let fitted = shapsketch::Components::new(&surrogate.terms())?.predict(&codes, cancel)?;
            let mut r2 = shapsketch::RSquared::mixed(&values, &predictions, &fitted, share)?;
            r2.high += rest * (1.0 - share) * (1.0 - r2.value);
            let residuals: Vec<f64> = values.iter().zip(&predictions).map(|(v, p)| v - p).collect();
            let noise = (residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len() as f64).sqrt();
            let sample = shapsketch::Sample::new(surrogate.space().clone(), codes, residuals)?;
            let info = shapsketch::SketchInfo {
                method,
                status,
                unexplained: 1.0 - r2.value,
                noise,
                budget,
                n_queries: queries,
                seed,
                r2,
                regression: None,
                link: shapsketch::Link::default(),
                candidates: candidates.into_iter().map(candidate).collect(),
                teacher: teacher.map(|teacher| shapsketch::RSquared::new(&values, &teacher)).transpose()?,
            };
            Ok(shapsketch::Sketch {
                uncertainty: Some(shapsketch::missing(&sample, cancel)?),
                surrogate,
                info: Some(info),
                held_out: Some((values, predictions)),
            })
        })
        .map(|sketch| Self(Arc::new(sketch)))
    }

    /// The same sketch, with what was tried beside it.
    fn among(&self, candidates: Vec<(String, f64, Option<f64>, f64)>) -> Self {
        let mut sketch = (*self.0).clone();
        let candidate = |(name, r2, seconds, weight)| shapsketch::Candidate { name, r2, seconds, weight };
        if let Some(info) = &mut sketch.info {
            info.candidates = candidates.into_iter().map(candidate).collect();
        }
        Self(Arc::new(sketch))
    }

    /// How the sketch was made, as a dictionary; `None` where that is not known.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(info) = &self.0.info else { return Ok(None) };
        let dict = PyDict::new(py);
        dict.set_item("method", info.method.name())?;
        dict.set_item("status", &info.status)?;
        dict.set_item("unexplained", info.unexplained)?;
        dict.set_item("noise", info.noise)?;
        dict.set_item("budget", info.budget)?;
        dict.set_item("n_queries", info.n_queries)?;
        dict.set_item("seed", info.seed)?;
        dict.set_item("r2", info.r2.value)?;
        dict.set_item("r2_interval", (info.r2.low, info.r2.high))?;
        dict.set_item("n_test", info.r2.count)?;
        dict.set_item("link", &info.link.name)?;
        dict.set_item("response_r2", info.link.response_r2.map(|r2| r2.value))?;
        let candidates = info.candidates.iter().map(|c| (c.name.as_str(), c.r2, c.seconds, c.weight));
        dict.set_item("candidates", candidates.collect::<Vec<_>>())?;
        dict.set_item("teacher_r2", info.teacher.map(|r2| r2.value))?;
        dict.set_item("regression", info.regression.as_ref().map(|r| regression(py, r)).transpose()?)?;
        Ok(Some(dict))
    }
}

fn regression<'py>(py: Python<'py>, info: &shapsketch::RegressionInfo) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("basis", &info.basis)?;
    dict.set_item("penalty", info.lambda)?;
    dict.set_item("refit", info.refit)?;
    dict.set_item("pairs", info.strengths.pairs)?;
    dict.set_item("higher", info.strengths.higher)?;
    dict.set_item("scattered", info.strengths.scattered)?;
    dict.set_item("growth", info.strengths.growth)?;
    dict.set_item("duality_gap", info.gap)?;
    dict.set_item("candidates", info.candidates)?;
    dict.set_item("unseen", info.unseen.clone())?;
    Ok(dict)
}

/// Which supports a regression may use.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
struct Dictionary(shapsketch::Dictionary);

#[pymethods]
impl Dictionary {
    #[new]
    #[pyo3(signature = (*, windows, orders, gapped, supports))]
    fn new(windows: usize, orders: usize, gapped: Option<(usize, usize)>, supports: Vec<Vec<u16>>) -> Self {
        Self(shapsketch::Dictionary { windows, orders, gapped, supports })
    }
}

/// Regresses values on sequences, or on those of a design.
#[pyfunction]
#[pyo3(signature = (
    space, codes, values, design, *, dictionary, basis, strengths, penalty, growth, refit, tolerance, memory, seed
))]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
fn regress(
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
    use shapsketch::{Atoms, Observations, Sample, Strengths};
    let (codes, values) = (arrays::codes(&codes), arrays::values(&values));
    let regression = shapsketch::SparseRegression {
        dictionary: dictionary.map(|dictionary| dictionary.0),
        // The names are checked in Python.
        basis: match basis {
            "letters" => Some(Atoms::Letters),
            "characters" => Some(Atoms::Characters),
            _ => None,
        },
        strengths: strengths.map(|(pairs, higher, scattered, growth)| Strengths {
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

/// A sum of trees.
#[pyclass(frozen, module = "shapsketch._core")]
struct Ensemble(shapsketch::trees::Ensemble);

#[pymethods]
impl Ensemble {
    /// Conditions: places from `starts` on, each a position and a set. Trees: nodes from `roots` on;
    /// a leaf has condition -1.
    #[new]
    #[pyo3(signature = (space, *, constant, starts, positions, sets, roots, conditions, yes, no, values))]
    #[expect(clippy::too_many_arguments, reason = "flat arrays of all trees")]
    fn new(
        py: Python<'_>,
        space: Space,
        constant: f64,
        starts: Vec<usize>,
        positions: Vec<u16>,
        sets: Vec<u64>,
        roots: Vec<usize>,
        conditions: Vec<i64>,
        yes: Vec<u32>,
        no: Vec<u32>,
        values: Values<'_>,
    ) -> PyResult<Self> {
        use shapsketch::trees::{Condition, Node};
        let values = arrays::values(&values);
        interruptible(py, |_| {
            let places: Vec<(u16, u64)> = positions.into_iter().zip(sets).collect();
            let listed: Vec<Condition> = starts.windows(2).map(|w| places[w[0]..w[1]].to_vec()).collect();
            let node = |at: usize| match u32::try_from(conditions[at]) {
                Ok(condition) => Node::Split { condition, yes: yes[at], no: no[at] },
                Err(_) => Node::Leaf(values[at]),
            };
            let trees = roots.windows(2).map(|w| (w[0]..w[1]).map(node).collect()).collect();
            shapsketch::trees::Ensemble::new(space.0, constant, listed, trees)
        })
        .map(Self)
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }

    /// A sketch of the same function.
    fn exact(&self, py: Python<'_>, max_terms: usize) -> PyResult<Sketch> {
        let terms = interruptible(py, |cancel| self.0.exact(max_terms, cancel))?;
        Ok(Sketch(Arc::new(shapsketch::Surrogate::Terms(terms).into())))
    }

    /// A sketch of all but a part of its variance, and the part of the variance that this has.
    fn truncated(&self, py: Python<'_>, dropped: f64, max_terms: Option<usize>) -> PyResult<(Sketch, f64)> {
        let keep = shapsketch::Keep { dropped, max_terms };
        let truncated = interruptible(py, |cancel| self.0.truncated(keep, cancel))?;
        Ok((Sketch(Arc::new(shapsketch::Surrogate::Terms(truncated.terms).into())), truncated.share))
    }
}

/// A weighted sum of sketches, as a sketch of no known origin.
#[pyfunction]
#[pyo3(signature = (sketches, weights, *, constant, dropped, max_terms))]
fn combine(
    py: Python<'_>,
    sketches: Vec<Sketch>,
    weights: Vec<f64>,
    constant: f64,
    dropped: f64,
    max_terms: Option<usize>,
) -> PyResult<Sketch> {
    let keep = shapsketch::Keep { dropped, max_terms };
    interruptible(py, |cancel| {
        let parts: Vec<_> = sketches.iter().map(|s| &s.0.surrogate).zip(weights).collect();
        shapsketch::Surrogate::combine(&parts, constant, keep, cancel)
    })
    .map(|surrogate| Sketch(Arc::new(surrogate.into())))
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::explain::{Background, Components, Interactions, dinucleotide_shuffles};
    #[pymodule_export]
    use super::{
        Design, Dictionary, Ensemble, Peeling, Plan, Queries, Sketch, Space, Spectrum, combine, peel, regress,
    };

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
