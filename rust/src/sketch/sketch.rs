//! Sketches: a surrogate and its provenance.

use std::sync::Arc;

use super::distribution::Distribution;
use super::provenance::{Candidate, Link, Method, Outcome, Provenance, RegressionInfo, SketchInfo, Status};
use crate::amortised::Amortised;
use crate::anova::Components;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::predictor::{Curve, Predictor};
use crate::regress::{Regression, Sample, uncertainty_from_residuals};
use crate::surrogate::{Surrogate, Uncertainty};
use crate::validation::{RSquared, Validation, root_mean_square};

/// A surrogate, with its provenance if that is known.
///
/// ```
/// use shapsketch::sketch::Strategy;
/// use shapsketch::{Cancel, Plan, SequenceSpace};
/// let cancel = Cancel::new();
/// let space = SequenceSpace::new("ACGT", 3)?;
/// let queries = Plan::new(space, 64, Strategy::Exact, 0)?.queries(&cancel)?;
/// let values: Vec<f64> = queries.batch(0..64).chunks(3).map(|x| f64::from(x[0])).collect();
/// let sketch = queries.sketch(&values, &cancel)?.with_note("an example");
/// let status = sketch.info.map(|info| info.provenance.status);
/// assert_eq!(status.map(|status| status.to_string()), Some("exact; an example".into()));
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The closed form that approximates the model.
    pub surrogate: Surrogate,
    /// Variances of its terms, if they are known.
    pub uncertainty: Option<Uncertainty>,
    /// How it was made, and how well it predicts.
    pub info: Option<SketchInfo>,
    /// The data of its R²; not saved.
    pub held_out: Option<HeldOut>,
    /// The best predictor of the same values, if one was fitted; it is closer to the model than the closed form.
    pub predictor: Option<Arc<Predictor>>,
    /// The distribution of the queries; `None` if they were uniform, or for measured data.
    pub distribution: Option<Distribution>,
    /// Amortised Shapley values of the predictor, if they were trained.
    pub amortised: Option<Arc<Amortised>>,
    /// Number of the first position, from `-MAX_START` to `MAX_START` (see [`MAX_START`]), for texts and tables about the
    /// sketch. Codes and supports count from 0.
    pub start: i64,
    /// Whether it was read from a file without a digest, in which damage cannot be detected.
    pub unverified: bool,
}

/// Largest absolute value of the number of the first position.
pub const MAX_START: i64 = 1_000_000_000;

/// Held-out values, and predictions of them by fits that did not use them.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// Values of the model.
    pub values: Vec<f64>,
    /// Predictions.
    pub predictions: Vec<f64>,
    /// Weight of each row; `None` for equal weights.
    pub weights: Option<Vec<f64>>,
    /// Number of the sequence of each row, from 0 without gaps; `None` if no sequence has several rows.
    pub sequences: Option<Vec<usize>>,
}

impl HeldOut {
    /// Values and predictions of distinct sequences of equal weights.
    #[must_use]
    pub fn new(values: Vec<f64>, predictions: Vec<f64>) -> Self {
        Self { values, predictions, weights: None, sequences: None }
    }

    fn validation(&self) -> Validation<'_> {
        Validation {
            weights: self.weights.as_deref(),
            sequences: self.sequences.as_deref(),
            ..Validation::new(&self.values, &self.predictions)
        }
    }
}

/// A surrogate that was fitted outside [`crate::Queries`], and how it was tested.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The final fit.
    pub surrogate: Surrogate,
    /// The held-out sequences, row-major codes.
    pub codes: Vec<u8>,
    /// Their values, and predictions by a fit that did not use them. [`Sketch::from_fit`] finds the rows of a sequence.
    pub held_out: HeldOut,
    /// Fraction of the space to which the final fit was fitted if values have no noise; else 0. R² uses the final fit
    /// for this fraction, and the held-out predictions for the rest.
    pub sampled_fraction: f64,
    /// Pairs of positions whose symbols depend on each other in the data; see
    /// [`crate::regress::dependent_positions`]. If there
    /// are any, the sketch has no standard errors.
    pub dependent: Vec<(usize, usize)>,
    /// Largest relative decrease of `1 - R²` from the tested fit to the final fit, which learns from more data. It
    /// raises the upper end of the interval of R².
    pub refit_gain: f64,
    /// Share of the squared deviations of all values, those that the fit learned from included, that the farthest sequence
    /// has; see [`crate::validation::farthest_share`]. 0 if there are no other values.
    pub farthest: f64,
    /// How the surrogate was made.
    pub provenance: Provenance,
}

impl From<Surrogate> for Sketch {
    /// A sketch without provenance.
    fn from(surrogate: Surrogate) -> Self {
        Self {
            surrogate,
            uncertainty: None,
            info: None,
            held_out: None,
            predictor: None,
            distribution: None,
            amortised: None,
            start: 0,
            unverified: false,
        }
    }
}

