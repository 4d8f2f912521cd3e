//! Sparse regression on a dictionary of supports. It needs fewer model evaluations than peeling if a model
//! is not truly sparse, and accepts any sequences, not only those of a design.
//!
//! The model is `f̂(x) = β₀ + Σ_j β_j a_j(x)`. The atoms `a_j` of a [`Dictionary`] are letter patterns
//! `1[x_i = s_i for all i in S]` (symbols at positions) or characters (Fourier basis functions). The
//! coefficients minimise `½/N ‖y - f̂‖² + λ Σ_j p_j |β_j|` (the lasso, Tibshirani 1996), with
//! [`PenaltyFactors`] for each order and kind of support. Letter patterns with nonzero coefficients are
//! extended by one symbol at a time, to orders that the dictionary does not list. Basis, penalty factors,
//! growth, `λ` and refit are chosen by cross-validation. The final fit uses all sequences.
//!
//! # What was compared
//!
//! On real models (R² on fresh sequences, 5,000 uniform queries unless stated; the current table is in
//! `benches/README.md`):
//!
//! - one penalty factor for all orders against one for each order: `gb1cnn` 0.50 against 0.83, `azimuth`
//!   0.871 against 0.881, the measured GB1 landscape 0.70 against 0.73;
//! - letter patterns against characters: equal on `azimuth`, 0.63 against 0.51 on `framepool`; characters
//!   are better if a function is sparse in them, which is rare outside simulations;
//! - growth: `azimuth` at 20,000 queries 0.909 without growth and 0.928 with it; `framepool` 0.671 and
//!   0.698;
//! - refits without shrinkage are better on planted spectra and on additive models, ℓ1 alone on other
//!   models;
//! - weights of supports from their energy in an earlier fit (adaptive lasso): better by 0.000 to 0.006 on
//!   three models and worse by 0.008 to 0.022 on two others; not kept;
//! - uniform queries against blocks of a design: equal for blocks of 64 queries, worse by 0.01 for 1,024.
//!
//! # Honest validation
//!
//! The folds share the passes over the data, but no fold learns from the rows that it holds out. Each fold
//! activates only atoms that are correlated with the residuals of its own training rows, and screens pairs that
//! are too many to list by the same residuals. The order of
//! descent and the scales of the atoms do not depend on the folds.

mod atoms;
mod bin_domain;
mod columns;
mod cross_validation;
mod dictionary;
mod final_fit;
mod folds;
mod gather;
mod growth;
mod loss;
mod operator;
mod pairs;
mod path;
mod patterns;
mod penalty;
mod real_characters;
mod residual_tables;
mod row_cells;
mod runs;
mod sample;
mod screening;
mod search;
mod solver;
mod standard_errors;
#[cfg(test)]
mod tests;
mod time_limit;

pub use atoms::Atoms;
pub use dictionary::Dictionary;
pub use loss::Loss;
pub use penalty::PenaltyFactors;
pub use runs::RunKind;
pub use sample::{Sample, dependent_positions};
pub use screening::strongest_runs;
pub use standard_errors::uncertainty_from_residuals;

use bin_domain::BinOperator;
use cross_validation::{Choice, Usable, gather, in_bins};
use final_fit::{final_fit, surrogate};
use folds::{FoldPlan, random_folds, random_half};
use loss::huber_weights;
use operator::Operator;
use pairs::with_pairs;
use path::Best;
use runs::RunAtoms;
use sample::Distinct;
use standard_errors::HeldOut;
use time_limit::TimeLimits;

use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::{Surrogate, Uncertainty};
use crate::validation::{RSquared, Validation, root_mean_square};

/// Smallest number of distinct sequences that can be split into folds.
pub(crate) const FEWEST: usize = 30;
/// Exponent of the largest decrease of the error from five sixths of the data to all, relative to the decrease from half of
/// the data to five sixths. An error that falls as a power of the number of sequences gives `log(6/5) / log(5/3) = 0.36`.
/// Near the number of sequences at which terms start to be detected, the error falls up to twice as fast.
const LAST_SIXTH: f64 = 0.8;
/// The final fit is another fit than those of the folds if its error on its own rows is below this fraction of theirs.
const ANOTHER: f64 = 0.5;
/// Number of reweighted fits with Huber's loss, after a fit with equal weights.
const HUBER_FITS: usize = 3;

