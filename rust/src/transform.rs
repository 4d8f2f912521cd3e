//! The q-ary Fourier transform of a block: `U[j] = q^{-b} Σ_ℓ v(ℓ) ω^{-<j,ℓ>}`, `ω = e^{2πi/q}`.
//!
//! Indices `ℓ, j ∈ Z_q^b` are numbers in base `q`, the first digit most significant. The digits may have sizes of their own:
//! then it is the transform over the product of their groups.

use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftDirection, FftPlanner};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::space::roots_of_unity;
use crate::words;

/// Largest number of values that one task transforms, if their rows are in one block.
const TASK: usize = 1 << 13;
/// Otherwise, the number of rows of one task.
const COLUMNS: usize = 1 << 8;

/// A planned transform over `Z_q^b`, or over `Z_{r_1} × … × Z_{r_b}`.
///
/// There is one pass for each digit: the rows of length `q` are copied to a buffer, transformed, and copied back.
///
/// ```
/// use shapsketch::transform::QaryTransform;
/// let transform = QaryTransform::new(3, 2);
/// let spectrum = transform.forward(&[1.0; 9], &shapsketch::Cancel::new())?;
/// assert!((spectrum[0].re - 1.0).abs() < 1e-15 && spectrum[4].norm() < 1e-15);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone)]
pub struct QaryTransform {
    axes: Vec<Axis>,
}

/// A digit: its size and the transforms of its rows.
#[derive(Clone)]
struct Axis {
    size: usize,
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
}

impl QaryTransform {
    /// Plans the transform of `q^b` values.
    #[must_use]
    pub fn new(q: usize, b: usize) -> Self {
        Self::with_sizes(words::same(q, b))
    }

    /// Plans the transform of `Π_t r_t` values over `Z_{r_1} × … × Z_{r_b}`.
    ///
    /// ```
    /// use shapsketch::transform::QaryTransform;
    /// let spectrum = QaryTransform::with_sizes([2, 3]).forward(&[1.0, 1.0, 1.0, 3.0, 3.0, 3.0], &shapsketch::Cancel::new())?;
    /// assert!((spectrum[0].re - 2.0).abs() < 1e-15 && (spectrum[3].re + 1.0).abs() < 1e-15);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    #[must_use]
    pub fn with_sizes(sizes: impl IntoIterator<Item = usize>) -> Self {
        let mut planner = FftPlanner::new();
        let axis = |size| Axis {
            size,
            forward: planner.plan_fft(size, FftDirection::Forward),
            inverse: planner.plan_fft(size, FftDirection::Inverse),
        };
        Self { axes: sizes.into_iter().map(axis).collect() }
    }

    /// Coefficients of `q^b` real values.
    ///
    /// # Errors
    /// If the caller cancels.
    ///
    /// # Panics
    /// If the number of values is not that of the plan.
    pub fn forward(&self, values: &[f64], cancel: &Cancel) -> Result<Vec<Complex64>> {
        let scale = 1.0 / values.len() as f64;
        let data = values.iter().map(|&v| Complex64::new(v * scale, 0.0)).collect();
        let transformed = self.apply(|axis| axis.forward.as_ref(), data, || cancel.check().is_err());
        cancel.check()?;
        Ok(transformed)
    }

    /// Values of `q^b` coefficients: `v(ℓ) = Σ_j U[j] ω^{<j,ℓ>}`.
    ///
    /// # Panics
    /// If the number of coefficients is not that of the plan.
    #[must_use]
    pub fn inverse(&self, coefficients: Vec<Complex64>) -> Vec<Complex64> {
        self.apply(|axis| axis.inverse.as_ref(), coefficients, || false)
    }

