//! From product terms to the components of a game.
//!
//! Under a background `X`, a function `h` of the positions `T` has the components, for `S ⊆ T`,
//! `a(S) = Σ_{U⊆S} (-1)^{|S|-|U|} E h(x_U, X_{T∖U})`. Where positions are independent that is one axis at a
//! time: `h` less its mean, or the mean. A single product `c Π_{i∈T} g(l_i, ·)` with means `u_i` has
//! `a(S) = c Π_{i∈S} (g(l_i, x_i) - u_i) Π_{i∈T∖S} u_i`.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::background::{Background, Means};
use crate::error::Result;
use crate::surrogate::{ProductTerms, SupportTerms, table};
use crate::words::subset;

/// Tables of at most so many entries, or so many for each term they replace, are always made: a look-up beats
/// the sum, at a few times the memory.
const STRICT: (usize, usize) = (1 << 9, 8);
/// The same as long as all of them have at most `MANY_ENTRIES`.
const GENEROUS: (usize, usize) = (1 << 12, 64);
const MANY_ENTRIES: usize = 1 << 24;
/// Components of single terms that are added up.
const MAX_PARTS: f64 = (1 << 22) as f64;
/// Entries of all tables.
const MAX_ENTRIES: usize = 1 << 25;
/// Supports taken apart at a time.
const SUPPORTS: usize = 256;

/// The component of one support.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// `a(S)` for every `x_S`, the first position most significant.
    Table(Vec<f64>),
    /// Terms, where a table would be too large.
    Terms(Vec<Term>),
}

/// `c Π_i (g(l_i, x_i) - u_i)`, with the means of one part of the background.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) part: u32,
    pub(crate) labels: Box<[u16]>,
    pub(crate) coefficient: Complex64,
}

/// Factors of a basis, row `l`, and their means under each part of a background.
#[derive(Clone, Debug)]
pub(crate) struct Factors {
    pub(crate) q: usize,
    pub(crate) factors: Vec<Complex64>,
    pub(crate) means: Vec<Means>,
}

impl Factors {
    pub(crate) fn centred(&self, part: u32, position: u16, label: u16, letter: u8) -> Complex64 {
        self.factors[label as usize * self.q + letter as usize] - self.mean(part, position, label)
    }

    fn mean(&self, part: u32, position: u16, label: u16) -> Complex64 {
        self.means[part as usize].of(&self.factors, position, label)
    }

    /// A component of terms at one sequence.
    pub(crate) fn value(&self, support: &[u16], terms: &[Term], row: &[u8]) -> f64 {
        terms
            .iter()
            .map(|term| {
                let places = term.labels.iter().zip(support);
                places
                    .fold(term.coefficient, |product, (&label, &i)| {
                        product * self.centred(term.part, i, label, row[i as usize])
                    })
                    .re
            })
            .sum()
    }

    /// The same at every word.
    pub(crate) fn table(&self, support: &[u16], terms: &[Term]) -> Vec<f64> {
        let mut sum = vec![0.0; self.q.pow(support.len() as u32)];
        for term in terms {
            let mut products = vec![term.coefficient];
            for (&label, &i) in term.labels.iter().zip(support) {
                let row: Vec<Complex64> =
                    (0..self.q as u8).map(|letter| self.centred(term.part, i, label, letter)).collect();
                products = products.iter().flat_map(|p| row.iter().map(move |factor| p * factor)).collect();
            }
            sum.iter_mut().zip(products).for_each(|(sum, p)| *sum += p.re);
        }
        sum
    }
}

/// A mean, and the components by order, then position.
pub(crate) type Spread = (f64, Vec<(Vec<u16>, Values)>);

/// What a support got so far.
#[derive(Default)]
struct Slot {
    table: Vec<f64>,
    terms: BTreeMap<(u32, Box<[u16]>), Complex64>,
}

enum Piece {
    Table(Vec<f64>),
    Terms(Vec<Term>),
}

