//! The provenance of a sketch in the layout of sketch files.

use serde::{Deserialize, Serialize};

use super::provenance::{
    AllTerms, Candidate, Link, Method, Outcome, Provenance, RegressionInfo, SketchInfo, Status,
};
use crate::error::{Error, Result};
use crate::regress::{Atoms, PenaltyFactors};
use crate::validation::RSquared;

/// A [`SketchInfo`].
#[derive(Serialize, Deserialize)]
pub(super) struct InfoRecord {
    method: String,
    /// The status as text; older files have no other field for it.
    status: String,
    unexplained: f64,
    noise: f64,
    budget: usize,
    n_queries: usize,
    seed: u64,
    r2: RSquared,
    #[serde(default)]
    regression: Option<RegressionRecord>,
    #[serde(default)]
    link: Link,
    #[serde(default)]
    candidates: Vec<Candidate>,
    #[serde(default)]
    teacher: Option<RSquared>,
    #[serde(default)]
    outcome: Option<String>,
    /// Number of terms, and R² with all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all_terms: Option<(usize, f64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Pairs of positions whose symbols depend on each other in the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependent: Vec<(usize, usize)>,
}

/// A [`RegressionInfo`].
#[derive(Serialize, Deserialize)]
struct RegressionRecord {
    basis: String,
    lambda: Option<f64>,
    refit: f64,
    strengths: PenaltyFactors,
    gap: f64,
    candidates: u64,
    unseen: Vec<(usize, u8)>,
}

impl From<&SketchInfo> for InfoRecord {
    fn from(info: &SketchInfo) -> Self {
        let Provenance { method, status, budget, n_queries, seed, candidates } = info.provenance.clone();
        Self {
            method: method.name().into(),
            status: status.to_string(),
            unexplained: info.unexplained,
            noise: info.noise,
            budget,
            n_queries,
            seed,
            r2: info.r2,
            regression: info.regression.as_ref().map(RegressionRecord::from),
            link: info.link.clone(),
            candidates,
            teacher: info.teacher,
            outcome: Some(status.outcome.name().into()),
            all_terms: status.all_terms.map(|all| (all.n_terms, all.r2)),
            notes: status.notes,
            dependent: info.dependent.clone(),
        }
    }
}

impl TryFrom<InfoRecord> for SketchInfo {
    type Error = Error;

    fn try_from(record: InfoRecord) -> Result<Self> {
        let status = match &record.outcome {
            Some(outcome) => Status {
                outcome: Outcome::from_name(outcome)?,
                all_terms: record.all_terms.map(|(n_terms, r2)| AllTerms { n_terms, r2 }),
                notes: record.notes,
            },
            None => status_of_text(&record.status),
        };
        Ok(Self {
            provenance: Provenance {
                method: Method::from_name(&record.method)?,
                status,
                budget: record.budget,
                n_queries: record.n_queries,
                seed: record.seed,
                candidates: record.candidates,
            },
            r2: record.r2,
            noise: record.noise,
            unexplained: record.unexplained,
            regression: record.regression.map(RegressionInfo::try_from).transpose()?,
            link: record.link,
            teacher: record.teacher,
            dependent: record.dependent,
        })
    }
}

/// The status of an older file: the outcome up to the first "; ", then notes.
fn status_of_text(text: &str) -> Status {
    let (first, notes) = text.split_once("; ").map_or((text, None), |(first, rest)| (first, Some(rest)));
    let (outcome, notes) = match Outcome::from_name(first) {
        Ok(outcome) => (outcome, notes),
        Err(_) => (Outcome::Unknown, Some(text)),
    };
    Status { outcome, all_terms: None, notes: notes.map(String::from).into_iter().collect() }
}

impl From<&RegressionInfo> for RegressionRecord {
    fn from(info: &RegressionInfo) -> Self {
        Self {
            basis: info.basis.name().into(),
            lambda: info.lambda,
            refit: info.refit,
            strengths: info.penalty_factors,
            gap: info.gap,
            candidates: info.n_atoms,
            unseen: info.unseen.clone(),
        }
    }
}

impl TryFrom<RegressionRecord> for RegressionInfo {
    type Error = Error;

    fn try_from(record: RegressionRecord) -> Result<Self> {
        Ok(Self {
            basis: Atoms::from_name(&record.basis)?,
            lambda: record.lambda,
            refit: record.refit,
            penalty_factors: record.strengths,
            gap: record.gap,
            n_atoms: record.candidates,
            unseen: record.unseen,
        })
    }
}