/// Sparse regression of values on the atoms of a dictionary.
///
/// ```
/// use shapsketch::regress::{Sample, SparseRegression};
/// use shapsketch::{Cancel, Components, SequenceSpace};
/// // Every DNA sequence of length 4; the pattern AC at positions 1 and 2, and G at position 3.
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
    /// The supports; `None` uses [`Dictionary::auto`].
    pub dictionary: Option<Dictionary>,
    /// The runs that may be used besides letter patterns; `None` for [`RunKind::auto`]. Cross-validation chooses those that
    /// pay, unless penalty factors are set.
    pub relations: Option<Vec<RunKind>>,
    /// Letter patterns or characters; `None` chooses by cross-validation, or uses letter patterns if
    /// penalty factors are set.
    pub basis: Option<Atoms>,
    /// Penalty factors of orders and kinds of supports; `None` chooses by cross-validation.
    pub penalty_factors: Option<PenaltyFactors>,
    /// Penalty `λ` of `½/N ‖y - f̂‖² + λ Σ_j p_j |β_j|`, where `p_j` is the penalty factor of the support of
    /// atom `j` times the standard deviation of the atom; `None` chooses by cross-validation.
    pub lambda: Option<f64>,
    /// The loss. R² and its interval are those of squared errors for every loss.
    pub loss: Loss,
    /// Whether letter patterns may grow beyond the dictionary. If penalty factors are set, their
    /// [`PenaltyFactors::growth`] decides instead.
    pub growth: bool,
    /// Whether cross-validation may choose a refit with less or no shrinkage.
    pub refit: bool,
    /// The final fit ends when no step changes it by more than this: squared, per sequence, as a fraction
    /// of the variance. The duality gap of the final fit is reported.
    pub tolerance: f64,
    /// Limit on the predicted memory, in bytes.
    pub memory: u128,
    /// Approximate limit on the time: the choice of penalty factors and the path on all data end early. A regression of
    /// single positions follows, and replaces the result if its R² is higher, unless atoms or penalties are chosen. The
    /// result then depends on the speed of the machine. `None` for no limit.
    pub time: Option<Duration>,
    /// Seed of the folds.
    pub seed: u64,
}

impl Default for SparseRegression {
    fn default() -> Self {
        Self {
            dictionary: None,
            relations: None,
            basis: None,
            penalty_factors: None,
            lambda: None,
            loss: Loss::Squared,
            growth: true,
            refit: true,
            tolerance: 1e-7,
            memory: 4 << 30,
            time: None,
            seed: 0,
        }
    }
}

/// The result of a regression.
#[derive(Clone, Debug)]
pub struct Regression {
    /// The fit to all data.
    pub surrogate: Surrogate,
    /// Variances of its terms and of the components that it leaves out; `None` if the sequences are not uniform and
    /// independent, or the values do not differ.
    pub uncertainty: Option<Uncertainty>,
    /// R² over the space, weighted if the sample is. Sequences outside the sample are represented by held-out sequences, predicted by
    /// fits to five sixths of the data; sequences of the sample by the final fit. The final fit learns from
    /// more data; the upper end of the interval allows for that.
    pub r2: RSquared,
    /// Prediction of each sequence by the fit that held it out.
    pub held_out_predictions: Vec<f64>,
    /// The atoms of the surrogate.
    pub basis: Atoms,
    /// The penalty `λ`; infinite if the constant alone predicts best.
    pub lambda: f64,
    /// `λ` of the refit as a fraction of `lambda`; 1 if there was no refit.
    pub refit: f64,
    /// Penalty factors of orders and kinds of supports.
    pub penalty_factors: PenaltyFactors,
    /// Duality gap of the fit before the refit, relative to half the sum of squares.
    pub gap: f64,
    /// Root mean square error of the held-out predictions of single values.
    pub noise: f64,
    /// Number of atoms of the dictionary, counted as letter patterns, and of runs.
    pub n_atoms: u128,
    /// Symbols that occur in no sequence of the sample at a position: `(position, symbol)`. Patterns with
    /// them are not identifiable and are left out.
    pub unseen: Vec<(usize, u8)>,
    /// Pairs of positions whose symbols depend on each other; see [`dependent_positions`]. If there are any,
    /// there is no `uncertainty`.
    pub dependent: Vec<(usize, usize)>,
    /// Whether the limit on the time was not reached.
    pub complete: bool,
}

impl Regression {
    /// The regression of values that are larger by a factor.
    fn scaled(mut self, factor: f64) -> Self {
        self.surrogate = self.surrogate.scaled(factor);
        self.uncertainty = self.uncertainty.map(|uncertainty| uncertainty.scaled(factor));
        self.held_out_predictions.iter_mut().for_each(|prediction| *prediction *= factor);
        self.lambda *= factor;
        self.noise *= factor;
        self
    }
}

