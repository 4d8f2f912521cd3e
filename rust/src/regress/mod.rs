//! Sparse regression on a dictionary of supports: fewer model evaluations than peeling where a model is
//! not truly sparse, and any sequences instead of a design.
//!
//! A sample of sequences and values is explained by few atoms of a [`Dictionary`]: letter patterns (a
//! motif at its place is one atom) or characters. The penalty is ℓ1 with a strength for each order and
//! part of the dictionary; patterns in use are extended letter by letter to orders that no dictionary
//! lists. Dictionary strengths, basis, growth, penalty and refit are chosen by cross-validation, and the
//! last fit uses every sequence.
//!
//! # What was compared
//!
//! On real models (R² on fresh sequences, 5,000 uniform queries unless stated; `benches/README.md` has
//! the current table):
//!
//! - one strength for all orders against one for each: `gb1cnn` 0.50 against 0.83, `azimuth` 0.871
//!   against 0.881, the measured GB1 landscape 0.70 against 0.73;
//! - letter patterns against characters: equal on `azimuth`, 0.63 against 0.51 on `framepool`; characters
//!   win where a function is sparse in them, which is rare outside simulations;
//! - growth: `azimuth` at 20,000 queries 0.909 without, 0.928 with; `framepool` 0.671 and 0.698;
//! - refits without shrinkage win on planted spectra and on additive models, ℓ1 alone elsewhere;
//! - weighting supports by their energy in an earlier fit (adaptive lasso) gave 0.000 to 0.006 more on
//!   three models and 0.008 to 0.022 less on two others: not kept;
//! - uniform queries against blocks of a design: equal for blocks of 64 queries, 0.01 worse for 1,024.
//!
//! # Honest validation
//!
//! The folds go through the data together, so care is taken that no fold learns from the rows it holds
//! out: each takes up atoms that its own training rows ask for, in an order and on scales that do not
//! depend on the others.

mod bin_domain;
mod dictionary;
mod gather;
mod growth;
mod operator;
mod path;
mod penalty;
mod real_characters;
mod search;
mod solver;
mod standard_errors;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use dictionary::Dictionary;
pub use penalty::Strengths;
pub use standard_errors::missing;

use bin_domain::Bins;
use gather::Tables;
use growth::Index;
use operator::{Operator, word};
use path::{Best, Config, DENSEST, FOLDS, Growing, LANES, follow};
use real_characters::wave;
use search::search;
use solver::Lanes;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::fidelity::RSquared;
use crate::frequency::Frequency;
use crate::observations::{Observations, check_values};
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, Spectrum, SupportTerms, Surrogate, Uncertainty};

/// Sequences that the search for strengths looks at.
const SEARCHED: usize = 4000;
/// Where letters leave no more than this part of the variance, characters are not asked.
const GOOD: f64 = 1e-4;
/// Characters must lower the error by this factor to be taken.
const CLEARLY: f64 = 0.97;
/// Fewest distinct sequences that can be split into folds with something left to learn from.
pub(crate) const FEWEST: usize = 30;
/// No part of a dictionary before another.
const EVEN: Strengths = Strengths { pairs: 1.0, higher: 1.0, scattered: 1.0, growth: None };
/// Least number of sequences at which patterns are grown.
const GROWING: usize = 500;
/// Characters are taken where they are sparse: up to this part of the sequences.
const SPARSE: f64 = 0.1;
/// Rounds of descent and screening in which the last fit must come to its optimum.
const ROUNDS: usize = 20;
const SWEEPS: usize = 2000;
/// What the last sixth of the data may add, relative to what went from half of them to five sixths. An error
/// that falls with the logarithm of their number gives 0.36; near the number at which terms begin to be
/// found it falls up to twice as fast.
const REST: f64 = 0.6;
/// Stream of the generator for the folds.
const FOLD_STREAM: u64 = 1 << 32;

/// Standard deviations of the statistic of uniform letters that are chance.
const CHANCE: f64 = 6.0;
/// Mean over positions of `Σ_a q (p_a - 1/q)²` up to which letters count as uniform.
const UNEVEN: f64 = 0.1;

