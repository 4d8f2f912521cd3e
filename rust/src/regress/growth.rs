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

/// Largest number of symbols that one step of growth reads for each row: a row is read once for each atom that it matches.
const READS: usize = 1 << 15;
/// Number of atoms whose extensions have their columns computed at a time.
const CHUNK: usize = 64;

/// A letter pattern extended by one symbol at one more position.
struct Extension {
    position: u16,
    symbol: u8,
    /// Lanes in which the pattern becomes active, as bits.
    lanes: u8,
    /// Number of rows that match the pattern; `None` if it is an active atom.
    new_rows: Option<u32>,
    penalty: f64,
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
        let chosen = strongest(operator, set);
        let extended: Vec<Vec<Extension>> = chosen
            .par_iter()
            .map(|&index| {
                cancel.check()?;
                Ok(extensions(operator, set, &set.atoms[index], &residual, factors, lambda))
            })
            .collect::<Result<_>>()?;
        // Counted before the columns are computed: they can be many more than there is room for.
        let new_rows = extended.iter().flatten().filter_map(|extension| extension.new_rows);
        if !set.has_room(new_rows.map(|rows| operator.pattern_bytes(rows as usize))) {
            return Ok(false);
        }
        for (chosen, extended) in chosen.chunks(CHUNK).zip(extended.chunks(CHUNK)) {
            let columns: Vec<_> = (chosen, extended)
                .into_par_iter()
                .map(|(&index, extended)| columns(operator, &set.atoms[index], extended))
                .collect();
            for (extension, (support, symbols, column)) in
                extended.iter().flatten().zip(columns.into_iter().flatten())
            {
                let support = operator.support_index_or_add(support);
                let id = AtomId::new(support, cell(&symbols, operator.q()));
                let column = || column.unwrap_or_else(|| operator.column(id));
                set.activate(operator, id, column, extension.penalty, extension.lanes);
            }
        }
    }
    Ok(true)
}

/// The atoms with nonzero coefficients that can be extended, by index, ascending. If they are too many for [`READS`], those
/// with the largest contributions to the fit.
fn strongest(operator: &GatherOperator, set: &Lanes<LANES>) -> Vec<usize> {
    let strength =
        |atom: &Atom<LANES>| (0..LANES).map(|l| atom.beta[l].powi(2) * atom.norm[l]).fold(0.0, f64::max);
    let nonzero = set.atoms.iter().enumerate().filter(|(_, atom)| atom.beta != [0.0; LANES]);
    let mut chosen: Vec<(usize, &Atom<LANES>)> =
        nonzero.filter(|(_, atom)| is_extensible(operator, set, atom)).collect();
    chosen.sort_by(|a, b| strength(b.1).total_cmp(&strength(a.1)));
    let mut room = READS.saturating_mul(operator.values().len());
    let fits = |(_, atom): &&(usize, &Atom<LANES>)| {
        let needed = atom.column.n_rows() * operator.n();
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    };
    let mut chosen: Vec<usize> = chosen.iter().take_while(fits).map(|(index, _)| *index).collect();
    chosen.sort_unstable();
    chosen
}

