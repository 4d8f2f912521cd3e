//! What a surrogate's variance is made of, and its strongest motifs.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::anova::Components;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Letters at some positions, and what they do.
#[derive(Clone, Debug, PartialEq)]
pub struct Motif {
    /// Positions, ascending.
    pub support: Vec<u16>,
    /// The letter at each.
    pub letters: Vec<u8>,
    /// What the letters add together beyond all subsets of them, `a(S)`.
    pub interaction: f64,
    /// Mean score of sequences that have the motif, less the base value: `Σ_{U⊆S} a(U)`.
    pub effect: f64,
    /// How often the background has it.
    pub frequency: f64,
}

impl Components {
    fn independent(&self) -> Result<()> {
        if self.background().is_product() {
            return Ok(());
        }
        Err(Error::Parameter {
            name: "background",
            expected: "uniform or a product distribution: under others components overlap, and variance cannot be divided",
            got: self.background().to_string(),
        })
    }

    /// The variance of each component under the background, for every support of [`Components::supports`];
    /// they add up to that of the surrogate.
    ///
    /// # Errors
    /// If the background is no product distribution, there are too many supports to list, a component has
    /// too many words, or the caller cancels.
    pub fn variances(&self, cancel: &Cancel) -> Result<Vec<f64>> {
        self.independent()?;
        let compiled = self.compiled()?;
        (0..compiled.supports.len())
            .into_par_iter()
            .map(|component| {
                cancel.check()?;
                let table = compiled.table(component)?;
                let chances = self.background().words(&compiled.supports[component]);
                Ok(table.iter().zip(chances).map(|(value, p)| p * value * value).sum())
            })
            .collect()
    }

    /// The motifs that carry most variance, `frequency · interaction²`, of up to `max_order` positions.
    ///
    /// # Errors
    /// As for [`Components::variances`].
    pub fn motifs(&self, count: usize, max_order: usize, cancel: &Cancel) -> Result<Vec<Motif>> {
        self.independent()?;
        let compiled = self.compiled()?;
        let (q, n) = (self.space().q(), self.space().n());
        let mut best: Vec<(f64, usize, usize)> = (0..compiled.supports.len())
            .into_par_iter()
            .filter(|&component| compiled.supports[component].len() <= max_order)
            .map(|component| {
                cancel.check()?;
                let table = compiled.table(component)?;
                let chances = self.background().words(&compiled.supports[component]);
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
            compiled.supports.iter().enumerate().map(|(at, support)| (support.as_slice(), at)).collect();
        let motif = |&(_, component, word): &(f64, usize, usize)| {
            let support = compiled.supports[component].clone();
            let order = support.len();
            let letters: Vec<u8> =
                (0..order).map(|at| (word / q.pow((order - 1 - at) as u32) % q) as u8).collect();
            let mut row = vec![0; n];
            support.iter().zip(&letters).for_each(|(&i, &letter)| row[i as usize] = letter);
            let effect = (1_usize..1 << order)
                .filter_map(|mask| {
                    let chosen = support.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
                    number.get(chosen.map(|(_, &i)| i).collect::<Vec<u16>>().as_slice())
                })
                .map(|&component| compiled.value(component, &row))
                .sum();
            let frequency = self.background().words(&support)[word];
            let interaction = compiled.value(component, &row);
            Motif { support, letters, interaction, effect, frequency }
        };
        Ok(best.iter().map(motif).collect())
    }
}

/// Keeps the largest, in order.
fn keep(words: &mut Vec<(f64, usize, usize)>, count: usize) {
    words.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    words.truncate(count);
}
