//! Sums of products of indicators, decomposed into functional ANOVA components.
//!
//! With `1[x = a] = 1/q + c_a(x)`, where the centred indicator `c_a` has mean zero, a product of indicators becomes a
//! sum of products of centred indicators, one for each subset of its support. Summed over all products, the products of
//! support `S` are the component `f_S`. Components of different supports are orthogonal under uniform sequences, so
//! dropping one costs exactly its variance. Terms with runs are kept as they are.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::by_position;
use super::{Basis, ProductTerms, RunTerms, SupportTerms, Surrogate, table};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::words;

/// Largest number of entries of a dense table; larger tables store only the words that occur.
const DENSE: usize = 1 << 12;
/// In a space of at most this many sequences every table is dense.
const DENSE_SPACE: u128 = 1 << 18;
/// Largest number of supports.
const SUPPORTS: usize = 60_000;
/// Largest size of all tables, in bytes.
const MEMORY: usize = 1 << 30;
/// Memory of one entry of a sparse table, in bytes.
const ENTRY: usize = 40;

/// Coefficients of the words of one support.
#[derive(Clone, Debug)]
pub(super) enum Table {
    /// Every word.
    Dense(Vec<f64>),
    /// The words that occur, by number.
    Sparse(BTreeMap<usize, f64>),
}

/// A sum of products of indicators or centred indicators, and of terms with runs.
#[derive(Clone, Debug)]
pub(crate) struct CentredSum {
    pub(super) space: SequenceSpace,
    constant: f64,
    pub(super) tables: BTreeMap<Vec<u16>, Table>,
    pub(super) runs: RunTerms,
    /// Largest number of entries of a dense table.
    dense: usize,
    bytes: usize,
}

impl CentredSum {
    /// The function zero.
    pub(crate) fn new(space: SequenceSpace) -> Self {
        let size = space.size().filter(|&size| size <= DENSE_SPACE);
        let dense = size.map_or(DENSE, |size| DENSE.max(size as usize));
        Self { space, constant: 0.0, tables: BTreeMap::new(), runs: RunTerms::default(), dense, bytes: 0 }
    }

    /// The function with these values at every sequence, the first position most significant.
    pub(crate) fn of_table(space: &SequenceSpace, values: Vec<f64>) -> Result<Self> {
        let mut sum = Self::new(space.clone());
        sum.merge((0..space.n() as u16).collect(), Table::Dense(values))?;
        Ok(sum)
    }

    /// Adds `coefficient · Π 1[x_i ∈ S_i]`; positions are ascending, sets are bits.
    pub(crate) fn add(&mut self, sets: &[(u16, u64)], coefficient: f64) -> Result<()> {
        self.expand(sets, 0, &mut Vec::new(), &mut Vec::new(), coefficient)
    }

    fn expand(
        &mut self,
        sets: &[(u16, u64)],
        done: usize,
        support: &mut Vec<u16>,
        word: &mut Vec<u8>,
        coefficient: f64,
    ) -> Result<()> {
        let Some(&(position, set)) = sets.get(done) else {
            return self.add_word(support, word, coefficient);
        };
        let q = self.space.q();
        let all = if q == 64 { u64::MAX } else { (1 << q) - 1 };
        // The symbols of the set, or 1 minus the symbols outside it, if there are fewer of these.
        let few = 2 * set.count_ones() as usize <= q + 1;
        let (listed, sign) = if few { (set, 1.0) } else { (all & !set, -1.0) };
        if !few {
            self.expand(sets, done + 1, support, word, coefficient)?;
        }
        support.push(position);
        for symbol in (0..q as u8).filter(|symbol| listed >> symbol & 1 == 1) {
            word.push(symbol);
            self.expand(sets, done + 1, support, word, sign * coefficient)?;
            word.pop();
        }
        support.pop();
        Ok(())
    }

    fn add_word(&mut self, support: &[u16], word: &[u8], coefficient: f64) -> Result<()> {
        if support.is_empty() {
            self.constant += coefficient;
            return Ok(());
        }
        let symbols = word.iter().map(|&symbol| symbol as usize);
        let word = words::number(symbols, words::same(self.space.q(), word.len()));
        if !self.tables.contains_key(support) {
            self.insert(support.to_vec())?;
        }
        match self.tables.get_mut(support) {
            Some(Table::Dense(entries)) => entries[word] += coefficient,
            Some(Table::Sparse(entries)) => {
                let before = entries.len();
                *entries.entry(word).or_insert(0.0) += coefficient;
                self.bytes += (entries.len() - before) * ENTRY;
            }
            None => {}
        }
        self.within_memory()
    }

    fn insert(&mut self, support: Vec<u16>) -> Result<()> {
        let Some(count) = words::checked_count(words::same(self.space.q(), support.len())) else {
            return Err(Error::TooLarge {
                what: "a term with this many positions",
                bytes: support.len() as u128,
                advice: "limit the order",
            });
        };
        let table = if count <= self.dense {
            self.bytes += count * 8;
            Table::Dense(vec![0.0; count])
        } else {
            Table::Sparse(BTreeMap::new())
        };
        self.bytes += 64 + 2 * support.len();
        self.tables.insert(support, table);
        Ok(())
    }

