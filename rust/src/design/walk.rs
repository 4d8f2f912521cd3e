//! The queries of a design, one after the other.

use super::{Group, QueryDesign};
use crate::frequency::Sizes;
use crate::words;

/// Steps through the queries of all blocks. A step takes one vector addition or a few.
pub(super) struct Walk<'a> {
    design: &'a QueryDesign,
    pub(super) number: usize,
    /// The numbers of the letters.
    pub(super) row: Vec<u8>,
    group: usize,
    digits: Vec<usize>,
    columns: Vec<Vec<u8>>,
}

impl<'a> Walk<'a> {
    /// At this query.
    pub(super) fn new(design: &'a QueryDesign, number: usize) -> Self {
        let row = vec![0; design.space.n()];
        let mut walk = Self { design, number, row, group: 0, digits: Vec::new(), columns: Vec::new() };
        walk.enter(number);
        walk
    }

    /// Computes query `number` from scratch.
    fn enter(&mut self, number: usize) {
        let Self { design, .. } = *self;
        let group = design.starts.partition_point(|&start| start <= number) - 1;
        let Some(Group { matrix, delays }) = design.groups.get(group) else { return };
        let within = number - design.starts[group];
        let block = matrix.block_len();
        self.number = number;
        self.group = group;
        self.row = delays.row(within / block);
        let sizes = matrix.sizes();
        self.columns = (0..sizes.len()).map(|t| matrix.column(t)).collect();
        self.digits.resize(sizes.len(), 0);
        words::write_digits(within % block, sizes.iter().copied(), &mut self.digits);
        for ((column, &digit), &size) in self.columns.iter().zip(&self.digits).zip(sizes) {
            // Other positions keep their values, which may be larger than those of this size.
            for (x, &m) in self.row.iter_mut().zip(column).filter(|(_, m)| **m > 0) {
                *x = ((*x as usize + m as usize * digit) % size) as u8;
            }
        }
    }

    pub(super) fn advance(&mut self) {
        let sizes = self.design.groups[self.group].matrix.sizes();
        self.number += 1;
        for t in (0..sizes.len()).rev() {
            // A digit that increases, or returns from q - 1 to 0, adds its column modulo q.
            let column = &self.columns[t];
            let add = |x: &mut u8, m: u8, modulus: u8| {
                let sum = *x + m;
                *x = if sum >= modulus { sum - modulus } else { sum };
            };
            match self.design.space.sizes() {
                Sizes::Same(q) => self.row.iter_mut().zip(column).for_each(|(x, &m)| add(x, m, *q as u8)),
                Sizes::Each(sizes) => {
                    let rows = self.row.iter_mut().zip(column).zip(&**sizes);
                    rows.for_each(|((x, &m), &size)| add(x, m, size));
                }
            }
            self.digits[t] += 1;
            if self.digits[t] < sizes[t] {
                return;
            }
            self.digits[t] = 0;
        }
        self.enter(self.number);
    }

    /// Writes the codes of the query.
    pub(super) fn write(&self, codes: &mut [u8]) {
        codes.copy_from_slice(&self.row);
        for (code, letters) in codes.iter_mut().zip(&self.design.letters) {
            *code = letters[*code as usize];
        }
    }
}
