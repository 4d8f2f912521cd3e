//! The peeling decoder: a sparse spectrum from the bins of a query design.
//!
//! Every bin is a sum `U_{c,p}[j] = Σ_{k: M_c^T k = j} F[k] ω^{<d_{c,p},k>}`. Bins that hold one coefficient
//! (singletons) are read off, subtracted from the bins of all groups, and so on until nothing is
//! left to read (Erginbas et al., arXiv 2301.06200, algorithm 1). Beyond the paper:
//!
//! - the noise level is estimated from the bins, and anew as they empty;
//! - the model is real, so `k` and `-k` are peeled together, and read together in the bins `j = -j`;
//! - a coefficient that is not far above the noise is peeled only if the other groups see it too:
//!   averaged over groups, the projection of the bins on its signature must reach halfway between
//!   what chance and what the coefficient would give;
//! - in the end the coefficients are refitted on all bins, those within the noise are dropped, and
//!   what the refit uncovers is peeled in turn; without noise singletons are exact, and a refit would
//!   only spread over them what is left unexplained.

mod bins;
mod refit;
mod singleton;

use std::collections::BTreeMap;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use bins::Bins;
use singleton::Singleton;

use crate::cancel::Cancel;
use crate::design::Observations;
use crate::design::{DelayFamily, SubsamplingFamily};
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::surrogate::Spectrum;

/// Bin tests allow `1 + GAMMA` times the noise energy (arXiv 2301.06200, section 5).
const GAMMA: f64 = 0.5;
/// A singleton with this many times the energy that noise may have needs no other group's word.
const PROVEN: f64 = 16.0;
/// Bin energies below this fraction of the variance of the values are rounding errors.
const FLOOR: f64 = 1e-24;
/// The quantile of bin energies that is taken for noise. Under heavy load few bins are empty, so it is
/// a low one; where the level comes out too low, confirmation across groups makes up for it.
const NOISE_QUANTILE: f64 = 0.1;
/// Refits after which newly uncovered coefficients are still peeled.
const MAX_REFITS: usize = 10;
/// A bin is open in the end if its energy exceeds the noise by this many standard deviations.
const OPEN_DEVIATIONS: f64 = 8.0;
/// A coefficient is kept if it exceeds this many standard errors.
const SIGNIFICANCE: f64 = 4.0;

/// Settings of the decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeelingDecoder {
    /// Standard deviation of the noise of one value, in the units of the model; estimated if `None`.
    pub noise: Option<f64>,
    /// Whether to refit the coefficients on all bins; without, they are those of the paper.
    pub refit: bool,
    /// Most rounds of peeling.
    pub max_rounds: usize,
}

impl Default for PeelingDecoder {
    fn default() -> Self {
        Self { noise: None, refit: true, max_rounds: 1000 }
    }
}

/// Why the decoder stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeelingStatus {
    /// Every bin is explained to within the noise.
    Converged,
    /// Bins above the noise are left, but none of them is a singleton.
    Stalled,
    /// The rounds allowed were used up.
    RoundLimit,
}

impl PeelingStatus {
    /// The name used in files and in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Stalled => "stalled",
            Self::RoundLimit => "round limit",
        }
    }
}

/// A decoded spectrum and how the decoding went.
#[derive(Clone, Debug)]
pub struct Peeling {
    /// The coefficients found.
    pub spectrum: Spectrum,
    /// Why the decoder stopped.
    pub status: PeelingStatus,
    /// Fraction of the variance of the values that the spectrum leaves unexplained on the design
    /// itself (0 to 1; 0 for constant values). Coefficients are chosen on these values: judge a
    /// spectrum by other ones.
    pub unexplained: f64,
    /// Standard deviation of the noise of one value that the bin tests assumed last.
    pub noise: f64,
    /// Rounds of peeling.
    pub rounds: usize,
    /// Bins, of all groups, whose energy is above the noise in the end.
    pub open_bins: usize,
}

