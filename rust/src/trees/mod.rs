//! Ensembles of trees as closed forms.
//!
//! Each split of a tree tests a [`Condition`]: whether the symbols at some positions are in given sets. A
//! condition on one position is a split on a one-hot or integer feature; a condition on several positions is
//! a pattern (for example a k-mer at a position). A sum of such trees is a sum of products of indicators, so
//! it has Fourier coefficients, components and Shapley values like any other surrogate.
//!
//! - [`Ensemble::exact`] writes an ensemble leaf by leaf. A split on a pattern is
//!   `f = f_no + 1[pattern]·(f_yes - f_no)`.
//! - [`Ensemble::truncated`] keeps all but a given fraction of the variance, for ensembles whose exact form
//!   is too long: a chain of `m` absent patterns has `2^m` products, nearly all of them negligible.
//!
//! [`CountingTrees`] also test how often a k-mer or a run occurs. Such trees have no closed form of reasonable size:
//! they only predict.

mod blocks;
mod counting;
mod exact;
mod products;
mod run_counts;
mod truncated;

use rayon::prelude::*;

use blocks::{Block, LANES, Tested};
pub use counting::{Count, CountingArrays, CountingTrees, Test};
pub use run_counts::{RunCount, RunCounts};
pub use truncated::Truncated;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Sequences predicted by one task.
const ROWS: usize = 256;

/// The condition `x_i ∈ S_i` for all listed `(i, S_i)`: ascending positions, and sets of symbols as bits (bit
/// `a` represents the symbol with code `a`).
pub type Condition = Vec<(u16, u64)>;

/// A node of a tree. A split of an [`Ensemble`] refers to a condition by its index, a split of [`CountingTrees`] has a
/// [`Test`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node<C = u32> {
    /// Tests a condition. Both children come after the split in the tree.
    Split {
        /// The condition.
        condition: C,
        /// Index of the child for sequences that satisfy the condition.
        yes: u32,
        /// Index of the child for other sequences.
        no: u32,
    },
    /// A leaf with this value.
    Leaf(f64),
}

/// A sum of trees: a constant plus, for each tree, the value of the leaf that a sequence reaches.
#[derive(Clone, Debug)]
pub struct Ensemble {
    space: SequenceSpace,
    constant: f64,
    conditions: Vec<Condition>,
    trees: Vec<Vec<Node>>,
}

impl Ensemble {
    /// An ensemble with these conditions and trees. The first node of a tree is its root.
    ///
    /// # Errors
    /// If a condition is not valid for the space, a node refers to a condition or node that does not exist, a
    /// child does not come after its parent, or a value is not finite.
    ///
    /// ```
    /// use shapsketch::trees::{Ensemble, Node};
    /// use shapsketch::{Cancel, SequenceSpace};
    /// let space = SequenceSpace::new("ACGT", 3)?;
    /// let motif = vec![(0, 0b0100), (1, 0b1001)]; // G, then A or T
    /// let tree = vec![Node::Split { condition: 0, yes: 1, no: 2 }, Node::Leaf(2.0), Node::Leaf(-1.0)];
    /// let ensemble = Ensemble::new(space.clone(), 0.5, vec![motif], vec![tree])?;
    /// let codes = space.encode(&["GTC", "GCC"])?;
    /// assert_eq!(ensemble.predict(&codes, &Cancel::new())?, [2.5, -0.5]);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn new(
        space: SequenceSpace,
        constant: f64,
        conditions: Vec<Condition>,
        trees: Vec<Vec<Node>>,
    ) -> Result<Self> {
        check_constant(constant)?;
        check_conditions(&space, &conditions)?;
        check_trees(&trees, |condition| (condition as usize) < conditions.len())?;
        Ok(Self { space, constant, conditions, trees })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// The set of all symbols.
    fn all_symbols(&self) -> u64 {
        u64::MAX >> (64 - self.space.q())
    }

    /// Number of leaves of all trees.
    #[must_use]
    pub fn leaves(&self) -> usize {
        self.trees.iter().flatten().filter(|node| matches!(node, Node::Leaf(_))).count()
    }

    /// The values of a batch of coded sequences.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the caller cancels.
    pub fn predict(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let n = self.space.n();
        let mut out = vec![self.constant; self.space.check(codes)?];
        let tested = Tested {
            space: &self.space,
            conditions: &self.conditions,
            counts: &[],
            relations: &[],
            runs: &[],
            thresholds: &[],
            trees: &self.trees,
        };
        out.par_chunks_mut(ROWS).zip(codes.par_chunks(ROWS * n)).try_for_each(|(out, codes)| {
            let mut block = Block::new(tested);
            for (out, codes) in out.chunks_mut(LANES).zip(codes.chunks(LANES * n)) {
                cancel.check()?;
                block.add(codes, out);
            }
            Ok(())
        })?;
        Ok(out)
    }
}

