//! The data of a regression: sequences of a space with one value each.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::design::Observations;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::validation::{check_finite, check_signal, check_values, mean};

/// Symbols count as uniform if their χ² statistic exceeds its mean by at most this number of standard deviations.
const MAX_DEVIATIONS: f64 = 6.0;
/// Symbols also count as uniform up to this mean over positions of `Σ_a q (p_a - 1/q)²`.
const MAX_UNEVENNESS: f64 = 0.1;
/// Two positions depend on each other if their χ² statistic is significant, and its share of the largest possible value
/// (the square of Cramér's V) is at least this.
const MIN_DEPENDENCE: f64 = 0.05;
/// Magnitudes of the largest value that need no scaling.
const MODERATE: std::ops::RangeInclusive<f64> = 1e-30..=1e30;

/// Sequences of a space with one value each.
#[derive(Clone, Debug)]
pub struct Sample {
    space: SequenceSpace,
    codes: Vec<u8>,
    values: Vec<f64>,
    weights: Option<Vec<f64>>,
    deterministic: bool,
    sampled_fraction: f64,
    observations: Option<Arc<Observations>>,
}

impl Sample {
    /// Pairs coded sequences, row-major, with their values.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the values are not one finite number for each
    /// sequence.
    pub fn new(space: SequenceSpace, codes: Vec<u8>, values: Vec<f64>) -> Result<Self> {
        let count = space.check(&codes)?;
        check_values("sample", &values, count)?;
        check_signal("sample", &values)?;
        Ok(Self {
            space,
            codes,
            values,
            weights: None,
            deterministic: false,
            sampled_fraction: 0.0,
            observations: None,
        })
    }

    /// Residuals of sequences, with weights. Unlike values, they may differ by rounding only.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the residuals or weights do not match them or are not valid.
    pub fn of_residuals(
        space: SequenceSpace,
        codes: Vec<u8>,
        residuals: Vec<f64>,
        weights: Option<Vec<f64>>,
    ) -> Result<Self> {
        let count = space.check(&codes)?;
        check_finite("residual", &residuals, count)?;
        let sample = Self {
            space,
            codes,
            values: residuals,
            weights: None,
            deterministic: false,
            sampled_fraction: 0.0,
            observations: None,
        };
        weights.map_or(Ok(sample.clone()), |weights| sample.with_weights(weights))
    }

    /// Gives each row a weight: the fit minimises the weighted sum of squared errors, and R² is weighted. Only ratios of
    /// weights matter.
    ///
    /// # Errors
    /// If there is not one weight for each row, or one is not finite and above 0.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Result<Self> {
        check_values("weight", &weights, self.values.len())?;
        if let Some(index) = weights.iter().position(|&weight| weight <= 0.0) {
            return Err(Error::Weight { index, value: weights[index] });
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// Declares that the sequences are distinct and uniformly sampled, and that the values have no noise. R²
    /// then refers to the whole space, including the sequences of the sample.
    #[must_use]
    pub fn deterministic(mut self) -> Self {
        self.deterministic = true;
        if let Some(size) = self.space.size() {
            self.sampled_fraction = (self.values.len() as f64 / size as f64).min(1.0);
        }
        self
    }

    /// The sequences, row-major codes.
    #[must_use]
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The weights; `None` if they are equal.
    #[must_use]
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// Whether [`Sample::deterministic`] was called.
    pub(crate) fn is_deterministic(&self) -> bool {
        self.deterministic
    }

    /// Number of sequences as a fraction of the size of the space; 0 unless the sample is deterministic.
    pub(crate) fn sampled_fraction(&self) -> f64 {
        self.sampled_fraction
    }

    /// The query design with its values; `None` if the sequences were not queries of a design.
    pub(crate) fn observations(&self) -> Option<&Observations> {
        self.observations.as_deref()
    }

    /// Subtracts their weighted mean from the values. Returns the sample and the mean.
    pub(crate) fn centred(&self) -> (Self, f64) {
        let centre = mean(&self.values, self.weights());
        (self.map(|v| v - centre), centre)
    }

    /// The same sample with another value in place of each value.
    pub(crate) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self {
            values: self.values.iter().map(|&v| change(v)).collect(),
            observations: self.observations.as_ref().map(|observations| Arc::new(observations.map(&change))),
            ..self.clone()
        }
    }