impl PeelingDecoder {
    /// Decodes a spectrum.
    ///
    /// # Errors
    /// If the design's delays do not spell out frequencies, a parameter is out of range, or the
    /// caller cancels.
    pub fn decode(&self, observations: &Observations, cancel: &Cancel) -> Result<Peeling> {
        let bad = |name, expected, got: String| Err(Error::Parameter { name, expected, got });
        if let Some(noise) = self.noise.filter(|noise| !(noise.is_finite() && *noise >= 0.0)) {
            return bad("noise", "a standard deviation, finite and not negative", noise.to_string());
        }
        if self.max_rounds == 0 {
            return bad("max_rounds", "at least 1", "0".into());
        }
        let design = observations.design();
        let values = observations.values();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let bins = || Bins::new(observations, mean, cancel);
        let config = design.config();
        match config.delays {
            DelayFamily::Identity | DelayFamily::Nso { .. } => Peeler::new(*self, bins()?, mean).run(cancel),
            // The bins of a complete design are the frequencies, as long as M is the identity.
            DelayFamily::Zero
                if config.b == design.space().n() && config.subsampling == SubsamplingFamily::Simple =>
            {
                exact(&bins()?, mean)
            }
            other => Err(Error::Design(format!(
                "{other:?} delays do not spell out frequencies; peeling needs identity or NSO delays"
            ))),
        }
    }
}

/// The transform of every sequence of the space, less the mean: all coefficients, but for the rounding
/// errors of the transform and of the values themselves.
fn exact(bins: &Bins, mean: f64) -> Result<Peeling> {
    let design = &bins.design;
    let (q, n) = (design.space().q(), design.space().n());
    let rounding = (4.0 * f64::EPSILON * mean).powi(2) / design.block_len() as f64;
    let floor = FLOOR * bins.total_energy() + rounding;
    let mut coefficients = Vec::new();
    if mean * mean > floor {
        coefficients.push((Frequency::default(), mean.into()));
    }
    coefficients.extend((0..design.block_len()).filter(|&j| bins.energy(0, j) > floor).map(|j| {
        let dense: Vec<u8> = (0..n).map(|i| (j / q.pow((n - 1 - i) as u32) % q) as u8).collect();
        (Frequency::from_dense(&dense), bins.bin(0, j)[0])
    }));
    Ok(Peeling {
        spectrum: Spectrum::real_part(design.space().clone(), coefficients)?,
        status: PeelingStatus::Converged,
        unexplained: 0.0,
        noise: 0.0,
        rounds: 0,
        open_bins: 0,
    })
}

struct Peeler {
    decoder: PeelingDecoder,
    bins: Bins,
    mean: f64,
    /// Energy of the values about their mean.
    total: f64,
    /// Energy of the noise in a bin, `σ²/q^b`.
    noise: f64,
    /// Bins, one of each pair `j, -j`, that changed since they were last looked at, by group.
    active: Vec<Vec<bool>>,
    /// Coefficients found, by the lesser of `k, -k`.
    found: BTreeMap<Frequency, Complex64>,
    rounds: usize,
}

impl Peeler {
    fn new(decoder: PeelingDecoder, bins: Bins, mean: f64) -> Self {
        let total = bins.total_energy();
        let groups = bins.design.groups().len();
        let block = bins.design.block_len();
        let noise = match decoder.noise {
            Some(noise) => noise * noise / block as f64,
            None => f64::INFINITY,
        };
        let active = vec![vec![true; block]; groups];
        Self { decoder, bins, mean, total, noise, active, found: BTreeMap::new(), rounds: 0 }
    }

