//! From product terms to the components of a game.
//!
//! Under a background `X`, a function `h` of the positions `T` has the components, for `S ⊆ T`,
//! `a(S) = Σ_{U⊆S} (-1)^{|S|-|U|} E h(x_U, X_{T∖U})`. If positions are independent, it follows axis by axis: `h`
//! minus its mean on the axes of `S`, the mean on the others. A single product `c Π_{i∈T} g(l_i, ·)` with means `u_i`
//! has the components `a(S) = c Π_{i∈S} (g(l_i, x_i) - u_i) Π_{i∈T∖S} u_i`.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::background::{Background, Means};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::{ProductTerms, SupportTerms, table};
use crate::words;

/// A component becomes a table if the table has at most the first number of entries, or at most the second number of
/// entries for each term that it replaces. A look-up is faster than the sum of the terms, but takes a few times the
/// memory.
const STRICT: (usize, usize) = (1 << 9, 8);
/// As `STRICT`, but used only if all tables together have at most `MANY_ENTRIES` entries.
const GENEROUS: (usize, usize) = (1 << 12, 64);
/// Largest number of entries of all tables for which `GENEROUS` is used.
const MANY_ENTRIES: usize = 1 << 24;
/// Largest number of components of single terms, over all terms without a table, that are listed.
const MAX_PARTS: f64 = (1 << 22) as f64;
/// Largest number of entries of all tables.
const MAX_ENTRIES: usize = 1 << 25;
/// Supports decomposed at a time.
const SUPPORTS: usize = 256;

/// The component of one support; `T` holds or refers to its table.
#[derive(Clone, Debug)]
pub(super) enum Component<T> {
    /// `a(S)` for every word of the support.
    Table(T),
    /// A sum of terms, if a table would be too large.
    Terms(Vec<Term>),
}

/// `c Π_i (g(l_i, x_i) - u_i)`, with the means under one part of the background: under a product distribution of the
/// mixture that it is.
#[derive(Clone, Debug)]
pub(super) struct Term {
    part: u32,
    labels: Box<[u16]>,
    coefficient: Complex64,
}

/// Factors of a basis, row `l`, and their means under each part of a background.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    pub(super) q: usize,
    pub(super) factors: Vec<Complex64>,
    pub(super) means: Vec<Means>,
}

impl Factors {
    /// The factors of the basis of these terms.
    pub(super) fn new(terms: &ProductTerms, background: &Background) -> Self {
        let q = terms.space.q();
        let factors = terms.basis.factors(q);
        let means = background.means(&terms.basis, &factors);
        Self { q, factors, means }
    }

    fn centred(&self, part: u32, position: u16, label: u16, symbol: u8) -> Complex64 {
        self.factors[label as usize * self.q + symbol as usize] - self.mean(part, position, label)
    }

    fn mean(&self, part: u32, position: u16, label: u16) -> Complex64 {
        self.means[part as usize].of(&self.factors, position, label)
    }

    /// The value of a sum of terms at one sequence.
    pub(super) fn value(&self, support: &[u16], terms: &[Term], row: &[u8]) -> f64 {
        terms
            .iter()
            .map(|term| {
                let labels = term.labels.iter().zip(support);
                labels
                    .fold(term.coefficient, |product, (&label, &i)| {
                        product * self.centred(term.part, i, label, row[i as usize])
                    })
                    .re
            })
            .sum()
    }

    /// The values of a sum of terms at every word of the support.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(super) fn table(&self, support: &[u16], terms: &[Term], cancel: &Cancel) -> Result<Vec<f64>> {
        let mut sum = vec![0.0; words::count(words::same(self.q, support.len()))];
        for term in terms {
            cancel.check()?;
            let mut products = vec![term.coefficient];
            for (&label, &i) in term.labels.iter().zip(support) {
                let row: Vec<Complex64> =
                    (0..self.q as u8).map(|symbol| self.centred(term.part, i, label, symbol)).collect();
                products = products.iter().flat_map(|p| row.iter().map(move |factor| p * factor)).collect();
            }
            sum.iter_mut().zip(products).for_each(|(sum, p)| *sum += p.re);
        }
        Ok(sum)
    }
}

/// The mean over the background, and the components by order, then position.
pub(super) struct Decomposition {
    pub(super) base_value: f64,
    pub(super) components: Listed,
}

/// Supports, each with its component.
pub(super) type Listed = Vec<(Vec<u16>, Component<Vec<f64>>)>;

/// Which components become tables.
struct TableLimit {
    q: usize,
    /// Entries of a table, or entries for each term that it replaces.
    entries: (usize, usize),
}

impl TableLimit {
    fn new(terms: &ProductTerms) -> Self {
        let generous = Self { q: terms.space.q(), entries: GENEROUS };
        let entries = terms
            .supports
            .iter()
            .filter_map(|group| generous.size(group.support.len(), group.coefficients.len()));
        let within = entries.sum::<usize>() <= MANY_ENTRIES;
        Self { entries: if within { GENEROUS } else { STRICT }, ..generous }
    }

