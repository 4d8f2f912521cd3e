//! Growth: patterns one letter longer than those in use.
//!
//! Enumerating all supports ends at order 2 or 3; motifs do not. A pattern that a fit uses is extended
//! by every letter at every other position, and those extensions that the residual asks for join the
//! active set, level by level.

use std::collections::HashMap;

use rayon::prelude::*;

use super::operator::{AtomId, Column, Operator, cell, word};
use super::solver::Lanes;
use super::strengths::{MAX_ORDER, Strengths};
use super::tables::Tables;
use crate::cancel::Cancel;
use crate::error::Result;

/// Supports of a dictionary and those grown, by content.
pub(crate) type Index = HashMap<Vec<u16>, usize>;

struct Child {
    support: Vec<u16>,
    letters: Vec<u8>,
    column: Column,
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
                let used = (0..L).filter(|&l| atom.beta[l] != 0.0).fold(0_u8, |bits, l| bits | 1 << l);
                let count = std::array::from_fn(|l| set.count(l));
                Ok(children(tables, atom.id, &atom.column, used, &residual, &count, strengths, lambda))
            })
            .collect::<Result<_>>()?;
        for child in children.into_iter().flatten() {
            let at = match index.get(&child.support) {
                // The dictionary is screened in any case.
                Some(&at) if at < tables.listed() => continue,
                Some(&at) => at,
                None => {
                    let at = tables.add(child.support.clone());
                    index.insert(child.support, at);
                    at
                }
            };
            let id = AtomId::new(at, cell(&child.letters, tables.q()));
            set.activate(tables, id, || child.column, child.penalty, child.lanes);
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one pattern in the light of one residual")]
fn children<const L: usize>(
    tables: &Tables,
    id: AtomId,
    column: &Column,
    used: u8,
    residual: &[[f64; L]],
    count: &[f64; L],
    strengths: &Strengths,
    lambda: f64,
) -> Vec<Child> {
    let (q, n) = (tables.q(), tables.n());
    let support = &tables.supports()[id.support as usize];
    let Column::Ones(rows) = column else { return Vec::new() };
    if support.len() >= MAX_ORDER.min(n) || (q as f64).powi(support.len() as i32 + 1) > f64::from(u32::MAX) {
        return Vec::new();
    }
    let letters = word(id.cell, q, support.len());
    let mut out = Vec::new();
    for position in (0..n as u16).filter(|i| !support.contains(i)) {
        let mut sums = vec![[0.0; L]; q];
        for &row in rows {
            let sum = &mut sums[tables.code(row, position as usize) as usize];
            for (sum, r) in sum.iter_mut().zip(&residual[row as usize]) {
                *sum += r;
            }
        }
        let place = support.partition_point(|&i| i < position);
        let mut longer = support.clone();
        longer.insert(place, position);
        let weight = strengths.grown(&longer);
        for (letter, sum) in sums.iter().enumerate() {
            let mut pattern = letters.clone();
            pattern.insert(place, letter as u8);
            let penalty = weight * tables.pattern_scale(&longer, &pattern);
            let lanes = (0..L)
                .filter(|&l| used >> l & 1 == 1 && sum[l].abs() > lambda * penalty * count[l])
                .fold(0, |bits, l| bits | 1 << l);
            if lanes != 0 && penalty > 0.0 {
                let rows = rows.iter().copied();
                let column = rows.filter(|&r| tables.code(r, position as usize) as usize == letter).collect();
                out.push(Child {
                    support: longer.clone(),
                    letters: pattern,
                    column: Column::Ones(column),
                    penalty,
                    lanes,
                });
            }
        }
    }
    out
}
