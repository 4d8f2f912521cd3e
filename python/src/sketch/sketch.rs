//! Sketches.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{self, Codes, Matrix, Values, Vector};
use crate::space::Space;
use crate::surrogate::Spectrum;
use crate::work::{interruptible, short};

/// Two vectors of equal length.
type Pair<'py> = (Vector<'py, f64>, Vector<'py, f64>);
/// Supports, letters, coefficients and variances of letter patterns.
type Patterns<'py> = (Vec<Vec<u16>>, Vec<Vec<u16>>, Vector<'py, f64>, Option<Vector<'py, f64>>);

#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Sketch(pub(crate) Arc<shapsketch::Sketch>);

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
        if terms.basis != shapsketch::surrogate::Basis::Letters {
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
    fn standard_errors<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Option<Matrix<'py, f64>>> {
        let Some(known) = &self.0.uncertainty else { return Ok(None) };
        let codes = arrays::codes(&codes);
        let n = self.0.surrogate.space().n();
        let errors = interruptible(py, |cancel| {
            shapsketch::explain::shapley_standard_errors(&self.0.surrogate.terms(), known, &codes, cancel)
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
        let response_r2 =
            both.map(|(v, p)| short(py, || shapsketch::validation::RSquared::new(&v, &p))).transpose()?;
        if let Some(info) = &mut sketch.info {
            info.status = status.unwrap_or_else(|| info.status.clone());
            info.budget = budget.unwrap_or(info.budget);
            if let Some(name) = link {
                info.link = shapsketch::sketch::Link { name, response_r2 };
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
        let method =
            shapsketch::sketch::Method::of_name(method).unwrap_or(shapsketch::sketch::Method::Average);
        let surrogate = self.0.surrogate.clone();
        let candidate =
            |(name, r2, seconds, weight)| shapsketch::sketch::Candidate { name, r2, seconds, weight };
        interruptible(py, |cancel| {
            let fitted = shapsketch::Components::new(&surrogate.terms())?.predict(&codes, cancel)?;
            let mut r2 =
                shapsketch::validation::RSquared::over_finite_space(&values, &predictions, &fitted, share)?;
            r2.high += rest * (1.0 - share) * (1.0 - r2.value);
            let residuals: Vec<f64> = values.iter().zip(&predictions).map(|(v, p)| v - p).collect();
            let noise = (residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len() as f64).sqrt();
            let sample = shapsketch::regress::Sample::new(surrogate.space().clone(), codes, residuals)?;
            let info = shapsketch::sketch::SketchInfo {
                method,
                status,
                unexplained: 1.0 - r2.value,
                noise,
                budget,
                n_queries: queries,
                seed,
                r2,
                regression: None,
                link: shapsketch::sketch::Link::default(),
                candidates: candidates.into_iter().map(candidate).collect(),
                teacher: teacher
                    .map(|teacher| shapsketch::validation::RSquared::new(&values, &teacher))
                    .transpose()?,
            };
            Ok(shapsketch::Sketch {
                uncertainty: shapsketch::regress::uncertainty_from_residuals(&sample, cancel)?,
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
        let candidate =
            |(name, r2, seconds, weight)| shapsketch::sketch::Candidate { name, r2, seconds, weight };
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

pub(crate) fn regression<'py>(
    py: Python<'py>,
    info: &shapsketch::sketch::RegressionInfo,
) -> PyResult<Bound<'py, PyDict>> {
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
