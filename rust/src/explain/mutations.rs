//! Effects of mutations on the surrogate's score; they do not depend on the background.

use crate::anova::{Block, Components, Form};
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
                self.add_effects_of_runs(row, out);
                match &self.form {
                    Form::Listed(list) => {
                        for component in 0..list.supports.len() {
                            cancel.check()?;
                            list.substitutions(component, row, |i, a, change| out[i * q + a] += change);
                        }
                    }
                    Form::Multilinear { multilinear, .. } => {
                        // The mutants of one position at a time, which bounds the memory.
                        for (i, out) in out.chunks_exact_mut(q).enumerate() {
                            let mut mutants = row.repeat(q);
                            (0..q).for_each(|a| mutants[a * n + i] = a as u8);
                            let mut scores = vec![0.0; q];
                            multilinear.scores(&mutants, &mut scores, cancel)?;
                            let before = scores[row[i] as usize];
                            out.iter_mut().zip(scores).for_each(|(out, score)| *out += score - before);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Adds the changes of the terms with runs.
    fn add_effects_of_runs(&self, row: &[u8], out: &mut [f64]) {
        let (q, blocks) = (self.space().q(), self.runs.blocks());
        let mut others = vec![0.0; blocks.len()];
        let values = self.runs.values(row);
        self.runs.others(&values, 1.0, &mut others);
        for ((block, others), value) in blocks.iter().zip(others).zip(values).filter(|((_, o), _)| *o != 0.0)
        {
            for &i in &block.positions {
                for (a, out) in out[i as usize * q..][..q].iter_mut().enumerate() {
                    *out += others * (self.runs.value_with(block, row, &[(i, a as u8)]) - value);
                }
            }
        }
    }

    /// Pairs of positions that occur together in a component. Only these pairs have epistasis.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] if long terms have too many components to list, or the caller cancels.
    pub fn pairs(&self, cancel: &Cancel) -> Result<Vec<[u16; 2]>> {
        let mut pairs: Vec<[u16; 2]> = Vec::new();
        let mut distinct = 0;
        let of_runs: Vec<Vec<u16>> = self.runs.terms().iter().map(|term| self.runs.support(term)).collect();
        for support in self.list(cancel)?.supports.iter().chain(&of_runs) {
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
        let list = self.list(cancel)?;
        self.map_tiles(codes, 1, pairs.len() * q * q, cancel, |codes, out| {
            for (row, out) in codes.chunks_exact(n).zip(out.chunks_exact_mut(pairs.len() * q * q)) {
                self.add_epistasis_of_runs(row, &pairs, out, cancel)?;
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

    /// Adds the epistasis of the terms with runs.
    fn add_epistasis_of_runs(
        &self,
        row: &[u8],
        pairs: &[[u16; 2]],
        out: &mut [f64],
        cancel: &Cancel,
    ) -> Result<()> {
        let q = self.space().q();
        let symbols = || 0..q as u8;
        let values = self.runs.values(row);
        for term in self.runs.terms() {
            cancel.check()?;
            let blocks: Vec<(&Block, f64)> = self
                .runs
                .blocks_of(term)
                .zip(term.blocks.iter().map(|&block| values[block as usize]))
                .collect();
            let positions: Vec<(u16, usize)> = blocks
                .iter()
                .enumerate()
                .flat_map(|(at, (block, _))| block.positions.iter().map(move |&i| (i, at)))
                .collect();
            for &(i, first) in &positions {
                for &(j, second) in positions.iter().filter(|(j, _)| i < *j) {
                    let rest = blocks.iter().enumerate().filter(|(at, _)| *at != first && *at != second);
                    let others = term.coefficient * rest.map(|(_, (_, value))| value).product::<f64>();
                    let Ok(pair) = pairs.binary_search(&[i, j]) else { continue };
                    if others == 0.0 {
                        continue;
                    }
                    let changed = |at: usize, changes: &[(u16, u8)]| {
                        self.runs.value_with(blocks[at].0, row, changes) - blocks[at].1
                    };
                    for (a, b) in symbols().flat_map(|a| symbols().map(move |b| (a, b))) {
                        let (of_first, of_second) = (changed(first, &[(i, a)]), changed(second, &[(j, b)]));
                        let value = if first == second {
                            changed(first, &[(i, a), (j, b)]) - of_first - of_second
                        } else {
                            of_first * of_second
                        };
                        out[(pair * q + a as usize) * q + b as usize] += others * value;
                    }
                }
            }
        }
        Ok(())
    }
}
