//! Predictions of [`CountingTrees`] for 64 sequences at a time.
//!
//! A mask has one bit for each sequence of the block. The masks of the symbols at each position give those of the
//! windows that match a k-mer, these give the counts, in binary with one mask for each digit, and the counts give the
//! masks of the tests. A node's mask contains the sequences that reach it.

use super::counting::{Count, CountingTrees};
use super::{Condition, Node};

/// Sequences of a block: the bits of a mask.
pub(super) const LANES: usize = u64::BITS as usize;

/// The masks of one block.
pub(super) struct Block<'a> {
    trees: &'a CountingTrees,
    /// For position `i` and symbol `a`, at `i q + a`: sequences with this symbol.
    symbols: Vec<u64>,
    /// For each condition, then for each threshold of a count: sequences that pass the test.
    tests: Vec<u64>,
    /// The binary digits of a count, the lowest first.
    digits: Vec<u64>,
    /// For each node of a tree: sequences that reach it.
    reach: Vec<u64>,
}

impl<'a> Block<'a> {
    pub(super) fn new(trees: &'a CountingTrees) -> Self {
        let symbols = vec![0; trees.space.n() * trees.space.q()];
        let tests = Vec::with_capacity(trees.conditions.len() + trees.thresholds.len());
        Self { trees, symbols, tests, digits: Vec::new(), reach: Vec::new() }
    }

    /// Adds the values of the trees for at most [`LANES`] coded sequences.
    pub(super) fn add(&mut self, codes: &[u8], out: &mut [f64]) {
        let (trees, q) = (self.trees, self.trees.space.q());
        self.symbols.fill(0);
        for (lane, row) in codes.chunks_exact(trees.space.n()).enumerate() {
            for (symbols, &code) in self.symbols.chunks_exact_mut(q).zip(row) {
                symbols[usize::from(code)] |= 1 << lane;
            }
        }
        self.test();
        for tree in &trees.trees {
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

    /// Fills the masks of the tests.
    fn test(&mut self) {
        let trees = self.trees;
        self.tests.clear();
        for condition in &trees.conditions {
            self.tests.push(self.holds(condition));
        }
        for tests in trees.thresholds.chunk_by(|a, b| a.0 == b.0) {
            self.count(&trees.counts[tests[0].0 as usize]);
            for &(_, threshold) in tests {
                self.tests.push(self.at_most(threshold));
            }
        }
    }

    /// Sequences for which a condition holds.
    fn holds(&self, condition: &Condition) -> u64 {
        let q = self.trees.space.q();
        let mut all = u64::MAX;
        for &(position, mut set) in condition {
            let symbols = &self.symbols[usize::from(position) * q..][..q];
            let mut any = 0;
            while set != 0 {
                any |= symbols[set.trailing_zeros() as usize];
                set &= set - 1;
            }
            all &= any;
        }
        all
    }

    /// Fills the digits of a count.
    fn count(&mut self, count: &Count) {
        let q = self.trees.space.q();
        let starts = (count.first..=count.last).step_by(usize::from(count.step));
        self.digits.clear();
        self.digits.resize((usize::BITS - starts.len().leading_zeros()) as usize, 0);
        for start in starts {
            let symbols = self.symbols[usize::from(start) * q..].chunks_exact(q);
            let mut carry = u64::MAX;
            for (symbols, &code) in symbols.zip(&count.kmer) {
                carry &= symbols[usize::from(code)];
            }
            for digit in &mut self.digits {
                if carry == 0 {
                    break;
                }
                (*digit, carry) = (*digit ^ carry, *digit & carry);
            }
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
