//! How long the parts of a regression may take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Atoms, Dictionary, PenaltyFactors, Regression, SparseRegression};

/// Fractions of the time after which the choice of penalty factors ends, and the path on all data. The rest is for the
/// fit to all data.
const CHOICE: f64 = 0.4;
const PATH: f64 = 0.8;

/// When a part of a regression ends.
#[derive(Debug, Default)]
pub(super) struct TimeLimit {
    end: Option<Instant>,
    reached: AtomicBool,
}

impl TimeLimit {
    fn new(time: Option<Duration>, fraction: f64) -> Self {
        // A time that no clock can reach is no limit.
        let end = time.and_then(|time| Instant::now().checked_add(time.mul_f64(fraction)));
        Self { end, ..Self::default() }
    }

    /// Whether the time is over. The next piece of work is then left out.
    pub(super) fn is_reached(&self) -> bool {
        let reached = self.end.is_some_and(|end| Instant::now() >= end);
        if reached {
            self.reached.store(true, Ordering::Relaxed);
        }
        reached
    }
}

/// The limits of the parts of a regression.
#[derive(Debug)]
pub(super) struct TimeLimits {
    /// Of the choice of basis, runs and penalty factors.
    pub(super) choice: TimeLimit,
    /// Of the path on all data.
    pub(super) path: TimeLimit,
}

impl TimeLimits {
    /// The limits of a regression that may take this time; `None` for no limits.
    pub(super) fn new(time: Option<Duration>) -> Self {
        Self { choice: TimeLimit::new(time, CHOICE), path: TimeLimit::new(time, PATH) }
    }

    /// Whether no work was left out.
    pub(super) fn were_kept(&self) -> bool {
        ![&self.choice, &self.path].iter().any(|limit| limit.reached.load(Ordering::Relaxed))
    }
}

impl SparseRegression {
    /// A regression of single positions, which takes little time: the path of one with many atoms can end before it has
    /// found the strongest. `None` if the caller has chosen atoms or penalties.
    pub(super) fn of_single_positions(&self) -> Option<Self> {
        let letters = self.basis != Some(Atoms::Characters);
        let chosen = self.dictionary.is_some() || self.relations.is_some() || self.penalty_factors.is_some();
        (letters && !chosen && self.lambda.is_none()).then(|| Self {
            dictionary: Some(Dictionary { orders: 1, ..Dictionary::default() }),
            relations: Some(Vec::new()),
            basis: Some(Atoms::Letters),
            penalty_factors: Some(PenaltyFactors { growth: None, ..PenaltyFactors::default() }),
            time: None,
            ..self.clone()
        })
    }
}

impl Regression {
    /// This regression, which ended early, or the other one if its R² is higher.
    pub(super) fn or_better(self, other: Self) -> Self {
        if other.r2.value > self.r2.value { Self { complete: false, ..other } } else { self }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::regress::{Sample, SparseRegression};
    use crate::{Cancel, SequenceSpace};

    #[test]
    fn a_limit_on_the_time_ends_the_path_early() {
        // The parity of all bits of a row is noise: four of them are in no symbol.
        let rows: Vec<u32> = (0..600).map(|i: u32| i.wrapping_mul(0x9E37_79B1) >> 12).collect();
        let codes: Vec<u8> =
            rows.iter().flat_map(|x| (0..8).map(move |i| (x >> (2 * i) & 3) as u8)).collect();
        let value = |(x, row): (&[u8], &u32)| {
            f64::from(x[2] == 1) + 0.5 * f64::from(x[3] == x[5]) + 0.3 * f64::from(row.count_ones() % 2)
        };
        let values = codes.chunks(8).zip(&rows).map(value).collect();
        let sample = Sample::new(SequenceSpace::new("ACGT", 8).unwrap(), codes, values).unwrap();
        let fit = |time| {
            let regression = SparseRegression { time, ..SparseRegression::default() };
            regression.fit(&sample, &Cancel::new()).unwrap()
        };
        let (all, long, short) = (fit(None), fit(Some(Duration::MAX)), fit(Some(Duration::ZERO)));
        assert!(all.complete && long.complete && !short.complete);
        assert_eq!((all.lambda, all.held_out_predictions), (long.lambda, long.held_out_predictions));
        // It ends at the optimum for a penalty, and is as good as a regression of single positions.
        assert!(short.gap.abs() < 1e-4, "{}", short.gap);
        let dictionary = Some(Dictionary { orders: 1, ..Dictionary::default() });
        let penalty_factors = Some(PenaltyFactors { growth: None, ..PenaltyFactors::default() });
        let single = SparseRegression { dictionary, penalty_factors, ..SparseRegression::default() };
        let single = single.fit(&sample, &Cancel::new()).unwrap();
        assert!(single.r2.value > 0.3, "{:?}", single.r2);
        assert!(
            single.r2.value <= short.r2.value && short.r2.value < all.r2.value,
            "{:?} {:?}",
            short.r2,
            all.r2
        );
        // What the caller has chosen is not changed: it ends after the first step.
        let dictionary = Some(Dictionary { orders: 2, ..Dictionary::default() });
        let chosen =
            SparseRegression { dictionary, time: Some(Duration::ZERO), ..SparseRegression::default() };
        let chosen = chosen.fit(&sample, &Cancel::new()).unwrap();
        assert!(
            !chosen.complete && chosen.lambda > all.lambda && chosen.r2.value < single.r2.value,
            "{:?}",
            chosen.r2
        );
        assert!(short.uncertainty.is_some());
    }
}
