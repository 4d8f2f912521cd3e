//! A regularisation path over the folds of a cross-validation and all data at once.

use rayon::prelude::*;

use super::gather::Tables;
use super::growth::{Index, grow};
use super::operator::{AtomId, Operator};
use super::penalty::Strengths;
use super::solver::Lanes;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Fits that go through the data together.
pub(crate) const LANES: usize = 4;
/// Folds of the cross-validation; with a fit to half of the data and one to all of it they fill two sets
/// of lanes.
pub(crate) const FOLDS: usize = 6;
/// A fit that uses more atoms than this part of its rows is beyond the best.
pub(crate) const DENSEST: f64 = 0.5;
/// First strength, and ratio of one to the next, as parts of the least that leaves only the constant.
const FIRST: f64 = 0.7;
const RATIO: f64 = 0.7;
const STEPS: usize = 60;
/// The same of a rough path.
const ROUGH_RATIO: f64 = 0.5;
/// Squared change per row, relative to the variance, at which a fit on the path counts as at rest.
const TOLERANCE: f64 = 3e-6;
const ROUGH_TOLERANCE: f64 = 1e-5;
const SWEEPS: usize = 40;
/// The path ends when the validated error is above the least one by this factor, twice in a row.
const WORSE: f64 = 1.002;
/// A validated error of this part of the variance is as good as none; what a smaller one would let in is
/// rounding errors.
const ENOUGH: f64 = 1e-8;
/// Variance, relative to the squared size of the values, that is none.
const ROUNDING: f64 = 1e-24;
/// Strengths of the refit, relative to that of the selection.
const REFITS: [f64; 2] = [0.3, 0.0];

/// An operator whose patterns can grow.
pub(crate) trait Growing: Operator + Sized {
    /// Extends the atoms of each set of lanes.
    fn grow(
        &mut self,
        index: &mut Index,
        lanes: &mut [Lanes<LANES>],
        strengths: &Strengths,
        lambda: f64,
        cancel: &Cancel,
    ) -> Result<()>;
}

impl Growing for Tables {
    fn grow(
        &mut self,
        index: &mut Index,
        lanes: &mut [Lanes<LANES>],
        strengths: &Strengths,
        lambda: f64,
        cancel: &Cancel,
    ) -> Result<()> {
        grow(self, index, lanes, strengths, lambda, cancel)
    }
}

impl Growing for super::bin_domain::Bins {
    fn grow(
        &mut self,
        _: &mut Index,
        _: &mut [Lanes<LANES>],
        _: &Strengths,
        _: f64,
        _: &Cancel,
    ) -> Result<()> {
        Ok(())
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) strengths: Strengths,
    /// Whether to fit half of the data and all of it too, besides the folds.
    pub(crate) complete: bool,
    /// Whether to try refits.
    pub(crate) refit: bool,
    /// The path ends when a fit uses more atoms than this part of its rows.
    pub(crate) densest: f64,
    /// The strength to end at, instead of the best.
    pub(crate) lambda: Option<f64>,
}

/// The best point of a path.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    pub(crate) lambda: f64,
    /// Strength of the refit relative to `lambda`; 1 is no refit.
    pub(crate) refit: f64,
    /// Mean squared error of held-out rows.
    pub(crate) error: f64,
    /// The least of a parabola through the errors around the best point of the path: what a finer path would
    /// have found.
    pub(crate) interpolated: f64,
    /// Residuals of held-out rows.
    pub(crate) residuals: Vec<f64>,
    /// Mean squared error, over the rows held out of it, of the fit to half of the data, and of the
    /// folds on the same rows.
    pub(crate) half: (f64, f64),
    /// Atoms allowed in the fit to all data, and their penalties.
    pub(crate) atoms: Vec<(AtomId, f64)>,
}

