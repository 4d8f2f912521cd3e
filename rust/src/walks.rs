//! Walks from one sequence to another, one position at a time.
//!
//! Sampled Shapley values come from the changes of a function along such walks (permutation sampling: Castro, Gómez &
//! Tejada 2009). Neighbours on a walk differ at one position, so a function may be evaluated much faster than at as many
//! independent sequences.

use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::memory;
use crate::space::SequenceSpace;

/// Walks whose sequences are evaluated together by a function that has no faster way.
const TOGETHER: usize = 64;

/// Walks of a sequence space: their starts and targets, row-major codes, and the order in which the symbols of each
/// start become those of its target.
///
/// ```
/// use shapsketch::walks::Walks;
/// use shapsketch::SequenceSpace;
/// let space = SequenceSpace::new("ACGT", 3)?;
/// let walks = Walks::new(&space, &[0, 1, 2], &[3, 1, 0], &[2, 1, 0])?;
/// assert_eq!(walks.hybrids(0).collect::<Vec<_>>(), [(0, vec![0, 1, 2]), (1, vec![0, 1, 0]), (3, vec![3, 1, 0])]);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Walks<'a> {
    space: &'a SequenceSpace,
    n: usize,
    starts: &'a [u8],
    targets: &'a [u8],
    orders: &'a [u32],
}

impl<'a> Walks<'a> {
    /// Walks; each row of `orders` has every position once.
    ///
    /// # Errors
    /// If the codes do not belong to the space, the numbers of rows differ, or a row of `orders` is not an order of the
    /// positions.
    pub fn new(
        space: &'a SequenceSpace,
        starts: &'a [u8],
        targets: &'a [u8],
        orders: &'a [u32],
    ) -> Result<Self> {
        let (count, n) = (space.check(starts)?, space.n());
        for (what, got) in [("targets", space.check(targets)?), ("orders", orders.len() / n)] {
            if got != count || !orders.len().is_multiple_of(n) {
                return Err(Error::ValueCount { what, got, expected: count });
            }
        }
        let mut seen = vec![usize::MAX; n];
        for (row, order) in orders.chunks_exact(n).enumerate() {
            for &position in order {
                match seen.get_mut(position as usize).filter(|seen| **seen != row) {
                    Some(seen) => *seen = row,
                    None => {
                        return Err(Error::Parameter {
                            name: "orders",
                            expected: "each position once in each row",
                            got: format!("position {position} in row {row}"),
                        });
                    }
                }
            }
        }
        Ok(Self { space, n, starts, targets, orders })
    }

    /// The sequence space.
    #[must_use]
    pub const fn space(&self) -> &'a SequenceSpace {
        self.space
    }

    /// Number of walks.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.starts.len() / self.n
    }

    /// Numbers for each walk: the value at its start, then after each step.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.n + 1
    }

    pub(crate) fn start(&self, walk: usize) -> &'a [u8] {
        &self.starts[walk * self.n..][..self.n]
    }

    /// The steps of a walk that change a symbol: the number of the step, from 1, the position, and the new symbol.
    pub(crate) fn steps(&self, walk: usize) -> impl Iterator<Item = (usize, usize, u8)> + use<'a> {
        let (start, target) = (self.start(walk), &self.targets[walk * self.n..][..self.n]);
        let order = &self.orders[walk * self.n..][..self.n];
        let positions = order.iter().map(|&i| i as usize).enumerate();
        positions.filter(|&(_, i)| start[i] != target[i]).map(|(step, i)| (step + 1, i, target[i]))
    }

    /// The start of a walk, and the sequence after each step that changes a symbol, with the number of the step.
    pub fn hybrids(&self, walk: usize) -> impl Iterator<Item = (usize, Vec<u8>)> + use<'a> {
        let mut sequence = self.start(walk).to_vec();
        let steps = self.steps(walk);
        std::iter::once((0, sequence.clone())).chain(steps.map(move |(step, position, symbol)| {
            sequence[position] = symbol;
            (step, sequence.clone())
        }))
    }

    /// Zeros for the values along all walks, shape `(count, n + 1)`.
    ///
    /// # Errors
    /// [`Error::Memory`] if they exceed the memory.
    pub(crate) fn zeros(&self) -> Result<Vec<f64>> {
        let size = self.count() as u128 * self.width() as u128;
        memory::zeros(size, "the values along walks", "use fewer evaluations, or fewer sequences at a time")
    }

    /// The values of a function along all walks, which it predicts for many sequences at a time; shape `(count, n + 1)`.
    pub(crate) fn each(
        &self,
        predict: impl Fn(&[u8]) -> Result<Vec<f64>> + Sync,
        cancel: &Cancel,
    ) -> Result<Vec<f64>> {
        let mut out = self.zeros()?;
        let tasks = out.par_chunks_mut(TOGETHER * self.width()).enumerate();
        tasks.try_for_each(|(task, out)| {
            cancel.check()?;
            let walks = (task * TOGETHER..).take(out.len() / self.width());
            let (mut places, mut codes) = (Vec::new(), Vec::new());
            for (row, walk) in walks.enumerate() {
                for (step, hybrid) in self.hybrids(walk) {
                    places.push(row * self.width() + step);
                    codes.extend(hybrid);
                }
            }
            let values = predict(&codes)?;
            let ends = places[1..].iter().copied().chain([out.len()]);
            for ((&place, end), value) in places.iter().zip(ends).zip(values) {
                out[place..end].fill(value);
            }
            Ok(())
        })?;
        Ok(out)
    }
}
