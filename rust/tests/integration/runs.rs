//! Terms with runs, compared with brute-force forms of their definitions.

use std::collections::{BTreeMap, BTreeSet};

use super::brute_force::{TOLERANCE, backgrounds, check, random_sequence, sequences};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::surrogate::{
    Basis, Keep, ProductTerms, Relation, Run, RunTerm, RunTerms, SupportTerms, Surrogate,
};
use shapsketch::{Cancel, Components, Index, SequenceSpace, Sketch};

fn value(terms: &ProductTerms, x: &[u8]) -> f64 {
    let mut sum = terms.constant;
    for group in &terms.supports {
        for (labels, c) in group.labels.chunks(group.support.len()).zip(&group.coefficients) {
            let matches = labels.iter().zip(&group.support).all(|(&l, &i)| l == u16::from(x[i as usize]));
            sum += if matches { c.re } else { 0.0 };
        }
    }
    for term in &terms.runs.terms {
        let related = term.runs.iter().all(|run| {
            let rows = terms.runs.relations[run.relation as usize].rows();
            (0..run.length).all(|k| {
                let j = if run.reversed { run.second - k } else { run.second + k };
                rows[x[(run.first + k) as usize] as usize] >> x[j as usize] & 1 == 1
            })
        });
        let inside = term.sets.iter().all(|&(i, set)| set >> x[i as usize] & 1 == 1);
        sum += if related && inside { term.coefficient } else { 0.0 };
    }
    sum
}

/// Runs, and sets of symbols at positions.
type Conjunction = (Vec<Run>, Vec<(u16, u64)>);

/// Letter patterns, and conjunctions of one or two runs and sets of symbols. Runs may overlap.
fn random_terms(q: usize, n: usize, count: usize, seed: u64) -> ProductTerms {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let alphabet = if q == 4 { "ACGT" } else { &"0123456789"[..q] };
    let space = SequenceSpace::new(alphabet, n).unwrap();
    let mut relations = vec![Relation::equal(&space)];
    if q == 4 {
        relations.extend([Relation::complement(&space).unwrap(), Relation::wobble(&space).unwrap()]);
    }
    let mut rows = vec![0_u64; q];
    for (a, b) in (0..q).flat_map(|a| (0..=a).map(move |b| (a, b))) {
        if (a, b) == (0, 0) || rng.random_range(0..2) == 0 {
            rows[a] |= 1 << b;
            rows[b] |= 1 << a;
        }
    }
    relations.push(Relation::new(&space, "similar", rows).unwrap());
    let mut all: BTreeMap<Conjunction, f64> = BTreeMap::new();
    while all.len() < count {
        let mut draw = |below: usize| rng.random_range(0..below as u64) as u16;
        let mut runs = Vec::new();
        for _ in 0..1 + draw(2) {
            let [relation, first, second, length] = [draw(relations.len()), draw(n), draw(n), 1 + draw(3)];
            runs.push(Run { relation, first, second, length, reversed: draw(2) == 0 });
        }
        if runs.iter().any(|run| !run.fits(n)) {
            continue;
        }
        let mut sets = BTreeMap::new();
        for _ in 0..draw(3) {
            sets.insert(draw(n), u64::from(1 + draw((1 << q) - 1)));
        }
        runs.sort_unstable();
        runs.dedup();
        let coefficient = f64::from(draw(2000)) / 1000.0 - 1.0;
        all.insert((runs, sets.into_iter().collect()), coefficient);
    }
    let terms =
        all.into_iter().map(|((runs, sets), coefficient)| RunTerm { runs, sets, coefficient }).collect();
    let supports = vec![
        SupportTerms { support: vec![1], labels: vec![0, 1], coefficients: vec![0.5.into(), (-0.25).into()] },
        SupportTerms { support: vec![0, 2], labels: vec![1, 1], coefficients: vec![0.75.into()] },
    ];
    let runs = RunTerms { relations, terms };
    ProductTerms { space, basis: Basis::Letters, constant: 0.5, supports, runs }
}

