//! Trees that also test how often a k-mer or a run occurs.

use std::ops::Range;

use rayon::prelude::*;

use super::blocks::{Block, LANES, Tested};
use super::run_counts::{RunCount, RunCounts};
use super::{Condition, Node, ROWS, bad, check_conditions, check_constant, check_trees};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::space::SequenceSpace;
use crate::surrogate::Relation;

/// The number of windows of a sequence that are equal to a k-mer. The windows start at the positions `first`,
/// `first + step`, ... up to `last`.
///
/// ```
/// use shapsketch::trees::Count;
/// // The k-mer GC in sequences of 10 symbols of the alphabet ACGT: all windows, and those of the second reading frame.
/// let anywhere = Count { kmer: vec![2, 1], first: 0, last: 8, step: 1 };
/// let framed = Count { first: 1, step: 3, ..anywhere.clone() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The codes of the k-mer.
    pub kmer: Vec<u8>,
    /// Start of the first window.
    pub first: u16,
    /// Largest start of a window.
    pub last: u16,
    /// Distance between the starts of windows, at least 1.
    pub step: u16,
}

/// What a split of [`CountingTrees`] tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Whether the condition with this index holds.
    Condition(u32),
    /// Whether a count of a k-mer is at most a threshold.
    AtMost {
        /// Index of the count.
        count: u32,
        /// The threshold.
        threshold: u32,
    },
    /// Whether a count of runs is at most a threshold.
    RunsAtMost {
        /// Index of the count.
        count: u32,
        /// The threshold.
        threshold: u32,
    },
}

/// A sum of trees whose splits test conditions or counts: a constant plus, for each tree, the value of the leaf that a
/// sequence reaches. The constant is added last.
#[derive(Clone, Debug)]
pub struct CountingTrees {
    pub(super) space: SequenceSpace,
    constant: f64,
    pub(super) conditions: Vec<Condition>,
    pub(super) counts: Vec<Count>,
    pub(super) runs: RunCounts,
    /// The distinct tests of counts, `(count, threshold)`, in ascending order. Counts of runs follow those of k-mers.
    pub(super) thresholds: Vec<(u32, u32)>,
    /// The trees. A split has the index of a condition or, after all conditions, of one of `thresholds`.
    pub(super) trees: Vec<Vec<Node>>,
}

