//! Ensembles of trees: every form of an ensemble is the same function.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::design::uniform;
use shapsketch::surrogate::Keep;
use shapsketch::surrogate::{Relation, Run};
use shapsketch::trees::{
    Condition, Count, CountingArrays, CountingTrees, Ensemble, Node, RunCount, RunCounts, Test,
};
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

/// The parts of random trees that test symbols at positions and counts.
type Parts = (Vec<Condition>, Vec<Count>, RunCounts, Vec<Vec<Node<Test>>>);

/// Whether a count of runs is of at least one run.
fn has_runs(count: &RunCount, n: usize) -> bool {
    let RunCount { length, reversed, .. } = *count;
    (count.first..=count.last).any(|first| {
        let run = |distance| Run { relation: 0, first, second: first + distance, length, reversed };
        (count.nearest..=count.farthest).any(|distance| run(distance).fits(n))
    })
}

/// Random counts of runs; few or none in short sequences.
fn random_runs(q: usize, n: usize, mut below: impl FnMut(usize) -> usize) -> RunCounts {
    let space = SequenceSpace::of_size(q, n).unwrap();
    let (a, b) = (below(q), below(q));
    let mut rows = vec![0; q];
    rows[a] |= 1 << b;
    rows[b] |= 1 << a;
    let relations = vec![Relation::equal(&space), Relation::new(&space, "some", rows).unwrap()];
    let counts = (0..20).map(|_| {
        let (first, nearest) = (below(n), 1 + below(n));
        RunCount {
            relation: below(2) as u16,
            length: 1 + below(4) as u16,
            reversed: below(2) == 0,
            first: first as u16,
            last: (first + below(n - first)) as u16,
            nearest: nearest as u16,
            farthest: (nearest + below(n)).min(n - 1) as u16,
        }
    });
    RunCounts { relations, counts: counts.filter(|count| has_runs(count, n)).collect() }
}

/// Random trees; about two thirds of the splits test counts.
fn random_counting(q: usize, n: usize, trees: usize, leaves: usize, seed: u64) -> Parts {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |bound: usize| rng.random_range(0..bound as u64) as usize;
    let conditions: Vec<Condition> = (0..6)
        .map(|_| {
            let first = below(n);
            let all = u64::MAX >> (64 - q);
            (first..n.min(first + 1 + below(2)))
                .map(|i| (i as u16, (below(1 << 20) as u64 * 0x9e37_79b9) & all))
                .collect()
        })
        .collect();
    let counts: Vec<Count> = (0..8)
        .map(|_| {
            let length = 1 + below(n.min(3));
            let first = below(n - length + 1);
            let last = first + below(n - length + 1 - first);
            let kmer = (0..length).map(|_| below(q) as u8).collect();
            Count { kmer, first: first as u16, last: last as u16, step: 1 + below(4) as u16 }
        })
        .collect();
    let runs = random_runs(q, n, &mut below);
    let forest = (0..trees)
        .map(|_| {
            let mut tree = vec![Node::Leaf(below(1000) as f64 / 7.0)];
            for _ in 1..leaves {
                let index = loop {
                    let index = below(tree.len());
                    if matches!(tree[index], Node::Leaf(_)) {
                        break index;
                    }
                };
                let condition = match below(3) {
                    0 => Test::Condition(below(conditions.len()) as u32),
                    1 if !runs.counts.is_empty() => Test::RunsAtMost {
                        count: below(runs.counts.len()) as u32,
                        threshold: below(n.min(4)) as u32,
                    },
                    _ => Test::AtMost {
                        count: below(counts.len()) as u32,
                        threshold: below(n.min(4) + 1) as u32,
                    },
                };
                let (yes, no) = (tree.len() as u32, tree.len() as u32 + 1);
                tree[index] = Node::Split { condition, yes, no };
                tree.extend([Node::Leaf(below(1000) as f64 / 7.0), Node::Leaf(below(1000) as f64 / 7.0)]);
            }
            tree
        })
        .collect();
    (conditions, counts, runs, forest)
}

