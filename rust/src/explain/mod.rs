//! Explanations: functional ANOVA components, Shapley values, interactions and mutations of any sequence.
//!
//! The game `v_x(T) = E_X f(x_T, X_{T^c})` over a [`Background`] `X` has a Möbius transform `a_x(S)` that is a
//! table lookup for each support `S`; all that follows is a weighted sum of these components (Tsui et al., arXiv
//! 2410.19236; Grabisch & Roubens 1999 for the weights).

mod background;
mod components;
mod indices;
mod mutations;
mod products;
mod shuffle;
mod spread;
mod uncertainty;
mod variance;

pub use background::Background;
pub use components::Components;
pub use indices::{Index, Interactions};
pub use shuffle::dinucleotide_shuffles;
pub use uncertainty::shapley_standard_errors;
pub use variance::Motif;
