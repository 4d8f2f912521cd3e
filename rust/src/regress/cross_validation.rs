//! Cross-validation: the choice of basis and penalty factors on a subsample, and the path on all data.

use rayon::prelude::*;

use super::bin_domain::BinOperator;
use super::folds::FoldPlan;
use super::gather::GatherOperator;
use super::operator::Operator;
use super::pairs::with_pairs;
use super::path::{Best, MAX_DENSITY, PathConfig, Precision, follow};
use super::penalty::PenaltyFactors;
use super::search::{search, validation_error};
use super::time_limit::TimeLimit;
use super::{Atoms, Data, RunKind, Sample, SparseRegression};
use crate::cancel::Cancel;
use crate::design::Observations;
use crate::error::{Error, Result};

/// Largest number of sequences on which basis and penalty factors are chosen.
const SUBSAMPLE: usize = 4000;
/// Characters and runs are not evaluated if the error of letter patterns is at most this fraction of the variance.
const SMALL_ERROR: f64 = 1e-4;
/// Characters are chosen if their error is below this factor times the error of letter patterns.
const MAX_ERROR_RATIO: f64 = 0.97;
/// Characters are chosen only if a sparse fit is good: the number of coefficients is at most this fraction
/// of the sequences.
const SPARSE_DENSITY: f64 = 0.1;
/// A fit of characters with more active atoms than this multiple of that number of coefficients is not tried: dense columns of
/// many atoms take long, and the fit would not be sparse.
const CANDIDATES: f64 = 4.0;
/// A kind of runs is used if it lowers the validation error by more than this fraction.
const MIN_GAIN_OF_KIND: f64 = 0.005;
/// Smallest number of sequences at which patterns are grown.
const MIN_GROWTH_ROWS: usize = 500;
/// Largest number of sequences at which fits with and without growth are compared; with more sequences
/// patterns are always grown.
const MAX_COMPARED_ROWS: usize = 2 * SUBSAMPLE;

/// A basis, the kinds of runs, and the penalty factors that the path on all data compares.
pub(super) struct Choice {
    pub(super) basis: Atoms,
    pub(super) kinds: Vec<RunKind>,
    pub(super) factors: Vec<PenaltyFactors>,
}

/// What a regression may use: listed supports, the number of pairs that screening adds to them, and kinds of runs.
#[derive(Clone, Copy)]
pub(super) struct Usable<'a> {
    pub(super) supports: &'a [Vec<u16>],
    pub(super) screened: usize,
    pub(super) kinds: &'a [RunKind],
}

impl SparseRegression {
    /// Chooses basis, runs and penalty factors, as far as they are not set. `folds` has the fold of each row.
    pub(super) fn choose(
        &self,
        data: &Data<'_>,
        usable: Usable<'_>,
        folds: &[u8],
        cancel: &Cancel,
    ) -> Result<Choice> {
        let (basis, kinds, factors) = self.choose_on_subsample(data, usable, folds, cancel)?;
        Ok(Choice { basis, kinds, factors: self.compared_factors(basis, factors, folds.len()) })
    }

    fn choose_on_subsample(
        &self,
        data: &Data<'_>,
        Usable { supports, screened, kinds }: Usable<'_>,
        folds: &[u8],
        cancel: &Cancel,
    ) -> Result<(Atoms, Vec<RunKind>, PenaltyFactors)> {
        let limit = &data.limits.choice;
        let rows = folds.len().min(SUBSAMPLE);
        let plan = FoldPlan::four_folds(&folds[..rows]);
        let compares = self.penalty_factors.is_none() && self.basis != Some(Atoms::Characters);
        let (supports, plan) = with_pairs(data, supports, if compares { screened } else { 0 }, plan, cancel)?;
        let search_letters = || {
            let letters = gather(data, Atoms::Letters, rows, supports.clone());
            let found = search(&letters, &plan, PenaltyFactors::default(), limit, cancel)?;
            // Small errors differ by the precision of the path.
            let large = found.1 > SMALL_ERROR * variance(&data.distinct.values[..rows]);
            let kinds = if large && !kinds.is_empty() && !limit.is_reached() { kinds } else { &[] };
            with_kinds(&letters, kinds, &plan, found, limit, cancel)
        };
        let characters = || (Atoms::Characters, Vec::new(), PenaltyFactors::EQUAL);
        // If the caller sets penalty factors, only runs that the caller asks for are used.
        let asked = if self.relations.is_some() { kinds } else { &[] };
        let set = |factors: PenaltyFactors| {
            let runs = factors.runs.or((!asked.is_empty()).then_some(PenaltyFactors::RUNS));
            (Atoms::Letters, asked.to_vec(), PenaltyFactors { runs, ..factors })
        };
        Ok(match (self.basis, self.penalty_factors) {
            (Some(Atoms::Characters), Some(factors)) => (Atoms::Characters, Vec::new(), factors),
            (Some(Atoms::Letters) | None, Some(factors)) => set(factors),
            (Some(Atoms::Characters), None) => characters(),
            (Some(Atoms::Letters), None) => {
                let (kinds, factors, _) = search_letters()?;
                (Atoms::Letters, kinds, factors)
            }
            (None, None) => {
                let (kinds, factors, error) = search_letters()?;
                // Characters of the whole alphabet are not orthogonal on the letters of a position.
                let better = !data.sample.space().has_letters()
                    && error > SMALL_ERROR * variance(&data.distinct.values[..rows])
                    && !limit.is_reached()
                    && characters_error(data, &supports, &plan, cancel)? < MAX_ERROR_RATIO * error;
                if better { characters() } else { (Atoms::Letters, kinds, factors) }
            }
        })
    }

