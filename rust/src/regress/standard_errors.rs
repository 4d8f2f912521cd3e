//! What a regression does not know: standard errors of its terms, and what it leaves out.
//!
//! A term's error follows from the residuals of held-out sequences, the norm of its column, and what the
//! penalty takes off it. What was left out is an error too, and no residual variance shows it apart from
//! noise. It shows as structure in the held-out residuals `e`: over all supports `S` of low order,
//! `(Σ_k |Σ_r e_r ω^{-<k,x_r>}|² - (q-1)^|S| Σ_r e_r²) / N(N-1)` with `supp k = S`, in each fold, estimates
//! without bias the variance of the component `S` of the error. Summed with the squared Shapley weights
//! `1/|S|²` over the supports of a position they are the mean square error of its Shapley value, and what the
//! terms' own errors do not account for is added to it.
//!
//! What low orders do not account for is of higher ones where values are those of a function: it counts as of
//! the next order, spread over all positions, as of a component of order `t`, `1/t` of the variance is in
//! squared Shapley values. Of measured data it may be noise, and does not count.
//!
//! All this holds for sequences that are independent and uniform; of others nothing is said.

use super::gather::Tables;
use super::operator::{Operator, word};
use super::path::FOLDS;
use super::solver::Lanes;
use super::{Atoms, Dictionary, Sample};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::{Surrogate, Uncertainty};

/// Cells of all supports that are asked for structure, at most.
const CELLS: u128 = 1 << 22;
/// Variances are lowered to this part at most.
const LEAST: f64 = 0.1;
/// Highest order asked.
const ORDER: usize = 3;

/// Standard errors of a fit, given the mean squared residual of held-out sequences, and the fold that each of
/// them was held out of; `None` of sequences that are not uniform.
#[expect(clippy::too_many_arguments, reason = "all that is known of one fit")]
pub(crate) fn estimate<O: Operator>(
    operator: &O,
    sample: &Sample,
    surrogate: &Surrogate,
    lanes: &Lanes<1>,
    noise: f64,
    residuals: &[f64],
    folds: &[u8],
    cancel: &Cancel,
) -> Result<Option<Uncertainty>> {
    if !sample.uniform() {
        return Ok(None);
    }
    let q = sample.space.q();
    let mut uncertainty = Uncertainty {
        patterns: Vec::new(),
        positions: vec![0.0; sample.space.n()],
        constant: noise / lanes.count(0),
    };
    let variances = lanes.atoms.iter().filter(|atom| atom.beta[0] != 0.0).map(|atom| {
        let support = &operator.supports()[atom.id.support as usize];
        (support, atom.id.cell, noise / atom.norm[0])
    });
    match surrogate {
        Surrogate::Terms(_) => {
            // In the order of the surrogate's terms.
            let mut all: Vec<_> = variances
                .map(|(support, cell, variance)| {
                    (support.len(), support, word(cell, q, support.len()), variance)
                })
                .collect();
            all.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
            uncertainty.patterns = all.into_iter().map(|(.., variance)| variance).collect();
        }
        // A wave has mean square 1, and all its effect on its whole support.
        Surrogate::Spectrum(_) => variances.for_each(|(support, _, variance)| {
            let share = variance / (support.len() * support.len()) as f64;
            support.iter().for_each(|&i| uncertainty.positions[i as usize] += share);
        }),
    }
    let Structure { positions: seen, energy, orders } = structure(sample, residuals, folds, cancel)?;
    let higher = if sample.function { higher(noise - energy, orders, sample.space.n()) } else { 0.0 };
    let known = uncertainty.mean_squares(&surrogate.terms());
    let missing: Vec<f64> = seen.iter().zip(&known).map(|((seen, _), known)| seen - known).collect();
    let count = missing.len() as f64;
    let Drawn { mean, trust, error } = Drawn::new(&missing, &seen);
    // Terms that depend on each other err less than if each were on its own: what was seen decides.
    let total = known.iter().sum::<f64>() / count;
    if total + mean + error < total && total > 0.0 {
        let scale = ((total + mean + error) / total).max(LEAST);
        uncertainty.patterns.iter_mut().for_each(|variance| *variance *= scale);
        uncertainty.positions.iter_mut().for_each(|variance| *variance = *variance * scale + higher);
        return Ok(Some(uncertainty));
    }
    for (variance, missing) in uncertainty.positions.iter_mut().zip(&missing) {
        *variance = (*variance + mean + trust * (missing - mean) + error).max(0.0) + higher;
    }
    Ok(Some(uncertainty))
}

/// The mean square Shapley value of each position, of a variance that is of orders above those.
fn higher(variance: f64, orders: usize, n: usize) -> f64 {
    if orders < n { variance.max(0.0) / ((orders + 1) * n) as f64 } else { 0.0 }
}

