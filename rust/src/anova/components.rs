//! Components `a_x(S)` of a sum of product terms under a background, compiled for evaluation.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::background::Background;
use super::decompose::{Factors, Term, Values, projected, spread};
use super::multilinear::Products;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms};
use crate::words::{Block, cover};

/// Sequences explained by one task.
const ROWS: usize = 256;
/// Words of a block that is made of several supports.
const BLOCK_CELLS: usize = 1024;
/// Entries of the tables of all blocks.
const MAX_SHARES: usize = 1 << 26;
/// Words of a component whose table is made on the way.
const LARGEST: u128 = 1 << 24;

/// The components of a surrogate under a background, compiled for evaluation.
///
/// ```
/// use shapsketch::frequency::Frequency;
/// use shapsketch::surrogate::Spectrum;
/// use shapsketch::{Cancel, Components, SequenceSpace};
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
    background: Background,
    base_value: f64,
    pub(crate) form: Form,
}

#[derive(Clone, Debug)]
pub(crate) enum Form {
    Compiled(Compiled),
    /// The terms have too many components to list; scores and Shapley values come from the terms.
    Direct(Products),
}

#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    q: usize,
    n: usize,
    pub(crate) supports: Vec<Vec<u16>>,
    evaluators: Vec<Evaluator>,
    /// Entries of all tables.
    tables: Vec<f64>,
    factors: Factors,
    blocks: OnceLock<Option<Blocks>>,
}

#[derive(Clone, Debug)]
enum Evaluator {
    /// `a(S)` for every `x_S`, the first position most significant, from this offset on.
    Table(usize),
    /// The terms themselves.
    Terms(Vec<Term>),
}

impl Components {
    /// Compiles the components of a sum of product terms under the uniform background.
    ///
    /// # Errors
    /// If a term is not one of its space, or a coefficient is not finite.
    pub fn new(terms: &ProductTerms) -> Result<Self> {
        Self::with_background(terms, &Background::uniform(&terms.space))
    }

    /// Compiles the components of a sum of product terms under a background.
    ///
    /// # Errors
    /// If a term is not one of its space, a coefficient is not finite, or the background is one of another
    /// space; [`Error::TooLarge`] if long characters have too many components.
    pub fn with_background(terms: &ProductTerms, background: &Background) -> Result<Self> {
        terms.check()?;
        terms.space.check_same(background.space())?;
        let q = terms.space.q();
        let factors = terms.basis.factors(q);
        let means = background.means(&terms.basis, &factors);
        let factors = Factors { q, factors, means };
        let background = background.clone();
        let Some((base_value, components)) = spread(terms, &background, &factors)? else {
            let products = Products::new(terms, factors.means);
            if terms.basis == Basis::Characters {
                return Err(Error::TooLarge {
                    what: "the components of this spectrum under that background",
                    bytes: (products.parts() as u128).saturating_mul(32 * background.parts() as u128),
                    advice: "truncate the spectrum to lower orders, or give fewer background sequences",
                });
            }
            return Ok(Self { background, base_value: products.base_value(), form: Form::Direct(products) });
        };
        let (mut supports, mut tables) = (Vec::new(), Vec::new());
        let evaluators = components
            .into_iter()
            .map(|(support, values)| {
                supports.push(support);
                match values {
                    Values::Table(entries) => {
                        let offset = tables.len();
                        tables.extend(entries);
                        Evaluator::Table(offset)
                    }
                    Values::Terms(terms) => Evaluator::Terms(terms),
                }
            })
            .collect();
        let n = terms.space.n();
        let blocks = OnceLock::new();
        let form = Form::Compiled(Compiled { q, n, supports, evaluators, tables, factors, blocks });
        Ok(Self { background, base_value, form })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        self.background.space()
    }

    /// The background.
    #[must_use]
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// `a(∅)`, the mean of the surrogate over the background.
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

