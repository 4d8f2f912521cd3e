//! Networks against a slow network in double precision.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::pass::{Workspace, flipped};
use super::shape::{Block, PLACED, SECOND_WIDTH, Shape};
use super::{Ensemble, Training, without_bad};
use crate::cancel::Cancel;
use crate::space::SequenceSpace;
use crate::walks::Walks;

pub(super) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The sum of both convolutions and that of both dense layers, neuron by neuron.
pub(super) fn slow_trunk(shape: &Shape, parameters: &[f64], sequence: &[u8]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let &Shape { n, q, channels, hidden, pool } = shape;
    let of = |block: Block, row: usize, columns: usize, column: usize| {
        parameters[shape.range(block).start + row * columns + column]
    };
    let inside = |i: usize, place: usize, width: usize, rows: usize| {
        (i + place).checked_sub(width / 2).filter(|&j| j < rows)
    };
    let width = shape.first_width();
    let mut sums = vec![vec![0.0; channels]; n];
    for (i, row) in sums.iter_mut().enumerate() {
        for (c, out) in row.iter_mut().enumerate() {
            let windows = (0..width).filter_map(|place| Some((place, inside(i, place, width, n)?)));
            let sum: f64 = windows
                .map(|(place, j)| of(Block::First, place * q + sequence[j] as usize, channels, c))
                .sum();
            *out = sum + of(Block::FirstBias, 0, channels, c);
        }
    }
    let largest =
        |rows: &[Vec<f64>], c: usize| rows.iter().map(|row| row[c]).fold(f64::NEG_INFINITY, f64::max);
    let windows = sums.chunks(pool).map(|rows| (0..channels).map(|c| silu(largest(rows, c))).collect());
    let first: Vec<Vec<f64>> = windows.collect();
    let n = first.len();
    let mut both = first.clone();
    for (i, row) in both.iter_mut().enumerate() {
        for (c, out) in row.iter_mut().enumerate() {
            let mut sum = of(Block::SecondBias, 0, channels, c);
            for place in 0..SECOND_WIDTH {
                if let Some(j) = inside(i, place, SECOND_WIDTH, n) {
                    for (d, value) in first[j].iter().enumerate() {
                        sum += value * of(Block::Second, place * channels + d, channels, c);
                    }
                }
            }
            *out += silu(sum);
        }
    }
    let mut features = Vec::new();
    for row in both.iter().filter(|_| pool == 1) {
        for p in 0..PLACED {
            let sum: f64 =
                row.iter().enumerate().map(|(c, value)| value * of(Block::Placed, c, PLACED, p)).sum();
            features.push(sum + of(Block::PlacedBias, 0, PLACED, p));
        }
    }
    features.extend((0..channels).map(|c| both.iter().map(|row| row[c]).sum::<f64>() / n as f64));
    features.extend((0..channels).map(|c| both.iter().map(|row| row[c]).fold(f64::NEG_INFINITY, f64::max)));
    let layer = |inputs: &[f64], weights, bias| -> Vec<f64> {
        let sum = |h| -> f64 {
            inputs.iter().enumerate().map(|(i, value)| value * of(weights, i, hidden, h)).sum()
        };
        (0..hidden).map(|h| silu(sum(h) + of(bias, 0, hidden, h))).collect()
    };
    let dense = layer(&features, Block::Dense, Block::DenseBias);
    let residual = layer(&dense, Block::Residual, Block::ResidualBias);
    let sums = dense.iter().zip(residual).map(|(dense, residual)| dense + residual).collect();
    (both, sums)
}

/// The output for one sequence.
fn slow(shape: &Shape, parameters: &[f64], sequence: &[u8]) -> f64 {
    let q = shape.q;
    let of = |block: Block, row: usize| parameters[shape.range(block).start + row];
    let (_, sums) = slow_trunk(shape, parameters, sequence);
    let mut out = of(Block::OutputBias, 0);
    for (h, sum) in sums.iter().enumerate() {
        out += sum * of(Block::Output, h);
    }
    out + sequence.iter().enumerate().map(|(i, &a)| of(Block::Linear, i * q + a as usize)).sum::<f64>()
}

