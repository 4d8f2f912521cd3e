//! Standard errors of a regression: of its terms, and of the components that it leaves out.
//!
//! The variance of a term's coefficient follows from the held-out residuals of the rows of its column. Components of the model that the fit leaves out are a second error. Residual variance alone does
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
//! The estimates hold for independent uniform sequences. For other samples there are no standard errors. If positions have
//! letters of their own, the sums over `k` are computed from tables of sums of residuals; see `residual_tables.rs`.

use rayon::prelude::*;
use statrs::distribution::{Continuous, ContinuousCDF, Normal};

use super::folds::FOLDS;
use super::gather::GatherOperator;
use super::operator::{Operator, digits};
use super::solver::{Atom, Lanes};
use super::{Atoms, Data, Dictionary, Sample, real_characters, residual_tables};
use crate::anova::RunProducts;
use crate::cancel::Cancel;
use crate::design::free_positions;
use crate::error::Result;
use crate::space::SequenceSpace;
use crate::surrogate::{Surrogate, Uncertainty};
use crate::validation::PRECISE;

/// Largest number of cells, over all supports, of the components that are estimated from residuals.
const MAX_CELLS: u128 = 1 << 22;
/// Smallest factor by which variances of terms are multiplied.
const MIN_SCALE: f64 = 0.1;
/// Number of standard errors that are added to the error of the terms that residuals show. With fewer, chance reduces the
/// standard errors of noisy data.
const CONFIDENCE: f64 = 3.0;
/// Largest error of the solver in the final fit, as a multiple of the mean squared held-out residual.
const SOLVER: f64 = 4.0;
/// Number of rows with the mean squared residual that are added to the rows of a column.
const PRIOR_ROWS: f64 = 10.0;
/// Below minus this number of standard deviations a distribution has no positive part.
const LOWEST: f64 = 30.0;
/// Highest order of the components that are estimated from residuals.
const MAX_ORDER: usize = 3;

/// Residuals of the fits of a cross-validation, in the domain of the operator, on the rows that they hold out.
pub(super) struct HeldOut<'a> {
    /// Residual of each row.
    pub(super) residuals: &'a [f64],
    /// Fold of each row.
    pub(super) folds: &'a [u8],
}

impl HeldOut<'_> {
    /// Mean squared residual.
    fn noise(&self) -> f64 {
        self.residuals.iter().map(|r| r * r).sum::<f64>() / self.residuals.len() as f64
    }
}

/// Standard errors of the fit to all data; `None` if the sequences are not uniform.
pub(super) fn estimate<O: Operator>(
    operator: &O,
    data: &Data<'_>,
    surrogate: &Surrogate,
    fit: &Lanes<1>,
    held_out: &HeldOut<'_>,
    cancel: &Cancel,
) -> Result<Option<Uncertainty>> {
    let sample = data.sample;
    if !sample.is_uniform() {
        return Ok(None);
    }
    let noise = held_out.noise();
    let mut uncertainty = of_terms(operator, sample.space(), surrogate, fit, held_out);
    let residuals = operator.to_sequences(held_out.residuals);
    let rows = Rows {
        codes: &data.distinct.codes,
        residuals: &residuals,
        weights: data.distinct.weights.as_deref(),
        folds: held_out.folds,
    };
    let structure = ResidualStructure::new(sample.space(), &rows, cancel)?;
    let unexplained = if sample.is_deterministic() { noise - structure.energy } else { 0.0 };
    let higher = structure.higher_orders(unexplained);
    let mut explained = uncertainty.mean_squares(&surrogate.terms());
    let runs = RunProducts::uniform(&surrogate.terms(), cancel)?;
    runs.add_mean_variances(&uncertainty.runs, &mut explained, cancel)?;
    let free = &structure.free;
    let excess: Vec<f64> = free.iter().map(|&i| structure.positions[i].0 - explained[i]).collect();
    let shrunk = Shrinkage::new(&excess, &structure);
    // Errors of the solver are of low order: in the worst case all of them are of order 1, where the mean squares of the
    // Shapley values add up to the variance.
    let variance = data.distinct.values.iter().map(|v| v * v).sum::<f64>() / residuals.len() as f64;
    let of_solver = if noise <= PRECISE * variance { SOLVER * noise / free.len() as f64 } else { 0.0 };
    // If the residuals show less error than the terms would have with independent errors, the variances of
    // the terms are reduced.
    let mean_explained = explained.iter().sum::<f64>() / excess.len() as f64;
    let total = mean_explained + shrunk.mean + CONFIDENCE * shrunk.standard_error;
    if total < mean_explained && mean_explained > 0.0 {
        let scale = (total / mean_explained).max(MIN_SCALE);
        let terms = uncertainty.patterns.iter_mut().chain(&mut uncertainty.runs);
        terms.for_each(|variance| *variance *= scale);
        for &i in free {
            uncertainty.positions[i] = uncertainty.positions[i] * scale + higher + of_solver;
        }
        return Ok(Some(uncertainty));
    }
    for (&i, excess) in free.iter().zip(&excess) {
        let variance = uncertainty.positions[i] + shrunk.of(*excess);
        uncertainty.positions[i] = variance.max(0.0) + higher + of_solver;
    }
    Ok(Some(uncertainty))
}

