//! The queries of a plan, and the sketch of their values.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Plan;
use super::provenance::{Method, Outcome, Provenance, SketchInfo};
use super::sketch::{HeldOut, Sketch};
use crate::anova::Components;
use crate::cancel::Cancel;
use crate::design::{DesignConfig, Observations, QueryDesign};
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::peel::{Bins, Peeling, PeelingDecoder, PeelingStatus};
use crate::regress::{Sample, SparseRegression};
use crate::space::SequenceSpace;
use crate::surrogate::{Spectrum, Surrogate};
use crate::validation::{RSquared, check_signal, check_values, mean};

/// Noise levels to try, as multiples of the estimated one.
const NOISE_FACTORS: [f64; 4] = [0.5, 2.0, 4.0, 8.0];
/// Values have no sparse spectrum if peeling leaves more noise than this multiple of their standard deviation.
const MOST_NOISE: f64 = 0.25;
/// Sequences that are generated at a time.
const BATCH: usize = 1 << 16;

/// All queries of a plan, each once.
#[derive(Clone, Debug)]
pub struct Queries {
    plan: Plan,
    source: Source,
    /// Queries that do not belong to a design, row-major codes: validation and test queries, or uniform queries.
    rows: Vec<u8>,
}

/// The origin of the queries, which decides how their values are sketched.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// All sequences of the space.
    Exact(Arc<QueryDesign>),
    /// A design for peeling; validation and test queries follow.
    Peel { design: Arc<QueryDesign>, validation_queries: usize },
    /// Uniform queries for regression; those of a design, if there is one, come first.
    Regress(Option<Arc<QueryDesign>>),
}

impl Queries {
    pub(super) fn new(plan: Plan, source: Source, rows: Vec<u8>) -> Self {
        Self { plan, source, rows }
    }

