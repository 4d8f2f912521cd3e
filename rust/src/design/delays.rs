//! Delays `d ∈ Z_q^n`: the offsets at which each subsampled block is repeated.
//!
//! A coefficient `F[k]` appears in the bins of delay `d` with the phase `ω^{<d,k>}`; the delays are chosen so that the
//! phases determine `k` (Erginbas et al., arXiv 2301.06200, sections 3.2 and 4).

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::code::Code;
use crate::error::{Error, Result};
use crate::frequency::Frequency;

/// The family of the delays of each subsampling group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DelayFamily {
    /// Only the zero delay. It does not determine frequencies.
    Zero,
    /// `0, e_1 … e_n`: the phase ratios determine `k` if there is no noise.
    Identity,
    /// Uniform random delays, for regression.
    Random {
        /// Delays in each group.
        count: usize,
    },
    /// `o_r - {0, e_1 … e_n}` for random offsets `o_1 … o_R`: as [`DelayFamily::Identity`], with the
    /// phase ratios averaged over the `R` repeats ("NSO").
    Nso {
        /// Number of repeats `R`.
        repeats: usize,
    },
    /// `o_r + {0, h_1 … h_P}` for random offsets `o_1 … o_R` and the checks `h_i` of a code (BCH, Reed–Solomon), which
    /// determine the frequencies of order up to `max_order` from `O(max_order · log n)` phases. There are a few
    /// random checks besides, so that frequencies of higher orders are rarely read as others.
    Coded {
        /// Highest order of the frequencies that can be read.
        max_order: usize,
        /// Number of repeats `R`.
        repeats: usize,
    },
}

impl DelayFamily {
    /// The names of all families.
    pub const NAMES: [&'static str; 5] = ["nso", "coded", "identity", "random", "zero"];

    /// The family with this name. `count` is the number of repeats or of random delays, if the family has one, and
    /// `max_order` the highest order of coded delays.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str, count: usize, max_order: usize) -> Result<Self> {
        let coded = Self::Coded { max_order, repeats: count };
        let families =
            [Self::Nso { repeats: count }, coded, Self::Identity, Self::Random { count }, Self::Zero];
        let choices: Vec<(&'static str, Self)> = Self::NAMES.into_iter().zip(families).collect();
        Error::choose("delays", name, &choices, |(name, _)| name).map(|(_, family)| family)
    }

    /// Number of delays `P` in a group, for sequences of `n` out of `q` symbols.
    ///
    /// # Errors
    /// If there is no code for this order and length.
    pub fn count(self, q: usize, n: usize) -> Result<usize> {
        Ok(match self {
            Self::Zero => 1,
            Self::Identity => n + 1,
            Self::Random { count } => count,
            Self::Nso { repeats } => repeats.saturating_mul(n + 1),
            Self::Coded { max_order, repeats } => {
                repeats.saturating_mul(Code::n_checks(q, n, max_order)? + 1)
            }
        })
    }
}

/// The delays of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delays {
    q: usize,
    n: usize,
    /// The steps from each offset; without them each offset is a single delay.
    steps: Option<Steps>,
    /// Offsets, row-major, `n` values each.
    offsets: Vec<u8>,
}

/// The steps from an offset `o`: it represents the delay `o` and one for each step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Steps {
    /// `o + e_1 … o + e_n`.
    Plus,
    /// `o - e_1 … o - e_n`.
    Minus,
    /// `o + h_1 … o + h_P` for the checks of a code.
    Checks(Arc<Code>),
}

impl Delays {
    /// `code` is the code of coded delays, which all groups share.
    pub(crate) fn draw(
        family: DelayFamily,
        code: Option<&Arc<Code>>,
        q: usize,
        n: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let (steps, random) = match family {
            DelayFamily::Zero => (None, 0),
            DelayFamily::Identity => (Some(Steps::Plus), 0),
            DelayFamily::Random { count } => (None, count),
            DelayFamily::Nso { repeats } => (Some(Steps::Minus), repeats),
            DelayFamily::Coded { repeats, .. } => (code.cloned().map(Steps::Checks), repeats),
        };
        let offsets = match random {
            0 => vec![0; n],
            count => (0..count * n).map(|_| rng.random_range(0..q as u32) as u8).collect(),
        };
        Self { q, n, steps, offsets }
    }

    /// Number of offsets. If delays step from offsets, this is the number of repeats `R`.
    pub(crate) fn repeats(&self) -> usize {
        self.offsets.len() / self.n
    }

    /// Number of delays of each offset: itself and its steps.
    pub(crate) fn stride(&self) -> usize {
        1 + match &self.steps {
            None => 0,
            Some(Steps::Plus | Steps::Minus) => self.n,
            Some(Steps::Checks(code)) => code.len(),
        }
    }

    /// Whether the steps are the checks of a code.
    pub(crate) fn are_coded(&self) -> bool {
        matches!(self.steps, Some(Steps::Checks(_)))
    }

    /// Number of delays `P`.
    #[must_use]
    pub fn count(&self) -> usize {
        self.repeats() * self.stride()
    }

