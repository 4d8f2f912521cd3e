//! How well a surrogate predicts: R² on held-out values, with a confidence interval.
//!
//! # The interval
//!
//! Let `θ = Σe / Σs`, with the squared errors `e` and the squared deviations `s` of the values from their mean, so that
//! `R² = 1 - θ`. The variance of `log θ` follows from the differences `e/Σe - s/Σs` of the sequences (delta method).
//! Four things make an interval from that variance too narrow, and one too wide:
//!
//! - *Heavy tails.* If few sequences carry the variance, the variance of `log θ` is itself uncertain. The quantile is
//!   therefore that of Student's distribution, whose degrees of freedom are the effective number of sequences that carry
//!   the variance of `log θ` (Satterthwaite's approximation) or `Σs`, whichever is smaller, less one. With one such
//!   sequence nothing is known.
//! - *Selection.* The values that test a fit also choose its penalty or its method, and folds share training rows (Bates,
//!   Hastie and Tibshirani 2024). The standard error is multiplied by 1.4.
//! - *What was not seen.* An event of probability `p` is absent from `N` sequences with probability `(1-p)^N`, so a feature
//!   in fewer than `3/N` of all sequences can be absent (the rule of three). The upper limit of `θ` is at least the share
//!   that three further sequences would have, each as far from the mean as the farthest one that was seen, and
//!   predicted by the mean. The farthest one may be among the sequences that the fit learned from
//!   ([`Validation::farthest`]). A rare feature with a larger effect than any value seen remains invisible.
//! - *Nearly perfect fits.* If few sequences carry the error, but many the variance, the quantile is large. But by the same
//!   rule at most `3/N` of all sequences have a larger error than the largest one that was seen. The upper limit of `θ` is
//!   therefore at most the share that all sequences would have with the largest error, plus that of the three further
//!   sequences.
//! - *More data.* The final fit learns from more values than the fit that was tested. [`Validation::gain`] raises the upper
//!   end.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::error::{Error, Result};

/// Magnitudes of values that can be squared and summed without loss.
const SIZES: std::ops::RangeInclusive<f64> = 1e-120..=1e120;
/// Probability below the upper end of a two-sided 95 % interval.
const UPPER: f64 = 0.975;
/// Factor of the standard error of `log θ`, for selection and for folds that share training rows.
const INFLATION: f64 = 1.4;
/// Number of sequences of an event that can be absent by chance (95 %).
pub(crate) const UNSEEN: f64 = 3.0;
/// Errors below this fraction of the variance are errors of the solver, so the final fit can be exact.
pub(crate) const PRECISE: f64 = 1e-4;
/// Values that differ by at most this multiple of their largest magnitude differ by rounding only.
pub(crate) const ROUNDING: f64 = 64.0 * f64::EPSILON;
/// Below this number of effective sequences R² depends on few of them.
pub const FEW: f64 = 10.0;

/// The coefficient of determination `R² = 1 - Σ(y-ŷ)² / Σ(y-ȳ)²` and its 95 % interval.
///
/// If the values do not differ, R² is undefined: `value` is NaN, and the interval is from `-∞` to 1.
#[derive(Clone, Copy, Debug)]
pub struct RSquared {
    /// R², at most 1; 0 is as good as the mean of the values, negative is worse. NaN if the values do not differ.
    pub value: f64,
    /// Lower end of the interval; `-∞` if the values do not tell.
    pub low: f64,
    /// Upper end of the interval, at most 1.
    pub high: f64,
    /// Number of sequences with a value.
    pub count: usize,
    /// Effective number of sequences that carry the variance of the values or of the interval, from 1 to `count`. Below [`FEW`], R² depends
    /// on few sequences; see [`RSquared::is_carried_by_few`]. NaN if it is unknown.
    pub n_effective: f64,
}

impl PartialEq for RSquared {
    /// An undefined R² equals another undefined one.
    fn eq(&self, other: &Self) -> bool {
        let numbers = |r2: &Self| [r2.value, r2.low, r2.high, r2.n_effective];
        let same = |(a, b): (f64, f64)| a == b || (a.is_nan() && b.is_nan());
        self.count == other.count && numbers(self).into_iter().zip(numbers(other)).all(same)
    }
}

