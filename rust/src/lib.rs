#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cancel;
mod cover;
pub mod design;
mod error;
pub mod explain;
mod fidelity;
mod file;
mod frequency;
mod observations;
pub mod peel;
pub mod regress;
pub mod sketch;
mod space;
pub mod surrogate;
pub mod synthetic;
pub mod transform;
pub mod trees;

pub use cancel::Cancel;
pub use design::{
    DelayFamily, Delays, DesignConfig, Group, QueryDesign, SubsamplingFamily, SubsamplingMatrix, held_out,
    uniform,
};
pub use error::{Error, Result};
pub use explain::{
    Background, Components, Index, Interactions, Motif, dinucleotide_shuffles, shapley_standard_errors,
};
pub use fidelity::RSquared;
pub use frequency::Frequency;
pub use observations::Observations;
pub use peel::{Peeling, PeelingDecoder, PeelingStatus};
pub use regress::{
    Atoms, Dictionary, PenaltyFactors, Regression, Sample, SparseRegression, uncertainty_from_residuals,
};
pub use rustfft::num_complex::Complex64;
pub use sketch::{Candidate, Link, Method, Plan, Queries, RegressionInfo, Sketch, SketchInfo};
pub use space::SequenceSpace;
pub use surrogate::{Basis, Keep, ProductTerms, Spectrum, SupportTerms, Surrogate, Truncation, Uncertainty};
pub use transform::{QaryTransform, naive_transform};
