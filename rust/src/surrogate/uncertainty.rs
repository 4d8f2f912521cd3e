//! Standard errors of the terms of a surrogate.

use super::{ProductTerms, Surrogate};
use crate::error::{Error, Result};
use crate::words::binomial;

/// Variances of the estimated terms of a surrogate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uncertainty {
    /// Variances of the coefficients of letter patterns, in their order; empty if only per-position variances are known.
    pub patterns: Vec<f64>,
    /// Variances of the coefficients of terms with runs, in their order; empty as for patterns.
    pub runs: Vec<f64>,
    /// Additional variance of the Shapley value of each position, the same for every sequence.
    pub positions: Vec<f64>,
    /// Variance of the constant.
    pub constant: f64,
}

/// Shapley values of a letter pattern of `order` positions under a uniform background, for a sequence that matches it
/// at `matches` of them: the value of a matching position, and the value of another position.
///
/// The game is `v(T) = q^{-(d-t)}` if the sequence matches on `T`, `t = |T|`, else 0.
pub(crate) fn shapley_of_pattern(q: usize, order: usize, matches: usize) -> (f64, f64) {
    let d = order as i32;
    let value = |size: usize| (q as f64).powi(size as i32 - d);
    // There are C(d-1, s) coalitions of s of the other d - 1 positions, each with weight 1 / (d C(d-1, s)); only
    // coalitions of matching positions have a value.
    let mean = |others: usize, gain: &dyn Fn(usize) -> f64| -> f64 {
        (0..=others).map(|s| binomial(others, s) / (f64::from(d) * binomial(order - 1, s)) * gain(s)).sum()
    };
    let matching = if matches == 0 { 0.0 } else { mean(matches - 1, &|s| value(s + 1) - value(s)) };
    let other = if matches == order { 0.0 } else { mean(matches, &|s| -value(s)) };
    (matching, other)
}

/// The same for positions with letters of their own: the value of each position of a pattern. A sequence matches the
/// positions of `matches` (bits), and the chance of a match is `1/q_i` for the numbers of letters `sizes`.
///
/// The game is `v(T) = Π_{i∉T} 1/q_i` if the sequence matches on `T`, else 0. Gains are sums over coalitions `T` of matching
/// positions of the products `Π_{i∈T} q_i`, which are elementary symmetric polynomials.
pub(crate) fn shapley_of_sizes(sizes: &[usize], matches: u32) -> Vec<f64> {
    let order = sizes.len();
    let none = 1.0 / sizes.iter().map(|&size| size as f64).product::<f64>();
    let weighted = |without: usize| -> f64 {
        let mut polynomials = vec![1.0];
        for (_, &size) in sizes.iter().enumerate().filter(|&(i, _)| i != without && matches >> i & 1 == 1) {
            polynomials.push(0.0);
            for degree in (1..polynomials.len()).rev() {
                polynomials[degree] += size as f64 * polynomials[degree - 1];
            }
        }
        let weight = |s: usize| 1.0 / (order as f64 * binomial(order - 1, s));
        polynomials.iter().take(order).enumerate().map(|(s, sum)| weight(s) * sum).sum()
    };
    (0..order)
        .map(|i| none * weighted(i) * if matches >> i & 1 == 1 { sizes[i] as f64 - 1.0 } else { -1.0 })
        .collect()
}

/// For each position of a pattern, its squared Shapley value averaged over uniform sequences.
fn spreads_of_sizes(sizes: &[usize]) -> Vec<f64> {
    let mut spreads = vec![0.0; sizes.len()];
    for matches in 0..1_u32 << sizes.len() {
        let chance = |(i, &size): (usize, &usize)| match matches >> i & 1 {
            1 => 1.0 / size as f64,
            _ => 1.0 - 1.0 / size as f64,
        };
        let chance: f64 = sizes.iter().enumerate().map(chance).product();
        let values = shapley_of_sizes(sizes, matches);
        spreads.iter_mut().zip(values).for_each(|(sum, value)| *sum += chance * value * value);
    }
    spreads
}

impl Uncertainty {
    /// The uncertainty of the surrogate multiplied by a number.
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        let terms = self.patterns.iter_mut().chain(&mut self.runs);
        let all = terms.chain(&mut self.positions).chain([&mut self.constant]);
        all.for_each(|variance| *variance *= factor * factor);
        self
    }

    /// # Errors
    /// If it does not belong to the surrogate, or a variance is negative or not finite.
    pub(crate) fn check(&self, surrogate: &Surrogate) -> Result<()> {
        let bad = |expected, got: String| Err(Error::Parameter { name: "variances", expected, got });
        let (patterns, runs) = match surrogate {
            Surrogate::Spectrum(_) => (0, 0),
            Surrogate::Terms(terms) => {
                (terms.supports.iter().map(|group| group.coefficients.len()).sum(), terms.runs.len())
            }
        };
        let sizes = (self.patterns.len(), self.runs.len());
        let fitting = sizes == (0, 0) || sizes == (patterns, runs);
        if !fitting || self.positions.len() != surrogate.space().n() {
            let got = format!("{}, {} and {}", sizes.0, sizes.1, self.positions.len());
            return bad("one for each pattern, each term with runs and each position", got);
        }
        let all = self.patterns.iter().chain(&self.runs).chain(&self.positions).chain([&self.constant]);
        match all.copied().find(|v| !(v.is_finite() && *v >= 0.0)) {
            Some(variance) => bad("finite and at least 0", variance.to_string()),
            None => Ok(()),
        }
    }

    /// The variance of the Shapley value of each position, averaged over uniform sequences; without terms with runs.
    pub(crate) fn mean_squares(&self, terms: &ProductTerms) -> Vec<f64> {
        let q = terms.space.q();
        let mut all = self.positions.clone();
        let mut variances = self.patterns.iter();
        for group in terms.supports.iter().filter(|_| !self.patterns.is_empty()) {
            let order = group.support.len();
            let sum: f64 = variances.by_ref().take(group.coefficients.len()).sum();
            if terms.space.has_letters() {
                let sizes: Vec<usize> = group.support.iter().map(|&i| terms.space.sizes().at(i)).collect();
                let spreads = spreads_of_sizes(&sizes);
                group.support.iter().zip(spreads).for_each(|(&i, spread)| all[i as usize] += sum * spread);
                continue;
            }
            let mean = sum * spread_of_pattern(q, order) / order as f64;
            group.support.iter().for_each(|&i| all[i as usize] += mean);
        }
        all
    }
}

/// Sum over its positions of a pattern's squared Shapley values, averaged over uniform sequences.
fn spread_of_pattern(q: usize, order: usize) -> f64 {
    let p = 1.0 / q as f64;
    let mut sum = 0.0;
    let mut ways = 1.0;
    for matches in 0..=order {
        let chance = ways * p.powi(matches as i32) * (1.0 - p).powi((order - matches) as i32);
        let (matching, other) = shapley_of_pattern(q, order, matches);
        sum += chance * (matches as f64 * matching.powi(2) + (order - matches) as f64 * other.powi(2));
        ways *= (order - matches) as f64 / (matches + 1) as f64;
    }
    sum
}
