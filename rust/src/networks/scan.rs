//! The outputs for single mutants of sequences, which share most of the work.
//!
//! A substitution changes 7 rows of the first convolution and 11 rows of the second. All other rows, their mean, their
//! maxima and their part of the first dense layer are those of the sequence itself.

use ndarray::{ArrayViewMut2, linalg::general_mat_mul};

use super::Network;
use super::activation::activate;
use super::pass::{Workspace, window};
use super::shape::{Block, FIRST_WIDTH, PLACED, SECOND_WIDTH, Shape, matrix};
use super::train::CHUNK;
use crate::cancel::Cancel;
use crate::error::Result;

/// Mutants whose rows are in memory together.
pub(super) const MUTANTS: usize = 24;
/// A base with another symbol: cell `i * q + a` is symbol `a` at position `i`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutant {
    pub(super) base: usize,
    pub(super) cell: usize,
}

/// Rows that a substitution changes after each convolution.
const FIRST_ROWS: usize = FIRST_WIDTH;
const SECOND_ROWS: usize = FIRST_WIDTH + SECOND_WIDTH - 1;
/// Rows that change before the position of the substitution.
const FIRST_REACH: usize = FIRST_ROWS / 2;
const SECOND_REACH: usize = SECOND_ROWS / 2;

/// A sequence, and the layers of a network for it.
#[derive(Clone, Debug)]
pub(super) struct Base {
    sequence: Vec<u8>,
    /// Sums before the first activation, and after it.
    first_sums: Vec<f32>,
    first: Vec<f32>,
    second_sums: Vec<f32>,
    /// Sum of both convolutions, the sum over all rows, and the maxima of the first and of the last rows.
    both: Vec<f32>,
    total: Vec<f32>,
    before: Vec<f32>,
    after: Vec<f32>,
    /// The first dense layer before the pooled channels.
    placed: Vec<f32>,
    /// The linear part.
    linear: f32,
}

impl Base {
    pub(super) fn new(shape: Shape) -> Self {
        let wide = shape.n * shape.channels;
        Self {
            sequence: vec![0; shape.n],
            first_sums: vec![0.0; wide],
            first: vec![0.0; wide],
            second_sums: vec![0.0; wide],
            both: vec![0.0; wide],
            total: vec![0.0; shape.channels],
            before: vec![0.0; wide + shape.channels],
            after: vec![0.0; wide + shape.channels],
            placed: vec![0.0; shape.hidden],
            linear: 0.0,
        }
    }

    /// Row `i` of `before` has the maxima of the rows before `i`, and that of `after` those of the rows from `i` on.
    /// Only the rows of `changed` have changed.
    fn maxima(&mut self, changed: std::ops::Range<usize>) {
        let channels = self.total.len();
        let n = self.both.len() / channels;
        self.before[..channels].fill(f32::NEG_INFINITY);
        self.after[n * channels..].fill(f32::NEG_INFINITY);
        for i in changed.start..n {
            let (done, rest) = self.before.split_at_mut((i + 1) * channels);
            maximum(&done[i * channels..], &self.both[i * channels..], &mut rest[..channels]);
        }
        for i in (0..changed.end).rev() {
            let (rest, done) = self.after.split_at_mut((i + 1) * channels);
            maximum(done, &self.both[i * channels..], &mut rest[i * channels..]);
        }
    }
}

/// A network, and buffers for mutants of sequences.
pub(super) struct Scan<'a> {
    shape: Shape,
    parameters: &'a [f32],
    /// The second convolution with one row for each channel of its input: (place of the window, channel) columns.
    second: Vec<f32>,
    first_changes: Vec<f32>,
    products: Vec<f32>,
    /// The new sums before the second activation, and the changes of both convolutions together.
    second_sums: Vec<f32>,
    second_changes: Vec<f32>,
    placed_changes: Vec<f32>,
    /// The first dense layer before the pooled channels.
    placed: Vec<f32>,
    pooled: Vec<f32>,
    dense: Vec<f32>,
    residual: Vec<f32>,
}

