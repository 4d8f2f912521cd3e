//! The regularisation path: fits at a decreasing sequence of `λ`, for all folds of a cross-validation.

use rayon::prelude::*;

use super::folds::{FoldPlan, LANES, Role};
use super::growth::grow;
use super::operator::{AtomId, Operator};
use super::penalty::PenaltyFactors;
use super::solver::Lanes;
use super::time_limit::TimeLimit;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// The path ends at a fit with more nonzero coefficients than this fraction of the rows.
pub(crate) const MAX_DENSITY: f64 = 0.5;
/// First `λ`, as a fraction of the smallest one at which all coefficients are zero.
const FIRST: f64 = 0.7;
/// Screening threshold of a step, as a fraction of its `λ`, if the strong rule gives a lower one.
const MIN_THRESHOLD: f64 = 0.9;
/// Largest number of steps, unless the path must reach a given `λ`.
const STEPS: usize = 60;
/// Largest number of sweeps of one descent.
const SWEEPS: usize = 40;
/// A step is worse if its validation error exceeds the lowest one before by this factor.
const WORSE: f64 = 1.002;
/// The path ends at a validation error of this fraction of the variance: the remaining error is rounding error.
const ENOUGH: f64 = 1e-8;
/// Values are constant if their variance is at most this fraction of the largest squared value.
const ROUNDING: f64 = 1e-24;
/// `λ` of each refit, as a fraction of the `λ` of the selection.
const REFITS: [f64; 2] = [0.3, 0.0];

/// How finely a path is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Precision {
    /// Ratio of each `λ` to the one before.
    ratio: f64,
    /// A descent ends when no step changes a fit by more than this (squared, per row), as a fraction of the
    /// variance.
    tolerance: f64,
    /// The path ends after this number of consecutive worse steps.
    patience: usize,
}

impl Precision {
    /// For the fit to all data.
    pub(crate) const FINE: Self = Self { ratio: 0.7, tolerance: 3e-6, patience: 2 };
    /// For decisions on a subsample.
    pub(crate) const ROUGH: Self = Self { ratio: 0.5, tolerance: 1e-5, patience: 1 };
}

/// Settings of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathConfig<'a> {
    pub(crate) factors: PenaltyFactors,
    pub(crate) precision: Precision,
    /// Whether to evaluate refits.
    pub(crate) refit: bool,
    /// The path ends at a fit with more nonzero coefficients than this fraction of the rows.
    pub(crate) max_density: f64,
    /// The path ends before a step that would have more active atoms than this in a set of lanes.
    pub(crate) most_atoms: usize,
    /// The `λ` at which the path ends and which is selected; `None` selects the best one.
    pub(crate) lambda: Option<f64>,
    /// The path ends if this limit is reached, unless it must reach a given `λ`.
    pub(crate) limit: &'a TimeLimit,
}

/// The best point of a path.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    pub(crate) lambda: f64,
    /// `λ` of the refit as a fraction of `lambda`; 1 if there was no refit.
    pub(crate) refit: f64,
    /// Mean squared error of held-out rows.
    pub(crate) error: f64,
    /// The minimum of a parabola through the errors around the best step: an estimate of the error at the
    /// best `λ` between the steps.
    pub(crate) interpolated_error: f64,
    /// Residual of each row in the fit that holds it out. Empty if the plan has no fit to all rows.
    pub(crate) residuals: Vec<f64>,
    /// Sums of squared errors over the rows that the fit to half of the data holds out: of that fit, and of
    /// the folds.
    pub(crate) half_errors: (f64, f64),
    /// Mean over the folds of the mean squared error of the rows that the fit of the fold was trained on.
    pub(crate) training_error: f64,
    /// Atoms that are active in the fit to all rows, with their penalties and their coefficients before the refit.
    pub(crate) atoms: Vec<(AtomId, f64, f64)>,
}

/// Follows the path of decreasing `λ`, and returns the point with the lowest error of held-out rows.
///
/// # Errors
/// If the caller cancels.
pub(crate) fn follow<O: Operator>(
    operator: &mut O,
    plan: &FoldPlan,
    config: &PathConfig<'_>,
    cancel: &Cancel,
) -> Result<Best> {
    let mut path = Path::new(operator, plan, config, cancel)?;
    if path.has_variance() {
        // A path that must reach a given λ takes as many steps as it needs.
        let steps = if config.lambda.is_some() { usize::MAX } else { STEPS };
        for step in 0..steps {
            if step > 0 && config.lambda.is_none() && config.limit.is_reached() {
                break;
            }
            let mut lambda = FIRST * path.largest_lambda * config.precision.ratio.powi(step as i32);
            let end = config.lambda.filter(|&end| lambda <= end);
            if let Some(end) = end {
                // Select this point even if an earlier one has a lower error.
                lambda = end;
                path.best.error = f64::INFINITY;
            }
            if !path.step(lambda)? {
                break;
            }
            let improved = path.evaluate(lambda)?;
            if end.is_some() || path.is_finished(improved) {
                break;
            }
        }
    }
    let Path { mut best, errors, .. } = path;
    best.interpolated_error = parabola_minimum(&errors).min(best.error);
    Ok(best)
}

