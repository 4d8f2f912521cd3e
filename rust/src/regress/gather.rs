//! Columns and correlations by tables, for any sequences, with letter patterns or characters.
//!
//! The table of a support `S` has a cell for each of the `q^|S|` values of `x_S`. One pass over the data
//! adds up the residuals in each cell. These sums are the correlations with the letter patterns on `S`, and
//! their Fourier transform gives the correlations with the characters.
//!
//! A row of weight `w` is scaled by `√w`: its value, its entry of each column, and its entry of the constant function.
//! Least squares of scaled rows are weighted least squares.

use std::collections::HashMap;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::Atoms;
use super::operator::{AtomId, Column, Operator, digits};
use super::real_characters::{Wave, cells, wave};
use super::row_cells::{RowCells, marginal};
use super::runs::{RunAtoms, RunKind};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::space::roots_of_unity;
use crate::surrogate::{Relation, Run};
use crate::words::{self, Block, cover};

/// Blocks scanned by one task.
const BLOCKS: usize = 4;
/// Largest number of cells in the table of a block.
const MAX_CELLS: usize = 256;
/// Smallest number of rows for each cell of such a table.
const ROWS_PER_CELL: usize = 16;
/// Fewest rows of a letter pattern of order 2 and above. A pattern in fewer rows is no finding: cross-validation cannot
/// test it, and one wrong value could cause it.
pub(crate) const FEWEST_ROWS: usize = 3;

/// The atoms of a list of supports on a set of sequences.
#[derive(Clone, Debug)]
pub(crate) struct GatherOperator {
    q: usize,
    basis: Atoms,
    /// Codes of all sequences, one vector for each position.
    pub(super) columns: Vec<Vec<u8>>,
    /// Rows with a symbol at a position: index `position * q + symbol`.
    rows: Vec<Vec<u32>>,
    values: Vec<f64>,
    /// `√w` of each row.
    constant: Vec<f64>,
    /// Whether rows have different weights.
    weighted: bool,
    /// Supports of the dictionary, those of runs, and those that growth added.
    supports: Vec<Vec<u16>>,
    /// Number of supports of the dictionary without runs.
    n_letters: usize,
    runs: RunAtoms,
    /// Index of each support; empty for characters.
    index: HashMap<Vec<u16>, usize>,
    /// Number of supports of the dictionary, runs included.
    n_listed: usize,
    /// Sets of positions, each with the supports that are scanned together.
    blocks: Vec<Block>,
    /// Fraction of the rows, by weight, with a symbol at a position: index `position * q + symbol`.
    pub(super) frequencies: Vec<f64>,
    /// Scales of the letter patterns of the dictionary, support by support; 0 for those in too few rows.
    scales: Vec<f64>,
    /// Start of each support in `scales`.
    offsets: Vec<usize>,
    /// `ω^0 … ω^{q-1}`.
    roots: Vec<Complex64>,
}

impl GatherOperator {
    /// The atoms of `supports` on sequences (row-major codes) with these values and weights; `None` for equal weights.
    pub(crate) fn new(
        (q, n): (usize, usize),
        basis: Atoms,
        codes: &[u8],
        values: &[f64],
        weights: Option<&[f64]>,
        supports: Vec<Vec<u16>>,
    ) -> Self {
        let constant: Vec<f64> = match weights {
            Some(weights) => weights.iter().map(|w| w.sqrt()).collect(),
            None => vec![1.0; values.len()],
        };
        let columns: Vec<Vec<u8>> =
            (0..n).into_par_iter().map(|i| codes.chunks_exact(n).map(|row| row[i]).collect()).collect();
        let rows: Vec<Vec<u32>> = columns
            .par_iter()
            .flat_map_iter(|column| {
                let mut rows = vec![Vec::new(); q];
                for (row, &symbol) in column.iter().enumerate() {
                    rows[symbol as usize].push(row as u32);
                }
                rows
            })
            .collect();
        let total: f64 = constant.iter().map(|c| c * c).sum();
        let share =
            |rows: &Vec<u32>| rows.iter().map(|&row| constant[row as usize].powi(2)).sum::<f64>() / total;
        let frequencies: Vec<f64> = rows.iter().map(share).collect();
        let (mut scales, mut offsets, mut index) = (Vec::new(), Vec::new(), HashMap::new());
        if basis == Atoms::Letters {
            for (number, support) in supports.iter().enumerate() {
                offsets.push(scales.len());
                scales.extend(pattern_scales(support, &frequencies, q));
                index.insert(support.clone(), number);
            }
        }
        let blocks = cover(&supports, q, n, MAX_CELLS.min(values.len() / ROWS_PER_CELL));
        let mut operator = Self {
            q,
            basis,
            columns,
            rows,
            blocks,
            values: values.iter().zip(&constant).map(|(v, c)| v * c).collect(),
            constant,
            weighted: weights.is_some(),
            n_letters: supports.len(),
            n_listed: supports.len(),
            supports,
            runs: RunAtoms::default(),
            index,
            frequencies,
            scales,
            offsets,
            roots: roots_of_unity(q),
        };
        operator.exclude_rare_patterns();
        operator
    }

