//! Interactions: an [`Index`] evaluated for sequences, as weighted sums of components.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use super::indices::Index;
use super::run_interactions::RunInteractions;
use crate::anova::{Components, moebius, result};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::words::{self, binomial, subset};

/// Sequences explained by one task.
const ROWS: usize = 64;
/// Largest number of results that one task holds (8 bytes each).
const HELD: usize = 1 << 16;
/// Largest number of subsets of all supports.
pub(super) const MAX_SUBSETS: f64 = (1 << 21) as f64;

/// An index of a game, ready for evaluation: its supports, and the weights of components.
#[derive(Clone, Debug)]
pub struct Interactions {
    supports: Vec<Vec<u16>>,
    /// Start of each component in `weights`, whose entries are outputs with their weights.
    starts: Vec<usize>,
    weights: Vec<(u32, f64)>,
    /// If each sequence has its own background sequences: the index of each subset of each component, by mask.
    subsets: Option<Vec<Vec<u32>>>,
    runs: RunInteractions,
}

impl Interactions {
    fn new(
        components: &[Vec<u16>],
        index: Index,
        most: usize,
        subsets: Option<Vec<Vec<u32>>>,
        (runs, of_runs): (RunInteractions, Vec<Vec<u16>>),
    ) -> Self {
        let longest = components.iter().map(Vec::len).max().unwrap_or(0);
        let weights: Vec<Vec<f64>> = (0..=longest)
            .map(|t| {
                (0..=t).map(|s| if s == 0 || s > most { 0.0 } else { index.weight(s, t, most) }).collect()
            })
            .collect();
        // For most indices, subsets of higher order have weight 0. They are not listed.
        let chosen = |support: &[u16]| -> Vec<(Vec<u16>, f64)> {
            let t = support.len();
            (1..=t)
                .filter(|&s| weights[t][s] != 0.0)
                .flat_map(|s| words::subsets(support, s).into_iter().map(move |subset| (subset, s)))
                .map(|(subset, s)| (subset, weights[t][s]))
                .collect()
        };
        let listed: Vec<Vec<(Vec<u16>, f64)>> = components.iter().map(|support| chosen(support)).collect();
        let supports: BTreeSet<(usize, &Vec<u16>)> =
            listed.iter().flatten().map(|(subset, _)| subset).chain(&of_runs).map(|s| (s.len(), s)).collect();
        let supports: Vec<Vec<u16>> = supports.into_iter().map(|(_, subset)| subset.clone()).collect();
        let number: HashMap<&[u16], u32> = supports.iter().map(Vec::as_slice).zip(0..).collect();
        let runs = runs.with_outputs(of_runs.iter().map(|support| number[support.as_slice()]).collect());
        let mut starts = vec![0];
        let mut all = Vec::new();
        for weighted in &listed {
            all.extend(weighted.iter().map(|(subset, weight)| (number[subset.as_slice()], *weight)));
            starts.push(all.len());
        }
        Self { supports, starts, weights: all, subsets, runs }
    }

    /// Supports that can have an interaction, by order, then position.
    #[must_use]
    pub fn supports(&self) -> &[Vec<u16>] {
        &self.supports
    }

    /// # Errors
    /// [`Error::ForeignInteractions`] if these are not interactions of `expected` components, with or without
    /// background sequences of each sequence.
    fn check(&self, expected: usize, with_references: bool) -> Result<()> {
        let got = self.subsets.as_ref().map_or(self.starts.len() - 1, Vec::len);
        if got == expected && self.subsets.is_some() == with_references {
            return Ok(());
        }
        Err(Error::ForeignInteractions { expected, got })
    }

    /// The outputs that a component contributes to, with its weights.
    fn of(&self, component: usize) -> &[(u32, f64)] {
        &self.weights[self.starts[component]..self.starts[component + 1]]
    }
}

/// # Errors
/// [`Error::TooLarge`] if supports have more subsets than can be listed.
pub(super) fn check_subsets<'a>(
    supports: impl IntoIterator<Item = &'a Vec<u16>>,
    subsets: impl Fn(usize) -> f64,
) -> Result<()> {
    let all: f64 = supports.into_iter().map(|support| subsets(support.len())).sum();
    if all > MAX_SUBSETS {
        return Err(Error::TooLarge {
            what: "the list of subsets of these supports",
            bytes: (all as u128).saturating_mul(64),
            advice: "truncate the surrogate to lower orders, or use another background or a lower max_order",
        });
    }
    Ok(())
}

impl Components {
    /// The highest order that an index has.
    fn order(&self, index: Index, max_order: usize) -> Result<usize> {
        let n = self.space().n();
        if !(1..=n).contains(&max_order) {
            return Err(Error::Parameter {
                name: "max_order",
                expected: "from 1 to the length of the sequences",
                got: format!("{max_order} for length {n}"),
            });
        }
        Ok(if matches!(index, Index::Sv | Index::Bv) { 1 } else { max_order })
    }

    /// An index up to an order, for [`Components::values`].
    ///
    /// # Errors
    /// If the order is 0 or above the length; [`Error::TooLarge`] if long terms have too many components to
    /// list.
    pub fn interactions(&self, index: Index, max_order: usize) -> Result<Interactions> {
        let most = self.order(index, max_order)?;
        let supports = &self.list(&Cancel::new())?.supports;
        let highest = if index == Index::Moebius { 0 } else { most };
        check_subsets(supports, |t| (1..=highest.min(t)).map(|s| binomial(t, s)).sum::<f64>() + 1.0)?;
        let runs = RunInteractions::new(&self.runs, index, most, false)?;
        Ok(Interactions::new(supports, index, most, None, runs))
    }

