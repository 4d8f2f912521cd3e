//! Components `a_x(S) = f_S(x_S)` of a sum of product terms, and what follows from them.
//!
//! With `z_i = g(l_i, x_i)` and `u_i = E g(l_i, X_i)`, a term `c Π_{i∈T} g(l_i, ·)` has the components
//! `a_x(S) = c Π_{i∈S} (z_i - u_i) Π_{i∈T∖S} u_i` for `S ⊆ T`. Characters have `u = 0`: only `S = T`
//! is left.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::products::Products;
use crate::cancel::Cancel;
use crate::cover::{Block, cover};
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, SupportTerms, table};

/// Sequences explained by one task.
const ROWS: usize = 256;
/// Tables up to this many entries are always made.
const SMALL_TABLE: usize = 512;
/// Tables up to this many entries are made as long as all of them have at most `MANY_ENTRIES`.
const LARGE_TABLE: usize = 4096;
const MANY_ENTRIES: usize = 1 << 24;
/// Larger tables are made where they have at most this many entries for each term they replace: a
/// look-up then beats the sum, at a few times the memory.
const ENTRIES_PER_TERM: usize = 8;
/// Components of single terms that are added up; terms with more are evaluated as they are.
const MAX_PARTS: f64 = (1 << 22) as f64;
/// Words of a block that is made of several supports.
const BLOCK_CELLS: usize = 256;
/// Entries of the tables of all blocks.
const MAX_SHARES: usize = 1 << 26;

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
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Compiled(Compiled),
    /// The terms have too many components to list; scores and Shapley values come from the terms.
    Direct(Products),
}