    fn run(mut self, cancel: &Cancel) -> Result<Peeling> {
        self.lower_noise();
        let mut exhausted = !self.peel(cancel)?;
        if self.decoder.refit && self.noisy() {
            for _ in 0..MAX_REFITS {
                let before: Vec<Frequency> = self.found.keys().cloned().collect();
                self.refit(cancel)?;
                self.lower_noise();
                self.activate_all();
                if exhausted || !self.peel(cancel)? {
                    exhausted = true;
                    break;
                }
                if self.found.keys().eq(&before) {
                    break;
                }
            }
            self.refit(cancel)?;
        }
        // The largest of many noisy bins lies several standard deviations, of 1/sqrt(P) each, up.
        let spread = OPEN_DEVIATIONS / (self.bins.design.delays_per_group() as f64).sqrt();
        let cutoff = self.cutoff().max(self.floor() + (1.0 + spread) * self.noise);
        let open_bins: usize = (0..self.active.len())
            .map(|c| {
                (0..self.bins.design.block_len())
                    .into_par_iter()
                    .filter(|&j| self.bins.energy(c, j) > cutoff)
                    .count()
            })
            .sum();
        let status = match (exhausted, open_bins) {
            (true, _) => PeelingStatus::RoundLimit,
            (false, 0) => PeelingStatus::Converged,
            (false, _) => PeelingStatus::Stalled,
        };
        let left = self.bins.total_energy();
        *self.found.entry(Frequency::default()).or_default() += self.mean;
        Ok(Peeling {
            spectrum: Spectrum::from_representatives(
                self.bins.design.space().clone(),
                self.found.into_iter().collect(),
            ),
            status,
            unexplained: if self.total > 0.0 { left / self.total } else { 0.0 },
            noise: (self.noise * self.bins.design.block_len() as f64).sqrt(),
            rounds: self.rounds,
            open_bins,
        })
    }

    fn floor(&self) -> f64 {
        FLOOR * self.total
    }

    fn noisy(&self) -> bool {
        self.noise > self.floor()
    }

    /// Energy up to which a bin, or what a singleton leaves of it, is noise.
    fn cutoff(&self) -> f64 {
        self.floor() + (1.0 + GAMMA) * self.noise
    }

    fn activate_all(&mut self) {
        for bins in &mut self.active {
            bins.fill(true);
        }
    }

    /// Estimates the noise anew, unless it was given; says whether it has fallen by a tenth or more.
    fn lower_noise(&mut self) -> bool {
        if self.decoder.noise.is_some() {
            return false;
        }
        let mut energies: Vec<f64> = (0..self.active.len())
            .flat_map(|c| {
                let energies: Vec<f64> = (0..self.bins.design.block_len())
                    .into_par_iter()
                    .map(|j| self.bins.energy(c, j))
                    .collect();
                energies
            })
            .collect();
        let at = (NOISE_QUANTILE * (energies.len() - 1) as f64) as usize;
        let (_, &mut estimate, _) = energies.select_nth_unstable_by(at, f64::total_cmp);
        let fallen = estimate < 0.9 * self.noise && self.noisy();
        self.noise = self.noise.min(estimate);
        fallen
    }

    /// Peels until nothing more is found; says whether that was within the rounds allowed.
    fn peel(&mut self, cancel: &Cancel) -> Result<bool> {
        let mut unconfirmed: BTreeMap<Frequency, Complex64> = BTreeMap::new();
        loop {
            cancel.check()?;
            if self.rounds == self.decoder.max_rounds {
                return Ok(false);
            }
            self.rounds += 1;
            unconfirmed.extend(self.read(singleton::singleton));
            // Far above the noise a singleton proves itself.
            let mut progress = self.peel_confirmed(&mut unconfirmed, PROVEN * self.cutoff());
            if !progress {
                for detect in [singleton::pair, singleton::dominant] {
                    self.activate_all();
                    let mut candidates = self.read(detect);
                    progress = progress || self.peel_confirmed(&mut candidates, f64::INFINITY);
                }
                progress = progress || self.lower_noise();
                // Everything is read anew, so nothing is judged by what it was before.
                unconfirmed.clear();
                self.activate_all();
            }
            if !progress {
                return Ok(true);
            }
        }
    }

