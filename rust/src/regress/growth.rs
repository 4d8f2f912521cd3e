//! Growth: patterns one letter longer than those in use.
//!
//! Enumerating all supports ends at order 2 or 3; motifs do not. A pattern that a fit uses is extended
//! by every letter at every other position, and those extensions that the residual asks for join the
//! active set, level by level.

use std::collections::HashMap;

use rayon::prelude::*;

use super::gather::Tables;
use super::operator::{AtomId, Column, Operator, cell, word};
use super::penalty::{MAX_ORDER, Strengths};
use super::solver::{Atom, Lanes};
use crate::cancel::Cancel;
use crate::error::Result;

/// Supports of a dictionary and those grown, by content.
pub(crate) type Index = HashMap<Vec<u16>, usize>;

struct Child {
    support: Vec<u16>,
    letters: Vec<u8>,
    /// Rows with the pattern, unless an active atom has them.
    column: Option<Column>,
    penalty: f64,
    lanes: u8,
}

/// Adds to each set of lanes the extensions of its atoms whose correlation with the residual exceeds
/// `lambda` times their penalty. Lane by lane: only a lane's own atoms are extended, and only its own
/// residual is asked.
pub(crate) fn grow<const L: usize>(
    tables: &mut Tables,
    index: &mut Index,
    lanes: &mut [Lanes<L>],
    strengths: &Strengths,
    lambda: f64,
    cancel: &Cancel,
) -> Result<()> {
    for set in lanes {
        let residual = set.training_residual();
        let children: Vec<Vec<Child>> = set
            .atoms
            .par_iter()
            .filter(|atom| atom.beta != [0.0; L])
            .map(|atom| {
                cancel.check()?;
                Ok(children(tables, index, set, atom, &residual, strengths, lambda))
            })
            .collect::<Result<_>>()?;
        for child in children.into_iter().flatten() {
            let at = match index.get(&child.support) {
                Some(&at) => at,
                None => {
                    let at = tables.add(child.support.clone());
                    index.insert(child.support, at);
                    at
                }
            };
            let id = AtomId::new(at, cell(&child.letters, tables.q()));
            let column = || child.column.unwrap_or_else(|| tables.column(id));
            set.activate(tables, id, column, child.penalty, child.lanes);
        }
    }
    Ok(())
}

fn children<const L: usize>(
    tables: &Tables,
    index: &Index,
    set: &Lanes<L>,
    atom: &Atom<L>,
    residual: &[[f64; L]],
    strengths: &Strengths,
    lambda: f64,
) -> Vec<Child> {
    let (q, n) = (tables.q(), tables.n());
    let support = &tables.supports()[atom.id.support as usize];
    let Column::Ones(rows) = &atom.column else { return Vec::new() };
    if support.len() >= MAX_ORDER.min(n) || (q as f64).powi(support.len() as i32 + 1) > f64::from(u32::MAX) {
        return Vec::new();
    }
    let letters = word(atom.id.cell, q, support.len());
    let mut out = Vec::new();
    for position in (0..n as u16).filter(|i| !support.contains(i)) {
        let place = support.partition_point(|&i| i < position);
        let mut longer = support.clone();
        longer.insert(place, position);
        let known = index.get(&longer).copied();
        // The dictionary is screened in any case.
        if known.is_some_and(|at| at < tables.listed()) {
            continue;
        }
        let mut sums = vec![[0.0; L]; q];
        for &row in rows {
            let sum = &mut sums[tables.code(row, position as usize) as usize];
            for (sum, r) in sum.iter_mut().zip(&residual[row as usize]) {
                *sum += r;
            }
        }
        let weight = strengths.grown(&longer);
        for (letter, sum) in sums.iter().enumerate() {
            let mut pattern = letters.clone();
            pattern.insert(place, letter as u8);
            let penalty = weight * tables.pattern_scale(&longer, &pattern);
            let lanes = (0..L)
                .filter(|&l| atom.beta[l] != 0.0 && sum[l].abs() > lambda * penalty * set.count(l))
                .fold(0, |bits, l| bits | 1 << l);
            let allowed = known.map_or(0, |at| set.allowed(AtomId::new(at, cell(&pattern, q))));
            if penalty > 0.0 && lanes & !allowed != 0 {
                let column = (allowed == 0).then(|| {
                    let has = |row: &u32| tables.code(*row, position as usize) as usize == letter;
                    Column::Ones(rows.iter().copied().filter(has).collect())
                });
                out.push(Child { support: longer.clone(), letters: pattern, column, penalty, lanes });
            }
        }
    }
    out
}