/// How often a sequence has the runs of a count, by the definition.
fn slow_count(count: &RunCount, relations: &[Relation], row: &[u8]) -> usize {
    let RunCount { relation, length, reversed, .. } = *count;
    let n = row.len() as u16;
    let pairs = (count.first..=count.last).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    let near = pairs.filter(|(i, j)| (count.nearest..=count.farthest).contains(&(j - i)));
    let runs = near.map(|(first, second)| Run { relation, first, second, length, reversed });
    runs.filter(|run| run.fits(n.into()) && run.occurs(&relations[relation as usize], row)).count()
}

/// The value of one sequence, by the definition.
fn slow_value(constant: f64, (conditions, counts, runs, trees): &Parts, row: &[u8]) -> f64 {
    let passes = |test| match test {
        Test::Condition(index) => {
            conditions[index as usize].iter().all(|&(i, set): &(u16, u64)| set >> row[i as usize] & 1 == 1)
        }
        Test::AtMost { count, threshold } => {
            let Count { kmer, first, last, step } = &counts[count as usize];
            let starts = (*first..=*last).step_by(*step as usize);
            let occurs = |start: &u16| row[*start as usize..].starts_with(kmer);
            starts.filter(occurs).count() <= threshold as usize
        }
        Test::RunsAtMost { count, threshold } => {
            slow_count(&runs.counts[count as usize], &runs.relations, row) <= threshold as usize
        }
    };
    let mut value = 0.0;
    for tree in trees {
        let mut node = 0;
        value += loop {
            match tree[node] {
                Node::Leaf(value) => break value,
                Node::Split { condition, yes, no } => {
                    node = if passes(condition) { yes } else { no } as usize;
                }
            }
        };
    }
    value + constant
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_ensemble_predicts_the_sum_of_the_leaves_that_a_sequence_reaches(
        q in prop::sample::select(vec![2usize, 4, 20, 64]), n in 1usize..9, leaves in 1usize..12, seed: u64,
    ) {
        let (conditions, _, _, forest) = random_counting(q, n, 4, leaves, seed);
        let index = |test| match test {
            Test::Condition(index) => index,
            Test::AtMost { count, .. } | Test::RunsAtMost { count, .. } => count % conditions.len() as u32,
        };
        let on_conditions = |node: &Node<Test>| match *node {
            Node::Split { condition, yes, no } => Node::Split { condition: index(condition), yes, no },
            Node::Leaf(value) => Node::Leaf(value),
        };
        let trees: Vec<Vec<Node>> = forest.iter().map(|tree| tree.iter().map(on_conditions).collect()).collect();
        let tested = |node: &Node| match *node {
            Node::Split { condition, yes, no } => Node::Split { condition: Test::Condition(condition), yes, no },
            Node::Leaf(value) => Node::Leaf(value),
        };
        let tests = trees.iter().map(|tree| tree.iter().map(tested).collect()).collect();
        let parts: Parts = (conditions.clone(), Vec::new(), RunCounts::default(), tests);
        let space = SequenceSpace::of_size(q, n).unwrap();
        let codes = some(&space, seed);
        let ensemble = Ensemble::new(space, 0.5, conditions, trees).unwrap();
        let slow: Vec<f64> = codes.chunks(n).map(|row| slow_value(0.5, &parts, row)).collect();
        prop_assert!(differs(&ensemble.predict(&codes, &Cancel::new()).unwrap(), &slow) < 1e-10);
    }

    #[test]
    fn counting_trees_are_those_of_the_definition_and_of_their_arrays(
        q in prop::sample::select(vec![2usize, 3, 4, 5, 20, 64]), n in 1usize..40, leaves in 1usize..20,
        rows in 0usize..300, seed: u64,
    ) {
        let cancel = Cancel::new();
        let space = SequenceSpace::of_size(q, n).unwrap();
        let parts = random_counting(q, n, 5, leaves, seed);
        let (conditions, counts, runs, forest) = parts.clone();
        let trees = CountingTrees::new(space.clone(), 0.25, conditions, counts, runs, forest).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Few symbols in each sequence, so that k-mers occur several times.
        let codes: Vec<u8> = (0..rows)
            .flat_map(|_| {
                let pair = [rng.random_range(0..q as u8), rng.random_range(0..q as u8)];
                (0..n).map(|_| pair[usize::from(rng.random::<bool>())]).collect::<Vec<_>>()
            })
            .collect();
        let expected: Vec<f64> = codes.chunks(n).map(|row| slow_value(0.25, &parts, row)).collect();
        prop_assert_eq!(&trees.predict(&codes, &cancel).unwrap(), &expected);
        let runs = &parts.2;
        let counted = |row| {
            runs.counts.iter().map(move |count| slow_count(count, &runs.relations, row) as u32)
        };
        let counts: Vec<u32> = codes.chunks(n).flat_map(counted).collect();
        prop_assert_eq!(runs.count(&space, &codes, &cancel).unwrap(), counts);
        let arrays = trees.to_arrays();
        let again = CountingTrees::from_arrays(space, arrays.clone()).unwrap();
        prop_assert_eq!(&again.predict(&codes, &cancel).unwrap(), &expected);
        prop_assert_eq!(again.to_arrays(), arrays);
    }
}

