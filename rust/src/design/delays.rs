//! Delays `d ∈ Z_q^n`: the offsets at which each subsampled block is repeated.
//!
//! A coefficient `F[k]` appears in the bins of delay `d` with the phase `ω^{<d,k>}`; the delays are chosen so that the
//! phases determine `k` (Erginbas et al., arXiv 2301.06200, sections 3.2 and 4).

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rustfft::num_complex::Complex64;

use super::allocation::free_positions;
use super::code::Code;
use crate::error::{Error, Result};
use crate::frequency::{Frequency, Roots, Sizes};
use crate::space::SequenceSpace;

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

    /// Number of delays `P` in a group. Positions with one letter have no unit steps.
    ///
    /// # Errors
    /// If there is no code for this order and length, or positions have letters of their own.
    pub fn count(self, space: &SequenceSpace) -> Result<usize> {
        let unit_steps = || free_positions(space).len() + 1;
        Ok(match self {
            Self::Zero => 1,
            Self::Identity => unit_steps(),
            Self::Random { count } => count,
            Self::Nso { repeats } => repeats.saturating_mul(unit_steps()),
            Self::Coded { .. } if space.has_letters() => {
                return Err(Error::Design(
                    "coded delays need the same letters at every position; use delays 'nso', or 'identity' if there is \
                     no noise"
                        .into(),
                ));
            }
            Self::Coded { max_order, repeats } => {
                repeats.saturating_mul(Code::n_checks(space.q(), space.n(), max_order)? + 1)
            }
        })
    }
}