#[derive(Clone, Debug)]
struct Compiled {
    q: usize,
    n: usize,
    supports: Vec<Vec<u16>>,
    evaluators: Vec<Evaluator>,
    /// Entries of all tables.
    tables: Vec<f64>,
    /// Factors less their means, row `l`.
    centred: Vec<Complex64>,
    blocks: OnceLock<Option<Blocks>>,
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
    /// If a term is not one of its space, or a coefficient is not finite.
    pub fn new(terms: &ProductTerms) -> Result<Self> {
        terms.check()?;
        let q = terms.space.q();
        let means = terms.basis.means(q);
        let real = terms.basis != Basis::Characters;
        let parts: f64 = terms
            .supports
            .iter()
            .map(|group| group.coefficients.len() as f64 * 2.0_f64.powi(group.support.len() as i32))
            .sum();
        if real && parts > MAX_PARTS && means.iter().any(|&mean| mean != 0.0) {
            let products = Products::new(terms);
            return Ok(Self {
                space: terms.space.clone(),
                base_value: products.base_value(),
                form: Form::Direct(products),
            });
        }
        let mut centred = terms.basis.factors(q);
        for (i, factor) in centred.iter_mut().enumerate() {
            *factor -= means[i / q];
        }
        let (base_value, supports) = spread(terms, &means);
        let size = |group: &SupportTerms| q.checked_pow(group.support.len() as u32);
        let tables = supports.iter().filter_map(size).filter(|&size| size <= LARGE_TABLE);
        let small = if tables.sum::<usize>() <= MANY_ENTRIES { LARGE_TABLE } else { SMALL_TABLE };
        let compiled: Vec<std::result::Result<Vec<f64>, SupportTerms>> = supports
            .par_iter()
            .map(|group| {
                let limit = small.max(ENTRIES_PER_TERM * group.coefficients.len());
                match size(group) {
                    Some(size) if size <= limit => Ok(values(group, &centred, q)),
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
        let n = terms.space.n();
        let blocks = OnceLock::new();
        let form = Form::Compiled(Compiled { q, n, supports, evaluators, tables, centred, blocks });
        Ok(Self { space: terms.space.clone(), base_value, form })
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
    ///
    /// # Errors
    /// [`Error::TooLarge`] if long terms have too many to list.
    pub fn supports(&self) -> Result<&[Vec<u16>]> {
        self.compiled().map(|compiled| compiled.supports.as_slice())
    }

    fn compiled(&self) -> Result<&Compiled> {
        match &self.form {
            Form::Compiled(compiled) => Ok(compiled),
            Form::Direct(products) => Err(Error::TooLarge {
                what: "the list of components of these terms",
                bytes: products.parts() as u128 * 32,
                advice: "truncate the surrogate; scores and Shapley values need no list",
            }),
        }
    }

    /// Fills `width` numbers for each sequence, tile by tile, in parallel.
    fn map_tiles(
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
                    fill(codes, out);
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
        self.map_tiles(codes, 1, cancel, |codes, out| match &self.form {
            Form::Compiled(compiled) => compiled.scores(self.base_value, codes, out),
            Form::Direct(products) => products.scores(codes, out),
        })
    }

    /// Shapley values `SV_i = Σ_{S∋i} a(S)/|S|` of each sequence; shape `(B, n)`. With the base value
    /// they sum to the surrogate's score.
    ///
    /// # Errors
    /// If the codes are not sequences of the space.
    pub fn shapley_values(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.map_tiles(codes, self.space.n(), cancel, |codes, out| match &self.form {
            Form::Compiled(compiled) => compiled.shapley_values(codes, out),
            Form::Direct(products) => products.shapley_values(codes, out),
        })
    }

    /// The Möbius transform `a(S)` of the game at each sequence, for every support of
    /// [`Components::supports`]; shape `(B, supports)`. These are the full-order interactions that
    /// the SHAP zero paper calls Faith-Shap.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, there are too many supports to list, or the result would
    /// exceed the address space.
    pub fn moebius(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let compiled = self.compiled()?;
        let width = compiled.supports.len();
        self.map_tiles(codes, width, cancel, |codes, out| {
            for (row, out) in codes.chunks_exact(self.space.n()).zip(out.chunks_exact_mut(width)) {
                out.iter_mut().enumerate().for_each(|(s, out)| *out = compiled.value(s, row));
            }
        })
    }
}

impl Compiled {
    /// Component number `index` at one sequence.
    fn value(&self, index: usize, row: &[u8]) -> f64 {
        let q = self.q;
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

    /// The tables of all blocks, unless they would take too much memory.
    fn blocks(&self) -> Option<&Blocks> {
        self.blocks.get_or_init(|| Blocks::new(self)).as_ref()
    }

    fn scores(&self, base_value: f64, codes: &[u8], out: &mut [f64]) {
        out.fill(base_value);
        let loose = self.blocks().map_or(0..self.supports.len(), |_| 0..0).chain(self.loose());
        for index in loose {
            for (row, out) in codes.chunks_exact(self.n).zip(&mut *out) {
                *out += self.value(index, row);
            }
        }
        self.each_block(codes, |_, shares| {
            for (shares, out) in shares.zip(&mut *out) {
                *out += shares.iter().sum::<f64>();
            }
        });
    }

    fn shapley_values(&self, codes: &[u8], out: &mut [f64]) {
        let n = self.n;
        let loose = self.blocks().map_or(0..self.supports.len(), |_| 0..0).chain(self.loose());
        for index in loose {
            let support = &self.supports[index];
            for (row, out) in codes.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
                let share = self.value(index, row) / support.len() as f64;
                support.iter().for_each(|&i| out[i as usize] += share);
            }
        }
        self.each_block(codes, |positions, shares| {
            for (shares, out) in shares.zip(out.chunks_exact_mut(n)) {
                for (&i, share) in positions.iter().zip(shares) {
                    out[i as usize] += share;
                }
            }
        });
    }

    /// Hands the shares of each block at each sequence of a tile to `add`, with the block's positions.
    fn each_block(&self, codes: &[u8], mut add: impl FnMut(&[u16], &mut dyn Iterator<Item = &[f64]>)) {
        let Some(Blocks { blocks }) = self.blocks() else { return };
        let count = codes.len() / self.n;
        // Position by position, so that the words of all sequences of a tile are computed together.
        let columns: Vec<u32> =
            (0..self.n).flat_map(|i| codes.chunks_exact(self.n).map(move |row| u32::from(row[i]))).collect();
        let mut words = vec![0_u32; count];
        for Shares { positions, table } in blocks {
            words.fill(0);
            for &i in positions {
                let column = &columns[i as usize * count..][..count];
                words
                    .iter_mut()
                    .zip(column)
                    .for_each(|(word, letter)| *word = *word * self.q as u32 + letter);
            }
            let width = positions.len();
            add(positions, &mut words.iter().map(|&word| &table[word as usize * width..][..width]));
        }
    }

    /// Supports that have no table, where the others are in blocks.
    fn loose(&self) -> impl Iterator<Item = usize> {
        let blocks = self.blocks().is_some();
        let loose = move |index: &usize| blocks && matches!(self.evaluators[*index], Evaluator::Terms(_));
        (0..self.supports.len()).filter(loose)
    }
}

/// Supports that lie among few positions share one table: of the Shapley values that their components give
/// to each of these positions, for every word.
#[derive(Clone, Debug)]
struct Blocks {
    blocks: Vec<Shares>,
}

#[derive(Clone, Debug)]
struct Shares {
    positions: Vec<u16>,
    /// One row of `positions.len()` for each word.
    table: Vec<f64>,
}

impl Blocks {
    fn new(compiled: &Compiled) -> Option<Self> {
        let q = compiled.q;
        let tabled: Vec<(usize, usize)> = compiled
            .evaluators
            .iter()
            .enumerate()
            .filter_map(|(index, evaluator)| match evaluator {
                Evaluator::Table(offset) => Some((index, *offset)),
                Evaluator::Terms(_) => None,
            })
            .collect();
        let supports: Vec<Vec<u16>> =
            tabled.iter().map(|&(index, _)| compiled.supports[index].clone()).collect();
        let cover = cover(&supports, q, compiled.n, BLOCK_CELLS);
        let words = |block: &Block| q.pow(block.positions.len() as u32);
        if cover.iter().map(|block| words(block) * block.positions.len()).sum::<usize>() > MAX_SHARES {
            return None;
        }
        // One thread: a parallel iterator could take up a task that waits for these very tables.
        let blocks = cover
            .into_iter()
            .map(|block| {
                let width = block.positions.len();
                let mut table = vec![0.0; words(&block) * width];
                for &s in &block.supports {
                    let support = &supports[s];
                    let entries = &compiled.tables[tabled[s].1..];
                    let places: Vec<usize> =
                        (0..width).filter(|&at| support.contains(&block.positions[at])).collect();
                    for (row, word) in
                        table.chunks_exact_mut(width).zip(projected(&block.positions, support, q))
                    {
                        let share = entries[word] / support.len() as f64;
                        places.iter().for_each(|&at| row[at] += share);
                    }
                }
                Shares { positions: block.positions, table }
            })
            .collect();
        Some(Self { blocks })
    }
}

/// For every word of some positions, the word of those that are in the support.
fn projected(positions: &[u16], support: &[u16], q: usize) -> Vec<usize> {
    let mut words = vec![0];
    for position in positions {
        let kept = support.contains(position);
        let step = |word: usize| (0..q).map(move |letter| if kept { word * q + letter } else { word });
        words = words.into_iter().flat_map(step).collect();
    }
    words
}

/// Rewrites terms in centred factors: the mean, and terms grouped and sorted by support.
fn spread(terms: &ProductTerms, means: &[f64]) -> (f64, Vec<SupportTerms>) {
    let mut base_value = terms.constant;
    let centred_already =
        terms.supports.iter().all(|group| group.labels.iter().all(|&l| means[l as usize] == 0.0));
    let mut spread: BTreeMap<(usize, Vec<u16>), BTreeMap<Vec<u16>, Complex64>> = BTreeMap::new();
    if centred_already {
        let mut groups = terms.supports.clone();
        groups.sort_by(|a, b| (a.support.len(), &a.support).cmp(&(b.support.len(), &b.support)));
        return (base_value, groups);
    }
    for group in &terms.supports {
        let order = group.support.len();
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
    (base_value, groups)
}

/// `Re Σ_t c_t Π_i centred(l_{t,i}, x_i)` for every `x_S`.
fn values(group: &SupportTerms, centred: &[Complex64], q: usize) -> Vec<f64> {
    let SupportTerms { support, labels, coefficients } = group;
    table(centred, q, labels, coefficients, support.len()).into_iter().map(|value| value.re).collect()
}
