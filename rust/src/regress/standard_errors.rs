//! Standard errors of a regression: of its terms, and of the components that it leaves out.
//!
//! The variance of a term's coefficient follows from the residuals of held-out sequences and the norm of its
//! column. Components of the model that the fit leaves out are a second error. Residual variance alone does
//! not distinguish them from noise, but the structure of the held-out residuals `e` does. For each support
//! `S` of low order, `(Σ_k |Σ_r e_r ω^{-<k,x_r>}|² - (q-1)^|S| Σ_r e_r²) / N(N-1)`, with the sum over all `k`
//! with `supp k = S`, is in each fold an unbiased estimate of the variance of the component `S` of the error.
//! Its sum over the supports of a position, with the squared Shapley weights `1/|S|²`, is the mean square
//! error of the Shapley value of that position. The excess over the errors of the terms is added as
//! further variance of the position.
//!
//! Residual variance that low orders do not account for is due to higher orders if the values have no noise.
//! It is then attributed to the next order, uniformly over positions: the mean squares of the Shapley values of a
//! component of order `t` add up to `1/t` of its variance. For values with noise this variance is not attributed,
//! because it may be noise.
//!
//! The estimates hold for independent uniform sequences. For other samples there are no standard errors.

use super::folds::FOLDS;
use super::gather::GatherOperator;
use super::operator::{Operator, digits};
use super::solver::Lanes;
use super::{Atoms, Dictionary, Sample};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::space::SequenceSpace;
use crate::surrogate::{Surrogate, Uncertainty};

/// Largest number of cells, over all supports, of the components that are estimated from residuals.
const MAX_CELLS: u128 = 1 << 22;
/// Smallest factor by which variances of terms are multiplied.
const MIN_SCALE: f64 = 0.1;
/// Highest order of the components that are estimated from residuals.
const MAX_ORDER: usize = 3;

/// Results of the fits of a cross-validation on the rows that they hold out.
pub(super) struct HeldOut<'a> {
    /// Residual of each sequence.
    pub(super) residuals: &'a [f64],
    /// Fold of each sequence.
    pub(super) folds: &'a [u8],
    /// Mean squared residual.
    pub(super) noise: f64,
}

/// Standard errors of the fit to all data; `None` if the sequences are not uniform.
pub(super) fn estimate<O: Operator>(
    operator: &O,
    sample: &Sample,
    surrogate: &Surrogate,
    fit: &Lanes<1>,
    held_out: &HeldOut<'_>,
    cancel: &Cancel,
) -> Result<Option<Uncertainty>> {
    if !sample.is_uniform() {
        return Ok(None);
    }
    let mut uncertainty = of_terms(operator, sample.space(), surrogate, fit, held_out.noise);
    let structure = ResidualStructure::new(sample, held_out.residuals, held_out.folds, cancel)?;
    let unexplained = if sample.is_deterministic() { held_out.noise - structure.energy } else { 0.0 };
    let higher = structure.higher_orders(unexplained);
    let explained = uncertainty.mean_squares(&surrogate.terms());
    let excess: Vec<f64> = structure
        .positions
        .iter()
        .zip(&explained)
        .map(|((square, _), explained)| square - explained)
        .collect();
    let shrunk = Shrinkage::new(&excess, &structure.positions);
    // If the residuals show less error than the terms would have with independent errors, the variances of
    // the terms are reduced.
    let mean_explained = explained.iter().sum::<f64>() / excess.len() as f64;
    let total = mean_explained + shrunk.mean + shrunk.standard_error;
    if total < mean_explained && mean_explained > 0.0 {
        let scale = (total / mean_explained).max(MIN_SCALE);
        uncertainty.patterns.iter_mut().for_each(|variance| *variance *= scale);
        uncertainty.positions.iter_mut().for_each(|variance| *variance = *variance * scale + higher);
        return Ok(Some(uncertainty));
    }
    for (variance, excess) in uncertainty.positions.iter_mut().zip(&excess) {
        *variance =
            (*variance + shrunk.mean + shrunk.weight * (excess - shrunk.mean) + shrunk.standard_error)
                .max(0.0)
                + higher;
    }
    Ok(Some(uncertainty))
}

/// Standard errors of the terms of a fit.
fn of_terms<O: Operator>(
    operator: &O,
    space: &SequenceSpace,
    surrogate: &Surrogate,
    fit: &Lanes<1>,
    noise: f64,
) -> Uncertainty {
    let q = space.q();
    let mut uncertainty = Uncertainty {
        patterns: Vec::new(),
        positions: vec![0.0; space.n()],
        constant: noise / fit.n_training(0),
    };
    let variances = fit.atoms.iter().filter(|atom| atom.beta[0] != 0.0).map(|atom| {
        let support = &operator.supports()[atom.id.support as usize];
        (support, atom.id.cell, noise / atom.norm[0])
    });
    match surrogate {
        Surrogate::Terms(_) => {
            // Sorted in the order of the surrogate's terms.
            let mut all: Vec<_> = variances
                .map(|(support, cell, variance)| {
                    (support.len(), support, digits(cell, q, support.len()), variance)
                })
                .collect();
            all.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
            uncertainty.patterns = all.into_iter().map(|(.., variance)| variance).collect();
        }
        // An atom has mean square 1, and its whole effect is a component on its support.
        Surrogate::Spectrum(_) => variances.for_each(|(support, _, variance)| {
            let square = variance / (support.len() * support.len()) as f64;
            support.iter().for_each(|&i| uncertainty.positions[i as usize] += square);
        }),
    }
    uncertainty
}

