//! What a regression does not know: standard errors of its terms, and what it leaves out.
//!
//! A term's error follows from the residuals of held-out sequences and the norm of its column. Shrinkage
//! and terms that were left out are errors too, and no residual variance of the fit shows them apart
//! from noise. They show as structure in the held-out residuals `e`: over all supports `S` of low order,
//! `(Σ_k |Σ_r e_r ω^{-<k,x_r>}|² - (q-1)^|S| Σ_r e_r²) / N(N-1)` with `supp k = S` estimates without bias the
//! variance of the component `S` of the error. Summed with the squared Shapley weights `1/|S|²` and
//! averaged over the positions they are the mean square error of a Shapley value, and what the
//! terms' own errors do not account for is spread over all positions.

use super::operator::{Operator, word};
use super::solver::Lanes;
use super::tables::Tables;
use super::{Dictionary, Sample};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::{Basis, Surrogate, Uncertainty};

/// Cells of all supports that are asked for structure, at most.
const CELLS: u128 = 1 << 22;
/// Highest order asked.
const ORDER: usize = 3;

/// Standard errors of a fit, given the mean squared residual of held-out sequences.
pub(crate) fn estimate<O: Operator>(
    operator: &O,
    sample: &Sample,
    surrogate: &Surrogate,
    lanes: &Lanes<1>,
    noise: f64,
    residuals: &[f64],
    cancel: &Cancel,
) -> Result<Uncertainty> {
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
        Surrogate::Patterns(_) => {
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
    let (seen, error) = structure(sample, residuals, cancel)?;
    let known = uncertainty.mean_square(&surrogate.terms());
    let missing = (seen - known + error).max(0.0);
    uncertainty.positions.iter_mut().for_each(|variance| *variance += missing);
    Ok(uncertainty)
}

/// Mean square of the Shapley values of the held-out residuals, averaged over the positions, and its
/// standard error.
fn structure(sample: &Sample, residuals: &[f64], cancel: &Cancel) -> Result<(f64, f64)> {
    let (q, n) = (sample.space.q(), sample.space.n());
    let count = residuals.len() as f64;
    let mut dictionary = Dictionary { orders: 1, ..Dictionary::default() };
    for orders in 2..=ORDER.min(n) {
        let next = Dictionary { orders, ..Dictionary::default() };
        if next.atoms(q, n) <= CELLS {
            dictionary = next;
        }
    }
    let supports = dictionary.list(&sample.space, residuals.len(), u128::MAX)?;
    let tables = Tables::new(q, n, Basis::Characters, &sample.codes, residuals, supports);
    let squares = residuals.iter().map(|r| r * r).sum::<f64>();
    let rows: Vec<[f64; 1]> = residuals.iter().map(|&r| [r]).collect();
    let parts = tables.scan(
        &rows,
        cancel,
        |_| true,
        |support, waves, out: &mut Vec<(f64, f64)>| {
            let order = tables.supports()[support].len() as f64;
            let cells = waves.len() as f64;
            let energy = waves.iter().map(|g| g[0] * g[0]).sum::<f64>() - cells * squares;
            // A component counts 1/|S|² at each of its |S| positions.
            let weight = 1.0 / (order * count * (count - 1.0));
            out.push((energy * weight, 2.0 * cells * (squares * weight).powi(2)));
        },
    )?;
    let (sum, variance) = parts.into_iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    Ok((sum / n as f64, variance.sqrt() / n as f64))
}
