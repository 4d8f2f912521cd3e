//! Global summaries: the variance of each component, and the patterns that carry most of it.
//!
//! Under independent positions components are orthogonal (Sobol 1993), so their variances add up to the variance of
//! the surrogate.

use std::collections::HashMap;

use rayon::prelude::*;

use super::run_motifs::RankedTerm;
use crate::anova::{ComponentList, Components};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::memory;
use crate::surrogate::{Relation, Run};
use crate::words::{digits, same, saturating_count, subset};

/// Predicted memory of one motif, in bytes.
const MOTIF_BYTES: u128 = 512;
/// Words that are held before the weakest are dropped.
const HELD: usize = 1 << 16;

/// Symbols at some positions, or runs, and their effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Motif {
    /// Positions, ascending.
    pub support: Vec<u16>,
    /// The symbol at each position; empty if the motif has runs.
    pub letters: Vec<u8>,
    /// Runs of relations of [`Components::relations`]; empty for symbols.
    pub runs: Vec<Run>,
    /// Sets of symbols at positions that a motif with runs also has.
    pub sets: Vec<(u16, u64)>,
    /// The interaction of all positions, `a(S)`; for runs the mean over sequences with them, of their term alone.
    pub interaction: f64,
    /// Mean score of sequences with the motif, minus the base value; for symbols `Σ_{U⊆S} a(U)`.
    pub effect: f64,
    /// Probability of the motif under the background.
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
        let list = self.list(cancel)?;
        if !self.runs.is_empty() {
            return self.supports()?.par_iter().map(|support| self.variance(list, support, cancel)).collect();
        }
        (0..list.supports.len())
            .into_par_iter()
            .map(|component| {
                cancel.check()?;
                let table = list.table(component, cancel)?;
                let chances = self.background().words(&list.supports[component]);
                Ok(table.iter().zip(chances).map(|(value, p)| p * value * value).sum())
            })
            .collect()
    }

    /// The relations of runs.
    #[must_use]
    pub fn relations(&self) -> &[Relation] {
        &self.runs.source().relations
    }

    /// The patterns and terms with runs of up to `max_order` positions that carry most variance,
    /// `frequency · interaction²`.
    ///
    /// # Errors
    /// As for [`Components::variances`].
    pub fn motifs(&self, count: usize, max_order: usize, cancel: &Cancel) -> Result<Vec<Motif>> {
        self.independent()?;
        let list = self.list(cancel)?;
        let best = self.strongest_words(list, count, max_order, cancel)?;
        let ranked = self.ranked_terms(max_order, cancel)?;
        let number: HashMap<&[u16], usize> =
            list.supports.iter().enumerate().map(|(index, support)| (support.as_slice(), index)).collect();
        let (q, n) = (self.space().q(), self.space().n());
        let motif = |&(_, component, word): &Word| {
            let support = list.supports[component].clone();
            let order = support.len();
            let symbols: Vec<u8> = digits(word, same(q, order));
            let mut row = vec![0; n];
            support.iter().zip(&symbols).for_each(|(&i, &symbol)| row[i as usize] = symbol);
            let mut effect = 0.0;
            if 1_usize << order <= number.len() {
                for mask in 1_usize..1 << order {
                    cancel.check()?;
                    let contained = number.get(subset(&support, mask).as_slice());
                    effect += contained.map_or(0.0, |&component| list.value(component, &row));
                }
            } else {
                for (component, other) in list.supports.iter().enumerate() {
                    cancel.check()?;
                    if other.iter().all(|i| support.binary_search(i).is_ok()) {
                        effect += list.value(component, &row);
                    }
                }
            }
            effect += self.effect_on_runs(&support, &symbols);
            let chances =
                support.iter().zip(&symbols).map(|(&i, &a)| self.background().symbols(i)[a as usize]);
            let frequency = chances.fold(1.0, |product, chance| product * chance);
            let interaction = list.value(component, &row) + self.value_of_runs(&support, &symbols);
            let (runs, sets) = (Vec::new(), Vec::new());
            Ok(Motif { support, letters: symbols, runs, sets, interaction, effect, frequency })
        };
        // At equal variance, words come first.
        let mut all: Vec<(f64, Strongest<'_>)> =
            best.iter().map(|word| (word.0, Strongest::Word(word))).collect();
        all.extend(ranked.into_iter().map(|term| (term.0 * term.1 * term.1, Strongest::Term(term))));
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.truncate(count);
        all.into_iter()
            .map(|(_, strongest)| match strongest {
                Strongest::Word(word) => motif(word),
                Strongest::Term(term) => self.motif_of_term(list, term, cancel),
            })
            .collect()
    }

    /// The `count` words of up to `max_order` positions that carry most variance, in descending order.
    fn strongest_words(
        &self,
        list: &ComponentList,
        count: usize,
        max_order: usize,
        cancel: &Cancel,
    ) -> Result<Vec<Word>> {
        let q = self.space().q();
        let chosen = || list.supports.iter().map(Vec::len).filter(|&order| order <= max_order);
        let all = chosen().map(|order| saturating_count(same(q, order))).fold(0, u128::saturating_add);
        memory::check("the motifs", all.min(count as u128).saturating_mul(MOTIF_BYTES), "list fewer motifs")?;
        (0..list.supports.len())
            .into_par_iter()
            .filter(|&component| list.supports[component].len() <= max_order)
            .try_fold(Vec::new, |mut best: Vec<Word>, component| {
                let mut table = list.table(component, cancel)?;
                if !self.runs.is_empty() {
                    self.add_runs(&list.supports[component], table.to_mut());
                }
                let chances = self.background().words(&list.supports[component]);
                for (word, (value, p)) in table.iter().zip(chances).enumerate() {
                    let energy = p * value * value;
                    if energy > 0.0 {
                        best.push((energy, component, word));
                    }
                    if best.len() >= count.saturating_mul(2).max(HELD) {
                        cancel.check()?;
                        keep(&mut best, count);
                    }
                }
                Ok::<_, Error>(best)
            })
            .map(|best| {
                best.map(|mut best| {
                    keep(&mut best, count);
                    best
                })
            })
            .try_reduce(Vec::new, |mut best, other| {
                best.extend(other);
                keep(&mut best, count);
                Ok(best)
            })
    }
}

/// Variance, component and number of a word.
type Word = (f64, usize, usize);

/// What becomes a motif.
enum Strongest<'a> {
    Word(&'a Word),
    Term(RankedTerm),
}

/// Keeps the `count` words that carry most variance, in descending order.
fn keep(words: &mut Vec<Word>, count: usize) {
    words.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    words.truncate(count);
}
