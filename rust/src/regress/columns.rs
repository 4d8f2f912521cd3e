//! Columns of a regression, and the two passes over a column that coordinate descent makes.

use std::sync::Arc;

/// Some of the rows, ascending.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rows {
    /// Their numbers.
    Listed(Vec<u32>),
    /// A bit for each row: less memory than a list if more than 1/32 of the rows are in it.
    Marked(Vec<u64>),
}

impl Rows {
    /// These rows (ascending) of `count` rows, in the form that takes less memory.
    pub(crate) fn new(mut rows: Vec<u32>, count: usize) -> Self {
        if Self::are_listed(rows.len(), count) {
            rows.shrink_to_fit();
            return Self::Listed(rows);
        }
        let mut words = vec![0; count.div_ceil(64)];
        rows.into_iter().for_each(|row| words[row as usize / 64] |= 1 << (row % 64));
        Self::Marked(words)
    }

    fn are_listed(rows: usize, count: usize) -> bool {
        rows * 32 <= count
    }

    /// Size of this number of rows of `count` rows, in bytes.
    pub(crate) fn bytes_of(rows: usize, count: usize) -> usize {
        if Self::are_listed(rows, count) { 4 * rows } else { 8 * count.div_ceil(64) }
    }

    #[inline(always)]
    fn for_each(&self, mut f: impl FnMut(usize)) {
        match self {
            Self::Listed(rows) => rows.iter().for_each(|&row| f(row as usize)),
            Self::Marked(words) => for_each_bit(words, f),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Listed(rows) => rows.len(),
            Self::Marked(words) => words.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    fn to_vec(&self) -> Vec<u32> {
        let mut rows = Vec::new();
        self.for_each(|row| rows.push(row as u32));
        rows
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Listed(rows) => 4 * rows.len(),
            Self::Marked(words) => 8 * words.len(),
        }
    }
}

/// Calls `f` with the number of each bit that is set in words of 64 bits, ascending.
#[inline(always)]
pub(super) fn for_each_bit(words: &[u64], mut f: impl FnMut(usize)) {
    for (at, &word) in words.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            f(64 * at + rest.trailing_zeros() as usize);
            rest &= rest - 1;
        }
    }
}

/// A column of the regression: the values of an atom on the data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    /// One at these rows, zero elsewhere.
    Ones(Rows),
    /// The entry of the list of all rows at these rows, zero elsewhere.
    Scaled(Rows, Arc<[f64]>),
    /// These values at these rows, zero elsewhere.
    Sparse(Vec<(u32, f64)>),
    /// An index for each row, and the value for each index.
    Dense(Vec<u8>, Vec<f64>),
    /// The same, times the entry of the list of all rows.
    ScaledDense(Vec<u8>, Vec<f64>, Arc<[f64]>),
}

impl Column {
    /// Calls `f(row, value)` for each row, except rows where the value is zero by construction.
    #[inline(always)]
    pub(crate) fn for_each(&self, mut f: impl FnMut(usize, f64)) {
        match self {
            Self::Ones(rows) => rows.for_each(|row| f(row, 1.0)),
            Self::Scaled(rows, scales) => rows.for_each(|row| f(row, scales[row])),
            Self::Sparse(entries) => entries.iter().for_each(|&(row, value)| f(row as usize, value)),
            Self::Dense(indices, values) => {
                indices.iter().enumerate().for_each(|(row, &index)| f(row, values[index as usize]));
            }
            Self::ScaledDense(indices, values, scales) => {
                let entries = indices.iter().zip(scales.iter()).enumerate();
                entries.for_each(|(row, (&index, scale))| f(row, values[index as usize] * scale));
            }
        }
    }

    /// The rows of a letter pattern; `None` for a character.
    pub(crate) fn pattern_rows(&self) -> Option<Vec<u32>> {
        match self {
            Self::Ones(rows) | Self::Scaled(rows, _) => Some(rows.to_vec()),
            Self::Sparse(entries) => Some(entries.iter().map(|&(row, _)| row).collect()),
            Self::Dense(..) | Self::ScaledDense(..) => None,
        }
    }

    /// Number of rows where the value is not zero by construction.
    pub(crate) fn n_rows(&self) -> usize {
        match self {
            Self::Ones(rows) | Self::Scaled(rows, _) => rows.len(),
            Self::Sparse(entries) => entries.len(),
            Self::Dense(indices, _) | Self::ScaledDense(indices, ..) => indices.len(),
        }
    }

    /// Size in bytes, without the list of all rows.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Ones(rows) | Self::Scaled(rows, _) => rows.bytes(),
            Self::Sparse(entries) => 16 * entries.len(),
            Self::Dense(indices, _) | Self::ScaledDense(indices, ..) => indices.len(),
        }
    }
}

