//! Training of networks with one output for each position, on marginals.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::head::{self, Passes};
use super::{Shape, ValueNetwork};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::networks::pass::flipped;
use crate::networks::train::{AdamW, CHUNK};
use crate::networks::{Ensemble, FEWEST};
use crate::space::SequenceSpace;

/// Tasks of one step, each with `CHUNK` sequences.
const TASKS: usize = 16;
/// Fraction of the averaged parameters that a step keeps.
const AVERAGED: f32 = 0.99;
/// The root mean square of the marginals is this multiple of the scale of the outputs, because values are smaller.
const RATIO: f64 = 3.0;

/// Random sequences and their marginals.
///
/// Sequence `z` arises from a uniform `x`: each symbol is kept with probability `t` and drawn from the background
/// otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Marginals<'a> {
    /// Codes `(N, n)`.
    pub codes: &'a [u8],
    /// Marginals `(N, n)`.
    pub values: &'a [f64],
    /// The probability `t` of each sequence, from `discount` to 1.
    pub kept: &'a [f64],
    /// Probability of each symbol at each position under the background, `(n, q)`.
    pub background: &'a [f64],
}

/// How networks with one output for each position are trained.
#[derive(Clone, Debug, PartialEq)]
pub struct ValuesTraining {
    /// Channels of the convolutions, and width of the dense layers, without an ensemble to start from.
    pub channels: usize,
    /// Width of the dense layers.
    pub hidden: usize,
    /// Steps, of 256 sequences each.
    pub steps: usize,
    /// Highest rate of the one-cycle schedule.
    pub rate: f64,
    /// Decay of the parameters (AdamW), relative to the rate.
    pub decay: f64,
    /// `ρ` of [`crate::networks::values`].
    pub discount: f64,
    /// Seed of the parameters and of the sequences.
    pub seed: u64,
}

impl Default for ValuesTraining {
    fn default() -> Self {
        Self { channels: 64, hidden: 64, steps: 1_200, rate: 2e-3, decay: 0.05, discount: 0.8, seed: 0 }
    }
}

/// Standardised marginals.
struct Data<'a> {
    shape: Shape,
    marginals: Marginals<'a>,
    values: Vec<f32>,
    discount: f64,
    seed: u64,
}

/// Buffers of one task: the network, and the network of averaged parameters.
struct Task {
    passes: Passes,
    averaged: Passes,
    codes: Vec<u8>,
    kept: Vec<u8>,
    labels: Vec<f32>,
    weights: Vec<f32>,
    slopes: Vec<f32>,
}

impl Data<'_> {
    fn probability(&self, i: usize, symbol: u8) -> f64 {
        self.marginals.background[i * self.shape.q + usize::from(symbol)]
    }

    fn drawn(&self, i: usize, rng: &mut impl Rng) -> u8 {
        let mut left: f64 = rng.random();
        for symbol in 0..self.shape.q - 1 {
            left -= self.marginals.background[i * self.shape.q + symbol];
            if left < 0.0 {
                return symbol as u8;
            }
        }
        (self.shape.q - 1) as u8
    }

    /// Draws sequences `x` for random `z`, and `x^ρ`; a value has weight 0 unless all three have its symbol.
    fn draw(&self, task: &mut Task, stream: u64) {
        let Shape { n, q, .. } = self.shape;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        let rho = self.discount;
        for sequence in 0..CHUNK {
            let row = rng.random_range(0..self.marginals.kept.len());
            let t = self.marginals.kept[row];
            for i in 0..n {
                let (at, from) = (sequence * n + i, row * n + i);
                let symbol = self.marginals.codes[from];
                // Bayes: the probability that `z` kept its symbol, for a uniform symbol of `x`.
                let other = (1.0 - t) * self.probability(i, symbol);
                let same = rng.random::<f64>() * (t + q as f64 * other) < t;
                let own = if same { symbol } else { rng.random_range(0..q as u32) as u8 };
                let next = if rng.random::<f64>() < rho { own } else { self.drawn(i, &mut rng) };
                let covered = own == symbol && own == next;
                let chance = (t + other) * (rho + (1.0 - rho) * self.probability(i, own));
                (task.codes[at], task.kept[at]) = (own, next);
                task.weights[at] = if covered { (1.0 / chance) as f32 } else { 0.0 };
                task.labels[at] = (1.0 - rho as f32) * self.values[from];
            }
        }
    }

    /// The gradient of the mean squared error of one task, divided by the number of tasks.
    fn run(&self, task: &mut Task, parameters: &[f32], averaged: &[f32], flipped: &[f32], stream: u64) {
        self.draw(task, stream);
        let later = task.averaged.forward(averaged, &task.kept);
        let rho = self.discount as f32;
        task.labels.iter_mut().zip(later).for_each(|(label, value)| *label += rho * value);
        let outputs = task.passes.forward(parameters, &task.codes);
        let factor = 2.0 / (TASKS * task.codes.len()) as f32;
        let errors = outputs.iter().zip(&task.labels).zip(&task.weights);
        let slopes = task.slopes.iter_mut().zip(errors);
        slopes.for_each(|(slope, ((output, label), weight))| *slope = factor * weight * (output - label));
        task.passes.backward(parameters, flipped, &task.codes, &task.slopes);
    }
}

