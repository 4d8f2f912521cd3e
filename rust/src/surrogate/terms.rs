//! Product terms `c_t Π_{i∈S_t} g(l_{t,i}, x_i)`, grouped by support.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rustfft::num_complex::Complex64;

use super::by_position::{self, Characters};
use super::spectrum::LARGEST;
use super::{RunTerms, Spectrum};
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::space::{SequenceSpace, roots_of_unity};
use crate::words;

/// Largest number of coefficients of a spectrum that is expanded from other terms.
const MAX_COEFFICIENTS: u128 = 1 << 24;

/// The factors of product terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// `g(l, a) = ω^{l a}`, of mean zero for `l ≠ 0`: the terms of a [`Spectrum`].
    Characters,
    /// `g(l, a) = 1[a = l]`, of mean `1/q`: letter patterns.
    Letters,
    /// `g(l, a) = 1[a = l] - 1/q`, of mean zero: a term of support `S` belongs to the component `f_S` alone.
    Centred,
    /// `g(l, a) = 1[a ∈ S_l]`, with sets as bits: the leaves of trees.
    Sets(Arc<[u64]>),
    /// `g(l, a) = e^{2πi k x/|S|}` if `a` is letter `x` of the set `S`, else 0, for the set (as bits) and the `k` of label
    /// `l`: the terms of a [`Spectrum`] whose positions have letters of their own.
    CharactersOf(Arc<[(u64, u8)]>),
}

impl Basis {
    /// Number of labels over an alphabet of `q` symbols.
    pub(crate) fn labels(&self, q: usize) -> usize {
        match self {
            Self::Sets(sets) => sets.len(),
            Self::CharactersOf(characters) => characters.len(),
            _ => q,
        }
    }

    /// Whether the factors are characters.
    pub(crate) fn is_characters(&self) -> bool {
        matches!(self, Self::Characters | Self::CharactersOf(_))
    }

    /// The symbols for which a label's indicator is 1, as bits.
    pub(crate) fn set(&self, label: u16) -> u64 {
        match self {
            Self::Sets(sets) => sets[label as usize],
            _ => 1 << label,
        }
    }

    /// `g(l, a)` for all labels and symbols, row `l`.
    pub(crate) fn factors(&self, q: usize) -> Vec<Complex64> {
        if let Self::CharactersOf(characters) = self {
            let row = |&(set, k): &(u64, u8)| {
                let size = set.count_ones() as usize;
                let roots = roots_of_unity(size);
                let mut numbers = 0..size;
                let mut next =
                    move || numbers.next().map_or(Complex64::ZERO, |x| roots[usize::from(k) * x % size]);
                (0..q)
                    .map(move |code| if set >> code & 1 == 1 { next() } else { Complex64::ZERO })
                    .collect::<Vec<_>>()
            };
            return characters.iter().flat_map(row).collect();
        }
        let roots = roots_of_unity(q);
        let indicator = |label: usize, symbol: usize| self.set(label as u16) >> symbol & 1;
        (0..self.labels(q) * q)
            .map(|i| match self {
                Self::Characters | Self::CharactersOf(_) => roots[(i / q) * (i % q) % q],
                Self::Letters | Self::Sets(_) => (indicator(i / q, i % q) as f64).into(),
                Self::Centred => (indicator(i / q, i % q) as f64 - 1.0 / q as f64).into(),
            })
            .collect()
    }

    /// `E g(l, A)` over a uniform symbol, for each label.
    pub(crate) fn means(&self, q: usize) -> Vec<f64> {
        (0..self.labels(q))
            .map(|label| match self {
                Self::Characters => f64::from(u8::from(label == 0)),
                Self::Letters | Self::Sets(_) => f64::from(self.set(label as u16).count_ones()) / q as f64,
                Self::Centred => 0.0,
                // Over the letters of its set.
                Self::CharactersOf(characters) => f64::from(u8::from(characters[label].1 == 0)),
            })
            .collect()
    }
}

