//! Training: AdamW with a one-cycle rate, and the best epoch by held-out sequences.

use std::collections::HashMap;
use std::f64::consts::PI;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::additive::Additive;
use super::pass::{Workspace, flipped};
use super::shape::Shape;
use super::{Network, Training, seeds, squared_error};
use crate::cancel::Cancel;
use crate::error::Result;

/// Sequences of one task. The sum over tasks has a fixed order, so the number of threads changes no bit.
pub(super) const CHUNK: usize = 16;
/// Sequences of one step.
const BATCH: usize = 64;
/// One of this many sequences is held out to choose the epoch.
const HELD_OUT: usize = 8;
/// Epochs from one look at the held-out sequences to the next.
const LOOK: usize = 2;
/// Fraction of the steps in which the rate rises.
const RISING: f64 = 0.2;
/// The rate starts at its maximum divided by this number.
const START: f64 = 25.0;
/// The rate ends at its start divided by this number.
const END: f64 = 1e4;
/// The decay of the mean gradient at the highest rate, and at the start and the end.
const FIRST_DECAYS: (f64, f64) = (0.85, 0.95);
/// The decay of the mean squared gradient.
const SECOND_DECAY: f64 = 0.999;
/// Keeps the step finite where a gradient is zero.
const EPSILON: f64 = 1e-8;

/// Sequences with standardised values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standardised<'a> {
    pub(super) shape: Shape,
    pub(super) codes: &'a [u8],
    pub(super) values: &'a [f32],
    pub(super) weights: Option<&'a [f32]>,
}

impl Standardised<'_> {
    pub(super) fn codes_of(&self, row: u32) -> &[u8] {
        &self.codes[row as usize * self.shape.n..][..self.shape.n]
    }

    pub(super) fn weight(&self, row: u32) -> f32 {
        self.weights.map_or(1.0, |weights| weights[row as usize])
    }

    /// Random rows to train on, and held-out rows; copies of one sequence stay together.
    fn split(&self, rng: &mut ChaCha8Rng) -> (Vec<u32>, Vec<u32>) {
        let mut units: HashMap<&[u8], u32> = HashMap::new();
        let unit: Vec<u32> = (0..self.values.len() as u32)
            .map(|row| {
                let next = units.len() as u32;
                *units.entry(self.codes_of(row)).or_insert(next)
            })
            .collect();
        let mut order: Vec<u32> = (0..units.len() as u32).collect();
        order.shuffle(rng);
        let mut held = vec![false; units.len()];
        order[..units.len() / HELD_OUT].iter().for_each(|&unit| held[unit as usize] = true);
        (0..self.values.len() as u32).partition(|&row| !held[unit[row as usize] as usize])
    }
}

/// The state of AdamW (Loshchilov and Hutter 2019).
pub(super) struct AdamW {
    means: Vec<f32>,
    squares: Vec<f32>,
    steps: usize,
    total: usize,
    rate: f64,
    decay: f64,
}

impl AdamW {
    pub(super) fn new(parameters: usize, total: usize, (rate, decay): (f64, f64)) -> Self {
        Self { means: vec![0.0; parameters], squares: vec![0.0; parameters], steps: 0, total, rate, decay }
    }

    /// The rate of the next step and the decay of the mean gradient (one cycle: Smith and Topin 2018).
    fn cycle(&self) -> (f64, f64) {
        let rising = (RISING * self.total as f64 - 1.0).max(1.0);
        let step = self.steps as f64;
        let between = |from: f64, to: f64, fraction: f64| {
            to + (from - to) * (1.0 + (PI * fraction.clamp(0.0, 1.0)).cos()) / 2.0
        };
        let (fast, slow) = FIRST_DECAYS;
        if step <= rising {
            let fraction = step / rising;
            (between(self.rate / START, self.rate, fraction), between(slow, fast, fraction))
        } else {
            let fraction = (step - rising) / (self.total as f64 - 1.0 - rising).max(1.0);
            (between(self.rate, self.rate / START / END, fraction), between(fast, slow, fraction))
        }
    }

    pub(super) fn step(&mut self, parameters: &mut [f32], gradient: &[f32]) {
        let (rate, first) = self.cycle();
        self.steps += 1;
        let corrected = 1.0 - first.powi(self.steps as i32);
        let root = (1.0 - SECOND_DECAY.powi(self.steps as i32)).sqrt();
        let kept = (1.0 - rate * self.decay) as f32;
        let (size, first, second) = ((rate / corrected) as f32, first as f32, SECOND_DECAY as f32);
        let (root, epsilon) = ((1.0 / root) as f32, EPSILON as f32);
        let state = self.means.iter_mut().zip(&mut self.squares);
        for ((parameter, &slope), (mean, square)) in parameters.iter_mut().zip(gradient).zip(state) {
            *mean = first * *mean + (1.0 - first) * slope;
            *square = second * *square + (1.0 - second) * slope * slope;
            *parameter = kept * *parameter - size * *mean / (square.sqrt() * root + epsilon);
        }
    }
}

/// Buffers of one member.
struct Batch {
    workspaces: Vec<Workspace>,
    codes: Vec<Vec<u8>>,
    slopes: Vec<Vec<f32>>,
    /// Output minus value of each row of the data, at its last step.
    errors: Vec<f32>,
    gradient: Vec<f32>,
}

