//! Components `a_x(S) = f_S(x_S)` of a sum of product terms, and what follows from them.
//!
//! With `z_i = g(l_i, x_i)` and `u_i = E g(l_i, X_i)`, a term `c Π_{i∈T} g(l_i, ·)` has the components
//! `a_x(S) = c Π_{i∈S} (z_i - u_i) Π_{i∈T∖S} u_i` for `S ⊆ T`. Characters have `u = 0`: only `S = T`
//! is left.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::{ProductTerms, SupportTerms};

/// Sequences explained by one task.
const ROWS: usize = 256;
/// Tables up to this many entries are always made.
const SMALL_TABLE: usize = 512;
/// Larger tables are made where they have at most this many entries for each term they replace: a
/// look-up then beats the sum, at a few times the memory.
const ENTRIES_PER_TERM: usize = 8;
/// Longest term with uncentred factors: it has components on `2^MAX_SPREAD` subsets.
const MAX_SPREAD: usize = 20;

/// The components of a surrogate under the uniform background, compiled for evaluation.
///
/// ```
/// use shapsketch::{Cancel, Components, Frequency, SequenceSpace, Spectrum};
/// # use rustfft::num_complex::Complex64;
/// let space = SequenceSpace::new("01", 2)?;
/// let terms = [([0, 0], 1.0), ([1, 0], 0.5), ([1, 1], 0.25)]
///     .map(|(k, value)| (Frequency::from_dense(&k), Complex64::new(value, 0.0)));
/// let components = Components::new(&Spectrum::new(space, terms.to_vec())?.terms())?;
/// let cancel = Cancel::new();
/// assert_eq!(components.base_value(), 1.0);
/// assert_eq!(components.shapley_values(&[0, 1], &cancel)?, [0.5 - 0.125, -0.125]);
/// assert_eq!(components.predict(&[0, 1], &cancel)?, [1.25]);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Components {
    space: SequenceSpace,
    base_value: f64,
    supports: Vec<Vec<u16>>,
    evaluators: Vec<Evaluator>,
    /// Entries of all tables.
    tables: Vec<f64>,
    /// Factors less their means, row `l`.
    centred: Vec<Complex64>,
}

#[derive(Clone, Debug)]
enum Evaluator {
    /// `f_S` for every `x_S`, the first position most significant, from this offset on.
    Table(usize),
    /// The terms themselves.
    Terms(SupportTerms),
}