/// The fits of a plan with this `λ`, without those of the path before. They are constants if `λ` is infinite.
///
/// # Errors
/// If the caller cancels.
pub(super) fn fits_at<O: Operator>(
    operator: &mut O,
    plan: &FoldPlan,
    config: &PathConfig<'_>,
    lambda: f64,
    cancel: &Cancel,
) -> Result<Vec<Lanes<LANES>>> {
    let mut path = Path::new(operator, plan, config, cancel)?;
    if lambda.is_finite() {
        path.step(lambda)?;
    }
    Ok(path.lanes)
}

/// The state of a path.
struct Path<'a, O> {
    operator: &'a mut O,
    plan: &'a FoldPlan,
    config: &'a PathConfig<'a>,
    cancel: &'a Cancel,
    /// The fits, [`LANES`] in a set.
    lanes: Vec<Lanes<LANES>>,
    /// Penalty factor of each support.
    factors: Vec<f64>,
    /// The same, but infinite for runs.
    factors_of_letters: Vec<f64>,
    /// Mean squared residual of the constant in the last lane: the variance of the values.
    variance: f64,
    /// A descent ends when no step changes a fit by more than this (squared, per row).
    tolerance: f64,
    /// The smallest `λ` at which all coefficients of all fits are zero.
    largest_lambda: f64,
    previous_lambda: f64,
    best: Best,
    /// Validation error of each step, without refits.
    errors: Vec<f64>,
    /// The same for each kind of refits.
    refit_errors: [Vec<f64>; REFITS.len()],
    /// Number of consecutive worse steps.
    worse_steps: usize,
}

impl<'a, O: Operator> Path<'a, O> {
    /// Fits of the constant alone.
    fn new(
        operator: &'a mut O,
        plan: &'a FoldPlan,
        config: &'a PathConfig<'a>,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let lanes: Vec<Lanes<LANES>> = (0..plan.n_sets())
            .map(|set| {
                let lanes = Lanes::new(operator, plan.held_out(set), plan.available(set));
                lanes.with_most_atoms(config.most_atoms)
            })
            .collect();
        let factors = operator.factors(&config.factors);
        let factors_of_letters = operator.factors(&PenaltyFactors { runs: None, ..config.factors });
        let rows = plan.n_rows();
        let (set, lane) = plan.last_lane();
        let squares = (0..rows).map(|row| lanes[set].residual_at(row, lane).powi(2)).sum::<f64>();
        let variance = squares / rows as f64;
        let largest_lambda = largest_lambda(operator, &lanes, &factors, cancel)?;
        let error = held_out_error(plan, &lanes);
        let best = point(plan, &lanes, (f64::INFINITY, 1.0), Vec::new(), error);
        Ok(Self {
            operator,
            plan,
            config,
            cancel,
            lanes,
            factors,
            factors_of_letters,
            variance,
            tolerance: variance * config.precision.tolerance,
            largest_lambda,
            previous_lambda: largest_lambda,
            best,
            errors: Vec::new(),
            refit_errors: [const { Vec::new() }; REFITS.len()],
            worse_steps: 0,
        })
    }

    /// Whether the values vary by more than rounding errors, and some atom is correlated with them.
    fn has_variance(&self) -> bool {
        let largest = self.operator.values().iter().map(|v| v.abs()).fold(0.0, f64::max);
        self.largest_lambda != 0.0 && self.variance > largest.powi(2) * ROUNDING
    }

