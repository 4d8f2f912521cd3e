//! Interactions of terms with runs.
//!
//! A term is a product over blocks, and so are its components: `a(T) = c Π_B a_B(T∩B)`. With the polynomials
//! `p_{B,U}(z) = Σ_{U⊆V⊆B} z^{|V|-|U|} a_B(V)`, the coefficient of `z^{t-s}` in `c Π_B p_{B,S∩B}(z)` is the sum of all
//! components of `t` positions that contain `S`. Every index is a weighted sum of these coefficients.

use super::indices::Index;
use super::interactions::MAX_SUBSETS;
use crate::anova::{Block, Product, RunProducts};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::words;

/// Largest number of positions of a term. Of more, the sums lose digits.
const LONGEST: usize = 30;

/// An index of terms with runs: the supports of each term, and the weights.
#[derive(Clone, Debug, Default)]
pub(super) struct RunInteractions {
    /// For each term, the end of its supports in `outputs`.
    ends: Vec<usize>,
    /// Where the interaction of each support is added.
    outputs: Vec<u32>,
    /// The positions of each support in each block of the term, as masks.
    masks: Vec<u16>,
    /// Weights of components, by the size of the support, then of the component.
    weights: Vec<Vec<f64>>,
}

impl RunInteractions {
    /// The supports of each term up to order `most`, without outputs, and a list of them. If there will be references,
    /// components can differ from 0 that are 0 under the background.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there are too many, or a term has too many positions.
    pub(super) fn new(
        runs: &RunProducts,
        index: Index,
        most: usize,
        with_references: bool,
    ) -> Result<(Self, Vec<Vec<u16>>)> {
        let longest = runs.terms().iter().map(|term| runs.support(term).len()).max().unwrap_or(0);
        if longest > LONGEST {
            return Err(Error::TooLarge {
                what: "the list of interactions of a term with runs over more than 30 positions",
                bytes: 16_u128.checked_shl(longest as u32).unwrap_or(u128::MAX),
                advice: "use shorter runs; scores and Shapley values do not need this list",
            });
        }
        let weight = |s: usize, t: usize| if s == 0 || t < s { 0.0 } else { index.weight(s, t, most) };
        let weights =
            (0..=most.min(longest)).map(|s| (0..=longest).map(|t| weight(s, t)).collect()).collect();
        let mut all = Self { weights, ..Self::default() };
        let mut supports = Vec::new();
        let occurs = |block: &Block, mask: usize| {
            let wider = |wider: usize| wider & mask == mask && block.possible[wider];
            with_references
                || if index == Index::Moebius {
                    block.possible[mask]
                } else {
                    (0..block.possible.len()).any(wider)
                }
        };
        for term in runs.terms() {
            for masks in all.masks(runs, term, &occurs, most) {
                let blocks = runs.blocks_of(term).zip(&masks);
                let mut support: Vec<u16> =
                    blocks.flat_map(|(block, &mask)| words::subset(&block.positions, mask.into())).collect();
                support.sort_unstable();
                supports.push(support);
                all.masks.extend(masks);
            }
            if supports.len() as f64 > MAX_SUBSETS {
                return Err(Error::TooLarge {
                    what: "the list of interactions of the terms with runs",
                    bytes: supports.len() as u128 * 64,
                    advice: "use fewer or shorter runs, or a lower max_order",
                });
            }
            all.ends.push(supports.len());
        }
        Ok((all, supports))
    }

    /// The supports of a term that can have an interaction, as masks of each block.
    fn masks(
        &self,
        runs: &RunProducts,
        term: &Product,
        occurs: &dyn Fn(&Block, usize) -> bool,
        most: usize,
    ) -> Vec<Vec<u16>> {
        let mut all: Vec<(usize, Vec<u16>)> = vec![(0, Vec::new())];
        for block in runs.blocks_of(term) {
            let masks: Vec<usize> = (0..block.possible.len()).filter(|&mask| occurs(block, mask)).collect();
            let longer = |(size, before): &(usize, Vec<u16>)| {
                let size = *size;
                let before = before.clone();
                let within = masks.iter().map(move |&mask| (size + mask.count_ones() as usize, mask));
                let within: Vec<(usize, usize)> = within.filter(|&(size, _)| size <= most).collect();
                within.into_iter().map(move |(size, mask)| (size, [&before[..], &[mask as u16]].concat()))
            };
            all = all.iter().flat_map(longer).collect();
        }
        let counts = |size: usize| self.weights[size].iter().any(|weight| *weight != 0.0);
        all.into_iter().filter(|&(size, _)| counts(size)).map(|(_, masks)| masks).collect()
    }

    /// Sets the outputs, in the order of the supports of [`RunInteractions::new`].
    pub(super) fn with_outputs(self, outputs: Vec<u32>) -> Self {
        Self { outputs, ..self }
    }

    /// Adds the interactions of a sequence.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(super) fn add(&self, runs: &RunProducts, row: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        let mut canceled = Ok(());
        let (mut product, mut next) = (Vec::new(), Vec::new());
        runs.each_part(row, |components, weight_of_part| {
            let polynomials: Vec<Vec<f64>> =
                runs.blocks().iter().map(|block| polynomials(block.game(components))).collect();
            let (mut start, mut at) = (0, 0);
            for (term, &end) in runs.terms().iter().zip(&self.ends) {
                if canceled.is_err() {
                    return;
                }
                canceled = cancel.check();
                let width = term.blocks.len();
                for &output in &self.outputs[start..end] {
                    let masks = &self.masks[at..at + width];
                    product.clear();
                    product.push(weight_of_part * term.coefficient);
                    for (&block, &mask) in term.blocks.iter().zip(masks) {
                        let order = runs.blocks()[block as usize].positions.len();
                        let degree = order - mask.count_ones() as usize;
                        let factor = &polynomials[block as usize][mask as usize * (order + 1)..][..=degree];
                        next.clear();
                        next.resize(product.len() + degree, 0.0);
                        for (power, value) in product.iter().enumerate() {
                            let shifted = next[power..].iter_mut().zip(factor);
                            shifted.for_each(|(next, coefficient)| *next += value * coefficient);
                        }
                        std::mem::swap(&mut product, &mut next);
                    }
                    let size: usize = masks.iter().map(|mask| mask.count_ones() as usize).sum();
                    let weights = &self.weights[size][size..];
                    out[output as usize] +=
                        product.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>();
                    at += width;
                }
                start = end;
            }
        });
        canceled
    }
}

/// `p_{B,U}` for every set `U` of positions of a block, by mask: `|B| + 1` coefficients each.
fn polynomials(components: &[f64]) -> Vec<f64> {
    let order = components.len().ilog2() as usize;
    let width = order + 1;
    let mut all = vec![0.0; components.len() * width];
    all.iter_mut().step_by(width).zip(components).for_each(|(constant, value)| *constant = *value);
    for bit in 0..order {
        for mask in (0..components.len()).filter(|mask| mask >> bit & 1 == 0) {
            let (smaller, wider) = all.split_at_mut((mask | 1 << bit) * width);
            let target = &mut smaller[mask * width..][1..width];
            target.iter_mut().zip(&wider[..order]).for_each(|(sum, value)| *sum += value);
        }
    }
    all
}
