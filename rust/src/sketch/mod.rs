//! From a budget of model evaluations to a sketch: plan the queries, fit, choose, test.
//!
//! The caller evaluates the model; this module only plans queries and receives their values: [`Plan`] → [`Queries`] →
//! values → [`Sketch`]. A surrogate that was fitted elsewhere becomes a sketch by [`Sketch::from_fit`].

mod amortised_file;
mod digest;
mod disk;
mod distribution;
mod file;
mod header;
mod plan;
mod predictor_file;
mod provenance;
mod queries;
mod record;
mod run_tensors;
#[expect(clippy::module_inception, reason = "the file has the name of its main type")]
mod sketch;
mod tensors;
mod valid;

pub use distribution::{DefaultBackground, Distribution};
pub use plan::{Plan, Strategy};
pub use provenance::{
    AllTerms, Candidate, Link, Method, Outcome, Provenance, RegressionInfo, SketchInfo, Status,
};
pub use queries::Queries;
pub use sketch::{Fit, HeldOut, MAX_START, Sketch};
