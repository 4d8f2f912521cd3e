//! How sketches were made, and how well they predict.

use pyo3::prelude::*;
use shapsketch::sketch;

use crate::arrays::{self, OwnedVector};
use crate::validation::RSquared;

/// How sketching ended.
#[pyclass(frozen, eq, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Status(sketch::Status);

#[pymethods]
impl Status {
    #[getter]
    fn outcome(&self) -> &'static str {
        self.0.outcome.name()
    }

    /// Number of terms, and R² with all of them, if a limit cut some off.
    #[getter]
    fn all_terms(&self) -> Option<(usize, f64)> {
        self.0.all_terms.map(|all| (all.n_terms, all.r2))
    }

    #[getter]
    fn notes(&self) -> Vec<String> {
        self.0.notes.clone()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }
}

/// One of several methods that were tried.
#[pyclass(frozen, get_all, eq, module = "shapsketch._core", from_py_object)]
#[derive(Clone, PartialEq)]
pub(crate) struct Candidate {
    name: String,
    r2: f64,
    seconds: Option<f64>,
    weight: f64,
}

#[pymethods]
impl Candidate {
    #[new]
    fn new(name: String, r2: f64, seconds: Option<f64>, weight: f64) -> Self {
        Self { name, r2, seconds, weight }
    }
}

impl From<sketch::Candidate> for Candidate {
    fn from(candidate: sketch::Candidate) -> Self {
        let sketch::Candidate { name, r2, seconds, weight } = candidate;
        Self { name, r2, seconds, weight }
    }
}

impl From<Candidate> for sketch::Candidate {
    fn from(candidate: Candidate) -> Self {
        let Candidate { name, r2, seconds, weight } = candidate;
        Self { name, r2, seconds, weight }
    }
}

/// The scale of a sketch.
#[pyclass(frozen, get_all, eq, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Link {
    name: String,
    response_r2: Option<RSquared>,
}

/// Details of a regression.
#[pyclass(frozen, get_all, eq, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct RegressionInfo {
    basis: &'static str,
    penalty: Option<f64>,
    refit: f64,
    /// Factors `(pairs, higher, scattered, growth)`.
    penalty_factors: (f64, f64, f64, Option<f64>),
    duality_gap: f64,
    n_atoms: u64,
    unseen: Vec<(usize, u8)>,
}

impl From<sketch::RegressionInfo> for RegressionInfo {
    fn from(info: sketch::RegressionInfo) -> Self {
        let factors = info.penalty_factors;
        Self {
            basis: info.basis.name(),
            penalty: info.lambda,
            refit: info.refit,
            penalty_factors: (factors.pairs, factors.higher, factors.scattered, factors.growth),
            duality_gap: info.gap,
            n_atoms: info.n_atoms,
            unseen: info.unseen,
        }
    }
}

/// How a sketch was made, and how well it predicts.
#[pyclass(frozen, get_all, eq, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct SketchInfo {
    method: &'static str,
    status: Status,
    budget: usize,
    n_queries: usize,
    seed: u64,
    candidates: Vec<Candidate>,
    r2: RSquared,
    noise: f64,
    unexplained: f64,
    regression: Option<RegressionInfo>,
    link: Link,
    dependent: Vec<(usize, usize)>,
}

impl From<sketch::SketchInfo> for SketchInfo {
    fn from(info: sketch::SketchInfo) -> Self {
        let provenance = info.provenance;
        Self {
            method: provenance.method.name(),
            status: Status(provenance.status),
            budget: provenance.budget,
            n_queries: provenance.n_queries,
            seed: provenance.seed,
            candidates: provenance.candidates.into_iter().map(Candidate::from).collect(),
            r2: info.r2.into(),
            noise: info.noise,
            unexplained: info.unexplained,
            regression: info.regression.map(RegressionInfo::from),
            link: Link { name: info.link.name, response_r2: info.link.response_r2.map(RSquared::from) },
            dependent: info.dependent,
        }
    }
}

/// Held-out values, and predictions of them.
#[pyclass(frozen, get_all, module = "shapsketch._core")]
pub(crate) struct HeldOut {
    values: OwnedVector<f64>,
    predictions: OwnedVector<f64>,
}

impl HeldOut {
    pub(super) fn new(py: Python<'_>, held_out: sketch::HeldOut) -> Self {
        let vector = |data| arrays::vector(py, data).unbind();
        Self { values: vector(held_out.values), predictions: vector(held_out.predictions) }
    }
}
