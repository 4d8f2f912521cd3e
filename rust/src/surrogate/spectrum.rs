//! Sparse q-ary Fourier spectra of real functions: `f̂(x) = Σ_k F[k] ω^{<k,x>}`, `F[-k] = conj F[k]`.
//!
//! If positions have letters of their own, the characters are those of the product of their groups, see
//! [`Sizes`](crate::frequency::Sizes).

use rustfft::num_complex::Complex64;

use super::by_position::Characters;
use super::{ProductTerms, RunTerms, SupportTerms};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::memory;
use crate::space::SequenceSpace;
use crate::transform::QaryTransform;

/// Largest accepted `|F[k] - conj F[-k]|`, relative to the largest coefficient.
const HERMITIAN_TOLERANCE: f64 = 1e-9;
/// The largest coefficient of a spectrum has a magnitude in this range, so that energies keep their digits.
const SMALLEST: f64 = 1e-140;
pub(super) const LARGEST: f64 = 1e140;

/// A sparse spectrum of a real function, in canonical form: sorted, with one frequency of each pair `k, -k`.
///
/// ```
/// use rustfft::num_complex::Complex64;
/// use shapsketch::frequency::Frequency;
/// use shapsketch::surrogate::Spectrum;
/// use shapsketch::SequenceSpace;
/// let space = SequenceSpace::new("ACGT", 3)?;
/// let k = Frequency::from_dense(&[0, 1, 0]);
/// let terms = vec![
///     (Frequency::default(), Complex64::new(2.0, 0.0)),
///     (k.clone(), Complex64::new(0.5, 0.5)),
///     (k.negated(4), Complex64::new(0.5, -0.5)),
/// ];
/// let spectrum = Spectrum::new(space, terms)?;
/// assert_eq!(spectrum.len(), 3);
/// assert_eq!(spectrum.predict(&[0, 0, 0, 0, 1, 0])?, [3.0, 1.0]);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    space: SequenceSpace,
    /// The smaller frequency of each pair `k, -k`, in ascending order; the coefficients are nonzero.
    half: Vec<(Frequency, Complex64)>,
}

impl Spectrum {
    /// The spectrum with these coefficients, for both frequencies of each pair `k, -k`. The coefficients of repeated
    /// frequencies are added.
    ///
    /// # Errors
    /// If a frequency is not of this space, a coefficient is not finite, or the function would not
    /// be real.
    pub fn new(space: SequenceSpace, terms: Vec<(Frequency, Complex64)>) -> Result<Self> {
        check(&space, &terms)?;
        let spectrum = Self::hermitian_part(space, terms.clone());
        let scale = terms.iter().map(|(_, value)| value.norm()).fold(0.0, f64::max);
        // The sums over repeated frequencies must be conjugate.
        let mut sums: Vec<(Frequency, Complex64, usize)> = Vec::new();
        let mut order: Vec<usize> = (0..terms.len()).collect();
        order.sort_by(|&a, &b| terms[a].0.cmp(&terms[b].0));
        for index in order {
            let (k, value) = &terms[index];
            match sums.last_mut().filter(|(last, ..)| last == k) {
                Some((_, sum, _)) => *sum += value,
                None => sums.push((k.clone(), *value, index)),
            }
        }
        for (k, value, index) in sums {
            let difference = (value - spectrum.coefficient(&k)).norm() / scale;
            if difference > HERMITIAN_TOLERANCE {
                return Err(Error::NotHermitian { index, difference: 2.0 * difference });
            }
        }
        Ok(spectrum)
    }

    /// The spectrum of the real part: `(F[k] + conj F[-k]) / 2`. The coefficients of repeated frequencies are added.
    ///
    /// # Errors
    /// If a frequency is not of this space or a coefficient is not finite.
    pub fn real_part(space: SequenceSpace, terms: Vec<(Frequency, Complex64)>) -> Result<Self> {
        check(&space, &terms)?;
        Ok(Self::hermitian_part(space, terms))
    }

    fn hermitian_part(space: SequenceSpace, terms: Vec<(Frequency, Complex64)>) -> Self {
        let q = space.sizes();
        let halves = terms
            .into_iter()
            .map(|(k, value)| {
                let single = k.is_self_conjugate(q);
                let (k, negated) = k.representative(q);
                match (single, negated) {
                    (true, _) => (k, Complex64::new(value.re, 0.0)),
                    (false, true) => (k, value.conj() / 2.0),
                    (false, false) => (k, value / 2.0),
                }
            })
            .collect();
        Self::from_representatives(space, halves)
    }

    /// From one coefficient of each pair, for its smaller frequency. The coefficients of repeated frequencies are
    /// added.
    pub(crate) fn from_representatives(space: SequenceSpace, mut half: Vec<(Frequency, Complex64)>) -> Self {
        half.sort_by(|a, b| a.0.cmp(&b.0));
        half.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        // Coefficients of `k = -k` are real up to rounding.
        let q = space.sizes();
        half.iter_mut().filter(|(k, _)| k.is_self_conjugate(q)).for_each(|(_, value)| value.im = 0.0);
        half.retain(|(_, value)| *value != Complex64::ZERO);
        Self { space, half }
    }