pub(super) fn random_codes(q: usize, count: usize, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(0..q as u32) as u8).collect()
}

/// Whether no channel has two rows that are almost its largest: where the largest row changes, the outputs have no
/// derivative. Rows with equal windows are equal and do not count.
pub(super) fn has_derivatives(shape: &Shape, parameters: &[f64], codes: &[u8]) -> bool {
    codes.chunks(shape.n).all(|sequence| {
        let (rows, _) = slow_trunk(shape, parameters, sequence);
        (0..shape.channels).all(|c| {
            let largest = rows.iter().map(|row| row[c]).fold(f64::NEG_INFINITY, f64::max);
            rows.iter().all(|row| !(1e-12..1e-4).contains(&(largest - row[c])))
        })
    })
}

/// Compares a gradient with central differences of a function in double precision. `rounding` is the error of terms that
/// cancel in single precision, relative to the largest derivative.
pub(crate) fn check_gradient(
    gradient: impl Iterator<Item = f32>,
    parameters: &[f64],
    total: impl Fn(&[f64]) -> f64,
    rounding: f64,
) {
    // Their error is about 1e-9.
    let step = 1e-5;
    let mut moved = parameters.to_vec();
    let compared: Vec<(f64, f64)> = gradient
        .enumerate()
        .map(|(index, gradient)| {
            moved[index] = parameters[index] + step;
            let above = total(&moved);
            moved[index] = parameters[index] - step;
            let expected = (above - total(&moved)) / (2.0 * step);
            moved[index] = parameters[index];
            (f64::from(gradient), expected)
        })
        .collect();
    let largest = compared.iter().map(|(_, expected)| expected.abs()).fold(0.0, f64::max);
    for (index, (gradient, expected)) in compared.into_iter().enumerate() {
        let allowed = 1e-4 * expected.abs() + rounding * largest;
        assert!((gradient - expected).abs() <= allowed, "{index}: {gradient} for {expected}");
    }
}

