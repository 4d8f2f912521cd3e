//! The fit to all data: its optimum, its duality gap, and the surrogate with its coefficients.

use std::collections::BTreeMap;

use super::Atoms;
use super::operator::{Operator, digits};
use super::path::Best;
use super::penalty::PenaltyFactors;
use super::real_characters::{frequency, wave};
use super::solver::Lanes;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::frequency::Frequency;
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, RunTerm, RunTerms, Spectrum, SupportTerms, Surrogate};

/// Largest number of rounds of descent and screening.
const ROUNDS: usize = 20;
/// Largest number of sweeps in one round.
const SWEEPS: usize = 2000;
/// Screening of the last fit looks for correlations above `λ` by this factor: smaller violations are within
/// the tolerance of the descent.
const SCREENING_MARGIN: f64 = 1.001;
/// Largest change of the fit in the last steps (squared, per row), as a fraction of the mean squared error of held-out
/// rows. Without this limit a nearly perfect fit would end with errors above those that the folds show.
const OF_HELD_OUT: f64 = 0.01;
/// Smallest such change, as a fraction of the variance: rounding makes smaller ones meaningless.
const SMALLEST_CHANGE: f64 = 1e-20;

/// Fits all data at the selected point to its optimum, starting from the coefficients of the path. Returns the fit and its
/// duality gap, relative to half the sum of squares.
///
/// `available` tells for each support of the dictionary whether this fit may use it, as a bit. The descent ends when the
/// squared change of the fit, per row, is at most `tolerance` times the variance, and small beside the held-out error.
pub(super) fn final_fit<O: Operator>(
    operator: &O,
    best: &Best,
    factors: &PenaltyFactors,
    available: Vec<u8>,
    tolerance: f64,
    cancel: &Cancel,
) -> Result<(Lanes<1>, f64)> {
    let factors = operator.factors(factors);
    let mut fit = Lanes::<1>::new(operator, vec![0; operator.values().len()], available);
    let total = fit.training_residual().iter().map(|r| r[0] * r[0]).sum::<f64>();
    let variance = total / fit.n_training(0);
    let tolerance = (OF_HELD_OUT * best.error).max(SMALLEST_CHANGE * variance).min(tolerance * variance);
    for &(id, penalty, beta) in &best.atoms {
        fit.activate(operator, id, || operator.column(id), penalty, 1);
        fit.set(id, beta);
    }
    if best.lambda.is_infinite() || total == 0.0 {
        return Ok((fit, 0.0));
    }
    for _ in 0..ROUNDS {
        fit.descend(best.lambda, tolerance, SWEEPS, cancel)?;
        if fit.screen(operator, &factors, best.lambda * SCREENING_MARGIN, cancel)? == Some(0) {
            break;
        }
    }
    let gap = duality_gap(operator, &fit, &factors, best.lambda, cancel)? / (0.5 * total);
    if best.refit < 1.0 {
        fit.refit(best.refit * best.lambda, tolerance, SWEEPS, cancel)?;
    }
    Ok((fit, gap))
}

/// Duality gap of `½‖r‖² + λ N Σ p|β|`. The residual is feasible for the dual problem once it is scaled so
/// that its correlation with each atom is at most `λ N p`.
fn duality_gap<O: Operator>(
    operator: &O,
    fit: &Lanes<1>,
    factors: &[f64],
    lambda: f64,
    cancel: &Cancel,
) -> Result<f64> {
    let residual = fit.training_residual();
    let largest = operator
        .scan(
            &residual,
            cancel,
            |support| factors[support].is_finite() && fit.available(support) != 0,
            |support, correlations, output: &mut Vec<f64>| {
                let relative = correlations.iter().map(|(_, scale, g)| {
                    let penalty = scale * factors[support];
                    if penalty > 0.0 { g[0].abs() / penalty } else { 0.0 }
                });
                output.push(relative.fold(0.0, f64::max));
            },
        )?
        .into_iter()
        .chain(fit.correlations(&residual))
        .fold(0.0, f64::max);
    let scale = (lambda * fit.n_training(0) / largest).min(1.0);
    let (values, constant) = (operator.values(), operator.constant());
    let mean = values.iter().zip(constant).map(|(v, c)| v * c).sum::<f64>() / fit.n_training(0);
    let (mut square, mut inner) = (0.0, 0.0);
    for ((r, v), c) in residual.iter().zip(values).zip(constant) {
        square += r[0] * r[0];
        inner += r[0] * (v - mean * c);
    }
    let penalty: f64 = fit.atoms.iter().map(|atom| atom.penalty * atom.beta[0].abs()).sum();
    let primal = 0.5 * square + lambda * fit.n_training(0) * penalty;
    // ½‖y‖² - ½‖y - θ‖², where θ is the scaled residual.
    let dual = scale * inner - 0.5 * scale * scale * square;
    Ok(primal - dual)
}

