//! Which provenance is possible. A file with an impossible one is damaged or forged.

use super::provenance::{Candidate, Link, Method, Outcome, RegressionInfo, SketchInfo};
use crate::space::SequenceSpace;
use crate::surrogate::Surrogate;
use crate::validation::RSquared;

/// How far R² may lie outside its interval by rounding.
const ROUNDING: f64 = 1e-9;

/// Why something is impossible.
type Impossible = Result<(), String>;

/// An error with this message if the condition does not hold.
fn require(condition: bool, message: impl FnOnce() -> String) -> Impossible {
    if condition { Ok(()) } else { Err(message()) }
}

/// R² lies in its interval, and nothing is above 1. R² is NaN if the values had no variance; then its interval is
/// (-∞, 1].
pub(super) fn check_r2(what: &str, r2: &RSquared) -> Impossible {
    let RSquared { value, low, high, .. } = *r2;
    let defined = value.is_finite() && low <= value + ROUNDING && value <= high + ROUNDING && high <= 1.0;
    let undefined = value.is_nan() && low == f64::NEG_INFINITY && high == 1.0;
    require(defined || undefined, || {
        format!("{what} {value} with the interval {low} to {high} is impossible")
    })
}

/// The provenance of a surrogate is possible.
pub(super) fn check(info: &SketchInfo, surrogate: &Surrogate, has_standard_errors: bool) -> Impossible {
    let space = surrogate.space();
    check_r2("R²", &info.r2)?;
    info.link.response_r2.iter().try_for_each(|r2| check_r2("R² on the scale of the model", r2))?;
    let undefined = info.r2.value.is_nan();
    require(info.link.curve.is_none() || info.link.name == Link::MONOTONE, || {
        format!("the link {:?} has a curve", info.link.name)
    })?;
    for (name, value) in [("noise", info.noise), ("unexplained", info.unexplained)] {
        let possible = (value.is_finite() && value >= 0.0) || (undefined && value.is_nan());
        require(possible, || format!("{name} must be at least 0, got {value}"))?;
    }
    let status = &info.provenance.status;
    if let Some(all) = status.all_terms {
        require(all.r2 <= 1.0 || all.r2.is_nan(), || format!("R² {} of all terms is above 1", all.r2))?;
    }
    for Candidate { name, r2, weight, .. } in &info.provenance.candidates {
        require(*r2 <= 1.0 || r2.is_nan(), || format!("R² {r2} of the candidate {name:?} is above 1"))?;
        require(weight.is_finite() && *weight >= 0.0, || {
            format!("the candidate {name:?} has the weight {weight}")
        })?;
    }
    let method = info.provenance.method;
    if method == Method::Exact {
        let complete = space.size() == Some(info.provenance.n_queries as u128);
        let spectrum = matches!(surrogate, Surrogate::Spectrum(_)) && !has_standard_errors;
        require(complete && spectrum, || {
            "method 'exact' needs the spectrum of all sequences, without standard errors".into()
        })?;
    }
    let can_be_exact = matches!(method, Method::Exact | Method::Converted);
    require(status.outcome != Outcome::Exact || can_be_exact, || {
        format!("outcome 'exact' is impossible for the method {:?}", method.name())
    })?;
    require(info.regression.is_none() || method == Method::Regress, || {
        format!("details of a regression are impossible for the method {:?}", method.name())
    })?;
    info.regression.iter().try_for_each(|details| check_regression(details, space))
}

fn check_regression(details: &RegressionInfo, space: &SequenceSpace) -> Impossible {
    let factors = &details.penalty_factors;
    let numbers = [
        ("penalty", details.lambda),
        ("refit", Some(details.refit)),
        ("penalty factor of pairs", Some(factors.pairs)),
        ("penalty factor of higher orders", Some(factors.higher)),
        ("penalty factor of scattered supports", Some(factors.scattered)),
        ("penalty factor of growth", factors.growth),
        ("penalty factor of runs", factors.runs),
    ];
    for (name, value) in numbers {
        let possible = value.is_none_or(|value| value.is_finite() && value >= 0.0);
        require(possible, || format!("the {name} of a regression must be at least 0, got {value:?}"))?;
    }
    let unseen = |&(position, symbol): &(usize, u8)| position < space.n() && usize::from(symbol) < space.q();
    require(details.unseen.iter().all(unseen), || {
        format!("unseen symbols {:?} are not all in the space", details.unseen)
    })
}
