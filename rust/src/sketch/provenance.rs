//! How a sketch was made, and how well it predicts.

use serde::{Deserialize, Serialize};

use crate::regress::PenaltyFactors;
use crate::validation::RSquared;

/// How a sketch is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Method {
    /// Every sequence is evaluated and transformed.
    Exact,
    /// Designed queries are peeled.
    Peel,
    /// Uniform queries are explained by few atoms of a dictionary.
    Regress,
    /// Trees were boosted on uniform queries.
    Trees,
    /// A predictor of features without a place was fitted to uniform queries, and its answers sketched.
    Distill,
    /// Several of these, each with a weight.
    Average,
    /// An ensemble of trees that somebody else had fitted.
    Converted,
}

impl Method {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Peel => "peel",
            Self::Regress => "regress",
            Self::Trees => "trees",
            Self::Distill => "distill",
            Self::Average => "average",
            Self::Converted => "converted",
        }
    }

    /// The method of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [
            Self::Exact,
            Self::Peel,
            Self::Regress,
            Self::Trees,
            Self::Distill,
            Self::Average,
            Self::Converted,
        ];
        all.into_iter().find(|method| method.name() == name)
    }
}

/// How a sketch was made, and how well it predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SketchInfo {
    /// How it was made.
    pub method: Method,
    /// Why the decoder stopped.
    pub status: String,
    /// Fraction of the variance left unexplained on the design itself.
    pub unexplained: f64,
    /// Standard deviation of one value's noise, as the decoder saw it.
    pub noise: f64,
    /// The budget.
    pub budget: usize,
    /// Distinct model evaluations spent.
    pub n_queries: usize,
    /// The seed of all random choices.
    pub seed: u64,
    /// R² on the test queries; of a regression by cross-validation; for an exact sketch, on all sequences.
    pub r2: RSquared,
    /// How the regression went, if it was one.
    #[serde(default)]
    pub regression: Option<RegressionInfo>,
    /// The scale on which the sketch lives.
    #[serde(default)]
    pub link: Link,
    /// What was tried, where several methods were.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// R² of the teacher, where the sketch is a student's.
    #[serde(default)]
    pub teacher: Option<RSquared>,
}

/// One of several methods that were tried on the same queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is.
    pub name: String,
    /// R² on the validation queries.
    pub r2: f64,
    /// Seconds it took; not in a file, which is the same for the same run.
    #[serde(skip)]
    pub seconds: Option<f64>,
    /// Its weight in the sketch; 0 if it was not taken.
    pub weight: f64,
}

/// The scale on which a sketch lives: the link's, where `link(score)` is what the surrogate predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// R² on the model's own scale, where that is another and was measured.
    pub response_r2: Option<RSquared>,
}

impl Default for Link {
    fn default() -> Self {
        Self { name: "identity".into(), response_r2: None }
    }
}

/// How a regression went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionInfo {
    /// What was fitted: "letters" or "characters".
    pub basis: String,
    /// Penalty strength; `None` if the constant alone predicts best.
    pub lambda: Option<f64>,
    /// Strength of the refit relative to it; 1 is no refit.
    pub refit: f64,
    /// Relative strengths of orders and parts.
    pub strengths: PenaltyFactors,
    /// Duality gap relative to half the sum of squares.
    pub gap: f64,
    /// Candidate atoms of the dictionary.
    pub candidates: u64,
    /// Letters that no sequence has at a position.
    pub unseen: Vec<(usize, u8)>,
}
