//! Coordinate descent for ℓ1 penalties with an active set, several fits at a time.
//!
//! The fits of a cross-validation share the data and differ in the rows that they hold out. `L` fits
//! (lanes) therefore use the same columns together, and one pass over memory serves all of them. A lane
//! depends on its own training rows only. An atom that another lane has selected is not available to it:
//! the other lane may have been trained on rows that this lane holds out.
//!
//! In each lane, over its `N` training rows, the solver minimises
//! `½‖y - β₀ - Σ_j β_j a_j‖² + λ N Σ_j p_j |β_j|`. The intercept `β₀` is not penalised and is eliminated
//! exactly: the projection onto the constant is removed from every column.

use std::collections::HashMap;

use super::columns::{Column, products, subtract};
use super::operator::{AtomId, Operator};
use crate::cancel::Cancel;
use crate::error::Result;

/// Largest number of sweeps over the nonzero atoms between two sweeps over all active atoms.
const INNER_SWEEPS: usize = 20;
/// A column counts as constant if the fraction of its squared norm orthogonal to the constant is at most
/// this.
const MIN_INDEPENDENT: f64 = 1e-9;
/// A little less than 1.
const BELOW: f64 = 1.0 - 1e-12;
/// Memory for the active atoms of one set of lanes, in bytes: enough for this number of columns with a bit for each row,
/// and within these limits.
const COLUMNS: usize = 20_000;
const BYTES: (usize, usize) = (1 << 28, 1 << 30);
/// Approximate memory of an atom besides its column and its numbers in the lanes, in bytes: its support, in two lists.
const SUPPORT_BYTES: usize = 160;

/// Lanes as bits: bit `l` represents lane `l`.
pub(crate) fn lane_bits(lanes: impl Iterator<Item = usize>) -> u8 {
    lanes.fold(0, |bits, lane| bits | 1 << lane)
}

/// One atom of the active set.
#[derive(Clone, Debug)]
pub(crate) struct Atom<const L: usize> {
    pub(crate) id: AtomId,
    pub(crate) column: Column,
    /// Lanes in which the atom is active, as bits.
    pub(crate) lanes: u8,
    /// Inner product of the column with the constant over the training rows.
    constant: [f64; L],
    /// Squared norm of the column over the training rows, after its projection onto the constant is
    /// removed.
    pub(crate) norm: [f64; L],
    /// Penalty `p_j`.
    pub(crate) penalty: f64,
    pub(crate) beta: [f64; L],
    /// Sort key in coordinate descent; see [`Operator::rank`].
    rank: (usize, u64),
}

/// `L` fits on the same columns.
#[derive(Clone, Debug)]
pub(crate) struct Lanes<const L: usize> {
    /// `y - Σ_j β_j a_j`, for training rows and held-out rows.
    residual: Vec<[f64; L]>,
    /// The negative of the intercept: the residual of a fit is `residual + offset·constant`.
    offset: [f64; L],
    /// The constant function in the operator's domain.
    constant: Vec<f64>,
    /// For each row, the lanes that hold it out, as bits.
    held_out: Vec<u8>,
    /// For each support of the dictionary, the lanes that may use it, as bits; all lanes if it is not in this list.
    available: Vec<u8>,
    /// For each value of these bits, 1 in lanes that train on the row and 0 in the others.
    masks: Vec<[f64; L]>,
    /// Number of training rows.
    n_training: [f64; L],
    pub(crate) atoms: Vec<Atom<L>>,
    /// Index in `atoms`.
    index: HashMap<AtomId, usize>,
    /// Indices in `atoms`, in the order of descent.
    order: Vec<usize>,
    /// Size of the active atoms, in bytes.
    bytes: usize,
    /// Memory for the residuals of training rows.
    buffer: Vec<[f64; L]>,
    /// Screening activates no more atoms than this in all.
    most_atoms: usize,
}

/// A copy of everything that coordinate descent changes.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot<const L: usize> {
    residual: Vec<[f64; L]>,
    offset: [f64; L],
    beta: Vec<[f64; L]>,
}

