//! Explanations and spectra against the brute-force forms of their definitions.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::{
    Basis, Cancel, Complex64, Components, Frequency, Observations, PeelingDecoder, ProductTerms, QueryDesign,
    SequenceSpace, Spectrum, SupportTerms, Truncation,
};

const TOLERANCE: f64 = 1e-10;

fn sequences(q: usize, n: usize) -> Vec<Vec<u8>> {
    (0..q.pow(n as u32))
        .map(|index| (0..n).map(|i| (index / q.pow((n - 1 - i) as u32) % q) as u8).collect())
        .collect()
}

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
    let factor = |label: u16, letter: u8| match &terms.basis {
        Basis::Characters => Complex64::cis(turn * f64::from(label) * f64::from(letter)),
        Basis::Letters => one(label == u16::from(letter)).into(),
        Basis::Centred => (one(label == u16::from(letter)) - 1.0 / terms.space.q() as f64).into(),
        Basis::Sets(sets) => one(sets[label as usize] >> letter & 1 == 1).into(),
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

/// `v_x(T)` for all coalitions `T`, as bit masks.
fn game(q: usize, x: &[u8], f: &dyn Fn(&[u8]) -> f64) -> Vec<f64> {
    let n = x.len();
    let all = sequences(q, n);
    (0..1_usize << n)
        .map(|mask| {
            let values = all.iter().map(|y| {
                let mixed: Vec<u8> = (0..n).map(|i| if mask >> i & 1 == 1 { x[i] } else { y[i] }).collect();
                f(&mixed)
            });
            values.sum::<f64>() / all.len() as f64
        })
        .collect()
}

fn moebius(v: &[f64], mask: usize) -> f64 {
    let sign = |t: usize| if (mask.count_ones() - t.count_ones()).is_multiple_of(2) { 1.0 } else { -1.0 };
    (0..=mask).filter(|t| t & mask == *t).map(|t| sign(t) * v[t]).sum()
}

fn shapley(v: &[f64], n: usize, i: usize) -> f64 {
    let factorial = |m: usize| (1..=m).map(|k| k as f64).product::<f64>();
    (0..1_usize << n)
        .filter(|mask| mask >> i & 1 == 0)
        .map(|mask| {
            let size = mask.count_ones() as usize;
            factorial(size) * factorial(n - size - 1) / factorial(n) * (v[mask | 1 << i] - v[mask])
        })
        .sum()
}

fn check(terms: &ProductTerms, x: &[u8], f: &dyn Fn(&[u8]) -> f64) {
    let (q, n) = (terms.space.q(), terms.space.n());
    let cancel = Cancel::new();
    let components = Components::new(terms).unwrap();
    let v = game(q, x, f);
    assert!((components.base_value() - v[0]).abs() < TOLERANCE);
    assert!((components.predict(x, &cancel).unwrap()[0] - f(x)).abs() < TOLERANCE);
    let values = components.shapley_values(x, &cancel).unwrap();
    for (i, value) in values.iter().enumerate() {
        assert!((value - shapley(&v, n, i)).abs() < TOLERANCE, "Shapley value {i}");
    }
    assert!((values.iter().sum::<f64>() + components.base_value() - f(x)).abs() < TOLERANCE);
    let mut found: BTreeMap<usize, f64> = BTreeMap::new();
    for (support, value) in components.supports().unwrap().iter().zip(components.moebius(x, &cancel).unwrap())
    {
        let mask = support.iter().map(|&i| 1 << i).sum();
        assert!(found.insert(mask, value).is_none(), "support {support:?} stands twice");
    }
    for mask in 1..1 << n {
        let value = found.get(&mask).copied().unwrap_or(0.0);
        assert!((value - moebius(&v, mask)).abs() < TOLERANCE, "interaction {mask:b}");
    }
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

/// Labels may be zero, so that characters have means other than zero as well.
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
    ProductTerms { space, basis, constant: 0.5, supports: groups.into_values().collect() }
}

fn random_sequence(q: usize, n: usize, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(0..q as u32) as u8).collect()
}

