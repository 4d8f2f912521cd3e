//! The parameters of a network: blocks of one flat vector.

use std::ops::Range;

use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Width of the first convolution, in positions.
pub(super) const FIRST_WIDTH: usize = 7;
/// The same in networks with windows: a motif that is as wide as most is in one channel, which is compared best.
pub(super) const WINDOWS_WIDTH: usize = 13;
/// Width of the second convolution, in positions.
pub(super) const SECOND_WIDTH: usize = 5;
/// Channels that reach the dense layers with their positions.
pub(super) const PLACED: usize = 8;

/// The size of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sequence length.
    pub n: usize,
    /// Alphabet size.
    pub q: usize,
    /// Channels of the convolutions.
    pub channels: usize,
    /// Width of the dense layers.
    pub hidden: usize,
    /// Positions of a window. If there are several, only the largest sum of each window leaves the first convolution,
    /// and no channel keeps its positions.
    pub pool: usize,
}

/// A block of parameters: the weights or the biases of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// First convolution: one row of channels for each symbol at each place of the window.
    First,
    FirstBias,
    /// Second convolution: rows are (place of the window, channel).
    Second,
    SecondBias,
    /// From all channels to the channels that keep their positions.
    Placed,
    PlacedBias,
    /// First dense layer: rows are (position, placed channel), then the means and the maxima of the channels.
    Dense,
    DenseBias,
    Residual,
    ResidualBias,
    Output,
    OutputBias,
    /// The linear part: one weight for each symbol at each position.
    Linear,
}

impl Block {
    pub(super) const ALL: [Self; 13] = [
        Self::First,
        Self::FirstBias,
        Self::Second,
        Self::SecondBias,
        Self::Placed,
        Self::PlacedBias,
        Self::Dense,
        Self::DenseBias,
        Self::Residual,
        Self::ResidualBias,
        Self::Output,
        Self::OutputBias,
        Self::Linear,
    ];
}

impl Shape {
    /// Whether the first convolution has windows of several positions.
    pub(super) const fn windows(&self) -> bool {
        self.pool > 1
    }

    /// Rows of channels after the first convolution.
    pub(super) const fn rows(&self) -> usize {
        self.n.div_ceil(self.pool)
    }

    /// Width of the first convolution.
    pub(super) const fn first_width(&self) -> usize {
        if self.windows() { WINDOWS_WIDTH } else { FIRST_WIDTH }
    }

    /// Channels that keep their positions.
    pub(super) const fn placed(&self) -> usize {
        if self.windows() { 0 } else { PLACED }
    }

    /// Inputs of the first dense layer.
    pub(super) const fn features(&self) -> usize {
        self.rows() * self.placed() + 2 * self.channels
    }

    /// Rows, columns and inputs of a block.
    const fn size(&self, block: Block) -> (usize, usize, usize) {
        let (c, h, first, second) =
            (self.channels, self.hidden, self.first_width() * self.q, SECOND_WIDTH * self.channels);
        match block {
            Block::First => (first, c, first),
            Block::FirstBias => (1, c, first),
            Block::Second => (second, c, second),
            Block::SecondBias => (1, c, second),
            Block::Placed => (c, self.placed(), c),
            Block::PlacedBias => (1, self.placed(), c),
            Block::Dense => (self.features(), h, self.features()),
            Block::DenseBias => (1, h, self.features()),
            Block::Residual => (h, h, h),
            Block::ResidualBias => (1, h, h),
            Block::Output => (h, 1, h),
            Block::OutputBias => (1, 1, h),
            Block::Linear => (self.n * self.q, 1, self.n * self.q),
        }
    }

    /// Where a block is among the parameters.
    pub(super) fn range(&self, block: Block) -> Range<usize> {
        let before = Block::ALL.iter().take_while(|&&other| other != block);
        let length = |block| {
            let (rows, columns, _) = self.size(block);
            rows * columns
        };
        let start = before.map(|&other| length(other)).sum();
        start..start + length(block)
    }

    /// Number of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.range(Block::Linear).end
    }

    /// Number of parameters of all layers but the last one.
    pub(super) fn trunk(&self) -> usize {
        self.range(Block::Output).start
    }

    /// Number of parameters that follow gradients: effects of positions do not if there are windows.
    pub(super) fn learned(&self) -> usize {
        if self.windows() { self.range(Block::Linear).start } else { self.parameters() }
    }

    /// A block as a matrix.
    pub(super) fn matrix<'a>(&self, parameters: &'a [f32], block: Block) -> ArrayView2<'a, f32> {
        let (rows, columns, _) = self.size(block);
        matrix(&parameters[self.range(block)], rows, columns)
    }

    /// Random parameters, uniform up to the inverse square root of the number of inputs of each layer.
    /// Effects of positions are 0 if there are windows.
    pub(super) fn random(&self, seed: u64, stream: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let mut parameters = Vec::with_capacity(self.parameters());
        for block in Block::ALL {
            let (rows, columns, inputs) = self.size(block);
            let bound = (inputs as f32).sqrt().recip();
            parameters.extend((0..rows * columns).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)));
        }
        parameters[self.learned()..].fill(0.0);
        parameters
    }
}

/// A slice as a matrix, row-major.
pub(super) fn matrix(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    strided(values, rows, columns, columns)
}

/// A slice as a matrix whose rows start every `stride` values; rows may overlap.
#[expect(clippy::expect_used, reason = "the callers size their buffers by the shape")]
pub(super) fn strided(values: &[f32], rows: usize, columns: usize, stride: usize) -> ArrayView2<'_, f32> {
    use ndarray::ShapeBuilder;
    ArrayView2::from_shape((rows, columns).strides((stride, 1)), values).expect("the buffer has these rows")
}
