//! Sums of products of indicators, taken apart into functional ANOVA components.
//!
//! With `1[x = a] = 1/q + c_a(x)`, where the centred letter `c_a` has mean zero, a product of indicators
//! becomes a sum of products of centred letters, one part for each subset of its support. Added up over all
//! products, the part of a support `S` is the component `f_S`. Components of different supports are
//! orthogonal under uniform sequences, so leaving one out costs just its variance.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Basis, ProductTerms, SupportTerms, Surrogate, table};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Cells of a table that holds every word; larger ones hold the words that occur.
const DENSE: usize = 1 << 12;
/// The same in a space of not more sequences than this.
const DENSE_SPACE: u128 = 1 << 18;
/// Supports, at most.
const SUPPORTS: usize = 60_000;
/// Bytes that all tables may take.
const MEMORY: usize = 1 << 30;
/// Bytes of a word that occurs.
const ENTRY: usize = 40;

/// How much of a sum of components to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keep {
    /// Part of the variance that may go, for the sake of fewer components.
    pub dropped: f64,
    /// Terms that may stay.
    pub max_terms: Option<usize>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { dropped: 1e-3, max_terms: None }
    }
}

/// Coefficients of the words of one support.
#[derive(Clone, Debug)]
enum Table {
    Dense(Vec<f64>),
    Sparse(BTreeMap<u64, f64>),
}

/// A sum of products of letters or centred letters.
#[derive(Clone, Debug)]
pub(crate) struct Anova {
    space: SequenceSpace,
    constant: f64,
    tables: BTreeMap<Vec<u16>, Table>,
    /// Cells of a table that holds every word.
    dense: usize,
    bytes: usize,
}

impl Anova {
    /// The function zero.
    pub(crate) fn new(space: SequenceSpace) -> Self {
        let size = space.size().filter(|&size| size <= DENSE_SPACE);
        let dense = size.map_or(DENSE, |size| DENSE.max(size as usize));
        Self { space, constant: 0.0, tables: BTreeMap::new(), dense, bytes: 0 }
    }

    /// The function with these values at every sequence, the first position most significant.
    pub(crate) fn of_table(space: &SequenceSpace, values: Vec<f64>) -> Result<Self> {
        let mut anova = Self::new(space.clone());
        anova.merge((0..space.n() as u16).collect(), Table::Dense(values))?;
        Ok(anova)
    }

    /// Adds `coefficient · Π 1[x_i ∈ S_i]`; places are ascending, sets are bits.
    pub(crate) fn add(&mut self, places: &[(u16, u64)], coefficient: f64) -> Result<()> {
        self.expand(places, 0, &mut Vec::new(), &mut Vec::new(), coefficient)
    }

    fn expand(
        &mut self,
        places: &[(u16, u64)],
        at: usize,
        support: &mut Vec<u16>,
        letters: &mut Vec<u8>,
        coefficient: f64,
    ) -> Result<()> {
        let Some(&(position, set)) = places.get(at) else {
            return self.add_word(support, letters, coefficient);
        };
        let q = self.space.q();
        let all = if q == 64 { u64::MAX } else { (1 << q) - 1 };
        // The letters of the set, or everything less those outside of it.
        let few = 2 * set.count_ones() as usize <= q + 1;
        let (listed, sign) = if few { (set, 1.0) } else { (all & !set, -1.0) };
        if !few {
            self.expand(places, at + 1, support, letters, coefficient)?;
        }
        support.push(position);
        for letter in (0..q as u8).filter(|letter| listed >> letter & 1 == 1) {
            letters.push(letter);
            self.expand(places, at + 1, support, letters, sign * coefficient)?;
            letters.pop();
        }
        support.pop();
        Ok(())
    }

    fn add_word(&mut self, support: &[u16], letters: &[u8], coefficient: f64) -> Result<()> {
        if support.is_empty() {
            self.constant += coefficient;
            return Ok(());
        }
        let q = self.space.q();
        let word = letters.iter().fold(0_u64, |word, &letter| word * q as u64 + u64::from(letter));
        if !self.tables.contains_key(support) {
            self.insert(support.to_vec())?;
        }
        match self.tables.get_mut(support) {
            Some(Table::Dense(cells)) => cells[word as usize] += coefficient,
            Some(Table::Sparse(words)) => {
                let before = words.len();
                *words.entry(word).or_insert(0.0) += coefficient;
                self.bytes += (words.len() - before) * ENTRY;
            }
            None => {}
        }
        self.within_memory()
    }