impl SparseRegression {
    /// Fits a sample.
    ///
    /// # Errors
    /// If the sample has too few distinct sequences, a parameter is out of range, the dictionary is not
    /// valid for the space or too large, or the caller cancels.
    pub fn fit(&self, sample: &Sample, cancel: &Cancel) -> Result<Regression> {
        self.check()?;
        let scale = sample.scale();
        if scale == 1.0 {
            return self.fit_moderate(sample, cancel);
        }
        let scaled = Self { lambda: self.lambda.map(|lambda| lambda / scale), ..self.clone() };
        Ok(scaled.fit_moderate(&sample.map(|v| v / scale), cancel)?.scaled(scale))
    }

    /// Checks what does not depend on values, before they are computed: the parameters, and the memory for this number of
    /// distinct sequences.
    ///
    /// # Errors
    /// If a parameter is out of range, or the dictionary is not valid for the space or too large.
    pub fn check_size(&self, space: &SequenceSpace, sequences: usize) -> Result<()> {
        self.check()?;
        self.dictionary(space, sequences).check_size(space, sequences, self.memory)?;
        RunAtoms::check(&self.kinds(space, sequences), space, sequences, self.memory)
    }

    fn dictionary(&self, space: &SequenceSpace, sequences: usize) -> Dictionary {
        self.dictionary.clone().unwrap_or_else(|| Dictionary::auto(space, sequences))
    }

    fn kinds(&self, space: &SequenceSpace, sequences: usize) -> Vec<RunKind> {
        self.relations.clone().unwrap_or_else(|| RunKind::auto(space, sequences))
    }

    /// Fits a sample whose values have moderate magnitudes.
    fn fit_moderate(&self, sample: &Sample, cancel: &Cancel) -> Result<Regression> {
        let limits = TimeLimits::new(self.time);
        let (centred, centre) = sample.centred();
        let mut regression = self.fit_centred(&centred, centre, None, &limits, cancel)?;
        if self.loss == Loss::Huber {
            for _ in 0..HUBER_FITS {
                let pairs = centred.values().iter().zip(&regression.held_out_predictions);
                let residuals: Vec<f64> = pairs.map(|(v, p)| v + centre - p).collect();
                let factors = huber_weights(&residuals);
                regression = self.fit_centred(&centred, centre, Some(&factors), &limits, cancel)?;
            }
        }
        match self.of_single_positions().filter(|_| !regression.complete) {
            Some(simple) => Ok(regression.or_better(simple.fit_moderate(sample, cancel)?)),
            None => Ok(regression),
        }
    }

    /// Fits a sample whose values have mean 0 after `centre` was subtracted. `factors` multiply the weights of the rows
    /// in the fit, but not in R².
    fn fit_centred(
        &self,
        sample: &Sample,
        centre: f64,
        factors: Option<&[f64]>,
        limits: &TimeLimits,
        cancel: &Cancel,
    ) -> Result<Regression> {
        let space = sample.space();
        let distinct = sample.distinct(factors);
        let rows = distinct.values.len();
        if rows < FEWEST {
            return Err(Error::TooFew { got: rows, needed: FEWEST });
        }
        let dictionary = self.dictionary(space, rows);
        let supports = dictionary.list(space, rows, self.memory)?;
        let kinds = self.kinds(space, rows);
        RunAtoms::check(&kinds, space, rows, self.memory)?;
        let folds = random_folds(self.seed, 0..rows, rows);
        let data = Data { sample, distinct: &distinct, centre, limits };
        let usable = Usable { supports: &supports, screened: dictionary.screened, kinds: &kinds };
        let choice = self.choose(&data, usable, &folds, cancel)?;
        let n_atoms = dictionary.n_atoms(space.q(), space.n());
        let bins = in_bins(sample).filter(|_| choice.basis == Atoms::Characters && factors.is_none());
        // A fold holds out whole blocks of a design.
        let unit = bins.map_or(1, |observations| observations.design().block_len(0));
        let units = || (0..rows).map(|row| row / unit);
        let folds = random_folds(self.seed, units(), rows / unit);
        let half = random_half(self.seed, units(), rows / unit);
        let plan = FoldPlan::with_half_and_full(folds, half);
        let (supports, plan) = with_pairs(&data, &supports, dictionary.screened, plan, cancel)?;
        match bins {
            Some(observations) => {
                let operator = BinOperator::new(observations, supports, cancel)?;
                self.fit_operator(operator, &data, &choice, &plan, n_atoms, cancel)
            }
            None => {
                let operator = gather(&data, choice.basis, rows, supports);
                let operator = match choice.basis {
                    Atoms::Letters => operator.with_runs(&choice.kinds),
                    Atoms::Characters => operator,
                };
                let n_atoms = n_atoms + operator.n_runs() as u128;
                self.fit_operator(operator, &data, &choice, &plan, n_atoms, cancel)
            }
        }
    }