    /// An index up to an order, for [`Components::values_with_references`].
    ///
    /// # Errors
    /// As for [`Components::interactions`].
    pub fn interactions_with_references(&self, index: Index, max_order: usize) -> Result<Interactions> {
        let most = self.order(index, max_order)?;
        let supports = &self.list(&Cancel::new())?.supports;
        check_subsets(supports, |t| 2.0_f64.powi(t as i32))?;
        let mut number: HashMap<Vec<u16>, u32> = HashMap::new();
        let mut closure = Vec::new();
        let mut subsets = Vec::with_capacity(supports.len());
        for support in supports {
            let numbers = (0..1_usize << support.len())
                .map(|mask| {
                    *number.entry(subset(support, mask)).or_insert_with_key(|subset| {
                        closure.push(subset.clone());
                        closure.len() as u32 - 1
                    })
                })
                .collect();
            subsets.push(numbers);
        }
        let runs = RunInteractions::new(&self.runs, index, most, true)?;
        Ok(Interactions::new(&closure, index, most, Some(subsets), runs))
    }

    /// The index of each sequence, for every support of `interactions`; shape `(B, supports)`.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, the interactions belong to other components, or
    /// the result would exceed the address space.
    pub fn values(&self, interactions: &Interactions, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let list = self.list(cancel)?;
        interactions.check(list.supports.len(), false)?;
        let width = interactions.supports.len();
        let n = self.space().n();
        let rows = (HELD / width.max(1)).clamp(1, ROWS);
        self.map_tiles(codes, rows, width, cancel, |codes, out| {
            let count = codes.len() / n;
            // Column by column, so that the inner loop runs over the sequences of a tile.
            let mut columns = vec![0.0; width * count];
            let mut values = vec![0.0; count];
            for component in 0..list.supports.len() {
                cancel.check()?;
                let weights = interactions.of(component);
                if weights.is_empty() {
                    continue;
                }
                for (value, row) in values.iter_mut().zip(codes.chunks_exact(n)) {
                    *value = list.value(component, row);
                }
                for &(to, weight) in weights {
                    let column = &mut columns[to as usize * count..][..count];
                    column.iter_mut().zip(&values).for_each(|(sum, value)| *sum += weight * value);
                }
            }
            for (index, (out, row)) in out.chunks_exact_mut(width).zip(codes.chunks_exact(n)).enumerate() {
                out.iter_mut().enumerate().for_each(|(to, out)| *out = columns[to * count + index]);
                interactions.runs.add(&self.runs, row, out, cancel)?;
            }
            Ok(())
        })
    }

    /// The index of each sequence under a background of its own: `references` has the same number `R` of equally
    /// likely background sequences for each sequence, `(B, R, n)`. The components must be those under the uniform
    /// background. The result has the shape `(B, supports)`.
    ///
    /// # Errors
    /// As for [`Components::values`], or if the numbers of sequences do not fit.
    pub fn values_with_references(
        &self,
        interactions: &Interactions,
        codes: &[u8],
        references: &[u8],
        cancel: &Cancel,
    ) -> Result<Vec<f64>> {
        let list = self.list(cancel)?;
        interactions.check(list.supports.len(), true)?;
        let subsets = interactions.subsets.as_deref().unwrap_or_default();
        let width = interactions.supports.len();
        self.map_with_references(codes, references, width, cancel, |row, references, out| {
            let n = row.len();
            let weight = 1.0 / (references.len() / n) as f64;
            let mut game = vec![0.0; interactions.starts.len() - 1];
            let mut local = Vec::new();
            let mut mixed = row.to_vec();
            for reference in references.chunks_exact(n) {
                for (component, (support, numbers)) in list.supports.iter().zip(subsets).enumerate() {
                    cancel.check()?;
                    local.clear();
                    for mask in 0..numbers.len() {
                        for (bit, &i) in support.iter().enumerate() {
                            let from = if mask >> bit & 1 == 1 { row } else { reference };
                            mixed[i as usize] = from[i as usize];
                        }
                        local.push(list.value(component, &mixed));
                    }
                    moebius(&mut local);
                    for (&number, value) in numbers.iter().zip(&local) {
                        game[number as usize] += weight * value;
                    }
                }
            }
            for (component, value) in game.into_iter().enumerate() {
                for &(to, weight) in interactions.of(component) {
                    out[to as usize] += weight * value;
                }
            }
            interactions.runs.add(&self.runs.with_references(references), row, out, cancel)
        })
    }

    /// Fills `width` numbers for each sequence and its own background sequences, in parallel.
    pub(super) fn map_with_references(
        &self,
        codes: &[u8],
        references: &[u8],
        width: usize,
        cancel: &Cancel,
        fill: impl Fn(&[u8], &[u8], &mut [f64]) -> Result<()> + Sync,
    ) -> Result<Vec<f64>> {
        let (count, total) = (self.space().check(codes)?, self.space().check(references)?);
        if count == 0 {
            return Ok(Vec::new());
        }
        if total == 0 || !total.is_multiple_of(count) {
            return Err(Error::Parameter {
                name: "references",
                expected: "the same number, at least one, for each sequence",
                got: format!("{total} for {count} sequences"),
            });
        }
        let n = self.space().n();
        let mut out = result(count, width)?;
        if width > 0 {
            let rows = codes.par_chunks(n).zip(references.par_chunks(total / count * n));
            out.par_chunks_mut(width).zip(rows).try_for_each(|(out, (row, references))| {
                cancel.check()?;
                fill(row, references, out)
            })?;
        }
        Ok(out)
    }
}