#[test]
fn counting_trees_predict_the_same_bits_for_any_number_of_threads_and_can_be_canceled() {
    let (conditions, counts, runs, forest) = random_counting(4, 30, 50, 12, 1);
    let space = SequenceSpace::of_size(4, 30).unwrap();
    let trees = CountingTrees::new(space.clone(), 0.1, conditions, counts, runs, forest).unwrap();
    let codes = uniform(&space, 2_000, 3, &Cancel::new()).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| trees.predict(&codes, &Cancel::new()).unwrap())
    };
    let one = on(1);
    assert_eq!(on(2), one);
    assert_eq!(on(7), one);
    let single: Vec<f64> =
        codes.chunks(30).flat_map(|row| trees.predict(row, &Cancel::new()).unwrap()).collect();
    assert_eq!(single, one);
    let canceled = Cancel::new();
    canceled.set();
    assert!(matches!(trees.predict(&codes, &canceled), Err(Error::Interrupted)));
    assert!(trees.predict(&[0; 31], &Cancel::new()).is_err());
}

#[test]
fn counts_of_long_sequences_are_exact() {
    let space = SequenceSpace::of_size(2, 4096).unwrap();
    let count = Count { kmer: vec![1], first: 0, last: 4095, step: 1 };
    let node = |threshold| {
        let condition = Test::AtMost { count: 0, threshold };
        vec![Node::Split { condition, yes: 1, no: 2 }, Node::Leaf(1.0), Node::Leaf(0.0)]
    };
    let forest = [0, 2047, 2048, 4095, 4096, u32::MAX].map(node).to_vec();
    let trees = CountingTrees::new(space, 0.0, vec![], vec![count], RunCounts::default(), forest).unwrap();
    let codes: Vec<u8> = [0, 1, 2048, 2049, 4096]
        .iter()
        .flat_map(|&ones| (0..4096).map(move |i| u8::from(i < ones)))
        .collect();
    assert_eq!(trees.predict(&codes, &Cancel::new()).unwrap(), [6.0, 5.0, 4.0, 3.0, 2.0]);
}