/// What a regression selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Atoms {
    /// Letter patterns: motifs at their places.
    Letters,
    /// Characters: Fourier coefficients.
    Characters,
}

/// Sequences of a space with one value each.
#[derive(Clone, Debug)]
pub struct Sample {
    space: SequenceSpace,
    codes: Vec<u8>,
    values: Vec<f64>,
    /// Whether the sequences are distinct and uniform, and their values those of a function.
    function: bool,
    /// Part of the space that these sequences then are.
    share: f64,
    observations: Option<Arc<Observations>>,
}

impl Sample {
    /// Pairs coded sequences, row-major, with their values.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or there is not one finite value for each.
    pub fn new(space: SequenceSpace, codes: Vec<u8>, values: Vec<f64>) -> Result<Self> {
        let count = space.check(&codes)?;
        check_values("sample", &values, count)?;
        Ok(Self { space, codes, values, function: false, share: 0.0, observations: None })
    }

    /// Says that the sequences are distinct and uniform, and their values those of a function: R² is then that
    /// over the whole space, of which a part has been seen.
    #[must_use]
    pub fn of_a_function(mut self) -> Self {
        self.function = true;
        if let Some(size) = self.space.size() {
            self.share = (self.values.len() as f64 / size as f64).min(1.0);
        }
        self
    }

    /// Whether letters are about as frequent as each other at each position, as in uniform sequences.
    pub(crate) fn uniform(&self) -> bool {
        if self.function {
            return true;
        }
        let (q, n) = (self.space.q(), self.space.n());
        let rows = self.values.len() as f64;
        let mut counts = vec![0.0_f64; n * q];
        for row in self.codes.chunks_exact(n) {
            row.iter().enumerate().for_each(|(i, &letter)| counts[i * q + letter as usize] += 1.0);
        }
        let expected = rows / q as f64;
        let chi: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        let freedom = (n * (q - 1)) as f64;
        // What is visible, and large.
        chi <= freedom + CHANCE * (2.0 * freedom).sqrt() || chi <= UNEVEN * rows * n as f64
    }

    /// The sequences, row-major codes.
    #[must_use]
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }
}

impl From<Observations> for Sample {
    /// Where the design is one of small blocks without repeats, characters are fitted in the bin domain.
    fn from(observations: Observations) -> Self {
        let design = observations.design();
        Self {
            space: design.space().clone(),
            codes: design.queries(0..design.len()),
            values: observations.values().to_vec(),
            function: false,
            share: 0.0,
            observations: Some(Arc::new(observations)),
        }
    }
}

/// Sparse regression of values on the atoms of a dictionary.
///
/// ```
/// use shapsketch::{Cancel, Components, Sample, SequenceSpace, SparseRegression};
/// // Every DNA sequence of length 4; a motif AC at positions 1 and 2, and a G at the end.
/// let space = SequenceSpace::new("ACGT", 4)?;
/// let codes: Vec<u8> = (0..256_u32).flat_map(|x| [x / 64, x / 16 % 4, x / 4 % 4, x % 4]).map(|a| a as u8).collect();
/// let score = |x: &[u8]| 2.0 * f64::from(x[1] == 0 && x[2] == 1) + f64::from(x[3] == 2);
/// let values = codes.chunks(4).map(score).collect();
/// let sample = Sample::new(space, codes, values)?;
/// let fitted = SparseRegression::default().fit(&sample, &Cancel::new())?;
/// assert!(fitted.r2.value > 0.99);
/// let components = Components::new(&fitted.surrogate.terms())?;
/// assert!((components.predict(&[3, 0, 1, 2], &Cancel::new())?[0] - 3.0).abs() < 0.05);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SparseRegression {
    /// The supports; `None` takes [`Dictionary::auto`].
    pub dictionary: Option<Dictionary>,
    /// Letter patterns or characters; `None` lets cross-validation choose, and takes letters where
    /// strengths are given.
    pub basis: Option<Atoms>,
    /// Relative strengths of orders and parts; `None` lets cross-validation choose.
    pub strengths: Option<Strengths>,
    /// Penalty strength `λ` of `½/N ‖y - f̂‖² + λ Σ_j p_j |β_j|`, where `p_j` is the weight of the atom's
    /// part times its root mean square; `None` lets cross-validation choose.
    pub lambda: Option<f64>,
    /// Whether patterns may grow beyond the dictionary, where the strengths are chosen.
    pub growth: bool,
    /// Whether a refit with less or no shrinkage may be chosen.
    pub refit: bool,
    /// Squared change per sequence, relative to the variance, at which the last fit counts as at its
    /// optimum; the duality gap it leaves is reported.
    pub tolerance: f64,
    /// Bytes it may take, as predicted.
    pub memory: u128,
    /// Decides the folds.
    pub seed: u64,
}

