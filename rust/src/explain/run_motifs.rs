//! Terms with runs in the summaries of `sobol.rs`.

use rayon::prelude::*;

use super::sobol::Motif;
use crate::anova::{ComponentList, Components, Factor, Part, Product, expectation};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::words::{self, projections, same};

/// Frequency, interaction, and index of a term with runs.
pub(super) type RankedTerm = (f64, f64, usize);

impl Components {
    /// Everything that contributes to the component of a support.
    fn parts<'a>(&self, list: &'a ComponentList, support: &[u16], cancel: &Cancel) -> Result<Vec<Part<'a>>> {
        let key = |support: &[u16]| (support.len(), support.to_vec());
        let mut parts: Vec<Part<'a>> = self.runs.parts(support);
        if let Ok(component) = list.supports.binary_search_by_key(&key(support), |s| key(s)) {
            let factor = Factor { positions: support.to_vec(), table: list.table(component, cancel)? };
            parts.push(Part { coefficient: 1.0, factors: vec![factor] });
        }
        Ok(parts)
    }

    /// The variance of the component of a support.
    pub(super) fn variance(&self, list: &ComponentList, support: &[u16], cancel: &Cancel) -> Result<f64> {
        let parts = self.parts(list, support, cancel)?;
        let mut variance = 0.0;
        for (index, part) in parts.iter().enumerate() {
            for other in &parts[index..] {
                let factors = part.factors.iter().chain(&other.factors).cloned().collect();
                let twice = if std::ptr::eq(part, other) { 1.0 } else { 2.0 };
                let weight = twice * part.coefficient * other.coefficient;
                variance += weight * expectation(factors, self.background(), cancel)?;
            }
        }
        Ok(variance)
    }

    /// Adds the components of the terms with runs to the table of a support.
    pub(super) fn add_runs(&self, support: &[u16], table: &mut [f64]) {
        let radices = || same(self.space().q(), support.len());
        for Part { coefficient, factors } in self.runs.parts(support) {
            let mut products = vec![coefficient; table.len()];
            for factor in factors {
                let words = projections(support, radices(), &factor.positions);
                products.iter_mut().zip(words).for_each(|(product, word)| *product *= factor.table[word]);
            }
            table.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
    }

    /// The mean of the terms with runs over sequences with these symbols, minus their mean over all.
    pub(super) fn effect_on_runs(&self, support: &[u16], symbols: &[u8]) -> f64 {
        let symbol = |i: u16| support.binary_search(&i).ok().map(|at| symbols[at]);
        let gain = |term: &Product| {
            let mean = |symbol: &dyn Fn(u16) -> Option<u8>| -> f64 {
                self.runs.blocks_of(term).map(|block| self.runs.average(block, symbol)).product()
            };
            term.coefficient * (mean(&symbol) - mean(&|_| None))
        };
        self.runs.terms().iter().map(gain).sum()
    }

    /// The terms with runs over at most `max_order` positions.
    pub(super) fn ranked_terms(&self, max_order: usize, cancel: &Cancel) -> Result<Vec<RankedTerm>> {
        let ranked: Vec<Option<RankedTerm>> = self
            .runs
            .terms()
            .par_iter()
            .enumerate()
            .map(|(index, term)| {
                cancel.check()?;
                if self.runs.support(term).len() > max_order {
                    return Ok(None);
                }
                let (mut frequency, mut interaction) = (1.0, term.coefficient);
                for (block, holds) in self.runs.blocks_of(term).zip(self.runs.factors(term)) {
                    let chance = self.runs.average(block, |_| None);
                    let component = self.runs.component(block, block.possible.len() - 1);
                    frequency *= chance;
                    // The mean of the component over the words that hold.
                    interaction *= expectation(vec![holds, component], self.background(), cancel)? / chance;
                }
                Ok((frequency > 0.0).then_some((frequency, interaction, index)))
            })
            .collect::<Result<_>>()?;
        Ok(ranked.into_iter().flatten().collect())
    }

    /// A term with runs as a motif.
    pub(super) fn motif_of_term(
        &self,
        list: &ComponentList,
        (frequency, interaction, index): RankedTerm,
        cancel: &Cancel,
    ) -> Result<Motif> {
        let term = &self.runs.terms()[index];
        let support = self.runs.support(term);
        let own = self.runs.factors(term);
        let given = |others: Vec<Factor<'_>>| -> Result<f64> {
            let all = own.iter().cloned().chain(others).collect();
            Ok(expectation(all, self.background(), cancel)? / frequency)
        };
        let mut effect = 0.0;
        for other in self.runs.terms() {
            if self.runs.support(other).iter().any(|i| support.binary_search(i).is_ok()) {
                let mean: f64 =
                    self.runs.blocks_of(other).map(|block| self.runs.average(block, |_| None)).product();
                effect += other.coefficient * (given(self.runs.factors(other))? - mean);
            }
        }
        for (component, positions) in list.supports.iter().enumerate() {
            // Given the symbols at the support, the mean of a component with further positions is 0.
            if positions.iter().all(|i| support.binary_search(i).is_ok()) {
                let table = list.table(component, cancel)?;
                effect += given(vec![Factor { positions: positions.clone(), table }])?;
            }
        }
        let source = &self.runs.source().terms[index];
        let (runs, sets) = (source.runs.clone(), source.sets.clone());
        Ok(Motif { support, letters: Vec::new(), runs, sets, interaction, effect, frequency })
    }

    /// The value of the terms with runs in the component of a support.
    pub(super) fn value_of_runs(&self, support: &[u16], symbols: &[u8]) -> f64 {
        let q = self.space().q();
        let value = |part: Part<'_>| {
            let of_factor = |factor: &Factor<'_>| {
                let digits = factor.positions.iter().filter_map(|i| support.binary_search(i).ok());
                let word =
                    words::number(digits.map(|at| symbols[at].into()), same(q, factor.positions.len()));
                factor.table[word]
            };
            part.coefficient * part.factors.iter().map(of_factor).product::<f64>()
        };
        self.runs.parts(support).into_iter().map(value).sum()
    }
}