#[test]
fn nodes_of_counting_trees_may_share_children() {
    let space = SequenceSpace::of_size(2, 2).unwrap();
    let split = |condition, yes, no| Node::Split { condition: Test::Condition(condition), yes, no };
    let tree = vec![split(0, 1, 2), split(1, 2, 2), split(1, 3, 4), Node::Leaf(1.0), Node::Leaf(2.0)];
    let conditions = vec![vec![(0, 1)], vec![(1, 1)]];
    let trees = CountingTrees::new(space, 0.0, conditions, vec![], RunCounts::default(), vec![tree]).unwrap();
    assert_eq!(trees.predict(&[0, 0, 0, 1, 1, 0, 1, 1], &Cancel::new()).unwrap(), [1.0, 2.0, 1.0, 2.0]);
}

#[test]
fn malformed_counting_trees_are_refused_with_the_place() {
    let leaf = Node::Leaf(1.0);
    let at_most = |count| Test::AtMost { count, threshold: 1 };
    let split = |condition, yes, no| Node::Split { condition, yes, no };
    let good = Count { kmer: vec![2, 1], first: 0, last: 1, step: 1 };
    let message = |count: &Count, tree: Vec<Node<Test>>, constant: f64| {
        let space = SequenceSpace::new("ACGT", 3).unwrap();
        CountingTrees::new(
            space,
            constant,
            vec![vec![(1, 0b11)]],
            vec![good.clone(), count.clone()],
            RunCounts::default(),
            vec![vec![leaf], tree],
        )
        .map_or_else(|error| error.to_string(), |_| String::new())
    };
    let tree = || vec![split(at_most(1), 1, 2), leaf, split(Test::Condition(0), 3, 4), leaf, leaf];
    assert_eq!(message(&good, tree(), 0.0), "");
    assert!(message(&good, tree(), f64::NAN).starts_with("constant must be finite"));
    for count in [
        Count { kmer: vec![], ..good.clone() },
        Count { kmer: vec![0, 4], ..good.clone() },
        Count { last: 2, ..good.clone() },
        Count { first: 2, ..good.clone() },
        Count { step: 0, ..good.clone() },
        Count { kmer: vec![0; 4], first: 0, last: 0, step: 1 },
        Count { first: u16::MAX, last: u16::MAX, ..good.clone() },
    ] {
        let got = message(&count, tree(), 0.0);
        assert!(got.starts_with("counts must be ") && got.contains("got count 1: "), "{got}");
    }
    for (bad, place) in [
        (vec![], "no node"),
        (vec![Node::Leaf(f64::INFINITY)], "node 0"),
        (vec![split(at_most(2), 1, 2), leaf, leaf], "node 0"),
        (vec![split(Test::Condition(1), 1, 2), leaf, leaf], "node 0"),
        (vec![split(at_most(0), 1, 2), leaf, split(at_most(0), 1, 3), leaf], "node 2"),
        (vec![split(at_most(0), 0, 1), leaf], "node 0"),
        (vec![split(at_most(0), 1, 2), leaf], "node 0"),
    ] {
        let got = message(&good, bad, 0.0);
        assert!(got.starts_with("trees must be ") && got.contains("tree 1") && got.contains(place), "{got}");
    }
}