    /// Fits all lanes with this `λ`. Returns false if there would be too many active atoms, or too many for the memory; then
    /// some fits have the `λ` of the step before.
    fn step(&mut self, lambda: f64) -> Result<bool> {
        // The sequential strong rule (Tibshirani et al. 2012), then a check of the atoms it discarded. Runs that the rule
        // discards wait for the next step, because a scan of all runs takes longer.
        let threshold = (2.0 * lambda - self.previous_lambda).max(MIN_THRESHOLD * lambda);
        self.previous_lambda = lambda;
        let (operator, factors, letters) = (&*self.operator, &self.factors, &self.factors_of_letters);
        let (tolerance, cancel) = (self.tolerance, self.cancel);
        let fit = |set: &mut Lanes<LANES>| {
            if set.screen(operator, factors, threshold, cancel)?.is_none() {
                return Ok(false);
            }
            set.descend(lambda, tolerance, SWEEPS, cancel)?;
            let Some(activated) = set.screen(operator, letters, lambda, cancel)? else { return Ok(false) };
            if activated > 0 {
                set.descend(lambda, tolerance, SWEEPS, cancel)?;
            }
            Ok::<bool, Error>(true)
        };
        let fitted = self.lanes.par_iter_mut().map(fit).collect::<Result<Vec<bool>>>()?;
        if fitted.contains(&false) {
            return Ok(false);
        }
        if self.config.factors.growth.is_some() {
            if let Some(patterns) = self.operator.growable() {
                let grown = grow(patterns, &mut self.lanes, &self.config.factors, lambda, cancel)?;
                if !grown && self.config.lambda.is_none() {
                    return Ok(false);
                }
            }
            self.lanes
                .par_iter_mut()
                .try_for_each(|set| set.descend(lambda, tolerance, SWEEPS, cancel).map(drop))?;
        }
        Ok(true)
    }

    /// Evaluates the fits of a step and their refits on held-out rows, and updates the best point. Returns
    /// whether the path should go on: the error of the fits, or that of a kind of refits, is not worse than the lowest one
    /// of the same kind. They are compared by kind, because a refit of few atoms can have an error that the fits and the
    /// refits reach only many steps later, with more atoms.
    fn evaluate(&mut self, lambda: f64) -> Result<bool> {
        let error = held_out_error(self.plan, &self.lanes);
        let mut good = not_worse(error, &self.errors);
        self.errors.push(error);
        let atoms = self.atoms_of_full();
        if error < self.best.error {
            self.best = point(self.plan, &self.lanes, (lambda, 1.0), atoms.clone(), error);
        }
        if !self.config.refit {
            return Ok(good);
        }
        let snapshots: Vec<_> = self.lanes.iter().map(Lanes::snapshot).collect();
        let (tolerance, cancel) = (self.tolerance, self.cancel);
        for (kind, refit) in REFITS.into_iter().enumerate() {
            self.lanes
                .par_iter_mut()
                .try_for_each(|set| set.refit(refit * lambda, tolerance, SWEEPS, cancel))?;
            let error = held_out_error(self.plan, &self.lanes);
            good |= not_worse(error, &self.refit_errors[kind]);
            self.refit_errors[kind].push(error);
            if error < self.best.error {
                self.best = point(self.plan, &self.lanes, (lambda, refit), atoms.clone(), error);
            }
        }
        for (set, snapshot) in self.lanes.iter_mut().zip(snapshots) {
            set.restore(snapshot);
        }
        Ok(good)
    }

    /// The atoms that are active in the fit to all rows, with penalties and coefficients; none if the plan has no such fit.
    fn atoms_of_full(&self) -> Vec<(AtomId, f64, f64)> {
        let Some((set, lane)) = self.plan.lane_of(Role::Full) else { return Vec::new() };
        let active = self.lanes[set].atoms.iter().filter(|atom| atom.lanes >> lane & 1 == 1);
        active.map(|atom| (atom.id, atom.penalty, atom.beta[lane])).collect()
    }

    /// Whether the path ends after a step, which was `good` if [`Path::evaluate`] says so.
    fn is_finished(&mut self, good: bool) -> bool {
        let selects = self.config.lambda.is_none();
        if selects && self.best.error <= ENOUGH * self.variance {
            return true;
        }
        self.worse_steps = if good || !selects { 0 } else { self.worse_steps + 1 };
        let nonzero = |set: &Lanes<LANES>| (0..LANES).map(|lane| set.n_nonzero(lane)).max().unwrap_or(0);
        let densest = self.lanes.iter().map(nonzero).max().unwrap_or(0);
        self.worse_steps == self.config.precision.patience
            || self.lanes.iter().any(Lanes::is_full)
            || densest as f64 > self.config.max_density * self.plan.n_rows() as f64
    }
}

/// Whether an error is not worse than the lowest one before.
fn not_worse(error: f64, before: &[f64]) -> bool {
    before.iter().all(|&other| error <= WORSE * other)
}

/// Mean squared error of held-out rows.
fn held_out_error(plan: &FoldPlan, lanes: &[Lanes<LANES>]) -> f64 {
    let rows = plan.n_rows();
    let mut sum = 0.0;
    for row in 0..rows {
        sum += plan.held_out_residual(lanes, row).powi(2);
    }
    sum / rows as f64
}

