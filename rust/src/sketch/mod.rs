//! From a budget of model evaluations to a sketch: plan the queries, fit, choose, test.
//!
//! The caller evaluates the model; this module does not know what a model is: [`Plan`] → [`Queries`] → values →
//! [`Sketch`]. A surrogate that was fitted elsewhere becomes a sketch by [`Sketch::from_fit`].

mod file;
mod plan;
mod provenance;
mod queries;
mod record;
#[expect(clippy::module_inception, reason = "the file of the type that this room is about")]
mod sketch;

pub use plan::{Plan, Strategy};
pub use provenance::{
    AllTerms, Candidate, Link, Method, Outcome, Provenance, RegressionInfo, SketchInfo, Status,
};
pub use queries::Queries;
pub use sketch::{Fit, HeldOut, Sketch};
