//! Compares explanations and spectra with brute-force forms of their definitions.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::design::{Observations, QueryDesign};
use shapsketch::frequency::Frequency;
use shapsketch::peel::PeelingDecoder;
use shapsketch::surrogate::{Basis, ProductTerms, Spectrum, SupportTerms, Truncation};
use shapsketch::{Background, Cancel, Complex64, Components, Index, SequenceSpace};

/// Largest absolute error, for values of the order of 1.
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
    let factor = |label: u16, symbol: u8| match &terms.basis {
        Basis::Characters => Complex64::cis(turn * f64::from(label) * f64::from(symbol)),
        Basis::Letters => one(label == u16::from(symbol)).into(),
        Basis::Centred => (one(label == u16::from(symbol)) - 1.0 / terms.space.q() as f64).into(),
        Basis::Sets(sets) => one(sets[label as usize] >> symbol & 1 == 1).into(),
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

/// `v_x(T)` for all coalitions `T`, as bit masks. `background` has sequences with their probabilities.
fn game(background: &[(Vec<u8>, f64)], x: &[u8], f: &dyn Fn(&[u8]) -> f64) -> Vec<f64> {
    let n = x.len();
    (0..1_usize << n)
        .map(|mask| {
            let values = background.iter().map(|(y, p)| {
                let mixed: Vec<u8> = (0..n).map(|i| if mask >> i & 1 == 1 { x[i] } else { y[i] }).collect();
                p * f(&mixed)
            });
            values.sum::<f64>()
        })
        .collect()
}

/// Sequences with their probabilities.
type Weighted = Vec<(Vec<u8>, f64)>;

/// Backgrounds of every kind, each also as a list of all its sequences with their probabilities.
fn backgrounds(space: &SequenceSpace, seed: u64) -> Vec<(Background, Weighted)> {
    let (q, n) = (space.q(), space.n());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let all = sequences(q, n);
    let uniform = all.iter().map(|y| (y.clone(), 1.0 / all.len() as f64)).collect();
    let mut chances = Vec::new();
    for _ in 0..n {
        let row: Vec<f64> = (0..q).map(|_| rng.random_range(0.0..1.0_f64).powi(3)).collect();
        chances.extend(row.iter().map(|p| p / row.iter().sum::<f64>()));
    }
    let chance = |y: &[u8]| y.iter().enumerate().map(|(i, &a)| chances[i * q + a as usize]).product::<f64>();
    let product = all.iter().map(|y| (y.clone(), chance(y))).collect();
    let mut listed = |count: usize| {
        let rows: Vec<Vec<u8>> =
            (0..count).map(|_| random_sequence(q, n, rng.random_range(0..1 << 30))).collect();
        let weighted = rows.iter().map(|row| (row.clone(), 1.0 / count as f64)).collect();
        (Background::references(space, &rows.concat()).unwrap(), weighted)
    };
    let (one, three) = (listed(1), listed(3));
    vec![
        (Background::uniform(space), uniform),
        (Background::product(space, chances.clone()).unwrap(), product),
        one,
        three,
    ]
}

/// The discrete derivative of a game with respect to the players of one mask, at the coalition of another mask.
fn derivative(v: &[f64], players: usize, coalition: usize) -> f64 {
    let sign = |t: usize| if (players.count_ones() - t.count_ones()).is_multiple_of(2) { 1.0 } else { -1.0 };
    (0..=players).filter(|t| t & players == *t).map(|t| sign(t) * v[coalition | t]).sum()
}

/// An index that is a weighted average of derivatives, by its definition.
fn averaged(v: &[f64], n: usize, players: usize, weight: &dyn Fn(usize) -> f64) -> f64 {
    (0..1_usize << n)
        .filter(|coalition| coalition & players == 0)
        .map(|coalition| weight(coalition.count_ones() as usize) * derivative(v, players, coalition))
        .sum()
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

fn check(terms: &ProductTerms, x: &[u8], f: &dyn Fn(&[u8]) -> f64, seed: u64) {
    let n = terms.space.n();
    let cancel = Cancel::new();
    let against = Components::new(terms).unwrap();
    for (background, weighted) in backgrounds(&terms.space, seed) {
        let components = Components::with_background(terms, &background, &Cancel::new()).unwrap();
        let v = game(&weighted, x, f);
        assert!((components.base_value() - v[0]).abs() < TOLERANCE);
        assert!((components.predict(x, &cancel).unwrap()[0] - f(x)).abs() < TOLERANCE);
        let values = components.shapley_values(x, &cancel).unwrap();
        for (i, value) in values.iter().enumerate() {
            assert!((value - shapley(&v, n, i)).abs() < TOLERANCE, "Shapley value {i}, {background}");
        }
        assert!((values.iter().sum::<f64>() + components.base_value() - f(x)).abs() < TOLERANCE);
        for index in Index::ALL {
            for most in 1..=n.min(3) {
                let interactions = components.interactions(index, most).unwrap();
                let values = components.values(&interactions, x, &cancel).unwrap();
                check_index(index, most, &v, n, interactions.supports(), &values);
                // If there are few background sequences, they are also passed with the sequence.
                if weighted.len() <= 3 {
                    let rows: Vec<u8> = weighted.iter().flat_map(|(row, _)| row.iter().copied()).collect();
                    let interactions = against.interactions_with_references(index, most).unwrap();
                    let values = against.values_with_references(&interactions, x, &rows, &cancel).unwrap();
                    check_index(index, most, &v, n, interactions.supports(), &values);
                    let same = against.shapley_values_with_references(x, &rows, &cancel).unwrap();
                    for (a, b) in same.iter().zip(components.shapley_values(x, &cancel).unwrap()) {
                        assert!((a - b).abs() < TOLERANCE);
                    }
                }
            }
        }
        check_variances(&components, &weighted, f);
    }
    check_mutations(&against, x, f);
}

/// Interactions against their definitions over all coalitions.
fn check_index(index: Index, most: usize, v: &[f64], n: usize, supports: &[Vec<u16>], values: &[f64]) {
    let mut by_mask: BTreeMap<usize, f64> = BTreeMap::new();
    for (support, value) in supports.iter().zip(values) {
        let mask = support.iter().map(|&i| 1 << i).sum();
        assert!(by_mask.insert(mask, *value).is_none(), "support {support:?} occurs twice");
    }
    let highest = if matches!(index, Index::Sv | Index::Bv) { 1 } else { most };
    let binomial = |n: usize, k: usize| (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product::<f64>();
    for mask in 1_usize..1 << n {
        let value = by_mask.get(&mask).copied().unwrap_or(0.0);
        let s = mask.count_ones() as usize;
        let expected = if s > highest {
            0.0
        } else {
            match index {
                Index::Sv => shapley(v, n, mask.trailing_zeros() as usize),
                Index::Sii => averaged(v, n, mask, &|t| 1.0 / ((n - s + 1) as f64 * binomial(n - s, t))),
                Index::Bv | Index::Bii => averaged(v, n, mask, &|_| 0.5_f64.powi((n - s) as i32)),
                Index::Stii if s == most => {
                    averaged(v, n, mask, &|t| s as f64 / (n as f64 * binomial(n - 1, t)))
                }
                Index::Stii => derivative(v, mask, 0),
                Index::Moebius => moebius(v, mask),
                Index::CoMoebius => derivative(v, mask, ((1 << n) - 1) & !mask),
                // These have no definition by enumeration here; the Python tests compare them with brute force and
                // with another package.
                Index::KSii | Index::Fsii | Index::Fbii => continue,
                other => unreachable!("{other:?} needs a definition here"),
            }
        };
        assert!((value - expected).abs() < TOLERANCE, "{index:?} of order {most}, {mask:b}");
    }
}

fn check_variances(components: &Components, weighted: &[(Vec<u8>, f64)], f: &dyn Fn(&[u8]) -> f64) {
    let cancel = Cancel::new();
    let variances = components.variances(&cancel);
    if !components.background().is_product() {
        assert!(variances.unwrap_err().to_string().contains("product distribution"));
        assert!(components.motifs(3, 3, &cancel).is_err());
        return;
    }
    let mean: f64 = weighted.iter().map(|(y, p)| p * f(y)).sum();
    let variance: f64 = weighted.iter().map(|(y, p)| p * (f(y) - mean).powi(2)).sum();
    assert!((variances.unwrap().iter().sum::<f64>() - variance).abs() < 10.0 * TOLERANCE);
    for motif in components.motifs(3, 3, &cancel).unwrap() {
        let has = |y: &[u8]| motif.support.iter().zip(&motif.letters).all(|(&i, &a)| y[i as usize] == a);
        let chance: f64 = weighted.iter().filter(|(y, _)| has(y)).map(|(_, p)| p).sum();
        let score: f64 = weighted.iter().filter(|(y, _)| has(y)).map(|(y, p)| p * f(y)).sum();
        assert!((motif.frequency - chance).abs() < TOLERANCE);
        assert!(chance * (motif.effect - (score / chance - mean)).abs() < TOLERANCE, "{motif:?}");
    }
}

fn check_mutations(components: &Components, x: &[u8], f: &dyn Fn(&[u8]) -> f64) {
    let (q, n) = (components.space().q(), components.space().n());
    let cancel = Cancel::new();
    let effects = components.mutation_effects(x, &cancel).unwrap();
    let with = |changes: &[(usize, usize)]| {
        let mut y = x.to_vec();
        changes.iter().for_each(|&(i, a)| y[i] = a as u8);
        f(&y)
    };
    for (index, effect) in effects.iter().enumerate() {
        assert!((effect - (with(&[(index / q, index % q)]) - f(x))).abs() < TOLERANCE);
    }
    let pairs = components.pairs(&Cancel::new()).unwrap();
    let epistasis = components.epistasis(x, &cancel).unwrap();
    assert_eq!(epistasis.len(), pairs.len() * q * q);
    for i in 0..n {
        for j in i + 1..n {
            let number = pairs.iter().position(|&pair| pair == [i as u16, j as u16]);
            for (a, b) in [(0, q - 1), (q - 1, 0), (1, 1)] {
                let expected = with(&[(i, a), (j, b)]) - with(&[(i, a)]) - with(&[(j, b)]) + f(x);
                let value = number.map_or(0.0, |number| epistasis[(number * q + a) * q + b]);
                assert!((value - expected).abs() < TOLERANCE);
            }
        }
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
