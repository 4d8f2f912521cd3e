//! Networks with one output for each position: amortised Shapley values.
//!
//! The Shapley value of position `i` is `φ_i(x) = ∫_0^1 E Δ_i(x^t) dt`. Here `x^t` keeps the symbol of each other position
//! with probability `t` and draws it from the background otherwise, and `Δ_i(z)`, a *marginal*, is the value of `z` minus
//! its mean over the symbols at `i`. For any `ρ` this is
//! `φ_i(x) = (1 - ρ) E Δ_i(x^u) + ρ E φ_i(x^ρ)`, with `u` uniform between `ρ` and 1. The network is trained on that
//! equation, with its own outputs (of averaged parameters) on the right side: their noise is much smaller than that of
//! marginals at small `t` (temporal differences: Sutton 1988). The positions of a background must be independent.

mod head;
#[cfg(test)]
mod tests;
mod train;

use rayon::prelude::*;

pub use train::{Marginals, ValuesTraining};

use self::head::Passes;
use super::train::CHUNK;
use super::{ROWS, Shape, check_size};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// A network with one output for each position.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueNetwork {
    space: SequenceSpace,
    shape: Shape,
    parameters: Vec<f32>,
    scale: f64,
}

impl ValueNetwork {
    /// A network with these parameters; its outputs are multiplied by `scale`.
    ///
    /// # Errors
    /// If the number of parameters is not that of the shape, or a number is not finite.
    pub fn new(
        space: SequenceSpace,
        channels: usize,
        hidden: usize,
        parameters: Vec<f32>,
        scale: f64,
    ) -> Result<Self> {
        let shape = Shape { n: space.n(), q: space.q(), channels, hidden, pool: 1 };
        check_size(&shape, 1)?;
        let bad = |expected, got| Err(Error::Parameter { name: "amortised network", expected, got });
        if parameters.len() != shape.trunk() + head::parameters(&shape) {
            let got = format!("{} parameters", parameters.len());
            return bad("as many parameters as their shape has", got);
        }
        if let Some(value) = parameters.iter().find(|value| !value.is_finite()) {
            return bad("finite parameters", value.to_string());
        }
        if !scale.is_finite() {
            return bad("a finite scale", scale.to_string());
        }
        Ok(Self { space, shape, parameters, scale })
    }

    /// The sequence space.
    #[must_use]
    pub const fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// The size of all layers but the last ones.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The factor of the outputs.
    #[must_use]
    pub const fn scale(&self) -> f64 {
        self.scale
    }

    /// Values of each position, `(B, n)`, for sequences, row-major codes.
    ///
    /// # Errors
    /// If the codes do not belong to the space, or the caller cancels.
    pub fn values(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.space.check(codes)?;
        let n = self.space.n();
        let mut out = vec![0.0; codes.len()];
        let tasks = out.par_chunks_mut(ROWS * n).zip(codes.par_chunks(ROWS * n));
        tasks.try_for_each_init(
            || Passes::new(self.shape, CHUNK, false),
            |passes, (out, codes)| {
                cancel.check()?;
                for (out, codes) in out.chunks_mut(CHUNK * n).zip(codes.chunks(CHUNK * n)) {
                    let outputs = passes.forward(&self.parameters, codes);
                    out.iter_mut()
                        .zip(outputs)
                        .for_each(|(out, &value)| *out = self.scale * f64::from(value));
                }
                Ok(())
            },
        )?;
        Ok(out)
    }
}
