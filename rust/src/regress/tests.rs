//! Compares operators with their definitions, and checks that the folds are independent.

use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bin_domain::BinOperator;
use super::folds::LANES;
use super::gather::GatherOperator;
use super::operator::{AtomId, Column};
use super::solver::Lanes;
use super::*;
use crate::anova::Components;
use crate::design::Observations;
use crate::design::{DelayFamily, DesignConfig, QueryDesign, SubsamplingFamily};
use crate::explain::shapley_standard_errors;
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, SupportTerms, shapley_of_pattern};

/// Largest error relative to the size of the compared numbers, or absolute if the size is below 1.
const TOLERANCE: f64 = 1e-10;

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn dense(column: &Column, rows: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows];
    column.for_each(|row, value| out[row] += value);
    out
}

/// The correlations of all atoms with a residual, one vector for each support.
fn adjoint<O: Operator>(operator: &O, residual: &[f64]) -> Vec<Vec<f64>> {
    let residual: Vec<[f64; 1]> = residual.iter().map(|&r| [r]).collect();
    operator
        .scan(
            &residual,
            &Cancel::new(),
            |_| true,
            |_, cells, out: &mut Vec<Vec<f64>>| out.push(cells.iter().map(|g| g[0]).collect()),
        )
        .unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Checks `<A x, r> = <x, Aᵀ r>`: the left side from columns, the right side from a scan.
fn check_adjoint<O: Operator>(operator: &O, rng: &mut ChaCha8Rng) {
    let rows = operator.values().len();
    let residual = numbers(rng, rows);
    let (mut left, mut right, mut size) = (0.0, 0.0, 0.0);
    for (support, correlations) in adjoint(operator, &residual).iter().enumerate() {
        let x = numbers(rng, correlations.len());
        for (cell, x) in x.iter().enumerate() {
            let column = dense(&operator.column(AtomId::new(support, cell)), rows);
            left += x * dot(&column, &residual);
            size += (x * x * dot(&column, &column)).sqrt();
        }
        right += dot(&x, correlations);
    }
    assert!((left - right).abs() < TOLERANCE * size.max(1.0), "{left} and {right}");
}

fn design(q: usize, n: usize, b: usize, seed: u64) -> Arc<QueryDesign> {
    let config = DesignConfig {
        b,
        groups: 3,
        subsampling: SubsamplingFamily::Random,
        delays: DelayFamily::Random { count: 2 },
        seed,
    };
    let space = SequenceSpace::of_size(q, n).unwrap();
    Arc::new(QueryDesign::new(space, config, &Cancel::new()).unwrap())
}

/// A sample `y = f + noise`, where `f` has pairs and a pattern of four symbols.
fn sample(q: usize, n: usize, rows: usize, seed: u64) -> Sample {
    let space = SequenceSpace::of_size(q, n).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let codes: Vec<u8> = (0..rows * n).map(|_| rng.random_range(0..q as u32) as u8).collect();
    let weights = numbers(&mut rng, n * q);
    let values = codes
        .chunks(n)
        .map(|x| {
            let single: f64 = x.iter().enumerate().map(|(i, &a)| weights[i * q + a as usize]).sum();
            let motif = f64::from(u8::from(x[0] == 0 && x[1] == 1 && x[3] == 1 && x[4] == 0));
            single + 2.0 * f64::from(u8::from(x[1] == x[2])) + 8.0 * motif + rng.random_range(-0.3..0.3)
        })
        .collect();
    Sample::new(space, codes, values).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn scans_are_the_adjoints_of_columns(
        q in 2usize..=6, n in 2usize..=6, order in 1usize..=3, b in 1usize..=2, seed: u64,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let design = design(q, n, b, seed);
        let values = numbers(&mut rng, design.len());
        let dictionary = Dictionary { orders: order.min(n), ..Dictionary::default() };
        let supports = dictionary.list(design.space(), values.len(), 1 << 30).unwrap();
        let codes = design.queries(0..design.len());
        for basis in [Atoms::Letters, Atoms::Characters] {
            check_adjoint(&GatherOperator::new(q, n, basis, &codes, &values, supports.clone()), &mut rng);
        }
        if BinOperator::supports_design(&design) {
            let observations = Observations::new(design.clone(), values.clone()).unwrap();
            let bins = BinOperator::new(&observations, supports.clone(), &Cancel::new()).unwrap();
            check_adjoint(&bins, &mut rng);
            // Both operators are the same map in two orthonormal domains.
            let sequences = GatherOperator::new(q, n, Atoms::Characters, &codes, &values, supports.clone());
            let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < TOLERANCE * 10.0);
            prop_assert!(close(&bins.to_sequences(bins.values()), &values));
            prop_assert!(close(&bins.to_sequences(bins.constant()), &vec![1.0; values.len()]));
            let adjoints = adjoint(&bins, bins.values()).concat();
            prop_assert!(close(&adjoints, &adjoint(&sequences, &values).concat()));
            for (support, positions) in supports.iter().enumerate() {
                let cell = rng.random_range(0..(q - 1).pow(positions.len() as u32));
                let id = AtomId::new(support, cell);
                let in_bins = bins.to_sequences(&dense(&bins.column(id), values.len()));
                prop_assert!(close(&in_bins, &dense(&sequences.column(id), values.len())));
            }
        }
    }

    #[test]
    fn fits_do_not_depend_on_the_values_they_hold_out(seed in 0u64..1000) {
        // If values of fold 0 change, its fit after the same number of steps has the same bits.
        let first = sample(3, 6, 240, seed);
        let mut values = first.values().to_vec();
        let folds: Vec<u8> = (0..240).map(|row| (row * 7 % 4) as u8).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for (value, _) in values.iter_mut().zip(&folds).filter(|(_, fold)| **fold == 0) {
            *value += rng.random_range(-5.0..5.0);
        }
        let supports =
            Dictionary { orders: 2, ..Dictionary::default() }.list(first.space(), 240, 1 << 30).unwrap();
        let factors = PenaltyFactors::default();
        let of_supports: Vec<f64> = supports.iter().map(|s| factors.listed(s)).collect();
        let mut fits = Vec::new();
        for values in [first.values(), &values] {
            let mut operator = GatherOperator::new(3, 6, Atoms::Letters, first.codes(), values, supports.clone());
            let held_out = folds.iter().map(|fold| 1 << fold).collect();
            let mut lanes = [Lanes::<LANES>::new(&operator, held_out)];
            for lambda in [0.3, 0.1, 0.05] {
                lanes[0].screen(&operator, &of_supports, 0.9 * lambda, &Cancel::new()).unwrap();
                lanes[0].descend(lambda, 0.0, 5, &Cancel::new()).unwrap();
                growth::grow(&mut operator, &mut lanes, &factors, lambda, &Cancel::new()).unwrap();
                lanes[0].descend(lambda, 0.0, 5, &Cancel::new()).unwrap();
            }
            let mut atoms: Vec<(Vec<u16>, u32, u64)> = lanes[0]
                .atoms
                .iter()
                .filter(|atom| atom.beta[0] != 0.0)
                .map(|atom| {
                    let support = operator.supports()[atom.id.support as usize].clone();
                    (support, atom.id.cell, atom.beta[0].to_bits())
                })
                .collect();
            atoms.sort();
            fits.push(atoms);
        }
        prop_assert!(fits[0].len() > 3);
        prop_assert_eq!(&fits[0], &fits[1]);
    }

    #[test]
    fn dictionaries_list_as_many_supports_as_they_count(
        n in 1usize..=9, windows in 0usize..=4, orders in 0usize..=3, order in 1usize..=3, span in 1usize..=5,
    ) {
        let space = SequenceSpace::of_size(2, n).unwrap();
        for dictionary in [
            Dictionary { windows, ..Dictionary::default() },
            Dictionary { orders, ..Dictionary::default() },
            Dictionary { gapped: Some((order, span)), ..Dictionary::default() },
        ] {
            let atoms = dictionary.n_atoms(2, n);
            let Ok(listed) = dictionary.list(&space, 10, 1 << 30) else {
                prop_assert_eq!(atoms, 0);
                continue;
            };
            prop_assert_eq!(atoms, listed.iter().map(|s| 1_u128 << s.len()).sum::<u128>());
            if dictionary.gapped.is_some() {
                prop_assert!(listed.iter().all(|s| s.len() <= order && (s[s.len() - 1] - s[0]) < span as u16));
            }
            prop_assert!(listed.iter().collect::<std::collections::HashSet<_>>().len() == listed.len());
        }
    }

    #[test]
    fn shapley_values_of_patterns_are_those_of_their_components(
        q in 2usize..=5, order in 1usize..=4, word in 0u32..1000, row in 0u32..1000,
    ) {
        let space = SequenceSpace::of_size(q, order).unwrap();
        let digits = |mut number: u32| (0..order).map(|_| { let d = number % q as u32; number /= q as u32; d as u8 }).collect();
        let (symbols, row): (Vec<u8>, Vec<u8>) = (digits(word), digits(row));
        let matches = symbols.iter().zip(&row).filter(|(a, b)| a == b).count();
        let support: Vec<u16> = (0..order as u16).collect();
        let group = SupportTerms { support, labels: symbols.iter().map(|&l| u16::from(l)).collect(), coefficients: vec![1.0.into()] };
        let terms = ProductTerms { space, basis: Basis::Letters, constant: 0.0, supports: vec![group] };
        let values = Components::new(&terms).unwrap().shapley_values(&row, &Cancel::new()).unwrap();
        let (matching, other) = shapley_of_pattern(q, order, matches);
        for ((a, b), value) in symbols.iter().zip(&row).zip(&values) {
            let expected = if a == b { matching } else { other };
            prop_assert!((value - expected).abs() < 1e-12);
        }
        // Their standard errors are the same weights times the standard error of the coefficient.
        let variances = Uncertainty { patterns: vec![4.0], positions: vec![0.0; order], constant: 0.0 };
        let errors = shapley_standard_errors(&terms, &variances, &row, &Cancel::new()).unwrap();
        for (error, value) in errors.iter().zip(&values) {
            prop_assert!((error - 2.0 * value.abs()).abs() < 1e-12);
        }
    }
}