    /// Number of entries of the table that replaces `terms` terms; `None` if it is too large.
    fn size(&self, order: usize, terms: usize) -> Option<usize> {
        let (entries, each) = self.entries;
        words::checked_count(words::same(self.q, order))
            .filter(|&size| size <= entries.max(terms.saturating_mul(each)))
    }

    fn allows(&self, order: usize, terms: usize) -> bool {
        self.size(order, terms).is_some()
    }
}

/// The sum of all contributions to the component of one support.
#[derive(Default)]
struct Sum {
    table: Vec<f64>,
    terms: BTreeMap<(u32, Box<[u16]>), Complex64>,
}

impl Sum {
    /// Adds a contribution and returns the number of new table entries.
    fn add(&mut self, component: Component<Vec<f64>>) -> usize {
        match component {
            Component::Table(table) if self.table.is_empty() => {
                self.table = table;
                return self.table.len();
            }
            Component::Table(table) => {
                self.table.iter_mut().zip(table).for_each(|(sum, value)| *sum += value);
            }
            Component::Terms(terms) => {
                for Term { part, labels, coefficient } in terms {
                    *self.terms.entry((part, labels)).or_default() += coefficient;
                }
            }
        }
        0
    }

    fn finish(
        self,
        support: &[u16],
        factors: &Factors,
        limit: &TableLimit,
        cancel: &Cancel,
    ) -> Result<Component<Vec<f64>>> {
        let terms: Vec<Term> = self
            .terms
            .into_iter()
            .map(|((part, labels), coefficient)| Term { part, labels, coefficient })
            .collect();
        let mut table = self.table;
        if !(terms.is_empty() || !table.is_empty() || limit.allows(support.len(), terms.len())) {
            return Ok(Component::Terms(terms));
        }
        let further = factors.table(support, &terms, cancel)?;
        table.resize(further.len(), 0.0);
        table.iter_mut().zip(further).for_each(|(sum, value)| *sum += value);
        Ok(Component::Table(table))
    }
}

/// The components of terms; `None` if there are too many to list.
///
/// # Errors
/// If the caller cancels.
pub(super) fn decompose(
    terms: &ProductTerms,
    background: &Background,
    factors: &Factors,
    cancel: &Cancel,
) -> Result<Option<Decomposition>> {
    let limit = TableLimit::new(terms);
    let tabled = |group: &SupportTerms| limit.allows(group.support.len(), group.coefficients.len());
    let parts: f64 = terms
        .supports
        .iter()
        .filter(|group| !tabled(group))
        .map(|group| {
            let free = vanishing(group, factors).iter().filter(|&&vanishes| !vanishes).count();
            (group.coefficients.len() * background.parts()) as f64 * 2.0_f64.powi(free as i32)
        })
        .sum();
    if parts > MAX_PARTS {
        return Ok(None);
    }
    let mut base_value = terms.constant;
    let mut entries = 0;
    let mut sums: BTreeMap<(usize, Vec<u16>), Sum> = BTreeMap::new();
    for groups in terms.supports.chunks(SUPPORTS) {
        let contributions: Vec<Listed> = groups
            .par_iter()
            .map(|group| {
                cancel.check()?;
                if tabled(group) {
                    Ok(of_table(group, background, factors, &vanishing(group, factors)))
                } else {
                    of_terms(group, factors, cancel)
                }
            })
            .collect::<Result<_>>()?;
        for (support, component) in contributions.into_iter().flatten() {
            if support.is_empty() {
                base_value += match component {
                    Component::Table(table) => table[0],
                    Component::Terms(terms) => terms.iter().map(|term| term.coefficient.re).sum(),
                };
            } else {
                entries += sums.entry((support.len(), support)).or_default().add(component);
            }
        }
        if entries > MAX_ENTRIES {
            return Ok(None);
        }
    }
    let components = sums
        .into_par_iter()
        .map(|((_, support), sum)| {
            cancel.check()?;
            let component = sum.finish(&support, factors, &limit, cancel)?;
            Ok((support, component))
        })
        .collect::<Result<_>>()?;
    Ok(Some(Decomposition { base_value, components }))
}

/// For each position of the support, whether the factors of all terms have mean zero under every part of the
/// background.
fn vanishing(group: &SupportTerms, factors: &Factors) -> Vec<bool> {
    let order = group.support.len();
    let zero = |axis: usize, label: u16| {
        (0..factors.means.len() as u32)
            .all(|part| factors.mean(part, group.support[axis], label) == Complex64::ZERO)
    };
    (0..order)
        .map(|axis| group.labels.iter().skip(axis).step_by(order).all(|&label| zero(axis, label)))
        .collect()
}