impl<const L: usize> Lanes<L> {
    /// Fits of the constant alone. `held_out` has, for each row, the lanes that hold it out, as bits; `available`, for each
    /// support of the dictionary, the lanes that may use it.
    pub(crate) fn new(operator: &impl Operator, held_out: Vec<u8>, available: Vec<u8>) -> Self {
        let masks: Vec<[f64; L]> = (0..1_usize << L)
            .map(|bits| std::array::from_fn(|l| if bits >> l & 1 == 1 { 0.0 } else { 1.0 }))
            .collect();
        let mut lanes = Self {
            residual: operator.values().iter().map(|&y| [y; L]).collect(),
            offset: [0.0; L],
            n_training: [0.0; L],
            constant: operator.constant().to_vec(),
            held_out,
            available,
            masks,
            atoms: Vec::new(),
            index: HashMap::new(),
            order: Vec::new(),
            bytes: 0,
            buffer: Vec::new(),
            most_atoms: usize::MAX,
        };
        let mut sum = [0.0; L];
        for ((r, &c), &bits) in lanes.residual.iter().zip(&lanes.constant).zip(&lanes.held_out) {
            let mask = &lanes.masks[bits as usize];
            for l in 0..L {
                sum[l] += c * r[l] * mask[l];
                lanes.n_training[l] += c * c * mask[l];
            }
        }
        lanes.offset = std::array::from_fn(|l| -sum[l] / lanes.n_training[l]);
        lanes
    }

    /// The same fits, in which screening activates no atom if it finds more than this number of atoms in all.
    pub(crate) fn with_most_atoms(self, most_atoms: usize) -> Self {
        Self { most_atoms, ..self }
    }

    /// Whether lanes differ in the supports that they may use.
    pub(crate) fn has_own_supports(&self) -> bool {
        !self.available.is_empty()
    }

    /// The lanes that may use a support, as bits.
    pub(crate) fn available(&self, support: usize) -> u8 {
        self.available.get(support).copied().unwrap_or(u8::MAX)
    }

    /// Number of training rows of a lane.
    pub(crate) fn n_training(&self, lane: usize) -> f64 {
        self.n_training[lane]
    }

    /// The intercept of a lane.
    pub(crate) fn intercept(&self, lane: usize) -> f64 {
        -self.offset[lane]
    }

    /// The residuals of the training rows, and zero for held-out rows.
    pub(crate) fn training_residual(&self) -> Vec<[f64; L]> {
        self.training_residuals().collect()
    }

    fn training_residuals(&self) -> impl Iterator<Item = [f64; L]> {
        self.residual.iter().zip(&self.constant).zip(&self.held_out).map(|((r, c), &bits)| {
            let mask = &self.masks[bits as usize];
            std::array::from_fn(|l| (r[l] + self.offset[l] * c) * mask[l])
        })
    }

    /// The residual of a row in a lane, whether the lane trains on the row or not.
    pub(crate) fn residual_at(&self, row: usize, lane: usize) -> f64 {
        self.residual[row][lane] + self.offset[lane] * self.constant[row]
    }

    /// Whether the active atoms take more memory than is allowed.
    pub(crate) fn is_full(&self) -> bool {
        !self.has_room([])
    }

    /// Whether atoms whose columns have these sizes in bytes can become active within the memory that is allowed.
    pub(crate) fn has_room(&self, columns: impl IntoIterator<Item = usize>) -> bool {
        let more: usize = columns.into_iter().map(Self::bytes_with).sum();
        self.bytes + more <= (COLUMNS * self.residual.len() / 8).clamp(BYTES.0, BYTES.1)
    }

    /// Size of an atom whose column has this size, in bytes.
    fn bytes_with(column: usize) -> usize {
        column + size_of::<Atom<L>>() + SUPPORT_BYTES
    }

    /// Number of nonzero coefficients of a lane.
    pub(crate) fn n_nonzero(&self, lane: usize) -> usize {
        self.atoms.iter().filter(|atom| atom.beta[lane] != 0.0).count()
    }

    /// Lanes in which an atom is active, as bits.
    pub(crate) fn active_lanes(&self, id: AtomId) -> u8 {
        self.index.get(&id).map_or(0, |&index| self.atoms[index].lanes)
    }