/// The terms of one support.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SupportTerms {
    /// Positions, ascending.
    pub support: Vec<u16>,
    /// Labels, row-major: one row of `support.len()` for each term.
    pub labels: Vec<u16>,
    /// Coefficients `c_t`.
    pub coefficients: Vec<Complex64>,
}

/// A sum of product terms over one basis, grouped by support, and of terms with runs; each support occurs once.
#[derive(Clone, Debug)]
pub struct ProductTerms {
    /// The sequence space.
    pub space: SequenceSpace,
    /// The factors.
    pub basis: Basis,
    /// The constant term `c_0`.
    pub constant: f64,
    /// The other terms over the basis.
    pub supports: Vec<SupportTerms>,
    /// The terms with runs.
    pub runs: RunTerms,
}

impl ProductTerms {
    /// A sum of letter patterns in any order: support, symbols and coefficient of each. Coefficients of equal patterns
    /// add up.
    ///
    /// # Errors
    /// If a pattern does not belong to the space, or a number is not finite.
    ///
    /// ```
    /// use shapsketch::SequenceSpace;
    /// use shapsketch::surrogate::ProductTerms;
    /// let patterns = [(&[1, 2][..], &[0, 3][..], 2.0), (&[0], &[1], 0.5), (&[1, 2], &[0, 3], 1.0)];
    /// let terms = ProductTerms::letters(SequenceSpace::new("ACGT", 3)?, 0.25, patterns)?;
    /// assert_eq!(terms.len(), 3);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn letters<'a>(
        space: SequenceSpace,
        constant: f64,
        patterns: impl IntoIterator<Item = (&'a [u16], &'a [u16], f64)>,
    ) -> Result<Self> {
        let mut groups = BTreeMap::<(usize, &[u16]), BTreeMap<_, f64>>::new();
        for (support, symbols, coefficient) in patterns {
            if support.len() != symbols.len() {
                let got = format!("{symbols:?} at {support:?}");
                return Err(Error::Parameter {
                    name: "patterns",
                    expected: "one symbol for each position",
                    got,
                });
            }
            *groups.entry((support.len(), support)).or_default().entry(symbols).or_default() += coefficient;
        }
        let supports = groups.into_iter().map(|((_, support), terms)| SupportTerms {
            support: support.to_vec(),
            labels: terms.keys().flat_map(|symbols| symbols.iter().copied()).collect(),
            coefficients: terms.values().map(|&coefficient| coefficient.into()).collect(),
        });
        let (basis, runs) = (Basis::Letters, RunTerms::default());
        let terms = Self { space, basis, constant, supports: supports.collect(), runs };
        terms.check().map(|()| terms)
    }

    /// Number of terms, the constant included unless it is zero.
    #[must_use]
    pub fn len(&self) -> usize {
        let constant = usize::from(self.constant != 0.0);
        let listed: usize = self.supports.iter().map(|group| group.coefficients.len()).sum();
        constant + listed + self.runs.len()
    }

    /// Whether there are no terms: the function is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The function multiplied by a number.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.constant *= factor;
        let coefficients = self.supports.iter_mut().flat_map(|group| &mut group.coefficients);
        coefficients.for_each(|value| *value *= factor);
        self.runs.scale(factor);
        self
    }

    /// Support, labels and coefficient of each term except the constant and those with runs.
    pub fn iter(&self) -> impl Iterator<Item = (&[u16], &[u16], Complex64)> {
        self.supports.iter().flat_map(|group| {
            let labels = group.labels.chunks_exact(group.support.len());
            labels.zip(&group.coefficients).map(|(labels, &value)| (group.support.as_slice(), labels, value))
        })
    }

    /// Number of terms of each order up to the highest one, without the constant and those with runs.
    #[must_use]
    pub fn orders(&self) -> Vec<usize> {
        let highest = self.supports.iter().map(|group| group.support.len()).max().unwrap_or(0);
        let mut counts = vec![0; highest + 1];
        self.supports.iter().for_each(|group| counts[group.support.len()] += group.coefficients.len());
        counts
    }

    /// The real part of the function as a spectrum.
    ///
    /// # Errors
    /// If a term does not belong to the space, or the spectrum has more than 2^24 coefficients.
    pub fn spectrum(&self) -> Result<Spectrum> {
        self.check()?;
        Characters::check(&self.space)?;
        let q = self.space.q();
        let roots = roots_of_unity(q);
        let tables = self.runs.transformed(&self.space, &roots);
        let sizes = self
            .supports
            .iter()
            .map(|group| match self.basis {
                Basis::Characters if !self.space.has_letters() => group.coefficients.len() as u128,
                _ => words::saturating_count(group.support.iter().map(|&i| self.space.sizes().at(i))),
            })
            .chain(tables.iter().map(|term| words::saturating_count(term.iter().map(Vec::len))))
            .fold(0, u128::saturating_add);
        if sizes > MAX_COEFFICIENTS {
            return Err(Error::TooLarge {
                what: "the spectrum of these terms",
                bytes: sizes.saturating_mul(64),
                advice: "use the terms themselves, or fit lower orders",
            });
        }
        let mut all: Vec<(Frequency, Complex64)> = vec![(Frequency::default(), self.constant.into())];
        let factors = self.basis.factors(q);
        for group in &self.supports {
            let SupportTerms { support, labels, coefficients } = group;
            let order = support.len();
            if self.space.has_letters() {
                let (values, rounding) = by_position::coefficients(&self.space, &factors, group);
                let sizes = support.iter().map(|&i| self.space.sizes().at(i));
                let words = values.into_iter().enumerate().filter(|(_, value)| value.norm() > rounding);
                all.extend(words.map(|(word, value)| {
                    (frequency(support, &words::digits::<u16>(word, sizes.clone())), value)
                }));
                continue;
            }
            if self.basis == Basis::Characters {
                let frequencies = labels.chunks_exact(order).map(|labels| frequency(support, labels));
                all.extend(frequencies.zip(coefficients.iter().copied()));
                continue;
            }
            let table = table(&factors, q, labels, coefficients, order);
            for (word, value) in transform(table, q, order, &roots).into_iter().enumerate() {
                let dense: Vec<u16> = words::digits(word, words::same(q, order));
                // Centred indicators have only rounding errors on a subset of their support.
                if self.basis != Basis::Centred || !dense.contains(&0) {
                    all.push((frequency(support, &dense), value));
                }
            }
        }
        for (term, blocks) in self.runs.terms.iter().zip(tables) {
            let mut products = vec![(Frequency::default(), Complex64::from(term.coefficient))];
            for block in blocks {
                let product = |(k, value): &(Frequency, Complex64)| {
                    let (k, value) = (k.clone(), *value);
                    block.iter().map(move |(l, factor)| (k.joined(l), value * factor))
                };
                products = products.iter().flat_map(product).collect();
            }
            all.extend(products);
        }
        Spectrum::real_part(self.space.clone(), all)
    }

    /// # Errors
    /// If a term does not belong to this space, or a number is not finite.
    pub(crate) fn check(&self) -> Result<()> {
        let (q, n) = (self.space.q(), self.space.n());
        let n_labels = self.basis.labels(q);
        let bad = |expected, got| Err(Error::Parameter { name: "product terms", expected, got });
        if self.constant.is_nan() || self.constant.abs() > LARGEST {
            return bad("at most 1e140 in magnitude and finite", format!("the constant {}", self.constant));
        }
        if let Basis::CharactersOf(characters) = &self.basis {
            let letters: HashSet<u64> = (0..n).map(|position| self.space.letters_at(position)).collect();
            let wrong = |&&(set, k): &&(u64, u8)| !letters.contains(&set) || u32::from(k) >= set.count_ones();
            if let Some((set, k)) = characters.iter().find(wrong) {
                return bad("over characters of the letters of a position", format!("{k} of {set:#b}"));
            }
        }
        if let Basis::Sets(sets) = &self.basis {
            let all = u64::MAX >> (64 - q);
            if let Some(set) = sets.iter().find(|&&set| set == 0 || set & !all != 0) {
                return bad("over non-empty sets of symbols of the alphabet", format!("{set:#b}"));
            }
        }
        for (index, group) in self.supports.iter().enumerate() {
            let SupportTerms { support, labels, coefficients } = group;
            if !support.is_sorted_by(|a, b| a < b) || support.last().is_none_or(|&last| last as usize >= n) {
                return bad("on ascending positions of the space", format!("support {index}: {support:?}"));
            }
            if labels.len() != support.len() * coefficients.len()
                || labels.iter().any(|&l| l as usize >= n_labels)
            {
                return bad(
                    "given by one label of the basis at each position",
                    format!("support {index}: {labels:?}"),
                );
            }
            if let Some(value) = coefficients.iter().find(|value| value.is_nan() || value.norm() > LARGEST) {
                return bad("at most 1e140 in magnitude and finite", format!("support {index}: {value}"));
            }
        }
        self.runs.check(&self.space)
    }
}

