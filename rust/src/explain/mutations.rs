//! Effects of mutations on the surrogate's score; they do not depend on the background.

use crate::anova::{Components, Form};
use crate::cancel::Cancel;
use crate::error::Result;

/// Sequences explained by one task.
const ROWS: usize = 16;
/// Repeated pairs of positions that are held before they are removed (4 bytes each).
const REPEATED: usize = 1 << 22;

impl Components {
    /// Change of the score for every single substitution, `f̂(x with symbol a at i) - f̂(x)`; shape
    /// `(B, n, q)`, 0 if `x` has `a` at `i`.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the caller cancels.
    pub fn mutation_effects(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let (q, n) = (self.space().q(), self.space().n());
        self.map_tiles(codes, ROWS, n * q, cancel, |codes, out| {
            for (row, out) in codes.chunks_exact(n).zip(out.chunks_exact_mut(n * q)) {
                match &self.form {
                    Form::Listed(list) => {
                        for component in 0..list.supports.len() {
                            cancel.check()?;
                            list.substitutions(component, row, |i, a, change| out[i * q + a] += change);
                        }
                    }
                    Form::Multilinear(multilinear) => {
                        // The mutants of one position at a time, which bounds the memory.
                        for (i, out) in out.chunks_exact_mut(q).enumerate() {
                            let mut mutants = row.repeat(q);
                            (0..q).for_each(|a| mutants[a * n + i] = a as u8);
                            multilinear.scores(&mutants, out, cancel)?;
                            let before = out[row[i] as usize];
                            out.iter_mut().for_each(|score| *score -= before);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Pairs of positions that occur together in a component. Only these pairs have epistasis.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] if long terms have too many components to list, or the caller cancels.
    pub fn pairs(&self, cancel: &Cancel) -> Result<Vec<[u16; 2]>> {
        let mut pairs: Vec<[u16; 2]> = Vec::new();
        let mut distinct = 0;
        for support in self.supports()? {
            cancel.check()?;
            for (at, &i) in support.iter().enumerate() {
                pairs.extend(support[at + 1..].iter().map(|&j| [i, j]));
            }
            // Repeated pairs never take more memory than the distinct ones, or than a few megabytes.
            if pairs.len() > 2 * distinct + REPEATED {
                pairs.sort_unstable();
                pairs.dedup();
                distinct = pairs.len();
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        Ok(pairs)
    }

    /// Epistasis of two substitutions, `f̂(both) - f̂(first) - f̂(second) + f̂(neither)`, for every pair of
    /// [`Components::pairs`] and every two symbols; shape `(B, pairs, q, q)`.
    ///
    /// # Errors
    /// As for [`Components::pairs`], or if the codes are not sequences of the space.
    pub fn epistasis(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let (q, n) = (self.space().q(), self.space().n());
        let pairs = self.pairs(cancel)?;
        let list = self.list()?;
        self.map_tiles(codes, 1, pairs.len() * q * q, cancel, |codes, out| {
            for (row, out) in codes.chunks_exact(n).zip(out.chunks_exact_mut(pairs.len() * q * q)) {
                let mut mixed = row.to_vec();
                for (component, support) in list.supports.iter().enumerate() {
                    cancel.check()?;
                    for (at, &i) in support.iter().enumerate() {
                        for &j in &support[at + 1..] {
                            let Ok(pair) = pairs.binary_search(&[i, j]) else { continue };
                            let (i, j) = (i as usize, j as usize);
                            let mut value = |a: u8, b: u8| {
                                (mixed[i], mixed[j]) = (a, b);
                                list.value(component, &mixed)
                            };
                            let neither = value(row[i], row[j]);
                            let second: Vec<f64> = (0..q as u8).map(|b| value(row[i], b)).collect();
                            for a in 0..q as u8 {
                                let first = value(a, row[j]);
                                for b in 0..q as u8 {
                                    out[(pair * q + a as usize) * q + b as usize] +=
                                        value(a, b) - first - second[b as usize] + neither;
                                }
                            }
                            (mixed[i], mixed[j]) = (row[i], row[j]);
                        }
                    }
                }
            }
            Ok(())
        })
    }
}
