//! Truncation: smaller spectra and shorter sums of components.

use std::cmp::Reverse;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::Spectrum;
use super::centred::{CentredSum, Table};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frequency::Frequency;

/// What [`Spectrum::truncate`] keeps; conjugate pairs stay together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truncation {
    /// At most this many coefficients, the largest ones; the constant counts as one.
    pub max_terms: Option<usize>,
    /// Orders up to this one.
    pub max_order: Option<usize>,
    /// The smallest number of coefficients with this fraction (0 to 1) of the energy of all but the constant.
    pub energy: Option<f64>,
}

/// What a sum of components keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keep {
    /// Fraction of the variance that may be dropped to have fewer components, 0 to 1.
    pub dropped: f64,
    /// Largest number of terms; `None` for no limit.
    pub max_terms: Option<usize>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { dropped: 1e-3, max_terms: None }
    }
}

impl Spectrum {
    /// A smaller spectrum.
    ///
    /// # Errors
    /// If `energy` is not 0 to 1, or the caller cancels.
    pub fn truncate(&self, keep: Truncation, cancel: &Cancel) -> Result<Self> {
        if let Some(energy) = keep.energy.filter(|e| !(0.0..=1.0).contains(e)) {
            return Err(Error::Parameter {
                name: "energy",
                expected: "a fraction from 0 to 1",
                got: energy.to_string(),
            });
        }
        let half = self.representatives();
        let energy = |(k, value): &(Frequency, Complex64)| {
            if k.order() == 0 { 0.0 } else { self.multiplicity(k) as f64 * value.norm_sqr() }
        };
        let max_order = keep.max_order.unwrap_or(usize::MAX);
        // The constant comes first, then the other coefficients by energy; ties in the canonical order. The bits of
        // nonnegative numbers have the order of the numbers.
        let mut order: Vec<(Reverse<u64>, usize)> = half
            .iter()
            .enumerate()
            .filter(|(_, (k, _))| k.order() <= max_order)
            .map(|(index, (k, value))| {
                let size = if k.order() == 0 { f64::INFINITY } else { value.norm_sqr() };
                (Reverse(size.to_bits()), index)
            })
            .collect();
        cancel.sort(&mut order)?;
        let target =
            keep.energy.map_or(f64::INFINITY, |fraction| fraction * half.iter().map(energy).sum::<f64>());
        let (mut terms, mut held) = (0, 0.0);
        let mut kept = vec![false; half.len()];
        for (_, index) in order {
            let term = &half[index];
            terms += self.multiplicity(&term.0);
            if terms > keep.max_terms.unwrap_or(usize::MAX) || (term.0.order() > 0 && held >= target) {
                break;
            }
            held += energy(term);
            kept[index] = true;
        }
        let kept = half.iter().zip(kept).filter(|(_, kept)| *kept).map(|(term, _)| term.clone()).collect();
        Ok(Self::from_representatives(self.space().clone(), kept))
    }
}

impl CentredSum {
    /// Drops the weakest components, as many as `keep` allows, and terms with runs only for `max_terms`: their variances
    /// do not add up.
    pub(crate) fn keep(&mut self, keep: Keep) {
        let q = self.space.q();
        let listed: Vec<(&Vec<u16>, &Table)> = self.tables.iter().collect();
        let weigh = |(support, table): &(&Vec<u16>, &Table)| {
            (table.variance(q, support.len()), table.terms(q, support.len()).max(1))
        };
        let mut weights: Vec<(f64, usize)> = listed.par_iter().map(weigh).collect();
        let total: f64 = weights.iter().map(|(variance, _)| variance).sum();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| weights[a].0.total_cmp(&weights[b].0));
        let mut kept = vec![true; weights.len() + self.runs.len()];
        let mut dropped = 0.0;
        for &index in &order {
            dropped += weights[index].0;
            if dropped > keep.dropped * total {
                break;
            }
            kept[index] = false;
        }
        if let Some(most) = keep.max_terms {
            order.extend(weights.len()..kept.len());
            weights.extend(self.runs.variances(q).into_iter().map(|variance| (variance, 1)));
            let worth = |index: usize| weights[index].0 / weights[index].1 as f64;
            order.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)));
            // The constant is a term.
            let mut terms = 1;
            for index in order {
                if kept[index] {
                    terms += weights[index].1;
                    kept[index] = terms <= most;
                    if !kept[index] {
                        terms -= weights[index].1;
                    }
                }
            }
        }
        let mut kept = kept.into_iter();
        self.tables.retain(|_, _| kept.next().unwrap_or(true));
        self.runs.terms.retain(|_| kept.next().unwrap_or(true));
    }
}
