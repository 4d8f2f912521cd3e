//! Compares operators with their definitions, and checks that the folds are independent.

use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bin_domain::BinOperator;
use super::columns::Column;
use super::folds::LANES;
use super::gather::GatherOperator;
use super::operator::AtomId;
use super::solver::Lanes;
use super::*;
use crate::anova::Components;
use crate::design::Observations;
use crate::design::{DelayFamily, DesignConfig, QueryDesign, SubsamplingFamily};
use crate::explain::shapley_standard_errors;
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, Relation, RunTerms, SupportTerms, shapley_of_pattern};

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

/// Cells of the atoms that may be selected and their correlations with a residual, one vector for each support.
fn adjoint<O: Operator>(operator: &O, residual: &[f64]) -> Vec<Vec<(usize, f64)>> {
    let residual: Vec<[f64; 1]> = residual.iter().map(|&r| [r]).collect();
    operator
        .scan(
            &residual,
            &Cancel::new(),
            |_| true,
            |_, atoms, out: &mut Vec<_>| {
                out.push(atoms.iter().map(|(cell, _, sum)| (cell, sum[0])).collect());
            },
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
        for (x, &(cell, correlation)) in x.iter().zip(correlations) {
            let column = dense(&operator.column(AtomId::new(support, cell)), rows);
            left += x * dot(&column, &residual);
            size += (x * x * dot(&column, &column)).sqrt();
            right += x * correlation;
        }
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
            let weights: Vec<f64> = values.iter().map(|v| 1.5 + v).collect();
            for weights in [None, Some(&weights[..])] {
                let operator = GatherOperator::new((q, n), basis, &codes, &values, weights, supports.clone());
                check_adjoint(&operator, &mut rng);
            }
        }
        if BinOperator::supports_design(&design) {
            let observations = Observations::new(design.clone(), values.clone()).unwrap();
            let bins = BinOperator::new(&observations, supports.clone(), &Cancel::new()).unwrap();
            check_adjoint(&bins, &mut rng);
            // Both operators are the same map in two orthonormal domains.
            let sequences = GatherOperator::new((q, n), Atoms::Characters, &codes, &values, None, supports.clone());
            let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < TOLERANCE * 10.0);
            prop_assert!(close(&bins.to_sequences(bins.values()), &values));
            prop_assert!(close(&bins.to_sequences(bins.constant()), &vec![1.0; values.len()]));
            let sums = |atoms: Vec<(usize, f64)>| atoms.into_iter().map(|(_, sum)| sum).collect::<Vec<_>>();
            let in_bins = sums(adjoint(&bins, bins.values()).concat());
            prop_assert!(close(&in_bins, &sums(adjoint(&sequences, &values).concat())));
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
        let factors = PenaltyFactors { runs: Some(1.0), ..PenaltyFactors::default() };
        let kinds = [RunKind { relation: Relation::equal(first.space()), reversed: false }];
        let mut fits = Vec::new();
        for values in [first.values(), &values] {
            let mut operator = GatherOperator::new((3, 6), Atoms::Letters, first.codes(), values, None, supports.clone()).with_runs(&kinds);
            let of_supports = operator.factors(&factors);
            let held_out = folds.iter().map(|fold| 1 << fold).collect();
            let mut lanes = [Lanes::<LANES>::new(&operator, held_out, Vec::new())];
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
        let terms = ProductTerms { space, basis: Basis::Letters, constant: 0.0, supports: vec![group], runs: RunTerms::default() };
        let values = Components::new(&terms).unwrap().shapley_values(&row, &Cancel::new()).unwrap();
        let (matching, other) = shapley_of_pattern(q, order, matches);
        for ((a, b), value) in symbols.iter().zip(&row).zip(&values) {
            let expected = if a == b { matching } else { other };
            prop_assert!((value - expected).abs() < 1e-12);
        }
        // Their standard errors are the same weights times the standard error of the coefficient.
        let variances = Uncertainty { patterns: vec![4.0], positions: vec![0.0; order], ..Uncertainty::default() };
        let errors = shapley_standard_errors(&terms, &variances, &row, &Cancel::new()).unwrap();
        for (error, value) in errors.iter().zip(&values) {
            prop_assert!((error - 2.0 * value.abs()).abs() < 1e-12);
        }
    }
}

