#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod amortised;
pub mod anova;
mod cancel;
pub mod design;
mod error;
pub mod explain;
pub mod frequency;
pub mod memory;
pub mod networks;
pub mod peel;
pub mod predictor;
pub mod regress;
pub mod sketch;
mod space;
pub mod surrogate;
pub mod synthetic;
pub mod transform;
pub mod trees;
pub mod validation;
pub mod walks;
mod words;

pub use anova::{Background, Components};
pub use cancel::Cancel;
pub use error::{Error, Result};
pub use explain::Index;
pub use rustfft::num_complex::Complex64;
pub use sketch::{Plan, Queries, Sketch};
pub use space::SequenceSpace;
pub use surrogate::Surrogate;