impl Batch {
    fn new(shape: Shape, count: usize) -> Self {
        let chunks = BATCH / CHUNK;
        Self {
            workspaces: vec![Workspace::new(shape, CHUNK, true); chunks],
            codes: vec![Vec::new(); chunks],
            slopes: vec![Vec::new(); chunks],
            errors: vec![0.0; count],
            gradient: vec![0.0; shape.parameters()],
        }
    }

    /// The gradient of the mean weighted squared error over rows.
    fn gradient(&mut self, data: &Standardised<'_>, parameters: &[f32], rows: &[u32]) -> &[f32] {
        let weight: f32 = rows.iter().map(|&row| data.weight(row)).sum();
        let flipped = flipped(data.shape, parameters);
        let chunks =
            rows.par_chunks(CHUNK).zip(&mut self.workspaces).zip(&mut self.codes).zip(&mut self.slopes);
        chunks.for_each(|(((rows, workspace), codes), slopes)| {
            codes.clear();
            rows.iter().for_each(|&row| codes.extend_from_slice(data.codes_of(row)));
            let outputs = workspace.forward(parameters, codes);
            slopes.clear();
            slopes.extend(outputs.iter().zip(rows).map(|(output, &row)| {
                2.0 * data.weight(row) * (output - data.values[row as usize]) / weight
            }));
            workspace.backward(parameters, &flipped, codes, slopes);
        });
        let slopes = self.slopes.iter().flatten();
        for (slope, &row) in slopes.zip(rows) {
            let own = data.weight(row);
            self.errors[row as usize] = if own > 0.0 { slope * weight / (2.0 * own) } else { 0.0 };
        }
        self.gradient.fill(0.0);
        for workspace in &self.workspaces[..rows.len().div_ceil(CHUNK)] {
            self.gradient.iter_mut().zip(&workspace.gradient).for_each(|(sum, value)| *sum += value);
        }
        &self.gradient
    }
}

/// Trains one member. Returns the smallest mean squared error of its held-out sequences, and its parameters at that epoch.
pub(super) fn member(
    data: &Standardised<'_>,
    training: &Training,
    member: usize,
    cancel: &Cancel,
) -> Result<(f64, Vec<f32>)> {
    let shape = data.shape;
    let mut rng = ChaCha8Rng::seed_from_u64(training.seed);
    rng.set_stream(2 * member as u64);
    let (mut rows, held) = data.split(&mut rng);
    let held_codes: Vec<u8> = held.iter().flat_map(|&row| data.codes_of(row)).copied().collect();
    let mut parameters = shape.random(training.seed, 2 * member as u64 + 1);
    let steps = training.epochs * rows.len().div_ceil(BATCH);
    let mut additive = shape.windows().then(|| (Additive::new(data, &rows), rows.clone()));
    if let Some((additive, rows)) = &mut additive {
        let values = rows.iter().map(|&row| f64::from(data.values[row as usize]));
        let residuals = additive.fit(values, 1.0, &mut parameters);
        seeds::plant(data, rows, residuals, &mut parameters);
    }
    let held_weight: f64 = held.iter().map(|&row| f64::from(data.weight(row))).sum();
    let mut noise = 1.0_f64;
    let look = if shape.windows() { 1 } else { LOOK };
    let mut optimiser = AdamW::new(shape.learned(), steps, (training.rate, training.decay));
    let mut batch = Batch::new(shape, data.values.len());
    let mut best = (f64::INFINITY, parameters.clone());
    for epoch in 1..=training.epochs {
        rows.shuffle(&mut rng);
        for rows in rows.chunks(BATCH) {
            cancel.check()?;
            let gradient = batch.gradient(data, &parameters, rows);
            optimiser.step(&mut parameters, gradient);
        }
        if let Some((additive, rows)) = &mut additive {
            let residuals = rows.iter().map(|&row| -f64::from(batch.errors[row as usize]));
            additive.fit(residuals, noise, &mut parameters);
        }
        if epoch.is_multiple_of(look) || epoch == training.epochs {
            let network = Network { shape, parameters };
            let outputs = network.outputs(&held_codes, cancel)?;
            parameters = network.parameters;
            let terms = outputs.iter().zip(&held).map(|(&output, &row)| {
                squared_error(f64::from(output), f64::from(data.values[row as usize]), data.weight(row))
            });
            let error: f64 = terms.sum();
            noise = (error / held_weight).min(1.0);
            if error < best.0 {
                best = (error, parameters.clone());
            }
        }
    }
    let (error, parameters) = best;
    Ok((error / held_weight.max(f64::MIN_POSITIVE), parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_maximum_and_falls_to_almost_nothing() {
        let mut optimiser = AdamW::new(0, 1_000, (0.01, 0.1));
        let mut at = |steps| {
            optimiser.steps = steps;
            optimiser.cycle()
        };
        let close =
            |a: (f64, f64), b: (f64, f64)| assert!((a.0 - b.0).abs() < 1e-9 && (a.1 - b.1).abs() < 1e-9);
        close(at(0), (0.01 / 25.0, 0.95));
        close(at(199), (0.01, 0.85));
        close(at(999), (0.01 / 25.0 / 1e4, 0.95));
        let rates: Vec<f64> = (0..1_000).map(|step| at(step).0).collect();
        assert!(rates[..200].is_sorted() && rates[199..].iter().rev().is_sorted());
    }
}