/// Standard errors of the terms of a fit. The errors of rows may differ in size, so the variance of a coefficient follows
/// from the held-out residuals of the rows of its own column (White 1980), shrunk towards the mean squared residual.
fn of_terms<O: Operator>(
    operator: &O,
    space: &SequenceSpace,
    surrogate: &Surrogate,
    fit: &Lanes<1>,
    held_out: &HeldOut<'_>,
) -> Uncertainty {
    let q = space.q();
    let noise = held_out.noise();
    let mut uncertainty = Uncertainty {
        patterns: Vec::new(),
        runs: Vec::new(),
        positions: vec![0.0; space.n()],
        constant: noise / fit.n_training(0),
    };
    let nonzero: Vec<_> = fit.atoms.iter().filter(|atom| atom.beta[0] != 0.0).collect();
    let of_rows = RowVariances::new(operator, fit, held_out);
    let variances: Vec<f64> = nonzero.par_iter().map(|atom| of_rows.variance(atom)).collect();
    let (of_runs, of_letters): (Vec<_>, Vec<_>) = nonzero
        .into_iter()
        .zip(variances)
        .partition(|(atom, _)| operator.run(atom.id.support as usize).is_some());
    let runs = of_runs.into_iter().map(|(atom, variance)| (operator.run(atom.id.support as usize), variance));
    // Sorted in the order of the surrogate's terms.
    let mut runs: Vec<_> = runs.collect();
    runs.sort_by_key(|(run, _)| *run);
    uncertainty.runs = runs.into_iter().map(|(_, variance)| variance).collect();
    let variances = of_letters.into_iter().map(|(atom, variance)| {
        let support = &operator.supports()[atom.id.support as usize];
        (support, atom.id.cell, variance)
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
        Surrogate::Spectrum(_) => variances.for_each(|(support, cell, variance)| {
            let squares = real_characters::mean_squares(space, support, cell);
            let of_positions = support.iter().zip(squares);
            of_positions.for_each(|(&i, square)| uncertainty.positions[i as usize] += variance * square);
        }),
    }
    uncertainty
}

/// Squared held-out residuals of rows, from which the variances of coefficients follow.
struct RowVariances<'a> {
    squares: Vec<f64>,
    constant: &'a [f64],
    n_training: f64,
    /// Mean squared residual.
    noise: f64,
    /// Sum over all rows of the squared residual times the squared constant.
    of_constant: f64,
}

impl<'a> RowVariances<'a> {
    fn new<O: Operator>(operator: &'a O, fit: &Lanes<1>, held_out: &HeldOut<'_>) -> Self {
        let squares: Vec<f64> = held_out.residuals.iter().map(|r| r * r).collect();
        let constant = operator.constant();
        let of_constant = squares.iter().zip(constant).map(|(e, c)| e * c * c).sum();
        Self { squares, constant, n_training: fit.n_training(0), noise: held_out.noise(), of_constant }
    }

