//! How a sketch was made, and how well it predicts.

use std::fmt;

use crate::error::{Error, Result};
use crate::predictor::Curve;
use crate::regress::{Atoms, PenaltyFactors};
use crate::validation::RSquared;

/// How a sketch was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// All sequences of the space were evaluated and transformed.
    Exact,
    /// Values of designed queries were peeled.
    Peel,
    /// Values of uniform queries were regressed on the atoms of a dictionary.
    Regress,
    /// Trees were boosted on uniform queries.
    Trees,
    /// A teacher was fitted to uniform queries, and its predictions were sketched.
    Distill,
    /// A weighted average of sketches by several methods.
    Average,
    /// A fitted ensemble of trees was converted.
    Converted,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 7] =
        [Self::Exact, Self::Peel, Self::Regress, Self::Trees, Self::Distill, Self::Average, Self::Converted];

    /// The name used in files and in Python.
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

    /// The method with this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str) -> Result<Self> {
        Error::choose("method", name, &Self::ALL, Self::name)
    }
}

/// Why sketching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The surrogate is the model itself, up to rounding.
    Exact,
    /// Peeling explained every bin up to the noise.
    Converged,
    /// Peeling left bins above the noise, none of them a singleton.
    Stalled,
    /// Peeling used all its rounds.
    RoundLimit,
    /// A regression was cross-validated.
    CrossValidated,
    /// A regression reached the limit on its time; what it had until then was cross-validated.
    TimeLimit,
    /// A fit was tested on held-out queries.
    Validated,
    /// Adaptive sketching reached its target R².
    TargetMet,
    /// Adaptive sketching spent its budget.
    BudgetSpent,
    /// Adaptive sketching stopped because more queries no longer lowered the error enough.
    NoLongerPays,
    /// The status text of a file is not the name of an outcome; the text is the first note.
    Unknown,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 11] = [
        Self::Exact,
        Self::Converged,
        Self::Stalled,
        Self::RoundLimit,
        Self::CrossValidated,
        Self::TimeLimit,
        Self::Validated,
        Self::TargetMet,
        Self::BudgetSpent,
        Self::NoLongerPays,
        Self::Unknown,
    ];

    /// The name used in files and in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Converged => "converged",
            Self::Stalled => "stalled",
            Self::RoundLimit => "round limit",
            Self::CrossValidated => "cross-validated",
            Self::TimeLimit => "time limit",
            Self::Validated => "validated",
            Self::TargetMet => "target met",
            Self::BudgetSpent => "budget spent",
            Self::NoLongerPays => "more queries no longer pay",
            Self::Unknown => "unknown",
        }
    }

    /// The outcome with this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str) -> Result<Self> {
        Error::choose("outcome", name, &Self::ALL, Self::name)
    }
}

/// The number of terms of a surrogate before a limit removed some of them, and R² with all terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AllTerms {
    /// Number of terms.
    pub n_terms: usize,
    /// R² with all terms.
    pub r2: f64,
}

/// How sketching ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Why it ended.
    pub outcome: Outcome,
    /// Number of terms and R² without the limit on the terms; `None` if the limit removed no terms.
    pub all_terms: Option<AllTerms>,
    /// What else a user should know, such as methods that could not be tried.
    pub notes: Vec<String>,
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, all_terms: None, notes: Vec::new() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome.name())?;
        if let Some(AllTerms { n_terms, r2 }) = self.all_terms {
            write!(f, "; with all {} terms R² is {r2:.4}", thousands(n_terms))?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

/// A number with a comma between groups of three digits.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a sketch was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// The method.
    pub method: Method,
    /// How it ended.
    pub status: Status,
    /// The budget of model evaluations; 0 if no model was evaluated.
    pub budget: usize,
    /// Number of distinct model evaluations.
    pub n_queries: usize,
    /// The seed of all random choices.
    pub seed: u64,
    /// The methods that were compared; empty if there was no choice.
    pub candidates: Vec<Candidate>,
}

