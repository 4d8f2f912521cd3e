//! Pairs of positions that are too many to list: those with the strongest interactions, chosen by screening.
//!
//! A fit of the listed supports leaves residuals `e_r` of rows with weights `w_r`. For the symbols `a` and `b` at the
//! positions `i` and `j`, `D_ab = Σ_r w_r e_r (1[x_i = a] - p_a)(1[x_j = b] - p_b)`, where `p` are frequencies of symbols,
//! does not contain effects of single positions if positions are independent. If the residuals are noise of variance
//! `σ²`, then `D_ab` has the variance `σ² N p_a p_b (1 - p_a)(1 - p_b)`. The score of a pair is
//! `Σ_ab D_ab² / (N p_a p_b) - σ² Σ_ab (1 - p_a)(1 - p_b)`: the sum of squares that the interaction explains, minus its
//! expectation under noise (sure independence screening, Fan and Lv 2008, with the tables of Hao and Zhang 2014 for
//! interactions). Symbols that occur together in few rows are left out.
//!
//! Each fit of a cross-validation has its own pairs, chosen by the residuals of its own training rows. It never uses the
//! pairs of the other fits, which were trained on rows that it holds out. R² therefore includes what the choice costs.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;

use super::cross_validation::gather;
use super::folds::{FoldPlan, LANES};
use super::gather::GatherOperator;
use super::path::{MAX_DENSITY, PathConfig, Precision, fits_at, follow};
use super::patterns::FEWEST_ROWS;
use super::penalty::PenaltyFactors;
use super::row_cells::marginal;
use super::solver::Lanes;
use super::{Atoms, Data};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::words;

/// Largest number of cells of the table of two chunks of positions, unless a single pair has more.
const MAX_CELLS: usize = 256;

/// A pair of positions with its score.
type Scored = (f64, [u16; 2]);

/// Adds, for each fit of a plan, the `most` pairs with the highest scores to these supports. Returns all supports, and the
/// plan with the supports that each fit may use.
pub(super) fn with_pairs(
    data: &Data<'_>,
    supports: &[Vec<u16>],
    most: usize,
    plan: FoldPlan,
    cancel: &Cancel,
) -> Result<(Vec<Vec<u16>>, FoldPlan)> {
    if most == 0 {
        return Ok((supports.to_vec(), plan));
    }
    let mut operator = gather(data, Atoms::Letters, plan.n_rows(), supports.to_vec());
    let config = PathConfig {
        factors: PenaltyFactors { growth: None, ..PenaltyFactors::default() },
        precision: Precision::ROUGH,
        refit: false,
        max_density: MAX_DENSITY,
        most_atoms: usize::MAX,
        lambda: None,
        limit: &data.limits.path,
    };
    let lambda = follow(&mut operator, &plan, &config, cancel)?.lambda;
    let lanes = fits_at(&mut operator, &plan, &config, lambda, cancel)?;
    // All supports by order and positions, and the fits that may use them, as bits.
    let mut fits: BTreeMap<(usize, Vec<u16>), u8> =
        supports.iter().map(|support| ((support.len(), support.clone()), u8::MAX)).collect();
    for (set, lanes) in lanes.iter().enumerate() {
        for (lane, pairs) in strongest_pairs(&operator, lanes, most, cancel)?.into_iter().enumerate() {
            for (_, pair) in pairs {
                *fits.entry((2, pair.to_vec())).or_default() |= 1 << (set * LANES + lane);
            }
        }
    }
    let (supports, fits): (Vec<_>, Vec<_>) =
        fits.into_iter().map(|((_, support), fits)| (support, fits)).unzip();
    Ok((supports, plan.with_available(fits)))
}

