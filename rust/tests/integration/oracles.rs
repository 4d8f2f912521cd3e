//! Compares explanations and spectra with brute-force forms of their definitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::brute_force::{TOLERANCE, check, random_sequence, sequences};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::design::{Observations, QueryDesign};
use shapsketch::frequency::Frequency;
use shapsketch::peel::PeelingDecoder;
use shapsketch::surrogate::{Basis, ProductTerms, RunTerms, Spectrum, SupportTerms, Truncation};
use shapsketch::{Cancel, Complex64, SequenceSpace};

fn evaluate_spectrum(spectrum: &Spectrum, x: &[u8]) -> f64 {
    let q = spectrum.space().q();
    let term = |(k, value): &(Frequency, Complex64)| {
        let product: usize = k.iter().map(|(i, label)| label as usize * x[i as usize] as usize).sum();
        value * Complex64::from_polar(1.0, std::f64::consts::TAU * (product % q) as f64 / q as f64)
    };
    spectrum.coefficients().iter().map(term).sum::<Complex64>().re
}

fn evaluate_terms(terms: &ProductTerms, x: &[u8]) -> f64 {
    let turn = std::f64::consts::TAU / terms.space.q() as f64;
    let one = |holds: bool| f64::from(u8::from(holds));
    let factor = |label: u16, symbol: u8| match &terms.basis {
        Basis::Characters => Complex64::cis(turn * f64::from(label) * f64::from(symbol)),
        Basis::Letters => one(label == u16::from(symbol)).into(),
        Basis::Centred => (one(label == u16::from(symbol)) - 1.0 / terms.space.q() as f64).into(),
        Basis::Sets(sets) => one(sets[label as usize] >> symbol & 1 == 1).into(),
        Basis::CharactersOf(_) => {
            unreachable!("the characters of letters by position are tested in by_position.rs")
        }
    };
    let mut sum = terms.constant;
    for group in &terms.supports {
        for (labels, c) in group.labels.chunks(group.support.len()).zip(&group.coefficients) {
            let factors = labels.iter().zip(&group.support).map(|(&l, &i)| factor(l, x[i as usize]));
            sum += (c * factors.product::<Complex64>()).re;
        }
    }
    sum
}

fn random_frequency(rng: &mut ChaCha8Rng, q: usize, n: usize, max_order: usize) -> Frequency {
    let order = rng.random_range(1..=max_order.min(n) as u32) as usize;
    let mut dense = vec![0; n];
    for i in rand::seq::index::sample(rng, n, order) {
        dense[i] = rng.random_range(1..q as u32) as u8;
    }
    Frequency::from_dense(&dense)
}

fn random_spectrum(q: usize, n: usize, terms: usize, seed: u64) -> Spectrum {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut value =
        |k: Frequency| (k, Complex64::new(rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)));
    let mut keys = ChaCha8Rng::seed_from_u64(seed + 1);
    let mut all = vec![value(Frequency::default())];
    all.extend((0..terms).map(|_| value(random_frequency(&mut keys, q, n, 4))));
    Spectrum::real_part(SequenceSpace::of_size(q, n).unwrap(), all).unwrap()
}

/// Labels may be zero, so that some characters have a nonzero mean.
fn random_terms(basis: Basis, q: usize, n: usize, terms: usize, seed: u64) -> ProductTerms {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut groups: BTreeMap<Vec<u16>, SupportTerms> = BTreeMap::new();
    for _ in 0..terms {
        let support = random_frequency(&mut rng, q, n, 4).support().to_vec();
        let group = groups.entry(support.clone()).or_default();
        let labels = match &basis {
            Basis::Sets(sets) => sets.len(),
            _ => q,
        };
        group.labels.extend(support.iter().map(|_| rng.random_range(0..labels as u32) as u16));
        group.coefficients.push(Complex64::new(rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)));
        group.support = support;
    }
    let space = SequenceSpace::of_size(q, n).unwrap();
    ProductTerms {
        space,
        basis,
        constant: 0.5,
        supports: groups.into_values().collect(),
        runs: RunTerms::default(),
    }
}

