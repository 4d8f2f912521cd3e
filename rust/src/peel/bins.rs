//! The bins of all groups: `U_{c,p}[j]` for group `c`, delay `p`, bin `j`.

use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use crate::cancel::Cancel;
use crate::design::Observations;
use crate::design::QueryDesign;
use crate::error::Result;
use crate::frequency::{Frequency, Roots};
use crate::transform::QaryTransform;

/// Transformed observations, from which peeled coefficients have been subtracted.
#[derive(Clone)]
pub(crate) struct Bins {
    pub(crate) design: Arc<QueryDesign>,
    pub(crate) roots: Roots,
    /// For each group, the values of all bins: index `j * P + p`.
    groups: Vec<Vec<Complex64>>,
    /// Delays of a group, `P`.
    delays: usize,
}

impl Bins {
    /// Transforms the observations after `offset` is subtracted from their values.
    pub(crate) fn new(observations: &Observations, offset: f64, cancel: &Cancel) -> Result<Self> {
        let design = observations.design().clone();
        let delays = design.delays_per_group();
        let centred: Vec<f64> = observations.values().iter().map(|value| value - offset).collect();
        let mut groups = Vec::with_capacity(design.groups().len());
        for (c, group) in design.groups().iter().enumerate() {
            let transform = QaryTransform::with_sizes(group.matrix.sizes().iter().copied());
            let transforms = (0..delays)
                .into_par_iter()
                .map(|p| {
                    cancel.check()?;
                    transform.forward(&design.block_values(c, p, &centred), cancel)
                })
                .collect::<Result<Vec<_>>>()?;
            let mut bins = vec![Complex64::ZERO; design.block_len(c) * delays];
            bins.par_chunks_mut(delays).enumerate().for_each(|(j, bin)| {
                for (slot, transform) in bin.iter_mut().zip(&transforms) {
                    *slot = transform[j];
                }
            });
            groups.push(bins);
        }
        Ok(Self { roots: Roots::new(design.space().sizes()), groups, delays, design })
    }

    /// The values of a bin, one for each delay.
    pub(crate) fn bin(&self, group: usize, j: usize) -> &[Complex64] {
        &self.groups[group][j * self.delays..(j + 1) * self.delays]
    }

    /// The number of bins of a group.
    pub(crate) fn len(&self, group: usize) -> usize {
        self.groups[group].len() / self.delays
    }

    /// The number of the bin `-j` of a group.
    pub(crate) fn negated(&self, group: usize, j: usize) -> usize {
        self.design.groups().get(group).map_or(j, |group| group.matrix.negated(j))
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
                let bin = &mut bins[j * self.delays..(j + 1) * self.delays];
                group.delays.signature(k, &self.roots, |p, root| bin[p] -= value * root);
                changed(c, j);
            }
        }
    }
}

/// `‖U‖²/P` of the values of a bin.
pub(crate) fn mean_energy(bin: &[Complex64]) -> f64 {
    bin.iter().map(Complex64::norm_sqr).sum::<f64>() / bin.len() as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::design::{DelayFamily, DesignConfig, SubsamplingFamily};
    use crate::space::SequenceSpace;
    use crate::synthetic::Planted;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bins_are_sums_of_the_coefficients_that_alias(
            sizes in prop::collection::vec(1_usize..=21, 3..7), seed in 0_u64..1000, kind in 0_usize..3,
        ) {
            let Ok(space) = SequenceSpace::of_sizes(&sizes) else { return Ok(()) };
            prop_assume!(sizes.iter().filter(|&&size| size > 1).count() > 1);
            let planted = Planted { terms: 8, max_order: 2, magnitude: (0.5, 1.5), seed };
            let Ok(truth) = planted.spectrum(&space) else { return Ok(()) };
            let delays = [DelayFamily::Identity, DelayFamily::Nso { repeats: 2 }, DelayFamily::Random { count: 3 }];
            let (b, groups, delays) = (2, 2, delays[kind]);
            let config = DesignConfig { b, groups, subsampling: SubsamplingFamily::Random, delays, seed };
            let design = Arc::new(QueryDesign::new(space, config, &Cancel::new()).unwrap());
            let values = truth.predict(&design.queries(0..design.len())).unwrap();
            let observations = Observations::new(design.clone(), values).unwrap();
            let bins = Bins::new(&observations, 0.0, &Cancel::new()).unwrap();
            for (c, group) in design.groups().iter().enumerate() {
                let mut expected = vec![Complex64::ZERO; bins.groups[c].len()];
                for (k, value) in truth.coefficients() {
                    let j = group.matrix.bin(&k);
                    for p in 0..bins.delays {
                        let products = group.delays.row(p).into_iter().zip(k.to_dense(sizes.len())).zip(&sizes);
                        let turns: f64 =
                            products.map(|((d, k), &q)| f64::from(d) * f64::from(k) / q as f64).sum();
                        expected[j * bins.delays + p] += value * Complex64::cis(std::f64::consts::TAU * turns);
                    }
                    prop_assert_eq!(bins.negated(c, j), group.matrix.bin(&k.negated(design.space().sizes())));
                }
                for (bin, sum) in bins.groups[c].iter().zip(expected) {
                    prop_assert!((bin - sum).norm() < 1e-9);
                }
            }
        }
    }
}