#[test]
fn pairs_that_cannot_be_listed_are_screened() {
    let space = |n: usize| SequenceSpace::of_size(2, n).unwrap();
    assert_eq!(Dictionary::auto(&space(90), 900), Dictionary { orders: 2, ..Dictionary::default() });
    let many = Dictionary { orders: 1, windows: 4, screened: 4096, ..Dictionary::default() };
    assert_eq!(Dictionary::auto(&space(91), 900), many);
    assert_eq!(Dictionary::auto(&space(2000), 900), many);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let codes: Vec<u8> = (0..400 * 60).map(|_| rng.random_range(0..2_u32) as u8).collect();
    let value = |x: &[u8]| f64::from(x[3] * x[40]) + 0.5 * f64::from(x[11] * x[52]) - f64::from(x[3] * x[7]);
    let sample = Sample::new(space(60), codes.clone(), codes.chunks(60).map(value).collect()).unwrap();
    let dictionary = Dictionary { orders: 1, screened: 50, ..Dictionary::default() };
    let regression = SparseRegression {
        dictionary: Some(dictionary),
        relations: Some(Vec::new()),
        ..SparseRegression::default()
    };
    let fitted = regression.fit(&sample, &Cancel::new()).unwrap();
    assert!(fitted.r2.value > 0.99, "{:?}", fitted.r2);
    assert_eq!(fitted.n_atoms, 60 * 2 + 50 * 4);
}

#[test]
fn what_is_refused_for_any_values_is_refused_before_there_are_values() {
    let data = sample(4, 40, 60, 0);
    let relation = Relation::equal(data.space());
    let kind = RunKind { relation, reversed: false };
    let valid = SparseRegression { relations: Some(Vec::new()), ..SparseRegression::default() };
    let wrong = [
        SparseRegression {
            dictionary: Some(Dictionary { orders: 20, ..Dictionary::default() }),
            ..valid.clone()
        },
        SparseRegression { dictionary: Some(Dictionary::default()), ..valid.clone() },
        SparseRegression { relations: Some(vec![kind]), memory: 200_000, ..valid.clone() },
        SparseRegression { lambda: Some(-1.0), ..valid.clone() },
    ];
    for regression in wrong {
        let early = regression.check_size(data.space(), 60).unwrap_err();
        let late = regression.fit(&data, &Cancel::new()).unwrap_err();
        assert_eq!(early.to_string(), late.to_string());
    }
    valid.check_size(data.space(), 60).unwrap();
}