    /// The variance of the coefficient of an atom: `Σ_r a_r² e_r² / (Σ_r a_r²)²`, where `a` is the column minus its
    /// projection onto the constant.
    fn variance(&self, atom: &Atom<1>) -> f64 {
        let norm = atom.norm[0];
        let mut inner = 0.0;
        atom.column.for_each(|row, value| inner += value * self.constant[row]);
        let slope = inner / self.n_training;
        let mut sum = slope * slope * self.of_constant;
        let mut rows = 0.0;
        atom.column.for_each(|row, value| {
            let constant = slope * self.constant[row];
            sum += ((value - constant).powi(2) - constant * constant) * self.squares[row];
            rows += 1.0;
        });
        (sum / norm + PRIOR_ROWS / rows * self.noise) / (1.0 + PRIOR_ROWS / rows) / norm
    }
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
    fn new(estimates: &[f64], structure: &ResidualStructure) -> Self {
        let count = estimates.len() as f64;
        let mean = estimates.iter().sum::<f64>() / count;
        let variances = structure.free.iter().map(|&i| structure.positions[i].1);
        let chance = variances.sum::<f64>() / count;
        let spread = estimates.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let weight = if spread > chance { 1.0 - chance / spread } else { 0.0 };
        let standard_error = structure.variance_of_mean.sqrt();
        Self { mean, weight, standard_error }
    }

    /// The shrunk estimate of a position. What the surrogate leaves out has no negative variance, so the mean over the
    /// positions is that of a normal distribution restricted to positive numbers.
    fn of(&self, estimate: f64) -> f64 {
        let mean = positive_mean(self.mean, self.standard_error);
        mean + self.weight * (estimate - self.mean)
    }
}

/// Mean of a normal distribution, given its mean and standard deviation, restricted to numbers above 0.
fn positive_mean(mean: f64, sd: f64) -> f64 {
    let z = mean / sd;
    if !z.is_finite() || z < -LOWEST {
        return mean.max(0.0);
    }
    let normal = Normal::standard();
    mean + sd * normal.pdf(z) / normal.cdf(z)
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
    let scale = residuals.scale();
    let distinct = residuals.map(|v| v / scale).distinct(None);
    let values = &distinct.values;
    let rows = Rows {
        codes: &distinct.codes,
        residuals: values,
        weights: distinct.weights.as_deref(),
        folds: &vec![0; values.len()],
    };
    let mut structure = ResidualStructure::new(residuals.space(), &rows, cancel)?;
    // `structure` is a mean over all folds, but only one fold has rows here.
    let folds = FOLDS as f64;
    for (square, variance) in &mut structure.positions {
        *square *= folds;
        *variance *= folds * folds;
    }
    structure.variance_of_mean *= folds * folds;
    let squares: Vec<f64> = structure.free.iter().map(|&i| structure.positions[i].0).collect();
    let shrunk = Shrinkage::new(&squares, &structure);
    let count = values.len() as f64;
    let centre = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / count;
    let higher = structure.higher_orders(variance - folds * structure.energy);
    let mut positions = vec![0.0; residuals.space().n()];
    for (&i, square) in structure.free.iter().zip(&squares) {
        positions[i] = shrunk.of(*square).max(0.0) + higher;
    }
    let uncertainty = Uncertainty {
        patterns: Vec::new(),
        runs: Vec::new(),
        positions,
        constant: values.iter().map(|v| v * v).sum::<f64>() / (count * count),
    };
    Ok(Some(uncertainty.scaled(scale)))
}

/// Estimates of the components of low order in held-out residuals.
struct ResidualStructure {
    /// For each position: mean square of the Shapley value, and the variance of this estimate.
    positions: Vec<(f64, f64)>,
    /// Positions with more than one letter. The others have no effect, and no error.
    free: Vec<usize>,
    /// Variance of the mean of these estimates over positions. Positions share supports, so their estimates are not
    /// independent.
    variance_of_mean: f64,
    /// Variance of all these components.
    energy: f64,
    /// Highest order of these components.
    max_order: usize,
}

/// Residuals of distinct sequences.
struct Rows<'a> {
    /// Row-major codes.
    codes: &'a [u8],
    residuals: &'a [f64],
    /// Weights with mean 1; `None` if they are equal.
    weights: Option<&'a [f64]>,
    /// Fold of each residual.
    folds: &'a [u8],
}