/// Follows the path of decreasing strength, and returns where held-out rows are predicted best.
///
/// `folds` tells the fold of each entry of the operator's values, `half` whether it is in the first
/// half.
pub(crate) fn follow<O: Growing>(
    operator: &mut O,
    index: &mut Index,
    folds: &[u8],
    half: &[bool],
    config: &Config,
    cancel: &Cancel,
) -> Result<Best> {
    let rows = operator.values().len();
    let sets = if config.complete { 2 } else { 1 };
    let held = |set: usize| -> Vec<u8> {
        let lane = |row: usize, lane: usize| match (config.complete, lane) {
            (true, FOLDS) => half[row],
            (true, lane) if lane > FOLDS => false,
            (_, lane) => folds[row] as usize == lane,
        };
        let bits = |row| (0..LANES).filter(|&l| lane(row, set * LANES + l)).fold(0, |bits, l| bits | 1 << l);
        (0..rows).map(bits).collect()
    };
    let mut lanes: Vec<Lanes<LANES>> = (0..sets).map(|set| Lanes::new(operator, held(set))).collect();
    let weights: Vec<f64> = operator.supports().iter().map(|s| config.strengths.of(s)).collect();
    let full = |lanes: &[Lanes<LANES>]| (lanes.len() - 1, LANES - 1);
    let variance = {
        let (set, lane) = full(&lanes);
        (0..rows).map(|row| lanes[set].residual_at(row, lane).powi(2)).sum::<f64>() / rows as f64
    };
    // A constant, up to rounding.
    let rounding = operator.values().iter().map(|v| v.abs()).fold(0.0, f64::max).powi(2) * ROUNDING;
    let largest = largest(operator, &lanes, &weights, cancel)?;
    // The constant alone.
    let mut best = best(&lanes, folds, half, config, f64::INFINITY, 1.0);
    let (mut before, mut worse) = (largest, 0);
    let mut errors = Vec::new();
    let ratio = if config.complete { RATIO } else { ROUGH_RATIO };
    let tolerance = variance * if config.complete { TOLERANCE } else { ROUGH_TOLERANCE };
    let patience = if config.complete { 2 } else { 1 };
    // A strength that is asked for is reached however small it is.
    let steps = if config.lambda.is_some() { usize::MAX } else { STEPS };
    for step in 0..steps {
        if largest == 0.0 || variance <= rounding {
            break;
        }
        let mut lambda = FIRST * largest * ratio.powi(step as i32);
        let last = config.lambda.is_some_and(|end| lambda <= end);
        if last {
            // The point asked for, whatever the path has seen before.
            lambda = config.lambda.unwrap_or(lambda);
            best.error = f64::INFINITY;
        }
        // The sequential strong rule (Tibshirani et al. 2012), and a look at what it missed.
        let threshold = (2.0 * lambda - before).max(0.9 * lambda);
        before = lambda;
        let shared: &O = operator;
        lanes.par_iter_mut().try_for_each(|lanes| {
            lanes.screen(shared, &weights, threshold, cancel)?;
            lanes.descend(lambda, tolerance, SWEEPS, cancel)?;
            if lanes.screen(shared, &weights, lambda, cancel)? > 0 {
                lanes.descend(lambda, tolerance, SWEEPS, cancel)?;
            }
            Ok::<(), Error>(())
        })?;
        if config.strengths.growth.is_some() {
            operator.grow(index, &mut lanes, &config.strengths, lambda, cancel)?;
            lanes
                .par_iter_mut()
                .try_for_each(|lanes| lanes.descend(lambda, tolerance, SWEEPS, cancel).map(drop))?;
        }
        let error = validated(&lanes, folds, config);
        errors.push(error);
        let mut least = error;
        if error < best.error {
            best = self::best(&lanes, folds, half, config, lambda, 1.0);
        }
        if config.refit {
            let states: Vec<_> = lanes.iter().map(Lanes::state).collect();
            for refit in REFITS {
                lanes
                    .par_iter_mut()
                    .try_for_each(|lanes| lanes.refit(refit * lambda, tolerance, SWEEPS, cancel).map(drop))?;
                let error = validated(&lanes, folds, config);
                least = least.min(error);
                if error < best.error {
                    best = self::best(&lanes, folds, half, config, lambda, refit);
                }
            }
            for (lanes, state) in lanes.iter_mut().zip(states) {
                lanes.restore(state);
            }
        }
        if last || (config.lambda.is_none() && best.error <= ENOUGH * variance) {
            break;
        }
        worse = if config.lambda.is_some() || least <= WORSE * best.error { 0 } else { worse + 1 };
        let used = lanes.iter().map(|lanes| (0..LANES).map(|l| lanes.used(l)).max().unwrap_or(0)).max();
        if worse == patience
            || lanes.iter().any(Lanes::is_full)
            || used.unwrap_or(0) as f64 > config.densest * rows as f64
        {
            break;
        }
    }
    best.interpolated = least_of_parabola(&errors).min(best.error);
    Ok(best)
}