impl Sketch {
    /// The sketch of a fit: measures R² and noise on the held-out values, and estimates standard errors from their
    /// residuals. There are no standard errors if few held-out sequences carry R².
    ///
    /// # Errors
    /// If the held-out codes, values and predictions do not match, there are fewer than two of them, a number is not
    /// finite, or the caller cancels.
    pub fn from_fit(fit: Fit, cancel: &Cancel) -> Result<Self> {
        let Fit {
            surrogate,
            codes,
            mut held_out,
            sampled_fraction,
            refit_gain,
            farthest,
            provenance,
            dependent,
        } = fit;
        let fitted = Components::new(&surrogate.terms())?.predict(&codes, cancel)?;
        let errors = |predictions: &[f64]| -> Vec<f64> {
            held_out.values.iter().zip(predictions).map(|(v, p)| v - p).collect()
        };
        let weights = held_out.weights.clone();
        let size = |residuals: &[f64]| root_mean_square(residuals, weights.as_deref());
        // The final fit may drop small terms, so that it is worse than the tested one.
        let residuals = [errors(&held_out.predictions), errors(&fitted)];
        let residuals = if size(&residuals[1]) > size(&residuals[0]) { &residuals[1] } else { &residuals[0] };
        let residuals = Sample::of_residuals(surrogate.space().clone(), codes, residuals.clone(), weights)?;
        held_out.sequences = Some(residuals.distinct(None).rows);
        let validation = Validation {
            fitted: &fitted,
            sampled_fraction,
            gain: refit_gain,
            farthest,
            ..held_out.validation()
        };
        let r2 = validation.r_squared()?;
        let noise = root_mean_square(residuals.values(), residuals.weights());
        let known = dependent.is_empty() && !r2.is_undefined() && !r2.is_carried_by_few();
        let uncertainty = if known { uncertainty_from_residuals(&residuals, cancel)? } else { None };
        Ok(Self {
            uncertainty,
            surrogate,
            info: Some(SketchInfo { dependent, ..SketchInfo::new(provenance, r2, noise) }),
            held_out: Some(held_out),
            predictor: None,
            distribution: None,
            amortised: None,
            start: 0,
            unverified: false,
        })
    }

    /// The sketch of a regression.
    #[must_use]
    pub fn from_regression(regression: Regression, sample: &Sample, seed: u64) -> Self {
        let Regression { surrogate, uncertainty, r2, held_out_predictions, .. } = regression;
        let count = r2.count;
        let outcome = if regression.complete { Outcome::CrossValidated } else { Outcome::TimeLimit };
        let provenance = Provenance {
            method: Method::Regress,
            status: outcome.into(),
            budget: count,
            n_queries: count,
            seed,
            candidates: Vec::new(),
        };
        let details = RegressionInfo {
            basis: regression.basis,
            lambda: Some(regression.lambda).filter(|lambda| lambda.is_finite()),
            refit: regression.refit,
            penalty_factors: regression.penalty_factors,
            gap: regression.gap,
            n_atoms: u64::try_from(regression.n_atoms).unwrap_or(u64::MAX),
            unseen: regression.unseen,
        };
        let info = SketchInfo {
            regression: Some(details),
            dependent: regression.dependent,
            ..SketchInfo::new(provenance, r2, regression.noise)
        };
        let held_out = HeldOut {
            weights: sample.weights().map(<[f64]>::to_vec),
            sequences: Some(sample.distinct(None).rows),
            ..HeldOut::new(sample.values().to_vec(), held_out_predictions)
        };
        Self {
            surrogate,
            uncertainty,
            info: Some(info),
            held_out: Some(held_out),
            predictor: None,
            distribution: None,
            amortised: None,
            start: 0,
            unverified: false,
        }
    }

    /// The same sketch with a predictor, and without amortised values of another one.
    ///
    /// # Errors
    /// If the predictor belongs to another space.
    pub fn with_predictor(self, predictor: Arc<Predictor>) -> Result<Self> {
        self.surrogate.space().check_same(predictor.space())?;
        Ok(Self { predictor: Some(predictor), amortised: None, ..self })
    }

    /// The same sketch without its predictor, and without amortised values of it.
    #[must_use]
    pub fn without_predictor(self) -> Self {
        Self { predictor: None, amortised: None, ..self }
    }

    /// The same sketch with amortised Shapley values of its predictor.
    ///
    /// # Errors
    /// If the sketch has no predictor, or the network belongs to another space.
    pub fn with_amortised(self, amortised: Arc<Amortised>) -> Result<Self> {
        self.surrogate.space().check_same(amortised.space())?;
        if self.predictor.is_none() {
            let (expected, got) = ("a sketch with a predictor", "one without".into());
            return Err(Error::Parameter { name: "amortised values", expected, got });
        }
        Ok(Self { amortised: Some(amortised), ..self })
    }

