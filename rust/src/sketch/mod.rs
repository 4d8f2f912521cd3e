//! From a budget of model evaluations to a sketch: plan the queries, fit, choose, test.
//!
//! The caller evaluates the model; this module does not know what a model is:
//! [`Plan`] → [`Queries`] → values → [`Sketch`].

mod file;
mod plan;
mod provenance;
mod queries;
#[expect(clippy::module_inception, reason = "the file of the type that this room is about")]
mod sketch;

pub use plan::Plan;
pub use provenance::{Candidate, Link, Method, RegressionInfo, SketchInfo};
pub use queries::Queries;
pub use sketch::Sketch;