/// Whether growth may extend an atom.
fn is_extensible(operator: &GatherOperator, set: &Lanes<LANES>, atom: &Atom<LANES>) -> bool {
    let (q, n) = (operator.q(), operator.n());
    let support = atom.id.support as usize;
    let order = operator.supports()[support].len();
    // Screening has chosen among all pairs.
    let screened = order == 1 && set.has_own_supports();
    // Cell numbers of the longer pattern must fit into an AtomId.
    let cells = (q as f64).powi(order as i32 + 1);
    !screened && operator.run(support).is_none() && order < MAX_ORDER.min(n) && cells <= f64::from(u32::MAX)
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
    let Some(rows) = atom.column.pattern_rows() else { return Vec::new() };
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
    for (at, longer) in longer.iter().enumerate() {
        let (sums, counts) = (&sums[at * q..][..q], &counts[at * q..][..q]);
        let factor = factors.grown(&longer.support);
        for (symbol, sum) in sums.iter().enumerate().filter(|(symbol, _)| counts[*symbol] >= FEWEST_ROWS) {
            let pattern = longer.pattern(&symbols, symbol as u8);
            let penalty = factor * operator.pattern_scale(&longer.support, &pattern);
            let exceeds = |l: usize| sum[l].abs() > lambda * penalty * set.n_training(l);
            let lanes = lane_bits((0..LANES).filter(|&l| atom.beta[l] != 0.0 && exceeds(l)));
            let active =
                longer.index.map_or(0, |index| set.active_lanes(AtomId::new(index, cell(&pattern, q))));
            if penalty > 0.0 && lanes & !active != 0 {
                extended.push(Extension {
                    position: longer.position,
                    symbol: symbol as u8,
                    lanes,
                    new_rows: (active == 0).then_some(counts[symbol] as u32),
                    penalty,
                });
            }
        }
    }
    extended
}

/// Support, symbols and column of each of these extensions of an atom. Columns of patterns that were active are left out.
fn columns(
    operator: &GatherOperator,
    atom: &Atom<LANES>,
    extended: &[Extension],
) -> Vec<(Vec<u16>, Vec<u8>, Option<Column>)> {
    let support = &operator.supports()[atom.id.support as usize];
    let symbols = digits(atom.id.cell, operator.q(), support.len());
    let rows = atom.column.pattern_rows().unwrap_or_default();
    let column = |extension: &Extension| {
        let Extension { position, symbol, .. } = *extension;
        let longer = Longer::new(operator, support, position);
        let matches = |row: &u32| operator.sequence(*row)[position as usize] == symbol;
        let new = extension.new_rows.map(|_| rows.iter().copied().filter(matches).collect());
        let pattern = longer.pattern(&symbols, symbol);
        (longer.support, pattern, new.map(|rows| operator.pattern_column(rows)))
    };
    extended.iter().map(column).collect()
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

    /// The symbols on this support, from those on the shorter one and the symbol at the position.
    fn pattern(&self, symbols: &[u8], symbol: u8) -> Vec<u8> {
        let mut pattern = symbols.to_vec();
        pattern.insert(self.slot, symbol);
        pattern
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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::Atoms;
    use super::*;

    #[test]
    fn the_strongest_atoms_are_extended_if_sequences_are_long() {
        let (n, rows) = (600, 20);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let codes: Vec<u8> = (0..rows * n).map(|_| rng.random_range(0..2_u32) as u8).collect();
        let supports = (0..n as u16).map(|i| vec![i]).collect();
        let operator = GatherOperator::new((2, n), Atoms::Letters, &codes, &vec![1.0; rows], None, supports);
        let mut set = Lanes::<LANES>::new(&operator, vec![0; rows], Vec::new());
        for id in (0..n).map(|i| AtomId::new(i, 1)) {
            set.activate(&operator, id, || operator.column(id), 1.0, u8::MAX);
            set.set(id, rng.random_range(-1.0..1.0));
        }
        let chosen = strongest(&operator, &set);
        assert!(chosen.is_sorted());
        let strength = |index: usize| set.atoms[index].beta[0].powi(2) * set.atoms[index].norm[0];
        let others: Vec<usize> = (0..n).filter(|index| !chosen.contains(index)).collect();
        let weakest = chosen.iter().map(|&index| strength(index)).fold(f64::INFINITY, f64::min);
        let next = others.iter().copied().max_by(|&a, &b| strength(a).total_cmp(&strength(b))).unwrap_or(0);
        assert!(weakest >= strength(next));
        let reads =
            |indices: &[usize]| -> usize { indices.iter().map(|&i| set.atoms[i].column.n_rows() * n).sum() };
        assert!(reads(&chosen) <= READS * rows);
        assert!(reads(&[&chosen[..], &[next]].concat()) > READS * rows);
    }
}
