//! Forward and backward passes over a few sequences at a time.
//!
//! Sequences of a chunk lie one after another, with rows of zeros between them that are as wide as a convolution
//! reaches. So a convolution is one product of matrices, whose left side is a view of overlapping windows.

use ndarray::{ArrayViewMut2, Axis, ShapeBuilder};

use super::activation::activate;
use super::shape::{Block, SECOND_WIDTH, Shape, matrix, strided};
use super::windows;

/// Rows of zeros between sequences: what the second convolution reaches to one side.
const BETWEEN: usize = SECOND_WIDTH / 2;

/// Buffers for the passes over up to `capacity` sequences.
#[derive(Clone, Debug)]
pub(super) struct Workspace {
    shape: Shape,
    /// Output of the first convolution after activation, with `BETWEEN` rows of zeros before and after.
    first: Vec<f32>,
    /// Slopes of activations, here and below, are empty without training.
    first_slopes: Vec<f32>,
    /// Positions of the largest sums of windows; empty without windows.
    positions: Vec<u32>,
    second_slopes: Vec<f32>,
    /// Sum of both convolutions.
    pub(super) sum: Vec<f32>,
    placed: Vec<f32>,
    /// Means, then maxima, of the channels of each sequence.
    pooled: Vec<f32>,
    /// The row of each maximum.
    largest: Vec<u32>,
    dense: Vec<f32>,
    dense_slopes: Vec<f32>,
    /// Sum of both dense layers.
    pub(super) residual: Vec<f32>,
    residual_slopes: Vec<f32>,
    outputs: Vec<f32>,
    /// Gradient at the input of the second activation, with `BETWEEN` rows of zeros before and after.
    second_gradient: Vec<f32>,
    /// Gradient at `sum`; a head writes its part first.
    pub(super) sum_gradient: Vec<f32>,
    placed_gradient: Vec<f32>,
    /// Gradient at `residual`, which a head writes.
    pub(super) hidden_gradient: Vec<f32>,
    hidden_inner: Vec<f32>,
    pooled_gradient: Vec<f32>,
    /// Gradient of the parameters.
    pub(super) gradient: Vec<f32>,
}

/// `out = beta·out + left · right`.
macro_rules! product {
    ($left:expr, $right:expr, $beta:expr, $out:expr) => {
        ndarray::linalg::general_mat_mul(1.0, &$left, &$right, $beta, &mut $out)
    };
}

pub(super) use product;

/// A slice as a matrix to write to, whose rows start every `stride` values.
#[expect(clippy::expect_used, reason = "the callers size their buffers by the shape")]
pub(super) fn target(
    values: &mut [f32],
    rows: usize,
    columns: usize,
    stride: usize,
) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns).strides((stride, 1)), values)
        .expect("the buffer has these rows")
}

/// Sets each row to the bias.
pub(super) fn fill(rows: &mut [f32], bias: &[f32]) {
    rows.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
}

/// The first values of a buffer, or none if it is empty because there is no training.
pub(super) fn first_of(values: &mut [f32], count: usize) -> &mut [f32] {
    if values.is_empty() { values } else { &mut values[..count] }
}

