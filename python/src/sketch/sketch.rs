//! Sketches.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use shapsketch::Surrogate;
use shapsketch::explain::shapley_standard_errors;
use shapsketch::frequency::Frequency;
use shapsketch::predictor::Curve;
use shapsketch::sketch::{self, Outcome};
use shapsketch::surrogate::{self, Basis};

use super::{Candidate, Distribution, Fit, HeldOut, SketchInfo};
use crate::amortised::Amortised;
use crate::arrays::{self, Codes, Matrix, Values, Vector};
use crate::predictor::Predictor;
use crate::space::Space;
use crate::surrogate::{Relation, RunTerm, Spectrum, run};
use crate::validation::RSquared;
use crate::work::{abandonable, interruptible, short};

/// Supports, symbols, coefficients and variances of letter patterns.
type Patterns<'py> = (Vec<Vec<u16>>, Vec<Vec<u16>>, Vector<'py, f64>, Option<Vector<'py, f64>>);

/// Relations, terms with runs, and variances of their coefficients.
type Runs<'py> = (Vec<Relation>, Vec<RunTerm>, Option<Vector<'py, f64>>);

#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Sketch(pub(crate) Arc<shapsketch::Sketch>);

impl From<shapsketch::Sketch> for Sketch {
    fn from(sketch: shapsketch::Sketch) -> Self {
        Self(Arc::new(sketch))
    }
}

impl From<Surrogate> for Sketch {
    fn from(surrogate: Surrogate) -> Self {
        shapsketch::Sketch::from(surrogate).into()
    }
}

impl Sketch {
    fn core(&self) -> shapsketch::Sketch {
        (*self.0).clone()
    }
}

#[pymethods]
impl Sketch {
    #[new]
    fn new(spectrum: Spectrum) -> Self {
        Surrogate::Spectrum(spectrum.0).into()
    }

    /// A constant.
    #[staticmethod]
    fn constant_of(py: Python<'_>, space: Space, value: f64) -> PyResult<Self> {
        let terms = vec![(Frequency::default(), value.into())];
        short(py, || shapsketch::surrogate::Spectrum::new(space.0, terms))
            .map(|s| Surrogate::Spectrum(s).into())
    }

    /// The sketch of a surrogate, tested on the held-out data of `fit`.
    #[staticmethod]
    fn from_fit(py: Python<'_>, surrogate: Self, fit: Fit) -> PyResult<Self> {
        let fit = fit.of(surrogate.0.surrogate.clone());
        interruptible(py, |cancel| shapsketch::Sketch::from_fit(fit, cancel)).map(Self::from)
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        abandonable(py, move || shapsketch::Sketch::load(&path)).map(Self::from)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        interruptible(py, |_| self.0.save(&path))
    }

