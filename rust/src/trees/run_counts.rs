//! Counts of runs: consecutive pairs of positions whose symbols are related.

use std::ops::Range;

use rayon::prelude::*;

use super::blocks::{Block, LANES};
use super::{CountingTrees, ROWS, bad};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::space::SequenceSpace;
use crate::surrogate::Relation;

/// The number of runs of a sequence, see [`Run`](crate::surrogate::Run), with these numbers of pairs and positions.
///
/// A run has the pairs `i + k` and `j + k`, or `i + k` and `j - k` if `reversed`, for `k` from 0 to `length - 1`. `i` is
/// from `first` to `last`, and `j - i` from `nearest` to `farthest`. Only runs inside the sequence are counted, in which
/// the first position of each pair is below the second one.
///
/// ```
/// use shapsketch::trees::RunCount;
/// // In sequences of 20 symbols: stems of 4 pairs with a loop of at least 3 positions; and whether there is one of 0 to 3
/// // with 19 to 16.
/// let anywhere =
///     RunCount { relation: 0, length: 4, reversed: true, first: 0, last: 19, nearest: 10, farthest: 19 };
/// let outer = RunCount { last: 0, nearest: 19, ..anywhere };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunCount {
    /// Index of the relation in [`RunCounts::relations`].
    pub relation: u16,
    /// Number of pairs of each run.
    pub length: u16,
    /// Whether second positions descend, as in a stem.
    pub reversed: bool,
    /// Smallest first position of the first pair.
    pub first: u16,
    /// Largest first position of the first pair.
    pub last: u16,
    /// Smallest distance between the positions of the first pair, at least 1.
    pub nearest: u16,
    /// Largest distance between the positions of the first pair.
    pub farthest: u16,
}

/// Counts of runs, and the relations of their pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunCounts {
    /// The relations.
    pub relations: Vec<Relation>,
    /// The counts.
    pub counts: Vec<RunCount>,
}

impl RunCount {
    /// The numbers of a row of flat arrays.
    pub(crate) const WIDTH: usize = 7;

    /// A row of flat arrays.
    pub(super) fn row(self) -> [u16; Self::WIDTH] {
        let Self { relation, length, reversed, first, last, nearest, farthest } = self;
        [relation, length, reversed.into(), first, last, nearest, farthest]
    }

    /// The counts in rows of seven numbers: relation, length, reversed (0 or 1), first, last, nearest, farthest.
    ///
    /// # Errors
    /// If rows are not complete, or say neither 0 nor 1 for the direction.
    pub fn of_rows(numbers: &[u16]) -> Result<Vec<Self>> {
        let expected = "rows of relation, length, reversed (0 or 1), first, last, nearest and farthest";
        let rows = numbers.chunks(Self::WIDTH).enumerate().map(|(index, row)| match *row {
            [relation, length, reversed @ 0..=1, first, last, nearest, farthest] => {
                Ok(Self { relation, length, reversed: reversed == 1, first, last, nearest, farthest })
            }
            _ => Err(bad("runs", expected, format!("row {index}: {row:?}"))),
        });
        rows.collect()
    }

    /// Lines of consecutive pairs, each with the first positions of its runs. The number of the line gives the second
    /// position of each pair, see [`Self::partner`].
    pub(super) fn lines(self, n: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let [length, first, last, nearest, farthest] =
            [self.length, self.first, self.last, self.nearest, self.farthest].map(usize::from);
        let lines =
            if self.reversed { 2 * first + nearest..=2 * last + farthest } else { nearest..=farthest };
        lines.filter_map(move |line| {
            let (low, high) = if self.reversed {
                // The distance of the innermost pair is at least 1, and the second position is below n.
                let shortest = nearest.max(2 * length - 1);
                let low = line.saturating_sub(farthest).div_ceil(2).max((line + 1).saturating_sub(n));
                (low.max(first), last.min(line.checked_sub(shortest)? / 2))
            } else {
                (first, last.min(n.checked_sub(length + line)?))
            };
            (low <= high).then_some((line, low..high + 1))
        })
    }

    /// The second position of the pair of a line with this first position.
    pub(super) fn partner(self, line: usize, first: usize) -> usize {
        if self.reversed { line - first } else { first + line }
    }

