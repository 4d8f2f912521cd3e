//! Planted spectra with noise, for tests, benchmarks and figures.

use rand::seq::index;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustfft::num_complex::Complex64;

use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::space::SequenceSpace;
use crate::surrogate::Spectrum;

/// A random spectrum to plant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planted {
    /// Number of coefficients; the pair `k, -k` counts as two.
    pub terms: usize,
    /// Orders are uniform on `1..=max_order`.
    pub max_order: usize,
    /// Magnitudes `|F[k]|` are uniform on this interval, phases uniform.
    pub magnitude: (f64, f64),
    /// Seed of all random choices.
    pub seed: u64,
}

impl Planted {
    /// Draws the spectrum. It has `terms` coefficients, or one fewer if only pairs are left.
    ///
    /// # Errors
    /// If the orders or magnitudes are out of range, or the space has too few frequencies.
    pub fn spectrum(&self, space: &SequenceSpace) -> Result<Spectrum> {
        let q = space.sizes();
        let free: Vec<u16> = (0..space.n() as u16).filter(|&i| q.at(i) > 1).collect();
        if self.max_order == 0 || self.max_order > free.len() {
            return Err(Error::Parameter {
                name: "max_order",
                expected: match space.has_letters() {
                    true => "1 to the number of positions with several letters",
                    false => "1 to the sequence length",
                },
                got: self.max_order.to_string(),
            });
        }
        let (low, high) = self.magnitude;
        if !(low > 0.0 && low <= high && high.is_finite()) {
            return Err(Error::Parameter {
                name: "magnitude",
                expected: "an interval of positive numbers",
                got: format!("{low} to {high}"),
            });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut half = std::collections::BTreeMap::new();
        let (mut count, mut draws) = (0, 0);
        while count < self.terms {
            draws += 1;
            if draws > 1000 * self.terms + 1000 {
                if count + 1 == self.terms {
                    break;
                }
                return Err(Error::Parameter {
                    name: "terms",
                    expected: "a small fraction of the frequencies of these orders",
                    got: self.terms.to_string(),
                });
            }
            let order = rng.random_range(1..=self.max_order as u32) as usize;
            let mut positions = index::sample(&mut rng, free.len(), order).into_vec();
            positions.sort_unstable();
            let (k, _) = positions
                .into_iter()
                .map(|i| (free[i], rng.random_range(1..q.at(free[i]) as u32) as u8))
                .collect::<Frequency>()
                .representative(q);
            let single = k.is_self_conjugate(q);
            let magnitude = if low < high { rng.random_range(low..high) } else { low };
            let phase = rng.random_range(0.0..std::f64::consts::TAU);
            if half.contains_key(&k) {
                continue;
            }
            if !single && count + 2 > self.terms {
                if free.iter().all(|&i| q.at(i) > 2 && !q.at(i).is_multiple_of(2)) {
                    break;
                }
                continue;
            }
            let value = if single {
                Complex64::new(if phase < std::f64::consts::PI { magnitude } else { -magnitude }, 0.0)
            } else {
                Complex64::from_polar(magnitude, phase)
            };
            count += if single { 1 } else { 2 };
            half.insert(k, value);
        }
        Ok(Spectrum::from_representatives(space.clone(), half.into_iter().collect()))
    }
}

/// Adds Gaussian noise of the given standard deviation to values.
pub fn add_noise(values: &mut [f64], standard_deviation: f64, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for pair in values.chunks_mut(2) {
        // Box and Muller: two normal numbers from two uniform ones.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = rng.random_range(0.0..std::f64::consts::TAU).sin_cos();
        for (value, part) in pair.iter_mut().zip([cos, sin]) {
            *value += standard_deviation * radius * part;
        }
    }
}

/// `‖F̂ - F‖² / ‖F‖²` over all frequencies but zero.
#[must_use]
pub fn nmse(estimate: &Spectrum, truth: &Spectrum) -> f64 {
    let zero = Frequency::default();
    let energy =
        truth.coefficients().iter().filter(|(k, _)| *k != zero).map(|(_, v)| v.norm_sqr()).sum::<f64>();
    let missed: f64 = truth
        .coefficients()
        .iter()
        .filter(|(k, _)| *k != zero)
        .map(|(k, v)| (estimate.coefficient(k) - v).norm_sqr())
        .sum();
    let invented: f64 = estimate
        .coefficients()
        .iter()
        .filter(|(k, _)| *k != zero && truth.coefficient(k) == Complex64::ZERO)
        .map(|(_, v)| v.norm_sqr())
        .sum();
    (missed + invented) / energy
}
