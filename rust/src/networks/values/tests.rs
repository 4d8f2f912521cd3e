//! Networks of values against a slow network, and against enumerated Shapley values.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::head::{self, Part, Passes, WIDTH};
use super::{Marginals, Shape, ValueNetwork, ValuesTraining};
use crate::cancel::Cancel;
use crate::networks::pass::flipped;
use crate::networks::shape::PLACED;
use crate::networks::tests::{check_gradient, has_derivatives, random_codes, silu, slow_trunk};
use crate::space::SequenceSpace;

/// The outputs for one sequence, neuron by neuron.
fn slow(shape: &Shape, parameters: &[f64], sequence: &[u8]) -> Vec<f64> {
    let &Shape { n, channels, hidden, q, .. } = shape;
    let (local, context) = slow_trunk(shape, parameters, sequence);
    let of = |part: Part, columns: usize, row: usize, column: usize| {
        parameters[shape.trunk() + part.range(shape).start + row * columns + column]
    };
    let dense = |weights, bias, columns, column| -> f64 {
        let sum: f64 = (0..hidden).map(|h| context[h] * of(weights, columns, h, column)).sum();
        sum + of(bias, columns, 0, column)
    };
    let middle: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let scaled = (0..channels)
                .map(|c| local[i][c] * (1.0 + dense(Part::Factors, Part::FactorsBias, channels, c)));
            let numbers =
                (0..PLACED).map(|p| dense(Part::Context, Part::ContextBias, n * PLACED, i * PLACED + p));
            let inputs: Vec<f64> = scaled.chain(numbers).collect();
            let sum = |c| -> f64 {
                inputs.iter().enumerate().map(|(row, value)| value * of(Part::Mix, channels, row, c)).sum()
            };
            (0..channels).map(|c| silu(sum(c) + of(Part::MixBias, channels, 0, c))).collect()
        })
        .collect();
    let output = |i: usize| {
        let mut out = dense(Part::Direct, Part::DirectBias, n, i);
        out += of(Part::Linear, q, i, sequence[i] as usize);
        for place in 0..WIDTH {
            if let Some(j) = (i + place).checked_sub(WIDTH / 2).filter(|&j| j < n) {
                out += (0..channels).map(|c| middle[j][c] * of(Part::Last, WIDTH, c, place)).sum::<f64>();
            }
        }
        out
    };
    (0..n).map(output).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn outputs_and_gradients_are_those_of_the_slow_network(
        n in 1_usize..9,
        q in 2_usize..5,
        channels in 1_usize..7,
        hidden in 1_usize..7,
        count in 1_usize..4,
        seed in 0_u64..1_000,
    ) {
        let shape = Shape { n, q, channels, hidden, pool: 1 };
        let mut parameters = shape.random(seed, 1)[..shape.trunk()].to_vec();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        parameters.extend((0..head::parameters(&shape)).map(|_| rng.random::<f32>() - 0.5));
        let exact: Vec<f64> = parameters.iter().map(|&value| f64::from(value)).collect();
        let codes = random_codes(q, count * n, seed);
        prop_assume!(has_derivatives(&shape, &exact, &codes));
        let slopes: Vec<f32> = (0..count * n).map(|i| 0.5 + (i % 5) as f32).collect();
        let total = |parameters: &[f64]| -> f64 {
            let outputs = codes.chunks(n).flat_map(|sequence| slow(&shape, parameters, sequence));
            outputs.zip(&slopes).map(|(output, &slope)| output * f64::from(slope)).sum()
        };
        // A longer chunk before must leave nothing behind.
        let mut passes = Passes::new(shape, 8, true);
        let back = flipped(shape, &parameters);
        passes.forward(&parameters, &random_codes(q, 8 * n, seed + 1));
        passes.backward(&parameters, &back, &random_codes(q, 8 * n, seed + 1), &vec![1.0; 8 * n]);
        let outputs = passes.forward(&parameters, &codes).to_vec();
        let expected = codes.chunks(n).flat_map(|sequence| slow(&shape, &exact, sequence));
        for (output, expected) in outputs.iter().zip(expected) {
            prop_assert!((f64::from(*output) - expected).abs() <= 5e-6 * (1.0 + expected.abs()));
        }
        passes.backward(&parameters, &back, &codes, &slopes);
        let trunk = passes.trunk.gradient[..shape.trunk()].iter();
        check_gradient(trunk.chain(&passes.gradient).copied(), &exact, total, 2e-6);
    }
}

const N: usize = 5;

/// A function with interactions.
fn model(z: &[u8]) -> f64 {
    let pairs = z.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
    pairs * pairs + f64::from(u8::from(z[0] == 1 && z[4] == 2)) * 3.0
}

/// Mean of the model if the positions of a mask are those of `x`.
fn game(x: &[u8], mask: usize, background: &[f64]) -> f64 {
    (0..3_usize.pow(N as u32))
        .map(|word| {
            let (mut z, mut chance, mut rest) = ([0_u8; N], 1.0, word);
            for i in 0..N {
                z[i] = (rest % 3) as u8;
                rest /= 3;
                chance *= match mask >> i & 1 {
                    1 => f64::from(u8::from(z[i] == x[i])),
                    _ => background[i * 3 + z[i] as usize],
                };
            }
            chance * model(&z)
        })
        .sum()
}

fn shapley(x: &[u8], background: &[f64]) -> Vec<f64> {
    let games: Vec<f64> = (0..1 << N).map(|mask| game(x, mask, background)).collect();
    let factorial = |k: u32| f64::from((1..=k).product::<u32>());
    let value = |i: usize| {
        let without = (0..1_usize << N).filter(|mask| mask >> i & 1 == 0);
        without
            .map(|mask| {
                let s = mask.count_ones();
                let weight = factorial(s) * factorial(N as u32 - s - 1) / factorial(N as u32);
                weight * (games[mask | 1 << i] - games[mask])
            })
            .sum()
    };
    (0..N).map(value).collect()
}

