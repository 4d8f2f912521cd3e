//! The last layers of a network with one output for each position, and its passes.
//!
//! The dense layers give each sequence a factor for each channel, [`PLACED`] numbers for each position, and a number for
//! each position. Channels times their factors, together with the numbers of their position, go through one more layer.
//! A convolution of its output, the number of the position and a linear part are the output.

use std::ops::Range;

use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::networks::activation::activate;
use crate::networks::pass::{Workspace, add_rows, fill, first_of, product, target};
use crate::networks::shape::{PLACED, Shape, matrix};

/// Width of the last convolution, in positions.
pub(super) const WIDTH: usize = 5;

/// A block of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// From the dense layers to the factors, less 1, of the channels.
    Factors,
    FactorsBias,
    /// From the dense layers to the numbers of each position.
    Context,
    ContextBias,
    /// From the dense layers to the outputs.
    Direct,
    DirectBias,
    /// From channels and numbers of a position to as many channels.
    Mix,
    MixBias,
    /// The last convolution: one row for each channel, one column for each place of the window.
    Last,
    /// One weight for each symbol at each position.
    Linear,
}

/// Dense layers of the head, and their biases.
const DENSE: [(Part, Part); 3] = [
    (Part::Factors, Part::FactorsBias),
    (Part::Context, Part::ContextBias),
    (Part::Direct, Part::DirectBias),
];

impl Part {
    const ALL: [Self; 10] = [
        Self::Factors,
        Self::FactorsBias,
        Self::Context,
        Self::ContextBias,
        Self::Direct,
        Self::DirectBias,
        Self::Mix,
        Self::MixBias,
        Self::Last,
        Self::Linear,
    ];

    /// Rows and columns.
    const fn size(self, shape: &Shape) -> (usize, usize) {
        let &Shape { n, q, channels, hidden, .. } = shape;
        match self {
            Self::Factors => (hidden, channels),
            Self::FactorsBias | Self::MixBias => (1, channels),
            Self::Context => (hidden, n * PLACED),
            Self::ContextBias => (1, n * PLACED),
            Self::Direct => (hidden, n),
            Self::DirectBias => (1, n),
            Self::Mix => (channels + PLACED, channels),
            Self::Last => (channels, WIDTH),
            Self::Linear => (n, q),
        }
    }

    /// Where it is among the parameters of the head.
    pub(super) fn range(self, shape: &Shape) -> Range<usize> {
        let length = |part: Self| {
            let (rows, columns) = part.size(shape);
            rows * columns
        };
        let start = Self::ALL.iter().take_while(|&&other| other != self).map(|&other| length(other)).sum();
        start..start + length(self)
    }

    fn matrix<'a>(self, shape: &Shape, head: &'a [f32]) -> ArrayView2<'a, f32> {
        let (rows, columns) = self.size(shape);
        matrix(&head[self.range(shape)], rows, columns)
    }
}

/// Number of parameters of the head.
pub(super) fn parameters(shape: &Shape) -> usize {
    Part::Linear.range(shape).end
}

/// Random parameters of a head whose outputs are 0.
pub(super) fn random(shape: &Shape, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX);
    let mut parameters = vec![0.0; parameters(shape)];
    for part in [Part::Factors, Part::Context, Part::Mix] {
        let bound = (part.size(shape).0 as f32).sqrt().recip();
        let weights = &mut parameters[part.range(shape)];
        weights.iter_mut().for_each(|weight| *weight = bound * (2.0 * rng.random::<f32>() - 1.0));
    }
    parameters
}

/// Buffers for the passes over up to `capacity` sequences.
#[derive(Clone, Debug)]
pub(super) struct Passes {
    shape: Shape,
    pub(super) trunk: Workspace,
    /// Outputs of the dense layers of the head.
    dense: [Vec<f32>; 3],
    mixed: Vec<f32>,
    middle: Vec<f32>,
    slopes: Vec<f32>,
    /// What each row adds to the outputs of each place of the window around it.
    taps: Vec<f32>,
    outputs: Vec<f32>,
    dense_gradients: [Vec<f32>; 3],
    mixed_gradient: Vec<f32>,
    middle_gradient: Vec<f32>,
    taps_gradient: Vec<f32>,
    /// Gradient of the parameters of the head.
    pub(super) gradient: Vec<f32>,
}