    fn check(&self) -> Result<()> {
        let bad = |name, expected, got: f64| Err(Error::Parameter { name, expected, got: got.to_string() });
        if let Some(lambda) = self.lambda.filter(|lambda| !(lambda.is_finite() && *lambda > 0.0)) {
            return bad("lambda", "finite and above 0", lambda);
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return bad("tolerance", "finite and above 0", self.tolerance);
        }
        let factors = self.penalty_factors.unwrap_or_default();
        let all = [Some(factors.pairs), Some(factors.higher), Some(factors.scattered), factors.growth];
        match all.into_iter().flatten().find(|factor| !(factor.is_finite() && *factor > 0.0)) {
            // The name of the parameter in Python.
            Some(factor) => bad("strengths", "finite and above 0", factor),
            None => Ok(()),
        }
    }

    /// Cross-validates and fits in the domain of an operator.
    fn fit_operator<O: Operator>(
        &self,
        mut operator: O,
        data: &Data<'_>,
        choice: &Choice,
        plan: &FoldPlan,
        n_atoms: u128,
        cancel: &Cancel,
    ) -> Result<Regression> {
        let sample = data.sample;
        let path = &data.limits.path;
        let (best, factors) = self.cross_validate(&mut operator, &choice.factors, plan, path, cancel)?;
        let (fit, gap) =
            final_fit(&operator, &best, &factors, plan.available_to_full(), self.tolerance, cancel)?;
        let surrogate = surrogate(&operator, sample.space(), choice.basis, &fit)?;
        let residuals: Vec<f64> = (0..plan.n_rows()).map(|row| fit.residual_at(row, 0)).collect();
        let held_out = HeldOut { residuals: &best.residuals, folds: plan.folds() };
        let held_out_predictions = data.predictions(&operator.to_sequences(&best.residuals));
        let fitted = data.predictions(&operator.to_sequences(&residuals));
        let values: Vec<f64> = sample.values().iter().map(|v| v + data.centre).collect();
        let r2 = Validation {
            fitted: &fitted,
            sampled_fraction: sample.sampled_fraction(),
            weights: sample.weights(),
            sequences: Some(&data.distinct.rows),
            gain: gain_of_data(&best, &residuals),
            ..Validation::new(&values, &held_out_predictions)
        }
        .r_squared()?;
        let errors: Vec<f64> = values.iter().zip(&held_out_predictions).map(|(v, p)| v - p).collect();
        let noise = root_mean_square(&errors, sample.weights());
        let dependent = sample.dependent_positions(cancel)?;
        let uncertainty = if dependent.is_empty() && !r2.is_undefined() {
            standard_errors::estimate(&operator, data, &surrogate, &fit, &held_out, cancel)?
        } else {
            None
        };
        Ok(Regression {
            uncertainty,
            surrogate: surrogate.shifted(data.centre),
            held_out_predictions,
            r2,
            basis: choice.basis,
            lambda: best.lambda,
            refit: best.refit,
            penalty_factors: factors,
            gap,
            noise,
            n_atoms,
            unseen: sample.unseen_symbols(),
            dependent,
            complete: data.limits.were_kept(),
        })
    }
}

/// The data of a fit.
struct Data<'a> {
    /// The sample, whose values have mean 0.
    sample: &'a Sample,
    /// Its distinct sequences.
    distinct: &'a Distinct,
    /// The mean that was subtracted from the values.
    centre: f64,
    limits: &'a TimeLimits,
}

impl Data<'_> {
    /// Predictions of the rows of the sample, from the residuals of the distinct sequences.
    fn predictions(&self, residuals: &[f64]) -> Vec<f64> {
        let prediction = |&row: &usize| self.distinct.values[row] - residuals[row] + self.centre;
        self.distinct.rows.iter().map(prediction).collect()
    }
}

/// Upper estimate of the fraction by which the error falls from the folds to the final fit, for two reasons. The error
/// falls steadily with more data: see [`LAST_SIXTH`]. Or the final fit finds a term that the folds do not find: then it
/// fits its own rows better than the folds fit theirs. If it is another fit altogether (see [`ANOTHER`]), then the folds
/// do not tell how good it is, and only the error on its own rows limits the gain.
fn gain_of_data(best: &Best, residuals: &[f64]) -> f64 {
    let (half, five_sixths) = best.half_errors;
    let steady = if half > five_sixths { 1.0 - (five_sixths / half).powf(LAST_SIXTH) } else { 0.0 };
    let final_error = residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len() as f64;
    let tested = if final_error < ANOTHER * best.training_error { best.error } else { best.training_error };
    let sudden = if final_error < tested { 1.0 - final_error / tested } else { 0.0 };
    steady.max(sudden)
}
