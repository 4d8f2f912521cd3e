//! Cells of rows in the tables of supports, and tables of fewer positions from those of more.

/// Computes the cell of each row in the table of a support, and reuses the work for supports that start
/// with the same positions.
pub(super) struct RowCells<'a> {
    q: u32,
    columns: &'a [Vec<u8>],
    /// Cells of all rows for the first 1, 2, … positions of the last support.
    levels: Vec<Vec<u32>>,
    last: Vec<u16>,
}

impl<'a> RowCells<'a> {
    pub(super) fn new(q: usize, columns: &'a [Vec<u8>]) -> Self {
        Self { q: q as u32, columns, levels: Vec::new(), last: Vec::new() }
    }

    /// The cell of each row for this support.
    pub(super) fn of(&mut self, support: &[u16]) -> &[u32] {
        let common = self.last.iter().zip(support).take_while(|(a, b)| a == b).count();
        while self.levels.len() < support.len() {
            self.levels.push(vec![0; self.columns[0].len()]);
        }
        for (level, &position) in support.iter().enumerate().skip(common) {
            let column = &self.columns[position as usize];
            let (before, after) = self.levels.split_at_mut(level);
            match before.last() {
                Some(prefixes) => {
                    for ((cell, &prefix), &symbol) in after[0].iter_mut().zip(prefixes).zip(column) {
                        *cell = prefix * self.q + u32::from(symbol);
                    }
                }
                None => {
                    for (cell, &symbol) in after[0].iter_mut().zip(column) {
                        *cell = u32::from(symbol);
                    }
                }
            }
        }
        self.last = support.to_vec();
        &self.levels[support.len() - 1]
    }
}

/// Sums the table of a block over the positions that are not in a support. `table` may be overwritten.
#[must_use]
pub(super) fn marginal<'a, const L: usize>(
    block_table: &'a [[f64; L]],
    positions: &[u16],
    support: &[u16],
    q: usize,
    table: &'a mut Vec<[f64; L]>,
) -> &'a [[f64; L]] {
    if support.len() == positions.len() {
        return block_table;
    }
    table.clear();
    // From the last position to the first. The first sum reads the table of the block, the others overwrite `table`.
    let mut after = 1;
    for position in positions.iter().rev() {
        if support.contains(position) {
            after *= q;
            continue;
        }
        if table.is_empty() {
            table.extend(
                block_table
                    .chunks_exact(q * after)
                    .flat_map(|block| (0..after).map(move |tail| total(block[tail..].iter().step_by(after)))),
            );
            continue;
        }
        let before = table.len() / (q * after);
        for head in 0..before {
            for tail in 0..after {
                let first = head * q * after + tail;
                table[head * after + tail] =
                    total(table[first..][..(q - 1) * after + 1].iter().step_by(after));
            }
        }
        table.truncate(before * after);
    }
    table
}

/// The sum of these cells.
fn total<'a, const L: usize>(cells: impl Iterator<Item = &'a [f64; L]>) -> [f64; L] {
    cells.fold([0.0; L], |mut sum, cell| {
        (0..L).for_each(|l| sum[l] += cell[l]);
        sum
    })
}
