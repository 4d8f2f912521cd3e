//! Standard errors of Shapley values.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::anova::{RunProducts, result};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::surrogate::{ProductTerms, SupportTerms, Uncertainty, shapley_of_pattern, shapley_of_sizes};

/// Sequences explained by one task.
const ROWS: usize = 64;

/// Standard errors of the Shapley values of a batch of coded sequences, under the uniform background;
/// shape `(B, n)`.
///
/// Errors of different terms are treated as independent.
///
/// # Errors
/// If the codes are not sequences of the space, the variances belong to other terms, or the caller cancels.
pub fn shapley_standard_errors(
    terms: &ProductTerms,
    uncertainty: &Uncertainty,
    codes: &[u8],
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let (q, n) = (terms.space.q(), terms.space.n());
    let count = terms.space.check(codes)?;
    let n_terms: usize = terms.supports.iter().map(|group| group.coefficients.len()).sum();
    let patterns = !(uncertainty.patterns.is_empty() && uncertainty.runs.is_empty());
    if uncertainty.positions.len() != n
        || (patterns && (uncertainty.patterns.len(), uncertainty.runs.len()) != (n_terms, terms.runs.len()))
    {
        return Err(Error::Parameter {
            name: "variances",
            expected: "one for each term",
            got: format!(
                "{} for {} terms",
                uncertainty.patterns.len() + uncertainty.runs.len(),
                n_terms + terms.runs.len()
            ),
        });
    }
    let highest = terms.supports.iter().map(|group| group.support.len()).max().unwrap_or(0);
    let weights: Vec<Vec<(f64, f64)>> = (0..=highest)
        .map(|order| (0..=order).map(|matches| shapley_of_pattern(q, order, matches)).collect())
        .collect();
    let runs = RunProducts::uniform(terms, cancel)?;
    let mut out = result(count, n)?;
    out.par_chunks_mut(ROWS * n).zip(codes.par_chunks(ROWS * n)).try_for_each(|(out, codes)| {
        for (out, row) in out.chunks_exact_mut(n).zip(codes.chunks_exact(n)) {
            cancel.check()?;
            out.copy_from_slice(&uncertainty.positions);
            let mut variances = uncertainty.patterns.iter();
            for group in terms.supports.iter().filter(|_| patterns) {
                let order = group.support.len();
                if terms.space.has_letters() {
                    add_by_position(terms, group, &mut variances, row, out);
                    continue;
                }
                for (labels, variance) in group.labels.chunks_exact(order).zip(&mut variances) {
                    let pattern = || group.support.iter().map(|&i| i as usize).zip(labels);
                    let matches = pattern().filter(|&(i, symbol)| u16::from(row[i]) == *symbol).count();
                    let (matching, other) = weights[order][matches];
                    for (i, symbol) in pattern() {
                        let weight = if u16::from(row[i]) == *symbol { matching } else { other };
                        out[i] += variance * weight * weight;
                    }
                }
            }
            runs.add_variances(&uncertainty.runs, row, out, cancel)?;
            out.iter_mut().for_each(|variance| *variance = variance.sqrt());
        }
        Ok::<(), Error>(())
    })?;
    Ok(out)
}

/// Adds the variances of the patterns of one support, if positions have letters of their own.
fn add_by_position<'a>(
    terms: &ProductTerms,
    group: &SupportTerms,
    variances: &mut impl Iterator<Item = &'a f64>,
    row: &[u8],
    out: &mut [f64],
) {
    let sizes: Vec<usize> = group.support.iter().map(|&i| terms.space.sizes().at(i)).collect();
    // Most patterns of a support have the same matches.
    let mut weights: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (labels, variance) in group.labels.chunks_exact(sizes.len()).zip(variances) {
        let pattern = group.support.iter().zip(labels).enumerate();
        let matches =
            pattern.map(|(bit, (&i, &symbol))| u32::from(u16::from(row[i as usize]) == symbol) << bit).sum();
        let weights = weights.entry(matches).or_insert_with(|| shapley_of_sizes(&sizes, matches));
        for (&i, weight) in group.support.iter().zip(weights) {
            out[i as usize] += variance * *weight * *weight;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::anova::Components;
    use crate::space::SequenceSpace;
    use crate::surrogate::{Basis, RunTerms};
    use proptest::prelude::*;
    use rand::SeedableRng;

    proptest! {
        #[test]
        fn errors_of_a_pattern_are_its_values_if_positions_have_letters_of_their_own(
            sizes in prop::collection::vec(1_usize..=9, 1..6), seed in 0_u64..1000, spoil in 0_usize..6,
        ) {
            let letters: Vec<&str> =
                sizes.iter().enumerate().map(|(i, &size)| &"ABCDEFGHI"[i % (10 - size)..][..size]).collect();
            let Ok(space) = SequenceSpace::with_letters(&letters) else { return Ok(()) };
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let (mut pattern, row) = (space.random(&mut rng), space.random(&mut rng));
            // The sequence has the symbols of the pattern from some position on.
            pattern[spoil.min(sizes.len())..].copy_from_slice(&row[spoil.min(sizes.len())..]);
            let group = SupportTerms {
                support: (0..sizes.len() as u16).collect(),
                labels: pattern.iter().map(|&symbol| u16::from(symbol)).collect(),
                coefficients: vec![1.0.into()],
            };
            let (basis, runs) = (Basis::Letters, RunTerms::default());
            let terms = ProductTerms { space: space.clone(), basis, constant: 0.0, supports: vec![group], runs };
            let values = Components::new(&terms).unwrap().shapley_values(&row, &Cancel::new()).unwrap();
            let positions = vec![0.0; sizes.len()];
            let variances = Uncertainty { patterns: vec![4.0], positions, ..Uncertainty::default() };
            let errors = shapley_standard_errors(&terms, &variances, &row, &Cancel::new()).unwrap();
            for (error, value) in errors.iter().zip(&values) {
                prop_assert!((error - 2.0 * value.abs()).abs() < 1e-12);
            }
            // Their mean squares over all sequences.
            let all: Vec<Vec<u8>> = (0..space.size().unwrap() as usize).map(|number| {
                let mut row = vec![0; sizes.len()];
                space.write_sequence(number, &mut row);
                row
            }).collect();
            prop_assume!(all.len() < 2_000);
            let errors = shapley_standard_errors(&terms, &variances, &all.concat(), &Cancel::new()).unwrap();
            for (i, mean) in variances.mean_squares(&terms).into_iter().enumerate() {
                let slow = errors.iter().skip(i).step_by(sizes.len()).map(|e| e * e).sum::<f64>() / all.len() as f64;
                prop_assert!((mean - slow).abs() < 1e-12);
            }
        }
    }
}
