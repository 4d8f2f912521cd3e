//! Delays `d ∈ Z_q^n`: the offsets at which each subsampled block is repeated.
//!
//! A coefficient `F[k]` appears in the bins of delay `d` with the phase `ω^{<d,k>}`; the delays are chosen so that the
//! phases determine `k` (Erginbas et al., arXiv 2301.06200, sections 3.2 and 4).

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

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
}

impl DelayFamily {
    /// The names of all families.
    pub const NAMES: [&'static str; 4] = ["nso", "identity", "random", "zero"];

    /// The family with this name. `count` is the number of repeats or of random delays, if the family has one.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str, count: usize) -> Result<Self> {
        let families = [Self::Nso { repeats: count }, Self::Identity, Self::Random { count }, Self::Zero];
        let choices: Vec<(&'static str, Self)> = Self::NAMES.into_iter().zip(families).collect();
        Error::choose("delays", name, &choices, |(name, _)| name).map(|(_, family)| family)
    }

    /// Number of delays `P` in a group.
    #[must_use]
    pub fn count(self, n: usize) -> usize {
        match self {
            Self::Zero => 1,
            Self::Identity => n + 1,
            Self::Random { count } => count,
            Self::Nso { repeats } => repeats.saturating_mul(n + 1),
        }
    }
}

/// The delays of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delays {
    q: usize,
    n: usize,
    /// The sign, if each offset `o` represents the `n + 1` delays `o, o ± e_1 … o ± e_n`; `None` if it is a single
    /// delay.
    steps: Option<Sign>,
    /// Offsets, row-major, `n` values each.
    offsets: Vec<u8>,
}

/// Sign of the unit steps from an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

impl Delays {
    pub(crate) fn draw(family: DelayFamily, q: usize, n: usize, rng: &mut ChaCha8Rng) -> Self {
        let (steps, random) = match family {
            DelayFamily::Zero => (None, 0),
            DelayFamily::Identity => (Some(Sign::Plus), 0),
            DelayFamily::Random { count } => (None, count),
            DelayFamily::Nso { repeats } => (Some(Sign::Minus), repeats),
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

    pub(crate) fn steps(&self) -> Option<Sign> {
        self.steps
    }

    /// Number of delays `P`.
    #[must_use]
    pub fn count(&self) -> usize {
        self.repeats() * if self.steps.is_some() { self.n + 1 } else { 1 }
    }

    /// Delay `p`, of length `n`.
    #[must_use]
    pub fn row(&self, p: usize) -> Vec<u8> {
        let Some(sign) = self.steps else {
            return self.offsets[p * self.n..(p + 1) * self.n].to_vec();
        };
        let (repeat, step) = (p / (self.n + 1), p % (self.n + 1));
        let mut row = self.offsets[repeat * self.n..(repeat + 1) * self.n].to_vec();
        if step > 0 {
            let add = if sign == Sign::Plus { 1 } else { self.q - 1 };
            row[step - 1] = ((row[step - 1] as usize + add) % self.q) as u8;
        }
        row
    }

    fn offset_product(&self, repeat: usize, k: &Frequency) -> usize {
        let offset = &self.offsets[repeat * self.n..(repeat + 1) * self.n];
        k.iter().map(|(i, label)| offset[i as usize] as usize * label as usize).sum::<usize>() % self.q
    }

    /// Calls `visit(p, <d_p, k> mod q)` for every delay.
    pub(crate) fn phases(&self, k: &Frequency, mut visit: impl FnMut(usize, usize)) {
        for repeat in 0..self.repeats() {
            let base = self.offset_product(repeat, k);
            let Some(sign) = self.steps else {
                visit(repeat, base);
                continue;
            };
            let first = repeat * (self.n + 1);
            let mut pairs = k.iter().peekable();
            visit(first, base);
            for i in 0..self.n {
                let mut phase = base;
                if let Some((_, label)) = pairs.next_if(|&(position, _)| position as usize == i) {
                    phase = match sign {
                        Sign::Plus => base + label as usize,
                        Sign::Minus => base + self.q - label as usize,
                    } % self.q;
                }
                visit(first + 1 + i, phase);
            }
        }
    }

    /// Adds the number of delays with each phase `<d_p, k>` to `counts`, in time independent of `n`.
    pub(crate) fn phase_counts(&self, k: &Frequency, counts: &mut [usize]) {
        for repeat in 0..self.repeats() {
            let base = self.offset_product(repeat, k);
            counts[base] += 1;
            if let Some(sign) = self.steps {
                counts[base] += self.n - k.order();
                for (_, label) in k.iter() {
                    let phase = match sign {
                        Sign::Plus => base + label as usize,
                        Sign::Minus => base + self.q - label as usize,
                    };
                    counts[phase % self.q] += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    proptest! {
        #[test]
        fn phases_are_the_inner_products(
            seed in 0u64..1000, q in 2usize..=20, n in 1usize..8, repeats in 1usize..4, kind in 0usize..4,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let family = [
                DelayFamily::Zero,
                DelayFamily::Identity,
                DelayFamily::Random { count: repeats },
                DelayFamily::Nso { repeats },
            ][kind];
            let delays = Delays::draw(family, q, n, &mut rng);
            prop_assert_eq!(delays.count(), family.count(n));
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