    /// Transforms the data in place; the result has no meaning if `stopped` returns true.
    fn apply(
        &self,
        fft: impl Fn(&Axis) -> &dyn Fft<f64>,
        mut data: Vec<Complex64>,
        stopped: impl Fn() -> bool + Sync,
    ) -> Vec<Complex64> {
        let size = words::count(self.axes.iter().map(|axis| axis.size));
        assert_eq!(data.len(), size, "the number of values is that of the plan");
        // The distance of the values of one row.
        let mut stride = 1;
        for axis in self.axes.iter().rev().filter(|axis| axis.size > 1) {
            let (fft, size) = (fft(axis), axis.size);
            let rows = size * stride;
            if stride == 1 {
                data.par_chunks_mut(TASK / size * size)
                    .filter(|_| !stopped())
                    .for_each(|chunk| fft.process(chunk));
            } else if rows <= TASK {
                let buffer = || vec![Complex64::ZERO; TASK];
                let chunks = data.par_chunks_mut(TASK / rows * rows).filter(|_| !stopped());
                chunks.for_each_init(buffer, |buffer, chunk| {
                    let buffer = &mut buffer[..chunk.len()];
                    for (block, rows) in chunk.chunks_exact(rows).zip(buffer.chunks_exact_mut(rows)) {
                        block
                            .chunks_exact(stride)
                            .enumerate()
                            .for_each(|(r, slab)| gather(slab, rows, r, size));
                    }
                    fft.process(buffer);
                    for (block, rows) in chunk.chunks_exact_mut(rows).zip(buffer.chunks_exact(rows)) {
                        let slabs = block.chunks_exact_mut(stride).enumerate();
                        slabs.for_each(|(r, slab)| scatter(rows, slab, r, size));
                    }
                });
            } else {
                let mut tasks: Vec<Vec<&mut [Complex64]>> = Vec::new();
                for block in data.chunks_exact_mut(rows) {
                    let slabs = block.chunks_exact_mut(stride);
                    let mut slabs: Vec<_> = slabs.map(|slab| slab.chunks_mut(COLUMNS)).collect();
                    let task = |_| slabs.iter_mut().filter_map(Iterator::next).collect();
                    tasks.extend((0..stride.div_ceil(COLUMNS)).map(task));
                }
                let buffer = || vec![Complex64::ZERO; COLUMNS * size];
                tasks.par_iter_mut().filter(|_| !stopped()).for_each_init(buffer, |buffer, slabs| {
                    let buffer = &mut buffer[..slabs.iter().map(|slab| slab.len()).sum()];
                    slabs.iter().enumerate().for_each(|(r, slab)| gather(slab, buffer, r, size));
                    fft.process(buffer);
                    slabs.iter_mut().enumerate().for_each(|(r, slab)| scatter(buffer, slab, r, size));
                });
            }
            stride = rows;
        }
        data
    }
}

/// Copies values to the entries `r` of rows of this size.
fn gather(values: &[Complex64], rows: &mut [Complex64], r: usize, size: usize) {
    rows[r..].iter_mut().step_by(size).zip(values).for_each(|(slot, &value)| *slot = value);
}

/// The inverse of [`gather`].
fn scatter(rows: &[Complex64], values: &mut [Complex64], r: usize, size: usize) {
    rows[r..].iter().step_by(size).zip(values).for_each(|(&value, slot)| *slot = value);
}

