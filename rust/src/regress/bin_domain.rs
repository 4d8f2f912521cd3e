//! The bin domain: characters on the blocks of a query design.
//!
//! The transform of a block `x = Mℓ + d` is unitary up to scale, so white noise stays white. In this domain
//! a character `k` has one coefficient for each block, at `j = Mᵀk`, and its conjugate at `-j`. A column
//! therefore has two entries for each block instead of `q^b`, and the correlation with a character takes one
//! look-up for each block.

use std::f64::consts::SQRT_2;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::columns::Column;
use super::operator::{AtomId, Characters, Correlations, Operator};
use super::real_characters::{Wave, cells, wave};
use crate::cancel::Cancel;
use crate::design::Observations;
use crate::design::QueryDesign;
use crate::error::Result;
use crate::space::roots_of_unity;
use crate::transform::QaryTransform;
use crate::words;

/// Supports scanned by one task.
const SUPPORTS: usize = 64;
/// Largest number of queries in a block: sums of bins are tabulated, and the table grows with its square.
pub(crate) const MAX_BLOCK: usize = 1 << 10;

/// The characters of a list of supports on the blocks of a design.
#[derive(Clone)]
pub(crate) struct BinOperator {
    q: usize,
    n: usize,
    /// Number of queries in a block, `q^b`.
    size: usize,
    /// Number of blocks.
    n_blocks: usize,
    supports: Vec<Vec<u16>>,
    /// The transformed values, real numbers only. A bin `j = -j` has its real coefficient. In a pair of bins `j` and
    /// `-j`, the smaller bin has `√2 Re` and the larger bin `√2 Im` of the coefficient at the smaller bin.
    values: Vec<f64>,
    constant: Vec<f64>,
    /// Bin `-j` of each bin `j`.
    negative: Vec<u16>,
    /// Bin `j + j'` at index `j * size + j'`.
    sums: Vec<u16>,
    /// Bin `l·M_i` and phase `l·d_i` at index `(block * n + position i) * q + label l`.
    shifts: Vec<(u16, u8)>,
    /// `ω^0 … ω^{q-1}`.
    roots: Vec<Complex64>,
    transform: QaryTransform,
}

impl BinOperator {
    /// Whether a design has blocks of at most [`MAX_BLOCK`] queries and no repeated queries. With repeated
    /// queries the noise in the bins would not be white. Its positions must have the same letters.
    pub(crate) fn supports_design(design: &QueryDesign) -> bool {
        let n_blocks = design.groups().len() * design.delays_per_group();
        let block = design.block_len(0);
        !design.space().has_letters() && block <= MAX_BLOCK && design.len() == n_blocks * block
    }

    /// Transforms the observations of a design that satisfies [`BinOperator::supports_design`].
    ///
    /// # Errors
    /// If the caller cancels.
    pub(crate) fn new(observations: &Observations, supports: Vec<Vec<u16>>, cancel: &Cancel) -> Result<Self> {
        let design = observations.design();
        let (q, n, b) = (design.space().q(), design.space().n(), design.config().b);
        let size = design.block_len(0);
        let n_blocks = design.groups().len() * design.delays_per_group();
        let digits = |bin: usize| words::digits::<usize>(bin, words::same(q, b)).into_iter();
        let negative: Vec<u16> =
            (0..size).map(|j| bin_of(q, &mut digits(j).map(|digit| q - digit)) as u16).collect();
        let sum = |(a, b): (usize, usize)| bin_of(q, &mut digits(a).zip(digits(b)).map(|(a, b)| a + b));
        let sums = (0..size * size).map(|index| sum((index / size, index % size)) as u16).collect();
        let transform = QaryTransform::new(q, b);
        let values = transformed(observations, &transform, &negative, cancel)?;
        let mut constant = vec![0.0; n_blocks * size];
        let unitary = (size as f64).sqrt();
        constant.iter_mut().step_by(size).for_each(|entry| *entry = unitary);
        Ok(Self {
            q,
            n,
            size,
            n_blocks,
            supports,
            values,
            constant,
            negative,
            sums,
            shifts: shifts(design),
            roots: roots_of_unity(q),
            transform,
        })
    }

