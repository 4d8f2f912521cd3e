//! The bin domain: characters on the blocks of a query design.
//!
//! The transform of a block `x = Mℓ + d` is unitary up to scale, so that noise stays white, and a
//! character `k` has one coefficient there, at `j = Mᵀk` (and its conjugate at `-j`): a column has two
//! entries for each block instead of `q^b`, and correlations with all characters take a look-up for
//! each block.

use std::f64::consts::SQRT_2;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::operator::{AtomId, Column, Operator};
use super::real_characters::{Wave, cells, wave};
use crate::cancel::Cancel;
use crate::design::QueryDesign;
use crate::error::Result;
use crate::observations::Observations;
use crate::space::roots_of_unity;
use crate::transform::QaryTransform;

/// Supports gathered by one task.
const SUPPORTS: usize = 64;
/// Largest block: sums of bins are looked up in a table of its square.
pub(crate) const MAX_BLOCK: usize = 1 << 10;

/// The characters of a list of supports on the blocks of a design.
#[derive(Clone)]
pub(crate) struct Bins {
    q: usize,
    n: usize,
    /// Queries of a block.
    size: usize,
    blocks: usize,
    supports: Vec<Vec<u16>>,
    /// The transformed values: for `j = -j` its real coefficient, else `√2 Re` at the smaller of `j` and
    /// `-j` and `√2 Im` at the larger, with the coefficient of the smaller.
    values: Vec<f64>,
    constant: Vec<f64>,
    /// `-j`.
    negative: Vec<u16>,
    /// Bin `j + j'`, row `j`.
    sums: Vec<u16>,
    /// Bin `l·M_i` of block, position and label, and the phase `l·d_i`.
    places: Vec<(u16, u8)>,
    roots: Vec<Complex64>,
    transform: QaryTransform,
}

impl Bins {
    /// Whether a design has blocks of at most [`MAX_BLOCK`] queries and repeats none: else their noise
    /// would not be white.
    pub(crate) fn suit(design: &QueryDesign) -> bool {
        let blocks = design.groups().len() * design.delays_per_group();
        design.block_len() <= MAX_BLOCK && design.len() == blocks * design.block_len()
    }

    /// For a design that [`Bins::suit`]s.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(crate) fn new(observations: &Observations, supports: Vec<Vec<u16>>, cancel: &Cancel) -> Result<Self> {
        let design = observations.design();
        let (q, n, b) = (design.space().q(), design.space().n(), design.config().b);
        let (size, delays) = (design.block_len(), design.delays_per_group());
        let blocks = design.groups().len() * delays;
        let digits = |j: usize| (0..b).map(move |t| j / q.pow((b - 1 - t) as u32) % q);
        let index = |digits: &mut dyn Iterator<Item = usize>| digits.fold(0, |at, d| at * q + d % q);
        let negative: Vec<u16> = (0..size).map(|j| index(&mut digits(j).map(|d| q - d)) as u16).collect();
        let sums = (0..size * size)
            .map(|at| index(&mut digits(at / size).zip(digits(at % size)).map(|(a, b)| a + b)) as u16)
            .collect();
        let mut places = vec![(0, 0); blocks * n * q];
        for (block, places) in places.chunks_exact_mut(n * q).enumerate() {
            let group = &design.groups()[block / delays];
            let delay = group.delays.row(block % delays);
            for i in 0..n {
                let row = &group.matrix.as_slice()[i * b..(i + 1) * b];
                for label in 0..q {
                    let j = index(&mut row.iter().map(|&m| m as usize * label));
                    places[i * q + label] = (j as u16, (label * delay[i] as usize % q) as u8);
                }
            }
        }
        let transform = QaryTransform::new(q, b);
        let unitary = (size as f64).sqrt();
        let values = (0..blocks)
            .into_par_iter()
            .map(|block| {
                cancel.check()?;
                let data = transform.forward(&design.block_values(
                    block / delays,
                    block % delays,
                    observations.values(),
                ));
                Ok((0..size).map(|j| real_entry(&data, j, negative[j] as usize) * unitary).collect())
            })
            .collect::<Result<Vec<Vec<f64>>>>()?
            .concat();
        let mut constant = vec![0.0; blocks * size];
        constant.iter_mut().step_by(size).for_each(|entry| *entry = unitary);
        let roots = roots_of_unity(q);
        Ok(Self { q, n, size, blocks, supports, values, constant, negative, sums, places, roots, transform })
    }

    /// Bin and phase of labels on a support in a block.
    fn place(&self, block: usize, support: &[u16], labels: &[u8]) -> (usize, usize) {
        support.iter().zip(labels).fold((0, 0), |(bin, phase), (&i, &label)| {
            let (j, p) = self.places[(block * self.n + i as usize) * self.q + label as usize];
            (self.sums[bin * self.size + j as usize] as usize, phase + p as usize)
        })
    }
}

/// The real number that stands at bin `j`, of the coefficients of a real function.
fn real_entry(data: &[Complex64], j: usize, negative: usize) -> f64 {
    match j.cmp(&negative) {
        std::cmp::Ordering::Equal => data[j].re,
        std::cmp::Ordering::Less => SQRT_2 * data[j].re,
        std::cmp::Ordering::Greater => SQRT_2 * data[negative].im,
    }
}

