//! Global summaries: the variance of each component, and the patterns that carry most of it.
//!
//! Under independent positions components are orthogonal (Sobol 1993), so their variances add up to the variance of
//! the surrogate.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::anova::Components;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::words::{digits, same, subset};

/// Symbols at some positions, and their effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Motif {
    /// Positions, ascending.
    pub support: Vec<u16>,
    /// The symbol at each position.
    pub letters: Vec<u8>,
    /// The interaction of all these symbols, `a(S)`.
    pub interaction: f64,
    /// Mean score of sequences with these symbols, minus the base value: `Σ_{U⊆S} a(U)`.
    pub effect: f64,
    /// Probability of these symbols under the background.
    pub frequency: f64,
}

impl Components {
    /// # Errors
    /// If positions are not independent under the background.
    fn independent(&self) -> Result<()> {
        if self.background().is_product() {
            return Ok(());
        }
        Err(Error::Parameter {
            name: "background",
            expected: "uniform or a product distribution, because variance cannot be divided among components that are not orthogonal",
            got: self.background().to_string(),
        })
    }

    /// The variance of each component under the background, for every support of [`Components::supports`];
    /// they add up to the variance of the surrogate.
    ///
    /// # Errors
    /// If positions are not independent under the background, there are too many supports to list, a component
    /// has too many words, or the caller cancels.
    pub fn variances(&self, cancel: &Cancel) -> Result<Vec<f64>> {
        self.independent()?;
        let list = self.list()?;
        (0..list.supports.len())
            .into_par_iter()
            .map(|component| {
                cancel.check()?;
                let table = list.table(component)?;
                let chances = self.background().words(&list.supports[component]);
                Ok(table.iter().zip(chances).map(|(value, p)| p * value * value).sum())
            })
            .collect()
    }

    /// The patterns of up to `max_order` positions that carry most variance, `frequency · interaction²`.
    ///
    /// # Errors
    /// As for [`Components::variances`].
    pub fn motifs(&self, count: usize, max_order: usize, cancel: &Cancel) -> Result<Vec<Motif>> {
        self.independent()?;
        let list = self.list()?;
        let (q, n) = (self.space().q(), self.space().n());
        let mut best: Vec<(f64, usize, usize)> = (0..list.supports.len())
            .into_par_iter()
            .filter(|&component| list.supports[component].len() <= max_order)
            .map(|component| {
                cancel.check()?;
                let table = list.table(component)?;
                let chances = self.background().words(&list.supports[component]);
                let mut words: Vec<(f64, usize, usize)> = table
                    .iter()
                    .zip(chances)
                    .enumerate()
                    .map(|(word, (value, p))| (p * value * value, component, word))
                    .filter(|(energy, ..)| *energy > 0.0)
                    .collect();
                keep(&mut words, count);
                Ok(words)
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        keep(&mut best, count);
        let number: HashMap<&[u16], usize> =
            list.supports.iter().enumerate().map(|(index, support)| (support.as_slice(), index)).collect();
        let motif = |&(_, component, word): &(f64, usize, usize)| {
            let support = list.supports[component].clone();
            let order = support.len();
            let symbols: Vec<u8> = digits(word, same(q, order));
            let mut row = vec![0; n];
            support.iter().zip(&symbols).for_each(|(&i, &symbol)| row[i as usize] = symbol);
            let effect = (1_usize..1 << order)
                .filter_map(|mask| number.get(subset(&support, mask).as_slice()))
                .map(|&component| list.value(component, &row))
                .sum();
            let frequency = self.background().words(&support)[word];
            let interaction = list.value(component, &row);
            Motif { support, letters: symbols, interaction, effect, frequency }
        };
        Ok(best.iter().map(motif).collect())
    }
}

/// Keeps the `count` words that carry most variance, in descending order.
fn keep(words: &mut Vec<(f64, usize, usize)>, count: usize) {
    words.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    words.truncate(count);
}