    /// Delay `p`, of length `n`.
    #[must_use]
    pub fn row(&self, p: usize) -> Vec<u8> {
        let (repeat, step) = (p / self.stride(), p % self.stride());
        let mut row = self.offsets[repeat * self.n..(repeat + 1) * self.n].to_vec();
        if step > 0 {
            let mut add = |i: usize, value: usize| row[i] = ((row[i] as usize + value) % self.q) as u8;
            match &self.steps {
                None => {}
                Some(Steps::Plus) => add(step - 1, 1),
                Some(Steps::Minus) => add(step - 1, self.q - 1),
                Some(Steps::Checks(code)) => {
                    code.row(step - 1).iter().enumerate().for_each(|(i, &h)| add(i, h as usize));
                }
            }
        }
        row
    }

    fn offset_product(&self, repeat: usize, k: &Frequency) -> usize {
        let offset = &self.offsets[repeat * self.n..(repeat + 1) * self.n];
        k.iter().map(|(i, label)| offset[i as usize] as usize * label as usize).sum::<usize>() % self.q
    }

    /// The frequency for which the phases of the steps exceed those of their offset by these numbers; `None` if there is
    /// none.
    pub(crate) fn frequency(&self, phases: &[u8]) -> Option<Frequency> {
        let labels = |label: &dyn Fn(usize) -> usize| {
            let pairs = phases.iter().enumerate().filter(|(_, phase)| **phase != 0);
            pairs.map(|(i, &phase)| (i as u16, label(phase as usize) as u8)).collect()
        };
        match self.steps.as_ref()? {
            Steps::Plus => Some(labels(&|phase| phase)),
            Steps::Minus => Some(labels(&|phase| self.q - phase)),
            Steps::Checks(code) => code.decode(phases),
        }
    }

    /// Calls `visit(p, <d_p, k> mod q)` for every delay.
    pub(crate) fn phases(&self, k: &Frequency, mut visit: impl FnMut(usize, usize)) {
        let shifts: Vec<usize> = match &self.steps {
            Some(Steps::Checks(code)) => (0..code.len()).map(|i| code.phase(i, k)).collect(),
            _ => Vec::new(),
        };
        for repeat in 0..self.repeats() {
            let base = self.offset_product(repeat, k);
            let first = repeat * self.stride();
            visit(first, base);
            match &self.steps {
                None => {}
                Some(Steps::Checks(_)) => {
                    shifts
                        .iter()
                        .enumerate()
                        .for_each(|(i, shift)| visit(first + 1 + i, (base + shift) % self.q));
                }
                Some(unit) => {
                    let mut pairs = k.iter().peekable();
                    for i in 0..self.n {
                        let label = pairs.next_if(|&(position, _)| position as usize == i);
                        let phase = label.map_or(base, |(_, label)| self.stepped(unit, base, label));
                        visit(first + 1 + i, phase);
                    }
                }
            }
        }
    }

    /// The phase after a unit step at a position with this label.
    fn stepped(&self, unit: &Steps, base: usize, label: u8) -> usize {
        let shift = if *unit == Steps::Minus { self.q - label as usize } else { label as usize };
        (base + shift) % self.q
    }

    /// Adds the number of delays with each phase `<d_p, k>` to `counts`. For unit steps the time does not depend on `n`.
    pub(crate) fn phase_counts(&self, k: &Frequency, counts: &mut [usize]) {
        match &self.steps {
            Some(unit @ (Steps::Plus | Steps::Minus)) => {
                for repeat in 0..self.repeats() {
                    let base = self.offset_product(repeat, k);
                    counts[base] += 1 + self.n - k.order();
                    k.iter().for_each(|(_, label)| counts[self.stepped(unit, base, label)] += 1);
                }
            }
            _ => self.phases(k, |_, phase| counts[phase] += 1),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    proptest! {
        #[test]
        fn phases_are_the_inner_products(
            seed in 0u64..1000, q in 2usize..=20, n in 1usize..8, repeats in 1usize..4, kind in 0usize..5,
        ) {
            // A code needs long sequences.
            let n = if kind == 4 { n + 30 } else { n };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let family = [
                DelayFamily::Zero,
                DelayFamily::Identity,
                DelayFamily::Random { count: repeats },
                DelayFamily::Nso { repeats },
                DelayFamily::Coded { max_order: 1 + repeats % 2, repeats },
            ][kind];
            let code = match family {
                DelayFamily::Coded { max_order, .. } => {
                    Some(Arc::new(Code::new(q, n, max_order, &mut rng).unwrap()))
                }
                _ => None,
            };
            let delays = Delays::draw(family, code.as_ref(), q, n, &mut rng);
            prop_assert_eq!(delays.count(), family.count(q, n).unwrap());
            let dense: Vec<u8> = (0..n).map(|_| rng.random_range(0..q as u32) as u8).collect();
            let k = Frequency::from_dense(&dense);
            let mut phases = vec![usize::MAX; delays.count()];
            delays.phases(&k, |p, phase| phases[p] = phase);
            let mut counts = vec![0; q];
            delays.phase_counts(&k, &mut counts);
            for (p, &phase) in phases.iter().enumerate() {
                let direct: usize =
                    delays.row(p).iter().zip(&dense).map(|(&d, &v)| d as usize * v as usize).sum();
                prop_assert_eq!(phase, direct % q);
                counts[phase] -= 1;
            }
            prop_assert!(counts.iter().all(|&count| count == 0));
        }
    }
}