/// The transform by its definition, in `q^{2b}` steps; the tests compare [`QaryTransform::forward`] with it.
#[must_use]
pub fn naive_transform(q: usize, b: usize, values: &[f64]) -> Vec<Complex64> {
    let roots = roots_of_unity(q);
    let product = |mut j: usize, mut l: usize| {
        let mut sum = 0;
        for _ in 0..b {
            sum += (j % q) * (l % q);
            (j, l) = (j / q, l / q);
        }
        sum % q
    };
    (0..values.len())
        .map(|j| {
            let sum: Complex64 =
                values.iter().enumerate().map(|(l, &v)| roots[product(j, l)].conj() * v).sum();
            sum / values.len() as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn random(len: usize, seed: u64) -> Vec<f64> {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn agrees_with_the_definition_inverts_and_keeps_energy_for_every_q() {
        for q in (2usize..=13).chain([20, 64]) {
            for b in 1..=(if q <= 8 { 3 } else { 2 }) {
                let values = random(q.pow(b as u32), (q * b) as u64);
                let transform = QaryTransform::new(q, b);
                let spectrum = transform.forward(&values, &Cancel::new()).unwrap();
                for (fast, naive) in spectrum.iter().zip(naive_transform(q, b, &values)) {
                    assert!((fast - naive).norm() < 1e-12, "q={q} b={b}");
                }
                for (back, &value) in transform.inverse(spectrum.clone()).iter().zip(&values) {
                    assert!((back - value).norm() < 1e-12, "q={q} b={b}");
                }
                let energy: f64 = spectrum.iter().map(Complex64::norm_sqr).sum();
                let mean_square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
                assert!((energy - mean_square).abs() < 1e-12, "q={q} b={b}");
            }
        }
    }

    proptest! {
        #[test]
        fn digits_of_different_sizes_agree_with_the_definition(
            sizes in proptest::collection::vec(1usize..=21, 0..4), seed in 0u64..1000,
        ) {
            let count: usize = sizes.iter().product();
            prop_assume!(count <= 1500);
            let values = random(count, seed);
            let transform = QaryTransform::with_sizes(sizes.iter().copied());
            let spectrum = transform.forward(&values, &Cancel::new()).unwrap();
            let digits = |l| words::digits::<u8>(l, sizes.iter().copied());
            for (j, &fast) in spectrum.iter().enumerate() {
                let naive: Complex64 = values.iter().enumerate().map(|(l, &value)| {
                    let products = digits(j).into_iter().zip(digits(l)).zip(&sizes);
                    let turns: f64 = products.map(|((a, b), &q)| f64::from(a) * f64::from(b) / q as f64).sum();
                    value * Complex64::cis(-std::f64::consts::TAU * turns) / count as f64
                }).sum();
                prop_assert!((fast - naive).norm() < 1e-12);
            }
            for (back, &value) in transform.inverse(spectrum.clone()).iter().zip(&values) {
                prop_assert!((back - value).norm() < 1e-12);
            }
        }

        #[test]
        fn long_transforms_in_several_tasks_agree_with_nested_ones(
            first in 1usize..=7, second in 1usize..=21, seed in 0u64..1000,
        ) {
            // One digit more, and a transform of each part: Σ_l ω^{-jl} of the transforms of the parts.
            let rest = [second, 7, 9, 8];
            let count: usize = rest.iter().product();
            let values = random(first * count, seed);
            let nested = QaryTransform::with_sizes(rest);
            let parts: Vec<Vec<Complex64>> =
                values.chunks(count).map(|part| nested.forward(part, &Cancel::new()).unwrap()).collect();
            let sizes = std::iter::once(first).chain(rest);
            let spectrum = QaryTransform::with_sizes(sizes).forward(&values, &Cancel::new()).unwrap();
            let roots = roots_of_unity(first);
            for (at, fast) in spectrum.iter().enumerate().step_by(13) {
                let (j, inner) = (at / count, at % count);
                let sum: Complex64 =
                    parts.iter().enumerate().map(|(l, part)| roots[j * l % first].conj() * part[inner]).sum();
                prop_assert!((fast - sum / first as f64).norm() < 1e-13);
            }
        }

        #[test]
        fn real_values_have_conjugate_coefficients(q in 2usize..=20, seed in 0u64..1000) {
            let spectrum = QaryTransform::new(q, 2).forward(&random(q * q, seed), &Cancel::new()).unwrap();
            for j in 0..q * q {
                let negated = (q - j / q) % q * q + (q - j % q) % q;
                prop_assert!((spectrum[j] - spectrum[negated].conj()).norm() < 1e-13);
            }
        }
    }
}
