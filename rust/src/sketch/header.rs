//! The metadata of sketch files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::amortised_file::AmortisedRecord;
use super::distribution::DistributionRecord;
use super::predictor_file::PredictorRecord;
use super::record::InfoRecord;
use super::tensors::Reason;
use crate::space::SequenceSpace;

/// The version that this crate writes and reads.
pub(super) const VERSION: u32 = 1;

/// The kinds of surrogate.
pub(super) const SPECTRUM: &str = "spectrum";
pub(super) const PATTERNS: &str = "patterns";
pub(super) const CENTRED: &str = "centred";
pub(super) const SETS: &str = "sets";
/// The end of the kind of a surrogate that has terms with runs.
pub(super) const RUNS: &str = "+runs";

/// The metadata of a sketch.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) kind: String,
    pub(super) alphabet: String,
    pub(super) length: usize,
    /// The letters of each position, if positions differ in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) letters: Option<Vec<String>>,
    /// Number of the first position; absent if it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) start: i64,
    #[serde(default)]
    pub(super) constant_variance: Option<f64>,
    pub(super) info: Option<InfoRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) predictor: Option<PredictorRecord>,
    /// The distribution of the queries; absent if they were uniform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) distribution: Option<DistributionRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) amortised: Option<AmortisedRecord>,
    /// Names of the relations of runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) relations: Vec<String>,
    #[serde(default)]
    pub(super) digest: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Header {
    /// The kind of the terms without runs.
    pub(super) fn kind(&self) -> &str {
        self.kind.strip_suffix(RUNS).unwrap_or(&self.kind)
    }

    /// Whether there are terms with runs.
    pub(super) fn has_runs(&self) -> bool {
        self.kind.ends_with(RUNS)
    }

    /// The space that the metadata describe.
    pub(super) fn space(&self) -> Reason<SequenceSpace> {
        let space = match &self.letters {
            None => SequenceSpace::new(&self.alphabet, self.length),
            Some(letters) => SequenceSpace::with_letters(letters),
        };
        let space = space.map_err(|e| e.to_string())?;
        if space.alphabet() != self.alphabet || space.n() != self.length {
            return Err("the letters of its positions are not those of its alphabet and length".into());
        }
        Ok(space)
    }
}

/// The fields of the metadata of files without a digest.
const OLDER: [&str; 6] = ["version", "kind", "alphabet", "length", "constant_variance", "info"];

/// The field of the metadata that all format versions have.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The metadata; an error if its format version or kind is unknown.
pub(super) fn header(json: &str) -> Reason<Header> {
    let damaged = |e: serde_json::Error| format!("the sketch's metadata is damaged: {e}");
    let Version { version } = serde_json::from_str(json).map_err(damaged)?;
    if version != VERSION {
        return Err(format!(
            "written in format version {version}, this shapsketch reads version {VERSION}; update shapsketch"
        ));
    }
    let header: Header = serde_json::from_str(json).map_err(damaged)?;
    let known = [SPECTRUM, PATTERNS, CENTRED, SETS].contains(&header.kind());
    if !known || header.kind() == SPECTRUM && header.has_runs() {
        return Err(format!(
            "holds a surrogate of kind {:?}, which this version does not know; update shapsketch",
            header.kind
        ));
    }
    if header.digest.is_none() {
        // A file of an older version, unless damage changed the name of the digest.
        let fields: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_str(json).map_err(damaged)?;
        if let Some(name) = fields.keys().find(|name| !OLDER.contains(&name.as_str())) {
            return Err(format!("the sketch's metadata is damaged: no digest, but a field {name:?}"));
        }
    }
    Ok(header)
}