/// For each lane, the `most` pairs that are not listed with the highest scores, the highest first.
fn strongest_pairs(
    operator: &GatherOperator,
    lanes: &Lanes<LANES>,
    most: usize,
    cancel: &Cancel,
) -> Result<[Vec<Scored>; LANES]> {
    let scores = Scores::new(operator, lanes);
    let chunks = scores.chunks.len();
    let strongest = (0..chunks)
        .into_par_iter()
        .try_fold(Strongest::default, |mut strongest, first| {
            let mut tables = [Vec::new(), Vec::new(), Vec::new()];
            for second in first..chunks {
                cancel.check()?;
                scores.visit((first, second), &mut tables, |pair, scores| strongest.push(most, pair, scores));
            }
            Ok::<_, crate::Error>(strongest)
        })
        .try_reduce(Strongest::default, |a, b| Ok(a.merged(most, b)))?;
    Ok(strongest.sorted(most))
}

/// The pairs with the highest scores of each lane. It holds up to twice as many as are needed.
#[derive(Default)]
struct Strongest([Vec<Scored>; LANES]);

impl Strongest {
    fn push(&mut self, most: usize, pair: [u16; 2], scores: [f64; LANES]) {
        for (scored, score) in self.0.iter_mut().zip(scores) {
            scored.push((score, pair));
            if scored.len() >= 2 * most {
                keep(scored, most);
            }
        }
    }

    fn merged(mut self, most: usize, other: Self) -> Self {
        for (scored, other) in self.0.iter_mut().zip(other.0) {
            scored.extend(other);
            keep(scored, most);
        }
        self
    }

    fn sorted(mut self, most: usize) -> [Vec<Scored>; LANES] {
        for scored in &mut self.0 {
            keep(scored, most);
            scored.sort_unstable_by(descending);
        }
        self.0
    }
}

/// Keeps the `most` highest scores, in any order. Which pairs remain does not depend on their order before.
fn keep(scored: &mut Vec<Scored>, most: usize) {
    if scored.len() > most {
        scored.select_nth_unstable_by(most, descending);
        scored.truncate(most);
    }
}

fn descending(a: &Scored, b: &Scored) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// What the scores of all pairs need.
struct Scores<'a> {
    operator: &'a GatherOperator,
    /// Weighted training residuals of each row.
    residual: Vec<[f64; LANES]>,
    /// Number of training rows, by weight.
    n_training: [f64; LANES],
    /// Mean squared residual of the training rows.
    variance: [f64; LANES],
    /// Consecutive positions whose symbols are numbered together.
    chunks: Vec<Vec<u16>>,
    /// For each chunk, the number of the symbols of each row.
    cells: Vec<Vec<u16>>,
    /// Pairs in the dictionary.
    listed: HashSet<[u16; 2]>,
}

impl<'a> Scores<'a> {
    fn new(operator: &'a GatherOperator, lanes: &Lanes<LANES>) -> Self {
        let (q, n) = (operator.q(), operator.n());
        let training = lanes.training_residual().into_iter().enumerate();
        let residual: Vec<[f64; LANES]> = training.map(|(row, r)| operator.scaled(row, &r)).collect();
        let n_training: [f64; LANES] = std::array::from_fn(|l| lanes.n_training(l));
        let variance =
            std::array::from_fn(|l| residual.iter().map(|r| r[l] * r[l]).sum::<f64>() / n_training[l]);
        let fits =
            |width: &usize| words::checked_count(words::same(q, 2 * width)).is_some_and(|c| c <= MAX_CELLS);
        let width = (1..=n).take_while(fits).last().unwrap_or(1);
        let positions: Vec<u16> = (0..n as u16).collect();
        let chunks: Vec<Vec<u16>> = positions.chunks(width).map(<[u16]>::to_vec).collect();
        let number = |chunk: &Vec<u16>| {
            let mut cells = vec![0_u16; residual.len()];
            for &i in chunk {
                for (cell, &symbol) in cells.iter_mut().zip(&operator.columns[i as usize]) {
                    *cell = *cell * q as u16 + u16::from(symbol);
                }
            }
            cells
        };
        let cells = chunks.par_iter().map(number).collect();
        let supports = super::operator::Operator::supports(operator);
        let listed = supports.iter().filter_map(|support| <[u16; 2]>::try_from(&support[..]).ok()).collect();
        Self { operator, residual, n_training, variance, chunks, cells, listed }
    }

