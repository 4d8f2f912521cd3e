//! Sketches: a surrogate and its provenance.

use super::provenance::{Candidate, Link, Method, Outcome, Provenance, RegressionInfo, SketchInfo, Status};
use crate::anova::Components;
use crate::cancel::Cancel;
use crate::error::Result;
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
    /// Whether it was read from a file without a digest, in which damage cannot be detected.
    pub unverified: bool,
}

/// Held-out values, and predictions of them by fits that did not use them.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// Values of the model.
    pub values: Vec<f64>,
    /// Predictions.
    pub predictions: Vec<f64>,
}

/// A surrogate that was fitted outside [`crate::Queries`], and how it was tested.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The final fit.
    pub surrogate: Surrogate,
    /// The held-out sequences, row-major codes.
    pub codes: Vec<u8>,
    /// Their values, and predictions by a fit that did not use them.
    pub held_out: HeldOut,
    /// Fraction of the space to which the final fit was fitted if values have no noise; else 0. R² uses the final fit
    /// for this fraction, and the held-out predictions for the rest.
    pub sampled_fraction: f64,
    /// Weight of each held-out row; `None` for equal weights.
    pub weights: Option<Vec<f64>>,
    /// Pairs of positions whose symbols depend on each other in the data; see
    /// [`crate::regress::dependent_positions`]. If there
    /// are any, the sketch has no standard errors.
    pub dependent: Vec<(usize, usize)>,
    /// Largest relative decrease of `1 - R²` from the tested fit to the final fit, which learns from more data. It
    /// raises the upper end of the interval of R².
    pub refit_gain: f64,
    /// How the surrogate was made.
    pub provenance: Provenance,
    /// Predictions of the held-out values by the teacher, if the surrogate was distilled.
    pub teacher_predictions: Option<Vec<f64>>,
}

impl From<Surrogate> for Sketch {
    /// A sketch without provenance.
    fn from(surrogate: Surrogate) -> Self {
        Self { surrogate, uncertainty: None, info: None, held_out: None, unverified: false }
    }
}

impl Sketch {
    /// The sketch of a fit: measures R² and noise on the held-out values, and estimates standard errors from their
    /// residuals.
    ///
    /// # Errors
    /// If the held-out codes, values and predictions do not match, there are fewer than two of them, a number is not
    /// finite, or the caller cancels.
    pub fn from_fit(fit: Fit, cancel: &Cancel) -> Result<Self> {
        let Fit { surrogate, codes, held_out, sampled_fraction, refit_gain, provenance, dependent, .. } = fit;
        let HeldOut { values, predictions } = &held_out;
        let fitted = Components::new(&surrogate.terms())?.predict(&codes, cancel)?;
        let residuals: Vec<f64> = values.iter().zip(predictions).map(|(v, p)| v - p).collect();
        let residuals = Sample::of_residuals(surrogate.space().clone(), codes, residuals, fit.weights)?;
        let sequences = residuals.distinct(None).rows;
        let validation = Validation {
            fitted: &fitted,
            sampled_fraction,
            weights: residuals.weights(),
            sequences: Some(&sequences),
            gain: refit_gain,
            ..Validation::new(values, predictions)
        };
        let r2 = validation.r_squared()?;
        let noise = root_mean_square(residuals.values(), residuals.weights());
        let of_teacher = |predictions: Vec<f64>| {
            let (predictions, gain) = (&predictions[..], 0.0);
            Validation { predictions, fitted: predictions, gain, ..validation }.r_squared()
        };
        let teacher = fit.teacher_predictions.map(of_teacher).transpose()?;
        let uncertainty = match dependent.is_empty() && !r2.is_undefined() {
            true => uncertainty_from_residuals(&residuals, cancel)?,
            false => None,
        };
        Ok(Self {
            uncertainty,
            surrogate,
            info: Some(SketchInfo { teacher, dependent, ..SketchInfo::new(provenance, r2, noise) }),
            held_out: Some(held_out),
            unverified: false,
        })
    }

    /// The sketch of a regression.
    #[must_use]
    pub fn from_regression(regression: Regression, sample: &Sample, seed: u64) -> Self {
        let Regression { surrogate, uncertainty, r2, held_out_predictions, .. } = regression;
        let count = r2.count;
        let provenance = Provenance {
            method: Method::Regress,
            status: Outcome::CrossValidated.into(),
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
        let held_out = HeldOut { values: sample.values().to_vec(), predictions: held_out_predictions };
        Self { surrogate, uncertainty, info: Some(info), held_out: Some(held_out), unverified: false }
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

    /// The same sketch, marked as a sketch of `link(score)`; `held_out` has the held-out values and predictions on
    /// the scale of the model. A sketch without provenance stays as it is.
    ///
    /// # Errors
    /// If values and predictions do not match, or one is not finite.
    pub fn with_link(self, name: &str, held_out: Option<&HeldOut>) -> Result<Self> {
        let response_r2 =
            held_out.map(|held_out| RSquared::new(&held_out.values, &held_out.predictions)).transpose()?;
        Ok(self.with_info(|info| info.link = Link { name: name.into(), response_r2 }))
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