/// How a sketch was made, and how well it predicts.
#[derive(Clone, Debug, PartialEq)]
pub struct SketchInfo {
    /// How it was made.
    pub provenance: Provenance,
    /// R² on the test queries; for a regression by cross-validation; for an exact sketch on all sequences.
    pub r2: RSquared,
    /// Standard deviation of the noise of one value, as estimated by the fit.
    pub noise: f64,
    /// Fraction of the variance that the surrogate does not explain: for peeling on the queries of the design, for
    /// other methods on held-out queries.
    pub unexplained: f64,
    /// Details of a regression.
    pub regression: Option<RegressionInfo>,
    /// The scale of the sketch.
    pub link: Link,
    /// Pairs of positions whose symbols depend on each other in the data, so that their effects cannot be told apart.
    pub dependent: Vec<(usize, usize)>,
}

impl SketchInfo {
    /// Information without a regression and a link.
    pub(super) fn new(mut provenance: Provenance, r2: RSquared, noise: f64) -> Self {
        if r2.is_undefined() {
            provenance.status.notes.push("R² is undefined, because all values are equal".into());
        }
        // Values that do not differ leave nothing unexplained.
        let unexplained = if r2.is_undefined() { 0.0 } else { 1.0 - r2.value };
        Self {
            provenance,
            r2,
            noise,
            unexplained,
            regression: None,
            link: Link::default(),
            dependent: Vec::new(),
        }
    }
}

/// One of several methods that were tried on the same queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// R² on the validation queries.
    pub r2: f64,
    /// Run time in seconds; not saved, so that the same run gives the same file.
    pub seconds: Option<f64>,
    /// Its weight in the sketch; 0 if it was not chosen.
    pub weight: f64,
}

/// The scale of a sketch: the surrogate predicts `link(score)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The name of the link.
    pub name: String,
    /// R² on the scale of the model; `None` for the identity, or if it was not measured.
    pub response_r2: Option<RSquared>,
    /// The curve from the scale of the sketch to that of the model, if it was fitted; its values ascend.
    pub curve: Option<Curve>,
}

impl Link {
    /// The name of a link whose curve was fitted.
    pub const MONOTONE: &str = "monotone";
}

impl Default for Link {
    fn default() -> Self {
        Self { name: "identity".into(), response_r2: None, curve: None }
    }
}

/// Details of a regression.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionInfo {
    /// The atoms.
    pub basis: Atoms,
    /// The penalty `λ`; `None` if the constant alone predicts best.
    pub lambda: Option<f64>,
    /// `λ` of the refit as a fraction of `lambda`; 1 if there was no refit.
    pub refit: f64,
    /// Penalty factors of orders and kinds of supports.
    pub penalty_factors: PenaltyFactors,
    /// Duality gap of the fit before the refit, relative to half the sum of squares.
    pub gap: f64,
    /// Number of atoms of the dictionary.
    pub n_atoms: u64,
    /// Symbols that occur in no sequence of the sample at a position: `(position, symbol)`.
    pub unseen: Vec<(usize, u8)>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_name_gives_its_method_or_outcome() {
        assert!(Method::ALL.into_iter().all(|m| Method::from_name(m.name()).unwrap() == m));
        assert!(Outcome::ALL.into_iter().all(|o| Outcome::from_name(o.name()).unwrap() == o));
        let message = Method::from_name("tree").unwrap_err().to_string();
        assert!(message.starts_with("method must be one of 'exact', 'peel', "), "{message}");
        assert!(message.ends_with(", got 'tree'; did you mean 'trees'?"), "{message}");
    }

    #[test]
    fn a_status_is_one_line() {
        let mut status = Status::from(Outcome::Validated);
        assert_eq!(status.to_string(), "validated");
        for (n_terms, text) in [(7, "7"), (70, "70"), (700, "700"), (7000, "7,000"), (1_234_567, "1,234,567")]
        {
            status.all_terms = Some(AllTerms { n_terms, r2: 0.5 });
            assert_eq!(status.to_string(), format!("validated; with all {text} terms R² is 0.5000"));
        }
        status.notes.push("trees take 60 sequences".into());
        let text = "validated; with all 1,234,567 terms R² is 0.5000; trees take 60 sequences";
        assert_eq!(status.to_string(), text);
    }
}
