//! Components of a surrogate under a background: everything that predicts or explains uses them.
//!
//! The game `v_x(T) = E_X f(x_T, X_{T^c})` over a [`Background`] `X` has a Möbius transform `a_x(S)`, its functional
//! ANOVA decomposition. For each support `S`, [`Components`] evaluates `a_x(S)` by a table look-up or a short sum.
//! The sum over all supports is the prediction; weighted sums of components are Shapley values and interactions
//! ([`crate::explain`]). Terms with runs have too many components to list; they are evaluated as products. So are the
//! leaves of deep trees, whose components are listed only for the results that need each of them.

mod along_walks;
mod background;
mod block_tables;
mod components;
mod decompose;
mod flat_terms;
mod multilinear;
mod patterns;
mod run_components;
mod run_errors;
mod run_products;
mod term_masks;

pub use background::Background;
pub use components::Components;

pub(crate) use components::{ComponentList, Form, result};
pub(crate) use run_components::{Factor, Part, expectation};
pub(crate) use run_products::{Block, Product, RunProducts, moebius};