fn shape() -> impl Strategy<Value = (usize, usize)> {
    prop::sample::select(vec![(2, 7), (3, 5), (4, 4), (4, 5), (5, 4), (6, 4), (20, 2), (20, 3)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn characters_equal_brute_force((q, n) in shape(), seed in 0u64..1 << 40, terms in 0usize..25) {
        let spectrum = random_spectrum(q, n, terms, seed);
        check(&spectrum.terms(), &random_sequence(q, n, seed), &|x| evaluate_spectrum(&spectrum, x), seed);
    }

    #[test]
    fn terms_with_means_equal_brute_force(
        (q, n) in shape(), seed in 0u64..1 << 40, terms in 0usize..15, basis in 0usize..4,
    ) {
        let all = (1_u64 << q) - 1;
        let sets: Vec<u64> = (0..2 * q as u64).map(|i| 1 + seed.wrapping_mul(2 * i + 1) % all).collect();
        let bases = [Basis::Letters, Basis::Characters, Basis::Centred, Basis::Sets(sets.into())];
        let basis = bases[basis].clone();
        let terms = random_terms(basis, q, n, terms, seed);
        check(&terms, &random_sequence(q, n, seed), &|x| evaluate_terms(&terms, x), seed);
    }

    #[test]
    fn prediction_of_long_terms_without_tables(seed in 0u64..1 << 40) {
        // Order up to 4 at q = 20: 160,000 words for each support, far more than its terms.
        let spectrum = random_spectrum(20, 30, 25, seed);
        let x = random_sequence(20, 30, seed);
        prop_assert!((spectrum.predict(&x).unwrap()[0] - evaluate_spectrum(&spectrum, &x)).abs() < TOLERANCE);
    }

    #[test]
    fn spectra_are_canonical((q, n) in shape(), seed in 0u64..1 << 40, terms in 0usize..25) {
        let spectrum = random_spectrum(q, n, terms, seed);
        let all = spectrum.coefficients();
        prop_assert!(all.is_sorted_by(|a, b| a.0 < b.0));
        prop_assert_eq!(all.len(), spectrum.len());
        let reversed = all.iter().rev().cloned().collect();
        prop_assert_eq!(&Spectrum::new(spectrum.space().clone(), reversed).unwrap(), &spectrum);
        // If each coefficient is passed as two halves, the halves are added.
        let doubled = all.iter().chain(&all).map(|(k, v)| (k.clone(), v / 2.0)).collect();
        prop_assert_eq!(&Spectrum::new(spectrum.space().clone(), doubled).unwrap(), &spectrum);
        for (k, v) in &all {
            prop_assert_eq!(spectrum.coefficient(k), *v);
            prop_assert_eq!(spectrum.coefficient(&k.negated(q)), v.conj());
        }
    }

    #[test]
    fn order_energy_is_the_variance((q, n) in shape(), seed in 0u64..1 << 40, terms in 0usize..25) {
        let spectrum = random_spectrum(q, n, terms, seed);
        let values: Vec<f64> = sequences(q, n).iter().map(|x| evaluate_spectrum(&spectrum, x)).collect();
        let mean_square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        prop_assert!((spectrum.order_energy().iter().sum::<f64>() - mean_square).abs() < TOLERANCE);
    }

    #[test]
    fn truncation_keeps_the_largest(
        seed in 0u64..1 << 40, most in 0usize..30, order in 0usize..5, fraction in 0.0..1.0f64,
    ) {
        let spectrum = random_spectrum(4, 5, 20, seed);
        let few = spectrum.truncate(Truncation { max_terms: Some(most), ..Default::default() }, &Cancel::new()).unwrap();
        prop_assert!(few.len() <= most && few.len() + 2 > most.min(spectrum.len()));
        let zero = Frequency::default();
        let least = few.coefficients().iter().filter(|(k, _)| *k != zero).map(|(_, v)| v.norm()).fold(9.0, f64::min);
        for (k, v) in spectrum.coefficients() {
            let kept = few.coefficient(&k) != Complex64::ZERO;
            prop_assert!(kept == (few.coefficient(&k.negated(4)) != Complex64::ZERO), "half a pair");
            prop_assert!(kept || k == zero || v.norm() <= least + 1e-15 || few.len() <= 1);
        }
        let low = spectrum.truncate(Truncation { max_order: Some(order), ..Default::default() }, &Cancel::new()).unwrap();
        let expected = spectrum.coefficients().into_iter().filter(|(k, _)| k.order() <= order);
        prop_assert_eq!(low.coefficients(), expected.collect::<Vec<_>>());
        let short = spectrum.truncate(Truncation { energy: Some(fraction), ..Default::default() }, &Cancel::new()).unwrap();
        let energy = |s: &Spectrum| s.order_energy().iter().skip(1).sum::<f64>();
        prop_assert!(energy(&short) >= fraction * energy(&spectrum) - TOLERANCE);
        if let Some((k, v)) = short.coefficients().iter().skip(1).min_by(|a, b| a.1.norm().total_cmp(&b.1.norm())) {
            let pair = if k.is_self_conjugate(4) { 1.0 } else { 2.0 };
            prop_assert!(energy(&short) - pair * v.norm_sqr() < fraction * energy(&spectrum) + TOLERANCE, "too many");
        }
    }

    #[test]
    fn complete_designs_decode_to_the_spectrum((q, n) in shape(), seed in 0u64..1 << 40, terms in 0usize..25) {
        let spectrum = random_spectrum(q, n, terms, seed);
        let design = QueryDesign::complete(spectrum.space().clone(), &Cancel::new()).unwrap();
        let queries = design.queries(0..design.len());
        let design = Arc::new(design);
        // A mean far from zero must not hide the other coefficients.
        for offset in [0.0, 1e12] {
            let values = queries.chunks(n).map(|x| offset + evaluate_spectrum(&spectrum, x)).collect();
            let observations = Observations::new(design.clone(), values).unwrap();
            let decoded = PeelingDecoder::default().decode(&observations, &Cancel::new()).unwrap().spectrum;
            for (k, _) in spectrum.coefficients().into_iter().chain(decoded.coefficients()) {
                let constant = if k.order() == 0 { offset } else { 0.0 };
                let error = (decoded.coefficient(&k) - spectrum.coefficient(&k) - constant).norm();
                prop_assert!(error < TOLERANCE + 1e-15 * offset, "{:?} at {}: {}", k, offset, error);
            }
            prop_assert!(offset > 0.0 || decoded.len() == spectrum.len(), "rounding errors were kept");
        }
    }
}

#[test]
fn a_function_that_is_not_real_is_refused_but_has_a_real_part() {
    let space = SequenceSpace::new("ACGT", 2).unwrap();
    let k = Frequency::from_dense(&[1, 0]);
    let terms = vec![(k.clone(), Complex64::new(1.0, 0.5))];
    let message = Spectrum::new(space.clone(), terms.clone()).unwrap_err().to_string();
    assert!(message.contains("frequency 0") && message.contains("not real"), "{message}");
    let real = Spectrum::real_part(space, terms).unwrap();
    assert_eq!(real.coefficient(&k), Complex64::new(0.5, 0.25));
    assert_eq!(real.coefficient(&k.negated(4)), Complex64::new(0.5, -0.25));
}
