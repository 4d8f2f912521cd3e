//! What the solver needs of a dictionary on data: columns, and correlations with all of them.

use xxhash_rust::xxh3::xxh3_64;

use crate::cancel::Cancel;
use crate::error::Result;

/// One atom of a dictionary: a cell of a support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AtomId {
    pub(crate) support: u32,
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
    /// In every row the value that its index selects.
    Dense(Vec<u8>, Vec<f64>),
}

impl Column {
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

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Ones(rows) => 4 * rows.len(),
            Self::Sparse(entries) => 16 * entries.len(),
            Self::Dense(indices, _) => indices.len(),
        }
    }
}

/// A dictionary on data, in the domain where the columns are shortest.
pub(crate) trait Operator: Sync {
    /// The supports of the dictionary.
    fn supports(&self) -> &[Vec<u16>];

    /// The data's values in the operator's domain.
    fn values(&self) -> &[f64];

    /// The constant function in the operator's domain.
    fn constant(&self) -> &[f64];

    /// Whole units that may be held out: for each entry of [`Operator::values`], which it belongs to.
    fn unit(&self, row: usize) -> usize;

    /// Number of units.
    fn units(&self) -> usize;

    /// Values of the operator's domain as those of the sequences.
    fn to_rows(&self, values: &[f64]) -> Vec<f64>;

    /// Root mean square, less the mean, that a cell of a support has where positions are independent. It does not
    /// depend on which rows a word happens to be in: a scale that did would let held-out rows tell which
    /// atoms to take.
    fn scale(&self, support: usize, cell: usize) -> f64;

    /// The column of an atom.
    fn column(&self, id: AtomId) -> Column;

    /// Correlations `Σ_r a_j(r) residual(r)` with all atoms of every support that `wanted` names,
    /// handed support by support to `visit`; what that returns comes back in the order of the supports.
    fn scan<const L: usize, T: Send>(
        &self,
        residual: &[[f64; L]],
        cancel: &Cancel,
        wanted: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, &[[f64; L]], &mut Vec<T>) + Sync,
    ) -> Result<Vec<T>>;

    /// Where an atom comes in the order of descent: low orders first, then by a hash, which no other
    /// atom and no data can change.
    fn rank(&self, id: AtomId) -> (usize, u64) {
        let support = &self.supports()[id.support as usize];
        let mut key: Vec<u8> = support.iter().flat_map(|i| i.to_le_bytes()).collect();
        key.extend(id.cell.to_le_bytes());
        (support.len(), xxh3_64(&key))
    }
}

/// The letters (or labels, from `first` on) that cell number `cell` of a support stands for.
pub(crate) fn word(cell: u32, base: usize, order: usize) -> Vec<u8> {
    let mut rest = cell as usize;
    let mut word = vec![0; order];
    for letter in word.iter_mut().rev() {
        *letter = (rest % base) as u8;
        rest /= base;
    }
    word
}

/// The cell of a word.
pub(crate) fn cell(word: &[u8], base: usize) -> usize {
    word.iter().fold(0, |cell, &letter| cell * base + letter as usize)
}