    /// From the output of [`Spectrum::representatives`], in the same order and form.
    pub(crate) fn from_file(space: SequenceSpace, half: Vec<(Frequency, Complex64)>) -> Result<Self> {
        check(&space, &half)?;
        let q = space.sizes();
        for (index, (k, value)) in half.iter().enumerate() {
            let ascending = index == 0 || half[index - 1].0 < *k;
            let lesser = k.is_representative(q);
            let real = !k.is_self_conjugate(q) || value.im == 0.0;
            if !(ascending && lesser && real) {
                return Err(Error::BadFrequency {
                    index,
                    reason: "its order or its form is not canonical".into(),
                });
            }
        }
        Ok(Self { space, half })
    }

    /// The spectrum of the function multiplied by a number.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.half.iter_mut().for_each(|(_, value)| *value *= factor);
        self
    }

    /// The spectrum of the function plus a constant.
    pub(crate) fn shifted(self, constant: f64) -> Self {
        let mut half = self.half;
        half.push((Frequency::default(), constant.into()));
        Self::from_representatives(self.space, half)
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// One of each pair `k, -k`, ascending.
    pub(crate) fn representatives(&self) -> &[(Frequency, Complex64)] {
        &self.half
    }

    /// Number of coefficients that a representative represents: 1 if `k = -k`, else 2.
    pub(super) fn multiplicity(&self, k: &Frequency) -> usize {
        if k.is_self_conjugate(self.space.sizes()) { 1 } else { 2 }
    }

    /// Number of nonzero coefficients, both of each pair `k, -k` counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.half.iter().map(|(k, _)| self.multiplicity(k)).sum()
    }

    /// Whether all coefficients are zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.half.is_empty()
    }

    /// All nonzero coefficients, ascending by order, support and values.
    #[must_use]
    pub fn coefficients(&self) -> Vec<(Frequency, Complex64)> {
        self.ascending().collect()
    }

    fn ascending(&self) -> impl Iterator<Item = (Frequency, Complex64)> + '_ {
        let q = self.space.sizes();
        self.half.chunk_by(|a, b| a.0.support() == b.0.support()).flat_map(move |group| {
            // Negation reverses the order of the frequencies of a support.
            let negated = group.iter().rev().filter(|(k, _)| !k.is_self_conjugate(q));
            let mut negated = negated.map(|(k, value)| (k.negated(q), value.conj())).peekable();
            let mut all = Vec::with_capacity(2 * group.len());
            for (k, value) in group {
                while let Some(smaller) = negated.next_if(|(other, _)| other < k) {
                    all.push(smaller);
                }
                all.push((k.clone(), *value));
            }
            all.extend(negated);
            all
        })
    }

    /// All nonzero coefficients as frequencies, row-major values `(s, n)`, and coefficients.
    ///
    /// # Errors
    /// [`Error::Memory`] if they exceed the memory, or if the caller cancels.
    pub fn dense(&self, cancel: &Cancel) -> Result<(Vec<u8>, Vec<Complex64>)> {
        let n = self.space.n();
        let mut rows = memory::zeros(
            self.len() as u128 * n as u128,
            "the frequencies",
            "truncate the spectrum, which needs no list of frequencies",
        )?;
        let mut values = Vec::with_capacity(self.len());
        for (row, (k, value)) in rows.chunks_exact_mut(n).zip(self.ascending()) {
            cancel.check()?;
            k.iter().for_each(|(position, label)| row[position as usize] = label);
            values.push(value);
        }
        Ok((rows, values))
    }

    /// `f̂` at every sequence, in lexicographic order, by one inverse transform.
    ///
    /// # Errors
    /// [`Error::Memory`] if the values exceed the memory, or if the caller cancels.
    pub(crate) fn everywhere(&self, cancel: &Cancel) -> Result<Vec<f64>> {
        let mut coefficients: Vec<Complex64> = memory::zeros(
            self.space.size().unwrap_or(u128::MAX),
            "the values of all sequences",
            "predict some sequences instead",
        )?;
        let mut strides = vec![1; self.space.n()];
        for (i, size) in self.space.radices().enumerate().skip(1).rev() {
            strides[i - 1] = strides[i] * size;
        }
        for (k, value) in self.ascending() {
            cancel.check()?;
            let index: usize = k.iter().map(|(i, label)| strides[usize::from(i)] * usize::from(label)).sum();
            coefficients[index] = value;
        }
        let values = QaryTransform::with_sizes(self.space.radices()).inverse(coefficients);
        Ok(values.into_iter().map(|value| value.re).collect())
    }

    /// Number of nonzero coefficients of each order, both of each pair `k, -k` counted.
    #[must_use]
    pub fn orders(&self) -> Vec<usize> {
        let mut counts = vec![0; self.half.last().map_or(0, |(k, _)| k.order() + 1)];
        self.half.iter().for_each(|(k, _)| counts[k.order()] += self.multiplicity(k));
        counts
    }

    /// `F[k]`, zero if it is not stored.
    #[must_use]
    pub fn coefficient(&self, k: &Frequency) -> Complex64 {
        let (q, n) = (self.space.sizes(), self.space.n());
        if k.iter().any(|(i, label)| i as usize >= n || label as usize >= q.at(i)) {
            return Complex64::ZERO;
        }
        let (k, negated) = k.clone().representative(q);
        match self.half.binary_search_by(|(stored, _)| stored.cmp(&k)) {
            Ok(index) if negated => self.half[index].1.conj(),
            Ok(index) => self.half[index].1,
            Err(_) => Complex64::ZERO,
        }
    }

    /// `Σ_{|k| = r} |F[k]|²` for `r = 0, 1, …` up to the highest order; from `r = 1` on this is the
    /// variance of `f̂` over uniform sequences, split by order.
    #[must_use]
    pub fn order_energy(&self) -> Vec<f64> {
        let mut energy = vec![0.0; self.half.last().map_or(0, |(k, _)| k.order() + 1)];
        for (k, value) in &self.half {
            energy[k.order()] += self.multiplicity(k) as f64 * value.norm_sqr();
        }
        energy
    }

    /// The spectrum as product terms: one for each pair `k, -k`, with twice the coefficient.
    #[must_use]
    pub fn terms(&self) -> ProductTerms {
        let characters = Characters::new(&self.space);
        let mut terms = ProductTerms {
            space: self.space.clone(),
            basis: characters.basis(),
            constant: 0.0,
            supports: Vec::new(),
            runs: RunTerms::default(),
        };
        for (k, value) in &self.half {
            if k.order() == 0 {
                terms.constant = value.re;
                continue;
            }
            if terms.supports.last().is_none_or(|last| last.support != k.support()) {
                terms.supports.push(SupportTerms { support: k.support().to_vec(), ..Default::default() });
            }
            if let Some(last) = terms.supports.last_mut() {
                last.labels.extend(k.iter().map(|(i, label)| characters.label(i, label)));
                last.coefficients.push(value * self.multiplicity(k) as f64);
            }
        }
        terms
    }
}

