//! Spaces whose positions have letters of their own: spectra, designs and peeling equal their definitions.

use std::f64::consts::TAU;
use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::design::{DelayFamily, DesignConfig, Observations, QueryDesign, SubsamplingFamily};
use shapsketch::frequency::Frequency;
use shapsketch::peel::{PeelingDecoder, PeelingStatus};
use shapsketch::sketch::Strategy as Method;
use shapsketch::surrogate::{
    Basis, Keep, ProductTerms, Relation, Run, RunTerm, RunTerms, Spectrum, SupportTerms, Surrogate,
    Truncation,
};
use shapsketch::synthetic::{Planted, add_noise, nmse};
use shapsketch::{Background, Cancel, Complex64, Components, Plan, SequenceSpace, Sketch};

const SYMBOLS: &str = "ABCDEFGHIJKLMNOPQRSTU";
const TOLERANCE: f64 = 1e-9;

/// A space with so many letters at each position, which are not the same ones; `None` if there is one letter in all.
fn space_of(sizes: &[usize]) -> Option<SequenceSpace> {
    let letters = sizes.iter().enumerate().map(|(i, &size)| &SYMBOLS[5 * i % (22 - size)..][..size]);
    SequenceSpace::with_letters(&letters.collect::<Vec<_>>()).ok()
}

/// All sequences, as codes and as numbers of letters, by nested loops.
fn every(space: &SequenceSpace) -> Vec<(Vec<u8>, Vec<u8>)> {
    let letters = space.letters().unwrap_or_else(|| vec![space.alphabet(); space.n()]);
    let alphabet: Vec<char> = space.alphabet().chars().collect();
    let mut rows = vec![(Vec::new(), Vec::new())];
    for own in letters {
        rows = rows
            .into_iter()
            .flat_map(|(codes, digits): (Vec<u8>, Vec<u8>)| {
                let extended = own.chars().enumerate().map(|(digit, letter)| {
                    let code = alphabet.iter().position(|&s| s == letter).unwrap() as u8;
                    ([&codes[..], &[code]].concat(), [&digits[..], &[digit as u8]].concat())
                });
                extended.collect::<Vec<_>>()
            })
            .collect();
    }
    rows
}

/// The character of `k` at a sequence, both as numbers below the sizes.
fn character(sizes: &[usize], k: &[u8], x: &[u8]) -> Complex64 {
    let turns =
        sizes.iter().zip(k.iter().zip(x)).map(|(&q, (&k, &x))| f64::from(k) * f64::from(x) / q as f64);
    Complex64::cis(TAU * turns.sum::<f64>())
}

/// Every coefficient of a function with these values at all sequences.
fn slow_transform(
    sizes: &[usize],
    all: &[(Vec<u8>, Vec<u8>)],
    values: &[f64],
) -> Vec<(Frequency, Complex64)> {
    let coefficient = |k: &[u8]| {
        let terms = all.iter().zip(values).map(|((_, x), &value)| value * character(sizes, k, x).conj());
        terms.sum::<Complex64>() / all.len() as f64
    };
    all.iter().map(|(_, k)| (Frequency::from_dense(k), coefficient(k))).collect()
}

