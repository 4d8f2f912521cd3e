//! Predictions of trees for 64 sequences at a time.
//!
//! A mask has one bit for each sequence of the block. The masks of the symbols at each position give those of the
//! windows that match a k-mer, and of the pairs of positions that are related. These give the counts, in binary with one
//! mask for each digit, and the counts give the masks of the tests. A node's mask contains the sequences that reach it.

use super::counting::Count;
use super::run_counts::RunCount;
use super::{Condition, Node};
use crate::space::SequenceSpace;
use crate::surrogate::Relation;

/// Sequences of a block: the bits of a mask.
pub(super) const LANES: usize = u64::BITS as usize;

/// Trees, and what their splits test: conditions, and after them counts.
#[derive(Clone, Copy)]
pub(super) struct Tested<'a> {
    pub(super) space: &'a SequenceSpace,
    pub(super) conditions: &'a [Condition],
    pub(super) counts: &'a [Count],
    pub(super) relations: &'a [Relation],
    pub(super) runs: &'a [RunCount],
    /// The tests of counts, `(count, threshold)`, in ascending order. Counts of runs follow those of k-mers.
    pub(super) thresholds: &'a [(u32, u32)],
    pub(super) trees: &'a [Vec<Node>],
}

/// The masks of one block.
pub(super) struct Block<'a> {
    tested: Tested<'a>,
    /// For position `i` and symbol `a`, at `i q + a`: sequences with this symbol.
    symbols: Vec<u64>,
    /// For each condition, then for each threshold of a count: sequences that pass the test.
    tests: Vec<u64>,
    /// The binary digits of a count, the lowest first.
    digits: Vec<u64>,
    /// For each pair of a line of runs: sequences in which it is related.
    pairs: Vec<u64>,
    /// For each node of a tree: sequences that reach it.
    reach: Vec<u64>,
}

impl<'a> Block<'a> {
    pub(super) fn new(tested: Tested<'a>) -> Self {
        let symbols = vec![0; tested.space.n() * tested.space.q()];
        let tests = Vec::with_capacity(tested.conditions.len() + tested.thresholds.len());
        Self { tested, symbols, tests, digits: Vec::new(), pairs: Vec::new(), reach: Vec::new() }
    }

    /// Adds the values of the trees for at most [`LANES`] coded sequences.
    pub(super) fn add(&mut self, codes: &[u8], out: &mut [f64]) {
        self.read(codes);
        self.test();
        for tree in self.tested.trees {
            self.reach.clear();
            self.reach.resize(tree.len(), 0);
            self.reach[0] = u64::MAX >> (LANES - out.len());
            for (index, node) in tree.iter().enumerate() {
                let mut reach = self.reach[index];
                match *node {
                    // Children come after their parents, so the mask is complete.
                    Node::Split { condition, yes, no } => {
                        let test = self.tests[condition as usize];
                        self.reach[yes as usize] |= reach & test;
                        self.reach[no as usize] |= reach & !test;
                    }
                    Node::Leaf(value) => {
                        while reach != 0 {
                            out[reach.trailing_zeros() as usize] += value;
                            reach &= reach - 1;
                        }
                    }
                }
            }
        }
    }

    /// Writes the counts of runs of at most [`LANES`] coded sequences, one row for each sequence.
    pub(super) fn runs(&mut self, codes: &[u8], out: &mut [u32]) {
        self.read(codes);
        let counts = self.tested.runs;
        for (column, &count) in counts.iter().enumerate() {
            self.count_runs(count);
            for (lane, row) in out.chunks_exact_mut(counts.len()).enumerate() {
                let digits = self.digits.iter().rev();
                row[column] = digits.fold(0, |count, digit| 2 * count + (digit >> lane & 1) as u32);
            }
        }
    }

    /// Fills the masks of the symbols.
    fn read(&mut self, codes: &[u8]) {
        let (n, q) = (self.tested.space.n(), self.tested.space.q());
        self.symbols.fill(0);
        for (lane, row) in codes.chunks_exact(n).enumerate() {
            for (symbols, &code) in self.symbols.chunks_exact_mut(q).zip(row) {
                symbols[usize::from(code)] |= 1 << lane;
            }
        }
    }

