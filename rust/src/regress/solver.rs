//! Coordinate descent for ℓ1 with an active set, several fits at a time.
//!
//! The fits of a cross-validation share the data and differ in the rows they leave out, so `L` of them
//! (lanes) go through the same columns together: one pass over memory serves all. What a lane does
//! depends on its own training rows only; it must not even be told where another lane, which has seen
//! the rows that this one holds out, found something.
//!
//! In each lane, over its `N` training rows, the solver minimises
//! `½‖y - β₀ - Σ_j β_j a_j‖² + λ N Σ_j p_j |β_j|`. The intercept `β₀` is not penalised and is eliminated
//! exactly: every column enters with its projection onto the constant removed.

use std::collections::HashMap;

use super::operator::{AtomId, Column, Operator};
use crate::cancel::Cancel;
use crate::error::Result;

/// Sweeps over a lane's nonzero atoms between two sweeps over all active ones.
const INNER_SWEEPS: usize = 20;
/// A column with less of its squared norm than this apart from the constant does not count.
const INDEPENDENT: f64 = 1e-9;
/// Bytes of active columns that one set of lanes may hold.
const MAX_COLUMN_BYTES: usize = 1 << 30;

/// One atom of the active set.
#[derive(Clone, Debug)]
pub(crate) struct Atom<const L: usize> {
    pub(crate) id: AtomId,
    pub(crate) column: Column,
    /// Lanes the atom is allowed in, as bits.
    pub(crate) lanes: u8,
    /// Inner product with the constant over the training rows.
    constant: [f64; L],
    /// Squared norm over the training rows, less the part along the constant.
    pub(crate) norm: [f64; L],
    /// Penalty relative to `λ N`.
    pub(crate) penalty: f64,
    pub(crate) beta: [f64; L],
    rank: (usize, u64),
}

/// `L` fits over the same columns.
#[derive(Clone, Debug)]
pub(crate) struct Lanes<const L: usize> {
    /// `y - Σ_j β_j a_j`, in held-out rows as well.
    residual: Vec<[f64; L]>,
    /// The intercept, negated: residuals are `residual + offset·constant`.
    offset: [f64; L],
    /// The constant function in the operator's domain.
    constant: Vec<f64>,
    /// Bit `l` is set where lane `l` holds the row out.
    held: Vec<u8>,
    /// For each pattern of bits, 1 where a lane trains and 0 where it does not.
    masks: Vec<[f64; L]>,
    /// Training rows.
    count: [f64; L],
    pub(crate) atoms: Vec<Atom<L>>,
    index: HashMap<AtomId, usize>,
    /// The atoms in the order of descent.
    order: Vec<usize>,
    bytes: usize,
}

/// Everything that descent changes.
#[derive(Clone, Debug)]
pub(crate) struct State<const L: usize> {
    residual: Vec<[f64; L]>,
    offset: [f64; L],
    beta: Vec<[f64; L]>,
}

impl<const L: usize> Lanes<L> {
    /// No atom, and the best constant. `held[r]` has bit `l` set where lane `l` leaves row `r` out.
    pub(crate) fn new(operator: &impl Operator, held: Vec<u8>) -> Self {
        let masks: Vec<[f64; L]> = (0..1_usize << L)
            .map(|bits| std::array::from_fn(|l| if bits >> l & 1 == 1 { 0.0 } else { 1.0 }))
            .collect();
        let mut lanes = Self {
            residual: operator.values().iter().map(|&y| [y; L]).collect(),
            offset: [0.0; L],
            count: [0.0; L],
            constant: operator.constant().to_vec(),
            held,
            masks,
            atoms: Vec::new(),
            index: HashMap::new(),
            order: Vec::new(),
            bytes: 0,
        };
        let mut sum = [0.0; L];
        for ((r, &c), &bits) in lanes.residual.iter().zip(&lanes.constant).zip(&lanes.held) {
            let mask = &lanes.masks[bits as usize];
            for l in 0..L {
                sum[l] += c * r[l] * mask[l];
                lanes.count[l] += c * c * mask[l];
            }
        }
        lanes.offset = std::array::from_fn(|l| -sum[l] / lanes.count[l]);
        lanes
    }

    /// Training rows of a lane.
    pub(crate) fn count(&self, lane: usize) -> f64 {
        self.count[lane]
    }