    /// Number of queries: the model evaluations that are needed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.designed() + self.rows.len() / self.space().n()
    }

    /// Always false: a plan has queries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        self.plan.space()
    }

    fn design(&self) -> Option<&Arc<QueryDesign>> {
        match &self.source {
            Source::Exact(design) | Source::Peel { design, .. } => Some(design),
            Source::Regress(design) => design.as_ref(),
        }
    }

    /// Number of queries of the design.
    fn designed(&self) -> usize {
        self.design().map_or(0, |design| design.len())
    }

    /// The first group of the design of a regression, whose queries come first; `None` without a design.
    ///
    /// # Errors
    /// If the caller cancels.
    pub fn first_group(&self, cancel: &Cancel) -> Result<Option<QueryDesign>> {
        let Source::Regress(Some(design)) = &self.source else { return Ok(None) };
        let config = DesignConfig { groups: 1, ..*design.config() };
        QueryDesign::new(self.space().clone(), config, cancel).map(Some)
    }

    /// Whether the values of the first group of the design (see [`Self::first_group`]) are those of a spectrum that is sparse
    /// enough for peeling, with little noise. If not, the queries of [`Plan::without_peeling`], of which those of the first
    /// group are the first, are better: the error of a regression is lower if more of its queries are independent.
    ///
    /// # Errors
    /// If there is no design, the values are not one finite number for each of these queries, or the caller cancels.
    pub fn is_sparse(&self, values: &[f64], cancel: &Cancel) -> Result<bool> {
        let group = self.first_group(cancel)?;
        let group = group.ok_or_else(|| Error::Design("the queries of this plan have no design".into()))?;
        check_values("query", values, group.len())?;
        let centre = mean(values, None);
        let centred: Vec<f64> = values.iter().map(|value| value - centre).collect();
        let variance = centred.iter().map(|value| value * value).sum::<f64>() / centred.len() as f64;
        let observations = Observations::new(Arc::new(group), centred)?;
        let peeling = PeelingDecoder::default().decode_owned(observations, cancel)?;
        Ok(peeling.noise <= MOST_NOISE * variance.sqrt())
    }

    /// Queries `range`, in the order design, validation, test; row-major codes. The range is cut off at the last
    /// query.
    #[must_use]
    pub fn batch(&self, range: Range<usize>) -> Vec<u8> {
        let n = self.space().n();
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let designed = self.designed();
        let mut rows = self.design().map_or_else(Vec::new, |design| design.queries(start..end));
        if end > designed {
            rows.extend_from_slice(&self.rows[(start.max(designed) - designed) * n..(end - designed) * n]);
        }
        rows
    }

    /// Makes a sketch from the values of all queries, in the order of the queries.
    ///
    /// Peeling tries several noise levels and keeps the spectrum that predicts the validation values best, or a
    /// constant if that predicts them better. Regression is cross-validated.
    ///
    /// # Errors
    /// If the values are not one finite number for each query, or the caller cancels.
    pub fn sketch(&self, values: &[f64], cancel: &Cancel) -> Result<Sketch> {
        self.sketch_within(None, values, cancel)
    }

    /// The same; a regression ends after this time, approximately: see [`SparseRegression::time`].
    ///
    /// # Errors
    /// As for [`Self::sketch`].
    pub fn sketch_within(&self, time: Option<Duration>, values: &[f64], cancel: &Cancel) -> Result<Sketch> {
        match &self.source {
            Source::Peel { .. } => self.sketch_in_place(time, &mut values.to_vec(), cancel),
            Source::Exact(design) => {
                self.check(values)?;
                self.exact(design, values, cancel)
            }
            Source::Regress(_) => {
                self.check(values)?;
                self.regress(values, time, cancel)
            }
        }
    }

    /// The same. Peeling decodes in the memory of the values, which have no meaning afterwards: it needs 8 bytes for each
    /// query in all, and a few blocks.
    ///
    /// # Errors
    /// As for [`Self::sketch`].
    pub fn sketch_in_place(
        &self,
        time: Option<Duration>,
        values: &mut [f64],
        cancel: &Cancel,
    ) -> Result<Sketch> {
        let Source::Peel { design, validation_queries } = &self.source else {
            return self.sketch_within(time, values, cancel);
        };
        self.check(values)?;
        self.peel_design(design, *validation_queries, values, cancel)
    }

    /// # Errors
    /// If the values are not one finite number for each query, or differ by rounding only.
    fn check(&self, values: &[f64]) -> Result<()> {
        check_values("query", values, self.len())?;
        check_signal("query", values)
    }

    fn exact(&self, design: &Arc<QueryDesign>, values: &[f64], cancel: &Cancel) -> Result<Sketch> {
        // A large common offset would cost digits of the coefficients, so it is subtracted first.
        let centre = mean(values, None);
        let centred = values.iter().map(|v| v - centre).collect();
        let observations = Observations::new(design.clone(), centred)?;
        let peeling = PeelingDecoder::default().decode_owned(observations, cancel)?;
        let peeling = shifted(peeling, centre);
        // R² is computed on all sequences, because the design leaves no sequence for a test.
        let everywhere = peeling.spectrum.everywhere(cancel)?;
        let mut predictions = Vec::with_capacity(values.len());
        for start in (0..design.len()).step_by(BATCH) {
            let codes = design.queries(start..start + BATCH);
            let rows = codes.chunks_exact(self.space().n());
            predictions.extend(rows.map(|row| everywhere[self.space().number(row)]));
        }
        self.finish(peeling, Outcome::Exact, predictions, values)
    }

    /// Makes a sketch by peeling from the values of all queries of a regression; `None` if no queries have a design.
    ///
    /// A third of the uniform queries choose the noise level, the others are for R².
    ///
    /// # Errors
    /// As for [`Self::sketch`].
    pub fn peel(&self, values: &[f64], cancel: &Cancel) -> Result<Option<Sketch>> {
        self.check(values)?;
        let Source::Regress(Some(design)) = &self.source else { return Ok(None) };
        let validation_queries = self.rows.len() / self.space().n() / 3;
        self.peel_design(design, validation_queries, &mut values.to_vec(), cancel).map(Some)
    }

    fn peel_design(
        &self,
        design: &Arc<QueryDesign>,
        validation_queries: usize,
        values: &mut [f64],
        cancel: &Cancel,
    ) -> Result<Sketch> {
        let centre = mean(values, None);
        let (values, held_out) = values.split_at_mut(design.len());
        let (validation_values, test_values) = held_out.split_at(validation_queries);
        let (validation, test) = self.rows.split_at(validation_queries * self.space().n());
        values.iter_mut().for_each(|value| *value -= centre);
        check_values("design", values, design.len())?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut rest = Vec::new();
        let mut bins = Bins::new(design.clone(), values, &mut rest, mean, cancel)?;
        let truth: Vec<f64> = validation_values.iter().map(|value| value - centre).collect();
        let peeling = self.choose(&mut bins, validation, &truth, cancel)?;
        let outcome = peeling.status.into();
        let peeling = shifted(peeling, centre);
        let predictions = Components::new(&peeling.spectrum.terms())?.predict(test, cancel)?;
        self.finish(peeling, outcome, predictions, test_values)
    }

    fn regress(&self, values: &[f64], time: Option<Duration>, cancel: &Cancel) -> Result<Sketch> {
        let codes = self.batch(0..self.len());
        let sample = Sample::new(self.space().clone(), codes, values.to_vec())?.deterministic();
        let regression = SparseRegression { seed: self.plan.seed(), time, ..SparseRegression::default() };
        let sketch = Sketch::from_regression(regression.fit(&sample, cancel)?, &sample, self.plan.seed());
        Ok(sketch.with_budget(self.plan.budget()))
    }

    /// The sketch of a peeled spectrum, with its predictions of these values.
    fn finish(
        &self,
        peeling: Peeling,
        outcome: Outcome,
        predictions: Vec<f64>,
        values: &[f64],
    ) -> Result<Sketch> {
        let surrogate = Surrogate::Spectrum(peeling.spectrum);
        let exact = outcome == Outcome::Exact;
        let provenance = Provenance {
            method: if exact { Method::Exact } else { Method::Peel },
            status: outcome.into(),
            budget: self.plan.budget(),
            n_queries: self.len(),
            seed: self.plan.seed(),
            candidates: Vec::new(),
        };
        let r2 = match exact {
            true => RSquared::of_all(values, &predictions)?,
            false => RSquared::new(values, &predictions)?,
        };
        let info =
            SketchInfo { unexplained: peeling.unexplained, ..SketchInfo::new(provenance, r2, peeling.noise) };
        let held_out = HeldOut::new(values.to_vec(), predictions);
        Ok(Sketch { info: Some(info), held_out: Some(held_out), ..Sketch::from(surrogate) })
    }

    /// Decodes at several noise levels. Returns the spectrum, or the constant, that predicts the validation values
    /// best.
    fn choose(
        &self,
        bins: &mut Bins<'_>,
        validation: &[u8],
        truth: &[f64],
        cancel: &Cancel,
    ) -> Result<Peeling> {
        let error = |spectrum: &Spectrum| -> Result<f64> {
            let predictions = spectrum.predict(validation)?;
            Ok(truth.iter().zip(predictions).map(|(y, p)| (y - p).powi(2)).sum())
        };
        let mean = bins.offset;
        let mut best = PeelingDecoder::default().decode_bins(bins, cancel)?;
        let mut least = error(&best.spectrum)?;
        let estimated = best.noise;
        for factor in NOISE_FACTORS {
            let decoder = PeelingDecoder { noise: Some(factor * estimated), ..PeelingDecoder::default() };
            let peeling = decoder.decode_bins(bins, cancel)?;
            let next = error(&peeling.spectrum)?;
            if next < least {
                (best, least) = (peeling, next);
            }
        }
        let constant =
            Spectrum::from_representatives(self.space().clone(), vec![(Frequency::default(), mean.into())]);
        if error(&constant)? < least {
            best = Peeling { spectrum: constant, unexplained: 1.0, ..best };
        }
        Ok(best)
    }
}

/// The same result for values plus a constant.
fn shifted(peeling: Peeling, constant: f64) -> Peeling {
    Peeling { spectrum: peeling.spectrum.shifted(constant), ..peeling }
}

impl From<PeelingStatus> for Outcome {
    fn from(status: PeelingStatus) -> Self {
        match status {
            PeelingStatus::Converged => Self::Converged,
            PeelingStatus::Stalled => Self::Stalled,
            PeelingStatus::RoundLimit => Self::RoundLimit,
        }
    }
}
