//! The bins of all groups: `U_{c,p}[j]` for group `c`, delay `p`, bin `j`.
//!
//! # Memory
//!
//! The model is real, so `U[-j]` is the conjugate of `U[j]`, and a block of `q^b` values has `q^b` independent numbers: the
//! real part of `U[j]`, if `j` does not come after `-j`, and otherwise the imaginary part of `U[-j]`. They replace the
//! values of the block in memory, so bins need 8 bytes per query. Up to [`PANEL`] blocks of a group are one panel, in which
//! the numbers of all its delays at one bin are adjacent.
//!
//! A decoder changes few bins. Their first values are kept, so that the next decoder finds all bins as they were, to the
//! last bit.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use crate::cancel::Cancel;
use crate::design::QueryDesign;
use crate::error::Result;
use crate::frequency::{Frequency, Roots};
use crate::memory;
use crate::transform::QaryTransform;

/// Largest number of delays of a panel: 8 numbers are one cache line.
const PANEL: usize = 8;
/// Largest number of values of a panel, unless one block has more: a copy of it is made.
const PANEL_VALUES: usize = 1 << 23;
/// Largest number of values that are transformed at a time, unless one block has more: each takes 16 bytes.
const TRANSFORMED: usize = 1 << 21;
/// Bins that one task reads.
const CHUNK: usize = 1 << 12;

/// Transformed values, from which peeled coefficients have been subtracted.
pub(crate) struct Bins<'a> {
    pub(crate) design: Arc<QueryDesign>,
    pub(crate) roots: Roots,
    /// What was subtracted from all values before they were transformed.
    pub(crate) offset: f64,
    groups: Vec<GroupBins<'a>>,
    /// Delays of a group, `P`.
    delays: usize,
}

/// The bins of one group.
struct GroupBins<'a> {
    /// Panels of delays, each with the numbers of all bins: index `j * width + (delay in the panel)`.
    panels: Vec<&'a mut [f64]>,
    /// Number of the bin `-j`, for each bin.
    negated: Arc<[u32]>,
    /// `‖U‖²/P` of each bin.
    energies: Vec<f64>,
    /// The first values of changed bins, of which each comes before its negative.
    changed: HashMap<usize, Vec<Complex64>>,
}

impl<'a> Bins<'a> {
    /// Transforms the values of the distinct queries after `offset` is subtracted from them. The bins replace the values;
    /// `rest` becomes the memory of blocks for which there is no room, because a design has repeated queries.
    ///
    /// # Errors
    /// If there is too little memory for `rest`, or the caller cancels.
    pub(crate) fn new(
        design: Arc<QueryDesign>,
        values: &'a mut [f64],
        rest: &'a mut Vec<f64>,
        offset: f64,
        cancel: &Cancel,
    ) -> Result<Self> {
        let delays = design.delays_per_group();
        let sizes: Vec<usize> = (0..design.groups().len()).map(|c| design.block_len(c)).collect();
        let widths =
            |block: usize| (0..delays).step_by(width(block)).map(move |p| width(block).min(delays - p));
        let lengths = || sizes.iter().flat_map(|&block| widths(block).map(move |width| width * block));
        let mut kept = 0;
        for length in lengths() {
            if kept + length > values.len() {
                break;
            }
            kept += length;
        }
        let total: usize = lengths().sum();
        *rest = memory::zeros((total - kept) as u128, "the bins of this design", "lower b")?;
        design.place(values, rest, kept);
        let (mut head, mut tail) = (&mut values[..kept], rest.as_mut_slice());
        let mut tables: HashMap<Vec<usize>, Arc<[u32]>> = HashMap::new();
        let mut groups = Vec::with_capacity(sizes.len());
        for (group, &block) in design.groups().iter().zip(&sizes) {
            let matrix = &group.matrix;
            let table = || (0..block).map(|j| matrix.negated(j) as u32).collect();
            let negated = tables.entry(matrix.sizes().to_vec()).or_insert_with(table).clone();
            let mut panels: Vec<&'a mut [f64]> = Vec::new();
            for width in widths(block) {
                let from = if head.is_empty() { &mut tail } else { &mut head };
                let (panel, others) = std::mem::take(from).split_at_mut(width * block);
                *from = others;
                panels.push(panel);
            }
            let transform = QaryTransform::with_sizes(matrix.sizes().iter().copied());
            transform_blocks(&mut panels, &transform, &negated, offset, cancel)?;
            let mut group = GroupBins { panels, negated, energies: Vec::new(), changed: HashMap::new() };
            group.energies = group.all_energies(delays);
            groups.push(group);
        }
        Ok(Self { roots: Roots::new(design.space().sizes()), offset, groups, delays, design })
    }

