//! Explanations: functional ANOVA components, Shapley values and interactions of any sequence.
//!
//! With `f_S(x_S)` the component of support `S`, the game `v_x(T) = E_X f(x_T, X_{T^c})` over uniform
//! `X` has the Möbius transform `a_x(S) = f_S(x_S)`; all that follows is a weighted sum of
//! components (Tsui et al., arXiv 2410.19236; Grabisch & Roubens 1999 for the weights).

mod components;
mod products;
mod uncertainty;

pub use components::Components;
pub use uncertainty::shapley_standard_errors;