impl Default for SparseRegression {
    fn default() -> Self {
        Self {
            dictionary: None,
            basis: None,
            strengths: None,
            lambda: None,
            growth: true,
            refit: true,
            tolerance: 1e-7,
            memory: 4 << 30,
            seed: 0,
        }
    }
}

/// A regression and how it went.
#[derive(Clone, Debug)]
pub struct Regression {
    /// The sum of product terms.
    pub surrogate: Surrogate,
    /// What is not known of its terms and of what it leaves out; `None` of sequences that are not uniform.
    pub uncertainty: Option<Uncertainty>,
    /// R² of predictions of held-out sequences by fits to five sixths of the data, and of the sequences seen as
    /// far as they make up the space. The last fit has more to learn from; the upper end of the interval
    /// allows for that.
    pub r2: RSquared,
    /// Predictions of each sequence by the fit that did not see it.
    pub held_out_predictions: Vec<f64>,
    /// What was fitted.
    pub basis: Atoms,
    /// The penalty strength.
    pub lambda: f64,
    /// Strength of the refit relative to `lambda`; 1 is no refit.
    pub refit: f64,
    /// Relative strengths of orders and parts.
    pub strengths: Strengths,
    /// Duality gap of the selection, relative to half the sum of squares.
    pub gap: f64,
    /// Root mean square of what held-out predictions miss.
    pub noise: f64,
    /// Number of candidate atoms of the dictionary.
    pub candidates: u128,
    /// Letters that occur at no sequence of the sample: `(position, letter)`. Patterns with them are
    /// not identifiable, and left out.
    pub unseen: Vec<(usize, u8)>,
}