impl CountingTrees {
    /// A sum of trees with these conditions and counts. The first node of a tree is its root.
    ///
    /// # Errors
    /// If a condition, a count or a relation is not valid for the space, a node refers to a condition, count or node that
    /// does not exist, a child does not come after its parent, or a value is not finite.
    ///
    /// ```
    /// use shapsketch::trees::{Count, CountingTrees, Node, RunCounts, Test};
    /// use shapsketch::{Cancel, SequenceSpace};
    /// let space = SequenceSpace::new("ACGT", 5)?;
    /// let count = Count { kmer: vec![2, 1], first: 0, last: 3, step: 1 }; // GC at any position
    /// let at_most_one = Test::AtMost { count: 0, threshold: 1 };
    /// let tree = vec![Node::Split { condition: at_most_one, yes: 1, no: 2 }, Node::Leaf(-1.0), Node::Leaf(2.0)];
    /// let trees = CountingTrees::new(space.clone(), 0.5, vec![], vec![count], RunCounts::default(), vec![tree])?;
    /// let codes = space.encode(&["AGCTT", "GCAGC"])?;
    /// assert_eq!(trees.predict(&codes, &Cancel::new())?, [-0.5, 2.5]);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn new(
        space: SequenceSpace,
        constant: f64,
        conditions: Vec<Condition>,
        counts: Vec<Count>,
        runs: RunCounts,
        trees: Vec<Vec<Node<Test>>>,
    ) -> Result<Self> {
        check_constant(constant)?;
        check_conditions(&space, &conditions)?;
        check_counts(&space, &counts)?;
        runs.check(&space)?;
        check_trees(&trees, |test| match test {
            Test::Condition(condition) => (condition as usize) < conditions.len(),
            Test::AtMost { count, .. } => (count as usize) < counts.len(),
            Test::RunsAtMost { count, .. } => (count as usize) < runs.counts.len(),
        })?;
        let n_counts = counts.len() + runs.counts.len();
        if u32::try_from(n_counts).is_err() {
            return Err(bad("trees", "trees of at most 2^32 - 1 counts", n_counts.to_string()));
        }
        let n_kmers = counts.len() as u32;
        let mut thresholds: Vec<(u32, u32)> = Vec::new();
        for node in trees.iter().flatten() {
            match *node {
                Node::Split { condition: Test::AtMost { count, threshold }, .. } => {
                    thresholds.push((count, threshold));
                }
                Node::Split { condition: Test::RunsAtMost { count, threshold }, .. } => {
                    thresholds.push((n_kmers + count, threshold));
                }
                Node::Split { condition: Test::Condition(_), .. } | Node::Leaf(_) => {}
            }
        }
        thresholds.sort_unstable();
        thresholds.dedup();
        thresholds.shrink_to_fit();
        let n_tests = conditions.len() + thresholds.len();
        if u32::try_from(n_tests).is_err() {
            return Err(bad("trees", "trees of at most 2^32 - 1 different tests", n_tests.to_string()));
        }
        let at_most = |test| (conditions.len() + thresholds.partition_point(|&each| each < test)) as u32;
        let index = |test| match test {
            Test::Condition(condition) => condition,
            Test::AtMost { count, threshold } => at_most((count, threshold)),
            Test::RunsAtMost { count, threshold } => at_most((n_kmers + count, threshold)),
        };
        let indexed = |node| match node {
            Node::Split { condition, yes, no } => Node::Split { condition: index(condition), yes, no },
            Node::Leaf(value) => Node::Leaf(value),
        };
        let trees = trees.into_iter().map(|tree| tree.into_iter().map(indexed).collect()).collect();
        Ok(Self { space, constant, conditions, counts, runs, thresholds, trees })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// The values of a batch of coded sequences.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the caller cancels.
    pub fn predict(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let n = self.space.n();
        let mut out = vec![0.0; self.space.check(codes)?];
        out.par_chunks_mut(ROWS).zip(codes.par_chunks(ROWS * n)).try_for_each(|(out, codes)| {
            let mut block = Block::new(self.tested());
            for (out, codes) in out.chunks_mut(LANES).zip(codes.chunks(LANES * n)) {
                cancel.check()?;
                block.add(codes, out);
            }
            // A constant that is much larger than the values of the trees would hide their digits if it came first.
            out.iter_mut().for_each(|out| *out += self.constant);
            Ok(())
        })?;
        Ok(out)
    }

    /// The trees, and what their splits test.
    pub(super) fn tested(&self) -> Tested<'_> {
        Tested {
            space: &self.space,
            conditions: &self.conditions,
            counts: &self.counts,
            relations: &self.runs.relations,
            runs: &self.runs.counts,
            thresholds: &self.thresholds,
            trees: &self.trees,
        }
    }

    /// The trees as flat arrays.
    #[must_use]
    pub fn to_arrays(&self) -> CountingArrays {
        let mut arrays =
            CountingArrays { constant: self.constant, starts: vec![0], roots: vec![0], ..Default::default() };
        for condition in &self.conditions {
            arrays.positions.extend(condition.iter().map(|&(position, _)| position));
            arrays.sets.extend(condition.iter().map(|&(_, set)| set));
            arrays.starts.push(arrays.positions.len() as u64);
        }
        for count in &self.counts {
            arrays.lengths.push(count.kmer.len() as u16);
            arrays.firsts.push(count.first);
            arrays.lasts.push(count.last);
            arrays.steps.push(count.step);
            arrays.kmers.extend(&count.kmer);
        }
        arrays.relations.clone_from(&self.runs.relations);
        arrays.runs = self.runs.counts.iter().flat_map(|count| count.row()).collect();
        let n_conditions = self.conditions.len();
        for tree in &self.trees {
            for node in tree {
                let (condition, threshold, yes, no, value) = match *node {
                    Node::Leaf(value) => (-1, 0, 0, 0, value),
                    Node::Split { condition, yes, no } => {
                        match (condition as usize).checked_sub(n_conditions) {
                            None => (condition.into(), 0, yes, no, 0.0),
                            Some(test) => {
                                let (count, threshold) = self.thresholds[test];
                                (n_conditions as i64 + i64::from(count), threshold, yes, no, 0.0)
                            }
                        }
                    }
                };
                arrays.conditions.push(condition);
                arrays.thresholds.push(threshold);
                arrays.yes.push(yes);
                arrays.no.push(no);
                arrays.values.push(value);
            }
            arrays.roots.push(arrays.conditions.len() as u64);
        }
        arrays
    }

    /// The trees of flat arrays.
    ///
    /// # Errors
    /// As for [`CountingTrees::new`], or if the lengths of the arrays, their offsets or indices do not fit together.
    pub fn from_arrays(space: SequenceSpace, arrays: CountingArrays) -> Result<Self> {
        let conditions = arrays.listed_conditions()?;
        let counts = arrays.listed_counts()?;
        let runs =
            RunCounts { counts: RunCount::of_rows(&arrays.runs)?, relations: arrays.relations.clone() };
        let trees = arrays.listed_trees(conditions.len(), counts.len())?;
        Self::new(space, arrays.constant, conditions, counts, runs, trees)
    }
}