    /// Bin and phase in a block of the character with these labels on a support.
    fn bin_and_phase(&self, block: usize, support: &[u16], labels: &[u8]) -> (usize, usize) {
        support.iter().zip(labels).fold((0, 0), |(bin, phase), (&i, &label)| {
            let (j, p) = self.shifts[(block * self.n + i as usize) * self.q + label as usize];
            (self.sums[bin * self.size + j as usize] as usize, phase + p as usize)
        })
    }

    /// The smaller and the larger of the bins `j, -j`, and the sign of the imaginary part at `j` relative to the
    /// imaginary part at the smaller bin.
    fn conjugate_pair(&self, j: usize) -> (usize, usize, f64) {
        let negative = self.negative[j] as usize;
        let (low, high) = (j.min(negative), j.max(negative));
        (low, high, if j == low { 1.0 } else { -1.0 })
    }

    /// The complex coefficients of `L` functions at every bin, times `q^{b/2}`: real and imaginary parts.
    fn coefficients<const L: usize>(&self, residual: &[[f64; L]]) -> Vec<([f64; L], [f64; L])> {
        let root = (self.size as f64).sqrt();
        residual
            .par_chunks_exact(self.size)
            .flat_map_iter(|block| {
                (0..self.size).map(move |j| {
                    let (low, high, sign) = self.conjugate_pair(j);
                    if low == high {
                        (block[j].map(|v| v * root), [0.0; L])
                    } else {
                        let scale = sign * root / SQRT_2;
                        (block[low].map(|v| v * root / SQRT_2), block[high].map(|v| v * scale))
                    }
                })
            })
            .collect()
    }

    /// Correlations of `L` functions with all characters of a support, from their [`coefficients`].
    ///
    /// [`coefficients`]: Self::coefficients
    fn correlations<const L: usize>(
        &self,
        coefficients: &[([f64; L], [f64; L])],
        support: &[u16],
        waves: &mut Vec<[f64; L]>,
    ) {
        waves.clear();
        waves.resize((self.q - 1).pow(support.len() as u32), [0.0; L]);
        for cell in 0..waves.len() {
            let (labels, wave) = wave(cell as u32, self.q, support.len());
            if wave == Wave::Sine {
                // The sine is computed together with its cosine.
                continue;
            }
            let (mut cosine, mut sine) = ([0.0; L], [0.0; L]);
            for block in 0..self.n_blocks {
                let (j, phase) = self.bin_and_phase(block, support, &labels);
                let (re, im) = &coefficients[block * self.size + j];
                let w = self.roots[phase % self.q];
                for l in 0..L {
                    cosine[l] += w.re * re[l] + w.im * im[l];
                    sine[l] += w.im * re[l] - w.re * im[l];
                }
            }
            if wave == Wave::Real {
                waves[cell] = cosine;
            } else {
                let (_, negative) = cells(&labels, self.q);
                waves[cell] = cosine.map(|v| SQRT_2 * v);
                waves[negative] = sine.map(|v| SQRT_2 * v);
            }
        }
    }
}

/// The bin with these digits modulo `q`, most significant first.
fn bin_of(q: usize, digits: &mut dyn Iterator<Item = usize>) -> usize {
    words::number(digits.map(|digit| digit % q), std::iter::repeat(q))
}

/// For each label at each position, how far it shifts the bin and the phase of a character; see
/// [`BinOperator::shifts`].
fn shifts(design: &QueryDesign) -> Vec<(u16, u8)> {
    let (q, n, b) = (design.space().q(), design.space().n(), design.config().b);
    let delays = design.delays_per_group();
    let mut shifts = vec![(0, 0); design.groups().len() * delays * n * q];
    for (block, shifts) in shifts.chunks_exact_mut(n * q).enumerate() {
        let group = &design.groups()[block / delays];
        let delay = group.delays.row(block % delays);
        for i in 0..n {
            let row = &group.matrix.as_slice()[i * b..(i + 1) * b];
            for label in 0..q {
                let j = bin_of(q, &mut row.iter().map(|&m| m as usize * label));
                shifts[i * q + label] = (j as u16, (label * delay[i] as usize % q) as u8);
            }
        }
    }
    shifts
}