    fn within_memory(&self) -> Result<()> {
        if self.bytes > MEMORY || self.tables.len() > SUPPORTS {
            return Err(Error::TooLarge {
                what: "the components of these terms",
                bytes: self.bytes.max(self.tables.len() * 64) as u128,
                advice: "keep fewer terms, or lower orders",
            });
        }
        Ok(())
    }

    /// Rewrites every indicator as its mean and a centred indicator.
    pub(crate) fn centre(&mut self, cancel: &Cancel) -> Result<()> {
        let q = self.space.q();
        for position in 0..self.space.n() as u16 {
            cancel.check()?;
            let means: Vec<(Vec<u16>, Table)> = self
                .tables
                .par_iter()
                .filter_map(|(support, table)| {
                    let axis = support.binary_search(&position).ok()?;
                    let mut rest = support.clone();
                    rest.remove(axis);
                    let after = words::count(words::same(q, support.len() - axis - 1));
                    Some((rest, table.mean_over(q, after)))
                })
                .collect();
            for (support, mean) in means {
                self.merge(support, mean)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, support: Vec<u16>, table: Table) -> Result<()> {
        if support.is_empty() {
            self.constant += table.entries().map(|(_, value)| value).sum::<f64>();
            return Ok(());
        }
        if !self.tables.contains_key(&support) {
            self.insert(support.clone())?;
        }
        match self.tables.get_mut(&support) {
            Some(Table::Dense(entries)) => {
                table.entries().for_each(|(word, value)| entries[word] += value);
            }
            Some(Table::Sparse(entries)) => {
                let before = entries.len();
                for (word, value) in table.entries() {
                    *entries.entry(word).or_insert(0.0) += value;
                }
                self.bytes += (entries.len() - before) * ENTRY;
            }
            None => {}
        }
        self.within_memory()
    }

    /// Adds components of a surrogate, times a weight.
    pub(crate) fn add_components(
        &mut self,
        surrogate: &Surrogate,
        weight: f64,
        cancel: &Cancel,
    ) -> Result<()> {
        let terms = surrogate.terms();
        terms.runs.check(&self.space)?;
        self.runs.add(&terms.runs, weight);
        let mut other = Self::new(self.space.clone());
        other.constant = terms.constant;
        let centred = match &terms.basis {
            Basis::Centred => true,
            Basis::Letters | Basis::Sets(_) => false,
            Basis::Characters | Basis::CharactersOf(_) => return self.add_characters(&terms, weight),
        };
        for group in &terms.supports {
            for (labels, value) in group.labels.chunks_exact(group.support.len()).zip(&group.coefficients) {
                if centred {
                    let word: Vec<u8> = labels.iter().map(|&l| l as u8).collect();
                    other.add_word(&group.support, &word, value.re)?;
                } else {
                    let sets = labels.iter().map(|&label| terms.basis.set(label));
                    let sets: Vec<(u16, u64)> = group.support.iter().copied().zip(sets).collect();
                    other.add(&sets, value.re)?;
                }
            }
        }
        if !centred {
            other.centre(cancel)?;
        }
        self.constant += weight * other.constant;
        for (support, mut table) in other.tables {
            table.scale(weight);
            self.merge(support, table)?;
        }
        Ok(())
    }

    /// Adds a spectrum: the sum of the characters of one support is a component, added as its table.
    fn add_characters(&mut self, terms: &ProductTerms, weight: f64) -> Result<()> {
        let q = self.space.q();
        let factors = terms.basis.factors(q);
        self.constant += weight * terms.constant;
        for group in &terms.supports {
            let SupportTerms { support, labels, coefficients } = group;
            let order = support.len();
            // A table of letters by position needs only their words, but the numbers of all words must fit.
            let (count, fits) = match &terms.basis {
                Basis::CharactersOf(_) => (
                    words::saturating_count(support.iter().map(|&i| self.space.sizes().at(i))),
                    words::checked_count(words::same(q, order)).is_some(),
                ),
                _ => (words::saturating_count(words::same(q, order)), true),
            };
            if count > self.dense as u128 || !fits {
                return Err(Error::TooLarge {
                    what: "the table of a component of the spectrum",
                    bytes: count.saturating_mul(8),
                    advice: "truncate the spectrum to lower orders",
                });
            }
            if let Basis::CharactersOf(characters) = &terms.basis {
                let values = by_position::values(&self.space, characters, group);
                self.merge(
                    support.clone(),
                    Table::Sparse(values.map(|(word, v)| (word, weight * v)).collect()),
                )?;
                continue;
            }
            let entries = table(&factors, q, labels, coefficients, order);
            self.merge(support.clone(), Table::Dense(entries.into_iter().map(|v| weight * v.re).collect()))?;
        }
        Ok(())
    }

    /// The sum as product terms.
    pub(crate) fn into_terms(self) -> ProductTerms {
        let q = self.space.q();
        let mut supports: Vec<SupportTerms> = self
            .tables
            .par_iter()
            .map(|(support, table)| {
                let order = support.len();
                let (mut labels, mut coefficients) = (Vec::new(), Vec::new());
                for (word, value) in table.shortest(q, order) {
                    labels.extend(words::digits::<u16>(word, words::same(q, order)));
                    coefficients.push(value.into());
                }
                SupportTerms { support: support.clone(), labels, coefficients }
            })
            .collect();
        supports.retain(|group| !group.coefficients.is_empty());
        supports.sort_by(|a, b| (a.support.len(), &a.support).cmp(&(b.support.len(), &b.support)));
        let Self { space, constant, runs, .. } = self;
        ProductTerms { space, basis: Basis::Centred, constant, supports, runs }
    }
}

impl Table {
    /// The words that occur, ascending.
    fn entries(&self) -> Box<dyn Iterator<Item = (usize, f64)> + '_> {
        match self {
            Self::Dense(entries) => Box::new(entries.iter().copied().enumerate().filter(|(_, v)| *v != 0.0)),
            Self::Sparse(entries) => {
                Box::new(entries.iter().map(|(&word, &value)| (word, value)).filter(|(_, v)| *v != 0.0))
            }
        }
    }

    fn scale(&mut self, weight: f64) {
        match self {
            Self::Dense(entries) => entries.iter_mut().for_each(|value| *value *= weight),
            Self::Sparse(entries) => entries.values_mut().for_each(|value| *value *= weight),
        }
    }

    /// The mean over one axis. The axes after it have `after` words.
    fn mean_over(&self, q: usize, after: usize) -> Self {
        let chance = 1.0 / q as f64;
        match self {
            Self::Dense(entries) => {
                let mut rest = vec![0.0; entries.len() / q];
                for (head, block) in entries.chunks_exact(q * after).enumerate() {
                    let out = &mut rest[head * after..][..after];
                    for row in block.chunks_exact(after) {
                        out.iter_mut().zip(row).for_each(|(out, value)| *out += chance * value);
                    }
                }
                Self::Dense(rest)
            }
            Self::Sparse(entries) => {
                let mut rest = BTreeMap::new();
                for (&word, &value) in entries {
                    *rest.entry(word / (q * after) * after + word % after).or_insert(0.0) += chance * value;
                }
                Self::Sparse(rest)
            }
        }
    }

    /// A sum of products of centred indicators with these coefficients, at every word.
    fn centred(entries: &[f64], q: usize, order: usize) -> Vec<f64> {
        let mut entries = entries.to_vec();
        for axis in 0..order {
            let after = words::count(words::same(q, axis));
            for block in entries.chunks_exact_mut(q * after) {
                for offset in 0..after {
                    let mean = (0..q).map(|symbol| block[symbol * after + offset]).sum::<f64>() / q as f64;
                    (0..q).for_each(|symbol| block[symbol * after + offset] -= mean);
                }
            }
        }
        entries
    }

    /// Variance over uniform sequences; for a sparse table the sum of the variances of its terms.
    pub(super) fn variance(&self, q: usize, order: usize) -> f64 {
        match self {
            Self::Dense(entries) => {
                let centred = Self::centred(entries, q, order);
                centred.iter().map(|v| v * v).sum::<f64>() / entries.len() as f64
            }
            Self::Sparse(entries) => {
                let chance = 1.0 / q as f64;
                entries.values().map(|v| v * v).sum::<f64>() * (chance * (1.0 - chance)).powi(order as i32)
            }
        }
    }

    /// Upper limit of the number of terms of [`Table::shortest`].
    pub(super) fn terms(&self, q: usize, order: usize) -> usize {
        match self {
            Self::Dense(entries) => {
                let used = entries.iter().filter(|v| **v != 0.0).count();
                used.min((q - 1).pow(order as u32))
            }
            Self::Sparse(entries) => entries.len(),
        }
    }

    /// Words and coefficients, in a short form. The centred indicators of a position add up to zero, so the indicator
    /// of symbol 0 can be written in terms of the others.
    fn shortest(&self, q: usize, order: usize) -> Vec<(usize, f64)> {
        let listed: Vec<(usize, f64)> = self.entries().collect();
        let Self::Dense(entries) = self else { return listed };
        if listed.len() <= (q - 1).pow(order as u32) {
            return listed;
        }
        let mut entries = entries.clone();
        for axis in 0..order {
            let after = words::count(words::same(q, axis));
            for block in entries.chunks_exact_mut(q * after) {
                for offset in 0..after {
                    let first = block[offset];
                    (0..q).for_each(|symbol| block[symbol * after + offset] -= first);
                }
            }
        }
        Self::Dense(entries).entries().collect()
    }
}