    /// Calls `visit` with each pair that is not listed of a position of the first chunk and one of the second, and its
    /// scores. `tables` are buffers.
    fn visit(
        &self,
        (first, second): (usize, usize),
        tables: &mut [Vec<[f64; LANES]>; 3],
        mut visit: impl FnMut([u16; 2], [f64; LANES]),
    ) {
        let q = self.operator.q();
        let [table, narrow, pair_table] = tables;
        let (a, b) = (&self.chunks[first], &self.chunks[second]);
        let same = first == second;
        let positions: Vec<u16> = if same { a.clone() } else { [&a[..], &b[..]].concat() };
        table.clear();
        table.resize(words::count(words::same(q, positions.len())), [0.0; LANES]);
        // The number of the symbols of both chunks is that of the first times this factor plus that of the second.
        let factor = if same { 0 } else { words::count(words::same(q, b.len())) };
        let rows = self.cells[first].iter().zip(&self.cells[second]).zip(&self.residual);
        for ((&high, &low), r) in rows {
            let sum = &mut table[high as usize * factor + low as usize];
            (0..LANES).for_each(|l| sum[l] += r[l]);
        }
        for &j in b {
            let mut kept: Vec<u16> = a.iter().copied().filter(|&i| i < j).collect();
            let firsts = kept.clone();
            kept.push(j);
            if firsts.is_empty() {
                continue;
            }
            let narrow = marginal(table, &positions, &kept, q, narrow);
            for &i in firsts.iter().filter(|&&i| !self.listed.contains(&[i, j])) {
                let sums = marginal(narrow, &kept, &[i, j], q, pair_table);
                visit([i, j], self.score([i, j], sums));
            }
        }
    }

