//! The decoding of one set of bins: reading, peeling, and refitting.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::bins::Bins;
use super::singleton::{Level, Term, dominant, pair, singleton};
use super::{FLOOR, Peeling, PeelingDecoder, PeelingStatus, refit};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::frequency::Frequency;
use crate::surrogate::Spectrum;

/// A bin is noise if its energy is at most `1 + GAMMA` times the energy of the noise (arXiv 2301.06200, section 5).
const GAMMA: f64 = 0.5;
/// A singleton needs no confirmation by other groups if its energy is at least this multiple of the noise cutoff.
const PROVEN: f64 = 16.0;
/// Quantile of the bin energies that estimates the noise. It is low because few bins are empty if there are
/// many coefficients. If the estimate is too low, the confirmation by other groups still rejects noise.
const NOISE_QUANTILE: f64 = 0.1;
/// A new noise estimate counts as lower if it is below the previous one by this factor.
const LOWER: f64 = 0.9;
/// Largest number of refits after which peeling continues.
const MAX_REFITS: usize = 10;
/// A bin is open at the end if its energy exceeds the energy of the noise by this number of standard deviations.
const OPEN_DEVIATIONS: f64 = 8.0;
/// A coefficient is kept if it exceeds this number of standard errors.
const SIGNIFICANCE: f64 = 4.0;