struct Toy {
    codes: Vec<u8>,
    values: Vec<f64>,
    kept: Vec<f64>,
    background: Vec<f64>,
}

impl Toy {
    fn new(background: &[f64], count: usize, discount: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (mut codes, mut values, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let t = discount + (1.0 - discount) * rng.random::<f64>();
            let mut z = [0_u8; N];
            for (i, symbol) in z.iter_mut().enumerate() {
                let uniform = rng.random_range(0..3_u32) as u8;
                let u: f64 = rng.random();
                let p = &background[i * 3..][..3];
                let drawn = if u < p[0] { 0 } else { 1 + u8::from(u >= p[0] + p[1]) };
                *symbol = if rng.random::<f64>() < t { uniform } else { drawn };
            }
            for i in 0..N {
                let mean = (0..3).map(|a| {
                    let mut mutant = z;
                    mutant[i] = a as u8;
                    background[i * 3 + a] * model(&mutant)
                });
                values.push(model(&z) - mean.sum::<f64>());
            }
            codes.extend(z);
            kept.push(t);
        }
        Self { codes, values, kept, background: background.to_vec() }
    }

    fn marginals(&self) -> Marginals<'_> {
        Marginals { codes: &self.codes, values: &self.values, kept: &self.kept, background: &self.background }
    }
}

fn space() -> SequenceSpace {
    SequenceSpace::new("ABC", N).unwrap()
}

#[test]
fn outputs_become_shapley_values_under_uniform_product_and_fixed_backgrounds() {
    let uniform = vec![1.0 / 3.0; 3 * N];
    let product = [0.5, 0.3, 0.2].repeat(N);
    let fixed: Vec<f64> = (0..N).flat_map(|i| (0..3).map(move |a| f64::from(u8::from(a == i % 3)))).collect();
    let training = ValuesTraining {
        channels: 12,
        hidden: 12,
        steps: 450,
        rate: 1e-2,
        discount: 0.5,
        ..Default::default()
    };
    for background in [uniform, product, fixed] {
        let toy = Toy::new(&background, 2_000, training.discount);
        let network =
            ValueNetwork::train(&space(), toy.marginals(), None, &training, &Cancel::new()).unwrap();
        let codes = random_codes(3, 60 * N, 9);
        let values = network.values(&codes, &Cancel::new()).unwrap();
        let exact: Vec<f64> = codes.chunks(N).flat_map(|x| shapley(x, &background)).collect();
        let error: f64 = values.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum();
        let size: f64 = exact.iter().map(|b| b.powi(2)).sum();
        assert!(error < 0.05 * size, "{}", error / size);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let toy = Toy::new(&[1.0 / 3.0; 3 * N], 200, 0.5);
    let training =
        ValuesTraining { channels: 8, hidden: 8, steps: 5, discount: 0.5, ..ValuesTraining::default() };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let train = || ValueNetwork::train(&space(), toy.marginals(), None, &training, &Cancel::new());
        let network = pool.install(train).unwrap();
        let bits: Vec<u32> = network.parameters().iter().map(|value| value.to_bits()).collect();
        (bits, pool.install(|| network.values(&toy.codes, &Cancel::new())).unwrap())
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(4));
}

#[test]
fn bad_input_is_refused_with_its_place() {
    let toy = Toy::new(&[1.0 / 3.0; 3 * N], 150, 0.5);
    let usual = ValuesTraining::default();
    let train = |marginals: Marginals<'_>, training: &ValuesTraining| {
        ValueNetwork::train(&space(), marginals, None, training, &Cancel::new()).unwrap_err().to_string()
    };
    let all = toy.marginals();
    assert!(train(Marginals { values: &toy.values[1..], ..all }, &usual).contains("749"));
    assert!(train(Marginals { kept: &toy.kept[1..], ..all }, &usual).contains("149"));
    assert!(train(Marginals { background: &toy.background[1..], ..all }, &usual).contains("14"));
    assert!(train(Marginals { codes: &toy.codes[..50], ..all }, &usual).contains("at least 100"));
    assert!(train(Marginals { values: &[0.0; 750], ..all }, &usual).contains("not all 0"));
    let mut wrong = toy.values.clone();
    wrong[7] = f64::NAN;
    assert!(train(Marginals { values: &wrong, ..all }, &usual).contains("index 7"));
    let mut outside = toy.codes.clone();
    outside[7] = 9;
    assert!(train(Marginals { codes: &outside, ..all }, &usual).contains("sequence 1"));
    for (training, name) in [
        (ValuesTraining { steps: 0, ..usual.clone() }, "steps"),
        (ValuesTraining { channels: 0, ..usual.clone() }, "channels"),
        (ValuesTraining { hidden: 2_000, ..usual.clone() }, "hidden"),
        (ValuesTraining { rate: -1.0, ..usual.clone() }, "rate"),
        (ValuesTraining { discount: f64::NAN, ..usual.clone() }, "discount"),
    ] {
        let message = train(all, &training);
        assert!(message.contains(name), "{message}");
    }
    let canceled = Cancel::new();
    canceled.set();
    assert!(ValueNetwork::train(&space(), all, None, &usual, &canceled).is_err());
    let few = ValueNetwork::new(space(), 4, 4, vec![0.0; 3], 1.0).unwrap_err().to_string();
    assert!(few.contains("3 parameters"), "{few}");
}