    /// The scores of a pair from the sums of the residuals for each two symbols.
    fn score(&self, pair: [u16; 2], table: &[[f64; LANES]]) -> [f64; LANES] {
        let q = self.operator.q();
        let [first, second] = pair.map(|i| &self.operator.frequencies[i as usize * q..][..q]);
        let mut score = [0.0; LANES];
        for l in 0..LANES {
            let rows: Vec<f64> =
                table.chunks_exact(q).map(|row| row.iter().map(|cell| cell[l]).sum()).collect();
            let columns: Vec<f64> = (0..q).map(|b| (0..q).map(|a| table[a * q + b][l]).sum()).collect();
            let total: f64 = rows.iter().sum();
            for (a, &p) in first.iter().enumerate() {
                for (b, &s) in second.iter().enumerate() {
                    let expected = self.n_training[l] * p * s;
                    if expected < FEWEST_ROWS as f64 {
                        continue;
                    }
                    let d = table[a * q + b][l] - s * rows[a] - p * columns[b] + p * s * total;
                    score[l] += d * d / expected - self.variance[l] * (1.0 - p) * (1.0 - s);
                }
            }
        }
        score
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The score of a pair by its definition.
    fn definition(
        (codes, weights, residuals): (&[Vec<u8>], &[f64], &[f64]),
        q: usize,
        [i, j]: [u16; 2],
        training: &[bool],
    ) -> f64 {
        let (i, j) = (i as usize, j as usize);
        let all: f64 = weights.iter().sum();
        let frequency = |position: usize, symbol: usize| {
            let rows = codes.iter().zip(weights).filter(|(row, _)| row[position] as usize == symbol);
            rows.map(|(_, w)| w).sum::<f64>() / all
        };
        let rows: Vec<usize> = (0..codes.len()).filter(|&row| training[row]).collect();
        let count: f64 = rows.iter().map(|&row| weights[row]).sum();
        let variance = rows.iter().map(|&row| (weights[row] * residuals[row]).powi(2)).sum::<f64>() / count;
        let mut score = 0.0;
        for a in 0..q {
            for b in 0..q {
                let (p, s) = (frequency(i, a), frequency(j, b));
                if count * p * s < FEWEST_ROWS as f64 {
                    continue;
                }
                let is =
                    |row: usize, position: usize, symbol| f64::from(codes[row][position] as usize == symbol);
                let product =
                    |&row: &usize| weights[row] * residuals[row] * (is(row, i, a) - p) * (is(row, j, b) - s);
                let d: f64 = rows.iter().map(product).sum();
                score += d * d / (count * p * s) - variance * (1.0 - p) * (1.0 - s);
            }
        }
        score
    }

    proptest! {
        #[test]
        fn scores_are_those_of_the_definition(
            q in 2_usize..=6, n in 2_usize..=11, rows in 30_usize..90, weighted: bool, most in 1_usize..12, seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let codes: Vec<Vec<u8>> =
                (0..rows).map(|_| (0..n).map(|_| rng.random_range(0..q as u32) as u8).collect()).collect();
            let values: Vec<f64> = (0..rows).map(|_| rng.random_range(-1.0..1.0)).collect();
            let weights: Vec<f64> =
                (0..rows).map(|_| if weighted { rng.random_range(0.5..2.0) } else { 1.0 }).collect();
            let held_out: Vec<u8> = (0..rows).map(|row| 1 << (row % LANES)).collect();
            let listed: Vec<Vec<u16>> = vec![vec![0], vec![0, 1]];
            let given = weighted.then_some(&weights[..]);
            let operator = GatherOperator::new((q, n), Atoms::Letters, &codes.concat(), &values, given, listed);
            let lanes = Lanes::<LANES>::new(&operator, held_out, Vec::new());
            let strongest = strongest_pairs(&operator, &lanes, most, &Cancel::new()).unwrap();
            let constant: Vec<f64> = weights.iter().map(|w| w.sqrt()).collect();
            for (lane, scored) in strongest.iter().enumerate() {
                let residuals: Vec<f64> =
                    (0..rows).map(|row| lanes.residual_at(row, lane) / constant[row]).collect();
                let training: Vec<bool> = (0..rows).map(|row| row % LANES != lane).collect();
                let mut all = Vec::new();
                for i in 0..n as u16 {
                    for j in i + 1..n as u16 {
                        if (i, j) != (0, 1) {
                            all.push((definition((&codes, &weights, &residuals), q, [i, j], &training), [i, j]));
                        }
                    }
                }
                all.sort_unstable_by(descending);
                prop_assert_eq!(scored.len(), most.min(all.len()));
                for ((score, pair), (expected, _)) in scored.iter().zip(&all) {
                    let own = all.iter().find(|(_, other)| other == pair).unwrap().0;
                    prop_assert!((score - own).abs() < 1e-10 * own.abs().max(1.0));
                    prop_assert!((score - expected).abs() < 1e-10 * expected.abs().max(1.0));
                }
            }
        }
    }
    #[test]
    fn a_fit_chooses_pairs_without_the_values_that_it_holds_out() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (q, n, rows) = (2, 30, 400);
        let codes: Vec<u8> = (0..rows * n).map(|_| rng.random_range(0..2_u32) as u8).collect();
        let values: Vec<f64> =
            codes.chunks(n).map(|x| f64::from(x[3] * x[7] + x[11] * x[20]) + f64::from(x[5])).collect();
        let mut changed = values.clone();
        changed.iter_mut().step_by(LANES).for_each(|value| *value = rng.random_range(-5.0..5.0));
        let plan = FoldPlan::four_folds(&(0..rows).map(|row| (row % LANES) as u8).collect::<Vec<_>>());
        let pairs = [values, changed].map(|values| {
            let supports = (0..n as u16).map(|i| vec![i]).collect();
            let operator = GatherOperator::new((q, n), Atoms::Letters, &codes, &values, None, supports);
            let mut lanes = Lanes::<LANES>::new(&operator, plan.held_out(0), Vec::new());
            lanes.screen(&operator, &vec![1.0; n], 0.02, &Cancel::new()).unwrap();
            lanes.descend(0.02, 0.0, 5, &Cancel::new()).unwrap();
            strongest_pairs(&operator, &lanes, 20, &Cancel::new()).unwrap()
        });
        // Lane 0 holds out the rows whose values changed. The scores have the same bits.
        assert_eq!(pairs[0][0], pairs[1][0]);
        assert!(pairs[0][0][..2].iter().all(|(_, pair)| [[3, 7], [11, 20]].contains(pair)));
        assert_ne!(pairs[0][1], pairs[1][1]);
    }
}
