//! Letter patterns from the values of all sequences.
//!
//! With the first letter of each position as reference, `f(x) = Σ_S Σ_a c(S, a) Π_{i∈S} 1[x_i = a_i]` over the other
//! letters `a`, where `c(S, a) = Σ_{T⊆S} (-1)^{|S\T|} f(a_T, reference)`: the Möbius transform, one position at a time.
//! There are as many patterns as sequences, whatever letters each position has.

use super::ProductTerms;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Patterns below this fraction of the standard deviation of the values are rounding errors.
const FLOOR: f64 = 1e-12;

impl ProductTerms {
    /// The function with these values at all sequences of a space, in the order of their numbers, as letter patterns.
    ///
    /// # Errors
    /// If there is not one value for each sequence, or one is not finite.
    pub fn of_values(space: &SequenceSpace, values: &[f64]) -> Result<Self> {
        if space.size() != Some(values.len() as u128) {
            let expected = space.size().map_or(usize::MAX, |size| size as usize);
            return Err(Error::ValueCount { what: "sequence", got: values.len(), expected });
        }
        let mut table = values.to_vec();
        let mut stride = table.len();
        for radix in space.radices() {
            let block = stride;
            stride /= radix;
            for part in table.chunks_exact_mut(block) {
                let (reference, others) = part.split_at_mut(stride);
                for row in others.chunks_exact_mut(stride) {
                    row.iter_mut().zip(&*reference).for_each(|(value, base)| *value -= base);
                }
            }
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let floor = FLOOR * variance.sqrt();
        let (mut row, mut first) = (vec![0; space.n()], vec![0; space.n()]);
        space.write_sequence(0, &mut first);
        let mut patterns: Vec<(Vec<u16>, Vec<u16>, f64)> = Vec::new();
        for (number, &value) in table.iter().enumerate().skip(1).filter(|(_, value)| value.abs() > floor) {
            space.write_sequence(number, &mut row);
            let other = row.iter().zip(&first).enumerate().filter(|(_, (letter, first))| letter != first);
            let (support, letters) = other.map(|(i, (&letter, _))| (i as u16, u16::from(letter))).unzip();
            patterns.push((support, letters, value));
        }
        let listed = patterns.iter().map(|(support, letters, value)| (&support[..], &letters[..], *value));
        Self::letters(space.clone(), table[0], listed)
    }
}