    /// The values of a bin, one for each delay.
    pub(crate) fn bin(&self, group: usize, j: usize) -> Vec<Complex64> {
        self.groups[group].bin(j)
    }

    /// The number of bins of a group.
    pub(crate) fn len(&self, group: usize) -> usize {
        self.groups[group].negated.len()
    }

    /// The number of the bin `-j` of a group.
    #[inline]
    pub(crate) fn negated(&self, group: usize, j: usize) -> usize {
        self.groups[group].negated[j] as usize
    }

    /// `‖U‖²/P` of a bin.
    #[inline]
    pub(crate) fn energy(&self, group: usize, j: usize) -> f64 {
        self.groups[group].energies[j]
    }

    /// The energies of all bins of a group.
    pub(crate) fn energies(&self, group: usize) -> &[f64] {
        &self.groups[group].energies
    }

    /// The energy of all bins, averaged over groups: the mean square of the unexplained part of the values.
    pub(crate) fn total_energy(&self) -> f64 {
        let sums = self.groups.iter().map(|group| group.energies.iter().sum::<f64>());
        sums.sum::<f64>() / self.groups.len() as f64
    }

    /// `(1/P) Σ_p conj(ω^{<d_p,k>}) U_p` in the bin of `k`: the estimate of `F[k]` by one group.
    pub(crate) fn project(&self, group: usize, k: &Frequency) -> Complex64 {
        let Some(group_design) = self.design.groups().get(group) else { return Complex64::ZERO };
        let bin = self.bin(group, group_design.matrix.bin(k));
        let mut sum = Complex64::ZERO;
        group_design.delays.signature(k, &self.roots, |p, root| sum += root.conj() * bin[p]);
        sum / self.delays as f64
    }

    /// Subtracts `value · ω^{<d,k>}` from the bin of `k` in every group, and the conjugate from the bin of
    /// `-k`. Calls `changed(group, bin)` for each.
    pub(crate) fn subtract(
        &mut self,
        k: &Frequency,
        value: Complex64,
        mut changed: impl FnMut(usize, usize),
    ) {
        let q = self.design.space().sizes();
        let mut pairs = vec![(k.clone(), value)];
        if !k.is_self_conjugate(q) {
            pairs.push((k.negated(q), value.conj()));
        }
        for (c, (group, bins)) in self.design.groups().iter().zip(&mut self.groups).enumerate() {
            for (k, value) in &pairs {
                let j = group.matrix.bin(k);
                changed(c, j);
                // The other one of the pair changes the other bin.
                if j > bins.negated[j] as usize {
                    continue;
                }
                let mut bin = bins.bin(j);
                bins.changed.entry(j).or_insert_with(|| bin.clone());
                group.delays.signature(k, &self.roots, |p, root| bin[p] -= value * root);
                bins.set(j, &bin);
            }
        }
    }

    /// Returns all bins to what they were before the first subtraction.
    pub(crate) fn restore(&mut self) {
        for group in &mut self.groups {
            for (j, bin) in std::mem::take(&mut group.changed) {
                group.set(j, &bin);
            }
        }
    }
}