    /// The given penalty factors without growth, with growth, or both.
    fn compared_factors(&self, basis: Atoms, factors: PenaltyFactors, rows: usize) -> Vec<PenaltyFactors> {
        let set_by_caller = self.penalty_factors.is_some();
        if set_by_caller || !self.growth || basis != Atoms::Letters || rows < MIN_GROWTH_ROWS {
            return vec![factors];
        }
        let growing = PenaltyFactors { growth: PenaltyFactors::default().growth, ..factors };
        if rows <= MAX_COMPARED_ROWS { vec![factors, growing] } else { vec![growing] }
    }

    /// Follows the path on all data for each of these penalty factors, and returns the best point and its
    /// factors.
    pub(super) fn cross_validate<O: Operator>(
        &self,
        operator: &mut O,
        factors: &[PenaltyFactors],
        plan: &FoldPlan,
        limit: &TimeLimit,
        cancel: &Cancel,
    ) -> Result<(Best, PenaltyFactors)> {
        let mut selected: Option<(Best, PenaltyFactors)> = None;
        for &factors in factors {
            if selected.is_some() && limit.is_reached() {
                break;
            }
            let config = PathConfig {
                factors,
                precision: Precision::FINE,
                refit: self.refit,
                max_density: MAX_DENSITY,
                most_atoms: usize::MAX,
                lambda: self.lambda,
                limit,
            };
            let best = follow(operator, plan, &config, cancel)?;
            if selected.as_ref().is_none_or(|(before, _)| best.error < before.error) {
                selected = Some((best, factors));
            }
        }
        selected.ok_or_else(|| Error::Parameter {
            name: "strengths",
            expected: "at least one set of penalty factors",
            got: "none".into(),
        })
    }
}

/// Tries each kind of runs, then adds kinds as long as the validation error falls, in the order of their errors alone; then
/// searches for penalty factors again. `found` has the factors and the error without runs.
fn with_kinds(
    letters: &GatherOperator,
    kinds: &[RunKind],
    plan: &FoldPlan,
    found: (PenaltyFactors, f64),
    limit: &TimeLimit,
    cancel: &Cancel,
) -> Result<(Vec<RunKind>, PenaltyFactors, f64)> {
    let factors = PenaltyFactors { runs: Some(PenaltyFactors::RUNS), ..found.0 };
    let error_of =
        |kinds: &[RunKind]| validation_error(&letters.clone().with_runs(kinds), plan, factors, limit, cancel);
    let errors = kinds.par_iter().map(|kind| error_of(std::slice::from_ref(kind)));
    let mut alone: Vec<(f64, &RunKind)> =
        errors.collect::<Result<Vec<_>>>()?.into_iter().zip(kinds).collect();
    alone.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut chosen, mut error): (Vec<RunKind>, f64) = (Vec::new(), found.1);
    for (alone, kind) in alone {
        if alone >= found.1 * (1.0 - MIN_GAIN_OF_KIND) || (!chosen.is_empty() && limit.is_reached()) {
            break;
        }
        let wider = [&chosen[..], std::slice::from_ref(kind)].concat();
        let next = if chosen.is_empty() { alone } else { error_of(&wider)? };
        if next < error * (1.0 - MIN_GAIN_OF_KIND) {
            (chosen, error) = (wider, next);
        }
    }
    if chosen.is_empty() {
        return Ok((chosen, found.0, found.1));
    }
    let (factors, error) = search(&letters.clone().with_runs(&chosen), plan, factors, limit, cancel)?;
    Ok((chosen, factors, error))
}

/// The operator of the first `rows` distinct sequences.
pub(super) fn gather(data: &Data<'_>, basis: Atoms, rows: usize, supports: Vec<Vec<u16>>) -> GatherOperator {
    let (space, distinct) = (data.sample.space(), data.distinct);
    let weights = distinct.weights.as_deref().map(|weights| &weights[..rows]);
    let codes = &distinct.codes[..rows * space.n()];
    GatherOperator::new((space.q(), space.n()), basis, codes, &distinct.values[..rows], weights, supports)
}

/// The observations of a sample if its design is suitable for the bin domain. Their rows are the distinct sequences.
pub(super) fn in_bins(sample: &Sample) -> Option<&Observations> {
    sample.observations().filter(|observations| BinOperator::supports_design(observations.design()))
}

/// Validation error of sparse fits of characters on the rows of a plan.
fn characters_error(data: &Data<'_>, supports: &[Vec<u16>], plan: &FoldPlan, cancel: &Cancel) -> Result<f64> {
    let config = PathConfig {
        factors: PenaltyFactors::EQUAL,
        precision: Precision::ROUGH,
        refit: true,
        max_density: SPARSE_DENSITY,
        most_atoms: (CANDIDATES * SPARSE_DENSITY * plan.n_rows() as f64) as usize,
        lambda: None,
        limit: &data.limits.choice,
    };
    let mut operator = gather(data, Atoms::Characters, plan.n_rows(), supports.to_vec());
    Ok(follow(&mut operator, plan, &config, cancel)?.interpolated_error)
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count
}
