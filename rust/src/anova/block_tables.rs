//! Block tables: one table for all components whose supports are subsets of a small set of positions.
//!
//! For every word of its positions, a block table has one number for each position `i`: the contribution
//! `Σ_{S∋i} a(S)/|S|` of its components to the Shapley value of `i`. Its sum over all positions, the contribution
//! to the score, is stored too. One look-up replaces many.

use rayon::prelude::*;

use super::components::ComponentList;
use super::decompose::Component;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::words::{self, Block, cover};

/// Largest number of words of a block of several supports.
const BLOCK_WORDS: usize = 1024;
/// Largest number of entries of all block tables together (8 bytes each).
const MAX_ENTRIES: usize = 1 << 26;

/// The table of one block.
#[derive(Clone, Debug)]
pub(crate) struct BlockTable {
    pub(crate) positions: Vec<u16>,
    /// One row of `positions.len()` entries for each word.
    rows: Vec<f64>,
    /// The contribution of each word to the score: the sum of its row.
    scores: Vec<f64>,
}

impl BlockTable {
    /// The contributions of a word to each position.
    #[inline]
    pub(crate) fn row(&self, word: usize) -> &[f64] {
        let width = self.positions.len();
        &self.rows[word * width..][..width]
    }

    /// The contribution of a word to the score.
    #[inline]
    pub(crate) fn score(&self, word: usize) -> f64 {
        self.scores[word]
    }

    /// Block tables of all components that have a table; `None` if they would take too much memory.
    ///
    /// # Errors
    /// If the caller cancels.
    fn all(list: &ComponentList, cancel: &Cancel) -> Result<Option<Vec<Self>>> {
        let tabled: Vec<(usize, usize)> = list
            .components
            .iter()
            .enumerate()
            .filter_map(|(index, component)| match component {
                Component::Table(offset) => Some((index, *offset)),
                Component::Terms(_) => None,
            })
            .collect();
        let supports: Vec<Vec<u16>> = tabled.iter().map(|&(index, _)| list.supports[index].clone()).collect();
        let blocks = cover(&supports, list.q, list.n, BLOCK_WORDS);
        let radices = |block: &Block| words::same(list.q, block.positions.len());
        let entries = |block: &Block| words::count(radices(block)) * (block.positions.len() + 1);
        if blocks.iter().map(entries).sum::<usize>() > MAX_ENTRIES {
            return Ok(None);
        }
        let tables = blocks
            .into_par_iter()
            .map(|block| {
                cancel.check()?;
                let width = block.positions.len();
                let mut rows = vec![0.0; words::count(radices(&block)) * width];
                for &s in &block.supports {
                    let support = &supports[s];
                    let table = &list.tables[tabled[s].1..];
                    let columns: Vec<usize> =
                        (0..width).filter(|&column| support.contains(&block.positions[column])).collect();
                    let projections = words::projections(&block.positions, radices(&block), support);
                    for (row, word) in rows.chunks_exact_mut(width).zip(projections) {
                        let contribution = table[word] / support.len() as f64;
                        columns.iter().for_each(|&column| row[column] += contribution);
                    }
                }
                let scores = rows.chunks_exact(width).map(|row| row.iter().sum()).collect();
                Ok(Self { positions: block.positions, rows, scores })
            })
            .collect::<Result<_>>()?;
        Ok(Some(tables))
    }
}

impl ComponentList {
    /// Computes the block tables, unless that is done; only then are they used.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(super) fn prepare_blocks(&self, cancel: &Cancel) -> Result<()> {
        if self.blocks.get().is_none() {
            // If two threads compute them, they are equal, and the first ones are kept.
            let _ = self.blocks.set(BlockTable::all(self, cancel)?);
        }
        Ok(())
    }

    fn tables(&self) -> Option<&[BlockTable]> {
        self.blocks.get()?.as_deref()
    }

    /// The block tables; empty if they would take too much memory.
    pub(crate) fn blocks(&self) -> &[BlockTable] {
        self.tables().unwrap_or_default()
    }

    /// Indices of the components that are not in a block.
    pub(crate) fn unblocked(&self) -> impl Iterator<Item = usize> {
        let blocked = self.tables().is_some();
        (0..self.supports.len())
            .filter(move |&index| !blocked || matches!(self.components[index], Component::Terms(_)))
    }

    /// Calls `add` for each block, with its word at each sequence of a tile.
    pub(crate) fn each_block(
        &self,
        codes: &[u8],
        cancel: &Cancel,
        mut add: impl FnMut(&BlockTable, &[u32]),
    ) -> Result<()> {
        let count = codes.len() / self.n;
        // The codes are stored position by position, so that the words of all sequences of a tile are computed
        // together.
        let columns: Vec<u32> =
            (0..self.n).flat_map(|i| codes.chunks_exact(self.n).map(move |row| u32::from(row[i]))).collect();
        let mut words = vec![0_u32; count];
        for block in self.blocks() {
            cancel.check()?;
            words.fill(0);
            for &i in &block.positions {
                let column = &columns[i as usize * count..][..count];
                words
                    .iter_mut()
                    .zip(column)
                    .for_each(|(word, symbol)| *word = *word * self.q as u32 + symbol);
            }
            add(block, &words);
        }
        Ok(())
    }

    /// Adds the components that are not in a block.
    pub(super) fn add_unblocked(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        for index in self.unblocked() {
            for (row, out) in codes.chunks_exact(self.n).zip(&mut *out) {
                cancel.check()?;
                *out += self.value(index, row);
            }
        }
        Ok(())
    }

    /// The score of each sequence of a tile.
    pub(super) fn scores(
        &self,
        base_value: f64,
        codes: &[u8],
        out: &mut [f64],
        cancel: &Cancel,
    ) -> Result<()> {
        out.fill(base_value);
        self.add_unblocked(codes, out, cancel)?;
        self.each_block(codes, cancel, |block, words| {
            for (&word, out) in words.iter().zip(&mut *out) {
                *out += block.score(word as usize);
            }
        })
    }
}