/// The components of a group of terms, from the table of their sum.
fn of_table(group: &SupportTerms, background: &Background, factors: &Factors, vanishing: &[bool]) -> Listed {
    let SupportTerms { support, labels, coefficients } = group;
    let values: Vec<f64> = table(&factors.factors, factors.q, labels, coefficients, support.len())
        .into_iter()
        .map(|value| value.re)
        .collect();
    let tables = if background.factorises() {
        axis_by_axis(values, support, background, vanishing)
    } else {
        jointly(&values, support, background)
    };
    tables.into_iter().map(|(support, table)| (support, Component::Table(table))).collect()
}

/// The components under independent positions, one axis at a time.
fn axis_by_axis(
    values: Vec<f64>,
    support: &[u16],
    background: &Background,
    vanishing: &[bool],
) -> Vec<(Vec<u16>, Vec<f64>)> {
    let q = background.space().q();
    let mut tables = vec![(Vec::new(), values)];
    for (&position, &vanishes) in support.iter().zip(vanishing) {
        let chances = background.symbols(position);
        let mut next = Vec::with_capacity(2 * tables.len());
        for (kept, table) in tables {
            // Average over the first remaining axis, or move it to the end. After all axes the original order is
            // restored.
            let rest = table.len() / q;
            let mut mean = vec![0.0; rest];
            if !vanishes {
                for (row, p) in table.chunks_exact(rest).zip(&chances) {
                    mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += p * value);
                }
            }
            let mut centred = vec![0.0; table.len()];
            for (symbol, row) in table.chunks_exact(rest).enumerate() {
                for ((index, value), mean) in row.iter().enumerate().zip(&mean) {
                    centred[index * q + symbol] = value - mean;
                }
            }
            let mut wider = kept.clone();
            wider.push(position);
            if !vanishes {
                next.push((kept, mean));
            }
            next.push((wider, centred));
        }
        tables = next;
    }
    tables
}

/// The components under any background: first the scores of all coalitions, then differences over subsets.
fn jointly(values: &[f64], support: &[u16], background: &Background) -> Vec<(Vec<u16>, Vec<f64>)> {
    let q = background.space().q();
    let joint = background.words(support);
    let all = (1 << support.len()) - 1;
    let mut games: Vec<(Vec<u16>, Vec<f64>)> = (0..=all)
        .map(|mask| {
            let (inside, outside) = (words::subset(support, mask), words::subset(support, all & !mask));
            let (present, missing) = (projections(support, &inside, q), projections(support, &outside, q));
            let mut chances = vec![0.0; words::count(words::same(q, outside.len()))];
            missing.iter().zip(&joint).for_each(|(&word, p)| chances[word] += p);
            let mut game = vec![0.0; words::count(words::same(q, inside.len()))];
            for ((&present, &missing), value) in present.iter().zip(&missing).zip(values) {
                game[present] += chances[missing] * value;
            }
            (inside, game)
        })
        .collect();
    for axis in 0..support.len() {
        for mask in (0..=all).filter(|mask| mask >> axis & 1 == 1) {
            let (without, with) = games.split_at_mut(mask);
            let (fewer, less) = &without[mask & !(1 << axis)];
            let (positions, game) = &mut with[0];
            for (value, word) in game.iter_mut().zip(projections(positions, fewer, q)) {
                *value -= less[word];
            }
        }
    }
    games
}

fn projections(positions: &[u16], support: &[u16], q: usize) -> Vec<usize> {
    words::projections(positions, words::same(q, positions.len()), support)
}

/// The components of each term.
fn of_terms(group: &SupportTerms, factors: &Factors, cancel: &Cancel) -> Result<Listed> {
    let order = group.support.len();
    let parts = factors.means.len();
    let mut components: BTreeMap<Vec<u16>, Vec<Term>> = BTreeMap::new();
    for part in 0..parts as u32 {
        cancel.check()?;
        for (labels, &coefficient) in group.labels.chunks_exact(order).zip(&group.coefficients) {
            let mut expanded = vec![(Vec::new(), Vec::new(), coefficient / parts as f64)];
            for (&position, &label) in group.support.iter().zip(labels) {
                let mean = factors.mean(part, position, label);
                let mut next = Vec::with_capacity(2 * expanded.len());
                for (support, kept, weight) in expanded {
                    let (mut wider, mut more): (Vec<u16>, Vec<u16>) = (support.clone(), kept.clone());
                    wider.push(position);
                    more.push(label);
                    next.push((wider, more, weight));
                    if mean != Complex64::ZERO {
                        next.push((support, kept, weight * mean));
                    }
                }
                expanded = next;
            }
            for (support, kept, coefficient) in expanded {
                components.entry(support).or_default().push(Term { part, labels: kept.into(), coefficient });
            }
        }
    }
    Ok(components.into_iter().map(|(support, terms)| (support, Component::Terms(terms))).collect())
}