    /// A power of two by which values outside of [`MODERATE`] are divided, so that their fourth powers keep all digits;
    /// else 1.
    pub(crate) fn scale(&self) -> f64 {
        let largest = self.values.iter().map(|v| v.abs()).fold(0.0, f64::max);
        if largest == 0.0 || MODERATE.contains(&largest) { 1.0 } else { largest.log2().round().exp2() }
    }

    /// The distinct sequences, in the order of their first rows. `factors` multiply the weights of the rows.
    pub(crate) fn distinct(&self, factors: Option<&[f64]>) -> Distinct {
        let n = self.space.n();
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let rows: Vec<usize> = self
            .codes
            .chunks_exact(n)
            .map(|row| {
                let next = numbers.len();
                *numbers.entry(row).or_insert(next)
            })
            .collect();
        let count = numbers.len();
        if count == rows.len() && self.weights.is_none() && factors.is_none() {
            return Distinct { codes: self.codes.clone(), values: self.values.clone(), weights: None, rows };
        }
        let (mut sums, mut weights) = (vec![0.0; count], vec![0.0; count]);
        let mut first_rows = vec![usize::MAX; count];
        for (row, &number) in rows.iter().enumerate() {
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[row])
                * factors.map_or(1.0, |factors| factors[row]);
            sums[number] += weight * self.values[row];
            weights[number] += weight;
            first_rows[number] = first_rows[number].min(row);
        }
        let values = sums.iter().zip(&weights).map(|(sum, weight)| sum / weight).collect();
        let mean = weights.iter().sum::<f64>() / count as f64;
        weights.iter_mut().for_each(|weight| *weight /= mean);
        let codes = first_rows.iter().flat_map(|&row| &self.codes[row * n..][..n]).copied().collect();
        Distinct { codes, values, weights: Some(weights), rows }
    }

    /// Whether sequences are uniform: all letters of a position are about equally frequent.
    pub(crate) fn is_uniform(&self) -> bool {
        if self.deterministic {
            return true;
        }
        let (q, n) = (self.space.q(), self.space.n());
        let distinct = self.distinct(None);
        let rows = distinct.values.len() as f64;
        let mut counts = vec![0.0_f64; n * q];
        for row in distinct.codes.chunks_exact(n) {
            row.iter().enumerate().for_each(|(i, &symbol)| counts[i * q + symbol as usize] += 1.0);
        }
        let sizes: Vec<usize> = self.space.radices().collect();
        let deviation = |(index, count): (usize, &f64)| {
            let expected = rows / sizes[index / q] as f64;
            let possible = self.space.letters_at(index / q) >> (index % q) & 1 == 1;
            possible.then(|| (count - expected).powi(2) / expected)
        };
        let chi_squared: f64 = counts.iter().enumerate().filter_map(deviation).sum();
        let freedom = sizes.iter().map(|size| size - 1).sum::<usize>() as f64;
        // A deviation matters if it is both significant and large.
        chi_squared <= freedom + MAX_DEVIATIONS * (2.0 * freedom).sqrt()
            || chi_squared <= MAX_UNEVENNESS * rows * n as f64
    }

    /// Pairs of positions whose symbols depend on each other; see [`dependent_positions`]. Queries have none.
    pub(crate) fn dependent_positions(&self, cancel: &Cancel) -> Result<Vec<(usize, usize)>> {
        if self.deterministic || self.observations.is_some() {
            return Ok(Vec::new());
        }
        dependent_positions(&self.space, &self.codes, cancel)
    }

    /// Letters of the space that occur in no sequence at a position: `(position, symbol)`.
    pub(crate) fn unseen_symbols(&self) -> Vec<(usize, u8)> {
        let (q, n) = (self.space.q(), self.space.n());
        let mut seen = vec![false; n * q];
        for row in self.codes.chunks_exact(n) {
            for (i, &symbol) in row.iter().enumerate() {
                seen[i * q + symbol as usize] = true;
            }
        }
        let possible = |index: usize| self.space.letters_at(index / q) >> (index % q) & 1 == 1;
        let unseen = (0..n * q).filter(|&index| !seen[index] && possible(index));
        unseen.map(|index| (index / q, (index % q) as u8)).collect()
    }
}