    /// Fills the masks of the tests.
    fn test(&mut self) {
        let tested = self.tested;
        self.tests.clear();
        for condition in tested.conditions {
            self.tests.push(self.holds(condition));
        }
        for tests in tested.thresholds.chunk_by(|a, b| a.0 == b.0) {
            let count = tests[0].0 as usize;
            match count.checked_sub(tested.counts.len()) {
                None => self.count(&tested.counts[count]),
                Some(count) => self.count_runs(tested.runs[count]),
            }
            for &(_, threshold) in tests {
                self.tests.push(self.at_most(threshold));
            }
        }
    }

    /// Sequences for which a condition holds.
    fn holds(&self, condition: &Condition) -> u64 {
        let q = self.tested.space.q();
        condition.iter().fold(u64::MAX, |all, &(position, set)| {
            all & any_of(&self.symbols[usize::from(position) * q..][..q], set)
        })
    }

    /// Fills the digits of a count.
    fn count(&mut self, count: &Count) {
        let q = self.tested.space.q();
        let starts = (count.first..=count.last).step_by(usize::from(count.step));
        self.start_count(starts.len());
        for start in starts {
            let symbols = self.symbols[usize::from(start) * q..].chunks_exact(q);
            let matching = symbols.zip(&count.kmer).map(|(symbols, &code)| symbols[usize::from(code)]);
            self.add_to_count(matching.fold(u64::MAX, |all, matching| all & matching));
        }
    }

    /// Fills the digits of a count of runs.
    fn count_runs(&mut self, count: RunCount) {
        let (n, length) = (self.tested.space.n(), usize::from(count.length));
        let relation = &self.tested.relations[usize::from(count.relation)];
        self.start_count(count.lines(n).map(|(_, starts)| starts.len()).sum());
        let mut pairs = std::mem::take(&mut self.pairs);
        for (line, starts) in count.lines(n) {
            pairs.clear();
            let firsts = starts.start..starts.end + length - 1;
            pairs.extend(firsts.map(|first| self.related(relation, first, count.partner(line, first))));
            for run in pairs.windows(length) {
                self.add_to_count(run.iter().fold(u64::MAX, |all, pair| all & pair));
            }
        }
        self.pairs = pairs;
    }

    /// Sequences whose symbols at two positions are related.
    fn related(&self, relation: &Relation, i: usize, j: usize) -> u64 {
        let q = self.tested.space.q();
        let (first, second) = (&self.symbols[i * q..][..q], &self.symbols[j * q..][..q]);
        first.iter().zip(relation.rows()).fold(0, |all, (symbol, &row)| all | symbol & any_of(second, row))
    }

    /// Sets the digits of a count of at most `most` to 0.
    fn start_count(&mut self, most: usize) {
        self.digits.clear();
        self.digits.resize((usize::BITS - most.leading_zeros()) as usize, 0);
    }

    /// Adds 1 to the count of some sequences.
    fn add_to_count(&mut self, sequences: u64) {
        let mut carry = sequences;
        for digit in &mut self.digits {
            if carry == 0 {
                break;
            }
            (*digit, carry) = (*digit ^ carry, *digit & carry);
        }
    }

    /// Sequences whose count, of which the digits are filled, is at most a threshold.
    fn at_most(&self, threshold: u32) -> u64 {
        if u64::from(threshold) >> self.digits.len() != 0 {
            return u64::MAX;
        }
        // From the highest digit: sequences whose digits so far are equal to those of the threshold, or lower.
        let (mut equal, mut lower) = (u64::MAX, 0);
        for (index, &digit) in self.digits.iter().enumerate().rev() {
            if threshold >> index & 1 == 1 {
                lower |= equal & !digit;
                equal &= digit;
            } else {
                equal &= !digit;
            }
        }
        equal | lower
    }
}

/// Sequences that have a symbol of a set at a position, given those that have each symbol there.
fn any_of(symbols: &[u64], mut set: u64) -> u64 {
    let mut any = 0;
    while set != 0 {
        any |= symbols[set.trailing_zeros() as usize];
        set &= set - 1;
    }
    any
}