    /// The same atoms and the runs of these kinds.
    pub(crate) fn with_runs(mut self, kinds: &[RunKind]) -> Self {
        self.runs = RunAtoms::new((self.q, self.n()), kinds, &self.columns, &self.frequencies);
        for run in self.runs.runs() {
            let mut support: Vec<u16> = run.pairs().flat_map(|(i, j)| [i, j]).collect();
            support.sort_unstable();
            support.dedup();
            self.supports.push(support);
        }
        self.n_listed = self.supports.len();
        self
    }

    pub(crate) fn n_runs(&self) -> usize {
        self.runs.runs().len()
    }

    /// The number of the run of a support.
    fn run_number(&self, support: usize) -> Option<usize> {
        (self.n_letters..self.n_letters + self.runs.runs().len())
            .contains(&support)
            .then(|| support - self.n_letters)
    }

    /// Sets the scale of patterns in too few rows to 0, so that they are never selected.
    fn exclude_rare_patterns(&mut self) {
        if self.basis != Atoms::Letters {
            return;
        }
        let tables: Vec<(usize, Vec<u32>)> = self
            .supports
            .par_iter()
            .enumerate()
            .filter(|(_, support)| support.len() > 1)
            .map_init(
                || RowCells::new(self.q, &self.columns),
                |row_cells, (index, support)| {
                    let mut counts = vec![0; words::count(words::same(self.q, support.len()))];
                    row_cells.of(support).iter().for_each(|&cell| counts[cell as usize] += 1);
                    (index, counts)
                },
            )
            .collect();
        for (index, counts) in tables {
            let scales = &mut self.scales[self.offsets[index]..][..counts.len()];
            for (scale, _) in
                scales.iter_mut().zip(counts).filter(|(_, count)| (*count as usize) < FEWEST_ROWS)
            {
                *scale = 0.0;
            }
        }
    }

    /// The code of the symbol of a row at a position.
    pub(crate) fn code(&self, row: u32, position: usize) -> u8 {
        self.columns[position][row as usize]
    }

    pub(crate) fn q(&self) -> usize {
        self.q
    }

    pub(crate) fn n(&self) -> usize {
        self.columns.len()
    }

    /// The index of a support; `None` if it is not in the dictionary and growth has not added it.
    pub(crate) fn support_index(&self, support: &[u16]) -> Option<usize> {
        self.index.get(support).copied()
    }

    /// The index of a support. A support without an index is added; it will not be scanned.
    pub(crate) fn support_index_or_add(&mut self, support: Vec<u16>) -> usize {
        if let Some(index) = self.support_index(&support) {
            return index;
        }
        let index = self.supports.len();
        self.supports.push(support.clone());
        self.index.insert(support, index);
        index
    }

    /// Number of supports of the dictionary.
    pub(crate) fn n_listed(&self) -> usize {
        self.n_listed
    }

    /// The scale of a letter pattern; see [`Operator::scale`].
    pub(crate) fn pattern_scale(&self, support: &[u16], symbols: &[u8]) -> f64 {
        let p: f64 = support
            .iter()
            .zip(symbols)
            .map(|(&i, &a)| self.frequencies[i as usize * self.q + a as usize])
            .product();
        indicator_scale(p)
    }

