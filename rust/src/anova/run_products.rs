//! Terms with runs under a background: products of tables on disjoint blocks of positions.
//!
//! Let a term be `c Π_B g_B(x_B)`. If every position has the symbol of the sequence with probability `t`, and else that
//! of the background, the factors are independent. With the game `v_B(S) = E g_B(x_S, X_{B∖S})` of each block,
//!
//! `G_B(t) = Σ_{S⊆B} t^|S| (1-t)^{|B|-|S|} v_B(S)`,
//! `D_i(t) = Σ_{S⊆B∖i} t^|S| (1-t)^{|B|-1-|S|} (v_B(S∪i) - v_B(S))`, and `SV_i = c ∫_0^1 D_i(t) Π_{B'≠B} G_{B'}(t) dt`
//!
//! for `i ∈ B` (Owen 1972). The integrand is a polynomial of degree `d - 1` for a term of `d` positions, so Gauss-Legendre
//! quadrature with `⌈d/2⌉` nodes is exact.

use std::collections::HashMap;
use std::sync::Arc;

use super::background::Background;
use super::multilinear::{Rule, gauss_legendre};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::memory;
use crate::surrogate::{ProductTerms, RunBlock, RunTerms};
use crate::words;

/// A mean below this absolute value is a rounding error: the tables have zeros and ones.
const ROUNDING: f64 = 1e-13;

/// Terms with runs, ready for evaluation.
#[derive(Clone, Debug)]
pub(crate) struct RunProducts {
    shared: Arc<Shared>,
    /// The background is a mixture of these, with equal weights.
    parts: Vec<Missing>,
}

/// From where the symbol of a missing position comes.
#[derive(Clone, Debug)]
enum Missing {
    /// The mean over the background, which the tables contain.
    Mean,
    /// One sequence.
    Reference(Vec<u8>),
}

#[derive(Debug)]
struct Shared {
    q: usize,
    n: usize,
    blocks: Vec<Block>,
    terms: Vec<Product>,
    /// The terms that these are.
    source: RunTerms,
    /// The tables of all blocks. The digit of a position is its symbol, or `q` for the mean over the background.
    tables: Vec<f64>,
    /// Number of coalitions of all blocks.
    coalitions: usize,
    rule: Rule,
}

/// A factor of terms.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Positions, ascending.
    pub(crate) positions: Vec<u16>,
    /// Distance between table entries whose digits of one position differ by 1, for each position.
    strides: Vec<usize>,
    /// Start of the table.
    table: usize,
    /// Start of the coalitions in [`RunProducts::games`].
    start: usize,
    /// For each set of positions, by mask, whether its component can differ from 0.
    pub(crate) possible: Vec<bool>,
}

/// A term: a coefficient and the numbers of its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(crate) coefficient: f64,
    pub(crate) blocks: Vec<u32>,
}

impl RunProducts {
    /// # Errors
    /// If the tables exceed the memory, or the caller cancels.
    pub(super) fn new(terms: &ProductTerms, background: &Background, cancel: &Cancel) -> Result<Self> {
        let (q, n) = (terms.space.q(), terms.space.n());
        let mut numbers: HashMap<RunBlock, u32> = HashMap::new();
        let mut distinct: Vec<RunBlock> = Vec::new();
        let mut products = Vec::with_capacity(terms.runs.len());
        let mut longest = 0;
        for term in &terms.runs.terms {
            cancel.check()?;
            let blocks: Vec<u32> = term
                .blocks(&terms.runs.relations, q)
                .into_iter()
                .map(|block| {
                    *numbers.entry(block).or_insert_with_key(|block| {
                        distinct.push(block.clone());
                        distinct.len() as u32 - 1
                    })
                })
                .collect();
            let order: usize = blocks.iter().map(|&b| distinct[b as usize].positions.len()).sum();
            longest = longest.max(order);
            products.push(Product { coefficient: term.coefficient, blocks });
        }
        let (blocks, tables) = tabulated(&distinct, q, background, cancel)?;
        let coalitions = blocks.iter().map(|block| block.possible.len()).sum();
        let rule = gauss_legendre(longest.div_ceil(2));
        let parts = match background.codes() {
            Some(codes) => references(codes, n),
            None => vec![Missing::Mean],
        };
        let source = terms.runs.clone();
        let shared = Shared { q, n, blocks, terms: products, source, tables, coalitions, rule };
        Ok(Self { shared: Arc::new(shared), parts })
    }

