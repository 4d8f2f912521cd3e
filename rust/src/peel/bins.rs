//! The bins of all groups: `U_{c,p}[j]` for group `c`, delay `p`, bin `j`.

use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use crate::cancel::Cancel;
use crate::design::Observations;
use crate::design::QueryDesign;
use crate::error::Result;
use crate::frequency::Frequency;
use crate::space::roots_of_unity;
use crate::transform::QaryTransform;

/// Transformed observations, from which peeled coefficients have been subtracted.
#[derive(Clone)]
pub(crate) struct Bins {
    pub(crate) design: Arc<QueryDesign>,
    /// `ω^0 … ω^{q-1}`.
    pub(crate) roots: Vec<Complex64>,
    /// For each group, the values of all bins: index `j * P + p`.
    groups: Vec<Vec<Complex64>>,
    /// Delays of a group, `P`.
    delays: usize,
}

impl Bins {
    /// Transforms the observations after `offset` is subtracted from their values.
    pub(crate) fn new(observations: &Observations, offset: f64, cancel: &Cancel) -> Result<Self> {
        let design = observations.design().clone();
        let (q, delays, block) = (design.space().q(), design.delays_per_group(), design.block_len());
        let transform = QaryTransform::new(q, design.config().b);
        let centred: Vec<f64> = observations.values().iter().map(|value| value - offset).collect();
        let mut groups = Vec::with_capacity(design.groups().len());
        for c in 0..design.groups().len() {
            let transforms = (0..delays)
                .into_par_iter()
                .map(|p| {
                    cancel.check()?;
                    transform.forward(&design.block_values(c, p, &centred), cancel)
                })
                .collect::<Result<Vec<_>>>()?;
            let mut bins = vec![Complex64::ZERO; block * delays];
            bins.par_chunks_mut(delays).enumerate().for_each(|(j, bin)| {
                for (slot, transform) in bin.iter_mut().zip(&transforms) {
                    *slot = transform[j];
                }
            });
            groups.push(bins);
        }
        Ok(Self { roots: roots_of_unity(q), groups, delays, design })
    }

    /// The values of a bin, one for each delay.
    pub(crate) fn bin(&self, group: usize, j: usize) -> &[Complex64] {
        &self.groups[group][j * self.delays..(j + 1) * self.delays]
    }

    /// The number of the bin `-j`.
    pub(crate) fn negated(&self, j: usize) -> usize {
        let q = self.design.space().q();
        let (mut rest, mut power, mut negated) = (j, 1, 0);
        while rest > 0 {
            negated += (q - rest % q) % q * power;
            rest /= q;
            power *= q;
        }
        negated
    }

    /// `‖U‖²/P` of a bin.
    pub(crate) fn energy(&self, group: usize, j: usize) -> f64 {
        mean_energy(self.bin(group, j))
    }

    /// The energy of all bins, averaged over groups: the mean square of the unexplained part of the values.
    pub(crate) fn total_energy(&self) -> f64 {
        let sums: Vec<f64> = self
            .groups
            .par_iter()
            .map(|bins| bins.iter().map(Complex64::norm_sqr).sum::<f64>() / self.delays as f64)
            .collect();
        sums.iter().sum::<f64>() / self.groups.len() as f64
    }

    /// `(1/P) Σ_p conj(ω^{<d_p,k>}) U_p` in the bin of `k`: the estimate of `F[k]` by one group.
    pub(crate) fn project(&self, group: usize, k: &Frequency) -> Complex64 {
        let Some(group_design) = self.design.groups().get(group) else { return Complex64::ZERO };
        let bin = self.bin(group, group_design.matrix.bin(k));
        let mut sum = Complex64::ZERO;
        group_design.delays.phases(k, |p, phase| sum += self.roots[phase].conj() * bin[p]);
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
        let q = self.design.space().q();
        let mut pairs = vec![(k.clone(), value)];
        if !k.is_self_conjugate(q) {
            pairs.push((k.negated(q), value.conj()));
        }
        for (c, (group, bins)) in self.design.groups().iter().zip(&mut self.groups).enumerate() {
            for (k, value) in &pairs {
                let j = group.matrix.bin(k);
                let bin = &mut bins[j * self.delays..(j + 1) * self.delays];
                group.delays.phases(k, |p, phase| bin[p] -= value * self.roots[phase]);
                changed(c, j);
            }
        }
    }
}

/// `‖U‖²/P` of the values of a bin.
pub(crate) fn mean_energy(bin: &[Complex64]) -> f64 {
    bin.iter().map(Complex64::norm_sqr).sum::<f64>() / bin.len() as f64
}
