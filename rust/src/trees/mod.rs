//! Ensembles of trees as closed forms.
//!
//! A split asks for a [`Condition`]: whether the letters at some places are among given sets. One place is
//! a split of a one-hot or integer feature, several are a motif (a k-mer at its place). A sum of such trees is
//! a sum of products of indicators, and so has the Fourier coefficients, components and Shapley values of any
//! other surrogate.
//!
//! - [`Ensemble::exact`] writes it leaf by leaf; a split "motif present or not" is
//!   `f = f_absent + 1[motif]·(f_present - f_absent)`.
//! - [`Ensemble::truncated`] keeps all but a stated part of the variance, for ensembles whose exact form
//!   is too long: a chain of `m` absent motifs has `2^m` products, nearly all of no weight.

mod exact;
mod truncated;

use rayon::prelude::*;

pub use truncated::Truncated;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Sequences predicted by one task.
const ROWS: usize = 256;

/// `1[x_i ∈ S_i for all places i]`: positions, ascending, and sets of letters as bits.
pub type Condition = Vec<(u16, u64)>;

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node {
    /// Asks for condition number `condition`, and goes on at node `yes` or `no`, both further on in the tree.
    Split {
        /// Number of the condition.
        condition: u32,
        /// Where to go if it holds.
        yes: u32,
        /// Where to go if it does not.
        no: u32,
    },
    /// Ends with this value.
    Leaf(f64),
}

/// A sum of trees: a constant and, for each tree, the value of the leaf that a sequence ends in.
#[derive(Clone, Debug)]
pub struct Ensemble {
    space: SequenceSpace,
    constant: f64,
    conditions: Vec<Condition>,
    trees: Vec<Vec<Node>>,
}

impl Ensemble {
    /// Takes conditions, and trees whose first node is the root.
    ///
    /// # Errors
    /// If a condition is not one of the space, a node names one or a node that is not there, a child
    /// does not come after its parent, or a value is not finite.
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
        let bad = |name, expected, got: String| Err(Error::Parameter { name, expected, got });
        let (q, n) = (space.q(), space.n());
        if !constant.is_finite() {
            return bad("constant", "finite", constant.to_string());
        }
        for (index, condition) in conditions.iter().enumerate() {
            let ascending = condition.is_sorted_by(|a, b| a.0 < b.0);
            if !ascending || condition.last().is_none_or(|&(i, _)| i as usize >= n) {
                let got = format!("condition {index}: {condition:?}");
                return bad("conditions", "on ascending positions of the space", got);
            }
            if condition.iter().any(|&(_, set)| q < 64 && set >> q != 0) {
                let got = format!("condition {index}: {condition:?}");
                return bad("conditions", "on letters of the alphabet", got);
            }
        }
        for (index, tree) in trees.iter().enumerate() {
            let sound = |(at, node): (usize, &Node)| match *node {
                Node::Leaf(value) => value.is_finite(),
                Node::Split { condition, yes, no } => {
                    let child = |next: u32| (next as usize) > at && (next as usize) < tree.len();
                    (condition as usize) < conditions.len() && child(yes) && child(no)
                }
            };
            if tree.is_empty() || !tree.iter().enumerate().all(sound) {
                return bad(
                    "trees",
                    "of finite leaves and of splits before their children",
                    format!("tree {index}"),
                );
            }
        }
        Ok(Self { space, constant, conditions, trees })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// All letters, as bits.
    fn all(&self) -> u64 {
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
        out.par_chunks_mut(ROWS).zip(codes.par_chunks(ROWS * n)).try_for_each(|(out, codes)| {
            cancel.check()?;
            let mut holds = vec![false; self.conditions.len()];
            for (out, row) in out.iter_mut().zip(codes.chunks_exact(n)) {
                for (holds, condition) in holds.iter_mut().zip(&self.conditions) {
                    *holds = condition.iter().all(|&(i, set)| set >> row[i as usize] & 1 == 1);
                }
                for tree in &self.trees {
                    let mut at = 0;
                    *out += loop {
                        match tree[at] {
                            Node::Leaf(value) => break value,
                            Node::Split { condition, yes, no } => {
                                at = if holds[condition as usize] { yes } else { no } as usize;
                            }
                        }
                    };
                }
            }
            Ok(())
        })?;
        Ok(out)
    }
}