fn random_values(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn small_sizes() -> impl Strategy<Value = Vec<usize>> {
    let sizes = prop::collection::vec(1_usize..=21, 1..6);
    sizes.prop_filter("2 to 300 sequences", |sizes| (2..=300).contains(&sizes.iter().product::<usize>()))
}

fn random_product(space: &SequenceSpace, basis: &Basis, labels: usize, seed: u64) -> ProductTerms {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = space.n();
    let mut supports: Vec<Vec<u16>> = (0..5)
        .map(|_| (0..n as u16).filter(|_| rng.random_range(0..2) == 0).collect())
        .filter(|support: &Vec<u16>| !support.is_empty())
        .collect();
    supports.sort();
    supports.dedup();
    let group = |support: Vec<u16>| {
        let terms = 1 + rng.random_range(0..6_usize);
        let labels = (0..terms * support.len()).map(|_| rng.random_range(0..labels as u32) as u16).collect();
        let coefficients = (0..terms).map(|_| rng.random_range(-1.0..1.0).into()).collect();
        SupportTerms { support, labels, coefficients }
    };
    let supports = supports.into_iter().map(group).collect();
    ProductTerms {
        space: space.clone(),
        basis: basis.clone(),
        constant: 0.5,
        supports,
        runs: RunTerms::default(),
    }
}

fn predict(terms: &ProductTerms, codes: &[u8]) -> Vec<f64> {
    let background = Background::uniform(&terms.space);
    let components = Components::with_background(terms, &background, &Cancel::new()).unwrap();
    components.predict(codes, &Cancel::new()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_exact_transform_is_that_of_the_definition(sizes in small_sizes(), seed in 0u64..1 << 40) {
        let Some(space) = space_of(&sizes) else { return Ok(()) };
        let all = every(&space);
        let design = Arc::new(QueryDesign::complete(space.clone(), &Cancel::new()).unwrap());
        let codes = all.iter().flat_map(|(codes, _)| codes.clone()).collect::<Vec<u8>>();
        prop_assert_eq!(&design.queries(0..usize::MAX), &codes);
        let values = random_values(all.len(), seed);
        let observations = Observations::new(design, values.clone()).unwrap();
        let spectrum = PeelingDecoder::default().decode(&observations, &Cancel::new()).unwrap().spectrum;
        let truth = slow_transform(&sizes, &all, &values);
        for (k, value) in &truth {
            prop_assert!((spectrum.coefficient(k) - value).norm() < TOLERANCE);
        }
        for (predicted, value) in spectrum.predict(&codes).unwrap().iter().zip(&values) {
            prop_assert!((predicted - value).abs() < TOLERANCE);
        }
        let mean_square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        prop_assert!((spectrum.order_energy().iter().sum::<f64>() - mean_square).abs() < TOLERANCE);
        // In any order, and with all frequencies, it is the same spectrum.
        let reversed = spectrum.coefficients().into_iter().rev().collect();
        prop_assert_eq!(&Spectrum::new(space.clone(), reversed).unwrap(), &spectrum);
        let few = Truncation { max_order: Some(1), ..Truncation::default() };
        let few = spectrum.truncate(few, &Cancel::new()).unwrap();
        for (k, value) in spectrum.coefficients() {
            prop_assert_eq!(few.coefficient(&k), if k.order() < 2 { value } else { Complex64::ZERO });
        }
        // The same function as components, and from a file.
        let sum = Surrogate::combine(
            &[(&Surrogate::Spectrum(spectrum.clone()), 2.0)], 1.0, Keep { dropped: 0.0, max_terms: None }, &Cancel::new(),
        );
        for (predicted, value) in predict(&sum.unwrap().terms(), &codes).iter().zip(&values) {
            prop_assert!((predicted - 2.0 * value - 1.0).abs() < TOLERANCE);
        }
        let bytes = Sketch::from(Surrogate::Spectrum(spectrum.clone())).to_bytes().unwrap();
        match Sketch::from_bytes(&bytes).unwrap().surrogate {
            Surrogate::Spectrum(read) => prop_assert_eq!(read, spectrum),
            _ => prop_assert!(false, "a spectrum was written"),
        }
    }

    #[test]
    fn product_terms_become_the_spectrum_of_the_definition(
        sizes in small_sizes(), seed in 0u64..1 << 40, basis in 0usize..4,
    ) {
        let Some(space) = space_of(&sizes) else { return Ok(()) };
        let q = space.q();
        let all_symbols = u64::MAX >> (64 - q);
        let sets: Vec<u64> = (0..2 * q as u64).map(|i| 1 + seed.wrapping_mul(2 * i + 1) % all_symbols).collect();
        let bases = [Basis::Letters, Basis::Centred, Basis::Characters, Basis::Sets(sets.into())];
        let basis = &bases[basis];
        let labels = if let Basis::Sets(sets) = basis { sets.len() } else { q };
        let mut terms = random_product(&space, basis, labels, seed);
        if *basis == Basis::Letters && space.n() > 2 {
            let relation = Relation::named(&space, "equal").unwrap();
            let run = Run { relation: 0, first: 0, second: 1, length: 1, reversed: false };
            let term = RunTerm { runs: vec![run], sets: vec![(2, 3)], coefficient: 0.7 };
            terms.runs = RunTerms::new(&space, vec![relation], vec![term]).unwrap();
        }
        let all = every(&space);
        let codes = all.iter().flat_map(|(codes, _)| codes.clone()).collect::<Vec<u8>>();
        let values = predict(&terms, &codes);
        let spectrum = terms.spectrum().unwrap();
        for (k, value) in slow_transform(&sizes, &all, &values) {
            prop_assert!((spectrum.coefficient(&k) - value).norm() < TOLERANCE);
        }
        for (predicted, value) in spectrum.predict(&codes).unwrap().iter().zip(&values) {
            prop_assert!((predicted - value).abs() < TOLERANCE);
        }
    }

    #[test]
    fn a_design_without_noise_and_collisions_gives_the_exact_spectrum(
        sizes in prop::collection::vec(1usize..=21, 4..9), seed in 0u64..1 << 40, nso: bool,
    ) {
        let Some(space) = space_of(&sizes) else { return Ok(()) };
        let free = sizes.iter().filter(|&&size| size > 1).count();
        prop_assume!(free > 2);
        let planted = Planted { terms: 4, max_order: 2, magnitude: (0.5, 1.5), seed };
        let truth = planted.spectrum(&space).unwrap();
        let delays = if nso { DelayFamily::Nso { repeats: 1 } } else { DelayFamily::Identity };
        let config = DesignConfig { b: 2, groups: 8, subsampling: SubsamplingFamily::Random, delays, seed };
        let design = Arc::new(QueryDesign::new(space, config, &Cancel::new()).unwrap());
        let values = truth.predict(&design.queries(0..design.len())).unwrap();
        let observations = Observations::new(design, values).unwrap();
        let peeling = PeelingDecoder::default().decode(&observations, &Cancel::new()).unwrap();
        let worst = truth.coefficients().iter()
            .map(|(k, value)| (peeling.spectrum.coefficient(k) - value).norm()).fold(0.0, f64::max);
        // Few terms may still share all bins in small spaces; the status says so.
        let exact = worst < TOLERANCE && peeling.spectrum.len() <= truth.len() + 1;
        prop_assert!(exact || peeling.status != PeelingStatus::Converged, "{} {worst}", peeling.spectrum.len());
    }
}

/// `repeats` of positions with 2, 3, 4 and 20 letters.
fn unequal(repeats: usize) -> SequenceSpace {
    space_of(&[2, 3, 4, 20].repeat(repeats)).unwrap()
}

fn decoded(space: &SequenceSpace, terms: usize, noise: f64, delays: DelayFamily, seed: u64) -> (bool, f64) {
    let planted = Planted { terms, max_order: 3, magnitude: (0.5, 1.5), seed };
    let truth = planted.spectrum(space).unwrap();
    let config = DesignConfig { b: 5, groups: 4, subsampling: SubsamplingFamily::Random, delays, seed };
    let design = Arc::new(QueryDesign::new(space.clone(), config, &Cancel::new()).unwrap());
    let mut values = truth.predict(&design.queries(0..design.len())).unwrap();
    add_noise(&mut values, noise, seed);
    let observations = Observations::new(design, values).unwrap();
    let peeling = PeelingDecoder::default().decode(&observations, &Cancel::new()).unwrap();
    let same = truth.coefficients().iter().all(|(k, _)| peeling.spectrum.coefficient(k) != Complex64::ZERO);
    let same = same
        && peeling
            .spectrum
            .coefficients()
            .iter()
            .all(|(k, _)| k.order() == 0 || truth.coefficient(k) != Complex64::ZERO);
    (same, nmse(&peeling.spectrum, &truth))
}

#[test]
fn planted_spectra_of_unequal_alphabets_are_recovered() {
    let space = unequal(4);
    for seed in 0..5 {
        let (same, error) = decoded(&space, 60, 0.0, DelayFamily::Identity, seed);
        assert!(same && error < 1e-16, "noiseless, seed {seed}: {same} {error:e}");
        let (same, error) = decoded(&space, 60, 1.0, DelayFamily::Nso { repeats: 2 }, seed);
        assert!(same && error < 1e-3, "noise, seed {seed}: {same} {error:e}");
    }
}

#[test]
fn a_plan_peels_unequal_alphabets() {
    let space = unequal(3);
    let truth = Planted { terms: 20, max_order: 3, magnitude: (0.5, 1.5), seed: 3 }.spectrum(&space).unwrap();
    for budget in [4_000, 60_000] {
        let plan = Plan::new(space.clone(), budget, Method::Peel, 0).unwrap();
        assert!(plan.total_queries() <= budget);
        let queries = plan.queries(&Cancel::new()).unwrap();
        assert!(queries.len() <= plan.total_queries());
        let codes = queries.batch(0..queries.len());
        let distinct: std::collections::HashSet<&[u8]> = codes.chunks(space.n()).collect();
        assert_eq!(distinct.len(), queries.len());
        let values = truth.predict(&codes).unwrap();
        let sketch = queries.sketch(&values, &Cancel::new()).unwrap();
        assert!(sketch.info.unwrap().r2.value > 1.0 - 1e-9, "budget {budget}");
    }
}

#[test]
fn bad_frequencies_are_refused() {
    let space = SequenceSpace::with_letters(&["AC", "G", "ACT"]).unwrap();
    let message = |k: &[(u16, u8)]| {
        let k: Frequency = k.iter().copied().collect();
        Spectrum::real_part(space.clone(), vec![(k, 1.0.into())]).unwrap_err().to_string()
    };
    assert!(message(&[(0, 2)]).contains("value 2 is not one of 1 to 1"));
    assert!(message(&[(1, 1)]).contains("position 1 has one letter, so its value must be 0"));
    assert!(message(&[(3, 1)]).contains("beyond the sequence length"));
    let k: Frequency = [(2, 1)].into_iter().collect();
    let error = Spectrum::new(space.clone(), vec![(k.clone(), 1.0.into())]).unwrap_err().to_string();
    assert!(error.contains("conj"), "{error}");
    assert_eq!(k.negated(space.sizes()), [(2, 2)].into_iter().collect());
    let spectrum = Spectrum::real_part(space, vec![(k, 1.0.into())]).unwrap();
    assert_eq!(spectrum.coefficient(&[(7, 1)].into_iter().collect()), Complex64::ZERO);
}
