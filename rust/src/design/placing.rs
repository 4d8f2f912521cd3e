//! Values of the distinct queries, moved to the numbers of their queries.

use super::QueryDesign;

impl QueryDesign {
    /// Moves the values of the distinct queries to the numbers of their queries, counted over all blocks, and copies those
    /// of repeated queries. Numbers below `kept` remain in `values`, the others are in `rest`. Without repeated queries,
    /// nothing moves.
    pub(crate) fn place(&self, values: &mut [f64], rest: &mut [f64], kept: usize) {
        // From the last number on, so that no value is overwritten before it has moved.
        let mut end = kept + rest.len();
        for (index, repeat) in self.repeats.iter().enumerate().rev() {
            let number = repeat.number as usize;
            move_run(values, rest, kept, number + 1..end, index + 1);
            end = number;
        }
        move_run(values, rest, kept, 0..end, 0);
        for repeat in &self.repeats {
            let (number, first) = (repeat.number as usize, repeat.first as usize);
            let value = if first < kept { values[first] } else { rest[first - kept] };
            if number < kept {
                values[number] = value;
            } else {
                rest[number - kept] = value;
            }
        }
    }
}

/// Moves the values of these numbers, which are `before` numbers earlier in `values`.
fn move_run(
    values: &mut [f64],
    rest: &mut [f64],
    kept: usize,
    numbers: std::ops::Range<usize>,
    before: usize,
) {
    let (start, end) = (numbers.start.max(kept), numbers.end);
    if start < end {
        rest[start - kept..end - kept].copy_from_slice(&values[start - before..end - before]);
    }
    let (start, end) = (numbers.start, numbers.end.min(kept));
    if start < end && before > 0 {
        values.copy_within(start - before..end - before, start);
    }
}
