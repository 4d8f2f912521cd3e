//! Plans, queries and sketches.

mod distribution;
mod fit;
mod plan;
mod provenance;
mod queries;
#[expect(clippy::module_inception, reason = "the file has the same name as in the core")]
mod sketch;

pub(crate) use distribution::Distribution;
pub(crate) use fit::Fit;
pub(crate) use plan::Plan;
pub(crate) use provenance::{Candidate, HeldOut, Link, RegressionInfo, SketchInfo, Status};
pub(crate) use queries::Queries;
pub(crate) use sketch::Sketch;
