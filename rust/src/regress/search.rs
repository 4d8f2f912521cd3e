//! The choice of penalty factors: a search by cross-validation on a subsample.

use std::collections::HashMap;

use rayon::prelude::*;

use super::folds::FoldPlan;
use super::operator::Operator;
use super::path::{MAX_DENSITY, PathConfig, Precision, follow};
use super::penalty::PenaltyFactors;
use super::time_limit::TimeLimit;
use crate::cancel::Cancel;
use crate::error::Result;

/// A change of a factor counts if it lowers the error by more than this fraction.
const MIN_GAIN: f64 = 5e-4;
/// Ratios by which a factor is multiplied or divided: first coarse, then fine.
const COARSE: f64 = 2.0;
const FINE: f64 = 1.5;
/// Largest value of a factor; the smallest is its inverse.
const LIMIT: f64 = 20.0;

/// One factor of the search.
type Coordinate = fn(&mut PenaltyFactors) -> &mut f64;

/// Starts from these factors, and multiplies or divides one factor at a time as long as the validation error falls.
/// Returns the factors and their validation error. Paths that the limit ends early do not count as better, because their
/// errors are higher.
pub(crate) fn search<O: Operator + Clone + Send>(
    operator: &O,
    plan: &FoldPlan,
    start: PenaltyFactors,
    limit: &TimeLimit,
    cancel: &Cancel,
) -> Result<(PenaltyFactors, f64)> {
    let mut errors: HashMap<[u64; 5], f64> = HashMap::new();
    let key = |f: &PenaltyFactors| {
        [f.pairs, f.higher, f.scattered, f.growth.unwrap_or(0.0), f.runs.unwrap_or(0.0)].map(f64::to_bits)
    };
    let mut evaluate = |factors: &[PenaltyFactors]| -> Result<Vec<f64>> {
        let new: Vec<PenaltyFactors> =
            factors.iter().filter(|f| !errors.contains_key(&key(f))).copied().collect();
        let new_errors: Vec<f64> = new
            .par_iter()
            .map(|&factors| validation_error(operator, plan, factors, limit, cancel))
            .collect::<Result<_>>()?;
        errors.extend(new.iter().map(key).zip(new_errors));
        Ok(factors.iter().map(|f| errors[&key(f)]).collect())
    };
    let start = PenaltyFactors { growth: None, ..start };
    let letters: Vec<Vec<u16>> = (0..operator.supports().len())
        .filter(|&support| operator.run(support).is_none())
        .map(|support| operator.supports()[support].clone())
        .collect();
    let runs = letters.len() < operator.supports().len();
    let mut best = (start, evaluate(&[start])?[0]);
    for (coordinate, ratio) in coordinates(&letters, runs) {
        if limit.is_reached() {
            break;
        }
        let scaled = |factors: &PenaltyFactors, ratio: f64| {
            let mut scaled = *factors;
            *coordinate(&mut scaled) *= ratio;
            scaled
        };
        let pair = [scaled(&best.0, ratio), scaled(&best.0, 1.0 / ratio)];
        let errors = evaluate(&pair)?;
        let better = usize::from(errors[1] < errors[0]);
        if errors[better] >= best.1 * (1.0 - MIN_GAIN) {
            continue;
        }
        best = (pair[better], errors[better]);
        let ratio = if better == 0 { ratio } else { 1.0 / ratio };
        loop {
            let mut next = scaled(&best.0, ratio);
            if !(1.0 / LIMIT..=LIMIT).contains(coordinate(&mut next)) || limit.is_reached() {
                break;
            }
            let error = evaluate(&[next])?[0];
            if error >= best.1 * (1.0 - MIN_GAIN) {
                break;
            }
            best = (next, error);
        }
    }
    Ok(best)
}

/// The validation error of a rough path with these factors.
pub(crate) fn validation_error<O: Operator + Clone>(
    operator: &O,
    plan: &FoldPlan,
    factors: PenaltyFactors,
    limit: &TimeLimit,
    cancel: &Cancel,
) -> Result<f64> {
    let config = PathConfig {
        factors,
        precision: Precision::ROUGH,
        refit: false,
        max_density: MAX_DENSITY,
        most_atoms: usize::MAX,
        lambda: None,
        limit,
    };
    follow(&mut operator.clone(), plan, &config, cancel).map(|best| best.interpolated_error)
}

/// The factors that change the penalties of these supports, each with the ratio of its steps, in the order
/// of the search.
fn coordinates(supports: &[Vec<u16>], runs: bool) -> impl Iterator<Item = (Coordinate, f64)> {
    let highest = supports.iter().map(Vec::len).max().unwrap_or(1);
    let contiguous = |support: &Vec<u16>| support.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let long = || supports.iter().filter(|support| support.len() > 1);
    let mixed = long().any(contiguous) && !long().all(contiguous);
    let all: [(bool, Coordinate, f64); 7] = [
        (mixed, |f| &mut f.scattered, COARSE),
        (highest > 1, |f| &mut f.pairs, COARSE),
        (runs, |f| f.runs.get_or_insert(PenaltyFactors::RUNS), COARSE),
        (highest > 2, |f| &mut f.higher, FINE),
        (highest > 1, |f| &mut f.pairs, FINE),
        (runs, |f| f.runs.get_or_insert(PenaltyFactors::RUNS), FINE),
        (mixed, |f| &mut f.scattered, FINE),
    ];
    all.into_iter().filter(|(applies, ..)| *applies).map(|(_, coordinate, ratio)| (coordinate, ratio))
}
