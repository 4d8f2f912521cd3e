//! The letter patterns of a dictionary that a regression may select: those in enough rows.
//!
//! A support of order 5 with four letters has 1,024 patterns. Most of them are in fewer rows than a finding needs, if
//! there are a few hundred rows. Lists of the patterns that are in enough rows, and of their rows, then take less time
//! than a table of all patterns.

use rayon::prelude::*;

use super::operator::Correlations;
use super::row_cells::RowCells;
use crate::words;

/// Fewest rows of a letter pattern of order 2 and above. A pattern in fewer rows is no finding: cross-validation cannot
/// test it, and one wrong value could cause it.
pub(crate) const FEWEST_ROWS: usize = 3;
/// The rows of a support's patterns are listed if they are at most this fraction of all rows.
const LISTED_ROWS: f64 = 0.25;

/// The patterns on one support that may be selected.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    /// Their cells, ascending.
    cells: Vec<u32>,
    /// Their standard deviations if positions are independent.
    scales: Vec<f64>,
    /// The rows of each pattern, ascending; `None` if they are not listed.
    rows: Option<Vec<Vec<u32>>>,
}

impl Patterns {
    /// The patterns on each of these supports, given the codes at each position and the frequencies of the symbols.
    pub(super) fn of_supports(
        q: usize,
        columns: &[Vec<u8>],
        supports: &[Vec<u16>],
        frequencies: &[f64],
    ) -> Vec<Self> {
        let of_support = |row_cells: &mut RowCells<'_>, support: &Vec<u16>| {
            let scales: Vec<f64> = scales(support, frequencies, q).collect();
            let cells = row_cells.of(support);
            let mut counts = vec![0_usize; scales.len()];
            cells.iter().for_each(|&cell| counts[cell as usize] += 1);
            let fewest = if support.len() > 1 { FEWEST_ROWS } else { 0 };
            let may_be_selected = |cell: &usize| scales[*cell] > 0.0 && counts[*cell] >= fewest;
            let selectable: Vec<usize> = (0..scales.len()).filter(may_be_selected).collect();
            let listed: usize = selectable.iter().map(|&cell| counts[cell]).sum();
            let is_listed = support.len() > 1 && listed as f64 <= LISTED_ROWS * cells.len() as f64;
            Self {
                cells: selectable.iter().map(|&cell| cell as u32).collect(),
                scales: selectable.iter().map(|&cell| scales[cell]).collect(),
                rows: is_listed.then(|| rows_of(&selectable, &counts, cells)),
            }
        };
        supports.par_iter().map_init(|| RowCells::new(q, columns), of_support).collect()
    }

    /// Whether the rows of each pattern are listed.
    pub(super) fn have_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// Their correlations with residuals, from the sums of the residuals in all cells. `sums` is overwritten.
    pub(super) fn sums_by_table<'a, const L: usize>(
        &'a self,
        table: &'a [[f64; L]],
        sums: &'a mut Vec<[f64; L]>,
    ) -> Correlations<'a, L> {
        let all = self.cells.len() == table.len();
        if !all {
            sums.clear();
            sums.extend(self.cells.iter().map(|&cell| table[cell as usize]));
        }
        Correlations { cells: &self.cells, scales: &self.scales, sums: if all { table } else { sums } }
    }

    /// Their correlations with residuals, from their listed rows. `sums` is overwritten.
    pub(super) fn sums_by_rows<'a, const L: usize>(
        &'a self,
        residual: &[[f64; L]],
        sums: &'a mut Vec<[f64; L]>,
    ) -> Correlations<'a, L> {
        sums.clear();
        sums.extend(self.rows.iter().flatten().map(|rows| {
            let mut sum = [0.0; L];
            for &row in rows {
                let residual = &residual[row as usize];
                (0..L).for_each(|l| sum[l] += residual[l]);
            }
            sum
        }));
        Correlations { cells: &self.cells, scales: &self.scales, sums }
    }
}