/// The components of terms, `None` if they are too many to list.
pub(crate) fn spread(
    terms: &ProductTerms,
    background: &Background,
    factors: &Factors,
) -> Result<Option<Spread>> {
    let q = factors.q;
    let size = |order: usize| q.checked_pow(order as u32);
    let within = |(entries, each): (usize, usize), order: usize, terms: usize| {
        size(order).filter(|&size| size <= entries.max(terms.saturating_mul(each)))
    };
    let sizes = terms.supports.iter().filter_map(|g| within(GENEROUS, g.support.len(), g.coefficients.len()));
    let limit = if sizes.sum::<usize>() <= MANY_ENTRIES { GENEROUS } else { STRICT };
    let tabled = |order: usize, terms: usize| within(limit, order, terms).is_some();
    let vanishing = |group: &SupportTerms| vanishing(group, factors);
    let parts: f64 = terms
        .supports
        .iter()
        .filter(|group| !tabled(group.support.len(), group.coefficients.len()))
        .map(|group| {
            let free = vanishing(group).iter().filter(|&&vanishes| !vanishes).count();
            (group.coefficients.len() * background.parts()) as f64 * 2.0_f64.powi(free as i32)
        })
        .sum();
    if parts > MAX_PARTS {
        return Ok(None);
    }
    let mut base_value = terms.constant;
    let mut entries = 0;
    let mut slots: BTreeMap<(usize, Vec<u16>), Slot> = BTreeMap::new();
    for groups in terms.supports.chunks(SUPPORTS) {
        let pieces: Vec<Vec<(Vec<u16>, Piece)>> = groups
            .par_iter()
            .map(|group| {
                if tabled(group.support.len(), group.coefficients.len()) {
                    of_table(group, background, factors, &vanishing(group))
                } else {
                    of_terms(group, factors)
                }
            })
            .collect();
        for (support, piece) in pieces.into_iter().flatten() {
            if support.is_empty() {
                base_value += match piece {
                    Piece::Table(table) => table[0],
                    Piece::Terms(terms) => terms.iter().map(|term| term.coefficient.re).sum(),
                };
                continue;
            }
            let slot = slots.entry((support.len(), support)).or_default();
            match piece {
                Piece::Table(table) if slot.table.is_empty() => {
                    entries += table.len();
                    slot.table = table;
                }
                Piece::Table(table) => {
                    slot.table.iter_mut().zip(table).for_each(|(sum, value)| *sum += value);
                }
                Piece::Terms(terms) => {
                    for Term { part, labels, coefficient } in terms {
                        *slot.terms.entry((part, labels)).or_default() += coefficient;
                    }
                }
            }
        }
        if entries > MAX_ENTRIES {
            return Ok(None);
        }
    }
    let components: Vec<(Vec<u16>, Values)> = slots
        .into_par_iter()
        .map(|((order, support), slot)| {
            let terms: Vec<Term> = slot
                .terms
                .into_iter()
                .map(|((part, labels), coefficient)| Term { part, labels, coefficient })
                .collect();
            let mut table = slot.table;
            if terms.is_empty() || !table.is_empty() || tabled(order, terms.len()) {
                let further = factors.table(&support, &terms);
                table.resize(further.len(), 0.0);
                table.iter_mut().zip(further).for_each(|(sum, value)| *sum += value);
                return (support, Values::Table(table));
            }
            (support, Values::Terms(terms))
        })
        .collect();
    Ok(Some((base_value, components)))
}

/// Where the factors of all terms have mean zero under all of the background.
fn vanishing(group: &SupportTerms, factors: &Factors) -> Vec<bool> {
    let order = group.support.len();
    let zero = |at: usize, label: u16| {
        (0..factors.means.len() as u32)
            .all(|part| factors.mean(part, group.support[at], label) == Complex64::ZERO)
    };
    (0..order).map(|at| group.labels.iter().skip(at).step_by(order).all(|&label| zero(at, label))).collect()
}

/// The components of a group of terms, from the table of their sum.
fn of_table(
    group: &SupportTerms,
    background: &Background,
    factors: &Factors,
    vanishing: &[bool],
) -> Vec<(Vec<u16>, Piece)> {
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
    tables.into_iter().map(|(support, table)| (support, Piece::Table(table))).collect()
}