#[test]
fn the_final_fit_is_optimal() {
    let sample = sample(4, 7, 900, 3);
    for (basis, growth) in [(Atoms::Letters, Some(2.0)), (Atoms::Characters, None)] {
        let regression = SparseRegression {
            basis: Some(basis),
            penalty_factors: Some(PenaltyFactors { growth, ..PenaltyFactors::default() }),
            lambda: Some(0.02),
            refit: false,
            tolerance: 1e-22,
            ..SparseRegression::default()
        };
        let fitted = regression.fit(&sample, &Cancel::new()).unwrap();
        assert!(fitted.gap.abs() < 1e-9, "{basis:?}: {}", fitted.gap);
        assert!(fitted.r2.value > 0.5 && fitted.lambda == 0.02, "{:?}", fitted.r2);
    }
}

#[test]
fn growth_reaches_patterns_that_the_dictionary_does_not_list() {
    let sample = sample(4, 10, 4000, 5);
    let fitted = SparseRegression {
        dictionary: Some(Dictionary { orders: 2, ..Dictionary::default() }),
        ..SparseRegression::default()
    }
    .fit(&sample, &Cancel::new())
    .unwrap();
    let Surrogate::Terms(terms) = &fitted.surrogate else { panic!("letters") };
    let motif = terms.supports.iter().find(|group| group.support == [0, 1, 3, 4]).unwrap();
    assert!(motif.labels.chunks(4).any(|letters| letters == [0, 1, 1, 0]));
    assert!(fitted.r2.value > 0.95, "{:?}", fitted.r2);
}

#[test]
fn missing_symbols_and_repeated_sequences_are_handled() {
    // Symbols 2 and 3 do not occur at position 1, and every sequence occurs twice with different values.
    let first = sample(4, 5, 600, 8);
    let mut codes = first.codes().to_vec();
    codes.chunks_mut(5).for_each(|row| row[1] %= 2);
    codes.extend(codes.clone());
    let values = first.values().iter().copied().chain(first.values().iter().map(|v| v + 0.1)).collect();
    let sample = Sample::new(first.space().clone(), codes, values).unwrap();
    let fitted = SparseRegression::default().fit(&sample, &Cancel::new()).unwrap();
    assert_eq!(fitted.unseen, [(1, 2), (1, 3)]);
    let terms = fitted.surrogate.terms();
    for group in &terms.supports {
        if let Some(index) = group.support.iter().position(|&i| i == 1) {
            assert!(group.labels.chunks(group.support.len()).all(|symbols| symbols[index] < 2));
        }
    }
    let numbers = sample.sequence_numbers();
    assert_eq!(numbers[..600], numbers[600..]);
}