/// The current fits as a point of the path. `atoms` are those of the fit to all rows; `error` is their [`held_out_error`].
fn point(
    plan: &FoldPlan,
    lanes: &[Lanes<LANES>],
    (lambda, refit): (f64, f64),
    atoms: Vec<(AtomId, f64, f64)>,
    error: f64,
) -> Best {
    let mut point = Best {
        lambda,
        refit,
        error,
        interpolated_error: f64::INFINITY,
        residuals: Vec::new(),
        half_errors: (0.0, 0.0),
        training_error: plan.training_error(lanes),
        atoms,
    };
    if let Some((set, lane)) = plan.lane_of(Role::Half) {
        for row in plan.half_rows() {
            point.half_errors.0 += lanes[set].residual_at(row, lane).powi(2);
            point.half_errors.1 += plan.held_out_residual(lanes, row).powi(2);
        }
    }
    if plan.lane_of(Role::Full).is_some() {
        point.residuals = (0..plan.n_rows()).map(|row| plan.held_out_residual(lanes, row)).collect();
    }
    point
}

/// The smallest `λ` at which all coefficients of all lanes are zero.
fn largest_lambda<O: Operator>(
    operator: &O,
    lanes: &[Lanes<LANES>],
    factors: &[f64],
    cancel: &Cancel,
) -> Result<f64> {
    let mut largest = 0.0_f64;
    for set in lanes {
        let of_supports = operator.scan(
            &set.training_residual(),
            cancel,
            |support| factors[support].is_finite(),
            |support, correlations, output: &mut Vec<f64>| {
                let available = set.available(support);
                let of_cells = correlations.iter().map(|(_, scale, g)| {
                    let penalty = scale * factors[support];
                    let of_lanes = (0..LANES)
                        .filter(|l| available >> l & 1 == 1)
                        .map(|l| g[l].abs() / (penalty * set.n_training(l)));
                    if penalty > 0.0 { of_lanes.fold(0.0, f64::max) } else { 0.0 }
                });
                output.push(of_cells.fold(0.0, f64::max));
            },
        )?;
        largest = of_supports.into_iter().fold(largest, f64::max);
    }
    Ok(largest)
}

/// The minimum of the parabola through the smallest of these numbers and its two neighbours; the smallest
/// number itself if it is the first or the last.
fn parabola_minimum(errors: &[f64]) -> f64 {
    let Some(lowest) = (0..errors.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b])) else {
        return f64::INFINITY;
    };
    let error = errors[lowest];
    if lowest == 0 || lowest + 1 == errors.len() {
        return error;
    }
    let (left, right) = (errors[lowest - 1] - error, errors[lowest + 1] - error);
    let curvature = left + right;
    if curvature > 0.0 { error - (left - right).powi(2) / (8.0 * curvature) } else { error }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::regress::Atoms;
    use crate::regress::gather::GatherOperator;

    #[test]
    fn a_path_ends_before_a_step_with_too_many_atoms() {
        // Sixteen positions have effects, each smaller than the one before.
        let codes: Vec<u8> = (0..300_u32)
            .flat_map(|row| (0..16).map(move |i| (row.wrapping_mul(0x9E37_79B1) >> (i + 8) & 1) as u8))
            .collect();
        let value =
            |x: &[u8]| x.iter().zip(0..).map(|(&symbol, i)| f64::from(symbol) * 0.7_f64.powi(i)).sum();
        let values: Vec<f64> = codes.chunks(16).map(value).collect();
        let folds: Vec<u8> = (0..300).map(|row| (row % 4) as u8).collect();
        let limit = TimeLimit::default();
        let follow = |most_atoms| {
            let supports = (0..16).map(|i| vec![i]).collect();
            let mut operator = GatherOperator::new((2, 16), Atoms::Letters, &codes, &values, None, supports);
            let config = PathConfig {
                factors: PenaltyFactors::EQUAL,
                precision: Precision::FINE,
                refit: false,
                max_density: MAX_DENSITY,
                most_atoms,
                lambda: None,
                limit: &limit,
            };
            follow(&mut operator, &FoldPlan::four_folds(&folds), &config, &Cancel::new()).unwrap()
        };
        let (all, few, none) = (follow(usize::MAX), follow(8), follow(0));
        assert!(all.error < 0.1 * few.error && few.error < 0.9 * none.error);
        assert!(none.lambda.is_infinite() && few.lambda > all.lambda);
    }
}