fn axis_by_axis(
    values: Vec<f64>,
    support: &[u16],
    background: &Background,
    vanishing: &[bool],
) -> Vec<(Vec<u16>, Vec<f64>)> {
    let q = background.space().q();
    let mut tables = vec![(Vec::new(), values)];
    for (&position, &vanishes) in support.iter().zip(vanishing) {
        let letters = background.letters(position);
        let mut next = Vec::with_capacity(2 * tables.len());
        for (kept, table) in tables {
            // The first axis that is left goes, or is put last: at the end the order is the old one.
            let rest = table.len() / q;
            let mut mean = vec![0.0; rest];
            if !vanishes {
                for (row, p) in table.chunks_exact(rest).zip(&letters) {
                    mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += p * value);
                }
            }
            let mut centred = vec![0.0; table.len()];
            for (letter, row) in table.chunks_exact(rest).enumerate() {
                for (at, value) in row.iter().enumerate() {
                    centred[at * q + letter] = value - mean[at];
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

fn jointly(values: &[f64], support: &[u16], background: &Background) -> Vec<(Vec<u16>, Vec<f64>)> {
    let q = background.space().q();
    let joint = background.words(support);
    let all = (1 << support.len()) - 1;
    let mut games: Vec<(Vec<u16>, Vec<f64>)> = (0..=all)
        .map(|mask| {
            let (inside, outside) = (subset(support, mask), subset(support, all & !mask));
            let (known, missing) = (projected(support, &inside, q), projected(support, &outside, q));
            let mut chances = vec![0.0; q.pow(outside.len() as u32)];
            missing.iter().zip(&joint).for_each(|(&word, p)| chances[word] += p);
            let mut game = vec![0.0; q.pow(inside.len() as u32)];
            for ((&known, &missing), value) in known.iter().zip(&missing).zip(values) {
                game[known] += chances[missing] * value;
            }
            (inside, game)
        })
        .collect();
    for at in 0..support.len() {
        for mask in (0..=all).filter(|mask| mask >> at & 1 == 1) {
            let (without, with) = games.split_at_mut(mask);
            let (fewer, less) = &without[mask & !(1 << at)];
            let (positions, game) = &mut with[0];
            for (value, word) in game.iter_mut().zip(projected(positions, fewer, q)) {
                *value -= less[word];
            }
        }
    }
    games
}

/// For every word of some positions, the word of those that are in the support.
pub(crate) fn projected(positions: &[u16], support: &[u16], q: usize) -> Vec<usize> {
    let mut words = vec![0];
    for position in positions {
        let kept = support.contains(position);
        let step = |word: usize| (0..q).map(move |letter| if kept { word * q + letter } else { word });
        words = words.into_iter().flat_map(step).collect();
    }
    words
}

/// The components of each term.
fn of_terms(group: &SupportTerms, factors: &Factors) -> Vec<(Vec<u16>, Piece)> {
    let order = group.support.len();
    let parts = factors.means.len();
    let mut found: BTreeMap<Vec<u16>, Vec<Term>> = BTreeMap::new();
    for part in 0..parts as u32 {
        for (labels, &coefficient) in group.labels.chunks_exact(order).zip(&group.coefficients) {
            let mut pieces = vec![(Vec::new(), Vec::new(), coefficient / parts as f64)];
            for (&position, &label) in group.support.iter().zip(labels) {
                let mean = factors.mean(part, position, label);
                let mut next = Vec::with_capacity(2 * pieces.len());
                for (support, kept, weight) in pieces {
                    let (mut wider, mut more): (Vec<u16>, Vec<u16>) = (support.clone(), kept.clone());
                    wider.push(position);
                    more.push(label);
                    next.push((wider, more, weight));
                    if mean != Complex64::ZERO {
                        next.push((support, kept, weight * mean));
                    }
                }
                pieces = next;
            }
            for (support, kept, coefficient) in pieces {
                found.entry(support).or_default().push(Term { part, labels: kept.into(), coefficient });
            }
        }
    }
    found.into_iter().map(|(support, terms)| (support, Piece::Terms(terms))).collect()
}