    fn is_valid(self, n: usize) -> bool {
        self.length > 0
            && self.first <= self.last
            && usize::from(self.last) < n
            && (1..=self.farthest).contains(&self.nearest)
            && usize::from(self.farthest) < n
            && self.lines(n).next().is_some()
    }
}

impl RunCounts {
    /// The counts of each of a batch of coded sequences, one row for each sequence.
    ///
    /// # Errors
    /// If a relation, a count or a sequence is not valid for the space, or the caller cancels.
    ///
    /// ```
    /// use shapsketch::surrogate::Relation;
    /// use shapsketch::trees::{RunCount, RunCounts};
    /// use shapsketch::{Cancel, SequenceSpace};
    /// let space = SequenceSpace::new("ACGU", 6)?;
    /// // Pairs of equal neighbours.
    /// let count =
    ///     RunCount { relation: 0, length: 1, reversed: false, first: 0, last: 5, nearest: 1, farthest: 1 };
    /// let counts = RunCounts { relations: vec![Relation::equal(&space)], counts: vec![count] };
    /// let codes = space.encode(&["ACGACG", "AACCCA"])?;
    /// assert_eq!(counts.count(&space, &codes, &Cancel::new())?, [0, 3]);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn count(&self, space: &SequenceSpace, codes: &[u8], cancel: &Cancel) -> Result<Vec<u32>> {
        let trees = CountingTrees::new(space.clone(), 0.0, Vec::new(), Vec::new(), self.clone(), Vec::new())?;
        let (n, width) = (space.n(), self.counts.len());
        let mut out = vec![0; space.check(codes)? * width];
        if width > 0 {
            out.par_chunks_mut(ROWS * width).zip(codes.par_chunks(ROWS * n)).try_for_each(
                |(out, codes)| {
                    let mut block = Block::new(trees.tested());
                    for (out, codes) in out.chunks_mut(LANES * width).zip(codes.chunks(LANES * n)) {
                        cancel.check()?;
                        block.runs(codes, out);
                    }
                    Ok(())
                },
            )?;
        }
        Ok(out)
    }

    /// # Errors
    /// If a relation or a count is not valid for the space.
    pub(super) fn check(&self, space: &SequenceSpace) -> Result<()> {
        for relation in &self.relations {
            Relation::new(space, relation.name(), relation.rows().to_vec())?;
        }
        for (index, count) in self.counts.iter().enumerate() {
            let got = || format!("count {index} of runs: {count:?}");
            if usize::from(count.relation) >= self.relations.len() {
                let expected = "counts of runs of relations that are listed";
                return Err(bad(
                    "runs",
                    expected,
                    format!("{} for {} relations", got(), self.relations.len()),
                ));
            }
            if !count.is_valid(space.n()) {
                let expected = "counts of runs inside the sequence, with first <= last, 1 <= nearest <= farthest and at \
                                least one run";
                return Err(bad("runs", expected, got()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::surrogate::Run;

    proptest! {
        #[test]
        fn lines_have_the_runs_of_the_definition(
            n in 1_u16..14, reversed: bool, length in 1_u16..6, first in 0_u16..14, last in 0_u16..14, nearest in 0_u16..14,
            farthest in 0_u16..14,
        ) {
            let count = RunCount { relation: 0, length, reversed, first, last, nearest, farthest };
            let all = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
            let counted = |&(i, j): &(u16, u16)| {
                let run = Run { relation: 0, first: i, second: j, length, reversed };
                (first..=last).contains(&i) && (nearest..=farthest).contains(&(j - i)) && run.fits(n.into())
            };
            let expected: BTreeSet<(u16, u16)> = all.filter(counted).collect();
            let in_range = first <= last && last < n && (1..=farthest).contains(&nearest) && farthest < n;
            prop_assert_eq!(count.is_valid(n.into()), in_range && !expected.is_empty());
            if in_range {
                let runs: Vec<(u16, u16)> = count
                    .lines(n.into())
                    .flat_map(|(line, starts)| starts.map(move |i| (i as u16, count.partner(line, i) as u16)))
                    .collect();
                prop_assert_eq!(runs.len(), expected.len());
                prop_assert_eq!(runs.into_iter().collect::<BTreeSet<_>>(), expected);
            }
        }
    }
}