/// The least strength at which every lane has only its constant.
fn largest<O: Operator>(
    operator: &O,
    lanes: &[Lanes<LANES>],
    weights: &[f64],
    cancel: &Cancel,
) -> Result<f64> {
    let mut largest = 0.0_f64;
    for set in lanes {
        let found = operator.scan(
            &set.training_residual(),
            cancel,
            |support| weights[support].is_finite(),
            |support, correlations, out: &mut Vec<f64>| {
                let relative = correlations.iter().enumerate().map(|(cell, g)| {
                    let penalty = operator.scale(support, cell) * weights[support];
                    let strengths = (0..LANES).map(|l| g[l].abs() / (penalty * set.count(l)));
                    if penalty > 0.0 { strengths.fold(0.0, f64::max) } else { 0.0 }
                });
                out.push(relative.fold(0.0, f64::max));
            },
        )?;
        largest = found.into_iter().fold(largest, f64::max);
    }
    Ok(largest)
}

/// The least value of the parabola through the smallest of these numbers and its neighbours.
fn least_of_parabola(errors: &[f64]) -> f64 {
    let Some(at) = (0..errors.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b])) else {
        return f64::INFINITY;
    };
    if at == 0 || at + 1 == errors.len() {
        return errors[at];
    }
    let (left, right) = (errors[at - 1] - errors[at], errors[at + 1] - errors[at]);
    let curvature = left + right;
    if curvature > 0.0 { errors[at] - (left - right).powi(2) / (8.0 * curvature) } else { errors[at] }
}

/// Folds that lanes stand for.
fn fold_count(config: &Config) -> usize {
    if config.complete { FOLDS } else { LANES }
}

/// Mean squared error of held-out rows.
fn validated(lanes: &[Lanes<LANES>], folds: &[u8], config: &Config) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for (row, &fold) in folds.iter().enumerate().filter(|&(_, &fold)| (fold as usize) < fold_count(config)) {
        sum += lanes[fold as usize / LANES].residual_at(row, fold as usize % LANES).powi(2);
        count += 1;
    }
    sum / f64::from(count)
}

fn best(
    lanes: &[Lanes<LANES>],
    folds: &[u8],
    half: &[bool],
    config: &Config,
    lambda: f64,
    refit: f64,
) -> Best {
    let held = |row: usize| {
        let fold = folds[row] as usize;
        lanes[fold / LANES].residual_at(row, fold % LANES)
    };
    let mut best = Best {
        lambda,
        refit,
        error: validated(lanes, folds, config),
        interpolated: f64::INFINITY,
        residuals: Vec::new(),
        half: (0.0, 0.0),
        atoms: Vec::new(),
    };
    if config.complete {
        best.residuals = (0..folds.len()).map(held).collect();
        let other = &lanes[FOLDS / LANES];
        for row in (0..folds.len()).filter(|&row| half[row]) {
            best.half.0 += other.residual_at(row, FOLDS % LANES).powi(2);
            best.half.1 += held(row).powi(2);
        }
        let full = LANES - 1;
        let atoms = lanes[lanes.len() - 1].atoms.iter().filter(|atom| atom.lanes >> full & 1 == 1);
        best.atoms = atoms.map(|atom| (atom.id, atom.penalty)).collect();
    }
    best
}