    /// Makes an atom active in these lanes (bits).
    pub(crate) fn activate(
        &mut self,
        operator: &impl Operator,
        id: AtomId,
        column: impl FnOnce() -> Column,
        penalty: f64,
        lanes: u8,
    ) {
        if let Some(&index) = self.index.get(&id) {
            self.atoms[index].lanes |= lanes;
            return;
        }
        let column = column();
        let (mut constant, mut norm) = ([0.0; L], [0.0; L]);
        column.for_each(|row, value| {
            let (mask, c) = (&self.masks[self.held_out[row] as usize], self.constant[row]);
            for l in 0..L {
                constant[l] += c * value * mask[l];
                norm[l] += value * value * mask[l];
            }
        });
        for l in 0..L {
            let raw = norm[l];
            norm[l] -= constant[l] * constant[l] / self.n_training[l];
            if norm[l] <= MIN_INDEPENDENT * raw {
                norm[l] = 0.0;
            }
        }
        self.bytes += Self::bytes_with(column.bytes());
        self.index.insert(id, self.atoms.len());
        let rank = operator.rank(id);
        self.order.push(self.atoms.len());
        self.atoms.push(Atom { id, column, lanes, constant, norm, penalty, beta: [0.0; L], rank });
    }

    /// Sets the coefficient of an active atom in all lanes, and adapts their intercepts.
    pub(crate) fn set(&mut self, id: AtomId, beta: f64) {
        let Self { residual, offset, n_training, atoms, index, .. } = self;
        let Some(atom) = index.get(&id).map(|&index| &mut atoms[index]) else { return };
        let delta: [f64; L] = atom.beta.map(|before| beta - before);
        atom.beta = [beta; L];
        (0..L).for_each(|l| offset[l] += delta[l] * atom.constant[l] / n_training[l]);
        subtract(&atom.column, delta, residual);
    }

    /// Minimises over the coefficient of one atom in these lanes. Returns the largest change of a fit,
    /// squared, per row.
    fn step(&mut self, index: usize, lanes: u8, lambda: f64) -> f64 {
        let Self { residual, offset, held_out, masks, n_training, atoms, .. } = self;
        let atom = &mut atoms[index];
        let lanes = lanes & atom.lanes;
        if lanes == 0 {
            return 0.0;
        }
        let g = products(&atom.column, residual, held_out, masks);
        let (mut delta, mut change) = ([0.0; L], 0.0_f64);
        for l in 0..L {
            if atom.norm[l] == 0.0 || lanes >> l & 1 == 0 {
                continue;
            }
            let z = g[l] + offset[l] * atom.constant[l] + atom.norm[l] * atom.beta[l];
            let threshold = lambda * n_training[l] * atom.penalty;
            let next = (z.abs() - threshold).max(0.0).copysign(z) / atom.norm[l];
            delta[l] = next - atom.beta[l];
            atom.beta[l] = next;
            offset[l] += delta[l] * atom.constant[l] / n_training[l];
            change = change.max(atom.norm[l] * delta[l] * delta[l] / n_training[l]);
        }
        if delta != [0.0; L] {
            subtract(&atom.column, delta, residual);
        }
        change
    }

    /// Descends until no step changes a fit by more than `tolerance` (squared, per row), or for `sweeps`
    /// sweeps. Returns whether the tolerance was reached.
    pub(crate) fn descend(
        &mut self,
        lambda: f64,
        tolerance: f64,
        sweeps: usize,
        cancel: &Cancel,
    ) -> Result<bool> {
        let Self { order, atoms, .. } = self;
        order.sort_unstable_by_key(|&index| atoms[index].rank);
        let order = order.clone();
        let mut remaining = sweeps;
        while remaining > 0 {
            cancel.check()?;
            remaining -= 1;
            let change = order.iter().map(|&index| self.step(index, u8::MAX, lambda)).fold(0.0, f64::max);
            if change <= tolerance {
                return Ok(true);
            }
            let inner = remaining.min(INNER_SWEEPS);
            remaining -= inner - self.descend_nonzero(lambda, tolerance, inner, cancel)?;
        }
        Ok(false)
    }

    /// Descends over the nonzero coefficients of each lane. Returns the number of sweeps left.
    fn descend_nonzero(
        &mut self,
        lambda: f64,
        tolerance: f64,
        sweeps: usize,
        cancel: &Cancel,
    ) -> Result<usize> {
        let nonzero: Vec<(usize, u8)> = self
            .order
            .iter()
            .map(|&index| (index, lane_bits((0..L).filter(|&l| self.atoms[index].beta[l] != 0.0))))
            .filter(|&(_, lanes)| lanes != 0)
            .collect();
        for sweep in 0..sweeps {
            cancel.check()?;
            let change =
                nonzero.iter().map(|&(index, lanes)| self.step(index, lanes, lambda)).fold(0.0, f64::max);
            if change <= tolerance {
                return Ok(sweeps - sweep - 1);
            }
        }
        Ok(0)
    }