    /// Peels the candidates that have the energy `proven` or are confirmed, and leaves the others;
    /// says whether there were any.
    fn peel_confirmed(&mut self, candidates: &mut BTreeMap<Frequency, Complex64>, proven: f64) -> bool {
        // The strongest first; ties by the order of frequencies.
        let mut sorted: Vec<(Frequency, Complex64)> = std::mem::take(candidates).into_iter().collect();
        sorted.sort_by(|a, b| b.1.norm_sqr().total_cmp(&a.1.norm_sqr()));
        let mut progress = false;
        for (k, value) in sorted {
            if value.norm_sqr() >= proven || self.confirmed(&k, value) {
                self.take(k, value);
                progress = true;
            } else {
                candidates.insert(k, value);
            }
        }
        progress
    }

    /// What the active bins hold according to `detect`, by the lesser of `k, -k`; the bins are then
    /// at rest. Each group that reads a frequency has a say in its value.
    fn read(
        &mut self,
        detect: impl Fn(&Bins, usize, usize, f64) -> Option<Singleton> + Sync,
    ) -> BTreeMap<Frequency, Complex64> {
        let q = self.bins.design.space().q();
        let cutoff = self.cutoff();
        let mut readings: BTreeMap<Frequency, (Complex64, f64)> = BTreeMap::new();
        for (c, active) in self.active.iter_mut().enumerate() {
            let found: Vec<Singleton> = active
                .par_iter_mut()
                .enumerate()
                .filter_map(|(j, active)| {
                    let look = std::mem::take(active) && j <= self.bins.negated(j);
                    if look && self.bins.energy(c, j) > cutoff {
                        detect(&self.bins, c, j, cutoff)
                    } else {
                        None
                    }
                })
                .collect();
            for Singleton { k, value } in found {
                let (k, negated) = k.representative(q);
                let (sum, count) = readings.entry(k).or_default();
                *sum += if negated { value.conj() } else { value };
                *count += 1.0;
            }
        }
        readings.into_iter().map(|(k, (sum, count))| (k, sum / count)).collect()
    }

    /// Whether the groups agree on a coefficient.
    fn confirmed(&self, k: &Frequency, value: Complex64) -> bool {
        let groups = self.active.len();
        let sum: f64 = (0..groups).map(|c| (self.bins.project(c, k) / value).re).sum();
        // By chance only the group that read it agrees: 1/C on average, against 1.
        let chance = 1.0 / groups as f64;
        sum / groups as f64 >= (chance + 1.0) / 2.0
    }

    fn take(&mut self, k: Frequency, value: Complex64) {
        let active = &mut self.active;
        self.bins.subtract(&k, value, |c, j| active[c][j] = true);
        *self.found.entry(k).or_default() += value;
    }

    /// Refits all coefficients, drops those within the noise, and refits the others.
    fn refit(&mut self, cancel: &Cancel) -> Result<()> {
        loop {
            self.found.entry(Frequency::default()).or_default();
            let frequencies: Vec<Frequency> = self.found.keys().cloned().collect();
            let corrections = refit::corrections(&self.bins, &frequencies, cancel)?;
            for (k, change) in frequencies.into_iter().zip(corrections) {
                self.take(k, change);
            }
            let samples = (self.active.len() * self.bins.design.delays_per_group()) as f64;
            let per_sample = self.bins.total_energy() / self.bins.design.block_len() as f64;
            let least = (SIGNIFICANCE * SIGNIFICANCE * per_sample / samples).max(self.floor());
            let weak: Vec<Frequency> = self
                .found
                .iter()
                .filter(|(k, value)| k.order() > 0 && value.norm_sqr() <= least)
                .map(|(k, _)| k.clone())
                .collect();
            if weak.is_empty() {
                return Ok(());
            }
            for k in weak {
                if let Some(value) = self.found.remove(&k) {
                    self.bins.subtract(&k, -value, |_, _| {});
                }
            }
        }
    }
}