    /// The same sketch, of queries with this distribution.
    ///
    /// # Errors
    /// If the distribution belongs to another space.
    pub fn with_distribution(self, distribution: Distribution) -> Result<Self> {
        distribution.check(self.surrogate.space())?;
        Ok(Self { distribution: Some(distribution), ..self })
    }

    /// The same sketch, whose first position has another number.
    ///
    /// # Errors
    /// If the number is beyond [`MAX_START`].
    pub fn with_start(self, start: i64) -> Result<Self> {
        if start.abs() > MAX_START {
            let (expected, got) = ("from -10^9 to 10^9", start.to_string());
            return Err(Error::Parameter { name: "start", expected, got });
        }
        Ok(Self { start, ..self })
    }

    /// The same sketch with another outcome; a sketch without provenance stays as it is.
    #[must_use]
    pub fn with_outcome(self, outcome: Outcome) -> Self {
        self.with_status(|status| status.outcome = outcome)
    }

    /// The same sketch with a further note in its status; a sketch without provenance stays as it is.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        self.with_status(|status| status.notes.push(note.into()))
    }

    /// The same sketch with another budget; a sketch without provenance stays as it is.
    #[must_use]
    pub fn with_budget(self, budget: usize) -> Self {
        self.with_info(|info| info.provenance.budget = budget)
    }

    /// The same sketch with these candidates; a sketch without provenance stays as it is.
    #[must_use]
    pub fn with_candidates(self, candidates: Vec<Candidate>) -> Self {
        self.with_info(|info| info.provenance.candidates = candidates)
    }

    /// The same sketch, marked as a sketch of `link(score)`; `response` has the values and predictions of
    /// [`Sketch::held_out`] on the scale of the model. A sketch without provenance stays as it is.
    ///
    /// # Errors
    /// If there are not as many values and predictions as held-out rows, or one is not finite.
    pub fn with_link(self, name: &str, response: Option<(&[f64], &[f64])>) -> Result<Self> {
        let response_r2 = match (response, &self.held_out) {
            (None, _) => None,
            (Some((values, predictions)), None) => Some(RSquared::new(values, predictions)?),
            (Some((values, predictions)), Some(held_out)) => {
                let (got, expected) = (values.len(), held_out.values.len());
                if got != expected {
                    return Err(Error::ValueCount { what: "value", got, expected });
                }
                let scaled = Validation { values, predictions, fitted: predictions, ..held_out.validation() };
                Some(scaled.r_squared()?)
            }
        };
        Ok(self.with_info(|info| info.link = Link { name: name.into(), response_r2, curve: None }))
    }

    /// The sketch of this function times a factor, plus a constant; without standard errors.
    #[must_use]
    pub fn rescaled(self, factor: f64, constant: f64) -> Self {
        Self { surrogate: self.surrogate.scaled(factor).shifted(constant), uncertainty: None, ..self }
    }

    /// The same sketch, marked as the latent scale of a fitted curve. `held_out` has values and predictions on the scale of
    /// the model, and `r2` is their R²: that of the sketch refers to this scale. It has no standard errors, because they
    /// would not contain those of the curve. A sketch without provenance has no link.
    ///
    /// # Errors
    /// If the values of the curve do not ascend, or there are not as many held-out values as predictions.
    pub fn with_curve(self, curve: Curve, held_out: HeldOut, r2: RSquared) -> Result<Self> {
        let curve = curve.ascending()?;
        let (got, expected) = (held_out.predictions.len(), held_out.values.len());
        if got != expected {
            return Err(Error::ValueCount { what: "prediction", got, expected });
        }
        let residuals: Vec<f64> =
            held_out.values.iter().zip(&held_out.predictions).map(|(v, p)| v - p).collect();
        let noise = root_mean_square(&residuals, held_out.weights.as_deref());
        let sketch = Self { held_out: Some(held_out), uncertainty: None, ..self };
        Ok(sketch.with_info(|info| {
            info.unexplained = if r2.is_undefined() { 0.0 } else { 1.0 - r2.value };
            (info.r2, info.noise) = (r2, noise);
            info.link = Link { name: Link::MONOTONE.into(), response_r2: Some(r2), curve: Some(curve) };
        }))
    }

    fn with_status(self, change: impl FnOnce(&mut Status)) -> Self {
        self.with_info(|info| change(&mut info.provenance.status))
    }

    fn with_info(mut self, change: impl FnOnce(&mut SketchInfo)) -> Self {
        if let Some(info) = &mut self.info {
            change(info);
        }
        self
    }
}