impl Operator for Bins {
    fn supports(&self) -> &[Vec<u16>] {
        &self.supports
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    fn constant(&self) -> &[f64] {
        &self.constant
    }

    fn unit(&self, row: usize) -> usize {
        row / self.size
    }

    fn units(&self) -> usize {
        self.blocks
    }

    fn to_rows(&self, values: &[f64]) -> Vec<f64> {
        let unitary = (self.size as f64).sqrt();
        let block = |block: &[f64]| -> Vec<f64> {
            let coefficients: Vec<Complex64> = (0..self.size)
                .map(|j| {
                    let negative = self.negative[j] as usize;
                    let (low, high) = (j.min(negative), j.max(negative));
                    let sign = if j == low { 1.0 } else { -1.0 };
                    let value = match low == high {
                        true => block[j].into(),
                        false => Complex64::new(block[low], sign * block[high]) / SQRT_2,
                    };
                    value / unitary
                })
                .collect();
            self.transform.inverse(&coefficients).into_iter().map(|v| v.re).collect()
        };
        values.par_chunks_exact(self.size).flat_map_iter(block).collect()
    }

    fn scale(&self, _: usize, _: usize) -> f64 {
        1.0
    }

    fn column(&self, id: AtomId) -> Column {
        let support = &self.supports[id.support as usize];
        let (labels, wave) = wave(id.cell, self.q, support.len());
        let root = (self.size as f64).sqrt();
        let mut entries = Vec::with_capacity(2 * self.blocks);
        for block in 0..self.blocks {
            let (j, phase) = self.place(block, support, &labels);
            let negative = self.negative[j] as usize;
            // The coefficient at j of a wave whose character has this phase there.
            let character = self.roots[phase % self.q];
            let coefficient = match wave {
                Wave::Real | Wave::Cosine => character,
                Wave::Sine => character * Complex64::new(0.0, -1.0),
            };
            let first = (block * self.size) as u32;
            if j == negative {
                let whole = if wave == Wave::Real { 1.0 } else { SQRT_2 };
                entries.push((first + j as u32, whole * root * coefficient.re));
            } else {
                let (low, high) = (j.min(negative), j.max(negative));
                let sign = if j == low { 1.0 } else { -1.0 };
                entries.push((first + low as u32, root * coefficient.re));
                entries.push((first + high as u32, sign * root * coefficient.im));
            }
        }
        entries.retain(|&(_, value)| value != 0.0);
        Column::Sparse(entries)
    }

    fn scan<const L: usize, T: Send>(
        &self,
        residual: &[[f64; L]],
        cancel: &Cancel,
        wanted: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, &[[f64; L]], &mut Vec<T>) + Sync,
    ) -> Result<Vec<T>> {
        // Complex coefficients at every bin, times the root of the block's size.
        let root = (self.size as f64).sqrt();
        let expanded: Vec<([f64; L], [f64; L])> = residual
            .par_chunks_exact(self.size)
            .flat_map_iter(|block| {
                (0..self.size).map(move |j| {
                    let negative = self.negative[j] as usize;
                    let (low, high) = (j.min(negative), j.max(negative));
                    if low == high {
                        (block[j].map(|v| v * root), [0.0; L])
                    } else {
                        let sign = if j == low { root / SQRT_2 } else { -root / SQRT_2 };
                        (block[low].map(|v| v * root / SQRT_2), block[high].map(|v| v * sign))
                    }
                })
            })
            .collect();
        let parts: Vec<Vec<T>> = self
            .supports
            .par_chunks(SUPPORTS)
            .enumerate()
            .map(|(chunk, supports)| {
                cancel.check()?;
                let mut out = Vec::new();
                let mut waves: Vec<[f64; L]> = Vec::new();
                for (i, support) in supports.iter().enumerate() {
                    let index = chunk * SUPPORTS + i;
                    if !wanted(index) {
                        continue;
                    }
                    waves.clear();
                    waves.resize((self.q - 1).pow(support.len() as u32), [0.0; L]);
                    for at in 0..waves.len() {
                        let (labels, wave) = wave(at as u32, self.q, support.len());
                        if wave == Wave::Sine {
                            // Done together with its cosine.
                            continue;
                        }
                        let (mut cosine, mut sine) = ([0.0; L], [0.0; L]);
                        for block in 0..self.blocks {
                            let (j, phase) = self.place(block, support, &labels);
                            let (re, im) = &expanded[block * self.size + j];
                            let w = self.roots[phase % self.q];
                            for l in 0..L {
                                cosine[l] += w.re * re[l] + w.im * im[l];
                                sine[l] += w.im * re[l] - w.re * im[l];
                            }
                        }
                        if wave == Wave::Real {
                            waves[at] = cosine;
                        } else {
                            let (_, negative) = cells(&labels, self.q);
                            waves[at] = cosine.map(|v| SQRT_2 * v);
                            waves[negative] = sine.map(|v| SQRT_2 * v);
                        }
                    }
                    visit(index, &waves, &mut out);
                }
                Ok(out)
            })
            .collect::<Result<_>>()?;
        Ok(parts.into_iter().flatten().collect())
    }
}
