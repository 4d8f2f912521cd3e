//! The first convolution of long sequences: only the largest sum of each window of positions goes on.
//!
//! So the cost of all later layers does not depend on the length of the sequence.

use super::pass::window;
use super::shape::{Block, Shape};

/// Vectors whose sums stay in registers.
const TOGETHER: usize = 4;

/// Writes the largest sums, one row of channels for each window, and the positions they are from.
pub(super) fn forward(
    shape: Shape,
    parameters: &[f32],
    sequence: &[u8],
    rows: &mut [f32],
    positions: &mut [u32],
) {
    let weights = &parameters[shape.range(Block::First)];
    let bias = &parameters[shape.range(Block::FirstBias)];
    // No operation is fused, so vectors of each width give the same bits.
    pulp::Arch::new().dispatch(Forward { shape, weights, bias, sequence, rows, positions });
}

struct Forward<'a> {
    shape: Shape,
    weights: &'a [f32],
    bias: &'a [f32],
    sequence: &'a [u8],
    rows: &'a mut [f32],
    positions: &'a mut [u32],
}

impl pulp::WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, simd: S) {
        let channels = self.shape.channels;
        if channels.is_multiple_of(S::F32_LANES) {
            self.all(simd, channels / S::F32_LANES);
        } else {
            self.all(pulp::Scalar::new(), channels);
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn all<S: pulp::Simd>(&mut self, simd: S, vectors: usize) {
        let whole = vectors / TOGETHER * TOGETHER;
        for first in (0..whole).step_by(TOGETHER) {
            self.some::<S, TOGETHER>(simd, vectors, first);
        }
        for first in whole..vectors {
            self.some::<S, 1>(simd, vectors, first);
        }
    }

    /// The largest sums of `COUNT` vectors of channels.
    #[inline(always)]
    fn some<S: pulp::Simd, const COUNT: usize>(&mut self, simd: S, vectors: usize, first: usize) {
        let Shape { n, q, pool, .. } = self.shape;
        let width = self.shape.first_width();
        let weights = S::as_simd_f32s(self.weights).0;
        let bias = &S::as_simd_f32s(self.bias).0[first..][..COUNT];
        let rows = S::as_mut_simd_f32s(self.rows).0;
        let all_positions = S::as_mut_simd_u32s(self.positions).0;
        for row in 0..self.shape.rows() {
            let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); COUNT];
            let mut positions = [simd.splat_u32s(0); COUNT];
            for i in row * pool..((row + 1) * pool).min(n) {
                let mut sums = [simd.splat_f32s(0.0); COUNT];
                sums.copy_from_slice(bias);
                for (place, symbol) in window(self.sequence, i, width) {
                    let weights = &weights[(place * q + symbol) * vectors + first..][..COUNT];
                    for v in 0..COUNT {
                        sums[v] = simd.add_f32s(sums[v], weights[v]);
                    }
                }
                let here = simd.splat_u32s(i as u32);
                for v in 0..COUNT {
                    let larger = simd.less_than_f32s(largest[v], sums[v]);
                    largest[v] = simd.select_f32s(larger, sums[v], largest[v]);
                    positions[v] = simd.select_u32s(larger, here, positions[v]);
                }
            }
            rows[row * vectors + first..][..COUNT].copy_from_slice(&largest);
            all_positions[row * vectors + first..][..COUNT].copy_from_slice(&positions);
        }
    }
}

/// Adds the gradient of the weights, from that of the largest sums.
pub(super) fn backward(shape: Shape, sequence: &[u8], rows: &[f32], positions: &[u32], gradient: &mut [f32]) {
    let Shape { q, channels, .. } = shape;
    let count = shape.rows() * channels;
    for (at, (&value, &position)) in rows[..count].iter().zip(positions).enumerate() {
        for (place, symbol) in window(sequence, position as usize, shape.first_width()) {
            gradient[(place * q + symbol) * channels + at % channels] += value;
        }
    }
}
