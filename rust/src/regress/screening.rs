//! Runs that are correlated with values, as features for other methods.

use rayon::prelude::*;

use super::runs::{RunAtoms, RunKind};
use super::sample::Sample;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::Run;
use crate::validation::mean;

/// The `most` runs of these kinds with the largest absolute correlation between the presence of the run and the values of
/// a sample, each with its correlation, the largest first. Runs that occur in very few rows are left out. The relation of
/// a run is its index among the different relations of the kinds.
///
/// # Errors
/// If the runs of these kinds need more than `memory` bytes, or the caller cancels.
///
/// ```
/// use shapsketch::regress::{RunKind, Sample, strongest_runs};
/// use shapsketch::{Cancel, SequenceSpace, design};
/// let space = SequenceSpace::new("ACGU", 8)?;
/// let codes = design::uniform(&space, 500, 0, &Cancel::new())?;
/// let values = codes.chunks(8).map(|row| if row[1] == row[5] && row[2] == row[6] { 3.0 } else { 1.0 });
/// let sample = Sample::new(space.clone(), codes.clone(), values.collect())?;
/// let runs = strongest_runs(&sample, &RunKind::auto(&space, 500), 10, 1 << 30, &Cancel::new())?;
/// let (run, correlation) = runs[0];
/// assert_eq!((run.first, run.second, run.length), (1, 5, 2));
/// assert!(correlation > 0.999);
/// # Ok::<(), shapsketch::Error>(())
/// ```
pub fn strongest_runs(
    sample: &Sample,
    kinds: &[RunKind],
    most: usize,
    memory: u128,
    cancel: &Cancel,
) -> Result<Vec<(Run, f64)>> {
    let (space, values) = (sample.space(), sample.values());
    let (q, n) = (space.q(), space.n());
    RunAtoms::check(kinds, space, values.len(), memory)?;
    let weight = |row: usize| sample.weights().map_or(1.0, |weights| weights[row]);
    let total: f64 = (0..values.len()).map(weight).sum();
    let column = |i: usize| sample.codes().chunks_exact(n).map(|row| row[i]).collect();
    let columns: Vec<Vec<u8>> = (0..n).into_par_iter().map(column).collect();
    let mut frequencies = vec![0.0; n * q];
    for (column, frequencies) in columns.iter().zip(frequencies.chunks_exact_mut(q)) {
        column.iter().enumerate().for_each(|(row, &a)| frequencies[a as usize] += weight(row) / total);
    }
    let atoms = RunAtoms::new((q, n), kinds, &columns, &frequencies);
    let centre = mean(values, sample.weights());
    let lanes: Vec<[f64; 2]> =
        values.iter().enumerate().map(|(row, v)| [weight(row) * (v - centre), weight(row)]).collect();
    let variance = lanes.iter().zip(values).map(|(lane, v)| lane[0] * (v - centre)).sum::<f64>() / total;
    let visit = |_, [sum, weight]: [f64; 2], output: &mut Vec<f64>| {
        let p = weight / total;
        let correlation = sum / total / (p * (1.0 - p) * variance).sqrt();
        output.extend(correlation.is_finite().then_some(correlation));
    };
    let sums = atoms.scan(&lanes, cancel, |run| atoms.scale(run) > 0.0, visit)?;
    let mut runs: Vec<(Run, f64)> =
        sums.into_iter().map(|(run, output)| (atoms.runs()[run], output[0])).collect();
    runs.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
    runs.truncate(most);
    Ok(runs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::patterns::FEWEST_ROWS;
    use super::*;
    use crate::space::SequenceSpace;
    use crate::surrogate::Relation;

    proptest! {
        #[test]
        fn correlations_are_those_of_the_definition(
            q in 2_usize..=4, n in 2_usize..=8, rows in 40_usize..200, weighted: bool, seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let space = SequenceSpace::of_size(q, n).unwrap();
            let codes: Vec<u8> = (0..rows * n).map(|_| rng.random_range(0..q as u32) as u8).collect();
            let mut draw = || (0..rows).map(|_| rng.random_range(0.5..2.0_f64)).collect::<Vec<f64>>();
            let (values, weights) = (draw(), if weighted { draw() } else { vec![1.0; rows] });
            let sample = Sample::new(space.clone(), codes.clone(), values.clone()).unwrap();
            let sample = sample.with_weights(weights.clone()).unwrap();
            let relation = Relation::equal(&space);
            let kinds = [true, false].map(|reversed| RunKind { relation: relation.clone(), reversed });
            let screened = strongest_runs(&sample, &kinds, usize::MAX, u128::MAX, &Cancel::new()).unwrap();
            prop_assert!(screened.is_sorted_by(|a, b| a.1.abs() >= b.1.abs()));
            let average = |numbers: &[f64]| {
                numbers.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>() / weights.iter().sum::<f64>()
            };
            let covariance = |a: &[f64], b: &[f64]| {
                let (centre_a, centre_b) = (average(a), average(b));
                let products: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - centre_a) * (b - centre_b)).collect();
                average(&products)
            };
            for &(run, correlation) in &screened {
                let occurs = |row: &[u8]| f64::from(u8::from(run.occurs(&relation, row)));
                let column: Vec<f64> = codes.chunks(n).map(occurs).collect();
                prop_assert!(column.iter().sum::<f64>() >= FEWEST_ROWS as f64);
                let spread = (covariance(&column, &column) * covariance(&values, &values)).sqrt();
                prop_assert!((correlation - covariance(&column, &values) / spread).abs() < 1e-10);
            }
            // A smaller number of runs is the beginning of the list.
            let few = strongest_runs(&sample, &kinds, 5, u128::MAX, &Cancel::new()).unwrap();
            prop_assert_eq!(&few[..], &screened[..few.len()]);
        }
    }

    #[test]
    fn runs_that_need_too_much_memory_are_refused() {
        let space = SequenceSpace::new("ACGT", 6).unwrap();
        let sample = Sample::new(space.clone(), vec![0; 600], vec![1.0; 100]).unwrap();
        let kinds = RunKind::auto(&space, 100);
        let outcome = strongest_runs(&sample, &kinds, 5, 1000, &Cancel::new());
        assert!(matches!(outcome, Err(crate::Error::TooLarge { .. })), "{outcome:?}");
        let equal = strongest_runs(&sample, &kinds, 5, 1 << 30, &Cancel::new()).unwrap();
        assert_eq!(equal, []);
    }
}
