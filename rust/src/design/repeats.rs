//! Repeated queries: sequences that are in several blocks.

use std::collections::HashMap;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::cosets::Cosets;
use super::{CHUNK, QueryDesign, TOO_MANY};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::{memory, words};

/// Queries for each pair of equal ones, at least, if pairs are listed; otherwise hashes of all queries are sorted.
const QUERIES_PER_PAIR: usize = 4;
/// Time that a delay takes for each column of all matrices if pairs are listed, in that for one query otherwise.
const COLUMN_WORK: usize = 4;

/// A query that is equal to a query of an earlier block: the numbers of both, counted over all blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Repeat {
    pub(super) number: u32,
    /// The first occurrence.
    pub(super) first: u32,
}

impl QueryDesign {
    /// The repeated queries, ascending by number.
    ///
    /// # Errors
    /// If there is too little memory, or the caller cancels.
    pub(super) fn find_repeats(&self, cancel: &Cancel) -> Result<Vec<Repeat>> {
        let total = self.total();
        if total == self.block_len(0) {
            // The queries of one block are distinct, because its matrix is injective.
            return Ok(Vec::new());
        }
        // The time to solve for them grows with the groups and columns for each delay; the time to sort, with the queries in
        // a block.
        let columns: usize = self.groups.iter().map(|group| group.matrix.sizes().len()).sum();
        if COLUMN_WORK * columns <= total / (self.groups.len() * self.delays_per_group())
            && let Some(repeats) = self.solve_repeats(total / QUERIES_PER_PAIR, cancel)?
        {
            return Ok(repeats);
        }
        self.sort_repeats(cancel)
    }

    /// The repeated queries from the sequences that each pair of blocks has in common; `None` if there are more than `most`
    /// pairs of equal queries.
    pub(super) fn solve_repeats(&self, most: usize, cancel: &Cancel) -> Result<Option<Vec<Repeat>>> {
        let mut pairs = Vec::new();
        for later in 0..self.groups.len() {
            for earlier in 0..=later {
                cancel.check()?;
                if !self.common(earlier, later, most, &mut pairs) {
                    return Ok(None);
                }
            }
        }
        cancel.sort(&mut pairs)?;
        // Of all pairs of one query, the first occurrence comes first.
        pairs.dedup_by_key(|pair| pair.number);
        Ok(Some(pairs))
    }

    /// Appends the pairs of equal queries of blocks of two groups, which may be the same. Returns false if there would be more
    /// than `most`.
    fn common(&self, earlier: usize, later: usize, most: usize, pairs: &mut Vec<Repeat>) -> bool {
        let groups = [&self.groups[earlier], &self.groups[later]];
        let matrices = groups.map(|group| &group.matrix);
        let sizes = self.space.sizes();
        let cosets = Cosets::new(sizes, self.space.n(), &matrices);
        let representatives = |which: usize| -> Vec<Vec<u8>> {
            let delays = &groups[which].delays;
            (0..delays.count()).into_par_iter().map(|p| cosets.representative(&delays.row(p))).collect()
        };
        let mut delays: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (p, representative) in representatives(0).into_iter().enumerate() {
            delays.entry(representative).or_default().push(p);
        }
        let kernel = cosets.kernel();
        let solutions = kernel.iter().fold(1_usize, |product, (_, count)| product.saturating_mul(*count));
        for (p, representative) in representatives(1).into_iter().enumerate() {
            for &own in delays.get(&representative).into_iter().flatten() {
                if earlier == later && own >= p {
                    break;
                }
                if solutions.saturating_add(pairs.len()) > most {
                    return false;
                }
                let (from, to) = (groups[0].delays.row(own), groups[1].delays.row(p));
                let difference = |(i, (x, y)): (usize, (u8, u8))| {
                    let size = sizes.at(i as u16);
                    ((y as usize + size - x as usize) % size) as u8
                };
                let difference: Vec<u8> = from.into_iter().zip(to).enumerate().map(difference).collect();
                // Aℓ + Bm = d' - d with m = -ℓ'.
                let digits = cosets.solution(&difference);
                let first = self.starts[earlier] + own * matrices[0].block_len();
                let number = self.starts[later] + p * matrices[1].block_len();
                self.list_pairs(earlier, later, (first, number), digits, &kernel, pairs);
            }
        }
        true
    }

    /// Appends the pairs of equal queries of two blocks, from the digits of one pair and those of all differences. `starts` has
    /// the numbers of the first queries of the blocks.
    fn list_pairs(
        &self,
        earlier: usize,
        later: usize,
        starts: (usize, usize),
        mut digits: Vec<u8>,
        kernel: &[(Vec<u8>, usize)],
        pairs: &mut Vec<Repeat>,
    ) {
        let matrices = [&self.groups[earlier].matrix, &self.groups[later].matrix];
        let sizes: Vec<usize> = matrices.iter().flat_map(|matrix| matrix.sizes()).copied().collect();
        let columns = matrices[0].sizes().len();
        let mut multiples = vec![0; kernel.len()];
        loop {
            let (own, other) = digits.split_at(columns);
            let first = words::number(own.iter().map(|&l| l as usize), sizes[..columns].iter().copied());
            let negated = other.iter().zip(&sizes[columns..]).map(|(&m, size)| (size - m as usize) % size);
            let number = words::number(negated, sizes[columns..].iter().copied());
            pairs.push(Repeat { number: (starts.1 + number) as u32, first: (starts.0 + first) as u32 });
            // The next sum of multiples. After the last multiple, the first one, 0, follows.
            let mut at = 0;
            loop {
                let Some((combination, count)) = kernel.get(at) else { return };
                for ((digit, &change), &size) in digits.iter_mut().zip(combination).zip(&sizes) {
                    *digit = ((*digit as usize + change as usize) % size) as u8;
                }
                multiples[at] += 1;
                if multiples[at] < *count {
                    break;
                }
                multiples[at] = 0;
                at += 1;
            }
        }
    }

    /// The repeated queries from sorted hashes of all queries: 16 bytes for each.
    pub(super) fn sort_repeats(&self, cancel: &Cancel) -> Result<Vec<Repeat>> {
        // After sorting by hash, equal queries are adjacent, and the first occurrence comes first.
        let mut hashes: Vec<(u64, u32)> =
            memory::zeros(self.total() as u128, "the list of all queries", TOO_MANY)?;
        hashes.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, out)| {
            cancel.check()?;
            let mut walk = self.walk(chunk * CHUNK);
            for (i, slot) in out.iter_mut().enumerate() {
                if i > 0 {
                    walk.advance();
                }
                *slot = (xxh3_64(&walk.row), walk.number as u32);
            }
            Ok::<(), Error>(())
        })?;
        cancel.sort(&mut hashes)?;
        let mut repeats = Vec::new();
        for (index, run) in hashes.chunk_by(|a, b| a.0 == b.0).enumerate() {
            if index.is_multiple_of(CHUNK) {
                cancel.check()?;
            }
            if run.len() == 1 {
                continue;
            }
            // Queries with equal hashes are compared in full, so different queries never count as equal.
            let mut firsts: Vec<(u32, Vec<u8>)> = Vec::new();
            for &(_, number) in run {
                let row = self.walk(number as usize).row;
                match firsts.iter().find(|(_, seen)| *seen == row) {
                    Some(&(first, _)) => repeats.push(Repeat { number, first }),
                    None => firsts.push((number, row)),
                }
            }
        }
        repeats.par_sort_unstable_by_key(|repeat| repeat.number);
        Ok(repeats)
    }
}