impl SparseRegression {
    /// Fits a sample.
    ///
    /// # Errors
    /// If there are too few sequences, the dictionary does not fit, or the caller cancels.
    pub fn fit(&self, sample: &Sample, cancel: &Cancel) -> Result<Regression> {
        self.check()?;
        let space = &sample.space;
        let (q, n) = (space.q(), space.n());
        let rows = sample.values.len();
        let units = units(sample);
        let distinct = units.iter().copied().max().map_or(0, |last| last + 1);
        if distinct < FEWEST {
            return Err(Error::TooFew { got: distinct, needed: FEWEST });
        }
        let dictionary = self.dictionary.clone().unwrap_or_else(|| Dictionary::auto(space, distinct));
        let supports = dictionary.list(space, rows, self.memory)?;
        let folds = self.folds(&units, distinct);
        let tables = |basis, rows: usize| {
            Tables::new(q, n, basis, &sample.codes[..rows * n], &sample.values[..rows], supports.clone())
        };
        let some = rows.min(SEARCHED);
        let searched =
            || search(&tables(Atoms::Letters, some), &index_of(&supports), &quarters(&folds[..some]), cancel);
        let sparse = || -> Result<f64> {
            let config =
                Config { strengths: EVEN, complete: false, refit: true, densest: SPARSE, lambda: None };
            let (folds, half) = (quarters(&folds[..some]), vec![false; some]);
            let mut tables = tables(Atoms::Characters, some);
            Ok(follow(&mut tables, &mut Index::new(), &folds, &half, &config, cancel)?.interpolated)
        };
        let (basis, strengths) = match (self.basis, self.strengths) {
            (Some(basis), Some(strengths)) => (basis, strengths),
            (Some(Atoms::Characters), None) => (Atoms::Characters, EVEN),
            (Some(Atoms::Letters), None) => (Atoms::Letters, searched()?.0),
            (None, Some(strengths)) => (Atoms::Letters, strengths),
            (None, None) => {
                let (strengths, error) = searched()?;
                let good = error <= GOOD * variance(&sample.values[..some]);
                if !good && sparse()? < CLEARLY * error {
                    (Atoms::Characters, EVEN)
                } else {
                    (Atoms::Letters, strengths)
                }
            }
        };
        let growth = self.growth && basis == Atoms::Letters && rows >= GROWING;
        let grown = Strengths { growth: Strengths::default().growth, ..strengths };
        let choices = match self.strengths.is_none() && growth {
            false => vec![strengths],
            // Few sequences may be better off without what grows, many never were.
            true if rows <= 2 * SEARCHED => vec![strengths, grown],
            true => vec![grown],
        };
        let bins = match (&sample.observations, basis) {
            (Some(observations), Atoms::Characters) if Bins::suit(observations.design()) => {
                Some(Bins::new(observations, supports.clone(), cancel)?)
            }
            _ => None,
        };
        let mut regression = match bins {
            Some(bins) => {
                let mut folds = vec![0; rows];
                let blocks = self.folds(&(0..bins.units()).collect::<Vec<_>>(), bins.units());
                folds.iter_mut().enumerate().for_each(|(row, fold)| *fold = blocks[bins.unit(row)]);
                self.complete(bins, sample, basis, &choices, &folds, cancel)?
            }
            None => self.complete(tables(basis, rows), sample, basis, &choices, &folds, cancel)?,
        };
        regression.candidates = dictionary.atoms(q, n);
        regression.unseen = unseen(sample);
        Ok(regression)
    }

    fn check(&self) -> Result<()> {
        let bad = |name, expected, got: f64| Err(Error::Parameter { name, expected, got: got.to_string() });
        if let Some(lambda) = self.lambda.filter(|lambda| !(lambda.is_finite() && *lambda > 0.0)) {
            return bad("lambda", "finite and above 0", lambda);
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return bad("tolerance", "finite and above 0", self.tolerance);
        }
        let strengths = self.strengths.unwrap_or_default();
        let factors =
            [Some(strengths.pairs), Some(strengths.higher), Some(strengths.scattered), strengths.growth];
        match factors.into_iter().flatten().find(|factor| !(factor.is_finite() && *factor > 0.0)) {
            Some(factor) => bad("strengths", "finite and above 0", factor),
            None => Ok(()),
        }
    }

