//! How long the parts of a regression may take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
        // It ends after the first step, at the optimum for the penalty of that step.
        assert!(short.lambda > all.lambda && short.gap.abs() < 1e-4, "{} {}", short.lambda, short.gap);
        assert!(0.0 < short.r2.value && short.r2.value < all.r2.value, "{:?} {:?}", short.r2, all.r2);
        assert!(short.uncertainty.is_some());
    }
}