/// # Errors
/// If a term is not of this space or not finite, or if squares of the coefficients would overflow or vanish.
fn check(space: &SequenceSpace, terms: &[(Frequency, Complex64)]) -> Result<()> {
    Characters::check(space)?;
    for (index, (k, value)) in terms.iter().enumerate() {
        let bad = |reason: String| Err(Error::BadFrequency { index, reason });
        if let Some(&position) = k.support().iter().find(|&&i| i as usize >= space.n()) {
            return bad(format!("position {position} is beyond the sequence length {}", space.n()));
        }
        if !k.support().is_sorted_by(|a, b| a < b) {
            return bad("its positions are not ascending".into());
        }
        let q = space.sizes();
        if let Some((i, label)) = k.iter().find(|&(i, v)| v == 0 || v as usize >= q.at(i)) {
            return bad(match q.at(i) {
                1 => format!("position {i} has one letter, so its value must be 0, not {label}"),
                size => format!("value {label} is not one of 1 to {} on its support", size - 1),
            });
        }
        if !(value.re.is_finite() && value.im.is_finite()) {
            return bad(format!("its coefficient {value} is not finite"));
        }
        if value.norm() > LARGEST {
            return bad(format!(
                "its coefficient {value} is too large to square; rescale to at most {LARGEST:e}"
            ));
        }
    }
    let largest = terms.iter().enumerate().max_by(|(_, a), (_, b)| a.1.norm().total_cmp(&b.1.norm()));
    match largest {
        Some((index, (_, value))) if (f64::MIN_POSITIVE..SMALLEST).contains(&value.norm()) => {
            let reason = format!(
                "its coefficient {value} is the largest, but too small to square; rescale to at least {SMALLEST:e}"
            );
            Err(Error::BadFrequency { index, reason })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #[test]
        fn values_of_all_sequences_are_the_predictions(
            sizes in proptest::collection::vec(1usize..=6, 1..5), count in 1usize..30, seed: u64,
        ) {
            prop_assume!(sizes.iter().any(|&size| size > 1));
            let space = SequenceSpace::of_sizes(&sizes).unwrap();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut random = |bound: usize| rng.random_range(0..bound as u32) as u8;
            let mut terms = BTreeMap::new();
            for _ in 0..count {
                let labels: Vec<u8> = sizes.iter().map(|&size| random(size)).collect();
                let value = Complex64::new(f64::from(random(200)) - 99.5, f64::from(random(200)) - 99.5);
                terms.insert(Frequency::from_dense(&labels), value);
            }
            let spectrum = Spectrum::real_part(space.clone(), terms.into_iter().collect()).unwrap();
            let values = spectrum.everywhere(&Cancel::new()).unwrap();
            let mut codes = vec![0; values.len() * space.n()];
            codes.chunks_exact_mut(space.n()).enumerate().for_each(|(i, row)| space.write_sequence(i, row));
            prop_assert_eq!(values.len() as u128, space.size().unwrap());
            for (value, expected) in values.iter().zip(spectrum.predict(&codes).unwrap()) {
                prop_assert!((value - expected).abs() < 1e-9, "{value} for {expected}");
            }
        }
    }
}