impl GroupBins<'_> {
    /// The panels, with the number of their delays.
    fn panels(&self) -> impl Iterator<Item = (usize, &[f64])> {
        let block = self.negated.len();
        self.panels.iter().map(move |panel| (panel.len() / block, &**panel))
    }

    fn bin(&self, j: usize) -> Vec<Complex64> {
        let negated = self.negated[j] as usize;
        let (low, high) = (j.min(negated), j.max(negated));
        let imaginary = |value: f64| match j.cmp(&negated) {
            std::cmp::Ordering::Less => value,
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Greater => -value,
        };
        let mut bin = Vec::with_capacity(self.panels.len() * PANEL);
        for (width, panel) in self.panels() {
            let pairs = panel[low * width..][..width].iter().zip(&panel[high * width..][..width]);
            bin.extend(pairs.map(|(&re, &im)| Complex64::new(re, imaginary(im))));
        }
        bin
    }

    /// Sets the values of a bin that does not come after its negative.
    fn set(&mut self, j: usize, bin: &[Complex64]) {
        let (block, negated) = (self.negated.len(), self.negated[j] as usize);
        let mut rest = bin;
        for panel in &mut self.panels {
            let width = panel.len() / block;
            let (own, others) = rest.split_at(width);
            rest = others;
            for (i, value) in own.iter().enumerate() {
                // The real part last: it is the only one if the bin is its own negative.
                panel[negated * width + i] = value.im;
                panel[j * width + i] = value.re;
            }
        }
        let energy = mean_energy(&self.bin(j));
        self.energies[j] = energy;
        self.energies[negated] = energy;
    }

    fn all_energies(&self, delays: usize) -> Vec<f64> {
        let mut energies = vec![0.0; self.negated.len()];
        energies.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, energies)| {
            let first = chunk * CHUNK;
            for (width, panel) in self.panels() {
                for (i, energy) in energies.iter_mut().enumerate() {
                    let (j, negated) = (first + i, self.negated[first + i] as usize);
                    let (low, high) = (j.min(negated), j.max(negated));
                    let re = &panel[low * width..][..width];
                    let im = &panel[high * width..][..width];
                    match low == high {
                        true => re.iter().for_each(|re| *energy += re * re),
                        false => re.iter().zip(im).for_each(|(re, im)| *energy += re * re + im * im),
                    }
                }
            }
            energies.iter_mut().for_each(|energy| *energy /= delays as f64);
        });
        energies
    }
}

/// Number of delays of a panel of blocks of this length.
fn width(block: usize) -> usize {
    (PANEL_VALUES / block).clamp(1, PANEL)
}

/// Replaces the values in all panels of a group by their bins.
fn transform_blocks(
    panels: &mut [&mut [f64]],
    transform: &QaryTransform,
    negated: &[u32],
    offset: f64,
    cancel: &Cancel,
) -> Result<()> {
    let block = negated.len();
    let mut blocks: Vec<&mut [f64]> =
        panels.iter_mut().flat_map(|panel| panel.chunks_exact_mut(block)).collect();
    // Few blocks at a time: a task that waits for parts of its transform may begin another one.
    for blocks in blocks.chunks_mut((TRANSFORMED / block).max(1)) {
        blocks.par_iter_mut().try_for_each(|values| {
            cancel.check()?;
            values.iter_mut().for_each(|value| *value -= offset);
            let spectrum = transform.forward(values, cancel)?;
            for ((j, value), &negated) in values.iter_mut().enumerate().zip(negated) {
                let negated = negated as usize;
                *value = if j <= negated { spectrum[j].re } else { spectrum[negated].im };
            }
            Ok::<(), crate::error::Error>(())
        })?;
    }
    for panel in panels.iter_mut().filter(|panel| panel.len() > block) {
        cancel.check()?;
        let width = panel.len() / block;
        let blocks = panel.to_vec();
        panel.par_chunks_mut(CHUNK * width).enumerate().for_each(|(chunk, out)| {
            for (i, bin) in out.chunks_exact_mut(width).enumerate() {
                let j = chunk * CHUNK + i;
                bin.iter_mut().enumerate().for_each(|(p, slot)| *slot = blocks[p * block + j]);
            }
        });
    }
    Ok(())
}

/// `‖U‖²/P` of the values of a bin.
pub(crate) fn mean_energy(bin: &[Complex64]) -> f64 {
    bin.iter().map(Complex64::norm_sqr).sum::<f64>() / bin.len() as f64
}

#[cfg(test)]
#[path = "bin_tests.rs"]
mod tests;
