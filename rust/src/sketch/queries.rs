//! The queries of a plan, and the sketch of their values.

use std::ops::Range;
use std::sync::Arc;

use super::plan::Plan;
use super::provenance::{Link, Method, SketchInfo};
use super::sketch::Sketch;
use crate::anova::Components;
use crate::cancel::Cancel;
use crate::design::{Observations, QueryDesign};
use crate::error::Result;
use crate::frequency::Frequency;
use crate::peel::{Peeling, PeelingDecoder};
use crate::regress::{Sample, SparseRegression};
use crate::space::SequenceSpace;
use crate::surrogate::{Spectrum, Surrogate};
use crate::validation::{RSquared, check_values};

/// Noise levels tried, as multiples of the one estimated.
const NOISE_FACTORS: [f64; 4] = [0.5, 2.0, 4.0, 8.0];

/// All queries of a plan, each once.
#[derive(Clone, Debug)]
pub struct Queries {
    pub(super) plan: Plan,
    /// The designed queries, if the plan has a design.
    pub(super) design: Option<Arc<QueryDesign>>,
    /// What follows them, row-major codes: validation and test queries, or uniform ones.
    pub(super) rows: Vec<u8>,
}

impl Queries {
    /// Number of queries: the model evaluations to pay for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.designed() + self.rows.len() / self.plan.space.n()
    }

    /// Never: a plan has queries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.plan.space
    }

    fn designed(&self) -> usize {
        self.design.as_ref().map_or(0, |design| design.len())
    }

    /// Queries `range`, in the order design, validation, test; row-major codes. What lies beyond the
    /// last query is cut off.
    #[must_use]
    pub fn batch(&self, range: Range<usize>) -> Vec<u8> {
        let n = self.plan.space.n();
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let designed = self.designed();
        let mut rows = self.design.as_ref().map_or_else(Vec::new, |design| design.queries(start..end));
        if end > designed {
            rows.extend_from_slice(&self.rows[(start.max(designed) - designed) * n..(end - designed) * n]);
        }
        rows
    }

    /// Makes a sketch of the values of all queries, in their order.
    ///
    /// Peeling tries noise levels around the estimated one and keeps the spectrum that predicts the
    /// validation values best; a constant, if none predicts better than that. Regression is
    /// cross-validated.
    ///
    /// # Errors
    /// If there is not one finite value for each query, or the caller cancels.
    pub fn sketch(&self, values: &[f64], cancel: &Cancel) -> Result<Sketch> {
        check_values("query", values, self.len())?;
        let Some(design) = &self.design else {
            let sample =
                Sample::new(self.plan.space.clone(), self.rows.clone(), values.to_vec())?.deterministic();
            let regression = SparseRegression { seed: self.plan.seed, ..SparseRegression::default() };
            let mut sketch = Sketch::of_regression(regression.fit(&sample, cancel)?, &sample, self.plan.seed);
            if let Some(info) = &mut sketch.info {
                info.budget = self.plan.budget;
            }
            return Ok(sketch);
        };
        let (design_values, held) = values.split_at(design.len());
        let observations = Observations::new(design.clone(), design_values.to_vec())?;
        let validated = self.plan.validation_queries;
        let (peeling, judged, truth) = match self.plan.method {
            // There is nothing else to test on: every sequence is in the design.
            Method::Exact => {
                let peeling = PeelingDecoder::default().decode(&observations, cancel)?;
                (peeling, design.queries(0..design.len()), design_values)
            }
            _ => {
                let (validation, test) = self.rows.split_at(validated * self.plan.space.n());
                let peeling = self.choose(&observations, validation, &held[..validated], cancel)?;
                (peeling, test.to_vec(), &held[validated..])
            }
        };
        let surrogate = Surrogate::Spectrum(peeling.spectrum);
        let predictions = Components::new(&surrogate.terms())?.predict(&judged, cancel)?;
        let exact = self.plan.method == Method::Exact;
        let info = SketchInfo {
            method: self.plan.method,
            status: if exact { "exact".into() } else { peeling.status.name().into() },
            unexplained: peeling.unexplained,
            noise: peeling.noise,
            budget: self.plan.budget,
            n_queries: self.len(),
            seed: self.plan.seed,
            r2: RSquared::new(truth, &predictions)?,
            regression: None,
            link: Link::default(),
            candidates: Vec::new(),
            teacher: None,
        };
        let held_out = Some((truth.to_vec(), predictions));
        Ok(Sketch { surrogate, uncertainty: None, info: Some(info), held_out })
    }

    fn choose(
        &self,
        observations: &Observations,
        validation: &[u8],
        truth: &[f64],
        cancel: &Cancel,
    ) -> Result<Peeling> {
        let error = |spectrum: &Spectrum| -> Result<f64> {
            let predictions = spectrum.predict(validation)?;
            Ok(truth.iter().zip(predictions).map(|(y, p)| (y - p).powi(2)).sum())
        };
        let mut best = PeelingDecoder::default().decode(observations, cancel)?;
        let mut least = error(&best.spectrum)?;
        let estimated = best.noise;
        for factor in NOISE_FACTORS {
            let decoder = PeelingDecoder { noise: Some(factor * estimated), ..PeelingDecoder::default() };
            let peeling = decoder.decode(observations, cancel)?;
            let next = error(&peeling.spectrum)?;
            if next < least {
                (best, least) = (peeling, next);
            }
        }
        let values = observations.values();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let constant = Spectrum::from_representatives(
            self.plan.space.clone(),
            vec![(Frequency::default(), mean.into())],
        );
        if error(&constant)? < least {
            best = Peeling { spectrum: constant, unexplained: 1.0, ..best };
        }
        Ok(best)
    }
}