fn check_counts(space: &SequenceSpace, counts: &[Count]) -> Result<()> {
    for (index, count) in counts.iter().enumerate() {
        let got = || format!("count {index}: {count:?}");
        if count.kmer.is_empty() || count.kmer.iter().any(|&code| usize::from(code) >= space.q()) {
            return Err(bad("counts", "of k-mers of at least one symbol of the alphabet", got()));
        }
        let ends = usize::from(count.last) + count.kmer.len();
        if count.step == 0 || count.first > count.last || ends > space.n() {
            let expected = "of windows inside the sequence, with first <= last and a step of at least 1";
            return Err(bad("counts", expected, got()));
        }
    }
    Ok(())
}

/// [`CountingTrees`] as flat arrays, the form of files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountingArrays {
    /// The value to which the trees add.
    pub constant: f64,
    /// Offsets into `positions` and `sets`: condition `c` has the entries `starts[c]` to `starts[c + 1]`.
    pub starts: Vec<u64>,
    /// Positions of all conditions.
    pub positions: Vec<u16>,
    /// The set of symbols for each of `positions`, as bits.
    pub sets: Vec<u64>,
    /// Number of symbols of the k-mer of each count.
    pub lengths: Vec<u16>,
    /// Start of the first window of each count.
    pub firsts: Vec<u16>,
    /// Largest start of a window of each count.
    pub lasts: Vec<u16>,
    /// Distance between the starts of windows of each count.
    pub steps: Vec<u16>,
    /// Codes of the k-mers of all counts, one after another.
    pub kmers: Vec<u8>,
    /// The relations of runs.
    pub relations: Vec<Relation>,
    /// Counts of runs, rows of seven numbers: relation, length, reversed (0 or 1), first, last, nearest, farthest.
    pub runs: Vec<u16>,
    /// Offsets into the arrays below: tree `t` has the nodes `roots[t]` to `roots[t + 1]`.
    pub roots: Vec<u64>,
    /// What each node tests: -1 for a leaf, otherwise the index of a condition or, after all conditions, of a count of a
    /// k-mer or, after all these, of a count of runs.
    pub conditions: Vec<i64>,
    /// Largest count for which a test of a count holds; 0 for other nodes.
    pub thresholds: Vec<u32>,
    /// Child of each split for sequences that pass its test, as a number within the tree; 0 for a leaf.
    pub yes: Vec<u32>,
    /// Child of each split for other sequences; 0 for a leaf.
    pub no: Vec<u32>,
    /// Value of each leaf; 0 for a split.
    pub values: Vec<f64>,
}