/// Shrinkage of estimates, one for each position, towards their mean. The weight of an estimate is the
/// fraction of the spread of all estimates that is not due to their own variances.
struct Shrinkage {
    mean: f64,
    /// Factor for the difference of an estimate from the mean.
    weight: f64,
    /// Standard error of the mean.
    standard_error: f64,
}

impl Shrinkage {
    /// `estimated` has the variance of each estimate as its second number.
    fn new(estimates: &[f64], estimated: &[(f64, f64)]) -> Self {
        let count = estimates.len() as f64;
        let mean = estimates.iter().sum::<f64>() / count;
        let chance = estimated.iter().map(|(_, variance)| variance).sum::<f64>() / count;
        let spread = estimates.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let weight = if spread > chance { 1.0 - chance / spread } else { 0.0 };
        Self { mean, weight, standard_error: (chance / count).sqrt() }
    }
}

/// Standard errors of any surrogate from its residuals at held-out sequences: for each position, the mean
/// square Shapley value of the components that the surrogate leaves out.
///
/// Noise of the values counts as components of higher orders. For noisy values the standard errors are
/// therefore too large rather than too small. Returns `None` if the sequences are not uniform.
///
/// # Errors
/// If the sequences need too much memory, or the caller cancels.
pub fn uncertainty_from_residuals(residuals: &Sample, cancel: &Cancel) -> Result<Option<Uncertainty>> {
    if !residuals.is_uniform() {
        return Ok(None);
    }
    let values = residuals.values();
    let mut structure = ResidualStructure::new(residuals, values, &vec![0; values.len()], cancel)?;
    // `structure` is a mean over all folds, but only one fold has rows here.
    let folds = FOLDS as f64;
    for (square, variance) in &mut structure.positions {
        *square *= folds;
        *variance *= folds * folds;
    }
    let squares: Vec<f64> = structure.positions.iter().map(|(square, _)| *square).collect();
    let Shrinkage { mean, weight, standard_error } = Shrinkage::new(&squares, &structure.positions);
    let count = values.len() as f64;
    let centre = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / count;
    let higher = structure.higher_orders(variance - folds * structure.energy);
    let position = |square: &f64| (mean + weight * (square - mean) + standard_error).max(0.0) + higher;
    Ok(Some(Uncertainty {
        patterns: Vec::new(),
        positions: squares.iter().map(position).collect(),
        constant: values.iter().map(|v| v * v).sum::<f64>() / (count * count),
    }))
}

/// Estimates of the components of low order in held-out residuals.
struct ResidualStructure {
    /// For each position: mean square of the Shapley value, and the variance of this estimate.
    positions: Vec<(f64, f64)>,
    /// Variance of all these components.
    energy: f64,
    /// Highest order of these components.
    max_order: usize,
}

impl ResidualStructure {
    /// `folds` has the fold of each residual.
    fn new(sample: &Sample, residuals: &[f64], folds: &[u8], cancel: &Cancel) -> Result<Self> {
        let (q, n) = (sample.space().q(), sample.space().n());
        let dictionary = all_orders(q, n);
        let supports = dictionary.list(sample.space(), residuals.len(), u128::MAX)?;
        let operator = GatherOperator::new(q, n, Atoms::Characters, sample.codes(), residuals, supports);
        // Only pairs of rows of the same fold are used. The fit that predicts one fold has learned from the
        // noise of the others.
        let (mut counts, mut squares) = ([0.0; FOLDS], [0.0; FOLDS]);
        let mut rows = vec![[0.0; FOLDS]; residuals.len()];
        for ((row, &residual), &fold) in rows.iter_mut().zip(residuals).zip(folds) {
            row[fold as usize] = residual;
            counts[fold as usize] += 1.0;
            squares[fold as usize] += residual * residual;
        }
        let estimates = operator.scan(
            &rows,
            cancel,
            |_| true,
            |support, waves, output: &mut Vec<(usize, f64, f64)>| {
                let order = operator.supports()[support].len() as f64;
                let cells = waves.len() as f64;
                let (mut mean, mut variance) = (0.0, 0.0);
                for fold in (0..FOLDS).filter(|&fold| counts[fold] > 1.0) {
                    let energy = waves.iter().map(|g| g[fold] * g[fold]).sum::<f64>() - cells * squares[fold];
                    let weight = 1.0 / (order * order * counts[fold] * (counts[fold] - 1.0) * FOLDS as f64);
                    mean += energy * weight;
                    variance += 2.0 * cells * (squares[fold] * weight).powi(2);
                }
                output.push((support, mean, variance));
            },
        )?;
        let mut structure =
            Self { positions: vec![(0.0, 0.0); n], energy: 0.0, max_order: dictionary.orders };
        for (support, square, variance) in estimates {
            let support = &operator.supports()[support];
            structure.energy += square * (support.len() * support.len()) as f64;
            for &i in support {
                structure.positions[i as usize].0 += square;
                structure.positions[i as usize].1 += variance;
            }
        }
        Ok(structure)
    }

    /// The mean square Shapley value of each position due to components of higher orders, from their variance.
    fn higher_orders(&self, variance: f64) -> f64 {
        let n = self.positions.len();
        if self.max_order < n { variance.max(0.0) / ((self.max_order + 1) * n) as f64 } else { 0.0 }
    }
}

/// All supports up to [`MAX_ORDER`], or up to the highest order with at most [`MAX_CELLS`] cells.
fn all_orders(q: usize, n: usize) -> Dictionary {
    let mut dictionary = Dictionary { orders: 1, ..Dictionary::default() };
    for orders in 2..=MAX_ORDER.min(n) {
        let next = Dictionary { orders, ..Dictionary::default() };
        if next.n_atoms(q, n) <= MAX_CELLS {
            dictionary = next;
        }
    }
    dictionary
}