    /// The same terms under a background of these equally likely sequences.
    pub(crate) fn with_references(&self, codes: &[u8]) -> Self {
        let parts = if self.is_empty() { Vec::new() } else { references(codes, self.shared.n) };
        Self { shared: Arc::clone(&self.shared), parts }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shared.terms.is_empty()
    }

    pub(crate) fn q(&self) -> usize {
        self.shared.q
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.shared.rule
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.shared.blocks
    }

    pub(crate) fn terms(&self) -> &[Product] {
        &self.shared.terms
    }

    pub(crate) fn source(&self) -> &RunTerms {
        &self.shared.source
    }

    /// The blocks of a term.
    pub(crate) fn blocks_of<'a>(&'a self, term: &'a Product) -> impl Iterator<Item = &'a Block> {
        term.blocks.iter().map(|&block| &self.shared.blocks[block as usize])
    }

    /// All positions of a term, ascending.
    pub(crate) fn support(&self, term: &Product) -> Vec<u16> {
        let mut support: Vec<u16> =
            self.blocks_of(term).flat_map(|block| block.positions.iter().copied()).collect();
        support.sort_unstable();
        support
    }

    /// The mean over the background.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(crate) fn base_value(&self, cancel: &Cancel) -> Result<f64> {
        if self.is_empty() {
            return Ok(0.0);
        }
        let row = vec![0; self.shared.n];
        let mut sum = 0.0;
        for part in &self.parts {
            cancel.check()?;
            let games = self.games(part, &row);
            let mean = |&block: &u32| games[self.shared.blocks[block as usize].start];
            let value = |term: &Product| term.coefficient * term.blocks.iter().map(mean).product::<f64>();
            sum += self.shared.terms.iter().map(value).sum::<f64>();
        }
        Ok(sum / self.parts.len() as f64)
    }

    /// The value of each block at a sequence.
    pub(crate) fn values(&self, row: &[u8]) -> Vec<f64> {
        self.shared.blocks.iter().map(|block| self.value(block, row)).collect()
    }

    /// The value of a block at a sequence, 0 or 1.
    pub(crate) fn value(&self, block: &Block, row: &[u8]) -> f64 {
        self.average(block, |i| Some(row[i as usize]))
    }

    /// The value of a block at a sequence with other symbols at some positions.
    pub(crate) fn value_with(&self, block: &Block, row: &[u8], changes: &[(u16, u8)]) -> f64 {
        let changed = |i: u16| changes.iter().find(|(j, _)| *j == i).map(|&(_, symbol)| symbol);
        self.average(block, |i| changed(i).or(Some(row[i as usize])))
    }

    /// The mean of a block over the background, given the symbols of some of its positions. Several references have no
    /// such mean.
    pub(crate) fn average(&self, block: &Block, symbol: impl Fn(u16) -> Option<u8>) -> f64 {
        let digit = |i: u16| symbol(i).map_or(self.shared.q, usize::from);
        let steps = block.positions.iter().zip(&block.strides).map(|(&i, stride)| digit(i) * stride);
        self.shared.tables[block.table + steps.sum::<usize>()]
    }

    /// Adds the score of each sequence of a tile.
    pub(crate) fn add_scores(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        let rows = if self.is_empty() { &[] } else { codes };
        for (row, out) in rows.chunks_exact(self.shared.n).zip(out) {
            cancel.check()?;
            let values = self.values(row);
            for term in &self.shared.terms {
                let holds = term.blocks.iter().all(|&block| values[block as usize] != 0.0);
                *out += if holds { term.coefficient } else { 0.0 };
            }
        }
        Ok(())
    }

    /// Adds the Shapley values of each sequence of a tile.
    pub(crate) fn add_shapley_values(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        let Shared { n, blocks, rule, .. } = &*self.shared;
        let highest = blocks.iter().map(|block| block.positions.len()).max().unwrap_or(0);
        let mut means = vec![0.0; blocks.len()];
        let mut others = vec![0.0; blocks.len()];
        let (mut present, mut absent) = (vec![1.0; highest + 1], vec![1.0; highest + 1]);
        let rows = if self.is_empty() { &[] } else { codes };
        for (row, out) in rows.chunks_exact(*n).zip(out.chunks_exact_mut(*n)) {
            for part in &self.parts {
                cancel.check()?;
                let games = self.games(part, row);
                for &(t, weight) in rule {
                    for size in 1..=highest {
                        present[size] = t * present[size - 1];
                        absent[size] = (1.0 - t) * absent[size - 1];
                    }
                    let chance = |mask: usize, order: usize| {
                        let size = mask.count_ones() as usize;
                        present[size] * absent[order - size]
                    };
                    for (mean, block) in means.iter_mut().zip(blocks) {
                        let order = block.positions.len();
                        let game = block.game(&games).iter().enumerate();
                        *mean = game.map(|(mask, value)| chance(mask, order) * value).sum();
                    }
                    self.others(&means, weight / self.parts.len() as f64, &mut others);
                    for (block, others) in blocks.iter().zip(&others).filter(|(_, others)| **others != 0.0) {
                        let (game, order) = (block.game(&games), block.positions.len());
                        for (bit, &i) in block.positions.iter().enumerate() {
                            let without = (0..game.len()).filter(|mask| mask >> bit & 1 == 0);
                            let gain = without
                                .map(|mask| chance(mask, order - 1) * (game[mask | 1 << bit] - game[mask]));
                            out[i as usize] += others * gain.sum::<f64>();
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// For each block, the sum over its terms of `scale`, the coefficient, and the values of all other blocks, multiplied.
    pub(crate) fn others(&self, values: &[f64], scale: f64, out: &mut [f64]) {
        out.fill(0.0);
        let mut before = Vec::new();
        for term in &self.shared.terms {
            // The product of all factors except one is the product before it times the product after it.
            let mut product = scale * term.coefficient;
            before.clear();
            for &block in &term.blocks {
                before.push(product);
                product *= values[block as usize];
            }
            let mut after = 1.0;
            for (&block, before) in term.blocks.iter().zip(&before).rev() {
                out[block as usize] += before * after;
                after *= values[block as usize];
            }
        }
    }

    /// Calls `each` with the components of the games of all blocks, by mask, under each part of the background.
    pub(crate) fn each_part(&self, row: &[u8], mut each: impl FnMut(&[f64], f64)) {
        let weight = 1.0 / self.parts.len() as f64;
        for part in &self.parts {
            let mut games = self.games(part, row);
            for block in &self.shared.blocks {
                moebius(&mut games[block.start..][..block.possible.len()]);
            }
            each(&games, weight);
        }
    }

    /// The game of each block, by mask: its mean given the symbols of the positions in the coalition.
    fn games(&self, part: &Missing, row: &[u8]) -> Vec<f64> {
        let Shared { q, blocks, tables, coalitions, .. } = &*self.shared;
        let mut games = Vec::with_capacity(*coalitions);
        let mut cells: Vec<usize> = Vec::new();
        for Block { positions, strides, table, .. } in blocks {
            cells.clear();
            cells.push(*table);
            for (&i, stride) in positions.iter().zip(strides) {
                let missing = match part {
                    Missing::Mean => *q,
                    Missing::Reference(reference) => reference[i as usize].into(),
                };
                let count = cells.len();
                cells.extend_from_within(..);
                cells[..count].iter_mut().for_each(|cell| *cell += missing * stride);
                cells[count..].iter_mut().for_each(|cell| *cell += usize::from(row[i as usize]) * stride);
            }
            games.extend(cells.iter().map(|&cell| tables[cell]));
        }
        games
    }
}

impl Block {
    /// Its part of the numbers of all coalitions of all blocks.
    pub(crate) fn game<'a>(&self, games: &'a [f64]) -> &'a [f64] {
        &games[self.start..][..self.possible.len()]
    }
}

/// Replaces the scores of all coalitions (by mask) with the components of the game.
pub(crate) fn moebius(game: &mut [f64]) {
    let mut step = 1;
    while step < game.len() {
        for pair in game.chunks_exact_mut(2 * step) {
            let (without, with) = pair.split_at_mut(step);
            with.iter_mut().zip(without).for_each(|(with, without)| *with -= *without);
        }
        step *= 2;
    }
}

fn references(codes: &[u8], n: usize) -> Vec<Missing> {
    codes.chunks_exact(n).map(|row| Missing::Reference(row.to_vec())).collect()
}

/// The blocks and their tables.
fn tabulated(
    distinct: &[RunBlock],
    q: usize,
    background: &Background,
    cancel: &Cancel,
) -> Result<(Vec<Block>, Vec<f64>)> {
    let radices = |block: &RunBlock| words::same(q + 1, block.positions.len());
    // Blocks that differ only by their positions share a table, unless the background differs by position.
    let same_table = background.is_uniform() || !background.is_product();
    let shared = |block: &RunBlock| match same_table {
        true => RunBlock { positions: Vec::new(), ..block.clone() },
        false => block.clone(),
    };
    let mut known: HashMap<RunBlock, (usize, Vec<bool>)> = HashMap::new();
    let mut tables = Vec::new();
    let mut blocks = Vec::with_capacity(distinct.len());
    let mut start = 0;
    for block in distinct {
        cancel.check()?;
        let order = block.positions.len();
        let (table, possible) = known
            .entry(shared(block))
            .or_insert_with(|| {
                let averages = averages(block, q, background);
                let possible = match background.is_product() {
                    true => possible(averages.clone(), q, order),
                    false => vec![true; 1 << order],
                };
                tables.extend(averages);
                (tables.len() - words::count(radices(block)), possible)
            })
            .clone();
        memory::check("the tables of runs", tables.len() as u128 * 8, "use fewer or shorter runs")?;
        let strides = (0..order).map(|axis| words::count(words::same(q + 1, order - 1 - axis))).collect();
        start += possible.len();
        let start = start - possible.len();
        blocks.push(Block { positions: block.positions.clone(), strides, table, start, possible });
    }
    Ok((blocks, tables))
}

/// The table of a block, extended by the means over missing positions. Under references, these are not used.
fn averages(block: &RunBlock, q: usize, background: &Background) -> Vec<f64> {
    let mut table: Vec<f64> = block.holds.iter().map(|&holds| f64::from(u8::from(holds))).collect();
    for &position in &block.positions {
        // Extend the first remaining axis and move it to the end. After all axes the original order is restored.
        let chances = background.symbols(position);
        let rest = table.len() / q;
        let mut next = vec![0.0; rest * (q + 1)];
        for ((symbol, row), p) in table.chunks_exact(rest).enumerate().zip(chances) {
            for (value, next) in row.iter().zip(next.chunks_exact_mut(q + 1)) {
                next[symbol] = *value;
                next[q] += p * value;
            }
        }
        table = next;
    }
    table
}

/// For each set of positions of an extended table, by mask, whether its component differs from 0 for some word.
fn possible(mut table: Vec<f64>, q: usize, order: usize) -> Vec<bool> {
    for axis in 0..order {
        let stride = words::count(words::same(q + 1, order - 1 - axis));
        for block in table.chunks_exact_mut((q + 1) * stride) {
            let (symbols, mean) = block.split_at_mut(q * stride);
            symbols.chunks_exact_mut(stride).for_each(|row| {
                row.iter_mut().zip(&*mean).for_each(|(value, mean)| *value -= mean);
            });
        }
    }
    let mut possible = vec![false; 1 << order];
    for (word, _) in table.iter().enumerate().filter(|(_, value)| value.abs() > ROUNDING) {
        let digits: Vec<u16> = words::digits(word, words::same(q + 1, order));
        let present = digits.iter().enumerate().filter(|(_, digit)| usize::from(**digit) < q);
        possible[present.map(|(bit, _)| 1 << bit).sum::<usize>()] = true;
    }
    possible
}