impl ValueNetwork {
    /// Trains a network on marginals. It starts from the layers of the first network of `start`, if there is one.
    ///
    /// # Errors
    /// If the codes do not belong to the space, there are fewer than [`FEWEST`] sequences, the arrays do not fit
    /// together, all marginals are 0, a number is out of range, or the caller cancels.
    pub fn train(
        space: &SequenceSpace,
        marginals: Marginals<'_>,
        start: Option<&Ensemble>,
        training: &ValuesTraining,
        cancel: &Cancel,
    ) -> Result<Self> {
        let own = Shape {
            n: space.n(),
            q: space.q(),
            channels: training.channels,
            hidden: training.hidden,
            pool: 1,
        };
        // Windows have lost the positions.
        let start = start.filter(|start| !start.shape().windows());
        let shape = start.map_or(own, Ensemble::shape);
        check(space, &shape, &marginals, training)?;
        let square: f64 = marginals.values.iter().map(|value| value * value).sum();
        let scale = (square / marginals.values.len() as f64).sqrt() / RATIO;
        if scale == 0.0 || !scale.is_finite() {
            let got = format!("root mean square {}", scale * RATIO);
            return Err(Error::Parameter { name: "marginals", expected: "not all 0", got });
        }
        let random = || shape.random(training.seed, 0);
        let trunk = start.and_then(|start| start.parameters().next()).map_or_else(random, <[f32]>::to_vec);
        let mut parameters = trunk[..shape.trunk()].to_vec();
        parameters.extend(head::random(&shape, training.seed));
        let values = marginals.values.iter().map(|value| (value / scale) as f32).collect();
        let data = Data { shape, marginals, values, discount: training.discount, seed: training.seed };
        fit(&data, &mut parameters, training, cancel)?;
        Self::new(space.clone(), shape.channels, shape.hidden, parameters, scale)
    }
}

fn fit(data: &Data<'_>, parameters: &mut [f32], training: &ValuesTraining, cancel: &Cancel) -> Result<()> {
    let shape = data.shape;
    let size = CHUNK * shape.n;
    let mut tasks: Vec<Task> = (0..TASKS)
        .map(|_| Task {
            passes: Passes::new(shape, CHUNK, true),
            averaged: Passes::new(shape, CHUNK, false),
            codes: vec![0; size],
            kept: vec![0; size],
            labels: vec![0.0; size],
            weights: vec![0.0; size],
            slopes: vec![0.0; size],
        })
        .collect();
    let mut averaged = parameters.to_vec();
    let mut gradient = vec![0.0; parameters.len()];
    let mut optimiser = AdamW::new(parameters.len(), training.steps, (training.rate, training.decay));
    for step in 0..training.steps {
        cancel.check()?;
        let (current, flipped) = (&*parameters, flipped(shape, parameters));
        tasks.par_iter_mut().enumerate().for_each(|(index, task)| {
            data.run(task, current, &averaged, &flipped, (step * TASKS + index) as u64);
        });
        gradient.fill(0.0);
        let (of_trunk, of_head) = gradient.split_at_mut(shape.trunk());
        for task in &tasks {
            of_trunk.iter_mut().zip(&task.passes.trunk.gradient).for_each(|(sum, value)| *sum += value);
            of_head.iter_mut().zip(&task.passes.gradient).for_each(|(sum, value)| *sum += value);
        }
        optimiser.step(parameters, &gradient);
        averaged.iter_mut().zip(&*parameters).for_each(|(a, p)| *a = AVERAGED * *a + (1.0 - AVERAGED) * p);
    }
    Ok(())
}

fn check(
    space: &SequenceSpace,
    shape: &Shape,
    data: &Marginals<'_>,
    training: &ValuesTraining,
) -> Result<()> {
    crate::networks::check_size(shape, 1)?;
    let count = space.check(data.codes)?;
    let bad = |name, expected, got: String| Err(Error::Parameter { name, expected, got });
    if count < FEWEST {
        return bad("sequences", "at least 100 to train networks", count.to_string());
    }
    let n = space.n();
    let lengths = [("marginals", data.values.len(), count * n), ("kept", data.kept.len(), count)];
    for (what, got, expected) in
        lengths.into_iter().chain([("background", data.background.len(), n * space.q())])
    {
        if got != expected {
            return Err(Error::ValueCount { what, got, expected });
        }
    }
    if training.steps == 0 {
        return bad("steps", "at least 1", "0".into());
    }
    for (name, value) in [("rate", training.rate), ("decay", training.decay), ("discount", training.discount)]
    {
        if !(0.0..=1.0).contains(&value) {
            return bad(name, "a number from 0 to 1", value.to_string());
        }
    }
    for (what, numbers) in [("marginals", data.values), ("kept", data.kept), ("background", data.background)]
    {
        if let Some((index, &value)) = numbers.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { what, index, value });
        }
    }
    Ok(())
}