/// The outputs of a network for the mutants of one sequence at a time.
pub(super) enum Mutants<'a> {
    Scan(Box<Scan<'a>>, Box<Base>),
    /// Windows: a mutant can change the largest sums anywhere, so each is predicted. The workspace, the mutants and
    /// their outputs.
    Each(&'a Network, Box<Workspace>, Vec<u8>),
}

impl<'a> Mutants<'a> {
    pub(super) fn new(network: &'a Network) -> Self {
        if network.shape.windows() {
            let workspace = Workspace::new(network.shape, CHUNK, false);
            Self::Each(network, Box::new(workspace), Vec::new())
        } else {
            Self::Scan(Box::new(Scan::new(network)), Box::new(Base::new(network.shape)))
        }
    }

    /// Writes the output for the sequence with symbol `a` at position `i` to `out[i * q + a]`.
    pub(super) fn outputs(&mut self, sequence: &[u8], out: &mut [f32], cancel: &Cancel) -> Result<()> {
        match self {
            Self::Scan(scan, base) => scan.outputs(sequence, base, out),
            Self::Each(network, workspace, mutants) => {
                let q = network.shape.q;
                for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
                    cancel.check()?;
                    mutants.clear();
                    for cell in (chunk * CHUNK..).take(out.len()) {
                        mutants.extend_from_slice(sequence);
                        let at = mutants.len() - sequence.len() + cell / q;
                        mutants[at] = (cell % q) as u8;
                    }
                    out.copy_from_slice(workspace.forward(&network.parameters, mutants));
                }
            }
        }
        Ok(())
    }
}

fn product(
    left: &[f32],
    rows: usize,
    inner: usize,
    right: &[f32],
    columns: usize,
    beta: f32,
    out: &mut [f32],
) {
    let (left, right) = (matrix(left, rows, inner), matrix(right, inner, columns));
    if let Ok(mut out) = ArrayViewMut2::from_shape((rows, columns), out) {
        general_mat_mul(1.0, &left, &right, beta, &mut out);
    }
}