fn check_constant(constant: f64) -> Result<()> {
    if constant.is_finite() { Ok(()) } else { Err(bad("constant", "finite", constant.to_string())) }
}

fn check_conditions(space: &SequenceSpace, conditions: &[Condition]) -> Result<()> {
    let (q, n) = (space.q(), space.n());
    for (index, condition) in conditions.iter().enumerate() {
        let got = || format!("condition {index}: {condition:?}");
        let ascending = condition.is_sorted_by(|a, b| a.0 < b.0);
        if !ascending || condition.last().is_none_or(|&(i, _)| i as usize >= n) {
            return Err(bad("conditions", "lists of ascending positions of the space", got()));
        }
        if condition.iter().any(|&(_, set)| q < 64 && set >> q != 0) {
            return Err(bad("conditions", "sets of symbols of the alphabet", got()));
        }
    }
    Ok(())
}

/// Checks trees. `exists` returns whether the condition of a split exists.
fn check_trees<C: Copy>(trees: &[Vec<Node<C>>], exists: impl Fn(C) -> bool) -> Result<()> {
    for (index, tree) in trees.iter().enumerate() {
        let invalid = |(parent, node): (usize, &Node<C>)| match *node {
            Node::Leaf(value) => !value.is_finite(),
            Node::Split { condition, yes, no } => {
                let child = |next: u32| (next as usize) > parent && (next as usize) < tree.len();
                !(exists(condition) && child(yes) && child(no))
            }
        };
        let got = if tree.is_empty() {
            format!("tree {index}, which has no node")
        } else if let Some(node) = tree.iter().enumerate().position(invalid) {
            format!("tree {index}, whose node {node} is not")
        } else {
            continue;
        };
        let expected =
            "made of finite leaves, and of splits on listed conditions that come before their children";
        return Err(bad("trees", expected, got));
    }
    Ok(())
}

fn bad(name: &'static str, expected: &'static str, got: String) -> Error {
    Error::Parameter { name, expected, got }
}

/// Restricts the allowed symbols at each position to the symbols of a condition, calls `f`, and restores them.
fn with_condition<T>(allowed: &mut [u64], condition: &[(u16, u64)], f: impl FnOnce(&mut [u64]) -> T) -> T {
    let before: Vec<u64> = condition.iter().map(|&(i, _)| allowed[i as usize]).collect();
    condition.iter().for_each(|&(i, set)| allowed[i as usize] &= set);
    let result = f(allowed);
    condition.iter().zip(before).for_each(|(&(i, _), before)| allowed[i as usize] = before);
    result
}

/// Calls `f` with other symbols allowed at one position, and restores them.
fn with_symbols<T>(allowed: &mut [u64], position: u16, symbols: u64, f: impl FnOnce(&mut [u64]) -> T) -> T {
    let before = std::mem::replace(&mut allowed[position as usize], symbols);
    let result = f(allowed);
    allowed[position as usize] = before;
    result
}
