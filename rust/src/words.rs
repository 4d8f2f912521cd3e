//! Words: symbols at a list of positions, and their numbers.
//!
//! A word has one digit `0 <= d_i < r_i` for each position, where the radix `r_i` is the number of symbols there. Its
//! number is `(…(d_0 r_1 + d_1) r_2 + d_2 …)`, so the first position is the most significant one. Tables over all words
//! of a support are indexed by it. Every function takes the radices position by position, so that the alphabet may
//! depend on the position; [`same`] gives equal ones.
//!
//! Also here: subsets of positions, and a cover of many supports by few sets of positions.

use std::collections::BTreeSet;

/// `order` equal radices.
pub(crate) fn same(q: usize, order: usize) -> std::iter::RepeatN<usize> {
    std::iter::repeat_n(q, order)
}

/// The number of a word. The first radix does not affect it, because no digit comes before the first one.
#[inline]
pub(crate) fn number(
    digits: impl IntoIterator<Item = usize>,
    radices: impl IntoIterator<Item = usize>,
) -> usize {
    // With equal radices, this fold over the digits is as fast as with a constant radix.
    let mut radices = radices.into_iter();
    digits.into_iter().fold(0, |number, digit| radices.next().map_or(number, |radix| number * radix + digit))
}

/// Writes the digits of the word with this number, one for each radix.
#[inline]
pub(crate) fn write_digits<D: From<u8>>(
    number: usize,
    radices: impl DoubleEndedIterator<Item = usize>,
    digits: &mut [D],
) {
    let mut rest = number;
    for (digit, radix) in digits.iter_mut().rev().zip(radices.rev()) {
        *digit = ((rest % radix) as u8).into();
        rest /= radix;
    }
}

/// The digits of the word with this number.
pub(crate) fn digits<D: From<u8> + Clone>(
    number: usize,
    radices: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator,
) -> Vec<D> {
    let mut digits = vec![D::from(0); radices.len()];
    write_digits(number, radices, &mut digits);
    digits
}

/// Number of words; [`checked_count`] for positions that may have too many.
pub(crate) fn count(radices: impl Iterator<Item = usize>) -> usize {
    radices.product()
}

/// Number of words, if it is at most `usize::MAX`.
pub(crate) fn checked_count(mut radices: impl Iterator<Item = usize>) -> Option<usize> {
    radices.try_fold(1_usize, usize::checked_mul)
}

/// Number of words for error messages and limits: at most `u128::MAX`.
pub(crate) fn saturating_count(radices: impl Iterator<Item = usize>) -> u128 {
    radices.fold(1, |count: u128, radix| count.saturating_mul(radix as u128))
}

/// For every word of `positions`, the number of the word of its symbols at the positions in `support`.
pub(crate) fn projections(
    positions: &[u16],
    radices: impl IntoIterator<Item = usize>,
    support: &[u16],
) -> Vec<usize> {
    let mut words = vec![0];
    for (position, radix) in positions.iter().zip(radices) {
        let kept = support.contains(position);
        let extend =
            |word: usize| (0..radix).map(move |symbol| if kept { word * radix + symbol } else { word });
        words = words.into_iter().flat_map(extend).collect();
    }
    words
}

/// The positions whose bits are set in a mask.
pub(crate) fn subset(positions: &[u16], mask: usize) -> Vec<u16> {
    positions.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, &i)| i).collect()
}

/// All subsets of `size` positions.
pub(crate) fn subsets(positions: &[u16], size: usize) -> Vec<Vec<u16>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, &first) in positions.iter().enumerate().take((positions.len() + 1).saturating_sub(size)) {
        for mut rest in subsets(&positions[at + 1..], size - 1) {
            rest.insert(0, first);
            all.push(rest);
        }
    }
    all
}

/// Number of subsets of `k` out of `n` elements; 0 for `k > n`.
pub(crate) fn binomial(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (n as f64 - i as f64) / (i + 1) as f64).product()
}

/// The same as an integer, at most `u128::MAX`.
pub(crate) fn saturating_binomial(n: usize, k: usize) -> u128 {
    if k > n {
        return 0;
    }
    (0..k).fold(1_u128, |value, i| value.saturating_mul((n - i) as u128) / (i as u128 + 1))
}

/// A set of positions that contains several supports, so that one table over its words serves all of them.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) positions: Vec<u16>,
    /// Indices of the supports, all of them subsets of the positions.
    pub(crate) supports: Vec<usize>,
}

