//! The interface between a dictionary on data and the solver: columns, and correlations with all of
//! them.

use xxhash_rust::xxh3::xxh3_64;

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

/// A column of the regression: the values of an atom on the data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    /// One at these rows, zero elsewhere.
    Ones(Vec<u32>),
    /// These values at these rows, zero elsewhere.
    Sparse(Vec<(u32, f64)>),
    /// An index for each row, and the value for each index.
    Dense(Vec<u8>, Vec<f64>),
}

impl Column {
    /// Calls `f(row, value)` for each row, except rows where the value is zero by construction.
    #[inline]
    pub(crate) fn for_each(&self, mut f: impl FnMut(usize, f64)) {
        match self {
            Self::Ones(rows) => rows.iter().for_each(|&row| f(row as usize, 1.0)),
            Self::Sparse(entries) => entries.iter().for_each(|&(row, value)| f(row as usize, value)),
            Self::Dense(indices, values) => {
                indices.iter().enumerate().for_each(|(row, &index)| f(row, values[index as usize]));
            }
        }
    }

    /// The rows of a letter pattern; `None` for a character.
    pub(crate) fn pattern_rows(&self) -> Option<Vec<u32>> {
        match self {
            Self::Ones(rows) => Some(rows.clone()),
            Self::Sparse(entries) => Some(entries.iter().map(|&(row, _)| row).collect()),
            Self::Dense(..) => None,
        }
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Ones(rows) => 4 * rows.len(),
            Self::Sparse(entries) => 16 * entries.len(),
            Self::Dense(indices, _) => indices.len(),
        }
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

    /// Standard deviation of an atom if positions are independent. It depends on how often each symbol
    /// occurs at each position, but not on which rows match a pattern: otherwise held-out rows could
    /// influence which atoms are selected.
    fn scale(&self, support: usize, cell: usize) -> f64;

    /// The column of an atom.
    fn column(&self, id: AtomId) -> Column;

    /// Computes the correlations `Σ_r a_j(r) residual(r)` with all atoms of every support that `include`
    /// accepts, and calls `visit(support, correlations, output)` for each support. Returns the outputs in
    /// the order of the supports.
    fn scan<const L: usize, T: Send>(
        &self,
        residual: &[[f64; L]],
        cancel: &Cancel,
        include: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, &[[f64; L]], &mut Vec<T>) + Sync,
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
