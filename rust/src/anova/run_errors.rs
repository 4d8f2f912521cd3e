//! Squared Shapley values of terms with runs, for standard errors; under the uniform background.
//!
//! The Shapley value of a term is `c ∫ D_i(t) Π_{B'≠B} G_{B'}(t) dt` (see `run_products.rs`). Its square is a double sum over
//! the nodes of the quadrature. Its mean over uniform sequences factors, because the blocks are independent:
//! `c² Σ_{t,t'} w_t w_{t'} E[D_i(t) D_i(t')] Π_{B'≠B} E[G_{B'}(t) G_{B'}(t')]`.

use rayon::prelude::*;

use super::background::Background;
use super::run_products::{Block, RunProducts};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::ProductTerms;
use crate::words::{self, same};

/// `G_B(t)` of a block at each node, and `D_i(t)` of each position, node after node.
struct Extension {
    means: Vec<f64>,
    gains: Vec<Vec<f64>>,
}

impl RunProducts {
    /// The terms with runs under the uniform background.
    ///
    /// # Errors
    /// If the tables exceed the memory, or the caller cancels.
    pub(crate) fn uniform(terms: &ProductTerms, cancel: &Cancel) -> Result<Self> {
        Self::new(terms, &Background::uniform(&terms.space), cancel)
    }

    /// Adds the variance of each Shapley value of a sequence, given the variance of the coefficient of each term.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(crate) fn add_variances(
        &self,
        variances: &[f64],
        row: &[u8],
        out: &mut [f64],
        cancel: &Cancel,
    ) -> Result<()> {
        let extensions: Vec<Extension> =
            self.blocks().iter().map(|block| self.extension(block, |i| row[i as usize])).collect();
        for (term, variance) in self.terms().iter().zip(variances) {
            cancel.check()?;
            for (index, &block) in term.blocks.iter().enumerate() {
                let own = &extensions[block as usize];
                let rest = term.blocks.iter().enumerate().filter(|(other, _)| *other != index);
                let rest: Vec<&Extension> = rest.map(|(_, &other)| &extensions[other as usize]).collect();
                let weights: Vec<f64> = self
                    .rule()
                    .iter()
                    .enumerate()
                    .map(|(node, (_, weight))| {
                        weight * rest.iter().map(|other| other.means[node]).product::<f64>()
                    })
                    .collect();
                for (&i, gains) in self.blocks()[block as usize].positions.iter().zip(&own.gains) {
                    let value: f64 = gains.iter().zip(&weights).map(|(gain, weight)| gain * weight).sum();
                    out[i as usize] += variance * value * value;
                }
            }
        }
        Ok(())
    }

    /// Adds the variance of each Shapley value, averaged over uniform sequences.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(crate) fn add_mean_variances(
        &self,
        variances: &[f64],
        out: &mut [f64],
        cancel: &Cancel,
    ) -> Result<()> {
        let moments = self
            .blocks()
            .par_iter()
            .map(|block| {
                cancel.check()?;
                Ok(self.moments(block))
            })
            .collect::<Result<Vec<_>>>()?;
        let weights: Vec<f64> =
            self.rule().iter().flat_map(|(_, a)| self.rule().iter().map(move |(_, b)| a * b)).collect();
        for (term, variance) in self.terms().iter().zip(variances) {
            for (index, &block) in term.blocks.iter().enumerate() {
                let mut products = weights.clone();
                for (_, &other) in term.blocks.iter().enumerate().filter(|(other, _)| *other != index) {
                    let squares = &moments[other as usize].means;
                    products.iter_mut().zip(squares).for_each(|(product, square)| *product *= square);
                }
                let own = &moments[block as usize];
                for (&i, gains) in self.blocks()[block as usize].positions.iter().zip(&own.gains) {
                    let square: f64 = gains.iter().zip(&products).map(|(gain, p)| gain * p).sum();
                    out[i as usize] += variance * square;
                }
            }
        }
        Ok(())
    }

    /// The extension of the game of a block.
    fn extension(&self, block: &Block, symbol: impl Fn(u16) -> u8) -> Extension {
        let order = block.positions.len();
        let game: Vec<f64> = (0..1_usize << order)
            .map(|mask| {
                self.average(block, |i| {
                    let bit = block.positions.partition_point(|&p| p < i);
                    (mask >> bit & 1 == 1).then(|| symbol(i))
                })
            })
            .collect();
        // The chance of each size of a set of `count` positions, for each node.
        let chances = |count: usize| -> Vec<Vec<f64>> {
            let chance = |t: f64, size: usize| t.powi(size as i32) * (1.0 - t).powi((count - size) as i32);
            let nodes = self.rule().iter();
            nodes.map(|&(t, _)| (0..=count).map(|size| chance(t, size)).collect()).collect()
        };
        let size = |mask: usize| mask.count_ones() as usize;
        let mean = |chances: &Vec<f64>| {
            game.iter().enumerate().map(|(mask, value)| chances[size(mask)] * value).sum()
        };
        let gain = |chances: &Vec<f64>, bit: usize| {
            let without = (0..game.len()).filter(|mask| mask >> bit & 1 == 0);
            without.map(|mask| chances[size(mask)] * (game[mask | 1 << bit] - game[mask])).sum()
        };
        let (of_all, of_others) = (chances(order), chances(order - 1));
        Extension {
            means: of_all.iter().map(mean).collect(),
            gains: (0..order).map(|bit| of_others.iter().map(|c| gain(c, bit)).collect()).collect(),
        }
    }

    /// Means over uniform words of the products of the extension at each pair of nodes.
    fn moments(&self, block: &Block) -> Extension {
        let order = block.positions.len();
        let pairs = self.rule().len().pow(2);
        let mut sum = Extension { means: vec![0.0; pairs], gains: vec![vec![0.0; pairs]; order] };
        let count = words::count(same(self.q(), order));
        let add = |sum: &mut [f64], values: &[f64]| {
            let products = values.iter().flat_map(|a| values.iter().map(move |b| a * b));
            sum.iter_mut().zip(products).for_each(|(sum, product)| *sum += product / count as f64);
        };
        for word in 0..count {
            let symbols: Vec<u8> = words::digits(word, same(self.q(), order));
            let at = |i: u16| symbols[block.positions.partition_point(|&p| p < i)];
            let extension = self.extension(block, at);
            add(&mut sum.means, &extension.means);
            sum.gains.iter_mut().zip(&extension.gains).for_each(|(sum, gains)| add(sum, gains));
        }
        sum
    }
}
