//! Gather and scatter by tables: any sequences, letter patterns or characters.
//!
//! The table of a support `S` has a cell for each of the `q^|S|` words `x_S`. One pass over the data
//! adds up the residuals of each word; these sums are the correlations with the letter patterns, and
//! their transform those with the characters.

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::Atoms;
use super::operator::{AtomId, Column, Operator, word};
use super::real_characters::{Wave, cells, wave};
use crate::cancel::Cancel;
use crate::cover::{Block, cover};
use crate::error::Result;
use crate::space::roots_of_unity;

/// Blocks gathered by one task.
const BLOCKS: usize = 4;
/// Cells of the table of a block, at most, and at most this part of the rows.
const CELLS: usize = 256;
const CELLS_OF_ROWS: usize = 16;

/// The atoms of a list of supports on a set of sequences.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    q: usize,
    basis: Atoms,
    /// Codes, position by position.
    columns: Vec<Vec<u8>>,
    /// Rows with a letter at a position, position by position, then letter by letter.
    rows: Vec<Vec<u32>>,
    values: Vec<f64>,
    constant: Vec<f64>,
    /// Those of the dictionary, then those added one by one.
    supports: Vec<Vec<u16>>,
    listed: usize,
    blocks: Vec<Block>,
    /// How often a letter occurs at a position, row by row.
    frequencies: Vec<f64>,
    /// Scales of the letter patterns of the dictionary, from these offsets on.
    scales: Vec<f64>,
    offsets: Vec<usize>,
    roots: Vec<Complex64>,
}

impl Tables {
    pub(crate) fn new(
        q: usize,
        n: usize,
        basis: Atoms,
        codes: &[u8],
        values: &[f64],
        supports: Vec<Vec<u16>>,
    ) -> Self {
        let columns: Vec<Vec<u8>> =
            (0..n).into_par_iter().map(|i| codes.chunks_exact(n).map(|row| row[i]).collect()).collect();
        let rows: Vec<Vec<u32>> = columns
            .par_iter()
            .flat_map_iter(|column| {
                let mut rows = vec![Vec::new(); q];
                for (row, &letter) in column.iter().enumerate() {
                    rows[letter as usize].push(row as u32);
                }
                rows
            })
            .collect();
        let frequencies: Vec<f64> = rows.iter().map(|rows| rows.len() as f64 / values.len() as f64).collect();
        let (mut scales, mut offsets) = (Vec::new(), Vec::new());
        if basis == Atoms::Letters {
            for support in &supports {
                offsets.push(scales.len());
                scales.extend(pattern_scales(support, &frequencies, q));
            }
        }
        let blocks = cover(&supports, q, n, CELLS.min(values.len() / CELLS_OF_ROWS));
        Self {
            q,
            basis,
            columns,
            rows,
            blocks,
            values: values.to_vec(),
            constant: vec![1.0; values.len()],
            listed: supports.len(),
            supports,
            frequencies,
            scales,
            offsets,
            roots: roots_of_unity(q),
        }
    }

    /// The code of a sequence at a position.
    pub(crate) fn code(&self, row: u32, position: usize) -> u8 {
        self.columns[position][row as usize]
    }

    pub(crate) fn q(&self) -> usize {
        self.q
    }

    pub(crate) fn n(&self) -> usize {
        self.columns.len()
    }

    /// Adds a support that is not scanned.
    pub(crate) fn add(&mut self, support: Vec<u16>) -> usize {
        self.supports.push(support);
        self.supports.len() - 1
    }

    /// Number of supports of the dictionary.
    pub(crate) fn listed(&self) -> usize {
        self.listed
    }

    /// The scale of a pattern of letters.
    pub(crate) fn pattern_scale(&self, support: &[u16], letters: &[u8]) -> f64 {
        let p: f64 = support
            .iter()
            .zip(letters)
            .map(|(&i, &a)| self.frequencies[i as usize * self.q + a as usize])
            .product();
        (p * (1.0 - p)).max(0.0).sqrt()
    }