/// The rows of each of these cells, given the number of rows and the cell of each row.
fn rows_of(selected: &[usize], counts: &[usize], cells: &[u32]) -> Vec<Vec<u32>> {
    let mut rows: Vec<Vec<u32>> = selected.iter().map(|&cell| Vec::with_capacity(counts[cell])).collect();
    let mut numbers = vec![usize::MAX; counts.len()];
    selected.iter().enumerate().for_each(|(number, &cell)| numbers[cell] = number);
    for (row, &cell) in cells.iter().enumerate() {
        if let Some(rows) = rows.get_mut(numbers[cell as usize]) {
            rows.push(row as u32);
        }
    }
    rows
}

/// Standard deviation of the indicator of an event with this probability.
pub(super) fn indicator_scale(p: f64) -> f64 {
    (p * (1.0 - p)).max(0.0).sqrt()
}

/// Standard deviations of all letter patterns on a support, in the order of their cells.
fn scales(support: &[u16], frequencies: &[f64], q: usize) -> impl ExactSizeIterator<Item = f64> {
    let mut probabilities = Vec::with_capacity(words::count(words::same(q, support.len())));
    probabilities.push(1.0);
    for &i in support {
        let of_symbols = &frequencies[i as usize * q..][..q];
        probabilities = probabilities.iter().flat_map(|p| of_symbols.iter().map(move |f| p * f)).collect();
    }
    probabilities.into_iter().map(indicator_scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    proptest! {
        #[test]
        fn patterns_are_those_in_enough_rows(q in 2_usize..5, n in 1_usize..6, rows in 1_usize..150, seed: u64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // Low codes are more frequent.
            let mut code = || rng.random_range(0..q).min(rng.random_range(0..q)) as u8;
            let columns: Vec<Vec<u8>> = (0..n).map(|_| (0..rows).map(|_| code()).collect()).collect();
            let mut frequencies = vec![0.0; n * q];
            for (i, column) in columns.iter().enumerate() {
                column.iter().for_each(|&a| frequencies[i * q + a as usize] += 1.0 / rows as f64);
            }
            let supports = vec![vec![0], (0..n as u16).collect()];
            let residual: Vec<[f64; 2]> = (0..rows).map(|_| [0.0; 2].map(|_: f64| rng.random_range(-1.0..1.0))).collect();
            let all = Patterns::of_supports(q, &columns, &supports, &frequencies);
            for (support, patterns) in supports.iter().zip(&all) {
                let size = words::count(words::same(q, support.len()));
                let mut table = vec![[0.0; 2]; size];
                let mut of_cells = vec![Vec::new(); size];
                for row in 0..rows {
                    let cell = words::number(
                        support.iter().map(|&i| columns[i as usize][row] as usize), words::same(q, support.len()),
                    );
                    (0..2).for_each(|l| table[cell][l] += residual[row][l]);
                    of_cells[cell].push(row as u32);
                }
                let mut expected = Vec::new();
                for (cell, matching) in of_cells.iter().enumerate() {
                    let symbols: Vec<u8> = words::digits(cell, words::same(q, support.len()));
                    let p: f64 =
                        support.iter().zip(&symbols).map(|(&i, &a)| frequencies[i as usize * q + a as usize]).product();
                    let scale = (p * (1.0 - p)).max(0.0).sqrt();
                    if scale > 0.0 && (support.len() == 1 || matching.len() >= FEWEST_ROWS) {
                        expected.push((cell, scale, table[cell]));
                    }
                }
                let (mut sums, mut others) = (Vec::new(), Vec::new());
                let by_table: Vec<_> =
                    patterns.sums_by_table(&table, &mut sums).iter().map(|(c, s, g)| (c, s, *g)).collect();
                prop_assert_eq!(&by_table, &expected);
                if patterns.have_rows() {
                    let by_rows: Vec<_> =
                        patterns.sums_by_rows(&residual, &mut others).iter().map(|(c, s, g)| (c, s, *g)).collect();
                    prop_assert_eq!(&by_rows, &expected);
                }
            }
        }
    }
}