    /// The bytes of the file that `save` writes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        interruptible(py, |_| self.0.to_bytes()).map(|bytes| PyBytes::new(py, &bytes))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        interruptible(py, |_| shapsketch::Sketch::from_bytes(bytes)).map(Self::from)
    }

    /// Whether it was read from a file without a digest.
    #[getter]
    fn unverified(&self) -> bool {
        self.0.unverified
    }

    /// Number of the first position in texts and tables.
    #[getter]
    fn start(&self) -> i64 {
        self.0.start
    }

    fn with_start(&self, py: Python<'_>, start: i64) -> PyResult<Self> {
        short(py, || self.core().with_start(start)).map(Self::from)
    }

    fn with_outcome(&self, py: Python<'_>, outcome: &str) -> PyResult<Self> {
        let outcome = short(py, || Outcome::from_name(outcome))?;
        Ok(self.core().with_outcome(outcome).into())
    }

    fn with_note(&self, note: String) -> Self {
        self.core().with_note(note).into()
    }

    fn with_budget(&self, budget: usize) -> Self {
        self.core().with_budget(budget).into()
    }

    fn with_candidates(&self, candidates: Vec<Candidate>) -> Self {
        self.core().with_candidates(candidates.into_iter().map(sketch::Candidate::from).collect()).into()
    }

    /// The same sketch on the scale of a link; held-out values and predictions on the scale of the model.
    #[pyo3(signature = (name, values = None, predictions = None))]
    fn with_link(
        &self,
        py: Python<'_>,
        name: &str,
        values: Option<Values<'_>>,
        predictions: Option<Values<'_>>,
    ) -> PyResult<Self> {
        let response = values.zip(predictions);
        let response =
            response.map(|(values, predictions)| (arrays::values(&values), arrays::values(&predictions)));
        let response = response.as_ref().map(|(values, predictions)| (&values[..], &predictions[..]));
        short(py, || self.core().with_link(name, response)).map(Self::from)
    }

    /// The sketch of this function times a factor, plus a constant.
    fn rescaled(&self, factor: f64, constant: f64) -> Self {
        self.core().rescaled(factor, constant).into()
    }

    /// The same sketch on the latent scale of a fitted curve; held-out values and predictions on the scale of the model.
    #[pyo3(signature = (knots, curve, *, values, predictions, r2, weights = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a record")]
    fn with_curve(
        &self,
        py: Python<'_>,
        knots: Values<'_>,
        curve: Values<'_>,
        values: Values<'_>,
        predictions: Values<'_>,
        r2: RSquared,
        weights: Option<Values<'_>>,
    ) -> PyResult<Self> {
        let (knots, curve) = (arrays::values(&knots), arrays::values(&curve));
        let held_out = sketch::HeldOut {
            weights: weights.map(|weights| arrays::values(&weights)),
            ..sketch::HeldOut::new(arrays::values(&values), arrays::values(&predictions))
        };
        short(py, || self.core().with_curve(Curve::new(knots, curve)?, held_out, r2.into())).map(Self::from)
    }

    /// Knots and values of the curve from the scale of the sketch to that of the model; `None` if none was fitted.
    #[getter]
    fn curve<'py>(&self, py: Python<'py>) -> Option<(Vector<'py, f64>, Vector<'py, f64>)> {
        let curve = self.0.info.as_ref()?.link.curve.as_ref()?;
        Some((arrays::vector(py, curve.knots().to_vec()), arrays::vector(py, curve.values().to_vec())))
    }

    /// The same sketch with a predictor.
    fn with_predictor(&self, py: Python<'_>, predictor: Predictor) -> PyResult<Self> {
        short(py, || self.core().with_predictor(predictor.0)).map(Self::from)
    }

    /// The same sketch, of queries with this distribution.
    fn with_distribution(&self, py: Python<'_>, distribution: Distribution) -> PyResult<Self> {
        short(py, || self.core().with_distribution(distribution.0)).map(Self::from)
    }

    /// The distribution of the queries; `None` if they were uniform.
    #[getter]
    fn distribution(&self) -> Option<Distribution> {
        self.0.distribution.clone().map(Distribution)
    }

    fn without_predictor(&self) -> Self {
        self.core().without_predictor().into()
    }

    #[getter]
    fn predictor(&self) -> Option<Predictor> {
        self.0.predictor.clone().map(Predictor)
    }

    /// The same sketch with amortised values of its predictor.
    fn with_amortised(&self, py: Python<'_>, amortised: Amortised) -> PyResult<Self> {
        short(py, || self.core().with_amortised(amortised.0)).map(Self::from)
    }

    #[getter]
    fn amortised(&self) -> Option<Amortised> {
        self.0.amortised.clone().map(Amortised)
    }

    #[getter]
    fn space(&self) -> Space {
        Space(self.0.surrogate.space().clone())
    }

    fn __len__(&self) -> usize {
        self.0.surrogate.len()
    }

    #[getter]
    fn constant(&self) -> f64 {
        self.0.surrogate.terms().constant
    }

    fn spectrum(&self, py: Python<'_>) -> PyResult<Spectrum> {
        let sketch = self.0.clone();
        abandonable(py, move || sketch.surrogate.spectrum().map(std::borrow::Cow::into_owned)).map(Spectrum)
    }

    /// Number of terms of each order; `None` for a spectrum.
    fn orders(&self) -> Option<Vec<usize>> {
        let Surrogate::Terms(terms) = &self.0.surrogate else { return None };
        Some(terms.orders())
    }

    /// Letter patterns; `None` if the surrogate is of another kind.
    fn patterns<'py>(&self, py: Python<'py>) -> Option<Patterns<'py>> {
        let Surrogate::Terms(terms) = &self.0.surrogate else { return None };
        if terms.basis != Basis::Letters {
            return None;
        }
        let supports = terms.iter().map(|(support, ..)| support.to_vec()).collect();
        let symbols = terms.iter().map(|(_, labels, _)| labels.to_vec()).collect();
        let coefficients: Vec<f64> = terms.iter().map(|(.., coefficient)| coefficient.re).collect();
        // Students know the variances of positions only.
        let uncertainty = self.0.uncertainty.as_ref();
        let uncertainty = uncertainty.filter(|known| known.patterns.len() == coefficients.len());
        let variances = uncertainty.map(|uncertainty| arrays::vector(py, uncertainty.patterns.clone()));
        Some((supports, symbols, arrays::vector(py, coefficients), variances))
    }

    /// The relations of runs, the terms with runs, and the variances of their coefficients.
    fn runs<'py>(&self, py: Python<'py>) -> Runs<'py> {
        let runs = self.0.surrogate.terms().runs;
        let term =
            |term: surrogate::RunTerm| (term.runs.iter().map(run).collect(), term.sets, term.coefficient);
        let relations = runs.relations.into_iter().map(Relation).collect();
        let variances = self.0.uncertainty.as_ref().map(|uncertainty| uncertainty.runs.clone());
        let variances = variances.filter(|variances| variances.len() == runs.terms.len());
        let terms = runs.terms.into_iter().map(term).collect();
        (relations, terms, variances.map(|variances| arrays::vector(py, variances)))
    }

    /// Frequency of each term with runs in uniform sequences.
    fn run_frequencies(&self, py: Python<'_>) -> PyResult<Vec<f64>> {
        let terms = self.0.surrogate.terms();
        interruptible(py, |_| Ok(terms.runs.frequencies(terms.space.q())))
    }

    /// Names of relations, and the number of terms with runs of each.
    fn run_counts(&self) -> Vec<(String, usize)> {
        let terms = self.0.surrogate.terms();
        terms.runs.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    /// Standard errors of Shapley values `(B, n)`; `None` if they are not known.
    fn standard_errors<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Option<Matrix<'py, f64>>> {
        let Some(uncertainty) = &self.0.uncertainty else { return Ok(None) };
        let codes = arrays::codes(&codes);
        let n = self.0.surrogate.space().n();
        let errors = interruptible(py, |cancel| {
            shapley_standard_errors(&self.0.surrogate.terms(), uncertainty, &codes, cancel)
        })?;
        arrays::matrix(py, errors, codes.len() / n, n).map(Some)
    }

    /// The data of R²; `None` if the sketch was loaded from a file or has no provenance.
    #[getter]
    fn held_out(&self, py: Python<'_>) -> Option<HeldOut> {
        Some(HeldOut::new(py, self.0.held_out.clone()?))
    }

    /// How the sketch was made, and how well it predicts; `None` if that is not known.
    #[getter]
    fn info(&self) -> Option<SketchInfo> {
        self.0.info.clone().map(SketchInfo::from)
    }
}