/// The frequency with these labels at a support.
pub(super) fn frequency(support: &[u16], labels: &[u16]) -> Frequency {
    let pairs = support.iter().copied().zip(labels.iter().map(|&label| label as u8));
    pairs.filter(|&(_, label)| label != 0).collect()
}

/// The Fourier coefficients of a table over the words of a support, axis by axis.
pub(super) fn transform(
    mut table: Vec<Complex64>,
    q: usize,
    order: usize,
    roots: &[Complex64],
) -> Vec<Complex64> {
    let size = table.len();
    for _ in 0..order {
        let rest = size / q;
        let mut next = vec![Complex64::ZERO; size];
        for (symbol, row) in table.chunks_exact(rest).enumerate() {
            for (index, &value) in row.iter().enumerate().filter(|(_, value)| **value != Complex64::ZERO) {
                for (label, out) in next[index * q..(index + 1) * q].iter_mut().enumerate() {
                    *out += value * roots[symbol * label % q].conj() / q as f64;
                }
            }
        }
        table = next;
    }
    table
}

/// `Σ_t c_t Π_i g(l_{t,i}, x_i)` at every word of a support: the tensor of coefficients over labels, contracted with the
/// factors axis by axis.
pub(crate) fn table(
    factors: &[Complex64],
    q: usize,
    labels: &[u16],
    coefficients: &[Complex64],
    order: usize,
) -> Vec<Complex64> {
    let n_labels = factors.len() / q;
    if n_labels > q {
        // If there are more labels than symbols, the terms are added one by one.
        let mut sum = vec![Complex64::ZERO; words::count(words::same(q, order))];
        for (labels, &coefficient) in labels.chunks_exact(order).zip(coefficients) {
            let mut product = vec![coefficient];
            for &label in labels {
                let row = &factors[label as usize * q..][..q];
                product = product.iter().flat_map(|p| row.iter().map(move |factor| p * factor)).collect();
            }
            sum.iter_mut().zip(product).for_each(|(sum, p)| *sum += p);
        }
        return sum;
    }
    let size = words::count(words::same(q, order));
    let mut tensor = vec![Complex64::ZERO; size];
    for (labels, &coefficient) in labels.chunks_exact(order).zip(coefficients) {
        let word = words::number(labels.iter().map(|&label| label as usize), words::same(q, order));
        tensor[word] += coefficient;
    }
    let mut next = vec![Complex64::ZERO; size];
    for _ in 0..order {
        // Contract the first axis and move its symbols to the end. After all axes the original order is restored.
        let rest = size / q;
        next.fill(Complex64::ZERO);
        for (label, row) in tensor.chunks_exact(rest).enumerate().filter(|(label, _)| *label < n_labels) {
            for (index, &value) in row.iter().enumerate().filter(|(_, value)| **value != Complex64::ZERO) {
                for (symbol, out) in next[index * q..(index + 1) * q].iter_mut().enumerate() {
                    *out += value * factors[label * q + symbol];
                }
            }
        }
        std::mem::swap(&mut tensor, &mut next);
    }
    tensor
}