/// The output whose window has the row `j` at this place.
fn output(j: usize, place: usize, n: usize) -> Option<usize> {
    (j + WIDTH / 2).checked_sub(place).filter(|&i| i < n)
}

impl Passes {
    pub(super) fn new(shape: Shape, capacity: usize, training: bool) -> Self {
        let Shape { n, channels, .. } = shape;
        let rows = capacity * n;
        let widths = [channels, n * PLACED, n];
        let backward = |size: usize| vec![0.0; if training { size } else { 0 }];
        Self {
            shape,
            trunk: Workspace::new(shape, capacity, training),
            dense: widths.map(|width| vec![0.0; capacity * width]),
            mixed: vec![0.0; rows * (channels + PLACED)],
            middle: vec![0.0; rows * channels],
            slopes: backward(rows * channels),
            taps: vec![0.0; rows * WIDTH],
            outputs: vec![0.0; rows],
            dense_gradients: widths.map(|width| backward(capacity * width)),
            mixed_gradient: backward(rows * (channels + PLACED)),
            middle_gradient: backward(rows * channels),
            taps_gradient: backward(rows * WIDTH),
            gradient: backward(parameters(&shape)),
        }
    }

    /// The outputs `(B, n)` for sequences of codes; the parameters of the head follow those of the trunk.
    pub(super) fn forward(&mut self, parameters: &[f32], codes: &[u8]) -> &[f32] {
        self.trunk.trunk(parameters, codes);
        let shape = &self.shape;
        let &Shape { n, q, channels, hidden, .. } = shape;
        let (count, rows) = (codes.len() / n, codes.len());
        let head = &parameters[shape.trunk()..];
        let context = matrix(&self.trunk.residual[..count * hidden], count, hidden);
        for ((weights, bias), out) in DENSE.into_iter().zip(&mut self.dense) {
            let width = weights.size(shape).1;
            let out = &mut out[..count * width];
            fill(out, &head[bias.range(shape)]);
            product!(context, weights.matrix(shape, head), 1.0, target(out, count, width, width));
        }
        let [factors, numbers, direct] = &self.dense;
        let stride = self.trunk.stride();
        for (row, mixed) in
            self.mixed[..rows * (channels + PLACED)].chunks_exact_mut(channels + PLACED).enumerate()
        {
            let (sequence, i) = (row / n, row % n);
            let (scaled, others) = mixed.split_at_mut(channels);
            let local = &self.trunk.sum[(sequence * stride + i) * channels..];
            let factors = &factors[sequence * channels..];
            scaled
                .iter_mut()
                .zip(local.iter().zip(factors))
                .for_each(|(out, (a, factor))| *out = a * (1.0 + factor));
            others.copy_from_slice(&numbers[row * PLACED..][..PLACED]);
        }
        let middle = &mut self.middle[..rows * channels];
        fill(middle, &head[Part::MixBias.range(shape)]);
        let mixed = matrix(&self.mixed[..rows * (channels + PLACED)], rows, channels + PLACED);
        product!(mixed, Part::Mix.matrix(shape, head), 1.0, target(middle, rows, channels, channels));
        activate(middle, first_of(&mut self.slopes, rows * channels));
        let taps = &mut self.taps[..rows * WIDTH];
        let middle = matrix(middle, rows, channels);
        product!(middle, Part::Last.matrix(shape, head), 0.0, target(taps, rows, WIDTH, WIDTH));
        let linear = &head[Part::Linear.range(shape)];
        for (sequence, out) in self.outputs[..rows].chunks_exact_mut(n).enumerate() {
            for (i, out) in out.iter_mut().enumerate() {
                let row = sequence * n + i;
                *out = direct[row] + linear[i * q + usize::from(codes[row])];
            }
            for (j, taps) in self.taps[sequence * n * WIDTH..][..n * WIDTH].chunks_exact(WIDTH).enumerate() {
                for (place, tap) in taps.iter().enumerate() {
                    if let Some(i) = output(j, place, n) {
                        out[i] += tap;
                    }
                }
            }
        }
        &self.outputs[..rows]
    }

