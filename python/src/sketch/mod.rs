//! Plans, queries and sketches.

mod plan;
mod queries;
#[expect(clippy::module_inception, reason = "named as in the core")]
mod sketch;

pub(crate) use plan::Plan;
pub(crate) use queries::Queries;
pub(crate) use sketch::Sketch;