/// Covers the supports by blocks. Each block starts with a support that is not covered yet. It then adds, one by one,
/// the position with which it covers most supports, as long as the table of its words has at most `cells` cells.
pub(crate) fn cover(supports: &[Vec<u16>], q: usize, n: usize, cells: usize) -> Vec<Block> {
    let mut starts: Vec<usize> = (0..supports.len()).collect();
    starts.sort_by_key(|&index| std::cmp::Reverse(supports[index].len()));
    let mut uncovered = Uncovered::new(supports, n);
    let mut blocks = Vec::new();
    for start in starts {
        if uncovered.covered[start] {
            continue;
        }
        let mut growing = GrowingBlock::new(n);
        supports[start].iter().for_each(|&i| growing.add(i, &mut uncovered));
        while growing.positions.len() < n && q.pow(growing.positions.len() as u32 + 1) <= cells {
            let Some(i) = growing.best(&uncovered) else { break };
            growing.add(i, &mut uncovered);
        }
        let GrowingBlock { mut positions, supports: mut covered, .. } = growing;
        positions.sort_unstable();
        covered.sort_unstable();
        for &index in &covered {
            uncovered.covered[index] = true;
            if let [i] = supports[index][..] {
                uncovered.single.remove(&i);
            }
        }
        blocks.push(Block { positions, supports: covered });
    }
    // Sorted, so that consecutive blocks can reuse the numbers of the words at their common first positions.
    blocks.sort_by(|a, b| a.positions.cmp(&b.positions));
    blocks
}

/// Which supports no block covers yet.
struct Uncovered<'a> {
    supports: &'a [Vec<u16>],
    covered: Vec<bool>,
    /// Indices of the supports with each position; some of them may be covered.
    with_position: Vec<Vec<usize>>,
    /// Positions whose own support is not covered.
    single: BTreeSet<u16>,
}

impl<'a> Uncovered<'a> {
    fn new(supports: &'a [Vec<u16>], n: usize) -> Self {
        let mut with_position = vec![Vec::new(); n];
        for (index, support) in supports.iter().enumerate() {
            support.iter().for_each(|&i| with_position[i as usize].push(index));
        }
        let single = supports.iter().filter(|support| support.len() == 1).map(|support| support[0]).collect();
        Self { supports, covered: vec![false; supports.len()], with_position, single }
    }
}

/// A block to which positions are added.
struct GrowingBlock {
    positions: Vec<u16>,
    /// Whether each position is in the block.
    inside: Vec<bool>,
    /// For each position, the number of supports of several positions of which only this one is not in the block.
    gains: Vec<usize>,
    /// Positions whose gain is above 0; some of them may be in the block.
    neighbours: Vec<u16>,
    /// Indices of the supports that are subsets of the block.
    supports: Vec<usize>,
}

impl GrowingBlock {
    fn new(n: usize) -> Self {
        let (inside, gains) = (vec![false; n], vec![0; n]);
        Self { positions: Vec::new(), inside, gains, neighbours: Vec::new(), supports: Vec::new() }
    }

    fn add(&mut self, position: u16, uncovered: &mut Uncovered<'_>) {
        let Uncovered { supports, covered, with_position, .. } = uncovered;
        self.positions.push(position);
        self.inside[position as usize] = true;
        let with_position = &mut with_position[position as usize];
        with_position.retain(|&index| !covered[index]);
        for &index in &*with_position {
            let mut missing = supports[index].iter().filter(|&&i| !self.inside[i as usize]);
            match (missing.next(), missing.next()) {
                (None, _) => self.supports.push(index),
                (Some(&i), None) => {
                    if self.gains[i as usize] == 0 {
                        self.neighbours.push(i);
                    }
                    self.gains[i as usize] += 1;
                }
                _ => {}
            }
        }
    }

