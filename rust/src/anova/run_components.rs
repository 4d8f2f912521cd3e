//! Components of terms with runs: products of components of their blocks.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::background::Background;
use super::components::Components;
use super::run_products::{Block, Product, RunProducts};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::words::{self, projections, same};

/// Largest number of components of all terms, counted separately for each term.
const MAX_PARTS: u128 = 1 << 21;
/// Largest number of entries of a table while an expectation is computed.
const LARGEST: u128 = 1 << 22;

/// A function of some positions, by its table over their words.
#[derive(Clone, Debug)]
pub(crate) struct Factor<'a> {
    /// Positions, ascending.
    pub(crate) positions: Vec<u16>,
    pub(crate) table: Cow<'a, [f64]>,
}

/// A product of factors of disjoint positions, times a coefficient.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) coefficient: f64,
    pub(crate) factors: Vec<Factor<'a>>,
}

impl Components {
    /// The supports that have a component, by order, then position.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if long terms have too many to list.
    pub fn supports(&self) -> Result<&[Vec<u16>]> {
        let listed = &self.list(&Cancel::new())?.supports;
        if self.runs.is_empty() {
            return Ok(listed);
        }
        if self.supports.get().is_none() {
            let mut all: BTreeSet<(usize, Vec<u16>)> =
                listed.iter().map(|support| (support.len(), support.clone())).collect();
            self.runs.add_supports(&mut all)?;
            // If two threads list them, the lists are equal.
            let _ = self.supports.set(all.into_iter().map(|(_, support)| support).collect());
        }
        Ok(self.supports.get().map_or(listed, Vec::as_slice))
    }
}

impl RunProducts {
    /// # Errors
    /// [`Error::TooLarge`] if there are too many.
    fn add_supports(&self, all: &mut BTreeSet<(usize, Vec<u16>)>) -> Result<()> {
        let possible = |block: &Block| block.possible.iter().filter(|&&possible| possible).count();
        let of_term =
            |term: &Product| self.blocks_of(term).fold(1, |n: u128, b| n.saturating_mul(possible(b) as u128));
        let parts = self.terms().iter().map(of_term).fold(0, u128::saturating_add);
        if parts > MAX_PARTS {
            return Err(Error::TooLarge {
                what: "the list of components of the terms with runs",
                bytes: parts.saturating_mul(64),
                advice: "use the uniform background, fewer or shorter runs; scores, Shapley values and interactions of \
                         low order do not need this list",
            });
        }
        for term in self.terms() {
            let mut supports = vec![Vec::new()];
            for block in self.blocks_of(term) {
                let masks = (0..block.possible.len()).filter(|&mask| block.possible[mask]);
                let subsets: Vec<Vec<u16>> =
                    masks.map(|mask| words::subset(&block.positions, mask)).collect();
                supports = supports
                    .iter()
                    .flat_map(|support: &Vec<u16>| subsets.iter().map(|more| [&support[..], more].concat()))
                    .collect();
            }
            for mut support in supports.into_iter().filter(|support| !support.is_empty()) {
                support.sort_unstable();
                all.insert((support.len(), support));
            }
        }
        Ok(())
    }