    /// The residuals of a scaled row, times its scale.
    pub(crate) fn scaled<const L: usize>(&self, row: usize, residual: &[f64; L]) -> [f64; L] {
        if self.weighted { residual.map(|r| r * self.constant[row]) } else { *residual }
    }

    /// The column of the letter pattern in these rows.
    pub(crate) fn pattern_column(&self, rows: Vec<u32>) -> Column {
        if self.weighted {
            Column::Sparse(rows.into_iter().map(|row| (row, self.constant[row as usize])).collect())
        } else {
            Column::Ones(rows)
        }
    }

    /// The rows with these symbols on a support.
    fn matching_rows(&self, support: &[u16], symbols: &[u8]) -> Vec<u32> {
        let rows_at = |i: usize| &self.rows[support[i] as usize * self.q + symbols[i] as usize];
        let rarest = (0..support.len()).min_by_key(|&i| rows_at(i).len()).unwrap_or(0);
        let others: Vec<(&[u8], u8)> = (0..support.len())
            .filter(|&i| i != rarest)
            .map(|i| (self.columns[support[i] as usize].as_slice(), symbols[i]))
            .collect();
        let matches = |row: &u32| others.iter().all(|(column, symbol)| column[*row as usize] == *symbol);
        rows_at(rarest).iter().copied().filter(matches).collect()
    }

    /// For each row, the exponent of the character with these labels on a support, modulo `q`.
    fn phases(&self, support: &[u16], labels: &[u8]) -> Vec<u8> {
        let mut phases = vec![0_usize; self.values.len()];
        for (&position, &label) in support.iter().zip(labels) {
            for (phase, &symbol) in phases.iter_mut().zip(&self.columns[position as usize]) {
                *phase += label as usize * symbol as usize;
            }
        }
        phases.into_iter().map(|phase| (phase % self.q) as u8).collect()
    }

    /// Transforms the sums in the cells of a support's table to correlations with its characters.
    fn transform<const L: usize>(&self, order: usize, table: &[[f64; L]], output: &mut Vec<[f64; L]>) {
        let q = self.q;
        let mut current: Vec<[Complex64; L]> = table.iter().map(|sums| sums.map(Complex64::from)).collect();
        for _ in 0..order {
            // The first axis is transformed from symbols to labels and becomes the last one. After all axes,
            // the order is the original one.
            let rest = current.len() / q;
            let mut next = vec![[Complex64::ZERO; L]; rest * (q - 1)];
            for (symbol, row) in current.chunks_exact(rest).enumerate() {
                for (column, sums) in row.iter().enumerate() {
                    for label in 1..q {
                        let root = self.roots[symbol * label % q];
                        let sum = &mut next[column * (q - 1) + label - 1];
                        for l in 0..L {
                            sum[l] += sums[l] * root;
                        }
                    }
                }
            }
            current = next;
        }
        output.clear();
        output.resize(current.len(), [0.0; L]);
        for index in 0..current.len() {
            let (labels, wave) = wave(index as u32, q, order);
            let character = if wave == Wave::Sine { current[cells(&labels, q).0] } else { current[index] };
            output[index] = character.map(|sum| wave.value(sum));
        }
    }
}

/// Standard deviation of the indicator of an event with this probability.
fn indicator_scale(p: f64) -> f64 {
    (p * (1.0 - p)).max(0.0).sqrt()
}

/// Scales of all letter patterns on a support, in the order of their cells.
fn pattern_scales(support: &[u16], frequencies: &[f64], q: usize) -> impl Iterator<Item = f64> {
    let mut probabilities = vec![1.0];
    for &i in support {
        let of_symbols = &frequencies[i as usize * q..][..q];
        probabilities = probabilities.iter().flat_map(|p| of_symbols.iter().map(move |f| p * f)).collect();
    }
    probabilities.into_iter().map(indicator_scale)
}