impl RSquared {
    /// R² of predictions against true values.
    ///
    /// # Errors
    /// If there are fewer than two values, not as many predictions, or a number is not finite.
    ///
    /// ```
    /// use shapsketch::validation::RSquared;
    /// let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
    /// let predictions: Vec<f64> = values.iter().enumerate().map(|(i, y)| y + 0.5 * (i as f64).sin()).collect();
    /// let r2 = RSquared::new(&values, &predictions)?;
    /// assert!((r2.value - 0.985).abs() < 0.001);
    /// assert!(r2.low < r2.value && r2.value < r2.high && r2.high <= 1.0);
    /// // No variance, no R².
    /// let constant = RSquared::new(&[3.0; 100], &[3.0; 100])?;
    /// assert!(constant.value.is_nan() && constant.low == f64::NEG_INFINITY && constant.high == 1.0);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn new(values: &[f64], predictions: &[f64]) -> Result<Self> {
        Validation::new(values, predictions).r_squared()
    }

    /// R² over a space of which every sequence has a value: there is no uncertainty. A surrogate that equals a constant
    /// model up to rounding has R² 1.
    ///
    /// # Errors
    /// As for [`RSquared::new`].
    pub fn of_all(values: &[f64], predictions: &[f64]) -> Result<Self> {
        let validation = Validation { sampled_fraction: 1.0, ..Validation::new(values, predictions) };
        let r2 = validation.r_squared()?;
        let largest = values.iter().map(|v| v.abs()).fold(0.0, f64::max);
        let error = values.iter().zip(predictions).map(|(v, p)| (v - p).abs()).fold(0.0, f64::max);
        let exact = r2.is_undefined() && error <= ROUNDING * largest;
        Ok(if exact { Self { value: 1.0, low: 1.0, ..r2 } } else { r2 })
    }

    /// R² of values that do not differ.
    #[must_use]
    pub fn undefined(count: usize) -> Self {
        Self { value: f64::NAN, low: f64::NEG_INFINITY, high: 1.0, count, n_effective: f64::NAN }
    }

    /// Whether the values do not differ.
    #[must_use]
    pub fn is_undefined(&self) -> bool {
        self.value.is_nan()
    }

    /// Whether few sequences carry the variance, so that R² depends on them.
    #[must_use]
    pub fn is_carried_by_few(&self) -> bool {
        self.n_effective < FEW
    }
}

/// Held-out values and predictions, from which R² is computed.
#[derive(Clone, Copy, Debug)]
pub struct Validation<'a> {
    /// Values, one for each row.
    pub values: &'a [f64],
    /// Predictions by a fit that did not use them.
    pub predictions: &'a [f64],
    /// Predictions of the same rows by the final fit, which may have used them.
    pub fitted: &'a [f64],
    /// Fraction of a finite space to which the final fit was fitted, if values have no noise. R² uses `fitted` for this
    /// fraction of the space, and `predictions` for the rest.
    pub sampled_fraction: f64,
    /// Weight of each row; `None` for equal weights.
    pub weights: Option<&'a [f64]>,
    /// Number of the sequence of each row, from 0 without gaps. Rows of one sequence are not independent. `None` if no
    /// sequence has several rows.
    pub sequences: Option<&'a [usize]>,
    /// Largest relative decrease of `1 - R²` from the tested fit to the final fit, which learns from more data.
    pub gain: f64,
    /// Share of the squared deviations of all values from their mean, those that the fit learned from included, that the
    /// farthest sequence has; see [`farthest_share`]. 0 if there are no other values.
    pub farthest: f64,
}

impl<'a> Validation<'a> {
    /// Predictions of values by a final fit that did not use them.
    #[must_use]
    pub fn new(values: &'a [f64], predictions: &'a [f64]) -> Self {
        let (sampled_fraction, gain, farthest) = (0.0, 0.0, 0.0);
        Self {
            values,
            predictions,
            fitted: predictions,
            sampled_fraction,
            weights: None,
            sequences: None,
            gain,
            farthest,
        }
    }