/// Compares outputs and gradients with those of the slow network.
fn check_passes(shape: Shape, count: usize, seed: u64) {
    let Shape { n, q, .. } = shape;
    let parameters = shape.random(seed, 1);
    let exact: Vec<f64> = parameters.iter().map(|&value| f64::from(value)).collect();
    let codes = random_codes(q, count * n, seed);
    let slopes: Vec<f32> = (0..count).map(|i| 0.5 + i as f32).collect();
    let total = |parameters: &[f64]| -> f64 {
        let outputs = codes.chunks(n).map(|sequence| slow(&shape, parameters, sequence));
        outputs.zip(&slopes).map(|(output, &slope)| output * f64::from(slope)).sum()
    };
    // A longer chunk before must leave nothing behind.
    let mut workspace = Workspace::new(shape, 8, true);
    let (before, flipped) = (random_codes(q, 8 * n, seed + 1), flipped(shape, &parameters));
    workspace.forward(&parameters, &before);
    workspace.backward(&parameters, &flipped, &before, &[1.0; 8]);
    for (output, sequence) in workspace.forward(&parameters, &codes).iter().zip(codes.chunks(n)) {
        let expected = slow(&shape, &exact, sequence);
        assert!((f64::from(*output) - expected).abs() <= 2e-6 * (1.0 + expected.abs()));
    }
    workspace.backward(&parameters, &flipped, &codes, &slopes);
    let gradient = workspace.gradient[..shape.learned()].iter().copied();
    check_gradient(gradient, &exact, total, 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn outputs_and_gradients_are_those_of_the_slow_network(
        n in 1_usize..12,
        q in 2_usize..6,
        channels in 1_usize..10,
        hidden in 1_usize..10,
        count in 1_usize..6,
        seed in 0_u64..1_000,
    ) {
        let shape = Shape { n, q, channels, hidden, pool: 1 };
        let parameters: Vec<f64> = shape.random(seed, 1).into_iter().map(f64::from).collect();
        prop_assume!(has_derivatives(&shape, &parameters, &random_codes(q, count * n, seed)));
        check_passes(shape, count, seed);
    }
}

#[test]
fn outputs_and_gradients_with_windows_are_those_of_the_slow_network() {
    for (n, pool, q, channels, count) in [
        (2, 2, 2, 1, 1),
        (17, 3, 4, 5, 3),
        (20, 5, 3, 8, 5),
        (23, 4, 5, 33, 2),
        (9, 9, 4, 6, 4),
        (31, 2, 4, 4, 6),
    ] {
        check_passes(Shape { n, q, channels, hidden: 5, pool }, count, n as u64);
    }
}

fn toy(count: usize, weights: bool) -> (SequenceSpace, Vec<u8>, Vec<f64>, Option<Vec<f64>>) {
    let space = SequenceSpace::new("ACGT", 9).unwrap();
    let codes = random_codes(4, count * 9, 3);
    let motif = |word: &[u8]| word.windows(3).filter(|triple| *triple == [2, 0, 3]).count() as f64;
    let values = codes.chunks(9).map(|word| 1e6 + 10.0 * motif(word) + f64::from(word[0])).collect();
    let weights = weights.then(|| (0..count).map(|i| 1.0 + (i % 3) as f64).collect());
    (space, codes, values, weights)
}

#[test]
fn a_motif_at_any_place_is_learned() {
    let (space, codes, values, weights) = toy(1_500, true);
    let cancel = Cancel::new();
    let training = Training { members: 1, channels: 16, hidden: 16, ..Training::default() };
    let ensemble = Ensemble::train(
        &space,
        &codes[..9_000],
        &values[..1_000],
        weights.as_deref().map(|w| &w[..1_000]),
        &training,
        &cancel,
    )
    .unwrap();
    let predicted = ensemble.predict(&codes[9_000..], &cancel).unwrap();
    let test = &values[1_000..];
    let mean = test.iter().sum::<f64>() / test.len() as f64;
    let error: f64 = predicted.iter().zip(test).map(|(p, v)| (p - v).powi(2)).sum();
    let variance: f64 = test.iter().map(|v| (v - mean).powi(2)).sum();
    assert!(error < 0.1 * variance, "{}", error / variance);
    let (parameters, standard) = (ensemble.parameters().map(<[f32]>::to_vec).collect(), ensemble.standard());
    let again = Ensemble::new(space, (16, 16, 1), parameters, standard).unwrap();
    assert_eq!(again.predict(&codes[9_000..], &cancel).unwrap(), predicted);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (space, codes, values, weights) = toy(300, true);
    let training = Training { members: 2, channels: 8, hidden: 8, epochs: 3, ..Training::default() };
    let run = |threads, pool| {
        let training = Training { pool, ..training.clone() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let train =
            || Ensemble::train(&space, &codes, &values, weights.as_deref(), &training, &Cancel::new());
        let ensemble = pool.install(train).unwrap();
        let bits: Vec<u32> = ensemble.parameters().flatten().map(|value| value.to_bits()).collect();
        (bits, pool.install(|| ensemble.predict(&codes, &Cancel::new())).unwrap())
    };
    for windows in [1, 2] {
        let one = run(1, windows);
        assert_eq!(one, run(2, windows));
        assert_eq!(one, run(4, windows));
    }
}

#[test]
fn bad_input_is_refused_with_its_place() {
    let (space, codes, values, _) = toy(200, false);
    let train = |codes: &[u8], values: &[f64], weights: Option<&[f64]>, training: &Training| {
        Ensemble::train(&space, codes, values, weights, training, &Cancel::new()).unwrap_err().to_string()
    };
    let usual = Training::default();
    assert!(train(&codes, &values[1..], None, &usual).contains("199 values for 200"));
    assert!(train(&codes, &values, Some(&values[..5]), &usual).contains("5 values for 200"));
    assert!(train(&codes[..90], &values[..10], None, &usual).contains("at least 100"));
    assert!(train(&codes, &[2.0; 200], None, &usual).contains("200 times 2"));
    let mut wrong = values.clone();
    wrong[7] = f64::NAN;
    assert!(train(&codes, &wrong, None, &usual).contains("index 7"));
    let mut outside = codes.clone();
    outside[10] = 9;
    assert!(train(&outside, &values, None, &usual).contains("sequence 1"));
    for (training, expected) in [
        (Training { members: 0, ..usual.clone() }, "members"),
        (Training { channels: 0, ..usual.clone() }, "channels"),
        (Training { hidden: 2_000, ..usual.clone() }, "hidden"),
        (Training { pool: 0, ..usual.clone() }, "pool"),
        (Training { pool: 10, ..usual.clone() }, "pool"),
        (Training { epochs: 0, ..usual.clone() }, "epochs"),
        (Training { rate: f64::NAN, ..usual.clone() }, "rate"),
    ] {
        let message = train(&codes, &values, None, &training);
        assert!(message.contains(expected), "{message}");
    }
    let canceled = Cancel::new();
    canceled.set();
    assert!(Ensemble::train(&space, &codes, &values, None, &usual, &canceled).is_err());
    let few =
        Ensemble::new(space.clone(), (4, 4, 1), vec![vec![0.0; 3]], (0.0, 1.0)).unwrap_err().to_string();
    assert!(few.contains("3 parameters"), "{few}");
}

#[test]
fn marginals_are_those_of_the_predicted_mutants() {
    for (n, q, seed, pool) in [(1, 2, 0, 1), (3, 4, 1, 1), (9, 3, 2, 1), (17, 5, 3, 1), (17, 4, 4, 3)] {
        let space = SequenceSpace::new(&"ACGTU"[..q], n).unwrap();
        let shape = Shape { n, q, channels: 6, hidden: 5, pool };
        let networks: Vec<Vec<f32>> = (1..4).map(|stream| shape.random(seed, stream)).collect();
        let of = |rows| Ensemble::new(space.clone(), (6, 5, pool), rows, (3.0, 2.0)).unwrap();
        let all = of(networks.clone());
        let codes = random_codes(q, 70 * n, seed);
        let total: f64 = (1..=q).map(|a| a as f64).sum();
        let background: Vec<f64> = (0..n * q).map(|cell| (1 + cell % q) as f64 / total).collect();
        let marginals = all.marginals(&codes, &background, &Cancel::new()).unwrap();
        assert!(all.marginals(&codes, &background[1..], &Cancel::new()).is_err());
        for (row, (sequence, values)) in codes.chunks(n).zip(marginals.chunks(n)).enumerate() {
            let one = of(vec![networks[row % 3].clone()]);
            for (i, value) in values.iter().enumerate() {
                let mut mutants = sequence.repeat(q);
                (0..q).for_each(|a| mutants[a * n + i] = a as u8);
                let scores = one.predict(&mutants, &Cancel::new()).unwrap();
                let chances = &background[i * q..][..q];
                let mean: f64 = scores.iter().zip(chances).map(|(score, p)| score * p).sum();
                let expected = scores[sequence[i] as usize] - mean;
                assert!(
                    (value - expected).abs() < 2e-5 * (1.0 + scores[0].abs() * q as f64),
                    "{row} {i}: {value} for {expected}"
                );
            }
        }
    }
}

#[test]
fn outputs_along_walks_are_those_of_each_sequence() {
    for (n, q, seed, pool) in [(1, 2, 0, 1), (3, 4, 1, 1), (9, 3, 2, 1), (23, 5, 3, 1), (17, 4, 4, 3)] {
        let space = SequenceSpace::new(&"ACGTU"[..q], n).unwrap();
        let shape = Shape { n, q, channels: 6, hidden: 5, pool };
        let networks: Vec<Vec<f32>> = (1..4).map(|stream| shape.random(seed, stream)).collect();
        let of = |rows| Ensemble::new(space.clone(), (6, 5, pool), rows, (3.0, 2.0)).unwrap();
        let all = of(networks.clone());
        let (count, cancel) = (70, Cancel::new());
        let (starts, targets) = (random_codes(q, count * n, seed), random_codes(q, count * n, seed + 9));
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let orders: Vec<u32> = (0..count)
            .flat_map(|_| {
                order.shuffle(&mut rng);
                order.clone()
            })
            .collect();
        let walks = Walks::new(&space, &starts, &targets, &orders).unwrap();
        let draws: Vec<u32> = (0..count as u32 / 2).map(|pair| pair * pair + 1).collect();
        assert!(all.walks(&walks, &draws[1..], &cancel).is_err());
        let values = all.walks(&walks, &draws, &cancel).unwrap();
        for (row, values) in values.chunks(n + 1).enumerate() {
            let one = of(vec![networks[draws[row / 2] as usize % 3].clone()]);
            let mut sequence = starts[row * n..][..n].to_vec();
            for step in 0..=n {
                if step > 0 {
                    let position = orders[row * n + step - 1] as usize;
                    sequence[position] = targets[row * n + position];
                }
                let expected = one.predict(&sequence, &cancel).unwrap()[0];
                let value = values[step];
                assert!((value - expected).abs() < 1e-4, "{row} {step}: {value} for {expected}");
            }
        }
    }
}

#[test]
fn a_motif_and_effects_of_positions_are_learned_from_long_sequences() {
    let (n, count) = (120, 1_200);
    let space = SequenceSpace::new("ACGT", n).unwrap();
    let codes = random_codes(4, (count + 300) * n, 5);
    let motif = [2, 0, 3, 1, 0, 2];
    let model = |word: &[u8]| {
        let matches = |at: &[u8]| at.iter().zip(&motif).filter(|(a, b)| a == b).count();
        word.windows(6).map(matches).max().unwrap() as f64 + f64::from(word[7])
            - 2.0 * f64::from(word[90] / 2)
    };
    let values: Vec<f64> = codes.chunks(n).map(model).collect();
    let training = Training {
        members: 1,
        channels: 16,
        hidden: 16,
        pool: 5,
        epochs: 10,
        rate: 5e-3,
        ..Training::default()
    };
    let cancel = Cancel::new();
    let (known, new) = codes.split_at(count * n);
    let ensemble = Ensemble::train(&space, known, &values[..count], None, &training, &cancel).unwrap();
    let linear = &ensemble.parameters().next().unwrap()[ensemble.shape().learned()..];
    let effects: Vec<usize> = (0..n).filter(|i| linear[4 * i..][..4].iter().any(|w| *w != 0.0)).collect();
    assert!(effects.contains(&7) && effects.contains(&90) && effects.len() < 6, "{effects:?}");
    let predicted = ensemble.predict(new, &cancel).unwrap();
    let test = &values[count..];
    let mean = test.iter().sum::<f64>() / test.len() as f64;
    let error: f64 = predicted.iter().zip(test).map(|(p, v)| (p - v).powi(2)).sum();
    let variance: f64 = test.iter().map(|v| (v - mean).powi(2)).sum();
    assert!(error < 0.1 * variance, "{}", error / variance);
}

#[test]
fn members_with_large_errors_are_left_out() {
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    let kept =
        without_bad(vec![(0.3, 'a'), (0.1, 'b'), (0.2, 'c'), (0.21, 'd'), (nan, 'e'), (infinite, 'f')]);
    assert_eq!(kept, ['b', 'c']);
    assert_eq!(without_bad(vec![(0.0, 'a'), (0.0, 'b'), (1e-300, 'c')]), ['a', 'b']);
    // Networks that never had a finite error stay, so that there is always one.
    assert_eq!(without_bad(vec![(infinite, 'a'), (infinite, 'b')]), ['a', 'b']);
}
