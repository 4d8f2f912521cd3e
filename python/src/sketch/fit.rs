//! Fits that were made in Python, from which the core makes sketches.

use pyo3::prelude::*;
use shapsketch::sketch::{self, AllTerms, Method, Outcome};

use super::Candidate;
use crate::arrays::{self, Codes, Values};
use crate::work::short;

/// How a surrogate was fitted and tested.
#[pyclass(frozen, module = "shapsketch._core", from_py_object)]
#[derive(Clone)]
pub(crate) struct Fit {
    codes: Vec<u8>,
    held_out: sketch::HeldOut,
    sampled_fraction: f64,
    dependent: Vec<(usize, usize)>,
    refit_gain: f64,
    farthest: f64,
    provenance: sketch::Provenance,
}

#[pymethods]
impl Fit {
    #[new]
    #[pyo3(signature = (
        *, codes, values, predictions, method, outcome, budget, n_queries, seed, sampled_fraction = 0.0,
        refit_gain = 0.0, farthest = 0.0, weights = None, dependent = Vec::new(), all_terms = None, notes = Vec::new(),
        candidates = Vec::new()
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of the constructor of a record")]
    fn new(
        py: Python<'_>,
        codes: Codes<'_>,
        values: Values<'_>,
        predictions: Values<'_>,
        method: &str,
        outcome: &str,
        budget: usize,
        n_queries: usize,
        seed: u64,
        sampled_fraction: f64,
        refit_gain: f64,
        farthest: f64,
        weights: Option<Values<'_>>,
        dependent: Vec<(usize, usize)>,
        all_terms: Option<(usize, f64)>,
        notes: Vec<String>,
        candidates: Vec<Candidate>,
    ) -> PyResult<Self> {
        let (method, outcome) = short(py, || Ok((Method::from_name(method)?, Outcome::from_name(outcome)?)))?;
        let all_terms = all_terms.map(|(n_terms, r2)| AllTerms { n_terms, r2 });
        let status = sketch::Status { outcome, all_terms, notes };
        let candidates = candidates.into_iter().map(sketch::Candidate::from).collect();
        let (values, predictions) = (arrays::values(&values), arrays::values(&predictions));
        let weights = weights.map(|weights| arrays::values(&weights));
        Ok(Self {
            codes: arrays::codes(&codes),
            held_out: sketch::HeldOut { weights, ..sketch::HeldOut::new(values, predictions) },
            sampled_fraction,
            dependent,
            refit_gain,
            farthest,
            provenance: sketch::Provenance { method, status, budget, n_queries, seed, candidates },
        })
    }
}

impl Fit {
    pub(super) fn of(self, surrogate: shapsketch::Surrogate) -> sketch::Fit {
        sketch::Fit {
            surrogate,
            codes: self.codes,
            held_out: self.held_out,
            sampled_fraction: self.sampled_fraction,
            dependent: self.dependent,
            refit_gain: self.refit_gain,
            farthest: self.farthest,
            provenance: self.provenance,
        }
    }
}
