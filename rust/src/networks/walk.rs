//! The outputs of a network along walks from one sequence to another.
//!
//! Each step is a mutant of the sequence before it, so most of the work is shared: [`super::scan`]. Several walks take
//! their steps together, so that the products of matrices have enough rows.

use super::Network;
use super::pass::Workspace;
use super::scan::{Base, Mutant, Scan};
use super::train::CHUNK;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::walks::Walks;

/// Walks that take their steps together.
pub(super) const LANES: usize = 8;

impl Network {
    /// Calls `add(row, step, output)` with the standardised output of the network at the start, number 0, and after
    /// each step that changes a symbol, of up to [`LANES`] walks.
    pub(super) fn along(
        &self,
        walks: &Walks<'_>,
        rows: &[usize],
        mut add: impl FnMut(usize, usize, f32),
        cancel: &Cancel,
    ) -> Result<()> {
        if self.shape.windows() {
            return self.each_along(walks, rows, add, cancel);
        }
        let q = self.shape.q;
        let mut scan = Scan::new(self);
        let mut bases = vec![Base::new(self.shape); rows.len()];
        let mut steps: Vec<_> = rows.iter().map(|&row| walks.steps(row)).collect();
        // The mutants, and the number of the step of each: first each start itself.
        let mut mutants = Vec::with_capacity(rows.len());
        let mut numbers = vec![0; rows.len()];
        for (base, &row) in rows.iter().enumerate() {
            let start = walks.start(row);
            scan.prepare(start, &mut bases[base]);
            mutants.push(Mutant { base, cell: usize::from(start[0]) });
        }
        while !mutants.is_empty() {
            cancel.check()?;
            scan.evaluate(&bases, &mutants);
            for (at, (&Mutant { base, cell }, &number)) in mutants.iter().zip(&numbers).enumerate() {
                add(rows[base], number, scan.output(&bases[base], at, cell));
                scan.accept(&mut bases[base], at, cell);
            }
            (mutants, numbers) = mutants
                .iter()
                .filter_map(|&Mutant { base, .. }| {
                    let (number, position, symbol) = steps[base].next()?;
                    Some((Mutant { base, cell: position * q + usize::from(symbol) }, number))
                })
                .unzip();
        }
        Ok(())
    }

    /// The same by predicting each sequence: with windows, a mutant can change the largest sums anywhere.
    fn each_along(
        &self,
        walks: &Walks<'_>,
        rows: &[usize],
        mut add: impl FnMut(usize, usize, f32),
        cancel: &Cancel,
    ) -> Result<()> {
        let mut workspace = Workspace::new(self.shape, CHUNK, false);
        for &row in rows {
            let hybrids: Vec<(usize, Vec<u8>)> = walks.hybrids(row).collect();
            for hybrids in hybrids.chunks(CHUNK) {
                cancel.check()?;
                let codes: Vec<u8> = hybrids.iter().flat_map(|(_, codes)| codes).copied().collect();
                let outputs = workspace.forward(&self.parameters, &codes);
                hybrids.iter().zip(outputs).for_each(|(&(step, _), &output)| add(row, step, output));
            }
        }
        Ok(())
    }
}
