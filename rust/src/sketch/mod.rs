//! From a budget of model evaluations to a sketch: plan the queries, decode, choose, test.
//!
//! The caller evaluates the model; nothing here knows what a model is:
//! [`Plan`] → [`Queries`] → values → [`Sketch`].

mod file;
#[expect(clippy::module_inception, reason = "the file of the type that this room is about")]
mod sketch;

pub use sketch::{Candidate, Link, Method, Plan, Queries, RegressionInfo, Sketch, SketchInfo};