    /// R² and its interval.
    ///
    /// # Errors
    /// As for [`RSquared::new`].
    pub fn r_squared(&self) -> Result<RSquared> {
        self.check()?;
        let (errors, spreads, of_final_fit) = self.sums();
        let count = errors.len();
        let (error, spread) = (errors.iter().sum::<f64>(), spreads.iter().sum::<f64>());
        if !vary(self.values) {
            return Ok(RSquared::undefined(count));
        }
        let rest = 1.0 - self.sampled_fraction;
        let ratio = error / spread;
        let differences: Vec<f64> = errors
            .iter()
            .zip(&spreads)
            .map(|(e, s)| (if error > 0.0 { e / error } else { 0.0 } - s / spread).powi(2))
            .collect();
        let variance = differences.iter().sum::<f64>();
        // (Σs)² / Σs² is at most the reciprocal of the largest squared share.
        let of_all = self.farthest.powi(-2);
        let of_values = effective_number(&spreads).min(of_all).max(1.0);
        let n_effective = effective_number(&differences).min(of_values).max(1.0);
        // The mean itself is estimated. For a constant fit, this is the only uncertainty.
        let of_mean = UNSEEN / count as f64;
        let standard_error = (rest * (INFLATION.powi(2) * variance + of_mean.powi(2))).sqrt();
        let half_width = if standard_error > 0.0 { student(n_effective - 1.0) * standard_error } else { 0.0 };
        let farthest = spreads.iter().copied().fold(0.0, f64::max) / spread;
        let unseen = (UNSEEN * farthest.max(self.farthest) * rest).min(1.0);
        // Not 0 · ∞.
        let upper = if ratio > 0.0 { ratio * half_width.exp() } else { 0.0 };
        // All other sequences have at most the largest error.
        let largest = errors.iter().copied().fold(0.0, f64::max) * count as f64 / spread + unseen;
        let is_bounded = largest < upper && of_values >= FEW;
        let (upper, n_effective) = if is_bounded { (largest, of_values) } else { (upper, n_effective) };
        let lower = ratio * (-half_width).exp() * (1.0 - self.gain.clamp(0.0, 1.0) * (1.0 - of_final_fit));
        let precise = ratio <= PRECISE && rest > 0.0;
        Ok(RSquared {
            value: 1.0 - ratio,
            low: 1.0 - upper.max(unseen),
            high: if precise { 1.0 } else { 1.0 - lower },
            count,
            n_effective,
        })
    }

    fn check(&self) -> Result<()> {
        let count = self.values.len();
        if count < 2 {
            return Err(Error::Parameter {
                name: "values",
                expected: "at least two numbers",
                got: count.to_string(),
            });
        }
        check_values("true value", self.values, count)?;
        for predictions in [self.predictions, self.fitted] {
            if predictions.len() != count {
                return Err(Error::ValueCount {
                    what: "prediction",
                    got: predictions.len(),
                    expected: count,
                });
            }
            if let Some(index) = predictions.iter().position(|p| !p.is_finite()) {
                return Err(Error::NotFinite { what: "prediction", index, value: predictions[index] });
            }
        }
        Ok(())
    }

