//! Shuffles of a sequence that preserve its dinucleotide counts.
//!
//! A sequence is a walk on the graph whose edges are its pairs of adjacent symbols. Every other walk over all edges has
//! the same pairs, and the same first and last symbol. To draw one uniformly, draw the last edge out of each symbol as
//! a random tree that leads to the last symbol, then the order of the other edges (Altschul & Erickson, Mol. Biol. Evol.
//! 1985; Kandel et al., Discrete Appl. Math. 1996; the tree by Wilson, STOC 1996).

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::memory;
use crate::space::SequenceSpace;

/// Number of shuffles between two checks of the cancel flag.
const CHECKED: usize = 1 << 10;

/// `count` shuffles of each sequence that preserve the number of times each symbol follows each other symbol; codes
/// `(B, count, n)`.
///
/// The shuffles of a sequence depend on the seed and the sequence, but not on the other sequences of the batch.
///
/// # Errors
/// If the codes are not sequences of the space, or the caller cancels; [`Error::Memory`] if the shuffles exceed the
/// memory.
pub fn dinucleotide_shuffles(
    space: &SequenceSpace,
    codes: &[u8],
    count: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<u8>> {
    space.check(codes)?;
    let (q, n) = (space.q(), space.n());
    let mut out = memory::zeros(
        codes.len() as u128 * count as u128,
        "the shuffles",
        "request fewer shuffles of each sequence, or pass fewer sequences at a time",
    )?;
    out.par_chunks_exact_mut(n * count.max(1)).zip(codes.par_chunks_exact(n)).try_for_each(
        |(out, row)| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(xxhash_rust::xxh3::xxh3_64(row));
            for (index, out) in out.chunks_exact_mut(n).enumerate() {
                if index.is_multiple_of(CHECKED) {
                    cancel.check()?;
                }
                out.copy_from_slice(&shuffled(row, q, &mut rng));
            }
            Ok::<(), Error>(())
        },
    )?;
    Ok(out)
}

fn shuffled(row: &[u8], q: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let last = row[row.len() - 1];
    let mut edges: Vec<Vec<u8>> = vec![Vec::new(); q];
    row.windows(2).for_each(|pair| edges[pair[0] as usize].push(pair[1]));
    // The last edges of all symbols form a tree that leads to the last symbol: random walks with their loops erased.
    let mut exits = vec![0; q];
    let mut done = vec![false; q];
    done[last as usize] = true;
    for start in 0..q {
        if edges[start].is_empty() {
            continue;
        }
        let mut symbol = start;
        while !done[symbol] {
            exits[symbol] = rng.random_range(0..edges[symbol].len());
            symbol = edges[symbol][exits[symbol]] as usize;
        }
        symbol = start;
        while !done[symbol] {
            done[symbol] = true;
            symbol = edges[symbol][exits[symbol]] as usize;
        }
    }
    for (symbol, out) in edges.iter_mut().enumerate() {
        let mut free = out.len();
        if symbol != last as usize && free > 0 {
            free -= 1;
            out.swap(exits[symbol], free);
        }
        out[..free].shuffle(rng);
    }
    let mut next = vec![0; q];
    let mut walk = vec![row[0]];
    while walk.len() < row.len() {
        let symbol = walk[walk.len() - 1] as usize;
        walk.push(edges[symbol][next[symbol]]);
        next[symbol] += 1;
    }
    walk
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::words;

    fn pairs(row: &[u8]) -> Vec<&[u8]> {
        let mut pairs: Vec<&[u8]> = row.windows(2).collect();
        pairs.sort_unstable();
        pairs
    }

    proptest! {
        #[test]
        fn shuffles_keep_the_pairs(row in prop::collection::vec(0_u8..5, 1..60), seed in 0_u64..99) {
            let space = SequenceSpace::of_size(5, row.len()).unwrap();
            let shuffles = dinucleotide_shuffles(&space, &row, 4, seed, &Cancel::new()).unwrap();
            prop_assert_eq!(shuffles.len(), 4 * row.len());
            for shuffle in shuffles.chunks(row.len()) {
                prop_assert_eq!(pairs(shuffle), pairs(&row));
                prop_assert_eq!((shuffle[0], shuffle.last()), (row[0], row.last()));
            }
        }
    }

    #[test]
    fn all_walks_are_equally_likely() {
        // All sequences with the same pairs, among all sequences.
        let row = [0_u8, 1, 0, 2, 1, 1, 0, 2, 2, 0];
        let space = SequenceSpace::of_size(3, row.len()).unwrap();
        let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for index in 0..3_usize.pow(10) {
            let other: Vec<u8> = words::digits(index, words::same(3, 10));
            if pairs(&other) == pairs(&row) && other[0] == row[0] {
                counts.insert(other, 0);
            }
        }
        let draws = 400 * counts.len();
        for shuffle in
            dinucleotide_shuffles(&space, &row, draws, 5, &Cancel::new()).unwrap().chunks(row.len())
        {
            *counts.get_mut(shuffle).unwrap() += 1;
        }
        let excess: f64 = counts.values().map(|&count| (count as f64 - 400.0).powi(2) / 400.0).sum();
        let freedom = counts.len() as f64 - 1.0;
        // Chi squared, four standard deviations above its mean.
        assert!(
            counts.len() > 10 && excess < freedom + 4.0 * (2.0 * freedom).sqrt(),
            "{excess} of {freedom}"
        );
    }
}