/// The sum over rows of value, residual and mask, for each lane. `masks` has the mask of each value of `held_out`.
pub(super) fn products<const L: usize>(
    column: &Column,
    residual: &[[f64; L]],
    held_out: &[u8],
    masks: &[[f64; L]],
) -> [f64; L] {
    pulp::Arch::new().dispatch(Products { column, residual, held_out, masks })
}

/// Subtracts a multiple of a column from the residuals of each lane.
pub(super) fn subtract<const L: usize>(column: &Column, multiple: [f64; L], residual: &mut [[f64; L]]) {
    pulp::Arch::new().dispatch(Subtraction { column, multiple, residual });
}

struct Products<'a, const L: usize> {
    column: &'a Column,
    residual: &'a [[f64; L]],
    held_out: &'a [u8],
    masks: &'a [[f64; L]],
}

impl<const L: usize> pulp::WithSimd for Products<'_, L> {
    type Output = [f64; L];

    // A closure that is not inlined would be a call to code of narrow vectors.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Self::Output {
        let mut sums = [0.0; L];
        self.column.for_each(
            #[inline(always)]
            |row, value| {
                let (r, mask) = (&self.residual[row], &self.masks[self.held_out[row] as usize]);
                for l in 0..L {
                    sums[l] += value * r[l] * mask[l];
                }
            },
        );
        sums
    }
}

struct Subtraction<'a, const L: usize> {
    column: &'a Column,
    multiple: [f64; L],
    residual: &'a mut [[f64; L]],
}

impl<const L: usize> pulp::WithSimd for Subtraction<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { column, multiple, residual } = self;
        column.for_each(
            #[inline(always)]
            |row, value| {
                let r = &mut residual[row];
                for l in 0..L {
                    r[l] -= value * multiple[l];
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn passes_are_those_of_the_definition(
            rows in prop::collection::vec((-1.0..1.0, -1.0..1.0, 0_u8..4, any::<bool>(), 0_u8..3), 1..200),
            rare: bool,
        ) {
            let at = |row: usize| rows[row];
            let is_present = |row: usize| at(row).3 && (!rare || row % 64 == 5);
            let present: Vec<u32> = (0..rows.len()).filter(|&row| is_present(row)).map(|row| row as u32).collect();
            let values = [0.5, -2.0, 0.0];
            let columns = [
                Column::Ones(Rows::new(present.clone(), rows.len())),
                Column::Scaled(Rows::new(present.clone(), rows.len()), rows.iter().map(|row| row.1).collect()),
                Column::Sparse(present.iter().map(|&row| (row, at(row as usize).0 + 1.0)).collect()),
                Column::Dense(rows.iter().map(|row| row.4).collect(), values.to_vec()),
                Column::ScaledDense(
                    rows.iter().map(|row| row.4).collect(),
                    values.to_vec(),
                    rows.iter().map(|row| row.1).collect(),
                ),
            ];
            let dense: [Vec<f64>; 5] = [
                (0..rows.len()).map(|row| f64::from(u8::from(is_present(row)))).collect(),
                (0..rows.len()).map(|row| if is_present(row) { at(row).1 } else { 0.0 }).collect(),
                (0..rows.len()).map(|row| if is_present(row) { at(row).0 + 1.0 } else { 0.0 }).collect(),
                rows.iter().map(|row| values[row.4 as usize]).collect(),
                rows.iter().map(|row| values[row.4 as usize] * row.1).collect(),
            ];
            let residual: Vec<[f64; 2]> = rows.iter().map(|row| [row.0, row.1]).collect();
            let held_out: Vec<u8> = rows.iter().map(|row| row.2).collect();
            let masks = [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]];
            prop_assert!(columns[..3].iter().all(|column| column.pattern_rows().as_ref() == Some(&present)));
            for (column, dense) in columns.iter().zip(&dense) {
                let products = products(column, &residual, &held_out, &masks);
                let mut after = residual.clone();
                subtract(column, [0.5, -1.5], &mut after);
                for lane in 0..2 {
                    let trains = |row: usize| masks[held_out[row] as usize][lane];
                    let slow: f64 = (0..rows.len()).map(|row| dense[row] * residual[row][lane] * trains(row)).sum();
                    prop_assert!((products[lane] - slow).abs() < 1e-12);
                    for row in 0..rows.len() {
                        let slow = residual[row][lane] - dense[row] * [0.5, -1.5][lane];
                        prop_assert!((after[row][lane] - slow).abs() < 1e-12);
                    }
                }
            }
        }
    }
}