    /// Squared errors, and squared deviations of the values from their mean: for each sequence the weighted sum over its
    /// rows. And the share of the sum of all errors that the final fit makes on its own rows, which no gain decreases.
    fn sums(&self) -> (Vec<f64>, Vec<f64>, f64) {
        let rows = self.values.len();
        let count = self.sequences.map_or(rows, |numbers| numbers.iter().max().map_or(0, |last| last + 1));
        let weight = |row: usize| self.weights.map_or(1.0, |weights| weights[row]);
        let centre = mean(self.values, self.weights);
        let fraction = self.sampled_fraction;
        let (mut errors, mut spreads) = (vec![0.0; count], vec![0.0; count]);
        let mut of_final_fit = 0.0;
        for row in 0..rows {
            let sequence = self.sequences.map_or(row, |numbers| numbers[row]);
            let error = |prediction: f64| (self.values[row] - prediction).powi(2);
            let fitted = weight(row) * fraction * error(self.fitted[row]);
            errors[sequence] += weight(row) * (1.0 - fraction) * error(self.predictions[row]) + fitted;
            of_final_fit += fitted;
            spreads[sequence] += weight(row) * (self.values[row] - centre).powi(2);
        }
        let error: f64 = errors.iter().sum();
        (errors, spreads, if error > 0.0 { of_final_fit / error } else { 0.0 })
    }
}

/// Share of the squared deviations of values from their mean that the sequence with the largest one has; 0 if the values
/// do not differ. `weights` and `sequences` are those of [`Validation`].
#[must_use]
pub fn farthest_share(values: &[f64], weights: Option<&[f64]>, sequences: Option<&[usize]>) -> f64 {
    let (_, spreads, _) = Validation { weights, sequences, ..Validation::new(values, values) }.sums();
    if !vary(values) {
        return 0.0;
    }
    spreads.iter().copied().fold(0.0, f64::max) / spreads.iter().sum::<f64>()
}

/// Weighted mean. The first value is subtracted first, so that a large common offset loses no digits.
pub(crate) fn mean(values: &[f64], weights: Option<&[f64]>) -> f64 {
    let Some(&first) = values.first() else { return 0.0 };
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let total: f64 = (0..values.len()).map(weight).sum();
    first + values.iter().enumerate().map(|(row, v)| weight(row) * (v - first)).sum::<f64>() / total
}

/// Weighted root mean square.
pub(crate) fn root_mean_square(numbers: &[f64], weights: Option<&[f64]>) -> f64 {
    let squares: Vec<f64> = numbers.iter().map(|number| number * number).collect();
    mean(&squares, weights).sqrt()
}

/// Whether values differ by more than rounding.
pub(crate) fn vary(values: &[f64]) -> bool {
    let (low, high) = range(values);
    high - low > ROUNDING * low.abs().max(high.abs())
}

/// `(Σx)² / Σx²`: the number of equal entries that would give the same ratio; the number of entries if all are 0.
fn effective_number(entries: &[f64]) -> f64 {
    let squares = entries.iter().map(|x| x * x).sum::<f64>();
    if squares > 0.0 { entries.iter().sum::<f64>().powi(2) / squares } else { entries.len() as f64 }
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// Upper quantile of Student's distribution; infinite below half a degree of freedom, where a variance is not known.
fn student(freedom: f64) -> f64 {
    if freedom < 0.5 {
        return f64::INFINITY;
    }
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |student| student.inverse_cdf(UPPER))
}

/// # Errors
/// If there are not `expected` values, one is not finite, or they are so large or small that their squares would
/// overflow or vanish.
pub(crate) fn check_values(what: &'static str, values: &[f64], expected: usize) -> Result<()> {
    check_finite(what, values, expected)?;
    let largest = values.iter().map(|v| v.abs()).fold(0.0, f64::max);
    if largest == 0.0 || SIZES.contains(&largest) { Ok(()) } else { Err(Error::Scale { what, largest }) }
}

/// # Errors
/// If there are not `expected` values, or one is not finite.
pub(crate) fn check_finite(what: &'static str, values: &[f64], expected: usize) -> Result<()> {
    if values.len() != expected {
        return Err(Error::ValueCount { what, got: values.len(), expected });
    }
    if let Some(index) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::NotFinite { what, index, value: values[index] });
    }
    Ok(())
}

/// # Errors
/// If values differ, but by no more than rounding: then a large common offset hides the signal.
pub(crate) fn check_signal(what: &'static str, values: &[f64]) -> Result<()> {
    let (low, high) = range(values);
    if low < high && !vary(values) {
        return Err(Error::SignalLost { what, low, high });
    }
    Ok(())
}