    fn insert(&mut self, support: Vec<u16>) -> Result<()> {
        let q = self.space.q();
        let order = support.len() as u32;
        if (q as u64).checked_pow(order).is_none() {
            return Err(Error::TooLarge {
                what: "a term of so many positions",
                bytes: u128::from(order),
                advice: "limit the order",
            });
        }
        let table = match q.checked_pow(order).filter(|&cells| cells <= self.dense) {
            Some(cells) => {
                self.bytes += cells * 8;
                Table::Dense(vec![0.0; cells])
            }
            None => Table::Sparse(BTreeMap::new()),
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

    /// Rewrites every letter as its frequency and a centred letter.
    pub(crate) fn centre(&mut self, cancel: &Cancel) -> Result<()> {
        let q = self.space.q();
        for position in 0..self.space.n() as u16 {
            cancel.check()?;
            let parts: Vec<(Vec<u16>, Table)> = self
                .tables
                .par_iter()
                .filter_map(|(support, table)| {
                    let axis = support.binary_search(&position).ok()?;
                    let mut rest = support.clone();
                    rest.remove(axis);
                    let after = (q as u64).pow((support.len() - axis - 1) as u32);
                    Some((rest, table.mean_over(q as u64, after)))
                })
                .collect();
            for (support, part) in parts {
                self.merge(support, part)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, support: Vec<u16>, part: Table) -> Result<()> {
        if support.is_empty() {
            self.constant += part.entries().map(|(_, value)| value).sum::<f64>();
            return Ok(());
        }
        if !self.tables.contains_key(&support) {
            self.insert(support.clone())?;
        }
        match self.tables.get_mut(&support) {
            Some(Table::Dense(cells)) => {
                part.entries().for_each(|(word, value)| cells[word as usize] += value);
            }
            Some(Table::Sparse(words)) => {
                let before = words.len();
                for (word, value) in part.entries() {
                    *words.entry(word).or_insert(0.0) += value;
                }
                self.bytes += (words.len() - before) * ENTRY;
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
        let mut other = Self::new(self.space.clone());
        other.constant = terms.constant;
        let centred = match &terms.basis {
            Basis::Centred => true,
            Basis::Letters | Basis::Sets(_) => false,
            Basis::Characters => return self.add_characters(&terms, weight),
        };
        for group in &terms.supports {
            for (labels, value) in group.labels.chunks_exact(group.support.len()).zip(&group.coefficients) {
                if centred {
                    let letters: Vec<u8> = labels.iter().map(|&l| l as u8).collect();
                    other.add_word(&group.support, &letters, value.re)?;
                } else {
                    let sets = labels.iter().map(|&label| terms.basis.set(label));
                    let places: Vec<(u16, u64)> = group.support.iter().copied().zip(sets).collect();
                    other.add(&places, value.re)?;
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

    /// Adds a spectrum: the table of a component is its own list of coefficients.
    fn add_characters(&mut self, terms: &ProductTerms, weight: f64) -> Result<()> {
        let q = self.space.q();
        let factors = terms.basis.factors(q);
        self.constant += weight * terms.constant;
        for SupportTerms { support, labels, coefficients } in &terms.supports {
            let order = support.len();
            if q.checked_pow(order as u32).is_none_or(|cells| cells > self.dense) {
                return Err(Error::TooLarge {
                    what: "the table of a component of the spectrum",
                    bytes: (q as u128).saturating_pow(order as u32).saturating_mul(8),
                    advice: "truncate it to lower orders",
                });
            }
            let cells = table(&factors, q, labels, coefficients, order);
            self.merge(support.clone(), Table::Dense(cells.into_iter().map(|v| weight * v.re).collect()))?;
        }
        Ok(())
    }

    /// Leaves out the weakest components, as far as is allowed.
    pub(crate) fn keep(&mut self, keep: Keep) {
        let q = self.space.q();
        let listed: Vec<(&Vec<u16>, &Table)> = self.tables.iter().collect();
        let weigh = |(support, table): &(&Vec<u16>, &Table)| {
            (table.variance(q, support.len()), table.terms(q, support.len()).max(1))
        };
        let weights: Vec<(f64, usize)> = listed.par_iter().map(weigh).collect();
        let total: f64 = weights.iter().map(|(variance, _)| variance).sum();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| weights[a].0.total_cmp(&weights[b].0));
        let mut kept = vec![true; weights.len()];
        let mut gone = 0.0;
        for &index in &order {
            gone += weights[index].0;
            if gone > keep.dropped * total {
                break;
            }
            kept[index] = false;
        }
        if let Some(most) = keep.max_terms {
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
    }

    /// The sum as product terms.
    pub(crate) fn into_terms(self) -> ProductTerms {
        let q = self.space.q();
        let mut supports: Vec<SupportTerms> = self
            .tables
            .into_par_iter()
            .map(|(support, table)| {
                let order = support.len();
                let (mut labels, mut coefficients) = (Vec::new(), Vec::new());
                for (word, value) in table.shortest(q, order) {
                    let mut rest = word;
                    let at = labels.len();
                    labels.resize(at + order, 0);
                    for label in labels[at..].iter_mut().rev() {
                        *label = (rest % q as u64) as u16;
                        rest /= q as u64;
                    }
                    coefficients.push(value.into());
                }
                SupportTerms { support, labels, coefficients }
            })
            .collect();
        supports.retain(|group| !group.coefficients.is_empty());
        supports.sort_by(|a, b| (a.support.len(), &a.support).cmp(&(b.support.len(), &b.support)));
        ProductTerms { space: self.space, basis: Basis::Centred, constant: self.constant, supports }
    }
}

impl Table {
    /// The words that occur, ascending.
    fn entries(&self) -> Box<dyn Iterator<Item = (u64, f64)> + '_> {
        match self {
            Self::Dense(cells) => Box::new(
                cells
                    .iter()
                    .enumerate()
                    .map(|(word, &value)| (word as u64, value))
                    .filter(|(_, v)| *v != 0.0),
            ),
            Self::Sparse(words) => {
                Box::new(words.iter().map(|(&word, &value)| (word, value)).filter(|(_, v)| *v != 0.0))
            }
        }
    }

    fn scale(&mut self, weight: f64) {
        match self {
            Self::Dense(cells) => cells.iter_mut().for_each(|value| *value *= weight),
            Self::Sparse(words) => words.values_mut().for_each(|value| *value *= weight),
        }
    }

    /// The mean over the axis that has `after` words behind it.
    fn mean_over(&self, q: u64, after: u64) -> Self {
        let share = 1.0 / q as f64;
        match self {
            Self::Dense(cells) => {
                let mut rest = vec![0.0; cells.len() / q as usize];
                for (head, block) in cells.chunks_exact((q * after) as usize).enumerate() {
                    let out = &mut rest[head * after as usize..][..after as usize];
                    for row in block.chunks_exact(after as usize) {
                        out.iter_mut().zip(row).for_each(|(out, value)| *out += share * value);
                    }
                }
                Self::Dense(rest)
            }
            Self::Sparse(words) => {
                let mut rest = BTreeMap::new();
                for (&word, &value) in words {
                    *rest.entry(word / (q * after) * after + word % after).or_insert(0.0) += share * value;
                }
                Self::Sparse(rest)
            }
        }
    }

    /// The function of centred letters at every word, as a table.
    fn centred(cells: &[f64], q: usize, order: usize) -> Vec<f64> {
        let mut cells = cells.to_vec();
        for axis in 0..order as u32 {
            let after = q.pow(axis);
            for block in cells.chunks_exact_mut(q * after) {
                for at in 0..after {
                    let mean = (0..q).map(|letter| block[letter * after + at]).sum::<f64>() / q as f64;
                    (0..q).for_each(|letter| block[letter * after + at] -= mean);
                }
            }
        }
        cells
    }

    /// Variance over uniform sequences; of a sparse table that of its terms, as if uncorrelated.
    fn variance(&self, q: usize, order: usize) -> f64 {
        match self {
            Self::Dense(cells) => {
                let centred = Self::centred(cells, q, order);
                centred.iter().map(|v| v * v).sum::<f64>() / cells.len() as f64
            }
            Self::Sparse(words) => {
                let share = 1.0 / q as f64;
                words.values().map(|v| v * v).sum::<f64>() * (share * (1.0 - share)).powi(order as i32)
            }
        }
    }

    fn terms(&self, q: usize, order: usize) -> usize {
        match self {
            Self::Dense(cells) => {
                let used = cells.iter().filter(|v| **v != 0.0).count();
                used.min((q - 1).pow(order as u32))
            }
            Self::Sparse(words) => words.len(),
        }
    }

    /// Words and coefficients, as few as there are. As centred letters of a position add up to zero, those
    /// of letter 0 can always be written in the others.
    fn shortest(&self, q: usize, order: usize) -> Vec<(u64, f64)> {
        let listed: Vec<(u64, f64)> = self.entries().collect();
        let Self::Dense(cells) = self else { return listed };
        if listed.len() <= (q - 1).pow(order as u32) {
            return listed;
        }
        let mut cells = cells.clone();
        for axis in 0..order as u32 {
            let after = q.pow(axis);
            for block in cells.chunks_exact_mut(q * after) {
                for at in 0..after {
                    let first = block[at];
                    (0..q).for_each(|letter| block[letter * after + at] -= first);
                }
            }
        }
        Self::Dense(cells).entries().collect()
    }
}
