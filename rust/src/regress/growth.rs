//! Growth: letter patterns one position longer than those with nonzero coefficients.
//!
//! A dictionary can list all supports up to order 2 or 3, but motifs are often longer. A pattern with a nonzero
//! coefficient is extended by every symbol at every other position. Extensions that are correlated with
//! the residual become active, one order at a time.

use rayon::prelude::*;

use super::columns::Column;
use super::folds::LANES;
use super::gather::GatherOperator;
use super::operator::{AtomId, Operator, cell, digits};
use super::patterns::FEWEST_ROWS;
use super::penalty::{MAX_ORDER, PenaltyFactors};
use super::solver::{Atom, Lanes, lane_bits};
use crate::cancel::Cancel;
use crate::error::Result;

/// A letter pattern extended by one symbol.
struct Extension {
    support: Vec<u16>,
    symbols: Vec<u8>,
    /// Rows that match the pattern; `None` if the pattern is an active atom, whose column has them.
    column: Option<Column>,
    penalty: f64,
    /// Lanes in which the pattern becomes active, as bits.
    lanes: u8,
}

/// Makes extensions of atoms active if their correlation with the residual exceeds `lambda` times their
/// penalty. This is decided lane by lane: a lane extends atoms with nonzero coefficients in this lane, and
/// compares the extensions with the residual of this lane. Returns false if they would take too much memory; then those of
/// this set of lanes, and of the following ones, do not become active.
pub(crate) fn grow(
    operator: &mut GatherOperator,
    lanes: &mut [Lanes<LANES>],
    factors: &PenaltyFactors,
    lambda: f64,
    cancel: &Cancel,
) -> Result<bool> {
    for set in lanes {
        let residual = set.training_residual();
        let extended: Vec<Vec<Extension>> = set
            .atoms
            .par_iter()
            .filter(|atom| atom.beta != [0.0; LANES])
            .map(|atom| {
                cancel.check()?;
                Ok(extensions(operator, set, atom, &residual, factors, lambda))
            })
            .collect::<Result<_>>()?;
        if !set.has_room(extended.iter().flatten().filter_map(|extension| extension.column.as_ref())) {
            return Ok(false);
        }
        for extension in extended.into_iter().flatten() {
            let support = operator.support_index_or_add(extension.support);
            let id = AtomId::new(support, cell(&extension.symbols, operator.q()));
            let column = || extension.column.unwrap_or_else(|| operator.column(id));
            set.activate(operator, id, column, extension.penalty, extension.lanes);
        }
    }
    Ok(true)
}

/// The extensions of one atom that become active in some lane.
fn extensions(
    operator: &GatherOperator,
    set: &Lanes<LANES>,
    atom: &Atom<LANES>,
    residual: &[[f64; LANES]],
    factors: &PenaltyFactors,
    lambda: f64,
) -> Vec<Extension> {
    let (q, n) = (operator.q(), operator.n());
    let support = &operator.supports()[atom.id.support as usize];
    // Screening has chosen among all pairs.
    let screened = support.len() == 1 && set.has_own_supports();
    if screened || operator.run(atom.id.support as usize).is_some() {
        return Vec::new();
    }
    let Some(rows) = atom.column.pattern_rows() else { return Vec::new() };
    // Cell numbers of the longer pattern must fit into an AtomId.
    let cells = (q as f64).powi(support.len() as i32 + 1);
    if support.len() >= MAX_ORDER.min(n) || cells > f64::from(u32::MAX) {
        return Vec::new();
    }
    let symbols = digits(atom.id.cell, q, support.len());
    // Screening covers the supports of the dictionary.
    let longer: Vec<Longer> = (0..n as u16)
        .filter(|i| !support.contains(i))
        .map(|position| Longer::new(operator, support, position))
        .filter(|longer| longer.index.is_none_or(|index| index >= operator.n_listed()))
        .collect();
    if longer.is_empty() {
        return Vec::new();
    }
    let (sums, counts) = sums_by_symbol(operator, &rows, &longer, residual);
    let mut extended = Vec::new();
    for (at, Longer { position, slot, support: longer, index }) in longer.into_iter().enumerate() {
        let (sums, counts) = (&sums[at * q..][..q], &counts[at * q..][..q]);
        let factor = factors.grown(&longer);
        for (symbol, sum) in sums.iter().enumerate().filter(|(symbol, _)| counts[*symbol] >= FEWEST_ROWS) {
            let mut pattern = symbols.clone();
            pattern.insert(slot, symbol as u8);
            let penalty = factor * operator.pattern_scale(&longer, &pattern);
            let exceeds = |l: usize| sum[l].abs() > lambda * penalty * set.n_training(l);
            let lanes = lane_bits((0..LANES).filter(|&l| atom.beta[l] != 0.0 && exceeds(l)));
            let active = index.map_or(0, |index| set.active_lanes(AtomId::new(index, cell(&pattern, q))));
            if penalty > 0.0 && lanes & !active != 0 {
                let column = (active == 0).then(|| {
                    let matches = |row: &u32| operator.sequence(*row)[position as usize] as usize == symbol;
                    operator.pattern_column(rows.iter().copied().filter(matches).collect())
                });
                extended.push(Extension {
                    support: longer.clone(),
                    symbols: pattern,
                    column,
                    penalty,
                    lanes,
                });
            }
        }
    }
    extended
}

/// A support with one position more.
struct Longer {
    position: u16,
    /// Index of the position in the support.
    slot: usize,
    support: Vec<u16>,
    /// Index of the support; see [`GatherOperator::support_index`].
    index: Option<usize>,
}

impl Longer {
    fn new(operator: &GatherOperator, support: &[u16], position: u16) -> Self {
        let slot = support.partition_point(|&i| i < position);
        let mut support = support.to_vec();
        support.insert(slot, position);
        Self { position, slot, index: operator.support_index(&support), support }
    }
}

/// Sums of the residual over these rows, and numbers of rows, for each symbol at the position of each longer support.
fn sums_by_symbol(
    operator: &GatherOperator,
    rows: &[u32],
    longer: &[Longer],
    residual: &[[f64; LANES]],
) -> (Vec<[f64; LANES]>, Vec<usize>) {
    let q = operator.q();
    let (mut sums, mut counts) = (vec![[0.0; LANES]; longer.len() * q], vec![0; longer.len() * q]);
    for &row in rows {
        let residual = operator.scaled(row as usize, &residual[row as usize]);
        let sequence = operator.sequence(row);
        for (at, longer) in longer.iter().enumerate() {
            let cell = at * q + sequence[longer.position as usize] as usize;
            counts[cell] += 1;
            (0..LANES).for_each(|l| sums[cell][l] += residual[l]);
        }
    }
    (sums, counts)
}