#[test]
fn the_final_fit_is_optimal() {
    let sample = sample(4, 7, 900, 3);
    let repeats = RunKind { relation: Relation::equal(sample.space()), reversed: false };
    for (basis, growth) in [(Atoms::Letters, Some(2.0)), (Atoms::Characters, None)] {
        let regression = SparseRegression {
            relations: Some(vec![repeats.clone()]),
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
    let distinct = sample.distinct(None);
    assert_eq!(distinct.rows[..600], distinct.rows[600..]);
    assert_eq!(fitted.r2.count, distinct.values.len());
}

#[test]
fn a_weight_of_two_is_a_second_copy() {
    let first = sample(3, 6, 400, 2);
    let n = first.space().n();
    let twice = |row: usize| row.is_multiple_of(3);
    let weights = (0..400).map(|row| if twice(row) { 2.0 } else { 1.0 }).collect();
    let copied: Vec<usize> = (0..400).chain((0..400).filter(|&row| twice(row))).collect();
    let codes = copied.iter().flat_map(|&row| &first.codes()[row * n..][..n]).copied().collect();
    let values = copied.iter().map(|&row| first.values()[row]).collect();
    let copies = Sample::new(first.space().clone(), codes, values).unwrap();
    let fit = |sample: &Sample| SparseRegression::default().fit(sample, &Cancel::new()).unwrap();
    let (weighted, copied) = (fit(&first.with_weights(weights).unwrap()), fit(&copies));
    for (a, b) in [(weighted.r2.value, copied.r2.value), (weighted.r2.low, copied.r2.low)] {
        assert!(a == b || (a - b).abs() < 1e-9, "{a} {b}");
    }
    let terms = |regression: &Regression| {
        regression
            .surrogate
            .terms()
            .iter()
            .map(|(s, l, c)| (s.to_vec(), l.to_vec(), c.re))
            .collect::<Vec<_>>()
    };
    for (a, b) in terms(&weighted).iter().zip(&terms(&copied)) {
        assert!(a.0 == b.0 && a.1 == b.1 && (a.2 - b.2).abs() < 1e-9, "{a:?} {b:?}");
    }
    let (a, b) = (weighted.uncertainty.unwrap(), copied.uncertainty.unwrap());
    assert!(a.patterns.iter().zip(&b.patterns).all(|(a, b)| (a - b).abs() < 1e-9 * b));
}

#[test]
fn copies_do_not_change_intervals_and_standard_errors() {
    // Without noise, six copies of a sequence tell no more than one.
    let once = sample(3, 6, 400, 4);
    let codes = once.codes().repeat(6);
    let copies = Sample::new(once.space().clone(), codes, once.values().repeat(6)).unwrap();
    let fit = |sample: &Sample| SparseRegression::default().fit(sample, &Cancel::new()).unwrap();
    let (once, copies) = (fit(&once), fit(&copies));
    assert_eq!(once.r2.count, copies.r2.count);
    for (a, b) in [(once.r2.low, copies.r2.low), (once.r2.high, copies.r2.high)] {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
    let (a, b) = (once.uncertainty.unwrap(), copies.uncertainty.unwrap());
    assert!(a.positions.iter().zip(&b.positions).all(|(a, b)| (a - b).abs() < 1e-9 * b.max(1e-9)));
}

#[test]
fn a_pattern_in_fewer_than_three_rows_is_not_selected() {
    let mut values = numbers(&mut ChaCha8Rng::seed_from_u64(1), 300);
    let noise = sample(4, 8, 300, 1);
    values[17] = 300.0;
    let outlier = Sample::new(noise.space().clone(), noise.codes().to_vec(), values).unwrap();
    let fitted = SparseRegression::default().fit(&outlier, &Cancel::new()).unwrap();
    let rows = |support: &[u16], symbols: &[u16]| {
        let matches =
            |row: &&[u8]| support.iter().zip(symbols).all(|(&i, &a)| u16::from(row[i as usize]) == a);
        noise.codes().chunks(8).filter(matches).count()
    };
    for (support, symbols, coefficient) in fitted.surrogate.terms().iter() {
        assert!(support.len() < 2 || rows(support, symbols) >= 3, "{support:?} {symbols:?} {coefficient}");
    }
    // One value carries the variance, so nothing is known about R².
    assert!(fitted.r2.low == f64::NEG_INFINITY && fitted.r2.high == 1.0, "{:?}", fitted.r2);
    assert!(fitted.r2.is_carried_by_few());
}

#[test]
fn hubers_loss_ignores_an_outlier() {
    let clean = sample(4, 8, 500, 6);
    let mut values = clean.values().to_vec();
    values[17] += 1e4;
    let wrong = Sample::new(clean.space().clone(), clean.codes().to_vec(), values).unwrap();
    let huber = SparseRegression { loss: Loss::Huber, ..SparseRegression::default() };
    let error = |regression: &SparseRegression| {
        let fitted = regression.fit(&wrong, &Cancel::new()).unwrap();
        let fresh = sample(4, 8, 500, 6);
        let components = Components::new(&fitted.surrogate.terms()).unwrap();
        let predictions = components.predict(fresh.codes(), &Cancel::new()).unwrap();
        RSquared::new(fresh.values(), &predictions).unwrap().value
    };
    assert!(error(&huber) > 0.95, "{}", error(&huber));
    assert!(error(&SparseRegression::default()) < 0.5);
}

#[test]
fn dependent_positions_are_found() {
    let independent = sample(4, 8, 2000, 7);
    assert_eq!(dependent_positions(independent.space(), independent.codes(), &Cancel::new()).unwrap(), []);
    let mut codes = independent.codes().to_vec();
    codes.chunks_mut(8).for_each(|row| row[7] = 3 - row[0]);
    let dependent = Sample::new(independent.space().clone(), codes, independent.values().to_vec()).unwrap();
    let fitted = SparseRegression::default().fit(&dependent, &Cancel::new()).unwrap();
    assert_eq!(fitted.dependent, [(0, 7)]);
    assert!(fitted.uncertainty.is_none());
}

#[test]
fn a_large_offset_changes_neither_the_fit_nor_the_interval() {
    let plain = sample(3, 6, 400, 9);
    let fit = |offset: f64| {
        let values = plain.values().iter().map(|v| v + offset).collect();
        let sample = Sample::new(plain.space().clone(), plain.codes().to_vec(), values)?;
        SparseRegression::default().fit(&sample, &Cancel::new())
    };
    let (without, with) = (fit(0.0).unwrap(), fit(1e12).unwrap());
    for (a, b) in
        [(without.r2.low, with.r2.low), (without.r2.value, with.r2.value), (without.r2.high, with.r2.high)]
    {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    let constant = |regression: &Regression| regression.surrogate.terms().constant;
    assert!((constant(&with) - constant(&without) - 1e12).abs() < 0.1);
    let message = fit(1e17).unwrap_err().to_string();
    assert!(message.contains("differ by rounding only"), "{message}");
}