fn shape() -> impl Strategy<Value = (usize, usize)> {
    prop::sample::select(vec![(2, 7), (3, 5), (4, 4), (4, 5)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn explanations_equal_brute_force((q, n) in shape(), seed in 0u64..1 << 40, count in 1_usize..6) {
        let terms = random_terms(q, n, count, seed);
        check(&terms, &random_sequence(q, n, seed), &|x| value(&terms, x), seed);
    }

    #[test]
    fn every_index_is_that_of_the_spectrum((q, n) in shape(), seed in 0u64..1 << 40, count in 1_usize..4) {
        let terms = random_terms(q, n, count, seed);
        let spectrum = terms.spectrum().unwrap().terms();
        let (x, cancel) = (random_sequence(q, n, seed), Cancel::new());
        for (background, _) in backgrounds(&terms.space, seed) {
            let [by_runs, listed] = [&terms, &spectrum]
                .map(|terms| Components::with_background(terms, &background, &cancel).unwrap());
            for (index, most) in Index::ALL.into_iter().flat_map(|index| [1, 2, n].map(|most| (index, most))) {
                let [values, expected] = [&by_runs, &listed].map(|components| {
                    let interactions = components.interactions(index, most).unwrap();
                    let values = components.values(&interactions, &x, &cancel).unwrap();
                    interactions.supports().to_vec().into_iter().zip(values).collect::<BTreeMap<_, _>>()
                });
                let supports: BTreeSet<&Vec<u16>> = values.keys().chain(expected.keys()).collect();
                for support in supports {
                    let [a, b] = [&values, &expected].map(|map| map.get(support).copied().unwrap_or(0.0));
                    prop_assert!((a - b).abs() < TOLERANCE, "{index:?} of order {most}, {support:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn spectra_and_sums_are_the_same_function((q, n) in shape(), seed in 0u64..1 << 40, count in 1_usize..6) {
        let (terms, other) = (random_terms(q, n, count, seed), random_terms(q, n, count, seed + 1));
        let all = sequences(q, n).concat();
        let spectrum = terms.spectrum().unwrap().predict(&all).unwrap();
        let parts = [Surrogate::Terms(terms.clone()), Surrogate::Terms(other.clone())];
        let keep = Keep { dropped: 0.0, max_terms: None };
        let sum = Surrogate::combine(&[(&parts[0], 2.0), (&parts[1], -0.5)], 3.0, keep, &Cancel::new()).unwrap();
        let sums = Components::new(&sum.terms()).unwrap().predict(&all, &Cancel::new()).unwrap();
        for (x, (by_spectrum, sum)) in all.chunks(n).zip(spectrum.iter().zip(sums)) {
            prop_assert!((by_spectrum - value(&terms, x)).abs() < TOLERANCE);
            prop_assert!((sum - (2.0 * value(&terms, x) - 0.5 * value(&other, x) + 3.0)).abs() < TOLERANCE);
        }
        let few = Keep { dropped: 0.0, max_terms: Some(3) };
        let few = Surrogate::combine(&[(&parts[0], 1.0)], 0.0, few, &Cancel::new()).unwrap();
        prop_assert!(few.len() <= 3);
    }

    #[test]
    fn files_hold_the_terms((q, n) in shape(), seed in 0u64..1 << 40, count in 1_usize..6) {
        let terms = random_terms(q, n, count, seed);
        let bytes = Sketch::from(Surrogate::Terms(terms.clone())).to_bytes().unwrap();
        let loaded = Sketch::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&loaded.to_bytes().unwrap(), &bytes);
        let loaded = loaded.surrogate.terms();
        prop_assert_eq!(&loaded.runs, &terms.runs);
        prop_assert_eq!(&loaded.supports, &terms.supports);
        // Whatever byte is damaged, an error says so.
        let mut damaged = bytes.clone();
        damaged[seed as usize % bytes.len()] ^= 1 << (seed % 8);
        prop_assert!(Sketch::from_bytes(&damaged).is_err());
    }
}

#[test]
fn long_stems_have_the_values_of_their_pairs() {
    // With independent pairs of equal chance, each pair of a stem of L pairs has an equal part of c (1 - 4^-L).
    let (n, length) = (200, 40_u16);
    let space = SequenceSpace::new("ACGU", n).unwrap();
    let run = Run { relation: 0, first: 10, second: 150, length, reversed: true };
    let terms = vec![RunTerm { runs: vec![run], sets: Vec::new(), coefficient: 2.0 }];
    let runs = RunTerms { relations: vec![Relation::complement(&space).unwrap()], terms };
    let terms = ProductTerms { space, basis: Basis::Letters, constant: 1.0, supports: Vec::new(), runs };
    let components = Components::new(&terms).unwrap();
    let mut row = vec![0; n];
    run.pairs().for_each(|(_, j)| row[j as usize] = 3);
    let cancel = Cancel::new();
    let chance = 0.25_f64.powi(length.into());
    assert!((components.base_value() - 1.0 - 2.0 * chance).abs() < 1e-14);
    let values = components.shapley_values(&row, &cancel).unwrap();
    let expected = 2.0 * (1.0 - chance) / f64::from(2 * length);
    for (i, value) in values.iter().enumerate() {
        let inside = run.pairs().any(|(a, b)| i == a as usize || i == b as usize);
        assert!((value - if inside { expected } else { 0.0 }).abs() < 1e-13, "{i}: {value}");
    }
    // A list of 2^40 components is refused, and so are interactions of this term.
    let messages = [
        components.supports().unwrap_err().to_string(),
        components.interactions(Index::Sii, 2).unwrap_err().to_string(),
    ];
    assert!(
        messages
            .iter()
            .all(|message| message.contains("terms with runs") || message.contains("term with runs"))
    );
}

#[test]
fn bad_relations_and_runs_are_refused() {
    let space = SequenceSpace::new("ACGT", 12).unwrap();
    let relation =
        |name: &str, rows: &[u64]| Relation::new(&space, name, rows.to_vec()).unwrap_err().to_string();
    assert!(relation("mine", &[2, 1, 1, 0]).contains("relates 'G' to 'A', but not 'A' to 'G'"));
    assert!(relation("mine", &[1, 2, 4]).contains("3 rows of the relation \"mine\" for 4 symbols"));
    assert!(relation("mine", &[16, 0, 0, 0]).contains("row 0"));
    assert!(relation("mine", &[0; 4]).contains("relates no symbols"));
    assert!(relation("", &[1; 4]).contains("the name \"\""));
    let protein = SequenceSpace::new("ACDEFGHIKLMNPQRSTVWY", 12).unwrap();
    assert!(Relation::complement(&protein).unwrap_err().to_string().contains("only DNA"));
    let run = |first, second, length, reversed| Run { relation: 0, first, second, length, reversed };
    let refused = |runs: Vec<Run>, sets: Vec<(u16, u64)>, coefficient| {
        let terms = vec![RunTerm { runs, sets, coefficient }];
        let runs = RunTerms { relations: vec![Relation::equal(&space)], terms };
        let (basis, supports) = (Basis::Letters, Vec::new());
        let terms = ProductTerms { space: space.clone(), basis, constant: 0.0, supports, runs };
        Components::new(&terms).unwrap_err().to_string()
    };
    assert!(refused(vec![], vec![], 1.0).contains("at least one run"));
    for bad in [
        run(0, 4, 0, false),
        run(4, 4, 1, false),
        run(0, 9, 4, false),
        run(0, 5, 4, true),
        run(2, 12, 1, true),
    ] {
        assert!(refused(vec![bad], vec![], 1.0).contains("for length 12"), "{bad:?}");
    }
    assert!(
        refused(vec![Run { relation: 1, ..run(0, 4, 1, false) }], vec![], 1.0).contains("relation 1 of 1")
    );
    assert!(refused(vec![run(0, 4, 1, false)], vec![(3, 16)], 1.0).contains("0b10000 at position 3"));
    assert!(refused(vec![run(0, 4, 1, false)], vec![], f64::NAN).contains("NaN"));
    // A repeat at distance 1 connects all of its positions.
    let message = refused(vec![run(0, 1, 9, false)], vec![], 1.0);
    assert!(message.contains("are connected, at most 7 can be for 4 symbols"), "{message}");
}