    /// Six folds of random units; all rows of a unit are in one fold.
    fn folds(&self, units: &[usize], count: usize) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(FOLD_STREAM);
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut rng);
        units.iter().map(|&unit| (order[unit] % FOLDS) as u8).collect()
    }

    fn complete<O: Growing>(
        &self,
        mut operator: O,
        sample: &Sample,
        basis: Atoms,
        choices: &[Strengths],
        folds: &[u8],
        cancel: &Cancel,
    ) -> Result<Regression> {
        let mut index = index_of(operator.supports());
        // Half of each fold's units, by their place in a second shuffle.
        let half: Vec<bool> = {
            let shifted = Self { seed: self.seed ^ (1 << 63), ..self.clone() };
            let units: Vec<usize> = (0..folds.len()).map(|row| operator.unit(row)).collect();
            shifted.folds(&units, operator.units()).into_iter().map(|fold| fold % 2 == 0).collect()
        };
        let mut chosen: Option<(Best, Strengths)> = None;
        for &strengths in choices {
            let config = Config {
                strengths,
                complete: true,
                refit: self.refit,
                densest: DENSEST,
                lambda: self.lambda,
            };
            let best = follow(&mut operator, &mut index, folds, &half, &config, cancel)?;
            if chosen.as_ref().is_none_or(|(before, _)| best.error < before.error) {
                chosen = Some((best, strengths));
            }
        }
        let Some((best, strengths)) = chosen else {
            return Err(Error::Parameter { name: "strengths", expected: "at least one", got: "none".into() });
        };
        let (lanes, gap) = self.finish(&operator, &best, &strengths, cancel)?;
        let residuals = operator.to_rows(&best.residuals);
        let held_out_predictions: Vec<f64> =
            sample.values.iter().zip(&residuals).map(|(v, r)| v - r).collect();
        let noise = best.residuals.iter().map(|r| r * r).sum::<f64>() / best.residuals.len() as f64;
        let surrogate = surrogate(&operator, &sample.space, basis, &lanes);
        let last: Vec<f64> = (0..sample.values.len()).map(|row| lanes.residual_at(row, 0)).collect();
        let fitted: Vec<f64> =
            sample.values.iter().zip(operator.to_rows(&last)).map(|(v, r)| v - r).collect();
        let mut r2 = RSquared::mixed(&sample.values, &held_out_predictions, &fitted, sample.share)?;
        if best.half.0 > best.half.1 {
            // The gain from half of the data to five sixths, relative to the error, and the rest of the way.
            let gain = 1.0 - best.half.1 / best.half.0;
            r2.high += REST * gain * (1.0 - sample.share) * (1.0 - r2.value);
        }
        Ok(Regression {
            uncertainty: standard_errors::estimate(
                &operator, sample, &surrogate, &lanes, noise, &residuals, folds, cancel,
            )?,
            surrogate,
            held_out_predictions,
            r2,
            basis,
            lambda: best.lambda,
            refit: best.refit,
            strengths,
            gap,
            noise: noise.sqrt(),
            candidates: 0,
            unseen: Vec::new(),
        })
    }

    /// The fit to all data, to the optimum, and its duality gap.
    fn finish<O: Growing>(
        &self,
        operator: &O,
        best: &Best,
        strengths: &Strengths,
        cancel: &Cancel,
    ) -> Result<(Lanes<1>, f64)> {
        let weights: Vec<f64> = operator.supports().iter().map(|s| strengths.of(s)).collect();
        let mut lanes = Lanes::<1>::new(operator, vec![0; operator.values().len()]);
        let total = lanes.training_residual().iter().map(|r| r[0] * r[0]).sum::<f64>();
        let tolerance = self.tolerance * total / lanes.count(0);
        for &(id, penalty) in &best.atoms {
            lanes.activate(operator, id, || operator.column(id), penalty, 1);
        }
        if best.lambda.is_infinite() || total == 0.0 {
            return Ok((lanes, 0.0));
        }
        for _ in 0..ROUNDS {
            lanes.descend(best.lambda, tolerance, SWEEPS, cancel)?;
            // A little above: what the descent has not brought to rest is no violation.
            if lanes.screen(operator, &weights, best.lambda * 1.001, cancel)? == 0 {
                break;
            }
        }
        let gap = self.gap(operator, &lanes, &weights, best.lambda, total, cancel)?;
        if best.refit < 1.0 {
            lanes.refit(best.refit * best.lambda, tolerance, SWEEPS, cancel)?;
        }
        Ok((lanes, gap))
    }

    /// Duality gap of `½‖r‖² + λ N Σ p|β|`: the residual, shrunk until no atom is correlated with it by more
    /// than `λ N p`, is feasible for the dual.
    fn gap<O: Operator>(
        &self,
        operator: &O,
        lanes: &Lanes<1>,
        weights: &[f64],
        lambda: f64,
        total: f64,
        cancel: &Cancel,
    ) -> Result<f64> {
        let residual = lanes.training_residual();
        let largest = operator
            .scan(
                &residual,
                cancel,
                |support| weights[support].is_finite(),
                |support, correlations, out: &mut Vec<f64>| {
                    let relative = correlations.iter().enumerate().map(|(cell, g)| {
                        let penalty = operator.scale(support, cell) * weights[support];
                        if penalty > 0.0 { g[0].abs() / penalty } else { 0.0 }
                    });
                    out.push(relative.fold(0.0, f64::max));
                },
            )?
            .into_iter()
            .chain(lanes.correlations(&residual))
            .fold(0.0, f64::max);
        let shrink = (lambda * lanes.count(0) / largest).min(1.0);
        let values = operator.values();
        let constant = operator.constant();
        let mean = values.iter().zip(constant).map(|(v, c)| v * c).sum::<f64>() / lanes.count(0);
        let (mut square, mut inner) = (0.0, 0.0);
        for ((r, v), c) in residual.iter().zip(values).zip(constant) {
            square += r[0] * r[0];
            inner += r[0] * (v - mean * c);
        }
        let penalty: f64 = lanes.atoms.iter().map(|atom| atom.penalty * atom.beta[0].abs()).sum();
        let primal = 0.5 * square + lambda * lanes.count(0) * penalty;
        // ½‖y‖² - ½‖y - θ‖² with θ the shrunk residual.
        let dual = shrink * inner - 0.5 * shrink * shrink * square;
        Ok((primal - dual) / (0.5 * total))
    }
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count
}