    /// What each term contributes to the component of a support. Positions must be independent under the background.
    pub(crate) fn parts(&self, support: &[u16]) -> Vec<Part<'static>> {
        self.terms().iter().filter_map(|term| self.part(term, support)).collect()
    }

    fn part(&self, term: &Product, support: &[u16]) -> Option<Part<'static>> {
        let mut part = Part { coefficient: term.coefficient, factors: Vec::new() };
        let mut covered = 0;
        for block in self.blocks_of(term) {
            let bits = block.positions.iter().enumerate();
            let inside = bits.filter(|(_, i)| support.binary_search(i).is_ok());
            let mask = inside.map(|(bit, _)| 1 << bit).sum::<usize>();
            if !block.possible[mask] {
                return None;
            }
            covered += mask.count_ones() as usize;
            if mask == 0 {
                part.coefficient *= self.average(block, |_| None);
            } else {
                part.factors.push(self.component(block, mask));
            }
        }
        (covered == support.len()).then_some(part)
    }

    /// The component of some positions of a block.
    pub(crate) fn component(&self, block: &Block, mask: usize) -> Factor<'static> {
        let positions = words::subset(&block.positions, mask);
        let (q, order) = (self.q(), positions.len());
        let table = (0..words::count(same(q, order)))
            .map(|word| {
                let symbols: Vec<u8> = words::digits(word, same(q, order));
                let signed = |kept: usize| {
                    let symbol = |i: u16| {
                        let bit = positions.binary_search(&i).ok().filter(|bit| kept >> bit & 1 == 1)?;
                        Some(symbols[bit])
                    };
                    let sign = if (order as u32 - kept.count_ones()).is_multiple_of(2) { 1.0 } else { -1.0 };
                    sign * self.average(block, symbol)
                };
                (0..1_usize << order).map(signed).sum()
            })
            .collect();
        Factor { positions, table: Cow::Owned(table) }
    }

    /// The blocks of a term as factors.
    pub(crate) fn factors(&self, term: &Product) -> Vec<Factor<'static>> {
        let q = self.q();
        let factor = |block: &Block| {
            let positions = block.positions.clone();
            let order = positions.len();
            let value = |word: usize| {
                let symbols: Vec<u8> = words::digits(word, same(q, order));
                self.average(block, |i| positions.binary_search(&i).ok().map(|bit| symbols[bit]))
            };
            let table: Vec<f64> = (0..words::count(same(q, order))).map(value).collect();
            Factor { positions: positions.clone(), table: Cow::Owned(table) }
        };
        self.blocks_of(term).map(factor).collect()
    }
}

/// The mean of a product of functions over a background of independent positions. Positions are summed over one by one,
/// next the one whose functions have fewest positions together.
///
/// # Errors
/// [`Error::TooLarge`] if a table in between is too large, or the caller cancels.
pub(crate) fn expectation(
    mut factors: Vec<Factor<'_>>,
    background: &Background,
    cancel: &Cancel,
) -> Result<f64> {
    let q = background.space().q();
    loop {
        cancel.check()?;
        let positions: BTreeSet<u16> = factors.iter().flat_map(|f| f.positions.iter().copied()).collect();
        let together = |i: u16| -> BTreeSet<u16> {
            let with = factors.iter().filter(|factor| factor.positions.contains(&i));
            with.flat_map(|factor| factor.positions.iter().copied()).collect()
        };
        let Some((_, next)) = positions.into_iter().map(|i| (together(i).len(), i)).min() else {
            return Ok(factors.iter().map(|factor| factor.table[0]).product());
        };
        let union: Vec<u16> = together(next).into_iter().collect();
        let size = words::saturating_count(same(q, union.len()));
        if size > LARGEST {
            return Err(Error::TooLarge {
                what: "the joint table of overlapping runs",
                bytes: size.saturating_mul(8),
                advice: "use fewer or shorter runs",
            });
        }
        let (with, mut rest): (Vec<_>, Vec<_>) =
            factors.into_iter().partition(|f| f.positions.contains(&next));
        let radices = || same(q, union.len());
        let mut products = background.symbols(next);
        let own = projections(&union, radices(), &[next]);
        products = own.into_iter().map(|symbol| products[symbol]).collect();
        for factor in with {
            let words = projections(&union, radices(), &factor.positions);
            products.iter_mut().zip(words).for_each(|(product, word)| *product *= factor.table[word]);
        }
        let others: Vec<u16> = union.iter().copied().filter(|&i| i != next).collect();
        let mut table = vec![0.0; words::count(same(q, others.len()))];
        let words = projections(&union, radices(), &others);
        products.into_iter().zip(words).for_each(|(product, word)| table[word] += product);
        rest.push(Factor { positions: others, table: Cow::Owned(table) });
        factors = rest;
    }
}