/// The nonzero coefficients of a fit as a surrogate.
///
/// # Errors
/// If a run does not belong to the space.
pub(super) fn surrogate<O: Operator>(
    operator: &O,
    space: &SequenceSpace,
    basis: Atoms,
    fit: &Lanes<1>,
) -> Result<Surrogate> {
    Ok(match basis {
        Atoms::Characters => Surrogate::Spectrum(spectrum(operator, space, fit)?),
        Atoms::Letters => Surrogate::Terms(ProductTerms {
            runs: runs(operator, space, fit)?,
            ..letter_patterns(operator, space, fit)
        }),
    })
}

/// # Errors
/// If positions have letters of their own, and the spectrum over their characters is too large.
fn spectrum<O: Operator>(operator: &O, space: &SequenceSpace, fit: &Lanes<1>) -> Result<Spectrum> {
    if space.has_letters() {
        return whole_alphabet(operator, space, fit).spectrum();
    }
    let mut terms = vec![(Frequency::default(), fit.intercept(0).into())];
    for atom in fit.atoms.iter().filter(|atom| atom.beta[0] != 0.0) {
        let support = &operator.supports()[atom.id.support as usize];
        let (labels, wave) = wave(atom.id.cell, space.q(), support.len());
        terms.push((frequency(support, &labels), wave.coefficient(atom.beta[0])));
    }
    Ok(Spectrum::from_representatives(space.clone(), terms))
}

/// The terms over characters of the whole alphabet, which are not those of the letters of a position.
fn whole_alphabet<O: Operator>(operator: &O, space: &SequenceSpace, fit: &Lanes<1>) -> ProductTerms {
    let mut groups: BTreeMap<&Vec<u16>, SupportTerms> = BTreeMap::new();
    for atom in fit.atoms.iter().filter(|atom| atom.beta[0] != 0.0) {
        let support = &operator.supports()[atom.id.support as usize];
        let (labels, wave) = wave(atom.id.cell, space.q(), support.len());
        // A pair of conjugate terms has twice the real part of one.
        let single = labels.iter().all(|&label| 2 * usize::from(label) == space.q());
        let group = groups.entry(support).or_default();
        group.support.clone_from(support);
        group.labels.extend(labels.iter().map(|&label| u16::from(label)));
        group.coefficients.push(wave.coefficient(atom.beta[0]) * if single { 1.0 } else { 2.0 });
    }
    ProductTerms {
        space: space.clone(),
        basis: Basis::Characters,
        constant: fit.intercept(0),
        supports: groups.into_values().collect(),
        runs: RunTerms::default(),
    }
}

fn runs<O: Operator>(operator: &O, space: &SequenceSpace, fit: &Lanes<1>) -> Result<RunTerms> {
    let nonzero = fit.atoms.iter().filter(|atom| atom.beta[0] != 0.0);
    let terms: Vec<RunTerm> = nonzero
        .filter_map(|atom| Some((operator.run(atom.id.support as usize)?, atom.beta[0])))
        .map(|(run, coefficient)| RunTerm { runs: vec![run], sets: Vec::new(), coefficient })
        .collect();
    let relations = if terms.is_empty() { Vec::new() } else { operator.relations().to_vec() };
    RunTerms::new(space, relations, terms)
}

fn letter_patterns<O: Operator>(operator: &O, space: &SequenceSpace, fit: &Lanes<1>) -> ProductTerms {
    let letters = fit.atoms.iter().filter(|atom| operator.run(atom.id.support as usize).is_none());
    let nonzero = letters.filter(|atom| atom.beta[0] != 0.0);
    let mut patterns: Vec<(&Vec<u16>, Vec<u8>, f64)> = nonzero
        .map(|atom| {
            let support = &operator.supports()[atom.id.support as usize];
            (support, digits(atom.id.cell, space.q(), support.len()), atom.beta[0])
        })
        .collect();
    patterns.sort_by(|a, b| (a.0.len(), a.0, &a.1).cmp(&(b.0.len(), b.0, &b.1)));
    let mut supports: Vec<SupportTerms> = Vec::new();
    for (support, symbols, beta) in patterns {
        if supports.last().is_none_or(|last| last.support != *support) {
            supports.push(SupportTerms { support: support.clone(), ..SupportTerms::default() });
        }
        if let Some(last) = supports.last_mut() {
            last.labels.extend(symbols.into_iter().map(u16::from));
            last.coefficients.push(beta.into());
        }
    }
    let constant = fit.intercept(0);
    ProductTerms {
        space: space.clone(),
        basis: Basis::Letters,
        constant,
        supports,
        runs: RunTerms::default(),
    }
}