/// Number of each row's sequence: equal sequences have equal numbers.
fn units(sample: &Sample) -> Vec<usize> {
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    let rows = sample.codes.chunks_exact(sample.space.n());
    rows.map(|row| {
        let next = seen.len();
        *seen.entry(row).or_insert(next)
    })
    .collect()
}

/// Letters that occur nowhere at a position.
fn unseen(sample: &Sample) -> Vec<(usize, u8)> {
    let (q, n) = (sample.space.q(), sample.space.n());
    let mut seen = vec![false; n * q];
    for row in sample.codes.chunks_exact(n) {
        for (i, &letter) in row.iter().enumerate() {
            seen[i * q + letter as usize] = true;
        }
    }
    (0..n * q).filter(|&at| !seen[at]).map(|at| (at / q, (at % q) as u8)).collect()
}

fn quarters(folds: &[u8]) -> Vec<u8> {
    folds.iter().map(|fold| fold % LANES as u8).collect()
}

fn index_of(supports: &[Vec<u16>]) -> Index {
    supports.iter().cloned().enumerate().map(|(at, support)| (support, at)).collect()
}

/// The atoms in use as a sum of product terms.
fn surrogate<O: Operator>(operator: &O, space: &SequenceSpace, basis: Atoms, lanes: &Lanes<1>) -> Surrogate {
    let q = space.q();
    let used = lanes.atoms.iter().filter(|atom| atom.beta[0] != 0.0);
    match basis {
        Atoms::Characters => {
            let mut terms = vec![(Frequency::default(), lanes.intercept(0).into())];
            for atom in used {
                let support = &operator.supports()[atom.id.support as usize];
                let (labels, wave) = wave(atom.id.cell, q, support.len());
                terms.push((real_characters::frequency(support, &labels), wave.coefficient(atom.beta[0])));
            }
            Surrogate::Spectrum(Spectrum::from_representatives(space.clone(), terms))
        }
        Atoms::Letters => {
            let mut patterns: Vec<(&Vec<u16>, Vec<u8>, f64)> = used
                .map(|atom| {
                    let support = &operator.supports()[atom.id.support as usize];
                    (support, word(atom.id.cell, q, support.len()), atom.beta[0])
                })
                .collect();
            patterns.sort_by(|a, b| (a.0.len(), a.0, &a.1).cmp(&(b.0.len(), b.0, &b.1)));
            let mut supports: Vec<SupportTerms> = Vec::new();
            for (support, letters, beta) in patterns {
                if supports.last().is_none_or(|last| last.support != *support) {
                    supports.push(SupportTerms { support: support.clone(), ..SupportTerms::default() });
                }
                if let Some(last) = supports.last_mut() {
                    last.labels.extend(letters.into_iter().map(u16::from));
                    last.coefficients.push(beta.into());
                }
            }
            let constant = lanes.intercept(0);
            Surrogate::Terms(ProductTerms { space: space.clone(), basis: Basis::Letters, constant, supports })
        }
    }
}