/// Adds the sum of rows.
pub(super) fn add_rows(sum: &mut [f32], rows: &[f32]) {
    for row in rows.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

impl Workspace {
    /// Buffers; `training` also allocates what the backward pass needs.
    pub(super) fn new(shape: Shape, capacity: usize, training: bool) -> Self {
        let Shape { channels, hidden, .. } = shape;
        let rows = capacity * (shape.rows() + BETWEEN);
        let wide = rows * channels;
        let padded = wide + 2 * BETWEEN * channels;
        let backward = |size: usize| vec![0.0; if training { size } else { 0 }];
        Self {
            shape,
            first: vec![0.0; padded],
            first_slopes: backward(wide),
            positions: vec![0; if shape.windows() { wide } else { 0 }],
            second_slopes: backward(wide),
            sum: vec![0.0; wide],
            placed: vec![0.0; rows * shape.placed()],
            pooled: vec![0.0; 2 * capacity * channels],
            largest: vec![0; capacity * channels],
            dense: vec![0.0; capacity * hidden],
            dense_slopes: backward(capacity * hidden),
            residual: vec![0.0; capacity * hidden],
            residual_slopes: backward(capacity * hidden),
            outputs: vec![0.0; capacity],
            second_gradient: backward(padded),
            sum_gradient: backward(wide),
            placed_gradient: backward(rows * shape.placed()),
            hidden_gradient: backward(capacity * hidden),
            hidden_inner: backward(capacity * hidden),
            pooled_gradient: backward(2 * capacity * channels),
            gradient: backward(shape.parameters()),
        }
    }

    /// Rows from the start of one sequence to the start of the next.
    pub(super) const fn stride(&self) -> usize {
        self.shape.rows() + BETWEEN
    }

    /// The outputs of the network for sequences of codes.
    pub(super) fn forward(&mut self, parameters: &[f32], codes: &[u8]) -> &[f32] {
        self.trunk(parameters, codes);
        let Shape { n, q, hidden, .. } = self.shape;
        let count = codes.len() / n;
        let bias = |block| &parameters[self.shape.range(block)];
        let (output, linear) = (bias(Block::Output), bias(Block::Linear));
        let constant = bias(Block::OutputBias)[0];
        for ((out, sums), word) in
            self.outputs.iter_mut().zip(self.residual.chunks_exact(hidden)).zip(codes.chunks_exact(n))
        {
            let dense: f32 = sums.iter().zip(output).map(|(value, weight)| value * weight).sum();
            let linear: f32 = word.iter().enumerate().map(|(i, &a)| linear[i * q + a as usize]).sum();
            *out = constant + dense + linear;
        }
        &self.outputs[..count]
    }

    /// All layers but the last one.
    pub(super) fn trunk(&mut self, parameters: &[f32], codes: &[u8]) {
        let count = codes.len() / self.shape.n;
        self.convolve(parameters, codes);
        self.pool(count);
        let Shape { channels, hidden, .. } = self.shape;
        let of = |block| self.shape.matrix(parameters, block);
        let bias = |block| &parameters[self.shape.range(block)];
        let (places, stride) = (self.shape.rows() * self.shape.placed(), self.stride() * self.shape.placed());
        let (by_place, by_pool) = of(Block::Dense).split_at(Axis(0), places);
        let (dense, slopes) =
            (&mut self.dense[..count * hidden], first_of(&mut self.dense_slopes, count * hidden));
        fill(dense, bias(Block::DenseBias));
        let mut out = target(dense, count, hidden, hidden);
        if places > 0 {
            product!(strided(&self.placed, count, places, stride), by_place, 1.0, out);
        }
        let pooled = matrix(&self.pooled[..2 * count * channels], count, 2 * channels);
        product!(pooled, by_pool, 1.0, out);
        activate(dense, slopes);
        let residual = &mut self.residual[..count * hidden];
        fill(residual, bias(Block::ResidualBias));
        let mut out = target(residual, count, hidden, hidden);
        product!(matrix(dense, count, hidden), of(Block::Residual), 1.0, out);
        activate(residual, first_of(&mut self.residual_slopes, count * hidden));
        residual.iter_mut().zip(&*dense).for_each(|(sum, value)| *sum += value);
    }

    /// The sums of the first convolution.
    fn convolve_first(&mut self, parameters: &[f32], codes: &[u8]) {
        let shape = self.shape;
        let Shape { n, q, channels, .. } = shape;
        let size = self.stride() * channels;
        let used = shape.rows() * channels;
        let weights = &parameters[shape.range(Block::First)];
        let bias = &parameters[shape.range(Block::FirstBias)];
        let first = self.first[BETWEEN * channels..].chunks_exact_mut(size);
        for (at, (sequence, block)) in codes.chunks_exact(n).zip(first).enumerate() {
            block[used..].fill(0.0);
            if shape.windows() {
                let positions = &mut self.positions[at * size..][..used];
                windows::forward(shape, parameters, sequence, block, positions);
                continue;
            }
            for (i, out) in block[..used].chunks_exact_mut(channels).enumerate() {
                out.copy_from_slice(bias);
                for (place, symbol) in window(sequence, i, shape.first_width()) {
                    let row = &weights[(place * q + symbol) * channels..][..channels];
                    out.iter_mut().zip(row).for_each(|(out, weight)| *out += weight);
                }
            }
        }
    }

    /// Both convolutions, and the channels that keep their positions.
    fn convolve(&mut self, parameters: &[f32], codes: &[u8]) {
        self.convolve_first(parameters, codes);
        let shape = self.shape;
        let (channels, stride, used) = (shape.channels, self.stride(), shape.rows());
        let rows = codes.len() / shape.n * stride;
        let first = &mut self.first[BETWEEN * channels..][..rows * channels];
        activate(first, first_of(&mut self.first_slopes, rows * channels));
        // A shorter chunk than before leaves values behind its last sequence.
        self.first[(BETWEEN + rows) * channels..][..BETWEEN * channels].fill(0.0);
        let sum = &mut self.sum[..rows * channels];
        fill(sum, &parameters[shape.range(Block::SecondBias)]);
        let windows = strided(&self.first, rows, SECOND_WIDTH * channels, channels);
        product!(
            windows,
            shape.matrix(parameters, Block::Second),
            1.0,
            target(sum, rows, channels, channels)
        );
        activate(sum, first_of(&mut self.second_slopes, rows * channels));
        let first = &self.first[BETWEEN * channels..][..rows * channels];
        sum.iter_mut().zip(first).for_each(|(sum, value)| *sum += value);
        for block in 0..rows / stride {
            let between = (block * stride + used) * channels..(block + 1) * stride * channels;
            self.sum[between.clone()].fill(0.0);
            for slopes in [&mut self.first_slopes, &mut self.second_slopes] {
                if !slopes.is_empty() {
                    slopes[between.clone()].fill(0.0);
                }
            }
        }
        let kept = shape.placed();
        if kept == 0 {
            return;
        }
        let sum = matrix(&self.sum[..rows * channels], rows, channels);
        let placed = &mut self.placed[..rows * kept];
        fill(placed, &parameters[shape.range(Block::PlacedBias)]);
        product!(sum, shape.matrix(parameters, Block::Placed), 1.0, target(placed, rows, kept, kept));
    }

    /// Mean and maximum of each channel over the positions of a sequence.
    fn pool(&mut self, count: usize) {
        let (n, channels) = (self.shape.rows(), self.shape.channels);
        let stride = self.stride();
        for sequence in 0..count {
            let pooled = &mut self.pooled[2 * sequence * channels..][..2 * channels];
            let (means, maxima) = pooled.split_at_mut(channels);
            let largest = &mut self.largest[sequence * channels..][..channels];
            means.fill(0.0);
            maxima.fill(f32::NEG_INFINITY);
            let rows = self.sum[sequence * stride * channels..][..n * channels].chunks_exact(channels);
            for (i, row) in rows.enumerate() {
                let channels = means.iter_mut().zip(&mut *maxima).zip(&mut *largest).zip(row);
                for (((mean, maximum), largest), &value) in channels {
                    *mean += value;
                    if value > *maximum {
                        (*maximum, *largest) = (value, i as u32);
                    }
                }
            }
            means.iter_mut().for_each(|mean| *mean /= n as f32);
        }
    }

    /// The gradient of `Σ_s slope_s·output_s` after [`Workspace::forward`] of the same sequences.
    ///
    /// `flipped` are the weights of the second convolution for the way back, see [`flipped`].
    pub(super) fn backward(&mut self, parameters: &[f32], flipped: &[f32], codes: &[u8], slopes: &[f32]) {
        let shape = self.shape;
        let Shape { n, q, hidden, .. } = shape;
        self.gradient.fill(0.0);
        self.sum_gradient.fill(0.0);
        let output = &parameters[shape.range(Block::Output)];
        let outer = &mut self.hidden_gradient[..slopes.len() * hidden];
        for (sequence, &slope) in slopes.iter().enumerate() {
            let at = sequence * hidden..(sequence + 1) * hidden;
            let gradient = &mut self.gradient[shape.range(Block::Output)];
            gradient
                .iter_mut()
                .zip(&self.residual[at.clone()])
                .for_each(|(sum, value)| *sum += slope * value);
            outer[at].iter_mut().zip(output).for_each(|(out, weight)| *out = slope * weight);
            if shape.windows() {
                continue;
            }
            let linear = shape.range(Block::Linear).start;
            for (i, &symbol) in codes[sequence * n..][..n].iter().enumerate() {
                self.gradient[linear + i * q + symbol as usize] += slope;
            }
        }
        self.gradient[shape.range(Block::OutputBias)][0] = slopes.iter().sum();
        self.trunk_backward(parameters, flipped, codes);
    }

    /// The gradient of [`Workspace::trunk`], from those at `residual` and `sum`.
    pub(super) fn trunk_backward(&mut self, parameters: &[f32], flipped: &[f32], codes: &[u8]) {
        self.dense_gradients(parameters, codes.len() / self.shape.n);
        self.convolution_gradients(parameters, flipped, codes);
    }

    fn dense_gradients(&mut self, parameters: &[f32], count: usize) {
        let shape = self.shape;
        let Shape { channels, hidden, .. } = shape;
        let of = |block| shape.matrix(parameters, block);
        let (places, stride) = (shape.rows() * shape.placed(), self.stride() * shape.placed());
        let inner = &mut self.hidden_inner[..count * hidden];
        let outer = &mut self.hidden_gradient[..count * hidden];
        let times = |out: &mut [f32], left: &[f32], right: &[f32]| {
            out.iter_mut().zip(left.iter().zip(right)).for_each(|(out, (a, b))| *out = a * b);
        };
        times(inner, outer, &self.residual_slopes);
        add_rows(&mut self.gradient[shape.range(Block::ResidualBias)], inner);
        let dense = matrix(&self.dense[..count * hidden], count, hidden);
        let back = matrix(inner, count, hidden);
        let gradient = &mut self.gradient[shape.range(Block::Residual)];
        product!(dense.t(), back, 0.0, target(gradient, hidden, hidden, hidden));
        product!(back, of(Block::Residual).t(), 1.0, target(outer, count, hidden, hidden));
        times(inner, outer, &self.dense_slopes);
        add_rows(&mut self.gradient[shape.range(Block::DenseBias)], inner);
        let pooled = matrix(&self.pooled[..2 * count * channels], count, 2 * channels);
        let back = matrix(inner, count, hidden);
        let (by_place, by_pool) = self.gradient[shape.range(Block::Dense)].split_at_mut(places * hidden);
        product!(pooled.t(), back, 0.0, target(by_pool, 2 * channels, hidden, hidden));
        let (from_place, from_pool) = of(Block::Dense).split_at(Axis(0), places);
        if places > 0 {
            let placed = strided(&self.placed, count, places, stride);
            product!(placed.t(), back, 0.0, target(by_place, places, hidden, hidden));
            product!(back, from_place.t(), 0.0, target(&mut self.placed_gradient, count, places, stride));
        }
        let pooled = &mut self.pooled_gradient[..2 * count * channels];
        product!(back, from_pool.t(), 0.0, target(pooled, count, 2 * channels, 2 * channels));
    }

    fn convolution_gradients(&mut self, parameters: &[f32], flipped: &[f32], codes: &[u8]) {
        let shape = self.shape;
        let Shape { q, channels, .. } = shape;
        let (stride, count, n, kept) = (self.stride(), codes.len() / shape.n, shape.rows(), shape.placed());
        let rows = count * stride;
        let back = &mut self.sum_gradient[..rows * channels];
        if kept > 0 {
            let of_placed = &self.placed_gradient[..rows * kept];
            add_rows(&mut self.gradient[shape.range(Block::PlacedBias)], of_placed);
            let placed = matrix(of_placed, rows, kept);
            let sum = matrix(&self.sum[..rows * channels], rows, channels);
            let gradient = &mut self.gradient[shape.range(Block::Placed)];
            product!(sum.t(), placed, 0.0, target(gradient, channels, kept, kept));
            let weights = shape.matrix(parameters, Block::Placed);
            product!(placed, weights.t(), 1.0, target(back, rows, channels, channels));
        }
        for sequence in 0..count {
            let (means, maxima) =
                self.pooled_gradient[2 * sequence * channels..][..2 * channels].split_at(channels);
            let block = &mut back[sequence * stride * channels..][..n * channels];
            for row in block.chunks_exact_mut(channels) {
                row.iter_mut().zip(means).for_each(|(out, mean)| *out += mean / n as f32);
            }
            let largest = &self.largest[sequence * channels..][..channels];
            for (channel, (&i, value)) in largest.iter().zip(maxima).enumerate() {
                block[i as usize * channels + channel] += value;
            }
        }
        let second = &mut self.second_gradient[BETWEEN * channels..][..rows * channels];
        let products = back.iter().zip(&self.second_slopes);
        second.iter_mut().zip(products).for_each(|(out, (value, slope))| *out = value * slope);
        add_rows(&mut self.gradient[shape.range(Block::SecondBias)], second);
        let windows = strided(&self.first, rows, SECOND_WIDTH * channels, channels);
        let gradient = &mut self.gradient[shape.range(Block::Second)];
        let wide = SECOND_WIDTH * channels;
        let second = matrix(second, rows, channels);
        product!(windows.t(), second, 0.0, target(gradient, wide, channels, channels));
        self.second_gradient[(BETWEEN + rows) * channels..][..BETWEEN * channels].fill(0.0);
        let windows = strided(&self.second_gradient, rows, wide, channels);
        product!(windows, matrix(flipped, wide, channels), 1.0, target(back, rows, channels, channels));
        back.iter_mut().zip(&self.first_slopes).for_each(|(out, slope)| *out *= slope);
        add_rows(&mut self.gradient[shape.range(Block::FirstBias)], back);
        let gradient = &mut self.gradient[shape.range(Block::First)];
        let blocks = back.chunks_exact(stride * channels);
        for (at, (sequence, block)) in codes.chunks_exact(shape.n).zip(blocks).enumerate() {
            if shape.windows() {
                let positions = &self.positions[at * stride * channels..];
                windows::backward(shape, sequence, block, positions, gradient);
                continue;
            }
            for (i, row) in block[..n * channels].chunks_exact(channels).enumerate() {
                for (place, symbol) in window(sequence, i, shape.first_width()) {
                    let out = &mut gradient[(place * q + symbol) * channels..][..channels];
                    out.iter_mut().zip(row).for_each(|(out, value)| *out += value);
                }
            }
        }
    }
}

/// The places and symbols of the window of the first convolution around a position.
pub(super) fn window(
    sequence: &[u8],
    position: usize,
    width: usize,
) -> impl Iterator<Item = (usize, usize)> + '_ {
    let reach = width / 2;
    let first = position.saturating_sub(reach);
    let end = (position + reach + 1).min(sequence.len());
    (first..end).map(move |i| (i + reach - position, sequence[i] as usize))
}

/// The weights of the second convolution for the way back: places reversed, channels in and out exchanged.
pub(super) fn flipped(shape: Shape, parameters: &[f32]) -> Vec<f32> {
    let channels = shape.channels;
    let weights = &parameters[shape.range(Block::Second)];
    let mut out = Vec::with_capacity(weights.len());
    for place in (0..SECOND_WIDTH).rev() {
        let block = &weights[place * channels * channels..][..channels * channels];
        for column in 0..channels {
            out.extend((0..channels).map(|row| block[row * channels + column]));
        }
    }
    out
}