    /// The position that adds most supports, the first one if there are several.
    fn best(&self, uncovered: &Uncovered<'_>) -> Option<u16> {
        let is_outside = |i: &&u16| !self.inside[**i as usize];
        let gain = |&i: &u16| {
            (self.gains[i as usize] + usize::from(uncovered.single.contains(&i)), std::cmp::Reverse(i))
        };
        // Of the positions that are no neighbours, each can only add its own support.
        let single = uncovered.single.iter().find(is_outside);
        self.neighbours.iter().filter(is_outside).chain(single).map(gain).max().map(|(_, i)| i.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_digits_of_mixed_radices_are_inverse(
            radices in prop::collection::vec(1_usize..=9, 0..7), seed: usize,
        ) {
            let count = count(radices.iter().copied());
            prop_assert_eq!(checked_count(radices.iter().copied()), Some(count));
            prop_assert_eq!(saturating_count(radices.iter().copied()), count as u128);
            let word: Vec<usize> = digits(seed % count, radices.iter().copied());
            prop_assert!(word.iter().zip(&radices).all(|(digit, radix)| digit < radix));
            prop_assert_eq!(number(word, radices), seed % count);
        }

        #[test]
        fn projections_are_the_words_at_the_support(
            radices in prop::collection::vec(1_usize..=4, 5), mask in 0_usize..32,
        ) {
            let positions: Vec<u16> = (0..5).map(|i| 3 * i).collect();
            let support = subset(&positions, mask);
            let kept = || (0..5).filter(|bit| mask >> bit & 1 == 1);
            for (word, projected) in
                projections(&positions, radices.iter().copied(), &support).into_iter().enumerate()
            {
                let symbols: Vec<usize> = digits(word, radices.iter().copied());
                prop_assert_eq!(projected, number(kept().map(|i| symbols[i]), kept().map(|i| radices[i])));
            }
        }
    }

    #[test]
    fn counts_that_do_not_fit_are_recognised() {
        assert_eq!(checked_count(same(64, 11)), None);
        assert_eq!(saturating_count(same(64, 22)), u128::MAX);
    }

    #[test]
    fn subsets_are_as_many_as_the_binomial_coefficient() {
        for size in 0..=6 {
            assert_eq!(subsets(&[1, 4, 5, 7, 9], size).len() as f64, binomial(5, size));
            assert_eq!(saturating_binomial(5, size) as f64, binomial(5, size));
        }
    }

    /// The same blocks as [`cover`]: at each step, every other position is tried.
    fn slow_cover(supports: &[Vec<u16>], q: usize, n: usize, cells: usize) -> Vec<Vec<u16>> {
        let mut uncovered: Vec<&Vec<u16>> = supports.iter().collect();
        let mut blocks = Vec::new();
        let within = |support: &[u16], positions: &[u16]| support.iter().all(|i| positions.contains(i));
        let mut starts = uncovered.clone();
        starts.sort_by_key(|support| std::cmp::Reverse(support.len()));
        for start in starts {
            if !uncovered.contains(&start) {
                continue;
            }
            let mut positions = start.clone();
            while positions.len() < n && q.pow(positions.len() as u32 + 1) <= cells {
                let gain = |i: u16| {
                    let wider = [&positions[..], &[i]].concat();
                    uncovered.iter().filter(|s| s.contains(&i) && within(s, &wider)).count()
                };
                let others = (0..n as u16).rev().filter(|i| !positions.contains(i));
                match others.max_by_key(|&i| gain(i)).filter(|&i| gain(i) > 0) {
                    Some(i) => positions.push(i),
                    None => break,
                }
            }
            uncovered.retain(|support| !within(support, &positions));
            positions.sort_unstable();
            blocks.push(positions);
        }
        blocks.sort();
        blocks
    }

    proptest! {
        #[test]
        fn blocks_are_those_of_an_exhaustive_search(
            supports in prop::collection::btree_set(prop::collection::btree_set(0_u16..9, 1..4), 1..25),
            q in 2_usize..5,
        ) {
            let supports: Vec<Vec<u16>> = supports.into_iter().map(|s| s.into_iter().collect()).collect();
            let blocks = cover(&supports, q, 9, 256);
            let positions: Vec<Vec<u16>> = blocks.into_iter().map(|block| block.positions).collect();
            prop_assert_eq!(positions, slow_cover(&supports, q, 9, 256));
        }
    }

    #[test]
    fn every_support_is_covered_once() {
        let supports: Vec<Vec<u16>> = subsets(&[0, 1, 2, 3, 4, 5, 6], 2);
        let blocks = cover(&supports, 4, 7, 256);
        let mut covered: Vec<usize> = blocks.iter().flat_map(|block| block.supports.clone()).collect();
        covered.sort_unstable();
        assert_eq!(covered, (0..supports.len()).collect::<Vec<_>>());
        for block in &blocks {
            assert!(block.positions.len() <= 4);
            assert!(block.supports.iter().all(|&s| supports[s].iter().all(|i| block.positions.contains(i))));
        }
    }
}