#[test]
fn hostile_arrays_are_refused() {
    type Change = fn(&mut CountingArrays);
    let space = || SequenceSpace::of_size(4, 12).unwrap();
    let (conditions, counts, runs, forest) = random_counting(4, 12, 3, 6, 5);
    let good = CountingTrees::new(space(), 0.5, conditions, counts, runs, forest).unwrap().to_arrays();
    let changes: [(&str, Change); 37] = [
        ("constant", |a| a.constant = f64::NAN),
        ("starts", |a| a.starts.clear()),
        ("starts", |a| a.starts[0] = 1),
        ("starts", |a| a.starts[1] = u64::MAX),
        ("starts", |a| a.starts.push(u64::MAX)),
        ("conditions", |a| a.starts[1] = 0),
        ("conditions", |a| a.positions[0] = 12),
        ("sets", |a| a.sets.clear()),
        ("conditions", |a| a.sets[0] = 1 << 4),
        ("firsts, lasts and steps", |a| a.firsts.clear()),
        ("kmers", |a| a.lengths[0] = u16::MAX),
        ("kmers", |a| a.kmers.push(0)),
        ("counts", |a| a.kmers[0] = 4),
        ("counts", |a| a.lasts[7] = 12),
        ("counts", |a| a.steps[3] = 0),
        ("roots", |a| a.roots.clear()),
        ("roots", |a| a.roots[1] = u64::MAX),
        ("trees", |a| a.roots[1] = 0),
        ("conditions", |a| a.conditions[0] = -2),
        ("conditions", |a| a.conditions[0] = i64::MAX),
        ("trees", |a| a.conditions[0] = 1 << 20),
        ("runs", |a| a.runs.truncate(a.runs.len() - 1)),
        ("runs", |a| a.runs[0] = 2),
        ("runs", |a| a.runs[1] = 0),
        ("runs", |a| a.runs[1] = u16::MAX),
        ("runs", |a| a.runs[2] = 2),
        ("runs", |a| a.runs[3] = 12),
        ("runs", |a| a.runs[4] = u16::MAX),
        ("runs", |a| a.runs[5] = 0),
        ("runs", |a| a.runs[6] = 12),
        ("runs", |a| a.relations.clear()),
        ("trees", |a| a.runs.clear()),
        ("relations", |a| {
            a.relations[1] = Relation::equal(&SequenceSpace::of_size(3, 12).unwrap());
        }),
        ("thresholds, yes, no and values", |a| a.yes.clear()),
        ("trees", |a| a.yes[0] = 0),
        ("trees", |a| a.no[0] = u32::MAX),
        ("trees", |a| a.values.fill(f64::NEG_INFINITY)),
    ];
    for (index, (name, change)) in changes.into_iter().enumerate() {
        let mut arrays = good.clone();
        change(&mut arrays);
        let error = CountingTrees::from_arrays(space(), arrays).unwrap_err();
        assert_eq!(error.option(), Some(name), "change {index}: {error}");
    }
    let none = CountingArrays { starts: vec![0], roots: vec![0], constant: 2.0, ..CountingArrays::default() };
    let trees = CountingTrees::from_arrays(space(), none).unwrap();
    assert_eq!(trees.predict(&[0; 24], &Cancel::new()).unwrap(), [2.0, 2.0]);
}

#[test]
fn counts_of_runs_are_those_of_an_example() {
    let space = SequenceSpace::new("ACGU", 9).unwrap();
    let stems =
        RunCount { relation: 0, length: 3, reversed: true, first: 0, last: 8, nearest: 8, farthest: 8 };
    let repeats = RunCount { relation: 1, length: 2, reversed: false, nearest: 1, ..stems };
    let relations = vec![Relation::complement(&space).unwrap(), Relation::equal(&space)];
    let runs = RunCounts { relations, counts: vec![stems, repeats] };
    let tree = |count, threshold| {
        let condition = Test::RunsAtMost { count, threshold };
        vec![Node::Split { condition, yes: 1, no: 2 }, Node::Leaf(0.0), Node::Leaf(1.0)]
    };
    // The value is 10 if there is a stem, plus the number of repeats up to 3.
    let stem = vec![
        tree(0, 0)
            .into_iter()
            .map(|node| match node {
                Node::Leaf(value) => Node::Leaf(10.0 * value),
                split @ Node::Split { .. } => split,
            })
            .collect::<Vec<_>>(),
    ];
    let forest = [stem, vec![tree(1, 0), tree(1, 1), tree(1, 2)]].concat();
    let trees = CountingTrees::new(space.clone(), 0.0, vec![], vec![], runs, forest).unwrap();
    // ACG pairs with CGU; AC repeats at 0 and 4; AAAA repeats AA at distances 1 and 2.
    let codes = space.encode(&["ACGAAACGU", "ACGGACUUA", "AAAAGCUCG"]).unwrap();
    assert_eq!(trees.predict(&codes, &Cancel::new()).unwrap(), [13.0, 1.0, 3.0]);
}
