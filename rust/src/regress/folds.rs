//! The fits of a cross-validation: the lane of the solver that each fit uses, and the rows that it holds out.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::solver::{Lanes, lane_bits};

/// Fits that share one pass over the data.
pub(crate) const LANES: usize = 4;
/// Folds of the cross-validation.
pub(crate) const FOLDS: usize = 6;
/// Stream of the random generator for the folds.
const FOLD_STREAM: u64 = 1 << 32;

/// The rows that one fit is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// All rows except those of this fold.
    Fold(u8),
    /// Half of the rows.
    Half,
    /// All rows.
    Full,
}

/// The role of each lane, and the rows that each role holds out.
#[derive(Clone, Debug)]
pub(crate) struct FoldPlan {
    /// One role for each lane, `LANES` lanes in a set. Lane `f` has the role `Fold(f)`.
    roles: Vec<Role>,
    /// Fold of each row.
    folds: Vec<u8>,
    /// Rows that the fit with [`Role::Half`] holds out.
    half: Vec<bool>,
    /// For each support of the dictionary, the fits that may use it, as bits; all fits if it is not in this list.
    available: Vec<u8>,
}

impl FoldPlan {
    /// Eight fits in two sets of lanes: six folds, one fit to half of the rows, and one to all rows.
    ///
    /// `half` marks the rows that the fit to half of the rows holds out.
    pub(crate) fn with_half_and_full(folds: Vec<u8>, half: Vec<bool>) -> Self {
        let folded = (0..FOLDS as u8).map(Role::Fold);
        Self { roles: folded.chain([Role::Half, Role::Full]).collect(), folds, half, available: Vec::new() }
    }

    /// Four fits in one set of lanes, for decisions on a subsample: the six folds, numbered modulo 4.
    pub(crate) fn four_folds(folds: &[u8]) -> Self {
        Self {
            roles: (0..LANES as u8).map(Role::Fold).collect(),
            folds: folds.iter().map(|fold| fold % LANES as u8).collect(),
            half: Vec::new(),
            available: Vec::new(),
        }
    }

    /// The same fits, each with the supports that it may use: for each support, the fits as bits.
    pub(crate) fn with_available(self, available: Vec<u8>) -> Self {
        Self { available, ..self }
    }

    /// For each support of the dictionary, the lanes of a set that may use it, as bits.
    pub(crate) fn available(&self, set: usize) -> Vec<u8> {
        let mask = u8::MAX >> (u8::BITS as usize - LANES);
        self.available.iter().map(|fits| fits >> (set * LANES) & mask).collect()
    }

    /// For each support of the dictionary, whether the fit to all rows may use it, as a bit.
    pub(crate) fn available_to_full(&self) -> Vec<u8> {
        let (set, lane) = self.lane_of(Role::Full).unwrap_or_default();
        self.available(set).iter().map(|lanes| lanes >> lane & 1).collect()
    }

    /// Fold of each row.
    pub(crate) fn folds(&self) -> &[u8] {
        &self.folds
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.folds.len()
    }

    /// Number of sets of lanes.
    pub(crate) fn n_sets(&self) -> usize {
        self.roles.len() / LANES
    }

    /// For each row, the lanes of a set that hold it out, as bits.
    pub(crate) fn held_out(&self, set: usize) -> Vec<u8> {
        let roles = &self.roles[set * LANES..][..LANES];
        let holds_out = |role: Role, row: usize| match role {
            Role::Fold(fold) => self.folds[row] == fold,
            Role::Half => self.half[row],
            Role::Full => false,
        };
        (0..self.n_rows()).map(|row| lane_bits((0..LANES).filter(|&l| holds_out(roles[l], row)))).collect()
    }

    /// Rows that the fit with [`Role::Half`] holds out.
    pub(crate) fn half_rows(&self) -> impl Iterator<Item = usize> {
        self.half.iter().enumerate().filter(|&(_, &held_out)| held_out).map(|(row, _)| row)
    }

    /// Set and lane of a role; `None` if the plan does not have it.
    pub(crate) fn lane_of(&self, role: Role) -> Option<(usize, usize)> {
        let index = self.roles.iter().position(|&other| other == role)?;
        Some((index / LANES, index % LANES))
    }

    /// Set and lane of the last role.
    pub(crate) fn last_lane(&self) -> (usize, usize) {
        (self.n_sets() - 1, LANES - 1)
    }

    /// Mean over the folds of the mean squared residual of the rows that the fit of the fold was trained on.
    pub(crate) fn training_error(&self, lanes: &[Lanes<LANES>]) -> f64 {
        let folded = self.roles.iter().enumerate().filter_map(|(index, role)| match role {
            Role::Fold(fold) => Some((&lanes[index / LANES], index % LANES, *fold)),
            Role::Half | Role::Full => None,
        });
        let (mut sum, mut count) = (0.0, 0.0);
        for (set, lane, fold) in folded {
            let training = (0..self.n_rows()).filter(|&row| self.folds[row] != fold);
            sum += training.map(|row| set.residual_at(row, lane).powi(2)).sum::<f64>() / set.n_training(lane);
            count += 1.0;
        }
        sum / count
    }

    /// The residual of a row in the fit that holds its fold out.
    pub(crate) fn held_out_residual(&self, lanes: &[Lanes<LANES>], row: usize) -> f64 {
        let fold = self.folds[row] as usize;
        lanes[fold / LANES].residual_at(row, fold % LANES)
    }
}

/// Assigns `n_units` units to [`FOLDS`] random folds of equal size, and returns the fold of each of
/// `units`.
pub(crate) fn random_folds(seed: u64, units: impl Iterator<Item = usize>, n_units: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(FOLD_STREAM);
    let mut order: Vec<usize> = (0..n_units).collect();
    order.shuffle(&mut rng);
    units.map(|unit| (order[unit] % FOLDS) as u8).collect()
}

/// Marks about half of the rows, by a second assignment to random folds.
pub(crate) fn random_half(seed: u64, units: impl Iterator<Item = usize>, n_units: usize) -> Vec<bool> {
    random_folds(seed ^ (1 << 63), units, n_units).into_iter().map(|fold| fold % 2 == 0).collect()
}
