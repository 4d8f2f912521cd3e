//! Monotone curves from one scale to another.

use crate::error::{Error, Result};

/// A monotone curve: linear between knots, and beyond them as in the first and the last interval.
///
/// ```
/// use shapsketch::predictor::Curve;
/// let curve = Curve::new(vec![0.0, 1.0, 3.0], vec![0.0, 4.0, 5.0])?;
/// assert_eq!([-1.0, 0.5, 2.0, 5.0].map(|x| curve.at(x)), [-4.0, 2.0, 4.5, 6.0]);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    knots: Vec<f64>,
    values: Vec<f64>,
}

impl Curve {
    /// The curve through these points.
    ///
    /// # Errors
    /// If there are fewer than two points, a number is not finite, the knots do not ascend, or the values descend.
    pub fn new(knots: Vec<f64>, values: Vec<f64>) -> Result<Self> {
        let bad = |expected, got| Err(Error::Parameter { name: "curve", expected, got });
        if knots.len() < 2 || knots.len() != values.len() {
            return bad(
                "of at least two points",
                format!("{} knots and {} values", knots.len(), values.len()),
            );
        }
        if let Some(number) = knots.iter().chain(&values).find(|number| !number.is_finite()) {
            return bad("of finite numbers", number.to_string());
        }
        if let Some(pair) = knots.windows(2).find(|pair| pair[0] >= pair[1]) {
            return bad("of ascending knots", format!("{} after {}", pair[1], pair[0]));
        }
        if let Some(pair) = values.windows(2).find(|pair| pair[0] > pair[1]) {
            return bad("of values that do not descend", format!("{} after {}", pair[1], pair[0]));
        }
        Ok(Self { knots, values })
    }

    /// The same curve, if its values ascend.
    ///
    /// # Errors
    /// If two of them are equal: then the curve has no inverse.
    pub fn ascending(self) -> Result<Self> {
        match self.values.windows(2).find(|pair| pair[0] >= pair[1]) {
            None => Ok(self),
            Some(pair) => Err(Error::Parameter {
                name: "curve",
                expected: "of ascending values",
                got: format!("{} after {}", pair[1], pair[0]),
            }),
        }
    }

    /// Positions of the points.
    #[must_use]
    pub fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// Values at the points.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The value of the curve.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        let last = self.knots.len() - 2;
        let left = self.knots.partition_point(|&knot| knot <= x).saturating_sub(1).min(last);
        let (x0, x1) = (self.knots[left], self.knots[left + 1]);
        let (y0, y1) = (self.values[left], self.values[left + 1]);
        y0 + (y1 - y0) * ((x - x0) / (x1 - x0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_curve_goes_through_its_points_and_does_not_descend(
            steps in prop::collection::vec((0.01..2.0_f64, 0.0..3.0_f64), 2..9),
            x in -20.0..20.0_f64,
            step in 0.0..5.0_f64,
        ) {
            let sums = |pick: fn(&(f64, f64)) -> f64| -> Vec<f64> {
                steps.iter().scan(0.0, |sum, step| { *sum += pick(step); Some(*sum) }).collect()
            };
            let (knots, values) = (sums(|step| step.0), sums(|step| step.1));
            let curve = Curve::new(knots.clone(), values.clone()).unwrap();
            for (knot, value) in knots.iter().zip(&values) {
                prop_assert!((curve.at(*knot) - value).abs() < 1e-9);
            }
            prop_assert!(curve.at(x + step) >= curve.at(x) - 1e-9);
        }
    }

    #[test]
    fn curves_that_are_not_monotone_are_refused() {
        let message = |knots: &[f64], values: &[f64]| {
            Curve::new(knots.to_vec(), values.to_vec()).unwrap_err().to_string()
        };
        assert!(message(&[0.0], &[1.0]).contains("two points"));
        assert!(message(&[0.0, 1.0], &[1.0]).contains("2 knots and 1 values"));
        assert!(message(&[0.0, 0.0], &[1.0, 2.0]).contains("ascending knots"));
        assert!(message(&[0.0, 1.0], &[2.0, 1.0]).contains("1 after 2"));
        assert!(message(&[0.0, f64::NAN], &[1.0, 2.0]).contains("NaN"));
        let flat = Curve::new(vec![0.0, 1.0], vec![2.0, 2.0]).unwrap();
        assert!(flat.ascending().unwrap_err().to_string().contains("ascending values, got 2 after 2"));
    }
}