/// How far numbers, one for each position, are drawn towards their mean: as far as their spread is chance.
struct Drawn {
    mean: f64,
    trust: f64,
    /// Standard error of the mean.
    error: f64,
}

impl Drawn {
    fn new(missing: &[f64], seen: &[(f64, f64)]) -> Self {
        let count = missing.len() as f64;
        let mean = missing.iter().sum::<f64>() / count;
        let chance = seen.iter().map(|(_, variance)| variance).sum::<f64>() / count;
        let spread = missing.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let trust = if spread > chance { 1.0 - chance / spread } else { 0.0 };
        Self { mean, trust, error: (chance / count).sqrt() }
    }
}

/// Standard errors of any surrogate, from its residuals at held-out sequences alone: the mean square
/// of the Shapley values of what it misses, position by position.
///
/// Noise of the values counts as of higher orders, so that errors of noisy ones are too large rather than too
/// small. `None` of sequences that are not uniform.
///
/// # Errors
/// If the sequences are too many for memory, or the caller cancels.
pub fn missing(residuals: &Sample, cancel: &Cancel) -> Result<Option<Uncertainty>> {
    if !residuals.uniform() {
        return Ok(None);
    }
    let values = &residuals.values;
    let Structure { positions: seen, energy, orders } =
        structure(residuals, values, &vec![0; values.len()], cancel)?;
    // One fold instead of several, of which the mean is taken.
    let scale = FOLDS as f64;
    let seen: Vec<(f64, f64)> = seen.iter().map(|(m, v)| (scale * m, scale * scale * v)).collect();
    let means: Vec<f64> = seen.iter().map(|(mean, _)| *mean).collect();
    let Drawn { mean, trust, error } = Drawn::new(&means, &seen);
    let count = values.len() as f64;
    let centre = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / count;
    let higher = higher(variance - scale * energy, orders, residuals.space.n());
    Ok(Some(Uncertainty {
        patterns: Vec::new(),
        positions: means.iter().map(|m| (mean + trust * (m - mean) + error).max(0.0) + higher).collect(),
        constant: values.iter().map(|v| v * v).sum::<f64>() / (count * count),
    }))
}

/// What held-out residuals show of their components of low order.
struct Structure {
    /// Mean square of the Shapley value of each position, and the variance of that estimate.
    positions: Vec<(f64, f64)>,
    /// Variance of all these components.
    energy: f64,
    /// The highest order looked at.
    orders: usize,
}

fn structure(sample: &Sample, residuals: &[f64], folds: &[u8], cancel: &Cancel) -> Result<Structure> {
    let (q, n) = (sample.space.q(), sample.space.n());
    let mut dictionary = Dictionary { orders: 1, ..Dictionary::default() };
    for orders in 2..=ORDER.min(n) {
        let next = Dictionary { orders, ..Dictionary::default() };
        if next.atoms(q, n) <= CELLS {
            dictionary = next;
        }
    }
    let supports = dictionary.list(&sample.space, residuals.len(), u128::MAX)?;
    let tables = Tables::new(q, n, Atoms::Characters, &sample.codes, residuals, supports);
    // Pairs of rows of one fold only: the fit that predicts one fold has learnt from the others, whose noise
    // it would hide.
    let (mut counts, mut squares) = ([0.0; FOLDS], [0.0; FOLDS]);
    let mut rows = vec![[0.0; FOLDS]; residuals.len()];
    for ((row, &residual), &fold) in rows.iter_mut().zip(residuals).zip(folds) {
        row[fold as usize] = residual;
        counts[fold as usize] += 1.0;
        squares[fold as usize] += residual * residual;
    }
    let parts = tables.scan(
        &rows,
        cancel,
        |_| true,
        |support, waves, out: &mut Vec<(usize, f64, f64)>| {
            let order = tables.supports()[support].len() as f64;
            let cells = waves.len() as f64;
            let (mut mean, mut variance) = (0.0, 0.0);
            for fold in (0..FOLDS).filter(|&fold| counts[fold] > 1.0) {
                let energy = waves.iter().map(|g| g[fold] * g[fold]).sum::<f64>() - cells * squares[fold];
                let weight = 1.0 / (order * order * counts[fold] * (counts[fold] - 1.0) * FOLDS as f64);
                mean += energy * weight;
                variance += 2.0 * cells * (squares[fold] * weight).powi(2);
            }
            out.push((support, mean, variance));
        },
    )?;
    let mut found = Structure { positions: vec![(0.0, 0.0); n], energy: 0.0, orders: dictionary.orders };
    for (support, square, variance) in parts {
        let support = &tables.supports()[support];
        found.energy += square * (support.len() * support.len()) as f64;
        for &i in support {
            found.positions[i as usize].0 += square;
            found.positions[i as usize].1 += variance;
        }
    }
    Ok(found)
}