    /// Refits the nonzero coefficients of each lane with another `λ`. Stops as [`Lanes::descend`] does.
    pub(crate) fn refit(
        &mut self,
        lambda: f64,
        tolerance: f64,
        sweeps: usize,
        cancel: &Cancel,
    ) -> Result<()> {
        self.descend_nonzero(lambda, tolerance, sweeps, cancel).map(drop)
    }

    /// Correlation of each active atom with a residual, divided by its penalty; the largest over all
    /// lanes.
    pub(crate) fn correlations(&self, residual: &[[f64; L]]) -> Vec<f64> {
        let relative = |atom: &Atom<L>| {
            let mut g = [0.0; L];
            atom.column.for_each(|row, value| (0..L).for_each(|l| g[l] += value * residual[row][l]));
            g.into_iter().map(f64::abs).fold(0.0, f64::max) / atom.penalty
        };
        self.atoms.iter().map(relative).collect()
    }

    /// Copies the state that [`Lanes::restore`] restores.
    pub(crate) fn snapshot(&self) -> Snapshot<L> {
        Snapshot {
            residual: self.residual.clone(),
            offset: self.offset,
            beta: self.atoms.iter().map(|atom| atom.beta).collect(),
        }
    }

    /// Goes back to a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Snapshot<L>) {
        self.residual = snapshot.residual;
        self.offset = snapshot.offset;
        for (atom, beta) in self.atoms.iter_mut().zip(snapshot.beta) {
            atom.beta = beta;
        }
    }

    /// Screens the dictionary: makes an atom active in a lane if its correlation with the lane's residual
    /// exceeds `threshold` times `N p_j`. Returns the number of atoms that became active; `None` if there would be too many
    /// (see [`Lanes::with_most_atoms`]), and then none became active.
    ///
    /// `factors` has the penalty factor of each support.
    pub(crate) fn screen<O: Operator>(
        &mut self,
        operator: &O,
        factors: &[f64],
        threshold: f64,
        cancel: &Cancel,
    ) -> Result<Option<usize>> {
        let mut residual = std::mem::take(&mut self.buffer);
        residual.clear();
        residual.extend(self.training_residuals());
        let n_training = self.n_training;
        let correlated = operator.scan(
            &residual,
            cancel,
            |support| factors[support].is_finite() && self.available(support) != 0,
            |support, correlations, output: &mut Vec<(AtomId, f64, u8)>| {
                let available = self.available(support);
                let factor = factors[support];
                // Slightly too low, so that rounding cannot exclude an atom.
                let limits = n_training.map(|n| threshold * factor * n * BELOW);
                for (cell, scale, g) in correlations.iter() {
                    if (0..L).all(|l| g[l].abs() <= limits[l] * scale) {
                        continue;
                    }
                    let penalty = scale * factor;
                    let exceeds = |&l: &usize| g[l].abs() > threshold * penalty * n_training[l];
                    let lanes = lane_bits((0..L).filter(exceeds)) & available;
                    if lanes != 0 && penalty > 0.0 {
                        output.push((AtomId::new(support, cell), penalty, lanes));
                    }
                }
            },
        )?;
        self.buffer = residual;
        let new = correlated.iter().filter(|(id, ..)| !self.index.contains_key(id)).count();
        if self.atoms.len() + new > self.most_atoms {
            return Ok(None);
        }
        let mut activated = 0;
        for (id, penalty, lanes) in correlated {
            if lanes & !self.active_lanes(id) != 0 {
                activated += 1;
                self.activate(operator, id, || operator.column(id), penalty, lanes);
            }
        }
        Ok(Some(activated))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Atoms;
    use super::super::columns::Rows;
    use super::super::gather::GatherOperator;
    use super::*;

    #[test]
    fn atoms_have_room_up_to_the_memory_that_is_allowed() {
        let operator =
            GatherOperator::new((2, 2), Atoms::Letters, &[0, 0, 1, 1], &[0.0, 1.0], None, Vec::new());
        let lanes = Lanes::<1>::new(&operator, vec![0; 2], Vec::new());
        let column = Column::Ones(Rows::new(vec![0], 2)).bytes();
        let size = Lanes::<1>::bytes_with(column);
        assert!(!lanes.is_full());
        assert!(lanes.has_room(std::iter::repeat_n(column, BYTES.0 / size)));
        assert!(!lanes.has_room(std::iter::repeat_n(column, BYTES.0 / size + 1)));
    }
}
