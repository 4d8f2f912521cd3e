//! The effects of single positions in the networks of long sequences.
//!
//! With as many effects as sequences, gradients would fit the noise of the values. So each position either has effects
//! or none: its mean residuals by symbol are shrunk like those of a non-negative garrote (Breiman 1995), and vanish if
//! their variance may be noise, by the bound of Laurent and Massart (2000) for the largest of `n` chi-square variables.

use super::shape::{Block, Shape};
use super::train::Standardised;

/// The data, position by position.
pub(super) struct Additive {
    shape: Shape,
    /// Codes of position 0 of all sequences, then those of position 1, ...
    codes: Vec<u8>,
    weights: Option<Vec<f64>>,
    /// The number of sequences of equal weight that determine a mean as well.
    effective: f64,
    residuals: Vec<f64>,
}

impl Additive {
    pub(super) fn new(data: &Standardised<'_>, rows: &[u32]) -> Self {
        let n = data.shape.n;
        let mut codes = Vec::with_capacity(rows.len() * n);
        for i in 0..n {
            codes.extend(rows.iter().map(|&row| data.codes_of(row)[i]));
        }
        let weights = data.weights.map(|_| rows.iter().map(|&row| f64::from(data.weight(row))).collect());
        let effective = weights.as_ref().map_or(rows.len() as f64, |weights: &Vec<f64>| {
            let sum: f64 = weights.iter().sum();
            sum * sum / weights.iter().map(|weight| weight * weight).sum::<f64>()
        });
        Self { shape: data.shape, codes, weights, effective, residuals: vec![0.0; rows.len()] }
    }

    /// Updates the effects, position after position, by the residuals of the network with the present ones.
    ///
    /// `noise` is the variance of what no network has explained.
    ///
    /// Returns the residuals with the new effects.
    pub(super) fn fit(
        &mut self,
        residuals: impl Iterator<Item = f64>,
        noise: f64,
        parameters: &mut [f32],
    ) -> &[f64] {
        let Shape { n, q, .. } = self.shape;
        self.residuals.iter_mut().zip(residuals).for_each(|(to, from)| *to = from);
        let (free, tests) = ((q - 1) as f64, (n as f64).ln());
        let least = noise / self.effective * (free + 2.0 * (free * tests).sqrt() + 2.0 * tests);
        let count = self.residuals.len();
        let effects = parameters[self.shape.range(Block::Linear)].chunks_exact_mut(q);
        let (mut sums, mut totals) = (vec![0.0; q], vec![0.0; q]);
        for (codes, effects) in self.codes.chunks_exact(count).zip(effects) {
            sums.fill(0.0);
            totals.fill(0.0);
            for (row, (&symbol, residual)) in codes.iter().zip(&self.residuals).enumerate() {
                let weight = self.weights.as_ref().map_or(1.0, |weights| weights[row]);
                sums[usize::from(symbol)] += weight * residual;
                totals[usize::from(symbol)] += weight;
            }
            let total: f64 = totals.iter().sum();
            for ((sum, symbols), effect) in sums.iter_mut().zip(&totals).zip(&*effects) {
                *sum = if *symbols > 0.0 { *sum / symbols + f64::from(*effect) } else { 0.0 };
            }
            let mean: f64 = sums.iter().zip(&totals).map(|(sum, symbols)| sum * symbols / total).sum();
            for (sum, symbols) in sums.iter_mut().zip(&totals) {
                *sum = if *symbols > 0.0 { *sum - mean } else { 0.0 };
            }
            let variance: f64 = sums.iter().zip(&totals).map(|(sum, t)| sum * sum * t / total).sum();
            let kept = if variance > least { 1.0 - least / variance } else { 0.0 };
            for (sum, effect) in sums.iter_mut().zip(effects) {
                let before = *effect;
                *effect = (kept * *sum) as f32;
                *sum = f64::from(before) - f64::from(*effect);
            }
            for (&symbol, residual) in codes.iter().zip(&mut self.residuals) {
                *residual += sums[usize::from(symbol)];
            }
        }
        &self.residuals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::tests::random_codes;

    #[test]
    fn effects_are_weighted_means_of_residuals_unless_noise_explains_them() {
        let shape = Shape { n: 3, q: 4, channels: 1, hidden: 1, pool: 2 };
        let (codes, weights) = (random_codes(4, 1_500, 1), (0..500).map(|i| 0.5 + (i % 3) as f32));
        let weights: Vec<f32> = weights.collect();
        let values: Vec<f32> = codes.chunks(3).map(|word| f32::from(word[1] == 2)).collect();
        let data = Standardised { shape, codes: &codes, values: &values, weights: Some(&weights) };
        let rows: Vec<u32> = (0..500).collect();
        let mut parameters = vec![0.0; shape.parameters()];
        let mut additive = Additive::new(&data, &rows);
        let residuals = additive.fit(values.iter().map(|&v| f64::from(v)), 0.2, &mut parameters).to_vec();
        let linear = &parameters[shape.range(Block::Linear)];
        assert!(linear[..4].iter().chain(&linear[8..]).all(|&effect| effect == 0.0));
        // The slow version of the one position with an effect.
        let sum = |of: &dyn Fn(usize) -> f64| (0..500).map(|r| f64::from(weights[r]) * of(r)).sum::<f64>();
        let total = sum(&|_| 1.0);
        let mean = sum(&|r| f64::from(values[r])) / total;
        let effective = total * total / weights.iter().map(|w| f64::from(w * w)).sum::<f64>();
        let fraction = |a: u8| sum(&|r| f64::from(codes[3 * r + 1] == a)) / total;
        let raw: Vec<f64> = (0..4).map(|a| f64::from(a == 2) - mean).collect();
        let variance: f64 = (0..4_u8).map(|a| fraction(a) * raw[usize::from(a)].powi(2)).sum();
        let tests = 3.0_f64.ln();
        let least = 0.2 / effective * (3.0 + 2.0 * (3.0 * tests).sqrt() + 2.0 * tests);
        for (effect, raw) in linear[4..8].iter().zip(raw) {
            assert!((f64::from(*effect) - (1.0 - least / variance) * raw).abs() < 1e-6);
        }
        for (row, residual) in residuals.iter().enumerate() {
            let effect = linear[4 + usize::from(codes[3 * row + 1])];
            assert!((residual - f64::from(values[row]) + f64::from(effect)).abs() < 1e-9);
        }
    }
}