    pub(crate) fn compiled(&self) -> Result<&Compiled> {
        match &self.form {
            Form::Compiled(compiled) => Ok(compiled),
            Form::Direct(products) => Err(Error::TooLarge {
                what: "the list of components of these terms",
                bytes: (products.parts() as u128).saturating_mul(32),
                advice: "truncate the surrogate; scores and Shapley values need no list",
            }),
        }
    }

    /// Fills `width` numbers for each sequence, tile by tile, in parallel.
    pub(crate) fn map_tiles(
        &self,
        codes: &[u8],
        rows: usize,
        width: usize,
        cancel: &Cancel,
        fill: impl Fn(&[u8], &mut [f64]) + Sync,
    ) -> Result<Vec<f64>> {
        let count = self.space().check(codes)?;
        let bytes = 8 * count as u128 * width as u128;
        if bytes > isize::MAX as u128 {
            return Err(Error::TooLarge {
                what: "the result",
                bytes,
                advice: "explain fewer sequences at a time",
            });
        }
        let n = self.space().n();
        let mut out = vec![0.0; count * width];
        if width > 0 {
            out.par_chunks_mut(rows * width).zip(codes.par_chunks(rows * n)).try_for_each(
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
        self.map_tiles(codes, ROWS, 1, cancel, |codes, out| match &self.form {
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
        self.map_tiles(codes, ROWS, self.space().n(), cancel, |codes, out| match &self.form {
            Form::Compiled(compiled) => compiled.shapley_values(codes, out),
            Form::Direct(products) => products.shapley_values(codes, out),
        })
    }
}

impl Compiled {
    /// Component number `index` at one sequence.
    pub(crate) fn value(&self, index: usize, row: &[u8]) -> f64 {
        let q = self.q;
        let support = &self.supports[index];
        match &self.evaluators[index] {
            Evaluator::Table(offset) => {
                let at = support.iter().fold(0, |at, &i| at * q + row[i as usize] as usize);
                self.tables[offset + at]
            }
            Evaluator::Terms(terms) => self.factors.value(support, terms, row),
        }
    }

    /// Hands on the change of a component for every substitution: position, letter, change.
    pub(crate) fn substitutions(&self, index: usize, row: &[u8], mut add: impl FnMut(usize, usize, f64)) {
        let q = self.q;
        let support = &self.supports[index];
        match &self.evaluators[index] {
            Evaluator::Table(offset) => {
                let word = support.iter().fold(0, |at, &i| at * q + row[i as usize] as usize);
                let before = self.tables[offset + word];
                let mut stride = 1;
                for &i in support.iter().rev() {
                    let first = offset + word - row[i as usize] as usize * stride;
                    for letter in 0..q {
                        add(i as usize, letter, self.tables[first + letter * stride] - before);
                    }
                    stride *= q;
                }
            }
            Evaluator::Terms(terms) => {
                let mut mutant = row.to_vec();
                let before = self.factors.value(support, terms, row);
                for &i in support {
                    for letter in 0..q {
                        mutant[i as usize] = letter as u8;
                        add(i as usize, letter, self.factors.value(support, terms, &mutant) - before);
                    }
                    mutant[i as usize] = row[i as usize];
                }
            }
        }
    }

    /// The table of a component, made if it has none.
    ///
    /// # Errors
    /// If it has more words than fit into memory.
    pub(crate) fn table(&self, index: usize) -> Result<std::borrow::Cow<'_, [f64]>> {
        let support = &self.supports[index];
        match &self.evaluators[index] {
            Evaluator::Table(offset) => Ok(self.tables[*offset..][..self.q.pow(support.len() as u32)].into()),
            Evaluator::Terms(terms) => {
                let cells = (self.q as u128).saturating_pow(support.len() as u32);
                if cells > LARGEST {
                    return Err(Error::TooLarge {
                        what: "the table of one component",
                        bytes: cells.saturating_mul(8),
                        advice: "truncate the surrogate to lower orders",
                    });
                }
                Ok(self.factors.table(support, terms).into())
            }
        }
    }

    /// The tables of all blocks, unless they would take too much memory.
    fn blocks(&self) -> Option<&Blocks> {
        self.blocks.get_or_init(|| Blocks::new(self)).as_ref()
    }

    fn scores(&self, base_value: f64, codes: &[u8], out: &mut [f64]) {
        out.fill(base_value);
        for index in self.loose() {
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
        for index in self.loose() {
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

    /// Supports that are in no block.
    fn loose(&self) -> impl Iterator<Item = usize> {
        let blocks = self.blocks().is_some();
        let loose = move |index: &usize| !blocks || matches!(self.evaluators[*index], Evaluator::Terms(_));
        (0..self.supports.len()).filter(loose)
    }

    /// Supports whose components are sums of terms.
    pub(crate) fn long(&self) -> impl Iterator<Item = &Vec<u16>> {
        let tabled = |evaluator: &Evaluator| matches!(evaluator, Evaluator::Table(_));
        self.supports
            .iter()
            .zip(&self.evaluators)
            .filter(move |(_, e)| !tabled(e))
            .map(|(support, _)| support)
    }

    /// Adds the Shapley values of one sequence whose background is these sequences, each equally likely.
    ///
    /// Each block, and each support that is in none, is a game of its positions where the two sequences differ.
    pub(crate) fn shapley_values_against(&self, row: &[u8], references: &[u8], out: &mut [f64]) {
        let weight = self.n as f64 / references.len() as f64;
        let (mut players, mut words, mut game) = (Vec::new(), Vec::new(), Vec::new());
        let mut mixed = row.to_vec();
        for reference in references.chunks_exact(self.n) {
            let differs = |&&i: &&u16| row[i as usize] != reference[i as usize];
            for Shares { positions, table } in self.blocks().map_or(&[][..], |blocks| &blocks.blocks) {
                players.clear();
                words.clear();
                words.push(0_usize);
                let mut stride = 1;
                for &i in positions.iter().rev() {
                    let (own, other) = (row[i as usize] as usize, reference[i as usize] as usize);
                    let all = words.len();
                    if own != other {
                        players.push(i);
                        words.extend_from_within(..);
                        words[all..].iter_mut().for_each(|word| *word += own * stride);
                    }
                    words[..all].iter_mut().for_each(|word| *word += other * stride);
                    stride *= self.q;
                }
                let width = positions.len();
                let score = |word: usize| table[word * width..][..width].iter().sum::<f64>();
                game.clear();
                game.extend(words.iter().map(|&word| score(word)));
                add_shapley_values(&mut game, &players, weight, out);
            }
            for index in self.loose() {
                let support = &self.supports[index];
                players.clear();
                players.extend(support.iter().filter(differs));
                support.iter().for_each(|&i| mixed[i as usize] = row[i as usize]);
                game.clear();
                for mask in 0..1_usize << players.len() {
                    for (at, &i) in players.iter().enumerate() {
                        let from = if mask >> at & 1 == 1 { row } else { reference };
                        mixed[i as usize] = from[i as usize];
                    }
                    game.push(self.value(index, &mixed));
                }
                add_shapley_values(&mut game, &players, weight, out);
            }
        }
    }
}

/// Turns the scores of all coalitions, by mask, into a game's components, in place.
pub(crate) fn moebius(game: &mut [f64]) {
    let mut step = 1;
    while step < game.len() {
        for pair in game.chunks_exact_mut(2 * step) {
            let (without, with) = pair.split_at_mut(step);
            with.iter_mut().zip(without).for_each(|(with, without)| *with -= *without);
        }
        step *= 2;
    }
}

/// Adds the Shapley values of a game, given by its scores; they become its components.
fn add_shapley_values(game: &mut [f64], players: &[u16], weight: f64, out: &mut [f64]) {
    moebius(game);
    for (mask, component) in game.iter().enumerate().skip(1) {
        let share = weight * component / f64::from(mask.count_ones());
        for (_, &i) in players.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1) {
            out[i as usize] += share;
        }
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