/// The values of all blocks in the bin domain, as real numbers.
fn transformed(
    observations: &Observations,
    transform: &QaryTransform,
    negative: &[u16],
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let design = observations.design();
    let (size, delays) = (design.block_len(0), design.delays_per_group());
    let unitary = (size as f64).sqrt();
    let blocks: Vec<Vec<f64>> = (0..design.groups().len() * delays)
        .into_par_iter()
        .map(|block| {
            cancel.check()?;
            let values = design.block_values(block / delays, block % delays, observations.values());
            let data = transform.forward(&values, cancel)?;
            Ok((0..size).map(|j| real_entry(&data, j, negative[j] as usize) * unitary).collect())
        })
        .collect::<Result<_>>()?;
    Ok(blocks.concat())
}

/// The real number at bin `j`, from the coefficients of a real function.
fn real_entry(data: &[Complex64], j: usize, negative: usize) -> f64 {
    match j.cmp(&negative) {
        std::cmp::Ordering::Equal => data[j].re,
        std::cmp::Ordering::Less => SQRT_2 * data[j].re,
        std::cmp::Ordering::Greater => SQRT_2 * data[negative].im,
    }
}

impl Operator for BinOperator {
    fn supports(&self) -> &[Vec<u16>] {
        &self.supports
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    fn constant(&self) -> &[f64] {
        &self.constant
    }

    fn to_sequences(&self, values: &[f64]) -> Vec<f64> {
        let unitary = (self.size as f64).sqrt();
        let block = |block: &[f64]| -> Vec<f64> {
            let coefficients: Vec<Complex64> = (0..self.size)
                .map(|j| {
                    let (low, high, sign) = self.conjugate_pair(j);
                    let value = match low == high {
                        true => block[j].into(),
                        false => Complex64::new(block[low], sign * block[high]) / SQRT_2,
                    };
                    value / unitary
                })
                .collect();
            self.transform.inverse(coefficients).into_iter().map(|v| v.re).collect()
        };
        values.par_chunks_exact(self.size).flat_map_iter(block).collect()
    }

    fn column(&self, id: AtomId) -> Column {
        let support = &self.supports[id.support as usize];
        let (labels, wave) = wave(id.cell, self.q, support.len());
        let root = (self.size as f64).sqrt();
        let mut entries = Vec::with_capacity(2 * self.n_blocks);
        for block in 0..self.n_blocks {
            let (j, phase) = self.bin_and_phase(block, support, &labels);
            let (low, high, sign) = self.conjugate_pair(j);
            // The coefficient at bin j of the atom, if its character has this phase there.
            let character = self.roots[phase % self.q];
            let coefficient = match wave {
                Wave::Real | Wave::Cosine => character,
                Wave::Sine => character * Complex64::new(0.0, -1.0),
            };
            let first = (block * self.size) as u32;
            if low == high {
                let both = if wave == Wave::Real { 1.0 } else { SQRT_2 };
                entries.push((first + j as u32, both * root * coefficient.re));
            } else {
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
        include: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, Correlations<'_, L>, &mut Vec<T>) + Sync,
    ) -> Result<Vec<T>> {
        let coefficients = self.coefficients(residual);
        let outputs: Vec<Vec<T>> = self
            .supports
            .par_chunks(SUPPORTS)
            .enumerate()
            .map(|(chunk, supports)| {
                cancel.check()?;
                let mut output = Vec::new();
                let (mut waves, mut characters) = (Vec::<[f64; L]>::new(), Characters::default());
                for (i, support) in supports.iter().enumerate() {
                    let index = chunk * SUPPORTS + i;
                    if include(index) {
                        self.correlations(&coefficients, support, &mut waves);
                        visit(index, characters.correlations(&waves), &mut output);
                    }
                }
                Ok(output)
            })
            .collect::<Result<_>>()?;
        Ok(outputs.into_iter().flatten().collect())
    }
}
