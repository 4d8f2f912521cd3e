//! Explanations: Shapley values, interactions, mutations and global summaries of a surrogate's components.
//!
//! Every explanation is a weighted sum of the components `a_x(S)` of [`crate::Components`] (Tsui et al., arXiv
//! 2410.19236; Grabisch & Roubens 1999 for the weights).

mod dinucleotide;
mod indices;
mod interactions;
mod mutations;
mod run_interactions;
mod run_motifs;
mod shapley;
mod sobol;
mod standard_errors;

pub use dinucleotide::dinucleotide_shuffles;
pub use indices::Index;
pub use interactions::Interactions;
pub use sobol::Motif;
pub use standard_errors::shapley_standard_errors;
