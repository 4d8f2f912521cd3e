//! How many axes of a block each alphabet size has, if positions differ in their numbers of letters.
//!
//! Positions with the same number of letters `s` are subsampled by a matrix of their own, over `Z_s`, with `b_s` columns
//! (compare GFast, arXiv 2501.12365). A block has `Π_s s^{b_s}` queries. That is near `g^b`, where `g` is the geometric
//! mean of the sizes, and over the groups each size gets columns in proportion to its number of positions. Positions with
//! one letter are constants; they are not subsampled.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::space::SequenceSpace;

/// Largest number of groups that are required.
const MOST: usize = 40;

/// The positions with this number of letters, and the columns of a matrix for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) size: usize,
    pub(super) positions: Vec<u16>,
    pub(super) columns: usize,
}

/// Positions with more than one letter, ascending.
pub(crate) fn free_positions(space: &SequenceSpace) -> Vec<u16> {
    (0..space.n() as u16).filter(|&i| space.sizes().at(i) > 1).collect()
}

/// The shares of all sizes, for each group in turn.
pub(super) fn shares(space: &SequenceSpace, b: usize) -> impl Iterator<Item = Vec<Share>> + use<> {
    let mut positions: BTreeMap<usize, Vec<u16>> = BTreeMap::new();
    for i in free_positions(space) {
        positions.entry(space.sizes().at(i)).or_default().push(i);
    }
    let none: Vec<Share> =
        positions.into_iter().map(|(size, positions)| Share { size, positions, columns: 0 }).collect();
    let free: usize = none.iter().map(|share| share.positions.len()).sum();
    let log = |share: &Share| (share.size as f64).ln();
    let whole: f64 = none.iter().map(|share| share.positions.len() as f64 * log(share)).sum();
    let target = whole * b as f64 / free.max(1) as f64;
    let mut before = vec![0; none.len()];
    (1_usize..).map(move |groups| {
        let mut shares = none.clone();
        let mut rest = target;
        loop {
            // Columns that a size would have by now in proportion to its positions, minus those that it has; times the
            // number of free positions, so that the numbers are integers. Up to one column is added by chance, so that
            // the groups combine different sizes.
            let deficit = |(index, share): (usize, &Share)| {
                let due = groups * b * share.positions.len();
                let words = [groups.to_le_bytes(), index.to_le_bytes()].concat();
                let chance = xxh3_64(&words) as usize % free;
                (due + chance) as i128 - ((before[index] + share.columns) * free) as i128
            };
            let first = shares.iter().all(|share| share.columns == 0);
            // A column is added if the size of the block comes nearer to the target, on the logarithmic scale.
            let fits =
                |share: &Share| share.columns < share.positions.len() && (first || log(share) <= 2.0 * rest);
            let candidates = shares.iter().enumerate().filter(|(_, share)| fits(share));
            let Some((index, _)) =
                candidates.max_by_key(|&(index, share)| (deficit((index, share)), share.size))
            else {
                break;
            };
            shares[index].columns += 1;
            rest -= log(&shares[index]);
        }
        shares.iter().zip(&mut before).for_each(|(share, before)| *before += share.columns);
        shares
    })
}

/// The smallest number of groups, at least `least`, of which so many subsample the positions of each size, unless that is
/// more than [`MOST`].
pub(crate) fn groups_for_all_sizes(space: &SequenceSpace, b: usize, least: usize) -> usize {
    if !space.has_letters() {
        return least;
    }
    let mut groups = Vec::new();
    let enough = |shares: Vec<Share>| {
        groups.resize(shares.len(), 0);
        shares.iter().zip(&mut groups).for_each(|(share, n)| *n += usize::from(share.columns > 0));
        groups.iter().all(|&n| n >= least)
    };
    shares(space, b).take(MOST).position(enough).map_or(MOST, |index| index + 1)
}

/// Number of queries in a block of each group in turn; `None` if it is more than `usize::MAX`.
pub(crate) fn block_lengths(space: &SequenceSpace, b: usize) -> impl Iterator<Item = Option<usize>> + use<> {
    shares(space, b).map(|shares| {
        shares.iter().try_fold(1_usize, |block, share| {
            block.checked_mul(share.size.checked_pow(share.columns as u32)?)
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_near_their_size_and_every_size_gets_its_part(
            sizes in prop::collection::vec(1_usize..=21, 1..12), b in 1_usize..12,
        ) {
            let Ok(space) = SequenceSpace::of_sizes(&sizes) else { return Ok(()) };
            let free: Vec<usize> = sizes.into_iter().filter(|&size| size > 1).collect();
            let b = b.min(free.len());
            prop_assume!(b > 0);
            let whole: f64 = free.iter().map(|&size| (size as f64).ln()).sum();
            let target = whole * b as f64 / free.len() as f64;
            let groups: Vec<Vec<Share>> = shares(&space, b).take(40).collect();
            let largest = *free.iter().max().unwrap() as f64;
            for (shares, block) in groups.iter().zip(block_lengths(&space, b)) {
                prop_assert!(shares.iter().all(|share| share.columns <= share.positions.len()));
                let log = (block.unwrap() as f64).ln();
                prop_assert!((log - target).abs() <= largest.ln() + 1e-9);
                if b == free.len() {
                    prop_assert!((log - whole).abs() < 1e-9, "the whole space");
                }
            }
            let equal = free.iter().all(|size| *size == free[0]);
            for index in 0..groups[0].len() {
                let columns: usize = groups.iter().map(|shares| shares[index].columns).sum();
                prop_assert!(columns > 0, "size {} is never subsampled", groups[0][index].size);
                if equal {
                    prop_assert_eq!(columns, 40 * b);
                }
            }
        }
    }
}
