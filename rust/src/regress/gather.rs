//! Columns and correlations by tables, for any sequences, with letter patterns or characters.
//!
//! The table of a support `S` has a cell for each of the `q^|S|` values of `x_S`. One pass over the data
//! adds up the residuals in each cell. These sums are the correlations with the letter patterns on `S`, and
//! their Fourier transform gives the correlations with the characters.
//!
//! A row of weight `w` is scaled by `√w`: its value, its entry of each column, and its entry of the constant function.
//! Least squares of scaled rows are weighted least squares.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::Atoms;
use super::columns::{Column, Rows};
use super::operator::{AtomId, Characters, Correlations, Operator, digits};
use super::patterns::{Patterns, indicator_scale};
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
/// Supports with listed rows that are scanned by one task.
const SUPPORTS: usize = 64;

/// The atoms of a list of supports on a set of sequences.
#[derive(Clone, Debug)]
pub(crate) struct GatherOperator {
    q: usize,
    basis: Atoms,
    /// Codes of all sequences, row-major.
    codes: Arc<[u8]>,
    /// The same, one vector for each position.
    pub(super) columns: Vec<Vec<u8>>,
    /// Rows with a symbol at a position: index `position * q + symbol`.
    rows: Vec<Vec<u32>>,
    values: Vec<f64>,
    /// `√w` of each row.
    constant: Arc<[f64]>,
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
    /// Sets of positions, each with the supports that are scanned together by tables.
    blocks: Vec<Block>,
    /// Supports that are scanned by the rows of their patterns.
    listed: Vec<usize>,
    /// Fraction of the rows, by weight, with a symbol at a position: index `position * q + symbol`.
    pub(super) frequencies: Vec<f64>,
    /// The letter patterns of each support of the dictionary; empty for characters.
    patterns: Arc<Vec<Patterns>>,
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
        let constant: Arc<[f64]> = match weights {
            Some(weights) => weights.iter().map(|w| w.sqrt()).collect(),
            None => std::iter::repeat_n(1.0, values.len()).collect(),
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
        let (mut patterns, mut index) = (Vec::new(), HashMap::new());
        if basis == Atoms::Letters {
            patterns = Patterns::of_supports(q, &columns, &supports, &frequencies);
            index.extend(supports.iter().cloned().zip(0..));
        }
        let have_rows = |&support: &usize| patterns.get(support).is_some_and(Patterns::have_rows);
        let (listed, tabulated): (Vec<usize>, Vec<usize>) = (0..supports.len()).partition(have_rows);
        let of_blocks: Vec<Vec<u16>> = tabulated.iter().map(|&support| supports[support].clone()).collect();
        let mut blocks = cover(&of_blocks, q, n, MAX_CELLS.min(values.len() / ROWS_PER_CELL));
        let numbers = blocks.iter_mut().flat_map(|block| &mut block.supports);
        numbers.for_each(|number| *number = tabulated[*number]);
        Self {
            q,
            basis,
            codes: codes.into(),
            columns,
            rows,
            blocks,
            listed,
            values: values.iter().zip(constant.iter()).map(|(v, c)| v * c).collect(),
            constant,
            weighted: weights.is_some(),
            n_letters: supports.len(),
            n_listed: supports.len(),
            supports,
            runs: RunAtoms::default(),
            index,
            frequencies,
            patterns: Arc::new(patterns),
            roots: roots_of_unity(q),
        }
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

    /// The codes of a row.
    pub(crate) fn sequence(&self, row: u32) -> &[u8] {
        &self.codes[row as usize * self.n()..][..self.n()]
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

    /// The standard deviation of a letter pattern if positions are independent.
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
        let rows = Rows::new(rows, self.constant.len());
        if self.weighted { Column::Scaled(rows, self.constant.clone()) } else { Column::Ones(rows) }
    }

    /// Size of the column of a pattern that this number of rows match, in bytes.
    pub(crate) fn pattern_bytes(&self, rows: usize) -> usize {
        Rows::bytes_of(rows, self.constant.len())
    }

    /// The rows with these symbols on a support.
    fn matching_rows(&self, support: &[u16], symbols: &[u8]) -> Vec<u32> {
        let rows_at = |i: usize| &self.rows[support[i] as usize * self.q + symbols[i] as usize];
        let rarest = (0..support.len()).min_by_key(|&i| rows_at(i).len()).unwrap_or(0);
        let mut rows = rows_at(rarest).clone();
        for i in (0..support.len()).filter(|&i| i != rarest) {
            keep(&mut rows, &self.columns[support[i] as usize], symbols[i]);
        }
        rows
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

/// Keeps the rows with this symbol. Without branches, because the processor cannot predict the symbols.
fn keep(rows: &mut Vec<u32>, column: &[u8], symbol: u8) {
    let mut kept = 0;
    for at in 0..rows.len() {
        let row = rows[at];
        rows[kept] = row;
        kept += usize::from(column[row as usize] == symbol);
    }
    rows.truncate(kept);
}

/// The outputs of the supports that have any.
type Outputs<T> = Vec<(usize, Vec<T>)>;

/// Scans; see [`Operator::scan`].
impl GatherOperator {
    /// The residuals of scaled rows, times their scales.
    fn all_scaled<'a, const L: usize>(&self, residual: &'a [[f64; L]]) -> Cow<'a, [[f64; L]]> {
        match self.weighted {
            true => residual.iter().enumerate().map(|(row, r)| self.scaled(row, r)).collect(),
            false => residual.into(),
        }
    }

    /// Scans the supports of blocks, by a table for each block.
    fn scan_blocks<const L: usize, T>(
        &self,
        blocks: &[Block],
        residual: &[[f64; L]],
        include: impl Fn(usize) -> bool,
        visit: impl Fn(usize, Correlations<'_, L>, &mut Vec<T>),
    ) -> Outputs<T> {
        let mut row_cells = RowCells::new(self.q, &self.columns);
        let (mut block_table, mut table, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        let (mut characters, mut outputs) = (Characters::default(), Vec::new());
        for block in blocks {
            if !block.supports.iter().any(|&index| include(index)) {
                continue;
            }
            block_table.clear();
            block_table.resize(words::count(words::same(self.q, block.positions.len())), [0.0; L]);
            for (&cell, r) in row_cells.of(&block.positions).iter().zip(residual) {
                let sum = &mut block_table[cell as usize];
                (0..L).for_each(|l| sum[l] += r[l]);
            }
            for &index in block.supports.iter().filter(|&&index| include(index)) {
                let support = &self.supports[index];
                let mut output = Vec::new();
                let table = marginal(&block_table, &block.positions, support, self.q, &mut table);
                match self.basis {
                    Atoms::Letters => {
                        visit(index, self.patterns[index].sums_by_table(table, &mut sums), &mut output);
                    }
                    Atoms::Characters => {
                        self.transform(support.len(), table, &mut sums);
                        visit(index, characters.correlations(&sums), &mut output);
                    }
                }
                if !output.is_empty() {
                    outputs.push((index, output));
                }
            }
        }
        outputs
    }

    /// Scans supports by the rows of their patterns.
    fn scan_listed<const L: usize, T>(
        &self,
        supports: &[usize],
        residual: &[[f64; L]],
        include: impl Fn(usize) -> bool,
        visit: impl Fn(usize, Correlations<'_, L>, &mut Vec<T>),
    ) -> Outputs<T> {
        let (mut sums, mut outputs) = (Vec::new(), Vec::new());
        for &index in supports.iter().filter(|&&index| include(index)) {
            let mut output = Vec::new();
            visit(index, self.patterns[index].sums_by_rows(residual, &mut sums), &mut output);
            if !output.is_empty() {
                outputs.push((index, output));
            }
        }
        outputs
    }
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
        values.iter().zip(self.constant.iter()).map(|(v, c)| v / c).collect()
    }

    fn run(&self, support: usize) -> Option<Run> {
        self.run_number(support).map(|run| self.runs.runs()[run])
    }

    fn relations(&self) -> &[Relation] {
        self.runs.relations()
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
                match self.weighted {
                    true => Column::ScaledDense(phases, values, self.constant.clone()),
                    false => Column::Dense(phases, values),
                }
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
        visit: impl Fn(usize, Correlations<'_, L>, &mut Vec<T>) + Sync,
    ) -> Result<Vec<T>> {
        let residual = &*self.all_scaled(residual);
        let (include, visit) = (&include, &visit);
        let of_blocks = self.blocks.par_chunks(BLOCKS).map(|blocks| {
            cancel.check()?;
            Ok(self.scan_blocks(blocks, residual, include, visit))
        });
        let of_listed = self.listed.par_chunks(SUPPORTS).map(|supports| {
            cancel.check()?;
            Ok(self.scan_listed(supports, residual, include, visit))
        });
        let outputs: Vec<Vec<(usize, Vec<T>)>> = of_blocks.chain(of_listed).collect::<Result<_>>()?;
        let mut outputs: Vec<(usize, Vec<T>)> = outputs.into_iter().flatten().collect();
        let first = self.n_letters;
        let of_runs = self.runs.scan(
            residual,
            cancel,
            |run| include(first + run),
            |run, sum, output| {
                let scales = &[self.runs.scale(run)];
                visit(first + run, Correlations { cells: &[0], scales, sums: &[sum] }, output);
            },
        )?;
        outputs.extend(of_runs.into_iter().map(|(run, output)| (first + run, output)));
        outputs.sort_unstable_by_key(|(index, _)| *index);
        Ok(outputs.into_iter().flat_map(|(_, output)| output).collect())
    }
}