impl Components {
    /// Compiles the components of a sum of product terms.
    ///
    /// # Errors
    /// If a term is not one of its space, a coefficient is not finite, or a term whose factors have
    /// means other than zero is so long that the components of all its subsets would not fit into
    /// memory.
    pub fn new(terms: &ProductTerms) -> Result<Self> {
        terms.check()?;
        let q = terms.space.q();
        let means = terms.basis.means(q);
        let mut centred = terms.basis.factors(q);
        for (i, factor) in centred.iter_mut().enumerate() {
            *factor -= means[i / q];
        }
        let (base_value, supports) = spread(terms, &means)?;
        let compiled: Vec<std::result::Result<Vec<f64>, SupportTerms>> = supports
            .par_iter()
            .map(|group| {
                let limit = SMALL_TABLE.max(ENTRIES_PER_TERM * group.coefficients.len());
                match u32::try_from(group.support.len()).ok().and_then(|order| q.checked_pow(order)) {
                    Some(size) if size <= limit => Ok(table(group, &centred, q, size)),
                    _ => Err(group.clone()),
                }
            })
            .collect();
        let mut tables = Vec::new();
        let evaluators = compiled
            .into_iter()
            .map(|compiled| match compiled {
                Ok(entries) => {
                    let offset = tables.len();
                    tables.extend(entries);
                    Evaluator::Table(offset)
                }
                Err(terms) => Evaluator::Terms(terms),
            })
            .collect();
        let supports = supports.into_iter().map(|group| group.support).collect();
        Ok(Self { space: terms.space.clone(), base_value, supports, evaluators, tables, centred })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// `a(∅)`, the mean of the surrogate over uniform sequences.
    #[must_use]
    pub fn base_value(&self) -> f64 {
        self.base_value
    }

    /// The supports that have a component, by order, then position.
    #[must_use]
    pub fn supports(&self) -> &[Vec<u16>] {
        &self.supports
    }

    /// Component number `index` at one sequence.
    fn value(&self, index: usize, row: &[u8]) -> f64 {
        let q = self.space.q();
        let support = &self.supports[index];
        match &self.evaluators[index] {
            Evaluator::Table(offset) => {
                let at = support.iter().fold(0, |at, &i| at * q + row[i as usize] as usize);
                self.tables[offset + at]
            }
            Evaluator::Terms(terms) => terms
                .coefficients
                .iter()
                .zip(terms.labels.chunks_exact(support.len()))
                .map(|(&coefficient, labels)| {
                    let product = labels.iter().zip(support).fold(coefficient, |product, (&label, &i)| {
                        product * self.centred[label as usize * q + row[i as usize] as usize]
                    });
                    product.re
                })
                .sum(),
        }
    }

    /// Fills `width` numbers for each sequence, in parallel.
    fn map_rows(
        &self,
        codes: &[u8],
        width: usize,
        cancel: &Cancel,
        fill: impl Fn(&[u8], &mut [f64]) + Sync,
    ) -> Result<Vec<f64>> {
        let count = self.space.check(codes)?;
        let bytes = 8 * count as u128 * width as u128;
        if bytes > isize::MAX as u128 {
            return Err(Error::TooLarge {
                what: "the result",
                bytes,
                advice: "explain fewer sequences at a time",
            });
        }
        let n = self.space.n();
        let mut out = vec![0.0; count * width];
        if width > 0 {
            out.par_chunks_mut(ROWS * width).zip(codes.par_chunks(ROWS * n)).try_for_each(
                |(out, codes)| {
                    cancel.check()?;
                    for (out, row) in out.chunks_exact_mut(width).zip(codes.chunks_exact(n)) {
                        fill(row, out);
                    }
                    Ok::<(), Error>(())
                },
            )?;
        }
        Ok(out)
    }

    /// The surrogate's score of each sequence, `Σ_S a(S)`; shape `(B,)`.
    ///
    /// # Errors
    /// If the codes are not sequences of the space.
    pub fn predict(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.map_rows(codes, 1, cancel, |row, out| {
            out[0] = (0..self.supports.len()).fold(self.base_value, |sum, s| sum + self.value(s, row));
        })
    }

    /// Shapley values `SV_i = Σ_{S∋i} a(S)/|S|`; shape `(B, n)`. With the base value they sum to the
    /// surrogate's score.
    ///
    /// # Errors
    /// If the codes are not sequences of the space.
    pub fn shapley_values(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.map_rows(codes, self.space.n(), cancel, |row, out| {
            for (s, support) in self.supports.iter().enumerate() {
                let share = self.value(s, row) / support.len() as f64;
                for &i in support {
                    out[i as usize] += share;
                }
            }
        })
    }

    /// The Möbius transform `a(S)` of the game at each sequence, for every support of
    /// [`Components::supports`]; shape `(B, supports)`. These are the full-order interactions that
    /// the SHAP zero paper calls Faith-Shap.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the result would exceed the address space.
    pub fn moebius(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.map_rows(codes, self.supports.len(), cancel, |row, out| {
            for (s, out) in out.iter_mut().enumerate() {
                *out = self.value(s, row);
            }
        })
    }
}

/// Rewrites terms in centred factors: the mean, and terms grouped and sorted by support.
fn spread(terms: &ProductTerms, means: &[f64]) -> Result<(f64, Vec<SupportTerms>)> {
    let mut base_value = terms.constant;
    let centred_already =
        terms.supports.iter().all(|group| group.labels.iter().all(|&l| means[l as usize] == 0.0));
    let mut spread: BTreeMap<(usize, Vec<u16>), BTreeMap<Vec<u8>, Complex64>> = BTreeMap::new();
    if centred_already {
        let mut groups = terms.supports.clone();
        groups.sort_by(|a, b| (a.support.len(), &a.support).cmp(&(b.support.len(), &b.support)));
        return Ok((base_value, groups));
    }
    for group in &terms.supports {
        let order = group.support.len();
        if order > MAX_SPREAD {
            return Err(Error::TooLarge {
                what: "the components of a long term",
                bytes: 1_u128 << order.min(120),
                advice: "centre its factors, or truncate the surrogate to lower orders",
            });
        }
        for (labels, &coefficient) in group.labels.chunks_exact(order).zip(&group.coefficients) {
            for subset in 0..1_u64 << order {
                let mut weight = coefficient;
                let (mut support, mut kept) = (Vec::new(), Vec::new());
                for (i, &label) in labels.iter().enumerate() {
                    if subset >> i & 1 == 1 {
                        support.push(group.support[i]);
                        kept.push(label);
                    } else {
                        weight *= means[label as usize];
                    }
                }
                if support.is_empty() {
                    base_value += weight.re;
                } else if weight != Complex64::ZERO {
                    *spread.entry((support.len(), support)).or_default().entry(kept).or_default() += weight;
                }
            }
        }
    }
    let groups = spread
        .into_iter()
        .map(|((_, support), terms)| SupportTerms {
            support,
            labels: terms.keys().flatten().copied().collect(),
            coefficients: terms.into_values().collect(),
        })
        .collect();
    Ok((base_value, groups))
}

/// `Re Σ_t c_t Π_i centred(l_{t,i}, x_i)` for every `x_S`: the coefficients as a tensor over labels,
/// contracted with the factors axis by axis.
fn table(group: &SupportTerms, centred: &[Complex64], q: usize, size: usize) -> Vec<f64> {
    let order = group.support.len();
    let mut tensor = vec![Complex64::ZERO; size];
    for (labels, &coefficient) in group.labels.chunks_exact(order).zip(&group.coefficients) {
        tensor[labels.iter().fold(0, |at, &label| at * q + label as usize)] += coefficient;
    }
    let mut next = vec![Complex64::ZERO; size];
    for _ in 0..order {
        // Contract the first axis and put the letters last: after all axes the order is restored.
        let rest = size / q;
        next.fill(Complex64::ZERO);
        for (label, row) in tensor.chunks_exact(rest).enumerate() {
            for (at, &value) in row.iter().enumerate().filter(|(_, value)| **value != Complex64::ZERO) {
                for (letter, out) in next[at * q..(at + 1) * q].iter_mut().enumerate() {
                    *out += value * centred[label * q + letter];
                }
            }
        }
        std::mem::swap(&mut tensor, &mut next);
    }
    tensor.into_iter().map(|value| value.re).collect()
}
