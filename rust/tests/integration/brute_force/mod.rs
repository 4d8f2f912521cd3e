//! Explanations by brute force, from the definitions.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::surrogate::ProductTerms;
use shapsketch::walks::Walks;
use shapsketch::{Background, Cancel, Components, Index, SequenceSpace};

/// Largest absolute error, for values of the order of 1.
pub(crate) const TOLERANCE: f64 = 1e-10;

pub(crate) fn sequences(q: usize, n: usize) -> Vec<Vec<u8>> {
    (0..q.pow(n as u32))
        .map(|index| (0..n).map(|i| (index / q.pow((n - 1 - i) as u32) % q) as u8).collect())
        .collect()
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
pub(crate) type Weighted = Vec<(Vec<u8>, f64)>;

/// Backgrounds of every kind, each also as a list of all its sequences with their probabilities.
pub(crate) fn backgrounds(space: &SequenceSpace, seed: u64) -> Vec<(Background, Weighted)> {
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

pub(crate) fn check(terms: &ProductTerms, x: &[u8], f: &dyn Fn(&[u8]) -> f64, seed: u64) {
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
    check_walks(&against, x, f, seed);
}

/// Scores along two walks to a sequence against those of each sequence on the way.
fn check_walks(components: &Components, x: &[u8], f: &dyn Fn(&[u8]) -> f64, seed: u64) {
    let (space, n) = (components.space(), x.len());
    let start = random_sequence(space.q(), n, seed);
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let orders: Vec<u32> = order.iter().chain(order.iter().rev()).copied().collect();
    let (starts, targets) = (start.repeat(2), x.repeat(2));
    let walks = Walks::new(space, &starts, &targets, &orders).unwrap();
    let values = components.walks(&walks, &Cancel::new()).unwrap();
    for (order, values) in orders.chunks(n).zip(values.chunks(n + 1)) {
        let mut sequence = start.clone();
        assert!((values[0] - f(&sequence)).abs() < TOLERANCE);
        for (&i, value) in order.iter().zip(&values[1..]) {
            sequence[i as usize] = x[i as usize];
            assert!((value - f(&sequence)).abs() < TOLERANCE, "{order:?}, position {i}");
        }
    }
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
        let has = |y: &[u8]| {
            motif.support.iter().zip(&motif.letters).all(|(&i, &a)| y[i as usize] == a)
                && motif.runs.iter().all(|run| run.occurs(&components.relations()[run.relation as usize], y))
                && motif.sets.iter().all(|&(i, set)| set >> y[i as usize] & 1 == 1)
        };
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

pub(crate) fn random_sequence(q: usize, n: usize, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(0..q as u32) as u8).collect()
}
