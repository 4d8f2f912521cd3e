//! Product terms of indicators, 256 at a time: one bit for each term.
//!
//! A term of indicators is 1 or 0. For every position and symbol, a mask has the terms whose indicator at the position is
//! 1 at the symbol. The terms that are 1 at a sequence are the intersection of the masks of its symbols.
//!
//! Under a reference, only a term for which at every position the symbol of the sequence or of the reference is in the set
//! has a game that is not 0. With the `p` positions at which only the sequence has a symbol of the set, and the `m`
//! positions at which only the reference has one, the game is 1 if a coalition contains all of the former and none of the
//! latter. The Shapley value is `(p-1)! m! / (p+m)!` for the former and `-p! (m-1)! / (p+m)!` for the latter (Laberge &
//! Pequignot, arXiv:2209.15123).

use super::flat_terms::FlatTerms;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::words::binomial;

/// 64-bit words of a mask. The compiler turns operations on so many words into vector instructions.
const WORDS: usize = 4;
/// Terms of a mask.
const TERMS: usize = 64 * WORDS;
/// Largest number of positions for which weights of the Shapley value are stored.
const STORED: usize = 32;

/// One bit for each term of a chunk.
type Mask = [u64; WORDS];

/// Masks of all terms.
#[derive(Clone, Debug)]
pub(super) struct TermMasks {
    chunks: Vec<Chunk>,
    /// `(p-1)! m! / (p+m)!` at `p * STORED + m`.
    weights: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// The number of its first term.
    first: usize,
    /// Its terms.
    all: Mask,
    /// Positions at which a term of the chunk has a factor.
    positions: Vec<u16>,
    /// For each of these positions and each symbol: the terms whose factor is 1 there, or that have no factor there.
    masks: Vec<Mask>,
}

/// `(p-1)! m! / (p+m)!`; 0 if `p = 0`.
fn weight(p: usize, m: usize) -> f64 {
    if p == 0 { 0.0 } else { 1.0 / (p as f64 * binomial(p + m, p.min(m))) }
}

fn each_bit(mask: Mask, mut each: impl FnMut(usize)) {
    for (index, mut word) in mask.into_iter().enumerate() {
        while word != 0 {
            each(64 * index + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    }
}

impl TermMasks {
    /// The masks of terms of indicators.
    pub(super) fn new(terms: &FlatTerms) -> Self {
        let chunks = (0..terms.len()).step_by(TERMS).map(|first| Chunk::new(terms, first)).collect();
        let weights = (0..STORED * STORED).map(|index| weight(index / STORED, index % STORED)).collect();
        Self { chunks, weights }
    }

    /// Adds the terms to the score of each sequence of a tile.
    pub(super) fn add_scores(
        &self,
        terms: &FlatTerms,
        codes: &[u8],
        out: &mut [f64],
        cancel: &Cancel,
    ) -> Result<()> {
        for chunk in &self.chunks {
            for (row, out) in codes.chunks_exact(terms.n).zip(&mut *out) {
                cancel.check()?;
                let mut holds = chunk.all;
                for (&i, masks) in chunk.positions.iter().zip(chunk.masks.chunks_exact(terms.q)) {
                    let mask = &masks[row[i as usize] as usize];
                    holds.iter_mut().zip(mask).for_each(|(holds, mask)| *holds &= mask);
                }
                each_bit(holds, |bit| *out += terms.coefficients[chunk.first + bit]);
            }
        }
        Ok(())
    }

    /// Adds `scale` times the Shapley values of each sequence of a tile under a reference.
    pub(super) fn add_shapley_values(
        &self,
        terms: &FlatTerms,
        reference: &[u8],
        scale: f64,
        (codes, out): (&[u8], &mut [f64]),
        cancel: &Cancel,
    ) -> Result<()> {
        let weight = |p: usize, m: usize| match p.max(m) < STORED {
            true => self.weights[p * STORED + m],
            false => weight(p, m),
        };
        let mut sides: Vec<[u64; 2]> = Vec::new();
        for chunk in &self.chunks {
            let missing: Vec<Mask> = chunk
                .positions
                .iter()
                .zip(chunk.masks.chunks_exact(terms.q))
                .map(|(&i, masks)| masks[reference[i as usize] as usize])
                .collect();
            for (row, out) in codes.chunks_exact(terms.n).zip(out.chunks_exact_mut(terms.n)) {
                cancel.check()?;
                let games = chunk.games(terms.q, row, &missing);
                each_bit(games, |bit| {
                    let term = chunk.first + bit;
                    let factors = terms.indices(term);
                    // For 64 factors at a time, as bits: only the sequence has a symbol of the set, or only the
                    // reference. Branches here would be mispredicted half of the time.
                    sides.clear();
                    let mut sizes = [0; 2];
                    for factors in factors.chunks(64) {
                        let mut bits = [0_u64; 2];
                        for (index, &factor) in factors.iter().enumerate() {
                            let factor = terms.distinct[factor as usize];
                            let (z, u) = (factor.bit(row), factor.bit(reference));
                            bits[0] |= (z & !u) << index;
                            bits[1] |= (u & !z) << index;
                        }
                        sizes
                            .iter_mut()
                            .zip(bits)
                            .for_each(|(size, bits)| *size += bits.count_ones() as usize);
                        sides.push(bits);
                    }
                    let scaled = scale * terms.coefficients[term];
                    let values = [scaled * weight(sizes[0], sizes[1]), -scaled * weight(sizes[1], sizes[0])];
                    for (sides, factors) in sides.iter().zip(factors.chunks(64)) {
                        for (mut bits, value) in sides.iter().copied().zip(values) {
                            while bits != 0 {
                                let factor = factors[bits.trailing_zeros() as usize];
                                out[usize::from(terms.distinct[factor as usize].position)] += value;
                                bits &= bits - 1;
                            }
                        }
                    }
                });
            }
        }
        Ok(())
    }
}

impl Chunk {
    fn new(terms: &FlatTerms, first: usize) -> Self {
        let numbers = first..terms.len().min(first + TERMS);
        let mut all = [0; WORDS];
        (0..numbers.len()).for_each(|bit| all[bit / 64] |= 1 << (bit % 64));
        let mut positions: Vec<u16> =
            numbers.clone().flat_map(|term| terms.factors(term)).map(|factor| factor.position).collect();
        positions.sort_unstable();
        positions.dedup();
        let mut masks = vec![all; positions.len() * terms.q];
        for (bit, term) in numbers.enumerate() {
            for factor in terms.factors(term) {
                let at = positions.partition_point(|&i| i < factor.position);
                let masks = &mut masks[at * terms.q..][..terms.q];
                for (_, mask) in masks.iter_mut().enumerate().filter(|(a, _)| factor.set >> a & 1 == 0) {
                    mask[bit / 64] &= !(1 << (bit % 64));
                }
            }
        }
        Self { first, all, positions, masks }
    }

    /// The terms whose game is not constant, for a sequence and the masks of a reference.
    #[inline]
    fn games(&self, q: usize, row: &[u8], missing: &[Mask]) -> Mask {
        let (mut possible, mut equal) = (self.all, [u64::MAX; WORDS]);
        for ((&i, masks), missing) in self.positions.iter().zip(self.masks.chunks_exact(q)).zip(missing) {
            let present = &masks[row[i as usize] as usize];
            for word in 0..WORDS {
                possible[word] &= present[word] | missing[word];
                equal[word] &= !(present[word] ^ missing[word]);
            }
        }
        possible.iter_mut().zip(equal).for_each(|(possible, equal)| *possible &= !equal);
        possible
    }
}