    /// Turns sums over words into correlations with the waves.
    fn transform<const L: usize>(&self, order: usize, table: &[[f64; L]], out: &mut Vec<[f64; L]>) {
        let q = self.q;
        let mut now: Vec<[Complex64; L]> = table.iter().map(|sums| sums.map(Complex64::from)).collect();
        for _ in 0..order {
            // The first axis becomes labels and goes last; after all axes the order is restored.
            let rest = now.len() / q;
            let mut next = vec![[Complex64::ZERO; L]; rest * (q - 1)];
            for (letter, row) in now.chunks_exact(rest).enumerate() {
                for (at, sums) in row.iter().enumerate() {
                    for label in 1..q {
                        let root = self.roots[letter * label % q];
                        let slot = &mut next[at * (q - 1) + label - 1];
                        for l in 0..L {
                            slot[l] += sums[l] * root;
                        }
                    }
                }
            }
            now = next;
        }
        out.clear();
        out.resize(now.len(), [0.0; L]);
        for at in 0..now.len() {
            let (labels, wave) = wave(at as u32, q, order);
            let character = if wave == Wave::Sine { now[cells(&labels, q).0] } else { now[at] };
            out[at] = character.map(|sum| wave.value(sum));
        }
    }
}

/// Adds up the cells of a block's table for each word of a support among its positions.
fn marginal<const L: usize>(
    whole: &[[f64; L]],
    positions: &[u16],
    support: &[u16],
    q: usize,
    table: &mut Vec<[f64; L]>,
) {
    table.clear();
    table.extend_from_slice(whole);
    // From the last position on: each that is not in the support is summed over.
    let mut after = 1;
    for position in positions.iter().rev() {
        if support.contains(position) {
            after *= q;
            continue;
        }
        let before = table.len() / (q * after);
        for head in 0..before {
            for tail in 0..after {
                let mut sum = [0.0; L];
                for letter in 0..q {
                    let cell = &table[(head * q + letter) * after + tail];
                    (0..L).for_each(|l| sum[l] += cell[l]);
                }
                table[head * after + tail] = sum;
            }
        }
        table.truncate(before * after);
    }
}

/// Scales of all words of a support.
fn pattern_scales(support: &[u16], frequencies: &[f64], q: usize) -> impl Iterator<Item = f64> {
    let mut shares = vec![1.0];
    for &i in support {
        let letters = &frequencies[i as usize * q..][..q];
        shares = shares.iter().flat_map(|p| letters.iter().map(move |f| p * f)).collect();
    }
    shares.into_iter().map(|p: f64| (p * (1.0 - p)).max(0.0).sqrt())
}

/// The words `x_S` of all sequences, sharing the work of common beginnings.
struct Words<'a> {
    q: u32,
    columns: &'a [Vec<u8>],
    /// Words of the first 1, 2, … positions of the last support.
    levels: Vec<Vec<u32>>,
    last: Vec<u16>,
}

impl<'a> Words<'a> {
    fn new(tables: &'a Tables) -> Self {
        Self { q: tables.q as u32, columns: &tables.columns, levels: Vec::new(), last: Vec::new() }
    }

    fn of(&mut self, support: &[u16]) -> &[u32] {
        let common = self.last.iter().zip(support).take_while(|(a, b)| a == b).count();
        while self.levels.len() < support.len() {
            self.levels.push(vec![0; self.columns[0].len()]);
        }
        for (level, &position) in support.iter().enumerate().skip(common) {
            let column = &self.columns[position as usize];
            let (before, after) = self.levels.split_at_mut(level);
            match before.last() {
                Some(prefix) => {
                    for ((word, &prefix), &letter) in after[0].iter_mut().zip(prefix).zip(column) {
                        *word = prefix * self.q + u32::from(letter);
                    }
                }
                None => {
                    for (word, &letter) in after[0].iter_mut().zip(column) {
                        *word = u32::from(letter);
                    }
                }
            }
        }
        self.last = support.to_vec();
        &self.levels[support.len() - 1]
    }
}

