//! Ensembles of trees: every form of an ensemble is the same function.

#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::design::uniform;
use shapsketch::surrogate::Keep;
use shapsketch::trees::{Condition, Ensemble, Node};
use shapsketch::{Cancel, Components, Error, SequenceSpace, Sketch, Surrogate};

/// Random trees whose splits test sets of symbols at up to `width` adjacent positions.
fn random(q: usize, n: usize, trees: usize, leaves: usize, width: usize, seed: u64) -> Ensemble {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut conditions: Vec<Condition> = Vec::new();
    let forest = (0..trees)
        .map(|_| {
            let mut tree = vec![Node::Leaf(rng.random_range(-1.0..1.0))];
            for _ in 1..leaves {
                let index = loop {
                    let index = rng.random_range(0..tree.len() as u32) as usize;
                    if matches!(tree[index], Node::Leaf(_)) {
                        break index;
                    }
                };
                let size = 1 + rng.random_range(0..width.min(n) as u32) as usize;
                let first = rng.random_range(0..=(n - size) as u32) as u16;
                let all = u64::MAX >> (64 - q);
                let set = |rng: &mut ChaCha8Rng| match size {
                    1 => rng.random_range(1..all),
                    _ => 1 << rng.random_range(0..q as u32),
                };
                conditions.push((first..first + size as u16).map(|i| (i, set(&mut rng))).collect());
                let (yes, no) = (tree.len() as u32, tree.len() as u32 + 1);
                tree[index] = Node::Split { condition: conditions.len() as u32 - 1, yes, no };
                tree.extend([
                    Node::Leaf(rng.random_range(-1.0..1.0)),
                    Node::Leaf(rng.random_range(-1.0..1.0)),
                ]);
            }
            tree
        })
        .collect();
    let space = SequenceSpace::of_size(q, n).unwrap();
    Ensemble::new(space, 0.25, conditions, forest).unwrap()
}

fn some(space: &SequenceSpace, seed: u64) -> Vec<u8> {
    let count = space.size().map_or(200, |size| size.min(200) as usize);
    uniform(space, count, seed, &Cancel::new()).unwrap()
}

fn differs(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_exact_form_is_the_ensemble(
        q in prop::sample::select(vec![2usize, 3, 4, 5, 20, 64]), n in 1usize..12, leaves in 1usize..12,
        width in 1usize..4, seed: u64,
    ) {
        let cancel = Cancel::new();
        let ensemble = random(q, n, 5, leaves, width, seed);
        let codes = some(ensemble.space(), seed);
        let terms = ensemble.exact(1 << 20, &cancel).unwrap();
        let components = Components::new(&terms).unwrap();
        let values = ensemble.predict(&codes, &cancel).unwrap();
        prop_assert!(differs(&values, &components.predict(&codes, &cancel).unwrap()) < 1e-10);
        // With the base value, Shapley values sum to the score.
        let shapley = components.shapley_values(&codes, &cancel).unwrap();
        let sums: Vec<f64> = shapley.chunks(n).map(|s| s.iter().sum::<f64>() + components.base_value()).collect();
        prop_assert!(differs(&values, &sums) < 1e-10);
        // The same holds for the sum of centred indicators without truncation.
        if q <= 5 {
            let keep = Keep { dropped: 0.0, max_terms: None };
            let all = Surrogate::combine(&[(&Surrogate::Terms(terms), 2.0)], 0.0, keep, &cancel).unwrap();
            let doubled = Components::new(&all.terms()).unwrap().predict(&codes, &cancel).unwrap();
            prop_assert!(differs(&values.iter().map(|v| 2.0 * v).collect::<Vec<_>>(), &doubled) < 1e-9);
        }
    }

    #[test]
    fn splits_on_single_positions_have_at_most_one_term_for_each_leaf(seed: u64, leaves in 1usize..40) {
        let ensemble = random(20, 30, 4, leaves, 1, seed);
        prop_assert!(ensemble.exact(1 << 20, &Cancel::new()).unwrap().len() <= 4 * leaves + 1);
    }

    #[test]
    fn a_small_space_is_tabulated_without_loss(seed: u64, leaves in 1usize..30) {
        let cancel = Cancel::new();
        let ensemble = random(4, 6, 10, leaves, 3, seed);
        let truncated = ensemble.truncated(Keep { dropped: 0.0, max_terms: None }, &cancel).unwrap();
        let codes = some(ensemble.space(), seed);
        let values = ensemble.predict(&codes, &cancel).unwrap();
        let predicted = Components::new(&truncated.terms).unwrap().predict(&codes, &cancel).unwrap();
        prop_assert!(differs(&values, &predicted) < 1e-10);
    }
}

