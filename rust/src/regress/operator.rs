//! The interface between a dictionary on data and the solver: columns, and correlations with all of
//! them.

use xxhash_rust::xxh3::xxh3_64;

use super::columns::Column;
use super::gather::GatherOperator;
use super::penalty::PenaltyFactors;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::{Relation, Run};
use crate::words;

/// One atom of a dictionary: a support, and the number of one of its symbol or label tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AtomId {
    /// Index of the support in [`Operator::supports`].
    pub(crate) support: u32,
    /// Number of the tuple; see [`digits`].
    pub(crate) cell: u32,
}

impl AtomId {
    pub(crate) fn new(support: usize, cell: usize) -> Self {
        Self { support: support as u32, cell: cell as u32 }
    }
}

/// Correlations of residuals with the atoms of one support that may be selected, for `L` lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Correlations<'a, const L: usize> {
    /// Cells of the atoms, ascending.
    pub(crate) cells: &'a [u32],
    /// Standard deviations of the atoms if positions are independent. They depend on how often each symbol occurs at each
    /// position, but not on which rows match a pattern: otherwise held-out rows could influence which atoms are selected.
    pub(crate) scales: &'a [f64],
    /// `Σ_r a_j(r) residual(r)` of each atom `a_j`.
    pub(crate) sums: &'a [[f64; L]],
}

impl<const L: usize> Correlations<'_, L> {
    /// Cell, standard deviation and sum of each atom.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, f64, &[f64; L])> {
        let atoms = self.cells.iter().zip(self.scales).zip(self.sums);
        atoms.map(|((&cell, &scale), sum)| (cell as usize, scale, sum))
    }
}

/// Cells and standard deviations of characters: all cells, and 1.
#[derive(Debug, Default)]
pub(crate) struct Characters {
    cells: Vec<u32>,
    scales: Vec<f64>,
}

impl Characters {
    /// The correlations of residuals with all characters of a support.
    pub(crate) fn correlations<'a, const L: usize>(
        &'a mut self,
        sums: &'a [[f64; L]],
    ) -> Correlations<'a, L> {
        let count = sums.len().max(self.cells.len());
        self.cells.extend(self.cells.len() as u32..count as u32);
        self.scales.resize(count, 1.0);
        Correlations { cells: &self.cells[..sums.len()], scales: &self.scales[..sums.len()], sums }
    }
}

/// A dictionary on data, in the domain where its columns are shortest: the sequences themselves, or the
/// bins of a query design.
pub(crate) trait Operator: Sync {
    /// The supports of the dictionary, followed by those that growth added.
    fn supports(&self) -> &[Vec<u16>];

    /// The run of a support that is a run: it has one cell.
    fn run(&self, _support: usize) -> Option<Run> {
        None
    }

    /// The relations of runs, by their number.
    fn relations(&self) -> &[Relation] {
        &[]
    }

    /// The penalty factor of a support of the dictionary.
    fn factor(&self, support: usize, factors: &PenaltyFactors) -> f64 {
        match self.run(support) {
            Some(_) => factors.runs.unwrap_or(f64::INFINITY),
            None => factors.listed(&self.supports()[support]),
        }
    }

    /// The penalty factors of all supports.
    fn factors(&self, factors: &PenaltyFactors) -> Vec<f64> {
        (0..self.supports().len()).map(|support| self.factor(support, factors)).collect()
    }

    /// The data's values in the operator's domain, one for each row.
    fn values(&self) -> &[f64];

    /// The constant function in the operator's domain.
    fn constant(&self) -> &[f64];

    /// Transforms values from the operator's domain to one value for each sequence.
    fn to_sequences(&self, values: &[f64]) -> Vec<f64>;

    /// The column of an atom.
    fn column(&self, id: AtomId) -> Column;

    /// Computes the correlations with the atoms of every support that `include` accepts, and calls
    /// `visit(support, correlations, output)` for each support. Returns the outputs in the order of the supports.
    fn scan<const L: usize, T: Send>(
        &self,
        residual: &[[f64; L]],
        cancel: &Cancel,
        include: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, Correlations<'_, L>, &mut Vec<T>) + Sync,
    ) -> Result<Vec<T>>;

    /// The operator whose letter patterns can be extended; `None` if the atoms are characters.
    fn growable(&mut self) -> Option<&mut GatherOperator> {
        None
    }

    /// Sort key of an atom in coordinate descent: low orders first, then by a hash. It depends on neither
    /// the data nor the other atoms.
    fn rank(&self, id: AtomId) -> (usize, u64) {
        let support = &self.supports()[id.support as usize];
        let mut key: Vec<u8> = support.iter().flat_map(|i| i.to_le_bytes()).collect();
        key.extend(id.cell.to_le_bytes());
        if let Some(run) = self.run(id.support as usize) {
            // Several runs can have the same positions.
            let numbers = [run.relation, run.first, run.second, run.length, run.reversed.into()];
            key.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        (support.len(), xxh3_64(&key))
    }
}

/// The digits of a cell number in this base, most significant first: the symbols of a pattern, or the
/// labels of a frequency less one.
pub(crate) fn digits(cell: u32, base: usize, order: usize) -> Vec<u8> {
    words::digits(cell as usize, words::same(base, order))
}

/// The cell number with these digits.
pub(crate) fn cell(digits: &[u8], base: usize) -> usize {
    words::number(digits.iter().map(|&digit| digit as usize), words::same(base, digits.len()))
}