impl ResidualStructure {
    fn new(space: &SequenceSpace, data: &Rows<'_>, cancel: &Cancel) -> Result<Self> {
        let (q, n) = (space.q(), space.n());
        let dictionary = all_orders(q, n);
        let count = data.residuals.len();
        let supports = dictionary.list(space, count, u128::MAX)?;
        let residuals: Vec<f64> = match data.weights {
            Some(weights) => data.residuals.iter().zip(weights).map(|(r, w)| r * w).collect(),
            None => data.residuals.to_vec(),
        };
        // Only pairs of rows of the same fold are used. The fit that predicts one fold has learned from the
        // noise of the others.
        let (mut counts, mut squares) = ([0.0; FOLDS], [0.0; FOLDS]);
        // Sums of weights and of their squares. With equal weights, both are the number of rows.
        let mut squared_weights = [0.0; FOLDS];
        let mut rows = vec![[0.0; FOLDS]; count];
        for (row, (residual, &fold)) in residuals.iter().zip(data.folds).enumerate() {
            let (fold, weight) = (fold as usize, data.weights.map_or(1.0, |weights| weights[row]));
            rows[row][fold] = *residual;
            counts[fold] += weight;
            squared_weights[fold] += weight * weight;
            squares[fold] += residual * residual;
        }
        // Pairs of different rows of a fold, by weight.
        let pairs: [f64; FOLDS] = std::array::from_fn(|fold| counts[fold].powi(2) - squared_weights[fold]);
        // From the energies of a support in each fold, and the dimension of its component.
        let estimate = |order: usize, cells: f64, energies: [f64; FOLDS]| {
            let order = order as f64;
            let (mut mean, mut variance) = (0.0, 0.0);
            for fold in (0..FOLDS).filter(|&fold| pairs[fold] > 0.0) {
                let energy = energies[fold] - cells * squares[fold];
                let weight = 1.0 / (order * order * pairs[fold] * FOLDS as f64);
                mean += energy * weight;
                variance += 2.0 * cells * (squares[fold] * weight).powi(2);
            }
            (mean, variance)
        };
        let (supports, estimates) = if space.has_letters() {
            let energies = residual_tables::energies(space, data.codes, &rows, &supports, cancel)?;
            let of_support = |(index, (cells, energies)): (usize, (f64, [f64; FOLDS]))| {
                let (mean, variance) = estimate(supports[index].len(), cells, energies);
                (index, mean, variance)
            };
            let estimates = energies.into_iter().enumerate().map(of_support).collect();
            (supports, estimates)
        } else {
            let operator =
                GatherOperator::new((q, n), Atoms::Characters, data.codes, &residuals, None, supports);
            let estimates = operator.scan(
                &rows,
                cancel,
                |_| true,
                |support, waves, output: &mut Vec<(usize, f64, f64)>| {
                    let energy = |fold: usize| waves.sums.iter().map(|g| g[fold] * g[fold]).sum::<f64>();
                    let order = operator.supports()[support].len();
                    let (mean, variance) =
                        estimate(order, waves.sums.len() as f64, std::array::from_fn(energy));
                    output.push((support, mean, variance));
                },
            )?;
            (operator.supports().to_vec(), estimates)
        };
        let mut structure = Self {
            positions: vec![(0.0, 0.0); n],
            free: free_positions(space).into_iter().map(usize::from).collect(),
            variance_of_mean: 0.0,
            energy: 0.0,
            max_order: dictionary.orders,
        };
        for (support, square, variance) in estimates {
            let support = &supports[support];
            let order = support.len() as f64;
            structure.energy += square * order * order;
            structure.variance_of_mean += variance * (order / structure.free.len() as f64).powi(2);
            for &i in support {
                structure.positions[i as usize].0 += square;
                structure.positions[i as usize].1 += variance;
            }
        }
        Ok(structure)
    }

    /// The mean square Shapley value of each position due to components of higher orders, from their variance.
    fn higher_orders(&self, variance: f64) -> f64 {
        let n = self.free.len();
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