fn add(sum: &mut [f32], factor: f32, values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

/// `out = max(left, right)`, for each of the values of `out`.
fn maximum(left: &[f32], right: &[f32], out: &mut [f32]) {
    let channels = left.len().min(right.len()).min(out.len());
    out[..channels].iter_mut().zip(left.iter().zip(right)).for_each(|(out, (a, b))| *out = a.max(*b));
}

impl<'a> Scan<'a> {
    /// Buffers for up to `MUTANTS` mutants.
    pub(super) fn new(network: &'a Network) -> Self {
        let Network { shape, parameters } = network;
        let Shape { n, channels, hidden, .. } = *shape;
        let weights = &parameters[shape.range(Block::Second)];
        let mut second = vec![0.0; weights.len()];
        for (row, values) in weights.chunks_exact(channels).enumerate() {
            let (place, channel) = (row / channels, row % channels);
            second[(channel * SECOND_WIDTH + place) * channels..][..channels].copy_from_slice(values);
        }
        Self {
            shape: *shape,
            parameters,
            second,
            first_changes: vec![0.0; MUTANTS * FIRST_ROWS * channels],
            products: vec![0.0; (MUTANTS * FIRST_ROWS).max(n) * SECOND_WIDTH * channels],
            second_sums: vec![0.0; MUTANTS * SECOND_ROWS * channels],
            second_changes: vec![0.0; MUTANTS * SECOND_ROWS * channels],
            placed_changes: vec![0.0; (MUTANTS * SECOND_ROWS).max(n) * PLACED],
            placed: vec![0.0; MUTANTS * hidden],
            pooled: vec![0.0; 2 * MUTANTS * channels],
            dense: vec![0.0; MUTANTS * hidden],
            residual: vec![0.0; MUTANTS * hidden],
        }
    }

    fn block(&self, block: Block) -> &'a [f32] {
        &self.parameters[self.shape.range(block)]
    }

    /// Writes the output for the sequence with symbol `a` at position `i` to `out[i * q + a]`.
    fn outputs(&mut self, sequence: &[u8], base: &mut Base, out: &mut [f32]) {
        let q = self.shape.q;
        self.prepare(sequence, base);
        let own = usize::from(sequence[0]);
        let others = (0..sequence.len() * q)
            .filter(|&cell| cell == own || cell % q != usize::from(sequence[cell / q]));
        let mutants: Vec<Mutant> = others.map(|cell| Mutant { base: 0, cell }).collect();
        for mutants in mutants.chunks(MUTANTS) {
            self.evaluate(std::slice::from_ref(base), mutants);
            for (at, mutant) in mutants.iter().enumerate() {
                out[mutant.cell] = self.output(base, at, mutant.cell);
            }
        }
        for (i, &symbol) in sequence.iter().enumerate() {
            out[i * q + usize::from(symbol)] = out[own];
        }
    }

    /// The output for an evaluated mutant.
    pub(super) fn output(&self, base: &Base, at: usize, cell: usize) -> f32 {
        let (q, hidden) = (self.shape.q, self.shape.hidden);
        let linear = self.block(Block::Linear);
        let own = linear[cell / q * q + usize::from(base.sequence[cell / q])];
        let sums = self.residual[at * hidden..][..hidden].iter().zip(self.block(Block::Output));
        let dense: f32 = sums.map(|(value, weight)| value * weight).sum();
        self.block(Block::OutputBias)[0] + dense + (base.linear - own + linear[cell])
    }

    /// Makes an evaluated mutant the sequence of its base.
    pub(super) fn accept(&self, base: &mut Base, at: usize, cell: usize) {
        let Shape { n, q, channels, hidden, .. } = self.shape;
        let (i, symbol, linear) = (cell / q, cell % q, self.block(Block::Linear));
        let old = usize::from(base.sequence[i]);
        base.linear += linear[cell] - linear[i * q + old];
        base.sequence[i] = symbol as u8;
        let weights = self.block(Block::First);
        for row in 0..FIRST_ROWS {
            if let Some(j) = (i + row).checked_sub(FIRST_REACH).filter(|&j| j < n) {
                let place = FIRST_ROWS - 1 - row;
                let weight = |symbol: usize| &weights[(place * q + symbol) * channels..][..channels];
                let sums = &mut base.first_sums[j * channels..][..channels];
                add(sums, 1.0, weight(symbol));
                add(sums, -1.0, weight(old));
                let change = &self.first_changes[(at * FIRST_ROWS + row) * channels..][..channels];
                add(&mut base.first[j * channels..][..channels], 1.0, change);
            }
        }
        for row in 0..SECOND_ROWS {
            if let Some(j) = (i + row).checked_sub(SECOND_REACH).filter(|&j| j < n) {
                let from = (at * SECOND_ROWS + row) * channels;
                base.second_sums[j * channels..][..channels]
                    .copy_from_slice(&self.second_sums[from..][..channels]);
                let change = &self.second_changes[from..][..channels];
                add(&mut base.both[j * channels..][..channels], 1.0, change);
                add(&mut base.total, 1.0, change);
            }
        }
        base.maxima(i.saturating_sub(SECOND_REACH)..(i + SECOND_REACH + 1).min(n));
        base.placed.copy_from_slice(&self.placed[at * hidden..][..hidden]);
    }

    /// The layers of a sequence.
    pub(super) fn prepare(&mut self, sequence: &[u8], base: &mut Base) {
        let Shape { n, q, channels, hidden, .. } = self.shape;
        base.sequence.copy_from_slice(sequence);
        let linear = self.block(Block::Linear);
        base.linear =
            sequence.iter().enumerate().map(|(i, &symbol)| linear[i * q + usize::from(symbol)]).sum();
        let weights = self.block(Block::First);
        for (i, out) in base.first_sums.chunks_exact_mut(channels).enumerate() {
            out.copy_from_slice(&self.parameters[self.shape.range(Block::FirstBias)]);
            for (place, symbol) in window(sequence, i, FIRST_WIDTH) {
                add(out, 1.0, &weights[(place * q + symbol) * channels..][..channels]);
            }
        }
        base.first.copy_from_slice(&base.first_sums);
        activate(&mut base.first, &mut []);
        let wide = SECOND_WIDTH * channels;
        product(&base.first, n, channels, &self.second, wide, 0.0, &mut self.products[..n * wide]);
        let bias = self.block(Block::SecondBias);
        base.second_sums.chunks_exact_mut(channels).for_each(|row| row.copy_from_slice(bias));
        for (j, products) in self.products.chunks_exact(wide).take(n).enumerate() {
            for (place, values) in products.chunks_exact(channels).enumerate() {
                if let Some(i) = (j + SECOND_WIDTH / 2).checked_sub(place).filter(|&i| i < n) {
                    add(&mut base.second_sums[i * channels..][..channels], 1.0, values);
                }
            }
        }
        base.both.copy_from_slice(&base.second_sums);
        activate(&mut base.both, &mut []);
        add(&mut base.both, 1.0, &base.first);
        base.total.fill(0.0);
        base.both.chunks_exact(channels).for_each(|row| add(&mut base.total, 1.0, row));
        base.maxima(0..n);
        let placed = &mut self.placed_changes[..n * PLACED];
        let bias = &self.parameters[self.shape.range(Block::PlacedBias)];
        placed.chunks_exact_mut(PLACED).for_each(|row| row.copy_from_slice(bias));
        let to_placed = &self.parameters[self.shape.range(Block::Placed)];
        product(&base.both, n, channels, to_placed, PLACED, 1.0, placed);
        base.placed.copy_from_slice(&self.parameters[self.shape.range(Block::DenseBias)]);
        let dense = &self.parameters[self.shape.range(Block::Dense)];
        for (&value, weights) in placed.iter().zip(dense.chunks_exact(hidden)) {
            add(&mut base.placed, value, weights);
        }
    }

    /// The layers of up to `MUTANTS` mutants.
    pub(super) fn evaluate(&mut self, bases: &[Base], mutants: &[Mutant]) {
        let Shape { n, q, channels, hidden, .. } = self.shape;
        let count = mutants.len();
        self.convolve(bases, mutants);
        let changes = &self.second_changes[..count * SECOND_ROWS * channels];
        let to_placed = self.block(Block::Placed);
        let placed = &mut self.placed_changes[..count * SECOND_ROWS * PLACED];
        product(changes, count * SECOND_ROWS, channels, to_placed, PLACED, 0.0, placed);
        let (by_place, by_pool) = self.block(Block::Dense).split_at(n * PLACED * hidden);
        for (m, mutant) in mutants.iter().enumerate() {
            let dense = &mut self.placed[m * hidden..][..hidden];
            dense.copy_from_slice(&bases[mutant.base].placed);
            let rows = self.placed_changes[m * SECOND_ROWS * PLACED..].chunks_exact(PLACED).take(SECOND_ROWS);
            for (row, values) in rows.enumerate() {
                if let Some(j) = (mutant.cell / q + row).checked_sub(SECOND_REACH).filter(|&j| j < n) {
                    let weights = by_place[j * PLACED * hidden..].chunks_exact(hidden);
                    values.iter().zip(weights).for_each(|(&value, weights)| add(dense, value, weights));
                }
            }
        }
        let dense = &mut self.dense[..count * hidden];
        dense.copy_from_slice(&self.placed[..count * hidden]);
        product(&self.pooled[..2 * count * channels], count, 2 * channels, by_pool, hidden, 1.0, dense);
        activate(dense, &mut []);
        let residual = &mut self.residual[..count * hidden];
        let bias = &self.parameters[self.shape.range(Block::ResidualBias)];
        residual.chunks_exact_mut(hidden).for_each(|row| row.copy_from_slice(bias));
        let weights = &self.parameters[self.shape.range(Block::Residual)];
        product(dense, count, hidden, weights, hidden, 1.0, residual);
        activate(residual, &mut []);
        add(residual, 1.0, dense);
    }

    /// The changes of both convolutions together, and the pooled channels.
    fn convolve(&mut self, bases: &[Base], mutants: &[Mutant]) {
        let Shape { n, q, channels, .. } = self.shape;
        let (count, weights) = (mutants.len(), self.block(Block::First));
        let first = &mut self.first_changes[..count * FIRST_ROWS * channels];
        let changed =
            |cell: usize, row: usize, reach: usize| (cell / q + row).checked_sub(reach).filter(|&j| j < n);
        for (at, change) in first.chunks_exact_mut(channels).enumerate() {
            let (Mutant { base, cell }, row) = (mutants[at / FIRST_ROWS], at % FIRST_ROWS);
            change.fill(0.0);
            if let Some(j) = changed(cell, row, FIRST_REACH) {
                // The substitution is at this place of the window around `j`.
                let place = FIRST_ROWS - 1 - row;
                change.copy_from_slice(&bases[base].first_sums[j * channels..][..channels]);
                let weight = |symbol: usize| &weights[(place * q + symbol) * channels..][..channels];
                add(change, 1.0, weight(cell % q));
                add(change, -1.0, weight(usize::from(bases[base].sequence[cell / q])));
            }
        }
        activate(first, &mut []);
        for (at, change) in first.chunks_exact_mut(channels).enumerate() {
            let Mutant { base, cell } = mutants[at / FIRST_ROWS];
            match changed(cell, at % FIRST_ROWS, FIRST_REACH) {
                Some(j) => add(change, -1.0, &bases[base].first[j * channels..][..channels]),
                None => change.fill(0.0),
            }
        }
        let wide = SECOND_WIDTH * channels;
        let products = &mut self.products[..count * FIRST_ROWS * wide];
        product(first, count * FIRST_ROWS, channels, &self.second, wide, 0.0, products);
        let second = &mut self.second_changes[..count * SECOND_ROWS * channels];
        second.fill(0.0);
        for (at, products) in products.chunks_exact(wide).enumerate() {
            let (m, row) = (at / FIRST_ROWS, at % FIRST_ROWS);
            for (place, values) in products.chunks_exact(channels).enumerate() {
                let row = m * SECOND_ROWS + row + SECOND_WIDTH - 1 - place;
                add(&mut second[row * channels..][..channels], 1.0, values);
            }
        }
        for (at, change) in second.chunks_exact_mut(channels).enumerate() {
            let Mutant { base, cell } = mutants[at / SECOND_ROWS];
            if let Some(j) = changed(cell, at % SECOND_ROWS, SECOND_REACH) {
                add(change, 1.0, &bases[base].second_sums[j * channels..][..channels]);
            }
        }
        self.second_sums[..second.len()].copy_from_slice(second);
        activate(second, &mut []);
        for (m, &Mutant { base, cell }) in mutants.iter().enumerate() {
            let (i, base) = (cell / q, &bases[base]);
            let (means, maxima) = self.pooled[2 * m * channels..][..2 * channels].split_at_mut(channels);
            means.copy_from_slice(&base.total);
            maxima.copy_from_slice(&base.before[i.saturating_sub(SECOND_REACH) * channels..][..channels]);
            let after = (i + SECOND_REACH + 1).min(n) * channels;
            maxima.iter_mut().zip(&base.after[after..]).for_each(|(max, value)| *max = max.max(*value));
            for row in 0..SECOND_ROWS {
                let change = &mut second[(m * SECOND_ROWS + row) * channels..][..channels];
                let Some(j) = changed(cell, row, SECOND_REACH) else {
                    change.fill(0.0);
                    continue;
                };
                add(change, 1.0, &base.first[j * channels..][..channels]);
                if let Some(row) = row.checked_sub(SECOND_WIDTH / 2).filter(|&row| row < FIRST_ROWS) {
                    add(change, 1.0, &first[(m * FIRST_ROWS + row) * channels..][..channels]);
                }
                maxima.iter_mut().zip(&*change).for_each(|(max, value)| *max = max.max(*value));
                add(change, -1.0, &base.both[j * channels..][..channels]);
                add(means, 1.0, change);
            }
            means.iter_mut().for_each(|mean| *mean /= n as f32);
        }
    }
}
