//! Which strengths: a search by cross-validation on part of the data.

use std::collections::HashMap;

use rayon::prelude::*;

use super::growth::Index;
use super::path::{Config, DENSEST, Growing, follow};
use super::penalty::Strengths;
use crate::cancel::Cancel;
use crate::error::Result;

/// A change must lower the error by this part to count.
const GAIN: f64 = 5e-4;
/// Factor of a step, and how far a strength may go.
const STEP: f64 = 2.0;
const FINE: f64 = 1.5;
const LIMIT: f64 = 20.0;

/// Climbs from the usual strengths, one at a time, up or down, as long as the validated error falls.
/// Returns the strengths and their error.
pub(crate) fn search<O: Growing + Clone + Send>(
    operator: &O,
    index: &Index,
    folds: &[u8],
    cancel: &Cancel,
) -> Result<(Strengths, f64)> {
    let mut tried: HashMap<[u64; 4], f64> = HashMap::new();
    let key = |s: &Strengths| [s.pairs, s.higher, s.scattered, s.growth.unwrap_or(0.0)].map(f64::to_bits);
    let half = vec![false; folds.len()];
    let mut evaluate = |wanted: &[Strengths]| -> Result<Vec<f64>> {
        let fresh: Vec<Strengths> = wanted.iter().filter(|s| !tried.contains_key(&key(s))).copied().collect();
        let errors: Vec<f64> = fresh
            .par_iter()
            .map(|&strengths| {
                let config =
                    Config { strengths, complete: false, refit: false, densest: DENSEST, lambda: None };
                follow(&mut operator.clone(), &mut index.clone(), folds, &half, &config, cancel)
                    .map(|best| best.interpolated)
            })
            .collect::<Result<_>>()?;
        tried.extend(fresh.iter().map(key).zip(errors));
        Ok(wanted.iter().map(|s| tried[&key(s)]).collect())
    };
    let start = Strengths { growth: None, ..Strengths::default() };
    let mut best = (start, evaluate(&[start])?[0]);
    let orders = operator.supports().iter().map(Vec::len).max().unwrap_or(1);
    let contiguous = |s: &Vec<u16>| s.windows(2).all(|w| w[1] == w[0] + 1);
    let long = || operator.supports().iter().filter(|s| s.len() > 1);
    let mixed = long().any(contiguous) && !long().all(contiguous);
    type Knob = fn(&mut Strengths) -> &mut f64;
    let knobs: [(bool, Knob, f64); 5] = [
        (mixed, |s| &mut s.scattered, STEP),
        (orders > 1, |s| &mut s.pairs, STEP),
        (orders > 2, |s| &mut s.higher, FINE),
        (orders > 1, |s| &mut s.pairs, FINE),
        (mixed, |s| &mut s.scattered, FINE),
    ];
    for (_, knob, factor) in knobs.into_iter().filter(|(applies, ..)| *applies) {
        let moved = |from: &Strengths, factor: f64| {
            let mut next = *from;
            *knob(&mut next) *= factor;
            next
        };
        let pair = [moved(&best.0, factor), moved(&best.0, 1.0 / factor)];
        let errors = evaluate(&pair)?;
        let better = usize::from(errors[1] < errors[0]);
        if errors[better] >= best.1 * (1.0 - GAIN) {
            continue;
        }
        best = (pair[better], errors[better]);
        let onward = if better == 0 { factor } else { 1.0 / factor };
        loop {
            let mut next = moved(&best.0, onward);
            if !(1.0 / LIMIT..=LIMIT).contains(knob(&mut next)) {
                break;
            }
            let error = evaluate(&[next])?[0];
            if error >= best.1 * (1.0 - GAIN) {
                break;
            }
            best = (next, error);
        }
    }
    Ok(best)
}
