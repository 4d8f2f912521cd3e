//! Bins against the full complex transform, and against sums over the coefficients that alias.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::design::{DelayFamily, DesignConfig, Observations, SubsamplingFamily};
use crate::space::SequenceSpace;
use crate::synthetic::Planted;
use proptest::prelude::*;

/// A design over positions with these numbers of letters.
fn design_of(sizes: &[usize], b: usize, seed: u64, kind: usize) -> Option<Arc<QueryDesign>> {
    let space = SequenceSpace::of_sizes(sizes).ok()?;
    if sizes.iter().filter(|&&size| size > 1).count() < b {
        return None;
    }
    let delays =
        [DelayFamily::Identity, DelayFamily::Nso { repeats: 2 }, DelayFamily::Random { count: 3 }][kind];
    let config = DesignConfig { b, groups: 2, subsampling: SubsamplingFamily::Random, delays, seed };
    QueryDesign::new(space, config, &Cancel::new()).ok().map(Arc::new)
}

/// The bits of all bins and of their energies.
fn bits(bins: &Bins<'_>) -> Vec<u64> {
    let mut all = Vec::new();
    for c in 0..bins.groups.len() {
        for j in 0..bins.len(c) {
            all.extend(bins.bin(c, j).iter().flat_map(|value| [value.re.to_bits(), value.im.to_bits()]));
            all.push(bins.energy(c, j).to_bits());
        }
    }
    all
}

proptest! {
    #[test]
    fn bins_are_sums_of_the_coefficients_that_alias(
        sizes in prop::collection::vec(1_usize..=21, 3..7), seed in 0_u64..1000, kind in 0_usize..3,
    ) {
        let Some(design) = design_of(&sizes, 2, seed, kind) else { return Ok(()) };
        let planted = Planted { terms: 8, max_order: 2, magnitude: (0.5, 1.5), seed };
        let Ok(truth) = planted.spectrum(design.space()) else { return Ok(()) };
        let mut values = truth.predict(&design.queries(0..design.len())).unwrap();
        let mut rest = Vec::new();
        let bins = Bins::new(design.clone(), &mut values, &mut rest, 0.0, &Cancel::new()).unwrap();
        for (c, group) in design.groups().iter().enumerate() {
            let mut expected = vec![Complex64::ZERO; bins.len(c) * bins.delays];
            for (k, value) in truth.coefficients() {
                let j = group.matrix.bin(&k);
                prop_assert!((0..bins.len(c)).all(|other| group.matrix.has_bin(&k, other) == (other == j)));
                for p in 0..bins.delays {
                    let products = group.delays.row(p).into_iter().zip(k.to_dense(sizes.len())).zip(&sizes);
                    let turns: f64 =
                        products.map(|((d, k), &q)| f64::from(d) * f64::from(k) / q as f64).sum();
                    expected[j * bins.delays + p] += value * Complex64::cis(std::f64::consts::TAU * turns);
                }
                prop_assert_eq!(bins.negated(c, j), group.matrix.bin(&k.negated(design.space().sizes())));
            }
            for (j, expected) in expected.chunks_exact(bins.delays).enumerate() {
                for (value, sum) in bins.bin(c, j).iter().zip(expected) {
                    prop_assert!((value - sum).norm() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn half_of_each_transform_in_the_memory_of_the_values_is_the_full_complex_transform(
        sizes in prop::collection::vec(1_usize..=9, 2..6), b in 1_usize..=3, seed in 0_u64..1000, kind in 0_usize..3,
    ) {
        let Some(design) = design_of(&sizes, b, seed, kind) else { return Ok(()) };
        let mut values: Vec<f64> = (0..design.len()).map(|i| ((i as f64 + 1.0) * 12.9898).sin()).collect();
        let observations = Observations::new(design.clone(), values.clone()).unwrap();
        let mut rest = Vec::new();
        let bins = Bins::new(design.clone(), &mut values, &mut rest, 0.25, &Cancel::new()).unwrap();
        for (c, group) in design.groups().iter().enumerate() {
            let transform = QaryTransform::with_sizes(group.matrix.sizes().iter().copied());
            for p in 0..bins.delays {
                let block = design.block_values(c, p, observations.values());
                let centred: Vec<f64> = block.iter().map(|value| value - 0.25).collect();
                let full = transform.forward(&centred, &Cancel::new()).unwrap();
                for (j, &expected) in full.iter().enumerate() {
                    let value = bins.bin(c, j)[p];
                    prop_assert!((value - expected).norm() < 1e-15);
                    // To the last bit for one bin of each pair, and if real, without a rounding error.
                    match j.cmp(&bins.negated(c, j)) {
                        std::cmp::Ordering::Less => prop_assert_eq!(value, expected),
                        std::cmp::Ordering::Equal => prop_assert_eq!(value, Complex64::from(expected.re)),
                        std::cmp::Ordering::Greater => {
                            prop_assert_eq!(value, full[bins.negated(c, j)].conj());
                        }
                    }
                }
            }
            for j in 0..bins.len(c) {
                prop_assert_eq!(bins.energy(c, j), mean_energy(&bins.bin(c, j)));
            }
        }
    }

    #[test]
    fn subtracted_terms_leave_their_bins_and_restored_bins_have_the_same_bits(
        sizes in prop::collection::vec(1_usize..=7, 3..6), seed in 0_u64..1000, kind in 0_usize..3,
    ) {
        let Some(design) = design_of(&sizes, 2, seed, kind) else { return Ok(()) };
        let planted = Planted { terms: 5, max_order: 2, magnitude: (0.5, 1.5), seed };
        let Ok(truth) = planted.spectrum(design.space()) else { return Ok(()) };
        let mut values = truth.predict(&design.queries(0..design.len())).unwrap();
        let mut rest = Vec::new();
        let mut bins = Bins::new(design.clone(), &mut values, &mut rest, 0.0, &Cancel::new()).unwrap();
        let before = bits(&bins);
        let q = design.space().sizes();
        for (k, value) in truth.coefficients() {
            // A coefficient is subtracted together with its conjugate.
            if k.is_representative(q) {
                bins.subtract(&k, value, |_, _| {});
            }
        }
        prop_assert!(bins.total_energy() < 1e-20);
        for c in 0..bins.groups.len() {
            prop_assert!((0..bins.len(c)).all(|j| bins.bin(c, j).iter().all(|value| value.norm() < 1e-9)));
        }
        bins.restore();
        prop_assert_eq!(bits(&bins), before);
    }
}