    /// The gradient of `Σ slope·output` after [`Passes::forward`] of the same sequences; slopes are `(B, n)`.
    pub(super) fn backward(&mut self, parameters: &[f32], flipped: &[f32], codes: &[u8], slopes: &[f32]) {
        let shape = &self.shape;
        let &Shape { n, q, channels, hidden, .. } = shape;
        let (count, rows, wide) = (codes.len() / n, codes.len(), channels + PLACED);
        let head = &parameters[shape.trunk()..];
        self.trunk.gradient.fill(0.0);
        self.trunk.sum_gradient.fill(0.0);
        let linear = &mut self.gradient[Part::Linear.range(shape)];
        linear.fill(0.0);
        for (row, (&symbol, slope)) in codes.iter().zip(slopes).enumerate() {
            linear[row % n * q + usize::from(symbol)] += slope;
        }
        for (row, taps) in self.taps_gradient[..rows * WIDTH].chunks_exact_mut(WIDTH).enumerate() {
            for (place, tap) in taps.iter_mut().enumerate() {
                *tap = output(row % n, place, n).map_or(0.0, |i| slopes[row / n * n + i]);
            }
        }
        let taps = matrix(&self.taps_gradient[..rows * WIDTH], rows, WIDTH);
        let middle = matrix(&self.middle[..rows * channels], rows, channels);
        let gradient = &mut self.gradient[Part::Last.range(shape)];
        product!(middle.t(), taps, 0.0, target(gradient, channels, WIDTH, WIDTH));
        let back = &mut self.middle_gradient[..rows * channels];
        let last = Part::Last.matrix(shape, head);
        product!(taps, last.t(), 0.0, target(back, rows, channels, channels));
        back.iter_mut().zip(&self.slopes).for_each(|(out, slope)| *out *= slope);
        let bias = &mut self.gradient[Part::MixBias.range(shape)];
        bias.fill(0.0);
        add_rows(bias, back);
        let back = matrix(back, rows, channels);
        let mixed = matrix(&self.mixed[..rows * wide], rows, wide);
        let gradient = &mut self.gradient[Part::Mix.range(shape)];
        product!(mixed.t(), back, 0.0, target(gradient, wide, channels, channels));
        let mixed = &mut self.mixed_gradient[..rows * wide];
        product!(back, Part::Mix.matrix(shape, head).t(), 0.0, target(mixed, rows, wide, wide));
        let [of_factors, of_numbers, of_direct] = &mut self.dense_gradients;
        of_factors[..count * channels].fill(0.0);
        of_direct[..rows].copy_from_slice(slopes);
        let stride = self.trunk.stride();
        for (row, mixed) in self.mixed_gradient[..rows * wide].chunks_exact(wide).enumerate() {
            let (sequence, i) = (row / n, row % n);
            let at = (sequence * stride + i) * channels;
            let local = &self.trunk.sum[at..][..channels];
            let of_local = &mut self.trunk.sum_gradient[at..][..channels];
            let factors = &self.dense[0][sequence * channels..];
            let of_factors = &mut of_factors[sequence * channels..];
            for c in 0..channels {
                of_local[c] = mixed[c] * (1.0 + factors[c]);
                of_factors[c] += mixed[c] * local[c];
            }
            of_numbers[row * PLACED..][..PLACED].copy_from_slice(&mixed[channels..]);
        }
        let context = matrix(&self.trunk.residual[..count * hidden], count, hidden);
        let outer = &mut self.trunk.hidden_gradient[..count * hidden];
        outer.fill(0.0);
        for ((weights, bias), back) in DENSE.into_iter().zip(&self.dense_gradients) {
            let width = weights.size(shape).1;
            let sum = &mut self.gradient[bias.range(shape)];
            sum.fill(0.0);
            add_rows(sum, &back[..count * width]);
            let back = matrix(&back[..count * width], count, width);
            let gradient = &mut self.gradient[weights.range(shape)];
            product!(context.t(), back, 0.0, target(gradient, hidden, width, width));
            product!(back, weights.matrix(shape, head).t(), 1.0, target(outer, count, hidden, hidden));
        }
        self.trunk.trunk_backward(parameters, flipped, codes);
    }
}
