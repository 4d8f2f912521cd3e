//! Sketches: a surrogate and its provenance.

use super::provenance::{Link, Method, RegressionInfo, SketchInfo};
use crate::regress::{Regression, Sample};
use crate::surrogate::{Surrogate, Uncertainty};

/// A surrogate, and how it was made where that is known.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The closed form that stands in for the model.
    pub surrogate: Surrogate,
    /// Standard errors of its terms, where it has any.
    pub uncertainty: Option<Uncertainty>,
    /// How it was made.
    pub info: Option<SketchInfo>,
    /// Values and predictions that its R² rests on; not saved.
    pub held_out: Option<(Vec<f64>, Vec<f64>)>,
}

impl From<Surrogate> for Sketch {
    /// A sketch of no known origin.
    fn from(surrogate: Surrogate) -> Self {
        Self { surrogate, uncertainty: None, info: None, held_out: None }
    }
}

impl Sketch {
    /// A sketch of what a regression found in a sample.
    #[must_use]
    pub fn of_regression(regression: Regression, sample: &Sample, seed: u64) -> Self {
        let Regression { surrogate, uncertainty, r2, held_out_predictions, .. } = regression;
        let count = sample.values().len();
        let info = SketchInfo {
            method: Method::Regress,
            status: "cross-validated".into(),
            unexplained: 1.0 - r2.value,
            noise: regression.noise,
            budget: count,
            n_queries: count,
            seed,
            r2,
            regression: Some(RegressionInfo {
                basis: regression.basis.name().into(),
                lambda: Some(regression.lambda).filter(|lambda| lambda.is_finite()),
                refit: regression.refit,
                strengths: regression.penalty_factors,
                gap: regression.gap,
                candidates: u64::try_from(regression.n_atoms).unwrap_or(u64::MAX),
                unseen: regression.unseen,
            }),
            link: Link::default(),
            candidates: Vec::new(),
            teacher: None,
        };
        let held_out = Some((sample.values().to_vec(), held_out_predictions));
        Self { surrogate, uncertainty, info: Some(info), held_out }
    }
}
