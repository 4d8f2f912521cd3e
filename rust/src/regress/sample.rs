//! The data of a regression: sequences of a space with one value each.

use std::collections::HashMap;
use std::sync::Arc;

use crate::design::Observations;
use crate::error::Result;
use crate::space::SequenceSpace;
use crate::validation::check_values;

/// Symbols count as uniform if their χ² statistic exceeds its mean by at most this number of standard deviations.
const MAX_DEVIATIONS: f64 = 6.0;
/// Symbols also count as uniform up to this mean over positions of `Σ_a q (p_a - 1/q)²`.
const MAX_UNEVENNESS: f64 = 0.1;

/// Sequences of a space with one value each.
#[derive(Clone, Debug)]
pub struct Sample {
    space: SequenceSpace,
    codes: Vec<u8>,
    values: Vec<f64>,
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
        Ok(Self { space, codes, values, deterministic: false, sampled_fraction: 0.0, observations: None })
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

    /// Whether all symbols are about equally frequent at each position, as in uniform sequences.
    pub(crate) fn is_uniform(&self) -> bool {
        if self.deterministic {
            return true;
        }
        let (q, n) = (self.space.q(), self.space.n());
        let rows = self.values.len() as f64;
        let mut counts = vec![0.0_f64; n * q];
        for row in self.codes.chunks_exact(n) {
            row.iter().enumerate().for_each(|(i, &symbol)| counts[i * q + symbol as usize] += 1.0);
        }
        let expected = rows / q as f64;
        let chi_squared: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        let freedom = (n * (q - 1)) as f64;
        // A deviation matters if it is both significant and large.
        chi_squared <= freedom + MAX_DEVIATIONS * (2.0 * freedom).sqrt()
            || chi_squared <= MAX_UNEVENNESS * rows * n as f64
    }

    /// A number for each row, from 0 without gaps; equal sequences have equal numbers.
    pub(crate) fn sequence_numbers(&self) -> Vec<usize> {
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let rows = self.codes.chunks_exact(self.space.n());
        rows.map(|row| {
            let next = numbers.len();
            *numbers.entry(row).or_insert(next)
        })
        .collect()
    }

    /// Symbols that occur in no sequence at a position: `(position, symbol)`.
    pub(crate) fn unseen_symbols(&self) -> Vec<(usize, u8)> {
        let (q, n) = (self.space.q(), self.space.n());
        let mut seen = vec![false; n * q];
        for row in self.codes.chunks_exact(n) {
            for (i, &symbol) in row.iter().enumerate() {
                seen[i * q + symbol as usize] = true;
            }
        }
        (0..n * q).filter(|&index| !seen[index]).map(|index| (index / q, (index % q) as u8)).collect()
    }
}

impl From<Observations> for Sample {
    /// If the design has small blocks and no repeated queries, characters are fitted in the bin domain.
    fn from(observations: Observations) -> Self {
        let design = observations.design();
        Self {
            space: design.space().clone(),
            codes: design.queries(0..design.len()),
            values: observations.values().to_vec(),
            deterministic: false,
            sampled_fraction: 0.0,
            observations: Some(Arc::new(observations)),
        }
    }
}