impl CountingArrays {
    fn listed_conditions(&self) -> Result<Vec<Condition>> {
        let length = self.positions.len();
        check_lengths("sets", "as long as positions", &[self.sets.len()], length)?;
        let pairs = |range: Range<usize>| {
            self.positions[range.clone()].iter().copied().zip(self.sets[range].iter().copied()).collect()
        };
        Ok(ranges("starts", &self.starts, length)?.into_iter().map(pairs).collect())
    }

    fn listed_counts(&self) -> Result<Vec<Count>> {
        let columns = [self.firsts.len(), self.lasts.len(), self.steps.len()];
        check_lengths("firsts, lasts and steps", "as long as lengths", &columns, self.lengths.len())?;
        let total = self.lengths.iter().map(|&length| usize::from(length)).sum();
        check_lengths("kmers", "as long as the sum of lengths", &[self.kmers.len()], total)?;
        let mut start = 0;
        let counts = self.lengths.iter().enumerate().map(|(index, &length)| {
            let end = start + usize::from(length);
            let kmer = self.kmers[start..end].to_vec();
            start = end;
            Count { kmer, first: self.firsts[index], last: self.lasts[index], step: self.steps[index] }
        });
        Ok(counts.collect())
    }

    fn listed_trees(&self, n_conditions: usize, n_kmers: usize) -> Result<Vec<Vec<Node<Test>>>> {
        let length = self.conditions.len();
        let columns = [self.thresholds.len(), self.yes.len(), self.no.len(), self.values.len()];
        check_lengths("thresholds, yes, no and values", "as long as conditions", &columns, length)?;
        let test = |index: usize| -> Option<Test> {
            let condition = usize::try_from(self.conditions[index]).ok()?;
            let threshold = self.thresholds[index];
            let Some(count) = condition.checked_sub(n_conditions) else {
                return u32::try_from(condition).ok().map(Test::Condition);
            };
            match count.checked_sub(n_kmers) {
                None => u32::try_from(count).ok().map(|count| Test::AtMost { count, threshold }),
                Some(count) => u32::try_from(count).ok().map(|count| Test::RunsAtMost { count, threshold }),
            }
        };
        let node = |index: usize| match test(index) {
            Some(condition) => Ok(Node::Split { condition, yes: self.yes[index], no: self.no[index] }),
            None if self.conditions[index] == -1 => Ok(Node::Leaf(self.values[index])),
            None => {
                let got = format!("{} at index {index}", self.conditions[index]);
                Err(bad("conditions", "-1 or the index of a condition or count", got))
            }
        };
        ranges("roots", &self.roots, length)?.into_iter().map(|range| range.map(node).collect()).collect()
    }
}

fn check_lengths(name: &'static str, expected: &'static str, lengths: &[usize], length: usize) -> Result<()> {
    if lengths.iter().all(|&each| each == length) {
        return Ok(());
    }
    Err(bad(name, expected, format!("{lengths:?} entries, not {length}")))
}

/// The ranges between consecutive offsets into an array of this length.
fn ranges(name: &'static str, offsets: &[u64], length: usize) -> Result<Vec<Range<usize>>> {
    let whole = offsets.first() == Some(&0) && offsets.last() == Some(&(length as u64));
    if !whole || !offsets.is_sorted() {
        let expected = "ascending offsets from 0 to the number of entries";
        return Err(bad(name, expected, format!("{} offsets into {length} entries", offsets.len())));
    }
    Ok(offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize).collect())
}