/// Pairs of positions whose symbols depend on each other in these sequences (row-major codes), ascending. The effects of
/// such positions cannot be told apart. Copies of a sequence count once.
///
/// # Errors
/// If the codes are not sequences of the space, or the caller cancels.
pub fn dependent_positions(
    space: &SequenceSpace,
    codes: &[u8],
    cancel: &Cancel,
) -> Result<Vec<(usize, usize)>> {
    space.check(codes)?;
    let (q, n) = (space.q(), space.n());
    let mut distinct: Vec<&[u8]> = codes.chunks_exact(n).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let columns: Vec<Vec<u8>> = (0..n).map(|i| distinct.iter().map(|row| row[i]).collect()).collect();
    let of_first = |i: usize| {
        cancel.check()?;
        let others = (i + 1..n).filter(|&j| depend(&columns[i], &columns[j], q));
        Ok(others.map(|j| (i, j)).collect())
    };
    let pairs: Vec<Vec<(usize, usize)>> = (0..n).into_par_iter().map(of_first).collect::<Result<_>>()?;
    Ok(pairs.into_iter().flatten().collect())
}

/// Whether the symbols in two columns depend on each other.
fn depend(first: &[u8], second: &[u8], q: usize) -> bool {
    let mut table = vec![0.0_f64; q * q];
    for (&a, &b) in first.iter().zip(second) {
        table[a as usize * q + b as usize] += 1.0;
    }
    let rows = first.len() as f64;
    let total = |cells: &mut dyn Iterator<Item = usize>| cells.map(|cell| table[cell]).sum::<f64>();
    let of_first: Vec<f64> = (0..q).map(|a| total(&mut (0..q).map(|b| a * q + b))).collect();
    let of_second: Vec<f64> = (0..q).map(|b| total(&mut (0..q).map(|a| a * q + b))).collect();
    let seen = |totals: &[f64]| totals.iter().filter(|&&total| total > 0.0).count() as f64 - 1.0;
    let (levels, others) = (seen(&of_first), seen(&of_second));
    if levels < 1.0 || others < 1.0 {
        return false;
    }
    let mut statistic = 0.0;
    for (cell, count) in table.iter().enumerate() {
        let expected = of_first[cell / q] * of_second[cell % q] / rows;
        if expected > 0.0 {
            statistic += (count - expected).powi(2) / expected;
        }
    }
    let freedom = levels * others;
    statistic > freedom + MAX_DEVIATIONS * (2.0 * freedom).sqrt()
        && statistic >= MIN_DEPENDENCE * rows * levels.min(others)
}

/// The distinct sequences of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Distinct {
    /// Codes, row-major.
    pub(crate) codes: Vec<u8>,
    /// Weighted means of the values of each sequence.
    pub(crate) values: Vec<f64>,
    /// Sum of the weights of each sequence, with mean 1; `None` if all are equal.
    pub(crate) weights: Option<Vec<f64>>,
    /// For each row of the sample, the number of its sequence.
    pub(crate) rows: Vec<usize>,
}

impl From<Observations> for Sample {
    /// If the design has small blocks and no repeated queries, characters are fitted in the bin domain.
    fn from(observations: Observations) -> Self {
        let design = observations.design();
        Self {
            space: design.space().clone(),
            codes: design.queries(0..design.len()),
            values: observations.values().to_vec(),
            weights: None,
            deterministic: false,
            sampled_fraction: 0.0,
            observations: Some(Arc::new(observations)),
        }
    }
}