impl Operator for Tables {
    fn supports(&self) -> &[Vec<u16>] {
        &self.supports
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    fn constant(&self) -> &[f64] {
        &self.constant
    }

    fn unit(&self, row: usize) -> usize {
        row
    }

    fn units(&self) -> usize {
        self.values.len()
    }

    fn to_rows(&self, values: &[f64]) -> Vec<f64> {
        values.to_vec()
    }

    fn scale(&self, support: usize, cell: usize) -> f64 {
        match self.basis {
            Atoms::Characters => 1.0,
            Atoms::Letters => self.scales[self.offsets[support] + cell],
        }
    }

    fn column(&self, id: AtomId) -> Column {
        let support = &self.supports[id.support as usize];
        match self.basis {
            Atoms::Letters => {
                let letters = word(id.cell, self.q, support.len());
                let at = |i: usize| &self.rows[support[i] as usize * self.q + letters[i] as usize];
                let rarest = (0..support.len()).min_by_key(|&i| at(i).len()).unwrap_or(0);
                let others: Vec<(&[u8], u8)> = (0..support.len())
                    .filter(|&i| i != rarest)
                    .map(|i| (self.columns[support[i] as usize].as_slice(), letters[i]))
                    .collect();
                let rows = at(rarest).iter().copied();
                let rows =
                    rows.filter(|&row| others.iter().all(|(column, a)| column[row as usize] == *a)).collect();
                Column::Ones(rows)
            }
            Atoms::Characters => {
                let (labels, wave) = wave(id.cell, self.q, support.len());
                let mut phases = vec![0_usize; self.values.len()];
                for (&position, &label) in support.iter().zip(&labels) {
                    for (phase, &letter) in phases.iter_mut().zip(&self.columns[position as usize]) {
                        *phase += label as usize * letter as usize;
                    }
                }
                let indices = phases.into_iter().map(|phase| (phase % self.q) as u8).collect();
                Column::Dense(indices, self.roots.iter().map(|&root| wave.value(root)).collect())
            }
        }
    }

    fn scan<const L: usize, T: Send>(
        &self,
        residual: &[[f64; L]],
        cancel: &Cancel,
        wanted: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, &[[f64; L]], &mut Vec<T>) + Sync,
    ) -> Result<Vec<T>> {
        let mut parts: Vec<(usize, Vec<T>)> = self
            .blocks
            .par_chunks(BLOCKS)
            .map(|blocks| {
                cancel.check()?;
                let mut words = Words::new(self);
                let (mut whole, mut table, mut waves) = (Vec::new(), Vec::new(), Vec::new());
                let mut found = Vec::new();
                for block in blocks {
                    if !block.supports.iter().any(|&index| wanted(index)) {
                        continue;
                    }
                    whole.clear();
                    whole.resize(self.q.pow(block.positions.len() as u32), [0.0; L]);
                    for (&word, r) in words.of(&block.positions).iter().zip(residual) {
                        let cell = &mut whole[word as usize];
                        for l in 0..L {
                            cell[l] += r[l];
                        }
                    }
                    for &index in block.supports.iter().filter(|&&index| wanted(index)) {
                        let support = &self.supports[index];
                        let mut out = Vec::new();
                        marginal(&whole, &block.positions, support, self.q, &mut table);
                        match self.basis {
                            Atoms::Letters => visit(index, &table, &mut out),
                            Atoms::Characters => {
                                self.transform(support.len(), &table, &mut waves);
                                visit(index, &waves, &mut out);
                            }
                        }
                        if !out.is_empty() {
                            found.push((index, out));
                        }
                    }
                }
                Ok(found)
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        parts.sort_unstable_by_key(|part| part.0);
        Ok(parts.into_iter().flat_map(|part| part.1).collect())
    }
}