impl Operator for GatherOperator {
    fn supports(&self) -> &[Vec<u16>] {
        &self.supports
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    fn constant(&self) -> &[f64] {
        &self.constant
    }

    fn to_sequences(&self, values: &[f64]) -> Vec<f64> {
        values.iter().zip(&self.constant).map(|(v, c)| v / c).collect()
    }

    fn run(&self, support: usize) -> Option<Run> {
        self.run_number(support).map(|run| self.runs.runs()[run])
    }

    fn relations(&self) -> &[Relation] {
        self.runs.relations()
    }

    fn scale(&self, support: usize, cell: usize) -> f64 {
        if let Some(run) = self.run_number(support) {
            return self.runs.scale(run);
        }
        match self.basis {
            Atoms::Characters => 1.0,
            Atoms::Letters => self.scales[self.offsets[support] + cell],
        }
    }

    fn column(&self, id: AtomId) -> Column {
        if let Some(run) = self.run_number(id.support as usize) {
            return self.pattern_column(self.runs.rows(run));
        }
        let support = &self.supports[id.support as usize];
        match self.basis {
            Atoms::Letters => {
                self.pattern_column(self.matching_rows(support, &digits(id.cell, self.q, support.len())))
            }
            Atoms::Characters => {
                let (labels, wave) = wave(id.cell, self.q, support.len());
                let phases = self.phases(support, &labels);
                let values: Vec<f64> = self.roots.iter().map(|&root| wave.value(root)).collect();
                if !self.weighted {
                    return Column::Dense(phases, values);
                }
                let entries = phases.iter().zip(&self.constant).enumerate();
                Column::Sparse(entries.map(|(row, (&p, c))| (row as u32, values[p as usize] * c)).collect())
            }
        }
    }

    fn growable(&mut self) -> Option<&mut GatherOperator> {
        (self.basis == Atoms::Letters).then_some(self)
    }

    fn scan<const L: usize, T: Send>(
        &self,
        residual: &[[f64; L]],
        cancel: &Cancel,
        include: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, &[[f64; L]], &mut Vec<T>) + Sync,
    ) -> Result<Vec<T>> {
        let mut outputs: Vec<(usize, Vec<T>)> = self
            .blocks
            .par_chunks(BLOCKS)
            .map(|blocks| {
                cancel.check()?;
                let mut row_cells = RowCells::new(self.q, &self.columns);
                let (mut block_table, mut table, mut waves) = (Vec::new(), Vec::new(), Vec::new());
                let mut outputs = Vec::new();
                for block in blocks {
                    if !block.supports.iter().any(|&index| include(index)) {
                        continue;
                    }
                    block_table.clear();
                    block_table.resize(words::count(words::same(self.q, block.positions.len())), [0.0; L]);
                    let cells = row_cells.of(&block.positions);
                    for (row, (&cell, r)) in cells.iter().zip(residual).enumerate() {
                        let (sum, r) = (&mut block_table[cell as usize], self.scaled(row, r));
                        for l in 0..L {
                            sum[l] += r[l];
                        }
                    }
                    for &index in block.supports.iter().filter(|&&index| include(index)) {
                        let support = &self.supports[index];
                        let mut output = Vec::new();
                        marginal(&block_table, &block.positions, support, self.q, &mut table);
                        match self.basis {
                            Atoms::Letters => visit(index, &table, &mut output),
                            Atoms::Characters => {
                                self.transform(support.len(), &table, &mut waves);
                                visit(index, &waves, &mut output);
                            }
                        }
                        if !output.is_empty() {
                            outputs.push((index, output));
                        }
                    }
                }
                Ok(outputs)
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        let first = self.n_letters;
        let scaled: Vec<[f64; L]> = match self.n_runs() {
            0 => Vec::new(),
            _ => residual.iter().enumerate().map(|(row, r)| self.scaled(row, r)).collect(),
        };
        let of_runs = self.runs.scan(
            &scaled,
            cancel,
            |run| include(first + run),
            |run, sum, output| visit(first + run, &[sum], output),
        )?;
        outputs.extend(of_runs.into_iter().map(|(run, output)| (first + run, output)));
        outputs.sort_unstable_by_key(|(index, _)| *index);
        Ok(outputs.into_iter().flat_map(|(_, output)| output).collect())
    }
}