/// The delays of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delays {
    sizes: Sizes,
    n: usize,
    /// The positions of unit steps: those with more than one letter.
    free: Arc<[u16]>,
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
        space: &SequenceSpace,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let (sizes, n) = (space.sizes().clone(), space.n());
        let (steps, random) = match family {
            DelayFamily::Zero => (None, 0),
            DelayFamily::Identity => (Some(Steps::Plus), 0),
            DelayFamily::Random { count } => (None, count),
            DelayFamily::Nso { repeats } => (Some(Steps::Minus), repeats),
            DelayFamily::Coded { repeats, .. } => (code.cloned().map(Steps::Checks), repeats),
        };
        let offsets = match random {
            0 => vec![0; n],
            count => {
                (0..count * n).map(|at| rng.random_range(0..sizes.at((at % n) as u16) as u32) as u8).collect()
            }
        };
        Self { sizes, n, free: free_positions(space).into(), steps, offsets }
    }

    /// Number of offsets. If delays step from offsets, this is the number of repeats `R`.
    pub(crate) fn repeats(&self) -> usize {
        self.offsets.len() / self.n
    }

    /// Number of delays of each offset: itself and its steps.
    pub(crate) fn stride(&self) -> usize {
        1 + match &self.steps {
            None => 0,
            Some(Steps::Plus | Steps::Minus) => self.free.len(),
            Some(Steps::Checks(code)) => code.len(),
        }
    }

    /// A position whose roots of unity are the phases of step `i`, from 0.
    #[inline]
    pub(crate) fn position_of_step(&self, i: usize) -> u16 {
        match &self.steps {
            Some(Steps::Plus | Steps::Minus) => self.free[i],
            _ => 0,
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
            let size = |i: usize| self.sizes.at(i as u16);
            let mut add = |i: usize, value: usize| row[i] = ((row[i] as usize + value) % size(i)) as u8;
            let position = self.position_of_step(step - 1) as usize;
            match &self.steps {
                None => {}
                Some(Steps::Plus) => add(position, 1),
                Some(Steps::Minus) => add(position, size(position) - 1),
                Some(Steps::Checks(code)) => {
                    code.row(step - 1).iter().enumerate().for_each(|(i, &h)| add(i, h as usize));
                }
            }
        }
        row
    }

    /// The offset of a repeat, of length `n`.
    fn offset(&self, repeat: usize) -> &[u8] {
        &self.offsets[repeat * self.n..(repeat + 1) * self.n]
    }

    /// `<o, k> mod q` for the offset of a repeat.
    fn offset_product(&self, repeat: usize, k: &Frequency, q: usize) -> usize {
        let offset = self.offset(repeat);
        k.iter().map(|(i, label)| offset[i as usize] as usize * label as usize).sum::<usize>() % q
    }

    /// The frequency for which the phases of the steps exceed those of their offset by these numbers; `None` if there is
    /// none.
    pub(crate) fn frequency(&self, phases: &[u8]) -> Option<Frequency> {
        let labels = |label: &dyn Fn(u16, usize) -> usize| {
            let pairs = self.free.iter().zip(phases).filter(|(_, phase)| **phase != 0);
            pairs.map(|(&i, &phase)| (i, label(i, phase as usize) as u8)).collect()
        };
        match self.steps.as_ref()? {
            Steps::Plus => Some(labels(&|_, phase| phase)),
            Steps::Minus => Some(labels(&|i, phase| self.sizes.at(i) - phase)),
            Steps::Checks(code) => code.decode(phases),
        }
    }

    /// Calls `visit(p, ω^{<d_p, k>})` for every delay.
    #[inline]
    pub(crate) fn signature(&self, k: &Frequency, roots: &Roots, mut visit: impl FnMut(usize, Complex64)) {
        match (&self.sizes, roots) {
            (Sizes::Same(q), Roots::Same(roots)) => self.phases(k, *q, |p, phase| visit(p, roots[phase])),
            _ => self.products(k, roots, visit),
        }
    }

    /// Calls `visit(p, <d_p, k> mod q)` for every delay, if every position has `q` letters.
    fn phases(&self, k: &Frequency, q: usize, mut visit: impl FnMut(usize, usize)) {
        let shifts: Vec<usize> = match &self.steps {
            Some(Steps::Checks(code)) => (0..code.len()).map(|i| code.phase(i, k)).collect(),
            _ => Vec::new(),
        };
        for repeat in 0..self.repeats() {
            let base = self.offset_product(repeat, k, q);
            let first = repeat * self.stride();
            visit(first, base);
            match &self.steps {
                None => {}
                Some(Steps::Checks(_)) => {
                    shifts.iter().enumerate().for_each(|(i, shift)| visit(first + 1 + i, (base + shift) % q));
                }
                Some(unit) => {
                    let mut pairs = k.iter().peekable();
                    for i in 0..self.n {
                        let label = pairs.next_if(|&(position, _)| position as usize == i);
                        let phase = label.map_or(base, |(_, label)| stepped(unit, base, label, q));
                        visit(first + 1 + i, phase);
                    }
                }
            }
        }
    }

    /// The same as [`Self::signature`] for any sizes: `Π_i w_i^{d_i k_i}`.
    fn products(&self, k: &Frequency, roots: &Roots, mut visit: impl FnMut(usize, Complex64)) {
        let unit = self.steps.as_ref();
        for repeat in 0..self.repeats() {
            let base = self.offset_root(repeat, k, roots);
            let first = repeat * self.stride();
            visit(first, base);
            let Some(unit) = unit else { continue };
            let mut pairs = k.iter().peekable();
            for (step, &i) in self.free.iter().enumerate() {
                let label = pairs.next_if(|&(position, _)| position == i);
                let root = label.map_or(base, |(_, label)| {
                    let roots = roots.at(i);
                    base * roots[stepped(unit, 0, label, roots.len())]
                });
                visit(first + 1 + step, root);
            }
        }
    }

    fn offset_root(&self, repeat: usize, k: &Frequency, roots: &Roots) -> Complex64 {
        let offset = self.offset(repeat);
        k.iter().fold(Complex64::ONE, |product, (i, label)| {
            let roots = roots.at(i);
            product * roots[offset[i as usize] as usize * label as usize % roots.len()]
        })
    }

    /// `Σ_p ω^{<d_p, k>}`. For unit steps the time does not depend on `n`. `counts` is memory that is used.
    pub(crate) fn signature_sum(&self, k: &Frequency, roots: &Roots, counts: &mut Vec<usize>) -> Complex64 {
        let unit = self.steps.as_ref().filter(|steps| !matches!(steps, Steps::Checks(_)));
        match (&self.sizes, roots) {
            (Sizes::Same(q), Roots::Same(roots)) => {
                counts.clear();
                counts.resize(*q, 0);
                match unit {
                    Some(unit) => {
                        for repeat in 0..self.repeats() {
                            let base = self.offset_product(repeat, k, *q);
                            counts[base] += 1 + self.n - k.order();
                            k.iter().for_each(|(_, label)| counts[stepped(unit, base, label, *q)] += 1);
                        }
                    }
                    None => self.phases(k, *q, |_, phase| counts[phase] += 1),
                }
                counts.iter().zip(roots).map(|(&count, root)| root * count as f64).sum()
            }
            _ => {
                let of_repeat = |repeat: usize| {
                    let base = self.offset_root(repeat, k, roots);
                    let Some(unit) = unit else { return base };
                    let steps = k.iter().map(|(i, label)| {
                        let roots = roots.at(i);
                        roots[stepped(unit, 0, label, roots.len())]
                    });
                    base * (steps.sum::<Complex64>() + (1 + self.free.len() - k.order()) as f64)
                };
                (0..self.repeats()).map(of_repeat).sum()
            }
        }
    }
}

/// The phase after a unit step at a position with this label.
fn stepped(unit: &Steps, base: usize, label: u8, q: usize) -> usize {
    let shift = if *unit == Steps::Minus { q - label as usize } else { label as usize };
    (base + shift) % q
}

#[cfg(test)]
#[path = "delay_tests.rs"]
mod tests;
