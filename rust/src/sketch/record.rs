//! The provenance of a sketch in the layout of sketch files.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    unexplained: Number,
    noise: Number,
    budget: usize,
    n_queries: usize,
    seed: u64,
    r2: R2Record,
    #[serde(default)]
    regression: Option<RegressionRecord>,
    #[serde(default)]
    link: LinkRecord,
    #[serde(default)]
    candidates: Vec<CandidateRecord>,
    #[serde(default)]
    outcome: Option<String>,
    /// Number of terms, and R² with all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all_terms: Option<(usize, Number)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Pairs of positions whose symbols depend on each other in the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependent: Vec<(usize, usize)>,
}

/// A number that need not be finite. JSON has no such numbers: NaN is `null`, infinities are `"inf"` and `"-inf"`.
#[derive(Clone, Copy)]
pub(super) struct Number(pub(super) f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_none(),
            value => serializer.serialize_str(if value > 0.0 { "inf" } else { "-inf" }),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Option::<Written>::deserialize(deserializer)? {
            None => Ok(Self(f64::NAN)),
            Some(Written::Finite(value)) => Ok(Self(value)),
            Some(Written::Infinite(Infinity::Positive)) => Ok(Self(f64::INFINITY)),
            Some(Written::Infinite(Infinity::Negative)) => Ok(Self(f64::NEG_INFINITY)),
        }
    }
}

/// How a [`Number`] is written, except NaN.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Finite(f64),
    Infinite(Infinity),
}

#[derive(Deserialize)]
enum Infinity {
    #[serde(rename = "inf")]
    Positive,
    #[serde(rename = "-inf")]
    Negative,
}

/// An [`RSquared`].
#[derive(Serialize, Deserialize)]
pub(super) struct R2Record {
    value: Number,
    low: Number,
    high: Number,
    count: usize,
    /// Older files do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n_effective: Option<f64>,
}

impl From<&RSquared> for R2Record {
    fn from(r2: &RSquared) -> Self {
        Self {
            value: Number(r2.value),
            low: Number(r2.low),
            high: Number(r2.high.min(1.0)),
            count: r2.count,
            n_effective: Some(r2.n_effective).filter(|number| number.is_finite()),
        }
    }
}

impl From<R2Record> for RSquared {
    fn from(record: R2Record) -> Self {
        let R2Record { value, low, high, count, n_effective } = record;
        // Older versions wrote upper ends above 1.
        let high = high.0.min(1.0);
        Self { value: value.0, low: low.0, high, count, n_effective: n_effective.unwrap_or(f64::NAN) }
    }
}

/// A [`Candidate`], without its run time, so that the same run gives the same file.
#[derive(Serialize, Deserialize)]
struct CandidateRecord {
    name: String,
    r2: Number,
    weight: f64,
}

impl From<Candidate> for CandidateRecord {
    fn from(Candidate { name, r2, weight, .. }: Candidate) -> Self {
        Self { name, r2: Number(r2), weight }
    }
}

impl From<CandidateRecord> for Candidate {
    fn from(CandidateRecord { name, r2, weight }: CandidateRecord) -> Self {
        Self { name, r2: r2.0, seconds: None, weight }
    }
}

/// A [`Link`].
#[derive(Serialize, Deserialize)]
struct LinkRecord {
    name: String,
    response_r2: Option<R2Record>,
}

impl Default for LinkRecord {
    fn default() -> Self {
        Self::from(&Link::default())
    }
}

impl From<&Link> for LinkRecord {
    fn from(link: &Link) -> Self {
        Self { name: link.name.clone(), response_r2: link.response_r2.as_ref().map(R2Record::from) }
    }
}

impl From<LinkRecord> for Link {
    fn from(LinkRecord { name, response_r2 }: LinkRecord) -> Self {
        Self { name, response_r2: response_r2.map(RSquared::from), curve: None }
    }
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
            unexplained: Number(info.unexplained),
            noise: Number(info.noise),
            budget,
            n_queries,
            seed,
            r2: R2Record::from(&info.r2),
            regression: info.regression.as_ref().map(RegressionRecord::from),
            link: LinkRecord::from(&info.link),
            candidates: candidates.into_iter().map(CandidateRecord::from).collect(),
            outcome: Some(status.outcome.name().into()),
            all_terms: status.all_terms.map(|all| (all.n_terms, Number(all.r2))),
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
                all_terms: record.all_terms.map(|(n_terms, r2)| AllTerms { n_terms, r2: r2.0 }),
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
                candidates: record.candidates.into_iter().map(Candidate::from).collect(),
            },
            r2: record.r2.into(),
            noise: record.noise.0,
            unexplained: record.unexplained.0,
            regression: record.regression.map(RegressionInfo::try_from).transpose()?,
            link: record.link.into(),
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