fn shape() -> impl Strategy<Value = (usize, usize)> {
    prop::sample::select(vec![(2, 7), (3, 5), (4, 4), (4, 5), (5, 4), (6, 4), (20, 2), (20, 3)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn characters_equal_brute_force((q, n) in shape(), seed in 0u64..1 << 40, terms in 0usize..25) {
        let spectrum = random_spectrum(q, n, terms, seed);
        check(&spectrum.terms(), &random_sequence(q, n, seed), &|x| evaluate_spectrum(&spectrum, x));
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
        check(&terms, &random_sequence(q, n, seed), &|x| evaluate_terms(&terms, x));
    }

    #[test]
    fn prediction_of_long_terms_without_tables(seed in 0u64..1 << 40) {
        // Order up to 4 at q = 20: 160,000 letters a support, far more than its terms.
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
        // Given in two halves, repeated frequencies add up.
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
        seed in 0u64..1 << 40, most in 0usize..30, order in 0usize..5, share in 0.0..1.0f64,
    ) {
        let spectrum = random_spectrum(4, 5, 20, seed);
        let few = spectrum.truncate(Truncation { max_terms: Some(most), ..Default::default() }).unwrap();
        prop_assert!(few.len() <= most && few.len() + 2 > most.min(spectrum.len()));
        let zero = Frequency::default();
        let least = few.coefficients().iter().filter(|(k, _)| *k != zero).map(|(_, v)| v.norm()).fold(9.0, f64::min);
        for (k, v) in spectrum.coefficients() {
            let kept = few.coefficient(&k) != Complex64::ZERO;
            prop_assert!(kept == (few.coefficient(&k.negated(4)) != Complex64::ZERO), "half a pair");
            prop_assert!(kept || k == zero || v.norm() <= least + 1e-15 || few.len() <= 1);
        }
        let low = spectrum.truncate(Truncation { max_order: Some(order), ..Default::default() }).unwrap();
        let expected = spectrum.coefficients().into_iter().filter(|(k, _)| k.order() <= order);
        prop_assert_eq!(low.coefficients(), expected.collect::<Vec<_>>());
        let part = spectrum.truncate(Truncation { energy: Some(share), ..Default::default() }).unwrap();
        let energy = |s: &Spectrum| s.order_energy().iter().skip(1).sum::<f64>();
        prop_assert!(energy(&part) >= share * energy(&spectrum) - TOLERANCE);
        if let Some((k, v)) = part.coefficients().iter().skip(1).min_by(|a, b| a.1.norm().total_cmp(&b.1.norm())) {
            let pair = if k.is_self_conjugate(4) { 1.0 } else { 2.0 };
            prop_assert!(energy(&part) - pair * v.norm_sqr() < share * energy(&spectrum) + TOLERANCE, "too many");
        }
    }

    #[test]
    fn complete_designs_give_back_the_spectrum((q, n) in shape(), seed in 0u64..1 << 40, terms in 0usize..25) {
        let spectrum = random_spectrum(q, n, terms, seed);
        let design = QueryDesign::complete(spectrum.space().clone(), &Cancel::new()).unwrap();
        let queries = design.queries(0..design.len());
        let design = Arc::new(design);
        // A mean far from zero must not hide the other coefficients.
        for offset in [0.0, 1e12] {
            let values = queries.chunks(n).map(|x| offset + evaluate_spectrum(&spectrum, x)).collect();
            let observations = Observations::new(design.clone(), values).unwrap();
            let found = PeelingDecoder::default().decode(&observations, &Cancel::new()).unwrap().spectrum;
            for (k, _) in spectrum.coefficients().into_iter().chain(found.coefficients()) {
                let constant = if k.order() == 0 { offset } else { 0.0 };
                let error = (found.coefficient(&k) - spectrum.coefficient(&k) - constant).norm();
                prop_assert!(error < TOLERANCE + 1e-15 * offset, "{:?} at {}: {}", k, offset, error);
            }
            prop_assert!(offset > 0.0 || found.len() == spectrum.len(), "rounding errors were kept");
        }
    }
}

#[test]
fn a_function_that_is_not_real_is_refused_or_its_real_part_taken() {
    let space = SequenceSpace::new("ACGT", 2).unwrap();
    let k = Frequency::from_dense(&[1, 0]);
    let terms = vec![(k.clone(), Complex64::new(1.0, 0.5))];
    let message = Spectrum::new(space.clone(), terms.clone()).unwrap_err().to_string();
    assert!(message.contains("frequency 0") && message.contains("not real"), "{message}");
    let real = Spectrum::real_part(space, terms).unwrap();
    assert_eq!(real.coefficient(&k), Complex64::new(0.5, 0.25));
    assert_eq!(real.coefficient(&k.negated(4)), Complex64::new(0.5, -0.25));
}