    /// The intercept of a lane.
    pub(crate) fn intercept(&self, lane: usize) -> f64 {
        -self.offset[lane]
    }

    /// Residuals over the training rows, zero in the others.
    pub(crate) fn training_residual(&self) -> Vec<[f64; L]> {
        self.residual
            .iter()
            .zip(&self.constant)
            .zip(&self.held)
            .map(|((r, c), &bits)| {
                let mask = &self.masks[bits as usize];
                std::array::from_fn(|l| (r[l] + self.offset[l] * c) * mask[l])
            })
            .collect()
    }

    /// The residual of a row in a lane, held out or not.
    pub(crate) fn residual_at(&self, row: usize, lane: usize) -> f64 {
        self.residual[row][lane] + self.offset[lane] * self.constant[row]
    }

    /// Whether the active columns take more memory than they should.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > MAX_COLUMN_BYTES
    }

    /// Number of atoms that a lane uses.
    pub(crate) fn used(&self, lane: usize) -> usize {
        self.atoms.iter().filter(|atom| atom.beta[lane] != 0.0).count()
    }

    /// Lanes an atom is allowed in already, as bits.
    pub(crate) fn allowed(&self, id: AtomId) -> u8 {
        self.index.get(&id).map_or(0, |&at| self.atoms[at].lanes)
    }

    /// Allows an atom in the lanes of these bits.
    pub(crate) fn activate(
        &mut self,
        operator: &impl Operator,
        id: AtomId,
        column: impl FnOnce() -> Column,
        penalty: f64,
        lanes: u8,
    ) {
        if let Some(&at) = self.index.get(&id) {
            self.atoms[at].lanes |= lanes;
            return;
        }
        let column = column();
        let (mut constant, mut norm) = ([0.0; L], [0.0; L]);
        column.for_each(|row, value| {
            let (mask, c) = (&self.masks[self.held[row] as usize], self.constant[row]);
            for l in 0..L {
                constant[l] += c * value * mask[l];
                norm[l] += value * value * mask[l];
            }
        });
        for l in 0..L {
            let raw = norm[l];
            norm[l] -= constant[l] * constant[l] / self.count[l];
            if norm[l] <= INDEPENDENT * raw {
                norm[l] = 0.0;
            }
        }
        self.bytes += column.bytes();
        self.index.insert(id, self.atoms.len());
        let rank = operator.rank(id);
        self.order.push(self.atoms.len());
        self.atoms.push(Atom { id, column, lanes, constant, norm, penalty, beta: [0.0; L], rank });
    }

    /// One step along atom `at` in these lanes; returns the largest change of the fit, squared, per row.
    fn step(&mut self, at: usize, lanes: u8, lambda: f64) -> f64 {
        let Self { residual, offset, held, masks, count, atoms, .. } = self;
        let atom = &mut atoms[at];
        let lanes = lanes & atom.lanes;
        if lanes == 0 {
            return 0.0;
        }
        let mut g = [0.0; L];
        atom.column.for_each(|row, value| {
            let (r, mask) = (&residual[row], &masks[held[row] as usize]);
            for l in 0..L {
                g[l] += value * r[l] * mask[l];
            }
        });
        let (mut delta, mut change) = ([0.0; L], 0.0_f64);
        for l in 0..L {
            if atom.norm[l] == 0.0 || lanes >> l & 1 == 0 {
                continue;
            }
            let z = g[l] + offset[l] * atom.constant[l] + atom.norm[l] * atom.beta[l];
            let threshold = lambda * count[l] * atom.penalty;
            let next = (z.abs() - threshold).max(0.0).copysign(z) / atom.norm[l];
            delta[l] = next - atom.beta[l];
            atom.beta[l] = next;
            offset[l] += delta[l] * atom.constant[l] / count[l];
            change = change.max(atom.norm[l] * delta[l] * delta[l] / count[l]);
        }
        if delta != [0.0; L] {
            atom.column.for_each(|row, value| {
                let r = &mut residual[row];
                for l in 0..L {
                    r[l] -= value * delta[l];
                }
            });
        }
        change
    }

    /// Descends until no step changes the fit by more than `tolerance` (squared, per row), or the
    /// sweeps are used up; returns whether it came to rest.
    pub(crate) fn descend(
        &mut self,
        lambda: f64,
        tolerance: f64,
        sweeps: usize,
        cancel: &Cancel,
    ) -> Result<bool> {
        let Self { order, atoms, .. } = self;
        order.sort_unstable_by_key(|&at| atoms[at].rank);
        let order = order.clone();
        let mut left = sweeps;
        while left > 0 {
            cancel.check()?;
            left -= 1;
            let change = order.iter().map(|&at| self.step(at, u8::MAX, lambda)).fold(0.0, f64::max);
            if change <= tolerance {
                return Ok(true);
            }
            let inner = left.min(INNER_SWEEPS);
            left -= inner - self.descend_within(lambda, tolerance, inner, cancel)?;
        }
        Ok(false)
    }

    /// Descends over the atoms that each lane uses; returns the sweeps left.
    fn descend_within(
        &mut self,
        lambda: f64,
        tolerance: f64,
        sweeps: usize,
        cancel: &Cancel,
    ) -> Result<usize> {
        let nonzero: Vec<(usize, u8)> = self
            .order
            .iter()
            .map(|&at| {
                let used = (0..L).filter(|&l| self.atoms[at].beta[l] != 0.0);
                (at, used.fold(0, |bits, l| bits | 1 << l))
            })
            .filter(|&(_, lanes)| lanes != 0)
            .collect();
        for sweep in 0..sweeps {
            cancel.check()?;
            let change = nonzero.iter().map(|&(at, lanes)| self.step(at, lanes, lambda)).fold(0.0, f64::max);
            if change <= tolerance {
                return Ok(sweeps - sweep - 1);
            }
        }
        Ok(0)
    }

    /// Refits the atoms that each lane uses, with another strength.
    pub(crate) fn refit(
        &mut self,
        lambda: f64,
        tolerance: f64,
        sweeps: usize,
        cancel: &Cancel,
    ) -> Result<bool> {
        Ok(self.descend_within(lambda, tolerance, sweeps, cancel)? > 0)
    }

    /// Correlations of the active atoms with a residual, relative to their penalties.
    pub(crate) fn correlations(&self, residual: &[[f64; L]]) -> Vec<f64> {
        let relative = |atom: &Atom<L>| {
            let mut g = [0.0; L];
            atom.column.for_each(|row, value| (0..L).for_each(|l| g[l] += value * residual[row][l]));
            g.into_iter().map(f64::abs).fold(0.0, f64::max) / atom.penalty
        };
        self.atoms.iter().map(relative).collect()
    }

    pub(crate) fn state(&self) -> State<L> {
        State {
            residual: self.residual.clone(),
            offset: self.offset,
            beta: self.atoms.iter().map(|atom| atom.beta).collect(),
        }
    }

    pub(crate) fn restore(&mut self, state: State<L>) {
        self.residual = state.residual;
        self.offset = state.offset;
        for (atom, beta) in self.atoms.iter_mut().zip(state.beta) {
            atom.beta = beta;
        }
    }

    /// Allows in each lane every atom of the dictionary that is correlated with the lane's residual by
    /// more than `threshold`, relative to `N p_j`; returns how many came in.
    pub(crate) fn screen<O: Operator>(
        &mut self,
        operator: &O,
        weights: &[f64],
        threshold: f64,
        cancel: &Cancel,
    ) -> Result<usize> {
        let residual = self.training_residual();
        let count = self.count;
        let found = operator.scan(
            &residual,
            cancel,
            |support| weights[support].is_finite(),
            |support, correlations, out: &mut Vec<(AtomId, f64, u8)>| {
                for (cell, g) in correlations.iter().enumerate() {
                    let penalty = operator.scale(support, cell) * weights[support];
                    if penalty <= 0.0 {
                        continue;
                    }
                    let lanes = (0..L).filter(|&l| g[l].abs() > threshold * penalty * count[l]);
                    let lanes = lanes.fold(0, |bits, l| bits | 1 << l);
                    if lanes != 0 {
                        out.push((AtomId::new(support, cell), penalty, lanes));
                    }
                }
            },
        )?;
        let mut fresh = 0;
        for (id, penalty, lanes) in found {
            if lanes & !self.allowed(id) != 0 {
                fresh += 1;
                self.activate(operator, id, || operator.column(id), penalty, lanes);
            }
        }
        Ok(fresh)
    }
}