#[test]
fn truncation_keeps_the_reported_fraction_of_the_variance() {
    let cancel = Cancel::new();
    for seed in 0..4 {
        let ensemble = random(4, 30, 40, 12, 3, seed);
        let codes = uniform(ensemble.space(), 20_000, 99, &cancel).unwrap();
        let values = ensemble.predict(&codes, &cancel).unwrap();
        let mut before = 1.0;
        for dropped in [0.0, 0.01, 0.1] {
            let keep = Keep { dropped, max_terms: None };
            let truncated = ensemble.truncated(keep, &cancel).unwrap();
            let predicted = Components::new(&truncated.terms).unwrap().predict(&codes, &cancel).unwrap();
            let r2 = shapsketch::validation::RSquared::new(&values, &predicted).unwrap().value;
            assert!((r2 - truncated.kept_fraction).abs() < 0.01, "{r2} of {}", truncated.kept_fraction);
            assert!(r2 > 0.99 - dropped - 0.01 && r2 <= before + 1e-9, "{r2} with {dropped} dropped");
            before = r2;
        }
        let keep = Keep { dropped: 0.0, max_terms: Some(500) };
        assert!(ensemble.truncated(keep, &cancel).unwrap().terms.len() <= 500);
    }
}

#[test]
fn an_exact_form_with_too_many_terms_is_refused() {
    // A chain of absent motifs: 2^40 products.
    let conditions: Vec<Condition> = (0..40).map(|i| vec![(i, 1), (i + 1, 2), (i + 2, 4)]).collect();
    let mut tree = Vec::new();
    for condition in 0..40 {
        tree.push(Node::Split { condition, yes: 2 * condition + 1, no: 2 * condition + 2 });
        tree.push(Node::Leaf(f64::from(condition)));
    }
    tree.push(Node::Leaf(-1.0));
    let ensemble =
        Ensemble::new(SequenceSpace::of_size(4, 42).unwrap(), 0.0, conditions, vec![tree]).unwrap();
    let outcome = ensemble.exact(1 << 16, &Cancel::new());
    assert!(matches!(outcome, Err(Error::TooLarge { .. })), "{outcome:?}");
    let kept = ensemble.truncated(Keep::default(), &Cancel::new()).unwrap().kept_fraction;
    assert!(kept > 0.9, "{kept}");
}

#[test]
fn broken_trees_are_refused() {
    let space = SequenceSpace::of_size(4, 3).unwrap();
    let split = |condition, yes, no| Node::Split { condition, yes, no };
    let leaf = Node::Leaf(1.0);
    let make = |condition: Condition, tree: Vec<Node>| {
        Ensemble::new(space.clone(), 0.0, vec![condition], vec![tree])
            .map(|e| e.leaves())
            .map_err(|e| e.to_string())
    };
    let good = || vec![(1, 0b0011)];
    assert_eq!(make(good(), vec![split(0, 1, 2), leaf, leaf]), Ok(2));
    for (condition, tree) in [
        (good(), vec![]),
        (good(), vec![split(1, 1, 2), leaf, leaf]),
        (good(), vec![split(0, 1, 3), leaf, leaf]),
        (good(), vec![split(0, 0, 1), leaf]),
        (good(), vec![Node::Leaf(f64::NAN)]),
        (vec![(3, 1)], vec![leaf]),
        (vec![(1, 1), (1, 2)], vec![leaf]),
        (vec![(1, 0b10000)], vec![leaf]),
        (vec![], vec![leaf]),
    ] {
        assert!(make(condition.clone(), tree.clone()).is_err(), "{condition:?} {tree:?}");
    }
}

#[test]
fn sketches_of_trees_are_loaded_as_saved() {
    let cancel = Cancel::new();
    let ensemble = random(4, 20, 30, 8, 2, 7);
    let codes = uniform(ensemble.space(), 300, 1, &cancel).unwrap();
    let folder = std::env::temp_dir().join(format!("shapsketch-trees-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let exact = ensemble.exact(1 << 20, &cancel).unwrap();
    let truncated = ensemble.truncated(Keep::default(), &cancel).unwrap().terms;
    for (name, terms) in [("exact", exact), ("truncated", truncated)] {
        let predict = |terms: &_| Components::new(terms).unwrap().predict(&codes, &cancel).unwrap();
        let before = predict(&terms);
        let path = folder.join(name);
        Sketch::from(Surrogate::Terms(terms)).save(&path).unwrap();
        let loaded = Sketch::load(&path).unwrap();
        assert_eq!(predict(&loaded.surrogate.terms()), before, "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn components_are_compiled_while_others_wait_for_them() {
    // Many tasks need the same tables at once. No task may wait for itself.
    let cancel = Cancel::new();
    let terms = random(4, 12, 40, 8, 2, 3).exact(1 << 20, &cancel).unwrap();
    let codes = uniform(&terms.space, 5_000, 1, &cancel).unwrap();
    for _ in 0..20 {
        let components = Components::new(&terms).unwrap();
        let values = components.predict(&codes, &cancel).unwrap();
        let shapley = components.shapley_values(&codes, &cancel).unwrap();
        let sum = shapley[..12].iter().sum::<f64>() + components.base_value();
        assert!((sum - values[0]).abs() < 1e-9);
    }
}
