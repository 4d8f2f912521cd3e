//! Cells of rows in the tables of supports.

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