/// Reads a coefficient from bin `j` of a group: `(bins, group, j, level)`.
type Detector = fn(&Bins<'_>, usize, usize, Level) -> Option<Term>;

/// The state of a decoder.
pub(super) struct Peeler<'a, 'b> {
    decoder: PeelingDecoder,
    bins: &'a mut Bins<'b>,
    /// Variance of the values.
    variance: f64,
    /// Energy of the noise in a bin of the first group, `σ²/q^b`.
    noise: f64,
    /// The same of each group, relative to the first one: 1 if their blocks have the same length.
    scales: Vec<f64>,
    /// For each group and bin, whether the bin has changed since it was last read.
    active: Vec<Vec<bool>>,
    /// Decoded coefficients, each at the lexicographically smaller of `k, -k`.
    coefficients: BTreeMap<Frequency, Complex64>,
    /// Number of rounds of peeling.
    rounds: usize,
}

impl<'a, 'b> Peeler<'a, 'b> {
    /// The offset of the bins must be the mean of the values.
    pub(super) fn new(decoder: PeelingDecoder, bins: &'a mut Bins<'b>) -> Self {
        let variance = bins.total_energy();
        let blocks: Vec<usize> = (0..bins.design.groups().len()).map(|c| bins.len(c)).collect();
        let block = blocks[0];
        let noise = match decoder.noise {
            Some(noise) => noise * noise / block as f64,
            None => f64::INFINITY,
        };
        let scales = blocks.iter().map(|&own| block as f64 / own as f64).collect();
        let active = blocks.iter().map(|&block| vec![true; block]).collect();
        Self { decoder, bins, variance, noise, scales, active, coefficients: BTreeMap::new(), rounds: 0 }
    }

    pub(super) fn run(mut self, cancel: &Cancel) -> Result<Peeling> {
        self.lower_noise();
        let mut completed = self.peel(cancel)?;
        if self.decoder.refit && self.is_noisy() {
            completed = self.refit_and_peel(completed, cancel)?;
        }
        let open_bins = self.count_open_bins();
        let status = match (completed, open_bins) {
            (false, _) => PeelingStatus::RoundLimit,
            (true, 0) => PeelingStatus::Converged,
            (true, _) => PeelingStatus::Stalled,
        };
        let rest = self.bins.total_energy();
        *self.coefficients.entry(Frequency::default()).or_default() += self.bins.offset;
        Ok(Peeling {
            spectrum: Spectrum::from_representatives(
                self.bins.design.space().clone(),
                self.coefficients.into_iter().collect(),
            ),
            status,
            unexplained: if self.variance > 0.0 { rest / self.variance } else { 0.0 },
            noise: (self.noise * self.bins.len(0) as f64).sqrt(),
            rounds: self.rounds,
            open_bins,
        })
    }

    /// Refits and peels in turn until the frequencies do not change, then refits once more. `completed` is
    /// the result of the previous [`Peeler::peel`]. Returns the result of the last one.
    fn refit_and_peel(&mut self, mut completed: bool, cancel: &Cancel) -> Result<bool> {
        for _ in 0..MAX_REFITS {
            let before: Vec<Frequency> = self.coefficients.keys().cloned().collect();
            self.refit(cancel)?;
            self.lower_noise();
            self.activate_all();
            completed = completed && self.peel(cancel)?;
            if !completed || self.coefficients.keys().eq(&before) {
                break;
            }
        }
        self.refit(cancel)?;
        Ok(completed)
    }

    /// Number of bins whose energy is clearly above the noise.
    fn count_open_bins(&self) -> usize {
        // The energy of noise in a bin, a mean of P values, has a standard deviation of 1/sqrt(P) of its mean.
        let spread = OPEN_DEVIATIONS / (self.bins.design.delays_per_group() as f64).sqrt();
        let open = |group: usize| {
            let noise = self.noise * self.scales[group];
            let cutoff = self.cutoff(group).max(self.floor() + (1.0 + spread) * noise);
            self.bins.energies(group).par_iter().filter(|energy| **energy > cutoff).count()
        };
        (0..self.active.len()).map(open).sum()
    }

    /// Energy of a bin up to which it is rounding error.
    fn floor(&self) -> f64 {
        FLOOR * self.variance
    }

    fn is_noisy(&self) -> bool {
        self.noise > self.floor()
    }

    /// Energy up to which a bin, or the rest of a bin after a singleton is subtracted, is noise.
    fn cutoff(&self, group: usize) -> f64 {
        self.floor() + (1.0 + GAMMA) * (self.noise * self.scales[group])
    }

    fn activate_all(&mut self) {
        for bins in &mut self.active {
            bins.fill(true);
        }
    }

    /// Estimates the noise again, unless it is set. Returns whether it is lower by a tenth or more.
    fn lower_noise(&mut self) -> bool {
        if self.decoder.noise.is_some() {
            return false;
        }
        let mut energies: Vec<f64> = (0..self.active.len())
            .flat_map(|c| self.bins.energies(c).iter().map(move |energy| (c, energy)))
            .map(|(c, energy)| energy / self.scales[c])
            .collect();
        let index = (NOISE_QUANTILE * (energies.len() - 1) as f64) as usize;
        let (_, &mut estimate, _) = energies.select_nth_unstable_by(index, f64::total_cmp);
        let lower = estimate < LOWER * self.noise && self.is_noisy();
        self.noise = self.noise.min(estimate);
        lower
    }

    /// Peels until a round peels nothing. Returns `false` if it reaches the largest number of rounds first.
    fn peel(&mut self, cancel: &Cancel) -> Result<bool> {
        let mut unconfirmed: BTreeMap<Frequency, Complex64> = BTreeMap::new();
        loop {
            cancel.check()?;
            if self.rounds == self.decoder.max_rounds {
                return Ok(false);
            }
            self.rounds += 1;
            unconfirmed.extend(self.read(singleton));
            // A singleton far above the noise needs no confirmation.
            let cutoffs = (0..self.active.len()).map(|c| self.cutoff(c));
            let proven = PROVEN * cutoffs.fold(0.0, f64::max);
            let mut progress = self.peel_confirmed(&mut unconfirmed, proven);
            if !progress {
                let detectors: [Detector; 2] = [pair, dominant];
                for detector in detectors {
                    self.activate_all();
                    let mut candidates = self.read(detector);
                    progress = progress || self.peel_confirmed(&mut candidates, f64::INFINITY);
                }
                progress = progress || self.lower_noise();
                // All bins are read again, so earlier readings are discarded.
                unconfirmed.clear();
                self.activate_all();
            }
            if !progress {
                return Ok(true);
            }
        }
    }

    /// Peels the candidates that have at least the energy `proven` or are confirmed, and leaves the others.
    /// Returns whether it has peeled any.
    fn peel_confirmed(&mut self, candidates: &mut BTreeMap<Frequency, Complex64>, proven: f64) -> bool {
        // In descending order of energy; ties in the order of the frequencies.
        let mut sorted: Vec<(Frequency, Complex64)> = std::mem::take(candidates).into_iter().collect();
        sorted.sort_by(|a, b| b.1.norm_sqr().total_cmp(&a.1.norm_sqr()));
        let mut progress = false;
        for (k, value) in sorted {
            if value.norm_sqr() >= proven || self.confirmed(&k, value) {
                self.subtract(k, value);
                progress = true;
            } else {
                candidates.insert(k, value);
            }
        }
        progress
    }

    /// Reads the active bins with a detector, and marks them as read. Returns coefficients at the
    /// lexicographically smaller of `k, -k`, each averaged over the bins from which it was read.
    fn read(&mut self, detector: Detector) -> BTreeMap<Frequency, Complex64> {
        let levels: Vec<Level> = (0..self.active.len())
            .map(|c| Level { cutoff: self.cutoff(c), noisy: self.is_noisy() })
            .collect();
        let q = self.bins.design.space().sizes();
        let mut readings: BTreeMap<Frequency, (Complex64, f64)> = BTreeMap::new();
        let bins = &*self.bins;
        for ((c, active), level) in self.active.iter_mut().enumerate().zip(levels) {
            let terms: Vec<Term> = active
                .par_iter_mut()
                .enumerate()
                .filter_map(|(j, active)| {
                    // One of each pair j, -j.
                    let read = std::mem::take(active) && j <= bins.negated(c, j);
                    if read && bins.energy(c, j) > level.cutoff { detector(bins, c, j, level) } else { None }
                })
                .collect();
            for Term { k, value } in terms {
                let (k, negated) = k.representative(q);
                let (sum, count) = readings.entry(k).or_default();
                *sum += if negated { value.conj() } else { value };
                *count += 1.0;
            }
        }
        readings.into_iter().map(|(k, (sum, count))| (k, sum / count)).collect()
    }

    /// Whether the groups confirm a coefficient, on average.
    fn confirmed(&self, k: &Frequency, value: Complex64) -> bool {
        let groups = self.active.len();
        let sum: f64 = (0..groups).map(|c| (self.bins.project(c, k) / value).re).sum();
        // The expected average is 1 for a true coefficient, and 1/C if only the group from which it was read has it.
        let chance = 1.0 / groups as f64;
        sum / groups as f64 >= (chance + 1.0) / 2.0
    }

    /// Adds `value` to the coefficient of `k`, and subtracts it from the bins.
    fn subtract(&mut self, k: Frequency, value: Complex64) {
        let active = &mut self.active;
        self.bins.subtract(&k, value, |c, j| active[c][j] = true);
        *self.coefficients.entry(k).or_default() += value;
    }

    /// Refits all coefficients, drops those within the noise, and repeats this until none is dropped.
    fn refit(&mut self, cancel: &Cancel) -> Result<()> {
        loop {
            self.coefficients.entry(Frequency::default()).or_default();
            let frequencies: Vec<Frequency> = self.coefficients.keys().cloned().collect();
            let corrections = refit::corrections(self.bins, &frequencies, cancel)?;
            for (k, change) in frequencies.into_iter().zip(corrections) {
                self.subtract(k, change);
            }
            let samples = (self.active.len() * self.bins.design.delays_per_group()) as f64;
            let bins: usize = (0..self.active.len()).map(|c| self.bins.len(c)).sum();
            let per_sample = self.bins.total_energy() / (bins as f64 / self.active.len() as f64);
            let min_energy = (SIGNIFICANCE * SIGNIFICANCE * per_sample / samples).max(self.floor());
            let weak: Vec<Frequency> = self
                .coefficients
                .iter()
                .filter(|(k, value)| k.order() > 0 && value.norm_sqr() <= min_energy)
                .map(|(k, _)| k.clone())
                .collect();
            if weak.is_empty() {
                return Ok(());
            }
            for k in weak {
                if let Some(value) = self.coefficients.remove(&k) {
                    self.bins.subtract(&k, -value, |_, _| {});
                }
            }
        }
    }
}
